//! The text of a statement is one for both databases: what they spell differently stands in braces and is filled once.
//!
//! Besides `{now}`, `{blob}`, `{for_update}` and `{skip_locked}` there are lists and sets of rows, whose text does not depend on how many
//! there are, so that a statement is prepared once for every size of batch:
//!
//! - `id {in $1}`, `id {not_in $1}`: the argument is `Arg::Texts`;
//! - `{bare id}`: a column by which SQLite shall not choose its index;
//! - `{rows $2 AS v(id text, token int, receipt bytes)}` in place of a table: the argument is a [`RowSet`] and takes as many
//!   places as it has columns, so that the next one here is `$5`.
//!
//! PostgreSQL gets an array for each list and column, `SQLite` a JSON text in which bytes are hexadecimal.

use crate::db::{Arg, Dialect};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

/// Texts that are built at run time come in ever new forms; beyond so many none is kept.
const KEPT_MAX: usize = 1_000;

type Texts = LazyLock<RwLock<HashMap<String, Arc<str>>>>;

static KEPT: [Texts; 2] = [LazyLock::new(RwLock::default), LazyLock::new(RwLock::default)];

impl Dialect {
    /// The database's own clock in Unix milliseconds: leases of a fleet are measured by one clock.
    pub(crate) const fn now_expr(self) -> &'static str {
        match self {
            Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            Dialect::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
        }
    }

    const fn blob(self) -> &'static str {
        match self {
            Dialect::Sqlite => "BLOB",
            Dialect::Postgres => "BYTEA",
        }
    }

    /// Locks the selected rows where rows are what is locked; SQLite's writer holds the whole database already. No key is
    /// ever changed, so a row that others only refer to may be locked: without this, two inserts below one controller would
    /// each hold what the other waits for.
    const fn for_update(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR NO KEY UPDATE",
        }
    }

    const fn skip_locked(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => "FOR NO KEY UPDATE SKIP LOCKED",
        }
    }

    /// The statement as this database reads it.
    pub(crate) fn render(self, sql: &str) -> Arc<str> {
        let kept = &KEPT[usize::from(self == Dialect::Postgres)];
        if let Some(text) = kept.read().expect("never held across a panic").get(sql) {
            return text.clone();
        }
        let text: Arc<str> = self.fill(&crate::mutant::bent(sql)).into();
        let mut kept = kept.write().expect("never held across a panic");
        if kept.len() < KEPT_MAX {
            kept.insert(sql.to_owned(), text.clone());
        }
        text
    }

    fn fill(self, sql: &str) -> String {
        let mut out = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once('{') {
            let (place, after) = after.split_once('}').expect("every place ends");
            out.push_str(before);
            let (name, what) = place.split_once(' ').unwrap_or((place, ""));
            match name {
                "now" => out.push_str(self.now_expr()),
                #[cfg(feature = "mutants")]
                "own" => out.push_str(&crate::mutant::own_clock()),
                "blob" => out.push_str(self.blob()),
                "for_update" => out.push_str(self.for_update()),
                "skip_locked" => out.push_str(self.skip_locked()),
                "in" => out.push_str(&self.among(what, "= ANY", "IN")),
                "bare" => out.push_str(&self.bare(what)),
                "not_in" => out.push_str(&self.among(what, "<> ALL", "NOT IN")),
                "rows" => out.push_str(&self.row_set(what)),
                _ => out.extend(["{", place, "}"]),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn among(self, list: &str, postgres: &str, sqlite: &str) -> String {
        match self {
            Dialect::Sqlite => format!("{sqlite} (SELECT value FROM json_each({list}))"),
            Dialect::Postgres => format!("{postgres} (CAST({list} AS text[]))"),
        }
    }

    /// Without statistics SQLite goes through all rows that are equal in a column rather than through a covering index of the few that
    /// count; it takes no index for what is not the column itself. PostgreSQL knows how many they are.
    fn bare(self, column: &str) -> String {
        match self {
            Dialect::Sqlite => format!("+{column}"),
            Dialect::Postgres => column.to_owned(),
        }
    }

    /// `$2 AS v(id text, token int)`
    fn row_set(self, what: &str) -> String {
        let parts = what.split_once(" AS ").and_then(|(first, rest)| {
            let (alias, columns) = rest.strip_suffix(')')?.split_once('(')?;
            Some((first.strip_prefix('$')?.parse::<usize>().ok()?, alias, columns))
        });
        let (first, alias, columns) = parts.expect("written as $n AS v(name kind, …)");
        let columns = columns.split(", ").map(|column| column.split_once(' ').expect("a name and a kind"));
        match self {
            Dialect::Sqlite => {
                let columns: Vec<String> = columns
                    .enumerate()
                    .map(|(n, (name, kind))| match kind {
                        "bytes" => format!("unhex(value ->> {n}) AS {name}"),
                        _ => format!("value ->> {n} AS {name}"),
                    })
                    .collect();
                format!("(SELECT {} FROM json_each(${first})) AS {alias}", columns.join(", "))
            }
            Dialect::Postgres => {
                let (names, arrays): (Vec<&str>, Vec<String>) = columns
                    .enumerate()
                    .map(|(n, (name, kind))| {
                        let kind = match kind {
                            "int" => "bigint",
                            "bytes" => "bytea",
                            _ => "text",
                        };
                        (name, format!("CAST(${} AS {kind}[])", first + n))
                    })
                    .unzip();
                format!("unnest({}) AS {alias}({})", arrays.join(", "), names.join(", "))
            }
        }
    }
}

/// Rows given to a statement as a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowSet {
    width: usize,
    cells: Vec<Arg>,
}

/// One row of a [`RowSet`].
macro_rules! row {
    ($($cell:expr),* $(,)?) => { [$($crate::db::Arg::from($cell)),*] };
}
pub(crate) use row;

/// One column of a [`RowSet`], as PostgreSQL takes it.
pub(crate) enum Column {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl RowSet {
    /// Every row has as many cells as the first one, and of the same kinds.
    pub(crate) fn push<const N: usize>(&mut self, row: [Arg; N]) {
        debug_assert!(self.width == N || self.cells.is_empty(), "rows of one width");
        self.width = N;
        self.cells.extend(row);
    }

    /// Adds the rows of another set, which are of the same kinds.
    pub(crate) fn extend(&mut self, other: &RowSet) {
        if !other.is_empty() {
            debug_assert!(self.width == other.width || self.cells.is_empty(), "rows of one width");
            self.width = other.width;
            self.cells.extend_from_slice(&other.cells);
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len() / self.width.max(1)
    }

    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn columns(self) -> Vec<Column> {
        let rows = self.cells.len() / self.width.max(1);
        let mut columns: Vec<Column> = self.cells[..self.width.min(self.cells.len())]
            .iter()
            .map(|cell| match cell {
                Arg::Bytes(_) => Column::Bytes(Vec::with_capacity(rows)),
                Arg::Text(_) => Column::Texts(Vec::with_capacity(rows)),
                _ => Column::Ints(Vec::with_capacity(rows)),
            })
            .collect();
        for (n, cell) in self.cells.into_iter().enumerate() {
            match (&mut columns[n % self.width], cell) {
                (Column::Ints(column), Arg::Int(v)) => column.push(v),
                (Column::Texts(column), Arg::Text(v)) => column.push(v),
                (Column::Bytes(column), Arg::Bytes(v)) => column.push(v),
                _ => unreachable!("the cells of a column are of one kind"),
            }
        }
        columns
    }

    /// An array of arrays.
    pub(crate) fn json(&self) -> String {
        let mut out = String::with_capacity(self.cells.len() * 24 + 2);
        out.push('[');
        for (n, cell) in self.cells.iter().enumerate() {
            out.push_str(match (n, n % self.width) {
                (0, _) => "[",
                (_, 0) => "],[",
                _ => ",",
            });
            match cell {
                Arg::Int(Some(v)) => out.push_str(&v.to_string()),
                Arg::Text(Some(v)) => push_string(&mut out, v),
                Arg::Bytes(Some(v)) => {
                    out.push('"');
                    push_hex(&mut out, v);
                    out.push('"');
                }
                _ => out.push_str("null"),
            }
        }
        out.push_str(if self.cells.is_empty() { "]" } else { "]]" });
        out
    }
}

/// A list as `SQLite` takes it.
pub(crate) fn json_list(texts: &[String]) -> String {
    let mut out = String::with_capacity(texts.len() * 34 + 2);
    out.push('[');
    for (n, text) in texts.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        push_string(&mut out, text);
    }
    out.push(']');
    out
}

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Appends bytes as lower-case hexadecimal.
pub(crate) fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_reads_a_set_of_rows_its_own_way() {
        let sql = "-- x\nSELECT * FROM {rows $2 AS v(id text, n int, b bytes)} WHERE id {in $1} AND {now} > 1";
        assert_eq!(
            &*Dialect::Sqlite.render(sql),
            "-- x\nSELECT * FROM (SELECT value ->> 0 AS id, value ->> 1 AS n, unhex(value ->> 2) AS b FROM json_each($2)) AS v WHERE id IN (SELECT value FROM json_each($1)) AND CAST(unixepoch('subsec') * 1000 AS INTEGER) > 1"
        );
        assert_eq!(
            &*Dialect::Postgres.render(sql),
            "-- x\nSELECT * FROM unnest(CAST($2 AS text[]), CAST($3 AS bigint[]), CAST($4 AS bytea[])) AS v(id, n, b) WHERE id = ANY (CAST($1 AS text[])) AND CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) > 1"
        );
    }

    #[test]
    fn rows_are_json_whatever_they_hold() {
        let mut rows = RowSet::default();
        assert_eq!(rows.json(), "[]");
        rows.push(row!["a\"\\\n\u{1}ü", 1_i64, vec![0_u8, 255]]);
        rows.push(row![None::<String>, None::<i64>, None::<Vec<u8>>]);
        let back: serde_json::Value = serde_json::from_str(&rows.json()).expect("JSON");
        assert_eq!(back, serde_json::json!([["a\"\\\n\u{1}ü", 1, "00ff"], [null, null, null]]));
    }
}
