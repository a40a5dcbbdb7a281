//! People submit requests, repeat themselves when they hear nothing, and decide.

use super::fleet::Died;
use super::lab::{RULES, TABLE, a_system};
use super::world::address;
use super::{Broke, Simulation};
use redress_domain::deadline::{Change, ClockFacts, Deadlines, compute};
use redress_domain::plan::{Policy, fan_out};
use redress_domain::regulation::PauseKind;
use redress_domain::stage::{Event, Stage};
use redress_domain::submission::{RawSubmission, Submission};
use redress_domain::{ControllerId, DsrId, IdentifierType, Personal, RequestType};
use redress_store::{
    BookKind, Books, ClockChange, ClockNow, Decision, Error, FrozenClock, NewDsr, Store, Submitted, SystemRow,
};
use serde_json::json;

/// Requests of one run.
const MOST: usize = 6;

/// One person and their one request.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) kind: RequestType,
    pub(super) policy: Policy,
    pub(super) callback: bool,
    /// The idempotency key, if the controller sends one.
    pub(super) key: Option<String>,
    /// How often it was sent.
    pub(super) sent: usize,
    /// What was answered.
    pub(super) id: Option<DsrId>,
}

impl Simulation {
    /// New requests, several at once, or one again that was never answered, or was.
    pub(super) async fn submit(&mut self) -> Result<(), Broke> {
        let mut who = Vec::new();
        for _ in 0..=self.dice.below(3) {
            if self.people.len() < MOST {
                who.push(self.somebody_new());
            }
        }
        if let Some(again) = self.some_person()
            && self.people[again].key.is_some()
        {
            who.push(again);
            if self.dice.one_in(3) {
                who.push(again);
            }
        }
        self.send(who).await
    }

    /// Whoever heard nothing and has a key asks until there is an answer.
    pub(super) async fn submit_again(&mut self) -> Result<(), Broke> {
        let who = (0..self.people.len()).filter(|p| self.people[*p].key.is_some()).collect();
        self.send(who).await?;
        match self.people.iter().position(|p| p.key.is_some() && p.id.is_none()) {
            None => Ok(()),
            Some(person) => Err(format!("person {person} was never answered")),
        }
    }

    fn somebody_new(&mut self) -> usize {
        let person = self.people.len();
        let kinds = [RequestType::Deletion, RequestType::Deletion, RequestType::Access, RequestType::Correction];
        let kind = self.dice.pick(&kinds);
        let cooling_off_ms = if self.dice.one_in(5) { 3_600_000 } else { 0 };
        let policy = Policy { approval: self.dice.one_in(5), cooling_off_ms, review: self.dice.one_in(6) };
        let key = (!self.dice.one_in(4)).then(|| format!("key-{person}"));
        let records = [0; 3].map(|_: u64| self.dice.below(3) as u64);
        self.world.person(person, records);
        self.people.push(Person { kind, policy, callback: self.dice.one_in(2), key, sent: 0, id: None });
        person
    }

    async fn send(&mut self, who: Vec<usize>) -> Result<(), Broke> {
        if who.is_empty() {
            return Ok(());
        }
        let (store, ctl) = (self.fleet.processes[0].store.clone(), self.ctl.clone());
        let life = self.fleet.processes[0].life;
        for person in &who {
            self.people[*person].sent += 1;
        }
        let people = &self.people;
        // One after the other: what two connections do at the same time no seed can say again.
        let all = async {
            let mut answers = Vec::new();
            for person in &who {
                answers.push(send_one(&store, &ctl, *person, &people[*person]).await);
            }
            Ok(answers)
        };
        let came = self.fleet.run(0, &mut self.dice, all).await;
        self.tell(format!("{who:?} submit"));
        let Ok(Ok(answers)) = came else {
            self.died(0, life);
            return Ok(());
        };
        for (person, answer) in who.into_iter().zip(answers) {
            let id = match answer {
                Ok(Submitted::New(id, _)) => id,
                Ok(Submitted::Replayed(answer)) => {
                    let text = answer["id"].as_str().unwrap_or_default();
                    DsrId::parse(text).map_err(|_| format!("the answer of {person} has no id"))?
                }
                // Its answer went with its personal data.
                Err(Error::Purged) => continue,
                other => return Err(format!("{person} was answered {other:?}")),
            };
            self.tell(format!("{person} is answered {id}"));
            let before = self.people[person].id.replace(id.clone());
            // After the purge a key is free again; nothing is purged before the end of a run.
            if before.is_some_and(|before| before != id) {
                return Err(format!("one answer for one key: {person} was answered another id before"));
            }
            if self.lab.count(&format!("dsrs WHERE id = '{id}'")).await != 1 {
                return Err(format!("what was accepted is durable: {id} is not there"));
            }
        }
        Ok(())
    }

    /// A person's word on some request.
    pub(super) async fn decide(&mut self) -> Result<(), Broke> {
        let Some(id) = self.some_person().and_then(|p| self.people[p].id.clone()) else { return Ok(()) };
        let decision = match self.dice.below(8) {
            0 => Decision::Withdraw,
            1 if self.dice.one_in(2) => Decision::Reject("refused".into()),
            1..=4 => Decision::Approve,
            _ => Decision::Retry(redress_domain::plan::FanOut::default()),
        };
        self.decided(id, decision).await
    }

    async fn decided(&mut self, id: DsrId, decision: Decision) -> Result<(), Broke> {
        let (store, ctl) = (self.fleet.processes[0].store.clone(), self.ctl.clone());
        let life = self.fleet.processes[0].life;
        let what = store.decide(&ctl, &id, decision.clone(), "key_person");
        let came = self.fleet.run(0, &mut self.dice, what).await;
        self.tell(format!("{id}: {decision:?}: {came:?}"));
        match came {
            Err(Died) => self.died(0, life),
            Ok(Ok(())) => {
                if matches!(decision, Decision::Withdraw | Decision::Reject(_)) {
                    self.world.ended.insert(id.to_string());
                }
            }
            Ok(Err(Error::Conflict(_))) => {}
            Ok(Err(error)) => return Err(format!("a decision was answered {error}")),
        }
        Ok(())
    }

    /// Everybody decides what is waited for.
    pub(super) async fn decide_all(&mut self) -> Result<(), Broke> {
        for text in self.lab.query("SELECT id FROM dsrs WHERE closed_at IS NULL ORDER BY id").await {
            let id = DsrId::parse(&text).map_err(|_| "an id".to_owned())?;
            let detail = self.fleet.processes[0].store.dsr(&self.ctl, &id).await.map_err(|e| e.to_string())?;
            match (detail.row.stage, detail.row.status.as_str()) {
                (Stage::AwaitingApproval | Stage::Review, _) => self.decided(id, Decision::Approve).await?,
                (Stage::AwaitingController, _) => self.clock_changes(&id, false).await?,
                (_, "needs_attention") => {
                    self.decided(id, Decision::Retry(redress_domain::plan::FanOut::default())).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A clock waits for the controller, or goes on.
    pub(super) async fn change_clock(&mut self) -> Result<(), Broke> {
        let Some(id) = self.some_person().and_then(|p| self.people[p].id.clone()) else { return Ok(()) };
        let pause = !self.world.paused.contains(id.as_str());
        self.clock_changes(&id, pause).await
    }

    async fn clock_changes(&mut self, id: &DsrId, pause: bool) -> Result<(), Broke> {
        let (store, ctl) = (self.fleet.processes[0].store.clone(), self.ctl.clone());
        let life = self.fleet.processes[0].life;
        let now = store.clock().now();
        let (kind, event) = if pause {
            (Change::Pause { kind: PauseKind::Clarification, from: now }, Event::ControllerAsked)
        } else {
            (Change::Resume { kind: None, to: now }, Event::ControllerAnswered)
        };
        let change = store.change_clock::<Error>(&ctl, id, "key", None, |before: &ClockNow| {
            let refuse = |what: &str| Error::Conflict(what.into());
            let facts = before.clock.facts.after(kind, now).map_err(|_| refuse("refused"))?;
            let deadlines = compute(&before.rules, &facts, now).map_err(|_| refuse("no date"))?;
            before.stage.after(event).map_err(|_| refuse("not in this stage"))?;
            let name = if pause { "paused" } else { "resumed" };
            Ok(ClockChange {
                facts,
                deadlines,
                event: (name, json!({})),
                note: None,
                stage_event: Some(event),
                books: None,
            })
        });
        let came = self.fleet.run(0, &mut self.dice, change).await;
        self.tell(format!("{id}: pause {pause}: {came:?}"));
        match came {
            Err(Died) => {
                self.died(0, life);
                // Whether it was so nobody knows.
                self.world.paused.remove(id.as_str());
            }
            Ok(Ok(())) if pause => {
                self.world.paused.insert(id.to_string());
            }
            Ok(Ok(())) => {
                self.world.paused.remove(id.as_str());
            }
            Ok(Err(Error::Conflict(_))) => {}
            Ok(Err(error)) => return Err(format!("a change of a clock was answered {error}")),
        }
        Ok(())
    }

    /// The operator applies another definition, or mends a system.
    pub(super) async fn change_system(&mut self) -> Result<(), Broke> {
        let place = self.dice.below(3);
        let name = self.world.places[place].0;
        let (store, ctl) = (self.fleet.processes[0].store.clone(), self.ctl.clone());
        let life = self.fleet.processes[0].life;
        let mend = self.dice.one_in(2);
        self.definition += 1;
        let version = self.definition;
        let what = async {
            if mend {
                let system = store.system_by_name(&ctl, name).await?.ok_or(Error::NotFound)?;
                store.record_check(&system, None).await
            } else {
                store.upsert_system(&ctl, &a_system(name, version), "operator").await.map(drop)
            }
        };
        let came = self.fleet.run(0, &mut self.dice, what).await;
        self.tell(format!("{name} is {}: {came:?}", if mend { "mended" } else { "defined anew" }));
        match came {
            Err(Died) => self.died(0, life),
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("a change of a system was answered {error}")),
        }
        Ok(())
    }
}

async fn send_one(store: &Store, ctl: &ControllerId, person: usize, p: &Person) -> Result<Submitted, Error> {
    let systems = store.systems(ctl).await?;
    let facts: Vec<_> = systems.iter().map(SystemRow::facts).collect();
    let personal = |text: &str| Some(Personal::from(text));
    let corrections = match p.kind {
        RequestType::Correction => vec![(Some("last_name".into()), personal("Newname"))],
        _ => Vec::new(),
    };
    let raw = RawSubmission {
        kind: Some(p.kind.as_str().into()),
        reference: personal(&format!("R-{person}")),
        identifiers: vec![(Some("email".into()), personal(&address(person)))],
        corrections,
        callback_url: p.callback.then(|| Personal::from("https://hooks.example/dsr")),
        ..RawSubmission::default()
    };
    let (deadlines, clock) = dated(store, p.kind).await?;
    let new = NewDsr {
        controller_id: ctl.clone(),
        submission: Submission::parse(raw, Some("DE"), store.clock().now()).expect("well formed"),
        regulation: Some("EU-GDPR".into()),
        deadlines,
        clock,
        policy: p.policy,
        instructions: 1,
        plan: fan_out(p.kind, &[IdentifierType::Email], &[], &facts, None),
        systems: store.outlines(ctl).await?,
        idempotency: p.key.as_ref().map(|key| (key.clone(), format!("body-{person}"))),
        actor: "key_test".into(),
    };
    store.submit(new, |detail| json!({ "id": detail.row.id })).await
}

async fn dated(store: &Store, kind: RequestType) -> Result<(Deadlines, FrozenClock), Error> {
    let now = store.clock().now();
    let facts = ClockFacts {
        request_type: kind,
        regulations: vec!["EU-GDPR".into()],
        jurisdiction: None,
        controller_country: Some("DE".into()),
        controller_timezone: "Europe/Berlin".into(),
        data_subject_received_at: None,
        instruction_received_at: now,
        pauses: Vec::new(),
        extension: None,
        acknowledged_at: None,
    };
    let deadlines = compute(&RULES, &facts, now).expect("dates");
    let regulations = store.keep_book(BookKind::Regulations, "", &RULES.table.version, TABLE).await?;
    let books = Books { regulations, calendars: Vec::new(), calendar_version: String::new(), terms: None };
    Ok((deadlines, FrozenClock { facts, books, regulations: vec!["EU-GDPR".into()] }))
}
