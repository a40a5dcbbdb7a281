//! A report is a document of counts and definitions, with the same figures as tables; no row of it is about one person.
//!
//! It is made for one controller, or for the operator of all of them, and knows neither HTTP nor the terminal: both show it.

mod ccpa;
mod record;
mod sla;
mod table;

pub(crate) use ccpa::{TABLES as CCPA_TABLES, YEAR_MIN, ccpa_7102, this_year};
pub(crate) use record::{TABLES as RECORD_TABLES, processing_record};
pub(crate) use sla::{Asked, TABLES as SLA_TABLES, sla};

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;
use table::Table;

/// A report that was made.
#[derive(Debug)]
pub(crate) struct Report {
    /// What a file with it is called, without its ending.
    pub(crate) file: String,
    /// The document.
    pub(crate) json: Value,
    /// The same as tables, the most wanted first.
    tables: Vec<Table>,
}

impl Report {
    /// One table as CSV: the one of this name, or the first.
    pub(crate) fn csv(&self, table: Option<&str>) -> String {
        let named = table.and_then(|name| self.tables.iter().find(|table| table.name == name));
        named.or(self.tables.first()).map_or_else(String::new, Table::csv)
    }

    /// Some columns of a table, as people read them, after `keys` that say what a row is about.
    pub(crate) fn rows(&self, table: &str, keys: &[&str], columns: &[&str]) -> Vec<Vec<&str>> {
        let Some(table) = self.tables.iter().find(|one| one.name == table) else { return Vec::new() };
        let at = |wanted: &&str| table.columns.iter().position(|column| column == wanted);
        let places: Vec<usize> = keys.iter().chain(columns).filter_map(at).collect();
        table.rows.iter().map(|row| places.iter().map(|n| row[*n].shown()).collect()).collect()
    }

    /// Every table as people read it on a terminal.
    pub(crate) fn text(&self) -> String {
        self.tables.iter().map(Table::text).collect::<Vec<_>>().join("\n")
    }
}

/// A date of a report's time: `2026-11-30`, between 2000 and 2999.
pub(crate) fn read_date(text: &str) -> Option<Date> {
    let plain = |(i, b): (usize, u8)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() };
    let well_formed = text.len() == 10 && text.bytes().enumerate().all(plain);
    let date: Date = text.parse().ok().filter(|_| well_formed)?;
    (2000..3000).contains(&date.year()).then_some(date)
}

/// An instant (Unix ms) as RFC 3339 in UTC.
fn time(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|at| at.to_string())
}
