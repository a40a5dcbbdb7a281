//! The workers of Redress: what to do next, and doing it.
//!
//! A job is a nudge, the row is the truth, every wait is a column. The [`claimer`] leases due rows from the store and feeds
//! them to an apalis worker through our own [`backend`]; [`run_step`] is the only place that calls a connector, [`answer`]
//! makes packages and certificates, [`notify`] tells controllers, [`forecast`] foresees when requests end. [`outcome`] says, purely, what an answer of a connector
//! means for the row. `Ok` means recorded; whoever lost the lease records nothing.

pub mod answer;
pub mod backend;
mod breaking;
pub mod certificate;
pub mod claimer;
pub mod engine;
pub mod evidence;
pub mod forecast;
mod gate;
pub mod limits;
pub mod message;
pub mod notify;
pub mod outbound;
pub mod outcome;
pub mod package;
pub mod reach;
pub mod run_step;
mod sealer;
pub mod watch;
pub mod watchdog;
pub mod webhook;

pub use claimer::{WorkerOptions, Workers};
pub use engine::Engine;
