//! A webhook is a standing endpoint of a controller: it is told of every status of every request that it wants to hear of, besides
//! the address that a single request may name.
//!
//! What is to be told is a row of the queue for each endpoint, written in the transaction that changes the status; so it is told at
//! least once, at the times of a callback, by the same id at every attempt. An endpoint that answers nobody for days is disabled, until
//! a person enables it.

mod answers;
mod word;

pub use answers::{Endpoint, EndpointAnswer};
pub(crate) use word::Word;

use crate::db::{Row, args};
use crate::events::NewEvent;
use crate::sealed::{place, random};
use crate::{Error, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_domain::{ControllerId, Personal, WebhookId};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Most endpoints of one controller.
pub const WEBHOOKS_MAX: i64 = 16;
/// How long an old secret signs beside the new one.
const OLD_SECRET_MS: i64 = 86_400_000;
/// Most secrets that sign at the same time.
const SECRETS_MAX: usize = 4;

/// An endpoint as it is shown: without its secrets.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is.
    pub controller_id: ControllerId,
    /// Where it leads: the path of such an address is often a secret.
    pub url: Personal<String>,
    /// What people call it.
    pub description: Option<Personal<String>>,
    /// The statuses that it is told; none are all.
    pub events: Vec<String>,
    /// How often it failed since it last took something.
    pub failures: i64,
    /// Since when it has failed (Unix ms).
    pub failing_since: Option<i64>,
    /// When it answered last, or did not (Unix ms).
    pub answered_at: Option<i64>,
    /// What it answered: a status, or a word of ours.
    pub answer: Option<String>,
    /// Since when it is told nothing (Unix ms).
    pub disabled_at: Option<i64>,
    /// Why: a word of ours.
    pub disabled_why: Option<String>,
    /// Until when an old secret signs too (Unix ms).
    pub old_secret_until: Option<i64>,
    /// Since when (Unix ms).
    pub created_at: i64,
}

/// An endpoint to be made.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// See [`Webhook::url`]; checked by the caller.
    pub url: Personal<String>,
    /// Its host, for the audit log.
    pub host: String,
    /// See [`Webhook::events`].
    pub events: Vec<String>,
    /// See [`Webhook::description`].
    pub description: Option<Personal<String>>,
}

/// What is sealed of an endpoint.
#[derive(Serialize, Deserialize)]
struct Sealed {
    url: String,
    description: Option<String>,
    secrets: Vec<KeptSecret>,
}

/// A secret as it is written down; the one without an end is the one in use.
#[derive(Serialize, Deserialize)]
struct KeptSecret {
    text: String,
    until: Option<i64>,
}

impl Sealed {
    fn drop_old(&mut self, now: i64) {
        self.secrets.retain(|secret| secret.until.is_none_or(|until| until > now));
    }
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "webhooks", column };
const COLUMNS: &str = "id, controller_id, events, sealed, failures, failing_since, answered_at, answer, disabled_at, disabled_why, created_at";

fn sealed_place(controller_id: &ControllerId, id: &WebhookId) -> Vec<u8> {
    place(&[controller_id.as_str(), id.as_str(), "webhook"])
}

fn new_secret() -> Result<String, Error> {
    Ok(format!("whsec_{}", STANDARD.encode(random::<32>()?)))
}

impl Store {
    /// Makes an endpoint; its secret is told this once.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the controller has too many.
    pub async fn create_webhook(
        &self,
        controller_id: &ControllerId,
        new: &NewWebhook,
        actor: &str,
    ) -> Result<(Webhook, Personal<String>), Error> {
        let (ms, bytes) = self.id_parts()?;
        let id = WebhookId::from_parts(ms, bytes);
        let secret = new_secret()?;
        let sealed = self
            .seal_webhook(
                controller_id,
                &id,
                &Sealed {
                    url: new.url.expose().clone(),
                    description: new.description.as_ref().map(|text| text.expose().clone()),
                    secrets: vec![KeptSecret { text: secret.clone(), until: None }],
                },
            )
            .await?;
        let mut tx = self.db.begin("create webhook").await?;
        // Whoever makes another one at the same time waits here.
        tx.row(
            "-- lock_controller\nSELECT id FROM controllers WHERE id = $1 {for_update}",
            args![controller_id.as_str()],
        )
        .await?
        .ok_or(Error::NotFound)?;
        let others = tx
            .row(
                "-- count_webhooks\nSELECT COUNT(*) AS n FROM webhooks WHERE controller_id = $1 AND deleted_at IS NULL",
                args![controller_id.as_str()],
            )
            .await?
            .map_or(Ok(0), |row| row.int("n"))?;
        if others >= WEBHOOKS_MAX {
            return Err(Error::Conflict(format!(
                "there are {WEBHOOKS_MAX} webhook endpoints already; remove one first"
            )));
        }
        tx.exec(
            "-- create_webhook\nINSERT INTO webhooks (id, controller_id, events, sealed, created_at) VALUES ($1, $2, $3, $4, $5)",
            args![id.as_str(), controller_id.as_str(), json!(new.events).to_string(), sealed, self.now_ms()],
        )
        .await?;
        let data = json!({ "webhook": id, "host": new.host, "events": new.events });
        self.append_events(&mut tx, controller_id, actor, vec![NewEvent::new(None, "webhook_created", data)]).await?;
        self.commit(tx).await?;
        Ok((self.webhook(controller_id, &id).await?, Personal::from(secret)))
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, or it is another controller's.
    pub async fn webhook(&self, controller_id: &ControllerId, id: &WebhookId) -> Result<Webhook, Error> {
        let row = self
            .db
            .row(
                &format!("-- webhook\nSELECT {COLUMNS} FROM webhooks WHERE controller_id = $1 AND id = $2 AND deleted_at IS NULL"),
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        self.read_webhook(&row).await
    }

    /// A controller's endpoints, in the order in which they were made.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn webhooks(&self, controller_id: &ControllerId) -> Result<Vec<Webhook>, Error> {
        self.webhooks_of(Some(std::slice::from_ref(controller_id)), WEBHOOKS_MAX).await
    }

    /// The endpoints of these controllers (none: all), those that are disabled first.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn webhooks_of(&self, scope: Option<&[ControllerId]>, limit: i64) -> Result<Vec<Webhook>, Error> {
        const ORDER: &str = "ORDER BY CASE WHEN disabled_at IS NULL THEN 1 ELSE 0 END, controller_id, id LIMIT $1";
        let rows = if let Some(scope) = scope {
            let sql = format!(
                "-- webhooks_of\nSELECT {COLUMNS} FROM webhooks WHERE deleted_at IS NULL AND controller_id {{in $2}} {ORDER}"
            );
            self.db.rows(&sql, args![limit, crate::db::texts(scope.iter().map(ControllerId::as_str))]).await?
        } else {
            let sql = format!("-- webhooks_all\nSELECT {COLUMNS} FROM webhooks WHERE deleted_at IS NULL {ORDER}");
            self.db.rows(&sql, args![limit]).await?
        };
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            all.push(self.read_webhook(row).await?);
        }
        Ok(all)
    }

    /// Removes an endpoint: it is told nothing more, not even what waits, and its address and secrets are destroyed.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn remove_webhook(&self, controller_id: &ControllerId, id: &WebhookId, actor: &str) -> Result<(), Error> {
        let mut tx = self.db.begin("remove webhook").await?;
        let removed = tx
            .exec(
                "-- remove_webhook\nUPDATE webhooks SET deleted_at = $3, sealed = $4 WHERE controller_id = $1 AND id = $2 AND deleted_at IS NULL",
                args![controller_id.as_str(), id.as_str(), self.now_ms(), Vec::<u8>::new()],
            )
            .await?;
        if removed == 0 {
            return Err(Error::NotFound);
        }
        let event = NewEvent::new(None, "webhook_removed", json!({ "webhook": id }));
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        self.commit(tx).await
    }

    /// Gives an endpoint a new secret, which is told this once; the old one signs too for a day.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] if it was done too often on one day.
    pub async fn rotate_webhook(
        &self,
        controller_id: &ControllerId,
        id: &WebhookId,
        actor: &str,
    ) -> Result<(Webhook, Personal<String>), Error> {
        let now = self.now_ms();
        let secret = new_secret()?;
        let mut tx = self.db.begin("rotate webhook").await?;
        let row = tx
            .row(
                "-- lock_webhook\nSELECT sealed FROM webhooks WHERE controller_id = $1 AND id = $2 AND deleted_at IS NULL {for_update}",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let mut kept = self.open_webhook(controller_id, id, &row.bytes("sealed")?).await?;
        kept.drop_old(now);
        if kept.secrets.len() >= SECRETS_MAX {
            let detail = format!(
                "{SECRETS_MAX} secrets sign already; wait until the oldest of them has ended, or make another endpoint"
            );
            return Err(Error::Conflict(detail));
        }
        for old in &mut kept.secrets {
            old.until = old.until.or(Some(now + OLD_SECRET_MS));
        }
        kept.secrets.insert(0, KeptSecret { text: secret.clone(), until: None });
        let sealed = self.seal_webhook(controller_id, id, &kept).await?;
        tx.exec("-- rotate_webhook\nUPDATE webhooks SET sealed = $2 WHERE id = $1", args![id.as_str(), sealed]).await?;
        let event = NewEvent::new(None, "webhook_secret_rotated", json!({ "webhook": id }));
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        self.commit(tx).await?;
        Ok((self.webhook(controller_id, id).await?, Personal::from(secret)))
    }

    /// Lets an endpoint be told again; what was given up because it did not answer is sent to it again, by the same ids. Returns how
    /// many statuses these are.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] if it is not disabled.
    pub async fn enable_webhook(
        &self,
        controller_id: &ControllerId,
        id: &WebhookId,
        actor: &str,
    ) -> Result<u64, Error> {
        let mut tx = self.db.begin("enable webhook").await?;
        let enabled = tx
            .exec(
                "-- enable_webhook\nUPDATE webhooks SET disabled_at = NULL, disabled_why = NULL, failures = 0, failing_since = NULL, retry_at = NULL WHERE controller_id = $1 AND id = $2 AND deleted_at IS NULL AND disabled_at IS NOT NULL",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?;
        if enabled == 0 {
            self.webhook(controller_id, id).await?;
            return Err(Error::Conflict("this endpoint is not disabled".into()));
        }
        let again = tx
            .exec(
                "-- webhook_told_again\nUPDATE steps SET state = 'queued', q = 'ready', not_before = $2, failures = 0, deaths = 0, attention = 0, error_code = NULL, error_detail = NULL, token = token + 1 WHERE id IN (SELECT id FROM steps WHERE webhook_id = $1 AND state = 'retained' AND q IS NULL AND error_code IN ('endpoint_disabled', 'endpoint_gone', 'given_up') ORDER BY id {for_update})",
                args![id.as_str(), self.now_ms()],
            )
            .await?;
        let event = NewEvent::new(None, "webhook_enabled", json!({ "webhook": id, "statuses": again }));
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        tx.wakes.push("notify".into());
        self.commit(tx).await?;
        Ok(again)
    }

    async fn read_webhook(&self, row: &Row) -> Result<Webhook, Error> {
        let id = WebhookId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?;
        let controller_id =
            ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?;
        let mut kept = self.open_webhook(&controller_id, &id, &row.bytes("sealed")?).await?;
        kept.drop_old(self.now_ms());
        Ok(Webhook {
            url: Personal::from(kept.url),
            description: kept.description.map(Personal::from),
            old_secret_until: kept.secrets.iter().filter_map(|secret| secret.until).max(),
            events: serde_json::from_str(&row.text("events")?).map_err(|_| INCONSISTENT("events"))?,
            failures: row.int("failures")?,
            failing_since: row.opt_int("failing_since")?,
            answered_at: row.opt_int("answered_at")?,
            answer: row.opt_text("answer")?,
            disabled_at: row.opt_int("disabled_at")?,
            disabled_why: row.opt_text("disabled_why")?,
            created_at: row.int("created_at")?,
            id,
            controller_id,
        })
    }

    async fn seal_webhook(
        &self,
        controller_id: &ControllerId,
        id: &WebhookId,
        kept: &Sealed,
    ) -> Result<Vec<u8>, Error> {
        let text = Personal::new(serde_json::to_vec(kept).map_err(|_| INCONSISTENT("sealed"))?);
        self.controller_key(controller_id).await?.seal(&sealed_place(controller_id, id), text.expose())
    }

    async fn open_webhook(&self, controller_id: &ControllerId, id: &WebhookId, sealed: &[u8]) -> Result<Sealed, Error> {
        let key = self.controller_key(controller_id).await?;
        let clear = Personal::new(key.open(&sealed_place(controller_id, id), sealed)?);
        serde_json::from_slice(clear.expose()).map_err(|_| INCONSISTENT("sealed"))
    }
}
