//! Reads a system's settings key by key and keeps every fault, so that all of them are told at once.

use crate::{SpecFault, SystemSpec};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The settings of a specification while they are read. A key nobody asked for is a fault, see [`Settings::finish`].
pub(crate) struct Settings<'a> {
    spec: &'a SystemSpec,
    asked: BTreeSet<&'static str>,
    faults: Vec<SpecFault>,
}

impl<'a> Settings<'a> {
    /// Nothing read yet.
    pub(crate) fn of(spec: &'a SystemSpec) -> Self {
        Self { spec, asked: BTreeSet::new(), faults: Vec::new() }
    }

    /// Adds a fault of a setting.
    pub(crate) fn fault(&mut self, key: &str, detail: impl Into<String>) {
        self.faults.push(SpecFault::new(format!("settings.{key}"), detail));
    }

    /// Any value, or none if the setting is not there.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.spec.settings.get(key)
    }

    /// An optional text that is not empty and has no control characters.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        match value.as_str() {
            Some(text) if !text.trim().is_empty() && !text.chars().any(char::is_control) => Some(text.to_owned()),
            _ => {
                self.fault(key, "must be a text that is not empty and has no control characters");
                None
            }
        }
    }

    /// A text of several lines (a certificate), or none if the setting is not there.
    pub(crate) fn multiline(&mut self, key: &'static str) -> Option<String> {
        let text = self.value(key)?.as_str().map(ToOwned::to_owned);
        if text.is_none() {
            self.fault(key, "must be a text");
        }
        text
    }

    /// A text that must be there; empty (and a fault) if it is not.
    pub(crate) fn required(&mut self, key: &'static str) -> String {
        if !self.spec.settings.contains_key(key) {
            self.asked.insert(key);
            self.fault(key, "is missing");
        }
        self.text(key).unwrap_or_default()
    }

    /// An optional list of texts.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let value = self.value(key)?;
        let texts = value.as_array().filter(|list| !list.is_empty()).and_then(|list| {
            let text =
                |v: &Value| v.as_str().filter(|t| !t.is_empty() && !t.chars().any(char::is_control)).map(Into::into);
            list.iter().map(text).collect::<Option<Vec<String>>>()
        });
        if texts.is_none() {
            self.fault(key, "must be a list of texts, at least one");
        }
        texts
    }

    /// An optional whole number.
    pub(crate) fn number(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let number = self.value(key)?.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            self.fault(key, format!("must be a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// An optional yes or no.
    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let flag = self.value(key)?.as_bool();
        if flag.is_none() {
            self.fault(key, "must be true or false");
        }
        flag
    }

    /// An optional list of anything.
    pub(crate) fn list(&mut self, key: &'static str) -> Option<&'a [Value]> {
        let list = self.value(key)?.as_array().map(Vec::as_slice);
        if list.is_none() {
            self.fault(key, "must be a list");
        }
        list
    }

    /// The URL at which everything of a vendor is, with a slash at its end: https, unless the operator wrote it.
    pub(crate) fn base_url(&mut self, text: &str, any_scheme: bool) -> Option<url::Url> {
        let slash = if text.ends_with('/') { "" } else { "/" };
        let url = url::Url::parse(&format!("{text}{slash}")).ok().filter(|url| {
            url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
                && (url.scheme() == "https" || (any_scheme && url.scheme() == "http"))
        });
        if url.is_none() {
            self.fault("base_url", "must be an https URL without user, query and fragment");
        }
        url
    }

    /// A path that is relative to the file in which the system was declared.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        self.spec.base_dir.as_deref().unwrap_or(Path::new("")).join(text)
    }

    /// Every fault that was met, after those of what nobody asked for: settings, secrets other than `secrets`, and tables.
    pub(crate) fn finish(self, secrets: &[&str]) -> Vec<SpecFault> {
        let has_tables = !self.spec.tables.is_empty();
        let mut faults = self.finish_with_tables(secrets);
        if has_tables {
            faults.push(SpecFault::new("tables", "belong to SQL connectors; remove them"));
        }
        faults
    }

    /// As [`Settings::finish`], for a connector that reads the declared tables itself.
    pub(crate) fn finish_with_tables(mut self, secrets: &[&str]) -> Vec<SpecFault> {
        let known = || self.asked.iter().copied().collect::<Vec<_>>().join(", ");
        for key in self.spec.settings.keys().filter(|key| !self.asked.contains(key.as_str())) {
            let fault = SpecFault::new(format!("settings.{key}"), format!("is not a setting; there are {}", known()));
            self.faults.push(fault);
        }
        for name in self.spec.secrets.keys().filter(|name| !secrets.contains(&name.as_str())) {
            self.faults.push(SpecFault::new(format!("secrets.{name}"), "is not a secret of this connector; remove it"));
        }
        for name in secrets.iter().filter(|name| !self.spec.secrets.contains_key(**name)) {
            self.faults.push(SpecFault::new(format!("secrets.{name}"), "is missing"));
        }
        self.faults
    }
}
