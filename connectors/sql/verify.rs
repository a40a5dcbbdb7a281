//! A verification is a second, complete read in a transaction of its own: it believes neither the receipt nor the counts.

use super::Context;
use super::dialect::Params;
use super::find::{CHUNK, Search, by_key, find};
use super::receipt::Touched;
use super::rectify::applicable;
use super::session::{Mode, Session};
use super::state::{is_anothers, uncorrected, undeleted};
use super::trouble::denied;
use crate::spec::OnDelete;
use crate::{CollectionEvidence, Evidence, Trouble, Verdict, Work};
use redress_domain::{Subject, Verb};
use std::collections::BTreeSet;

/// Reads again whether what `verb` did is so.
pub(super) async fn verify(context: &Context<'_>, verb: Verb, work: &Work<'_>) -> Result<Verdict, Trouble> {
    if !matches!(verb, Verb::Erase | Verb::Rectify | Verb::Discover | Verb::Export) {
        return Err(denied("verb_unsupported", format!("a SQL system does not {verb}, so there is nothing to verify")));
    }
    let tables = &context.engine.declared.tables;
    let touched = Touched::read(work.prior)?;
    let mut session = context.engine.pool.begin(Mode::Read).await?;
    let search = Search { lock: &[], known: Some(&touched.derived), unlimited: true };
    let found = find(context, &mut session, work.subject, search).await?;
    let mut evidence = Evidence::default();
    let mut remaining = 0;
    for (t, table) in tables.iter().enumerate() {
        let mut keys = found.keys(t);
        let listed = touched.of(&table.name).keys;
        // What was never searched is itemised as such by the answer: neither residue nor proof.
        if listed.is_empty() && found.unsearched.contains(&t) {
            continue;
        }
        let (action, undone) = match verb {
            Verb::Erase => {
                let mut undone = undeleted(context, &mut session, t, &listed, work.subject, &touched).await?;
                // What was found by identifier or reference is the person's, whatever the receipt says.
                if table.on_delete == OnDelete::Delete {
                    undone.append(&mut keys.clone());
                }
                keys.extend(orphans(context, &mut session, t, work.subject, &touched).await?);
                undone.extend(undeleted(context, &mut session, t, &keys, work.subject, &touched).await?);
                (table.action(), undone)
            }
            Verb::Rectify => {
                let corrections = applicable(context, t, work.corrections);
                if corrections.is_empty() {
                    continue;
                }
                keys.extend(listed);
                ("update", uncorrected(context, &mut session, t, &keys, &corrections).await?)
            }
            _ => ("search", BTreeSet::new()),
        };
        keys.extend(undone.iter().cloned());
        remaining += undone.len() as u64;
        evidence.collections.push(CollectionEvidence {
            collection: table.name.clone(),
            action: action.to_owned(),
            before: keys.len() as u64,
            changed: 0,
            // What is kept is all still there, and no residue.
            after: if action == "keep" { keys.len() } else { undone.len() } as u64,
        });
    }
    session.roll_back().await;
    Ok(if remaining == 0 { Verdict::Confirmed(evidence) } else { Verdict::Residue { remaining, evidence } })
}

/// Rows that still refer to a row of the person that is gone: no search can find them any more, but they are theirs.
async fn orphans(
    context: &Context<'_>,
    session: &mut Session,
    t: usize,
    subject: &Subject,
    touched: &Touched,
) -> Result<BTreeSet<String>, Trouble> {
    let tables = &context.engine.declared.tables;
    let live = &context.schema.tables[t];
    let mut orphans = BTreeSet::new();
    for reference in tables[t].references.iter().filter(|reference| reference.parent_column == 0) {
        let parents = touched.of(&tables[reference.parent].name).keys;
        let keys: Vec<&str> = parents.iter().map(String::as_str).collect();
        // A key that now belongs to somebody else's row tells nothing about what refers to it.
        let reused = by_key(context, session, reference.parent, &keys, false).await?;
        let reused: BTreeSet<&str> = reused
            .iter()
            .filter(|(_, row)| is_anothers(context, reference.parent, row, subject, touched))
            .map(|(key, _)| key.as_str())
            .collect();
        let gone: Vec<&str> = keys.into_iter().filter(|key| !reused.contains(key)).collect();
        for chunk in gone.chunks(CHUNK) {
            let mut params = Params::new(context.dialect);
            let column = &live.wanted[reference.column];
            let Some(these) = context.dialect.equals_any(column, chunk, &mut params) else { continue };
            let (key, value) = (context.dialect.as_text(&live.key), context.dialect.as_text(column));
            let sql = format!("SELECT {key}, {value} FROM {} WHERE {these}", live.sql);
            for row in session.rows(&tables[t].name, sql, params.values).await? {
                let mut cells = row.into_iter().flatten();
                if let (Some(key), Some(value)) = (cells.next(), cells.next())
                    && chunk.contains(&value.as_str())
                {
                    orphans.insert(key);
                }
            }
        }
    }
    Ok(orphans)
}
