//! Connectors that are data: one TOML file per vendor, and the engine that runs it.

pub mod format;
#[cfg(test)]
mod tests;
