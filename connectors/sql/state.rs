//! A row is undone as long as it is not as the request should leave it: still there, still filled, or still different.

use super::Context;
use super::derive::{reached, with_derived};
use super::desk::Reads;
use super::dialect::Params;
use super::find::{CHUNK, by_key, judge};
use super::lookup::{End, Equal, Lookup, What};
use super::receipt::Touched;
use super::redact::is_redacted;
use super::session::Texts;
use crate::Trouble;
use crate::spec::OnDelete;
use redress_domain::{Correction, Subject};
use std::collections::BTreeSet;

/// Those of the rows that deletion has yet to change. Rows of tables that keep are never among them.
///
/// A key may by now belong to somebody else's row, as SQLite and older MySQL hand out the highest one again: such a
/// row is told apart by what it holds ([`is_anothers`]) and not counted.
pub(super) async fn undeleted(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    keys: &BTreeSet<String>,
    subject: &Subject,
    touched: &Touched,
) -> Result<BTreeSet<String>, Trouble> {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    match context.engine.declared.tables[t].on_delete {
        OnDelete::Keep => Ok(BTreeSet::new()),
        OnDelete::Delete => {
            let rows = by_key(context, reads, t, &keys, false).await?;
            Ok(rows
                .into_iter()
                .filter(|(_, row)| !is_anothers(context, t, row, subject, touched))
                .map(|(key, _)| key)
                .collect())
        }
        OnDelete::Null | OnDelete::Hash => {
            let rows = listed(context, reads, t, &keys).await?;
            Ok(rows.into_iter().filter(|row| needs_redaction(context, t, row)).map(|row| row.key).collect())
        }
    }
}

/// Those of the rows in which a corrected field is not what it should be.
pub(super) async fn uncorrected(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    keys: &BTreeSet<String>,
    corrections: &[&Correction],
) -> Result<BTreeSet<String>, Trouble> {
    let live = &context.schema.tables[t];
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut undone = BTreeSet::new();
    for chunk in keys.chunks(CHUNK) {
        let mut params = Params::new(context.dialect);
        let Some(rows) = context.dialect.equals_any(&live.key, chunk, &mut params) else { continue };
        let differs = super::rectify::differs(context, t, corrections, &mut params)?;
        let sql =
            format!("SELECT {} FROM {} WHERE {rows} AND ({differs})", context.dialect.as_text(&live.key), live.sql);
        let rows = reads.rows(context, Lookup::Own(t, sql, params.values)).await?;
        undone.extend(rows.into_iter().filter_map(|row| row.into_iter().next()?));
    }
    Ok(undone)
}

/// A row with the columns that `null` or `hash` applies to.
pub(super) struct Listed {
    pub(super) key: String,
    /// In the order of the table's `columns`.
    pub(super) values: Texts,
}

/// Reads the listed columns of rows.
pub(super) async fn listed(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    keys: &[&str],
) -> Result<Vec<Listed>, Trouble> {
    let equal = Equal { table: t, column: 0, what: What::Listed, end: End::Plain };
    let mut rows = Vec::new();
    for chunk in keys.chunks(CHUNK) {
        let values = chunk.iter().map(|&key| key.to_owned()).collect();
        for mut row in reads.rows(context, Lookup::Equal(equal, values)).await? {
            let values = row.split_off(1);
            if let Some(Some(key)) = row.pop() {
                rows.push(Listed { key, values });
            }
        }
    }
    Ok(rows)
}

/// Whether a listed column still holds something to redact.
pub(super) fn needs_redaction(context: &Context<'_>, t: usize, row: &Listed) -> bool {
    let hashing = context.engine.declared.tables[t].on_delete == OnDelete::Hash;
    row.values.iter().flatten().any(|value| !(hashing && is_redacted(value)))
}

/// Whether a row under a key that was the subject's is plainly somebody else's: it holds other identifiers, or refers
/// only to rows that were never the subject's.
pub(super) fn is_anothers(context: &Context<'_>, t: usize, row: &Texts, subject: &Subject, touched: &Touched) -> bool {
    let tables = &context.engine.declared.tables;
    // Where no given identifier leads, the row was found by a derived one.
    let judgement = if touched.derived.is_empty() || reached(tables, subject)[t] {
        judge(context, t, row, subject)
    } else {
        judge(context, t, row, &with_derived(subject, &touched.derived))
    };
    if judgement.strongest.is_some() {
        return false;
    }
    if !judgement.contradicting.is_empty() {
        return true;
    }
    let mut elsewhere = false;
    for reference in &tables[t].references {
        let Some(Some(value)) = row.get(reference.column) else { continue };
        let parent = touched.tables.get(&tables[reference.parent].name);
        if reference.parent_column != 0 || parent.is_some_and(|p| p.keys.contains(value)) {
            return false;
        }
        elsewhere = true;
    }
    elsewhere
}
