//! Standing instructions of a controller (GDPR Art. 28(3)(a)): what is in force, what was, and new ones, which are written whole and
//! with the version in view that they replace.

use super::auth::Caller;
use super::body::Members;
use super::path::Query;
use super::problem::Problem;
use super::view::time;
use super::{Edge, json};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use redress_domain::RequestType;
use redress_domain::words::Fault;
use redress_store::{Instructed, Instructions, InstructionsVersion, Proposal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Versions in one answer.
const PAGE: i64 = 100;
/// Thirty days: a longer wait would use up the time that the law gives.
const COOLING_OFF_MAX: i64 = 720;
/// A year.
const PACKAGE_DAYS_MAX: i64 = 365;

/// `GET /v1/instructions`
pub(crate) async fn show(caller: Caller, State(edge): State<Edge>) -> Result<Json<Value>, Problem> {
    Ok(Json(in_force(&edge, &caller).await?))
}

/// `GET /v1/instructions/versions`
pub(crate) async fn versions(
    caller: Caller,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let before = query.read("before", "a version", |text| text.parse::<i64>().ok().filter(|n| *n > 0));
    query.finish()?;
    let all = edge.store.instructions_versions(&caller.controller_id, before, PAGE).await?;
    Ok(Json(json!({ "versions": all.iter().map(view).collect::<Vec<_>>() })))
}

/// `PUT /v1/instructions`: 200 if they are in force, 202 if another person has to say the same first.
pub(crate) async fn put(
    caller: Caller,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let systems: BTreeSet<String> =
        edge.store.systems(&caller.controller_id).await?.into_iter().map(|system| system.name).collect();
    let (version, wanted) = read(&body, &systems).map_err(|faults| Problem::invalid(&faults))?;
    let said = edge.store.set_instructions(&caller.controller_id, &wanted, version, &caller.actor).await?;
    let status = if said == Instructed::Proposed { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(in_force(&edge, &caller).await?)))
}

/// `DELETE /v1/instructions/proposal`
pub(crate) async fn withdraw(caller: Caller, State(edge): State<Edge>) -> Result<StatusCode, Problem> {
    edge.store.withdraw_proposal(&caller.controller_id, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn in_force(edge: &Edge, caller: &Caller) -> Result<Value, Problem> {
    let (now, proposed) = edge.store.instructions(&caller.controller_id).await?;
    let mut view = view(&now);
    view["proposed"] = proposed.as_ref().map_or(Value::Null, |proposal| proposal_view(&now.instructions, proposal));
    view["personal_data_kept_days_after_close"] = json!(edge.store.keeps_closed_ms() / 86_400_000);
    Ok(view)
}

fn view(version: &InstructionsVersion) -> Value {
    let mut view = json!(version.instructions);
    view["version"] = json!(version.version);
    view["set_by"] = json!(version.set_by);
    view["set_at"] = json!(version.set_at.map(time));
    view
}

fn proposal_view(now: &Instructions, proposal: &Proposal) -> Value {
    json!({
        "by": proposal.by,
        "at": time(proposal.at),
        "instructions": proposal.instructions,
        "changes": now.changes_to(&proposal.instructions),
    })
}

/// Reads the whole document, and the version that it was written with in view. Every fault at once.
fn read(body: &Value, systems: &BTreeSet<String>) -> Result<(i64, Instructions), Vec<Fault>> {
    let mut faults = Vec::new();
    let mut later = Vec::new();
    let mut wanted = Instructions::default();
    let mut version = None;
    if let Some(mut members) = Members::open(body, "", &mut faults) {
        version = members.number("version", &mut faults);
        if let Some(given) = members.value("allow") {
            wanted.allow = read_allow(given, systems, &mut later);
        }
        let mut types = |name: &'static str, faults: &mut Vec<Fault>| {
            let texts = members.texts(name, faults).unwrap_or_default();
            read_types(&texts, &format!("/{name}"), &mut later)
        };
        wanted.require_approval = types("require_approval", &mut faults);
        wanted.review = types("review", &mut faults);
        wanted.four_eyes = members.flag("four_eyes", &mut faults).unwrap_or(false);
        let cooling_off = members.number("cooling_off_hours", &mut faults);
        wanted.cooling_off_hours =
            within("cooling_off_hours", cooling_off, 0..=COOLING_OFF_MAX, &mut later).unwrap_or(0);
        if members.is_given("package_expires_days") {
            let days = members.number("package_expires_days", &mut faults);
            wanted.package_expires_days = within("package_expires_days", days, 1..=PACKAGE_DAYS_MAX, &mut later);
        }
        members.finish(&mut faults);
    }
    if version.is_none() {
        later.push(Fault::new("/version", "must be the version that is in force, as GET /v1/instructions tells it: so nobody overwrites what they have not seen"));
    }
    super::body::add(&mut faults, later);
    version.filter(|_| faults.is_empty()).map(|version| (version, wanted)).ok_or(faults)
}

fn within(name: &str, number: Option<i64>, range: RangeInclusive<i64>, faults: &mut Vec<Fault>) -> Option<u32> {
    let number = number?;
    let read = u32::try_from(number).ok().filter(|_| range.contains(&number));
    if read.is_none() {
        faults.push(Fault::new(
            format!("/{name}"),
            format!("must be a number from {} to {}", range.start(), range.end()),
        ));
    }
    read
}

fn read_types(texts: &[String], pointer: &str, faults: &mut Vec<Fault>) -> Vec<RequestType> {
    let mut all = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        if let Some(kind) = RequestType::parse(text) {
            all.push(kind);
        } else {
            let known = RequestType::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
            faults.push(Fault::new(format!("{pointer}/{n}"), format!("must be one of {known}")));
        }
    }
    all
}

fn read_allow(
    given: &Value,
    systems: &BTreeSet<String>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Vec<RequestType>> {
    let mut allow = BTreeMap::new();
    let Some(given) = given.as_object() else {
        faults
            .push(Fault::new("/allow", "must be an object: the names of connected systems, each with a list of types"));
        return allow;
    };
    for (name, list) in given {
        let pointer = json::join("/allow", name);
        if !systems.contains(name) {
            faults.push(Fault::new(pointer, "is no connected system"));
            continue;
        }
        let texts = list
            .as_array()
            .map(|list| list.iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>());
        match texts {
            Some(texts) => {
                allow.insert(name.clone(), read_types(&texts, &pointer, faults));
            }
            None => faults.push(Fault::new(pointer, "must be a list of types")),
        }
    }
    allow
}
