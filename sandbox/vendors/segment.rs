//! Segment: profiles by external id, and regulations that delete and suppress user ids some days later.
//!
//! From its reference: paths, states, up to 5,000 ids. A regulation is INITIALIZED for an hour, RUNNING for two days, then FINISHED.

use super::asked::{Asked, KEY, json, router, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, too_many};
use axum::response::Response;
use serde_json::{Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "segment", router: |world| router(world, desk, refusal, &[]), seed, count };

const HOUR: i64 = 3_600_000;

fn seed(world: &World, person: &Person) {
    let traits = j!({"email": person.email, "first_name": person.first_name, "last_name": person.last_name});
    world.put("profiles", &person.customer_id, j!({"email": person.email, "traits": traits}));
}

fn count(world: &World, email: &str) -> u64 {
    run(world);
    world.all("profiles").iter().filter(|(_, profile)| text(profile, "email") == email).count() as u64
}

/// Does what regulations that are due order.
fn run(world: &World) {
    for (id, mut regulation) in world.all("regulations") {
        let age = world.now_ms() - regulation["at"].as_i64().unwrap_or(0);
        let status = match age {
            _ if age < HOUR => "INITIALIZED",
            _ if age < 49 * HOUR => "RUNNING",
            _ => "FINISHED",
        };
        if status == "FINISHED" && regulation["status"] != "FINISHED" {
            for subject in regulation["ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                world.take("profiles", subject);
            }
        }
        regulation.insert("status".into(), j!(status));
        world.put("regulations", &id, Value::Object(regulation));
    }
}

fn refusal(over: Over) -> Response {
    too_many(over)
}

fn fault(status: u16, message: &str) -> Response {
    json(status, &j!({"errors": [{"type": "bad-request", "message": message}]}))
}

fn desk(world: &World, asked: &Asked) -> Response {
    let (method, parts) = asked.route();
    let profiles = matches!(parts.as_slice(), ["v1", "spaces", ..]);
    let entered =
        if profiles { asked.basic() == Some((KEY.into(), String::new())) } else { asked.authorized("Bearer", KEY) };
    if world.is_revoked() || !entered {
        return fault(401, "Unauthorized");
    }
    run(world);
    match (method, parts.as_slice()) {
        ("GET", [""]) => json(200, &j!({"data": {"workspace": {"id": "w", "slug": "sandbox"}}})),
        ("GET", ["v1", "spaces", "spa_sandbox", "collections", "users", "profiles", name, what]) => {
            let profile = name.strip_prefix("user_id:").and_then(|id| Some((id, world.get("profiles", id)?)));
            let Some((id, profile)) = profile else { return fault(404, "The resource was not found.") };
            let end = j!({"has_more": false, "next": ""});
            match *what {
                "external_ids" => {
                    let entry =
                        |id: &str, kind| j!({"collection": "users", "id": id, "type": kind, "encoding": "none"});
                    // A merged profile has further ids, of which only one was asked for.
                    let ids = [
                        entry(id, "user_id"),
                        entry(&format!("{id}0"), "user_id"),
                        entry(text(&profile, "email"), "email"),
                    ];
                    json(200, &j!({"data": ids, "cursor": end}))
                }
                "traits" => json(200, &j!({"traits": profile["traits"], "cursor": end})),
                "events" => json(200, &j!({"data": [], "cursor": end})),
                _ => fault(404, "The resource was not found."),
            }
        }
        ("POST", ["regulations"]) => regulate(world, asked),
        ("GET", ["regulations", id]) => match world.get("regulations", id) {
            Some(held) => json(
                200,
                &j!({"data": {"regulation": {"id": id, "overallStatus": held["status"], "streamStatus": []}}}),
            ),
            None => fault(404, "no such regulation"),
        },
        _ => fault(404, "no such path"),
    }
}

fn regulate(world: &World, asked: &Asked) -> Response {
    let body = asked.json().unwrap_or_default();
    let ids = body["subjectIds"].as_array().cloned().unwrap_or_default();
    let strange = unknown_key(&body, &["regulationType", "subjectType", "subjectIds"]).is_some();
    if strange
        || body["regulationType"] != "SUPPRESS_WITH_DELETE"
        || body["subjectType"] != "USER_ID"
        || !(1..=5000).contains(&ids.len())
    {
        return fault(400, "the regulation is not valid");
    }
    let id = format!("reg_{}", world.next_id());
    world.put("regulations", &id, j!({"at": world.now_ms(), "ids": ids, "status": "INITIALIZED"}));
    json(200, &j!({"data": {"regulateId": id}}))
}
