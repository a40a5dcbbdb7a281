//! `redress bench growth`: what a submission, a batch, a sweep and a list cost with a thousand and with a million open requests.

use super::bare::Database;
use super::crowd::Crowd;
use super::report::{Report, Table, Want, known, number, percentile};
use super::service::{Caller, Process, Service};
use super::{Common, usage};
use crate::app::open_store;
use anyhow::{Context as _, Result, ensure};
use redress_domain::{Clock as _, SystemClock};
use redress_store::{Finish, StepResult, Store, WorkKind};
use sqlx::AssertSqlSafe;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is asked of the bench.
#[derive(Debug, Clone)]
pub(crate) struct Growth {
    /// The most open requests.
    pub(crate) most: u64,
    /// Only the embedded database.
    pub(crate) sqlite_only: bool,
}

/// How long the service is left alone with a million open requests: longer than a sweep and a forecast are apart.
const IDLE: Duration = Duration::from_secs(20);
/// Real requests under load, so many a second.
const LOAD: u32 = 600;
const LOAD_RATE: f64 = 60.0;
/// People whom the live controller knows.
const PEOPLE: u32 = 20_000;

/// Costs at one size, in milliseconds.
struct Costs {
    submit: [f64; 2],
    batch: f64,
    sweep: f64,
    list: f64,
    list_by_status: f64,
}

/// Runs it.
pub(crate) async fn run(common: &Common, asked: &Growth) -> Result<Report> {
    let mut report = Report::default();
    let sizes: Vec<u64> = [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|size| *size <= asked.most).collect();
    ensure!(!sizes.is_empty(), "--most is at least 1000");
    let command = format!("redress bench growth --most {}", asked.most);
    let columns = [
        "database and open requests",
        "submit p50, ms",
        "submit p99, ms",
        "claim + finish, ms per 300",
        "sweep, ms",
        "list, ms",
        "list by status, ms",
    ];
    let mut table = Table::new("Growth", &command, &columns);
    let columns = [
        "database",
        "at rest, MB",
        "under load, MB at most",
        "load: requests/s",
        "load: end to end p99, s",
        "peer, MB",
    ];
    let mut memory = Table::new(
        format!(
            "Memory of the service in one process with {} open requests",
            number(*sizes.last().unwrap_or(&0) as f64)
        ),
        &command,
        &columns,
    );
    for (name, on_postgres) in [("SQLite", false), ("PostgreSQL", true)] {
        if on_postgres && asked.sqlite_only {
            continue;
        }
        let server = if on_postgres { Some(common.postgres("growth").await?) } else { None };
        let url = server.as_ref().map(|server| server.url.as_str());
        let mut service = Service::new(&common.lab, &format!("growth-{on_postgres}"), url, None)?;
        service.set("REDRESS_WORKER__FORECAST_INTERVAL_SECONDS", &10);
        service.run(&["migrate"]).await?;
        let database = service.database().await?;
        let mut crowd = Crowd::begin(&mut service, &database, 1).await?;
        let key = live(&service).await?;
        let mut person = 0;
        for size in &sizes {
            common.say(&format!("{} open requests on {name}", number(*size as f64)));
            let began = Instant::now();
            crowd.grow(&database, *size, false).await?;
            let costs = measure(&service, &database, &key, &mut person).await?;
            table.row(
                format!("{name}, {}", number(*size as f64)),
                [costs.submit[0], costs.submit[1], costs.batch, costs.sweep, costs.list, costs.list_by_status]
                    .map(number),
            );
            common.say(&format!("  took {:.0} s", began.elapsed().as_secs_f64()));
        }
        common.say(&format!("the whole service beside {} open requests on {name}", number(crowd.size as f64)));
        let process = service.start("all").await?;
        tokio::time::sleep(IDLE).await;
        let rest = process.memory().map(|m| m.0);
        let (rate, p99) = load(&process, &database, &key, &mut person).await?;
        let most = process.memory().map(|m| m.1);
        memory.row(name, [known(rest), known(most), number(rate), number(p99), "1,150–1,190".to_owned()]);
        let figure =
            format!("memory, all in one on {name}, under load beside {} open requests", number(crowd.size as f64));
        report.judge(&figure, Want::AtMost(150.0), most, " MB");
        drop(process);
        database.close().await;
    }
    table.note("The crowd is copied by the database from one real request; its steps are ready, its system is paused except while batches are measured. Submissions are one at a time. A sweep is: expired leases, waiting steps, due requests, forgotten requests, due purges.");
    memory.note(format!("At rest: after {} s, in which a sweep and two forecasts of every open request ran. Load: {LOAD} access and erasure requests on a SQLite system of {PEOPLE} people. Machine: {}.", IDLE.as_secs(), usage::machine(common.lab.path())));
    report.tables.extend([table, memory]);
    Ok(report)
}

/// A controller whose requests are really carried out.
async fn live(service: &Service) -> Result<String> {
    let path = service.data_folder().with_file_name("customers.db");
    customers(&path).await?;
    let file = format!(
        "[controller]\nname = \"live\"\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\nregion = \"eu\"\n\n[[system]]\nname = \"shop\"\nconnector = \"sqlite\"\nsettings = {{ path = \"{}\" }}\n\n  [[system.tables]]\n  name = \"customers\"\n  key = \"id\"\n  identify = {{ email = \"email\" }}\n  on_delete = \"delete\"\n",
        path.display()
    );
    service.provision("live", &file).await
}

async fn customers(path: &Path) -> Result<()> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await?;
    let database = Database::Sqlite(pool);
    database.script("PRAGMA journal_mode = WAL").await?;
    database
        .script(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, full_name TEXT, city TEXT)",
        )
        .await?;
    let sql = format!(
        "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {PEOPLE}) INSERT INTO customers SELECT n, 'live' || n || '@example.com', 'Person ' || n, 'City ' || n % 500 FROM g"
    );
    database.script(&sql).await?;
    database.close().await;
    Ok(())
}

async fn measure(service: &Service, database: &Database, key: &str, person: &mut u32) -> Result<Costs> {
    let mut api = service.start("api").await?;
    let mut caller = Caller::connect(api.port(), key).await?;
    let mut submit = Vec::new();
    for n in 0..70 {
        *person += 1;
        let began = Instant::now();
        caller.submit("access", &format!("live{person}@example.com")).await?;
        if n >= 10 {
            submit.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    submit.sort_by(f64::total_cmp);
    let list = time_calls(&mut caller, "/v1/requests?limit=50").await?;
    let list_by_status = time_calls(&mut caller, "/v1/requests?limit=50&status=in_progress").await?;
    api.running.stop("TERM");

    let store = open_store(&service.config()?).await?;
    database.pause(false).await?;
    let batch = batches(&store).await;
    database.pause(true).await?;
    let batch = batch?;
    let mut sweeps = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        store.expire_leases().await?;
        store.promote().await?;
        store.advance_due(100).await?;
        store.reconcile().await?;
        store.purge_due(100).await?;
        sweeps.push(began.elapsed().as_secs_f64() * 1e3);
    }
    sweeps.sort_by(f64::total_cmp);
    store.close().await;
    Ok(Costs {
        submit: [percentile(&submit, 0.5), percentile(&submit, 0.99)],
        batch,
        sweep: percentile(&sweeps, 0.5),
        list,
        list_by_status,
    })
}

async fn time_calls(caller: &mut Caller, path: &str) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..15 {
        let began = Instant::now();
        let (status, body) = caller.call("GET", path, b"").await?;
        ensure!(status == 200, "{path} was answered {status}: {}", String::from_utf8_lossy(&body));
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(percentile(&times, 0.5))
}

/// Leases batches and puts them off until tomorrow: the step, its event and what follows are written, and nobody's request
/// ends.
async fn batches(store: &Store) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..12 {
        let began = Instant::now();
        let leases = store.claim("bench", &[], 300, 12_000).await?;
        let not_before = SystemClock.now_ms() + 86_400_000;
        let later = || StepResult::Later {
            not_before,
            failed: true,
            attention: false,
            code: "bench".into(),
            detail: "put off by the bench".into(),
        };
        let batch: Vec<Finish> = leases
            .into_iter()
            .filter(|lease| matches!(lease.kind, WorkKind::Step(_)))
            .map(|lease| Finish { lease, result: later() })
            .collect();
        if batch.len() < 20 {
            // Of the live controller: its few requests are real and none of ours.
            store.release(&batch.into_iter().map(|f| f.lease).collect::<Vec<_>>()).await?;
            continue;
        }
        let steps = batch.len() as f64;
        store.finish(batch).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3 / steps * 300.0);
    }
    times.sort_by(f64::total_cmp);
    ensure!(!times.is_empty(), "no full batch could be leased");
    Ok(percentile(&times, 0.5))
}

/// Real requests at a steady rate until all of them are closed: how many a second, and the end-to-end p99 in seconds.
async fn load(process: &Process, database: &Database, key: &str, person: &mut u32) -> Result<(f64, f64)> {
    let mut caller = Caller::connect(process.port(), key).await?;
    let began = Instant::now();
    let began_ms = SystemClock.now_ms();
    for n in 0..LOAD {
        let due = began + Duration::from_secs_f64(f64::from(n) / LOAD_RATE);
        tokio::time::sleep_until(due.into()).await;
        *person += 1;
        let kind = if n % 2 == 0 { "access" } else { "deletion" };
        caller.submit(kind, &format!("live{person}@example.com")).await?;
    }
    let ours = format!(
        "instruction_received_at >= {began_ms} AND controller_id = (SELECT id FROM controllers WHERE name = 'live')"
    );
    let limit = Instant::now() + Duration::from_mins(2);
    loop {
        let closed =
            database.number(&format!("SELECT count(*) FROM dsrs WHERE {ours} AND status = 'completed'")).await?;
        if closed >= i64::from(LOAD) {
            break;
        }
        ensure!(
            Instant::now() < limit,
            "only {closed} of {LOAD} requests were completed; the log:\n{}",
            process.running.log()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut times =
        database.numbers(&format!("SELECT closed_at - instruction_received_at FROM dsrs WHERE {ours}")).await?;
    let last = database.number(&format!("SELECT MAX(closed_at) FROM dsrs WHERE {ours}")).await?;
    times.sort_by(f64::total_cmp);
    Ok((f64::from(LOAD) / ((last - began_ms) as f64 / 1e3), percentile(&times, 0.99) / 1e3))
}

impl Database {
    /// One number.
    pub(super) async fn number(&self, sql: &str) -> Result<i64> {
        let sql = AssertSqlSafe(format!("{} {sql}", super::servers::OURS));
        Ok(match self {
            Self::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await?,
            Self::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await?,
        })
    }

    /// A column of numbers.
    pub(super) async fn numbers(&self, sql: &str) -> Result<Vec<f64>> {
        let sql = AssertSqlSafe(format!("{} {sql}", super::servers::OURS));
        let all: Vec<i64> = match self {
            Self::Sqlite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.context("numbers")?,
            Self::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.context("numbers")?,
        };
        Ok(all.into_iter().map(|n| n as f64).collect())
    }
}
