//! MySQL and MariaDB describe their tables in `information_schema`, as far as the user may see them.

use super::dialect::{Column, Dialect, Kind, Params};
use super::schema::{RawForeignKey, RawTable, Rule};
use super::session::{Session, Texts};
use crate::Trouble;
use std::collections::BTreeMap;

/// One table; without columns if there is none of that name.
pub(super) async fn table(session: &mut Session, name: &str) -> Result<RawTable, Trouble> {
    let (schema, table) = name.split_once('.').map_or((None, name), |(s, t)| (Some(s), t));
    let here = |sql: &str| {
        let mut params = Params::new(Dialect::Mysql);
        let schema = schema.map_or("DATABASE()".to_owned(), |s| params.text(s));
        let table = params.text(table);
        (sql.replace("$HERE", &format!("TABLE_SCHEMA = {schema} AND TABLE_NAME = {table}")), params.values)
    };
    let (sql, params) = here("SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE $HERE");
    let Some(found) = session.rows(name, sql, params).await?.into_iter().next() else {
        return Ok(RawTable::default());
    };
    let mut cells = found.into_iter().map(Option::unwrap_or_default);
    let mut next = || cells.next().unwrap_or_default();
    let (schema_name, table_name, engine) = (next(), next(), next());

    let (sql, params) = here(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CAST(CHARACTER_MAXIMUM_LENGTH AS CHAR), COLLATION_NAME, \
         CHARACTER_SET_NAME FROM information_schema.COLUMNS WHERE $HERE ORDER BY ORDINAL_POSITION",
    );
    let columns = session.rows(name, sql, params).await?.into_iter().filter_map(column).collect();

    let (sql, params) = here(
        "SELECT INDEX_NAME, CAST(NON_UNIQUE AS CHAR), CAST(SEQ_IN_INDEX AS CHAR), COLUMN_NAME, CAST(SUB_PART AS CHAR) \
         FROM information_schema.STATISTICS WHERE $HERE ORDER BY INDEX_NAME, SEQ_IN_INDEX",
    );
    let mut parts: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
    for row in session.rows(name, sql, params).await? {
        let mut cells = row.into_iter();
        let mut next = || cells.next().flatten();
        let (Some(index), Some(non_unique), _, column, prefix) = (next(), next(), next(), next(), next()) else {
            continue;
        };
        let unique = non_unique == "0" && prefix.is_none();
        parts.entry(index).or_default().push((unique, column.unwrap_or_default()));
    }
    let unique = parts.values().filter(|p| p.len() == 1 && p[0].0).map(|p| p[0].1.clone()).collect();
    let indexes = parts.into_values().filter_map(|p| p.into_iter().next()).map(|(_, column)| column).collect();
    let transactional = matches!(engine.to_ascii_lowercase().as_str(), "innodb" | "rocksdb" | "ndbcluster" | "");
    Ok(RawTable { identity: format!("{schema_name}.{table_name}"), columns, unique, indexes, transactional })
}

/// Foreign keys onto the table `schema.name`.
pub(super) async fn foreign_keys(session: &mut Session, identity: &str) -> Result<Vec<RawForeignKey>, Trouble> {
    let Some((schema, table)) = identity.split_once('.') else { return Ok(Vec::new()) };
    let mut params = Params::new(Dialect::Mysql);
    let sql = format!(
        "SELECT k.CONSTRAINT_NAME, k.TABLE_SCHEMA, k.TABLE_NAME, k.COLUMN_NAME, k.REFERENCED_COLUMN_NAME, \
         r.DELETE_RULE FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r \
         ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME \
         WHERE k.REFERENCED_TABLE_SCHEMA = {} AND k.REFERENCED_TABLE_NAME = {} \
         ORDER BY k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION",
        params.text(schema),
        params.text(table),
    );
    let mut keys: Vec<RawForeignKey> = Vec::new();
    for row in session.rows(identity, sql, params.values).await? {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        let (name, child_schema, child_name, column, parent_column, rule) =
            (next(), next(), next(), next(), next(), next());
        let child_identity = format!("{child_schema}.{child_name}");
        match keys.last_mut() {
            Some(last) if last.name == name && last.child_identity == child_identity => {
                last.columns.push(column);
                last.parent_columns.push(parent_column);
            }
            _ => keys.push(RawForeignKey {
                name,
                child_identity,
                child_sql: format!("{}.{}", Dialect::Mysql.ident(&child_schema), Dialect::Mysql.ident(&child_name)),
                child_name,
                columns: vec![column],
                parent_columns: vec![parent_column],
                rule: Rule::parse(&rule),
            }),
        }
    }
    Ok(keys)
}

fn column(row: Texts) -> Option<Column> {
    let mut cells = row.into_iter();
    let mut next = || cells.next().flatten();
    let (name, data_type, sql_type, nullable) = (next()?, next()?, next()?, next()?);
    let (length, collation, charset) = (next(), next(), next());
    let data_type = data_type.to_ascii_lowercase();
    let unsigned = sql_type.contains("unsigned");
    let kind = match data_type.as_str() {
        "tinyint" if sql_type.starts_with("tinyint(1)") => Kind::Bool,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" if unsigned => Kind::Uint,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" => Kind::Int,
        "decimal" | "numeric" => Kind::Decimal,
        "float" | "double" => Kind::Float,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => Kind::Text,
        "uuid" => Kind::Uuid,
        "json" => Kind::Json,
        "datetime" => Kind::DateTime,
        "timestamp" => Kind::Instant,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Binary,
        "bit" => Kind::Bit,
        _ => Kind::Other,
    };
    Some(Column {
        name,
        kind,
        nullable: nullable == "YES",
        max_chars: length.and_then(|l| l.parse().ok()).filter(|_| kind == Kind::Text),
        folds_case: collation.as_ref().is_some_and(|c| c.contains("_ci")),
        narrow: charset.as_ref().is_some_and(|c| c != "utf8mb4"),
        collation: charset.zip(collation).filter(|(charset, collation)| is_word(charset) && is_word(collation)),
        sql_type,
    })
}

/// Whether it can stand in a statement as it is.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
