//! A derived identifier is one that the person's own rows hold; it opens the tables that none of the given identifiers can search.
//!
//! The rule is at the top of [`super::find`]. Whatever is doubtful about a derived value or about what it brings up
//! leaves the table unsearched, which is said in the answer, instead of guessing.

use super::Context;
use super::declared::Table;
use super::desk::Reads;
use super::dialect::Kind;
use super::find::{Found, Search, candidates, judge, lock, place, shared_address};
use super::redact::is_redacted;
use super::session::Texts;
use super::values;
use crate::{Retained, Trouble};
use redress_domain::{Identifier, IdentifierType, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// The reason of a table that could not be searched.
const NO_USABLE_IDENTIFIER: &str = "no_usable_identifier";

/// Derived identifiers in their normal form. No `Debug` of what holds them: they are personal.
pub(super) type Derived = BTreeMap<IdentifierType, String>;

/// Which tables these identifiers reach: those that identify by one of their types, and those that refer to one that
/// is reached.
pub(super) fn reached(tables: &[Table], subject: &Subject) -> Vec<bool> {
    let given = |kind: IdentifierType| subject.identifiers.iter().any(|i| i.kind() == kind);
    follow(tables, tables.iter().map(|table| table.identify.iter().any(|(kind, _)| given(*kind))).collect())
}

fn follow(tables: &[Table], mut reached: Vec<bool>) -> Vec<bool> {
    loop {
        let more: Vec<usize> = (0..tables.len())
            .filter(|&t| !reached[t] && tables[t].references.iter().any(|reference| reached[reference.parent]))
            .collect();
        if more.is_empty() {
            return reached;
        }
        for t in more {
            reached[t] = true;
        }
    }
}

/// The subject with the derived identifiers, for the tables that the given ones do not reach.
pub(super) fn with_derived(subject: &Subject, derived: &Derived) -> Subject {
    let mut known = subject.clone();
    known.identifiers.extend(derived.iter().filter_map(|(kind, value)| identifier(*kind, value, subject)));
    known
}

/// What is said of the tables that were not searched, as far as they are `concerned`.
pub(super) fn unsearched(context: &Context<'_>, found: &Found, concerned: impl Fn(usize) -> bool) -> Vec<Retained> {
    let tables = found.unsearched.iter().filter(|t| concerned(**t));
    tables
        .map(|t| Retained {
            collection: context.engine.declared.tables[*t].name.clone(),
            records: 0,
            reason: NO_USABLE_IDENTIFIER.to_owned(),
        })
        .collect()
}

/// Searches the tables that the given identifiers do not reach, by what the rows found so far hold. `direct` are the
/// keys of those that hold a given identifier themselves; the others were reached by reference.
pub(super) async fn open(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    subject: &Subject,
    search: Search<'_>,
    direct: &[BTreeSet<String>],
    found: &mut Found,
) -> Result<(), Trouble> {
    let tables = &context.engine.declared.tables;
    let reached_by_given = reached(tables, subject);
    let closed: Vec<usize> = (0..tables.len()).filter(|t| !reached_by_given[*t]).collect();
    if closed.is_empty() {
        return Ok(());
    }
    let (held, mut every) = held(context, subject, direct, found);
    let mut derived: Derived = every
        .iter()
        .filter(|(kind, values)| values.len() == 1 && held.contains(kind))
        .filter_map(|(kind, values)| Some((*kind, values.first()?.clone())))
        .collect();
    // What an earlier run went by counts, whatever it made of the rows since.
    for (kind, value) in search.known.into_iter().flatten() {
        derived.insert(*kind, value.clone());
        every.entry(*kind).or_default().insert(value.clone());
    }
    derived.retain(|kind, _| closed.iter().any(|t| tables[*t].identify.iter().any(|(k, _)| k == kind)));
    for (kind, value) in derived.clone() {
        if is_elsewhere(context, reads, subject, (kind, &value), &reached_by_given, found).await? {
            derived.remove(&kind);
        }
    }
    let known = with_derived(subject, &derived);
    let mut witness = known.clone();
    let all = every.iter().flat_map(|(kind, values)| values.iter().map(move |value| (*kind, value)));
    witness.identifiers.extend(all.filter_map(|(kind, value)| identifier(kind, value, subject)));

    let mut searched = reached_by_given;
    for t in closed {
        if !tables[t].identify.iter().any(|(kind, _)| derived.contains_key(kind)) {
            continue;
        }
        if let Some(rows) = rows(context, reads, t, &known, &witness, search).await? {
            found.rows[t] = rows;
            searched[t] = true;
        }
    }
    let searched = follow(tables, searched);
    found.unsearched = (0..tables.len()).filter(|t| !searched[*t]).collect();
    found.derived = derived;
    Ok(())
}

/// The rows of a table that hold a derived identifier; none at all if any of them is doubtful.
async fn rows(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    known: &Subject,
    witness: &Subject,
    search: Search<'_>,
) -> Result<Option<BTreeMap<String, Texts>>, Trouble> {
    reads.at((place::DERIVED, t, 0));
    let mut rows = match candidates(context, reads, t, known).await {
        Err(Trouble::Ambiguous { .. }) => return Ok(None),
        rows => rows?,
    };
    rows.retain(|_, row| judge(context, t, row, known).strongest.is_some());
    reads.step(usize::MAX);
    let mut rows = lock(context, reads, t, rows, search).await?;
    let mut addresses = BTreeSet::new();
    let mut doubtful = false;
    rows.retain(|_, row| {
        let Some(strongest) = judge(context, t, row, known).strongest else { return false };
        doubtful |= !judge(context, t, row, witness).contradicting.is_empty();
        if strongest == IdentifierType::Phone {
            addresses.extend(shared_address(context, t, row));
        }
        true
    });
    Ok((!doubtful && addresses.len() <= 1).then_some(rows))
}

/// Which further types the directly found rows hold, and every value of them that any found row holds.
fn held(
    context: &Context<'_>,
    subject: &Subject,
    direct: &[BTreeSet<String>],
    found: &Found,
) -> (BTreeSet<IdentifierType>, BTreeMap<IdentifierType, BTreeSet<String>>) {
    let mut held = BTreeSet::new();
    let mut every: BTreeMap<IdentifierType, BTreeSet<String>> = BTreeMap::new();
    for (t, table) in context.engine.declared.tables.iter().enumerate() {
        for (kind, column) in &table.identify {
            if subject.identifiers.iter().any(|i| i.kind() == *kind) {
                continue;
            }
            let stored_as = context.schema.tables[t].wanted[*column].kind;
            for (key, row) in &found.rows[t] {
                let Some(Some(text)) = row.get(*column) else { continue };
                if text.trim().is_empty() || is_redacted(text) {
                    continue;
                }
                let text = if *kind == IdentifierType::CustomerId { id(stored_as, text) } else { text.clone() };
                let value = identifier(*kind, &text, subject).map(|i| i.normal().expose().clone());
                // An id is what it is, byte by byte: one that cannot be given as an identifier stands for a second value.
                let whole = *kind != IdentifierType::CustomerId || value.as_ref() == Some(&text);
                if !whole {
                    every.entry(*kind).or_default().insert(String::new());
                }
                if let Some(value) = value {
                    every.entry(*kind).or_default().insert(value);
                    if direct[t].contains(key) {
                        held.insert(*kind);
                    }
                }
            }
        }
    }
    (held, every)
}

/// Whether a reached table has a row with this value that was not found: then the value is not this person's alone.
async fn is_elsewhere(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    subject: &Subject,
    (kind, value): (IdentifierType, &str),
    reached: &[bool],
    found: &Found,
) -> Result<bool, Trouble> {
    let Some(identifier) = identifier(kind, value, subject) else { return Ok(true) };
    let alone = Subject { identifiers: vec![identifier], region: subject.region.clone() };
    for t in (0..reached.len()).filter(|t| reached[*t]) {
        reads.at((place::ELSEWHERE + kind as u16, t, 0));
        let rows = match candidates(context, reads, t, &alone).await {
            Err(Trouble::Ambiguous { .. }) => return Ok(true),
            rows => rows?,
        };
        let other = |(key, row): (&String, &Texts)| {
            !found.rows[t].contains_key(key) && judge(context, t, row, &alone).strongest.is_some()
        };
        if rows.iter().any(other) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn identifier(kind: IdentifierType, value: &str, subject: &Subject) -> Option<Identifier> {
    Identifier::parse(kind, value, subject.region.as_deref()).ok()
}

/// An id as a person would give it, whatever the column's type prints.
fn id(stored_as: Kind, text: &str) -> String {
    let bytes = || values::from_hex(text).and_then(|bytes| String::from_utf8(bytes).ok());
    match stored_as {
        Kind::Uuid => values::uuid(text),
        Kind::Decimal => Some(values::plain_decimal(text).to_owned()),
        Kind::Binary => values::uuid(text).or_else(bytes),
        _ => None,
    }
    .unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_derived_in_the_form_in_which_it_would_be_given() {
        let uuid = "0d9c53aa-8c5b-4d2e-9b0f-5b1c3f6f0a11";
        for (kind, text, expected) in [
            (Kind::Text, " C-1", " C-1"),
            (Kind::Decimal, "42.00", "42"),
            (Kind::Uuid, uuid, uuid),
            (Kind::Binary, "0d9c53aa8c5b4d2e9b0f5b1c3f6f0a11", uuid),
            (Kind::Binary, "432d31", "C-1"),
        ] {
            assert_eq!(id(kind, text), expected);
        }
    }
}
