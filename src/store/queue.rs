//! The queue is the `steps` table: a worker leases due rows, works, and records what came of it if it still holds the lease.
//!
//! `q` is `ready`, `wait` (until `not_before`), `run` (until `lease_until`, by the database's clock) or NULL. Each lease gets
//! a new token; every later write names it, so that whoever lost a lease can write no more. The attempt is counted when the
//! lease is given, so that a step that kills its process is seen to have been tried.

use crate::db::{Arg, Row, Tx, args};
use crate::events::NewEvent;
use crate::sealed::place;
use crate::{Error, Key, Store, crash_point};
use redress_domain::stage::Stage;
use redress_domain::step::{DEATHS_MAX, Phase, RESIDUE_TRIES, StepState};
use redress_domain::{ControllerId, Correction, DsrId, StepId, Subject, SystemId, Verb};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What kind of work a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkKind {
    /// A step: a verb on a connected system.
    Step(Verb),
    /// Making the package and the certificate of a request.
    Answer,
    /// Telling the controller a status.
    Notify,
}

impl WorkKind {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "answer" => Some(WorkKind::Answer),
            "notify" => Some(WorkKind::Notify),
            verb => Verb::parse(verb).map(WorkKind::Step),
        }
    }

    /// Its spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            WorkKind::Step(verb) => verb.as_str(),
            WorkKind::Answer => "answer",
            WorkKind::Notify => "notify",
        }
    }
}

/// The right to do one piece of work until the lease ends. Holds ids only.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The row.
    pub step_id: StepId,
    /// Whose it is.
    pub controller_id: ControllerId,
    /// Of which request.
    pub dsr_id: DsrId,
    /// On which system, for a step.
    pub system_id: Option<SystemId>,
    /// The lane it was claimed from.
    pub lane: String,
    /// What it is.
    pub kind: WorkKind,
    /// Acting or verifying.
    pub phase: Phase,
    /// The fence: every write names it.
    pub token: i64,
    /// Failures in a row before this try.
    pub failures: u32,
    /// What is to be told, for [`WorkKind::Notify`].
    pub payload: Option<String>,
}

/// A lease with what is needed to do the work: personal data in clear.
#[derive(Debug)]
pub struct OpenWork {
    /// The right to do it.
    pub lease: Lease,
    /// The person.
    pub subject: Subject,
    /// What to change.
    pub corrections: Vec<Correction>,
    /// What an earlier run announced, or did.
    pub prior: Option<String>,
    /// The request's key, for artifacts and receipts.
    pub key: Arc<Key>,
}

/// What came of a piece of work.
#[derive(Debug, Clone)]
pub enum Result {
    /// The verb acted, or saw that there was nothing to do.
    Acted {
        /// [`StepState::Done`], [`StepState::NothingFound`] or [`StepState::Retained`].
        state: StepState,
        /// Records that are the person's.
        found: u64,
        /// Records changed.
        changed: u64,
        /// Records that stay.
        retained: u64,
        /// Evidence and reasons, for the certificate.
        result: Value,
        /// What was touched, for the second read.
        receipt: Option<String>,
        /// When the second read may be made, for verbs that need one (Unix ms).
        verify_at: Option<i64>,
    },
    /// The second read saw the effect.
    Verified {
        /// What it counted.
        proof: Value,
    },
    /// The second read still found something.
    Residue {
        /// How many records.
        remaining: u64,
        /// Where.
        proof: Value,
    },
    /// The system does it itself; ask again then (Unix ms).
    External {
        /// What to ask for.
        receipt: String,
        /// When.
        check_at: i64,
    },
    /// Not now.
    Later {
        /// When to try again (Unix ms).
        not_before: i64,
        /// Whether it counts as a failure.
        failed: bool,
        /// Whether a person should know already.
        attention: bool,
        /// A stable code.
        code: String,
        /// What happened and what to do.
        detail: String,
    },
    /// A person must do something.
    Attention {
        /// A stable code.
        code: String,
        /// What happened and what to do.
        detail: String,
    },
    /// Finished and nothing to keep (a status was told, or is given up).
    Dismissed {
        /// Whether it was achieved.
        achieved: bool,
        /// A stable code.
        code: String,
    },
}

/// One piece of work and what came of it.
#[derive(Debug)]
pub struct Finish {
    /// The lease under which it was done.
    pub lease: Lease,
    /// What came of it.
    pub result: Result,
}

/// A step as it is shown.
#[derive(Debug, Clone)]
pub struct StepRow {
    /// Its id.
    pub id: StepId,
    /// On which system.
    pub system_id: SystemId,
    /// The controller's name for the system.
    pub system: String,
    /// Its family.
    pub family: String,
    /// Its connector.
    pub connector: String,
    /// What is done.
    pub verb: Verb,
    /// Its state, an overlay such as `leased` included.
    pub status: StepState,
    /// Acting or verifying.
    pub phase: Phase,
    /// Records that are the person's.
    pub found: Option<i64>,
    /// Records changed.
    pub changed: Option<i64>,
    /// Evidence and reasons.
    pub result: Option<Value>,
    /// What the second read counted.
    pub proof: Option<Value>,
    /// How often it was tried, second reads not counted.
    pub attempts: i64,
    /// When it is tried again (Unix ms).
    pub next_attempt_at: Option<i64>,
    /// When it acted (Unix ms).
    pub acted_at: Option<i64>,
    /// When the second read saw the effect (Unix ms).
    pub verified_at: Option<i64>,
    /// What is wrong: code and sentence.
    pub error: Option<(String, String)>,
}

/// A row over which so many workers died is quarantined by the next death.
const SUSPECT: i64 = DEATHS_MAX as i64 - 1;

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "steps", column };

/// A row of `steps` for which nothing more is done since its request ended. What is to be told is told even then.
const OVER: &str =
    "(verb <> 'notify' AND EXISTS (SELECT 1 FROM dsrs d WHERE d.id = steps.dsr_id AND d.closed_at IS NOT NULL))";

fn read_lease(row: &Row) -> std::result::Result<Lease, Error> {
    Ok(Lease {
        step_id: StepId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        controller_id: ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?,
        dsr_id: DsrId::parse(&row.text("dsr_id")?).map_err(|_| INCONSISTENT("dsr_id"))?,
        system_id: row
            .opt_text("system_id")?
            .map(|t| SystemId::parse(&t))
            .transpose()
            .map_err(|_| INCONSISTENT("system_id"))?,
        lane: row.text("lane")?,
        kind: WorkKind::parse(&row.text("verb")?).ok_or(INCONSISTENT("verb"))?,
        phase: Phase::parse(&row.text("phase")?).ok_or(INCONSISTENT("phase"))?,
        token: row.int("token")?,
        failures: row.int("failures")?.clamp(0, 1_000) as u32,
        payload: row.opt_text("payload")?,
    })
}

pub(crate) fn read_step(row: &Row) -> std::result::Result<StepRow, Error> {
    let state = StepState::parse(&row.text("state")?).ok_or(INCONSISTENT("state"))?;
    let q = row.opt_text("q")?;
    let phase = Phase::parse(&row.text("phase")?).ok_or(INCONSISTENT("phase"))?;
    let status = match q.as_deref() {
        _ if row.int("attention")? != 0 => StepState::NeedsAttention,
        Some("run") if !state.has_acted() => StepState::Leased,
        _ => state,
    };
    let json = |column| -> std::result::Result<Option<Value>, Error> {
        row.opt_text(column)?.map(|t| serde_json::from_str(&t)).transpose().map_err(|_| INCONSISTENT(column))
    };
    Ok(StepRow {
        id: StepId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        system_id: SystemId::parse(&row.text("system_id")?).map_err(|_| INCONSISTENT("system_id"))?,
        system: row.text("system_name")?,
        family: row.text("system_family")?,
        connector: row.text("system_connector")?,
        verb: Verb::parse(&row.text("verb")?).ok_or(INCONSISTENT("verb"))?,
        status,
        phase,
        found: row.opt_int("found")?,
        changed: row.opt_int("changed")?,
        result: json("result")?,
        proof: json("proof")?,
        attempts: row.int("attempts")?,
        next_attempt_at: (q.as_deref() == Some("wait")).then(|| row.int("not_before")).transpose()?,
        acted_at: row.opt_int("acted_at")?,
        verified_at: row.opt_int("verified_at")?,
        error: row
            .opt_text("error_code")?
            .map(|c| Ok::<_, Error>((c, row.opt_text("error_detail")?.unwrap_or_default())))
            .transpose()?,
    })
}

/// `$first, $first+1, …` for an IN list.
pub(crate) fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|i| format!("${i}")).collect::<Vec<_>>().join(", ")
}

fn receipt_place(lease: &Lease) -> Vec<u8> {
    place(&[lease.controller_id.as_str(), lease.dsr_id.as_str(), lease.step_id.as_str(), "receipt"])
}

impl Store {
    /// Leases the due rows of the lane whose most urgent row is due first, at most `batch`, all of one verb and phase.
    /// Lanes in `busy` and paused systems are passed over.
    ///
    /// A row over which one more death would be the last is a suspect: it runs alone, not in a batch and one at a time in a
    /// process, so that what is quarantined in the end is what killed the workers and not its neighbours.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim(
        &self,
        owner: &str,
        busy: &[String],
        batch: usize,
        lease_ms: i64,
    ) -> std::result::Result<Vec<Lease>, Error> {
        let mut passed = busy.to_vec();
        loop {
            let peek = format!(
                "-- claim_peek\nSELECT lane, verb, phase, deaths FROM steps WHERE q = 'ready' AND (deaths < $1 OR NOT EXISTS (SELECT 1 FROM steps r WHERE r.q = 'run' AND r.owner = $2 AND r.deaths >= $1)) AND lane NOT IN (SELECT id FROM systems WHERE paused = 1){} ORDER BY due_at, id LIMIT 1",
                if passed.is_empty() {
                    String::new()
                } else {
                    format!(" AND lane NOT IN ({})", places(3, passed.len()))
                }
            );
            let mut arguments = args![SUSPECT, owner];
            arguments.extend(passed.iter().map(Arg::from));
            let Some(next) = self.db.row(&peek, arguments).await? else { return Ok(Vec::new()) };
            let lane = next.text("lane")?;
            let (batch, alike) =
                if next.int("deaths")? < SUSPECT { (batch, "deaths < $7") } else { (batch.min(1), "deaths >= $7") };
            let mut tx = self.db.begin("claim").await?;
            // Picked first and once: a plan that ran the inner query again would take more than the batch.
            let rows = tx
                .rows(
                    &format!("-- claim\nWITH picked AS MATERIALIZED (SELECT id FROM steps WHERE q = 'ready' AND lane = $3 AND verb = $4 AND phase = $5 AND {alike} ORDER BY due_at, id LIMIT $6 {{skip_locked}}) UPDATE steps SET q = 'run', owner = $1, token = token + 1, attempts = attempts + CASE WHEN phase = 'act' THEN 1 ELSE 0 END, lease_until = {{now}} + $2 WHERE id IN (SELECT id FROM picked) RETURNING id, controller_id, dsr_id, system_id, lane, verb, phase, token, failures, payload"),
                    args![owner, lease_ms, lane.as_str(), next.text("verb")?, next.text("phase")?, batch as i64, SUSPECT],
                )
                .await?;
            crash_point("queue.before_claim_commit");
            self.commit(tx).await?;
            crash_point("queue.after_claim");
            if rows.is_empty() && batch > 0 {
                // Somebody else was faster here; there may be work in another lane.
                passed.push(lane);
                continue;
            }
            let mut leases: Vec<Lease> = rows.iter().map(read_lease).collect::<std::result::Result<_, _>>()?;
            leases.sort_by(|a, b| a.step_id.cmp(&b.step_id));
            return Ok(leases);
        }
    }

    /// Lets waiting rows whose time has come run; returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn promote(&self) -> std::result::Result<u64, Error> {
        let due = self
            .db
            .row(
                "-- promote_peek\nSELECT 1 AS due FROM steps WHERE q = 'wait' AND not_before <= $1 LIMIT 1",
                args![self.now_ms()],
            )
            .await?;
        if due.is_none() {
            return Ok(0);
        }
        let mut tx = self.db.begin("promote").await?;
        let n = tx
            .exec(
                "-- promote\nWITH picked AS MATERIALIZED (SELECT id FROM steps WHERE q = 'wait' AND not_before <= $1 ORDER BY not_before LIMIT 1000 {skip_locked}) UPDATE steps SET q = 'ready' WHERE id IN (SELECT id FROM picked)",
                args![self.now_ms()],
            )
            .await?;
        self.commit(tx).await?;
        Ok(n)
    }

    /// The next moment at which a waiting row's time comes (Unix ms).
    ///
    /// # Errors
    /// The database is away.
    pub async fn next_wait(&self) -> std::result::Result<Option<i64>, Error> {
        let row = self.db.row("-- next_wait\nSELECT MIN(not_before) AS at FROM steps WHERE q = 'wait'", vec![]).await?;
        row.map_or(Ok(None), |r| r.opt_int("at"))
    }

    /// Lengthens the leases of these rows as far as they are still ours, in the order in which [`Store::finish`] takes them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn renew(&self, owner: &str, ids: &[StepId], lease_ms: i64) -> std::result::Result<u64, Error> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut tx = self.db.begin("renew").await?;
        let mut arguments = args![lease_ms, owner];
        arguments.extend(ids.iter().map(|id| Arg::from(id.as_str())));
        let n = tx
            .exec(
                &format!(
                    "-- renew\nUPDATE steps SET lease_until = {{now}} + $1 WHERE id IN (SELECT id FROM steps WHERE q = 'run' AND owner = $2 AND id IN ({}) ORDER BY id {{for_update}})",
                    places(3, ids.len())
                ),
                arguments,
            )
            .await?;
        self.commit(tx).await?;
        Ok(n)
    }

    /// Gives back rows that were leased but not begun, as if they never had been. What belongs to a request that ended
    /// meanwhile does not return to the queue.
    ///
    /// # Errors
    /// The database is away.
    pub async fn release(&self, leases: &[Lease]) -> std::result::Result<(), Error> {
        if leases.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin("release").await?;
        let dsr_ids: Vec<DsrId> = leases.iter().map(|l| l.dsr_id.clone()).collect();
        self.lock_stages(&mut tx, &dsr_ids).await?;
        for lease in leases {
            tx.exec(
                &format!("-- release\nUPDATE steps SET q = CASE WHEN {OVER} THEN NULL ELSE 'ready' END, attempts = attempts - CASE WHEN phase = 'act' THEN 1 ELSE 0 END, token = token + 1, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'"),
                args![lease.step_id.as_str(), lease.token],
            )
            .await?;
            tx.wakes.push(lease.lane.clone());
        }
        self.commit(tx).await
    }

    /// Gives back whatever this owner still has leased when it ends: begun or not, another one takes it over at once, and
    /// what runs on here can write no more. Nobody died, so no death is counted. Returns how many.
    ///
    /// # Errors
    /// The database is away; the leases run out.
    pub async fn hand_back(&self, owner: &str) -> std::result::Result<u64, Error> {
        let mut tx = self.db.begin("hand back").await?;
        // Whoever withdraws one of these requests right now is waited for.
        tx.rows(
            "-- lock_handed_back\nSELECT id FROM dsrs WHERE id IN (SELECT dsr_id FROM steps WHERE q = 'run' AND owner = $1) ORDER BY id {for_update}",
            args![owner],
        )
        .await?;
        let rows = tx
            .rows(
                &format!("-- hand_back\nUPDATE steps SET q = CASE WHEN {OVER} THEN NULL ELSE 'ready' END, token = token + 1, lease_until = NULL WHERE id IN (SELECT id FROM steps WHERE q = 'run' AND owner = $1 ORDER BY id {{for_update}}) RETURNING lane"),
                args![owner],
            )
            .await?;
        for row in &rows {
            tx.wakes.push(row.text("lane")?);
        }
        self.commit(tx).await?;
        Ok(rows.len() as u64)
    }

    /// Takes back leases that ran out: their worker died or lost touch. A row over which workers died three times is
    /// quarantined for a person to look at; what belongs to a request that ended meanwhile rests. Returns how many were taken
    /// back.
    ///
    /// # Errors
    /// The database is away.
    pub async fn expire_leases(&self) -> std::result::Result<u64, Error> {
        let due = self
            .db
            .rows(
                "-- expire_peek\nSELECT id, dsr_id FROM steps WHERE q = 'run' AND lease_until < {now} ORDER BY id LIMIT 500",
                vec![],
            )
            .await?;
        if due.is_empty() {
            return Ok(0);
        }
        let mut dsr_ids = Vec::new();
        let mut arguments = args![i64::from(DEATHS_MAX)];
        for row in &due {
            dsr_ids.push(DsrId::parse(&row.text("dsr_id")?).map_err(|_| INCONSISTENT("dsr_id"))?);
            arguments.push(row.text("id")?.into());
        }
        let mut tx = self.db.begin("expire leases").await?;
        // Requests before steps, as everywhere: whoever finishes one of these right now is waited for.
        self.lock_stages(&mut tx, &dsr_ids).await?;
        let rows = tx
            .rows(
                &format!("-- expire_leases\nUPDATE steps SET q = CASE WHEN deaths + 1 >= $1 OR {OVER} THEN NULL ELSE 'ready' END, deaths = deaths + 1, token = token + 1, lease_until = NULL, attention = CASE WHEN {OVER} THEN 0 WHEN deaths + 1 >= $1 THEN 1 ELSE attention END, error_code = CASE WHEN deaths + 1 >= $1 THEN 'quarantined' ELSE error_code END, error_detail = CASE WHEN deaths + 1 >= $1 THEN 'the worker died or stalled three times over this step, so it is not tried again by itself; look at the workers'' logs, then retry the request' ELSE error_detail END WHERE id IN ({}) AND q = 'run' AND lease_until < {{now}} RETURNING id, controller_id, dsr_id, system_id, lane, verb, phase, token, failures, payload, deaths", places(2, due.len())),
                arguments,
            )
            .await?;
        let mut events = Events::default();
        let mut touched = Vec::new();
        for row in &rows {
            let lease = read_lease(row)?;
            let deaths = row.int("deaths")?;
            tracing::warn!(step.id = %lease.step_id, deaths, "the lease on {} ran out", lease.step_id);
            if deaths >= i64::from(DEATHS_MAX) {
                events.push(
                    &lease.controller_id,
                    NewEvent::new(
                        Some(&lease.dsr_id),
                        "step_quarantined",
                        json!({ "step": lease.step_id, "deaths": deaths }),
                    ),
                );
                if lease.kind != WorkKind::Notify {
                    touched.push(lease.dsr_id.clone());
                }
            }
            tx.wakes.push(lease.lane);
        }
        self.advance_all(&mut tx, touched, &mut events).await?;
        self.append_all(&mut tx, "engine", events).await?;
        self.commit(tx).await?;
        Ok(rows.len() as u64)
    }

    /// Opens what is sealed for these leases, which are of one batch. A lease whose request was purged meanwhile is left out,
    /// and so is one whose row is damaged: its neighbours go on, and it is quarantined when its lease ran out three times.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn open_work(&self, leases: Vec<Lease>) -> std::result::Result<Vec<OpenWork>, Error> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = leases.iter().map(|l| Arg::from(l.step_id.as_str())).collect();
        let rows = self
            .db
            .rows(
                &format!(
                    "-- open_work\nSELECT s.id, s.receipt, d.wrapped_key, d.sealed FROM steps s JOIN dsrs d ON d.id = s.dsr_id AND d.controller_id = s.controller_id WHERE s.id IN ({})",
                    places(1, leases.len())
                ),
                arguments,
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

    /// Records what a step is about to change, if its lease holds and its request is still being worked on.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]: do nothing.
    pub async fn intend(&self, lease: &Lease, key: &Key, receipt: &str) -> std::result::Result<(), Error> {
        let sealed = key.seal(&receipt_place(lease), receipt.as_bytes())?;
        let mut tx = self.db.begin("intend").await?;
        let written = tx
            .exec(
                "-- intend\nUPDATE steps SET receipt = $3 WHERE id = $1 AND token = $2 AND q = 'run' AND EXISTS (SELECT 1 FROM dsrs d WHERE d.id = steps.dsr_id AND d.stage IN ('in_progress', 'verifying'))",
                args![lease.step_id.as_str(), lease.token, sealed],
            )
            .await?;
        if written != 1 {
            return Err(Error::LeaseLost);
        }
        crash_point("queue.before_intend_commit");
        self.commit(tx).await?;
        crash_point("queue.after_intend");
        Ok(())
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
        for (finish, key) in batch.iter().zip(keys) {
            let working = stages.get(finish.lease.dsr_id.as_str()).is_some_and(|s| s.is_working());
            if self.finish_one(&mut tx, finish, key.as_deref(), working, &mut events).await? {
                crash_point("queue.between_finishes");
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
        self.append_all(&mut tx, "engine", events).await?;
        crash_point("queue.before_finish_commit");
        self.commit(tx).await?;
        crash_point("queue.after_finish");
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
        let arguments = ids.iter().map(|id| Arg::from(id.as_str())).collect();
        let rows = tx
            .rows(
                &format!(
                    "-- lock_dsrs\nSELECT id, stage FROM dsrs WHERE id IN ({}) ORDER BY id {{for_update}}",
                    places(1, ids.len())
                ),
                arguments,
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
                    "-- finish_acted\nUPDATE steps SET state = $3, phase = $4, q = $5, not_before = $6, found = $7, changed = $8, retained = $9, result = $10, receipt = COALESCE($11, receipt), acted_at = $12, verified_at = $13, failures = 0, deaths = 0, attention = 0, error_code = NULL, error_detail = NULL, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![
                        id, token, state.as_str(), phase.as_str(), q, verify_at.unwrap_or(now), *found as i64, *changed as i64, *retained as i64, result.to_string(), receipt, now, verified_at
                    ],
                )
                .await?
            }
            Result::Verified { proof } => {
                pending.push(event("step_verified", json!({ "step": lease.step_id, "system": system, "verb": verb })));
                tx.exec(
                    "-- finish_verified\nUPDATE steps SET state = CASE WHEN retained > 0 THEN 'retained' ELSE 'verified' END, q = NULL, proof = $3, verified_at = $4, failures = 0, deaths = 0, attention = 0, error_code = NULL, error_detail = NULL, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
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
                    "-- finish_residue\nUPDATE steps SET residues = residues + 1, deaths = 0, proof = $3, q = CASE WHEN residues + 1 >= $4 OR $6 = 0 THEN NULL ELSE 'ready' END, state = CASE WHEN residues + 1 >= $4 THEN state ELSE 'queued' END, phase = CASE WHEN residues + 1 >= $4 THEN phase ELSE 'act' END, attention = CASE WHEN residues + 1 >= $4 AND $6 = 1 THEN 1 ELSE 0 END, error_code = 'residue', error_detail = $5, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, token, proof.to_string(), i64::from(RESIDUE_TRIES), detail, alive],
                )
                .await?
            }
            Result::External { receipt, check_at } => {
                let receipt = seal(receipt)?;
                tx.exec(
                    "-- finish_external\nUPDATE steps SET state = 'external', q = $3, not_before = $4, receipt = COALESCE($5, receipt), failures = 0, deaths = 0, attention = 0, error_code = NULL, error_detail = NULL, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, token, alive.then_some("wait"), *check_at, receipt],
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
                // In its second read a step stays done; before that it is waiting.
                tx.exec(
                    "-- finish_later\nUPDATE steps SET state = CASE WHEN phase = 'act' THEN 'waiting' ELSE state END, q = $3, not_before = $4, failures = failures + $5, deaths = 0, attention = $6, error_code = $7, error_detail = $8, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, token, alive.then_some("wait"), *not_before, *failed, *attention && alive, code, detail],
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

    /// Lets every step of a system that failed and waits for a later try, or for a person, run at once. What waits for
    /// another reason (a second read, a limit, the system's own work) keeps its time, and what belongs to a request that
    /// ended rests.
    pub(crate) async fn requeue_system(&self, tx: &mut Tx, system_id: &SystemId) -> std::result::Result<(), Error> {
        const STUCK: &str = "system_id = $1 AND ((q = 'wait' AND failures > 0) OR (q IS NULL AND attention = 1))";
        let arguments = || args![system_id.as_str(), self.now_ms()];
        tx.rows(
            &format!("-- lock_stuck\nSELECT id FROM dsrs WHERE closed_at IS NULL AND id IN (SELECT dsr_id FROM steps WHERE {STUCK}) ORDER BY id {{for_update}}"),
            args![system_id.as_str()],
        )
        .await?;
        // The overlay `needs_attention` is taken away by the next advance.
        tx.exec(
            &format!("-- wake_stuck\nUPDATE dsrs SET wake_at = $2 WHERE closed_at IS NULL AND id IN (SELECT dsr_id FROM steps WHERE {STUCK})"),
            arguments(),
        )
        .await?;
        tx.exec(
            &format!("-- requeue_system\nUPDATE steps SET q = 'ready', not_before = $2, failures = 0, deaths = 0, residues = 0, attention = 0, state = CASE WHEN error_code = 'residue' THEN 'queued' ELSE state END, phase = CASE WHEN error_code = 'residue' THEN 'act' ELSE phase END WHERE {STUCK} AND NOT {OVER}"),
            arguments(),
        )
        .await
        .map(drop)
    }

    /// Makes the open steps of a system act anew, because its definition is another one now: what was done under the old
    /// one proves nothing for the new one, and must not be verified against it. With `elsewhere` the system itself may be
    /// another one, so what was touched in the old one is forgotten too.
    pub(crate) async fn restart_system(
        &self,
        tx: &mut Tx,
        system_id: &SystemId,
        elsewhere: bool,
    ) -> std::result::Result<(), Error> {
        const BEGUN: &str = "system_id = $1 AND state NOT IN ('verified', 'nothing_found', 'retained') AND (phase = 'verify' OR q = 'run' OR receipt IS NOT NULL)";
        let arguments = || args![system_id.as_str(), self.now_ms()];
        tx.rows(
            &format!("-- lock_begun\nSELECT id FROM dsrs WHERE closed_at IS NULL AND id IN (SELECT dsr_id FROM steps WHERE {BEGUN}) ORDER BY id {{for_update}}"),
            args![system_id.as_str()],
        )
        .await?;
        tx.exec(
            &format!("-- wake_begun\nUPDATE dsrs SET wake_at = $2 WHERE closed_at IS NULL AND id IN (SELECT dsr_id FROM steps WHERE {BEGUN})"),
            arguments(),
        )
        .await?;
        let receipt = if elsewhere { "NULL" } else { "receipt" };
        // Whoever is at one of these right now loses the lease: what came of it was done under the old definition. An
        // export that is done already stays done.
        tx.exec(
            &format!("-- restart_system\nUPDATE steps SET q = 'ready', phase = 'act', state = 'queued', token = token + 1, not_before = $2, failures = 0, deaths = 0, residues = 0, attention = 0, error_code = NULL, error_detail = NULL, lease_until = NULL, receipt = {receipt} WHERE {BEGUN} AND (phase = 'verify' OR q IS NOT NULL OR attention = 1) AND NOT {OVER}"),
            arguments(),
        )
        .await
        .map(drop)
    }

    /// How many rows are ready, waiting and running, and how many need a person: for metrics and readiness.
    ///
    /// # Errors
    /// The database is away.
    pub async fn queue_depth(&self) -> std::result::Result<BTreeMap<String, i64>, Error> {
        let rows = self
            .db
            .rows(
                "-- queue_depth\nSELECT q AS name, COUNT(*) AS n FROM steps WHERE q IS NOT NULL GROUP BY q UNION ALL SELECT 'attention' AS name, COUNT(*) AS n FROM steps WHERE attention = 1",
                vec![],
            )
            .await?;
        rows.iter().map(|row| Ok((row.text("name")?, row.int("n")?))).collect()
    }
}

/// Events of one transaction, gathered by controller so that each log is locked once, in one order, at the end.
#[derive(Debug, Default)]
pub(crate) struct Events(BTreeMap<ControllerId, Vec<NewEvent>>);

impl Events {
    pub(crate) fn push(&mut self, controller_id: &ControllerId, event: NewEvent) {
        self.0.entry(controller_id.clone()).or_default().push(event);
    }
}

impl Store {
    pub(crate) async fn append_all(&self, tx: &mut Tx, actor: &str, events: Events) -> std::result::Result<(), Error> {
        for (controller_id, events) in events.0 {
            self.append_events(tx, &controller_id, actor, events).await?;
        }
        Ok(())
    }
}
