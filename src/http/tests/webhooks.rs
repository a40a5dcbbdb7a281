//! Standing endpoints through the API and on the board: a secret is shown once, an address only to whoever connects systems.

use super::{edge, edge_with};
use crate::http::Api;
use redress_domain::ControllerId;
use serde_json::{Value, json};
use std::sync::Arc;

fn new() -> Value {
    json!({ "url": "https://hooks.example.com/secret-path?k=1", "events": ["completed", "dsr.request.needs_attention", "completed"], "description": "tickets" })
}

async fn made(edge: &super::Edge) -> Value {
    let made = edge.call(&edge.acme.admin, "POST", "/v1/webhooks", Some(&new())).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

#[tokio::test]
async fn an_endpoint_is_made_listed_rotated_and_removed_and_its_secret_is_shown_once() {
    let edge = edge().await;
    let first = made(&edge).await;
    let secret = first["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && first["id"].as_str().unwrap().starts_with("whk_"), "{first}");
    assert_eq!(first["events"], json!(["completed", "needs_attention"]));
    let path = format!("/v1/webhooks/{}", first["id"].as_str().unwrap());
    let one = edge.call(&edge.acme.admin, "GET", &path, None).await;
    assert_eq!(one.json()["url"], "https://hooks.example.com/secret-path?k=1");
    assert!(!one.text().contains("whsec_"), "{}", one.text());
    // Whoever only looks is told where it is, not the path.
    let list = edge.call(&edge.acme.auditor, "GET", "/v1/webhooks", None).await;
    assert_eq!(list.json()["webhooks"][0]["origin"], "https://hooks.example.com");
    assert_eq!(list.json()["webhooks"][0]["state"], "enabled");
    assert!(!list.text().contains("secret-path") && !list.text().contains("whsec_"), "{}", list.text());
    assert_eq!(edge.call(&edge.acme.user, "GET", &path, None).await.status, 403);

    let rotated = edge.call(&edge.acme.admin, "POST", &format!("{path}/rotate"), None).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    assert_ne!(rotated.json()["secret"], first["secret"]);
    assert!(rotated.json()["old_secret_signs_until"].is_string());
    let not_disabled = edge.call(&edge.acme.admin, "POST", &format!("{path}/enable"), None).await;
    assert_eq!(not_disabled.status, 409);
    let test = edge.call(&edge.acme.admin, "POST", &format!("{path}/test"), None).await;
    assert_eq!(test.status, 409);
    assert!(test.text().contains("503"), "{}", test.text());

    assert_eq!(edge.call(&edge.acme.admin, "DELETE", &path, None).await.status, 204);
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/rotate")),
        ("POST", format!("{path}/test")),
        ("POST", format!("{path}/enable")),
    ] {
        assert_eq!(edge.call(&edge.acme.admin, method, &path, None).await.status, 404, "{method} {path}");
    }
    let events = edge.call(&edge.acme.admin, "GET", "/v1/audit", None).await.text();
    for kind in ["webhook_created", "webhook_secret_rotated", "webhook_removed"] {
        assert!(events.contains(kind), "{kind}: {events}");
    }
    assert!(
        events.contains("hooks.example.com") && !events.contains("secret-path") && !events.contains("whsec_"),
        "{events}"
    );
}

#[tokio::test]
async fn every_fault_of_a_new_endpoint_is_told_at_once() {
    let edge = edge_with(|api| Api {
        check_callback: Arc::new(|url| {
            let policy = redress_jobs::outbound::OutboundPolicy::default();
            policy.check_url(url).map(drop).map_err(|fault| fault.to_string())
        }),
        ..api
    })
    .await;
    let bad = json!({ "url": "https://10.0.0.1/x", "events": ["completed", "exploded"], "description": "a\nb", "secret": "mine" });
    let answer = edge.call(&edge.acme.admin, "POST", "/v1/webhooks", Some(&bad)).await;
    assert_eq!(answer.status, 422);
    for pointer in ["/url", "/events/1", "/description", "/secret"] {
        assert!(answer.text().contains(&format!("\"{pointer}\"")), "{pointer}: {}", answer.text());
    }
    for url in [
        "http://hooks.example.com/",
        "https://localhost/",
        "https://u:p@hooks.example.com/",
        "https://hooks.example.com/#x",
        "ftp://x",
        "",
        "https://hooks.example.com:5432/",
    ] {
        let answer = edge.call(&edge.acme.admin, "POST", "/v1/webhooks", Some(&json!({ "url": url }))).await;
        assert_eq!(answer.status, 422, "{url}");
    }
    assert_eq!(edge.call(&edge.acme.admin, "POST", "/v1/webhooks", Some(&json!({}))).await.status, 422);
    assert_eq!(edge.call(&edge.acme.admin, "GET", "/v1/webhooks", None).await.json(), json!({ "webhooks": [] }));
}

#[tokio::test]
async fn another_controllers_endpoint_is_not_there_and_there_are_not_too_many() {
    let edge = edge().await;
    let path = format!("/v1/webhooks/{}", made(&edge).await["id"].as_str().unwrap());
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/rotate")),
        ("POST", format!("{path}/test")),
    ] {
        assert_eq!(edge.call(&edge.other.admin, method, &path, None).await.status, 404, "{method} {path}");
    }
    for _ in 1..16 {
        made(&edge).await;
    }
    let one_more = edge.call(&edge.acme.admin, "POST", "/v1/webhooks", Some(&new())).await;
    assert_eq!(one_more.status, 409, "{}", one_more.text());
    assert_eq!(edge.call(&edge.other.admin, "POST", "/v1/webhooks", Some(&new())).await.status, 201);
}

#[tokio::test]
async fn the_board_lists_tries_out_and_makes_endpoints_and_shows_a_secret_once() {
    let edge =
        edge_with(|api| Api { test_webhook: Arc::new(|_: ControllerId, _, _| Box::pin(async { Ok(204) })), ..api })
            .await;
    let page = async |key: &str| edge.page("/settings/webhooks", "dsr.example", Some(key)).await.text();
    let empty = page(&edge.acme.admin).await;
    assert!(empty.contains("No controller has one yet") && empty.contains("/act/v1/webhooks"), "{empty}");
    let form = "url=https%3A%2F%2Fhooks.example.com%2Fsecret-path&events%3Alist=completed&events%3Alist=rejected&description=%3Cb%3Etickets";
    let shown = edge.form(&edge.acme.admin, "/act/v1/webhooks", form).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    assert!(shown.text().contains("whsec_") && shown.header("cache-control") == "no-store", "{}", shown.text());
    let listed = page(&edge.acme.admin).await;
    assert!(listed.contains("https://hooks.example.com") && listed.contains("completed, rejected"), "{listed}");
    assert!(
        listed.contains("&lt;b&gt;tickets") && !listed.contains("whsec_") && !listed.contains("secret-path"),
        "{listed}"
    );
    let id = edge.call(&edge.acme.admin, "GET", "/v1/webhooks", None).await.json()["webhooks"][0]["id"].clone();
    let id = id.as_str().unwrap();
    let tested = edge
        .form(&edge.acme.admin, &format!("/act/v1/webhooks/{id}/test"), "_done=tested&_next=/settings/webhooks")
        .await;
    assert_eq!((tested.status.as_u16(), tested.header("location")), (303, "/settings/webhooks?done=tested"));
    // Whoever decides sees them and has no forms; another controller sees none.
    let user = page(&edge.acme.user).await;
    assert!(user.contains("https://hooks.example.com") && !user.contains("/act/v1/webhooks"), "{user}");
    assert!(!page(&edge.other.admin).await.contains("hooks.example.com"));
    edge.sql("UPDATE webhooks SET disabled_at = 1, disabled_why = 'gone'").await;
    let disabled = page(&edge.acme.admin).await;
    assert!(
        disabled.contains("gone for good") && disabled.contains(&format!("/act/v1/webhooks/{id}/enable")),
        "{disabled}"
    );
    let enabled =
        edge.form(&edge.acme.admin, &format!("/act/v1/webhooks/{id}/enable"), "_next=/settings/webhooks").await;
    assert_eq!(enabled.status, 303, "{}", enabled.text());
    assert!(!page(&edge.acme.admin).await.contains("gone for good"));
}
