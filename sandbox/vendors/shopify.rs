//! Shopify's Admin GraphQL as far as customers need it: a search of words, an update, and an erasure that is done later.
//!
//! From its reference: 200 with `errors`, `extensions.code`, `userErrors`, mutations. An erasure redacts the customer ten days
//! later, or 180 days after the last order. The server reads which field is asked for and the variables, not the whole language.

use super::asked::{Asked, KEY, digits, fold, json, page, router, text, unknown_key};
use super::{Person, Vendor};
use crate::World;
use crate::kit::Over;
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "shopify", router: |world| router(world, desk, refusal, &[]), seed, count };

const DAY: i64 = 86_400_000;

fn seed(world: &World, person: &Person) {
    let id = format!("gid://shopify/Customer/{}", world.next_id());
    let customer = j!({
        "id": id, "firstName": person.first_name, "lastName": person.last_name, "note": null, "tags": [],
        "defaultEmailAddress": {"emailAddress": person.email}, "defaultPhoneNumber": {"phoneNumber": person.phone},
        "addresses": [], "createdAt": "2024-05-02T16:40:31Z",
    });
    world.put("customers", &id, customer);
}

fn email(customer: &Map<String, Value>) -> &str {
    customer["defaultEmailAddress"]["emailAddress"].as_str().unwrap_or_default()
}

fn count(world: &World, address: &str) -> u64 {
    run(world);
    world.all("customers").iter().filter(|(_, customer)| email(customer) == address).count() as u64
}

/// Redacts who is due.
fn run(world: &World) {
    for (id, order) in world.all("erasures") {
        if world.now_ms() >= order["due"].as_i64().unwrap_or(i64::MAX) {
            let shell = j!({"id": id, "firstName": null, "lastName": null, "defaultEmailAddress": null, "defaultPhoneNumber": null});
            world.put("customers", &id, shell);
            world.take("erasures", &id);
        }
    }
}

fn refusal(_: Over) -> Response {
    json(200, &j!({"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}))
}

fn fault(code: &str) -> Response {
    json(200, &j!({"errors": [{"message": code, "extensions": {"code": code}}]}))
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || asked.header("x-shopify-access-token") != Some(KEY) {
        return json(401, &j!({"errors": "[API] Invalid API key or access token"}));
    }
    run(world);
    let (method, parts) = asked.route();
    if (method, parts.as_slice()) != ("POST", &["admin", "api", "2026-07", "graphql.json"][..]) {
        return json(404, &j!({"errors": "Not Found"}));
    }
    let body = asked.json().unwrap_or_default();
    if unknown_key(&body, &["query", "variables"]).is_some() {
        return json(400, &j!({"errors": "Bad Request"}));
    }
    let (query, variables) = (body["query"].as_str().unwrap_or_default(), &body["variables"]);
    let asks = |field: &str| query.contains(field);
    if asks("{ shop {") {
        json(200, &j!({"data": {"shop": {"id": "gid://shopify/Shop/1"}}}))
    } else if asks("customerRequestDataErasure(customerId: $id)") {
        erase(world, variables)
    } else if asks("customerUpdate(input: $input)") {
        update(world, &variables["input"])
    } else if asks("customers(first: 50, query: $q, after: $after)") {
        search(world, variables)
    } else if asks("nodes(ids: $ids)") {
        let one = |id: &Value| id.as_str().and_then(|id| world.get("customers", id)).map_or(Value::Null, Value::Object);
        let valid = |id: &Value| id.as_str().is_some_and(|id| id.starts_with("gid://shopify/"));
        let ids = variables["ids"].as_array().cloned().unwrap_or_default();
        if !ids.iter().all(valid) {
            return fault("argumentLiteralsIncompatible");
        }
        json(200, &j!({"data": {"nodes": ids.iter().map(one).collect::<Vec<_>>()}}))
    } else if asks("orders(first: 50, after: $after)") {
        let id = variables["id"].as_str().unwrap_or_default();
        let orders = world.all("orders").into_iter().filter(|(_, order)| text(order, "customer") == id);
        let nodes: Vec<Value> = orders.map(|(_, order)| Value::Object(order)).collect();
        json(
            200,
            &j!({"data": {"customer": {"orders": {"nodes": nodes, "pageInfo": {"hasNextPage": false, "endCursor": null}}}}}),
        )
    } else {
        fault("undefinedField")
    }
}

/// `field:"literal"`: words and prefixes, without accents.
fn search(world: &World, variables: &Value) -> Response {
    let q = variables["q"].as_str().unwrap_or_default();
    let literal = q.split_once(":\"").and_then(|(field, rest)| Some((field, rest.strip_suffix('"')?)));
    let Some((field, literal)) = literal else { return fault("INVALID_QUERY") };
    let wanted = literal.replace("\\\"", "\"").replace("\\\\", "\\");
    let is = |customer: &Map<String, Value>| match field {
        "email" => fold(email(customer)).starts_with(&fold(&wanted)) && !email(customer).is_empty(),
        "phone" => {
            let held = digits(customer["defaultPhoneNumber"]["phoneNumber"].as_str().unwrap_or_default());
            !held.is_empty() && held.starts_with(&digits(&wanted))
        }
        _ => false,
    };
    let found: Vec<Value> =
        world.all("customers").into_iter().filter(|(_, c)| is(c)).map(|(_, c)| Value::Object(c)).collect();
    let from = variables["after"].as_str().and_then(|after| after.parse().ok()).unwrap_or(0);
    let (nodes, next) = page(&found, from, 50);
    let info = j!({"hasNextPage": next.is_some(), "endCursor": next.map(|next| next.to_string())});
    json(200, &j!({"data": {"customers": {"nodes": nodes, "pageInfo": info}}}))
}

fn erase(world: &World, variables: &Value) -> Response {
    let id = variables["id"].as_str().unwrap_or_default();
    let errors = if world.get("customers", id).is_some() {
        let ordered = world.all("orders").into_iter().filter(|(_, order)| text(order, "customer") == id);
        let last = ordered.filter_map(|(_, order)| order["at"].as_i64()).max().unwrap_or(i64::MIN / 2);
        let due = (world.now_ms() + 10 * DAY).max(last + 180 * DAY);
        world.put("erasures", id, j!({"due": due}));
        j!([])
    } else {
        j!([{"code": "DOES_NOT_EXIST", "message": "Customer does not exist"}])
    };
    json(200, &j!({"data": {"customerRequestDataErasure": {"customerId": id, "userErrors": errors}}}))
}

fn update(world: &World, input: &Value) -> Response {
    let id = input["id"].as_str().unwrap_or_default();
    let (Some(mut customer), Some(new)) = (world.get("customers", id), input.as_object()) else {
        let errors = [j!({"field": ["id"], "message": "Customer does not exist"})];
        return json(200, &j!({"data": {"customerUpdate": {"customer": null, "userErrors": errors}}}));
    };
    if unknown_key(input, &["id", "firstName", "lastName", "note", "tags"]).is_some() {
        return fault("argumentNotAccepted");
    }
    customer.extend(new.clone());
    world.put("customers", id, Value::Object(customer));
    json(200, &j!({"data": {"customerUpdate": {"customer": {"id": id}, "userErrors": []}}}))
}
