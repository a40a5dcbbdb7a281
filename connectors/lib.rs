//! A connector finds, exports, corrects, deletes and re-reads one person's records in one kind of system.
//!
//! It takes a batch of [`Work`] and gives one answer per item, in the same order. It never sees our database, never
//! decides what comes next, and acts only on records whose identifier equals the subject's after normalisation
//! ([`redress_domain::Identifier::is_same_as`]). Before its first effect on a person's records it announces what it
//! is about to change through [`Journal::intend`]; if the process dies between the effect and its record, the next run
//! is given that [`Receipt`] back as [`Work::prior`] and says truthfully what was changed.

pub mod awaited;
pub mod bench;
pub mod evidence;
pub mod gate;
pub mod http;
pub mod manifest;
pub mod registry;
pub mod report;
pub mod spec;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod crash;
pub mod dynamodb;
mod flat;
pub mod gmail;
pub mod graph;
pub mod imap;
pub mod jmap;
pub mod ldap;
pub mod maildir;
mod mailmatch;
mod mailservice;
mod manual;
mod mutant;
mod opendsr;
pub mod s3;
pub mod salesforce;
#[cfg(test)]
mod sandboxed;
mod settings;
pub mod sql;
pub mod warehouse;
pub mod webhook;

use async_trait::async_trait;
use redress_domain::{Correction, Identifier, IdentifierType, Subject, Verb};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

pub use awaited::{Awaited, Task};
pub(crate) use crash::crash_point;
pub use evidence::{CollectionEvidence, Effect, Evidence};
pub use gate::{Gate, Pass};
pub use redress_domain::limits::{Feedback, Limits};
pub use report::Report;
pub use spec::{Admits, Network, Secret, SpecFault, SystemSpec, TableSpec};

/// What a connector can do, so that the plan asks for nothing else.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The name in `connector = "…"`.
    pub connector: Cow<'static, str>,
    /// Verbs it performs. `verify` is always among them.
    pub verbs: Cow<'static, [Verb]>,
    /// Identifier types by which this configured system can be searched, strongest first.
    pub identifiers: Vec<IdentifierType>,
    /// Names of the fields that a correction may change in this configured system.
    pub fields: Vec<String>,
    /// Most items of [`Work`] in one call.
    pub batch: usize,
    /// How long after an effect a second read can be trusted to see it.
    pub verify_after: Duration,
}

/// One item of a batch: one person, one verb.
#[derive(Debug)]
pub struct Work<'a> {
    /// Our name for the item (the step's id): for the journal, and as idempotency key where a vendor takes one.
    pub key: &'a str,
    /// The person.
    pub subject: &'a Subject,
    /// What to change; empty except for [`Connector::rectify`] and its verification.
    pub corrections: &'a [Correction],
    /// What an earlier run of this very item announced, or for [`Connector::verify`] what was done.
    pub prior: Option<&'a Receipt>,
}

/// What a connector touched, in its own words (table keys, message ids). It may hold personal data: the engine seals it
/// and gives it back to the same connector, nobody else reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt(pub String);

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<receipt>")
    }
}

/// The right to act on an item was lost (another worker holds it, or the request was withdrawn): do nothing more for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the right to act on this item was lost")]
pub struct Lost;

/// Where a connector announces an effect before it has it.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Records durably that the item is about to change what `receipt` lists, and checks that we may still act.
    async fn intend(&self, key: &str, receipt: &Receipt) -> Result<(), Lost>;

    /// As [`Journal::intend`] for several items at once, answered in their order: an item whose right was lost does not
    /// keep the others from theirs.
    async fn intend_all(&self, items: &[(&str, &Receipt)]) -> Vec<Result<(), Lost>> {
        let mut answers = Vec::with_capacity(items.len());
        for (key, receipt) in items {
            answers.push(self.intend(key, receipt).await);
        }
        answers
    }
}

/// Where a connector hands over what it found, one record or file at a time.
#[async_trait]
pub trait ExportSink: Send + Sync {
    /// One record of a collection (a table, an object type). Values keep their JSON types; bytes as base64 text.
    async fn record(
        &self,
        key: &str,
        collection: &str,
        record: serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), Lost>;
    /// One file, such as a raw e-mail. `name` is made safe by the receiver.
    async fn attachment(
        &self,
        key: &str,
        collection: &str,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), Lost>;
}

/// The answer to one item of [`Connector::discover`], [`Connector::export`], [`Connector::rectify`] or [`Connector::erase`].
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was done.
    Done(Done),
    /// The system holds nothing about the person, seen by a complete search.
    NothingFound(Evidence),
    /// The system took the order and will carry it out itself; ask again at the earliest after `check_after`: the same verb
    /// is then called with the receipt as [`Work::prior`].
    Accepted {
        /// What to ask for.
        receipt: Receipt,
        /// When.
        check_after: Duration,
        /// Within what time from now the vendor says it will be done, where it says so.
        completes_within: Option<Duration>,
    },
    /// It was not done.
    Trouble(Trouble),
}

/// What was done for one person in one system.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Records that are the person's.
    pub found: u64,
    /// Records changed or removed, an earlier interrupted run of the same item included.
    pub changed: u64,
    /// Records that stay as they are although the request covers them, each with its reason code.
    pub retained: Vec<Retained>,
    /// Counts before and after, without personal data.
    pub evidence: Evidence,
    /// What was touched, for the verification.
    pub receipt: Option<Receipt>,
    /// Whether the effect lasts, and how long something of it can still be brought back.
    pub effect: Option<Effect>,
    /// Identifiers of the same person that this system's own exactly matched records hold (a CRM's id), for systems that
    /// are declared to accept them. Never from a match that was not exact. At most [`YIELD_MAX`] are taken.
    pub yielded: Vec<Identifier>,
}

/// So many identifiers of one step are passed on; a record that names more is not one person's.
pub const YIELD_MAX: usize = 20;

/// Records that stay although the request covers them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Retained {
    /// Table or collection.
    pub collection: String,
    /// How many.
    pub records: u64,
    /// The controller's reason code, such as `tax_law_10_years`.
    pub reason: String,
}

/// The answer to one item of [`Connector::verify`].
#[derive(Debug, Clone)]
pub enum Verdict {
    /// A complete second read found the effect in place.
    Confirmed(Evidence),
    /// The second read still found records that should be gone or different.
    Residue {
        /// How many.
        remaining: u64,
        /// Where.
        evidence: Evidence,
    },
    /// The second read could not be made.
    Trouble(Trouble),
}

/// Why something was not done, by what has to happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The system asked us to wait this long. Costs no attempt.
    Throttled(Duration),
    /// It may work later without anybody's help: the system is down, slow, or had a conflict.
    Retry(Problem),
    /// It will not work until somebody changes something: a credential, a permission, a setting.
    Denied(Problem),
    /// More records match than may be touched, or matches contradict each other; a person must look.
    Ambiguous {
        /// How many records matched.
        matched: u64,
        /// What is ambiguous and how to go on.
        problem: Problem,
    },
    /// The system must keep the records, with a reason code.
    Held(String),
    /// The engine took the item away in mid-work; whatever is said about it will be dropped.
    Lost,
}

impl From<Lost> for Trouble {
    fn from(_: Lost) -> Self {
        Trouble::Lost
    }
}

/// What went wrong, safe to store, log and show: never a value found, an identifier, a password or a response body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable code, such as `unreachable`, `credentials_refused`, `table_missing`, `too_many_matches`.
    pub code: &'static str,
    /// What happened and what to do, for the person who can mend it.
    pub detail: String,
}

impl Problem {
    /// A problem with a stable code and a sentence that says what to do.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// What [`Connector::check`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct CheckReport {
    /// One sentence per thing that is in order (`table customers: key id, 3 fields`).
    pub ok: Vec<String>,
    /// One sentence per thing that will not stop the work but should be known.
    pub warnings: Vec<String>,
}

/// Where a connector says what its vendor said about limits: to wait, or how much is left. It holds for every worker at once.
pub trait Told: Send + Sync {
    /// The vendor said this.
    fn told(&self, feedback: Feedback);
}

/// One connected system, reached. Made by [`registry::connect`]; keeps its connections and may be used concurrently.
#[async_trait]
pub trait Connector: Send + Sync {
    /// What it can do.
    fn manifest(&self) -> &Manifest;

    /// What the vendor allows, as far as it is known beforehand; the controller's own limits count instead.
    fn limits(&self) -> Option<Limits> {
        None
    }

    /// Whom to tell what the vendor says about its limits. A call that is answered [`Trouble::Throttled`] need not be told.
    fn listen(&self, _told: Arc<dyn Told>) {}

    /// Whom to ask before each call to the vendor. A connector that makes several calls for one batch keeps this and says
    /// `true`; it is then not limited as a whole. One that makes a single call says `false`.
    fn ask_before_calls(&self, _gate: Arc<dyn Gate>) -> bool {
        false
    }

    /// Signs in and compares what is declared with what is there; changes nothing.
    async fn check(&self) -> Result<CheckReport, Problem>;

    /// Counts each person's records.
    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome>;

    /// Hands each person's records to `sink`.
    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome>;

    /// Changes the fields that `corrections` name in each person's records.
    async fn rectify(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome>;

    /// Removes each person's records, or the personal values in them.
    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome>;

    /// Reads again, from the system itself, whether what `verb` did is so.
    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict>;
}
