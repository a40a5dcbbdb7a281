//! What a hold reaches is stopped: steps are marked in the transaction that makes them known, so that a claim looks at nothing but
//! its own queue.
//!
//! Nobody slips through between a hold that is being set and a request that comes, or an identifier that is found, at the same
//! moment. Setting a hold counts it in its controller's row under that row's lock (`Store::set_hold`); whoever submits or yields
//! appends an event before the commit, and so takes the same lock. If the hold had it first, they see the count and look for the
//! hold themselves, here; if they had it first, their rows are committed before the hold goes through all requests
//! (`Store::carry_hold`).

use crate::db::{Tx, args, texts};
use crate::dsrs::retained_result;
use crate::events::{Events, NewEvent};
use crate::sealed::place;
use crate::sql::{RowSet, row};
use crate::work::{Lease, OVER};
use crate::{Error, Key, Store};
use redress_domain::hold::{HoldFacts, reason};
use redress_domain::{ControllerId, DsrId, Identifier, Verb};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "holds", column };

/// A hold that reaches a request: whether nobody outside may learn of it, and the systems to which it is restricted.
type Reaching = (bool, Option<Vec<String>>);

/// The hash by which an identifier is found, whichever way it is spelled. Only this controller's key makes it.
pub(crate) fn subject_mark(controller_key: &Key, controller_id: &ControllerId, identifier: &Identifier) -> String {
    let place = place(&[controller_id.as_str(), "subject", identifier.kind().as_str()]);
    controller_key.mark(&place, identifier.normal().expose().as_bytes())
}

/// The hashes of some identifiers, each once.
pub(crate) fn subject_marks<'a>(
    controller_key: &Key,
    controller_id: &ControllerId,
    identifiers: impl IntoIterator<Item = &'a Identifier>,
) -> BTreeSet<String> {
    identifiers.into_iter().map(|identifier| subject_mark(controller_key, controller_id, identifier)).collect()
}

/// Several hashes as one column.
pub(crate) fn marks_text(marks: &BTreeSet<String>) -> String {
    marks.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// A request that just came, or of which just more was found.
pub(crate) struct Arrival<'a> {
    pub(crate) controller_id: &'a ControllerId,
    pub(crate) dsr_id: &'a DsrId,
    pub(crate) marks: &'a BTreeSet<String>,
}

impl Store {
    /// Puts requests under the holds that reach them. Call it only after [`Store::append_all`] named these controllers, under the
    /// lock that it took. Returns the requests that are under one now.
    pub(crate) async fn hold_arrivals(&self, tx: &mut Tx, arrivals: &[Arrival<'_>]) -> Result<Vec<DsrId>, Error> {
        let controllers = texts(arrivals.iter().map(|a| a.controller_id.as_str()));
        let marks = texts(arrivals.iter().flat_map(|a| a.marks));
        let rows = tx
            .rows(
                "-- holds_that_reach\nSELECT h.id, h.controller_id, h.gag, NULL AS mark FROM holds h WHERE h.controller_id {in $1} AND h.scope = 'controller' AND h.released_at IS NULL UNION ALL SELECT h.id, h.controller_id, h.gag, m.mark FROM hold_marks m JOIN holds h ON h.id = m.hold_id WHERE m.mark {in $2} AND h.controller_id {in $1} AND h.released_at IS NULL",
                args![controllers, marks],
            )
            .await?;
        let (mut reached, mut ids) = (RowSet::default(), BTreeSet::new());
        let mut gagged = BTreeMap::new();
        for row in &rows {
            let (hold_id, controller_id, mark) = (row.text("id")?, row.text("controller_id")?, row.opt_text("mark")?);
            gagged.insert(hold_id.clone(), row.int("gag")? != 0);
            for arrival in arrivals.iter().filter(|a| a.controller_id.as_str() == controller_id) {
                if mark.as_ref().is_none_or(|mark| arrival.marks.contains(mark)) {
                    reached.push(row![hold_id.as_str(), arrival.dsr_id.as_str()]);
                    ids.insert(arrival.dsr_id.clone());
                }
            }
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut events = Events::default();
        for (hold_id, dsr_id) in self.reach(tx, reached).await? {
            if gagged.get(&hold_id) == Some(&false)
                && let Some(arrival) = arrivals.iter().find(|a| a.dsr_id.as_str() == dsr_id)
            {
                let event = NewEvent::new(Some(arrival.dsr_id), "hold_began", json!({ "hold": hold_id }));
                events.push(arrival.controller_id, event);
            }
        }
        let ids: Vec<DsrId> = ids.into_iter().collect();
        self.stop_held(tx, &ids).await?;
        self.append_all(tx, "engine", events).await?;
        Ok(ids)
    }

    /// Notes that holds reach requests, each pair once; returns the pairs that are new.
    pub(crate) async fn reach(&self, tx: &mut Tx, pairs: RowSet) -> Result<Vec<(String, String)>, Error> {
        let rows = tx
            .rows(
                "-- reach\nINSERT INTO held_requests (hold_id, dsr_id, since) SELECT DISTINCT v.hold_id, v.dsr_id, CAST($1 AS BIGINT) FROM {rows $2 AS v(hold_id text, dsr_id text)} WHERE 1 = 1 ON CONFLICT (hold_id, dsr_id) DO NOTHING RETURNING hold_id, dsr_id",
                args![self.now_ms(), pairs],
            )
            .await?;
        rows.iter().map(|row| Ok((row.text("hold_id")?, row.text("dsr_id")?))).collect()
    }

    /// Marks the steps of these requests, which are locked, as the holds that reach them want it now: those that one stops leave the
    /// queue, the others return to it.
    pub(crate) async fn stop_held(&self, tx: &mut Tx, ids: &[DsrId]) -> Result<(), Error> {
        let ids = texts(ids.iter().map(DsrId::as_str));
        let holds = tx
            .rows(
                "-- holds_of\nSELECT r.dsr_id, h.gag, h.systems FROM held_requests r JOIN holds h ON h.id = r.hold_id WHERE r.dsr_id {in $1} AND h.released_at IS NULL",
                args![ids.clone()],
            )
            .await?;
        let mut of_dsr: HashMap<String, Vec<Reaching>> = HashMap::new();
        for row in &holds {
            let systems = row.opt_text("systems")?.map(|text| serde_json::from_str(&text)).transpose();
            let systems: Option<Vec<String>> = systems.map_err(|_| INCONSISTENT("systems"))?;
            of_dsr.entry(row.text("dsr_id")?).or_default().push((row.int("gag")? != 0, systems));
        }
        let steps = tx
            .rows(
                "-- steps_to_stop\nSELECT st.id, st.dsr_id, st.verb, st.held, sy.name FROM steps st JOIN systems sy ON sy.id = st.system_id WHERE st.dsr_id {in $1} ORDER BY st.id",
                args![ids.clone()],
            )
            .await?;
        let mut changed = RowSet::default();
        for row in &steps {
            let verb = Verb::parse(&row.text("verb")?).ok_or(Error::Inconsistent { table: "steps", column: "verb" })?;
            let (system, dsr_id) = (row.text("name")?, row.text("dsr_id")?);
            let stops = |(_, systems): &Reaching| HoldFacts { systems: systems.as_deref() }.stops(&system, verb);
            let held = of_dsr.get(&dsr_id).is_some_and(|holds| holds.iter().any(stops));
            if held != (row.int("held")? != 0) {
                changed.push(row![row.text("id")?, held]);
            }
        }
        if !changed.is_empty() {
            // What is at work keeps its lease: it is stopped before its first effect (`intend`). What is let go keeps its time.
            tx.exec(
                "-- stop_steps\nUPDATE steps SET held = now.held, q = CASE WHEN now.held = 1 AND steps.phase = 'act' AND steps.q IN ('ready', 'wait') THEN 'hold' WHEN now.held = 0 AND steps.q = 'hold' THEN 'wait' ELSE steps.q END FROM (SELECT s.id AS step, v.held FROM steps s JOIN {rows $1 AS v(step text, held int)} ON s.id = v.step ORDER BY s.id {for_update}) AS now WHERE steps.id = now.step",
                args![changed],
            )
            .await?;
        }
        let mut held = RowSet::default();
        for id in &ids {
            let state = match of_dsr.get(id) {
                None => 0,
                Some(holds) if holds.iter().all(|(gag, _)| *gag) => 2,
                Some(_) => 1_i64,
            };
            held.push(row![id.as_str(), state]);
        }
        tx.exec(
            "-- hold_requests\nUPDATE dsrs SET held = v.held FROM {rows $1 AS v(id text, held int)} WHERE dsrs.id = v.id AND dsrs.held <> v.held",
            args![held],
        )
        .await
        .map(drop)
    }

    /// Gives back steps of a batch that a hold stops and that were not begun, and says where their requests stand now.
    pub(crate) async fn give_back_held(&self, leases: &[Lease]) -> Result<(), Error> {
        if leases.is_empty() {
            return Ok(());
        }
        let (mut tx, mut events) = (self.db.begin("give back held").await?, Events::default());
        let locked = self.lock_dsrs(&mut tx, leases.iter().map(|lease| lease.dsr_id.clone()).collect()).await?;
        for lease in leases {
            tx.exec(
                &format!("-- give_back_held\nUPDATE steps SET q = CASE WHEN {OVER} THEN NULL WHEN held = 1 THEN 'hold' ELSE 'ready' END, attempts = attempts - 1, token = token + 1, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'"),
                args![lease.step_id.as_str(), lease.token],
            )
            .await?;
        }
        self.advance_locked(&mut tx, locked, &mut events).await?;
        self.append_all(&mut tx, "engine", events).await?;
        self.commit(tx).await
    }

    /// Ends what holds stop of a request that is locked: the data stay, itemised with the reason. Holds of which nobody outside may
    /// learn are given as the reason that says least, and only by those `with_gagged` who may know of them. Returns what was kept.
    ///
    /// An order that a system, or a person, was given before the hold came is not kept: what came of it is not known.
    pub(crate) async fn keep_held(&self, tx: &mut Tx, id: &DsrId, with_gagged: bool) -> Result<Vec<Kept>, Error> {
        let holds = tx
            .rows(
                "-- holds_to_keep_by\nSELECT h.id, h.gag, h.systems FROM held_requests r JOIN holds h ON h.id = r.hold_id WHERE r.dsr_id = $1 AND h.released_at IS NULL AND h.gag <= $2 ORDER BY h.gag, h.id",
                args![id.as_str(), i64::from(with_gagged)],
            )
            .await?;
        let steps = tx
            .rows(
                "-- steps_to_keep\nSELECT st.id, st.verb, st.result, sy.name FROM steps st JOIN systems sy ON sy.id = st.system_id WHERE st.dsr_id = $1 AND st.held = 1 AND st.state IN ('queued', 'waiting') AND (st.q IS NULL OR st.q <> 'run') ORDER BY st.id",
                args![id.as_str()],
            )
            .await?;
        let (mut kept, mut rows) = (Vec::new(), RowSet::default());
        for step in &steps {
            let verb =
                Verb::parse(&step.text("verb")?).ok_or(Error::Inconsistent { table: "steps", column: "verb" })?;
            let system = step.text("name")?;
            let mut by = None;
            for hold in &holds {
                let systems = hold.opt_text("systems")?.map(|text| serde_json::from_str(&text)).transpose();
                let systems: Option<Vec<String>> = systems.map_err(|_| INCONSISTENT("systems"))?;
                if (HoldFacts { systems: systems.as_deref() }).stops(&system, verb) {
                    by = Some(reason(&hold.text("id")?, hold.int("gag")? != 0));
                    break;
                }
            }
            let Some(reason) = by else { continue };
            let mut result = retained_result(&reason);
            // What was counted before, if it had acted once, stays known.
            if let Some(before) = step.opt_text("result")?.and_then(|text| serde_json::from_str::<Value>(&text).ok())
                && before["evidence"].is_object()
            {
                result["evidence"] = before["evidence"].clone();
            }
            rows.push(row![step.text("id")?, result.to_string()]);
            kept.push(Kept { system, reason });
        }
        if !rows.is_empty() {
            tx.exec(
                "-- keep_held\nUPDATE steps SET state = 'retained', q = NULL, retained = 1, result = v.result, attention = 0, error_code = NULL, error_detail = NULL, failures = 0, silent_since = NULL, silent_watch_at = NULL, token = token + 1 FROM {rows $1 AS v(id text, result text)} WHERE steps.id = v.id",
                args![rows],
            )
            .await?;
        }
        Ok(kept)
    }
}

/// What of a request is kept because of a hold.
pub(crate) struct Kept {
    pub(crate) system: String,
    pub(crate) reason: String,
}
