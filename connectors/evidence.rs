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

/// What an effect is worth: whether it lasts, and what remains of the data for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Effect {
    /// The records are gone at the vendor; nothing brings them back.
    Permanent,
    /// The records are gone from use but can be restored (a recycle bin, an archive) for so many days from now.
    Soft {
        /// How many; none if the vendor keeps them for ever.
        residual_days: Option<u32>,
    },
    /// The vendor took the order for good and removes what it keeps (backups, backends) within so many days from now.
    Scheduled {
        /// How many.
        within_days: u32,
    },
    /// The records stay, without personal values.
    Anonymised,
    /// The person is kept on a list so that they are never contacted or imported again.
    Suppressed,
}
