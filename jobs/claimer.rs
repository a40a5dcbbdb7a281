//! The claimer finds due work and hands it to the worker; beside it run the renewal of leases and the sweep.
//!
//! One loop: advance requests whose time has come, let waiting rows run, lease batches into free slots, in the order of
//! [`redress_domain::fair`]. It sleeps until a wake-up, the next waiting row, or a poll. An error of the database is logged and tried again:
//! nothing ends a worker but its shutdown.

use crate::backend::{Batch, Feed, LeaseBackend};
use crate::engine::{Engine, jitter};
use crate::message::Sender;
use crate::watchdog::{Part, Pulse};
use apalis::layers::WorkerBuilderExt as _;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::ext::parallelize::ParallelizeExt as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use redress_domain::fair::{Places, Turns, Waiting};
use redress_domain::{ControllerId, StepId};
use redress_store::{Lease, Look, QueueHead, Store, Wanted, WorkKind};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a process works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// This process's name for its leases; unique for each start.
    pub owner: String,
    /// Batches at the same time.
    pub concurrency: usize,
    /// Batches of one lane at the same time.
    pub lane_concurrency: usize,
    /// Most rows in a batch.
    pub batch: usize,
    /// How long to sleep at most before looking again.
    pub poll: Duration,
    /// How long a lease lasts.
    pub lease: Duration,
    /// How often it is renewed.
    pub renew: Duration,
    /// How often lost leases, due purges and forgotten requests are looked for.
    pub sweep: Duration,
    /// How often the fleet makes a forecast of every open request.
    pub forecast: Duration,
    /// How long running batches may go on after the shutdown began.
    pub grace: Duration,
}

/// What a process is working on, for renewal, limits and readiness.
#[derive(Debug, Default)]
struct Board {
    leases: HashSet<StepId>,
    taken: Taken,
    /// Batches that ended.
    ended: u64,
}

/// Which places at work are taken.
#[derive(Debug, Clone, Default)]
struct Taken {
    lanes: HashMap<String, usize>,
    controllers: HashMap<ControllerId, usize>,
    /// By lane and controller.
    both: HashMap<(String, ControllerId), usize>,
}

impl Taken {
    /// Whether one more batch may be taken from this queue.
    fn has_room(&self, queue: &QueueHead, places: Places) -> bool {
        let at = (queue.lane.clone(), queue.controller_id.clone());
        let of = |n: Option<&usize>| n.copied().unwrap_or_default();
        of(self.lanes.get(&at.0)) < places.per_lane
            && of(self.controllers.get(&at.1)) < places.per_controller()
            && (!queue.is_shared() || of(self.both.get(&at)) < places.per_controller_in_lane())
    }

    fn take(&mut self, lane: &str, controller: &ControllerId) {
        *self.lanes.entry(lane.to_owned()).or_default() += 1;
        *self.controllers.entry(controller.clone()).or_default() += 1;
        *self.both.entry((lane.to_owned(), controller.clone())).or_default() += 1;
    }

    fn give_back(&mut self, lane: &str, controller: &ControllerId) {
        fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
            if let Some(n) = counts.get_mut(key) {
                *n = n.saturating_sub(1);
                if *n == 0 {
                    counts.remove(key);
                }
            }
        }
        less(&mut self.lanes, &lane.to_owned());
        less(&mut self.controllers, controller);
        less(&mut self.both, &(lane.to_owned(), controller.clone()));
    }
}

/// Marks a batch as being worked on until it is dropped.
#[derive(Debug)]
pub struct InFlight {
    board: Arc<Mutex<Board>>,
    lane: String,
    controller: ControllerId,
    ids: Vec<StepId>,
    store: Store,
    _slot: OwnedSemaphorePermit,
}

impl InFlight {
    fn begin(board: &Arc<Mutex<Board>>, leases: &[Lease], store: &Store, slot: OwnedSemaphorePermit) -> Option<Self> {
        let first = leases.first()?;
        let ids: Vec<StepId> = leases.iter().map(|l| l.step_id.clone()).collect();
        {
            let mut board = board.lock().expect("never held across a panic");
            board.leases.extend(ids.iter().cloned());
            board.taken.take(&first.lane, &first.controller_id);
        }
        let figures = store.figures();
        figures.claims.add(1);
        figures.batches.add(1);
        figures.in_flight.count(ids.len());
        Some(Self {
            board: board.clone(),
            lane: first.lane.clone(),
            controller: first.controller_id.clone(),
            ids,
            store: store.clone(),
            _slot: slot,
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut board = self.board.lock().expect("never held across a panic");
        for id in &self.ids {
            board.leases.remove(id);
        }
        board.taken.give_back(&self.lane, &self.controller);
        board.ended += 1;
        drop(board);
        let figures = self.store.figures();
        figures.batches.add(-1);
        figures.in_flight.add(-i64::try_from(self.ids.len()).unwrap_or_default());
        self.store.wake().nudge();
    }
}

/// The running workers of a process.
#[derive(Debug)]
pub struct Workers {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    board: Arc<Mutex<Board>>,
    progress: Arc<AtomicI64>,
    pulse: Arc<Pulse>,
    store: Store,
    owner: String,
    /// Messages that are being sent.
    sending: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts working.
    pub fn start(engine: Arc<Engine>, options: WorkerOptions) -> Self {
        let stop = CancellationToken::new();
        let board = Arc::<Mutex<Board>>::default();
        let progress = Arc::new(AtomicI64::new(engine.store.now_ms()));
        let (feeder, feed) = mpsc::channel(options.concurrency);
        let feed: Feed = Arc::new(tokio::sync::Mutex::new(feed));
        let mut tasks = JoinSet::new();
        let pulse = Arc::<Pulse>::default();
        engine.store.figures().slots.set(options.concurrency);
        let claimer = Claimer {
            engine: engine.clone(),
            options: options.clone(),
            stop: stop.clone(),
            board: board.clone(),
            progress: progress.clone(),
            pulse: pulse.clone(),
            slots: Arc::new(Semaphore::new(options.concurrency)),
            feeder,
            turns: Turns::default(),
            seen: None,
        };
        tasks.spawn(claimer.run());
        tasks.spawn(renew(engine.clone(), options.clone(), stop.clone(), board.clone(), pulse.clone()));
        tasks.spawn(sweep(engine.clone(), options.clone(), stop.clone(), pulse.clone()));
        tasks.spawn(feel(engine.store.clone(), pulse.clone(), stop.clone()));
        tasks.spawn(crate::forecast::run(engine.clone(), options.clone(), stop.clone()));
        let (noticed, sending) = (Arc::<Notify>::default(), Arc::<AtomicUsize>::default());
        tasks.spawn(crate::watch::run(engine.clone(), noticed.clone(), stop.clone()));
        let sender = Sender {
            engine: engine.clone(),
            owner: options.owner.clone(),
            lease: options.lease,
            renew: options.renew,
            wake: noticed,
            in_flight: sending.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(sender.run());
        let (store, owner) = (engine.store.clone(), options.owner.clone());
        tasks.spawn(supervise(engine, feed, options.owner, stop.clone()));
        Self { stop, tasks, board, progress, pulse, store, owner, sending }
    }

    /// When the claimer last looked for work and the database answered (Unix ms): the readiness of a worker.
    pub fn last_progress(&self) -> i64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// A handle that tells [`Workers::last_progress`] elsewhere.
    pub fn progress(&self) -> Arc<AtomicI64> {
        self.progress.clone()
    }

    /// The signs of life that the watchdog goes by.
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Stops claiming and lets running batches end, for at most the grace; what remains is handed back, so that others take
    /// it over at once.
    pub async fn shut_down(mut self, grace: Duration) {
        self.stop.cancel();
        self.pulse.ending();
        let ended = tokio::time::timeout(grace, async {
            while !self.board.lock().expect("never held across a panic").leases.is_empty()
                || self.sending.load(Ordering::Relaxed) > 0
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        // What does not even take notice of that is not waited for.
        let _either_way_it_leases_no_more = tokio::time::timeout(Duration::from_secs(1), self.tasks.shutdown()).await;
        // Even if everything has ended: the claimer may have leased something in the same moment. Both at once: where the
        // database is away, both wait in vain.
        let (messages, steps) = tokio::join!(
            tokio::time::timeout(HAND_BACK, self.store.hand_back_messages(&self.owner)),
            tokio::time::timeout(HAND_BACK, self.store.hand_back(&self.owner))
        );
        if !matches!(messages, Ok(Ok(_))) {
            tracing::warn!("messages could not be handed back; they are sent when their leases run out");
        }
        match steps {
            Ok(Ok(0)) => {}
            Ok(Ok(steps)) => {
                tracing::warn!(steps, still_running = ended.is_err(), "steps were handed back to be done elsewhere");
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("steps could not be handed back; they are taken over when their leases run out");
            }
        }
    }
}

/// How long a process that ends waits for the database to take its steps back.
const HAND_BACK: Duration = Duration::from_secs(3);

struct Claimer {
    engine: Arc<Engine>,
    options: WorkerOptions,
    stop: CancellationToken,
    board: Arc<Mutex<Board>>,
    progress: Arc<AtomicI64>,
    pulse: Arc<Pulse>,
    slots: Arc<Semaphore>,
    feeder: mpsc::Sender<Batch>,
    turns: Turns,
    /// What was seen last, when, and how long the look took.
    seen: Option<(Look, Instant, Duration)>,
}

/// Between two looks passes at least so many times what one takes: where there are very many queues, looking must not be
/// all that is done.
const LOOK_SHARE: u32 = 8;

impl Claimer {
    async fn run(mut self) {
        let store = self.engine.store.clone();
        // Failures in a row. One alone may be that of a process which was frozen for a while.
        let mut failures = 0_u32;
        while !self.stop.is_cancelled() {
            self.pulse.beat(Part::Claimer);
            match self.round().await {
                Ok(busy) => {
                    if failures > 0 {
                        tracing::info!("the database is back; work goes on");
                        failures = 0;
                    }
                    self.progress.store(store.now_ms(), Ordering::Relaxed);
                    self.pulse.answered();
                    if !busy {
                        let poll = self.until_next();
                        tokio::select! {
                            () = store.wake().wait(poll) => {}
                            () = self.stop.cancelled() => {}
                        }
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    match failures {
                        1 => tracing::warn!(%error, "the claimer got no answer from the database; it tries again"),
                        2 => {
                            tracing::error!(%error, "the claimer cannot reach the database; it tries again until it can");
                        }
                        _ => {}
                    }
                    self.seen = None;
                    tokio::time::sleep(Duration::from_millis(250 + (jitter() * 500.0) as u64)).await;
                }
            }
        }
    }

    /// One look around; true if something was found.
    async fn round(&mut self) -> Result<bool, redress_store::Error> {
        // A look that was dear serves for a while, as long as it shows something that can be taken.
        if let Some((look, at, cost)) = self.seen.take()
            && at.elapsed() < cost * LOOK_SHARE
        {
            let (taken, left) = self.claim(look).await?;
            if taken {
                self.seen = Some((left, at, cost));
                return Ok(true);
            }
        }
        let store = self.engine.store.clone();
        let (mut look, mut at, mut cost) = self.look().await?;
        let now = store.now_ms();
        let mut moved = 0;
        if look.advance_at.is_some_and(|at| at <= now) {
            moved += store.advance_due(100).await?;
        }
        if look.promote_at.is_some_and(|at| at <= now) {
            moved += store.promote().await?;
        }
        if moved > 0 {
            (look, at, cost) = self.look().await?;
        }
        let (taken, left) = self.claim(look).await?;
        self.seen = Some((left, at, cost));
        Ok(taken || moved > 0)
    }

    async fn look(&self) -> Result<(Look, Instant, Duration), redress_store::Error> {
        let began = Instant::now();
        let look = self.engine.store.look().await?;
        let at = Instant::now();
        Ok((look, at, at - began))
    }

    /// Leases into free places, in the order of the turns. Returns whether anything was leased, and what of the look is left.
    async fn claim(&mut self, mut look: Look) -> Result<(bool, Look), redress_store::Error> {
        let store = self.engine.store.clone();
        let lease_ms = self.options.lease.as_millis() as i64;
        let mut taken = false;
        // How long a queue is nobody knows: each is asked for one batch first, and for more once it gave all of it.
        let mut each = 1;
        while !self.stop.is_cancelled() {
            let picks = self.plan(&look, each);
            if picks.is_empty() {
                break;
            }
            let batch = |n: usize| look.queues[n].batch(self.options.batch);
            let wanted: Vec<Wanted<'_>> =
                picks.iter().map(|(n, times)| Wanted { queue: &look.queues[*n], rows: batch(*n) * times }).collect();
            let given = store.claim_queues(&self.options.owner, &wanted, lease_ms).await?;
            let mut gone = HashSet::new();
            for (((n, _), want), mut leases) in picks.iter().zip(&wanted).zip(given) {
                if leases.len() < want.rows || want.queue.is_single() {
                    gone.insert(*n);
                }
                while !leases.is_empty() {
                    taken = true;
                    let rest = leases.split_off(leases.len().min(batch(*n)));
                    self.begin(std::mem::replace(&mut leases, rest)).await?;
                }
            }
            let mut n = 0;
            look.queues.retain(|_| {
                n += 1;
                !gone.contains(&(n - 1))
            });
            each *= 2;
        }
        Ok((taken, look))
    }

    /// Which queues have the next turns, at most `each` of one queue, and how many each.
    fn plan(&mut self, look: &Look, each: usize) -> Vec<(usize, usize)> {
        let places =
            Places { all: self.options.concurrency, per_lane: self.options.lane_concurrency, shared: look.shared };
        let now = self.engine.store.now_ms();
        let mut held = self.board.lock().expect("never held across a panic").taken.clone();
        let mut picks: Vec<(usize, usize)> = Vec::new();
        // What would only have to wait for a limit is not begun.
        let limited = self.engine.limiter.held_lanes();
        let may = |queue: &QueueHead| queue.is_open() && !limited.contains(&queue.lane);
        let mut open: Vec<usize> = (0..look.queues.len()).filter(|n| may(&look.queues[*n])).collect();
        for _ in 0..self.slots.available_permits() {
            open.retain(|n| held.has_room(&look.queues[*n], places));
            let waiting: Vec<Waiting<'_>> = open.iter().map(|n| look.queues[*n].waiting()).collect();
            let Some(turn) = self.turns.next(&waiting, now) else { break };
            let n = open[turn];
            let queue = &look.queues[n];
            held.take(&queue.lane, &queue.controller_id);
            let times = if let Some((_, times)) = picks.iter_mut().find(|(picked, _)| *picked == n) {
                *times += 1;
                *times
            } else {
                picks.push((n, 1));
                1
            };
            if times >= each || queue.is_single() {
                open.remove(turn);
            }
        }
        picks
    }

    /// Hands a batch to the worker.
    async fn begin(&self, mut leases: Vec<Lease>) -> Result<(), redress_store::Error> {
        let store = &self.engine.store;
        leases.sort_by(|a, b| a.step_id.cmp(&b.step_id));
        let Ok(slot) = self.slots.clone().try_acquire_owned() else { return store.release(&leases).await };
        let Some(in_flight) = InFlight::begin(&self.board, &leases, store, slot) else { return Ok(()) };
        // There is a place in the channel for each slot.
        match self.feeder.send(Batch { leases, in_flight }).await {
            Ok(()) => Ok(()),
            Err(returned) => store.release(&returned.0.leases).await,
        }
    }

    fn until_next(&self) -> Duration {
        let next = self.seen.as_ref().and_then(|(look, ..)| look.next_at());
        let now = self.engine.store.now_ms();
        let wait = next.map_or(self.options.poll, |at| Duration::from_millis((at - now).max(5) as u64));
        wait.min(self.options.poll)
    }
}

async fn renew(
    engine: Arc<Engine>,
    options: WorkerOptions,
    stop: CancellationToken,
    board: Arc<Mutex<Board>>,
    pulse: Arc<Pulse>,
) {
    // Renewal goes on through a shutdown, as long as something runs; the task ends with the process's workers.
    let _until_dropped = stop;
    let mut ended = 0;
    loop {
        tokio::time::sleep(options.renew).await;
        let (ids, batches, ended_now) = {
            let board = board.lock().expect("never held across a panic");
            let ids: Vec<StepId> = board.leases.iter().cloned().collect();
            (ids, board.taken.lanes.values().sum::<usize>(), board.ended)
        };
        let mut renewed = 0;
        for chunk in ids.chunks(1_000) {
            match engine.store.renew(&options.owner, chunk, options.lease.as_millis() as i64).await {
                Ok(n) => renewed += n,
                Err(error) => {
                    tracing::warn!(%error, "leases could not be renewed");
                    // Not known to be lost.
                    renewed += chunk.len() as u64;
                }
            }
        }
        pulse.beat(Part::Renewer);
        // Every place is held, nothing ended, and nothing of it may be written any more.
        pulse.held(batches >= options.concurrency && renewed == 0 && ended == ended_now);
        ended = ended_now;
    }
}

/// How often a connection of its own asks whether the database answers, and how long it waits.
const DATABASE_ASKED: Duration = Duration::from_secs(5);

/// Moves, and sees whether the database is there: what the watchdog judges the others by.
async fn feel(store: Store, pulse: Arc<Pulse>, stop: CancellationToken) {
    let runtime = async {
        loop {
            pulse.beat(Part::Runtime);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let database = async {
        loop {
            // Asked only where nobody has had an answer for a while.
            let answers = pulse.answered_within(DATABASE_ASKED)
                || matches!(tokio::time::timeout(DATABASE_ASKED, store.probe()).await, Ok(Ok(())));
            pulse.database(answers);
            tokio::time::sleep(DATABASE_ASKED).await;
        }
    };
    tokio::select! {
        () = runtime => {}
        () = database => {}
        () = stop.cancelled() => {}
    }
}

/// How often leases that ran out are looked for: part of the time that a killed worker costs.
const EXPIRY: Duration = Duration::from_secs(1);

async fn sweep(engine: Arc<Engine>, options: WorkerOptions, stop: CancellationToken, pulse: Arc<Pulse>) {
    let store = &engine.store;
    let mut swept: Option<std::time::Instant> = None;
    while !stop.is_cancelled() {
        pulse.beat(Part::Sweep);
        let mut outcome = store.expire_leases().await;
        if swept.is_none_or(|at| at.elapsed() >= options.sweep) {
            swept = Some(std::time::Instant::now());
            // Slower things: purges, and what nobody should ever find.
            let purged = store.purge_due(100).await;
            let glass = store.sweep_glass().await.map(drop);
            // A legal hold whose setter died is in force all the same.
            let holds = store.carry_holds().await.map(drop);
            pulse.beat(Part::Sweep);
            outcome = match (outcome, purged.and(glass).and(holds), store.reconcile().await) {
                (Err(error), ..) | (_, Err(error), _) | (_, _, Err(error)) => Err(error),
                (Ok(expired), Ok(()), Ok(forgotten)) => Ok(expired + forgotten),
            };
        }
        match outcome {
            Err(error) => tracing::warn!(%error, "the sweep failed and is tried again"),
            Ok(0) => {}
            Ok(_) => store.wake().nudge(),
        }
        tokio::select! {
            () = tokio::time::sleep(EXPIRY.min(options.sweep)) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Keeps an apalis worker running until the shutdown: whatever ends it, another one takes the feed over.
async fn supervise(engine: Arc<Engine>, feed: Feed, owner: String, stop: CancellationToken) {
    let mut life = 0_u32;
    loop {
        life += 1;
        let backend = LeaseBackend::take(&feed).await;
        let ended = one_life(&format!("{owner}-{life}"), backend, engine.clone()).await;
        if stop.is_cancelled() {
            return;
        }
        tracing::error!(ended_well = ended, "the worker ended and is started again");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// One life of an apalis worker; true if it ended without an error.
fn one_life(name: &str, backend: LeaseBackend, engine: Arc<Engine>) -> BoxFuture<'static, bool> {
    let worker =
        WorkerBuilder::new(name).backend(backend).data(engine).catch_panic().parallelize(tokio::spawn).build(run_batch);
    let run: BoxFuture<'static, _> = Box::pin(worker.run());
    Box::pin(run.map(|ended| ended.is_ok()))
}

/// Does one batch. Always ends well for apalis: what came of it is in the store, or the lease runs out.
async fn run_batch(batch: Batch, engine: Data<Arc<Engine>>) {
    let Batch { leases, in_flight } = batch;
    let engine: &Arc<Engine> = &engine;
    match leases.first().map(|l| l.kind) {
        Some(WorkKind::Step(verb)) => crate::run_step::run(engine, verb, leases).await,
        Some(WorkKind::Answer) => crate::answer::run(engine, leases).await,
        Some(WorkKind::Notify) => crate::notify::run(engine, leases).await,
        None => {}
    }
    drop(in_flight);
}
