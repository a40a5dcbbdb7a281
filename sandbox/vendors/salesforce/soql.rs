//! A small but real SOQL: what it reads it reads as Salesforce does, so that a value that breaks out of its quotes widens the match.

use super::schema::{self, Object};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// A statement.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) fields: Vec<String>,
    pub(super) count: bool,
    pub(super) object: &'static Object,
    filter: Option<Condition>,
    order: Option<(String, bool)>,
    limit: Option<usize>,
}

#[derive(Debug)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare(String, String, Literal),
    Among(String, bool, BTreeSet<String>),
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Text(String),
    Pattern(Vec<Piece>),
    Number(f64),
    Truth(bool),
    Moment(String),
    Null,
}

/// A part of a LIKE pattern.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece {
    Any,
    One,
    Is(char),
}

/// Why a statement is refused: error code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub &'static str, pub String);

fn malformed(what: impl Into<String>) -> Refused {
    Refused("MALFORMED_QUERY", what.into())
}

#[derive(Debug, Clone, PartialEq)]
enum Lexeme {
    Word(String),
    /// The value, and the raw text between the quotes (LIKE reads escapes of its own).
    Text(String, String),
    Mark(String),
}

/// Every text literal of a statement, in order, as Salesforce would read it.
///
/// # Errors
/// The statement cannot be read.
pub fn literals(soql: &str) -> Result<Vec<String>, Refused> {
    Ok(lexemes(soql)?
        .into_iter()
        .filter_map(|lexeme| if let Lexeme::Text(value, _) = lexeme { Some(value) } else { None })
        .collect())
}

fn lexemes(soql: &str) -> Result<Vec<Lexeme>, Refused> {
    let mut found = Vec::new();
    let mut chars = soql.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
        } else if c == '\'' {
            chars.next();
            let (mut value, mut raw) = (String::new(), String::new());
            loop {
                match chars.next() {
                    None => return Err(malformed("unterminated string literal")),
                    Some('\'') => break,
                    Some('\\') => {
                        let escaped = chars.next().ok_or_else(|| malformed("unterminated string literal"))?;
                        raw.extend(['\\', escaped]);
                        match escaped {
                            'n' | 'N' => value.push('\n'),
                            'r' | 'R' => value.push('\r'),
                            't' | 'T' => value.push('\t'),
                            'b' | 'B' => value.push('\u{8}'),
                            'f' | 'F' => value.push('\u{c}'),
                            // Only LIKE knows the last two.
                            '"' | '\'' | '\\' | '_' | '%' => value.push(escaped),
                            other => return Err(malformed(format!("Illegal character sequence '\\{other}'"))),
                        }
                    }
                    Some(c) if c.is_control() => return Err(malformed("line breaks not allowed in string literals")),
                    Some(c) => {
                        value.push(c);
                        raw.push(c);
                    }
                }
            }
            found.push(Lexeme::Text(value, raw));
        } else if c.is_alphanumeric() || c == '_' || c == '-' || c == '+' {
            let mut word = String::new();
            while let Some(&c) = chars.peek().filter(|c| c.is_alphanumeric() || "_.:-+".contains(**c)) {
                word.push(c);
                chars.next();
            }
            found.push(Lexeme::Word(word));
        } else if "(),".contains(c) {
            chars.next();
            found.push(Lexeme::Mark(c.into()));
        } else if "=<>!".contains(c) {
            let mut mark = String::new();
            while let Some(&c) = chars.peek().filter(|c| "=<>!".contains(**c)) {
                mark.push(c);
                chars.next();
            }
            found.push(Lexeme::Mark(mark));
        } else {
            return Err(malformed(format!("unexpected token: '{c}'")));
        }
    }
    Ok(found)
}

struct Reader {
    rest: std::collections::VecDeque<Lexeme>,
}

impl Reader {
    fn is_word(&self, word: &str) -> bool {
        matches!(self.rest.front(), Some(Lexeme::Word(known)) if known.eq_ignore_ascii_case(word))
    }

    fn skip_word(&mut self, word: &str) -> bool {
        let here = self.is_word(word);
        if here {
            self.rest.pop_front();
        }
        here
    }

    fn skip_mark(&mut self, mark: &str) -> bool {
        let here = matches!(self.rest.front(), Some(Lexeme::Mark(known)) if known == mark);
        if here {
            self.rest.pop_front();
        }
        here
    }

    fn mark(&mut self, mark: &str) -> Result<(), Refused> {
        if self.skip_mark(mark) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn word(&mut self) -> Result<String, Refused> {
        match self.rest.pop_front() {
            Some(Lexeme::Word(word)) => Ok(word),
            other => Err(malformed(format!("unexpected token: {other:?}"))),
        }
    }

    fn unexpected(&self) -> Refused {
        malformed(format!("unexpected token: {:?}", self.rest.front()))
    }

    fn condition(&mut self, depth: usize) -> Result<Condition, Refused> {
        if depth > 40 {
            return Err(malformed("too deep"));
        }
        let first = self.term(depth)?;
        if self.is_word("and") {
            let mut all = vec![first];
            while self.skip_word("and") {
                all.push(self.term(depth)?);
            }
            // Salesforce wants brackets where both are used.
            return if self.is_word("or") { Err(self.unexpected()) } else { Ok(Condition::All(all)) };
        }
        if self.is_word("or") {
            let mut any = vec![first];
            while self.skip_word("or") {
                any.push(self.term(depth)?);
            }
            return if self.is_word("and") { Err(self.unexpected()) } else { Ok(Condition::Any(any)) };
        }
        Ok(first)
    }

    fn term(&mut self, depth: usize) -> Result<Condition, Refused> {
        if self.skip_word("not") {
            return Ok(Condition::Not(Box::new(self.term(depth + 1)?)));
        }
        if self.skip_mark("(") {
            let inner = self.condition(depth + 1)?;
            self.mark(")")?;
            return Ok(inner);
        }
        let field = self.word()?;
        let not = self.skip_word("not");
        if self.skip_word("in") {
            self.mark("(")?;
            let mut among = BTreeSet::new();
            loop {
                match self.rest.pop_front() {
                    Some(Lexeme::Text(value, _)) => among.insert(folded(&value)),
                    Some(Lexeme::Word(word)) if word.eq_ignore_ascii_case("null") => among.insert(String::new()),
                    other => return Err(malformed(format!("unexpected token: {other:?}"))),
                };
                if !self.skip_mark(",") {
                    break;
                }
            }
            self.mark(")")?;
            return Ok(Condition::Among(field, not, among));
        }
        if not {
            return Err(self.unexpected());
        }
        if self.skip_word("like") {
            return match self.rest.pop_front() {
                Some(Lexeme::Text(_, raw)) => {
                    Ok(Condition::Compare(field, "like".into(), Literal::Pattern(pattern(&raw))))
                }
                other => Err(malformed(format!("unexpected token: {other:?}"))),
            };
        }
        let operator = match self.rest.pop_front() {
            Some(Lexeme::Mark(mark)) if ["=", "!=", "<>", "<", ">", "<=", ">="].contains(&mark.as_str()) => mark,
            other => return Err(malformed(format!("unexpected token: {other:?}"))),
        };
        let literal = match self.rest.pop_front() {
            Some(Lexeme::Text(value, _)) => Literal::Text(value),
            Some(Lexeme::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "true" => Literal::Truth(true),
                "false" => Literal::Truth(false),
                "null" => Literal::Null,
                _ => match word.parse::<f64>() {
                    Ok(number) => Literal::Number(number),
                    Err(_) if word.starts_with(|c: char| c.is_ascii_digit()) => Literal::Moment(word),
                    Err(_) => return Err(malformed(format!("unexpected token: '{word}'"))),
                },
            },
            other => return Err(malformed(format!("unexpected token: {other:?}"))),
        };
        Ok(Condition::Compare(field, operator, literal))
    }
}

fn pattern(raw: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '%' => Piece::Any,
            '_' => Piece::One,
            '\\' => Piece::Is(chars.next().unwrap_or('\\')),
            c => Piece::Is(c.to_lowercase().next().unwrap_or(c)),
        });
    }
    pieces
}

fn is_like(pieces: &[Piece], text: &str) -> bool {
    let lower = |c: char| c.to_lowercase().next().unwrap_or(c);
    let (mut at, mut rest, mut again) = (0, text.chars(), None);
    loop {
        match pieces.get(at) {
            Some(Piece::Any) => {
                at += 1;
                again = Some((at, rest.clone()));
                continue;
            }
            Some(piece) => {
                let mut next = rest.clone();
                if next.next().is_some_and(|c| *piece == Piece::One || *piece == Piece::Is(lower(c))) {
                    (at, rest) = (at + 1, next);
                    continue;
                }
            }
            None if rest.as_str().is_empty() => return true,
            None => {}
        }
        // From the last "any" on, one character further.
        let Some((from, behind)) = &mut again else { return false };
        if behind.next().is_none() {
            return false;
        }
        (at, rest) = (*from, behind.clone());
    }
}

/// Salesforce compares texts without regard to case.
fn folded(text: &str) -> String {
    text.trim_end().to_lowercase()
}

impl Query {
    /// Reads a statement.
    pub(super) fn read(soql: &str) -> Result<Self, Refused> {
        if soql.len() > 100_000 {
            return Err(Refused(
                "QUERY_TOO_COMPLICATED",
                "SOQL statements cannot be longer than 100000 characters.".into(),
            ));
        }
        let mut reader = Reader { rest: lexemes(soql)?.into() };
        if !reader.skip_word("select") {
            return Err(reader.unexpected());
        }
        let (mut fields, mut count) = (Vec::new(), false);
        loop {
            let word = reader.word()?;
            if reader.skip_mark("(") {
                match (word.to_ascii_lowercase().as_str(), reader.rest.pop_front()) {
                    ("count", Some(Lexeme::Mark(mark))) if mark == ")" => count = true,
                    ("fields", Some(Lexeme::Word(all))) if all.eq_ignore_ascii_case("all") => {
                        fields.push("FIELDS(ALL)".to_owned());
                        reader.mark(")")?;
                    }
                    _ => return Err(reader.unexpected()),
                }
            } else {
                fields.push(word);
            }
            if !reader.skip_mark(",") {
                break;
            }
        }
        if !reader.skip_word("from") {
            return Err(reader.unexpected());
        }
        let from = reader.word()?;
        let object = schema::object(&from)
            .ok_or_else(|| Refused("INVALID_TYPE", format!("sObject type '{from}' is not supported.")))?;
        let filter = if reader.skip_word("where") { Some(reader.condition(0)?) } else { None };
        let mut order = None;
        if reader.skip_word("order") {
            if !reader.skip_word("by") {
                return Err(reader.unexpected());
            }
            let field = reader.word()?;
            let down = reader.skip_word("desc");
            reader.skip_word("asc");
            order = Some((field, down));
        }
        let mut limit = None;
        if reader.skip_word("limit") {
            limit = Some(reader.word()?.parse::<usize>().map_err(|_| malformed("LIMIT wants a number"))?);
        }
        if !reader.rest.is_empty() {
            return Err(reader.unexpected());
        }
        if fields.iter().any(|field| field == "FIELDS(ALL)") {
            if limit.is_none_or(|limit| limit > 200) {
                return Err(malformed("The SOQL FIELDS function must have a LIMIT of at most 200"));
            }
            fields = object.fields().map(|field| field.name.to_owned()).collect();
        }
        for field in &mut fields {
            field.clone_from(&known(object, field)?);
        }
        if let Some((field, _)) = &mut order {
            *field = known(object, field)?;
        }
        let mut query = Self { fields, count, object, filter, order, limit };
        if let Some(filter) = &mut query.filter {
            resolve(object, filter)?;
        }
        Ok(query)
    }

    /// The records that match, in order, of those of its object.
    pub(super) fn run<'r>(&self, records: impl Iterator<Item = &'r Map<String, Value>>) -> Vec<Map<String, Value>> {
        let filter = self.filter.as_ref();
        let mut found: Vec<_> =
            records.filter(|record| filter.is_none_or(|filter| filter.holds(record))).cloned().collect();
        if let Some((field, down)) = &self.order {
            found.sort_by(|a, b| {
                let order = text_of(a.get(field)).cmp(&text_of(b.get(field)));
                if *down { order.reverse() } else { order }
            });
        }
        found.truncate(self.limit.unwrap_or(usize::MAX));
        found
    }

    /// A record as the answer shows it.
    pub(super) fn shown(&self, record: &Map<String, Value>, version: &str) -> Value {
        super::data::shown(self.object, record, &self.fields, version)
    }
}

fn known(object: &Object, name: &str) -> Result<String, Refused> {
    object.field(name).map(|field| field.name.to_owned()).ok_or_else(|| {
        Refused(
            "INVALID_FIELD",
            format!("No such column '{name}' on entity '{}'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name.", object.name),
        )
    })
}

fn resolve(object: &Object, condition: &mut Condition) -> Result<(), Refused> {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter_mut().try_for_each(|part| resolve(object, part)),
        Condition::Not(part) => resolve(object, part),
        Condition::Compare(field, _, _) | Condition::Among(field, _, _) => {
            *field = known(object, field)?;
            let kind = object.field(field).map_or("", |field| field.kind);
            if kind == "textarea" || kind == "address" {
                return Err(Refused("INVALID_FIELD", format!("field '{field}' can not be filtered in a query call")));
            }
            if let Condition::Among(_, _, among) = condition
                && matches!(kind, "id" | "reference")
            {
                // The index of ids is not a text: the case of 15 characters counts.
                let bad = among.iter().find(|id| !id.is_empty() && !matches!(id.len(), 15 | 18));
                if let Some(bad) = bad {
                    return Err(Refused("INVALID_QUERY_FILTER_OPERATOR", format!("invalid ID field: {bad}")));
                }
            }
            Ok(())
        }
    }
}

fn text_of(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => folded(text),
        Some(other) => other.to_string(),
    }
}

impl Condition {
    fn holds(&self, record: &Map<String, Value>) -> bool {
        match self {
            Condition::All(parts) => parts.iter().all(|part| part.holds(record)),
            Condition::Any(parts) => parts.iter().any(|part| part.holds(record)),
            Condition::Not(part) => !part.holds(record),
            Condition::Among(field, not, among) => among.contains(&text_of(record.get(field))) != *not,
            Condition::Compare(field, operator, literal) => {
                let stored = record.get(field).unwrap_or(&Value::Null);
                let order = match literal {
                    Literal::Pattern(pieces) => return stored.as_str().is_some_and(|text| is_like(pieces, text)),
                    Literal::Null => return stored.is_null() == (operator == "="),
                    Literal::Text(text) | Literal::Moment(text) => Some(text_of(Some(stored)).cmp(&folded(text))),
                    Literal::Number(number) => stored.as_f64().and_then(|stored| stored.partial_cmp(number)),
                    Literal::Truth(truth) => Some(stored.as_bool().unwrap_or(false).cmp(truth)),
                };
                let unequal = matches!(operator.as_str(), "!=" | "<>");
                let Some(order) =
                    order.filter(|_| !stored.is_null() || unequal || matches!(literal, Literal::Truth(_)))
                else {
                    return unequal;
                };
                match operator.as_str() {
                    "=" => order == Ordering::Equal,
                    "<" => order == Ordering::Less,
                    ">" => order == Ordering::Greater,
                    "<=" => order != Ordering::Greater,
                    ">=" => order != Ordering::Less,
                    _ => order != Ordering::Equal,
                }
            }
        }
    }
}
