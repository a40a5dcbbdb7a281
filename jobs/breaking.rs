//! Tells the store what came of a whole call, for the system's circuit breaker.

use redress_domain::step::INTERRUPTED;
use redress_store::{Finish, StepResult, Store, SystemRow};

/// What a call came to, as far as the breaker is concerned.
#[derive(Debug, PartialEq, Eq)]
enum Whole<'a> {
    /// The system was away, too slow or in trouble for everybody.
    Failed(&'a str),
    /// It answered, whatever it said.
    Answered,
    /// Nothing is known: our own trouble.
    Unknown,
}

fn whole(finishes: &[Finish]) -> Whole<'_> {
    let mut failed = None;
    for finish in finishes {
        match &finish.result {
            // Our own database was away.
            StepResult::Later { code, .. } if code == INTERRUPTED => return Whole::Unknown,
            StepResult::Later { failed: true, code, .. } => failed = Some(code.as_str()),
            _ => return Whole::Answered,
        }
    }
    failed.map_or(Whole::Unknown, Whole::Failed)
}

/// Counts a call; true if the system is left alone from now on, so that nothing more is to be sent there. What cannot be
/// counted is not: the steps' own failures are recorded all the same.
pub(crate) async fn count(store: &Store, system: &SystemRow, finishes: &[Finish]) -> bool {
    let counted = match whole(finishes) {
        Whole::Failed(code) => store.breaker_failed(system, code).await,
        Whole::Answered => store.breaker_succeeded(system).await.map(|()| false),
        Whole::Unknown => Ok(false),
    };
    counted.unwrap_or_else(|error| {
        tracing::warn!(%error, system = %system.name, "what came of a call to {} could not be counted", system.name);
        false
    })
}
