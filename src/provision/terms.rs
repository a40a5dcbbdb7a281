//! The `[terms]` of a controller's file are what was agreed with it about time: its own rules, its calendar, its closed days.

use crate::config::document::join;
use redress_domain::regulation::Rule;
use redress_domain::terms::Terms;
use redress_domain::words::Fault;
use serde_json::Value;

/// Reads the table at `pointer`; every fault goes to the list. What is kept is the JSON that was read.
pub(super) fn read(value: &Value, pointer: &str, faults: &mut Vec<Fault>) -> Option<String> {
    let before = faults.len();
    // Each rule by itself first, so that a fault names the one it is in.
    let rules = value.get("rule").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (i, rule) in rules.iter().enumerate() {
        if let Err(error) = serde_json::from_value::<Rule>(rule.clone()) {
            faults.push(Fault::new(join(&join(pointer, "rule"), &i.to_string()), error.to_string()));
        }
    }
    if faults.len() > before {
        return None;
    }
    let terms: Terms = match serde_json::from_value(value.clone()) {
        Ok(terms) => terms,
        Err(error) => {
            faults.push(Fault::new(pointer, error.to_string()));
            return None;
        }
    };
    for (member, detail) in terms.faults() {
        faults.push(Fault::new(format!("{pointer}/{member}"), detail));
    }
    (faults.len() == before).then(|| value.to_string())
}
