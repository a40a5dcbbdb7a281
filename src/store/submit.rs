//! Submitting makes a request durable with its plan, its first events and its answer, once for each idempotency key.
//!
//! Whatever is submitted at the same time is written by one transaction: whoever comes while one is under way is in the next.
//! The request is written as its first advance leaves it, so that a plain one is ready for work when it is accepted.

use crate::clock::ClockColumns;
use crate::db::{Arg, Tx, args};
use crate::dsrs::{
    DsrDetail, DsrRow, NewDsr, Submitted, key_place, out_of_scope_json, response_place, retained_result, seal_personal,
};
use crate::events::{Events, NewEvent};
use crate::finding::reference_mark;
use crate::gather::for_all;
use crate::held::{Arrival, marks_text, subject_marks};
use crate::moves::{Locked, StepFacts, decide};
use crate::queued::StepRows;
use crate::sql::{RowSet, row};
use crate::systems::{DAY_MS, SystemOutline};
use crate::watch::first_look;
use crate::webhooks::Word;
use crate::work::StepRow;
use crate::{Error, Key, Store, crash_point};
use futures::FutureExt as _;
use redress_domain::plan::FanOut;
use redress_domain::stage::Stage;
use redress_domain::step::{Phase, StepState};
use redress_domain::{ControllerId, DsrId, Identifier, StepId};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

/// A submission whose rows are made and not yet written.
pub(crate) struct Prepared {
    controller_id: ControllerId,
    dsr_id: DsrId,
    /// The hashes of its identifiers, by which a legal hold finds it.
    marks: BTreeSet<String>,
    dsr: [Arg; 28],
    steps: StepRows,
    told: Told,
    idempotency: Option<Idempotency>,
    events: Vec<NewEvent>,
}

/// What is to be told of a request that was just accepted.
struct Told {
    dsr_id: DsrId,
    due_before: i64,
    has_callback: bool,
    statuses: Vec<String>,
}

struct Idempotency {
    key_hash: String,
    body_hash: String,
    dsr_id: String,
    response: Vec<u8>,
}

impl Prepared {
    fn word(&self) -> Word<'_> {
        Word {
            controller_id: &self.controller_id,
            dsr_id: &self.told.dsr_id,
            due_before: self.told.due_before,
            has_callback: self.told.has_callback,
            statuses: self.told.statuses.clone(),
        }
    }
}

/// Why a transaction failed, and whether nothing of it can be there.
enum Failed {
    BeforeCommit(Error),
    AtCommit(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::BeforeCommit(error)
    }
}

impl Store {
    /// Makes a request durable with its plan, its first events and its answer. `render` makes the answer. If the caller goes away
    /// meanwhile, the request may have been accepted all the same.
    ///
    /// # Errors
    /// The database is away; unless it went away during the commit, nothing was accepted.
    pub async fn submit(&self, new: NewDsr, render: impl Fn(&DsrDetail) -> Value) -> Result<Submitted, Error> {
        let (controller_id, key) = (new.controller_id.clone(), new.idempotency.clone());
        let (id, prepared, answer) = self.prepare(new, render).await?;
        let store = self.clone();
        let round = move |all: Vec<Prepared>| {
            let store = store.clone();
            async move { store.submit_all(&all).await }.boxed()
        };
        if self.gathered.submissions.ask(prepared, round).await? {
            return Ok(Submitted::New(id, answer));
        }
        // Somebody with the same key was faster: theirs is the first answer.
        let (key_hash, body_hash) = key.ok_or(Error::Inconsistent { table: "dsrs", column: "id" })?;
        let answer = self.replay(&controller_id, &key_hash, &body_hash).await?;
        answer.ok_or(Error::Inconsistent { table: "idempotency", column: "key_hash" })
    }

    async fn replay(
        &self,
        controller_id: &ControllerId,
        key_hash: &str,
        body_hash: &str,
    ) -> Result<Option<Submitted>, Error> {
        let row = self
            .db
            .row(
                "-- idempotency\nSELECT body_hash, dsr_id, response FROM idempotency WHERE controller_id = $1 AND key_hash = $2",
                args![controller_id.as_str(), key_hash],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        if row.text("body_hash")? != body_hash {
            return Ok(Some(Submitted::KeyReused));
        }
        let dsr_id = DsrId::parse(&row.text("dsr_id")?)
            .map_err(|_| Error::Inconsistent { table: "idempotency", column: "dsr_id" })?;
        let key = self.dsr_key(controller_id, &dsr_id).await?;
        let clear = key.open(&response_place(controller_id, &dsr_id), &row.bytes("response")?)?;
        let answer = serde_json::from_slice(&clear)
            .map_err(|_| Error::Inconsistent { table: "idempotency", column: "response" })?;
        Ok(Some(Submitted::Replayed(answer)))
    }

    /// Makes the rows of a submission, and its answer.
    async fn prepare(
        &self,
        new: NewDsr,
        render: impl Fn(&DsrDetail) -> Value,
    ) -> Result<(DsrId, Prepared, Value), Error> {
        let controller_key = self.controller_key(&new.controller_id).await?;
        let now = self.now_ms();
        let (ms, bytes) = self.id_parts()?;
        let id = DsrId::from_parts(ms, bytes);
        let (key, wrapped) = controller_key.generate(&key_place(&new.controller_id, &id))?;
        let sealed = seal_personal(&key, &new.controller_id, &id, &new.submission)?;
        let reference = new.submission.reference.as_ref();
        let reference_hash = reference.map(|text| reference_mark(&controller_key, &new.controller_id, text.expose()));
        let marks = subject_marks(&controller_key, &new.controller_id, &new.submission.subject.identifiers);
        let columns = ClockColumns::of(&new.deadlines);
        let deadlines = json!(new.deadlines);
        let deadlines_text = deadlines.to_string();
        let clock = json!(new.clock).to_string();
        let planned = self.planned_steps(&new.plan, &new.systems)?;

        let first = first_move(&new, &id, &planned, columns.due_before, now)?;
        let (dsr, next) = (&first.0, &first.1);
        let mut steps = StepRows::default();
        for (step, days) in &planned {
            let due_at = columns.due_before - days * DAY_MS;
            steps.planned(&new.controller_id, &id, due_at, step, next.releases);
        }
        if next.answers {
            steps.answer(self, &new.controller_id, &id, columns.due_before)?;
        }
        let told = Told {
            dsr_id: id.clone(),
            due_before: columns.due_before,
            has_callback: dsr.has_callback,
            statuses: std::iter::once(Stage::Received.as_str().to_owned()).chain(next.told.iter().cloned()).collect(),
        };

        let identifier_types: Vec<_> = new.submission.subject.identifiers.iter().map(Identifier::kind).collect();
        let kinds: Vec<&str> = identifier_types.iter().map(|k| k.as_str()).collect();
        let received = NewEvent::new(
            Some(&id),
            "received",
            json!({
                "type": new.submission.kind, "regulation": new.regulation, "identifiers": kinds, "systems": planned.len(), "due_before": columns.due_before, "instructions": new.instructions,
            }),
        );
        let mut events = vec![received.by(&new.actor)];
        events.extend(next.events(dsr));

        let policy = json!([new.policy.approval, new.policy.cooling_off_ms, new.policy.review]).to_string();
        let s = new.submission;
        let received_at = s.data_subject_received_at.map(jiff::Timestamp::as_millisecond);
        // A wait for somebody or a need for attention is for the watch to see at once.
        let waits = next.stage.waits_for_somebody();
        let watch_at = if waits || next.attention.is_some() { now } else { first_look(&new.deadlines, now) };
        let dsr_row = row![
            id.as_str(),
            new.controller_id.as_str(),
            s.kind.as_str(),
            new.regulation.clone(),
            s.jurisdiction.clone(),
            next.stage.as_str(),
            next.status.as_str(),
            next.attention.clone(),
            now,
            received_at,
            deadlines_text,
            columns.due_before,
            policy,
            out_of_scope_json(&new.plan.out_of_scope).to_string(),
            json!(kinds).to_string(),
            next.cooling_off_until,
            next.wake_at,
            s.callback_url.is_some(),
            Some(wrapped),
            Some(sealed),
            clock,
            columns.clock_state,
            columns.statutory_due_before,
            watch_at,
            waits.then_some(now),
            next.attention.is_some().then_some(now),
            reference_hash,
            marks_text(&marks)
        ];
        let detail = DsrDetail {
            row: DsrRow {
                id: id.clone(),
                controller_id: new.controller_id.clone(),
                kind: s.kind,
                regulation: new.regulation,
                jurisdiction: s.jurisdiction,
                stage: Stage::Received,
                status: Stage::Received.as_str().into(),
                attention: None,
                instruction_received_at: now,
                data_subject_received_at: received_at,
                deadlines,
                due_before: columns.due_before,
                clock: Some(new.clock),
                clock_state: columns.clock_state.to_owned(),
                forecast: None,
                out_of_scope: new.plan.out_of_scope.into_iter().map(|o| (o.system, o.reason.to_owned())).collect(),
                identifier_types,
                closed_at: None,
                purged_at: None,
                reference: s.reference,
            },
            steps: planned.into_iter().map(|(step, _)| step).collect(),
        };
        let answer = render(&detail);
        let idempotency = new.idempotency.map(|hashes| keep_answer(hashes, &new.controller_id, &id, &key, &answer));
        let idempotency = idempotency.transpose()?;
        let (controller_id, dsr_id) = (new.controller_id, id.clone());
        Ok((id, Prepared { controller_id, dsr_id, marks, dsr: dsr_row, steps, told, idempotency, events }, answer))
    }

    /// Writes submissions in one transaction. False for each whose idempotency key was there already: of it there is nothing.
    async fn submit_all(&self, all: &[Prepared]) -> Vec<Result<bool, Error>> {
        let mut keys = HashSet::new();
        // The first of those with one key; the others find its answer.
        let mut chosen: Vec<bool> = all
            .iter()
            .map(|p| {
                p.idempotency.as_ref().is_none_or(|i| keys.insert((p.controller_id.as_str(), i.key_hash.as_str())))
            })
            .collect();
        loop {
            let now_written: Vec<&Prepared> = all.iter().zip(&chosen).filter(|(_, c)| **c).map(|(p, _)| p).collect();
            if now_written.is_empty() {
                break;
            }
            match self.write_submissions(&now_written).await {
                Ok(known) if known.is_empty() => break,
                // Of the whole transaction nothing is there; the others are written without them.
                Ok(known) => {
                    for (prepared, chosen) in all.iter().zip(&mut chosen) {
                        *chosen &= prepared.idempotency.as_ref().is_none_or(|i| !known.contains(&i.dsr_id));
                    }
                }
                // What is wrong with one of them does not concern its neighbours.
                Err(Failed::BeforeCommit(error)) if now_written.len() > 1 && !error.is_transient() => {
                    let mut each = Vec::with_capacity(all.len());
                    for prepared in all {
                        each.push(self.submit_one(prepared).await);
                    }
                    return each;
                }
                Err(Failed::BeforeCommit(error) | Failed::AtCommit(error)) => return for_all(all.len(), error),
            }
        }
        chosen.into_iter().map(Ok).collect()
    }

    async fn submit_one(&self, prepared: &Prepared) -> Result<bool, Error> {
        match self.write_submissions(&[prepared]).await {
            Ok(known) => Ok(known.is_empty()),
            Err(Failed::BeforeCommit(error) | Failed::AtCommit(error)) => Err(error),
        }
    }

    /// Writes submissions if each idempotency key is new; else nothing is written, and it returns whose is not.
    async fn write_submissions(&self, all: &[&Prepared]) -> Result<HashSet<String>, Failed> {
        let (mut dsrs, mut steps, mut events) = (RowSet::default(), StepRows::default(), Events::default());
        for prepared in all {
            dsrs.push(prepared.dsr.clone());
            steps.extend(&prepared.steps);
            for event in &prepared.events {
                events.push(&prepared.controller_id, event.clone());
            }
        }
        let mut tx = self.db.begin("submit").await?;
        tx.exec(
            "-- submit\nINSERT INTO dsrs (id, controller_id, kind, regulation, jurisdiction, stage, status, attention, instruction_received_at, data_subject_received_at, deadlines, due_before, policy, out_of_scope, identifier_types, cooling_off_until, wake_at, has_callback, wrapped_key, sealed, clock, clock_state, statutory_due_before, watch_at, waiting_since, attention_since, reference_hash, subject_marks, version) SELECT v.id, v.controller_id, v.kind, v.regulation, v.jurisdiction, v.stage, v.status, v.attention, v.instruction_received_at, v.data_subject_received_at, v.deadlines, v.due_before, v.policy, v.out_of_scope, v.identifier_types, v.cooling_off_until, v.wake_at, v.has_callback, v.wrapped_key, v.sealed, v.clock, v.clock_state, v.statutory_due_before, v.watch_at, v.waiting_since, v.attention_since, v.reference_hash, v.subject_marks, 1 FROM {rows $1 AS v(id text, controller_id text, kind text, regulation text, jurisdiction text, stage text, status text, attention text, instruction_received_at int, data_subject_received_at int, deadlines text, due_before int, policy text, out_of_scope text, identifier_types text, cooling_off_until int, wake_at int, has_callback int, wrapped_key bytes, sealed bytes, clock text, clock_state text, statutory_due_before int, watch_at int, waiting_since int, attention_since int, reference_hash text, subject_marks text)}",
            args![dsrs],
        )
        .await?;
        let known = self.keep_keys(&mut tx, all).await?;
        if !known.is_empty() {
            return Ok(known);
        }
        let words: Vec<Word<'_>> = all.iter().map(|prepared| prepared.word()).collect();
        self.leave_word(&mut tx, &words, &mut steps).await?;
        self.insert_steps(&mut tx, steps).await?;
        let holding = self.append_all(&mut tx, "engine", events).await?;
        if !holding.is_empty() {
            let of_holding = all.iter().filter(|p| holding.contains(&p.controller_id));
            let arrivals: Vec<Arrival<'_>> = of_holding
                .map(|p| Arrival { controller_id: &p.controller_id, dsr_id: &p.dsr_id, marks: &p.marks })
                .collect();
            let held = self.hold_arrivals(&mut tx, &arrivals).await?;
            let mut events = Events::default();
            self.advance_all(&mut tx, held, &mut events).await?;
            self.append_all(&mut tx, "engine", events).await?;
        }
        crash_point("submit.before_commit");
        self.commit(tx).await.map_err(Failed::AtCommit)?;
        self.figures.submitted.add(all.len() as i64);
        self.figures.submit_groups.add(1);
        crash_point("submit.after_commit");
        Ok(known)
    }

    /// Keeps the idempotency keys; returns the requests whose key is there already.
    async fn keep_keys(&self, tx: &mut Tx, all: &[&Prepared]) -> Result<HashSet<String>, Error> {
        let mut of_keys: Vec<(&ControllerId, &Idempotency)> =
            all.iter().filter_map(|p| Some((&p.controller_id, p.idempotency.as_ref()?))).collect();
        if of_keys.is_empty() {
            return Ok(HashSet::new());
        }
        // In one order, so that nobody waits for somebody who waits for them.
        of_keys.sort_by(|a, b| (a.0, &a.1.key_hash).cmp(&(b.0, &b.1.key_hash)));
        let mut rows = RowSet::default();
        for (controller_id, i) in &of_keys {
            let (key_hash, body_hash) = (i.key_hash.as_str(), i.body_hash.as_str());
            rows.push(row![controller_id.as_str(), key_hash, body_hash, i.dsr_id.as_str(), i.response.as_slice()]);
        }
        let kept = tx
            .rows(
                "-- idempotency_kept\nINSERT INTO idempotency (controller_id, key_hash, body_hash, dsr_id, response, created_at) SELECT v.controller_id, v.key_hash, v.body_hash, v.dsr_id, v.response, CAST($1 AS BIGINT) FROM {rows $2 AS v(controller_id text, key_hash text, body_hash text, dsr_id text, response bytes)} WHERE 1 = 1 ON CONFLICT (controller_id, key_hash) DO NOTHING RETURNING dsr_id",
                args![self.now_ms(), rows],
            )
            .await?;
        let mut known: HashSet<String> = of_keys.iter().map(|(_, i)| i.dsr_id.clone()).collect();
        for row in &kept {
            known.remove(&row.text("dsr_id")?);
        }
        Ok(known)
    }

    /// The steps of a plan as they are before anything happened, by system, each with the days that its system takes by itself: it
    /// is due that much earlier, so that it is asked first.
    pub(crate) fn planned_steps(&self, plan: &FanOut, systems: &[SystemOutline]) -> Result<Vec<(StepRow, i64)>, Error> {
        let mut steps = Vec::with_capacity(plan.steps.len());
        for planned in &plan.steps {
            let system = systems.iter().find(|s| s.facts.id == planned.system_id).ok_or(Error::NotFound)?;
            let (ms, bytes) = self.id_parts()?;
            let step = StepRow {
                yields: Vec::new(),
                id: StepId::from_parts(ms, bytes),
                system_id: system.facts.id.clone(),
                system: system.facts.name.clone(),
                family: system.family.clone(),
                connector: system.connector.clone(),
                verb: planned.verb,
                status: if planned.retained.is_some() { StepState::Retained } else { StepState::Queued },
                phase: Phase::Act,
                found: None,
                changed: None,
                result: planned.retained.map(retained_result),
                proof: None,
                attempts: 0,
                next_attempt_at: None,
                acted_at: None,
                verified_at: None,
                error: None,
            };
            steps.push((step, system.completes_within_days));
        }
        steps.sort_by(|a, b| a.0.system.cmp(&b.0.system));
        Ok(steps)
    }
}

/// What the first advance makes of a new request.
fn first_move(
    new: &NewDsr,
    id: &DsrId,
    planned: &[(StepRow, i64)],
    due_before: i64,
    now: i64,
) -> Result<(Locked, crate::moves::Move), Error> {
    let dsr = Locked {
        id: id.clone(),
        controller_id: new.controller_id.clone(),
        stage: Stage::Received,
        status: Stage::Received.as_str().to_owned(),
        attention: None,
        policy: new.policy,
        approved: false,
        cooling_off_until: None,
        wake_at: None,
        reviewed: false,
        answered: false,
        due_before,
        has_callback: new.submission.callback_url.is_some(),
        yields: 0,
        on_hold: false,
        widened: false,
        wrapped_key: None,
    };
    let facts: Vec<StepFacts> = planned
        .iter()
        .map(|(step, _)| StepFacts {
            state: step.status,
            verb: step.verb,
            attention: false,
            code: String::new(),
            system: String::new(),
        })
        .collect();
    let next = decide(&dsr, &facts, false, now)?;
    Ok((dsr, next))
}

fn keep_answer(
    (key_hash, body_hash): (String, String),
    controller_id: &ControllerId,
    id: &DsrId,
    key: &Key,
    answer: &Value,
) -> Result<Idempotency, Error> {
    let text =
        serde_json::to_vec(answer).map_err(|_| Error::Inconsistent { table: "idempotency", column: "response" })?;
    let response = key.seal(&response_place(controller_id, id), &text)?;
    Ok(Idempotency { key_hash, body_hash, dsr_id: id.as_str().to_owned(), response })
}
