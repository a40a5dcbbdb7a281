//! Who may do what: keys, roles, tenants, and the headers that every answer has.

use super::{ALL, Edge, edge, request};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

/// A body that the route would take from the right caller.
fn body_for(method: &str, path: &str) -> Option<Value> {
    match (method, path) {
        ("post", "/v1/requests") => Some(request("access")),
        ("post", "/v1/keys") => Some(json!({ "role": "auditor" })),
        ("post", p) if p.ends_with("/reject") => Some(json!({ "reason": "unfounded" })),
        ("post", p) if p.ends_with("/extend") => Some(json!({ "reason": "complexity" })),
        ("post", p) if p.ends_with("/pause") && p.contains("/requests/") => Some(json!({ "kind": "identity" })),
        ("post", p) if p.ends_with("/complete") => Some(json!({ "found": 0, "changed": 0 })),
        ("post", p) if p.ends_with("/reveal") => Some(json!({ "reason": "identity_check" })),
        ("put", "/v1/views") => Some(json!({ "name": "late", "query": "late=true" })),
        ("put", _) => Some(json!({ "connector": "postgres" })),
        _ => None,
    }
}

/// Every route under `/v1` that needs a key: method and declared path.
fn guarded() -> Vec<(&'static str, &'static str)> {
    let all = super::super::routes().into_iter().map(|(method, path, ..)| (method, path));
    all.filter(|(_, path)| path.starts_with("/v1") && *path != "/v1/signing-key").collect()
}

async fn theirs(edge: &Edge) -> (String, String) {
    edge.connect(&edge.other, "crm", ALL, &[]).await;
    let answer = edge.call(&edge.other.user, "POST", "/v1/requests", Some(&request("access"))).await;
    let key = edge.call(&edge.other.admin, "GET", "/v1/keys", None).await;
    (answer.json()["id"].as_str().unwrap().to_owned(), key.json()["keys"][0]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn without_a_key_that_holds_every_route_answers_401_with_a_challenge() {
    let edge = edge().await;
    let revoked = {
        let (id, text) =
            edge.store.create_key(&edge.acme.id, redress_domain::Role::ControllerAdmin, "test").await.unwrap();
        edge.store.revoke_key(&edge.acme.id, &id, "test").await.unwrap();
        text
    };
    for (method, path) in guarded() {
        let path = path.replace("{id}", "dsr_01aryz6s410000000000000000").replace("{name}", "crm");
        for key in [None, Some("rk_nothing"), Some(""), Some(revoked.as_str()), Some("rk_01aryz6s410000000000000000_x")]
        {
            let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(&path);
            if let Some(key) = key {
                request = request.header("authorization", format!("Bearer {key}"));
            }
            let answer = edge.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, 401, "{method} {path} {key:?}");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
            answer.problem();
        }
    }
}

/// What concerns the installation and no controller is not for keys at all, whatever their role.
fn is_for_people(path: &str) -> bool {
    ["/v1/users", "/v1/sessions", "/v1/break-glass", "/v1/staff-audit", "/v1/notify-routes"]
        .iter()
        .any(|start| path.starts_with(start))
}

#[tokio::test]
async fn another_controllers_ids_are_not_found_on_every_route() {
    let edge = edge().await;
    let (dsr, key) = theirs(&edge).await;
    let unknown = "dsr_01aryz6s410000000000000000";
    let of_controllers = guarded().into_iter().filter(|(_, path)| !is_for_people(path));
    for (method, path) in of_controllers.filter(|(method, path)| path.contains('{') && *method != "put") {
        let theirs = if path.contains("/keys/") { &key } else { &dsr };
        let answers = [theirs.as_str(), unknown, "nonsense", "..%2f..%2fetc", "a%00b"]
            .map(|id| path.replace("{id}", id).replace("{name}", "crm").replace("{system}", "crm"));
        let mut bodies = Vec::new();
        for path in answers {
            let answer =
                edge.call(&edge.acme.admin, &method.to_uppercase(), &path, body_for(method, &path).as_ref()).await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
            bodies.push(answer.problem());
        }
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "{method} {path} tells which ids exist");
    }
    assert_eq!(
        edge.call(&edge.other.user, "GET", &format!("/v1/requests/{dsr}"), None).await.json()["status"],
        "in_progress"
    );
    assert_eq!(edge.call(&edge.acme.user, "GET", "/v1/requests", None).await.json()["requests"], json!([]));
}

#[tokio::test]
async fn a_role_may_do_what_it_is_for_and_nothing_else() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let id = edge.submit(&request("access")).await.json()["id"].as_str().unwrap().to_owned();
    for (method, path) in guarded() {
        // Views are everybody's own.
        let own = path.starts_with("/v1/views");
        // Whoever decides about requests instructs.
        let instructs = path.starts_with("/v1/instructions");
        let administers = (!own && !instructs && matches!(method, "put" | "delete"))
            // Everybody sees which endpoints there are, without their paths.
            || (path.starts_with("/v1/webhooks") && (method, path) != ("get", "/v1/webhooks"))
            || path.starts_with("/v1/keys")
            // No key says who may do what, nor sees what was done about it.
            || path == "/v1/staff-audit"
            || (path.contains("/systems/") && method == "post");
        // A task shows whose records it is about.
        let acts = administers
            || method == "post"
            || (instructs && method != "get")
            || path.ends_with("/package")
            || path.ends_with("/task");
        let target = path.replace("{name}", "nothing").replace("{id}", &id).replace("{system}", "crm");
        for (role, key, may) in [("auditor", &edge.acme.auditor, !acts), ("user", &edge.acme.user, !administers)] {
            let answer = edge.call(key, &method.to_uppercase(), &target, body_for(method, path).as_ref()).await;
            let may = may && !is_for_people(path);
            assert_eq!(answer.status != 403, may, "{role}: {method} {path} answered {}", answer.status);
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems() {
    let edge = edge().await;
    for path in ["/v1", "/v1/", "/v2/requests", "/v1/requests/", "/v1//requests", "/v1/requests/x/dance"] {
        let answer = edge.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.problem();
    }
    let id = edge.submit(&request("access")).await.json()["id"].as_str().unwrap().to_owned();
    for verb in ["dance", "reopen"] {
        let answer = edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{id}/{verb}"), None).await;
        assert_eq!(answer.status, 404, "{verb}");
    }
    for (method, path, allow) in
        [("DELETE", "/v1/requests", "GET"), ("PATCH", "/v1/systems/crm", "PUT"), ("POST", "/healthz", "GET")]
    {
        let answer = edge.call(&edge.acme.user, method, path, None).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.header("allow").contains(allow), "{method} {path}: {:?}", answer.headers);
        answer.problem();
    }
}

#[tokio::test]
async fn every_answer_keeps_itself_private() {
    let edge = edge().await;
    for path in
        ["/", "/v1/requests", "/v1/nothing", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/signing-key"]
    {
        let answer = edge.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert_eq!(answer.header("x-request-id").len(), 16, "{path}");
    }
}

#[tokio::test]
async fn keys_are_made_shown_once_listed_and_revoked() {
    let edge = edge().await;
    let made = edge.call(&edge.acme.admin, "POST", "/v1/keys", Some(&json!({ "role": "auditor" }))).await;
    assert_eq!(made.status, 201);
    let (id, text) =
        (made.json()["id"].as_str().unwrap().to_owned(), made.json()["api_key"].as_str().unwrap().to_owned());
    assert_eq!(edge.call(&text, "GET", "/v1/requests", None).await.status, 200);
    let list = edge.call(&edge.acme.admin, "GET", "/v1/keys", None).await;
    assert!(list.text().contains(&id) && !list.text().contains("rk_"), "{}", list.text());
    // When each was last used stands with it, on the page too; it is written beside the call.
    let mut uses = Vec::new();
    for _ in 0..200 {
        let list = edge.call(&edge.acme.admin, "GET", "/v1/keys", None).await.json();
        let used = list["keys"].as_array().unwrap().iter().filter(|key| key["last_used_at"] == super::NOW);
        uses = used.map(|key| key["id"].as_str().unwrap().to_owned()).collect();
        if uses.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(uses.len() == 2 && uses.contains(&id), "the administrator's and the new one: {uses:?}");
    let page = edge.page("/controllers/acme", "dsr.example", Some(&edge.acme.admin)).await.text();
    assert_eq!(page.matches("no use recorded").count(), 2, "{page}");
    assert!(page.contains("<time datetime=\"2026-11-20T10:00:00Z\">20 Nov 2026, 11:00 CET</time>"), "{page}");
    let path = format!("/v1/keys/{id}");
    assert_eq!(edge.call(&edge.acme.admin, "DELETE", &path, None).await.status, 204);
    assert_eq!(edge.call(&text, "GET", "/v1/requests", None).await.status, 401);
    for body in [
        json!({}),
        json!({ "role": "operator" }),
        json!({ "role": 1 }),
        json!({ "role": "auditor", "controller_id": "x" }),
    ] {
        assert_eq!(edge.call(&edge.acme.admin, "POST", "/v1/keys", Some(&body)).await.pointers().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn the_service_says_how_it_is_without_a_key() {
    let edge =
        super::edge_with(|api| crate::http::Api { ready: std::sync::Arc::new(|| vec!["silent".into()]), ..api }).await;
    edge.submit(&request("access")).await;
    let get = |path: &'static str| edge.page(path, "redress", None);
    assert_eq!(get("/healthz").await.text(), "ok");
    let ready = get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()), (503, json!({ "ready": false, "reasons": ["silent"] })));
    let metrics = get("/metrics").await.text();
    assert!(metrics.contains("redress_requests{status=\"needs_attention\"} 1\n"), "{metrics}");
    assert!(
        metrics.contains("redress_database_up 1\n") && metrics.contains("redress_build_info{version="),
        "{metrics}"
    );
    assert!(
        metrics.contains("redress_http_answers_total{method=\"POST\",route=\"/v1/requests\",status=\"202\"} 1\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("jane"));
    let key = json!({ "key_id": "k1", "algorithm": "Ed25519", "public_key": "AAAA" });
    assert_eq!(get("/v1/signing-key").await.json(), key);
    assert_eq!(get("/.well-known/redress-signing-key.json").await.json(), key);
}

#[tokio::test]
async fn without_the_database_calls_are_told_to_come_back() {
    let edge = edge().await;
    edge.store.close().await;
    let answer = edge.get("/v1/requests").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "2"), "{}", answer.text());
    assert_eq!(edge.page("/healthz", "redress", None).await.status, 200);
    assert_eq!(edge.page("/readyz", "redress", None).await.status, 503);
    assert!(edge.page("/metrics", "redress", None).await.text().contains("redress_database_up 0\n"));
}

#[tokio::test]
async fn whoever_sees_pseudonyms_only_is_not_told_what_a_controller_calls_its_request() {
    use redress_domain::Role;
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let mut body = request("correction");
    body["reference"] = json!("canary-reference");
    body["corrections"] = json!([{ "field": "email", "value": "canary@new.example" }]);
    edge.connect(&edge.acme, "shop", ALL, &["email"]).await;
    let answer = edge.submit(&body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let wait = json!({ "kind": "identity", "reason": "canary words" });
    let path = format!("/v1/requests/{id}/pause");
    assert_eq!(edge.call(&edge.acme.user, "POST", &path, Some(&wait)).await.status, 200);
    let paths = ["/v1/requests".to_owned(), format!("/v1/requests/{id}"), format!("/v1/requests/{id}/events")];
    for (role, sees) in [
        (Role::PrivacyAnalyst, true),
        (Role::PrivacyLead, true),
        (Role::Auditor, false),
        (Role::Operator, false),
        (Role::Admin, false),
    ] {
        let browser = edge.someone(role.as_str(), &[role], Some(&[&edge.acme.id])).await;
        let mut all = String::new();
        for path in &paths {
            let answer = edge.browse(Some(&browser.cookie), path, None).await;
            assert_eq!(answer.status, 200, "{role} {path}: {}", answer.text());
            all.push_str(&answer.text());
        }
        assert!(all.contains(&id), "{role}");
        assert_eq!(all.contains("canary-reference"), sees, "{role}: {all}");
        assert_eq!(all.contains("canary words"), sees, "{role}: {all}");
        assert!(!all.contains("canary@new.example") && !all.contains("jane@"), "{role}: {all}");
    }
}
