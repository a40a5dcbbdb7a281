//! Telling a controller a status: a signed webhook, tried again on the schedule of Standard Webhooks by a column.

mod endpoint;

pub use endpoint::{TestFault, test};

use crate::engine::{Engine, jitter};
use crate::webhook::{self, Delivery, Notice, Secret};
use endpoint::Standing;
use jiff::Timestamp;
use redress_store::{Error, Finish, Lease, StepResult, Tellable, crash_point, mutant};
use serde::Deserialize;
use serde_json::Map;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a notice row holds.
#[derive(Deserialize)]
struct Payload {
    status: String,
    at: i64,
}

/// Where a status is told.
#[derive(Clone, Copy)]
enum At<'a> {
    /// At the address that came with the request.
    Callback,
    /// At a standing endpoint.
    Endpoint(&'a Standing),
    /// At one that was removed.
    Removed,
}

/// Tells these statuses, several at a time.
pub async fn run(engine: &Arc<Engine>, leases: Vec<Lease>) {
    let read = match engine.store.tellable(&leases).await {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(%error, count = leases.len(), "statuses could not be told; their leases run out");
            return;
        }
    };
    let endpoints = match endpoint::read(engine, &leases).await {
        Ok(endpoints) => endpoints,
        Err(error) => {
            tracing::warn!(%error, count = leases.len(), "statuses could not be told; their leases run out");
            return;
        }
    };
    // Each request at each place on its own: one that hangs or is gone does not concern the others.
    let mut by_request: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (lease, read) in leases.into_iter().zip(read) {
        by_request.entry((lease.dsr_id.clone(), lease.webhook())).or_default().push((lease, read));
    }
    let told = by_request.into_iter().map(|((_, webhook), of_one)| {
        let at = match webhook {
            None => At::Callback,
            Some(id) => endpoints.get(&id).map_or(At::Removed, At::Endpoint),
        };
        in_order(engine, at, of_one)
    });
    let finishes: Vec<Finish> = futures::future::join_all(told).await.into_iter().flatten().collect();
    if finishes.is_empty() {
        return;
    }
    if let Err(error) = engine.store.finish(finishes).await {
        tracing::warn!(%error, "what was told could not be recorded; it may be told once more");
    }
}

/// Tells what happened to one request as it happened, one after the other. An address that is gone is not asked again.
async fn in_order(engine: &Engine, at: At<'_>, mut of_one: Vec<(Lease, Result<Tellable, Error>)>) -> Vec<Finish> {
    // Ids grow with time.
    of_one.sort_by(|a, b| a.0.step_id.cmp(&b.0.step_id));
    let mut finishes = Vec::with_capacity(of_one.len());
    let mut gone = false;
    for (lease, read) in of_one {
        if gone {
            let result = StepResult::Dismissed { achieved: false, code: "gone".into() };
            finishes.push(Finish { lease, result });
            continue;
        }
        let Some(told) = tell(engine, at, lease, read).await else { continue };
        gone = matches!(&told.result, StepResult::Dismissed { achieved: false, code } if code == "gone");
        finishes.push(told);
    }
    finishes
}

async fn tell(engine: &Engine, at: At<'_>, lease: Lease, read: Result<Tellable, Error>) -> Option<Finish> {
    let result = match read {
        Ok(of) => attempt(engine, at, &lease, of).await,
        Err(error) => Err(error),
    };
    let result = match result {
        Ok(result) => result,
        Err(Error::Purged | Error::NotFound) => StepResult::Dismissed { achieved: false, code: "purged".into() },
        Err(error) => {
            tracing::warn!(%error, dsr.id = %lease.dsr_id, "a status of {} could not be told; its lease runs out", lease.dsr_id);
            return None;
        }
    };
    Some(Finish { lease, result })
}

/// Makes one attempt.
async fn attempt(engine: &Engine, at: At<'_>, lease: &Lease, of: Tellable) -> Result<StepResult, Error> {
    if mutant("notice.dropped") {
        return Ok(StepResult::Dismissed { achieved: true, code: "200".into() });
    }
    let payload: Payload = lease
        .payload
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or(Error::Inconsistent { table: "steps", column: "payload" })?;
    let now = engine.store.clock().now();
    let (url, secrets) = match at {
        At::Callback => match of.callback_url.clone() {
            None => return Ok(given_up("no_callback")),
            Some(url) => (url, std::slice::from_ref(&of.secret)),
        },
        At::Removed => return Ok(given_up("endpoint_removed")),
        At::Endpoint(standing) => match standing.refuses(now) {
            Some(refused) => return Ok(refused),
            None => (standing.endpoint.url.clone(), standing.endpoint.secrets.as_slice()),
        },
    };
    let Ok(url) = engine.http.policy().check_url(url.expose()) else { return Ok(given_up("address_not_allowed")) };
    let secrets: Vec<Secret> = secrets
        .iter()
        .map(|text| Secret::parse(text.expose()))
        .collect::<Result<_, _>>()
        .map_err(|_| Error::Sealing)?;
    let body = Notice {
        id: lease.dsr_id.to_string(),
        reference: of.reference.as_ref().map(|r| r.expose().clone()),
        request_type: of.kind,
        status: payload.status,
        due_on: of.due_on.and_then(|text| text.parse().ok()),
        at: Timestamp::from_millisecond(payload.at).unwrap_or_default(),
        more: Map::new(),
    }
    .body();
    // The step's id is the message's: the same at every attempt, so that a receiver can drop what it has seen.
    let id = lease.step_id.as_str().replacen("stp_", "msg_", 1);
    let headers = webhook::headers(&id, now, body.as_bytes(), &secrets);
    crash_point("notify.before_send");
    let delivery = webhook::send(&engine.http, &url, &headers, body).await;
    crash_point("notify.after_send");
    let result = match &delivery {
        Delivery::Delivered(status) => StepResult::Dismissed { achieved: true, code: status.to_string() },
        Delivery::Gone if !matches!(at, At::Callback) => given_up("endpoint_gone"),
        Delivery::Gone => given_up("gone"),
        Delivery::Retry { status, reason, retry_after } => match webhook::next_delay(lease.failures + 1, jitter()) {
            None => given_up("given_up"),
            Some(wait) => StepResult::Later {
                not_before: now.as_millisecond() + wait.max(retry_after.unwrap_or_default()).as_millis() as i64,
                failed: true,
                attention: false,
                code: endpoint::code(*status),
                detail: (*reason).into(),
            },
        },
    };
    if let (At::Endpoint(standing), Some(id)) = (at, lease.webhook()) {
        standing.answered(engine, &id, &delivery, now).await;
    }
    Ok(result)
}

fn given_up(code: &str) -> StepResult {
    StepResult::Dismissed { achieved: false, code: code.into() }
}
