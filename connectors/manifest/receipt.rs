//! A receipt lists, deletion by deletion, which records are the person's and how far each has come.

use crate::{Problem, Receipt, Trouble};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything touched for one person. It has no `Debug`: a key may be personal.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Touched {
    /// By deletion or correction.
    #[serde(default)]
    pub(super) steps: BTreeMap<String, Vec<Entry>>,
}

/// One record under one deletion.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) key: Value,
    /// What its address needs of the list it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<Value>,
    /// What its deletion and verification need of it.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) record: Value,
    #[serde(default, skip_serializing_if = "State::is_todo")]
    pub(super) state: State,
}

/// How far a record has come.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Announced; whether it was done is not known.
    #[default]
    Todo,
    /// The vendor works on it under this name.
    Ordered(Value),
    /// It was done.
    Done,
    /// The vendor had no such record. Only where no search told before.
    Absent,
}

fn is_empty(record: &Value) -> bool {
    record.as_object().is_none_or(serde_json::Map::is_empty)
}

impl State {
    fn is_todo(&self) -> bool {
        *self == Self::Todo
    }
}

impl Entry {
    /// Which record it is.
    pub(super) fn identity(&self) -> String {
        super::find::identity(&self.key, self.item.as_ref())
    }
}

impl Touched {
    /// Reads back what an earlier run announced.
    pub(super) fn read(receipt: Option<&Receipt>) -> Result<Self, Trouble> {
        receipt.map_or(Ok(Self::default()), |receipt| {
            serde_json::from_str(&receipt.0).map_err(|_| {
                Trouble::Denied(Problem::new(
                    "receipt_unreadable",
                    "what an earlier run recorded cannot be read; look at the person's records by hand",
                ))
            })
        })
    }

    /// In the form that is stored.
    pub(super) fn to_receipt(&self) -> Receipt {
        Receipt(serde_json::to_string(self).unwrap_or_default())
    }

    /// The records under a deletion.
    pub(super) fn of(&self, step: &str) -> &[Entry] {
        self.steps.get(step).map_or(&[], Vec::as_slice)
    }

    /// Whether the vendor is at work on something.
    pub(super) fn is_under_way(&self) -> bool {
        self.steps.values().flatten().any(|entry| matches!(entry.state, State::Ordered(_)))
    }
}
