//! An answer is what a request ends with: a package for access, a certificate for every type; the package is sealed in chunks.

use crate::db::args;
use crate::events::Events;
use crate::events::NewEvent;
use crate::sealed::place;
use crate::work::Lease;
use crate::{Error, Key, Store, crash_point};
use redress_domain::{ControllerId, DsrId, Personal};
use serde_json::{Value, json};

/// A package whose chunks are stored and that is about to become the answer.
#[derive(Debug, Clone)]
pub struct NewPackage {
    /// Size in clear.
    pub bytes: u64,
    /// How many chunks were put.
    pub chunks: i64,
    /// SHA-256 of the ZIP, hex.
    pub sha256: String,
    /// Records in it.
    pub records: u64,
    /// When it is no longer handed out (Unix ms).
    pub expires_at: i64,
}

/// A package that is there.
#[derive(Debug, Clone)]
pub struct PackageInfo {
    /// Size in clear.
    pub bytes: i64,
    /// How many chunks.
    pub chunks: i64,
    /// SHA-256 of the ZIP, hex.
    pub sha256: String,
    /// When it is no longer handed out (Unix ms).
    pub expires_at: i64,
    token: i64,
}

fn at(controller_id: &ControllerId, dsr_id: &DsrId, token: i64, n: i64) -> Vec<u8> {
    place(&[controller_id.as_str(), dsr_id.as_str(), "package", &token.to_string(), &n.to_string()])
}

impl Store {
    /// Seals and keeps one chunk of a package that is being made, as long as the lease holds.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub async fn put_package_chunk(&self, lease: &Lease, key: &Key, n: i64, body: &[u8]) -> Result<(), Error> {
        let sealed = key.seal(&at(&lease.controller_id, &lease.dsr_id, lease.token, n), body)?;
        let mut tx = self.db.begin("put package chunk").await?;
        let put = tx
            .exec(
                "-- put_package_chunk\nINSERT INTO package_chunks (dsr_id, token, n, sealed) SELECT $1, CAST($2 AS BIGINT), CAST($3 AS BIGINT), $4 WHERE EXISTS (SELECT 1 FROM steps WHERE id = $5 AND token = $2 AND q = 'run')",
                args![lease.dsr_id.as_str(), lease.token, n, sealed, lease.step_id.as_str()],
            )
            .await?;
        if put == 0 {
            return Err(Error::LeaseLost);
        }
        self.commit(tx).await
    }

    /// Records the answer of a request and what follows: the request is completed by it. The lease must hold.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; nothing was recorded.
    pub async fn answered(
        &self,
        lease: &Lease,
        certificate: &Value,
        package: Option<&NewPackage>,
    ) -> Result<(), Error> {
        let now = self.now_ms();
        let id = lease.dsr_id.as_str();
        crash_point("answer.before");
        let mut tx = self.db.begin("answered").await?;
        self.lock_stages(&mut tx, std::slice::from_ref(&lease.dsr_id)).await?;
        let done = tx
            .exec(
                "-- answer_done\nUPDATE steps SET state = 'done', q = NULL, acted_at = $3, attention = 0, error_code = NULL, error_detail = NULL, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                args![lease.step_id.as_str(), lease.token, now],
            )
            .await?;
        if done == 0 {
            return Err(Error::LeaseLost);
        }
        if let Some(p) = package {
            tx.exec(
                "-- package\nINSERT INTO packages (dsr_id, token, bytes, chunks, sha256, records, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (dsr_id) DO UPDATE SET token = excluded.token, bytes = excluded.bytes, chunks = excluded.chunks, sha256 = excluded.sha256, records = excluded.records, created_at = excluded.created_at, expires_at = excluded.expires_at",
                args![id, lease.token, p.bytes as i64, p.chunks, &p.sha256, p.records as i64, now, p.expires_at],
            )
            .await?;
            tx.exec(
                "-- drop_stale_chunks\nDELETE FROM package_chunks WHERE dsr_id = $1 AND token <> $2",
                args![id, lease.token],
            )
            .await?;
            // The package holds what the artifacts held.
            tx.exec("-- drop_packed_artifacts\nDELETE FROM artifacts WHERE dsr_id = $1", args![id]).await?;
        }
        tx.exec(
            "-- certificate\nINSERT INTO certificates (dsr_id, document, issued_at) VALUES ($1, $2, $3) ON CONFLICT (dsr_id) DO UPDATE SET document = excluded.document, issued_at = excluded.issued_at",
            args![id, certificate.to_string(), now],
        )
        .await?;
        tx.exec("-- answered\nUPDATE dsrs SET answered_at = $2 WHERE id = $1", args![id, now]).await?;
        let mut events = Events::default();
        let data =
            json!({ "package_bytes": package.map(|p| p.bytes), "package_sha256": package.map(|p| p.sha256.as_str()) });
        events.push(&lease.controller_id, NewEvent::new(Some(&lease.dsr_id), "answer_made", data));
        self.advance_all(&mut tx, vec![lease.dsr_id.clone()], &mut events).await?;
        self.append_all(&mut tx, "engine", events).await?;
        crash_point("answer.before_commit");
        self.commit(tx).await?;
        crash_point("answer.after_commit");
        Ok(())
    }

    /// The certificate of a request, once there is one.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn certificate(&self, controller_id: &ControllerId, dsr_id: &DsrId) -> Result<Value, Error> {
        let row = self
            .db
            .row(
                "-- certificate_of\nSELECT c.document FROM certificates c JOIN dsrs d ON d.id = c.dsr_id WHERE d.controller_id = $1 AND d.id = $2",
                args![controller_id.as_str(), dsr_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        serde_json::from_str(&row.text("document")?)
            .map_err(|_| Error::Inconsistent { table: "certificates", column: "document" })
    }

    /// What is known of a request's package, once there is one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn package(&self, controller_id: &ControllerId, dsr_id: &DsrId) -> Result<Option<PackageInfo>, Error> {
        let row = self
            .db
            .row(
                "-- package_of\nSELECT p.* FROM packages p JOIN dsrs d ON d.id = p.dsr_id WHERE d.controller_id = $1 AND d.id = $2",
                args![controller_id.as_str(), dsr_id.as_str()],
            )
            .await?;
        row.map(|row| {
            Ok(PackageInfo {
                bytes: row.int("bytes")?,
                chunks: row.int("chunks")?,
                sha256: row.text("sha256")?,
                expires_at: row.int("expires_at")?,
                token: row.int("token")?,
            })
        })
        .transpose()
    }

    /// One chunk of a package in clear, on its way to its controller.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Purged`].
    pub async fn package_chunk(
        &self,
        controller_id: &ControllerId,
        dsr_id: &DsrId,
        key: &Key,
        package: &PackageInfo,
        n: i64,
    ) -> Result<Personal<Vec<u8>>, Error> {
        let row = self
            .db
            .row(
                "-- package_chunk\nSELECT c.sealed FROM package_chunks c JOIN dsrs d ON d.id = c.dsr_id WHERE d.controller_id = $1 AND d.id = $2 AND c.token = $3 AND c.n = $4",
                args![controller_id.as_str(), dsr_id.as_str(), package.token, n],
            )
            .await?
            .ok_or(Error::NotFound)?;
        Ok(Personal::new(key.open(&at(controller_id, dsr_id, package.token, n), &row.bytes("sealed")?)?))
    }

    /// The last event of a controller's log so far: number and hash.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn audit_head(&self, controller_id: &ControllerId) -> Result<(i64, String), Error> {
        let row = self
            .db
            .row(
                "-- audit_head\nSELECT event_seq, event_hash FROM controllers WHERE id = $1",
                args![controller_id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        Ok((row.int("event_seq")?, row.text("event_hash")?))
    }
}
