//! The schema is what the database says about the declared tables: columns with their types, keys, foreign keys, indexes.

use super::declared::{Declared, Table};
use super::dialect::{Column, Dialect, Kind};
use super::session::Session;
use super::trouble::denied;
use super::{schema_mysql, schema_postgres, schema_sqlite};
use crate::spec::OnDelete;
use crate::{Problem, Trouble};
use std::collections::BTreeMap;

/// The declared tables as they are in the database, in the order of declaration.
pub(super) struct Schema {
    /// One for each declared table.
    pub(super) tables: Vec<LiveTable>,
    /// Enforced foreign keys onto declared tables, from wherever.
    pub(super) foreign_keys: Vec<ForeignKey>,
}

/// A declared table as it is in the database. Everything declared is known to exist.
pub(super) struct LiveTable {
    /// Its name, quoted for statements.
    pub(super) sql: String,
    /// The key.
    pub(super) key: Column,
    /// As [`Table::wanted`].
    pub(super) wanted: Vec<Column>,
    /// As [`Table::columns`].
    pub(super) listed: Vec<Column>,
    /// As [`Table::fields`].
    pub(super) fields: BTreeMap<String, Column>,
    /// Every column.
    pub(super) columns: Vec<Column>,
    /// What its indexes begin with: a column's name or an expression.
    pub(super) indexes: Vec<String>,
    /// Whether changes to it are part of a transaction.
    pub(super) transactional: bool,
}

impl LiveTable {
    /// The columns that are exported.
    pub(super) fn exported(&self) -> &[Column] {
        if self.listed.is_empty() { &self.columns } else { &self.listed }
    }
}

/// What a database does with a row whose parent is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// It refuses.
    Refuse,
    /// It deletes the row.
    Cascade,
    /// It empties the reference.
    SetNull,
    /// It gives the reference its default.
    SetDefault,
}

impl Rule {
    /// Reads the standard's words.
    pub(super) fn parse(words: &str) -> Self {
        match words {
            "CASCADE" | "c" => Rule::Cascade,
            "SET NULL" | "n" => Rule::SetNull,
            "SET DEFAULT" | "d" => Rule::SetDefault,
            _ => Rule::Refuse,
        }
    }

    /// The standard's words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Rule::Refuse => "NO ACTION or RESTRICT",
            Rule::Cascade => "CASCADE",
            Rule::SetNull => "SET NULL",
            Rule::SetDefault => "SET DEFAULT",
        }
    }
}

/// One enforced foreign key onto a declared table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignKey {
    /// Its name, where it has one.
    pub(super) name: String,
    /// The declared table that refers, if it is declared.
    pub(super) child: Option<usize>,
    /// The table that refers, by name.
    pub(super) child_name: String,
    /// The same, quoted for statements.
    pub(super) child_sql: String,
    /// Its columns.
    pub(super) columns: Vec<String>,
    /// The declared table referred to.
    pub(super) parent: usize,
    /// Its columns.
    pub(super) parent_columns: Vec<String>,
    /// What happens on deletion.
    pub(super) rule: Rule,
}

/// What introspection reads for one table.
#[derive(Default)]
pub(super) struct RawTable {
    /// How the database identifies it among others, for its foreign keys.
    pub(super) identity: String,
    pub(super) columns: Vec<Column>,
    /// Columns that are unique by themselves.
    pub(super) unique: Vec<String>,
    pub(super) indexes: Vec<String>,
    pub(super) transactional: bool,
}

/// A foreign key before the tables' names are resolved.
pub(super) struct RawForeignKey {
    pub(super) name: String,
    pub(super) child_identity: String,
    pub(super) child_name: String,
    pub(super) child_sql: String,
    pub(super) columns: Vec<String>,
    pub(super) parent_columns: Vec<String>,
    pub(super) rule: Rule,
}

impl Schema {
    /// Reads it from the database and holds what is declared against it.
    pub(super) async fn read(session: &mut Session, declared: &Declared) -> Result<Self, Trouble> {
        let dialect = session.dialect();
        let mut raw = Vec::new();
        for table in &declared.tables {
            let found = match dialect {
                Dialect::Postgres => schema_postgres::table(session, &table.name).await?,
                Dialect::Mysql => schema_mysql::table(session, &table.name).await?,
                Dialect::Sqlite => schema_sqlite::table(session, &table.name).await?,
            };
            if found.columns.is_empty() {
                return Err(missing(dialect, table));
            }
            raw.push(found);
        }
        let mut foreign_keys = Vec::new();
        for (parent, table) in raw.iter().enumerate() {
            let found = match dialect {
                Dialect::Postgres => schema_postgres::foreign_keys(session, &table.identity).await?,
                Dialect::Mysql => schema_mysql::foreign_keys(session, &table.identity).await?,
                Dialect::Sqlite => schema_sqlite::foreign_keys(session, &declared.tables[parent].name).await?,
            };
            foreign_keys.extend(found.into_iter().map(|key| ForeignKey {
                child: raw.iter().position(|t| t.identity == key.child_identity),
                name: key.name,
                child_name: key.child_name,
                child_sql: key.child_sql,
                columns: key.columns,
                parent,
                parent_columns: key.parent_columns,
                rule: key.rule,
            }));
        }
        let tables =
            declared.tables.iter().zip(raw).map(|(table, raw)| live(dialect, table, raw)).collect::<Result<_, _>>()?;
        Ok(Self { tables, foreign_keys })
    }

    /// Whether a foreign key stands behind this reference.
    pub(super) fn is_enforced(&self, dialect: Dialect, child: usize, column: &str, parent: usize) -> bool {
        self.foreign_keys.iter().any(|key| {
            key.child == Some(child) && key.parent == parent && key.columns.iter().any(|c| dialect.same_name(c, column))
        })
    }

    /// Whether deletion can be carried out as declared.
    pub(super) fn fits_erasure(&self, declared: &Declared) -> Result<(), Problem> {
        for (table, live) in declared.tables.iter().zip(&self.tables) {
            for column in &live.listed {
                let name = format!("column {} of table {}", column.name, table.name);
                match table.on_delete {
                    OnDelete::Null if !column.nullable => {
                        return Err(Problem::new(
                            "column_not_nullable",
                            format!(
                                "{name} is NOT NULL, so on_delete = \"null\" cannot empty it; use \"hash\" or \"delete\", or allow NULL"
                            ),
                        ));
                    }
                    OnDelete::Hash if !matches!(column.kind, Kind::Text | Kind::Other) => {
                        return Err(Problem::new(
                            "column_not_text",
                            format!(
                                "{name} has the type {}, which cannot hold a hash; use \"null\" or \"delete\"",
                                column.sql_type
                            ),
                        ));
                    }
                    OnDelete::Hash if column.max_chars.is_some_and(|max| max < super::redact::LENGTH) => {
                        return Err(Problem::new(
                            "column_too_short",
                            format!(
                                "{name} has the type {}, but a hash needs {} characters; widen it or use \"null\"",
                                column.sql_type,
                                super::redact::LENGTH
                            ),
                        ));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// The column of this name.
fn column(dialect: Dialect, table: &str, columns: &[Column], name: &str) -> Result<Column, Trouble> {
    columns
        .iter()
        .find(|c| c.name == name)
        .or_else(|| columns.iter().find(|c| dialect.same_name(&c.name, name)))
        .cloned()
        .ok_or_else(|| {
            denied(
                "column_missing",
                format!("table {table} has no column {name}; correct the system's tables or the database"),
            )
        })
}

fn missing(dialect: Dialect, table: &Table) -> Trouble {
    let hint = if dialect == Dialect::Postgres {
        "; names are case-sensitive, and schema.name reaches other schemas"
    } else {
        ""
    };
    denied(
        "table_missing",
        format!(
            "the database has no table {}, or the user may not see it; correct the system's tables{hint}",
            table.name
        ),
    )
}

fn live(dialect: Dialect, table: &Table, raw: RawTable) -> Result<LiveTable, Trouble> {
    let find = |name: &String| column(dialect, &table.name, &raw.columns, name);
    let wanted: Vec<Column> = table.wanted.iter().map(find).collect::<Result<_, _>>()?;
    let listed = table.columns.iter().map(find).collect::<Result<_, _>>()?;
    let fields = table.fields.iter().map(|(f, c)| Ok((f.clone(), find(c)?))).collect::<Result<_, Trouble>>()?;
    let Some(key) = wanted.first().cloned() else {
        return Err(denied("column_missing", format!("table {} has no key", table.name)));
    };
    if !raw.unique.iter().any(|name| dialect.same_name(name, &key.name)) {
        return Err(denied(
            "key_not_unique",
            format!(
                "column {} of table {} is neither its primary key nor unique by itself, so it cannot tell one person's row from another's; name a unique column as key",
                key.name, table.name
            ),
        ));
    }
    Ok(LiveTable {
        sql: dialect.table(&table.name),
        key,
        wanted,
        listed,
        fields,
        columns: raw.columns,
        indexes: raw.indexes,
        transactional: raw.transactional,
    })
}
