//! A system that answers nothing is left alone for a while, and what was not sent there was not tried.

use crate::lab::{Lab, Wish, done, later};
use redress_domain::ControllerId;
use redress_domain::breaker::{FAILURES, PROBE_MS};
use redress_store::{Breaker, SystemRow};

on_both!(
    after_five_calls_that_failed_nothing_is_sent_until_one_step_tries_again,
    an_answer_in_between_begins_the_count_anew,
    what_was_begun_before_it_opened_does_not_lengthen_it,
    a_try_that_fails_doubles_the_time,
    a_try_whose_worker_died_is_made_again,
    one_worker_of_the_fleet_tries,
);

async fn crm(lab: &Lab, ctl: &ControllerId) -> SystemRow {
    lab.store.system_by_name(ctl, "crm").await.expect("read").expect("there")
}

async fn fail(lab: &Lab, ctl: &ControllerId, times: i64) {
    for _ in 0..times {
        let system = crm(lab, ctl).await;
        lab.store.breaker_failed(&system, "unreachable").await.expect("recorded");
    }
}

async fn until(lab: &Lab, ctl: &ControllerId) -> Option<i64> {
    crm(lab, ctl).await.breaker.until
}

async fn with_steps(lab: &Lab, count: usize) -> ControllerId {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    for _ in 0..count {
        lab.begun(&ctl, Wish::deletion()).await;
    }
    // Only the one system matters here.
    let crm = crm(lab, &ctl).await.id;
    lab.sql(&format!("UPDATE steps SET q = NULL WHERE lane <> '{crm}'")).await.expect("set");
    ctl
}

async fn after_five_calls_that_failed_nothing_is_sent_until_one_step_tries_again(lab: Lab) {
    let ctl = with_steps(&lab, 4).await;
    let waiting = lab.claim_step().await;
    lab.finish(&waiting, later(lab.now() + 3_600_000, true, false)).await;
    fail(&lab, &ctl, FAILURES - 1).await;
    assert_eq!(lab.claim_step().await.failures, 0, "four are no reason");
    lab.store.hand_back("one").await.expect("handed back");
    fail(&lab, &ctl, 1).await;
    let open_until = until(&lab, &ctl).await.expect("open");
    assert!((30_000..=36_000).contains(&(open_until - lab.now())));
    assert!(lab.claim().await.is_empty());
    let attempts = lab.query("SELECT CAST(SUM(attempts) AS TEXT) FROM steps WHERE q = 'ready'").await;
    lab.travel(open_until - lab.now());
    let probe = lab.claim().await;
    assert_eq!(probe.len(), 1, "one step tries");
    assert!(lab.claim().await.is_empty(), "and no other");
    assert_eq!(
        attempts,
        lab.query("SELECT CAST(SUM(attempts) - 1 AS TEXT) FROM steps WHERE q IN ('ready', 'run')").await
    );
    lab.store.breaker_succeeded(&crm(&lab, &ctl).await).await.expect("recorded");
    assert_eq!(crm(&lab, &ctl).await.breaker, Breaker::default());
    assert_eq!(lab.claim().await.len(), 3, "what failed there before runs at once");
    lab.finish(&probe[0], done(None)).await;
    let events = lab.store.events_after(&ctl, 0, 100).await.expect("read");
    let told: Vec<&str> = events.iter().map(|e| e.kind.as_str()).filter(|kind| kind.contains("breaker")).collect();
    assert_eq!(told, ["system_breaker_opened", "system_breaker_closed"]);
}

async fn an_answer_in_between_begins_the_count_anew(lab: Lab) {
    let ctl = with_steps(&lab, 1).await;
    let seen_before = crm(&lab, &ctl).await;
    for _ in 0..3 {
        fail(&lab, &ctl, FAILURES - 1).await;
        lab.store.breaker_succeeded(&seen_before).await.expect("recorded");
    }
    assert_eq!(crm(&lab, &ctl).await.breaker, Breaker::default());
    assert_eq!(lab.claim().await.len(), 1);
}

async fn what_was_begun_before_it_opened_does_not_lengthen_it(lab: Lab) {
    let ctl = with_steps(&lab, 1).await;
    let begun_before = crm(&lab, &ctl).await;
    fail(&lab, &ctl, FAILURES).await;
    let opened = crm(&lab, &ctl).await.breaker;
    for _ in 0..20 {
        lab.store.breaker_failed(&begun_before, "timeout").await.expect("looked");
    }
    assert_eq!(crm(&lab, &ctl).await.breaker, opened);
}

async fn a_try_that_fails_doubles_the_time(lab: Lab) {
    let ctl = with_steps(&lab, 9).await;
    fail(&lab, &ctl, FAILURES).await;
    for seconds in [60, 120, 240, 480, 600, 600] {
        lab.travel(until(&lab, &ctl).await.expect("open") - lab.now());
        let probe = lab.claim_step().await;
        fail(&lab, &ctl, 1).await;
        lab.finish(&probe, later(lab.now() + 86_400_000, true, false)).await;
        let open = until(&lab, &ctl).await.expect("open") - lab.now();
        assert!((seconds * 1_000..=seconds * 1_200).contains(&open), "{open} instead of {seconds} s");
        assert!(lab.claim().await.is_empty());
    }
    let opened = lab.store.events_after(&ctl, 0, 100).await.expect("read");
    assert_eq!(opened.iter().filter(|e| e.kind == "system_breaker_opened").count(), 1);
}

async fn a_try_whose_worker_died_is_made_again(lab: Lab) {
    let ctl = with_steps(&lab, 2).await;
    fail(&lab, &ctl, FAILURES).await;
    lab.travel(until(&lab, &ctl).await.expect("open") - lab.now());
    lab.claim_and_die().await;
    assert!(lab.claim().await.is_empty());
    lab.travel(PROBE_MS);
    assert_eq!(lab.claim().await.len(), 1);
}

async fn one_worker_of_the_fleet_tries(lab: Lab) {
    let ctl = with_steps(&lab, 50).await;
    fail(&lab, &ctl, FAILURES).await;
    lab.travel(until(&lab, &ctl).await.expect("open") - lab.now());
    let stores = [lab.store.clone(), lab.another().await];
    let tries = (0..8).map(|n| {
        let store = stores[n % 2].clone();
        async move { store.claim(&format!("w{n}"), &[], 50, 60_000).await.expect("claimed").len() }
    });
    let claimed: usize = futures::future::join_all(tries).await.into_iter().sum();
    assert_eq!(claimed, 1);
}
