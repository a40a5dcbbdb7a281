//! What was given up is tried again at a person's wish: a message to those who are told, statuses to a controller's own address.

use super::Edge;
use super::auth::Caller;
use super::path::DsrPath;
use super::problem::Problem;
use super::requests::{no_members, shown};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use redress_domain::MessageId;
use serde_json::{Value, json};

/// `POST /v1/messages/{id}/replay`
pub(crate) async fn message(
    caller: Caller,
    Path(id): Path<String>,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id = MessageId::parse(&id).map_err(|_| Problem::not_found())?;
    no_members(&edge, &headers, body).await?;
    edge.store.replay_message(&caller.controller_id, caller.sees_everybody, &id, &caller.actor).await?;
    Ok(Json(json!({ "message": id, "state": "waiting" })))
}

/// `POST /v1/requests/{id}/notify`
pub(crate) async fn callbacks(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    no_members(&edge, &headers, body).await?;
    edge.store.replay_callbacks(&caller.controller_id, &id, &caller.actor).await?;
    shown(&edge, &caller, &id).await
}
