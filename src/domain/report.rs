//! A report is counted, not estimated: numbers of requests, whole local days, and exact medians over them.
//!
//! Everything here adds up one request at a time and keeps counts only, so that a report over a million requests needs no more memory
//! than one over ten. What is open is counted at one moment, what is closed over a time.

use crate::deadline::Band;
use crate::regulation::PauseKind;
use crate::stage::Stage;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// The ageing buckets: label and last day, counted from the local date of receipt. The last one has no end.
pub const AGES: [(&str, i64); 8] = [
    ("0-7", 7),
    ("8-14", 14),
    ("15-21", 21),
    ("22-30", 30),
    ("31-45", 45),
    ("46-60", 60),
    ("61-90", 90),
    ("> 90", i64::MAX),
];

/// The bucket of [`AGES`] for an age in days; what lies in the future is of today.
pub fn age_bucket(days: i64) -> usize {
    AGES.iter().position(|(_, last)| days <= *last).unwrap_or(AGES.len() - 1)
}

/// The local date of an instant (Unix ms); one outside the calendar is the nearest that is inside.
pub fn local_date(ms: i64, zone: &TimeZone) -> Date {
    let at = Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    zone.to_datetime(at).date()
}

/// Calendar days from the local date of one instant to that of another (Unix ms), at least 0.
pub fn days_between(from: i64, to: i64, zone: &TimeZone) -> i64 {
    let (from, to) = (local_date(from, zone), local_date(to, zone));
    from.until(to).map_or(0, |span| i64::from(span.get_days()).max(0))
}

/// The first instant of a local day (Unix ms), which is not midnight where the clocks go forward at midnight.
pub fn day_start(day: Date, zone: &TimeZone) -> i64 {
    let start = day.to_zoned(zone.clone()).and_then(|at| at.start_of_day());
    start.map_or(i64::MAX, |at| at.timestamp().as_millisecond())
}

/// A number with one decimal place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenths(u64);

impl Tenths {
    /// This many tenths.
    pub const fn new(tenths: u64) -> Self {
        Self(tenths)
    }

    /// How many tenths it is.
    pub const fn tenths(self) -> u64 {
        self.0
    }

    /// A whole number.
    pub const fn whole(number: u64) -> Self {
        Self(number.saturating_mul(10))
    }
}

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl Serialize for Tenths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(u32::try_from(self.0).unwrap_or(u32::MAX)) / 10.0)
    }
}

/// A part of a whole, so that nobody has to guess what a percentage is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many of them.
    pub numerator: u64,
    /// Of how many.
    pub denominator: u64,
}

impl Share {
    /// Counts one more.
    pub fn add(&mut self, is_one: bool) {
        self.add_many(u64::from(is_one), 1);
    }

    /// Counts several more.
    pub fn add_many(&mut self, numerator: u64, denominator: u64) {
        self.numerator += numerator;
        self.denominator += denominator;
    }

    /// In percent, rounded down so that 100 means all; none of nothing.
    pub fn percent(self) -> Option<Tenths> {
        let tenths = u128::from(self.numerator) * 1000;
        let tenths = tenths.checked_div(u128::from(self.denominator))?;
        Some(Tenths(u64::try_from(tenths).unwrap_or(u64::MAX)))
    }
}

/// How often each whole number was met. It grows with the different numbers, not with how many there were.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

impl Tally {
    /// Counts one number; what is negative counts as 0.
    pub fn add(&mut self, number: i64) {
        self.add_many(number, 1);
    }

    /// Counts the same number several times.
    pub fn add_many(&mut self, number: i64, times: u64) {
        if times > 0 {
            *self.counts.entry(u64::try_from(number).unwrap_or(0)).or_default() += times;
            self.total += times;
        }
    }

    /// How many were counted.
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The middle number, or the mean of the two in the middle; none of nothing.
    pub fn median(&self) -> Option<Tenths> {
        let last = self.total.checked_sub(1)?;
        let (low, high) = (self.nth(last / 2), self.nth(last.div_ceil(2)));
        Some(Tenths((low + high).saturating_mul(5)))
    }

    /// The least number that at least `percent` of all do not exceed (nearest rank); none of nothing.
    pub fn percentile(&self, percent: u8) -> Option<u64> {
        let rank = (u128::from(self.total) * u128::from(percent)).div_ceil(100).max(1);
        (self.total > 0).then(|| self.nth(u64::try_from(rank).unwrap_or(u64::MAX) - 1))
    }

    /// The arithmetic mean, rounded half up to a tenth; none of nothing.
    pub fn mean(&self) -> Option<Tenths> {
        let sum: u128 = self.counts.iter().map(|(number, times)| u128::from(*number) * u128::from(*times)).sum();
        let tenths = (sum * 20 + u128::from(self.total)).checked_div(u128::from(self.total) * 2)?;
        Some(Tenths(u64::try_from(tenths).unwrap_or(u64::MAX)))
    }

    /// The number at this place (from 0) when all stand in order.
    fn nth(&self, place: u64) -> u64 {
        let mut passed = 0;
        for (number, times) in &self.counts {
            passed += times;
            if passed > place {
                return *number;
            }
        }
        self.counts.last_key_value().map_or(0, |(number, _)| *number)
    }
}

/// How the clock of an open request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenClock {
    /// What starts it has not come yet.
    NotStarted,
    /// It runs.
    Running,
    /// It waits for this, as far as it is recorded.
    Paused(Option<PauseKind>),
}

/// What is counted of one open request.
#[derive(Debug, Clone, Copy)]
pub struct OpenCase {
    /// How near its effective due date is.
    pub band: Band,
    /// Where it stands.
    pub stage: Stage,
    /// A person must do something.
    pub needs_attention: bool,
    /// How its clock stands.
    pub clock: OpenClock,
    /// Days since it was received.
    pub age_days: i64,
    /// Today is the last day that counts.
    pub due_today: bool,
    /// The law's own date has passed too.
    pub past_statutory: bool,
    /// It was extended.
    pub extended: bool,
    /// It is expected to finish too late.
    pub forecast_late: bool,
}

/// What is counted of one request that ended.
#[derive(Debug, Clone, Copy)]
pub struct ClosedCase {
    /// How it ended.
    pub stage: Stage,
    /// Days from its receipt to its end.
    pub days: i64,
    /// It ended before the effective due date had passed.
    pub in_time: bool,
    /// It ended before the law's date had passed, if a law set one.
    pub in_statutory_time: Option<bool>,
    /// It was extended.
    pub extended: bool,
}

/// The figures of some requests: all, or one slice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Those that have not ended.
    pub open: OpenFigures,
    /// Those that ended within a time.
    pub closed: ClosedFigures,
}

/// The figures of open requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenFigures {
    /// All of them.
    pub total: u64,
    /// How many are in each band.
    pub bands: BTreeMap<Band, u64>,
    /// For how many today is the last day that counts.
    pub due_today: u64,
    /// How many are past the law's own date.
    pub past_statutory: u64,
    /// How many need a person.
    pub needs_attention: u64,
    /// How many wait for their controller's answer.
    pub awaiting_controller: u64,
    /// How many have a clock that has not started.
    pub not_started: u64,
    /// How many have a paused clock, by what is awaited.
    pub paused: BTreeMap<Option<PauseKind>, u64>,
    /// How many were extended.
    pub extended: u64,
    /// How many are expected to finish too late.
    pub forecast_late: u64,
    /// How many are of each age, by the buckets of [`AGES`].
    pub ages: [u64; AGES.len()],
}

/// The figures of requests that ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClosedFigures {
    /// How many ended in each stage.
    pub stages: BTreeMap<Stage, u64>,
    /// How many of those that were answered were in time.
    pub on_time: Share,
    /// How many of those that were answered, and that a law sets a date for, were within the law.
    pub within_statutory: Share,
    /// How many of those that were answered had been extended.
    pub extended: Share,
    /// How many were taken back or ran out after their due date: no answer, and not in time either.
    pub late_without_answer: u64,
    /// Days from receipt to answer, of those that were answered.
    pub days: Tally,
}

/// Whether a request that ended so was answered: granted in whole or in part, or refused.
pub const fn is_answer(stage: Stage) -> bool {
    matches!(stage, Stage::Completed | Stage::PartiallyCompleted | Stage::Rejected)
}

impl OpenFigures {
    /// Counts one request.
    pub fn add(&mut self, case: &OpenCase) {
        self.total += 1;
        *self.bands.entry(case.band).or_default() += 1;
        self.due_today += u64::from(case.due_today);
        self.past_statutory += u64::from(case.past_statutory);
        self.needs_attention += u64::from(case.needs_attention);
        self.awaiting_controller += u64::from(case.stage == Stage::AwaitingController);
        match case.clock {
            OpenClock::NotStarted => self.not_started += 1,
            OpenClock::Running => {}
            OpenClock::Paused(kind) => *self.paused.entry(kind).or_default() += 1,
        }
        self.extended += u64::from(case.extended);
        self.forecast_late += u64::from(case.forecast_late);
        self.ages[age_bucket(case.age_days)] += 1;
    }

    /// How many are in this band.
    pub fn in_band(&self, band: Band) -> u64 {
        self.bands.get(&band).copied().unwrap_or(0)
    }

    /// How many wait for this.
    pub fn waiting_for(&self, kind: Option<PauseKind>) -> u64 {
        self.paused.get(&kind).copied().unwrap_or(0)
    }
}

impl ClosedFigures {
    /// Counts one request.
    pub fn add(&mut self, case: &ClosedCase) {
        *self.stages.entry(case.stage).or_default() += 1;
        if !is_answer(case.stage) {
            self.late_without_answer += u64::from(!case.in_time);
            return;
        }
        self.on_time.add(case.in_time);
        if let Some(in_time) = case.in_statutory_time {
            self.within_statutory.add(in_time);
        }
        self.extended.add(case.extended);
        self.days.add(case.days);
    }

    /// How many ended so.
    pub fn ended(&self, stage: Stage) -> u64 {
        self.stages.get(&stage).copied().unwrap_or(0)
    }

    /// How many ended.
    pub fn total(&self) -> u64 {
        self.stages.values().sum()
    }
}

#[cfg(test)]
mod tests;
