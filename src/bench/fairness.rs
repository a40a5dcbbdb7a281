//! `redress bench fairness`: how long a quiet controller waits while another one has 100,000 requests queued.

use super::customers;
use super::report::{Report, Table, Want, number, percentile};
use super::requests::submit;
use super::servers::{OURS, Postgres};
use super::service::{Caller, Service};
use super::{Common, usage};
use anyhow::{Result, ensure};
use redress_domain::{Clock as _, SystemClock};
use sqlx::{AssertSqlSafe, Row as _};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is asked of the bench.
#[derive(Debug, Clone)]
pub(crate) struct Fairness {
    /// Requests that the loud controller has queued.
    pub(crate) queued: u32,
    /// Requests of the quiet one.
    pub(crate) quiet: u32,
}

/// Between two requests of the quiet controller.
const APART: Duration = Duration::from_millis(200);

/// Runs it.
pub(crate) async fn run(common: &Common, asked: &Fairness) -> Result<Report> {
    let mut report = Report::default();
    ensure!((1..=customers::PEOPLE).contains(&asked.queued), "--queued is at most 100000: a person each");
    common.say("starting servers, loading the customer database");
    let own = common.postgres("own").await?;
    let shop = common.postgres("customers").await?;
    customers::load(&shop).await?;
    let redis = common.redis().await?;
    let mut service = Service::new(&common.lab, "fairness", Some(own.url.as_str()), Some(&redis.url))?;
    service.set("BENCH_PASSWORD", shop.url.password().unwrap_or_default());
    service.run(&["migrate"]).await?;
    let loud = service.provision("loud", &customers::controller("loud", &shop.url)).await?;
    let quiet = service.provision("quiet", &customers::controller("quiet", &shop.url)).await?;
    let api = service.start("api").await?;
    let worker = service.start("worker").await?;

    common.say("the quiet controller alone");
    let alone = calls(&own, api.port(), &quiet, asked.quiet, 1).await?;
    common.say(&format!("submitting {} requests of the loud controller", number(f64::from(asked.queued))));
    worker.running.signal("STOP");
    let began = Instant::now();
    submit(api.port(), &loud, "access", &(1..asked.queued + 1), 16).await?;
    let submitting = began.elapsed().as_secs_f64();
    worker.running.signal("CONT");
    tokio::time::sleep(Duration::from_secs(1)).await;
    common.say("the quiet controller beside it");
    let began = Instant::now();
    let before = own.number("SELECT count(*) FROM dsrs WHERE closed_at IS NOT NULL").await?;
    let beside = calls(&own, api.port(), &quiet, asked.quiet, 50_001).await?;
    let after = own.number("SELECT count(*) FROM dsrs WHERE closed_at IS NOT NULL").await?;
    let rate = (after - before - i64::from(asked.quiet)) as f64 / began.elapsed().as_secs_f64();
    let left = own.number("SELECT count(*) FROM dsrs WHERE closed_at IS NULL").await?;

    let command = format!("redress bench fairness --queued {} --quiet {}", asked.queued, asked.quiet);
    let mut table = Table::new(
        "A quiet controller beside a loud one",
        command,
        &["quiet controller", "p50, s", "p95, s", "worst, s"],
    );
    let row = |times: &[f64]| [0.5, 0.95, 1.0].map(|share| number(percentile(times, share)));
    table.row("alone", row(&alone));
    table.row(format!("beside {} queued", number(f64::from(asked.queued))), row(&beside));
    table.row("peer, 300 queued", ["103", "–", "–"].map(str::to_owned));
    table.note(format!(
        "{} access requests, one every {} ms, from submission to their end; one worker. Meanwhile {}/s of the loud controller's were closed; {} were left. Submitting them took {} s. Machine: {}.",
        asked.quiet,
        APART.as_millis(),
        number(rate),
        number(left as f64),
        number(submitting),
        usage::machine(common.lab.path())
    ));
    ensure!(
        left > 0,
        "the loud controller's queue was empty before the quiet one was done; ask for more with --queued"
    );
    report.tables.push(table);
    let figure = format!("a quiet controller's p95 while another has {} queued", number(f64::from(asked.queued)));
    report.judge(&figure, Want::AtMost(2.0), Some(percentile(&beside, 0.95)), " s");
    Ok(report)
}

/// Requests one after another at a steady pace; how long each took to its end, sorted (s).
async fn calls(own: &Postgres, port: u16, key: &str, n: u32, first: u32) -> Result<Vec<f64>> {
    let mut caller = Caller::connect(port, key).await?;
    let mut submitted = BTreeMap::new();
    for i in 0..n {
        let began = SystemClock.now_ms();
        submitted.insert(caller.submit("access", &customers::email(first + i)).await?, began);
        tokio::time::sleep(APART).await;
    }
    let limit = Instant::now() + Duration::from_mins(2);
    let ids: Vec<&String> = submitted.keys().collect();
    loop {
        let sql = format!("{OURS} SELECT id, closed_at FROM dsrs WHERE id = ANY($1) AND status = 'completed'");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(&ids).fetch_all(&own.pool).await?;
        if rows.len() == ids.len() {
            let took = |row: &sqlx::postgres::PgRow| {
                let began = submitted.get(row.get::<&str, _>(0)).copied().unwrap_or_default();
                (row.get::<i64, _>(1) - began) as f64 / 1e3
            };
            let mut times: Vec<f64> = rows.iter().map(took).collect();
            times.sort_by(f64::total_cmp);
            return Ok(times);
        }
        ensure!(Instant::now() < limit, "only {} of {n} quiet requests ended within two minutes", rows.len());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
