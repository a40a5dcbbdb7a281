use super::*;

const DAY: i64 = 86_400;

/// Days after the start of our calendar.
fn day(n: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + n * DAY).expect("an instant")
}

/// A request of thirty days: at risk on day 18, critical on day 28.
fn a_request() -> Watched {
    Watched {
        milestones: Milestones {
            at_risk_at: day(18),
            critical_at: day(28),
            overdue_at: day(30),
            extension_decision_at: Some(day(23)),
            acknowledgement_warning_at: Some(day(8)),
        },
        moving: false,
        band: Band::OnTrack,
        waiting: None,
        forecast_late_since: None,
        attention_since: None,
        closed_at: None,
    }
}

/// What is told, and what is only recorded (in brackets).
fn told(seen: &Seen) -> Vec<String> {
    let text = |n: &DueNotice| if n.superseded { format!("({})", n.kind) } else { n.kind.to_string() };
    seen.notices.iter().map(text).collect()
}

#[test]
fn each_level_is_seen_at_its_instant_and_not_a_moment_before() {
    let mut watched = a_request();
    let just_before = |at: Timestamp| at - SignedDuration::from_millis(1);
    for (at, before, after, next) in [
        (day(8), Band::OnTrack, Band::OnTrack, Some(day(18))),
        (day(18), Band::OnTrack, Band::AtRisk, Some(day(23))),
        (day(23), Band::AtRisk, Band::AtRisk, Some(day(28))),
        (day(28), Band::AtRisk, Band::Critical, Some(day(30))),
        (day(30), Band::Critical, Band::Overdue, None),
    ] {
        let early = look(&watched, just_before(at));
        assert_eq!((early.band, early.next_at), (before, Some(at)));
        let seen = look(&watched, at);
        assert_eq!((seen.band, seen.next_at), (after, next));
        assert_eq!(seen.notices.len(), early.notices.len() + 1);
        assert!(seen.notices.iter().any(|n| n.due_at == at));
        watched.band = seen.band;
    }
}

#[test]
fn of_several_levels_that_passed_unseen_only_the_gravest_is_told() {
    let watched = a_request();
    assert_eq!(told(&look(&watched, day(17))), ["acknowledgement_due"]);
    assert_eq!(told(&look(&watched, day(18))), ["at_risk", "acknowledgement_due"]);
    assert_eq!(told(&look(&watched, day(28))), ["(at_risk)", "critical", "extension_decision", "acknowledgement_due"]);
    assert_eq!(
        told(&look(&watched, day(99))),
        ["(at_risk)", "(critical)", "overdue", "(extension_decision)", "acknowledgement_due"]
    );
}

#[test]
fn a_request_accepted_late_is_seen_at_once() {
    let mut watched = a_request();
    watched.milestones.at_risk_at = day(-3);
    watched.milestones.critical_at = day(-1);
    let seen = look(&watched, day(0));
    assert_eq!((seen.band, told(&seen)), (Band::Critical, vec!["(at_risk)".to_owned(), "critical".into()]));
}

#[test]
fn another_due_date_is_another_occasion_and_the_same_one_is_not() {
    let watched = a_request();
    let key = |watched: &Watched| look(watched, day(18)).notices[0].occasion.to_string();
    let mut extended = a_request();
    extended.milestones.overdue_at = day(90);
    assert_ne!(key(&watched), key(&extended));
    let mut seen_again = a_request();
    seen_again.band = Band::AtRisk;
    assert_eq!(key(&watched), key(&seen_again));
}

#[test]
fn an_open_pause_that_moves_the_date_holds_the_band_and_looks_again_tomorrow() {
    let watched = Watched { moving: true, band: Band::AtRisk, ..a_request() };
    let seen = look(&watched, day(29));
    assert_eq!((seen.band, told(&seen).len(), seen.next_at), (Band::AtRisk, 0, Some(day(30))));
    let waiting = Waiting { since: day(28), reminders: vec![(0, day(28)), (2, day(29)), (5, day(33))] };
    let seen = look(&Watched { waiting: Some(waiting), ..watched }, day(29));
    assert_eq!(told(&seen), ["(awaiting_controller)", "awaiting_controller"]);
    assert_eq!(seen.next_at, Some(day(30)));
}

#[test]
fn a_controller_that_is_waited_for_is_reminded_until_it_acts() {
    let waiting = |since: i64| Waiting {
        since: day(since),
        reminders: vec![(0, day(since)), (2, day(since + 2)), (5, day(since + 7))],
    };
    let watched = Watched { waiting: Some(waiting(1)), ..a_request() };
    let of = |watched: &Watched, at: i64| -> Vec<String> {
        let seen = look(watched, day(at));
        let awaiting = seen.notices.iter().filter(|n| n.kind == NoticeKind::AwaitingController && !n.superseded);
        awaiting.map(|n| n.occasion.to_string().rsplit_once('+').expect("a number").1.to_owned()).collect()
    };
    assert_eq!(of(&watched, 1), ["0"]);
    assert_eq!(of(&watched, 3), ["2"]);
    assert_eq!(of(&watched, 8), ["5"]);
    assert_eq!(of(&watched, 18), ["5", "due"]);
    assert_eq!(look(&watched, day(1)).next_at, Some(day(3)));
    // It began to wait when time was short already.
    let late = Watched { waiting: Some(waiting(20)), ..a_request() };
    assert_eq!(of(&late, 20), ["0", "due"]);
    // A second wait is another one.
    let key = |watched: &Watched, at| look(watched, day(at)).notices.last().expect("one").occasion.to_string();
    assert_ne!(key(&watched, 1), key(&Watched { waiting: Some(waiting(4)), ..a_request() }, 4));
}

#[test]
fn what_lasts_is_told_once_for_each_time_that_it_arises() {
    let watched = Watched { attention_since: Some(day(3)), forecast_late_since: Some(day(4)), ..a_request() };
    let seen = look(&watched, day(5));
    assert_eq!(told(&seen), ["forecast_late", "needs_attention"]);
    let (late, stuck) = (&seen.notices[0], &seen.notices[1]);
    assert_eq!((late.occasion.clone(), late.due_at), (Occasion::Due(day(30)), day(4)));
    assert_eq!((stuck.occasion.clone(), stuck.due_at), (Occasion::Since(day(3)), day(3)));
    assert!(stuck.endangers, "the forecast says so");
    let calm = look(&Watched { forecast_late_since: None, ..watched }, day(5));
    assert!(!calm.notices[0].endangers);
}

#[test]
fn a_request_that_ended_in_time_is_silent_and_one_that_ended_late_is_told_once_more() {
    let ended = |at: i64| Watched { closed_at: Some(day(at)), attention_since: Some(day(2)), ..a_request() };
    let seen = look(&ended(29), day(60));
    assert_eq!((seen.band, seen.next_at), (Band::Critical, None));
    assert!(seen.notices.iter().all(|n| n.superseded), "{:?}", told(&seen));
    let seen = look(&ended(31), day(60));
    assert_eq!((seen.band, seen.next_at), (Band::Overdue, None));
    let said: Vec<NoticeKind> = seen.notices.iter().filter(|n| !n.superseded).map(|n| n.kind).collect();
    assert_eq!(said, [NoticeKind::Overdue]);
}
