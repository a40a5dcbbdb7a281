//! An intent is what a step is about to change, kept sealed before its first effect: whoever runs the step next knows what to
//! look for.

use crate::db::args;
use crate::sql::{RowSet, row};
use crate::work::{Lease, receipt_place};
use crate::{Error, Key, Store, crash_point};
use redress_domain::DsrId;
use std::collections::{BTreeMap, HashSet};

impl Store {
    /// Records what a step is about to change, if its lease holds and its request is still being worked on.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]: do nothing.
    pub async fn intend(&self, lease: &Lease, key: &Key, receipt: &str) -> Result<(), Error> {
        if self.intend_all(&[(lease, key, receipt)]).await?[0] { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Records what steps are about to change, in one statement; tells of each, in their order, whether its lease held, its
    /// request is still being worked on and no legal hold stops it. Whoever gets `false` does nothing. Of several for one step the last one counts.
    ///
    /// # Errors
    /// The database is away: do nothing.
    pub async fn intend_all(&self, items: &[(&Lease, &Key, &str)]) -> Result<Vec<bool>, Error> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let last: BTreeMap<_, _> = items.iter().map(|item| (item.0.step_id.as_str(), item)).collect();
        let mut rows = RowSet::default();
        for (lease, key, receipt) in last.into_values() {
            let sealed = key.seal(&receipt_place(lease), receipt.as_bytes())?;
            rows.push(row![lease.step_id.as_str(), lease.token, sealed]);
        }
        // Requests before steps, as everywhere. Without their locks a withdrawal could be committed, and answered, between the
        // look at the stage and the commit of the intent; and a legal hold could come into force.
        let mut requests: Vec<DsrId> = items.iter().map(|(lease, ..)| lease.dsr_id.clone()).collect();
        requests.sort();
        requests.dedup();
        let mut tx = self.db.begin("intend").await?;
        self.lock_stages(&mut tx, &requests).await?;
        // Locked in the order in which leases are renewed: two tasks of one worker must not each hold what the other waits for.
        let written = tx
            .rows(
                "-- intend\nUPDATE steps SET receipt = held.sealed FROM (SELECT s.id AS step, v.sealed FROM steps s JOIN {rows $1 AS v(step text, token int, sealed bytes)} ON s.id = v.step AND s.token = v.token WHERE s.q = 'run' AND s.held = 0 AND EXISTS (SELECT 1 FROM dsrs d WHERE d.id = s.dsr_id AND d.stage IN ('in_progress', 'verifying')) ORDER BY s.id {for_update}) AS held WHERE steps.id = held.step RETURNING steps.id",
                args![rows],
            )
            .await?;
        let written: HashSet<String> = written.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
        crash_point("queue.before_intend_commit");
        self.commit(tx).await?;
        crash_point("queue.after_intend");
        Ok(items.iter().map(|(lease, ..)| written.contains(lease.step_id.as_str())).collect())
    }
}
