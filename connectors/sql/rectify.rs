//! A correction changes the declared fields of the person's rows, only where they hold another value, in one transaction.

use super::Context;
use super::derive::unsearched;
use super::desk::Reads;
use super::dialect::{Column, Params};
use super::find::{CHUNK, Found, Search, find};
use super::receipt::Touched;
use super::session::{Mode, Session};
use super::state::uncorrected;
use super::trouble::denied;
use crate::{CollectionEvidence, Done, Journal, Outcome, Problem, Retained, Trouble, Work, crash_point};
use redress_domain::Correction;
use std::collections::{BTreeMap, BTreeSet};

/// The action in receipts and evidence.
const UPDATE: &str = "update";
/// The reason of rows in which there is nothing to correct by that name.
const FIELD_NOT_DECLARED: &str = "field_not_declared";

/// Changes the corrected fields of the person's rows.
pub(super) async fn rectify(context: &Context<'_>, work: &Work<'_>, journal: &dyn Journal) -> Result<Outcome, Trouble> {
    let tables = &context.engine.declared.tables;
    let prior = Touched::read(work.prior)?;
    let concerned: Vec<Vec<&Correction>> =
        (0..tables.len()).map(|t| applicable(context, t, work.corrections)).collect();
    let lock: Vec<bool> = concerned.iter().map(|corrections| !corrections.is_empty()).collect();
    let mut session = context.engine.pool.begin(Mode::Write).await?;
    let search = Search { lock: &lock, known: Some(&prior.derived), unlimited: false };
    let found = find(context, &mut Reads::alone(&mut session), work.subject, search).await?;

    let mut touched = prior;
    touched.derived.extend(found.derived.clone());
    let mut now: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (t, corrections) in concerned.iter().enumerate().filter(|(_, corrections)| !corrections.is_empty()) {
        let keys = found.keys(t);
        if found.unsearched.contains(&t) && touched.of(&tables[t].name).keys.is_empty() {
            continue;
        }
        let todo = uncorrected(context, &mut Reads::alone(&mut session), t, &keys, corrections).await;
        let todo = todo.map_err(|trouble| refused(trouble, corrections.iter().copied()))?;
        now.insert(t, todo.clone());
        touched.add(&tables[t].name, UPDATE, keys, todo);
    }
    let receipt = touched.to_receipt()?;
    let acting = now.values().any(|todo| !todo.is_empty());
    if acting {
        journal.intend(work.key, &receipt).await?;
        crash_point("sql.before_effect");
    }

    let mut done = Done { found: touched.rows(), ..Done::default() };
    for (t, todo) in &now {
        let corrections = &concerned[*t];
        let rows = update(context, &mut session, *t, todo, corrections).await?;
        let listed = touched.of(&tables[*t].name);
        let undone = uncorrected(context, &mut Reads::alone(&mut session), *t, &listed.keys, corrections).await?;
        let earlier = listed.todo.iter().filter(|key| !todo.contains(*key) && !undone.contains(*key)).count() as u64;
        done.changed += rows + earlier;
        done.evidence.collections.push(CollectionEvidence {
            collection: tables[*t].name.clone(),
            action: UPDATE.to_owned(),
            before: listed.keys.len() as u64,
            changed: rows + earlier,
            after: undone.len() as u64,
        });
    }
    if done.found == 0 {
        undeclared(context, &found, &mut done);
    }
    // A table without any of the fields need not be searched, unless nobody can say whether it is the only one that
    // knows the person.
    let nowhere = done.found == 0;
    done.retained.extend(unsearched(context, &found, |t| nowhere || !concerned[t].is_empty()));
    if done.found == 0 && done.retained.is_empty() {
        session.roll_back().await;
        return Ok(Outcome::NothingFound(done.evidence));
    }
    if acting {
        crash_point("sql.before_commit");
        session.commit().await.map_err(|trouble| refused(trouble, work.corrections))?;
        crash_point("sql.after_commit");
    } else {
        session.roll_back().await;
    }
    done.receipt = Some(receipt);
    Ok(Outcome::Done(done))
}

/// Says that the person is known, but none of the tables with their rows declares one of the fields.
fn undeclared(context: &Context<'_>, found: &Found, done: &mut Done) {
    done.found = found.total();
    if done.found == 0 {
        return;
    }
    done.retained.push(Retained {
        collection: "*".to_owned(),
        records: done.found,
        reason: FIELD_NOT_DECLARED.to_owned(),
    });
    for (table, rows) in context.engine.declared.tables.iter().zip(&found.rows).filter(|(_, rows)| !rows.is_empty()) {
        let rows = rows.len() as u64;
        done.evidence.collections.push(CollectionEvidence {
            collection: table.name.clone(),
            action: "search".to_owned(),
            before: rows,
            changed: 0,
            after: rows,
        });
    }
}

/// The corrections whose field the table declares.
pub(super) fn applicable<'a>(context: &Context<'_>, t: usize, corrections: &'a [Correction]) -> Vec<&'a Correction> {
    corrections.iter().filter(|c| context.schema.tables[t].fields.contains_key(&c.field)).collect()
}

/// A condition that holds where one of the fields is not what it should be.
pub(super) fn differs(
    context: &Context<'_>,
    t: usize,
    corrections: &[&Correction],
    params: &mut Params,
) -> Result<String, Trouble> {
    let mut conditions = Vec::new();
    for (correction, column) in columns(context, t, corrections) {
        let condition = context.dialect.differs(column, correction.value.expose(), params);
        conditions.push(condition.ok_or_else(|| unfit(context, t, &correction.field, column))?);
    }
    Ok(conditions.join(" OR "))
}

async fn update(
    context: &Context<'_>,
    session: &mut Session,
    t: usize,
    keys: &BTreeSet<String>,
    corrections: &[&Correction],
) -> Result<u64, Trouble> {
    let live = &context.schema.tables[t];
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut rows = 0;
    for chunk in keys.chunks(CHUNK) {
        let mut params = Params::new(context.dialect);
        let mut assignments = Vec::new();
        for (correction, column) in columns(context, t, corrections) {
            let value = context.dialect.assignable(column, correction.value.expose(), &mut params);
            let value = value.ok_or_else(|| unfit(context, t, &correction.field, column))?;
            assignments.push(format!("{} = {value}", context.dialect.ident(&column.name)));
        }
        let Some(these) = context.dialect.equals_any(&live.key, chunk, &mut params) else { continue };
        let differs = differs(context, t, corrections, &mut params)?;
        let sql = format!("UPDATE {} SET {} WHERE {these} AND ({differs})", live.sql, assignments.join(", "));
        let done = session.run(&context.engine.declared.tables[t].name, sql, params.values).await;
        let changed = done.map_err(|trouble| refused(trouble, corrections.iter().copied()))?;
        if changed > chunk.len() as u64 {
            return Err(super::trouble::key_shared(&context.engine.declared.tables[t].name));
        }
        rows += changed;
    }
    Ok(rows)
}

fn columns<'a>(
    context: &'a Context<'_>,
    t: usize,
    corrections: &'a [&'a Correction],
) -> impl Iterator<Item = (&'a Correction, &'a Column)> {
    corrections.iter().filter_map(move |c| Some((*c, context.schema.tables[t].fields.get(&c.field)?)))
}

fn unfit(context: &Context<'_>, t: usize, field: &str, column: &Column) -> Trouble {
    denied(
        "value_refused",
        format!(
            "the new value of field {field} does not fit column {} of table {}, which has the type {}; submit a value that does",
            column.name, context.engine.declared.tables[t].name, column.sql_type
        ),
    )
}

/// Says which fields a refusal of the database is about.
fn refused<'a>(trouble: Trouble, corrections: impl IntoIterator<Item = &'a Correction>) -> Trouble {
    match trouble {
        Trouble::Denied(Problem { code: "value_refused" | "constraint_blocks" | "foreign_key_blocks", detail }) => {
            let fields = corrections.into_iter().map(|c| c.field.as_str()).collect::<Vec<_>>().join(", ");
            denied("value_refused", format!("the database refused the new value of {fields}: {detail}"))
        }
        other => other,
    }
}
