//! A connected system's figures tell what is waiting in it, how long its steps take, and how often its tries fail.

use super::figures::share_json;
use crate::report::table::{Cell, cells};
use crate::report::time;
use redress_domain::deadline::Band;
use redress_domain::report::{Share, Tally, Tenths};
use redress_domain::{ControllerId, DsrId, StepId, SystemId};
use redress_store::{Controller, Error, OpenDsr, Store, SystemName};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The columns of the table of systems.
pub(super) const COLUMNS: [&str; 25] = [
    "controller",
    "system",
    "family",
    "connector",
    "disconnected",
    "open_requests",
    "on_track",
    "at_risk",
    "critical",
    "overdue",
    "steps_needing_attention",
    "steps_external",
    "steps_stuck",
    "oldest_stuck_step",
    "oldest_stuck_request",
    "oldest_stuck_since",
    "answered",
    "on_time",
    "on_time_percent",
    "steps_done",
    "seconds_median",
    "seconds_p95",
    "tries",
    "failed_tries",
    "error_percent",
];

/// What is counted of one system.
#[derive(Debug)]
pub(super) struct SystemFigures {
    controller: String,
    system: SystemName,
    /// Open requests that still need it, by band.
    open: BTreeMap<Band, u64>,
    needs_attention: u64,
    external: u64,
    stuck: u64,
    oldest_stuck: Option<(i64, StepId, DsrId)>,
    on_time: Share,
    /// Durations of its steps (ms).
    times: Tally,
    /// Failed tries of all tries.
    errors: Share,
}

impl SystemFigures {
    /// Every system of a controller with nothing counted yet, by id.
    pub(super) async fn of(store: &Store, controller: &Controller) -> Result<BTreeMap<SystemId, Self>, Error> {
        let empty = |system: SystemName| {
            let figures = Self {
                controller: controller.name.clone(),
                system: system.clone(),
                open: BTreeMap::new(),
                needs_attention: 0,
                external: 0,
                stuck: 0,
                oldest_stuck: None,
                on_time: Share::default(),
                times: Tally::default(),
                errors: Share::default(),
            };
            (system.id, figures)
        };
        Ok(store.system_names(&controller.id).await?.into_iter().map(empty).collect())
    }

    /// Where it stands among others.
    pub(super) fn place(&self) -> (&str, &str, bool, &str) {
        (&self.controller, &self.system.name, self.system.disconnected, self.system.id.as_str())
    }

    fn in_band(&self, band: Band) -> u64 {
        self.open.get(&band).copied().unwrap_or(0)
    }

    fn seconds(&self) -> (Option<Tenths>, Option<Tenths>) {
        let median = self.times.median().map(|ms| Tenths::new(ms.tenths() / 1000));
        (median, self.times.percentile(95).map(|ms| Tenths::new(ms / 100)))
    }

    pub(super) fn json(&self) -> Value {
        let (median, p95) = self.seconds();
        let oldest = self
            .oldest_stuck
            .as_ref()
            .map(|(since, step, dsr)| json!({ "step": step, "request": dsr, "since": time(*since) }));
        json!({
            "controller": self.controller,
            "system": self.system.name,
            "id": self.system.id,
            "family": self.system.family,
            "connector": self.system.connector,
            "disconnected": self.system.disconnected,
            "open": {
                "requests": self.open.values().sum::<u64>(),
                "on_track": self.in_band(Band::OnTrack),
                "at_risk": self.in_band(Band::AtRisk),
                "critical": self.in_band(Band::Critical),
                "overdue": self.in_band(Band::Overdue),
                "needs_attention": self.needs_attention,
                "external": self.external,
                "stuck": self.stuck,
                "oldest_stuck": oldest,
            },
            "closed": {
                "answered": self.on_time.denominator,
                "on_time": share_json(self.on_time),
                "step_duration_seconds": { "median": median, "p95": p95, "steps": self.times.count() },
            },
            "error_rate": share_json(self.errors),
        })
    }

    pub(super) fn row(&self) -> Vec<Cell> {
        let (median, p95) = self.seconds();
        let (since, step, dsr) = match &self.oldest_stuck {
            Some((since, step, dsr)) => (time(*since), Some(step.as_str()), Some(dsr.as_str())),
            None => (None, None, None),
        };
        cells![
            self.controller.as_str(),
            self.system.name.as_str(),
            self.system.family.as_str(),
            self.system.connector.as_str(),
            if self.system.disconnected { "yes" } else { "no" },
            self.open.values().sum::<u64>(),
            self.in_band(Band::OnTrack),
            self.in_band(Band::AtRisk),
            self.in_band(Band::Critical),
            self.in_band(Band::Overdue),
            self.needs_attention,
            self.external,
            self.stuck,
            step,
            dsr,
            since,
            self.on_time.denominator,
            self.on_time.numerator,
            self.on_time.percent(),
            self.times.count(),
            median,
            p95,
            self.errors.denominator,
            self.errors.numerator,
            self.errors.percent(),
        ]
    }
}

/// Counts an open request in the systems that it still needs.
pub(super) fn count_open(systems: &mut BTreeMap<SystemId, SystemFigures>, dsr: &OpenDsr, band: Band) {
    for step in &dsr.steps {
        // One that was connected while the report was made is in the next.
        let Some(figures) = systems.get_mut(&step.system_id) else { continue };
        *figures.open.entry(band).or_default() += 1;
        figures.needs_attention += u64::from(step.needs_attention);
        figures.external += u64::from(step.external);
        if let Some(since) = step.stuck_since {
            figures.stuck += 1;
            if figures.oldest_stuck.as_ref().is_none_or(|(oldest, _, _)| since < *oldest) {
                figures.oldest_stuck = Some((since, step.id.clone(), dsr.id.clone()));
            }
        }
    }
}

/// Counts what the systems did for requests that ended between two instants (Unix ms), and their tries.
pub(super) async fn count_done(
    store: &Store,
    controller_id: &ControllerId,
    (from, to): (i64, i64),
    systems: &mut BTreeMap<SystemId, SystemFigures>,
) -> Result<(), Error> {
    for times in store.step_times(controller_id, from, to).await? {
        let Some(figures) = systems.get_mut(&times.system_id) else { continue };
        figures.on_time.add_many(times.in_time, times.answered);
        if let Some(ms) = times.ms {
            figures.times.add_many(ms, times.steps);
        }
    }
    for (id, (done, failed)) in store.tries(controller_id, from, to).await? {
        if let Some(figures) = systems.get_mut(&id) {
            figures.errors.add_many(failed, done + failed);
        }
    }
    Ok(())
}
