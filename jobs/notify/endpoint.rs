//! A standing endpoint that does not answer is left alone for a while, whatever else is to be told there; one that never does is
//! disabled.

use crate::engine::{Engine, jitter};
use crate::webhook::{self, Delivery, Secret};
use jiff::Timestamp;
use redress_domain::{ControllerId, MessageId, WebhookId};
use redress_store::{Endpoint, EndpointAnswer, Error, Lease, StepResult};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

/// The longest that an endpoint is left alone before it is tried again.
const ALONE_MAX: Duration = Duration::from_hours(1);

/// An endpoint as one batch knows it.
pub(super) struct Standing {
    pub(super) endpoint: Endpoint,
    /// What it answered last in this batch.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// It took something, so that there is nothing new to record while it goes on taking.
    takes: bool,
    /// It did not answer: left alone until then (Unix ms).
    retry_at: Option<i64>,
    gone: bool,
}

/// The endpoints that these leases are for; one that was removed is not among them.
pub(super) async fn read(engine: &Engine, leases: &[Lease]) -> Result<HashMap<WebhookId, Standing>, Error> {
    let ids: BTreeSet<WebhookId> = leases.iter().filter_map(Lease::webhook).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<WebhookId> = ids.into_iter().collect();
    let standing = |endpoint| Standing { endpoint, seen: Mutex::default() };
    Ok(engine.store.endpoints(&ids).await?.into_iter().map(|(id, endpoint)| (id, standing(endpoint))).collect())
}

impl Standing {
    /// What becomes of a message that is not sent now.
    pub(super) fn refuses(&self, now: Timestamp) -> Option<StepResult> {
        let seen = self.seen.lock().expect("never held across a panic");
        if self.endpoint.disabled {
            return Some(super::given_up("endpoint_disabled"));
        }
        if seen.gone {
            return Some(super::given_up("endpoint_gone"));
        }
        let alone = seen.retry_at.max(self.endpoint.retry_at.filter(|_| !seen.takes));
        alone.filter(|at| *at > now.as_millisecond()).map(|at| StepResult::Later {
            not_before: at,
            failed: false,
            attention: false,
            code: "endpoint_silent".into(),
            detail: "the endpoint did not take an earlier message; this one waits until it is tried again".into(),
        })
    }

    /// Records what it answered. If that fails it is known a message later.
    pub(super) async fn answered(&self, engine: &Engine, id: &WebhookId, delivery: &Delivery, now: Timestamp) {
        let answer = {
            let mut seen = self.seen.lock().expect("never held across a panic");
            match delivery {
                Delivery::Delivered(_) if seen.takes => return,
                Delivery::Delivered(status) => {
                    *seen = Seen { takes: true, ..Seen::default() };
                    EndpointAnswer::Taken(*status)
                }
                Delivery::Gone => {
                    seen.gone = true;
                    EndpointAnswer::Gone
                }
                Delivery::Retry { status, retry_after, .. } => {
                    let failures = u32::try_from(self.endpoint.failures).unwrap_or(u32::MAX).saturating_add(1);
                    let wait = webhook::next_delay(failures, jitter()).unwrap_or(ALONE_MAX).min(ALONE_MAX);
                    let wait = wait.max(retry_after.unwrap_or_default());
                    let retry_at = now.as_millisecond() + wait.as_millis() as i64;
                    (seen.takes, seen.retry_at) = (false, Some(retry_at));
                    EndpointAnswer::Failed { code: code(*status), retry_at }
                }
            }
        };
        match engine.store.record_endpoint(&self.endpoint.controller_id, id, &answer).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::error!(webhook.id = %id, controller.id = %self.endpoint.controller_id, "the webhook endpoint {id} is disabled: it took nothing for days, or is gone; its controller has to mend it");
            }
            Err(error) => tracing::warn!(%error, webhook.id = %id, "what {id} answered could not be recorded"),
        }
    }
}

/// An answer as a word.
pub(super) fn code(status: Option<u16>) -> String {
    status.map_or_else(|| "unreachable".to_owned(), |status| format!("status_{status}"))
}

/// Sends an endpoint a message about nothing, signed as all others are, and records what it answered. Returns its status.
///
/// # Errors
/// It did not take it; or the database is away.
pub async fn test(
    engine: &Engine,
    controller_id: &ControllerId,
    id: &WebhookId,
    actor: &str,
) -> Result<u16, TestFault> {
    let store = &engine.store;
    let found = store.endpoints(std::slice::from_ref(id)).await?.remove(id);
    let endpoint = found.filter(|endpoint| endpoint.controller_id == *controller_id).ok_or(Error::NotFound)?;
    let url =
        engine.http.policy().check_url(endpoint.url.expose()).map_err(|fault| TestFault::Address(fault.to_string()))?;
    let now = store.clock().now();
    let message = MessageId::from_parts(now.as_millisecond().max(0) as u64, redress_store::random::<10>()?);
    let body = json!({
        "type": "redress.webhook.test",
        "timestamp": now.to_string(),
        "data": { "webhook": id, "test": true },
    })
    .to_string();
    let secrets: Vec<Secret> = endpoint
        .secrets
        .iter()
        .map(|text| Secret::parse(text.expose()))
        .collect::<Result<_, _>>()
        .map_err(|_| Error::Sealing)?;
    let headers = webhook::headers(message.as_str(), now, body.as_bytes(), &secrets);
    let delivery = webhook::send(&engine.http, &url, &headers, body).await;
    let (answer, result) = match delivery {
        Delivery::Delivered(status) => (status.to_string(), Ok(status)),
        Delivery::Gone => (
            "status_410".to_owned(),
            Err(TestFault::NotTaken { status: Some(410), reason: "the endpoint says that it is gone for good" }),
        ),
        Delivery::Retry { status, reason, .. } => (code(status), Err(TestFault::NotTaken { status, reason })),
    };
    store.record_webhook_test(controller_id, id, &answer, actor).await?;
    result
}

/// Why a test message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TestFault {
    /// The database, or no such endpoint.
    #[error(transparent)]
    Store(#[from] Error),
    /// The address may not be called any more.
    #[error("{0}")]
    Address(String),
    /// It answered with a status that is none of 200 to 299, or not at all.
    #[error("{reason}{}", .status.map_or_else(String::new, |status| format!(" (status {status})")))]
    NotTaken {
        /// Its answer, if there was one.
        status: Option<u16>,
        /// Why, in words.
        reason: &'static str,
    },
}
