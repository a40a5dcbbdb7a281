//! A template is a text with typed holes: `${path|filter|filter}`. It is taken apart once, when the manifest is read, and
//! filled value by value; no text from a subject or a record is ever read as a template, a query or JSON again.
//!
//! A path names a value of the [`Scope`]: `subject.email`, `record.key`, `inputs.region`. Parts are parted by dots; a part
//! with a dot of its own is put in quotes: `record."@odata.etag"`. `$${` stands for `${` as it is.

pub use super::body::JsonTemplate;
pub use super::scope::Scope;

use super::escape::{Escaper, breaks_lines};
use md5::{Digest as _, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;

/// What is done to a value before it is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// As one literal of a query language; the last filter of a hole.
    Escape(Escaper),
    /// MD5 of the lower-cased text, in hex (Mailchimp's member ids).
    Md5Lower,
    /// SHA-256 of the lower-cased text, in hex.
    Sha256Lower,
    /// Lower case.
    Lower,
    /// The digits of a phone number in E.164 form, without the `+`.
    E164Digits,
    /// A text of digits as a number.
    Int,
    /// A number as a text.
    Text,
    /// A GUID (8-4-4-4-12 hex digits), which query languages take without quotes; anything else is refused.
    Guid,
}

impl Filter {
    /// Names of all filters, for messages.
    pub fn names() -> Vec<&'static str> {
        let plain = ["md5_lower", "sha256_lower", "lower", "e164_digits", "int", "string", "guid"];
        Escaper::ALL.iter().map(|escaper| escaper.name()).chain(plain).collect()
    }

    /// The filter of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "md5_lower" => Self::Md5Lower,
            "sha256_lower" => Self::Sha256Lower,
            "lower" => Self::Lower,
            "e164_digits" => Self::E164Digits,
            "int" => Self::Int,
            "string" => Self::Text,
            "guid" => Self::Guid,
            other => Self::Escape(Escaper::named(other)?),
        })
    }
}

/// A hole in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// The parts of its path.
    pub path: Vec<String>,
    /// Its filters, in order.
    pub filters: Vec<Filter>,
}

impl Placeholder {
    /// Its escaper, if it names one.
    pub fn escaper(&self) -> Option<Escaper> {
        match self.filters.last() {
            Some(Filter::Escape(escaper)) => Some(*escaper),
            _ => None,
        }
    }

    /// Its path as it is written, for messages. Paths are the manifest's own words and hold nothing of a person.
    pub fn name(&self) -> String {
        self.path.join(".")
    }
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// `${` without `}`.
    #[error("a placeholder is not closed: write ${{path}} or ${{path|filter}}, and $${{ for a plain ${{")]
    Unclosed,
    /// `${}` or an empty part.
    #[error("the placeholder ${{{0}}} has an empty part")]
    Empty(String),
    /// No such filter.
    #[error("there is no filter {name:?}{}; filters are {}", nearest(.name, &Filter::names()), Filter::names().join(", "))]
    UnknownFilter {
        /// As it was written.
        name: String,
    },
    /// Something would change what the escaper wrote.
    #[error("{0:?} must be the last filter of its placeholder")]
    EscaperNotLast(&'static str),
    /// The escaper writes the quotes.
    #[error("{0:?} writes the quotes itself; remove those around the placeholder")]
    Quoted(&'static str),
    /// Not JSON.
    #[error("is not JSON ({0}); a placeholder stands in quotes there: {{\"id\": \"${{record.key}}\"}}")]
    NotJson(String),
    /// Keys are the vendor's, not a person's.
    #[error("the key {0:?} holds a placeholder; only values may")]
    KeyWithHole(String),
}

/// " (did you mean …?)" if one of the known words is near.
pub(super) fn nearest(word: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(far, candidate)| *far <= 1 + candidate.len() / 4)
        .min()
        .map_or_else(String::new, |(_, candidate)| format!(" (did you mean {candidate:?}?)"))
}

/// Levenshtein's.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(a != *b)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[other.len()]
}

/// Why a template could not be filled. Names the placeholder and the reason, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderFault {
    /// Nothing has this name here.
    #[error("{0} is not there")]
    Missing(String),
    /// A list or an object where a text is needed, or a text where a number is.
    #[error("{0} is not of the type that is needed here")]
    WrongType(String),
    /// The value cannot be sent so that it means exactly itself; it must not be sent at all.
    #[error("{path} cannot be sent: {why}")]
    Unsendable {
        /// The placeholder.
        path: String,
        /// The reason, without the value.
        why: &'static str,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Placeholder),
}

/// A text with holes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Takes a text apart.
    ///
    /// # Errors
    /// A placeholder that is not closed, has an unknown filter, or quotes around an escaper that writes its own.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                plain.push_str(before);
                plain.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            plain.push_str(&rest[..at]);
            let hole = &rest[at + 2..];
            let end = hole.find('}').ok_or(TemplateFault::Unclosed)?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Hole(placeholder(&hole[..end])?));
            rest = &hole[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        let template = Self { parts };
        template.no_quotes_twice()?;
        Ok(template)
    }

    fn no_quotes_twice(&self) -> Result<(), TemplateFault> {
        const QUOTES: [char; 3] = ['\'', '"', '`'];
        for (i, part) in self.parts.iter().enumerate() {
            let Part::Hole(hole) = part else { continue };
            let Some(escaper) = hole.escaper().filter(|escaper| escaper.quotes()) else { continue };
            let before = i.checked_sub(1).and_then(|i| self.parts.get(i));
            let after = self.parts.get(i + 1);
            if matches!(before, Some(Part::Text(text)) if text.ends_with(QUOTES))
                || matches!(after, Some(Part::Text(text)) if text.starts_with(QUOTES))
            {
                return Err(TemplateFault::Quoted(escaper.name()));
            }
        }
        Ok(())
    }

    /// Its holes, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(hole) => Some(hole),
            Part::Text(_) => None,
        })
    }

    /// Its plain pieces, in order.
    pub fn plain(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Hole(_) => None,
        })
    }

    /// The hole that is the whole of it, if it is nothing else.
    pub fn lone(&self) -> Option<&Placeholder> {
        match self.parts.as_slice() {
            [Part::Hole(hole)] => Some(hole),
            _ => None,
        }
    }

    fn fill(&self, scope: &Scope<'_>, each: impl Fn(String, &Placeholder) -> Filled) -> Filled {
        self.parts.iter().try_fold(String::new(), |mut text, part| {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Hole(hole) => text.push_str(&each(in_text(hole, scope)?, hole)?),
            }
            Ok(text)
        })
    }

    /// The text, each value as its filters write it. For query parameters (whose values are percent-encoded afterwards) and keys.
    ///
    /// # Errors
    /// A value is missing, is no text, or cannot be sent exactly.
    pub fn text(&self, scope: &Scope<'_>) -> Result<String, RenderFault> {
        self.fill(scope, |text, _| Ok(text))
    }

    /// As [`Template::text`] for a header: refuses what could begin another one.
    ///
    /// # Errors
    /// As [`Template::text`].
    pub fn header(&self, scope: &Scope<'_>) -> Result<String, RenderFault> {
        self.fill(scope, |text, hole| {
            if text.chars().all(|c| (' '..='~').contains(&c)) {
                Ok(text)
            } else {
                let why = "it holds a line break or a character that a header cannot";
                Err(RenderFault::Unsendable { path: hole.name(), why })
            }
        })
    }

    /// As part of a URL's path: what is written in the manifest stays, every value is percent-encoded within its segment.
    ///
    /// # Errors
    /// As [`Template::text`]; also where a value would make its segment empty, `.` or `..`.
    pub fn segment(&self, scope: &Scope<'_>) -> Result<String, RenderFault> {
        let path = self.fill(scope, |text, hole| {
            let unsendable = |why| RenderFault::Unsendable { path: hole.name(), why };
            match text.as_str() {
                "" => Err(unsendable("it is empty, and would name another resource")),
                "." | ".." => Err(unsendable("a path cannot hold it as a name")),
                text if text.chars().any(breaks_lines) => {
                    Err(unsendable("it holds a control character or a line break"))
                }
                text => Ok(utf8_percent_encode(text, SEGMENT).to_string()),
            }
        })?;
        // Two holes side by side, or a dot before one, could still make such a name together.
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            let path = self.placeholders().next().map_or_else(String::new, Placeholder::name);
            return Err(RenderFault::Unsendable { path, why: "a path cannot hold it as a name" });
        }
        Ok(path)
    }

    /// As a JSON value: a lone placeholder keeps its type, anything else is a text.
    ///
    /// # Errors
    /// As [`Template::text`].
    pub fn value(&self, scope: &Scope<'_>) -> Result<Value, RenderFault> {
        match self.lone() {
            Some(hole) => filtered(hole, scope).map(Cow::into_owned),
            None => self.text(scope).map(Value::from),
        }
    }
}

type Filled = Result<String, RenderFault>;

/// Everything but letters, digits and `-._~` (RFC 3986 section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn placeholder(text: &str) -> Result<Placeholder, TemplateFault> {
    let mut pieces = text.split('|').map(str::trim);
    let empty = || TemplateFault::Empty(text.to_owned());
    let path = parts(pieces.next().unwrap_or_default()).ok_or_else(empty)?;
    let filters: Vec<Filter> = pieces
        .map(|name| Filter::named(name).ok_or_else(|| TemplateFault::UnknownFilter { name: name.to_owned() }))
        .collect::<Result<_, _>>()?;
    let misplaced = filters.iter().rev().skip(1).find_map(|filter| match filter {
        Filter::Escape(escaper) => Some(escaper.name()),
        _ => None,
    });
    match misplaced {
        Some(name) => Err(TemplateFault::EscaperNotLast(name)),
        None => Ok(Placeholder { path, filters }),
    }
}

fn parts(path: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = path;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part.to_owned());
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(parts),
        }
    }
}

fn in_text(hole: &Placeholder, scope: &Scope<'_>) -> Filled {
    match filtered(hole, scope)?.as_ref() {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(yes) => Ok(yes.to_string()),
        Value::Null => Err(RenderFault::Missing(hole.name())),
        Value::Array(_) | Value::Object(_) => Err(RenderFault::WrongType(hole.name())),
    }
}

fn filtered<'s>(hole: &Placeholder, scope: &'s Scope<'_>) -> Result<Cow<'s, Value>, RenderFault> {
    let value = scope.get(&hole.path).ok_or_else(|| RenderFault::Missing(hole.name()))?;
    hole.filters.iter().try_fold(Cow::Borrowed(value), |value, filter| apply(*filter, &value, hole).map(Cow::Owned))
}

fn apply(filter: Filter, value: &Value, hole: &Placeholder) -> Result<Value, RenderFault> {
    if let Value::Array(list) = value {
        let each = list.iter().map(|value| apply(filter, value, hole));
        return match filter {
            Filter::Escape(Escaper::Csv) if list.is_empty() => {
                Err(RenderFault::Unsendable { path: hole.name(), why: "the list is empty" })
            }
            Filter::Escape(Escaper::Csv) => {
                let texts = each.map(|text| text.map(|text| text.as_str().unwrap_or_default().to_owned()));
                Ok(texts.collect::<Result<Vec<_>, _>>()?.join(",").into())
            }
            Filter::Escape(_) => Err(RenderFault::WrongType(hole.name())),
            _ => each.collect(),
        };
    }
    let text = match value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Number(number) => Cow::Owned(number.to_string()),
        Value::Null => return Err(RenderFault::Missing(hole.name())),
        _ => return Err(RenderFault::WrongType(hole.name())),
    };
    let unsendable = |why| RenderFault::Unsendable { path: hole.name(), why };
    Ok(match filter {
        Filter::Escape(escaper) => escaper.literal(&text).map_err(unsendable)?.into(),
        Filter::Md5Lower => hex(&Md5::digest(text.to_lowercase())).into(),
        Filter::Sha256Lower => {
            hex(ring::digest::digest(&ring::digest::SHA256, text.to_lowercase().as_bytes()).as_ref()).into()
        }
        Filter::Lower => text.to_lowercase().into(),
        Filter::E164Digits => match text.strip_prefix('+') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits.into(),
            _ => return Err(unsendable("it is not a telephone number in E.164 form")),
        },
        Filter::Int => match text.parse::<i64>() {
            // "007" and "+7" are other texts than 7.
            Ok(number) if number.to_string() == text => number.into(),
            _ => return Err(unsendable("it is not a whole number")),
        },
        Filter::Text => text.into(),
        Filter::Guid if is_guid(&text) => text.into(),
        Filter::Guid => return Err(unsendable("it is not a GUID")),
    })
}

fn is_guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.concat().bytes().all(|b| b.is_ascii_hexdigit())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _never_fails = write!(text, "{byte:02x}");
        text
    })
}
