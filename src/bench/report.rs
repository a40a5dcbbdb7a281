//! A report is what a bench found: tables for people, figures for programs, and a verdict where there is an aim.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// What one bench found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What was measured.
    pub(crate) tables: Vec<Table>,
    /// The aims that the bench can judge.
    pub(crate) verdicts: Vec<Verdict>,
    /// What did not happen as it was asked; a bench with failures measured nothing.
    pub(crate) failures: Vec<String>,
}

/// One table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// What it shows.
    pub(crate) title: String,
    /// The command that makes it again.
    pub(crate) command: String,
    /// The first column names the rows.
    pub(crate) columns: Vec<String>,
    /// Cells as they are shown.
    pub(crate) rows: Vec<Vec<String>>,
    /// What has to be known to read it.
    pub(crate) notes: Vec<String>,
}

/// One aim and what was reached.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// What is measured.
    pub(crate) figure: String,
    /// What is wanted.
    pub(crate) aim: String,
    /// What it is; none if it could not be measured here.
    pub(crate) measured: Option<f64>,
    /// How it is shown.
    pub(crate) shown: String,
    /// Whether that is what is wanted.
    pub(crate) met: Option<bool>,
}

/// Which side of the aim is the good one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Want {
    AtLeast(f64),
    AtMost(f64),
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, command: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            command: command.into(),
            columns: columns.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = String>) {
        let mut row = vec![name.into()];
        row.extend(cells);
        self.rows.push(row);
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl Report {
    /// Judges a figure.
    pub(crate) fn judge(&mut self, figure: &str, want: Want, measured: Option<f64>, unit: &str) {
        let (aim, met) = match want {
            Want::AtLeast(least) => (format!("≥ {}{unit}", plain(least)), measured.map(|m| m >= least)),
            Want::AtMost(most) => (format!("≤ {}{unit}", plain(most)), measured.map(|m| m <= most)),
        };
        let shown = measured.map_or_else(|| "not measured".to_owned(), |m| format!("{}{unit}", number(m)));
        self.verdicts.push(Verdict { figure: figure.to_owned(), aim, measured, shown, met });
    }

    /// Adds what another bench found.
    pub(crate) fn add(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.verdicts.extend(other.verdicts);
        self.failures.extend(other.failures);
    }

    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for table in self.tables.iter().chain(self.judgement().iter()) {
            let _ = writeln!(text, "\n{}", table.title);
            let mut widths: Vec<usize> = table.columns.iter().map(|c| c.chars().count()).collect();
            for row in &table.rows {
                for (width, cell) in widths.iter_mut().zip(row) {
                    *width = (*width).max(cell.chars().count());
                }
            }
            for row in std::iter::once(&table.columns).chain(&table.rows) {
                let cells: Vec<String> = row
                    .iter()
                    .zip(&widths)
                    .enumerate()
                    .map(|(i, (cell, width))| {
                        let space = " ".repeat(width - cell.chars().count());
                        if i == 0 { format!("{cell}{space}") } else { format!("{space}{cell}") }
                    })
                    .collect();
                let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
            }
            for note in &table.notes {
                let _ = writeln!(text, "  {note}");
            }
        }
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED: {failure}");
        }
        text
    }

    /// For a page.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            let _ = writeln!(text, "### {}\n\n`{}`\n", table.title, table.command);
            rows(&mut text, table);
            for note in &table.notes {
                let _ = writeln!(text, "{note}\n");
            }
        }
        for failure in &self.failures {
            let _ = writeln!(text, "**Failed**: {failure}\n");
        }
        text
    }

    /// The aims with their verdicts, for a page.
    pub(crate) fn aims(&self) -> String {
        let mut text = String::new();
        if let Some(table) = self.judgement() {
            rows(&mut text, &table);
        }
        text
    }

    fn judgement(&self) -> Option<Table> {
        if self.verdicts.is_empty() {
            return None;
        }
        let mut table = Table::new("Aims", "", &["figure", "aim", "measured", "verdict"]);
        for verdict in &self.verdicts {
            let met = match verdict.met {
                Some(true) => "met",
                Some(false) => "missed",
                None => "unknown",
            };
            table.row(&verdict.figure, [verdict.aim.clone(), verdict.shown.clone(), met.to_owned()]);
        }
        Some(table)
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "tables": self.tables.iter().map(|t| json!({
                "title": t.title, "command": t.command, "columns": t.columns, "rows": t.rows, "notes": t.notes,
            })).collect::<Vec<_>>(),
            "aims": self.verdicts.iter().map(|v| json!({
                "figure": v.figure, "aim": v.aim, "measured": v.measured, "met": v.met,
            })).collect::<Vec<_>>(),
            "failures": self.failures,
        })
    }
}

fn rows(text: &mut String, table: &Table) {
    let _ = writeln!(text, "| {} |", table.columns.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(table.columns.len()));
    for row in &table.rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
}

/// A number as a person reads it: three digits that count, groups of thousands.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1_000.0 {
        let digits = format!("{value:.0}");
        let mut grouped = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) && digit.is_ascii_digit() {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return grouped;
    }
    if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 || size == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

/// A number or that it is not known.
pub(crate) fn known(value: Option<f64>) -> String {
    value.map_or_else(|| "not known".to_owned(), number)
}

fn plain(value: f64) -> String {
    if value >= 1_000.0 { number(value) } else { format!("{value}") }
}

/// The value that this share of the sorted values does not exceed.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_rounded() {
        let shown: Vec<String> = [0.0, 0.00123, 2.5, 42.04, 512.7, 12_345.6, 1_000_000.0].map(number).into();
        assert_eq!(shown, ["0.00", "0.0012", "2.50", "42.0", "513", "12,346", "1,000,000"]);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values = [1.0, 2.0, 3.0, 4.0];
        let shown = [0.5, 0.75, 0.99].map(|share| percentile(&values, share).to_string());
        assert_eq!(shown, ["2", "3", "4"]);
    }

    #[test]
    fn an_aim_is_met_on_its_own_side_only() {
        let mut report = Report::default();
        report.judge("rate", Want::AtLeast(300.0), Some(300.0), "/s");
        report.judge("cost", Want::AtMost(0.002), Some(0.003), " s");
        report.judge("unknown", Want::AtMost(1.0), None, "");
        let met: Vec<_> = report.verdicts.iter().map(|v| v.met).collect();
        assert_eq!(met, [Some(true), Some(false), None]);
        assert!(report.text().contains("missed"));
    }
}
