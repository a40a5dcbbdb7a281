//! The audit logs leave as lines of JSON, each bound to the one before, for `redress verify`.

use super::Edge;
use super::auth::{Caller, Staff};
use super::path::Query;
use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use futures::stream;
use redress_domain::ControllerId;
use redress_store::{Error, Store};
use serde::Serialize;

/// Events that are read at a time.
const PAGE: i64 = 500;

/// `GET /v1/audit`
pub(crate) async fn export(
    caller: Caller,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    answer(&edge, Log::Controller(caller.controller_id), query.as_deref()).await
}

/// `GET /v1/staff-audit`
pub(crate) async fn staff(_: Staff, State(edge): State<Edge>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    answer(&edge, Log::Staff, query.as_deref()).await
}

async fn answer(edge: &Edge, log: Log, query: Option<&str>) -> Result<Response, Problem> {
    let mut query = Query::new(query);
    let after = query.number("after", 0, i64::MAX).unwrap_or(0);
    let limit = query.number("limit", 1, i64::MAX).unwrap_or(i64::MAX);
    query.finish()?;
    let reading = Reading { store: edge.store.clone(), log, after, left: limit };
    // The first page is read before the answer begins, so that a database that is away is a 503 and not a torn answer.
    let first = reading.page().await?;
    let lines = stream::try_unfold((reading, Some(first)), |(mut reading, page)| async move {
        let page = match page {
            Some(page) => page,
            None => reading.page().await?,
        };
        let Some(page) = page else { return Ok::<_, Error>(None) };
        reading.after = page.last;
        reading.left -= page.events;
        Ok(Some((page.lines, (reading, None))))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Which log.
enum Log {
    Controller(ControllerId),
    Staff,
}

/// How far the export has come.
struct Reading {
    store: Store,
    log: Log,
    after: i64,
    left: i64,
}

/// Some events that follow each other.
struct Page {
    last: i64,
    events: i64,
    lines: Bytes,
}

impl Page {
    /// None if there are no events.
    fn of<E: Serialize>(events: &[E], seq: fn(&E) -> i64) -> Result<Option<Self>, Error> {
        let Some(last) = events.last().map(seq) else { return Ok(None) };
        let mut text = Vec::new();
        for event in events {
            serde_json::to_writer(&mut text, event)
                .map_err(|_| Error::Inconsistent { table: "events", column: "data" })?;
            text.push(b'\n');
        }
        Ok(Some(Self { last, events: events.len() as i64, lines: text.into() }))
    }
}

impl Reading {
    async fn page(&self) -> Result<Option<Page>, Error> {
        let wanted = self.left.min(PAGE);
        if wanted == 0 {
            return Ok(None);
        }
        match &self.log {
            Log::Controller(id) => Page::of(&self.store.events_after(id, self.after, wanted).await?, |event| event.seq),
            Log::Staff => Page::of(&self.store.staff_events(self.after, wanted).await?, |event| event.seq),
        }
    }
}
