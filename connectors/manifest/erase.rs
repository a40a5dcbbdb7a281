//! A deletion is done when the vendor said so for each of the person's records, in the order that the manifest declares.
//!
//! What is about to go is announced before the first call. A later run is given that back: it asks for the same records
//! again, and a vendor that knows them no more confirms what the earlier run did.

use super::call::{Draft, Refusal, Reply, Run, not_sendable};
use super::find::{Findings, Scout, find, identity, prune};
use super::format::{Batch, DeleteEffect};
use super::people::subject_value;
use super::plan::{Plan, Removal, Search};
use super::receipt::{Entry, State, Touched};
use super::template::{RenderFault, Scope};
use super::{pages, pointer};
use crate::http::unreadable;
use crate::{
    CollectionEvidence, Done, Effect, Journal, Outcome, Problem, Receipt, Retained, Trouble, Work, crash_point,
};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use redress_domain::Subject;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One person's deletion.
struct Item<'w> {
    key: &'w str,
    subject: &'w Subject,
    touched: Touched,
    findings: Findings,
    trouble: Option<Trouble>,
    /// Nothing may be done for them in this run.
    stopped: bool,
    /// What an earlier run left.
    prior: Option<Touched>,
    /// What the journal knows.
    announced: Option<Touched>,
}

/// What became of one record.
type Fate = Result<State, Trouble>;

/// Deletes what is each person's.
pub(super) async fn erase(run: &Run<'_>, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
    let plan = &run.engine.plan;
    let mut items: Vec<Item<'_>> = batch.iter().map(Item::of).collect();
    follow(run, &mut items).await;
    look(run, &mut items).await;
    announce(&mut items, journal).await;
    crash_point("manifest.before_effect");
    for removal in &plan.removals {
        remove(run, removal, &mut items).await;
    }
    crash_point("manifest.after_effect");
    record(&mut items, journal).await;
    items.into_iter().map(|item| item.outcome(plan)).collect()
}

impl<'w> Item<'w> {
    fn of(work: &Work<'w>) -> Self {
        let read = Touched::read(work.prior);
        let trouble = read.as_ref().err().cloned();
        let touched = read.unwrap_or_default();
        let prior = work.prior.map(|_| touched.clone());
        Self {
            key: work.key,
            subject: work.subject,
            touched,
            findings: Findings::default(),
            stopped: trouble.is_some(),
            trouble,
            announced: prior.clone(),
            prior,
        }
    }

    /// Whether an earlier run was about to delete it: then that it is gone is what that run did.
    fn was_listed(&self, removal: &Removal, entry: &Entry) -> bool {
        let listed = self.prior.as_ref().map(|prior| prior.of(&removal.name)).unwrap_or_default();
        listed.iter().any(|old| old.state != State::Absent && old.identity() == entry.identity())
    }

    fn stop(&mut self, trouble: Trouble) {
        self.trouble.get_or_insert(trouble);
        self.stopped = true;
    }

    /// Whether this deletion must wait for another of the same person.
    fn is_blocked(&self, plan: &Plan, removal: &Removal) -> bool {
        let done = |entry: &Entry| matches!(entry.state, State::Done | State::Absent);
        removal.delete.after.iter().any(|before| {
            !self.touched.of(before).iter().all(done)
                || plan.removals.iter().any(|other| other.name == *before && self.is_blocked(plan, other))
        })
    }
}

/// Asks how far earlier orders have come.
async fn follow(run: &Run<'_>, items: &mut [Item<'_>]) {
    for removal in &run.engine.plan.removals {
        let (Some(poll), Some(request)) = (&removal.delete.poll, &removal.poll) else { continue };
        let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
        for item in items.iter_mut().filter(|item| !item.stopped) {
            for entry in item.touched.steps.get_mut(&removal.name).into_iter().flatten() {
                let State::Ordered(handle) = &entry.state else { continue };
                let asked = handle.to_string();
                if !fates.contains_key(&asked) {
                    let fate = ask(run, poll, request, entry, handle).await;
                    fates.insert(asked.clone(), fate);
                }
                match &fates[&asked] {
                    Ok(state) => entry.state = state.clone(),
                    Err(trouble) => {
                        // The order failed: another one has to be given.
                        if matches!(trouble, Trouble::Retry(problem) if problem.code == "order_failed") {
                            entry.state = State::Todo;
                        }
                        item.trouble.get_or_insert_with(|| trouble.clone());
                        item.stopped = true;
                    }
                }
            }
        }
    }
}

async fn ask(
    run: &Run<'_>,
    poll: &super::format::Poll,
    request: &super::plan::Request,
    entry: &Entry,
    handle: &Value,
) -> Fate {
    let base = run.engine.scope();
    let scope = entry_scope(&base, entry).lent("handle", handle);
    let draft = run.engine.draft(request, &scope).map_err(|fault| not_sendable(&fault))?;
    let reply = run.exchange(&draft).await.map_err(|refusal| refusal.trouble)?;
    let failed = |how: &str| {
        Trouble::Retry(Problem::new(
            "order_failed",
            format!("the vendor's own job {how}; it is ordered again by itself"),
        ))
    };
    if reply.gone {
        return Err(failed("is not there any more"));
    }
    let words: Vec<String> = pointer::all(&reply.json, &poll.status).into_iter().filter_map(pointer::text).collect();
    let among = |known: &[String]| words.iter().all(|word| known.contains(word));
    if words.is_empty() {
        Err(unreadable())
    } else if among(&poll.done) {
        Ok(State::Done)
    } else if words.iter().all(|word| poll.running.contains(word) || poll.done.contains(word)) {
        Ok(State::Ordered(handle.clone()))
    } else {
        Err(failed("failed"))
    }
}

/// Finds each person's records and lists them for the deletions that concern them.
async fn look(run: &Run<'_>, items: &mut [Item<'_>]) {
    let plan = &run.engine.plan;
    let staying = plan.staying();
    let names = plan.deleted().into_iter().chain(staying).map(|search| search.name.as_str());
    let scout = Scout { finds: plan.with_parents(names), limited: true };
    // Those for whom the vendor is at work are asked about again when it has finished.
    let asked: Vec<usize> =
        (0..items.len()).filter(|i| !items[*i].stopped && !items[*i].touched.is_under_way()).collect();
    let people: Vec<&Subject> = asked.iter().map(|i| items[*i].subject).collect();
    let found = find(run, &people, &scout).await;
    for (i, found) in asked.into_iter().zip(found) {
        match found {
            Err(trouble) => items[i].stop(trouble),
            Ok(findings) => {
                list(plan, &mut items[i].touched, &findings, items[i].prior.as_ref());
                items[i].findings = findings;
            }
        }
    }
}

fn list(plan: &Plan, touched: &mut Touched, findings: &Findings, prior: Option<&Touched>) {
    for removal in &plan.removals {
        let Some(search) = plan.search(&removal.delete.from) else { continue };
        let entries = touched.steps.entry(removal.name.clone()).or_default();
        for hit in findings.of(&search.name) {
            if removal.delete.if_has.as_ref().is_some_and(|at| pointer::first(&hit.record, at).is_none()) {
                continue;
            }
            let identity = hit.identity(search);
            match entries.iter_mut().find(|entry| entry.identity() == identity) {
                // It was done before this run and is there again.
                Some(entry) if entry.state == State::Done && !search.is_blind() => {
                    let before = prior.map(|prior| prior.of(&removal.name)).unwrap_or_default();
                    if before.iter().any(|old| old.identity() == identity && old.state == State::Done) {
                        entry.state = State::Todo;
                    }
                }
                Some(_) => {}
                None => entries.push(Entry {
                    key: hit.key.clone(),
                    item: hit
                        .item
                        .as_deref()
                        .filter(|_| !search.kept.item.is_empty())
                        .map(|item| prune(item, &search.kept.item)),
                    record: prune(&hit.record, &search.kept.record),
                    state: State::Todo,
                }),
            }
        }
    }
}

/// Announces everything that is about to change.
async fn announce(items: &mut [Item<'_>], journal: &dyn Journal) {
    let waits = |item: &Item<'_>| {
        !item.stopped && item.touched.steps.values().flatten().any(|entry| entry.state == State::Todo)
    };
    let acting: Vec<usize> = (0..items.len()).filter(|i| waits(&items[*i])).collect();
    tell(items, &acting, journal).await;
}

/// Records how far those came who are not told as done: what was ordered must not be ordered twice.
async fn record(items: &mut [Item<'_>], journal: &dyn Journal) {
    let news = |item: &Item<'_>| {
        item.trouble.as_ref().is_some_and(|trouble| *trouble != Trouble::Lost)
            && item.announced.as_ref().is_some_and(|announced| *announced != item.touched)
    };
    let concerned: Vec<usize> = (0..items.len()).filter(|i| news(&items[*i])).collect();
    tell(items, &concerned, journal).await;
}

async fn tell(items: &mut [Item<'_>], which: &[usize], journal: &dyn Journal) {
    if which.is_empty() {
        return;
    }
    let receipts: Vec<Receipt> = which.iter().map(|i| items[*i].touched.to_receipt()).collect();
    let pairs: Vec<(&str, &Receipt)> =
        which.iter().zip(&receipts).map(|(i, receipt)| (items[*i].key, receipt)).collect();
    let answers = journal.intend_all(&pairs).await;
    for (i, answer) in which.iter().zip(answers) {
        match answer {
            Ok(()) => items[*i].announced = Some(items[*i].touched.clone()),
            Err(lost) => {
                items[*i].trouble = Some(lost.into());
                items[*i].stopped = true;
            }
        }
    }
}

/// A record under a deletion, of one or several people.
struct Target {
    /// Item and position.
    whose: Vec<(usize, usize)>,
    entry: Entry,
}

/// Makes one deletion for everybody whom it concerns.
async fn remove(run: &Run<'_>, removal: &Removal, items: &mut [Item<'_>]) {
    let plan = &run.engine.plan;
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    for (i, item) in items.iter().enumerate() {
        if item.stopped || item.is_blocked(plan, removal) {
            continue;
        }
        for (nth, entry) in item.touched.of(&removal.name).iter().enumerate() {
            if entry.state == State::Todo {
                let target = targets.entry(entry.identity());
                target.or_insert_with(|| Target { whose: Vec::new(), entry: entry.clone() }).whose.push((i, nth));
            }
        }
    }
    let targets: Vec<Target> = targets.into_values().collect();
    let fates = match &removal.delete.batch {
        Some(batch) => together(run, removal, batch, &targets, items).await,
        None => apart(run, removal, &targets, items).await,
    };
    let blind = plan.search(&removal.delete.from).is_some_and(Search::is_blind);
    for (target, fate) in targets.iter().zip(fates) {
        for (i, nth) in &target.whose {
            match &fate {
                Ok(State::Absent) if !blind || items[*i].was_listed(removal, &target.entry) => {
                    set(&mut items[*i], removal, *nth, State::Done);
                }
                Ok(state) => set(&mut items[*i], removal, *nth, state.clone()),
                Err(trouble) => {
                    items[*i].trouble.get_or_insert_with(|| trouble.clone());
                }
            }
        }
    }
}

fn set(item: &mut Item<'_>, removal: &Removal, nth: usize, state: State) {
    if let Some(entry) = item.touched.steps.get_mut(&removal.name).and_then(|entries| entries.get_mut(nth)) {
        entry.state = state;
    }
}

/// What a request for a listed record sees.
pub(super) fn entry_scope<'s>(outer: &'s Scope<'s>, entry: &'s Entry) -> Scope<'s> {
    let scope = Scope::inside(outer).lent("record", &entry.record).lent("record.key", &entry.key);
    match &entry.item {
        Some(item) => scope.lent("item", item),
        None => scope,
    }
}

/// A name for a call that is the same when it is made again, and tells nothing.
fn idempotency_key(parts: &[&str]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, parts.join("\u{0}").as_bytes());
    digest.as_ref().iter().take(16).fold(String::new(), |name, byte| name + &format!("{byte:02x}"))
}

/// One call for each record.
async fn apart(run: &Run<'_>, removal: &Removal, targets: &[Target], items: &[Item<'_>]) -> Vec<Fate> {
    let calls: Vec<BoxFuture<'_, Fate>> = targets
        .iter()
        .map(|target| {
            let owner = target.whose.first().map(|(i, _)| &items[*i]);
            let subject = owner.map(|item| subject_value(item.subject, None, None)).unwrap_or_default();
            let name = idempotency_key(&[owner.map_or("", |item| item.key), &removal.name, &target.entry.identity()]);
            Box::pin(async move {
                let base = run.engine.scope();
                let outer = Scope::inside(&base).with("step.key", name).lent("subject", &subject);
                let scope = entry_scope(&outer, &target.entry);
                let draft = run.engine.draft(&removal.request, &scope).map_err(|fault| not_sendable(&fault))?;
                match run.exchange(&draft).await {
                    Ok(reply) => single(run, removal, &reply),
                    Err(refusal) if is_gone(removal, &refusal) => Ok(State::Absent),
                    Err(refusal) => Err(refusal.trouble),
                }
            }) as BoxFuture<'_, Fate>
        })
        .collect();
    futures::stream::iter(calls).buffered(run.engine.in_flight).collect().await
}

fn is_gone(removal: &Removal, refusal: &Refusal) -> bool {
    refusal.is_one_of(&removal.delete.gone)
}

/// What an answer says about the one record that it is about.
fn single(run: &Run<'_>, removal: &Removal, reply: &Reply) -> Fate {
    if reply.gone || removal.delete.gone.contains(&reply.status) {
        return Ok(State::Absent);
    }
    if let Some(at) = &removal.delete.items {
        for item in pages::items(&reply.json, at)? {
            let meaning = run.engine.item(reply, &item);
            match meaning.class {
                super::format::Class::Gone => return Ok(State::Absent),
                _ if meaning.is_fine() => {}
                _ => return Err(meaning.trouble()),
            }
        }
    }
    taken(removal, reply)
}

/// The vendor took it: done, or under way.
fn taken(removal: &Removal, reply: &Reply) -> Fate {
    match &removal.delete.poll {
        None => Ok(State::Done),
        Some(poll) => match pointer::first(&reply.json, &poll.handle) {
            Some(handle @ (Value::String(_) | Value::Number(_))) => Ok(State::Ordered(handle.clone())),
            _ => Err(unreadable()),
        },
    }
}

/// One call for many records.
async fn together(
    run: &Run<'_>,
    removal: &Removal,
    batch: &Batch,
    targets: &[Target],
    items: &[Item<'_>],
) -> Vec<Fate> {
    let mut fates: Vec<Option<Fate>> = targets.iter().map(|_| None).collect();
    let draft = |chunk: &[usize]| -> Result<Draft, RenderFault> {
        let base = run.engine.scope();
        let name = chunk.first().and_then(|at| targets[*at].whose.first()).map_or("", |(i, _)| items[*i].key);
        let identities: Vec<String> = chunk.iter().map(|at| targets[*at].entry.identity()).collect();
        let name = idempotency_key(&[name, &removal.name, &identities.join("\u{0}")]);
        let keys: Vec<Value> = chunk.iter().map(|at| targets[*at].entry.key.clone()).collect();
        let mut scope = Scope::inside(&base).with("step.key", name).with("records.key", keys);
        if let Some(each) = &removal.each {
            let filled = chunk.iter().map(|at| each.fill(&entry_scope(&base, &targets[*at].entry)));
            scope.set("records.each", filled.collect::<Result<Vec<Value>, _>>()?);
        }
        let scope = match chunk.first().and_then(|at| targets[*at].entry.item.as_ref()) {
            Some(item) => scope.lent("item", item),
            None => scope,
        };
        run.engine.draft(&removal.request, &scope)
    };
    // What lies in different lists has different addresses.
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, target) in targets.iter().enumerate() {
        match draft(&[at]) {
            Ok(_) => {
                let place = target.entry.item.as_ref().map(Value::to_string).unwrap_or_default();
                groups.entry(place).or_default().push(at);
            }
            Err(fault) => fates[at] = Some(Err(not_sendable(&fault))),
        }
    }
    let chunks = groups.values().flat_map(|group| group.chunks(batch.max_items.max(1)).map(<[usize]>::to_vec));
    let mut chunks: Vec<Vec<usize>> = chunks.collect();
    chunks.reverse();
    while let Some(chunk) = chunks.pop() {
        let mut halve = |chunk: &[usize]| {
            let (first, second) = chunk.split_at(chunk.len() / 2);
            chunks.push(second.to_vec());
            chunks.push(first.to_vec());
        };
        let drafted = match draft(&chunk) {
            Ok(draft) if chunk.len() > 1 && draft.is_longer_than(batch.max_bytes) => {
                halve(&chunk);
                continue;
            }
            Ok(draft) => draft,
            Err(fault) => {
                for at in &chunk {
                    fates[*at] = Some(Err(not_sendable(&fault)));
                }
                continue;
            }
        };
        match run.exchange(&drafted).await {
            Ok(reply) if reply.gone && chunk.len() > 1 => halve(&chunk),
            Ok(reply) => {
                let keys: Vec<&Value> = chunk.iter().map(|at| &targets[*at].entry.key).collect();
                for (at, fate) in chunk.iter().zip(shares(run, removal, batch, &reply, &keys)) {
                    fates[*at] = Some(fate);
                }
            }
            Err(refusal) if is_gone(removal, &refusal) && chunk.len() == 1 => fates[chunk[0]] = Some(Ok(State::Absent)),
            // One of them may be what the vendor does not take: it must not hide the others.
            Err(refusal) if (refusal.invalid || is_gone(removal, &refusal)) && chunk.len() > 1 => halve(&chunk),
            Err(refusal) => chunk.iter().for_each(|at| fates[*at] = Some(Err(refusal.trouble.clone()))),
        }
    }
    fates.into_iter().map(|fate| fate.unwrap_or_else(|| Err(unreadable()))).collect()
}

/// What an answer says about each of the records that were asked for.
fn shares(run: &Run<'_>, removal: &Removal, batch: &Batch, reply: &Reply, keys: &[&Value]) -> Vec<Fate> {
    let all = |fate: Fate| keys.iter().map(|_| fate.clone()).collect();
    let Some(at) = &removal.delete.items else { return all(single(run, removal, reply)) };
    let listed = match pages::items(&reply.json, at) {
        Ok(listed) => listed,
        Err(trouble) => return all(Err(trouble)),
    };
    let fate = |item: &Value| {
        let meaning = run.engine.item(reply, item);
        match meaning.class {
            super::format::Class::Gone => Ok(State::Absent),
            _ if meaning.is_fine() => taken(removal, reply),
            _ => Err(meaning.trouble()),
        }
    };
    match batch.correlate.as_deref() {
        Some("order") if listed.len() == keys.len() => listed.iter().map(fate).collect(),
        Some("order") => all(Err(unreadable())),
        Some(by) => keys
            .iter()
            .map(|key| {
                let its =
                    listed.iter().find(|item| pointer::first(item, by).is_some_and(|value| pointer::same(value, key)));
                its.map_or_else(|| Err(unreadable()), fate)
            })
            .collect(),
        None => match listed.iter().map(fate).find(Result::is_err) {
            Some(fault) => all(fault),
            None => all(taken(removal, reply)),
        },
    }
}

impl Item<'_> {
    fn outcome(self, plan: &Plan) -> Outcome {
        if let Some(trouble) = self.trouble {
            return Outcome::Trouble(trouble);
        }
        let receipt = self.touched.to_receipt();
        if self.touched.is_under_way() {
            let days = plan.removals.iter().filter_map(|removal| removal.delete.completes_within_days).max();
            return Outcome::Accepted {
                receipt,
                check_after: Duration::from_secs(self.every(plan)),
                completes_within: days.map(|days| Duration::from_secs(u64::from(days) * 86_400)),
            };
        }
        let mut done = Done { yielded: self.findings.yielded.clone(), ..Done::default() };
        // Orders about whom the vendor does not say whether it knows them.
        let mut ordered = 0;
        let knows = plan.deleted().iter().any(|search| !search.is_blind());
        for search in plan.deleted() {
            let (found, changed) = counts(plan, search, &self.touched);
            if changed > 0 {
                done.effect = weaker(done.effect.take(), plan.effect(&search.name).map(effect));
            }
            if search.is_blind() && knows {
                ordered += changed;
                done.evidence.collections.push(CollectionEvidence {
                    collection: search.name.clone(),
                    action: "order".to_owned(),
                    before: 0,
                    changed,
                    after: 0,
                });
                continue;
            }
            let shared = self.findings.shared.get(&search.name).copied().unwrap_or(0);
            done.found += found + shared;
            done.changed += changed;
            if shared > 0 {
                done.retained.push(retained(search, shared, "shared_with_others"));
            }
            done.evidence.collections.push(CollectionEvidence {
                collection: search.name.clone(),
                action: plan.action(&search.name).to_owned(),
                before: found + shared,
                changed,
                after: found + shared - changed,
            });
        }
        for search in plan.staying() {
            let there = self.findings.of(&search.name).len() as u64;
            let shared = self.findings.shared.get(&search.name).copied().unwrap_or(0);
            if there + shared > 0 {
                done.found += there + shared;
                done.retained.push(retained(search, there + shared, "vendor_offers_no_deletion"));
            }
        }
        done.retained.extend(self.findings.unsearched());
        if done.found == 0 && ordered == 0 && done.retained.is_empty() {
            return Outcome::NothingFound(done.evidence);
        }
        done.receipt = Some(receipt);
        Outcome::Done(done)
    }

    fn every(&self, plan: &Plan) -> u64 {
        let ordered = |removal: &&Removal| {
            self.touched.of(&removal.name).iter().any(|entry| matches!(entry.state, State::Ordered(_)))
        };
        let every = plan
            .removals
            .iter()
            .filter(ordered)
            .filter_map(|removal| Some(removal.delete.poll.as_ref()?.every_seconds));
        every.min().unwrap_or(60)
    }
}

fn retained(search: &Search, records: u64, reason: &str) -> Retained {
    Retained { collection: search.name.clone(), records, reason: reason.to_owned() }
}

/// Records of a find that are listed, and those of them with which every deletion is done.
fn counts(plan: &Plan, search: &Search, touched: &Touched) -> (u64, u64) {
    let (mut all, mut undone) = (BTreeSet::new(), BTreeSet::new());
    for removal in plan.removals.iter().filter(|removal| removal.delete.from == search.name) {
        for entry in touched.of(&removal.name) {
            let identity = identity(&entry.key, entry.item.as_ref());
            match entry.state {
                State::Absent => continue,
                State::Done => {}
                State::Todo | State::Ordered(_) => {
                    undone.insert(identity.clone());
                }
            }
            all.insert(identity);
        }
    }
    (all.len() as u64, (all.len() - undone.len()) as u64)
}

fn effect(removal: &Removal) -> Effect {
    let delete = &removal.delete;
    let within = delete.completes_within_days.or(delete.residual_days);
    match delete.effect {
        DeleteEffect::SoftDelete => Effect::Soft { residual_days: delete.residual_days },
        DeleteEffect::Anonymise => Effect::Anonymised,
        DeleteEffect::Suppress => Effect::Suppressed,
        // What the vendor's own job says is done is done; what it keeps besides goes within the days named.
        DeleteEffect::PermanentDelete | DeleteEffect::ScheduleDelete => match within {
            Some(within_days) if delete.poll.is_none() || delete.residual_days.is_some() => {
                Effect::Scheduled { within_days }
            }
            None if delete.effect == DeleteEffect::ScheduleDelete && delete.poll.is_none() => {
                Effect::Scheduled { within_days: 30 }
            }
            _ => Effect::Permanent,
        },
    }
}

/// Of several effects the one that lasts least.
fn weaker(one: Option<Effect>, other: Option<Effect>) -> Option<Effect> {
    let rank = |effect: &Effect| match effect {
        Effect::Soft { residual_days } => (4, residual_days.unwrap_or(u32::MAX)),
        Effect::Scheduled { within_days } => (3, *within_days),
        Effect::Suppressed => (2, 0),
        Effect::Anonymised => (1, 0),
        Effect::Permanent => (0, 0),
    };
    one.into_iter().chain(other).max_by_key(rank)
}
