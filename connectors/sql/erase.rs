//! An erasure is one transaction: find and lock, announce, redact, sever, delete, count again, commit.
//!
//! It is one person's, or that of a whole batch ([`super::together`]), which takes the same steps for all of them.

use super::Context;
use super::derive::unsearched;
use super::desk::Reads;
use super::dialect::{Dialect, Kind, Param, Params};
use super::find::{Found, Search, find, place};
use super::foreign;
use super::receipt::Touched;
use super::redact::{is_redacted, redact};
use super::session::{Mode, Session};
use super::state::{Listed, listed, needs_redaction, undeleted};
use super::trouble::denied;
use crate::spec::OnDelete;
use crate::{CollectionEvidence, Done, Journal, Outcome, Receipt, Retained, Trouble, Work, crash_point};
use redress_domain::Subject;
use std::collections::{BTreeMap, BTreeSet};

/// The most rows that one statement changes.
const CHUNK_OF_ALL: usize = 1024;

/// Deletes, redacts or keeps the person's rows as declared.
pub(super) async fn erase(context: &Context<'_>, work: &Work<'_>, journal: &dyn Journal) -> Result<Outcome, Trouble> {
    context.schema.fits_erasure(&context.engine.declared).map_err(Trouble::Denied)?;
    let mut session = context.engine.pool.begin(Mode::Write).await?;
    let clear = match prepare(context, &mut Reads::alone(&mut session), work).await? {
        Prepared::Nothing(outcome) => {
            session.roll_back().await;
            return Ok(outcome);
        }
        Prepared::Clear(clear) => clear,
    };
    if !crate::mutant::mutant("intend.after_the_effect") {
        journal.intend(work.key, &clear.receipt).await?;
    }
    crash_point("sql.before_effect");
    let rows = act(context, &mut session, &clear.plan, &clear.todo).await?;
    let outcome = settle(context, &mut Reads::alone(&mut session), work.subject, &clear, &rows).await?;
    crash_point("sql.before_commit");
    session.commit().await?;
    crash_point("sql.after_commit");
    if crate::mutant::mutant("intend.after_the_effect") {
        journal.intend(work.key, &clear.receipt).await?;
    }
    Ok(outcome)
}

/// What is known of a person before anything is changed.
pub(super) enum Prepared {
    /// There is nothing to change.
    Nothing(Outcome),
    /// It is clear what to change.
    Clear(Box<Clear>),
}

/// What is to be changed for one person. It has no `Debug`: keys may be personal.
pub(super) struct Clear {
    found: Found,
    touched: Touched,
    /// In which order, and what stands in the way.
    pub(super) plan: foreign::Plan,
    /// For each declared table, the keys of the rows to change.
    pub(super) todo: Vec<BTreeSet<String>>,
    /// What is announced.
    pub(super) receipt: Receipt,
}

impl Clear {
    /// The rows (table, key) that will be changed.
    pub(super) fn changing(&self) -> impl Iterator<Item = (usize, String)> {
        let todo = self.todo.iter().enumerate().flat_map(|(t, keys)| keys.iter().map(move |key| (t, key)));
        todo.chain(self.plan.severed()).map(|(t, key)| (t, key.clone()))
    }
}

/// Finds and locks the person's rows and plans what happens to them.
pub(super) async fn prepare(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    work: &Work<'_>,
) -> Result<Prepared, Trouble> {
    let tables = &context.engine.declared.tables;
    let prior = Touched::read(work.prior)?;
    let lock: Vec<bool> = tables.iter().map(|table| table.on_delete != OnDelete::Keep).collect();
    let search = Search { lock: &lock, known: Some(&prior.derived), unlimited: false };
    let found = find(context, reads, work.subject, search).await?;
    if found.total() == 0 {
        let mut outcome = count_up(context, reads, work.subject, &found, &prior, None).await?;
        if let Outcome::Done(done) = &mut outcome {
            done.receipt = Some(prior.to_receipt()?);
        }
        return Ok(Prepared::Nothing(outcome));
    }
    let plan = foreign::plan(context, reads, &found).await?;

    let mut touched = prior;
    touched.derived.extend(found.derived.clone());
    let mut todo = Vec::new();
    for (t, table) in tables.iter().enumerate() {
        let keys = found.keys(t);
        let change = match table.on_delete {
            OnDelete::Keep => BTreeSet::new(),
            OnDelete::Delete => keys.clone(),
            OnDelete::Null | OnDelete::Hash => {
                reads.at((place::LISTED, t, 0));
                let rows = listed(context, reads, t, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
                rows.into_iter().filter(|row| needs_redaction(context, t, row)).map(|row| row.key).collect()
            }
        };
        touched.add(&table.name, table.action(), keys, change.clone());
        todo.push(change);
    }
    let receipt = touched.to_receipt()?;
    Ok(Prepared::Clear(Box::new(Clear { found, touched, plan, todo, receipt })))
}

/// Redacts, severs and deletes; tells for each table how many rows the database says it changed.
pub(super) async fn act(
    context: &Context<'_>,
    session: &mut Session,
    plan: &foreign::Plan,
    todo: &[BTreeSet<String>],
) -> Result<Vec<u64>, Trouble> {
    let mut rows = vec![0; todo.len()];
    for (t, table) in context.engine.declared.tables.iter().enumerate() {
        rows[t] = match table.on_delete {
            OnDelete::Null => empty(context, session, t, &todo[t]).await?,
            OnDelete::Hash => hash(context, session, t, &todo[t]).await?,
            OnDelete::Delete | OnDelete::Keep => 0,
        };
    }
    foreign::sever(context, session, plan).await?;
    for t in &plan.order {
        rows[*t] = delete(context, session, *t, &todo[*t]).await?;
    }
    Ok(rows)
}

/// Reads again what this run left behind, before it is committed.
pub(super) async fn settle(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    subject: &Subject,
    clear: &Clear,
    rows: &[u64],
) -> Result<Outcome, Trouble> {
    foreign::nothing_else_went(context, reads, &clear.found).await?;
    let this_run = Some((clear.todo.as_slice(), rows));
    let mut outcome = count_up(context, reads, subject, &clear.found, &clear.touched, this_run).await?;
    if let Outcome::Done(done) = &mut outcome {
        done.receipt = Some(clear.receipt.clone());
    }
    Ok(outcome)
}

/// Counts what is so now. Rows that an earlier run announced and that are now as they should be were changed by it.
async fn count_up(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    subject: &Subject,
    found: &Found,
    touched: &Touched,
    this_run: Option<(&[BTreeSet<String>], &[u64])>,
) -> Result<Outcome, Trouble> {
    let mut done = Done { found: touched.rows(), ..Done::default() };
    for (t, table) in context.engine.declared.tables.iter().enumerate() {
        let listed = touched.of(&table.name);
        if listed.keys.is_empty() && found.unsearched.contains(&t) {
            continue;
        }
        reads.at((place::STATE, 1 + t, 0));
        let undone = undeleted(context, reads, t, &listed.keys, subject, touched).await?;
        let earlier = listed.todo.iter().filter(|key| this_run.is_none_or(|(todo, _)| !todo[t].contains(*key)));
        let earlier = earlier.filter(|key| !undone.contains(*key)).count() as u64;
        let changed = this_run.map_or(0, |(_, rows)| rows[t]) + earlier;
        done.changed += changed;
        let after = if table.on_delete == OnDelete::Keep { listed.keys.len() } else { undone.len() } as u64;
        if table.on_delete == OnDelete::Keep && after > 0 {
            done.retained.push(Retained {
                collection: table.name.clone(),
                records: after,
                reason: table.reason.clone(),
            });
        }
        done.evidence.collections.push(CollectionEvidence {
            collection: table.name.clone(),
            action: table.action().to_owned(),
            before: listed.keys.len() as u64,
            changed,
            after,
        });
    }
    done.retained.extend(unsearched(context, found, |_| true));
    if done.found == 0 && done.retained.is_empty() {
        return Ok(Outcome::NothingFound(done.evidence));
    }
    Ok(Outcome::Done(done))
}

/// Empties the listed columns, where one of them is not empty yet.
async fn empty(
    context: &Context<'_>,
    session: &mut Session,
    t: usize,
    keys: &BTreeSet<String>,
) -> Result<u64, Trouble> {
    let live = &context.schema.tables[t];
    let names: Vec<String> = live.listed.iter().map(|column| context.dialect.ident(&column.name)).collect();
    let assignments: Vec<String> = names.iter().map(|name| format!("{name} = NULL")).collect();
    let filled: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
    let sql = format!("UPDATE {} SET {} WHERE ({}) AND", live.sql, assignments.join(", "), filled.join(" OR "));
    by_chunks(context, session, t, keys, &sql).await
}

/// Deletes rows.
async fn delete(
    context: &Context<'_>,
    session: &mut Session,
    t: usize,
    keys: &BTreeSet<String>,
) -> Result<u64, Trouble> {
    by_chunks(context, session, t, keys, &format!("DELETE FROM {} WHERE", context.schema.tables[t].sql)).await
}

/// Runs a statement that ends in a condition for these rows, some at a time.
pub(super) async fn by_chunks(
    context: &Context<'_>,
    session: &mut Session,
    t: usize,
    keys: &BTreeSet<String>,
    sql: &str,
) -> Result<u64, Trouble> {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut rows = 0;
    for chunk in keys.chunks(CHUNK_OF_ALL) {
        let mut params = Params::new(context.dialect);
        let Some(these) = context.dialect.equals_any(&context.schema.tables[t].key, chunk, &mut params) else {
            continue;
        };
        let name = &context.engine.declared.tables[t].name;
        let changed = session.run(name, format!("{sql} {these}"), params.values).await?;
        if changed > chunk.len() as u64 {
            return Err(super::trouble::key_shared(name));
        }
        rows += changed;
    }
    Ok(rows)
}

/// Replaces the listed columns by keyed one-way values.
async fn hash(context: &Context<'_>, session: &mut Session, t: usize, keys: &BTreeSet<String>) -> Result<u64, Trouble> {
    let Some(hash_key) = &context.engine.declared.hash_key else {
        return Err(denied("hash_key_missing", "on_delete = \"hash\" needs secrets.hash_key"));
    };
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    // By the columns in which there is something to redact.
    let mut rows: BTreeMap<Vec<usize>, Vec<Listed>> = BTreeMap::new();
    for mut row in listed(context, &mut Reads::alone(session), t, &keys).await? {
        let mut columns = Vec::new();
        for (c, value) in row.values.iter_mut().enumerate() {
            if let Some(value) = value.as_mut().filter(|value| !is_redacted(value)) {
                *value = redact(hash_key, value);
                columns.push(c);
            }
        }
        rows.entry(columns).or_default().push(row);
    }
    let mut changed = 0;
    for (columns, rows) in rows.iter().filter(|(columns, _)| !columns.is_empty()) {
        for chunk in rows.chunks(if context.dialect == Dialect::Postgres { CHUNK_OF_ALL } else { 1 }) {
            changed += replace(context, session, t, columns, chunk).await?;
        }
    }
    Ok(changed)
}

/// Writes the values of these columns into these rows; one at a time except on PostgreSQL.
async fn replace(
    context: &Context<'_>,
    session: &mut Session,
    t: usize,
    columns: &[usize],
    rows: &[Listed],
) -> Result<u64, Trouble> {
    let live = &context.schema.tables[t];
    let name = &context.engine.declared.tables[t].name;
    let mut params = Params::new(context.dialect);
    let mut assignments = Vec::new();
    for (row, c) in rows.iter().flat_map(|row| columns.iter().map(move |c| (row, *c))) {
        let column = &live.listed[c];
        let Some(assigned) = context.dialect.assignable(column, value(row, c), &mut params) else {
            return Err(denied(
                "column_too_short",
                format!("column {} of table {name} cannot hold a hash", column.name),
            ));
        };
        assignments.push(format!("{} = {assigned}", context.dialect.ident(&column.name)));
    }
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    let sql = if rows.len() > 1 {
        params = Params::new(context.dialect);
        let Some(sql) = replace_all(context, t, columns, rows, &mut params) else {
            return Err(super::trouble::key_shared(name));
        };
        sql
    } else {
        let Some(this) = context.dialect.equals_any(&live.key, &keys, &mut params) else { return Ok(0) };
        format!("UPDATE {} SET {} WHERE {this}", live.sql, assignments.join(", "))
    };
    let changed = session.run(name, sql, params.values).await?;
    if changed > rows.len() as u64 {
        return Err(super::trouble::key_shared(name));
    }
    Ok(changed)
}

/// The statement that gives each row its own values, for PostgreSQL: an array for the keys and one for each column.
/// `None` if the keys are not all different.
fn replace_all(
    context: &Context<'_>,
    t: usize,
    columns: &[usize],
    rows: &[Listed],
    params: &mut Params,
) -> Option<String> {
    let live = &context.schema.tables[t];
    let keys: Vec<String> = rows.iter().filter_map(|row| context.dialect.fit(&live.key, &row.key)).collect();
    if keys.iter().collect::<BTreeSet<_>>().len() != rows.len() {
        return None;
    }
    let these = context.dialect.equals_listed(&live.key, &keys.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut arrays = vec![format!("{}::text[]", params.push(Param::Texts(keys)))];
    let (mut names, mut assignments) = (vec!["redress_v".to_owned()], Vec::new());
    for c in columns {
        let column = &live.listed[*c];
        let values = rows.iter().map(|row| value(row, *c).to_owned()).collect();
        arrays.push(format!("{}::text[]", params.push(Param::Texts(values))));
        names.push(format!("redress_{c}"));
        let cast = if column.kind == Kind::Text { String::new() } else { format!("::{}", column.sql_type) };
        assignments.push(format!("{} = redress_{c}{cast}", context.dialect.ident(&column.name)));
    }
    Some(format!(
        "UPDATE {} SET {} FROM unnest({}) AS v({}) WHERE {these}",
        live.sql,
        assignments.join(", "),
        arrays.join(", "),
        names.join(", ")
    ))
}

fn value(row: &Listed, column: usize) -> &str {
    row.values.get(column).and_then(Option::as_deref).unwrap_or_default()
}

/// The number of these rows that exist.
pub(super) async fn count(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    found: &Found,
) -> Result<u64, Trouble> {
    let keys: Vec<&str> = found.rows[t].keys().map(String::as_str).collect();
    Ok(super::find::by_key(context, reads, t, &keys, false).await?.len() as u64)
}
