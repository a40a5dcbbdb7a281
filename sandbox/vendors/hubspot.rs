//! HubSpot CRM, contacts, with date versions in the path.
//!
//! Its habits: the search's index lags behind what was written (`settings`/`lag_ms`, none unless a test sets it), search answers
//! carry no rate headers, a batch read of somebody who is not there is 207 with an error for that input, `gdpr-delete` answers
//! 204 and puts an unknown address on a block list, a 429 names its policy, `CONTAINS_TOKEN` finds parts of a value.

use super::asked::{Asked, KEY, empty, json, router, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Allowance, Over};
use axum::response::Response;
use serde_json::{Map, Value, json as value};
use std::time::Duration;

/// The simulator.
pub const VENDOR: Vendor = Vendor { name: "hubspot", router: |world| router(world, desk, refusal, &[]), seed, count };

/// What a free or starter account allows.
pub fn allowance() -> Allowance {
    Allowance { windows: vec![(100, Duration::from_secs(10))], concurrent: None, budget: Some(250_000) }
}

fn seed(world: &World, person: &Person) {
    let id = world.next_id().to_string();
    world.put(
        "contacts",
        &id,
        value!({
            "id": id, "archived": false, "createdAt": "2026-01-15T08:00:00Z", "updatedAt": "2026-01-15T08:00:00Z",
            "properties": {
                "email": person.email, "firstname": person.first_name, "lastname": person.last_name,
                "phone": person.phone, "hs_object_id": id, "hs_additional_emails": null,
                "customer_id": person.customer_id, "createdate": "2026-01-15T08:00:00Z",
            },
        }),
    );
}

fn count(world: &World, email: &str) -> u64 {
    let contacts = world.all("contacts").into_iter();
    contacts.filter(|(_, contact)| property(contact, "email") == Some(email)).count() as u64
}

fn refusal(over: Over) -> Response {
    let (policy, message) = match over {
        Over::Budget => ("DAILY", "You have reached your daily limit."),
        Over::Concurrent => ("SECONDLY", "You have reached your secondly limit."),
        Over::Window(_) => ("TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit."),
    };
    json(
        429,
        &value!({
            "status": "error", "message": message, "errorType": "RATE_LIMIT", "policyName": policy,
            "correlationId": "c033cdaa-2c40-4a64-ae48-b4cec88dad24",
        }),
    )
}

fn fault(status: u16, category: &str, message: &str) -> Response {
    json(
        status,
        &value!({
            "status": "error", "message": message, "category": category,
            "correlationId": "c033cdaa-2c40-4a64-ae48-b4cec88dad24",
        }),
    )
}

fn property<'c>(contact: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    contact.get("properties")?.get(name)?.as_str()
}

fn desk(world: &World, asked: &Asked) -> Response {
    if !asked.authorized("Bearer", KEY) || world.is_revoked() {
        return fault(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.");
    }
    let (method, parts) = asked.route();
    let rest: &[&str] = match parts.as_slice() {
        ["crm", "objects", "2026-03" | "2026-09", rest @ ..] | ["crm", "v3", "objects", rest @ ..] => rest,
        ["communication-preferences", "2026-03" | "2026-09" | "v4", "statuses", email] if method == "GET" => {
            return statuses(world, asked, email);
        }
        _ => return empty(404),
    };
    match (method, rest) {
        ("POST", ["contacts", "search"]) => search(world, asked),
        ("POST", ["contacts", "batch", "read"]) => batch_read(world, asked),
        ("POST", ["contacts", "gdpr-delete"]) => purge(world, asked),
        ("GET", ["contacts"]) => list(world, asked),
        ("GET", ["contacts", id]) => match world.get("contacts", id) {
            Some(contact) => json(200, &shown(&contact, &asked.get("properties").map_or_else(Vec::new, comma))),
            None => fault(404, "OBJECT_NOT_FOUND", "resource not found"),
        },
        ("PATCH", ["contacts", id]) => update(world, asked, id),
        ("DELETE", ["contacts", id]) => {
            if let Some(contact) = world.take("contacts", id) {
                world.put("archived", id, Value::Object(contact));
            }
            empty(204)
        }
        (_, ["contacts", ..]) => empty(405),
        _ => empty(404),
    }
}

fn comma(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn texts(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn shown(contact: &Map<String, Value>, wanted: &[String]) -> Value {
    let always = ["createdate", "email", "firstname", "hs_object_id", "lastname"];
    let mut contact = contact.clone();
    if let Some(Value::Object(properties)) = contact.get_mut("properties") {
        properties.retain(|name, _| always.contains(&name.as_str()) || wanted.contains(name));
    }
    Value::Object(contact)
}

fn search(world: &World, asked: &Asked) -> Response {
    let invalid = |message: &str| fault(400, "VALIDATION_ERROR", message);
    let Some(body) = asked.json() else { return invalid("Invalid input JSON") };
    if let Some(key) = unknown_key(&body, &["query", "limit", "after", "sorts", "properties", "filterGroups"]) {
        return invalid(&format!("unknown key {key}"));
    }
    let groups = body.get("filterGroups").and_then(Value::as_array).cloned().unwrap_or_default();
    let limit = body.get("limit").and_then(Value::as_u64).unwrap_or(10) as usize;
    if groups.len() > 5 || limit > 200 {
        return invalid("too many filterGroups, or limit over 200");
    }
    let mut tests = Vec::new();
    for group in &groups {
        let filters = group.get("filters").and_then(Value::as_array).cloned().unwrap_or_default();
        if filters.is_empty() || filters.len() > 6 || unknown_key(group, &["filters"]).is_some() {
            return invalid("each group has one to six filters");
        }
        tests.push(filters);
    }
    let lag = world.get("settings", "lag_ms").and_then(|row| row.get("value").and_then(Value::as_i64)).unwrap_or(0);
    let now = world.now_ms();
    let mut index = world.all("contacts");
    index.extend(world.all("purged").into_iter().filter(|(_, contact)| {
        lag > 0 && contact.get("purged_ms").and_then(Value::as_i64).is_some_and(|at| at + lag > now)
    }));
    let mut found = Vec::new();
    for (_, contact) in &index {
        let mut any = groups.is_empty();
        for filters in &tests {
            let mut all = true;
            for filter in filters {
                match holds(contact, filter) {
                    Ok(yes) => all &= yes,
                    Err(message) => return invalid(message),
                }
            }
            any |= all;
        }
        if any {
            found.push(shown(contact, &texts(body.get("properties"))));
        }
    }
    let after: usize = match body.get("after").map(|after| after.as_str().unwrap_or_default().parse()) {
        None => 0,
        Some(Ok(after)) => after,
        Some(Err(_)) => return invalid("after is not a position"),
    };
    let page: Vec<Value> = found.iter().skip(after).take(limit).cloned().collect();
    let mut answer = value!({"total": found.len(), "results": page});
    if after + limit < found.len() {
        answer["paging"] = value!({"next": {"after": (after + limit).to_string()}});
    }
    json(200, &answer)
}

fn holds(contact: &Map<String, Value>, filter: &Value) -> Result<bool, &'static str> {
    if unknown_key(filter, &["propertyName", "operator", "value", "values", "highValue"]).is_some() {
        return Err("unknown key in a filter");
    }
    let name = filter.get("propertyName").and_then(Value::as_str).ok_or("propertyName is required")?;
    let stored = property(contact, name).unwrap_or_default().to_lowercase();
    let value = filter.get("value").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    match filter.get("operator").and_then(Value::as_str) {
        Some("EQ") => Ok(!stored.is_empty() && stored == value),
        Some("IN") => Ok(texts(filter.get("values")).contains(&stored)),
        Some("CONTAINS_TOKEN") => Ok(!value.is_empty() && stored.contains(value.trim_matches('*'))),
        Some("HAS_PROPERTY") => Ok(!stored.is_empty()),
        _ => Err("operator is not supported"),
    }
}

fn batch_read(world: &World, asked: &Asked) -> Response {
    let invalid = |message: &str| fault(400, "VALIDATION_ERROR", message);
    let Some(body) = asked.json() else { return invalid("Invalid input JSON") };
    if let Some(key) = unknown_key(&body, &["inputs", "properties", "propertiesWithHistory", "idProperty"]) {
        return invalid(&format!("unknown key {key}"));
    }
    let (Some(inputs), Some(_), Some(_)) = (
        body.get("inputs").and_then(Value::as_array),
        body.get("properties").and_then(Value::as_array),
        body.get("propertiesWithHistory").and_then(Value::as_array),
    ) else {
        return invalid("inputs, properties and propertiesWithHistory are required");
    };
    if inputs.len() > 100 {
        return invalid("at most 100 inputs");
    }
    let by = body.get("idProperty").and_then(Value::as_str).unwrap_or("hs_object_id");
    let wanted = texts(body.get("properties"));
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    for input in inputs {
        let Some(id) = input.get("id").and_then(Value::as_str) else { return invalid("each input has an id") };
        let same = |contact: &Map<String, Value>| {
            let second = property(contact, "hs_additional_emails").unwrap_or_default();
            property(contact, by).is_some_and(|stored| stored.to_lowercase() == id.to_lowercase())
                || (by == "email" && second.split(';').any(|email| email.to_lowercase() == id.to_lowercase()))
        };
        let before = results.len();
        results.extend(
            world
                .all("contacts")
                .iter()
                .filter(|(_, contact)| same(contact))
                .map(|(_, contact)| shown(contact, &wanted)),
        );
        if results.len() == before {
            missing.push(id.to_owned());
        }
    }
    let mut answer = value!({
        "status": "COMPLETE", "results": results,
        "startedAt": "2026-11-22T08:00:00Z", "completedAt": "2026-11-22T08:00:00Z",
    });
    if missing.is_empty() {
        return json(200, &answer);
    }
    answer["numErrors"] = 1.into();
    answer["errors"] = value!([{
        "status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": missing},
        "message": "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.",
    }]);
    json(207, &answer)
}

fn purge(world: &World, asked: &Asked) -> Response {
    let Some(body) = asked.json() else { return fault(400, "VALIDATION_ERROR", "Invalid input JSON") };
    let Some(id) = body.get("objectId").and_then(Value::as_str) else {
        return fault(400, "VALIDATION_ERROR", "objectId is required");
    };
    if unknown_key(&body, &["objectId", "idProperty"]).is_some() {
        return fault(400, "VALIDATION_ERROR", "unknown key");
    }
    let key = match body.get("idProperty").and_then(Value::as_str) {
        None => Some(id.to_owned()),
        Some(by) => {
            let contacts = world.all("contacts").into_iter();
            let mut of = contacts.filter(|(_, contact)| property(contact, by) == Some(id)).map(|(key, _)| key);
            of.next()
        }
    };
    match key.as_ref().and_then(|key| world.take("contacts", key).map(|contact| (key, contact))) {
        Some((key, mut contact)) => {
            contact.insert("purged_ms".into(), world.now_ms().into());
            world.put("purged", key, Value::Object(contact));
            empty(204)
        }
        None if body.get("idProperty").is_some() => {
            world.put("blocked", id, value!({"email": id}));
            empty(204)
        }
        None => fault(404, "OBJECT_NOT_FOUND", "resource not found"),
    }
}

fn list(world: &World, asked: &Asked) -> Response {
    let limit = asked.number("limit").unwrap_or(10).min(100);
    let results: Vec<Value> =
        world.all("contacts").iter().take(limit).map(|(_, contact)| shown(contact, &[])).collect();
    json(200, &value!({"results": results}))
}

fn update(world: &World, asked: &Asked, id: &str) -> Response {
    let body = asked.json();
    let Some(change) = body.as_ref().and_then(|body| body.get("properties")).and_then(Value::as_object) else {
        return fault(400, "VALIDATION_ERROR", "properties is required");
    };
    let mut tables = world.tables();
    let Some(contact) = tables.get_mut("contacts").and_then(|contacts| contacts.get_mut(id)) else {
        return fault(404, "OBJECT_NOT_FOUND", "resource not found");
    };
    if let Some(Value::Object(properties)) = contact.get_mut("properties") {
        if let Some(name) = change.keys().find(|name| !PROPERTIES.contains(&name.as_str())) {
            return fault(400, "VALIDATION_ERROR", &format!("Property \"{name}\" does not exist"));
        }
        properties.extend(change.clone());
    }
    json(200, &Value::Object(contact.clone()))
}

const PROPERTIES: &[&str] = &[
    "email",
    "firstname",
    "lastname",
    "phone",
    "mobilephone",
    "company",
    "jobtitle",
    "address",
    "city",
    "state",
    "zip",
    "country",
    "date_of_birth",
];

fn statuses(world: &World, asked: &Asked, email: &str) -> Response {
    if asked.get("channel") != Some("EMAIL") {
        return fault(400, "VALIDATION_ERROR", "channel is required");
    }
    let of = world.get("subscriptions", &email.to_lowercase());
    json(200, &value!({"status": "COMPLETE", "results": of.into_iter().map(Value::Object).collect::<Vec<_>>()}))
}
