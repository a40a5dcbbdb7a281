//! A package is the answer to an access or portability request: one ZIP with everything that was found about a person.
//!
//! ```text
//! manifest.json                              what is in here, with a SHA-256 for every file
//! manifest.sig                               an Ed25519 signature over the exact bytes of manifest.json
//! index.html                                 the same for reading: no script, nothing loaded from elsewhere
//! README.txt                                 what all this is, in plain words
//! data/<system>/<collection>.jsonl, .csv     every record; the CSV for spreadsheets
//! attachments/<system>/<collection>/<name>   files such as e-mails, byte by byte as they were held
//! ```
//!
//! It is written front to back, so that the writer below may encrypt it as it comes; the same input gives the same
//! bytes. No name in it comes from outside unchanged, and nothing in it acts when it is opened.

mod manifest;
mod names;
mod page;
mod readme;
mod table;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use manifest::{MANIFEST, SIGNATURE};
pub use verify::{PackageReport, verify_package};
pub(crate) use verify::{check_listed, open_signed, small_file, verify_opened};

use crate::certificate::{Signer, hex, signature_block};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use manifest::{FileEntry, Manifest, SourceEntry};
use names::Names;
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value};
use std::io::{self, Write};
use table::{Preview, Table};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

/// The version of the package's format that this engine writes and reads.
pub const FORMAT_VERSION: &str = "1";

/// Above this size of its records, a file is given the large form of a ZIP entry, since its CSV may be some times larger.
const LARGE: usize = 256 * 1024 * 1024;

/// What the package says about itself.
#[derive(Clone)]
pub struct PackageInfo {
    /// The request that it answers.
    pub request_id: String,
    /// `access` or `portability`.
    pub request_type: String,
    /// The law that the request was made under, such as `EU-GDPR`.
    pub regulation: String,
    /// The controller's name, as the person knows it.
    pub controller: String,
    /// The controller's own name for the request.
    pub reference: Option<String>,
    /// When it was made; also the time of every file in it.
    pub generated_at: Timestamp,
    /// Type and value of the identifiers that were searched for, to be shown to the reader; may be empty.
    pub identifiers: Vec<(String, String)>,
}

/// What came of one connected system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSummary {
    /// The controller's name for it.
    pub system: String,
    /// Its family: `crm`, `marketing`, `email`, `database`, …
    pub family: String,
    /// `done`, `nothing_found`, …
    pub outcome: String,
    /// Records that the system reported as the person's.
    pub found: Option<u64>,
    /// When they were read.
    pub retrieved_at: Option<Timestamp>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSummary {
    /// Files in the ZIP, the manifest and its signature included.
    pub files: u64,
    /// Records.
    pub records: u64,
    /// Size of the ZIP.
    pub bytes: u64,
    /// SHA-256 of the ZIP, in hex.
    pub sha256: String,
}

/// Writes a package, one collection after the other.
///
/// Records of one system's collection are handed over one after the other; a collection is kept in memory until the
/// next one begins. Should one come again later, it gets a second file. A writer that is dropped before
/// [`PackageWriter::finish`] leaves a ZIP without a manifest, which no verification accepts.
pub struct PackageWriter<W: Write> {
    zip: ZipWriter<StreamWriter<Metered<W>>>,
    options: SimpleFileOptions,
    info: PackageInfo,
    names: Names,
    files: Vec<FileEntry>,
    sources: Vec<SourceEntry>,
    previews: Vec<Preview>,
    open: Option<Table>,
}

impl<W: Write> PackageWriter<W> {
    /// Begins a package; nothing is written yet.
    pub fn new(writer: W, info: PackageInfo) -> Self {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(0o644)
            .last_modified_time(zip_time(info.generated_at));
        Self {
            zip: ZipWriter::new_stream(Metered { inner: writer, bytes: 0, hash: Context::new(&SHA256) }),
            options,
            info,
            names: Names::default(),
            files: Vec::new(),
            sources: Vec::new(),
            previews: Vec::new(),
            open: None,
        }
    }

    /// Adds one record of a collection.
    pub fn record(&mut self, system: &str, collection: &str, record: &Map<String, Value>) -> io::Result<()> {
        let line = serde_json::to_vec(record)?;
        self.table(system, collection)?.push(&line, record);
        Ok(())
    }

    /// The collection that is being filled.
    fn table(&mut self, system: &str, collection: &str) -> io::Result<&mut Table> {
        if !self.open.as_ref().is_some_and(|table| table.system == system && table.collection == collection) {
            self.close_collection()?;
        }
        Ok(self.open.get_or_insert_with(|| Table::new(system, collection)))
    }

    /// Adds records of a collection, one JSON object a line; they are kept as they are spelled.
    pub fn lines(&mut self, system: &str, collection: &str, lines: &[u8]) -> io::Result<()> {
        for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let record = serde_json::from_slice(line).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            self.table(system, collection)?.push(line, &record);
        }
        Ok(())
    }

    /// Adds one file. Its name and place are chosen here; `name` only lends its letters.
    pub fn attachment(
        &mut self,
        system: &str,
        collection: &str,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> io::Result<()> {
        let path = self.names.attachment(system, collection, name);
        let original = (path.rsplit('/').next() != Some(name)).then(|| names::shown(name));
        let large = bytes.len() > LARGE;
        self.entry(path.clone(), names::media_type(media_type), large, |out| out.write_all(bytes))?;
        if let Some(file) = self.files.last_mut() {
            file.original_name = original;
        }
        let source = self.source_entry(system);
        source.files += 1;
        source.collection(collection).attachments.push(path);
        Ok(())
    }

    /// Says what came of one connected system, also of one in which nothing was found.
    pub fn source(&mut self, summary: SourceSummary) {
        let entry = self.source_entry(&summary.system);
        entry.family = Some(summary.family);
        entry.outcome = summary.outcome;
        entry.found = summary.found;
        entry.retrieved_at = summary.retrieved_at;
    }

    /// Writes what remains and ends the ZIP; gives the writer back.
    pub fn finish(mut self, signer: Option<&Signer>) -> io::Result<(W, PackageSummary)> {
        self.close_collection()?;
        let readme = readme::text(&self.info, signer.is_some());
        self.entry("README.txt".into(), "text/plain; charset=utf-8".into(), false, |out| {
            out.write_all(readme.as_bytes())
        })?;
        let page = page::render(&self.info, &self.sources, &self.previews, &self.files);
        self.entry("index.html".into(), "text/html; charset=utf-8".into(), false, |out| {
            out.write_all(page.as_bytes())
        })?;

        let records = self.sources.iter().map(|source| source.records).sum();
        let manifest = Manifest {
            format_version: FORMAT_VERSION.into(),
            request_id: self.info.request_id.clone(),
            request_type: self.info.request_type.clone(),
            regulation: self.info.regulation.clone(),
            controller: self.info.controller.clone(),
            reference: self.info.reference.clone(),
            generated_at: self.info.generated_at,
            sources: std::mem::take(&mut self.sources),
            files: self.files.clone(),
        };
        let mut manifest = serde_json::to_vec_pretty(&manifest)?;
        manifest.push(b'\n');
        self.entry(manifest::MANIFEST.into(), "application/json".into(), false, |out| out.write_all(&manifest))?;
        if let Some(signer) = signer {
            let block = signature_block(signer, &manifest, "signature");
            let mut text = serde_json::to_vec_pretty(&block)?;
            text.push(b'\n');
            self.entry(manifest::SIGNATURE.into(), "application/json".into(), false, |out| out.write_all(&text))?;
        }
        let files = self.files.len() as u64;
        let Metered { inner, bytes, hash } = self.zip.finish()?.into_inner();
        Ok((inner, PackageSummary { files, records, bytes, sha256: hex(hash.finish().as_ref()) }))
    }

    /// Writes the files of the collection that was being filled.
    fn close_collection(&mut self) -> io::Result<()> {
        let Some(table) = self.open.take() else { return Ok(()) };
        let large = table.jsonl().len() > LARGE;
        let data = self.names.data(&table.system, &table.collection, "jsonl");
        self.entry(data.clone(), "application/jsonl".into(), large, |out| out.write_all(table.jsonl()))?;
        let mut csv = None;
        if table.has_columns() {
            let path = self.names.data(&table.system, &table.collection, "csv");
            self.entry(path.clone(), "text/csv; charset=utf-8".into(), large, |out| table.write_csv(out))?;
            csv = Some(path);
        }
        let written = 1 + u64::from(csv.is_some());
        let records = table.records();
        let source = self.source_entry(&table.system);
        source.records += records;
        source.files += written;
        let entry = source.collection(&table.collection);
        entry.records += records;
        entry.data.push(data.clone());
        entry.csv.extend(csv.clone());
        self.previews.push(table.into_preview(data, csv));
        Ok(())
    }

    fn source_entry(&mut self, system: &str) -> &mut SourceEntry {
        let at = self.sources.iter().position(|source| source.system == system).unwrap_or_else(|| {
            self.sources.push(SourceEntry::new(system));
            self.sources.len() - 1
        });
        &mut self.sources[at]
    }

    /// Writes one file and notes its hash and size.
    fn entry(
        &mut self,
        path: String,
        media_type: String,
        large: bool,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.zip.start_file(&path, self.options.large_file(large))?;
        let mut out = Metered { inner: &mut self.zip, bytes: 0, hash: Context::new(&SHA256) };
        write(&mut out)?;
        let Metered { bytes, hash, .. } = out;
        self.files.push(FileEntry {
            path,
            sha256: hex(hash.finish().as_ref()),
            bytes,
            media_type,
            original_name: None,
        });
        Ok(())
    }
}

/// Passes bytes on, counting and hashing them.
struct Metered<W> {
    inner: W,
    bytes: u64,
    hash: Context,
}

impl<W: Write> Write for Metered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The instant in UTC as a ZIP can hold it: two seconds fine, from 1980 to 2107.
pub(crate) fn zip_time(at: Timestamp) -> zip::DateTime {
    let at = at.to_zoned(TimeZone::UTC).datetime();
    let part = |value: i8| value.unsigned_abs();
    zip::DateTime::from_date_and_time(
        at.year().unsigned_abs(),
        part(at.month()),
        part(at.day()),
        part(at.hour()),
        part(at.minute()),
        part(at.second()),
    )
    .unwrap_or_default()
}
