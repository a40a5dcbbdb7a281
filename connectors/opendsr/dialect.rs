//! A dialect is how one processor's OpenDSR differs from the text of the specification.

use crate::report::sha256_hex;
use redress_domain::{Identifier, IdentifierType, Personal};
use ring::digest;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Which OpenDSR is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// OpenDSR 2.0 (2020).
    V2,
    /// OpenGDPR 1.0 (2018), which every party must still honour (section 10.1).
    V1,
    /// mParticle's `/v2`: the specification, `raw` identities only, errors not wrapped.
    MParticle,
    /// mParticle's `/v3`: identities are a dictionary.
    MParticleV3,
    /// AppsFlyer: its own paths and status words.
    AppsFlyer,
}

impl Dialect {
    /// The dialect of this name in the settings.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "spec" => Self::V2,
            "spec_v1" => Self::V1,
            "mparticle" => Self::MParticle,
            "mparticle_v3" => Self::MParticleV3,
            "appsflyer" => Self::AppsFlyer,
            _ => return None,
        })
    }

    /// Where it is, if there is one such place. Compared with the vendors' documentation on 2026-11-22.
    pub(super) const fn home(self) -> Option<&'static str> {
        match self {
            Self::V1 | Self::V2 => None,
            Self::MParticle => Some("https://opendsr.mparticle.com/v2"),
            Self::MParticleV3 => Some("https://opendsr.mparticle.com/v3"),
            Self::AppsFlyer => Some("https://hq1.appsflyer.com/api/gdpr/v1"),
        }
    }

    /// A host besides its own at which it publishes its certificate.
    pub(super) const fn certificate_host(self) -> Option<&'static str> {
        match self {
            Self::MParticle | Self::MParticleV3 => Some("https://static.mparticle.com"),
            _ => None,
        }
    }

    /// Path of requests, below the base URL.
    pub(super) const fn requests(self) -> &'static str {
        match self {
            Self::V2 | Self::MParticle | Self::MParticleV3 => "requests",
            Self::V1 => "opengdpr_requests",
            Self::AppsFlyer => "opendsr_requests",
        }
    }

    /// AppsFlyer does not say which versions it knows, and does not ask for one.
    const fn api_version(self) -> Option<&'static str> {
        match self {
            Self::V2 | Self::MParticle => Some("2.0"),
            Self::V1 => Some("1.0"),
            Self::MParticleV3 => Some("3.0"),
            Self::AppsFlyer => None,
        }
    }

    /// Whether hashed identities are taken.
    pub(super) const fn takes_hashes(self) -> bool {
        matches!(self, Self::V1 | Self::V2)
    }

    /// Identity types by our identifier types, unless the settings say otherwise.
    pub(super) const fn identities(self) -> &'static [(IdentifierType, &'static str)] {
        match self {
            Self::AppsFlyer => &[],
            _ => &[(IdentifierType::CustomerId, "controller_customer_id"), (IdentifierType::Email, "email")],
        }
    }

    /// The body of a request.
    pub(super) fn request(self, order: &Order<'_>) -> Result<Value, TooMany> {
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
        put("subject_request_id", json!(order.id));
        put("subject_request_type", json!(order.kind));
        put("submitted_time", json!(order.submitted));
        if let Some(version) = self.api_version() {
            put("api_version", json!(version));
        }
        if matches!(self, Self::V2 | Self::MParticle | Self::MParticleV3) {
            put("regulation", json!(order.regulation));
        }
        if self == Self::MParticleV3 {
            let mut identities = Map::new();
            for (kind, value) in &order.identities {
                let entry = json!({"value": value.expose(), "encoding": "raw"});
                if identities.insert((*kind).to_owned(), entry).is_some() {
                    return Err(TooMany);
                }
            }
            put("subject_identities", Value::Object(identities));
        } else {
            let identity = |(kind, value): &(&str, Personal<String>)| json!({"identity_type": kind, "identity_value": value.expose(), "identity_format": order.format});
            put("subject_identities", order.identities.iter().map(identity).collect());
        }
        if let Some(property) = order.property_id {
            put("property_id", json!(property));
        }
        Ok(Value::Object(body))
    }

    /// What a status word means; none if it is none of this dialect.
    pub(super) fn stage(self, word: &str) -> Option<Stage> {
        Some(match (self, word) {
            (_, "pending") | (Self::AppsFlyer, "in-progress") => Stage::Running,
            (_, "completed") => Stage::Completed,
            (Self::AppsFlyer, "canceled") => Stage::Cancelled,
            (Self::AppsFlyer, _) => return None,
            (_, "in_progress") => Stage::Running,
            (_, "cancelled") => Stage::Cancelled,
            _ => return None,
        })
    }
}

/// One identity type was given twice to a dialect that takes each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// What a status word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was taken and is not done.
    Running,
    /// It was fulfilled.
    Completed,
    /// It was not and will not be.
    Cancelled,
}

/// What is asked for.
pub(super) struct Order<'a> {
    pub(super) id: &'a str,
    pub(super) kind: &'static str,
    pub(super) submitted: &'a str,
    pub(super) regulation: &'a str,
    pub(super) format: Format,
    pub(super) identities: Vec<(&'a str, Personal<String>)>,
    pub(super) property_id: Option<&'a str>,
}

/// How identities are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// As they are.
    Raw,
    /// SHA-256 in hex, of the normal form.
    Sha256,
    /// SHA-1 in hex, of the normal form.
    Sha1,
}

impl Format {
    /// The format of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "raw" => Self::Raw,
            "sha256" => Self::Sha256,
            "sha1" => Self::Sha1,
            _ => return None,
        })
    }

    /// An identifier in this format. The text form of hashes is not specified; lower-case hex is what the public code expects.
    pub(super) fn write(self, identifier: &Identifier) -> Personal<String> {
        let normal = identifier.normal().expose();
        match self {
            Self::Raw => normal.clone(),
            Self::Sha256 => sha256_hex(normal.as_bytes()),
            Self::Sha1 => {
                let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, normal.as_bytes());
                hash.as_ref().iter().fold(String::new(), |mut text, byte| {
                    let _never_fails = write!(text, "{byte:02x}");
                    text
                })
            }
        }
        .into()
    }
}
