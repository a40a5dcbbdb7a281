//! The whole program, from outside: real processes, real databases, real mailboxes, and what callers see over HTTP.

mod bad_input;
mod canaries;
mod changes;
mod cli;
mod eight;
mod faults;
mod fleet;
mod journeys;
mod notices;
mod redis;
mod reports;
mod stream;
mod signing_in;
mod support;
mod tasks;
