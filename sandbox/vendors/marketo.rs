//! Adobe Marketo Engage, REST v1, as its documentation (AdobeDocs/marketo-developer) has it.
//!
//! Its habits: errors come with 200 and a code in the body (601 and 602 for tokens, 606, 607 and 615 for limits), a token that is
//! asked for early is the same one with what is left of its life, a comma in `filterValues` parts two values, a URI over 8 KiB is
//! refused with 414 unless it comes as POST with `_method=GET`, a deletion answers for each lead apart, several leads may share an
//! address. Not documented: it compares without regard to case and (as MySQL does by default) accents.

use super::asked::{Asked, KEY, empty, fold, json, router, text};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Allowance, Over};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json as value};
use std::time::Duration;

/// The simulator.
pub const VENDOR: Vendor =
    Vendor { name: "marketo", router: |world| router(world, desk, refusal, &["/identity/"]), seed, count };

/// What an instance allows: 100 calls in 20 s, 10 at the same time, 50,000 a day, all applications together.
pub fn allowance() -> Allowance {
    Allowance { windows: vec![(100, Duration::from_secs(20))], concurrent: Some(10), budget: Some(50_000) }
}

const FORM: &str = "application/x-www-form-urlencoded";
/// A token lives this long.
const TOKEN_MS: i64 = 3_600_000;
/// Leads in one answer, in one deletion, values in one search.
const MOST: usize = 300;
/// API name, data type.
const FIELDS: &[(&str, &str)] = &[
    ("id", "integer"),
    ("email", "email"),
    ("firstName", "string"),
    ("lastName", "string"),
    ("phone", "phone"),
    ("mobilePhone", "phone"),
    ("company", "string"),
    ("title", "string"),
    ("address", "text"),
    ("city", "string"),
    ("state", "string"),
    ("postalCode", "string"),
    ("country", "string"),
    ("dateOfBirth", "date"),
    ("leadSource", "string"),
    ("unsubscribed", "boolean"),
    ("externalCustomerId", "string"),
    ("createdAt", "datetime"),
    ("updatedAt", "datetime"),
];

fn seed(world: &World, person: &Person) {
    let id = world.next_id();
    let now = "2026-01-15T08:00:00Z";
    world.put(
        "leads",
        &id.to_string(),
        value!({
            "id": id, "email": person.email, "firstName": person.first_name, "lastName": person.last_name,
            "phone": person.phone, "company": null, "externalCustomerId": person.customer_id,
            "createdAt": now, "updatedAt": now,
        }),
    );
}

fn count(world: &World, email: &str) -> u64 {
    world.all("leads").iter().filter(|(_, lead)| text(lead, "email") == email).count() as u64
}

fn refusal(over: Over) -> Response {
    let (code, message) = match over {
        Over::Window(_) => ("606", "Max rate limit '100' exceeded with in '20' secs"),
        Over::Concurrent => ("615", "Concurrent access limit reached"),
        Over::Budget => ("607", "Daily quota reached"),
    };
    fault(code, message)
}

fn fault(code: &str, message: &str) -> Response {
    json(
        200,
        &value!({"requestId": "e42b#14272d07d78", "success": false, "errors": [{"code": code, "message": message}]}),
    )
}

#[expect(clippy::needless_pass_by_value, reason = "the answer takes it")]
fn result(result: Vec<Value>) -> Response {
    json(200, &value!({"requestId": "e42b#14272d07d78", "result": result, "success": true}))
}

fn desk(world: &World, asked: &Asked) -> Response {
    if asked.uri_length > 8_192 {
        return empty(414);
    }
    if asked.body.len() > 1 << 20 {
        return empty(413);
    }
    let (mut method, mut parts) = asked.route();
    if parts == ["identity", "oauth", "token"] && matches!(method, "GET" | "POST") {
        return token(world, &asked.query);
    }
    let last = parts.last().and_then(|last| last.strip_suffix(".json"));
    let (["rest", "v1"], Some(last)) = (parts.get(..2).unwrap_or_default(), last) else {
        return fault("610", "Requested resource not found");
    };
    parts.pop();
    parts.push(last);
    if let Err(refused) = signed_in(world, asked) {
        return refused;
    }
    let mut given = asked.query.clone();
    if method == "POST" && asked.header("content-type").is_some_and(|kind| kind.starts_with(FORM)) {
        given.extend(asked.form());
    }
    if method == "POST" && first(&given, "_method") == Some("GET") {
        method = "GET";
    }
    match (method, &parts[2..]) {
        ("GET", ["leads"]) => search(world, &given),
        ("GET", ["lead", id]) => one(world, id, &given),
        ("POST", ["leads"]) => sync(world, asked),
        ("POST", ["leads", "delete"]) | ("DELETE", ["leads"]) => delete(world, asked),
        ("GET", ["leads", "describe"]) => describe(),
        ("GET", ["leads", "describe2"]) => describe2(),
        ("GET", ["leads", id, kind @ ("listMembership" | "programMembership")]) => membership(world, id, kind),
        ("GET", ["activities", "pagingtoken"]) => paging_token(&given),
        ("GET", ["activities", "deletedleads"]) => deleted_leads(world, &given),
        (_, ["leads" | "lead", ..]) => fault("611", "System error"),
        _ => fault("610", "Requested resource not found"),
    }
}

/// The first value of this name.
fn first<'p>(given: &'p [(String, String)], name: &str) -> Option<&'p str> {
    given.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn token(world: &World, given: &[(String, String)]) -> Response {
    let (Some(client), Some(secret), Some("client_credentials")) =
        (first(given, "client_id"), first(given, "client_secret"), first(given, "grant_type"))
    else {
        return json(400, &value!({"error": "invalid_request", "error_description": "Missing grant type"}));
    };
    if world.is_revoked() || client.is_empty() || secret != KEY {
        return json(401, &value!({"error": "invalid_client", "error_description": "Bad client credentials"}));
    }
    let now = world.now_ms();
    let known = world.get("tokens", client).filter(|token| token.get("until").and_then(Value::as_i64) > Some(now));
    let kept = known.unwrap_or_else(|| {
        let text = format!("cdf01657-110d-4155-99a7-{:012}:int", world.next_id());
        let token = value!({"token": text, "until": now + TOKEN_MS});
        world.put("tokens", client, token.clone());
        token.as_object().cloned().unwrap_or_default()
    });
    let left = (kept.get("until").and_then(Value::as_i64).unwrap_or(now) - now) / 1_000;
    json(
        200,
        &value!({
            "access_token": text(&kept, "token"), "token_type": "bearer", "expires_in": left, "scope": "api@redress.example",
        }),
    )
}

fn signed_in(world: &World, asked: &Asked) -> Result<(), Response> {
    let given = asked.header("authorization").and_then(|all| all.split_once(' '));
    let Some(given) = given.filter(|(word, _)| word.eq_ignore_ascii_case("bearer")).map(|(_, token)| token) else {
        return Err(fault("600", "Access token not specified"));
    };
    let now = world.now_ms();
    match world.all("tokens").iter().find(|(_, token)| text(token, "token") == given) {
        None => Err(fault("601", "Access token invalid")),
        Some(_) if world.is_revoked() => Err(fault("601", "Access token invalid")),
        Some((_, token)) if token.get("until").and_then(Value::as_i64) <= Some(now) => {
            Err(fault("602", "Access token expired"))
        }
        Some(_) => Ok(()),
    }
}

fn shown(lead: &Map<String, Value>, fields: Option<&str>) -> Result<Value, Response> {
    let fields = fields.unwrap_or("id,email,firstName,lastName,createdAt,updatedAt");
    let mut shown = Map::from_iter([("id".to_owned(), lead.get("id").cloned().unwrap_or_default())]);
    for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
        if !FIELDS.iter().any(|(known, _)| *known == field) {
            return Err(fault("1006", &format!("Field '{field}' not found")));
        }
        shown.insert(field.to_owned(), lead.get(field).cloned().unwrap_or_default());
    }
    Ok(Value::Object(shown))
}

fn search(world: &World, given: &[(String, String)]) -> Response {
    let known = ["filterType", "filterValues", "fields", "batchSize", "nextPageToken", "_method"];
    if given.iter().any(|(name, _)| !known.contains(&name.as_str())) {
        return fault("1003", "Invalid parameter");
    }
    let Some(kind) = first(given, "filterType") else {
        return fault("1002", "Missing value for required parameter 'filterType'");
    };
    let values: Vec<String> = given
        .iter()
        .filter(|(name, _)| name == "filterValues")
        .flat_map(|(_, values)| values.split(','))
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
        .collect();
    if values.is_empty() {
        return fault("1003", "filterValues must be specified");
    }
    if values.len() > MOST {
        return fault("1003", "Maximum of 300 filter values exceeded");
    }
    if !["id", "email", "externalCustomerId"].contains(&kind) {
        return fault("1003", &format!("Invalid filterType '{kind}'"));
    }
    if kind == "id" && values.iter().any(|value| value.parse::<u64>().is_err()) {
        return fault("1001", "Invalid value. Required of type 'Integer'");
    }
    let size = match first(given, "batchSize").map(str::parse::<usize>) {
        None => MOST,
        Some(Ok(size)) if (1..=MOST).contains(&size) => size,
        Some(_) => return fault("1003", "Invalid batchSize"),
    };
    let offset = match first(given, "nextPageToken").filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => {
            let decoded = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let Some(offset) = decoded.and_then(|text| text.parse::<usize>().ok()) else {
                return fault("1003", "Invalid nextPageToken");
            };
            offset
        }
    };
    let values: Vec<String> = values.iter().map(|value| fold(value)).collect();
    let found: Vec<_> = world
        .all("leads")
        .into_iter()
        .map(|(_, lead)| lead)
        .filter(|lead| match lead.get(kind) {
            Some(Value::String(stored)) => values.contains(&fold(stored)),
            Some(Value::Number(stored)) => values.contains(&stored.to_string()),
            _ => false,
        })
        .collect();
    let page: Result<Vec<Value>, Response> =
        found.iter().skip(offset).take(size).map(|lead| shown(lead, first(given, "fields"))).collect();
    let page = match page {
        Ok(page) => page,
        Err(refused) => return refused,
    };
    let next = offset + page.len();
    let mut body = value!({"requestId": "e42b#14272d07d78", "result": page, "success": true});
    if next < found.len() {
        body["moreResult"] = true.into();
        body["nextPageToken"] = URL_SAFE_NO_PAD.encode(next.to_string()).into();
    }
    json(200, &body)
}

fn one(world: &World, id: &str, given: &[(String, String)]) -> Response {
    match world.get("leads", id).map(|lead| shown(&lead, first(given, "fields"))) {
        Some(Ok(lead)) => result(vec![lead]),
        Some(Err(refused)) => refused,
        None => fault("1004", &format!("Lead '{id}' not found")),
    }
}

fn input(asked: &Asked) -> Result<(Map<String, Value>, Vec<Value>), Response> {
    let Some(Value::Object(whole)) = asked.json() else { return Err(fault("609", "Invalid JSON")) };
    match whole.get("input").and_then(Value::as_array).cloned() {
        None => Err(fault("1002", "Missing value for required parameter 'input'")),
        Some(input) if input.is_empty() => Err(fault("1003", "'input' must not be empty")),
        Some(input) if input.len() > MOST => Err(fault("1003", "Too many records: at most 300")),
        Some(input) => Ok((whole, input)),
    }
}

fn skipped(code: &str, message: &str) -> Value {
    value!({"status": "skipped", "reasons": [{"code": code, "message": message}]})
}

fn sync(world: &World, asked: &Asked) -> Response {
    let (whole, input) = match input(asked) {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    let known = ["action", "lookupField", "asyncProcessing", "partitionName", "input"];
    if let Some(key) = whole.keys().find(|key| !known.contains(&key.as_str())) {
        return fault("1003", &format!("Invalid key '{key}'"));
    }
    let action = whole.get("action").and_then(Value::as_str).unwrap_or("createOrUpdate");
    if !["updateOnly", "createOrUpdate", "createOnly"].contains(&action) {
        return fault("1003", &format!("Invalid action '{action}'"));
    }
    let lookup = whole.get("lookupField").and_then(Value::as_str).unwrap_or("email").to_owned();
    let mut answers = Vec::new();
    for item in input {
        let Value::Object(change) = item else { return fault("609", "Invalid JSON") };
        if let Some(field) = change.keys().find(|field| !FIELDS.iter().any(|(known, _)| known == field)) {
            answers.push(skipped("1006", &format!("Field '{field}' not found")));
            continue;
        }
        let Some(wanted) = change.get(&lookup) else {
            answers.push(skipped("1003", &format!("Value for lookup field '{lookup}' not found")));
            continue;
        };
        let same = |stored: &Value| match (stored.as_str(), wanted.as_str()) {
            (Some(stored), Some(wanted)) => fold(stored) == fold(wanted),
            _ => stored == wanted,
        };
        let matched: Vec<String> = world
            .all("leads")
            .into_iter()
            .filter(|(_, lead)| lead.get(&lookup).is_some_and(same))
            .map(|(key, _)| key)
            .collect();
        answers.push(match (matched.as_slice(), action) {
            ([], "updateOnly") => skipped("1004", "Lead not found"),
            ([], _) => {
                let id = world.next_id();
                let mut lead = change.clone();
                lead.insert("id".into(), id.into());
                world.put("leads", &id.to_string(), Value::Object(lead));
                value!({"id": id, "status": "created"})
            }
            ([_], "createOnly") => skipped("1005", "Lead already exists"),
            ([key], _) => {
                if let Some(lead) = world.tables().get_mut("leads").and_then(|leads| leads.get_mut(key)) {
                    lead.extend(change.clone().into_iter().filter(|(field, _)| field != "id"));
                }
                value!({"id": key.parse::<u64>().unwrap_or_default(), "status": "updated"})
            }
            _ => skipped("1007", "Multiple lead match lookup criteria"),
        });
    }
    result(answers)
}

fn delete(world: &World, asked: &Asked) -> Response {
    let (whole, input) = match input(asked) {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    if whole.len() > 1 {
        return fault("1003", "Invalid key");
    }
    let ids: Option<Vec<u64>> =
        input.iter().map(|item| item.as_object().filter(|item| item.len() == 1)?.get("id")?.as_u64()).collect();
    let Some(ids) = ids else { return fault("1001", "Invalid value. Required of type 'Integer'") };
    let at = world.now_ms();
    result(
        ids.into_iter()
            .map(|id| match world.take("leads", &id.to_string()) {
                Some(_) => {
                    world.put("deleted", &id.to_string(), value!({"leadId": id, "at": at}));
                    value!({"id": id, "status": "deleted"})
                }
                None => skipped("1004", "Lead not found"),
            })
            .collect(),
    )
}

fn describe() -> Response {
    result(
        FIELDS
            .iter()
            .enumerate()
            .map(|(i, (name, kind))| {
                value!({
                    "id": i + 1, "displayName": name, "dataType": kind, "length": 255,
                    "rest": {"name": name, "readOnly": (["id", "createdAt", "updatedAt"].contains(name))},
                })
            })
            .collect(),
    )
}

fn describe2() -> Response {
    let fields: Vec<Value> = FIELDS
        .iter()
        .map(|(name, kind)| value!({"name": name, "displayName": name, "dataType": kind, "length": 255, "updateable": *name != "id"}))
        .collect();
    result(vec![value!({
        "name": "API Lead", "searchableFields": [["email"], ["id"], ["externalCustomerId"]], "fields": fields,
    })])
}

fn membership(world: &World, id: &str, kind: &str) -> Response {
    if world.get("leads", id).is_none() {
        return fault("1004", &format!("Lead '{id}' not found"));
    }
    let lead: Option<u64> = id.parse().ok();
    let rows = world.all(kind).into_iter().filter(|(_, row)| row.get("leadId").and_then(Value::as_u64) == lead);
    result(
        rows.map(|(_, mut row)| {
            row.remove("leadId");
            Value::Object(row)
        })
        .collect(),
    )
}

fn paging_token(given: &[(String, String)]) -> Response {
    match first(given, "sinceDatetime") {
        None => fault("1002", "Missing value for required parameter 'sinceDatetime'"),
        Some(_) => json(
            200,
            &value!({"requestId": "e42b#14272d07d78", "success": true, "nextPageToken": URL_SAFE_NO_PAD.encode("0")}),
        ),
    }
}

fn deleted_leads(world: &World, given: &[(String, String)]) -> Response {
    if first(given, "nextPageToken").is_none() {
        return fault("1002", "Missing value for required parameter 'nextPageToken'");
    }
    let rows: Vec<Value> = world
        .all("deleted")
        .into_iter()
        .map(|(_, row)| {
            value!({
                "id": row.get("leadId"), "marketoGUID": "guid", "leadId": row.get("leadId"),
                "activityDate": "2026-11-22T08:00:00Z", "activityTypeId": 37, "attributes": [],
            })
        })
        .collect();
    json(
        200,
        &value!({
            "requestId": "e42b#14272d07d78", "result": rows, "success": true,
            "nextPageToken": URL_SAFE_NO_PAD.encode("0"), "moreResult": false,
        }),
    )
}
