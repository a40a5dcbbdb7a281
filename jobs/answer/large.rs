//! The answer of a person of whom much was found is made piece by piece: one artifact and one chunk of the package are in
//! memory at a time.

use super::{Asked, BROKEN, CHUNK, add, certificate, expires_at, info, is_packed, now, summary};
use crate::engine::Engine;
use crate::package::{PackageSummary, PackageWriter};
use redress_store::{Answered, Error, NewPackage, SealedArtifact, crash_point};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Collects what the ZIP writer writes until it is taken away in chunks.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("never held across a panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    /// Takes a whole chunk, or with `all` whatever is left.
    fn take(&self, all: bool) -> Option<Vec<u8>> {
        let mut bytes = self.0.lock().expect("never held across a panic");
        if bytes.is_empty() || (bytes.len() < CHUNK && !all) {
            return None;
        }
        let rest = if bytes.len() > CHUNK { bytes.split_off(CHUNK) } else { Vec::new() };
        Some(std::mem::replace(&mut *bytes, rest))
    }
}

/// Makes the answer; the chunks of its package are stored already.
pub(super) async fn make(engine: &Arc<Engine>, asked: &Arc<Asked>) -> Result<Answered, Error> {
    let now = now(engine)?;
    let package = if is_packed(asked.of.kind) { Some(pack(engine, asked, now).await?) } else { None };
    let certificate = certificate(engine, asked, package.as_ref(), now)?;
    Ok(Answered { lease: asked.lease.clone(), certificate, package, chunks: Vec::new() })
}

async fn pack(engine: &Arc<Engine>, asked: &Arc<Asked>, now: jiff::Timestamp) -> Result<NewPackage, Error> {
    let store = &engine.store;
    let (buffer, mut chunks) = (Buffer::default(), 0);
    // It is large, and handed to and fro.
    let mut writer = Box::new(PackageWriter::new(buffer.clone(), info(asked, now)));
    for (at, step) in asked.of.steps.iter().enumerate() {
        writer.source(summary(step));
        for n in 0..store.artifact_count(&step.id).await? {
            let sealed = store.sealed_artifact(&asked.lease.dsr_id, &step.id, n).await?;
            writer = added(asked, at, sealed, writer).await?;
            while let Some(chunk) = buffer.take(false) {
                store.put_package_chunk(&asked.lease, &asked.of.key, chunks, &chunk).await?;
                chunks += 1;
                crash_point("answer.between_chunks");
            }
        }
    }
    let summary = ended(engine, writer).await?;
    while let Some(chunk) = buffer.take(true) {
        store.put_package_chunk(&asked.lease, &asked.of.key, chunks, &chunk).await?;
        chunks += 1;
    }
    Ok(NewPackage {
        bytes: summary.bytes,
        chunks,
        sha256: summary.sha256,
        records: summary.records,
        expires_at: expires_at(engine, &asked.controller),
    })
}

/// Adds an artifact on a thread for what computes.
async fn added(
    asked: &Arc<Asked>,
    step: usize,
    sealed: SealedArtifact,
    mut writer: Box<PackageWriter<Buffer>>,
) -> Result<Box<PackageWriter<Buffer>>, Error> {
    let asked = asked.clone();
    let work = move || {
        let artifact = sealed.open(&asked.lease.controller_id, &asked.lease.dsr_id, &asked.of.key)?;
        add(&mut *writer, &asked.of.steps[step], &artifact)?;
        Ok(writer)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BROKEN))
}

async fn ended(engine: &Arc<Engine>, writer: Box<PackageWriter<Buffer>>) -> Result<PackageSummary, Error> {
    let engine = engine.clone();
    let work = move || writer.finish(Some(&engine.signer)).map(|(_, summary)| summary).map_err(|_| BROKEN);
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BROKEN))
}
