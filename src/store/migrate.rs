//! A migration is one numbered text that is applied once, in order, under a lock, and never edited afterwards.

use crate::db::{Dialect, args};
use crate::{Error, Store};
use ring::digest::{SHA256, digest};

struct Migration {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "core",
        sqlite: include_str!("migrations/0001_core.sql"),
        postgres: include_str!("migrations/0001_core.sql"),
    },
    Migration {
        version: 2,
        name: "append_only",
        sqlite: include_str!("migrations/0002_append_only.sqlite.sql"),
        postgres: include_str!("migrations/0002_append_only.postgres.sql"),
    },
    Migration {
        version: 3,
        name: "clocks",
        sqlite: include_str!("migrations/0003_clocks.sql"),
        postgres: include_str!("migrations/0003_clocks.sql"),
    },
    Migration {
        version: 4,
        name: "fleet",
        sqlite: include_str!("migrations/0004_fleet.sql"),
        postgres: include_str!("migrations/0004_fleet.sql"),
    },
    Migration {
        version: 5,
        name: "systems",
        sqlite: include_str!("migrations/0005_systems.sql"),
        postgres: include_str!("migrations/0005_systems.sql"),
    },
    Migration {
        version: 6,
        name: "board",
        sqlite: include_str!("migrations/0006_board.sql"),
        postgres: include_str!("migrations/0006_board.sql"),
    },
    Migration {
        version: 7,
        name: "staff_append_only",
        sqlite: include_str!("migrations/0007_staff_append_only.sqlite.sql"),
        postgres: include_str!("migrations/0007_staff_append_only.postgres.sql"),
    },
    Migration {
        version: 8,
        name: "limits",
        sqlite: include_str!("migrations/0008_limits.sql"),
        postgres: include_str!("migrations/0008_limits.sql"),
    },
    Migration {
        version: 9,
        name: "board_indexes",
        sqlite: include_str!("migrations/0009_board_indexes.sql"),
        postgres: include_str!("migrations/0009_board_indexes.sql"),
    },
    Migration {
        version: 10,
        name: "announcements",
        sqlite: include_str!("migrations/0010_announcements.sql"),
        postgres: include_str!("migrations/0010_announcements.sql"),
    },
    Migration {
        version: 11,
        name: "webhooks",
        sqlite: include_str!("migrations/0011_webhooks.sql"),
        postgres: include_str!("migrations/0011_webhooks.sql"),
    },
    Migration {
        version: 12,
        name: "instructions",
        sqlite: include_str!("migrations/0012_instructions.sql"),
        postgres: include_str!("migrations/0012_instructions.sql"),
    },
    Migration {
        version: 13,
        name: "holds",
        sqlite: include_str!("migrations/0013_holds.sql"),
        postgres: include_str!("migrations/0013_holds.sql"),
    },
    Migration {
        version: 14,
        name: "holds_stop",
        sqlite: include_str!("migrations/0014_holds_stop.sqlite.sql"),
        postgres: include_str!("migrations/0014_holds_stop.postgres.sql"),
    },
];

fn checksum(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, b| {
        let _infallible = write!(out, "{b:02x}");
        out
    })
}

impl Store {
    /// Brings the schema up to this binary's version; returns the names of the migrations that were applied.
    ///
    /// # Errors
    /// A migration failed (nothing of it is there), or the database holds one that this binary does not know.
    pub async fn migrate(&self) -> Result<Vec<&'static str>, Error> {
        let mut tx = self.db.begin("migrate").await?;
        if self.dialect() == Dialect::Postgres {
            // Any number will do as long as every version of Redress uses the same one.
            tx.rows("-- migrate_lock\nSELECT CAST(pg_advisory_xact_lock(7233170) AS TEXT) AS locked", vec![]).await?;
        }
        tx.script(
            "-- migrate_table\nCREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)",
        )
        .await?;
        let known =
            tx.rows("-- migrations\nSELECT version, checksum FROM schema_migrations ORDER BY version", vec![]).await?;
        let mut applied = Vec::new();
        for row in &known {
            check(row.int("version")?, &row.text("checksum")?, self.dialect())?;
        }
        for migration in MIGRATIONS.iter().filter(|m| m.version > known.len() as i64) {
            let text = migration.text(self.dialect());
            tx.script(text).await?;
            tx.exec(
                "-- migration_applied\nINSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
                args![migration.version, migration.name, checksum(text), self.now_ms()],
            )
            .await?;
            applied.push(migration.name);
        }
        self.commit(tx).await?;
        Ok(applied)
    }

    /// Refuses a database whose schema is not this binary's.
    ///
    /// # Errors
    /// `redress migrate` has to be run, or the database is newer than this binary.
    pub async fn check_schema(&self) -> Result<(), Error> {
        let rows = self
            .db
            .rows("-- migrations\nSELECT version, checksum FROM schema_migrations ORDER BY version", vec![])
            .await
            .map_err(|error| match error {
                Error::Database(inner) if matches!(*inner, sqlx::Error::Database(_)) => {
                    Error::Schema("the database has no schema yet; run `redress migrate`".into())
                }
                other => other,
            })?;
        for row in &rows {
            check(row.int("version")?, &row.text("checksum")?, self.dialect())?;
        }
        if rows.len() < MIGRATIONS.len() {
            return Err(Error::Schema(format!(
                "the database is at schema version {}, this binary needs {}; run `redress migrate`",
                rows.len(),
                MIGRATIONS.len()
            )));
        }
        Ok(())
    }
}

impl Migration {
    const fn text(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

fn check(version: i64, found: &str, dialect: Dialect) -> Result<(), Error> {
    match MIGRATIONS.iter().find(|m| m.version == version) {
        None => Err(Error::Schema(format!(
            "the database is at schema version {version}, this binary knows {}; use the newer binary",
            MIGRATIONS.len()
        ))),
        Some(m) if checksum(m.text(dialect)) != found => {
            Err(Error::Schema(format!("migration {version} in the database is not the one this binary knows")))
        }
        Some(_) => Ok(()),
    }
}
