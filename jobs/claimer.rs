//! The claimer finds due work and hands it to the worker; beside it run the renewal of leases and the sweep.
//!
//! One loop: advance requests whose time has come, let waiting rows run, lease batches into free slots, earliest deadline
//! first. It sleeps until a wake-up, the next waiting row, or a poll. An error of the database is logged and tried again:
//! nothing ends a worker but its shutdown.

use crate::backend::{Batch, Feed, LeaseBackend};
use crate::engine::{Engine, jitter};
use crate::message::Sender;
use apalis::layers::WorkerBuilderExt as _;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::ext::parallelize::ParallelizeExt as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use redress_domain::StepId;
use redress_store::{Store, WorkKind};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
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
    lanes: HashMap<String, usize>,
}

/// Marks a batch as being worked on until it is dropped.
#[derive(Debug)]
pub struct InFlight {
    board: Arc<Mutex<Board>>,
    lane: String,
    ids: Vec<StepId>,
    wake: redress_store::Wake,
    _slot: OwnedSemaphorePermit,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut board = self.board.lock().expect("never held across a panic");
        for id in &self.ids {
            board.leases.remove(id);
        }
        if let Some(n) = board.lanes.get_mut(&self.lane) {
            *n = n.saturating_sub(1);
        }
        drop(board);
        self.wake.nudge();
    }
}

/// The running workers of a process.
#[derive(Debug)]
pub struct Workers {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    board: Arc<Mutex<Board>>,
    progress: Arc<AtomicI64>,
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
        let claimer = Claimer {
            engine: engine.clone(),
            options: options.clone(),
            stop: stop.clone(),
            board: board.clone(),
            progress: progress.clone(),
            slots: Arc::new(Semaphore::new(options.concurrency)),
            feeder,
        };
        tasks.spawn(claimer.run());
        tasks.spawn(renew(engine.clone(), options.clone(), stop.clone(), board.clone()));
        tasks.spawn(sweep(engine.clone(), options.clone(), stop.clone()));
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
        Self { stop, tasks, board, progress, store, owner, sending }
    }

    /// When the claimer last looked for work and the database answered (Unix ms): the readiness of a worker.
    pub fn last_progress(&self) -> i64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// A handle that tells [`Workers::last_progress`] elsewhere.
    pub fn progress(&self) -> Arc<AtomicI64> {
        self.progress.clone()
    }

    /// Stops claiming and lets running batches end, for at most the grace; what remains is handed back, so that others take
    /// it over at once.
    pub async fn shut_down(mut self, grace: Duration) {
        self.stop.cancel();
        let ended = tokio::time::timeout(grace, async {
            while !self.board.lock().expect("never held across a panic").leases.is_empty()
                || self.sending.load(Ordering::Relaxed) > 0
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        self.tasks.shutdown().await;
        if tokio::time::timeout(HAND_BACK, self.store.hand_back_messages(&self.owner)).await.is_err() {
            tracing::warn!("messages could not be handed back; they are sent when their leases run out");
        }
        // Even if everything has ended: the claimer may have leased something in the same moment.
        match tokio::time::timeout(HAND_BACK, self.store.hand_back(&self.owner)).await {
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
    slots: Arc<Semaphore>,
    feeder: mpsc::Sender<Batch>,
}

impl Claimer {
    async fn run(self) {
        let store = &self.engine.store;
        let mut troubled = false;
        while !self.stop.is_cancelled() {
            match self.round().await {
                Ok(busy) => {
                    if troubled {
                        tracing::info!("the database is back; work goes on");
                        troubled = false;
                    }
                    self.progress.store(store.now_ms(), Ordering::Relaxed);
                    if !busy {
                        let poll = self.until_next().await;
                        tokio::select! {
                            () = store.wake().wait(poll) => {}
                            () = self.stop.cancelled() => {}
                        }
                    }
                }
                Err(error) => {
                    if !troubled {
                        tracing::error!(%error, "the claimer cannot reach the database; it tries again until it can");
                    }
                    troubled = true;
                    tokio::time::sleep(Duration::from_millis(250 + (jitter() * 500.0) as u64)).await;
                }
            }
        }
    }

    /// One look around; true if something was found.
    async fn round(&self) -> Result<bool, redress_store::Error> {
        let store = &self.engine.store;
        let mut busy = store.advance_due(100).await? > 0;
        busy |= store.promote().await? > 0;
        while !self.stop.is_cancelled() {
            let Ok(slot) = self.slots.clone().try_acquire_owned() else { break };
            let full = self.full_lanes();
            let lease_ms = self.options.lease.as_millis() as i64;
            let leases = store.claim(&self.options.owner, &full, self.options.batch, lease_ms).await?;
            let Some(first) = leases.first() else { break };
            busy = true;
            let in_flight = InFlight {
                board: self.board.clone(),
                lane: first.lane.clone(),
                ids: leases.iter().map(|l| l.step_id.clone()).collect(),
                wake: store.wake().clone(),
                _slot: slot,
            };
            {
                let mut board = self.board.lock().expect("never held across a panic");
                board.leases.extend(in_flight.ids.iter().cloned());
                *board.lanes.entry(in_flight.lane.clone()).or_default() += 1;
            }
            // There is a place in the channel for each slot.
            if let Err(returned) = self.feeder.send(Batch { leases, in_flight }).await {
                store.release(&returned.0.leases).await?;
            }
        }
        Ok(busy)
    }

    fn full_lanes(&self) -> Vec<String> {
        let board = self.board.lock().expect("never held across a panic");
        board.lanes.iter().filter(|(_, n)| **n >= self.options.lane_concurrency).map(|(lane, _)| lane.clone()).collect()
    }

    async fn until_next(&self) -> Duration {
        let store = &self.engine.store;
        let next = store.next_wait().await.ok().flatten();
        let wait = next.map_or(self.options.poll, |at| Duration::from_millis((at - store.now_ms()).max(5) as u64));
        wait.min(self.options.poll)
    }
}

async fn renew(engine: Arc<Engine>, options: WorkerOptions, stop: CancellationToken, board: Arc<Mutex<Board>>) {
    // Renewal goes on through a shutdown, as long as something runs; the task ends with the process's workers.
    let _until_dropped = stop;
    loop {
        tokio::time::sleep(options.renew).await;
        let ids: Vec<StepId> = board.lock().expect("never held across a panic").leases.iter().cloned().collect();
        for chunk in ids.chunks(500) {
            if let Err(error) = engine.store.renew(&options.owner, chunk, options.lease.as_millis() as i64).await {
                tracing::warn!(%error, "leases could not be renewed");
            }
        }
    }
}

/// How often leases that ran out are looked for: part of the time that a killed worker costs.
const EXPIRY: Duration = Duration::from_secs(1);

async fn sweep(engine: Arc<Engine>, options: WorkerOptions, stop: CancellationToken) {
    let store = &engine.store;
    let mut swept: Option<std::time::Instant> = None;
    while !stop.is_cancelled() {
        let mut outcome = store.expire_leases().await;
        if swept.is_none_or(|at| at.elapsed() >= options.sweep) {
            swept = Some(std::time::Instant::now());
            // Slower things: purges, and what nobody should ever find.
            outcome = match (outcome, store.purge_due(100).await, store.reconcile().await) {
                (Err(error), ..) | (_, Err(error), _) | (_, _, Err(error)) => Err(error),
                (Ok(expired), Ok(_), Ok(forgotten)) => Ok(expired + forgotten),
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
