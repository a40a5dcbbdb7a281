//! A lookup is one question to the database for one person: which rows of a table hold one of these values.
//!
//! Many persons' lookups of one shape make one statement ([`for_many`]). The database itself then says which row
//! answers which value, by its own idea of equality; only addresses and telephone numbers, which it can no more than
//! narrow, are handed out by the value itself. So each person is given just what their own statement would have brought
//! up, less what [`redress_domain::Identifier::is_same_as`] would have dropped at once. Where that cannot be had, the
//! lookup is made by itself ([`for_one`]).

use super::Context;
use super::dialect::{Dialect, Param, Params};
use super::session::{Session, Texts};
use crate::Trouble;
use redress_domain::{Identifier, IdentifierType};
use std::collections::{BTreeMap, HashMap};

/// The most rows that a search for one identifier may bring up before they are judged.
pub(super) const CANDIDATES_MAX: usize = 10_000;
/// The most values of many persons in one statement.
const LISTED_MAX: usize = 4096;

/// Which columns are read. The key always comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Those that identify or refer.
    Wanted,
    /// Those that `null` and `hash` apply to.
    Listed,
    /// Those that are exported.
    Exported,
}

/// What a statement ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Nothing.
    Plain,
    /// Rows in the order of their keys.
    Ordered,
    /// The same, and locked.
    Locked,
    /// No more than can be judged.
    Limited,
}

/// What is looked up by equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Equal {
    pub(super) table: usize,
    /// Index of the column in [`super::schema::LiveTable::wanted`]; 0 is the key.
    pub(super) column: usize,
    pub(super) what: What,
    pub(super) end: End,
}

/// One question. It has no `Debug`: it may be personal.
pub(super) enum Lookup {
    /// Rows in which a column equals one of the values.
    Equal(Equal, Vec<String>),
    /// Rows that may hold this e-mail address in a column.
    Address(usize, usize, Identifier),
    /// Rows that may hold a telephone number that ends in these digits.
    Number(usize, usize, String),
    /// Rows that refer by a foreign key (its index) to rows with these keys: their keys.
    Referring(usize, Vec<String>),
    /// The same, counted.
    Counted(usize, Vec<String>),
    /// Something about a table that is only ever asked for one person.
    Own(usize, String, Vec<Param>),
}

/// Which lookups make one statement together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    Equal(Equal),
    Address(usize, usize),
    Number(usize, usize),
    Referring(usize),
    Counted(usize),
    Own(usize),
}

impl Lookup {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Lookup::Equal(equal, _) => Shape::Equal(*equal),
            Lookup::Address(table, column, _) => Shape::Address(*table, *column),
            Lookup::Number(table, column, _) => Shape::Number(*table, *column),
            Lookup::Referring(key, _) => Shape::Referring(*key),
            Lookup::Counted(key, _) => Shape::Counted(*key),
            Lookup::Own(table, ..) => Shape::Own(*table),
        }
    }

    fn values(&self) -> &[String] {
        match self {
            Lookup::Equal(_, values) | Lookup::Referring(_, values) | Lookup::Counted(_, values) => values,
            Lookup::Address(..) | Lookup::Number(..) | Lookup::Own(..) => &[],
        }
    }
}

impl Shape {
    /// The declared table whose rows the answer brings, each with its key first.
    pub(super) fn rows_of(self, context: &Context<'_>) -> Option<usize> {
        match self {
            Shape::Equal(Equal { table, .. })
            | Shape::Address(table, _)
            | Shape::Number(table, _)
            | Shape::Own(table) => Some(table),
            Shape::Referring(key) => context.schema.foreign_keys[key].child,
            Shape::Counted(_) => None,
        }
    }
}

/// Makes one lookup.
pub(super) async fn for_one(
    context: &Context<'_>,
    session: &mut Session,
    lookup: &mut Lookup,
) -> Result<Vec<Texts>, Trouble> {
    let mut params = Params::new(context.dialect);
    let shape = lookup.shape();
    let (table, sql) = match lookup {
        Lookup::Equal(equal, values) => {
            let live = &context.schema.tables[equal.table];
            let these = values.iter().map(String::as_str).collect::<Vec<_>>();
            let Some(condition) = context.dialect.equals_any(&live.wanted[equal.column], &these, &mut params) else {
                return Ok(Vec::new());
            };
            let columns = columns(context, equal.table, equal.what);
            let end = end(context, equal.table, equal.end, "");
            (name(context, equal.table), format!("SELECT {columns} FROM {} WHERE {condition}{end}", live.sql))
        }
        Lookup::Address(table, column, identifier) => {
            let spellings = spellings(identifier);
            let live = &context.schema.tables[*table].wanted[*column];
            let condition = if context.regular.contains(&(*table, *column)) {
                context.dialect.like_addresses(live, &spellings, &mut params)
            } else {
                context.dialect.like_addresses_anywhere(live, &spellings, &mut params)
            };
            (name(context, *table), searching(context, *table, &condition))
        }
        Lookup::Number(table, column, tail) => {
            let live = &context.schema.tables[*table].wanted[*column];
            let condition = context.dialect.ends_in_digits(live, tail, &mut params);
            (name(context, *table), searching(context, *table, &condition))
        }
        Lookup::Referring(key, parents) | Lookup::Counted(key, parents) => {
            let parent = &context.schema.tables[context.schema.foreign_keys[*key].parent];
            let these = parents.iter().map(String::as_str).collect::<Vec<_>>();
            let Some(condition) = context.dialect.equals_any(&parent.key, &these, &mut params) else {
                return Ok(Vec::new());
            };
            let from = format!("(SELECT * FROM {} WHERE {condition})", parent.sql);
            let sql = joined(context, *key, &from, &referring(context, *key, shape));
            (&context.schema.foreign_keys[*key].child_name, sql)
        }
        Lookup::Own(table, sql, own) => {
            params.values = std::mem::take(own);
            (name(context, *table), std::mem::take(sql))
        }
    };
    session.rows(table, sql, params.values).await
}

/// Makes many lookups of one shape; `None` for those that must be made by themselves.
pub(super) async fn for_many(
    context: &Context<'_>,
    session: &mut Session,
    lookups: &[Lookup],
) -> Result<Vec<Option<Vec<Texts>>>, Trouble> {
    let on_their_own = || Ok(lookups.iter().map(|_| None).collect());
    let Some(shape) = lookups.first().map(Lookup::shape) else { return Ok(Vec::new()) };
    match shape {
        Shape::Equal(_) | Shape::Referring(_) | Shape::Counted(_) if lookups.len() > 1 => {
            by_value(context, session, shape, lookups).await
        }
        Shape::Address(table, column) => addresses(context, session, table, column, lookups).await,
        Shape::Number(table, column) if lookups.len() > 1 => numbers(context, session, table, column, lookups).await,
        _ => on_their_own(),
    }
}

/// Rows handed out by the value that the database says they answer.
async fn by_value(
    context: &Context<'_>,
    session: &mut Session,
    shape: Shape,
    lookups: &[Lookup],
) -> Result<Vec<Option<Vec<Texts>>>, Trouble> {
    let dialect = context.dialect;
    let schema = &context.schema;
    let column = match shape {
        Shape::Equal(equal) => &schema.tables[equal.table].wanted[equal.column],
        Shape::Referring(key) | Shape::Counted(key) => &schema.tables[schema.foreign_keys[key].parent].key,
        _ => return Ok(lookups.iter().map(|_| None).collect()),
    };
    let mut askers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (asker, lookup) in lookups.iter().enumerate() {
        for value in lookup.values().iter().filter_map(|value| dialect.fit(column, value)) {
            let askers = askers.entry(value).or_default();
            if askers.last() != Some(&asker) {
                askers.push(asker);
            }
        }
    }
    let (values, askers): (Vec<String>, Vec<Vec<usize>>) = askers.into_iter().unzip();
    let mut answers = Answers::of(lookups.len());
    for (start, chunk) in (0..).step_by(LISTED_MAX).zip(values.chunks(LISTED_MAX)) {
        let these: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let mut params = Params::new(dialect);
        let listed = dialect.listed(&these, &mut params);
        let Some(condition) = dialect.equals_listed(column, &these) else {
            return Ok(lookups.iter().map(|_| None).collect());
        };
        let (nth, join) = (dialect.nth(), dialect.join_listed());
        let (about, sql) = match shape {
            Shape::Equal(equal) => {
                let (columns, live) = (columns(context, equal.table, equal.what), &schema.tables[equal.table].sql);
                let end = end(context, equal.table, equal.end, " OF t");
                let sql = if dialect == Dialect::Sqlite {
                    format!("SELECT {nth}, {columns} FROM {listed} {join} {live} t WHERE {condition}{end}")
                } else {
                    format!("SELECT {nth}, {columns} FROM {listed} {join} {live} t ON {condition}{end}")
                };
                (name(context, equal.table), sql)
            }
            Shape::Referring(key) | Shape::Counted(key) => {
                let parent = &schema.tables[schema.foreign_keys[key].parent].sql;
                let from = format!("(SELECT redress_n, t.* FROM {listed} {join} {parent} t ON {condition})");
                let sql = joined(context, key, &from, &format!("{nth}, {}", referring(context, key, shape)));
                let counted = if matches!(shape, Shape::Counted(_)) { " GROUP BY redress_n" } else { "" };
                (&schema.foreign_keys[key].child_name, sql + counted)
            }
            _ => continue,
        };
        let rows = session.rows(about, sql, params.values).await?;
        if matches!(shape, Shape::Equal(Equal { end: End::Limited, .. })) && rows.len() > CANDIDATES_MAX {
            return Ok(lookups.iter().map(|_| None).collect());
        }
        for mut row in rows {
            let cells = row.split_off(1);
            let place = row.pop().flatten().and_then(|n| n.parse::<usize>().ok());
            let place = place.and_then(|n| n.checked_sub(dialect.first_place())).map(|n| n + start);
            let Some((place, askers)) = place.and_then(|place| Some((place, askers.get(place)?))) else { continue };
            for asker in askers {
                // Only whoever asked for several values can be given one row for two of them.
                let once = matches!(shape, Shape::Equal(_)) && lookups[*asker].values().len() > 1;
                answers.give(*asker, once.then_some(place), cells.clone());
            }
        }
    }
    Ok(answers.all)
}

/// Rows handed out by the address they hold. Those that are spelled in any way out of the common are always read, since
/// no database compares them as we do.
async fn addresses(
    context: &Context<'_>,
    session: &mut Session,
    table: usize,
    column: usize,
    lookups: &[Lookup],
) -> Result<Vec<Option<Vec<Texts>>>, Trouble> {
    let mut askers: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut wanted = Vec::new();
    for (asker, lookup) in lookups.iter().enumerate() {
        if let Lookup::Address(_, _, identifier) = lookup {
            askers.entry(identifier.normal().expose()).or_default().push(asker);
            wanted.extend(spellings(identifier).into_iter().filter(|spelling| spelling.is_ascii()));
        }
    }
    wanted.sort();
    wanted.dedup();
    if wanted.is_empty() {
        wanted.push(String::new());
    }
    let mut params = Params::new(context.dialect);
    let live = &context.schema.tables[table].wanted[column];
    let condition = context.dialect.like_listed_addresses(live, wanted, &mut params);
    let rows = session.rows(name(context, table), searching(context, table, &condition), params.values).await?;
    if rows.len() > CANDIDATES_MAX {
        return Ok(lookups.iter().map(|_| None).collect());
    }
    let mut answers = Answers::of(lookups.len());
    for row in rows {
        let Some(Some(text)) = row.get(column) else { continue };
        let Ok(held) = Identifier::parse(IdentifierType::Email, text, None) else { continue };
        for asker in askers.get(held.normal().expose().as_str()).into_iter().flatten() {
            answers.give(*asker, None, row.clone());
        }
    }
    Ok(answers.all)
}

/// Rows handed out by the last digits of the number they hold.
async fn numbers(
    context: &Context<'_>,
    session: &mut Session,
    table: usize,
    column: usize,
    lookups: &[Lookup],
) -> Result<Vec<Option<Vec<Texts>>>, Trouble> {
    let mut askers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (asker, lookup) in lookups.iter().enumerate() {
        if let Lookup::Number(_, _, tail) = lookup {
            askers.entry(tail).or_default().push(asker);
        }
    }
    let length = askers.keys().next().map_or(0, |tail| tail.len());
    let mut params = Params::new(context.dialect);
    let live = &context.schema.tables[table].wanted[column];
    let tails = askers.keys().map(|&tail| tail.to_owned()).collect();
    let condition = context.dialect.end_in_listed_digits(live, tails, &mut params);
    if length == 0 || askers.keys().any(|tail| tail.len() != length) {
        return Ok(lookups.iter().map(|_| None).collect());
    }
    let rows = session.rows(name(context, table), searching(context, table, &condition), params.values).await?;
    if rows.len() > CANDIDATES_MAX {
        return Ok(lookups.iter().map(|_| None).collect());
    }
    let mut answers = Answers::of(lookups.len());
    for row in rows {
        let Some(Some(text)) = row.get(column) else { continue };
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let Some(tail) = digits.len().checked_sub(length).map(|start| &digits[start..]) else { continue };
        for asker in askers.get(tail).into_iter().flatten() {
            answers.give(*asker, None, row.clone());
        }
    }
    Ok(answers.all)
}

/// The rows of each asker.
struct Answers {
    all: Vec<Option<Vec<Texts>>>,
    /// By asker and key, the value for which the row was given.
    given: HashMap<(usize, String), usize>,
}

impl Answers {
    fn of(askers: usize) -> Self {
        Self { all: vec![Some(Vec::new()); askers], given: HashMap::new() }
    }

    /// Gives a row. Two rows with one key for two values may be one row that equals both, or two rows that share their
    /// key: only the asker's own statement can tell.
    fn give(&mut self, asker: usize, value: Option<usize>, row: Texts) {
        if let (Some(value), Some(Some(key))) = (value, row.first())
            && *self.given.entry((asker, key.clone())).or_insert(value) != value
        {
            self.all[asker] = None;
        }
        if let Some(rows) = &mut self.all[asker] {
            rows.push(row);
        }
    }
}

/// The spellings of an address to look for, in lower case.
fn spellings(identifier: &Identifier) -> Vec<String> {
    let mut spellings: Vec<String> = identifier.spellings().iter().map(|s| s.expose().to_lowercase()).collect();
    spellings.sort();
    spellings.dedup();
    spellings
}

fn name<'a>(context: &'a Context<'_>, table: usize) -> &'a String {
    &context.engine.declared.tables[table].name
}

fn searching(context: &Context<'_>, table: usize, condition: &str) -> String {
    let columns = columns(context, table, What::Wanted);
    let limit = end(context, table, End::Limited, "");
    format!("SELECT {columns} FROM {} WHERE {condition}{limit}", context.schema.tables[table].sql)
}

fn columns(context: &Context<'_>, table: usize, what: What) -> String {
    let live = &context.schema.tables[table];
    let key = std::iter::once(&live.key);
    let text = |column| context.dialect.as_text(column);
    let columns: Vec<String> = match what {
        What::Wanted => live.wanted.iter().map(text).collect(),
        What::Listed => key.chain(&live.listed).map(text).collect(),
        What::Exported => {
            let exported = live.exported().iter().flat_map(|column| {
                if context.dialect != Dialect::Sqlite {
                    return vec![text(column)];
                }
                // A value has a type of its own there, whatever the column says.
                let name = context.dialect.ident(&column.name);
                let value = format!("CASE typeof({name}) WHEN 'blob' THEN hex({name}) ELSE CAST({name} AS TEXT) END");
                vec![format!("typeof({name})"), value]
            });
            key.map(text).chain(exported).collect()
        }
    };
    columns.join(", ")
}

fn end(context: &Context<'_>, table: usize, end: End, of: &str) -> String {
    let order = || format!(" ORDER BY {}", context.dialect.ident(&context.schema.tables[table].key.name));
    match end {
        End::Plain => String::new(),
        End::Ordered => order(),
        End::Locked => {
            let of = if context.dialect == Dialect::Postgres { of } else { "" };
            order() + context.dialect.for_update() + of
        }
        End::Limited => format!(" LIMIT {}", CANDIDATES_MAX + 1),
    }
}

/// What is read of the rows that refer.
fn referring(context: &Context<'_>, key: usize, shape: Shape) -> String {
    match (shape, context.schema.foreign_keys[key].child) {
        (Shape::Referring(_), Some(child)) => {
            let column = &context.schema.tables[child].key;
            context.dialect.text_of(&format!("c.{}", context.dialect.ident(&column.name)), column)
        }
        _ => context.dialect.counted().to_owned(),
    }
}

/// A selection of the rows that refer by this foreign key to those of `parents`.
fn joined(context: &Context<'_>, key: usize, parents: &str, selected: &str) -> String {
    let key = &context.schema.foreign_keys[key];
    let pairs: Vec<String> = key
        .columns
        .iter()
        .zip(&key.parent_columns)
        .map(|(column, parent)| format!("c.{} = p.{}", context.dialect.ident(column), context.dialect.ident(parent)))
        .collect();
    format!("SELECT {selected} FROM {} c JOIN {parents} p ON {}", key.child_sql, pairs.join(" AND "))
}
