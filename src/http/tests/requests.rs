//! Requests as they are listed, shown and decided about.

use super::{ALL, Edge, edge, request};
use redress_store::{ControllerPolicy, NewController};
use serde_json::{Value, json};

async fn submitted(edge: &Edge, kind: &str) -> String {
    edge.clock.advance(jiff::SignedDuration::from_millis(5));
    let answer = edge.submit(&request(kind)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn ids(list: &Value) -> Vec<String> {
    list["requests"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect()
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

#[tokio::test]
async fn a_list_is_cut_into_pages_without_loss_or_repetition() {
    let edge = edge().await;
    let mut all = Vec::new();
    for _ in 0..7 {
        all.push(submitted(&edge, "access").await);
    }
    all.reverse();
    for limit in [1, 3, 7, 50] {
        let (mut seen, mut path) = (Vec::new(), format!("/v1/requests?limit={limit}"));
        loop {
            let page = edge.get(&path).await.json();
            assert!(page["requests"][0].get("steps").is_none());
            seen.extend(ids(&page));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/v1/requests?limit={limit}&cursor={cursor}");
        }
        assert_eq!(seen, all, "limit {limit}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_each_parameter() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", &[redress_domain::RequestType::Deletion], &[]).await;
    let (access, deletion) = (submitted(&edge, "access").await, submitted(&edge, "deletion").await);
    edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{deletion}/withdraw"), None).await;
    edge.store.advance_due(10).await.unwrap();
    for (query, expected) in [
        ("status=withdrawn", vec![&deletion]),
        ("status=needs_attention", vec![&access]),
        ("type=access", vec![&access]),
        ("system=crm", vec![&deletion]),
        ("open=true", vec![&access]),
        ("open=false", vec![&deletion]),
        ("band=on_track", vec![&deletion, &access]),
        ("band=overdue", vec![]),
        ("due_before=2026-11-20T00:00:00Z", vec![]),
        ("due_after=2026-11-20T00:00:00%2B01:00", vec![&deletion, &access]),
    ] {
        assert_eq!(
            ids(&edge.get(&format!("/v1/requests?{query}")).await.json()).iter().collect::<Vec<_>>(),
            expected,
            "{query}"
        );
    }
    edge.clock.advance(jiff::SignedDuration::from_hours(24 * 60));
    assert_eq!(ids(&edge.get("/v1/requests?band=overdue").await.json()), [access]);
    let closed = edge.get(&format!("/v1/requests/{deletion}")).await.json();
    assert_eq!((&closed["band"], &closed["clock"]), (&json!("on_track"), &json!("stopped(met)")));
}

#[tokio::test]
async fn parameters_that_are_unknown_or_malformed_are_named_all_at_once() {
    let edge = edge().await;
    let query = "status=done&type=x&band=red&limit=0&cursor=stp_1&open=yes&due_before=2026-01-01&due_after=now&sort=a&order=a&limit=2";
    let answer = edge.get(&format!("/v1/requests?{query}")).await;
    assert_eq!(answer.status, 422);
    let problem = answer.problem();
    let mut named: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["parameter"].as_str().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(
        named,
        ["band", "cursor", "due_after", "due_before", "limit", "open", "order", "sort", "status", "type"]
    );
    assert!(answer.text().contains("there are status, type, band"));
    for query in ["limit=201", "limit=-1", "limit=%2B1", "limit=1e1", "cursor=", "system=%00", "status=%ff"] {
        assert_eq!(edge.get(&format!("/v1/requests?{query}")).await.status, 422, "{query}");
    }
}

#[tokio::test]
async fn a_decision_that_is_illegal_answers_409_with_the_status() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    policy(&edge, ControllerPolicy { require_approval: ALL.to_vec(), ..ControllerPolicy::default() }).await;
    let id = submitted(&edge, "deletion").await;
    edge.store.advance_due(10).await.unwrap();
    let path = |verb: &str| format!("/v1/requests/{id}/{verb}");
    let post = |verb: &str| {
        let path = path(verb);
        let edge = &edge;
        async move { edge.call(&edge.acme.user, "POST", &path, Some(&json!({}))).await }
    };
    assert_eq!(edge.get(path("").trim_end_matches('/')).await.json()["status"], "awaiting_approval");
    let approved = post("approve").await;
    assert_eq!((approved.status.as_u16(), &approved.json()["status"]), (200, &json!("in_progress")));
    let again = post("approve").await;
    assert_eq!((again.status.as_u16(), &again.problem()["current_status"]), (409, &json!("in_progress")));
    assert_eq!(post("retry").await.status, 409);
    let withdrawn = post("withdraw").await;
    assert_eq!((withdrawn.status.as_u16(), &withdrawn.json()["status"]), (200, &json!("withdrawn")));
    for verb in ["approve", "withdraw", "retry"] {
        assert_eq!(post(verb).await.problem()["current_status"], "withdrawn", "{verb}");
    }
    let events = edge.get(&path("events")).await.json();
    let kinds: Vec<&str> = events["events"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["received", "approval_asked", "approved", "work_began", "withdrawn"]);
    let actor = events["events"][2]["actor"].as_str().unwrap();
    assert!(actor.starts_with("key_"), "{actor}");
}

#[tokio::test]
async fn a_refusal_needs_a_reason_code_and_other_decisions_take_nothing() {
    let edge = edge().await;
    let id = submitted(&edge, "access").await;
    let path = format!("/v1/requests/{id}/reject");
    let reject = async |body: Option<Value>| edge.call(&edge.acme.user, "POST", &path, body.as_ref()).await;
    assert_eq!(reject(None).await.pointers(), ["/reason"]);
    for reason in [json!(""), json!("Jane asked twice"), json!("x".repeat(65)), json!(1), json!(null)] {
        assert_eq!(reject(Some(json!({ "reason": reason }))).await.pointers(), ["/reason"], "{reason}");
    }
    assert_eq!(reject(Some(json!({ "reason": "unfounded", "note": "x" }))).await.pointers(), ["/note"]);
    let withdraw =
        edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{id}/withdraw"), Some(&json!({ "a": 1 }))).await;
    assert_eq!(withdraw.pointers(), [""]);
    assert_eq!(reject(Some(json!({ "reason": "unfounded" }))).await.json()["status"], "rejected");
}

#[tokio::test]
async fn a_request_without_systems_goes_on_by_retry_once_one_is_connected() {
    let edge = edge().await;
    let id = submitted(&edge, "deletion").await;
    edge.store.advance_due(10).await.unwrap();
    let view = edge.get(&format!("/v1/requests/{id}")).await.json();
    assert_eq!(view["status"], "needs_attention");
    assert!(view["attention"].as_str().unwrap().contains("connect"));
    let retry = format!("/v1/requests/{id}/retry");
    assert_eq!(edge.call(&edge.acme.user, "POST", &retry, None).await.status, 409);
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let view = edge.call(&edge.acme.user, "POST", &retry, None).await.json();
    assert_eq!((&view["status"], &view["steps"][0]["system"]), (&json!("in_progress"), &json!("crm")));
}

#[tokio::test]
async fn the_audit_log_leaves_whole_and_in_parts() {
    let edge = edge().await;
    submitted(&edge, "access").await;
    let whole = edge.call(&edge.acme.auditor, "GET", "/v1/audit", None).await;
    assert_eq!(whole.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = whole.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<i64> = lines.iter().map(|line| line["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=lines.len() as i64).collect::<Vec<_>>());
    assert!(lines.len() >= 5 && !whole.text().contains("jane"));
    let part = edge.call(&edge.acme.auditor, "GET", "/v1/audit?after=1&limit=2", None).await.text();
    assert_eq!(part, whole.text().split_inclusive('\n').skip(1).take(2).collect::<String>());
    assert_eq!(edge.get("/v1/audit?after=x").await.status, 422);
    assert_eq!(edge.get("/v1/audit?after=9999").await.text(), "");
}
