//! Standing endpoints: each that listens is told each status it wants, and one that takes nothing is told nothing more.

use crate::lab::{Lab, Wish};
use redress_domain::{ControllerId, DsrId, Personal, WebhookId};
use redress_store::{Decision, EndpointAnswer, Error, Lease, NewWebhook, StepResult, WorkKind};

on_both!(
    each_endpoint_is_told_what_it_wants_to_hear_and_nothing_else,
    what_is_given_up_at_one_place_does_not_silence_the_other,
    an_endpoint_that_takes_nothing_for_days_is_disabled_and_enabled_by_a_person,
    a_success_in_between_keeps_an_endpoint,
    an_old_secret_signs_for_a_day,
    what_is_removed_is_told_nothing_and_leaves_no_address,
    another_controllers_endpoint_is_not_there,
    nothing_of_an_address_or_a_secret_is_stored_in_clear,
);

async fn endpoint(lab: &Lab, ctl: &ControllerId, events: &[&str]) -> (WebhookId, String) {
    let new = NewWebhook {
        url: Personal::from("https://hooks.canary.example/TICKET-canary"),
        host: "hooks.example".into(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        description: Some(Personal::from("canary-password")),
    };
    let (webhook, secret) = lab.store.create_webhook(ctl, &new, "key_x").await.expect("made");
    (webhook.id, secret.expose().clone())
}

/// The statuses left for an endpoint (none: the request's own address), sorted: the lab's clock stands still.
async fn left(lab: &Lab, id: &DsrId, webhook: Option<&WebhookId>) -> Vec<String> {
    let at = webhook.map_or_else(|| "webhook_id IS NULL".to_owned(), |id| format!("webhook_id = '{id}'"));
    let sql = format!("SELECT payload FROM steps WHERE verb = 'notify' AND dsr_id = '{id}' AND {at} ORDER BY id");
    let status = |text: &String| -> String {
        let payload: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(payload["webhook"].as_str(), webhook.map(WebhookId::as_str));
        payload["status"].as_str().expect("a status").to_owned()
    };
    let mut all: Vec<String> = lab.query(&sql).await.iter().map(status).collect();
    all.sort();
    all
}

async fn each_endpoint_is_told_what_it_wants_to_hear_and_nothing_else(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let (all, _) = endpoint(&lab, &ctl, &[]).await;
    let (ends, _) = endpoint(&lab, &ctl, &["completed", "withdrawn"]).await;
    let other = lab.controller("other").await;
    let (foreign, _) = endpoint(&lab, &other, &[]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.work_off().await;
    let whole = ["completed", "delivering", "in_progress", "received", "verifying"];
    assert_eq!(left(&lab, &id, Some(&all)).await, whole);
    assert_eq!(left(&lab, &id, Some(&ends)).await, ["completed"]);
    assert!(left(&lab, &id, None).await.is_empty(), "it came without an address");
    assert!(left(&lab, &id, Some(&foreign)).await.is_empty());
    let called = lab.begun(&ctl, Wish::deletion().told()).await;
    lab.store.decide(&ctl, &called, Decision::Withdraw, "key_x").await.expect("withdrawn");
    assert_eq!(left(&lab, &called, None).await, ["in_progress", "received", "withdrawn"]);
    assert_eq!(left(&lab, &called, Some(&all)).await, ["in_progress", "received", "withdrawn"]);
    assert_eq!(left(&lab, &called, Some(&ends)).await, ["withdrawn"]);
}

/// Leases a status for an endpoint, or for the request's own address.
async fn claim(lab: &Lab, webhook: Option<&WebhookId>) -> Lease {
    let steps = lab.query("SELECT id FROM systems").await;
    loop {
        let lease = lab.store.claim("one", &steps, 1, 60_000).await.expect("claimed").remove(0);
        assert_eq!(lease.kind, WorkKind::Notify);
        if lease.webhook().as_ref() == webhook {
            return lease;
        }
    }
}

async fn what_is_given_up_at_one_place_does_not_silence_the_other(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let (hook, _) = endpoint(&lab, &ctl, &[]).await;
    let id = lab.begun(&ctl, Wish::deletion().told()).await;
    let lease = claim(&lab, None).await;
    lab.finish(&lease, StepResult::Dismissed { achieved: false, code: "gone".into() }).await;
    assert_eq!(lab.count(&format!("steps WHERE webhook_id = '{hook}' AND q IS NOT NULL")).await, 2);
    lab.work_off().await;
    assert_eq!(left(&lab, &id, Some(&hook)).await.len(), 5);
    assert_eq!(left(&lab, &id, None).await.len(), 2, "its own address is gone");
    // What was given up is replayed by a person; a request without an address does not get one by that.
    let plain = lab.begun(&ctl, Wish::deletion()).await;
    let lease = claim(&lab, Some(&hook)).await;
    lab.finish(&lease, StepResult::Dismissed { achieved: false, code: "given_up".into() }).await;
    assert_eq!(lab.store.replay_callbacks(&ctl, &plain, "key_x").await.expect("replayed"), 1);
    assert_eq!(lab.count(&format!("dsrs WHERE id = '{plain}' AND has_callback = 1")).await, 0);
}

fn failed(retry_at: i64) -> EndpointAnswer {
    EndpointAnswer::Failed { code: "status_500".into(), retry_at }
}

async fn an_endpoint_that_takes_nothing_for_days_is_disabled_and_enabled_by_a_person(lab: Lab) {
    const DAY: i64 = 86_400_000;
    let ctl = lab.with_systems(&["crm"]).await;
    let (hook, _) = endpoint(&lab, &ctl, &[]).await;
    let record = async || lab.store.record_endpoint(&ctl, &hook, &failed(lab.now() + 5_000)).await.expect("recorded");
    assert!(!record().await);
    lab.travel(3 * DAY - 1);
    assert!(!record().await);
    assert!(matches!(lab.store.enable_webhook(&ctl, &hook, "key_x").await, Err(Error::Conflict(_))));
    lab.travel(1);
    assert!(record().await, "three days without a success");
    assert!(!record().await, "it is said once");
    let shown = lab.store.webhook(&ctl, &hook).await.expect("there");
    assert_eq!((shown.failures, shown.disabled_why.as_deref()), (4, Some("silent")));
    assert!(shown.disabled_at.is_some() && shown.answer.as_deref() == Some("status_500"));
    // Nothing is left for it, until somebody enables it.
    let quiet = lab.begun(&ctl, Wish::deletion()).await;
    assert!(left(&lab, &quiet, Some(&hook)).await.is_empty());
    assert_eq!(lab.store.enable_webhook(&ctl, &hook, "key_x").await.expect("enabled"), 0);
    let told = lab.begun(&ctl, Wish::deletion()).await;
    assert_eq!(left(&lab, &told, Some(&hook)).await.len(), 2);
    let lease = claim(&lab, Some(&hook)).await;
    lab.finish(&lease, StepResult::Dismissed { achieved: false, code: "endpoint_gone".into() }).await;
    assert!(lab.store.record_endpoint(&ctl, &hook, &EndpointAnswer::Gone).await.expect("recorded"));
    assert_eq!(lab.store.enable_webhook(&ctl, &hook, "key_x").await.expect("enabled"), 1);
    let again = claim(&lab, Some(&hook)).await;
    assert_eq!((again.step_id, again.payload), (lease.step_id, lease.payload), "the same message");
    let events = lab.store.events_after(&ctl, 0, 1_000).await.expect("read");
    let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((count("webhook_disabled"), count("webhook_enabled")), (2, 2));
    assert_eq!(count("telling_given_up"), 1);
    assert!(events.iter().any(|event| event.kind == "telling_given_up" && event.data["webhook"] == hook.as_str()));
}

async fn a_success_in_between_keeps_an_endpoint(lab: Lab) {
    let ctl = lab.controller("acme").await;
    let (hook, _) = endpoint(&lab, &ctl, &[]).await;
    for _ in 0..10 {
        let disabled = lab.store.record_endpoint(&ctl, &hook, &failed(lab.now() + 1)).await.expect("recorded");
        assert!(!disabled);
        lab.travel(86_400_000);
        lab.store.record_endpoint(&ctl, &hook, &EndpointAnswer::Taken(204)).await.expect("recorded");
    }
    let shown = lab.store.webhook(&ctl, &hook).await.expect("there");
    assert_eq!((shown.failures, shown.failing_since, shown.answer.as_deref()), (0, None, Some("204")));
}

async fn an_old_secret_signs_for_a_day(lab: Lab) {
    let ctl = lab.controller("acme").await;
    let (hook, first) = endpoint(&lab, &ctl, &[]).await;
    let secrets = async || -> Vec<String> {
        let found = lab.store.endpoints(std::slice::from_ref(&hook)).await.expect("read");
        found[&hook].secrets.iter().map(|secret| secret.expose().clone()).collect()
    };
    assert_eq!(secrets().await, std::slice::from_ref(&first));
    let (_, second) = lab.store.rotate_webhook(&ctl, &hook, "key_x").await.expect("rotated");
    let second = second.expose().clone();
    assert_eq!(secrets().await, [second.clone(), first.clone()]);
    lab.travel(86_400_000 - 1);
    assert_eq!(secrets().await.len(), 2);
    lab.travel(1);
    assert_eq!(secrets().await, [second], "a day is over");
    for _ in 0..3 {
        lab.store.rotate_webhook(&ctl, &hook, "key_x").await.expect("rotated");
    }
    assert!(matches!(lab.store.rotate_webhook(&ctl, &hook, "key_x").await, Err(Error::Conflict(_))));
    assert_eq!(secrets().await.len(), 4);
}

async fn what_is_removed_is_told_nothing_and_leaves_no_address(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let (hook, _) = endpoint(&lab, &ctl, &[]).await;
    lab.store.remove_webhook(&ctl, &hook, "key_x").await.expect("removed");
    assert!(matches!(lab.store.remove_webhook(&ctl, &hook, "key_x").await, Err(Error::NotFound)));
    assert!(lab.store.endpoints(std::slice::from_ref(&hook)).await.expect("read").is_empty());
    let id = lab.begun(&ctl, Wish::deletion()).await;
    assert!(left(&lab, &id, Some(&hook)).await.is_empty());
    assert_eq!(lab.count("webhooks WHERE LENGTH(sealed) > 0").await, 0);
}

async fn another_controllers_endpoint_is_not_there(lab: Lab) {
    let (ctl, other) = (lab.controller("acme").await, lab.controller("other").await);
    let (hook, _) = endpoint(&lab, &ctl, &[]).await;
    assert!(matches!(lab.store.webhook(&other, &hook).await, Err(Error::NotFound)));
    assert!(matches!(lab.store.rotate_webhook(&other, &hook, "key_x").await, Err(Error::NotFound)));
    assert!(matches!(lab.store.remove_webhook(&other, &hook, "key_x").await, Err(Error::NotFound)));
    assert!(matches!(lab.store.enable_webhook(&other, &hook, "key_x").await, Err(Error::NotFound)));
    assert!(lab.store.webhooks(&other).await.expect("read").is_empty());
    lab.store.record_endpoint(&other, &hook, &EndpointAnswer::Gone).await.expect("recorded");
    assert!(lab.store.webhook(&ctl, &hook).await.expect("there").disabled_at.is_none());
}

async fn nothing_of_an_address_or_a_secret_is_stored_in_clear(lab: Lab) {
    let ctl = lab.controller("acme").await;
    let (_, secret) = endpoint(&lab, &ctl, &["completed"]).await;
    let bytes = crate::secrecy::every_byte(&lab).await;
    for canary in crate::lab::CANARIES.into_iter().chain([secret.trim_start_matches("whsec_")]) {
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{canary}");
    }
}
