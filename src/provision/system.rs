//! A connected system's definition is what is needed to reach it, what may be done there, and how carefully.

use super::reader::{Reader, is_name};
use crate::config::document::join;
use jiff::civil::Date;
use redress_connectors::spec::OnDelete;
use redress_connectors::{Secret, SystemSpec, TableSpec, registry};
use redress_domain::limits::Limits;
use redress_domain::words::Fault;
use redress_domain::{IdentifierType, RequestType};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One connected system, checked.
#[derive(Debug, Clone)]
pub struct SystemDef {
    /// The controller's name for it.
    pub name: String,
    /// What kind of system it is: `crm`, `marketing`, `email`, `database` …; free, for people and reports.
    pub family: String,
    /// Which connector reaches it.
    pub connector: String,
    /// The connector's settings; paths in them are absolute.
    pub settings: Map<String, Value>,
    /// Credentials by name, with where they came from.
    pub secrets: BTreeMap<String, SecretDef>,
    /// The types of request that the controller instructs us to carry out here; none means it did not say.
    pub allow: Option<Vec<RequestType>>,
    /// More matching records than this stop for a person.
    pub max_matches: u32,
    /// Declared tables; SQL connectors only.
    pub tables: Vec<TableSpec>,
    /// Most calls in a second, if there is a limit.
    pub rate_per_second: Option<f64>,
    /// What the vendor allows, in more detail than that.
    pub limits: Option<Limits>,
    /// The account at the vendor, if several systems of this controller use one and share its limits.
    pub account: Option<String>,
    /// Days that the system takes by itself after it was asked.
    pub completes_within_days: u32,
    /// The last day on which its credentials are good, if somebody knows it.
    pub credentials_expire_on: Option<Date>,
    /// Steps here wait until somebody resumes the system; none leaves that as it is.
    pub paused: Option<bool>,
}

/// A credential: the value in memory only, and where it came from.
#[derive(Debug, Clone)]
pub struct SecretDef {
    /// Where the value came from.
    pub source: SecretSource,
    /// The value.
    pub value: Secret,
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the process that reads the definition.
    Env(String),
    /// A file; a line break at its end is no part of the value.
    File(PathBuf),
    /// The definition itself.
    Value,
    /// What was stored before; the definition says nothing about secrets.
    Kept,
}

/// Who wrote a definition, and thereby what it may name.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    /// The operator, in a file: it may name variables and files of this machine.
    File {
        /// What relative paths are relative to.
        base_dir: &'a Path,
        /// Gives the value of a variable.
        env: &'a dyn Fn(&str) -> Option<String>,
    },
    /// A caller of the API: nothing on this machine, neither variables nor files, can be named. Whether the hosts
    /// that it names may be reached is for the caller of [`read_system`] to check.
    Api {
        /// The stored secrets of the system that is replaced: they stay if the body does not mention secrets, which
        /// nobody can read back from the API.
        kept: &'a BTreeMap<String, Secret>,
    },
}

/// How many matching records are too many, unless the definition says otherwise.
const MAX_MATCHES: u32 = 25;

/// Reads one connected system from the body of an API call; every fault at once, as pointers into the body. Inside a Tokio
/// runtime only: the connector that checks the settings prepares its connections, without making any.
///
/// `name` is the one in the call's path. The body may repeat it, but not contradict it.
pub fn read_system(name: &str, body: &Value, origin: &Origin<'_>) -> Result<SystemDef, Vec<Fault>> {
    read(body, "", Some(name), origin)
}

/// What the connectors are told about a system.
pub fn to_spec(system: &SystemDef) -> SystemSpec {
    SystemSpec {
        name: system.name.clone(),
        connector: system.connector.clone(),
        settings: system.settings.clone(),
        secrets: in_clear(&system.secrets),
        tables: system.tables.clone(),
        max_matches: u64::from(system.max_matches),
        // The paths in the settings are absolute.
        base_dir: None,
        network: redress_connectors::Network::default(),
    }
}

/// Reads the table at `pointer`.
pub(super) fn read(
    value: &Value,
    pointer: &str,
    name: Option<&str>,
    origin: &Origin<'_>,
) -> Result<SystemDef, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut reader = Reader::new(value, pointer, &mut faults);
    let name = system_name(&mut reader, name);
    let connector = reader.required_text("connector");
    let family = match reader.text("family") {
        Some(text) => reader.named("family", text),
        None if matches!(connector, Some("imap" | "maildir")) => Some("email".to_owned()),
        None => Some("database".to_owned()),
    };
    let settings = match reader.take("settings") {
        None => Some(Map::new()),
        Some(_) => reader.table("settings").cloned(),
    };
    let secrets = reader.table("secrets");
    let allow = reader.words("allow", RequestType::ALL, RequestType::as_str);
    let max_matches = reader.number("max_matches", 1..=100_000).unwrap_or(MAX_MATCHES);
    let tables = reader.take("tables");
    let rate_per_second = rate(&mut reader);
    let limits = limits(&mut reader, pointer);
    let account = account(&mut reader);
    let completes_within_days = reader.number("completes_within_days", 0..=365).unwrap_or(0);
    let credentials_expire_on = expiry(&mut reader);
    let paused = reader.flag("paused");
    reader.finish();

    let settings = settings.and_then(|settings| located(settings, connector, pointer, origin, &mut faults));
    let secrets = read_secrets(secrets, &join(pointer, "secrets"), origin, &mut faults);
    let tables = read_tables(tables, &join(pointer, "tables"), &mut faults);
    if let (Some(connector), Some(settings)) = (connector, &settings) {
        let spec = SystemSpec {
            name: name.clone().unwrap_or_default(),
            connector: connector.to_owned(),
            settings: settings.clone(),
            secrets: in_clear(&secrets),
            tables: tables.clone().unwrap_or_default(),
            max_matches: u64::from(max_matches),
            base_dir: None,
            network: redress_connectors::Network::default(),
        };
        // A connector says `settings.port` or `tables.1.columns`; about tables only if it was shown all of them.
        let more = registry::connect(&spec).err().unwrap_or_default();
        let more = more.into_iter().filter(|fault| tables.is_some() || !fault.path.starts_with("tables"));
        faults.extend(more.map(|f| Fault::new(format!("{pointer}/{}", f.path.replace('.', "/")), f.detail)));
    }
    match (name, family, connector, settings, tables) {
        (Some(name), Some(family), Some(connector), Some(settings), Some(tables)) if faults.is_empty() => {
            let connector = connector.to_owned();
            Ok(SystemDef {
                name,
                family,
                connector,
                settings,
                secrets,
                allow,
                max_matches,
                tables,
                rate_per_second,
                limits,
                account,
                completes_within_days,
                credentials_expire_on,
                paused,
            })
        }
        _ => Err(faults),
    }
}

fn in_clear(secrets: &BTreeMap<String, SecretDef>) -> BTreeMap<String, Secret> {
    secrets.iter().map(|(name, secret)| (name.clone(), secret.value.clone())).collect()
}

fn system_name(reader: &mut Reader<'_, '_>, outer: Option<&str>) -> Option<String> {
    let Some(outer) = outer else { return reader.required_name("name") };
    if reader.text("name").is_some_and(|inner| inner != outer) {
        reader.fault("name", "is not the name in the address of this call");
    }
    reader.named("name", outer)
}

fn rate(reader: &mut Reader<'_, '_>) -> Option<f64> {
    let rate = reader.take("rate_per_second")?.as_f64();
    if !rate.is_some_and(|rate| (0.000_01..=10_000.0).contains(&rate)) {
        reader.fault("rate_per_second", "must be a number from 0.00001 (about one call a day) to 10000");
    }
    rate
}

/// Limits in full; the shorthand beside them would only contradict them.
fn limits(reader: &mut Reader<'_, '_>, pointer: &str) -> Option<Limits> {
    let value = reader.take("limits").filter(|value| !value.is_null())?;
    if reader.take("rate_per_second").is_some_and(|rate| !rate.is_null()) {
        reader.fault("rate_per_second", "is a shorthand for limits; give one of them");
    }
    match Limits::read(value, &join(pointer, "limits")) {
        Ok(limits) => Some(limits),
        Err(faults) => {
            reader.faults(faults);
            None
        }
    }
}

fn account(reader: &mut Reader<'_, '_>) -> Option<String> {
    let text = reader.text("account")?;
    if text.trim().is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
        reader.fault("account", "must be a name of up to 200 characters");
        return None;
    }
    Some(text.to_owned())
}

/// A day as `2027-03-31`.
fn expiry(reader: &mut Reader<'_, '_>) -> Option<Date> {
    let text = reader.text("credentials_expire_on")?;
    let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
    if date.is_none() {
        reader.fault("credentials_expire_on", "must be a date such as 2027-03-31, the last day on which they are good");
    }
    date
}

/// Makes the paths in the settings absolute, or refuses them where they came from outside.
fn located(
    mut settings: Map<String, Value>,
    connector: Option<&str>,
    pointer: &str,
    origin: &Origin<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Map<String, Value>> {
    let before = faults.len();
    if matches!(origin, Origin::Api { .. }) && matches!(connector, Some("sqlite" | "maildir")) {
        let detail = "reads files of this machine; the operator adds such a system with `redress apply`";
        faults.push(Fault::new(join(pointer, "connector"), detail));
    }
    for (key, value) in &mut settings {
        if key != "path" && !key.ends_with("_file") {
            continue;
        }
        match (origin, value.as_str()) {
            (Origin::File { base_dir, .. }, Some(path)) if !path.is_empty() => {
                *value = Value::from(base_dir.join(path).to_string_lossy());
            }
            (Origin::File { .. }, _) => {}
            (Origin::Api { .. }, _) => {
                let detail = "names a file of this machine; only the operator may, with `redress apply`";
                faults.push(Fault::new(format!("{pointer}/settings/{key}"), detail));
            }
        }
    }
    (faults.len() == before).then_some(settings)
}

fn read_secrets(
    secrets: Option<&Map<String, Value>>,
    pointer: &str,
    origin: &Origin<'_>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, SecretDef> {
    if let (None, Origin::Api { kept }) = (secrets, origin) {
        let keep = |value: &Secret| SecretDef { source: SecretSource::Kept, value: value.clone() };
        return kept.iter().map(|(name, value)| (name.clone(), keep(value))).collect();
    }
    let mut found = BTreeMap::new();
    for (name, value) in secrets.into_iter().flatten() {
        let here = join(pointer, name);
        if !is_name(name) {
            faults.push(Fault::new(here, "is not the name of a secret"));
            continue;
        }
        let secret = read_secret(value, &here, origin, faults);
        // A secret that could not be had must not hide what else is wrong, so the connector is shown a stand-in.
        let stand_in = || SecretDef { source: SecretSource::Value, value: Secret::from("-") };
        found.insert(name.clone(), secret.unwrap_or_else(stand_in));
    }
    found
}

pub(super) fn read_secret(
    value: &Value,
    pointer: &str,
    origin: &Origin<'_>,
    faults: &mut Vec<Fault>,
) -> Option<SecretDef> {
    let forms = match origin {
        Origin::File { .. } => "must be { env = \"VARIABLE\" }, { file = \"PATH\" } or { value = \"…\" }",
        Origin::Api { .. } => "must be { \"value\": \"…\" }",
    };
    let one = value.as_object().filter(|table| table.len() == 1).and_then(|table| table.iter().next());
    let (source, secret) = match (one.and_then(|(key, value)| Some((key.as_str(), value.as_str()?))), origin) {
        (Some(("value", text)), _) => (SecretSource::Value, Ok(text.to_owned())),
        (Some(("env", name)), Origin::File { env, .. }) => {
            let missing = || format!("the environment variable {name} is not set; set it for this command");
            (SecretSource::Env(name.to_owned()), env(name).ok_or_else(missing))
        }
        (Some(("file", path)), Origin::File { base_dir, .. }) => {
            let path = base_dir.join(path);
            let text = std::fs::read_to_string(&path)
                .map(|text| {
                    text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).to_owned()
                })
                .map_err(|error| format!("{} cannot be read: {error}", path.display()));
            (SecretSource::File(path), text)
        }
        _ => {
            faults.push(Fault::new(pointer, forms));
            return None;
        }
    };
    match secret {
        Ok(text) if text.is_empty() => faults.push(Fault::new(pointer, "is empty")),
        Ok(text) => return Some(SecretDef { source, value: Secret::from(text) }),
        Err(detail) => faults.push(Fault::new(pointer, detail)),
    }
    None
}

fn read_tables(tables: Option<&Value>, pointer: &str, faults: &mut Vec<Fault>) -> Option<Vec<TableSpec>> {
    match tables {
        None => Some(Vec::new()),
        Some(Value::Array(items)) => {
            let read: Vec<Option<TableSpec>> =
                items.iter().enumerate().map(|(i, item)| read_table(item, &format!("{pointer}/{i}"), faults)).collect();
            read.into_iter().collect()
        }
        Some(_) => {
            faults.push(Fault::new(pointer, "must be a list of tables; write [[system.tables]]"));
            None
        }
    }
}

fn read_table(value: &Value, pointer: &str, faults: &mut Vec<Fault>) -> Option<TableSpec> {
    const ON_DELETE: &[(&str, OnDelete)] =
        &[("delete", OnDelete::Delete), ("null", OnDelete::Null), ("hash", OnDelete::Hash), ("keep", OnDelete::Keep)];
    let before = faults.len();
    let mut reader = Reader::new(value, pointer, faults);
    let name = reader.required_text("name").map(str::to_owned);
    let key = reader.required_text("key").map(str::to_owned);
    let identify = reader.text_map("identify").unwrap_or_default();
    for kind in identify.keys().filter(|kind| IdentifierType::parse(kind).is_none()) {
        let known: Vec<&str> = IdentifierType::ALL.iter().map(|known| known.as_str()).collect();
        reader
            .fault(&format!("identify/{kind}"), format!("is not a type of identifier; there are {}", known.join(", ")));
    }
    let references = reader.text_map("references").unwrap_or_default();
    let fields = reader.text_map("fields").unwrap_or_default();
    let on_delete = reader.required_text("on_delete").and_then(|text| {
        let word = ON_DELETE.iter().find(|(word, _)| *word == text).map(|(_, on_delete)| *on_delete);
        if word.is_none() {
            reader.fault("on_delete", "must be delete, null, hash or keep");
        }
        word
    });
    let columns = reader.texts("columns").unwrap_or_default().into_iter().map(str::to_owned).collect();
    let reason = reader.text("reason").map(str::to_owned);
    reader.finish();
    if faults.len() > before {
        return None;
    }
    Some(TableSpec { name: name?, key: key?, identify, references, fields, on_delete: on_delete?, columns, reason })
}
