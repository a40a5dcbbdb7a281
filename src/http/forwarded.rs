//! Behind a proxy the other end of a connection is the proxy: who called it stands in a header, which is worth as much as whoever
//! wrote it.
//!
//! Each proxy adds the address that it was called from at the right. So the list is read from the right: as long as a hop is one of
//! the proxies that the operator trusts, what stands left of it was written by it; the first that is not is the caller. Whatever
//! stands further left may have been sent by the caller, and is not looked at; nor is any header of somebody who is no trusted proxy.

use axum::http::HeaderMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Hops that are looked at.
const HOPS_MAX: usize = 32;

/// An address, or a network of them: `10.0.0.7`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    base: IpAddr,
    prefix: u8,
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.parse().map_err(|_| ())?;
        let whole = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => whole,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| ())?
            }
            Some(_) => return Err(()),
        };
        // A network of everything would believe anybody.
        if prefix == 0 || prefix > whole || base.to_canonical() != base {
            return Err(());
        }
        Ok(Self { base, prefix })
    }
}

impl Network {
    fn contains(self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => (base.to_bits() ^ ip.to_bits()) >> (32 - self.prefix) == 0,
            (IpAddr::V6(base), IpAddr::V6(ip)) => (base.to_bits() ^ ip.to_bits()) >> (128 - self.prefix) == 0,
            _ => false,
        }
    }
}

/// The header in which the trusted proxies say who called them. Only that one is read: the other may have come from anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Header {
    /// `X-Forwarded-For`
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

impl Header {
    /// The value of this spelling, if there is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "x-forwarded-for" => Some(Header::XForwardedFor),
            "forwarded" => Some(Header::Forwarded),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Header::XForwardedFor => "x-forwarded-for",
            Header::Forwarded => "forwarded",
        }
    }

    /// What the header says of one hop, if that is an address.
    fn hop(self, part: &str) -> Option<IpAddr> {
        match self {
            Header::XForwardedFor => address(part),
            Header::Forwarded => {
                let mut pairs = apart(part, ';').filter_map(|pair| pair.split_once('='));
                let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
                address(node.trim().trim_matches('"'))
            }
        }
    }
}

/// Proxies that the operator runs, whose word is taken for who called them.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    pub(super) trusted: Vec<Network>,
    pub(super) header: Header,
}

impl Proxies {
    /// Who called, where this address is at the other end of the connection.
    pub(super) fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut caller = peer.to_canonical();
        if !self.trusts(caller) {
            return caller;
        }
        // Several headers of a name are one list; a line that is no text is read as nothing, which ends the search there.
        let lines = headers.get_all(self.header.name()).iter().map(|value| value.to_str().unwrap_or("?"));
        let hops: Vec<&str> = lines.flat_map(|line| apart(line, ',')).collect();
        for part in hops.into_iter().rev().take(HOPS_MAX) {
            // A proxy that does not say whom it was called by is the last that is known.
            let Some(hop) = self.header.hop(part) else { return caller };
            caller = hop;
            if !self.trusts(caller) {
                return caller;
            }
        }
        caller
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(ip))
    }
}

/// The parts between these signs, as far as they do not stand in quotes.
fn apart(text: &str, sign: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c == sign && !quoted
    })
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    ip.ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(header: Header) -> Proxies {
        let trusted = ["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"].map(|text| text.parse().unwrap()).to_vec();
        Proxies { trusted, header }
    }

    fn caller(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let header = if headers.iter().any(|(name, _)| *name == "forwarded") && headers.len() == 1 {
            Header::Forwarded
        } else {
            Header::XForwardedFor
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        proxies(header).caller(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn the_first_from_the_right_who_is_no_proxy_of_ours_is_the_caller() {
        let of = |peer, text| caller(peer, &[("x-forwarded-for", text)]);
        assert_eq!(of("10.1.2.3", "198.51.100.9"), "198.51.100.9");
        assert_eq!(of("10.1.2.3", "198.51.100.9, 192.0.2.7, 10.9.9.9"), "198.51.100.9");
        assert_eq!(of("10.1.2.3", "198.51.100.9:4711"), "198.51.100.9");
        assert_eq!(of("::ffff:10.1.2.3", "[2001:db8:2::9]:443"), "2001:db8:2::9");
        assert_eq!(of("2001:db8:1::5", "::ffff:198.51.100.9"), "198.51.100.9");
        assert_eq!(of("10.1.2.3", "10.4.4.4,10.5.5.5"), "10.4.4.4", "all of them are ours");
        let two_lines = caller("10.1.2.3", &[("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "198.51.100.9")]);
        assert_eq!(two_lines, "198.51.100.9", "several headers are one list");
    }

    #[test]
    fn nobody_chooses_their_own_address() {
        let of = |peer, text| caller(peer, &[("x-forwarded-for", text)]);
        // Not through a proxy of ours: no word of theirs counts.
        assert_eq!(of("203.0.113.5", "198.51.100.9"), "203.0.113.5");
        assert_eq!(of("192.0.2.8", "10.0.0.1"), "192.0.2.8");
        // Through one: what they sent along stands left of what the proxy added.
        assert_eq!(of("10.1.2.3", "1.1.1.1, 203.0.113.5"), "203.0.113.5");
        assert_eq!(of("10.1.2.3", "10.0.0.1, 203.0.113.5"), "203.0.113.5", "nor can they pass for a proxy");
        assert_eq!(
            of("10.1.2.3", "1.1.1.1, unknown, 10.5.5.5"),
            "10.5.5.5",
            "what is no address hides what stands left"
        );
        assert_eq!(of("10.1.2.3", "1.1.1.1,"), "10.1.2.3");
        assert_eq!(of("10.1.2.3", ""), "10.1.2.3");
        // A header that our proxies do not write is not read, whatever stands in it.
        let both = [("x-forwarded-for", "203.0.113.5"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(caller("10.1.2.3", &both), "203.0.113.5");
        let long = vec!["10.0.0.1"; 4_000].join(",");
        assert_eq!(of("10.1.2.3", &format!("1.1.1.1,{long}")), "10.0.0.1");
        // Without trusted proxies there are none.
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "1.1.1.1".parse().unwrap());
        assert_eq!(Proxies::default().caller("127.0.0.1".parse().unwrap(), &headers).to_string(), "127.0.0.1");
    }

    #[test]
    fn the_header_of_rfc_7239_is_read_likewise() {
        let of = |peer, text| caller(peer, &[("forwarded", text)]);
        assert_eq!(of("10.1.2.3", "for=198.51.100.9;proto=https;by=10.1.2.3"), "198.51.100.9");
        assert_eq!(of("10.1.2.3", "For=\"[2001:db8:2::9]:4711\""), "2001:db8:2::9");
        assert_eq!(
            of("10.1.2.3", "for=1.1.1.1, for=203.0.113.5;host=\"a,b;for=9.9.9.9\", for=10.2.2.2"),
            "203.0.113.5"
        );
        assert_eq!(of("10.1.2.3", "for=1.1.1.1, for=_hidden"), "10.1.2.3");
        assert_eq!(of("10.1.2.3", "proto=https"), "10.1.2.3");
        assert_eq!(of("203.0.113.5", "for=1.1.1.1"), "203.0.113.5");
    }

    #[test]
    fn a_network_is_written_as_one() {
        for text in ["10.0.0.0/8", "10.0.0.1", "2001:db8::/32", "::1"] {
            assert!(text.parse::<Network>().is_ok(), "{text}");
        }
        for text in [
            "",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "proxy",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let network: Network = "10.0.0.0/9".parse().unwrap();
        assert!(network.contains("10.127.0.1".parse().unwrap()) && !network.contains("10.128.0.1".parse().unwrap()));
        assert!(!network.contains("::a7f:1".parse().unwrap()));
    }
}
