//! The field's terms as closed sets: a [`RequestType`] is the right a person uses, a [`Verb`] what is done about it in one system.

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants have one stable spelling each, used in the API, the database and the logs.
macro_rules! spelled {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The spelling used in the API, the database and the logs.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            /// The value of this exact spelling, if there is one.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(self.as_str()) }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::unknown_variant(&text, &[$($text),+]))
            }
        }
    };
}
pub(crate) use spelled;

spelled! {
    /// The right that a data subject uses.
    RequestType {
        /// A copy of the data and the facts about their use (GDPR Art. 15; CCPA right to know).
        Access = "access",
        /// The data in a machine-readable form (GDPR Art. 20).
        Portability = "portability",
        /// Inaccurate data are put right (GDPR Art. 16; CCPA right to correct).
        Correction = "correction",
        /// The data are erased (GDPR Art. 17; CCPA right to delete).
        Deletion = "deletion",
        /// The data are kept but not used (GDPR Art. 18).
        Restriction = "restriction",
        /// A use of the data ends (GDPR Art. 21; CCPA opt-out).
        Objection = "objection",
    }
}

impl RequestType {
    /// What is done in each connected system to honour this right.
    pub const fn verb(self) -> Verb {
        match self {
            RequestType::Access | RequestType::Portability => Verb::Export,
            RequestType::Correction => Verb::Rectify,
            RequestType::Deletion => Verb::Erase,
            RequestType::Restriction => Verb::Restrict,
            RequestType::Objection => Verb::Suppress,
        }
    }
}

spelled! {
    /// What a step does in one connected system.
    Verb {
        /// Finds the person's records and changes nothing.
        Discover = "discover",
        /// Copies the person's records out.
        Export = "export",
        /// Changes declared fields of the person's records.
        Rectify = "rectify",
        /// Removes the person's records or their personal values.
        Erase = "erase",
        /// Marks the person's records as not to be used.
        Restrict = "restrict",
        /// Stops a use, such as marketing, for the person.
        Suppress = "suppress",
        /// Reads again to see that an earlier verb took effect.
        Verify = "verify",
    }
}

impl Verb {
    /// Whether the effect must be seen in a second read before the step counts: everything that changes a system.
    pub const fn must_be_verified(self) -> bool {
        matches!(self, Verb::Rectify | Verb::Erase | Verb::Restrict | Verb::Suppress)
    }
}

/// A fault in something a caller sent: where it is (an RFC 6901 JSON pointer) and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// RFC 6901 pointer into the caller's document, `""` for the whole.
    pub pointer: String,
    /// What is wrong and what would be right; never the value itself, which may be personal.
    pub detail: String,
}

impl Fault {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}
