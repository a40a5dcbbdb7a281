//! A task is done by a person, or by a system that reports back: what is to be done is shown with the person it is about, and the
//! report of what was done is taken in, whole or not at all.

use super::auth::Caller;
use super::path::StepPath;
use super::problem::Problem;
use super::requests::shown;
use super::view::time;
use super::{Edge, json};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use redress_connectors::report::REPORT_MAX;
use redress_connectors::{Awaited, Receipt};
use redress_domain::words::Fault;
use redress_domain::{ControllerId, DsrId};
use redress_store::{Error, OpenTask};
use serde_json::{Value, json};

/// Files are base64 in JSON: a third longer, and something around them.
const BODY_MAX: usize = REPORT_MAX;

async fn open(
    edge: &Edge,
    controller_id: &ControllerId,
    id: &DsrId,
    system: &str,
) -> Result<(OpenTask, Awaited), Problem> {
    let task = match edge.store.open_task(controller_id, id, system).await {
        Ok(task) => task,
        Err(Error::Conflict(detail)) => return Err(conflict(edge, controller_id, id, detail).await?),
        Err(error) => return Err(error.into()),
    };
    if let Some(awaited) = Awaited::of(&Receipt(task.receipt.clone())) {
        Ok((task, awaited))
    } else {
        let detail = format!("the vendor of {system} carries this out itself and is asked; nobody reports it");
        Err(conflict(edge, controller_id, id, detail).await?)
    }
}

async fn conflict(edge: &Edge, controller_id: &ControllerId, id: &DsrId, detail: String) -> Result<Problem, Problem> {
    let now = edge.store.dsr(controller_id, id).await?;
    Ok(Problem::new(StatusCode::CONFLICT, detail).member("current_status", now.row.status))
}

/// `GET /v1/requests/{id}/steps/{system}/task`: what is to be done, and for whom. Who sees it is in the audit log.
pub(crate) async fn show(
    caller: Caller,
    StepPath(id, system): StepPath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    let (task, awaited) = open(&edge, &caller.controller_id, &id, &system).await?;
    let data = caller.seen(json!({ "step": task.step_id }));
    edge.store.record_event(&caller.controller_id, &caller.actor, Some(&id), "task_seen", data).await?;
    let identifiers = task.subject.identifiers.iter();
    let identifiers: Vec<Value> =
        identifiers.map(|i| json!({ "type": i.kind(), "value": i.given().expose() })).collect();
    let corrections = task.corrections.iter();
    let corrections: Vec<Value> = corrections.map(|c| json!({ "field": c.field, "value": c.value.expose() })).collect();
    Ok(Json(json!({
        "request": id,
        "step": task.step_id,
        "system": system,
        "verb": task.verb,
        "title": awaited.task.as_ref().map(|task| task.title.clone()),
        "instructions": awaited.task.as_ref().map(|task| task.instructions.clone()).unwrap_or_default(),
        "due_at": awaited.task.as_ref().and_then(|task| time(task.due_at_ms)),
        "reported": awaited.report(task.verb).is_some(),
        "subject": { "identifiers": identifiers },
        "corrections": corrections,
    })))
}

/// `POST /v1/requests/{id}/steps/{system}/complete`: what was done. The step answers from it at once.
pub(crate) async fn complete(
    caller: Caller,
    StepPath(id, system): StepPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let report = json::read(&headers, body, BODY_MAX, edge.patience()).await?;
    let (task, awaited) = open(&edge, &caller.controller_id, &id, &system).await?;
    let bytes = serde_json::to_vec(&report).unwrap_or_default();
    let awaited = awaited.reported(task.verb, &bytes).map_err(|faults| {
        let faults: Vec<Fault> = faults
            .into_iter()
            .map(|fault| {
                let pointer =
                    if fault.path.is_empty() { String::new() } else { format!("/{}", fault.path.replace('.', "/")) };
                Fault::new(pointer, fault.detail)
            })
            .collect();
        Problem::invalid(&faults)
    })?;
    let receipt = awaited.receipt();
    let actor = &caller.actor;
    match edge.store.report_task(&caller.controller_id, &id, &system, &task, &receipt.0, actor).await {
        Ok(()) => shown(&edge, &caller, &id).await,
        Err(Error::Conflict(detail)) => Err(conflict(&edge, &caller.controller_id, &id, detail).await?),
        Err(error) => Err(error.into()),
    }
}
