//! A canary is a value that exists nowhere but in one person's records and requests: wherever it turns up, something leaked.

use crate::support::{
    ApiClient, Backend, Kind, Person, Roles, Snapshot, Systems, TestApp, body, hex, id_of, off_thread, status_of,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_testkit::Receiver;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// In every value that must not leak. Long enough to be no accident, and without letters that other spellings change.
const CANARY: &str = "qxv7kzw";
const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn nothing_about_a_person_is_in_logs_metrics_events_or_rows_on_sqlite() {
    let receiver = Receiver::start().await;
    let app = builder(Backend::Sqlite, Roles::All).start().await;
    let api = batch(&app, &receiver).await;
    look_at_what_is_told(&app, &api, &receiver).await;
    for name in ["redress.db", "redress.db-wal", "redress.db-shm"] {
        look("the database", &std::fs::read(app.folder().join("data").join(name)).unwrap_or_default());
    }
    assert!(app.folder().join("data/redress.db").exists());
}

#[tokio::test]
async fn nothing_about_a_person_is_in_logs_metrics_events_rows_or_redis_in_a_fleet() {
    let receiver = Receiver::start().await;
    let app = builder(Backend::PostgresRedis, Roles::Fleet(2)).start().await;
    let monitor = Monitor::start(app.redis().port());
    let api = batch(&app, &receiver).await;
    look_at_what_is_told(&app, &api, &receiver).await;
    let commands = monitor.seen();
    assert!(commands.windows(7).any(|w| w == b"PUBLISH" || w == b"publish"), "nothing was seen of Redis");
    look("Redis", &commands);
    assert_eq!(app.redis().command(&["KEYS", "*"]).await, "", "a key in Redis");
    look("the database", &dump(app.postgres().port()).await);
}

fn builder(backend: Backend, roles: Roles) -> crate::support::Builder {
    let builder = TestApp::builder().backend(backend).roles(roles).quick_leases();
    builder.env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1").env("REDRESS_LOG", "trace")
}

fn person(nth: usize) -> Person {
    let mut person = Person::new(&format!("ann{nth}.{CANARY}"));
    person.name = format!("Ann {CANARY} {nth}");
    // Found by nothing but itself.
    person.key = format!("{CANARY}-{nth}");
    person
}

/// Requests of all types, with everything that can go wrong on the way.
async fn batch(app: &TestApp, receiver: &Receiver) -> ApiClient {
    let systems = Systems::of(&[Kind::Postgres, Kind::Mysql, Kind::Sqlite, Kind::Maildir]).await;
    let people: Vec<Person> = (0..6).map(person).collect();
    systems.fill(&people).await;
    // A database that refuses a change quotes the row in its message.
    for kind in Kind::SQL {
        systems.sql(kind, "CREATE UNIQUE INDEX one_phone ON customers (phone)").await;
    }
    let before = systems.snapshot().await;
    let toml = systems.toml("acme");
    let api = app.controller(&toml).await;
    let told = |mut body: Value| {
        body["reference"] = json!(format!("REF-{CANARY}"));
        body["callback_url"] = json!(receiver.url_of(&format!("/{CANARY}?who={CANARY}")));
        body["subject"]["identifiers"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"type": "customer_id", "value": format!("C-{CANARY}-0")}));
        body
    };

    let access = api.fulfilled(&told(people[0].access())).await;
    let steps = access["steps"].as_array().expect("a list");
    assert!(steps.len() == 4 && steps.iter().all(|step| step["found"].as_i64() > Some(1)), "the canaries are in place");
    assert!(contains(&api.package(id_of(&access)).await, b"manifest.json"));
    let shown = api.get(id_of(&access)).await;
    assert_eq!(shown["reference"], format!("REF-{CANARY}"), "the controller gets its own reference back");
    api.fulfilled(&people[1].correction("full_name", &format!("New {CANARY}"))).await;
    api.fulfilled(&people[2].deletion()).await;
    assert_eq!(systems.census(&people[2].email).await, 0);
    // Everybody is asked for at once: identifiers that contradict each other stop for a person.
    let both = api.submitted(&told(people[1].deletion())).await;
    api.until(&both, |status| status == "needs_attention", LIMIT).await;
    // The new number is somebody else's.
    let clash = api.submitted(&people[3].correction("phone", &stored_phone(&before, &people[4]))).await;
    let view = api.until(&clash, |status| status == "needs_attention", LIMIT).await;
    look_only_at_errors(&view, "value_refused");
    // A row that cannot go, with a message that quotes it.
    systems
        .sql(
            Kind::Postgres,
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not %', OLD.email; END $$;
             CREATE TRIGGER no BEFORE DELETE ON customers FOR EACH ROW EXECUTE FUNCTION no();",
        )
        .await;
    let stuck = api.submitted(&people[5].deletion()).await;
    let view = api.until(&stuck, |status| status == "needs_attention", LIMIT).await;
    look_only_at_errors(&view, "database_refused");
    // Of many requests that meet a refused credential one asks for a person: let it be the one that is looked at.
    for id in [&both, &clash, &stuck] {
        api.act(id, "withdraw").await.expect(200);
    }
    // Passwords are nobody's business either.
    let file = app.file("acme.toml", toml);
    let ran = app.cli_with(&[("DSR_PASSWORD", &format!("secret-{CANARY}"))], &["apply", &file]).await;
    look("apply", format!("{ran:?}").as_bytes());
    let ran = app.cli(&["connector", "check", "postgres"]).await;
    look("connector check", ran.refused(1).as_bytes());
    let refused = api.submitted(&people[4].access()).await;
    let view = api.until(&refused, |status| status == "needs_attention", LIMIT).await;
    look_only_at_errors(&view, "credentials_refused");
    look("the systems", &api.read("/v1/systems").await.body);

    for bad in [
        body("deletion", &format!("{CANARY}@@shop.example")),
        body("deletion", &format!("{CANARY}\r\n@shop.example")),
        body(CANARY, "ann@shop.example"),
        json!({CANARY: CANARY}),
        json!({"type": "deletion", "regulation": CANARY, "jurisdiction": CANARY, "systems": [CANARY], "callback_url": CANARY}),
        people[0].correction(CANARY, CANARY),
    ] {
        let answer = api.post("/v1/requests", &bad).await;
        let mut problem = answer.problem(422);
        // The name of a member is where the fault is; the values are the person.
        for fault in problem["errors"].as_array_mut().expect("a list") {
            fault["pointer"].take();
        }
        look("a problem", problem.to_string().as_bytes());
    }
    let headers = [("content-type", "application/json"), ("idempotency-key", CANARY), ("x-request-id", CANARY)];
    for _ in 0..2 {
        api.send("POST", "/v1/requests", &headers, people[0].access().to_string()).await.expect(202);
    }
    look("a problem", &api.send("POST", "/v1/requests", &headers, people[3].deletion().to_string()).await.body);
    for path in [format!("/v1/requests/{CANARY}"), format!("/{CANARY}"), format!("/v1/requests?status={CANARY}")] {
        look("a problem", &api.read(&path).await.body);
    }
    api
}

fn stored_phone(before: &Snapshot, person: &Person) -> String {
    let row = before.of(person).iter().find(|row| row.contains(" customers ")).expect("a customer");
    row.rsplit('|').next().expect("the phone is the last").to_owned()
}

/// A view goes to its controller and holds the reference; what went wrong must not quote anything.
fn look_only_at_errors(view: &Value, code: &str) {
    let errors: Vec<&Value> = view["steps"].as_array().expect("a list").iter().map(|step| &step["error"]).collect();
    assert!(errors.iter().any(|error| error["code"] == code), "{code}: {view:#}");
    look("an error", json!([errors, view["attention"], view["steps"]]).to_string().as_bytes());
}

/// What processes write and show that is for operators or outlives the request.
async fn look_at_what_is_told(app: &TestApp, api: &ApiClient, receiver: &Receiver) {
    let all = api.read("/v1/requests?limit=200").await.expect(200);
    let all = all["requests"].as_array().expect("a list");
    assert!(all.len() >= 8);
    for view in all {
        let id = id_of(view);
        look("an event", json!(api.events(id).await).to_string().as_bytes());
        if status_of(view) == "completed" {
            look("a certificate", &api.certificate(id).await);
        }
        let page = api.read(&format!("/requests/{id}")).await;
        assert_eq!(page.status, 200);
        look("the board", &page.body);
    }
    look("the board", &api.read("/").await.body);
    look("the audit log", &api.audit().await);
    for nth in 0..app.processes() {
        let metrics = ApiClient::new(app.base_of(nth), api.key.clone()).read("/metrics").await;
        assert!(metrics.text().contains("redress_requests"), "{}", metrics.text());
        look("metrics", &metrics.body);
    }
    for told in receiver.wait_for(4).await {
        let mut body: Value = serde_json::from_slice(&told.body).expect("JSON");
        // The reference is the controller's own and was sent to be given back.
        body["data"]["reference"].take();
        look("a webhook", body.to_string().as_bytes());
    }
    let ran = app.cli(&["doctor"]).await;
    look("doctor", format!("{ran:?}").as_bytes());
    let logs = app.logs();
    assert!(
        logs.contains("\"level\":\"DEBUG\"") || logs.contains("\"level\":\"TRACE\""),
        "the loudest log was asked for"
    );
    look("a log", logs.as_bytes());
    look("a log", api.key.as_bytes());
    assert!(!logs.contains(&api.key), "a log holds an API key");
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// Panics if the canary is in there, in clear, in hexadecimal or in base64.
#[track_caller]
fn look(place: &str, text: &[u8]) {
    let lower = text.to_ascii_lowercase();
    let found = |what: &[u8], text: &[u8]| {
        let Some(at) = text.windows(what.len()).position(|window| window == what) else { return };
        let around = &text[at.saturating_sub(300)..(at + 100).min(text.len())];
        panic!("a canary is in {place}: {}", String::from_utf8_lossy(around));
    };
    found(CANARY.as_bytes(), &lower);
    found(hex(CANARY.as_bytes()).as_bytes(), &lower);
    // At each of the three places where it may stand in a group of three bytes; the ends hold bits of what is beside it.
    for before in 0..3 {
        let encoded = STANDARD.encode([vec![0; before], CANARY.as_bytes().to_vec()].concat());
        let whole = &encoded[(before * 4).div_ceil(3)..(before + CANARY.len()) * 4 / 3];
        found(whole.as_bytes(), text);
    }
}

async fn dump(port: u16) -> Vec<u8> {
    let program = redress_testkit::which("pg_dump").expect("it comes with PostgreSQL");
    off_thread(move || {
        let output = Command::new(program)
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "dsr", "-w", "redress"])
            .env("PGPASSWORD", "pw")
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(contains(&output.stdout, b"COPY public.dsrs"), "the dump holds the requests");
        output.stdout
    })
    .await
}

/// Everything that Redis is told, while this lives.
struct Monitor {
    stream: TcpStream,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Monitor {
    fn start(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("Redis is there");
        (&stream).write_all(b"MONITOR\r\n").expect("Redis is there");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reading, into) = (stream.try_clone().expect("a socket can be shared"), seen.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reading.read(&mut buffer) {
                into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..n]);
            }
        });
        Self { stream, seen }
    }

    fn seen(&self) -> Vec<u8> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn a_canary_is_seen_in_every_form() {
    let texts = [
        format!("x{CANARY}y").into_bytes(),
        CANARY.to_uppercase().into_bytes(),
        b"ff71787637 \\x717876376b7a77".to_vec(),
        STANDARD.encode(format!("{CANARY}@shop")).into_bytes(),
        STANDARD.encode(format!("a{CANARY}@shop")).into_bytes(),
        STANDARD.encode(format!("ab{CANARY}@shop")).into_bytes(),
    ];
    for text in texts {
        let seen = std::panic::catch_unwind(|| look("a test", &text));
        assert!(seen.is_err(), "{} went unseen", String::from_utf8_lossy(&text));
    }
    look("a test", b"nothing");
}
