//! The watchdog notices a process that lives and does not work, says so to whoever asks whether it is ready, and ends it when that
//! lasts, so that its supervisor starts it again.
//!
//! It is a plain thread that looks at times which the parts of the process leave behind, so that it sees a runtime that stands
//! still as well. What is no reason to end: a long call, as long as its leases are renewed; a database that is away or
//! does not answer, because a restart does not mend that; a process that was frozen itself, for the time it slept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A part of the process that must move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The runtime runs tasks at all.
    Runtime,
    /// The claimer looks for work.
    Claimer,
    /// Leases are renewed.
    Renewer,
    /// Leases that ran out are looked for, and what else is due.
    Sweep,
}

impl Part {
    const ALL: [Part; 4] = [Part::Runtime, Part::Claimer, Part::Renewer, Part::Sweep];

    const fn says(self) -> &'static str {
        match self {
            Part::Runtime => "the runtime has run nothing",
            Part::Claimer => "the claimer has not looked for work",
            Part::Renewer => "leases have not been renewed",
            Part::Sweep => "the sweep has not moved",
        }
    }
}

/// Signs of life of a process, in milliseconds since it began.
#[derive(Debug)]
pub struct Pulse {
    began: Instant,
    beats: [AtomicU64; 4],
    /// When somebody last had an answer of the database.
    answered_at: AtomicU64,
    /// Since when the database has not answered; 0 if it does.
    away_since: AtomicU64,
    /// When it answered again.
    back_at: AtomicU64,
    /// Since when every place at work has been held by batches whose leases are lost; 0 if that is not so.
    held_since: AtomicU64,
    ending: AtomicBool,
    reasons: Mutex<Vec<String>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            beats: Default::default(),
            answered_at: AtomicU64::new(0),
            away_since: AtomicU64::new(0),
            back_at: AtomicU64::new(0),
            held_since: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            reasons: Mutex::default(),
        }
    }
}

impl Pulse {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// This part has just moved.
    pub fn beat(&self, part: Part) {
        self.beats[part as usize].store(self.now(), Ordering::Relaxed);
    }

    /// The database has just answered.
    pub fn answered(&self) {
        self.answered_at.store(self.now(), Ordering::Relaxed);
    }

    /// Whether the database has answered within this time.
    pub fn answered_within(&self, time: Duration) -> bool {
        let ago = self.now().saturating_sub(self.answered_at.load(Ordering::Relaxed));
        u128::from(ago) < time.as_millis()
    }

    /// Whether the database answers, to a connection of its own.
    pub fn database(&self, answers: bool) {
        if !answers {
            let _already_away = self.away_since.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        } else if self.away_since.swap(0, Ordering::Relaxed) != 0 {
            self.back_at.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether every place at work is held by batches whose leases are lost.
    pub fn held(&self, stuck: bool) {
        if stuck {
            let _already = self.held_since.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        } else {
            self.held_since.store(0, Ordering::Relaxed);
        }
    }

    /// The process ends anyway.
    pub fn ending(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Why this process is not ready; empty if it is.
    pub fn reasons(&self) -> Vec<String> {
        self.reasons.lock().expect("never held across a panic").clone()
    }

    fn seen(&self, excused_until: u64) -> Seen {
        let some = |at: u64| (at != 0).then_some(at);
        Seen {
            now: self.now(),
            beats: [0, 1, 2, 3].map(|n: usize| self.beats[n].load(Ordering::Relaxed)),
            away_since: some(self.away_since.load(Ordering::Relaxed)),
            held_since: some(self.held_since.load(Ordering::Relaxed)),
            excused_until: excused_until.max(self.back_at.load(Ordering::Relaxed)),
        }
    }
}

/// What the watchdog sees in one look.
#[derive(Debug, Clone, Copy)]
struct Seen {
    now: u64,
    beats: [u64; 4],
    away_since: Option<u64>,
    held_since: Option<u64>,
    /// Until then nothing could move: the process was frozen, or its database away.
    excused_until: u64,
}

/// How patient the watchdog is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// What has not moved for so long is not ready; for twice as long, it is ended.
    pub silence: Duration,
    /// How often the claimer and the renewer move by themselves.
    pub poll: Duration,
    /// See `poll`.
    pub renew: Duration,
}

impl Patience {
    fn of(&self, part: Part) -> u64 {
        let own = match part {
            Part::Claimer => self.poll,
            Part::Renewer => self.renew,
            Part::Runtime | Part::Sweep => Duration::from_secs(1),
        };
        u64::try_from((self.silence + own).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Reasons why the process is not ready, and whether to end it.
fn judge(seen: &Seen, patience: &Patience) -> (Vec<String>, bool) {
    let (mut reasons, mut end) = (Vec::new(), false);
    if let Some(since) = seen.away_since {
        reasons.push(format!("the database has not answered for {} s", (seen.now - since.min(seen.now)) / 1_000));
    }
    let mut look = |says: &str, since: u64, patience: u64, mended_by_a_restart: bool| {
        let silent = seen.now.saturating_sub(since.max(seen.excused_until));
        if silent > patience {
            reasons.push(format!("{says} for {} s", silent / 1_000));
            end |= mended_by_a_restart && silent > 2 * patience;
        }
    };
    for part in Part::ALL {
        // Whoever waits for a database that is away does not stand still by itself. The runtime waits for nothing.
        let own_fault = seen.away_since.is_none() || part == Part::Runtime;
        look(part.says(), seen.beats[part as usize], patience.of(part), own_fault);
    }
    if let Some(since) = seen.held_since {
        let says = "every place at work has been held by calls whose leases are lost";
        look(says, since, patience.of(Part::Sweep), seen.away_since.is_none());
    }
    (reasons, end)
}

/// Starts the watch. `end` is called once, with the reasons, when the process is to be ended.
pub fn watch(pulse: Arc<Pulse>, patience: Patience, end: impl FnOnce(&[String]) + Send + 'static) {
    for part in Part::ALL {
        pulse.beat(part);
    }
    let every = (patience.silence / 20).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let looks = move || {
        let (mut excused_until, mut last, mut said) = (0, Instant::now(), Vec::new());
        loop {
            std::thread::sleep(every);
            if pulse.ending.load(Ordering::Relaxed) {
                return;
            }
            // Whoever slept for longer than it wanted to was frozen, and so were the others.
            if last.elapsed() > every * 4 + Duration::from_secs(2) {
                excused_until = pulse.now();
            }
            last = Instant::now();
            let (reasons, ends) = judge(&pulse.seen(excused_until), &patience);
            if reasons.is_empty() != said.is_empty() {
                if let Some(reason) = reasons.first() {
                    tracing::error!(reason, "this process does not work as it should: {reason}");
                } else {
                    tracing::info!("this process works as it should again");
                }
                said.clone_from(&reasons);
            }
            pulse.reasons.lock().expect("never held across a panic").clone_from(&reasons);
            if ends {
                end(&reasons);
                return;
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("watchdog".into()).spawn(looks) {
        tracing::error!(%error, "there is no thread for the watchdog");
    }
}

#[cfg(test)]
mod tests;
