//! What vendors say about their limits in the headers of an answer: to wait, and what is left.
//!
//! No two spell it alike, so that everything known is read and the most careful reading counts. Nothing absurd gets through:
//! what is no number, negative, or further away than a day is cut or passed over.

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// What a vendor said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Feedback {
    /// Nothing may be sent for so long (ms).
    pub wait_ms: Option<i64>,
    /// So much is left, until that many milliseconds have passed.
    pub left: Option<(u64, i64)>,
}

impl Feedback {
    /// The vendor asked to wait.
    pub const fn wait(ms: i64) -> Self {
        Self { wait_ms: Some(ms), left: None }
    }

    /// Whether it says anything.
    pub const fn is_empty(&self) -> bool {
        self.wait_ms.is_none() && self.left.is_none()
    }
}

/// Longer than a day is taken for a day (ms).
const LONGEST_MS: i64 = 86_400_000;
/// A wait without a usable length (ms).
const USUAL_MS: i64 = 1_000;
/// What is left without a time at which there is more again is taken to be what is left for so long (ms).
const WINDOW_MS: i64 = 1_000;
/// From here on a number is a moment and not a length: no vendor asks to wait for thirty years.
const EPOCH_SECONDS: f64 = 1e9;
const EPOCH_MS: f64 = 1e12;

const REMAINING: [&str; 5] = [
    "ratelimit-remaining",
    "x-ratelimit-remaining",
    "x-rate-limit-remaining",
    "x-hubspot-ratelimit-remaining",
    "x-sib-ratelimit-remaining",
];
const RESET: [&str; 4] = ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset", "x-sib-ratelimit-reset"];
const PERCENT_USED: [&str; 2] = ["x-mp-rate-limit-percentage-used", "x-rate-limit-percentage-used"];

/// Reads the headers of an answer with this status at the moment `now` (Unix ms).
pub fn feedback<'h>(status: u16, headers: impl IntoIterator<Item = (&'h str, &'h str)>, now: i64) -> Feedback {
    let (mut remaining, mut reset, mut retry, mut used) = (None::<u64>, None::<i64>, None::<i64>, None::<f64>);
    let most = |a: Option<i64>, b: i64| Some(a.map_or(b, |a| a.max(b)));
    let least = |a: Option<u64>, b: u64| Some(a.map_or(b, |a| a.min(b)));
    for (name, value) in headers {
        let name = name.trim().to_ascii_lowercase();
        let value = value.trim();
        if name == "retry-after" {
            retry = most(retry, length(value, now).unwrap_or(USUAL_MS));
        } else if name == "ratelimit" || name == "ratelimit-policy" {
            // draft-ietf-httpapi-ratelimit-headers: `"default";r=50;t=30`, several policies apart by commas, and the older
            // `limit=100, remaining=50, reset=5`.
            if name == "ratelimit" {
                for (left, wait) in drafted(value) {
                    remaining = left.map_or(remaining, |left| least(remaining, left));
                    reset = wait.map_or(reset, |wait| most(reset, wait));
                }
            }
        } else if REMAINING.contains(&name.as_str()) {
            remaining = number(value).map_or(remaining, |n| least(remaining, n as u64));
        } else if RESET.contains(&name.as_str()) {
            reset = length(value, now).map_or(reset, |wait| most(reset, wait));
        } else if PERCENT_USED.contains(&name.as_str()) {
            let percent = value.strip_suffix('%').unwrap_or(value);
            used = number(percent).or(used);
        }
    }
    let refused = matches!(status, 429 | 503);
    let wait_ms = match (refused, retry) {
        (true, Some(wait)) => Some(wait),
        // Only the reset tells when there is more again.
        (true, None) => Some(reset.filter(|wait| *wait > 0).unwrap_or(USUAL_MS)),
        // Some ask to wait with an answer that is none of these.
        (false, retry) => retry.filter(|wait| *wait > 0 && status >= 400),
    };
    let left = match (remaining, used) {
        (Some(left), _) => Some((left, reset.unwrap_or(WINDOW_MS))),
        // What a hundredth is worth is the vendor's secret; only the end of it can be understood.
        (None, Some(used)) if used >= 100.0 => Some((0, reset.unwrap_or(WINDOW_MS))),
        (None, _) => None,
    };
    Feedback { wait_ms, left }
}

/// A number that is not negative: `41`, `0.5`, and the first of a list such as `98, 9800`.
fn number(text: &str) -> Option<f64> {
    let first = text.split([',', ';']).next()?.trim();
    first.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0 && first.len() <= 24)
}

/// How long until something (ms), told as seconds from now, as seconds or milliseconds since 1970, or as a date.
fn length(text: &str, now: i64) -> Option<i64> {
    let ms = match number(text).filter(|_| !text.contains(':')) {
        Some(n) if n >= EPOCH_MS => n as i64 - now,
        Some(n) if n >= EPOCH_SECONDS => (n * 1_000.0) as i64 - now,
        Some(n) => (n * 1_000.0).ceil() as i64,
        None => moment(text)?.saturating_sub(now),
    };
    Some(ms.clamp(0, LONGEST_MS))
}

/// A date as HTTP, mail or RFC 3339 write it (Unix ms).
fn moment(text: &str) -> Option<i64> {
    if text.len() > 64 {
        return None;
    }
    let http = text.strip_suffix("GMT").map(|date| format!("{date}+0000"));
    let at = http.and_then(|date| rfc2822::parse(&date).ok()).or_else(|| rfc2822::parse(text).ok());
    at.map(|at| at.timestamp()).or_else(|| text.parse::<Timestamp>().ok()).map(jiff::Timestamp::as_millisecond)
}

/// Pairs of what is left and when there is more (ms), one for each policy.
fn drafted(text: &str) -> Vec<(Option<u64>, Option<i64>)> {
    let old = text.contains("remaining=") || text.contains("reset=");
    let policies: Vec<&str> = if old { vec![text] } else { text.split(',').take(16).collect() };
    let read = |policy: &str| {
        let (mut left, mut wait) = (None, None);
        for part in policy.split([';', ',']).take(32) {
            match part.trim().split_once('=') {
                Some(("r" | "remaining", n)) => left = number(n).map(|n| n as u64),
                Some(("t" | "reset", n)) => {
                    wait = number(n).map(|n| ((n * 1_000.0) as i64).min(LONGEST_MS));
                }
                _ => {}
            }
        }
        (left, wait)
    };
    policies.into_iter().map(read).collect()
}
