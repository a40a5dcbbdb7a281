//! A correction changes the declared fields of the person's records, only where they hold another value.

use super::call::{Run, not_sendable};
use super::find::{Findings, Hit, Scout, find, prune};
use super::pages;
use super::people::subject_value;
use super::plan::{Change, Plan, Request};
use super::pointer;
use super::receipt::{Entry, State, Touched};
use super::template::Scope;
use crate::{
    CollectionEvidence, Done, Evidence, Journal, Outcome, Problem, Receipt, Retained, Trouble, Verdict, Work,
    crash_point,
};
use redress_domain::{Correction, Subject};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const UPDATE: &str = "update";

/// What is to be changed in one record.
struct Todo<'p> {
    change: &'p Change,
    hit: Hit,
    changes: Map<String, Value>,
}

/// One person's correction.
struct Item<'p> {
    touched: Touched,
    todo: Vec<Todo<'p>>,
    findings: Findings,
    trouble: Option<Trouble>,
}

/// The vendor's own name of a field: the last part of its pointer.
fn vendor_name(pointer: &str) -> String {
    pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~")
}

/// The corrections that a change can make: pointer and value.
fn concerned<'c>(change: &'c Change, corrections: &'c [Correction]) -> Vec<(&'c str, &'c str)> {
    let pointer = |correction: &'c Correction| {
        Some((change.correct.fields.get(&correction.field)?.as_str(), correction.value.expose().as_str()))
    };
    corrections.iter().filter_map(pointer).collect()
}

/// Those of them that a record does not hold yet.
fn differing(record: &Value, wanted: &[(&str, &str)]) -> Map<String, Value> {
    let holds = |at: &str, value: &str| {
        pointer::all(record, at).into_iter().filter_map(pointer::text).any(|text| text == value)
    };
    wanted
        .iter()
        .filter(|(at, value)| !holds(at, value))
        .map(|(at, value)| (vendor_name(at), Value::from(*value)))
        .collect()
}

fn finds<'p>(plan: &'p Plan, changes: &[&'p Change]) -> BTreeSet<&'p str> {
    plan.with_parents(changes.iter().map(|change| change.correct.from.as_str()))
}

/// The changes that concern any of these corrections.
fn changes<'p>(plan: &'p Plan, batch: &[Work<'_>]) -> Vec<&'p Change> {
    let any = |change: &&Change| batch.iter().any(|work| !concerned(change, work.corrections).is_empty());
    plan.changes.iter().filter(any).collect()
}

/// Changes the corrected fields of each person's records.
pub(super) async fn rectify(run: &Run<'_>, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
    let plan = &run.engine.plan;
    if plan.changes.is_empty() {
        return batch.iter().map(|_| Outcome::Trouble(unsupported())).collect();
    }
    let changes = changes(plan, batch);
    // Where no field can be changed it still matters whether the person is known.
    let all: Vec<&Change> = plan.changes.iter().collect();
    let names = finds(plan, if changes.is_empty() { &all } else { &changes });
    let people: Vec<&Subject> = batch.iter().map(|work| work.subject).collect();
    let found = find(run, &people, &Scout { finds: names, limited: true }).await;
    let mut items: Vec<Item<'_>> = Vec::new();
    for (work, found) in batch.iter().zip(found) {
        items.push(match prepare(run, &changes, work, found).await {
            Ok(item) => item,
            Err(trouble) => Item {
                touched: Touched::default(),
                todo: Vec::new(),
                findings: Findings::default(),
                trouble: Some(trouble),
            },
        });
    }
    announce(batch, &mut items, journal).await;
    crash_point("manifest.before_effect");
    for (work, item) in batch.iter().zip(&mut items) {
        if item.trouble.is_none()
            && let Err(trouble) = act(run, work, item).await
        {
            item.trouble = Some(trouble);
        }
    }
    crash_point("manifest.after_effect");
    batch.iter().zip(items).map(|(work, item)| item.outcome(plan, work)).collect()
}

async fn prepare<'p>(
    run: &Run<'_>,
    changes: &[&'p Change],
    work: &Work<'_>,
    found: Result<Findings, Trouble>,
) -> Result<Item<'p>, Trouble> {
    let mut touched = Touched::read(work.prior)?;
    let findings = found?;
    let mut todo = Vec::new();
    for change in changes {
        let wanted = concerned(change, work.corrections);
        if wanted.is_empty() {
            continue;
        }
        let search = run.engine.plan.search(&change.correct.from);
        for hit in findings.of(&change.correct.from) {
            let record = current(run, change, hit, work).await?;
            let changes = differing(&record, &wanted);
            let identity = search.map(|search| hit.identity(search)).unwrap_or_default();
            let entries = touched.steps.entry(change.name.clone()).or_default();
            if changes.is_empty() {
                // What an earlier run was about to change was changed by it.
                entries
                    .iter_mut()
                    .filter(|entry| entry.identity() == identity)
                    .for_each(|entry| entry.state = State::Done);
                continue;
            }
            let item = search.zip(hit.item.as_deref()).filter(|(search, _)| !search.kept.item.is_empty());
            let entry = Entry {
                key: hit.key.clone(),
                item: item.map(|(search, item)| prune(item, &search.kept.item)),
                record: Value::Null,
                state: State::Todo,
            };
            match entries.iter_mut().find(|known| known.identity() == identity) {
                Some(known) => *known = entry,
                None => entries.push(entry),
            }
            todo.push(Todo { change, hit: hit.clone(), changes });
        }
    }
    Ok(Item { touched, todo, findings, trouble: None })
}

/// The record in which the fields can be read.
async fn current(run: &Run<'_>, change: &Change, hit: &Hit, work: &Work<'_>) -> Result<Value, Trouble> {
    let Some(request) = &change.read else { return Ok(hit.record.clone()) };
    read(run, request, hit, work.subject).await
}

async fn read(run: &Run<'_>, request: &Request, hit: &Hit, subject: &Subject) -> Result<Value, Trouble> {
    let subject = subject_value(subject, None, None);
    let base = run.engine.scope();
    let outer = Scope::inside(&base).lent("subject", &subject);
    let draft = run.engine.draft(request, &hit.scope(&outer)).map_err(|fault| not_sendable(&fault))?;
    let reply = run.exchange(&draft).await.map_err(|refusal| refusal.trouble)?;
    if reply.gone || reply.json.is_null() {
        return Err(crate::http::unreadable());
    }
    Ok(reply.json)
}

async fn announce(batch: &[Work<'_>], items: &mut [Item<'_>], journal: &dyn Journal) {
    let acting: Vec<usize> =
        (0..items.len()).filter(|i| items[*i].trouble.is_none() && !items[*i].todo.is_empty()).collect();
    if acting.is_empty() {
        return;
    }
    let receipts: Vec<Receipt> = acting.iter().map(|i| items[*i].touched.to_receipt()).collect();
    let pairs: Vec<(&str, &Receipt)> =
        acting.iter().zip(&receipts).map(|(i, receipt)| (batch[*i].key, receipt)).collect();
    for (i, answer) in acting.iter().zip(journal.intend_all(&pairs).await) {
        if let Err(lost) = answer {
            items[*i].trouble = Some(lost.into());
        }
    }
}

async fn act(run: &Run<'_>, work: &Work<'_>, item: &mut Item<'_>) -> Result<(), Trouble> {
    let subject = subject_value(work.subject, None, None);
    for todo in &item.todo {
        let base = run.engine.scope();
        let outer = Scope::inside(&base).lent("subject", &subject).with("changes", todo.changes.clone());
        let draft =
            run.engine.draft(&todo.change.request, &todo.hit.scope(&outer)).map_err(|fault| not_sendable(&fault))?;
        let reply = run.exchange(&draft).await.map_err(|refusal| value_refused(refusal, &todo.changes))?;
        if let Some(at) = &todo.change.correct.items {
            for listed in pages::items(&reply.json, at)? {
                let meaning = run.engine.item(&reply, &listed);
                if !meaning.is_fine() {
                    return Err(meaning.trouble());
                }
            }
        }
        let entries = item.touched.steps.get_mut(&todo.change.name).into_iter().flatten();
        let identity = run.engine.plan.search(&todo.change.correct.from).map(|search| todo.hit.identity(search));
        for entry in entries.filter(|entry| Some(entry.identity()) == identity) {
            // A record that has gone meanwhile has nothing to correct.
            entry.state = if reply.gone { State::Absent } else { State::Done };
        }
    }
    Ok(())
}

/// Says which fields a refusal is about.
fn value_refused(refusal: super::call::Refusal, changes: &Map<String, Value>) -> Trouble {
    match refusal.trouble {
        Trouble::Denied(problem) if refusal.invalid => {
            let fields = changes.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Trouble::Denied(Problem::new("value_refused", format!("the new value of {fields}: {}", problem.detail)))
        }
        other => other,
    }
}

impl Item<'_> {
    fn outcome(self, plan: &Plan, work: &Work<'_>) -> Outcome {
        if let Some(trouble) = self.trouble {
            return Outcome::Trouble(trouble);
        }
        let mut done = Done { yielded: self.findings.yielded.clone(), ..Done::default() };
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for change in plan.changes.iter().filter(|change| !concerned(change, work.corrections).is_empty()) {
            let from = change.correct.from.as_str();
            let mut records: BTreeSet<String> = plan
                .search(from)
                .map(|search| self.findings.of(from).iter().map(|hit| hit.identity(search)).collect())
                .unwrap_or_default();
            // What an earlier run changed may be found no more by what it was found by then.
            let changed: BTreeSet<String> = self
                .touched
                .of(&change.name)
                .iter()
                .filter(|entry| entry.state != State::Absent)
                .map(Entry::identity)
                .collect();
            records.extend(changed.iter().cloned());
            if seen.insert(from) {
                done.found += records.len() as u64;
            }
            done.changed += changed.len() as u64;
            done.evidence.collections.push(CollectionEvidence {
                collection: from.to_owned(),
                action: UPDATE.to_owned(),
                before: records.len() as u64,
                changed: changed.len() as u64,
                after: 0,
            });
        }
        done.retained.extend(self.findings.unsearched());
        if done.found == 0 && done.retained.is_empty() {
            let here: u64 = self.findings.hits.values().map(|hits| hits.len() as u64).sum();
            if here == 0 || !seen.is_empty() {
                return Outcome::NothingFound(done.evidence);
            }
            done.found = here;
            let reason = "field_not_declared".to_owned();
            done.retained.push(Retained { collection: "*".to_owned(), records: here, reason });
        }
        done.receipt = Some(self.touched.to_receipt());
        Outcome::Done(done)
    }
}

fn unsupported() -> Trouble {
    Trouble::Denied(Problem::new(
        "verb_unsupported",
        "this vendor's connector changes no fields; correct the record by hand, or make the system one that does not do corrections",
    ))
}

/// Reads again whether each person's records hold what they should.
pub(super) async fn verify(run: &Run<'_>, batch: &[Work<'_>]) -> Vec<Verdict> {
    let plan = &run.engine.plan;
    if plan.changes.is_empty() {
        return batch.iter().map(|_| Verdict::Trouble(unsupported())).collect();
    }
    let changes = changes(plan, batch);
    let people: Vec<&Subject> = batch.iter().map(|work| work.subject).collect();
    let found = find(run, &people, &Scout { finds: finds(plan, &changes), limited: false }).await;
    let mut verdicts = Vec::new();
    for (work, found) in batch.iter().zip(found) {
        verdicts.push(match found {
            Ok(findings) => look(run, &changes, work, &findings).await.unwrap_or_else(Verdict::Trouble),
            Err(trouble) => Verdict::Trouble(trouble),
        });
    }
    verdicts
}

async fn look(run: &Run<'_>, changes: &[&Change], work: &Work<'_>, findings: &Findings) -> Result<Verdict, Trouble> {
    let (mut evidence, mut remaining) = (Evidence::default(), 0);
    for change in changes {
        let wanted = concerned(change, work.corrections);
        if wanted.is_empty() {
            continue;
        }
        let hits = findings.of(&change.correct.from);
        let mut undone = 0;
        for hit in hits {
            let record = current(run, change, hit, work).await?;
            undone += u64::from(!differing(&record, &wanted).is_empty());
        }
        remaining += undone;
        evidence.collections.push(CollectionEvidence {
            collection: change.correct.from.clone(),
            action: UPDATE.to_owned(),
            before: hits.len() as u64,
            changed: 0,
            after: undone,
        });
    }
    Ok(if remaining == 0 { Verdict::Confirmed(evidence) } else { Verdict::Residue { remaining, evidence } })
}
