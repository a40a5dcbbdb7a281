//! Finishing work: what is sealed is opened for a worker, what it is about to touch is announced, and what came of it is
//! recorded together with what follows, in one transaction that only the holder of the lease can write.

use crate::db::{Row, Tx, args, texts};
use crate::events::{Events, NewEvent};
use crate::paces::Paces;
use crate::watch::SILENCE_MIN_MS;
use crate::work::{Finish, INCONSISTENT, Lease, OpenWork, Result, WorkKind, receipt_place};
use crate::{Error, Key, Store, crash_point};
use redress_domain::stage::Stage;
use redress_domain::step::{Phase, RESIDUE_TRIES, StepState};
use redress_domain::{DsrId, Verb};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Store {
    /// Opens what is sealed for these leases, which are of one batch. A lease whose request was purged meanwhile is left out,
    /// and so is one whose row is damaged: its neighbours go on, and it is quarantined when its lease ran out three times.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn open_work(&self, leases: Vec<Lease>) -> std::result::Result<Vec<OpenWork>, Error> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .db
            .rows(
                "-- open_work\nSELECT s.id, s.receipt, d.wrapped_key, d.sealed FROM steps s JOIN dsrs d ON d.id = s.dsr_id AND d.controller_id = s.controller_id WHERE s.id {in $1}",
                args![texts(leases.iter().map(|l| l.step_id.as_str()))],
            )
            .await?;
        let mut by_id = BTreeMap::new();
        for row in rows {
            by_id.insert(row.text("id")?, row);
        }
        let mut all = Vec::with_capacity(leases.len());
        for lease in leases {
            let Some(row) = by_id.get(lease.step_id.as_str()) else { continue };
            let step_id = lease.step_id.clone();
            match self.open_one(lease, row).await {
                Ok(Some(work)) => all.push(work),
                Ok(None) => {}
                Err(error @ (Error::Sealing | Error::Inconsistent { .. })) => {
                    tracing::error!(%error, step.id = %step_id, "what {step_id} needs cannot be opened");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    async fn open_one(&self, lease: Lease, row: &Row) -> std::result::Result<Option<OpenWork>, Error> {
        let (Some(wrapped), Some(sealed)) = (row.opt_bytes("wrapped_key")?, row.opt_bytes("sealed")?) else {
            return Ok(None);
        };
        let key = Arc::new(self.unwrap_dsr_key(&lease.controller_id, &lease.dsr_id, &wrapped).await?);
        let personal = crate::dsrs::open_personal(&key, &lease.controller_id, &lease.dsr_id, &sealed)?;
        let prior = match row.opt_bytes("receipt")? {
            None => None,
            Some(sealed) => {
                let clear = key.open(&receipt_place(&lease), &sealed)?;
                Some(String::from_utf8(clear).map_err(|_| INCONSISTENT("receipt"))?)
            }
        };
        Ok(Some(OpenWork { subject: personal.subject, corrections: personal.corrections, prior, key, lease }))
    }

    /// Records what came of a batch, with its events and what follows, in one transaction. Returns how many of them were
    /// dropped because their lease was lost.
    ///
    /// # Errors
    /// The database is away; nothing was recorded.
    pub async fn finish(&self, mut batch: Vec<Finish>) -> std::result::Result<usize, Error> {
        if batch.is_empty() {
            return Ok(0);
        }
        // Rows are always locked in one order, so that nobody waits for somebody who waits for them.
        batch.sort_by(|a, b| a.lease.step_id.cmp(&b.lease.step_id));
        let mut ids: Vec<DsrId> = batch.iter().map(|f| f.lease.dsr_id.clone()).collect();
        ids.sort();
        ids.dedup();
        let keys = self.keys_for_receipts(&batch).await?;
        crash_point("queue.before_finish");
        let mut tx = self.db.begin("finish").await?;
        let stages = self.lock_stages(&mut tx, &ids).await?;
        let mut events = Events::default();
        let mut dropped = 0;
        let mut changed = Vec::new();
        let mut paces = Paces::at(self.now_ms());
        for (finish, key) in batch.iter().zip(keys) {
            // What waits for its controller is not over: what is due later is parked by the advance below, and let go by it.
            let working = stages.get(finish.lease.dsr_id.as_str()).is_some_and(|s| !s.is_final());
            if self.finish_one(&mut tx, finish, key.as_deref(), working, &mut events).await? {
                crash_point("queue.between_finishes");
                paces.add(finish);
                // What was told, or not, moves no request.
                if finish.lease.kind != WorkKind::Notify {
                    changed.push(finish.lease.dsr_id.clone());
                }
            } else {
                dropped += 1;
                tracing::warn!(step.id = %finish.lease.step_id, "the outcome of {} came after its lease was lost and is dropped", finish.lease.step_id);
            }
        }
        self.advance_all(&mut tx, changed, &mut events).await?;
        crash_point("queue.before_events");
        self.record_paces(&mut tx, paces).await?;
        self.append_all(&mut tx, "engine", events).await?;
        crash_point("queue.before_finish_commit");
        self.commit(tx).await?;
        crash_point("queue.after_finish");
        self.figures.finished(&batch, dropped);
        Ok(dropped)
    }

    async fn keys_for_receipts(&self, batch: &[Finish]) -> std::result::Result<Vec<Option<Arc<Key>>>, Error> {
        let mut keys = Vec::with_capacity(batch.len());
        for finish in batch {
            let needs = matches!(&finish.result, Result::Acted { receipt: Some(_), .. } | Result::External { .. });
            if !needs {
                keys.push(None);
                continue;
            }
            keys.push(match self.dsr_key(&finish.lease.controller_id, &finish.lease.dsr_id).await {
                Ok(key) => Some(key),
                Err(Error::Purged | Error::NotFound) => None,
                Err(error) => return Err(error),
            });
        }
        Ok(keys)
    }

    /// Locks these requests in the order of their ids, before anything else of theirs is touched.
    pub(crate) async fn lock_stages(
        &self,
        tx: &mut Tx,
        ids: &[DsrId],
    ) -> std::result::Result<BTreeMap<String, Stage>, Error> {
        let rows = tx
            .rows(
                "-- lock_dsrs\nSELECT id, stage FROM dsrs WHERE id {in $1} ORDER BY id {for_update}",
                args![texts(ids.iter().map(DsrId::as_str))],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let stage =
                    Stage::parse(&row.text("stage")?).ok_or(Error::Inconsistent { table: "dsrs", column: "stage" })?;
                Ok((row.text("id")?, stage))
            })
            .collect()
    }

    async fn finish_one(
        &self,
        tx: &mut Tx,
        finish: &Finish,
        key: Option<&Key>,
        working: bool,
        events: &mut Events,
    ) -> std::result::Result<bool, Error> {
        let (lease, now) = (&finish.lease, self.now_ms());
        let (id, token) = (lease.step_id.as_str(), lease.token);
        // A request that ended meanwhile (withdrawn, rejected) keeps the facts, but nothing more is done for it. Answers and
        // notices are not steps and go on in any stage.
        let alive = working || !matches!(lease.kind, WorkKind::Step(_));
        let seal = |receipt: &str| key.map(|k| k.seal(&receipt_place(lease), receipt.as_bytes())).transpose();
        let event = |kind, data| NewEvent::new(Some(&lease.dsr_id), kind, data);
        let mut pending = Vec::new();
        let verb = lease.kind.as_str();
        let system = &lease.system_id;
        let written = match &finish.result {
            Result::Acted { state, found, changed, retained, result, receipt, verify_at } => {
                let receipt = receipt.as_deref().map(seal).transpose()?.flatten();
                let verify_at = verify_at.filter(|_| alive);
                let q = match verify_at {
                    Some(at) if at <= now => Some("ready"),
                    Some(_) => Some("wait"),
                    None => None,
                };
                let phase = if verify_at.is_some() { Phase::Verify } else { lease.phase };
                if q == Some("ready") {
                    tx.wakes.push(lease.lane.clone());
                }
                pending.push(event("step_acted", json!({
                    "step": lease.step_id, "system": system, "verb": verb, "state": state, "found": found, "changed": changed, "retained": retained,
                })));
                let verified_at = (*state == StepState::NothingFound).then_some(now);
                tx.exec(
                    "-- finish_acted\nUPDATE steps SET state = $3, phase = $4, q = $5, not_before = $6, found = $7, changed = $8, retained = $9, result = $10, receipt = COALESCE($11, receipt), acted_at = $12, verified_at = $13, failures = 0, deaths = 0, attention = 0, error_code = NULL, error_detail = NULL, silent_since = NULL, silent_watch_at = NULL, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![
                        id, token, state.as_str(), phase.as_str(), q, verify_at.unwrap_or(now), *found as i64, *changed as i64, *retained as i64, result.to_string(), receipt, now, verified_at
                    ],
                )
                .await?
            }
            Result::Verified { proof } => {
                pending.push(event("step_verified", json!({ "step": lease.step_id, "system": system, "verb": verb })));
                tx.exec(
                    "-- finish_verified\nUPDATE steps SET state = CASE WHEN retained > 0 THEN 'retained' ELSE 'verified' END, q = NULL, proof = $3, verified_at = $4, failures = 0, deaths = 0, attention = 0, error_code = NULL, error_detail = NULL, silent_since = NULL, silent_watch_at = NULL, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, token, proof.to_string(), now],
                )
                .await?
            }
            Result::Residue { remaining, proof } => {
                pending.push(event(
                    "step_residue_found",
                    json!({ "step": lease.step_id, "system": system, "remaining": remaining }),
                ));
                tx.wakes.push(lease.lane.clone());
                let detail = format!(
                    "the system answered that it was done, but a second read still finds {remaining} record(s); find out what keeps or restores them, then retry the request"
                );
                tx.exec(
                    "-- finish_residue\nUPDATE steps SET residues = residues + 1, deaths = 0, proof = $3, q = CASE WHEN residues + 1 >= $4 OR $6 = 0 THEN NULL ELSE 'ready' END, state = CASE WHEN residues + 1 >= $4 THEN state ELSE 'queued' END, phase = CASE WHEN residues + 1 >= $4 THEN phase ELSE 'act' END, attention = CASE WHEN residues + 1 >= $4 AND $6 = 1 THEN 1 ELSE 0 END, error_code = 'residue', error_detail = $5, silent_since = NULL, silent_watch_at = NULL, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, token, proof.to_string(), i64::from(RESIDUE_TRIES), detail, alive],
                )
                .await?
            }
            Result::External { receipt, check_at } => {
                let receipt = seal(receipt)?;
                tx.exec(
                    "-- finish_external\nUPDATE steps SET state = 'external', acted_at = CASE WHEN state = 'external' OR (residues = 0 AND acted_at IS NOT NULL) THEN acted_at ELSE $6 END, q = $3, not_before = $4, receipt = COALESCE($5, receipt), failures = 0, deaths = 0, attention = 0, error_code = NULL, error_detail = NULL, silent_since = NULL, silent_watch_at = NULL, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, token, alive.then_some("wait"), *check_at, receipt, now],
                )
                .await?
            }
            Result::Later { not_before, failed, attention, code, detail } => {
                if *failed {
                    pending.push(event(
                        "step_failed",
                        json!({ "step": lease.step_id, "system": system, "verb": verb, "code": code }),
                    ));
                }
                // In its second read a step stays done; before that it is waiting. What had to wait for a limit was not tried.
                tx.exec(
                    "-- finish_later\nUPDATE steps SET state = CASE WHEN phase = 'act' THEN 'waiting' ELSE state END, attempts = attempts - CASE WHEN $7 = 'rate_limited' AND phase = 'act' THEN 1 ELSE 0 END, q = $3, not_before = $4, failures = failures + $5, deaths = 0, attention = $6, error_code = $7, error_detail = $8, silent_since = CASE WHEN $5 = 1 AND system_id IS NOT NULL THEN COALESCE(silent_since, $9) ELSE silent_since END, silent_watch_at = CASE WHEN $5 = 1 AND system_id IS NOT NULL AND silent_since IS NULL THEN $10 ELSE silent_watch_at END, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![
                        id, token, alive.then_some("wait"), *not_before, *failed, *attention && alive, code, detail, now, now + SILENCE_MIN_MS
                    ],
                )
                .await?
            }
            Result::Attention { code, detail } => {
                pending.push(event(
                    "step_needs_attention",
                    json!({ "step": lease.step_id, "system": system, "verb": verb, "code": code }),
                ));
                tx.exec(
                    "-- finish_attention\nUPDATE steps SET q = NULL, attention = $5, failures = failures + 1, error_code = $3, error_detail = $4, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, token, code, detail, alive],
                )
                .await?
            }
            Result::Dismissed { achieved, code } => {
                let kind = if *achieved { "controller_told" } else { "telling_given_up" };
                pending.push(event(kind, json!({ "code": code })));
                tx.exec(
                    "-- finish_dismissed\nUPDATE steps SET state = $3, q = NULL, acted_at = $4, error_code = $5, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, token, if *achieved { "done" } else { "retained" }, now, code],
                )
                .await?
            }
        };
        if written == 0 {
            return Ok(false);
        }
        if matches!(&finish.result, Result::Dismissed { achieved: false, code } if code == "gone") {
            self.stop_telling(tx, &lease.dsr_id).await?;
        }
        for event in pending {
            events.push(&lease.controller_id, event);
        }
        if matches!(lease.kind, WorkKind::Step(Verb::Export)) && matches!(finish.result, Result::Acted { .. }) {
            tx.exec(
                "-- drop_stale_artifacts\nDELETE FROM artifacts WHERE step_id = $1 AND token <> $2",
                args![id, token],
            )
            .await?;
        }
        Ok(true)
    }

    /// The controller's address is gone for good: nothing more of this request is told.
    async fn stop_telling(&self, tx: &mut Tx, dsr_id: &DsrId) -> std::result::Result<(), Error> {
        tx.exec("-- callback_gone\nUPDATE dsrs SET has_callback = 0 WHERE id = $1", args![dsr_id.as_str()]).await?;
        tx.exec(
            "-- drop_notices\nUPDATE steps SET state = 'retained', q = NULL, error_code = 'gone' WHERE dsr_id = $1 AND verb = 'notify' AND q IN ('ready', 'wait')",
            args![dsr_id.as_str()],
        )
        .await
        .map(drop)
    }
}
