//! A verification believes no receipt: it searches again by every identifier, and asks for each deleted record by its key.

use super::call::{Run, not_sendable};
use super::find::{Findings, Scout, find};
use super::people::subject_value;
use super::plan::{Look, Plan};
use super::pointer;
use super::receipt::{Entry, State, Touched};
use super::template::Scope;
use crate::{CollectionEvidence, Evidence, Problem, Trouble, Verdict, Work};
use redress_domain::{Subject, Verb};
use std::collections::BTreeSet;

/// Reads again whether what `verb` did is so.
pub(super) async fn verify(run: &Run<'_>, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
    match verb {
        Verb::Rectify => super::rectify::verify(run, batch).await,
        Verb::Erase => erased(run, batch).await,
        Verb::Discover | Verb::Export => batch.iter().map(|_| Verdict::Confirmed(Evidence::default())).collect(),
        _ => {
            let problem = Problem::new("verb_unsupported", format!("this vendor's connector does not {verb}"));
            batch.iter().map(|_| Verdict::Trouble(Trouble::Denied(problem.clone()))).collect()
        }
    }
}

async fn erased(run: &Run<'_>, batch: &[Work<'_>]) -> Vec<Verdict> {
    let plan = &run.engine.plan;
    let looked = plan.looks.iter().map(|look| look.verify.uses.as_str());
    let deleted = plan.deleted().into_iter().map(|search| search.name.as_str());
    let names: BTreeSet<&str> = looked.chain(deleted).collect();
    let people: Vec<&Subject> = batch.iter().map(|work| work.subject).collect();
    let found = find(run, &people, &Scout { finds: plan.with_parents(names), limited: false }).await;
    let mut verdicts = Vec::new();
    for (work, found) in batch.iter().zip(found) {
        let verdict = match found {
            Ok(findings) => one(run, work, &findings).await.unwrap_or_else(Verdict::Trouble),
            Err(trouble) => Verdict::Trouble(trouble),
        };
        verdicts.push(verdict);
    }
    verdicts
}

async fn one(run: &Run<'_>, work: &Work<'_>, findings: &Findings) -> Result<Verdict, Trouble> {
    let plan = &run.engine.plan;
    let touched = Touched::read(work.prior)?;
    let (mut evidence, mut remaining) = (Evidence::default(), 0);
    for search in plan.deleted() {
        let looks: Vec<&Look> = plan.looks.iter().filter(|look| look.about == search.name).collect();
        let mut left: BTreeSet<String> = BTreeSet::new();
        // The deleted records themselves are searched too, whatever else is said to show that they are gone.
        let uses = looks.iter().map(|look| look.verify.uses.as_str()).chain([search.name.as_str()]);
        for name in uses.collect::<BTreeSet<&str>>() {
            let Some(used) = plan.search(name).filter(|used| !used.is_blind()) else { continue };
            // Deleted records of another find are counted there.
            if name != search.name && plan.deleted().iter().any(|other| other.name == name) {
                continue;
            }
            for hit in findings.of(name) {
                let gone_if = looks.iter().map(|look| &look.verify.gone_if).filter(|gone_if| !gone_if.is_empty());
                if !gone_if.into_iter().any(|gone_if| pointer::holds(&hit.record, gone_if)) {
                    left.insert(hit.identity(used));
                }
            }
        }
        for entry in entries(plan, &search.name, &touched, findings) {
            if left.contains(&entry.identity()) {
                continue;
            }
            for look in &looks {
                if !is_gone(run, look, work.subject, &entry).await? {
                    left.insert(entry.identity());
                }
            }
        }
        remaining += left.len() as u64;
        evidence.collections.push(CollectionEvidence {
            collection: search.name.clone(),
            action: plan.action(&search.name).to_owned(),
            before: left.len() as u64,
            changed: 0,
            after: left.len() as u64,
        });
    }
    Ok(if remaining == 0 { Verdict::Confirmed(evidence) } else { Verdict::Residue { remaining, evidence } })
}

/// The deleted records by their keys: those of the receipt, and those whose key follows from an identifier.
fn entries(plan: &Plan, find: &str, touched: &Touched, findings: &Findings) -> Vec<Entry> {
    let mut known = BTreeSet::new();
    let removals = plan.removals.iter().filter(|removal| removal.delete.from == find);
    let listed = removals.flat_map(|removal| touched.of(&removal.name)).filter(|entry| entry.state != State::Absent);
    let mut entries: Vec<Entry> = listed.filter(|entry| known.insert(entry.identity())).cloned().collect();
    if let Some(search) = plan.search(find).filter(|search| search.is_blind()) {
        for hit in findings.of(find) {
            let entry = Entry { key: hit.key.clone(), item: None, record: hit.record.clone(), state: State::Todo };
            if known.insert(hit.identity(search)) {
                entries.push(entry);
            }
        }
    }
    entries
}

/// Asks for a deleted record itself.
async fn is_gone(run: &Run<'_>, look: &Look, subject: &Subject, entry: &Entry) -> Result<bool, Trouble> {
    let Some(request) = &look.request else { return Ok(true) };
    let subject = subject_value(subject, None, None);
    let base = run.engine.scope();
    let outer = Scope::inside(&base).lent("subject", &subject);
    let scope = super::erase::entry_scope(&outer, entry);
    let draft = run.engine.draft(request, &scope).map_err(|fault| not_sendable(&fault))?;
    let reply = run.exchange(&draft).await.map_err(|refusal| refusal.trouble)?;
    Ok(reply.gone || (!look.verify.gone_if.is_empty() && pointer::holds(&reply.json, &look.verify.gone_if)))
}
