//! Reach keeps a connector for each connected system, made anew when the system's row changed.

use crate::outbound::OutboundPolicy;
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
    /// It came through the API and is in a network that the deployment does not allow.
    #[error("the system's host is not on the public internet and not listed in outbound.allow")]
    NotAllowed,
    /// Its definition is refused.
    #[error("the system's definition is refused: {}", .0.iter().map(|f| format!("{}: {}", f.path, f.detail)).collect::<Vec<_>>().join("; "))]
    Faulty(Vec<SpecFault>),
    /// The store could not tell.
    #[error(transparent)]
    Store(#[from] Error),
}

impl OutOfReach {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            OutOfReach::Disconnected => "system_disconnected",
            OutOfReach::NotAllowed => "address_not_allowed",
            OutOfReach::Faulty(_) => "system_misconfigured",
            OutOfReach::Store(_) => "store_unavailable",
        }
    }
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
    pub async fn system(
        &self,
        store: &Store,
        system: &SystemRow,
        policy: &OutboundPolicy,
    ) -> Result<Reached, OutOfReach> {
        check_address(system, policy).await?;
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

/// What arrived through the API is looked up anew each time: a name that was public when it was given may not be any more.
async fn check_address(system: &SystemRow, policy: &OutboundPolicy) -> Result<(), OutOfReach> {
    let through_api = system.definition["through_api"].as_bool().unwrap_or_default();
    let settings = &system.definition["settings"];
    let Some(host) = settings["host"].as_str().filter(|_| through_api) else { return Ok(()) };
    let port = settings["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
    if policy.check_resolved(host, port).await { Ok(()) } else { Err(OutOfReach::NotAllowed) }
}

/// A rate as governor takes it: one call per period, without a burst.
fn quota(per_second: f64) -> Option<Quota> {
    // A rate so small that its period has no number is no rate; the reader of definitions refuses it.
    let period = std::time::Duration::try_from_secs_f64(1.0 / per_second).ok()?;
    Quota::with_period(period).map(|quota| quota.allow_burst(NonZeroU32::MIN))
}
