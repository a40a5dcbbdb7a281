//! A person decides what a program may not: to begin, to hand over, to refuse, to take back, to try again.

use crate::lab::{Lab, Wish, attention, done, later, residue};
use crate::stages::assert_replay;
use redress_domain::plan::FanOut;
use redress_domain::stage::Stage;
use redress_domain::{ControllerId, DsrId};
use redress_store::{Decision, Error};

on_both!(
    nothing_runs_before_the_approval,
    a_cooling_off_ends_by_the_clock_and_not_before,
    a_reviewed_result_is_handed_over_only_after_the_approval,
    approval_cooling_off_and_review_follow_each_other,
    a_withdrawal_ends_every_stage_before_delivery,
    a_rejection_keeps_its_reason,
    what_needed_attention_runs_again_after_a_retry,
    residue_after_a_retry_is_acted_on_before_it_is_read_again,
    a_retry_does_not_hurry_a_second_read,
    a_request_without_systems_is_replanned_by_a_retry,
    a_decision_that_does_not_fit_is_a_conflict_and_changes_nothing,
);

async fn decide(lab: &Lab, ctl: &ControllerId, id: &DsrId, decision: Decision) -> Result<(), Error> {
    lab.store.decide(ctl, id, decision, "key_person").await
}

async fn retry(lab: &Lab, ctl: &ControllerId, id: &DsrId) -> Result<(), Error> {
    let kind = lab.detail(ctl, id).await.row.kind;
    decide(lab, ctl, id, Decision::Retry(lab.plan(ctl, kind).await)).await
}

async fn nothing_runs_before_the_approval(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().policy(true, 0, false)).await;
    assert_eq!(lab.status(&ctl, &id).await, "awaiting_approval");
    lab.travel(90 * 86_400_000);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "awaiting_approval", "no time that passes approves it");
    decide(&lab, &ctl, &id, Decision::Approve).await.expect("approved");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    let events = lab.store.events_of(&ctl, &id).await.expect("read");
    assert!(events.iter().any(|e| e.kind == "approved" && e.actor == "key_person"));
    assert_replay(&lab, &ctl, &id).await;
}

async fn a_cooling_off_ends_by_the_clock_and_not_before(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().policy(false, 3_600_000, false)).await;
    assert_eq!(lab.status(&ctl, &id).await, "cooling_off");
    lab.travel(3_599_999);
    assert_eq!(lab.advance().await, 0);
    assert!(lab.claim().await.is_empty());
    lab.travel(1);
    assert_eq!(lab.advance().await, 1);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert_replay(&lab, &ctl, &id).await;
}

async fn a_reviewed_result_is_handed_over_only_after_the_approval(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access().policy(false, 0, true)).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "review");
    assert_eq!(lab.count("steps WHERE verb = 'answer'").await, 0);
    decide(&lab, &ctl, &id, Decision::Approve).await.expect("approved");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert_replay(&lab, &ctl, &id).await;
}

async fn approval_cooling_off_and_review_follow_each_other(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion().policy(true, 1_000, true)).await;
    decide(&lab, &ctl, &id, Decision::Approve).await.expect("approved");
    assert_eq!(lab.status(&ctl, &id).await, "cooling_off");
    assert!(matches!(decide(&lab, &ctl, &id, Decision::Approve).await, Err(Error::Conflict(_))));
    lab.travel(1_000);
    // PostgreSQL may hold the refused decision's lock for a moment, and an advance passes over what is locked.
    while lab.advance().await == 0 {
        tokio::task::yield_now().await;
    }
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "review");
    decide(&lab, &ctl, &id, Decision::Approve).await.expect("approved");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert_replay(&lab, &ctl, &id).await;
}

async fn a_withdrawal_ends_every_stage_before_delivery(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let stages = [Stage::InProgress, Stage::AwaitingApproval, Stage::CoolingOff, Stage::Verifying, Stage::Review];
    for stage in stages {
        let wish = Wish::deletion().policy(
            stage == Stage::AwaitingApproval,
            if stage == Stage::CoolingOff { 1_000 } else { 0 },
            stage == Stage::Review,
        );
        let id = lab.submit(&ctl, wish).await;
        if stage == Stage::Verifying {
            lab.finish(&lab.claim_step().await, done(Some(lab.now() + 1_000))).await;
        }
        if stage == Stage::Review {
            lab.work_off().await;
        }
        assert_eq!(lab.detail(&ctl, &id).await.row.stage, stage);
        decide(&lab, &ctl, &id, Decision::Withdraw).await.expect("withdrawn");
        lab.travel(10_000);
        lab.work_off().await;
        let row = lab.detail(&ctl, &id).await.row;
        assert_eq!((row.stage, row.status.as_str()), (Stage::Withdrawn, "withdrawn"), "from {stage}");
        assert!(row.closed_at.is_some());
        assert_replay(&lab, &ctl, &id).await;
    }
    assert_eq!(lab.count("steps WHERE q IS NOT NULL").await, 0);
}

async fn a_rejection_keeps_its_reason(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    decide(&lab, &ctl, &id, Decision::Reject("identity_not_proven".into())).await.expect("rejected");
    assert_eq!(lab.status(&ctl, &id).await, "rejected");
    let events = lab.store.events_of(&ctl, &id).await.expect("read");
    let last = events.last().expect("one");
    assert_eq!((last.kind.as_str(), last.data["reason"].as_str()), ("rejected", Some("identity_not_proven")));
    assert!(lab.claim().await.is_empty());
    assert_replay(&lab, &ctl, &id).await;
}

async fn what_needed_attention_runs_again_after_a_retry(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.finish(&lab.claim_step().await, attention()).await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!(detail.row.attention.as_deref(), Some("crm: credentials_refused"));
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "needs_attention", "nobody mended anything");
    retry(&lab, &ctl, &id).await.expect("tried again");
    let row = lab.detail(&ctl, &id).await.row;
    assert_eq!((row.status.as_str(), row.attention), ("in_progress", None));
    // A wait is cut short as well, and what failed before counts no more.
    lab.finish(&lab.claim_step().await, later(lab.now() + 900_000, true, true)).await;
    retry(&lab, &ctl, &id).await.expect("tried again");
    assert_eq!(lab.claim_step().await.failures, 0);
}

async fn residue_after_a_retry_is_acted_on_before_it_is_read_again(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    for _ in 0..2 {
        lab.obey(&lab.claim_step().await).await;
        lab.finish(&lab.claim_step().await, residue()).await;
    }
    assert_eq!(lab.status(&ctl, &id).await, "needs_attention");
    retry(&lab, &ctl, &id).await.expect("tried again");
    assert_eq!(lab.status(&ctl, &id).await, "in_progress");
    let again = lab.claim_step().await;
    assert_eq!(again.phase.as_str(), "act");
    lab.obey(&again).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert_replay(&lab, &ctl, &id).await;
}

async fn a_retry_does_not_hurry_a_second_read(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.finish(&lab.claim_step().await, done(Some(lab.now() + 60_000))).await;
    lab.finish(&lab.claim_step().await, attention()).await;
    retry(&lab, &ctl, &id).await.expect("tried again");
    let leases = lab.claim().await;
    assert_eq!(leases.iter().map(|l| l.phase.as_str()).collect::<Vec<_>>(), ["act"]);
    assert!(lab.claim().await.is_empty());
}

async fn a_request_without_systems_is_replanned_by_a_retry(lab: Lab) {
    let ctl = lab.controller("acme").await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let row = lab.detail(&ctl, &id).await.row;
    assert_eq!((row.status.as_str(), row.stage), ("needs_attention", Stage::Received));
    assert!(row.attention.expect("a sentence").contains("no connected system"));
    let Err(Error::Conflict(why)) = retry(&lab, &ctl, &id).await else { panic!("still nothing is connected") };
    assert!(why.contains("no connected system"), "{why}");
    lab.system(&ctl, "crm").await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "needs_attention", "a frozen plan does not grow by itself");
    retry(&lab, &ctl, &id).await.expect("planned");
    assert_eq!(lab.status(&ctl, &id).await, "in_progress");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert_replay(&lab, &ctl, &id).await;
}

async fn a_decision_that_does_not_fit_is_a_conflict_and_changes_nothing(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let running = lab.begun(&ctl, Wish::deletion()).await;
    let before = lab.store.events_of(&ctl, &running).await.expect("read").len();
    for decision in [Decision::Approve, Decision::Retry(FanOut::default())] {
        let refused = decide(&lab, &ctl, &running, decision.clone()).await;
        let Err(Error::Conflict(why)) = refused else { panic!("{decision:?}: {refused:?}") };
        assert!(why.contains("in_progress"), "{why}");
    }
    lab.obey(&lab.claim_step().await).await;
    lab.obey(&lab.claim_step().await).await;
    let all =
        || [Decision::Withdraw, Decision::Reject("x".into()), Decision::Approve, Decision::Retry(FanOut::default())];
    for (status, decisions) in [("delivering", &all()[..3]), ("completed", &all()[..])] {
        if status == "completed" {
            lab.work_off().await;
        }
        assert_eq!(lab.status(&ctl, &running).await, status);
        for decision in decisions {
            let refused = decide(&lab, &ctl, &running, decision.clone()).await;
            assert!(matches!(refused, Err(Error::Conflict(_))), "{status} {decision:?}: {refused:?}");
        }
    }
    let events = lab.store.events_of(&ctl, &running).await.expect("read");
    assert!(events.iter().all(|e| !matches!(e.kind.as_str(), "approved" | "retried" | "withdrawn" | "rejected")));
    assert!(events.len() > before);
    assert_replay(&lab, &ctl, &running).await;
}
