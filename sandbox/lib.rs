//! A simulator is a vendor's server as far as deletion, correction and access need it: its paths, its error bodies, its
//! paging, its limits, and its habits (an index that lags, a delete that is soft, a 200 that is a failure).
//!
//! Each has a side door ([`World`]) through which a test or the sandbox seeds people and sees what is left, without the
//! vendor's interface. It holds everything in memory and listens on the loopback address only.

#![expect(clippy::result_large_err, reason = "what is refused is answered: the error is the response")]

pub mod connections;
pub mod control;
pub mod kit;
pub mod vendors;

pub use control::Sandbox;
pub use kit::{Allowance, Fault, Hit, Served, World};
pub use vendors::{ALL, Person, Vendor, serve};
