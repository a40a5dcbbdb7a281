//! Mailchimp Marketing, 3.0.
//!
//! Its habits: a member's id is the MD5 of the lower-cased address, in each audience apart; DELETE only archives; a member
//! that was deleted for good cannot be imported again; at most ten connections at the same time, refused with 429 and no header.

use super::asked::{Asked, KEY, empty, json, page, router, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Allowance, Over};
use axum::response::Response;
use serde_json::{Map, Value, json as value};

/// The simulator.
pub const VENDOR: Vendor = Vendor { name: "mailchimp", router: |world| router(world, desk, refusal, &[]), seed, count };

/// What is allowed.
pub fn allowance() -> Allowance {
    Allowance { windows: Vec::new(), concurrent: Some(10), budget: None }
}

const AUDIENCES: [&str; 2] = ["a1b2c3d4e5", "f6a7b8c9d0"];

fn seed(world: &World, person: &Person) {
    for list in AUDIENCES {
        let number = world.next_id();
        world.put(
            "members",
            &format!("{list}/{number}"),
            value!({
                "id": md5_hex(&person.email.to_lowercase()), "email_address": person.email, "status": "subscribed",
                "merge_fields": {"FNAME": person.first_name, "LNAME": person.last_name, "PHONE": person.phone},
                "list_id": list, "contact_id": format!("{number:032x}"), "web_id": number,
            }),
        );
    }
}

fn count(world: &World, email: &str) -> u64 {
    world.all("members").iter().filter(|(_, member)| text(member, "email_address") == email).count() as u64
}

fn fault(status: u16, title: &str, detail: &str) -> Response {
    json(
        status,
        &value!({
            "type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title, "status": status,
            "detail": detail, "instance": "f2b8a8b1-0c3a-4f5e-9f6c-6a3f0c0a0001",
        }),
    )
}

fn refusal(_: Over) -> Response {
    fault(429, "Too Many Requests", "You have exceeded the limit of 10 simultaneous connections.")
}

fn desk(world: &World, asked: &Asked) -> Response {
    if asked.basic().is_none_or(|(_, key)| key != KEY) || world.is_revoked() {
        return fault(
            401,
            "API Key Invalid",
            "Your API key may be invalid, or you've attempted to access the wrong datacenter.",
        );
    }
    let (method, parts) = asked.route();
    let ["3.0", rest @ ..] = parts.as_slice() else {
        return fault(404, "Resource Not Found", "The requested resource could not be found.");
    };
    match (method, rest) {
        ("GET", ["ping"]) => json(200, &value!({"health_status": "Everything's Chimpy!"})),
        ("GET", ["lists"]) => lists(world, asked),
        (_, ["lists", list, "members", id, more @ ..]) => member(world, asked, method, (list, id, more)),
        _ => fault(404, "Resource Not Found", "The requested resource could not be found."),
    }
}

fn lists(world: &World, asked: &Asked) -> Response {
    if asked.unknown(&["count", "offset", "email", "fields"]).is_some() {
        return fault(400, "Invalid Resource", "unknown parameter");
    }
    let of: Vec<Value> = AUDIENCES
        .iter()
        .filter(|list| {
            asked.get("email").is_none_or(|email| {
                let id = md5_hex(&email.to_lowercase());
                world.all("members").iter().any(|(_, m)| text(m, "id") == id && text(m, "list_id") == **list)
            })
        })
        .map(|list| value!({"id": list, "name": format!("Audience {list}")}))
        .collect();
    let (part, _) = page(&of, asked.number("offset").unwrap_or(0), asked.number("count").unwrap_or(10).min(1_000));
    json(200, &value!({"lists": part, "total_items": of.len()}))
}

fn member(world: &World, asked: &Asked, method: &str, (list, id, more): (&str, &str, &[&str])) -> Response {
    let found: Vec<(String, Map<String, Value>)> = world
        .all("members")
        .into_iter()
        .filter(|(_, member)| text(member, "list_id") == list && text(member, "id") == id)
        .collect();
    let Some((_, member)) = found.first() else {
        return fault(404, "Resource Not Found", "The requested resource could not be found.");
    };
    match (method, more) {
        ("GET", []) => json(200, &Value::Object(member.clone())),
        ("GET", [kind @ ("activity-feed" | "tags" | "notes" | "events" | "goals")]) => {
            let name = if *kind == "activity-feed" { "activity" } else { kind };
            json(200, &value!({name: [], "total_items": 0, "list_id": list, "email_id": id}))
        }
        ("PATCH", []) => {
            let Some(body) = asked.json() else {
                return fault(400, "JSON Parse Error", "We encountered an unspecified JSON parsing error.");
            };
            if let Some(key) = unknown_key(&body, &["email_address", "merge_fields", "status", "language"]) {
                return fault(400, "Invalid Resource", &format!("{key} is not known"));
            }
            let mut tables = world.tables();
            let members = tables.entry("members".into()).or_default();
            for (key, _) in &found {
                let Some(held) = members.get_mut(key) else { continue };
                if let (Some(Value::Object(fields)), Some(Value::Object(change))) =
                    (held.get_mut("merge_fields"), body.get("merge_fields"))
                {
                    fields.extend(change.clone());
                }
                if let Some(email) = body.get("email_address").and_then(Value::as_str) {
                    held.insert("id".into(), md5_hex(&email.to_lowercase()).into());
                    held.insert("email_address".into(), email.into());
                }
            }
            json(200, &value!({"id": id, "list_id": list}))
        }
        ("DELETE", []) => {
            let mut tables = world.tables();
            for (key, _) in &found {
                if let Some(held) = tables.get_mut("members").and_then(|all| all.get_mut(key)) {
                    held.insert("status".into(), "archived".into());
                }
            }
            empty(204)
        }
        ("POST", ["actions", "delete-permanent"]) => {
            for (key, _) in &found {
                world.take("members", key);
            }
            world.put("forgotten", &format!("{list}/{id}"), value!({}));
            empty(204)
        }
        _ => fault(405, "Method Not Allowed", "The requested method and resource are not compatible."),
    }
}

/// RFC 1321.
pub fn md5_hex(text: &str) -> String {
    const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut state: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut bytes = text.as_bytes().to_vec();
    let bits = (bytes.len() as u64) * 8;
    bytes.push(0x80);
    while bytes.len() % 64 != 56 {
        bytes.push(0);
    }
    bytes.extend(bits.to_le_bytes());
    for block in bytes.chunks_exact(64) {
        let words: Vec<u32> = block
            .chunks_exact(4)
            .map(|word| word.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte)))
            .collect();
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64_usize {
            let (mixed, at) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), (7 * i) % 16),
            };
            let sine = ((f64::from(i as u32) + 1.0).sin().abs() * 4_294_967_296.0) as u32;
            let sum = mixed.wrapping_add(a).wrapping_add(sine).wrapping_add(words[at]);
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(TURNS[i / 16][i % 4]));
        }
        for (kept, new) in state.iter_mut().zip([a, b, c, d]) {
            *kept = kept.wrapping_add(new);
        }
    }
    let bytes: Vec<String> =
        state.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect();
    bytes.concat()
}

#[cfg(test)]
mod tests {
    use super::md5_hex;

    #[test]
    fn the_digests_of_the_rfc_come_out() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(md5_hex(text), digest);
        }
    }
}
