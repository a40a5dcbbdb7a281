//! ActiveCampaign (v3): `email` is compared whole, `search` by parts of anything, a wrong key is answered with 403.
//!
//! From memory of its reference, except for paths and the header.

use super::asked::{Asked, KEY, digits, json, page, router, same, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, too_many};
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor =
    Vendor { name: "activecampaign", router: |world| router(world, desk, refusal, &[]), seed, count };

/// What hangs on a contact: the path's last part is also the answer's key.
const LISTS: [&str; 7] =
    ["fieldValues", "contactLists", "contactTags", "notes", "bounceLogs", "trackingLogs", "geoIps"];

fn seed(world: &World, person: &Person) {
    let id = world.next_id().to_string();
    let contact = j!({
        "id": id, "email": person.email, "phone": person.phone, "firstName": person.first_name,
        "lastName": person.last_name, "orgid": "0", "deleted": "0", "cdate": "2025-02-07T10:30:00-06:00",
    });
    world.put("contacts", &id, contact);
}

fn count(world: &World, email: &str) -> u64 {
    world.all("contacts").iter().filter(|(_, contact)| text(contact, "email") == email).count() as u64
}

fn refusal(over: Over) -> Response {
    too_many(over)
}

fn fault(status: u16, message: &str) -> Response {
    json(status, &j!({ "message": message }))
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || asked.header("api-token") != Some(KEY) {
        return fault(403, "The request could not be authenticated or the authenticated user is not authorized");
    }
    let (method, parts) = asked.route();
    let ["api", "3", rest @ ..] = parts.as_slice() else { return fault(404, "No route found") };
    match (method, rest) {
        ("GET", ["users", "me"]) => json(200, &j!({ "user": { "id": "1", "username": "owner" } })),
        ("GET", ["contacts"]) => list(world, asked),
        ("GET", ["contacts", id]) => match world.get("contacts", id) {
            Some(contact) => json(200, &j!({ "contact": contact, "contactLists": [], "fieldValues": [] })),
            None => missing(id),
        },
        ("GET", ["contacts", id, list]) if LISTS.contains(list) => match world.get("contacts", id) {
            Some(_) => {
                let of = |record: &Map<String, Value>| text(record, "contact") == *id;
                let all: Vec<Value> =
                    world.all(list).into_iter().filter(|(_, r)| of(r)).map(|(_, r)| Value::Object(r)).collect();
                json(200, &j!({ *list: all }))
            }
            None => missing(id),
        },
        ("PUT", ["contacts", id]) => update(world, asked, id),
        ("DELETE", ["contacts", id]) => world.take("contacts", id).map_or_else(|| missing(id), |_| json(200, &j!({}))),
        _ => fault(404, "No route found"),
    }
}

fn missing(id: &str) -> Response {
    fault(404, &format!("No Result found for Subscriber with id {id}"))
}

fn list(world: &World, asked: &Asked) -> Response {
    if let Some(key) = asked.unknown(&["ids", "email", "email_like", "search", "limit", "offset", "status"]) {
        return fault(400, &format!("unknown filter {key}"));
    }
    let matches = |contact: &Map<String, Value>| {
        let part = |term: &str| {
            let anywhere = ["email", "firstName", "lastName"]
                .iter()
                .any(|field| text(contact, field).to_lowercase().contains(&term.to_lowercase()));
            let number = digits(term);
            anywhere || (number.len() > 5 && digits(text(contact, "phone")).contains(&number))
        };
        asked.get("ids").is_none_or(|ids| ids.split(',').any(|id| id == text(contact, "id")))
            && asked.get("email").is_none_or(|email| same(email, text(contact, "email")))
            && asked.get("search").is_none_or(part)
    };
    let all: Vec<Value> =
        world.all("contacts").into_iter().filter(|(_, c)| matches(c)).map(|(_, c)| Value::Object(c)).collect();
    let limit = asked.number("limit").unwrap_or(20).min(100);
    let (part, _) = page(&all, asked.number("offset").unwrap_or(0), limit);
    // The total is a text.
    json(
        200,
        &j!({ "scoreValues": [], "contacts": part, "meta": { "total": all.len().to_string(), "sortable": true } }),
    )
}

fn update(world: &World, asked: &Asked, id: &str) -> Response {
    let Some(body) = asked.json() else { return fault(400, "the body is not JSON") };
    if unknown_key(&body, &["contact"]).is_some() || !body["contact"].is_object() {
        return fault(422, "contact is missing");
    }
    if let Some(key) = unknown_key(&body["contact"], &["email", "firstName", "lastName", "phone", "fieldValues"]) {
        return fault(422, &format!("{key} is not a field"));
    }
    let mut tables = world.tables();
    let Some(contact) = tables.get_mut("contacts").and_then(|all| all.get_mut(id)) else { return missing(id) };
    if let Value::Object(changes) = &body["contact"] {
        contact.extend(changes.clone());
    }
    json(200, &j!({ "contact": contact }))
}
