//! Finishing work: what is sealed is opened for a worker, what it is about to touch is announced, and what came of it is
//! recorded together with what follows, in one transaction that only the holder of the lease can write.

use crate::db::{Row, Tx, args, texts};
use crate::dsrs::key_place;
use crate::events::Events;
use crate::moves::Locked;
use crate::outcomes::{Held, Outcomes};
use crate::paces::Paces;
use crate::sql::{RowSet, row};
use crate::work::{Finish, INCONSISTENT, Lease, OpenWork, Result, WorkKind, receipt_place};
use crate::yields::Yielded;
use crate::{Error, Key, Store, crash_point};
use redress_domain::stage::Stage;
use redress_domain::step::Phase;
use redress_domain::{ControllerId, DsrId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

impl Store {
    /// Opens what is sealed for these leases, which are of one batch. What a legal hold stops since it was claimed is given back.
    /// A lease whose request was purged meanwhile is left out,
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
                "-- open_work\nSELECT s.id, s.receipt, s.seen, s.held, d.yields, d.wrapped_key, d.sealed FROM steps s JOIN dsrs d ON d.id = s.dsr_id AND d.controller_id = s.controller_id WHERE s.id {in $1}",
                args![texts(leases.iter().map(|l| l.step_id.as_str()))],
            )
            .await?;
        let mut by_id = BTreeMap::new();
        for row in rows {
            by_id.insert(row.text("id")?, row);
        }
        let (mut leases, mut stopped) = (leases, Vec::new());
        for lease in std::mem::take(&mut leases) {
            let held = by_id.get(lease.step_id.as_str()).map_or(Ok(0), |row| row.int("held"))? != 0;
            if held && lease.phase == Phase::Act { stopped.push(lease) } else { leases.push(lease) }
        }
        self.give_back_held(&stopped).await?;
        let yielded = self.yielded_for(&leases, &by_id).await?;
        let mut all = Vec::with_capacity(leases.len());
        for lease in leases {
            let Some(row) = by_id.get(lease.step_id.as_str()) else { continue };
            let step_id = lease.step_id.clone();
            match self.open_one(lease, row, &yielded).await {
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

    async fn open_one(
        &self,
        lease: Lease,
        row: &Row,
        yielded: &Yielded,
    ) -> std::result::Result<Option<OpenWork>, Error> {
        let (Some(wrapped), Some(sealed)) = (row.opt_bytes("wrapped_key")?, row.opt_bytes("sealed")?) else {
            return Ok(None);
        };
        let key = Arc::new(self.unwrap_dsr_key(&lease.controller_id, &lease.dsr_id, &wrapped).await?);
        let mut personal = crate::dsrs::open_personal(&key, &lease.controller_id, &lease.dsr_id, &sealed)?;
        yielded.add_to(&mut personal.subject, &key, &lease)?;
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
        let keys = self.keys_for_receipts(&batch).await?;
        crash_point("queue.before_finish");
        let mut tx = self.db.begin("finish").await?;
        let mut dsrs = self.lock_dsrs(&mut tx, batch.iter().map(|f| f.lease.dsr_id.clone()).collect()).await?;
        let leased = self.lock_held(&mut tx, &batch).await?;
        let known: HashMap<&str, &Locked> = dsrs.iter().map(|dsr| (dsr.id.as_str(), dsr)).collect();

        let mut outcomes = Outcomes::at(self.now_ms());
        let (mut events, mut paces) = (Events::default(), Paces::at(self.now_ms()));
        let (mut dropped, mut seen) = (0, HashSet::new());
        let mut changed = HashSet::new();
        for finish in &batch {
            let lease = &finish.lease;
            let fence = (lease.step_id.as_str(), lease.token);
            let stopped = leased.get(&(fence.0.to_owned(), fence.1)).copied();
            let Some(stopped) = stopped.filter(|_| seen.insert(fence)) else {
                dropped += 1;
                tracing::warn!(step.id = %lease.step_id, "the outcome of {} came after its lease was lost and is dropped", lease.step_id);
                continue;
            };
            let dsr = known.get(lease.dsr_id.as_str());
            let wrapped = dsr.and_then(|dsr| dsr.wrapped_key.as_deref()).filter(|_| needs_key(finish));
            let key = keys.get(&lease.controller_id).zip(wrapped);
            let key = key.map(|(key, wrapped)| key.unwrap(&key_place(&lease.controller_id, &lease.dsr_id), wrapped));
            // What waits for its controller is not over: what is due later is parked by the advance below, and let go by it.
            let working = dsr.is_some_and(|dsr| !dsr.stage.is_final());
            let held = Held { stopped, told: dsr.is_some_and(|dsr| dsr.on_hold) };
            outcomes.add(finish, working, held, key.transpose()?.as_ref(), &mut events)?;
            paces.add(finish);
            // What was told, or not, moves no request.
            if lease.kind != WorkKind::Notify {
                changed.insert(lease.dsr_id.as_str());
            }
        }
        self.record_outcomes(&mut tx, outcomes, &mut dsrs).await?;
        dsrs.retain(|dsr| changed.contains(dsr.id.as_str()));
        self.advance_locked(&mut tx, dsrs, &mut events).await?;
        crash_point("queue.before_events");
        self.record_paces(&mut tx, paces).await?;
        self.append_all(&mut tx, "engine", events).await?;
        crash_point("queue.before_finish_commit");
        self.commit(tx).await?;
        crash_point("queue.after_finish");
        self.figures.finished(&batch, dropped);
        Ok(dropped)
    }

    /// The keys of the controllers for whose requests a receipt is to be sealed.
    async fn keys_for_receipts(&self, batch: &[Finish]) -> std::result::Result<HashMap<ControllerId, Arc<Key>>, Error> {
        let mut keys = HashMap::new();
        for finish in batch {
            let id = &finish.lease.controller_id;
            if needs_key(finish) && !keys.contains_key(id) {
                keys.insert(id.clone(), self.controller_key(id).await?);
            }
        }
        Ok(keys)
    }

    /// Locks the rows of these leases in the order of their ids; returns those that are still held, and whether a legal hold stops
    /// them.
    async fn lock_held(
        &self,
        tx: &mut Tx,
        batch: &[Finish],
    ) -> std::result::Result<HashMap<(String, i64), bool>, Error> {
        let mut fences = RowSet::default();
        for finish in batch {
            fences.push(row![finish.lease.step_id.as_str(), finish.lease.token]);
        }
        let rows = tx
            .rows(
                "-- lock_held\nSELECT s.id, s.token, s.held FROM {rows $1 AS v(id text, token int)} JOIN steps s ON s.id = v.id WHERE s.token = v.token AND s.q = 'run' ORDER BY s.id {for_update}",
                args![fences],
            )
            .await?;
        rows.iter().map(|row| Ok(((row.text("id")?, row.int("token")?), row.int("held")? != 0))).collect()
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
}

/// Whether a receipt is to be sealed.
const fn needs_key(finish: &Finish) -> bool {
    matches!(&finish.result, Result::Acted { receipt: Some(_), .. } | Result::External { .. })
}
