//! A pointer names a place in an answer (RFC 6901); `*` stands for every element of a list or value of an object, `-1` for the
//! last element of a list (a cursor that is the last record's id).

use serde_json::{Map, Value};

fn parts(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

/// The pointer to a path.
pub(super) fn of(path: &[String]) -> String {
    path.iter().fold(String::new(), |pointer, part| pointer + "/" + &part.replace('~', "~0").replace('/', "~1"))
}

fn child<'v>(value: &'v Value, part: &str) -> Option<&'v Value> {
    match value {
        Value::Object(map) => map.get(part),
        Value::Array(list) if part == "-1" => list.last(),
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Every value at a pointer, `null` too.
pub(super) fn all<'v>(value: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let mut here = vec![value];
    for part in parts(pointer) {
        here = here
            .into_iter()
            .flat_map(|value| match (part.as_str(), value) {
                ("*", Value::Array(list)) => list.iter().collect(),
                ("*", Value::Object(map)) => map.values().collect(),
                _ => child(value, &part).into_iter().collect::<Vec<_>>(),
            })
            .collect();
    }
    here
}

/// The value at a pointer, if there is one that is not `null`.
pub(super) fn first<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    all(value, pointer).into_iter().find(|value| !value.is_null())
}

/// Puts a value at a pointer; objects on the way are made.
pub(super) fn set(value: &mut Value, pointer: &str, to: Value) {
    let mut here = value;
    for part in parts(pointer) {
        if here.is_null() {
            *here = Value::Object(Map::new());
        }
        here = match here {
            Value::Object(map) => map.entry(part).or_insert(Value::Null),
            Value::Array(list) => match part.parse::<usize>().ok().and_then(|at| list.get_mut(at)) {
                Some(element) => element,
                None => return,
            },
            _ => return,
        };
    }
    *here = to;
}

/// Takes away what is at a pointer, in every element where it has `*`.
pub(super) fn remove(value: &mut Value, pointer: &str) {
    let parts: Vec<String> = parts(pointer).collect();
    take(value, &parts);
}

fn take(value: &mut Value, parts: &[String]) {
    let Some((part, rest)) = parts.split_first() else { return };
    match value {
        Value::Object(map) if rest.is_empty() => {
            if part == "*" {
                map.clear();
            } else {
                map.remove(part);
            }
        }
        Value::Array(list) if rest.is_empty() && part == "*" => list.clear(),
        Value::Object(map) if part == "*" => map.values_mut().for_each(|value| take(value, rest)),
        Value::Array(list) if part == "*" => list.iter_mut().for_each(|value| take(value, rest)),
        Value::Object(map) => {
            if let Some(value) = map.get_mut(part) {
                take(value, rest);
            }
        }
        Value::Array(list) => {
            if let Some(value) = part.parse::<usize>().ok().and_then(|at| list.get_mut(at)) {
                take(value, rest);
            }
        }
        _ => {}
    }
}

/// The text of a text, number or truth value; vendors mix them (`606`, `"606"`).
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// Whether two values are the same; a number and the text that spells it are.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    one == other
        || match (one, other) {
            (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
                number.to_string() == *text
            }
            _ => false,
        }
}

/// Whether all of these hold (pointer → value); `null` holds where nothing is.
pub(super) fn holds<'c>(value: &Value, conditions: impl IntoIterator<Item = (&'c String, &'c Value)>) -> bool {
    conditions.into_iter().all(|(pointer, wanted)| {
        let there = all(value, pointer);
        if wanted.is_null() {
            there.iter().all(|value| value.is_null())
        } else {
            there.iter().any(|value| same(value, wanted))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_star_goes_through_lists() {
        let answer = json!({"errors": [{"code": "606"}, {"code": 615}], "a/b": {"c": [1, [2]]}});
        assert_eq!(all(&answer, "/errors/*/code"), [&json!("606"), &json!(615)]);
        assert_eq!(all(&answer, "/a~1b/c/1/0"), [&json!(2)]);
        assert!(all(&answer, "/nowhere/*/x").is_empty());
        assert_eq!(all(&answer, ""), [&answer]);
    }

    #[test]
    fn what_is_left_out_is_gone_everywhere() {
        let mut record = json!({"id": 1, "emails": [{"value": "a", "x": 1}, {"value": "b"}]});
        remove(&mut record, "/emails/*/value");
        assert_eq!(record, json!({"id": 1, "emails": [{"x": 1}, {}]}));
        set(&mut record, "/pagination/starting_after", json!("c"));
        assert_eq!(first(&record, "/pagination/starting_after"), Some(&json!("c")));
    }

    #[test]
    fn a_number_and_its_text_are_the_same_but_an_absent_value_is_none() {
        assert!(
            same(&json!(606), &json!("606")) && !same(&json!(1), &json!("01")) && !same(&json!(true), &json!("true"))
        );
        let only = |value: Value| std::collections::BTreeMap::from([("/merged".to_owned(), value)]);
        assert!(!holds(&json!({}), &only(json!(false))));
        assert!(holds(&json!({}), &only(Value::Null)) && holds(&json!({"merged": false}), &only(json!(false))));
    }
}
