//! Facts about SQL systems.
