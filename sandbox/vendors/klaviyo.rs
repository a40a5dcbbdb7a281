//! Klaviyo, revision 2026-07-15.
//!
//! Its habits: a `revision` header is required, bodies are `application/vnd.api+json` and are refused otherwise, searches are
//! expressions (`equals(email,"x")`), a privacy deletion takes exactly one identifier and answers 202 without a body and without
//! a job, for somebody it does not know too.

use super::asked::{Asked, KEY, empty, router, same, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Allowance, Over};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json as value};
use std::time::Duration;

/// The simulator.
pub const VENDOR: Vendor = Vendor { name: "klaviyo", router: |world| router(world, desk, refusal, &[]), seed, count };

/// What is allowed for privacy deletions, the narrowest of its limits.
pub fn allowance() -> Allowance {
    Allowance {
        windows: vec![(75, Duration::from_secs(1)), (700, Duration::from_mins(1))],
        concurrent: None,
        budget: None,
    }
}

const MEDIA: &str = "application/vnd.api+json";

fn seed(world: &World, person: &Person) {
    let id = format!("01K{:023}", world.next_id());
    world.put(
        "profiles",
        &id,
        value!({
            "email": person.email, "phone_number": person.phone, "external_id": person.customer_id,
            "first_name": person.first_name, "last_name": person.last_name, "organization": null, "title": null,
            "created": "2026-01-15T08:00:00+00:00", "updated": "2026-01-15T08:00:00+00:00", "properties": {},
        }),
    );
}

fn count(world: &World, email: &str) -> u64 {
    world.all("profiles").iter().filter(|(_, profile)| text(profile, "email") == email).count() as u64
}

fn api(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", MEDIA)], body.to_string()).into_response()
}

fn fault(status: u16, code: &str, title: &str) -> Response {
    api(
        status,
        &value!({"errors": [{
            "id": "f1b0a3c4-7f0b-4a2e-8d0f-1f7a3a7c0e11", "status": status, "code": code, "title": title,
            "detail": title, "source": {"pointer": "/data/"},
        }]}),
    )
}

fn refusal(over: Over) -> Response {
    let wait = if let Over::Window(wait) = over { wait.as_secs() + 1 } else { 1 };
    let mut response = fault(429, "throttled", "Request was throttled.");
    response.headers_mut().insert("retry-after", HeaderValue::from(wait));
    response
}

fn desk(world: &World, asked: &Asked) -> Response {
    if !asked.authorized("Klaviyo-API-Key", KEY) || world.is_revoked() {
        return fault(401, "not_authenticated", "Authentication credentials were not provided.");
    }
    let dated = |text: &str| text.len() >= 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    if !asked.header("revision").is_some_and(dated) {
        return fault(400, "invalid", "The revision header is required.");
    }
    let (method, parts) = asked.route();
    let sent = method == "POST" || method == "PATCH";
    if sent && asked.header("content-type") != Some(MEDIA) {
        return fault(415, "unsupported_media_type", "Unsupported media type in request.");
    }
    let body: Value = if sent { serde_json::from_slice(&asked.body).unwrap_or_default() } else { Value::Null };
    match (method, parts.as_slice()) {
        ("GET", ["api", "profiles"]) => profiles(world, asked),
        ("GET", ["api", "profiles", id]) => match world.get("profiles", id) {
            Some(profile) => api(200, &value!({"data": shown(id, &profile)})),
            None => fault(404, "not_found", "Not found."),
        },
        ("PATCH", ["api", "profiles", id]) => update(world, id, &body),
        ("GET", ["api", "profiles", id, kind @ ("lists" | "segments")]) => related(world, kind, "profile_id", id),
        ("GET", ["api", "events"]) => match expression(asked.get("filter").unwrap_or_default()) {
            Some((field, values)) if field == "profile_id" && values.len() == 1 => {
                related(world, "events", "profile_id", &values[0])
            }
            _ => fault(400, "invalid", "Invalid filter provided."),
        },
        ("POST", ["api", "data-privacy-deletion-jobs"]) => delete(world, &body),
        _ => fault(404, "not_found", "Not found."),
    }
}

fn shown(id: &str, profile: &Map<String, Value>) -> Value {
    value!({
        "type": "profile", "id": id, "attributes": profile,
        "links": {"self": format!("https://a.klaviyo.com/api/profiles/{id}/")},
    })
}

/// `equals(field,"text")` or `any(field,["text","text"])`.
fn expression(filter: &str) -> Option<(String, Vec<String>)> {
    let (operator, rest) = filter.split_once('(')?;
    let (field, value) = rest.strip_suffix(')')?.split_once(',')?;
    let value: Value = match value.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(text) if !text.contains('\'') => text.into(),
        _ => serde_json::from_str(value).ok()?,
    };
    let values = match (operator, value) {
        ("equals", Value::String(text)) => vec![text],
        ("any", Value::Array(list)) => {
            list.into_iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
        _ => return None,
    };
    Some((field.to_owned(), values))
}

fn profiles(world: &World, asked: &Asked) -> Response {
    let known = ["filter", "page[size]", "page[cursor]", "additional-fields[profile]", "fields[profile]", "sort"];
    if asked.unknown(&known).is_some() {
        return fault(400, "invalid", "Invalid query parameter.");
    }
    let size = asked.number("page[size]").unwrap_or(20);
    let from: usize = asked.get("page[cursor]").map_or(Some(0), |cursor| cursor.parse().ok()).unwrap_or(usize::MAX);
    if !(1..=100).contains(&size) || from == usize::MAX {
        return fault(400, "invalid", "Invalid page.");
    }
    let all = world.all("profiles");
    let found: Vec<Value> = match asked.get("filter") {
        None => all.iter().map(|(id, profile)| shown(id, profile)).collect(),
        Some(filter) => {
            let Some((field, values)) = expression(filter) else {
                return fault(400, "invalid", "Invalid filter provided.");
            };
            if !["id", "email", "phone_number", "external_id"].contains(&field.as_str()) {
                return fault(400, "invalid", "Invalid filter field.");
            }
            let is = |id: &str, profile: &Map<String, Value>| match field.as_str() {
                "id" => values.iter().any(|value| value == id),
                "email" => values.iter().any(|value| same(value, text(profile, "email"))),
                field => values.iter().any(|value| value == text(profile, field)),
            };
            all.iter().filter(|(id, profile)| is(id, profile)).map(|(id, profile)| shown(id, profile)).collect()
        }
    };
    let next = (from + size < found.len()).then(|| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in asked.query.iter().filter(|(name, _)| name != "page[cursor]") {
            query.append_pair(name, value);
        }
        let query = query.append_pair("page[cursor]", &(from + size).to_string()).finish();
        format!("{}/api/profiles?{query}", asked.origin)
    });
    let page: Vec<Value> = found.into_iter().skip(from).take(size).collect();
    api(
        200,
        &value!({"data": page, "links": {"self": format!("{}/api/profiles", asked.origin), "next": next, "prev": null}}),
    )
}

fn related(world: &World, kind: &str, by: &str, id: &str) -> Response {
    let rows = world.all(kind).into_iter().filter(|(_, row)| text(row, by) == id);
    let data: Vec<Value> =
        rows.map(|(key, row)| value!({"type": kind.trim_end_matches('s'), "id": key, "attributes": row})).collect();
    api(200, &value!({"data": data, "links": {"self": "", "next": null, "prev": null}}))
}

fn update(world: &World, id: &str, body: &Value) -> Response {
    let data = body.get("data").unwrap_or(&Value::Null);
    let (Some("profile"), Some(same_id), Some(change)) = (
        data.get("type").and_then(Value::as_str),
        data.get("id").and_then(Value::as_str),
        data.get("attributes").and_then(Value::as_object),
    ) else {
        return fault(400, "invalid", "type, id and attributes are required.");
    };
    if same_id != id {
        return fault(409, "conflict", "The id of the body is not that of the path.");
    }
    let known = [
        "email",
        "phone_number",
        "external_id",
        "first_name",
        "last_name",
        "organization",
        "title",
        "location",
        "properties",
    ];
    if let Some(name) = change.keys().find(|name| !known.contains(&name.as_str())) {
        return fault(400, "invalid", &format!("'{name}' is not a field of the resource 'profile'."));
    }
    let mut tables = world.tables();
    let Some(profile) = tables.get_mut("profiles").and_then(|profiles| profiles.get_mut(id)) else {
        return fault(404, "not_found", "Not found.");
    };
    profile.extend(change.clone());
    api(200, &value!({"data": shown(id, profile)}))
}

fn delete(world: &World, body: &Value) -> Response {
    let data = body.get("data").unwrap_or(&Value::Null);
    let profile = data.pointer("/attributes/profile/data").unwrap_or(&Value::Null);
    let attributes = profile.get("attributes").and_then(Value::as_object);
    let (Some("data-privacy-deletion-job"), Some("profile"), Some(attributes)) =
        (data.get("type").and_then(Value::as_str), profile.get("type").and_then(Value::as_str), attributes)
    else {
        return fault(400, "invalid", "Missing required fields.");
    };
    if unknown_key(profile, &["type", "id", "attributes"]).is_some()
        || attributes.keys().any(|key| key != "email" && key != "phone_number")
    {
        return fault(400, "invalid", "Unknown field.");
    }
    let mut given: Vec<(&str, &str)> =
        attributes.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
    given.extend(profile.get("id").and_then(Value::as_str).map(|id| ("id", id)));
    let [(field, wanted)] = given.as_slice() else {
        return fault(400, "invalid", "Exactly one of email, phone_number or id must be provided.");
    };
    let mut tables = world.tables();
    tables.entry("profiles".into()).or_default().retain(|id, profile| match *field {
        "id" => id != wanted,
        field => !same(text(profile, field), wanted),
    });
    empty(202)
}
