//! Standing instructions through the API and on the board: whole, with the version in view, and by two people where that is asked for.

use super::people::HERE;
use super::{ALL, Edge, edge};
use axum::body::Body;
use axum::http::{Request, header};
use redress_domain::{RequestType, Role};
use serde_json::{Value, json};

async fn in_force(edge: &Edge) -> Value {
    edge.call(&edge.acme.auditor, "GET", "/v1/instructions", None).await.json()
}

async fn put(edge: &Edge, key: &str, body: &Value) -> super::Answer {
    edge.call(key, "PUT", "/v1/instructions", Some(body)).await
}

#[tokio::test]
async fn instructions_are_read_changed_and_kept_version_by_version() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let before = in_force(&edge).await;
    assert_eq!(
        (&before["version"], &before["allow"]["crm"]),
        (&json!(2), &json!(["access", "correction", "deletion"])),
        "{before}"
    );
    let kept = edge.store.keeps_closed_ms() / 86_400_000;
    assert_eq!((&before["set_by"], &before["personal_data_kept_days_after_close"]), (&json!("test"), &json!(kept)));
    let wanted = json!({ "version": 2, "allow": { "crm": ["deletion"] }, "require_approval": ["deletion"], "cooling_off_hours": 24 });
    let set = put(&edge, &edge.acme.user, &wanted).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let now = in_force(&edge).await;
    assert_eq!(set.json(), now);
    assert_eq!(
        (&now["version"], &now["require_approval"], &now["four_eyes"]),
        (&json!(3), &json!(["deletion"]), &json!(false))
    );
    let again = put(&edge, &edge.acme.user, &wanted).await;
    assert_eq!(again.status, 409, "it was written with version 2 in view");
    let versions = edge.get("/v1/instructions/versions").await.json();
    let numbers: Vec<&Value> = versions["versions"].as_array().unwrap().iter().map(|v| &v["version"]).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(edge.get("/v1/instructions/versions?before=2").await.json()["versions"].as_array().unwrap().len(), 1);
    // What is instructed is what is planned: an access request has nowhere to go, a deletion waits for approval.
    let access = edge.submit(&super::request("access")).await.json();
    assert_eq!(access["steps"], json!([]), "{access}");
    let deletion = edge.submit(&super::request("deletion")).await.json();
    let id = deletion["id"].as_str().unwrap();
    assert_eq!(edge.get(&format!("/v1/requests/{id}")).await.json()["status"], "awaiting_approval");
    let events = edge.get(&format!("/v1/requests/{id}/events")).await.text();
    assert!(events.contains("\"instructions\":3"), "{events}");
    let audit = edge.call(&edge.acme.admin, "GET", "/v1/audit", None).await.text();
    assert!(audit.contains("instructions_changed") && audit.contains("allow.crm"), "{audit}");
}

#[tokio::test]
async fn every_fault_of_new_instructions_is_told_at_once() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let bad = json!({
        "allow": { "crm": ["everything"], "nowhere": [] }, "require_approval": ["deletion", "x"], "review": "all", "four_eyes": 1,
        "cooling_off_hours": 721, "package_expires_days": 0, "retention": 3,
    });
    let answer = put(&edge, &edge.acme.admin, &bad).await;
    assert_eq!(answer.status, 422);
    for pointer in [
        "/allow/crm/0",
        "/allow/nowhere",
        "/require_approval/1",
        "/review",
        "/four_eyes",
        "/cooling_off_hours",
        "/package_expires_days",
        "/retention",
        "/version",
    ] {
        assert!(answer.text().contains(&format!("\"{pointer}\"")), "{pointer}: {}", answer.text());
    }
    for bad in [
        json!({ "version": 2, "allow": [] }),
        json!({ "version": 2, "allow": { "crm": "all" } }),
        json!({ "version": "2" }),
        json!([]),
    ] {
        assert_eq!(put(&edge, &edge.acme.admin, &bad).await.status, 422, "{bad}");
    }
    assert_eq!(put(&edge, &edge.acme.auditor, &json!({ "version": 2 })).await.status, 403);
    assert_eq!(edge.get("/v1/instructions/versions?before=0").await.status, 422);
    assert_eq!(in_force(&edge).await["version"], 2);
}

#[tokio::test]
async fn where_four_eyes_are_asked_for_the_board_wants_a_second_person() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", &[RequestType::Access], &[]).await;
    let strict = json!({ "version": 2, "allow": { "crm": ["access"] }, "four_eyes": true });
    assert_eq!(put(&edge, &edge.acme.admin, &strict).await.status, 200);
    let own = [&edge.acme.id];
    let ann = edge.someone("ann", &[Role::PrivacyLead], Some(&own)).await;
    let bob = edge.someone("bob", &[Role::PrivacyLead], Some(&own)).await;
    let page = async |cookie: &str| {
        let request = Request::builder()
            .uri("/controllers/acme")
            .header(header::HOST, "dsr.example")
            .header(header::COOKIE, cookie);
        edge.send(request.body(Body::empty()).unwrap()).await.text()
    };
    let send = async |cookie: &str, fields: &str| {
        let token = edge.token(cookie).await;
        let request = Request::builder()
            .method("POST")
            .uri("/act/v1/instructions?controller=acme")
            .header(header::HOST, "dsr.example")
            .header(header::ORIGIN, HERE)
            .header(header::COOKIE, cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        edge.send(
            request
                .body(Body::from(format!("csrf={token}&_method=put&_next=/controllers/acme&_done=instructed&{fields}")))
                .unwrap(),
        )
        .await
    };
    let shown = page(&ann.cookie).await;
    assert!(
        shown.contains("Change the instructions") && shown.contains("Another person has to say the same"),
        "{shown}"
    );
    let loose = "version%3Anumber=3&allow.crm%3Alist=access&allow.crm%3Alist=deletion&cooling_off_hours%3Anumber=0";
    let said = send(&ann.cookie, loose).await;
    assert_eq!(said.status, 303, "{}", said.text());
    assert_eq!(in_force(&edge).await["version"], 3);
    let proposed = in_force(&edge).await["proposed"].clone();
    assert_eq!(
        proposed["changes"]["allow.crm"],
        json!({ "before": ["access"], "after": ["access", "deletion"] }),
        "{proposed}"
    );
    let (by_ann, by_bob) = (page(&ann.cookie).await, page(&bob.cookie).await);
    assert!(by_ann.contains("Waits for a second person") && !by_ann.contains("let it hold</button>"), "{by_ann}");
    assert!(by_bob.contains("let it hold</button>"), "{by_bob}");
    assert_eq!(send(&bob.cookie, loose).await.status, 303);
    let now = in_force(&edge).await;
    assert_eq!((&now["version"], &now["four_eyes"], &now["proposed"]), (&json!(4), &json!(false), &Value::Null));
    let shown = page(&bob.cookie).await;
    assert!(shown.contains("Earlier versions") && shown.contains("four eyes: yes → no"), "{shown}");
    let nothing = edge.call(&edge.acme.user, "DELETE", "/v1/instructions/proposal", None).await;
    assert_eq!(nothing.status, 409, "{}", nothing.text());
}
