//! A report is what somebody else says was done for one person in one system: an in-house receiver, or a person with a task.
//!
//! It is believed only as far as it is consistent: what was found was changed or stays for a reason, or it is refused as a
//! whole. Files that come with a deletion are evidence: they stay sealed with the step, the certificate names their hashes.

use crate::{CollectionEvidence, Done, Effect, Evidence, ExportSink, Lost, Outcome, Retained, SpecFault, YIELD_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_domain::{Identifier, IdentifierType, Verb};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// A report is no longer than this (bytes), its files included.
pub const REPORT_MAX: usize = 8 << 20;

/// What was done for one person, as somebody else tells it.
#[derive(Clone, PartialEq)]
pub struct Report {
    /// Records that were the person's.
    pub found: u64,
    /// Records that were changed or removed.
    pub changed: u64,
    /// Records that stay, each with a reason code.
    pub retained: Vec<Retained>,
    /// The same by collection, if that was told: collection, found, changed.
    pub collections: Vec<(String, u64, u64)>,
    /// For access: the records by collection.
    pub records: Vec<(String, Map<String, Value>)>,
    /// For access: files of the person; for everything else: evidence.
    pub files: Vec<ReportFile>,
    /// The person's identifiers in this system, for other systems.
    pub identifiers: Vec<Identifier>,
    /// What the effect is worth, if that was told.
    pub effect: Option<Effect>,
}

/// A file in a report.
#[derive(Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Collection it belongs to.
    pub collection: String,
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its content.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Report(found {}, changed {})", self.found, self.changed)
    }
}

impl std::fmt::Debug for ReportFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReportFile({} bytes)", self.content.len())
    }
}

/// Reads one object and keeps every fault. Details never hold a value.
pub(crate) struct Reader<'a> {
    pub(crate) at: String,
    map: &'a Map<String, Value>,
    asked: Vec<&'static str>,
    pub(crate) faults: Vec<SpecFault>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(at: &str, map: &'a Map<String, Value>) -> Self {
        Self { at: at.to_owned(), map, asked: Vec::new(), faults: Vec::new() }
    }

    pub(crate) fn fault(&mut self, key: &str, detail: &str) {
        let path = if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) };
        self.faults.push(SpecFault::new(path, detail));
    }

    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A whole number; 0 and a fault if it is there and none, or required and missing.
    pub(crate) fn number(&mut self, key: &'static str, required: bool) -> u64 {
        match self.value(key) {
            Some(value) => value.as_u64().unwrap_or_else(|| {
                self.fault(key, "must be a whole number, not negative");
                0
            }),
            None if required => {
                self.fault(key, "is missing");
                0
            }
            None => 0,
        }
    }

    /// A text of at most so many bytes without control characters.
    pub(crate) fn text(&mut self, key: &'static str, max: usize) -> String {
        let text = self.value(key).and_then(Value::as_str);
        if let Some(text) =
            text.filter(|text| !text.trim().is_empty() && text.len() <= max && !text.chars().any(char::is_control))
        {
            text.to_owned()
        } else {
            self.fault(key, &format!("must be a text of 1 to {max} bytes without control characters"));
            String::new()
        }
    }

    /// A reason code or the like: lower case, digits, `_`, `.` and `-`.
    pub(crate) fn code(&mut self, key: &'static str) -> String {
        let code = self.text(key, 64);
        if !code.is_empty() && !code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c))
        {
            self.fault(key, "must be a code: lower case letters, digits, _ . and -");
            return String::new();
        }
        code
    }

    /// Each object of a list, read by `read`.
    pub(crate) fn list<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Reader<'a>) -> T) -> Vec<T> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(list) = value.as_array() else {
            self.fault(key, "must be a list");
            return Vec::new();
        };
        let mut all = Vec::with_capacity(list.len());
        for (index, element) in list.iter().enumerate() {
            let at = if self.at.is_empty() { format!("{key}.{index}") } else { format!("{}.{key}.{index}", self.at) };
            let Some(map) = element.as_object() else {
                self.faults.push(SpecFault::new(at, "must be an object"));
                continue;
            };
            let mut reader = Reader::new(&at, map);
            all.push(read(&mut reader));
            self.faults.extend(reader.finish());
        }
        all
    }

    /// The faults, those of keys nobody asked for included.
    pub(crate) fn finish(mut self) -> Vec<SpecFault> {
        let unknown: Vec<String> = self.map.keys().filter(|key| !self.asked.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            // The key itself was made by somebody else and may be a value: its length tells enough.
            let short = if key.len() <= 40 && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                key
            } else {
                "…".to_owned()
            };
            let known = self.asked.join(", ");
            self.fault(&short, &format!("is not known; there are {known}"));
        }
        self.faults
    }
}

impl Report {
    /// Reads a report of what `verb` did, from its JSON.
    ///
    /// # Errors
    /// Every fault at once; none of them holds a value.
    pub fn parse(verb: Verb, text: &[u8]) -> Result<Self, Vec<SpecFault>> {
        if text.len() > REPORT_MAX {
            return Err(vec![SpecFault::new("", format!("is longer than {REPORT_MAX} bytes"))]);
        }
        match serde_json::from_slice(text) {
            Ok(Value::Object(map)) => {
                let mut reader = Reader::new("", &map);
                let report = Self::read(verb, &mut reader);
                let faults = reader.finish();
                if faults.is_empty() { Ok(report) } else { Err(faults) }
            }
            Ok(_) => Err(vec![SpecFault::new("", "must be a JSON object")]),
            Err(error) => {
                Err(vec![SpecFault::new("", format!("is no JSON (line {}, column {})", error.line(), error.column()))])
            }
        }
    }

    pub(crate) fn read(verb: Verb, reader: &mut Reader<'_>) -> Self {
        let changes = verb.must_be_verified();
        let report = Self {
            found: reader.number("found", true),
            changed: reader.number("changed", changes),
            retained: reader.list("retained", |r| Retained {
                collection: r.text("collection", 100),
                records: r.number("records", true),
                reason: r.code("reason"),
            }),
            collections: reader.list("collections", |r| {
                (r.text("collection", 100), r.number("found", true), r.number("changed", changes))
            }),
            records: reader.list("records", |r| {
                let collection = r.text("collection", 100);
                let record = r.value("record").and_then(Value::as_object).cloned();
                if record.is_none() {
                    r.fault("record", "must be an object");
                }
                (collection, record.unwrap_or_default())
            }),
            files: reader.list("files", |r| {
                let (collection, name) = (r.text("collection", 100), r.text("name", 200));
                let media_type = r.text("media_type", 100);
                let content = r.value("content").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
                if content.is_none() {
                    r.fault("content", "must be base64 (RFC 4648 section 4)");
                }
                ReportFile { collection, name, media_type, content: content.unwrap_or_default() }
            }),
            identifiers: reader.list("identifiers", identifier).into_iter().flatten().collect(),
            effect: reader.value("effect").and_then(|value| {
                let effect = serde_json::from_value(value.clone()).ok();
                if effect.is_none() {
                    reader.fault("effect", "must be {\"kind\": \"permanent\" | \"soft\" | \"scheduled\" | \"anonymised\" | \"suppressed\", …}");
                }
                effect
            }),
        };
        report.consistent(verb, reader);
        report
    }

    fn consistent(&self, verb: Verb, reader: &mut Reader<'_>) {
        let stays = self.retained.iter().fold(0_u64, |sum, r| sum.saturating_add(r.records));
        if verb.must_be_verified() {
            if self.changed.checked_add(stays) != Some(self.found) {
                reader.fault(
                    "found",
                    "must be changed + retained: finish what is left, or say in retained what stays and why",
                );
            }
            if !self.records.is_empty() {
                reader.fault("records", "belong to access only");
            }
        } else {
            if self.changed > 0 {
                reader.fault("changed", "must be 0: nothing is to be changed here");
            }
            if verb != Verb::Export && !self.records.is_empty() {
                reader.fault("records", "belong to access only");
            }
            let handed = (self.records.len() as u64, self.files.len());
            let told = self.found.saturating_sub(stays);
            if verb == Verb::Export && (handed.0 > self.found || (told > 0) != (handed.0 > 0 || handed.1 > 0)) {
                reader.fault("found", "must be the number of records that are handed over here (records, or files that hold them) and retained");
            }
        }
        if !self.collections.is_empty() {
            let sum = |pick: fn(&(String, u64, u64)) -> u64| {
                self.collections.iter().fold(0_u64, |sum, c| sum.saturating_add(pick(c)))
            };
            if (sum(|c| c.1), sum(|c| c.2)) != (self.found, self.changed) {
                reader.fault("collections", "must add up to found and changed");
            }
        }
        if self.retained.iter().any(|r| r.records == 0) {
            reader.fault("retained", "must name at least one record each");
        }
        if self.identifiers.len() > YIELD_MAX {
            reader.fault("identifiers", &format!("must be at most {YIELD_MAX}"));
        }
    }

    /// What was counted, with the hashes of evidence files; `action` says who tells it (`reported`, `attested`).
    pub fn evidence(&self, verb: Verb, action: &str) -> Evidence {
        let after =
            |found: u64, changed: u64| if verb.must_be_verified() { found.saturating_sub(changed) } else { found };
        let entry = |collection: &str, before: u64, changed: u64| CollectionEvidence {
            collection: collection.to_owned(),
            action: action.to_owned(),
            before,
            changed,
            after: after(before, changed),
        };
        let mut collections: Vec<_> = if self.collections.is_empty() {
            vec![entry("records", self.found, self.changed)]
        } else {
            self.collections.iter().map(|(name, found, changed)| entry(name, *found, *changed)).collect()
        };
        if verb != Verb::Export {
            collections.extend(self.files.iter().map(|file| CollectionEvidence {
                collection: format!("evidence file sha256:{}", sha256_hex(&file.content)),
                action: "attach".into(),
                ..CollectionEvidence::default()
            }));
        }
        Evidence { collections }
    }

    /// The outcome of an acting call; for access the records go to `sink` first.
    pub(crate) fn outcome(&self, verb: Verb, action: &str, receipt: Option<crate::Receipt>) -> Outcome {
        let evidence = self.evidence(verb, action);
        if self.found == 0 {
            return Outcome::NothingFound(evidence);
        }
        Outcome::Done(Done {
            found: self.found,
            changed: self.changed,
            retained: self.retained.clone(),
            evidence,
            receipt,
            effect: self.effect.clone(),
            yielded: self.identifiers.clone(),
        })
    }

    /// Hands the records and files over.
    pub(crate) async fn hand_over(&self, key: &str, sink: &dyn ExportSink) -> Result<(), Lost> {
        for (collection, record) in &self.records {
            sink.record(key, collection, record.clone()).await?;
        }
        for file in &self.files {
            sink.attachment(key, &file.collection, &file.name, &file.media_type, &file.content).await?;
        }
        Ok(())
    }
}

fn identifier(reader: &mut Reader<'_>) -> Option<Identifier> {
    let kind = reader.text("type", 20);
    let value = reader.text("value", 255);
    let identifier = IdentifierType::parse(&kind).and_then(|kind| Identifier::parse(kind, &value, None).ok());
    if identifier.is_none() {
        reader.fault("value", "must be an identifier of a known type");
    }
    identifier
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _never_fails = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(verb: Verb, text: &str) -> Vec<String> {
        Report::parse(verb, text.as_bytes()).expect_err("a fault").into_iter().map(|f| f.path).collect()
    }

    #[test]
    fn what_was_found_was_changed_or_stays_for_a_reason() {
        let whole = r#"{"found":3,"changed":2,"retained":[{"collection":"invoices","records":1,"reason":"tax_law_10_years"}],
            "effect":{"kind":"soft","residual_days":30}}"#;
        let report = Report::parse(Verb::Erase, whole.as_bytes()).expect("consistent");
        assert_eq!((report.found, report.changed, report.retained.len()), (3, 2, 1));
        assert_eq!(report.effect, Some(Effect::Soft { residual_days: Some(30) }));
        assert_eq!(faults(Verb::Erase, r#"{"found":3,"changed":2}"#), ["found"]);
        assert_eq!(faults(Verb::Erase, r#"{"found":2,"changed":3}"#), ["found"]);
        assert_eq!(faults(Verb::Erase, r#"{"found":3}"#), ["changed", "found"]);
        assert_eq!(
            faults(
                Verb::Erase,
                r#"{"found":1,"changed":0,"retained":[{"collection":"a","records":1,"reason":"Because!"}]}"#
            ),
            ["retained.0.reason"]
        );
        assert_eq!(faults(Verb::Discover, r#"{"found":3,"changed":3}"#), ["changed"]);
    }

    #[test]
    fn nonsense_is_refused_and_not_repeated() {
        for text in [
            "",
            "[]",
            "null",
            "<html>",
            r#"{"found":-1,"changed":0}"#,
            r#"{"found":"1","changed":1}"#,
            r#"{"found":1e3,"changed":1}"#,
        ] {
            assert!(Report::parse(Verb::Erase, text.as_bytes()).is_err(), "{text}");
        }
        let told = format!("{:?}", Report::parse(Verb::Erase, br#"{"found":0,"changed":0,"ann@shop.example":1}"#));
        assert!(!told.contains("ann@"), "{told}");
    }

    #[test]
    fn access_hands_over_as_many_records_as_it_counts() {
        let one = r#"{"found":1,"records":[{"collection":"people","record":{"a":1}}]}"#;
        assert_eq!(Report::parse(Verb::Export, one.as_bytes()).expect("one").records.len(), 1);
        assert_eq!(faults(Verb::Export, r#"{"found":1}"#), ["found"]);
        assert_eq!(
            faults(Verb::Export, r#"{"found":0,"records":[{"collection":"people","record":{"a":1}}]}"#),
            ["found"]
        );
        let file = r#"{"found":12,"files":[{"collection":"people","name":"a.pdf","media_type":"application/pdf","content":"AAAA"}]}"#;
        assert_eq!(Report::parse(Verb::Export, file.as_bytes()).expect("a file").found, 12);
    }
}
