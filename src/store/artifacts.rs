//! An artifact is one piece of what an export found, sealed: some records of one collection, or one file.

use crate::db::args;
use crate::sealed::place;
use crate::work::Lease;
use crate::{Error, Key, Store};
use redress_domain::{ControllerId, DsrId, StepId};
use serde::{Deserialize, Serialize};

/// What an artifact is; sealed together with its body, since a file's name may be personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ArtifactMeta {
    /// Records, one JSON object a line.
    Records {
        /// Table or object type.
        collection: String,
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

/// One opened artifact.
#[derive(Debug)]
pub struct Artifact {
    /// What it is.
    pub meta: ArtifactMeta,
    /// Its body: personal data in clear, on the way into a package.
    pub body: redress_domain::Personal<Vec<u8>>,
}

fn at(controller_id: &ControllerId, dsr_id: &DsrId, step_id: &StepId, n: i64) -> Vec<u8> {
    place(&[controller_id.as_str(), dsr_id.as_str(), step_id.as_str(), "artifact", &n.to_string()])
}

impl Store {
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
        let mut clear =
            serde_json::to_vec(meta).map_err(|_| Error::Inconsistent { table: "artifacts", column: "sealed" })?;
        clear.push(b'\n');
        clear.extend_from_slice(body);
        let sealed = key.seal(&at(&lease.controller_id, &lease.dsr_id, &lease.step_id, n), &clear)?;
        let mut tx = self.db.begin("put artifact").await?;
        let put = tx
            .exec(
                "-- put_artifact\nINSERT INTO artifacts (step_id, token, n, dsr_id, sealed) SELECT $1, CAST($2 AS BIGINT), CAST($3 AS BIGINT), $4, $5 WHERE EXISTS (SELECT 1 FROM steps WHERE id = $1 AND token = $2 AND q = 'run') AND EXISTS (SELECT 1 FROM dsrs WHERE id = $4 AND stage IN ('in_progress', 'verifying'))",
                args![lease.step_id.as_str(), lease.token, n, lease.dsr_id.as_str(), sealed],
            )
            .await?;
        if put == 0 {
            return Err(Error::LeaseLost);
        }
        self.commit(tx).await
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
        let row = self
            .db
            .row(
                "-- artifact\nSELECT sealed FROM artifacts WHERE step_id = $1 AND dsr_id = $2 AND n = $3",
                args![step_id.as_str(), dsr_id.as_str(), n],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let key = self.dsr_key(controller_id, dsr_id).await?;
        let mut clear = key.open(&at(controller_id, dsr_id, step_id, n), &row.bytes("sealed")?)?;
        let inconsistent = || Error::Inconsistent { table: "artifacts", column: "sealed" };
        let split = clear.iter().position(|b| *b == b'\n').ok_or_else(inconsistent)?;
        let meta = serde_json::from_slice(&clear[..split]).map_err(|_| inconsistent())?;
        clear.drain(..=split);
        Ok(Artifact { meta, body: redress_domain::Personal::new(clear) })
    }
}
