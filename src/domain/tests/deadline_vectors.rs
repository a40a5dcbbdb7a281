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
