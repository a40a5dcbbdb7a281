//! Evidence is what a controller shows an authority: what was done, when, by whom and by which rules, for one request or for a period.
//!
//! ```text
//! manifest.json               what is in here, with a SHA-256 for every file
//! manifest.sig                an Ed25519 signature over the exact bytes of manifest.json
//! README.txt                  what all this is and how to check it without us
//! events.ndjson               the audit log: of a request its own events, of a period every event, each bound to the one before
//! requests/<id>.json          the dates of a request and why they are these
//! certificates/<id>.json      the signed certificate of a request that ended with one
//! rules/<digest>.txt          the rules by which dates were computed, named by their SHA-256
//! ```
//!
//! It is written front to back. Nothing in it is about a data subject: ids, codes, counts and dates.

mod verify;

pub use verify::EvidenceReport;
pub(crate) use verify::verify_opened;

use crate::certificate::{Signer, as_text, hex, signature_block};
use crate::package::{MANIFEST, SIGNATURE, zip_time};
use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

/// The version of the format that this engine writes and reads.
pub const FORMAT_VERSION: &str = "1";
/// What tells it from an access package.
pub(crate) const KIND: &str = "evidence";
/// The audit log's place.
pub(crate) const EVENTS: &str = "events.ndjson";

/// What the evidence is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// One request.
    Request(String),
    /// Everything of a controller from the first instant to before the second.
    Period(String, String),
}

/// What the evidence says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format_version: String,
    pub(crate) kind: String,
    pub(crate) about: About,
    pub(crate) controller_id: String,
    pub(crate) controller: String,
    #[serde(with = "as_text")]
    pub(crate) generated_at: Timestamp,
    pub(crate) events: u64,
    pub(crate) files: Vec<Listed>,
}

/// One file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// Writes evidence, one file after the other. Dropped before [`EvidenceWriter::finish`] it leaves a ZIP that no check accepts.
pub struct EvidenceWriter<W: Write> {
    zip: ZipWriter<StreamWriter<W>>,
    options: SimpleFileOptions,
    manifest: Manifest,
    open: Option<(String, u64, Context)>,
}

impl<W: Write> EvidenceWriter<W> {
    /// Begins with a README; everything is dated by this moment.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(
        writer: W,
        about: About,
        controller_id: &str,
        controller: &str,
        generated_at: Timestamp,
    ) -> io::Result<Self> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(0o644)
            .last_modified_time(zip_time(generated_at));
        let manifest = Manifest {
            format_version: FORMAT_VERSION.into(),
            kind: KIND.into(),
            about,
            controller_id: controller_id.to_owned(),
            controller: controller.to_owned(),
            generated_at,
            events: 0,
            files: Vec::new(),
        };
        let mut writer = Self { zip: ZipWriter::new_stream(writer), options, manifest, open: None };
        let readme = readme(&writer.manifest);
        writer.file("README.txt", readme.as_bytes())?;
        Ok(writer)
    }

    /// Adds a whole file.
    ///
    /// # Errors
    /// The writer's.
    pub fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.begin(path, false)?;
        self.put(content)?;
        self.end();
        Ok(())
    }

    /// Begins the audit log.
    ///
    /// # Errors
    /// The writer's.
    pub fn begin_events(&mut self) -> io::Result<()> {
        self.begin(EVENTS, true)
    }

    /// Adds one event, as JSON on one line.
    ///
    /// # Errors
    /// The writer's.
    pub fn event(&mut self, line: &[u8]) -> io::Result<()> {
        self.manifest.events += 1;
        self.put(line)?;
        self.put(b"\n")
    }

    fn begin(&mut self, path: &str, large: bool) -> io::Result<()> {
        self.end();
        self.zip.start_file(path, self.options.large_file(large))?;
        self.open = Some((path.to_owned(), 0, Context::new(&SHA256)));
        Ok(())
    }

    fn put(&mut self, content: &[u8]) -> io::Result<()> {
        if let Some((_, bytes, hash)) = &mut self.open {
            *bytes += content.len() as u64;
            hash.update(content);
        }
        self.zip.write_all(content)
    }

    fn end(&mut self) {
        if let Some((path, bytes, hash)) = self.open.take() {
            self.manifest.files.push(Listed { path, sha256: hex(hash.finish().as_ref()), bytes });
        }
    }

    /// Lists what was written, signs the list and ends the ZIP.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self, signer: &Signer) -> io::Result<W> {
        self.end();
        let mut manifest = serde_json::to_vec_pretty(&self.manifest)?;
        manifest.push(b'\n');
        let mut signature = serde_json::to_vec_pretty(&signature_block(signer, &manifest, "signature"))?;
        signature.push(b'\n');
        self.file(MANIFEST, &manifest)?;
        self.file(SIGNATURE, &signature)?;
        Ok(self.zip.finish()?.into_inner())
    }
}

fn readme(manifest: &Manifest) -> String {
    let what = match &manifest.about {
        About::Request(id) => format!("the request {id}"),
        About::Period(from, to) => format!("everything from {from} to before {to}"),
    };
    let chain = match &manifest.about {
        About::Request(_) => {
            "events.ndjson holds the events of this request. Their numbers (seq) are those of the\n\
             controller's whole log, so there are gaps: the events in between belong to other\n\
             requests. Where two follow each other, the second holds the first one's hash. The whole\n\
             log (GET /v1/audit) closes the gaps.\n"
        }
        About::Period(..) => {
            "events.ndjson holds every event of the period. Each holds the hash of the one before,\n\
             so none can be changed, left out or put in without changing every later one.\n"
        }
    };
    let controller: String = manifest.controller.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!(
        "EVIDENCE FOR {what}\n\
         \n\
         Controller {controller} ({id}); made at {at}.\n\
         It holds ids, codes, counts and dates, and nothing that says who a data subject is.\n\
         \n\
         WHAT IS IN HERE\n\
         \n\
         events.ndjson   what happened: when, by whom, one event per line\n\
         requests/       the dates of each request and why they are these\n\
         certificates/   what was done in which system, signed when the request ended\n\
         rules/          the rules by which the dates were computed; each file is named by its\n\
         \x20               SHA-256, and requests/ names those that counted\n\
         manifest.json   a list of all files with sizes and SHA-256; manifest.sig signs it\n\
         \n\
         HOW TO CHECK IT\n\
         \n\
         With the program that made it, offline:  redress verify FILE --key BASE64\n\
         The key is the one the processor publishes at /.well-known/redress-signing-key.json.\n\
         \n\
         Without it: manifest.sig holds an Ed25519 signature over the bytes of manifest.json;\n\
         manifest.json holds the SHA-256 of every other file; the hash of an event is the SHA-256\n\
         of its JSON without the member hash, members sorted by name, without white space.\n\
         \n\
         {chain}",
        id = manifest.controller_id,
        at = manifest.generated_at,
    )
}

#[cfg(test)]
mod tests;
