//! A body is JSON of bounded size and depth in which no object names a member twice, or it is refused with the reason.

use super::problem::Problem;
use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use futures::StreamExt as _;
use redress_domain::words::Fault;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

/// Deeper documents are refused.
pub(crate) const DEPTH_MAX: usize = 32;
/// Longer names of members are cut where they are quoted.
const QUOTED_MAX: usize = 64;

/// Reads a body that must be JSON.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize, patience: Duration) -> Result<Value, Problem> {
    check_encoding(headers)?;
    check_media_type(headers)?;
    parse(&bytes(headers, body, limit, patience).await?)
}

/// Reads a body that may be left out; `None` if it was.
pub(crate) async fn read_optional(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Duration,
) -> Result<Option<Value>, Problem> {
    check_encoding(headers)?;
    let bytes = bytes(headers, body, limit, patience).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    check_media_type(headers)?;
    parse(&bytes).map(Some)
}

fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let coded =
        headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        let detail = "send the body without compression (no Content-Encoding)";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = || {
        let detail = "send the body as application/json in UTF-8, with the header Content-Type: application/json";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    };
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(refused()) };
    let text = value.to_str().map_err(|_| refused())?;
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let utf8 = parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if media_type.eq_ignore_ascii_case("application/json") && utf8 { Ok(()) } else { Err(refused()) }
}

async fn bytes(headers: &HeaderMap, body: Body, limit: usize, patience: Duration) -> Result<Vec<u8>, Problem> {
    let too_long = || Problem::too_large(limit);
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_long());
    }
    let gather = async {
        let mut all = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::bad_request("the body broke off"))?;
            if all.len() + chunk.len() > limit {
                return Err(too_long());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    };
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
    tokio::time::timeout(patience, gather).await.map_err(slow)?
}

/// Parses strictly. Faults name the place, never a value.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::bad_request("the body is not UTF-8 text"))?;
    if text.starts_with('\u{feff}') {
        return Err(Problem::bad_request("the body begins with a byte order mark; send UTF-8 without one"));
    }
    if text.trim().is_empty() {
        return Err(Problem::bad_request("the body is empty; a JSON object is needed"));
    }
    let walk = Walk::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Strict { walk: &walk, depth: 0 }.deserialize(&mut deserializer);
    let parsed = parsed.and_then(|value| deserializer.end().map(|()| value));
    match (parsed, walk.faults.take()) {
        (Ok(value), faults) if faults.is_empty() => Ok(value),
        (Ok(_), faults) => Err(Problem::invalid(&faults)),
        (Err(_), _) if walk.too_deep.take() => {
            Err(Problem::bad_request(format!("the body is nested deeper than {DEPTH_MAX} levels")))
        }
        (Err(error), _) => Err(Problem::bad_request(format!(
            "the body is not well-formed JSON: line {}, column {}",
            error.line(),
            error.column()
        ))),
    }
}

/// A name that a caller chose, short enough to be quoted.
pub(crate) fn quoted(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(QUOTED_MAX).collect()
}

/// The pointer of a member.
pub(crate) fn join(pointer: &str, name: &str) -> String {
    crate::config::document::join(pointer, &quoted(name))
}

/// Where the parser is and what it found on its way.
#[derive(Default)]
struct Walk {
    path: RefCell<Vec<String>>,
    faults: RefCell<Vec<Fault>>,
    too_deep: RefCell<bool>,
}

impl Walk {
    fn pointer(&self) -> String {
        self.path.borrow().iter().fold(String::new(), |pointer, name| join(&pointer, name))
    }
}

struct Strict<'w> {
    walk: &'w Walk,
    depth: usize,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            *self.walk.too_deep.borrow_mut() = true;
            return Err(E::custom("too deep"));
        }
        Ok(Self { walk: self.walk, depth: self.depth + 1 })
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
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        loop {
            let inner = self.deeper::<A::Error>()?;
            self.walk.path.borrow_mut().push(all.len().to_string());
            let item = items.next_element_seed(inner)?;
            self.walk.path.borrow_mut().pop();
            match item {
                Some(item) => all.push(item),
                None => return Ok(Value::Array(all)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let inner = self.deeper::<A::Error>()?;
            self.walk.path.borrow_mut().push(name.clone());
            let value = members.next_value_seed(inner)?;
            if all.insert(name, value).is_some() {
                let fault = Fault::new(self.walk.pointer(), "is given twice");
                self.walk.faults.borrow_mut().push(fault);
            }
            self.walk.path.borrow_mut().pop();
        }
        Ok(Value::Object(all))
    }
}
