//! Word is left for everybody who is to hear of a status: the address that came with the request, and the controller's endpoints.

use crate::db::{Tx, args};
use crate::queued::StepRows;
use crate::{Error, Store};
use redress_domain::{ControllerId, DsrId};

/// What is to be told of one request.
pub(crate) struct Word<'a> {
    pub(crate) controller_id: &'a ControllerId,
    pub(crate) dsr_id: &'a DsrId,
    pub(crate) due_before: i64,
    /// An address came with it.
    pub(crate) has_callback: bool,
    /// In the order in which they came about.
    pub(crate) statuses: Vec<String>,
}

/// An endpoint that is told what it wants to hear.
struct Listener {
    id: String,
    controller_id: String,
    events: Vec<String>,
}

impl Listener {
    fn hears(&self, word: &Word<'_>, status: &str) -> bool {
        self.controller_id == word.controller_id.as_str()
            && (self.events.is_empty() || self.events.iter().any(|event| event == status))
    }
}

impl Store {
    /// Leaves word of these statuses, one row of the queue for each that is to hear of one. Without any it costs nothing.
    pub(crate) async fn leave_word(&self, tx: &mut Tx, words: &[Word<'_>], rows: &mut StepRows) -> Result<(), Error> {
        let mut controllers: Vec<String> =
            words.iter().filter(|word| !word.statuses.is_empty()).map(|word| word.controller_id.to_string()).collect();
        if controllers.is_empty() {
            return Ok(());
        }
        controllers.sort_unstable();
        controllers.dedup();
        let listeners = listening(tx, controllers).await?;
        for word in words {
            for status in &word.statuses {
                if word.has_callback {
                    rows.notice(self, word, status, None)?;
                }
                for listener in listeners.iter().filter(|listener| listener.hears(word, status)) {
                    rows.notice(self, word, status, Some(&listener.id))?;
                }
            }
        }
        Ok(())
    }
}

async fn listening(tx: &mut Tx, controllers: Vec<String>) -> Result<Vec<Listener>, Error> {
    let rows = tx
        .rows(
            "-- webhooks_listening\nSELECT id, controller_id, events FROM webhooks WHERE controller_id {in $1} AND deleted_at IS NULL AND disabled_at IS NULL ORDER BY id",
            args![controllers],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Listener {
                id: row.text("id")?,
                controller_id: row.text("controller_id")?,
                events: serde_json::from_str(&row.text("events")?)
                    .map_err(|_| Error::Inconsistent { table: "webhooks", column: "events" })?,
            })
        })
        .collect()
}
