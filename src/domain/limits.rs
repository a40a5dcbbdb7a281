//! A limit is what the vendor of a connected system allows one credential: calls in each of several windows, calls at the same
//! time, and what each kind of call costs.
//!
//! [`Limits`] is what a controller writes; [`rules`] is that as numbers for one call; [`State`] says, purely, whether a
//! call may be made now and, if not, when. [`headers`] reads what vendors say about themselves in their answers.

mod day;
pub mod headers;
pub mod ledger;
#[cfg(test)]
mod ledger_tests;
mod read;
pub mod rules;
pub mod state;
#[cfg(test)]
mod tests;

pub use headers::{Feedback, feedback};
pub use ledger::{Chunk, Page, Recorded};
pub use rules::{Day, Rules, Window};
pub use state::{Ask, Decision, Reason, State};

use crate::Verb;
use crate::step::Phase;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Over what a number of calls is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// Any stretch of time of this length (ms), wherever it begins.
    Sliding(i64),
    /// A calendar day in the vendor's time zone.
    Day,
}

/// So many calls in a span: `100/10s`, `60/min`, `20000/day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub calls: u64,
    /// In what.
    pub span: Span,
}

/// What a vendor allows one credential, and how much of it is ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Every window; a call must fit into all of them.
    pub rates: Vec<Rate>,
    /// Most calls at the same time.
    pub concurrency: Option<u32>,
    /// The part of the vendor's account that is ours; others use the rest.
    pub share: f64,
    /// The part of every window that is kept for what is due soon.
    pub reserve: f64,
    /// Most calls that may follow each other at once in the first window.
    pub burst: Option<u64>,
    /// What a call costs, by verb; one if it is not named.
    pub cost: BTreeMap<Verb, u64>,
    /// Where the vendor's day begins.
    pub timezone: String,
}

/// Steps that are due within this time, or overdue, may use the reserve (ms).
pub const DUE_SOON_MS: i64 = 3 * 86_400_000;

const DAY_MS: i64 = 86_400_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            rates: Vec::new(),
            concurrency: None,
            share: 1.0,
            reserve: 0.0,
            burst: None,
            cost: BTreeMap::new(),
            timezone: "UTC".into(),
        }
    }
}

impl Limits {
    /// The limits behind the shorthand `rate_per_second`: whole calls in whole seconds where that is possible, one call in
    /// a longer span for what is slower than one a second.
    #[expect(clippy::cast_precision_loss, reason = "a rate is told in a few digits")]
    pub fn per_second(rate: f64) -> Option<Self> {
        if !rate.is_finite() || rate <= 0.0 {
            return None;
        }
        let (calls, ms) = if rate < 1.0 {
            (1.0, (1_000.0 / rate).ceil())
        } else {
            // 2.5 a second are five in two seconds; what does not come out even in ten seconds is rounded down.
            let even = (1..=10_i64).map(|s| (rate * s as f64, s)).find(|(n, _)| (n - n.round()).abs() < 1e-6);
            let (calls, seconds) = even.unwrap_or((rate * 10.0, 10));
            ((calls + 1e-6).floor(), seconds as f64 * 1_000.0)
        };
        let rate = Rate { calls: calls as u64, span: Span::Sliding(ms as i64) };
        Some(Self { rates: vec![rate], ..Self::default() })
    }

    /// What one call of the connector costs.
    pub fn cost_of(&self, verb: Verb, phase: Phase) -> u64 {
        let verb = if phase == Phase::Verify { Verb::Verify } else { verb };
        self.cost.get(&verb).copied().unwrap_or(1)
    }

    /// How many calls fit into a second if there is enough to do, the dearest ones; none if nothing limits them.
    #[expect(clippy::cast_precision_loss, reason = "a forecast is no more exact than that")]
    pub fn calls_per_second(&self) -> Option<f64> {
        let of = |rate: &Rate| {
            let ms = match rate.span {
                Span::Sliding(ms) => ms,
                Span::Day => DAY_MS,
            };
            self.ordinary(rate.calls) as f64 * 1_000.0 / ms as f64
        };
        let dearest = self.cost.values().copied().max().unwrap_or(1).max(1);
        self.rates.iter().map(of).min_by(f64::total_cmp).map(|calls| calls / dearest as f64)
    }

    /// Whether anything is limited at all.
    pub const fn is_none(&self) -> bool {
        self.rates.is_empty() && self.concurrency.is_none()
    }

    /// The zone in which the vendor's day begins.
    fn zone(&self) -> TimeZone {
        TimeZone::get(&self.timezone).unwrap_or(TimeZone::UTC)
    }

    /// Of so many calls, those that are ours.
    fn ours(&self, calls: u64) -> u64 {
        part(calls, self.share).max(1)
    }

    /// Of those, the ones that may be used for what is not due soon.
    fn ordinary(&self, calls: u64) -> u64 {
        part(self.ours(calls), 1.0 - self.reserve).max(1)
    }
}

/// A part of a whole number, rounded down, but not because a decimal fraction has no exact binary one.
#[expect(clippy::cast_precision_loss, reason = "no vendor allows 2^52 calls")]
fn part(whole: u64, of: f64) -> u64 {
    (whole as f64 * of + 1e-6).floor() as u64
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said: Vec<String> = self.rates.iter().map(ToString::to_string).collect();
        if let Some(calls) = self.concurrency {
            said.push(format!("{calls} at the same time"));
        }
        if let Some(calls) = self.burst {
            said.push(format!("{calls} at once"));
        }
        if self.share < 1.0 {
            said.push(format!("of which {:.0} % are ours", self.share * 100.0));
        }
        if self.reserve > 0.0 {
            said.push(format!("{:.0} % kept for what is due soon", self.reserve * 100.0));
        }
        said.extend(self.cost.iter().map(|(verb, cost)| format!("{verb} costs {cost}")));
        if self.rates.iter().any(|rate| rate.span == Span::Day) {
            said.push(format!("days of {}", self.timezone));
        }
        f.write_str(&said.join(", "))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.calls)?;
        let unit = |n: i64, unit: &str| if n == 1 { unit.to_owned() } else { format!("{n}{unit}") };
        f.write_str(&match self.span {
            Span::Day => "day".to_owned(),
            Span::Sliding(ms) if ms % 3_600_000 == 0 => unit(ms / 3_600_000, "h"),
            Span::Sliding(ms) if ms % 60_000 == 0 => unit(ms / 60_000, "min"),
            Span::Sliding(ms) if ms % 1_000 == 0 => unit(ms / 1_000, "s"),
            Span::Sliding(ms) => unit(ms, "ms"),
        })
    }
}

impl Rate {
    /// Reads `100/10s`, `5/s`, `60/min`, `10000/10min`, `36000/h`, `20000/day`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence without subject.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be calls in a window, such as \"100/10s\", \"60/min\", \"36000/h\" or \"20000/day\"";
        let (calls, span) = text.split_once('/').ok_or(FORM)?;
        let calls: u64 = calls.trim().parse().map_err(|_| FORM)?;
        if !(1..=1_000_000_000).contains(&calls) {
            return Err("must allow at least one call, and at most a thousand million");
        }
        let span = span.trim();
        let digits = span.find(|c: char| !c.is_ascii_digit()).unwrap_or(span.len());
        let (count, unit) = span.split_at(digits);
        let count: i64 = if count.is_empty() { 1 } else { count.parse().map_err(|_| FORM)? };
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "min" | "m" => 60_000,
            "h" => 3_600_000,
            "day" | "d" if count == 1 => return Ok(Self { calls, span: Span::Day }),
            "day" | "d" => return Err("may have windows of one day only; a window of 24 rolling hours is \"24h\""),
            _ => return Err(FORM),
        };
        let ms = count.checked_mul(unit).filter(|ms| (100..=DAY_MS).contains(ms));
        let ms = ms.ok_or("must have a window from 100ms to 24h, or a day")?;
        Ok(Self { calls, span: Span::Sliding(ms) })
    }
}

impl Serialize for Rate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
