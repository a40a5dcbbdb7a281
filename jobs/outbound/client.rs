//! The client calls outbound addresses and nothing else: it resolves names itself and follows no redirect.

use super::{OutboundFault, OutboundPolicy};
use reqwest::RequestBuilder;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

/// An HTTP client that keeps to a policy. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    policy: Arc<OutboundPolicy>,
    /// Where no entry of the policy names the port.
    elsewhere: reqwest::Client,
    /// By port: a resolver hears only the name, so one that knows its port is needed for entries that name one.
    at_port: HashMap<u16, reqwest::Client>,
}

/// A client for this policy: no proxy, no redirects, 5 seconds to connect, 15 in all.
pub fn client(policy: OutboundPolicy) -> Result<Client, OutboundFault> {
    // Fails only when the process has chosen a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let policy = Arc::new(policy);
    let at_port = policy.ports().map(|port| Ok((port, build(&policy, Some(port))?))).collect::<Result<_, _>>()?;
    Ok(Client { elsewhere: build(&policy, None)?, at_port, policy })
}

fn build(policy: &Arc<OutboundPolicy>, port: Option<u16>) -> Result<reqwest::Client, OutboundFault> {
    reqwest::Client::builder()
        .user_agent(concat!("redress/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .pool_max_idle_per_host(2)
        .dns_resolver(GuardedResolver { policy: Arc::clone(policy), port })
        .build()
        .map_err(|_| OutboundFault::NoClient)
}

impl Client {
    /// The policy it keeps to.
    pub fn policy(&self) -> &OutboundPolicy {
        &self.policy
    }

    /// Begins a POST, if the policy still allows the address.
    pub fn post(&self, url: &Url) -> Result<RequestBuilder, OutboundFault> {
        // Addresses in numbers never come to the resolver, so this is the check that counts for them.
        self.policy.check(url)?;
        let client = url.port_or_known_default().and_then(|port| self.at_port.get(&port)).unwrap_or(&self.elsewhere);
        Ok(client.post(url.clone()))
    }
}

/// Resolves a name and gives its addresses only if all of them may be called.
pub(super) struct GuardedResolver {
    pub(super) policy: Arc<OutboundPolicy>,
    pub(super) port: Option<u16>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, port) = (Arc::clone(&self.policy), self.port);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let ips: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
            if policy.admits(name.as_str(), &ips, port) {
                Ok(Box::new(addresses.into_iter()) as Addrs)
            } else {
                Err(OutboundFault::NotPublic.into())
            }
        })
    }
}
