//! What holds of one rule's clock.

use crate::case::{Case, days, of_every_rule};
use crate::chance::first_instant_after;
use jiff::civil::Date;
use redress_domain::deadline::{ClockState, Pause};
use redress_domain::regulation::{Extension, Roll, Unit};

#[test]
fn a_due_date_lies_after_the_start_and_its_bound_is_the_first_instant_of_the_next_local_day() {
    of_every_rule(25, |case, _| {
        let dates = case.dates();
        let received_on = case.started_at.to_zoned(case.zone.clone()).date();
        assert!(received_on <= dates.started_on && dates.started_on < dates.due_on, "{dates:?}");
        assert!(dates.nominal_on <= dates.due_on && case.started_at < dates.due_before, "{dates:?}");
        assert_eq!(dates.due_before, first_instant_after(dates.due_on, &case.zone), "{dates:?}");
        assert!(dates.acknowledge_by.is_none_or(|by| by > received_on));
        assert!(dates.extension_notice_by.is_none_or(|by| dates.started_on < by && by <= dates.due_on), "{dates:?}");
        assert!(dates.excluded.is_sorted() && dates.excluded.iter().all(|day| *day > dates.started_on), "{dates:?}");
        assert_eq!(dates.extension_valid.is_some(), case.extension.is_some());
    });
}

/// Counts by hand what the rule says, without any waiting or extension.
fn counted(case: &Case<'_>) -> Date {
    let calendar = case.calendar();
    let works = |day: Date| calendar.is_working_day(day).expect("made for every day");
    let mut day = case.started_at.to_zoned(case.zone.clone()).date();
    let amount = case.rule.due.amount();
    match case.rule.due.unit() {
        Unit::CalendarDays => day += days(amount.into()),
        Unit::BusinessDays => {
            let mut left = amount;
            while left > 0 {
                day += days(1);
                left -= u16::from(works(day));
            }
        }
        Unit::CalendarMonths => {
            let months = i32::from(day.year()) * 12 + i32::from(day.month()) - 1 + i32::from(amount);
            let (year, month) =
                (i16::try_from(months / 12).expect("a year"), i8::try_from(months % 12 + 1).expect("a month"));
            let last = (28..=31).rev().find_map(|last| Date::new(year, month, last).ok()).expect("a month ends");
            day = Date::new(year, month, day.day()).unwrap_or(last);
        }
    }
    while match case.rule.roll {
        Roll::None => false,
        Roll::NextWorkingDay => !works(day),
        Roll::NextNonSundayNonHoliday => day.weekday() == jiff::civil::Weekday::Sunday || case.holidays.contains(&day),
    } {
        day += days(1);
    }
    day
}

#[test]
fn without_waiting_the_date_is_what_counting_by_hand_gives() {
    of_every_rule(25, |case, _| {
        let plain = Case { pauses: Vec::new(), extension: None, ..case.clone() };
        let dates = plain.dates();
        assert_eq!(dates.due_on, counted(&plain));
        assert_eq!((dates.state, dates.excluded.len()), (ClockState::Running, 0));
    });
}

/// More waiting never gives less time. One thing is left out: where waiting moves the start *and* leaves days out (access in England),
/// a later start makes other months count, and days that were left out lie before it; the date may be up to three days earlier.
fn never_earlier(case: &Case<'_>, more: &Case<'_>) {
    let (before, after) = (case.dates(), more.dates());
    if more.resets_and_excludes() == (true, true) {
        assert!(after.due_on + days(3) >= before.due_on, "{more:?}\n{before:?}\n{after:?}");
    } else {
        assert!(
            after.due_on >= before.due_on && after.due_before >= before.due_before,
            "{more:?}\n{before:?}\n{after:?}"
        );
    }
}

#[test]
fn one_more_pause_never_gives_an_earlier_date() {
    of_every_rule(25, |case, dice| {
        let mut more = case.clone();
        more.pauses.push(case.pause(dice));
        never_earlier(case, &more);
        never_earlier(&Case { pauses: Vec::new(), ..case.clone() }, case);
    });
}

#[test]
fn a_longer_pause_never_gives_an_earlier_date() {
    of_every_rule(25, |case, dice| {
        let mut longer = case.clone();
        let Some(pause) = longer.pauses.first_mut() else { return };
        let until = pause.to.unwrap_or(case.as_of).max(pause.from);
        pause.to = Some(until + days(dice.below(30)));
        never_earlier(case, &longer);
        // The same pause that began earlier, after the start.
        let mut earlier = case.clone();
        let first = &mut earlier.pauses[0];
        first.from = (first.from - days(dice.below(10))).max(case.started_at);
        first.to = first.to.or(Some(case.as_of.max(case.pauses[0].from)));
        never_earlier(case, &earlier);
    });
}

#[test]
fn a_clarification_that_takes_longer_never_gives_an_earlier_date_even_beside_a_reset() {
    of_every_rule(25, |case, dice| {
        let resets = |pause: &&Pause| case.rule.pause.of(pause.kind) == redress_domain::regulation::PauseMode::Reset;
        let Some(which) = case.pauses.iter().position(|pause| !resets(&pause)) else { return };
        let mut longer = case.clone();
        let pause = &mut longer.pauses[which];
        pause.to = Some(pause.to.unwrap_or(case.as_of).max(pause.from) + days(dice.below(30)));
        let (before, after) = (case.dates(), longer.dates());
        assert!(after.due_on >= before.due_on, "{longer:?}\n{before:?}\n{after:?}");
    });
}

#[test]
fn an_open_pause_is_one_that_ends_now() {
    of_every_rule(25, |case, _| {
        let mut ended = case.clone();
        for pause in &mut ended.pauses {
            pause.to = pause.to.or(Some(case.as_of.max(pause.from)));
        }
        let (open, ended) = (case.dates(), ended.dates());
        assert_eq!((open.due_before, open.excluded), (ended.due_before, ended.excluded));
        assert_eq!(ended.state, ClockState::Running);
    });
}

#[test]
fn a_valid_extension_never_gives_an_earlier_date_and_a_void_one_changes_nothing() {
    let (mut valid, mut void) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    of_every_rule(60, |case, dice| {
        let base = Case { extension: None, ..case.clone() }.dates();
        let extended = Case { extension: Some(case.notice(dice)), ..case.clone() }.dates();
        if extended.extension_valid == Some(true) {
            assert!(extended.due_on >= base.due_on, "{case:?}\n{base:?}\n{extended:?}");
            assert!(matches!(case.rule.extension, Some(Extension::OpenEnded)) || extended.due_on > base.due_on);
            valid.set(valid.get() + 1);
        } else {
            let same = redress_domain::deadline::ClockDates { extension_valid: None, ..extended };
            assert_eq!(same, base);
            void.set(void.get() + 1);
        }
    });
    assert!(*valid.get_mut() > 1000 && *void.get_mut() > 1000, "both are tried often: {valid:?} {void:?}");
}

#[test]
fn the_order_in_which_pauses_are_told_does_not_matter() {
    of_every_rule(25, |case, dice| {
        let mut shuffled = case.clone();
        dice.shuffle(&mut shuffled.pauses);
        assert_eq!(case.dates(), shuffled.dates());
        // Nor does telling of one twice.
        let Some(first) = case.pauses.first().copied() else { return };
        shuffled.pauses.push(first);
        assert_eq!(case.dates().due_before, shuffled.dates().due_before);
    });
}

#[test]
fn a_later_start_never_gives_an_earlier_date() {
    of_every_rule(25, |case, dice| {
        let plain = Case { pauses: Vec::new(), extension: None, ..case.clone() };
        let later = Case { started_at: case.started_at + days(dice.below(20)), ..plain.clone() };
        assert!(later.dates().due_before >= plain.dates().due_before);
    });
}
