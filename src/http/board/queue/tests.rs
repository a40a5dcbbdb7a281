//! The work queue in a browser: what it shows to whom, and that each of its forms does what it says.

use crate::http::Api;
use crate::http::tests::{ALL, Answer, Edge, edge, edge_with, request};
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use redress_connectors::{Awaited, Task};
use redress_domain::{DsrId, IdentifierType, Role, Roles, Verb};
use redress_store::{ControllerPolicy, Finish, Identified, NewController, StepResult, SystemUpsert};
use serde_json::{Value, json};
use std::time::Duration;

const HERE: &str = "https://dsr.example";

/// How a browser shows who it is.
#[derive(Clone)]
enum Browser {
    Key(String),
    Cookie(String),
}

impl Browser {
    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let request = Request::builder().method(method).uri(path).header("host", "dsr.example");
        match self {
            Browser::Key(key) => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{key}"));
                request.header("authorization", format!("Basic {pair}"))
            }
            Browser::Cookie(text) => request.header("cookie", format!("redress_session={text}")),
        }
    }

    async fn page(&self, edge: &Edge, path: &str) -> Answer {
        edge.send(self.request("GET", path).body(Body::empty()).unwrap()).await
    }

    /// What every page carries for its forms.
    async fn token(&self, edge: &Edge) -> String {
        let page = self.page(edge, "/queue").await.text();
        page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    /// Sends a form with these fields.
    async fn send(&self, edge: &Edge, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token(edge).await;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &token).extend_pairs(fields);
        let request = self
            .request("POST", path)
            .header("origin", HERE)
            .header("accept", "text/html")
            .header("content-type", "application/x-www-form-urlencoded");
        edge.send(request.body(Body::from(form.finish())).unwrap()).await
    }

    /// Sends a form with fields and files: name of the field, name of the file, content.
    async fn upload(&self, edge: &Edge, path: &str, fields: &[(&str, &str)], files: &[(&str, &str, &[u8])]) -> Answer {
        let token = self.token(edge).await;
        let mut body: Vec<u8> = Vec::new();
        for (name, value) in fields.iter().chain([&("csrf", token.as_str())]) {
            body.extend(format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
        }
        for (name, file, content) in files {
            body.extend(
                format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\r\n").bytes(),
            );
            body.extend(*content);
            body.extend(b"\r\n");
        }
        body.extend(b"--b--\r\n");
        let request = self
            .request("POST", path)
            .header("origin", HERE)
            .header("accept", "text/html")
            .header("content-type", "multipart/form-data; boundary=b");
        edge.send(request.body(Body::from(body)).unwrap()).await
    }
}

fn with(key: &str) -> Browser {
    Browser::Key(key.to_owned())
}

/// Somebody who signed in.
async fn person(edge: &Edge, name: &str, role: Role) -> Browser {
    let who = Identified {
        issuer: "test".into(),
        subject: name.to_owned().into(),
        name: name.to_owned().into(),
        email: None,
        roles: Roles::from(role),
        controllers: None,
    };
    Browser::Cookie(edge.store.sign_in(&who, Duration::from_hours(8)).await.unwrap().2)
}

async fn submit(edge: &Edge, key: &str, kind: &str) -> String {
    let answer = edge.call(key, "POST", "/v1/requests", Some(&request(kind))).await;
    answer.json()["id"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

/// Begins the work and lets every step end like this.
async fn work(edge: &Edge, result: impl Fn() -> StepResult) {
    edge.store.advance_due(10).await.unwrap();
    loop {
        let leases = edge.store.claim("one", &["notify".into()], 100, 60_000).await.unwrap();
        if leases.is_empty() {
            return;
        }
        let finishes = leases.into_iter().map(|lease| Finish { lease, result: result() }).collect();
        edge.store.finish(finishes).await.unwrap();
    }
}

/// Connects a place that no program reaches.
async fn office(edge: &Edge) {
    let new = SystemUpsert {
        name: "office".into(),
        family: "paper".into(),
        connector: "manual".into(),
        definition: json!({ "settings": {}, "tables": [], "max_matches": 25, "rate_per_second": null }),
        secrets: None,
        allow: ALL.to_vec(),
        verbs: vec![Verb::Export, Verb::Erase],
        identifiers: vec![IdentifierType::Email],
        fields: vec![],
        batch: 50,
        completes_within_days: 0,
    };
    edge.store.upsert_system(&edge.acme.id, &new, "test").await.unwrap();
}

async fn policy(edge: &Edge, policy: ControllerPolicy) {
    let new = NewController {
        name: "acme".into(),
        country: Some("DE".into()),
        timezone: "Europe/Berlin".into(),
        region: None,
        contact: None,
        policy,
        terms: None,
        weight: 1,
    };
    edge.store.update_controller(&edge.acme.id, &new, "test").await.unwrap();
}

async fn kinds(edge: &Edge, id: &str) -> Vec<String> {
    let id = DsrId::parse(id).unwrap();
    let events = edge.store.events_of(&edge.acme.id, &id).await.unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn where_nothing_waits_the_queue_says_so_and_what_comes_next() {
    let edge = edge_with(|api| Api { board_open: true, ..api }).await;
    let page = edge.page("/queue", "localhost", None).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Nothing waits for a person") && page.text().contains("What it cannot do alone"));
    assert_eq!(edge.page("/queue?kind=nonsense", "localhost", None).await.status, 422);
}

#[tokio::test]
async fn one_cause_is_one_line_with_the_action_of_those_who_may() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    edge.connect(&edge.other, "theirs", ALL, &[]).await;
    let (one, two) = (submit(&edge, &edge.acme.user, "deletion").await, submit(&edge, &edge.acme.user, "access").await);
    let theirs = submit(&edge, &edge.other.user, "access").await;
    let detail = "set <script>alert(1)</script> \u{202e}the password";
    work(&edge, || StepResult::Attention { code: "credentials_refused".into(), detail: detail.into() }).await;
    let page = with(&edge.acme.admin).page(&edge, "/queue").await.text();
    assert!(page.contains(&one) && page.contains(&two) && !page.contains(&theirs) && !page.contains("theirs"));
    assert_eq!(page.matches("tr data-row").count(), 1, "{page}");
    assert!(page.contains("2 requests") && page.contains("/act/v1/systems/crm/check?controller=acme"), "{page}");
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;") && page.contains("/systems/acme/crm"));
    assert!(!page.contains("jane"), "nobody is named: {page}");
    let auditor = with(&edge.acme.auditor).page(&edge, "/queue").await.text();
    assert!(auditor.contains(&one) && !auditor.contains("/act/") && auditor.contains("an administrator"), "{auditor}");
    // The check answers, so everything that waited there is tried again.
    let checked = with(&edge.acme.admin)
        .send(&edge, "/act/v1/systems/crm/check?controller=acme", &[("_next", "/queue"), ("_done", "checked")])
        .await;
    assert_eq!(
        (checked.status.as_u16(), checked.header("location")),
        (303, "/queue?done=checked"),
        "{}",
        checked.text()
    );
    // One request alone is retried itself.
    let retried = with(&edge.acme.user)
        .send(&edge, &format!("/act/v1/requests/{one}/retry"), &[("_next", "/queue"), ("_done", "retried")])
        .await;
    assert!(retried.status == 303, "{}", retried.text());
    edge.store.advance_due(10).await.unwrap();
    assert_eq!(edge.get(&format!("/v1/requests/{one}")).await.json()["attention"], Value::Null);
}

#[tokio::test]
async fn four_eyes_are_those_of_a_person_who_did_not_submit() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let wanted = ControllerPolicy { require_approval: ALL.to_vec(), ..ControllerPolicy::default() };
    policy(&edge, wanted.clone()).await;
    // Without the policy one key does both, as it always did.
    let id = submit(&edge, &edge.acme.user, "deletion").await;
    edge.store.advance_due(10).await.unwrap();
    let approve = |id: &str| format!("/v1/requests/{id}/approve");
    assert_eq!(edge.call(&edge.acme.user, "POST", &approve(&id), None).await.status, 200);

    policy(&edge, ControllerPolicy { four_eyes: true, ..wanted }).await;
    let id = submit(&edge, &edge.acme.user, "deletion").await;
    edge.store.advance_due(10).await.unwrap();
    for key in [&edge.acme.user, &edge.acme.admin] {
        let answer = edge.call(key, "POST", &approve(&id), None).await;
        assert_eq!(answer.status, 403);
        assert!(answer.problem()["detail"].as_str().unwrap().contains("four eyes"));
        let by_form = with(key).send(&edge, &format!("/act{}", approve(&id)), &[]).await;
        assert_eq!(by_form.status, 403, "{}", by_form.text());
        let page = with(key).page(&edge, "/queue?kind=approvals").await.text();
        assert!(page.contains("Somebody else") && !page.contains(&format!("/act{}", approve(&id))), "{page}");
    }
    assert_eq!(edge.get(&format!("/v1/requests/{id}")).await.json()["status"], "awaiting_approval");

    let (ann, bob) = (person(&edge, "Ann", Role::PrivacyLead).await, person(&edge, "Bob", Role::PrivacyLead).await);
    let theirs = {
        let token = ann.token(&edge).await;
        let call = ann
            .request("POST", "/v1/requests?controller=acme")
            .header("origin", HERE)
            .header("x-csrf-token", token)
            .header("content-type", "application/json");
        let answer = edge.send(call.body(Body::from(request("deletion").to_string())).unwrap()).await;
        answer.json()["id"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
    };
    edge.store.advance_due(10).await.unwrap();
    let page = ann.page(&edge, "/queue").await.text();
    assert!(page.contains(&format!("/act{}", approve(&id))) && !page.contains(&format!("/act{}", approve(&theirs))));
    for (id, may) in [(&id, true), (&theirs, false)] {
        let page = ann.page(&edge, &format!("/requests/{id}")).await.text();
        assert_eq!(page.contains(&format!("/act{}", approve(id))), may, "{page}");
        assert_eq!(page.contains("does not approve it"), !may);
    }
    let own = ann.send(&edge, &format!("/act{}", approve(&theirs)), &[]).await;
    assert!(own.status == 403 && own.text().contains("does not approve it"), "{}", own.text());
    let next = [("_next", "/queue"), ("_done", "approved")];
    assert_eq!(ann.send(&edge, &format!("/act{}", approve(&id)), &next).await.status, 303);
    assert_eq!(bob.send(&edge, &format!("/act{}", approve(&theirs)), &next).await.status, 303);
    for id in [&id, &theirs] {
        assert!(kinds(&edge, id).await.contains(&"approved".to_owned()));
    }
    assert!(bob.page(&edge, "/queue?done=approved").await.text().contains("Approved. Work goes on."));
}

#[tokio::test]
async fn a_task_is_opened_on_purpose_and_its_report_is_taken_with_files_of_any_name() {
    let edge = edge().await;
    office(&edge).await;
    let id = submit(&edge, &edge.acme.user, "deletion").await;
    let due = edge.store.now_ms() + 864_000_000;
    let order = Task {
        title: "Delete the person's records in office".into(),
        instructions: vec!["Open <b>the cabinet</b>".into()],
        due_at_ms: due,
    };
    let receipt = Awaited::task(order).receipt().0;
    work(&edge, || StepResult::External { receipt: receipt.clone(), check_at: due, completes_by: None }).await;
    let browser = with(&edge.acme.user);
    let (path, report) = (format!("/queue/{id}/office"), format!("/queue/{id}/office/report"));
    let queue = browser.page(&edge, "/queue").await.text();
    assert!(queue.contains(&path) && !queue.contains("jane"), "{queue}");
    let closed = browser.page(&edge, &path).await.text();
    assert!(closed.contains("Open the task") && !closed.contains("jane"), "{closed}");
    assert!(!kinds(&edge, &id).await.contains(&"task_seen".to_owned()));
    let auditor = with(&edge.acme.auditor);
    assert_eq!(auditor.page(&edge, &path).await.status, 403);
    assert!(!auditor.page(&edge, "/queue").await.text().contains(&path));
    assert_eq!(with(&edge.other.user).page(&edge, &path).await.status, 404);
    // Another web site cannot open it.
    let foreign = browser.request("POST", &path).header("origin", "https://evil.example");
    assert_eq!(edge.send(foreign.body(Body::from("csrf=x")).unwrap()).await.status, 403);

    let open = browser.send(&edge, &path, &[]).await;
    assert_eq!((open.status.as_u16(), open.header("cache-control")), (200, "no-store"));
    assert!(
        open.text().contains("jane@example.com") && open.text().contains("Open &lt;b&gt;the cabinet"),
        "{}",
        open.text()
    );
    assert!(kinds(&edge, &id).await.contains(&"task_seen".to_owned()));

    // What does not add up is told at its field; what was filled in stays.
    let fields = [
        ("found:number", "3"),
        ("changed:number", "1"),
        ("retained.1.records:number", "1"),
        ("retained.1.collection", "\"><script>x</script>"),
        ("retained.1.reason", "legal_obligation"),
        ("retained.2.reason", ""),
    ];
    let wrong = browser.upload(&edge, &report, &fields, &[]).await;
    assert_eq!(wrong.status, 422);
    let page = wrong.text();
    assert!(
        page.contains("must be changed + retained") && page.contains("value=\"3\"") && page.contains("aria-invalid")
    );
    assert!(!page.contains("<script>x") && page.contains("selected"), "{page}");
    assert!(!kinds(&edge, &id).await.contains(&"task_reported".to_owned()));

    let evil = "..\\..\\etc\\p\u{202e}fdp.exe".to_owned() + &"ü".repeat(2_000);
    let large = vec![7_u8; 3 << 20];
    let files: [(&str, &str, &[u8]); 3] =
        [("files:file", &evil, b"shredded"), ("files:file", "big.pdf", &large), ("files:file", "", b"")];
    let mut good = fields;
    good[1].1 = "2";
    good[3].1 = "invoices";
    let taken = browser.upload(&edge, &report, &good, &files).await;
    assert_eq!((taken.status.as_u16(), taken.header("location")), (303, "/queue?done=completed"), "{}", taken.text());
    assert!(kinds(&edge, &id).await.contains(&"task_reported".to_owned()));
    // What was stored is a report that its connector can answer from.
    let task = edge.call(&edge.acme.user, "GET", &format!("/v1/requests/{id}/steps/office/task"), None).await;
    assert_eq!(task.status, 409, "it no longer waits");
    let lease = edge.store.claim("one", &["notify".into()], 1, 60_000).await.unwrap().remove(0);
    let stored = edge.store.open_work(vec![lease]).await.unwrap().remove(0).prior.unwrap();
    let told = Awaited::of(&redress_connectors::Receipt(stored)).unwrap().report(Verb::Erase).unwrap();
    assert_eq!((told.found, told.changed, told.retained[0].records), (3, 2, 1));
    let names: Vec<&str> = told.files.iter().map(|file| file.name.as_str()).collect();
    assert!(names[0].starts_with("p_fdp.exe") && names[0].len() <= 120 && names[1] == "big.pdf", "{names:?}");
    assert_eq!((told.files.len(), told.files[1].content.len()), (2, 3 << 20));
}

#[tokio::test]
async fn what_was_given_up_is_told_again_by_a_form() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let mut body = request("deletion");
    body["callback_url"] = json!("https://hooks.example/dsr");
    let id = edge.submit(&body).await.json()["id"].as_str().unwrap().to_owned();
    edge.store.advance_due(10).await.unwrap();
    let systems: Vec<String> =
        edge.store.systems(&edge.acme.id).await.unwrap().iter().map(|system| system.id.to_string()).collect();
    let leases = edge.store.claim("one", &systems, 100, 60_000).await.unwrap();
    let count = leases.len();
    let gone = |lease| Finish { lease, result: StepResult::Dismissed { achieved: false, code: "given_up".into() } };
    edge.store.finish(leases.into_iter().map(gone).collect()).await.unwrap();
    let path = format!("/act/v1/requests/{id}/notify");
    let page = with(&edge.acme.user).page(&edge, "/queue?kind=given_up").await.text();
    assert!(page.contains(&path) && page.contains(&format!("was not told {count} status")), "{page}");
    assert!(!with(&edge.other.user).page(&edge, "/queue").await.text().contains(&id));
    assert!(!with(&edge.acme.auditor).page(&edge, "/queue").await.text().contains(&path));
    assert_eq!(with(&edge.other.user).send(&edge, &path, &[]).await.status, 404);
    assert_eq!(with(&edge.acme.auditor).send(&edge, &path, &[]).await.status, 403);
    let next = [("_next", "/queue"), ("_done", "sent_again")];
    let again = with(&edge.acme.user).send(&edge, &path, &next).await;
    assert_eq!((again.status.as_u16(), again.header("location")), (303, "/queue?done=sent_again"));
    assert!(with(&edge.acme.user).page(&edge, "/queue").await.text().contains("Nothing waits for a person"));
    assert_eq!(with(&edge.acme.user).send(&edge, &path, &next).await.status, 409);
    assert_eq!(edge.call(&edge.acme.user, "POST", "/v1/messages/msg_x/replay", None).await.status, 404);
}
