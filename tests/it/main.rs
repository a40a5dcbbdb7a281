//! The whole program, from outside: real processes, real databases, real mailboxes, and what callers see over HTTP.

mod bad_input;
mod canaries;
mod changes;
mod cli;
mod eight;
mod faults;
mod fleet;
mod holds;
mod journeys;
mod notices;
mod redis;
mod reports;
mod signing_in;
mod stream;
mod support;
mod tasks;
