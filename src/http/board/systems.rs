//! `GET /systems` and `/systems/{controller}/{name}`: how each connected system does, what waits there and why, what its vendor allows and
//! what of that was used, and when its credentials end. Those that need somebody come first.

mod condition;
mod detail;
mod list;
#[cfg(test)]
mod tests;

pub(crate) use detail::system;
pub(crate) use list::systems;

pub(crate) use condition::{Expiry, expiry};
