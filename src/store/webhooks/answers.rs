//! What an endpoint needs to be told something, and what came of it: one that answers nobody for days is disabled.

use super::INCONSISTENT;
use crate::db::{args, texts};
use crate::events::NewEvent;
use crate::{Error, Store};
use redress_domain::{ControllerId, Personal, WebhookId};
use serde_json::json;
use std::collections::HashMap;

/// After so long without a single success an endpoint is disabled: as long as one message is tried.
const DISABLED_AFTER_MS: i64 = 3 * 86_400_000;

/// An endpoint as a sender needs it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Whose it is.
    pub controller_id: ControllerId,
    /// Where it leads.
    pub url: Personal<String>,
    /// Each signs: the one in use first, then those that were replaced less than a day ago.
    pub secrets: Vec<Personal<String>>,
    /// It is told nothing.
    pub disabled: bool,
    /// How often it failed since it last took something.
    pub failures: i64,
    /// It did not answer, and is left alone until then (Unix ms).
    pub retry_at: Option<i64>,
}

/// What came of telling an endpoint something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointAnswer {
    /// It took the message.
    Taken(u16),
    /// It is gone for good, as it says.
    Gone,
    /// It did not take it.
    Failed {
        /// `status_500`, `unreachable`, …
        code: String,
        /// It is left alone until then (Unix ms).
        retry_at: i64,
    },
}

impl Store {
    /// These endpoints, by id; one that was removed is not among them.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn endpoints(&self, ids: &[WebhookId]) -> Result<HashMap<WebhookId, Endpoint>, Error> {
        let rows = self
            .db
            .rows(
                "-- endpoints\nSELECT id, controller_id, sealed, disabled_at, failures, retry_at FROM webhooks WHERE id {in $1} AND deleted_at IS NULL",
                args![texts(ids.iter().map(WebhookId::as_str))],
            )
            .await?;
        let mut all = HashMap::with_capacity(rows.len());
        for row in &rows {
            let id = WebhookId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?;
            let controller_id =
                ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?;
            let mut kept = self.open_webhook(&controller_id, &id, &row.bytes("sealed")?).await?;
            kept.drop_old(self.now_ms());
            let endpoint = Endpoint {
                controller_id,
                url: Personal::from(kept.url),
                secrets: kept.secrets.into_iter().map(|secret| Personal::from(secret.text)).collect(),
                disabled: row.opt_int("disabled_at")?.is_some(),
                failures: row.int("failures")?,
                retry_at: row.opt_int("retry_at")?,
            };
            all.insert(id, endpoint);
        }
        Ok(all)
    }

    /// Records what an endpoint answered last. True if it is disabled because of it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn record_endpoint(
        &self,
        controller_id: &ControllerId,
        id: &WebhookId,
        answer: &EndpointAnswer,
    ) -> Result<bool, Error> {
        let now = self.now_ms();
        let own = (controller_id.as_str(), id.as_str());
        let mut tx = self.db.begin("record endpoint").await?;
        let (code, disabled) = match answer {
            EndpointAnswer::Taken(status) => {
                tx.exec(
                    "-- endpoint_taken\nUPDATE webhooks SET failures = 0, failing_since = NULL, retry_at = NULL, answered_at = $3, answer = $4 WHERE controller_id = $1 AND id = $2",
                    args![own.0, own.1, now, status.to_string()],
                )
                .await?;
                ("", 0)
            }
            EndpointAnswer::Gone => {
                let disabled = tx
                    .exec(
                        "-- endpoint_gone\nUPDATE webhooks SET failures = failures + 1, answered_at = $3, answer = 'status_410', disabled_at = $3, disabled_why = 'gone' WHERE controller_id = $1 AND id = $2 AND disabled_at IS NULL AND deleted_at IS NULL",
                        args![own.0, own.1, now],
                    )
                    .await?;
                ("gone", disabled)
            }
            EndpointAnswer::Failed { code, retry_at } => {
                tx.exec(
                    "-- endpoint_failed\nUPDATE webhooks SET failures = failures + 1, failing_since = COALESCE(failing_since, CAST($3 AS BIGINT)), retry_at = $4, answered_at = $3, answer = $5 WHERE controller_id = $1 AND id = $2",
                    args![own.0, own.1, now, *retry_at, code],
                )
                .await?;
                let disabled = tx
                    .exec(
                        "-- endpoint_given_up\nUPDATE webhooks SET disabled_at = $3, disabled_why = 'silent' WHERE controller_id = $1 AND id = $2 AND disabled_at IS NULL AND deleted_at IS NULL AND failing_since <= $4",
                        args![own.0, own.1, now, now - DISABLED_AFTER_MS],
                    )
                    .await?;
                ("silent", disabled)
            }
        };
        if disabled > 0 {
            let event = NewEvent::new(None, "webhook_disabled", json!({ "webhook": id, "why": code }));
            self.append_events(&mut tx, controller_id, "engine", vec![event]).await?;
        }
        self.commit(tx).await?;
        Ok(disabled > 0)
    }

    /// Records that an endpoint was tried out by a person, and what it answered.
    ///
    /// # Errors
    /// The database is away.
    pub async fn record_webhook_test(
        &self,
        controller_id: &ControllerId,
        id: &WebhookId,
        answer: &str,
        actor: &str,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin("record webhook test").await?;
        tx.exec(
            "-- webhook_tested\nUPDATE webhooks SET answered_at = $3, answer = $4 WHERE controller_id = $1 AND id = $2",
            args![controller_id.as_str(), id.as_str(), self.now_ms(), answer],
        )
        .await?;
        let event = NewEvent::new(None, "webhook_tested", json!({ "webhook": id, "answer": answer }));
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        self.commit(tx).await
    }
}
