//! The database is SQLite or PostgreSQL behind one small face: named transactions, positional arguments, typed columns.

use crate::Error;
use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool, Postgres, Row as _, Sqlite, SqlitePool, Transaction};
use std::str::FromStr;
use std::time::Duration;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Bundled, one machine.
    Sqlite,
    /// A fleet's system of record.
    Postgres,
}

impl Dialect {
    /// The database's own clock in Unix milliseconds, as an SQL expression: leases of a fleet are measured by one clock.
    pub(crate) const fn now_expr(self) -> &'static str {
        match self {
            Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            Dialect::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
        }
    }

    const fn blob(self) -> &'static str {
        match self {
            Dialect::Sqlite => "BLOB",
            Dialect::Postgres => "BYTEA",
        }
    }

    /// Locks the selected rows where rows are what is locked; SQLite's writer holds the whole database already. No key is
    /// ever changed, so a row that others only refer to may be locked: without this, two inserts below one controller would
    /// each hold what the other waits for.
    const fn for_update(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR NO KEY UPDATE",
        }
    }

    const fn skip_locked(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR NO KEY UPDATE SKIP LOCKED",
        }
    }

    /// Fills the few places in which the dialects differ.
    fn render(self, sql: &str) -> String {
        if !sql.contains('{') {
            return sql.to_owned();
        }
        sql.replace("{now}", self.now_expr())
            .replace("{blob}", self.blob())
            .replace("{for_update}", self.for_update())
            .replace("{skip_locked}", self.skip_locked())
    }
}

/// One argument of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! arg_from {
    ($($from:ty => |$v:ident| $make:expr),+ $(,)?) => { $(impl From<$from> for Arg { fn from($v: $from) -> Self { $make } })+ };
}
arg_from! {
    i64 => |v| Arg::Int(Some(v)),
    Option<i64> => |v| Arg::Int(v),
    bool => |v| Arg::Int(Some(i64::from(v))),
    &str => |v| Arg::Text(Some(v.to_owned())),
    Option<&str> => |v| Arg::Text(v.map(str::to_owned)),
    String => |v| Arg::Text(Some(v)),
    &String => |v| Arg::Text(Some(v.clone())),
    Option<String> => |v| Arg::Text(v),
    Vec<u8> => |v| Arg::Bytes(Some(v)),
    &[u8] => |v| Arg::Bytes(Some(v.to_vec())),
    Option<Vec<u8>> => |v| Arg::Bytes(v),
}

/// The arguments of a statement, in the order of `$1`, `$2`, …
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$($crate::db::Arg::from($arg)),*] };
}
pub(crate) use args;

/// One row of an answer.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! getter {
    ($name:ident, $type:ty) => {
        pub(crate) fn $name(&self, column: &'static str) -> Result<$type, Error> {
            match self {
                Row::Sqlite(row) => row.try_get(column),
                Row::Postgres(row) => row.try_get(column),
            }
            .map_err(|source| Error::Column { column, source: Box::new(source) })
        }
    };
}

impl Row {
    getter!(int, i64);
    getter!(opt_int, Option<i64>);
    getter!(text, String);
    getter!(opt_text, Option<String>);
    getter!(bytes, Vec<u8>);
    getter!(opt_bytes, Option<Vec<u8>>);
}

/// Connections to the database.
#[derive(Debug, Clone)]
pub(crate) enum Db {
    /// One writer, so that our own tasks queue instead of colliding, and several readers.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

macro_rules! bind_all {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Int(v) => query.bind(v),
                Arg::Text(v) => query.bind(v),
                Arg::Bytes(v) => query.bind(v),
            };
        }
        query
    }};
}

/// After so long without a statement PostgreSQL ends a transaction of ours: less than a lease.
const IDLE_SECONDS: u32 = 10;

impl Db {
    pub(crate) async fn connect(url: &str, max_connections: u32, timeout: Duration) -> Result<Self, Error> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url)?.application_name("redress").disable_statement_logging();
            let pool = PgPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(timeout)
                // A process that is frozen in the middle of a transaction must not keep its rows from the others. None of ours
                // waits for anything else in between. A statement, because poolers refuse it as a parameter of the start.
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        let sql = format!("SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'");
                        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
                    })
                })
                .connect_with(options)
                .await?;
            return Ok(Db::Postgres(pool));
        }
        // Every connection gets the same guarantees: WAL, a real fsync at commit, checked references, patience.
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(15))
            .pragma("cache_size", "-8000")
            // What is purged is overwritten in the file, not only unlinked.
            .pragma("secure_delete", "ON")
            .disable_statement_logging();
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_mins(1))
            .connect_with(options.clone())
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(max_connections.clamp(1, 4))
            .acquire_timeout(timeout)
            .connect_with(options)
            .await?;
        Ok(Db::Sqlite { writer, readers })
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        match self {
            Db::Sqlite { .. } => Dialect::Sqlite,
            Db::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Begins a transaction that writes. Dropping it undoes it.
    pub(crate) async fn begin(&self, name: &'static str) -> Result<Tx, Error> {
        let inner = match self {
            Db::Sqlite { writer, .. } => Inner::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Db::Postgres(pool) => Inner::Postgres(pool.begin().await?),
        };
        Ok(Tx { inner, name, wakes: Vec::new() })
    }

    /// Reads rows outside a transaction.
    pub(crate) async fn rows(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, Error> {
        let sql = AssertSqlSafe(self.dialect().render(sql));
        Ok(match self {
            Db::Sqlite { readers, .. } => {
                bind_all!(sqlx::query(sql), args).fetch(readers).map_ok(Row::Sqlite).try_collect().await?
            }
            Db::Postgres(pool) => {
                bind_all!(sqlx::query(sql), args).fetch(pool).map_ok(Row::Postgres).try_collect().await?
            }
        })
    }

    pub(crate) async fn row(&self, sql: &str, args: Vec<Arg>) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// Lets nothing that was deleted stay in the write-ahead log. PostgreSQL's vacuum and log recycling are its operator's.
    pub(crate) async fn forget(&self) -> Result<(), Error> {
        if let Db::Sqlite { writer, .. } = self {
            sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await?;
        }
        Ok(())
    }

    pub(crate) async fn close(&self) {
        match self {
            Db::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A named transaction. Dropping it without [`Tx::commit`] undoes everything.
pub struct Tx {
    inner: Inner,
    name: &'static str,
    /// Lanes to wake once this is committed.
    pub(crate) wakes: Vec<String>,
}

impl Tx {
    pub(crate) const fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(crate) async fn rows(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, Error> {
        let sql = AssertSqlSafe(self.dialect().render(sql));
        Ok(match &mut self.inner {
            Inner::Sqlite(tx) => {
                bind_all!(sqlx::query(sql), args).fetch(&mut **tx).map_ok(Row::Sqlite).try_collect().await?
            }
            Inner::Postgres(tx) => {
                bind_all!(sqlx::query(sql), args).fetch(&mut **tx).map_ok(Row::Postgres).try_collect().await?
            }
        })
    }

    pub(crate) async fn row(&mut self, sql: &str, args: Vec<Arg>) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// Runs a statement and tells how many rows it affected.
    pub(crate) async fn exec(&mut self, sql: &str, args: Vec<Arg>) -> Result<u64, Error> {
        let sql = AssertSqlSafe(self.dialect().render(sql));
        Ok(match &mut self.inner {
            Inner::Sqlite(tx) => bind_all!(sqlx::query(sql), args).execute(&mut **tx).await?.rows_affected(),
            Inner::Postgres(tx) => bind_all!(sqlx::query(sql), args).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs several statements without arguments: migrations only.
    pub(crate) async fn script(&mut self, sql: &str) -> Result<(), Error> {
        let sql = AssertSqlSafe(self.dialect().render(sql));
        match &mut self.inner {
            Inner::Sqlite(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop)?,
            Inner::Postgres(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop)?,
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<Vec<String>, Error> {
        let result = match self.inner {
            Inner::Sqlite(tx) => tx.commit().await,
            Inner::Postgres(tx) => tx.commit().await,
        };
        result.map_err(|source| Error::Transaction { name: self.name, source: Box::new(source) })?;
        Ok(self.wakes)
    }
}
