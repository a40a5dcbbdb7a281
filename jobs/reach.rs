//! Reach keeps a connector for each connected system, made anew when the system's row changed.

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use redress_connectors::{Connector, SpecFault, SystemSpec, TableSpec, registry};
use redress_store::{Error, Store, SystemRow};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What of a system's definition the connector is given. The keys are those of the controller's file.
#[derive(Debug, Deserialize)]
struct Definition {
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    tables: Vec<TableSpec>,
    max_matches: u64,
    #[serde(default)]
    base_dir: Option<PathBuf>,
    #[serde(default)]
    rate_per_second: Option<f64>,
}

/// A system within reach.
#[derive(Clone)]
pub struct Reached {
    /// How to talk to it.
    pub connector: Arc<dyn Connector>,
    /// How often, on this machine, if its controller set a limit.
    pub limiter: Option<Arc<DefaultDirectRateLimiter>>,
}

/// Why a system is out of reach.
#[derive(Debug, thiserror::Error)]
pub enum OutOfReach {
    /// It was disconnected.
    #[error("the system is no longer connected")]
    Disconnected,
    /// Its definition is refused.
    #[error("the system's definition is refused: {}", .0.iter().map(|f| format!("{}: {}", f.path, f.detail)).collect::<Vec<_>>().join("; "))]
    Faulty(Vec<SpecFault>),
    /// The store could not tell.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Connectors by system.
#[derive(Default)]
pub struct Reach(Mutex<HashMap<String, (i64, Reached)>>);

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reach")
    }
}

impl Reach {
    /// The connector of a system, kept until the system changes.
    ///
    /// # Errors
    /// The system's definition or secrets cannot be used.
    pub async fn system(&self, store: &Store, system: &SystemRow) -> Result<Reached, OutOfReach> {
        if let Some((version, reached)) = self.0.lock().expect("never held across a panic").get(system.id.as_str())
            && *version == system.version
        {
            return Ok(reached.clone());
        }
        let definition: Definition = serde_json::from_value(system.definition.clone())
            .map_err(|_| Error::Inconsistent { table: "systems", column: "definition" })?;
        let spec = SystemSpec {
            name: system.name.clone(),
            connector: system.connector.clone(),
            settings: definition.settings,
            secrets: store.system_secrets(system).await?,
            tables: definition.tables,
            max_matches: definition.max_matches,
            base_dir: definition.base_dir,
        };
        let connector = registry::connect(&spec).map_err(OutOfReach::Faulty)?;
        let limiter = definition.rate_per_second.and_then(quota).map(|quota| Arc::new(RateLimiter::direct(quota)));
        let reached = Reached { connector, limiter };
        self.0
            .lock()
            .expect("never held across a panic")
            .insert(system.id.as_str().to_owned(), (system.version, reached.clone()));
        Ok(reached)
    }
}

/// A rate as governor takes it: one call per period, without a burst.
fn quota(per_second: f64) -> Option<Quota> {
    (per_second > 0.0 && per_second.is_finite())
        .then(|| Quota::with_period(std::time::Duration::from_secs_f64(1.0 / per_second)))
        .flatten()
        .map(|quota| quota.allow_burst(NonZeroU32::MIN))
}
