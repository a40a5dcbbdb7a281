//! A request moves from stage to stage by what its steps saw, and completes only when each of them is settled.

use crate::lab::{Lab, Wish, acted, attention, done, later, residue, verified};
use redress_domain::stage::{Event, Stage};
use redress_domain::step::StepState;
use redress_domain::{ControllerId, DsrId};
use redress_store::StepResult;

on_both!(
    a_deletion_goes_through_every_stage_in_order,
    an_access_request_is_answered_without_a_second_read,
    an_unverified_deletion_never_completes,
    residue_makes_the_step_act_once_more_and_then_asks_a_person,
    residue_that_is_gone_at_the_second_try_completes,
    nothing_found_and_kept_records_settle_a_step,
    records_that_stay_make_the_end_partial,
    a_failure_waits_and_recovers_by_itself,
    the_third_failure_is_shown_while_the_step_is_still_tried,
    a_system_that_does_it_itself_is_asked_again,
    an_answer_that_cannot_be_made_needs_attention,
    a_request_that_nothing_moves_is_found,
    a_step_that_succeeds_forgets_its_error,
);

/// The stored stage is what the request's events lead to.
pub(crate) async fn assert_replay(lab: &Lab, ctl: &ControllerId, id: &DsrId) {
    let events = lab.store.events_of(ctl, id).await.expect("read");
    assert_eq!(events.first().map(|e| e.kind.as_str()), Some("received"));
    let stage = events.iter().filter_map(|e| Event::parse(&e.kind)).try_fold(Stage::Received, Stage::after);
    assert_eq!(stage.expect("every event was legal"), lab.detail(ctl, id).await.row.stage);
}

async fn kinds(lab: &Lab, ctl: &ControllerId, id: &DsrId) -> Vec<String> {
    let events = lab.store.events_of(ctl, id).await.expect("read");
    events.into_iter().map(|e| e.kind).collect()
}

async fn a_deletion_goes_through_every_stage_in_order(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.submit(&ctl, Wish::deletion()).await;
    assert_eq!(lab.advance().await, 0, "it was advanced when it was accepted");
    let mut seen = vec![lab.status(&ctl, &id).await];
    while let Some(lease) = lab.claim().await.into_iter().next() {
        lab.obey(&lease).await;
        seen.push(lab.status(&ctl, &id).await);
    }
    seen.dedup();
    assert_eq!(seen, ["in_progress", "verifying", "delivering", "completed"]);
    let row = lab.detail(&ctl, &id).await.row;
    assert_eq!((row.stage, row.closed_at), (Stage::Completed, Some(lab.now())));
    let all = kinds(&lab, &ctl, &id).await;
    let (steps, stages): (Vec<_>, Vec<_>) = all.iter().map(String::as_str).partition(|k| k.starts_with("step_"));
    assert_eq!(stages.join(" "), "received work_began verification_began delivery_began answer_made completed");
    for kind in ["step_acted", "step_verified"] {
        assert_eq!(steps.iter().filter(|k| **k == kind).count(), 2, "{steps:?}");
    }
    assert_replay(&lab, &ctl, &id).await;
}

async fn an_access_request_is_answered_without_a_second_read(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    lab.obey(&lab.claim_step().await).await;
    assert_eq!(lab.status(&ctl, &id).await, "delivering");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert_eq!(lab.count("artifacts").await, 0, "the package holds what the artifacts held");
    assert_replay(&lab, &ctl, &id).await;
}

async fn an_unverified_deletion_never_completes(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    // One system is verified. The other says it is done, and its second read is never answered.
    let one = lab.claim_step().await;
    lab.finish(&one, done(Some(lab.now()))).await;
    let other = lab.store.claim("one", std::slice::from_ref(&one.lane), 1, 60_000).await.expect("claimed").remove(0);
    lab.finish(&other, done(Some(lab.now()))).await;
    let one = lab.store.claim("one", std::slice::from_ref(&other.lane), 1, 60_000).await.expect("claimed").remove(0);
    lab.finish(&one, verified()).await;
    let not_yet = [later(lab.now(), false, false), later(lab.now(), true, true), attention()];
    for result in not_yet {
        lab.store.promote().await.expect("promoted");
        let second_read = lab.claim_step().await;
        lab.finish(&second_read, result).await;
        lab.advance().await;
        lab.store.reconcile().await.expect("looked");
        lab.advance().await;
        assert_eq!(lab.detail(&ctl, &id).await.row.stage, Stage::Verifying);
        assert_eq!(lab.count("steps WHERE verb = 'answer'").await, 0);
    }
    assert_eq!(lab.status(&ctl, &id).await, "needs_attention");
    assert_replay(&lab, &ctl, &id).await;
}

async fn residue_makes_the_step_act_once_more_and_then_asks_a_person(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    for attempt in 1..=2 {
        let act = lab.claim_step().await;
        assert_eq!(act.phase.as_str(), "act", "attempt {attempt}");
        lab.finish(&act, done(Some(lab.now()))).await;
        assert_eq!(lab.status(&ctl, &id).await, "verifying");
        let read = lab.claim_step().await;
        assert_eq!(read.phase.as_str(), "verify");
        lab.finish(&read, residue()).await;
        assert_eq!(lab.status(&ctl, &id).await, if attempt == 1 { "in_progress" } else { "needs_attention" });
    }
    assert!(lab.claim().await.is_empty());
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!(detail.row.attention.as_deref(), Some("crm: residue"));
    assert!(detail.steps[0].error.as_ref().expect("a reason").1.contains("2 record(s)"));
    assert_replay(&lab, &ctl, &id).await;
}

async fn residue_that_is_gone_at_the_second_try_completes(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.obey(&lab.claim_step().await).await;
    lab.finish(&lab.claim_step().await, residue()).await;
    lab.work_off().await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!(detail.row.status, "completed");
    assert_eq!((detail.steps[0].attempts, detail.steps[0].error.clone()), (2, None));
    assert_replay(&lab, &ctl, &id).await;
}

async fn nothing_found_and_kept_records_settle_a_step(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.finish(&lab.claim_step().await, acted(StepState::NothingFound, 0)).await;
    assert_eq!(lab.status(&ctl, &id).await, "in_progress");
    lab.finish(&lab.claim_step().await, acted(StepState::Retained, 3)).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "partially_completed");
    assert_replay(&lab, &ctl, &id).await;
}

async fn records_that_stay_make_the_end_partial(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let StepResult::Acted { state, found, changed, result, receipt, verify_at, .. } = done(Some(lab.now())) else {
        panic!("acted")
    };
    let some_stay = StepResult::Acted { state, found, changed, retained: 2, result, receipt, verify_at };
    lab.finish(&lab.claim_step().await, some_stay).await;
    lab.finish(&lab.claim_step().await, verified()).await;
    assert_eq!(lab.detail(&ctl, &id).await.steps[0].status, StepState::Retained);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "partially_completed");
}

async fn a_failure_waits_and_recovers_by_itself(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.finish(&lab.claim_step().await, later(lab.now() + 1_000, true, false)).await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!((detail.row.status.as_str(), detail.steps[0].status), ("in_progress", StepState::Waiting));
    assert_eq!(detail.steps[0].error.as_ref().expect("a reason").0, "unreachable");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "in_progress", "not before its time");
    lab.travel(1_000);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert!(kinds(&lab, &ctl, &id).await.contains(&"step_failed".to_owned()));
}

async fn the_third_failure_is_shown_while_the_step_is_still_tried(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.finish(&lab.claim_step().await, later(lab.now() + 1_000, true, true)).await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!(detail.row.status, "needs_attention");
    assert_eq!(detail.row.attention.as_deref(), Some("crm: unreachable"));
    assert_eq!(detail.steps[0].next_attempt_at, Some(lab.now() + 1_000));
    lab.travel(1_000);
    lab.work_off().await;
    let row = lab.detail(&ctl, &id).await.row;
    assert_eq!((row.status.as_str(), row.attention), ("completed", None));
    assert_replay(&lab, &ctl, &id).await;
}

async fn a_system_that_does_it_itself_is_asked_again(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let order =
        StepResult::External { receipt: "canary-receipt".into(), check_at: lab.now() + 60_000, completes_by: None };
    lab.finish(&lab.claim_step().await, order).await;
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!((detail.row.status.as_str(), detail.steps[0].status), ("in_progress", StepState::External));
    lab.work_off().await;
    lab.travel(60_000);
    lab.store.promote().await.expect("promoted");
    let asked = lab.claim_step().await;
    let opened = lab.store.open_work(vec![asked]).await.expect("opened");
    assert_eq!(opened[0].prior.as_deref(), Some("canary-receipt"), "it knows what to ask for");
    lab.obey(&opened[0].lease).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}

async fn an_answer_that_cannot_be_made_needs_attention(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    lab.obey(&lab.claim_step().await).await;
    let answer = lab.claim().await.remove(0);
    lab.finish(&answer, later(lab.now() + 1_000, true, true)).await;
    let row = lab.detail(&ctl, &id).await.row;
    assert_eq!((row.status.as_str(), row.stage), ("needs_attention", Stage::Delivering));
    assert_eq!(row.attention.as_deref(), Some("the answer could not be made"));
    lab.travel(1_000);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    assert_replay(&lab, &ctl, &id).await;
}

async fn a_request_that_nothing_moves_is_found(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    lab.obey(&lab.claim_step().await).await;
    assert_eq!(lab.store.reconcile().await.expect("looked"), 0, "there should be none");
    lab.sql("DELETE FROM steps WHERE verb = 'answer'").await.expect("lost");
    assert_eq!(lab.store.reconcile().await.expect("found"), 1);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}

async fn a_step_that_succeeds_forgets_its_error(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.finish(&lab.claim_step().await, later(lab.now(), true, true)).await;
    lab.work_off().await;
    assert_eq!(lab.detail(&ctl, &id).await.steps[0].error, None);
    assert_eq!(lab.count("steps WHERE failures > 0 OR attention = 1").await, 0);
}
