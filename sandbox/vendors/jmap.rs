//! A JMAP server with one account of mail (RFC 8620, RFC 8621), as far as searching, reading and destroying go.
//!
//! Its habits, seen on Cyrus 3.6: `from` and `to` filters answer with nothing while there is no index, `header` filters match
//! parts of the raw text without regard to case, header values keep their folding, destroyed messages are gone at once.
//!
//! World: `mail` (by id: `raw`, `at`), `settings/search` (`blind`: header filters find nothing either).

use super::asked::{Asked, json, router as desk_router};
use super::{Person, Vendor};
use crate::World;
use crate::kit::too_many;
use axum::Router;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The user, whose name is also the account's id.
pub const USER: &str = "support";
/// Their password.
pub const PASSWORD: &str = "sandbox-mail-password";

/// What the registry of simulators tells.
pub const VENDOR: Vendor = Vendor { name: "jmap", router, seed, count };

const MOST: usize = 50;

/// Adds a message; its id.
pub fn deliver(world: &World, raw: &str) -> String {
    let at = world.next_id();
    let id = format!("M{at:024x}");
    world.put("mail", &id, json!({ "raw": raw, "at": at }));
    id
}

fn seed(world: &World, person: &Person) {
    let Person { email, first_name, last_name, .. } = person;
    deliver(
        world,
        &format!(
            "From: \"{first_name} {last_name}\" <{email}>\r\nTo: support@corp.test\r\nSubject: A question\r\n\r\nHello\r\n"
        ),
    );
    deliver(world, &format!("From: support@corp.test\r\nTo: {email}\r\nSubject: The answer\r\n\r\nHello\r\n"));
    deliver(world, &format!("Delivered-To: {email}\r\nFrom: support@corp.test\r\nSubject: News\r\n\r\nHello\r\n"));
}

fn count(world: &World, email: &str) -> u64 {
    let is_theirs = |message: &Map<String, Value>| {
        let raw = message["raw"].as_str().unwrap_or_default();
        let mut head = raw.lines().take_while(|line| !line.is_empty());
        head.any(|line| line.ends_with(&format!(": {email}")) || line.ends_with(&format!("<{email}>")))
    };
    world.all("mail").iter().filter(|(_, message)| is_theirs(message)).count() as u64
}

fn router(world: &Arc<World>) -> Router {
    desk_router(world, desk, too_many, &[])
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || asked.basic() != Some((USER.to_owned(), PASSWORD.to_owned())) {
        return json(401, &json!({ "type": "about:blank", "status": 401, "title": "Unauthorized" }));
    }
    let (method, parts) = asked.route();
    match (method, parts.as_slice()) {
        ("GET", ["jmap", "session"]) => json(200, &session()),
        ("POST", ["jmap", "api"]) => request(world, asked.json()),
        ("GET", ["jmap", "download", USER, blob, _]) => match world.get("mail", &blob.replacen('G', "M", 1)) {
            Some(message) => {
                let raw = message["raw"].as_str().unwrap_or_default().to_owned();
                ([("content-type", "message/rfc822")], raw).into_response()
            }
            None => problem(404, "about:blank"),
        },
        _ => problem(404, "about:blank"),
    }
}

fn problem(status: u16, kind: &str) -> Response {
    let mut response = json(status, &json!({ "type": kind, "status": status }));
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static("application/problem+json"));
    response
}

fn session() -> Value {
    let core = json!({
        "maxSizeUpload": 50_000_000, "maxConcurrentUpload": 4, "maxSizeRequest": 10_000_000, "maxConcurrentRequests": 4,
        "maxCallsInRequest": 16, "maxObjectsInGet": MOST, "maxObjectsInSet": MOST, "collationAlgorithms": [],
    });
    json!({
        "username": USER, "apiUrl": "/jmap/api", "downloadUrl": "/jmap/download/{accountId}/{blobId}/{name}?accept={type}",
        "uploadUrl": "/jmap/upload/{accountId}/", "eventSourceUrl": "/jmap/events", "state": "0",
        "capabilities": { "urn:ietf:params:jmap:core": core, "urn:ietf:params:jmap:mail": {} },
        "primaryAccounts": { "urn:ietf:params:jmap:mail": USER },
        "accounts": { USER: {
            "name": USER, "isPersonal": true, "isReadOnly": false, "accountCapabilities": { "urn:ietf:params:jmap:mail": {} },
        }},
    })
}

fn request(world: &World, body: Option<Value>) -> Response {
    let Some(body) = body else { return problem(400, "urn:ietf:params:jmap:error:notJSON") };
    let calls = body.get("methodCalls").and_then(Value::as_array);
    let using = body.get("using").and_then(Value::as_array);
    let (Some(calls), Some(using)) = (calls, using) else {
        return problem(400, "urn:ietf:params:jmap:error:notRequest");
    };
    if !using.iter().any(|one| one == "urn:ietf:params:jmap:mail") {
        return problem(400, "urn:ietf:params:jmap:error:unknownCapability");
    }
    let responses: Vec<Value> = calls
        .iter()
        .map(|call| {
            let name = call[0].as_str().unwrap_or_default();
            match method(world, name, &call[1]) {
                Ok(mut said) => {
                    said["accountId"] = USER.into();
                    json!([name, said, call[2]])
                }
                Err(kind) => json!(["error", { "type": kind }, call[2]]),
            }
        })
        .collect();
    json(200, &json!({ "methodResponses": responses, "sessionState": "0" }))
}

fn method(world: &World, name: &str, arguments: &Value) -> Result<Value, &'static str> {
    if arguments["accountId"] != USER {
        return Err("accountNotFound");
    }
    let known: &[&str] = match name {
        "Email/query" => &["accountId", "filter", "sort", "position", "limit", "calculateTotal"],
        "Email/get" => &["accountId", "ids", "properties"],
        "Email/set" => &["accountId", "destroy", "ifInState"],
        _ => return Err("unknownMethod"),
    };
    if !arguments.as_object().is_some_and(|all| all.keys().all(|key| known.contains(&key.as_str()))) {
        return Err("invalidArguments");
    }
    match name {
        "Email/query" => query(world, arguments),
        "Email/get" => get(world, arguments),
        _ => set(world, arguments),
    }
}

fn query(world: &World, arguments: &Value) -> Result<Value, &'static str> {
    let blind = world.get("settings", "search").is_some_and(|search| search.get("blind") == Some(&Value::Bool(true)));
    let mut found = Vec::new();
    for (id, message) in world.all("mail") {
        let raw = message["raw"].as_str().unwrap_or_default();
        if arguments.get("filter").map_or(Ok(true), |filter| matches(raw, filter, blind))? {
            found.push((message["at"].as_u64().unwrap_or_default(), id));
        }
    }
    found.sort();
    if arguments["sort"][0]["isAscending"] != true {
        found.reverse();
    }
    let number =
        |key: &str, usual: u64| arguments.get(key).map_or(Some(usual), Value::as_u64).ok_or("invalidArguments");
    let (position, limit) = (number("position", 0)?, number("limit", 256)?);
    let page = found.iter().skip(position as usize).take(limit as usize);
    let ids: Vec<&String> = page.map(|(_, id)| id).collect();
    Ok(
        json!({ "queryState": world.all("mail").len().to_string(), "canCalculateChanges": false, "position": position, "total": found.len(), "ids": ids }),
    )
}

fn matches(raw: &str, filter: &Value, blind: bool) -> Result<bool, &'static str> {
    let filter = filter.as_object().ok_or("invalidArguments")?;
    if let Some(operator) = filter.get("operator").and_then(Value::as_str) {
        let conditions = filter.get("conditions").and_then(Value::as_array).ok_or("invalidArguments")?;
        let all = conditions.iter().map(|one| matches(raw, one, blind)).collect::<Result<Vec<_>, _>>()?;
        return Ok(if operator == "OR" { all.contains(&true) } else { !all.contains(&false) });
    }
    match filter.iter().next() {
        Some((key, Value::Array(header))) if key == "header" && filter.len() == 1 => {
            let [Value::String(name), Value::String(text)] = header.as_slice() else { return Err("invalidArguments") };
            let holds = |value: &String| value.to_lowercase().contains(&text.to_lowercase());
            Ok(!blind && values(raw, name).iter().any(holds))
        }
        // There is no index.
        Some((key, Value::String(_))) if ["from", "to", "cc", "bcc"].contains(&key.as_str()) => Ok(false),
        _ => Err("unsupportedFilter"),
    }
}

/// The raw values of a header, folded as they are.
fn values(raw: &str, name: &str) -> Vec<String> {
    let head = raw.split("\r\n\r\n").next().unwrap_or_default();
    let mut found: Vec<(String, String)> = Vec::new();
    for line in head.split("\r\n") {
        match (line.starts_with([' ', '\t']), found.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => {
                value.push_str("\r\n");
                value.push_str(line);
            }
            (false, _, Some((name, value))) => found.push((name.to_owned(), value.to_owned())),
            _ => {}
        }
    }
    found.into_iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

fn ids(arguments: &Value, key: &str) -> Result<Vec<String>, &'static str> {
    let ids = arguments.get(key).and_then(Value::as_array).ok_or("invalidArguments")?;
    if ids.len() > MOST {
        return Err("requestTooLarge");
    }
    ids.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or("invalidArguments")
}

fn get(world: &World, arguments: &Value) -> Result<Value, &'static str> {
    let properties: Vec<&str> =
        arguments["properties"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (mut list, mut gone) = (Vec::new(), Vec::new());
    for id in ids(arguments, "ids")? {
        let Some(message) = world.get("mail", &id) else {
            gone.push(id);
            continue;
        };
        let raw = message["raw"].as_str().unwrap_or_default();
        let mut said = json!({ "id": id });
        for property in &properties {
            let value = match property.strip_prefix("header:") {
                Some(header) => json!(values(raw, header.split(':').next().unwrap_or_default())),
                None => match *property {
                    "id" => id.clone().into(),
                    "blobId" => id.replacen('M', "G", 1).into(),
                    "size" => raw.len().into(),
                    _ => return Err("invalidArguments"),
                },
            };
            said[*property] = value;
        }
        list.push(said);
    }
    Ok(json!({ "state": "0", "list": list, "notFound": gone }))
}

fn set(world: &World, arguments: &Value) -> Result<Value, &'static str> {
    let (mut destroyed, mut not) = (Vec::new(), Map::new());
    for id in ids(arguments, "destroy")? {
        if world.take("mail", &id).is_some() {
            destroyed.push(id);
        } else {
            not.insert(id, json!({ "type": "notFound" }));
        }
    }
    Ok(json!({ "oldState": "0", "newState": "1", "destroyed": destroyed, "notDestroyed": not }))
}
