//! What people do with the installation itself: who may, what is recorded, and that it verifies.

use super::{Answer, Edge, edge};
use axum::body::Body;
use axum::http::{Method, Request, header};
use redress_domain::notice::{Channel, Delivery, NotifyRole};
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

#[tokio::test]
async fn people_are_administered_by_those_who_may_and_by_nobody_else() {
    let edge = edge().await;
    let admin = edge.person("ada", &[Role::Admin], None).await;
    let bo = edge.person("bo", &[Role::Auditor], None).await;
    let confined = edge.person("cy", &[Role::Admin], Some(vec![edge.acme.id.clone()])).await;
    let path = format!("/v1/users/{}", bo.id);
    let body = json!({ "roles": ["privacy_lead"], "controllers": ["acme"], "disabled": false });
    let calls = [
        ("GET", "/v1/users".to_owned(), None),
        ("PUT", path.clone(), Some(&body)),
        ("POST", format!("{path}/sign-out"), None),
        ("GET", "/v1/sessions".to_owned(), None),
        ("POST", "/v1/notify-routes/x/test".to_owned(), None),
    ];
    for (method, path, body) in &calls {
        for person in [&bo, &confined] {
            assert_eq!(edge.by(person, method, path, *body).await.status, 403, "{method} {path}");
        }
        assert_eq!(edge.call(&edge.acme.admin, method, path, *body).await.status, 403, "a key: {method} {path}");
        let nobody = Request::builder().method(*method).uri(path).body(Body::empty()).unwrap();
        assert_eq!(edge.send(nobody).await.status, 401, "{method} {path}");
    }
    let list = edge.by(&admin, "GET", "/v1/users", None).await.json();
    assert_eq!((list["users"].as_array().unwrap().len(), &list["next"]), (3, &Value::Null));
    let listed = list["users"].as_array().unwrap().iter().find(|user| user["id"] == admin.id.as_str()).unwrap();
    assert_eq!((&listed["email"], &listed["controllers"]), (&json!("ada@canary.example"), &Value::Null));
    let paged = edge.by(&admin, "GET", "/v1/users?limit=2", None).await.json();
    let next = format!("/v1/users?after={}", paged["next"].as_str().unwrap());
    assert_eq!(edge.by(&admin, "GET", &next, None).await.json()["users"].as_array().unwrap().len(), 1);

    let changed = edge.by(&admin, "PUT", &path, Some(&body)).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = changed.json();
    assert_eq!(changed["roles"], json!(["privacy_lead"]));
    assert_eq!((&changed["controllers"], &changed["given_by_hand"]), (&json!(["acme"]), &json!(true)));
    // It holds at the next call, for that controller and no other.
    assert_eq!(edge.by(&bo, "GET", "/v1/requests?controller=acme", None).await.status, 200);
    assert_eq!(edge.by(&bo, "GET", "/v1/requests?controller=other", None).await.status, 404);
    let events = edge.store.staff_events(0, 100).await.unwrap();
    let event = events.iter().find(|event| event.kind == "user_changed").unwrap();
    assert_eq!((event.actor.as_str(), &event.data["roles_before"]), (admin.id.as_str(), &json!(["auditor"])));

    for (body, pointers) in [
        (json!({ "roles": ["root", 1] }), vec!["/roles/0", "/roles/1"]),
        (json!({ "roles": [], "controllers": ["nobody's"] }), vec!["/controllers/0"]),
        (json!({ "roles": ["controller_user"] }), vec!["/controllers"]),
        (json!({ "roles": ["controller_user"], "controllers": ["acme", "other"] }), vec!["/controllers"]),
        (json!({ "roles": "admin", "disabled": "yes", "x": 1 }), vec!["/roles", "/disabled", "/x"]),
        (json!([]), vec![""]),
    ] {
        let mut found = edge.by(&admin, "PUT", &path, Some(&body)).await.pointers();
        let mut wanted: Vec<String> = pointers.into_iter().map(str::to_owned).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{body}");
    }
    let own = format!("/v1/users/{}", admin.id);
    assert_eq!(edge.by(&admin, "PUT", &own, Some(&json!({ "roles": [] }))).await.status, 409, "the last one stays");
    assert_eq!(edge.by(&admin, "PUT", "/v1/users/usr_0000000000000000000000000f", Some(&body)).await.status, 404);
    assert_eq!(edge.by(&admin, "PUT", &path, Some(&json!({ "disabled": true }))).await.status, 200);
    assert_eq!(edge.by(&bo, "GET", "/v1/requests?controller=acme", None).await.status, 401);
}

#[tokio::test]
async fn everybody_ends_their_own_sessions_and_administrators_anybodys() {
    let edge = edge().await;
    let admin = edge.person("ada", &[Role::Admin], None).await;
    let (bo, other) = (edge.person("bo", &[], None).await, edge.person("cy", &[Role::PrivacyLead], None).await);
    let path = |person: &Person| format!("/v1/sessions/{}", person.session);
    assert_eq!(edge.by(&other, "DELETE", &path(&bo), None).await.status, 404, "somebody else's");
    assert_eq!(edge.call(&edge.acme.admin, "DELETE", &path(&bo), None).await.status, 403);
    // Without any role one still may.
    assert_eq!(edge.by(&bo, "DELETE", &path(&bo), None).await.status, 204);
    assert_eq!(edge.by(&bo, "DELETE", &path(&bo), None).await.status, 401);
    let sessions = edge.by(&admin, "GET", "/v1/sessions", None).await.json();
    let sessions = sessions["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions.iter().filter(|s| s["current"] == true && s["user"] == admin.id.as_str()).count(), 1);
    assert_eq!(edge.by(&admin, "DELETE", &path(&other), None).await.status, 204);
    assert_eq!(edge.by(&other, "GET", "/v1/requests?controller=acme", None).await.status, 401);
    // What another site asks for is not done.
    let forged = Request::builder()
        .method(Method::DELETE)
        .uri(path(&admin))
        .header(header::HOST, "dsr.example")
        .header(header::ORIGIN, "https://evil.example")
        .header(super::super::auth::TOKEN_HEADER, super::super::auth::token_of(&admin.cookie))
        .header(header::COOKIE, format!("redress_session={}", admin.cookie));
    assert_eq!(edge.send(forged.body(Body::empty()).unwrap()).await.status, 403);
    let signed_out = edge.by(&admin, "POST", &format!("/v1/users/{}/sign-out", admin.id), None).await;
    assert_eq!(signed_out.json(), json!({ "sessions_ended": 1 }));
}

#[tokio::test]
async fn emergency_rights_are_for_those_who_hold_the_role_and_everybody_is_told() {
    let edge = edge().await;
    let desk = redress_store::NewRoute {
        name: "desk".into(),
        role: NotifyRole::Operator,
        channel: Channel::Slack,
        kinds: None,
        delivery: Delivery::Auto,
        timezone: "UTC".into(),
        controllers: None,
        target: redress_store::RouteTarget::default(),
    };
    edge.store.apply_routes(None, &[desk], false, "operator").await.unwrap();
    let scope = Some(vec![edge.acme.id.clone()]);
    let bo = edge.person("bo", &[Role::BreakGlass], scope.clone()).await;
    let other = edge.person("cy", &[Role::PrivacyAnalyst], scope).await;
    let ada = edge.person("ada", &[Role::Admin], None).await;
    let body = json!({ "reason": "the CRM is down and nobody else is here", "minutes": 15 });
    assert_eq!(edge.by(&other, "POST", "/v1/break-glass", Some(&body)).await.status, 403);
    assert_eq!(edge.call(&edge.acme.admin, "POST", "/v1/break-glass", Some(&body)).await.status, 403);
    assert_eq!(edge.by(&bo, "DELETE", "/v1/break-glass", None).await.status, 409);
    for (body, wanted) in [
        (json!({}), vec!["/minutes", "/reason"]),
        (json!({ "reason": "too short", "minutes": 61 }), vec!["/minutes", "/reason"]),
        (json!({ "reason": "long enough for it", "minutes": 4 }), vec!["/minutes"]),
        (json!({ "reason": "x".repeat(501), "minutes": 5 }), vec!["/reason"]),
        (json!({ "reason": "ten letters \u{0} and one", "minutes": 5 }), vec!["/reason"]),
        (json!({ "reason": 1, "minutes": "5" }), vec!["/minutes", "/reason"]),
    ] {
        let mut found = edge.by(&bo, "POST", "/v1/break-glass", Some(&body)).await.pointers();
        found.sort();
        assert_eq!(found, wanted, "{body}");
    }
    // Without it there is not even the list of requests, but one's sessions, where it is taken up.
    assert_eq!(edge.by(&bo, "GET", "/v1/requests", None).await.status, 403);
    let page = edge.by(&bo, "GET", "/settings/sessions", None).await.text();
    assert!(page.contains("Take up emergency rights") && !page.contains("You hold emergency rights"), "{page}");
    let answer = edge.by(&bo, "POST", "/v1/break-glass", Some(&body)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["until"]), (201, &json!("2026-11-20T10:15:00Z")));
    let message = edge.store.claim_message("one", &[], 60_000).await.unwrap().unwrap();
    assert_eq!(edge.store.announcement(&message.id).await.unwrap().unwrap().user, bo.id);
    assert_eq!(edge.by(&bo, "POST", "/v1/break-glass", Some(&body)).await.status, 409);
    assert_eq!(edge.by(&bo, "GET", "/v1/requests", None).await.status, 200);
    for path in ["/audit", "/settings", "/settings/sessions"] {
        let page = edge.by(&bo, "GET", path, None).await.text();
        assert!(page.contains("You hold emergency rights"), "{path}: {page}");
    }
    // Whoever administers sees the reason, escaped as any text; whoever does not answer for it sees nothing.
    let page = edge.by(&ada, "GET", "/settings/people", None).await.text();
    assert!(page.contains("Emergency rights:") && page.contains("the CRM is down"), "{page}");
    assert!(page.contains("bo &lt;b&gt;Canary&lt;/b&gt;") && !page.contains("<b>Canary"), "{page}");
    assert!(!edge.by(&other, "GET", "/audit", None).await.text().contains("Emergency rights:"));
    // What is seen by them says so.
    edge.connect(&edge.acme, "crm", super::ALL, &[]).await;
    let events = || async { edge.store.events_after(&edge.acme.id, 0, 1_000).await.unwrap() };
    assert!(events().await.iter().any(|event| event.kind == "break_glass" && event.actor == bo.id.as_str()));
    assert!(!events().await.iter().any(|event| event.data.to_string().contains("CRM is down")));
    assert_eq!(edge.by(&bo, "DELETE", "/v1/break-glass", None).await.status, 204);
    assert_eq!(edge.by(&bo, "GET", "/v1/requests", None).await.status, 403);
    assert_eq!(events().await.last().unwrap().kind, "break_glass_ended");
    // It ends by itself.
    edge.by(&bo, "POST", "/v1/break-glass", Some(&body)).await;
    edge.clock.advance(jiff::SignedDuration::from_mins(15));
    assert_eq!(edge.by(&bo, "GET", "/v1/requests", None).await.status, 403);
}

#[tokio::test]
async fn a_view_by_emergency_rights_says_so_in_its_event() {
    let caller = |under_glass| super::super::auth::Caller {
        controller_id: ControllerId::from_parts(1, [1; 10]),
        actor: "usr_x".into(),
        pseudonymised: false,
        sees_everybody: false,
        under_glass,
        sees_gagged: false,
    };
    assert_eq!(caller(false).seen(json!({ "a": 1 })), json!({ "a": 1 }));
    assert_eq!(caller(true).seen(json!({ "a": 1 })), json!({ "a": 1, "break_glass": true }));
}

#[tokio::test]
async fn a_route_is_tried_by_name_and_what_became_of_it_is_told() {
    use redress_domain::notice::{Channel, Delivery, NotifyRole};
    use redress_store::{NewRoute, RouteTarget};
    let (tried, hears) = std::sync::mpsc::channel();
    let edge = super::edge_with(|api| super::super::Api {
        test_route: std::sync::Arc::new(move |id| {
            tried.send(id).unwrap();
            Box::pin(async { Err("it could not be reached".to_owned()) })
        }),
        ..api
    })
    .await;
    let admin = edge.person("ada", &[Role::Admin], None).await;
    let route = NewRoute {
        name: "team".into(),
        role: NotifyRole::PrivacyTeam,
        channel: Channel::Slack,
        kinds: None,
        delivery: Delivery::Auto,
        timezone: "Europe/Berlin".into(),
        controllers: None,
        target: RouteTarget { url: Some("https://hooks.canary.example/x".to_owned().into()), ..RouteTarget::default() },
    };
    for owner in [None, Some(&edge.acme.id)] {
        edge.store.apply_routes(owner, std::slice::from_ref(&route), false, "test").await.unwrap();
    }
    assert_eq!(edge.by(&admin, "POST", "/v1/notify-routes/nobody/test", None).await.status, 404);
    assert_eq!(edge.by(&admin, "POST", "/v1/notify-routes/team/test", None).await.status, 422, "two are named so");
    let answer = edge.by(&admin, "POST", "/v1/notify-routes/team/test?controller=operator", None).await;
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("could not be reached"), "{}", answer.text());
    assert_eq!(hears.try_iter().count(), 1);
    let events = edge.store.staff_events(0, 100).await.unwrap();
    assert_eq!(events.last().unwrap().data, json!({ "route": "team", "owner": "operator", "taken": false }));
    let page = edge.by(&admin, "GET", "/settings/notifications", None).await.text();
    assert!(page.contains("operator/team") && page.contains("acme/team") && page.contains("none yet"), "{page}");
    assert!(!page.contains("canary"), "no address: {page}");
}

#[tokio::test]
async fn the_settings_show_to_each_what_concerns_them() {
    let edge = edge().await;
    let admin = edge.person("ada", &[Role::Admin], None).await;
    let lead = edge.person("lea", &[Role::PrivacyLead], Some(vec![edge.acme.id.clone()])).await;
    for (person, path, status, holds) in [
        (&admin, "/settings", 200, "People who signed in"),
        (&admin, "/settings/people", 200, "lea &lt;b&gt;"),
        (&admin, "/settings/installation", 200, "The key that signs"),
        (&admin, "/settings/webhooks", 200, "nothing told yet"),
        (&admin, "/settings/nowhere", 404, "Not Found"),
        (&lead, "/settings", 200, "Who may do what"),
        (&lead, "/settings/people", 403, "may not say who may do what"),
        (&lead, "/settings/webhooks", 200, "acme"),
        (&lead, "/settings/sessions", 200, "this one"),
        (&lead, "/audit?log=staff", 403, "staff log"),
        (&admin, "/audit?log=staff", 200, "Staff log"),
    ] {
        let answer = edge.by(person, "GET", path, None).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(answer.text().contains(holds), "{path}: {}", answer.text());
    }
    assert!(!edge.by(&lead, "GET", "/settings/webhooks", None).await.text().contains("other"));
    let page = edge.page("/settings/sessions", "dsr.example", Some(&edge.acme.user)).await.text();
    assert!(page.contains("You look with an API key"), "{page}");
    assert_eq!(edge.page("/settings/sessions", "dsr.example", None).await.status, 401);
}

#[tokio::test]
async fn the_audit_page_says_what_happened_in_sentences_and_keeps_the_raw_data_beside() {
    let edge = edge().await;
    let admin = edge.person("ada", &[Role::Admin], None).await;
    let bo = edge.person("bo", &[Role::Auditor], None).await;
    edge.connect(&edge.acme, "crm", super::ALL, &[]).await;
    let system = edge.store.system_by_name(&edge.acme.id, "crm").await.unwrap().unwrap().id;
    let failed = json!({ "system": system, "verb": "erase", "code": "timed_out" });
    edge.store.record_event(&edge.acme.id, "engine", None, "step_failed", failed).await.unwrap();
    let page = edge.by(&admin, "GET", "/audit", None).await.text();
    assert!(page.contains("<bdi>crm: erase failed (timed out); it is tried again.</bdi>"), "{page}");
    assert!(page.contains("<details><summary>step failed</summary>") && page.contains(system.as_str()), "{page}");
    assert!(page.contains("<span class=\"id\">the engine</span>"), "{page}");
    assert!(page.contains("<option value=\"step_failed\">"), "every kind can be chosen: {page}");
    // Those who see one controller are not told what another's systems are called.
    edge.store
        .record_event(
            &edge.other.id,
            "engine",
            None,
            "step_failed",
            json!({ "system": system, "verb": "erase", "code": "x_y" }),
        )
        .await
        .unwrap();
    let theirs = edge.page("/audit", "dsr.example", Some(&edge.other.auditor)).await.text();
    assert!(!theirs.contains("crm") && theirs.contains("erase failed (x y)"), "{theirs}");
    // The staff log likewise, with its chain looked at.
    let change = json!({ "roles": ["privacy_analyst"], "controllers": null, "disabled": true });
    assert_eq!(edge.by(&admin, "PUT", &format!("/v1/users/{}", bo.id), Some(&change)).await.status, 200);
    let staff = edge.by(&admin, "GET", "/audit?log=staff", None).await.text();
    let said = "What bo &lt;b&gt;Canary&lt;/b&gt; may do was changed: now privacy analyst; before auditor. They may not sign in.";
    assert!(staff.contains(said) && staff.contains("<summary>user changed</summary>"), "{staff}");
    assert!(staff.contains("The chain holds: the last "), "{staff}");
    edge.sql("DROP TRIGGER staff_events_no_update; UPDATE staff_events SET actor = 'usr_x' WHERE seq = 1").await;
    let broken = edge.by(&admin, "GET", "/audit?log=staff", None).await.text();
    assert!(broken.contains("The chain is broken at event 1"), "{broken}");
}

#[tokio::test]
async fn the_audit_page_shows_who_did_what_and_whether_the_chain_holds() {
    let edge = edge().await;
    let admin = edge.person("ada", &[Role::Admin], None).await;
    let lead = edge.person("lea", &[Role::PrivacyLead], Some(vec![edge.acme.id.clone()])).await;
    let dsr = edge.submit(&super::request("access")).await.json()["id"].as_str().unwrap().to_owned();
    let id = redress_domain::DsrId::parse(&dsr).unwrap();
    edge.store
        .record_event(&edge.acme.id, lead.id.as_str(), Some(&id), "package_fetched", json!({ "bytes": 1 }))
        .await
        .unwrap();
    edge.store.record_event(&edge.other.id, "usr_x", None, "noted", json!({ "text": "<script>" })).await.unwrap();
    let page = |person, path: &str| {
        let (edge, path) = (&edge, path.to_owned());
        async move { edge.by(person, "GET", &path, None).await.text() }
    };
    let all = page(&admin, "/audit").await;
    assert!(all.contains("package fetched") && all.contains("personal data") && all.contains(&dsr), "{all}");
    assert!(all.contains("lea &lt;b&gt;") && all.contains("&lt;script&gt;") && !all.contains("<script>"), "{all}");
    // People are named to those who administer people, and nobody sees what is another controller's.
    let ours = page(&lead, "/audit").await;
    assert!(
        ours.contains("package fetched") && ours.contains(lead.id.as_str()) && !ours.contains("lea &lt;b&gt; fetched"),
        "{ours}"
    );
    assert!(!ours.contains("&lt;script&gt;") && ours.contains("Export the whole log"), "{ours}");
    let seen = page(&admin, "/audit?seen=1").await;
    assert!(seen.contains("package fetched") && !seen.contains("controller created"), "{seen}");
    let none = page(&admin, "/audit?kind=nothing_like_it&from=2026-11-01&to=2026-11-30&controller=").await;
    assert!(none.contains("No event is like this"), "{none}");
    let checked = page(&admin, "/audit?controller=acme&check=1").await;
    assert!(checked.contains("The chain holds"), "{checked}");
    assert_eq!(edge.by(&lead, "GET", "/audit?controller=other", None).await.status, 404);
    for wrong in ["from=yesterday", "kind=%3Cx%3E", "request=dsr_1", "x=1", "log=all"] {
        assert_eq!(edge.by(&admin, "GET", &format!("/audit?{wrong}"), None).await.status, 422, "{wrong}");
    }
    // Page by page back to the first event.
    for _ in 0..150 {
        edge.store.record_event(&edge.acme.id, "engine", None, "noted", json!({})).await.unwrap();
    }
    let newest = page(&admin, "/audit?controller=acme&kind=").await;
    let older = newest.split("href=\"").find(|link| link.starts_with("/audit?controller=acme&amp;before=")).unwrap();
    let older = older.split('"').next().unwrap().replace("&amp;", "&");
    assert!(page(&admin, &older).await.contains("controller created"));
}
