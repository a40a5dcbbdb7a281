//! A controller that gave an address is told of every status; nobody else is told anything.

use crate::lab::{Lab, Wish, attention, later};
use redress_domain::DsrId;
use redress_store::{Decision, Lease, StepResult, WorkKind};

on_both!(
    every_status_of_a_journey_is_told_once,
    without_an_address_nothing_is_told,
    attention_and_its_end_are_told,
    a_withdrawal_is_told_and_the_telling_outlives_it,
    a_notice_that_failed_is_tried_again_as_the_same_message,
    an_endpoint_that_is_gone_is_told_nothing_more,
    a_notice_that_is_given_up_does_not_disturb_the_request,
);

async fn told(lab: &Lab, id: &DsrId) -> Vec<String> {
    let sql = format!("SELECT payload FROM steps WHERE verb = 'notify' AND dsr_id = '{id}' ORDER BY created_at, id");
    let status = |text: &String| -> String {
        let payload: serde_json::Value = serde_json::from_str(text).expect("JSON");
        payload["status"].as_str().expect("a status").to_owned()
    };
    let mut all: Vec<String> = lab.query(&sql).await.iter().map(status).collect();
    all.sort();
    all
}

async fn claim_notice(lab: &Lab) -> Lease {
    let steps = lab.query("SELECT id FROM systems").await;
    let lease = lab.store.claim("one", &steps, 1, 60_000).await.expect("claimed").remove(0);
    assert_eq!(lease.kind, WorkKind::Notify);
    lease
}

async fn every_status_of_a_journey_is_told_once(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().policy(true, 1_000, true).told()).await;
    lab.store.decide(&ctl, &id, Decision::Approve, "key_person").await.expect("approved");
    lab.travel(1_000);
    lab.work_off().await;
    lab.store.decide(&ctl, &id, Decision::Approve, "key_person").await.expect("approved");
    lab.work_off().await;
    let wanted = "awaiting_approval completed cooling_off delivering in_progress received review verifying";
    assert_eq!(told(&lab, &id).await.join(" "), wanted);
    let events = lab.store.events_of(&ctl, &id).await.expect("read");
    assert_eq!(events.iter().filter(|e| e.kind == "controller_told").count(), 8);
}

async fn without_an_address_nothing_is_told(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    let withdrawn = lab.begun(&ctl, Wish::deletion()).await;
    lab.store.decide(&ctl, &withdrawn, Decision::Withdraw, "key_person").await.expect("withdrawn");
    assert_eq!(lab.count("steps WHERE verb = 'notify'").await, 0);
}

async fn attention_and_its_end_are_told(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().told()).await;
    lab.finish(&lab.claim_step().await, attention()).await;
    assert_eq!(told(&lab, &id).await, ["in_progress", "needs_attention", "received"]);
    let plan = lab.plan(&ctl, redress_domain::RequestType::Deletion).await;
    lab.store.decide(&ctl, &id, Decision::Retry(plan), "key_person").await.expect("tried again");
    assert_eq!(told(&lab, &id).await, ["in_progress", "in_progress", "needs_attention", "received"]);
    let lonely = lab.controller("lonely").await;
    let id = lab.begun(&lonely, Wish::deletion().told()).await;
    assert_eq!(told(&lab, &id).await, ["needs_attention", "received"]);
}

async fn a_withdrawal_is_told_and_the_telling_outlives_it(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().told()).await;
    let notice = claim_notice(&lab).await;
    lab.store.decide(&ctl, &id, Decision::Withdraw, "key_person").await.expect("withdrawn");
    assert_eq!(told(&lab, &id).await, ["in_progress", "received", "withdrawn"]);
    lab.finish(&notice, later(lab.now() + 1_000, true, false)).await;
    assert_eq!(lab.count("steps WHERE verb = 'notify' AND q IS NOT NULL").await, 3);
    lab.travel(1_000);
    lab.work_off().await;
    assert_eq!(lab.count("steps WHERE verb = 'notify' AND state = 'done'").await, 3);
    assert_eq!(lab.status(&ctl, &id).await, "withdrawn");
}

async fn a_notice_that_failed_is_tried_again_as_the_same_message(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.submit(&ctl, Wish::deletion().told()).await;
    let first = claim_notice(&lab).await;
    lab.finish(&first, later(lab.now() + 5_000, true, false)).await;
    lab.travel(5_000);
    lab.store.promote().await.expect("promoted");
    let second = claim_notice(&lab).await;
    assert_eq!((&second.step_id, &second.payload, second.failures), (&first.step_id, &first.payload, 1));
}

async fn an_endpoint_that_is_gone_is_told_nothing_more(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().told()).await;
    let notice = claim_notice(&lab).await;
    lab.finish(&notice, StepResult::Dismissed { achieved: false, code: "gone".into() }).await;
    assert_eq!(lab.count("steps WHERE verb = 'notify' AND q IS NOT NULL").await, 0);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert_eq!(told(&lab, &id).await, ["in_progress", "received"], "what came before it was gone");
}

async fn a_notice_that_is_given_up_does_not_disturb_the_request(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().told()).await;
    let notice = claim_notice(&lab).await;
    lab.finish(&notice, StepResult::Dismissed { achieved: false, code: "given_up".into() }).await;
    assert_eq!(lab.status(&ctl, &id).await, "in_progress");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    let events = lab.store.events_of(&ctl, &id).await.expect("read");
    assert_eq!(events.iter().filter(|e| e.kind == "telling_given_up").count(), 1);
}
