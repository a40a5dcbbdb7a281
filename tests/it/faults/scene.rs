//! A scene is an installation with people in a controller's systems, the requests that are made about them, and the
//! judgement of what came of it all, from outside.

use crate::support::{ApiClient, Kind, PATIENCE, Person, Snapshot, Systems, TestApp, id_of, poll, status_of};
use redress_testkit::{Postgres, Receiver};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// The new name of whoever is corrected.
pub(super) const RENAMED: &str = "Renamed Sampleperson";

/// What is asked for about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Access,
    Correction,
    Deletion,
}

/// One request about one person.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) right: Right,
    pub(super) person: Person,
    /// The statuses are told.
    told: bool,
    /// A message with a large attachment lies in the Maildir beside the usual two.
    large: bool,
}

impl Case {
    pub(super) fn new(right: Right, local: &str) -> Self {
        Self { right, person: Person::new(local), told: true, large: false }
    }

    pub(super) fn untold(mut self) -> Self {
        self.told = false;
        self
    }

    pub(super) fn large(mut self) -> Self {
        self.large = true;
        self
    }

    fn body(&self, hooks: &str) -> Value {
        let mut body = match self.right {
            Right::Access => self.person.access(),
            Right::Correction => self.person.correction("full_name", RENAMED),
            Right::Deletion => self.person.deletion(),
        };
        if self.told {
            body["callback_url"] = json!(hooks);
        }
        body
    }

    /// Found and changed records on a system of this kind; none if the request does not concern it.
    fn counts(&self, kind: Kind) -> Option<(u64, Option<u64>)> {
        let found = if kind.is_sql() { 6 } else { 2 + u64::from(self.large && kind == Kind::Maildir) };
        match self.right {
            Right::Access => Some((found, None)),
            Right::Deletion => Some((found, Some(found))),
            Right::Correction => kind.is_sql().then_some((1, Some(1))),
        }
    }
}

/// The way to the product's own rows that does not pass through the product.
pub(super) enum Rows {
    Sqlite(PathBuf),
    Postgres { url: String },
}

impl Rows {
    /// Of an installation on SQLite, or in this database of a server.
    pub(super) fn of(app: &TestApp, postgres: Option<(&Postgres, &str)>) -> Self {
        match postgres {
            None => Self::Sqlite(app.folder().join("data").join("redress.db")),
            Some((server, database)) => Self::Postgres { url: server.url(database) },
        }
    }

    /// Every column must be text; NULL becomes an empty one.
    pub(super) async fn query(&self, sql: &str) -> Vec<Vec<String>> {
        macro_rules! all {
            ($connection:expr) => {{
                let mut connection = $connection.await.unwrap_or_else(|error| panic!("{error}: {sql}"));
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
                let rows = rows.unwrap_or_else(|error| panic!("{error}: {sql}"));
                connection.close().await.expect("nothing is open");
                rows.iter()
                    .map(|row| (0..row.len()).map(|i| row.get::<Option<String>, _>(i).unwrap_or_default()).collect())
                    .collect()
            }};
        }
        match self {
            Self::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                all!(options.busy_timeout(Duration::from_secs(20)).connect())
            }
            Self::Postgres { url } => all!(sqlx::PgConnection::connect(url)),
        }
    }

    /// One number.
    pub(super) async fn number(&self, sql: &str) -> u64 {
        let rows = self.query(&format!("SELECT CAST(({sql}) AS TEXT)")).await;
        rows[0][0].parse().unwrap_or_else(|_| panic!("{sql}: {rows:?}"))
    }
}

/// What is in the columns of each table of a system (see `support::systems`).
const TABLES: [(&str, &[&str]); 4] = [
    ("customers", &["id", "full_name", "email", "phone", "owner"]),
    ("addresses", &["id", "customer_id", "street", "owner"]),
    ("orders", &["id", "customer_id", "total_cents", "ship_to", "owner"]),
    ("tickets", &["id", "email", "subject", "owner"]),
];

/// Triggers that write down every row that is really deleted or changed, whoever does it.
fn journal(kind: Kind) -> String {
    let mut script = String::from("CREATE TABLE audit_journal (entry VARCHAR(200));");
    if kind == Kind::Postgres {
        script += "CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF TG_OP = 'DELETE' THEN INSERT INTO audit_journal VALUES (TG_TABLE_NAME || ' ' || OLD.id || ' DELETE');
            ELSIF OLD IS DISTINCT FROM NEW THEN INSERT INTO audit_journal VALUES (TG_TABLE_NAME || ' ' || OLD.id || ' UPDATE');
            END IF; RETURN NULL; END $$;";
    }
    for (table, columns) in TABLES {
        let compare = |operator: &str, between: &str| {
            let pairs: Vec<String> = columns.iter().map(|c| format!("OLD.{c} {operator} NEW.{c}")).collect();
            pairs.join(between)
        };
        let _ = match kind {
            Kind::Sqlite => write!(
                script,
                "CREATE TRIGGER {table}_gone AFTER DELETE ON {table} BEGIN INSERT INTO audit_journal VALUES ('{table} ' || OLD.id || ' DELETE'); END;
                 CREATE TRIGGER {table}_changed AFTER UPDATE ON {table} WHEN {} BEGIN INSERT INTO audit_journal VALUES ('{table} ' || OLD.id || ' UPDATE'); END;",
                compare("IS NOT", " OR ")
            ),
            Kind::Mysql => write!(
                script,
                "CREATE TRIGGER {table}_gone AFTER DELETE ON {table} FOR EACH ROW INSERT INTO audit_journal VALUES (concat('{table} ', OLD.id, ' DELETE'));
                 CREATE TRIGGER {table}_changed AFTER UPDATE ON {table} FOR EACH ROW INSERT INTO audit_journal SELECT concat('{table} ', OLD.id, ' UPDATE') FROM DUAL WHERE NOT ({});",
                compare("<=>", " AND ")
            ),
            _ => write!(
                script,
                "CREATE TRIGGER journal AFTER UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION write_down();"
            ),
        };
    }
    script
}

/// What is set up, and how it was before anything was asked for.
pub(super) struct Scene {
    pub(super) app: TestApp,
    pub(super) systems: Systems,
    pub(super) api: ApiClient,
    pub(super) receiver: Receiver,
    pub(super) rows: Rows,
    pub(super) cases: Vec<Case>,
    kinds: Vec<Kind>,
    before: Snapshot,
    expected: BTreeMap<Kind, Vec<String>>,
    steady: bool,
    patience: Duration,
}

impl Scene {
    /// Puts everybody and their near-twins into the systems and connects these. Nothing runs yet, or everything does.
    pub(super) async fn set(app: TestApp, rows: Rows, kinds: &[Kind], cases: Vec<Case>) -> Self {
        Self::set_with(app, rows, kinds, cases, str::to_owned).await
    }

    /// The same with other words in the controller's file.
    pub(super) async fn set_with(
        app: TestApp,
        rows: Rows,
        kinds: &[Kind],
        cases: Vec<Case>,
        edit: impl Fn(&str) -> String,
    ) -> Self {
        let (systems, receiver) = tokio::join!(Systems::of(kinds), Receiver::start());
        let mut people: Vec<Person> = cases.iter().map(|case| case.person.clone()).collect();
        // Nine twins each for the first few: they are what a loose comparison would take along.
        people.extend(cases.iter().take(4).flat_map(|case| case.person.twins()));
        systems.fill(&people).await;
        for case in cases.iter().filter(|case| case.large) {
            write_large_message(&systems, &case.person);
        }
        let mut expected = BTreeMap::new();
        for kind in kinds.iter().copied().filter(|kind| kind.is_sql()) {
            expected.insert(kind, changes(&systems, kind, &cases).await);
            systems.sql(kind, &journal(kind)).await;
        }
        let before = systems.snapshot().await;
        let name = app.apply(&edit(&systems.toml("acme"))).await;
        let api = app.key(&name, "controller_admin").await;
        let kinds = kinds.to_vec();
        Self { app, systems, api, receiver, rows, cases, kinds, before, expected, steady: true, patience: PATIENCE }
    }

    /// A step may be tried more often than one death explains, and be quarantined; it is then retried as a person would.
    pub(super) fn rough(mut self) -> Self {
        self.steady = false;
        self
    }

    /// What is waited for may take this long, because something is away for that long.
    #[allow(dead_code, reason = "tests/chaos uses it")]
    pub(super) fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Submits one of the requests as a caller does who must be sure: with the same key again until it is accepted.
    pub(super) async fn submit(&self, nth: usize) -> String {
        let case = &self.cases[nth];
        let body = case.body(&self.receiver.url_of("/hooks")).to_string();
        let key = format!("key-{nth}");
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        let answer = poll("the request is accepted", self.patience, || async {
            let answer = self.api.try_send("POST", "/v1/requests", &headers, body.clone()).await?;
            // The database is away: try again.
            (answer.status != 503).then_some(answer)
        });
        id_of(&answer.await.expect(202)).to_owned()
    }

    /// Submits all, one after the other, so far apart.
    pub(super) async fn submit_all(&self, pause: Duration) -> Vec<String> {
        let mut ids = Vec::new();
        for nth in 0..self.cases.len() {
            ids.push(self.submit(nth).await);
            tokio::time::sleep(pause).await;
        }
        ids
    }

    /// What the systems wrote down, every entry.
    #[allow(dead_code, reason = "tests/chaos uses it")]
    pub(super) async fn journal(&self) -> Vec<String> {
        let mut all = Vec::new();
        for kind in self.expected.keys() {
            let entries = self.systems.query(*kind, "SELECT entry FROM audit_journal").await.concat();
            all.extend(entries.iter().map(|entry| format!("{} {entry}", kind.name())));
        }
        all
    }

    /// Waits until all have ended and everything is told; checks everything there is to check.
    pub(super) async fn judge(&self, ids: &[String]) {
        for id in ids {
            self.end_of(id).await;
        }
        // Whoever asks again with the same key gets the same request, and no other was made.
        for (nth, id) in ids.iter().enumerate() {
            assert_eq!(&self.submit(nth).await, id, "the same key made another request");
        }
        let listed = self.api.read("/v1/requests?limit=200").await.expect(200);
        let listed: BTreeSet<&str> = listed["requests"].as_array().expect("a list").iter().map(id_of).collect();
        assert_eq!(listed, ids.iter().map(String::as_str).collect(), "accepted is what is there");

        let key = self.api.signing_key().await;
        for (case, id) in self.cases.iter().zip(ids) {
            let view = self.api.get(id).await;
            self.judge_view(case, &view);
            self.judge_certificate(case, id, &key).await;
            self.judge_events(case, id, &view).await;
        }
        self.judge_systems().await;
        self.judge_rows(ids).await;
        self.verify("audit.ndjson", &self.api.audit().await, &[]).await;
    }

    pub(super) async fn end_of(&self, id: &str) -> Value {
        loop {
            let waits = |view: &Value| !view["closed_at"].is_null() || status_of(view) == "needs_attention";
            let view = self.api.until_view(id, waits, self.patience).await;
            if !view["closed_at"].is_null() {
                return view;
            }
            let why = view["attention"].as_str().unwrap_or_default();
            let bad_luck = why.contains("quarantined") || why.contains("the answer could not be made");
            assert!(!self.steady && bad_luck, "{view:#}\n{}", self.app.logs());
            let retried = self.api.act(id, "retry").await;
            // It may have gone on by itself meanwhile.
            assert!([200, 409].contains(&retried.status), "{}", retried.text());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn judge_view(&self, case: &Case, view: &Value) {
        assert_eq!((status_of(view), &view["attention"]), ("completed", &Value::Null), "{view:#}");
        let steps = view["steps"].as_array().expect("a list");
        let concerned: Vec<Kind> = self.kinds.iter().copied().filter(|kind| case.counts(*kind).is_some()).collect();
        assert_eq!(steps.len(), concerned.len(), "{view:#}");
        for kind in concerned {
            let (found, changed) = case.counts(kind).expect("it is concerned");
            let step = steps.iter().find(|step| step["system"] == kind.name()).expect("every system has a step");
            assert_eq!(step["found"], found, "{} {step:#}", case.person.key);
            if let Some(changed) = changed {
                assert_eq!((&step["status"], &step["changed"]), (&json!("verified"), &json!(changed)), "{step:#}");
            } else {
                assert_eq!(step["status"], "done", "{step:#}");
            }
            let attempts = step["attempts"].as_u64().expect("a number");
            // Acting and reading again, each at most once more after a death or an interruption.
            assert!(!self.steady || (1..=4).contains(&attempts), "{step:#}");
        }
    }

    /// The certificate says what was there before, although somebody died in between; so does the package.
    async fn judge_certificate(&self, case: &Case, id: &str, key: &str) {
        let document = self.api.certificate(id).await;
        self.verify(&format!("{id}.json"), &document, &["--key", key]).await;
        let document: Value = serde_json::from_slice(&document).expect("JSON");
        let certificate = &document["certificate"];
        assert_eq!(
            (&certificate["request"]["id"], &certificate["request"]["outcome"]),
            (&json!(id), &json!("completed"))
        );
        for step in certificate["steps"].as_array().expect("a list") {
            let kind = self.kinds.iter().find(|kind| step["system"] == kind.name()).expect("a known system");
            let (found, changed) = case.counts(*kind).expect("it is concerned");
            assert_eq!(step["found"], found, "{certificate:#}");
            let Some(changed) = changed else { continue };
            assert_eq!(step["changed"], changed, "{certificate:#}");
            let sum = |of: &str, member: &str| -> u64 {
                step[of].as_array().expect("a list").iter().map(|count| count[member].as_u64().unwrap_or(0)).sum()
            };
            assert_eq!((sum("evidence", "before"), sum("evidence", "changed")), (found, changed), "{step:#}");
            if case.right == Right::Deletion {
                assert_eq!(sum("evidence", "after") + sum("verification", "after"), 0, "{step:#}");
            }
        }
        if case.right == Right::Access {
            let package = self.api.package(id).await;
            self.verify(&format!("{id}.zip"), &package, &["--key", key]).await;
            let digest = ring::digest::digest(&ring::digest::SHA256, &package);
            let digest = digest.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            assert_eq!(certificate["package"]["sha256"], digest, "the certificate names another package");
        } else {
            assert!(certificate["package"].is_null(), "{certificate:#}");
        }
    }

    /// Each thing is in the audit log once, and each status was told under one webhook-id.
    async fn judge_events(&self, case: &Case, id: &str, view: &Value) {
        let events = self.api.events(id).await;
        let of = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
        for kind in ["received", "work_began", "answer_made", "completed"] {
            assert_eq!(of(kind), 1, "{kind}: {events:#?}");
        }
        for step in view["steps"].as_array().expect("a list") {
            let about =
                |kind: &str| events.iter().filter(|e| e["kind"] == kind && e["data"]["step"] == step["id"]).count();
            assert_eq!(about("step_acted"), 1, "{events:#?}");
            assert_eq!(about("step_verified"), usize::from(case.right != Right::Access), "{events:#?}");
        }
        let stages = events.iter().filter_map(|event| event["data"]["stage"].as_str());
        let wanted: BTreeSet<&str> = stages.chain(["received"]).collect();
        if !case.told {
            return;
        }
        let told = poll("every status was told", Duration::from_secs(30), || async {
            let told = self.told(id);
            wanted.iter().all(|status| told.contains_key(*status)).then_some(told)
        });
        for (status, messages) in told.await {
            // Whoever needed attention and was retried is told to be in progress once more.
            let once = of("step_quarantined") == 0;
            assert!(!once || messages.len() == 1, "{id} is {status} was told as several messages: {messages:?}");
            assert!(wanted.contains(status.as_str()) || !once, "{status} was told, {wanted:?} happened");
        }
    }

    /// The ids of the messages that told each status of a request.
    fn told(&self, id: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for request in self.receiver.requests() {
            let body: Value = serde_json::from_slice(&request.body).expect("a webhook is JSON");
            if body["data"]["id"] == id {
                let message = request.header("webhook-id").expect("every message has an id").to_owned();
                told.entry(status_of(&body["data"]).to_owned()).or_default().insert(message);
            }
        }
        told
    }

    /// Every row that had to be changed was changed once; nobody else's record is another than before.
    async fn judge_systems(&self) {
        for (kind, expected) in &self.expected {
            let mut journal: Vec<String> = self.systems.query(*kind, "SELECT entry FROM audit_journal").await.concat();
            journal.sort();
            assert_eq!(&journal, expected, "the journal of {}", kind.name());
        }
        let after = self.systems.snapshot().await;
        let changed: Vec<&Person> = self.cases.iter().filter(|c| c.right != Right::Access).map(|c| &c.person).collect();
        assert_eq!(after.without(&changed), self.before.without(&changed), "somebody else was touched");
        for case in &self.cases {
            let (was, is) = (self.before.of(&case.person), after.of(&case.person));
            match case.right {
                Right::Access => assert_eq!(is, was),
                Right::Deletion => {
                    assert_eq!(self.systems.census(&case.person.email).await, 0, "{is:#?}");
                    // What is sold stays in the books, without the buyer.
                    assert_eq!(is.len(), 2 * self.expected.len(), "{is:#?}");
                }
                Right::Correction => {
                    let corrected: Vec<String> =
                        was.iter()
                            .map(|r| {
                                if r.contains(" customers ") {
                                    r.replace(&case.person.name, RENAMED)
                                } else {
                                    r.clone()
                                }
                            })
                            .collect();
                    assert_eq!(is, corrected);
                }
            }
        }
    }

    /// One certificate a request, one package an access, and nothing left to do or half made.
    async fn judge_rows(&self, ids: &[String]) {
        let n = ids.len() as u64;
        let accesses = self.cases.iter().filter(|case| case.right == Right::Access).count() as u64;
        poll("the queue is empty", Duration::from_secs(30), || async {
            (self.rows.number("SELECT COUNT(*) FROM steps WHERE q IS NOT NULL").await == 0).then_some(())
        })
        .await;
        for (sql, wanted) in [
            ("SELECT COUNT(*) FROM dsrs", n),
            ("SELECT COUNT(*) FROM dsrs WHERE closed_at IS NULL OR purge_at IS NULL", 0),
            ("SELECT COUNT(*) FROM idempotency", n),
            ("SELECT COUNT(*) FROM certificates", n),
            ("SELECT COUNT(*) FROM packages", accesses),
            ("SELECT COUNT(*) FROM steps WHERE verb = 'answer'", n),
            ("SELECT COUNT(*) FROM artifacts", 0),
            (
                "SELECT COUNT(*) FROM package_chunks c LEFT JOIN packages p ON p.dsr_id = c.dsr_id AND p.token = c.token AND c.n < p.chunks WHERE p.dsr_id IS NULL",
                0,
            ),
            ("SELECT COUNT(*) FROM steps WHERE attention = 1", 0),
        ] {
            assert_eq!(self.rows.number(sql).await, wanted, "{sql}");
        }
    }

    /// `redress verify` takes it.
    pub(super) async fn verify(&self, name: &str, content: &[u8], arguments: &[&str]) {
        let file = self.app.file(name, content);
        let ran = self.app.cli(&[&["verify", file.as_str()], arguments].concat()).await;
        ran.ok();
    }
}

/// The journal's entries when everybody got what they asked for.
pub(super) async fn changes(systems: &Systems, kind: Kind, cases: &[Case]) -> Vec<String> {
    let mut entries = Vec::new();
    for (table, _) in TABLES {
        for row in systems.query(kind, &format!("SELECT owner, CAST(id AS CHAR(64)) FROM {table}")).await {
            let Some(case) = cases.iter().find(|case| case.person.key == row[0]) else { continue };
            let id = row[1].trim();
            match (case.right, table) {
                (Right::Deletion, "orders") | (Right::Correction, "customers") => {
                    entries.push(format!("{table} {id} UPDATE"));
                }
                (Right::Deletion, _) => entries.push(format!("{table} {id} DELETE")),
                _ => {}
            }
        }
    }
    entries.sort();
    entries
}

/// What the systems have to have written down in the end, as [`Scene::journal`] gives it.
#[allow(dead_code, reason = "tests/chaos uses it")]
pub(super) fn changes_done(scene: &Scene) -> Vec<String> {
    let of = |(kind, entries): (&Kind, &Vec<String>)| {
        entries.iter().map(|entry| format!("{} {entry}", kind.name())).collect::<Vec<_>>()
    };
    scene.expected.iter().flat_map(of).collect()
}

/// A message of two and a half megabytes that does not get smaller by being packed.
fn write_large_message(systems: &Systems, person: &Person) {
    use base64::Engine as _;
    use ring::rand::SecureRandom as _;
    let mut noise = vec![0; 2_500_000];
    ring::rand::SystemRandom::new().fill(&mut noise).expect("there is randomness");
    let noise = base64::engine::general_purpose::STANDARD.encode(noise);
    let lines: Vec<&str> = noise.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    let text = format!(
        "From: <{}>\r\nTo: Support <support@acme.example>\r\nSubject: A picture\r\nMessage-ID: <large-{}@mail.acme.example>\r\n\r\n{}\r\nowner={}\r\n",
        person.email,
        person.key,
        lines.join("\r\n"),
        person.key
    );
    std::fs::write(systems.maildir().join("cur").join("1700000001.M999999.acme:2,S"), text)
        .expect("it is our own folder");
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    /// What the judge says about a fulfilled deletion after which somebody else did this to the database.
    async fn judgement_after(script: &str) -> String {
        let app = TestApp::builder().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1").start().await;
        let rows = Rows::of(&app, None);
        let scene = Scene::set(app, rows, &[Kind::Sqlite], vec![Case::new(Right::Deletion, "ann")]).await;
        let ids = scene.submit_all(Duration::ZERO).await;
        scene.judge(&ids).await;
        scene.systems.sql(Kind::Sqlite, script).await;
        let judged = std::panic::AssertUnwindSafe(scene.judge(&ids)).catch_unwind().await;
        *judged.expect_err("the judge sees nothing wrong").downcast::<String>().expect("a panic has words")
    }

    #[tokio::test]
    async fn the_judge_sees_a_row_that_was_deleted_twice() {
        let sql = "INSERT INTO tickets VALUES (99999, 'ann@shop.example', 'again', 'ann'); DELETE FROM tickets WHERE id = 99999;";
        let words = judgement_after(sql).await;
        assert!(words.contains("the journal of sqlite"), "{words}");
    }

    #[tokio::test]
    async fn the_judge_sees_that_somebody_else_lost_a_row() {
        let sql = "DROP TRIGGER tickets_gone; DELETE FROM tickets WHERE owner = 'ann-twin3';";
        let words = judgement_after(sql).await;
        assert!(words.contains("somebody else was touched"), "{words}");
    }
}
