//! A found record is a live one that holds exactly one of the subject's identifiers, or that refers to such a record.
//!
//! The people of a batch are looked for together: `IN` lists for all of them, in as many statements as their addresses need.
//! Salesforce compares without regard to case and finds numbers loosely; what it finds counts only if it is the same after
//! normalisation. Everything is asked with `queryAll`, so that the recycle bin and the losers of merges are seen too.
//!
//! **Contradictions** are judged as in the SQL connectors: a record that matches by a weaker identifier and holds another value
//! of a stronger type, and records that match by phone only and hold different addresses, are left to a person. So is a
//! record that was merged into one which does not hold the subject's identifiers.

use super::Desk;
use super::schema::{Object, Schema};
use super::session::{Body, denied, unreadable};
use super::setup::PhoneSearch;
use super::soql::{Ask, ends_in, full_id, literal};
use crate::http::Method;
use crate::{Problem, Retained, Trouble};
use redress_domain::{Identifier, IdentifierType, Subject};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// More pages than this are not read: an answer without end is no answer.
const PAGES_MAX: usize = 250;

/// Ids of records, by object.
pub(super) type Ids = BTreeMap<String, BTreeSet<String>>;

/// One person's records.
#[derive(Clone, Default)]
pub(super) struct Found {
    /// Live records, with those that refer to them.
    pub(super) rows: Ids,
    /// Records in the recycle bin and losers of merges.
    pub(super) bin: Ids,
    /// Objects that cannot be searched by what is known of the person.
    pub(super) unsearched: Vec<String>,
    /// Leads that were converted: they cannot be changed any more.
    pub(super) converted: BTreeSet<String>,
}

impl Found {
    pub(super) fn total(&self) -> u64 {
        self.rows.values().map(|ids| ids.len() as u64).sum()
    }

    pub(super) fn not_searched(&self) -> Vec<Retained> {
        as_retained(&self.unsearched)
    }
}

/// Objects that cannot be searched by what is known of a person.
fn unsearched(schema: &Schema, subject: &Subject) -> Vec<String> {
    let usable = |object: &&Object| subject.identifiers.iter().any(|identifier| is_usable(object, identifier));
    schema.objects.iter().filter(|object| !usable(object)).map(|object| object.name.clone()).collect()
}

/// The same, as it is said in an answer.
pub(super) fn not_searched(schema: &Schema, subject: &Subject) -> Vec<Retained> {
    as_retained(&unsearched(schema, subject))
}

fn as_retained(names: &[String]) -> Vec<Retained> {
    let reason = || "no_usable_identifier".to_owned();
    names.iter().map(|name| Retained { collection: name.clone(), records: 0, reason: reason() }).collect()
}

/// One top-level record as it was read.
type Row = Map<String, Value>;

/// Finds the records of several people. With `limited`, more matches than allowed stop for a person.
pub(super) async fn find(
    desk: &Desk,
    schema: &Schema,
    subjects: &[&Subject],
    limited: bool,
) -> Result<Vec<Result<Found, Trouble>>, Trouble> {
    let fresh = |subject: &&Subject| Found { unsearched: unsearched(schema, subject), ..Found::default() };
    let mut found: Vec<Found> = subjects.iter().map(fresh).collect();
    let mut said: Vec<BTreeSet<String>> = vec![BTreeSet::new(); subjects.len()];
    let mut sharing: Vec<BTreeSet<String>> = vec![BTreeSet::new(); subjects.len()];
    let mut merged: Vec<(usize, String, String)> = Vec::new();
    for object in &schema.objects {
        let rows = candidates(desk, object, subjects).await?;
        let index = index(object, subjects);
        for (id, row) in &rows {
            for nth in owners(object, id, row, &index) {
                let Some((strongest, against)) = judge(object, id, row, subjects[nth]) else { continue };
                if row.get("IsDeleted").and_then(Value::as_bool).unwrap_or(false) {
                    found[nth].bin.entry(object.name.clone()).or_default().insert(id.clone());
                    if let Some(master) = row.get("MasterRecordId").and_then(Value::as_str).and_then(full_id) {
                        merged.push((nth, object.name.clone(), master));
                    }
                    continue;
                }
                for kind in against {
                    said[nth]
                        .insert(format!("a record of {} matches by {strongest} but holds another {kind}", object.name));
                }
                if strongest == IdentifierType::Phone {
                    let addresses = texts(object, row, IdentifierType::Email);
                    let parsed = addresses.filter_map(|text| Identifier::parse(IdentifierType::Email, text, None).ok());
                    sharing[nth].extend(parsed.map(|address| address.normal().expose().clone()).min());
                }
                if row.get("IsConverted").and_then(Value::as_bool).unwrap_or(false) {
                    found[nth].converted.insert(id.clone());
                }
                found[nth].rows.entry(object.name.clone()).or_default().insert(id.clone());
            }
        }
    }
    let elsewhere = merged_elsewhere(desk, &found, &merged).await?;
    let mut answers: Vec<Result<(), Trouble>> = Vec::with_capacity(subjects.len());
    for nth in 0..subjects.len() {
        if sharing[nth].len() > 1 {
            said[nth].insert("records that match by phone only hold different e-mail addresses".to_owned());
        }
        let matched = found[nth].total();
        let said = said[nth].iter().cloned().collect::<Vec<_>>().join("; ");
        answers.push(if !said.is_empty() {
            Err(ambiguous(matched, "identifiers_contradict", format!(
                "{said}: submit again without the weaker identifier if that is another person, or with the other value as a further identifier if it is the same"
            )))
        } else if elsewhere.contains(&nth) {
            Err(ambiguous(matched.max(1), "merged_elsewhere", "a record of the person was merged into one that holds none of the given identifiers; look at it, then submit again with what it holds".to_owned()))
        } else if limited && matched > desk.setup.max_matches {
            Err(ambiguous(matched, "too_many_matches", format!(
                "{matched} records match the person's identifiers, but max_matches is {}; look at them, then raise max_matches or use a stronger identifier", desk.setup.max_matches
            )))
        } else {
            Ok(())
        });
    }
    let mut rows: Vec<Ids> = found
        .iter()
        .zip(&answers)
        .map(|(found, answer)| if answer.is_ok() { found.rows.clone() } else { Ids::new() })
        .collect();
    with_children(desk, schema, &mut rows).await?;
    let whole = found.into_iter().zip(rows).zip(answers);
    Ok(whole.map(|((found, rows), answer)| answer.map(|()| Found { rows, ..found })).collect())
}

fn ambiguous(matched: u64, code: &'static str, detail: String) -> Trouble {
    Trouble::Ambiguous { matched, problem: Problem::new(code, detail) }
}

fn is_usable(object: &Object, identifier: &Identifier) -> bool {
    match identifier.kind() {
        IdentifierType::CrmId => full_id(identifier.normal().expose()).is_none_or(|id| id.starts_with(&object.prefix)),
        kind => object.identify.iter().any(|(known, _)| *known == kind),
    }
}

/// Records that may be one of these people's, by id.
async fn candidates(desk: &Desk, object: &Object, subjects: &[&Subject]) -> Result<BTreeMap<String, Row>, Trouble> {
    let mut select = vec!["Id", "IsDeleted"];
    select.extend(object.has_master.then_some("MasterRecordId"));
    select.extend(object.has_converted.then_some("IsConverted"));
    for (_, field) in &object.identify {
        if !select.contains(&field.as_str()) {
            select.push(field);
        }
    }
    let ask = Ask { object: &object.name, select: select.clone(), also: object.also };
    let mut equal: BTreeSet<(&str, String)> = BTreeSet::new();
    let mut like: BTreeSet<(&str, String)> = BTreeSet::new();
    let mut numbers: Vec<(&Identifier, Option<&str>)> = Vec::new();
    for subject in subjects {
        for identifier in &subject.identifiers {
            let fields =
                object.identify.iter().filter(|(kind, _)| *kind == identifier.kind()).map(|(_, field)| field.as_str());
            match identifier.kind() {
                IdentifierType::CrmId => {
                    let id = full_id(identifier.normal().expose()).filter(|id| id.starts_with(&object.prefix));
                    equal.extend(id.map(|id| ("Id", format!("'{id}'"))));
                }
                IdentifierType::Phone if desk.setup.phone_search == PhoneSearch::Index => {
                    numbers.push((identifier, subject.region.as_deref()));
                }
                IdentifierType::Phone => {
                    let tail = identifier.phone_tail();
                    like.extend(fields.filter_map(|field| Some((field, ends_in(tail.as_ref()?.expose())))));
                }
                _ => {
                    let spellings = spellings(identifier);
                    for field in fields {
                        for spelling in &spellings {
                            equal.insert((field, literal(spelling).ok_or_else(not_sendable)?));
                        }
                    }
                }
            }
        }
    }
    let mut statements = ask.among(equal);
    statements.extend(ask.like(like));
    if !numbers.is_empty() {
        let ids = in_index(desk, object, &numbers).await?;
        statements.extend(ask.among(ids.iter().map(|id| ("Id", format!("'{id}'")))));
    }
    let mut rows = BTreeMap::new();
    for statement in statements {
        for row in query(desk, &object.name, &statement).await? {
            rows.insert(id_of(&row)?, row);
        }
    }
    Ok(rows)
}

fn not_sendable() -> Trouble {
    denied(
        "identifier_not_sendable",
        "an identifier holds a control character, which SOQL cannot carry; nothing was sent",
    )
}

/// The spellings that differ for a comparison without regard to case.
fn spellings(identifier: &Identifier) -> Vec<String> {
    if identifier.kind() != IdentifierType::Email {
        return vec![identifier.normal().expose().clone()];
    }
    let lower: BTreeSet<String> =
        identifier.spellings().iter().map(|spelling| spelling.expose().to_lowercase()).collect();
    lower.into_iter().collect()
}

/// Ids of records that the search index knows under one of these numbers, in the notations that are usual for them.
async fn in_index(
    desk: &Desk,
    object: &Object,
    numbers: &[(&Identifier, Option<&str>)],
) -> Result<BTreeSet<String>, Trouble> {
    const MOST: usize = 2_000;
    let mut ids = BTreeSet::new();
    for (number, region) in numbers {
        let digits = number.normal().expose().trim_start_matches('+');
        let mut notations = vec![digits.to_owned()];
        for code in 1..=3.min(digits.len().saturating_sub(4)) {
            for notation in [digits[code..].to_owned(), format!("0{}", &digits[code..])] {
                if number.is_same_as(&notation, *region) {
                    notations.push(notation);
                }
            }
        }
        let body = json!({
            "q": notations.join(" OR "), "in": "PHONE", "overallLimit": MOST,
            "sobjects": [{"name": object.name, "fields": ["Id"]}],
        });
        let path = desk.path("parameterizedSearch");
        let answer = desk.org.json(&desk.setup, Method::POST, &path, &[], &Body::Json(body)).await?;
        let records = answer["searchRecords"].as_array().ok_or_else(unreadable)?;
        if records.len() >= MOST {
            return Err(ambiguous(
                MOST as u64,
                "too_many_candidates",
                format!(
                    "more records of {} than the index tells resemble the person's number; use another identifier",
                    object.name
                ),
            ));
        }
        for record in records {
            ids.insert(record["Id"].as_str().and_then(full_id).ok_or_else(unreadable)?);
        }
    }
    Ok(ids)
}

fn id_of(row: &Row) -> Result<String, Trouble> {
    row.get("Id").and_then(Value::as_str).and_then(full_id).ok_or_else(unreadable)
}

fn texts<'r>(object: &'r Object, row: &'r Row, kind: IdentifierType) -> impl Iterator<Item = &'r str> {
    let fields = object.identify.iter().filter(move |(known, _)| *known == kind);
    fields.filter_map(|(_, field)| row.get(field)?.as_str()).filter(|text| !text.trim().is_empty())
}

/// Who is looked for, by type, region and normal form.
type Index<'s> = HashMap<(IdentifierType, Option<&'s str>, String), Vec<usize>>;

fn index<'s>(object: &Object, subjects: &[&'s Subject]) -> Index<'s> {
    let mut index = Index::new();
    for (nth, subject) in subjects.iter().enumerate() {
        for identifier in &subject.identifiers {
            let normal = match identifier.kind() {
                IdentifierType::CrmId => {
                    match full_id(identifier.normal().expose()).filter(|id| id.starts_with(&object.prefix)) {
                        Some(id) => id,
                        None => continue,
                    }
                }
                _ => identifier.normal().expose().clone(),
            };
            index.entry((identifier.kind(), subject.region.as_deref(), normal)).or_default().push(nth);
        }
    }
    index
}

/// Which of the people may be meant by a row: those of whom it holds an identifier exactly.
fn owners(object: &Object, id: &str, row: &Row, index: &Index<'_>) -> BTreeSet<usize> {
    let regions: BTreeSet<Option<&str>> = index.keys().map(|(_, region, _)| *region).collect();
    let mut owners = BTreeSet::new();
    for region in regions {
        owners.extend(index.get(&(IdentifierType::CrmId, region, id.to_owned())).into_iter().flatten());
        for (kind, field) in &object.identify {
            let Some(text) = row.get(field).and_then(Value::as_str) else { continue };
            let Ok(stored) = Identifier::parse(*kind, text, region) else { continue };
            owners.extend(index.get(&(*kind, region, stored.normal().expose().clone())).into_iter().flatten());
        }
    }
    owners
}

/// By which type a row is the subject's, and which stronger types speak against it.
fn judge(object: &Object, id: &str, row: &Row, subject: &Subject) -> Option<(IdentifierType, Vec<IdentifierType>)> {
    let (mut same, mut other) = (Vec::new(), Vec::new());
    let wanted = |kind| subject.identifiers.iter().filter(move |identifier| identifier.kind() == kind);
    let ids: Vec<String> =
        wanted(IdentifierType::CrmId).filter_map(|wanted| full_id(wanted.normal().expose())).collect();
    if ids.iter().any(|wanted| wanted == id) {
        same.push(IdentifierType::CrmId);
    } else if ids.iter().any(|wanted| wanted.starts_with(&object.prefix)) {
        other.push(IdentifierType::CrmId);
    }
    for kind in [IdentifierType::CustomerId, IdentifierType::Email, IdentifierType::Phone] {
        let mut stored = texts(object, row, kind).peekable();
        if wanted(kind).next().is_none() || stored.peek().is_none() {
            continue;
        }
        let region = subject.region.as_deref();
        if stored.any(|text| wanted(kind).any(|identifier| identifier.is_same_as(text, region))) {
            same.push(kind);
        } else {
            other.push(kind);
        }
    }
    let strongest = same.into_iter().min()?;
    other.retain(|kind| *kind < strongest);
    Some((strongest, other))
}

/// People of whom a record was merged into a live one that was not found to be theirs.
async fn merged_elsewhere(
    desk: &Desk,
    found: &[Found],
    merged: &[(usize, String, String)],
) -> Result<BTreeSet<usize>, Trouble> {
    let mut masters = Ids::new();
    for (nth, object, master) in merged {
        if !found[*nth].rows.get(object).is_some_and(|ids| ids.contains(master)) {
            masters.entry(object.clone()).or_default().insert(master.clone());
        }
    }
    let mut live = Ids::new();
    for (object, ids) in &masters {
        live.insert(object.clone(), self::live(desk, object, ids).await?);
    }
    let lost = |(nth, object, master): &(usize, String, String)| {
        let elsewhere = live.get(object).is_some_and(|ids| ids.contains(master));
        elsewhere && !found[*nth].rows.get(object).is_some_and(|ids| ids.contains(master))
    };
    Ok(merged.iter().filter(|merged| lost(merged)).map(|(nth, ..)| *nth).collect())
}

/// Adds what refers to the records, and what refers to those.
async fn with_children(desk: &Desk, schema: &Schema, rows: &mut [Ids]) -> Result<(), Trouble> {
    for child in &schema.children {
        let mut parents: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (nth, ids) in rows.iter().enumerate() {
            for id in ids.get(&child.of).into_iter().flatten() {
                parents.entry(id.clone()).or_default().push(nth);
            }
        }
        let ask =
            Ask { object: &child.name, select: vec!["Id", "IsDeleted", &child.field], also: Some("IsDeleted = false") };
        let statements = ask.among(parents.keys().map(|id| (child.field.as_str(), format!("'{id}'"))));
        for statement in statements {
            for row in query(desk, &child.name, &statement).await? {
                let id = id_of(&row)?;
                let parent = row.get(&child.field).and_then(Value::as_str).and_then(full_id);
                for nth in parent.and_then(|parent| parents.get(&parent)).into_iter().flatten() {
                    rows[*nth].entry(child.name.clone()).or_default().insert(id.clone());
                }
            }
        }
    }
    Ok(())
}

/// Those of these records that are there and not in the recycle bin.
pub(super) async fn live(desk: &Desk, object: &str, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, Trouble> {
    let ask = Ask { object, select: vec!["Id", "IsDeleted"], also: Some("IsDeleted = false") };
    let mut live = BTreeSet::new();
    for statement in ask.among(ids.iter().map(|id| ("Id", format!("'{id}'")))) {
        for row in query(desk, object, &statement).await? {
            live.insert(id_of(&row)?);
        }
    }
    live.retain(|id| ids.contains(id));
    Ok(live)
}

/// Every row of a statement, page by page. Half an answer is none.
async fn query(desk: &Desk, object: &str, statement: &str) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    let mut page =
        desk.org.json(&desk.setup, Method::GET, &desk.path("queryAll"), &[("q", statement)], &Body::None).await?;
    for _ in 0..PAGES_MAX {
        let Some(Value::Array(records)) = page.get_mut("records").map(Value::take) else { return Err(unreadable()) };
        for record in records {
            let Value::Object(row) = record else { return Err(unreadable()) };
            if row.get("attributes").is_none_or(|attributes| attributes["type"] != object) {
                return Err(unreadable());
            }
            rows.push(row);
        }
        if page["done"].as_bool().ok_or_else(unreadable)? {
            return if page["totalSize"].as_u64() == Some(rows.len() as u64) { Ok(rows) } else { Err(unreadable()) };
        }
        let next = page["nextRecordsUrl"]
            .as_str()
            .filter(|next| next.starts_with("/services/data/"))
            .ok_or_else(unreadable)?
            .to_owned();
        if !seen.insert(next.clone()) {
            break;
        }
        page = desk.org.json(&desk.setup, Method::GET, &next, &[], &Body::None).await?;
    }
    Err(denied("pages_without_end", format!("the answer about {object} has no end; nothing was concluded from it")))
}
