//! API keys are made, listed and revoked by administrators; the text of a key is shown once.

use super::auth::Caller;
use super::body::Members;
use super::path::NamePath;
use super::problem::Problem;
use super::view::time;
use super::{Edge, json};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use redress_domain::words::Fault;
use redress_domain::{KeyId, Role};
use serde_json::{Value, json};

/// `GET /v1/keys`
pub(crate) async fn list(caller: Caller, State(edge): State<Edge>) -> Result<Json<Value>, Problem> {
    let keys = edge.store.keys(&caller.controller_id).await?;
    let keys: Vec<Value> = keys
        .iter()
        .map(|key| {
            json!({
                "id": key.id,
                "role": key.role.as_str(),
                "created_at": time(key.created_at),
                "revoked_at": key.revoked_at.map(time),
                "last_used_at": key.last_used_at.and_then(time),
            })
        })
        .collect();
    Ok(Json(json!({ "keys": keys })))
}

/// `POST /v1/keys`
pub(crate) async fn create(
    caller: Caller,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let mut faults = Vec::new();
    let mut role = None;
    if let Some(mut members) = Members::open(&body, "", &mut faults) {
        role = members
            .text("role", &mut faults)
            .and_then(|text| Role::parse(&text))
            .filter(|role| Role::KEYS.contains(role));
        members.finish(&mut faults);
    }
    if role.is_none() {
        let known = Role::KEYS.map(Role::as_str).join(", ");
        super::body::add(&mut faults, vec![Fault::new("/role", format!("must be one of {known}"))]);
    }
    let Some(role) = role.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(&faults)) };
    let (id, text) = edge.store.create_key(&caller.controller_id, role, &caller.actor).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "role": role.as_str(), "api_key": text }))))
}

/// `DELETE /v1/keys/{id}`
pub(crate) async fn revoke(
    caller: Caller,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
) -> Result<StatusCode, Problem> {
    let id = KeyId::parse(&id).map_err(|_| Problem::not_found())?;
    edge.store.revoke_key(&caller.controller_id, &id, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
