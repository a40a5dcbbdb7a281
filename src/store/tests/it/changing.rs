//! A system that changes while requests are under way: what waits for it goes on, what was done to another one is done anew.

use crate::lab::{Lab, Wish, a_system, attention, done, later};
use redress_domain::ControllerId;
use redress_store::Lease;

on_both!(
    a_changed_system_is_tried_again_at_once,
    a_changed_system_does_not_hurry_a_second_read,
    a_system_that_was_disconnected_needs_a_person_and_comes_back_as_itself,
    a_second_read_is_not_made_by_another_definition_than_the_deed,
    what_was_touched_elsewhere_is_forgotten,
    a_worker_under_the_old_definition_records_nothing,
    an_export_that_is_done_stays_done,
);

/// Stores another definition of `crm`, in another place if wished.
async fn change(lab: &Lab, ctl: &ControllerId, elsewhere: bool) {
    let mut system = a_system("crm");
    if elsewhere {
        system.definition["settings"]["path"] = "other.sqlite".into();
    } else {
        system.definition["max_matches"] = 26.into();
    }
    assert!(lab.store.upsert_system(ctl, &system, "operator").await.expect("stored"));
    lab.advance().await;
}

async fn prior(lab: &Lab, lease: Lease) -> Option<String> {
    lab.store.open_work(vec![lease]).await.expect("opened").remove(0).prior
}

async fn a_second_read_is_not_made_by_another_definition_than_the_deed(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.finish(&lab.claim_step().await, done(Some(lab.now() + 60_000))).await;
    assert_eq!(lab.status(&ctl, &id).await, "verifying");
    change(&lab, &ctl, false).await;
    assert_eq!(lab.status(&ctl, &id).await, "in_progress");
    let again = lab.claim_step().await;
    assert_eq!(again.phase.as_str(), "act");
    assert_eq!(prior(&lab, again.clone()).await.as_deref(), Some("canary-receipt"), "it knows what it did there");
    lab.obey(&again).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    crate::stages::assert_replay(&lab, &ctl, &id).await;
}

async fn what_was_touched_elsewhere_is_forgotten(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for reconnected in [false, true] {
        let id = lab.begun(&ctl, Wish::deletion()).await;
        lab.finish(&lab.claim_step().await, done(Some(lab.now() + 60_000))).await;
        if reconnected {
            lab.store.delete_system(&ctl, "crm", "operator").await.expect("disconnected");
            lab.system(&ctl, "crm").await;
        } else {
            change(&lab, &ctl, true).await;
        }
        let again = lab.claim_step().await;
        assert_eq!((again.phase.as_str(), prior(&lab, again.clone()).await), ("act", None));
        lab.obey(&again).await;
        lab.work_off().await;
        assert_eq!(lab.status(&ctl, &id).await, "completed");
    }
}

async fn a_worker_under_the_old_definition_records_nothing(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let old = lab.claim_step().await;
    change(&lab, &ctl, false).await;
    assert_eq!(lab.finish(&old, done(Some(lab.now()))).await, 1, "dropped");
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}

async fn an_export_that_is_done_stays_done(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let id = lab.begun(&ctl, Wish::access()).await;
    let shop = lab.store.system_by_name(&ctl, "shop").await.expect("read").expect("there").id;
    let crm = lab.store.claim("one", &[shop.as_str().into()], 1, 60_000).await.expect("claimed").remove(0);
    lab.obey(&crm).await;
    change(&lab, &ctl, true).await;
    assert_eq!(lab.claim().await.iter().map(|l| l.lane.as_str()).collect::<Vec<_>>(), [shop.as_str()]);
    assert_eq!(lab.detail(&ctl, &id).await.steps[0].attempts, 1);
}

async fn a_changed_system_is_tried_again_at_once(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let (stuck, waiting) = (lab.begun(&ctl, Wish::deletion()).await, lab.begun(&ctl, Wish::deletion()).await);
    for lease in lab.claim().await {
        let result = if lease.dsr_id == stuck { attention() } else { later(lab.now() + 900_000, true, true) };
        lab.finish(&lease, result).await;
    }
    assert!(lab.claim().await.is_empty());
    let mut system = a_system("crm");
    assert!(!lab.store.upsert_system(&ctl, &system, "operator").await.expect("stored"), "nothing changed");
    assert!(lab.claim().await.is_empty());
    system.definition["max_matches"] = 26.into();
    assert!(lab.store.upsert_system(&ctl, &system, "operator").await.expect("stored"));
    lab.advance().await;
    for id in [&stuck, &waiting] {
        assert_eq!(lab.status(&ctl, id).await, "in_progress");
    }
    assert_eq!(lab.claim().await.len(), 2);
}

async fn a_changed_system_does_not_hurry_a_second_read(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    let lease = lab.claim_step().await;
    lab.finish(&lease, done(Some(lab.now() + 60_000))).await;
    let system = lab.store.system(&ctl, lease.system_id.as_ref().expect("a step's")).await.expect("there");
    lab.store.record_check(&system, None).await.expect("recorded");
    assert!(lab.claim().await.is_empty(), "the system needs its minute before a second read can be trusted");
    lab.travel(60_000);
    assert_eq!(lab.store.promote().await.expect("promoted"), 1);
}

async fn a_system_that_was_disconnected_needs_a_person_and_comes_back_as_itself(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let old = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there");
    lab.store.pause_system(&ctl, "crm", true, "operator").await.expect("paused");
    lab.store.delete_system(&ctl, "crm", "operator").await.expect("disconnected");
    assert!(lab.store.system_by_name(&ctl, "crm").await.expect("read").is_none());
    assert!(lab.store.system_secrets(&old).await.expect("read").is_empty(), "its secrets are gone");
    // The step is not forgotten: a worker takes it, sees that nothing is there, and asks a person.
    let lease = lab.claim_step().await;
    lab.finish(&lease, attention()).await;
    assert_eq!(lab.status(&ctl, &id).await, "needs_attention");
    lab.system(&ctl, "crm").await;
    let new = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there");
    assert_eq!(new.id, old.id, "a step that waits for it finds it again");
    assert!(new.version > old.version);
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}
