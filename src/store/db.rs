//! The database is SQLite or PostgreSQL behind one small face: named transactions, positional arguments, typed columns.

use crate::sql::{Column, RowSet, json_list};
use crate::{Error, simulation};
use futures::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, PgPool, Postgres, Row as _, SqlSafeStr as _, Sqlite, SqlitePool,
    Transaction,
};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Bundled, one machine.
    Sqlite,
    /// A fleet's system of record.
    Postgres,
}

/// One argument of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    /// For `{in $n}` and `{not_in $n}`.
    Texts(Vec<String>),
    /// For `{rows $n AS …}`; takes as many places as it has columns.
    Rows(RowSet),
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
    Vec<String> => |v| Arg::Texts(v),
    RowSet => |v| Arg::Rows(v),
}

/// The ids of a list argument.
pub(crate) fn texts<T: AsRef<str>>(ids: impl IntoIterator<Item = T>) -> Vec<String> {
    ids.into_iter().map(|id| id.as_ref().to_owned()).collect()
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
pub(crate) struct Db {
    pools: Pools,
    /// How many statements were sent, `BEGIN` and `COMMIT` included.
    statements: Arc<AtomicU64>,
}

#[derive(Debug, Clone)]
enum Pools {
    /// One writer, so that our own tasks queue instead of colliding, and several readers.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

type SqliteQuery = Query<'static, Sqlite, SqliteArguments>;
type PgQuery = Query<'static, Postgres, PgArguments>;

fn sqlite_query(sql: Arc<str>, args: Vec<Arg>) -> SqliteQuery {
    args.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, arg| match arg {
        Arg::Int(v) => query.bind(v),
        Arg::Text(v) => query.bind(v),
        Arg::Bytes(v) => query.bind(v),
        Arg::Texts(all) => query.bind(json_list(&all)),
        Arg::Rows(rows) => (1..rows.width()).fold(query.bind(rows.json()), |query, _| query.bind(None::<i64>)),
    })
}

fn pg_query(sql: Arc<str>, args: Vec<Arg>) -> PgQuery {
    args.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, arg| match arg {
        Arg::Int(v) => query.bind(v),
        Arg::Text(v) => query.bind(v),
        Arg::Bytes(v) => query.bind(v),
        Arg::Texts(all) => query.bind(all),
        Arg::Rows(rows) => rows.columns().into_iter().fold(query, |query, column| match column {
            Column::Ints(all) => query.bind(all),
            Column::Texts(all) => query.bind(all),
            Column::Bytes(all) => query.bind(all),
        }),
    })
}

/// More than there are statements.
const STATEMENTS_KEPT: usize = 400;
/// A connection that was idle for longer is asked whether it still lives before it is used.
const FRESH: Duration = Duration::from_secs(1);

/// After so long without a statement PostgreSQL ends a transaction of ours: less than a lease.
const IDLE_SECONDS: u32 = 10;

/// Begins on a connection that is in no transaction. After a full disk or an I/O error SQLite undoes a transaction by itself,
/// which the library does not see: it takes such a connection to be in it for ever. It is closed, and another one opened.
async fn begin_sqlite(pool: &SqlitePool) -> sqlx::Result<Transaction<'static, Sqlite>> {
    let mut connection = pool.acquire().await?;
    while connection.is_in_transaction() {
        tracing::warn!("the embedded database is opened again, because a transaction of it was undone by an error");
        let _closed_either_way = connection.close().await;
        connection = pool.acquire().await?;
    }
    Transaction::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str())).await
}

impl Db {
    pub(crate) async fn connect(url: &str, max_connections: u32, timeout: Duration) -> Result<Self, Error> {
        let pools = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::postgres(url, max_connections, timeout).await?
        } else {
            Self::sqlite(url, max_connections, timeout).await?
        };
        Ok(Self { pools, statements: Arc::default() })
    }

    async fn postgres(url: &str, max_connections: u32, timeout: Duration) -> Result<Pools, Error> {
        let options = PgConnectOptions::from_str(url)?
            .application_name("redress")
            .statement_cache_capacity(STATEMENTS_KEPT)
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            // A process that is frozen in the middle of a transaction must not keep its rows from the others. None of ours
            // waits for anything else in between. Statements, because poolers refuse these as parameters of the start. A plan
            // is made for the arguments at hand: one that was kept from when the table was empty would read all of it.
            .after_connect(|connection, _| {
                Box::pin(async move {
                    let sql = format!(
                        "SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'; SET plan_cache_mode = force_custom_plan"
                    );
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
                })
            })
            .connect_with(options)
            .await?;
        Ok(Pools::Postgres(pool))
    }

    async fn sqlite(url: &str, max_connections: u32, timeout: Duration) -> Result<Pools, Error> {
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
            .statement_cache_capacity(STATEMENTS_KEPT)
            .row_buffer_size(1_000)
            .disable_statement_logging();
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_mins(1))
            .test_before_acquire(false)
            .connect_with(options.clone())
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(max_connections.clamp(1, 4))
            .acquire_timeout(timeout)
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        Ok(Pools::Sqlite { writer, readers })
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres(_) => Dialect::Postgres,
        }
    }

    /// How many statements were sent so far, `BEGIN` and `COMMIT` included.
    pub(crate) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins a transaction that writes. Dropping it undoes it.
    pub(crate) async fn begin(&self, name: &'static str) -> Result<Tx, Error> {
        self.count();
        simulation::write()?;
        let inner = match &self.pools {
            Pools::Sqlite { writer, .. } => Inner::Sqlite(begin_sqlite(writer).await?),
            Pools::Postgres(pool) => Inner::Postgres(pool.begin().await?),
        };
        Ok(Tx { inner, name, wakes: Vec::new(), statements: self.statements.clone() })
    }

    /// Reads rows outside a transaction.
    pub(crate) async fn rows(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, Error> {
        self.count();
        let sql = simulation::statement(self.dialect(), self.dialect().render(sql))?;
        Ok(match &self.pools {
            Pools::Sqlite { readers, .. } => {
                sqlite_query(sql, args).fetch(readers).map_ok(Row::Sqlite).try_collect().await?
            }
            Pools::Postgres(pool) => pg_query(sql, args).fetch(pool).map_ok(Row::Postgres).try_collect().await?,
        })
    }

    pub(crate) async fn row(&self, sql: &str, args: Vec<Arg>) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// Runs one statement that writes and is a transaction by itself; returns what it returns.
    pub(crate) async fn write(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, Error> {
        self.count();
        simulation::write()?;
        let sql = simulation::statement(self.dialect(), self.dialect().render(sql))?;
        Ok(match &self.pools {
            Pools::Sqlite { writer, .. } => {
                sqlite_query(sql, args).fetch(writer).map_ok(Row::Sqlite).try_collect().await?
            }
            Pools::Postgres(pool) => pg_query(sql, args).fetch(pool).map_ok(Row::Postgres).try_collect().await?,
        })
    }

    /// Asks over a connection of its own: the others may wait for something else than the database.
    pub(crate) async fn probe(&self) -> Result<(), Error> {
        match &self.pools {
            Pools::Sqlite { readers, .. } => {
                let mut connection = readers.connect_options().connect().await?;
                sqlx::query("-- probe\nSELECT 1").execute(&mut connection).await?;
                connection.close().await?;
            }
            Pools::Postgres(pool) => {
                let mut connection = pool.connect_options().connect().await?;
                sqlx::query("-- probe\nSELECT 1").execute(&mut connection).await?;
                connection.close().await?;
            }
        }
        Ok(())
    }

    /// Lets nothing that was deleted stay in the write-ahead log. PostgreSQL's vacuum and log recycling are its operator's.
    pub(crate) async fn forget(&self) -> Result<(), Error> {
        if let Pools::Sqlite { writer, .. } = &self.pools {
            sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await?;
        }
        Ok(())
    }

    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
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
    statements: Arc<AtomicU64>,
}

impl Tx {
    pub(crate) const fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    fn count(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) async fn rows(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, Error> {
        self.count();
        simulation::write()?;
        let sql = simulation::statement(self.dialect(), self.dialect().render(sql))?;
        Ok(match &mut self.inner {
            Inner::Sqlite(tx) => sqlite_query(sql, args).fetch(&mut **tx).map_ok(Row::Sqlite).try_collect().await?,
            Inner::Postgres(tx) => pg_query(sql, args).fetch(&mut **tx).map_ok(Row::Postgres).try_collect().await?,
        })
    }

    pub(crate) async fn row(&mut self, sql: &str, args: Vec<Arg>) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// Runs a statement and tells how many rows it affected.
    pub(crate) async fn exec(&mut self, sql: &str, args: Vec<Arg>) -> Result<u64, Error> {
        self.count();
        simulation::write()?;
        let sql = simulation::statement(self.dialect(), self.dialect().render(sql))?;
        Ok(match &mut self.inner {
            Inner::Sqlite(tx) => sqlite_query(sql, args).execute(&mut **tx).await?.rows_affected(),
            Inner::Postgres(tx) => pg_query(sql, args).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs several statements without arguments: migrations only.
    pub(crate) async fn script(&mut self, sql: &str) -> Result<(), Error> {
        self.count();
        let sql = AssertSqlSafe(self.dialect().render(sql));
        match &mut self.inner {
            Inner::Sqlite(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop)?,
            Inner::Postgres(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(drop)?,
        }
        Ok(())
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) async fn commit(self) -> Result<Vec<String>, Error> {
        self.count();
        if !simulation::commits(self.name)? {
            return Ok(self.wakes);
        }
        let result = match self.inner {
            Inner::Sqlite(tx) => tx.commit().await,
            Inner::Postgres(tx) => tx.commit().await,
        };
        result.map_err(|source| Error::Transaction { name: self.name, source: Box::new(source) })?;
        simulation::write()?;
        Ok(self.wakes)
    }
}
