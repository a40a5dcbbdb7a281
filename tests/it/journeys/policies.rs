//! What a controller wants before and after the work, and what it must keep.

use crate::support::{Kind, PATIENCE, Person, Systems, TestApp, id_of, status_of};
use serde_json::{Value, json};

#[tokio::test]
async fn approval_cooling_off_and_review_hold_a_request_until_somebody_decides() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite, Kind::Maildir]));
    let (ann, bob) = (Person::new("ann"), Person::new("bob"));
    systems.fill(&[ann.clone(), bob.clone()]).await;
    let before = systems.snapshot().await;
    let policy = "require_approval = [\"deletion\"]\ncooling_off_hours = 1\nreview = [\"access\"]";
    let api = app.controller(&systems.toml_with("acme", policy)).await;

    // Approved, it still can be taken back for an hour, in which nothing is changed.
    let id = api.submitted(&ann.deletion()).await;
    assert_eq!(status_of(&api.settled(&id).await), "awaiting_approval");
    api.act(&id, "approve").await.expect(200);
    api.until(&id, |status| status == "cooling_off", PATIENCE).await;
    assert_eq!(api.act(&id, "approve").await.problem(409)["current_status"], "cooling_off");
    let view = api.act(&id, "withdraw").await.expect(200);
    assert_eq!(status_of(&view), "withdrawn");
    assert!(!view["closed_at"].is_null());
    assert_eq!(systems.snapshot().await, before);

    // The package is handed over when a person has looked at the result.
    let id = api.submitted(&bob.access()).await;
    assert_eq!(status_of(&api.settled(&id).await), "review");
    api.read(&format!("/v1/requests/{id}/package")).await.problem(404);
    api.act(&id, "approve").await.expect(200);
    assert_eq!(status_of(&api.closed(&id).await), "completed");
    assert!(api.package(&id).await.starts_with(b"PK"));

    // What was refused is closed with its reason, and without an effect.
    let id = api.submitted(&bob.deletion()).await;
    api.settled(&id).await;
    api.post(&format!("/v1/requests/{id}/reject"), &json!({})).await.problem(422);
    let rejected = api.post(&format!("/v1/requests/{id}/reject"), &json!({"reason": "legal_claims"})).await;
    assert_eq!(status_of(&rejected.expect(200)), "rejected");
    assert_eq!(systems.snapshot().await, before);
}

#[tokio::test]
async fn records_that_must_stay_are_itemised_and_make_the_end_partial() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite]));
    let (ann, bob) = (Person::new("ann"), Person::new("bob"));
    systems.fill(&[ann.clone(), bob.clone()]).await;
    let before = systems.snapshot().await;
    let declared = "on_delete = \"null\"\n  columns = [\"customer_id\", \"ship_to\"]";
    // A sale that refers to its customer keeps the customer too.
    let toml = systems.toml("acme");
    assert!(toml.contains(declared));
    let toml = toml.replace(declared, "on_delete = \"keep\"\n  reason = \"tax_records\"");
    let customers = "fields = { full_name = \"full_name\", phone = \"phone\" }\n  on_delete = \"delete\"";
    assert!(toml.contains(customers));
    let toml = toml.replace(
        customers,
        "fields = { full_name = \"full_name\", phone = \"phone\" }\n  on_delete = \"keep\"\n  reason = \"tax_records\"",
    );
    let api = app.controller(&toml).await;

    let view = api.settled(&api.submitted(&ann.deletion()).await).await;
    assert_eq!(status_of(&view), "partially_completed", "{view:#}");
    let after = systems.snapshot().await;
    let kept: Vec<&String> =
        before.of(&ann).iter().filter(|r| r.contains(" customers ") || r.contains(" orders ")).collect();
    assert_eq!(after.of(&ann).iter().collect::<Vec<_>>(), kept, "exactly what must stay stays as it was");
    assert_eq!(after.of(&bob), before.of(&bob));
    let certificate: Value = serde_json::from_slice(&api.certificate(id_of(&view)).await).expect("JSON");
    let certificate = &certificate["certificate"];
    assert_eq!(certificate["request"]["outcome"], "partially_completed");
    let retained = certificate["steps"][0]["retained"].as_array().expect("a list");
    let records: u64 =
        retained.iter().filter(|r| r["reason"] == "tax_records").filter_map(|r| r["records"].as_u64()).sum();
    assert_eq!(records, 3, "a customer and two orders: {certificate:#}");
}
