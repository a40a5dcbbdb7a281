//! What the workers promise, stated as facts: real systems, a real store, in one process.

mod answering;
mod deceiving;
mod endpoints;
mod foreseeing;
mod lab;
mod limited;
mod outages;
mod sharing;
mod telling;
mod watched;
