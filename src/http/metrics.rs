//! Metrics are what an operator and an autoscaler go by, in the text format of Prometheus.
//!
//! No label tells controllers or systems apart: how many series there are does not grow with customers, and nothing in them is
//! about one. What is counted in the database is kept for a while, the longer the longer counting takes.

use super::Edge;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use redress_store::{Error, Look, QueueCounts, Standing, Store};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// So long what the database said is good for at least; and so many times what counting took.
const KEPT: Duration = Duration::from_secs(5);
const KEPT_SHARE: u32 = 20;
/// Whoever asks waits no longer for the database than this.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the database said last.
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<(Instant, Duration, Arc<Counted>)>>);

/// What is counted in the database.
struct Counted {
    statuses: Vec<(String, i64)>,
    bands: BTreeMap<String, i64>,
    queue: QueueCounts,
    messages: Vec<(String, i64)>,
    look: Look,
    now: i64,
    breakers: i64,
    paused: [i64; 3],
}

impl Counted {
    async fn of(store: &Store) -> Result<Self, Error> {
        let paused = store.paused(None).await?;
        Ok(Self {
            look: store.look().await?,
            now: store.now_ms(),
            queue: store.queue_counts().await?,
            statuses: store.status_counts().await?,
            bands: store.band_counts().await?,
            messages: store.message_counts().await?.into_iter().collect(),
            breakers: store.open_breakers().await?,
            paused: [
                i64::from(paused.all),
                i64::try_from(paused.controllers.len()).unwrap_or(i64::MAX),
                i64::try_from(paused.systems.len()).unwrap_or(i64::MAX),
            ],
        })
    }

    /// Since when the head of a queue from which something may be taken has been ready, in seconds: the longest of all.
    fn oldest_seconds(&self, may_be_taken: bool) -> f64 {
        let since = |look: &Look| {
            let queues = look.queues.iter().filter(|queue| (queue.standing == Standing::Open) == may_be_taken);
            queues.map(|queue| (self.now - queue.ready_since).max(0)).max().unwrap_or(0)
        };
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a life time")]
        let seconds = since(&self.look) as f64 / 1_000.0;
        seconds
    }
}

async fn counted(edge: &Edge) -> Option<Arc<Counted>> {
    let mut kept = edge.0.kept.0.lock().await;
    if let Some((at, cost, counted)) = &*kept
        && at.elapsed() < KEPT.max(*cost * KEPT_SHARE)
    {
        return Some(counted.clone());
    }
    let began = Instant::now();
    let fresh = Counted::of(&edge.store).await.map(Arc::new);
    *kept = fresh.as_ref().ok().map(|counted| (Instant::now(), began.elapsed(), counted.clone()));
    fresh.ok()
}

/// `GET /metrics`. It answers without the database too, and says so.
pub(crate) async fn metrics(State(edge): State<Edge>) -> Response {
    let mut page = Page::default();
    page.metric("redress_build_info", "gauge", "The version of this process.");
    page.sample("redress_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let asked = async {
        edge.store.ping().await.ok()?;
        counted(&edge).await
    };
    let counted = tokio::time::timeout(PATIENCE, asked).await.ok().flatten();
    page.one("redress_database_up", "gauge", "Whether the database answered just now.", i64::from(counted.is_some()));
    if let Some(counted) = counted {
        fleet(&mut page, &counted);
    }
    own(&mut page, &edge);
    process(&mut page);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0).into_response()
}

/// What holds for the whole fleet; every process tells the same.
fn fleet(page: &mut Page, counted: &Counted) {
    page.metric("redress_requests", "gauge", "Data subject requests by status.");
    for (status, count) in &counted.statuses {
        page.sample("redress_requests", &[("status", status)], count);
    }
    page.metric("redress_requests_open", "gauge", "Open requests by how they stand to their dates.");
    for (band, count) in &counted.bands {
        page.sample("redress_requests_open", &[("band", band)], count);
    }
    page.metric(
        "redress_backlog",
        "gauge",
        "Rows of the queue by family (system, answer, notify) and state (ready, wait, run; attention: a person must act).",
    );
    for ((family, state), count) in &counted.queue {
        page.sample("redress_backlog", &[("family", family), ("state", state)], count);
    }
    let ready: i64 = counted.queue.iter().filter(|((_, state), _)| state == "ready").map(|(_, n)| n).sum();
    page.one("redress_backlog_ready", "gauge", "Rows of the queue that are ready to be worked on.", ready);
    page.one(
        "redress_backlog_oldest_seconds",
        "gauge",
        "How long the row that comes next has been ready, in the queue where that is longest; what is paused or left alone does not count. Scale on this.",
        counted.oldest_seconds(true),
    );
    page.one(
        "redress_backlog_withheld_oldest_seconds",
        "gauge",
        "The same of what is paused or left alone because its system fails.",
        counted.oldest_seconds(false),
    );
    page.one("redress_queues", "gauge", "Queues in which something is ready.", counted.look.queues.len());
    page.one("redress_breakers_open", "gauge", "Systems that are left alone because they fail.", counted.breakers);
    page.metric("redress_paused", "gauge", "What is paused: everything (0 or 1), how many controllers and systems.");
    for (scope, count) in ["all", "controllers", "systems"].into_iter().zip(counted.paused) {
        page.sample("redress_paused", &[("scope", scope)], count);
    }
    page.metric(
        "redress_messages",
        "gauge",
        "Messages that carry notices: wait, run, and by reason those that could not be sent.",
    );
    for (state, count) in &counted.messages {
        page.sample("redress_messages", &[("state", state)], count);
    }
}

/// What this process did since it began.
fn own(page: &mut Page, edge: &Edge) {
    let figures = edge.store.figures();
    for (name, help, figure) in [
        ("redress_claims_total", "Batches that this process leased.", &figures.claims),
        ("redress_claimed_rows_total", "Rows that this process leased.", &figures.claimed),
        ("redress_finished_rows_total", "Rows whose outcome this process recorded.", &figures.finished_rows),
        ("redress_leases_renewed_total", "Leases that this process renewed.", &figures.renewed),
        (
            "redress_leases_expired_total",
            "Leases, of any process, that ran out and that this process took back.",
            &figures.expired,
        ),
        (
            "redress_outcomes_fenced_total",
            "Outcomes that came after their lease was lost and were dropped.",
            &figures.fenced,
        ),
        (
            "redress_rate_limit_waits_total",
            "Steps that were put off because a limit of their system was used up.",
            &figures.limited,
        ),
        ("redress_breakers_opened_total", "Systems that this process found to fail.", &figures.breakers_opened),
        ("redress_submissions_total", "Requests that this process accepted.", &figures.submitted),
        (
            "redress_submission_groups_total",
            "Transactions in which this process accepted them; requests that came together share one.",
            &figures.submit_groups,
        ),
    ] {
        page.one(name, "counter", help, figure.get());
    }
    page.one("redress_worker_slots", "gauge", "Batches that this process works on at most.", figures.slots.get());
    page.one("redress_worker_batches", "gauge", "Batches that this process works on.", figures.batches.get());
    page.one("redress_worker_in_flight", "gauge", "Rows of these batches.", figures.in_flight.get());
    let ready = i64::from((edge.ready)().is_empty());
    page.one("redress_ready", "gauge", "Whether this process finds nothing wrong with itself.", ready);
    page.metric("redress_http_answers_total", "counter", "Answers of this process by method, route and status.");
    let answers = edge.0.answers.lock().expect("never held across a panic").clone();
    for ((method, route, status), count) in answers {
        let labels = [("method", method), ("route", route.as_str()), ("status", &status.to_string())];
        page.sample("redress_http_answers_total", &labels, count);
    }
}

/// Linux counts processor time in hundredths of a second for programs.
const TICKS: f64 = 100.0;
/// The page size of the platforms we run on.
const PAGE: u64 = 4_096;

/// What the system knows of this process; nothing where there is no /proc.
fn process(page: &mut Page) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // The name, in brackets, may hold anything.
    let Some((_, rest)) = stat.rsplit_once(") ") else { return };
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |n: usize| fields.get(n).and_then(|text| text.parse::<u64>().ok());
    if let (Some(user), Some(system)) = (field(11), field(12)) {
        #[expect(clippy::cast_precision_loss, reason = "hundredths of a second of a life time")]
        let seconds = (user + system) as f64 / TICKS;
        page.one("process_cpu_seconds_total", "counter", "Processor time of this process.", seconds);
    }
    if let Some(threads) = field(17) {
        page.one("process_threads", "gauge", "Threads of this process.", threads);
    }
    if let Some(pages) = field(21) {
        page.one("process_resident_memory_bytes", "gauge", "Memory of this process that is in use.", pages * PAGE);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        page.one("process_open_fds", "gauge", "Files and connections that this process has open.", open.count());
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _infallible = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _infallible = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.metric(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
