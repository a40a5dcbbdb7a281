//! Operations see whether the service lives, whether it is ready, and how much there is to do; nothing here is about a person.

use super::Edge;
use super::path::Query;
use super::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The description of every route.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// `GET /healthz`: the process answers. The database is not asked: restarting us does not mend it.
pub(crate) async fn healthz() -> &'static str {
    "ok"
}

/// `GET /readyz`
pub(crate) async fn readyz(State(edge): State<Edge>) -> Response {
    let mut reasons = (edge.ready)();
    if edge.store.ping().await.is_err() {
        reasons.push("the database does not answer".to_owned());
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// `GET /v1/signing-key` and `GET /.well-known/redress-signing-key.json`
pub(crate) async fn signing_key(State(edge): State<Edge>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    Query::new(query.as_deref()).finish()?;
    Ok(Json(edge.signing_key.clone()))
}
