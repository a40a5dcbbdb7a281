//! A Maildir is a folder in which every message is one file: this connector finds, exports and unlinks one person's
//! messages in a tree of them.
//!
//! Which message is whose: see the `mailmatch` module. Messages are read up to the end of their headers only. Nothing
//! outside the configured path is reached (no symbolic link is followed), what cannot be read stops the work instead of
//! being skipped, and each message's headers are compared once more right before it is unlinked. A message whose malformed
//! headers mention a person stops the work for that person until somebody has looked at it.
//!
//! Deleting a message that several people share deletes it for all of them: that is what the mail owner would do too.

mod tree;

#[cfg(test)]
mod tests;

use crate::mailmatch::{
    Addressee, MAX_MESSAGES, Tally, message_unclear, not_corrected, summary, too_many, unsupported,
};
use crate::registry::Entry;
use crate::settings::Settings;
use crate::{
    CheckReport, Connector, Done, ExportSink, Journal, Manifest, Outcome, Problem, Receipt, SpecFault, SystemSpec,
    Trouble, Verdict, Work, crash_point,
};
use async_trait::async_trait;
use redress_domain::{IdentifierType, Verb};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tree::{Hit, Hits, Scan};

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "maildir",
    about: "a tree of Maildir folders on a disk (Dovecot, Postfix, Courier …)",
    settings: "{ path = \"/var/mail/acme\", max_messages = 10000 }",
    verbs: &["discover", "export", "erase", "verify"],
};

/// Checks the settings and makes the connector. Whether the path is there is seen when it is used.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let path = settings.required("path");
    let root = settings.path(&path);
    let max_messages = settings.number("max_messages", 1..=10_000_000).unwrap_or(MAX_MESSAGES);
    let faults = settings.finish(&[]);
    if !faults.is_empty() {
        return Err(faults);
    }
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Erase, Verb::Verify]),
        identifiers: vec![IdentifierType::Email],
        fields: Vec::new(),
        batch: 100,
        verify_after: Duration::ZERO,
    };
    Ok(Arc::new(Maildir { manifest, root, max_messages }))
}

struct Maildir {
    manifest: Manifest,
    root: PathBuf,
    max_messages: u64,
}

/// The messages of a person: for each folder (as on disk, relative to the path) their unique names, which stay the same
/// when a mail client changes a message's flags or moves it from `new` to `cur`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Messages(BTreeMap<String, BTreeSet<String>>);

impl Messages {
    fn of(hits: &[Hit]) -> Self {
        let mut messages = Self::default();
        for hit in hits {
            messages.0.entry(hit.folder.clone()).or_default().insert(hit.unique.clone());
        }
        messages
    }

    fn from_receipt(receipt: &Receipt) -> Result<Self, Trouble> {
        serde_json::from_str(&receipt.0).map_err(|_| {
            Trouble::Denied(Problem::new(
                "receipt_unreadable",
                "an earlier run of this step wrote a receipt that this version cannot read; use the version that wrote it",
            ))
        })
    }

    fn receipt(&self) -> Receipt {
        Receipt(serde_json::to_string(self).unwrap_or_default())
    }

    fn extend(&mut self, other: &Self) {
        for (folder, names) in &other.0 {
            self.0.entry(folder.clone()).or_default().extend(names.iter().cloned());
        }
    }

    fn len(&self) -> u64 {
        self.0.values().map(|names| names.len() as u64).sum()
    }

    fn in_folder(&self, folder: &str) -> u64 {
        self.0.get(folder).map_or(0, |names| names.len() as u64)
    }
}

impl Maildir {
    /// Runs file work where it does not hold up others.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&std::path::Path) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let root = self.root.clone();
        tokio::task::spawn_blocking(move || work(&tree::open_root(&root)?)).await.unwrap_or_else(|_| {
            Err(Trouble::Retry(Problem::new("interrupted", "the work was interrupted, most likely by a shutdown")))
        })
    }

    /// Looks for all of a batch in one walk. Those without an address find nothing here; their answer is in `who`.
    async fn scan(&self, who: &[Result<Addressee, Trouble>]) -> Result<Scan, Trouble> {
        let who: Vec<Option<Addressee>> = who.iter().map(|w| w.as_ref().ok().cloned()).collect();
        self.blocking(move |root| tree::scan(root, &who)).await
    }

    fn found(scan: &Scan, messages: &Messages, action: &str) -> Done {
        let mut tally = Tally::default();
        for folder in &scan.folders {
            let count = messages.in_folder(folder);
            tally.add(&tree::shown_name(folder), action, count, 0, count);
        }
        Done { found: messages.len(), evidence: tally.evidence(), ..Done::default() }
    }

    /// Everything up to and including the effect on one person's messages; all that this and earlier runs announced.
    async fn erase_one(
        &self,
        work: &Work<'_>,
        who: Result<Addressee, Trouble>,
        hits: Hits,
        journal: &dyn Journal,
    ) -> Result<Messages, Trouble> {
        let (who, hits) = (who?, certain(hits)?);
        let mut announced = Messages::of(&hits);
        if let Some(prior) = work.prior {
            announced.extend(&Messages::from_receipt(prior)?);
        }
        let matched = hits.len() as u64;
        if matched > self.max_messages {
            return Err(too_many(matched, self.max_messages));
        }
        if !hits.is_empty() {
            journal.intend(work.key, &announced.receipt()).await?;
            crash_point("maildir.before_effect");
            self.blocking(move |root| tree::unlink(root, &hits, &who)).await?;
            crash_point("maildir.after_effect");
        }
        Ok(announced)
    }

    fn erased(announced: &Messages, again: &Scan, remaining: &[Hit]) -> Outcome {
        let remaining = Messages::of(remaining);
        let mut all = announced.clone();
        all.extend(&remaining);
        let mut tally = Tally::default();
        let folders: BTreeSet<&String> = again.folders.iter().chain(all.0.keys()).collect();
        for folder in folders {
            let (before, after) = (all.in_folder(folder), remaining.in_folder(folder));
            tally.add(&tree::shown_name(folder), "delete", before, before - after, after);
        }
        let evidence = tally.evidence();
        let found = all.len();
        if found == 0 {
            return Outcome::NothingFound(evidence);
        }
        let receipt = Some(announced.receipt());
        Outcome::Done(Done { found, changed: found - remaining.len(), evidence, receipt, ..Done::default() })
    }

    /// Hands over the person's messages; those that were really there.
    async fn export_one(
        &self,
        key: &str,
        who: Addressee,
        hits: Hits,
        sink: &dyn ExportSink,
    ) -> Result<Messages, Trouble> {
        let hits = certain(hits)?;
        let matched = hits.len() as u64;
        if matched > self.max_messages {
            return Err(too_many(matched, self.max_messages));
        }
        let mut handed_over = Messages::default();
        for hit in hits {
            let (again, who) = (hit.clone(), who.clone());
            let read = self.blocking(move |root| tree::read(root, &again, &who)).await?;
            let Some((header, message)) = read else { continue };
            let mailbox = tree::shown_name(&hit.folder);
            let mut record = summary(&message[..header], message.len() as u64);
            record.insert("name".into(), hit.unique.clone().into());
            sink.record(key, &mailbox, record).await?;
            let name = format!("{mailbox}/{}.eml", hit.unique);
            sink.attachment(key, &mailbox, &name, "message/rfc822", &message).await?;
            handed_over.extend(&Messages::of(&[hit]));
        }
        Ok(handed_over)
    }
}

/// A person's messages, unless there are some of which nobody can say whether they are theirs.
fn certain(hits: Hits) -> Result<Vec<Hit>, Trouble> {
    let unclear = Messages::of(&hits.unclear);
    if unclear.len() == 0 {
        return Ok(hits.theirs);
    }
    let names: Vec<String> = unclear.0.keys().map(|folder| tree::shown_name(folder)).collect();
    let counts = names.iter().map(String::as_str).zip(unclear.0.values().map(|messages| messages.len() as u64));
    Err(message_unclear(unclear.len() + hits.theirs.len() as u64, counts))
}

fn outcomes(batch: &[Work<'_>], trouble: &Trouble) -> Vec<Outcome> {
    batch.iter().map(|_| Outcome::Trouble(trouble.clone())).collect()
}

fn addressees(batch: &[Work<'_>]) -> Vec<Result<Addressee, Trouble>> {
    batch.iter().map(|work| Addressee::of(work.subject)).collect()
}

#[async_trait]
impl Connector for Maildir {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        match self.blocking(tree::survey).await {
            Ok(report) => Ok(report),
            Err(Trouble::Retry(problem) | Trouble::Denied(problem)) => Err(problem),
            Err(_) => Err(Problem::new("interrupted", "the check was interrupted")),
        }
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        let who = addressees(batch);
        let mut scan = match self.scan(&who).await {
            Ok(scan) => scan,
            Err(trouble) => return outcomes(batch, &trouble),
        };
        let hits = std::mem::take(&mut scan.hits);
        let answer = |(who, hits): (Result<Addressee, Trouble>, Hits)| match who.and_then(|_| certain(hits)) {
            Err(trouble) => Outcome::Trouble(trouble),
            Ok(theirs) => match Self::found(&scan, &Messages::of(&theirs), "search") {
                done if done.found == 0 => Outcome::NothingFound(done.evidence),
                done => Outcome::Done(done),
            },
        };
        who.into_iter().zip(hits).map(answer).collect()
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        let who = addressees(batch);
        let mut scan = match self.scan(&who).await {
            Ok(scan) => scan,
            Err(trouble) => return outcomes(batch, &trouble),
        };
        let mut answers = Vec::with_capacity(batch.len());
        let hits = std::mem::take(&mut scan.hits);
        for ((work, who), hits) in batch.iter().zip(who).zip(hits) {
            let result = match who {
                Ok(who) => self.export_one(work.key, who, hits, sink).await,
                Err(trouble) => Err(trouble),
            };
            answers.push(match result.map(|handed_over| Self::found(&scan, &handed_over, "export")) {
                Err(trouble) => Outcome::Trouble(trouble),
                Ok(done) if done.found == 0 => Outcome::NothingFound(done.evidence),
                Ok(done) => Outcome::Done(done),
            });
        }
        answers
    }

    async fn rectify(&self, batch: &[Work<'_>], _journal: &dyn Journal) -> Vec<Outcome> {
        not_corrected(batch)
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        let who = addressees(batch);
        let mut scan = match self.scan(&who).await {
            Ok(scan) => scan,
            Err(trouble) => return outcomes(batch, &trouble),
        };
        let mut results = Vec::with_capacity(batch.len());
        for ((work, who), hits) in batch.iter().zip(who.iter().cloned()).zip(std::mem::take(&mut scan.hits)) {
            results.push(self.erase_one(work, who, hits, journal).await);
        }
        // What is said to be gone is what a second walk no longer finds.
        let mut again = match self.scan(&who).await {
            Ok(again) => again,
            Err(trouble) => return outcomes(batch, &trouble),
        };
        let remaining = std::mem::take(&mut again.hits);
        let answer = |(result, remaining): (Result<Messages, Trouble>, Hits)| {
            result
                .and_then(|announced| Ok(Self::erased(&announced, &again, &certain(remaining)?)))
                .unwrap_or_else(Outcome::Trouble)
        };
        results.into_iter().zip(remaining).map(answer).collect()
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        if verb != Verb::Erase {
            return batch.iter().map(|_| Verdict::Trouble(unsupported())).collect();
        }
        let who = addressees(batch);
        let mut scan = match self.scan(&who).await {
            Ok(scan) => scan,
            Err(trouble) => return batch.iter().map(|_| Verdict::Trouble(trouble.clone())).collect(),
        };
        let hits = std::mem::take(&mut scan.hits);
        let answer = |(who, hits): (Result<Addressee, Trouble>, Hits)| match who.and_then(|_| certain(hits)) {
            Err(trouble) => Verdict::Trouble(trouble),
            Ok(theirs) => match Self::found(&scan, &Messages::of(&theirs), "search") {
                done if done.found == 0 => Verdict::Confirmed(done.evidence),
                done => Verdict::Residue { remaining: done.found, evidence: done.evidence },
            },
        };
        who.into_iter().zip(hits).map(answer).collect()
    }
}
