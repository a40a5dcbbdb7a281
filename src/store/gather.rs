//! Gathering lets callers who ask the same thing at the same time share one answer from the database.
//!
//! Whoever comes while a round is under way is in the next one, so nobody is ever served by what was read before they came, and
//! whoever is alone waits for nobody. A round runs in a task of its own: a caller who goes away takes nothing from the others.

use crate::Error;
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Most callers of one round.
const ROUND_MAX: usize = 256;

type Asked<Q, A> = (Q, oneshot::Sender<Result<A, Error>>);

/// Callers of one kind of question.
pub(crate) struct Gather<Q, A>(Mutex<State<Q, A>>);

struct State<Q, A> {
    waiting: Vec<Asked<Q, A>>,
    busy: bool,
}

impl<Q, A> Default for Gather<Q, A> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: Vec::new(), busy: false }))
    }
}

impl<Q: Send + 'static, A: Send + 'static> Gather<Q, A> {
    /// Asks, together with whoever asks meanwhile. `round` gives an answer for each question, in their order.
    pub(crate) async fn ask<R>(self: &Arc<Self>, question: Q, round: R) -> Result<A, Error>
    where
        R: Fn(Vec<Q>) -> BoxFuture<'static, Vec<Result<A, Error>>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut state = self.lock();
            state.waiting.push((question, answer));
            !std::mem::replace(&mut state.busy, true)
        };
        if begins {
            let mut rounds = Rounds { gather: self.clone(), ended: false };
            tokio::spawn(async move {
                // Whoever is ready to ask right now comes along.
                tokio::task::yield_now().await;
                while let Some(asked) = rounds.next() {
                    let (questions, answers): (Vec<Q>, Vec<_>) = asked.into_iter().unzip();
                    for (answer, result) in answers.into_iter().zip(round(questions).await) {
                        let _gone_away = answer.send(result);
                    }
                }
            });
        }
        answered.await.unwrap_or(Err(Error::Broken))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<Q, A>> {
        self.0.lock().expect("never held across a panic")
    }
}

/// The task that works off the rounds. If it dies, so do those who wait for it; the next caller starts another one.
struct Rounds<Q: Send + 'static, A: Send + 'static> {
    gather: Arc<Gather<Q, A>>,
    ended: bool,
}

impl<Q: Send + 'static, A: Send + 'static> Rounds<Q, A> {
    fn next(&mut self) -> Option<Vec<Asked<Q, A>>> {
        let mut state = self.gather.lock();
        state.waiting.retain(|(_, answer)| !answer.is_closed());
        if state.waiting.is_empty() {
            state.busy = false;
            self.ended = true;
            return None;
        }
        let n = state.waiting.len().min(ROUND_MAX);
        Some(state.waiting.drain(..n).collect())
    }
}

impl<Q: Send + 'static, A: Send + 'static> Drop for Rounds<Q, A> {
    fn drop(&mut self) {
        if !self.ended {
            let mut state = self.gather.lock();
            state.busy = false;
            state.waiting.clear();
        }
    }
}

/// The same error for everyone in a round.
pub(crate) fn for_all<A>(n: usize, error: Error) -> Vec<Result<A, Error>> {
    let error = Arc::new(error);
    (0..n).map(|_| Err(Error::Shared(error.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn whoever_comes_during_a_round_is_in_the_next_one() {
        let gather: Arc<Gather<usize, usize>> = Arc::default();
        let rounds = Arc::new(AtomicUsize::new(0));
        let one = |n: usize| {
            let (gather, rounds) = (gather.clone(), rounds.clone());
            async move {
                let round = move |all: Vec<usize>| -> BoxFuture<'static, Vec<Result<usize, Error>>> {
                    rounds.fetch_add(1, Ordering::SeqCst);
                    Box::pin(async move {
                        tokio::task::yield_now().await;
                        all.into_iter().map(|n| Ok(n * 2)).collect()
                    })
                };
                gather.ask(n, round).await.expect("answered")
            }
        };
        let all = futures::future::join_all((0..50).map(one)).await;
        assert_eq!(all, (0..50).map(|n| n * 2).collect::<Vec<_>>());
        assert!(rounds.load(Ordering::SeqCst) <= 2, "{rounds:?}");
    }

    #[tokio::test]
    async fn a_round_that_dies_leaves_the_way_free() {
        let gather: Arc<Gather<bool, ()>> = Arc::default();
        let round = |all: Vec<bool>| -> BoxFuture<'static, Vec<Result<(), Error>>> {
            Box::pin(async move {
                assert!(!all[0], "this one dies");
                vec![Ok(())]
            })
        };
        assert!(matches!(gather.ask(true, round).await, Err(Error::Broken)));
        assert!(gather.ask(false, round).await.is_ok());
    }
}
