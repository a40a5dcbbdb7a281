//! How fast a system is, is what it did in the time in which it was at work.

use crate::lab::{Lab, Wish, a_system, attention, done, later, verified};
use redress_domain::ControllerId;
use redress_domain::step::RATE_LIMITED;
use redress_store::{Finish, Lease, StepResult, SystemUpsert};

on_both!(
    time_at_work_counts_once_however_many_are_at_it,
    time_without_work_does_not_count,
    a_call_counts_in_the_hour_in_which_it_ends,
    a_wait_that_the_system_asks_for_counts_and_one_for_our_own_limit_does_not,
    workers_that_are_busy_elsewhere_make_a_system_slower_and_a_pause_does_not,
    what_came_after_its_lease_was_lost_does_not_count,
    a_system_fails_since_its_first_failure_after_its_last_success,
    answers_and_notices_are_nobodys_pace,
    a_week_is_kept,
    two_at_once_count_no_moment_twice,
    a_system_that_takes_days_is_asked_that_much_earlier,
    a_system_whose_days_change_moves_its_open_steps,
    an_order_is_dated_by_the_day_on_which_it_was_given,
);

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

async fn leased(lab: &Lab, ctl: &ControllerId, count: usize) -> Vec<Lease> {
    for _ in 0..count {
        lab.begun(ctl, Wish::access()).await;
    }
    let mut leases = Vec::new();
    for _ in 0..count {
        leases.push(lab.claim_step().await);
    }
    leases
}

/// Done, failed and busy milliseconds of each hour, the last one last.
async fn paces(lab: &Lab) -> Vec<String> {
    lab.query("SELECT done || ' ' || failed || ' ' || busy_ms FROM paces ORDER BY hour").await
}

async fn time_at_work_counts_once_however_many_are_at_it(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let leases = leased(&lab, &ctl, 3).await;
    lab.travel(10 * SECOND);
    lab.finish(&leases[0], done(None)).await;
    lab.finish(&leases[1], done(None)).await;
    assert_eq!(paces(&lab).await, ["2 0 10000"]);
    lab.travel(5 * SECOND);
    lab.finish(&leases[2], done(None)).await;
    assert_eq!(paces(&lab).await, ["3 0 15000"], "the first ten seconds are counted already");
}

async fn time_without_work_does_not_count(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for _ in 0..3 {
        let lease = leased(&lab, &ctl, 1).await.remove(0);
        lab.travel(2 * SECOND);
        lab.finish(&lease, done(None)).await;
        lab.travel(600 * SECOND);
    }
    assert_eq!(paces(&lab).await, ["3 0 6000"]);
}

async fn a_call_counts_in_the_hour_in_which_it_ends(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let leases = leased(&lab, &ctl, 2).await;
    lab.travel(HOUR - SECOND);
    lab.finish(&leases[0], done(None)).await;
    lab.travel(2 * SECOND);
    lab.finish(&leases[1], done(None)).await;
    assert_eq!(paces(&lab).await, ["1 0 3599000", "1 0 2000"], "and nothing in both");
}

async fn a_wait_that_the_system_asks_for_counts_and_one_for_our_own_limit_does_not(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let wait = |code: &str, not_before| StepResult::Later {
        not_before,
        failed: false,
        attention: false,
        code: code.into(),
        detail: "later".into(),
    };
    let leases = leased(&lab, &ctl, 3).await;
    lab.travel(SECOND);
    lab.finish(&leases[0], wait(RATE_LIMITED, lab.now() + 600 * SECOND)).await;
    assert_eq!(paces(&lab).await, Vec::<String>::new());
    lab.finish(&leases[1], wait("throttled", lab.now() + 300 * SECOND)).await;
    assert_eq!(paces(&lab).await, ["0 0 301000"]);
    // What is done meanwhile is done in that time.
    lab.travel(100 * SECOND);
    lab.finish(&leases[2], done(None)).await;
    assert_eq!(paces(&lab).await, ["1 0 301000"]);
    let throttled = leased(&lab, &ctl, 1).await.remove(0);
    lab.finish(&throttled, wait("throttled", lab.now() + 2 * HOUR)).await;
    lab.travel(HOUR);
    let lease = leased(&lab, &ctl, 1).await.remove(0);
    lab.travel(SECOND);
    lab.finish(&lease, done(None)).await;
    let busy = 2 * HOUR + 101 * SECOND;
    assert_eq!(paces(&lab).await, [format!("1 0 {busy}"), "1 0 0".to_owned()], "the next hour is taken already");
}

async fn workers_that_are_busy_elsewhere_make_a_system_slower_and_a_pause_does_not(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.begun(&ctl, Wish::access()).await;
    lab.travel(20 * SECOND);
    let lease = lab.claim_step().await;
    lab.travel(SECOND);
    lab.finish(&lease, done(None)).await;
    assert_eq!(paces(&lab).await, ["1 0 21000"]);
    lab.store.pause_system(&ctl, "crm", true, "operator").await.expect("paused");
    lab.begun(&ctl, Wish::access()).await;
    lab.travel(2 * HOUR);
    lab.store.pause_system(&ctl, "crm", false, "operator").await.expect("resumed");
    let lease = lab.claim_step().await;
    lab.travel(SECOND);
    lab.finish(&lease, done(None)).await;
    assert_eq!(paces(&lab).await, ["1 0 21000", "1 0 61000"], "at most a minute");
}

async fn what_came_after_its_lease_was_lost_does_not_count(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.begun(&ctl, Wish::access()).await;
    let lost = lab.claim_and_die().await;
    lab.store.expire_leases().await.expect("expired");
    lab.travel(SECOND);
    assert_eq!(lab.finish(&lost, done(None)).await, 1);
    assert_eq!(paces(&lab).await, Vec::<String>::new());
}

async fn a_system_fails_since_its_first_failure_after_its_last_success(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let state =
        "SELECT done || ' ' || failed || ' ' || COALESCE(CAST(failing_since AS TEXT), '-') FROM paces ORDER BY hour";
    let leases = leased(&lab, &ctl, 8).await;
    let first = lab.now();
    lab.finish(&leases[0], later(first + DAY, true, false)).await;
    lab.travel(SECOND);
    lab.finish(&leases[1], later(first + DAY, true, false)).await;
    assert_eq!(lab.query(state).await, [format!("0 2 {first}")]);
    // A no that a person must look at is an answer, but no success.
    lab.finish(&leases[2], attention()).await;
    assert_eq!(lab.query(state).await, [format!("1 2 {first}")]);
    lab.finish(&leases[3], done(None)).await;
    assert_eq!(lab.query(state).await, ["2 2 -"]);
    // In one batch, one success is enough.
    let batch = [(4, later(first + DAY, true, false)), (5, done(None))];
    let batch = batch.into_iter().map(|(i, result)| Finish { lease: leases[i].clone(), result }).collect();
    lab.store.finish(batch).await.expect("recorded");
    assert_eq!(lab.query(state).await, ["3 3 -"]);
    lab.finish(&leases[6], later(first + DAY, true, false)).await;
    let since = lab.now();
    lab.travel(HOUR);
    lab.finish(&leases[7], later(first + DAY, true, false)).await;
    assert_eq!(lab.query(state).await, [format!("3 4 {since}"), format!("0 1 {}", lab.now())]);
}

async fn answers_and_notices_are_nobodys_pace(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    lab.begun(&ctl, Wish::access().told()).await;
    lab.work_off().await;
    assert!(lab.count("steps WHERE verb = 'notify' AND state = 'done'").await > 0);
    assert_eq!(paces(&lab).await, ["1 0 0"]);
}

async fn a_week_is_kept(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let lease = leased(&lab, &ctl, 1).await.remove(0);
    lab.finish(&lease, done(None)).await;
    assert!(lab.store.take_forecast_turn(1).await.expect("taken"));
    assert_eq!(lab.count("paces").await, 1);
    lab.travel(168 * HOUR);
    assert!(lab.store.take_forecast_turn(1).await.expect("taken"));
    assert_eq!(lab.count("paces").await, 0);
}

async fn two_at_once_count_no_moment_twice(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let stores = [lab.store.clone(), lab.another().await];
    for round in 1..=10 {
        let leases = leased(&lab, &ctl, 4).await;
        lab.travel(HOUR + SECOND);
        let finishes = leases.into_iter().enumerate().map(|(n, lease)| {
            let store = stores[n % 2].clone();
            tokio::spawn(async move { store.finish(vec![Finish { lease, result: done(None) }]).await })
        });
        for finish in futures::future::join_all(finishes).await {
            assert_eq!(finish.expect("no panic").expect("recorded"), 0);
        }
        let total = "SELECT CAST(SUM(done) AS TEXT) || ' ' || CAST(SUM(busy_ms) AS TEXT) FROM paces";
        assert_eq!(lab.query(total).await, [format!("{} {}", 4 * round, round * (HOUR + SECOND))]);
    }
}

async fn vendor(lab: &Lab, ctl: &ControllerId, days: i64) {
    let system = SystemUpsert { completes_within_days: days, ..a_system("vendor") };
    assert!(lab.store.upsert_system(ctl, &system, "operator").await.expect("stored"));
    assert!(!lab.store.upsert_system(ctl, &system, "operator").await.expect("the same"));
}

async fn a_system_that_takes_days_is_asked_that_much_earlier(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    vendor(&lab, &ctl, 14).await;
    let soon = lab.begun(&ctl, Wish::access().due(lab.now() + 20 * DAY)).await;
    let later = lab.begun(&ctl, Wish::access().due(lab.now() + 30 * DAY)).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let lease = lab.claim_step().await;
        let system = lab.store.system(&ctl, &lease.system_id.expect("a step")).await.expect("there");
        order.push((lease.dsr_id, system.name));
    }
    let wanted = [(&soon, "vendor"), (&later, "vendor"), (&soon, "crm"), (&later, "crm")];
    assert_eq!(order, wanted.map(|(id, name)| (id.clone(), name.to_owned())));
}

async fn a_system_whose_days_change_moves_its_open_steps(lab: Lab) {
    let ctl = lab.controller("acme").await;
    vendor(&lab, &ctl, 14).await;
    let due = lab.now() + 30 * DAY;
    let ended = lab.begun(&ctl, Wish::access().due(due)).await;
    lab.work_off().await;
    let open = lab.begun(&ctl, Wish::access().due(due)).await;
    vendor(&lab, &ctl, 3).await;
    let due_at = async |id| {
        lab.query(&format!("SELECT CAST(due_at AS TEXT) FROM steps WHERE dsr_id = '{id}' AND system_id IS NOT NULL"))
            .await
    };
    assert_eq!(due_at(open).await, [(due - 3 * DAY).to_string()]);
    assert_eq!(due_at(ended).await, [(due - 14 * DAY).to_string()], "what is over stays as it was");
}

async fn an_order_is_dated_by_the_day_on_which_it_was_given(lab: Lab) {
    let ctl = lab.controller("acme").await;
    vendor(&lab, &ctl, 14).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let ordered_at = lab.now();
    let external = |check_at| StepResult::External { receipt: "order".into(), check_at, completes_by: None };
    let acted_at = "SELECT CAST(acted_at AS TEXT) FROM steps WHERE system_id IS NOT NULL";
    for result in [external(ordered_at + DAY), later(ordered_at + 2 * DAY, true, false), external(ordered_at + 3 * DAY)]
    {
        lab.finish(&lab.claim_step().await, result).await;
        assert_eq!(lab.query(acted_at).await, [ordered_at.to_string()]);
        lab.travel(DAY);
        lab.store.promote().await.expect("promoted");
    }
    lab.finish(&lab.claim_step().await, done(Some(lab.now()))).await;
    assert_eq!(lab.query(acted_at).await, [lab.now().to_string()], "now it is done");
    lab.finish(&lab.claim_step().await, verified()).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
}
