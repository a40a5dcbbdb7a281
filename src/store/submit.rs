//! Submitting makes a request durable with its plan, its first event and its answer, once for each idempotency key.

use crate::clock::ClockColumns;
use crate::db::args;
use crate::dsrs::{
    DsrDetail, DsrRow, NewDsr, Submitted, key_place, out_of_scope_json, response_place, retained_result, seal_personal,
};
use crate::events::{Events, NewEvent};
use crate::watch::first_look;
use crate::work::{StepRow, places};
use crate::{Error, Store, SystemRow, crash_point};
use redress_domain::plan::FanOut;
use redress_domain::stage::Stage;
use redress_domain::step::{Phase, StepState};
use redress_domain::{ControllerId, DsrId, Identifier, StepId};
use serde_json::{Value, json};

impl Store {
    /// Makes a request durable with its plan, its first event and its answer, in one transaction. `render` makes the answer.
    ///
    /// # Errors
    /// The database is away; nothing was accepted.
    pub async fn submit(&self, new: NewDsr, render: impl Fn(&DsrDetail) -> Value) -> Result<Submitted, Error> {
        if let Some((key_hash, body_hash)) = &new.idempotency
            && let Some(answer) = self.replay(&new.controller_id, key_hash, body_hash).await?
        {
            return Ok(answer);
        }
        match self.insert_dsr(&new, &render).await {
            // Somebody else with the same key was faster: theirs is the first answer.
            Err(error) if error.is_duplicate() => match &new.idempotency {
                Some((key_hash, body_hash)) => self.replay(&new.controller_id, key_hash, body_hash).await?.ok_or(error),
                None => Err(error),
            },
            other => other,
        }
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

    async fn insert_dsr(&self, new: &NewDsr, render: &impl Fn(&DsrDetail) -> Value) -> Result<Submitted, Error> {
        let now = self.now_ms();
        let (ms, bytes) = self.id_parts()?;
        let id = DsrId::from_parts(ms, bytes);
        let controller_key = self.controller_key(&new.controller_id).await?;
        let (key, wrapped) = controller_key.generate(&key_place(&new.controller_id, &id))?;
        let sealed = seal_personal(&key, &new.controller_id, &id, &new.submission)?;
        let systems = self.systems(&new.controller_id).await?;
        let s = &new.submission;
        let columns = ClockColumns::of(&new.deadlines);
        let due_before = columns.due_before;
        let row = DsrRow {
            id: id.clone(),
            controller_id: new.controller_id.clone(),
            kind: s.kind,
            regulation: new.regulation.clone(),
            jurisdiction: s.jurisdiction.clone(),
            stage: Stage::Received,
            status: Stage::Received.as_str().into(),
            attention: None,
            instruction_received_at: now,
            data_subject_received_at: s.data_subject_received_at.map(jiff::Timestamp::as_millisecond),
            deadlines: json!(new.deadlines),
            due_before: columns.due_before,
            clock: Some(new.clock.clone()),
            clock_state: columns.clock_state.to_owned(),
            forecast: None,
            out_of_scope: new.plan.out_of_scope.iter().map(|o| (o.system.clone(), o.reason.to_owned())).collect(),
            identifier_types: s.subject.identifiers.iter().map(Identifier::kind).collect(),
            closed_at: None,
            purged_at: None,
            reference: s.reference.clone(),
        };
        let steps = self.planned_steps(&new.plan, &systems)?;
        let detail = DsrDetail { row, steps };
        let answer = render(&detail);
        let kinds: Vec<&str> = detail.row.identifier_types.iter().map(|k| k.as_str()).collect();
        let policy = json!([new.policy.approval, new.policy.cooling_off_ms, new.policy.review]).to_string();

        let mut tx = self.db.begin("submit").await?;
        tx.exec(
            "-- submit\nINSERT INTO dsrs (id, controller_id, kind, regulation, jurisdiction, stage, status, instruction_received_at, data_subject_received_at, deadlines, due_before, policy, out_of_scope, identifier_types, wake_at, has_callback, wrapped_key, sealed, clock, clock_state, statutory_due_before, watch_at) VALUES ($1, $2, $3, $4, $5, 'received', 'received', $6, $7, $8, $9, $10, $11, $12, $6, $13, $14, $15, $16, $17, $18, $19)",
            args![
                id.as_str(), new.controller_id.as_str(), s.kind.as_str(), new.regulation.clone(), s.jurisdiction.clone(), now,
                detail.row.data_subject_received_at, detail.row.deadlines.to_string(), due_before, policy, out_of_scope_json(&new.plan.out_of_scope).to_string(),
                json!(kinds).to_string(), s.callback_url.is_some(), wrapped, sealed, json!(new.clock).to_string(), columns.clock_state, columns.statutory_due_before, first_look(&new.deadlines, now)
            ],
        )
        .await?;
        self.insert_steps(&mut tx, &new.controller_id, &id, due_before, &detail.steps).await?;
        if let Some((key_hash, body_hash)) = &new.idempotency {
            let text = serde_json::to_vec(&answer)
                .map_err(|_| Error::Inconsistent { table: "idempotency", column: "response" })?;
            let response = key.seal(&response_place(&new.controller_id, &id), &text)?;
            tx.exec(
                "-- idempotency_kept\nINSERT INTO idempotency (controller_id, key_hash, body_hash, dsr_id, response, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
                args![new.controller_id.as_str(), key_hash, body_hash, id.as_str(), response, now],
            )
            .await?;
        }
        let mut events = Events::default();
        events.push(&new.controller_id, NewEvent::new(Some(&id), "received", json!({
            "type": s.kind, "regulation": new.regulation, "identifiers": kinds, "systems": detail.steps.len(), "due_before": due_before,
        })));
        if s.callback_url.is_some() {
            self.insert_notice(&mut tx, &new.controller_id, &id, due_before, "received").await?;
        }
        self.append_all(&mut tx, &new.actor, events).await?;
        tx.wakes.push("advance".into());
        crash_point("submit.before_commit");
        self.commit(tx).await?;
        self.figures.submitted.add(1);
        self.figures.submit_groups.add(1);
        crash_point("submit.after_commit");
        Ok(Submitted::New(id, answer))
    }

    /// The steps of a plan as they are before anything happened, by system.
    pub(crate) fn planned_steps(&self, plan: &FanOut, systems: &[SystemRow]) -> Result<Vec<StepRow>, Error> {
        let mut steps = Vec::new();
        for planned in &plan.steps {
            let system = systems.iter().find(|s| s.id == planned.system_id).ok_or(Error::NotFound)?;
            let (ms, bytes) = self.id_parts()?;
            steps.push(StepRow {
                id: StepId::from_parts(ms, bytes),
                system_id: system.id.clone(),
                system: system.name.clone(),
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
            });
        }
        steps.sort_by(|a, b| a.system.cmp(&b.system));
        Ok(steps)
    }

    /// Inserts the steps of a plan; they are released when the work begins. A system that takes days by itself is due that
    /// much earlier, so that it is asked first.
    pub(crate) async fn insert_steps(
        &self,
        tx: &mut crate::Tx,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        due_at: i64,
        steps: &[StepRow],
    ) -> Result<(), Error> {
        if steps.is_empty() {
            return Ok(());
        }
        let now = self.now_ms();
        let (mut values, mut arguments) = (Vec::new(), Vec::new());
        for step in steps {
            let n = arguments.len();
            let asked_by =
                format!("${} - 86400000 * (SELECT completes_within_days FROM systems WHERE id = ${})", n + 9, n + 4);
            values.push(format!("({}, {asked_by}, {})", places(n + 1, 8), places(n + 10, 4)));
            arguments.extend(args![
                step.id.as_str(),
                controller_id.as_str(),
                dsr_id.as_str(),
                step.system_id.as_str(),
                step.system_id.as_str(),
                step.verb.as_str(),
                "act",
                step.status.as_str(),
                due_at,
                now,
                step.result.as_ref().map(Value::to_string),
                format!("{dsr_id}:{}", step.system_id),
                now
            ]);
        }
        tx.exec(
            &format!(
                "-- insert_steps\nINSERT INTO steps (id, controller_id, dsr_id, system_id, lane, verb, phase, state, due_at, not_before, result, idem, created_at) VALUES {}",
                values.join(", ")
            ),
            arguments,
        )
        .await
        .map(drop)
    }
}
