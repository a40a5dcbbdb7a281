//! What holds of a whole request under the shipped table and calendars, for controllers in many places and with terms of their own.

use crate::case::{TABLE, at, days};
use crate::chance::{Dice, Named};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use redress_domain::RequestType;
use redress_domain::calendar::CalendarSet;
use redress_domain::deadline::{
    Band, Binding, ClockFacts, DeadlineError, Deadlines, ExtensionNotice, Pause, compute, place_of, zone,
};
use redress_domain::regulation::{DayName, PauseKind, Role};
use redress_domain::rules::Rules;
use redress_domain::terms::Terms;
use serde_json::json;
use std::sync::{Arc, LazyLock};

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/holidays/");
    let calendars = CalendarSet::read(|name| std::fs::read_to_string(format!("{folder}{name}")).ok());
    Rules::new(TABLE.clone(), calendars.expect("the shipped calendars are well formed"))
});

/// Where controllers are, with calendars that they may choose.
const PLACES: [(&str, &str, &[&str]); 16] = [
    ("DE", "Europe/Berlin", &["de-by", "de-sn", "fr"]),
    ("FR", "Europe/Paris", &["fr-57"]),
    ("PT", "Atlantic/Azores", &["pt"]),
    ("FI", "Europe/Helsinki", &["fi"]),
    ("GB", "Europe/London", &["gb-sct", "gb-nir"]),
    ("CH", "Europe/Zurich", &["ch-zh", "ch-ti"]),
    ("US", "America/Los_Angeles", &["us-ca", "de-by"]),
    ("US", "America/New_York", &["us-federal"]),
    ("CA", "America/St_Johns", &["ca-qc"]),
    ("BR", "America/Sao_Paulo", &["br"]),
    ("EG", "Africa/Cairo", &["za"]),
    ("CL", "America/Santiago", &["br"]),
    ("KR", "Asia/Seoul", &["kr"]),
    ("CN", "Asia/Shanghai", &["cn"]),
    ("NZ", "Pacific/Auckland", &["nz"]),
    ("AU", "Australia/Lord_Howe", &["au-vic"]),
];

struct Request {
    rules: Rules,
    facts: ClockFacts,
    as_of: Timestamp,
}

impl Request {
    fn drawn(dice: &mut Dice, laws: i64) -> Self {
        let (country, timezone, calendars) = dice.one(&PLACES);
        let zone = zone(timezone).expect("it exists");
        let known: Vec<&str> = TABLE
            .regulations
            .iter()
            .filter(|law| law.role == Role::ControllerStatutory)
            .map(|law| law.id.as_str())
            .collect();
        let received_at = dice.instant(at("2024-02-15T00:00:00Z"), at("2029-12-01T00:00:00Z"), &zone);
        let instruction_received_at = received_at + SignedDuration::from_secs(dice.below(40 * 86_400));
        let pauses = (0..dice.below(4)).map(|_| {
            let from = received_at + SignedDuration::from_secs(dice.below(50 * 86_400));
            let to = dice.percent(80).then(|| from + SignedDuration::from_secs(dice.below(20 * 86_400)));
            Pause { kind: dice.one(PauseKind::ALL), from, to }
        });
        let pauses = pauses.collect();
        let extension = dice.percent(40).then(|| ExtensionNotice {
            granted_at: received_at + SignedDuration::from_secs(dice.below(50 * 86_400)),
            until: dice.percent(50).then(|| received_at.to_zoned(zone.clone()).date() + days(dice.below(120))),
        });
        let terms = dice.percent(50).then(|| {
            json!({
                "version": "1",
                "calendar": dice.percent(70).then(|| dice.one(calendars)),
                "pauses_suspend_all_types": dice.percent(50),
                "controller_buffer_business_days": dice.below(12),
            })
        });
        let facts = ClockFacts {
            request_type: dice.one(RequestType::ALL),
            regulations: (0..laws).map(|_| dice.one(&known).to_owned()).collect(),
            jurisdiction: dice.percent(20).then(|| dice.one(&["DE", "FR", "US-CA", "ZA", "CA-QC", "NZ"]).to_owned()),
            controller_country: dice.percent(90).then(|| country.to_owned()),
            controller_timezone: timezone.to_owned(),
            data_subject_received_at: dice.percent(90).then_some(received_at),
            instruction_received_at,
            pauses,
            extension,
            acknowledged_at: None,
        };
        let terms = terms.map(|terms| Arc::new(serde_json::from_value::<Terms>(terms).expect("terms")));
        Self { rules: RULES.with_terms(terms), facts, as_of: instruction_received_at + days(dice.below(90)) }
    }

    /// Its dates; none where a calendar ends before them, as China's does.
    fn dates(&self) -> Option<Deadlines> {
        match compute(&self.rules, &self.facts, self.as_of) {
            Ok(deadlines) => Some(deadlines),
            Err(DeadlineError::NoCalendar { last, .. }) => {
                let near = self.facts.instruction_received_at.to_zoned(TimeZone::UTC).date() + days(400);
                assert!(near > last, "{:?}: no calendar though it lasts to {last}", self.facts);
                None
            }
            Err(error) => panic!("{:?}: {error}", self.facts),
        }
    }
}

/// So many requests, most of which have dates.
fn of_requests(count: u64, laws: impl Fn(&mut Dice) -> i64, check: impl Fn(&Request, &Deadlines, &mut Dice)) {
    let mut computed = 0;
    for seed in 0..count {
        let _named = Named { what: "a request".to_owned(), seed };
        let mut dice = Dice::new(seed);
        let laws = laws(&mut dice);
        let request = Request::drawn(&mut dice, laws);
        if let Some(deadlines) = request.dates() {
            check(&request, &deadlines, &mut dice);
            computed += 1;
        }
    }
    assert!(computed * 10 > count * 8, "only {computed} of {count} have dates");
}

#[test]
fn work_is_planned_by_no_later_than_any_clock() {
    of_requests(
        2_000,
        |dice| dice.below(4),
        |request, deadlines, _| {
            let effective = &deadlines.effective;
            assert!(effective.due_before <= deadlines.contract.due_before);
            let all = if deadlines.statutory_all.is_empty() {
                deadlines.statutory.as_slice()
            } else {
                &deadlines.statutory_all
            };
            for law in all {
                assert!(effective.due_before <= law.due_before, "{deadlines:#?}");
                assert!(deadlines.statutory.as_ref().is_some_and(|first| first.due_before <= law.due_before));
            }
            assert_eq!(deadlines.statutory.is_none(), effective.buffered_statutory_on.is_none());
            assert!(deadlines.internal_target <= effective.due_on);
            if effective.binding == Binding::Contract {
                assert_eq!(effective.due_before, deadlines.contract.due_before);
            }
            assert!(deadlines.trace.len() > 2 && deadlines.trace.iter().all(|sentence| sentence.ends_with(['.', ':'])));
            assert_eq!(deadlines.terms_version.is_some(), request.rules.terms.is_some());
        },
    );
}

#[test]
fn the_bands_begin_one_after_the_other() {
    of_requests(
        2_000,
        |dice| dice.below(4),
        |_, deadlines, _| {
            let marks = &deadlines.milestones;
            assert!(marks.at_risk_at <= marks.critical_at && marks.critical_at <= marks.overdue_at, "{marks:?}");
            assert_eq!(marks.overdue_at, deadlines.effective.due_before);
        },
    );
}

/// The band by its words in `[sla]`: at risk with five business days left or 60 % of the time passed, critical with two left.
fn band_in_words(request: &Request, deadlines: &Deadlines, now: Timestamp) -> Band {
    let due = &deadlines.effective;
    if now >= due.due_before {
        return Band::Overdue;
    }
    let place = place_of(&request.rules, &request.facts);
    let calendar = request.rules.calendar_of_contract(&place);
    let works = |day: Date| {
        let weekend = matches!(DayName::from(day.weekday()), DayName::Sat | DayName::Sun);
        match calendar {
            Some(calendar) if calendar.extra_working_days.contains(&day) => true,
            Some(calendar) => !weekend && !calendar.days.contains_key(&day),
            None => !weekend,
        }
    };
    let today = now.to_zoned(zone(place.timezone).expect("it exists")).date();
    let left = today
        .series(jiff::Span::new().days(1))
        .skip(1)
        .take_while(|day| *day <= due.due_on)
        .filter(|day| works(*day))
        .count();
    // The clock that binds counts from its own start.
    let law = deadlines.statutory.as_ref().filter(|_| due.binding == Binding::Statutory);
    let (received_at, started_on, zone_of_clock) = match law {
        None => (request.facts.instruction_received_at, deadlines.contract.started_on, zone(place.timezone)),
        Some(law) => {
            let received_at = request.facts.data_subject_received_at.unwrap_or(request.facts.instruction_received_at);
            let regulation = TABLE.regulation(&law.regulation).expect("in the table");
            let here = place.country.is_some_and(|country| regulation.covers(country));
            let name = if here { place.timezone } else { &regulation.default_timezone };
            (received_at, law.started_on, zone(name))
        }
    };
    let zone_of_clock = zone_of_clock.expect("it exists");
    let day_began =
        started_on.to_zoned(zone_of_clock).expect("in range").start_of_day().expect("it begins").timestamp();
    let started_at = received_at.max(day_began);
    let (passed, whole) =
        (now.duration_since(started_at).as_millis(), due.due_before.duration_since(started_at).as_millis());
    if left <= 2 {
        Band::Critical
    } else if left <= 5 || passed * 100 >= whole * 60 {
        Band::AtRisk
    } else {
        Band::OnTrack
    }
}

#[test]
fn the_band_at_any_instant_is_what_the_words_of_the_table_say() {
    assert_eq!((TABLE.sla.at_risk_business_days_left, TABLE.sla.critical_business_days_left), (5, 2));
    assert_eq!(TABLE.sla.at_risk_elapsed_percent, 60);
    let seen = std::cell::RefCell::new(std::collections::BTreeMap::new());
    of_requests(
        1_000,
        |dice| dice.below(2),
        |request, deadlines, dice| {
            let marks = &deadlines.milestones;
            let mut instants = vec![marks.at_risk_at, marks.critical_at, marks.overdue_at];
            for _ in 0..6 {
                let from = marks.overdue_at - days(45);
                instants.push(from + SignedDuration::from_secs(dice.below(50 * 86_400)));
            }
            for instant in instants {
                for now in [instant - SignedDuration::from_millis(1), instant, instant + SignedDuration::from_millis(1)]
                {
                    let band = marks.band(now);
                    assert_eq!(
                        band,
                        band_in_words(request, deadlines, now),
                        "{now} {:?} {deadlines:#?}",
                        request.facts
                    );
                    *seen.borrow_mut().entry(band).or_insert(0) += 1;
                }
            }
        },
    );
    assert!(seen.borrow().len() == 4 && seen.borrow().values().all(|count| *count > 500), "{seen:?}");
}

/// The same instant as somebody else would write it.
fn written_elsewhere(at: Timestamp, dice: &mut Dice) -> String {
    let minutes = i32::try_from(dice.below(2 * 840 + 1) - 840).expect("a few hundred");
    let offset = jiff::tz::Offset::from_seconds(minutes * 60).expect("14 hours at most");
    at.display_with_offset(offset).to_string()
}

#[test]
fn the_same_instants_written_with_other_offsets_give_the_same_dates() {
    of_requests(
        1_000,
        |dice| dice.below(3),
        |request, deadlines, dice| {
            let mut written = serde_json::to_value(&request.facts).expect("plain data");
            for pointer in ["/data_subject_received_at", "/instruction_received_at", "/extension/granted_at"] {
                let Some(member) = written.pointer_mut(pointer).filter(|member| member.is_string()) else { continue };
                let at: Timestamp = member.as_str().expect("a string").parse().expect("an instant");
                *member = written_elsewhere(at, dice).into();
            }
            for pause in written["pauses"].as_array_mut().expect("a list") {
                for member in ["from", "to"] {
                    let Some(at) = pause[member].as_str().map(|text| text.parse().expect("an instant")) else {
                        continue;
                    };
                    pause[member] = written_elsewhere(at, dice).into();
                }
            }
            let read: ClockFacts = serde_json::from_value(written).expect("the same form");
            assert_eq!(compute(&request.rules, &read, request.as_of).as_ref(), Ok(deadlines));
        },
    );
}

#[test]
fn computing_again_with_what_was_kept_gives_the_same_bytes() {
    of_requests(
        1_000,
        |dice| dice.below(3),
        |request, deadlines, dice| {
            let bytes = serde_json::to_string(deadlines).expect("plain data");
            let kept: ClockFacts =
                serde_json::from_str(&serde_json::to_string(&request.facts).expect("plain data")).expect("the same");
            let again = compute(&request.rules, &kept, request.as_of).expect("as before");
            assert_eq!(serde_json::to_string(&again).expect("plain data"), bytes);
            assert_eq!(serde_json::from_str::<Deadlines>(&bytes).expect("the same form"), *deadlines);
            // The calendars that counted are enough, and the order of the pauses is nothing.
            let counted = deadlines
                .calendars
                .iter()
                .filter_map(|id| RULES.calendars.find(id))
                .map(|calendar| (**calendar).clone());
            let few = CalendarSet::of(RULES.calendars.version.clone(), counted);
            let frozen = Rules { calendars: Arc::new(few), ..request.rules.clone() };
            let mut shuffled = kept;
            dice.shuffle(&mut shuffled.pauses);
            let again = compute(&frozen, &shuffled, request.as_of).expect("as before");
            assert_eq!(serde_json::to_string(&again).expect("plain data"), bytes);
        },
    );
}
