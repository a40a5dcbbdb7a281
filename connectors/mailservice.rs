//! A mail service keeps many people's mailboxes behind one credential and names every message by an id: here one person's
//! messages are found, handed over and removed in all of them, whatever the service speaks.
//!
//! A mailbox that cannot be read makes the whole answer trouble: what was not looked at is not "nothing found". Nothing is
//! changed before every mailbox was read, and what is about to be removed is announced first, id by id. Removing an id that
//! is gone already is no fault, so that a run that died is simply done again.

#[cfg(test)]
pub(crate) mod tests;

use crate::gate::Gate;
use crate::http::Line;
use crate::mailmatch::{Addressee, Tally, header_end, message_unclear, not_corrected, summary, too_many, unsupported};
use crate::{
    CheckReport, Connector, Done, Effect, ExportSink, Journal, Limits, Manifest, Outcome, Problem, Receipt, Told,
    Trouble, Verdict, Work, crash_point,
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use redress_domain::Verb;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often more messages of the person may turn up while theirs are removed.
const ROUNDS: usize = 3;
/// So many mailboxes are looked into at the same time.
const MAILBOXES_AT_ONCE: usize = 8;
/// More candidates in one mailbox are not looked at: the search term is then no address.
pub(crate) const CANDIDATES_MAX: usize = 100_000;

/// What a search in one mailbox came to.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    /// Ids of the person's messages.
    pub(crate) theirs: BTreeSet<String>,
    /// Messages that mention them in a malformed header.
    pub(crate) unclear: u64,
}

/// A service, as far as one mailbox at a time is concerned.
#[async_trait]
pub(crate) trait MailService: Send + Sync {
    /// What the connector can do.
    fn manifest(&self) -> &Manifest;
    /// The way to it.
    fn line(&self) -> &Line;
    /// What the vendor allows.
    fn limits(&self) -> Option<Limits>;
    /// What removing a message is worth.
    fn effect(&self) -> Option<Effect>;
    /// Mailboxes that the settings name; only these are told by name.
    fn configured(&self) -> &[String];
    /// Most messages of one person that may be touched.
    fn max_messages(&self) -> u64;
    /// Signs in and tells what is there.
    async fn check(&self) -> Result<CheckReport, Trouble>;
    /// Every mailbox that is to be looked into.
    async fn mailboxes(&self) -> Result<Vec<String>, Trouble>;
    /// The person's messages in a mailbox: searched broadly by the service, then compared exactly. `key` names the item.
    async fn find(&self, key: &str, mailbox: &str, who: &Addressee) -> Result<Hits, Trouble>;
    /// Those of these messages that are still there, seen without the search.
    async fn still_there(&self, mailbox: &str, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, Trouble>;
    /// A whole message; none if it is gone.
    async fn message(&self, mailbox: &str, id: &str) -> Result<Option<Vec<u8>>, Trouble>;
    /// Removes these messages for good; those that are gone already are no fault.
    async fn remove(&self, mailbox: &str, ids: &BTreeSet<String>) -> Result<(), Trouble>;
    /// The item is done: what was kept for a next try is not needed any more.
    fn forget(&self, _key: &str) {}
}

/// The person's messages by mailbox; as a receipt, all that were announced.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Messages(BTreeMap<String, BTreeSet<String>>);

impl Messages {
    fn len(&self) -> u64 {
        self.0.values().map(|ids| ids.len() as u64).sum()
    }

    fn in_mailbox(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |ids| ids.len() as u64)
    }

    fn extend(&mut self, later: &Self) {
        for (name, ids) in &later.0 {
            self.0.entry(name.clone()).or_default().extend(ids.iter().cloned());
        }
    }

    fn contains(&self, others: &Self) -> bool {
        others.0.iter().all(|(name, ids)| self.0.get(name).is_some_and(|known| known.is_superset(ids)))
    }

    fn receipt(&self) -> Receipt {
        Receipt(serde_json::to_string(self).unwrap_or_default())
    }

    fn of(receipt: Option<&Receipt>) -> Result<Self, Trouble> {
        let Some(receipt) = receipt else { return Ok(Self::default()) };
        serde_json::from_str(&receipt.0).map_err(|_| {
            Trouble::Denied(Problem::new(
                "receipt_unreadable",
                "an earlier run of this step wrote a receipt that this version cannot read; use the version that wrote it",
            ))
        })
    }
}

#[derive(Clone, Copy)]
enum Task<'a> {
    Count,
    Export(&'a dyn ExportSink),
    Erase(&'a dyn Journal),
}

/// The connector to a mail service.
pub(crate) struct Mailboxes<S>(pub(crate) S);

impl<S: MailService> Mailboxes<S> {
    async fn run(&self, batch: &[Work<'_>], task: Task<'_>) -> Vec<Outcome> {
        let mut answers = Vec::with_capacity(batch.len());
        if batch.is_empty() {
            return answers;
        }
        let mailboxes = self.0.mailboxes().await;
        for item in batch {
            let answer = match &mailboxes {
                Ok(mailboxes) => self.one(mailboxes, item, task).await,
                Err(trouble) => Err(trouble.clone()),
            };
            let throttled = matches!(answer, Err(Trouble::Throttled(_)));
            if !throttled {
                self.0.forget(item.key);
            }
            answers.push(answer.unwrap_or_else(Outcome::Trouble));
            if throttled {
                // What is done is told; the rest waits as long.
                let last = answers.last().cloned();
                answers.resize_with(batch.len(), || last.clone().expect("just put there"));
                break;
            }
        }
        answers
    }

    async fn one(&self, mailboxes: &[String], item: &Work<'_>, task: Task<'_>) -> Result<Outcome, Trouble> {
        let who = Addressee::of(item.subject)?;
        let found = self.find(mailboxes, item.key, &who).await?;
        if found.len() > self.0.max_messages() && !matches!(task, Task::Count) {
            return Err(too_many(found.len(), self.0.max_messages()));
        }
        match task {
            Task::Count => Ok(self.seen(mailboxes, &found, "search")),
            Task::Export(sink) => {
                let handed_over = self.export(&found, item.key, sink).await?;
                Ok(self.seen(mailboxes, &handed_over, "export"))
            }
            Task::Erase(journal) => self.erase(mailboxes, &who, found, item, journal).await,
        }
    }

    /// Looks into every mailbox without changing anything.
    async fn find(&self, mailboxes: &[String], key: &str, who: &Addressee) -> Result<Messages, Trouble> {
        let looks: Vec<BoxFuture<'_, Result<(&String, Hits), Trouble>>> = mailboxes
            .iter()
            .map(|name| -> BoxFuture<'_, _> { Box::pin(async move { Ok((name, self.0.find(key, name, who).await?)) }) })
            .collect();
        let hits: Vec<(&String, Hits)> = stream::iter(looks).buffer_unordered(MAILBOXES_AT_ONCE).try_collect().await?;
        let (mut found, mut unclear) = (Messages::default(), Vec::new());
        for (name, hits) in hits {
            if hits.unclear > 0 {
                unclear.push((name.as_str(), hits.unclear));
            }
            if !hits.theirs.is_empty() {
                found.0.insert(name.clone(), hits.theirs);
            }
        }
        if unclear.is_empty() {
            return Ok(found);
        }
        let count: u64 = unclear.iter().map(|(_, count)| count).sum();
        Err(message_unclear(count + found.len(), unclear))
    }

    fn seen(&self, mailboxes: &[String], messages: &Messages, action: &str) -> Outcome {
        let mut tally = Tally::new(self.0.configured());
        for name in mailboxes {
            let count = messages.in_mailbox(name);
            tally.add(name, action, count, 0, count);
        }
        let evidence = tally.evidence();
        match messages.len() {
            0 => Outcome::NothingFound(evidence),
            found => Outcome::Done(Done { found, evidence, ..Done::default() }),
        }
    }

    /// Hands over the person's messages; those that were really there.
    async fn export(&self, found: &Messages, key: &str, sink: &dyn ExportSink) -> Result<Messages, Trouble> {
        let mut handed_over = Messages::default();
        for (mailbox, ids) in &found.0 {
            for (at, id) in ids.iter().enumerate() {
                let Some(message) = self.0.message(mailbox, id).await? else { continue };
                let header = header_end(&message).unwrap_or(message.len());
                let mut record = summary(&message[..header], message.len() as u64);
                record.insert("id".into(), id.as_str().into());
                sink.record(key, mailbox, record).await?;
                // Ids are the vendor's and may be anything; a file's name is not.
                let name = format!("{mailbox}/{}.eml", at + 1);
                sink.attachment(key, mailbox, &name, "message/rfc822", &message).await?;
                handed_over.0.entry(mailbox.clone()).or_default().insert(id.clone());
            }
        }
        Ok(handed_over)
    }

    /// Removes the person's messages until a search finds none, or none that the service could be asked again to remove.
    async fn erase(
        &self,
        mailboxes: &[String],
        who: &Addressee,
        found: Messages,
        item: &Work<'_>,
        journal: &dyn Journal,
    ) -> Result<Outcome, Trouble> {
        let mut announced = Messages::of(item.prior)?;
        // What was announced and is not found any more may only be missing from the service's search.
        let mut due = announced.clone();
        due.0.retain(|name, _| mailboxes.contains(name));
        due.extend(&found);
        for round in 0..ROUNDS {
            if due.0.is_empty() || (round > 0 && announced.contains(&due)) {
                break;
            }
            if due.len() > self.0.max_messages() {
                return Err(too_many(due.len(), self.0.max_messages()));
            }
            announced.extend(&due);
            journal.intend(item.key, &announced.receipt()).await?;
            crash_point("mailservice.before_effect");
            for (mailbox, ids) in &due.0 {
                self.0.remove(mailbox, ids).await?;
            }
            crash_point("mailservice.after_effect");
            due = self.find(mailboxes, item.key, who).await?;
        }
        announced.extend(&due);
        Ok(self.erased(mailboxes, &announced, &due))
    }

    fn erased(&self, mailboxes: &[String], announced: &Messages, left: &Messages) -> Outcome {
        let mut tally = Tally::new(self.0.configured());
        let names: BTreeSet<&String> = mailboxes.iter().chain(announced.0.keys()).collect();
        for name in names {
            let (before, after) = (announced.in_mailbox(name), left.in_mailbox(name));
            tally.add(name, "delete", before, before.saturating_sub(after), after);
        }
        let evidence = tally.evidence();
        match announced.len() {
            0 => Outcome::NothingFound(evidence),
            found => Outcome::Done(Done {
                found,
                changed: found.saturating_sub(left.len()),
                evidence,
                receipt: Some(announced.receipt()),
                effect: self.0.effect(),
                ..Done::default()
            }),
        }
    }

    /// Searches again, and looks for each message that was removed by its id.
    async fn look_again(&self, mailboxes: &[String], item: &Work<'_>) -> Result<Verdict, Trouble> {
        let who = Addressee::of(item.subject)?;
        let mut left = self.find(mailboxes, item.key, &who).await?;
        let removed = Messages::of(item.prior)?;
        for (mailbox, ids) in &removed.0 {
            let there = self.0.still_there(mailbox, ids).await?;
            if !there.is_empty() {
                left.0.entry(mailbox.clone()).or_default().extend(there);
            }
        }
        Ok(match self.seen(mailboxes, &left, "search") {
            Outcome::NothingFound(evidence) => Verdict::Confirmed(evidence),
            Outcome::Done(done) => Verdict::Residue { remaining: done.found, evidence: done.evidence },
            other => Verdict::Trouble(match other {
                Outcome::Trouble(trouble) => trouble,
                _ => unsupported(),
            }),
        })
    }
}

#[async_trait]
impl<S: MailService> Connector for Mailboxes<S> {
    fn manifest(&self) -> &Manifest {
        self.0.manifest()
    }

    fn limits(&self) -> Option<Limits> {
        self.0.limits()
    }

    fn listen(&self, told: Arc<dyn Told>) {
        self.0.line().listen(told);
    }

    fn ask_before_calls(&self, gate: Arc<dyn Gate>) -> bool {
        self.0.line().ask_before_calls(gate);
        true
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        self.0.check().await.map_err(|trouble| match trouble {
            Trouble::Retry(problem) | Trouble::Denied(problem) | Trouble::Ambiguous { problem, .. } => problem,
            Trouble::Throttled(_) => Problem::new("throttled", "the vendor asks to wait; check again in a minute"),
            Trouble::Held(_) | Trouble::Lost => Problem::new("interrupted", "the check was interrupted"),
        })
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        self.run(batch, Task::Count).await
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        self.run(batch, Task::Export(sink)).await
    }

    async fn rectify(&self, batch: &[Work<'_>], _journal: &dyn Journal) -> Vec<Outcome> {
        not_corrected(batch)
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        self.run(batch, Task::Erase(journal)).await
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        if verb != Verb::Erase {
            return batch.iter().map(|_| Verdict::Trouble(unsupported())).collect();
        }
        let mailboxes = if batch.is_empty() { Ok(Vec::new()) } else { self.0.mailboxes().await };
        let mut verdicts = Vec::with_capacity(batch.len());
        for item in batch {
            let verdict = match &mailboxes {
                Ok(mailboxes) => self.look_again(mailboxes, item).await,
                Err(trouble) => Err(trouble.clone()),
            };
            if !matches!(verdict, Err(Trouble::Throttled(_))) {
                self.0.forget(item.key);
            }
            verdicts.push(verdict.unwrap_or_else(Verdict::Trouble));
        }
        verdicts
    }
}

/// The settings of a mail service say which mailboxes: each that there is, or some, but never these.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) mailboxes: Vec<String>,
    pub(crate) except: Vec<String>,
}

impl Choice {
    /// Whether the service must be asked what mailboxes there are.
    pub(crate) fn is_all(&self) -> bool {
        self.mailboxes.iter().any(|name| name == "*")
    }

    /// Whether this mailbox is one that is never looked into.
    pub(crate) fn leaves_out(&self, mailbox: &str) -> bool {
        self.except.iter().any(|name| name.eq_ignore_ascii_case(mailbox))
    }

    /// The mailboxes that are named.
    pub(crate) fn named(&self) -> Vec<String> {
        self.mailboxes.iter().filter(|name| !self.leaves_out(name)).cloned().collect()
    }
}

/// A mailbox that is there and cannot be read; `which` tells it by its name only if the settings do.
pub(crate) fn mailbox_unavailable(which: &str, why: &str) -> Trouble {
    Trouble::Denied(Problem::new(
        "mailbox_unavailable",
        format!(
            "{which} cannot be read: {why}; nothing was concluded about any mailbox. Make it readable, or name it in \
             settings.except if it is not to be searched"
        ),
    ))
}

/// How a mailbox is told in a problem.
pub(crate) fn told_as(configured: &[String], mailbox: &str) -> String {
    if configured.iter().any(|name| name == mailbox) {
        format!("mailbox {mailbox}")
    } else {
        "a mailbox of the directory".to_owned()
    }
}

/// A list of pages that does not end, or gives the same page again.
pub(crate) fn endless() -> Trouble {
    Trouble::Retry(Problem::new(
        "list_endless",
        "the vendor's list of pages does not end or repeats itself; nothing was concluded from it",
    ))
}
