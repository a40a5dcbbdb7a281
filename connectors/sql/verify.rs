//! A verification is a second, complete read in a transaction of its own: it believes neither the receipt nor the counts.

use super::Context;
use super::desk::Reads;
use super::find::{CHUNK, Search, by_key, find, place};
use super::lookup::{End, Equal, Lookup, What};
use super::receipt::Touched;
use super::rectify::applicable;
use super::session::Mode;
use super::state::{is_anothers, uncorrected, undeleted};
use super::trouble::denied;
use crate::spec::OnDelete;
use crate::{CollectionEvidence, Evidence, Trouble, Verdict, Work};
use redress_domain::{Subject, Verb};
use std::collections::BTreeSet;

/// Reads again whether what `verb` did is so.
pub(super) async fn verify(context: &Context<'_>, verb: Verb, work: &Work<'_>) -> Result<Verdict, Trouble> {
    supported(verb)?;
    let mut session = context.engine.pool.begin(Mode::Read).await?;
    let verdict = read_again(context, &mut Reads::alone(&mut session), verb, work).await;
    session.roll_back().await;
    verdict
}

/// Whether there is anything to verify about what `verb` did.
pub(super) fn supported(verb: Verb) -> Result<(), Trouble> {
    if !matches!(verb, Verb::Erase | Verb::Rectify | Verb::Discover | Verb::Export) {
        return Err(denied("verb_unsupported", format!("a SQL system does not {verb}, so there is nothing to verify")));
    }
    Ok(())
}

/// The second read.
pub(super) async fn read_again(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    verb: Verb,
    work: &Work<'_>,
) -> Result<Verdict, Trouble> {
    let tables = &context.engine.declared.tables;
    let touched = Touched::read(work.prior)?;
    let search = Search { lock: &[], known: Some(&touched.derived), unlimited: true };
    let found = find(context, reads, work.subject, search).await?;
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
                reads.at((place::STATE, t, 0));
                let mut undone = undeleted(context, reads, t, &listed, work.subject, &touched).await?;
                // What was found by identifier or reference is the person's, whatever the receipt says.
                if table.on_delete == OnDelete::Delete {
                    undone.append(&mut keys.clone());
                }
                reads.at((place::STATE, t, 1));
                keys.extend(orphans(context, reads, t, work.subject, &touched).await?);
                reads.at((place::STATE, t, 100));
                undone.extend(undeleted(context, reads, t, &keys, work.subject, &touched).await?);
                (table.action(), undone)
            }
            Verb::Rectify => {
                let corrections = applicable(context, t, work.corrections);
                if corrections.is_empty() {
                    continue;
                }
                keys.extend(listed);
                reads.at((place::STATE, t, 0));
                ("update", uncorrected(context, reads, t, &keys, &corrections).await?)
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
    Ok(if remaining == 0 { Verdict::Confirmed(evidence) } else { Verdict::Residue { remaining, evidence } })
}

/// Rows that still refer to a row of the person that is gone: no search can find them any more, but they are theirs.
async fn orphans(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    subject: &Subject,
    touched: &Touched,
) -> Result<BTreeSet<String>, Trouble> {
    let tables = &context.engine.declared.tables;
    let mut orphans = BTreeSet::new();
    for reference in tables[t].references.iter().filter(|reference| reference.parent_column == 0) {
        let parents = touched.of(&tables[reference.parent].name).keys;
        let keys: Vec<&str> = parents.iter().map(String::as_str).collect();
        // A key that now belongs to somebody else's row tells nothing about what refers to it.
        reads.at((place::STATE, t, 2 + 2 * reference.parent));
        let reused = by_key(context, reads, reference.parent, &keys, false).await?;
        let reused: BTreeSet<&str> = reused
            .iter()
            .filter(|(_, row)| is_anothers(context, reference.parent, row, subject, touched))
            .map(|(key, _)| key.as_str())
            .collect();
        let gone: Vec<&str> = keys.into_iter().filter(|key| !reused.contains(key)).collect();
        reads.at((place::STATE, t, 3 + 2 * reference.parent));
        for chunk in gone.chunks(CHUNK) {
            let equal = Equal { table: t, column: reference.column, what: What::Wanted, end: End::Plain };
            let values = chunk.iter().map(|&key| key.to_owned()).collect();
            for row in reads.rows(context, Lookup::Equal(equal, values)).await? {
                if let (Some(Some(key)), Some(Some(value))) = (row.first(), row.get(reference.column))
                    && chunk.contains(&value.as_str())
                {
                    orphans.insert(key.clone());
                }
            }
        }
    }
    Ok(orphans)
}
