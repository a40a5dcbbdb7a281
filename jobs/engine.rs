//! The engine is what every job is given: the store, the systems within reach, the signing key and the way out.

use crate::certificate::Signer;
use crate::limits::Limiter;
use crate::reach::Reach;
use redress_store::Store;
use std::time::Duration;

/// What every job is given.
#[derive(Debug)]
pub struct Engine {
    /// Every row.
    pub store: Store,
    /// Connectors of the systems that were reached already.
    pub reach: Reach,
    /// Says when calls to vendors may be made.
    pub limiter: Limiter,
    /// Signs certificates and packages.
    pub signer: Signer,
    /// The client for webhooks: no redirects, no private addresses unless allowed.
    pub http: crate::outbound::Client,
    /// Tells people and programs what the watch has seen.
    pub messenger: crate::message::Messenger,
    /// The working days and mornings that the watch goes by.
    pub watch: crate::watch::Watch,
    /// How long a package is handed out, unless its controller wants another time.
    pub package_expires: Duration,
    /// The longest one call of a connector may take; its own limits are shorter.
    pub call_limit: Duration,
    /// The version of this binary.
    pub version: &'static str,
}

/// A random number in 0..1 that spreads the tries of many steps; not a secret.
pub(crate) fn jitter() -> f64 {
    redress_store::random::<2>().map_or(0.5, |bytes| f64::from(u16::from_be_bytes(bytes)) / 65_536.0)
}
