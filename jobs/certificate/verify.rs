//! To verify is to check a document offline, with nothing but the document and, if at hand, the installation's public key.

use super::{
    AuditReport, Certificate, FORMAT_VERSION, JsonFault, KeyTrust, PublicKey, canonical, check_block, parse_strict,
    plain, verify_audit_export,
};
use crate::evidence::{self, EvidenceReport};
use crate::package::{PackageReport, open_signed, verify_opened};
use serde::Deserialize as _;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// The largest certificate that is read: real ones have a few kilobytes.
const CERTIFICATE_MAX: u64 = 16 * 1024 * 1024;

/// Why a document is not what it claims to be, in words for the person who holds it.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file could not be read.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// Neither a package, nor a certificate, nor an audit export.
    #[error("this is not a certificate, an access package, evidence or an audit export")]
    Unrecognized,
    /// Larger than any real one.
    #[error("the document is larger than any real one")]
    TooLarge,
    /// Not JSON that can be checked.
    #[error("{0}")]
    Json(#[from] JsonFault),
    /// The document has another shape.
    #[error("the document is not as it should be: {0}")]
    Shape(&'static str),
    /// Written in a format that this version does not know.
    #[error("format version {0:?} is not known to this version; version 1 is")]
    Version(String),
    /// There is no signature.
    #[error("it is not signed")]
    Unsigned,
    /// Signed by other means than Ed25519.
    #[error("it is signed with an algorithm other than Ed25519")]
    Algorithm,
    /// Signed by a key that the caller does not trust.
    #[error("it is signed with key {key_id:?}, which is not one of the trusted keys")]
    UntrustedKey {
        /// The key's short name.
        key_id: String,
    },
    /// The signature is not one of this content.
    #[error("the signature does not match: the document was changed after it was signed")]
    Changed,
    /// Not a ZIP, or a ZIP that two programs would read differently.
    #[error("the ZIP is damaged or was tampered with: {0}")]
    Container(&'static str),
    /// A file that the manifest lists is not in the package.
    #[error("the file {0:?} is listed in the manifest and missing from the package")]
    FileMissing(String),
    /// A file has other content than the manifest says.
    #[error("the file {0:?} was changed: its content is not what the manifest says")]
    FileChanged(String),
    /// The package holds a file that the manifest does not list.
    #[error("the file {0:?} is in the package and not listed in the manifest")]
    FileUnlisted(String),
    /// The audit log's chain of hashes is broken.
    #[error("line {line}: {reason}")]
    ChainBroken {
        /// Counted from 1.
        line: u64,
        /// What is wrong there.
        reason: String,
    },
}

/// A certificate that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateReport {
    /// What it says.
    pub certificate: Certificate,
    /// Who signed it.
    pub key_id: String,
    /// How far to trust that key.
    pub trust: KeyTrust,
}

/// What was verified.
#[derive(Debug)]
pub enum Report {
    /// A certificate.
    Certificate(Box<CertificateReport>),
    /// An access package.
    Package(PackageReport),
    /// An export of the audit log.
    Audit(AuditReport),
    /// Evidence about a request or a period.
    Evidence(Box<EvidenceReport>),
}

/// Checks a certificate: its form, its signature and, where keys are given, that one of them signed it.
pub fn verify_certificate(text: &str, trusted: Option<&[PublicKey]>) -> Result<CertificateReport, VerifyError> {
    let document = parse_strict(text)?;
    let members = document.as_object().ok_or(VerifyError::Unrecognized)?;
    let value = members.get("certificate").ok_or(VerifyError::Unrecognized)?;
    match value.get("format_version") {
        Some(version) if version == FORMAT_VERSION => {}
        Some(version) => return Err(VerifyError::Version(plain(version.as_str().unwrap_or("?")))),
        None => return Err(VerifyError::Shape("format_version is missing")),
    }
    let signature = members.get("signature").ok_or(VerifyError::Unsigned)?;
    if members.len() != 2 {
        return Err(VerifyError::Shape("there is something beside the certificate and its signature"));
    }
    let (key_id, trust) = check_block(signature, canonical(value).as_bytes(), trusted)?;
    let certificate = Certificate::deserialize(value)
        .map_err(|_| VerifyError::Shape("it is signed, but its members are not those of a certificate"))?;
    Ok(CertificateReport { certificate, key_id, trust })
}

/// Checks whatever is in a file: an access package, evidence, a certificate or an audit export, recognized by its content.
pub fn verify_any(path: &Path, trusted: Option<&[PublicKey]>) -> Result<Report, VerifyError> {
    let mut file = BufReader::new(File::open(path)?);
    let beginning = file.fill_buf()?;
    if beginning.starts_with(b"PK") {
        let mut opened = open_signed(file, trusted)?;
        if opened.manifest.get("kind").and_then(serde_json::Value::as_str) != Some(evidence::KIND) {
            return verify_opened(opened).map(Report::Package);
        }
        let report = evidence::verify_opened(&mut opened.zip, &opened.manifest, opened.signed, trusted);
        return report.map(|report| Report::Evidence(Box::new(report)));
    }
    // Only an audit event has a prev_hash, and an export has one event per line.
    let line = beginning.split(|b| *b == b'\n').next().unwrap_or_default();
    if line.windows(11).any(|w| w == b"\"prev_hash\"") {
        return verify_audit_export(file).map(Report::Audit);
    }
    if file.seek(SeekFrom::End(0))? > CERTIFICATE_MAX {
        return Err(VerifyError::Unrecognized);
    }
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(CERTIFICATE_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| VerifyError::Unrecognized)?;
    if !text.trim_start().starts_with('{') {
        return Err(VerifyError::Unrecognized);
    }
    verify_certificate(&text, trusted).map(|report| Report::Certificate(Box::new(report)))
}

impl fmt::Display for CertificateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Certificate { request, controller, deadlines, steps, audit, issued_at, .. } = &self.certificate;
        let verified = steps.iter().filter(|step| step.verified_at.is_some()).count();
        let retained: u64 = steps.iter().flat_map(|step| &step.retained).map(|kept| kept.records).sum();
        writeln!(f, "Certificate: valid")?;
        writeln!(f, "  request     {} ({}, {})", plain(&request.id), request.request_type, plain(&request.regulation))?;
        writeln!(f, "  controller  {}", plain(&controller.name))?;
        writeln!(f, "  outcome     {} at {}", request.outcome.as_str(), request.completed_at)?;
        let kept = if deadlines.met { "met" } else { "missed" };
        writeln!(f, "  deadline    {} ({}), {kept}", deadlines.effective.due_on, plain(&deadlines.effective.binding))?;
        writeln!(f, "  steps       {}, of which {verified} verified by a second read", steps.len())?;
        if retained > 0 {
            writeln!(f, "  retained    {retained} records, each with its reason")?;
        }
        writeln!(f, "  audit log   event {} has hash {}", audit.last_event_seq, plain(&audit.last_event_hash))?;
        write!(f, "  signed      {} with key {} ({})", issued_at, self.key_id, self.trust)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Certificate(report) => report.fmt(f),
            Report::Package(report) => report.fmt(f),
            Report::Audit(report) => report.fmt(f),
            Report::Evidence(report) => report.fmt(f),
        }
    }
}
