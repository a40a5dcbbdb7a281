//! Evidence holds if its list of files is signed, every file is as listed, every event has its own hash and follows the one before, every
//! certificate is signed, and every rule book is the one it is named for.

use super::{About, EVENTS, FORMAT_VERSION, Manifest};
use crate::certificate::{KeyTrust, PublicKey, VerifyError, event_hash, hex, parse_strict, plain, verify_certificate};
use crate::package::{check_listed, small_file};
use ring::digest::{SHA256, digest};
use serde::Deserialize as _;
use serde_json::Value;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Seek};
use zip::ZipArchive;

/// The longest event that is read.
const LINE_MAX: u64 = 1024 * 1024;
/// The largest certificate or rule book that is read.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Evidence that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceReport {
    /// What it is about.
    pub about: About,
    /// The controller's name.
    pub controller: String,
    /// How many events; each has the hash that it says.
    pub events: u64,
    /// Number and hash of the last event, if there is one.
    pub last: Option<(u64, String)>,
    /// How many events directly follow the one before, by its hash.
    pub linked: u64,
    /// How many certificates.
    pub certificates: u64,
    /// How many rule books.
    pub rule_books: u64,
    /// When it was made.
    pub generated_at: jiff::Timestamp,
    /// Who signed it.
    pub key_id: String,
    /// How far to trust that key.
    pub trust: KeyTrust,
}

/// Checks evidence whose ZIP was opened and whose manifest's signature holds.
pub(crate) fn verify_opened<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    manifest: &Value,
    (key_id, trust): (String, KeyTrust),
    trusted: Option<&[PublicKey]>,
) -> Result<EvidenceReport, VerifyError> {
    match manifest.get("format_version").and_then(Value::as_str) {
        Some(FORMAT_VERSION) => {}
        Some(other) => return Err(VerifyError::Version(plain(other))),
        None => return Err(VerifyError::Shape("format_version is missing")),
    }
    let manifest = Manifest::deserialize(manifest)
        .map_err(|_| VerifyError::Shape("manifest.json is signed, but its members are not those of evidence"))?;
    check_listed(zip, manifest.files.iter().map(|file| (file.path.as_str(), file.sha256.as_str(), file.bytes)))?;
    let mut report = EvidenceReport {
        about: manifest.about.clone(),
        controller: manifest.controller.clone(),
        events: 0,
        last: None,
        linked: 0,
        certificates: 0,
        rule_books: 0,
        generated_at: manifest.generated_at,
        key_id,
        trust,
    };
    events(zip, &manifest, &mut report)?;
    for file in &manifest.files {
        if let Some(name) = file.path.strip_prefix("certificates/") {
            let text = String::from_utf8(small_file(zip, &file.path, FILE_MAX)?)
                .map_err(|_| VerifyError::Shape("a certificate is not text"))?;
            let certified = verify_certificate(&text, trusted)?;
            if format!("{}.json", certified.certificate.request.id) != name {
                return Err(VerifyError::Shape("a certificate is that of another request than its name says"));
            }
            report.certificates += 1;
        } else if let Some(name) = file.path.strip_prefix("rules/") {
            let body = small_file(zip, &file.path, FILE_MAX)?;
            if format!("{}.txt", hex(digest(&SHA256, &body).as_ref())) != name {
                return Err(VerifyError::Shape("a rule book is another one than its name says"));
            }
            report.rule_books += 1;
        }
    }
    Ok(report)
}

fn events<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    manifest: &Manifest,
    report: &mut EvidenceReport,
) -> Result<(), VerifyError> {
    let file = zip.by_name(EVENTS).map_err(|_| VerifyError::FileMissing(EVENTS.into()))?;
    let mut reader = BufReader::new(file);
    loop {
        let number = report.events + 1;
        let broken = |reason: String| VerifyError::ChainBroken { line: number, reason };
        let mut line = Vec::new();
        if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = std::str::from_utf8(&line).map_err(|_| broken("not UTF-8".into()))?.trim_end();
        let event = parse_strict(text).map_err(|_| broken("not JSON".into()))?;
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let (Some(seq), Some(hash), Some(before)) =
            (event.get("seq").and_then(Value::as_u64), text("hash"), text("prev_hash"))
        else {
            return Err(broken("not an audit event".into()));
        };
        if event_hash(&event) != hash {
            return Err(broken(format!("event {seq} was changed: its hash does not match its content")));
        }
        if text("controller_id") != Some(manifest.controller_id.as_str()) {
            return Err(broken(format!("event {seq} belongs to another controller")));
        }
        if let About::Request(id) = &manifest.about
            && text("dsr_id") != Some(id.as_str())
        {
            return Err(broken(format!("event {seq} belongs to another request")));
        }
        if let Some((last, last_hash)) = &report.last {
            let next = seq == last.saturating_add(1);
            if seq <= *last {
                return Err(broken(format!("event {seq} comes after event {last}")));
            }
            if !next && matches!(manifest.about, About::Period(..)) {
                return Err(broken(format!("event {} should be here and event {seq} is", last.saturating_add(1))));
            }
            if next && before != last_hash {
                return Err(broken(format!("event {seq} does not link to the event before it")));
            }
            report.linked += u64::from(next);
        }
        report.last = Some((seq, hash.to_owned()));
        report.events = number;
    }
    if report.events == manifest.events { Ok(()) } else { Err(VerifyError::Shape("events are missing")) }
}

impl fmt::Display for EvidenceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Evidence: valid, nothing changed, nothing added, nothing missing")?;
        match &self.about {
            About::Request(id) => writeln!(f, "  request     {}", plain(id))?,
            About::Period(from, to) => writeln!(f, "  period      {} to before {}", plain(from), plain(to))?,
        }
        writeln!(f, "  controller  {}", plain(&self.controller))?;
        writeln!(f, "  events      {}, of which {} directly follow the one before", self.events, self.linked)?;
        if let Some((seq, hash)) = &self.last {
            writeln!(f, "  last event  {seq} with hash {}", plain(hash))?;
        }
        writeln!(f, "  also        {} certificates, {} rule books", self.certificates, self.rule_books)?;
        write!(f, "  signed      {} with key {} ({})", self.generated_at, self.key_id, self.trust)
    }
}
