//! What several workers do at once comes out as if they had taken turns.

use crate::lab::{Lab, Wish, done, verified};
use redress_store::{Decision, Error, Finish, Store};
use std::collections::BTreeMap;

on_both!(
    two_steps_that_finish_at_once_make_one_answer,
    the_same_outcome_recorded_by_two_at_once_counts_once,
    a_withdrawal_beside_a_finish_ends_one_way_or_the_other,
    a_withdrawal_beside_a_shutdown_leaves_nothing_to_do,
    a_fleet_works_everything_off_without_a_deadlock,
);

/// A worker of a fleet: does what is due until nothing is, and reports every error but the ones it must try again.
async fn work(store: Store, owner: String, errors: std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let mut idle = 0;
    while idle < 5 {
        let round = async {
            let mut busy = store.advance_due(20).await? > 0;
            busy |= store.promote().await? > 0;
            store.expire_leases().await?;
            let leases = store.claim(&owner, &["answer".into()], 7, 60_000).await?;
            busy |= !leases.is_empty();
            let ids: Vec<_> = leases.iter().rev().map(|l| l.step_id.clone()).collect();
            store.renew(&owner, &ids, 60_000).await?;
            let now = store.now_ms();
            let verify = |l: &redress_store::Lease| l.phase.as_str() == "verify";
            let batch = leases
                .into_iter()
                .map(|l| Finish { result: if verify(&l) { verified() } else { done(Some(now)) }, lease: l })
                .rev()
                .collect();
            store.finish(batch).await?;
            for answer in store.claim(&owner, &[], 1, 60_000).await? {
                busy = true;
                if answer.kind == redress_store::WorkKind::Answer {
                    store.answered(&answer, &serde_json::json!({}), None).await?;
                } else {
                    store.release(&[answer]).await?;
                }
            }
            Ok::<_, Error>(busy)
        };
        match round.await {
            Ok(true) => idle = 0,
            Ok(false) => idle += 1,
            Err(error) => {
                errors.lock().expect("no panic").push(error.to_string());
                return;
            }
        }
    }
}

async fn two_steps_that_finish_at_once_make_one_answer(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let stores = [lab.store.clone(), lab.another().await];
    for _ in 0..10 {
        let id = lab.begun(&ctl, Wish::access()).await;
        let (one, two) = (lab.claim_step().await, lab.claim_step().await);
        let finish = |store: &Store, lease| {
            let store = store.clone();
            tokio::spawn(async move { store.finish(vec![Finish { lease, result: done(None) }]).await })
        };
        let (a, b) = (finish(&stores[0], one), finish(&stores[1], two));
        assert_eq!(
            (a.await.expect("no panic").expect("recorded"), b.await.expect("no panic").expect("recorded")),
            (0, 0)
        );
        assert_eq!(lab.count(&format!("steps WHERE verb = 'answer' AND dsr_id = '{id}'")).await, 1);
        let events = lab.store.events_of(&ctl, &id).await.expect("read");
        assert_eq!(events.iter().filter(|e| e.kind == "delivery_began").count(), 1);
        lab.work_off().await;
        assert_eq!(lab.status(&ctl, &id).await, "completed");
    }
    crate::audit::assert_chain(&lab.store, &ctl).await;
}

async fn the_same_outcome_recorded_by_two_at_once_counts_once(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let stores = [lab.store.clone(), lab.another().await];
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let lease = lab.claim_step().await;
    let now = lab.now();
    let all = (0..8).map(|n| {
        let (store, lease) = (stores[n % 2].clone(), lease.clone());
        tokio::spawn(async move { store.finish(vec![Finish { lease, result: done(Some(now)) }]).await })
    });
    let mut dropped = 0;
    for one in futures::future::join_all(all).await {
        dropped += one.expect("no panic").expect("recorded");
    }
    assert_eq!(dropped, 7);
    let events = lab.store.events_of(&ctl, &id).await.expect("read");
    assert_eq!(events.iter().filter(|e| e.kind == "step_acted").count(), 1);
}

async fn a_withdrawal_beside_a_finish_ends_one_way_or_the_other(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.another().await;
    let mut ends = BTreeMap::new();
    for _ in 0..20 {
        let id = lab.begun(&ctl, Wish::access()).await;
        let lease = lab.claim_step().await;
        let finish = async { lab.store.finish(vec![Finish { lease, result: done(None) }]).await };
        let (finished, withdrawn) = tokio::join!(finish, other.decide(&ctl, &id, Decision::Withdraw, "key_person"));
        assert_eq!(finished.expect("recorded"), 0);
        let status = lab.status(&ctl, &id).await;
        match &withdrawn {
            Ok(()) => assert_eq!(status, "withdrawn"),
            Err(Error::Conflict(_)) => assert_eq!(status, "delivering"),
            Err(error) => panic!("{error}"),
        }
        crate::stages::assert_replay(&lab, &ctl, &id).await;
        *ends.entry(status).or_insert(0) += 1;
    }
    assert_eq!(ends.values().sum::<i32>(), 20);
}

async fn a_withdrawal_beside_a_shutdown_leaves_nothing_to_do(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.another().await;
    for round in 0..30 {
        let id = lab.begun(&ctl, Wish::access()).await;
        let lease = if round % 3 == 0 { lab.claim_and_die().await } else { lab.claim_step().await };
        let end = async {
            match round % 3 {
                0 => lab.store.expire_leases().await.map(drop),
                1 => lab.store.hand_back("one").await.map(drop),
                _ => lab.store.release(std::slice::from_ref(&lease)).await,
            }
        };
        let (ended, withdrawn) = tokio::join!(end, other.decide(&ctl, &id, Decision::Withdraw, "key_person"));
        ended.expect("ended");
        withdrawn.expect("withdrawn");
        assert_eq!(lab.count("steps WHERE q IS NOT NULL").await, 0, "round {round}");
    }
}

async fn a_fleet_works_everything_off_without_a_deadlock(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop", "mail"]).await;
    let other = lab.controller("other").await;
    lab.system(&other, "crm").await;
    let stores = [lab.store.clone(), lab.another().await];
    let errors = std::sync::Arc::default();
    for i in 0..20 {
        lab.submit(&ctl, Wish::deletion().due(i)).await;
    }
    let workers: Vec<_> = (0..6)
        .map(|n| tokio::spawn(work(stores[n % 2].clone(), format!("w{n}"), std::sync::Arc::clone(&errors))))
        .collect();
    for i in 0..20 {
        lab.submit(&other, Wish::deletion().due(i)).await;
        lab.submit(&ctl, Wish::deletion().due(i)).await;
        let system = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there");
        lab.store.record_check(&system, None).await.expect("recorded");
    }
    for worker in workers {
        worker.await.expect("no panic");
    }
    assert_eq!(*errors.lock().expect("no panic"), Vec::<String>::new());
    assert_eq!(lab.query("SELECT DISTINCT status FROM dsrs").await, ["completed"]);
    assert_eq!(lab.count("steps WHERE verb = 'answer'").await, 60);
    for ctl in [&ctl, &other] {
        crate::audit::assert_chain(&lab.store, ctl).await;
    }
}
