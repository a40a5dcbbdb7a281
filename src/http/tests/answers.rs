//! Packages and certificates: there when they are there, and every fetch is in the audit log before its first byte.

use super::{ALL, Edge, edge, request};
use redress_domain::step::StepState;
use redress_store::{Finish, NewPackage, StepResult, WorkKind};
use serde_json::{Value, json};

const CHUNKS: [&[u8]; 3] = [b"PK-one-", b"two-", b"three"];

/// Does the work of every request as a worker would, until none is left.
async fn fulfil(edge: &Edge, expires_in_ms: i64) {
    for _ in 0..10 {
        edge.store.advance_due(10).await.unwrap();
        let leases = edge.store.claim("test", &[], 10, 60_000).await.unwrap();
        if leases.is_empty() {
            return;
        }
        for work in edge.store.open_work(leases).await.unwrap() {
            let lease = work.lease;
            if lease.kind == WorkKind::Answer {
                for (n, chunk) in CHUNKS.iter().enumerate() {
                    edge.store.put_package_chunk(&lease, &work.key, n as i64, chunk).await.unwrap();
                }
                let package = NewPackage {
                    bytes: CHUNKS.concat().len() as u64,
                    chunks: CHUNKS.len() as i64,
                    sha256: "ab".repeat(32),
                    records: 1,
                    expires_at: edge.store.now_ms() + expires_in_ms,
                };
                edge.store
                    .answered(&lease, &json!({ "certificate": {}, "signature": {} }), Some(&package))
                    .await
                    .unwrap();
            } else {
                let result = StepResult::Acted {
                    state: StepState::Done,
                    found: 2,
                    changed: 0,
                    retained: 0,
                    result: json!({ "retained": [], "evidence": { "collections": [] } }),
                    receipt: None,
                    verify_at: None,
                };
                edge.store.finish(vec![Finish { lease, result }]).await.unwrap();
            }
        }
    }
}

async fn access(edge: &Edge) -> String {
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    edge.submit(&request("access")).await.json()["id"].as_str().unwrap().to_owned()
}

async fn fetches(edge: &Edge, id: &str) -> Vec<Value> {
    let events = edge.get(&format!("/v1/requests/{id}/events")).await.json();
    events["events"].as_array().unwrap().iter().filter(|e| e["kind"] == "package_fetched").cloned().collect()
}

#[tokio::test]
async fn the_package_and_the_certificate_are_there_after_the_work_and_not_before() {
    let edge = edge().await;
    let id = access(&edge).await;
    for (what, word) in [("package", "every system has answered"), ("certificate", "when the work is done")] {
        let answer = edge.get(&format!("/v1/requests/{id}/{what}")).await;
        assert_eq!(answer.status, 404);
        assert!(answer.problem()["detail"].as_str().unwrap().contains(word));
    }
    fulfil(&edge, 1_000).await;
    assert_eq!(edge.get(&format!("/v1/requests/{id}")).await.json()["status"], "completed");
    let path = format!("/v1/requests/{id}/package");
    let package = edge.get(&path).await;
    assert_eq!(package.status, 200, "{}", package.text());
    assert_eq!(package.bytes, CHUNKS.concat());
    assert_eq!(package.header("content-type"), "application/zip");
    assert_eq!(package.header("content-length"), package.bytes.len().to_string());
    assert_eq!(package.header("content-disposition"), format!("attachment; filename=\"redress-{id}.zip\""));
    assert_eq!(package.header("etag"), format!("\"{}\"", "ab".repeat(32)));
    assert_eq!(package.header("x-content-type-options"), "nosniff");
    let logged = fetches(&edge, &id).await;
    assert_eq!(logged.len(), 1);
    assert!(logged[0]["actor"].as_str().unwrap().starts_with("key_"));
    assert_eq!(edge.get(&format!("/v1/requests/{id}/certificate")).await.json()["certificate"], json!({}));
}

#[tokio::test]
async fn a_look_without_fetching_is_no_fetch_and_every_fetch_is_one() {
    let edge = edge().await;
    let id = access(&edge).await;
    fulfil(&edge, 1_000).await;
    let path = format!("/v1/requests/{id}/package");
    let head = edge.call(&edge.acme.user, "HEAD", &path, None).await;
    assert_eq!((head.status.as_u16(), head.bytes.len(), head.header("content-length")), (200, 0, "16"));
    assert_eq!(fetches(&edge, &id).await.len(), 0);
    for n in 1..=3 {
        edge.get(&path).await;
        assert_eq!(fetches(&edge, &id).await.len(), n);
    }
    assert_eq!(edge.call(&edge.acme.auditor, "GET", &path, None).await.status, 403);
    assert_eq!(edge.call(&edge.other.user, "GET", &path, None).await.status, 404);
    assert_eq!(fetches(&edge, &id).await.len(), 3);
}

#[tokio::test]
async fn an_expired_or_purged_package_is_gone() {
    let edge = edge().await;
    let id = access(&edge).await;
    fulfil(&edge, 1_000).await;
    let path = format!("/v1/requests/{id}/package");
    edge.clock.advance(jiff::SignedDuration::from_millis(999));
    assert_eq!(edge.get(&path).await.status, 200);
    edge.clock.advance(jiff::SignedDuration::from_millis(1));
    assert!(edge.get(&path).await.problem()["detail"].as_str().unwrap().contains("expired"));
    edge.clock.advance(jiff::SignedDuration::from_hours(48));
    edge.store.purge_due(10).await.unwrap();
    let gone = edge.get(&path).await;
    assert_eq!(gone.status, 410);
    assert!(gone.problem()["detail"].as_str().unwrap().contains("destroyed"));
    let view = edge.get(&format!("/v1/requests/{id}")).await.json();
    assert_eq!((&view["status"], &view["reference"]), (&json!("completed"), &Value::Null));
    assert_eq!(edge.get(&format!("/v1/requests/{id}/certificate")).await.status, 200);
    assert_eq!(fetches(&edge, &id).await.len(), 1);
}

#[tokio::test]
async fn a_request_that_ends_with_a_certificate_says_so() {
    let edge = edge().await;
    let id = edge.submit(&request("deletion")).await.json()["id"].as_str().unwrap().to_owned();
    let answer = edge.get(&format!("/v1/requests/{id}/package")).await;
    assert!(answer.problem()["detail"].as_str().unwrap().contains("ends with a certificate"));
    edge.call(&edge.acme.user, "POST", &format!("/v1/requests/{id}/withdraw"), None).await;
    let answer = edge.get(&format!("/v1/requests/{id}/certificate")).await;
    assert!(answer.problem()["detail"].as_str().unwrap().contains("ended as withdrawn"));
}
