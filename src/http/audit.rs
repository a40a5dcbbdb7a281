//! The audit log leaves as lines of JSON, each bound to the one before, for `redress verify`.

use super::Edge;
use super::auth::Caller;
use super::path::Query;
use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use futures::stream;
use redress_domain::ControllerId;
use redress_store::{AuditEvent, Error, Store};

/// Events that are read at a time.
const PAGE: i64 = 500;

/// `GET /v1/audit`
pub(crate) async fn export(
    caller: Caller,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let after = query.number("after", 0, i64::MAX).unwrap_or(0);
    let limit = query.number("limit", 1, i64::MAX).unwrap_or(i64::MAX);
    query.finish()?;
    let reading = Reading { store: edge.store.clone(), controller_id: caller.controller_id, after, left: limit };
    // The first page is read before the answer begins, so that a database that is away is a 503 and not a torn answer.
    let first = reading.page().await?;
    let lines = stream::try_unfold((reading, Some(first)), |(mut reading, page)| async move {
        let page = match page {
            Some(page) => page,
            None => reading.page().await?,
        };
        let Some(last) = page.last() else { return Ok::<_, Error>(None) };
        reading.after = last.seq;
        reading.left -= page.len() as i64;
        Ok(Some((lines(&page)?, (reading, None))))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// How far the export has come.
struct Reading {
    store: Store,
    controller_id: ControllerId,
    after: i64,
    left: i64,
}

impl Reading {
    async fn page(&self) -> Result<Vec<AuditEvent>, Error> {
        if self.left == 0 {
            return Ok(Vec::new());
        }
        self.store.events_after(&self.controller_id, self.after, self.left.min(PAGE)).await
    }
}

fn lines(page: &[AuditEvent]) -> Result<Bytes, Error> {
    let mut text = Vec::new();
    for event in page {
        serde_json::to_writer(&mut text, event).map_err(|_| Error::Inconsistent { table: "events", column: "data" })?;
        text.push(b'\n');
    }
    Ok(text.into())
}
