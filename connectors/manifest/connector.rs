//! A manifest's connector: the engine, and what it tells the plan about itself.

use super::call::{Engine, Run, not_sendable};
use super::plan::Plan;
use super::settings::Reach;
use super::{erase, export, rectify, verify};
use crate::http::Line;
use crate::{
    CheckReport, Connector, ExportSink, Gate, Journal, Limits, Manifest, Outcome, Problem, SpecFault, SystemSpec, Told,
    Trouble, Verdict, Work,
};
use async_trait::async_trait;
use redress_domain::{IdentifierType, Verb};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A batch of a vendor that takes one record at a time: a lease is not held for long.
const ONE_BY_ONE: usize = 20;
/// A batch of a vendor of which some calls are for one and some for many.
const MIXED: usize = 100;
/// No batch is larger.
const BATCH_MAX: usize = 1_000;
/// So many people are finished together where they are searched one by one, and where only what hangs on their records is.
const FEW: usize = 5;
const SOME: usize = 50;
/// So many calls of a batch at the same time, if the vendor allows no fewer.
const IN_FLIGHT: usize = 4;

struct ManifestConnector {
    manifest: Manifest,
    /// So many people are brought to their end before the next are looked for.
    group: usize,
    limits: Option<Limits>,
    engine: Engine,
}

/// Checks a specification and makes its connector.
pub(super) fn connect(plan: &Arc<Plan>, spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let reach = Reach::of(plan, spec)?;
    let limits = match plan.file.limits.as_ref().map(|limits| Limits::read(limits, "/limits")).transpose() {
        Ok(limits) => limits,
        Err(faults) => {
            let fault = |f: redress_domain::words::Fault| {
                SpecFault::new("connector", format!("its manifest: {} {}", f.pointer, f.detail))
            };
            return Err(faults.into_iter().map(fault).collect());
        }
    };
    let line = Line::new(&spec.network, reach.urls());
    let most = limits.as_ref().and_then(|limits| limits.concurrency).map_or(IN_FLIGHT, |most| most as usize);
    let engine = Engine {
        plan: Arc::clone(plan),
        line,
        reach,
        max_matches: spec.max_matches,
        in_flight: most.clamp(1, IN_FLIGHT),
    };
    Ok(Arc::new(ManifestConnector { manifest: manifest(plan, spec), group: group(plan), limits, engine }))
}

fn manifest(plan: &Plan, spec: &SystemSpec) -> Manifest {
    let can_search = plan.collections().iter().any(|search| !search.is_blind());
    let mut verbs = Vec::new();
    if can_search {
        verbs.extend([Verb::Discover, Verb::Export]);
    }
    if !plan.changes.is_empty() {
        verbs.push(Verb::Rectify);
    }
    if !plan.removals.is_empty() {
        verbs.push(Verb::Erase);
    }
    verbs.push(Verb::Verify);
    let identifiers: BTreeSet<IdentifierType> = plan.searches.iter().flat_map(|search| search.by.clone()).collect();
    let fields: BTreeSet<String> =
        plan.changes.iter().flat_map(|change| change.correct.fields.keys().cloned()).collect();
    let after = plan.file.verify.values().map(|verify| verify.after_seconds).max().unwrap_or(0);
    // An operator who knows the vendor's index (or has none, in a sandbox) may say so.
    let after = spec.settings.get("verify_after_seconds").and_then(serde_json::Value::as_u64).unwrap_or(after);
    Manifest {
        connector: plan.file.connector.id.clone().into(),
        verbs: verbs.into(),
        identifiers: identifiers.into_iter().collect(),
        fields: fields.into_iter().collect(),
        batch: batch(plan),
        verify_after: Duration::from_secs(after),
    }
}

fn batch(plan: &Plan) -> usize {
    let finds = plan.searches.iter().map(|search| search.find.batch.as_ref().filter(|_| search.find.from.is_none()));
    let deletes = plan.removals.iter().map(|removal| removal.delete.batch.as_ref());
    let all: Vec<Option<usize>> = finds.chain(deletes).map(|batch| batch.map(|batch| batch.max_items)).collect();
    match all.iter().flatten().max() {
        None => ONE_BY_ONE,
        Some(largest) if all.iter().all(Option::is_some) => (*largest).clamp(1, BATCH_MAX),
        Some(largest) => (*largest).clamp(1, MIXED),
    }
}

/// Where each person is searched by calls of their own, a limit that is smaller than the searches of a whole batch would let
/// nobody through: a few are finished first.
fn group(plan: &Plan) -> usize {
    let apart = |search: &&super::plan::Search| !search.is_blind() && search.find.batch.is_none();
    if !plan.searches.iter().any(|search| apart(&search)) {
        return usize::MAX;
    }
    if !plan.searches.iter().filter(|search| search.find.from.is_none()).any(|search| apart(&search)) {
        return SOME;
    }
    plan.removals.iter().filter_map(|r| Some(r.delete.batch.as_ref()?.max_items)).max().unwrap_or(0).max(FEW)
}

fn no_search() -> Trouble {
    Trouble::Denied(Problem::new(
        "verb_unsupported",
        "this vendor cannot be asked what it holds about a person; it only takes deletions",
    ))
}

#[async_trait]
impl Connector for ManifestConnector {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn limits(&self) -> Option<Limits> {
        self.limits.clone()
    }

    fn listen(&self, told: Arc<dyn Told>) {
        self.engine.line.listen(told);
    }

    fn ask_before_calls(&self, gate: Arc<dyn Gate>) -> bool {
        self.engine.line.ask_before_calls(gate);
        true
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        let run = Run::of(&self.engine);
        let plan = &self.engine.plan;
        let checked = async {
            let draft = self.engine.draft(&plan.check, &self.engine.scope()).map_err(|fault| not_sendable(&fault))?;
            let reply = run.exchange(&draft).await.map_err(|refusal| refusal.trouble)?;
            if reply.gone { Err(super::pages::not_there(reply.status).trouble) } else { Ok(()) }
        };
        match checked.await {
            Ok(()) => {
                let about = &plan.file.connector;
                let mut report = CheckReport::default();
                report.ok.push(format!("{} answers and takes the credentials", about.name));
                report
                    .ok
                    .push(format!("interface {}, compared with its documentation on {}", about.api, about.verified_on));
                Ok(report)
            }
            Err(Trouble::Denied(problem) | Trouble::Retry(problem) | Trouble::Ambiguous { problem, .. }) => {
                Err(problem)
            }
            Err(Trouble::Throttled(wait)) => Err(Problem::new(
                "throttled",
                format!("the vendor asks to wait {} seconds; check again then", wait.as_secs().max(1)),
            )),
            Err(Trouble::Held(_) | Trouble::Lost) => {
                Err(Problem::new("vendor_hold", "the vendor answered the check with a hold; see its own console"))
            }
        }
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        if !self.manifest.verbs.contains(&Verb::Discover) {
            return batch.iter().map(|_| Outcome::Trouble(no_search())).collect();
        }
        export::discover(&Run::of(&self.engine), batch).await
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        if !self.manifest.verbs.contains(&Verb::Export) {
            return batch.iter().map(|_| Outcome::Trouble(no_search())).collect();
        }
        let (run, mut outcomes) = (Run::of(&self.engine), Vec::with_capacity(batch.len()));
        for group in batch.chunks(self.group) {
            outcomes.extend(export::export(&run, group, sink).await);
        }
        outcomes
    }

    async fn rectify(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        let (run, mut outcomes) = (Run::of(&self.engine), Vec::with_capacity(batch.len()));
        for group in batch.chunks(self.group) {
            outcomes.extend(rectify::rectify(&run, group, journal).await);
        }
        outcomes
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        if self.engine.plan.removals.is_empty() {
            let problem =
                Problem::new("verb_unsupported", "this vendor's connector deletes nothing; delete the records by hand");
            return batch.iter().map(|_| Outcome::Trouble(Trouble::Denied(problem.clone()))).collect();
        }
        let (run, mut outcomes) = (Run::of(&self.engine), Vec::with_capacity(batch.len()));
        for group in batch.chunks(self.group) {
            outcomes.extend(erase::erase(&run, group, journal).await);
        }
        outcomes
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        verify::verify(&Run::of(&self.engine), verb, batch).await
    }
}
