//! Zoho CRM (v8): 204 for nobody, one answer per record inside a 200, a recycle bin of 60 days, tokens of an hour.
//!
//! From memory of its reference. The search by telephone number looks into every telephone field, an assistant's too; the sign-in
//! answers 200 with `error` where it refuses.

use super::asked::{Asked, KEY, digits, empty, json, page, router, same, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::Over;
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor =
    Vendor { name: "zoho", router: |world| router(world, desk, refusal, &["/oauth"]), seed, count };

const HOUR_MS: i64 = 3_600_000;
const BIN_MS: i64 = 60 * 24 * HOUR_MS;

fn seed(world: &World, person: &Person) {
    for module in ["Contacts", "Leads"] {
        let id = format!("55544400000{:07}", world.next_id());
        let mut record = j!({
            "id": id, "First_Name": person.first_name, "Last_Name": person.last_name, "Email": person.email,
            "Secondary_Email": null, "Phone": null, "Mobile": person.phone, "Description": null,
        });
        if module == "Contacts" {
            record["Asst_Phone"] = Value::Null;
        }
        world.put(module, &id, record);
    }
}

fn count(world: &World, email: &str) -> u64 {
    // What lies in the bin counts as long as it holds the address.
    let all = ["Contacts", "Leads", "bin:Contacts", "bin:Leads"];
    all.iter().flat_map(|module| world.all(module)).filter(|(_, record)| text(record, "Email") == email).count() as u64
}

fn refusal(over: Over) -> Response {
    match over {
        Over::Budget => fault(429, "LIMIT_EXCEEDED", "the credits of 24 hours are used up"),
        _ => fault(429, "TOO_MANY_REQUESTS", "You have crossed the API call limit"),
    }
}

fn fault(status: u16, code: &str, message: &str) -> Response {
    json(status, &j!({ "code": code, "details": {}, "message": message, "status": "error" }))
}

fn token(world: &World, asked: &Asked) -> Response {
    let form = asked.form();
    let said = |name: &str| {
        let sent =
            asked.get(name).or_else(|| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()));
        sent.unwrap_or_default().to_owned()
    };
    if world.is_revoked() || said("refresh_token") != KEY || said("grant_type") != "refresh_token" {
        return json(200, &j!({ "error": "invalid_code" }));
    }
    if said("client_id").is_empty() || said("client_secret") != KEY {
        return json(200, &j!({ "error": "invalid_client_secret" }));
    }
    let token = format!("1000.{}", world.next_id());
    world.put("tokens", &token, j!({ "until": world.now_ms() + HOUR_MS }));
    let answer = j!({ "access_token": token, "api_domain": asked.origin, "token_type": "Bearer", "expires_in": 3600 });
    json(200, &answer)
}

fn is_signed_in(world: &World, asked: &Asked) -> bool {
    let sent = asked.header("authorization").and_then(|all| all.strip_prefix("Zoho-oauthtoken "));
    let until = sent.and_then(|token| world.get("tokens", token)).and_then(|token| token["until"].as_i64());
    until.is_some_and(|until| until > world.now_ms()) && !world.is_revoked()
}

fn desk(world: &World, asked: &Asked) -> Response {
    let (method, parts) = asked.route();
    if (method, parts.as_slice()) == ("POST", &["oauth", "v2", "token"]) {
        return token(world, asked);
    }
    if !is_signed_in(world, asked) {
        return fault(401, "INVALID_TOKEN", "invalid oauth token");
    }
    purge(world);
    let ["crm", "v8", module @ ("Contacts" | "Leads"), rest @ ..] = parts.as_slice() else {
        return fault(404, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one");
    };
    match (method, rest) {
        ("GET", []) => match asked.get("fields") {
            Some(_) => listed(&rows(world, module, |_| true), asked),
            None => fault(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing"),
        },
        ("GET", ["search"]) => search(world, asked, module),
        ("GET", [id]) => one(world, module, id),
        ("GET", [id, list @ ("Notes" | "Deals" | "Tasks" | "Attachments")]) => {
            if asked.get("fields").is_none() {
                return fault(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing");
            }
            let of = |record: &Map<String, Value>| text(record, "parent") == *id;
            listed(&rows(world, list, of), asked)
        }
        ("PUT", []) => update(world, asked, module, None),
        ("PUT", [id]) => update(world, asked, module, Some(id)),
        ("DELETE", []) => delete(world, asked, module),
        _ => fault(405, "INVALID_REQUEST_METHOD", "The http request method type is not a valid one"),
    }
}

fn purge(world: &World) {
    let now = world.now_ms();
    let mut tables = world.tables();
    for module in ["bin:Contacts", "bin:Leads"] {
        let Some(bin) = tables.get_mut(module) else { continue };
        bin.retain(|_, record| record.get("deleted_ms").and_then(Value::as_i64).is_none_or(|at| now - at < BIN_MS));
    }
}

fn listed(all: &[Map<String, Value>], asked: &Asked) -> Response {
    if all.is_empty() {
        return empty(204);
    }
    let (number, size) = (asked.number("page").unwrap_or(1), asked.number("per_page").unwrap_or(200));
    if !(1..=200).contains(&size) {
        return fault(400, "INVALID_DATA", "per_page must be at most 200");
    }
    let (part, next) = page(all, number.saturating_sub(1) * size, size);
    let info = j!({ "per_page": size, "count": part.len(), "page": number, "more_records": next.is_some() });
    json(200, &j!({ "data": part, "info": info }))
}

fn search(world: &World, asked: &Asked, module: &str) -> Response {
    if let Some(key) = asked.unknown(&["email", "phone", "word", "criteria", "page", "per_page", "fields"]) {
        return fault(400, "INVALID_DATA", &format!("{key} is not a parameter"));
    }
    let emails = ["Email", "Secondary_Email"];
    let phones = ["Phone", "Mobile", "Home_Phone", "Other_Phone", "Asst_Phone", "Fax"];
    let found = match (asked.get("email"), asked.get("phone")) {
        (Some(email), None) => rows(world, module, |r| emails.iter().any(|field| same(text(r, field), email))),
        (None, Some(phone)) if !digits(phone).is_empty() => rows(world, module, |r| {
            // A number is found by its end, too.
            let (wanted, held) = (digits(phone), phones.map(|field| digits(text(r, field))));
            held.iter().any(|held| !held.is_empty() && (held.ends_with(&wanted) || wanted.ends_with(held.as_str())))
        }),
        _ => return fault(400, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing"),
    };
    listed(&found, asked)
}

fn rows(world: &World, module: &str, is: impl Fn(&Map<String, Value>) -> bool) -> Vec<Map<String, Value>> {
    world.all(module).into_iter().map(|(_, record)| record).filter(|record| is(record)).collect()
}

fn one(world: &World, module: &str, id: &str) -> Response {
    if !id.chars().all(|c| c.is_ascii_digit()) {
        return fault(400, "INVALID_DATA", "the id given seems to be invalid");
    }
    world.get(module, id).map_or_else(|| empty(204), |record| json(200, &j!({ "data": [record] })))
}

fn answer(id: &str, done: Option<&str>) -> Value {
    let details = j!({ "id": id });
    if let Some(word) = done {
        return j!({ "code": "SUCCESS", "details": details, "message": word, "status": "success" });
    }
    let message = "the id given seems to be invalid";
    j!({ "code": "INVALID_DATA", "details": details, "message": message, "status": "error" })
}

fn update(world: &World, asked: &Asked, module: &str, id: Option<&str>) -> Response {
    let Some(body) = asked.json() else { return fault(400, "INVALID_DATA", "body is not JSON") };
    if let Some(key) = unknown_key(&body, &["data", "trigger"]) {
        return fault(400, "INVALID_DATA", &format!("{key} is not expected"));
    }
    let Some(rows) = body["data"].as_array().filter(|rows| (1..=100).contains(&rows.len())) else {
        return fault(400, "MANDATORY_NOT_FOUND", "data must hold 1 to 100 records");
    };
    let mut answers = Vec::new();
    let mut tables = world.tables();
    let records = tables.entry(module.to_owned()).or_default();
    for row in rows {
        let id = id.or(row["id"].as_str()).unwrap_or_default();
        let (Some(record), Some(changes)) = (records.get_mut(id), row.as_object()) else {
            answers.push(answer(id, None));
            continue;
        };
        record.extend(changes.iter().filter(|(key, _)| *key != "id").map(|(key, value)| (key.clone(), value.clone())));
        answers.push(answer(id, Some("record updated")));
    }
    json(if answers.iter().all(|one| one["code"] == "SUCCESS") { 200 } else { 207 }, &j!({ "data": answers }))
}

fn delete(world: &World, asked: &Asked, module: &str) -> Response {
    if let Some(key) = asked.unknown(&["ids", "wf_trigger"]) {
        return fault(400, "INVALID_DATA", &format!("{key} is not a parameter"));
    }
    let ids: Vec<&str> = asked.get("ids").unwrap_or_default().split(',').filter(|id| !id.is_empty()).collect();
    if !(1..=100).contains(&ids.len()) {
        return fault(400, "INVALID_DATA", "ids must be 1 to 100");
    }
    let mut answers = Vec::new();
    for id in ids {
        let taken = world.take(module, id);
        answers.push(answer(id, taken.as_ref().map(|_| "record deleted")));
        if let Some(mut record) = taken {
            record.insert("deleted_ms".into(), world.now_ms().into());
            world.put(&format!("bin:{module}"), id, Value::Object(record));
        }
    }
    json(200, &j!({ "data": answers }))
}
