//! .
pub mod config;
pub mod demo_seed;
pub mod provision;
pub mod telemetry;
