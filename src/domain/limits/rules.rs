//! Rules are limits as numbers, for one call at one moment.

use super::{Limits, Span, day};

/// A stretch of time of a fixed length, wherever it begins, and what fits into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its length (ms).
    pub ms: i64,
    /// What fits into it in all.
    pub limit: u64,
    /// What fits into it of work that is not due soon.
    pub ordinary: u64,
}

/// A vendor's day and what fits into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Its first millisecond (Unix ms).
    pub began_at: i64,
    /// The first of the next day.
    pub ends_at: i64,
    /// What fits into it in all.
    pub limit: u64,
    /// What fits into it of work that is not due soon.
    pub ordinary: u64,
}

/// Everything that one call has to fit into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Sliding windows.
    pub windows: Vec<Window>,
    /// The vendor's day, if there is a budget for it.
    pub day: Option<Day>,
    /// Most calls at the same time.
    pub concurrency: Option<u32>,
}

/// A call is taken to have reached the vendor within this time of its permit, at the least and at the most (ms).
pub(super) const SETTLE_MS: (i64, i64) = (250, 5_000);

fn round_up(whole: i64, parts: u64) -> i64 {
    let parts = parts.max(1) as i64;
    (whole + parts - 1) / parts
}

impl Limits {
    /// These limits as numbers at the moment `now` (Unix ms).
    pub fn rules(&self, now: i64) -> Rules {
        let mut rules = Rules { concurrency: self.concurrency, ..Rules::default() };
        for rate in &self.rates {
            let (limit, ordinary) = (self.ours(rate.calls), self.ordinary(rate.calls));
            match rate.span {
                Span::Sliding(ms) => rules.windows.push(Window { ms, limit, ordinary }),
                Span::Day => {
                    let (began_at, ends_at) = day::around(now, &self.zone());
                    rules.day = Some(Day { began_at, ends_at, limit, ordinary });
                }
            }
        }
        // A burst is a shorter window of the same rate.
        if let (Some(burst), Some(first)) = (self.burst, rules.windows.first().copied())
            && burst < first.limit
        {
            let ms = round_up(first.ms * burst as i64, first.limit);
            let ordinary = burst.min(first.ordinary);
            rules.windows.push(Window { ms, limit: burst, ordinary });
        }
        rules
    }
}

impl Rules {
    /// The longest sliding window (ms).
    pub fn longest(&self) -> i64 {
        self.windows.iter().map(|window| window.ms).max().unwrap_or_default()
    }

    /// How long after its permit a call still counts as being on its way (ms): two hundredths of the shortest window.
    pub fn settle_ms(&self) -> i64 {
        let shortest = self.windows.iter().map(|window| window.ms).min().unwrap_or_default();
        (shortest / 50).clamp(SETTLE_MS.0, SETTLE_MS.1)
    }

    /// How far apart calls of this cost are, if all of the allowance is used (ms).
    pub fn spacing_ms(&self, cost: u64) -> i64 {
        let of = |window: &Window| round_up(window.ms * cost as i64, window.ordinary);
        self.windows.iter().map(of).max().unwrap_or_default()
    }

    /// The part of these rules that one of several workers may use without asking the others: of `percent` of each limit,
    /// what falls to the worker of this rank. The parts of all workers together are never more than the whole.
    #[must_use]
    pub fn part(&self, percent: u64, rank: u64, workers: u64) -> Self {
        let workers = workers.max(1);
        let of = |whole: u64| {
            let whole = (whole * percent / 100).max(u64::from(whole > 0));
            whole / workers + u64::from(rank < whole % workers)
        };
        let windows = self.windows.iter().map(|window| {
            let limit = of(window.limit);
            Window { limit, ordinary: of(window.ordinary).min(limit), ..*window }
        });
        Self {
            windows: windows.collect(),
            // A day's budget is bought from the database by all alike.
            day: self.day,
            concurrency: self.concurrency.map(|calls| of(u64::from(calls)) as u32),
        }
    }
}
