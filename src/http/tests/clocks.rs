//! Pausing, resuming, extending and acknowledging over HTTP, with a clock that the test moves.

use super::{ALL, Edge, edge, request};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A request of this type, received by the controller a day before.
async fn submitted(edge: &Edge, kind: &str, regulation: &str) -> String {
    let mut body = request(kind);
    body["regulation"] = json!(regulation);
    body["data_subject_received_at"] = json!("2026-11-19T09:00:00+01:00");
    if kind == "correction" {
        body["corrections"] = json!([{ "field": "last_name", "value": "Doe" }]);
    }
    let answer = edge.submit(&body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    // Work begins before anybody says anything.
    edge.store.advance_due(100).await.unwrap();
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn ready() -> Edge {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &["last_name"]).await;
    edge
}

async fn act(edge: &Edge, id: &str, verb: &str, body: &Value) -> super::Answer {
    edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{id}/{verb}"), Some(body)).await
}

async fn done(edge: &Edge, id: &str, verb: &str, body: &Value) -> Value {
    let answer = act(edge, id, verb, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn events(edge: &Edge, id: &str) -> Vec<Value> {
    let answer = edge.get(&format!("/v1/requests/{id}/events")).await.json();
    answer["events"].as_array().unwrap().clone()
}

fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

fn travel(edge: &Edge, to: &str) {
    let to: Timestamp = to.parse().unwrap();
    let now = redress_domain::Clock::now(&*edge.clock);
    edge.clock.advance(to.duration_since(now));
}

#[tokio::test]
async fn days_of_waiting_for_the_person_are_not_counted_and_nothing_is_done_meanwhile() {
    let edge = ready().await;
    let id = submitted(&edge, "access", "EU-GDPR").await;
    assert_eq!(edge.get(&format!("/v1/requests/{id}")).await.json()["status"], "in_progress");

    let view =
        done(&edge, &id, "pause", &json!({ "kind": "clarification", "reason": "Which of the two shops?" })).await;
    assert_eq!((&view["status"], &view["clock"]), (&json!("awaiting_controller"), &json!("paused(clarification)")));
    assert_eq!(view["deadlines"]["statutory"]["due_on"], "2026-12-21");
    assert_eq!(view["pauses"][0]["to"], Value::Null);
    assert_eq!(view["clock_notes"][0]["reason"], "Which of the two shops?");
    assert!(edge.store.claim("w", &[], 10, 1_000).await.unwrap().is_empty(), "nothing is done meanwhile");

    edge.clock.advance(days(5));
    edge.store.promote().await.unwrap();
    assert!(edge.store.claim("w", &[], 10, 1_000).await.unwrap().is_empty(), "nor later");
    let view = done(&edge, &id, "resume", &json!({})).await;
    assert_eq!((&view["status"], &view["clock"]), (&json!("in_progress"), &json!("running")));
    // From the day after the asking, 21 November, to the answer's, the 25th: five days.
    assert_eq!(view["deadlines"]["statutory"]["paused_days"], 5);
    assert_eq!(view["deadlines"]["statutory"]["due_on"], "2026-12-24");
    let trace = view["deadlines"]["trace"].to_string();
    assert!(trace.contains("clarification asked for on Fri 2026-11-20"), "{trace}");
    edge.store.promote().await.unwrap();
    assert_eq!(edge.store.claim("w", &[], 10, 1_000).await.unwrap().len(), 1, "work goes on");

    let kinds: Vec<Value> = events(&edge, &id).await.iter().map(|event| event["kind"].clone()).collect();
    let told = ["received", "work_began", "paused", "controller_asked", "resumed", "controller_answered", "work_began"];
    assert_eq!(kinds, told.map(Value::from));
    assert!(!json!(events(&edge, &id).await).to_string().contains("shops"), "words are sealed, not logged");
}

#[tokio::test]
async fn a_pause_that_the_law_does_not_know_stops_the_work_and_not_the_clock() {
    let edge = ready().await;
    let id = submitted(&edge, "deletion", "EU-GDPR").await;
    let view = done(&edge, &id, "pause", &json!({ "kind": "identity" })).await;
    assert_eq!((&view["status"], &view["clock"]), (&json!("awaiting_controller"), &json!("running")));
    let trace = view["deadlines"]["trace"].to_string();
    assert!(trace.contains("the controller did not choose that waiting counts"), "{trace}");
    edge.clock.advance(days(5));
    let view = done(&edge, &id, "resume", &json!({})).await;
    assert_eq!(view["deadlines"]["statutory"]["due_on"], "2026-12-21");

    let id = submitted(&edge, "deletion", "US-CA-CCPA").await;
    done(&edge, &id, "pause", &json!({ "kind": "identity" })).await;
    assert_eq!(act(&edge, &id, "pause", &json!({ "kind": "identity" })).await.status, 409);
    let view = done(&edge, &id, "pause", &json!({ "kind": "controller" })).await;
    assert_eq!(view["clock"], "running");
    // Two things are awaited, so one has to be named; work goes on when both came.
    assert_eq!(act(&edge, &id, "resume", &json!({})).await.pointers(), ["/kind"]);
    let view = done(&edge, &id, "resume", &json!({ "kind": "identity" })).await;
    assert_eq!(view["status"], "awaiting_controller");
    let view = done(&edge, &id, "resume", &json!({ "kind": "controller" })).await;
    assert_eq!(view["status"], "in_progress");
}

#[tokio::test]
async fn an_uk_clock_starts_when_the_proof_of_identity_comes() {
    let edge = ready().await;
    let id = submitted(&edge, "access", "UK-GDPR").await;
    let view = done(&edge, &id, "pause", &json!({ "kind": "identity", "from": "2026-11-20T09:00:00Z" })).await;
    assert_eq!(view["clock"], "not_started");
    edge.clock.advance(days(11));
    let view = done(&edge, &id, "resume", &json!({ "to": "2026-11-30T09:00:00Z" })).await;
    assert_eq!(view["deadlines"]["statutory"]["started_on"], "2026-11-30");
    assert_eq!(view["deadlines"]["statutory"]["due_on"], "2026-12-30");
    assert_eq!(view["clock"], "running");
}

#[tokio::test]
async fn an_extension_counts_until_the_last_day_of_the_first_period_and_is_void_after() {
    let edge = ready().await;
    let (in_time, late) = (submitted(&edge, "access", "EU-GDPR").await, submitted(&edge, "access", "EU-GDPR").await);
    assert_eq!(act(&edge, &in_time, "extend", &json!({})).await.pointers(), ["/reason"]);
    // The last second of Monday 21 December in Berlin.
    travel(&edge, "2026-12-21T22:59:59Z");
    let view = done(&edge, &in_time, "extend", &json!({ "reason": "complexity" })).await;
    assert_eq!(view["deadlines"]["statutory"]["due_on"], "2027-02-19");
    assert_eq!(view["deadlines"]["statutory"]["extended"], true);
    assert_eq!(view["extension"]["granted_at"], "2026-12-21T22:59:59Z");
    assert_eq!(view["deadlines"]["effective"]["binding"], "contract", "what we promised stays promised");
    let again = act(&edge, &in_time, "extend", &json!({ "reason": "again" })).await;
    assert_eq!(again.status, 409);
    assert!(again.problem()["detail"].as_str().unwrap().contains("extended once already"));

    edge.clock.advance(SignedDuration::from_secs(1));
    let refused = act(&edge, &late, "extend", &json!({ "reason": "too_much_work" })).await;
    assert_eq!(refused.status, 409);
    let problem = refused.problem();
    assert!(problem["detail"].as_str().unwrap().contains("void"), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("2026-12-21"), "{problem}");
    assert_eq!(problem["current_status"], "in_progress");
    let view = edge.get(&format!("/v1/requests/{late}")).await.json();
    assert_eq!((&view["extension"], &view["deadlines"]["statutory"]["due_on"]), (&Value::Null, &json!("2026-12-21")));
    assert!(events(&edge, &late).await.iter().any(|event| event["kind"] == "extension_void"));

    let extended = events(&edge, &in_time).await.pop().unwrap();
    assert_eq!(extended["kind"], "extended");
    assert_eq!(extended["data"]["reason"], "complexity");
    assert_eq!(extended["data"]["statutory_due_on"], json!({ "before": "2026-12-21", "after": "2027-02-19" }));
}

#[tokio::test]
async fn a_clock_is_not_changed_by_nonsense() {
    let edge = ready().await;
    let id = submitted(&edge, "access", "EU-GDPR").await;
    let before = edge.get(&format!("/v1/requests/{id}")).await.json();
    for (verb, body, pointer) in [
        ("pause", json!({}), "/kind"),
        ("pause", json!({ "kind": "holiday" }), "/kind"),
        ("pause", json!({ "kind": "identity", "from": "2026-11-18T09:00:00Z" }), "/from"),
        ("pause", json!({ "kind": "identity", "from": "2026-11-21T09:00:00Z" }), "/from"),
        ("pause", json!({ "kind": "identity", "from": "2026-02-30T09:00:00Z" }), "/from"),
        ("pause", json!({ "kind": "identity", "from": "2026-11-20T09:00:00" }), "/from"),
        ("pause", json!({ "kind": "identity", "form": "2026-11-20T09:00:00Z" }), "/form"),
        ("extend", json!({ "reason": "  " }), "/reason"),
        ("extend", json!({ "reason": "x".repeat(501) }), "/reason"),
        ("extend", json!({ "reason": "complexity", "until": "2026-02-30" }), "/until"),
        ("extend", json!({ "reason": "complexity", "granted_at": "2027-01-01T00:00:00Z" }), "/granted_at"),
        ("acknowledge", json!({ "acknowledged_at": "2026-11-01T00:00:00Z" }), "/acknowledged_at"),
    ] {
        assert_eq!(act(&edge, &id, verb, &body).await.pointers(), [pointer], "{verb} {body}");
    }
    assert_eq!(act(&edge, &id, "resume", &json!({})).await.status, 409);
    assert_eq!(edge.get(&format!("/v1/requests/{id}")).await.json(), before, "nothing half applied");

    done(&edge, &id, "pause", &json!({ "kind": "fee", "from": "2026-11-20T09:00:00Z" })).await;
    let refused = act(&edge, &id, "resume", &json!({ "to": "2026-11-20T08:59:59Z" })).await;
    assert_eq!(refused.pointers(), ["/to"], "a pause that ends before it starts");

    let path = format!("/v1/requests/{id}/pause");
    let body = json!({ "kind": "identity" });
    assert_eq!(edge.call(&edge.other.user, "POST", &path, Some(&body)).await.status, 404);
    assert_eq!(edge.call(&edge.acme.auditor, "POST", &path, Some(&body)).await.status, 403);
    act(&edge, &id, "withdraw", &json!({})).await;
    for (verb, body) in
        [("pause", json!({ "kind": "identity" })), ("extend", json!({ "reason": "complexity" })), ("resume", json!({}))]
    {
        let refused = act(&edge, &id, verb, &body).await;
        assert_eq!(refused.status, 409, "{verb}: {}", refused.text());
        assert_eq!(refused.problem()["current_status"], "withdrawn");
    }
}

#[tokio::test]
async fn receipt_is_acknowledged_to_the_person_once_and_recorded() {
    let edge = ready().await;
    let id = submitted(&edge, "deletion", "US-CA-CCPA").await;
    let view = edge.get(&format!("/v1/requests/{id}")).await.json();
    // Ten business days after Thursday 19 November (in California), without Thanksgiving.
    assert_eq!(view["deadlines"]["acknowledge_by"], "2026-12-04");
    assert!(view["deadlines"]["milestones"]["acknowledgement_warning_at"].is_string());
    let view = done(&edge, &id, "acknowledge", &json!({ "acknowledged_at": "2026-11-20T09:30:00Z" })).await;
    assert_eq!(view["acknowledged_at"], "2026-11-20T09:30:00Z");
    assert!(
        view["deadlines"]["milestones"]["acknowledgement_warning_at"].is_null(),
        "nobody has to be warned any more"
    );
    assert_eq!(act(&edge, &id, "acknowledge", &json!({})).await.status, 409);
    assert_eq!(events(&edge, &id).await.pop().unwrap()["kind"], "acknowledged");
}

#[tokio::test]
async fn under_two_laws_the_earliest_date_governs() {
    let edge = ready().await;
    let mut body = request("access");
    body["regulations"] = json!(["EU-GDPR", "KR-PIPA"]);
    body["data_subject_received_at"] = json!("2026-11-19T09:00:00+01:00");
    let view = edge.submit(&body).await.json();
    assert_eq!(view["regulation"], "KR-PIPA");
    assert_eq!(view["regulations"], json!(["KR-PIPA", "EU-GDPR"]));
    assert_eq!(view["deadlines"]["statutory"]["rule"], "kr.all");
    let all: Vec<&Value> =
        view["deadlines"]["statutory_all"].as_array().unwrap().iter().map(|law| &law["due_on"]).collect();
    assert_eq!(all, ["2026-11-29", "2026-12-21"]);
    body["regulations"] = json!(["EU-GDPR", "EU-GDRP"]);
    let refused = edge.submit(&body).await;
    assert_eq!(refused.pointers(), ["/regulations/1"]);
    assert!(refused.text().contains("did you mean EU-GDPR"));
}
