//! Connectors that are data: one TOML file per vendor, and the engine that runs it.
//!
//! [`mod@format`] is what a file may say, [`template`] and [`escape`] how values come into requests. A file is taken apart
//! once ([`plan`]); a [`connector`] is a plan and the settings of one system. It [finds](find) people's records over
//! [pages] of answers whose meaning is [classified](classify), and [erases](erase), [corrects](rectify), [exports](export)
//! and [verifies](verify) these.

mod auth;
mod body;
pub mod builtin;
mod call;
pub mod case;
mod catalogue;
mod classify;
mod connector;
mod erase;
pub mod escape;
mod export;
mod find;
pub mod finding;
pub mod format;
pub mod judge;
mod lint;
mod listing;
mod load;
mod pages;
mod people;
mod plan;
mod pointer;
mod receipt;
mod rectify;
pub mod schema;
mod scope;
mod settings;
mod shape;
mod table;
pub mod template;
mod verify;

pub use catalogue::{Own, OwnFault, known, names};
pub use finding::{Finding, Severity};
pub use listing::Listed;
pub use load::Loaded;
pub use table::markdown;

#[cfg(test)]
pub(crate) mod tests;

use crate::{Connector, SpecFault, SystemSpec};
use std::sync::Arc;

/// Makes the connector of a manifest; none if no manifest has the name.
pub(crate) fn connect(spec: &SystemSpec) -> Option<Result<Arc<dyn Connector>, Vec<SpecFault>>> {
    Some(match catalogue::get(&spec.connector)? {
        Ok(loaded) => connector::connect(&loaded.plan, spec),
        Err(fault) => Err(vec![SpecFault::new("connector", format!("its manifest cannot be used: {fault}"))]),
    })
}

/// Makes the connector of a manifest that is given as text.
///
/// # Errors
/// What is wrong with the manifest or the specification.
pub fn connect_text(text: &str, spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let fault = |fault: String| vec![SpecFault::new("connector", format!("its manifest cannot be used: {fault}"))];
    let loaded = Loaded::trusted(text).map_err(fault)?;
    connector::connect(&loaded.plan, spec)
}
