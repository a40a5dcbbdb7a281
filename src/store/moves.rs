//! A move is what the plan makes of a request: decided in memory for all requests of a transaction, then written in a handful of statements.

use crate::db::{Row, Tx, args, texts};
use crate::events::{Events, NewEvent};
use crate::queued::StepRows;
use crate::sql::{RowSet, row};
use crate::webhooks::Word;
use crate::{Error, Store};
use redress_domain::plan::{self, Action, Policy, Situation};
use redress_domain::stage::{Event, Stage};
use redress_domain::step::StepState;
use redress_domain::{ControllerId, DsrId, Verb};
use serde_json::json;
use std::collections::{HashMap, HashSet};

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };

/// What is read of a request to decide about it.
pub(crate) const LOCK: &str = "SELECT id, controller_id, stage, status, attention, policy, approved_at, cooling_off_until, wake_at, reviewed_at, answered_at, due_before, has_callback, yields, held, wrapped_key FROM dsrs";

/// A request as the plan sees it, locked.
pub(crate) struct Locked {
    pub(crate) id: DsrId,
    pub(crate) controller_id: ControllerId,
    pub(crate) stage: Stage,
    pub(crate) status: String,
    pub(crate) attention: Option<String>,
    pub(crate) policy: Policy,
    pub(crate) approved: bool,
    pub(crate) cooling_off_until: Option<i64>,
    pub(crate) wake_at: Option<i64>,
    pub(crate) reviewed: bool,
    pub(crate) answered: bool,
    pub(crate) due_before: i64,
    pub(crate) has_callback: bool,
    /// How many times identifiers were found for it.
    pub(crate) yields: i64,
    /// A legal hold reaches it of which everybody may learn.
    pub(crate) on_hold: bool,
    /// Steps of it that had acted act again in this transaction.
    pub(crate) widened: bool,
    /// None once it was purged.
    pub(crate) wrapped_key: Option<Vec<u8>>,
}

pub(crate) fn read_locked(row: &Row) -> Result<Locked, Error> {
    let (approval, cooling_off_ms, review) =
        serde_json::from_str(&row.text("policy")?).map_err(|_| INCONSISTENT("policy"))?;
    Ok(Locked {
        id: DsrId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        controller_id: ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?,
        stage: Stage::parse(&row.text("stage")?).ok_or(INCONSISTENT("stage"))?,
        status: row.text("status")?,
        attention: row.opt_text("attention")?,
        policy: Policy { approval, cooling_off_ms, review },
        approved: row.opt_int("approved_at")?.is_some(),
        cooling_off_until: row.opt_int("cooling_off_until")?,
        wake_at: row.opt_int("wake_at")?,
        reviewed: row.opt_int("reviewed_at")?.is_some(),
        answered: row.opt_int("answered_at")?.is_some(),
        due_before: row.int("due_before")?,
        has_callback: row.int("has_callback")? != 0,
        yields: row.int("yields")?,
        on_hold: row.int("held")? == 1,
        widened: false,
        wrapped_key: row.opt_bytes("wrapped_key")?,
    })
}

/// What of a step decides what happens next to its request.
pub(crate) struct StepFacts {
    pub(crate) state: StepState,
    pub(crate) verb: Verb,
    pub(crate) attention: bool,
    pub(crate) code: String,
    pub(crate) system: String,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) stage: Stage,
    pub(crate) status: String,
    pub(crate) attention: Option<String>,
    pub(crate) cooling_off_until: Option<i64>,
    pub(crate) wake_at: Option<i64>,
    /// What happened, and the stage after it.
    pub(crate) happened: Vec<(Event, Stage)>,
    /// What the controller is told, if it wants to be.
    pub(crate) told: Vec<String>,
    /// Its steps may run.
    pub(crate) releases: bool,
    /// Nothing of it may run for now.
    pub(crate) holds: bool,
    /// Its answer is to be made.
    pub(crate) answers: bool,
    /// It ended.
    pub(crate) closes: bool,
}

/// Asks the plan until it has nothing more to record.
pub(crate) fn decide(dsr: &Locked, steps: &[StepFacts], answer_stuck: bool, now: i64) -> Result<Move, Error> {
    let pairs: Vec<(StepState, Verb)> = steps.iter().map(|s| (s.state, s.verb)).collect();
    let (mut stage, mut cooling_off_until, mut wake_at) = (dsr.stage, dsr.cooling_off_until, None);
    let mut happened = Vec::new();
    let (mut releases, mut answers, mut closes) = (false, false, false);
    // Each event leads to another stage and no stage is met twice, so this ends.
    for _ in 0..Stage::ALL.len() {
        let action = plan::next(&Situation {
            stage,
            policy: dsr.policy,
            steps: &pairs,
            widened: dsr.widened,
            approved: dsr.approved,
            cooling_off_until,
            reviewed: dsr.reviewed,
            answered: dsr.answered,
            now,
        });
        match action {
            Action::Record(event) => {
                stage = stage.after(event).map_err(|illegal| Error::Conflict(illegal.to_string()))?;
                happened.push((event, stage));
                match event {
                    Event::CoolingOffBegan => {
                        cooling_off_until = cooling_off_until.or(Some(now + dsr.policy.cooling_off_ms));
                    }
                    Event::WorkBegan => releases = true,
                    Event::Completed | Event::PartiallyCompleted => closes = true,
                    _ => {}
                }
            }
            Action::WakeAt(at) => {
                wake_at = Some(at);
                break;
            }
            Action::Answer => {
                answers = true;
                break;
            }
            Action::Wait => break,
        }
    }
    let attention = if stage.is_final() { None } else { attention_of(steps, answer_stuck) };
    // Of a hold of which nobody outside may learn no status tells.
    let status = match attention {
        Some(_) => "needs_attention",
        None if dsr.on_hold && plan::is_on_hold(stage, &pairs) => "on_hold",
        None => stage.as_str(),
    };
    let mut told: Vec<String> = happened.iter().map(|(_, stage)| stage.as_str().to_owned()).collect();
    if status != dsr.status && told.last().is_none_or(|last| last != status) {
        told.push(status.to_owned());
    }
    let (status, holds) = (status.to_owned(), stage == Stage::AwaitingController);
    Ok(Move { stage, status, attention, cooling_off_until, wake_at, happened, told, releases, holds, answers, closes })
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

impl Move {
    /// Adds what happened to the events of a transaction.
    pub(crate) fn log(&self, dsr: &Locked, events: &mut Events) {
        for event in self.events(dsr) {
            events.push(&dsr.controller_id, event);
        }
    }

    /// What happened, as events.
    pub(crate) fn events(&self, dsr: &Locked) -> impl Iterator<Item = NewEvent> {
        self.happened
            .iter()
            .map(|(event, stage)| NewEvent::new(Some(&dsr.id), event.as_str(), json!({ "stage": stage })))
    }

    /// Whether its row would stay as it is. What waits for somebody or needs attention is written, for its own instants.
    fn changes_nothing(&self, dsr: &Locked) -> bool {
        self.stage == dsr.stage
            && self.status == dsr.status
            && self.cooling_off_until == dsr.cooling_off_until
            && self.wake_at == dsr.wake_at
            && (&self.attention, &dsr.attention) == (&None, &None)
            && !self.stage.waits_for_somebody()
            && !self.closes
    }
}

/// What was read of the steps of several requests.
#[derive(Default)]
struct AllSteps {
    facts: HashMap<String, Vec<StepFacts>>,
    /// Requests whose answer needs attention.
    stuck_answers: HashSet<String>,
    /// Requests with a step that was never released, or that was parked.
    resting: HashSet<String>,
    held: HashSet<String>,
}

impl AllSteps {
    fn read(rows: &[Row]) -> Result<Self, Error> {
        let mut all = Self::default();
        for row in rows {
            let dsr_id = row.text("dsr_id")?;
            let verb = row.text("verb")?;
            let (attention, q) = (row.int("attention")? != 0, row.opt_text("q")?);
            if q.as_deref() == Some("held") {
                all.held.insert(dsr_id.clone());
            }
            if verb == "answer" {
                // An answer that cannot be made needs attention like a step, but is not one.
                if attention {
                    all.stuck_answers.insert(dsr_id);
                }
                continue;
            }
            if q.is_none() {
                all.resting.insert(dsr_id.clone());
            }
            let state =
                StepState::parse(&row.text("state")?).ok_or(Error::Inconsistent { table: "steps", column: "state" })?;
            let verb = Verb::parse(&verb).ok_or(Error::Inconsistent { table: "steps", column: "verb" })?;
            // Whatever it waited for, now it waits for the release of a hold; unless it is at work, or asks for a person.
            let stopped = row.int("held")? != 0 && q.as_deref() != Some("run") && !attention && !state.has_acted();
            let state = if stopped { StepState::Blocked } else { state };
            let facts = StepFacts { state, verb, attention, code: row.text("code")?, system: row.text("system")? };
            all.facts.entry(dsr_id).or_default().push(facts);
        }
        Ok(all)
    }
}

impl Store {
    /// Locks these requests in the order of their ids, before anything else of theirs is touched.
    pub(crate) async fn lock_dsrs(&self, tx: &mut Tx, mut ids: Vec<DsrId>) -> Result<Vec<Locked>, Error> {
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = tx
            .rows(
                &format!("-- lock_all\n{LOCK} WHERE id {{in $1}} ORDER BY id {{for_update}}"),
                args![texts(ids.iter().map(DsrId::as_str))],
            )
            .await?;
        rows.iter().map(read_locked).collect()
    }

    /// Advances requests that are locked as far as they go.
    pub(crate) async fn advance_locked(
        &self,
        tx: &mut Tx,
        mut locked: Vec<Locked>,
        events: &mut Events,
    ) -> Result<(), Error> {
        if locked.is_empty() {
            return Ok(());
        }
        self.widen(tx, &mut locked, events).await?;
        let rows = tx
            .rows(
                "-- steps_of_all\nSELECT st.dsr_id, st.state, st.verb, st.q, st.held, st.attention, COALESCE(st.error_code, '') AS code, COALESCE(sy.name, '') AS system FROM steps st LEFT JOIN systems sy ON sy.id = st.system_id WHERE st.dsr_id {in $1} AND (st.system_id IS NOT NULL OR st.verb = 'answer') ORDER BY st.id",
                args![texts(locked.iter().map(|dsr| dsr.id.as_str()))],
            )
            .await?;
        let steps = AllSteps::read(&rows)?;
        let now = self.now_ms();
        let (mut moved, mut new, mut words) = (RowSet::default(), StepRows::default(), Vec::new());
        let (mut released, mut unheld, mut held) = (Vec::new(), Vec::new(), Vec::new());
        for dsr in &locked {
            let id = dsr.id.as_str();
            let own = steps.facts.get(id).map_or(&[][..], Vec::as_slice);
            let next = decide(dsr, own, steps.stuck_answers.contains(id), now)?;
            next.log(dsr, events);
            if next.releases && steps.resting.contains(id) {
                released.push(id.to_owned());
            }
            if next.releases && steps.held.contains(id) {
                unheld.push(id.to_owned());
            }
            if next.holds {
                held.push(id.to_owned());
            }
            if next.answers {
                new.answer(self, &dsr.controller_id, &dsr.id, dsr.due_before)?;
            }
            if !next.changes_nothing(dsr) {
                let waits = next.stage.waits_for_somebody();
                moved.push(row![
                    id,
                    next.stage.as_str(),
                    next.status,
                    next.attention,
                    next.cooling_off_until,
                    next.wake_at,
                    waits,
                    next.closes
                ]);
            }
            words.push(Word {
                controller_id: &dsr.controller_id,
                dsr_id: &dsr.id,
                due_before: dsr.due_before,
                has_callback: dsr.has_callback,
                statuses: next.told,
            });
        }
        self.leave_word(tx, &words, &mut new).await?;
        self.release_steps(tx, released, unheld, now).await?;
        if !held.is_empty() {
            // Nothing is done while somebody is waited for.
            tx.exec(
                "-- hold_steps\nUPDATE steps SET q = 'held' WHERE dsr_id {in $1} AND verb <> 'notify' AND q IN ('ready', 'wait')",
                args![held],
            )
            .await?;
        }
        if !moved.is_empty() {
            tx.exec(
                // What begins here, a wait for somebody or a need for attention, is for the watch to see at once. What ends is
                // looked at once more if its instant has come, and its clock stops: the day is set on which its personal data
                // are destroyed.
                "-- advanced\nUPDATE dsrs SET stage = v.stage, status = v.status, attention = v.attention, cooling_off_until = v.cooling_off_until, wake_at = v.wake_at, waiting_since = CASE WHEN v.waits = 0 THEN NULL WHEN dsrs.stage = v.stage THEN COALESCE(dsrs.waiting_since, CAST($1 AS BIGINT)) ELSE CAST($1 AS BIGINT) END, attention_since = CASE WHEN v.attention IS NULL THEN NULL ELSE COALESCE(dsrs.attention_since, CAST($1 AS BIGINT)) END, watch_at = CASE WHEN v.closes = 1 AND dsrs.closed_at IS NULL THEN CASE WHEN dsrs.watch_at <= $1 THEN dsrs.watch_at ELSE NULL END WHEN (v.waits = 1 AND (dsrs.stage <> v.stage OR dsrs.waiting_since IS NULL)) OR (v.attention IS NOT NULL AND dsrs.attention_since IS NULL) THEN CAST($1 AS BIGINT) ELSE dsrs.watch_at END, purge_at = CASE WHEN v.closes = 1 AND dsrs.closed_at IS NULL THEN CAST($2 AS BIGINT) ELSE dsrs.purge_at END, closed_at = CASE WHEN v.closes = 1 THEN COALESCE(dsrs.closed_at, CAST($1 AS BIGINT)) ELSE dsrs.closed_at END, version = dsrs.version + 1 FROM {rows $3 AS v(id text, stage text, status text, attention text, cooling_off_until int, wake_at int, waits int, closes int)} WHERE dsrs.id = v.id",
                args![now, now + self.keep_closed_ms, moved],
            )
            .await?;
        }
        self.insert_steps(tx, new).await
    }

    /// Lets the steps of requests run whose work begins; what was parked keeps its time.
    async fn release_steps(&self, tx: &mut Tx, resting: Vec<String>, held: Vec<String>, now: i64) -> Result<(), Error> {
        if !resting.is_empty() {
            let rows = tx
                .rows(
                    "-- release_steps\nUPDATE steps SET q = 'ready', not_before = $1 WHERE dsr_id {in $2} AND q IS NULL AND state = 'queued' AND system_id IS NOT NULL RETURNING lane",
                    args![now, resting],
                )
                .await?;
            for row in rows {
                tx.wakes.push(row.text("lane")?);
            }
        }
        if !held.is_empty() {
            tx.exec("-- unhold_steps\nUPDATE steps SET q = 'wait' WHERE dsr_id {in $1} AND q = 'held'", args![held])
                .await?;
        }
        Ok(())
    }
}
