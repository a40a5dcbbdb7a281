//! The board is what a privacy team looks at: which requests are open, what is due first, and what waits for a person.
//!
//! It is rendered here, without a script, and holds no personal data: ids, words, dates and counts. Where the service
//! listens on loopback only, whoever sits at this machine may look; elsewhere a browser asks for an API key.

mod page;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use request::request;

use super::Edge;
use super::auth::page_caller;
use super::path::Query;
use super::problem::Problem;
use super::view::Lens;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use redress_domain::ControllerId;
use redress_domain::stage::Stage;
use redress_store::{Controller, DsrFilter, DsrRow};
use std::collections::BTreeMap;

/// Rows on one page.
const ROWS_MAX: usize = 200;
/// Rows that are read to find the most urgent ones of one span of due dates.
const READ_MAX: i64 = 1_000;
/// Ended requests below the open ones.
const ENDED_MAX: usize = 50;
/// Where counting for one controller stops.
const COUNTED_MAX: i64 = 100;
const DAY_MS: i64 = 86_400_000;

/// `GET /`
pub(crate) async fn list(
    State(edge): State<Edge>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let viewer = match viewer(&edge, &headers).await? {
        Ok(viewer) => viewer,
        Err(asked) => return Ok(asked),
    };
    let mut query = Query::new(query.as_deref());
    let statuses = statuses();
    let status = query.word("status", &statuses, |status| status);
    query.finish()?;

    let now = edge.store.now_ms();
    let lenses: BTreeMap<ControllerId, (String, Lens)> =
        viewer.controllers.iter().map(|c| (c.id.clone(), (c.name.clone(), Lens::new(c, now)))).collect();
    let counts = counts(&edge, &viewer).await?;
    let mut rows = urgent(&edge, &viewer, status, now).await?;
    let room = (ROWS_MAX - rows.len()).min(ENDED_MAX);
    rows.extend(ended(&edge, &viewer, status, room).await?);
    let shown: Vec<page::Line> = rows
        .iter()
        .filter_map(|row| lenses.get(&row.controller_id).map(|(name, lens)| page::Line::of(name, lens, row, now)))
        .collect();
    let paused = paused(&edge, &viewer).await?;
    Ok(document("Requests", true, &page::board(&shown, &counts, &paused, status, viewer.all, now)))
}

/// What is paused of what the viewer sees, by name.
async fn paused(edge: &Edge, viewer: &Viewer) -> Result<Vec<String>, Problem> {
    let paused = edge.store.paused(viewer.scope()).await?;
    let name = |id: &ControllerId| viewer.controllers.iter().find(|c| c.id == *id).map_or("", |c| c.name.as_str());
    let mut names: Vec<String> = paused.all.then(|| "everything".to_owned()).into_iter().collect();
    names.extend(paused.controllers.iter().map(|id| format!("all of {}", name(id))));
    names.extend(paused.systems.iter().map(|(id, system)| format!("{}/{system}", name(id))));
    Ok(names)
}

/// Who looks, and whose requests they see.
pub(super) struct Viewer {
    controllers: Vec<Controller>,
    all: bool,
}

impl Viewer {
    fn scope(&self) -> Option<&ControllerId> {
        if self.all { None } else { self.controllers.first().map(|c| &c.id) }
    }
}

/// The viewer, or the answer that asks who they are.
async fn viewer(edge: &Edge, headers: &HeaderMap) -> Result<Result<Viewer, Response>, Problem> {
    if let Some(caller) = page_caller(headers, edge).await? {
        let controllers = vec![edge.store.controller(&caller.controller_id).await?];
        return Ok(Ok(Viewer { controllers, all: false }));
    }
    if edge.board_open && is_local(headers) {
        return Ok(Ok(Viewer { controllers: edge.store.controllers().await?, all: true }));
    }
    let body = html! {
        main { h1 { "Redress" } p { "Sign in with any user name and an API key as the password." } }
    };
    let mut asked = (StatusCode::UNAUTHORIZED, document("Sign in", false, &body)).into_response();
    let challenge = HeaderValue::from_static(r#"Basic realm="Redress: API key as password", charset="UTF-8""#);
    asked.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    Ok(Err(asked))
}

/// Whether the call came to this machine under its own name and not through a proxy: a web site that gives its name our
/// address, or a proxy in front of us, must not open the board to others.
fn is_local(headers: &HeaderMap) -> bool {
    let forwarded = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let local = name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    local && !forwarded.iter().any(|header| headers.contains_key(*header))
}

/// A whole page. Its one style sheet is allowed by its hash, everything else is forbidden.
fn document(title: &str, refreshes: bool, body: &Markup) -> Response {
    let mut response = Html(page::shell(title, refreshes, body).into_string()).into_response();
    if let Ok(policy) = HeaderValue::from_str(&page::POLICY) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Every status that a request can show, in the order of a request's life, what needs a person first.
fn statuses() -> Vec<&'static str> {
    ["needs_attention", "on_hold"].into_iter().chain(Stage::ALL.iter().map(|stage| stage.as_str())).collect()
}

/// Status, how many, and whether counting stopped there.
type Count = (&'static str, i64, bool);

async fn counts(edge: &Edge, viewer: &Viewer) -> Result<Vec<Count>, Problem> {
    let mut all = Vec::new();
    if viewer.all {
        let counted: BTreeMap<String, i64> = edge.store.status_counts().await?.into_iter().collect();
        all.extend(statuses().into_iter().map(|status| (status, counted.get(status).copied().unwrap_or(0), false)));
    } else {
        for status in statuses() {
            let filter = DsrFilter { status: Some(status.into()), limit: COUNTED_MAX, ..DsrFilter::default() };
            let count = edge.store.dsrs(viewer.scope(), &filter).await?.len() as i64;
            all.push((status, count, count == COUNTED_MAX));
        }
    }
    all.retain(|(_, count, _)| *count > 0);
    Ok(all)
}

/// Open requests, the most urgent first: span by span of due dates, until the page is full.
async fn urgent(edge: &Edge, viewer: &Viewer, status: Option<&str>, now: i64) -> Result<Vec<DsrRow>, Problem> {
    let ends = [0, 1, 3, 7, 14, 30, 60, 120].map(|days| now + days * DAY_MS);
    let mut rows: Vec<DsrRow> = Vec::new();
    for i in 0..=ends.len() {
        let filter = DsrFilter {
            status: status.map(str::to_owned),
            due_after: i.checked_sub(1).map(|i| ends[i]),
            due_before: ends.get(i).copied(),
            open: true,
            limit: READ_MAX,
            ..DsrFilter::default()
        };
        let mut span = edge.store.dsrs(viewer.scope(), &filter).await?;
        span.sort_by(|a, b| (a.due_before, &a.id).cmp(&(b.due_before, &b.id)));
        rows.extend(span);
        if rows.len() >= ROWS_MAX {
            break;
        }
    }
    rows.truncate(ROWS_MAX);
    Ok(rows)
}

/// Ended requests, the last one first.
async fn ended(edge: &Edge, viewer: &Viewer, status: Option<&str>, room: usize) -> Result<Vec<DsrRow>, Problem> {
    let mut rows = Vec::new();
    for stage in Stage::ALL.iter().filter(|stage| stage.is_final() && status.is_none_or(|s| s == stage.as_str())) {
        let filter = DsrFilter { status: Some(stage.as_str().into()), limit: room as i64, ..DsrFilter::default() };
        rows.extend(edge.store.dsrs(viewer.scope(), &filter).await?);
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.closed_at));
    rows.truncate(room);
    Ok(rows)
}
