//! The configuration is what the operator says about one process: `config/default.toml`, then a file, then the environment.
//!
//! [`Config::load`] settles every key, names every fault at once, and is the only reader of the environment
//! ([`Environment::of_process`]). No fault quotes a value: it may be a password.

mod checks;
pub mod document;
mod environment;
mod layers;
#[cfg(test)]
mod tests;

pub use environment::Environment;

use redress_domain::Personal;
use redress_jobs::message::{Smtp, StartTls};
use redress_store::Life;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::{Host, Url};

/// Every key with its default and what it means: the first layer, and the schema of the others.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// A URL that may carry a password; it does not show in `Debug`.
pub type SecretUrl = Personal<String>;

/// The settled configuration of one process. The keys are explained in `config/default.toml` ([`DEFAULT`]).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where one machine keeps its own files.
    pub data_dir: PathBuf,
    /// Where every row is held.
    pub database: Database,
    /// What several processes share beside the database.
    pub redis: Redis,
    /// How callers reach the service.
    pub http: Http,
    /// How long people stay signed in.
    pub board: Board,
    /// Where people sign in.
    pub oidc: Oidc,
    /// What opens the sealed values.
    pub keys: Keys,
    /// How this process works on steps.
    pub worker: Worker,
    /// How long things are kept.
    pub requests: Requests,
    /// What dates are computed by.
    pub deadlines: Deadlines,
    /// Who we are, for the record of processing.
    pub processor: Processor,
    /// Where calls that callers ask for may go.
    pub outbound: Outbound,
    /// What systems are reached with.
    pub connectors: Connectors,
    /// How people are told what the watch has seen.
    pub watch: Watch,
    /// How mail is sent.
    pub smtp: SmtpKeys,
    /// What is logged, and how.
    pub log: Log,
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The URL that was given; see [`Config::database_url`] for the one to use.
    #[serde(deserialize_with = "secret_or_none")]
    pub url: Option<SecretUrl>,
    /// Connections that this process opens at most.
    pub max_connections: u32,
    /// How long one attempt to connect may take.
    pub connect_timeout_seconds: u64,
}

/// `[redis]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// None on one machine.
    #[serde(deserialize_with = "secret_or_none")]
    pub url: Option<SecretUrl>,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// What the service listens on.
    pub listen: SocketAddr,
    /// The URL that was given; see [`Config::public_url`] for the one to use.
    #[serde(deserialize_with = "text_or_none")]
    pub public_url: Option<String>,
    /// The longest request body that is taken.
    pub body_limit_bytes: usize,
    /// How long a call may take.
    pub request_timeout_seconds: u64,
    /// Proxies whose word is taken for who called them: addresses and networks.
    pub trusted_proxies: Vec<String>,
    /// The header in which they say it.
    pub forwarded_header: String,
}

/// `[board]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// When a session ends whatever happens.
    pub session_hours: u32,
    /// When a session ends without a call.
    pub idle_minutes: u32,
}

impl Board {
    /// How long a session may be.
    pub fn life(&self) -> Life {
        Life {
            lasts: Duration::from_hours(u64::from(self.session_hours)),
            idle: Duration::from_mins(u64::from(self.idle_minutes)),
        }
    }
}

/// `[oidc]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The identity provider; none if people do not sign in at one.
    #[serde(deserialize_with = "text_or_none")]
    pub issuer: Option<String>,
    /// Who we are there.
    pub client_id: String,
    /// None for a public client.
    #[serde(deserialize_with = "secret_or_none")]
    pub client_secret: Option<SecretUrl>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// `group = role`
    pub roles: Vec<String>,
    /// `group = controller`
    pub controllers: Vec<String>,
    /// Groups that see every controller.
    pub everything: Vec<String>,
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The file that was given, which must exist; see [`Config::master_key_file`] for the one to use.
    #[serde(deserialize_with = "path_or_none")]
    pub master_key_file: Option<PathBuf>,
}

/// `[worker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Connector calls at the same time.
    pub concurrency: usize,
    /// When a lost wake-up is made up for.
    pub poll_interval_ms: u64,
    /// How long a step belongs to a silent worker.
    pub lease_seconds: u64,
    /// How often a worker renews its leases; less than half of `lease_seconds`.
    pub renew_seconds: u64,
    /// Most steps of one claim.
    pub batch: usize,
    /// How long running calls may go on after SIGTERM.
    pub shutdown_grace_seconds: u64,
    /// The longest one call of a connector may take.
    pub call_limit_seconds: u64,
    /// How long a part of a worker may stand still before the process is not ready; after twice as long it ends.
    pub watchdog_seconds: u64,
    /// How often everything that is due is looked for anew.
    pub sweep_interval_seconds: u64,
    /// How often the fleet foresees when each open request ends.
    pub forecast_interval_seconds: u64,
}

/// `[requests]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// How long an access package can be fetched.
    pub package_expires_days: u32,
    /// How long personal data outlive the request's end.
    pub personal_data_kept_days_after_close: u32,
}

/// `[deadlines]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// The table of regulations; none for the one built in.
    #[serde(deserialize_with = "path_or_none")]
    pub regulations_file: Option<PathBuf>,
    /// The folder of holiday calendars; none for those built in.
    #[serde(deserialize_with = "path_or_none")]
    pub calendars_dir: Option<PathBuf>,
}

/// `[processor]`: Art. 30(2)(a) and (d) GDPR.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// Its name.
    #[serde(deserialize_with = "text_or_none")]
    pub name: Option<String>,
    /// How it is reached about data protection.
    #[serde(deserialize_with = "text_or_none")]
    pub contact: Option<String>,
    /// Its postal address.
    #[serde(deserialize_with = "text_or_none")]
    pub address: Option<String>,
    /// Its data protection officer, with contact details.
    #[serde(deserialize_with = "text_or_none")]
    pub dpo: Option<String>,
    /// Its representative in the Union, with contact details.
    #[serde(deserialize_with = "text_or_none")]
    pub representative: Option<String>,
    /// Its technical and organizational measures, beside those of this software.
    pub security_measures: Vec<String>,
}

/// `[outbound]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// Host names, addresses and networks that callers may name although they are not public; checked, and meant for
    /// [`redress_jobs::outbound::OutboundPolicy::parse`].
    pub allow: Vec<String>,
}

/// `[connectors]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connectors {
    /// The folder of the operator's own manifests; none if there are none.
    #[serde(deserialize_with = "path_or_none")]
    pub manifests: Option<PathBuf>,
}

/// `[watch]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The full hour of a working morning at which digests are sent.
    pub digest_hour: i8,
    /// Between two messages that people of one route are told at once.
    pub apart_seconds: u64,
}

/// `[smtp]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpKeys {
    /// None if no mail is sent.
    #[serde(deserialize_with = "secret_or_none")]
    pub url: Option<SecretUrl>,
    /// Who the mail is from.
    pub from: String,
    /// `required`, `if_offered` or `never`.
    pub starttls: String,
    /// More certificate authorities, PEM.
    pub ca: String,
}

impl SmtpKeys {
    /// What a mailer is made from, if there is a server.
    pub fn settings(&self) -> Option<Smtp> {
        let url = self.url.clone()?;
        let starttls = StartTls::parse(&self.starttls).unwrap_or(StartTls::Required);
        Some(Smtp { url, from: self.from.clone(), starttls, ca: self.ca.clone() })
    }
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged: directives of `tracing_subscriber::EnvFilter`.
    pub filter: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For machines: one object per line.
    Json,
}

impl Config {
    /// Settles the configuration from its layers. `env` are variables with their values; those that are not ours are
    /// skipped, those that begin with `REDRESS_` must be known.
    pub fn load(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigFaults> {
        let (settled, mut faults) = layers::settle(file, env);
        checks::check(&settled, &mut faults);
        if faults.is_empty() {
            let tree = layers::tree(&settled);
            match serde_json::from_value(tree) {
                Ok(config) => return Ok(config),
                // The checks stand before it; what they miss is still an error and not a panic.
                Err(error) => faults.push(ConfigFault::new("configuration", "all layers", error.to_string())),
            }
        }
        Err(ConfigFaults(faults))
    }

    /// [`Config::load`] with this process's environment.
    pub fn load_here(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigFaults> {
        let loaded = Self::load(file, environment.variables());
        let unreadable: Vec<ConfigFault> = environment
            .unreadable()
            .map(|name| ConfigFault::new(name, "environment", "its value is not UTF-8 text".to_owned()))
            .collect();
        match loaded {
            Ok(config) if unreadable.is_empty() => Ok(config),
            Ok(_) => Err(ConfigFaults(unreadable)),
            Err(ConfigFaults(mut faults)) => {
                faults.extend(unreadable);
                Err(ConfigFaults(faults))
            }
        }
    }

    /// The database to use: the one given, else SQLite in `data_dir`.
    pub fn database_url(&self) -> SecretUrl {
        self.database.url.clone().unwrap_or_else(|| {
            let path = self.data_dir.join("redress.db");
            // The characters that end or escape the path of a URL.
            let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
            SecretUrl::from(format!("sqlite://{path}"))
        })
    }

    /// The master key's file to use: the one given, else `master.key` in `data_dir`, which may be created
    /// (`keys.master_key_file` is none).
    pub fn master_key_file(&self) -> PathBuf {
        self.keys.master_key_file.clone().unwrap_or_else(|| self.data_dir.join("master.key"))
    }

    /// Whether callers reach the service without encryption, on this machine only.
    pub fn is_plain_and_local(&self) -> bool {
        is_plain_and_local(&self.public_url())
    }

    /// Where callers reach the service, without a slash at the end.
    pub fn public_url(&self) -> String {
        match &self.http.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.http.listen),
        }
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFaults(pub Vec<ConfigFault>);

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key, such as `worker.lease_seconds`.
    pub key: String,
    /// Who said so: a file and line, or a variable.
    pub origin: String,
    /// What is wrong and what would be right; never the value.
    pub detail: String,
}

impl ConfigFault {
    fn new(key: impl Into<String>, origin: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { key: key.into(), origin: origin.into(), detail: detail.into() }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.detail)
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}

/// Whether a URL is `http` on a loopback address.
pub(crate) fn is_plain_and_local(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    url.scheme() == "http"
        && match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

/// In `default.toml` an empty text stands for "none": TOML has no null.
fn text_or_none<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(d)?;
    Ok((!text.is_empty()).then_some(text))
}

fn secret_or_none<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SecretUrl>, D::Error> {
    Ok(text_or_none(d)?.map(SecretUrl::from))
}

fn path_or_none<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(text_or_none(d)?.map(PathBuf::from))
}

/// What kind of value a key wants, seen from its default.
fn kind(default: &Value) -> &'static str {
    match default {
        Value::Number(_) => "a whole number",
        Value::Bool(_) => "true or false",
        Value::Array(_) => "a list of texts",
        _ => "a text",
    }
}
