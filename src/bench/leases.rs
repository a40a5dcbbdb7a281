//! `redress bench leases`: how many steps a second can be leased and finished when doing them costs nothing.

use super::bare::Database;
use super::crowd::Crowd;
use super::report::{Report, Table, Want, number};
use super::servers::OURS;
use super::service::Service;
use super::{Common, usage};
use crate::app::open_store;
use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use redress_domain::step::StepState;
use redress_domain::{Clock as _, SystemClock};
use redress_store::{Finish, StepResult, Store, WorkKind};
use serde_json::json;
use sqlx::{AssertSqlSafe, Row as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is asked of the bench.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    /// How many steps are ready.
    pub(crate) backlog: Vec<u64>,
    /// How many loops on PostgreSQL; SQLite has one writer, and gets two, so that it never waits for us.
    pub(crate) loops: usize,
}

/// Most steps of one claim.
const BATCH: usize = 300;
/// Steps of one request that can be worked on; one more waits, so that no request ends.
const STEPS: u64 = 10;
const LEASE_MS: i64 = 12_000;
const LONG_ENOUGH: Duration = Duration::from_secs(8);

/// Runs it.
pub(crate) async fn run(common: &Common, asked: &Leases) -> Result<Report> {
    let mut report = Report::default();
    let backlogs: Vec<String> = asked.backlog.iter().map(ToString::to_string).collect();
    let command = format!("redress bench leases --backlog {}", backlogs.join(","));
    let mut table = Table::new(
        "Leases: claim, no-op, finish",
        command,
        &["database and backlog", "steps/s", "bare lease table, steps/s", "share", "prototype, 10⁴"],
    );
    for (name, on_postgres, prototype) in [("SQLite, full fsync", false, "11,500"), ("PostgreSQL", true, "16,700")] {
        let server = if on_postgres { Some(common.postgres("leases").await?) } else { None };
        for backlog in &asked.backlog {
            common.say(&format!("leases on {name} with {backlog} steps ready"));
            let folder = format!("leases-{on_postgres}-{backlog}");
            let url = match &server {
                Some(server) => Some(server.beside(&folder).await?),
                None => None,
            };
            let mut service = Service::new(&common.lab, &folder, url.as_ref().map(url::Url::as_str), None)?;
            service.run(&["migrate"]).await?;
            let database = service.database().await?;
            let mut crowd = Crowd::begin(&mut service, &database, STEPS as usize + 1).await?;
            crowd.grow(&database, backlog.div_ceil(STEPS), true).await?;
            database.pause(false).await?;
            let store = open_store(&service.config()?).await?;
            let loops = if on_postgres { asked.loops } else { 2 };
            let ours = through_the_store(&store, loops, backlog / 2).await?;
            store.close().await;
            let bare = through_nothing(&database, loops, backlog / 3).await?;
            database.close().await;
            table.row(
                format!("{name}, {}", number(*backlog as f64)),
                [number(ours), number(bare), format!("{:.0} %", ours / bare * 100.0), prototype.to_owned()],
            );
            if *backlog >= 100_000 {
                let figure = format!("steps/s of claim, no-op, finish: {name}, backlog {}", number(*backlog as f64));
                report.judge(&figure, Want::AtLeast(10_000.0), Some(ours), "/s");
            }
        }
    }
    table.note(format!(
        "Requests of {STEPS} ready steps on as many systems, batches of {BATCH}. Ours writes the outcome, the audit log with its hash chain, the pace of the system and the request's next stage in the same transaction; the bare table only leases and marks done, as the prototype did. {} loop(s) on PostgreSQL, 2 on SQLite. Machine: {}.",
        asked.loops,
        usage::machine(common.lab.path())
    ));
    report.tables.push(table);
    Ok(report)
}

/// The store's own claim and finish, until so many are done or it has been long enough; steps a second.
async fn through_the_store(store: &Store, loops: usize, most: u64) -> Result<f64> {
    let (done, began) = (AtomicU64::new(0), Instant::now());
    try_join_all((0..loops).map(|n| {
        let (store, done) = (store.clone(), &done);
        async move {
            let owner = format!("bench-{n}");
            while done.load(Ordering::Relaxed) < most && began.elapsed() < LONG_ENOUGH {
                let leases = store.claim(&owner, &[], BATCH, LEASE_MS).await?;
                ensure!(!leases.is_empty(), "nothing was leased although there is a backlog");
                let batch: Vec<Finish> = leases
                    .into_iter()
                    .filter(|lease| matches!(lease.kind, WorkKind::Step(_)))
                    .map(|lease| Finish { lease, result: nothing() })
                    .collect();
                let steps = batch.len() as u64;
                let dropped = store.finish(batch).await?;
                ensure!(dropped == 0, "{dropped} outcomes were dropped");
                done.fetch_add(steps, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }
    }))
    .await?;
    Ok(done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

/// What came of a step that cost nothing.
pub(super) fn nothing() -> StepResult {
    StepResult::Acted {
        state: StepState::Done,
        found: 1,
        changed: 0,
        retained: 0,
        result: json!({}),
        receipt: None,
        verify_at: None,
    }
}

/// Lease and finish as two statements each in a transaction of its own on the same table, and nothing else.
async fn through_nothing(database: &Database, loops: usize, most: u64) -> Result<f64> {
    let (done, began) = (AtomicU64::new(0), Instant::now());
    let loops = if matches!(database, Database::Sqlite(_)) { 1 } else { loops };
    let queues = database.ready().await?;
    ensure!(!queues.is_empty(), "nothing is left for the bare loop");
    let next = AtomicU64::new(0);
    try_join_all((0..loops).map(|_| async {
        while done.load(Ordering::Relaxed) < most && began.elapsed() < LONG_ENOUGH {
            let queue = &queues[next.fetch_add(1, Ordering::Relaxed) as usize % queues.len()];
            let steps = match database {
                Database::Sqlite(pool) => {
                    let claim = claim("");
                    let rows = sqlx::query(AssertSqlSafe(claim)).bind(BATCH as i64).bind(SystemClock.now_ms() + LEASE_MS).bind(&queue[0]).bind(&queue[1]).bind(&queue[2]);
                    let rows = rows.fetch_all(pool).await?;
                    let held: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
                    let sql = format!("{OURS} UPDATE steps SET q = NULL, state = 'done', acted_at = $2, lease_until = NULL WHERE (id, token) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1)) AND q = 'run'");
                    let held = json!(held).to_string();
                    sqlx::query(AssertSqlSafe(sql)).bind(held).bind(SystemClock.now_ms()).execute(pool).await?.rows_affected()
                }
                Database::Postgres(pool) => {
                    let claim = claim("FOR NO KEY UPDATE SKIP LOCKED");
                    let rows = sqlx::query(AssertSqlSafe(claim)).bind(BATCH as i64).bind(SystemClock.now_ms() + LEASE_MS).bind(&queue[0]).bind(&queue[1]).bind(&queue[2]);
                    let rows = rows.fetch_all(pool).await?;
                    let ids: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                    let tokens: Vec<i64> = rows.iter().map(|row| row.get(1)).collect();
                    let sql = format!("{OURS} UPDATE steps s SET q = NULL, state = 'done', acted_at = $3, lease_until = NULL FROM unnest($1::text[], $2::bigint[]) AS f(id, token) WHERE s.id = f.id AND s.token = f.token AND s.q = 'run'");
                    let finish = sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(tokens).bind(SystemClock.now_ms());
                    finish.execute(pool).await?.rows_affected()
                }
            };
            ensure!(steps > 0, "the bare loop found nothing to lease");
            done.fetch_add(steps, Ordering::Relaxed);
        }
        anyhow::Ok(())
    }))
    .await
    .context("the bare lease table")?;
    Ok(done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

fn claim(lock: &str) -> String {
    format!(
        "{OURS} WITH picked AS MATERIALIZED (SELECT id FROM steps WHERE q = 'ready' AND lane = $3 AND controller_id = $4 AND verb = $5 AND phase = 'act' ORDER BY due_at, id LIMIT $1 {lock}) UPDATE steps SET q = 'run', owner = 'bare', token = token + 1, attempts = attempts + 1, lease_until = $2 WHERE id IN (SELECT id FROM picked) RETURNING id, token"
    )
}

impl Database {
    /// The queues that hold something: lane, controller and verb.
    async fn ready(&self) -> Result<Vec<[String; 3]>> {
        let sql = AssertSqlSafe(format!(
            "{OURS} SELECT lane, controller_id, verb FROM steps WHERE q = 'ready' AND phase = 'act' GROUP BY lane, controller_id, verb HAVING count(*) > {BATCH}"
        ));
        Ok(match self {
            Self::Sqlite(pool) => {
                sqlx::query(sql).fetch_all(pool).await?.iter().map(|row| [0, 1, 2].map(|i| row.get(i))).collect()
            }
            Self::Postgres(pool) => {
                sqlx::query(sql).fetch_all(pool).await?.iter().map(|row| [0, 1, 2].map(|i| row.get(i))).collect()
            }
        })
    }
}
