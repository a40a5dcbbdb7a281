//! `redress bench submit`: how many submissions a second become durable, and how long one takes at a steady rate.

use super::bare::{self, Database};
use super::customers;
use super::report::{Report, Table, Want, number, percentile};
use super::service::{Caller, Service};
use super::{Common, usage};
use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use sqlx::postgres::PgPoolOptions;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// What is asked of the bench.
#[derive(Debug, Clone)]
pub(crate) struct Submit {
    /// Submissions a second, for the steady part.
    pub(crate) rate: f64,
    /// How long each part takes.
    pub(crate) seconds: f64,
    /// How many submit at the same time, at saturation and in the bare loop.
    pub(crate) concurrency: usize,
}

/// What one database reached.
struct Found {
    saturated: bare::Reached,
    bare: bare::Reached,
    steady: bare::Reached,
}

/// Nobody is reached in this bench: no worker runs.
const NOWHERE: &str = "postgres://nobody:nothing@127.0.0.1:1/nowhere";

/// Runs it.
pub(crate) async fn run(common: &Common, asked: &Submit) -> Result<Report> {
    let mut report = Report::default();
    let command = format!(
        "redress bench submit --rate {} --seconds {} --concurrency {}",
        asked.rate, asked.seconds, asked.concurrency
    );
    let many = format!("durable/s, {} at a time", asked.concurrency);
    let steady = [format!("p50 at {}/s, ms", asked.rate), format!("p99 at {}/s, ms", asked.rate)];
    let columns =
        ["database", &many, "p50, ms", "p99, ms", "bare insert+commit/s", "share", steady[0].as_str(), &steady[1]];
    let mut table = Table::new("Submissions", command, &columns);
    for (name, on_postgres) in [("SQLite", false), ("PostgreSQL", true)] {
        common.say(&format!("submissions on {name}"));
        let found = one(common, asked, on_postgres).await.with_context(|| format!("submissions on {name}"))?;
        let share = found.saturated.rate / found.bare.rate * 100.0;
        table.row(
            name,
            [
                number(found.saturated.rate),
                number(found.saturated.p50),
                number(found.saturated.p99),
                number(found.bare.rate),
                format!("{share:.0} %"),
                number(found.steady.p50),
                number(found.steady.p99),
            ],
        );
        report.judge(&format!("submit on {name}: share of the bare loop"), Want::AtLeast(50.0), Some(share), " %");
        let figure = format!("submit on {name}: p99 at {}/s", asked.rate);
        report.judge(&figure, Want::AtMost(20.0), Some(found.steady.p99), " ms");
    }
    table.row("peer", ["33", "232", "758", "–", "–", "–", "–"].map(str::to_owned));
    table.note("The bare loop commits the rows that the submissions wrote (request, steps, events), a transaction each. The steady part is an open loop: the time counts from the moment at which the submission was due.");
    table.note(format!("Machine: {}.", usage::machine(common.lab.path())));
    report.tables.push(table);
    Ok(report)
}

async fn one(common: &Common, asked: &Submit, on_postgres: bool) -> Result<Found> {
    let server = if on_postgres { Some(common.postgres("submit").await?) } else { None };
    let name = if on_postgres { "submit-postgres" } else { "submit-sqlite" };
    let mut service = Service::new(&common.lab, name, server.as_ref().map(|s| s.url.as_str()), None)?;
    service.set("BENCH_PASSWORD", "nothing");
    service.run(&["migrate"]).await?;
    let key = service.provision("shop", &customers::controller("shop", &Url::parse(NOWHERE)?)).await?;
    let api = service.start("api").await?;
    let next = AtomicU32::new(0);
    saturate(api.port(), &key, asked.concurrency, Duration::from_secs(1), &next).await?;

    let time = Duration::from_secs_f64(asked.seconds / 2.0);
    let (saturated, first, accepted) = saturate(api.port(), &key, asked.concurrency, time, &next).await?;
    let source = match &server {
        Some(server) => Database::Postgres(server.pool.clone()),
        None => Database::sqlite(&service.data_folder().join("redress.db")).await?,
    };
    let durable = source.count("dsrs", "id", &first).await?;
    ensure!(durable == accepted as i64, "{accepted} submissions were accepted and {durable} are in the database");

    let empty_url = match &server {
        Some(server) => Some(server.beside("bare").await?),
        None => None,
    };
    let bare_name = format!("{name}-bare");
    let empty = Service::new(&common.lab, &bare_name, empty_url.as_ref().map(Url::as_str), None)?;
    empty.run(&["migrate"]).await?;
    let target = match &empty_url {
        Some(url) => {
            let pool = PgPoolOptions::new().max_connections(asked.concurrency as u32);
            Database::Postgres(pool.connect(url.as_str()).await?)
        }
        None => Database::sqlite(&empty.data_folder().join("redress.db")).await?,
    };
    let bare = bare::submissions(&source, &target, &first, asked.concurrency).await?;
    target.close().await;
    let steady = open_loop(api.port(), &key, asked.rate, asked.seconds, &next).await?;
    source.close().await;
    Ok(Found { saturated, bare, steady })
}

/// As many submissions as go, by so many callers: what was reached, the first id and how many were accepted.
async fn saturate(
    port: u16,
    key: &str,
    callers: usize,
    time: Duration,
    next: &AtomicU32,
) -> Result<(bare::Reached, String, usize)> {
    let began = Instant::now();
    let all = try_join_all((0..callers.max(1)).map(|_| async {
        let mut caller = Caller::connect(port, key).await?;
        let mut mine = Vec::new();
        while began.elapsed() < time {
            let person = next.fetch_add(1, Ordering::Relaxed);
            let called = Instant::now();
            let id = caller.submit("deletion", &format!("somebody{person}@example.com")).await?;
            mine.push((id, called.elapsed().as_secs_f64() * 1e3));
        }
        anyhow::Ok(mine)
    }))
    .await?
    .concat();
    let reached = bare::reached(all.iter().map(|(_, took)| *took).collect(), all.len(), began.elapsed());
    let first = all.iter().map(|(id, _)| id.clone()).min().context("nothing was submitted")?;
    Ok((reached, first, all.len()))
}

/// Submissions at fixed moments, whether or not the ones before have been answered.
async fn open_loop(port: u16, key: &str, rate: f64, seconds: f64, next: &AtomicU32) -> Result<bare::Reached> {
    let idle: Arc<Mutex<Vec<Caller>>> = Arc::default();
    let began = Instant::now();
    let mut running = Vec::new();
    for n in 0..(rate * seconds) as u32 {
        let due = began + Duration::from_secs_f64(f64::from(n) / rate);
        tokio::time::sleep_until(due.into()).await;
        let (idle, key) = (idle.clone(), key.to_owned());
        let person = next.fetch_add(1, Ordering::Relaxed);
        running.push(tokio::spawn(async move {
            let caller = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut caller = match caller {
                Some(caller) => caller,
                None => Caller::connect(port, &key).await?,
            };
            caller.submit("deletion", &format!("somebody{person}@example.com")).await?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(caller);
            anyhow::Ok(due.elapsed().as_secs_f64() * 1e3)
        }));
    }
    let mut took = Vec::new();
    for one in running {
        took.push(one.await??);
    }
    took.sort_by(f64::total_cmp);
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    Ok(bare::Reached { rate, p50: percentile(&took, 0.5), p99: percentile(&took, 0.99) })
}
