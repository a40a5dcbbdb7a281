//! A limiter says when a call to a vendor may be made, for the whole fleet: in Redis, or in this process where there is none.
//!
//! Both decide alike ([`redress_domain::limits::State`]). `governor` is not used: it counts one window with a bucket that lets up to
//! twice its limit through in some position of the window, cannot take from several windows all or nothing, and knows
//! neither calls under way, nor a reserve, nor what a vendor says.
//!
//! Whatever is lost, the limit holds: what is not known counts as used until a window has passed, a day's budget is bought
//! from the database before it is spent, and without Redis what is spent of long windows is recorded there before. A call that has to wait holds nothing here: it is told when to come back.

mod alone;
mod fleet;
mod shared;
#[cfg(test)]
mod tests;
mod wire;

use fleet::Fleet;
use redress_domain::limits::{Ask, Feedback, Limits, Reason, Rules, State};
use redress_store::{Error, Store};
use shared::{Away, Shared};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use wire::{Answer, Op, Question};

/// A permit holds its place among the calls at the same time for so long, unless it is renewed: as the lease of a step.
const LEASE: Duration = Duration::from_secs(12);
const RENEW: Duration = Duration::from_secs(3);
/// A credential is noted to be in use for so long at a time (ms), and again when less than that is left.
const USE_MS: i64 = 30_000;
const USE_AGAIN: Duration = Duration::from_secs(15);
/// What has no limits to do for so long stops saying that it is there.
const IDLE_MS: i64 = 60_000;
/// A lane is held for so long at most: what is due soon may come at any time.
const HOLD_MS: i64 = 5_000;

/// What was decided, in numbers that only grow.
#[derive(Debug, Default)]
pub struct Counters {
    /// Permits given.
    pub granted: AtomicU64,
    /// Calls that have to wait: for a window, or for what is not known.
    pub waits_window: AtomicU64,
    /// For a place among the calls at the same time.
    pub waits_concurrency: AtomicU64,
    /// Because the vendor asked to wait.
    pub waits_cool_down: AtomicU64,
    /// Because the day's budget is spent.
    pub waits_day: AtomicU64,
    /// How long they wait, all together (ms).
    pub waited_ms: AtomicU64,
    /// What vendors said: to wait, or how much is left.
    pub feedback: AtomicU64,
    /// Decisions made without the Redis that there should be.
    pub without_redis: AtomicU64,
}

impl Counters {
    fn wait(&self, reason: Reason, ms: i64) {
        let counter = match reason {
            Reason::Window | Reason::Unknown => &self.waits_window,
            Reason::Concurrency => &self.waits_concurrency,
            Reason::CoolDown => &self.waits_cool_down,
            Reason::Day => &self.waits_day,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.waited_ms.fetch_add(ms.max(0) as u64, Ordering::Relaxed);
    }
}

/// What a call is limited by: whose account it uses, and what the vendor allows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    /// An id or a hash, never a name or a secret.
    pub key: Arc<str>,
    /// What the vendor allows.
    pub limits: Arc<Limits>,
}

/// A call that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it costs.
    pub cost: u64,
    /// It is due soon, or overdue.
    pub urgent: bool,
    /// What it could be put together with if it has to wait: lane, verb and phase.
    pub group: String,
    /// How many items it has, and could have.
    pub items: u64,
    /// How many it could have.
    pub batch: u64,
}

/// Whether a call may be made.
#[derive(Debug)]
pub enum Taken {
    /// Now: [`Permit::during`] makes it.
    Permit(Permit),
    /// At this moment (Unix ms).
    Wait(i64, Reason),
}

/// The right to make one call.
#[derive(Debug)]
pub struct Permit {
    inner: Arc<Inner>,
    id: String,
    credential: Credential,
    local: bool,
}

/// Says when calls may be made.
#[derive(Debug, Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    store: Store,
    name: String,
    shared: Option<Shared>,
    fleet: Fleet,
    states: Mutex<HashMap<Arc<str>, State>>,
    books: alone::Books,
    uses: Mutex<HashMap<Arc<str>, Use>>,
    noting: tokio::sync::Mutex<()>,
    lanes: Mutex<HashMap<String, i64>>,
    next: AtomicU64,
    asked_at: AtomicI64,
    beating: Mutex<bool>,
    counters: Counters,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limiter")
    }
}

/// What this process noted of the use of a credential.
#[derive(Debug, Clone, Copy)]
struct Use {
    noted: Instant,
    /// When that was first noted, without a gap since.
    since: Instant,
    /// How long it had not been in use then (ms), until this is told on: only one of all may do that, once, and soon.
    idle_ms: Option<i64>,
    /// When the day's budget was found spent, and until when it stays so (Unix ms): for ordinary work, for what is due soon.
    spent_until: [i64; 2],
}

/// Who was told that a credential was not in use may say so for this long; the others wait for longer before they take everything
/// as used.
const FIRST: Duration = Duration::from_secs(2);
const OTHERS: Duration = Duration::from_secs(4);
const OTHERS_LOOK_MS: i64 = 200;
/// What was never in use was not for so long (ms).
const NEVER_MS: i64 = 400 * 86_400_000;

impl Limiter {
    /// A limiter of this process; with a Redis it is one of a fleet.
    ///
    /// # Errors
    /// The URL is not one of Redis, or the system gives no randomness.
    pub fn new(store: Store, redis_url: Option<&str>) -> Result<Self, Error> {
        let shared = redis_url.map(Shared::new).transpose()?;
        let name = redress_store::random::<8>()?.iter().fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
        Ok(Self(Arc::new(Inner {
            fleet: Fleet::new(store.clone(), format!("lim-{name}"), shared.is_some()),
            store,
            name,
            shared,
            states: Mutex::default(),
            books: alone::Books::default(),
            uses: Mutex::default(),
            noting: tokio::sync::Mutex::default(),
            lanes: Mutex::default(),
            next: AtomicU64::new(0),
            asked_at: AtomicI64::new(0),
            beating: Mutex::new(false),
            counters: Counters::default(),
        })))
    }

    /// What was decided so far.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Asks for a permit.
    ///
    /// # Errors
    /// The database is away, without which nothing can be limited safely.
    pub async fn take(&self, credential: &Credential, call: &Call) -> Result<Taken, Error> {
        let inner = &self.0;
        inner.take(credential, call).await
    }

    /// A vendor said something about a credential: it holds for the whole fleet at once.
    pub async fn told(&self, credential: &Credential, feedback: Feedback) {
        self.0.told(credential, feedback).await;
    }

    /// The moment by which waits are told (Unix ms).
    pub(crate) fn now_ms(&self) -> i64 {
        self.0.store.now_ms()
    }

    /// Nothing is begun for this lane by this process until then (Unix ms), for it would only have to wait.
    pub fn hold(&self, lane: &str, until: i64) {
        let now = self.0.store.now_ms();
        let until = until.min(now + HOLD_MS);
        self.0.lanes().insert(lane.to_owned(), until);
        // Whoever sleeps until there is something to do must know when there is.
        let wake = self.0.store.wake().clone();
        let sleep = Duration::from_millis((until - now).max(0) as u64 + 1);
        tokio::spawn(async move {
            tokio::time::sleep(sleep).await;
            wake.nudge();
        });
    }

    /// The lanes for which nothing is begun now.
    pub fn held_lanes(&self) -> Vec<String> {
        let now = self.0.store.now_ms();
        let mut lanes = self.0.lanes();
        lanes.retain(|_, until| *until > now);
        lanes.keys().cloned().collect()
    }
}

impl Permit {
    /// Makes the call while its place is kept, and gives the place back when it has ended.
    pub async fn during<T>(self, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        let ended = loop {
            tokio::select! {
                ended = &mut call => break ended,
                () = tokio::time::sleep(RENEW) => self.renew().await,
            }
        };
        self.give_back().await;
        ended
    }

    async fn renew(&self) {
        let rules = self.rules();
        let lease_ms = LEASE.as_millis() as i64;
        if self.local {
            let now = self.inner.store.now_ms();
            if let Some(state) = self.inner.states().get_mut(&self.credential.key) {
                state.renew(now, &self.id, lease_ms, false, &rules);
            }
        } else if let Some(shared) = &self.inner.shared {
            let op = Op::Renew { id: &self.id, lease_ms, again: false };
            let _its_place_goes_by_itself = shared.ask(&self.credential.key, &question(op, &rules)).await;
        }
    }

    /// Gives the place back.
    pub async fn give_back(self) {
        let rules = self.rules();
        if self.local {
            let now = self.inner.store.now_ms();
            if let Some(state) = self.inner.states().get_mut(&self.credential.key) {
                state.give_back(now, &self.id, &rules);
            }
        } else if let Some(shared) = &self.inner.shared {
            let _its_place_goes_by_itself =
                shared.ask(&self.credential.key, &question(Op::Back(&self.id), &rules)).await;
        }
    }

    fn rules(&self) -> Rules {
        self.credential.limits.rules(self.inner.store.now_ms())
    }
}

const fn question<'a>(op: Op<'a>, rules: &'a Rules) -> Question<'a> {
    Question { op, rules, idle_ms: None, bought: None, now: None }
}

impl Inner {
    async fn take(self: &Arc<Self>, credential: &Credential, call: &Call) -> Result<Taken, Error> {
        self.asked_at.store(self.store.now_ms(), Ordering::Relaxed);
        self.note_use(&credential.key).await?;
        self.keep_beating().await?;
        let ask = Ask {
            id: format!("{}-{}", self.name, self.next.fetch_add(1, Ordering::Relaxed)),
            cost: call.cost,
            urgent: call.urgent,
            group: call.group.clone(),
            items: call.items,
            batch: call.batch,
            lease_ms: LEASE.as_millis() as i64,
        };
        let mut bought = None;
        // Bought, recorded, unknown, late: each asks once more.
        for _ in 0..8 {
            let now = self.store.now_ms();
            let rules = credential.limits.rules(now);
            let (answer, local) = self.decide(credential, &rules, &ask, bought.take()).await?;
            match answer {
                Answer::Granted => {
                    self.counters.granted.fetch_add(1, Ordering::Relaxed);
                    self.used(&credential.key);
                    let inner = self.clone();
                    return Ok(Taken::Permit(Permit { inner, id: ask.id, credential: credential.clone(), local }));
                }
                Answer::Wait(ms, reason) => return Ok(self.wait(now, ms, reason)),
                Answer::Pay => {
                    let Some(day) = rules.day else { break };
                    let i = usize::from(call.urgent);
                    let spent_until = self.uses().get(&credential.key).map_or(0, |u| u.spent_until[i]);
                    let cap = if call.urgent { day.limit } else { day.ordinary };
                    // A five-hundredth at a time: so much is lost with Redis.
                    let most = (day.limit / 500).clamp(1, 500).max(call.cost);
                    let some = if spent_until > now {
                        0
                    } else {
                        self.store.buy_budget(&credential.key, DAY_MS, day.began_at, most, cap).await?
                    };
                    if some < call.cost {
                        if let Some(u) = self.uses().get_mut(&credential.key) {
                            u.spent_until[i] = day.ends_at;
                        }
                        // They come back one after the other, not all at midnight.
                        let apart = DAY_MS / i64::try_from(day.ordinary).unwrap_or(1).max(1);
                        let nth = self.next.fetch_add(1, Ordering::Relaxed) as i64 % 1_000;
                        return Ok(self.wait(now, day.ends_at - now + nth * apart.clamp(1, 1_000), Reason::Day));
                    }
                    bought = Some((day.began_at, some));
                }
                Answer::Record | Answer::Unknown | Answer::Done | Answer::Gone => {}
            }
        }
        let now = self.store.now_ms();
        Ok(self.wait(now, 1_000, Reason::Unknown))
    }

    fn wait(&self, now: i64, ms: i64, reason: Reason) -> Taken {
        self.counters.wait(reason, ms);
        Taken::Wait(now + ms.max(1), reason)
    }

    /// Asks Redis, or this process's own state; says which.
    async fn decide(
        &self,
        credential: &Credential,
        rules: &Rules,
        ask: &Ask,
        bought: Option<(i64, u64)>,
    ) -> Result<(Answer, bool), Error> {
        let key = &credential.key;
        let Some(shared) = &self.shared else { return Ok((self.decide_alone(key, rules, ask, bought).await?, true)) };
        if !shared.is_away() || shared.ping().await.is_ok() {
            if !self.fleet.said_alone(false) {
                self.fleet.beat(false).await?;
            }
            if let Some(ms) = self.fleet.shares_in(rules) {
                return Ok((Answer::Wait(ms, Reason::Unknown), false));
            }
            let mut asked = question(Op::Take(ask), rules);
            asked.bought = bought;
            let began = Instant::now();
            let mut answer = shared.ask(key, &asked).await;
            if answer == Ok(Answer::Unknown) {
                let Some(idle_ms) = self.idle_ms(key, rules) else {
                    return Ok((Answer::Wait(OTHERS_LOOK_MS, Reason::Unknown), false));
                };
                asked.idle_ms = Some(idle_ms);
                answer = shared.ask(key, &asked).await;
            }
            if answer == Ok(Answer::Granted) && began.elapsed().as_millis() as i64 > rules.settle_ms() / 2 {
                // The answer was long under way: the call counts from now on, or does not take place.
                let began = Instant::now();
                let op = Op::Renew { id: &ask.id, lease_ms: ask.lease_ms, again: true };
                answer = match shared.ask(key, &question(op, rules)).await {
                    Ok(Answer::Done) if began.elapsed().as_millis() as i64 <= rules.settle_ms() / 2 => {
                        Ok(Answer::Granted)
                    }
                    Ok(_) => {
                        let _it_goes_by_itself = shared.ask(key, &question(Op::Back(&ask.id), rules)).await;
                        Ok(Answer::Wait(rules.settle_ms(), Reason::Window))
                    }
                    Err(Away) => Err(Away),
                };
            }
            if let Ok(answer) = answer {
                // What this process used by itself before says nothing about the next time.
                self.states().remove(key);
                return Ok((answer, false));
            }
        }
        self.counters.without_redis.fetch_add(1, Ordering::Relaxed);
        Ok((self.decide_alone(key, rules, ask, bought).await?, true))
    }

    async fn told(&self, credential: &Credential, feedback: Feedback) {
        if feedback.is_empty() {
            return;
        }
        self.counters.feedback.fetch_add(1, Ordering::Relaxed);
        let now = self.store.now_ms();
        let rules = credential.limits.rules(now);
        // Also here: should Redis go, what the vendor said still holds.
        if let Some(state) = self.states().get_mut(&credential.key) {
            state.told(now, &feedback);
        }
        if let Some(shared) = &self.shared {
            let mut told = question(Op::Told(&feedback), &rules);
            told.idle_ms = Some(0);
            let _redis_is_away = shared.ask(&credential.key, &told).await;
        } else {
            let mut states = self.states();
            if !states.contains_key(&credential.key) {
                let mut state = State::unknown_until(now);
                state.told(now, &feedback);
                states.insert(credential.key.clone(), state);
            }
        }
    }

    /// Notes in the database that a credential is in use, before it is.
    async fn note_use(&self, key: &Arc<str>) -> Result<(), Error> {
        let noted = || self.uses().get(key).copied();
        let lately = |noted: Option<Use>| noted.is_some_and(|u| u.noted.elapsed() < USE_AGAIN);
        if lately(noted()) {
            return Ok(());
        }
        let _one_at_a_time = self.noting.lock().await;
        let noted = noted();
        if lately(noted) {
            return Ok(());
        }
        let at = Instant::now();
        let idle_ms = self.store.note_use(key, USE_MS).await?.unwrap_or(NEVER_MS);
        let spent_until = noted.map_or([0; 2], |u| u.spent_until);
        let noted = match noted {
            Some(before) if idle_ms == 0 => Use { noted: at, ..before },
            _ => Use { noted: at, since: at, idle_ms: Some(idle_ms).filter(|ms| *ms > 0), spent_until },
        };
        self.uses().insert(key.clone(), noted);
        Ok(())
    }

    /// For how long a credential was not in use before now (ms); 0 if that is not certain, none if somebody else is about to say.
    fn idle_ms(&self, key: &Arc<str>, rules: &Rules) -> Option<i64> {
        if rules.windows.is_empty() {
            return Some(0);
        }
        let mut uses = self.uses();
        let Some(noted) = uses.get_mut(key) else { return Some(0) };
        let first = noted.idle_ms.take();
        match noted.since.elapsed() {
            since if since < FIRST && first.is_some() => first,
            since if since < OTHERS => None,
            _ => Some(0),
        }
    }

    /// It is in use now, whatever it was before.
    fn used(&self, key: &Arc<str>) {
        if let Some(noted) = self.uses().get_mut(key) {
            noted.idle_ms = None;
        }
    }

    /// Says again and again that this worker is there, as long as it asks for permits.
    async fn keep_beating(self: &Arc<Self>) -> Result<(), Error> {
        if !self.fleet.is_fresh() {
            let alone = match &self.shared {
                Some(shared) => shared.ping().await.is_err(),
                None => true,
            };
            self.fleet.beat(alone).await?;
        }
        let mut beating = self.beating.lock().expect("never held across a panic");
        if !*beating {
            *beating = true;
            tokio::spawn(beat(Arc::downgrade(self)));
        }
        Ok(())
    }

    fn states(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, State>> {
        self.states.lock().expect("never held across a panic")
    }

    fn uses(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Use>> {
        self.uses.lock().expect("never held across a panic")
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, HashMap<String, i64>> {
        self.lanes.lock().expect("never held across a panic")
    }
}

const DAY_MS: i64 = 86_400_000;

async fn beat(limiter: Weak<Inner>) {
    loop {
        tokio::time::sleep(fleet::EVERY).await;
        let Some(inner) = limiter.upgrade() else { return };
        if inner.store.now_ms() - inner.asked_at.load(Ordering::Relaxed) > IDLE_MS {
            *inner.beating.lock().expect("never held across a panic") = false;
            return;
        }
        let alone = match &inner.shared {
            Some(shared) => shared.ping().await.is_err(),
            None => true,
        };
        if let Err(error) = inner.fleet.beat(alone).await {
            tracing::debug!(%error, "the database does not know that this worker uses limits");
        }
    }
}
