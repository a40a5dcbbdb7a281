//! What connected systems did: how long steps took and how often tries failed, counted in the database.

use super::system_id;
use crate::db::args;
use crate::{Error, Store};
use redress_domain::{ControllerId, SystemId};
use std::collections::BTreeMap;

const HOUR_MS: i64 = 3_600_000;

/// Steps on one system of requests that ended, as many as took equally long.
#[derive(Debug, Clone)]
pub struct StepTimes {
    /// On which system.
    pub system_id: SystemId,
    /// How long from the moment the work could begin to the effect being seen (ms, rounded down to a tenth of a second below a
    /// minute, a second below an hour, a minute below a day, else an hour); none if nothing was done.
    pub ms: Option<i64>,
    /// How many.
    pub steps: u64,
    /// Of how many the request was answered.
    pub answered: u64,
    /// Of how many it was answered in time.
    pub in_time: u64,
}

/// A connected system as reports name it; one that is no longer connected still has a history.
#[derive(Debug, Clone)]
pub struct SystemName {
    /// Its id.
    pub id: SystemId,
    /// The controller's name for it.
    pub name: String,
    /// `crm`, `marketing`, `email`, `database`, …
    pub family: String,
    /// Which connector reaches it.
    pub connector: String,
    /// It has been disconnected.
    pub disconnected: bool,
}

impl Store {
    /// How long the steps of the requests took that ended at or after `from` and before `to` (Unix ms), counted in the database.
    ///
    /// # Errors
    /// The database is away.
    pub async fn step_times(&self, controller_id: &ControllerId, from: i64, to: i64) -> Result<Vec<StepTimes>, Error> {
        // Work can begin when nobody is waited for any more: after an approval, after the cooling-off.
        let took =
            "COALESCE(st.verified_at, st.acted_at) - COALESCE(d.cooling_off_until, d.approved_at, st.created_at)";
        let rows = self
            .db
            .rows(
                &format!(
                    "-- report_step_times\nSELECT system_id, CASE WHEN took < 0 THEN 0 WHEN took < 60000 THEN took / 100 * 100 WHEN took < 3600000 THEN took / 1000 * 1000 WHEN took < 86400000 THEN took / 60000 * 60000 ELSE took / 3600000 * 3600000 END AS ms, COUNT(*) AS n, COUNT(CASE WHEN stage IN ('completed', 'partially_completed', 'rejected') THEN 1 END) AS answered, COUNT(CASE WHEN stage IN ('completed', 'partially_completed', 'rejected') AND closed_at < due_before THEN 1 END) AS in_time FROM (SELECT st.system_id, {took} AS took, d.stage, d.closed_at, d.due_before FROM dsrs d JOIN steps st ON st.dsr_id = d.id WHERE d.controller_id = $1 AND d.closed_at IS NOT NULL AND d.closed_at >= $2 AND d.closed_at < $3 AND st.system_id IS NOT NULL) AS times GROUP BY 1, 2"
                ),
                args![controller_id.as_str(), from, to],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(StepTimes {
                    system_id: system_id(row)?,
                    ms: row.opt_int("ms")?,
                    steps: row.int("n")?.unsigned_abs(),
                    answered: row.int("answered")?.unsigned_abs(),
                    in_time: row.int("in_time")?.unsigned_abs(),
                })
            })
            .collect()
    }

    /// How many tries succeeded and how many failed on each system in the hours that touch the time from `from` to `to` (Unix ms).
    ///
    /// # Errors
    /// The database is away.
    pub async fn tries(
        &self,
        controller_id: &ControllerId,
        from: i64,
        to: i64,
    ) -> Result<BTreeMap<SystemId, (u64, u64)>, Error> {
        let rows = self
            .db
            .rows(
                "-- report_tries\nSELECT p.system_id, CAST(SUM(p.done) AS BIGINT) AS done, CAST(SUM(p.failed) AS BIGINT) AS failed FROM paces p JOIN systems sy ON sy.id = p.system_id WHERE sy.controller_id = $1 AND p.hour >= $2 AND p.hour < $3 GROUP BY p.system_id",
                args![controller_id.as_str(), from.div_euclid(HOUR_MS), to.div_euclid(HOUR_MS) + 1],
            )
            .await?;
        rows.iter()
            .map(|row| Ok((system_id(row)?, (row.int("done")?.unsigned_abs(), row.int("failed")?.unsigned_abs()))))
            .collect()
    }

    /// Every system that a controller has or had, by name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn system_names(&self, controller_id: &ControllerId) -> Result<Vec<SystemName>, Error> {
        let rows = self
            .db
            .rows(
                "-- report_systems\nSELECT id AS system_id, name, family, connector, deleted_at FROM systems WHERE controller_id = $1 ORDER BY name, id",
                args![controller_id.as_str()],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(SystemName {
                    id: system_id(row)?,
                    name: row.text("name")?,
                    family: row.text("family")?,
                    connector: row.text("connector")?,
                    disconnected: row.opt_int("deleted_at")?.is_some(),
                })
            })
            .collect()
    }
}
