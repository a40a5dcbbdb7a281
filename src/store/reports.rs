//! What reports are counted from: columns without personal data, read page by page. Nothing sealed is read, let alone opened.
//!
//! A page is a statement of its own, so a report over many pages is not one instant of the database: a request that ends while the
//! report is made is counted as open or as closed, or in both parts, and the next report has it right.

mod received;
mod standing;
mod systems;

pub use received::ReceivedDsr;
pub use systems::{StepTimes, SystemName};

use crate::clock::{Books, FrozenClock};
use crate::db::{Dialect, Row, args};
use crate::{Error, Store};
use jiff::Timestamp;
use redress_domain::deadline::Band;
use redress_domain::report::OpenClock;
use redress_domain::rules::Rules;
use redress_domain::stage::Stage;
use redress_domain::{ControllerId, DsrId, RequestType, StepId, SystemId};
use serde::Deserialize;
use standing::{Standing, computed, stopped_clock, stored};
use std::collections::{BTreeMap, HashMap};

/// Requests that are read at a time.
const PAGE: i64 = 1_000;

/// An open request as reports see it. Instants are Unix ms.
#[derive(Debug, Clone)]
pub struct OpenDsr {
    /// Which.
    pub id: DsrId,
    /// Which right.
    pub kind: RequestType,
    /// Which regulation governs it, of several the one that is due first.
    pub regulation: Option<String>,
    /// Where it stands.
    pub stage: Stage,
    /// A person must do something.
    pub needs_attention: bool,
    /// When the person asked, as far as known; else when we were told.
    pub received_at: i64,
    /// The first instant that is too late.
    pub due_before: i64,
    /// The law's date has passed and is not moved by a pause.
    pub past_statutory: bool,
    /// How its clock stands.
    pub clock: OpenClock,
    /// A pause moves its due date from day to day.
    pub moving: bool,
    /// How near its due date is; while that moves, how near it was when the clock stopped.
    pub band: Band,
    /// It was extended.
    pub extended: bool,
    /// It is expected to finish too late.
    pub forecast_late: bool,
    /// What is still to be done in connected systems.
    pub steps: Vec<OpenStep>,
}

/// A step of an open request that is not settled.
#[derive(Debug, Clone)]
pub struct OpenStep {
    /// Which.
    pub id: StepId,
    /// Where.
    pub system_id: SystemId,
    /// A person must do something.
    pub needs_attention: bool,
    /// The system carries it out itself and is asked again.
    pub external: bool,
    /// Since when it has failed or waited for a person (Unix ms), if it does.
    pub stuck_since: Option<i64>,
}

/// A request that ended, as reports see it. Instants are Unix ms.
#[derive(Debug, Clone)]
pub struct ClosedDsr {
    /// Which right.
    pub kind: RequestType,
    /// Which regulation governed it, of several the one that was due first.
    pub regulation: Option<String>,
    /// How it ended.
    pub stage: Stage,
    /// When the person asked, as far as known; else when we were told.
    pub received_at: i64,
    /// When it ended.
    pub closed_at: i64,
    /// The first instant that was too late.
    pub due_before: i64,
    /// The first instant that was too late for the law, if one set a date.
    pub statutory_due_before: Option<i64>,
    /// It was extended.
    pub extended: bool,
}

/// What the receipt report wants to know of `dsrs.clock`; none of the rest.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ClockForm {
    regulations: Vec<String>,
}

const DSRS: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };
const STEPS: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "steps", column };

/// A member of a JSON column as text, or NULL.
fn member(dialect: Dialect, column: &str, path: &[&str]) -> String {
    match dialect {
        Dialect::Sqlite => format!("({column} ->> '$.{}')", path.join(".")),
        Dialect::Postgres => format!("(CAST({column} AS json) #>> '{{{}}}')", path.join(",")),
    }
}

fn kind(row: &Row) -> Result<RequestType, Error> {
    RequestType::parse(&row.text("kind")?).ok_or(DSRS("kind"))
}

fn stage(row: &Row) -> Result<Stage, Error> {
    Stage::parse(&row.text("stage")?).ok_or(DSRS("stage"))
}

fn dsr_id(row: &Row, column: &'static str) -> Result<DsrId, Error> {
    DsrId::parse(&row.text(column)?).map_err(|_| DSRS("id"))
}

fn system_id(row: &Row) -> Result<SystemId, Error> {
    SystemId::parse(&row.text("system_id")?).map_err(|_| STEPS("system_id"))
}

fn clock_form(row: &Row) -> Result<ClockForm, Error> {
    row.opt_text("clock")?
        .map_or(Ok(ClockForm::default()), |text| serde_json::from_str(&text))
        .map_err(|_| DSRS("clock"))
}

fn open_dsr(row: &Row, standing: Standing, steps: Vec<OpenStep>) -> Result<OpenDsr, Error> {
    Ok(OpenDsr {
        id: dsr_id(row, "id")?,
        kind: kind(row)?,
        regulation: row.opt_text("regulation")?,
        stage: stage(row)?,
        needs_attention: row.text("status")? == "needs_attention",
        received_at: row.int("received_at")?,
        due_before: standing.due_before,
        past_statutory: standing.past_statutory,
        clock: standing.clock,
        moving: standing.moving,
        band: standing.band,
        extended: row.opt_int("extended_at")?.is_some(),
        forecast_late: row.int("forecast_late")? != 0,
        steps,
    })
}

impl Store {
    /// Shows every open request of a controller to `visit`, as it stands now and with what is still to be done for it.
    ///
    /// # Errors
    /// The database is away, or a row is inconsistent.
    pub async fn each_open_dsr(
        &self,
        controller_id: &ControllerId,
        mut visit: impl FnMut(OpenDsr) + Send,
    ) -> Result<(), Error> {
        let dialect = self.db.dialect();
        // A member is cut out of the JSON where it decides something, and only there.
        let sql = format!(
            "-- report_open\nSELECT id, kind, regulation, stage, status, COALESCE(data_subject_received_at, instruction_received_at) AS received_at, due_before, clock_state, CASE WHEN clock_state = 'running' THEN NULL ELSE clock END AS stopped_clock, CASE WHEN statutory_due_before <= $4 THEN COALESCE({}, 'running') END AS statutory_clock, {} AS milestones, band, extended_at, forecast_late FROM dsrs WHERE controller_id = $1 AND closed_at IS NULL AND id > $2 ORDER BY id LIMIT $3",
            member(dialect, "deadlines", &["statutory", "clock"]),
            member(dialect, "deadlines", &["milestones"]),
        );
        let now = self.now_ms();
        let at = Timestamp::from_millisecond(now).unwrap_or_default();
        let (mut after, mut books) = (String::new(), HashMap::new());
        loop {
            let rows = self.db.rows(&sql, args![controller_id.as_str(), after.as_str(), PAGE, now]).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            let last = last.text("id")?;
            let mut steps = self.open_steps(controller_id, &after, &last).await?;
            for row in &rows {
                let own = steps.remove(row.text("id")?.as_str()).unwrap_or_default();
                let mut standing = stored(row, at)?;
                if let Some(clock) = stopped_clock(row)?
                    && let Some(rules) = self.rules_of(&clock, &mut books).await?
                {
                    standing = computed(&clock, rules, at).unwrap_or(standing);
                }
                visit(open_dsr(row, standing, own)?);
            }
            after = last;
        }
    }

    /// The rules of a clock, read once; none if they cannot be read any more, and the dates are those that were computed last.
    async fn rules_of<'b>(
        &self,
        clock: &FrozenClock,
        books: &'b mut HashMap<Books, Option<Rules>>,
    ) -> Result<Option<&'b Rules>, Error> {
        if !books.contains_key(&clock.books) {
            let rules = match self.frozen_rules(&clock.books).await {
                Ok(rules) => Some(rules),
                Err(Error::Inconsistent { .. }) => None,
                Err(error) => return Err(error),
            };
            books.insert(clock.books.clone(), rules);
        }
        Ok(books[&clock.books].as_ref())
    }

    /// The unsettled steps of the open requests after `after` up to and including `last`.
    async fn open_steps(
        &self,
        controller_id: &ControllerId,
        after: &str,
        last: &str,
    ) -> Result<BTreeMap<String, Vec<OpenStep>>, Error> {
        let rows = self
            .db
            .rows(
                "-- report_open_steps\nSELECT st.id, st.dsr_id, st.system_id, st.attention, st.state, CASE WHEN st.attention = 1 OR st.failures > 0 THEN COALESCE(st.silent_since, st.acted_at, st.created_at) END AS stuck_since FROM dsrs d JOIN steps st ON st.dsr_id = d.id WHERE d.controller_id = $1 AND d.closed_at IS NULL AND d.id > $2 AND d.id <= $3 AND st.system_id IS NOT NULL AND st.state NOT IN ('nothing_found', 'retained', 'verified') AND NOT (st.state = 'done' AND st.q IS NULL AND st.attention = 0)",
                args![controller_id.as_str(), after, last],
            )
            .await?;
        let mut all: BTreeMap<String, Vec<OpenStep>> = BTreeMap::new();
        for row in &rows {
            all.entry(row.text("dsr_id")?).or_default().push(OpenStep {
                id: StepId::parse(&row.text("id")?).map_err(|_| STEPS("id"))?,
                system_id: system_id(row)?,
                needs_attention: row.int("attention")? != 0,
                external: row.text("state")? == "external",
                stuck_since: row.opt_int("stuck_since")?,
            });
        }
        Ok(all)
    }

    /// Shows every request of a controller that ended at or after `from` and before `to` (Unix ms) to `visit`.
    ///
    /// # Errors
    /// The database is away, or a row is inconsistent.
    pub async fn each_closed_dsr(
        &self,
        controller_id: &ControllerId,
        from: i64,
        to: i64,
        mut visit: impl FnMut(ClosedDsr) + Send,
    ) -> Result<(), Error> {
        let (mut from, mut after) = (from, String::new());
        loop {
            let rows = self
                .db
                .rows(
                    "-- report_closed\nSELECT id, kind, regulation, stage, COALESCE(data_subject_received_at, instruction_received_at) AS received_at, closed_at, due_before, statutory_due_before, extended_at FROM dsrs WHERE controller_id = $1 AND closed_at IS NOT NULL AND closed_at >= $2 AND closed_at < $3 AND (closed_at > $2 OR id > $4) ORDER BY closed_at, id LIMIT $5",
                    args![controller_id.as_str(), from, to, after.as_str(), PAGE],
                )
                .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            (from, after) = (last.int("closed_at")?, last.text("id")?);
            for row in &rows {
                visit(ClosedDsr {
                    kind: kind(row)?,
                    regulation: row.opt_text("regulation")?,
                    stage: stage(row)?,
                    received_at: row.int("received_at")?,
                    closed_at: row.int("closed_at")?,
                    due_before: row.int("due_before")?,
                    statutory_due_before: row.opt_int("statutory_due_before")?,
                    extended: row.opt_int("extended_at")?.is_some(),
                });
            }
        }
    }
}
