//! Intercom (REST 2.15): several contacts may share an address, conversations and tickets outlive their contact.
//!
//! From its OpenAPI file: paths, search bodies, error lists, `deleted: true`, the version header. From memory: that addresses
//! are compared without regard to case.

use super::asked::{Asked, KEY, json, page, router, same, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::Over;
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "intercom", router: |world| router(world, desk, refusal, &[]), seed, count };

fn seed(world: &World, person: &Person) {
    let id = format!("65f0c0de{:016x}", world.next_id());
    let name = format!("{} {}", person.first_name, person.last_name);
    let contact = j!({
        "type": "contact", "id": id, "role": "user", "external_id": person.customer_id, "email": person.email,
        "phone": person.phone, "name": name.trim(), "custom_attributes": {}, "workspace_id": "sandbox",
    });
    world.put("contacts", &id, contact);
    let conversation = world.next_id().to_string();
    let body = j!({
        "type": "conversation", "id": conversation, "title": null, "state": "closed",
        "contacts": { "type": "contact.list", "contacts": [{ "type": "contact", "id": id }] },
        "source": { "type": "conversation", "body": "Where is my order?", "author": { "type": "user", "id": id, "email": person.email } },
    });
    world.put("conversations", &conversation, body);
}

fn count(world: &World, email: &str) -> u64 {
    let theirs: Vec<String> =
        world.all("contacts").into_iter().filter(|(_, c)| text(c, "email") == email).map(|(id, _)| id).collect();
    let about = |record: &Map<String, Value>| {
        record["source"]["author"]["email"] == email || members(record).any(|id| theirs.iter().any(|own| own == id))
    };
    let kept = ["conversations", "tickets"].iter().flat_map(|name| world.all(name)).filter(|(_, r)| about(r)).count();
    (theirs.len() + kept) as u64
}

fn members(record: &Map<String, Value>) -> impl Iterator<Item = &str> {
    record["contacts"]["contacts"].as_array().into_iter().flatten().filter_map(|contact| contact["id"].as_str())
}

fn refusal(over: Over) -> Response {
    let seconds = if let Over::Window(wait) = over { wait.as_secs() + 1 } else { 10 };
    let now = World::default().now_ms() / 1_000;
    let mut response = fault(429, "rate_limit_exceeded", "Exceeded rate limit");
    response.headers_mut().insert("x-ratelimit-remaining", HeaderValue::from(0));
    response.headers_mut().insert("x-ratelimit-reset", HeaderValue::from(now + seconds as i64));
    response
}

fn fault(status: u16, code: &str, message: &str) -> Response {
    let error = j!({ "code": code, "message": message });
    json(status, &j!({ "type": "error.list", "request_id": "sandbox", "errors": [error] }))
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || !asked.authorized("Bearer", KEY) {
        return fault(401, "unauthorized", "Access Token Invalid");
    }
    if asked.header("intercom-version") != Some("2.15") {
        return fault(400, "intercom_version_invalid", "The requested version could not be found");
    }
    match asked.route() {
        ("GET", parts) if parts == ["me"] => json(200, &j!({ "type": "admin", "id": "1", "app": { "type": "app" } })),
        ("POST", parts) if parts == ["contacts", "search"] => search(world, asked, "contacts", "data", "list"),
        ("POST", parts) if parts == ["conversations", "search"] => {
            search(world, asked, "conversations", "conversations", "conversation.list")
        }
        ("POST", parts) if parts == ["tickets", "search"] => search(world, asked, "tickets", "tickets", "ticket.list"),
        ("GET", parts) if parts == ["events"] => {
            let of = asked.get("intercom_user_id").unwrap_or_default();
            json(200, &j!({ "type": "event.list", "events": hanging(world, "events", of), "pages": { "next": null } }))
        }
        ("GET", parts) => match parts.as_slice() {
            [collection @ ("contacts" | "conversations" | "tickets"), id] => match world.get(collection, id) {
                Some(record) => json(200, &Value::Object(record)),
                None => fault(404, "not_found", "Resource Not Found"),
            },
            ["contacts", id, list @ ("companies" | "notes" | "segments" | "subscriptions" | "tags")] => {
                if world.get("contacts", id).is_none() {
                    return fault(404, "not_found", "User Not Found");
                }
                json(200, &j!({ "type": "list", "data": hanging(world, list, id), "pages": { "type": "pages" } }))
            }
            _ => fault(404, "not_found", "The requested resource could not be found"),
        },
        ("PUT", parts) => match parts.as_slice() {
            ["contacts", id] => update(world, asked, id),
            _ => fault(404, "not_found", "The requested resource could not be found"),
        },
        ("DELETE", parts) => match parts.as_slice() {
            ["contacts", id] => match world.take("contacts", id) {
                Some(contact) => json(
                    200,
                    &j!({ "type": "contact", "id": id, "external_id": contact["external_id"], "deleted": true }),
                ),
                None => fault(404, "not_found", "User Not Found"),
            },
            [collection @ ("conversations" | "tickets"), id] => match world.take(collection, id) {
                Some(_) => json(200, &j!({ "id": id, "object": collection.trim_end_matches('s'), "deleted": true })),
                None => fault(404, "not_found", "Resource Not Found"),
            },
            _ => fault(404, "not_found", "The requested resource could not be found"),
        },
        _ => fault(405, "method_not_allowed", "Method not allowed"),
    }
}

fn hanging(world: &World, list: &str, contact: &str) -> Vec<Value> {
    let of = |record: &Map<String, Value>| text(record, "contact_id") == contact;
    world.all(list).into_iter().filter(|(_, record)| of(record)).map(|(_, record)| Value::Object(record)).collect()
}

fn search(world: &World, asked: &Asked, collection: &str, key: &str, kind: &str) -> Response {
    let Some(body) = asked.json() else { return fault(400, "parameter_invalid", "The body is not JSON") };
    if let Some(key) = unknown_key(&body, &["query", "pagination", "sort"]) {
        return fault(400, "parameter_invalid", &format!("{key} is not a valid parameter"));
    }
    let query = &body["query"];
    let (Some(field), Some("="), Some(value)) =
        (query["field"].as_str(), query["operator"].as_str(), query["value"].as_str())
    else {
        return fault(400, "invalid_query", "The query is not valid");
    };
    let matches = |record: &Map<String, Value>| match (collection, field) {
        ("contacts", "email") => same(text(record, "email"), value),
        ("contacts", "phone" | "external_id" | "id") => text(record, field) == value,
        ("conversations" | "tickets", "contact_ids") => members(record).any(|id| id == value),
        _ => false,
    };
    if !matches!((collection, field), ("contacts", "email" | "phone" | "external_id" | "id") | (_, "contact_ids")) {
        return fault(400, "invalid_field", "The field is not searchable");
    }
    let all: Vec<Value> =
        world.all(collection).into_iter().filter(|(_, r)| matches(r)).map(|(_, r)| Value::Object(r)).collect();
    let size = body["pagination"]["per_page"].as_u64().unwrap_or(20);
    if !(1..=150).contains(&size) {
        return fault(400, "parameter_invalid", "Per Page is too big");
    }
    let from = body["pagination"]["starting_after"].as_str().and_then(|at| at.parse().ok()).unwrap_or(0);
    let (part, next) = page(&all, from, size as usize);
    let mut pages = j!({ "type": "pages", "page": 1, "per_page": size, "total_pages": 1 });
    if let Some(next) = next {
        pages["next"] = j!({ "page": 2, "starting_after": next.to_string() });
    }
    let mut answer = j!({ "type": kind, "total_count": all.len(), "pages": pages });
    answer[key] = Value::Array(part);
    json(200, &answer)
}

fn update(world: &World, asked: &Asked, id: &str) -> Response {
    let known = ["role", "external_id", "email", "phone", "name", "avatar", "custom_attributes", "language_override"];
    let Some(Value::Object(changes)) = asked.json() else {
        return fault(400, "parameter_invalid", "The body is not JSON");
    };
    if let Some(key) = changes.keys().find(|key| !known.contains(&key.as_str())) {
        return fault(400, "parameter_invalid", &format!("{key} is not a valid parameter"));
    }
    let mut tables = world.tables();
    let Some(contact) = tables.get_mut("contacts").and_then(|all| all.get_mut(id)) else {
        return fault(404, "not_found", "User Not Found");
    };
    contact.extend(changes);
    json(200, &Value::Object(contact.clone()))
}
