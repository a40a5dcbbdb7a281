//! Volumes are how much of a controller's work there was and whether it was in time: counts from indexes, of bounded spans of time.

use crate::db::{Arg, Row, args, texts};
use crate::sql::{RowSet, row};
use crate::{Error, Store};
use redress_domain::ControllerId;
use redress_domain::report::Tally;

const DAY_MS: i64 = 86_400_000;
/// Ended with an answer, whatever it was.
const ANSWERED: &str = "d.stage IN ('completed', 'partially_completed', 'rejected')";

/// How much there is and was of one controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volumes {
    /// Whose.
    pub controller_id: ControllerId,
    /// Requests that have not ended.
    pub open: i64,
    /// Handed to us since the moment that was asked about.
    pub received: i64,
    /// Ended since then.
    pub closed: i64,
    /// Answered since its own beginning, which is that of the month where the controller is; and of these in time.
    pub answered: (i64, i64),
    /// Connected systems.
    pub systems: i64,
}

/// What was answered in one span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnsweredIn {
    /// Answered.
    pub answered: i64,
    /// Of these before they were due.
    pub on_time: i64,
    /// Ended in any way.
    pub closed: i64,
}

impl Store {
    /// The volumes of the controllers in a scope, by name; none: of all. `since` (Unix ms) begins what is counted as recent, `months`
    /// says when the month began in each time zone.
    ///
    /// # Errors
    /// The database is away.
    pub async fn volumes(
        &self,
        scope: Option<&[ControllerId]>,
        since: i64,
        months: &[(String, i64)],
    ) -> Result<Vec<Volumes>, Error> {
        let own = if scope.is_some() { "c.id {in $1}" } else { "$1 = 0" };
        let first = scope.map_or(Arg::Int(Some(0)), |scope| Arg::Texts(texts(scope.iter().map(ControllerId::as_str))));
        let mut zones = RowSet::default();
        for (zone, from) in months {
            zones.push(row![zone, *from]);
        }
        if zones.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .db
            .rows(
                &format!("-- volumes\nSELECT c.id, (SELECT COUNT(*) FROM dsrs d WHERE d.controller_id = c.id AND d.closed_at IS NULL) AS open, (SELECT COUNT(*) FROM dsrs d WHERE d.controller_id = c.id AND d.instruction_received_at >= $2) AS received, (SELECT COUNT(*) FROM dsrs d WHERE d.controller_id = c.id AND d.closed_at >= $2) AS closed, (SELECT COUNT(*) FROM dsrs d WHERE d.controller_id = c.id AND d.closed_at >= z.month AND {ANSWERED}) AS answered, (SELECT COUNT(*) FROM dsrs d WHERE d.controller_id = c.id AND d.closed_at >= z.month AND d.closed_at < d.due_before AND {ANSWERED}) AS on_time, (SELECT COUNT(*) FROM systems s WHERE s.controller_id = c.id AND s.deleted_at IS NULL) AS systems FROM controllers c JOIN {{rows $3 AS z(zone text, month int)}} ON z.zone = c.timezone WHERE {own} ORDER BY c.name"),
                vec![first, Arg::from(since), Arg::Rows(zones)],
            )
            .await?;
        let read = |row: &Row| {
            let inconsistent = |_| Error::Inconsistent { table: "controllers", column: "id" };
            Ok(Volumes {
                controller_id: ControllerId::parse(&row.text("id")?).map_err(inconsistent)?,
                open: row.int("open")?,
                received: row.int("received")?,
                closed: row.int("closed")?,
                answered: (row.int("answered")?, row.int("on_time")?),
                systems: row.int("systems")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// What was answered for one controller between each two of these instants (Unix ms).
    ///
    /// # Errors
    /// The database is away.
    pub async fn answered_between(
        &self,
        controller_id: &ControllerId,
        bounds: &[i64],
    ) -> Result<Vec<AnsweredIn>, Error> {
        let mut spans = RowSet::default();
        for (n, pair) in bounds.windows(2).enumerate() {
            spans.push(row![n as i64, pair[0], pair[1]]);
        }
        if spans.is_empty() {
            return Ok(Vec::new());
        }
        let part = |condition: &str| {
            format!(
                "(SELECT COUNT(*) FROM dsrs d WHERE d.controller_id = $1 AND d.closed_at >= b.low AND d.closed_at < b.high{condition})"
            )
        };
        let rows = self
            .db
            .rows(
                &format!(
                    "-- answered_between\nSELECT b.n, {} AS closed, {} AS answered, {} AS on_time FROM {{rows $2 AS b(n int, low int, high int)}} ORDER BY b.n",
                    part(""),
                    part(&format!(" AND {ANSWERED}")),
                    part(&format!(" AND {ANSWERED} AND d.closed_at < d.due_before"))
                ),
                vec![Arg::from(controller_id.as_str()), Arg::Rows(spans)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(AnsweredIn {
                    answered: row.int("answered")?,
                    on_time: row.int("on_time")?,
                    closed: row.int("closed")?,
                })
            })
            .collect()
    }

    /// How many whole days the answers to one controller's requests took that were given since a moment (Unix ms).
    ///
    /// # Errors
    /// The database is away.
    pub async fn days_to_answer(&self, controller_id: &ControllerId, since: i64) -> Result<Tally, Error> {
        let rows = self
            .db
            .rows(
                &format!("-- days_to_answer\nSELECT (d.closed_at - d.instruction_received_at) / {DAY_MS} AS days, COUNT(*) AS n FROM dsrs d WHERE d.controller_id = $1 AND d.closed_at >= $2 AND {ANSWERED} GROUP BY (d.closed_at - d.instruction_received_at) / {DAY_MS}"),
                args![controller_id.as_str(), since],
            )
            .await?;
        let mut tally = Tally::default();
        for row in &rows {
            tally.add_many(row.int("days")?, row.int("n")?.max(0) as u64);
        }
        Ok(tally)
    }
}
