//! Slack's SCIM 2.0: members are looked up with filters, corrected and deactivated; nothing is ever deleted.
//!
//! From its reference: paths, `DELETE` deactivates, `Resources`, `totalResults`, RFC 7644 errors. A filter is `path eq "literal"`.

use super::asked::{Asked, KEY, empty, fold, json, router, text};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, too_many};
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "slack", router: |world| router(world, desk, refusal, &[]), seed, count };

fn seed(world: &World, person: &Person) {
    let id = format!("U{:010}", world.next_id());
    let member = j!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": id, "externalId": person.customer_id,
        "userName": format!("user{id}").to_lowercase(), "active": true,
        "name": {"givenName": person.first_name, "familyName": person.last_name},
        "emails": [{"value": person.email, "primary": true}],
    });
    world.put("members", &id, member);
}

/// Active members; a deactivated one is as gone as Slack lets anybody be.
fn count(world: &World, email: &str) -> u64 {
    let is = |member: &Map<String, Value>| member["active"] == true && member["emails"][0]["value"] == email;
    world.all("members").iter().filter(|(_, member)| is(member)).count() as u64
}

fn refusal(over: Over) -> Response {
    too_many(over)
}

fn fault(status: u16, detail: &str) -> Response {
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:Error"];
    json(status, &j!({"schemas": schemas, "detail": detail, "status": status.to_string()}))
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || !asked.authorized("Bearer", KEY) {
        return fault(401, "invalid_authentication");
    }
    let (method, parts) = asked.route();
    let ["scim", "v2", rest @ ..] = parts.as_slice() else { return fault(404, "not_found") };
    match (method, rest) {
        ("GET", ["ServiceProviderConfig"]) => json(200, &j!({"patch": {"supported": true}})),
        ("GET", ["Users"]) => list(world, asked),
        (_, ["Users", id]) => {
            let Some(mut member) = world.get("members", id) else { return fault(404, "user_not_found") };
            match method {
                "GET" => json(200, &Value::Object(member)),
                "DELETE" => {
                    member.insert("active".into(), j!(false));
                    world.put("members", id, Value::Object(member));
                    empty(204)
                }
                "PATCH" => patch(world, asked, id, member),
                _ => fault(405, "method_not_allowed"),
            }
        }
        _ => fault(404, "not_found"),
    }
}

fn list(world: &World, asked: &Asked) -> Response {
    if asked.unknown(&["filter", "count", "startIndex"]).is_some() {
        return fault(400, "invalid_arguments");
    }
    let filter = asked.get("filter").and_then(|filter| filter.split_once(" eq "));
    let Some((path, literal)) = filter else { return fault(400, "invalid_filter") };
    // The literal is a JSON text (RFC 7644 section 3.4.2.2).
    let Ok(value) = serde_json::from_str::<String>(literal) else { return fault(400, "invalid_filter") };
    let is = |member: &Map<String, Value>| match path {
        "externalId" => text(member, "externalId") == value,
        "emails.value" => fold(member["emails"][0]["value"].as_str().unwrap_or_default()) == fold(&value),
        _ => false,
    };
    let found: Vec<Value> =
        world.all("members").into_iter().filter(|(_, m)| is(m)).map(|(_, m)| Value::Object(m)).collect();
    let schemas = ["urn:ietf:params:scim:api:messages:2.0:ListResponse"];
    json(
        200,
        &j!({"schemas": schemas, "totalResults": found.len(), "itemsPerPage": found.len(), "startIndex": 1, "Resources": found}),
    )
}

fn patch(world: &World, asked: &Asked, id: &str, mut member: Map<String, Value>) -> Response {
    let body = asked.json().unwrap_or_default();
    if body["schemas"][0] != "urn:ietf:params:scim:api:messages:2.0:PatchOp" {
        return fault(400, "invalid_schema");
    }
    for operation in body["Operations"].as_array().into_iter().flatten() {
        match (&operation["op"], &operation["path"], &operation["value"], member.get_mut("name")) {
            (Value::String(op), Value::String(path), Value::Object(new), Some(Value::Object(name)))
                if op == "replace" && path == "name" =>
            {
                name.extend(new.clone());
            }
            _ => return fault(400, "invalid_operation"),
        }
    }
    world.put("members", id, Value::Object(member.clone()));
    json(200, &Value::Object(member))
}
