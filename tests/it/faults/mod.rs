//! A fault is a death, a stall or an outage in mid-work; whatever it is, nothing may be lost and nothing may happen twice.
//!
//! What happened is judged outside the product: triggers in the controller's databases journal every row that was really
//! changed, mail is counted on the disk, webhooks are counted where they arrive (see [`scene`]).
//!
//! | file | what goes wrong |
//! |---|---|
//! | `matrix` | the process dies at each named point of the code, one after the other |
//! | `random` | `kill -9` at twenty random moments |
//! | `poison` | a step kills every worker that takes it |
//! | `signals` | SIGTERM in mid-run, SIGSTOP past the lease |
//! | `watched` | dates are missed, and the process dies while it sees that or tells it |
//! | `vendors` | the process dies before and after an effect at a simulated vendor |
//! | `outages` | the database goes away or is locked, Redis was never there |
//!
//! `scripts/chaos` (tests/chaos) stages further deaths and faults with the same points, scene and judge.

mod holding;
mod matrix;
mod outages;
mod poison;
mod random;
mod scene;
mod signals;
mod vendors;
mod watched;
