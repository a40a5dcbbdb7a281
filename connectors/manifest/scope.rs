//! A scope holds the values that templates see.

use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The values that templates see, by name. An inner scope sees the outer's and hides what has the same name.
#[derive(Default)]
pub struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    values: BTreeMap<String, Cow<'a, Value>>,
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values are people's.
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl<'a> Scope<'a> {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// One inside this one.
    pub fn inside(outer: &'a Scope<'a>) -> Self {
        Self { outer: Some(outer), values: BTreeMap::new() }
    }

    /// With this value under this name, which may have dots: `record.key` counts before a field `key` of `record`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// With a value that is only lent.
    #[must_use]
    pub fn lent(mut self, name: &str, value: &'a Value) -> Self {
        self.values.insert(name.to_owned(), Cow::Borrowed(value));
        self
    }

    /// Puts this value under this name.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(name.to_owned(), Cow::Owned(value.into()));
    }

    /// The value at a path: that of the longest name that begins it, and then down by keys and list positions.
    pub fn get(&self, path: &[String]) -> Option<&Value> {
        for length in (1..=path.len()).rev() {
            if let Some(value) = self.values.get(&path[..length].join(".")) {
                return path[length..].iter().try_fold(value.as_ref(), |value, part| match value {
                    Value::Object(map) => map.get(part),
                    Value::Array(list) => list.get(part.parse::<usize>().ok()?),
                    _ => None,
                });
            }
        }
        self.outer?.get(path)
    }
}
