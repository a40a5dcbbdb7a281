//! Controllers: how much, whether in time, by which instructions, with which keys; a key's text is shown once.

use super::submit;
use crate::http::tests::{ALL, Answer, Edge, edge};
use axum::body::Body;
use base64::Engine as _;
use redress_domain::RequestType;

const HOST: &str = "dsr.example";

async fn post(edge: &Edge, key: &str, path: &str, origin: &str, fields: &str) -> Answer {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{key}"));
    let request = axum::http::Request::post(path)
        .header("host", HOST)
        .header("origin", origin)
        .header("authorization", format!("Basic {pair}"))
        .header("accept", "text/html")
        .header("content-type", "application/x-www-form-urlencoded");
    edge.send(request.body(Body::from(fields.to_owned())).unwrap()).await
}

fn token(page: &str) -> String {
    page.split("name=\"csrf\" value=\"").nth(1).expect("a form").split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_controller_is_shown_with_its_volumes_and_instructions() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", &[RequestType::Access], &[]).await;
    let id = submit(&edge, &edge.acme.user, "access").await;
    submit(&edge, &edge.acme.user, "access").await;
    edge.sql(&format!("UPDATE dsrs SET stage = 'completed', status = 'completed', closed_at = instruction_received_at + 1000 WHERE id = '{id}'")).await;
    let list = edge.page("/controllers", HOST, Some(&edge.acme.user)).await.text();
    assert!(
        list.contains("href=\"/controllers/acme\"") && list.contains("100.0 %") && !list.contains("other"),
        "{list}"
    );
    let page = edge.page("/controllers/acme", HOST, Some(&edge.acme.user)).await.text();
    assert!(page.contains("1 open, 2 received and 1 ended"), "{page}");
    assert!(page.contains("November 2026") && page.contains("August 2026") && page.contains("100.0 %"), "{page}");
    assert!(page.contains("href=\"/systems/acme/crm\"") && page.contains("Standing instructions"), "{page}");
    assert!(!page.contains("API keys"), "keys are for those who make them: {page}");
    assert!(!page.contains("canary") && !page.contains("jane"), "{page}");
}

#[tokio::test]
async fn how_long_answers_took_is_told_by_what_half_and_most_of_them_took() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", &[RequestType::Access], &[]).await;
    for n in 0..20 {
        let id = submit(&edge, &edge.acme.user, "access").await;
        let days = if n < 18 { 2 } else { 9 };
        edge.sql(&format!("UPDATE dsrs SET stage = 'completed', status = 'completed', closed_at = instruction_received_at + {days} * 86400000 WHERE id = '{id}'")).await;
    }
    edge.clock.advance(jiff::SignedDuration::from_hours(240));
    let page = edge.page("/controllers/acme", HOST, Some(&edge.acme.user)).await.text();
    assert!(page.contains("Half of the answers took 2.0 days or less, 95 of 100 took 9 or less."), "{page}");
    let system = edge.page("/systems/acme/crm", HOST, Some(&edge.acme.user)).await.text();
    assert!(system.contains("What a step takes is a mean") && system.contains("nobody has said"), "{system}");
}

#[tokio::test]
async fn another_controller_is_not_there() {
    let edge = edge().await;
    for name in ["other", "nobody", "%3Cb%3E", "acme%00"] {
        let answer = edge.page(&format!("/controllers/{name}"), HOST, Some(&edge.acme.admin)).await;
        assert_eq!(answer.status, 404, "{name}");
    }
    assert_eq!(edge.page("/controllers?x=1", HOST, Some(&edge.acme.admin)).await.status, 422);
    let page = edge.page("/controllers?after=acme", HOST, Some(&edge.acme.admin)).await.text();
    assert!(!page.contains("href=\"/controllers/acme\""), "{page}");
}

#[tokio::test]
async fn a_key_is_made_by_those_who_may_and_its_text_is_shown_once() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let page = edge.page("/controllers/acme", HOST, Some(&edge.acme.admin)).await.text();
    assert!(page.contains("API keys") && !page.contains("rk_"), "{page}");
    let (here, token) = (format!("https://{HOST}"), token(&page));
    let fields = format!("csrf={token}&role=auditor");
    let path = "/controllers/acme/keys";
    let before = edge.store.keys(&edge.acme.id).await.unwrap().len();
    for (key, origin, path, fields, status) in [
        (&edge.acme.admin, "https://evil.example", path, fields.as_str(), 403),
        (&edge.acme.admin, here.as_str(), path, "role=auditor", 403),
        (&edge.acme.user, here.as_str(), path, fields.as_str(), 403),
        (&edge.other.admin, here.as_str(), path, fields.as_str(), 403),
        (&edge.acme.admin, here.as_str(), "/controllers/other/keys", fields.as_str(), 404),
        (&edge.acme.admin, here.as_str(), path, &format!("csrf={token}&role=admin"), 422),
    ] {
        let answer = post(&edge, key, path, origin, fields).await;
        assert_eq!(answer.status, status, "{path} {fields}: {}", answer.text());
        assert!(!answer.text().contains("rk_"));
    }
    assert_eq!(edge.store.keys(&edge.acme.id).await.unwrap().len(), before, "nothing was made");
    let answer = post(&edge, &edge.acme.admin, path, &here, &fields).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let text = answer.text();
    let key = format!("rk_{}", text.split("rk_").nth(1).expect("the key").split('<').next().unwrap());
    let caller = edge.store.authenticate(&key).await.unwrap().expect("it holds");
    assert_eq!((caller.controller_id, caller.role), (edge.acme.id.clone(), redress_domain::Role::Auditor));
    let page = edge.page("/controllers/acme", HOST, Some(&edge.acme.admin)).await.text();
    assert!(!page.contains("rk_") && page.contains(caller.key_id.as_str()), "{page}");
    // It is revoked from the same page.
    let fields = format!("csrf={token}&_method=delete&_next=%2Fcontrollers%2Facme&_done=revoked");
    let answer = post(&edge, &edge.acme.admin, &format!("/act/v1/keys/{}", caller.key_id), &here, &fields).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/controllers/acme?done=revoked"));
    assert!(edge.store.authenticate(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn texts_of_a_controller_stay_texts() {
    let edge = edge().await;
    let hostile = "<script>alert(1)</script>\u{202e}&\"";
    edge.sql(&format!("UPDATE controllers SET contact = '{hostile}', country = 'DE' WHERE name = 'acme'")).await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    edge.sql(&format!("UPDATE systems SET family = '{hostile}', problem_code = '{hostile}'")).await;
    let page = edge.page("/controllers/acme", HOST, Some(&edge.acme.admin)).await.text();
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert(1)"), "{page}");
}
