//! One item of work is one person in all mailboxes of one session.

use super::mailbox::{self, Mailbox, Selection};
use super::search::search;
use super::session::{Session, Tls};
use crate::mailmatch::{Addressee, Tally, header_end, message_unclear, summary, too_many};
use crate::{CheckReport, Done, ExportSink, Journal, Outcome, Problem, Receipt, Trouble, Work, crash_point};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How often more messages of the person may turn up while theirs are expunged, such as copies in a trash mailbox.
const ROUNDS: usize = 3;

/// What is to be done with the person's messages.
#[derive(Clone, Copy)]
pub(super) enum Task<'a> {
    Count,
    Export(&'a dyn ExportSink),
    Erase(&'a dyn Journal),
}

/// The person's messages in one mailbox.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    uidvalidity: u32,
    uids: BTreeSet<u32>,
    /// Messages known under an earlier UIDVALIDITY that cannot be told apart any more.
    #[serde(default)]
    earlier: u64,
}

impl Held {
    fn len(&self) -> u64 {
        self.uids.len() as u64 + self.earlier
    }
}

/// The person's messages by mailbox; as a receipt, all that were announced.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Messages(BTreeMap<String, Held>);

impl Messages {
    fn len(&self) -> u64 {
        self.0.values().map(Held::len).sum()
    }

    fn in_mailbox(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, Held::len)
    }

    /// Takes in what was found later. Under a new UIDVALIDITY the same messages have other UIDs: then the messages are
    /// as many as the greater of both counts says.
    fn extend(&mut self, later: &Self) {
        for (name, new) in &later.0 {
            let held = self.0.entry(name.clone()).or_insert_with(|| Held { uids: BTreeSet::new(), ..new.clone() });
            if held.uidvalidity == new.uidvalidity {
                held.uids.extend(&new.uids);
            } else {
                let earlier = held.len().saturating_sub(new.len());
                *held = Held { earlier, ..new.clone() };
            }
        }
    }

    /// Whether all of these are among them.
    fn contains(&self, others: &Self) -> bool {
        others.0.iter().all(|(name, other)| {
            self.0
                .get(name)
                .is_some_and(|held| held.uidvalidity == other.uidvalidity && held.uids.is_superset(&other.uids))
        })
    }

    fn receipt(&self) -> Receipt {
        Receipt(serde_json::to_string(self).unwrap_or_default())
    }

    fn from_receipt(receipt: &Receipt) -> Result<Self, Trouble> {
        serde_json::from_str(&receipt.0).map_err(|_| {
            Trouble::Denied(Problem::new(
                "receipt_unreadable",
                "an earlier run of this step wrote a receipt that this version cannot read; use the version that wrote it",
            ))
        })
    }
}

/// Does one item of work.
pub(super) async fn one(
    session: &mut Session,
    selection: &Selection,
    max_messages: u64,
    item: &Work<'_>,
    task: Task<'_>,
) -> Result<Outcome, Trouble> {
    let who = Addressee::of(item.subject)?;
    let mailboxes = mailbox::list(session, selection).await?;
    let found = find(session, &mailboxes, &who).await?;
    let over_limit = found.len() > max_messages && !matches!(task, Task::Count);
    if over_limit {
        return Err(too_many(found.len(), max_messages));
    }
    let tally = Tally::new(&selection.0);
    match task {
        Task::Count => Ok(seen(tally, &mailboxes, &found, "search")),
        Task::Export(sink) => {
            let handed_over = export(session, &mailboxes, &found, item.key, sink).await?;
            Ok(seen(tally, &mailboxes, &handed_over, "export"))
        }
        Task::Erase(journal) => {
            let mut announced = item.prior.map(Messages::from_receipt).transpose()?.unwrap_or_default();
            let left = erase(session, &mailboxes, &who, max_messages, found, &mut announced, item.key, journal).await?;
            Ok(erased(tally, &mailboxes, &announced, &left))
        }
    }
}

/// Looks into every mailbox without changing anything. Messages of which nobody can say whether they are the person's
/// are trouble.
async fn find(session: &mut Session, mailboxes: &[Mailbox], who: &Addressee) -> Result<Messages, Trouble> {
    let (mut found, mut unclear) = (Messages::default(), Vec::new());
    for mailbox in mailboxes {
        let opened = mailbox::open(session, mailbox, false).await?;
        let hits = search(session, mailbox, opened, who).await?;
        if hits.unclear > 0 {
            unclear.push((mailbox.name.as_str(), hits.unclear));
        }
        let uids = hits.theirs;
        if !uids.is_empty() {
            found.0.insert(mailbox.name.clone(), Held { uidvalidity: opened.uidvalidity, uids, earlier: 0 });
        }
    }
    if !unclear.is_empty() {
        let count: u64 = unclear.iter().map(|(_, count)| count).sum();
        return Err(message_unclear(count + found.len(), unclear));
    }
    Ok(found)
}

fn seen(mut tally: Tally, mailboxes: &[Mailbox], messages: &Messages, action: &str) -> Outcome {
    for mailbox in mailboxes {
        let count = messages.in_mailbox(&mailbox.name);
        tally.add(&mailbox.name, action, count, 0, count);
    }
    let evidence = tally.evidence();
    match messages.len() {
        0 => Outcome::NothingFound(evidence),
        found => Outcome::Done(Done { found, evidence, ..Done::default() }),
    }
}

/// Hands over the person's messages; those that were really there.
async fn export(
    session: &mut Session,
    mailboxes: &[Mailbox],
    found: &Messages,
    key: &str,
    sink: &dyn ExportSink,
) -> Result<Messages, Trouble> {
    let mut handed_over = Messages::default();
    for mailbox in mailboxes {
        let Some(held) = found.0.get(&mailbox.name) else { continue };
        let opened = mailbox::open(session, mailbox, false).await?;
        if opened.uidvalidity != held.uidvalidity {
            return Err(super::fault::mailbox_changed());
        }
        for uid in &held.uids {
            let Some(message) = mailbox::message(session, *uid).await? else { continue };
            let header = header_end(&message).unwrap_or(message.len());
            let mut record = summary(&message[..header], message.len() as u64);
            record.insert("uid".into(), (*uid).into());
            sink.record(key, &mailbox.name, record).await?;
            let name = format!("{}/{uid}.eml", mailbox.name);
            sink.attachment(key, &mailbox.name, &name, "message/rfc822", &message).await?;
            let of = handed_over.0.entry(mailbox.name.clone()).or_default();
            of.uids.insert(*uid);
        }
    }
    Ok(handed_over)
}

/// Expunges the person's messages until a search finds none, or none that a server could be asked again to expunge.
/// Returns those that are left; `announced` has all that were found.
#[expect(clippy::too_many_arguments, reason = "one step of `one`, named")]
async fn erase(
    session: &mut Session,
    mailboxes: &[Mailbox],
    who: &Addressee,
    max_messages: u64,
    mut found: Messages,
    announced: &mut Messages,
    key: &str,
    journal: &dyn Journal,
) -> Result<Messages, Trouble> {
    for round in 0..ROUNDS {
        // What was expunged and is still there will not go by being asked twice: the verification will say so.
        if found.0.is_empty() || (round > 0 && announced.contains(&found)) {
            break;
        }
        if found.len() > max_messages {
            return Err(too_many(found.len(), max_messages));
        }
        if !session.can_expunge_by_uid() {
            return Err(Trouble::Denied(uidplus_missing()));
        }
        announced.extend(&found);
        journal.intend(key, &announced.receipt()).await?;
        crash_point("imap.before_effect");
        for mailbox in mailboxes {
            if let Some(held) = found.0.get(&mailbox.name) {
                mailbox::expunge(session, mailbox, held.uidvalidity, &held.uids).await?;
            }
        }
        crash_point("imap.after_effect");
        found = find(session, mailboxes, who).await?;
    }
    announced.extend(&found);
    Ok(found)
}

fn erased(mut tally: Tally, mailboxes: &[Mailbox], announced: &Messages, left: &Messages) -> Outcome {
    let names: BTreeSet<&String> = mailboxes.iter().map(|mailbox| &mailbox.name).chain(announced.0.keys()).collect();
    for name in names {
        let (before, after) = (announced.in_mailbox(name), left.in_mailbox(name));
        tally.add(name, "expunge", before, before.saturating_sub(after), after);
    }
    let evidence = tally.evidence();
    match announced.len() {
        0 => Outcome::NothingFound(evidence),
        found => Outcome::Done(Done {
            found,
            changed: found.saturating_sub(left.len()),
            retained: Vec::new(),
            evidence,
            receipt: Some(announced.receipt()),
            ..Done::default()
        }),
    }
}

fn uidplus_missing() -> Problem {
    Problem::new(
        "uidplus_missing",
        "the mail server does not offer UIDPLUS (RFC 4315), without which deleting one message could delete others; \
         update the server, or reach the mail by the maildir connector",
    )
}

/// What can be said about the account without looking for anybody.
pub(super) async fn check(session: &mut Session, selection: &Selection, tls: Tls) -> Result<CheckReport, Trouble> {
    let mut report = CheckReport::default();
    report.ok.push("signed in".to_owned());
    let mailboxes = mailbox::list(session, selection).await?;
    let mut messages = 0;
    for mailbox in &mailboxes {
        messages += mailbox::open(session, mailbox, false).await?.messages;
    }
    report.ok.push(format!("{} mailboxes with {messages} messages", mailboxes.len()));
    if session.can_expunge_by_uid() {
        report.ok.push("messages can be deleted one by one (UIDPLUS)".to_owned());
    } else {
        report.warnings.push(format!("deletions will be refused: {}", uidplus_missing().detail));
    }
    if tls == Tls::None {
        report.warnings.push("the connection is not encrypted; it does not leave this machine".to_owned());
    }
    Ok(report)
}
