//! The health of a system is what it did lately, what waits there, and what keeps it from working: one read for every system of a scope.

use crate::db::{Row, args, texts};
use crate::desk::{among, with_scope};
use crate::{Error, Store, SystemRow};
use redress_domain::{ControllerId, DsrId};
use std::collections::HashMap;

/// Systems that one page shows.
pub const SYSTEMS_MAX: i64 = 1_000;
const HOUR_MS: i64 = 3_600_000;
const WEEK_HOURS: i64 = 168;

/// How a connected system does.
#[derive(Debug, Clone)]
pub struct SystemHealth {
    /// The system.
    pub system: SystemRow,
    /// Its controller's name.
    pub controller: String,
    /// That controller's time zone.
    pub timezone: String,
    /// Since when it is paused (Unix ms), and by whom as the audit log names them.
    pub paused_since: Option<(i64, Option<String>)>,
    /// Steps whose turn it is.
    pub ready: i64,
    /// Steps that wait for a later try.
    pub waiting: i64,
    /// Steps that need a person.
    pub stuck: i64,
    /// The oldest of those: of which request, and when it was begun (Unix ms).
    pub oldest_stuck: Option<(DsrId, i64)>,
    /// What it did, as far as it is remembered.
    pub pace: SystemPace,
}

/// What a system answered in the last hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SystemPace {
    /// Answers in 24 hours.
    pub day_done: i64,
    /// Failed tries in 24 hours.
    pub day_failed: i64,
    /// For how long at least one call was under way in 24 hours (ms).
    pub day_busy_ms: i64,
    /// Answers in seven days.
    pub week_done: i64,
    /// For how long at least one call was under way in seven days (ms).
    pub week_busy_ms: i64,
    /// Its last success (Unix ms).
    pub done_at: Option<i64>,
    /// Its first failure after that (Unix ms).
    pub failing_since: Option<i64>,
}

/// What was bought of a vendor's allowance in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetSpent {
    /// Length of the window (ms).
    pub window_ms: i64,
    /// When it began (Unix ms).
    pub began_at: i64,
    /// How many calls.
    pub spent: i64,
}

impl Store {
    /// How the systems of these controllers (none: of all) do, by controller and name; only the one of this name, if one is given.
    ///
    /// # Errors
    /// The database is away.
    pub async fn system_health(
        &self,
        scope: Option<&[ControllerId]>,
        name: Option<&str>,
    ) -> Result<Vec<SystemHealth>, Error> {
        let own = among(scope, "s.controller_id", 3);
        let sql = format!(
            "-- system_health\nSELECT s.*, c.name AS controller_name, c.timezone, (SELECT COUNT(*) FROM steps t WHERE t.q = 'ready' AND t.lane = s.id) AS ready, (SELECT COUNT(*) FROM steps t WHERE t.q = 'wait' AND t.lane = s.id) AS waiting, (SELECT COUNT(*) FROM steps t WHERE t.system_id = s.id AND t.attention = 1) AS stuck, (SELECT t.dsr_id FROM steps t WHERE t.system_id = s.id AND t.attention = 1 ORDER BY t.created_at, t.id LIMIT 1) AS oldest_dsr, (SELECT MIN(t.created_at) FROM steps t WHERE t.system_id = s.id AND t.attention = 1) AS oldest_at FROM systems s JOIN controllers c ON c.id = s.controller_id WHERE s.deleted_at IS NULL AND ($1 = '' OR s.name = $1){own} ORDER BY c.name, s.name LIMIT $2"
        );
        let rows = self.db.rows(&sql, with_scope(args![name.unwrap_or_default(), SYSTEMS_MAX], scope)).await?;
        let mut all: Vec<SystemHealth> = rows.iter().map(read).collect::<Result<_, _>>()?;
        let ids: Vec<String> = all.iter().map(|health| health.system.id.as_str().to_owned()).collect();
        let mut paces = self.paces_of(ids).await?;
        for health in &mut all {
            health.pace = paces.remove(health.system.id.as_str()).unwrap_or_default();
        }
        Ok(all)
    }

    /// Connected systems of which somebody declared the last day of their credentials.
    ///
    /// # Errors
    /// The database is away.
    pub async fn systems_with_last_day(&self, scope: Option<&[ControllerId]>) -> Result<Vec<SystemRow>, Error> {
        let own = among(scope, "s.controller_id", 2);
        let sql = format!(
            "-- systems_with_last_day\nSELECT s.* FROM systems s WHERE s.deleted_at IS NULL AND s.definition LIKE '%\"credentials_expire_on\":%'{own} ORDER BY s.controller_id, s.name LIMIT $1"
        );
        let rows = self.db.rows(&sql, with_scope(args![SYSTEMS_MAX], scope)).await?;
        rows.iter().map(crate::systems::read).collect()
    }

    async fn paces_of(&self, ids: Vec<String>) -> Result<HashMap<String, SystemPace>, Error> {
        let hour = self.now_ms() / HOUR_MS;
        let rows = self
            .db
            .rows(
                "-- health_paces\nWITH total AS (SELECT system_id, CAST(SUM(done) AS BIGINT) AS week_done, CAST(SUM(busy_ms) AS BIGINT) AS week_busy, CAST(SUM(CASE WHEN hour > $2 THEN done ELSE 0 END) AS BIGINT) AS day_done, CAST(SUM(CASE WHEN hour > $2 THEN failed ELSE 0 END) AS BIGINT) AS day_failed, CAST(SUM(CASE WHEN hour > $2 THEN busy_ms ELSE 0 END) AS BIGINT) AS day_busy, MAX(done_at) AS done_at FROM paces WHERE system_id {in $3} AND hour > $1 GROUP BY system_id) SELECT t.*, (SELECT MIN(f.failing_since) FROM paces f WHERE f.system_id = t.system_id AND f.hour > $1 AND f.failing_since > COALESCE(t.done_at, 0)) AS failing_since FROM total t",
                args![hour - WEEK_HOURS, hour - 24, ids],
            )
            .await?;
        let mut all = HashMap::with_capacity(rows.len());
        for row in &rows {
            let pace = SystemPace {
                day_done: row.int("day_done")?,
                day_failed: row.int("day_failed")?,
                day_busy_ms: row.int("day_busy")?,
                week_done: row.int("week_done")?,
                week_busy_ms: row.int("week_busy")?,
                done_at: row.opt_int("done_at")?,
                failing_since: row.opt_int("failing_since")?,
            };
            all.insert(row.text("system_id")?, pace);
        }
        Ok(all)
    }

    /// What was bought of the allowances of these accounts at vendors, by account, in windows that began after a moment.
    ///
    /// # Errors
    /// The database is away.
    pub async fn budgets_spent(
        &self,
        credentials: &[String],
        since: i64,
    ) -> Result<HashMap<String, Vec<BudgetSpent>>, Error> {
        let rows = self
            .db
            .rows(
                "-- budgets_spent\nSELECT credential, window_ms, began_at, spent FROM budgets WHERE credential {in $1} AND window_ms > 0 AND began_at >= $2 ORDER BY credential, window_ms",
                args![texts(credentials), since],
            )
            .await?;
        let mut all: HashMap<String, Vec<BudgetSpent>> = HashMap::new();
        for row in &rows {
            all.entry(row.text("credential")?).or_default().push(BudgetSpent {
                window_ms: row.int("window_ms")?,
                began_at: row.int("began_at")?,
                spent: row.int("spent")?,
            });
        }
        Ok(all)
    }
}

fn read(row: &Row) -> Result<SystemHealth, Error> {
    let inconsistent = |_| Error::Inconsistent { table: "steps", column: "dsr_id" };
    let oldest = row.opt_text("oldest_dsr")?.map(|id| DsrId::parse(&id)).transpose().map_err(inconsistent)?;
    let system = crate::systems::read(row)?;
    let paused_since = row.opt_int("paused_at")?.filter(|_| system.paused);
    Ok(SystemHealth {
        controller: row.text("controller_name")?,
        timezone: row.text("timezone")?,
        paused_since: paused_since.map(|at| Ok::<_, Error>((at, row.opt_text("paused_by")?))).transpose()?,
        ready: row.int("ready")?,
        waiting: row.int("waiting")?,
        stuck: row.int("stuck")?,
        oldest_stuck: oldest.zip(row.opt_int("oldest_at")?),
        pace: SystemPace::default(),
        system,
    })
}
