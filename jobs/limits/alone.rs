//! Alone is a process without Redis: it decides by itself, after what the ledgers say was spent before it came.
//!
//! What it spends of long windows is recorded in the database before it is spent, and read by whoever comes after it. A process
//! whose Redis is away neither records nor reads: what the fleet spent through Redis stands in no ledger.

use super::fleet::{LAST_MS, Part};
use super::wire::Answer;
use super::{Inner, OTHERS_LOOK_MS};
use redress_domain::limits::ledger::unknown_until;
use redress_domain::limits::{Ask, Decision, Page, Reason, Recorded, Rules, State};
use redress_store::{Error, Ledger, LedgerSlot};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What was read of the ledgers.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Read and recorded one after the other: what is recorded while somebody reads could be missed.
    turn: tokio::sync::Mutex<()>,
    read: Mutex<HashMap<Arc<str>, Read>>,
}

/// Under which circumstances the ledgers of a credential were read.
#[derive(Debug)]
struct Read {
    times: u64,
    dead: Vec<(String, i64)>,
}

/// Read, recorded, and once more if a slot ended or somebody died meanwhile: then it may be decided.
const TIMES: usize = 5;

impl Inner {
    /// Decides without Redis.
    pub(super) async fn decide_alone(
        &self,
        key: &Arc<str>,
        rules: &Rules,
        ask: &Ask,
        mut bought: Option<(i64, u64)>,
    ) -> Result<Answer, Error> {
        for _ in 0..TIMES {
            if !self.fleet.said_alone(true) {
                self.fleet.beat(true).await?;
            }
            // Whatever took time, took it before this: what is decided is decided at once.
            let part = match self.fleet.part(rules) {
                Ok(part) => part,
                Err(ms) => return Ok(Answer::Wait(ms, Reason::Unknown)),
            };
            let idle_ms = if self.states().contains_key(key) { Some(0) } else { self.idle_ms(key, rules) };
            let Some(idle_ms) = idle_ms else { return Ok(Answer::Wait(OTHERS_LOOK_MS, Reason::Unknown)) };
            // Also if no window is long: the ledgers of those that were end then.
            let long = rules.long_windows();
            if self.shared.is_none() && !self.has_read(key, &long, &part) {
                self.read_ledgers(key, &long, &part, idle_ms).await?;
                continue;
            }
            let (decision, now) = self.decide_now(key, ask, &part, idle_ms, bought.take());
            if decision == Decision::Record {
                self.record(key, rules, ask.cost).await?;
                continue;
            }
            if decision == Decision::Granted {
                self.fleet.used_part();
            }
            return Ok(Answer::of(decision, now));
        }
        Ok(Answer::Wait(OTHERS_LOOK_MS, Reason::Unknown))
    }

    fn decide_now(
        &self,
        key: &Arc<str>,
        ask: &Ask,
        part: &Part,
        idle_ms: i64,
        bought: Option<(i64, u64)>,
    ) -> (Decision, i64) {
        let now = self.store.now_ms();
        let mut states = self.states();
        let state = states.entry(key.clone()).or_insert_with(|| begun(now, idle_ms, part));
        if let Some((began_at, some)) = bought {
            state.paid(began_at, some);
        }
        (state.take(now, ask, &part.rules), now)
    }

    /// Reads the ledgers, unless somebody else just did.
    async fn read_ledgers(&self, key: &Arc<str>, long: &[i64], part: &Part, idle_ms: i64) -> Result<(), Error> {
        let _one_at_a_time = self.books.turn.lock().await;
        if self.has_read(key, long, part) {
            return Ok(());
        }
        let ledgers = self.store.ledgers(key, long, idle_ms).await?;
        let now = self.store.now_ms();
        let others_until = part.unrecorded_ms.map(|ms| now - ms + LAST_MS);
        let page = |ledger: &Ledger| Page {
            window_ms: ledger.window_ms,
            unknown_until: unknown_until(now, idle_ms, now - ledger.kept_ms, others_until),
            spent: ledger.slots.iter().map(|(left_ms, spent)| (now + left_ms, *spent)).collect(),
        };
        let pages: Vec<Page> = ledgers.iter().map(page).collect();
        self.states().entry(key.clone()).or_insert_with(|| begun(now, idle_ms, part)).read(&pages);
        let read = Read { times: part.times, dead: part.dead.clone() };
        self.books.read().insert(key.clone(), read);
        Ok(())
    }

    /// Whether the ledgers were read since somebody died, or since this process was taken for dead.
    fn has_read(&self, key: &Arc<str>, long: &[i64], part: &Part) -> bool {
        let knows = |read: &Read| read.times == part.times && part.dead.iter().all(|dead| read.dead.contains(dead));
        self.books.read().get(key).is_some_and(knows)
            && self.states().get(key).is_some_and(|state| state.has_read(long))
    }

    /// Records what is about to be spent, unless somebody else just did.
    async fn record(&self, key: &Arc<str>, rules: &Rules, cost: u64) -> Result<(), Error> {
        let _one_at_a_time = self.books.turn.lock().await;
        let now = self.store.now_ms();
        if self.states().get(key).is_some_and(|state| state.has_recorded(now, cost)) {
            return Ok(());
        }
        let slots = self.store.record_spent(key, &rules.chunks(cost)).await?;
        let recorded = |slot: &LedgerSlot| Recorded {
            window_ms: slot.window_ms,
            slot: slot.ends_at,
            until: now + slot.left_ms,
            spent: slot.spent,
        };
        let recorded: Vec<Recorded> = slots.iter().map(recorded).collect();
        if let Some(state) = self.states().get_mut(key) {
            state.recorded(&recorded);
        }
        Ok(())
    }
}

/// A state before which anything may have been used, or nothing that still counts: then the ledgers say the rest.
fn begun(now: i64, idle_ms: i64, part: &Part) -> State {
    if part.short_is_known { State::default() } else { State::unknown_until(now - idle_ms) }
}

impl Books {
    fn read(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Read>> {
        self.read.lock().expect("never held across a panic")
    }
}
