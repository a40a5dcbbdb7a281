//! A flat record is a row, line, item or entry that says by its own values whose it is: nothing has to be followed.
//!
//! The stores that hold such records (objects with rows, document tables, directories, warehouses) share who is meant by a
//! record, when that is contradicted, and how it is told what was found and done.
//!
//! **Contradictions.** A record is judged by its strongest matching identifier. If it holds another value than any of the
//! subject's in the place of a *stronger* type it may be another person's record that shares the weaker identifier, and
//! nothing is done in this system. So too if records that match by phone only hold different e-mail addresses.

use crate::{
    CollectionEvidence, Correction, Done, Effect, Evidence, Outcome, Problem, Receipt, Retained, Trouble, Verdict,
    Work, YIELD_MAX,
};
use redress_domain::{Identifier, IdentifierType, Subject};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a record holds in the places of identifiers.
pub(crate) type Values = Vec<(IdentifierType, String)>;

/// The people of a batch, by what a record may hold of them. It has no `Debug`: all of it is personal.
pub(crate) struct Crowd {
    people: Vec<Subject>,
    exact: HashMap<(IdentifierType, String), Vec<usize>>,
    tails: HashMap<String, Vec<usize>>,
}

/// What a record says about one person.
pub(crate) struct Judgement {
    /// Whose it is, by the person's place in the batch.
    pub(crate) person: usize,
    /// The strongest type by which it is theirs.
    pub(crate) strongest: IdentifierType,
    /// Stronger types by which it is not.
    pub(crate) contradicting: Vec<IdentifierType>,
}

impl Crowd {
    /// The people of a batch.
    pub(crate) fn of(batch: &[Work<'_>]) -> Self {
        let people: Vec<Subject> = batch.iter().map(|work| work.subject.clone()).collect();
        let (mut exact, mut tails): (HashMap<_, Vec<usize>>, HashMap<_, Vec<usize>>) = Default::default();
        for (person, subject) in people.iter().enumerate() {
            for identifier in &subject.identifiers {
                if let Some(tail) = identifier.phone_tail() {
                    tails.entry(tail.expose().clone()).or_default().push(person);
                } else {
                    let key = (identifier.kind(), identifier.normal().expose().clone());
                    exact.entry(key).or_default().push(person);
                }
            }
        }
        Self { people, exact, tails }
    }

    /// How many people.
    pub(crate) fn len(&self) -> usize {
        self.people.len()
    }

    /// One of them.
    pub(crate) fn person(&self, person: usize) -> &Subject {
        &self.people[person]
    }

    /// Whether a person can be searched by one of these types.
    pub(crate) fn is_searchable(&self, person: usize, types: &[IdentifierType]) -> bool {
        self.people[person].identifiers.iter().any(|identifier| types.contains(&identifier.kind()))
    }

    /// Whether anybody can.
    pub(crate) fn any_searchable(&self, types: &[IdentifierType]) -> bool {
        (0..self.len()).any(|person| self.is_searchable(person, types))
    }

    /// Whose record this is. Nobody's, mostly.
    pub(crate) fn judge(&self, values: &[(IdentifierType, String)]) -> Vec<Judgement> {
        let mut candidates = BTreeSet::new();
        for (kind, value) in values {
            match kind {
                IdentifierType::Phone => {
                    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
                    let tail = &digits[digits.len().saturating_sub(6)..];
                    candidates.extend(self.tails.get(tail).into_iter().flatten());
                }
                kind => {
                    let Ok(stored) = Identifier::parse(*kind, value, None) else { continue };
                    let key = (*kind, stored.normal().expose().clone());
                    candidates.extend(self.exact.get(&key).into_iter().flatten());
                }
            }
        }
        candidates.into_iter().filter_map(|person| self.judge_one(person, values)).collect()
    }

    /// What a record says about this person; none if it is not theirs.
    pub(crate) fn judge_one(&self, person: usize, values: &[(IdentifierType, String)]) -> Option<Judgement> {
        let subject = &self.people[person];
        let (mut same, mut other) = (BTreeSet::new(), BTreeSet::new());
        for (kind, value) in values {
            let mut wanted = subject.identifiers.iter().filter(|identifier| identifier.kind() == *kind).peekable();
            if wanted.peek().is_none() || value.trim().is_empty() {
                continue;
            }
            if wanted.any(|identifier| identifier.is_same_as(value, subject.region.as_deref())) {
                same.insert(*kind);
            } else {
                other.insert(*kind);
            }
        }
        let strongest = *same.first()?;
        let contradicting = other.into_iter().filter(|kind| *kind < strongest && !same.contains(kind)).collect();
        Some(Judgement { person, strongest, contradicting })
    }
}

/// What was met of one person so far. It has no `Debug`.
#[derive(Default)]
pub(crate) struct Met {
    conflicts: BTreeSet<String>,
    contradicted: u64,
    /// Of each record that matches by phone only, if it holds any.
    addresses_by_phone: BTreeSet<BTreeSet<String>>,
    yielded: BTreeSet<(IdentifierType, String)>,
}

impl Met {
    /// Takes in one of their records.
    pub(crate) fn note(&mut self, collection: &str, judgement: &Judgement, values: &Values, subject: &Subject) {
        if !judgement.contradicting.is_empty() {
            let other = judgement.contradicting.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" and ");
            self.contradicted += 1;
            self.conflicts.insert(format!(
                "a record of {collection} matches by {} but holds another {other}",
                judgement.strongest.as_str()
            ));
            return;
        }
        let mut addresses = BTreeSet::new();
        for (kind, value) in values {
            if judgement.strongest == IdentifierType::Phone && *kind == IdentifierType::Email {
                let address = Identifier::parse(*kind, value, None).ok();
                addresses.extend(address.map(|address| address.normal().expose().clone()));
            }
            let known = subject.identifiers.iter().any(|identifier| identifier.kind() == *kind);
            let certain = judgement.strongest != IdentifierType::Phone;
            if kind.is_opaque() && !known && certain && self.yielded.len() < YIELD_MAX {
                self.yielded.insert((*kind, value.clone()));
            }
        }
        if !addresses.is_empty() {
            self.addresses_by_phone.insert(addresses);
        }
    }

    /// Whether the records may be touched: none is contradicted, and they are no more than allowed.
    pub(crate) fn settle(&self, matched: u64, max_matches: u64) -> Result<(), Trouble> {
        let mut said = self.conflicts.clone();
        // One record may hold several addresses of one person; records that share none may be of several people.
        let mut all = self.addresses_by_phone.iter();
        if all.next().is_some_and(|first| all.any(|other| other.is_disjoint(first))) {
            said.insert("records that match by phone only hold different e-mail addresses".to_owned());
        }
        if !said.is_empty() {
            let said = said.into_iter().collect::<Vec<_>>().join("; ");
            return Err(Trouble::Ambiguous {
                matched: matched.max(self.contradicted),
                problem: Problem::new(
                    "identifiers_contradict",
                    format!(
                        "{said}; nothing was touched: find out whose they are, then send the request with the right identifiers"
                    ),
                ),
            });
        }
        if matched > max_matches {
            return Err(Trouble::Ambiguous {
                matched,
                problem: Problem::new(
                    "too_many_matches",
                    format!(
                        "{matched} records match the person's identifiers, but max_matches is {max_matches}; look at them, then raise max_matches or use a stronger identifier"
                    ),
                ),
            });
        }
        Ok(())
    }

    /// Keys of the person that their records hold and the request did not name.
    pub(crate) fn yielded(&self) -> Vec<Identifier> {
        self.yielded.iter().filter_map(|(kind, value)| Identifier::parse(*kind, value, None).ok()).collect()
    }
}

/// One record that was touched.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Touch {
    /// How often it was there.
    pub(crate) times: u64,
    /// What it became by a correction, where that tells it apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) became: Option<String>,
    /// Whether it was to change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) due: bool,
}

/// The records of one person by collection and key, as announced. It has no `Debug`: a key may be personal.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Touched(pub(crate) BTreeMap<String, BTreeMap<String, Touch>>);

impl Touched {
    /// Reads back what an earlier run announced.
    pub(crate) fn read(receipt: Option<&Receipt>) -> Result<Self, Trouble> {
        receipt.map_or(Ok(Self::default()), |receipt| {
            serde_json::from_str(&receipt.0).map_err(|_| {
                Trouble::Denied(Problem::new(
                    "receipt_unreadable",
                    "what an earlier run of this step recorded cannot be read; use the version that wrote it",
                ))
            })
        })
    }

    /// In the form that is stored.
    pub(crate) fn receipt(&self) -> Receipt {
        Receipt(serde_json::to_string(self).expect("texts and numbers are JSON"))
    }

    /// Adds a record, or what more is known of it.
    pub(crate) fn add(&mut self, collection: &str, key: &str, times: u64) -> &mut Touch {
        let touch = self.0.entry(collection.to_owned()).or_default().entry(key.to_owned()).or_default();
        touch.times = touch.times.max(times);
        touch
    }

    /// Takes in what another run announced.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (collection, records) in &other.0 {
            for (key, touch) in records {
                let mine = self.add(collection, key, touch.times);
                mine.due |= touch.due;
                mine.became = mine.became.take().or_else(|| touch.became.clone());
            }
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// How many records.
    pub(crate) fn total(&self) -> u64 {
        self.0.keys().map(|collection| self.count(collection)).sum()
    }

    /// How many of a collection.
    pub(crate) fn count(&self, collection: &str) -> u64 {
        self.0.get(collection).into_iter().flat_map(BTreeMap::values).map(|touch| touch.times).sum()
    }

    /// How many of a collection were to change.
    pub(crate) fn due(&self, collection: &str) -> u64 {
        let records = self.0.get(collection).into_iter().flat_map(BTreeMap::values);
        records.filter(|touch| touch.due).map(|touch| touch.times).sum()
    }
}

/// The records that a read found, or that are left, told with these collections in this order.
pub(crate) fn evidence<'c>(
    collections: impl IntoIterator<Item = (&'c str, &'c str)>,
    touched: &Touched,
    left: &Touched,
    changing: bool,
) -> Evidence {
    let line = |(collection, action): (&str, &str)| {
        let (before, after) = (touched.count(collection), left.count(collection));
        CollectionEvidence {
            collection: collection.to_owned(),
            action: action.to_owned(),
            before,
            changed: if changing { before.saturating_sub(after) } else { 0 },
            after,
        }
    };
    Evidence { collections: collections.into_iter().map(line).collect() }
}

/// What is told of a search: done, or nothing found if nothing else is to be said either.
pub(crate) fn seen(found: &Touched, evidence: Evidence, retained: Vec<Retained>, yielded: Vec<Identifier>) -> Outcome {
    match found.total() {
        0 if retained.is_empty() => Outcome::NothingFound(evidence),
        found => Outcome::Done(Done { found, retained, evidence, yielded, ..Done::default() }),
    }
}

/// What is told of an erasure: `touched` is all that this and earlier runs announced, `left` what is still there.
pub(crate) fn erased(
    touched: &Touched,
    left: &Touched,
    evidence: Evidence,
    retained: Vec<Retained>,
    effect: Effect,
    yielded: Vec<Identifier>,
) -> Outcome {
    let found = touched.total();
    if found == 0 {
        return seen(touched, evidence, retained, yielded);
    }
    Outcome::Done(Done {
        found,
        changed: found.saturating_sub(left.total()),
        retained,
        evidence,
        receipt: Some(touched.receipt()),
        effect: Some(effect),
        yielded,
    })
}

/// What a second read says: nothing may be left.
pub(crate) fn verdict(left: &Touched, evidence: Evidence) -> Verdict {
    match left.total() {
        0 => Verdict::Confirmed(evidence),
        remaining => Verdict::Residue { remaining, evidence },
    }
}

/// A collection that cannot be searched by what is known of a person is not taken for empty.
pub(crate) fn unsearched(collection: &str) -> Retained {
    Retained { collection: collection.to_owned(), records: 0, reason: "no_usable_identifier".to_owned() }
}

/// The corrections that a collection takes: place of the field -> value.
pub(crate) fn applicable<'c>(
    fields: &'c BTreeMap<String, String>,
    corrections: &'c [Correction],
) -> BTreeMap<&'c str, &'c str> {
    let place = |c: &'c Correction| Some((fields.get(&c.field)?.as_str(), c.value.expose().as_str()));
    corrections.iter().filter_map(place).collect()
}

/// The same trouble for everybody.
pub(crate) fn all(batch: &[Work<'_>], trouble: &Trouble) -> Vec<Outcome> {
    batch.iter().map(|_| Outcome::Trouble(trouble.clone())).collect()
}

/// The same trouble for everybody's verification.
pub(crate) fn all_verdicts(batch: &[Work<'_>], trouble: &Trouble) -> Vec<Verdict> {
    batch.iter().map(|_| Verdict::Trouble(trouble.clone())).collect()
}

/// A verb that the connector does not perform.
pub(crate) fn unsupported() -> Trouble {
    Trouble::Denied(Problem::new(
        "verb_unsupported",
        "this connector does not perform this verb; see docs/connectors.md",
    ))
}

/// Reads `identify = { type = "place" }`. Faults are told as text.
pub(crate) fn identify(map: &BTreeMap<String, String>) -> Result<Vec<(IdentifierType, String)>, String> {
    let mut identify = Vec::new();
    for (name, place) in map {
        match IdentifierType::parse(name) {
            Some(kind) => identify.push((kind, place.clone())),
            None => return Err(format!("{name:?} is not a type of identifier")),
        }
    }
    identify.sort();
    if identify.is_empty() { Err("must name at least one type of identifier".to_owned()) } else { Ok(identify) }
}
