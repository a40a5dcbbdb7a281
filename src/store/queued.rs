//! New rows of the queue: steps of a plan, answers and notices, of many requests in one statement.

use crate::db::{Tx, args};
use crate::sql::{RowSet, row};
use crate::webhooks::Word;
use crate::work::StepRow;
use crate::{Error, Store};
use redress_domain::step::StepState;
use redress_domain::{ControllerId, DsrId, StepId};
use serde_json::{Value, json};

/// Rows of `steps` about to be inserted, and the lanes that they wake.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepRows {
    rows: RowSet,
    wakes: Vec<String>,
    /// What the last notice was about, its status, and the time in its id (Unix ms).
    noticed: Option<(DsrId, String, u64)>,
}

impl StepRows {
    /// A step of a plan; `released` if its request's work begins with it.
    pub(crate) fn planned(
        &mut self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        due_at: i64,
        step: &StepRow,
        released: bool,
    ) {
        let system = step.system_id.as_str();
        let ready = released && step.status == StepState::Queued;
        if ready {
            self.wake(system);
        }
        self.rows.push(row![
            step.id.as_str(),
            controller_id.as_str(),
            dsr_id.as_str(),
            Some(system),
            system,
            step.verb.as_str(),
            step.status.as_str(),
            ready.then_some("ready"),
            due_at,
            step.result.as_ref().map(Value::to_string),
            None::<String>,
            format!("{dsr_id}:{system}"),
            None::<String>
        ]);
    }

    /// The making of a request's answer; there is one at most.
    pub(crate) fn answer(
        &mut self,
        store: &Store,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        due_at: i64,
    ) -> Result<(), Error> {
        let (ms, bytes) = store.id_parts()?;
        let id = StepId::from_parts(ms, bytes);
        self.push_of_request(&id, controller_id, dsr_id, "answer", due_at, None, format!("{dsr_id}:answer"), None);
        Ok(())
    }

    /// Word for the controller that the request has this status now: at a standing endpoint, or at the request's own address.
    pub(crate) fn notice(
        &mut self,
        store: &Store,
        word: &Word<'_>,
        status: &str,
        webhook: Option<&str>,
    ) -> Result<(), Error> {
        let (ms, bytes) = store.id_parts()?;
        // What is left about one request at the same moment is told in the order in which it was left: by the ids.
        let ms = match &self.noticed {
            Some((of, same, last)) if of == word.dsr_id => ms.max(last + u64::from(same != status)),
            _ => ms,
        };
        self.noticed = Some((word.dsr_id.clone(), status.to_owned(), ms));
        let id = StepId::from_parts(ms, bytes);
        let mut payload = json!({ "status": status, "at": store.now_ms() });
        if let Some(webhook) = webhook {
            payload["webhook"] = json!(webhook);
        }
        let (payload, idem) = (payload.to_string(), id.as_str().to_owned());
        let (controller_id, dsr_id) = (word.controller_id, word.dsr_id);
        self.push_of_request(&id, controller_id, dsr_id, "notify", word.due_before, Some(payload), idem, webhook);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one for each column that differs")]
    fn push_of_request(
        &mut self,
        id: &StepId,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        verb: &str,
        due_at: i64,
        payload: Option<String>,
        idem: String,
        webhook: Option<&str>,
    ) {
        self.wake(verb);
        self.rows.push(row![
            id.as_str(),
            controller_id.as_str(),
            dsr_id.as_str(),
            None::<String>,
            verb,
            verb,
            "queued",
            Some("ready"),
            due_at,
            None::<String>,
            payload,
            idem,
            webhook.map(str::to_owned)
        ]);
    }

    /// Adds the rows of another one.
    pub(crate) fn extend(&mut self, other: &StepRows) {
        self.rows.extend(&other.rows);
        for lane in &other.wakes {
            self.wake(lane);
        }
    }

    fn wake(&mut self, lane: &str) {
        if !self.wakes.iter().any(|known| known == lane) {
            self.wakes.push(lane.to_owned());
        }
    }
}

impl Store {
    /// Inserts rows of the queue; one that is there already stays as it is.
    pub(crate) async fn insert_steps(&self, tx: &mut Tx, new: StepRows) -> Result<(), Error> {
        if new.rows.is_empty() {
            return Ok(());
        }
        tx.exec(
            "-- insert_steps\nINSERT INTO steps (id, controller_id, dsr_id, system_id, lane, verb, phase, state, q, due_at, not_before, result, payload, idem, webhook_id, created_at) SELECT v.id, v.controller_id, v.dsr_id, v.system_id, v.lane, v.verb, 'act', v.state, v.q, v.due_at, CAST($1 AS BIGINT), v.result, v.payload, v.idem, v.webhook_id, CAST($1 AS BIGINT) FROM {rows $2 AS v(id text, controller_id text, dsr_id text, system_id text, lane text, verb text, state text, q text, due_at int, result text, payload text, idem text, webhook_id text)} WHERE 1 = 1 ON CONFLICT (idem) DO NOTHING",
            args![self.now_ms(), new.rows],
        )
        .await?;
        tx.wakes.extend(new.wakes);
        Ok(())
    }
}
