//! What a forecast says of its reasons.

use super::*;

fn because(backlog: &Backlog, n: usize) -> Vec<String> {
    backlog.shown(n).because
}

#[test]
fn a_late_request_is_told_with_what_is_before_it_its_pace_its_vendor_and_what_would_help() {
    let limited = Pace::of(&Record { week: Seen { calls: 700, busy_ms: 700_000 }, ..Record::default() }, Some(0.01), 1);
    let vendor = Lane { pace: limited, completes_within_days: 14, batch: 1, ..lane("crm", HOUR) };
    let mut backlog = with_lanes(&[vendor]);
    for _ in 0..9_000 {
        backlog.with(request(NOW + 20 * DAY), &[(0, step(Verb::Erase))]);
    }
    let n = backlog.with(request(NOW + 20 * DAY + 1), &[(0, step(Verb::Erase))]);
    assert_eq!(
        because(&backlog, n),
        [
            "crm: 9,000 steps are due before this one; its rate_per_second allows 864 calls a day, so this step is asked on Tue 2026-12-01.",
            "crm finishes within 14 days after that: Tue 2026-12-15.",
            "To see that it did, crm is asked again and read; with those due before it, that is on Sat 2026-12-26.",
            "It is due before Fri 2026-12-11 11:00 (Europe/Berlin): late by 15 days.",
            "With a rate_per_second of 0.053 crm would be in time.",
        ]
    );
}

#[test]
fn a_request_in_time_is_told_with_what_is_to_spare() {
    let mut backlog = with_lanes(&[lane("crm", 10 * MINUTE)]);
    backlog.deletions(310, 0, NOW + 10 * DAY);
    let n = backlog.with(request(NOW + 11 * DAY), &[(0, step(Verb::Erase))]);
    assert_eq!(
        because(&backlog, n),
        [
            "crm: 310 steps are due before this one, 620 calls in all; in the last 7 days it did 144 calls a day while it had work, so this step is done on Wed 2026-11-25.",
            "It is due before Wed 2026-12-02 11:00 (Europe/Berlin): in time, with 6 days to spare.",
        ]
    );
}

#[test]
fn a_blocked_request_is_told_with_its_blocker_and_the_last_moment() {
    let mut backlog = with_lanes(&[Lane { paused: Some(Some(NOW - 5 * DAY)), ..lane("crm", HOUR) }]);
    let n = backlog.with(request(NOW + DAY), &[(0, step(Verb::Erase))]);
    assert_eq!(
        because(&backlog, n),
        [
            "crm is paused since Mon 2026-11-16.",
            "When that ends cannot be known; what follows takes it as settled now.",
            "crm: no other step is due before this one; in the last 7 days it did 24 calls a day while it had work, so this step is done on Sat 2026-11-21 13:00.",
            "It is due before Sun 2026-11-22 11:00 (Europe/Berlin): in time if that happens before Sun 2026-11-22 08:59.",
        ]
    );
}

#[test]
fn a_system_that_would_have_to_be_faster_is_told_how_fast() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    backlog.deletions(100, 0, NOW + DAY);
    let n = backlog.with(request(NOW + DAY), &[(0, step(Verb::Erase))]);
    assert_eq!(because(&backlog, n).last().expect("said"), "With 203 calls a day crm would be in time.");
}

#[test]
fn what_no_speed_can_mend_is_said() {
    let vendor = Lane { completes_within_days: 14, ..lane("vendor", HOUR) };
    let mut backlog = with_lanes(&[vendor]);
    let n = backlog.with(request(NOW + 10 * DAY), &[(0, step(Verb::Erase))]);
    let said = because(&backlog, n);
    assert_eq!(
        said.last().expect("said"),
        "No speed of vendor brings it in time: what it has to wait for takes too long by itself."
    );
}

#[test]
fn a_vendor_that_was_asked_is_told_with_the_day() {
    let vendor = Lane { completes_within_days: 14, ..lane("vendor", 1_000) };
    let mut backlog = with_lanes(&[vendor]);
    let asked = StepFacts {
        state: StepState::External,
        queued: Some(Queued::Wait),
        asked_at: Some(NOW - 10 * DAY),
        ..step(Verb::Erase)
    };
    let n = backlog.with(request(NOW + 20 * DAY), &[(0, asked)]);
    assert_eq!(
        because(&backlog, n)[0],
        "vendor was asked on Wed 2026-11-11 and finishes within 14 days after that: Wed 2026-11-25."
    );
}

#[test]
fn every_blocker_and_every_stage_has_its_sentence() {
    let policy = Policy { approval: true, cooling_off_ms: DAY, review: true };
    let unreleased = StepFacts { queued: None, ..step(Verb::Erase) };
    let said = |stage, moving, steps: &[(usize, StepFacts)]| {
        let mut backlog = with_lanes(&[lane("crm", HOUR)]);
        let n = backlog.with(Request { stage, policy, moving, ..request(NOW + 9 * DAY) }, steps);
        because(&backlog, n).join(" ")
    };
    for (stage, moving, part) in [
        (Stage::AwaitingApproval, false, "It waits for a person's approval."),
        (Stage::AwaitingApproval, false, "Until Sun 2026-11-22 11:00 it can be withdrawn"),
        (Stage::AwaitingController, true, "its due date moves while it does"),
        (Stage::AwaitingController, true, ": which moves on."),
        (Stage::AwaitingController, false, "It waits for its controller."),
        (Stage::InProgress, false, "Then a person has to look at the result"),
    ] {
        let text = said(stage, moving, &[(0, unreleased)]);
        assert!(text.contains(part), "{text}");
    }
    let text = said(Stage::Review, false, &[]);
    assert!(
        text.contains("it waits for a person to look") && text.contains("only its answer has to be made"),
        "{text}"
    );
    let stuck = StepFacts { queued: None, attention: true, ..step(Verb::Erase) };
    assert!(said(Stage::InProgress, false, &[(0, stuck)]).contains("crm: its step needs a person."));
}

#[test]
fn no_sentence_names_an_id() {
    let mut backlog = with_lanes(&[lane("crm", HOUR)]);
    backlog.deletions(3, 0, NOW + HOUR);
    for n in 0..3 {
        assert!(because(&backlog, n).iter().all(|said| !said.contains("0000000")), "{:?}", because(&backlog, n));
    }
}
