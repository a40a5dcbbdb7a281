//! Reach keeps a connector for each connected system, made anew when the system's row changed.

use crate::gate::Doorman;
use crate::limits::{Credential, Limiter};
use crate::outbound::OutboundPolicy;
use redress_connectors::{Admits, Connector, Feedback, Network, SpecFault, SystemSpec, TableSpec, Told, registry};
use redress_domain::limits::Limits;
use redress_store::{Error, Store, SystemRow};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::net::IpAddr;
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
}

/// A system within reach.
#[derive(Clone)]
pub struct Reached {
    /// How to talk to it.
    pub connector: Arc<dyn Connector>,
    /// How often, if its controller or its connector sets a limit.
    pub credential: Option<Credential>,
    /// It asks before each call to the vendor, and is not limited as a whole.
    pub asks_by_call: bool,
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
pub struct Reach {
    kept: Mutex<HashMap<String, (i64, Reached)>>,
    limiter: Option<Limiter>,
}

/// Tells the limiter what a vendor said.
struct Teller {
    limiter: Limiter,
    credential: Credential,
}

impl Told for Teller {
    fn told(&self, feedback: Feedback) {
        let (limiter, credential) = (self.limiter.clone(), self.credential.clone());
        tokio::spawn(async move { limiter.told(&credential, feedback).await });
    }
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reach")
    }
}

impl Reach {
    /// With a limiter that is told what vendors say.
    pub fn new(limiter: Limiter) -> Self {
        Self { limiter: Some(limiter), ..Self::default() }
    }

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
        if let Some((version, reached)) = self.kept.lock().expect("never held across a panic").get(system.id.as_str())
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
            network: network(system, policy),
        };
        let connector = registry::connect(&spec).map_err(OutOfReach::Faulty)?;
        let limits = Limits::of_definition(&system.definition).or_else(|| connector.limits());
        let credential = limits
            .filter(|limits| !limits.is_none())
            .map(|limits| Credential { key: system.allowance_key().into(), limits: Arc::new(limits) });
        let mut asks_by_call = false;
        if let (Some(limiter), Some(credential)) = (&self.limiter, &credential) {
            connector.listen(Arc::new(Teller { limiter: limiter.clone(), credential: credential.clone() }));
            let gate = Doorman::new(limiter.clone(), credential.clone(), system.id.as_str());
            asks_by_call = connector.ask_before_calls(Arc::new(gate));
        }
        let reached = Reached { connector, credential, asks_by_call };
        self.kept
            .lock()
            .expect("never held across a panic")
            .insert(system.id.as_str().to_owned(), (system.version, reached.clone()));
        Ok(reached)
    }
}

/// What arrived through the API may lead to the public internet and to what the deployment lists; what the operator wrote, anywhere.
fn network(system: &SystemRow, policy: &OutboundPolicy) -> Network {
    if system.definition["through_api"].as_bool().unwrap_or_default() {
        Network::guarded(Arc::new(Guard(policy.clone())))
    } else {
        Network::default()
    }
}

struct Guard(OutboundPolicy);

impl Admits for Guard {
    fn admits(&self, host: &str, addresses: &[IpAddr], port: Option<u16>) -> bool {
        self.0.admits(host, addresses, port)
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
