//! The board is what a privacy team looks at: which requests are open, what is due first, and what waits for a person.
//!
//! It is rendered here and reads without a script. Pages hold no personal data until somebody reveals them on purpose: ids, words,
//! dates and counts. Whoever sits at this machine may look where the service listens to it only; who acts has signed in ([`super::auth`]).

mod act;
mod assets;
mod chart;
mod controllers;
mod errors;
mod glossary;
mod page;
mod parts;
mod queue;
mod request;
mod requests;
mod shell;
mod systems;
mod task;
#[cfg(test)]
mod tests;
mod today;
mod words;

pub(crate) use act::act;
pub(crate) use assets::asset;
pub(crate) use controllers::{controller, controllers, make_key};
pub(crate) use errors::as_page;
pub(crate) use queue::queue;
pub(crate) use request::request;
pub(crate) use requests::{csv as requests_csv, kept_query, requests};
pub(crate) use systems::{system, systems};
pub(crate) use task::{open_task, report_task, task};
pub(crate) use today::{Shared, today};

use super::Edge;
use super::auth::Viewer;
use super::path::Query;
use super::problem::Problem;
use super::view::Lens;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use redress_domain::ControllerId;
use redress_domain::stage::Stage;
use redress_store::{Controller, DsrFilter, DsrRow, Paused};
use shell::{Page, Section};
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

/// `GET /requests`
pub(crate) async fn list(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let seen = Seen::of(&edge, &viewer).await?;
    let mut query = Query::new(query.as_deref());
    let statuses = statuses();
    let status = query.word("status", &statuses, |status| status);
    let done = query.text("done");
    query.finish()?;

    let now = edge.store.now_ms();
    let lenses: BTreeMap<ControllerId, (String, Lens)> =
        seen.controllers.iter().map(|c| (c.id.clone(), (c.name.clone(), Lens::new(c, now)))).collect();
    let counts = counts(&edge, &seen).await?;
    let mut rows = urgent(&edge, &seen, status, now).await?;
    let room = (ROWS_MAX - rows.len()).min(ENDED_MAX);
    rows.extend(ended(&edge, &seen, status, room).await?);
    let shown: Vec<page::Line> = rows
        .iter()
        .filter_map(|row| lenses.get(&row.controller_id).map(|(name, lens)| page::Line::of(name, lens, row, now)))
        .collect();
    let paused = paused(&edge, &seen).await?;
    let body = page::board(&shown, &counts, &paused, status, seen.all);
    let done = done.as_deref().and_then(act::done);
    Ok(Page { viewer: &viewer, section: Section::Requests, title: "Requests", done, now, body }.into_response())
}

/// What a viewer sees.
struct Seen {
    controllers: Vec<Controller>,
    all: bool,
}

impl Seen {
    async fn of(edge: &Edge, viewer: &Viewer) -> Result<Self, Problem> {
        Ok(Self { controllers: viewer.controllers(edge).await?, all: viewer.scope.is_none() })
    }

    fn scope(&self) -> Option<&ControllerId> {
        if self.all { None } else { self.controllers.first().map(|c| &c.id) }
    }
}

/// What is paused of what the viewer sees, by name.
async fn paused(edge: &Edge, seen: &Seen) -> Result<Vec<String>, Problem> {
    let paused = edge.store.paused(seen.scope()).await?;
    let name = |id: &ControllerId| seen.controllers.iter().find(|c| c.id == *id).map_or("", |c| c.name.as_str());
    Ok(paused_names(&paused, None, name))
}

/// What is paused in a scope, by name; none: everywhere.
fn paused_names<'n>(
    paused: &Paused,
    scope: Option<&[ControllerId]>,
    name: impl Fn(&ControllerId) -> &'n str,
) -> Vec<String> {
    let seen = |id: &ControllerId| scope.is_none_or(|scope| scope.contains(id));
    let mut names: Vec<String> = paused.all.then(|| "everything".to_owned()).into_iter().collect();
    names.extend(paused.controllers.iter().filter(|id| seen(id)).map(|id| format!("all of {}", name(id))));
    let systems = paused.systems.iter().filter(|(id, _)| seen(id));
    names.extend(systems.map(|(id, system)| format!("{}/{system}", name(id))));
    names
}

/// Every status that a request can show, in the order of a request's life, what needs a person first.
fn statuses() -> Vec<&'static str> {
    ["needs_attention", "on_hold"].into_iter().chain(Stage::ALL.iter().map(|stage| stage.as_str())).collect()
}

/// Status, how many, and whether counting stopped there.
type Count = (&'static str, i64, bool);

async fn counts(edge: &Edge, seen: &Seen) -> Result<Vec<Count>, Problem> {
    let mut all = Vec::new();
    if seen.all {
        let counted: BTreeMap<String, i64> = edge.store.status_counts().await?.into_iter().collect();
        all.extend(statuses().into_iter().map(|status| (status, counted.get(status).copied().unwrap_or(0), false)));
    } else {
        for status in statuses() {
            let filter = DsrFilter { status: Some(status.into()), limit: COUNTED_MAX, ..DsrFilter::default() };
            let count = edge.store.dsrs(seen.scope(), &filter).await?.len() as i64;
            all.push((status, count, count == COUNTED_MAX));
        }
    }
    all.retain(|(_, count, _)| *count > 0);
    Ok(all)
}

/// Open requests, the most urgent first: span by span of due dates, until the page is full.
async fn urgent(edge: &Edge, seen: &Seen, status: Option<&str>, now: i64) -> Result<Vec<DsrRow>, Problem> {
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
        let mut span = edge.store.dsrs(seen.scope(), &filter).await?;
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
async fn ended(edge: &Edge, seen: &Seen, status: Option<&str>, room: usize) -> Result<Vec<DsrRow>, Problem> {
    let mut rows = Vec::new();
    for stage in Stage::ALL.iter().filter(|stage| stage.is_final() && status.is_none_or(|s| s == stage.as_str())) {
        let filter = DsrFilter { status: Some(stage.as_str().into()), limit: room as i64, ..DsrFilter::default() };
        rows.extend(edge.store.dsrs(seen.scope(), &filter).await?);
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.closed_at));
    rows.truncate(room);
    Ok(rows)
}
