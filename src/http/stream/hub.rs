//! The hub looks at the database for all streams of a process: one small query at each look, however many watch, and none while nobody
//! does. What it read is kept for a moment, so that a change is read once and not by each.

use crate::http::Edge;
use crate::http::problem::Problem;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use redress_domain::ControllerId;
use redress_store::{Change, Error, Head, Store, Stretch};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often the logs' heads are looked at while somebody watches.
const LOOK: Duration = Duration::from_millis(400);
/// Streams of all callers together, in one process.
const ALL_MAX: usize = 1_000;
/// Streams of one caller: some browsers with some windows each.
const CALLER_MAX: usize = 20;
/// Changes that are kept for those who are nearly up to date.
const RECENT_MAX: usize = 2_000;
/// Of one log at one look: who is further behind reads for themselves.
const EACH_MAX: i64 = 100;
/// Logs that are read at one look.
const LOGS_MAX: usize = 64;

/// How far the logs reach, and what happened last.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) heads: Arc<Vec<Head>>,
    recent: Arc<VecDeque<Arc<Change>>>,
}

impl Known {
    /// Everything in one log after a place up to another, if it is all kept here.
    pub(super) fn recent(&self, controller_id: &ControllerId, after: i64, upto: i64) -> Option<Vec<Arc<Change>>> {
        let ours = self.recent.iter().filter(|change| change.controller_id == *controller_id);
        let found: Vec<Arc<Change>> = ours.filter(|change| change.seq > after && change.seq <= upto).cloned().collect();
        let whole = found.iter().zip(after + 1..).all(|(change, seq)| change.seq == seq);
        (whole && found.len() as i64 == upto - after).then_some(found)
    }
}

/// All streams of a process.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Shared>);

struct Shared {
    known: watch::Sender<Option<Known>>,
    streams: Mutex<Streams>,
}

#[derive(Default)]
struct Streams {
    of: HashMap<String, usize>,
    all: usize,
    /// Somebody looks.
    looking: bool,
}

impl Default for Hub {
    fn default() -> Self {
        Self(Arc::new(Shared { known: watch::Sender::new(None), streams: Mutex::default() }))
    }
}

/// A stream's place among the others, given back when it ends.
pub(super) struct Place {
    hub: Hub,
    caller: String,
}

impl Place {
    pub(super) fn known(&self) -> watch::Receiver<Option<Known>> {
        self.hub.0.known.subscribe()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.hub.streams();
        streams.all -= 1;
        if let Some(count) = streams.of.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                streams.of.remove(&self.caller);
            }
        }
    }
}

impl Hub {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more stream, if there is one.
    pub(super) fn enter(&self, caller: &str, edge: &Edge) -> Result<Place, Problem> {
        let mut streams = self.streams();
        if streams.all >= ALL_MAX {
            return Err(Problem::unavailable("as many streams are open here as there may be; ask again later"));
        }
        let own = streams.of.get(caller).copied().unwrap_or_default();
        if own >= CALLER_MAX {
            let detail = format!("you have {CALLER_MAX} streams open, as many as you may; close one first");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).header(RETRY_AFTER, "30"));
        }
        streams.all += 1;
        streams.of.insert(caller.to_owned(), own + 1);
        if !streams.looking {
            streams.looking = true;
            // What was known when the last stream ended is old.
            self.0.known.send_replace(None);
            tokio::spawn(self.clone().look(edge.store.clone()));
        }
        Ok(Place { hub: self.clone(), caller: caller.to_owned() })
    }

    /// Looks again and again, until nobody watches.
    async fn look(self, store: Store) {
        let mut away = false;
        loop {
            let before = self.0.known.borrow().clone();
            match glance(&store, before.as_ref()).await {
                Ok(Some(known)) => drop(self.0.known.send_replace(Some(known))),
                Ok(None) => {}
                Err(error) if away => tracing::debug!(error = %error, "The streams still cannot look"),
                Err(error) => {
                    tracing::warn!(error = %error, "The streams cannot look at the database; they wait for it");
                }
            }
            away = self.0.known.borrow().is_none();
            tokio::time::sleep(LOOK).await;
            let mut streams = self.streams();
            if streams.all == 0 {
                streams.looking = false;
                return;
            }
        }
    }
}

/// One look: what is known now, if it is more than before.
async fn glance(store: &Store, before: Option<&Known>) -> Result<Option<Known>, Error> {
    let heads = store.heads(None).await?;
    let Some(before) = before else {
        return Ok(Some(Known { heads: Arc::new(heads), recent: Arc::default() }));
    };
    if heads == *before.heads {
        return Ok(None);
    }
    let known =
        |id: &ControllerId| before.heads.iter().find(|head| head.controller_id == *id).map_or(0, |head| head.seq);
    let grown = heads.iter().map(|head| (head, known(&head.controller_id))).filter(|(head, seq)| head.seq > *seq);
    let parts: Vec<Stretch> = grown
        .filter(|(head, seq)| head.seq - seq <= EACH_MAX)
        .take(LOGS_MAX)
        .map(|(head, seq)| Stretch { controller_id: head.controller_id.clone(), after: seq, upto: head.seq })
        .collect();
    let changes = store.changes(&parts).await?;
    let mut recent: VecDeque<Arc<Change>> = (*before.recent).clone();
    recent.extend(changes.into_iter().map(Arc::new));
    let spare = recent.len().saturating_sub(RECENT_MAX);
    recent.drain(..spare);
    Ok(Some(Known { heads: Arc::new(heads), recent: Arc::new(recent) }))
}
