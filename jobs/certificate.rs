//! A certificate is the signed statement of what was done for one request, in which system, and how that was checked.
//!
//! It holds counts, names of systems and times, and no personal data: it outlives the request's own data. The document
//! is `{"certificate": {…}, "signature": {"algorithm", "key_id", "public_key", "value"}}`. The signature covers the
//! canonical form ([`canonical`]) of the certificate, so indenting the document or reordering its keys does no harm,
//! and changing any value does.

mod audit;
mod canonical;
mod signer;
#[cfg(test)]
mod tests;
mod text;
mod verify;

pub use audit::{AuditReport, verify_audit_export};
pub use canonical::{JsonFault, canonical, event_hash, parse_strict};
#[cfg(test)]
pub(crate) use signer::sha256_hex;
pub use signer::{BadKey, KeyTrust, PublicKey, Signer};
pub(crate) use signer::{check_block, hex, signature_block};
pub(crate) use text::{as_text, as_text_option, plain};
pub use verify::{CertificateReport, Report, VerifyError, verify_any, verify_certificate};

use jiff::Timestamp;
use jiff::civil::Date;
use redress_domain::{RequestType, Verb};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The version of the certificate's format that this engine writes and reads.
pub const FORMAT_VERSION: &str = "1";

/// What was done for one request. Every time is an instant in UTC, every date a day in the controller's time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// [`FORMAT_VERSION`].
    pub format_version: String,
    /// The certificate's own id, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The request.
    pub request: CertifiedRequest,
    /// On whose instruction.
    pub controller: CertifiedController,
    /// By when, and whether that was kept.
    pub deadlines: CertifiedDeadlines,
    /// What was done, one entry per system and verb.
    pub steps: Vec<CertifiedStep>,
    /// Connected systems that were left out, each with its reason.
    pub out_of_scope: Vec<OutOfScope>,
    /// The access package, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<CertifiedPackage>,
    /// Where the controller's audit log stood.
    pub audit: AuditLink,
    /// What stays or follows although the request is closed, in plain sentences without personal data.
    pub residual_notes: Vec<String>,
    /// The version of the deadline rules that was applied.
    pub table_version: String,
    /// The version of the engine that did the work.
    pub engine_version: String,
    /// When this certificate was made.
    #[serde(with = "as_text")]
    pub issued_at: Timestamp,
}

/// The request that a certificate is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedRequest {
    /// Its id.
    pub id: String,
    /// The right that was used.
    #[serde(rename = "type")]
    pub request_type: RequestType,
    /// The law it was made under, such as `EU-GDPR`.
    pub regulation: String,
    /// Where the person is protected, such as `DE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<String>,
    /// By how many identifiers of each type the person was searched; never the identifiers.
    pub identifiers: BTreeMap<String, u64>,
    /// When the controller heard from the person, where it said so.
    #[serde(default, with = "as_text_option", skip_serializing_if = "Option::is_none")]
    pub data_subject_received_at: Option<Timestamp>,
    /// When the controller's instruction arrived.
    #[serde(with = "as_text")]
    pub instruction_received_at: Timestamp,
    /// When the request was closed.
    #[serde(with = "as_text")]
    pub completed_at: Timestamp,
    /// How it ended.
    pub outcome: CertifiedOutcome,
}

/// How a certified request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertifiedOutcome {
    /// Every step is verified, or found nothing.
    Completed,
    /// Some records stay, each with its reason.
    PartiallyCompleted,
    /// The controller or the law refused it.
    Rejected,
    /// The controller took it back.
    Withdrawn,
}

impl CertifiedOutcome {
    /// The spelling used in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::PartiallyCompleted => "partially_completed",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// The controller that gave the instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedController {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The deadline that counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedDeadlines {
    /// The earliest of those that applied.
    pub effective: EffectiveDeadline,
    /// Whether the request was closed in time.
    pub met: bool,
}

/// The earliest of the deadlines that applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveDeadline {
    /// The last day that counted.
    #[serde(with = "as_text")]
    pub due_on: Date,
    /// Which deadline it was: `contract`, `statutory`, …
    pub binding: String,
}

/// What one step did in one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedStep {
    /// The controller's name for the system.
    pub system: String,
    /// Its family: `crm`, `marketing`, `email`, `database`, …
    pub family: String,
    /// The connector that reached it.
    pub connector: String,
    /// What was to be done.
    pub verb: Verb,
    /// The step's final state: `verified`, `nothing_found`, `retained`, …
    pub status: String,
    /// Records that were the person's.
    pub found: Option<u64>,
    /// Records that were changed or removed.
    pub changed: Option<u64>,
    /// Records that stay, each with the controller's reason code.
    pub retained: Vec<RetainedRecords>,
    /// What was counted before and after.
    pub evidence: Vec<CollectionCount>,
    /// What the effect is worth: `permanent`, `soft`, `scheduled`, `anonymised`, `suppressed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// Until when something of it can still be restored, where the effect is soft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual_until: Option<String>,
    /// When the system has carried out what it accepted, by its own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completes_by: Option<String>,
    /// How often the step was tried.
    pub attempts: u64,
    /// When it took effect.
    #[serde(default, with = "as_text_option", skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
    /// When a second read saw the effect.
    #[serde(default, with = "as_text_option", skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// What the second read counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verification: Vec<CollectionCount>,
}

/// Records that stay although the request covers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedRecords {
    /// Table or collection.
    pub collection: String,
    /// How many.
    pub records: u64,
    /// The controller's reason code.
    pub reason: String,
}

/// Counts of one collection (a table, a mailbox).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionCount {
    /// Its name, as configured.
    pub collection: String,
    /// What was done with the records: `delete`, `null`, `keep`, `update`, `search`, …
    pub action: String,
    /// The person's records before.
    pub before: u64,
    /// Records that the system reported as changed.
    pub changed: u64,
    /// The person's records after, as read again.
    pub after: u64,
}

/// A connected system in which nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfScope {
    /// The controller's name for it.
    pub system: String,
    /// Why.
    pub reason: String,
}

/// The access package that was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedPackage {
    /// SHA-256 of the ZIP, in hex.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Until when it could be fetched.
    #[serde(with = "as_text")]
    pub expires_at: Timestamp,
}

/// The place in the controller's hash-chained audit log that this certificate rests on: whoever holds an export of the
/// log can see that it contains this very event and was not rewritten since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLink {
    /// Sequence number of the request's last event.
    pub last_event_seq: u64,
    /// Its hash, in hex.
    pub last_event_hash: String,
    /// How many events the request has.
    pub events: u64,
}

/// The signed document of a certificate.
///
/// # Panics
/// Never: every part of a certificate can be written as JSON.
pub fn sign(certificate: &Certificate, signer: &Signer) -> Value {
    let value = serde_json::to_value(certificate).expect("a certificate is made of text, whole numbers and lists");
    let signature = signature_block(signer, canonical(&value).as_bytes(), "value");
    json!({ "certificate": value, "signature": signature })
}
