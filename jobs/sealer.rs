//! A sealer takes what connectors announce and hand over, and keeps it sealed under the lease of the step it belongs to.
//!
//! What a batch hands over is gathered and kept together: at the end, or whenever it takes too much memory. A step of which
//! anything could not be kept is lost as a whole: an export with a hole must not look whole.

use async_trait::async_trait;
use redress_connectors::{ExportSink, Journal, Lost, Receipt};
use redress_store::{ArtifactMeta, Key, Lease, NewArtifact, OpenWork, Store, crash_point};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Records of one person are sealed together up to this size.
const ARTIFACT_BYTES: usize = 256 * 1024;
/// More than this is not held back.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Where the connector's call for one batch hands over.
pub(crate) struct Sealer<'a> {
    store: &'a Store,
    leases: HashMap<&'a str, (&'a Lease, Arc<Key>)>,
    buffer: Mutex<Buffer<'a>>,
}

#[derive(Default)]
struct Buffer<'a> {
    people: HashMap<&'a str, Person>,
    /// Closed pieces, in clear.
    pieces: Vec<Piece<'a>>,
    /// In all, with the open ones.
    bytes: usize,
}

/// What was handed over of one person and is not closed yet.
#[derive(Default)]
struct Person {
    /// How many pieces there are.
    pieces: i64,
    /// Whether something of it could not be kept.
    lost: bool,
    collections: Vec<(String, usize)>,
    lines: Vec<u8>,
}

struct Piece<'a> {
    key: &'a str,
    n: i64,
    meta: ArtifactMeta,
    body: Vec<u8>,
}

impl Person {
    fn next(&mut self) -> i64 {
        self.pieces += 1;
        self.pieces - 1
    }

    /// Closes what is open.
    fn close<'a>(&mut self, key: &'a str) -> Option<Piece<'a>> {
        if self.lines.is_empty() {
            return None;
        }
        let (body, mut collections) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.collections));
        let meta = match (collections.len(), collections.pop()) {
            (1, Some((collection, _))) => ArtifactMeta::Records { collection },
            (_, last) => {
                collections.extend(last);
                ArtifactMeta::Collections { collections }
            }
        };
        Some(Piece { key, n: self.next(), meta, body })
    }

    /// Adds a line; the bytes that it takes.
    fn add(&mut self, collection: &str, record: &Map<String, Value>) -> Result<usize, Lost> {
        let before = self.lines.len();
        serde_json::to_writer(&mut self.lines, record).map_err(|_| Lost)?;
        self.lines.push(b'\n');
        let added = self.lines.len() - before;
        match self.collections.last_mut() {
            Some((last, bytes)) if last == collection => *bytes += added,
            _ => self.collections.push((collection.to_owned(), added)),
        }
        Ok(added)
    }
}

impl<'a> Sealer<'a> {
    pub(crate) fn new(store: &'a Store, opened: &'a [OpenWork]) -> Self {
        let leases = opened.iter().map(|o| (o.lease.step_id.as_str(), (&o.lease, o.key.clone()))).collect();
        Self { store, leases, buffer: Mutex::default() }
    }

    /// Keeps whatever is still in memory.
    pub(crate) async fn flush(&self) {
        self.keep(&mut *self.buffer.lock().await).await;
    }

    /// Whether something that was handed over for this step could not be kept.
    pub(crate) async fn has_lost(&self, key: &str) -> bool {
        self.buffer.lock().await.people.get(key).is_some_and(|person| person.lost)
    }

    /// The key as long as the batch lives.
    fn own(&self, key: &str) -> Result<&'a str, Lost> {
        self.leases.get_key_value(key).map(|(key, _)| *key).ok_or(Lost)
    }

    async fn keep(&self, buffer: &mut Buffer<'a>) {
        let mut pieces = std::mem::take(&mut buffer.pieces);
        for (key, person) in &mut buffer.people {
            pieces.extend(person.close(key));
        }
        buffer.bytes = 0;
        if pieces.is_empty() {
            return;
        }
        let artifact = |piece: Piece<'a>| {
            let (lease, key) = &self.leases[piece.key];
            NewArtifact { lease, key, n: piece.n, meta: piece.meta, body: Cow::Owned(piece.body) }
        };
        let artifacts: Vec<NewArtifact<'_>> = pieces.into_iter().map(artifact).collect();
        self.put(buffer, &artifacts).await;
    }

    /// Whatever goes wrong here, the run of the step cannot count.
    async fn put(&self, buffer: &mut Buffer<'a>, artifacts: &[NewArtifact<'_>]) {
        let mut lose = |step_id: &str| {
            if let Ok(key) = self.own(step_id) {
                buffer.people.entry(key).or_default().lost = true;
            }
        };
        match self.store.put_artifacts(artifacts).await {
            Ok(missing) => {
                for step_id in missing {
                    tracing::warn!(step.id = %step_id, "an artifact of {step_id} was not kept: its lease was lost, or its request ended");
                    lose(step_id.as_str());
                }
            }
            Err(error) => {
                tracing::warn!(%error, artifacts = artifacts.len(), "artifacts of a batch could not be kept");
                for artifact in artifacts {
                    lose(artifact.lease.step_id.as_str());
                }
            }
        }
        crash_point("step.after_artifacts");
    }
}

#[async_trait]
impl Journal for Sealer<'_> {
    async fn intend(&self, key: &str, receipt: &Receipt) -> Result<(), Lost> {
        self.intend_all(&[(key, receipt)]).await.remove(0)
    }

    async fn intend_all(&self, items: &[(&str, &Receipt)]) -> Vec<Result<(), Lost>> {
        let known: Vec<_> = items
            .iter()
            .filter_map(|(key, receipt)| self.leases.get(key).map(|(lease, dek)| (*lease, &**dek, receipt.0.as_str())))
            .collect();
        let intended = self.store.intend_all(&known).await.unwrap_or_else(|error| {
            tracing::warn!(%error, steps = items.len(), "what a batch is about to change could not be recorded: it may not act");
            vec![false; known.len()]
        });
        let mut intended = known.iter().zip(intended);
        items
            .iter()
            .map(|(key, _)| {
                if !self.leases.contains_key(key) {
                    return Err(Lost);
                }
                if intended.next().is_some_and(|(_, intended)| intended) {
                    return Ok(());
                }
                tracing::warn!(step.id = %key, "step {key} may not act");
                Err(Lost)
            })
            .collect()
    }
}

#[async_trait]
impl ExportSink for Sealer<'_> {
    async fn record(&self, key: &str, collection: &str, record: Map<String, Value>) -> Result<(), Lost> {
        let key = self.own(key)?;
        let mut buffer = self.buffer.lock().await;
        let buffer = &mut *buffer;
        let person = buffer.people.entry(key).or_default();
        match person.add(collection, &record) {
            Ok(bytes) => buffer.bytes += bytes,
            Err(Lost) => person.lost = true,
        }
        if person.lines.len() >= ARTIFACT_BYTES {
            buffer.pieces.extend(person.close(key));
        }
        if buffer.bytes >= BUFFER_BYTES {
            self.keep(buffer).await;
        }
        if buffer.people[key].lost { Err(Lost) } else { Ok(()) }
    }

    async fn attachment(
        &self,
        key: &str,
        collection: &str,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), Lost> {
        let key = self.own(key)?;
        let mut buffer = self.buffer.lock().await;
        let buffer = &mut *buffer;
        let meta = ArtifactMeta::Attachment {
            collection: collection.into(),
            name: name.into(),
            media_type: media_type.into(),
        };
        let n = buffer.people.entry(key).or_default().next();
        if bytes.len() >= ARTIFACT_BYTES {
            let (lease, dek) = &self.leases[key];
            let artifact = NewArtifact { lease, key: dek, n, meta, body: Cow::Borrowed(bytes) };
            self.put(buffer, &[artifact]).await;
        } else {
            buffer.pieces.push(Piece { key, n, meta, body: bytes.to_vec() });
            buffer.bytes += bytes.len();
            if buffer.bytes >= BUFFER_BYTES {
                self.keep(buffer).await;
            }
        }
        if buffer.people[key].lost { Err(Lost) } else { Ok(()) }
    }
}
