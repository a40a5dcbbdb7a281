//! Proof looks for a lost, doubled or untrue outcome where tests of examples do not: in every interleaving of small models,
//! and in thousands of seeded runs of the real store with a crash between any two writes.
//!
//! Nothing of this crate is in a release, and nothing of the product depends on it.

#![expect(clippy::large_futures, reason = "one run is one future on one thread")]

pub mod models;
pub mod simulate;
