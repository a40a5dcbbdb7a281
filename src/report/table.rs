//! A table is what one CSV file holds (RFC 4180): a header and rows of cells, in UTF-8.
//!
//! A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers are ours and stay as they are.

use redress_domain::report::Tenths;
use std::borrow::Cow;
use std::fmt::Write as _;

/// More columns than this are shown on a terminal as lines, one below the other.
const COLUMNS_MAX: usize = 14;
/// So many rows stand beside each other then.
const BESIDE: usize = 5;

/// One table of a report.
#[derive(Debug)]
pub(super) struct Table {
    /// What it is called in `table=…`.
    pub(super) name: &'static str,
    /// The header.
    pub(super) columns: Vec<&'static str>,
    /// One cell for each column, in each row.
    pub(super) rows: Vec<Vec<Cell>>,
}

/// One value of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// There is none.
    Empty,
    /// A number, as it is written.
    Number(String),
    /// Anything else.
    Text(String),
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Cell::Number(number.to_string())
    }
}

impl From<i16> for Cell {
    fn from(number: i16) -> Self {
        Cell::Number(number.to_string())
    }
}

impl From<Tenths> for Cell {
    fn from(number: Tenths) -> Self {
        Cell::Number(number.to_string())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        if text.is_empty() { Cell::Empty } else { Cell::Text(text.to_owned()) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::from(text.as_str())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Empty, Into::into)
    }
}

/// Cells of a row, whatever they are made from.
macro_rules! cells {
    ($($value:expr),* $(,)?) => { vec![$($crate::report::table::Cell::from($value)),*] };
}
pub(super) use cells;

impl Cell {
    /// The value as people read it.
    pub(super) fn shown(&self) -> &str {
        match self {
            Cell::Empty => "",
            Cell::Number(text) | Cell::Text(text) => text,
        }
    }

    /// The value as one field of a CSV file.
    fn field(&self) -> Cow<'_, str> {
        let text = match self {
            Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => Cow::Owned(format!("'{text}")),
            _ => Cow::Borrowed(self.shown()),
        };
        if text.contains([',', '"', '\r', '\n']) {
            Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
        } else {
            text
        }
    }
}

impl Table {
    /// The whole file.
    pub(super) fn csv(&self) -> String {
        let mut text = self.columns.join(",") + "\r\n";
        for row in &self.rows {
            let fields: Vec<Cow<'_, str>> = row.iter().map(Cell::field).collect();
            text.push_str(&fields.join(","));
            text.push_str("\r\n");
        }
        text
    }

    /// The table under its name; one that is too wide is turned.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.name);
        let header: Vec<&str> = self.columns.clone();
        let rows: Vec<Vec<&str>> = self.rows.iter().map(|row| row.iter().map(Cell::shown).collect()).collect();
        if self.rows.is_empty() {
            text.push_str("  (none)\n");
        } else if header.len() <= COLUMNS_MAX {
            let lines: Vec<Vec<&str>> = std::iter::once(header).chain(rows).collect();
            align(&mut text, &lines);
        } else {
            for beside in rows.chunks(BESIDE) {
                let turned: Vec<Vec<&str>> = (0..header.len())
                    .map(|i| std::iter::once(header[i]).chain(beside.iter().map(|row| row[i])).collect())
                    .collect();
                align(&mut text, &turned);
                text.push('\n');
            }
        }
        text
    }
}

fn align(text: &mut String, lines: &[Vec<&str>]) {
    let count = lines.first().map_or(0, Vec::len);
    let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    for line in lines {
        let mut out = String::from(" ");
        for (cell, width) in line.iter().zip(&widths) {
            let _infallible = write!(out, " {cell:<width$}");
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(cells: Vec<Cell>) -> String {
        let columns = vec!["a"; cells.len()];
        let table = Table { name: "t", columns, rows: vec![cells] };
        table.csv().split_once("\r\n").expect("a header").1.to_owned()
    }

    #[test]
    fn a_field_is_quoted_only_if_it_must_be() {
        assert_eq!(
            csv(cells!["a,b", "say \"x\"", "two\nlines", "plain text", ""]),
            "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",plain text,\r\n"
        );
    }

    #[test]
    fn a_text_that_looks_like_a_formula_is_disarmed_and_a_number_is_not() {
        for text in ["=1+1", "+49", "-2", "@SUM(A1)", "\tx", "=HYPERLINK(\"http://x\",\"y\")"] {
            let field = csv(cells![text]);
            assert!(field.trim_start_matches('"').starts_with('\''), "{field}");
        }
        assert_eq!(csv(cells!["\r=1"]), "\"'\r=1\"\r\n");
        assert_eq!(csv(cells!["a=1", "'x", 7_u64, Tenths::new(125), None::<u64>]), "a=1,'x,7,12.5,\r\n");
    }

    #[test]
    fn every_line_ends_as_rfc_4180_wants() {
        let table = Table { name: "t", columns: vec!["a", "b"], rows: vec![cells![1_u64, "x"], cells![2_u64, "y"]] };
        assert_eq!(table.csv(), "a,b\r\n1,x\r\n2,y\r\n");
        assert_eq!(Table { name: "t", columns: vec!["a"], rows: Vec::new() }.csv(), "a\r\n");
    }

    #[test]
    fn a_wide_table_is_turned_on_a_terminal() {
        let wide =
            |n: usize| Table { name: "t", columns: vec!["column"; n], rows: vec![vec![Cell::from(1_u64); n]; 2] };
        assert_eq!(wide(2).text().lines().count(), 1 + 3);
        assert_eq!(wide(30).text().lines().count(), 1 + 30 + 1);
        assert_eq!(Table { name: "t", columns: vec!["a"], rows: Vec::new() }.text(), "t\n  (none)\n");
    }
}
