//! A Salesforce receipt lists by object the ids of the person's records, and the jobs that remove them.

use super::find::{Found, Ids};
use super::session::denied;
use crate::{Receipt, Trouble};
use serde::{Deserialize, Serialize};

/// Everything touched for one person.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Touched {
    /// The person's records, those that stay included.
    pub(super) rows: Ids,
    /// Of a correction, the records that had to change.
    #[serde(default, skip_serializing_if = "Ids::is_empty")]
    pub(super) todo: Ids,
    /// Of a correction, the converted leads, which cannot change.
    #[serde(default, skip_serializing_if = "Ids::is_empty")]
    pub(super) fixed: Ids,
    /// Jobs under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) jobs: Vec<Job>,
    /// How often jobs were begun.
    #[serde(default)]
    pub(super) rounds: u32,
    /// The recycle bin held records of the person that this deletion did not put there.
    #[serde(default)]
    pub(super) old_bin: bool,
}

/// A bulk job.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) object: String,
    /// How many people's records it removes.
    pub(super) people: usize,
}

impl Touched {
    /// Reads back what an earlier run announced.
    pub(super) fn read(receipt: Option<&Receipt>) -> Result<Self, Trouble> {
        receipt.map_or(Ok(Self::default()), |receipt| {
            serde_json::from_str(&receipt.0).map_err(|_| {
                denied(
                    "receipt_unreadable",
                    "what an earlier run recorded cannot be read; look at the person's records by hand",
                )
            })
        })
    }

    /// In the form that is stored.
    pub(super) fn to_receipt(&self) -> Receipt {
        Receipt(serde_json::to_string(self).expect("texts, lists and numbers"))
    }

    /// Adds what was found now.
    pub(super) fn add(&mut self, found: &Found) {
        for (object, ids) in &found.rows {
            self.rows.entry(object.clone()).or_default().extend(ids.iter().cloned());
        }
        let old = |(object, ids): (&String, &std::collections::BTreeSet<String>)| {
            ids.iter().any(|id| !self.rows.get(object).is_some_and(|rows| rows.contains(id)))
        };
        self.old_bin |= found.bin.iter().any(old);
    }

    /// How many records.
    pub(super) fn total(&self) -> u64 {
        self.rows.values().map(|ids| ids.len() as u64).sum()
    }
}
