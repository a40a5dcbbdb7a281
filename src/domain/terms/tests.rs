//! Facts about terms: what makes sense is taken, and each fault is named with its member.

use super::*;
use serde_json::{Value, json};

fn rule(change: impl FnOnce(&mut Value)) -> Value {
    let mut rule = json!({
        "id": "acme.deletion", "request_types": ["deletion"], "clock_start": "instruction_received", "first_day": "excluded",
        "due": { "amount": 10, "unit": "business_days" }, "month_end": "clamp_last_day", "roll": "none", "confidence": "high",
    });
    change(&mut rule);
    rule
}

fn parsed(terms: Value) -> Result<Terms, serde_json::Error> {
    serde_json::from_value(terms)
}

/// The members at fault, with what is said of each.
fn faults(mut terms: Value) -> Vec<(String, String)> {
    if terms.get("version").is_none() {
        terms["version"] = json!("1");
    }
    parsed(terms).expect("well formed").faults()
}

#[test]
fn whole_terms_are_taken() {
    let terms = json!({
        "version": "2026-03-01", "basis": "DPA, section 7", "calendar": "de-by", "controller_buffer_business_days": 3,
        "pauses_suspend_all_types": true, "weekend": ["sat", "sun"], "closed": { "2026-12-24": "company closed" },
        "rule": [rule(|_| ())],
    });
    let terms = parsed(terms).expect("well formed");
    assert_eq!(terms.faults(), []);
    assert_eq!(terms.rule_for(RequestType::Deletion).map(|rule| rule.id.as_str()), Some("acme.deletion"));
    assert!(terms.rule_for(RequestType::Access).is_none());
    let least = parsed(json!({ "version": "1" })).expect("only a version is needed");
    assert_eq!((least.faults(), least.calendar, least.closed.len()), (Vec::new(), None, 0));
}

#[test]
fn terms_of_the_wrong_form_are_refused() {
    for (terms, says) in [
        (json!({}), "missing field `version`"),
        (json!({ "version": "1", "surprise": 1 }), "unknown field `surprise`"),
        (json!({ "version": "1", "closed": { "2026-02-30": "x" } }), "2026-02"),
        (json!({ "version": "1", "weekend": ["Saturday"] }), "unknown variant `Saturday`"),
        (json!({ "version": "1", "controller_buffer_business_days": -1 }), "invalid value: integer `-1`"),
        (json!({ "version": "1", "rule": [rule(|r| r["due"]["amount"] = json!(0))] }), "a period of zero"),
        (
            json!({ "version": "1", "rule": [rule(|r| r["first_day"] = json!("included"))] }),
            "unknown variant `included`",
        ),
        (json!({ "version": "1", "rule": [rule(|r| r["surprise"] = json!(1))] }), "unknown field `surprise`"),
    ] {
        let error = parsed(terms).map(|_| ()).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn each_fault_is_named_with_its_member() {
    let one = |terms: Value| {
        let faults = faults(terms);
        let [(member, detail)] = faults.as_slice() else { panic!("one fault, not {faults:?}") };
        format!("{member} {detail}")
    };
    assert_eq!(one(json!({ "version": " " })), "version must have 1 to 64 characters, such as 2026-03-01");
    assert_eq!(one(json!({ "version": "1".repeat(65) })), "version must have 1 to 64 characters, such as 2026-03-01");
    assert_eq!(faults(json!({ "version": "1".repeat(64), "controller_buffer_business_days": 20 })), []);
    let long = json!({ "controller_buffer_business_days": 21 });
    assert_eq!(one(long), "controller_buffer_business_days must be at most 20");
    let never = json!({ "weekend": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] });
    assert_eq!(one(never), "weekend leaves no working day");
    let of = |change: fn(&mut Value)| one(json!({ "rule": [rule(change)] }));
    let unknown = of(|rule| rule["request_types"] = json!(["deletion", "opt_out"]));
    assert!(unknown.starts_with("rule/0/request_types opt_out is not a request type; known: access, "), "{unknown}");
    let none = of(|rule| rule["request_types"] = json!([]));
    assert_eq!(none, "rule/0/request_types names none, so the rule would never count");
    let other = of(|rule| rule["clock_start"] = json!("request_received"));
    assert!(other.starts_with("rule/0/clock_start must be instruction_received"), "{other}");
}

#[test]
fn of_two_rules_for_one_type_or_of_one_id_the_second_is_the_fault() {
    let second = rule(|rule| rule["id"] = json!("acme.second"));
    let faults_of_two = faults(json!({ "rule": [rule(|_| ()), second] }));
    assert_eq!(faults_of_two, [("rule/1/request_types".to_owned(), "deletion has a rule already".to_owned())]);
    let same_id = rule(|rule| rule["request_types"] = json!(["access"]));
    let faults_of_two = faults(json!({ "rule": [rule(|_| ()), same_id] }));
    assert_eq!(faults_of_two, [("rule/1/id".to_owned(), "acme.deletion is there twice".to_owned())]);
}

#[test]
fn a_promise_of_more_than_a_year_is_a_typing_error() {
    for (amount, unit, good) in [
        (366, "calendar_days", true),
        (367, "calendar_days", false),
        (262, "business_days", true),
        (263, "business_days", false),
        (12, "calendar_months", true),
        (13, "calendar_months", false),
    ] {
        let found = faults(json!({ "rule": [rule(|rule| rule["due"] = json!({ "amount": amount, "unit": unit }))] }));
        let expected = [("rule/0/due".to_owned(), "must be at most a year".to_owned())];
        assert_eq!(found, if good { &[] } else { &expected[..] }, "{amount} {unit}");
    }
}
