//! BigQuery (v2): jobs under names that the caller chooses, named parameters, answers in pages.
//!
//! Its habits: a token endpoint for service accounts; a job's name is taken once (409); a job's failure is told where its
//! answer is read; rows that were just streamed in refuse to be changed; limits are refused with 403 and a reason.
//!
//! World: `sandbox.shop.customers` and `sandbox.shop.events` (rows by number; `_streamed` marks the streaming buffer),
//! `jobs` (by id: their answer), `tokens`, `settings/slow` (`polls`: how often a job is still running).

use super::asked::{Asked, json, router as around, unknown_key};
use super::warehouse_key::claims;
use super::warehouse_sql::{Dialect, Plan, Refusal, read};
use super::{Person, Vendor};
use crate::World;
use crate::kit::Over;
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The project.
pub const PROJECT: &str = "sandbox-shop";
/// The service account.
pub const SERVICE_ACCOUNT: &str = "redress@sandbox-shop.iam.gserviceaccount.com";

/// What the registry of simulators tells.
pub const VENDOR: Vendor = Vendor { name: "bigquery", router, seed, count };

/// The tables as a controller declares them.
pub const TABLES: &str = r#"
[[system.tables]]
name = "shop.customers"
key = "id"
identify = { customer_id = "id", email = "email", phone = "phone" }
fields = { full_name = "full_name" }
on_delete = "delete"

[[system.tables]]
name = "shop.events"
key = "number"
identify = { customer_id = "customer", email = "email", phone = "phone" }
on_delete = "null"
columns = ["customer", "email", "phone"]
"#;

const DIALECT: Dialect = Dialect { quote: '`', text_type: "STRING", is_named: true };
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/bigquery", "https://www.googleapis.com/auth/cloud-platform"];

fn columns(table: &str) -> Option<&'static [&'static str]> {
    match table {
        "shop.customers" => Some(&["id", "email", "phone", "full_name"]),
        "shop.events" => Some(&["number", "customer", "email", "phone", "page"]),
        _ => None,
    }
}

fn over(over: Over) -> Response {
    let reason = if over == Over::Budget { "quotaExceeded" } else { "rateLimitExceeded" };
    refuse(403, reason, "Exceeded rate limits: too many api requests per user per method for this user_method.")
}

fn router(world: &Arc<World>) -> axum::Router {
    around(world, desk, over, &["/token"])
}

fn seed(world: &World, person: &Person) {
    let Person { email, phone, customer_id, .. } = person;
    let name = format!("{} {}", person.first_name, person.last_name).trim().to_owned();
    let customer = json!({"id": customer_id, "email": email, "phone": phone, "full_name": name});
    world.put("shop.customers", &world.next_id().to_string(), customer);
    let number = world.next_id();
    let event = json!({"number": number, "customer": customer_id, "email": email, "phone": phone, "page": "/"});
    world.put("shop.events", &number.to_string(), event);
}

fn count(world: &World, email: &str) -> u64 {
    let tables = world.tables();
    let rows = tables.iter().filter(|(name, _)| name.starts_with("shop.")).flat_map(|(_, rows)| rows.values());
    rows.filter(|row| row.get("email").and_then(Value::as_str) == Some(email)).count() as u64
}

fn refuse(status: u16, reason: &str, message: &str) -> Response {
    let error = json!({"domain": "global", "reason": reason, "message": message});
    json(status, &json!({"error": {"code": status, "message": message, "errors": [error]}}))
}

fn token(world: &World, asked: &Asked) -> Response {
    let form = asked.form();
    let of = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let claims = claims(world, of("assertion")).filter(|claims| {
        claims["iss"] == SERVICE_ACCOUNT
            && claims["aud"].as_str().is_some_and(|aud| aud.ends_with("/token"))
            && claims["scope"].as_str().is_some_and(|scope| SCOPES.contains(&scope))
    });
    if of("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || claims.is_none() {
        return json(400, &json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}));
    }
    let token = format!("ya29.{:x}", world.next_id());
    world.put("tokens", &token, json!({}));
    json(200, &json!({"access_token": token, "expires_in": 3_599, "token_type": "Bearer"}))
}

fn desk(world: &World, asked: &Asked) -> Response {
    if asked.route() == ("POST", vec!["token"]) {
        return token(world, asked);
    }
    let given = asked.header("authorization").and_then(|all| all.strip_prefix("Bearer ")).unwrap_or_default();
    // Tokens outlive a clearing of the world.
    if !given.starts_with("ya29.") || world.is_revoked() {
        return refuse(401, "authError", "Request had invalid authentication credentials.");
    }
    let (method, parts) = asked.route();
    if parts.len() < 5 || parts[..4] != ["bigquery", "v2", "projects", PROJECT] {
        return refuse(404, "notFound", "Not found");
    }
    match (method, &parts[4..]) {
        ("POST", ["jobs"]) => insert(world, asked),
        ("GET", ["jobs", id]) => match world.get("jobs", id) {
            None => refuse(404, "notFound", "Not found: Job"),
            Some(job) => json(200, &about(id, &job)),
        },
        ("GET", ["queries", id]) => results(world, asked, id),
        _ => refuse(404, "notFound", "Not found"),
    }
}

fn about(id: &str, job: &Map<String, Value>) -> Value {
    json!({
        "kind": "bigquery#job", "jobReference": {"projectId": PROJECT, "jobId": id, "location": "EU"},
        "status": {"state": "RUNNING"}, "statistics": {"creationTime": job["created"]},
    })
}

fn insert(world: &World, asked: &Asked) -> Response {
    let invalid = |about: &str| refuse(400, "invalid", about);
    let Some(body) = asked.json() else { return invalid("no JSON") };
    let query = &body["configuration"]["query"];
    let known = ["query", "useLegacySql", "useQueryCache", "parameterMode", "queryParameters"];
    if unknown_key(&body, &["jobReference", "configuration"]).or_else(|| unknown_key(query, &known)).is_some() {
        return invalid("Unknown name");
    }
    if query["useLegacySql"] != false || query["parameterMode"] != "NAMED" {
        return invalid("parameters need standard SQL");
    }
    let id = body["jobReference"]["jobId"].as_str().unwrap_or_default();
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
        return invalid("Invalid job ID");
    }
    if world.get("jobs", id).is_some() {
        return refuse(409, "duplicate", "Already Exists: Job");
    }
    let mut values = Vec::new();
    for (i, parameter) in query["queryParameters"].as_array().into_iter().flatten().enumerate() {
        let value = parameter["parameterValue"]["value"].as_str();
        match value {
            Some(value)
                if parameter["name"] == format!("p{}", i + 1).as_str()
                    && parameter["parameterType"]["type"] == "STRING" =>
            {
                values.push(value.to_owned());
            }
            _ => return invalid("a parameter"),
        }
    }
    let polls = world.get("settings", "slow").and_then(|slow| slow["polls"].as_u64()).unwrap_or_default();
    let mut job = json!({"polls": polls, "created": world.now_ms().to_string()});
    match execute(world, query["query"].as_str().unwrap_or_default(), &values) {
        Ok((fields, rows, affected)) => {
            job["fields"] = fields;
            job["rows"] = rows;
            job["affected"] = affected.map_or(Value::Null, |n| n.to_string().into());
        }
        Err((status, reason, message)) => job["error"] = json!([status, reason, message]),
    }
    world.put("jobs", id, job);
    json(200, &about(id, &world.get("jobs", id).unwrap_or_default()))
}

type Failed = (u16, &'static str, String);

fn execute(world: &World, text: &str, values: &[String]) -> Result<(Value, Value, Option<u64>), Failed> {
    let statement = read(DIALECT, text, values).map_err(|refusal| match refusal {
        Refusal::Syntax(about) => (400, "invalidQuery", format!("Syntax error: {about}")),
        _ => (400, "invalidQuery", "Syntax error".to_owned()),
    })?;
    let columns = columns(&statement.table).ok_or((404, "notFound", "Not found: Table".to_owned()))?;
    let mut tables = world.tables();
    let rows = tables.entry(statement.table.clone()).or_default();
    let before = rows.clone();
    let unknown = |_| (400, "invalidQuery", "Unrecognized name".to_owned());
    let (names, read, affected) = statement.execute(columns, rows).map_err(unknown)?;
    let is_streamed =
        |(id, row): (&String, &Map<String, Value>)| row.contains_key("_streamed") && rows.get(id) != Some(row);
    if !matches!(statement.plan, Plan::Select(_)) && before.iter().any(is_streamed) {
        *rows = before;
        let about =
            "UPDATE or DELETE statement over table would affect rows in the streaming buffer, which is not supported";
        return Err((400, "invalidQuery", about.to_owned()));
    }
    let field = |name: &String| json!({"name": name, "type": if name == "number" { "INTEGER" } else { "STRING" }, "mode": "NULLABLE"});
    let cells = |row: &Vec<Value>| json!({"f": row.iter().map(|value| json!({"v": value})).collect::<Vec<_>>()});
    Ok((names.iter().map(field).collect(), read.iter().map(cells).collect(), affected))
}

fn results(world: &World, asked: &Asked, id: &str) -> Response {
    let Some(mut job) = world.get("jobs", id) else { return refuse(404, "notFound", "Not found: Job") };
    if asked.unknown(&["maxResults", "timeoutMs", "pageToken", "location"]).is_some() {
        return refuse(400, "invalid", "Unknown name");
    }
    let reference = json!({"projectId": PROJECT, "jobId": id, "location": "EU"});
    let polls = job["polls"].as_u64().unwrap_or_default();
    if polls > 0 {
        job.insert("polls".into(), (polls - 1).into());
        world.put("jobs", id, job.into());
        return json(200, &json!({"jobReference": reference, "jobComplete": false}));
    }
    if let Some(error) = job.get("error").and_then(Value::as_array) {
        let text = |i: usize| error[i].as_str().unwrap_or_default();
        return refuse(error[0].as_u64().unwrap_or(400) as u16, text(1), text(2));
    }
    let rows = job["rows"].as_array().cloned().unwrap_or_default();
    let from = asked.get("pageToken").and_then(|token| token.strip_prefix('t')?.parse().ok()).unwrap_or(0);
    // Pages are shorter than what was asked for, as large rows make them.
    let (page, next) = super::asked::page(&rows, from, asked.number("maxResults").unwrap_or(3).min(3));
    let mut body = json!({"jobReference": reference, "jobComplete": true});
    if job["affected"].is_null() {
        body["schema"] = json!({"fields": job["fields"]});
        body["totalRows"] = rows.len().to_string().into();
        if !page.is_empty() {
            body["rows"] = page.into();
        }
    } else {
        body["numDmlAffectedRows"] = job["affected"].clone();
    }
    if let Some(next) = next {
        body["pageToken"] = format!("t{next}").into();
    }
    json(200, &body)
}
