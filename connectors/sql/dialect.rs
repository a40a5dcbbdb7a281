//! A dialect is how one kind of database spells a name, a bound value, a comparison; everything else is shared.
//!
//! Values never become part of a statement: they are bound as text (or as a number or bytes where the database would
//! otherwise lose an index) and cast to the column's own type. Every value is read back as text for the same reason:
//! one engine can then compare what three databases answered.

use super::values;
use std::fmt::Write as _;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
}

/// What a column holds, as far as reading, comparing and writing differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A signed whole number.
    Int,
    /// An unsigned whole number.
    Uint,
    /// An exact number, kept as text.
    Decimal,
    /// A floating point number.
    Float,
    /// Yes or no.
    Bool,
    /// Text of any length.
    Text,
    /// A UUID type of its own.
    Uuid,
    /// A JSON document.
    Json,
    /// A date with time, without zone.
    DateTime,
    /// An instant.
    Instant,
    /// Bytes.
    Binary,
    /// MySQL's bit field.
    Bit,
    /// Anything else: read, compared and exported as text.
    Other,
}

/// One column as the database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name as the database spells it.
    pub(super) name: String,
    /// What it holds.
    pub(super) kind: Kind,
    /// The type in the database's words, for casts.
    pub(super) sql_type: String,
    /// Whether it may be NULL.
    pub(super) nullable: bool,
    /// The most characters it takes, where limited.
    pub(super) max_chars: Option<u64>,
    /// Whether the database compares it without regard to case.
    pub(super) folds_case: bool,
    /// Whether it can hold no more than part of Unicode: MySQL refuses to compare such a column with other letters.
    pub(super) narrow: bool,
    /// Character set and collation, where a text that is not bound has to be given the same (MySQL).
    pub(super) collation: Option<(String, String)>,
}

/// One bound value. It has no `Debug`: it may be personal.
pub(super) enum Param {
    /// Text.
    Text(String),
    /// A signed number.
    Int(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An array of texts; only PostgreSQL has such.
    Texts(Vec<String>),
}

/// The bound values of one statement, in order.
pub(super) struct Params {
    dialect: Dialect,
    pub(super) values: Vec<Param>,
}

impl Params {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, values: Vec::new() }
    }

    /// Binds a value and gives its placeholder.
    pub(super) fn push(&mut self, value: Param) -> String {
        self.values.push(value);
        match self.dialect {
            Dialect::Postgres => format!("${}", self.values.len()),
            Dialect::Mysql | Dialect::Sqlite => "?".to_owned(),
        }
    }

    /// Binds a text and gives its placeholder.
    pub(super) fn text(&mut self, value: &str) -> String {
        self.push(Param::Text(value.to_owned()))
    }
}

/// White space other than a blank that may surround a stored value, for SQLite's nested `replace`.
const SPACES: &[u32] = &[
    9, 10, 11, 12, 13, 32, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
    0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
];

impl Dialect {
    /// The name in quotes.
    pub(super) fn ident(self, name: &str) -> String {
        match self {
            Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            // Not double quotes in SQLite: in those, the name of a column that is gone becomes a text, and is found nowhere.
            Dialect::Mysql | Dialect::Sqlite => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// A table's name in quotes, `schema.name` part by part.
    pub(super) fn table(self, name: &str) -> String {
        name.split('.').map(|part| self.ident(part)).collect::<Vec<_>>().join(".")
    }

    /// Whether two names mean the same column.
    pub(super) fn same_name(self, a: &str, b: &str) -> bool {
        match self {
            Dialect::Postgres => a == b,
            Dialect::Mysql | Dialect::Sqlite => a.eq_ignore_ascii_case(b),
        }
    }

    /// What a locking read ends with.
    pub(super) const fn for_update(self) -> &'static str {
        match self {
            Dialect::Postgres | Dialect::Mysql => " FOR UPDATE",
            Dialect::Sqlite => "",
        }
    }

    /// The number of rows as text.
    pub(super) const fn counted(self) -> &'static str {
        match self {
            Dialect::Postgres => "count(*)::text",
            Dialect::Mysql => "CAST(count(*) AS CHAR)",
            Dialect::Sqlite => "CAST(count(*) AS TEXT)",
        }
    }

    /// The column as text; bytes as hexadecimal digits.
    pub(super) fn as_text(self, column: &Column) -> String {
        self.text_of(&self.ident(&column.name), column)
    }

    /// As [`Dialect::as_text`], under a qualified name.
    pub(super) fn text_of(self, name: &str, column: &Column) -> String {
        match (self, column.kind) {
            (Dialect::Postgres, Kind::Binary) => format!("encode({name}, 'hex')"),
            (Dialect::Postgres, _) => format!("{name}::text"),
            (Dialect::Mysql, Kind::Binary) => format!("LOWER(HEX({name}))"),
            (Dialect::Mysql, Kind::Bit) => format!("CAST(CAST({name} AS UNSIGNED) AS CHAR)"),
            (Dialect::Mysql, Kind::Text) => format!("CONVERT({name} USING utf8mb4)"),
            (Dialect::Mysql, Kind::Other) if is_spatial(&column.sql_type) => format!("ST_AsText({name})"),
            (Dialect::Mysql, _) => format!("CAST({name} AS CHAR)"),
            (Dialect::Sqlite, Kind::Binary | Kind::Other) => {
                format!("CASE typeof({name}) WHEN 'blob' THEN lower(hex({name})) ELSE CAST({name} AS TEXT) END")
            }
            (Dialect::Sqlite, _) => format!("CAST({name} AS TEXT)"),
        }
    }

    /// A condition that holds where the column equals one of the values, in a form that can use the column's index.
    /// `None` if none of them can be a value of the column's type.
    ///
    /// Its text depends on the number of values as little as possible, so that prepared statements are used again.
    pub(super) fn equals_any(self, column: &Column, candidates: &[&str], params: &mut Params) -> Option<String> {
        let beyond = column.narrow && candidates.iter().any(|value| !value.is_ascii());
        let left = if beyond {
            // Exactly: the collation that a conversion brings along equates keys that the column's own keeps apart.
            format!("{} COLLATE utf8mb4_bin", self.as_text(column))
        } else {
            self.compared(column)
        };
        let mut values: Vec<String> = candidates.iter().filter_map(|value| self.fit(column, value)).collect();
        if values.is_empty() {
            return None;
        }
        if self == Dialect::Postgres {
            let mark = params.push(Param::Texts(values));
            return Some(match Self::element(column) {
                Element::Type(name) => format!("{left} = ANY({mark}::text[]::{name}[])"),
                Element::Hex => format!("{left} IN (SELECT decode(value, 'hex') FROM unnest({mark}::text[]) AS value)"),
            });
        }
        pad(&mut values);
        let marks: Vec<String> = values.into_iter().map(|value| self.item(column, value, params)).collect();
        Some(format!("{left} IN ({})", marks.join(", ")))
    }

    /// The column's side of a comparison.
    fn compared(self, column: &Column) -> String {
        let plain = match (self, column.kind) {
            (Dialect::Postgres, Kind::Text) => {
                column.folds_case || column.sql_type == "text" || column.sql_type.starts_with("character")
            }
            (Dialect::Postgres, Kind::Int | Kind::Decimal | Kind::Uuid | Kind::Binary)
            | (
                Dialect::Mysql,
                Kind::Int | Kind::Bool | Kind::Uint | Kind::Decimal | Kind::Uuid | Kind::Binary | Kind::Text,
            )
            | (Dialect::Sqlite, Kind::Text | Kind::Int | Kind::Decimal | Kind::Float | Kind::Bool) => true,
            _ => false,
        };
        if plain { self.ident(&column.name) } else { self.as_text(column) }
    }

    /// The value in the form in which it is bound; `None` if the column's type has no such value.
    pub(super) fn fit(self, column: &Column, value: &str) -> Option<String> {
        match (self, column.kind) {
            (Dialect::Postgres, Kind::Int) | (Dialect::Mysql, Kind::Int | Kind::Bool) => {
                values::whole::<i64>(value).map(|number| number.to_string())
            }
            (Dialect::Mysql, Kind::Uint) => values::whole::<u64>(value).map(|number| number.to_string()),
            (Dialect::Postgres | Dialect::Mysql, Kind::Decimal) => values::is_decimal(value).then(|| value.to_owned()),
            (Dialect::Postgres | Dialect::Mysql, Kind::Uuid) => values::uuid(value),
            (Dialect::Mysql, Kind::Binary) => values::from_hex(value).map(|_| value.to_owned()),
            _ => Some(value.to_owned()),
        }
    }

    /// What PostgreSQL casts an array of texts to.
    fn element(column: &Column) -> Element {
        Element::Type(match column.kind {
            Kind::Int => "int8".to_owned(),
            Kind::Decimal => "numeric".to_owned(),
            Kind::Uuid => "uuid".to_owned(),
            Kind::Binary => return Element::Hex,
            Kind::Text if column.sql_type == "text" || column.sql_type.starts_with("character varying") => {
                "text".to_owned()
            }
            Kind::Text if column.sql_type.starts_with("character") => "bpchar".to_owned(),
            Kind::Text if column.folds_case => column.sql_type.clone(),
            _ => "text".to_owned(),
        })
    }

    /// One bound value of a list. Not for PostgreSQL, which has arrays.
    fn item(self, column: &Column, value: String, params: &mut Params) -> String {
        match (self, column.kind) {
            (Dialect::Mysql, Kind::Int | Kind::Bool) => match value.parse() {
                Ok(number) => params.push(Param::Int(number)),
                Err(_) => params.text(&value),
            },
            (Dialect::Mysql, Kind::Uint) => format!("CAST({} AS UNSIGNED)", params.text(&value)),
            (Dialect::Mysql, Kind::Decimal) => format!("CAST({} AS DECIMAL(65,20))", params.text(&value)),
            (Dialect::Mysql, Kind::Binary) => match values::from_hex(&value) {
                Some(bytes) => params.push(Param::Bytes(bytes)),
                None => params.text(&value),
            },
            _ => params.push(Param::Text(value)),
        }
    }

    /// The values as a table with the columns `redress_n` (as [`Dialect::nth`] counts) and `redress_v`, whatever their
    /// number one bound value.
    pub(super) fn listed(self, values: &[&str], params: &mut Params) -> String {
        let mark = match self {
            Dialect::Postgres => params.push(Param::Texts(values.iter().map(|&value| value.to_owned()).collect())),
            Dialect::Mysql | Dialect::Sqlite => params.push(Param::Text(serde_json::json!(values).to_string())),
        };
        match self {
            Dialect::Postgres => format!("unnest({mark}::text[]) WITH ORDINALITY AS v(redress_v, redress_n)"),
            Dialect::Mysql => format!(
                "JSON_TABLE({mark}, '$[*]' COLUMNS (redress_n FOR ORDINALITY, \
                 redress_v VARCHAR({LISTED_CHARS}) CHARACTER SET utf8mb4 PATH '$')) v"
            ),
            Dialect::Sqlite => format!("(SELECT key AS redress_n, value AS redress_v FROM json_each({mark})) v"),
        }
    }

    /// The place of a listed value, as text.
    pub(super) const fn nth(self) -> &'static str {
        match self {
            Dialect::Postgres => "redress_n::text",
            Dialect::Mysql => "CAST(redress_n AS CHAR)",
            Dialect::Sqlite => "CAST(redress_n AS TEXT)",
        }
    }

    /// What the first listed value's place is.
    pub(super) const fn first_place(self) -> usize {
        match self {
            Dialect::Postgres | Dialect::Mysql => 1,
            Dialect::Sqlite => 0,
        }
    }

    /// How listed values and the rows that hold them are joined, such that the rows are looked up and not the values.
    pub(super) const fn join_listed(self) -> &'static str {
        match self {
            Dialect::Postgres => "JOIN",
            Dialect::Mysql => "STRAIGHT_JOIN",
            Dialect::Sqlite => "CROSS JOIN",
        }
    }

    /// The condition of [`Dialect::equals_any`] for the listed value `redress_v`, if it can be put such that it holds
    /// for just the same rows.
    pub(super) fn equals_listed(self, column: &Column, values: &[&str]) -> Option<String> {
        let left = self.compared(column);
        let value = match (self, column.kind) {
            (Dialect::Sqlite, _) => "redress_v".to_owned(),
            (Dialect::Postgres, _) => match Self::element(column) {
                Element::Type(name) => format!("redress_v::{name}"),
                Element::Hex => "decode(redress_v, 'hex')".to_owned(),
            },
            (Dialect::Mysql, _) if values.iter().any(|value| value.chars().count() > LISTED_CHARS) => return None,
            (Dialect::Mysql, Kind::Int | Kind::Bool) => "CAST(redress_v AS SIGNED)".to_owned(),
            (Dialect::Mysql, Kind::Uint) => "CAST(redress_v AS UNSIGNED)".to_owned(),
            (Dialect::Mysql, Kind::Binary) => "UNHEX(redress_v)".to_owned(),
            (Dialect::Mysql, Kind::Text) if !column.narrow || values.iter().all(|value| value.is_ascii()) => {
                let (charset, collation) = column.collation.as_ref()?;
                format!("CONVERT(redress_v USING {charset}) COLLATE {collation}")
            }
            (Dialect::Mysql, _) => return None,
        };
        Some(format!("{left} = {value}"))
    }

    /// A condition that every row meets that holds one of many addresses in whatever spelling: `spellings` are those in
    /// plain ASCII and lower case; what is spelled otherwise meets it whosever it is.
    pub(super) fn like_listed_addresses(self, column: &Column, spellings: Vec<String>, params: &mut Params) -> String {
        let text = self.searchable(column);
        match self {
            Dialect::Postgres => {
                let mark = params.push(Param::Texts(spellings));
                // One pattern for white space, control characters and all beyond ASCII. A subquery, as that is hashed
                // whatever plan the server makes.
                format!(
                    "(lower({text} COLLATE \"C\") IN (SELECT unnest({mark}::text[])) OR {text} COLLATE \"C\" ~ '[^!-~]')"
                )
            }
            Dialect::Sqlite => {
                let mark = params.push(Param::Text(serde_json::json!(spellings).to_string()));
                format!("(lower({text}) IN (SELECT value FROM json_each({mark})) OR {})", self.irregular(column))
            }
            Dialect::Mysql => {
                let mut spellings = spellings;
                pad(&mut spellings);
                format!("({} OR {})", self.like_addresses(column, &spellings, params), self.irregular(column))
            }
        }
    }

    /// A condition that every row meets whose number ends in one of these digits, all of one length.
    pub(super) fn end_in_listed_digits(self, column: &Column, tails: Vec<String>, params: &mut Params) -> String {
        let text = self.searchable(column);
        let length = tails.first().map_or(0, String::len);
        match self {
            Dialect::Postgres => {
                let mark = params.push(Param::Texts(tails));
                // Dropping what is left when the digits are dropped: several times cheaper than a pattern.
                format!(
                    "right(translate({text}, translate({text}, '0123456789', ''), ''), {length}) IN (SELECT unnest({mark}::text[]))"
                )
            }
            Dialect::Sqlite => {
                let mark = params.push(Param::Text(serde_json::json!(tails).to_string()));
                format!("substr({}, -{length}) IN (SELECT value FROM json_each({mark}))", only_digits(&text))
            }
            Dialect::Mysql => {
                let mut tails = tails;
                pad(&mut tails);
                let marks: Vec<String> = tails.iter().map(|tail| params.text(tail)).collect();
                format!("right(regexp_replace({text}, '[^0-9]', ''), {length}) IN ({})", marks.join(", "))
            }
        }
    }

    /// The value as an expression that can be assigned to the column; `None` if the column cannot take it.
    pub(super) fn assignable(self, column: &Column, value: &str, params: &mut Params) -> Option<String> {
        if column.max_chars.is_some_and(|max| value.chars().count() as u64 > max) {
            return None;
        }
        match column.kind {
            Kind::Int | Kind::Bit if values::whole::<i64>(value).is_none() => return None,
            Kind::Uint if values::whole::<u64>(value).is_none() => return None,
            Kind::Decimal if !values::is_decimal(value) => return None,
            Kind::Float if value.trim().parse::<f64>().is_err() => return None,
            Kind::Uuid if values::uuid(value).is_none() => return None,
            Kind::Json if serde_json::from_str::<serde::de::IgnoredAny>(value).is_err() => return None,
            Kind::Bool => {
                let yes = values::truth(value)?;
                return Some(match self {
                    Dialect::Postgres => if yes { "true" } else { "false" }.to_owned(),
                    Dialect::Mysql | Dialect::Sqlite => if yes { "1" } else { "0" }.to_owned(),
                });
            }
            _ => {}
        }
        let value = if matches!(column.kind, Kind::Text | Kind::Json | Kind::Other) { value } else { value.trim() };
        Some(match (self, column.kind) {
            (Dialect::Postgres, Kind::Text) | (Dialect::Sqlite, _) => params.text(value),
            (Dialect::Postgres, Kind::Binary) => format!("convert_to({}, 'UTF8')", params.text(value)),
            (Dialect::Postgres, _) => format!("{}::text::{}", params.text(value), column.sql_type),
            (Dialect::Mysql, Kind::Int | Kind::Bit) => params.push(Param::Int(values::whole(value)?)),
            (Dialect::Mysql, Kind::Binary) => params.push(Param::Bytes(value.as_bytes().to_vec())),
            (Dialect::Mysql, _) => params.text(value),
        })
    }

    /// A condition that holds where the column does not hold exactly this value, NULL included.
    pub(super) fn differs(self, column: &Column, value: &str, params: &mut Params) -> Option<String> {
        let name = self.ident(&column.name);
        let wanted = self.assignable(column, value, params)?;
        Some(match (self, column.kind) {
            (Dialect::Postgres, Kind::Binary) => format!("{name} IS DISTINCT FROM {wanted}"),
            (Dialect::Postgres, Kind::Text) => {
                format!("{name}::text COLLATE \"C\" IS DISTINCT FROM {wanted}::text COLLATE \"C\"")
            }
            (Dialect::Postgres, _) => format!("{name}::text IS DISTINCT FROM ({wanted})::text"),
            (Dialect::Mysql, Kind::Text | Kind::Json) => format!(
                "NOT (CAST(CONVERT({name} USING utf8mb4) AS BINARY) <=> CAST(CONVERT({wanted} USING utf8mb4) AS BINARY))"
            ),
            (Dialect::Mysql, _) => format!("NOT ({name} <=> {wanted})"),
            (Dialect::Sqlite, _) => format!("{name} COLLATE BINARY IS NOT {wanted}"),
        })
    }

    /// The column as text to search in, spelled so that an index on `lower(column)` is usable.
    fn searchable(self, column: &Column) -> String {
        let plain = match self {
            Dialect::Postgres => column.sql_type == "text" || column.sql_type.starts_with("character varying"),
            Dialect::Mysql => column.kind == Kind::Text,
            Dialect::Sqlite => false,
        };
        match (self, column.kind) {
            _ if plain => self.ident(&column.name),
            (Dialect::Postgres, Kind::Binary) => format!("convert_from({}, 'UTF8')", self.ident(&column.name)),
            (Dialect::Mysql, Kind::Binary) => format!("CONVERT({} USING utf8mb4)", self.ident(&column.name)),
            (Dialect::Sqlite, Kind::Text) => self.ident(&column.name),
            (Dialect::Sqlite, _) => format!("CAST({} AS TEXT)", self.ident(&column.name)),
            _ => self.as_text(column),
        }
    }

    /// A condition that every row holding one of these (lower-case) addresses meets, provided that the column holds
    /// nothing [`Dialect::irregular`]. Others may meet it too.
    pub(super) fn like_addresses(self, column: &Column, spellings: &[String], params: &mut Params) -> String {
        let text = if column.narrow && spellings.iter().any(|spelling| !spelling.is_ascii()) {
            self.as_text(column)
        } else {
            self.searchable(column)
        };
        let marks: Vec<String> = spellings.iter().map(|s| params.text(s)).collect();
        let left = if self == Dialect::Mysql && column.folds_case { text } else { format!("lower({text})") };
        format!("{left} IN ({})", marks.join(", "))
    }

    /// A condition that every row meets that holds one of these (lower-case) addresses in whatever spelling: white
    /// space around it, or letters outside ASCII, whose case not every database knows.
    pub(super) fn like_addresses_anywhere(self, column: &Column, spellings: &[String], params: &mut Params) -> String {
        let text = match self {
            _ if column.narrow => self.as_text(column),
            // Plain code points: a collation that equates different texts knows neither positions nor patterns.
            Dialect::Postgres => format!("{} COLLATE \"C\"", self.searchable(column)),
            _ => self.searchable(column),
        };
        let mut condition = self.beyond_ascii(column);
        for spelling in spellings {
            let mark = params.text(spelling);
            let _ = match self {
                Dialect::Postgres => write!(condition, " OR strpos(lower({text}), {mark}) > 0"),
                Dialect::Mysql => write!(condition, " OR locate({mark}, lower({text})) > 0"),
                Dialect::Sqlite => write!(condition, " OR instr(lower({text}), {mark}) > 0"),
            };
        }
        format!("({condition})")
    }

    /// A condition that holds where the column has white space or letters outside ASCII.
    pub(super) fn irregular(self, column: &Column) -> String {
        let text = self.searchable(column);
        let space = match self {
            Dialect::Postgres => format!("{text} COLLATE \"C\" ~ '[[:space:]]'"),
            Dialect::Mysql => format!("{text} REGEXP '[[:space:]]'"),
            Dialect::Sqlite => format!("{text} GLOB '*[^!-~]*'"),
        };
        format!("({space} OR {})", self.beyond_ascii(column))
    }

    fn beyond_ascii(self, column: &Column) -> String {
        let text = self.searchable(column);
        match self {
            Dialect::Postgres => format!("{text} COLLATE \"C\" ~ '[^\\x01-\\x7f]'"),
            Dialect::Mysql => format!("length(CONVERT({text} USING utf8mb4)) <> char_length({text})"),
            Dialect::Sqlite => format!("{text} GLOB '*[^' || char(1) || '-' || char(127) || ']*'"),
        }
    }

    /// A condition that every row meets whose number ends in these digits once everything but digits is dropped.
    pub(super) fn ends_in_digits(self, column: &Column, tail: &str, params: &mut Params) -> String {
        let text = self.searchable(column);
        // The digits in this order with anything in between: true of every hit and far cheaper than dropping the rest.
        let any = if self == Dialect::Sqlite { "*" } else { "%" };
        let pattern: String =
            tail.chars().flat_map(|digit| [any.to_owned(), digit.to_string()]).chain([any.to_owned()]).collect();
        let pattern = params.text(&pattern);
        let mark = params.text(tail);
        match self {
            Dialect::Postgres => format!(
                "{text} COLLATE \"C\" LIKE {pattern} AND right(regexp_replace({text}, '[^0-9]', '', 'g'), {}) = {mark}",
                tail.len()
            ),
            Dialect::Mysql => format!(
                "{text} LIKE {pattern} AND right(regexp_replace({text}, '[^0-9]', ''), {}) = {mark}",
                tail.len()
            ),
            Dialect::Sqlite => {
                format!("{text} GLOB {pattern} AND substr({}, -{}) = {mark}", only_digits(&text), tail.len())
            }
        }
    }
}

/// What PostgreSQL makes of the texts of an array.
enum Element {
    /// A value of this type.
    Type(String),
    /// Bytes.
    Hex,
}

/// The most characters of a listed value (MySQL).
const LISTED_CHARS: usize = 500;

/// Repeats the last until there are a power of two, so that lists of many lengths make few statements.
fn pad(values: &mut Vec<String>) {
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
}

/// The text without what may stand between digits, for SQLite.
fn only_digits(text: &str) -> String {
    let separators = "+-()./".bytes().map(u32::from);
    separators
        .chain(SPACES.iter().copied())
        .fold(text.to_owned(), |text, code| format!("replace({text}, char({code}), '')"))
}

fn is_spatial(sql_type: &str) -> bool {
    let t = sql_type.to_ascii_lowercase();
    ["geometry", "point", "linestring", "polygon"].iter().any(|name| t.contains(name))
}
