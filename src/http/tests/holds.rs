//! Legal holds over the interface: every fault at once, no identifier in any answer, and nothing outside of a gagged one.

use super::{ALL, Edge, edge, request};
use redress_domain::Role;
use serde_json::{Value, json};

async fn submitted(edge: &Edge) -> String {
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    edge.submit(&request("deletion")).await.json()["id"].as_str().unwrap().to_owned()
}

fn on(id: &str) -> Value {
    json!({ "scope": "request", "request": id, "basis": "litigation 7 O 12/26", "matter": "Canarysmith", "review_on": "2027-01-31" })
}

#[tokio::test]
async fn every_fault_of_a_hold_is_told_at_once() {
    let edge = edge().await;
    submitted(&edge).await;
    for (body, wanted) in [
        (json!({}), vec!["/basis", "/scope", "/review_on"]),
        (
            json!({ "basis": " ", "scope": "subject", "review_on": "2026-11-19", "systems": ["crm", "nowhere"], "gag": true, "x": 1,
                "starts_at": "2030-01-01T00:00:00Z",
                "identifiers": [{ "type": "email", "value": "canary no address" }, { "type": "shoe", "value": "44" }] }),
            vec![
                "/basis",
                "/identifiers/0/value",
                "/identifiers/1/type",
                "/systems/1",
                "/starts_at",
                "/review_on",
                "/gag",
                "/x",
            ],
        ),
        (
            json!({ "basis": "b", "scope": "request", "request": "dsr_1", "review_on": "soon", "identifiers": [], "systems": [] }),
            vec!["/identifiers", "/request", "/systems", "/review_on"],
        ),
        (json!({ "basis": "b", "scope": "subject", "review_on": "2027-01-31" }), vec!["/identifiers"]),
    ] {
        let answer = edge.call(&edge.acme.user, "POST", "/v1/holds", Some(&body)).await;
        assert_eq!(answer.pointers(), wanted, "{}", answer.text());
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    let foreign = on("dsr_01aryz6s410000000000000000");
    assert_eq!(edge.call(&edge.acme.user, "POST", "/v1/holds", Some(&foreign)).await.pointers(), ["/request"]);
    assert_eq!(edge.get("/v1/holds").await.json()["holds"], json!([]));
}

#[tokio::test]
async fn a_hold_is_set_shown_on_its_request_reviewed_and_released() {
    let edge = edge().await;
    let id = submitted(&edge).await;
    let set = edge.call(&edge.acme.user, "POST", "/v1/holds", Some(&on(&id))).await;
    assert_eq!(set.status, 201, "{}", set.text());
    let hold = set.json();
    let own = hold["links"]["self"].as_str().unwrap().to_owned();
    assert_eq!(set.header("location"), own);
    assert_eq!(
        (&hold["state"], &hold["reach"]["stopped"], &hold["matter"]),
        (&json!("in_force"), &json!(1), &json!("Canarysmith"))
    );
    let view = edge.get(&format!("/v1/requests/{id}")).await.json();
    assert_eq!((&view["status"], &view["holds"][0]["id"]), (&json!("on_hold"), &hold["id"]));
    assert_eq!(
        (&view["steps"][0]["status"], &view["steps"][0]["error"]["code"]),
        (&json!("blocked"), &json!("legal_hold"))
    );
    assert_eq!(view["forecast"]["blocked_by"], "legal_hold");
    for (filter, n) in [("on_hold", 1), ("in_progress", 0)] {
        let list = edge.get(&format!("/v1/requests?status={filter}")).await.json();
        assert_eq!(list["requests"].as_array().unwrap().len(), n, "{filter}");
    }
    // Another controller's hold is not there, and whoever only audits sees no names and decides nothing.
    assert_eq!(edge.call(&edge.other.user, "GET", &own, None).await.status, 404);
    let reason = json!({ "reason": "over" });
    for verb in ["release", "review"] {
        let body = json!({ "reason": "over", "review_on": "2028-01-01" });
        assert_eq!(edge.call(&edge.other.user, "POST", &format!("{own}/{verb}"), Some(&body)).await.status, 404);
    }
    assert_eq!(edge.call(&edge.acme.auditor, "POST", &format!("{own}/release"), Some(&reason)).await.status, 403);

    let review = json!({ "reason": "the case is open", "review_on": "2027-06-30" });
    let reviewed = edge.call(&edge.acme.user, "POST", &format!("{own}/review"), Some(&review)).await.json();
    assert_eq!(
        (&reviewed["review_on"], &reviewed["notes"][0]["reason"]),
        (&json!("2027-06-30"), &json!("the case is open"))
    );
    assert_eq!(
        edge.call(&edge.acme.user, "POST", &format!("{own}/release"), Some(&json!({}))).await.pointers(),
        ["/reason"]
    );
    let released = edge.call(&edge.acme.user, "POST", &format!("{own}/release"), Some(&reason)).await;
    assert_eq!((released.status.as_u16(), &released.json()["state"]), (200, &json!("released")));
    assert_eq!(edge.call(&edge.acme.user, "POST", &format!("{own}/release"), Some(&reason)).await.status, 409);
    assert_eq!(edge.get(&format!("/v1/requests/{id}")).await.json()["status"], "in_progress");
    let lists = [("open", 0), ("released", 1)];
    for (state, n) in lists {
        let list = edge.get(&format!("/v1/holds?state={state}")).await.json();
        assert_eq!(list["holds"].as_array().unwrap().len(), n, "{state}");
    }
    let everything = edge.everything().await;
    for word in ["Canarysmith", "7 O 12/26", "the case is open"] {
        assert!(!everything.contains(word), "{word} is readable in the database");
    }
}

#[tokio::test]
async fn nobody_outside_learns_of_a_gagged_hold() {
    let edge = edge().await;
    let id = submitted(&edge).await;
    let lead = edge.someone("lead", &[Role::PrivacyLead], None).await;
    let token = edge.token(&lead.cookie).await;
    let form = |fields: &str| format!("csrf={token}&_next=%2Frequests%2F{id}&_done=held&{fields}");
    let set = form(&format!("scope=request&request={id}&basis=secret+order&review_on=2027-01-31&gag%3Aflag=true"));
    let answer = edge.browse(Some(&lead.cookie), "/act/v1/holds?controller=acme", Some(&set)).await;
    assert_eq!(answer.status, 303, "{}", answer.text());

    let page = edge.browse(Some(&lead.cookie), &format!("/requests/{id}"), None).await.text();
    assert!(page.contains("secret order") && page.contains("Keep the data"), "{page}");
    let queue = edge.browse(Some(&lead.cookie), "/queue?kind=holds", None).await.text();
    assert!(queue.contains("secret order"), "{queue}");
    let hold = queue.split("hld_").nth(1).map(|rest| format!("hld_{}", &rest[..26])).expect("a hold");

    let mut outside = Vec::new();
    for key in [&edge.acme.user, &edge.acme.admin, &edge.acme.auditor] {
        assert_eq!(edge.call(key, "GET", &format!("/v1/holds/{hold}"), None).await.status, 404);
        for path in [
            "/v1/holds",
            "/v1/requests",
            "/v1/audit",
            &format!("/v1/requests/{id}"),
            &format!("/v1/requests/{id}/events"),
        ] {
            outside.push(edge.call(key, "GET", path, None).await.text());
        }
        for path in ["/queue?kind=holds", "/controllers", "/audit", &format!("/requests/{id}")] {
            outside.push(edge.page(path, "redress", Some(key)).await.text());
        }
    }
    for text in outside {
        assert!(!text.contains("secret order") && !text.contains(&hold) && !text.contains("on_hold\""), "{text}");
    }
    // Whoever may know decides to keep the data; the reason that is told does not give it away.
    let keep = form("reason=needed").replace("_done=held", "_done=kept");
    let kept = edge.browse(Some(&lead.cookie), &format!("/act/v1/requests/{id}/keep"), Some(&keep)).await;
    assert_eq!(kept.status, 303, "{}", kept.text());
    let view = edge.get(&format!("/v1/requests/{id}")).await.json();
    assert_eq!(view["steps"][0]["retained"][0]["reason"], "exempt_legal_claims");
}

#[tokio::test]
async fn the_forms_of_the_board_set_and_release_a_hold_for_a_person() {
    let edge = edge().await;
    let id = submitted(&edge).await;
    let lead = edge.someone("lead", &[Role::PrivacyLead], None).await;
    let token = edge.token(&lead.cookie).await;
    let value = request("deletion")["subject"]["identifiers"][0]["value"].as_str().unwrap().to_uppercase();
    let fields: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("csrf", token.as_str()),
            ("_next", "/queue?kind=holds"),
            ("_done", "held"),
            ("scope", "subject"),
            ("identifiers.0.type", "email"),
            ("identifiers.0.value", &value),
            ("basis", "duty to preserve"),
            ("review_on", "2027-01-31"),
        ])
        .finish();
    let answer = edge.browse(Some(&lead.cookie), "/act/v1/holds?controller=acme", Some(&fields)).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert_eq!(edge.get(&format!("/v1/requests/{id}")).await.json()["status"], "on_hold");
    let page = edge.browse(Some(&lead.cookie), &format!("/requests/{id}"), None).await.text();
    assert!(page.contains("duty to preserve") && page.contains("Release the hold"), "{page}");
    let list = edge.browse(Some(&lead.cookie), "/queue?kind=holds&done=held", None).await.text();
    assert!(list.contains("one person, by email") && list.contains("The hold is set."), "{list}");
    assert!(!list.to_uppercase().contains(&value), "nobody is named");
    // A day after its review it asks for somebody.
    edge.clock.advance(jiff::SignedDuration::from_hours(24 * 80));
    let lead = edge.someone("lead", &[Role::PrivacyLead], None).await;
    let queue = edge.browse(Some(&lead.cookie), "/queue", None).await.text();
    assert!(queue.contains("1 legal hold has"), "{queue}");
}
