//! Our apalis backend is a channel: the claimer puts leased batches in, the worker takes them out.
//!
//! It never fails and acknowledges nothing, so that no database blip can end a worker: leases, attempts and outcomes are
//! the store's. apalis contributes what it is good at, the worker with its tower layers and supervision.

use crate::claimer::InFlight;
use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::task_id::RandomId;
use apalis_core::worker::context::WorkerContext;
use redress_store::Lease;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{Mutex, mpsc};
use tower::layer::util::Identity;

/// Leased rows of one lane, one verb and one phase, with the slot they occupy.
#[derive(Debug)]
pub struct Batch {
    /// The leases.
    pub leases: Vec<Lease>,
    /// Gives back the slot, the lane and the leases' renewal when the batch is done, however it ends.
    pub in_flight: InFlight,
}

/// The worker's end of the channel; kept across restarts of the worker, so that nothing fetched is lost with it.
pub type Feed = Arc<Mutex<mpsc::Receiver<Batch>>>;

/// An apalis backend that is fed by the claimer.
#[derive(Debug)]
pub struct LeaseBackend {
    feed: tokio::sync::OwnedMutexGuard<mpsc::Receiver<Batch>>,
}

impl LeaseBackend {
    /// Takes the feed for one life of a worker.
    pub async fn take(feed: &Feed) -> Self {
        Self { feed: feed.clone().lock_owned().await }
    }
}

impl Backend for LeaseBackend {
    type Task = Task<Batch>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<Batch>, Infallible>>> {
        self.feed.poll_recv(cx).map(|batch| batch.map(|batch| Ok(Task::new(batch))))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for LeaseBackend {
    type Args = Batch;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
