//! A document is a TOML text as JSON values, with the line on which each value stands, so that a fault can name it.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed TOML text.
#[derive(Debug)]
pub struct Document {
    /// The root table. Dates and times are texts.
    pub root: Map<String, Value>,
    lines: BTreeMap<String, usize>,
}

/// Why a text is not TOML, and where. Never quotes the text, which may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxFault {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
}

impl Document {
    /// Reads a TOML text; every syntax fault at once.
    pub fn parse(text: &str) -> Result<Self, Vec<SyntaxFault>> {
        let starts: Vec<usize> = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1))
            .collect();
        let line_of = |offset: usize| starts.partition_point(|start| *start <= offset);
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut faults: Vec<SyntaxFault> = errors
            .iter()
            .map(|error| SyntaxFault {
                line: error.span().map_or(1, |span| line_of(span.start)),
                detail: error.message().replace('\n', ", "),
            })
            .collect();
        let mut reader = Reader { line_of: &line_of, lines: BTreeMap::new(), faults: &mut faults };
        let root = reader.table(table.get_ref(), "");
        let lines = reader.lines;
        if faults.is_empty() { Ok(Self { root, lines }) } else { Err(faults) }
    }

    /// The line of the value at an RFC 6901 pointer, or of the nearest thing around it.
    pub fn line(&self, pointer: &str) -> Option<usize> {
        let mut at = pointer;
        loop {
            if let Some(line) = self.lines.get(at) {
                return Some(*line);
            }
            at = &at[..at.rfind('/')?];
        }
    }
}

struct Reader<'a> {
    line_of: &'a dyn Fn(usize) -> usize,
    lines: BTreeMap<String, usize>,
    faults: &'a mut Vec<SyntaxFault>,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, pointer: &str) -> Map<String, Value> {
        table
            .iter()
            .map(|(key, value)| {
                let here = join(pointer, key.get_ref());
                // Where the key stands, not the value: that is the line to look at.
                self.lines.insert(here.clone(), (self.line_of)(key.span().start));
                (key.get_ref().to_string(), self.value(value, &here))
            })
            .collect()
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, pointer: &str) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Boolean(flag) => Value::from(*flag),
            DeValue::Datetime(when) => Value::from(when.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::from(number),
                Err(_) => self.refuse(value, "this number does not fit into 64 bits"),
            },
            DeValue::Float(number) => {
                match number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
                    Some(number) => Value::from(number),
                    None => self.refuse(value, "this number is not finite"),
                }
            }
            DeValue::Array(items) => Value::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| {
                        let here = format!("{pointer}/{i}");
                        self.lines.insert(here.clone(), (self.line_of)(item.span().start));
                        self.value(item, &here)
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Value::Object(self.table(table, pointer)),
        }
    }

    fn refuse(&mut self, value: &Spanned<DeValue<'_>>, detail: &str) -> Value {
        self.faults.push(SyntaxFault { line: (self.line_of)(value.span().start), detail: detail.to_owned() });
        Value::Null
    }
}

/// The pointer of `key` inside the table at `pointer` (RFC 6901 section 3).
pub fn join(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The one of `known` that was probably meant by `given`, if any is close enough.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (distance(given, word), word))
        .filter(|(distance, word)| *distance <= (word.chars().count() / 3).max(2))
        .min()
        .map(|(_, word)| word)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let text = "a = 1\n[b]\nc = \"x\"\n\n[[d]]\ne = { f = [1,\n 2.5] }\n[[d]]\n";
        let document = Document::parse(text).expect("valid");
        assert_eq!(
            serde_json::to_string(&document.root).unwrap(),
            r#"{"a":1,"b":{"c":"x"},"d":[{"e":{"f":[1,2.5]}},{}]}"#
        );
        for (pointer, line) in
            [("/a", 1), ("/b/c", 3), ("/d/0/e/f", 6), ("/d/0/e/f/1", 7), ("/d/0/e/missing", 6), ("/d/1", 8)]
        {
            assert_eq!(document.line(pointer), Some(line), "{pointer}");
        }
        assert_eq!(document.line("/nothing"), None);
    }

    #[test]
    fn all_syntax_faults_are_named_by_line_and_the_text_is_not_quoted() {
        let faults = Document::parse("a = 1\nsecret_canary = 'x\nb = inf\nc = 99999999999999999999\n").unwrap_err();
        assert!(faults.iter().any(|f| f.line == 2), "{faults:?}");
        assert!(faults.iter().any(|f| f.line == 3), "{faults:?}");
        assert!(faults.iter().any(|f| f.line == 4), "{faults:?}");
        assert!(!format!("{faults:?}").contains("canary"), "{faults:?}");
    }

    #[test]
    fn the_nearest_word_is_found_and_far_ones_are_not_suggested() {
        let known = ["database.url", "redis.url", "log.filter"];
        assert_eq!(nearest("databse.url", known), Some("database.url"));
        assert_eq!(nearest("log.fitler", known), Some("log.filter"));
        assert_eq!(nearest("outbound.proxy", known), None);
    }
}
