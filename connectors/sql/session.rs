//! A session is one transaction on one of the three databases; statements go in as text with bound values, rows come out as text.

use super::dialect::{Dialect, Param};
use super::trouble::from_database;
use crate::{Problem, Trouble};
use sqlx::{AssertSqlSafe, Connection as _, MySql, Postgres, Row as _, Sqlite, Transaction};
use std::time::Duration;

/// The longest that one statement may take before it counts as hanging.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(3);

/// One row: each column as text.
pub(super) type Texts = Vec<Option<String>>;

/// The connections to one system. Opened when first needed.
pub(super) enum Pool {
    Postgres(sqlx::PgPool),
    Mysql(sqlx::MySqlPool),
    Sqlite(sqlx::SqlitePool),
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Reads one consistent state.
    Read,
    /// Changes rows, which it locks before it decides.
    Write,
}

/// An open transaction; dropped without [`Session::commit`], it is rolled back.
pub(super) enum Session {
    Postgres(Transaction<'static, Postgres>),
    Mysql(Transaction<'static, MySql>),
    Sqlite(Transaction<'static, Sqlite>),
}

macro_rules! bound {
    ($sql:expr, $params:expr, $texts:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql));
        for param in $params {
            query = match param {
                Param::Text(text) => query.bind(text),
                Param::Int(number) => query.bind(number),
                Param::Bytes(bytes) => query.bind(bytes),
                Param::Texts(texts) => query.bind($texts(texts)),
            };
        }
        query
    }};
}

/// PostgreSQL takes an array as it is; the others are never given one.
const fn as_array(texts: Vec<String>) -> Vec<String> {
    texts
}

fn as_json(texts: Vec<String>) -> String {
    serde_json::Value::from(texts).to_string()
}

impl Pool {
    /// Opens a transaction.
    pub(super) async fn begin(&self, mode: Mode) -> Result<Session, Trouble> {
        let begun = async {
            Ok(match self {
                Pool::Postgres(pool) => Session::Postgres(match mode {
                    Mode::Read => pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?,
                    Mode::Write => pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?,
                }),
                // The level belongs to the session (see `settings`): under REPEATABLE READ a locking read would lock
                // every row it passes, near-twins included, and under READ COMMITTED there are no snapshots.
                Pool::Mysql(pool) => Session::Mysql({
                    let mut connection = pool.acquire().await?;
                    let level = match mode {
                        Mode::Read => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                        Mode::Write => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
                    };
                    sqlx::query(level).execute(&mut *connection).await?;
                    let begin = match mode {
                        Mode::Read => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
                        Mode::Write => "START TRANSACTION READ WRITE",
                    };
                    Transaction::begin(connection, Some(sqlx::SqlSafeStr::into_sql_str(begin))).await?
                }),
                Pool::Sqlite(pool) => Session::Sqlite({
                    let mut connection = pool.acquire().await?;
                    // After a full disk SQLite undoes a transaction by itself, which the library does not see: it takes the
                    // connection to be in it for ever.
                    while connection.is_in_transaction() {
                        let _closed_either_way = connection.close().await;
                        connection = pool.acquire().await?;
                    }
                    let begin = match mode {
                        Mode::Read => "BEGIN DEFERRED",
                        Mode::Write => "BEGIN IMMEDIATE",
                    };
                    Transaction::begin(connection, Some(sqlx::SqlSafeStr::into_sql_str(begin))).await?
                }),
            })
        };
        within(begun).await?.map_err(|error: sqlx::Error| from_database(&error, None))
    }
}

impl Session {
    /// Which database it is.
    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Session::Postgres(_) => Dialect::Postgres,
            Session::Mysql(_) => Dialect::Mysql,
            Session::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Reads rows. `about` is the table to name if it fails.
    pub(super) async fn rows(&mut self, about: &str, sql: String, params: Vec<Param>) -> Result<Vec<Texts>, Trouble> {
        macro_rules! fetch {
            ($tx:expr, $texts:expr) => {{
                let rows = within(bound!(sql, params, $texts).fetch_all(&mut **$tx)).await?;
                let rows = rows.map_err(|error| from_database(&error, Some(about)))?;
                rows.iter()
                    .map(|row| {
                        (0..row.len())
                            .map(|i| {
                                let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(i)?;
                                // What is not UTF-8 cannot be an identifier of ours, but is exported as far as it goes.
                                Ok(bytes.map(|bytes| match String::from_utf8(bytes) {
                                    Ok(text) => text,
                                    Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
                                }))
                            })
                            .collect::<Result<Texts, sqlx::Error>>()
                    })
                    .collect::<Result<Vec<Texts>, _>>()
                    .map_err(|error| from_database(&error, Some(about)))
            }};
        }
        match self {
            Session::Postgres(tx) => fetch!(tx, as_array),
            Session::Mysql(tx) => fetch!(tx, as_json),
            Session::Sqlite(tx) => fetch!(tx, as_json),
        }
    }

    /// Runs a statement and gives the number of rows that the database says it changed.
    pub(super) async fn run(&mut self, about: &str, sql: String, params: Vec<Param>) -> Result<u64, Trouble> {
        macro_rules! execute {
            ($tx:expr, $texts:expr) => {
                within(bound!(sql, params, $texts).execute(&mut **$tx)).await?.map(|done| done.rows_affected())
            };
        }
        let affected = match self {
            Session::Postgres(tx) => execute!(tx, as_array),
            Session::Mysql(tx) => execute!(tx, as_json),
            Session::Sqlite(tx) => execute!(tx, as_json),
        };
        affected.map_err(|error| from_database(&error, Some(about)))
    }

    /// Makes the changes permanent.
    pub(super) async fn commit(self) -> Result<(), Trouble> {
        let done = match self {
            Session::Postgres(tx) => within(tx.commit()).await?,
            Session::Mysql(tx) => within(tx.commit()).await?,
            Session::Sqlite(tx) => within(tx.commit()).await?,
        };
        done.map_err(|error| from_database(&error, None))
    }

    /// Gives up the changes. Dropping does the same, but later.
    pub(super) async fn roll_back(self) {
        let undone = async {
            match self {
                Session::Postgres(tx) => tx.rollback().await,
                Session::Mysql(tx) => tx.rollback().await,
                Session::Sqlite(tx) => tx.rollback().await,
            }
        };
        // A connection that cannot even roll back is closed by the pool, which rolls back too.
        let _ = within(undone).await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T, Trouble> {
    tokio::time::timeout(STATEMENT_TIMEOUT, work)
        .await
        .map_err(|_| Trouble::Retry(Problem::new("timeout", "the database did not answer a statement in 180 seconds")))
}
