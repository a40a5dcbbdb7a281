//! An erasure is one transaction per person: find and lock, announce, redact, sever, delete, count again, commit.

use super::Context;
use super::derive::unsearched;
use super::dialect::Params;
use super::find::{CHUNK, Found, Search, find};
use super::foreign;
use super::receipt::Touched;
use super::redact::{is_redacted, redact};
use super::session::{Mode, Session};
use super::state::{listed, needs_redaction, undeleted};
use super::trouble::denied;
use crate::spec::OnDelete;
use crate::{CollectionEvidence, Done, Journal, Outcome, Retained, Trouble, Work, crash_point};
use redress_domain::Subject;
use std::collections::{BTreeMap, BTreeSet};

/// Deletes, redacts or keeps the person's rows as declared.
pub(super) async fn erase(context: &Context<'_>, work: &Work<'_>, journal: &dyn Journal) -> Result<Outcome, Trouble> {
    let tables = &context.engine.declared.tables;
    context.schema.fits_erasure(&context.engine.declared).map_err(Trouble::Denied)?;
    let prior = Touched::read(work.prior)?;
    let mut session = context.engine.pool.begin(Mode::Write).await?;
    let lock: Vec<bool> = tables.iter().map(|table| table.on_delete != OnDelete::Keep).collect();
    let search = Search { lock: &lock, known: Some(&prior.derived), unlimited: false };
    let found = find(context, &mut session, work.subject, search).await?;
    if found.total() == 0 {
        let mut outcome = settle(context, &mut session, work.subject, &found, &prior, &BTreeMap::new()).await?;
        session.roll_back().await;
        if let Outcome::Done(done) = &mut outcome {
            done.receipt = Some(prior.to_receipt()?);
        }
        return Ok(outcome);
    }
    let plan = foreign::plan(context, &mut session, &found).await?;

    let mut touched = prior;
    touched.derived.extend(found.derived.clone());
    let mut now: BTreeMap<usize, Changed> = BTreeMap::new();
    for (t, table) in tables.iter().enumerate() {
        let keys = found.keys(t);
        let todo = match table.on_delete {
            OnDelete::Keep => BTreeSet::new(),
            OnDelete::Delete => keys.clone(),
            OnDelete::Null | OnDelete::Hash => {
                let rows =
                    listed(context, &mut session, t, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
                rows.into_iter().filter(|row| needs_redaction(context, t, row)).map(|row| row.key).collect()
            }
        };
        now.insert(t, Changed { todo: todo.clone(), rows: 0 });
        touched.add(&table.name, table.action(), keys, todo);
    }
    let receipt = touched.to_receipt()?;
    journal.intend(work.key, &receipt).await?;
    crash_point("sql.before_effect");

    for (t, changed) in &mut now {
        changed.rows = match tables[*t].on_delete {
            OnDelete::Null => empty(context, &mut session, *t, &changed.todo).await?,
            OnDelete::Hash => hash(context, &mut session, *t, &changed.todo).await?,
            OnDelete::Delete | OnDelete::Keep => 0,
        };
    }
    foreign::sever(context, &mut session, &plan).await?;
    for t in &plan.order {
        if let Some(changed) = now.get_mut(t) {
            changed.rows = delete(context, &mut session, *t, &changed.todo).await?;
        }
    }
    foreign::nothing_else_went(context, &mut session, &found).await?;
    let mut outcome = settle(context, &mut session, work.subject, &found, &touched, &now).await?;
    crash_point("sql.before_commit");
    session.commit().await?;
    crash_point("sql.after_commit");
    if let Outcome::Done(done) = &mut outcome {
        done.receipt = Some(receipt);
    }
    Ok(outcome)
}

/// What this run does to one table.
struct Changed {
    /// Keys of the rows to change.
    todo: BTreeSet<String>,
    /// Rows that the database says it changed.
    rows: u64,
}

/// Counts what is so now. Rows that an earlier run announced and that are now as they should be were changed by it.
async fn settle(
    context: &Context<'_>,
    session: &mut Session,
    subject: &Subject,
    found: &Found,
    touched: &Touched,
    now: &BTreeMap<usize, Changed>,
) -> Result<Outcome, Trouble> {
    let mut done = Done { found: touched.rows(), ..Done::default() };
    for (t, table) in context.engine.declared.tables.iter().enumerate() {
        let listed = touched.of(&table.name);
        if listed.keys.is_empty() && found.unsearched.contains(&t) {
            continue;
        }
        let undone = undeleted(context, session, t, &listed.keys, subject, touched).await?;
        let this_run = now.get(&t);
        let earlier = listed.todo.iter().filter(|key| this_run.is_none_or(|now| !now.todo.contains(*key)));
        let changed = this_run.map_or(0, |now| now.rows) + earlier.filter(|key| !undone.contains(*key)).count() as u64;
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
    for chunk in keys.chunks(CHUNK) {
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

/// Replaces the listed columns by keyed one-way values, row by row as each has its own.
async fn hash(context: &Context<'_>, session: &mut Session, t: usize, keys: &BTreeSet<String>) -> Result<u64, Trouble> {
    let live = &context.schema.tables[t];
    let name = &context.engine.declared.tables[t].name;
    let Some(hash_key) = &context.engine.declared.hash_key else {
        return Err(denied("hash_key_missing", "on_delete = \"hash\" needs secrets.hash_key"));
    };
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut changed = 0;
    for row in listed(context, session, t, &keys).await? {
        let mut params = Params::new(context.dialect);
        let mut assignments = Vec::new();
        for (column, value) in live.listed.iter().zip(&row.values) {
            if let Some(value) = value.as_ref().filter(|value| !is_redacted(value)) {
                let assigned = context.dialect.assignable(column, &redact(hash_key, value), &mut params);
                let Some(assigned) = assigned else {
                    return Err(denied(
                        "column_too_short",
                        format!("column {} of table {name} cannot hold a hash", column.name),
                    ));
                };
                assignments.push(format!("{} = {assigned}", context.dialect.ident(&column.name)));
            }
        }
        let Some(this) = context.dialect.equals_any(&live.key, &[&row.key], &mut params) else { continue };
        if !assignments.is_empty() {
            let sql = format!("UPDATE {} SET {} WHERE {this}", live.sql, assignments.join(", "));
            let rows = session.run(name, sql, params.values).await?;
            if rows > 1 {
                return Err(super::trouble::key_shared(name));
            }
            changed += rows;
        }
    }
    Ok(changed)
}

/// The number of these rows that exist.
pub(super) async fn count(
    context: &Context<'_>,
    session: &mut Session,
    t: usize,
    found: &Found,
) -> Result<u64, Trouble> {
    let keys: Vec<&str> = found.rows[t].keys().map(String::as_str).collect();
    Ok(super::find::by_key(context, session, t, &keys, false).await?.len() as u64)
}
