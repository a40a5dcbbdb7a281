//! DynamoDB's typed values (`{"S": "text"}`, `{"N": "7"}`, `{"M": …}`) as texts to compare and as plain JSON to hand over.

use super::client::Item;
use serde_json::{Map, Value};

/// The texts of an attribute: a text or a number, of a list or set each of them.
pub(super) fn texts(item: &Item, name: &str) -> Vec<String> {
    let Some(Value::Object(typed)) = item.get(name) else { return Vec::new() };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match typed.iter().next() {
        Some((kind, value)) if matches!(kind.as_str(), "S" | "N") => text(value).into_iter().collect(),
        Some((kind, Value::Array(set))) if matches!(kind.as_str(), "SS" | "NS") => {
            set.iter().filter_map(text).collect()
        }
        Some((kind, Value::Array(list))) if kind == "L" => {
            let inner = |value: &Value| value.get("S").or_else(|| value.get("N")).and_then(text);
            list.iter().filter_map(inner).collect()
        }
        _ => Vec::new(),
    }
}

/// A value without its type. Numbers stay as they were written; what is binary is base64 already.
pub(super) fn plain(typed: &Value) -> Value {
    let Some((kind, value)) = typed.as_object().and_then(|typed| typed.iter().next()) else { return Value::Null };
    match (kind.as_str(), value) {
        ("NULL", _) => Value::Null,
        ("M", Value::Object(members)) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>())
        }
        ("L", Value::Array(list)) => list.iter().map(plain).collect(),
        ("N", Value::String(digits)) => {
            digits.parse::<i64>().map_or_else(|_| Value::from(digits.as_str()), Value::from)
        }
        (_, value) => value.clone(),
    }
}
