//! Redress fulfils data subject requests for a processor: it finds, hands over, corrects or deletes what is held about one
//! person in every connected system, within the law's deadline, and proves it.
//!
//! This crate is the top: [`cli`] is what people type, [`app`] wires everything, [`http`] is what callers see, [`provision`]
//! and [`connected`] read what operators declare. Below it are `redress-jobs`, `redress-store` and `redress-connectors`, and
//! at the bottom `redress-domain`. ARCHITECTURE.md walks one request through the files.

pub mod app;
mod bench;
pub mod cli;
pub mod config;
pub mod connected;
pub mod demo_seed;
mod evidence;
pub mod http;
mod link;
mod oidc;
pub mod provision;
mod report;
pub mod rules;
pub mod server;
pub mod telemetry;
