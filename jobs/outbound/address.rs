//! An address is global if packets to it leave for the public internet, by IANA's special-purpose registries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of IPv4 that are not the public internet.
const NOT_GLOBAL_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),           // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carrier-grade NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, with the clouds' metadata services
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, with the broadcast address
];

/// The one range of IPv6 that is handed out for the public internet …
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// … and what in it is not. Loopback, mapped IPv4, NAT64, unique local, link-local and multicast lie outside anyway.
const NOT_GLOBAL_V6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, with Teredo and benchmarks
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4, which carries an IPv4 address
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Whether packets to this address leave for the public internet.
pub fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => !NOT_GLOBAL_V4.iter().any(|(base, prefix)| in_range(ip, IpAddr::V4(*base), *prefix)),
        // Not unwrapped first: an address that hides another one in itself has no honest use here.
        IpAddr::V6(_) => {
            in_range(ip, IpAddr::V6(GLOBAL_V6.0), GLOBAL_V6.1)
                && !NOT_GLOBAL_V6.iter().any(|(base, prefix)| in_range(ip, IpAddr::V6(*base), *prefix))
        }
    }
}

/// Whether an address lies in a range. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) lies where the IPv4 one does.
pub(super) fn in_range(ip: IpAddr, base: IpAddr, prefix: u8) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let low = width.saturating_sub(u32::from(prefix));
        a.checked_shr(low).unwrap_or(0) == b.checked_shr(low).unwrap_or(0)
    };
    match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => same(ip.to_bits().into(), base.to_bits().into(), 32),
        (IpAddr::V6(ip), IpAddr::V6(base)) => same(ip.to_bits(), base.to_bits(), 128),
        (IpAddr::V6(ip), IpAddr::V4(_)) => ip.to_ipv4_mapped().is_some_and(|ip| in_range(IpAddr::V4(ip), base, prefix)),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}
