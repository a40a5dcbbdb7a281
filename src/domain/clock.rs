//! A clock tells the present moment; everything that needs one takes it as a parameter, so that tests can travel.

use jiff::{SignedDuration, Timestamp};
use std::sync::Mutex;

/// Tells the present moment.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// The present moment in Unix milliseconds, the unit of every instant in the database.
    fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }
}

/// The machine's clock. The one place in the product that reads it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is moved: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(Mutex::new(start))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().expect("no holder of this lock can panic");
        *now = now.saturating_add(by).unwrap_or(Timestamp::MAX);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no holder of this lock can panic")
    }
}

/// Reads a moment with its offset, strictly as RFC 3339 writes it: `2026-11-19T09:00:00+01:00`, with a fraction of a second or `Z` too.
/// Other forms of ISO 8601, a missing offset and days that do not exist are refused.
pub fn instant(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shape = |form: &[u8], part: &[u8]| {
        form.len() == part.len()
            && form.iter().zip(part).all(|(want, found)| match want {
                b'0' => found.is_ascii_digit(),
                b'T' => matches!(found, b'T' | b't'),
                other => other == found,
            })
    };
    let (head, rest) = bytes.split_at_checked(19)?;
    let digits = rest.strip_prefix(b".").map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_digit()).count());
    let offset = if digits > 0 { &rest[digits + 1..] } else { rest };
    let in_range = |offset: &[u8]| &offset[1..3] <= b"23".as_slice() && &offset[4..] <= b"59".as_slice();
    let is_offset =
        matches!(offset, b"Z" | b"z") || (shape(b"+00:00", offset) || shape(b"-00:00", offset)) && in_range(offset);
    (shape(b"0000-00-00T00:00:00", head) && is_offset).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::instant;

    #[test]
    fn a_moment_is_read_as_rfc_3339_writes_it_and_not_otherwise() {
        let at = instant("2026-11-19T09:00:00+01:00");
        assert!(at.is_some());
        for same in
            ["2026-11-19T08:00:00Z", "2026-11-19t08:00:00z", "2026-11-19T08:00:00.000Z", "2026-11-18T22:30:00-09:30"]
        {
            assert_eq!(instant(same), at, "{same}");
        }
        for other in [
            "",
            "2026-11-19",
            "2026-11-19T09:00:00",
            "2026-11-19T09:00+01:00",
            "2026-11-19 09:00:00+01:00",
            "20261119T090000Z",
            "2026-11-19T09:00:00+01",
            "2026-11-19T09:00:00+25:00",
            "2026-11-19T09:00:00+01:60",
            "2026-11-19T09:00:00Z[Asia/Tokyo]",
            "2026-02-30T09:00:00Z",
            "2026-11-19T25:00:00Z",
            "2026-11-19T09:00:00.Z",
            "-002026-11-19T09:00:00Z",
            "2026-11-19T09:00:00Z ",
            "\u{665}026-11-19T09:00:00Z",
        ] {
            assert_eq!(instant(other), None, "{other}");
        }
    }
}
