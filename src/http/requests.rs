//! Requests are listed, shown and decided about; a list is its rows without steps, newest first.

use super::auth::Caller;
use super::body::Members;
use super::foreseen::foreseen;
use super::path::{DsrPath, Query};
use super::problem::Problem;
use super::view::Lens;
use super::{Edge, json};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use redress_domain::deadline::Band;
use redress_domain::plan::{SystemFacts, fan_out};
use redress_domain::stage::Stage;
use redress_domain::words::Fault;
use redress_domain::{ControllerId, DsrId, RequestType};
use redress_store::{Decision, DsrColumn, DsrFilter, DsrPlace, DsrRow, DsrSort, Error, SystemRow};
use serde_json::{Value, json};

/// Conditions that a status may name instead of a stage.
const OVERLAYS: [&str; 2] = ["needs_attention", "on_hold"];
/// So many rows are looked at for one page; a condition that few rows meet gives a short page with a cursor.
const SCANNED_MAX: i64 = 5_000;

/// The order of a list unless another is asked for.
const NEWEST: DsrSort = DsrSort { column: DsrColumn::Received, descending: true };
/// Orders by name: the newest first, the oldest first, the most urgent first, the last ended first.
const SORTS: [(&str, DsrSort); 4] = [
    ("newest", NEWEST),
    ("oldest", DsrSort { column: DsrColumn::Received, descending: false }),
    ("due", DsrSort { column: DsrColumn::Due, descending: false }),
    ("ended", DsrSort { column: DsrColumn::Ended, descending: true }),
];

/// A cursor: the id where ids are the order, else the instant before it.
fn read_place(text: &str, sort: DsrSort) -> Option<DsrPlace> {
    let (at, id) = match sort.column {
        DsrColumn::Received => (0, text),
        _ => text.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id)))?,
    };
    DsrId::parse(id).ok().map(|id| DsrPlace { at, id })
}

/// The view of a controller at this moment.
pub(crate) async fn lens(edge: &Edge, controller_id: &ControllerId) -> Result<Lens, Problem> {
    let controller = edge.store.controller(controller_id).await?;
    Ok(Lens::new(&controller, edge.store.now_ms()))
}

/// `GET /v1/requests`
pub(crate) async fn list(
    caller: Caller,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let statuses: Vec<&'static str> = Stage::ALL.iter().map(|stage| stage.as_str()).chain(OVERLAYS).collect();
    let mut filter = DsrFilter {
        status: query.word("status", &statuses, |status| status).map(str::to_owned),
        kind: query.word("type", RequestType::ALL, RequestType::as_str),
        ..DsrFilter::default()
    };
    let band = query.word("band", Band::ALL, Band::as_str);
    filter.system = query.read("system", "the name of a connected system", |text| {
        let plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
        plain.then(|| text.to_owned())
    });
    filter.due_before = query.instant("due_before");
    filter.due_after = query.instant("due_after");
    filter.received_before = query.instant("received_before");
    filter.received_after = query.instant("received_after");
    filter.regulation = query.read("regulation", "the id of a law, such as EU-GDPR", |text| {
        let plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
        plain.then(|| text.to_owned())
    });
    let truth = |word: bool| if word { "true" } else { "false" };
    let open = query.word("open", &[true, false], truth);
    filter.late = query.word("late", &[true, false], truth);
    filter.paused = query.word("paused", &[true, false], truth);
    let sort = query.word("sort", &SORTS, |(name, _)| name).map_or(NEWEST, |(_, sort)| sort);
    let limit = query.number("limit", 1, 200).unwrap_or(50);
    let mut place =
        query.read("cursor", "the next_cursor of an earlier page of the same sort", |text| read_place(text, sort));
    query.finish()?;

    // What is due is open.
    filter.open = open == Some(true) || (open.is_none() && sort.column == DsrColumn::Due);
    filter.ended = open == Some(false);
    let lens = lens(&edge, &caller.controller_id).await?;
    let wanted = |row: &DsrRow| band.is_none_or(|band| lens.band(row) == Some(band));
    let (mut found, mut scanned, mut more) = (Vec::new(), 0, true);
    let scan = if band.is_some() { 200 } else { limit + 1 };
    while more && found.len() <= limit as usize && scanned < SCANNED_MAX {
        let scope = Some(std::slice::from_ref(&caller.controller_id));
        let page = edge.store.list_dsrs(scope, &filter, sort, place, false, scan).await?;
        more = page.next.is_some();
        scanned += scan;
        place = page.next;
        found.extend(page.rows.into_iter().filter(wanted));
    }
    if found.len() > limit as usize {
        found.truncate(limit as usize);
        place = found.last().map(|row| sort.column.place(row));
    }
    let next_cursor = place.map(|place| match sort.column {
        DsrColumn::Received => place.id.to_string(),
        _ => format!("{}.{}", place.at, place.id),
    });
    let requests: Vec<Value> = found.iter().map(|row| caller.veiled(lens.summary(row))).collect();
    Ok(Json(json!({ "requests": requests, "next_cursor": next_cursor })))
}

pub(crate) async fn shown(edge: &Edge, caller: &Caller, id: &DsrId) -> Result<Json<Value>, Problem> {
    let controller_id = &caller.controller_id;
    let detail = edge.store.dsr(controller_id, id).await?;
    let lens = lens(edge, controller_id).await?;
    let mut view = lens.detail(&detail);
    view["forecast"] = json!(foreseen(edge, &detail.row, &lens).await?);
    view["holds"] = super::holds::of_request(edge, controller_id, id, caller.sees_gagged).await?;
    super::clocks::with_notes(&mut view, &edge.store.clock_notes(controller_id, id).await?);
    Ok(Json(caller.veiled(view)))
}

/// `GET /v1/requests/{id}`
pub(crate) async fn show(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    shown(&edge, &caller, &id).await
}

/// `GET /v1/requests/{id}/events`
pub(crate) async fn events(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    edge.store.dsr(&caller.controller_id, &id).await?;
    let events = edge.store.events_of(&caller.controller_id, &id).await?;
    Ok(Json(json!({ "events": events })))
}

/// `POST /v1/requests/{id}/approve`
pub(crate) async fn approve(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    no_members(&edge, &headers, body).await?;
    super::four_eyes::demand(&edge, &caller, &id).await?;
    decide(&edge, &caller, &id, Decision::Approve).await
}

/// `POST /v1/requests/{id}/withdraw`
pub(crate) async fn withdraw(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    no_members(&edge, &headers, body).await?;
    decide(&edge, &caller, &id, Decision::Withdraw).await
}

/// `POST /v1/requests/{id}/reject`
pub(crate) async fn reject(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body =
        json::read_optional(&headers, body, edge.body_limit, edge.patience()).await?.unwrap_or_else(|| json!({}));
    let mut faults = Vec::new();
    let mut reason = None;
    if let Some(mut members) = Members::open(&body, "", &mut faults) {
        reason = members.text("reason", &mut faults);
        members.finish(&mut faults);
    }
    let code = |text: &String| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let reason = reason.filter(code);
    if reason.is_none() {
        let detail = "must be a reason code of 1 to 64 characters a-z, 0-9 and _, such as manifestly_unfounded";
        super::body::add(&mut faults, vec![Fault::new("/reason", detail)]);
    }
    let Some(reason) = reason.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(&faults)) };
    decide(&edge, &caller, &id, Decision::Reject(reason)).await
}

/// `POST /v1/requests/{id}/retry`
pub(crate) async fn retry(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    no_members(&edge, &headers, body).await?;
    let row = edge.store.dsr(&caller.controller_id, &id).await?.row;
    let facts: Vec<SystemFacts> =
        edge.store.systems(&caller.controller_id).await?.iter().map(SystemRow::facts).collect();
    let fields = edge.store.corrected_fields(&caller.controller_id, &id).await?;
    let corrected: Vec<&str> = fields.iter().map(String::as_str).collect();
    let plan = fan_out(row.kind, &row.identifier_types, &corrected, &facts, None);
    decide(&edge, &caller, &id, Decision::Retry(plan)).await
}

pub(crate) async fn no_members(edge: &Edge, headers: &HeaderMap, body: Body) -> Result<(), Problem> {
    let body = json::read_optional(headers, body, edge.body_limit, edge.patience()).await?;
    match body {
        None => Ok(()),
        Some(Value::Object(members)) if members.is_empty() => Ok(()),
        Some(_) => Err(Problem::invalid(&[Fault::new("", "must be left out or be {}: this call takes no members")])),
    }
}

pub(crate) async fn decide(
    edge: &Edge,
    caller: &Caller,
    id: &DsrId,
    decision: Decision,
) -> Result<Json<Value>, Problem> {
    match edge.store.decide(&caller.controller_id, id, decision, &caller.actor).await {
        Ok(()) => shown(edge, caller, id).await,
        Err(Error::Conflict(detail)) => {
            let now = edge.store.dsr(&caller.controller_id, id).await?;
            Err(Problem::new(StatusCode::CONFLICT, detail).member("current_status", now.row.status))
        }
        Err(error) => Err(error.into()),
    }
}
