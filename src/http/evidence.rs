//! `GET /v1/reports/evidence`: what a controller shows an authority, as one signed ZIP that `redress verify` checks offline.
//!
//! It is written while it is sent, page by page, so that a year's log needs no more memory than a day's. Whoever stops reading stops
//! the writing. Nothing in it is about a data subject.

use super::Edge;
use super::auth::Caller;
use super::path::Query;
use super::problem::Problem;
use crate::evidence::Asked;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::Response;
use redress_domain::DsrId;

/// `GET /v1/reports/evidence`
pub(crate) async fn evidence(
    caller: Caller,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let id = query.read("request", "the id of a request", |text| DsrId::parse(text).ok());
    let from = query.read("from", "a date such as 2026-11-01", crate::report::read_date);
    let to = query.read("to", "a date such as 2026-11-30, not before from", |text| {
        crate::report::read_date(text).filter(|to| from.is_none_or(|from| from <= *to))
    });
    query.finish()?;
    let asked = match (id, from, to) {
        (Some(id), None, None) => Asked::Request(id),
        (None, Some(from), Some(to)) => Asked::Days(from, to),
        _ => {
            let fault = "either request, or both from and to, must be given".to_owned();
            return Err(Problem::invalid_query(vec![("request".to_owned(), fault)]));
        }
    };
    let controller = edge.store.controller(&caller.controller_id).await?;
    let name = match &asked {
        Asked::Request(id) => {
            // What is not there is a 404 and not a torn answer.
            edge.store.dsr(&controller.id, id).await?;
            format!("redress-evidence-{id}.zip")
        }
        Asked::Days(from, to) => format!("redress-evidence-{from}-{to}.zip"),
    };
    let mut parts = crate::evidence::write(&edge.store, controller, asked).await?;
    let body = futures::stream::poll_fn(move |context| parts.poll_recv(context));
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    let attachment = format!("attachment; filename=\"{name}\"");
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_str(&attachment).map_err(|_| Problem::internal())?);
    Ok(response)
}
