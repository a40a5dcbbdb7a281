//! A standing endpoint is told by signed messages of every request, and one that is down holds up nobody else.

use crate::lab::{GRACE, Lab};
use redress_domain::{Personal, RequestType, WebhookId};
use redress_jobs::notify;
use redress_jobs::webhook::Secret;
use redress_store::{NewWebhook, Webhook};
use redress_testkit::{Received, Receiver};
use serde_json::Value;
use std::collections::BTreeSet;

async fn endpoint(lab: &Lab, receiver: &Receiver, events: &[&str]) -> (WebhookId, Secret) {
    let new = NewWebhook {
        url: Personal::from(receiver.url_of("/standing")),
        host: "127.0.0.1".into(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        description: None,
    };
    let (webhook, secret) = lab.store().create_webhook(&lab.ctl, &new, "key_x").await.expect("made");
    (webhook.id, Secret::parse(secret.expose()).expect("a secret"))
}

async fn shown(lab: &Lab, id: &WebhookId) -> Webhook {
    lab.store().webhook(&lab.ctl, id).await.expect("there")
}

fn status(message: &Received) -> String {
    let body: Value = serde_json::from_slice(&message.body).expect("JSON");
    body["data"]["status"].as_str().expect("a status").to_owned()
}

fn holds(message: &Received, signature: &str, secret: &Secret) -> bool {
    let header = |name: &str| message.header(name).expect(name).to_owned();
    let at: i64 = header("webhook-timestamp").parse().expect("seconds");
    signature == secret.sign(&header("webhook-id"), at, &message.body)
}

/// Waits until as many messages were told or given up.
async fn settled(lab: &Lab, wanted: usize) {
    let began = std::time::Instant::now();
    loop {
        let events = lab.store().events_after(&lab.ctl, 0, 10_000).await.expect("read");
        let n = events.iter().filter(|e| matches!(e.kind.as_str(), "controller_told" | "telling_given_up")).count();
        if n >= wanted {
            return;
        }
        assert!(began.elapsed().as_secs() < 30, "{n} of {wanted}");
        lab.travel(1_000);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_told_with_its_own_secret_and_after_a_rotation_with_both() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let receiver = Receiver::start().await;
    let (id, first) = endpoint(&lab, &receiver, &[]).await;
    let workers = lab.start("one");
    let dsr = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    lab.until(&dsr, "completed", 0).await;
    let messages = receiver.wait_for(5).await;
    let mut statuses: Vec<String> = messages.iter().map(status).collect();
    statuses.sort();
    assert_eq!(statuses, ["completed", "delivering", "in_progress", "received", "verifying"]);
    for message in &messages {
        assert!(holds(message, message.header("webhook-signature").expect("signed"), &first));
        assert!(message.text().contains("TICKET-1") && !message.text().contains("jane"), "{}", message.text());
    }
    let (_, second) = lab.store().rotate_webhook(&lab.ctl, &id, "key_x").await.expect("rotated");
    let second = Secret::parse(second.expose()).expect("a secret");
    assert_eq!(notify::test(&lab.engine, &lab.ctl, &id, "key_x").await.expect("taken"), 200);
    let test = receiver.requests().pop().expect("a message");
    let signatures: Vec<&str> = test.header("webhook-signature").expect("signed").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(holds(&test, signatures[0], &second) && holds(&test, signatures[1], &first));
    assert!(test.text().contains("redress.webhook.test"), "{}", test.text());
    assert_eq!(shown(&lab, &id).await.answer.as_deref(), Some("200"));
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_down_is_asked_once_in_a_while_and_gets_everything_in_order_when_it_is_back() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let receiver = Receiver::start().await;
    receiver.otherwise(503);
    let (id, _) = endpoint(&lab, &receiver, &["received", "completed"]).await;
    let workers = lab.start("one");
    let mut all = Vec::new();
    for nth in 0..6 {
        let dsr = lab.submit(RequestType::Deletion, &format!("jane{nth}@example.com"), None).await;
        lab.until(&dsr, "completed", 0).await;
        all.push(dsr);
    }
    let failing = shown(&lab, &id).await;
    assert!(failing.failing_since.is_some() && failing.answer.as_deref() == Some("status_503"), "{failing:?}");
    let tried = receiver.requests().len();
    assert!(tried < 12, "{tried}: what waits does not ask again and again");
    receiver.otherwise(200);
    settled(&lab, 12).await;
    let messages = receiver.requests();
    let mut taken = BTreeSet::new();
    for dsr in &all {
        let of_one: Vec<&Received> = messages[tried..].iter().filter(|m| m.text().contains(dsr.as_str())).collect();
        let statuses: Vec<String> = of_one.iter().map(|message| status(message)).collect();
        assert_eq!(statuses, ["received", "completed"], "{dsr}");
        taken.extend(of_one.iter().map(|message| message.header("webhook-id").expect("an id").to_owned()));
    }
    assert_eq!(taken.len(), 12);
    let back = shown(&lab, &id).await;
    assert_eq!((back.failures, back.failing_since, back.disabled_at), (0, None, None));
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_gone_is_left_alone_until_a_person_enables_it() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let receiver = Receiver::start().await;
    receiver.otherwise(410);
    let (id, _) = endpoint(&lab, &receiver, &["received"]).await;
    let dsr = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let workers = lab.start("one");
    lab.until(&dsr, "completed", 0).await;
    settled(&lab, 1).await;
    assert_eq!(shown(&lab, &id).await.disabled_why.as_deref(), Some("gone"));
    let second = lab.submit(RequestType::Deletion, "joan@example.com", None).await;
    lab.until(&second, "completed", 0).await;
    assert_eq!(receiver.requests().len(), 1, "not once more");
    receiver.otherwise(200);
    assert_eq!(lab.store().enable_webhook(&lab.ctl, &id, "key_x").await.expect("enabled"), 1);
    settled(&lab, 2).await;
    let messages = receiver.requests();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].header("webhook-id"), messages[1].header("webhook-id"), "the same message");
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_may_not_be_called_or_redirects_is_not_followed() {
    let lab = Lab::new().await;
    let receiver = Receiver::start().await;
    receiver.otherwise(302);
    let (id, _) = endpoint(&lab, &receiver, &[]).await;
    let fault = notify::test(&lab.engine, &lab.ctl, &id, "key_x").await.expect_err("not taken").to_string();
    assert!(fault.contains("redirects") && fault.contains("302"), "{fault}");
    assert_eq!(receiver.requests().len(), 1);
    let new = NewWebhook {
        url: Personal::from("https://10.0.0.1/x"),
        host: "10.0.0.1".into(),
        events: Vec::new(),
        description: None,
    };
    let (private, _) = lab.store().create_webhook(&lab.ctl, &new, "key_x").await.expect("made by the side door");
    assert!(notify::test(&lab.engine, &lab.ctl, &private.id, "key_x").await.is_err());
    lab.system("crm").await;
    let workers = lab.start("one");
    let dsr = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    lab.until(&dsr, "completed", 0).await;
    settled(&lab, 5).await;
    workers.shut_down(GRACE).await;
}
