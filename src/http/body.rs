//! The body of a submission is walked member by member: what is unknown or of the wrong type is a fault, the rest goes to the domain.

use super::json::join;
use redress_domain::Personal;
use redress_domain::submission::RawSubmission;
use redress_domain::words::Fault;
use serde_json::{Map, Value};

/// Reads the body of `POST /v1/requests` as far as it goes; the faults are those of its form.
pub(crate) fn submission(body: &Value) -> (RawSubmission, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut raw = RawSubmission::default();
    let Some(mut members) = Members::open(body, "", &mut faults) else { return (raw, faults) };
    raw.kind = members.text("type", &mut faults);
    raw.regulation = members.text("regulation", &mut faults);
    raw.regulations = members.texts("regulations", &mut faults);
    raw.jurisdiction = members.text("jurisdiction", &mut faults);
    raw.reference = members.text("reference", &mut faults).map(Personal::from);
    raw.data_subject_received_at = members.text("data_subject_received_at", &mut faults);
    raw.callback_url = members.text("callback_url", &mut faults).map(Personal::from);
    if let Some(subject) = members.take("subject")
        && let Some(mut subject) = Members::open(subject, "/subject", &mut faults)
    {
        raw.identifiers = subject.pairs("identifiers", ["type", "value"], &mut faults);
        subject.finish(&mut faults);
    }
    raw.corrections = members.pairs("corrections", ["field", "value"], &mut faults);
    raw.systems = members.texts("systems", &mut faults);
    members.finish(&mut faults);
    (raw, faults)
}

/// Adds the faults of a later reading, less those that only repeat an earlier one at the same place or above it.
pub(crate) fn add(faults: &mut Vec<Fault>, later: Vec<Fault>) {
    let before = faults.len();
    for fault in later {
        let repeats = faults[..before].iter().any(|earlier| {
            fault
                .pointer
                .strip_prefix(earlier.pointer.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if !repeats {
            faults.push(fault);
        }
    }
}

/// The members of one object; what is not taken is unknown.
pub(crate) struct Members<'v> {
    pointer: String,
    given: &'v Map<String, Value>,
    asked: Vec<&'static str>,
}

impl<'v> Members<'v> {
    /// The members of a value that must be an object.
    pub(crate) fn open(value: &'v Value, pointer: &str, faults: &mut Vec<Fault>) -> Option<Self> {
        let members = value.as_object();
        if members.is_none() {
            faults.push(Fault::new(pointer, "must be an object"));
        }
        members.map(|given| Self { pointer: pointer.to_owned(), given, asked: Vec::new() })
    }

    /// A member as it was given.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<&'v Value> {
        self.take(name)
    }

    fn take(&mut self, name: &'static str) -> Option<&'v Value> {
        self.asked.push(name);
        self.given.get(name)
    }

    /// A member that must be a text if it is there.
    pub(crate) fn text(&mut self, name: &'static str, faults: &mut Vec<Fault>) -> Option<String> {
        let value = self.take(name)?;
        if !value.is_string() {
            faults.push(Fault::new(join(&self.pointer, name), "must be a text"));
        }
        value.as_str().map(str::to_owned)
    }

    /// Whether a member is there and not null.
    pub(crate) fn is_given(&mut self, name: &'static str) -> bool {
        self.take(name).is_some_and(|value| !value.is_null())
    }

    /// A member that must be true or false if it is there.
    pub(crate) fn flag(&mut self, name: &'static str, faults: &mut Vec<Fault>) -> Option<bool> {
        let value = self.take(name)?;
        if !value.is_boolean() {
            faults.push(Fault::new(join(&self.pointer, name), "must be true or false"));
        }
        value.as_bool()
    }

    /// A member that must be a whole number if it is there.
    pub(crate) fn number(&mut self, name: &'static str, faults: &mut Vec<Fault>) -> Option<i64> {
        let value = self.take(name)?;
        if value.as_i64().is_none() {
            faults.push(Fault::new(join(&self.pointer, name), "must be a whole number"));
        }
        value.as_i64()
    }

    fn list(&mut self, name: &'static str, faults: &mut Vec<Fault>) -> Option<&'v Vec<Value>> {
        let value = self.take(name)?;
        if !value.is_array() {
            faults.push(Fault::new(join(&self.pointer, name), "must be a list"));
        }
        value.as_array()
    }

    /// A member that must be a list of texts if it is there.
    pub(crate) fn texts(&mut self, name: &'static str, faults: &mut Vec<Fault>) -> Option<Vec<String>> {
        let items = self.list(name, faults)?;
        let mut all = Vec::new();
        for (i, item) in items.iter().enumerate() {
            if !item.is_string() {
                faults.push(Fault::new(format!("{}/{name}/{i}", self.pointer), "must be a text"));
            }
            // A place is kept for it, so that later faults point at the right ones.
            all.push(item.as_str().unwrap_or_default().to_owned());
        }
        Some(all)
    }

    /// A list of objects with two texts each.
    pub(crate) fn pairs(
        &mut self,
        name: &'static str,
        [first, second]: [&'static str; 2],
        faults: &mut Vec<Fault>,
    ) -> Vec<(Option<String>, Option<Personal<String>>)> {
        let items = self.list(name, faults).map(Vec::as_slice).unwrap_or_default();
        let mut all = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let mut pair = (None, None);
            if let Some(mut members) = Members::open(item, &format!("{}/{name}/{i}", self.pointer), faults) {
                pair = (members.text(first, faults), members.text(second, faults).map(Personal::from));
                members.finish(faults);
            }
            all.push(pair);
        }
        all
    }

    /// Whatever was not asked for is unknown.
    pub(crate) fn finish(self, faults: &mut Vec<Fault>) {
        for name in self.given.keys().filter(|name| !self.asked.contains(&name.as_str())) {
            let detail = format!("is not a member here; there are {}", self.asked.join(", "));
            faults.push(Fault::new(join(&self.pointer, name), detail));
        }
    }
}
