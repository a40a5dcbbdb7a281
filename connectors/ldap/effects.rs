//! Deleting and changing entries, one by one: each is read once more before, and must still be what was found.

use super::entry::Entry;
use super::find::Found;
use super::session::Session;
use super::{COLLECTION, Directory, OnDelete};
use crate::flat::{self, Touched};
use crate::{Journal, Problem, Trouble, Work};
use std::collections::BTreeSet;

/// Attributes with the value that they are to have; none to be removed.
pub(super) type Changes = Vec<(String, Option<String>)>;

/// What is to be done for one person.
pub(super) struct Plan<'f> {
    /// All that this and earlier runs announced.
    pub(super) touched: Touched,
    due: Vec<(&'f Entry, Changes)>,
}

impl Directory {
    /// What corrections would change of an entry: attributes that it has, with another value.
    pub(super) fn wrong(&self, entry: &Entry, work: &Work<'_>) -> Changes {
        let wrong = |(name, value): &(&str, &str)| entry.has(name) && entry.texts(name) != [*value];
        let due = flat::applicable(&self.fields, work.corrections).into_iter().filter(wrong);
        due.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).collect()
    }

    /// What is to be removed of an entry that stays, whether it is seen there or not: what may not be read may be there.
    fn removal(&self) -> Changes {
        match &self.on_delete {
            OnDelete::Delete => Vec::new(),
            OnDelete::Null(names) => names.iter().map(|name| (name.clone(), None)).collect(),
        }
    }

    /// Whether an entry still holds what deletion takes away.
    pub(super) fn is_left(&self, entry: &Entry) -> bool {
        match &self.on_delete {
            OnDelete::Delete => true,
            OnDelete::Null(names) => names.iter().any(|name| entry.has(name)),
        }
    }

    pub(super) fn plan_erasure<'f>(&self, work: &Work<'_>, found: &'f Found) -> Result<Plan<'f>, Trouble> {
        found.met.settle(found.hits.len() as u64, self.max_matches)?;
        let mut touched = Touched::read(work.prior)?;
        touched.extend(&found.touched());
        let mut due: Vec<_> = found.hits.iter().map(|hit| (hit, self.removal())).collect();
        if self.on_delete == OnDelete::Delete {
            for hit in &found.hits {
                let below = format!(",{}", hit.dn.to_lowercase());
                let known = found.hits.iter().any(|other| other.dn.to_lowercase().ends_with(&below));
                if hit.has_children() && !known {
                    return Err(not_a_leaf(found.hits.len() as u64));
                }
            }
            // What is below goes first.
            due.sort_by_key(|(hit, _)| std::cmp::Reverse(hit.dn.matches(',').count()));
        }
        Ok(Plan { touched, due })
    }

    pub(super) fn plan_correction<'f>(&self, work: &Work<'_>, found: &'f Found) -> Result<Plan<'f>, Trouble> {
        found.met.settle(found.hits.len() as u64, self.max_matches)?;
        let mut touched = Touched::read(work.prior)?;
        touched.extend(&found.touched());
        let due: Vec<_> = found.hits.iter().map(|hit| (hit, self.wrong(hit, work))).collect();
        let due: Vec<_> = due.into_iter().filter(|(_, set)| !set.is_empty()).collect();
        for (hit, _) in &due {
            touched.add(COLLECTION, &hit.key(), 1).due = true;
        }
        Ok(Plan { touched, due })
    }

    /// Announces what is planned, for all people at once, and carries it out. A plan without anything to do is its own answer.
    pub(super) async fn carry_out(
        &self,
        session: &mut Session<'_>,
        batch: &[Work<'_>],
        plans: Vec<Result<Plan<'_>, Trouble>>,
        journal: &dyn Journal,
    ) -> Vec<Result<Touched, Trouble>> {
        let acting = |plan: &Result<Plan<'_>, Trouble>| plan.as_ref().is_ok_and(|plan| !plan.due.is_empty());
        let receipts: Vec<_> = batch
            .iter()
            .zip(&plans)
            .filter(|(_, plan)| acting(plan))
            .filter_map(|(work, plan)| Some((work.key, plan.as_ref().ok()?.touched.receipt())))
            .collect();
        let items: Vec<_> = receipts.iter().map(|(key, receipt)| (*key, receipt)).collect();
        let mut said = if items.is_empty() { Vec::new() } else { journal.intend_all(&items).await }.into_iter();
        let mut answers = Vec::with_capacity(batch.len());
        for plan in plans {
            answers.push(match plan {
                Ok(plan) if !plan.due.is_empty() => match said.next() {
                    Some(Ok(())) => self.effect(session, &plan).await.map(|()| plan.touched),
                    _ => Err(Trouble::Lost),
                },
                Ok(plan) => Ok(plan.touched),
                Err(trouble) => Err(trouble),
            });
        }
        answers
    }

    async fn effect(&self, session: &mut Session<'_>, plan: &Plan<'_>) -> Result<(), Trouble> {
        for (hit, set) in &plan.due {
            if self.unchanged(session, hit).await?.is_none() {
                // Gone already, or it got another name.
                if !self.still_there(session, &BTreeSet::from([hit.key()])).await?.is_empty() {
                    return Err(super::session::changed());
                }
                continue;
            }
            if set.is_empty() {
                session.delete(&hit.dn).await?;
                continue;
            }
            session.replace(&hit.dn, set).await?;
            let now = session.read(&hit.dn, &self.wanted).await?.ok_or_else(super::session::changed)?;
            let is_so = |(name, value): &(String, Option<String>)| match value {
                Some(value) => now.texts(name) == [value.as_str()],
                None => !now.has(name),
            };
            if !set.iter().all(is_so) {
                return Err(super::session::changed());
            }
        }
        Ok(())
    }
}

fn not_a_leaf(matched: u64) -> Trouble {
    Trouble::Ambiguous {
        matched,
        problem: Problem::new(
            "not_a_leaf",
            "an entry of the person has entries below it that are not known to be theirs; nothing was touched: move or delete those by hand, then retry the step",
        ),
    }
}
