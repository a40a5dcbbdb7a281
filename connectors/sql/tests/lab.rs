//! A lab is one empty database of one kind, with a side door that does not pass through the connector.

use crate::{Connector, SystemSpec, TableSpec};
use redress_testkit::{Mariadb, Postgres};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::OnceCell;

/// For tables that use `hash`.
pub(super) const HASH_KEY: &str = "a key that only the test knows";

static NEXT: AtomicU64 = AtomicU64::new(0);
static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();
static MARIADB: OnceCell<Mariadb> = OnceCell::const_new();

/// Which database a lab has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
    Mariadb,
}

/// One empty database.
pub(super) struct Lab {
    pub(super) kind: Kind,
    name: String,
    folder: PathBuf,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Lab {
    /// A new database.
    pub(super) async fn new(kind: Kind) -> Self {
        let name = format!("lab{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("redress-sql-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        match kind {
            Kind::Sqlite => std::fs::write(folder.join("db.sqlite"), "").expect("the folder is ours"),
            Kind::Postgres => drop(postgres().await.database(&name).await),
            Kind::Mariadb => drop(mariadb().await.database(&name).await),
        }
        Self { kind, name, folder }
    }

    /// Runs a script by the side door.
    pub(super) async fn sql(&self, script: &str) {
        match self.kind {
            Kind::Sqlite => {
                let done = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut self.sqlite().await).await;
                done.unwrap_or_else(|error| panic!("{error}: {script}"));
            }
            Kind::Postgres => postgres().await.sql(&self.name, script).await,
            Kind::Mariadb => mariadb().await.sql(&self.name, script).await,
        }
    }

    /// The rows of a query by the side door, columns separated by `|`. NULL shows differently: coalesce.
    pub(super) async fn query(&self, sql: &str) -> Vec<String> {
        let text = match self.kind {
            Kind::Sqlite => {
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.sqlite().await).await.expect(sql);
                let cells = |row: &sqlx::sqlite::SqliteRow| {
                    (0..row.len())
                        .map(|i| row.get_unchecked::<Option<String>, _>(i).unwrap_or_default())
                        .collect::<Vec<_>>()
                };
                return rows.iter().map(|row| cells(row).join("|")).collect();
            }
            Kind::Postgres => postgres().await.query(&self.name, sql).await,
            Kind::Mariadb => mariadb().await.query(&self.name, sql).await.replace('\t', "|"),
        };
        text.lines().map(str::to_owned).collect()
    }

    /// One number by the side door.
    pub(super) async fn count(&self, sql: &str) -> u64 {
        self.query(sql).await[0].parse().expect("a number")
    }

    /// The file of a SQLite database.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join("db.sqlite")
    }

    async fn sqlite(&self) -> SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.file());
        options.connect().await.expect("the file opens")
    }

    /// A specification of this database; `tables` is TOML.
    pub(super) fn spec(&self, tables: &str) -> SystemSpec {
        #[derive(serde::Deserialize)]
        struct Tables {
            tables: Vec<TableSpec>,
        }
        let server = |port: u16| json!({ "host": "127.0.0.1", "port": port, "database": self.name, "username": "dsr", "connect_timeout_seconds": 5 });
        let (connector, settings) = match self.kind {
            Kind::Sqlite => ("sqlite", json!({ "path": "db.sqlite" })),
            Kind::Postgres => ("postgres", server(POSTGRES.get().expect("started").port())),
            Kind::Mariadb => ("mysql", server(MARIADB.get().expect("started").port())),
        };
        let Value::Object(settings) = settings else { unreachable!("settings are an object") };
        let mut secrets = BTreeMap::from([("hash_key".to_owned(), HASH_KEY.into())]);
        if self.kind != Kind::Sqlite {
            secrets.insert("password".to_owned(), "pw".into());
        }
        SystemSpec {
            name: "shop".to_owned(),
            connector: connector.to_owned(),
            settings,
            secrets,
            tables: toml::from_str::<Tables>(tables).expect("the test's tables are valid TOML").tables,
            max_matches: 25,
            base_dir: Some(self.folder.clone()),
            network: crate::Network::default(),
        }
    }

    /// A connector to this database.
    pub(super) fn connector(&self, tables: &str) -> Arc<dyn Connector> {
        connect(&self.spec(tables))
    }

    /// `a` on SQLite, `b` on PostgreSQL, `c` on MariaDB.
    pub(super) fn pick<T>(&self, a: T, b: T, c: T) -> T {
        match self.kind {
            Kind::Sqlite => a,
            Kind::Postgres => b,
            Kind::Mariadb => c,
        }
    }
}

/// A connector to what the specification says.
pub(super) fn connect(spec: &SystemSpec) -> Arc<dyn Connector> {
    crate::registry::connect(spec).unwrap_or_else(|faults| panic!("{faults:?}"))
}

async fn postgres() -> &'static Postgres {
    POSTGRES.get_or_init(Postgres::start).await
}

async fn mariadb() -> &'static Mariadb {
    MARIADB.get_or_init(Mariadb::start).await
}
