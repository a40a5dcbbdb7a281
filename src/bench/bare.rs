//! A bare loop does what Redress has to do at the least, and nothing else: the ceiling that a figure is compared with.

use super::customers::email;
use super::report::percentile;
use super::servers::OURS;
use anyhow::{Result, bail};
use futures::future::try_join_all;
use redress_store::Dialect;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Column as _, PgPool, Row as _, SqlitePool, TypeInfo as _, ValueRef as _};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A value of one of the three types that the product's tables have.
#[derive(Debug, Clone)]
enum Cell {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// Rows of one table as they are.
#[derive(Debug, Clone)]
struct Rows {
    table: &'static str,
    columns: Vec<String>,
    all: Vec<Vec<Cell>>,
}

/// Everything that one submission wrote.
type Written = Vec<Rows>;

/// Either database of the product.
#[derive(Debug)]
pub(super) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What a loop reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// Submissions, or people, in a second.
    pub(super) rate: f64,
    /// Milliseconds that half of them took at most.
    pub(super) p50: f64,
    /// Milliseconds that 99 of 100 took at most.
    pub(super) p99: f64,
}

impl Database {
    /// The embedded database, with the guarantees that the product asks of it.
    pub(super) async fn sqlite(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(15))
            .pragma("cache_size", "-8000")
            .pragma("secure_delete", "ON");
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(Duration::from_mins(1));
        Ok(Self::Sqlite(pool.connect_with(options).await?))
    }

    /// Which of the two it is.
    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// How many rows a table has from this key on.
    pub(super) async fn count(&self, table: &str, of: &str, from: &str) -> Result<i64> {
        let sql = AssertSqlSafe(format!("{OURS} SELECT count(*) FROM {table} WHERE {of} >= $1"));
        Ok(match self {
            Self::Sqlite(pool) => sqlx::query_scalar(sql).bind(from).fetch_one(pool).await?,
            Self::Postgres(pool) => sqlx::query_scalar(sql).bind(from).fetch_one(pool).await?,
        })
    }

    /// Runs a script.
    pub(super) async fn script(&self, sql: &str) -> Result<()> {
        let sql = AssertSqlSafe(format!("{OURS} {sql}"));
        match self {
            Self::Sqlite(pool) => sqlx::raw_sql(sql).execute(pool).await.map(drop)?,
            Self::Postgres(pool) => sqlx::raw_sql(sql).execute(pool).await.map(drop)?,
        }
        Ok(())
    }

    /// Closes its connections.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// Rows of a table in the order of their keys; with `from` those of requests from this one on.
    async fn read(&self, table: &'static str, of: &str, from: &str) -> Result<Rows> {
        let sql = format!("{OURS} SELECT * FROM {table} WHERE {of} >= $1 ORDER BY {of}");
        let mut all = Rows { table, columns: Vec::new(), all: Vec::new() };
        match self {
            Self::Sqlite(pool) => {
                for row in sqlx::query(AssertSqlSafe(sql)).bind(from).fetch_all(pool).await? {
                    all.columns = row.columns().iter().map(|c| c.name().to_owned()).collect();
                    let cells = (0..row.len()).map(|i| {
                        let raw = row.try_get_raw(i)?;
                        let kind = raw.type_info().name().to_owned();
                        Ok(match kind.as_str() {
                            _ if raw.is_null() => Cell::Text(None),
                            "INTEGER" => Cell::Int(row.try_get_unchecked(i)?),
                            "BLOB" => Cell::Bytes(row.try_get_unchecked(i)?),
                            _ => Cell::Text(row.try_get_unchecked(i)?),
                        })
                    });
                    all.all.push(cells.collect::<Result<_, sqlx::Error>>()?);
                }
            }
            Self::Postgres(pool) => {
                for row in sqlx::query(AssertSqlSafe(sql)).bind(from).fetch_all(pool).await? {
                    all.columns = row.columns().iter().map(|c| c.name().to_owned()).collect();
                    let cells = row.columns().iter().enumerate().map(|(i, column)| {
                        Ok(match column.type_info().name() {
                            "INT8" => Cell::Int(row.try_get(i)?),
                            "BYTEA" => Cell::Bytes(row.try_get(i)?),
                            _ => Cell::Text(row.try_get(i)?),
                        })
                    });
                    all.all.push(cells.collect::<Result<_, sqlx::Error>>()?);
                }
            }
        }
        Ok(all)
    }

    /// What each submission from this request on wrote, as it stands before any work was done.
    async fn written(&self, from: &str) -> Result<Vec<Written>> {
        let mut by_request: BTreeMap<String, Written> = BTreeMap::new();
        for (table, of) in [("dsrs", "id"), ("steps", "dsr_id"), ("events", "dsr_id"), ("idempotency", "dsr_id")] {
            let all = self.read(table, of, from).await?;
            let Some(at) = all.columns.iter().position(|c| c == of) else { continue };
            for row in all.all {
                let Cell::Text(Some(id)) = &row[at] else { continue };
                let written = by_request.entry(id.clone()).or_default();
                match written.last_mut() {
                    Some(last) if last.table == table => last.all.push(row),
                    _ => written.push(Rows { table, columns: all.columns.clone(), all: vec![row] }),
                }
            }
        }
        Ok(by_request.into_values().collect())
    }

    /// Writes rows in one transaction.
    async fn commit(&self, written: &[Rows]) -> Result<()> {
        match self {
            Self::Sqlite(pool) => {
                let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
                for rows in written {
                    bound(sqlx::query(AssertSqlSafe(insert(rows))), rows).execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
            Self::Postgres(pool) => {
                let mut tx = pool.begin().await?;
                for rows in written {
                    bound_pg(sqlx::query(AssertSqlSafe(insert(rows))), rows).execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
        }
        Ok(())
    }
}

macro_rules! binder {
    ($name:ident, $database:ty, $arguments:ty) => {
        fn $name<'q>(
            mut query: sqlx::query::Query<'q, $database, $arguments>,
            rows: &Rows,
        ) -> sqlx::query::Query<'q, $database, $arguments> {
            for cell in rows.all.iter().flatten() {
                query = match cell.clone() {
                    Cell::Int(value) => query.bind(value),
                    Cell::Text(value) => query.bind(value),
                    Cell::Bytes(value) => query.bind(value),
                };
            }
            query
        }
    };
}
binder!(bound, sqlx::Sqlite, sqlx::sqlite::SqliteArguments);
binder!(bound_pg, sqlx::Postgres, sqlx::postgres::PgArguments);

fn insert(rows: &Rows) -> String {
    let width = rows.columns.len();
    let values: Vec<String> = (0..rows.all.len())
        .map(|r| format!("({})", (1..=width).map(|c| format!("${}", r * width + c)).collect::<Vec<_>>().join(", ")))
        .collect();
    format!("{OURS} INSERT INTO {} ({}) VALUES {}", rows.table, rows.columns.join(", "), values.join(", "))
}

/// The inserts that the submissions from request `from` on made durable, made durable once more in an empty database with
/// the same schema, a transaction each, by so many at a time: as many rows, of the same size, and nothing else.
pub(super) async fn submissions(source: &Database, empty: &Database, from: &str, at_a_time: usize) -> Result<Reached> {
    for (table, of) in [("controllers", "id"), ("systems", "id")] {
        let rows = source.read(table, of, "").await?;
        empty.commit(&[rows]).await?;
    }
    let written = source.written(from).await?;
    if written.is_empty() {
        bail!("there are no submissions to repeat");
    }
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let took = try_join_all((0..at_a_time).map(|_| async {
        let mut took = Vec::new();
        while let Some(one) = written.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            empty.commit(one).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        anyhow::Ok(took)
    }))
    .await?;
    Ok(reached(took.concat(), written.len(), began.elapsed()))
}

/// A rate with the times that the single ones took.
pub(super) fn reached(mut took: Vec<f64>, n: usize, time: Duration) -> Reached {
    took.sort_by(f64::total_cmp);
    Reached { rate: n as f64 / time.as_secs_f64(), p50: percentile(&took, 0.5), p99: percentile(&took, 0.99) }
}

/// Set-based statements for so many people at a time, as many as an export or an erasure with its second read cannot do
/// without, on one connection.
pub(super) async fn customers(pool: &PgPool, erase: bool, people: &Range<u32>, batch: usize) -> Result<Reached> {
    const READS: [&str; 5] = [
        "SELECT * FROM customers WHERE email = ANY($1)",
        "SELECT * FROM addresses WHERE customer_id = ANY($2)",
        "SELECT * FROM orders WHERE customer_id = ANY($2)",
        "SELECT * FROM tickets WHERE requester_email = ANY($1)",
        "SELECT * FROM newsletter WHERE email = ANY($1)",
    ];
    const DELETES: [&str; 5] = [
        "DELETE FROM addresses WHERE customer_id = ANY($2)",
        "DELETE FROM orders WHERE customer_id = ANY($2)",
        "DELETE FROM tickets WHERE requester_email = ANY($1)",
        "DELETE FROM newsletter WHERE email = ANY($1)",
        "DELETE FROM customers WHERE email = ANY($1)",
    ];
    let all: Vec<u32> = people.clone().collect();
    let mut took = Vec::new();
    let began = Instant::now();
    for chunk in all.chunks(batch) {
        let batch_began = Instant::now();
        let emails: Vec<String> = chunk.iter().copied().map(email).collect();
        let ids: Vec<i64> = chunk.iter().copied().map(i64::from).collect();
        let lock = if erase { " FOR UPDATE" } else { "" };
        let mut tx = pool.begin().await?;
        for read in READS {
            let sql = format!("{OURS} {read} AND $1::text[] IS NOT NULL AND $2::bigint[] IS NOT NULL{lock}");
            sqlx::query(AssertSqlSafe(sql)).bind(&emails).bind(&ids).fetch_all(&mut *tx).await?;
        }
        if erase {
            for delete in DELETES {
                let sql = format!("{OURS} {delete} AND $1::text[] IS NOT NULL AND $2::bigint[] IS NOT NULL");
                sqlx::query(AssertSqlSafe(sql)).bind(&emails).bind(&ids).execute(&mut *tx).await?;
            }
        }
        tx.commit().await?;
        if erase {
            let mut tx = pool.begin().await?;
            for read in READS {
                let sql = format!("{OURS} {read} AND $1::text[] IS NOT NULL AND $2::bigint[] IS NOT NULL");
                sqlx::query(AssertSqlSafe(sql)).bind(&emails).bind(&ids).fetch_all(&mut *tx).await?;
            }
            tx.commit().await?;
        }
        took.push(batch_began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(reached(took, all.len(), began.elapsed()))
}
