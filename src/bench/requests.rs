//! `redress bench requests`: access and erasure requests from submission to their end on a customer database of 100,000 people.

use super::bare::{self, Database, Reached};
use super::customers;
use super::lab::Lab;
use super::report::{Report, Table, Want, known, number, percentile};
use super::servers::{Asked, OURS, Postgres, Redis, since};
use super::service::{Caller, Process, Service};
use super::{Common, usage};
use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use redress_domain::{Clock as _, SystemClock};
use sqlx::{AssertSqlSafe, Row as _};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What is asked of the bench.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    /// Access requests.
    pub(crate) access: u32,
    /// Erasure requests.
    pub(crate) erasure: u32,
    /// How many submit at the same time.
    pub(crate) submitters: usize,
    /// Worker processes.
    pub(crate) workers: usize,
    /// Most steps of one claim; none leaves the default.
    pub(crate) batch: Option<usize>,
    /// Whether the most frequent statements are listed.
    pub(crate) statements: bool,
}

/// Nothing that was submitted ended for so long: something hangs.
const HANGS: Duration = Duration::from_mins(1);
/// People whose requests warm the processes up before anything is measured.
const WARM: u32 = 8;
/// How many people one statement of the bare loop is about, how many the loop is about, and the first of them.
const BATCH: usize = 300;
const BARE: u32 = 3_000;
const BARE_FROM: u32 = 40_000;

/// Everything that runs.
struct Scene {
    own: Postgres,
    customers: Postgres,
    redis: Redis,
    service: Service,
    api: Process,
    workers: Vec<Process>,
    key: String,
    lab: Arc<Lab>,
}

/// What was used up to a moment.
struct Used {
    api: Option<f64>,
    workers: Option<f64>,
    own_database: Option<f64>,
    customers_database: Option<f64>,
    redis: Option<f64>,
    own_statements: Option<Asked>,
    customers_statements: Option<Asked>,
    commands: i64,
}

/// One kind of request, worked off in one way.
struct Pass {
    name: String,
    n: u32,
    rate: f64,
    submitted: f64,
    submit: Vec<f64>,
    end_to_end: Vec<f64>,
    /// CPU seconds per request: our processes, our database, the customer's database, Redis.
    cpu: [Option<f64>; 4],
    /// The first of them, by role.
    roles: [Option<f64>; 2],
    statements: [Option<f64>; 2],
    commands: f64,
    asked: [Option<Asked>; 2],
    first: String,
}

/// Runs it.
pub(crate) async fn run(common: &Common, asked: &Requests) -> Result<Report> {
    let machine = usage::machine(common.lab.path());
    let mut scene = Scene::set(common, asked).await?;
    let mut report = Report::default();
    let mut passes = Vec::new();
    let mut ceilings = Vec::new();
    let kinds = [("access", asked.access), ("deletion", asked.erasure)];
    // A person each: those who are erased are never asked about again.
    let mut next = 1 + 4 * WARM;
    let mut people = |n: u32| {
        let range = next..next + n;
        next += n;
        range
    };
    ensure!(
        2 * (asked.access + asked.erasure) < BARE_FROM - 100,
        "at most {} requests: nobody is asked about twice, and others are kept for the ceiling",
        (BARE_FROM - 100) / 2
    );
    let mut bare_from = BARE_FROM;
    for (kind, n) in kinds.into_iter().filter(|(_, n)| *n > 0) {
        common.say(&format!("{n} {kind} requests, worked off after they were submitted"));
        let pass = scene.pass(asked, kind, people(n), true).await?;
        let submit = scene.bare_submissions(&pass, asked.submitters).await?;
        passes.push(pass);
        common.say(&format!("{n} {kind} requests, worked off as they come"));
        passes.push(scene.pass(asked, kind, people(n), false).await?);
        let cpu = scene.customers.cpu();
        let theirs = bare_from..bare_from + BARE;
        bare_from += BARE;
        let work = bare::customers(&scene.customers.pool, kind == "deletion", &theirs, BATCH).await?;
        let cpu = cpu.zip(scene.customers.cpu()).map(|(a, b)| (b - a) / f64::from(BARE));
        ceilings.push((kind, submit, work, cpu));
    }
    table(&mut report, asked, &passes, &machine);
    ceiling(&mut report, &passes, &ceilings);
    for pass in passes.iter().step_by(2) {
        profile(&mut report, pass);
    }
    memory(&mut report, &scene);
    if asked.statements {
        for pass in passes.iter().step_by(2) {
            list(&mut report, pass);
        }
    }
    judge(&mut report, &passes);
    Ok(report)
}

impl Scene {
    async fn set(common: &Common, asked: &Requests) -> Result<Self> {
        common.say("starting PostgreSQL twice and Redis, loading the customer database");
        let (own, customers) =
            tokio::try_join!(common.postgres("own"), async { loaded(common.postgres("customers").await?).await })?;
        let redis = common.redis().await?;
        let mut service = Service::new(&common.lab, "service", Some(own.url.as_str()), Some(&redis.url))?;
        service.set("BENCH_PASSWORD", customers.url.password().unwrap_or_default());
        if let Some(batch) = asked.batch {
            service.set("REDRESS_WORKER__BATCH", &batch);
        }
        service.run(&["migrate"]).await?;
        let key = service.provision("shop", &customers::controller("shop", &customers.url)).await?;
        let api = service.start("api").await?;
        let workers = try_join_all((0..asked.workers.max(1)).map(|_| service.start("worker"))).await?;
        let mut scene = Self { own, customers, redis, service, api, workers, key, lab: common.lab.clone() };
        common.say("warming up");
        // As in a service that has been up for a while: connections are open, statements are prepared.
        for (kind, first) in [("access", 1), ("deletion", 1 + WARM), ("access", 1 + 2 * WARM)] {
            scene.pass(asked, kind, first..first + WARM, false).await?;
        }
        Ok(scene)
    }

    /// Requests of one kind for these people; with `backlog` nothing is worked on until all are submitted.
    async fn pass(&mut self, asked: &Requests, kind: &str, people: Range<u32>, backlog: bool) -> Result<Pass> {
        if backlog {
            self.workers.iter().for_each(|worker| worker.running.signal("STOP"));
        }
        let before = self.used().await?;
        let began = Instant::now();
        let began_ms = SystemClock.now_ms();
        let submitted = submit(self.api.port(), &self.key, kind, &people, asked.submitters).await?;
        let submitting = began.elapsed();
        let released = if backlog { SystemClock.now_ms() } else { began_ms };
        let n = people.len() as u32;
        // What the bare loop repeats: as it is before anything was done.
        let first = submitted.keys().next().cloned().context("nothing was submitted")?;
        if backlog {
            self.workers.iter().for_each(|worker| worker.running.signal("CONT"));
        }
        let closed = self.until_closed(&submitted).await?;
        let after = self.used().await?;
        self.prove(kind, &people, &first, n).await?;

        let per = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| (b - a) / f64::from(n));
        let last = closed.values().max().copied().context("nothing was closed")?;
        let mut submit: Vec<f64> = submitted.values().map(|(_, took)| *took).collect();
        submit.sort_by(f64::total_cmp);
        let mut end_to_end: Vec<f64> =
            closed.iter().filter_map(|(id, at)| Some((at - submitted.get(id)?.0) as f64 / 1e3)).collect();
        end_to_end.sort_by(f64::total_cmp);
        let own = before.own_statements.zip(after.own_statements).map(|(a, b)| since(&a, b));
        let customers = before.customers_statements.zip(after.customers_statements).map(|(a, b)| since(&a, b));
        let calls = |asked: &Option<Asked>| {
            asked.as_ref().map(|all| all.iter().map(|(_, calls, _)| *calls as f64).sum::<f64>() / f64::from(n))
        };
        let roles = [per(before.api, after.api), per(before.workers, after.workers)];
        Ok(Pass {
            name: format!("{}, {}", word(kind), if backlog { "backlog" } else { "as they come" }),
            n,
            rate: f64::from(n) / ((last - released).max(1) as f64 / 1e3),
            submitted: f64::from(n) / submitting.as_secs_f64(),
            submit,
            end_to_end,
            cpu: [
                roles.into_iter().sum(),
                per(before.own_database, after.own_database),
                per(before.customers_database, after.customers_database),
                per(before.redis, after.redis),
            ],
            roles,
            statements: [calls(&own), calls(&customers)],
            commands: (after.commands - before.commands) as f64 / f64::from(n),
            asked: [own, customers],
            first,
        })
    }

    async fn used(&self) -> Result<Used> {
        Ok(Used {
            api: self.api.cpu(),
            workers: self.workers.iter().map(Process::cpu).sum(),
            own_database: self.own.cpu(),
            customers_database: self.customers.cpu(),
            redis: self.redis.cpu(),
            own_statements: self.own.asked().await?,
            customers_statements: self.customers.asked().await?,
            commands: self.redis.commands().await?,
        })
    }

    /// When each of these requests was closed (Unix ms).
    async fn until_closed(&mut self, submitted: &BTreeMap<String, (i64, f64)>) -> Result<BTreeMap<String, i64>> {
        let (mut open, mut moved) = (i64::MAX, Instant::now());
        while open > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.own.number("SELECT count(*) FROM dsrs WHERE closed_at IS NULL").await?;
            if now < open {
                (open, moved) = (now, Instant::now());
            }
            let stuck = self.own.number("SELECT count(*) FROM steps WHERE attention = 1").await?;
            if stuck > 0 {
                let sql = format!("{OURS} SELECT error_code || ': ' || error_detail FROM steps WHERE attention = 1");
                let why: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.own.pool).await?;
                bail!("{stuck} request(s) need attention: {why}");
            }
            for worker in &mut self.workers {
                if let Some(why) = worker.running.ended() {
                    bail!("a worker ended: {why}");
                }
            }
            ensure!(
                moved.elapsed() < HANGS,
                "{open} request(s) are still open after a minute in which none was closed; the worker's log:\n{}",
                self.workers[0].running.log()
            );
        }
        let ids: Vec<&String> = submitted.keys().collect();
        let sql = format!("{OURS} SELECT id, closed_at FROM dsrs WHERE id = ANY($1) AND status = 'completed'");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(ids).fetch_all(&self.own.pool).await?;
        ensure!(
            rows.len() == submitted.len(),
            "only {} of {} requests ended as completed",
            rows.len(),
            submitted.len()
        );
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Looks whether what was asked has happened: in the customer's database and in the answers, not in what is said.
    async fn prove(&self, kind: &str, people: &Range<u32>, first: &str, n: u32) -> Result<()> {
        let rows = customers::rows_of(&self.customers, people).await?;
        if kind == "deletion" {
            ensure!(rows == 0, "{rows} rows of erased people are still in the customer database");
            return Ok(());
        }
        ensure!(rows > 0, "an access request deleted what it was to export");
        let sql = format!("{OURS} SELECT count(*), COALESCE(SUM(records), 0)::bigint FROM packages WHERE dsr_id >= $1");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(first).fetch_one(&self.own.pool).await?;
        let (packages, records): (i64, i64) = (row.get(0), row.get(1));
        ensure!(packages == i64::from(n), "{n} access requests made {packages} packages");
        ensure!(records == rows, "the packages hold {records} records, the customer database {rows}");
        Ok(())
    }

    /// The same inserts, committed by a bare loop in an empty database on the same server.
    async fn bare_submissions(&self, pass: &Pass, at_a_time: usize) -> Result<Reached> {
        let url = self.own.beside(&format!("bare_{}", pass.first.to_lowercase())).await?;
        let empty = Service::new(&self.lab, &format!("bare-{}", pass.first), Some(url.as_str()), None)?;
        empty.run(&["migrate"]).await?;
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(at_a_time as u32).connect(url.as_str()).await?;
        let source = Database::Postgres(self.own.pool.clone());
        let reached = bare::submissions(&source, &Database::Postgres(pool.clone()), &pass.first, at_a_time).await?;
        pool.close().await;
        Ok(reached)
    }
}

async fn loaded(database: Postgres) -> Result<Postgres> {
    customers::load(&database).await?;
    Ok(database)
}

/// Submits a request for each of these people, so many at a time: by id, when its submission began (Unix ms) and how long it
/// took (ms).
pub(super) async fn submit(
    port: u16,
    key: &str,
    kind: &str,
    people: &Range<u32>,
    submitters: usize,
) -> Result<BTreeMap<String, (i64, f64)>> {
    let next = AtomicU32::new(people.start);
    let all = try_join_all((0..submitters.max(1)).map(|_| async {
        let mut caller = Caller::connect(port, key).await?;
        let mut mine = Vec::new();
        loop {
            let person = next.fetch_add(1, Ordering::Relaxed);
            if person >= people.end {
                return anyhow::Ok(mine);
            }
            let (began, began_ms) = (Instant::now(), SystemClock.now_ms());
            let id = caller.submit(kind, &customers::email(person)).await?;
            mine.push((id, (began_ms, began.elapsed().as_secs_f64() * 1e3)));
        }
    }))
    .await?;
    Ok(all.into_iter().flatten().collect())
}

fn word(kind: &str) -> &'static str {
    if kind == "access" { "access" } else { "erasure" }
}

fn command(asked: &Requests) -> String {
    format!(
        "redress bench requests --access {} --erasure {} --submitters {} --workers {}{}",
        asked.access,
        asked.erasure,
        asked.submitters,
        asked.workers,
        asked.batch.map_or_else(String::new, |batch| format!(" --batch {batch}"))
    )
}

fn total(cpu: &[Option<f64>; 4]) -> Option<f64> {
    cpu.iter().copied().sum()
}

/// What the peer was measured at, beside the backlog passes: Fides 2.x with its defaults on the same data.
const PEER: [(&str, [&str; 2]); 13] = [
    ("requests/s", ["2.6", "1.3"]),
    ("CPU s per request, own processes", ["0.36", "0.69"]),
    ("… PostgreSQL, both databases", ["0.12", "0.26"]),
    ("… Redis", ["0.01", "0.02"]),
    ("… in all", ["0.49", "0.98"]),
    ("statements per request, own database", ["670", "1,344"]),
    ("… customer's database", ["60", "129"]),
    ("Redis commands per request", ["213", "385"]),
    ("submitted/s, eight at a time", ["33", "33"]),
    ("submit p50, ms", ["232", "232"]),
    ("submit p99, ms", ["758", "758"]),
    ("end to end p50, s", ["103", "216"]),
    ("end to end p99, s", ["–", "–"]),
];

fn table(report: &mut Report, asked: &Requests, passes: &[Pass], machine: &str) {
    let mut columns = vec!["figure".to_owned()];
    columns.extend(passes.iter().map(|pass| pass.name.clone()));
    columns.extend(["peer, access".to_owned(), "peer, erasure".to_owned()]);
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("Access and erasure, submission to end", command(asked), &columns);
    let value = |name: &str, pass: &Pass| match name {
        "requests/s" => number(pass.rate),
        "CPU s per request, own processes" => known(pass.cpu[0]),
        "… PostgreSQL, both databases" => match (pass.cpu[1], pass.cpu[2]) {
            (Some(own), Some(theirs)) => {
                format!("{} ({} + {})", number(own + theirs), number(own), number(theirs))
            }
            _ => known(None),
        },
        "… Redis" => known(pass.cpu[3]),
        "… in all" => known(total(&pass.cpu)),
        "statements per request, own database" => known(pass.statements[0]),
        "… customer's database" => known(pass.statements[1]),
        "Redis commands per request" => number(pass.commands),
        "submitted/s, eight at a time" => number(pass.submitted),
        "submit p50, ms" => number(percentile(&pass.submit, 0.5)),
        "submit p99, ms" => number(percentile(&pass.submit, 0.99)),
        "end to end p50, s" => number(percentile(&pass.end_to_end, 0.5)),
        _ => number(percentile(&pass.end_to_end, 0.99)),
    };
    for (name, peer) in PEER {
        let shown = if name.ends_with("eight at a time") {
            format!("submitted/s, {} at a time", asked.submitters)
        } else {
            name.to_owned()
        };
        table.row(shown, passes.iter().map(|pass| value(name, pass)).chain(peer.map(str::to_owned)));
    }
    table.note(format!(
        "{} worker process(es). Backlog: workers stand still until everything is submitted; requests/s counts from the moment they may work. Statements include BEGIN and COMMIT.",
        asked.workers
    ));
    table.note(format!("Machine: {machine}."));
    report.tables.push(table);
}

fn ceiling(report: &mut Report, passes: &[Pass], ceilings: &[(&str, Reached, Reached, Option<f64>)]) {
    let mut table = Table::new(
        "The ceiling, measured in the same run",
        "redress bench requests",
        &["figure", "Redress", "bare loop", "ratio"],
    );
    for (kind, submit, work, cpu) in ceilings {
        let name = format!("{}, backlog", word(kind));
        let Some(pass) = passes.iter().find(|pass| pass.name == name) else { continue };
        let ratio = |ours: f64, bare: f64| format!("{:.0} %", ours / bare * 100.0);
        table.row(
            format!("{}: durable submissions/s", word(kind)),
            [number(pass.submitted), number(submit.rate), ratio(pass.submitted, submit.rate)],
        );
        table.row(
            format!("{}: people/s in the customer's database", word(kind)),
            [number(pass.rate), number(work.rate), ratio(pass.rate, work.rate)],
        );
        if let Some((ours, bare)) = pass.cpu[2].zip(*cpu) {
            let times = format!("{:.1} ×", ours / bare.max(1e-9));
            table.row(
                format!("{}: CPU s per person, customer's PostgreSQL", word(kind)),
                [number(ours), number(bare), times],
            );
        }
    }
    table.note("Bare submissions: the rows that the requests wrote, inserted and committed one request at a time by as many connections. Bare people: set-based statements for 300 people at a time on one connection; an erasure locks, deletes and reads once more.");
    report.tables.push(table);
}

fn memory(report: &mut Report, scene: &Scene) {
    let mut table =
        Table::new("Memory after the run", "redress bench requests", &["process", "MB now", "MB at most", "peer"]);
    let shown = |memory: Option<(f64, f64)>| [known(memory.map(|m| m.0)), known(memory.map(|m| m.1))];
    table.row("api", shown(scene.api.memory()).into_iter().chain(["370".to_owned()]));
    for worker in &scene.workers {
        table.row("worker", shown(worker.memory()).into_iter().chain(["780–820".to_owned()]));
    }
    table.row("Redis", [known(scene.redis.memory()), String::new(), String::new()]);
    let _ = &scene.service;
    report.tables.push(table);
}

/// How many of the most expensive statements on each side a profile names.
const DEAREST: usize = 5;

/// Where the CPU time of a pass went, and which statements took longest.
fn profile(report: &mut Report, pass: &Pass) {
    let command = format!("redress bench requests --{} {}", pass.name.split(',').next().unwrap_or_default(), pass.n);
    let title = format!("Where the time goes: {}", pass.name);
    let mut table = Table::new(title, command, &["part", "ms per request", "share of all CPU, %"]);
    let all = total(&pass.cpu);
    let parts = [
        ("api process: CPU", pass.roles[0]),
        ("worker process(es): CPU", pass.roles[1]),
        ("own PostgreSQL: CPU", pass.cpu[1]),
        ("customer's PostgreSQL: CPU", pass.cpu[2]),
        ("Redis: CPU", pass.cpu[3]),
    ];
    for (name, cpu) in parts {
        let share = cpu.zip(all).map(|(cpu, all)| cpu / all * 100.0);
        table.row(name, [known(cpu.map(|cpu| cpu * 1e3)), known(share)]);
    }
    for (asked, whose) in pass.asked.iter().zip(["own", "customer's"]) {
        let mut dearest: Vec<_> = asked.iter().flatten().collect();
        dearest.sort_by(|a, b| b.2.total_cmp(&a.2));
        for (text, calls, ms) in dearest.into_iter().take(DEAREST) {
            let name = format!("{whose} database, {} × {}", number(*calls as f64), short(text));
            table.row(name, [number(ms / f64::from(pass.n)), String::new()]);
        }
    }
    table.note(
        "The time of a statement is its elapsed time in the server, waiting for locks and for the disk included.",
    );
    report.tables.push(table);
}

/// A statement's name, or how it begins.
fn short(text: &str) -> String {
    let name = text.lines().next().and_then(|line| line.strip_prefix("-- "));
    let text = name.map_or_else(
        || text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(70).collect(),
        |name| format!("`{name}`"),
    );
    text.replace('|', "¦")
}

/// The statements of a pass, most frequent first.
fn list(report: &mut Report, pass: &Pass) {
    for (asked, whose) in pass.asked.iter().zip(["own database", "customer's database"]) {
        let Some(asked) = asked else { continue };
        let title = format!("Statements of {} on the {whose}", pass.name);
        let mut table =
            Table::new(title, "redress bench requests --statements", &["statement", "per request", "µs each"]);
        for (text, calls, ms) in asked.iter().take(25) {
            let short: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(90).collect();
            table.row(
                short.replace('|', "¦"),
                [number(*calls as f64 / f64::from(pass.n)), number(ms * 1e3 / *calls as f64)],
            );
        }
        report.tables.push(table);
    }
}

fn judge(report: &mut Report, passes: &[Pass]) {
    for (kind, cpu, rate) in [("access", 0.002, 300.0), ("erasure", 0.003, 300.0)] {
        let Some(pass) = passes.iter().find(|pass| pass.name == format!("{kind}, backlog")) else { continue };
        report.judge(&format!("CPU s per {kind} request, everything"), Want::AtMost(cpu), total(&pass.cpu), " s");
        report.judge(&format!("{kind} requests/s, backlog of {}", pass.n), Want::AtLeast(rate), Some(pass.rate), "/s");
        report.judge(
            &format!("statements per {kind} request, own database"),
            Want::AtMost(8.0),
            pass.statements[0],
            "",
        );
        let name = format!("statements per {kind} request, customer's database");
        report.judge(&name, Want::AtMost(2.0), pass.statements[1], "");
    }
}
