//! PostgreSQL describes its tables in `pg_catalog`, which every role may read.

use super::dialect::{Column, Dialect, Kind, Params};
use super::schema::{RawForeignKey, RawTable, Rule};
use super::session::{Session, Texts};
use crate::Trouble;

/// One table; without columns if there is none of that name.
pub(super) async fn table(session: &mut Session, name: &str) -> Result<RawTable, Trouble> {
    let mut params = Params::new(Dialect::Postgres);
    let mark = params.text(&Dialect::Postgres.table(name));
    let found = session.rows(name, format!("SELECT to_regclass({mark})::oid::text"), params.values).await?;
    let Some(oid) = found.into_iter().next().and_then(|row| row.into_iter().next().flatten()) else {
        return Ok(RawTable::default());
    };
    let by_oid = |sql: &str| {
        let mut params = Params::new(Dialect::Postgres);
        let mark = params.text(&oid);
        (sql.replace("$OID", &format!("{mark}::text::oid")), params.values)
    };

    let (sql, params) = by_oid(
        "SELECT a.attname::text, \
           CASE WHEN t.typtype = 'd' THEN b.typname ELSE t.typname END::text, \
           CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE format_type(a.atttypid, a.atttypmod) END, \
           (a.attnotnull OR t.typnotnull)::text, \
           CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END::text \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype \
         WHERE a.attrelid = $OID AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    );
    let columns = session.rows(name, sql, params).await?.into_iter().filter_map(column).collect();

    let (sql, params) = by_oid(
        "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
         WHERE i.indrelid = $OID AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL \
           AND i.indexprs IS NULL",
    );
    let unique = firsts(session.rows(name, sql, params).await?);

    let (sql, params) = by_oid(
        "SELECT pg_get_indexdef(i.indexrelid, 1, true) FROM pg_index i \
         WHERE i.indrelid = $OID AND i.indisvalid AND i.indpred IS NULL",
    );
    let indexes = firsts(session.rows(name, sql, params).await?);
    Ok(RawTable { identity: oid, columns, unique, indexes, transactional: true })
}

/// Foreign keys onto the table of this oid.
pub(super) async fn foreign_keys(session: &mut Session, oid: &str) -> Result<Vec<RawForeignKey>, Trouble> {
    let mut params = Params::new(Dialect::Postgres);
    let mark = params.text(oid);
    let names = |attributes: &str, relation: &str| {
        format!(
            "(SELECT string_agg(a.attname::text, chr(31) ORDER BY k.n) FROM unnest(c.{attributes}) WITH ORDINALITY AS k(attnum, n) \
             JOIN pg_attribute a ON a.attrelid = c.{relation} AND a.attnum = k.attnum)"
        )
    };
    // A key of a partition that stems from its partitioned table is that table's key.
    let sql = format!(
        "SELECT c.conname::text, c.conrelid::text, c.conrelid::regclass::text, {}, {}, c.confdeltype::text \
         FROM pg_constraint c WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = {mark}::text::oid ORDER BY 3, 1",
        names("conkey", "conrelid"),
        names("confkey", "confrelid"),
    );
    let rows = session.rows("pg_constraint", sql, params.values).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut cells = row.into_iter().map(Option::unwrap_or_default);
            let mut next = || cells.next().unwrap_or_default();
            let list = |text: String| text.split('\u{1f}').map(str::to_owned).collect();
            let (name, child_identity, child_sql) = (next(), next(), next());
            RawForeignKey {
                name,
                child_identity,
                child_name: child_sql.replace('"', ""),
                child_sql,
                columns: list(next()),
                parent_columns: list(next()),
                rule: Rule::parse(&next()),
            }
        })
        .collect())
}

fn firsts(rows: Vec<Texts>) -> Vec<String> {
    rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

fn column(row: Texts) -> Option<Column> {
    let mut cells = row.into_iter();
    let mut next = || cells.next().flatten();
    let (name, type_name, sql_type, not_null) = (next()?, next()?, next()?, next()?);
    let modifier: i64 = next().and_then(|m| m.parse().ok()).unwrap_or(-1);
    let kind = match type_name.as_str() {
        "int2" | "int4" | "int8" | "oid" => Kind::Int,
        "numeric" => Kind::Decimal,
        "float4" | "float8" => Kind::Float,
        "bool" => Kind::Bool,
        "text" | "varchar" | "bpchar" | "name" | "citext" => Kind::Text,
        "uuid" => Kind::Uuid,
        "json" | "jsonb" => Kind::Json,
        "timestamp" => Kind::DateTime,
        "timestamptz" => Kind::Instant,
        "bytea" => Kind::Binary,
        _ => Kind::Other,
    };
    let limited = matches!(type_name.as_str(), "varchar" | "bpchar") && modifier > 4;
    Some(Column {
        name,
        kind,
        nullable: not_null != "true",
        max_chars: limited.then(|| modifier.unsigned_abs() - 4),
        folds_case: type_name == "citext",
        narrow: false,
        collation: None,
        sql_type,
    })
}
