//! What is declared is the part of a specification that says which tables hold persons and how they hang together.

use crate::spec::OnDelete;
use crate::{SpecFault, TableSpec};
use redress_domain::IdentifierType;
use std::collections::{BTreeMap, BTreeSet};

/// The declared tables, checked against each other.
pub(super) struct Declared {
    /// In the order of the specification.
    pub(super) tables: Vec<Table>,
    /// More matching rows than this stop for a person.
    pub(super) max_matches: u64,
    /// For `hash`.
    pub(super) hash_key: Option<ring::hmac::Key>,
}

/// One declared table.
#[derive(Debug)]
pub(super) struct Table {
    /// As configured.
    pub(super) name: String,
    /// Columns read for every row: the key first, then whatever identifies or refers.
    pub(super) wanted: Vec<String>,
    /// Which of them identify a person, strongest type first.
    pub(super) identify: Vec<(IdentifierType, usize)>,
    /// What refers to a row of another declared table.
    pub(super) references: Vec<Reference>,
    /// Field of a correction -> column.
    pub(super) fields: BTreeMap<String, String>,
    /// What deletion does here.
    pub(super) on_delete: OnDelete,
    /// What `null` and `hash` apply to and what is exported.
    pub(super) columns: Vec<String>,
    /// Why rows are kept.
    pub(super) reason: String,
}

/// A column whose value is that of a column of another declared table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    /// Index into [`Table::wanted`].
    pub(super) column: usize,
    /// Index of the other table.
    pub(super) parent: usize,
    /// Index into the other table's [`Table::wanted`].
    pub(super) parent_column: usize,
}

impl Table {
    /// The word for what deletion does here, in receipts and evidence.
    pub(super) const fn action(&self) -> &'static str {
        match self.on_delete {
            OnDelete::Delete => "delete",
            OnDelete::Null => "null",
            OnDelete::Hash => "hash",
            OnDelete::Keep => "keep",
        }
    }

    fn want(&mut self, column: &str) -> usize {
        self.wanted.iter().position(|c| c == column).unwrap_or_else(|| {
            self.wanted.push(column.to_owned());
            self.wanted.len() - 1
        })
    }
}

impl Declared {
    /// Reads the declared tables; what is wrong goes to `faults`.
    pub(super) fn read(
        specs: &[TableSpec],
        max_matches: u64,
        hash_key: Option<&str>,
        faults: &mut Vec<SpecFault>,
    ) -> Self {
        if specs.is_empty() {
            faults
                .push(SpecFault::new("tables", "declares no table; add [[system.tables]] with name, key and identify"));
        }
        let mut tables: Vec<Table> = specs.iter().enumerate().map(|(i, spec)| read_table(i, spec, faults)).collect();
        let mut names = BTreeSet::new();
        for (i, spec) in specs.iter().enumerate() {
            if !names.insert(spec.name.as_str()) {
                faults.push(SpecFault::new(format!("tables.{i}.name"), format!("{:?} is declared twice", spec.name)));
            }
        }
        for (i, spec) in specs.iter().enumerate() {
            for (column, target) in &spec.references {
                let path = format!("tables.{i}.references.{column}");
                let Some((table, parent_column)) = target.rsplit_once('.') else {
                    faults.push(SpecFault::new(path, "must name a declared table's column, such as \"customers.id\""));
                    continue;
                };
                let Some(parent) = specs.iter().position(|s| s.name == table) else {
                    faults.push(SpecFault::new(
                        path,
                        format!("refers to table {table:?}, which is not declared; declare it"),
                    ));
                    continue;
                };
                check_name(&format!("{path}: the column"), parent_column, faults);
                let parent_column = tables[parent].want(parent_column);
                let column = tables[i].want(column);
                tables[i].references.push(Reference { column, parent, parent_column });
            }
        }
        for i in unreachable(&tables) {
            faults.push(SpecFault::new(
                format!("tables.{i}"),
                "no person's row can be found here: add identify, or references to a table that has it",
            ));
        }
        let hashes = specs.iter().position(|s| s.on_delete == OnDelete::Hash);
        let key = match (hashes, hash_key) {
            (Some(i), None) => {
                faults.push(SpecFault::new(
                    "secrets.hash_key",
                    format!(
                        "is required because tables.{i} has on_delete = \"hash\"; give at least 16 random characters"
                    ),
                ));
                None
            }
            (_, Some(key)) if key.len() < 16 => {
                faults.push(SpecFault::new("secrets.hash_key", "is too short; give at least 16 random characters"));
                None
            }
            (_, key) => key.map(|key| ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes())),
        };
        Self { tables, max_matches, hash_key: key }
    }

    /// Identifier types by which some table can be searched, strongest first.
    pub(super) fn identifiers(&self) -> Vec<IdentifierType> {
        let types: BTreeSet<_> = self.tables.iter().flat_map(|t| t.identify.iter().map(|(kind, _)| *kind)).collect();
        types.into_iter().collect()
    }

    /// Fields that a correction may change somewhere.
    pub(super) fn fields(&self) -> Vec<String> {
        let fields: BTreeSet<_> = self.tables.iter().flat_map(|t| t.fields.keys().cloned()).collect();
        fields.into_iter().collect()
    }
}

fn read_table(i: usize, spec: &TableSpec, faults: &mut Vec<SpecFault>) -> Table {
    let at = |key: &str| format!("tables.{i}.{key}");
    check_name(&at("name"), &spec.name, faults);
    check_name(&at("key"), &spec.key, faults);
    for column in spec.columns.iter().chain(spec.references.keys()).chain(spec.fields.values()) {
        check_name(&at("columns"), column, faults);
    }
    let mut table = Table {
        name: spec.name.clone(),
        wanted: vec![spec.key.clone()],
        identify: Vec::new(),
        references: Vec::new(),
        fields: spec.fields.clone(),
        on_delete: spec.on_delete,
        columns: spec.columns.clone(),
        reason: spec.reason.clone().unwrap_or_default(),
    };
    for (kind, column) in &spec.identify {
        let Some(kind) = IdentifierType::parse(kind) else {
            let known = IdentifierType::ALL.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(", ");
            faults.push(SpecFault::new(
                at(&format!("identify.{kind}")),
                format!("is no identifier type; there are {known}"),
            ));
            continue;
        };
        check_name(&at("identify"), column, faults);
        let column = table.want(column);
        table.identify.push((kind, column));
    }
    table.identify.sort();
    if matches!(spec.on_delete, OnDelete::Null | OnDelete::Hash) {
        if spec.columns.is_empty() {
            let detail = format!("is required with on_delete = {:?}: name the columns to redact", table.action());
            faults.push(SpecFault::new(at("columns"), detail));
        }
        if spec.columns.contains(&spec.key) {
            faults.push(SpecFault::new(
                at("columns"),
                format!("names the key {:?}, which must stay; leave it out", spec.key),
            ));
        }
    }
    if spec.on_delete == OnDelete::Keep && spec.reason.as_deref().is_none_or(|r| r.trim().is_empty()) {
        faults
            .push(SpecFault::new(at("reason"), "is required with on_delete = \"keep\", such as \"tax_law_10_years\""));
    }
    for (field, column) in &spec.fields {
        if *column == spec.key {
            faults.push(SpecFault::new(
                at(&format!("fields.{field}")),
                "names the key, which a correction cannot change",
            ));
        }
    }
    table
}

fn check_name(path: &str, name: &str, faults: &mut Vec<SpecFault>) {
    if name.is_empty() || name.split('.').any(str::is_empty) || name.chars().any(char::is_control) {
        faults.push(SpecFault::new(path, "must be a name: not empty, without control characters"));
    }
}

/// Tables to which no path leads from a table that identifies.
fn unreachable(tables: &[Table]) -> Vec<usize> {
    let mut reached: BTreeSet<usize> = (0..tables.len()).filter(|&i| !tables[i].identify.is_empty()).collect();
    loop {
        let before = reached.len();
        for (i, table) in tables.iter().enumerate() {
            if table.references.iter().any(|r| reached.contains(&r.parent)) {
                reached.insert(i);
            }
        }
        if reached.len() == before {
            return (0..tables.len()).filter(|i| !reached.contains(i)).collect();
        }
    }
}
