//! Advancing a request asks the plan what is next and records it: events, stage, released steps, notices, in the caller's transaction.

use crate::db::{Arg, Row, Tx, args};
use crate::dsrs::out_of_scope_json;
use crate::events::Events;
use crate::events::NewEvent;
use crate::work::places;
use crate::{Error, Store, crash_point};
use redress_domain::plan::{self, Action, FanOut, Policy, Situation};
use redress_domain::stage::{Event, Stage};
use redress_domain::step::StepState;
use redress_domain::{ControllerId, DsrId, StepId, Verb};
use serde_json::json;
use std::collections::BTreeMap;

/// What a person decides about a request.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The work may begin, or the result may be handed over.
    Approve,
    /// The controller takes the request back.
    Withdraw,
    /// The controller refuses it, for this reason code.
    Reject(String),
    /// What needed attention is mended: try again. The plan replaces an empty one.
    Retry(FanOut),
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };

/// A request as the plan sees it, locked.
struct Locked {
    id: DsrId,
    controller_id: ControllerId,
    stage: Stage,
    status: String,
    policy: Policy,
    approved: bool,
    cooling_off_until: Option<i64>,
    reviewed: bool,
    answered: bool,
    due_before: i64,
    has_callback: bool,
}

fn read_locked(row: &Row) -> Result<Locked, Error> {
    let (approval, cooling_off_ms, review) =
        serde_json::from_str(&row.text("policy")?).map_err(|_| INCONSISTENT("policy"))?;
    Ok(Locked {
        id: DsrId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        controller_id: ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?,
        stage: Stage::parse(&row.text("stage")?).ok_or(INCONSISTENT("stage"))?,
        status: row.text("status")?,
        policy: Policy { approval, cooling_off_ms, review },
        approved: row.opt_int("approved_at")?.is_some(),
        cooling_off_until: row.opt_int("cooling_off_until")?,
        reviewed: row.opt_int("reviewed_at")?.is_some(),
        answered: row.opt_int("answered_at")?.is_some(),
        due_before: row.int("due_before")?,
        has_callback: row.int("has_callback")? != 0,
    })
}

/// What of a step decides what happens next to its request.
struct StepFacts {
    state: StepState,
    verb: Verb,
    attention: bool,
    code: String,
    system: String,
}

const LOCK: &str = "SELECT id, controller_id, stage, status, policy, approved_at, cooling_off_until, reviewed_at, answered_at, due_before, has_callback FROM dsrs";

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
        for row in &rows {
            tx.exec(
                "-- reconcile_wake\nUPDATE dsrs SET wake_at = $2 WHERE id = $1 AND closed_at IS NULL",
                args![row.text("id")?, self.now_ms()],
            )
            .await?;
        }
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
        let systems = self.systems(controller_id).await?;
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
                    "-- cancel_steps\nUPDATE steps SET q = NULL, token = token + 1, attention = 0 WHERE dsr_id = $1 AND verb <> 'notify' AND (q IN ('ready', 'wait', 'held') OR q IS NULL)",
                    args![id.as_str()],
                )
                .await?;
                self.end(&mut tx, &dsr, stage).await?;
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
        systems: &[crate::SystemRow],
    ) -> Result<(), Error> {
        let steps = self.planned_steps(fan_out, systems)?;
        if steps.is_empty() {
            return Err(Error::Conflict(
                "there is still no connected system that is instructed for this type of request".into(),
            ));
        }
        self.insert_steps(tx, &dsr.controller_id, &dsr.id, dsr.due_before, &steps).await?;
        tx.exec(
            "-- replan\nUPDATE dsrs SET out_of_scope = $2 WHERE id = $1",
            args![dsr.id.as_str(), out_of_scope_json(&fan_out.out_of_scope).to_string()],
        )
        .await
        .map(drop)
    }

    /// Advances these requests as far as they go.
    pub(crate) async fn advance_all(&self, tx: &mut Tx, mut ids: Vec<DsrId>, events: &mut Events) -> Result<(), Error> {
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            return Ok(());
        }
        let arguments: Vec<Arg> = ids.iter().map(|id| Arg::from(id.as_str())).collect();
        let list = places(1, ids.len());
        let rows = tx
            .rows(&format!("-- lock_all\n{LOCK} WHERE id IN ({list}) ORDER BY id {{for_update}}"), arguments.clone())
            .await?;
        let mut steps: BTreeMap<String, Vec<StepFacts>> = BTreeMap::new();
        let step_rows = tx
            .rows(
                &format!(
                    "-- steps_of_all\nSELECT st.dsr_id, st.state, st.verb, st.attention, COALESCE(st.error_code, '') AS code, COALESCE(sy.name, '') AS system FROM steps st LEFT JOIN systems sy ON sy.id = st.system_id WHERE st.dsr_id IN ({list}) AND (st.system_id IS NOT NULL OR st.verb = 'answer') ORDER BY st.id"
                ),
                arguments,
            )
            .await?;
        let mut answers = std::collections::BTreeSet::new();
        for row in &step_rows {
            let dsr_id = row.text("dsr_id")?;
            let verb = row.text("verb")?;
            let attention = row.int("attention")? != 0;
            if verb == "answer" {
                // An answer that cannot be made needs attention like a step, but is not one.
                if attention {
                    answers.insert(dsr_id);
                }
                continue;
            }
            let state =
                StepState::parse(&row.text("state")?).ok_or(Error::Inconsistent { table: "steps", column: "state" })?;
            let verb = Verb::parse(&verb).ok_or(Error::Inconsistent { table: "steps", column: "verb" })?;
            steps.entry(dsr_id).or_default().push(StepFacts {
                state,
                verb,
                attention,
                code: row.text("code")?,
                system: row.text("system")?,
            });
        }
        for row in &rows {
            let dsr = read_locked(row)?;
            let own = steps.remove(dsr.id.as_str()).unwrap_or_default();
            self.advance_one(tx, dsr, &own, answers.contains(&row.text("id")?), events).await?;
        }
        Ok(())
    }

    async fn advance_one(
        &self,
        tx: &mut Tx,
        mut dsr: Locked,
        steps: &[StepFacts],
        answer_stuck: bool,
        events: &mut Events,
    ) -> Result<(), Error> {
        let now = self.now_ms();
        let pairs: Vec<(StepState, Verb)> = steps.iter().map(|s| (s.state, s.verb)).collect();
        let mut wake_at = None;
        let mut told = Vec::new();
        // Each event leads to another stage and no stage is met twice, so this ends.
        for _ in 0..Stage::ALL.len() {
            let action = plan::next(&Situation {
                stage: dsr.stage,
                policy: dsr.policy,
                steps: &pairs,
                approved: dsr.approved,
                cooling_off_until: dsr.cooling_off_until,
                reviewed: dsr.reviewed,
                answered: dsr.answered,
                now,
            });
            match action {
                Action::Record(event) => {
                    dsr.stage = dsr.stage.after(event).map_err(|illegal| Error::Conflict(illegal.to_string()))?;
                    events.push(
                        &dsr.controller_id,
                        NewEvent::new(Some(&dsr.id), event.as_str(), json!({ "stage": dsr.stage })),
                    );
                    told.push(dsr.stage);
                    match event {
                        Event::CoolingOffBegan => {
                            let until = now + dsr.policy.cooling_off_ms;
                            dsr.cooling_off_until = dsr.cooling_off_until.or(Some(until));
                        }
                        Event::WorkBegan => self.release_steps(tx, &dsr.id).await?,
                        Event::Completed | Event::PartiallyCompleted => {
                            let stage = dsr.stage;
                            self.end(tx, &dsr, stage).await?;
                        }
                        _ => {}
                    }
                }
                Action::WakeAt(at) => {
                    wake_at = Some(at);
                    break;
                }
                Action::Answer => {
                    self.insert_answer(tx, &dsr).await?;
                    break;
                }
                Action::Wait => break,
            }
        }
        if dsr.stage == Stage::AwaitingController {
            self.hold_steps(tx, &dsr.id).await?;
        }
        let attention = if dsr.stage.is_final() { None } else { attention_of(steps, answer_stuck) };
        let status = if attention.is_some() { "needs_attention" } else { dsr.stage.as_str() };
        tx.exec(
            // What begins here, a wait for somebody or a need for attention, is for the watch to see at once.
            "-- advanced\nUPDATE dsrs SET stage = $2, status = $3, attention = $4, cooling_off_until = $5, wake_at = $6, waiting_since = CASE WHEN $7 = 0 THEN NULL WHEN stage = $2 THEN COALESCE(waiting_since, $8) ELSE $8 END, attention_since = CASE WHEN $4 IS NULL THEN NULL ELSE COALESCE(attention_since, $8) END, watch_at = CASE WHEN ($7 = 1 AND (stage <> $2 OR waiting_since IS NULL)) OR ($4 IS NOT NULL AND attention_since IS NULL) THEN $8 ELSE watch_at END, version = version + 1 WHERE id = $1",
            args![
                dsr.id.as_str(), dsr.stage.as_str(), status, attention, dsr.cooling_off_until, wake_at, dsr.stage.waits_for_somebody(), now
            ],
        )
        .await?;
        if dsr.has_callback {
            let mut statuses: Vec<&str> = told.iter().map(|s| s.as_str()).collect();
            if status != dsr.status && statuses.last() != Some(&status) {
                statuses.push(status);
            }
            for status in statuses {
                self.insert_notice(tx, &dsr.controller_id, &dsr.id, dsr.due_before, status).await?;
            }
        }
        Ok(())
    }

    /// Parks what could run: nothing is done while somebody is waited for.
    async fn hold_steps(&self, tx: &mut Tx, dsr_id: &DsrId) -> Result<(), Error> {
        tx.exec(
            "-- hold_steps\nUPDATE steps SET q = 'held' WHERE dsr_id = $1 AND verb <> 'notify' AND q IN ('ready', 'wait')",
            args![dsr_id.as_str()],
        )
        .await
        .map(drop)
    }

    async fn release_steps(&self, tx: &mut Tx, dsr_id: &DsrId) -> Result<(), Error> {
        let rows = tx
            .rows(
                "-- release_steps\nUPDATE steps SET q = 'ready', not_before = $2 WHERE dsr_id = $1 AND q IS NULL AND state = 'queued' AND system_id IS NOT NULL RETURNING lane",
                args![dsr_id.as_str(), self.now_ms()],
            )
            .await?;
        for row in rows {
            tx.wakes.push(row.text("lane")?);
        }
        // What was parked keeps its time.
        tx.exec("-- unhold_steps\nUPDATE steps SET q = 'wait' WHERE dsr_id = $1 AND q = 'held'", args![dsr_id.as_str()])
            .await
            .map(drop)
    }

    async fn insert_answer(&self, tx: &mut Tx, dsr: &Locked) -> Result<(), Error> {
        let (ms, bytes) = self.id_parts()?;
        tx.exec(
            "-- insert_answer\nINSERT INTO steps (id, controller_id, dsr_id, lane, verb, phase, state, q, due_at, not_before, idem, created_at) VALUES ($1, $2, $3, 'answer', 'answer', 'act', 'queued', 'ready', $4, $5, $6, $5) ON CONFLICT (idem) DO NOTHING",
            args![
                StepId::from_parts(ms, bytes).as_str(), dsr.controller_id.as_str(), dsr.id.as_str(), dsr.due_before, self.now_ms(), format!("{}:answer", dsr.id)
            ],
        )
        .await?;
        tx.wakes.push("answer".into());
        Ok(())
    }

    /// Leaves word for the controller that the request has this status now.
    pub(crate) async fn insert_notice(
        &self,
        tx: &mut Tx,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        due_at: i64,
        status: &str,
    ) -> Result<(), Error> {
        let (ms, bytes) = self.id_parts()?;
        let id = StepId::from_parts(ms, bytes);
        let payload = json!({ "status": status, "at": self.now_ms() }).to_string();
        tx.exec(
            "-- insert_notice\nINSERT INTO steps (id, controller_id, dsr_id, lane, verb, phase, state, q, due_at, not_before, payload, idem, created_at) VALUES ($1, $2, $3, 'notify', 'notify', 'act', 'queued', 'ready', $4, $5, $6, $1, $5)",
            args![id.as_str(), controller_id.as_str(), dsr_id.as_str(), due_at, self.now_ms(), payload],
        )
        .await?;
        tx.wakes.push("notify".into());
        Ok(())
    }

    /// Ends a request: its clock stops, and the day is set on which its personal data are destroyed.
    async fn end(&self, tx: &mut Tx, dsr: &Locked, stage: Stage) -> Result<(), Error> {
        let now = self.now_ms();
        tx.exec(
            "-- close\nUPDATE dsrs SET stage = $2, status = $2, closed_at = $3, attention = NULL, purge_at = $4, wake_at = NULL, watch_at = CASE WHEN watch_at <= $3 THEN watch_at ELSE NULL END WHERE id = $1 AND closed_at IS NULL",
            args![dsr.id.as_str(), stage.as_str(), now, now + self.keep_closed_ms],
        )
        .await?;
        if dsr.has_callback && matches!(stage, Stage::Withdrawn | Stage::Rejected) {
            self.insert_notice(tx, &dsr.controller_id, &dsr.id, dsr.due_before, stage.as_str()).await?;
        }
        Ok(())
    }
}

/// What of a request needs a person, in words, naming systems and codes.
fn attention_of(steps: &[StepFacts], answer_stuck: bool) -> Option<String> {
    if steps.is_empty() {
        return Some(
            "no connected system is instructed for this type of request: connect one (redress apply) and retry, or reject the request".into(),
        );
    }
    let mut stuck: Vec<String> =
        steps.iter().filter(|s| s.attention).map(|s| format!("{}: {}", s.system, s.code)).collect();
    if answer_stuck {
        stuck.push("the answer could not be made".into());
    }
    (!stuck.is_empty()).then(|| stuck.join("; "))
}
