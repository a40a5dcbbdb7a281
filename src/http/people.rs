//! How people come to be known: where they sign in, how long that holds, which cookies their browsers keep, and how often somebody
//! may try.

use super::forwarded::{Header, Proxies};
use crate::config::Config;
use crate::oidc::Provider;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use redress_store::Life;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Failed attempts are counted for so long (ms).
const WINDOW_MS: i64 = 300_000;
/// Most failed attempts of one address in that time, and of all of them.
const FAILURES: (u32, u32) = (10, 300);
/// Most sign-ins that are begun at the provider in that time.
const BEGINNINGS: (u32, u32) = (1_000, 10_000);

/// How people sign in.
#[derive(Debug, Clone)]
pub struct People(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: Option<Provider>,
    public_url: String,
    life: Life,
    /// Cookies are for encrypted connections only.
    secure: bool,
    failures: Attempts,
    beginnings: Attempts,
    proxies: Proxies,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl People {
    /// As it is configured.
    ///
    /// # Errors
    /// The client for the identity provider cannot be made.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let public_url = config.public_url();
        Ok(Self(Arc::new(Inner {
            provider: Provider::new(&config.oidc, &public_url)?,
            secure: !config.is_plain_and_local(),
            public_url,
            life: config.board.life(),
            failures: Attempts::new(FAILURES),
            beginnings: Attempts::new(BEGINNINGS),
            proxies: Proxies {
                trusted: config.http.trusted_proxies.iter().filter_map(|text| text.parse().ok()).collect(),
                header: Header::parse(&config.http.forwarded_header).unwrap_or_default(),
            },
        })))
    }

    pub(super) fn provider(&self) -> Option<&Provider> {
        self.0.provider.as_ref()
    }

    pub(super) fn public_url(&self) -> &str {
        &self.0.public_url
    }

    pub(super) fn life(&self) -> Life {
        self.0.life
    }

    /// Who calls: the other end of the connection, or whom a trusted proxy at that end names.
    pub(super) fn caller(&self, Peer(peer): Peer, headers: &HeaderMap) -> Peer {
        Peer(SocketAddr::new(self.0.proxies.caller(peer.ip(), headers), peer.port()))
    }

    pub(super) fn failures(&self) -> &Attempts {
        &self.0.failures
    }

    pub(super) fn beginnings(&self) -> &Attempts {
        &self.0.beginnings
    }

    /// The name that a cookie has in browsers. Over HTTPS it has the prefix that lets no other host set it.
    fn name_of(&self, cookie: &str) -> String {
        if self.0.secure { format!("__Host-{cookie}") } else { cookie.to_owned() }
    }

    /// The cookie of this name; none if there are several: one of them is not ours.
    pub(super) fn cookie<'h>(&self, headers: &'h HeaderMap, cookie: &str) -> Option<&'h str> {
        super::auth::cookie(headers, &self.name_of(cookie))
    }

    /// Lets a browser keep a cookie for so long; zero takes it away.
    pub(super) fn set_cookie(&self, headers: &mut HeaderMap, cookie: &str, value: &str, lasts: Duration) {
        let secure = if self.0.secure { "; Secure" } else { "" };
        let (name, seconds) = (self.name_of(cookie), lasts.as_secs());
        // Lax and not Strict: somebody who comes back from the provider, or by a link in a mail, is to be known.
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
        if let Ok(text) = HeaderValue::from_str(&text) {
            headers.append(SET_COOKIE, text);
        }
    }
}

/// Counts attempts in this process: of each address, and of all. Secrets are too long to be guessed; this keeps the noise small.
#[derive(Debug)]
pub(super) struct Attempts {
    of_one: u32,
    of_all: u32,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    since: i64,
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

impl Attempts {
    fn new((of_one, of_all): (u32, u32)) -> Self {
        Self { of_one, of_all, counted: Mutex::default() }
    }

    /// Whether somebody at this address may try (again).
    pub(super) fn may(&self, from: Option<Peer>, now: i64) -> bool {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if now - counted.since >= WINDOW_MS {
            return true;
        }
        let own = counted.by_address.get(&address(from)).copied().unwrap_or_default();
        own < self.of_one && counted.all < self.of_all
    }

    /// Counts an attempt.
    pub(super) fn count(&self, from: Option<Peer>, now: i64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if now - counted.since >= WINDOW_MS {
            *counted = Counted { since: now, ..Counted::default() };
        }
        counted.all += 1;
        *counted.by_address.entry(address(from)).or_default() += 1;
    }
}

/// An IPv6 customer has a whole network of addresses: it counts as one.
fn address(from: Option<Peer>) -> IpAddr {
    match from.map(|Peer(address)| address.ip().to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer(text.parse().unwrap())
    }

    #[test]
    fn one_address_and_all_together_have_limits_that_end() {
        let attempts = Attempts::new((2, 3));
        let (ann, bob, eve) = (Some(peer("192.0.2.1:1")), Some(peer("192.0.2.2:1")), Some(peer("192.0.2.3:1")));
        attempts.count(ann, 1_000_000);
        assert!(attempts.may(ann, 1_000_000));
        attempts.count(Some(peer("192.0.2.1:9")), 1_000_000);
        assert!(!attempts.may(ann, 1_000_001) && attempts.may(bob, 1_000_001), "another port is the same address");
        attempts.count(bob, 1_000_001);
        assert!(!attempts.may(eve, 1_000_002), "all together");
        assert!(attempts.may(ann, 1_000_000 + WINDOW_MS));
        attempts.count(ann, 1_000_000 + WINDOW_MS);
        assert!(attempts.may(eve, 1_000_000 + WINDOW_MS));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let attempts = Attempts::new((1, 9));
        attempts.count(Some(peer("[2001:db8:1:2::1]:1")), 1_000_000);
        assert!(!attempts.may(Some(peer("[2001:db8:1:2:ffff::9]:1")), 1_000_000));
        assert!(attempts.may(Some(peer("[2001:db8:1:3::1]:1")), 1_000_000));
        attempts.count(Some(peer("192.0.2.1:1")), 1_000_000);
        assert!(!attempts.may(Some(peer("[::ffff:192.0.2.1]:1")), 1_000_000));
    }
}
