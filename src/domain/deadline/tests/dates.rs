//! From a start to a date and its bound.

use super::*;
use crate::regulation::{DayName, Roll};

#[test]
fn a_month_from_31_january_ends_on_the_last_of_february_and_rolls_off_its_weekend() {
    // 28 Feb 2025 is a Friday, 28 Feb 2026 a Saturday, 29 Feb 2028 a Tuesday.
    for (received_at, due_on, due_before) in [
        ("2025-01-31T12:00:00Z", "2025-02-28", "2025-02-28T23:00:00Z"),
        ("2026-01-31T12:00:00Z", "2026-03-02", "2026-03-02T23:00:00Z"),
        ("2028-01-31T12:00:00Z", "2028-02-29", "2028-02-29T23:00:00Z"),
    ] {
        let due = statutory(&deletion(received_at));
        assert_eq!((due.due_on, due.due_before), (on(due_on), at(due_before)), "{received_at}");
    }
}

#[test]
fn a_due_date_on_a_chain_of_holidays_and_weekend_moves_behind_all_of_them() {
    // 25 and 26 Dec 2026 are Friday and Saturday.
    assert_eq!(statutory(&deletion("2026-11-25T12:00:00Z")).due_on, on("2026-12-28"));
    // Good Friday to Easter Monday 2026.
    assert_eq!(statutory(&deletion("2026-03-03T12:00:00Z")).due_on, on("2026-04-07"));
}

#[test]
fn the_local_date_decides_which_day_is_day_zero() {
    // One second before midnight in Berlin, and midnight.
    assert_eq!(statutory(&deletion("2026-04-30T21:59:59Z")).due_on, on("2026-06-01"), "30 May is a Saturday");
    assert_eq!(statutory(&deletion("2026-05-31T22:00:00Z")).due_on, on("2026-07-01"), "1 June in Berlin");
    let (before, after) = (statutory(&deletion("2026-03-03T22:59:59Z")), statutory(&deletion("2026-03-03T23:00:00Z")));
    assert_eq!((before.started_on, after.started_on), (on("2026-03-03"), on("2026-03-04")));
}

#[test]
fn both_two_oclocks_of_the_night_in_which_the_clocks_go_back_are_of_the_same_day() {
    let (summer, winter) = ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00");
    assert_eq!(statutory(&deletion(summer)).due_on, on("2026-11-25"));
    assert_eq!(statutory(&deletion(winter)).due_on, on("2026-11-25"));
}

#[test]
fn california_counts_45_days_does_not_roll_and_acknowledges_in_ten_business_days() {
    // 23:30 on 30 July in Los Angeles, 31 July in New York: the law's zone decides, for New York is not under it.
    let mut facts = in_place(deletion("2026-07-31T06:30:00Z"), "US", "America/New_York");
    facts.jurisdiction = Some("US-CA".to_owned());
    let deadlines = computed(&facts);
    let due = deadlines.statutory.expect("a law governs");
    assert_eq!((due.rule.as_str(), due.due_on), ("us-ca-ccpa.requests", on("2026-09-13")), "a Sunday");
    assert_eq!(due.due_before, at("2026-09-14T07:00:00Z"));
    assert_eq!(deadlines.acknowledge_by, Some(on("2026-08-13")), "the tenth working day after Thu 30 July");
    assert_eq!(deadlines.contract.due_on, on("2026-09-14"), "30 business days after Fri 31 July, without Labor Day");
    assert_eq!(deadlines.effective.due_on, on("2026-09-04"), "five business days before a Sunday, without Labor Day");
}

#[test]
fn the_contract_counts_business_days_from_the_instruction_and_skips_holidays() {
    let facts = deletion("2026-06-01T08:00:00Z");
    let deadlines = computed(&facts);
    assert_eq!((deadlines.contract.rule.as_str(), deadlines.contract.due_on), ("contract.deletion", on("2026-07-13")));
    assert_eq!(deadlines.acknowledge_by, Some(on("2026-06-02")));
    // In Bavaria Corpus Christi, Thu 4 June, is a holiday.
    let rules = agreed(json!({ "version": "1", "calendar": "de-by" }));
    let bavarian = compute(&rules, &facts, facts.instruction_received_at).expect("computable");
    assert_eq!(bavarian.contract.due_on, on("2026-07-14"));
}

#[test]
fn the_law_less_five_business_days_binds_before_the_contract() {
    let mut facts = deletion("2026-06-01T08:00:00Z");
    facts.data_subject_received_at = Some(at("2026-05-28T08:00:00Z"));
    let effective = computed(&facts).effective;
    // The month ends on Sun 28 June, so on Mon 29 June; five working days earlier is Mon 22 June.
    assert_eq!((effective.due_on, effective.due_before), (on("2026-06-22"), at("2026-06-22T22:00:00Z")));
    assert_eq!((effective.binding, effective.buffer_exhausted), (Binding::Statutory, false));
    assert_eq!(effective.buffered_statutory_on, Some(on("2026-06-22")));
}

#[test]
fn a_buffer_that_would_end_before_the_instruction_is_given_up() {
    let mut facts = deletion("2026-06-22T08:00:00Z");
    facts.data_subject_received_at = Some(at("2026-05-28T08:00:00Z"));
    let effective = computed(&facts).effective;
    assert_eq!((effective.due_on, effective.binding), (on("2026-06-29"), Binding::Statutory));
    assert!(effective.buffer_exhausted);
    facts.instruction_received_at = at("2026-06-21T08:00:00Z");
    assert!(!computed(&facts).effective.buffer_exhausted);
}

#[test]
fn a_long_law_leaves_the_contract_binding() {
    let effective = computed(&under(deletion("2026-06-01T15:00:00Z"), &["US-IA"])).effective;
    assert_eq!((effective.due_on, effective.binding), (on("2026-07-13"), Binding::Contract));
}

#[test]
fn the_internal_target_is_ten_business_days_and_never_after_the_day_that_work_is_planned_by() {
    assert_eq!(computed(&deletion("2026-06-01T08:00:00Z")).internal_target, on("2026-06-15"));
    // Korea answers within ten days, so by Thu 11 June; five business days before are Thu 4 June.
    let korea = computed(&under(deletion("2026-06-01T00:00:00Z"), &["KR-PIPA"]));
    assert_eq!(korea.statutory.expect("named").due_on, on("2026-06-11"));
    assert_eq!((korea.effective.due_on, korea.internal_target), (on("2026-06-04"), on("2026-06-04")));
}

#[test]
fn the_bound_is_the_first_instant_of_the_next_local_day_even_where_that_is_not_midnight() {
    for (zone_name, day, bound) in [
        ("Africa/Cairo", "2026-04-23", "2026-04-24T01:00:00+03:00"), // clocks go forward at midnight
        ("America/Havana", "2026-10-31", "2026-11-01T00:00:00-04:00"), // and back to midnight: its first one
        ("Pacific/Apia", "2011-12-29", "2011-12-31T00:00:00+14:00"), // the day between was left out
        ("Asia/Kathmandu", "2026-04-23", "2026-04-24T00:00:00+05:45"),
        ("Europe/Berlin", "2026-03-28", "2026-03-29T00:00:00+01:00"), // a day of 23 hours begins
        ("Pacific/Kiritimati", "2026-12-31", "2027-01-01T00:00:00+14:00"),
    ] {
        let zone = zone(zone_name).expect(zone_name);
        assert_eq!(clock::day_after(on(day), &zone), Ok(at(bound)), "{zone_name}");
    }
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let refused = |facts: &ClockFacts| compute(&RULES, facts, facts.instruction_received_at).expect_err("refused");
    let facts = deletion("2026-06-01T08:00:00Z");
    let error = refused(&in_place(facts.clone(), "DE", "Berlin"));
    assert_eq!(error, DeadlineError::UnknownTimeZone { zone: "Berlin".to_owned() });
    let error = refused(&under(facts.clone(), &["EU-GDPR", "GDPR"]));
    assert!(matches!(error, DeadlineError::Choice(ChoiceError::UnknownRegulation { .. })));
    let mut nowhere = facts;
    nowhere.controller_country = None;
    nowhere.instruction_received_at = Timestamp::MAX;
    assert_eq!(refused(&nowhere), DeadlineError::OutOfRange);
}

#[test]
fn a_day_that_a_calendar_was_not_made_for_gives_an_error_and_no_date() {
    let refused = |facts: &ClockFacts| compute(&RULES, facts, facts.instruction_received_at).expect_err("refused");
    let no_calendar = |name: &str, day: &str, last: &str| DeadlineError::NoCalendar {
        calendar: name.to_owned(),
        day: on(day),
        first: on("2024-01-01"),
        last: on(last),
    };
    let end = berlin(RequestType::Access, "2030-12-01T08:00:00Z");
    assert_eq!(refused(&end), no_calendar("de", "2031-01-01", "2030-12-31"), "1 January is not even looked up");
    assert_eq!(statutory(&berlin(RequestType::Access, "2030-11-29T08:00:00Z")).due_on, on("2030-12-30"));
    let mut past = end;
    (past.data_subject_received_at, past.instruction_received_at) = (None, at("2023-11-01T08:00:00Z"));
    assert_eq!(refused(&past), no_calendar("de", "2023-11-02", "2030-12-31"));
    // China publishes its days of work a year ahead only.
    let china =
        under(in_place(berlin(RequestType::Access, "2026-12-20T08:00:00Z"), "NG", "Africa/Lagos"), &["CN-PIPL"]);
    assert_eq!(refused(&china), no_calendar("cn", "2027-01-01", "2026-12-31"));
    // Who named a date in its notice that nobody has a calendar for is told so, too.
    let mut korea =
        under(in_place(berlin(RequestType::Access, "2026-09-18T01:00:00Z"), "NG", "Africa/Lagos"), &["KR-PIPA"]);
    korea.extension = Some(ExtensionNotice { granted_at: at("2026-09-20T01:00:00Z"), until: Some(on("2099-10-22")) });
    assert_eq!(refused(&korea), no_calendar("kr", "2099-10-21", "2030-12-31"));
}

#[test]
fn a_calendar_walks_rolls_and_counts_by_its_own_days() {
    let (friday, saturday_made_up) = (on("2026-05-01"), on("2026-05-09"));
    let calendar = Calendar {
        name: "test",
        weekend: &[DayName::Sat, DayName::Sun],
        holidays: &[friday],
        extra_working_days: &[saturday_made_up],
        made_for: Some((on("2026-04-01"), on("2026-05-31"))),
    };
    assert_eq!(calendar.business_days_after(on("2026-04-30"), 0), Ok(on("2026-04-30")));
    assert_eq!(calendar.business_days_after(on("2026-04-30"), 1), Ok(on("2026-05-04")));
    assert_eq!(calendar.business_days_after(on("2026-05-07"), 2), Ok(saturday_made_up));
    assert_eq!(calendar.business_days_before(on("2026-05-11"), 1), Ok(saturday_made_up));
    assert_eq!(calendar.roll(friday, Roll::NextWorkingDay), Ok(on("2026-05-04")));
    assert_eq!(
        calendar.roll(friday, Roll::NextNonSundayNonHoliday),
        Ok(on("2026-05-02")),
        "Saturday is a day like others"
    );
    assert_eq!(calendar.roll(friday, Roll::None), Ok(friday));
    assert_eq!(calendar.roll(saturday_made_up, Roll::NextWorkingDay), Ok(saturday_made_up));
    let month = crate::regulation::Period::new(1, crate::regulation::Unit::CalendarMonths).expect("one");
    assert_eq!(
        calendar.add_without(on("2026-03-31"), month, &[on("2026-04-03"), on("2026-04-04")]),
        Ok(on("2026-05-02"))
    );
    assert!(matches!(calendar.is_working_day(on("2026-06-01")), Err(DeadlineError::NoCalendar { .. })));
    assert!(matches!(calendar.roll(on("2026-05-31"), Roll::NextWorkingDay), Err(DeadlineError::NoCalendar { .. })));
    assert!(matches!(calendar.business_days_before(on("2026-04-01"), 1), Err(DeadlineError::NoCalendar { .. })));
    let sunday = calendar.roll(on("2026-05-31"), Roll::NextNonSundayNonHoliday);
    assert!(matches!(sunday, Err(DeadlineError::NoCalendar { .. })));
    let before = calendar.roll(on("2026-03-31"), Roll::NextNonSundayNonHoliday);
    assert!(matches!(before, Err(DeadlineError::NoCalendar { .. })), "a Tuesday that nobody knows anything of");
    let always = Calendar { made_for: None, ..calendar };
    assert_eq!(always.is_working_day(on("2099-06-01")), Ok(true));
    assert_eq!(always.add(Date::MAX, month), Err(DeadlineError::OutOfRange));
}
