//! Outcomes of a batch are recorded by kind: one statement for all that acted, one for all that were verified, and so on, each with
//! the fence of every row.

use crate::db::{Tx, args, texts};
use crate::events::{Events, NewEvent};
use crate::moves::Locked;
use crate::sql::{RowSet, row};
use crate::watch::SILENCE_MIN_MS;
use crate::work::{Finish, Result, WorkKind, receipt_place};
use crate::{Error, Key, Store, crash_point};
use redress_domain::hold::LEGAL_HOLD;
use redress_domain::step::{INTERRUPTED, Phase, RESIDUE_TRIES, StepState};
use redress_domain::{DsrId, Verb};
use serde_json::json;

/// What came of the rows of one batch that are still held.
pub(crate) struct Outcomes {
    now: i64,
    acted: RowSet,
    verified: RowSet,
    residues: RowSet,
    external: RowSet,
    later: RowSet,
    attention: RowSet,
    dismissed: RowSet,
    /// Exports, whose artifacts of an earlier run are to go.
    exported: Vec<String>,
    /// Requests whose controller's address is gone for good.
    gone: Vec<DsrId>,
    wakes: Vec<String>,
}

/// What a legal hold has to do with a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// One stops it, since it was claimed.
    pub(crate) stopped: bool,
    /// Its controller may know.
    pub(crate) told: bool,
}

impl Outcomes {
    pub(crate) fn at(now: i64) -> Self {
        let none = RowSet::default;
        Self {
            now,
            acted: none(),
            verified: none(),
            residues: none(),
            external: none(),
            later: none(),
            attention: none(),
            dismissed: none(),
            exported: Vec::new(),
            gone: Vec::new(),
            wakes: Vec::new(),
        }
    }

    /// Adds what came of one row, with its event. `working` says whether its request is still worked on, `key` is the key of
    /// the request unless it was purged.
    pub(crate) fn add(
        &mut self,
        finish: &Finish,
        working: bool,
        held: Held,
        key: Option<&Key>,
        events: &mut Events,
    ) -> std::result::Result<(), Error> {
        let (lease, now) = (&finish.lease, self.now);
        let (id, token) = (lease.step_id.as_str(), lease.token);
        // A request that ended meanwhile (withdrawn, rejected) keeps the facts, but nothing more is done for it. Answers and
        // notices are not steps and go on in any stage.
        let alive = working || !matches!(lease.kind, WorkKind::Step(_));
        let seal = |receipt: &str| key.map(|k| k.seal(&receipt_place(lease), receipt.as_bytes())).transpose();
        let (verb, system) = (lease.kind.as_str(), &lease.system_id);
        let mut log = |kind, data| events.push(&lease.controller_id, NewEvent::new(Some(&lease.dsr_id), kind, data));
        let changed = match &finish.result {
            Result::Acted { changed, .. } => *changed > 0,
            Result::External { .. } => true,
            _ => false,
        };
        if held.stopped && held.told && changed && lease.phase == Phase::Act {
            log("hold_came_too_late", json!({ "step": lease.step_id, "system": system, "verb": verb }));
        }
        match &finish.result {
            // It was stopped before its first effect, by a hold: nothing failed.
            Result::Later { not_before, code, .. } if held.stopped && code == INTERRUPTED => {
                let detail = "a legal hold came before anything was changed";
                self.later.push(row![
                    id,
                    token,
                    alive.then_some("wait"),
                    *not_before,
                    false,
                    false,
                    LEGAL_HOLD,
                    detail
                ]);
            }
            Result::Acted { state, found, changed, retained, result, receipt, verify_at } => {
                let receipt = receipt.as_deref().map(seal).transpose()?.flatten();
                let verify_at = verify_at.filter(|_| alive);
                let q = verify_at.map(|at| if at <= now { "ready" } else { "wait" });
                let phase = if verify_at.is_some() { Phase::Verify } else { lease.phase };
                if q == Some("ready") {
                    self.wake(&lease.lane);
                }
                log(
                    "step_acted",
                    json!({
                        "step": lease.step_id, "system": system, "verb": verb, "state": state, "found": found, "changed": changed, "retained": retained,
                    }),
                );
                let verified_at = (*state == StepState::NothingFound).then_some(now);
                self.acted.push(row![
                    id,
                    token,
                    state.as_str(),
                    phase.as_str(),
                    q,
                    verify_at.unwrap_or(now),
                    *found as i64,
                    *changed as i64,
                    *retained as i64,
                    result.to_string(),
                    receipt,
                    verified_at
                ]);
                if lease.kind == WorkKind::Step(Verb::Export) {
                    self.exported.push(id.to_owned());
                }
            }
            Result::Verified { proof } => {
                log("step_verified", json!({ "step": lease.step_id, "system": system, "verb": verb }));
                self.verified.push(row![id, token, proof.to_string()]);
            }
            Result::Residue { remaining, proof } => {
                log("step_residue_found", json!({ "step": lease.step_id, "system": system, "remaining": remaining }));
                self.wake(&lease.lane);
                let detail = format!(
                    "the system answered that it was done, but a second read still finds {remaining} record(s); find out what keeps or restores them, then retry the request"
                );
                self.residues.push(row![id, token, proof.to_string(), detail, alive]);
            }
            Result::External { receipt, check_at, completes_by } => {
                let promised = completes_by.map(|at| json!({ "completes_by": instant_text(at) }).to_string());
                self.external.push(row![id, token, alive.then_some("wait"), *check_at, seal(receipt)?, promised]);
            }
            Result::Later { not_before, failed, attention, code, detail } => {
                if *failed {
                    log("step_failed", json!({ "step": lease.step_id, "system": system, "verb": verb, "code": code }));
                }
                self.later.push(row![
                    id,
                    token,
                    alive.then_some("wait"),
                    *not_before,
                    *failed,
                    *attention && alive,
                    code,
                    detail
                ]);
            }
            Result::Attention { code, detail } => {
                log(
                    "step_needs_attention",
                    json!({ "step": lease.step_id, "system": system, "verb": verb, "code": code }),
                );
                self.attention.push(row![id, token, code, detail, alive]);
            }
            Result::Dismissed { achieved, code } => {
                let mut data = json!({ "code": code });
                if let Some(webhook) = lease.webhook() {
                    data["webhook"] = json!(webhook);
                }
                log(if *achieved { "controller_told" } else { "telling_given_up" }, data);
                self.dismissed.push(row![id, token, if *achieved { "done" } else { "retained" }, code]);
                if !achieved && code == "gone" {
                    self.gone.push(lease.dsr_id.clone());
                }
            }
        }
        Ok(())
    }

    fn wake(&mut self, lane: &str) {
        if !self.wakes.iter().any(|known| known == lane) {
            self.wakes.push(lane.to_owned());
        }
    }
}

/// An instant as RFC 3339 in UTC.
fn instant_text(ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(ms).ok().map(|at| at.to_string())
}

/// No failure is behind the step any more.
macro_rules! well {
    () => {
        "failures = 0, deaths = 0, attention = 0, error_code = NULL, error_detail = NULL, silent_since = NULL, silent_watch_at = NULL, lease_until = NULL"
    };
}
/// Only the holder of the lease writes.
macro_rules! fenced {
    () => {
        " WHERE steps.id = v.id AND steps.token = v.token AND steps.q = 'run'"
    };
}

const ACTED: &str = concat!(
    "-- finish_acted\nUPDATE steps SET state = v.state, phase = v.phase, q = v.q, not_before = v.not_before, found = v.found, changed = v.changed, retained = v.retained, result = v.result, receipt = COALESCE(v.receipt, steps.receipt), acted_at = $1, verified_at = v.verified_at, ",
    well!(),
    " FROM {rows $2 AS v(id text, token int, state text, phase text, q text, not_before int, found int, changed int, retained int, result text, receipt bytes, verified_at int)}",
    fenced!()
);

const VERIFIED: &str = concat!(
    "-- finish_verified\nUPDATE steps SET state = CASE WHEN steps.retained > 0 THEN 'retained' ELSE 'verified' END, q = NULL, proof = v.proof, verified_at = $1, ",
    well!(),
    " FROM {rows $2 AS v(id text, token int, proof text)}",
    fenced!()
);

const RESIDUES: &str = concat!(
    "-- finish_residue\nUPDATE steps SET residues = steps.residues + 1, deaths = 0, proof = v.proof, q = CASE WHEN steps.residues + 1 >= $1 OR v.alive = 0 THEN NULL ELSE 'ready' END, state = CASE WHEN steps.residues + 1 >= $1 THEN steps.state ELSE 'queued' END, phase = CASE WHEN steps.residues + 1 >= $1 THEN steps.phase ELSE 'act' END, attention = CASE WHEN steps.residues + 1 >= $1 AND v.alive = 1 THEN 1 ELSE 0 END, error_code = 'residue', error_detail = v.detail, silent_since = NULL, silent_watch_at = NULL, lease_until = NULL FROM {rows $2 AS v(id text, token int, proof text, detail text, alive int)}",
    fenced!()
);

const EXTERNAL: &str = concat!(
    "-- finish_external\nUPDATE steps SET state = 'external', acted_at = CASE WHEN steps.state = 'external' OR (steps.residues = 0 AND steps.acted_at IS NOT NULL) THEN steps.acted_at ELSE $1 END, q = v.q, not_before = v.check_at, receipt = COALESCE(v.receipt, steps.receipt), result = COALESCE(v.result, steps.result), ",
    well!(),
    " FROM {rows $2 AS v(id text, token int, q text, check_at int, receipt bytes, result text)}",
    fenced!()
);

// In its second read a step stays done; before that it is waiting. What had to wait for a limit was not tried.
const LATER: &str = concat!(
    "-- finish_later\nUPDATE steps SET state = CASE WHEN steps.phase = 'act' THEN 'waiting' ELSE steps.state END, attempts = steps.attempts - CASE WHEN v.code = 'rate_limited' AND steps.phase = 'act' THEN 1 ELSE 0 END, q = v.q, not_before = v.not_before, failures = steps.failures + v.failed, deaths = 0, attention = CASE WHEN v.code = 'credentials_refused' AND steps.error_code = v.code AND steps.attention = 1 THEN 1 ELSE v.attention END, error_code = v.code, error_detail = v.detail, silent_since = CASE WHEN v.failed = 1 AND steps.system_id IS NOT NULL THEN COALESCE(steps.silent_since, CAST($1 AS BIGINT)) ELSE steps.silent_since END, silent_watch_at = CASE WHEN v.failed = 1 AND steps.system_id IS NOT NULL AND steps.silent_since IS NULL THEN CAST($2 AS BIGINT) ELSE steps.silent_watch_at END, lease_until = NULL FROM {rows $3 AS v(id text, token int, q text, not_before int, failed int, attention int, code text, detail text)}",
    fenced!()
);

const ATTENTION: &str = concat!(
    "-- finish_attention\nUPDATE steps SET q = NULL, attention = v.alive, failures = steps.failures + 1, error_code = v.code, error_detail = v.detail, lease_until = NULL FROM {rows $1 AS v(id text, token int, code text, detail text, alive int)}",
    fenced!()
);

const DISMISSED: &str = concat!(
    "-- finish_dismissed\nUPDATE steps SET state = v.state, q = NULL, acted_at = $1, error_code = v.code, lease_until = NULL FROM {rows $2 AS v(id text, token int, state text, code text)}",
    fenced!()
);

impl Store {
    /// Records the outcomes, and what follows from them beside the next stage.
    pub(crate) async fn record_outcomes(
        &self,
        tx: &mut Tx,
        all: Outcomes,
        dsrs: &mut [Locked],
    ) -> std::result::Result<(), Error> {
        let now = all.now;
        for (sql, mut arguments, rows) in [
            (ACTED, args![now], all.acted),
            (VERIFIED, args![now], all.verified),
            (RESIDUES, args![i64::from(RESIDUE_TRIES)], all.residues),
            (EXTERNAL, args![now], all.external),
            (LATER, args![now, now + SILENCE_MIN_MS], all.later),
            (ATTENTION, args![], all.attention),
            (DISMISSED, args![now], all.dismissed),
        ] {
            if rows.is_empty() {
                continue;
            }
            let n = rows.len() as u64;
            arguments.push(rows.into());
            // They were locked before; whatever else it is, it must not be half a batch.
            if tx.exec(sql, arguments).await? != n {
                return Err(Error::LeaseLost);
            }
            crash_point("queue.between_finishes");
        }
        tx.wakes.extend(all.wakes);
        if !all.exported.is_empty() {
            tx.exec(
                "-- drop_stale_artifacts\nDELETE FROM artifacts WHERE step_id {in $1} AND token <> (SELECT s.token FROM steps s WHERE s.id = artifacts.step_id)",
                args![all.exported],
            )
            .await?;
        }
        self.stop_telling(tx, &all.gone, dsrs).await
    }

    /// The controller's address is gone for good: nothing more of these requests is told.
    async fn stop_telling(&self, tx: &mut Tx, gone: &[DsrId], dsrs: &mut [Locked]) -> std::result::Result<(), Error> {
        if gone.is_empty() {
            return Ok(());
        }
        let ids = texts(gone.iter().map(DsrId::as_str));
        for dsr in dsrs.iter_mut().filter(|dsr| gone.contains(&dsr.id)) {
            dsr.has_callback = false;
        }
        tx.exec("-- callback_gone\nUPDATE dsrs SET has_callback = 0 WHERE id {in $1}", args![ids.clone()]).await?;
        tx.exec(
            "-- drop_notices\nUPDATE steps SET state = 'retained', q = NULL, error_code = 'gone' WHERE dsr_id {in $1} AND verb = 'notify' AND webhook_id IS NULL AND q IN ('ready', 'wait')",
            args![ids],
        )
        .await
        .map(drop)
    }
}
