//! How an open request stands at a moment follows from its own dates, whether or not the watch has looked.
//!
//! The dates of a clock that stands still are those of the day on which they were computed last, so they are computed anew: by
//! now a date that nothing moves may be the earlier one, and bind.

use super::DSRS;
use crate::Error;
use crate::clock::FrozenClock;
use crate::db::Row;
use jiff::{SignedDuration, Timestamp};
use redress_domain::deadline::{Band, ClockState, Milestones, compute};
use redress_domain::report::OpenClock;
use redress_domain::rules::Rules;

/// An open pause counts if the date is another one should it last so long: weekends and holidays can hide less.
const PAUSE_SHOWS_AFTER: SignedDuration = SignedDuration::from_hours(24 * 14);

/// How an open request stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) clock: OpenClock,
    /// A pause moves the due date from day to day.
    pub(super) moving: bool,
    pub(super) band: Band,
    /// Unix ms.
    pub(super) due_before: i64,
    pub(super) past_statutory: bool,
}

/// The clock of a request, if it stood still when it was last computed.
pub(super) fn stopped_clock(row: &Row) -> Result<Option<FrozenClock>, Error> {
    let text = row.opt_text("stopped_clock")?;
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| DSRS("clock"))
}

/// As the row has it.
pub(super) fn stored(row: &Row, now: Timestamp) -> Result<Standing, Error> {
    let due_before = row.int("due_before")?;
    let seen = Band::parse(&row.text("band")?).ok_or(DSRS("band"))?;
    let milestones: Option<Milestones> = row
        .opt_text("milestones")?
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|_| DSRS("deadlines"))?;
    let clock = match row.text("clock_state")?.as_str() {
        "running" => OpenClock::Running,
        "not_started" => OpenClock::NotStarted,
        "paused" => OpenClock::Paused(None),
        _ => return Err(DSRS("clock_state")),
    };
    let band = match (clock, milestones) {
        (OpenClock::Running, Some(milestones)) => milestones.band(now),
        // A request from before bands were kept.
        (OpenClock::Running, None) if now.as_millisecond() >= due_before => Band::Overdue,
        _ => seen,
    };
    let past_statutory = row.opt_text("statutory_clock")?.is_some_and(|state| state == "running");
    let moving = clock != OpenClock::Running;
    Ok(Standing { clock, moving, band, due_before, past_statutory })
}

/// As its clock says at this moment; none if that cannot be computed any more. A request whose due date a pause moves stays in the
/// band in which its clock stopped.
pub(super) fn computed(clock: &FrozenClock, rules: &Rules, now: Timestamp) -> Option<Standing> {
    let dates_at = |at| compute(rules, &clock.facts, at).ok();
    let dates = dates_at(now)?;
    // Of several things that are awaited the first one counts.
    let open = clock.facts.pauses.iter().filter(|pause| pause.to.is_none());
    let awaited = open.min_by_key(|pause| (pause.from, pause.kind));
    let state = match dates.clock {
        ClockState::Running => OpenClock::Running,
        ClockState::NotStarted => OpenClock::NotStarted,
        ClockState::Paused => OpenClock::Paused(awaited.map(|pause| pause.kind)),
    };
    let later = dates_at(now.saturating_add(PAUSE_SHOWS_AFTER).unwrap_or(now))?;
    let moving = later.effective.due_before != dates.effective.due_before;
    let band = if moving {
        let since = awaited.map_or(now, |pause| pause.from.min(now));
        dates_at(since)?.milestones.band(since)
    } else {
        dates.milestones.band(now)
    };
    let past_statutory =
        dates.statutory.as_ref().is_some_and(|law| law.clock == ClockState::Running && law.due_before <= now);
    let due_before = dates.effective.due_before.as_millisecond();
    Some(Standing { clock: state, moving, band, due_before, past_statutory })
}
