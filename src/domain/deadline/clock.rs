//! A clock is one rule applied to the instant that starts it, with everything that made it wait or gave it more time.
//!
//! Day 0 is the local date of the start and never counts. Waiting takes days out of the count, or moves day 0; an extension that was
//! told in time lengthens the period from day 0; what comes out may be moved off a day that is not a working day; and the first
//! instant of the next local day is too late.

use super::{Calendar, DeadlineError};
use crate::regulation::{Extension, FirstDay, MonthEnd, PauseKind, PauseMode, Period, Rule, Unit};
use crate::words::spelled;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A time in which a request waited for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// What was awaited.
    pub kind: PauseKind,
    /// When it was asked for.
    pub from: Timestamp,
    /// When it came; none while it is still awaited.
    #[serde(default)]
    pub to: Option<Timestamp>,
}

/// An extension as the person was told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtensionNotice {
    /// When the person was told, with the reasons.
    pub granted_at: Timestamp,
    /// The date that the notice names, where the rule lets it name one.
    #[serde(default)]
    pub until: Option<Date>,
}

spelled! {
    /// Whether a clock runs.
    ClockState {
        /// What starts it has not come yet.
        NotStarted = "not_started",
        /// It runs.
        Running = "running",
        /// It waits; its due date is provisional.
        Paused = "paused",
    }
}

/// Everything that one clock depends on.
#[derive(Debug, Clone, Copy)]
pub struct ClockInput<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The instant that starts it.
    pub started_at: Timestamp,
    /// The zone of its days.
    pub zone: &'a TimeZone,
    /// Its working days.
    pub calendar: &'a Calendar<'a>,
    /// Every pause of the request, in any order.
    pub pauses: &'a [Pause],
    /// The extension, if one was told.
    pub extension: Option<ExtensionNotice>,
    /// What an open pause is taken to end at: the present.
    pub as_of: Timestamp,
    /// Pauses do nothing here: the controller did not choose that they should.
    pub ignore_pauses: bool,
}

/// What one rule makes of one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockDates {
    /// Day 0, the local date of the start.
    pub started_on: Date,
    /// Day 0 plus the time to answer and the days that do not count, before it is moved off a day that is not a working day.
    pub nominal_on: Date,
    /// The last day that counts.
    pub due_on: Date,
    /// The first instant that is too late.
    pub due_before: Timestamp,
    /// The last day to acknowledge, where the rule sets one.
    pub acknowledge_by: Option<Date>,
    /// The last day to tell the person of an extension, where the rule knows one.
    pub extension_notice_by: Option<Date>,
    /// Whether the extension counts, where one was told.
    pub extension_valid: Option<bool>,
    /// The local dates that do not count, in order.
    pub excluded: Vec<Date>,
    /// The pauses that did something, in the order in which they began.
    pub effective_pauses: Vec<(Pause, PauseMode)>,
    /// Whether it runs.
    pub state: ClockState,
}

/// Applies a rule.
///
/// # Errors
/// A date lies outside what a calendar was made for.
pub fn run(input: &ClockInput<'_>) -> Result<ClockDates, DeadlineError> {
    let ClockInput { rule, zone, calendar, .. } = *input;
    let FirstDay::Excluded = rule.first_day;
    let MonthEnd::ClampLastDay = rule.month_end;
    let pauses = local_pauses(input);
    let received_on = date_in(input.started_at, zone);

    let (resets, waiting): (Vec<&LocalPause>, Vec<&LocalPause>) =
        pauses.iter().partition(|p| p.mode == PauseMode::Reset);
    let mut started_on = received_on;
    let mut effective = Vec::new();
    for reset in resets {
        // Like any pause: one that began after the due date as it then stood does nothing, or a late question would undo a breach.
        if reset.asked_on <= Answer::of(input, started_on, &waiting)?.count.due_on {
            started_on = started_on.max(reset.answered_on);
            effective.push(reset);
        }
    }
    let awaits_start = effective.iter().any(|p| p.pause.to.is_none());

    let Answer { extension_notice_by, extension_valid, count } = Answer::of(input, started_on, &waiting)?;
    effective.extend(&count.effective);
    effective.sort_by_key(|p| p.order());
    let state = if awaits_start {
        ClockState::NotStarted
    } else if effective.iter().any(|p| p.pause.to.is_none()) {
        ClockState::Paused
    } else {
        ClockState::Running
    };
    Ok(ClockDates {
        started_on,
        nominal_on: count.nominal_on,
        due_on: count.due_on,
        due_before: day_after(count.due_on, zone)?,
        // Receipt is acknowledged whatever is still awaited.
        acknowledge_by: rule.ack.map(|ack| calendar.add(received_on, ack)).transpose()?,
        extension_notice_by,
        extension_valid,
        excluded: count.excluded,
        effective_pauses: effective.iter().map(|p| (p.pause, p.mode)).collect(),
        state,
    })
}

/// The last days to tell of an extension and to answer, from one day 0.
struct Answer<'p> {
    extension_notice_by: Option<Date>,
    extension_valid: Option<bool>,
    count: Count<'p>,
}

impl<'p> Answer<'p> {
    fn of(input: &ClockInput<'_>, started_on: Date, waiting: &[&'p LocalPause]) -> Result<Self, DeadlineError> {
        let ClockInput { rule, zone, calendar, .. } = *input;
        let shifting = if rule.pause_shifts_extension_notice { waiting } else { &[] };
        let first_period = Count::of(calendar, started_on, rule.due, None, shifting, rule)?;
        let extension_notice_by = rule.extension.map(|_| first_period.due_on);

        let extension_valid = input.extension.map(|notice| {
            let told_on = date_in(notice.granted_at, zone);
            let names_date = rule.extension != Some(Extension::OpenEnded) || notice.until.is_some();
            extension_notice_by.is_some_and(|by| told_on <= by) && names_date
        });
        let granted = rule.extension.filter(|_| extension_valid == Some(true));
        let more = granted.and_then(|extension| match extension {
            Extension::Fixed { by, .. } => Some(by),
            Extension::OpenEnded => None,
        });
        let mut count = Count::of(calendar, started_on, rule.due, more, waiting, rule)?;
        if granted == Some(Extension::OpenEnded)
            && let Some(until) = input.extension.and_then(|notice| notice.until).filter(|until| *until > count.due_on)
        {
            // The notice itself names the day, so there is nothing to move.
            count.nominal_on = until;
            count.due_on = until;
        }
        Ok(Self { extension_notice_by, extension_valid, count })
    }
}

/// A pause as local dates of one rule.
struct LocalPause {
    pause: Pause,
    mode: PauseMode,
    asked_on: Date,
    answered_on: Date,
}

impl LocalPause {
    /// By when they began; what began together, by its kind.
    fn order(&self) -> (Date, Timestamp, PauseKind, Option<Timestamp>) {
        (self.asked_on, self.pause.from, self.pause.kind, self.pause.to)
    }

    /// Whether a day after day 0 is not counted.
    fn excludes(&self, day: Date) -> bool {
        match self.mode {
            PauseMode::ExcludeInclusive => self.asked_on <= day && day <= self.answered_on,
            PauseMode::Suspend => self.asked_on < day && day <= self.answered_on,
            PauseMode::None | PauseMode::Reset => false,
        }
    }
}

fn local_pauses(input: &ClockInput<'_>) -> Vec<LocalPause> {
    if input.ignore_pauses {
        return Vec::new();
    }
    let local = |pause: &Pause| LocalPause {
        pause: *pause,
        mode: input.rule.pause.of(pause.kind),
        asked_on: date_in(pause.from, input.zone),
        answered_on: date_in(pause.to.unwrap_or(input.as_of).max(pause.from), input.zone),
    };
    let mut pauses: Vec<LocalPause> = input.pauses.iter().map(local).filter(|p| p.mode != PauseMode::None).collect();
    pauses.sort_by_key(LocalPause::order);
    pauses
}

/// The count from day 0 with what waiting takes out of it.
struct Count<'p> {
    nominal_on: Date,
    due_on: Date,
    excluded: Vec<Date>,
    effective: Vec<&'p LocalPause>,
}

impl<'p> Count<'p> {
    /// Takes the pauses in the order in which they began; one that began after the due date as it then stood does nothing.
    fn of(
        calendar: &Calendar<'_>,
        started_on: Date,
        period: Period,
        more: Option<Period>,
        pauses: &[&'p LocalPause],
        rule: &Rule,
    ) -> Result<Self, DeadlineError> {
        let due = |excluded: &[Date]| -> Result<(Date, Date), DeadlineError> {
            let nominal_on = match more {
                None => calendar.add_without(started_on, period, excluded)?,
                Some(more) => match sum(period, more) {
                    Some(whole) => calendar.add_without(started_on, whole, excluded)?,
                    None => calendar.add_without(calendar.add(started_on, period)?, more, excluded)?,
                },
            };
            Ok((nominal_on, calendar.roll(nominal_on, rule.roll)?))
        };
        let mut excluded = Vec::new();
        let mut effective = Vec::new();
        let (mut nominal_on, mut due_on) = due(&excluded)?;
        for pause in pauses {
            if pause.asked_on > due_on {
                continue;
            }
            effective.push(*pause);
            let days = pause.asked_on.series(jiff::Span::new().days(1)).take_while(|day| *day <= pause.answered_on);
            excluded.extend(days.filter(|day| *day > started_on && pause.excludes(*day)));
            excluded.sort_unstable();
            excluded.dedup();
            (nominal_on, due_on) = due(&excluded)?;
        }
        Ok(Self { nominal_on, due_on, excluded, effective })
    }
}

/// One period for two of the same unit.
fn sum(one: Period, other: Period) -> Option<Period> {
    let amount = one.amount().checked_add(other.amount())?;
    Period::new(amount, one.unit()).filter(|_| one.unit() == other.unit())
}

/// The local date of an instant.
pub(super) fn date_in(instant: Timestamp, zone: &TimeZone) -> Date {
    instant.to_zoned(zone.clone()).date()
}

/// The first instant of a local day, which is not midnight where the clocks go forward at midnight.
pub(crate) fn day_start(day: Date, zone: &TimeZone) -> Result<Timestamp, DeadlineError> {
    let start = day.to_zoned(zone.clone()).and_then(|day| day.start_of_day());
    start.map(|start| start.timestamp()).map_err(|_| DeadlineError::OutOfRange)
}

/// The first instant of the next local day: two days on where a zone left a day out.
pub(super) fn day_after(day: Date, zone: &TimeZone) -> Result<Timestamp, DeadlineError> {
    day_start(day.tomorrow().map_err(|_| DeadlineError::OutOfRange)?, zone)
}

/// Whether a period in months took a shorter month's last day.
pub(super) fn is_clamped(period: Period, from: Date, to: Date) -> bool {
    period.unit() == Unit::CalendarMonths && from.day() != to.day()
}
