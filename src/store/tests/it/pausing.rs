//! A pause lets nothing new begin, at three levels; what runs ends, what is submitted is accepted.

use crate::lab::{Lab, Wish, done};
use redress_domain::ControllerId;
use redress_store::{Scope, Standing};

on_both!(
    a_pause_holds_at_every_level_until_it_is_resumed,
    a_paused_controllers_answers_and_notices_wait_too,
    a_pause_that_came_after_the_look_still_counts,
    what_runs_ends_and_what_is_submitted_is_accepted,
    a_pause_is_told_in_the_log_once,
    what_is_under_way_is_shown_by_place,
);

async fn scopes(lab: &Lab, ctl: &ControllerId) -> [Scope; 3] {
    let crm = lab.store.system_by_name(ctl, "crm").await.expect("read").expect("there").id;
    [Scope::All, Scope::Controller(ctl.clone()), Scope::System(ctl.clone(), crm)]
}

async fn a_pause_holds_at_every_level_until_it_is_resumed(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    for scope in scopes(&lab, &ctl).await {
        assert!(lab.store.pause(&scope, true, "operator").await.expect("paused"));
        assert!(!lab.store.pause(&scope, true, "operator").await.expect("looked"), "it is already");
        assert!(lab.claim().await.is_empty(), "{scope:?}");
        let look = lab.store.look().await.expect("looked");
        assert_eq!(look.queues[0].standing, Standing::Paused);
        assert!(lab.store.paused(None).await.expect("read").any());
        assert!(lab.store.paused(Some(&ctl)).await.expect("read").any());
        assert!(lab.store.pause(&scope, false, "operator").await.expect("resumed"));
        let leases = lab.claim().await;
        assert_eq!(leases.len(), 1, "{scope:?}");
        lab.store.release(&leases).await.expect("released");
        assert!(!lab.store.paused(None).await.expect("read").any());
    }
}

async fn a_paused_controllers_answers_and_notices_wait_too(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    lab.system(&other, "crm").await;
    for controller in [&ctl, &other] {
        lab.begun(controller, Wish::access().told()).await;
    }
    lab.store.pause(&Scope::Controller(ctl.clone()), true, "operator").await.expect("paused");
    lab.work_off().await;
    assert_eq!(lab.count(&format!("steps WHERE q IS NOT NULL AND controller_id = '{other}'")).await, 0);
    let left = format!("steps WHERE q = 'ready' AND controller_id = '{ctl}'");
    assert!(lab.count(&left).await >= 2, "a step and what is told of it");
    lab.store.pause(&Scope::Controller(ctl.clone()), false, "operator").await.expect("resumed");
    lab.work_off().await;
    assert_eq!(lab.count(&left).await, 0);
}

async fn a_pause_that_came_after_the_look_still_counts(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    let look = lab.store.look().await.expect("looked");
    let wanted = [redress_store::Wanted { queue: &look.queues[0], rows: 5 }];
    for scope in scopes(&lab, &ctl).await {
        lab.store.pause(&scope, true, "operator").await.expect("paused");
        assert!(lab.store.claim_queues("one", &wanted, 60_000).await.expect("asked")[0].is_empty(), "{scope:?}");
        lab.store.pause(&scope, false, "operator").await.expect("resumed");
    }
    assert_eq!(lab.store.claim_queues("one", &wanted, 60_000).await.expect("claimed")[0].len(), 1);
}

async fn what_runs_ends_and_what_is_submitted_is_accepted(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    let lease = lab.claim_step().await;
    lab.store.pause(&Scope::All, true, "operator").await.expect("paused");
    assert_eq!(lab.finish(&lease, done(Some(lab.now()))).await, 0, "recorded");
    let id = lab.begun(&ctl, Wish::deletion()).await;
    assert_eq!(lab.status(&ctl, &id).await, "in_progress");
    assert!(lab.claim().await.is_empty());
}

async fn a_pause_is_told_in_the_log_once(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for scope in scopes(&lab, &ctl).await {
        for paused in [true, true, false, false] {
            lab.store.pause(&scope, paused, "operator").await.expect("set");
        }
    }
    let events = lab.store.events_after(&ctl, 0, 100).await.expect("read");
    let told: Vec<&str> = events.iter().map(|e| e.kind.as_str()).filter(|kind| !kind.contains("nected")).collect();
    assert_eq!(
        told[1..],
        ["all_paused", "all_resumed", "controller_paused", "controller_resumed", "system_paused", "system_resumed"]
    );
    crate::audit::assert_chain(&lab.store, &ctl).await;
}

async fn what_is_under_way_is_shown_by_place(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    let lease = lab.claim_step().await;
    for scope in
        [Scope::All, Scope::Controller(ctl.clone()), Scope::System(ctl.clone(), lease.system_id.clone().expect("one"))]
    {
        let under_way = lab.store.under_way(&scope).await.expect("read");
        assert_eq!(under_way.len(), 1, "{scope:?}");
        assert_eq!(
            (under_way[0].controller.as_str(), under_way[0].verb.as_str(), under_way[0].rows),
            ("acme", "erase", 1)
        );
    }
    let other = lab.controller("other").await;
    assert!(lab.store.under_way(&Scope::Controller(other)).await.expect("read").is_empty());
}
