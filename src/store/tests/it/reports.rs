//! Reports count each request once, whatever its place in the pages, and read nothing that is sealed.

use crate::lab::{Lab, Wish, attention, later};
use redress_domain::deadline::{Band, Milestones};
use redress_domain::regulation::PauseKind;
use redress_domain::report::OpenClock;
use redress_domain::stage::Stage;
use redress_domain::{ControllerId, DsrId};
use redress_store::{ClosedDsr, Decision, OpenDsr, ReceivedDsr};

on_both!(
    every_open_request_is_counted_once_over_many_pages,
    every_closed_request_is_counted_once_even_if_many_ended_at_the_same_moment,
    reports_need_no_key_and_read_nothing_sealed,
    another_controllers_requests_are_not_counted,
    a_clock_that_stands_still_says_what_it_waits_for_and_keeps_its_band,
    a_date_that_nothing_moves_binds_once_a_paused_one_is_later,
    the_band_is_that_of_this_moment_and_old_rows_have_the_one_that_was_seen,
    the_laws_date_has_passed_only_while_its_clock_runs,
    the_time_of_closed_requests_includes_its_first_instant_and_excludes_its_end,
    open_steps_are_those_that_are_not_settled,
    a_step_is_timed_from_when_work_could_begin,
    tries_are_added_up_over_the_hours_that_touch_the_time,
    every_received_request_is_counted_once_over_many_pages,
    a_request_is_received_when_the_person_asked,
    a_request_under_several_laws_is_received_under_each,
    a_refusal_has_the_reason_code_of_its_event,
);

/// Far enough in both directions.
const ALWAYS: (i64, i64) = (0, 4_000_000_000_000);
const CCPA: &str = "US-CA-CCPA";
const DAY: i64 = 86_400_000;

async fn open(lab: &Lab, ctl: &ControllerId) -> Vec<OpenDsr> {
    let mut all = Vec::new();
    lab.store.each_open_dsr(ctl, |dsr| all.push(dsr)).await.expect("read");
    all
}

async fn closed(lab: &Lab, ctl: &ControllerId, from: i64, to: i64) -> Vec<ClosedDsr> {
    let mut all = Vec::new();
    lab.store.each_closed_dsr(ctl, from, to, |dsr| all.push(dsr)).await.expect("read");
    all
}

async fn received(lab: &Lab, ctl: &ControllerId, from: i64, to: i64) -> Vec<ReceivedDsr> {
    let mut all = Vec::new();
    lab.store.each_received_dsr(ctl, CCPA, from, to, |dsr| all.push(dsr)).await.expect("read");
    all
}

async fn set(lab: &Lab, id: &DsrId, what: &str) {
    lab.sql(&format!("UPDATE dsrs SET {what} WHERE id = '{id}'")).await.expect(what);
}

/// Copies a request, without its steps, so many times.
async fn copy(lab: &Lab, id: &DsrId, times: u64) {
    let columns = "controller_id, kind, regulation, stage, status, instruction_received_at, deadlines, due_before, policy, out_of_scope, identifier_types, closed_at, has_callback, clock";
    for part in (0..times).collect::<Vec<_>>().chunks(500) {
        let ids: Vec<String> = part.iter().map(|n| format!("('dsr_{n:026}')")).collect();
        let sql = format!(
            "WITH v(id) AS (VALUES {}) INSERT INTO dsrs (id, {columns}) SELECT v.id, {} FROM dsrs d, v WHERE d.id = '{id}'",
            ids.join(", "),
            columns.split(", ").map(|c| format!("d.{c}")).collect::<Vec<_>>().join(", ")
        );
        lab.sql(&sql).await.expect("copied");
    }
}

async fn every_open_request_is_counted_once_over_many_pages(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::deletion()).await;
    copy(&lab, &id, 2_345).await;
    let mut ids: Vec<String> = open(&lab, &ctl).await.into_iter().map(|dsr| dsr.id.to_string()).collect();
    assert_eq!(ids.len(), 2_346);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2_346);
}

async fn every_closed_request_is_counted_once_even_if_many_ended_at_the_same_moment(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::deletion()).await;
    set(&lab, &id, "closed_at = 5000, stage = 'completed', status = 'completed'").await;
    copy(&lab, &id, 2_345).await;
    lab.sql(&format!("UPDATE dsrs SET closed_at = 6000 WHERE id < 'dsr_{:026}'", 700)).await.expect("moved");
    assert_eq!(closed(&lab, &ctl, 5000, 6001).await.len(), 2_346);
    assert_eq!(closed(&lab, &ctl, 5000, 6000).await.len(), 1_646);
    assert_eq!(closed(&lab, &ctl, 5001, 9000).await.len(), 700);
}

async fn reports_need_no_key_and_read_nothing_sealed(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let (kept, gone) = (lab.begun(&ctl, Wish::deletion()).await, lab.submit(&ctl, Wish::access()).await);
    lab.store.decide(&ctl, &gone, Decision::Reject("unfounded".into()), "key_test").await.expect("rejected");
    lab.sql("UPDATE dsrs SET sealed = wrapped_key, wrapped_key = sealed").await.expect("damaged");
    assert!(lab.store.dsr(&ctl, &kept).await.is_err(), "nothing opens any more");
    assert_eq!(open(&lab, &ctl).await.len(), 1);
    assert_eq!(closed(&lab, &ctl, ALWAYS.0, ALWAYS.1).await.len(), 1);
    lab.sql("UPDATE dsrs SET sealed = NULL, wrapped_key = NULL").await.expect("purged");
    assert_eq!(open(&lab, &ctl).await.len(), 1);
    set(&lab, &gone, "regulation = 'US-CA-CCPA'").await;
    assert_eq!(received(&lab, &ctl, ALWAYS.0, ALWAYS.1).await.len(), 1);
}

async fn another_controllers_requests_are_not_counted(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    let shop = lab.system(&other, "shop").await;
    let (mine, ended) = (lab.begun(&ctl, Wish::deletion()).await, lab.submit(&ctl, Wish::access()).await);
    lab.store.decide(&ctl, &ended, Decision::Withdraw, "key_test").await.expect("withdrawn");
    set(&lab, &mine, "regulation = 'US-CA-CCPA'").await;
    assert!(open(&lab, &other).await.is_empty());
    assert!(closed(&lab, &other, ALWAYS.0, ALWAYS.1).await.is_empty());
    assert!(received(&lab, &other, ALWAYS.0, ALWAYS.1).await.is_empty());
    assert!(lab.store.step_times(&other, ALWAYS.0, ALWAYS.1).await.expect("read").is_empty());
    let names = lab.store.system_names(&other).await.expect("read");
    assert_eq!(
        names.iter().map(|s| (&s.id, s.name.as_str(), s.disconnected)).collect::<Vec<_>>(),
        [(&shop, "shop", false)]
    );
    lab.store.delete_system(&other, "shop", "operator").await.expect("disconnected");
    assert!(lab.store.system_names(&other).await.expect("read")[0].disconnected, "its history still has a name");
}

/// Writes pauses into a request's clock: kind, begin and end.
async fn paused(lab: &Lab, id: &DsrId, state: &str, pauses: &[(&str, &str, Option<&str>)]) {
    let clock = lab.query(&format!("SELECT clock FROM dsrs WHERE id = '{id}'")).await.remove(0);
    let mut clock: serde_json::Value = serde_json::from_str(&clock).expect("JSON");
    let pauses = pauses.iter().map(|(kind, from, to)| serde_json::json!({ "kind": kind, "from": from, "to": to }));
    clock["facts"]["pauses"] = pauses.collect();
    set(lab, id, &format!("clock_state = '{state}', clock = '{clock}'")).await;
}

async fn a_clock_that_stands_still_says_what_it_waits_for_and_keeps_its_band(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::access()).await;
    let standing = async || {
        let dsr = open(&lab, &ctl).await.remove(0);
        (dsr.clock, dsr.band)
    };
    assert_eq!(standing().await, (OpenClock::Running, Band::OnTrack));
    let over = ("fee", "2026-11-20T10:00:00Z", Some("2026-11-20T12:00:00Z"));
    let first = ("identity", "2026-11-21T10:00:00Z", None);
    let second = ("clarification", "2026-11-21T11:00:00Z", None);
    paused(&lab, &id, "paused", &[second, over, first]).await;
    let waits = (OpenClock::Paused(Some(PauseKind::Identity)), Band::OnTrack);
    assert_eq!(standing().await, waits, "the first that is awaited");
    lab.travel(2 * DAY);
    assert_eq!(standing().await, waits);
    paused(&lab, &id, "paused", &[("controller", "2026-11-21T10:00:00Z", None)]).await;
    assert_eq!(standing().await, (OpenClock::Running, Band::OnTrack), "that pauses the contract, and the law binds");
    set(&lab, &id, "clock_state = 'not_started', clock = NULL, band = 'critical'").await;
    assert_eq!(standing().await, (OpenClock::NotStarted, Band::Critical), "nothing else is known of it");
}

/// The law's clock is paused on 21 November, the contract's is not: 30 days end on 21 December at midnight in Berlin.
async fn a_date_that_nothing_moves_binds_once_a_paused_one_is_later(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::access()).await;
    paused(&lab, &id, "paused", &[("identity", "2026-11-21T10:00:00Z", None)]).await;
    let standing = async |days: i64| {
        lab.travel(days * DAY);
        let dsr = open(&lab, &ctl).await.remove(0);
        (dsr.moving, dsr.band, dsr.due_before)
    };
    assert!(standing(1).await.0);
    let due = "2026-12-21T23:00:00Z".parse::<jiff::Timestamp>().expect("an instant").as_millisecond();
    assert_eq!(standing(28).await, (false, Band::Critical, due), "on 20 December, though the watch has not looked");
    assert_eq!(standing(2).await, (false, Band::Overdue, due));
}

async fn the_band_is_that_of_this_moment_and_old_rows_have_the_one_that_was_seen(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::deletion().due(lab.now() + DAY)).await;
    let stored = lab.detail(&ctl, &id).await.row;
    let milestones: Milestones = serde_json::from_value(stored.deadlines["milestones"].clone()).expect("kept");
    let dsr = open(&lab, &ctl).await.remove(0);
    let now = jiff::Timestamp::from_millisecond(lab.now()).expect("an instant");
    assert_eq!((dsr.band, dsr.due_before, dsr.received_at), (milestones.band(now), lab.now() + DAY, lab.now()));
    assert_eq!(
        (dsr.kind.as_str(), dsr.regulation.as_deref(), dsr.stage),
        ("deletion", Some("EU-GDPR"), Stage::InProgress)
    );
    lab.travel(DAY);
    assert_eq!(open(&lab, &ctl).await[0].band, Band::Overdue);
    let old = serde_json::json!({ "effective": stored.deadlines["effective"] });
    let columns = format!("band = 'critical', forecast_late = 1, extended_at = 1, due_before = {}", lab.now() + 1);
    set(&lab, &id, &format!("deadlines = '{old}', clock = NULL, {columns}")).await;
    let dsr = open(&lab, &ctl).await.remove(0);
    assert_eq!(dsr.band, Band::Critical);
    assert!(dsr.forecast_late && dsr.extended && !dsr.needs_attention);
    lab.travel(1);
    assert_eq!(open(&lab, &ctl).await[0].band, Band::Overdue);
    set(&lab, &id, "deadlines = '{\"milestones\": 1}'").await;
    assert!(lab.store.each_open_dsr(&ctl, drop).await.is_err(), "what cannot be read is not guessed");
}

async fn the_laws_date_has_passed_only_while_its_clock_runs(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::deletion()).await;
    let past = async || open(&lab, &ctl).await[0].past_statutory;
    set(&lab, &id, &format!("statutory_due_before = {}", lab.now() + 1)).await;
    assert!(!past().await);
    set(&lab, &id, &format!("statutory_due_before = {}", lab.now())).await;
    assert!(past().await);
    set(&lab, &id, "deadlines = '{\"statutory\": {\"clock\": \"paused\"}}'").await;
    assert!(!past().await, "each day moves it");
    set(&lab, &id, "deadlines = '{\"statutory\": {\"rule\": \"old\"}}'").await;
    assert!(past().await, "a row from before clocks were kept");
    set(&lab, &id, "statutory_due_before = NULL").await;
    assert!(!past().await);
}

async fn the_time_of_closed_requests_includes_its_first_instant_and_excludes_its_end(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::deletion()).await;
    lab.store.decide(&ctl, &id, Decision::Withdraw, "key_test").await.expect("withdrawn");
    let at = lab.now();
    assert_eq!(closed(&lab, &ctl, at, at + 1).await.len(), 1);
    assert_eq!(closed(&lab, &ctl, at + 1, at + 9).await.len(), 0);
    assert_eq!(closed(&lab, &ctl, at - 9, at).await.len(), 0);
    set(&lab, &id, "data_subject_received_at = 7, statutory_due_before = 9, extended_at = 8").await;
    let dsr = closed(&lab, &ctl, at, at + 1).await.remove(0);
    assert_eq!((dsr.stage, dsr.received_at, dsr.closed_at), (Stage::Withdrawn, 7, at));
    assert_eq!((dsr.statutory_due_before, dsr.extended), (Some(9), true));
    assert!(open(&lab, &ctl).await.is_empty());
}

async fn open_steps_are_those_that_are_not_settled(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    lab.begun(&ctl, Wish::deletion()).await;
    assert_eq!(open(&lab, &ctl).await[0].steps.len(), 2);
    let one = lab.claim_step().await;
    lab.obey(&one).await;
    let steps = open(&lab, &ctl).await.remove(0).steps;
    assert_eq!(steps.len(), 2, "a deletion counts only after its second read");
    assert!(steps.iter().all(|step| step.stuck_since.is_none() && !step.needs_attention && !step.external));
    let second_read = lab.store.claim("one", &["answer".into()], 1, 60_000).await.expect("claimed").remove(0);
    let begun = lab.now();
    lab.travel(60_000);
    lab.finish(
        &second_read,
        if second_read.step_id == one.step_id { attention() } else { later(lab.now(), true, true) },
    )
    .await;
    let stuck: Vec<_> =
        open(&lab, &ctl).await.remove(0).steps.into_iter().filter(|s| s.stuck_since.is_some()).collect();
    assert_eq!(stuck.len(), 1);
    assert!(stuck[0].needs_attention && stuck[0].stuck_since.is_some_and(|at| (begun..=lab.now()).contains(&at)));
    lab.sql("UPDATE steps SET state = 'external', attention = 0, failures = 0").await.expect("moved");
    assert!(open(&lab, &ctl).await[0].steps.iter().all(|step| step.external && step.stuck_since.is_none()));
    lab.sql("UPDATE steps SET state = 'verified', q = NULL").await.expect("moved");
    assert!(open(&lab, &ctl).await[0].steps.is_empty());
}

async fn a_step_is_timed_from_when_work_could_begin(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let submitted = lab.now();
    let id = lab.begun(&ctl, Wish::deletion().policy(true, 60_000, false)).await;
    lab.travel(3_600_000);
    lab.store.decide(&ctl, &id, Decision::Approve, "key_test").await.expect("approved");
    lab.travel(60_000);
    lab.advance().await;
    let lease = lab.claim_step().await;
    lab.travel(2_345);
    lab.obey(&lease).await;
    lab.work_off().await;
    assert_eq!(lab.status(&ctl, &id).await, "completed");
    let times = lab.store.step_times(&ctl, submitted, lab.now() + 1).await.expect("read");
    let seen: Vec<_> = times.iter().map(|t| (t.ms, t.steps, t.answered, t.in_time)).collect();
    assert_eq!(seen, [(Some(2_300), 1, 1, 1)], "neither the approval nor the cooling-off is the system's");
    for (took, shown) in [
        ("-5", "0"),
        ("59999", "59900"),
        ("60999", "60000"),
        ("3659999", "3600000"),
        ("90000000", "90000000"),
        ("90000001", "90000000"),
    ] {
        lab.sql(&format!(
            "UPDATE steps SET verified_at = {} + ({took}) WHERE system_id IS NOT NULL",
            submitted + 3_660_000
        ))
        .await
        .expect("set");
        let times = lab.store.step_times(&ctl, submitted, lab.now() + 1).await.expect("read");
        assert_eq!(times[0].ms.map(|ms| ms.to_string()).as_deref(), Some(shown), "{took}");
    }
    set(&lab, &id, "closed_at = due_before").await;
    let times = lab.store.step_times(&ctl, 0, ALWAYS.1).await.expect("read");
    assert_eq!((times[0].answered, times[0].in_time), (1, 0));
}

async fn tries_are_added_up_over_the_hours_that_touch_the_time(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.store.system_by_name(&ctl, "crm").await.expect("read").expect("there").id;
    for (hour, done, failed) in [(9, 1, 1), (10, 5, 2), (11, 7, 0), (12, 1, 1)] {
        let row = format!("('{id}', {hour}, {done}, {failed}, 0, 0)");
        lab.sql(&format!("INSERT INTO paces (system_id, hour, done, failed, busy_ms, busy_until) VALUES {row}"))
            .await
            .expect("kept");
    }
    let hour = 3_600_000;
    let tries = lab.store.tries(&ctl, 10 * hour + 5, 11 * hour + 5).await.expect("read");
    assert_eq!(tries.into_iter().collect::<Vec<_>>(), [(id, (12, 2))]);
}

async fn every_received_request_is_counted_once_over_many_pages(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::deletion()).await;
    set(&lab, &id, "regulation = 'US-CA-CCPA'").await;
    copy(&lab, &id, 4_321).await;
    assert_eq!(received(&lab, &ctl, ALWAYS.0, ALWAYS.1).await.len(), 4_322, "all at the same moment");
    let other_law = format!("UPDATE dsrs SET regulation = 'EU-GDPR', clock = NULL WHERE id >= 'dsr_{:026}'", 321);
    lab.sql(&other_law).await.expect("moved");
    assert_eq!(received(&lab, &ctl, ALWAYS.0, ALWAYS.1).await.len(), 321);
    lab.sql(&format!("UPDATE dsrs SET instruction_received_at = 7777 WHERE id < 'dsr_{:026}'", 3_000))
        .await
        .expect("moved");
    assert_eq!(received(&lab, &ctl, 7_777, 7_778).await.len(), 321);
}

async fn a_request_is_received_when_the_person_asked(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::deletion()).await;
    set(&lab, &id, "regulation = 'US-CA-CCPA', instruction_received_at = 1000000").await;
    let count = async |from, to| received(&lab, &ctl, from, to).await.len();
    assert_eq!(
        (count(1_000_000, 1_000_001).await, count(1_000_001, 2_000_000).await, count(0, 1_000_000).await),
        (1, 0, 0)
    );
    set(&lab, &id, "data_subject_received_at = 5000").await;
    assert_eq!((count(5_000, 5_001).await, count(5_001, 2_000_000).await), (1, 0));
    // The controller's clock was a little fast.
    set(&lab, &id, "data_subject_received_at = 1000200").await;
    assert_eq!((count(1_000_100, 1_000_300).await, count(0, 1_000_100).await), (1, 0));
    assert_eq!(received(&lab, &ctl, 0, ALWAYS.1).await[0].received_at, 1_000_200);
}

async fn a_request_under_several_laws_is_received_under_each(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::deletion()).await;
    let count = async || received(&lab, &ctl, 0, ALWAYS.1).await.len();
    assert_eq!(count().await, 0, "it is under the GDPR");
    set(&lab, &id, "clock = '{\"regulations\": [\"EU-GDPR\", \"US-CA-CCPA\"]}'").await;
    assert_eq!(count().await, 1);
    set(&lab, &id, "clock = '{\"regulations\": [\"EU-GDPR\"], \"books\": [\"US-CA-CCPA\"]}'").await;
    assert_eq!(count().await, 0, "it is not enough that the id stands somewhere");
    set(&lab, &id, "clock = NULL, regulation = 'US-CA-CCPA'").await;
    assert_eq!(count().await, 1);
    set(&lab, &id, "regulation = NULL").await;
    assert_eq!(count().await, 0);
}

async fn a_refusal_has_the_reason_code_of_its_event(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    for reason in ["identity_unverified", "manifestly_unfounded"] {
        let id = lab.submit(&ctl, Wish::deletion()).await;
        lab.store.decide(&ctl, &id, Decision::Reject(reason.into()), "key_test").await.expect("rejected");
    }
    let withdrawn = lab.submit(&ctl, Wish::deletion()).await;
    lab.store.decide(&ctl, &withdrawn, Decision::Withdraw, "key_test").await.expect("withdrawn");
    lab.sql("UPDATE dsrs SET regulation = 'US-CA-CCPA'").await.expect("moved");
    let mut seen: Vec<_> = received(&lab, &ctl, 0, ALWAYS.1).await.into_iter().map(|d| (d.stage, d.denial)).collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            (Stage::Rejected, Some("identity_unverified".into())),
            (Stage::Rejected, Some("manifestly_unfounded".into())),
            (Stage::Withdrawn, None),
        ]
    );
}
