//! What people do with the installation itself: who may, what is recorded, and that it verifies.

use super::{Answer, Edge, edge};
use axum::body::Body;
use axum::http::{Method, Request, header};
use redress_domain::{ControllerId, Role, Roles, SessionId, UserId};
use redress_store::Identified;
use serde_json::{Value, json};
use std::time::Duration;

/// Somebody in front of a browser.
pub(super) struct Person {
    pub(super) id: UserId,
    pub(super) session: SessionId,
    pub(super) cookie: String,
}

impl Edge {
    /// Somebody signs in with these roles, for these controllers or for all.
    pub(super) async fn person(&self, name: &str, roles: &[Role], controllers: Option<Vec<ControllerId>>) -> Person {
        let who = Identified {
            issuer: "https://idp.example".into(),
            subject: name.to_owned().into(),
            name: format!("{name} <b>Canary</b>").into(),
            email: Some(format!("{name}@canary.example").into()),
            roles: Roles::new(roles.iter().copied()),
            controllers,
        };
        let (id, session, cookie) = self.store.sign_in(&who, Duration::from_hours(12)).await.unwrap();
        Person { id, session, cookie }
    }

    /// A call that a page's script makes for a person: with the cookie, the token of the page, from our own origin.
    pub(super) async fn by(&self, person: &Person, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(header::HOST, "dsr.example")
            .header(header::ORIGIN, "https://dsr.example")
            .header(super::super::auth::TOKEN_HEADER, super::super::auth::token_of(&person.cookie))
            .header(header::COOKIE, format!("redress_session={}", person.cookie));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        self.send(request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).unwrap()).await
    }
}

#[tokio::test]
async fn the_staff_log_is_exported_to_administrators_and_verifies() {
    let edge = edge().await;
    let admin = edge.person("ada", &[Role::Admin], None).await;
    for n in 0..3 {
        edge.store.record_staff_event("usr_x", "noted", json!({ "n": n })).await.unwrap();
    }
    let answer = edge.by(&admin, "GET", "/v1/staff-audit?after=1", None).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/x-ndjson"));
    let report = redress_jobs::certificate::verify_audit_export(answer.bytes.as_slice()).unwrap();
    assert_eq!((report.controller_id, report.first_seq), (None, 2));
    // Not for keys, not for others, not for an administrator of some controllers only.
    for key in [&edge.acme.admin, &edge.acme.auditor] {
        assert_eq!(edge.call(key, "GET", "/v1/staff-audit", None).await.status, 403);
    }
    let lead = edge.person("lea", &[Role::PrivacyLead, Role::Operator, Role::BreakGlass], None).await;
    let confined = edge.person("cy", &[Role::Admin], Some(vec![edge.acme.id.clone()])).await;
    for person in [&lead, &confined] {
        assert_eq!(edge.by(person, "GET", "/v1/staff-audit", None).await.status, 403);
    }
    assert_eq!(edge.page("/v1/staff-audit", "dsr.example", None).await.status, 401);
    assert_eq!(edge.by(&admin, "GET", "/v1/staff-audit?x=1", None).await.status, 422);
}
