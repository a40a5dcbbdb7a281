//! An id names one row for ever: a prefix that tells its kind and 26 characters that sort by time of creation.
//!
//! The 26 characters are a ULID in lower case: 48 bits of milliseconds, 80 bits of randomness, Crockford's base 32.

use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ followed by 26 characters")]
pub struct BadId {
    /// The prefix that was wanted.
    pub prefix: &'static str,
}

fn encode(unix_ms: u64, random: [u8; 10]) -> String {
    let mut bits = u128::from(unix_ms & 0xffff_ffff_ffff) << 80;
    for (i, byte) in random.iter().enumerate() {
        bits |= u128::from(*byte) << (72 - 8 * i);
    }
    (0..26).rev().map(|i| char::from(ALPHABET[((bits >> (5 * i)) & 31) as usize])).collect()
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// What ids of this kind begin with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id from the present moment (Unix milliseconds) and ten random bytes, both given by the caller.
            pub fn from_parts(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(format!("{}_{}", $prefix, encode(unix_ms, random)))
            }

            /// Reads an id of this kind.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                let bad = BadId { prefix: $prefix };
                let rest = text.strip_prefix(concat!($prefix, "_")).ok_or(bad)?;
                if rest.len() == 26 && rest.bytes().all(|b| ALPHABET.contains(&b)) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(bad)
                }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// Names one data subject request.
    DsrId, "dsr"
}
id! {
    /// Names one step: one verb of one request on one connected system.
    StepId, "stp"
}
id! {
    /// Names one controller, our customer.
    ControllerId, "ctl"
}
id! {
    /// Names one connected system of one controller.
    SystemId, "sys"
}
id! {
    /// Names one API key.
    KeyId, "key"
}
id! {
    /// Names one event of the audit log.
    EventId, "evt"
}
id! {
    /// Names one legal hold.
    HoldId, "hld"
}
id! {
    /// Names one notice: that something of a request has to be looked at.
    NoticeId, "ntc"
}
id! {
    /// Names one message that carries notices; it stays the same at every attempt.
    MessageId, "msg"
}
id! {
    /// Names one route: whom notices are told, and how.
    RouteId, "rte"
}
id! {
    /// Names one person who looks at the board.
    UserId, "usr"
}
id! {
    /// Names one standing webhook endpoint of a controller.
    WebhookId, "whk"
}
id! {
    /// Names one session: one browser of one person who signed in.
    SessionId, "ses"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_their_time_and_read_back() {
        let early = DsrId::from_parts(1_700_000_000_000, [0xff; 10]);
        let late = DsrId::from_parts(1_700_000_000_001, [0; 10]);
        assert!(early < late);
        assert_eq!(DsrId::parse(early.as_str()), Ok(early.clone()));
        assert_eq!(early.as_str().len(), 30);
    }

    #[test]
    fn the_encoding_is_that_of_the_ulid_specification() {
        // Computed with the reference implementation: 2^48-1 ms and all-ones randomness is the largest ULID.
        let id = DsrId::from_parts(0xffff_ffff_ffff, [0xff; 10]);
        assert_eq!(id.as_str(), "dsr_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }

    #[test]
    fn an_id_of_another_kind_or_with_path_parts_is_refused() {
        for text in [
            "stp_01aryz6s410000000000000000",
            "dsr_../../etc/passwd0000000000",
            "dsr_",
            "",
            "dsr_01ARYZ6S410000000000000000",
        ] {
            assert!(DsrId::parse(text).is_err(), "{text}");
        }
    }
}
