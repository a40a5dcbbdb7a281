//! An in-house receiver of signed calls, as docs/webhook-connector.md describes it: Standard Webhooks signatures, a repeated
//! `webhook-id` is answered as before, unknown keys are refused. With a record `mode/slow` it answers 202 and is done a minute later.

use super::{Person, Vendor};
use crate::World;
use crate::kit::{too_many, wrap};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The simulator.
pub const VENDOR: Vendor = Vendor { name: "webhook", router, seed, count };

/// The key of the sandbox.
pub const SECRET: &str = "whsec_c2FuZGJveC1zYW5kYm94LXNhbmRib3gtc2FuZGJveA==";

fn seed(world: &World, person: &Person) {
    let record = json!({
        "email": person.email, "phone": person.phone, "customer_id": person.customer_id,
        "first_name": person.first_name, "last_name": person.last_name,
    });
    world.put("people", &person.customer_id, record);
}

fn count(world: &World, email: &str) -> u64 {
    world.all("people").iter().filter(|(_, person)| person["email"] == email).count() as u64
}

fn router(world: &Arc<World>) -> Router {
    let router = Router::new().route("/", post(call)).with_state(Arc::clone(world));
    wrap(router, world, too_many, &[])
}

fn is_signed(world: &World, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, timestamp) = (text("webhook-id"), text("webhook-timestamp"));
    let age = timestamp.parse::<i64>().map_or(i64::MAX, |at| (world.now_ms() / 1_000).saturating_sub(at).abs());
    // A simulator that travelled still takes calls of the present.
    if id.is_empty() || id.contains('.') || (age > 300 && world.all("mode").is_empty()) {
        return false;
    }
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).expect("the sandbox's key");
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
    let ours = format!("v1,{}", STANDARD.encode(tag));
    !world.is_revoked() && text("webhook-signature").split(' ').any(|given| given == ours)
}

async fn call(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_signed(&world, &headers, &body) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let id = headers["webhook-id"].to_str().unwrap_or_default().to_owned();
    if let Some(answered) = world.get("answered", &id) {
        return axum::Json(answered).into_response();
    }
    let Ok(Value::Object(call)) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let known = ["version", "call", "of", "key", "max_matches", "identifiers", "corrections", "handle"];
    if call.get("version") != Some(&json!(1)) || call.keys().any(|key| !known.contains(&key.as_str())) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let Some(answer) = answer(&world, &call) else { return StatusCode::UNPROCESSABLE_ENTITY.into_response() };
    if answer["status"] == "accepted" {
        return (StatusCode::ACCEPTED, axum::Json(answer)).into_response();
    }
    world.put("answered", &id, answer.clone());
    axum::Json(answer).into_response()
}

fn is(person: &Map<String, Value>, identifier: &Value) -> bool {
    let (Some(kind), Some(value)) = (identifier["type"].as_str(), identifier["value"].as_str()) else { return false };
    let held = person.get(kind).and_then(Value::as_str).unwrap_or_default();
    if kind == "email" { held.to_lowercase() == value } else { held == value }
}

fn answer(world: &World, call: &Map<String, Value>) -> Option<Value> {
    let verb = call.get("call")?.as_str()?;
    if verb == "check" {
        return Some(json!({"status": "ok"}));
    }
    let wanted = call.get("identifiers")?.as_array()?;
    let people = world.all("people").into_iter();
    let theirs: Vec<_> = people.filter(|(_, person)| wanted.iter().any(|identifier| is(person, identifier))).collect();
    let corrections: Vec<(&str, &Value)> = call
        .get("corrections")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|c| Some((c["field"].as_str()?, c.get("value")?)))
        .collect();
    let of = call.get("of").and_then(Value::as_str).unwrap_or(verb);
    if verb == "verify" {
        let wrong = |person: &Map<String, Value>| {
            of == "erase" || corrections.iter().any(|(field, value)| person.get(*field) != Some(value))
        };
        let remaining = theirs.iter().filter(|(_, person)| wrong(person)).count();
        let status = if remaining == 0 { "confirmed" } else { "residue" };
        return Some(json!({"status": status, "remaining": remaining}));
    }
    if verb == "status" {
        let at = world.get("orders", call.get("handle")?.as_str()?)?["at"].as_i64()?;
        if world.now_ms() - at < 60_000 {
            return Some(json!({"status": "accepted", "check_after_seconds": 60}));
        }
    } else if verb != "discover" && world.get("mode", "slow").is_some() {
        let handle = format!("job-{}", world.next_id());
        world.put("orders", &handle, json!({"at": world.now_ms()}));
        return Some(
            json!({"status": "accepted", "handle": handle, "check_after_seconds": 60, "completes_within_days": 2}),
        );
    }
    if theirs.is_empty() {
        return Some(json!({"status": "nothing_found"}));
    }
    if theirs.len() as u64 > call.get("max_matches")?.as_u64()? {
        return Some(json!({"status": "ambiguous", "matched": theirs.len()}));
    }
    let found = theirs.len();
    match of {
        "discover" => Some(json!({"status": "done", "found": found})),
        "export" => {
            let record = |(_, person): &(String, Map<String, Value>)| json!({"collection": "people", "record": person});
            let records: Vec<_> = theirs.iter().map(record).collect();
            Some(json!({"status": "done", "found": found, "records": records}))
        }
        "erase" => {
            for (key, _) in &theirs {
                world.take("people", key);
            }
            Some(json!({"status": "done", "found": found, "changed": found, "effect": {"kind": "permanent"}}))
        }
        "rectify" => {
            for (key, mut person) in theirs {
                person.extend(corrections.iter().map(|(field, value)| ((*field).to_owned(), (*value).clone())));
                world.put("people", &key, Value::Object(person));
            }
            Some(json!({"status": "done", "found": found, "changed": found}))
        }
        _ => None,
    }
}
