//! `redress bench today`: how long Today takes with a million requests of which a hundred thousand are open.
//!
//! The page is asked for in this process, over the router that serves it, so that what is measured is what the service does for it: by
//! itself for each who looks, and shared by those who look at the same time.

use super::bare::Database;
use super::crowd::{CONTROLLER, Crowd};
use super::report::{Report, Table, Want, known, number, percentile};
use super::servers::Postgres;
use super::service::Service;
use super::{Common, usage};
use crate::app::App;
use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_domain::{Clock as _, SystemClock};
use redress_store::Dialect;
use std::time::{Duration, Instant};
use tower::ServiceExt as _;

/// What is asked of the bench.
#[derive(Debug, Clone)]
pub(crate) struct TodayPage {
    /// Open requests.
    pub(crate) open: u64,
    /// Ended ones.
    pub(crate) ended: u64,
    /// How often the page is asked for in each way.
    pub(crate) pages: usize,
    /// Only the embedded database.
    pub(crate) sqlite_only: bool,
    /// Afterwards the boards stay up until they are ended.
    pub(crate) stay: bool,
}

/// Controllers, one of which has a third of all requests.
const CONTROLLERS: u64 = 40;
const DAY_MS: i64 = 86_400_000;
/// As the service has it.
const SHARED_FOR: Duration = Duration::from_secs(2);

/// Runs it.
pub(crate) async fn run(common: &Common, asked: &TodayPage) -> Result<Report> {
    let mut report = Report::default();
    let command = format!("redress bench today --open {} --ended {}", asked.open, asked.ended);
    let all = number((asked.open + asked.ended) as f64);
    let columns =
        ["database and viewer", "p50, ms", "p95, ms", "p99, ms", "CPU ms per page", "of the database", "page, kB"];
    let title = format!("Today with {all} requests of which {} are open", number(asked.open as f64));
    let mut table = Table::new(title, &command, &columns);
    let mut boards = Vec::new();
    for (name, on_postgres) in [("SQLite", false), ("PostgreSQL", true)] {
        if on_postgres && asked.sqlite_only {
            continue;
        }
        let server = if on_postgres { Some(common.postgres("today").await?) } else { None };
        let url = server.as_ref().map(|server| server.url.as_str());
        let mut service = Service::new(&common.lab, &format!("today-{on_postgres}"), url, None)?;
        service.run(&["migrate"]).await?;
        let database = service.database().await?;
        let crowd = Crowd::begin(&mut service, &database, 1).await?;
        common.say(&format!("{all} requests on {name}"));
        let began = Instant::now();
        fill(&database, &crowd, asked).await?;
        common.say(&format!("  took {:.0} s", began.elapsed().as_secs_f64()));
        let key = ["key", "create", "--controller", CONTROLLER, "--role", "controller_user", "--json"];
        let key: serde_json::Value = serde_json::from_str(&service.run(&key).await?)?;
        let key = key["api_key"].as_str().context("a key")?.to_owned();
        database.close().await;

        if asked.pages > 0 {
            measure(&service, server.as_ref(), name, &key, asked, (&mut table, &mut report)).await?;
        }
        if asked.stay {
            let board = service.start("api").await?;
            common.say(&format!("{name}: http://127.0.0.1:{}/ (API key {key})", board.port()));
            boards.push((board, server));
        }
    }
    if !boards.is_empty() {
        common.say("The boards stay up until this is ended");
        tokio::signal::ctrl_c().await?;
    }
    table.note(format!("{} controllers, one of which has a third of all requests. Each page is asked for after the other, {} times in each way; \"shared\" is as the service does it: whoever looks within {} s sees the same figures.", CONTROLLERS, asked.pages, SHARED_FOR.as_secs()));
    table.note(format!("SQLite without ANALYZE, as it is run; PostgreSQL after VACUUM ANALYZE, as autovacuum leaves it. CPU seconds are exact to 10 ms over all pages. Machine: {}.", usage::machine(common.lab.path())));
    report.tables.push(table);
    Ok(report)
}

/// Asks for the page in each way.
async fn measure(
    service: &Service,
    server: Option<&Postgres>,
    name: &str,
    key: &str,
    asked: &TodayPage,
    (table, report): (&mut Table, &mut Report),
) -> Result<()> {
    let app = App::open(service.config()?).await?;
    let ways = [
        ("everybody's, read anew", Duration::ZERO, None),
        ("everybody's, shared", SHARED_FOR, None),
        ("one controller's, read anew", Duration::ZERO, Some(key)),
    ];
    for (way, shared_for, key) in ways {
        let router = app.router(shared_for);
        let page = look(&router, key).await?;
        let open = format!("<b class=\"figure\">{}</b> <span class=\"label\">open</span>", grouped(asked.open));
        ensure!(key.is_some() || page.contains(&open), "not every open request is counted");
        let cpu = || (usage::cpu(std::process::id()), server.and_then(Postgres::cpu));
        let before = cpu();
        let mut times = Vec::new();
        for _ in 0..asked.pages {
            let began = Instant::now();
            look(&router, key).await?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let after = cpu();
        let each = |before: Option<f64>, after: Option<f64>| Some((after? - before?) * 1e3 / asked.pages as f64);
        let (own, theirs) = (each(before.0, after.0), each(before.1, after.1));
        times.sort_by(f64::total_cmp);
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| percentile(&times, share));
        let cells = [
            number(p50),
            number(p95),
            number(p99),
            known(own),
            if server.is_some() { known(theirs) } else { "within".into() },
            number(page.len() as f64 / 1e3),
        ];
        table.row(format!("{name}, {way}"), cells);
        if shared_for.is_zero() && key.is_none() {
            report.judge(&format!("Today read anew on {name}, p95"), Want::AtMost(200.0), Some(p95), " ms");
        }
    }
    app.store().close().await;
    Ok(())
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    groups.join(",")
}

/// Asks for the page as a browser does.
async fn look(router: &Router, key: Option<&str>) -> Result<String> {
    let mut request = Request::builder().uri("/").header(header::HOST, "localhost").header(header::ACCEPT, "text/html");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("me:{key}"))));
    }
    let answer = router.clone().oneshot(request.body(Body::empty())?).await?;
    let status = answer.status();
    let page = String::from_utf8(to_bytes(answer.into_body(), usize::MAX).await?.to_vec())?;
    ensure!(status == 200, "Today was answered {status}");
    Ok(page)
}

/// Fills the database with requests of every sort, made from the crowd's one real request.
async fn fill(database: &Database, crowd: &Crowd, asked: &TodayPage) -> Result<()> {
    let template = crowd.template();
    let others = [
        (
            "controllers",
            format!("name = '{CONTROLLER}'"),
            vec![("id", database.id("ctl", "g.n")), ("name", "'controller ' || g.n".to_owned())],
        ),
        (
            "systems",
            format!("controller_id = (SELECT id FROM controllers WHERE name = '{CONTROLLER}')"),
            vec![("id", database.id("sys", "g.n")), ("controller_id", database.id("ctl", "g.n"))],
        ),
    ];
    for (table, whose, changed) in &others {
        insert(database, table, whose, 1, CONTROLLERS - 1, changed).await?;
    }
    let whose = format!("id = '{template}'");
    // The request that they are made from is open too.
    for (first, count, open) in [(1, asked.open - 1, true), (asked.open, asked.ended, false)] {
        let last = first + count;
        let mut from = first;
        while from < last {
            let to = last.min(from + 100_000);
            insert(database, "dsrs", &whose, from, to - 1, &columns(database, open)).await?;
            from = to;
        }
    }
    let dsr = database.id("dsr", "g.n");
    let step = database.id("stp", "g.n");
    let changed = [
        ("id", step),
        ("dsr_id", dsr.clone()),
        ("idem", format!("{dsr} || ':0'")),
        ("q", "CASE WHEN g.n % 4 = 0 THEN 'wait' ELSE 'ready' END".to_owned()),
        ("state", "'queued'".to_owned()),
    ];
    insert(database, "steps", &format!("dsr_id = '{template}' AND system_id IS NOT NULL"), 1, asked.open - 1, &changed)
        .await?;
    if database.dialect() == Dialect::Postgres {
        database.script("VACUUM ANALYZE").await?;
    }
    Ok(())
}

/// What is different in each request. Dates are midnights, as real ones are; the foreseen end is any moment.
fn columns(database: &Database, open: bool) -> Vec<(&'static str, String)> {
    let now = SystemClock.now_ms();
    let midnight = now / DAY_MS * DAY_MS;
    let due = format!(
        "{midnight} + (CASE WHEN g.n * 7919 % 200 = 0 THEN -1 - g.n % 5 ELSE 1 + g.n * 7919 % 44 END) * {DAY_MS}"
    );
    let received = format!("{now} - (g.n * 31 % 95) * {DAY_MS} - g.n % 86400 * 1000");
    let late = "CASE WHEN g.n % 97 = 0 THEN 1 ELSE 0 END";
    let blocked = "g.n % 9 = 0";
    let ends = format!("{now} + (g.n * 104729 % 3888000) * 1000");
    let status = "CASE WHEN g.n % 100 < 70 THEN 'in_progress' WHEN g.n % 100 < 80 THEN 'verifying' WHEN g.n % 100 < 88 THEN 'awaiting_controller' WHEN g.n % 100 < 92 THEN 'needs_attention' WHEN g.n % 100 < 95 THEN 'awaiting_approval' WHEN g.n % 100 < 97 THEN 'review' ELSE 'delivering' END";
    let forecast = r#"{"finishes_at":"2026-12-01T10:00:00Z","late":true,"late_by_days":2,"late_since":"2026-11-20T10:00:00Z","bottleneck":"shop00","blocked_by":null,"act_by":null,"confidence":"measured","because":["shop00: 1,204 steps are due before this one; in the last 24 hours it did 400 calls a day while it had work, so this step is done on Tue 2026-12-01.","It is due before Sun 2026-11-29 00:00 (Europe/Berlin): late by 2 days.","With 900 calls a day shop00 would be in time."],"computed_at":"2026-11-20T10:00:00Z"}"#;
    let owner = format!(
        "CASE WHEN g.n % 3 = 0 THEN t.controller_id ELSE {} END",
        database.id("ctl", &format!("1 + g.n % {}", CONTROLLERS - 1))
    );
    let mut all = vec![
        ("id", database.id("dsr", "g.n")),
        ("controller_id", owner),
        ("instruction_received_at", received),
        ("wake_at", "NULL".to_owned()),
        ("watch_at", "NULL".to_owned()),
        ("forecast", format!("'{forecast}'")),
    ];
    if open {
        all.extend([
            ("due_before", due),
            ("status", status.to_owned()),
            ("stage", "'in_progress'".to_owned()),
            (
                "band",
                "CASE g.n % 10 WHEN 0 THEN 'critical' WHEN 1 THEN 'at_risk' WHEN 2 THEN 'at_risk' ELSE 'on_track' END"
                    .to_owned(),
            ),
            ("clock_state", "CASE WHEN g.n % 50 = 0 THEN 'paused' ELSE 'running' END".to_owned()),
            ("forecast_late", late.to_owned()),
            ("forecast_ends_at", format!("CASE WHEN {blocked} THEN NULL ELSE {ends} END")),
            ("forecast_act_by", format!("CASE WHEN {blocked} THEN {ends} END")),
        ]);
    } else {
        let closed = format!("{now} - (g.n * 7919 % 700) * {DAY_MS}");
        all.extend([
            ("due_before", format!("({closed}) + g.n % 30 * {DAY_MS}")),
            ("closed_at", closed.clone()),
            ("purged_at", closed),
            ("status", "'completed'".to_owned()),
            ("stage", "'completed'".to_owned()),
            ("sealed", "NULL".to_owned()),
            ("wrapped_key", "NULL".to_owned()),
        ]);
    }
    all
}

/// Inserts rows numbered `g.n` that are those of one row of a table but for some columns.
async fn insert(
    database: &Database,
    table: &str,
    template: &str,
    from: u64,
    to: u64,
    changed: &[(&str, String)],
) -> Result<()> {
    if to < from {
        return Ok(());
    }
    let columns = database.columns(table).await?;
    let values: Vec<String> = columns
        .iter()
        .map(|column| {
            let changed = changed.iter().find(|(name, _)| name == column);
            changed.map_or_else(|| format!("t.{column}"), |(_, value)| value.clone())
        })
        .collect();
    let sql = format!(
        "WITH RECURSIVE g(n) AS (SELECT CAST({from} AS BIGINT) UNION ALL SELECT n + 1 FROM g WHERE n < {to}) INSERT INTO {table} ({}) SELECT {} FROM (SELECT * FROM {table} WHERE {template} LIMIT 1) t, g",
        columns.join(", "),
        values.join(", ")
    );
    database.script(&sql).await.with_context(|| format!("rows of {table}"))
}
