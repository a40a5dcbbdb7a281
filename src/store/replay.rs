//! To replay is to try again what was given up: a message to a route, or statuses to the address a controller gave. It goes by the
//! same id as before, so that whoever got it after all can drop it.

use crate::db::args;
use crate::events::NewEvent;
use crate::{Error, Store};
use redress_domain::{ControllerId, DsrId, MessageId};
use serde_json::json;

impl Store {
    /// Sends a message again that was given up. It is this controller's, or, for those who see `everybody`, the operator's own.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none or it is another's, [`Error::Conflict`] if it was not given up.
    pub async fn replay_message(
        &self,
        controller_id: &ControllerId,
        everybody: bool,
        id: &MessageId,
        actor: &str,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin("replay message").await?;
        let row = tx
            .row(
                "-- lock_replayed\nSELECT m.q, m.outcome, r.controller_id, r.name, r.deleted_at FROM messages m JOIN notify_routes r ON r.id = m.route_id WHERE m.id = $1",
                args![id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        match row.opt_text("controller_id")? {
            Some(owner) if owner == controller_id.as_str() => {}
            None if everybody => {}
            _ => return Err(Error::NotFound),
        }
        let route = row.text("name")?;
        if row.opt_int("deleted_at")?.is_some() {
            return Err(Error::Conflict(format!("the route {route} was removed; nothing is sent to it any more")));
        }
        if row.opt_text("outcome")?.as_deref() == Some("sent_in_part") {
            let detail = "it was sent; the addresses that were refused for good are to be mended in the route";
            return Err(Error::Conflict(detail.into()));
        }
        // The row says once more what it must be: somebody else may have been faster.
        let replayed = tx
            .exec(
                "-- replay_message\nUPDATE messages SET q = 'wait', not_before = $2, failures = 0, deaths = 0, outcome = NULL, token = token + 1 WHERE id = $1 AND q IS NULL AND outcome <> 'sent' AND outcome <> 'sent_in_part'",
                args![id.as_str(), self.now_ms()],
            )
            .await?;
        if replayed == 0 {
            return Err(Error::Conflict("this message was sent, or is about to be".into()));
        }
        let event = NewEvent::new(None, "message_replayed", json!({ "message": id, "route": route }));
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        self.commit(tx).await
    }

    /// Tells the controller again what could not be told of a request, at the address that came with it. Returns how many statuses.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Purged`] if the address is gone with the request's personal data, [`Error::Conflict`] if nothing
    /// was given up.
    pub async fn replay_callbacks(&self, controller_id: &ControllerId, id: &DsrId, actor: &str) -> Result<u64, Error> {
        let mut tx = self.db.begin("replay callbacks").await?;
        let row = tx
            .row(
                "-- lock_told\nSELECT purged_at FROM dsrs WHERE id = $1 AND controller_id = $2 {for_update}",
                args![id.as_str(), controller_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        if row.opt_int("purged_at")?.is_some() {
            return Err(Error::Purged);
        }
        let count = tx
            .exec(
                "-- replay_callbacks\nUPDATE steps SET state = 'queued', q = 'ready', not_before = $2, failures = 0, deaths = 0, attention = 0, error_code = NULL, error_detail = NULL, token = token + 1 WHERE dsr_id = $1 AND verb = 'notify' AND q IS NULL AND (state = 'retained' OR attention = 1) AND COALESCE(error_code, '') NOT IN ('no_callback', 'endpoint_removed')",
                args![id.as_str(), self.now_ms()],
            )
            .await?;
        if count == 0 {
            return Err(Error::Conflict("nothing that was to be told of this request was given up".into()));
        }
        // An address that was gone is believed to be there again. A request that came without one has none.
        tx.exec(
            "-- callback_back\nUPDATE dsrs SET has_callback = 1 WHERE id = $1 AND EXISTS (SELECT 1 FROM steps s WHERE s.dsr_id = $1 AND s.verb = 'notify' AND s.webhook_id IS NULL AND COALESCE(s.error_code, '') <> 'no_callback')",
            args![id.as_str()],
        )
        .await?;
        let event = NewEvent::new(Some(id), "callbacks_replayed", json!({ "statuses": count }));
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        tx.wakes.push("notify".into());
        self.commit(tx).await?;
        Ok(count)
    }
}
