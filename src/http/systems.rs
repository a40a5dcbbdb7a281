//! Connected systems are changed by administrators; what a caller may name is narrower than what the operator may.

use super::auth::Caller;
use super::path::{NamePath, is_plain};
use super::problem::Problem;
use super::view::time;
use super::{Edge, json};
use crate::connected;
use crate::provision::{Origin, SystemDef, read_system};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use redress_domain::words::Fault;
use redress_domain::{ControllerId, Personal};
use redress_store::{Error, SystemRow};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Settings that say where the secrets are sent; whoever changes one must know the secrets.
const DESTINATION: [&str; 3] = ["host", "port", "tls"];

/// `GET /v1/systems`
pub(crate) async fn list(caller: Caller, State(edge): State<Edge>) -> Result<Json<Value>, Problem> {
    let mut systems = Vec::new();
    for row in edge.store.systems(&caller.controller_id).await? {
        systems.push(view(&edge, &row).await?);
    }
    Ok(Json(json!({ "systems": systems })))
}

/// `GET /v1/systems/{name}`
pub(crate) async fn show(
    caller: Caller,
    NamePath(name): NamePath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    let row = find(&edge, &caller.controller_id, &name).await?;
    Ok(Json(view(&edge, &row).await?))
}

/// `PUT /v1/systems/{name}`
pub(crate) async fn put(
    caller: Caller,
    NamePath(name): NamePath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !is_plain(&name) {
        return Err(Problem::not_found());
    }
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let old = edge.store.system_by_name(&caller.controller_id, &name).await?;
    let kept = match &old {
        Some(row) => edge.store.system_secrets(row).await?,
        None => BTreeMap::new(),
    };
    let mut faults = Vec::new();
    let definition = match read_system(&name, &body, &Origin::Api { kept: &kept }) {
        Ok(definition) => Some(definition),
        Err(more) => {
            faults = more;
            None
        }
    };
    faults.extend(host_faults(&edge, &body));
    faults.extend(old.as_ref().and_then(|old| leak_fault(old, &kept, &body)));
    let Some(definition) = definition.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(&faults)) };
    store(&edge, &caller, &definition, old.as_ref()).await
}

async fn store(
    edge: &Edge,
    caller: &Caller,
    definition: &SystemDef,
    old: Option<&SystemRow>,
) -> Result<Response, Problem> {
    let (controller_id, actor) = (&caller.controller_id, &caller.actor);
    let new = connected::upsert(definition, true).map_err(|more| {
        let faults: Vec<Fault> =
            more.into_iter().map(|f| Fault::new(format!("/{}", f.path.replace('.', "/")), f.detail)).collect();
        Problem::invalid(&faults)
    })?;
    match edge.store.upsert_system(controller_id, &new, actor).await {
        // Somebody else connected a system of this name in the same moment.
        Err(error) if error.is_duplicate() => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "a system of this name was just connected; look and try again",
            ));
        }
        other => other?,
    };
    if let Some(paused) = definition.paused
        && paused != old.is_some_and(|row| row.paused)
    {
        edge.store.pause_system(controller_id, &definition.name, paused, actor).await?;
    }
    let row = find(edge, controller_id, &definition.name).await?;
    let status = if old.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = (status, Json(view(edge, &row).await?)).into_response();
    if old.is_none()
        && let Ok(location) = HeaderValue::from_str(&format!("/v1/systems/{}", definition.name))
    {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// `DELETE /v1/systems/{name}`
pub(crate) async fn delete(
    caller: Caller,
    NamePath(name): NamePath,
    State(edge): State<Edge>,
) -> Result<StatusCode, Problem> {
    edge.store.delete_system(&caller.controller_id, &name, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/systems/{name}/check`
pub(crate) async fn check(
    caller: Caller,
    NamePath(name): NamePath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    let row = find(&edge, &caller.controller_id, &name).await?;
    let checked = tokio::time::timeout(edge.patience(), (edge.check_system)(row)).await;
    let slow =
        |_| Err(("timed_out".to_owned(), "the system did not answer in time; is it up and reachable?".to_owned()));
    Ok(Json(match checked.unwrap_or_else(slow) {
        Ok(report) => json!({ "system": name, "ok": true, "report": report, "error": null }),
        Err((code, detail)) => {
            json!({ "system": name, "ok": false, "report": null, "error": { "code": code, "detail": detail } })
        }
    }))
}

/// `POST /v1/systems/{name}/pause`
pub(crate) async fn pause(
    caller: Caller,
    NamePath(name): NamePath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    set_paused(&edge, &caller, &name, true).await
}

/// `POST /v1/systems/{name}/resume`
pub(crate) async fn resume(
    caller: Caller,
    NamePath(name): NamePath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    set_paused(&edge, &caller, &name, false).await
}

async fn set_paused(edge: &Edge, caller: &Caller, name: &str, paused: bool) -> Result<Json<Value>, Problem> {
    let row = find(edge, &caller.controller_id, name).await?;
    if row.paused != paused {
        edge.store.pause_system(&caller.controller_id, name, paused, &caller.actor).await?;
    }
    let row = find(edge, &caller.controller_id, name).await?;
    Ok(Json(view(edge, &row).await?))
}

async fn find(edge: &Edge, controller_id: &ControllerId, name: &str) -> Result<SystemRow, Problem> {
    Ok(edge.store.system_by_name(controller_id, name).await?.ok_or(Error::NotFound)?)
}

/// A system as it is shown: of its secrets the names only.
async fn view(edge: &Edge, row: &SystemRow) -> Result<Value, Problem> {
    let secrets: Map<String, Value> =
        edge.store.system_secrets(row).await?.into_keys().map(|name| (name, json!({ "set": true }))).collect();
    let of = |name: &str| row.definition.get(name).cloned().unwrap_or(Value::Null);
    Ok(json!({
        "id": row.id,
        "name": row.name,
        "family": row.family,
        "connector": row.connector,
        "settings": of("settings"),
        "secrets": secrets,
        "tables": of("tables"),
        "allow": row.allow,
        "max_matches": of("max_matches"),
        "rate_per_second": of("rate_per_second"),
        "limits": of("limits"),
        "account": of("account"),
        "completes_within_days": row.completes_within_days,
        "credentials_expire_on": row.credentials_expire_on(),
        "paused": row.paused,
        "paused_by": paused_by(edge, row).await?,
        "failing": row.breaker.until.map(|until| json!({ "calls": row.breaker.failures, "next_try_at": time(until) })),
        "verbs": row.verbs,
        "identifiers": row.identifiers,
        "fields": row.fields,
        "version": row.version,
        "checked_at": row.checked_at.map(time),
        "problem": row.problem.as_ref().map(|(code, detail)| json!({ "code": code, "detail": detail })),
    }))
}

/// What keeps work here from being begun: the widest pause that holds.
async fn paused_by(edge: &Edge, row: &SystemRow) -> Result<Option<&'static str>, Problem> {
    let paused = edge.store.paused(Some(&row.controller_id)).await?;
    Ok(if paused.all {
        Some("installation")
    } else if !paused.controllers.is_empty() {
        Some("controller")
    } else {
        row.paused.then_some("system")
    })
}

/// The outbound policy for the host a body names, at the port it names or the connector's usual one.
fn host_faults(edge: &Edge, body: &Value) -> Vec<Fault> {
    let Some(host) = body["settings"]["host"].as_str() else { return Vec::new() };
    let usual = match (body["connector"].as_str(), body["settings"]["tls"].as_str()) {
        (Some("mysql"), _) => 3306,
        (Some("imap"), Some("starttls" | "none")) => 143,
        (Some("imap"), _) => 993,
        _ => 5432,
    };
    let port = match &body["settings"]["port"] {
        Value::Null => usual,
        // A port that is none is told by the connector.
        given => match given.as_u64().and_then(|port| u16::try_from(port).ok()) {
            Some(port) => port,
            None => return Vec::new(),
        },
    };
    (edge.check_host)(host, port).err().map(|detail| Fault::new("/settings/host", detail)).into_iter().collect()
}

/// Stored secrets are write-only: they are not sent to another place at the wish of somebody who need not know them.
fn leak_fault(old: &SystemRow, kept: &BTreeMap<String, Personal<String>>, body: &Value) -> Option<Fault> {
    if kept.is_empty() || body.get("secrets").is_some() {
        return None;
    }
    let moved = DESTINATION.iter().any(|name| old.definition["settings"].get(name) != body["settings"].get(name));
    let elsewhere = moved || body["connector"].as_str() != Some(old.connector.as_str());
    elsewhere.then(|| {
        let detail = "must be given again when connector, settings.host, settings.port or settings.tls change: stored \
                      secrets are not sent to another place";
        Fault::new("/secrets", detail)
    })
}
