//! Zendesk Support, v2.
//!
//! Its habits: the search for users is a search engine (it finds parts of what was asked for), deleting a user is two calls (the
//! first only hides them), somebody who asked for a ticket that is not closed cannot be deleted, after the second call a shell
//! named "Permanently Deleted User" remains, and the second call has a limit of its own (700 in ten minutes).

use super::asked::{Asked, KEY, empty, json, router, text};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Allowance, Over};
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Map, Value, json as value};
use std::time::Duration;

/// The simulator.
pub const VENDOR: Vendor = Vendor { name: "zendesk", router: |world| router(world, desk, refusal, &[]), seed, count };

/// What a Growth or Professional account allows.
pub fn allowance() -> Allowance {
    Allowance { windows: vec![(400, Duration::from_mins(1))], concurrent: None, budget: None }
}

fn seed(world: &World, person: &Person) {
    let id = world.next_id();
    world.put(
        "users",
        &id.to_string(),
        value!({
            "id": id, "email": person.email, "phone": person.phone, "external_id": person.customer_id,
            "name": format!("{} {}", person.first_name, person.last_name).trim(), "active": true, "role": "end-user",
            "created_at": "2026-01-15T08:00:00Z", "notes": "", "details": "",
        }),
    );
}

fn count(world: &World, email: &str) -> u64 {
    ["users", "deleted_users"]
        .iter()
        .flat_map(|table| world.all(table))
        .filter(|(_, user)| text(user, "email") == email)
        .count() as u64
}

fn fault(status: u16, error: &str, description: &str) -> Response {
    json(status, &value!({"error": error, "description": description}))
}

fn missing() -> Response {
    fault(404, "RecordNotFound", "Not found")
}

fn refusal(over: Over) -> Response {
    let wait = if let Over::Window(wait) = over { wait.as_secs() + 1 } else { 1 };
    let mut response = fault(429, "APIRateLimitExceeded", "Number of allowed API requests per minute exceeded");
    response.headers_mut().insert("retry-after", HeaderValue::from(wait));
    response
}

fn desk(world: &World, asked: &Asked) -> Response {
    let signed_in = asked.basic().is_some_and(|(user, token)| user.ends_with("/token") && token == KEY);
    if !signed_in || world.is_revoked() {
        return json(401, &value!({"error": "Couldn't authenticate you"}));
    }
    let (method, parts) = asked.route();
    let ["api", "v2", rest @ ..] = parts.as_slice() else { return empty(404) };
    match (method, rest) {
        ("GET", ["users", "me"]) => {
            json(200, &value!({"user": {"id": 1, "role": "admin", "email": "admin@shop.example"}}))
        }
        ("GET", ["users", "search"]) => search(world, asked),
        ("GET", ["users", id]) => match world.get("users", id) {
            Some(user) => json(200, &value!({"user": user})),
            None => missing(),
        },
        ("PUT", ["users", id]) => update(world, asked, id),
        ("DELETE", ["users", id]) => hide(world, id),
        ("GET", ["users", id, "identities"]) => identities(world, id),
        ("GET", ["search", "export"]) => tickets(world, asked),
        ("GET", ["users", id, "compliance_deletion_statuses"]) => match world.get("deleted_users", id) {
            Some(_) => json(
                200,
                &value!({"compliance_deletion_statuses": [
                    {"action": "complete", "application": "all", "account_subdomain": "shop", "executer_id": 1,
                     "user_id": id.parse::<u64>().unwrap_or_default(), "created_at": "2026-11-22T08:00:00Z"},
                ]}),
            ),
            None => missing(),
        },
        ("GET", ["deleted_users", id]) => match world.get("deleted_users", id) {
            Some(user) => json(200, &value!({"deleted_user": user})),
            None => missing(),
        },
        ("DELETE", ["deleted_users", id]) => purge(world, id),
        ("GET", ["tickets", id, "comments"]) => match world.get("tickets", id) {
            Some(_) => {
                let of =
                    world.all("comments").into_iter().filter(|(_, row)| row["ticket_id"].as_u64() == id.parse().ok());
                let of: Vec<Value> = of.map(|(_, row)| Value::Object(row)).collect();
                json(200, &value!({"comments": of, "count": of.len(), "next_page": null}))
            }
            None => missing(),
        },
        ("DELETE", ["tickets", id]) => match world.take("tickets", id) {
            Some(ticket) => {
                world.put("deleted_tickets", id, Value::Object(ticket));
                empty(204)
            }
            None => missing(),
        },
        ("DELETE", ["deleted_tickets", id]) => match world.take("deleted_tickets", id) {
            Some(_) => {
                json(200, &value!({"job_status": {"id": "82de0b044094f0c67893ac9fe64f1a99", "status": "queued"}}))
            }
            None => missing(),
        },
        _ => fault(404, "InvalidEndpoint", "Not found"),
    }
}

fn search(world: &World, asked: &Asked) -> Response {
    let known = ["query", "external_id", "page", "per_page"];
    let (query, external) = (asked.get("query"), asked.get("external_id"));
    if asked.unknown(&known).is_some() || (query.is_none() && external.is_none()) {
        return fault(400, "InvalidParameter", "query or external_id is required");
    }
    let word = |text: &str| text.trim_matches('"').replace("\\\"", "\"").replace("\\\\", "\\").to_lowercase();
    let is = |user: &Map<String, Value>| match (external, query.and_then(|query| query.split_once(':'))) {
        (Some(id), _) => text(user, "external_id").eq_ignore_ascii_case(id),
        (_, Some((field @ ("email" | "phone" | "name"), value))) => {
            let (stored, value) = (text(user, field).to_lowercase(), word(value));
            !value.is_empty() && (stored.contains(&value) || value.contains(&stored))
        }
        _ => {
            let value = word(query.unwrap_or_default());
            ["email", "name", "phone"].iter().any(|field| text(user, field).to_lowercase().contains(&value))
        }
    };
    let found: Vec<Value> =
        world.all("users").into_iter().filter(|(_, u)| is(u)).map(|(_, u)| Value::Object(u)).collect();
    let (page, size) =
        (asked.number("page").unwrap_or(1).max(1), asked.number("per_page").unwrap_or(100).clamp(1, 100));
    let next = (page * size < found.len()).then(|| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in asked.query.iter().filter(|(name, _)| name != "page") {
            query.append_pair(name, value);
        }
        format!("{}/api/v2/users/search?{}", asked.origin, query.append_pair("page", &(page + 1).to_string()).finish())
    });
    let part: Vec<Value> = found.iter().skip((page - 1) * size).take(size).cloned().collect();
    json(200, &value!({"users": part, "count": found.len(), "next_page": next, "previous_page": null}))
}

fn update(world: &World, asked: &Asked, id: &str) -> Response {
    let body = asked.json();
    let Some(change) = body.as_ref().and_then(|body| body.get("user")).and_then(Value::as_object) else {
        return fault(422, "RecordInvalid", "Record validation errors");
    };
    let mut tables = world.tables();
    let Some(user) = tables.get_mut("users").and_then(|users| users.get_mut(id)) else { return missing() };
    user.extend(change.clone());
    json(200, &value!({"user": user}))
}

fn hide(world: &World, id: &str) -> Response {
    let open = |ticket: &Map<String, Value>| {
        ticket.get("requester_id").is_some_and(|of| *of == id) && text(ticket, "status") != "closed"
    };
    if world.all("tickets").iter().any(|(_, ticket)| open(ticket)) {
        return fault(422, "RecordInvalid", "Record validation errors");
    }
    let Some(mut user) = world.take("users", id) else { return missing() };
    user.insert("active".into(), false.into());
    world.put("deleted_users", id, Value::Object(user.clone()));
    json(200, &value!({"user": user}))
}

fn purge(world: &World, id: &str) -> Response {
    let mut tables = world.tables();
    let Some(user) = tables.get_mut("deleted_users").and_then(|users| users.get_mut(id)) else { return missing() };
    for field in ["email", "phone", "external_id", "notes", "details"] {
        user.insert(field.into(), Value::Null);
    }
    user.insert("name".into(), "Permanently Deleted User".into());
    json(200, &value!({"deleted_user": user}))
}

fn identities(world: &World, id: &str) -> Response {
    let Some(user) = world.get("users", id) else { return missing() };
    json(
        200,
        &value!({"identities": [
            {"id": 1, "user_id": user["id"], "type": "email", "value": user["email"], "primary": true},
        ]}),
    )
}

/// The search engine again: a number finds longer numbers that begin with it.
fn tickets(world: &World, asked: &Asked) -> Response {
    let known = ["query", "filter[type]", "page[size]", "page[after]"];
    let wanted = asked.get("query").and_then(|query| query.strip_prefix("requester:"));
    let (Some(wanted), Some("ticket"), None) = (wanted, asked.get("filter[type]"), asked.unknown(&known)) else {
        return fault(422, "InvalidParameter", "query and filter[type] are required");
    };
    let of =
        world.all("tickets").into_iter().filter(|(_, ticket)| ticket["requester_id"].to_string().starts_with(wanted));
    let of: Vec<Value> = of.map(|(_, ticket)| Value::Object(ticket)).collect();
    json(200, &value!({"results": of, "meta": {"has_more": false, "after_cursor": null}, "links": {"next": null}}))
}
