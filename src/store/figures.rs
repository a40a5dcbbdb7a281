//! Figures are what one process has counted since it began: for metrics, never for decisions.

use crate::work::{Finish, Result};
use redress_domain::step::RATE_LIMITED;
use std::sync::atomic::{AtomicI64, Ordering};

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What a process counted since it began.
        #[derive(Debug, Default)]
        pub struct Figures { $($(#[$doc])* pub $name: Figure),+ }
    };
}

figures! {
    /// Batches that were leased.
    claims,
    /// Rows that were leased.
    claimed,
    /// Rows whose outcome was recorded.
    finished_rows,
    /// Leases that ran out and were taken back.
    expired,
    /// Outcomes that came after their lease was lost and were dropped.
    fenced,
    /// Leases that were renewed.
    renewed,
    /// Steps that were put off because a limit of their system was used up.
    limited,
    /// Requests that were accepted.
    submitted,
    /// Transactions in which they were accepted: fewer, when several share one.
    submit_groups,
    /// Circuit breakers that were opened.
    breakers_opened,
    /// Places at work: batches that this process works on at the same time at most.
    slots,
    /// Batches that it works on now.
    batches,
    /// Rows of these batches.
    in_flight,
}

impl Figures {
    /// Outcomes were recorded, but for those that were dropped.
    pub(crate) fn finished(&self, batch: &[Finish], dropped: usize) {
        self.finished_rows.count(batch.len().saturating_sub(dropped));
        self.fenced.count(dropped);
        let limited = |f: &&Finish| matches!(&f.result, Result::Later { code, .. } if code == RATE_LIMITED);
        self.limited.count(batch.iter().filter(limited).count());
    }
}

/// One figure: a count, or a number that goes up and down.
#[derive(Debug, Default)]
pub struct Figure(AtomicI64);

impl Figure {
    /// Adds to it; may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds a number of things.
    pub fn count(&self, n: usize) {
        self.add(i64::try_from(n).unwrap_or(i64::MAX));
    }

    /// Sets it.
    pub fn set(&self, n: usize) {
        self.0.store(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
