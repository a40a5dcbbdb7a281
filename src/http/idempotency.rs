//! An idempotency key makes a submission happen once, however often it is sent; only hashes of it and of the body are kept.

use super::problem::Problem;
use axum::http::{HeaderMap, HeaderName};
use redress_store::canonical_json;
use ring::digest::{Context, SHA256};
use serde_json::Value;

/// The longest key that is taken.
const KEY_MAX: usize = 255;

/// The key of a call, if it has one: a quoted string (RFC 9651) or the bare text.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let name = HeaderName::from_static("idempotency-key");
    if redress_store::mutant("submit.idempotency_ignored") {
        return Ok(None);
    }
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let read = value.to_str().ok().filter(|_| values.next().is_none()).and_then(|text| read(text.trim()));
    let well_formed = |key: &String| (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    read.filter(well_formed).map(Some).ok_or_else(|| {
        let detail =
            format!("the header Idempotency-Key must be given once, with 1 to {KEY_MAX} visible ASCII characters");
        Problem::bad_request(detail)
    })
}

fn read(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let mut key = String::new();
    let mut characters = inner.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(key),
            '\\' => key.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            other => key.push(other),
        }
    }
}

/// What is kept: a hash of the key, and one of the body. The key goes into the second too, so that a body cannot be
/// guessed from its hash by trying addresses.
pub(crate) fn hashes(key: &str, body: &Value) -> (String, String) {
    (sha256_hex(&[key.as_bytes()]), sha256_hex(&[key.as_bytes(), b"\0", canonical_json(body).as_bytes()]))
}

fn sha256_hex(parts: &[&[u8]]) -> String {
    use std::fmt::Write as _;
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    })
}
