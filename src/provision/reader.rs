//! A reader takes the keys of one table one by one, in their types, and refuses what is left over.

use crate::config::document::{join, nearest};
use redress_domain::words::Fault;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Reads one table; every fault goes to the list it was given.
pub(super) struct Reader<'v, 'f> {
    table: Option<&'v Map<String, Value>>,
    pointer: String,
    asked: Vec<&'static str>,
    faults: &'f mut Vec<Fault>,
}

impl<'v, 'f> Reader<'v, 'f> {
    /// Begins to read `value`, which stands at `pointer`.
    pub(super) fn new(value: &'v Value, pointer: &str, faults: &'f mut Vec<Fault>) -> Self {
        if !value.is_object() {
            faults.push(Fault::new(pointer, "must be a table (in JSON: an object)"));
        }
        Self { table: value.as_object(), pointer: pointer.to_owned(), asked: Vec::new(), faults }
    }

    /// The value of a key as it is.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'v Value> {
        self.asked.push(key);
        self.table?.get(key)
    }

    /// Says what is wrong with a key of ours, or with a part of its value (`allow/2`).
    pub(super) fn fault(&mut self, key: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(format!("{}/{key}", self.pointer), detail));
    }

    /// Adds what is wrong with a part of the table, found by its own reader.
    pub(super) fn faults(&mut self, faults: Vec<Fault>) {
        self.faults.extend(faults);
    }

    /// Says that a key is missing, unless the table itself is.
    pub(super) fn missing(&mut self, key: &str, detail: &str) {
        if self.table.is_some() {
            self.fault(key, detail);
        }
    }

    /// A text, if the key is there.
    pub(super) fn text(&mut self, key: &'static str) -> Option<&'v str> {
        self.typed(key, "a text", Value::as_str)
    }

    /// A text that must be there and must not be empty.
    pub(super) fn required_text(&mut self, key: &'static str) -> Option<&'v str> {
        if self.take(key).is_none() {
            self.missing(key, "is missing");
        }
        let text = self.text(key)?;
        if text.trim().is_empty() {
            self.fault(key, "is empty");
            return None;
        }
        Some(text)
    }

    /// True or false, if the key is there.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A whole number within limits, if the key is there.
    pub(super) fn number(&mut self, key: &'static str, limits: RangeInclusive<u32>) -> Option<u32> {
        let number = self.typed(key, "a whole number", Value::as_i64)?;
        match u32::try_from(number) {
            Ok(number) if limits.contains(&number) => Some(number),
            _ => {
                self.fault(key, format!("must be from {} to {}", limits.start(), limits.end()));
                None
            }
        }
    }

    /// A list of texts, if the key is there.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<&'v str>> {
        self.typed(key, "a list of texts", |v| v.as_array()?.iter().map(Value::as_str).collect())
    }

    /// A list whose entries have one spelling each, if the key is there; the same entry twice is one.
    pub(super) fn words<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        known: &[T],
        spelling: impl Fn(T) -> &'static str,
    ) -> Option<Vec<T>> {
        let texts = self.texts(key)?;
        let mut words = Vec::new();
        for (i, text) in texts.into_iter().enumerate() {
            match known.iter().find(|word| spelling(**word) == text) {
                Some(word) if words.contains(word) => {}
                Some(word) => words.push(*word),
                None => {
                    let all: Vec<&str> = known.iter().map(|word| spelling(*word)).collect();
                    self.fault(&format!("{key}/{i}"), format!("must be one of {}", all.join(", ")));
                }
            }
        }
        Some(words)
    }

    /// A table of texts, if the key is there.
    pub(super) fn text_map(&mut self, key: &'static str) -> Option<BTreeMap<String, String>> {
        self.typed(key, "a table of texts", |v| {
            v.as_object()?.iter().map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
        })
    }

    /// A table, if the key is there.
    pub(super) fn table(&mut self, key: &'static str) -> Option<&'v Map<String, Value>> {
        self.typed(key, "a table (in JSON: an object)", Value::as_object)
    }

    /// A name of ours ([`is_name`]) that must be there.
    pub(super) fn required_name(&mut self, key: &'static str) -> Option<String> {
        let name = self.required_text(key)?;
        self.named(key, name)
    }

    /// Checks that a text is a name of ours.
    pub(super) fn named(&mut self, key: &str, name: &str) -> Option<String> {
        if is_name(name) {
            return Some(name.to_owned());
        }
        self.fault(key, NAME_RULE);
        None
    }

    /// Refuses every key that was not asked for.
    pub(super) fn finish(self) {
        for key in self.table.into_iter().flat_map(Map::keys) {
            if !self.asked.contains(&key.as_str()) {
                let hint = match nearest(key, self.asked.iter().copied()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are {}", self.asked.join(", ")),
                };
                self.faults.push(Fault::new(join(&self.pointer, key), format!("unknown key; {hint}")));
            }
        }
    }

    fn typed<T>(&mut self, key: &'static str, kind: &str, read: impl Fn(&'v Value) -> Option<T>) -> Option<T> {
        let value = self.take(key)?;
        let read = read(value);
        if read.is_none() {
            self.fault(key, format!("must be {kind}"));
        }
        read
    }
}

const NAME_RULE: &str = "must begin with a letter or digit and hold only a-z, 0-9, _ and -, at most 63 characters";

/// Whether a text can name a controller or a system: it stands in URLs, file names, metrics and wake-ups.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 63
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || b == b'_' || b == b'-')
}
