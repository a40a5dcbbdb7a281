//! Days that everybody can look up: which calendar has them and which does not.

use super::*;

/// Each `id: days`, where a day with `!` before it is a working day there.
fn holds(list: &[(&str, &str)]) {
    for (id, days) in list {
        let calendar = find(id);
        for text in days.split(' ') {
            let (day, closed) = text.strip_prefix('!').map_or((text, true), |day| (day, false));
            assert_eq!(calendar.days.contains_key(&on(day)), closed, "{id} {day} ({:?})", calendar.days.get(&on(day)));
        }
    }
}

#[test]
fn of_germany_and_its_states() {
    holds(&[
        ("de", "2025-10-03 2026-05-25 2026-12-26 !2026-06-04 !2026-01-06 !2026-10-31 !2026-12-24"),
        ("de-by", "2026-06-04 2026-01-06 2026-11-01 !2026-10-31"),
        ("de-nw", "2026-06-04 2026-11-01 !2026-01-06"),
        ("de-sn", "2026-10-31 2026-11-18 !2026-06-04"),
        ("de-be", "2026-03-08 2025-05-08 !2026-05-08 !2026-10-31"),
    ]);
}

#[test]
fn of_laws_that_changed_in_these_years() {
    holds(&[
        ("pl", "!2024-12-24 2025-12-24 2026-12-24"),
        ("dk", "!2024-04-26 !2025-05-16 2026-05-25"),
        ("sk", "2024-11-17 !2025-11-17 !2026-05-08 2027-05-08 !2026-09-15"),
        ("it", "!2025-10-04 2026-10-04 2027-10-04"),
        ("br", "2024-11-20 2026-11-20"),
        ("kr", "!2025-07-17 2026-07-17"),
    ]);
}

#[test]
fn of_the_european_union() {
    holds(&[
        ("fr", "2026-07-14 2026-05-08 !2026-04-03 !2026-12-26"),
        ("fr-57", "2026-04-03 2026-12-26"),
        ("at", "2026-10-26 2026-06-04 !2026-12-24"),
        ("be", "2026-07-21 !2026-07-11"),
        ("es", "2026-10-12 2026-12-08 !2026-09-11"),
        ("es-ct", "2026-09-11 2026-06-24"),
        ("nl", "2025-04-26 !2025-04-27 2026-04-27"),
        ("ie", "2026-02-02 2030-02-01 !2030-02-04 2026-03-17 2026-10-26"),
        ("gr", "2026-02-23 2026-04-13 2026-03-25"),
        ("ro", "2026-04-10 2026-12-01"),
        ("cy", "2026-04-01 2026-04-13"),
        ("bg", "2026-03-03 2026-05-25"),
        ("fi", "2026-12-06 2026-12-24"),
        ("se", "2026-06-06 2026-06-20"),
        ("ee", "2026-02-24 2026-12-24"),
        ("lv", "2026-11-18"),
        ("lt", "2026-11-02 2026-02-16"),
        ("cz", "2026-07-06 2026-09-28"),
        ("hu", "2026-08-20 2026-10-23"),
        ("hr", "2026-05-30"),
        ("si", "2026-02-08"),
        ("pt", "2026-06-10 2026-04-25"),
        ("lu", "2026-05-09 2026-06-23"),
        ("mt", "2026-09-21"),
    ]);
}

#[test]
fn of_the_rest_of_europe() {
    holds(&[
        // 25 and 26 December 2027 are Saturday and Sunday; 26 December 2026 and 1 January 2028 are Saturdays.
        ("gb-eng", "2027-12-27 2027-12-28 2026-12-28 2028-01-03 2026-04-06 !2026-01-02 !2026-11-30 !2026-08-03"),
        ("gb-sct", "2026-01-02 2026-11-30 2026-08-03 !2026-04-06 !2026-08-31"),
        ("gb-nir", "2026-03-17 2026-07-13 2026-04-06"),
        ("ch", "2026-08-01 2026-12-25 !2026-05-01 !2026-12-26"),
        ("ch-zh", "2026-05-01 2026-12-26 !2026-01-06"),
        ("ch-ti", "2026-01-06 2026-06-04"),
        ("no", "2026-05-17 2026-05-25"),
        ("is", "2026-06-17 2026-04-23"),
        ("li", "2026-08-15"),
        ("tr", "2026-10-29 2026-07-15"),
    ]);
}

#[test]
fn of_the_americas() {
    holds(&[
        // 4 July 2026 and 19 June 2027 are Saturdays: the Friday before is off. The day of mourning of 9 January 2025 was no holiday.
        ("us-federal", "2026-06-19 2026-07-03 2027-06-18 2026-11-26 2026-10-12 !2026-11-27 !2025-01-09 !2026-11-03"),
        ("us-ca", "2026-03-31 2026-11-27"),
        ("ca-federal", "2026-09-30 2026-07-01 !2026-06-24"),
        ("ca-qc", "2026-06-24 2026-05-18 !2026-09-30"),
        ("ca-bc", "2026-02-16 2026-08-03"),
        ("br", "2026-09-07 2026-04-21 !2026-02-17"),
        ("ar", "2026-05-25 2026-07-09"),
        ("mx", "2024-10-01 2026-11-16 2030-10-01 !2026-11-20"),
    ]);
}

#[test]
fn of_asia_africa_and_oceania() {
    holds(&[
        // Sunday holidays and the day between two holidays.
        ("jp", "2025-02-24 2026-05-06 2026-09-22 2026-01-12 !2026-12-31"),
        ("kr", "2026-03-02 2026-05-25 2026-08-17 2026-10-05 2026-09-25"),
        ("sg", "2026-06-01 2026-08-10 2026-11-09 2026-02-18"),
        ("in", "2026-01-26 2026-08-15 2026-10-02"),
        ("cn", "2026-10-01 2026-10-07 2026-02-17 !2026-10-08"),
        ("tw", "2026-10-10 2026-02-28"),
        ("za", "2026-08-10 2027-12-27 2026-06-16 2026-09-24 !2026-12-28"),
        ("ke", "2026-06-01 2026-10-20"),
        ("au-nsw", "2026-06-08 2026-01-26 !2026-11-03"),
        ("au-vic", "2026-11-03"),
        ("au-wa", "2026-09-28 2026-04-27 !2026-06-08"),
        ("nz", "2026-07-10 2027-06-25 2026-04-27 2026-02-06"),
        // "Working day" in New Zealand's Privacy Act leaves out 25 December to 15 January.
        ("nz-statutory", "2026-01-15 2026-12-29 2026-12-25 !2026-01-16 !2026-12-24"),
    ]);
}

#[test]
fn china_works_on_weekends_that_make_up_for_days_off() {
    let calendar = find("cn");
    assert!(calendar.extra_working_days.contains(&on("2026-10-10")));
    assert_eq!(calendar.valid_until, on("2026-12-31"), "the next year is published late in the year");
    let days = WorkingDays::new(Some(calendar), &[DayName::Sat, DayName::Sun], []);
    assert_eq!(days.calendar().is_working_day(on("2026-10-10")), Ok(true));
    assert_eq!(days.calendar().is_working_day(on("2026-10-17")), Ok(false));
    let closed = WorkingDays::new(Some(calendar), &[DayName::Sat, DayName::Sun], [on("2026-10-10"), on("2026-10-12")]);
    assert_eq!(closed.calendar().is_working_day(on("2026-10-10")), Ok(false));
    assert_eq!(closed.calendar().is_working_day(on("2026-10-12")), Ok(false));
}

#[test]
fn without_a_calendar_every_weekday_of_every_year_is_a_working_day() {
    let days = WorkingDays::new(None, &[DayName::Fri], []);
    assert_eq!(days.name, "weekends only");
    assert_eq!(days.calendar().is_working_day(on("2099-12-25")), Ok(false), "a Friday");
    assert_eq!(days.calendar().is_working_day(on("2099-12-26")), Ok(true));
}
