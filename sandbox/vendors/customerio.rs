//! Customer.io: people are looked up at one host with a bearer and deleted at another with Basic; suppression deletes and blocks.
//!
//! From its reference: paths, `cio_`, suppress, empty objects as answers. A later update of a deleted person makes them anew; one
//! of a suppressed person is ignored.

use super::asked::{Asked, KEY, json, page, router, same, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, too_many};
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor =
    Vendor { name: "customerio", router: |world| router(world, desk, refusal, &[]), seed, count };

fn seed(world: &World, person: &Person) {
    let cio = format!("a3{:08x}", world.next_id());
    let record = j!({
        "cio_id": cio, "id": person.customer_id, "email": person.email,
        "attributes": { "first_name": person.first_name, "last_name": person.last_name, "phone": person.phone },
    });
    world.put("people", &cio, record);
}

fn count(world: &World, email: &str) -> u64 {
    world.all("people").iter().filter(|(_, person)| text(person, "email") == email).count() as u64
}

fn refusal(over: Over) -> Response {
    too_many(over)
}

fn refused(message: &str) -> Response {
    json(401, &j!({ "meta": { "error": message } }))
}

fn fault(status: u16, message: &str) -> Response {
    json(status, &j!({ "errors": [{ "detail": message, "status": status.to_string() }] }))
}

fn desk(world: &World, asked: &Asked) -> Response {
    let (method, parts) = asked.route();
    if let ["api", "v1", rest @ ..] = parts.as_slice() {
        if world.is_revoked() || asked.basic() != Some((KEY.into(), KEY.into())) {
            return refused("Unauthorized request");
        }
        return track(world, asked, method, rest);
    }
    if world.is_revoked() || !asked.authorized("Bearer", KEY) {
        return json(401, &j!({ "errors": [{ "detail": "unauthorized", "status": "401" }] }));
    }
    match (method, parts.as_slice()) {
        ("GET", ["v1", "workspaces"]) => json(200, &j!({ "workspaces": [{ "id": 1, "name": "sandbox" }] })),
        ("GET", ["v1", "customers"]) => {
            let Some(email) = asked.get("email") else { return fault(400, "email is missing") };
            json(200, &j!({ "results": identifiers(world, |person| same(text(person, "email"), email)) }))
        }
        ("POST", ["v1", "customers"]) => search(world, asked),
        ("GET", ["v1", "customers", id, list]) => about(world, asked, id, list),
        _ => fault(404, "not found"),
    }
}

fn identifiers(world: &World, is: impl Fn(&Map<String, Value>) -> bool) -> Vec<Value> {
    let all = world.all("people").into_iter().filter(|(_, person)| is(person));
    all.map(|(_, p)| j!({ "email": p["email"], "id": p["id"], "cio_id": p["cio_id"] })).collect()
}

fn search(world: &World, asked: &Asked) -> Response {
    let Some(body) = asked.json() else { return fault(400, "the body is not JSON") };
    if unknown_key(&body, &["filter"]).is_some() {
        return fault(422, "unknown key");
    }
    let attribute = &body["filter"]["attribute"];
    let (Some(field), Some("eq"), Some(value)) =
        (attribute["field"].as_str(), attribute["operator"].as_str(), attribute["value"].as_str())
    else {
        return fault(422, "filter is not valid");
    };
    let is = |person: &Map<String, Value>| match field {
        // The look-up forgives capitals; ids that differ in them are different people.
        "id" | "email" => same(text(person, field), value),
        other => person["attributes"].get(other).and_then(Value::as_str) == Some(value),
    };
    let all = identifiers(world, is);
    let (part, next) = page(&all, asked.number("start").unwrap_or(0), asked.number("limit").unwrap_or(100).min(1000));
    let ids: Vec<&Value> = part.iter().map(|person| &person["id"]).collect();
    json(200, &j!({ "identifiers": part, "ids": ids, "next": next.map_or(String::new(), |next| next.to_string()) }))
}

fn about(world: &World, asked: &Asked, id: &str, list: &str) -> Response {
    if asked.get("id_type") != Some("cio_id") {
        return fault(400, "this sandbox is asked by cio_id");
    }
    let Some(person) = world.get("people", id) else { return fault(404, "customer not found") };
    match list {
        "attributes" => {
            let names = j!({ "cio_id": person["cio_id"], "email": person["email"], "id": person["id"] });
            let customer = j!({ "id": person["id"], "identifiers": names, "attributes": person["attributes"] });
            json(200, &j!({ "customer": customer }))
        }
        "messages" | "activities" | "segments" => {
            let of = |record: &Map<String, Value>| text(record, "cio_id") == id;
            let all: Vec<Value> =
                world.all(list).into_iter().filter(|(_, r)| of(r)).map(|(_, r)| Value::Object(r)).collect();
            json(200, &j!({ list: all, "next": "" }))
        }
        _ => fault(404, "not found"),
    }
}

/// The key of the person that a path of the Track API names.
fn named(world: &World, id: &str) -> Option<String> {
    let is = |person: &Map<String, Value>| match id.strip_prefix("cio_") {
        Some(cio) => text(person, "cio_id") == cio,
        None if id.contains('@') => same(text(person, "email"), id),
        None => text(person, "id") == id,
    };
    world.all("people").into_iter().find(|(_, person)| is(person)).map(|(key, _)| key)
}

fn track(world: &World, asked: &Asked, method: &str, rest: &[&str]) -> Response {
    match (method, rest) {
        ("POST", ["customers", id, "suppress"]) => {
            if let Some(person) = named(world, id).and_then(|key| world.take("people", &key)) {
                for name in ["id", "email"] {
                    let value = text(&person, name).to_lowercase();
                    world.put("suppressed", &value, j!({}));
                }
            }
            json(200, &j!({}))
        }
        ("DELETE", ["customers", id]) => {
            let _was_there = named(world, id).and_then(|key| world.take("people", &key));
            json(200, &j!({}))
        }
        ("PUT", ["customers", id]) => {
            let Some(Value::Object(changes)) = asked.json() else {
                return json(400, &j!({ "meta": { "error": "malformed" } }));
            };
            match named(world, id) {
                Some(key) => {
                    let mut tables = world.tables();
                    let person = tables.get_mut("people").and_then(|people| people.get_mut(&key));
                    if let Some(Value::Object(held)) = person.and_then(|person| person.get_mut("attributes")) {
                        held.extend(changes);
                    }
                }
                // Nobody is made from a cio_id, nor from what is suppressed.
                None if id.starts_with("cio_") || world.get("suppressed", &id.to_lowercase()).is_some() => {}
                None => {
                    let cio = format!("a3{:08x}", world.next_id());
                    let email = id.contains('@').then_some(*id);
                    let own = (!id.contains('@')).then_some(*id);
                    let person = j!({ "cio_id": cio, "id": own, "email": email, "attributes": changes });
                    world.put("people", &cio, person);
                }
            }
            json(200, &j!({}))
        }
        _ => json(404, &j!({ "meta": { "error": "not found" } })),
    }
}
