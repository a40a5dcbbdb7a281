//! A table is one collection of a system: its records as JSON Lines, as CSV, and the first of them for the page.

use serde_json::{Map, Value};
use std::collections::HashSet;
use std::io::{self, Write};

/// The most records of one collection that the page shows.
const SHOWN_RECORDS: usize = 50;
/// The most fields of one record that the page shows.
const SHOWN_FIELDS: usize = 60;
/// The most characters of one value that the page shows.
const SHOWN_CHARS: usize = 300;

/// The collection that is being filled.
pub(super) struct Table {
    pub(super) system: String,
    pub(super) collection: String,
    jsonl: Vec<u8>,
    records: u64,
    columns: Vec<String>,
    known: HashSet<String>,
    shown: Vec<Vec<(String, String)>>,
}

/// What the page shows of a collection.
pub(super) struct Preview {
    pub(super) system: String,
    pub(super) collection: String,
    pub(super) records: u64,
    pub(super) columns: Vec<String>,
    /// The first records: column and text, in the record's order.
    pub(super) shown: Vec<Vec<(String, String)>>,
    pub(super) data: String,
    pub(super) csv: Option<String>,
}

impl Table {
    pub(super) fn new(system: &str, collection: &str) -> Self {
        Self {
            system: system.to_owned(),
            collection: collection.to_owned(),
            jsonl: Vec::new(),
            records: 0,
            columns: Vec::new(),
            known: HashSet::new(),
            shown: Vec::new(),
        }
    }

    /// Adds a record; `line` is its text.
    pub(super) fn push(&mut self, line: &[u8], record: &Map<String, Value>) {
        self.jsonl.extend_from_slice(line);
        self.jsonl.push(b'\n');
        self.records += 1;
        for column in record.keys() {
            if !self.known.contains(column) {
                self.known.insert(column.clone());
                self.columns.push(column.clone());
            }
        }
        if self.shown.len() < SHOWN_RECORDS {
            let cell = |(column, value): (&String, &Value)| (shorten(column), shorten(&text(value)));
            self.shown.push(record.iter().take(SHOWN_FIELDS).map(cell).collect());
        }
    }

    pub(super) fn jsonl(&self) -> &[u8] {
        &self.jsonl
    }

    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    pub(super) const fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Writes the CSV: one column per field that occurs in any record, in order of first occurrence.
    pub(super) fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        csv.write_record(self.columns.iter().map(|column| inert(column.clone())))?;
        for line in self.jsonl.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let record: Map<String, Value> = serde_json::from_slice(line)?;
            csv.write_record(self.columns.iter().map(|column| record.get(column).map(cell).unwrap_or_default()))?;
        }
        csv.flush()
    }

    pub(super) fn into_preview(self, data: String, csv: Option<String>) -> Preview {
        let Self { system, collection, records, columns, shown, .. } = self;
        let columns = columns.iter().map(|column| shorten(column)).collect();
        Preview { system, collection, records, columns, shown, data, csv }
    }
}

/// A value as text: nothing for null, JSON for what is nested.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value as a cell of a CSV. Numbers stay numbers: they cannot be formulas.
fn cell(value: &Value) -> String {
    if value.is_number() { value.to_string() } else { inert(text(value)) }
}

/// Puts `'` before what a spreadsheet would take for a formula. The full-width signs are formulas in some of them too.
fn inert(text: String) -> String {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => format!("'{text}"),
        _ => text,
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table(records: &[Value]) -> Table {
        let mut table = Table::new("crm", "contacts");
        for record in records {
            table.push(record.to_string().as_bytes(), record.as_object().expect("an object"));
        }
        table
    }

    fn csv(records: &[Value]) -> String {
        let mut out = Vec::new();
        table(records).write_csv(&mut out).expect("written");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_csv_has_a_column_for_every_field_that_occurs() {
        let text = csv(&[json!({"a": 1, "b": "x,\"y\""}), json!({"a": null, "c": {"d": [true]}})]);
        assert_eq!(text, "a,b,c\r\n1,\"x,\"\"y\"\"\",\r\n,,\"{\"\"d\"\":[true]}\"\r\n");
    }

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_made_inert() {
        for formula in
            ["=HYPERLINK(\"http://x\")", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]
        {
            let mut reader_input = csv(&[json!({ formula: formula })]);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(reader_input.as_bytes());
            let cells: Vec<String> =
                reader.records().flat_map(|r| r.expect("CSV").iter().map(str::to_owned).collect::<Vec<_>>()).collect();
            assert_eq!(cells, [format!("'{formula}"), format!("'{formula}")]);
            reader_input.clear();
        }
        assert_eq!(csv(&[json!({"a": -2.5, "b": "2-1", "c": "a=b"})]), "a,b,c\r\n-2.5,2-1,a=b\r\n");
    }

    #[test]
    fn json_lines_hold_every_record_as_it_was() {
        let record = json!({"a": "=1", "n": {"x": null}, "t": "é\u{2028}\n"});
        let table = table(std::slice::from_ref(&record));
        let lines: Vec<&[u8]> = table.jsonl().split(|b| *b == b'\n').collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(serde_json::from_slice::<Value>(lines[0]).expect("JSON"), record);
    }

    #[test]
    fn the_page_gets_the_first_records_and_no_endless_value() {
        let records: Vec<Value> = (0..80).map(|n| json!({"n": n, "long": "é".repeat(4096)})).collect();
        let preview = table(&records).into_preview(String::new(), None);
        assert_eq!((preview.records, preview.shown.len()), (80, SHOWN_RECORDS));
        assert_eq!(preview.shown[0][0].1.chars().count(), SHOWN_CHARS + 1);
    }
}
