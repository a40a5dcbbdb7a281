//! A manual system is one that only a person can reach: every verb becomes a task with its own due date.
//!
//! The task waits in the step's receipt ([`Awaited`]) until somebody reports what was done; until then the step is
//! `external`, and from the due date on it needs attention. What is proved here is a person's word, with the hashes of the
//! files they attached: evidence says `attested`, never `deleted`.

#[cfg(test)]
mod tests;

use crate::registry::Entry;
use crate::settings::Settings;
use crate::{
    Awaited, CheckReport, CollectionEvidence, Connector, Evidence, ExportSink, Journal, Manifest, Outcome, Problem,
    SpecFault, SystemSpec, Task, Trouble, Verdict, Work,
};
use async_trait::async_trait;
use redress_domain::{Clock, IdentifierType, SystemClock, Verb};
use std::sync::Arc;
use std::time::Duration;

/// For the registry.
pub(crate) const ENTRY: Entry = Entry {
    name: "manual",
    about: "A task for a person, with its own due date: paper files, a system without an interface",
    settings: "{ instructions = [\"…\"], due_days = 10, identifiers = [\"email\", …], fields = [] }",
    verbs: &["export", "rectify", "erase", "verify"],
};

const DAY: Duration = Duration::from_hours(24);
const VERBS: &[Verb] = &[Verb::Export, Verb::Rectify, Verb::Erase, Verb::Verify];
const ALL_TYPES: [IdentifierType; 6] = [
    IdentifierType::CustomerId,
    IdentifierType::CrmId,
    IdentifierType::LeadId,
    IdentifierType::UserId,
    IdentifierType::Email,
    IdentifierType::Phone,
];

/// Checks a specification and makes the connector.
pub(crate) fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    with_clock(spec, Arc::new(SystemClock))
}

fn with_clock(spec: &SystemSpec, clock: Arc<dyn Clock>) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    if !spec.settings.contains_key("instructions") {
        settings.fault("instructions", "is missing: say how the task is done, one sentence per step, naming no person");
    }
    let instructions = settings.texts("instructions").unwrap_or_default();
    let due_days = settings.number("due_days", 1..=60).unwrap_or(10);
    let identifiers = identifiers(&mut settings);
    let fields = settings.texts("fields").unwrap_or_default();
    let faults = settings.finish(&[]);
    if !faults.is_empty() {
        return Err(faults);
    }
    let manifest = Manifest {
        connector: "manual".into(),
        verbs: VERBS.into(),
        identifiers,
        fields,
        batch: 100,
        verify_after: Duration::ZERO,
    };
    let due = DAY * u32::try_from(due_days).unwrap_or(10);
    Ok(Arc::new(Manual { manifest, system: spec.name.clone(), instructions, due, clock }))
}

/// The setting `identifiers`: what the person who does it can look somebody up by. All, if it is not said.
pub(crate) fn identifiers(settings: &mut Settings<'_>) -> Vec<IdentifierType> {
    let Some(names) = settings.texts("identifiers") else { return ALL_TYPES.to_vec() };
    let known: Vec<IdentifierType> = names.iter().filter_map(|name| IdentifierType::parse(name)).collect();
    if known.len() != names.len() {
        settings.fault("identifiers", "must be of customer_id, crm_id, lead_id, user_id, email, phone");
    }
    ALL_TYPES.into_iter().filter(|kind| known.contains(kind)).collect()
}

struct Manual {
    manifest: Manifest,
    system: String,
    instructions: Vec<String>,
    due: Duration,
    clock: Arc<dyn Clock>,
}

impl Manual {
    fn open(&self, verb: Verb) -> Task {
        let what = match verb {
            Verb::Export => "Hand over a copy of the person's records",
            Verb::Rectify => "Correct the person's records",
            _ => "Delete the person's records",
        };
        let due = i64::try_from(self.due.as_millis()).unwrap_or(i64::MAX);
        Task {
            title: format!("{what} in {}", self.system),
            instructions: self.instructions.clone(),
            due_at_ms: self.clock.now_ms().saturating_add(due),
        }
    }

    fn wait(&self, awaited: &Awaited) -> Outcome {
        let due_at_ms = awaited.task.as_ref().map_or(0, |task| task.due_at_ms);
        let left = Duration::from_millis(u64::try_from(due_at_ms - self.clock.now_ms()).unwrap_or(0));
        if left.is_zero() {
            return Outcome::Trouble(Trouble::Denied(Problem::new(
                "task_overdue",
                format!(
                    "the task for system {} was not reported by its due date; do it and report it, or withdraw the request",
                    self.system
                ),
            )));
        }
        Outcome::Accepted { receipt: awaited.receipt(), check_after: left, completes_within: Some(left) }
    }

    /// The order behind an item: that of an earlier run, or a new one. A receipt of another kind is no order of ours.
    fn awaited(&self, verb: Verb, work: &Work<'_>) -> Awaited {
        work.prior.and_then(Awaited::of).filter(|a| a.task.is_some()).unwrap_or_else(|| Awaited::task(self.open(verb)))
    }

    fn act(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Outcome> {
        let act = |work: &Work<'_>| {
            let awaited = self.awaited(verb, work);
            match awaited.report(verb) {
                Some(report) => report.outcome(verb, "attested", Some(awaited.receipt())),
                None => self.wait(&awaited),
            }
        };
        batch.iter().map(act).collect()
    }
}

#[async_trait]
impl Connector for Manual {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        let days = self.due.as_secs() / DAY.as_secs();
        Ok(CheckReport {
            ok: vec![format!("tasks are due {days} day(s) after they are given")],
            warnings: vec!["what is done here is proved by a person's word only".into()],
        })
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        let unsupported = || Problem::new("verb_unsupported", "a person is not asked to count; ask for access instead");
        batch.iter().map(|_| Outcome::Trouble(Trouble::Denied(unsupported()))).collect()
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        let mut outcomes = self.act(Verb::Export, batch);
        for (work, outcome) in batch.iter().zip(&mut outcomes) {
            let report = work.prior.and_then(Awaited::of).and_then(|awaited| awaited.report(Verb::Export));
            if let Some(report) = report
                && let Err(lost) = report.hand_over(work.key, sink).await
            {
                *outcome = Outcome::Trouble(lost.into());
            }
        }
        outcomes
    }

    async fn rectify(&self, batch: &[Work<'_>], _: &dyn Journal) -> Vec<Outcome> {
        self.act(Verb::Rectify, batch)
    }

    /// Nothing is announced to the journal: until a person reports, nothing was done by us.
    async fn erase(&self, batch: &[Work<'_>], _: &dyn Journal) -> Vec<Outcome> {
        self.act(Verb::Erase, batch)
    }

    /// There is no second look but the person's: a report is taken only if what was found was changed or stays for a reason.
    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        let verdict = |work: &Work<'_>| match work.prior.and_then(Awaited::of).and_then(|a| a.report(verb)) {
            Some(report) => Verdict::Confirmed(Evidence {
                collections: report
                    .evidence(verb, "attested")
                    .collections
                    .into_iter()
                    .map(|entry| CollectionEvidence { before: entry.after, changed: 0, ..entry })
                    .collect(),
            }),
            None => Verdict::Trouble(Trouble::Denied(Problem::new(
                "report_missing",
                "nobody reported what was done; retry the request, then report the task",
            ))),
        };
        batch.iter().map(verdict).collect()
    }
}
