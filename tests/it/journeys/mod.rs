//! A journey is one request from its submission to its proof, seen from outside.

mod clocks;
mod fulfilled;
mod policies;
mod restarts;
