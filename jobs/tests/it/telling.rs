//! A webhook is signed, says nothing personal, and is sent until it is taken or refused for good.

use crate::lab::{GRACE, Lab};
use redress_domain::{DsrId, RequestType};
use redress_jobs::webhook::Secret;
use redress_testkit::{Received, Receiver};
use serde_json::Value;
use std::collections::BTreeSet;

fn status(message: &Received) -> String {
    let body: Value = serde_json::from_slice(&message.body).expect("JSON");
    body["data"]["status"].as_str().expect("a status").to_owned()
}

/// Waits until nothing is left to be told.
async fn told(lab: &Lab, id: &DsrId, wanted: usize) {
    let is_told = async || {
        let kinds = lab.kinds(id).await;
        kinds.iter().filter(|k| matches!(k.as_str(), "controller_told" | "telling_given_up")).count() >= wanted
    };
    let began = std::time::Instant::now();
    while !is_told().await {
        assert!(began.elapsed().as_secs() < 20, "{:?}", lab.kinds(id).await);
        lab.travel(1_000);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_status_is_told_with_a_signature_that_holds() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let receiver = Receiver::start().await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", Some(&receiver.url_of("/dsr"))).await;
    let due_on = lab.detail(&id).await.row.deadlines["effective"]["due_on"].as_str().expect("a date").to_owned();
    lab.until(&id, "completed", 0).await;
    let messages = receiver.wait_for(5).await;
    let secret = Secret::parse(&lab.store().webhook_secret_text(&lab.ctl).await.expect("made")).expect("a secret");
    let mut ids = BTreeSet::new();
    for message in &messages {
        assert_eq!((message.method.as_str(), message.path.as_str()), ("POST", "/dsr"));
        let header = |name: &str| message.header(name).expect(name).to_owned();
        let at: i64 = header("webhook-timestamp").parse().expect("seconds");
        assert_eq!(header("webhook-signature"), secret.sign(&header("webhook-id"), at, &message.body));
        assert!(header("webhook-id").starts_with("msg_"));
        ids.insert(header("webhook-id"));
        let text = message.text();
        assert!(text.contains(id.as_str()) && text.contains("TICKET-1") && text.contains(&due_on), "{text}");
        assert!(!text.contains("jane"), "{text}");
    }
    assert_eq!(ids.len(), 5, "each message has an id of its own");
    let mut statuses: Vec<String> = messages.iter().map(status).collect();
    statuses.sort();
    assert_eq!(statuses, ["completed", "delivering", "in_progress", "received", "verifying"]);
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_refused_comes_again_with_the_same_id_and_a_new_signature() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let receiver = Receiver::start().await;
    receiver.answer([500, 503, 0]);
    let id = lab.submit(RequestType::Deletion, "jane@example.com", Some(&receiver.url_of("/dsr"))).await;
    let workers = lab.start("one");
    told(&lab, &id, 5).await;
    let messages = receiver.requests();
    assert!(messages.len() >= 8, "{}", messages.len());
    let first = messages[0].header("webhook-id").expect("an id");
    let again: Vec<_> = messages.iter().filter(|m| m.header("webhook-id") == Some(first)).collect();
    assert!(again.len() >= 2);
    assert!(again.iter().all(|m| m.body == again[0].body), "the same message");
    assert_ne!(again[0].header("webhook-timestamp"), again[1].header("webhook-timestamp"));
    assert_ne!(again[0].header("webhook-signature"), again[1].header("webhook-signature"));
    assert_eq!(lab.detail(&id).await.row.status, "completed", "the request does not wait for it");
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_gone_is_left_alone() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let receiver = Receiver::start().await;
    receiver.otherwise(410);
    let id = lab.submit(RequestType::Deletion, "jane@example.com", Some(&receiver.url_of("/dsr"))).await;
    // It is told that the request was received, and answers that it is gone; only then is anything else done.
    let notices = lab.store().claim("one", &[], 10, 60_000).await.expect("claimed");
    redress_jobs::notify::run(&lab.engine, notices).await;
    assert_eq!(receiver.requests().len(), 1);
    let workers = lab.start("one");
    lab.until(&id, "completed", 0).await;
    lab.travel(86_400_000);
    workers.shut_down(GRACE).await;
    assert_eq!(receiver.requests().len(), 1, "not once more");
}

/// Both statuses of each are left in the same moment, and told in one batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_of_one_request_are_told_in_the_order_in_which_they_came_about() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let receiver = Receiver::start().await;
    let mut ids = Vec::new();
    for nth in 0..12 {
        let email = format!("jane{nth}@example.com");
        ids.push(lab.submit(RequestType::Deletion, &email, Some(&receiver.url_of("/dsr"))).await);
    }
    let notices = lab.store().claim("one", &[], 50, 60_000).await.expect("claimed");
    assert_eq!(notices.len(), 24);
    redress_jobs::notify::run(&lab.engine, notices).await;
    let told: Vec<String> = receiver.requests().iter().map(Received::text).collect();
    for id in &ids {
        let of_one: Vec<&String> = told.iter().filter(|text| text.contains(id.as_str())).collect();
        assert_eq!(of_one.len(), 2);
        assert!(of_one[0].contains("received") && of_one[1].contains("in_progress"), "{of_one:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_not_allowed_is_never_called_and_the_request_goes_on() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", Some("http://10.0.0.1:8080/dsr")).await;
    lab.until(&id, "completed", 0).await;
    told(&lab, &id, 5).await;
    assert!(!lab.kinds(&id).await.contains(&"controller_told".to_owned()));
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_hangs_does_not_hold_up_the_work() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let receiver = Receiver::start().await;
    receiver.otherwise(redress_testkit::Answer::from(200).after(std::time::Duration::from_secs(3)));
    let workers = lab.start("one");
    let began = std::time::Instant::now();
    let id = lab.submit(RequestType::Deletion, "jane@example.com", Some(&receiver.url_of("/dsr"))).await;
    lab.until(&id, "completed", 0).await;
    assert!(began.elapsed().as_secs() < 3, "{:?}", began.elapsed());
    workers.shut_down(GRACE).await;
}
