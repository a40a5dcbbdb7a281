//! The registry knows every connector by name and turns a [`SystemSpec`] into a [`Connector`].

use crate::{Connector, SpecFault, SystemSpec};
use std::sync::Arc;

/// What `redress connector list` tells about a connector.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Entry {
    /// The name in `connector = "…"`.
    pub name: &'static str,
    /// What it reaches, in one line.
    pub about: &'static str,
    /// Its settings, required ones first, in the form of a TOML inline table.
    pub settings: &'static str,
    /// Verbs it performs.
    pub verbs: &'static [&'static str],
}

/// Every connector, by name. `bench` is none of them: it measures, and reaches nobody's data.
pub const ALL: &[Entry] = &[
    crate::warehouse::BIGQUERY_ENTRY,
    crate::dynamodb::ENTRY,
    crate::gmail::ENTRY,
    crate::graph::ENTRY,
    crate::imap::ENTRY,
    crate::jmap::ENTRY,
    crate::ldap::ENTRY,
    crate::maildir::ENTRY,
    crate::manual::ENTRY,
    crate::s3::ENTRY,
    crate::sql::MYSQL_ENTRY,
    crate::opendsr::ENTRY,
    crate::sql::POSTGRES_ENTRY,
    crate::salesforce::ENTRY,
    crate::warehouse::SNOWFLAKE_ENTRY,
    crate::sql::SQLITE_ENTRY,
    crate::webhook::ENTRY,
];

/// Checks a specification without reaching the system and makes its connector. Every fault at once.
///
/// # Errors
/// What is wrong with the specification, key by key.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    match spec.connector.as_str() {
        "bench" => crate::bench::connect(spec),
        "bigquery" => crate::warehouse::connect_bigquery(spec),
        "dynamodb" => crate::dynamodb::connect(spec),
        "gmail" => crate::gmail::connect(spec),
        "graph" => crate::graph::connect(spec),
        "imap" => crate::imap::connect(spec),
        "jmap" => crate::jmap::connect(spec),
        "ldap" => crate::ldap::connect(spec),
        "maildir" => crate::maildir::connect(spec),
        "manual" => crate::manual::connect(spec),
        "mysql" => crate::sql::connect_mysql(spec),
        "opendsr" => crate::opendsr::connect(spec),
        "postgres" => crate::sql::connect_postgres(spec),
        "salesforce" => crate::salesforce::connect(spec),
        "s3" => crate::s3::connect(spec),
        "snowflake" => crate::warehouse::connect_snowflake(spec),
        "sqlite" => crate::sql::connect_sqlite(spec),
        "webhook" => crate::webhook::connect(spec),
        other => crate::manifest::connect(spec).unwrap_or_else(|| {
            Err(vec![SpecFault::new(
                "connector",
                format!("no connector is named {other:?}; there are {}", names().join(", ")),
            )])
        }),
    }
}

/// Every connector's name, manifests' too, sorted.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = ALL.iter().map(|entry| entry.name.to_owned()).collect();
    names.extend(crate::manifest::names());
    names.sort_unstable();
    names
}

/// Every connector with what it does and promises, by name.
pub fn listed() -> Vec<crate::manifest::Listed> {
    let mut all: Vec<crate::manifest::Listed> = ALL.iter().map(Into::into).collect();
    all.extend(crate::manifest::known().iter().map(|loaded| (&**loaded).into()));
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Whether a name is that of a connector that is no manifest.
pub(crate) fn is_native(name: &str) -> bool {
    name == "bench" || ALL.iter().any(|entry| entry.name == name)
}
