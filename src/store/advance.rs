//! A request is advanced when its time has come, when something of it is finished, and when a person decides about it.

use crate::clock::ClockNote;
use crate::db::{Tx, args};
use crate::dsrs::out_of_scope_json;
use crate::events::{Events, NewEvent};
use crate::moves::{LOCK, Locked, read_locked};
use crate::queued::StepRows;
use crate::systems::{DAY_MS, SystemOutline};
use crate::webhooks::Word;
use crate::{Error, Store, crash_point};
use redress_domain::plan::FanOut;
use redress_domain::stage::{Event, Stage};
use redress_domain::{ControllerId, DsrId};
use serde_json::json;

/// What a person decides about a request.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The work may begin, or the result may be handed over.
    Approve,
    /// The controller takes the request back.
    Withdraw,
    /// The controller refuses it, for this reason code.
    Reject(String),
    /// The data that a legal hold keeps from being changed stay, and the request ends without changing them.
    Keep {
        /// Why, in words; sealed with the request.
        reason: String,
        /// Whoever decides may know of holds of which nobody outside may learn.
        with_gagged: bool,
    },
    /// What needed attention is mended: try again. The plan replaces an empty one.
    Retry(FanOut),
}

impl Store {
    /// Advances every request whose time has come, at most `limit`, in one transaction. Returns how many.
    ///
    /// # Errors
    /// The database is away; nothing was recorded.
    pub async fn advance_due(&self, limit: i64) -> Result<u64, Error> {
        let now = self.now_ms();
        let due =
            self.db.row("-- advance_peek\nSELECT 1 AS due FROM dsrs WHERE wake_at <= $1 LIMIT 1", args![now]).await?;
        if due.is_none() {
            return Ok(0);
        }
        let mut tx = self.db.begin("advance").await?;
        let ids = self.due_requests(&mut tx, now, limit).await?;
        let count = ids.len() as u64;
        let mut events = Events::default();
        self.advance_all(&mut tx, ids, &mut events).await?;
        self.append_all(&mut tx, "engine", events).await?;
        crash_point("advance.before_commit");
        self.commit(tx).await?;
        crash_point("advance.after_commit");
        Ok(count)
    }

    /// Finds open requests that nothing will move: no row of theirs is ready, waiting or running, and nobody is asked.
    /// There should be none; each is advanced again. Returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn reconcile(&self) -> Result<u64, Error> {
        let rows = self
            .db
            .rows(
                "-- reconcile\nSELECT id FROM dsrs d WHERE closed_at IS NULL AND wake_at IS NULL AND stage IN ('received', 'in_progress', 'verifying', 'delivering') AND status <> 'needs_attention' AND NOT EXISTS (SELECT 1 FROM steps s WHERE s.dsr_id = d.id AND s.q IS NOT NULL AND s.verb <> 'notify') LIMIT 500",
                vec![],
            )
            .await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut tx = self.db.begin("reconcile").await?;
        let ids = rows.iter().map(|row| row.text("id")).collect::<Result<Vec<_>, _>>()?;
        tx.exec(
            "-- reconcile_wake\nUPDATE dsrs SET wake_at = $1 WHERE id IN (SELECT id FROM dsrs WHERE id {in $2} AND closed_at IS NULL ORDER BY id {for_update})",
            args![self.now_ms(), ids],
        )
        .await?;
        tx.wakes.push("advance".into());
        self.commit(tx).await?;
        Ok(rows.len() as u64)
    }

    /// Records a person's decision and what follows from it.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Conflict`] if the request cannot take it as it stands.
    pub async fn decide(
        &self,
        controller_id: &ControllerId,
        id: &DsrId,
        decision: Decision,
        actor: &str,
    ) -> Result<(), Error> {
        let now = self.now_ms();
        let systems = self.outlines(controller_id).await?;
        let mut tx = self.db.begin("decide").await?;
        let row = tx
            .row(
                &format!("-- lock_dsr\n{LOCK} WHERE id = $1 AND controller_id = $2 {{for_update}}"),
                args![id.as_str(), controller_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let dsr = read_locked(&row)?;
        let refuse = |what: &str| Err(Error::Conflict(format!("a request that is {} cannot be {what}", dsr.status)));
        let mut events = Events::default();
        let mut log = |kind, data| events.push(controller_id, NewEvent::new(Some(id), kind, data));
        match decision {
            Decision::Approve => {
                let column = match dsr.stage {
                    Stage::AwaitingApproval if !dsr.approved => "approved_at",
                    Stage::Review if !dsr.reviewed => "reviewed_at",
                    _ => return refuse("approved"),
                };
                log("approved", json!({ "stage": dsr.stage }));
                tx.exec(&format!("-- approve\nUPDATE dsrs SET {column} = $2 WHERE id = $1"), args![id.as_str(), now])
                    .await?;
            }
            Decision::Withdraw | Decision::Reject(_) => {
                let (event, what, data) = match &decision {
                    Decision::Reject(reason) => (Event::Rejected, "rejected", json!({ "reason": reason })),
                    _ => (Event::Withdrawn, "withdrawn", json!({})),
                };
                let Ok(stage) = dsr.stage.after(event) else { return refuse(what) };
                log(event.as_str(), data);
                // What runs right now may still finish and is recorded; what has not begun never will.
                tx.exec(
                    "-- cancel_steps\nUPDATE steps SET q = CASE WHEN q = 'run' THEN q ELSE NULL END, token = token + CASE WHEN q = 'run' THEN 0 ELSE 1 END, attention = 0 WHERE id IN (SELECT id FROM steps WHERE dsr_id = $1 AND verb <> 'notify' AND (q IN ('ready', 'wait', 'held', 'hold') OR q IS NULL OR attention = 1) ORDER BY id {for_update})",
                    args![id.as_str()],
                )
                .await?;
                self.end(&mut tx, &dsr, stage).await?;
            }
            Decision::Keep { .. } if !dsr.stage.is_working() => return refuse("kept as it is"),
            Decision::Keep { reason, with_gagged } => {
                let kept = self.keep_held(&mut tx, id, with_gagged).await?;
                if kept.is_empty() {
                    return Err(Error::Conflict(format!(
                        "no step of a request that is {} waits for the release of a legal hold",
                        dsr.status
                    )));
                }
                let kept: Vec<_> =
                    kept.iter().map(|kept| json!({ "system": kept.system, "reason": kept.reason })).collect();
                log("held_data_kept", json!({ "steps": kept }));
                let notes = tx
                    .row("-- notes_of\nSELECT wrapped_key, clock_notes FROM dsrs WHERE id = $1", args![id.as_str()])
                    .await?
                    .ok_or(Error::NotFound)?;
                let note = ClockNote { at: now, action: "kept".into(), reason };
                self.add_note(&mut tx, controller_id, id, &notes, note).await?;
            }
            Decision::Retry(_) if dsr.stage.is_final() => return refuse("retried"),
            Decision::Retry(fan_out) => {
                let reset = tx
                    .exec(
                        // The second read of a step that acted keeps its time: made too early it would see what is about to go. One
                        // that found a residue is not made again: the verb has to act first, on whatever is there now.
                        "-- retry_steps\nUPDATE steps SET q = 'ready', not_before = $2, failures = 0, deaths = 0, residues = 0, attention = 0, state = CASE WHEN phase = 'act' OR error_code = 'residue' THEN 'queued' ELSE state END, phase = CASE WHEN error_code = 'residue' THEN 'act' ELSE phase END WHERE dsr_id = $1 AND verb <> 'notify' AND ((q = 'wait' AND (state = 'waiting' OR failures > 0)) OR (q IS NULL AND attention = 1))",
                        args![id.as_str(), now],
                    )
                    .await?;
                let steps = tx
                    .row(
                        "-- count_steps\nSELECT COUNT(*) AS n FROM steps WHERE dsr_id = $1 AND system_id IS NOT NULL",
                        args![id.as_str()],
                    )
                    .await?;
                let planless = steps.map_or(Ok(0), |r| r.int("n"))? == 0;
                if planless {
                    self.replan(&mut tx, &dsr, &fan_out, &systems).await?;
                    self.stop_held(&mut tx, std::slice::from_ref(id)).await?;
                } else if reset == 0 {
                    return Err(Error::Conflict(format!(
                        "nothing of a request that is {} waits for a retry",
                        dsr.status
                    )));
                }
                log("retried", json!({ "steps": reset }));
            }
        }
        self.advance_all(&mut tx, vec![id.clone()], &mut events).await?;
        self.append_all(&mut tx, actor, events).await?;
        tx.wakes.push("advance".into());
        self.commit(tx).await
    }

    async fn replan(
        &self,
        tx: &mut Tx,
        dsr: &Locked,
        fan_out: &FanOut,
        systems: &[SystemOutline],
    ) -> Result<(), Error> {
        let steps = self.planned_steps(fan_out, systems)?;
        if steps.is_empty() {
            return Err(Error::Conflict(
                "there is still no connected system that is instructed for this type of request".into(),
            ));
        }
        let mut rows = StepRows::default();
        for (step, days) in &steps {
            rows.planned(&dsr.controller_id, &dsr.id, dsr.due_before - days * DAY_MS, step, false);
        }
        self.insert_steps(tx, rows).await?;
        tx.exec(
            "-- replan\nUPDATE dsrs SET out_of_scope = $2 WHERE id = $1",
            args![dsr.id.as_str(), out_of_scope_json(&fan_out.out_of_scope).to_string()],
        )
        .await
        .map(drop)
    }

    /// Advances these requests as far as they go.
    pub(crate) async fn advance_all(&self, tx: &mut Tx, ids: Vec<DsrId>, events: &mut Events) -> Result<(), Error> {
        let locked = self.lock_dsrs(tx, ids).await?;
        self.advance_locked(tx, locked, events).await
    }

    /// Ends a request: its clock stops, and the day is set on which its personal data are destroyed.
    async fn end(&self, tx: &mut Tx, dsr: &Locked, stage: Stage) -> Result<(), Error> {
        let now = self.now_ms();
        tx.exec(
            "-- close\nUPDATE dsrs SET stage = $2, status = $2, closed_at = $3, attention = NULL, purge_at = $4, wake_at = NULL, watch_at = CASE WHEN watch_at <= $3 THEN watch_at ELSE NULL END WHERE id = $1 AND closed_at IS NULL",
            args![dsr.id.as_str(), stage.as_str(), now, now + self.keep_closed_ms],
        )
        .await?;
        if matches!(stage, Stage::Withdrawn | Stage::Rejected) {
            let word = Word {
                controller_id: &dsr.controller_id,
                dsr_id: &dsr.id,
                due_before: dsr.due_before,
                has_callback: dsr.has_callback,
                statuses: vec![stage.as_str().to_owned()],
            };
            let mut rows = StepRows::default();
            self.leave_word(tx, &[word], &mut rows).await?;
            self.insert_steps(tx, rows).await?;
        }
        Ok(())
    }
}
