//! The models and the simulation keep their promises, and notice when the product would not.

mod models;
mod simulation;
