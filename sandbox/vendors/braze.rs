//! Braze, users.
//!
//! Its habits: an export takes one kind of identifier, a deletion takes one kind and at most 50 of them and only says how many
//! were queued, one address may be several users (anonymous twins), an attribute update makes a user unless it is told not to,
//! windows follow the clock and the reset header is a moment.

use super::asked::{Asked, KEY, json, router, same, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Allowance, Over};
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Map, Value, json as value};
use std::time::Duration;

/// The simulator.
pub const VENDOR: Vendor = Vendor { name: "braze", router: |world| router(world, desk, refusal, &[]), seed, count };

/// What is allowed for exports since August 2024.
pub fn allowance() -> Allowance {
    Allowance { windows: vec![(250, Duration::from_mins(1))], concurrent: None, budget: None }
}

const IDENTIFIERS: [&str; 3] = ["external_ids", "user_aliases", "braze_ids"];

fn seed(world: &World, person: &Person) {
    let id = format!("{:024x}", world.next_id());
    world.put(
        "users",
        &id,
        value!({
            "braze_id": id, "external_id": person.customer_id, "email": person.email, "phone": person.phone,
            "first_name": person.first_name, "last_name": person.last_name, "created_at": "2026-01-15T08:00:00.000Z",
        }),
    );
}

fn count(world: &World, email: &str) -> u64 {
    world.all("users").iter().filter(|(_, user)| text(user, "email") == email).count() as u64
}

fn fault(status: u16, message: &str) -> Response {
    json(status, &value!({"message": message}))
}

fn refusal(over: Over) -> Response {
    let wait = if let Over::Window(wait) = over { wait.as_secs() + 1 } else { 1 };
    let mut response = fault(429, "You have exceeded the rate limit for this endpoint.");
    let at = World::default().now_ms() / 1_000 + i64::try_from(wait).unwrap_or(1);
    response.headers_mut().insert("x-ratelimit-reset", HeaderValue::from(at));
    response.headers_mut().insert("x-ratelimit-remaining", HeaderValue::from(0));
    response
}

fn desk(world: &World, asked: &Asked) -> Response {
    if !asked.authorized("Bearer", KEY) || world.is_revoked() {
        return fault(401, "Invalid API Key");
    }
    let (method, parts) = asked.route();
    let Some(body) = asked.json().filter(Value::is_object) else {
        return fault(400, "Bad Request: the body is not JSON");
    };
    match (method, parts.as_slice()) {
        ("POST", ["users", "export", "ids"]) => export(world, &body),
        ("POST", ["users", "delete"]) => delete(world, &body),
        ("POST", ["users", "track"]) => track(world, &body),
        _ => fault(404, "Not Found"),
    }
}

fn texts(body: &Value, key: &str) -> Vec<String> {
    let list = body.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn export(world: &World, body: &Value) -> Response {
    let kinds = ["external_ids", "user_aliases", "braze_id", "email_address", "phone", "device_id"];
    let given: Vec<&str> = kinds.into_iter().filter(|kind| body.get(*kind).is_some()).collect();
    let [kind] = given.as_slice() else { return fault(400, "exactly one kind of identifier must be given") };
    let fields = texts(body, "fields_to_export");
    if fields.is_empty() || unknown_key(body, &[kind, "fields_to_export"]).is_some() {
        return fault(400, "fields_to_export is required");
    }
    let ids = texts(body, "external_ids");
    if ids.len() > 50 {
        return fault(400, "at most 50 external_ids");
    }
    let wanted = body.get(*kind).and_then(Value::as_str).unwrap_or_default();
    let is = |user: &Map<String, Value>| match *kind {
        "external_ids" => ids.iter().any(|id| id == text(user, "external_id")),
        "email_address" => same(text(user, "email"), wanted),
        field => text(user, field) == wanted,
    };
    let users: Vec<Value> = world
        .all("users")
        .into_iter()
        .filter(|(_, user)| is(user))
        .map(|(_, user)| Value::Object(user.into_iter().filter(|(field, _)| fields.contains(field)).collect()))
        .collect();
    let invalid: Vec<&String> =
        ids.iter().filter(|id| !world.all("users").iter().any(|(_, user)| text(user, "external_id") == **id)).collect();
    json(200, &value!({"message": "success", "users": users, "invalid_user_ids": invalid}))
}

fn delete(world: &World, body: &Value) -> Response {
    let given: Vec<&str> = IDENTIFIERS.into_iter().filter(|kind| body.get(*kind).is_some()).collect();
    let [kind] = given.as_slice() else { return fault(400, "exactly one kind of identifier must be given") };
    let ids = texts(body, kind);
    if ids.is_empty() || ids.len() > 50 || unknown_key(body, &[kind]).is_some() {
        return fault(400, "one to 50 identifiers must be given");
    }
    let field = if *kind == "braze_ids" { "braze_id" } else { "external_id" };
    let mut tables = world.tables();
    let users = tables.entry("users".into()).or_default();
    let before = users.len();
    users.retain(|_, user| !ids.iter().any(|id| id == text(user, field)));
    json(200, &value!({"message": "success", "deleted": before - users.len()}))
}

fn track(world: &World, body: &Value) -> Response {
    let attributes = body.get("attributes").and_then(Value::as_array).cloned().unwrap_or_default();
    if attributes.is_empty() || attributes.len() > 75 || unknown_key(body, &["attributes"]).is_some() {
        return fault(400, "one to 75 attributes must be given");
    }
    let mut tables = world.tables();
    let users = tables.entry("users".into()).or_default();
    for change in &attributes {
        let Some(change) = change.as_object() else { return fault(400, "attributes are objects") };
        let id = text(change, "braze_id").to_owned();
        let only = change.get("_update_existing_only").and_then(Value::as_bool) == Some(true);
        if !users.contains_key(&id) && only {
            continue;
        }
        let user = users.entry(id).or_default();
        user.extend(change.clone().into_iter().filter(|(field, _)| field != "_update_existing_only"));
    }
    json(201, &value!({"message": "success", "attributes_processed": attributes.len()}))
}
