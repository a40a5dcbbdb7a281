//! Brevo (v3): one contact per address, looked up by a typed identifier, and a mail log deleted by address.
//!
//! From its reference: paths, `identifierType`, 204 for changes, `x-sib-ratelimit-reset` in seconds. From memory: error codes.

use super::asked::{Asked, KEY, digits, empty, json, page, plain, router, same, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::Over;
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "brevo", router: |world| router(world, desk, refusal, &[]), seed, count };

fn seed(world: &World, person: &Person) {
    let id = world.next_id();
    let contact = j!({
        "id": id, "email": person.email, "emailBlacklisted": false, "smsBlacklisted": false, "listIds": [2],
        "createdAt": "2024-05-02T16:40:31+02:00", "modifiedAt": "2024-05-02T16:40:31+02:00",
        "attributes": {
            "FIRSTNAME": person.first_name, "LASTNAME": person.last_name, "EXT_ID": person.customer_id,
            "SMS": digits(&person.phone),
        },
        "statistics": {},
    });
    world.put("contacts", &id.to_string(), contact);
    let mail = world.next_id().to_string();
    let body = j!({
        "email": person.email, "subject": "Your order", "messageId": format!("<{mail}@relay.example>"), "uuid": mail,
        "date": "2026-11-20T10:00:00Z", "from": "shop@shop.example", "tags": [],
    });
    world.put("mails", &mail, body);
}

fn count(world: &World, email: &str) -> u64 {
    ["contacts", "mails"].iter().flat_map(|list| world.all(list)).filter(|(_, r)| text(r, "email") == email).count()
        as u64
}

fn refusal(over: Over) -> Response {
    let seconds = if let Over::Window(wait) = over { wait.as_secs() + 1 } else { 60 };
    let mut response = fault(429, "too_many_requests", "You have exceeded your request rate");
    response.headers_mut().insert("x-sib-ratelimit-remaining", HeaderValue::from(0));
    response.headers_mut().insert("x-sib-ratelimit-reset", HeaderValue::from(seconds));
    response
}

fn fault(status: u16, code: &str, message: &str) -> Response {
    json(status, &j!({ "code": code, "message": message }))
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || asked.header("api-key") != Some(KEY) {
        return fault(401, "unauthorized", "Key not found");
    }
    let (method, parts) = asked.route();
    let ["v3", rest @ ..] = parts.as_slice() else { return fault(404, "not_found", "Route not found") };
    match (method, rest) {
        ("GET", ["account"]) => json(200, &j!({ "email": "owner@shop.example", "plan": [] })),
        (_, ["contacts", id]) => match (strange(asked), key(world, asked, id)) {
            (Some(refused), _) => refused,
            (None, Some(key)) => contact(world, asked, &key),
            (None, None) => fault(404, "document_not_found", "Contact does not exist"),
        },
        ("GET", ["smtp", "emails"]) => mails(world, asked),
        ("DELETE", ["smtp", "log", of]) => unlog(world, of),
        _ => fault(404, "not_found", "Route not found"),
    }
}

/// A refusal of parameters that do not exist.
fn strange(asked: &Asked) -> Option<Response> {
    let kinds = ["email_id", "contact_id", "ext_id", "phone_id"];
    let kind = asked.get("identifierType").unwrap_or("email_id");
    let unknown = asked.unknown(&["identifierType", "startDate", "endDate"]).is_some() || !kinds.contains(&kind);
    unknown.then(|| fault(400, "invalid_parameter", "identifierType is not valid"))
}

fn contact(world: &World, asked: &Asked, key: &str) -> Response {
    match asked.method.as_str() {
        "GET" => world.get("contacts", key).map_or_else(|| empty(404), |contact| json(200, &Value::Object(contact))),
        "PUT" => update(world, asked, key),
        "DELETE" => world.take("contacts", key).map_or_else(|| empty(404), |_| empty(204)),
        _ => fault(405, "method_not_allowed", "Method not allowed"),
    }
}

/// The key of the contact that an identifier of this type names.
fn key(world: &World, asked: &Asked, id: &str) -> Option<String> {
    let kind = asked.get("identifierType").unwrap_or("email_id");
    let attribute = |record: &Map<String, Value>, name: &str| {
        record["attributes"].get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let is = |record: &Map<String, Value>| match kind {
        "email_id" => same(text(record, "email"), id),
        "contact_id" => plain(&record["id"]) == id,
        "ext_id" => attribute(record, "EXT_ID") == id,
        // A number is stored without plus; zeros in front of the country code are taken off.
        _ => attribute(record, "SMS") == digits(id.trim_start_matches("00")),
    };
    world.all("contacts").into_iter().find(|(_, record)| is(record)).map(|(key, _)| key)
}

fn update(world: &World, asked: &Asked, key: &str) -> Response {
    let Some(body) = asked.json() else { return fault(400, "bad_request", "Input must be a valid JSON object") };
    let known = ["attributes", "ext_id", "emailBlacklisted", "smsBlacklisted", "listIds", "unlinkListIds"];
    if let Some(key) = unknown_key(&body, &known) {
        return fault(400, "invalid_parameter", &format!("{key} is not allowed"));
    }
    let mut tables = world.tables();
    let Some(contact) = tables.get_mut("contacts").and_then(|all| all.get_mut(key)) else {
        return fault(404, "document_not_found", "Contact does not exist");
    };
    if let (Some(Value::Object(held)), Value::Object(new)) = (contact.get_mut("attributes"), &body["attributes"]) {
        held.extend(new.clone());
    }
    empty(204)
}

fn mails(world: &World, asked: &Asked) -> Response {
    if let Some(key) = asked.unknown(&["email", "messageId", "startDate", "endDate", "sort", "limit", "offset"]) {
        return fault(400, "invalid_parameter", &format!("{key} is not allowed"));
    }
    let Some(email) = asked.get("email") else { return fault(400, "missing_parameter", "email is missing") };
    let limit = asked.number("limit").unwrap_or(500);
    if !(1..=1000).contains(&limit) {
        return fault(400, "out_of_range", "limit exceeds max value");
    }
    let all: Vec<Value> = world
        .all("mails")
        .into_iter()
        .filter(|(_, mail)| same(text(mail, "email"), email))
        .map(|(_, mail)| Value::Object(mail))
        .collect();
    let (part, _) = page(&all, asked.number("offset").unwrap_or(0), limit);
    json(200, &j!({ "count": all.len(), "transactionalEmails": part }))
}

fn unlog(world: &World, of: &str) -> Response {
    let mut tables = world.tables();
    let Some(mails) = tables.get_mut("mails") else { return empty(204) };
    let before = mails.len();
    mails.retain(|_, mail| !same(text(mail, "email"), of) && text(mail, "messageId") != of);
    if mails.len() == before { fault(404, "document_not_found", "Log does not exist") } else { empty(204) }
}
