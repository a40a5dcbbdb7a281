//! A system's pace is recorded with the outcomes it belongs to, by the hour: what was answered, what failed, and for how long at
//! least one call was under way.
//!
//! Time at work is the union of all batches of a system, so that it does not depend on how many workers there are. It begins
//! when a step is leased, or up to [`STARVED_MS`] before, if it stood ready: workers that are busy elsewhere make a system slower,
//! workers that are down do not. When the system itself asks to wait, the wait counts; waiting for a limit that its
//! controller set does not, for that limit is known and may be changed. A batch counts in the hour in which it ends.

use crate::db::{Row, Tx, args};
use crate::sql::{RowSet, row};
use crate::work::{Finish, Result, WorkKind};
use crate::{Error, Store};
use redress_domain::forecast::pace::{Record, Seen};
use redress_domain::step::RATE_LIMITED;
use std::collections::BTreeMap;

/// So much of the time in which a step stood ready before its lease counts as work (ms).
const STARVED_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
/// Hours that are looked at, and kept.
const KEPT_HOURS: i64 = 168;

/// When the work on a leased row began.
pub(crate) fn busy_from(row: &Row) -> std::result::Result<i64, Error> {
    let ready_at = row.int("not_before")?;
    let leased_at = row.opt_int("leased_at")?.unwrap_or(ready_at);
    Ok(ready_at.clamp(leased_at - STARVED_MS, leased_at))
}

/// What one transaction adds to the paces.
pub(crate) struct Paces {
    now: i64,
    // In the order of their ids, so that nobody waits for somebody who waits for them.
    systems: BTreeMap<String, Added>,
}

struct Added {
    done: i64,
    failed: i64,
    succeeded: bool,
    from: i64,
    until: i64,
}

impl Paces {
    pub(crate) const fn at(now: i64) -> Self {
        Self { now, systems: BTreeMap::new() }
    }

    /// Adds what came of a step.
    pub(crate) fn add(&mut self, finish: &Finish) {
        let (WorkKind::Step(_), Some(system_id)) = (finish.lease.kind, &finish.lease.system_id) else { return };
        let mut until = self.now;
        let (done, failed, succeeded) = match &finish.result {
            Result::Acted { .. } | Result::Verified { .. } | Result::Residue { .. } | Result::External { .. } => {
                (1, 0, true)
            }
            // An answer, though not one that ends the step.
            Result::Attention { .. } => (1, 0, false),
            Result::Later { code, .. } if code == RATE_LIMITED => return,
            Result::Later { failed: true, .. } => (0, 1, false),
            Result::Later { not_before, .. } => {
                until = until.max(*not_before);
                (0, 0, false)
            }
            Result::Dismissed { .. } => return,
        };
        let from = finish.lease.busy_from.min(until);
        let none = Added { done: 0, failed: 0, succeeded: false, from, until };
        let added = self.systems.entry(system_id.as_str().to_owned()).or_insert(none);
        added.done += done;
        added.failed += failed;
        added.succeeded |= succeeded;
        added.from = added.from.min(from);
        added.until = added.until.max(until);
    }
}

impl Store {
    /// Adds to the paces. The rows of a system stay locked until the commit.
    pub(crate) async fn record_paces(&self, tx: &mut Tx, paces: Paces) -> std::result::Result<(), Error> {
        if paces.systems.is_empty() {
            return Ok(());
        }
        let mut rows = RowSet::default();
        for (system_id, added) in paces.systems {
            let done_at = added.succeeded.then_some(paces.now);
            let failing_since = (added.failed > 0 && !added.succeeded).then_some(paces.now);
            rows.push(row![system_id, added.done, added.failed, added.from, added.until, done_at, failing_since]);
        }
        // What the hour before has counted already is not counted again; neither is what this one has, even if that
        // was committed a moment ago.
        tx.exec(
            "-- record_paces\nINSERT INTO paces (system_id, hour, done, failed, busy_ms, busy_until, done_at, failing_since) SELECT system_id, CAST($1 AS BIGINT), done, failed, CASE WHEN until_at <= counted THEN 0 WHEN from_at < counted THEN until_at - counted ELSE until_at - from_at END, CASE WHEN until_at > counted THEN until_at ELSE counted END, done_at, failing_since FROM (SELECT v.*, COALESCE((SELECT p.busy_until FROM paces p WHERE p.system_id = v.system_id ORDER BY p.hour DESC LIMIT 1), 0) AS counted FROM {rows $2 AS v(system_id text, done int, failed int, from_at int, until_at int, done_at int, failing_since int)}) AS added WHERE 1 = 1 ON CONFLICT (system_id, hour) DO UPDATE SET done = paces.done + excluded.done, failed = paces.failed + excluded.failed, busy_ms = paces.busy_ms + CASE WHEN excluded.busy_until <= paces.busy_until THEN 0 WHEN excluded.busy_until - paces.busy_until < excluded.busy_ms THEN excluded.busy_until - paces.busy_until ELSE excluded.busy_ms END, busy_until = CASE WHEN excluded.busy_until > paces.busy_until THEN excluded.busy_until ELSE paces.busy_until END, done_at = COALESCE(excluded.done_at, paces.done_at), failing_since = CASE WHEN excluded.done_at IS NOT NULL THEN NULL ELSE COALESCE(paces.failing_since, excluded.failing_since) END",
            args![paces.now / HOUR_MS, rows],
        )
        .await
        .map(drop)
    }

    /// What was recorded of systems, by their ids; those of one controller.
    pub(crate) async fn pace_records(
        &self,
        controller_id: &str,
    ) -> std::result::Result<BTreeMap<String, Record>, Error> {
        let hour = self.now_ms() / HOUR_MS;
        let rows = self
            .db
            .rows(
                "-- pace_records\nWITH total AS (SELECT p.system_id, CAST(SUM(p.done) AS BIGINT) AS week_done, CAST(SUM(p.busy_ms) AS BIGINT) AS week_busy, CAST(SUM(CASE WHEN p.hour > $3 THEN p.done ELSE 0 END) AS BIGINT) AS day_done, CAST(SUM(CASE WHEN p.hour > $3 THEN p.busy_ms ELSE 0 END) AS BIGINT) AS day_busy, COALESCE(MAX(p.done_at), 0) AS done_at FROM paces p JOIN systems s ON s.id = p.system_id WHERE s.controller_id = $1 AND p.hour > $2 GROUP BY p.system_id) SELECT t.system_id, t.week_done, t.week_busy, t.day_done, t.day_busy, (SELECT MIN(f.failing_since) FROM paces f WHERE f.system_id = t.system_id AND f.hour > $2 AND f.failing_since > t.done_at) AS failing_since, COALESCE((SELECT CAST(SUM(f.failed) AS BIGINT) FROM paces f WHERE f.system_id = t.system_id AND f.hour > $2 AND f.failing_since > t.done_at), 0) AS failures FROM total t",
                args![controller_id, hour - KEPT_HOURS, hour - 24],
            )
            .await?;
        let mut all = BTreeMap::new();
        for row in &rows {
            let record = Record {
                day: Seen { calls: row.int("day_done")?, busy_ms: row.int("day_busy")? },
                week: Seen { calls: row.int("week_done")?, busy_ms: row.int("week_busy")? },
                failing_since: row.opt_int("failing_since")?,
                failures: row.int("failures")?,
            };
            all.insert(row.text("system_id")?, record);
        }
        Ok(all)
    }

    /// Forgets what no forecast looks at any more.
    pub(crate) async fn forget_paces(&self, tx: &mut Tx) -> std::result::Result<(), Error> {
        let oldest = self.now_ms() / HOUR_MS - KEPT_HOURS;
        tx.exec("-- forget_paces\nDELETE FROM paces WHERE hour <= $1", args![oldest]).await.map(drop)
    }
}
