//! The whole program, from outside: real processes, real databases, real mailboxes, and what callers see over HTTP.

mod journeys;
mod support;
