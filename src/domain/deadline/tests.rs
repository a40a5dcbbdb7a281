//! Facts about deadlines, checked by hand with the shipped table and the shipped calendars.

use super::*;
use crate::calendar::CalendarSet;
use crate::regulation::{PauseKind, RuleTable};
use crate::terms::Terms;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

mod changes;
mod dates;
mod laws;
mod pauses;
mod terms;
mod traces;
mod traces_of_waiting;

/// Read once: the calendars are half a megabyte.
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let table =
        RuleTable::parse(include_str!("../../../config/regulations.toml")).expect("the shipped table is well formed");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/holidays/");
    let calendars = CalendarSet::read(|name| std::fs::read_to_string(format!("{folder}{name}")).ok());
    Rules::new(table, calendars.expect("the shipped calendars are well formed"))
});

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn on(text: &str) -> Date {
    text.parse().expect(text)
}

/// A request of a controller in Germany; person and instruction at the same instant.
fn berlin(request_type: RequestType, received_at: &str) -> ClockFacts {
    ClockFacts {
        request_type,
        regulations: Vec::new(),
        jurisdiction: None,
        controller_country: Some("DE".to_owned()),
        controller_timezone: "Europe/Berlin".to_owned(),
        data_subject_received_at: Some(at(received_at)),
        instruction_received_at: at(received_at),
        pauses: Vec::new(),
        extension: None,
        acknowledged_at: None,
    }
}

/// The same for a deletion, the longest promise.
fn deletion(received_at: &str) -> ClockFacts {
    berlin(RequestType::Deletion, received_at)
}

/// A controller elsewhere.
fn in_place(mut facts: ClockFacts, country: &str, timezone: &str) -> ClockFacts {
    facts.controller_country = Some(country.to_owned());
    facts.controller_timezone = timezone.to_owned();
    facts
}

fn under(mut facts: ClockFacts, regulations: &[&str]) -> ClockFacts {
    facts.regulations = regulations.iter().map(|id| (*id).to_owned()).collect();
    facts
}

fn pause(kind: PauseKind, from: &str, to: Option<&str>) -> Pause {
    Pause { kind, from: at(from), to: to.map(at) }
}

/// The dates as they stand long after, when nothing is open any more.
fn computed(facts: &ClockFacts) -> Deadlines {
    compute(&RULES, facts, at("2030-01-01T00:00:00Z")).expect("computable")
}

fn statutory(facts: &ClockFacts) -> StatutoryDue {
    computed(facts).statutory.expect("a law governs")
}

/// The shipped rules with what was agreed with a controller.
fn agreed(terms: Value) -> Rules {
    let terms: Terms = serde_json::from_value(terms).expect("terms");
    assert_eq!(terms.faults(), []);
    RULES.with_terms(Some(Arc::new(terms)))
}
