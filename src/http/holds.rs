//! Legal holds are set, looked at again and released by people who decide; whom a hold is about is told by none of its answers.
//!
//! Of a gagged hold nobody outside may learn: it is set by people of the processor only, and not there for a controller's keys and
//! people.

use super::auth::Caller;
use super::body::{Members, add};
use super::path::{DsrPath, NamePath, Query};
use super::problem::Problem;
use super::requests::decide;
use super::view::time;
use super::{Edge, idempotency, json};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use redress_domain::deadline::zone;
use redress_domain::hold::HoldScope;
use redress_domain::words::Fault;
use redress_domain::{ControllerId, DsrId, HoldId, Identifier, IdentifierType};
use redress_store::{Controller, Decision, Error, HoldReach, HoldRow, HoldSet, NewHold, NewScope, RequestHold};
use serde_json::{Value, json};

/// The longest text of a person, in bytes.
const WORDS_MAX: usize = 500;
/// Identifiers of one hold.
const IDENTIFIERS_MAX: usize = 20;

/// `GET /v1/holds`
pub(crate) async fn list(
    caller: Caller,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let open = query.word("state", &[true, false], |open| if open { "open" } else { "released" });
    let limit = query.number("limit", 1, 200).unwrap_or(50);
    let before = query.read("cursor", "the next_cursor of an earlier page", |text| HoldId::parse(text).ok());
    query.finish()?;
    let scope = std::slice::from_ref(&caller.controller_id);
    let mut rows = edge.store.holds(Some(scope), open, caller.sees_gagged, before.as_ref(), limit + 1).await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(limit as usize);
    let next_cursor = rows.last().filter(|_| more).map(|row| row.id.clone());
    let now = edge.store.now_ms();
    let holds: Vec<Value> = rows.iter().map(|row| shown(row, None, &caller, now)).collect();
    Ok(Json(json!({ "holds": holds, "next_cursor": next_cursor })))
}

/// `GET /v1/holds/{id}`
pub(crate) async fn show(
    caller: Caller,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    let id = HoldId::parse(&id).map_err(|_| Problem::not_found())?;
    one(&edge, &caller, &id).await
}

/// `POST /v1/holds`
pub(crate) async fn set(
    caller: Caller,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let controller = edge.store.controller(&caller.controller_id).await?;
    let systems: Vec<String> =
        edge.store.systems(&caller.controller_id).await?.into_iter().map(|system| system.name).collect();
    let mut faults = Vec::new();
    let new = read(&body, &controller, &systems, &caller, edge.store.clock().now(), &mut faults);
    let Some(mut new) = new.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(&faults)) };
    new.idempotency = key.map(|key| idempotency::hashes(&key, &body));
    let (id, replayed) = match edge.store.set_hold(&new, &caller.actor).await {
        Ok(HoldSet::New(id)) => (id, false),
        Ok(HoldSet::Replayed(id)) => (id, true),
        Ok(HoldSet::KeyReused) => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "this Idempotency-Key came with another body before; a new hold needs a new key",
            ));
        }
        Err(Error::NotFound) => {
            return Err(Problem::invalid(&[Fault::new("/request", "is not a request of this controller")]));
        }
        Err(Error::Purged) => {
            let detail = "is a request whose personal data are destroyed: there is nothing left to hold";
            return Err(Problem::invalid(&[Fault::new("/request", detail)]));
        }
        Err(error) => return Err(error.into()),
    };
    tracing::info!(hold.id = %id, "Legal hold {id} was set");
    let status = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = (status, one(&edge, &caller, &id).await?).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/holds/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// `POST /v1/holds/{id}/release`
pub(crate) async fn release(
    caller: Caller,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id = known(&edge, &caller, &id).await?;
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let mut faults = Vec::new();
    let mut reason = None;
    if let Some(mut members) = Members::open(&body, "", &mut faults) {
        reason = needed(&mut members, "reason", "why the data need not be kept any more", &mut faults);
        members.finish(&mut faults);
    }
    let Some(reason) = reason.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(&faults)) };
    settled(edge.store.release_hold(&caller.controller_id, &id, &caller.actor, &reason).await)?;
    one(&edge, &caller, &id).await
}

/// `POST /v1/holds/{id}/review`
pub(crate) async fn review(
    caller: Caller,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id = known(&edge, &caller, &id).await?;
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let controller = edge.store.controller(&caller.controller_id).await?;
    let mut faults = Vec::new();
    let (mut on, mut reason) = (None, None);
    if let Some(mut members) = Members::open(&body, "", &mut faults) {
        on = review_on(&mut members, &controller, edge.store.clock().now(), &mut faults);
        reason = needed(&mut members, "reason", "why the data still have to be kept", &mut faults);
        members.finish(&mut faults);
    }
    let (Some((on, at)), Some(reason)) = (on, reason) else { return Err(Problem::invalid(&faults)) };
    if !faults.is_empty() {
        return Err(Problem::invalid(&faults));
    }
    let made = edge.store.review_hold(&caller.controller_id, &id, &caller.actor, (&on, at), &reason).await;
    settled(made)?;
    one(&edge, &caller, &id).await
}

/// `POST /v1/requests/{id}/keep`
pub(crate) async fn keep(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    // Another controller's request is not there, whatever else is wrong.
    edge.store.dsr(&caller.controller_id, &id).await?;
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let mut faults = Vec::new();
    let mut reason = None;
    if let Some(mut members) = Members::open(&body, "", &mut faults) {
        reason =
            needed(&mut members, "reason", "why the data are kept instead of waiting for the release", &mut faults);
        members.finish(&mut faults);
    }
    let Some(reason) = reason.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(&faults)) };
    decide(&edge, &caller, &id, Decision::Keep { reason, with_gagged: caller.sees_gagged }).await
}

/// What a request shows of the holds that reach it.
pub(crate) async fn of_request(
    edge: &Edge,
    controller_id: &ControllerId,
    id: &DsrId,
    with_gagged: bool,
) -> Result<Value, Problem> {
    let holds = edge.store.holds_on(controller_id, id, with_gagged).await?;
    Ok(holds.iter().map(brief).collect())
}

fn brief(on: &RequestHold) -> Value {
    let hold = &on.hold;
    json!({
        "id": hold.id, "basis": hold.basis, "since": time(on.since), "review_on": hold.review_on, "systems": hold.systems, "gag": hold.gag,
    })
}

async fn known(edge: &Edge, caller: &Caller, id: &str) -> Result<HoldId, Problem> {
    let id = HoldId::parse(id).map_err(|_| Problem::not_found())?;
    Ok(edge.store.hold(&caller.controller_id, &id, caller.sees_gagged).await?.id)
}

async fn one(edge: &Edge, caller: &Caller, id: &HoldId) -> Result<Json<Value>, Problem> {
    let row = edge.store.hold(&caller.controller_id, id, caller.sees_gagged).await?;
    let reach = edge.store.hold_reach(id).await?;
    Ok(Json(shown(&row, Some(reach), caller, edge.store.now_ms())))
}

fn settled(made: Result<(), Error>) -> Result<(), Problem> {
    match made {
        Err(Error::Conflict(detail)) => Err(Problem::new(StatusCode::CONFLICT, detail)),
        other => Ok(other?),
    }
}

/// What a hold is called at this moment.
pub(crate) fn state(row: &HoldRow) -> &'static str {
    match (row.released_at, row.in_force_at) {
        (Some(_), _) => "released",
        (None, Some(_)) => "in_force",
        (None, None) => "being_set",
    }
}

fn shown(row: &HoldRow, reach: Option<HoldReach>, caller: &Caller, now: i64) -> Value {
    let in_words = |text: &str| (!caller.pseudonymised).then(|| text.to_owned());
    let notes: Vec<Value> = row
        .notes
        .iter()
        .map(|note| json!({ "at": time(note.at), "action": note.action, "by": note.by, "reason": in_words(&note.reason) }))
        .collect();
    json!({
        "id": row.id,
        "state": state(row),
        "scope": row.scope,
        "request": row.dsr_id,
        "identifiers": row.identifier_types,
        "systems": row.systems,
        "basis": row.basis,
        "matter": row.matter.as_deref().and_then(in_words),
        "starts_at": time(row.starts_at),
        "review_on": row.review_on,
        "review_overdue": row.released_at.is_none() && row.review_at <= now,
        "gag": row.gag,
        "set_by": row.set_by,
        "set_at": time(row.set_at),
        "in_force_at": row.in_force_at.and_then(time),
        "released_by": row.released_by,
        "released_at": row.released_at.and_then(time),
        "notes": notes,
        "reach": reach.map(|reach| json!({
            "requests": reach.requests, "stopped": reach.stopped, "under_way": reach.under_way, "acted_after": reach.acted_after,
        })),
        "links": { "self": format!("/v1/holds/{}", row.id) },
    })
}

/// A text that must be there and say something.
fn needed(members: &mut Members<'_>, name: &'static str, what: &str, faults: &mut Vec<Fault>) -> Option<String> {
    let before = faults.len();
    let text = members.text(name, faults);
    if text.is_none() && faults.len() == before {
        faults.push(Fault::new(format!("/{name}"), format!("is missing; say {what}")));
    }
    words(&text?, name, faults)
}

fn review_on(
    members: &mut Members<'_>,
    controller: &Controller,
    now: Timestamp,
    faults: &mut Vec<Fault>,
) -> Option<(String, i64)> {
    let before = faults.len();
    let Some(text) = members.text("review_on", faults) else {
        if faults.len() == before {
            let detail = "is missing; a hold without a day on which somebody looks at it again lasts for ever";
            faults.push(Fault::new("/review_on", detail));
        }
        return None;
    };
    let zone = zone(&controller.timezone).unwrap_or(jiff::tz::TimeZone::UTC);
    let day = text.parse::<Date>().ok();
    let after = day.and_then(|day| day.tomorrow().ok()?.to_zoned(zone).ok());
    match (day, after) {
        (Some(day), Some(after)) if after.timestamp() > now => {
            return Some((day.to_string(), after.timestamp().as_millisecond()));
        }
        (Some(_), Some(_)) => faults.push(Fault::new("/review_on", "is over already")),
        _ => faults.push(Fault::new("/review_on", "is not an existing date, such as 2027-01-31")),
    }
    None
}

fn read(
    body: &Value,
    controller: &Controller,
    systems: &[String],
    caller: &Caller,
    now: Timestamp,
    faults: &mut Vec<Fault>,
) -> Option<NewHold> {
    let mut members = Members::open(body, "", faults)?;
    let basis = needed(&mut members, "basis", "which law or order asks for the hold", faults);
    let matter = members.text("matter", faults).and_then(|text| words(&text, "matter", faults));
    let scope = scope(&mut members, controller, faults);
    let named = members.texts("systems", faults);
    for (n, name) in named.iter().flatten().enumerate().filter(|(_, name)| !systems.contains(name)) {
        let known = if systems.is_empty() { "there is none".to_owned() } else { systems.join(", ") };
        let name = json::quoted(name);
        add(
            faults,
            vec![Fault::new(format!("/systems/{n}"), format!("{name} is not a connected system; known: {known}"))],
        );
    }
    if named.as_ref().is_some_and(Vec::is_empty) {
        faults.push(Fault::new("/systems", "is empty; leave it out to hold every system"));
    }
    let starts_at = members.text("starts_at", faults).map(|text| (redress_domain::clock::instant(&text), text));
    let starts_at = match starts_at {
        None => Some(now),
        Some((Some(at), _)) if at <= now => Some(at),
        Some((at, _)) => {
            let detail = if at.is_some() {
                "lies ahead; set the hold when it begins"
            } else {
                "is not an existing date and time with offset (RFC 3339), such as 2026-11-19T09:00:00+01:00"
            };
            faults.push(Fault::new("/starts_at", detail));
            None
        }
    };
    let review = review_on(&mut members, controller, now, faults);
    let gag = members.flag("gag", faults).unwrap_or(false);
    if gag && !caller.sees_gagged {
        let detail = "is for people of the processor: a controller cannot hide a hold from itself";
        faults.push(Fault::new("/gag", detail));
    }
    members.finish(faults);
    let (review_on, review_at) = review?;
    Some(NewHold {
        controller_id: controller.id.clone(),
        scope: scope?,
        systems: named,
        basis: basis?,
        matter,
        starts_at: starts_at?.as_millisecond(),
        review_on,
        review_at,
        gag,
        idempotency: None,
    })
}

fn scope(members: &mut Members<'_>, controller: &Controller, faults: &mut Vec<Fault>) -> Option<NewScope> {
    let before = faults.len();
    let word = members.text("scope", faults);
    let identifiers = members.pairs("identifiers", ["type", "value"], faults);
    let has_identifiers = members.is_given("identifiers");
    let request = members.text("request", faults);
    let scope = word.as_deref().and_then(HoldScope::parse);
    if scope.is_none() && faults.len() == before {
        let known = HoldScope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ");
        faults.push(Fault::new("/scope", format!("must be one of {known}")));
    }
    let scope = scope?;
    if has_identifiers && scope != HoldScope::Subject {
        faults.push(Fault::new("/identifiers", "belong to the scope subject only"));
    }
    if request.is_some() && scope != HoldScope::Request {
        faults.push(Fault::new("/request", "belongs to the scope request only"));
    }
    match scope {
        HoldScope::Controller => Some(NewScope::Controller),
        HoldScope::Request => {
            let id = request.as_deref().and_then(|text| DsrId::parse(text).ok());
            if id.is_none() {
                add(faults, vec![Fault::new("/request", "must be the id of a request (dsr_…)")]);
            }
            id.map(NewScope::Request)
        }
        HoldScope::Subject => {
            if !has_identifiers || identifiers.is_empty() || identifiers.len() > IDENTIFIERS_MAX {
                let detail =
                    format!("must be a list of 1 to {IDENTIFIERS_MAX} identifiers, each {{\"type\", \"value\"}}");
                add(faults, vec![Fault::new("/identifiers", detail)]);
            }
            let mut all = Vec::new();
            for (n, (kind, value)) in identifiers.into_iter().enumerate() {
                let parsed = kind.as_deref().and_then(IdentifierType::parse);
                if parsed.is_none() {
                    let known = IdentifierType::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
                    add(faults, vec![Fault::new(format!("/identifiers/{n}/type"), format!("must be one of {known}"))]);
                }
                let Some(value) = value else {
                    add(faults, vec![Fault::new(format!("/identifiers/{n}/value"), "is missing")]);
                    continue;
                };
                let Some(kind) = parsed else { continue };
                match Identifier::parse(kind, value.expose(), controller.country.as_deref()) {
                    Ok(identifier) => all.push(identifier),
                    Err(bad) => faults.push(Fault::new(format!("/identifiers/{n}/value"), bad.to_string())),
                }
            }
            (!all.is_empty()).then_some(NewScope::Subject(all))
        }
    }
}

/// What a person wrote, if it can be kept.
fn words(text: &str, name: &str, faults: &mut Vec<Fault>) -> Option<String> {
    let detail = match text.trim() {
        "" => "is empty; say why".to_owned(),
        long if long.len() > WORDS_MAX => format!("is too long: at most {WORDS_MAX} bytes"),
        nul if nul.contains('\0') => "holds a NUL character".to_owned(),
        good => return Some(good.to_owned()),
    };
    faults.push(Fault::new(format!("/{name}"), detail));
    None
}
