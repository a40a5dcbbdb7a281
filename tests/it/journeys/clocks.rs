//! A clock that waits, seen from outside: nothing is done in any system until what was awaited has come.

use crate::support::{Kind, Person, Systems, TestApp, status_of};
use serde_json::json;

#[tokio::test]
async fn a_paused_deletion_changes_nothing_until_it_is_resumed_and_then_completes() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite, Kind::Maildir]));
    let (ann, bob) = (Person::new("ann"), Person::new("bob"));
    systems.fill(&[ann.clone(), bob.clone()]).await;
    let before = systems.snapshot().await;
    // Waiting for an approval it can be paused before anything begins.
    let api = app.controller(&systems.toml_with("acme", "require_approval = [\"deletion\"]")).await;
    let id = api.submitted(&ann.deletion()).await;
    assert_eq!(status_of(&api.settled(&id).await), "awaiting_approval");
    let pause = json!({ "kind": "identity", "reason": "proof_of_identity_asked_for" });
    let view = api.post(&format!("/v1/requests/{id}/pause"), &pause).await.expect(200);
    assert_eq!(status_of(&view), "awaiting_controller");
    // While it waits nobody can start it.
    assert_eq!(api.act(&id, "approve").await.problem(409)["current_status"], "awaiting_controller");
    assert_eq!(systems.snapshot().await, before);
    let view = api.act(&id, "resume").await.expect(200);
    assert_eq!(status_of(&view), "awaiting_approval");
    api.act(&id, "approve").await.expect(200);
    assert_eq!(status_of(&api.closed(&id).await), "completed");
    assert_ne!(systems.snapshot().await, before);

    // What has ended cannot wait any more.
    let id = api.submitted(&bob.access()).await;
    let view = api.closed(&id).await;
    assert_eq!(status_of(&view), "completed");
    let refused = api.post(&format!("/v1/requests/{id}/pause"), &pause).await.problem(409);
    assert_eq!(refused["current_status"], "completed");
}
