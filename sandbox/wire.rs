//! What simulators read from a request and write into an answer, whichever vendor they are.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// A JSON answer.
pub fn json(status: u16, body: &Value) -> Response {
    as_type(status, "application/json", body.to_string())
}

/// An answer of this media type.
pub fn as_type(status: u16, media_type: &'static str, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", media_type)], body).into_response()
}

/// An answer without a body.
pub fn empty(status: u16) -> Response {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

/// What stands in `Authorization` after this word (`Bearer`), which is compared without regard to case.
pub fn authorization<'h>(headers: &'h HeaderMap, word: &str) -> Option<&'h str> {
    let (kind, value) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    kind.eq_ignore_ascii_case(word).then(|| value.trim())
}

/// User name and password of RFC 7617.
pub fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = STANDARD.decode(authorization(headers, "Basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Pairs of a query or a form, decoded, in order.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// The pairs of a request's query.
pub fn query(uri: &Uri) -> Vec<(String, String)> {
    pairs(uri.query().unwrap_or_default())
}

/// The first value of this name.
pub fn first<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The first name that is none of these.
pub fn unknown<'p>(pairs: &'p [(String, String)], known: &[&str]) -> Option<&'p str> {
    pairs.iter().map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
}

/// A body that is a JSON object.
pub fn object(body: &Bytes) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

/// A text of a record, or an empty one.
pub fn text<'r>(record: &'r Map<String, Value>, field: &str) -> &'r str {
    record.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A text as a forgiving collation sees it: lower case, without the accents of Latin letters. Vendors search like this;
/// connectors must not believe it.
pub fn fold(text: &str) -> String {
    text.to_lowercase()
        .chars()
        .map(|c| match c {
            'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' => 'a',
            'é' | 'è' | 'ê' | 'ë' => 'e',
            'í' | 'ì' | 'î' | 'ï' => 'i',
            'ó' | 'ò' | 'ô' | 'ö' | 'õ' => 'o',
            'ú' | 'ù' | 'û' | 'ü' => 'u',
            'ñ' => 'n',
            'ç' => 'c',
            other => other,
        })
        .collect()
}
