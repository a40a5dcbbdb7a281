//! A model is one mechanism of the product with everything else left out, small enough that every interleaving is visited.
//!
//! Each has twins that are broken on purpose: a model that finds nothing proves something only if it can find something.
//! Where the product has a pure function for what a model does ([`redress_domain::plan::next`], [`redress_domain::stage::Stage::after`]
//! and their like) the model calls it; where the product has a statement, the model's doc names it.
//!
//! "In the end" is said of states in which nothing can happen any more. Every model is built so that its runs end or come
//! back to where they were, so nothing hides behind a run that goes on for ever.

mod cancel;
mod completion;
mod lease;
mod notices;
mod submission;

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;

/// A model, whole or broken.
#[derive(Clone, Copy)]
pub struct Case {
    /// Which mechanism.
    pub model: &'static str,
    /// What is broken in it; nothing in the product's own.
    pub twin: Option<&'static str>,
    run: fn() -> Exhausted,
}

impl Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.model, self.twin.unwrap_or("as it is"))
    }
}

impl Case {
    /// Visits every state.
    pub fn exhaust(self) -> Exhausted {
        (self.run)()
    }
}

/// What a visit of every state found.
#[derive(Debug)]
pub struct Exhausted {
    /// Different states.
    pub states: usize,
    /// What does not hold, with the shortest way there.
    pub broken: Vec<(&'static str, String)>,
    /// What should be possible and is not: a model in which nothing happens keeps every promise.
    pub unreached: Vec<&'static str>,
}

/// Every model with its twins.
pub fn all() -> Vec<Case> {
    [lease::CASES, completion::CASES, cancel::CASES, notices::CASES, submission::CASES].concat()
}

/// Visits every state of a model; stops at the first thing that does not hold.
fn exhaust<M>(model: M) -> Exhausted
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Hash + Clone + PartialEq + Send + Sync,
    M::Action: Debug + Clone + PartialEq + Send + Sync,
{
    let properties: Vec<_> = model.properties().into_iter().map(|p| (p.name, p.expectation)).collect();
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries();
    let (mut broken, mut unreached) = (Vec::new(), Vec::new());
    for (name, expectation) in properties {
        match (expectation, found.get(name)) {
            (Expectation::Sometimes, None) => unreached.push(name),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                let story: Vec<String> = path.clone().into_actions().iter().map(|a| format!("{a:?}")).collect();
                broken.push((name, story.join(" → ")));
            }
            _ => {}
        }
    }
    Exhausted { states: checker.unique_state_count(), broken, unreached }
}
