//! A vendor's limits hold whatever there is to do, and what waits for them waits as one.

use crate::lab::{GRACE, Lab, options};
use redress_connectors::bench::server::LimitedServer;
use redress_domain::RequestType;
use redress_domain::step::StepState;
use redress_jobs::{WorkerOptions, Workers};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

async fn vendor(lab: &Lab, server: &LimitedServer, limits: Value) {
    let settings = json!({ "host": "127.0.0.1", "port": server.port() });
    let definition = json!({ "settings": settings, "tables": [], "max_matches": 25, "limits": limits });
    lab.connected_by("bench", "vendor", definition, BTreeMap::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_deletions_are_few_calls_none_too_many_and_no_attempt_too_many() {
    let lab = Lab::new().await;
    let server = LimitedServer::start(&[(1, Duration::from_secs(1))], Duration::ZERO).await.expect("started");
    vendor(&lab, &server, json!({ "rates": ["1/s"] })).await;
    let mut ids = Vec::new();
    for n in 0..300 {
        ids.push(lab.submit(RequestType::Deletion, &format!("p{n}@example.com"), None).await);
    }
    while lab.store().advance_due(500).await.expect("advanced") > 0 {}
    let workers = Workers::start(lab.engine.clone(), WorkerOptions { batch: 300, ..options("one") });
    for id in &ids {
        let detail = lab.until(id, "completed", 0).await;
        assert_eq!((detail.steps[0].status, detail.steps[0].attempts), (StepState::Verified, 1));
        assert!(!lab.kinds(id).await.contains(&"step_failed".to_owned()));
    }
    workers.shut_down(GRACE).await;
    let seen = server.seen();
    assert_eq!((seen.excess, seen.deleted.len()), (0, 300));
    assert!(seen.by_path["/erase"] <= 6, "{:?}: more than 0.02 calls a deletion", seen.by_path);
    let counters = lab.engine.limiter.counters();
    assert_eq!(counters.granted.load(Ordering::Relaxed), seen.calls.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_asks_to_wait_is_asked_no_more_until_then() {
    let lab = Lab::new().await;
    let server = LimitedServer::start(&[(1_000, Duration::from_secs(1))], Duration::ZERO).await.expect("started");
    vendor(&lab, &server, json!({ "rates": ["1000/s"] })).await;
    server.refuse_for(Duration::from_secs(2));
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(lab.submit(RequestType::Deletion, &format!("p{n}@example.com"), None).await);
    }
    while lab.store().advance_due(500).await.expect("advanced") > 0 {}
    // Batches of five: eight calls, of which the first are told and the others need not be.
    let workers = Workers::start(lab.engine.clone(), WorkerOptions { batch: 5, ..options("one") });
    for id in &ids {
        lab.until(id, "completed", 0).await;
        assert!(!lab.kinds(id).await.contains(&"step_failed".to_owned()));
    }
    workers.shut_down(GRACE).await;
    let seen = server.seen();
    assert_eq!(seen.deleted.len(), 40);
    // Two may be under way at the same time when the first is told.
    assert!(seen.excess <= 4, "{} calls were made although the vendor had asked to wait", seen.excess);
}
