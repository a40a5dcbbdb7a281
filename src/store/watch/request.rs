//! A watched request is a row as the sweep reads it: the dates, what it waits for, and what was seen of it last.

use super::{Lookout, WatchPlace, instant};
use crate::clock::FrozenClock;
use crate::db::{Arg, Row, Tx};
use crate::work::places;
use crate::{Error, Store};
use jiff::civil::Date;
use redress_domain::deadline::{Band, ClockState, Milestones};
use redress_domain::notice::{DueNotice, Occasion};
use redress_domain::watch::{Seen, WAITING_REMINDERS, Waiting, Watched, look};
use redress_domain::{ControllerId, DsrId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is read of it.
pub(super) const COLUMNS: &str = "id, controller_id, kind, regulation, deadlines, due_before, statutory_due_before, clock, clock_state, waiting_since, attention_since, band, forecast_late, forecast_at, closed_at";

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };

/// A controller as the watch knows it.
pub(crate) struct Home {
    pub(crate) name: String,
    pub(crate) place: Arc<WatchPlace>,
}

/// What the watch reads of the stored deadlines.
#[derive(Deserialize)]
struct Dates {
    effective: Effective,
    #[serde(default)]
    milestones: Option<Milestones>,
}

#[derive(Deserialize)]
struct Effective {
    #[serde(default)]
    due_on: Option<Date>,
}

/// A request as the watch sees it, locked.
pub(super) struct Locked {
    pub(super) dsr_id: DsrId,
    pub(super) controller_id: ControllerId,
    pub(super) place: Arc<WatchPlace>,
    pub(super) kind: String,
    pub(super) regulation: Option<String>,
    pub(super) milestones: Milestones,
    pub(super) due_on: Option<Date>,
    pub(super) due_before: i64,
    pub(super) statutory_due_before: Option<i64>,
    /// What the dates of a paused clock follow from.
    pub(super) paused: Option<FrozenClock>,
    pub(super) moving: bool,
    pub(super) waiting_since: Option<i64>,
    pub(super) attention_since: Option<i64>,
    pub(super) forecast_late_since: Option<i64>,
    pub(super) band: Band,
    pub(super) closed_at: Option<i64>,
}

pub(super) fn read(row: &Row, homes: &BTreeMap<String, Home>) -> Result<Locked, Error> {
    let controller = row.text("controller_id")?;
    let place = homes.get(&controller).ok_or(INCONSISTENT("controller_id"))?.place.clone();
    let dates: Dates = serde_json::from_str(&row.text("deadlines")?).map_err(|_| INCONSISTENT("deadlines"))?;
    let due_before = row.int("due_before")?;
    let closed_at = row.opt_int("closed_at")?;
    let forecast_late = row.int("forecast_late")? != 0;
    Ok(Locked {
        dsr_id: DsrId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        controller_id: ControllerId::parse(&controller).map_err(|_| INCONSISTENT("controller_id"))?,
        place,
        kind: row.text("kind")?,
        regulation: row.opt_text("regulation")?,
        // Requests from before there were milestones have only a due date.
        milestones: dates.milestones.unwrap_or(Milestones {
            at_risk_at: instant(due_before),
            critical_at: instant(due_before),
            overdue_at: instant(due_before),
            extension_decision_at: None,
            acknowledgement_warning_at: None,
        }),
        due_on: dates.effective.due_on,
        due_before,
        statutory_due_before: row.opt_int("statutory_due_before")?,
        paused: if closed_at.is_none() { paused_clock(row)? } else { None },
        moving: false,
        waiting_since: row.opt_int("waiting_since")?,
        attention_since: row.opt_int("attention_since")?,
        forecast_late_since: row.opt_int("forecast_at")?.filter(|_| forecast_late),
        band: Band::parse(&row.text("band")?).ok_or(INCONSISTENT("band"))?,
        closed_at,
    })
}

/// The clock of a request that does not run.
pub(super) fn paused_clock(row: &Row) -> Result<Option<FrozenClock>, Error> {
    if row.text("clock_state")? == ClockState::Running.as_str() {
        return Ok(None);
    }
    let clock = row.opt_text("clock")?;
    clock.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| INCONSISTENT("clock"))
}

impl Locked {
    pub(super) fn look(&self, lookout: &dyn Lookout, now: i64) -> Seen {
        let waiting = self.waiting_since.map(|since| {
            let since = instant(since);
            let at = |days: u8| lookout.business_days_after(&self.place, since, days);
            Waiting { since, reminders: WAITING_REMINDERS.iter().map(|days| (*days, at(*days))).collect() }
        });
        let watched = Watched {
            milestones: self.milestones,
            moving: self.moving,
            band: self.band,
            waiting,
            forecast_late_since: self.forecast_late_since.map(instant),
            attention_since: self.attention_since.map(instant),
            closed_at: self.closed_at.map(instant),
        };
        look(&watched, instant(now))
    }

    /// What a notice of this request needs to be told later, when the request may be another one.
    pub(super) fn data(&self, band: Band, notice: &DueNotice, system: Option<&str>) -> Value {
        let mut data = json!({
            "type": self.kind, "regulation": self.regulation, "due_on": self.due_on,
            "due_before": self.due_before, "band": band, "endangers": notice.endangers,
        });
        match &notice.occasion {
            Occasion::Waiting { since, .. } | Occasion::WaitingTooLong { since } | Occasion::Step { since, .. } => {
                data["since"] = json!(since.as_millisecond());
            }
            Occasion::Due(_) | Occasion::Since(_) => {}
        }
        if let Some(system) = system {
            data["system"] = json!(system);
        }
        data
    }
}

impl Store {
    pub(super) async fn watch_homes(&self, tx: &mut Tx, rows: &[Row]) -> Result<BTreeMap<String, Home>, Error> {
        let ids: BTreeSet<String> = rows.iter().map(|row| row.text("controller_id")).collect::<Result<_, _>>()?;
        let mut found = BTreeMap::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let rows = tx
            .rows(
                &format!(
                    "-- watch_homes\nSELECT id, name, country, timezone, terms FROM controllers WHERE id IN ({})",
                    places(1, ids.len())
                ),
                ids.iter().map(Arg::from).collect(),
            )
            .await?;
        for row in rows {
            let place = WatchPlace {
                country: row.opt_text("country")?,
                timezone: row.text("timezone")?,
                terms: row.opt_text("terms")?,
            };
            found.insert(row.text("id")?, Home { name: row.text("name")?, place: Arc::new(place) });
        }
        Ok(found)
    }
}
