//! A fleet is three processes on one database, each with its own store and its own, slightly wrong clock. Any of them may
//! die before any write, before a commit, or right after one; what it knew is then gone.

use super::dice::Dice;
use jiff::{SignedDuration, Timestamp};
use redress_domain::{Clock, ManualClock};
use redress_store::{Error, Lease, OpenWork, Options, StepResult, Store, Wake, simulation};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long the personal data are kept after the end.
pub(super) const KEEP: i64 = 30 * 86_400_000;
/// How long a lease lasts.
pub(super) const LEASE: i64 = 12_000;

/// The clock of a process: the world's, and a little wrong.
struct Skewed(Arc<ManualClock>, SignedDuration);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.0.now().saturating_add(self.1).unwrap_or(Timestamp::MAX)
    }
}

/// How far a worker has come with a piece of work. Only its memory knows.
#[derive(Debug)]
pub(super) enum At {
    Claimed,
    Opened(Box<OpenWork>),
    /// It has announced that it is about to change the person's records.
    Announced(Box<OpenWork>),
    /// The first part of an answer is stored.
    Packed(bool),
    Knows(StepResult),
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) owner: String,
    /// How often it was started.
    pub(super) life: u32,
    skew: SignedDuration,
    pub(super) store: Store,
    pub(super) held: Vec<(Lease, At)>,
}

pub(super) struct Fleet {
    pub(super) url: String,
    pub(super) clock: Arc<ManualClock>,
    pub(super) processes: Vec<Process>,
    /// One operation in so many is cut short.
    pub(super) crash_one_in: Option<usize>,
    pub(super) crashes: usize,
}

/// The process died over it.
#[derive(Debug)]
pub(super) struct Died;

impl Fleet {
    pub(super) async fn start(url: String, clock: Arc<ManualClock>, dice: &mut Dice) -> Result<Self, Error> {
        let mut fleet = Self { url, clock, processes: Vec::new(), crash_one_in: Some(10), crashes: 0 };
        // Two workers with one name are not supposed to be, and do no harm.
        let namesakes = dice.one_in(5);
        for name in ["api", "one", if namesakes { "one" } else { "two" }] {
            let skew = SignedDuration::from_secs(dice.below(241) as i64 - 120);
            let store = fleet.open(skew).await?;
            fleet.processes.push(Process { owner: name.into(), life: 0, skew, store, held: Vec::new() });
        }
        Ok(fleet)
    }

    async fn open(&self, skew: SignedDuration) -> Result<Store, Error> {
        let options = Options {
            url: self.url.clone(),
            max_connections: 1,
            connect_timeout: Duration::from_secs(30),
            master_key: [7; 32],
            keep_closed: Duration::from_millis(KEEP as u64),
        };
        Store::open(options, Arc::new(Skewed(self.clock.clone(), skew)), Wake::local()).await
    }

    /// Time passes for everybody.
    pub(super) fn travel(&self, ms: i64) {
        self.clock.advance(SignedDuration::from_millis(ms));
        simulation::set_database_clock(self.clock.now_ms());
    }

    /// Lets a process do something, or die over it.
    pub(super) async fn run<T>(
        &mut self,
        process: usize,
        dice: &mut Dice,
        what: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, Died> {
        if self.crash_one_in.is_some_and(|n| dice.one_in(n)) {
            simulation::die_in(dice.below(16) as u32);
        }
        let came = what.await;
        if simulation::revive() {
            self.crash(process).await;
            return Err(Died);
        }
        Ok(came)
    }

    /// A process dies and is started again; its memory is gone.
    pub(super) async fn crash(&mut self, process: usize) {
        self.crashes += 1;
        let store = self.open(self.processes[process].skew).await.expect("the database is there");
        let it = &mut self.processes[process];
        it.life += 1;
        it.held.clear();
        std::mem::replace(&mut it.store, store).close().await;
    }
}

impl Fleet {
    /// The world's time of day.
    pub(super) fn clock_text(&self) -> String {
        self.clock.now().to_string()
    }
}
