//! A Salesforce org: OAuth (client credentials, JWT bearer), SOQL, describe, collections of 200, Bulk API 2.0, a recycle bin.
//!
//! Its habits, after the REST, Bulk 2.0 and OAuth documentation (v67.0): texts compare without regard to case; deleted
//! rows stay in the recycle bin for 15 days and hard-deleted ones show in `queryAll` for a day; a contact with cases cannot be
//! deleted; collections answer 200 with a failure per item; each answer tells the day's usage, and a spent day is a 403
//! without `Retry-After`; a session ends when it likes, with a 401; phone search finds prefixes; addresses over 16 KB are refused.

mod auth;
mod bulk;
mod data;
mod schema;
mod soql;

pub use soql::{Refused, literals as soql_literals};

use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, wrap};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "salesforce", router, seed, count };

/// The client id that is always known.
pub const CLIENT_ID: &str = "3MVG9redress.sandbox";
/// Its secret.
pub const CLIENT_SECRET: &str = "redress-sandbox-secret";
/// The user that has approved it.
pub const USERNAME: &str = "dsr@acme.example";

/// Calls of a day if nothing else is allowed.
const DAILY: u64 = 15_000;

fn router(world: &Arc<World>) -> Router {
    wrap(Router::new().fallback(answer).with_state(Arc::clone(world)), world, refused, &["/services/oauth2"])
}

fn refused(over: Over) -> Response {
    let message = match over {
        Over::Concurrent => "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
        Over::Window(_) | Over::Budget => "TotalRequests Limit exceeded.",
    };
    error(StatusCode::FORBIDDEN, "REQUEST_LIMIT_EXCEEDED", message)
}

/// An error as Salesforce writes it: a list of one.
fn error(status: StatusCode, code: &str, message: impl AsRef<str>) -> Response {
    (status, Json(json!([{"message": message.as_ref(), "errorCode": code}]))).into_response()
}

fn missing() -> Response {
    error(StatusCode::NOT_FOUND, "NOT_FOUND", "The requested resource does not exist")
}

/// One call, taken apart.
struct Ask {
    method: Method,
    /// After `/services/data/vNN.0`.
    path: Vec<String>,
    /// Such as `v67.0`.
    version: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

impl Ask {
    fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as an object that has no keys but these.
    fn object(&self, keys: &[&str]) -> Result<Map<String, Value>, Response> {
        let kind = self.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/json") {
            return Err(error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                format!("The content type {kind:?} is not supported"),
            ));
        }
        let parser = |what: &str| error(StatusCode::BAD_REQUEST, "JSON_PARSER_ERROR", what);
        let Ok(Value::Object(body)) = serde_json::from_slice(&self.body) else {
            return Err(parser("Unexpected character"));
        };
        match body.keys().find(|key| !keys.is_empty() && !keys.contains(&key.as_str())) {
            Some(key) => Err(parser(&format!("Unrecognized field \"{key}\""))),
            None => Ok(body),
        }
    }
}

async fn answer(
    State(world): State<Arc<World>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    bulk::settle(&world);
    let heads: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if uri.to_string().len() + heads > 16_384 {
        return (StatusCode::URI_TOO_LONG, "URI Too Long").into_response();
    }
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    match path.as_slice() {
        ["services", "oauth2", "token"] if method == Method::POST => auth::token(&world, &host, &headers, &body),
        ["services", "data"] if method == Method::GET => {
            Json(json!([{"label": "Winter '27", "url": "/services/data/v67.0", "version": "67.0"}])).into_response()
        }
        ["services", "data", version, rest @ ..] => {
            let number = version.strip_prefix('v').and_then(|version| version.strip_suffix(".0"));
            if number.and_then(|number| number.parse::<u32>().ok()).is_none_or(|n| !(31..=67).contains(&n)) {
                return missing();
            }
            if !auth::is_open(&world, &headers) {
                return error(StatusCode::UNAUTHORIZED, "INVALID_SESSION_ID", "Session expired or invalid");
            }
            let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            let ask = Ask {
                path: rest.iter().map(|part| decoded(part)).collect(),
                version: (*version).to_owned(),
                query: query.into_owned().collect(),
                method,
                headers,
                body,
            };
            let mut response = route(&world, &ask);
            let usage = format!("api-usage={}/{}", world.spent(), world.budget().unwrap_or(DAILY));
            if let Ok(usage) = HeaderValue::from_str(&usage) {
                response.headers_mut().insert("sforce-limit-info", usage);
            }
            response
        }
        _ => missing(),
    }
}

fn decoded(part: &str) -> String {
    let form = part.replace('+', "%2B");
    url::form_urlencoded::parse(form.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

fn route(world: &World, ask: &Ask) -> Response {
    let path: Vec<&str> = ask.path.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let method = ask.method.as_str();
    match (method, path.as_slice()) {
        ("GET", []) => Json(json!({
            "query": format!("/services/data/{}/query", ask.version), "limits": format!("/services/data/{}/limits", ask.version),
        }))
        .into_response(),
        ("GET", ["limits"]) => {
            let most = world.budget().unwrap_or(DAILY);
            Json(json!({
                "DailyApiRequests": {"Max": most, "Remaining": most.saturating_sub(world.spent())},
                "DailyBulkV2QueryJobs": {"Max": 10_000, "Remaining": 10_000},
            }))
            .into_response()
        }
        ("GET", ["sobjects"]) => Json(schema::describe_global()).into_response(),
        ("GET", ["sobjects", name, "describe"]) => match schema::object(name).filter(|it| data::is_there(world, it)) {
            Some(object) => Json(object.describe()).into_response(),
            None => missing(),
        },
        ("GET", ["query" | "queryAll"]) => data::query(world, ask, path[0] == "queryAll"),
        ("GET", ["query" | "queryAll", cursor]) => data::more(world, ask, cursor),
        ("POST", ["parameterizedSearch"]) => data::search(world, ask),
        ("POST", ["sobjects", name]) => data::create(world, ask, name),
        ("GET" | "PATCH" | "DELETE", ["sobjects", name, id]) => data::one(world, ask, name, id),
        ("POST" | "PATCH" | "DELETE", ["composite", "sobjects"]) => data::collection(world, ask),
        ("POST", ["composite", "sobjects", name]) => data::retrieve(world, ask, name),
        (_, ["jobs", "ingest", rest @ ..]) => bulk::route(world, ask, method, rest),
        (_, ["limits" | "query" | "queryAll" | "parameterizedSearch" | "sobjects" | "composite", ..]) => error(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            format!("HTTP Method '{method}' not allowed here"),
        ),
        _ => missing(),
    }
}

/// A contact with a task, and a case with an e-mail message.
fn seed(world: &World, person: &Person) {
    let email = person.email.as_str();
    let mine = |mut record: Value| {
        record["_person"] = email.into();
        record
    };
    let contact = data::insert(
        world,
        "Contact",
        mine(json!({
            "FirstName": person.first_name, "LastName": person.last_name, "Email": email, "Phone": person.phone,
            "Customer_Id__c": person.customer_id, "MailingCity": "Musterstadt",
        })),
    );
    data::insert(world, "Task", mine(json!({"WhoId": contact, "Subject": "Call back"})));
    let case = data::insert(world, "Case", mine(json!({"ContactId": contact, "Subject": "Where is my parcel?"})));
    data::insert(
        world,
        "EmailMessage",
        mine(json!({"ParentId": case, "FromAddress": email, "Subject": "Where is my parcel?", "TextBody": "Hello"})),
    );
}

/// Live records that were seeded for this address.
fn count(world: &World, email: &str) -> u64 {
    bulk::settle(world);
    let tables = world.tables();
    let objects = schema::OBJECTS.iter().filter_map(|object| tables.get(object.name));
    objects
        .flatten()
        .filter(|(_, record)| record.get("_person").and_then(Value::as_str) == Some(email) && !data::is_deleted(record))
        .count() as u64
}

/// Puts a record of an object into the org; the answer is its id. `_person` says whose it is for the count.
///
/// # Panics
/// If there is no such object, or the record is none.
pub fn insert(world: &World, object: &str, record: Value) -> String {
    data::insert(world, object, record)
}

/// Ends every session, as Salesforce may at any time.
pub fn end_sessions(world: &World) {
    world.tables().remove("_session");
}

/// Makes a client known that signs in with JWTs signed by the key of this public key (PKCS #1, DER).
pub fn register_key(world: &World, client_id: &str, public_der: &[u8]) {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.encode(public_der);
    world.put("_app", client_id, json!({"public_key": key}));
}

/// Sets how the org differs from the usual: `no_hard_delete` (the permission is missing), `hidden` (an object that the
/// user may not see), `no_person_accounts`.
pub fn set_org(world: &World, key: &str, value: Value) {
    let mut tables = world.tables();
    let org = tables.entry("_org".to_owned()).or_default().entry("org".to_owned()).or_default();
    org.insert(key.to_owned(), value);
}

fn org(world: &World, key: &str) -> Value {
    world.get("_org", "org").and_then(|org| org.get(key).cloned()).unwrap_or_default()
}

/// Locks a record: whoever changes it so many times is refused with `UNABLE_TO_LOCK_ROW`.
pub fn lock(world: &World, id: &str, times: u64) {
    world.put("_lock", id, json!({"times": times}));
}
