//! The declared tables of a warehouse, checked before anything is reached.

use super::statement::{is_name, is_table};
use crate::flat;
use crate::spec::OnDelete;
use crate::{SpecFault, TableSpec};
use redress_domain::IdentifierType;
use std::collections::{BTreeMap, BTreeSet};

/// One table whose rows name a person themselves.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) identify: Vec<(IdentifierType, String)>,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) on_delete: OnDelete,
    pub(super) columns: Vec<String>,
    pub(super) reason: String,
}

impl Table {
    /// By what it can be searched.
    pub(super) fn types(&self) -> Vec<IdentifierType> {
        self.identify.iter().map(|(kind, _)| *kind).collect()
    }

    /// What is read; empty for every column.
    pub(super) fn selected(&self) -> Vec<String> {
        if self.columns.is_empty() {
            return Vec::new();
        }
        let needed = [&self.key].into_iter().chain(self.identify.iter().map(|(_, column)| column));
        let all: BTreeSet<&String> = needed.chain(self.fields.values()).chain(&self.columns).collect();
        all.into_iter().cloned().collect()
    }

    /// What a deletion is told as.
    pub(super) const fn action(&self) -> &'static str {
        match self.on_delete {
            OnDelete::Delete => "delete",
            OnDelete::Null | OnDelete::Hash => "null",
            OnDelete::Keep => "keep",
        }
    }
}

/// Reads the declared tables; what is wrong goes to `faults`.
pub(super) fn read(specs: &[TableSpec], faults: &mut Vec<SpecFault>) -> Vec<Table> {
    if specs.is_empty() {
        faults.push(SpecFault::new("tables", "declares no table; add [[system.tables]] with name, key and identify"));
    }
    let mut tables = Vec::new();
    for (i, spec) in specs.iter().enumerate() {
        let mut fault = |key: &str, detail: String| faults.push(SpecFault::new(format!("tables.{i}.{key}"), detail));
        if !is_table(&spec.name) {
            fault("name", "must be one to three names with dots, of letters, digits, _ and $".into());
        }
        if specs[..i].iter().any(|other| other.name == spec.name) {
            fault("name", "is declared twice".into());
        }
        let columns = [("key", &spec.key)].into_iter().chain(spec.identify.values().map(|column| ("identify", column)));
        let columns = columns.chain(spec.fields.values().map(|column| ("fields", column)));
        for (at, column) in columns.chain(spec.columns.iter().map(|column| ("columns", column))) {
            if !is_name(column) {
                fault(at, "must name columns of letters, digits, _ and $".into());
            }
        }
        if !spec.references.is_empty() {
            fault("references", "are not followed in a warehouse; let each table identify the person itself".into());
        }
        let identify = flat::identify(&spec.identify).unwrap_or_else(|detail| {
            fault("identify", detail);
            Vec::new()
        });
        if spec.fields.values().any(|column| *column == spec.key || spec.identify.values().any(|by| by == column)) {
            fault("fields", "may not name the key or a column of identify: rows are found by them".into());
        }
        match spec.on_delete {
            OnDelete::Hash => fault("on_delete", "cannot be hash in a warehouse; use delete, null or keep".into()),
            OnDelete::Null if spec.columns.is_empty() => {
                fault("columns", "are required with on_delete = \"null\"".into());
            }
            OnDelete::Null if spec.columns.contains(&spec.key) => fault("columns", "may not name the key".into()),
            OnDelete::Keep if spec.reason.is_none() => fault("reason", "is required with on_delete = \"keep\"".into()),
            _ => {}
        }
        tables.push(Table {
            name: spec.name.clone(),
            key: spec.key.clone(),
            identify,
            fields: spec.fields.clone(),
            on_delete: spec.on_delete,
            columns: spec.columns.clone(),
            reason: spec.reason.clone().unwrap_or_default(),
        });
    }
    tables
}
