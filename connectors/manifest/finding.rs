//! A finding is one thing in a manifest that must or should be mended: where it is, what is wrong and what to do.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Whether a manifest can be used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It is refused.
    Error,
    /// It can be used; somebody should look.
    Warning,
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The key, such as `delete.lead.from`; empty for the file as a whole.
    pub path: String,
    /// Its line, from 1.
    pub line: Option<usize>,
    /// Whether it is refused.
    pub severity: Severity,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// On which line each key of a TOML file stands.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let mut lines = Self::default();
        let (table, _faults_are_told_elsewhere) = DeTable::parse_recoverable(text);
        lines.table(table.get_ref(), "", text);
        lines
    }

    fn table(&mut self, table: &DeTable<'_>, at: &str, text: &str) {
        for (key, value) in table {
            let path = if at.is_empty() { key.get_ref().to_string() } else { format!("{at}.{}", key.get_ref()) };
            self.0.insert(path.clone(), line(text, key.span().start));
            self.value(value, &path, text);
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &str, text: &str) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, path, text),
            DeValue::Array(list) => {
                for (i, element) in list.iter().enumerate() {
                    let path = format!("{path}.{i}");
                    self.0.insert(path.clone(), line(text, element.span().start));
                    self.value(element, &path, text);
                }
            }
            _ => {}
        }
    }

    /// The line of a key, or of the nearest one above it.
    pub(super) fn at(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = path.rsplit_once('.')?.0;
        }
    }
}

/// The line (from 1) of a byte.
pub(super) fn line(text: &str, byte: usize) -> usize {
    1 + text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count()
}
