//! A system's specification is what the controller's file or the API says about one connected system, before it is reached.

use redress_domain::Personal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A secret in clear, in memory only.
pub type Secret = Personal<String>;

/// One connected system as configured.
#[derive(Debug, Clone)]
pub struct SystemSpec {
    /// The controller's name for it.
    pub name: String,
    /// Which connector reaches it.
    pub connector: String,
    /// The connector's settings; unknown keys are refused by the connector.
    pub settings: Map<String, Value>,
    /// Credentials by name (`password`, …).
    pub secrets: BTreeMap<String, Secret>,
    /// Declared tables; SQL connectors only.
    pub tables: Vec<TableSpec>,
    /// More matching top-level records than this stop for a person.
    pub max_matches: u64,
    /// What relative paths in the settings are relative to.
    pub base_dir: Option<PathBuf>,
    /// Where the connector may connect to.
    pub network: Network,
}

/// Says whether an address may be connected to. It is asked with what a name resolved to, at every new connection.
pub trait Admits: Send + Sync {
    /// Whether all of these addresses of `host` may be connected to at this port.
    fn admits(&self, host: &str, addresses: &[IpAddr], port: Option<u16>) -> bool;
}

/// Where a connector may connect to: anywhere if the operator wrote the system down, only to public addresses (and what the
/// deployment lists) if it came through the API.
#[derive(Clone, Default)]
pub struct Network(Option<Arc<dyn Admits>>);

impl Network {
    /// Only where this allows it.
    pub fn guarded(by: Arc<dyn Admits>) -> Self {
        Self(Some(by))
    }

    /// Whether all of these addresses of `host` may be connected to at this port.
    pub fn admits(&self, host: &str, addresses: &[IpAddr], port: Option<u16>) -> bool {
        self.0.as_ref().is_none_or(|guard| guard.admits(host, addresses, port))
    }

    /// Whether nothing is refused: then connections need no TLS either.
    pub const fn is_anywhere(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_anywhere() { "Network(anywhere)" } else { "Network(guarded)" })
    }
}

/// What happens to a person's rows of a table when they are to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// The rows go.
    Delete,
    /// The named columns become NULL.
    Null,
    /// The named columns become a keyed one-way value, the same for the same input.
    Hash,
    /// The rows stay, for the reason given.
    Keep,
}

/// One declared table of a SQL system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Name, optionally `schema.name`.
    pub name: String,
    /// The primary key column.
    pub key: String,
    /// Identifier type -> column that holds it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identify: BTreeMap<String, String>,
    /// Column -> `table.column` of a declared table that it refers to: the person's rows are those that refer to the person's rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, String>,
    /// Field of a correction -> column that it may change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// What deletion does here.
    pub on_delete: OnDelete,
    /// What null or hash applies to; for access, what is exported (default: every column).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Reason code, required with `keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is wrong with a specification: which key, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecFault {
    /// Path of the key inside the system, such as `settings.port` or `tables.1.columns`.
    pub path: String,
    /// What is wrong and what to do.
    pub detail: String,
}

impl SpecFault {
    /// A fault at `path`.
    pub fn new(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), detail: detail.into() }
    }
}
