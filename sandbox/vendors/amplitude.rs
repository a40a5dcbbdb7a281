//! Amplitude: a search that also finds ids that only begin alike, and deletion in a job that runs many days later.
//!
//! From its reference: paths, `staging`, `submitted`, `done`, days. A job takes what is asked within three days of its first
//! request, is frozen three days before it runs, and runs ten days after that.

use super::asked::{Asked, KEY, json, plain, router, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, too_many};
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "amplitude", router: |world| router(world, desk, refusal, &[]), seed, count };

const DAY_MS: i64 = 86_400_000;

fn seed(world: &World, person: &Person) {
    // A project may know one person by several user ids: the shop's own, and the address.
    for name in [&person.customer_id, &person.email] {
        let id = world.next_id();
        let user = j!({
            "user_id": name, "amplitude_id": id, "last_device_id": format!("device-{id}"), "platform": "Web",
            "properties": {
                "email": person.email, "name": format!("{} {}", person.first_name, person.last_name),
            },
        });
        world.put("users", &id.to_string(), user);
    }
}

fn count(world: &World, email: &str) -> u64 {
    run_jobs(world);
    world.all("users").iter().filter(|(_, user)| user["properties"]["email"] == email).count() as u64
}

fn refusal(over: Over) -> Response {
    too_many(over)
}

fn fault(status: u16, message: &str) -> Response {
    json(status, &j!({ "error": { "http_code": status, "type": "invalid_request", "message": message } }))
}

/// The day of a moment, as the proleptic calendar has it (days since 1970 → year, month, day).
fn day(ms: i64) -> String {
    let days = ms.div_euclid(DAY_MS) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02}")
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || asked.basic() != Some((KEY.into(), KEY.into())) {
        return fault(401, "Unauthorized");
    }
    run_jobs(world);
    let (method, parts) = asked.route();
    match (method, parts.as_slice()) {
        ("GET", ["api", "2", "events", "list"]) => json(200, &j!({ "data": [] })),
        ("GET", ["api", "2", "usersearch"]) => search(world, asked),
        ("GET", ["api", "2", "useractivity"]) => activity(world, asked),
        ("POST", ["api", "2", "deletions", "users"]) => order(world, asked),
        ("GET", ["api", "2", "deletions", "users"]) => {
            let (Some(start), Some(end)) = (asked.get("start_day"), asked.get("end_day")) else {
                return fault(400, "start_day and end_day are required");
            };
            let jobs = world.all("jobs").into_iter().filter(|(day, _)| (start..=end).contains(&day.as_str()));
            json(200, &Value::Array(jobs.map(|(_, job)| shown(&job)).collect()))
        }
        _ => fault(404, "Not found"),
    }
}

fn search(world: &World, asked: &Asked) -> Response {
    let Some(wanted) = asked.get("user").filter(|wanted| !wanted.is_empty()) else {
        return fault(400, "user is required");
    };
    let begins = |user: &Map<String, Value>| {
        text(user, "user_id").to_lowercase().starts_with(&wanted.to_lowercase())
            || plain(&user["amplitude_id"]) == wanted
    };
    let found: Vec<Value> = world
        .all("users")
        .into_iter()
        .filter(|(_, user)| begins(user))
        .map(|(_, u)| j!({ "user_id": u["user_id"], "amplitude_id": u["amplitude_id"], "platform": u["platform"] }))
        .collect();
    json(200, &j!({ "matches": found, "type": "match_user_or_device_id" }))
}

fn activity(world: &World, asked: &Asked) -> Response {
    let id = asked.get("user").unwrap_or_default();
    let Some(user) = world.get("users", id) else { return fault(404, "User not found") };
    let of = |event: &Map<String, Value>| plain(&event["amplitude_id"]) == id;
    let events: Vec<Value> =
        world.all("events").into_iter().filter(|(_, e)| of(e)).map(|(_, e)| Value::Object(e)).collect();
    let offset = asked.number("offset").unwrap_or(0).min(events.len());
    let limit = asked.number("limit").unwrap_or(1000).min(1000);
    let part: Vec<&Value> = events[offset..].iter().take(limit).collect();
    json(200, &j!({ "userData": user, "events": part }))
}

fn shown(job: &Map<String, Value>) -> Value {
    j!({ "day": job["day"], "status": job["status"], "amplitude_ids": job["amplitude_ids"], "app": "1" })
}

fn order(world: &World, asked: &Asked) -> Response {
    let Some(body) = asked.json() else { return fault(400, "the body is not JSON") };
    let known =
        ["amplitude_ids", "user_ids", "requester", "ignore_invalid_id", "delete_from_org", "include_mapped_user_ids"];
    if let Some(key) = unknown_key(&body, &known) {
        return fault(400, &format!("unknown key {key}"));
    }
    let ids: Vec<i64> = body["amplitude_ids"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    let lenient = body["ignore_invalid_id"].as_str().is_some_and(|said| said.eq_ignore_ascii_case("true"));
    if ids.is_empty() || ids.len() > 100 {
        return fault(400, "1 to 100 ids");
    }
    if !lenient && ids.iter().any(|id| world.get("users", &id.to_string()).is_none()) {
        return fault(400, "invalid id");
    }
    let now = world.now_ms();
    let open = world.all("jobs").into_iter().find(|(_, job)| {
        job["status"] == "staging" && job["began_ms"].as_i64().is_some_and(|began| now - began < 3 * DAY_MS)
    });
    let (name, mut job) = open.unwrap_or_else(|| {
        let runs = now + 11 * DAY_MS;
        let job = j!({ "day": day(runs), "status": "staging", "amplitude_ids": [], "began_ms": now, "runs_ms": runs });
        (day(runs), job.as_object().cloned().unwrap_or_default())
    });
    if let Some(Value::Array(all)) = job.get_mut("amplitude_ids") {
        let new = ids.iter().filter(|id| world.get("users", &id.to_string()).is_some());
        all.extend(
            new.map(|id| j!({ "amplitude_id": id, "requested_on_day": day(now), "requester": body["requester"] })),
        );
    }
    world.put("jobs", &name, Value::Object(job.clone()));
    json(200, &shown(&job))
}

/// What has become due by the simulator's clock.
fn run_jobs(world: &World) {
    let now = world.now_ms();
    for (name, mut job) in world.all("jobs") {
        let runs = job["runs_ms"].as_i64().unwrap_or(i64::MAX);
        let status = if now >= runs {
            "done"
        } else if now >= runs - 3 * DAY_MS {
            "submitted"
        } else {
            "staging"
        };
        if status == "done" && job["status"] != "done" {
            for id in job["amplitude_ids"].as_array().into_iter().flatten() {
                let _gone = world.take("users", &id["amplitude_id"].to_string());
            }
        }
        job.insert("status".into(), status.into());
        world.put("jobs", &name, Value::Object(job));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_day_is_the_calendars() {
        assert_eq!(super::day(0), "1970-01-01");
        assert_eq!(super::day(1_795_305_600_000), "2026-11-22");
        assert_eq!(super::day(951_782_400_000), "2000-02-29");
    }
}
