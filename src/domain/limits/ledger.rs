//! A ledger is what was spent of a credential's long windows, by slot, as the database keeps it for a process without Redis: who
//! starts anew then knows it, and need not take everything as used for an hour, or for a day.
//!
//! It is written before a call is permitted, a [`Chunk`] at a time, so that it may say too much and never too little. What was
//! spent in a slot is taken to have been spent at the end of it, and to have reached the vendor when that was last possible.
//! Short windows have no ledger: they are over before anybody would miss it.

use super::Rules;
use super::rules::SETTLE_MS;
use std::collections::BTreeMap;

/// Windows longer than this are in the ledger (ms).
pub const LONG_MS: i64 = 60_000;
/// A window has so many slots in the ledger.
const SLOTS: i64 = 60;
/// A limit is recorded in so many chunks at the least.
const CHUNKS: u64 = 500;

/// What is recorded of one window at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The window's length (ms).
    pub window_ms: i64,
    /// How long a slot is (ms).
    pub slot_ms: i64,
    /// How much is recorded as spent.
    pub spent: u64,
}

/// What the ledger says about one window, in the time of whoever reads it (Unix ms).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The window's length (ms).
    pub window_ms: i64,
    /// Up to this moment anything may have been spent that is not in the ledger.
    pub unknown_until: i64,
    /// When each slot ends, and what was spent in it.
    pub spent: Vec<(i64, u64)>,
}

/// A chunk as it stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The window's length (ms).
    pub window_ms: i64,
    /// Which slot it is, by the ledger's clock.
    pub slot: i64,
    /// When the slot ends, in the time of whoever recorded it, or sooner (Unix ms).
    pub until: i64,
    /// How much is recorded as spent.
    pub spent: u64,
}

/// What a process knows of the ledger of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Book {
    /// Up to this moment anything may have been spent that is not in the log.
    pub(super) unknown_until: i64,
    slot: i64,
    until: i64,
    /// Recorded for this slot and not used yet.
    left: u64,
}

impl Book {
    pub(super) const fn holds(&self, now: i64, cost: u64) -> bool {
        now < self.until && self.left >= cost
    }

    pub(super) fn uses(&mut self, cost: u64) {
        self.left = self.left.saturating_sub(cost);
    }

    /// What was recorded for another slot and not used is lost.
    pub(super) fn add(&mut self, recorded: &Recorded) {
        if recorded.slot == self.slot {
            self.until = self.until.min(recorded.until);
            self.left += recorded.spent;
        } else {
            (self.slot, self.until, self.left) = (recorded.slot, recorded.until, recorded.spent);
        }
    }
}

impl Page {
    pub(super) const fn book(&self) -> Book {
        Book { unknown_until: self.unknown_until, slot: 0, until: 0, left: 0 }
    }

    /// When what was spent may last have reached the vendor, and how much that was.
    pub(super) fn arrived(&self) -> impl Iterator<Item = (i64, u64)> {
        self.spent.iter().map(|(ends_at, spent)| (ends_at + SETTLE_MS.1, *spent))
    }
}

impl Rules {
    /// The lengths of the windows that are in the ledger (ms).
    pub fn long_windows(&self) -> Vec<i64> {
        self.limits_of_long().into_keys().collect()
    }

    /// The longest window that is not in the ledger (ms).
    pub fn longest_short(&self) -> i64 {
        self.windows.iter().map(|window| window.ms).filter(|ms| *ms <= LONG_MS).max().unwrap_or_default()
    }

    /// What is recorded before a call of this cost: so much that few writes are needed, and so little that what is lost by a
    /// death is not missed.
    pub fn chunks(&self, cost: u64) -> Vec<Chunk> {
        let of = |(window_ms, limit): (i64, u64)| {
            let slot_ms = window_ms / SLOTS;
            Chunk { window_ms, slot_ms, spent: (limit / CHUNKS).max(cost) }
        };
        self.limits_of_long().into_iter().map(of).collect()
    }

    fn limits_of_long(&self) -> BTreeMap<i64, u64> {
        let long = self.windows.iter().filter(|window| window.ms > LONG_MS);
        long.map(|window| (window.ms, window.limit)).collect()
    }
}

/// Up to when anything may have been spent that is not in the ledger (Unix ms), for a credential that was not in use for
/// `idle_ms` before `now`: up to the moment from which on the ledger is kept, and as long as somebody who does not keep it may
/// have been there.
pub fn unknown_until(now: i64, idle_ms: i64, kept_since: i64, others_until: Option<i64>) -> i64 {
    kept_since.max(others_until.unwrap_or(kept_since)).min(now - idle_ms)
}
