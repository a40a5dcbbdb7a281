//! What is handed over of a person: the records found, and what further calls tell about each.

use super::call::{Run, not_sendable};
use super::find::{Findings, Hit, Scout, find};
use super::pages::{self, List};
use super::people::subject_value;
use super::plan::{Fetch, Plan, Search};
use super::pointer;
use super::template::Scope;
use crate::{CollectionEvidence, Done, ExportSink, Outcome, Retained, Trouble, Work};
use redress_domain::Subject;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Counts each person's records.
pub(super) async fn discover(run: &Run<'_>, batch: &[Work<'_>]) -> Vec<Outcome> {
    let found = found(run, batch).await;
    found.into_iter().map(|found| told(&run.engine.plan, &found, "search")).collect()
}

/// Hands each person's records to the sink.
pub(super) async fn export(run: &Run<'_>, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (work, found) in batch.iter().zip(found(run, batch).await) {
        let handed_over = match &found {
            Ok(findings) => hand_over(run, work, findings, sink).await,
            Err(_) => Ok(()),
        };
        outcomes.push(match handed_over {
            Ok(()) => told(&run.engine.plan, &found, "export"),
            Err(trouble) => Outcome::Trouble(trouble),
        });
    }
    outcomes
}

async fn found(run: &Run<'_>, batch: &[Work<'_>]) -> Vec<Result<Findings, Trouble>> {
    let plan = &run.engine.plan;
    let names: BTreeSet<&str> = searched(plan).into_iter().map(|search| search.name.as_str()).collect();
    let people: Vec<&Subject> = batch.iter().map(|work| work.subject).collect();
    find(run, &people, &Scout { finds: plan.with_parents(names), limited: true }).await
}

/// Finds whose records can be told beforehand.
fn searched(plan: &Plan) -> Vec<&Search> {
    plan.collections().into_iter().filter(|search| !search.is_blind()).collect()
}

fn told(plan: &Plan, found: &Result<Findings, Trouble>, action: &str) -> Outcome {
    let findings = match found {
        Ok(findings) => findings,
        Err(trouble) => return Outcome::Trouble(trouble.clone()),
    };
    let mut done = Done { yielded: findings.yielded.clone(), ..Done::default() };
    for search in searched(plan) {
        let shared = findings.shared.get(&search.name).copied().unwrap_or(0);
        let here = findings.of(&search.name).len() as u64;
        done.found += here + shared;
        if shared > 0 && action == "export" {
            let reason = "shared_with_others".to_owned();
            done.retained.push(Retained { collection: search.name.clone(), records: shared, reason });
        }
        done.evidence.collections.push(CollectionEvidence {
            collection: search.name.clone(),
            action: action.to_owned(),
            before: here + shared,
            changed: 0,
            after: here + shared,
        });
    }
    done.retained.extend(findings.unsearched());
    if done.found == 0 && done.retained.is_empty() { Outcome::NothingFound(done.evidence) } else { Outcome::Done(done) }
}

async fn hand_over(run: &Run<'_>, work: &Work<'_>, findings: &Findings, sink: &dyn ExportSink) -> Result<(), Trouble> {
    let plan = &run.engine.plan;
    let subject = subject_value(work.subject, None, None);
    for search in searched(plan) {
        for hit in findings.of(&search.name) {
            if !search.find.bare {
                sink.record(work.key, &search.name, without(&hit.record, &search.find.omit)).await?;
            }
            for fetch in plan.fetches.iter().filter(|fetch| fetch.access.from == search.name) {
                for record in fetched(run, fetch, hit, &subject).await? {
                    sink.record(work.key, &fetch.name, without(&record, &fetch.access.omit)).await?;
                }
            }
        }
    }
    Ok(())
}

async fn fetched(run: &Run<'_>, fetch: &Fetch, hit: &Hit, subject: &Value) -> Result<Vec<Value>, Trouble> {
    let access = &fetch.access;
    if access.if_has.as_ref().is_some_and(|at| pointer::first(&hit.record, at).is_none()) {
        return Ok(Vec::new());
    }
    let base = run.engine.scope();
    let outer = Scope::inside(&base).lent("subject", subject);
    let draft = run.engine.draft(&fetch.request, &hit.scope(&outer)).map_err(|fault| not_sendable(&fault))?;
    let list = List {
        items: &access.items,
        paging: access.paging.as_ref(),
        none: &access.none,
        none_if: access.none_if.as_ref(),
    };
    pages::all(run, draft, list).await.map_err(|refusal| refusal.trouble)
}

/// A record without the parts that are not handed over.
fn without(record: &Value, omit: &[String]) -> Map<String, Value> {
    let mut record = record.clone();
    for pointer in omit {
        pointer::remove(&mut record, pointer);
    }
    match record {
        Value::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}
