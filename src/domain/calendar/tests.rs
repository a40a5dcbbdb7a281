//! Facts about holiday calendars: the shipped files hold known days, and a file with a mistake is refused by name.

use super::*;
use crate::regulation::RuleTable;
use crate::rules::{Place, Rules};
use std::sync::LazyLock;

fn on_disk(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("{}/../../config/holidays/{name}", env!("CARGO_MANIFEST_DIR"))).ok()
}

static SHIPPED: LazyLock<CalendarSet> =
    LazyLock::new(|| CalendarSet::read(on_disk).unwrap_or_else(|fault| panic!("{fault}")));

fn on(text: &str) -> Date {
    text.parse().expect(text)
}

fn find(id: &str) -> &'static HolidayCalendar {
    SHIPPED.find(id).unwrap_or_else(|| panic!("no calendar {id}"))
}

mod days;
mod strictness;

const EU_MEMBERS: &str = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";
/// The other places that have to be there.
const OTHERS: &str = "GB GB-SCT GB-NIR CH IS LI NO US CA CA-QC CA-BC BR AU AU-NSW AU-VIC NZ JP KR SG IN ZA";

#[test]
fn every_file_of_the_folder_is_listed_and_well_formed() {
    let folder = std::fs::read_dir(format!("{}/../../config/holidays", env!("CARGO_MANIFEST_DIR"))).expect("is there");
    let mut there: Vec<String> =
        folder.map(|entry| entry.expect("can be listed").file_name().into_string().expect("plain")).collect();
    there.sort_unstable();
    let index: Index = toml::from_str(&on_disk(INDEX).expect("is there")).expect("well formed");
    let mut listed = index.files;
    listed.push(INDEX.to_owned());
    listed.sort_unstable();
    assert_eq!(there, listed);
    assert!(SHIPPED.iter().count() > 150);
    assert!(!SHIPPED.version.is_empty());
}

#[test]
fn every_calendar_that_the_rule_table_names_is_there() {
    let table = RuleTable::parse(include_str!("../../../config/regulations.toml")).expect("well formed");
    let rules = Rules::new(table, SHIPPED.clone());
    assert_eq!(rules.missing_calendars(), Vec::<String>::new());
    // A controller in a state whose law is in the table can choose that state's days.
    for place in
        rules.table.regulations.iter().flat_map(|law| &law.jurisdictions).filter(|place| place.starts_with("US-"))
    {
        find(&place.to_ascii_lowercase());
    }
    let without = Rules { calendars: Arc::default(), ..rules };
    assert!(without.missing_calendars().contains(&"us-federal".to_owned()));
}

#[test]
fn every_member_state_and_every_promised_place_has_a_calendar_of_its_own() {
    for place in EU_MEMBERS.split(' ').chain(OTHERS.split(' ')) {
        let calendar = SHIPPED.default_for(place).unwrap_or_else(|| panic!("none for {place}"));
        assert_eq!(calendar.country, place[..2], "{place}");
        assert_eq!((calendar.valid_from, calendar.valid_until), (on("2024-01-01"), on("2030-12-31")), "{place}");
        let lower = place.to_ascii_lowercase();
        assert_eq!(SHIPPED.default_for(&lower).map(|c| &c.id), Some(&calendar.id), "in any case");
    }
    assert!(SHIPPED.default_for("XX").is_none());
    assert!(SHIPPED.find("XX").is_none());
}

#[test]
fn each_year_of_each_calendar_has_days_and_its_new_year() {
    for calendar in SHIPPED.iter() {
        for year in calendar.valid_from.year()..=calendar.valid_until.year() {
            let days = calendar.days.keys().filter(|day| day.year() == year).count();
            assert!((4..=40).contains(&days), "{} has {days} days in {year}", calendar.id);
            let new_year = Date::constant(year, 1, 1);
            // Three countries count their years otherwise, and a weekend is closed anyway.
            let other = ["IL", "SA", "IN"].contains(&calendar.country.as_str());
            let weekend = ["sat", "sun"].contains(&DayName::from(new_year.weekday()).as_str());
            assert!(other || weekend || calendar.days.contains_key(&new_year), "{} {year}", calendar.id);
        }
        assert!(calendar.days.values().all(|name| !name.trim().is_empty()), "{}", calendar.id);
    }
}

#[test]
fn a_region_has_its_days_beside_those_of_its_country() {
    for calendar in SHIPPED.iter().filter(|c| c.id.starts_with("de-") || c.id.starts_with("fr-")) {
        let country = find(&calendar.id[..2]);
        let lacking: Vec<&Date> = country.days.keys().filter(|day| !calendar.days.contains_key(day)).collect();
        assert!(lacking.is_empty(), "{} lacks {lacking:?}", calendar.id);
    }
}

#[test]
fn a_controllers_working_days_are_those_of_its_place_and_zone() {
    let table = RuleTable::parse(include_str!("../../../config/regulations.toml")).expect("well formed");
    let rules = Rules::new(table, SHIPPED.clone());
    let place = Place { country: Some("DE"), timezone: "Europe/Berlin", calendar: None };
    let days = rules.workdays(&place).expect("the zone exists");
    let at = |text: &str| text.parse::<jiff::Timestamp>().expect(text);
    // Maundy Thursday evening 2026; after it come Good Friday, a weekend and Easter Monday.
    let eve = at("2026-04-02T20:00:00+02:00");
    assert_eq!(days.start_of_business_day_after(eve, 0), Ok(eve));
    assert_eq!(days.start_of_business_day_after(eve, 1), Ok(at("2026-04-07T00:00:00+02:00")));
    assert_eq!(days.start_of_business_day_after(eve, 2), Ok(at("2026-04-08T00:00:00+02:00")));
    assert_eq!(days.next_morning(eve, 8), Ok(at("2026-04-07T08:00:00+02:00")));
    assert_eq!(days.next_morning(at("2026-04-07T07:59:59+02:00"), 8), Ok(at("2026-04-07T08:00:00+02:00")));
    assert_eq!(
        days.next_morning(at("2026-04-07T08:00:00+02:00"), 8),
        Ok(at("2026-04-08T08:00:00+02:00")),
        "strictly later"
    );
    let bavarian = rules.workdays(&Place { calendar: Some("de-by"), ..place }).expect("the zone exists");
    let corpus_christi_eve = at("2026-06-03T12:00:00+02:00");
    assert_eq!(bavarian.next_morning(corpus_christi_eve, 8), Ok(at("2026-06-05T08:00:00+02:00")));
    assert_eq!(days.next_morning(corpus_christi_eve, 8), Ok(at("2026-06-04T08:00:00+02:00")));
    // On Sunday 29 March the hour from two to three is left out, but nobody works on it anyway.
    assert_eq!(days.next_morning(at("2026-03-28T12:00:00+01:00"), 2), Ok(at("2026-03-30T02:00:00+02:00")));
    assert!(matches!(
        days.next_morning(at("2030-12-31T12:00:00+01:00"), 8),
        Err(crate::deadline::DeadlineError::NoCalendar { .. })
    ));
    assert!(rules.workdays(&Place { timezone: "Berlin", ..place }).is_err());
}
