//! Twilio: messages, calls and recordings of an account, filtered by exact numbers, deleted one by one.
//!
//! From its reference: paths, `To` and `From`, pages by `next_page_uri` (a path), 204, errors by code. A message that is still on its
//! way is refused with 20009.

use super::asked::{Asked, KEY, empty, json, page, router, text};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, too_many};
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "twilio", router: |world| router(world, desk, refusal, &[]), seed, count };

/// The account of the sandbox.
pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
const SHOP: &str = "+493012345670";

fn seed(world: &World, person: &Person) {
    // Which person it is cannot be seen in Twilio's records; the side door needs to know.
    let put = |list: &str, prefix: &str, mut record: Value| {
        let sid = format!("{prefix}{:032}", world.next_id());
        record["sid"] = j!(sid);
        record["account_sid"] = j!(ACCOUNT);
        world.put(list, &sid, record);
        world.put("owners", &sid, j!({"email": person.email}));
        sid
    };
    // What was written names the person: on access it is theirs.
    let body = format!("Hello {} {} <{}>, your order is on its way", person.first_name, person.last_name, person.email);
    put("messages", "SM", j!({"to": person.phone, "from": SHOP, "body": body, "status": "delivered"}));
    put("messages", "SM", j!({"to": SHOP, "from": person.phone, "body": "Thank you", "status": "received"}));
    let call = put("calls", "CA", j!({"to": SHOP, "from": person.phone, "status": "completed"}));
    put("recordings", "RE", j!({"call_sid": call, "duration": "12"}));
}

fn count(world: &World, email: &str) -> u64 {
    let owners: Vec<String> =
        world.all("owners").into_iter().filter(|(_, o)| text(o, "email") == email).map(|(sid, _)| sid).collect();
    let there = |list: &str| world.all(list).iter().filter(|(sid, _)| owners.contains(sid)).count() as u64;
    there("messages") + there("calls") + there("recordings")
}

fn refusal(over: Over) -> Response {
    too_many(over)
}

fn fault(status: u16, code: u32, message: &str) -> Response {
    json(status, &j!({"code": code, "message": message, "more_info": "", "status": status}))
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || asked.basic() != Some((KEY.into(), KEY.into())) {
        return fault(401, 20003, "Authenticate");
    }
    let (method, parts) = asked.route();
    if (method, parts.as_slice()) == ("GET", &["2010-04-01", "Accounts", &format!("{ACCOUNT}.json")][..]) {
        return json(200, &j!({"sid": ACCOUNT, "status": "active"}));
    }
    let ["2010-04-01", "Accounts", ACCOUNT, rest @ ..] = parts.as_slice() else { return missing() };
    match (method, rest) {
        ("GET", ["Messages.json"]) => list(world, asked, "messages", |_| true),
        ("GET", ["Calls.json"]) => list(world, asked, "calls", |_| true),
        ("GET", ["Calls", call, "Recordings.json"]) => {
            list(world, asked, "recordings", |record| text(record, "call_sid") == *call)
        }
        ("GET" | "DELETE", [kind @ ("Messages" | "Calls" | "Recordings"), name]) => {
            let list = kind.to_lowercase();
            let Some(record) = name.strip_suffix(".json").and_then(|sid| world.get(&list, sid)) else {
                return missing();
            };
            if method == "GET" {
                return json(200, &Value::Object(record));
            }
            if ["queued", "sending", "in-progress"].contains(&text(&record, "status")) {
                return fault(409, 20009, "Cannot delete a resource that is in progress");
            }
            world.take(&list, text(&record, "sid"));
            empty(204)
        }
        _ => missing(),
    }
}

fn missing() -> Response {
    fault(404, 20404, "The requested resource was not found")
}

fn list(world: &World, asked: &Asked, kind: &str, is: impl Fn(&Map<String, Value>) -> bool) -> Response {
    // Twilio overlooks parameters that it does not know.
    let same =
        |record: &Map<String, Value>, field: &str, name: &str| asked.get(name).is_none_or(|v| text(record, field) == v);
    let all: Vec<Value> = world
        .all(kind)
        .into_iter()
        .filter(|(_, record)| is(record) && same(record, "to", "To") && same(record, "from", "From"))
        .map(|(_, record)| Value::Object(record))
        .collect();
    let size = asked.number("PageSize").unwrap_or(50).clamp(1, 1000);
    let at = asked.number("Page").unwrap_or(0);
    let (part, next) = page(&all, at * size, size);
    let next = next.map(|_| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        asked.query.iter().filter(|(key, _)| key != "Page").for_each(|(key, value)| {
            query.append_pair(key, value);
        });
        query.append_pair("Page", &(at + 1).to_string());
        format!("/{}?{}", asked.parts.join("/"), query.finish())
    });
    json(200, &j!({kind: part, "page": at, "page_size": size, "next_page_uri": next}))
}
