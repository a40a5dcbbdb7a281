//! Gmail counts units: per minute and mailbox, per minute and project, so many for each method.

use crate::{Problem, Trouble};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What one generation of projects may use. As documented by the vendor in October 2026.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    /// What the setting calls it.
    pub(super) name: &'static str,
    /// Units per minute of all mailboxes together.
    pub(super) project: u64,
    /// Units per minute of one mailbox.
    pub(super) mailbox: u64,
    pub(super) list: u64,
    pub(super) get: u64,
    pub(super) batch_delete: u64,
}

/// Projects since 1 May 2026, and those before (which keep their figures for a while). Verified on 2026-10-05.
pub(super) const QUOTAS: [Quota; 2] = [
    Quota { name: "2026", project: 1_200_000, mailbox: 6_000, list: 5, get: 20, batch_delete: 50 },
    Quota { name: "legacy", project: 1_200_000, mailbox: 15_000, list: 5, get: 5, batch_delete: 50 },
];

const MINUTE: Duration = Duration::from_mins(1);
/// So long it is waited for units inside a call; longer waits go back to the queue.
const PATIENCE: Duration = Duration::from_secs(45);

/// What was used of each mailbox's minute by this process, and until when Gmail wants to be left alone.
#[derive(Debug, Default)]
pub(super) struct Pace {
    mailboxes: Mutex<BTreeMap<String, Used>>,
}

#[derive(Debug, Default)]
struct Used {
    calls: VecDeque<(Instant, u64)>,
    until: Option<Instant>,
    refusals: u32,
}

impl Used {
    /// Takes units, or says how long there are none.
    fn take(&mut self, units: u64, most: u64, now: Instant) -> Result<(), Duration> {
        if let Some(until) = self.until.filter(|until| *until > now) {
            return Err(until - now);
        }
        while self.calls.front().is_some_and(|(at, _)| now.duration_since(*at) >= MINUTE) {
            self.calls.pop_front();
        }
        let used: u64 = self.calls.iter().map(|(_, units)| units).sum();
        let (mut free, mut wait) = (most.saturating_sub(used), None);
        for (at, units_then) in &self.calls {
            if free >= units {
                break;
            }
            free += units_then;
            wait = Some(MINUTE.saturating_sub(now.duration_since(*at)));
        }
        if let Some(wait) = wait {
            Err(wait)
        } else {
            self.calls.push_back((now, units));
            Ok(())
        }
    }
}

impl Pace {
    /// Waits until the mailbox has so many units left.
    ///
    /// # Errors
    /// That would be long: [`Trouble::Throttled`].
    pub(super) async fn take(&self, mailbox: &str, units: u64, most: u64) -> Result<(), Trouble> {
        loop {
            let taken = self.with(mailbox, |used| used.take(units, most, now()));
            match taken {
                Ok(()) => return Ok(()),
                Err(wait) if wait > PATIENCE => return Err(Trouble::Throttled(wait)),
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Gmail refused a call for this mailbox: it is left alone, twice as long each time.
    pub(super) fn refused(&self, mailbox: &str, asked: Option<Duration>) -> Trouble {
        self.with(mailbox, |used| {
            let own = Duration::from_secs(1 << used.refusals.min(6));
            used.refusals += 1;
            let wait = asked.unwrap_or(own).max(Duration::from_millis(100));
            used.until = Some(now() + wait.min(Duration::from_hours(24)));
            Trouble::Throttled(wait)
        })
    }

    /// Gmail took a call for this mailbox.
    pub(super) fn taken(&self, mailbox: &str) {
        self.with(mailbox, |used| used.refusals = 0);
    }

    fn with<T>(&self, mailbox: &str, of: impl FnOnce(&mut Used) -> T) -> T {
        let mut all = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        of(all.entry(mailbox.to_owned()).or_default())
    }
}

fn now() -> Instant {
    Instant::now()
}

/// The day's budget is spent; there is more tomorrow (Pacific time), so it is asked again every hour.
pub(super) const DAY_SPENT: Duration = Duration::from_hours(1);

/// A setting that names no quota.
pub(super) fn unknown() -> Problem {
    Problem::new("quota", "must be \"2026\" (projects since 1 May 2026) or \"legacy\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_has_so_many_units_in_any_minute() {
        let (mut used, start) = (Used::default(), Instant::now());
        assert!(used.take(60, 100, start).is_ok());
        assert!(used.take(40, 100, start + Duration::from_secs(10)).is_ok());
        let wait = used.take(50, 100, start + Duration::from_secs(20)).expect_err("none left");
        assert_eq!(wait, Duration::from_secs(40), "until the first ones are a minute old");
        let wait = used.take(90, 100, start + Duration::from_secs(20)).expect_err("none left");
        assert_eq!(wait, Duration::from_secs(50), "until the second ones are, too");
        assert!(used.take(60, 100, start + Duration::from_mins(1)).is_ok());
        // A call that costs more than there ever is must still be possible once.
        assert!(Used::default().take(500, 100, start).is_ok());
    }

    #[test]
    fn a_refusal_waits_longer_each_time() {
        let pace = Pace::default();
        let waits: Vec<u64> = (0..8)
            .map(|_| match pace.refused("a", None) {
                Trouble::Throttled(wait) => wait.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64]);
        pace.taken("a");
        assert_eq!(pace.refused("a", None), Trouble::Throttled(Duration::from_secs(1)));
    }
}
