//! A state is what was used of one credential's limits; it says whether a call may be made now, and if not, when.
//!
//! A call counts in every window from its permit until the window has passed since it *ended*, or since it must have reached the
//! vendor ([`Rules::settle_ms`]), whichever is first. Whatever the way to the vendor takes in between, no window that the vendor
//! can lay holds more than its limit. That is why this is a log of what was used, in slots of a five-hundredth of a
//! window, and not a bucket that refills: a bucket of `limit` lets twice the limit through in some window, and a bucket
//! of one loses whatever comes late.
//!
//! The same arithmetic runs in Redis (`jobs/limits/script.lua`); a test compares the two, decision by decision.

use super::ledger::Book;
use super::{Feedback, Page, Recorded, Rules};
use std::collections::BTreeMap;

/// A window is kept in so many slots: what was used in a slot is free again when the whole slot has passed.
const SLOTS: i64 = 512;
/// Nothing that a vendor says holds us up for longer (ms).
const PATIENCE_MS: i64 = 86_400_000;
/// What waits for a free place among the calls at the same time looks again after half a call, but not sooner or later (ms).
const PLACE_MS: (i64, i64) = (50, 5_000);

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The permit's name.
    pub id: String,
    /// What the call costs.
    pub cost: u64,
    /// It is due soon, or overdue, and may use the reserve.
    pub urgent: bool,
    /// What it could be put together with if it has to wait.
    pub group: String,
    /// How many items it has.
    pub items: u64,
    /// How many items a call can have.
    pub batch: u64,
    /// For how long the permit holds its place among the calls at the same time, unless it is renewed (ms).
    pub lease_ms: i64,
}

/// Why a call has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A window is full.
    Window,
    /// What was used before is not known, so that everything may have been.
    Unknown,
    /// Enough calls are under way.
    Concurrency,
    /// The vendor asked to wait.
    CoolDown,
    /// The day's budget is spent.
    Day,
}

impl Reason {
    /// Its stable spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Window => "window",
            Reason::Unknown => "unknown",
            Reason::Concurrency => "concurrency",
            Reason::CoolDown => "cool_down",
            Reason::Day => "day",
        }
    }

    /// The reason of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Reason::Window, Reason::Unknown, Reason::Concurrency, Reason::CoolDown, Reason::Day]
            .into_iter()
            .find(|reason| reason.as_str() == text)
    }
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Now.
    Granted,
    /// At this moment (Unix ms): each waiting batch gets its own.
    Wait(i64, Reason),
    /// As soon as something of the day's budget was bought from the database.
    Pay,
    /// As soon as it is recorded in the ledger ([`Rules::chunks`]).
    Record,
}

/// A call under way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    id: String,
    at: i64,
    until: i64,
    cost: u64,
    settled: bool,
}

/// The last of those who wait: when it comes back, of which group it is, and with how many items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Tail {
    at: i64,
    group: String,
    items: u64,
    /// Who came a moment too early comes back at this moment and not behind all others: one for each permit.
    soon: i64,
}

/// What was used of one credential's limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Up to this moment anything may have been used that is not in here (Unix ms).
    unknown_until: i64,
    held: Vec<Held>,
    /// By length of the window: by slot, what was used.
    logs: BTreeMap<i64, BTreeMap<i64, u64>>,
    /// By length of the window: what the ledger says of it, if there is one.
    books: BTreeMap<i64, Book>,
    cool_until: i64,
    /// What the vendor said is left, and until when.
    left: Option<(u64, i64)>,
    /// The last of those who wait, and of those among them that are due soon.
    tails: [Tail; 2],
    /// How long a call takes, as a moving mean (ms).
    takes: i64,
    /// The day whose budget was bought, and what is left of what was bought.
    paid: (i64, u64),
}

const fn slot_ms(window_ms: i64) -> i64 {
    let ms = window_ms / SLOTS;
    if ms > 1 { ms } else { 1 }
}

impl State {
    /// A state before which, up to this moment (Unix ms), anything may have been used.
    pub fn unknown_until(at: i64) -> Self {
        Self { unknown_until: at, ..Self::default() }
    }

    /// What the ledgers say counts from now on in place of what was known of these windows; they are kept from now on, and no
    /// others.
    pub fn read(&mut self, pages: &[Page]) {
        self.books.clear();
        for page in pages {
            let slot = slot_ms(page.window_ms);
            let log = self.logs.entry(page.window_ms).or_default();
            log.clear();
            for (at, spent) in page.arrived() {
                *log.entry(at.div_euclid(slot)).or_default() += spent;
            }
            self.books.insert(page.window_ms, page.book());
        }
    }

    /// Whether the ledgers of these windows were read, and no others, as [`Rules::long_windows`] names them.
    pub fn has_read(&self, windows_ms: &[i64]) -> bool {
        self.books.keys().eq(windows_ms)
    }

    /// Whether enough stands in every ledger that was read for a call of this cost.
    pub fn has_recorded(&self, now: i64, cost: u64) -> bool {
        self.books.values().all(|book| book.holds(now, cost))
    }

    /// So much stands in the ledger and may be used.
    pub fn recorded(&mut self, recorded: &[Recorded]) {
        for recorded in recorded {
            if let Some(book) = self.books.get_mut(&recorded.window_ms) {
                book.add(recorded);
            }
        }
    }

    /// Decides about a call, and counts it if it may be made.
    pub fn take(&mut self, now: i64, ask: &Ask, rules: &Rules) -> Decision {
        self.tidy(now, rules);
        let (mut until, mut why) = (now, Reason::Window);
        let mut wait = |at: i64, reason: Reason| {
            if at > until {
                (until, why) = (at, reason);
            }
        };
        wait(self.cool_until, Reason::CoolDown);
        if let Some((left, at)) = self.left
            && left < ask.cost
        {
            wait(at, Reason::CoolDown);
        }
        let under_way: u64 = self.held.iter().filter(|held| !held.settled).map(|held| held.cost).sum();
        for window in &rules.windows {
            let unknown_until = self.books.get(&window.ms).map_or(self.unknown_until, |book| book.unknown_until);
            wait(unknown_until + window.ms, Reason::Unknown);
            let limit = if ask.urgent { window.limit } else { window.ordinary };
            let empty = BTreeMap::new();
            let log = self.logs.get(&window.ms).unwrap_or(&empty);
            let used = log.values().sum::<u64>() + under_way;
            if used + ask.cost > limit {
                let mut missing = (used + ask.cost).saturating_sub(limit);
                let slot = slot_ms(window.ms);
                // Until so many of the oldest have left the window; what is under way leaves it last.
                let mut at = now + window.ms;
                let logged = log.iter().map(|(n, count)| ((n + 1) * slot, *count));
                let held = self.held.iter().filter(|held| !held.settled).map(|held| (held.at, held.cost));
                for (left, count) in logged.chain(held) {
                    at = left + window.ms;
                    if count >= missing {
                        break;
                    }
                    missing -= count;
                }
                // It may still be under way then.
                wait(at.max(now + 1), Reason::Window);
            }
        }
        let full = rules.concurrency.is_some_and(|most| self.held.len() >= most as usize);
        if full {
            wait(now + (self.takes / 2).clamp(PLACE_MS.0, PLACE_MS.1), Reason::Concurrency);
        }
        if until > now {
            return Decision::Wait(self.place(now, until, ask, rules), why);
        }
        if !self.has_recorded(now, ask.cost) {
            return Decision::Record;
        }
        if let Some(day) = rules.day {
            if self.paid.0 != day.began_at {
                self.paid = (day.began_at, 0);
            }
            if self.paid.1 < ask.cost {
                return Decision::Pay;
            }
            self.paid.1 -= ask.cost;
        }
        if let Some((left, _)) = &mut self.left {
            *left -= ask.cost;
        }
        for book in self.books.values_mut() {
            book.uses(ask.cost);
        }
        let lease = now + ask.lease_ms;
        self.held.push(Held { id: ask.id.clone(), at: now, until: lease, cost: ask.cost, settled: false });
        Decision::Granted
    }

    /// When the next one who has to wait, at least until `first`, comes back: with the last one if both fit into one call,
    /// else when its own permit can be had. They come a little closer than the permits, so that none is lost when one comes late.
    fn place(&mut self, now: i64, first: i64, ask: &Ask, rules: &Rules) -> i64 {
        // What is due soon does not stand behind what is not.
        let tail = &mut self.tails[usize::from(ask.urgent)];
        let together = tail.group == ask.group && tail.items + ask.items <= ask.batch;
        // What is under way now leaves its window a moment later than was foreseen when the last one was told to wait.
        if together && tail.at > now && tail.at + rules.settle_ms() >= first {
            tail.items += ask.items;
            return tail.at;
        }
        let apart = rules.spacing_ms(ask.cost).max(1);
        if first - now <= apart / 2 && first >= tail.soon + apart / 2 {
            tail.soon = first;
            return first;
        }
        let at = if tail.at > now { first.max(tail.at + (apart * 49 / 50).max(1)) } else { first };
        (tail.at, tail.group, tail.items) = (at, ask.group.clone(), ask.items);
        at
    }

    /// A call has ended (or was not made: then it counts all the same, for a moment's work).
    pub fn give_back(&mut self, now: i64, id: &str, rules: &Rules) {
        self.tidy(now, rules);
        let Some(i) = self.held.iter().position(|held| held.id == id) else { return };
        let held = self.held.remove(i);
        if !held.settled {
            self.log(now, held.cost, rules);
        }
        let took = (now - held.at).max(0);
        self.takes = if self.takes == 0 { took } else { (self.takes * 3 + took) / 4 };
    }

    /// A call is still under way; with `again` it has not begun yet and counts as if permitted now. False if its place is gone.
    pub fn renew(&mut self, now: i64, id: &str, lease_ms: i64, again: bool, rules: &Rules) -> bool {
        self.tidy(now, rules);
        let Some(held) = self.held.iter_mut().find(|held| held.id == id) else { return false };
        held.until = now + lease_ms;
        if again {
            if held.settled {
                return false;
            }
            held.at = now;
        }
        true
    }

    /// The vendor said something.
    pub fn told(&mut self, now: i64, feedback: &Feedback) {
        let until = |wait: i64| now + wait.clamp(0, PATIENCE_MS);
        if let Some(wait) = feedback.wait_ms {
            self.cool_until = self.cool_until.max(until(wait));
        }
        if let Some((left, reset)) = feedback.left {
            // What is under way may or may not be in what the vendor counted.
            let under_way: u64 = self.held.iter().map(|held| held.cost).sum();
            let left = left.saturating_sub(under_way);
            self.left = Some(match self.left {
                Some((before, at)) if at > now && before < left => (before, at),
                _ => (left, until(reset)),
            });
        }
    }

    /// So much of a day's budget was bought.
    pub fn paid(&mut self, began_at: i64, bought: u64) {
        if self.paid.0 == began_at {
            self.paid.1 += bought;
        } else {
            self.paid = (began_at, bought);
        }
    }

    /// Counts what is under way for long enough, forgets what has left its window, and frees the places of the dead.
    fn tidy(&mut self, now: i64, rules: &Rules) {
        let settle = rules.settle_ms();
        let mut settled = Vec::new();
        for held in &mut self.held {
            if !held.settled && (held.at + settle <= now || held.until <= now) {
                held.settled = true;
                settled.push((now.min(held.at + settle), held.cost));
            }
        }
        for (at, cost) in settled {
            self.log(at, cost, rules);
        }
        self.held.retain(|held| held.until > now);
        for (ms, log) in &mut self.logs {
            let gone = now - ms;
            let slot = slot_ms(*ms);
            log.retain(|n, _| (n + 1) * slot > gone);
        }
        self.logs.retain(|_, log| !log.is_empty());
        if self.left.is_some_and(|(_, at)| at <= now) {
            self.left = None;
        }
    }

    fn log(&mut self, at: i64, cost: u64, rules: &Rules) {
        for window in &rules.windows {
            *self.logs.entry(window.ms).or_default().entry(at.div_euclid(slot_ms(window.ms))).or_default() += cost;
        }
    }
}
