//! An artifact is one piece of what an export found, sealed: some records of one collection or of several, or one file.

use crate::db::{Arg, Tx, args, texts};
use crate::sealed::place;
use crate::sql::{RowSet, row};
use crate::work::Lease;
use crate::{Error, Key, Store};
use redress_domain::{ControllerId, DsrId, Personal, StepId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashSet;

/// What an artifact is; sealed together with its body, since a file's name may be personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ArtifactMeta {
    /// Records of one collection, one JSON object a line.
    Records {
        /// Table or object type.
        collection: String,
    },
    /// Records of several collections, one after the other.
    Collections {
        /// Each with the bytes that its lines take.
        collections: Vec<(String, usize)>,
    },
    /// One file.
    Attachment {
        /// Mailbox or folder.
        collection: String,
        /// As the system named it.
        name: String,
        /// Media type.
        media_type: String,
    },
}

/// An artifact about to be kept: personal data in clear.
#[derive(Debug)]
pub struct NewArtifact<'a> {
    /// The step that found it.
    pub lease: &'a Lease,
    /// The key of its request.
    pub key: &'a Key,
    /// Its place among the step's artifacts, from 0.
    pub n: i64,
    /// What it is.
    pub meta: ArtifactMeta,
    /// Its body.
    pub body: Cow<'a, [u8]>,
}

/// One opened artifact.
#[derive(Debug)]
pub struct Artifact {
    /// What it is.
    pub meta: ArtifactMeta,
    /// Its body: personal data in clear, on the way into a package.
    pub body: Personal<Vec<u8>>,
}

/// An artifact as it is kept.
#[derive(Debug)]
pub struct SealedArtifact {
    step_id: StepId,
    n: i64,
    sealed: Vec<u8>,
}

/// Larger ones are written one by one: a set of rows is copied and spelled out on its way.
const LARGE: usize = 64 * 1024;
/// One statement takes about so much.
const TOGETHER: usize = 1024 * 1024;

const INCONSISTENT: Error = Error::Inconsistent { table: "artifacts", column: "sealed" };

fn at(controller_id: &ControllerId, dsr_id: &DsrId, step_id: &StepId, n: i64) -> Vec<u8> {
    place(&[controller_id.as_str(), dsr_id.as_str(), step_id.as_str(), "artifact", &n.to_string()])
}

fn seal(artifact: &NewArtifact<'_>) -> Result<Vec<u8>, Error> {
    let mut clear = serde_json::to_vec(&artifact.meta).map_err(|_| INCONSISTENT)?;
    clear.reserve(1 + artifact.body.len());
    clear.push(b'\n');
    clear.extend_from_slice(&artifact.body);
    let lease = artifact.lease;
    artifact.key.seal(&at(&lease.controller_id, &lease.dsr_id, &lease.step_id, artifact.n), &clear)
}

impl SealedArtifact {
    /// Opens it with the key of its request.
    ///
    /// # Errors
    /// [`Error::Sealing`], or the row is damaged.
    pub fn open(&self, controller_id: &ControllerId, dsr_id: &DsrId, key: &Key) -> Result<Artifact, Error> {
        let mut clear = key.open(&at(controller_id, dsr_id, &self.step_id, self.n), &self.sealed)?;
        let split = clear.iter().position(|b| *b == b'\n').ok_or(INCONSISTENT)?;
        let meta = serde_json::from_slice(&clear[..split]).map_err(|_| INCONSISTENT)?;
        clear.drain(..=split);
        Ok(Artifact { meta, body: Personal::new(clear) })
    }

    /// Of which step.
    pub const fn step_id(&self) -> &StepId {
        &self.step_id
    }
}

impl Store {
    /// Seals and keeps artifacts of a batch, each as long as the lease of its step holds and its request is worked on.
    /// Returns the steps of which something was not kept: what their run exported has a hole.
    ///
    /// # Errors
    /// The database is away; nothing was kept.
    pub async fn put_artifacts(&self, all: &[NewArtifact<'_>]) -> Result<HashSet<StepId>, Error> {
        if all.is_empty() {
            return Ok(HashSet::new());
        }
        let mut tx = self.db.begin("put artifacts").await?;
        let mut kept = HashSet::with_capacity(all.len());
        let (mut small, mut bytes) = (RowSet::default(), 0);
        for artifact in all {
            let (lease, sealed) = (artifact.lease, seal(artifact)?);
            if sealed.len() > LARGE {
                if put_large(&mut tx, artifact, sealed).await? {
                    kept.insert((lease.step_id.as_str().to_owned(), artifact.n));
                }
                continue;
            }
            bytes += sealed.len();
            small.push(row![lease.step_id.as_str(), lease.token, artifact.n, lease.dsr_id.as_str(), sealed]);
            if bytes > TOGETHER {
                put_small(&mut tx, std::mem::take(&mut small), &mut kept).await?;
                bytes = 0;
            }
        }
        put_small(&mut tx, small, &mut kept).await?;
        self.commit(tx).await?;
        let missing = |a: &&NewArtifact<'_>| !kept.contains(&(a.lease.step_id.as_str().to_owned(), a.n));
        Ok(all.iter().filter(missing).map(|a| a.lease.step_id.clone()).collect())
    }

    /// How many artifacts the step's last run left.
    ///
    /// # Errors
    /// The database is away.
    pub async fn artifact_count(&self, step_id: &StepId) -> Result<i64, Error> {
        let row = self
            .db
            .row("-- artifact_count\nSELECT COUNT(*) AS n FROM artifacts WHERE step_id = $1", args![step_id.as_str()])
            .await?
            .ok_or(Error::NotFound)?;
        row.int("n")
    }

    /// Seals and keeps one artifact of a step, as long as the lease holds.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if another worker holds the step, or the request ended.
    pub async fn put_artifact(
        &self,
        lease: &Lease,
        key: &Key,
        n: i64,
        meta: &ArtifactMeta,
        body: &[u8],
    ) -> Result<(), Error> {
        let artifact = NewArtifact { lease, key, n, meta: meta.clone(), body: Cow::Borrowed(body) };
        if self.put_artifacts(&[artifact]).await?.is_empty() { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Opens the `n`-th artifact of a step, from 0.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the key is gone.
    pub async fn artifact(
        &self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        step_id: &StepId,
        n: i64,
    ) -> Result<Artifact, Error> {
        let key = self.dsr_key(controller_id, dsr_id).await?;
        self.sealed_artifact(dsr_id, step_id, n).await?.open(controller_id, dsr_id, &key)
    }

    /// The `n`-th artifact of a step, from 0, as it is kept.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn sealed_artifact(&self, dsr_id: &DsrId, step_id: &StepId, n: i64) -> Result<SealedArtifact, Error> {
        let row = self
            .db
            .row(
                "-- artifact\nSELECT sealed FROM artifacts WHERE step_id = $1 AND dsr_id = $2 AND n = $3",
                args![step_id.as_str(), dsr_id.as_str(), n],
            )
            .await?
            .ok_or(Error::NotFound)?;
        Ok(SealedArtifact { step_id: step_id.clone(), n, sealed: row.bytes("sealed")? })
    }

    /// Every artifact of these requests, by request and step, in order. Ask only for those of which little was found.
    ///
    /// # Errors
    /// The database is away.
    pub async fn artifacts_of(&self, dsr_ids: &[DsrId]) -> Result<Vec<(DsrId, SealedArtifact)>, Error> {
        let rows = self
            .db
            .rows(
                "-- artifacts_of\nSELECT dsr_id, step_id, n, sealed FROM artifacts WHERE dsr_id {in $1} ORDER BY dsr_id, step_id, n",
                args![texts(dsr_ids.iter().map(DsrId::as_str))],
            )
            .await?;
        let inconsistent = |column| Error::Inconsistent { table: "artifacts", column };
        rows.into_iter()
            .map(|row| {
                let dsr_id = DsrId::parse(&row.text("dsr_id")?).map_err(|_| inconsistent("dsr_id"))?;
                let step_id = StepId::parse(&row.text("step_id")?).map_err(|_| inconsistent("step_id"))?;
                Ok((dsr_id, SealedArtifact { step_id, n: row.int("n")?, sealed: row.bytes("sealed")? }))
            })
            .collect()
    }
}

async fn put_large(tx: &mut Tx, artifact: &NewArtifact<'_>, sealed: Vec<u8>) -> Result<bool, Error> {
    let lease = artifact.lease;
    let arguments: Vec<Arg> = args![lease.step_id.as_str(), lease.token, artifact.n, lease.dsr_id.as_str(), sealed];
    let put = tx
        .exec(
            "-- put_artifact\nINSERT INTO artifacts (step_id, token, n, dsr_id, sealed) SELECT $1, CAST($2 AS BIGINT), CAST($3 AS BIGINT), $4, $5 WHERE EXISTS (SELECT 1 FROM steps WHERE id = $1 AND token = $2 AND q = 'run') AND EXISTS (SELECT 1 FROM dsrs WHERE id = $4 AND stage IN ('in_progress', 'verifying'))",
            arguments,
        )
        .await?;
    Ok(put == 1)
}

async fn put_small(tx: &mut Tx, artifacts: RowSet, kept: &mut HashSet<(String, i64)>) -> Result<(), Error> {
    if artifacts.is_empty() {
        return Ok(());
    }
    let rows = tx
        .rows(
            "-- put_artifacts\nINSERT INTO artifacts (step_id, token, n, dsr_id, sealed) SELECT v.step_id, v.held, v.n, v.dsr_id, v.sealed FROM {rows $1 AS v(step_id text, held int, n int, dsr_id text, sealed bytes)} JOIN steps s ON s.id = v.step_id AND s.token = v.held AND s.q = 'run' JOIN dsrs d ON d.id = v.dsr_id AND d.stage IN ('in_progress', 'verifying') RETURNING step_id, n",
            args![artifacts],
        )
        .await?;
    for row in rows {
        kept.insert((row.text("step_id")?, row.int("n")?));
    }
    Ok(())
}
