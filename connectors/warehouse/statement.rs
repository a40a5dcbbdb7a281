//! A statement is text made of declared names alone, and values that go beside it.
//!
//! Names were checked when the system was declared ([`is_name`]): none holds a quote, so that quoting them is enough. There
//! is no way to put a value into the text.

use redress_domain::IdentifierType;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// How a warehouse writes names, texts and places of values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) quote: char,
    pub(super) text_type: &'static str,
    /// `@p1` instead of `?`.
    pub(super) is_named: bool,
}

/// What is sent. It has no `Debug`: values are personal.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) values: Vec<String>,
}

/// Whether a name can be quoted as it is.
pub(super) fn is_name(name: &str) -> bool {
    let first = name.chars().next();
    name.len() <= 255
        && first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
}

/// Whether a table's name is up to three such names with dots; a project's may have hyphens.
pub(super) fn is_table(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    parts.len() <= 3
        && parts
            .iter()
            .enumerate()
            .all(|(i, part)| is_name(&if i == 0 { part.replace('-', "_") } else { (*part).to_owned() }))
}

/// By what rows are looked for.
#[derive(Default)]
pub(super) struct Wanted {
    /// Column and type -> values in lower case, or the last digits of phone numbers.
    pub(super) by: BTreeMap<(String, IdentifierType), BTreeSet<String>>,
    pub(super) keys: BTreeSet<String>,
}

/// One row as it was read: its key, and the value by which it was found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) key: String,
    pub(super) by: Option<(String, String)>,
}

struct Writer {
    dialect: Dialect,
    text: String,
    values: Vec<String>,
}

impl Writer {
    fn new(dialect: Dialect, text: &str) -> Self {
        Self { dialect, text: text.to_owned(), values: Vec::new() }
    }

    fn say(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    fn name(&mut self, name: &str) -> &mut Self {
        let quote = self.dialect.quote;
        for (i, part) in name.split('.').enumerate() {
            let dot = if i == 0 { "" } else { "." };
            let _never_fails = write!(self.text, "{dot}{quote}{part}{quote}");
        }
        self
    }

    fn cast(&mut self, column: &str) -> &mut Self {
        let kind = self.dialect.text_type;
        self.say("CAST(").name(column).say(" AS ").say(kind).say(")")
    }

    fn bind(&mut self, value: &str) -> &mut Self {
        self.values.push(value.to_owned());
        if self.dialect.is_named {
            let _never_fails = write!(self.text, "@p{}", self.values.len());
        } else {
            self.text.push('?');
        }
        self
    }

    fn within<'v>(&mut self, values: impl IntoIterator<Item = &'v String>) -> &mut Self {
        self.say(" IN (");
        for (i, value) in values.into_iter().enumerate() {
            self.say(if i == 0 { "" } else { ", " }).bind(value);
        }
        self.say(")")
    }

    fn rows<'s>(&mut self, key: &str, rows: impl IntoIterator<Item = &'s Seen>) -> &mut Self {
        self.say(" WHERE ");
        for (i, row) in rows.into_iter().enumerate() {
            self.say(if i == 0 { "(" } else { " OR (" }).cast(key).say(" = ").bind(&row.key);
            if let Some((column, value)) = &row.by {
                self.say(" AND ").cast(column).say(" = ").bind(value);
            }
            self.say(")");
        }
        self
    }

    fn done(&mut self) -> Statement {
        Statement { text: std::mem::take(&mut self.text), values: std::mem::take(&mut self.values) }
    }
}

/// Reads the rows that may be meant. All columns if none is named.
pub(super) fn select(dialect: Dialect, table: &str, key: &str, columns: &[String], wanted: &Wanted) -> Statement {
    let mut writer = Writer::new(dialect, "SELECT ");
    if columns.is_empty() {
        writer.say("*");
    }
    for (i, column) in columns.iter().enumerate() {
        writer.say(if i == 0 { "" } else { ", " }).name(column);
    }
    writer.say(" FROM ").name(table).say(" WHERE ");
    let mut is_first = true;
    let mut or = |writer: &mut Writer| {
        writer.say(if is_first { "" } else { " OR " });
        is_first = false;
    };
    for ((column, kind), values) in wanted.by.iter().filter(|(_, values)| !values.is_empty()) {
        or(&mut writer);
        if *kind == IdentifierType::Phone {
            writer.say("RIGHT(REGEXP_REPLACE(").cast(column).say(", ").bind("[^0-9]").say(", ").bind("").say("), 6)");
        } else {
            writer.say("LOWER(TRIM(").cast(column).say("))");
        }
        writer.within(values);
    }
    if !wanted.keys.is_empty() {
        or(&mut writer);
        writer.cast(key).within(&wanted.keys);
    }
    writer.done()
}

/// Removes rows that are still what was read.
pub(super) fn delete(dialect: Dialect, table: &str, key: &str, rows: &[Seen]) -> Statement {
    Writer::new(dialect, "DELETE FROM ").name(table).rows(key, rows).done()
}

/// Empties columns of rows that are still what was read.
pub(super) fn empty(dialect: Dialect, table: &str, key: &str, columns: &[String], rows: &[Seen]) -> Statement {
    let mut writer = Writer::new(dialect, "UPDATE ");
    writer.name(table).say(" SET ");
    for (i, column) in columns.iter().enumerate() {
        writer.say(if i == 0 { "" } else { ", " }).name(column).say(" = NULL");
    }
    writer.rows(key, rows).done()
}

/// Sets columns of rows that are still what was read.
pub(super) fn update(dialect: Dialect, table: &str, key: &str, set: &BTreeMap<&str, &str>, rows: &[Seen]) -> Statement {
    let mut writer = Writer::new(dialect, "UPDATE ");
    writer.name(table).say(" SET ");
    for (i, (column, value)) in set.iter().enumerate() {
        writer.say(if i == 0 { "" } else { ", " }).name(column).say(" = ").bind(value);
    }
    writer.rows(key, rows).done()
}
