//! The queue is the `steps` table: a worker leases due rows, works, and records what came of it if it still holds the lease.
//!
//! `q` is `ready`, `wait` (until `not_before`), `run` (until `lease_until`, by the database's clock) or NULL. Each lease gets
//! a new token; every later write names it, so that whoever lost a lease can write no more. The attempt is counted when the
//! lease is given ([`crate::Store::claim_queues`]), so that a step that kills its process is seen to have been tried.

use crate::db::{Tx, args, texts};
use crate::events::{Events, NewEvent};
use crate::work::{INCONSISTENT, Lease, OVER, WorkKind, places, read_lease};
use crate::{Error, Store};
use redress_domain::step::DEATHS_MAX;
use redress_domain::{DsrId, StepId, SystemId};
use serde_json::json;

impl Store {
    /// Lengthens the leases of these rows as far as they are still ours, in the order in which [`Store::finish`] takes them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn renew(&self, owner: &str, ids: &[StepId], lease_ms: i64) -> std::result::Result<u64, Error> {
        if ids.is_empty() {
            return Ok(0);
        }
        let rows = self
            .db
            .write(
                "-- renew\nUPDATE steps SET lease_until = {now} + $1 WHERE id IN (SELECT id FROM steps WHERE q = 'run' AND owner = $2 AND id {in $3} ORDER BY id {for_update}) RETURNING 1 AS one",
                args![lease_ms, owner, texts(ids.iter().map(StepId::as_str))],
            )
            .await?;
        self.figures.renewed.count(rows.len());
        Ok(rows.len() as u64)
    }

    /// Gives back rows that were leased but not begun, as if they never had been. What belongs to a request that ended
    /// meanwhile does not return to the queue.
    ///
    /// # Errors
    /// The database is away.
    pub async fn release(&self, leases: &[Lease]) -> std::result::Result<(), Error> {
        if leases.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin("release").await?;
        let dsr_ids: Vec<DsrId> = leases.iter().map(|l| l.dsr_id.clone()).collect();
        self.lock_stages(&mut tx, &dsr_ids).await?;
        for lease in leases {
            tx.exec(
                &format!("-- release\nUPDATE steps SET q = CASE WHEN {OVER} THEN NULL ELSE 'ready' END, attempts = attempts - CASE WHEN phase = 'act' THEN 1 ELSE 0 END, token = token + 1, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'"),
                args![lease.step_id.as_str(), lease.token],
            )
            .await?;
            tx.wakes.push(lease.lane.clone());
        }
        self.commit(tx).await
    }

    /// Gives back whatever this owner still has leased when it ends: begun or not, another one takes it over at once, and
    /// what runs on here can write no more. Nobody died, so no death is counted. Returns how many.
    ///
    /// # Errors
    /// The database is away; the leases run out.
    pub async fn hand_back(&self, owner: &str) -> std::result::Result<u64, Error> {
        let mut tx = self.db.begin("hand back").await?;
        // Whoever withdraws one of these requests right now is waited for.
        tx.rows(
            "-- lock_handed_back\nSELECT id FROM dsrs WHERE id IN (SELECT dsr_id FROM steps WHERE q = 'run' AND owner = $1) ORDER BY id {for_update}",
            args![owner],
        )
        .await?;
        let rows = tx
            .rows(
                &format!("-- hand_back\nUPDATE steps SET q = CASE WHEN {OVER} THEN NULL ELSE 'ready' END, token = token + 1, lease_until = NULL WHERE id IN (SELECT id FROM steps WHERE q = 'run' AND owner = $1 ORDER BY id {{for_update}}) RETURNING lane"),
                args![owner],
            )
            .await?;
        for row in &rows {
            tx.wakes.push(row.text("lane")?);
        }
        self.commit(tx).await?;
        Ok(rows.len() as u64)
    }

    /// Takes back leases that ran out: their worker died or lost touch. A row over which workers died three times is
    /// quarantined for a person to look at; what belongs to a request that ended meanwhile rests. Returns how many were taken
    /// back.
    ///
    /// # Errors
    /// The database is away.
    pub async fn expire_leases(&self) -> std::result::Result<u64, Error> {
        let due = self
            .db
            .rows(
                "-- expire_peek\nSELECT id, dsr_id FROM steps WHERE q = 'run' AND lease_until < {now} ORDER BY id LIMIT 500",
                vec![],
            )
            .await?;
        if due.is_empty() {
            return Ok(0);
        }
        let mut dsr_ids = Vec::new();
        let mut arguments = args![i64::from(DEATHS_MAX)];
        for row in &due {
            dsr_ids.push(DsrId::parse(&row.text("dsr_id")?).map_err(|_| INCONSISTENT("dsr_id"))?);
            arguments.push(row.text("id")?.into());
        }
        let mut tx = self.db.begin("expire leases").await?;
        // Requests before steps, as everywhere: whoever finishes one of these right now is waited for.
        self.lock_stages(&mut tx, &dsr_ids).await?;
        let rows = tx
            .rows(
                &format!("-- expire_leases\nUPDATE steps SET q = CASE WHEN deaths + 1 >= $1 OR {OVER} THEN NULL ELSE 'ready' END, deaths = deaths + 1, token = token + 1, lease_until = NULL, attention = CASE WHEN {OVER} THEN 0 WHEN deaths + 1 >= $1 THEN 1 ELSE attention END, error_code = CASE WHEN deaths + 1 >= $1 THEN 'quarantined' ELSE error_code END, error_detail = CASE WHEN deaths + 1 >= $1 THEN 'the worker died or stalled three times over this step, so it is not tried again by itself; look at the workers'' logs, then retry the request' ELSE error_detail END WHERE id IN ({}) AND q = 'run' AND lease_until < {{now}} RETURNING id, controller_id, dsr_id, system_id, lane, verb, phase, token, failures, payload, not_before, leased_at, deaths", places(2, due.len())),
                arguments,
            )
            .await?;
        let mut events = Events::default();
        let mut touched = Vec::new();
        for row in &rows {
            let lease = read_lease(row)?;
            let deaths = row.int("deaths")?;
            tracing::warn!(step.id = %lease.step_id, deaths, "the lease on {} ran out", lease.step_id);
            if deaths >= i64::from(DEATHS_MAX) {
                events.push(
                    &lease.controller_id,
                    NewEvent::new(
                        Some(&lease.dsr_id),
                        "step_quarantined",
                        json!({ "step": lease.step_id, "deaths": deaths }),
                    ),
                );
                if lease.kind != WorkKind::Notify {
                    touched.push(lease.dsr_id.clone());
                }
            }
            tx.wakes.push(lease.lane);
        }
        self.advance_all(&mut tx, touched, &mut events).await?;
        self.append_all(&mut tx, "engine", events).await?;
        self.commit(tx).await?;
        self.figures.expired.count(rows.len());
        Ok(rows.len() as u64)
    }

    /// Lets every step of a system that failed and waits for a later try, or for a person, run at once. What waits for
    /// another reason (a second read, a limit, the system's own work) keeps its time, and what belongs to a request that
    /// ended rests.
    pub(crate) async fn requeue_system(&self, tx: &mut Tx, system_id: &SystemId) -> std::result::Result<(), Error> {
        const STUCK: &str = "system_id = $1 AND ((q = 'wait' AND failures > 0) OR (q IS NULL AND attention = 1))";
        // What it was left alone for is mended, or is seen at the next call.
        tx.exec(
            "-- close_breaker\nUPDATE systems SET breaker_failures = 0, breaker_until = NULL WHERE id = $1 AND breaker_failures > 0",
            args![system_id.as_str()],
        )
        .await?;
        let arguments = || args![system_id.as_str(), self.now_ms()];
        tx.rows(
            &format!("-- lock_stuck\nSELECT id FROM dsrs WHERE closed_at IS NULL AND id IN (SELECT dsr_id FROM steps WHERE {STUCK}) ORDER BY id {{for_update}}"),
            args![system_id.as_str()],
        )
        .await?;
        // The overlay `needs_attention` is taken away by the next advance.
        tx.exec(
            &format!("-- wake_stuck\nUPDATE dsrs SET wake_at = $2 WHERE closed_at IS NULL AND id IN (SELECT dsr_id FROM steps WHERE {STUCK})"),
            arguments(),
        )
        .await?;
        tx.exec(
            &format!("-- requeue_system\nUPDATE steps SET q = 'ready', not_before = $2, failures = 0, deaths = 0, residues = 0, attention = 0, state = CASE WHEN error_code = 'residue' THEN 'queued' ELSE state END, phase = CASE WHEN error_code = 'residue' THEN 'act' ELSE phase END WHERE {STUCK} AND NOT {OVER}"),
            arguments(),
        )
        .await
        .map(drop)
    }

    /// Makes the open steps of a system act anew, because its definition is another one now: what was done under the old
    /// one proves nothing for the new one, and must not be verified against it. With `elsewhere` the system itself may be
    /// another one, so what was touched in the old one is forgotten too.
    pub(crate) async fn restart_system(
        &self,
        tx: &mut Tx,
        system_id: &SystemId,
        elsewhere: bool,
    ) -> std::result::Result<(), Error> {
        const BEGUN: &str = "system_id = $1 AND state NOT IN ('verified', 'nothing_found', 'retained') AND (phase = 'verify' OR q = 'run' OR receipt IS NOT NULL)";
        let arguments = || args![system_id.as_str(), self.now_ms()];
        tx.rows(
            &format!("-- lock_begun\nSELECT id FROM dsrs WHERE closed_at IS NULL AND id IN (SELECT dsr_id FROM steps WHERE {BEGUN}) ORDER BY id {{for_update}}"),
            args![system_id.as_str()],
        )
        .await?;
        tx.exec(
            &format!("-- wake_begun\nUPDATE dsrs SET wake_at = $2 WHERE closed_at IS NULL AND id IN (SELECT dsr_id FROM steps WHERE {BEGUN})"),
            arguments(),
        )
        .await?;
        let receipt = if elsewhere { "NULL" } else { "receipt" };
        // Whoever is at one of these right now loses the lease: what came of it was done under the old definition. An
        // export that is done already stays done.
        tx.exec(
            &format!("-- restart_system\nUPDATE steps SET q = 'ready', phase = 'act', acted_at = CASE WHEN state IN ('external', 'waiting') THEN NULL ELSE acted_at END, state = 'queued', token = token + 1, not_before = $2, failures = 0, deaths = 0, residues = 0, attention = 0, error_code = NULL, error_detail = NULL, lease_until = NULL, receipt = {receipt} WHERE {BEGUN} AND (phase = 'verify' OR q IS NOT NULL OR attention = 1) AND NOT {OVER}"),
            arguments(),
        )
        .await
        .map(drop)
    }

    /// Moves the steps of a system in the queue, because it takes another number of days by itself than it did.
    pub(crate) async fn reorder_system(
        &self,
        tx: &mut Tx,
        system_id: &SystemId,
        days: i64,
    ) -> std::result::Result<(), Error> {
        const OPEN: &str =
            "SELECT id FROM dsrs WHERE closed_at IS NULL AND id IN (SELECT dsr_id FROM steps WHERE system_id = $1)";
        if days == 0 {
            return Ok(());
        }
        tx.rows(&format!("-- lock_reordered\n{OPEN} ORDER BY id {{for_update}}"), args![system_id.as_str()]).await?;
        tx.exec(
            &format!(
                "-- reorder_system\nUPDATE steps SET due_at = due_at + $2 WHERE system_id = $1 AND dsr_id IN ({OPEN})"
            ),
            args![system_id.as_str(), days * 86_400_000],
        )
        .await
        .map(drop)
    }
}
