//! A subject is the person a request is about, known to us only by identifiers that the controller gave.

use crate::{Identifier, Personal};

/// The data subject, as far as a connector may know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// At least one identifier; strongest kinds first (see [`crate::IdentifierType`]).
    pub identifiers: Vec<Identifier>,
    /// ISO 3166-1 alpha-2 code of the controller's country, which decides how a phone number without `+` is read.
    pub region: Option<String>,
}

/// One field to put right, by the name the connected systems declare, and its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Name of the field, as in a table's `fields`.
    pub field: String,
    /// The value it shall have.
    pub value: Personal<String>,
}
