//! Bad input is whatever a caller or a system may do wrong: each gets a clear answer, and nobody else is touched.

use crate::support::{ApiClient, Kind, Person, Systems, TestApp, body, controller_toml, id_of, poll, status_of};
use serde_json::{Value, json};
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(1);
const JSON: (&str, &str) = ("content-type", "application/json");

/// A submission in which everything is right but the address.
fn deletion_of(email: &str) -> Value {
    body("deletion", email)
}

#[tokio::test]
async fn what_is_no_submission_is_refused_with_the_place_of_every_fault_and_nothing_is_stored() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite, Kind::Maildir]));
    let ann = Person::new("ann");
    systems.fill(&[ann.twins(), vec![ann.clone()]].concat()).await;
    let before = systems.snapshot().await;
    let api = app.controller(&systems.toml("acme")).await;

    // What has a place in the document.
    let value = "/subject/identifiers/0/value";
    let faulty: Vec<(Value, Vec<&str>)> = vec![
        (
            json!({"type": "deletion", "subjct": {}, "subject": {"identifiers": [{"type": "email", "value": "a@b.example"}]}}),
            vec!["/subjct"],
        ),
        (
            json!({"type": "deletion", "subject": {"identifiers": [{"type": "email", "value": "a@b.example", "note": 1}]}}),
            vec!["/subject/identifiers/0/note"],
        ),
        (json!({"subject": {"identifiers": [{"type": "email", "value": "a@b.example"}]}}), vec!["/type"]),
        (json!({}), vec!["/type", "/subject/identifiers"]),
        (json!([1, 2]), vec![""]),
        (json!("deletion"), vec![""]),
        (json!({"type": 7, "subject": []}), vec!["/type", "/subject"]),
        (
            json!({"type": "oblivion", "subject": {"identifiers": [{"type": "shoe_size", "value": "44"}]}}),
            vec!["/type", "/subject/identifiers/0/type"],
        ),
        (deletion_of(""), vec![value]),
        (deletion_of("@"), vec![value]),
        (deletion_of("%"), vec![value]),
        (deletion_of("' OR 1=1 --"), vec![value]),
        (deletion_of("canary@shop.example\r\nBcc: other@shop.example"), vec![value]),
        (deletion_of("can\nary@shop.example"), vec![value]),
        (deletion_of("canary@shop.example\0"), vec![value]),
        (deletion_of("{5}\r\nx1 STORE 1:* +FLAGS.SILENT (\\Deleted)"), vec![value]),
        (deletion_of("canary@shop.example {12}"), vec![value]),
        (deletion_of("canary@shop.example\" OR ALL ALL \""), vec![value]),
        (deletion_of("ann@shop.example,canary@shop.example"), vec![value]),
        (deletion_of("ann@shop.example canary@shop.example"), vec![value]),
        (deletion_of("ann@shop.example; canary@shop.example"), vec![value]),
        (deletion_of("Canary <ann@shop.example>"), vec![value]),
        (deletion_of("ann@[127.0.0.1]"), vec![value]),
        (deletion_of("\u{202e}ann@shop.example"), vec![value]),
        (deletion_of("ann\u{200b}@shop.example"), vec![value]),
        (deletion_of("*"), vec![value]),
        (deletion_of(&format!("{}@shop.example", "a".repeat(65))), vec![value]),
        (
            json!({"type": "deletion", "subject": {"identifiers": [{"type": "phone", "value": "1' OR '1'='1"}, {"type": "customer_id", "value": "C-\u{0}1"}]}}),
            vec![value, "/subject/identifiers/1/value"],
        ),
        (
            json!({"type": "correction", "subject": {"identifiers": [{"type": "email", "value": "ann@shop.example"}]}}),
            vec!["/corrections"],
        ),
        (ann.correction("shoe_size", "44"), vec!["/corrections/0/field"]),
        (ann.correction("email\"; DROP TABLE customers; --", "44"), vec!["/corrections/0/field"]),
        (with(ann.deletion(), "systems", &json!(["sqlite", "nowhere"])), vec!["/systems/1"]),
        (with(ann.deletion(), "systems", &json!([])), vec!["/systems"]),
        (with(ann.deletion(), "regulation", &json!("LEX-CANARY")), vec!["/regulation"]),
        (with(ann.deletion(), "jurisdiction", &json!("Atlantis")), vec!["/jurisdiction"]),
        (with(ann.deletion(), "data_subject_received_at", &json!("yesterday")), vec!["/data_subject_received_at"]),
        (
            with(ann.deletion(), "data_subject_received_at", &json!("2999-01-01T00:00:00Z")),
            vec!["/data_subject_received_at"],
        ),
        (with(ann.deletion(), "reference", &json!("a\r\nb")), vec!["/reference"]),
        (with(ann.deletion(), "callback_url", &json!("not a url")), vec!["/callback_url"]),
    ];
    for (body, pointers) in faulty {
        let answer = api.post("/v1/requests", &body).await;
        assert_eq!(answer.faults(422), pointers, "{body}: {}", answer.text());
        assert!(
            !answer.text().to_lowercase().contains("canary"),
            "a problem repeats what it was sent: {}",
            answer.text()
        );
    }

    // A callback may not lead into a network of ours, however its address is written.
    for url in [
        "https://127.0.0.1/hook",
        "https://127.0.0.1:8443/hook",
        "http://127.1/hook",
        "https://2130706433/hook",
        "https://0x7f.0.0.1/hook",
        "https://0177.0.0.1/hook",
        "https://localhost/hook",
        "https://LOCALHOST./hook",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://10.1.2.3/hook",
        "https://192.168.0.1/hook",
        "https://172.16.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/hook",
        "https://0.0.0.0/hook",
        "https://db.internal/hook",
        "https://user:secret@hooks.example.com/hook",
        "http://hooks.example.com/hook",
        "ftp://hooks.example.com/hook",
        "file:///etc/passwd",
    ] {
        let answer = api.post("/v1/requests", &with(ann.deletion(), "callback_url", &json!(url))).await;
        assert_eq!(answer.faults(422), ["/callback_url"], "{url}");
    }

    // What has none.
    let long = json!({"type": "deletion", "reference": "x".repeat(65 * 1024)}).to_string();
    let good = ann.deletion().to_string();
    let deep = "[".repeat(100_000);
    let twice = r#"{"type":"access","type":"deletion","subject":{"identifiers":[{"type":"email","value":"ann@shop.example"}]}}"#;
    for (status, headers, body) in [
        (400, vec![JSON], "{\"type\": \"deletion\",".as_bytes()),
        (400, vec![JSON], b"".as_slice()),
        (400, vec![JSON], b"\xff\xfe{}".as_slice()),
        (400, vec![JSON], &deep.as_bytes()[..60_000]),
        (413, vec![JSON], long.as_bytes()),
        (413, vec![JSON], deep.as_bytes()),
        (415, vec![("content-type", "text/plain")], good.as_bytes()),
        (415, vec![], good.as_bytes()),
        (415, vec![JSON, ("content-encoding", "gzip")], good.as_bytes()),
        (400, vec![JSON, ("idempotency-key", "")], good.as_bytes()),
        (400, vec![JSON, ("idempotency-key", "two words")], good.as_bytes()),
        (401, vec![JSON, ("authorization", "Bearer rk_canary")], good.as_bytes()),
        (401, vec![JSON, ("authorization", "Basic Y2FuYXJ5OmNhbmFyeQ==")], good.as_bytes()),
    ] {
        let answer = api.send("POST", "/v1/requests", &headers, body).await;
        answer.problem(status);
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    let answer = api.send("POST", "/v1/requests", &[JSON], twice).await;
    assert!(matches!(answer.status, 400 | 422), "a member twice: {} {}", answer.status, answer.text());
    api.send("DELETE", "/v1/requests", &[], "").await.problem(405);
    api.read("/v1/nothing").await.problem(404);
    for query in ["status=lost", "limit=0", "limit=1000000", "cursor=x", "due_before=soon", "color=red"] {
        let answer = api.read(&format!("/v1/requests?{query}")).await;
        assert!(
            answer.problem(422)["errors"].as_array().is_some_and(|errors| errors.len() == 1),
            "{query}: {}",
            answer.text()
        );
    }
    for id in ["dsr_", "dsr_01m8066kqtvsv10t3bvfek0ftp", "1", "%00", "..%2f..%2fmaster.key", "' OR 1=1 --"] {
        let path = format!("/v1/requests/{}", id.replace(' ', "%20"));
        api.read(&path).await.problem(404);
    }
    let auditor = app.key("acme", "auditor").await;
    auditor.post("/v1/requests", &ann.deletion()).await.problem(403);
    let user = app.key("acme", "controller_user").await;
    user.send("PUT", "/v1/systems/sqlite", &[JSON], "{}").await.problem(403);

    // Systems that come through the API name neither files nor private networks, whatever they are called.
    let postgres = |host: &str| {
        let settings = json!({"host": host, "database": "shop", "username": "dsr"});
        let table = json!({"name": "customers", "key": "id", "identify": {"email": "email"}, "on_delete": "delete"});
        let secrets = json!({"password": {"value": "canary"}});
        json!({"connector": "postgres", "settings": settings, "secrets": secrets, "tables": [table]})
    };
    for (system, pointers) in [
        (json!({"connector": "sqlite", "settings": {"path": "/etc/passwd"}}), vec!["/connector", "/settings/path"]),
        (postgres("127.0.0.1"), vec!["/settings/host"]),
        (postgres("169.254.169.254"), vec!["/settings/host"]),
        (with(postgres("db.example.com"), "secrets", &json!({"password": {"env": "HOME"}})), vec!["/secrets/password"]),
        (json!({"connector": "oracle"}), vec!["/connector"]),
    ] {
        let answer = api.send("PUT", "/v1/systems/new", &[JSON], system.to_string()).await;
        let faults = answer.faults(422);
        assert!(pointers.iter().all(|pointer| faults.iter().any(|fault| fault == pointer)), "{}", answer.text());
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    api.read("/v1/systems/new").await.problem(404);
    api.send("PUT", "/v1/systems/no%20name", &[JSON], "{}").await.problem(404);

    let all = api.read("/v1/requests").await.expect(200);
    assert_eq!(all["requests"], json!([]), "nothing of this was accepted");
    assert_eq!(systems.snapshot().await, before);
}

fn with(mut body: Value, name: &str, value: &Value) -> Value {
    body[name] = value.clone();
    body
}

#[tokio::test]
async fn an_address_that_looks_like_code_finds_only_itself_in_every_system() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::all());
    let ann = Person::new("ann");
    let strange: Vec<Person> = [
        "{3}",
        "{3+}",
        "*",
        "o'brien",
        "a&b",
        "`id`",
        "$1",
        "?",
        "a=b",
        "#x",
        "!a",
        "%n",
        "1=1--",
        "null",
        "'or'1'='1",
    ]
    .iter()
    .enumerate()
    .map(|(i, local)| Person::with_email(&format!("strange{i}"), format!("{local}@shop.example")))
    .collect();
    systems.fill(&[ann.twins(), vec![ann], strange.clone()].concat()).await;
    let before = systems.snapshot().await;
    let api = app.controller(&systems.toml("acme")).await;
    let mut ids = Vec::new();
    for person in &strange {
        ids.push(api.submitted(&person.deletion()).await);
    }
    for (id, person) in ids.iter().zip(&strange) {
        let view = api.settled(id).await;
        assert_eq!(status_of(&view), "completed", "{}: {view:#}", person.email);
        for step in view["steps"].as_array().expect("a list") {
            let sql = Kind::SQL.iter().any(|kind| step["system"] == kind.name());
            assert_eq!(step["found"], if sql { 6 } else { 2 }, "{}: {view:#}", person.email);
        }
        assert_eq!(systems.census(&person.email).await, 0, "{}", person.email);
    }
    let deleted: Vec<&Person> = strange.iter().collect();
    assert_eq!(systems.snapshot().await.without(&deleted), before.without(&deleted));
}

#[tokio::test]
async fn another_controllers_request_is_not_there_and_one_key_makes_one_request() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite]));
    let (ann, bob) = (Person::new("ann"), Person::new("bob"));
    systems.fill(&[ann.clone(), bob.clone()]).await;
    let acme = app.controller(&systems.toml_with("acme", "require_approval = [\"deletion\"]")).await;
    let rival = app.controller(&systems.toml("rival")).await;

    let id = acme.submitted(&ann.deletion()).await;
    let access = id_of(&acme.fulfilled(&bob.access()).await).to_owned();
    let nobodys = "dsr_01m8066kqtvsv10t3bvfek0ftp";
    for what in ["", "/events", "/package", "/certificate"] {
        let known = acme.read(&format!("/v1/requests/{access}{what}")).await;
        assert_eq!(known.status, 200, "{what}");
        let foreign = rival.read(&format!("/v1/requests/{access}{what}")).await;
        let unknown = rival.read(&format!("/v1/requests/{nobodys}{what}")).await;
        assert_eq!(foreign.problem(404), unknown.problem(404), "one can tell them apart");
    }
    for verb in ["approve", "withdraw", "retry"] {
        rival.act(&id, verb).await.problem(404);
    }
    assert_eq!(rival.read("/v1/requests").await.expect(200)["requests"], json!([]));
    assert_eq!(status_of(&acme.settled(&id).await), "awaiting_approval", "nobody else could decide about it");
    assert_eq!(systems.census(&ann.email).await, 6);

    // Idempotency: per controller, per key.
    let submit = async |api: &ApiClient, key: &str, body: &Value| {
        api.send("POST", "/v1/requests", &[JSON, ("idempotency-key", key)], body.to_string()).await
    };
    let first = submit(&acme, "\"ticket-1\"", &bob.access()).await;
    let id = id_of(&first.expect(202)).to_owned();
    let replay = submit(&acme, "\"ticket-1\"", &bob.access()).await;
    assert_eq!((replay.expect(202), replay.header("idempotency-replayed")), (first.json(), Some("true")));
    // The same JSON in another spelling is the same body.
    let spelled = format!(" {} ", bob.access()).replace(':', " : ");
    let respelled = acme.send("POST", "/v1/requests", &[JSON, ("idempotency-key", "\"ticket-1\"")], spelled).await;
    assert_eq!(id_of(&respelled.expect(202)), id);
    let reused = submit(&acme, "\"ticket-1\"", &bob.deletion()).await;
    assert!(reused.problem(422)["detail"].as_str().is_some_and(|words| words.contains("Idempotency-Key")));
    let foreign = submit(&rival, "\"ticket-1\"", &bob.access()).await;
    assert_ne!(id_of(&foreign.expect(202)), id);
    let body = bob.access();
    let racing = futures::future::join_all((0..8).map(|_| submit(&acme, "\"race\"", &body))).await;
    let raced: std::collections::BTreeSet<String> =
        racing.iter().map(|answer| id_of(&answer.expect(202)).to_owned()).collect();
    assert_eq!(raced.len(), 1, "eight calls with one key made {} requests", raced.len());
    assert_eq!(systems.census(&bob.email).await, 6, "the refused deletion was not carried out");
}

#[tokio::test]
async fn a_system_in_trouble_shows_what_to_do_and_the_request_ends_when_that_is_done() {
    let (app, systems) = tokio::join!(TestApp::builder().quick_leases().start(), Systems::of(&Kind::SQL));
    let [down, refused, missing, twin] = ["ann", "bob", "zoe", "joann"].map(Person::new);
    systems.fill(&[down.clone(), refused.clone(), missing.clone(), twin.clone()]).await;
    let before = systems.snapshot().await;
    let toml = systems.toml("acme");
    let api = app.controller(&toml).await;
    let needs_attention = async |id: &str, system: Kind, words: &[&str]| {
        // Another system may need attention first.
        let named = |view: &Value| view["attention"].as_str().is_some_and(|words| words.contains(system.name()));
        let view = api.until_view(id, named, LIMIT).await;
        assert!(view["closed_at"].is_null());
        assert_eq!(status_of(&view), "needs_attention");
        let step =
            view["steps"].as_array().and_then(|s| s.iter().find(|s| s["system"] == system.name())).expect("a step");
        let detail = step["error"]["detail"].as_str().unwrap_or_default();
        for word in words {
            assert!(detail.contains(word), "{word:?} is not in {detail:?}");
        }
        assert!(!view.to_string().contains("shop.example"), "the view names the person: {view:#}");
    };

    // A system that is down is tried again by itself, and meanwhile the others do their part.
    systems.postgres().stop().await;
    let id = api.submitted(&down.deletion()).await;
    needs_attention(&id, Kind::Postgres, &["check that it runs"]).await;
    let settled = |view: &Value, name: &str| {
        view["steps"].as_array().is_some_and(|all| all.iter().any(|s| s["system"] == name && s["status"] == "verified"))
    };
    let others = |view: &Value| settled(view, Kind::Mysql.name()) && settled(view, Kind::Sqlite.name());
    api.until_view(&id, others, LIMIT).await;
    assert_eq!(systems.count(Kind::Mysql, &down.email).await + systems.count(Kind::Sqlite, &down.email).await, 0);
    systems.postgres().start_again().await;
    assert_eq!(status_of(&api.closed(&id).await), "completed");
    assert_eq!(systems.census(&down.email).await, 0);

    // A refused password waits until the system is applied anew.
    let file = app.file("acme.toml", &toml);
    app.cli_with(&[("DSR_PASSWORD", "wrong")], &["apply", &file]).await.ok();
    let id = api.submitted(&refused.deletion()).await;
    needs_attention(&id, Kind::Mysql, &["password"]).await;
    assert_eq!(systems.count(Kind::Mysql, &refused.email).await, 6, "nothing was deleted where nobody got in");
    app.cli(&["apply", &file]).await.ok();
    assert_eq!(status_of(&api.closed(&id).await), "completed");
    assert_eq!(systems.census(&refused.email).await, 0);

    // A missing table waits until the request is retried.
    systems.sql(Kind::Sqlite, "ALTER TABLE tickets RENAME TO tickets_gone").await;
    let id = api.submitted(&missing.deletion()).await;
    needs_attention(&id, Kind::Sqlite, &["tickets"]).await;
    systems.sql(Kind::Sqlite, "ALTER TABLE tickets_gone RENAME TO tickets").await;
    assert_eq!(systems.count(Kind::Sqlite, &missing.email).await, 6, "half of it was deleted");
    assert_eq!(api.act(&id, "retry").await.expect(200)["id"], id);
    assert_eq!(status_of(&api.closed(&id).await), "completed");
    assert_eq!(systems.census(&missing.email).await, 0);

    // What has ended is not decided about any more.
    for verb in ["retry", "approve", "withdraw"] {
        assert_eq!(api.act(&id, verb).await.problem(409)["current_status"], "completed");
    }
    let gone = [&down, &refused, &missing];
    assert_eq!(systems.snapshot().await.without(&gone), before.without(&gone));
}

#[tokio::test]
async fn a_request_that_reaches_no_system_asks_a_person_and_never_completes() {
    let app = TestApp::builder().quick_leases().start().await;
    let api = app.controller(&controller_toml("acme", "")).await;
    let answer = api.post("/v1/requests", &Person::new("ann").deletion()).await;
    let view = answer.expect(202);
    let shown = api.until(id_of(&view), |status| status == "needs_attention", LIMIT).await;
    assert!(shown["attention"].as_str().is_some_and(|words| words.len() > 20), "{shown:#}");
    assert!(shown["closed_at"].is_null());
}

/// What makes each database say that it deleted what it kept, and how to make it honest again.
fn lies(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Postgres => (
            "CREATE FUNCTION back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF current_query() NOT LIKE 'INSERT%' THEN INSERT INTO tickets VALUES (OLD.id, OLD.email, OLD.subject, OLD.owner); END IF; RETURN NULL; END $$;
             CREATE TRIGGER lie AFTER DELETE ON tickets FOR EACH ROW EXECUTE FUNCTION back();",
            "DROP TRIGGER lie ON tickets",
        ),
        // A trigger may not write to its own table here, so each of two gives the other one's row back.
        Kind::Mysql => (
            "CREATE TRIGGER lie AFTER DELETE ON tickets FOR EACH ROW INSERT INTO customers (id, email, owner) VALUES (concat('back-', OLD.id), OLD.email, OLD.owner);
             CREATE TRIGGER lie2 AFTER DELETE ON customers FOR EACH ROW INSERT INTO tickets (id, email, owner) VALUES (floor(rand() * 1000000000) + 1000, OLD.email, OLD.owner);",
            "DROP TRIGGER lie; DROP TRIGGER lie2;",
        ),
        Kind::Sqlite => (
            "CREATE TRIGGER lie AFTER DELETE ON tickets BEGIN INSERT INTO tickets VALUES (OLD.id, OLD.email, OLD.subject, OLD.owner); END",
            "DROP TRIGGER lie",
        ),
        Kind::Imap | Kind::Maildir => unreachable!("these have no triggers"),
    }
}

#[tokio::test]
async fn a_deletion_whose_system_lies_is_never_completed_until_the_system_tells_the_truth() {
    let (app, systems) = tokio::join!(TestApp::builder().quick_leases().start(), Systems::of(&Kind::SQL));
    let (ann, twin) = (Person::new("ann"), Person::new("joann"));
    systems.fill(&[ann.clone(), twin.clone()]).await;
    let before = systems.snapshot().await;
    let api = app.controller(&systems.toml("acme")).await;
    for kind in Kind::SQL {
        systems.sql(kind, lies(kind).0).await;
    }
    let id = api.submitted(&ann.deletion()).await;
    let attention = |view: &Value| {
        let steps = view["steps"].as_array().expect("a list");
        steps.len() == 3 && steps.iter().all(|step| step["status"] == "needs_attention")
    };
    let view = api.until_view(&id, attention, LIMIT).await;
    assert_eq!((status_of(&view), &view["closed_at"]), ("needs_attention", &Value::Null), "{view:#}");
    assert!(systems.census(&ann.email).await > 0, "the systems did lie");
    for step in view["steps"].as_array().expect("a list") {
        assert!(step["error"]["detail"].as_str().is_some_and(|words| words.len() > 20), "{step:#}");
        assert!(step["verified_at"].is_null(), "{step:#}");
    }
    api.read(&format!("/v1/requests/{id}/certificate")).await.problem(404);
    // Asking again does not help as long as they lie.
    api.act(&id, "retry").await.expect(200);
    poll("all three are asked about again", LIMIT, || async {
        let again = api.get(&id).await;
        assert!(again["closed_at"].is_null(), "{again:#}");
        let tried =
            |view: &Value| view["steps"].as_array().map(|s| s.iter().filter_map(|s| s["attempts"].as_i64()).min());
        (attention(&again) && tried(&again) > tried(&view)).then_some(())
    })
    .await;

    for kind in Kind::SQL {
        systems.sql(kind, lies(kind).1).await;
    }
    api.act(&id, "retry").await.expect(200);
    let view = api.closed(&id).await;
    assert_eq!(status_of(&view), "completed", "{view:#}");
    assert_eq!(systems.census(&ann.email).await, 0);
    assert_eq!(systems.snapshot().await.of(&twin), before.of(&twin));
}
