//! `GET /systems` and `/systems/{controller}/{name}`: how each connected system does, what waits there and why, what its vendor allows and
//! what of that was used, and when its credentials end. Those that need somebody come first.

mod condition;
mod detail;
mod list;
#[cfg(test)]
mod tests;

pub(crate) use detail::system;
pub(crate) use list::systems;

#[expect(unused_imports, reason = "Today names what runs out, by the same rule")]
pub(crate) use condition::{Expiry, expiry};
