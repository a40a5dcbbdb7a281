//! The published deadline vectors, two independent engines' answers, against this one.

use jiff::Timestamp;
use jiff::civil::Date;
use redress_domain::RequestType;
use redress_domain::deadline::{Calendar, DeadlineInput, compute, rule_due, zone};
use redress_domain::regulation::{DayName, RuleTable};
use serde_json::Value;

const VECTORS: &str = include_str!("../../../tests/vectors/deadline_vectors.json");
const TABLE: &str = include_str!("../../../config/regulations.toml");

fn table() -> RuleTable {
    RuleTable::parse(TABLE).expect("the shipped table is well formed")
}

fn vectors(kind: &str) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(VECTORS).expect("the vectors are JSON");
    let Value::Array(all) = file["vectors"].take() else { panic!("no list of vectors") };
    all.into_iter().filter(|vector| vector["kind"] == kind).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

fn date(value: &Value) -> Date {
    text(value).parse().expect("a date")
}

fn instant(value: &Value) -> Timestamp {
    text(value).parse().expect("an instant")
}

fn optional_date(value: &Value) -> Option<Date> {
    value.as_str().map(|text| text.parse().expect("a date"))
}

fn list<T>(value: &Value, read: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().expect("a list").iter().map(read).collect()
}

fn day_name(value: &Value) -> DayName {
    DayName::parse(text(value)).expect("a day of the week")
}

#[test]
fn every_vector_without_pause_and_extension_gives_its_dates() {
    let table = table();
    let mut run = 0;
    for vector in vectors("deadline") {
        let plain = vector["pauses"].as_array().is_none_or(Vec::is_empty) && vector["extension"].is_null();
        if !plain {
            continue;
        }
        run += 1;
        let name = format!("{} {}", vector["id"], vector["title"]);
        let (regulation, rule) = table.rule(text(&vector["rule"])).expect(&name);
        assert_eq!(regulation.id, text(&vector["regulation"]), "{name}");
        assert!(rule.request_types.iter().any(|known| known == text(&vector["request_type"])), "{name}");
        let weekend = list(&vector["weekend"], day_name);
        let holidays = list(&vector["holidays"], date);
        let extra_working_days = list(&vector["extra_working_days"], date);
        let calendar = Calendar { weekend: &weekend, holidays: &holidays, extra_working_days: &extra_working_days };
        let zone = zone(text(&vector["tz"])).expect(&name);

        let dates = rule_due(rule, instant(&vector["received_at"]), &zone, &calendar).expect(&name);

        let expected = &vector["expected"];
        assert_eq!(dates.started_on, date(&expected["clock_start_date"]), "{name}");
        assert_eq!(dates.due_on, date(&expected["due_date"]), "{name}");
        assert_eq!(dates.due_before, instant(&expected["due_instant_exclusive_utc"]), "{name}");
        assert_eq!(dates.due_before, instant(&expected["due_instant_exclusive_local"]), "{name}");
        assert_eq!(dates.acknowledge_by, optional_date(&expected["ack_due_date"]), "{name}");
        assert_eq!(dates.extension_notice_by, optional_date(&expected["extension_notice_due_date"]), "{name}");
        if let Some(target) = optional_date(&expected["internal_target_date"]) {
            assert_eq!(calendar.add(dates.started_on, table.sla.internal_target), Ok(target), "{name}");
        }
    }
    assert_eq!(run, 113);
}

#[test]
fn every_vector_of_two_clocks_gives_its_effective_due_date() {
    let table = table();
    let vectors = vectors("effective_due");
    assert_eq!(vectors.len(), 7);
    for vector in vectors {
        let name = format!("{} {}", vector["id"], vector["title"]);
        let (regulation, _) = table.rule(text(&vector["statutory_rule"])).expect(&name);
        let holidays = list(&vector["holidays"], date);
        let place = regulation.jurisdictions[0].as_str();
        let input = DeadlineInput {
            request_type: RequestType::parse(text(&vector["request_type"])).expect(&name),
            regulation: Some(&regulation.id),
            jurisdiction: None,
            controller_country: Some(place),
            controller_timezone: text(&vector["tz"]),
            data_subject_received_at: Some(instant(&vector["data_subject_received_at"])),
            instruction_received_at: instant(&vector["instruction_received_at"]),
            holidays: &holidays,
        };

        let deadlines = compute(&table, &input).expect(&name);

        let expected = &vector["expected"];
        let statutory = deadlines.statutory.expect(&name);
        assert_eq!(statutory.rule, text(&vector["statutory_rule"]), "{name}");
        assert_eq!(statutory.due_on, date(&expected["statutory_due_date"]), "{name}");
        assert_eq!(deadlines.contract.rule, text(&vector["contract_rule"]), "{name}");
        assert_eq!(deadlines.contract.due_on, date(&expected["contract_due_date"]), "{name}");
        assert_eq!(deadlines.effective.due_on, date(&expected["effective_due_date"]), "{name}");
        assert_eq!(deadlines.effective.binding.as_str(), text(&expected["binding"]), "{name}");
        assert_eq!(deadlines.effective.buffer_exhausted, expected["buffer_exhausted"] == true, "{name}");
    }
}

#[test]
fn a_request_is_overdue_from_the_exclusive_instant_on_whatever_the_offset_it_is_written_in() {
    for vector in vectors("status") {
        let bound = instant(&vector["due_instant_exclusive_utc"]);
        for check in vector["checks"].as_array().expect("a list") {
            assert_eq!(instant(&check["now"]) >= bound, check["overdue"] == true, "{} {check}", vector["id"]);
        }
    }
}
