//! A package holds if its manifest is signed and every file in it is listed there, unchanged.

use super::FORMAT_VERSION;
use super::manifest::{MANIFEST, Manifest, SIGNATURE};
use crate::certificate::{KeyTrust, PublicKey, VerifyError, check_block, hex, parse_strict, plain};
use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::Deserialize as _;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use zip::ZipArchive;
use zip::result::ZipError;

/// The largest manifest that is read.
const MANIFEST_MAX: u64 = 256 * 1024 * 1024;
/// The largest signature that is read.
const SIGNATURE_MAX: u64 = 64 * 1024;

/// A package that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageReport {
    /// The request that it answers.
    pub request_id: String,
    /// The right that was used.
    pub request_type: String,
    /// The law.
    pub regulation: String,
    /// The controller's name.
    pub controller: String,
    /// When it was made.
    pub generated_at: Timestamp,
    /// How many systems were searched.
    pub sources: u64,
    /// How many records are in it.
    pub records: u64,
    /// How many files are in it, the manifest and its signature included.
    pub files: u64,
    /// What the listed files have together, unpacked.
    pub bytes: u64,
    /// Who signed it.
    pub key_id: String,
    /// How far to trust that key.
    pub trust: KeyTrust,
}

/// A ZIP of ours that was opened: its manifest, whose signature holds, and who signed it.
pub(crate) struct Opened<R: Read + Seek> {
    pub(crate) zip: ZipArchive<R>,
    pub(crate) manifest: Value,
    pub(crate) signed: (String, KeyTrust),
}

/// Opens a ZIP with a signed manifest; where keys are given, one of them signed it. Its files are not checked yet.
pub(crate) fn open_signed<R: Read + Seek>(
    mut reader: R,
    trusted: Option<&[PublicKey]>,
) -> Result<Opened<R>, VerifyError> {
    if !ends_as_written(&mut reader)? {
        return Err(VerifyError::Container("it is not a whole ZIP, or there is something behind it"));
    }
    let mut zip = ZipArchive::new(reader).map_err(|error| container(error, "it is not a whole ZIP"))?;
    if zip.offset() != 0 {
        return Err(VerifyError::Container("there is something before it"));
    }
    // Another program may go by the headers before each file, or by the second of two entries with one name.
    zip.validate_header_consistency().map_err(|error| container(error, "its two tables of contents disagree"))?;

    let manifest = small_file(&mut zip, MANIFEST, MANIFEST_MAX)?;
    let signature = match small_file(&mut zip, SIGNATURE, SIGNATURE_MAX) {
        Err(VerifyError::FileMissing(_)) => return Err(VerifyError::Unsigned),
        other => other?,
    };
    let signature = std::str::from_utf8(&signature).map_err(|_| VerifyError::Shape("manifest.sig is not text"))?;
    let signed = check_block(&parse_strict(signature)?, &manifest, trusted)?;
    let text = std::str::from_utf8(&manifest).map_err(|_| VerifyError::Shape("manifest.json is not text"))?;
    let manifest = parse_strict(text)?;
    Ok(Opened { zip, manifest, signed })
}

/// Checks that every listed file (path, SHA-256, size) is there, unchanged, and that nothing else is; returns what they have together.
pub(crate) fn check_listed<'m, R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    files: impl Iterator<Item = (&'m str, &'m str, u64)>,
) -> Result<u64, VerifyError> {
    let mut listed = HashSet::from([MANIFEST, SIGNATURE]);
    let mut bytes = 0_u64;
    for (path, sha256, size) in files {
        if !is_safe(path) {
            return Err(VerifyError::Shape("a file's path could lead out of the folder it is unpacked in"));
        }
        if !listed.insert(path) {
            return Err(VerifyError::Shape("a file is listed twice"));
        }
        check_file(zip, path, sha256, size)?;
        bytes = bytes.saturating_add(size);
    }
    for name in zip.file_names() {
        let name = name.map_err(|error| container(error, "a file's name cannot be read"))?;
        if !listed.contains(name.as_ref()) {
            return Err(VerifyError::FileUnlisted(plain(&name)));
        }
    }
    Ok(bytes)
}

/// Checks a package: its signature and, where keys are given, that one of them signed it; then that every file the
/// manifest lists is there, unchanged, and that nothing else is.
pub fn verify_package(reader: impl Read + Seek, trusted: Option<&[PublicKey]>) -> Result<PackageReport, VerifyError> {
    verify_opened(open_signed(reader, trusted)?)
}

/// Checks a package that was opened.
pub(crate) fn verify_opened(opened: Opened<impl Read + Seek>) -> Result<PackageReport, VerifyError> {
    let Opened { mut zip, manifest: value, signed: (key_id, trust) } = opened;
    match value.get("format_version").and_then(Value::as_str) {
        Some(FORMAT_VERSION) => {}
        Some(other) => return Err(VerifyError::Version(plain(other))),
        None => return Err(VerifyError::Shape("format_version is missing")),
    }
    let manifest = Manifest::deserialize(&value)
        .map_err(|_| VerifyError::Shape("manifest.json is signed, but its members are not those of a manifest"))?;
    let files = manifest.files.iter().map(|file| (file.path.as_str(), file.sha256.as_str(), file.bytes));
    let bytes = check_listed(&mut zip, files)?;
    Ok(PackageReport {
        request_id: manifest.request_id,
        request_type: manifest.request_type,
        regulation: manifest.regulation,
        controller: manifest.controller,
        generated_at: manifest.generated_at,
        sources: manifest.sources.len() as u64,
        records: manifest.sources.iter().fold(0, |sum, source| sum.saturating_add(source.records)),
        files: zip.len() as u64,
        bytes,
        key_id,
        trust,
    })
}

/// Whether the last bytes are the end record of a ZIP without a comment.
fn ends_as_written(reader: &mut (impl Read + Seek)) -> io::Result<bool> {
    const END: u64 = 22;
    let length = reader.seek(SeekFrom::End(0))?;
    if length < END {
        return Ok(false);
    }
    let mut end = [0; END as usize];
    reader.seek(SeekFrom::Start(length - END))?;
    reader.read_exact(&mut end)?;
    Ok(end.starts_with(b"PK\x05\x06") && end.ends_with(&[0, 0]))
}

pub(crate) fn small_file<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    name: &str,
    max: u64,
) -> Result<Vec<u8>, VerifyError> {
    let file = match zip.by_name(name) {
        Ok(file) => file,
        Err(ZipError::FileNotFound) => return Err(VerifyError::FileMissing(name.to_owned())),
        Err(error) => return Err(container(error, "a file cannot be read")),
    };
    let mut out = Vec::new();
    file.take(max + 1).read_to_end(&mut out).map_err(|error| unpacking(error, name))?;
    if out.len() as u64 > max { Err(VerifyError::TooLarge) } else { Ok(out) }
}

fn check_file<R: Read + Seek>(zip: &mut ZipArchive<R>, path: &str, sha256: &str, size: u64) -> Result<(), VerifyError> {
    let file = match zip.by_name(path) {
        Ok(file) => file,
        Err(ZipError::FileNotFound) => return Err(VerifyError::FileMissing(plain(path))),
        Err(error) => return Err(container(error, "a file cannot be read")),
    };
    if !file.is_file() || file.is_symlink() {
        return Err(VerifyError::FileChanged(plain(path)));
    }
    let mut hash = Context::new(&SHA256);
    let mut bytes = 0;
    // One byte more than listed is enough to know, whatever the rest unpacks to.
    let mut file = file.take(size.saturating_add(1));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(|error| unpacking(error, path))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    if bytes == size && hex(hash.finish().as_ref()) == sha256 {
        Ok(())
    } else {
        Err(VerifyError::FileChanged(plain(path)))
    }
}

/// Whether a path stays where it is unpacked, on every system.
fn is_safe(path: &str) -> bool {
    let safe = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    path.len() <= 1024 && path.split('/').all(safe)
}

fn container(error: ZipError, reason: &'static str) -> VerifyError {
    match error {
        ZipError::Io(error) if is_environment(&error) => VerifyError::Io(error),
        _ => VerifyError::Container(reason),
    }
}

fn unpacking(error: io::Error, path: &str) -> VerifyError {
    if is_environment(&error) { VerifyError::Io(error) } else { VerifyError::FileChanged(plain(path)) }
}

/// Whether the disk is to blame and not the document.
fn is_environment(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}

impl fmt::Display for PackageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Access package: valid, nothing changed, nothing added, nothing missing")?;
        writeln!(
            f,
            "  request     {} ({}, {})",
            plain(&self.request_id),
            plain(&self.request_type),
            plain(&self.regulation)
        )?;
        writeln!(f, "  controller  {}", plain(&self.controller))?;
        writeln!(
            f,
            "  contents    {} records from {} systems, {} files, {} bytes",
            self.records, self.sources, self.files, self.bytes
        )?;
        write!(f, "  signed      {} with key {} ({})", self.generated_at, self.key_id, self.trust)
    }
}
