//! The few shapes of statement that a warehouse's connector sends, executed strictly: names are quoted, values are bound, and
//! whatever else is in a statement refuses it. So a value that was spliced in is seen.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// How a warehouse writes names and casts.
#[derive(Clone, Copy)]
pub struct Dialect {
    /// Around names.
    pub quote: char,
    /// What a text is called in a cast.
    pub text_type: &'static str,
    /// `@p1` for values instead of `?`.
    pub is_named: bool,
}

/// Why a statement is refused.
pub enum Refusal {
    /// It cannot be read.
    Syntax(String),
    /// There is no such table.
    Table,
    /// There is no such column.
    Column,
}

/// What a statement is for.
pub enum Plan {
    /// These columns (all if none) of the rows that are meant.
    Select(Vec<String>),
    /// They go.
    Delete,
    /// These columns become these values.
    Update(Vec<(String, Value)>),
}

enum Atom {
    In { column: String, how: How, values: BTreeSet<String> },
    Row(Vec<(String, String)>),
}

#[derive(Clone, Copy)]
enum How {
    Plain,
    Lower,
    Tail,
}

/// Columns, rows, and how many were changed.
pub type Executed = (Vec<String>, Vec<Vec<Value>>, Option<u64>);

/// One statement that was read.
pub struct Statement {
    /// The table's name, parts joined by dots.
    pub table: String,
    /// What is done.
    pub plan: Plan,
    wanted: Vec<Atom>,
    named: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Name(String),
    Place(usize),
    Sign(char),
}

fn syntax(about: &str) -> Refusal {
    Refusal::Syntax(about.to_owned())
}

fn tokens(dialect: Dialect, text: &str) -> Result<Vec<Token>, Refusal> {
    let chars: Vec<char> = text.chars().collect();
    let (mut all, mut at, mut places) = (Vec::new(), 0, 0);
    while let Some(&c) = chars.get(at) {
        let run = |from: usize| {
            let end = chars[from..].iter().position(|c| !c.is_ascii_alphanumeric() && *c != '_');
            end.map_or(chars.len(), |end| from + end)
        };
        at = match c {
            ' ' => at + 1,
            c if c == dialect.quote => {
                let end = chars[at + 1..].iter().position(|c| *c == dialect.quote).ok_or_else(|| syntax("a quote"))?;
                let name: String = chars[at + 1..at + 1 + end].iter().collect();
                if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_$-".contains(c)) {
                    return Err(syntax("a name"));
                }
                all.push(Token::Name(name));
                at + end + 2
            }
            '?' if !dialect.is_named => {
                places += 1;
                all.push(Token::Place(places));
                at + 1
            }
            '@' if dialect.is_named => {
                let end = run(at + 1);
                let place: String = chars[at + 1..end].iter().collect();
                let number =
                    place.strip_prefix('p').and_then(|n| n.parse().ok()).ok_or_else(|| syntax("a parameter"))?;
                all.push(Token::Place(number));
                end
            }
            '(' | ')' | ',' | '=' | '*' | '.' => {
                all.push(Token::Sign(c));
                at + 1
            }
            c if c.is_ascii_alphanumeric() => {
                let end = run(at);
                all.push(Token::Word(chars[at..end].iter().collect()));
                end
            }
            other => return Err(syntax(&format!("unexpected {other}"))),
        };
    }
    Ok(all)
}

struct Reader<'v> {
    dialect: Dialect,
    tokens: std::collections::VecDeque<Token>,
    values: &'v [String],
    used: BTreeSet<usize>,
    named: BTreeSet<String>,
}

impl Reader<'_> {
    fn is(&mut self, token: &Token) -> bool {
        let is = self.tokens.front() == Some(token);
        if is {
            self.tokens.pop_front();
        }
        is
    }

    fn word(&mut self, word: &str) -> bool {
        self.is(&Token::Word(word.to_owned()))
    }

    fn sign(&mut self, sign: char) -> bool {
        self.is(&Token::Sign(sign))
    }

    fn must(&self, met: bool, what: &str) -> Result<(), Refusal> {
        if met { Ok(()) } else { Err(syntax(&format!("expected {what} near {:?}", self.tokens.front()))) }
    }

    fn words(&mut self, words: &str) -> Result<(), Refusal> {
        for word in words.split(' ') {
            let met = if word.chars().all(char::is_alphanumeric) {
                self.word(word)
            } else {
                self.sign(word.chars().next().unwrap_or(' '))
            };
            self.must(met, word)?;
        }
        Ok(())
    }

    fn name(&mut self) -> Result<String, Refusal> {
        match self.tokens.pop_front() {
            Some(Token::Name(name)) => Ok(name),
            _ => Err(syntax("expected a quoted name")),
        }
    }

    fn column(&mut self) -> Result<String, Refusal> {
        let name = self.name()?;
        self.named.insert(name.clone());
        Ok(name)
    }

    fn table(&mut self) -> Result<String, Refusal> {
        let mut table = self.name()?;
        while self.sign('.') {
            table = format!("{table}.{}", self.name()?);
        }
        Ok(table)
    }

    fn value(&mut self) -> Result<String, Refusal> {
        match self.tokens.pop_front() {
            Some(Token::Place(number)) => {
                self.used.insert(number);
                let value = number.checked_sub(1).and_then(|i| self.values.get(i));
                value.cloned().ok_or_else(|| syntax("a value is not bound"))
            }
            _ => Err(syntax("expected a bound value")),
        }
    }

    fn cast(&mut self) -> Result<String, Refusal> {
        self.words("CAST (")?;
        let column = self.column()?;
        let kind = self.dialect.text_type;
        self.words(&format!("AS {kind} )"))?;
        Ok(column)
    }

    fn within(&mut self, column: String, how: How) -> Result<Atom, Refusal> {
        self.words("IN (")?;
        let mut values = BTreeSet::from([self.value()?]);
        while self.sign(',') {
            values.insert(self.value()?);
        }
        self.words(")")?;
        Ok(Atom::In { column, how, values })
    }

    fn atom(&mut self) -> Result<Atom, Refusal> {
        if self.sign('(') {
            let mut parts = Vec::new();
            loop {
                let column = self.cast()?;
                self.words("=")?;
                parts.push((column, self.value()?));
                if !self.word("AND") {
                    break;
                }
            }
            self.words(")")?;
            return Ok(Atom::Row(parts));
        }
        if self.word("LOWER") {
            self.words("( TRIM (")?;
            let column = self.cast()?;
            self.words(") )")?;
            return self.within(column, How::Lower);
        }
        if self.word("RIGHT") {
            self.words("(")?;
            self.must(self.tokens.front() == Some(&Token::Word("REGEXP_REPLACE".into())), "REGEXP_REPLACE")?;
            self.tokens.pop_front();
            self.words("(")?;
            let column = self.cast()?;
            self.words(",")?;
            let pattern = self.value()?;
            self.words(",")?;
            let replaced = self.value()?;
            self.must(pattern == "[^0-9]" && replaced.is_empty(), "the digits")?;
            self.words(") , 6 )")?;
            return self.within(column, How::Tail);
        }
        let column = self.cast()?;
        self.within(column, How::Plain)
    }

    fn conditions(&mut self) -> Result<Vec<Atom>, Refusal> {
        self.words("WHERE")?;
        let mut all = vec![self.atom()?];
        while self.word("OR") {
            all.push(self.atom()?);
        }
        self.must(self.tokens.is_empty(), "the end")?;
        self.must(self.used.len() == self.values.len(), "a place for every value")?;
        Ok(all)
    }
}

/// Reads a statement with its bound values.
///
/// # Errors
/// It is not one of the shapes that are known.
pub fn read(dialect: Dialect, text: &str, values: &[String]) -> Result<Statement, Refusal> {
    let tokens = tokens(dialect, text)?.into();
    let mut reader = Reader { dialect, tokens, values, used: BTreeSet::new(), named: BTreeSet::new() };
    let (table, plan) = if reader.word("SELECT") {
        let mut columns = Vec::new();
        if !reader.sign('*') {
            columns.push(reader.column()?);
            while reader.sign(',') {
                columns.push(reader.column()?);
            }
        }
        reader.words("FROM")?;
        (reader.table()?, Plan::Select(columns))
    } else if reader.word("DELETE") {
        reader.words("FROM")?;
        (reader.table()?, Plan::Delete)
    } else {
        reader.words("UPDATE")?;
        let table = reader.table()?;
        reader.words("SET")?;
        let mut set = Vec::new();
        loop {
            let column = reader.column()?;
            reader.words("=")?;
            let value = if reader.word("NULL") { Value::Null } else { reader.value()?.into() };
            set.push((column, value));
            if !reader.sign(',') {
                break;
            }
        }
        (table, Plan::Update(set))
    };
    let wanted = reader.conditions()?;
    Ok(Statement { table, plan, wanted, named: reader.named })
}

fn plain(row: &Map<String, Value>, column: &str) -> Option<String> {
    row.get(column).filter(|value| !value.is_null()).map(super::asked::plain)
}

impl Statement {
    fn means(&self, row: &Map<String, Value>) -> bool {
        self.wanted.iter().any(|atom| match atom {
            Atom::Row(parts) => parts.iter().all(|(column, value)| plain(row, column).as_ref() == Some(value)),
            Atom::In { column, how, values } => plain(row, column).is_some_and(|held| {
                let held = match how {
                    How::Plain => held,
                    How::Lower => held.trim_matches(' ').to_lowercase(),
                    How::Tail => {
                        let digits = super::asked::digits(&held);
                        digits[digits.len().saturating_sub(6)..].to_owned()
                    }
                };
                values.contains(&held)
            }),
        })
    }

    /// Executes it on the rows of a table with these columns: what was read, and how many rows were changed.
    ///
    /// # Errors
    /// It names a column that is not there.
    pub fn execute(
        &self,
        columns: &[&str],
        rows: &mut BTreeMap<String, Map<String, Value>>,
    ) -> Result<Executed, Refusal> {
        if self.named.iter().any(|name| !columns.contains(&name.as_str())) {
            return Err(Refusal::Column);
        }
        let meant: Vec<String> = rows.iter().filter(|(_, row)| self.means(row)).map(|(id, _)| id.clone()).collect();
        let count = meant.len() as u64;
        match &self.plan {
            Plan::Select(named) => {
                let named: Vec<String> = if named.is_empty() {
                    columns.iter().map(|name| (*name).to_owned()).collect()
                } else {
                    named.clone()
                };
                let cell = |row: &Map<String, Value>, name: &String| plain(row, name).map_or(Value::Null, Value::from);
                let read = meant.iter().filter_map(|id| rows.get(id));
                let read = read.map(|row| named.iter().map(|name| cell(row, name)).collect()).collect();
                Ok((named, read, None))
            }
            Plan::Delete => {
                rows.retain(|id, _| !meant.contains(id));
                Ok((Vec::new(), Vec::new(), Some(count)))
            }
            Plan::Update(set) => {
                for (_, row) in rows.iter_mut().filter(|(id, _)| meant.contains(*id)) {
                    row.extend(set.iter().cloned());
                }
                Ok((Vec::new(), Vec::new(), Some(count)))
            }
        }
    }
}
