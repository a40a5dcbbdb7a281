//! SQLite describes its tables in pragmas; a column's declared type is a preference, not a promise.

use super::dialect::{Column, Dialect, Kind, Params};
use super::schema::{RawForeignKey, RawTable, Rule};
use super::session::{Session, Texts};
use crate::Trouble;
use std::collections::BTreeMap;

/// One table; without columns if there is none of that name.
pub(super) async fn table(session: &mut Session, name: &str) -> Result<RawTable, Trouble> {
    let rows = pragma(
        session,
        name,
        "SELECT name, type, CAST(\"notnull\" AS TEXT), CAST(pk AS TEXT) FROM pragma_table_xinfo($T) WHERE hidden <> 1",
    )
    .await?;
    let mut keys = Vec::new();
    let mut columns = Vec::new();
    for row in rows {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        let (name, sql_type, not_null, pk) = (next(), next(), next(), next());
        if pk != "0" {
            keys.push(name.clone());
        }
        let kind = kind(&sql_type);
        columns.push(Column {
            name,
            kind,
            sql_type,
            nullable: not_null == "0",
            max_chars: None,
            folds_case: false,
            narrow: false,
            collation: None,
        });
    }
    let mut unique = if keys.len() == 1 { keys.clone() } else { Vec::new() };
    let mut indexes: Vec<String> = keys.into_iter().take(1).collect();
    let sql = "SELECT l.name, CAST(l.\"unique\" AS TEXT), CAST(l.partial AS TEXT), i.name, s.sql FROM pragma_index_list($T) l \
               JOIN pragma_index_info(l.name) i LEFT JOIN sqlite_master s ON s.type = 'index' AND s.name = l.name \
               ORDER BY l.name, i.seqno";
    let mut parts: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
    for row in pragma(session, name, sql).await? {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        let (index, is_unique, partial, column, sql) = (next(), next(), next(), next(), next());
        if partial == "0" {
            // An expression has no name; the statement that made the index tells what it is.
            let first = if column.is_empty() { sql } else { column.clone() };
            parts.entry(index).or_default().push((is_unique == "1" && !column.is_empty(), first));
        }
    }
    for mut part in parts.into_values() {
        if part.len() == 1 && part[0].0 {
            unique.push(part[0].1.clone());
        }
        indexes.push(part.swap_remove(0).1);
    }
    Ok(RawTable { identity: name.to_ascii_lowercase(), columns, unique, indexes, transactional: true })
}

/// Foreign keys onto the table of this name.
pub(super) async fn foreign_keys(session: &mut Session, name: &str) -> Result<Vec<RawForeignKey>, Trouble> {
    let sql = "SELECT m.name, CAST(f.id AS TEXT), f.\"from\", COALESCE(f.\"to\", (SELECT p.name FROM pragma_table_info(f.\"table\") p \
               WHERE p.pk = f.seq + 1)), f.on_delete FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f \
               WHERE m.type = 'table' AND lower(f.\"table\") = lower($T) ORDER BY m.name, f.id, f.seq";
    let mut keys: Vec<(String, RawForeignKey)> = Vec::new();
    for row in pragma(session, name, sql).await? {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        let (child, id, column, parent_column, rule) = (next(), next(), next(), next(), next());
        let identity = format!("{child} {id}");
        match keys.last_mut() {
            Some((last, key)) if *last == identity => {
                key.columns.push(column);
                key.parent_columns.push(parent_column);
            }
            _ => keys.push((
                identity,
                RawForeignKey {
                    name: format!("of {child} ({column})"),
                    child_identity: child.to_ascii_lowercase(),
                    child_sql: Dialect::Sqlite.ident(&child),
                    child_name: child,
                    columns: vec![column],
                    parent_columns: vec![parent_column],
                    rule: Rule::parse(&rule),
                },
            )),
        }
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

async fn pragma(session: &mut Session, table: &str, sql: &str) -> Result<Vec<Texts>, Trouble> {
    let mut params = Params::new(Dialect::Sqlite);
    let mark = params.text(table);
    session.rows(table, sql.replace("$T", &mark), params.values).await
}

/// The rules of <https://sqlite.org/datatype3.html#determination_of_column_affinity>, refined by the usual names.
fn kind(declared: &str) -> Kind {
    let t = declared.to_ascii_uppercase();
    let has = |word: &str| t.contains(word);
    if t.is_empty() {
        Kind::Other
    } else if has("BOOL") {
        Kind::Bool
    } else if has("INT") && !has("POINT") {
        Kind::Int
    } else if has("CHAR") || has("CLOB") || has("TEXT") || has("DATE") || has("TIME") || has("JSON") || has("UUID") {
        Kind::Text
    } else if has("BLOB") {
        Kind::Binary
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Kind::Float
    } else if has("DEC") || has("NUMERIC") {
        Kind::Decimal
    } else {
        Kind::Text
    }
}
