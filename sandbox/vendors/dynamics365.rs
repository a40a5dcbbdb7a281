//! Dynamics 365 (Dataverse Web API v9.2): a filter language that is really read, a collation that ignores case and accents, and
//! PATCH that makes a missing row anew unless `If-Match: *` forbids it.
//!
//! From memory of its reference, except for the limits' codes. A filter that does not parse is refused as Dataverse does; one
//! that was widened by an unescaped quote is not noticed by it, and so finds too much.

mod filter;

use super::asked::{Asked, KEY, empty, json, page, router, text};
use super::{Person, Vendor};
use crate::World;
use crate::kit::Over;
use axum::http::HeaderValue;
use axum::response::Response;
use filter::Filter;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor =
    Vendor { name: "dynamics365", router: |world| router(world, desk, refusal, &["/tenant"]), seed, count };

const HOUR_MS: i64 = 3_600_000;
const BIN_MS: i64 = 30 * 24 * HOUR_MS;

fn guid(world: &World) -> String {
    format!("8b1f9d3e-0000-4000-8000-{:012x}", world.next_id())
}

fn seed(world: &World, person: &Person) {
    for (set, key) in [("contacts", "contactid"), ("leads", "leadid")] {
        let id = guid(world);
        let mut row = j!({
            "firstname": person.first_name, "lastname": person.last_name, "emailaddress1": person.email,
            "emailaddress2": null, "emailaddress3": null, "mobilephone": person.phone, "telephone1": null,
            "telephone2": null, "telephone3": null, "statecode": 0,
        });
        row[key] = id.clone().into();
        if set == "contacts" {
            row["externaluseridentifier"] = person.customer_id.clone().into();
        }
        world.put(set, &id, row);
    }
}

fn count(world: &World, email: &str) -> u64 {
    ["contacts", "leads"]
        .iter()
        .flat_map(|set| world.all(set))
        .filter(|(_, row)| text(row, "emailaddress1") == email)
        .count() as u64
}

fn refusal(over: Over) -> Response {
    let (code, wait) = match over {
        Over::Window(wait) => ("0x80072322", wait.as_secs() + 1),
        Over::Concurrent => ("0x80072326", 1),
        Over::Budget => ("0x80072321", 300),
    };
    let mut response = fault(429, code, "Service protection limit exceeded.");
    response.headers_mut().insert("retry-after", HeaderValue::from(wait));
    response
}

fn fault(status: u16, code: &str, message: &str) -> Response {
    json(status, &j!({ "error": { "code": code, "message": message } }))
}

fn token(world: &World, asked: &Asked) -> Response {
    let form = asked.form();
    let said = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let fits = said("grant_type") == "client_credentials" && said("scope").ends_with("/.default");
    if world.is_revoked() || said("client_secret") != KEY || said("client_id").is_empty() || !fits {
        let text = "AADSTS7000215: Invalid client secret provided.";
        return json(401, &j!({ "error": "invalid_client", "error_description": text, "error_codes": [7_000_215] }));
    }
    let token = format!("eyJ0eXAi.{}", world.next_id());
    world.put("tokens", &token, j!({ "until": world.now_ms() + HOUR_MS }));
    json(200, &j!({ "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token }))
}

fn is_signed_in(world: &World, asked: &Asked) -> bool {
    let sent = asked.header("authorization").and_then(|all| all.strip_prefix("Bearer "));
    let until = sent.and_then(|token| world.get("tokens", token)).and_then(|token| token["until"].as_i64());
    until.is_some_and(|until| until > world.now_ms()) && !world.is_revoked()
}

/// `contacts(8b1f…)` in two parts.
fn row_of(part: &str) -> Option<(&str, &str)> {
    part.strip_suffix(')')?.split_once('(')
}

fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.chars().enumerate().all(|(i, c)| c == '-' && [8, 13, 18, 23].contains(&i) || c.is_ascii_hexdigit())
}

fn desk(world: &World, asked: &Asked) -> Response {
    let (method, parts) = asked.route();
    if let ("POST", ["tenant", "oauth2", "v2.0", "token"]) = (method, parts.as_slice()) {
        return token(world, asked);
    }
    if !is_signed_in(world, asked) {
        return empty(401);
    }
    if asked.header("odata-version") != Some("4.0") {
        return fault(400, "0x80060888", "OData-Version is missing");
    }
    let (what, relation) = match parts.as_slice() {
        ["api", "data", "v9.2", what] => (what, None),
        ["api", "data", "v9.2", what, relation] => (what, Some(*relation)),
        _ => return fault(404, "0x8006088a", "Resource not found"),
    };
    if method == "GET" && *what == "WhoAmI" {
        return json(200, &j!({ "UserId": guid(world), "OrganizationId": guid(world) }));
    }
    let (set, id) = row_of(what).map_or((*what, None), |(set, id)| (set, Some(id)));
    if !matches!(set, "contacts" | "leads") {
        return fault(404, "0x8006088a", "Resource not found for the segment");
    }
    if id.is_some_and(|id| !is_guid(id)) {
        return fault(400, "0x80060888", "Bad Request - Error in query syntax.");
    }
    if let (Some(relation), Some(id)) = (relation, id) {
        return related(world, method, set, id, relation);
    }
    match (method, id) {
        ("GET", None) => list(world, asked, set),
        ("GET", Some(id)) => world.get(set, id).map_or_else(|| missing(set, id), |row| json(200, &Value::Object(row))),
        ("PATCH", Some(id)) => patch(world, asked, set, id),
        ("DELETE", Some(id)) => match world.take(set, id) {
            Some(mut row) => {
                row.insert("deleted_ms".into(), world.now_ms().into());
                world.put(&format!("bin:{set}"), id, Value::Object(row));
                let (now, bin) = (world.now_ms(), format!("bin:{set}"));
                if let Some(bin) = world.tables().get_mut(&bin) {
                    bin.retain(|_, row| row["deleted_ms"].as_i64().is_none_or(|at| now - at < BIN_MS));
                }
                empty(204)
            }
            None => missing(set, id),
        },
        _ => fault(405, "0x80060888", "Method not allowed"),
    }
}

fn related(world: &World, method: &str, set: &str, id: &str, relation: &str) -> Response {
    let known = match set {
        "contacts" => &["Contact_Annotation", "Contact_ActivityPointers", "contact_activity_parties"][..],
        _ => &["Lead_Annotation", "Lead_ActivityPointers"][..],
    };
    if method != "GET" || !known.contains(&relation) {
        return fault(404, "0x8006088a", "Resource not found for the segment");
    }
    if world.get(set, id).is_none() {
        return missing(set, id);
    }
    let of = |row: &Map<String, Value>| text(row, "of") == id;
    let rows: Vec<Value> =
        world.all(relation).into_iter().filter(|(_, r)| of(r)).map(|(_, r)| Value::Object(r)).collect();
    json(200, &j!({ "value": rows }))
}

fn missing(set: &str, id: &str) -> Response {
    fault(404, "0x80040217", &format!("{} With Id = {id} Does Not Exist", set.trim_end_matches('s')))
}

fn list(world: &World, asked: &Asked, set: &str) -> Response {
    if let Some(key) = asked.unknown(&["$filter", "$select", "$skiptoken", "$top", "$orderby"]) {
        return fault(400, "0x80060888", &format!("The query parameter {key} is not supported"));
    }
    let filter = match Filter::parse(asked.get("$filter").unwrap_or_default()) {
        Ok(filter) => filter,
        Err(at) => return fault(400, "0x80060888", &format!("Syntax error at position {at} in the filter.")),
    };
    let rows: Vec<Map<String, Value>> =
        world.all(set).into_iter().map(|(_, row)| row).filter(|row| filter.holds(row)).collect();
    let size = asked
        .header("prefer")
        .and_then(|prefer| prefer.split_once("odata.maxpagesize="))
        .and_then(|(_, size)| size.parse().ok())
        .unwrap_or(5_000);
    let (part, next) = page(&rows, asked.number("$skiptoken").unwrap_or(0), size);
    let mut answer = j!({ "@odata.context": format!("{}/api/data/v9.2/$metadata#{set}", asked.origin), "value": part });
    if let Some(next) = next {
        let filter: String =
            url::form_urlencoded::byte_serialize(asked.get("$filter").unwrap_or_default().as_bytes()).collect();
        let link = format!("{}/api/data/v9.2/{set}?$filter={filter}&$skiptoken={next}", asked.origin);
        answer["@odata.nextLink"] = link.into();
    }
    json(200, &answer)
}

fn patch(world: &World, asked: &Asked, set: &str, id: &str) -> Response {
    let Some(Value::Object(changes)) = asked.json() else { return fault(400, "0x80048d19", "The body is not JSON") };
    let known =
        ["firstname", "lastname", "emailaddress1", "emailaddress2", "emailaddress3", "mobilephone", "telephone1"];
    if let Some(key) = changes.keys().find(|key| !known.contains(&key.as_str())) {
        return fault(400, "0x80048d19", &format!("The property '{key}' does not exist"));
    }
    let mut tables = world.tables();
    let rows = tables.entry(set.to_owned()).or_default();
    match rows.get_mut(id) {
        Some(row) => row.extend(changes),
        None if asked.header("if-match") == Some("*") => return missing(set, id),
        None => {
            // An upsert: the erased row is there again.
            rows.insert(id.to_owned(), changes);
        }
    }
    empty(204)
}
