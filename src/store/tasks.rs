//! A task is a step that somebody else carries out, a person or a system that reports back: its order lives in the step's
//! receipt, and a report is put into it there.

use crate::db::args;
use crate::events::NewEvent;
use crate::sealed::place;
use crate::work::INCONSISTENT;
use crate::{Error, Store};
use redress_domain::{ControllerId, Correction, DsrId, StepId, Subject, Verb};
use serde_json::json;

/// A step that waits for somebody's report.
#[derive(Debug)]
pub struct OpenTask {
    /// Its id.
    pub step_id: StepId,
    /// What is to be done.
    pub verb: Verb,
    /// Its order, as the connector wrote it.
    pub receipt: String,
    /// The person.
    pub subject: Subject,
    /// What to change.
    pub corrections: Vec<Correction>,
}

/// The step of a request on a system of this name that waits for somebody else.
const WAITING: &str = "SELECT st.id, st.lane, st.verb, st.receipt, d.wrapped_key, d.sealed FROM steps st JOIN dsrs d ON d.id = st.dsr_id JOIN systems sy ON sy.id = st.system_id WHERE st.controller_id = $1 AND st.dsr_id = $2 AND sy.name = $3 AND st.state = 'external' AND (st.q = 'wait' OR (st.q IS NULL AND st.attention = 1)) AND d.closed_at IS NULL";

fn receipt_of(controller_id: &ControllerId, dsr_id: &DsrId, step_id: &str) -> Vec<u8> {
    place(&[controller_id.as_str(), dsr_id.as_str(), step_id, "receipt"])
}

impl Store {
    /// The step of this request on this system that waits for a report.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such request, [`Error::Conflict`] if nothing waits there.
    pub async fn open_task(
        &self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        system: &str,
    ) -> Result<OpenTask, Error> {
        let row = self
            .db
            .row(&format!("-- open_task\n{WAITING}"), args![controller_id.as_str(), dsr_id.as_str(), system])
            .await?;
        let Some(row) = row else {
            self.dsr(controller_id, dsr_id).await?;
            return Err(Error::Conflict(format!("nothing of this request waits for a report in {system}")));
        };
        let id = row.text("id")?;
        let key =
            self.unwrap_dsr_key(controller_id, dsr_id, &row.opt_bytes("wrapped_key")?.ok_or(Error::NotFound)?).await?;
        let personal = row.opt_bytes("sealed")?.ok_or(Error::NotFound)?;
        let personal = crate::dsrs::open_personal(&key, controller_id, dsr_id, &personal)?;
        let sealed = row.opt_bytes("receipt")?.ok_or(INCONSISTENT("receipt"))?;
        let clear = key.open(&receipt_of(controller_id, dsr_id, &id), &sealed)?;
        Ok(OpenTask {
            step_id: StepId::parse(&id).map_err(|_| INCONSISTENT("id"))?,
            verb: Verb::parse(&row.text("verb")?).ok_or(INCONSISTENT("verb"))?,
            receipt: String::from_utf8(clear).map_err(|_| INCONSISTENT("receipt"))?,
            subject: personal.subject,
            corrections: personal.corrections,
        })
    }

    /// Puts a report into the order of a task and makes the step due now: its connector answers from it.
    ///
    /// # Errors
    /// As [`Store::open_task`]; also if the task changed since it was opened.
    pub async fn report_task(
        &self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        system: &str,
        task: &OpenTask,
        receipt: &str,
        actor: &str,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin("report task").await?;
        let locked = tx
            .row(
                "-- lock_reported\nSELECT wrapped_key FROM dsrs WHERE id = $1 AND controller_id = $2 {for_update}",
                args![dsr_id.as_str(), controller_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let row = tx
            .row(&format!("-- reported_task\n{WAITING}"), args![controller_id.as_str(), dsr_id.as_str(), system])
            .await?;
        let row = row.filter(|row| row.text("id").is_ok_and(|id| id == task.step_id.as_str()));
        let Some(row) = row else {
            return Err(Error::Conflict(format!("nothing of this request waits for a report in {system}")));
        };
        let wrapped = locked.opt_bytes("wrapped_key")?.ok_or(Error::NotFound)?;
        let key = self.unwrap_dsr_key(controller_id, dsr_id, &wrapped).await?;
        let sealed = key.seal(&receipt_of(controller_id, dsr_id, task.step_id.as_str()), receipt.as_bytes())?;
        let now = self.now_ms();
        tx.exec(
            "-- report_task\nUPDATE steps SET receipt = $2, q = 'ready', not_before = $3, attention = 0, failures = 0, error_code = NULL, error_detail = NULL WHERE id = $1 AND state = 'external'",
            args![task.step_id.as_str(), sealed, now],
        )
        .await?;
        tx.exec("-- wake_reported\nUPDATE dsrs SET wake_at = $2 WHERE id = $1", args![dsr_id.as_str(), now]).await?;
        let event = NewEvent::new(
            Some(dsr_id),
            "task_reported",
            json!({ "step": task.step_id, "system": system, "verb": task.verb }),
        );
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        tx.wakes.push(row.text("lane")?);
        tx.wakes.push("advance".into());
        self.commit(tx).await
    }
}
