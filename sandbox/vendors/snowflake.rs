//! Snowflake's SQL API (v2): statements with bound values, answers in parts, and later if the world says so.
//!
//! Its habits: a token is signed by a registered key whose fingerprint it names; the same `requestId` is not executed twice;
//! an answer of many rows comes in partitions, of which all but the first are fetched apart; names count in their case;
//! deleted rows stay in time travel (not simulated: they are gone).
//!
//! World: `SHOP.PUBLIC.CUSTOMERS` and `SHOP.PUBLIC.EVENTS` (rows by number), `sent` (by handle: the statement's answer),
//! `requests` (by `requestId`: its handle), `settings/slow` (`polls`: how often a statement is still running).

use super::asked::{Asked, json, router as around, unknown_key};
use super::warehouse_key::{claims, fingerprint};
use super::warehouse_sql::{Dialect, Plan, Refusal, read};
use super::{Person, Vendor};
use crate::World;
use crate::kit::too_many;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// The account.
pub const ACCOUNT: &str = "SANDBOX-SHOP";
/// The user to whom the key is registered.
pub const USER: &str = "REDRESS";

/// What the registry of simulators tells.
pub const VENDOR: Vendor = Vendor { name: "snowflake", router, seed, count };

/// The tables as a controller declares them.
pub const TABLES: &str = r#"
[[system.tables]]
name = "SHOP.PUBLIC.CUSTOMERS"
key = "ID"
identify = { customer_id = "ID", email = "EMAIL", phone = "PHONE" }
fields = { full_name = "FULL_NAME" }
on_delete = "delete"

[[system.tables]]
name = "SHOP.PUBLIC.EVENTS"
key = "NUMBER"
identify = { customer_id = "CUSTOMER", email = "EMAIL", phone = "PHONE" }
on_delete = "null"
columns = ["CUSTOMER", "EMAIL", "PHONE"]
"#;

const DIALECT: Dialect = Dialect { quote: '"', text_type: "VARCHAR", is_named: false };
const PART: usize = 3;

pub(super) fn columns(table: &str) -> Option<&'static [&'static str]> {
    match table.rsplit('.').next()?.to_uppercase().as_str() {
        "CUSTOMERS" => Some(&["ID", "EMAIL", "PHONE", "FULL_NAME"]),
        "EVENTS" => Some(&["NUMBER", "CUSTOMER", "EMAIL", "PHONE", "PAGE"]),
        _ => None,
    }
}

fn router(world: &Arc<World>) -> axum::Router {
    around(world, desk, too_many, &[])
}

fn seed(world: &World, person: &Person) {
    let Person { email, phone, customer_id, .. } = person;
    let name = format!("{} {}", person.first_name, person.last_name).trim().to_owned();
    let customer = json!({"ID": customer_id, "EMAIL": email, "PHONE": phone, "FULL_NAME": name});
    world.put("SHOP.PUBLIC.CUSTOMERS", &world.next_id().to_string(), customer);
    let number = world.next_id();
    let event = json!({"NUMBER": number, "CUSTOMER": customer_id, "EMAIL": email, "PHONE": phone, "PAGE": "/"});
    world.put("SHOP.PUBLIC.EVENTS", &number.to_string(), event);
}

fn count(world: &World, email: &str) -> u64 {
    let tables = world.tables();
    let rows = tables.iter().filter(|(name, _)| name.starts_with("SHOP.")).flat_map(|(_, rows)| rows.values());
    rows.filter(|row| row.get("EMAIL").and_then(Value::as_str) == Some(email)).count() as u64
}

fn refuse(status: u16, code: &str, message: &str) -> Response {
    json(status, &json!({"code": code, "sqlState": "42000", "message": message}))
}

fn is_signed_in(world: &World, asked: &Asked) -> bool {
    let token = asked.header("authorization").and_then(|all| all.strip_prefix("Bearer ")).unwrap_or_default();
    let subject = format!("{ACCOUNT}.{USER}");
    asked.header("x-snowflake-authorization-token-type") == Some("KEYPAIR_JWT")
        && claims(world, token).is_some_and(|claims| {
            claims["sub"] == subject.as_str() && claims["iss"] == format!("{subject}.SHA256:{}", fingerprint()).as_str()
        })
}

fn desk(world: &World, asked: &Asked) -> Response {
    if !is_signed_in(world, asked) {
        return refuse(401, "390144", "JWT token is invalid.");
    }
    match asked.route() {
        ("POST", parts) if parts == ["api", "v2", "statements"] => submit(world, asked),
        ("GET", parts) if parts.len() == 4 && parts[..3] == ["api", "v2", "statements"] => {
            status(world, asked, parts[3])
        }
        _ => refuse(404, "391404", "Not found"),
    }
}

fn submit(world: &World, asked: &Asked) -> Response {
    let Some(body) = asked.json() else { return refuse(400, "391902", "The body is no JSON.") };
    let known = ["statement", "bindings", "timeout", "warehouse", "database", "schema", "role", "parameters"];
    if let Some(key) =
        unknown_key(&body, &known).or_else(|| asked.unknown(&["requestId", "retry", "async", "nullable"]))
    {
        return refuse(400, "391903", &format!("unknown {key}"));
    }
    let Some(id) = asked.get("requestId").filter(|id| id.len() == 36 && id.split('-').count() == 5) else {
        return refuse(400, "391917", "requestId is no UUID");
    };
    if body["warehouse"].as_str().is_none() {
        return refuse(422, "000606", "No active warehouse selected in the current session.");
    }
    if let Some(sent) = world.get("requests", id) {
        return status(world, asked, sent["handle"].as_str().unwrap_or_default());
    }
    let mut values = Vec::new();
    for i in 1..=body["bindings"].as_object().map_or(0, serde_json::Map::len) {
        let bound = &body["bindings"][i.to_string()];
        match bound["value"].as_str() {
            Some(value) if bound["type"] == "TEXT" => values.push(value.to_owned()),
            _ => return refuse(400, "391911", "a binding"),
        }
    }
    let statement = match read(DIALECT, body["statement"].as_str().unwrap_or_default(), &values) {
        Err(Refusal::Syntax(about)) => return refuse(422, "001003", &format!("SQL compilation error: {about}")),
        Err(_) => return refuse(422, "001003", "SQL compilation error"),
        Ok(statement) => statement,
    };
    let result = {
        let mut tables = world.tables();
        let Some(columns) = columns(&statement.table).filter(|_| statement.table.starts_with("SHOP.PUBLIC.")) else {
            return refuse(422, "002003", "SQL compilation error: Object does not exist or not authorized.");
        };
        statement.execute(columns, tables.entry(statement.table.clone()).or_default())
    };
    let Ok((names, rows, affected)) = result else {
        return refuse(422, "000904", "SQL compilation error: invalid identifier");
    };
    let handle = format!("01b{:05x}-0000-0000-0000-000000000000", world.next_id());
    let kind = |name: &String| {
        let kind = if name == "NUMBER" { "fixed" } else { "text" };
        json!({"name": name, "type": kind, "scale": (kind == "fixed").then_some(0), "nullable": true})
    };
    let (kinds, rows) = match (&statement.plan, affected) {
        (Plan::Select(_), _) => (names.iter().map(kind).collect::<Vec<_>>(), rows),
        (_, affected) => {
            let number = affected.unwrap_or_default().to_string();
            (vec![json!({"name": "number of rows", "type": "fixed", "scale": 0})], vec![vec![number.into()]])
        }
    };
    let stats = affected.map(|n| match statement.plan {
        Plan::Delete => json!({"numRowsInserted": 0, "numRowsDeleted": n, "numRowsUpdated": 0}),
        _ => json!({"numRowsInserted": 0, "numRowsDeleted": 0, "numRowsUpdated": n}),
    });
    let polls = world.get("settings", "slow").and_then(|slow| slow["polls"].as_u64()).unwrap_or_default();
    let record = json!({"kinds": kinds, "rows": rows, "stats": stats, "polls": polls, "created": world.now_ms()});
    world.put("sent", &handle, record);
    world.put("requests", id, json!({"handle": handle}));
    status(world, asked, &handle)
}

fn status(world: &World, asked: &Asked, handle: &str) -> Response {
    let Some(mut sent) = world.get("sent", handle) else { return refuse(404, "390318", "Statement not found") };
    let polls = sent["polls"].as_u64().unwrap_or_default();
    if polls > 0 {
        sent.insert("polls".into(), (polls - 1).into());
        world.put("sent", handle, sent.into());
        let about =
            "Asynchronous execution in progress. Use provided query id to perform query monitoring and management.";
        let body = json!({"code": "333334", "message": about, "statementHandle": handle,
            "statementStatusUrl": format!("/api/v2/statements/{handle}")});
        return json(202, &body);
    }
    let rows = sent["rows"].as_array().cloned().unwrap_or_default();
    let parts: Vec<&[Value]> = if rows.is_empty() { vec![&[]] } else { rows.chunks(PART).collect() };
    if let Some(part) = asked.number("partition").filter(|part| *part > 0) {
        let Some(part) = parts.get(part) else { return refuse(404, "391908", "no such partition") };
        return json(200, &json!({"data": part}));
    }
    let info: Vec<Value> = parts.iter().map(|part| json!({"rowCount": part.len(), "uncompressedSize": 1})).collect();
    let mut body = json!({
        "resultSetMetaData": {"numRows": rows.len(), "format": "jsonv2", "rowType": sent["kinds"], "partitionInfo": info},
        "data": parts[0], "code": "090001", "sqlState": "00000", "message": "Statement executed successfully.",
        "statementStatusUrl": format!("/api/v2/statements/{handle}"), "requestId": "", "statementHandle": handle,
        "createdOn": sent["created"],
    });
    if !sent["stats"].is_null() {
        body["stats"] = sent["stats"].clone();
    }
    json(200, &body)
}
