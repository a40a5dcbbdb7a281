//! A system that only a person can reach: the task is seen, done and reported through the API, and proved as what it is.

use crate::support::{Kind, PATIENCE, Person, Systems, TestApp, status_of};
use serde_json::{Value, json};

const PAPER: &str = r#"
[[system]]
name = "paper"
family = "files"
connector = "manual"
settings = { instructions = ["Look into cabinet 7.", "Shred what is there."], due_days = 5 }
allow = ["access", "deletion"]
"#;

fn step<'v>(view: &'v Value, system: &str) -> &'v Value {
    view["steps"].as_array().expect("steps").iter().find(|s| s["system"] == system).expect("a step")
}

#[tokio::test]
async fn a_task_is_shown_reported_and_certified_as_a_persons_word() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite]));
    let ann = Person::new("ann");
    systems.fill(std::slice::from_ref(&ann)).await;
    let api = app.controller(&format!("{}{PAPER}", systems.toml("acme"))).await;
    let id = api.submitted(&ann.deletion()).await;
    let view = api.until_view(&id, |view| step(view, "paper")["status"] == "external", PATIENCE).await;
    assert!(step(&view, "paper")["completes_by"].is_string(), "{view:#}");

    let path = format!("/v1/requests/{id}/steps/paper");
    let task = api.read(&format!("{path}/task")).await.expect(200);
    assert_eq!(task["instructions"][1], "Shred what is there.");
    assert!(task["subject"]["identifiers"].to_string().contains(&ann.email), "whoever does it must know for whom");
    assert!(api.events(&id).await.iter().any(|e| e["kind"] == "task_seen"), "seeing it is audited");

    // What is not consistent is refused as a whole, with every fault.
    let faults =
        api.post(&format!("{path}/complete"), &json!({ "found": 3, "changed": 2, "note": "x" })).await.faults(422);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(step(&api.get(&id).await, "paper")["status"], "external");
    let other =
        api.post(&format!("/v1/requests/{id}/steps/nowhere/complete"), &json!({ "found": 0, "changed": 0 })).await;
    other.problem(409);

    let report = json!({ "found": 3, "changed": 3, "effect": { "kind": "permanent" },
        "files": [{ "collection": "cabinet", "name": "shredded.txt", "media_type": "text/plain", "content": "c2hyZWRkZWQ=" }] });
    api.post(&format!("{path}/complete"), &report).await.expect(200);
    let view = api.closed(&id).await;
    assert_eq!(status_of(&view), "completed", "{view:#}");
    let paper = step(&view, "paper");
    assert_eq!((&paper["found"], &paper["changed"], &paper["effect"]), (&3.into(), &3.into(), &"permanent".into()));
    let certificate = String::from_utf8(api.certificate(&id).await).expect("JSON");
    assert!(certificate.contains("attested") && certificate.contains("evidence file sha256:"), "{certificate}");
    api.post(&format!("{path}/complete"), &report).await.problem(409);
}

#[tokio::test]
async fn another_controller_sees_no_task_and_reports_none() {
    let app = TestApp::builder().start().await;
    let acme = app
        .controller(&format!("[controller]\nname = \"acme\"\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\n{PAPER}"))
        .await;
    let other = app
        .controller(&format!("[controller]\nname = \"other\"\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\n{PAPER}"))
        .await;
    let id = acme.submitted(&Person::new("ann").deletion()).await;
    acme.until_view(&id, |view| step(view, "paper")["status"] == "external", PATIENCE).await;
    other.read(&format!("/v1/requests/{id}/steps/paper/task")).await.problem(404);
    other
        .post(&format!("/v1/requests/{id}/steps/paper/complete"), &json!({ "found": 0, "changed": 0 }))
        .await
        .problem(404);
    let reader = app.key("acme", "auditor").await;
    reader.read(&format!("/v1/requests/{id}/steps/paper/task")).await.problem(403);
}
