//! Iterable, users of one project.
//!
//! Its habits: somebody who is not there is 200 with an empty object, `forget` deletes and blocks the return while DELETE alone
//! lets the user come back, an update makes a user who is not there.

use super::asked::{Asked, KEY, json, router, same, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Allowance, Over};
use axum::response::Response;
use serde_json::{Map, Value, json as value};
use std::time::Duration;

/// The simulator.
pub const VENDOR: Vendor = Vendor { name: "iterable", router: |world| router(world, desk, refusal, &[]), seed, count };

/// What is allowed for `forget`.
pub fn allowance() -> Allowance {
    Allowance { windows: vec![(3, Duration::from_secs(1))], concurrent: None, budget: None }
}

fn seed(world: &World, person: &Person) {
    let id = world.next_id().to_string();
    world.put(
        "users",
        &id,
        value!({
            "email": person.email, "userId": person.customer_id,
            "dataFields": {
                "email": person.email, "userId": person.customer_id, "firstName": person.first_name,
                "lastName": person.last_name, "phoneNumber": person.phone,
            },
        }),
    );
}

fn count(world: &World, email: &str) -> u64 {
    world.all("users").iter().filter(|(_, user)| text(user, "email") == email).count() as u64
}

fn fault(status: u16, code: &str, message: &str) -> Response {
    json(status, &value!({"code": code, "msg": message, "params": null}))
}

fn refusal(_: Over) -> Response {
    fault(429, "RateLimitExceeded", "Rate limit exceeded")
}

fn desk(world: &World, asked: &Asked) -> Response {
    if asked.header("api-key") != Some(KEY) || world.is_revoked() {
        return fault(401, "BadApiKey", "Invalid API key");
    }
    let (method, parts) = asked.route();
    match (method, parts.as_slice()) {
        ("GET", ["api", "lists"]) => json(200, &value!({"lists": []})),
        ("GET", ["api", "users", "byUserId", id]) => shown(world, |user| text(user, "userId") == *id),
        ("GET", ["api", "users", email]) => shown(world, |user| same(text(user, "email"), email)),
        ("GET", ["api", "events", email]) => {
            let of = world.all("events").into_iter().filter(|(_, row)| same(text(row, "email"), email));
            json(200, &value!({"events": of.map(|(_, row)| Value::Object(row)).collect::<Vec<_>>()}))
        }
        ("POST", ["api", "users", "forget"]) => forget(world, asked),
        ("POST", ["api", "users", "update"]) => update(world, asked),
        _ => fault(404, "NotFound", "Not found"),
    }
}

fn shown(world: &World, is: impl Fn(&Map<String, Value>) -> bool) -> Response {
    match world.all("users").into_iter().find(|(_, user)| is(user)) {
        Some((_, user)) => json(200, &value!({"user": user})),
        None => json(200, &value!({})),
    }
}

fn forget(world: &World, asked: &Asked) -> Response {
    let Some(body) = asked.json() else { return fault(400, "BadJsonBody", "Invalid JSON body") };
    let (email, id) = (body.get("email").and_then(Value::as_str), body.get("userId").and_then(Value::as_str));
    if unknown_key(&body, &["email", "userId"]).is_some() || email.is_some() == id.is_some() {
        return fault(400, "BadParams", "Either email or userId must be given");
    }
    let mut tables = world.tables();
    tables.entry("users".into()).or_default().retain(|_, user| match (email, id) {
        (Some(email), _) => !same(text(user, "email"), email),
        (_, id) => Some(text(user, "userId")) != id,
    });
    drop(tables);
    world.put("forgotten", &email.or(id).unwrap_or_default().to_lowercase(), value!({}));
    fault(200, "Success", "")
}

fn update(world: &World, asked: &Asked) -> Response {
    let Some(body) = asked.json() else { return fault(400, "BadJsonBody", "Invalid JSON body") };
    let known = ["email", "userId", "dataFields", "mergeNestedObjects", "createNewFields", "preferUserId"];
    let (Some(email), None) = (body.get("email").and_then(Value::as_str), unknown_key(&body, &known)) else {
        return fault(400, "BadParams", "email is required");
    };
    let mut tables = world.tables();
    let users = tables.entry("users".into()).or_default();
    let user = users.values_mut().find(|user| same(text(user, "email"), email));
    if let (Some(user), Some(change)) = (user, body.get("dataFields").and_then(Value::as_object))
        && let Some(Value::Object(fields)) = user.get_mut("dataFields")
    {
        fields.extend(change.clone());
    }
    fault(200, "Success", "")
}
