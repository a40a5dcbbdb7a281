//! Mixpanel: profiles are queried with an expression, deletions are tasks that take days.
//!
//! From its reference: paths, states, up to 2,000 distinct ids, `results` in both answers. A task is PENDING for a day, STARTED for
//! another nine, then SUCCESS.

use super::asked::{Asked, KEY, fold, json, router, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, too_many};
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "mixpanel", router: |world| router(world, desk, refusal, &[]), seed, count };

const DAY: i64 = 86_400_000;

fn seed(world: &World, person: &Person) {
    let name = format!("{} {}", person.first_name, person.last_name);
    let profile = j!({"$email": person.email, "$phone": person.phone, "$name": name});
    world.put("profiles", &person.customer_id, profile);
}

fn count(world: &World, email: &str) -> u64 {
    run(world);
    world.all("profiles").iter().filter(|(_, profile)| text(profile, "$email") == email).count() as u64
}

fn run(world: &World) {
    for (id, mut task) in world.all("tasks") {
        let age = world.now_ms() - task["at"].as_i64().unwrap_or(0);
        let status = match age {
            _ if age < DAY => "PENDING",
            _ if age < 10 * DAY => "STARTED",
            _ => "SUCCESS",
        };
        if status == "SUCCESS" && task["status"] != "SUCCESS" {
            for subject in task["ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                world.take("profiles", subject);
            }
        }
        task.insert("status".into(), j!(status));
        world.put("tasks", &id, Value::Object(task));
    }
}

fn refusal(over: Over) -> Response {
    too_many(over)
}

fn fault(status: u16, message: &str) -> Response {
    json(status, &j!({"status": "error", "error": message}))
}

fn desk(world: &World, asked: &Asked) -> Response {
    let (method, parts) = asked.route();
    let privacy = matches!(parts.as_slice(), ["api", "app", "data-deletions", ..]);
    let entered =
        if privacy { asked.authorized("Bearer", KEY) } else { asked.basic() == Some((KEY.into(), KEY.into())) };
    if world.is_revoked() || !entered {
        return fault(401, "Unable to authenticate");
    }
    run(world);
    match (method, parts.as_slice()) {
        ("GET", ["api", "app", "me"]) => json(200, &j!({"status": "ok", "results": {}})),
        ("POST", ["api", "query", "engage"]) => engage(world, asked),
        ("POST", ["api", "app", "data-deletions", "v3.0", ""]) => delete(world, asked),
        ("GET", ["api", "app", "data-deletions", "v3.0", id]) => match world.get("tasks", id) {
            Some(task) if asked.get("token") == Some(KEY) => {
                json(200, &j!({"status": "ok", "results": {"status": task["status"], "result": ""}}))
            }
            Some(_) => fault(403, "token does not belong to the project"),
            None => json(200, &j!({"status": "ok", "results": {"status": "NOT_FOUND"}})),
        },
        _ => fault(404, "not found"),
    }
}

fn engage(world: &World, asked: &Asked) -> Response {
    if asked.get("project_id") != Some("7") || asked.header("content-type") != Some("application/x-www-form-urlencoded")
    {
        return fault(400, "project_id is missing, or the body is no form");
    }
    let form = asked.form();
    let [(key, value)] = form.as_slice() else { return fault(400, "one parameter is expected") };
    let wanted = match key.as_str() {
        "distinct_id" => Some((None, value.clone())),
        "where" => value.split_once(" == ").and_then(|(property, literal)| {
            let property = property.strip_prefix("properties[\"")?.strip_suffix("\"]")?;
            Some((Some(property.to_owned()), serde_json::from_str::<String>(literal).ok()?))
        }),
        _ => None,
    };
    let Some((property, wanted)) = wanted else { return fault(400, "the expression cannot be parsed") };
    let is = |id: &str, profile: &Map<String, Value>| match &property {
        None => id == wanted,
        Some(property) => fold(text(profile, property)) == fold(&wanted),
    };
    let found: Vec<Value> = world
        .all("profiles")
        .into_iter()
        .filter(|(id, profile)| is(id, profile))
        .map(|(id, profile)| j!({"$distinct_id": id, "$properties": profile}))
        .collect();
    json(
        200,
        &j!({"status": "ok", "page": 0, "page_size": 1000, "session_id": "1-sandbox", "total": found.len(), "results": found}),
    )
}

fn delete(world: &World, asked: &Asked) -> Response {
    let body = asked.json().unwrap_or_default();
    let ids = body["distinct_ids"].as_array().cloned().unwrap_or_default();
    let strange = unknown_key(&body, &["distinct_ids", "compliance_type", "disclosure_type"]).is_some();
    if strange
        || asked.get("token") != Some(KEY)
        || body["compliance_type"] != "GDPR"
        || !(1..=2000).contains(&ids.len())
    {
        return fault(400, "the request is not valid");
    }
    let id = format!("task-{}", world.next_id());
    world.put("tasks", &id, j!({"at": world.now_ms(), "ids": ids, "status": "PENDING"}));
    json(201, &j!({"status": "ok", "results": {"task_id": id}}))
}
