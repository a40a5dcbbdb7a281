//! Systems on the board: whose they are, what they are in, and what can be done about it.

use super::condition::{Expiry, expiry};
use crate::http::Api;
use crate::http::tests::{ALL, Edge, edge, edge_with, request};
use redress_domain::ControllerId;
use redress_store::{Finish, StepResult};
use serde_json::json;

async fn page(edge: &Edge, key: &str, path: &str) -> String {
    let answer = edge.page(path, "dsr.example", Some(key)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

#[tokio::test]
async fn an_installation_without_systems_says_what_one_is() {
    let edge = edge_with(|api| Api { board_open: true, ..api }).await;
    let page = edge.page("/systems", "localhost", None).await.text();
    assert!(page.contains("No system is connected") && page.contains("redress connector list"), "{page}");
}

#[tokio::test]
async fn each_sees_their_own_systems_and_those_in_need_come_first() {
    let edge = edge().await;
    for name in ["alpha", "beta", "crm"] {
        edge.connect(&edge.acme, name, ALL, &[]).await;
    }
    edge.connect(&edge.other, "secretive", ALL, &[]).await;
    let beta = edge.store.system_by_name(&edge.acme.id, "beta").await.unwrap().unwrap();
    let detail = "the password is <b>wrong</b>";
    edge.store.credentials_refused(&beta, detail).await.unwrap();
    let list = page(&edge, &edge.acme.auditor, "/systems").await;
    assert!(!list.contains("secretive") && list.contains("One of them needs somebody now"), "{list}");
    let places: Vec<usize> = ["/systems/acme/beta", "/systems/acme/alpha", "/systems/acme/crm"]
        .iter()
        .map(|path| list.find(path).unwrap())
        .collect();
    assert!(places.is_sorted() && list.contains("&lt;b&gt;wrong") && !list.contains("<b>wrong"), "{list}");
    let shown = page(&edge, &edge.acme.auditor, "/systems/acme/beta").await;
    assert!(
        shown.contains("credentials refused") && !shown.contains("/act/") && shown.contains("PostgreSQL"),
        "{shown}"
    );
    assert!(!shown.contains("canary-secret"));
    for path in ["/systems/other/secretive", "/systems/acme/secretive", "/systems/acme/%00", "/systems/nobody/crm"] {
        assert_eq!(edge.page(path, "dsr.example", Some(&edge.acme.admin)).await.status, 404, "{path}");
    }
    assert_eq!(edge.page("/systems?controller=other", "dsr.example", Some(&edge.acme.admin)).await.status, 404);
}

#[tokio::test]
async fn a_page_says_who_paused_a_system_and_what_waits_there() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    for _ in 0..2 {
        edge.submit(&request("deletion")).await;
    }
    edge.store.advance_due(10).await.unwrap();
    let lease = edge.store.claim("one", &["notify".into()], 1, 60_000).await.unwrap().remove(0);
    let stuck = lease.dsr_id.to_string();
    let result = StepResult::Attention { code: "too_many_matches".into(), detail: "30 match".into() };
    edge.store.finish(vec![Finish { lease, result }]).await.unwrap();
    let shown = page(&edge, &edge.acme.admin, "/systems/acme/crm").await;
    assert!(shown.contains(&stuck) && shown.contains(">1 step</a>"), "{shown}");
    for verb in ["check", "pause"] {
        assert!(shown.contains(&format!("/act/v1/systems/crm/{verb}?controller=acme")), "{shown}");
    }
    edge.call(&edge.acme.admin, "POST", "/v1/systems/crm/pause", None).await;
    let key = edge.call(&edge.acme.admin, "GET", "/v1/keys", None).await.json();
    let own = key["keys"].as_array().unwrap().iter().find(|key| key["role"] == "controller_admin").unwrap();
    let shown = page(&edge, &edge.acme.admin, "/systems/acme/crm").await;
    assert!(shown.contains("by <span class=\"id\">") && shown.contains(own["id"].as_str().unwrap()), "{shown}");
    assert!(shown.contains("/act/v1/systems/crm/resume?controller=acme"));
    assert_eq!(edge.call(&edge.acme.admin, "POST", "/v1/systems/crm/resume", None).await.status, 200);
    assert!(!page(&edge, &edge.acme.admin, "/systems/acme/crm").await.contains("by <span class=\"id\">"));
}

#[tokio::test]
async fn credentials_that_end_are_told_in_time_and_their_date_disturbs_no_step() {
    let edge = edge().await;
    let mut body = json!({
        "connector": "postgres", "settings": { "host": "db.example", "database": "shop", "username": "dsr" },
        "secrets": { "password": { "value": "canary-secret" } },
        "tables": [{ "name": "customers", "key": "id", "identify": { "email": "email" }, "on_delete": "delete" }],
    });
    let put = |body: &serde_json::Value| {
        let body = body.clone();
        let edge = &edge;
        async move { edge.call(&edge.acme.admin, "PUT", "/v1/systems/crm", Some(&body)).await }
    };
    assert_eq!(put(&body).await.status, 201);
    edge.submit(&request("deletion")).await;
    edge.store.advance_due(10).await.unwrap();
    let version = |edge: &Edge, id: &ControllerId| {
        let (store, id) = (edge.store.clone(), id.clone());
        async move { store.system_by_name(&id, "crm").await.unwrap().unwrap() }
    };
    let lease = edge.store.claim("one", &["notify".into()], 1, 60_000).await.unwrap().remove(0);
    for wrong in ["2026-02-30", "tomorrow", "2026-12-01T00:00:00Z", ""] {
        body["credentials_expire_on"] = json!(wrong);
        assert_eq!(put(&body).await.pointers(), ["/credentials_expire_on"], "{wrong}");
    }
    // It is the 20th of November.
    body["credentials_expire_on"] = json!("2026-12-03");
    let answer = put(&body).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["credentials_expire_on"]),
        (200, &json!("2026-12-03")),
        "{}",
        answer.text()
    );
    let result = StepResult::Attention { code: "too_many_matches".into(), detail: String::new() };
    assert_eq!(edge.store.finish(vec![Finish { lease, result }]).await.unwrap(), 0, "the step went on");
    let shown = page(&edge, &edge.acme.admin, "/systems/acme/crm").await;
    assert!(shown.contains("3 Dec 2026") && shown.contains("in 13 days"), "{shown}");
    assert!(page(&edge, &edge.acme.admin, "/systems").await.contains("end 3 Dec 2026"));
    let today = page(&edge, &edge.acme.auditor, "/?done=saved").await;
    assert!(today.contains("acme/crm") && today.contains("end on 3 Dec 2026, in 13 days"), "{today}");
    assert!(!page(&edge, &edge.other.auditor, "/?done=saved").await.contains("acme/crm"));

    let system = version(&edge, &edge.acme.id).await;
    for (today, near) in [
        ("2026-11-02", None),
        ("2026-11-03", Some(Expiry::Near)),
        ("2026-11-19", Some(Expiry::Soon)),
        ("2026-11-30", Some(Expiry::Now)),
        ("2026-12-03", Some(Expiry::Now)),
        ("2026-12-04", Some(Expiry::Over)),
    ] {
        assert_eq!(expiry(&system, today.parse().unwrap()).map(|(_, near)| near), near, "{today}");
    }
    body.as_object_mut().unwrap().remove("credentials_expire_on");
    put(&body).await;
    assert_eq!(expiry(&version(&edge, &edge.acme.id).await, "2026-12-01".parse().unwrap()), None);
}
