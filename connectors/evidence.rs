//! Evidence is what a connector counted before and after, without personal data; it goes into the certificate.

use serde::{Deserialize, Serialize};

/// Counts for one collection (a table, a mailbox).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionEvidence {
    /// Name of the table, mailbox or object type, as configured.
    pub collection: String,
    /// What was done with the records: `export`, `delete`, `null`, `hash`, `keep`, `update`, `expunge`, `search`.
    pub action: String,
    /// The person's records before.
    pub before: u64,
    /// Records the system reported as changed.
    pub changed: u64,
    /// The person's records (or unredacted values) after, as read again.
    pub after: u64,
}

/// What was counted, collection by collection, in a stable order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// One entry per collection that was looked at.
    pub collections: Vec<CollectionEvidence>,
}
