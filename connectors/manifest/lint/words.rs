//! Which placeholders mean something where.

use super::Lint;
use crate::manifest::template::{Placeholder, nearest};
use redress_domain::IdentifierType;

/// What there is besides `inputs`, `base_url` and `hosts` where a template is filled.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of independent words")]
pub(super) struct Context {
    /// `subject.email` and the like.
    pub(super) subject: bool,
    /// `subject.value`, `subject.type`.
    pub(super) value: bool,
    /// `subject.field`.
    pub(super) field: bool,
    /// `subjects.value`.
    pub(super) subjects: bool,
    /// `record.…`.
    pub(super) record: bool,
    /// `records.key`.
    pub(super) records: bool,
    /// `records.each`.
    pub(super) each: bool,
    /// `item.…`.
    pub(super) item: bool,
    /// `handle`.
    pub(super) handle: bool,
    /// `changes`.
    pub(super) changes: bool,
    /// `step.key`.
    pub(super) step: bool,
}

impl Context {
    fn words(self) -> Vec<&'static str> {
        let all = [
            (self.value, "subject.value"),
            (self.value, "subject.type"),
            (self.field, "subject.field"),
            (self.subject, "subject.email"),
            (self.subjects, "subjects.value"),
            (self.record, "record.key"),
            (self.record, "record.FIELD"),
            (self.records, "records.key"),
            (self.each, "records.each"),
            (self.item, "item.FIELD"),
            (self.handle, "handle"),
            (self.changes, "changes"),
            (self.step, "step.key"),
            (true, "inputs.NAME"),
        ];
        all.into_iter().filter_map(|(there, word)| there.then_some(word)).collect()
    }
}

/// Where a placeholder's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The operator or the manifest itself.
    Ours,
    /// A person or a vendor's record: it may hold anything.
    Theirs,
}

pub(super) fn origin(hole: &Placeholder) -> Origin {
    match (hole.path[0].as_str(), hole.path.get(1).map(String::as_str)) {
        ("inputs" | "base_url" | "hosts" | "step", _) | ("subject", Some("field" | "type")) => Origin::Ours,
        _ => Origin::Theirs,
    }
}

impl Lint<'_> {
    /// Says if a placeholder means nothing here.
    pub(super) fn word(&mut self, at: &str, hole: &Placeholder, context: Context) {
        let second = hole.path.get(1).map(String::as_str);
        let length = hole.path.len();
        let known = match (hole.path[0].as_str(), second) {
            ("inputs", Some(name)) if length == 2 => {
                if !self.file.inputs.contains_key(name) {
                    self.unknown(at, "input", name, self.file.inputs.keys());
                }
                true
            }
            ("base_url", None) => true,
            ("hosts", Some(name)) => self.file.hosts.contains_key(name),
            ("subject", Some("value" | "type")) => context.value,
            ("subject", Some("field")) => context.field,
            ("subject", Some(kind)) => context.subject && length == 2 && IdentifierType::parse(kind).is_some(),
            ("subjects", Some("value")) => context.subjects,
            ("record", Some(_)) => context.record,
            ("records", Some("key")) => context.records,
            ("records", Some("each")) => context.each,
            ("item", _) => context.item,
            ("handle", None) => context.handle,
            ("changes", None) => context.changes,
            ("step", Some("key")) => context.step,
            _ => false,
        };
        if !known {
            let words = context.words();
            let why = match (hole.path[0].as_str(), second) {
                ("records", Some("key")) | ("subjects", Some("value")) => " (it needs `batch`)",
                ("records", Some("each")) => " (it needs `batch` and `each`)",
                ("subject", Some("field")) => " (it needs `fields`, with every type of `by`)",
                ("item", _) => " (it needs `each`)",
                ("changes", _) => " (it belongs to `correct`)",
                _ => "",
            };
            let name = hole.name();
            self.error(
                at,
                format!(
                    "${{{name}}} means nothing here{}{why}; there are {}",
                    nearest(&name, &words),
                    words.join(", ")
                ),
            );
        }
    }
}
