//! The SLA report tells how near each open request is to its due date now, and whether those that ended within a time were answered
//! before theirs.
//!
//! A request is answered if it was granted in whole or in part, or refused. It is on time if it ended before its effective due date
//! had passed, which is the earlier of the contract's and the law's less the controller's buffer.

mod figures;
mod systems;

use super::Report;
use super::table::{Cell, Table, cells};
use figures::{COLUMNS, columns, figures_json};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use redress_domain::RequestType;
use redress_domain::deadline::zone;
use redress_domain::report::{ClosedCase, Figures, OpenCase, day_start, days_between, local_date};
use redress_store::{ClosedDsr, Controller, Error, OpenDsr, Store};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use systems::SystemFigures;

/// The tables of this report.
pub(crate) const TABLES: &[&str] = &["figures", "systems"];

/// The time that was asked for, in local dates of each controller, both inclusive.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// From this day on; the first of the last day's month if none was given.
    pub(crate) from: Option<Date>,
    /// Up to this day; today if none was given.
    pub(crate) to: Option<Date>,
}

impl Asked {
    fn dates(self, today: Date) -> (Date, Date) {
        let to = self.to.unwrap_or_else(|| self.from.map_or(today, |from| from.max(today)));
        (self.from.unwrap_or_else(|| to.first_of_month()), to)
    }
}

/// Makes the report for these controllers.
///
/// # Errors
/// The database is away, or a row is inconsistent.
pub(crate) async fn sla(store: &Store, controllers: &[Controller], asked: Asked) -> Result<Report, Error> {
    let now = store.now_ms();
    let zone_of = |controller: &Controller| zone(&controller.timezone).unwrap_or(TimeZone::UTC);
    // Several controllers may have several todays.
    let here = if let [only] = controllers { zone_of(only) } else { TimeZone::UTC };
    let (from, to) = asked.dates(local_date(now, &here));

    let mut slices = Slices::default();
    let mut systems = Vec::new();
    for controller in controllers {
        let moment = Moment { now, zone: zone_of(controller) };
        let own = &mut slices.of_controller(controller);
        let mut of_systems = SystemFigures::of(store, controller).await?;
        store
            .each_open_dsr(&controller.id, |dsr| {
                let case = moment.open(&dsr);
                own.each(dsr.kind, dsr.regulation.as_deref(), |figures| figures.open.add(&case));
                systems::count_open(&mut of_systems, &dsr, case.band);
            })
            .await?;
        let (start, end) =
            (day_start(from, &moment.zone), day_start(to.saturating_add(jiff::Span::new().days(1)), &moment.zone));
        store
            .each_closed_dsr(&controller.id, start, end, |dsr| {
                let case = moment.closed(&dsr);
                own.each(dsr.kind, dsr.regulation.as_deref(), |figures| figures.closed.add(&case));
            })
            .await?;
        systems::count_done(store, &controller.id, (start, end), &mut of_systems).await?;
        systems.extend(of_systems.into_values());
    }
    systems.sort_by(|a, b| a.place().cmp(&b.place()));
    let json = json!({
        "report": "sla",
        "generated_at": super::time(now),
        "period": { "from": from.to_string(), "to": to.to_string() },
        "definitions": definitions(),
        "totals": figures_json(&slices.total),
        "by_controller": slices.by_controller.iter().map(|(name, (id, zone, figures))| named(figures, &[
            ("controller", json!(name)), ("id", json!(id)), ("timezone", json!(zone)),
        ])).collect::<Vec<_>>(),
        "by_regulation": slices.by_regulation.iter().map(|(id, figures)| named(figures, &[("regulation", json!(id))])).collect::<Vec<_>>(),
        "by_type": slices.by_type.iter().map(|(kind, figures)| named(figures, &[("type", json!(kind))])).collect::<Vec<_>>(),
        "by_system": systems.iter().map(SystemFigures::json).collect::<Vec<_>>(),
    });
    let tables = vec![
        slices.table(from, to),
        Table {
            name: "systems",
            columns: systems::COLUMNS.to_vec(),
            rows: systems.iter().map(SystemFigures::row).collect(),
        },
    ];
    Ok(Report { file: format!("sla-{from}-{to}"), json, tables })
}

/// The moment at which one controller's requests are looked at.
struct Moment {
    now: i64,
    zone: TimeZone,
}

impl Moment {
    fn open(&self, dsr: &OpenDsr) -> OpenCase {
        let last_day = local_date(dsr.due_before - 1, &self.zone);
        OpenCase {
            band: dsr.band,
            stage: dsr.stage,
            needs_attention: dsr.needs_attention,
            clock: dsr.clock,
            age_days: days_between(dsr.received_at, self.now, &self.zone),
            due_today: !dsr.moving && self.now < dsr.due_before && last_day == local_date(self.now, &self.zone),
            past_statutory: dsr.past_statutory,
            extended: dsr.extended,
            forecast_late: dsr.forecast_late,
        }
    }

    fn closed(&self, dsr: &ClosedDsr) -> ClosedCase {
        ClosedCase {
            stage: dsr.stage,
            days: days_between(dsr.received_at, dsr.closed_at, &self.zone),
            in_time: dsr.closed_at < dsr.due_before,
            in_statutory_time: dsr.statutory_due_before.map(|due| dsr.closed_at < due),
            extended: dsr.extended,
        }
    }
}

/// The same figures for all, for each controller, regulation and type.
#[derive(Default)]
struct Slices {
    total: Figures,
    /// By name: id, time zone, figures.
    by_controller: BTreeMap<String, (String, String, Figures)>,
    by_regulation: BTreeMap<Option<String>, Figures>,
    by_type: BTreeMap<RequestType, Figures>,
}

/// The slices that one controller's requests belong to.
struct Own<'s> {
    total: &'s mut Figures,
    controller: &'s mut Figures,
    by_regulation: &'s mut BTreeMap<Option<String>, Figures>,
    by_type: &'s mut BTreeMap<RequestType, Figures>,
}

impl Own<'_> {
    fn each(&mut self, kind: RequestType, regulation: Option<&str>, mut count: impl FnMut(&mut Figures)) {
        count(self.total);
        count(self.controller);
        count(self.by_regulation.entry(regulation.map(str::to_owned)).or_default());
        count(self.by_type.entry(kind).or_default());
    }
}

impl Slices {
    fn of_controller(&mut self, controller: &Controller) -> Own<'_> {
        let fresh = || (controller.id.to_string(), controller.timezone.clone(), Figures::default());
        Own {
            total: &mut self.total,
            controller: &mut self.by_controller.entry(controller.name.clone()).or_insert_with(fresh).2,
            by_regulation: &mut self.by_regulation,
            by_type: &mut self.by_type,
        }
    }

    fn table(&self, from: Date, to: Date) -> Table {
        let mut table = Table { name: "figures", columns: vec!["from", "to", "slice", "name"], rows: Vec::new() };
        table.columns.extend(COLUMNS);
        let mut add = |slice: &str, name: &str, figures: &Figures| {
            let mut row: Vec<Cell> = cells![from.to_string(), to.to_string(), slice, name];
            row.extend(columns(figures));
            table.rows.push(row);
        };
        add("total", "", &self.total);
        self.by_controller.iter().for_each(|(name, (_, _, figures))| add("controller", name, figures));
        self.by_regulation.iter().for_each(|(id, figures)| add("regulation", id.as_deref().unwrap_or("none"), figures));
        self.by_type.iter().for_each(|(kind, figures)| add("type", kind.as_str(), figures));
        table
    }
}

/// Figures under the name of their slice.
fn named(figures: &Figures, names: &[(&str, Value)]) -> Value {
    let mut all: Map<String, Value> = names.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    if let Value::Object(members) = figures_json(figures) {
        all.extend(members);
    }
    Value::Object(all)
}

fn definitions() -> Value {
    json!({
        "open": "Requests that have not ended, at the moment the report was made.",
        "closed": "Requests that ended within the period, whose days are local dates of each controller, both inclusive.",
        "answered": "Ended as completed, partially_completed or rejected. Withdrawn and expired requests had no answer and are in no percentage.",
        "on_time": "Answered before the effective due date had passed: the earlier of the contract's date and the law's less the controller's buffer.",
        "statutory_on_time": "Answered before the law's own date had passed, of those for which a law sets one.",
        "late_without_answer": "Withdrawn or expired after the effective due date had passed.",
        "days": "Calendar days between local dates, from the day the person's request reached the controller (the day of the instruction where that is unknown).",
        "percent": "Rounded down to a tenth, so that 100 means all; null if there are none.",
        "paused": "A clock of the request stands still. While that moves its due date, it stays in the band in which the clock stopped and is not due on any day.",
        "step_duration": "From the moment the work could begin to the effect being seen in the system, of requests that ended within the period; rounded down to 0.1 s below a minute, 1 s below an hour, a minute below a day, else an hour.",
        "error_rate": "Failed tries of all tries that a system answered or failed, in the hours that touch the period; tries are kept for a week, so of an older period there are none.",
        "stuck": "A step that needs a person, or has failed since it last succeeded.",
    })
}
