//! Records: queries, one at a time, collections, search, and what deleting one does to others.

use super::schema::{self, Object};
use super::soql::{Query, Refused};
use super::{Ask, error, missing, org};
use crate::World;
use crate::kit::Records;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const BIN_MS: i64 = 15 * 86_400_000;
const PURGED_SHOWS_MS: i64 = 86_400_000;

/// An error of one item: code, message, fields.
pub(super) type Fault = (&'static str, String, Vec<String>);

pub(super) fn is_deleted(record: &Map<String, Value>) -> bool {
    record.get("IsDeleted").and_then(Value::as_bool).unwrap_or(false)
}

/// Whether the user sees this object.
pub(super) fn is_there(world: &World, object: &Object) -> bool {
    org(world, "hidden").as_str() != Some(object.name)
}

/// Puts a record into the org.
pub(super) fn insert(world: &World, name: &str, record: Value) -> String {
    let object = schema::object(name).expect("an object of the org");
    let id = schema::with_checksum(&format!("{}D7{:010}", object.prefix, world.next_id()));
    let Value::Object(mut record) = record else { panic!("a record is an object") };
    record.insert("Id".to_owned(), id.clone().into());
    let now = "2026-11-19T09:00:00.000+0000";
    for at in ["CreatedDate", "LastModifiedDate", "SystemModstamp"] {
        record.insert(at.to_owned(), now.into());
    }
    world.put(object.name, &id, Value::Object(record));
    id
}

/// Deleted rows leave the bin, hard-deleted ones the index, when their time has come.
pub(super) fn purge(tables: &mut BTreeMap<String, Records>, now: i64) {
    for object in schema::OBJECTS {
        if let Some(table) = tables.get_mut(object.name) {
            table.retain(|_, record| record.get("_purge_at").and_then(Value::as_i64).is_none_or(|at| at > now));
        }
    }
}

/// A record as an answer shows it.
pub(super) fn shown(object: &Object, record: &Map<String, Value>, fields: &[String], version: &str) -> Value {
    let id = record.get("Id").and_then(Value::as_str).unwrap_or_default();
    let mut shown = Map::new();
    let url = format!("/services/data/{version}/sobjects/{}/{id}", object.name);
    shown.insert("attributes".to_owned(), json!({"type": object.name, "url": url}));
    for name in fields {
        let Some(field) = object.field(name) else { continue };
        let stored = record.get(field.name).cloned().unwrap_or_default();
        let value = match (field.kind, field.name) {
            ("boolean", _) if stored.is_null() => false.into(),
            (_, "Name") if stored.is_null() => {
                let part = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                format!("{} {}", part("FirstName"), part("LastName")).trim().into()
            }
            _ => stored,
        };
        shown.insert(field.name.to_owned(), value);
    }
    Value::Object(shown)
}

fn bad(refused: &Refused) -> Response {
    error(StatusCode::BAD_REQUEST, refused.0, &refused.1)
}

pub(super) fn query(world: &World, ask: &Ask, deleted_too: bool) -> Response {
    let Some(soql) = ask.param("q") else {
        return error(StatusCode::BAD_REQUEST, "MALFORMED_QUERY", "Request parameter is missing: q");
    };
    let query = match Query::read(soql) {
        Ok(query) if is_there(world, query.object) => query,
        Ok(query) => {
            return bad(&Refused("INVALID_TYPE", format!("sObject type '{}' is not supported.", query.object.name)));
        }
        Err(refused) => return bad(&refused),
    };
    let found = {
        let tables = world.tables();
        let rows = tables.get(query.object.name).into_iter().flatten().map(|(_, record)| record);
        query.run(rows.filter(|record| deleted_too || !is_deleted(record)))
    };
    if query.count {
        return Json(json!({"totalSize": found.len(), "done": true, "records": []})).into_response();
    }
    let shown: Vec<Value> = found.iter().map(|record| query.shown(record, &ask.version)).collect();
    let options = ask.headers.get("sforce-query-options").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let size = options.strip_prefix("batchSize=").and_then(|size| size.parse().ok()).unwrap_or(2_000_usize);
    let cursor = format!("01gD7{:010}", world.next_id());
    page(world, ask, &cursor, &shown, 0, size.clamp(200, 2_000))
}

fn page(world: &World, ask: &Ask, cursor: &str, all: &[Value], from: usize, size: usize) -> Response {
    let end = all.len().min(from + size);
    let mut answer = json!({"totalSize": all.len(), "done": end == all.len(), "records": all[from..end]});
    if end < all.len() {
        world.put("_cursor", cursor, json!({"all": all, "size": size}));
        answer["nextRecordsUrl"] = format!("/services/data/{}/query/{cursor}-{end}", ask.version).into();
    }
    Json(answer).into_response()
}

pub(super) fn more(world: &World, ask: &Ask, locator: &str) -> Response {
    let gone = || error(StatusCode::BAD_REQUEST, "INVALID_QUERY_LOCATOR", "invalid query locator");
    let Some((cursor, from)) = locator.rsplit_once('-') else { return gone() };
    let (Some(kept), Ok(from)) = (world.get("_cursor", cursor), from.parse::<usize>()) else { return gone() };
    let all = kept["all"].as_array().cloned().unwrap_or_default();
    if from > all.len() {
        return gone();
    }
    page(world, ask, cursor, &all, from, kept["size"].as_u64().unwrap_or(2_000) as usize)
}

/// Finds by the beginning of a number, as the index does: what is before it must be right, what comes after may be anything.
pub(super) fn search(world: &World, ask: &Ask) -> Response {
    let keys = ["q", "in", "fields", "sobjects", "overallLimit", "defaultLimit", "spellCorrection"];
    let body = match ask.object(&keys) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let q = body.get("q").and_then(Value::as_str).unwrap_or_default();
    if q.chars().count() < 2 || body.get("in").and_then(Value::as_str) != Some("PHONE") {
        return error(StatusCode::BAD_REQUEST, "MALFORMED_SEARCH", "search term must be longer than one character");
    }
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let wanted: Vec<String> = q.split(" OR ").map(digits).filter(|digits| digits.len() > 1).collect();
    let mut found = Vec::new();
    for asked in body.get("sobjects").and_then(Value::as_array).into_iter().flatten() {
        let Some(object) = asked["name"].as_str().and_then(schema::object).filter(|it| is_there(world, it)) else {
            return error(StatusCode::BAD_REQUEST, "INVALID_TYPE", "sObject type is not supported.");
        };
        let fields: Vec<String> =
            asked["fields"].as_array().into_iter().flatten().filter_map(|f| f.as_str().map(Into::into)).collect();
        for (_, record) in world.all(object.name).iter().filter(|(_, record)| !is_deleted(record)) {
            let numbers = object.fields().filter(|field| field.kind == "phone");
            let mut numbers = numbers.filter_map(|field| record.get(field.name)?.as_str().map(digits));
            if numbers.any(|number| wanted.iter().any(|wanted| number.starts_with(wanted.as_str()))) {
                found.push(shown(object, record, &fields, &ask.version));
            }
        }
    }
    found.truncate(body.get("overallLimit").and_then(Value::as_u64).unwrap_or(2_000) as usize);
    Json(json!({"searchRecords": found})).into_response()
}

pub(super) fn create(world: &World, ask: &Ask, name: &str) -> Response {
    let Some(object) = schema::object(name) else { return missing() };
    let mut body = match ask.object(&[]) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    body.remove("attributes");
    if let Err((code, message, fields)) = checked(object, &body) {
        (StatusCode::BAD_REQUEST, Json(json!([{"message": message, "errorCode": code, "fields": fields}])))
            .into_response()
    } else {
        let id = insert(world, object.name, Value::Object(body));
        (StatusCode::CREATED, Json(json!({"id": id, "success": true, "errors": []}))).into_response()
    }
}

fn checked(object: &Object, body: &Map<String, Value>) -> Result<(), Fault> {
    for (name, value) in body {
        let none = || format!("No such column '{name}' on sobject of type {}", object.name);
        let field = object.field(name).ok_or_else(|| ("INVALID_FIELD", none(), vec![name.clone()]))?;
        if !field.writable {
            let message =
                format!("Unable to create/update fields: {name}. Please check the security settings of this field.");
            return Err(("INVALID_FIELD_FOR_INSERT_UPDATE", message, vec![name.clone()]));
        }
        let text = value.as_str().unwrap_or_default();
        if field.kind == "email" && !text.is_empty() && text.split('@').filter(|part| !part.is_empty()).count() != 2 {
            return Err((
                "INVALID_EMAIL_ADDRESS",
                format!("{name}: invalid email address: {text}"),
                vec![name.clone()],
            ));
        }
        if field.kind == "string" && text.chars().count() > 80 {
            return Err((
                "STRING_TOO_LONG",
                format!("{name}: data value too large (max length=80)"),
                vec![name.clone()],
            ));
        }
        if field.name == "LastName" && text.is_empty() {
            return Err((
                "REQUIRED_FIELD_MISSING",
                "Required fields are missing: [LastName]".into(),
                vec![name.clone()],
            ));
        }
    }
    Ok(())
}

/// Takes one of the times that a record is locked.
fn unlock(tables: &mut BTreeMap<String, Records>, id: &str) -> Result<(), Fault> {
    let Some(lock) = tables.get_mut("_lock").and_then(|locks| locks.get_mut(id)) else { return Ok(()) };
    let times = lock.get("times").and_then(Value::as_u64).unwrap_or(0);
    if times == 0 {
        return Ok(());
    }
    lock.insert("times".to_owned(), (times - 1).into());
    Err(("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record or 1 records".into(), Vec::new()))
}

fn gone() -> Fault {
    ("ENTITY_IS_DELETED", "entity is deleted".into(), Vec::new())
}

fn update(
    tables: &mut BTreeMap<String, Records>,
    object: &Object,
    id: &str,
    body: &Map<String, Value>,
) -> Result<(), Fault> {
    let live = tables.get(object.name).and_then(|table| table.get(id)).is_some_and(|record| !is_deleted(record));
    if !live {
        return Err(gone());
    }
    checked(object, body)?;
    unlock(tables, id)?;
    let record = tables.get_mut(object.name).and_then(|table| table.get_mut(id)).ok_or_else(gone)?;
    if record.get("IsConverted").and_then(Value::as_bool).unwrap_or(false) {
        return Err(("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead".into(), Vec::new()));
    }
    for (name, value) in body {
        let name = object.field(name).map_or(name.as_str(), |field| field.name);
        record.insert(name.to_owned(), value.clone());
    }
    Ok(())
}

/// Deletes a record and what goes with it; into the recycle bin, or for good.
pub(super) fn delete(tables: &mut BTreeMap<String, Records>, id: &str, hard: bool, now: i64) -> Result<(), Fault> {
    let malformed = || ("MALFORMED_ID", format!("malformed id {id}"), Vec::new());
    let id = schema::full_id(id).ok_or_else(malformed)?;
    let object = schema::of_id(&id).ok_or_else(malformed)?;
    let live = tables.get(object.name).and_then(|table| table.get(&id)).is_some_and(|record| !is_deleted(record));
    if !live {
        return Err(gone());
    }
    unlock(tables, &id)?;
    let mut with = Vec::new();
    for child in object.children {
        let rows = tables.get(child.object).into_iter().flatten();
        let referring =
            rows.filter(|(_, row)| row.get(child.field).and_then(Value::as_str) == Some(&id) && !is_deleted(row));
        let referring: Vec<String> = referring.map(|(key, _)| key.clone()).collect();
        if child.blocks && !referring.is_empty() {
            let message = "Your attempt to delete the record could not be completed because it is associated with the following cases.";
            return Err(("DELETE_FAILED", message.into(), Vec::new()));
        }
        if child.cascade {
            with.extend(referring);
        } else {
            for key in referring {
                if let Some(row) = tables.get_mut(child.object).and_then(|table| table.get_mut(&key)) {
                    row.insert(child.field.to_owned(), Value::Null);
                }
            }
        }
    }
    for child in with {
        delete(tables, &child, hard, now)?;
    }
    if let Some(record) = tables.get_mut(object.name).and_then(|table| table.get_mut(&id)) {
        record.insert("IsDeleted".to_owned(), true.into());
        record.insert("_purge_at".to_owned(), (now + if hard { PURGED_SHOWS_MS } else { BIN_MS }).into());
    }
    Ok(())
}

pub(super) fn one(world: &World, ask: &Ask, name: &str, id: &str) -> Response {
    let Some(object) = schema::object(name) else { return missing() };
    let Some(id) = schema::full_id(id).filter(|id| id.starts_with(object.prefix)) else { return missing() };
    let failed = |(code, message, fields): Fault| {
        let status = if code == "ENTITY_IS_DELETED" { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
        (status, Json(json!([{"message": message, "errorCode": code, "fields": fields}]))).into_response()
    };
    let done = match ask.method.as_str() {
        "GET" => {
            return match world.get(object.name, &id).filter(|record| !is_deleted(record)) {
                Some(record) => {
                    let fields: Vec<String> = match ask.param("fields") {
                        Some(fields) => fields.split(',').map(|field| field.trim().to_owned()).collect(),
                        None => object.fields().map(|field| field.name.to_owned()).collect(),
                    };
                    Json(shown(object, &record, &fields, &ask.version)).into_response()
                }
                None => missing(),
            };
        }
        "PATCH" => match ask.object(&[]) {
            Ok(body) => update(&mut world.tables(), object, &id, &body),
            Err(refusal) => return refusal,
        },
        _ => delete(&mut world.tables(), &id, false, world.now_ms()),
    };
    done.map_or_else(failed, |()| StatusCode::NO_CONTENT.into_response())
}

fn told(id: &str, done: Result<(), Fault>) -> Value {
    match done {
        Ok(()) => json!({"id": id, "success": true, "errors": []}),
        Err((code, message, fields)) => {
            json!({"success": false, "errors": [{"statusCode": code, "message": message, "fields": fields}]})
        }
    }
}

/// Whether a collection is to be taken whole or not at all.
fn asks_for_all(ask: &Ask) -> bool {
    ask.param("allOrNone") == Some("true")
        || serde_json::from_slice::<Value>(&ask.body).is_ok_and(|body| body["allOrNone"] == true)
}

pub(super) fn collection(world: &World, ask: &Ask) -> Response {
    let too_many = || {
        error(
            StatusCode::BAD_REQUEST,
            "EXCEEDED_MAX_SIZE_REQUEST",
            "record limit reached. cannot submit more than 200 records in this call",
        )
    };
    let now = world.now_ms();
    let (answers, all_or_none): (Vec<Value>, bool);
    let mut tables = world.tables();
    let before = asks_for_all(ask).then(|| tables.clone());
    if ask.method == "DELETE" {
        let Some(ids) = ask.param("ids") else {
            return error(StatusCode::BAD_REQUEST, "MALFORMED_ID", "Request parameter is missing: ids");
        };
        let ids: Vec<&str> = ids.split(',').collect();
        if ids.len() > 200 {
            return too_many();
        }
        all_or_none = ask.param("allOrNone") == Some("true");
        answers = ids.iter().map(|id| told(id, delete(&mut tables, id, false, now))).collect();
    } else {
        let body = match ask.object(&["allOrNone", "records"]) {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let records = body.get("records").and_then(Value::as_array).cloned().unwrap_or_default();
        if records.len() > 200 {
            return too_many();
        }
        all_or_none = body.get("allOrNone").and_then(Value::as_bool).unwrap_or(false);
        let one = |record: &Value| {
            let Some(object) = record["attributes"]["type"].as_str().and_then(schema::object) else {
                let fault = ("INVALID_TYPE", "Must specify the type of the sObject".to_owned(), Vec::new());
                return told("", Err(fault));
            };
            let mut fields = record.as_object().cloned().unwrap_or_default();
            fields.remove("attributes");
            let id = fields.remove("id").or_else(|| fields.remove("Id"));
            if ask.method == "POST" {
                if let Err(fault) = checked(object, &fields) {
                    return told("", Err(fault));
                }
                let id = schema::with_checksum(&format!("{}D7{:010}", object.prefix, world.next_id()));
                fields.insert("Id".to_owned(), id.clone().into());
                tables.entry(object.name.to_owned()).or_default().insert(id.clone(), fields);
                return told(&id, Ok(()));
            }
            let Some(id) = id.as_ref().and_then(Value::as_str).and_then(schema::full_id) else {
                return told("", Err(("MALFORMED_ID", "malformed id".to_owned(), Vec::new())));
            };
            told(&id, update(&mut tables, object, &id, &fields))
        };
        answers = records.iter().map(one).collect();
    }
    if all_or_none && answers.iter().any(|answer| answer["success"] == false) {
        if let Some(before) = before {
            *tables = before;
        }
        let why = "Record rolled back because not all records were valid and the request was using AllOrNone header";
        let rolled = |answer: Value| {
            if answer["success"] == false {
                return answer;
            }
            told("", Err(("ALL_OR_NONE_OPERATION_ROLLED_BACK", why.to_owned(), Vec::new())))
        };
        return Json(answers.into_iter().map(rolled).collect::<Vec<_>>()).into_response();
    }
    Json(answers).into_response()
}

/// Reads up to 2,000 live records by their ids, in order; null for what is not there.
pub(super) fn retrieve(world: &World, ask: &Ask, name: &str) -> Response {
    let Some(object) = schema::object(name).filter(|it| is_there(world, it)) else { return missing() };
    let body = match ask.object(&["ids", "fields"]) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let texts = |key: &str| -> Vec<String> {
        body.get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(Into::into))
            .collect()
    };
    let (ids, fields) = (texts("ids"), texts("fields"));
    if ids.is_empty() || ids.len() > 2_000 || fields.is_empty() {
        return error(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "ids (at most 2000) and fields are required");
    }
    if let Some(unknown) = fields.iter().find(|field| object.field(field).is_none()) {
        return error(
            StatusCode::BAD_REQUEST,
            "INVALID_FIELD",
            format!("No such column '{unknown}' on entity '{name}'"),
        );
    }
    let found = ids.iter().map(|id| {
        let record = schema::full_id(id).and_then(|id| world.get(object.name, &id));
        record.filter(|record| !is_deleted(record)).map(|record| shown(object, &record, &fields, &ask.version))
    });
    Json(found.collect::<Vec<_>>()).into_response()
}
