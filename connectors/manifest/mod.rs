//! Connectors that are data: one TOML file per vendor, and the engine that runs it.

mod body;
pub mod escape;
pub mod format;
mod scope;
pub mod template;

#[cfg(test)]
mod tests;
