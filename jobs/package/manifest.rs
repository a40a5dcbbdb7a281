//! The manifest lists what a package holds and where it came from; its signature makes the whole package tamper-evident.

use crate::certificate::{as_text, as_text_option};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The manifest's place in the package.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Its signature's place.
pub(crate) const SIGNATURE: &str = "manifest.sig";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format_version: String,
    pub(super) request_id: String,
    #[serde(rename = "type")]
    pub(super) request_type: String,
    pub(super) regulation: String,
    pub(super) controller: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<String>,
    #[serde(with = "as_text")]
    pub(super) generated_at: Timestamp,
    pub(super) sources: Vec<SourceEntry>,
    pub(super) files: Vec<FileEntry>,
}

/// One connected system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SourceEntry {
    pub(super) system: String,
    pub(super) family: Option<String>,
    pub(super) outcome: String,
    /// Records that the system reported.
    pub(super) found: Option<u64>,
    /// Records that are in the package.
    pub(super) records: u64,
    /// How many files of it are in the package.
    pub(super) files: u64,
    #[serde(default, with = "as_text_option")]
    pub(super) retrieved_at: Option<Timestamp>,
    pub(super) collections: Vec<CollectionEntry>,
}

/// One category of data in a system: a table, an object type, a mailbox.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct CollectionEntry {
    pub(super) name: String,
    pub(super) records: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) data: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) csv: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) attachments: Vec<String>,
}

/// One file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FileEntry {
    pub(super) path: String,
    pub(super) sha256: String,
    pub(super) bytes: u64,
    pub(super) media_type: String,
    /// What an attachment was called where it was held, if it is called otherwise here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) original_name: Option<String>,
}

impl SourceEntry {
    /// A system of which nothing is known yet but that it holds data.
    pub(super) fn new(system: &str) -> Self {
        Self {
            system: system.to_owned(),
            family: None,
            outcome: "done".into(),
            found: None,
            records: 0,
            files: 0,
            retrieved_at: None,
            collections: Vec::new(),
        }
    }

    pub(super) fn collection(&mut self, name: &str) -> &mut CollectionEntry {
        let at = self.collections.iter().position(|collection| collection.name == name).unwrap_or_else(|| {
            self.collections.push(CollectionEntry { name: name.to_owned(), ..CollectionEntry::default() });
            self.collections.len() - 1
        });
        &mut self.collections[at]
    }
}
