//! A purge destroys a request's key and what it sealed, when the time after the request's end is over; the proof stays.
//! What a legal hold reaches is kept until the hold is released.

use crate::db::args;
use crate::events::NewEvent;
use crate::{Error, Store, crash_point};
use redress_domain::{ControllerId, DsrId};
use serde_json::json;

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };

impl Store {
    /// Destroys the personal data of requests that ended long enough ago: the key, what it sealed, packages and artifacts.
    /// The audit log and the certificate stay. Returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn purge_due(&self, limit: i64) -> Result<u64, Error> {
        let now = self.now_ms();
        let rows = self
            .db
            .rows(
                "-- purge_peek\nSELECT id, controller_id FROM dsrs WHERE purge_at <= $1 AND purged_at IS NULL AND held = 0 ORDER BY purge_at LIMIT $2",
                args![now, limit],
            )
            .await?;
        for row in &rows {
            let id = row.text("id")?;
            let dsr_id = DsrId::parse(&id).map_err(|_| INCONSISTENT("id"))?;
            let controller_id =
                ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?;
            let mut tx = self.db.begin("purge").await?;
            let purged = tx
                .exec(
                    "-- purge\nUPDATE dsrs SET wrapped_key = NULL, sealed = NULL, clock_notes = NULL, reference_hash = NULL, subject_marks = NULL, purged_at = $2 WHERE id = $1 AND purged_at IS NULL AND held = 0",
                    args![id.as_str(), now],
                )
                .await?;
            if purged == 0 {
                continue;
            }
            for sql in [
                "-- purge_receipts\nUPDATE steps SET receipt = NULL, yielded = NULL, q = NULL WHERE dsr_id = $1",
                "-- purge_artifacts\nDELETE FROM artifacts WHERE dsr_id = $1",
                "-- purge_chunks\nDELETE FROM package_chunks WHERE dsr_id = $1",
                "-- purge_idempotency\nDELETE FROM idempotency WHERE dsr_id = $1",
            ] {
                tx.exec(sql, args![id.as_str()]).await?;
            }
            self.append_events(
                &mut tx,
                &controller_id,
                "engine",
                vec![NewEvent::new(Some(&dsr_id), "purged", json!({}))],
            )
            .await?;
            crash_point("purge.before_commit");
            self.commit(tx).await?;
        }
        if !rows.is_empty() {
            self.db.forget().await?;
        }
        Ok(rows.len() as u64)
    }
}
