//! The settings of an OpenDSR downstream.

use super::dialect::{Dialect, Format};
use super::signature::{Chain, Signing};
use crate::settings::Settings;
use crate::{Secret, SpecFault, SystemSpec};
use redress_domain::IdentifierType;
use std::time::Duration;
use url::Url;

/// How the processor is signed in to.
#[derive(Clone)]
pub(super) enum Access {
    /// Not at all.
    Open,
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: Basic`.
    Basic(Secret, Secret),
}

/// A processor as configured.
pub(super) struct Config {
    pub(super) dialect: Dialect,
    pub(super) base: Url,
    /// Further hosts at which results and certificates may be fetched.
    pub(super) hosts: Vec<Url>,
    pub(super) domain: String,
    pub(super) regulation: String,
    pub(super) format: Format,
    pub(super) identities: Vec<(IdentifierType, String)>,
    pub(super) property_id: Option<String>,
    pub(super) access: Access,
    pub(super) signing: Signing,
    pub(super) certificate: Option<Chain>,
    pub(super) every: Duration,
}

/// One of `choices`, or the fallback.
fn choice<T>(
    settings: &mut Settings<'_>,
    key: &'static str,
    named: fn(&str) -> Option<T>,
    words: &str,
    otherwise: T,
) -> T {
    let Some(word) = settings.text(key) else { return otherwise };
    named(&word).unwrap_or_else(|| {
        settings.fault(key, format!("must be one of {words}"));
        otherwise
    })
}

/// A URL that the network admits: https, unless the operator wrote the system down.
pub(crate) fn url(settings: &mut Settings<'_>, spec: &SystemSpec, key: &str, text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| {
        url.host_str().is_some()
            && url.username().is_empty()
            && url.query().is_none()
            && url.fragment().is_none()
            && (url.scheme() == "https" || (url.scheme() == "http" && spec.network.is_anywhere()))
    });
    if url.is_none() {
        settings.fault(key, "must be an https URL without user name, query and fragment");
    }
    url
}

pub(super) fn read(spec: &SystemSpec) -> Result<Config, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let s = &mut settings;
    let words = "spec, spec_v1, mparticle, mparticle_v3, appsflyer";
    let dialect = choice(s, "dialect", Dialect::named, words, Dialect::V2);
    let base = match (s.text("base_url"), dialect.home()) {
        (Some(text), _) => url(s, spec, "base_url", &text),
        (None, Some(home)) => Url::parse(home).ok(),
        (None, None) => {
            s.fault(
                "base_url",
                "is missing: the processor's URL with its major version, such as https://opendsr.example.com/v2",
            );
            None
        }
    };
    let mut hosts = Vec::new();
    for text in s.texts("hosts").unwrap_or_default() {
        let host = if text.contains("://") { text } else { format!("https://{text}") };
        hosts.extend(url(s, spec, "hosts", &host));
    }
    hosts.extend(dialect.certificate_host().and_then(|host| Url::parse(host).ok()));
    let regulation = s.text("regulation").unwrap_or_else(|| "gdpr".into());
    if !["gdpr", "ccpa"].contains(&regulation.as_str()) {
        s.fault("regulation", "must be gdpr or ccpa");
    }
    let format = choice(s, "identity_format", Format::named, "raw, sha256, sha1", Format::Raw);
    if format != Format::Raw && !dialect.takes_hashes() {
        s.fault("identity_format", "must be raw: this processor takes no hashes");
    }
    let identities = identities(s, dialect);
    let property_id = s.text("property_id");
    if dialect == Dialect::AppsFlyer && property_id.is_none() {
        s.fault("property_id", "is missing: AppsFlyer's id of the app");
    } else if dialect != Dialect::AppsFlyer && property_id.is_some() {
        s.fault("property_id", "belongs to AppsFlyer only");
    }
    // Whether vendors sign every answer is not documented as clearly as the specification demands it.
    let usual = if dialect.home().is_some() { Signing::IfPresent } else { Signing::Required };
    let signing = choice(s, "signatures", Signing::named, "required, if_present, off", usual);
    let certificate = s.multiline("certificate").and_then(|pem| {
        let chain = Chain::from_pem(pem.as_bytes());
        if chain.is_none() {
            s.fault("certificate", "must be certificates in PEM, the processor's own first");
        }
        chain
    });
    let host = base.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned();
    let domain = s.text("domain").unwrap_or(host);
    let every = Duration::from_secs(s.number("check_every_seconds", 1..=86_400).unwrap_or(3_600));
    let has = |name: &str| spec.secrets.contains_key(name);
    let wanted: &[&str] = match dialect {
        Dialect::AppsFlyer => &["token"],
        Dialect::MParticle | Dialect::MParticleV3 => &["key", "secret"],
        _ if has("token") => &["token"],
        _ if has("key") || has("secret") => &["key", "secret"],
        _ => &[],
    };
    let secret = |name: &str| spec.secrets.get(name).cloned();
    let access = match (secret("token"), secret("key"), secret("secret")) {
        (Some(token), None, None) => Access::Bearer(token),
        (_, Some(key), Some(secret)) => Access::Basic(key, secret),
        _ => Access::Open,
    };
    let faults = settings.finish(wanted);
    match base {
        Some(base) if faults.is_empty() => Ok(Config {
            dialect,
            base,
            hosts,
            domain,
            regulation,
            format,
            identities,
            property_id,
            access,
            signing,
            certificate,
            every,
        }),
        _ => Err(faults),
    }
}

fn identities(settings: &mut Settings<'_>, dialect: Dialect) -> Vec<(IdentifierType, String)> {
    let Some(map) = settings.value("identities") else {
        let usual: Vec<_> = dialect.identities().iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect();
        if usual.is_empty() {
            settings
                .fault("identities", "is missing: our identifier type -> the processor's, such as { user_id = \"…\" }");
        }
        return usual;
    };
    let mut all: Vec<(IdentifierType, String)> = Vec::new();
    for (kind, name) in map.as_object().into_iter().flatten() {
        let name = name
            .as_str()
            .filter(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        match (IdentifierType::parse(kind), name) {
            (Some(kind), Some(name)) => all.push((kind, name.to_owned())),
            _ => settings.fault(
                "identities",
                "must map customer_id, crm_id, lead_id, user_id, email or phone to identity types",
            ),
        }
    }
    if all.is_empty() {
        settings.fault("identities", "must map at least one identifier type");
    }
    all.sort_by_key(|(kind, _)| *kind);
    all
}
