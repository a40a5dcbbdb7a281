//! A batch goes together when its persons share one transaction and its statements; each is still answered as if alone.
//!
//! Every search is the one of [`super::find`], made at a [`Desk`]. Who is in trouble is told so and left out, and the
//! others go on. Who would not be answered truthfully goes alone afterwards, in the order of the batch (`None` here):
//!
//! - who was shown a row that somebody earlier in the batch changes, as the same person named twice: what is found
//!   after that change decides;
//! - who has a receipt of an earlier run;
//! - in an export, who has so many rows that they should not be held in memory together with others'.
//!
//! Any error of the database, and any number of changed rows that differs from the number of locked ones, rolls the
//! transaction back, and the halves of the batch go together: then each has their own trouble.

use super::Context;
use super::desk::{Desk, Reads, Search};
use super::erase::{Clear, Prepared, act, prepare, settle};
use super::export::{records, told};
use super::find::{CHUNK, Search as How, find, place};
use super::foreign::Plan;
use super::session::Mode;
use super::trouble::retry;
use super::verify::{read_again, supported};
use crate::{ExportSink, Journal, Outcome, Trouble, Verdict, Work, crash_point};
use redress_domain::Verb;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The most rows of one person that are exported together with others'.
const EXPORTED_MAX: u64 = 2_000;

/// For each item its answer, or `None` if it goes alone. An error means that nothing was done for any of them.
type Answers<T> = Result<Vec<Option<T>>, Trouble>;

/// Everybody goes alone.
#[expect(clippy::unused_async, reason = "has the form of the others")]
pub(super) async fn nobody(_: &Context<'_>, batch: &[Work<'_>]) -> Answers<Outcome> {
    Ok(batch.iter().map(|_| None).collect())
}

/// Counts each person's rows.
pub(super) async fn discover(context: &Context<'_>, batch: &[Work<'_>]) -> Answers<Outcome> {
    let desk = Desk::default();
    let searches = each(batch, |i, work| {
        let mut reads = Reads::at_desk(&desk, i);
        Box::pin(async move {
            let found = find(context, &mut reads, work.subject, How::default()).await;
            Some(found.map_or_else(Outcome::Trouble, |found| told(context, &found, "search")))
        })
    });
    read(context, &desk, batch, searches).await
}

/// Hands each person's rows to the sink.
pub(super) async fn export(context: &Context<'_>, batch: &[Work<'_>], sink: &dyn ExportSink) -> Answers<Outcome> {
    let desk = Desk::default();
    let searches = each(batch, |i, work| {
        let mut reads = Reads::at_desk(&desk, i);
        Box::pin(async move {
            let found = match find(context, &mut reads, work.subject, How::default()).await {
                Ok(found) => found,
                Err(trouble) => return Some((Vec::new(), Outcome::Trouble(trouble))),
            };
            if found.total() > EXPORTED_MAX {
                return None;
            }
            let mut exported = Vec::new();
            for t in 0..found.rows.len() {
                reads.at((place::STATE, t, 0));
                let keys: Vec<&str> = found.rows[t].keys().map(String::as_str).collect();
                for chunk in keys.chunks(CHUNK) {
                    match records(context, &mut reads, t, chunk).await {
                        Ok(records) => exported.extend(records.into_iter().map(|record| (t, record))),
                        Err(trouble) => return Some((Vec::new(), Outcome::Trouble(trouble))),
                    }
                }
            }
            Some((exported, told(context, &found, "export")))
        })
    });
    let mut answers = Vec::new();
    for (work, answer) in batch.iter().zip(read(context, &desk, batch, searches).await?) {
        let Some((exported, mut outcome)) = answer else {
            answers.push(None);
            continue;
        };
        for (t, record) in exported {
            if let Err(lost) = sink.record(work.key, &context.engine.declared.tables[t].name, record).await {
                outcome = Outcome::Trouble(lost.into());
                break;
            }
        }
        answers.push(Some(outcome));
    }
    Ok(answers)
}

/// Reads again whether what `verb` did is so.
pub(super) async fn verify(context: &Context<'_>, verb: Verb, batch: &[Work<'_>]) -> Answers<Verdict> {
    if supported(verb).is_err() {
        return Ok(batch.iter().map(|_| None).collect());
    }
    let desk = Desk::default();
    let searches = each(batch, |i, work| {
        let mut reads = Reads::at_desk(&desk, i);
        Box::pin(
            async move { Some(read_again(context, &mut reads, verb, work).await.unwrap_or_else(Verdict::Trouble)) },
        )
    });
    read(context, &desk, batch, searches).await
}

/// Deletes, redacts or keeps each person's rows as declared.
pub(super) async fn erase(context: &Context<'_>, batch: &[Work<'_>], journal: &dyn Journal) -> Answers<Outcome> {
    let mut answers: Vec<Option<Outcome>> = batch.iter().map(|_| None).collect();
    if context.schema.fits_erasure(&context.engine.declared).is_err() {
        return Ok(answers);
    }
    let desk = Desk::default();
    let searches = each(batch, |i, work| {
        let mut reads = Reads::at_desk(&desk, i);
        Box::pin(async move { prepare(context, &mut reads, work).await })
    });
    let searches = searches.into_iter().filter(|(i, _)| batch[*i].prior.is_none()).collect();
    let mut session = context.engine.pool.begin(Mode::Write).await?;
    let prepared = desk.drive(context, &mut session, searches).await?;

    let mut clear: BTreeMap<usize, Box<Clear>> = BTreeMap::new();
    let mut changing: HashSet<(usize, String)> = HashSet::new();
    for (i, prepared) in prepared {
        let disturbed = desk.seen(i).iter().any(|row| changing.contains(row));
        match prepared {
            Ok(Prepared::Clear(person)) => {
                changing.extend(person.changing());
                if !disturbed {
                    clear.insert(i, person);
                }
            }
            Ok(Prepared::Nothing(outcome)) if !disturbed => answers[i] = Some(outcome),
            Err(trouble) if !disturbed => answers[i] = Some(Outcome::Trouble(trouble)),
            Ok(Prepared::Nothing(_)) | Err(_) => {}
        }
    }

    let announced: Vec<(&str, &crate::Receipt)> =
        clear.iter().map(|(i, person)| (batch[*i].key, &person.receipt)).collect();
    let allowed = if announced.is_empty() { Vec::new() } else { journal.intend_all(&announced).await };
    let lost: Vec<usize> =
        clear.keys().copied().zip(allowed).filter_map(|(i, allowed)| allowed.is_err().then_some(i)).collect();
    for i in lost {
        clear.remove(&i);
        answers[i] = Some(Outcome::Trouble(Trouble::Lost));
    }
    if clear.is_empty() {
        session.roll_back().await;
        return Ok(answers);
    }
    crash_point("sql.before_effect");

    let plan = Plan::all(context, clear.values().map(|person| &person.plan));
    let mut todo: Vec<BTreeSet<String>> = context.engine.declared.tables.iter().map(|_| BTreeSet::new()).collect();
    for person in clear.values() {
        for (all, own) in todo.iter_mut().zip(&person.todo) {
            all.extend(own.iter().cloned());
        }
    }
    let rows = act(context, &mut session, &plan, &todo).await?;
    if rows.iter().zip(&todo).any(|(rows, todo)| *rows != todo.len() as u64) {
        session.roll_back().await;
        return Err(retry("rows_changed_meanwhile", "not every row that was locked was changed"));
    }
    let searches = clear
        .iter()
        .map(|(i, person)| {
            let mut reads = Reads::at_desk(&desk, *i);
            let subject = batch[*i].subject;
            let search: Search<'_, _> = Box::pin(async move {
                let rows: Vec<u64> = person.todo.iter().map(|keys| keys.len() as u64).collect();
                settle(context, &mut reads, subject, person, &rows).await
            });
            (*i, search)
        })
        .collect();
    for (i, outcome) in desk.drive(context, &mut session, searches).await? {
        // It may be what was done for another that is in the way.
        answers[i] = Some(outcome?);
    }
    crash_point("sql.before_commit");
    match session.commit().await {
        Ok(()) => crash_point("sql.after_commit"),
        // The database refused: nothing happened.
        Err(Trouble::Denied(problem)) => return Err(Trouble::Denied(problem)),
        // Nobody knows whether it happened. The next run is given the receipt, and sees.
        Err(trouble) => {
            for i in clear.keys() {
                answers[*i] = Some(Outcome::Trouble(trouble.clone()));
            }
        }
    }
    Ok(answers)
}

/// One search for each item.
fn each<'a, T>(
    batch: &'a [Work<'a>],
    search: impl Fn(usize, &'a Work<'a>) -> Search<'a, T>,
) -> Vec<(usize, Search<'a, T>)> {
    batch.iter().enumerate().map(|(i, work)| (i, search(i, work))).collect()
}

/// Makes searches that change nothing.
async fn read<T>(
    context: &Context<'_>,
    desk: &Desk,
    batch: &[Work<'_>],
    searches: Vec<(usize, Search<'_, Option<T>>)>,
) -> Answers<T> {
    let mut session = context.engine.pool.begin(Mode::Read).await?;
    let mut ended = desk.drive(context, &mut session, searches).await?;
    session.roll_back().await;
    Ok((0..batch.len()).map(|i| ended.remove(&i).flatten()).collect())
}
