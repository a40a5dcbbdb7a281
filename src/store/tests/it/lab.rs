//! A lab is one empty database with a store on it, a clock that stands still, and a side door to look at the rows.

use redress_domain::calendar::CalendarSet;
use redress_domain::deadline::{ClockFacts, Deadlines, compute};
use redress_domain::plan::{FanOut, Policy, fan_out};
use redress_domain::regulation::RuleTable;
use redress_domain::rules::Rules;
use redress_domain::step::{Phase, StepState};
use redress_domain::submission::{RawSubmission, Submission};
use redress_domain::{
    Clock as _, ControllerId, DsrId, IdentifierType, ManualClock, Personal, RequestType, SystemId, Verb,
};
use redress_store::{BookKind, Books, FrozenClock};
use redress_store::{
    ControllerPolicy, Dialect, DsrDetail, Error, Finish, Lease, NewController, NewDsr, NewPackage, Options, StepResult,
    Store, Submitted, SystemUpsert, Wake, WorkKind,
};
use redress_testkit::Postgres;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;

static NEXT: AtomicU64 = AtomicU64::new(0);
static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();

/// What no byte of the database may hold in clear.
pub(crate) const CANARIES: [&str; 10] = [
    "canary.jane",
    "15112345678",
    "C-canary-1007",
    "TICKET-canary",
    "hooks.canary.example",
    "Canarysmith",
    "canary-receipt",
    "canary-artifact",
    "canary-package",
    "canary-password",
];
/// How long the personal data are kept after the end.
pub(crate) const KEEP: i64 = 30 * 86_400_000;
pub(crate) const MASTER: [u8; 32] = [7; 32];

pub(crate) struct Lab {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) url: String,
    pub(crate) folder: PathBuf,
    raw: Raw,
}

enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _gone_or_left_to_the_system = std::fs::remove_dir_all(&self.folder);
    }
}

/// What is submitted.
pub(crate) struct Wish {
    pub(crate) kind: RequestType,
    pub(crate) policy: Policy,
    pub(crate) callback: bool,
    pub(crate) due: i64,
    pub(crate) key: Option<(String, String)>,
}

impl Wish {
    pub(crate) fn of(kind: RequestType) -> Self {
        Self { kind, policy: Policy::default(), callback: false, due: 2_000_000_000_000, key: None }
    }

    pub(crate) fn deletion() -> Self {
        Self::of(RequestType::Deletion)
    }

    pub(crate) fn access() -> Self {
        Self::of(RequestType::Access)
    }

    pub(crate) fn policy(self, approval: bool, cooling_off_ms: i64, review: bool) -> Self {
        Self { policy: Policy { approval, cooling_off_ms, review }, ..self }
    }

    pub(crate) fn told(self) -> Self {
        Self { callback: true, ..self }
    }

    pub(crate) fn due(self, due: i64) -> Self {
        Self { due, ..self }
    }

    pub(crate) fn key(self, key: &str, body: &str) -> Self {
        Self { key: Some((key.into(), body.into())), ..self }
    }
}

impl Lab {
    /// A database with the schema.
    pub(crate) async fn new(dialect: Dialect) -> Self {
        let lab = Self::bare(dialect).await;
        lab.store.migrate().await.expect("a fresh database takes the schema");
        lab
    }

    /// A database without the schema.
    pub(crate) async fn bare(dialect: Dialect) -> Self {
        let name = format!("store{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("redress-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let clock = Arc::new(ManualClock::at("2026-11-21T10:00:00Z".parse().expect("an instant")));
        let (url, raw) = match dialect {
            Dialect::Sqlite => {
                let url = format!("sqlite://{}", folder.join("redress.db").display());
                let raw = SqlitePool::connect_lazy(&url).expect("a URL");
                (url, Raw::Sqlite(raw))
            }
            Dialect::Postgres => {
                let url = POSTGRES.get_or_init(Postgres::start).await.database(&name).await;
                let raw = PgPool::connect_lazy(&url).expect("a URL");
                (url, Raw::Postgres(raw))
            }
        };
        let store = open(&url, &clock, MASTER).await.expect("the database is there");
        Self { store, clock, url, folder, raw }
    }

    /// The same database in another process, as far as the store can tell.
    pub(crate) async fn another(&self) -> Store {
        open(&self.url, &self.clock, MASTER).await.expect("the database is there")
    }

    pub(crate) async fn with_master(&self, master: [u8; 32]) -> Store {
        open(&self.url, &self.clock, master).await.expect("the database is there")
    }

    pub(crate) fn travel(&self, ms: i64) {
        self.clock.advance(jiff::SignedDuration::from_millis(ms));
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The first column of every row, as text, by the side door.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let rows: Vec<Option<String>> = match &self.raw {
            Raw::Sqlite(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.expect(sql),
            Raw::Postgres(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.expect(sql),
        };
        rows.into_iter().map(|row| row.unwrap_or_else(|| "NULL".into())).collect()
    }

    /// A number, by the side door.
    pub(crate) async fn count(&self, of: &str) -> i64 {
        let rows = self.query(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM {of}")).await;
        rows[0].parse().expect("a number")
    }

    /// Runs a statement by the side door.
    pub(crate) async fn sql(&self, sql: &str) -> Result<(), sqlx::Error> {
        match &self.raw {
            Raw::Sqlite(pool) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop),
            Raw::Postgres(pool) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop),
        }
    }

    pub(crate) async fn controller(&self, name: &str) -> ControllerId {
        let new = NewController {
            name: name.into(),
            country: Some("DE".into()),
            timezone: "Europe/Berlin".into(),
            region: Some("eu".into()),
            contact: None,
            policy: ControllerPolicy::default(),
            terms: None,
            weight: 1,
        };
        self.store.create_controller(&new, "operator").await.expect("a fresh name").id
    }

    pub(crate) async fn system(&self, controller: &ControllerId, name: &str) -> SystemId {
        self.store.upsert_system(controller, &a_system(name), "operator").await.expect("stored");
        self.store.system_by_name(controller, name).await.expect("read").expect("there").id
    }

    /// A controller with systems of these names.
    pub(crate) async fn with_systems(&self, names: &[&str]) -> ControllerId {
        let controller = self.controller("acme").await;
        for name in names {
            self.system(&controller, name).await;
        }
        controller
    }

    pub(crate) async fn plan(&self, controller: &ControllerId, kind: RequestType) -> FanOut {
        let systems = self.store.systems(controller).await.expect("read");
        let facts: Vec<_> = systems.iter().map(redress_store::SystemRow::facts).collect();
        fan_out(kind, IdentifierType::ALL, &[], &facts, None)
    }

    pub(crate) async fn new_dsr(&self, controller: &ControllerId, wish: &Wish) -> NewDsr {
        let personal = |text: &str| Some(Personal::from(text));
        let raw = RawSubmission {
            kind: Some(wish.kind.as_str().into()),
            reference: personal("TICKET-canary"),
            identifiers: vec![
                (Some("email".into()), personal("canary.jane@example.com")),
                (Some("phone".into()), personal("+4915112345678")),
                (Some("customer_id".into()), personal("C-canary-1007")),
            ],
            corrections: vec![(Some("last_name".into()), personal("Canarysmith"))],
            callback_url: wish.callback.then(|| Personal::from("https://hooks.canary.example/dsr")),
            ..RawSubmission::default()
        };
        let (deadlines, clock) = dated(&self.store, wish.kind, wish.due).await;
        NewDsr {
            controller_id: controller.clone(),
            submission: Submission::parse(raw, Some("DE"), self.clock.now()).expect("well formed"),
            regulation: Some("EU-GDPR".into()),
            deadlines,
            clock,
            policy: wish.policy,
            instructions: self.store.controller(controller).await.expect("there").instructions,
            plan: self.plan(controller, wish.kind).await,
            systems: self.store.outlines(controller).await.expect("read"),
            idempotency: wish.key.clone(),
            actor: "key_test".into(),
        }
    }

    pub(crate) async fn submit(&self, controller: &ControllerId, wish: Wish) -> DsrId {
        match self.store.submit(self.new_dsr(controller, &wish).await, render).await.expect("accepted") {
            Submitted::New(id, _) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Submits and advances: without a policy the work has begun.
    pub(crate) async fn begun(&self, controller: &ControllerId, wish: Wish) -> DsrId {
        let id = self.submit(controller, wish).await;
        self.advance().await;
        id
    }

    pub(crate) async fn advance(&self) -> u64 {
        self.store.advance_due(100).await.expect("advanced")
    }

    /// Leases whatever is due first.
    pub(crate) async fn claim(&self) -> Vec<Lease> {
        self.store.claim("one", &[], 100, 60_000).await.expect("claimed")
    }

    /// Leases exactly one row, of a step.
    pub(crate) async fn claim_step(&self) -> Lease {
        let mut leases =
            self.store.claim("one", &["notify".into(), "answer".into()], 1, 60_000).await.expect("claimed");
        leases.pop().expect("a step is due")
    }

    /// Leases a step as a worker that died at once would have: its time is over already.
    pub(crate) async fn claim_and_die(&self) -> Lease {
        let mut leases = self.store.claim("dead", &["notify".into()], 1, -1).await.expect("claimed");
        leases.pop().expect("a step is due")
    }

    pub(crate) async fn finish(&self, lease: &Lease, result: StepResult) -> usize {
        self.store.finish(vec![Finish { lease: lease.clone(), result }]).await.expect("recorded")
    }

    pub(crate) async fn detail(&self, controller: &ControllerId, id: &DsrId) -> DsrDetail {
        self.store.dsr(controller, id).await.expect("there")
    }

    pub(crate) async fn status(&self, controller: &ControllerId, id: &DsrId) -> String {
        self.detail(controller, id).await.row.status
    }

    /// Does whatever is due, as a worker would whose systems all obey, until nothing is.
    pub(crate) async fn work_off(&self) {
        loop {
            let mut busy = self.advance().await > 0;
            busy |= self.store.promote().await.expect("promoted") > 0;
            for lease in self.claim().await {
                busy = true;
                self.obey(&lease).await;
            }
            if !busy {
                return;
            }
        }
    }

    /// Does one piece of work well.
    pub(crate) async fn obey(&self, lease: &Lease) {
        match (lease.kind, lease.phase) {
            (WorkKind::Step(Verb::Export), _) => {
                let key = self.store.dsr_key(&lease.controller_id, &lease.dsr_id).await.expect("a key");
                let meta = redress_store::ArtifactMeta::Records { collection: "customers".into() };
                self.store.put_artifact(lease, &key, 0, &meta, b"{\"a\":\"canary-artifact\"}\n").await.expect("kept");
                self.finish(lease, done(None)).await;
            }
            (WorkKind::Step(_), Phase::Act) => {
                self.finish(lease, done(Some(self.now()))).await;
            }
            (WorkKind::Step(_), Phase::Verify) => {
                self.finish(lease, verified()).await;
            }
            (WorkKind::Answer, _) => self.answer(lease).await.expect("answered"),
            (WorkKind::Notify, _) => {
                self.finish(lease, StepResult::Dismissed { achieved: true, code: "200".into() }).await;
            }
        }
    }

    pub(crate) async fn answer(&self, lease: &Lease) -> Result<(), Error> {
        let detail = self.detail(&lease.controller_id, &lease.dsr_id).await;
        let certificate = json!({ "certificate": { "request": lease.dsr_id } });
        if detail.row.kind != RequestType::Access {
            return self.store.answered(lease, &certificate, None).await;
        }
        let key = self.store.dsr_key(&lease.controller_id, &lease.dsr_id).await?;
        for (n, body) in [(0, &b"canary-package "[..]), (1, b"part two")] {
            self.store.put_package_chunk(lease, &key, n, body).await?;
        }
        let package =
            NewPackage { bytes: 23, chunks: 2, sha256: "00".into(), records: 1, expires_at: self.now() + 86_400_000 };
        self.store.answered(lease, &certificate, Some(&package)).await
    }
}

async fn open(url: &str, clock: &Arc<ManualClock>, master_key: [u8; 32]) -> Result<Store, Error> {
    let options = Options {
        url: url.into(),
        max_connections: 10,
        connect_timeout: Duration::from_secs(30),
        master_key,
        keep_closed: Duration::from_millis(KEEP as u64),
    };
    Store::open(options, clock.clone(), Wake::local()).await
}

pub(crate) fn a_system(name: &str) -> SystemUpsert {
    SystemUpsert {
        name: name.into(),
        family: "database".into(),
        connector: "sqlite".into(),
        definition: json!({ "settings": {}, "max_matches": 25 }),
        secrets: Some(BTreeMap::from([("password".into(), Personal::from("canary-password"))])),
        allow: RequestType::ALL.to_vec(),
        verbs: Verb::ALL.to_vec(),
        identifiers: IdentifierType::ALL.to_vec(),
        fields: vec!["last_name".into()],
        batch: 50,
        completes_within_days: 0,
    }
}

pub(crate) fn render(detail: &DsrDetail) -> Value {
    let reference = detail.row.reference.as_ref().map(|r| r.expose().clone());
    json!({ "id": detail.row.id, "reference": reference, "steps": detail.steps.len() })
}

pub(crate) fn done(verify_at: Option<i64>) -> StepResult {
    StepResult::Acted {
        state: StepState::Done,
        found: 1,
        changed: 1,
        retained: 0,
        result: json!({ "retained": [], "evidence": { "collections": [] } }),
        receipt: Some("canary-receipt".into()),
        verify_at,
    }
}

pub(crate) fn acted(state: StepState, retained: u64) -> StepResult {
    StepResult::Acted { state, found: 0, changed: 0, retained, result: json!({}), receipt: None, verify_at: None }
}

pub(crate) fn verified() -> StepResult {
    StepResult::Verified { proof: json!({ "collections": [] }) }
}

pub(crate) fn residue() -> StepResult {
    StepResult::Residue { remaining: 2, proof: json!({ "collections": [] }) }
}

pub(crate) fn later(not_before: i64, failed: bool, attention: bool) -> StepResult {
    StepResult::Later { not_before, failed, attention, code: "unreachable".into(), detail: "it is down".into() }
}

pub(crate) fn attention() -> StepResult {
    StepResult::Attention { code: "credentials_refused".into(), detail: "set the password".into() }
}

const TABLE: &str = include_str!("../../../../config/regulations.toml");

/// Read once: every request is dated by it.
static RULES: std::sync::LazyLock<Rules> = std::sync::LazyLock::new(|| {
    Rules::new(RuleTable::parse(TABLE).expect("the shipped table"), CalendarSet::default())
});

/// Dates of a request that is due before `due` (Unix ms), as the shipped table gives them otherwise.
pub(crate) async fn dated(store: &Store, kind: RequestType, due: i64) -> (Deadlines, FrozenClock) {
    let now = store.clock().now();
    let facts = ClockFacts {
        request_type: kind,
        regulations: vec!["EU-GDPR".into()],
        jurisdiction: None,
        controller_country: Some("DE".into()),
        controller_timezone: "Europe/Berlin".into(),
        data_subject_received_at: None,
        instruction_received_at: now,
        pauses: Vec::new(),
        extension: None,
        acknowledged_at: None,
    };
    let mut deadlines = compute(&RULES, &facts, now).expect("dates");
    let due = jiff::Timestamp::from_millisecond(due).expect("an instant");
    deadlines.effective.due_before = due;
    deadlines.milestones.overdue_at = due;
    deadlines.milestones.critical_at = deadlines.milestones.critical_at.min(due);
    deadlines.milestones.at_risk_at = deadlines.milestones.at_risk_at.min(due);
    let regulations = store.keep_book(BookKind::Regulations, "", &RULES.table.version, TABLE).await.expect("kept");
    let books = Books { regulations, calendars: Vec::new(), calendar_version: String::new(), terms: None };
    (deadlines, FrozenClock { facts, books, regulations: vec!["EU-GDPR".into()] })
}
