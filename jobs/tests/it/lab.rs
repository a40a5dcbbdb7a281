//! A lab is a store, workers, and SQLite files that play the connected systems; its clock goes, and can be set forward.

use jiff::{SignedDuration, Timestamp};
use redress_connectors::{SystemSpec, registry};
use redress_domain::calendar::CalendarSet;
use redress_domain::deadline::{ClockFacts, Deadlines, compute};
use redress_domain::plan::{Policy, fan_out};
use redress_domain::regulation::RuleTable;
use redress_domain::rules::Rules;
use redress_domain::submission::{RawSubmission, Submission};
use redress_domain::{Clock, ControllerId, DsrId, IdentifierType, Personal, RequestType, SystemClock};
use redress_jobs::certificate::{PublicKey, Signer};
use redress_jobs::limits::Limiter;
use redress_jobs::message::Messenger;
use redress_jobs::outbound::{self, OutboundPolicy};
use redress_jobs::reach::Reach;
use redress_jobs::watch::Watch;
use redress_jobs::{Engine, WorkerOptions, Workers};
use redress_store::{BookKind, Books, FrozenClock};
use redress_store::{
    ControllerPolicy, DsrDetail, NewController, NewDsr, Options, Store, Submitted, SystemUpsert, Wake,
};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The machine's clock, set forward by as much as a test wants.
#[derive(Default)]
pub(crate) struct TravelClock(AtomicI64);

impl Clock for TravelClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) struct Lab {
    pub(crate) engine: Arc<Engine>,
    pub(crate) ctl: ControllerId,
    pub(crate) clock: Arc<TravelClock>,
    folder: PathBuf,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _gone_or_left_to_the_system = std::fs::remove_dir_all(&self.folder);
    }
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("redress-{}-jobs{n}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let clock = Arc::new(TravelClock::default());
        let options = Options {
            url: format!("sqlite://{}", folder.join("redress.db").display()),
            max_connections: 4,
            connect_timeout: Duration::from_secs(30),
            master_key: [7; 32],
            keep_closed: Duration::from_hours(30 * 24),
        };
        let store = Store::open(options, clock.clone(), Wake::local()).await.expect("opened");
        store.migrate().await.expect("a fresh database takes the schema");
        let new = NewController {
            name: "acme".into(),
            country: Some("DE".into()),
            timezone: "Europe/Berlin".into(),
            region: None,
            contact: None,
            policy: ControllerPolicy::default(),
            terms: None,
            weight: 1,
        };
        let ctl = store.create_controller(&new, "operator").await.expect("a fresh name").id;
        let engine = Arc::new(engine(store).await);
        Self { engine, ctl, clock, folder }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.engine.store
    }

    pub(crate) fn travel(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn keys(&self) -> [PublicKey; 1] {
        [*self.engine.signer.public_key()]
    }

    pub(crate) fn file(&self, system: &str) -> PathBuf {
        self.folder.join(format!("{system}.sqlite"))
    }

    /// Starts workers that look often.
    pub(crate) fn start(&self, owner: &str) -> Workers {
        Workers::start(self.engine.clone(), options(owner))
    }

    /// Runs a script in a system's own database.
    pub(crate) async fn sql(&self, system: &str, script: &str) {
        let mut connection = self.connect(system).await;
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await.expect(script);
        connection.close().await.expect("closed");
    }

    /// Runs a script in the engine's own database, by the side door.
    pub(crate) async fn own_sql(&self, script: &str) {
        let options =
            SqliteConnectOptions::new().filename(self.folder.join("redress.db")).busy_timeout(Duration::from_secs(15));
        let mut connection = SqliteConnection::connect_with(&options).await.expect("a file");
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await.expect(script);
        connection.close().await.expect("closed");
    }

    /// One number from a system's own database.
    pub(crate) async fn count(&self, system: &str, of: &str) -> i64 {
        let mut connection = self.connect(system).await;
        let sql = format!("SELECT COUNT(*) FROM {of}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect("counted")
    }

    async fn connect(&self, system: &str) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.file(system)).create_if_missing(true);
        SqliteConnection::connect_with(&options).await.expect("a file")
    }

    /// Connects a SQLite file that holds Jane with two orders, and Joan, who is somebody else.
    pub(crate) async fn system(&self, name: &str) {
        self.sql(name, SHOP).await;
        self.connected(name, self.definition(name)).await;
    }

    pub(crate) fn definition(&self, name: &str) -> Value {
        json!({ "settings": { "path": self.file(name) }, "tables": tables(), "max_matches": 25 })
    }

    pub(crate) async fn connected(&self, name: &str, definition: Value) {
        self.connected_by("sqlite", name, definition, BTreeMap::new()).await;
    }

    pub(crate) async fn connected_by(
        &self,
        connector: &str,
        name: &str,
        definition: Value,
        secrets: BTreeMap<String, Personal<String>>,
    ) {
        let spec = SystemSpec {
            name: name.into(),
            connector: connector.into(),
            settings: definition["settings"].as_object().expect("settings").clone(),
            secrets: secrets.clone(),
            tables: serde_json::from_value(definition["tables"].clone()).expect("tables"),
            max_matches: 25,
            base_dir: None,
            network: redress_connectors::Network::default(),
        };
        let reached = registry::connect(&spec).expect("a sound definition");
        let manifest = reached.manifest();
        let system = SystemUpsert {
            name: name.into(),
            family: "database".into(),
            connector: connector.into(),
            definition,
            secrets: Some(secrets),
            allow: vec![RequestType::Access, RequestType::Correction, RequestType::Deletion],
            verbs: manifest.verbs.to_vec(),
            identifiers: manifest.identifiers.clone(),
            fields: manifest.fields.clone(),
            batch: 50,
            completes_within_days: 0,
        };
        self.store().upsert_system(&self.ctl, &system, "operator").await.expect("stored");
    }

    pub(crate) async fn submit(&self, kind: RequestType, email: &str, callback: Option<&str>) -> DsrId {
        let personal = |text: &str| Some(Personal::from(text));
        let raw = RawSubmission {
            kind: Some(kind.as_str().into()),
            reference: personal("TICKET-1"),
            identifiers: vec![(Some("email".into()), personal(email))],
            corrections: vec![(Some("last_name".into()), personal("Newname"))],
            callback_url: callback.map(Personal::from),
            ..RawSubmission::default()
        };
        let systems = self.store().systems(&self.ctl).await.expect("read");
        let facts: Vec<_> = systems.iter().map(redress_store::SystemRow::facts).collect();
        let now = self.store().now_ms();
        let (deadlines, clock) = dated(self.store(), kind, now + 30 * 86_400_000).await;
        let new = NewDsr {
            controller_id: self.ctl.clone(),
            submission: Submission::parse(raw, Some("DE"), self.clock.now()).expect("well formed"),
            regulation: Some("EU-GDPR".into()),
            deadlines,
            clock,
            policy: Policy::default(),
            instructions: 1,
            plan: fan_out(kind, &[IdentifierType::Email], &[], &facts, None),
            systems: self.store().outlines(&self.ctl).await.expect("read"),
            idempotency: None,
            actor: "key_test".into(),
        };
        match self.store().submit(new, |detail| json!(detail.row.id)).await.expect("accepted") {
            Submitted::New(id, _) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn detail(&self, id: &DsrId) -> DsrDetail {
        self.store().dsr(&self.ctl, id).await.expect("there")
    }

    /// Waits until the request has this status; every look sets the clock forward by `travel` milliseconds.
    pub(crate) async fn until(&self, id: &DsrId, status: &str, travel: i64) -> DsrDetail {
        self.until_that(id, travel, |detail| detail.row.status == status).await
    }

    pub(crate) async fn until_that(&self, id: &DsrId, travel: i64, is: impl Fn(&DsrDetail) -> bool) -> DsrDetail {
        let began = Instant::now();
        loop {
            let detail = self.detail(id).await;
            if is(&detail) {
                return detail;
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{} {:?} {:#?}",
                detail.row.status,
                detail.row.attention,
                detail.steps
            );
            self.travel(travel);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn kinds(&self, id: &DsrId) -> Vec<String> {
        self.store().events_of(&self.ctl, id).await.expect("read").into_iter().map(|e| e.kind).collect()
    }
}

/// What a system holds.
pub(crate) const SHOP: &str = "CREATE TABLE customers (id TEXT PRIMARY KEY, email TEXT, last_name TEXT);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id TEXT, ship_to TEXT);
    INSERT INTO customers VALUES ('C-1', 'jane@example.com', 'Roe'), ('C-2', 'joan@example.com', 'Doe');
    INSERT INTO orders VALUES (1, 'C-1', 'Elm Street'), (2, 'C-1', 'Oak Street'), (3, 'C-2', 'Ash Street');";

/// How it is declared.
pub(crate) fn tables() -> Value {
    json!([
        { "name": "customers", "key": "id", "identify": { "email": "email", "customer_id": "id" },
          "fields": { "last_name": "last_name" }, "on_delete": "delete" },
        { "name": "orders", "key": "id", "references": { "customer_id": "customers.id" }, "on_delete": "delete" },
    ])
}

/// An engine on this store, as another process would have it.
pub(crate) async fn engine(store: Store) -> Engine {
    let seed = store.signing_seed().await.expect("made");
    let table = RuleTable::parse(include_str!("../../../config/regulations.toml")).expect("the shipped table");
    let limiter = Limiter::new(store.clone(), None).expect("no address to misread");
    Engine {
        messenger: Messenger::new(None, "https://dsr.example.com".into()).expect("a client"),
        watch: Watch::new(Rules::new(table, CalendarSet::default()), 8, Duration::from_mins(1)),
        store,
        reach: Reach::new(limiter.clone()),
        limiter,
        signer: Signer::from_seed(&seed),
        http: outbound::client(OutboundPolicy::parse(&["127.0.0.1"]).expect("a policy")).expect("a client"),
        package_expires: Duration::from_hours(24),
        call_limit: Duration::from_mins(15),
        version: "test",
    }
}

pub(crate) fn options(owner: &str) -> WorkerOptions {
    WorkerOptions {
        owner: owner.into(),
        concurrency: 8,
        lane_concurrency: 2,
        batch: 50,
        poll: Duration::from_millis(50),
        lease: Duration::from_secs(30),
        renew: Duration::from_secs(10),
        sweep: Duration::from_millis(100),
        forecast: Duration::from_mins(5),
        grace: Duration::from_secs(10),
    }
}

pub(crate) const GRACE: Duration = Duration::from_secs(10);

const TABLE: &str = include_str!("../../../config/regulations.toml");

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
