//! A line is the way to one vendor over HTTP: pinned to its hosts, bounded in time and size, within the fleet's limits.
//!
//! It follows no redirect, sends credentials to no host but the vendor's, and never puts what it read into an error. It does
//! not try again by itself: that is the queue's business, which holds no worker while it waits.

mod answer;
mod jwt;
pub(crate) mod sigv4;
#[cfg(test)]
mod tests;
mod token;

pub use answer::Answer;
pub(crate) use answer::unreadable;
pub(crate) use jwt::{SigningKey, rs256};
pub(crate) use token::Token;

use crate::{Feedback, Gate, Network, Pass, Problem, Told, Trouble};
use redress_domain::limits::feedback;
use redress_domain::{Clock as _, SystemClock};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use url::{Host, Url};

pub use reqwest::Method;

/// An answer is no longer than this, unless the call says otherwise (bytes).
pub const ANSWER_MAX: usize = 16 << 20;
/// An answer that takes longer does not come, unless the call says otherwise.
pub const PATIENCE: Duration = Duration::from_mins(1);
const CONNECT: Duration = Duration::from_secs(10);

/// One call to be made.
#[derive(Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Where to; its host must be one of the line's.
    pub url: Url,
    /// Headers by name. Values may be secrets.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// What it costs of the vendor's limits; 0 for calls that do not count (a token).
    pub cost: u64,
    /// The longest answer that is taken (bytes).
    pub answer_max: usize,
    /// How long to wait for the whole answer.
    pub patience: Duration,
}

impl Call {
    /// A call without headers and body that costs one.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: Vec::new(), body: Vec::new(), cost: 1, answer_max: ANSWER_MAX, patience: PATIENCE }
    }

    /// With this header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body of this media type.
    #[must_use]
    pub fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", media_type)
    }

    /// With this JSON body.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With these pairs as form body.
    #[must_use]
    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// At this cost.
    #[must_use]
    pub const fn costing(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Path, query, headers and body may hold identifiers and secrets.
        write!(f, "Call({} {})", self.method, self.url.host_str().unwrap_or_default())
    }
}

/// The way to one vendor.
pub struct Line {
    client: reqwest::Client,
    network: Network,
    /// Hosts (with ports) that may be called.
    hosts: std::sync::RwLock<BTreeSet<String>>,
    told: OnceLock<Arc<dyn Told>>,
    gate: OnceLock<Arc<dyn Gate>>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

fn place(url: &Url) -> String {
    format!(
        "{}://{}:{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or_default()
    )
}

impl Line {
    /// A line to the hosts of these URLs and no others.
    pub fn new<'u>(network: &Network, to: impl IntoIterator<Item = &'u Url>) -> Self {
        // Fails only when the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("redress/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_secs(50))
            .pool_max_idle_per_host(8)
            .dns_resolver(GuardedResolver { network: network.clone() })
            .build()
            .expect("the root certificates are read when a connection is made");
        let line = Self {
            client,
            network: network.clone(),
            hosts: std::sync::RwLock::default(),
            told: OnceLock::new(),
            gate: OnceLock::new(),
        };
        to.into_iter().for_each(|url| line.also(url));
        line
    }

    /// Lets the line call the host of this URL too. Only for hosts that come from the configuration or from the vendor's
    /// own sign-in answer (an instance URL), never from a record.
    pub fn also(&self, url: &Url) {
        self.hosts.write().expect("never held across a panic").insert(place(url));
    }

    /// Whether calls to this URL's host may be made.
    pub fn leads_to(&self, url: &Url) -> bool {
        self.hosts.read().expect("never held across a panic").contains(&place(url))
    }

    /// Whom to tell what the vendor says about its limits.
    pub fn listen(&self, told: Arc<dyn Told>) {
        let _the_first_one_stays = self.told.set(told);
    }

    /// Whom to ask before each call.
    pub fn ask_before_calls(&self, gate: Arc<dyn Gate>) {
        let _the_first_one_stays = self.gate.set(gate);
    }

    /// The vendor said in an answer's body that nothing may be sent for so long: it holds for every worker, as a header does.
    pub fn told_to_wait(&self, wait: Duration) {
        if let Some(told) = self.told.get() {
            told.told(Feedback::wait(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)));
        }
    }

    fn allowed(&self, url: &Url) -> Result<(), Trouble> {
        if !self.leads_to(url) {
            return Err(Trouble::Denied(Problem::new(
                "host_not_pinned",
                "the vendor pointed to another host than its own; nothing was sent there",
            )));
        }
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        // Addresses in numbers never come to the resolver.
        let admitted = ip.is_none_or(|ip| {
            self.network.admits(url.host_str().unwrap_or_default(), &[ip], url.port_or_known_default())
        });
        let encrypted = url.scheme() == "https" || (url.scheme() == "http" && self.network.is_anywhere());
        if admitted && encrypted {
            Ok(())
        } else {
            Err(Trouble::Denied(Problem::new(
                "address_not_allowed",
                "the system's host is not on the public internet (or not https) and not listed in outbound.allow",
            )))
        }
    }

    /// Makes a call and reads the whole answer, whatever its status is. What the vendor says about its limits is passed on.
    ///
    /// # Errors
    /// [`Trouble::Throttled`] if the fleet's limits do not allow the call now, [`Trouble::Retry`] if no whole answer came,
    /// [`Trouble::Denied`] if the host may not be called.
    pub async fn send(&self, call: Call) -> Result<Answer, Trouble> {
        let (answer, _pass) = self.open(call.clone()).await?;
        answer.whole(call.answer_max, call.patience).await
    }

    /// As [`Line::send`], with the body still to be read. The pass is held until it is dropped.
    ///
    /// # Errors
    /// As [`Line::send`].
    pub async fn open(&self, call: Call) -> Result<(answer::Opened, Pass), Trouble> {
        self.allowed(&call.url)?;
        let pass = match self.gate.get() {
            Some(gate) if call.cost > 0 => gate.enter(call.cost).await.map_err(Trouble::Throttled)?,
            _ => Pass::free(),
        };
        let mut request = self.client.request(call.method, call.url);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if !call.body.is_empty() {
            request = request.body(call.body);
        }
        let sent = tokio::time::timeout(call.patience, request.send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(answer::unreachable(&error)),
            Err(_) => return Err(answer::timeout()),
        };
        let status = response.status().as_u16();
        let headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let said =
            feedback(status, headers.iter().map(|(name, value)| (name.as_str(), value.as_str())), SystemClock.now_ms());
        if let Some(told) = self.told.get().filter(|_| !said.is_empty()) {
            told.told(said);
        }
        Ok((answer::Opened { status, headers, said, response }, pass))
    }
}

/// Resolves a name and gives its addresses only if all of them may be called.
struct GuardedResolver {
    network: Network,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let network = self.network.clone();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let ips: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
            if network.admits(name.as_str(), &ips, None) {
                Ok(Box::new(addresses.into_iter()) as Addrs)
            } else {
                Err("the host is not on the public internet".into())
            }
        })
    }
}
