//! Worked examples against this engine: the published ones, and our own, which two other programs agree on.

use redress_domain::regulation::RuleTable;
use redress_domain::vectors::evaluate;
use serde_json::Value;

const TABLE: &str = include_str!("../../../config/regulations.toml");

fn table() -> RuleTable {
    RuleTable::parse(TABLE).expect("the shipped table is well formed")
}

fn vectors(text: &str) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(text).expect("the vectors are JSON");
    let Value::Array(all) = file["vectors"].take() else { panic!("no list of vectors") };
    all
}

/// What differs, one line each.
fn differences(all: &[Value]) -> Vec<String> {
    let table = table();
    let mut differences = Vec::new();
    for vector in all {
        let name = format!("{} {}", vector["id"], vector["title"]);
        let answer = match evaluate(&table, vector) {
            Ok(answer) => answer,
            Err(fault) => {
                differences.push(format!("{name}: {fault}"));
                continue;
            }
        };
        let expected = match &vector["expected"] {
            Value::Object(members) => members.clone(),
            _ => [("checks".to_owned(), vector["checks"].clone())].into_iter().collect(),
        };
        let mut found = answer.as_object().expect("an object").clone();
        found.remove("id");
        if found != expected {
            differences.push(format!(
                "{name}:\n  found    {}\n  expected {}",
                Value::Object(found),
                Value::Object(expected)
            ));
        }
    }
    differences
}

#[test]
fn every_published_vector_gives_exactly_its_dates() {
    let all = vectors(include_str!("../../../tests/vectors/deadline_vectors.json"));
    assert_eq!(all.len(), 156);
    let differences = differences(&all);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_vector_of_our_own_gives_exactly_its_dates() {
    let all = vectors(include_str!("../../../tests/vectors/own_vectors.json"));
    assert!(all.len() >= 200, "only {}", all.len());
    let differences = differences(&all);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn our_own_vectors_are_others_than_the_published_ones_and_know_every_rule() {
    let published = vectors(include_str!("../../../tests/vectors/deadline_vectors.json"));
    let own = vectors(include_str!("../../../tests/vectors/own_vectors.json"));
    let mut ids: Vec<&str> = own.iter().chain(&published).map(|vector| vector["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|two| two[0] != two[1]), "each id once");
    let used =
        |id: &str| own.iter().any(|v| ["rule", "statutory_rule", "contract_rule"].iter().any(|key| v[*key] == id));
    let table = table();
    let unused: Vec<&str> = table
        .regulations
        .iter()
        .flat_map(|law| &law.rules)
        .map(|rule| rule.id.as_str())
        .filter(|id| !used(id))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn a_vector_with_a_mistake_is_refused_and_not_worked_out() {
    let table = table();
    let good = serde_json::json!({
        "id": "X1", "kind": "deadline", "rule": "eu-gdpr.all", "request_type": "access", "tz": "Europe/Berlin",
        "weekend": ["sat", "sun"], "holidays": [], "received_at": "2026-06-01T10:00:00+02:00",
    });
    assert_eq!(evaluate(&table, &good).expect("good")["due_date"], "2026-07-01");
    for (member, value, says) in [
        ("kind", Value::from("dates"), "kind: dates is not known; known are deadline, effective_due, status"),
        ("rule", Value::from("eu-gdpr.every"), "rule: no rule is called eu-gdpr.every"),
        ("tz", Value::from("Berlin"), "unknown time zone Berlin; an IANA name such as Europe/Berlin is needed"),
        ("tz", Value::Null, "invalid type: null, expected a string"),
        ("received_at", Value::from("2026-02-30T10:00:00Z"), "parsed date is not valid"),
        ("received_at", Value::from("2026-02-20T10:00:00"), "offset"),
        ("weekend", Value::from(vec!["Saturday"]), "unknown variant `Saturday`"),
        ("holidays", Value::from(vec!["2026-02-30"]), "parsed date is not valid"),
    ] {
        let mut vector = good.clone();
        vector[member] = value;
        let fault = evaluate(&table, &vector).expect_err(says).to_string();
        assert!(fault.contains(says), "{member}: {fault}");
    }
}
