//! The canonical form of a JSON value is the one text that is hashed or signed for it.
//!
//! It is what `serde_json` writes compactly, with the keys of every object sorted by their UTF-8 bytes:
//!
//! - no white space outside strings;
//! - strings escape `"`, `\` and the control characters below U+0020 only, as `\b \t \n \f \r` or `\u00xx` in lower
//!   case; everything else stands as UTF-8;
//! - numbers are whole, in decimal, without exponent. Fractions are refused when a document is read, because two
//!   programs may write the same fraction differently.
//!
//! For documents like ours this agrees with RFC 8785.

use super::signer::sha256_hex;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// Why a text is not a JSON document that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// It is not JSON, or goes on after its end.
    #[error("not JSON: something is wrong at line {line}, column {column}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// An object has the same key twice, so two readers may see two documents.
    #[error("a key occurs twice in the same object, at line {line}")]
    DuplicateKey {
        /// Counted from 1.
        line: usize,
    },
    /// A number is not a whole number of 64 bits, so two writers may spell it differently.
    #[error("a number is not a whole number of at most 64 bits, at line {line}")]
    Number {
        /// Counted from 1.
        line: usize,
    },
}

/// The canonical form of a value.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// The hash of an audit event: SHA-256, in lower-case hex, of the canonical form of the event without its `hash`.
///
/// The event is `{id, controller_id, seq, at, kind, actor, dsr_id, data, prev_hash, hash}`; every member that the
/// export shows is covered, `null` ones included. Whoever writes the log must hash exactly what the export will show.
pub fn event_hash(event: &Value) -> String {
    let mut event = event.clone();
    if let Some(members) = event.as_object_mut() {
        members.remove("hash");
    }
    sha256_hex(canonical(&event).as_bytes())
}

/// Reads one JSON document of which no two readers can have different opinions: no key twice, only whole numbers,
/// nothing after its end.
pub fn parse_strict(text: &str) -> Result<Value, JsonFault> {
    let flaw = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Strict(&flaw).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| match flaw.get() {
        Some(Flaw::DuplicateKey) => JsonFault::DuplicateKey { line: error.line() },
        Some(Flaw::Number) => JsonFault::Number { line: error.line() },
        None => JsonFault::Syntax { line: error.line(), column: error.column() },
    })
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_key(|(key, _)| key.as_bytes());
            out.push('{');
            for (i, (key, value)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[derive(Clone, Copy)]
enum Flaw {
    DuplicateKey,
    Number,
}

/// Builds a [`Value`] and says, beside serde's own message, which flaw ended it.
#[derive(Clone, Copy)]
struct Strict<'f>(&'f Cell<Option<Flaw>>);

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, flaw: Flaw) -> E {
        self.0.set(Some(flaw));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(Number::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::from(value)))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        Err(self.refuse(Flaw::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(self.refuse(Flaw::DuplicateKey));
            }
            let value = map.next_value_seed(self)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_canonical_form_sorts_keys_at_every_depth_and_has_no_white_space() {
        let value = json!({"b": [1, {"z": null, "a": true}], "a": "x\n\u{1}\"\\ü"});
        assert_eq!(canonical(&value), r#"{"a":"x\n\u0001\"\\ü","b":[1,{"a":true,"z":null}]}"#);
    }

    #[test]
    fn the_canonical_form_is_what_serde_json_writes_compactly() {
        let value = json!({"seq": 7, "data": {"k": ["é", -1, u64::MAX]}, "at": "2026-11-21T10:00:00Z"});
        assert_eq!(canonical(&value), value.to_string());
    }

    #[test]
    fn the_hash_of_an_event_covers_all_but_the_hash_itself() {
        let mut event = json!({"seq": 1, "prev_hash": "", "kind": "received", "dsr_id": null});
        let hash = event_hash(&event);
        assert_eq!(hash, sha256_hex(br#"{"dsr_id":null,"kind":"received","prev_hash":"","seq":1}"#));
        event["hash"] = json!(hash);
        assert_eq!(event_hash(&event), hash);
        event["dsr_id"] = json!("dsr_1");
        assert_ne!(event_hash(&event), hash);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for (text, fault) in [
            (r#"{"a":1,"a":1}"#, JsonFault::DuplicateKey { line: 1 }),
            ("{\"a\":{\"b\":1,\n\"\\u0062\":2}}", JsonFault::DuplicateKey { line: 2 }),
            ("[1.0]", JsonFault::Number { line: 1 }),
            ("[1e2]", JsonFault::Number { line: 1 }),
            ("[-0]", JsonFault::Number { line: 1 }),
            ("[18446744073709551616]", JsonFault::Number { line: 1 }),
        ] {
            assert_eq!(parse_strict(text), Err(fault), "{text}");
        }
        let deep = "[".repeat(200_000);
        for text in ["", "{", "{} {}", "{}x", "nul", "'a'", "[1,]", "\u{feff}{}", r#""\ud800""#, deep.as_str()] {
            assert!(matches!(parse_strict(text), Err(JsonFault::Syntax { .. })), "{}", &text[..text.len().min(20)]);
        }
        assert_eq!(parse_strict(" {\"a\":[1,-2,\"x\",null,true]} \n"), Ok(json!({"a": [1, -2, "x", null, true]})));
    }
}
