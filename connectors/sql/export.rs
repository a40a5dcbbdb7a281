//! An export is every row of the person with its values in JSON's own types, read from one consistent state.

use super::Context;
use super::derive::unsearched;
use super::desk::Reads;
use super::dialect::{Column, Dialect, Kind};
use super::find::{CHUNK, Found, Search, find};
use super::lookup::{End, Equal, Lookup, What};
use super::session::Mode;
use super::values;
use crate::{CollectionEvidence, Done, Evidence, ExportSink, Outcome, Trouble, Work};
use base64::Engine as _;
use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;

/// Counts the person's rows.
pub(super) async fn discover(context: &Context<'_>, work: &Work<'_>) -> Result<Outcome, Trouble> {
    let mut session = context.engine.pool.begin(Mode::Read).await?;
    let found = find(context, &mut Reads::alone(&mut session), work.subject, Search::default()).await?;
    session.roll_back().await;
    Ok(told(context, &found, "search"))
}

/// Hands the person's rows to the sink.
pub(super) async fn export(context: &Context<'_>, work: &Work<'_>, sink: &dyn ExportSink) -> Result<Outcome, Trouble> {
    let mut session = context.engine.pool.begin(Mode::Read).await?;
    let found = find(context, &mut Reads::alone(&mut session), work.subject, Search::default()).await?;
    for t in 0..found.rows.len() {
        let keys: Vec<&str> = found.rows[t].keys().map(String::as_str).collect();
        for chunk in keys.chunks(CHUNK) {
            for record in records(context, &mut Reads::alone(&mut session), t, chunk).await? {
                sink.record(work.key, &context.engine.declared.tables[t].name, record).await?;
            }
        }
    }
    session.roll_back().await;
    Ok(told(context, &found, "export"))
}

pub(super) fn told(context: &Context<'_>, found: &Found, action: &str) -> Outcome {
    let tables = context.engine.declared.tables.iter().zip(&found.rows).enumerate();
    let collections = tables.filter(|(t, _)| !found.unsearched.contains(t)).map(|(_, (table, rows))| {
        let rows = rows.len() as u64;
        CollectionEvidence {
            collection: table.name.clone(),
            action: action.to_owned(),
            before: rows,
            changed: 0,
            after: rows,
        }
    });
    let evidence = Evidence { collections: collections.collect() };
    let retained = unsearched(context, found, |_| true);
    match found.total() {
        0 if retained.is_empty() => Outcome::NothingFound(evidence),
        total => Outcome::Done(Done { found: total, retained, evidence, ..Done::default() }),
    }
}

pub(super) async fn records(
    context: &Context<'_>,
    reads: &mut Reads<'_>,
    t: usize,
    keys: &[&str],
) -> Result<Vec<Map<String, Value>>, Trouble> {
    let live = &context.schema.tables[t];
    let columns = live.exported();
    let equal = Equal { table: t, column: 0, what: What::Exported, end: End::Ordered };
    let rows = reads.rows(context, Lookup::Equal(equal, keys.iter().map(|&key| key.to_owned()).collect())).await?;
    let mut records = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows {
        let mut cells = row.into_iter();
        // A collation may find "ABC" under the key "abc".
        let Some(key) = cells.next().flatten().filter(|key| keys.contains(&key.as_str())) else { continue };
        if !seen.insert(key) {
            return Err(super::trouble::key_shared(&context.engine.declared.tables[t].name));
        }
        let mut record = Map::new();
        for column in columns {
            let kind = if context.dialect == Dialect::Sqlite {
                kind_of_value(column, cells.next().flatten().as_deref())
            } else {
                column.kind
            };
            let value = cells.next().flatten().map_or(Value::Null, |text| json(kind, text));
            record.insert(column.name.clone(), value);
        }
        records.push(record);
    }
    Ok(records)
}

fn kind_of_value(column: &Column, type_of: Option<&str>) -> Kind {
    match type_of {
        Some("integer") if column.kind == Kind::Bool => Kind::Bool,
        Some("integer") => Kind::Int,
        Some("real") if column.kind == Kind::Decimal => Kind::Decimal,
        Some("real") => Kind::Float,
        Some("blob") => Kind::Binary,
        _ => Kind::Text,
    }
}

/// The value in the JSON type that keeps it whole: exact numbers beyond 64 bits and decimals stay text.
fn json(kind: Kind, text: String) -> Value {
    let number = |parsed: Option<Number>, text: String| parsed.map_or(Value::String(text), Value::Number);
    match kind {
        Kind::Int | Kind::Bit => number(text.parse::<i64>().ok().map(Number::from), text),
        Kind::Uint => number(text.parse::<u64>().ok().map(Number::from), text),
        Kind::Float => number(text.parse().ok().and_then(Number::from_f64), text),
        Kind::Bool => match text.as_str() {
            "true" | "1" => Value::Bool(true),
            "false" | "0" => Value::Bool(false),
            _ => json(Kind::Int, text),
        },
        Kind::Json => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        Kind::Binary => match values::from_hex(&text) {
            Some(bytes) => Value::String(base64::engine::general_purpose::STANDARD.encode(bytes)),
            None => Value::String(text),
        },
        Kind::DateTime => Value::String(text.replacen(' ', "T", 1)),
        Kind::Instant => Value::String(instant(&text)),
        Kind::Decimal | Kind::Text | Kind::Uuid | Kind::Other => Value::String(text),
    }
}

/// ISO 8601. The session's zone is UTC, which PostgreSQL writes as `+00` and MySQL not at all.
fn instant(text: &str) -> String {
    let text = text.replacen(' ', "T", 1);
    if text.len() < 19 || !text.is_ascii() || text == "infinity" {
        return text;
    }
    format!("{}Z", text.strip_suffix("+00").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_keeps_its_json_type_and_loses_no_digit() {
        for (kind, text, expected) in [
            (Kind::Int, "42", serde_json::json!(42)),
            (Kind::Uint, "18446744073709551615", serde_json::json!(18_446_744_073_709_551_615_u64)),
            (Kind::Decimal, "12345678901234567890.10", serde_json::json!("12345678901234567890.10")),
            (Kind::Float, "0.5", serde_json::json!(0.5)),
            (Kind::Float, "NaN", serde_json::json!("NaN")),
            (Kind::Bool, "1", serde_json::json!(true)),
            (Kind::Bool, "7", serde_json::json!(7)),
            (Kind::Json, "{\"a\":[1]}", serde_json::json!({"a": [1]})),
            (Kind::Binary, "00ff", serde_json::json!("AP8=")),
            (Kind::DateTime, "2026-01-02 03:04:05", serde_json::json!("2026-01-02T03:04:05")),
            (Kind::Instant, "2026-01-02 03:04:05.5+00", serde_json::json!("2026-01-02T03:04:05.5Z")),
        ] {
            assert_eq!(json(kind, text.to_owned()), expected, "{text}");
        }
    }
}
