//! Twilio SendGrid, v3.
//!
//! Its habits: a search for contacts answers with an object keyed by what was asked for, 404 if nobody was found and an error
//! in the place of each that was not; contacts and what is kept of sent mail are two stores with a deletion each; both
//! deletions are jobs (202); `delete_all_contacts` deletes everybody.

use super::asked::{Asked, KEY, json, router, same, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Allowance, Over};
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Map, Value, json as value};
use std::time::Duration;

/// The simulator.
pub const VENDOR: Vendor = Vendor { name: "sendgrid", router: |world| router(world, desk, refusal, &[]), seed, count };

/// What is allowed for erasures.
pub fn allowance() -> Allowance {
    Allowance { windows: vec![(100, Duration::from_mins(1))], concurrent: None, budget: None }
}

fn seed(world: &World, person: &Person) {
    let id = format!("{:08}-0000-4000-8000-000000000000", world.next_id());
    world.put(
        "contacts",
        &id,
        value!({
            "id": id, "email": person.email, "alternate_emails": [], "first_name": person.first_name,
            "last_name": person.last_name, "phone_number": person.phone, "phone_number_id": person.phone,
            "external_id": person.customer_id, "anonymous_id": "", "address_line_1": "", "city": "", "country": "",
            "list_ids": [], "segment_ids": [], "custom_fields": {}, "created_at": "2026-01-15T08:00:00Z",
        }),
    );
    world.put("mail", &id, value!({"to_email": person.email, "subject": "Welcome"}));
}

/// Contacts, and what is kept of mail that was sent.
fn count(world: &World, email: &str) -> u64 {
    world.all("contacts").iter().filter(|(_, contact)| text(contact, "email") == email).count() as u64
}

fn fault(status: u16, message: &str, field: Option<&str>) -> Response {
    json(status, &value!({"errors": [{"message": message, "field": field}]}))
}

fn refusal(over: Over) -> Response {
    let wait = if let Over::Window(wait) = over { wait.as_secs() + 1 } else { 1 };
    let mut response = fault(429, "too many requests", None);
    response.headers_mut().insert("x-ratelimit-reset", HeaderValue::from(wait));
    response
}

fn desk(world: &World, asked: &Asked) -> Response {
    if !asked.authorized("Bearer", KEY) || world.is_revoked() {
        return fault(401, "The provided authorization grant is invalid, expired, or revoked", None);
    }
    let (method, parts) = asked.route();
    match (method, parts.as_slice()) {
        ("GET", ["v3", "marketing", "contacts", "count"]) => {
            json(200, &value!({"contact_count": world.all("contacts").len(), "billable_count": 0}))
        }
        ("POST", ["v3", "marketing", "contacts", "search", "emails"]) => search(world, asked, "email", "emails"),
        ("POST", ["v3", "marketing", "contacts", "search", "identifiers", by]) => {
            search(world, asked, by, "identifiers")
        }
        ("GET", ["v3", "marketing", "contacts", id]) => match world.get("contacts", id) {
            Some(contact) => json(200, &Value::Object(contact)),
            None => fault(404, "contact not found", None),
        },
        ("PUT", ["v3", "marketing", "contacts"]) => upsert(world, asked),
        ("DELETE", ["v3", "marketing", "contacts"]) => delete(world, asked),
        ("POST", ["v3", "recipients", "erasejob"]) => erase(world, asked),
        ("GET", ["v3", "asm", "suppressions", email]) => {
            let held = world.get("groups", &email.to_lowercase());
            json(200, &value!({"suppressions": held.into_iter().map(Value::Object).collect::<Vec<_>>()}))
        }
        ("GET", ["v3", "suppression", list @ ("bounces" | "blocks" | "invalid_emails" | "spam_reports"), email]) => {
            let held = world.get(list, &email.to_lowercase());
            json(200, &Value::Array(held.into_iter().map(Value::Object).collect()))
        }
        _ => fault(404, "not found", None),
    }
}

fn search(world: &World, asked: &Asked, by: &str, key: &str) -> Response {
    let Some(body) = asked.json() else { return fault(400, "invalid JSON", None) };
    let wanted: Option<Vec<String>> = body
        .get(key)
        .and_then(Value::as_array)
        .and_then(|list| list.iter().map(|v| v.as_str().map(str::to_owned)).collect());
    let wanted = wanted.filter(|wanted| (1..=100).contains(&wanted.len()));
    let (Some(wanted), None) = (wanted, unknown_key(&body, &[key])) else {
        return fault(400, "one to 100 identifiers are required", Some(key));
    };
    if !["email", "phone_number_id", "external_id", "anonymous_id"].contains(&by) {
        return fault(400, "invalid identifier type", None);
    }
    let is = |contact: &Map<String, Value>, wanted: &str| match by {
        "email" => {
            same(text(contact, "email"), wanted)
                || contact["alternate_emails"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|v| v.as_str().is_some_and(|v| same(v, wanted))))
        }
        field => text(contact, field) == wanted,
    };
    let mut result = Map::new();
    let mut any = false;
    for wanted in wanted {
        let of = world.all("contacts").into_iter().find(|(_, contact)| is(contact, &wanted));
        any |= of.is_some();
        let entry = of.map_or_else(|| value!({"error": "contact not found"}), |(_, c)| value!({"contact": c}));
        result.insert(wanted, entry);
    }
    if any { json(200, &value!({"result": result})) } else { fault(404, "contact not found", None) }
}

fn upsert(world: &World, asked: &Asked) -> Response {
    let Some(body) = asked.json() else { return fault(400, "invalid JSON", None) };
    let contacts = body.get("contacts").and_then(Value::as_array).cloned().unwrap_or_default();
    if contacts.is_empty() || unknown_key(&body, &["contacts", "list_ids"]).is_some() {
        return fault(400, "contacts are required", Some("contacts"));
    }
    let mut tables = world.tables();
    let held = tables.entry("contacts".into()).or_default();
    for change in contacts {
        let Some(email) = change.get("email").and_then(Value::as_str) else {
            return fault(400, "an identifier is required", Some("contacts"));
        };
        let known = held.values_mut().find(|contact| same(text(contact, "email"), email));
        if let (Some(contact), Value::Object(change)) = (known, &change) {
            contact.extend(change.clone().into_iter().filter(|(field, _)| field != "email"));
        }
    }
    json(202, &value!({"job_id": "3fb7a9c0-0000-4000-8000-000000000001"}))
}

fn delete(world: &World, asked: &Asked) -> Response {
    if asked.unknown(&["ids", "delete_all_contacts"]).is_some() {
        return fault(400, "unknown parameter", None);
    }
    let mut tables = world.tables();
    let contacts = tables.entry("contacts".into()).or_default();
    if asked.get("delete_all_contacts") == Some("true") {
        contacts.clear();
    } else {
        let Some(ids) = asked.get("ids").filter(|ids| !ids.is_empty()) else {
            return fault(400, "either ids or delete_all_contacts must be set", Some("ids"));
        };
        ids.split(',').for_each(|id| drop(contacts.remove(id)));
    }
    json(202, &value!({"job_id": "3fb7a9c0-0000-4000-8000-000000000002"}))
}

fn erase(world: &World, asked: &Asked) -> Response {
    let Some(body) = asked.json() else { return fault(400, "invalid JSON", None) };
    let emails: Option<Vec<&str>> =
        body.get("email_addresses").and_then(Value::as_array).and_then(|all| all.iter().map(Value::as_str).collect());
    let fits = |emails: &Vec<&str>| (1..=5_000).contains(&emails.len()) && asked.body.len() <= 256 << 10;
    let Some(emails) = emails.filter(fits) else {
        return fault(400, "one to 5,000 addresses, at most 256 KB", Some("email_addresses"));
    };
    let mut tables = world.tables();
    tables.entry("mail".into()).or_default().retain(|_, mail| !emails.iter().any(|e| same(e, text(mail, "to_email"))));
    drop(tables);
    for email in emails {
        world.put("erased", &email.to_lowercase(), value!({}));
    }
    json(202, &value!({"job_id": "3fb7a9c0-0000-4000-8000-000000000003"}))
}
