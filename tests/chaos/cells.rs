//! A cell is one fault in one setting.

use futures::future::LocalBoxFuture;
use std::time::Duration;

/// How a cell ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing was lost, nothing happened twice.
    Well,
    /// This machine cannot stage the fault.
    Skipped(String),
}

pub(crate) type Run = Box<dyn Fn() -> LocalBoxFuture<'static, Ended>>;

/// What is to be done in a cell.
pub(crate) enum What {
    Stage(Run),
    /// The combination cannot happen, for this reason.
    NoSense(&'static str),
}

/// One fault in one setting.
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) what: What,
    /// It is part of the slice.
    pub(crate) slice: bool,
    /// It is part of the slice only, as a smaller form of another one.
    pub(crate) small: bool,
    /// It is ended after this time.
    pub(crate) limit: Duration,
}

impl Cell {
    pub(crate) fn new<F>(name: impl Into<String>, run: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = Ended> + 'static,
    {
        let what = What::Stage(Box::new(move || Box::pin(run())));
        Self { name: name.into(), what, slice: false, small: false, limit: Duration::from_mins(6) }
    }

    pub(crate) fn no_sense(name: impl Into<String>, why: &'static str) -> Self {
        let limit = Duration::ZERO;
        Self { name: name.into(), what: What::NoSense(why), slice: false, small: false, limit }
    }

    /// Also in the slice.
    pub(crate) fn in_slice(mut self) -> Self {
        self.slice = true;
        self
    }

    /// Only in the slice.
    pub(crate) fn only_in_slice(mut self) -> Self {
        self.slice = true;
        self.small = true;
        self
    }

    pub(crate) fn within(mut self, minutes: u64) -> Self {
        self.limit = Duration::from_mins(minutes);
        self
    }
}

/// Every cell there is.
pub(crate) fn all() -> Vec<Cell> {
    let mut cells = crate::calm::cells();
    cells.extend(crate::faults::cells());
    cells.extend(crate::workers::cells());
    cells.extend(crate::sweep::cells());
    cells.extend(crate::volume::cells());
    cells.extend(crate::points::cells());
    cells
}

/// A switch that the suite gives to its cells.
#[expect(clippy::disallowed_methods, reason = "a test's switch, not configuration")]
pub(crate) fn switch(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The same numbers for the same seed (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// From `REDRESS_SEED`, so that a failure can be staged again.
    pub(crate) fn new() -> Self {
        let seed = switch("REDRESS_SEED").and_then(|text| text.parse().ok()).unwrap_or(20_261_122);
        println!("REDRESS_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
