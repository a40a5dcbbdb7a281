//! A layer is one source of settings; a later one overrides an earlier one key by key.

use super::document::{Document, join, nearest};
use super::{ConfigFault, DEFAULT, kind};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Every key with its value and who said so.
pub(super) type Settled = BTreeMap<String, Setting>;

/// A settled value.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: String,
}

/// Names in the environment that are shorter than the rule `REDRESS_SECTION__KEY`.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("REDRESS_DATABASE_URL", "database.url"),
    ("REDRESS_DATA_DIR", "data_dir"),
    ("REDRESS_REDIS_URL", "redis.url"),
    ("REDRESS_LISTEN", "http.listen"),
    ("REDRESS_MASTER_KEY_FILE", "keys.master_key_file"),
    ("REDRESS_LOG", "log.filter"),
];

/// Variables that are ours and are read elsewhere: by the command line, or by tests.
const NOT_SETTINGS: &[&str] = &[
    "REDRESS_CONFIG",
    "REDRESS_URL",
    "REDRESS_API_KEY",
    "REDRESS_JUDGES",
    "REDRESS_CRASH_AT",
    "REDRESS_CRASH_BY",
    "REDRESS_MUTANT",
];

/// Keys whose text is a path, which in a file is relative to that file.
const PATHS: &[&str] = &[
    "data_dir",
    "keys.master_key_file",
    "deadlines.regulations_file",
    "deadlines.calendars_dir",
    "connectors.manifests",
];

/// Lays the layers over each other. What is faulty keeps its earlier value.
pub(super) fn settle(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> (Settled, Vec<ConfigFault>) {
    let mut faults = Vec::new();
    let defaults = Document::parse(DEFAULT).expect("config/default.toml is TOML: a test reads it");
    let mut settled = Settled::new();
    flatten(&defaults.root, "", "", &mut |key, _, value| {
        settled.insert(key, Setting { value: value.clone(), origin: "default".to_owned() });
    });
    if let Some(path) = file {
        file_layer(path, &mut settled, &mut faults);
    }
    environment_layer(env, &mut settled, &mut faults);
    (settled, faults)
}

/// The settings as the tree that [`super::Config`] is read from.
pub(super) fn tree(settled: &Settled) -> Value {
    let mut root = Map::new();
    for (key, setting) in settled {
        match key.split_once('.') {
            None => drop(root.insert(key.clone(), setting.value.clone())),
            Some((section, key)) => {
                let section = root.entry(section).or_insert_with(|| Value::Object(Map::new()));
                section.as_object_mut().expect("a section is a table").insert(key.to_owned(), setting.value.clone());
            }
        }
    }
    Value::Object(root)
}

/// Calls `visit` with the dotted key, the pointer and the value of everything that is not a table.
fn flatten(table: &Map<String, Value>, prefix: &str, pointer: &str, visit: &mut dyn FnMut(String, String, &Value)) {
    for (name, value) in table {
        let (key, here) = (format!("{prefix}{name}"), join(pointer, name));
        match value {
            Value::Object(inner) if !inner.is_empty() => flatten(inner, &format!("{key}."), &here, visit),
            _ => visit(key, here, value),
        }
    }
}

fn file_layer(path: &Path, settled: &mut Settled, faults: &mut Vec<ConfigFault>) {
    let name = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            return faults.push(ConfigFault::new("--config", name.to_string(), format!("cannot be read: {error}")));
        }
    };
    let document = match Document::parse(&text) {
        Ok(document) => document,
        Err(syntax) => {
            let fault =
                |f: super::document::SyntaxFault| ConfigFault::new("--config", format!("{name}:{}", f.line), f.detail);
            return faults.extend(syntax.into_iter().map(fault));
        }
    };
    let mut given = Vec::new();
    flatten(&document.root, "", "", &mut |key, pointer, value| {
        let origin = format!("{name}:{}", document.line(&pointer).unwrap_or(1));
        // An empty section says nothing; an empty table elsewhere is a wrong type.
        let is_section = settled.keys().any(|known| known.starts_with(&format!("{key}.")));
        if !(is_section && value.is_object()) {
            given.push((key, origin, value.clone()));
        }
    });
    let base = path.parent();
    let mut layer = Layer { settled, faults, set: BTreeMap::new(), base };
    for (key, origin, value) in given {
        layer.put(&key, origin, Given::Typed(value));
    }
}

fn environment_layer(
    env: impl Iterator<Item = (String, String)>,
    settled: &mut Settled,
    faults: &mut Vec<ConfigFault>,
) {
    let mut variables: Vec<(String, String)> = env.filter(|(name, _)| name.starts_with("REDRESS_")).collect();
    variables.sort();
    let mut layer = Layer { settled, faults, set: BTreeMap::new(), base: None };
    for (name, value) in variables {
        if NOT_SETTINGS.contains(&name.as_str()) || name.starts_with("REDRESS_TEST_") {
            continue;
        }
        match key_of(&name) {
            Some(key) => layer.put(&key, name, Given::Text(value)),
            None if is_service_link(&name) => {}
            None => {
                let hint = nearest(&name, SHORT_NAMES.iter().map(|(short, _)| *short));
                let hint = hint
                    .map_or("settings are named REDRESS_SECTION__KEY, with two underscores".to_owned(), |near| {
                        format!("did you mean {near}?")
                    });
                layer.faults.push(ConfigFault::new(name, "environment", format!("unknown setting; {hint}")));
            }
        }
    }
}

/// The key that a variable sets; for `…_FILE` of a short name, the key with `_file`.
fn key_of(variable: &str) -> Option<String> {
    let short = |name: &str| SHORT_NAMES.iter().find(|(short, _)| *short == name).map(|(_, key)| (*key).to_owned());
    short(variable).or_else(|| variable.strip_suffix("_FILE").and_then(short).map(|key| format!("{key}_file"))).or_else(
        || {
            let rest = variable.strip_prefix("REDRESS_")?;
            rest.contains("__").then(|| rest.to_ascii_lowercase().replace("__", "."))
        },
    )
}

/// Whether Kubernetes made this variable for a service whose name begins with "redress": `REDRESS_PORT`,
/// `REDRESS_API_SERVICE_HOST`, `REDRESS_PORT_8080_TCP_ADDR` and so on.
fn is_service_link(variable: &str) -> bool {
    variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_PORT")
        || variable.contains("_SERVICE_PORT_")
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
            ["", "_PROTO", "_PORT", "_ADDR"].iter().any(|end| {
                let Some(start) = variable.strip_suffix(end).and_then(|v| v.strip_suffix(protocol)) else {
                    return false;
                };
                start.rsplit_once("_PORT_").is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            })
        })
}

/// How a value was given.
enum Given {
    /// As TOML, with a type.
    Typed(Value),
    /// As text, in the environment or in a file that a key names.
    Text(String),
}

struct Layer<'a> {
    settled: &'a mut Settled,
    faults: &'a mut Vec<ConfigFault>,
    /// Keys that this layer has set, and where: twice is a contradiction.
    set: BTreeMap<String, String>,
    /// What relative paths are relative to; none is the working directory.
    base: Option<&'a Path>,
}

impl Layer<'_> {
    fn fault(&mut self, key: &str, origin: &str, detail: impl Into<String>) {
        self.faults.push(ConfigFault::new(key, origin, detail));
    }

    fn put(&mut self, key: &str, origin: String, given: Given) {
        if let Some(setting) = self.settled.get(key) {
            let default = setting.value.clone();
            match typed(given, &default) {
                Some(value) => self.set(key, origin, value),
                None => self.fault(key, &origin, format!("must be {}", kind(&default))),
            }
        } else if let Some(target) = key.strip_suffix("_file").filter(|target| self.settled.contains_key(*target)) {
            self.put_from_file(target, &origin, &given);
        } else {
            let hint = nearest(key, self.settled.keys().map(String::as_str));
            let hint =
                hint.map_or("config/default.toml lists the known ones".to_owned(), |k| format!("did you mean {k}?"));
            self.fault(key, &origin, format!("unknown key; {hint}"));
        }
    }

    fn put_from_file(&mut self, key: &str, origin: &str, given: &Given) {
        let (Given::Text(name) | Given::Typed(Value::String(name))) = given else {
            return self.fault(&format!("{key}_file"), origin, "must be a text, the path of a file");
        };
        let path = self.base.map_or_else(|| name.into(), |base| base.join(name));
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let text =
                    text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).to_owned();
                self.put(key, format!("{origin}, file {}", path.display()), Given::Text(text));
            }
            Err(error) => {
                self.fault(&format!("{key}_file"), origin, format!("{} cannot be read: {error}", path.display()));
            }
        }
    }

    fn set(&mut self, key: &str, origin: String, mut value: Value) {
        if let (Some(base), Some(path)) = (self.base, value.as_str().filter(|p| !p.is_empty()))
            && PATHS.contains(&key)
        {
            value = Value::from(base.join(path).to_string_lossy());
        }
        let same = self.settled.get(key).is_some_and(|setting| setting.value == value);
        if let Some(other) = self.set.insert(key.to_owned(), origin.clone())
            && !same
        {
            self.fault(key, &origin, format!("contradicts {other}; set it once"));
        }
        self.settled.insert(key.to_owned(), Setting { value, origin });
    }
}

/// The value in the type of the key's default, or none if it is of another.
fn typed(given: Given, default: &Value) -> Option<Value> {
    match (given, default) {
        (Given::Typed(value), Value::String(_)) => value.is_string().then_some(value),
        (Given::Typed(value), Value::Number(_)) => value.is_i64().then_some(value),
        (Given::Typed(value), Value::Bool(_)) => value.is_boolean().then_some(value),
        (Given::Typed(value), Value::Array(_)) => value.as_array()?.iter().all(Value::is_string).then_some(value),
        (Given::Text(text), Value::String(_)) => Some(Value::from(text)),
        (Given::Text(text), Value::Number(_)) => text.trim().parse::<i64>().ok().map(Value::from),
        (Given::Text(text), Value::Bool(_)) => text.trim().parse::<bool>().ok().map(Value::from),
        (Given::Text(text), Value::Array(_)) => {
            Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect())
        }
        _ => None,
    }
}
