//! What must be true at the end of every run, by the rows on one side and the world's own journal on the other.

use super::{Broke, Simulation};
use redress_domain::stage::{Event, Stage};
use redress_domain::step::StepState;
use redress_domain::{DsrId, Verb};
use redress_jobs::certificate::verify_audit_export;
use std::collections::BTreeMap;

impl Simulation {
    pub(super) async fn open(&self) -> i64 {
        let told = self.lab.count("steps WHERE verb = 'notify' AND q IS NOT NULL").await;
        told + self.lab.count("dsrs WHERE closed_at IS NULL").await
    }

    pub(super) async fn open_ones(&self) -> String {
        let rows = self.lab.query("SELECT id || ' (' || status || ')' FROM dsrs WHERE closed_at IS NULL").await;
        format!("{}; {} untold", rows.join(", "), self.lab.count("steps WHERE verb = 'notify' AND q IS NOT NULL").await)
    }

    /// No open request rests without somebody being asked: the sweep that looks for such ones never finds any.
    pub(super) async fn nobody_is_forgotten(&self) -> Result<(), Broke> {
        let rests = "SELECT id || ' (' || stage || ')' FROM dsrs d WHERE closed_at IS NULL AND wake_at IS NULL AND stage IN ('received', 'in_progress', 'verifying', 'delivering') AND status <> 'needs_attention' AND NOT EXISTS (SELECT 1 FROM steps s WHERE s.dsr_id = d.id AND s.q IS NOT NULL AND s.verb <> 'notify')";
        let forgotten = self.lab.query(rests).await;
        if forgotten.is_empty() {
            Ok(())
        } else {
            Err(format!("no request is forgotten: nothing would move {forgotten:?}"))
        }
    }

    /// A token that was given never comes back.
    pub(super) async fn tokens_only_grow(&mut self) -> Result<(), Broke> {
        for row in self.lab.query("SELECT id || ' ' || CAST(token AS TEXT) FROM steps").await {
            let (id, token) = row.split_once(' ').ok_or("a row")?;
            let token: i64 = token.parse().map_err(|_| "a token")?;
            let before = self.tokens.insert(id.to_owned(), token).unwrap_or(0);
            if token < before {
                return Err(format!("tokens only grow: that of {id} went from {before} to {token}"));
            }
        }
        Ok(())
    }

    pub(super) async fn check(&mut self) -> Result<(), Broke> {
        self.tokens_only_grow().await?;
        let stages = self.log_holds().await?;
        let mut persons: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for text in self.lab.query("SELECT id FROM dsrs ORDER BY id").await {
            let id = DsrId::parse(&text).map_err(|_| "an id")?;
            let person = self.one_request(&id, stages.get(&text)).await?;
            persons.entry(person).or_default().push(text);
        }
        self.nobody_twice(&persons)?;
        self.everything_told().await
    }

    /// The audit log is whole, and its events lead to each request's stage.
    async fn log_holds(&self) -> Result<BTreeMap<String, (Stage, Vec<String>, usize)>, Broke> {
        let store = &self.fleet.processes[0].store;
        let events = store.events_after(&self.ctl, 0, 1_000_000).await.map_err(|e| e.to_string())?;
        let mut export = Vec::new();
        let mut stages: BTreeMap<String, (Stage, Vec<String>, usize)> = BTreeMap::new();
        for event in &events {
            serde_json::to_writer(&mut export, event).map_err(|_| "an event")?;
            export.push(b'\n');
            let Some(id) = event.dsr_id.clone() else { continue };
            let (stage, told, answers) =
                stages.entry(id.clone()).or_insert_with(|| (Stage::Received, vec!["received".into()], 0));
            if let Some(happened) = Event::parse(&event.kind) {
                *stage = stage.after(happened).map_err(|e| format!("{id}: {e}"))?;
                // What was waited for came: the stage that follows in the same transaction is told.
                if happened != Event::ControllerAnswered {
                    told.push(stage.as_str().to_owned());
                }
            }
            *answers += usize::from(event.kind == "answer_made");
        }
        let report = verify_audit_export(&export[..]).map_err(|e| format!("the audit log holds: {e}"))?;
        let head = store.audit_head(&self.ctl).await.map_err(|e| e.to_string())?;
        if report.last_hash != head.1 || report.first_seq != 1 || report.events != events.len() as u64 {
            return Err("the audit log is whole: its head is another one".into());
        }
        Ok(stages)
    }

    async fn one_request(&mut self, id: &DsrId, log: Option<&(Stage, Vec<String>, usize)>) -> Result<usize, Broke> {
        let detail = self.fleet.processes[0].store.dsr(&self.ctl, id).await.map_err(|e| e.to_string())?;
        let (stage, told, answers) = log.ok_or(format!("{id} is not in the log"))?;
        if *stage != detail.row.stage {
            return Err(format!("{id}: its events lead to {stage}, and it is {}", detail.row.stage));
        }
        let reference = detail.row.reference.as_ref().map(|r| r.expose().clone()).unwrap_or_default();
        let person: usize = reference.strip_prefix("R-").and_then(|n| n.parse().ok()).ok_or("a reference")?;
        let busy = self.lab.count(&format!("steps WHERE dsr_id = '{id}' AND q IS NOT NULL")).await;
        if busy > 0 {
            return Err(format!("{id}: an end is an end, and {busy} of its rows are queued"));
        }
        let complete = matches!(stage, Stage::Completed | Stage::PartiallyCompleted);
        if complete {
            let certificate = self.fleet.processes[0].store.certificate(&self.ctl, id).await;
            let certificate = certificate.map_err(|_| format!("{id}: completed without a certificate"))?;
            if certificate["certificate"]["steps"].as_array().map_or(0, Vec::len) != detail.steps.len() {
                return Err(format!("{id}: its certificate is of other steps"));
            }
        }
        if *answers != usize::from(complete) {
            return Err(format!("{id}: one answer for one request, and {answers} were made"));
        }
        for step in &detail.steps {
            let place = self.world.places.iter().position(|(name, ..)| *name == step.system).ok_or("a system")?;
            let truth = self.world.changed(place, person);
            let held = self.world.at(place, person).clone();
            let says = step.changed.unwrap_or(0) as u64;
            let where_ = format!("{id} in {} ({} {})", step.system, step.verb, step.status);
            if complete && !step.status.is_settled(step.verb) {
                return Err(format!("{where_}: completed without being settled"));
            }
            if says > 0 && truth == 0 {
                return Err(format!("{where_}: {says} reported as changed, and the system knows of none"));
            }
            if held.restored == 0 && truth > held.had {
                return Err(format!("{where_}: changed {truth} of {}", held.had));
            }
            if complete && step.status == StepState::NothingFound && truth > 0 {
                return Err(format!("{where_}: said to have held nothing, and {truth} were changed"));
            }
            if complete && step.status == StepState::Verified {
                if self.world.left(place, person, step.verb) > 0 {
                    return Err(format!("{where_}: said to be verified, and records are there"));
                }
                if held.restored == 0 && says != truth {
                    return Err(format!("{where_}: {says} reported as changed, and it were {truth}"));
                }
            }
            if step.verb == Verb::Erase && held.orders.len() as u64 > 1 + held.restored {
                return Err(format!("{where_}: ordered {} times", held.orders.len()));
            }
        }
        let callback = self.people[person].callback;
        self.told_once(id, if callback { told } else { &[] }).await?;
        Ok(person)
    }

    /// Each status that the log knows has its row; an end has exactly one.
    async fn told_once(&self, id: &DsrId, told: &[String]) -> Result<(), Broke> {
        let payloads =
            self.lab.query(&format!("SELECT payload FROM steps WHERE dsr_id = '{id}' AND verb = 'notify'")).await;
        let mut rows: BTreeMap<String, usize> = BTreeMap::new();
        for payload in payloads {
            let payload: serde_json::Value = serde_json::from_str(&payload).map_err(|_| "a payload")?;
            *rows.entry(payload["status"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
        for status in told {
            *wanted.entry(status).or_default() += 1;
        }
        for (status, n) in &wanted {
            let there = rows.get(*status).copied().unwrap_or(0);
            let ends = Stage::parse(status).is_some_and(Stage::is_final) || *status == "delivering";
            if there < *n || ends && there != *n {
                return Err(format!("{id}: {n} notices of {status} are owed and {there} are there"));
            }
        }
        if told.is_empty() && !rows.is_empty() {
            return Err(format!("{id}: nobody asked to be told"));
        }
        Ok(())
    }

    /// One request for one key, however often it was sent; and none that nobody sent.
    fn nobody_twice(&self, persons: &BTreeMap<usize, Vec<String>>) -> Result<(), Broke> {
        for (n, person) in self.people.iter().enumerate() {
            let rows = persons.get(&n).map_or(&[][..], Vec::as_slice);
            let most = if person.key.is_some() { 1 } else { person.sent };
            if rows.len() > most {
                return Err(format!("a key makes one request: person {n} has {}", rows.len()));
            }
            if let Some(id) = &person.id
                && !rows.iter().any(|row| row == id.as_str())
            {
                return Err(format!("what was accepted is there: {id} is not"));
            }
        }
        Ok(())
    }

    /// What is recorded as told was heard; what was heard twice was tried twice.
    async fn everything_told(&self) -> Result<(), Broke> {
        let mut heard: BTreeMap<&str, i64> = BTreeMap::new();
        for one in &self.world.heard {
            *heard.entry(&one.message).or_default() += 1;
        }
        let rows = self
            .lab
            .query("SELECT id || ' ' || state || ' ' || CAST(attempts AS TEXT) FROM steps WHERE verb = 'notify'")
            .await;
        for row in rows {
            let parts: Vec<&str> = row.split(' ').collect();
            let n = heard.get(parts[0]).copied().unwrap_or(0);
            if parts[1] == "done" && n == 0 {
                return Err(format!("what is recorded as told was heard: {} was not", parts[0]));
            }
            if parts[2].parse::<i64>().is_ok_and(|attempts| n > attempts) {
                return Err(format!("{} was heard {n} times and tried less often", parts[0]));
            }
        }
        Ok(())
    }

    pub(super) async fn nothing_personal_is_left(&self) -> Result<(), Broke> {
        let left = [
            "dsrs WHERE wrapped_key IS NOT NULL OR sealed IS NOT NULL OR clock_notes IS NOT NULL OR purged_at IS NULL",
            "steps WHERE receipt IS NOT NULL",
            "artifacts",
            "package_chunks",
            "idempotency",
        ];
        for rows in left {
            let n = self.lab.count(rows).await;
            if n > 0 {
                return Err(format!("nothing personal is left after its time: {n} of {rows}"));
            }
        }
        Ok(())
    }
}
