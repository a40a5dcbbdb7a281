//! The board: what it shows, to whom, and what it never shows.

mod controllers;
mod links;
mod one_request;
mod request_list;
mod today;

use crate::http::Api;
use crate::http::tests::{ALL, Answer, Edge, edge, edge_with, request};
use serde_json::json;

async fn open() -> Edge {
    edge_with(|api| Api { board_open: true, ..api }).await
}

async fn submit(edge: &Edge, key: &str, kind: &str) -> String {
    let mut body = request(kind);
    body["reference"] = json!("canary-reference");
    edge.call(key, "POST", "/v1/requests", Some(&body)).await.json()["id"].as_str().unwrap().to_owned()
}

/// What a browser shows at this address for whoever has this key.
async fn shown(edge: &Edge, key: &str, path: &str) -> Answer {
    edge.page(path, "dsr.example", Some(key)).await
}

/// Sends a form of this page with what a person put into its fields.
async fn send(edge: &Edge, key: &str, page: &str, call: &str, fields: &[(&str, &str)]) -> Answer {
    let text = shown(edge, key, page).await.text();
    assert!(text.contains(&format!("action=\"/act{call}\"")), "the page has no form for {call}");
    let token =
        text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form").to_owned();
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let fields = form.append_pair("csrf", &token).append_pair("_next", page).extend_pairs(fields).finish();
    let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("me:{key}"));
    let request = axum::http::Request::post(format!("/act{call}"))
        .header("host", "dsr.example")
        .header("origin", "https://dsr.example")
        .header("authorization", format!("Basic {pair}"))
        .header("accept", "text/html")
        .header("content-type", "application/x-www-form-urlencoded");
    edge.send(request.body(axum::body::Body::from(fields)).unwrap()).await
}

#[tokio::test]
async fn an_empty_board_says_what_to_do_first() {
    let page = open().await.page("/", "localhost:8080", None).await.text();
    assert!(page.contains("No requests yet") && page.contains("redress controller create"), "{page}");
}

#[tokio::test]
async fn the_board_shows_every_controllers_requests_without_anything_personal() {
    let edge = open().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let (ours, theirs) =
        (submit(&edge, &edge.acme.user, "deletion").await, submit(&edge, &edge.other.user, "access").await);
    edge.store.advance_due(10).await.unwrap();
    for host in ["localhost:8080", "127.0.0.1", "127.0.0.1:80", "[::1]:8080"] {
        let page = edge.page("/requests", host, None).await.text();
        assert!(page.contains(&ours) && page.contains(&theirs), "{host}");
        assert!(page.contains("acme") && page.contains("in progress") && page.contains("needs attention"), "{page}");
        assert!(!page.contains("canary") && !page.contains("jane") && !page.contains("<script>"), "{page}");
    }
    let page = edge.page(&format!("/requests/{ours}"), "localhost", None).await.text();
    assert!(page.contains("Why these dates") && page.contains("crm") && page.contains("work began"), "{page}");
    assert!(!page.contains("canary") && !page.contains("jane"), "{page}");
}

#[tokio::test]
async fn what_is_paused_stands_above_everything_for_those_whom_it_concerns() {
    use redress_store::Scope;
    let edge = open().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let board = || async { edge.page("/", "localhost", None).await.text() };
    assert!(!board().await.contains("Paused:"));
    let id = edge.store.controller_by_name("acme").await.unwrap().unwrap().id;
    edge.store.pause_system(&id, "crm", true, "operator").await.unwrap();
    assert!(board().await.contains("Paused: acme/crm."));
    edge.store.pause(&Scope::Controller(id), true, "operator").await.unwrap();
    edge.store.pause(&Scope::All, true, "operator").await.unwrap();
    assert!(board().await.contains("Paused: everything, all of acme, acme/crm."));
    let theirs = edge.page("/", "redress", Some(&edge.other.user)).await.text();
    assert!(theirs.contains("Paused: everything. Nothing new"), "no name of another: {theirs}");
    let system = edge.get("/v1/systems/crm").await.json();
    assert_eq!((&system["paused"], &system["paused_by"]), (&json!(true), &json!("installation")));
}

#[tokio::test]
async fn a_status_filters_the_board() {
    let edge = open().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let (ours, theirs) =
        (submit(&edge, &edge.acme.user, "deletion").await, submit(&edge, &edge.other.user, "access").await);
    edge.store.advance_due(10).await.unwrap();
    let page = edge.page("/requests?status=needs_attention", "localhost", None).await.text();
    assert!(page.contains(&theirs) && !page.contains(&ours));
    assert!(
        edge.page("/requests?status=verifying", "localhost", None).await.text().contains("No request is verifying")
    );
    assert_eq!(edge.page("/requests?status=x", "localhost", None).await.status, 422);
}

#[tokio::test]
async fn what_is_due_first_comes_first_and_what_ended_stands_in_a_list_of_its_own() {
    let edge = open().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let mut order = Vec::new();
    for received in ["2026-11-18T09:00:00Z", "2026-10-20T09:00:00Z", "2026-11-10T09:00:00Z"] {
        let mut body = request("access");
        body["data_subject_received_at"] = json!(received);
        let view = edge.submit(&body).await.json();
        order.push((view["deadlines"]["effective"]["due_before"].to_string(), view["id"].as_str().unwrap().to_owned()));
    }
    order.sort();
    let ended = submit(&edge, &edge.acme.user, "deletion").await;
    edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{ended}/withdraw"), None).await;
    let page = edge.page("/requests", "localhost", None).await.text();
    let places: Vec<usize> = order.iter().map(|(_, id)| page.find(id.as_str()).unwrap()).collect();
    assert!(places.is_sorted() && !page.contains(&ended), "{places:?}");
    let page = edge.page("/requests?open=false", "localhost", None).await.text();
    assert!(page.contains(&ended) && !page.contains(&order[0].1));
}

#[tokio::test]
async fn elsewhere_the_board_asks_for_a_key_and_shows_its_controller_only() {
    let edge = edge().await;
    let (ours, theirs) =
        (submit(&edge, &edge.acme.user, "deletion").await, submit(&edge, &edge.other.user, "access").await);
    for path in ["/".to_owned(), "/requests".to_owned(), format!("/requests/{ours}")] {
        for password in [None, Some("wrong"), Some("")] {
            let answer = edge.page(&path, "localhost", password).await;
            assert_eq!(answer.status, 401, "{path} {password:?}");
            assert!(answer.header("www-authenticate").starts_with("Basic "));
            assert!(!answer.text().contains(&ours));
        }
    }
    let page = edge.page("/requests", "dsr.example", Some(&edge.acme.auditor)).await.text();
    assert!(page.contains(&ours) && !page.contains(&theirs));
    assert_eq!(edge.page(&format!("/requests/{theirs}"), "dsr.example", Some(&edge.acme.admin)).await.status, 404);
}

#[tokio::test]
async fn a_web_site_or_a_proxy_that_leads_here_does_not_open_the_board() {
    let edge = open().await;
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "0.0.0.0:8080"] {
        assert_eq!(edge.page("/", host, None).await.status, 401, "{host}");
    }
    let proxied = axum::http::Request::get("/").header("host", "localhost").header("x-forwarded-for", "203.0.113.9");
    assert_eq!(edge.send(proxied.body(axum::body::Body::empty()).unwrap()).await.status, 401);
}

#[tokio::test]
async fn a_page_may_load_what_is_served_here_and_nothing_else() {
    let edge = open().await;
    let answer = edge.page("/", "localhost", None).await;
    let page = answer.text();
    let policy = answer.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    assert!(!page.contains("style=\"") && !page.contains("http://") && !page.contains("https://"), "{page}");
    assert!(!page.contains("<style") && !page.contains(" onclick") && !page.contains("<script>"), "{page}");
    let assets: Vec<&str> = page.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for path in assets {
        let asset = edge.page(path, "localhost", None).await;
        assert_eq!(asset.status, 200, "{path}");
        assert!(asset.header("cache-control").contains("immutable"), "{path}");
        let old = path.replacen("/assets/", "/assets/0", 1);
        assert_eq!(edge.page(&old, "localhost", None).await.status, 404, "{old}");
    }
    assert_eq!(edge.page("/", "localhost", None).await.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_form_is_a_call_of_the_interface_with_the_same_rights_and_the_same_faults() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let id = submit(&edge, &edge.acme.user, "deletion").await;
    let act = |key: &str, path: String, origin: &str, fields: String| {
        let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("me:{key}"));
        let request = axum::http::Request::post(format!("/act{path}"))
            .header("host", "dsr.example")
            .header("origin", origin)
            .header("authorization", format!("Basic {pair}"))
            .header("accept", "text/html")
            .header("content-type", "application/x-www-form-urlencoded");
        edge.send(request.body(axum::body::Body::from(fields)).unwrap())
    };
    let page = edge.page(&format!("/requests/{id}"), "dsr.example", Some(&edge.acme.user)).await.text();
    let token =
        |page: &str| page.split("name=\"csrf\" value=\"").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    let token = token(&page).expect("the page has a form");
    let here = "https://dsr.example";
    let withdraw = format!("/v1/requests/{id}/withdraw");
    let fields = format!("csrf={token}&_next=%2Frequests%2F{id}&_done=withdrawn");
    // Another site, no token, another's token, a key that may not, another controller's key: nothing happens.
    for (key, origin, fields, status) in [
        (&edge.acme.user, "https://evil.example", fields.clone(), 403),
        (&edge.acme.user, here, String::new(), 403),
        (&edge.acme.auditor, here, fields.clone(), 403),
        (&edge.other.user, here, fields.clone(), 403),
    ] {
        assert_eq!(act(key, withdraw.clone(), origin, fields).await.status, status);
    }
    assert_eq!(edge.get(&format!("/v1/requests/{id}")).await.json()["closed_at"], json!(null));
    let answer = act(&edge.acme.user, withdraw.clone(), here, fields.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, &*format!("/requests/{id}?done=withdrawn")));
    assert_eq!(edge.get(&format!("/v1/requests/{id}")).await.json()["status"], "withdrawn");
    let again = act(&edge.acme.user, withdraw, here, fields).await;
    assert_eq!(again.status, 409);
    assert!(
        again.text().contains("Not possible as things stand") && again.header("content-type").starts_with("text/html")
    );
    // Where a form leads afterwards is always here.
    let elsewhere = format!("csrf={token}&_next=%2F%2Fevil.example");
    let answer = act(&edge.acme.user, format!("/v1/requests/{id}/retry"), here, elsewhere).await;
    assert!(!answer.text().contains("evil.example") && !answer.header("location").contains("evil.example"));
}
