//! Without Redis each worker may use its part of a limit, as soon as it is certain that nobody uses the whole.
//!
//! Every worker that uses limits says in the database that it is there, and whether it sees Redis. A part is used only when
//! *all* of them have been without Redis for longer than the window, so that one worker that alone lost its way to Redis
//! takes nothing from those that did not; and whoever sees Redis again, or comes anew, waits until the others have noticed.
//!
//! Workers that never had a Redis record what they spend of long windows ([`redress_domain::limits::ledger`]). Among them a window is
//! waited for only if it is short, and those of them that died have no part any more.

use redress_domain::limits::Rules;
use redress_store::{Beat, Error, Store};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a worker says that it is there.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// What the database said longer ago is not relied on.
const FRESH: Duration = Duration::from_secs(4);
/// Who said nothing for so long is not there any more (ms); more than [`FRESH`] and a transaction.
const GONE_MS: i64 = 15_000;
/// By then everybody has seen what somebody said (ms).
const SEEN_MS: i64 = 5_000;
/// For so long after it was last there a worker may still be using limits (ms): as long as it relies on what the database said,
/// and until its last call has arrived.
pub(super) const LAST_MS: i64 = 10_000;
/// Without Redis only so much of a limit is used, in hundredths.
const CAREFUL: u64 = 80;

#[derive(Default)]
struct View {
    /// When it was last said that this worker is there.
    said: Option<Instant>,
    /// What the others said then.
    workers: Vec<Beat>,
    alone: bool,
    /// Since when this worker shares, without a gap, and for how long others may have been using a part by then (ms).
    shares: Option<(Instant, i64)>,
    /// When this worker last used its part.
    used_part: Option<Instant>,
    /// How often this worker began anew because others may have taken it for dead.
    times: u64,
}

/// A worker's part of a limit without Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// What it may use.
    pub(super) rules: Rules,
    /// How often it began anew: what it knew before is not all.
    pub(super) times: u64,
    /// Whose part is used although they were there within a window: their names, and when they were last there. What they
    /// spent stands in the ledgers.
    pub(super) dead: Vec<(String, i64)>,
    /// How long ago somebody was there who does not record what it spends (ms).
    pub(super) unrecorded_ms: Option<i64>,
    /// Nobody else was there within a short window: of short windows this worker knows everything, of long ones the ledgers.
    pub(super) short_is_known: bool,
}

/// The workers that use limits.
pub(super) struct Fleet {
    store: Store,
    owner: String,
    /// Whether there is a Redis at all.
    has_redis: bool,
    view: Mutex<View>,
    turn: tokio::sync::Mutex<()>,
}

impl Fleet {
    pub(super) fn new(store: Store, owner: String, has_redis: bool) -> Self {
        Self { store, owner, has_redis, view: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Whether what the database said can be relied on.
    pub(super) fn is_fresh(&self) -> bool {
        self.view().said.is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Whether it was said that this worker is alone, or that it is not.
    pub(super) fn said_alone(&self, alone: bool) -> bool {
        let view = self.view();
        view.said.is_some_and(|at| at.elapsed() < FRESH) && view.alone == alone
    }

    /// Says that this worker is there.
    pub(super) async fn beat(&self, alone: bool) -> Result<(), Error> {
        let _one_at_a_time = self.turn.lock().await;
        let said = Instant::now();
        let workers = self.store.beat(&self.owner, alone, !self.has_redis).await?;
        let mut view = self.view();
        let since = |workers: &[Beat]| {
            let own = workers.iter().find(|w| w.owner == self.owner)?;
            own.alone_ms.map(|ms| own.seen_at + own.silent_ms - ms)
        };
        if since(&workers).zip(since(&view.workers)).is_some_and(|(now, before)| now > before + 1_000) {
            view.times += 1;
        }
        let gap = view.said.is_none_or(|at| at.elapsed() >= FRESH);
        if alone {
            view.shares = None;
        } else if gap || view.shares.is_none() {
            let others = workers.iter().filter(|w| w.owner != self.owner && w.silent_ms < GONE_MS);
            let alone_ms = others.filter_map(|w| w.alone_ms).max();
            // Those who did not know that this worker is there did not wait for it to be alone.
            let alone_ms = if gap { alone_ms.map(|_| i64::MAX) } else { alone_ms };
            view.shares = Some((said, alone_ms.unwrap_or(-1)));
        }
        view.alone = alone;
        view.workers = workers;
        view.said = Some(said);
        Ok(())
    }

    /// How long it takes until limits may be shared (ms), if not at once: somebody may still be using a part of them.
    pub(super) fn shares_in(&self, rules: &Rules) -> Option<i64> {
        let view = self.view();
        let (since, alone_ms) = view.shares?;
        let longest = rules.longest();
        // Others use a part only after they have been alone for a window and [`SEEN_MS`].
        let others = if alone_ms >= longest { longest + SEEN_MS - since.elapsed().as_millisecond() } else { 0 };
        let own = view.used_part.map_or(0, |at| longest - at.elapsed().as_millisecond());
        let wait = others.max(own);
        (wait > 0).then_some(wait)
    }

    /// This worker's part of a limit without Redis; none while it is not certain that there is one, and how long that takes (ms).
    pub(super) fn part(&self, rules: &Rules) -> Result<Part, i64> {
        let view = self.view();
        if view.said.is_none_or(|at| at.elapsed() >= FRESH) || !view.alone {
            return Err(EVERY.as_millisecond());
        }
        part(&view.workers, &self.owner, self.has_redis, rules).map(|part| Part { times: view.times, ..part })
    }

    /// A part was used.
    pub(super) fn used_part(&self) {
        self.view().used_part = Some(Instant::now());
    }

    fn view(&self) -> std::sync::MutexGuard<'_, View> {
        self.view.lock().expect("never held across a panic")
    }
}

/// After so long nothing that a worker used of windows of up to this length counts any more (ms).
fn gone_ms(window_ms: i64) -> i64 {
    GONE_MS.max(window_ms + LAST_MS)
}

/// The part of the worker of this name, after what the database said of all.
pub(super) fn part(workers: &[Beat], owner: &str, has_redis: bool, rules: &Rules) -> Result<Part, i64> {
    let (longest, short) = (rules.longest(), rules.longest_short());
    let others: Vec<&Beat> = workers.iter().filter(|w| w.owner != owner && w.silent_ms < gone_ms(longest)).collect();
    let all_record = !has_redis && others.iter().all(|w| w.records);
    let mut part = Part {
        rules: Rules::default(),
        times: 0,
        dead: Vec::new(),
        short_is_known: false,
        unrecorded_ms: workers.iter().filter(|w| w.owner != owner && !w.records).map(|w| w.silent_ms).min(),
    };
    // Who may be dead is known to be by then.
    let known_in = others.iter().map(|w| gone_ms(short) - w.silent_ms).max().unwrap_or(0);
    if all_record && known_in <= 0 {
        part.dead = others.iter().map(|w| (w.owner.clone(), w.seen_at)).collect();
        part.rules = rules.part(100, 0, 1);
        part.short_is_known = true;
        return Ok(part);
    }
    if !others.is_empty() {
        // For how long the last one of all has been alone.
        let alone = |w: &Beat| w.alone_ms.unwrap_or(0);
        let own = workers.iter().find(|w| w.owner == owner).map_or(0, alone);
        let alone = others.iter().map(|w| alone(w)).min().unwrap_or(0).min(own);
        let missing = if all_record { short } else { longest } + SEEN_MS - alone;
        if missing > 0 {
            return Err(if all_record { missing.min(known_in) } else { missing });
        }
    }
    let rank = others.iter().filter(|w| w.owner.as_str() < owner).count();
    let percent = if has_redis || !others.is_empty() { CAREFUL } else { 100 };
    part.rules = rules.part(percent, rank as u64, others.len() as u64 + 1);
    Ok(part)
}

trait Millis {
    fn as_millisecond(&self) -> i64;
}

impl Millis for Duration {
    fn as_millisecond(&self) -> i64 {
        i64::try_from(self.as_millis()).unwrap_or(i64::MAX)
    }
}
