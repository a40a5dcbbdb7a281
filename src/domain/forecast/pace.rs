//! A pace is how long a system takes for one call while it has work, as it was measured, or as it has to be taken for.
//!
//! A call is what is asked for one person at once: acting, asking an external system how far it is, or the second read. Only time
//! in which a system was at work counts, so that a system with little to do does not look slow. A limit that the controller set
//! (`rate_per_second`) is kept out of the measure and applied afterwards: once it is raised, the forecast knows it at once.

use std::time::Duration;

/// What was seen of a system in a span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Calls that it answered.
    pub calls: i64,
    /// For how long at least one call was under way, or put off at the system's wish (ms).
    pub busy_ms: i64,
}

/// What was recorded of a system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// In the last 24 hours.
    pub day: Seen,
    /// In the last seven days.
    pub week: Seen,
    /// Since when every call has failed (Unix ms).
    pub failing_since: Option<i64>,
    /// How many have failed since.
    pub failures: i64,
}

/// What a pace rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Its calls of the last 24 hours.
    LastDay,
    /// Its calls of the last seven days.
    LastWeek,
    /// Nothing: there were too few calls.
    Assumed,
}

/// How long a system takes for one call while it has work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Microseconds a call takes, the limit included; at least 1.
    pub micros: i64,
    /// What it would take without the limit.
    pub unlimited: i64,
    /// What `unlimited` rests on.
    pub basis: Basis,
}

/// So many calls tell a pace.
const ENOUGH_CALLS: i64 = 20;
/// So long a time at work tells a pace even if few calls were answered in it.
const ENOUGH_BUSY_MS: i64 = 3_600_000;
/// What a system that was not measured is taken to need for a call: a second.
const ASSUMED: i64 = 1_000_000;
/// Slower than a call in a hundred years is no different.
const SLOWEST: i64 = 36_525 * 86_400 * 1_000_000;

impl Seen {
    fn micros(self) -> Option<i64> {
        let enough = self.calls >= ENOUGH_CALLS || (self.calls > 0 && self.busy_ms >= ENOUGH_BUSY_MS);
        enough.then(|| (self.busy_ms.saturating_mul(1_000) / self.calls).clamp(1, SLOWEST))
    }
}

impl Pace {
    /// The pace of a system whose controller allows `rate_per_second` batches of at most `batch` calls.
    pub fn of(record: &Record, rate_per_second: Option<f64>, batch: usize) -> Self {
        // The last day if it tells enough: a system that became slower or faster is believed soon.
        let (unlimited, basis) = match (record.day.micros(), record.week.micros()) {
            (Some(micros), _) => (micros, Basis::LastDay),
            (None, Some(micros)) => (micros, Basis::LastWeek),
            (None, None) => (ASSUMED, Basis::Assumed),
        };
        let limit = rate_per_second.map_or(0, |rate| period(rate) / (batch.max(1) as i64));
        Self { micros: unlimited.max(limit), unlimited, basis }
    }

    /// Whether the limit of the controller is what makes it this slow.
    pub const fn is_limited(self) -> bool {
        self.micros > self.unlimited
    }
}

/// Microseconds between two permissions.
fn period(rate_per_second: f64) -> i64 {
    let period = Duration::try_from_secs_f64(1.0 / rate_per_second).unwrap_or(Duration::MAX);
    i64::try_from(period.as_micros()).unwrap_or(SLOWEST).min(SLOWEST)
}
