//! A found record is one that a complete search gave and that is the person's by an exact comparison, or that belongs to such a record.

use super::call::{Draft, Refusal, Run, not_sendable};
use super::pages::{self, List};
use super::people::{Conflicts, Index, Judgement, field, judge, spellings, subject_value};
use super::plan::{Request, Search};
use super::pointer;
use super::template::{RenderFault, Scope};
use crate::http::unreadable;
use crate::{Problem, Retained, Trouble};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use redress_domain::{Identifier, IdentifierType, Subject};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One record of a person. It has no `Debug`: it is personal.
#[derive(Clone)]
pub(super) struct Hit {
    pub(super) key: Value,
    /// The element of the list in which it was found.
    pub(super) item: Option<Arc<Value>>,
    pub(super) record: Value,
}

/// What was found of one person.
#[derive(Default)]
pub(super) struct Findings {
    /// By find.
    pub(super) hits: BTreeMap<String, Vec<Hit>>,
    /// Records that are other people's too, by find.
    pub(super) shared: BTreeMap<String, u64>,
    pub(super) yielded: Vec<Identifier>,
    /// Keys of records that a search gave but that are not the person's by comparison, by find: a deleted record that
    /// lost its identifiers only is among them.
    pub(super) strangers: BTreeMap<String, BTreeSet<String>>,
    /// Finds that could not be made, because the person is not known by what they search by.
    pub(super) unsearched: Vec<String>,
}

/// Which finds are made, and whether it matters how many records match.
pub(super) struct Scout<'a> {
    pub(super) finds: BTreeSet<&'a str>,
    pub(super) limited: bool,
}

type Found = Result<Findings, Trouble>;
type Hits = Result<Vec<Hit>, Trouble>;

const NO_USABLE_IDENTIFIER: &str = "no_usable_identifier";

impl Hit {
    /// What a request for this record sees.
    pub(super) fn scope<'s>(&'s self, outer: &'s Scope<'s>) -> Scope<'s> {
        let scope = Scope::inside(outer).lent("record", &self.record).lent("record.key", &self.key);
        match &self.item {
            Some(item) => scope.lent("item", item),
            None => scope,
        }
    }

    /// Which record of its find it is.
    pub(super) fn identity(&self, search: &Search) -> String {
        let item = self.item.as_deref().map(|item| prune(item, &search.kept.item));
        identity(&self.key, item.as_ref())
    }
}

/// A record's key, together with the list it was found in where that is part of its address.
pub(super) fn identity(key: &Value, item: Option<&Value>) -> String {
    let key = pointer::text(key).unwrap_or_default();
    match item.filter(|item| item.as_object().is_some_and(|map| !map.is_empty())) {
        Some(item) => format!("{key} {item}"),
        None => key,
    }
}

/// Only these parts of a value.
pub(super) fn prune(value: &Value, paths: &BTreeSet<Vec<String>>) -> Value {
    let mut kept = Map::new();
    for path in paths {
        let pointer = pointer::of(path);
        let Some(part) = pointer::all(value, &pointer).into_iter().next() else { continue };
        let mut whole = Value::Object(std::mem::take(&mut kept));
        pointer::set(&mut whole, &pointer, part.clone());
        if let Value::Object(map) = whole {
            kept = map;
        }
    }
    Value::Object(kept)
}

impl Findings {
    /// The records of a find.
    pub(super) fn of(&self, find: &str) -> &[Hit] {
        self.hits.get(find).map_or(&[], Vec::as_slice)
    }

    /// What could not be searched is told, and not taken for empty.
    pub(super) fn unsearched(&self) -> impl Iterator<Item = Retained> + '_ {
        let told =
            |find: &String| Retained { collection: find.clone(), records: 0, reason: NO_USABLE_IDENTIFIER.to_owned() };
        self.unsearched.iter().map(told)
    }

    fn add(&mut self, search: &Search, hit: Hit) {
        let has_something = |pointer: &String| pointer::first(&hit.record, pointer).is_some();
        if search.find.shared.iter().any(has_something) {
            *self.shared.entry(search.name.clone()).or_default() += 1;
            return;
        }
        let hits = self.hits.entry(search.name.clone()).or_default();
        let identity = hit.identity(search);
        if !hits.iter().any(|known| known.identity(search) == identity) {
            hits.push(hit);
        }
    }
}

/// Looks for each of these people; nobody's trouble is another's.
pub(super) async fn find(run: &Run<'_>, people: &[&Subject], scout: &Scout<'_>) -> Vec<Found> {
    let searches = || run.engine.plan.searches.iter().filter(|search| scout.finds.contains(search.name.as_str()));
    let direct_ones: Vec<&Search> = searches().filter(|search| search.find.from.is_none()).collect();
    let mut found: Vec<Found> = people.iter().map(|subject| searchable(&direct_ones, subject)).collect();
    let mut conflicts: Vec<Conflicts> = people.iter().map(|_| Conflicts::default()).collect();
    for search in direct_ones {
        direct(run, search, people, &mut found, &mut conflicts).await;
    }
    for (found, conflicts) in found.iter_mut().zip(conflicts) {
        if let Ok(findings) = found
            && let Err(trouble) = settle(run, findings, conflicts, scout)
        {
            *found = Err(trouble);
        }
    }
    for search in searches().filter(|search| search.find.from.is_some()) {
        dependent(run, search, people, &mut found, scout).await;
    }
    found
}

/// Which searches cannot be made for a person; trouble if none can.
fn searchable(searches: &[&Search], subject: &Subject) -> Found {
    let can = |search: &&&Search| subject.identifiers.iter().any(|identifier| search.by.contains(&identifier.kind()));
    let unsearched: Vec<String> =
        searches.iter().filter(|search| !can(search)).map(|search| search.name.clone()).collect();
    if unsearched.len() < searches.len() || searches.is_empty() {
        return Ok(Findings { unsearched, ..Findings::default() });
    }
    let kinds: BTreeSet<&str> = searches.iter().flat_map(|search| search.by.iter().map(|kind| kind.as_str())).collect();
    let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
    Err(Trouble::Denied(Problem::new(
        NO_USABLE_IDENTIFIER,
        format!(
            "this vendor can only be searched by {kinds} and the request names none; add one or leave this system out"
        ),
    )))
}

fn settle(run: &Run<'_>, findings: &Findings, conflicts: Conflicts, scout: &Scout<'_>) -> Result<(), Trouble> {
    if !scout.limited {
        return Ok(());
    }
    let people = run.engine.plan.searches.iter().filter(|search| !search.find.many && !search.is_blind());
    let matched: u64 = people.map(|search| findings.of(&search.name).len() as u64).sum();
    conflicts.settle(matched)?;
    allowed(matched, run.engine.max_matches)?;
    for search in &run.engine.plan.searches {
        allowed(findings.of(&search.name).len() as u64, search.find.max_matches.unwrap_or(u64::MAX))?;
    }
    Ok(())
}

fn allowed(matched: u64, max_matches: u64) -> Result<(), Trouble> {
    if matched <= max_matches {
        return Ok(());
    }
    Err(Trouble::Ambiguous {
        matched,
        problem: Problem::new(
            "too_many_matches",
            format!(
                "{matched} records match the person's identifiers, but max_matches is {max_matches}; look at them, then raise max_matches or use a stronger identifier"
            ),
        ),
    })
}

/// A spelling of somebody's identifier.
struct Wanted {
    person: usize,
    text: String,
    /// The one that must be searched; the others only where they can be.
    main: bool,
}

fn wanted(search: &Search, kind: IdentifierType, people: &[&Subject], found: &[Found]) -> Vec<Wanted> {
    let mut all = Vec::new();
    for (person, subject) in people.iter().enumerate().filter(|(person, _)| found[*person].is_ok()) {
        for identifier in subject.identifiers.iter().filter(|identifier| identifier.kind() == kind) {
            for (nth, text) in spellings(identifier, search.find.as_given).into_iter().enumerate() {
                all.push(Wanted { person, text, main: nth == 0 });
            }
        }
    }
    all
}

/// Searches by each identifier type of a find.
async fn direct(run: &Run<'_>, search: &Search, people: &[&Subject], found: &mut [Found], conflicts: &mut [Conflicts]) {
    for kind in &search.by {
        let wanted = wanted(search, *kind, people, found);
        if wanted.is_empty() {
            continue;
        }
        let Some(request) = search.request(Some(*kind)) else {
            by_key(run, search, *kind, people, wanted, found);
            continue;
        };
        let common = if search.each_is_personal { None } else { Some(places(run, search, &run.engine.scope()).await) };
        let places = match common {
            Some(Err(trouble)) => {
                for wanted in &wanted {
                    found[wanted.person] = Err(trouble.clone());
                }
                continue;
            }
            Some(Ok(places)) => Some(places),
            None => None,
        };
        match (&search.find.batch, &places) {
            (Some(_), Some(places)) => {
                for place in places {
                    together(run, search, *kind, request, place.as_ref(), people, &wanted, found, conflicts).await;
                }
            }
            _ => apart(run, search, *kind, request, places.as_deref(), people, wanted, found, conflicts).await,
        }
    }
}

type Place = Option<Arc<Value>>;

/// The elements of the list that a find goes through; one that is none where it goes through no list.
async fn places(run: &Run<'_>, search: &Search, scope: &Scope<'_>) -> Result<Vec<Place>, Trouble> {
    let (Some(request), Some(each)) = (&search.each, &search.find.each) else { return Ok(vec![None]) };
    let draft = run.engine.draft(request, scope).map_err(|fault| not_sendable(&fault))?;
    let list = List { items: &each.items, paging: each.paging.as_ref(), none: &[], none_if: None };
    let all = pages::all(run, draft, list).await.map_err(|refusal| refusal.trouble)?;
    Ok(all.into_iter().map(|place| Some(Arc::new(place))).collect())
}

/// Keys that follow from identifiers.
fn by_key(
    run: &Run<'_>,
    search: &Search,
    kind: IdentifierType,
    people: &[&Subject],
    wanted: Vec<Wanted>,
    found: &mut [Found],
) {
    let Some(template) = &search.key_is else { return };
    for wanted in wanted.into_iter().filter(|wanted| wanted.main) {
        let subject = subject_value(people[wanted.person], Some((kind, &wanted.text)), Some(search));
        let base = run.engine.scope();
        let key = template.value(&Scope::inside(&base).lent("subject", &subject));
        match key {
            Ok(key) => {
                if let Ok(findings) = &mut found[wanted.person] {
                    findings.add(search, Hit { key, item: None, record: Value::Object(Map::new()) });
                }
            }
            Err(fault) => found[wanted.person] = Err(not_sendable(&fault)),
        }
    }
}

fn list_of(search: &Search, kind: Option<IdentifierType>) -> List<'_> {
    let find = &search.find;
    let items = kind.and_then(|kind| find.items_by.get(kind.as_str())).unwrap_or(&find.items);
    List { items, paging: find.paging.as_ref(), none: &find.none, none_if: find.none_if.as_ref() }
}

/// One request for one identifier.
#[expect(clippy::too_many_arguments, reason = "one step of `direct`, named")]
async fn apart(
    run: &Run<'_>,
    search: &Search,
    kind: IdentifierType,
    request: &Request,
    places: Option<&[Place]>,
    people: &[&Subject],
    wanted: Vec<Wanted>,
    found: &mut [Found],
    conflicts: &mut [Conflicts],
) {
    let asking: Vec<BoxFuture<'_, (Wanted, Hits)>> = wanted
        .into_iter()
        .map(|wanted| {
            let subject = people[wanted.person];
            Box::pin(async move {
                let hits = one(run, search, kind, request, places, subject, &wanted).await;
                (wanted, hits)
            }) as BoxFuture<'_, _>
        })
        .collect();
    let mut answers = futures::stream::iter(asking).buffered(run.engine.in_flight);
    while let Some((wanted, hits)) = answers.next().await {
        match hits {
            Err(trouble) => found[wanted.person] = Err(trouble),
            Ok(hits) => {
                for hit in hits {
                    let judgement = judge(search, &hit.record, people[wanted.person], Some(kind));
                    settle_hit(
                        search,
                        hit,
                        &judgement,
                        people[wanted.person],
                        &mut found[wanted.person],
                        &mut conflicts[wanted.person],
                    );
                }
            }
        }
    }
}

/// A record that a search gave: the person's, or dropped.
fn settle_hit(
    search: &Search,
    hit: Hit,
    judgement: &Judgement,
    subject: &Subject,
    found: &mut Found,
    conflicts: &mut Conflicts,
) {
    let Ok(findings) = found else { return };
    if judgement.strongest.is_none() {
        findings.strangers.entry(search.name.clone()).or_default().insert(hit.identity(search));
        return;
    }
    conflicts.note(search, &hit.record, judgement);
    for (kind, pointer) in &search.find.yields {
        let values = pointer::all(&hit.record, pointer).into_iter().filter_map(pointer::text);
        let kind = IdentifierType::parse(kind);
        let read = values.filter_map(|text| Identifier::parse(kind?, &text, subject.region.as_deref()).ok());
        for identifier in read {
            let known = subject.identifiers.iter().chain(&findings.yielded);
            if !known.into_iter().any(|k| k.kind() == identifier.kind() && k.normal() == identifier.normal()) {
                findings.yielded.push(identifier);
            }
        }
    }
    findings.add(search, hit);
}

async fn one(
    run: &Run<'_>,
    search: &Search,
    kind: IdentifierType,
    request: &Request,
    places: Option<&[Place]>,
    subject: &Subject,
    wanted: &Wanted,
) -> Result<Vec<Hit>, Trouble> {
    let value = subject_value(subject, Some((kind, &wanted.text)), Some(search));
    let listed = Value::from(vec![wanted.text.as_str()]);
    let base = run.engine.scope();
    let mut scope = Scope::inside(&base).lent("subject", &value).lent("subjects.value", &listed);
    let sendable = |fault: RenderFault| match fault {
        // Another spelling of what is searched anyway.
        RenderFault::Unsendable { .. } if !wanted.main => None,
        fault => Some(not_sendable(&fault)),
    };
    if let Some(template) = &search.key_is {
        match template.value(&scope) {
            Ok(key) => scope.set("handle", key),
            Err(fault) => return sendable(fault).map_or(Ok(Vec::new()), Err),
        }
    }
    let own = match places {
        Some(_) => Vec::new(),
        None => self::places(run, search, &scope).await?,
    };
    let mut hits = Vec::new();
    for place in places.unwrap_or(&own) {
        let inner = Scope::inside(&scope);
        let inner = if let Some(place) = place { inner.lent("item", place) } else { inner };
        let draft = match run.engine.draft(request, &inner) {
            Ok(draft) => draft,
            Err(fault) => return sendable(fault).map_or(Ok(Vec::new()), Err),
        };
        let records = pages::all(run, draft, list_of(search, Some(kind))).await.map_err(|refusal| refusal.trouble)?;
        let handle = search.key_is.is_some().then(|| scope.get(&["handle".to_owned()]).cloned()).flatten();
        let handle = handle.unwrap_or_else(|| wanted.text.as_str().into());
        hits.extend(read(search, records, place.as_ref(), Some(&handle))?);
    }
    Ok(hits)
}

/// The records of an answer, with their keys.
fn read(
    search: &Search,
    records: Vec<Value>,
    place: Option<&Arc<Value>>,
    handle: Option<&Value>,
) -> Result<Vec<Hit>, Trouble> {
    let mut hits = Vec::new();
    for element in records {
        let record = match &search.find.item {
            Some(item) => pointer::first(&element, item).ok_or_else(unreadable)?.clone(),
            None => element,
        };
        if !pointer::holds(&record, &search.find.only) {
            continue;
        }
        let key = if search.find.key.is_empty() || search.find.key == "#handle" {
            match (handle, &record) {
                (_, Value::String(_) | Value::Number(_)) => Some(record.clone()),
                (handle, _) => handle.cloned(),
            }
        } else {
            pointer::first(&record, &search.find.key).cloned()
        };
        let usable = |key: &Value| pointer::text(key).is_some_and(|text| !text.trim().is_empty()) && !key.is_boolean();
        let key = key.filter(usable).ok_or_else(unreadable)?;
        hits.push(Hit { key, item: place.cloned(), record });
    }
    Ok(hits)
}

/// One request for many identifiers; each record is given to those whose it is.
#[expect(clippy::too_many_arguments, reason = "one step of `direct`, named")]
async fn together(
    run: &Run<'_>,
    search: &Search,
    kind: IdentifierType,
    request: &Request,
    place: Option<&Arc<Value>>,
    people: &[&Subject],
    wanted: &[Wanted],
    found: &mut [Found],
    conflicts: &mut [Conflicts],
) {
    let Some(batch) = &search.find.batch else { return };
    let draft = |texts: &[&str]| -> Result<Draft, RenderFault> {
        let base = run.engine.scope();
        let mut scope = Scope::inside(&base).with("subjects.value", texts.to_vec()).with("subject.type", kind.as_str());
        if let [text] = texts {
            scope.set("subject.value", *text);
        }
        if let Some(field) = field(search, kind) {
            scope.set("subject.field", field);
        }
        let scope = if let Some(place) = place { scope.lent("item", place) } else { scope };
        run.engine.draft(request, &scope)
    };
    let mut whose: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for wanted in wanted {
        match draft(&[&wanted.text]) {
            Ok(_) => {
                whose.entry(&wanted.text).or_default().insert(wanted.person);
            }
            Err(RenderFault::Unsendable { .. }) if !wanted.main => {}
            Err(fault) => found[wanted.person] = Err(not_sendable(&fault)),
        }
    }
    let texts: Vec<&str> = whose.keys().copied().collect();
    let mut chunks: Vec<Vec<&str>> = texts.chunks(batch.max_items.max(1)).rev().map(<[&str]>::to_vec).collect();
    let index = Index::of(search, people.iter().copied().enumerate());
    while let Some(chunk) = chunks.pop() {
        let answered = match draft(&chunk) {
            Ok(draft) if chunk.len() > 1 && draft.is_longer_than(batch.max_bytes) => Err(None),
            Ok(draft) => match pages::all(run, draft, list_of(search, Some(kind))).await {
                Ok(records) => read(search, records, place, None).map_err(Some),
                // One of them may be what the vendor does not take.
                Err(Refusal { invalid: true, .. }) if chunk.len() > 1 => Err(None),
                Err(refusal) => Err(Some(refusal.trouble)),
            },
            Err(fault) => Err(Some(not_sendable(&fault))),
        };
        match answered {
            Err(None) => {
                let (first, second) = chunk.split_at(chunk.len() / 2);
                chunks.push(second.to_vec());
                chunks.push(first.to_vec());
            }
            Err(Some(trouble)) => {
                for person in chunk.iter().flat_map(|text| &whose[text]) {
                    found[*person] = Err(trouble.clone());
                }
            }
            Ok(hits) => {
                for hit in hits {
                    for person in index.whose(search, &hit.record) {
                        let judgement = judge(search, &hit.record, people[person], None);
                        settle_hit(
                            search,
                            hit.clone(),
                            &judgement,
                            people[person],
                            &mut found[person],
                            &mut conflicts[person],
                        );
                    }
                }
            }
        }
    }
}

/// Searches for what belongs to records already found.
async fn dependent(run: &Run<'_>, search: &Search, people: &[&Subject], found: &mut [Found], scout: &Scout<'_>) {
    let (Some(from), Some(request)) = (search.find.from.as_deref(), search.request(None)) else { return };
    let mut asking: Vec<BoxFuture<'_, (usize, Hits)>> = Vec::new();
    for (person, findings) in found.iter().enumerate() {
        let Ok(findings) = findings else { continue };
        for parent in findings.of(from) {
            let (parent, subject) = (parent.clone(), people[person]);
            asking.push(Box::pin(async move { (person, of_record(run, search, request, parent, subject).await) }));
        }
    }
    let answers: Vec<_> = futures::stream::iter(asking).buffered(run.engine.in_flight).collect().await;
    for (person, hits) in answers {
        match hits {
            Err(trouble) => found[person] = Err(trouble),
            Ok(hits) => {
                for hit in hits {
                    let judgement = judge(search, &hit.record, people[person], None);
                    let Ok(findings) = &mut found[person] else { break };
                    if search.find.exact.is_empty() || judgement.strongest.is_some() {
                        findings.add(search, hit);
                    }
                }
            }
        }
        if let (Ok(findings), true) = (&found[person], scout.limited)
            && let Err(trouble) =
                allowed(findings.of(&search.name).len() as u64, search.find.max_matches.unwrap_or(u64::MAX))
        {
            found[person] = Err(trouble);
        }
    }
}

async fn of_record(
    run: &Run<'_>,
    search: &Search,
    request: &Request,
    parent: Hit,
    subject: &Subject,
) -> Result<Vec<Hit>, Trouble> {
    let value = subject_value(subject, None, Some(search));
    let base = run.engine.scope();
    let outer = Scope::inside(&base).lent("subject", &value);
    let scope = parent.scope(&outer);
    let mut hits = Vec::new();
    for place in places(run, search, &scope).await? {
        let inner = Scope::inside(&scope);
        let inner = if let Some(place) = &place { inner.lent("item", place) } else { inner };
        let draft = run.engine.draft(request, &inner).map_err(|fault| not_sendable(&fault))?;
        let records = pages::all(run, draft, list_of(search, None)).await.map_err(|refusal| refusal.trouble)?;
        // What hangs on an element of a list is addressed through it.
        let place = place.clone().or_else(|| parent.item.clone());
        hits.extend(read(search, records, place.as_ref(), Some(&parent.key))?);
    }
    if let Some(belongs) = &search.find.belongs {
        hits.retain(|hit| pointer::first(&hit.record, belongs).is_some_and(|of| pointer::same(of, &parent.key)));
    }
    Ok(hits)
}
