//! What a submission is answered with: each bad input of the contract, with its status and its pointer.

use super::{ALL, edge, request};
use axum::body::Body;
use redress_domain::RequestType;
use serde_json::{Value, json};

/// A name, headers, a body, and the status they are answered with.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16);

const JSON: (&str, &str) = ("content-type", "application/json");

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

fn identifier(value: &Value) -> Value {
    json!({ "type": "deletion", "subject": { "identifiers": [value] } })
}

#[tokio::test]
async fn a_request_is_accepted_with_the_members_of_the_contract() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &["last_name"]).await;
    let body = json!({
        "type": "deletion", "regulation": "EU-GDPR", "jurisdiction": "DE", "reference": "TICKET-1",
        "data_subject_received_at": "2026-11-19T09:00:00+01:00",
        "subject": { "identifiers": [
            { "type": "email", "value": "jane@example.com" }, { "type": "phone", "value": "+4915112345678" },
            { "type": "customer_id", "value": "C-1007" } ] },
        "corrections": [{ "field": "last_name", "value": "Doe" }], "systems": ["crm"],
        "callback_url": "https://controller.example/dsr",
    });
    let answer = edge.submit(&body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let view = answer.json();
    let id = view["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/requests/{id}"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut members: Vec<&str> = view.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "acknowledged_at",
            "attention",
            "band",
            "clock",
            "clock_notes",
            "closed_at",
            "data_subject_received_at",
            "deadlines",
            "extension",
            "forecast",
            "holds",
            "id",
            "instruction_received_at",
            "jurisdiction",
            "links",
            "out_of_scope",
            "pauses",
            "reference",
            "regulation",
            "regulations",
            "status",
            "steps",
            "type",
        ]
    );
    assert_eq!(
        (&view["status"], &view["clock"], &view["band"]),
        (&json!("received"), &json!("running"), &json!("on_track"))
    );
    assert_eq!(view["instruction_received_at"], "2026-11-20T10:00:00Z");
    assert_eq!(view["data_subject_received_at"], "2026-11-19T08:00:00Z");
    assert_eq!(view["deadlines"]["statutory"]["rule"], "eu-gdpr.all");
    assert_eq!(view["deadlines"]["statutory"]["due_on"], "2026-12-21", "the 19th is a Saturday");
    let mut step = view["steps"][0].clone();
    step.as_object_mut().unwrap().remove("id").unwrap();
    assert_eq!(
        step,
        json!({ "system": "crm", "family": "crm", "verb": "erase", "status": "queued", "found": null, "changed": null,
            "attempts": 0, "next_attempt_at": null, "effect": null, "residual_until": null, "completes_by": null, "yielded": [],
            "verified_at": null, "error": null, "retained": [], "acted_at": null })
    );
    let mut shown = edge.get(&format!("/v1/requests/{id}")).await.json();
    assert_eq!(shown["status"], "in_progress", "its steps wait for nobody");
    (shown["forecast"], shown["status"]) = (json!(null), json!("received"));
    assert_eq!(shown, view, "but for what was not foreseen yet");
}

#[tokio::test]
async fn a_request_without_any_connected_system_is_accepted() {
    let edge = edge().await;
    let answer = edge.submit(&request("access")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["steps"].clone()), (202, json!([])));
}

#[tokio::test]
async fn every_fault_is_named_at_once() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", &[RequestType::Correction], &["last_name"]).await;
    let body = json!({
        "type": "correction", "tenant_id": "x", "reference": 7, "regulation": "EU-GPDR", "jurisdiction": "Atlantis",
        "data_subject_received_at": "yesterday",
        "subject": { "identifiers": [{ "type": "email", "value": "@", "x": 1 }, "jane"], "name": "Jane" },
        "corrections": [{ "field": "shoe_size", "value": "9" }, { "field": "last_name" }],
        "systems": ["crm", "nowhere", 3], "callback_url": "http://127.0.0.1/hook",
    });
    let mut pointers = edge.submit(&body).await.pointers();
    pointers.sort();
    assert_eq!(
        pointers,
        [
            "/callback_url",
            "/corrections/0/field",
            "/corrections/1/value",
            "/data_subject_received_at",
            "/jurisdiction",
            "/reference",
            "/regulation",
            "/subject/identifiers/0/value",
            "/subject/identifiers/0/x",
            "/subject/identifiers/1",
            "/subject/name",
            "/systems/1",
            "/systems/2",
            "/tenant_id",
        ]
    );
}

#[tokio::test]
async fn what_was_probably_meant_and_what_is_known_is_said() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", &[RequestType::Correction], &["last_name"]).await;
    let mut body = json!({
        "type": "correction", "regulation": "EU-GPDR", "corrections": [{ "field": "shoe", "value": "9" }],
        "subject": request("access")["subject"],
    });
    let text = edge.submit(&body).await.text();
    assert!(text.contains("did you mean EU-GDPR?") && text.contains("known: last_name"), "{text}");
    body["systems"] = json!(["cmr"]);
    assert!(edge.submit(&body).await.text().contains("known: crm"));
}

#[tokio::test]
async fn identifiers_that_are_none_are_refused_at_their_place_and_not_repeated() {
    let edge = edge().await;
    for value in [
        "canary@example.com\r\nx STORE 1:* +FLAGS (\\Deleted)",
        "canary@exam\0ple.com",
        "@",
        "%",
        "",
        " ",
        "*",
        "' OR 1=1 --",
        "canary@example.com\" OR ALL",
        "{5}\r\ncanary@example.com",
        "canary@a.example,b@b.example",
        "Ann <canary@a.example>",
        "canary@a.example\u{202e}",
        "canary@a.example OR in:anywhere",
    ] {
        let answer = edge.submit(&identifier(&json!({ "type": "email", "value": value }))).await;
        assert_eq!(answer.pointers(), ["/subject/identifiers/0/value"], "{value:?}");
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    for value in [json!({ "$ne": null }), json!(null), json!(7), json!(["a@b.example"]), json!(true)] {
        let answer = edge.submit(&identifier(&json!({ "type": "email", "value": value }))).await;
        assert_eq!(answer.pointers(), ["/subject/identifiers/0/value"], "{value}");
    }
    assert_eq!(
        edge.submit(&identifier(&json!({ "type": "ssn", "value": "1" }))).await.pointers(),
        ["/subject/identifiers/0/type"]
    );
}

#[tokio::test]
async fn members_that_are_missing_unknown_or_of_the_wrong_type_are_refused() {
    let edge = edge().await;
    let subject = request("access")["subject"].clone();
    let cases = [
        (json!({ "subject": subject }), "/type"),
        (json!({ "type": "access" }), "/subject/identifiers"),
        (json!({ "type": "access", "subject": {} }), "/subject/identifiers"),
        (json!({ "type": "access", "subject": null }), "/subject"),
        (json!({ "type": "access", "subject": [] }), "/subject"),
        (json!({ "type": null, "subject": subject }), "/type"),
        (json!({ "type": "erasure", "subject": subject }), "/type"),
        (with(request("access"), "status", json!("completed")), "/status"),
        (with(request("access"), "due_at", json!("2030-01-01")), "/due_at"),
        (with(request("access"), "systems", json!("crm")), "/systems"),
        (with(request("access"), "systems", json!([])), "/systems"),
        (with(request("access"), "corrections", json!({})), "/corrections"),
        (with(request("access"), "reference", json!("a\nb")), "/reference"),
        (with(request("access"), "callback_url", json!(null)), "/callback_url"),
        (with(request("access"), "a/b~c", json!(1)), "/a~1b~0c"),
        (json!([request("access")]), ""),
        (json!("access"), ""),
        (json!(null), ""),
    ];
    for (body, pointer) in cases {
        assert_eq!(edge.submit(&body).await.pointers(), [pointer], "{body}");
    }
}

#[tokio::test]
async fn a_system_that_is_unknown_or_not_instructed_is_refused() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", &[RequestType::Access], &[]).await;
    edge.connect(&edge.other, "theirs", ALL, &[]).await;
    let answer = edge.submit(&with(request("deletion"), "systems", json!(["crm", "theirs"]))).await;
    assert_eq!(answer.pointers(), ["/systems/0", "/systems/1"]);
    assert!(answer.text().contains("not instructed for requests of type deletion"));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_by_what_is_wrong_with_it() {
    let edge = edge().await;
    let good = request("access").to_string();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{{\"type\":\"{}\"}}", "a".repeat(65_536));
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(good.encode_utf16().flat_map(u16::to_le_bytes));
    let cases: Vec<Case<'_>> = vec![
        ("malformed", vec![JSON], b"{\"type\":".to_vec(), 400),
        ("two documents", vec![JSON], format!("{good} {good}").into_bytes(), 400),
        ("empty", vec![JSON], vec![], 400),
        ("a number too large", vec![JSON], b"{\"type\":1e400}".to_vec(), 400),
        ("a lone surrogate", vec![JSON], b"{\"type\":\"\\ud800\"}".to_vec(), 400),
        ("not UTF-8", vec![JSON], b"{\"type\":\"\xff\"}".to_vec(), 400),
        ("UTF-16", vec![JSON], utf16, 400),
        ("a byte order mark", vec![JSON], format!("\u{feff}{good}").into_bytes(), 400),
        ("35 levels", vec![JSON], format!("{}1{}", "[".repeat(35), "]".repeat(35)).into_bytes(), 400),
        ("too long and deep", vec![JSON], deep.into_bytes(), 413),
        ("65 KiB", vec![JSON], long.into_bytes(), 413),
        ("no content type", vec![], good.clone().into_bytes(), 415),
        ("text/plain", vec![("content-type", "text/plain")], good.clone().into_bytes(), 415),
        ("a form", vec![("content-type", "multipart/form-data; boundary=x")], good.clone().into_bytes(), 415),
        ("two content types", vec![JSON, JSON], good.clone().into_bytes(), 415),
        ("latin1", vec![("content-type", "application/json; charset=latin1")], good.clone().into_bytes(), 415),
        ("gzip", vec![JSON, ("content-encoding", "gzip")], good.clone().into_bytes(), 415),
        ("any case", vec![("content-type", "Application/JSON; Charset=\"UTF-8\"")], good.clone().into_bytes(), 202),
    ];
    for (name, headers, body, status) in cases {
        let answer = edge.submit_raw(&headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text());
        if status != 202 {
            answer.problem();
        }
    }
}

#[tokio::test]
async fn a_member_that_is_given_twice_is_refused_at_its_place() {
    let edge = edge().await;
    let body = r#"{"type":"access","type":"deletion","subject":{"identifiers":[{"type":"email","value":"a@b.example","value":"c@d.example"}]}}"#;
    let answer = edge.submit_raw(&[JSON], body).await;
    assert_eq!(answer.pointers(), ["/type", "/subject/identifiers/0/value"]);
}

#[tokio::test]
async fn a_body_without_announced_length_is_cut_at_the_limit() {
    let edge = edge().await;
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 8_192]));
    assert_eq!(edge.submit_raw(&[JSON], Body::from_stream(endless)).await.status, 413);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_as_the_callers_delay() {
    let edge =
        super::edge_with(|api| crate::http::Api { request_timeout: std::time::Duration::from_millis(400), ..api })
            .await;
    let stuck = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    assert_eq!(edge.submit_raw(&[JSON], Body::from_stream(stuck)).await.status, 408);
}

#[tokio::test]
async fn the_same_key_and_body_is_one_request_and_another_body_is_refused() {
    let edge = edge().await;
    let send = |key: &'static str, body: Value| {
        let edge = &edge;
        async move { edge.submit_raw(&[JSON, ("idempotency-key", key)], body.to_string()).await }
    };
    let first = send("\"k-1\"", request("access")).await;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (202, ""));
    let again = send("k-1", request("access")).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (202, "true"));
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    // The same document in another order of members is the same body.
    let swapped = r#"{"subject":{"identifiers":[{"value":"jane@example.com","type":"email"}]},"type":"access"}"#;
    assert_eq!(edge.submit_raw(&[JSON, ("idempotency-key", "k-1")], swapped).await.json(), first.json());
    let reused = send("k-1", request("deletion")).await;
    assert_eq!(reused.status, 422);
    reused.problem();
    // Another controller's key of the same text is another key.
    let body = request("deletion").to_string();
    let theirs = axum::http::Request::post("/v1/requests")
        .header("authorization", format!("Bearer {}", edge.other.user))
        .header("content-type", "application/json")
        .header("idempotency-key", "k-1")
        .body(Body::from(body))
        .unwrap();
    assert_eq!(edge.send(theirs).await.status, 202);
}

#[tokio::test]
async fn an_idempotency_key_that_is_none_is_refused() {
    let edge = edge().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "\"open", "\"a\" ; x", "a b", "\"a\\x\"", &long] {
        let answer = edge.submit_raw(&[JSON, ("idempotency-key", key)], request("access").to_string()).await;
        assert_eq!(answer.status, 400, "{key:?}");
    }
    let twice = [JSON, ("idempotency-key", "a"), ("idempotency-key", "b")];
    assert_eq!(edge.submit_raw(&twice, request("access").to_string()).await.status, 400);
    let longest = "k".repeat(255);
    assert_eq!(
        edge.submit_raw(&[JSON, ("idempotency-key", &longest)], request("access").to_string()).await.status,
        202
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_equal_posts_at_once_make_one_request() {
    let edge = std::sync::Arc::new(edge().await);
    let posts = (0..20).map(|_| {
        let edge = edge.clone();
        tokio::spawn(async move {
            edge.submit_raw(&[JSON, ("idempotency-key", "same")], request("access").to_string()).await
        })
    });
    let mut ids = std::collections::BTreeSet::new();
    for answer in futures::future::join_all(posts).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
        ids.insert(answer.json()["id"].to_string());
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(edge.get("/v1/requests").await.json()["requests"].as_array().unwrap().len(), 1);
}
