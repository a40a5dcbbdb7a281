//! The queue gives each due row to one worker, the most urgent first, and takes it back from a worker that died.

use crate::lab::{Lab, Wish, done, later};
use redress_domain::StepId;
use redress_domain::step::{Phase, StepState};
use redress_store::{Lease, WorkKind};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

on_both!(
    the_earliest_deadline_is_claimed_first,
    a_claim_is_of_one_lane_one_verb_and_one_phase,
    a_claim_is_never_larger_than_the_batch,
    a_lane_that_is_busy_is_passed_over,
    a_paused_system_is_not_claimed_until_it_is_resumed,
    eight_claimers_never_get_the_same_row,
    a_claimer_that_came_too_late_gets_the_next_lane,
    a_lease_that_is_renewed_stays_and_one_that_is_not_returns,
    only_the_owner_renews_a_lease,
    a_lease_that_ran_out_returns_to_the_queue,
    the_third_death_quarantines_the_step_and_tells,
    a_released_row_was_never_tried,
    a_waiting_row_runs_when_its_time_has_come_and_not_before,
    a_worker_that_leaves_hands_back_what_it_holds,
    a_step_that_killed_two_workers_runs_alone,
);

async fn the_earliest_deadline_is_claimed_first(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let mut ids = Vec::new();
    for due in [300, 100, 200] {
        ids.push(lab.begun(&ctl, Wish::deletion().due(due)).await);
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(lab.claim_step().await.dsr_id);
    }
    assert_eq!(order, [ids[1].clone(), ids[2].clone(), ids[0].clone()]);
    assert!(lab.claim().await.is_empty());
}

async fn a_claim_is_of_one_lane_one_verb_and_one_phase(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    for wish in [Wish::deletion(), Wish::access(), Wish::deletion()] {
        lab.begun(&ctl, wish).await;
    }
    // One deletion in the shop is to be read a second time.
    let first = lab.claim_step().await;
    lab.finish(&first, done((first.kind == WorkKind::Step(redress_domain::Verb::Erase)).then(|| lab.now()))).await;
    let mut all = 1;
    loop {
        let leases = lab.store.claim("one", &["answer".into()], 100, 60_000).await.expect("claimed");
        let kinds: BTreeSet<_> =
            leases.iter().map(|l| (l.lane.clone(), l.kind.as_str(), l.phase == Phase::Verify)).collect();
        match kinds.len() {
            0 => break,
            1 => all += leases.len(),
            _ => panic!("{kinds:?}"),
        }
    }
    assert!(all >= 6, "{all}");
}

async fn a_claim_is_never_larger_than_the_batch(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for _ in 0..7 {
        lab.begun(&ctl, Wish::deletion()).await;
    }
    lab.sql(if lab.store.dialect() == redress_store::Dialect::Postgres { "ANALYZE steps" } else { "ANALYZE" })
        .await
        .expect("analyzed");
    for wanted in [3, 3, 1, 0] {
        assert_eq!(lab.store.claim("one", &[], 3, 60_000).await.expect("claimed").len(), wanted);
    }
}

async fn a_lane_that_is_busy_is_passed_over(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    let crm = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there").id;
    let leases = lab.store.claim("one", &[crm.as_str().into()], 100, 60_000).await.expect("claimed");
    assert_eq!(leases.len(), 1);
    assert_ne!(leases[0].lane, crm.as_str());
}

async fn a_paused_system_is_not_claimed_until_it_is_resumed(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    lab.store.pause_system(&ctl, "crm", true, "operator").await.expect("paused");
    assert!(lab.claim().await.is_empty());
    lab.store.pause_system(&ctl, "crm", false, "operator").await.expect("resumed");
    assert_eq!(lab.claim().await.len(), 1);
}

async fn eight_claimers_never_get_the_same_row(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    for i in 0..100 {
        lab.submit(&ctl, Wish::deletion().due(1_000 + i % 7)).await;
    }
    lab.advance().await;
    let stores = [lab.store.clone(), lab.another().await];
    let claimers = (0..8).map(|n| {
        let store = stores[n % 2].clone();
        tokio::spawn(async move {
            let (mut own, mut idle) = (Vec::new(), 0);
            while idle < 3 {
                let leases = store.claim(&format!("w{n}"), &[], 5, 60_000).await.expect("claimed");
                idle = if leases.is_empty() { idle + 1 } else { 0 };
                own.extend(leases);
            }
            own
        })
    });
    let mut all: Vec<Lease> = Vec::new();
    for claimer in futures::future::join_all(claimers).await {
        all.extend(claimer.expect("no panic"));
    }
    let ids: BTreeSet<&str> = all.iter().map(|l| l.step_id.as_str()).collect();
    assert_eq!((all.len(), ids.len()), (200, 200));
    assert!(all.iter().all(|l| l.token == 1));
    assert_eq!(lab.count("steps WHERE attempts = 1 AND q = 'run'").await, 200);
}

async fn a_claimer_that_came_too_late_gets_the_next_lane(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    let stores = [lab.store.clone(), lab.another().await];
    for _ in 0..20 {
        let (a, b) = tokio::join!(stores[0].claim("a", &[], 9, 60_000), stores[1].claim("b", &[], 9, 60_000));
        let (a, b) = (a.expect("claimed"), b.expect("claimed"));
        assert_eq!((a.len(), b.len()), (1, 1), "each one of the two lanes");
        lab.store.release(&a).await.expect("released");
        lab.store.release(&b).await.expect("released");
    }
}

async fn a_lease_that_is_renewed_stays_and_one_that_is_not_returns(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    // Long enough for a slow machine to renew it in time, since this is the database's own clock.
    let kept = lab.store.claim("one", &[], 1, 700).await.expect("claimed").pop().expect("due");
    let lost = lab.store.claim("one", &[], 1, 700).await.expect("claimed").pop().expect("due");
    let began = Instant::now();
    assert_eq!(lab.store.renew("one", std::slice::from_ref(&kept.step_id), 60_000).await.expect("renewed"), 1);
    assert_eq!(lab.store.expire_leases().await.expect("looked"), 0, "too early: {:?}", began.elapsed());
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(lab.store.expire_leases().await.expect("taken back"), 1);
    assert_eq!(lab.finish(&lost, done(None)).await, 1, "dropped");
    assert_eq!(lab.finish(&kept, done(None)).await, 0, "recorded");
}

async fn only_the_owner_renews_a_lease(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    let lease = lab.claim_step().await;
    let ids: Vec<StepId> = vec![lease.step_id.clone()];
    assert_eq!(lab.store.renew("another", &ids, 60_000).await.expect("looked"), 0);
    assert_eq!(lab.store.renew("one", &ids, 60_000).await.expect("renewed"), 1);
    lab.store.release(&[lease]).await.expect("released");
    assert_eq!(lab.store.renew("one", &ids, 60_000).await.expect("looked"), 0);
}

async fn a_lease_that_ran_out_returns_to_the_queue(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let dead = lab.claim_and_die().await;
    assert_eq!(lab.detail(&ctl, &id).await.steps[0].status, StepState::Leased);
    assert_eq!(lab.store.expire_leases().await.expect("taken back"), 1);
    assert_eq!(lab.store.expire_leases().await.expect("looked"), 0);
    let again = lab.claim_step().await;
    assert_eq!(again.step_id, dead.step_id);
    assert!(again.token > dead.token);
    assert_eq!(lab.detail(&ctl, &id).await.steps[0].attempts, 2);
}

async fn the_third_death_quarantines_the_step_and_tells(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    for death in 1..=3 {
        lab.claim_and_die().await;
        assert_eq!(lab.store.expire_leases().await.expect("taken back"), 1);
        let status = lab.status(&ctl, &id).await;
        assert_eq!(status, if death < 3 { "in_progress" } else { "needs_attention" });
    }
    assert!(lab.claim().await.is_empty());
    let detail = lab.detail(&ctl, &id).await;
    assert_eq!(detail.steps[0].status, StepState::NeedsAttention);
    assert_eq!(detail.steps[0].error.as_ref().expect("a reason").0, "quarantined");
    assert_eq!(detail.row.attention.as_deref(), Some("crm: quarantined"));
    let events = lab.store.events_of(&ctl, &id).await.expect("read");
    assert_eq!(events.last().expect("one").kind, "step_quarantined");
    crate::audit::assert_chain(&lab.store, &ctl).await;
}

async fn a_released_row_was_never_tried(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let lease = lab.claim_step().await;
    lab.store.release(std::slice::from_ref(&lease)).await.expect("released");
    let step = &lab.detail(&ctl, &id).await.steps[0];
    assert_eq!((step.attempts, step.status), (0, StepState::Queued));
    assert_eq!(lab.finish(&lease, done(None)).await, 1, "the released lease is worth nothing");
    assert_eq!(lab.claim().await.len(), 1);
}

async fn a_waiting_row_runs_when_its_time_has_come_and_not_before(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let (lease, at) = (lab.claim_step().await, lab.now() + 5_000);
    lab.finish(&lease, later(at, true, false)).await;
    let step = lab.detail(&ctl, &id).await.steps[0].clone();
    assert_eq!((step.status, step.next_attempt_at), (StepState::Waiting, Some(at)));
    assert_eq!(lab.store.next_wait().await.expect("read"), Some(at));
    lab.travel(4_999);
    assert_eq!(lab.store.promote().await.expect("looked"), 0);
    assert!(lab.claim().await.is_empty());
    lab.travel(1);
    assert_eq!(lab.store.promote().await.expect("promoted"), 1);
    let again = lab.claim_step().await;
    assert_eq!((again.failures, lab.store.next_wait().await.expect("read")), (1, None));
}

async fn a_worker_that_leaves_hands_back_what_it_holds(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let own = lab.claim_step().await;
    let others = lab.store.claim("two", &[], 1, 60_000).await.expect("claimed").remove(0);
    assert_eq!(lab.store.hand_back("one").await.expect("handed back"), 1);
    assert_eq!(lab.store.hand_back("one").await.expect("looked"), 0);
    assert_eq!(lab.finish(&own, done(None)).await, 1, "what runs on there is dropped");
    assert_eq!(lab.finish(&others, done(Some(lab.now()))).await, 0, "nobody else is disturbed");
    assert_eq!(lab.count("steps WHERE deaths > 0").await, 0);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}

async fn a_step_that_killed_two_workers_runs_alone(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for due in 0..5 {
        lab.begun(&ctl, Wish::deletion().due(due)).await;
    }
    for _ in 0..2 {
        assert_eq!(lab.store.claim("dead", &[], 2, -1).await.expect("claimed").len(), 2);
        assert_eq!(lab.store.expire_leases().await.expect("taken back"), 2);
    }
    let suspect = lab.claim().await;
    assert_eq!(suspect.len(), 1, "alone");
    let healthy = lab.claim().await;
    assert_eq!(healthy.len(), 3, "the others go on, without the second suspect");
    assert!(lab.claim().await.is_empty(), "one suspect at a time in a process");
    lab.finish(&suspect[0], done(None)).await;
    assert_eq!(lab.claim().await.len(), 1);
}
