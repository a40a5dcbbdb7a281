//! One request as a simulator looks at it: path parts and query decoded, headers, body. A simulator is a function from it to an answer.

use crate::World;
use crate::kit::{Refusal, wrap};
use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The key, token, password and client secret that simulators take.
pub const KEY: &str = "sandbox-key";

/// One request.
pub struct Asked {
    /// Method.
    pub method: String,
    /// The path's parts, decoded.
    pub parts: Vec<String>,
    /// The query's pairs, decoded, in their order.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Scheme and host as they were called.
    pub origin: String,
    /// How long path and query were, as they were sent (bytes).
    pub uri_length: usize,
}

/// What answers for a vendor.
pub type Desk = fn(&World, &Asked) -> Response;

/// A router that gives every request to `desk`.
pub fn router(world: &Arc<World>, desk: Desk, refusal: Refusal, free: &'static [&'static str]) -> Router {
    let held = Arc::clone(world);
    let fallback = move |request: Request| async move { desk(&held, &Asked::read(request).await) };
    wrap(Router::new().fallback(fallback), world, refusal, free)
}

/// A JSON answer.
pub fn json(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}

/// An answer without body.
pub fn empty(status: u16) -> Response {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

/// A record's text, empty if it has none.
pub fn text<'r>(record: &'r Map<String, Value>, field: &str) -> &'r str {
    record.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Equal without regard to case, as vendors compare addresses.
pub fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// A text as a forgiving collation sees it: lower case, without the accents of Latin letters. Some vendors search like this;
/// connectors must not believe it.
pub fn fold(text: &str) -> String {
    let plain = |c| match c {
        'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ñ' => 'n',
        'ç' => 'c',
        other => other,
    };
    text.to_lowercase().chars().map(plain).collect()
}

/// A number or text as text.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

/// Only the digits, as vendors compare telephone numbers.
pub fn digits(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}

/// Whether every key of an object is one of `known`; the first that is not.
pub fn unknown_key<'v>(value: &'v Value, known: &[&str]) -> Option<&'v str> {
    value.as_object()?.keys().map(String::as_str).find(|key| !known.contains(key))
}

/// A page of a list: the part from `from` on, at most `size`, and where the next begins.
pub fn page<T: Clone>(all: &[T], from: usize, size: usize) -> (Vec<T>, Option<usize>) {
    let end = from.saturating_add(size.max(1)).min(all.len());
    let part = all.get(from..end).unwrap_or_default().to_vec();
    (part, (end < all.len()).then_some(end))
}

fn decoded(part: &str) -> String {
    // `form_urlencoded` reads a plus as a space, which a path does not.
    let part = part.replace('+', "%2B");
    url::form_urlencoded::parse(part.replace('=', "%3D").replace('&', "%26").as_bytes())
        .map(|(key, _)| key.into_owned())
        .next()
        .unwrap_or_default()
}

impl Asked {
    async fn read(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        Self {
            method: parts.method.to_string(),
            parts: parts.uri.path().trim_start_matches('/').split('/').map(decoded).collect(),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            origin: format!("http://{host}"),
            uri_length: parts.uri.path_and_query().map_or(0, |uri| uri.as_str().len()),
            headers: parts.headers,
            body,
        }
    }

    /// Method and parts, to match on.
    pub fn route(&self) -> (&str, Vec<&str>) {
        (&self.method, self.parts.iter().map(String::as_str).collect())
    }

    /// A query parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A query parameter that is not known.
    pub fn unknown(&self, known: &[&str]) -> Option<&str> {
        self.query.iter().map(|(key, _)| key.as_str()).find(|key| !known.contains(key))
    }

    /// A number in the query.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, if it is JSON and said to be.
    pub fn json(&self) -> Option<Value> {
        let said = self.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        serde_json::from_slice(&self.body).ok().filter(|_| said)
    }

    /// A form body's pairs.
    pub fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// Whether `Authorization` is this word and this value.
    pub fn authorized(&self, word: &str, value: &str) -> bool {
        self.header("authorization").and_then(|all| all.split_once(' ')) == Some((word, value))
    }

    /// User name and password of RFC 7617.
    pub fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }
}
