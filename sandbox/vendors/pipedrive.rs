//! Pipedrive (v2): a search that is fuzzy unless told otherwise, and deletion that only marks for 30 days.
//!
//! From its reference: paths, `exact_match`, the 30 days, the error's shape. From memory: the search's answer, the limit headers.

use super::asked::{Asked, KEY, digits, json, page, plain, router, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::Over;
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "pipedrive", router: |world| router(world, desk, refusal, &[]), seed, count };

const THIRTY_DAYS_MS: i64 = 30 * 86_400_000;

fn seed(world: &World, person: &Person) {
    let id = world.next_id();
    let name = format!("{} {}", person.first_name, person.last_name);
    let record = j!({
        "id": id, "name": name.trim(), "first_name": person.first_name, "last_name": person.last_name,
        "owner_id": 1, "org_id": null, "is_deleted": false, "visible_to": 3, "custom_fields": {},
        "emails": [{ "value": person.email, "primary": true, "label": "work" }],
        "phones": [{ "value": person.phone, "primary": true, "label": "mobile" }],
    });
    world.put("persons", &id.to_string(), record);
}

fn values(record: &Map<String, Value>, list: &str) -> Vec<String> {
    let list = record.get(list).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|entry| entry["value"].as_str()).map(Into::into).collect()
}

fn is_deleted(record: &Map<String, Value>) -> bool {
    record.get("is_deleted") == Some(&Value::Bool(true))
}

fn count(world: &World, email: &str) -> u64 {
    // A person in the bin counts as long as the bin holds the address.
    world.all("persons").iter().filter(|(_, r)| values(r, "emails").iter().any(|value| value == email)).count() as u64
}

fn refusal(over: Over) -> Response {
    let reset = if let Over::Window(wait) = over { wait.as_secs() + 1 } else { 2 };
    let mut response = fault(429, "request over limit");
    response.headers_mut().insert("x-ratelimit-remaining", HeaderValue::from(0));
    response.headers_mut().insert("x-ratelimit-reset", HeaderValue::from(reset));
    response
}

fn fault(status: u16, error: &str) -> Response {
    let info = "Please check developers.pipedrive.com";
    json(status, &j!({ "success": false, "error": error, "error_info": info, "data": null, "additional_data": null }))
}

fn purge(world: &World) {
    let now = world.now_ms();
    let mut tables = world.tables();
    for records in tables.values_mut() {
        records.retain(|_, r| r.get("deleted_ms").and_then(Value::as_i64).is_none_or(|at| now - at < THIRTY_DAYS_MS));
    }
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || asked.header("x-api-token") != Some(KEY) {
        return json(401, &j!({ "success": false, "error": "unauthorized access", "errorCode": 401 }));
    }
    purge(world);
    match asked.route() {
        ("GET", parts) => match parts.as_slice() {
            ["v1", "users", "me"] => json(200, &j!({ "success": true, "data": { "id": 1, "is_admin": 1 } })),
            ["api", "v2", "persons", "search"] => search(world, asked),
            ["api", "v2", "persons", id] => one(world, id),
            ["api", "v2", list @ ("deals" | "activities")] => listed(world, asked, list),
            ["v1", "notes"] => notes(world, asked),
            _ => fault(404, "Not Found"),
        },
        ("PATCH", parts) => match parts.as_slice() {
            ["api", "v2", "persons", id] => update(world, asked, id),
            _ => fault(404, "Not Found"),
        },
        ("DELETE", parts) => match parts.as_slice() {
            ["api", "v2", "persons", id] => mark(world, "persons", id),
            ["v1", "notes", id] => mark(world, "notes", id),
            _ => fault(404, "Not Found"),
        },
        _ => fault(405, "Method not allowed"),
    }
}

fn one(world: &World, id: &str) -> Response {
    match world.get("persons", id).filter(|record| !is_deleted(record)) {
        Some(record) => json(200, &j!({ "success": true, "data": record })),
        None => fault(404, "Person not found"),
    }
}

fn search(world: &World, asked: &Asked) -> Response {
    if let Some(key) = asked.unknown(&["term", "fields", "exact_match", "limit", "cursor", "organization_id"]) {
        return fault(400, &format!("query contains unexpected parameter {key}"));
    }
    let term = asked.get("term").unwrap_or_default().to_lowercase();
    let exact = asked.get("exact_match") == Some("true");
    if term.chars().count() < if exact { 1 } else { 2 } {
        return fault(400, "query.term is too short");
    }
    let fields = asked.get("fields").unwrap_or("name,email,phone,notes,custom_fields");
    let hit = |value: &str| {
        let value = value.to_lowercase();
        if exact { value == term } else { value.contains(&term) }
    };
    let rings = |value: &str| {
        let (value, term) = (digits(value), digits(&term));
        !term.is_empty() && if exact { value == term } else { value.contains(&term) }
    };
    let matches = |record: &Map<String, Value>| {
        fields.split(',').any(|field| match field {
            "email" => values(record, "emails").iter().any(|value| hit(value)),
            "phone" => values(record, "phones").iter().any(|value| rings(value)),
            "name" => hit(text(record, "name")),
            _ => false,
        })
    };
    let found: Vec<Value> = world
        .all("persons")
        .into_iter()
        .filter(|(_, record)| !is_deleted(record) && matches(record))
        .map(|(_, r)| {
            let item = j!({
                "id": r["id"], "type": "person", "name": r["name"], "emails": values(&r, "emails"),
                "phones": values(&r, "phones"), "owner": { "id": 1 }, "custom_fields": [], "notes": [],
            });
            j!({ "result_score": 0.5, "item": item })
        })
        .collect();
    let from = asked.number("cursor").unwrap_or(0);
    let (part, next) = page(&found, from, asked.number("limit").unwrap_or(100).min(500));
    let next = next.map(|next| next.to_string());
    json(200, &j!({ "success": true, "data": { "items": part }, "additional_data": { "next_cursor": next } }))
}

fn listed(world: &World, asked: &Asked, list: &str) -> Response {
    let Some(person) = asked.get("person_id") else { return fault(400, "this sandbox lists by person_id only") };
    let of = |record: &Map<String, Value>| plain(&record["person_id"]) == person && !is_deleted(record);
    let all: Vec<Value> = world.all(list).into_iter().filter(|(_, r)| of(r)).map(|(_, r)| Value::Object(r)).collect();
    let (part, next) = page(&all, asked.number("cursor").unwrap_or(0), asked.number("limit").unwrap_or(100).min(500));
    let next = next.map(|next| next.to_string());
    json(200, &j!({ "success": true, "data": part, "additional_data": { "next_cursor": next } }))
}

fn notes(world: &World, asked: &Asked) -> Response {
    let person = asked.get("person_id").unwrap_or_default();
    let of = |record: &Map<String, Value>| plain(&record["person_id"]) == person && !is_deleted(record);
    let all: Vec<Value> =
        world.all("notes").into_iter().filter(|(_, r)| of(r)).map(|(_, r)| Value::Object(r)).collect();
    let (start, limit) = (asked.number("start").unwrap_or(0), asked.number("limit").unwrap_or(100));
    let (part, next) = page(&all, start, limit);
    let mut pagination = j!({ "start": start, "limit": limit, "more_items_in_collection": next.is_some() });
    if let Some(next) = next {
        pagination["next_start"] = next.into();
    }
    // An empty list is null in v1.
    let data = if all.is_empty() { Value::Null } else { Value::Array(part) };
    json(200, &j!({ "success": true, "data": data, "additional_data": { "pagination": pagination } }))
}

fn update(world: &World, asked: &Asked, id: &str) -> Response {
    let known = ["name", "owner_id", "org_id", "emails", "phones", "visible_to", "label_ids", "custom_fields"];
    let Some(body) = asked.json() else { return fault(400, "the body is not JSON") };
    if let Some(key) = unknown_key(&body, &known) {
        return fault(400, &format!("Parameter '{key}' is not allowed"));
    }
    let mut tables = world.tables();
    let record = tables.get_mut("persons").and_then(|all| all.get_mut(id)).filter(|record| !is_deleted(record));
    let (Some(record), Value::Object(changes)) = (record, body) else { return fault(404, "Person not found") };
    if changes.contains_key("name") {
        record.remove("first_name");
        record.remove("last_name");
    }
    record.extend(changes);
    json(200, &j!({ "success": true, "data": record }))
}

fn mark(world: &World, collection: &str, id: &str) -> Response {
    let now = world.now_ms();
    let mut tables = world.tables();
    match tables.get_mut(collection).and_then(|all| all.get_mut(id)).filter(|record| !is_deleted(record)) {
        Some(record) => {
            record.insert("is_deleted".into(), true.into());
            record.insert("deleted_ms".into(), now.into());
            json(200, &j!({ "success": true, "data": { "id": record["id"] } }))
        }
        None => fault(404, "Not found"),
    }
}
