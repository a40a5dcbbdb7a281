//! An outbound address is a URL that somebody else chose and we call: it must lead to the public internet, or to what
//! the operator lists in `outbound.allow`.
//!
//! It is checked twice: [`OutboundPolicy::check_url`] when it is given to us, and again at every call, where the
//! [`Client`] resolves the name itself, refuses the call if any answer is not public, and connects to those very answers. So
//! a name that changes its mind in between gains nothing. What the operator applies by file is not checked: it may name
//! private systems.

mod address;
mod client;
#[cfg(test)]
mod tests;

pub use address::is_global;
pub use client::{Client, client};

use std::net::IpAddr;
use std::str::FromStr;
use url::{Host, Url};

/// The longest URL that is accepted.
const URL_MAX: usize = 2048;

/// Ports from 1024 on at which something listens that HTTP may harm or wake.
const SERVICE_PORTS: &[u16] = &[
    1080, 1099, 1433, 1434, 1521, 1883, 2049, 2181, 2375, 2376, 2377, 2379, 2380, 3128, 3260, 3268, 3269, 3306, 3389,
    4222, 4369, 4444, 5060, 5061, 5432, 5433, 5672, 5671, 5900, 5901, 5984, 5985, 5986, 6000, 6379, 6380, 6443, 6667,
    7000, 7001, 7199, 7474, 7687, 8086, 8125, 8200, 8300, 8301, 8302, 8500, 8600, 8983, 9000, 9042, 9090, 9092, 9093,
    9100, 9160, 9200, 9300, 9418, 10250, 10255, 10256, 11211, 15672, 16379, 16686, 25672, 26257, 26379, 27017, 27018,
    27019, 28017, 33060, 50000, 50070, 61616,
];

/// Endings of names that only a private network knows.
const PRIVATE_ENDINGS: &[&str] = &["localhost", "local", "internal", "localdomain", "home.arpa", "intranet", "lan"];

/// Why a URL is not called, in words for the one who gave it. It never says what was found at the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutboundFault {
    /// Too long.
    #[error("the URL is longer than {URL_MAX} bytes")]
    TooLong,
    /// Not a URL.
    #[error("this is not a URL such as https://hooks.example.com/dsr")]
    NotAUrl,
    /// Another scheme than https.
    #[error("the URL must begin with https://")]
    Scheme,
    /// A user name or a password in it.
    #[error("the URL must not contain a user name or a password")]
    UserInfo,
    /// A fragment in it.
    #[error("the URL must not contain a fragment (#…)")]
    Fragment,
    /// A port that is not for web servers.
    #[error("this port may not be called; use 443 or one from 1024 on that no other kind of service uses")]
    Port,
    /// An address or a name that is not public.
    #[error("the host is not on the public internet")]
    NotPublic,
    /// The HTTP client could not be made.
    #[error("no certificate authorities were found on this machine")]
    NoClient,
}

/// An entry of `outbound.allow` is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a host name, an address or a range (such as hooks.corp.example, 10.1.2.3:8443, 10.0.0.0/8): {entry:?}")]
pub struct BadAllow {
    /// The entry.
    pub entry: String,
}

/// One entry of `outbound.allow`: a host name, an address or a range, and for which port; without one, for every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    place: Place,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Name(String),
    Range { base: IpAddr, prefix: u8 },
}

/// Where we may call. The default is the public internet and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboundPolicy {
    /// What is allowed besides.
    pub allow: Vec<Allow>,
    /// The operator chose the addresses: they may lead anywhere.
    pub anywhere: bool,
}

impl OutboundPolicy {
    /// A policy from the entries of `outbound.allow`.
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Self, BadAllow> {
        let allow = entries.iter().map(|entry| entry.as_ref().parse()).collect::<Result<_, _>>()?;
        Ok(Self { allow, anywhere: false })
    }

    /// The policy for addresses that the operator wrote down: they may be private, and need no TLS.
    pub fn of_operator() -> Self {
        Self { allow: Vec::new(), anywhere: true }
    }

    /// Reads a URL and checks all that can be seen in it. The text that was given must not be used any further, only
    /// the URL that comes back: other parsers may read the text differently.
    pub fn check_url(&self, text: &str) -> Result<Url, OutboundFault> {
        if text.len() > URL_MAX {
            return Err(OutboundFault::TooLong);
        }
        // The parser would silently drop these.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(OutboundFault::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_| OutboundFault::NotAUrl)?;
        self.check(&url)?;
        Ok(url)
    }

    /// Checks a URL that was read before, since the policy may have changed.
    pub fn check(&self, url: &Url) -> Result<(), OutboundFault> {
        if url.as_str().len() > URL_MAX {
            return Err(OutboundFault::TooLong);
        }
        if !matches!(url.scheme(), "https" | "http") {
            return Err(OutboundFault::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OutboundFault::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(OutboundFault::Fragment);
        }
        let host = url.host().ok_or(OutboundFault::NotAUrl)?;
        let port = url.port_or_known_default().ok_or(OutboundFault::Port)?;
        let listed = match &host {
            Host::Domain(name) => self.lists_name(name, Some(port)),
            Host::Ipv4(ip) => self.lists_address(IpAddr::V4(*ip), Some(port)),
            Host::Ipv6(ip) => self.lists_address(IpAddr::V6(*ip), Some(port)),
        };
        if listed || self.anywhere {
            return Ok(());
        }
        let public = match host {
            Host::Domain(name) => is_public_name(name),
            Host::Ipv4(ip) => is_global(IpAddr::V4(ip)),
            Host::Ipv6(ip) => is_global(IpAddr::V6(ip)),
        };
        if !public {
            Err(OutboundFault::NotPublic)
        } else if url.scheme() != "https" {
            Err(OutboundFault::Scheme)
        } else if port == 443 || (port >= 1024 && !SERVICE_PORTS.contains(&port)) {
            Ok(())
        } else {
            Err(OutboundFault::Port)
        }
    }

    /// Checks a host that is not reached by HTTP (a database, a mail server) and its port. Whether a name resolves to
    /// public addresses is seen only when it is reached.
    pub fn check_host(&self, host: &str, port: u16) -> Result<(), OutboundFault> {
        // The URL parser's reading of a host is the strictest we have: 127.1, 0x7f.1 and ⑫⑦.⓪.⓪.① are what they are.
        let host = Host::parse(host.trim_matches(['[', ']']))
            .or_else(|_| Host::parse(host))
            .map_err(|_| OutboundFault::NotAUrl)?;
        let (listed, public) = match &host {
            Host::Domain(name) => (self.lists_name(name, Some(port)), is_public_name(name)),
            Host::Ipv4(ip) => (self.lists_address(IpAddr::V4(*ip), Some(port)), is_global(IpAddr::V4(*ip))),
            Host::Ipv6(ip) => (self.lists_address(IpAddr::V6(*ip), Some(port)), is_global(IpAddr::V6(*ip))),
        };
        if listed || public || self.anywhere { Ok(()) } else { Err(OutboundFault::NotPublic) }
    }

    /// Whether a host may be reached at this port by what its name resolves to now. A name that does not resolve
    /// cannot be reached, which the connector will say.
    pub async fn check_resolved(&self, host: &str, port: u16) -> bool {
        if self.check_host(host, port).is_err() {
            return false;
        }
        let host = host.trim_matches(['[', ']']);
        match tokio::net::lookup_host((host, port)).await {
            Ok(addresses) => {
                let ips: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
                self.admits(host, &ips, Some(port))
            }
            // It cannot be reached either; the connector says so in its own words.
            Err(_) => true,
        }
    }

    /// Whether a name that resolved to these addresses may be called at this port; `None` if the port is none that
    /// an entry names. One address that is not allowed spoils all of them.
    pub(crate) fn admits(&self, name: &str, addresses: &[IpAddr], port: Option<u16>) -> bool {
        let fits = |ip: &IpAddr| is_global(*ip) || self.lists_address(*ip, port);
        !addresses.is_empty() && (self.anywhere || self.lists_name(name, port) || addresses.iter().all(fits))
    }

    fn lists_name(&self, name: &str, port: Option<u16>) -> bool {
        let name = name.trim_end_matches('.');
        self.at(port).any(|place| matches!(place, Place::Name(listed) if listed.eq_ignore_ascii_case(name)))
    }

    fn lists_address(&self, ip: IpAddr, port: Option<u16>) -> bool {
        self.at(port)
            .any(|place| matches!(place, Place::Range { base, prefix } if address::in_range(ip, *base, *prefix)))
    }

    fn at(&self, port: Option<u16>) -> impl Iterator<Item = &Place> {
        self.allow.iter().filter(move |allow| allow.port.is_none() || allow.port == port).map(|allow| &allow.place)
    }

    /// The ports that entries name.
    fn ports(&self) -> impl Iterator<Item = u16> {
        self.allow.iter().filter_map(|allow| allow.port)
    }
}

/// Whether a name can be one of the public internet at all.
fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let ends_with = |ending: &str| name.strip_suffix(ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    name.contains('.') && !PRIVATE_ENDINGS.iter().any(|ending| ends_with(ending))
}

impl FromStr for Allow {
    type Err = BadAllow;

    fn from_str(entry: &str) -> Result<Self, BadAllow> {
        let bad = || BadAllow { entry: entry.to_owned() };
        let text = entry.trim();
        // `[v6]:port`, `[v6/len]:port`, `v4:port`, `v4/len:port`, `name:port`; a bare v6 has more than one colon.
        let (place, port) = if let Some(rest) = text.strip_prefix('[') {
            let (place, after) = rest.split_once(']').ok_or_else(bad)?;
            match after.strip_prefix(':') {
                Some(port) => (place, Some(port)),
                None if after.is_empty() => (place, None),
                None => return Err(bad()),
            }
        } else if text.matches(':').count() == 1 {
            text.split_once(':').map_or((text, None), |(place, port)| (place, Some(port)))
        } else {
            (text, None)
        };
        let port = match port {
            None => None,
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?),
        };
        let place = Place::parse(place).ok_or_else(bad)?;
        Ok(Self { place, port })
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
            None => (text, None),
        };
        if let Ok(base) = address.parse::<IpAddr>() {
            let full = if base.is_ipv4() { 32 } else { 128 };
            let prefix = length.unwrap_or(full);
            return (prefix <= full).then_some(Self::Range { base, prefix });
        }
        if length.is_some() {
            return None;
        }
        match Host::parse(text.trim_end_matches('.')).ok()? {
            Host::Domain(name)
                if name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) =>
            {
                Some(Self::Name(name))
            }
            // `127.1` and the like: say what is meant.
            _ => None,
        }
    }
}
