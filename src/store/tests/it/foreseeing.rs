//! What is foreseen of each open request is kept beside it, told once, and the same whether one is asked about or all.

use crate::lab::{Lab, Wish, a_system, attention, done, later};
use redress_domain::forecast::{Blocker, Confidence, Foreseen};
use redress_domain::{ControllerId, DsrId};
use redress_store::{Decision, DsrFilter, Passed, StepResult, SystemUpsert};

on_both!(
    a_request_that_will_be_late_is_flagged_and_the_watch_looks_at_once,
    a_forecast_that_says_the_same_is_not_written_again,
    a_flag_is_taken_back_when_the_queue_is_short_again,
    one_request_is_foreseen_as_all_are,
    the_turn_is_taken_once_in_the_fleet_and_in_an_interval,
    what_blocks_a_request_is_foreseen_as_such,
    a_system_that_was_out_of_reach_for_long_blocks_its_requests,
    a_request_that_ended_is_foreseen_no_more,
    each_controllers_queue_is_its_own,
    a_queue_too_long_to_be_counted_is_left_to_the_pass,
    more_requests_than_are_read_or_written_at_once_are_all_foreseen,
);

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Lets a system do twenty calls, each in this time.
async fn measured(lab: &Lab, ctl: &ControllerId, call_ms: i64) {
    for _ in 0..20 {
        lab.begun(ctl, Wish::access()).await;
        let lease = lab.claim_step().await;
        lab.travel(call_ms);
        lab.finish(&lease, done(None)).await;
    }
    lab.work_off().await;
}

async fn kept(lab: &Lab, ctl: &ControllerId, id: &DsrId) -> Foreseen {
    lab.detail(ctl, id).await.row.forecast.expect("foreseen")
}

/// The forecast of this moment.
async fn live(lab: &Lab, ctl: &ControllerId, id: &DsrId) -> Foreseen {
    let queue = lab.store.forecast_facts(ctl, id, 50).await.expect("read").expect("short");
    let forecast = &queue.backlog.forecasts(queue.now)[0];
    queue.backlog.foreseen(0, forecast, &jiff::tz::TimeZone::UTC, queue.now, queue.kept[0].as_ref())
}

async fn foresee(lab: &Lab) -> Passed {
    lab.store.foresee(50).await.expect("foreseen")
}

/// Answers what is done, and nothing else.
async fn answer_all(lab: &Lab) {
    let systems = lab.query("SELECT id FROM systems").await;
    for lease in lab.store.claim("one", &systems, 100, HOUR).await.expect("claimed") {
        lab.answer(&lease).await.expect("answered");
    }
}

async fn a_request_that_will_be_late_is_flagged_and_the_watch_looks_at_once(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    measured(&lab, &ctl, HOUR).await;
    let now = lab.now();
    let (mut late, mut fine) = (Vec::new(), Vec::new());
    for n in 1..=6 {
        // Each takes two hours; those that are due in nine have room for four.
        late.push(lab.begun(&ctl, Wish::deletion().due(now + 9 * HOUR + n)).await);
        fine.push(lab.begun(&ctl, Wish::deletion().due(now + 5 * DAY)).await);
    }
    lab.sql("UPDATE dsrs SET watch_at = 9000000000000").await.expect("set");
    assert_eq!(foresee(&lab).await, Passed { requests: 12, late: 2, written: 12 });
    let flagged =
        lab.query("SELECT id FROM dsrs WHERE forecast_late = 1 AND closed_at IS NULL ORDER BY due_before").await;
    assert_eq!(flagged, late[4..].iter().map(ToString::to_string).collect::<Vec<_>>());
    let watched =
        lab.query("SELECT id FROM dsrs WHERE closed_at IS NULL AND watch_at < 9000000000000 ORDER BY due_before");
    assert_eq!(watched.await, flagged);
    let foreseen = kept(&lab, &ctl, &late[5]).await;
    assert_eq!(foreseen.finishes_at.map(|at| at.as_millisecond() - now), Some(12 * HOUR + MINUTE));
    assert_eq!((foreseen.late, foreseen.late_by_days, foreseen.blocked_by), (true, Some(1), None));
    assert_eq!((foreseen.bottleneck.as_deref(), foreseen.confidence), (Some("crm"), Confidence::Measured));
    assert_eq!(
        foreseen.because[0],
        "crm: 5 steps are due before this one, 10 calls in all; in the last 24 hours it did 24 calls a day while it had work, so this step is done on Sun 2026-11-22 19:00."
    );
    let list = |late| {
        let filter = DsrFilter { late: Some(late), open: true, limit: 100, ..DsrFilter::default() };
        let (store, ctl) = (lab.store.clone(), ctl.clone());
        async move { store.dsrs(Some(&ctl), &filter).await.expect("listed").len() }
    };
    assert_eq!((list(true).await, list(false).await), (2, 10));
    assert!(!kept(&lab, &ctl, &fine[5]).await.late);
}

async fn a_forecast_that_says_the_same_is_not_written_again(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    measured(&lab, &ctl, HOUR).await;
    let due = lab.now() + 30 * DAY;
    let mut ids = Vec::new();
    for n in 1..=50 {
        ids.push(lab.begun(&ctl, Wish::access().due(due - 50 + n)).await);
    }
    assert_eq!(foresee(&lab).await.written, 50);
    assert_eq!(foresee(&lab).await.written, 0);
    // An hour later one is done, as was foreseen.
    let lease = lab.claim_step().await;
    lab.travel(HOUR);
    lab.finish(&lease, done(None)).await;
    answer_all(&lab).await;
    assert_eq!(foresee(&lab).await, Passed { requests: 49, late: 0, written: 0 });
    let last = ids.last().expect("fifty");
    lab.store.pause_system(&ctl, "crm", true, "operator").await.expect("paused");
    assert_eq!(foresee(&lab).await.written, 49);
    let foreseen = kept(&lab, &ctl, last).await;
    assert_eq!((foreseen.finishes_at, foreseen.blocked_by), (None, Some(Blocker::Paused)));
    let act_by = foreseen.act_by.expect("there is time");
    assert_eq!(act_by.as_millisecond(), due - 49 * HOUR - MINUTE);
    // Who resumes it has less time left, but until the same moment.
    lab.travel(DAY);
    assert_eq!(foresee(&lab).await.written, 0);
}

async fn a_flag_is_taken_back_when_the_queue_is_short_again(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    measured(&lab, &ctl, HOUR).await;
    let now = lab.now();
    let first = lab.begun(&ctl, Wish::deletion().due(now + 3 * HOUR)).await;
    let id = lab.begun(&ctl, Wish::deletion().due(now + 3 * HOUR + 1)).await;
    foresee(&lab).await;
    let flagged = kept(&lab, &ctl, &id).await;
    assert_eq!((flagged.late, flagged.late_since), (true, Some(flagged.computed_at)));
    lab.travel(10 * MINUTE);
    lab.sql(&format!("UPDATE dsrs SET due_before = {now} WHERE id = '{id}'")).await.expect("set");
    lab.store.pause_system(&ctl, "crm", true, "operator").await.expect("paused");
    foresee(&lab).await;
    let again = kept(&lab, &ctl, &id).await;
    assert!(again.late && again.computed_at > flagged.computed_at);
    assert_eq!(again.late_since, flagged.late_since, "still since then");
    let at = lab.query(&format!("SELECT CAST(forecast_at AS TEXT) FROM dsrs WHERE id = '{id}'")).await;
    assert_eq!(at, [flagged.computed_at.as_millisecond().to_string()]);
    lab.store.pause_system(&ctl, "crm", false, "operator").await.expect("resumed");
    lab.sql(&format!("UPDATE dsrs SET due_before = {} WHERE id = '{id}'", now + 3 * HOUR + 1)).await.expect("set");
    lab.store.decide(&ctl, &first, Decision::Withdraw, "key_test").await.expect("withdrawn");
    foresee(&lab).await;
    let calm = kept(&lab, &ctl, &id).await;
    assert_eq!((calm.late, calm.late_since, calm.late_by_days), (false, None, None));
}

async fn one_request_is_foreseen_as_all_are(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let vendor = SystemUpsert { completes_within_days: 7, ..a_system("vendor") };
    lab.store.upsert_system(&ctl, &vendor, "operator").await.expect("stored");
    measured(&lab, &ctl, 7 * MINUTE).await;
    let mut ids = Vec::new();
    for n in 0..40 {
        let (cooling, approval) = (if n % 7 == 0 { DAY } else { 0 }, n % 11 == 0);
        let wish = if n % 3 == 0 { Wish::access() } else { Wish::deletion() };
        let due = lab.now() + (n * 37 % 50) * 8 * HOUR;
        ids.push(lab.begun(&ctl, wish.policy(approval, cooling, n % 5 == 0).due(due)).await);
    }
    // In the midst of it: done, asked, put off, failed, stuck, at work.
    for n in 0..30 {
        let Some(lease) = lab.store.claim("one", &["answer".into()], 1, HOUR).await.expect("claimed").pop() else {
            break;
        };
        let now = lab.now();
        let result = match n % 6 {
            0 => continue,
            1 => later(now + 3 * HOUR, true, false),
            2 => StepResult::External { receipt: "order".into(), check_at: now + DAY, completes_by: None },
            3 if n < 12 => attention(),
            _ => done(if lease.kind.as_str() == "export" { None } else { Some(now + MINUTE) }),
        };
        lab.travel(MINUTE);
        lab.finish(&lease, result).await;
    }
    foresee(&lab).await;
    let (mut late, mut blocked) = (0, 0);
    for id in &ids {
        if lab.detail(&ctl, id).await.row.closed_at.is_some() {
            continue;
        }
        let (all, one) = (kept(&lab, &ctl, id).await, live(&lab, &ctl, id).await);
        // Who is due later may be at work when its time comes: that is all that one alone cannot see.
        let near = |a: Option<jiff::Timestamp>, b: Option<jiff::Timestamp>| match (a, b) {
            (Some(a), Some(b)) => (a.as_millisecond() - b.as_millisecond()).abs() <= 30 * MINUTE,
            (a, b) => a == b,
        };
        assert!(near(all.finishes_at, one.finishes_at) && near(all.act_by, one.act_by), "{id}: {all:?} and {one:?}");
        assert_eq!((all.late, all.blocked_by), (one.late, one.blocked_by), "{id}: {all:?} and {one:?}");
        late += i32::from(all.late);
        blocked += i32::from(all.blocked_by.is_some());
    }
    assert!(late > 2 && blocked > 2, "{late} {blocked}");
}

async fn the_turn_is_taken_once_in_the_fleet_and_in_an_interval(lab: Lab) {
    let stores = [lab.store.clone(), lab.another().await, lab.another().await];
    for _ in 0..5 {
        let turns = (0..12).map(|n| {
            let store = stores[n % 3].clone();
            tokio::spawn(async move { store.take_forecast_turn(300_000).await })
        });
        let mut taken = 0;
        for turn in futures::future::join_all(turns).await {
            taken += i32::from(turn.expect("no panic").expect("asked"));
        }
        assert_eq!(taken, 1);
        lab.travel(299_999);
        assert!(!lab.store.take_forecast_turn(300_000).await.expect("asked"));
        lab.travel(1);
    }
}

async fn what_blocks_a_request_is_foreseen_as_such(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let due = lab.now() + 9 * DAY;
    let approval = lab.begun(&ctl, Wish::deletion().policy(true, 0, false).due(due)).await;
    let stuck = lab.begun(&ctl, Wish::access().due(due)).await;
    lab.finish(&lab.claim_step().await, attention()).await;
    let review = lab.begun(&ctl, Wish::access().policy(false, 0, true).due(due)).await;
    lab.finish(&lab.claim_step().await, done(None)).await;
    let planless = lab.controller("nobody").await;
    let none = lab.begun(&planless, Wish::access().due(due)).await;
    assert_eq!(foresee(&lab).await.late, 0);
    for (ctl, id, blocker) in [
        (&ctl, &approval, Blocker::Approval),
        (&ctl, &stuck, Blocker::Attention),
        (&ctl, &review, Blocker::Review),
        (&planless, &none, Blocker::NoSystem),
    ] {
        let (foreseen, now) = (kept(&lab, ctl, id).await, live(&lab, ctl, id).await);
        assert_eq!((foreseen.finishes_at, foreseen.blocked_by), (None, Some(blocker)));
        assert_eq!((foreseen.confidence, foreseen.act_by.is_some()), (Confidence::Blocked, true));
        assert_eq!(now, Foreseen { because: now.because.clone(), ..foreseen });
    }
}

async fn a_system_that_was_out_of_reach_for_long_blocks_its_requests(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access().due(lab.now() + 9 * DAY)).await;
    for _ in 0..3 {
        lab.finish(&lab.claim_step().await, later(lab.now() + 10 * MINUTE, true, false)).await;
        lab.travel(10 * MINUTE);
        lab.store.promote().await.expect("promoted");
    }
    foresee(&lab).await;
    let foreseen = kept(&lab, &ctl, &id).await;
    assert_eq!((foreseen.blocked_by, foreseen.late), (Some(Blocker::Failing), false));
    assert_eq!(foreseen.because[0], "crm: every call has failed since Sat 2026-11-21 11:00.");
    lab.finish(&lab.claim_step().await, done(None)).await;
    let next = lab.begun(&ctl, Wish::access().due(lab.now() + 9 * DAY)).await;
    foresee(&lab).await;
    assert_eq!(kept(&lab, &ctl, &next).await.blocked_by, None);
    lab.store.delete_system(&ctl, "crm", "operator").await.expect("disconnected");
    foresee(&lab).await;
    assert_eq!(kept(&lab, &ctl, &next).await.blocked_by, Some(Blocker::Disconnected));
}

async fn a_request_that_ended_is_foreseen_no_more(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::access().due(lab.now() + 1)).await;
    assert_eq!(foresee(&lab).await, Passed { requests: 1, late: 1, written: 1 });
    lab.work_off().await;
    assert_eq!(foresee(&lab).await, Passed::default());
    assert!(matches!(lab.store.forecast_facts(&ctl, &id, 50).await, Err(redress_store::Error::NotFound)));
    let filter = DsrFilter { late: Some(true), limit: 9, ..DsrFilter::default() };
    assert!(lab.store.dsrs(Some(&ctl), &filter).await.expect("listed").is_empty());
}

async fn each_controllers_queue_is_its_own(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    measured(&lab, &ctl, HOUR).await;
    let other = lab.controller("other").await;
    lab.system(&other, "crm").await;
    let due = lab.now() + DAY;
    for _ in 0..30 {
        lab.begun(&ctl, Wish::access().due(due)).await;
    }
    let theirs = lab.begun(&other, Wish::access().due(due)).await;
    assert_eq!(foresee(&lab).await, Passed { requests: 31, late: 7, written: 31 });
    let foreseen = kept(&lab, &other, &theirs).await;
    assert_eq!((foreseen.late, foreseen.confidence), (false, Confidence::Assumed));
    let found = lab.store.forecast_facts(&ctl, &theirs, 50).await;
    assert!(matches!(found, Err(redress_store::Error::NotFound)));
}

async fn a_queue_too_long_to_be_counted_is_left_to_the_pass(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let first = lab.begun(&ctl, Wish::access().due(lab.now() + DAY)).await;
    copies(&lab, &first, 2_100).await;
    let last = lab.begun(&ctl, Wish::access().due(lab.now() + 2 * DAY)).await;
    assert!(lab.store.forecast_facts(&ctl, &last, 50).await.expect("read").is_none());
    assert!(lab.store.forecast_facts(&ctl, &first, 50).await.expect("read").is_some());
}

async fn more_requests_than_are_read_or_written_at_once_are_all_foreseen(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let first = lab.begun(&ctl, Wish::access().due(lab.now() + 30 * MINUTE)).await;
    copies(&lab, &first, 2_100).await;
    // One call a second is assumed: 1,740 of them end within 29 minutes, which leaves one for the answer.
    assert_eq!(foresee(&lab).await, Passed { requests: 2_101, late: 2_101 - 1_739, written: 2_101 });
    assert_eq!(lab.count("dsrs WHERE forecast IS NULL").await, 0);
    assert_eq!(lab.count("dsrs WHERE forecast_late = 1").await, 2_101 - 1_739);
    assert_eq!(foresee(&lab).await.written, 0);
}

/// Adds so many requests that are like this one but for their ids.
async fn copies(lab: &Lab, of: &DsrId, count: usize) {
    let columns = "controller_id, kind, stage, status, instruction_received_at, deadlines, due_before, policy, out_of_scope, identifier_types, has_callback";
    let step_columns = "controller_id, system_id, lane, verb, phase, state, q, due_at, not_before, created_at";
    let name = |n: usize| format!("z{n:0>25}");
    let pairs: Vec<String> = (0..count).map(|n| format!("('{}')", name(n))).collect();
    let values = format!("(VALUES {}) AS v", pairs.join(", "));
    lab.sql(&format!("INSERT INTO dsrs (id, {columns}) SELECT 'dsr_' || v.column1, {columns} FROM dsrs, {values} WHERE dsrs.id = '{of}'"))
        .await
        .expect("copied");
    lab.sql(&format!("INSERT INTO steps (id, dsr_id, idem, {step_columns}) SELECT 'stp_' || v.column1, 'dsr_' || v.column1, 'copy' || v.column1, {step_columns} FROM steps, {values} WHERE steps.dsr_id = '{of}' AND system_id IS NOT NULL"))
        .await
        .expect("copied");
}
