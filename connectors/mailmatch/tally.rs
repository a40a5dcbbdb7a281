//! What is said about mailboxes to people: counts, under names that name nobody.

use crate::{CollectionEvidence, Evidence, Problem, Trouble};
use std::collections::BTreeMap;

/// Counts per mailbox, in a form that may leave the system: a mailbox that people name themselves (`Clients/Ann`) may be
/// named after a person, so only standard and configured names are told, all others are counted as one.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    configured: Vec<String>,
    rows: BTreeMap<String, CollectionEvidence>,
}

/// What mailboxes are called that are there for everybody.
const STANDARD: &[&str] = &[
    "INBOX",
    "Sent",
    "Sent Items",
    "Sent Messages",
    "Drafts",
    "Trash",
    "Deleted Items",
    "Deleted Messages",
    "Junk",
    "Junk E-mail",
    "Spam",
    "Archive",
    "Archives",
    "All Mail",
    "Outbox",
    "Templates",
];

impl Tally {
    /// Counts; these mailboxes are named in the settings.
    pub(crate) fn new(configured: &[String]) -> Self {
        Self { configured: configured.to_vec(), rows: BTreeMap::new() }
    }

    /// A mailbox's name as it may be shown.
    pub(crate) fn shown(&self, mailbox: &str) -> String {
        let standard = STANDARD.iter().find(|name| name.eq_ignore_ascii_case(mailbox));
        let last = || mailbox.rsplit(['/', '.']).next().unwrap_or(mailbox);
        match standard {
            Some(name) => (*name).to_owned(),
            None if self.configured.iter().any(|name| name == mailbox) => mailbox.to_owned(),
            None => STANDARD
                .iter()
                .find(|name| mailbox.starts_with("INBOX") && name.eq_ignore_ascii_case(last()))
                .map_or_else(|| "other mailboxes".to_owned(), |name| (*name).to_owned()),
        }
    }

    /// Adds a mailbox that was looked at.
    pub(crate) fn add(&mut self, mailbox: &str, action: &str, before: u64, changed: u64, after: u64) {
        let collection = self.shown(mailbox);
        let row = self.rows.entry(collection.clone()).or_insert_with(|| CollectionEvidence {
            collection,
            action: action.to_owned(),
            ..CollectionEvidence::default()
        });
        row.before += before;
        row.changed += changed;
        row.after += after;
    }

    /// The counts, by name.
    pub(crate) fn evidence(self) -> Evidence {
        Evidence { collections: self.rows.into_values().collect() }
    }
}

/// The answer where more messages match than may be touched.
pub(crate) fn too_many(matched: u64, limit: u64) -> Trouble {
    Trouble::Ambiguous {
        matched,
        problem: Problem::new(
            "too_many_matches",
            format!(
                "{matched} messages match and max_messages is {limit}; look at the address and raise it if all are the person's"
            ),
        ),
    }
}

/// The answer where messages mention the person in a malformed header; `by_mailbox` counts them by mailbox.
pub(crate) fn message_unclear<'a>(matched: u64, by_mailbox: impl IntoIterator<Item = (&'a str, u64)>) -> Trouble {
    let mut tally = Tally::default();
    for (mailbox, count) in by_mailbox {
        tally.add(mailbox, "search", count, 0, count);
    }
    let part = |row: CollectionEvidence| format!("{} in {}", row.before, row.collection);
    let parts: Vec<String> = tally.evidence().collections.into_iter().map(part).collect();
    Trouble::Ambiguous {
        matched,
        problem: Problem::new(
            "message_unclear",
            format!(
                "messages with a malformed address header that mentions the person, so that nothing says whether they \
                 are theirs: {}; nothing was handed over or deleted because of them: look at them, remove or correct \
                 them by hand, then retry",
                parts.join(", ")
            ),
        ),
    }
}
