//! Connected systems through the API: secrets go in and never come out, and nothing on this machine can be named.

use super::{ALL, Edge, edge};
use serde_json::{Value, json};

pub(super) fn definition() -> Value {
    json!({
        "family": "crm", "connector": "postgres",
        "settings": { "host": "db.example", "port": 5432, "database": "shop", "username": "dsr" },
        "secrets": { "password": { "value": "canary-secret" } },
        "allow": ["access", "deletion"],
        "tables": [{ "name": "customers", "key": "id", "identify": { "email": "email" }, "on_delete": "delete" }],
    })
}

async fn put(edge: &Edge, body: &Value) -> super::Answer {
    edge.call(&edge.acme.admin, "PUT", "/v1/systems/crm", Some(body)).await
}

#[tokio::test]
async fn a_system_is_connected_kept_changed_and_disconnected() {
    let edge = edge().await;
    let made = put(&edge, &definition()).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, "/v1/systems/crm"), "{}", made.text());
    assert_eq!(made.json()["identifiers"], json!(["email"]));
    let again = put(&edge, &definition()).await;
    assert_eq!((again.status.as_u16(), &again.json()["version"]), (200, &made.json()["version"]));
    let mut changed = definition();
    changed["max_matches"] = json!(7);
    changed.as_object_mut().unwrap().remove("secrets");
    let replaced = put(&edge, &changed).await;
    assert_eq!((replaced.status.as_u16(), &replaced.json()["max_matches"]), (200, &json!(7)), "{}", replaced.text());
    assert_eq!(replaced.json()["secrets"], json!({ "password": { "set": true } }));
    assert_eq!(edge.call(&edge.acme.admin, "DELETE", "/v1/systems/crm", None).await.status, 204);
    assert_eq!(edge.get("/v1/systems/crm").await.status, 404);
    assert_eq!(edge.call(&edge.acme.admin, "DELETE", "/v1/systems/crm", None).await.status, 404);
}

#[tokio::test]
async fn a_secret_is_never_returned() {
    let edge = edge().await;
    let mut seen = vec![put(&edge, &definition()).await, put(&edge, &definition()).await];
    for (method, path) in [
        ("GET", "/v1/systems"),
        ("GET", "/v1/systems/crm"),
        ("POST", "/v1/systems/crm/pause"),
        ("POST", "/v1/systems/crm/check"),
        ("GET", "/v1/audit"),
        ("GET", "/metrics"),
    ] {
        seen.push(edge.call(&edge.acme.admin, method, path, None).await);
    }
    let mut wrong = definition();
    wrong["secrets"] = json!({ "password": "canary-secret" });
    seen.push(put(&edge, &wrong).await);
    wrong["secrets"] = json!({ "passwort": { "value": "canary-secret" } });
    seen.push(put(&edge, &wrong).await);
    for answer in seen {
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
}

#[tokio::test]
async fn nothing_of_this_machine_or_its_network_can_be_named() {
    let edge = edge().await;
    let mut local = definition();
    local["settings"]["host"] = json!("127.0.0.1");
    assert_eq!(put(&edge, &local).await.pointers(), ["/settings/host"]);
    for (connector, path) in [("sqlite", "/etc/passwd"), ("maildir", "/var/mail")] {
        let body = json!({ "connector": connector, "settings": { "path": path } });
        let pointers = put(&edge, &body).await.pointers();
        assert!(
            pointers.contains(&"/connector".to_owned()) && pointers.contains(&"/settings/path".to_owned()),
            "{pointers:?}"
        );
    }
    for secret in [json!({ "env": "HOME" }), json!({ "file": "/etc/passwd" }), json!({ "value": "x", "env": "HOME" })] {
        let mut body = definition();
        body["secrets"]["password"] = secret;
        assert_eq!(put(&edge, &body).await.pointers(), ["/secrets/password"]);
    }
}

#[tokio::test]
async fn stored_secrets_are_not_sent_to_another_place() {
    let edge = edge().await;
    put(&edge, &definition()).await;
    for (name, value) in [("host", json!("evil.example")), ("port", json!(5433))] {
        let mut body = definition();
        body.as_object_mut().unwrap().remove("secrets");
        body["settings"][name] = value;
        assert_eq!(put(&edge, &body).await.pointers(), ["/secrets"], "{name}");
        body["secrets"] = json!({ "password": { "value": "another" } });
        assert_eq!(put(&edge, &body).await.status, 200, "{name}");
        put(&edge, &definition()).await;
    }
}

#[tokio::test]
async fn faults_of_a_definition_are_named_all_at_once() {
    let edge = edge().await;
    let body = json!({ "connector": "postgres", "settings": { "host": "10.0.0.1", "colour": 1 }, "allow": ["all"], "max_matches": 0, "speed": 1 });
    let pointers = put(&edge, &body).await.pointers();
    for pointer in ["/settings/host", "/settings/colour", "/allow/0", "/max_matches", "/speed"] {
        assert!(pointers.iter().any(|p| p == pointer), "{pointer} is not in {pointers:?}");
    }
    for body in [json!([]), json!(null), json!("x"), json!({ "name": "other", "connector": "postgres" })] {
        assert_eq!(put(&edge, &body).await.status, 422, "{body}");
    }
    assert_eq!(edge.call(&edge.acme.admin, "PUT", "/v1/systems/Bad.Name", Some(&definition())).await.status, 404);
    assert_eq!(edge.call(&edge.acme.admin, "PUT", "/v1/systems/CRM", Some(&definition())).await.status, 422);
}

#[tokio::test]
async fn a_check_tells_what_was_seen_and_a_pause_holds_until_it_is_lifted() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    edge.connect(&edge.acme, "down", ALL, &[]).await;
    let post = |path: &'static str| edge.call(&edge.acme.admin, "POST", path, None);
    let good = post("/v1/systems/crm/check").await;
    assert_eq!((good.status.as_u16(), &good.json()["ok"]), (200, &json!(true)));
    let bad = post("/v1/systems/down/check").await;
    assert_eq!((bad.status.as_u16(), &bad.json()["error"]["code"]), (200, &json!("unreachable")));
    assert_eq!(post("/v1/systems/crm/pause").await.json()["paused"], true);
    assert_eq!(post("/v1/systems/crm/pause").await.status, 200);
    let mut body = definition();
    body["max_matches"] = json!(3);
    assert_eq!(put(&edge, &body).await.json()["paused"], true);
    assert_eq!(post("/v1/systems/crm/resume").await.json()["paused"], false);
}
