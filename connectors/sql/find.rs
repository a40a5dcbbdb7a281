//! A found row is one whose identifier equals one of the subject's after normalisation, or that refers to a found row.
//!
//! The database narrows, we decide: it is asked for every row that may hold an identifier in any spelling, and
//! [`redress_domain::Identifier::is_same_as`] says which of them do. From there the declared references are followed
//! until nothing new turns up.
//!
//! **Contradictions.** A row is judged by its strongest matching identifier (customer id, then e-mail, then phone). If
//! it holds another value than any of the subject's in the column of a *stronger* type, it may be another person's row
//! that merely shares the weaker identifier. A row that was reached by reference and matches nothing itself is
//! contradicted by any identifying column that holds another value. Either way nothing is done in this system.
//!
//! **Tables that the given identifiers cannot search.** A table that identifies only by other types than those given,
//! and refers to no table that can be searched, is searched by what the person's rows hold elsewhere in the same
//! system, in one step and never in a chain ([`super::derive`]): by a value of a missing type only if
//!
//! - a row that holds a given identifier itself has it in its own identifying column, and no found row, however it was
//!   reached, has another value of that type (or an earlier run of the same item went by it), and
//! - no row of a searched table that was *not* found has it too.
//!
//! A row counts if it equals that value as exactly as a given one. If one of the rows contradicts what else is known of
//! the person, or several that match by phone only hold different addresses, none of them counts. A table that is still
//! not searched then is not taken for empty: the answer lists it as `no_usable_identifier`.

use super::Context;
use super::declared::Reference;
use super::derive::{self, Derived};
use super::desk::Reads;
use super::dialect::{Dialect, Kind};
use super::lookup::{CANDIDATES_MAX, End, Equal, Lookup, What};
use super::redact::is_redacted;
use super::session::Texts;
use super::trouble::denied;
use super::values;
use crate::{Problem, Trouble};
use redress_domain::{Identifier, IdentifierType, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// The most values in one statement for one person.
pub(super) const CHUNK: usize = 256;

/// In which order the parts of a search are made, as far as persons wait for each other ([`super::desk::Place`]).
pub(super) mod place {
    pub(in super::super) const DIRECT: u16 = 0;
    pub(in super::super) const WALK: u16 = 10;
    /// And one more for each type of identifier.
    pub(in super::super) const ELSEWHERE: u16 = 20;
    pub(in super::super) const DERIVED: u16 = 30;
    pub(in super::super) const WALK_ON: u16 = 40;
    pub(in super::super) const FOREIGN: u16 = 50;
    pub(in super::super) const LISTED: u16 = 60;
    pub(in super::super) const STATE: u16 = 70;
}

/// The person's rows: for each declared table, key -> the columns that were wanted.
#[derive(Clone, Default)]
pub(super) struct Found {
    pub(super) rows: Vec<BTreeMap<String, Texts>>,
    /// Tables that could not be searched.
    pub(super) unsearched: Vec<usize>,
    /// The identifiers by which other tables were searched besides the given ones.
    pub(super) derived: Derived,
}

impl Found {
    /// How many rows of all tables.
    pub(super) fn total(&self) -> u64 {
        self.rows.iter().map(|rows| rows.len() as u64).sum()
    }

    /// The keys of one table's rows.
    pub(super) fn keys(&self, table: usize) -> BTreeSet<String> {
        self.rows[table].keys().cloned().collect()
    }
}

/// How a search is made. It has no `Debug`: what was derived is personal.
#[derive(Clone, Copy, Default)]
pub(super) struct Search<'a> {
    /// Tables whose rows are locked; none if empty.
    pub(super) lock: &'a [bool],
    /// What an earlier run derived.
    pub(super) known: Option<&'a Derived>,
    /// Whether any number of matches is fine, because nothing will be done to them.
    pub(super) unlimited: bool,
}

/// Finds the person's rows in every declared table.
pub(super) async fn find(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    subject: &Subject,
    search: Search<'_>,
) -> Result<Found, Trouble> {
    let declared = &context.engine.declared;
    let mut found = Found { rows: vec![BTreeMap::new(); declared.tables.len()], ..Found::default() };
    let mut conflicts = Conflicts::default();
    let mut sharing = BTreeSet::new();
    for t in 0..declared.tables.len() {
        reads.at((place::DIRECT, t, 0));
        let mut matching = candidates(context, reads, t, subject).await?;
        matching.retain(|_, row| judge(context, t, row, subject).strongest.is_some());
        reads.step(usize::MAX);
        let matching = lock(context, reads, t, matching, search).await?;
        for (key, row) in matching {
            let judgement = judge(context, t, &row, subject);
            let Some(strongest) = judgement.strongest else { continue };
            conflicts.note(&declared.tables[t].name, Some(strongest), &judgement.contradicting);
            if strongest == IdentifierType::Phone {
                sharing.extend(shared_address(context, t, &row));
            }
            found.rows[t].insert(key, row);
        }
    }
    // A number is often a household's: rows that hold different addresses are different people's until somebody says otherwise.
    if sharing.len() > 1 {
        conflicts.rows += sharing.len() as u64;
        conflicts.said.insert("rows that match by phone only hold different e-mail addresses".to_owned());
    }
    let matched = found.total();
    conflicts.settle(matched)?;
    allowed(matched, declared.max_matches, search)?;
    let direct: Vec<BTreeSet<String>> = (0..declared.tables.len()).map(|t| found.keys(t)).collect();
    walk(context, reads, place::WALK, subject, search, direct.clone(), &mut found).await?;

    let before = found.total();
    derive::open(context, reads, subject, search, &direct, &mut found).await?;
    let opened = found.total() - before;
    if opened > 0 {
        allowed(matched + opened, declared.max_matches, search)?;
        let reached = derive::reached(&declared.tables, subject);
        let fresh =
            (0..declared.tables.len()).map(|t| if reached[t] { BTreeSet::new() } else { found.keys(t) }).collect();
        walk(context, reads, place::WALK_ON, subject, search, fresh, &mut found).await?;
    }
    Ok(found)
}

fn allowed(matched: u64, max_matches: u64, search: Search<'_>) -> Result<(), Trouble> {
    if search.unlimited || matched <= max_matches {
        return Ok(());
    }
    Err(Trouble::Ambiguous {
        matched,
        problem: Problem::new(
            "too_many_matches",
            format!(
                "{matched} rows match the person's identifiers, but max_matches is {max_matches}; look at them, then raise max_matches or use a stronger identifier"
            ),
        ),
    })
}

/// The e-mail address, in its normal form, of a row that matches by phone.
pub(super) fn shared_address(context: &Context<'_>, t: usize, row: &Texts) -> Option<String> {
    let identify = &context.engine.declared.tables[t].identify;
    let (_, column) = identify.iter().find(|(kind, _)| *kind == IdentifierType::Email)?;
    let text = row.get(*column)?.as_deref().filter(|text| !is_redacted(text))?;
    Identifier::parse(IdentifierType::Email, text, None).ok().map(|i| i.normal().expose().clone())
}

/// Reads rows by key as they are now; locks them if the table is to be changed.
pub(super) async fn by_key(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    keys: &[&str],
    locking: bool,
) -> Result<BTreeMap<String, Texts>, Trouble> {
    let asked: BTreeSet<&str> = keys.iter().copied().collect();
    let equal =
        Equal { table: t, column: 0, what: What::Wanted, end: if locking { End::Locked } else { End::Ordered } };
    let mut rows = BTreeMap::new();
    for chunk in keys.chunks(CHUNK) {
        let values = chunk.iter().map(|&key| key.to_owned()).collect();
        rows.extend(select(context, reads, t, Lookup::Equal(equal, values)).await?);
    }
    // A collation may find "ABC" under the key "abc".
    rows.retain(|key, _| asked.contains(key.as_str()));
    Ok(rows)
}

async fn select(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    lookup: Lookup,
) -> Result<BTreeMap<String, Texts>, Trouble> {
    let name = &context.engine.declared.tables[t].name;
    let mut rows = BTreeMap::new();
    for row in reads.rows(context, lookup).await? {
        let Some(Some(key)) = row.first() else {
            return Err(denied(
                "key_null",
                format!(
                    "a row of table {name} that may be the person's has NULL in its key {}; give it a key, or name another column",
                    context.schema.tables[t].key.name
                ),
            ));
        };
        if rows.insert(key.clone(), row).is_some() {
            return Err(super::trouble::key_shared(name));
        }
    }
    Ok(rows)
}

/// Rows that may hold one of the subject's identifiers.
pub(super) async fn candidates(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    subject: &Subject,
) -> Result<BTreeMap<String, Texts>, Trouble> {
    let table = &context.engine.declared.tables[t];
    let mut rows = BTreeMap::new();
    for (nth, (kind, column_index)) in table.identify.iter().enumerate() {
        let column = &context.schema.tables[t].wanted[*column_index];
        let wanted: Vec<&Identifier> = subject.identifiers.iter().filter(|i| i.kind() == *kind).collect();
        for identifier in wanted {
            // All look for one type of identifier before anybody looks for the next.
            reads.step(nth);
            let Some(lookup) = lookup(context, t, *column_index, identifier) else { continue };
            let hits = select(context, reads, t, lookup).await?;
            if hits.len() > CANDIDATES_MAX {
                return Err(Trouble::Ambiguous {
                    matched: hits.len() as u64,
                    problem: Problem::new(
                        "too_many_candidates",
                        format!(
                            "more than {CANDIDATES_MAX} rows of table {} resemble the person's {kind}; clean up column {} or use another identifier",
                            table.name, column.name
                        ),
                    ),
                });
            }
            rows.extend(hits);
        }
    }
    Ok(rows)
}

fn lookup(context: &Context<'_>, table: usize, column: usize, identifier: &Identifier) -> Option<Lookup> {
    match identifier.kind() {
        IdentifierType::CustomerId | IdentifierType::CrmId | IdentifierType::LeadId | IdentifierType::UserId => {
            let value = identifier.normal().expose();
            let kind = context.schema.tables[table].wanted[column].kind;
            let mut forms = Vec::new();
            let typeless = context.dialect == Dialect::Sqlite && matches!(kind, Kind::Binary | Kind::Other);
            if kind != Kind::Binary || typeless {
                forms.push(value.clone());
            }
            if kind == Kind::Binary || typeless {
                forms.extend(binary_forms(value));
            }
            Some(Lookup::Equal(Equal { table, column, what: What::Wanted, end: End::Limited }, forms))
        }
        IdentifierType::Email => Some(Lookup::Address(table, column, identifier.clone())),
        IdentifierType::Phone => Some(Lookup::Number(table, column, identifier.phone_tail()?.expose().clone())),
    }
}

/// The bytes that may stand for an id in a column of bytes, in hexadecimal: its own, or those of the UUID it spells.
fn binary_forms(id: &str) -> Vec<String> {
    let mut forms = vec![values::to_hex(id.as_bytes())];
    forms.extend(values::uuid(id).map(|uuid| uuid.replace('-', "")));
    forms
}

/// What a row's identifying columns say about whose it is.
pub(super) struct Judgement {
    /// The strongest type by which it is the subject's.
    pub(super) strongest: Option<IdentifierType>,
    /// Types that count against it.
    pub(super) contradicting: Vec<IdentifierType>,
}

/// Judges one row. Empty and redacted values say nothing.
pub(super) fn judge(context: &Context<'_>, t: usize, row: &Texts, subject: &Subject) -> Judgement {
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for (kind, column) in &context.engine.declared.tables[t].identify {
        let Some(Some(value)) = row.get(*column) else { continue };
        let mut wanted = subject.identifiers.iter().filter(|i| i.kind() == *kind).peekable();
        if wanted.peek().is_none() || value.trim().is_empty() || is_redacted(value) {
            continue;
        }
        let stored = &context.schema.tables[t].wanted[*column];
        if wanted.any(|identifier| is_same(identifier, stored.kind, value, subject.region.as_deref())) {
            same.push(*kind);
        } else {
            other.push(*kind);
        }
    }
    let strongest = same.into_iter().min();
    other.retain(|kind| strongest.is_none_or(|strongest| *kind < strongest));
    Judgement { strongest, contradicting: other }
}

/// Whether a stored value is the identifier. An id is compared byte by byte, unless its column's type has its own forms.
fn is_same(identifier: &Identifier, column: Kind, stored: &str, region: Option<&str>) -> bool {
    if identifier.kind() != IdentifierType::CustomerId {
        return identifier.is_same_as(stored, region);
    }
    let given = identifier.normal().expose();
    stored == given
        || match column {
            Kind::Uuid => values::uuid(given).is_some_and(|uuid| Some(uuid) == values::uuid(stored)),
            Kind::Decimal => values::is_decimal(given) && values::plain_decimal(stored) == values::plain_decimal(given),
            Kind::Binary | Kind::Other => binary_forms(given).iter().any(|form| form == stored),
            _ => false,
        }
}

/// Contradictions met so far.
#[derive(Default)]
struct Conflicts {
    rows: u64,
    said: BTreeSet<String>,
}

impl Conflicts {
    fn note(&mut self, table: &str, strongest: Option<IdentifierType>, contradicting: &[IdentifierType]) {
        if contradicting.is_empty() {
            return;
        }
        self.rows += 1;
        let other = contradicting.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(" and ");
        self.said.insert(match strongest {
            Some(kind) => format!("a row of table {table} matches by {kind} but holds another {other}"),
            None => format!("a row of table {table} refers to the person's but holds another {other}"),
        });
    }

    fn settle(&self, matched: u64) -> Result<(), Trouble> {
        if self.rows == 0 {
            return Ok(());
        }
        let said = self.said.iter().cloned().collect::<Vec<_>>().join("; ");
        Err(Trouble::Ambiguous {
            matched: matched.max(self.rows),
            problem: Problem::new(
                "identifiers_contradict",
                format!(
                    "{said}: submit again without the weaker identifier if that is another person, or with the other value as a further identifier if it is the same"
                ),
            ),
        })
    }
}

/// Reads matching rows again under lock, so that they are judged as they will be changed.
pub(super) async fn lock(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    rows: BTreeMap<String, Texts>,
    search: Search<'_>,
) -> Result<BTreeMap<String, Texts>, Trouble> {
    if rows.is_empty() || context.dialect == Dialect::Sqlite || !search.lock.get(t).copied().unwrap_or(false) {
        return Ok(rows);
    }
    let keys: Vec<&str> = rows.keys().map(String::as_str).collect();
    by_key(context, reads, t, &keys, true).await
}

/// Follows the references from these of the rows found so far, in any depth and through any cycle.
async fn walk(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    phase: u16,
    subject: &Subject,
    search: Search<'_>,
    mut fresh: Vec<BTreeSet<String>>,
    found: &mut Found,
) -> Result<(), Trouble> {
    let tables = &context.engine.declared.tables;
    let mut conflicts = Conflicts::default();
    let (reached, known) = (derive::reached(tables, subject), derive::with_derived(subject, &found.derived));
    for round in 0.. {
        if fresh.iter().all(BTreeSet::is_empty) {
            break;
        }
        let mut next = vec![BTreeSet::new(); tables.len()];
        for (child, table) in tables.iter().enumerate() {
            for reference in &table.references {
                let values: BTreeSet<String> = fresh[reference.parent]
                    .iter()
                    .filter_map(|key| found.rows[reference.parent].get(key)?.get(reference.parent_column)?.clone())
                    .collect();
                reads.at((phase, round, 2 * child));
                let rows = referring(context, reads, child, *reference, &values).await?;
                let rows = rows.into_iter().filter(|(key, _)| !found.rows[child].contains_key(key)).collect();
                reads.at((phase, round, 2 * child + 1));
                let mut rows = lock(context, reads, child, rows, search).await?;
                rows.retain(|_, row| {
                    matches!(row.get(reference.column), Some(Some(value)) if holds(context, child, *reference, value, &values))
                });
                for (key, row) in rows {
                    let judgement = judge(context, child, &row, if reached[child] { subject } else { &known });
                    conflicts.note(&table.name, judgement.strongest, &judgement.contradicting);
                    next[child].insert(key.clone());
                    found.rows[child].insert(key, row);
                }
            }
        }
        fresh = next;
    }
    conflicts.settle(0)
}

/// Whether the reference's value is one of these. Where no foreign key says that the database's own idea of equality
/// is meant, texts are the same only if they are the same byte by byte.
fn holds(context: &Context<'_>, child: usize, reference: Reference, value: &String, values: &BTreeSet<String>) -> bool {
    let column = &context.schema.tables[child].wanted[reference.column];
    let parent = &context.schema.tables[reference.parent].wanted[reference.parent_column];
    let texts = column.kind == Kind::Text && parent.kind == Kind::Text;
    !texts
        || values.contains(value)
        || context.schema.is_enforced(context.dialect, child, &column.name, reference.parent)
}

async fn referring(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    child: usize,
    reference: Reference,
    values: &BTreeSet<String>,
) -> Result<BTreeMap<String, Texts>, Trouble> {
    let equal = Equal { table: child, column: reference.column, what: What::Wanted, end: End::Plain };
    let values: Vec<String> = values.iter().cloned().collect();
    let mut rows = BTreeMap::new();
    for chunk in values.chunks(CHUNK) {
        rows.extend(select(context, reads, child, Lookup::Equal(equal, chunk.to_vec())).await?);
    }
    Ok(rows)
}
