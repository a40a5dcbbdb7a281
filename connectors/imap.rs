//! In the making.

pub(crate) mod utf7;

use crate::registry::Entry;
use crate::{Connector, SpecFault, SystemSpec};
use std::sync::Arc;

/// What the registry tells.
pub const ENTRY: Entry = Entry { name: "imap", about: "", settings: "", verbs: &[] };

/// Makes the connector.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    Err(vec![SpecFault::new("connector", format!("{} is in the making", spec.connector))])
}
