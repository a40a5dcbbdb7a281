//! What a forecast promises, on small queues and on random ones.

use super::pace::{Basis, Pace, Record, Seen};
use super::queue::{Job, Queued, StepFacts, Turn, turns};
use super::{Backlog, Blocker, Confidence, Entry, Forecast, Foreseen, Lane, Request};
use crate::Verb;
use crate::plan::Policy;
use crate::stage::Stage;
use crate::step::{Phase, StepState};
use jiff::tz::TimeZone;

mod random;
mod telling;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Sat 2026-11-21 10:00 UTC.
const NOW: i64 = 1_795_255_200_000;

fn zone() -> TimeZone {
    TimeZone::get("Europe/Berlin").expect("in the database")
}

/// A system that was measured to need so long for a call.
fn lane(name: &str, call_ms: i64) -> Lane {
    let week = Seen { calls: 1_000, busy_ms: 1_000 * call_ms };
    let record = Record { week, ..Record::default() };
    Lane {
        name: name.into(),
        pace: Pace::of(&record, None, 50),
        batch: 50,
        limits_in_full: false,
        completes_within_days: 0,
        paused: None,
        failing_since: None,
        disconnected: false,
    }
}

fn request(due_before: i64) -> Request {
    Request {
        stage: Stage::InProgress,
        policy: Policy::default(),
        approved: false,
        reviewed: false,
        cooling_off_until: None,
        due_before,
        moving: false,
        answer_stuck: false,
        planned: true,
    }
}

fn step(verb: Verb) -> StepFacts {
    StepFacts {
        verb,
        state: StepState::Queued,
        phase: Phase::Act,
        queued: Some(Queued::Ready),
        not_before: NOW,
        leased_at: None,
        asked_at: None,
        attention: false,
    }
}

impl Backlog {
    /// Adds a request with these steps.
    fn with(&mut self, request: Request, steps: &[(usize, StepFacts)]) -> usize {
        let n = self.requests.len();
        for (lane, step) in steps {
            let days = self.lanes[*lane].completes_within_days;
            let key = (request.due_before - days * DAY, format!("{n:08}").into());
            self.entries.extend(Entry::of(Some(n), *lane, key, step, days, request.begins_at(NOW), NOW));
        }
        self.requests.push(request);
        n
    }

    /// Adds so many deletions that are due at this moment.
    fn deletions(&mut self, count: usize, lane: usize, due_before: i64) {
        for _ in 0..count {
            self.with(request(due_before), &[(lane, step(Verb::Erase))]);
        }
    }

    fn shown(&self, n: usize) -> Foreseen {
        let forecast = &self.forecasts(NOW)[n];
        self.foreseen(n, forecast, &zone(), NOW, None)
    }
}

fn with_lanes(lanes: &[Lane]) -> Backlog {
    Backlog { lanes: lanes.to_vec(), ..Backlog::default() }
}

fn ends(backlog: &Backlog, n: usize) -> i64 {
    backlog.forecasts(NOW)[n].ends_at - NOW
}

#[test]
fn a_step_with_nothing_before_it_runs_at_once_and_is_read_again() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    let deletion = backlog.with(request(NOW + DAY), &[(0, step(Verb::Erase))]);
    assert_eq!(ends(&backlog, deletion), 2 * HOUR + MINUTE, "a call, its second read, the answer");
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    let access = backlog.with(request(NOW + DAY), &[(0, step(Verb::Export))]);
    assert_eq!(ends(&backlog, access), HOUR + MINUTE);
}

#[test]
fn who_is_due_earlier_goes_first_whoever_came_first() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    backlog.deletions(10, 0, NOW + 30 * DAY);
    let urgent = backlog.with(request(NOW + DAY), &[(0, step(Verb::Erase))]);
    let patient = backlog.with(request(NOW + 60 * DAY), &[(0, step(Verb::Erase))]);
    assert_eq!(ends(&backlog, urgent), 2 * HOUR + MINUTE);
    assert_eq!(ends(&backlog, patient), 24 * HOUR + MINUTE);
    assert!(backlog.forecasts(NOW).iter().all(|f| !f.late && f.confidence == Confidence::Measured));
}

#[test]
fn the_slowest_of_its_systems_says_when_a_request_ends() {
    let mut backlog = with_lanes(&[lane("crm", 1), lane("mail", HOUR)]);
    backlog.deletions(5, 1, NOW + DAY);
    let both = backlog.with(request(NOW + 3 * DAY), &[(0, step(Verb::Erase)), (1, step(Verb::Erase))]);
    assert_eq!(ends(&backlog, both), 12 * HOUR + MINUTE);
    assert_eq!(backlog.shown(both).bottleneck.as_deref(), Some("mail"));
}

#[test]
fn a_request_is_late_from_the_first_instant_that_is_too_late() {
    let end = NOW + 2 * HOUR + MINUTE;
    for (due_before, late, days) in [(end + 1, false, None), (end, true, Some(1)), (end - DAY - 1, true, Some(2))] {
        let mut backlog = with_lanes(&[lane("crm", HOUR)]);
        let n = backlog.with(request(due_before), &[(0, step(Verb::Erase))]);
        let shown = backlog.shown(n);
        assert_eq!((shown.late, shown.late_by_days, shown.late_since.is_some()), (late, days, late));
    }
}

#[test]
fn a_vendor_that_takes_days_is_asked_first_and_believed_to_take_all_of_them() {
    let vendor = Lane { completes_within_days: 14, ..lane("vendor", HOUR) };
    let mut backlog = with_lanes(&[vendor]);
    let n = backlog.with(request(NOW + 20 * DAY), &[(0, step(Verb::Erase))]);
    // Asked, asked again how far it is, and read.
    assert_eq!(ends(&backlog, n), 14 * DAY + 3 * HOUR + MINUTE);
    let asked = StepFacts {
        state: StepState::External,
        queued: Some(Queued::Wait),
        not_before: NOW + DAY,
        asked_at: Some(NOW - 10 * DAY),
        ..step(Verb::Erase)
    };
    let n = backlog.with(request(NOW + 20 * DAY), &[(0, asked)]);
    assert_eq!(ends(&backlog, n), 4 * DAY + 2 * HOUR + MINUTE, "four of its days are left, whatever is asked before");
}

#[test]
fn what_a_vendor_does_by_itself_holds_nobody_up() {
    let vendor = Lane { completes_within_days: 14, ..lane("vendor", HOUR) };
    let mut backlog = with_lanes(&[vendor]);
    backlog.deletions(10, 0, NOW + 30 * DAY);
    let n = backlog.with(request(NOW + 30 * DAY + 1), &[(0, step(Verb::Erase))]);
    assert_eq!(backlog.forecasts(NOW)[n].last.map(|(_, t)| t.acts_at - NOW), Some(11 * HOUR));
}

#[test]
fn a_running_step_is_believed_to_have_begun_when_it_did() {
    let running = |since| StepFacts { queued: Some(Queued::Run), leased_at: Some(NOW - since), ..step(Verb::Export) };
    for (since, left) in [(0, HOUR), (40 * MINUTE, 20 * MINUTE), (5 * HOUR, 0)] {
        let mut backlog = with_lanes(&[lane("crm", HOUR)]);
        // It goes on although something more urgent has come since.
        let urgent = backlog.with(request(NOW + DAY), &[(0, step(Verb::Export))]);
        let n = backlog.with(request(NOW + 2 * DAY), &[(0, running(since))]);
        assert_eq!(ends(&backlog, n), left + MINUTE);
        assert_eq!(ends(&backlog, urgent), left + HOUR + MINUTE);
    }
}

#[test]
fn a_settled_step_is_no_work_and_a_request_without_open_steps_ends_at_once() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    let settled = StepFacts { state: StepState::Verified, queued: None, ..step(Verb::Erase) };
    let n = backlog.with(Request { stage: Stage::Delivering, ..request(NOW + DAY) }, &[(0, settled)]);
    assert!(backlog.entries.is_empty());
    assert_eq!(ends(&backlog, n), MINUTE);
}

#[test]
fn a_second_read_to_come_waits_for_its_time() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    let acted = StepFacts {
        state: StepState::Done,
        phase: Phase::Verify,
        queued: Some(Queued::Wait),
        not_before: NOW + 5 * HOUR,
        ..step(Verb::Erase)
    };
    let n = backlog.with(request(NOW + DAY), &[(0, acted)]);
    assert_eq!(ends(&backlog, n), 6 * HOUR + MINUTE);
}

#[test]
fn who_cools_off_comes_before_those_due_later_once_its_time_has_come() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    let policy = Policy { cooling_off_ms: DAY, ..Policy::default() };
    let until = NOW + 150 * MINUTE;
    let cooling = Request { stage: Stage::CoolingOff, policy, cooling_off_until: Some(until), ..request(NOW + DAY) };
    let unreleased = StepFacts { queued: None, ..step(Verb::Erase) };
    let first = backlog.with(cooling, &[(0, unreleased)]);
    backlog.deletions(10, 0, NOW + 2 * DAY);
    assert_eq!(ends(&backlog, first), 5 * HOUR + MINUTE, "the call that runs at that moment is not stopped");
    assert_eq!(ends(&backlog, 10), 22 * HOUR + MINUTE);
}

#[test]
fn what_waits_for_a_person_has_no_end_but_a_last_moment_and_holds_nobody_up() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    let policy = Policy { approval: true, cooling_off_ms: DAY, ..Policy::default() };
    let unreleased = StepFacts { queued: None, ..step(Verb::Erase) };
    let waiting = Request { stage: Stage::AwaitingApproval, policy, ..request(NOW + 3 * DAY) };
    let n = backlog.with(waiting, &[(0, unreleased)]);
    let other = backlog.with(request(NOW + 4 * DAY), &[(0, step(Verb::Erase))]);
    let shown = backlog.shown(n);
    assert_eq!((shown.finishes_at, shown.late, shown.blocked_by), (None, false, Some(Blocker::Approval)));
    assert_eq!(shown.confidence, Confidence::Blocked);
    // Three days less the cooling-off, two calls and the answer.
    assert_eq!(shown.act_by.map(|at| at.as_millisecond() - NOW), Some(2 * DAY - 2 * HOUR - MINUTE));
    assert_eq!(ends(&backlog, other), 2 * HOUR + MINUTE);
    // Decided at once it is late already: then nothing can be done by a decision.
    backlog.requests[n].due_before = NOW + DAY;
    let shown = backlog.shown(n);
    assert_eq!((shown.late, shown.act_by), (true, None));
}

#[test]
fn a_due_date_that_moves_is_not_missed() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    let held = StepFacts { queued: Some(Queued::Held), ..step(Verb::Erase) };
    let waiting = Request { stage: Stage::AwaitingController, moving: true, ..request(NOW + 1) };
    let n = backlog.with(waiting, &[(0, held)]);
    let shown = backlog.shown(n);
    assert_eq!((shown.late, shown.blocked_by, shown.act_by), (false, Some(Blocker::Controller), None));
}

#[test]
fn a_system_out_of_reach_blocks_and_is_late_only_if_it_would_be_late_at_once_repaired() {
    let down = [
        (Lane { paused: Some(Some(NOW - DAY)), ..lane("crm", HOUR) }, Some(Blocker::Paused)),
        (Lane { failing_since: Some(NOW - HOUR), ..lane("crm", HOUR) }, Some(Blocker::Failing)),
        (Lane { failing_since: Some(NOW - MINUTE), ..lane("crm", HOUR) }, None),
        (Lane { disconnected: true, ..lane("crm", HOUR) }, Some(Blocker::Disconnected)),
    ];
    for (lane, blocked_by) in down {
        let mut backlog = with_lanes(&[lane]);
        let later = backlog.with(request(NOW + 3 * DAY), &[(0, step(Verb::Erase))]);
        let soon = backlog.with(request(NOW + HOUR), &[(0, step(Verb::Erase))]);
        let (later, soon) = (backlog.shown(later), backlog.shown(soon));
        assert_eq!((later.late, soon.late), (false, true));
        assert_eq!((later.blocked_by, soon.blocked_by), (blocked_by, blocked_by));
        assert_eq!((later.finishes_at.is_none(), later.act_by.is_some()), (blocked_by.is_some(), blocked_by.is_some()));
    }
}

#[test]
fn a_step_that_needs_a_person_blocks_its_request() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    let stuck = StepFacts { queued: None, attention: true, ..step(Verb::Erase) };
    let n = backlog.with(request(NOW + DAY), &[(0, stuck)]);
    let tried_on = StepFacts { queued: Some(Queued::Wait), attention: true, ..step(Verb::Erase) };
    let m = backlog.with(request(NOW + DAY), &[(0, tried_on)]);
    assert_eq!(backlog.shown(n).blocked_by, Some(Blocker::Attention));
    assert_eq!(backlog.shown(m).blocked_by, None, "it is still tried");
    let n = backlog.with(Request { planned: false, ..request(NOW + DAY) }, &[]);
    assert_eq!(backlog.shown(n).blocked_by, Some(Blocker::NoSystem));
}

#[test]
fn little_to_do_does_not_look_slow() {
    // Three calls a day of a second each.
    let week = Seen { calls: 21, busy_ms: 21_000 };
    let pace = Pace::of(&Record { week, ..Record::default() }, None, 50);
    assert_eq!((pace.micros, pace.basis), (1_000_000, Basis::LastWeek));
}

#[test]
fn the_last_day_is_believed_before_the_week_and_few_calls_only_if_they_took_long() {
    let of = |day: (i64, i64), week: (i64, i64)| {
        let seen = |(calls, busy_ms)| Seen { calls, busy_ms };
        let pace = Pace::of(&Record { day: seen(day), week: seen(week), ..Record::default() }, None, 1);
        (pace.micros, pace.basis)
    };
    assert_eq!(of((20, 40_000), (1_000, 1_000_000)), (2_000_000, Basis::LastDay));
    assert_eq!(of((19, 40_000), (1_000, 1_000_000)), (1_000_000, Basis::LastWeek));
    assert_eq!(of((2, 2 * HOUR), (2, 2 * HOUR)), (HOUR * 1_000, Basis::LastDay));
    assert_eq!(of((2, 4_000), (19, 4_000)), (1_000_000, Basis::Assumed));
    assert_eq!(of((0, 90 * HOUR), (0, 90 * HOUR)).1, Basis::Assumed, "nothing but failures is no pace");
    assert_eq!(of((20, 0), (20, 0)), (1, Basis::LastDay));
}

#[test]
fn the_limit_of_the_controller_counts_in_batches_and_from_the_moment_it_is_set() {
    let week = Seen { calls: 1_000, busy_ms: 1_000_000 };
    let of = |rate, batch| Pace::of(&Record { week, ..Record::default() }, rate, batch);
    assert_eq!(of(Some(0.01), 50).micros, 2_000_000);
    assert!(of(Some(0.01), 50).is_limited() && !of(Some(1.0), 1).is_limited());
    assert_eq!(of(Some(100.0), 50).micros, 1_000_000);
    assert!(of(Some(f64::MIN_POSITIVE), 1).micros > 86_400_000_000, "absurd, and no overflow");
    let mut backlog = with_lanes(&[Lane { pace: of(Some(f64::MIN_POSITIVE), 1), ..lane("crm", HOUR) }]);
    backlog.deletions(3, 0, NOW + DAY);
    assert!(backlog.shown(2).late);
}

#[test]
fn a_guess_is_told_as_one() {
    let guessed = Lane { pace: Pace::of(&Record::default(), None, 50), ..lane("new", HOUR) };
    let mut backlog = with_lanes(&[guessed, lane("slow", DAY)]);
    let alone = backlog.with(request(NOW + 9 * DAY), &[(0, step(Verb::Erase))]);
    let both = backlog.with(request(NOW + 9 * DAY), &[(0, step(Verb::Erase)), (1, step(Verb::Erase))]);
    assert_eq!(backlog.shown(alone).confidence, Confidence::Assumed);
    assert_eq!(backlog.shown(both).confidence, Confidence::Measured, "its end does not hang on the guess");
}

#[test]
fn what_is_kept_is_written_again_only_when_it_says_something_else() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    backlog.deletions(60, 0, NOW + 30 * DAY);
    let n = backlog.with(request(NOW + 31 * DAY), &[(0, step(Verb::Erase))]);
    let kept = backlog.shown(n);
    let differs = |backlog: &Backlog, now: i64| {
        let forecast: &Forecast = &backlog.forecasts(NOW)[n];
        forecast.differs(backlog, backlog.requests[n].due_before, &kept, now)
    };
    assert!(!differs(&backlog, NOW));
    let mut faster = backlog.clone();
    faster.lanes[0] = lane("crm", HOUR * 95 / 100);
    assert!(!differs(&faster, NOW), "by a twentieth");
    faster.lanes[0] = lane("crm", HOUR * 80 / 100);
    assert!(differs(&faster, NOW), "by a fifth");
    let mut paused = backlog.clone();
    paused.lanes[0].paused = Some(None);
    assert!(differs(&paused, NOW));
    let mut late = backlog.clone();
    late.requests[n].due_before = NOW + DAY;
    assert!(differs(&late, NOW));
    let text = serde_json::to_string(&kept).expect("JSON");
    assert_eq!(serde_json::from_str::<Foreseen>(&text).expect("read back"), kept);
}
