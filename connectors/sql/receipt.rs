//! A SQL receipt lists by table which rows are the person's and which of them are to change, by primary key.

use super::derive::Derived;
use super::trouble::denied;
use crate::{Receipt, Trouble};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything touched for one person. It has no `Debug`: a key may be personal.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Touched {
    /// By table.
    pub(super) tables: BTreeMap<String, TouchedTable>,
    /// By which further identifiers of the person some of them were found.
    #[serde(default, skip_serializing_if = "Derived::is_empty")]
    pub(super) derived: Derived,
}

/// What is touched in one table.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct TouchedTable {
    /// `delete`, `null`, `hash`, `keep` or `update`.
    pub(super) action: String,
    /// The person's rows before.
    pub(super) before: u64,
    /// Their keys.
    pub(super) keys: BTreeSet<String>,
    /// Those that had to change.
    pub(super) todo: BTreeSet<String>,
}

impl Touched {
    /// Reads back what an earlier run announced.
    pub(super) fn read(receipt: Option<&Receipt>) -> Result<Self, Trouble> {
        receipt.map_or(Ok(Self::default()), |receipt| {
            serde_json::from_str(&receipt.0).map_err(|_| {
                denied(
                    "receipt_unreadable",
                    "what an earlier run recorded cannot be read; look at the person's rows by hand",
                )
            })
        })
    }

    /// In the form that is stored.
    pub(super) fn to_receipt(&self) -> Result<Receipt, Trouble> {
        serde_json::to_string(self)
            .map(Receipt)
            .map_err(|_| denied("receipt_unwritable", "what is about to change cannot be recorded"))
    }

    /// Adds rows of a table.
    pub(super) fn add(&mut self, table: &str, action: &str, keys: BTreeSet<String>, todo: BTreeSet<String>) {
        let entry = self.tables.entry(table.to_owned()).or_default();
        action.clone_into(&mut entry.action);
        entry.keys.extend(keys);
        entry.todo.extend(todo);
        entry.before = entry.keys.len() as u64;
    }

    /// What is listed for a table.
    pub(super) fn of(&self, table: &str) -> TouchedTable {
        self.tables.get(table).cloned().unwrap_or_default()
    }

    /// How many rows of all tables.
    pub(super) fn rows(&self) -> u64 {
        self.tables.values().map(|t| t.keys.len() as u64).sum()
    }
}
