//! Stripe: customers found by a search language, form bodies, payments that stay when their customer goes.
//!
//! From its reference: paths, exact (`:`) search that tells no capitals apart, `deleted`, errors, `has_more`. A key in the query
//! language must be quoted; what cannot be read is refused with 400.

use super::asked::{Asked, KEY, fold, json, page, router, text};
use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, too_many};
use axum::response::Response;
use serde_json::{Map, Value, json as j};

/// The vendor.
pub const VENDOR: Vendor = Vendor { name: "stripe", router: |world| router(world, desk, refusal, &[]), seed, count };

fn seed(world: &World, person: &Person) {
    let id = format!("cus_{:014}", world.next_id());
    let customer = j!({
        "id": id, "object": "customer", "email": person.email, "phone": person.phone,
        "name": format!("{} {}", person.first_name, person.last_name), "metadata": {"customer_id": person.customer_id},
    });
    world.put("customers", &id, customer);
}

fn count(world: &World, email: &str) -> u64 {
    world.all("customers").iter().filter(|(_, c)| text(c, "email") == email).count() as u64
}

fn refusal(over: Over) -> Response {
    too_many(over)
}

fn fault(status: u16, code: &str) -> Response {
    json(status, &j!({"error": {"type": "invalid_request_error", "code": code, "message": code}}))
}

fn desk(world: &World, asked: &Asked) -> Response {
    if world.is_revoked() || !asked.authorized("Bearer", KEY) {
        return json(401, &j!({"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}));
    }
    let (method, parts) = asked.route();
    let ["v1", rest @ ..] = parts.as_slice() else { return fault(404, "url_invalid") };
    match (method, rest) {
        ("GET", ["customers"]) => list(world, "customers", asked, |_| true),
        ("GET", ["customers", "search"]) => search(world, asked),
        ("GET", ["customers", _, "payment_methods"]) => {
            json(200, &j!({"object": "list", "data": [], "has_more": false}))
        }
        ("GET", ["customers", id]) => match (world.get("customers", id), world.get("deleted", id)) {
            (Some(customer), _) => json(200, &Value::Object(customer)),
            (None, Some(shell)) => json(200, &Value::Object(shell)),
            (None, None) => fault(404, "resource_missing"),
        },
        ("POST", ["customers", id]) => update(world, asked, id),
        ("DELETE", ["customers", id]) => {
            if world.take("customers", id).is_none() {
                return fault(404, "resource_missing");
            }
            let shell = j!({"id": id, "object": "customer", "deleted": true});
            world.put("deleted", id, shell.clone());
            json(200, &shell)
        }
        ("GET", [kind @ ("charges" | "invoices")]) => {
            let Some(customer) = asked.get("customer") else { return fault(400, "parameter_missing") };
            list(world, kind, asked, |record| text(record, "customer") == customer)
        }
        _ => fault(404, "url_invalid"),
    }
}

fn list(world: &World, kind: &str, asked: &Asked, is: impl Fn(&Map<String, Value>) -> bool) -> Response {
    if asked.unknown(&["limit", "starting_after", "customer"]).is_some() {
        return fault(400, "parameter_unknown");
    }
    let limit = asked.number("limit").unwrap_or(10);
    if !(1..=100).contains(&limit) {
        return fault(400, "parameter_invalid_integer");
    }
    let all: Vec<_> = world.all(kind).into_iter().filter(|(_, record)| is(record)).collect();
    let from = match asked.get("starting_after") {
        Some(after) => match all.iter().position(|(key, _)| key == after) {
            Some(at) => at + 1,
            None => return fault(400, "resource_missing"),
        },
        None => 0,
    };
    let (part, next) = page(&all, from, limit);
    let data: Vec<Value> = part.into_iter().map(|(_, record)| Value::Object(record)).collect();
    json(200, &j!({"object": "list", "data": data, "has_more": next.is_some()}))
}

/// `field:"literal"`, nothing else is understood here; a literal ends at the first quotation mark without backslash.
fn search(world: &World, asked: &Asked) -> Response {
    let parse = |query: &str| {
        let (field, literal) = query.split_once(":\"")?;
        let (mut value, mut rest) = (String::new(), literal.chars());
        loop {
            match rest.next()? {
                '\\' => value.push(rest.next()?),
                '"' => break,
                c => value.push(c),
            }
        }
        rest.next().is_none().then(|| (field.to_owned(), value))
    };
    let Some((field, value)) = asked.get("query").and_then(parse) else { return fault(400, "query_invalid") };
    let held = |customer: &Map<String, Value>| match field.as_str() {
        "email" | "phone" => Some(text(customer, &field).to_owned()),
        "metadata[\"customer_id\"]" => customer["metadata"]["customer_id"].as_str().map(Into::into),
        _ => None,
    };
    if !["email", "phone", "metadata[\"customer_id\"]"].contains(&field.as_str()) {
        return fault(400, "query_invalid");
    }
    let customers = world.all("customers").into_iter();
    let all: Vec<Value> = customers
        .filter(|(_, customer)| held(customer).is_some_and(|held| fold(&held) == fold(&value)))
        .map(|(_, customer)| Value::Object(customer))
        .collect();
    let from = asked.number("page").unwrap_or(0);
    let (part, next) = page(&all, from, asked.number("limit").unwrap_or(10));
    let next = next.map(|next| next.to_string());
    json(200, &j!({"object": "search_result", "data": part, "has_more": next.is_some(), "next_page": next}))
}

fn update(world: &World, asked: &Asked, id: &str) -> Response {
    if asked.header("content-type") != Some("application/x-www-form-urlencoded") {
        return fault(400, "request_is_no_form");
    }
    let Some(mut customer) = world.get("customers", id) else { return fault(404, "resource_missing") };
    for (key, value) in asked.form() {
        if !["name", "email", "phone", "description"].contains(&key.as_str()) {
            return fault(400, "parameter_unknown");
        }
        customer.insert(key, value.into());
    }
    world.put("customers", id, Value::Object(customer.clone()));
    json(200, &Value::Object(customer))
}
