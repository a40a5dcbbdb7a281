//! What the controller's engineer filled in, read by the manifest's `inputs`: every fault at once.

use super::auth::Sign;
use super::format::{Input, InputKind};
use super::plan::Plan;
use super::template::{Scope, Template};
use crate::{SpecFault, SystemSpec};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use url::Url;

/// Where a system is and how it is signed in to.
pub(super) struct Reach {
    inputs: Value,
    base_url: Value,
    host_urls: Value,
    base: Url,
    hosts: BTreeMap<String, Url>,
    pub(super) auth: Sign,
    pub(super) host_auth: BTreeMap<String, Sign>,
}

impl Reach {
    /// Reads a specification.
    pub(super) fn of(plan: &Plan, spec: &SystemSpec) -> Result<Self, Vec<SpecFault>> {
        let file = &plan.file;
        let mut faults = Vec::new();
        let mut inputs = Map::new();
        for (name, input) in &file.inputs {
            match value(name, input, spec) {
                Ok(Some(value)) => {
                    inputs.insert(name.clone(), value);
                }
                Ok(None) => {}
                Err(fault) => faults.push(fault),
            }
        }
        unknown(plan, spec, &mut faults);
        let mut set = |key: &str| {
            let text = spec.settings.get(key)?;
            match text.as_str().ok_or("must be a URL".to_owned()).and_then(|text| url(text, spec)) {
                Ok(url) => Some(url),
                Err(detail) => {
                    faults.push(SpecFault::new(format!("settings.{key}"), detail));
                    None
                }
            }
        };
        let set_base = set("base_url");
        let set_token = set("token_url");
        let set_hosts: BTreeMap<&String, Option<Url>> =
            file.hosts.keys().map(|name| (name, set(&format!("{name}_url")))).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let inputs = Value::Object(inputs);
        let scope = Scope::new().lent("inputs", &inputs);
        let fault = |at: &str, detail: String| vec![SpecFault::new(at, detail)];
        let place = |text: &str, at: &str| address(text, &scope, spec).map_err(|detail| fault(at, detail));
        let base = match &set_base {
            // The vendor's own address need not be told then, but its path is where the interface is.
            Some(set) => moved(set, address(&file.base_url, &scope, spec).ok().as_ref()),
            None => place(&file.base_url, "settings")?,
        };
        let mut hosts = BTreeMap::new();
        for (name, text) in &file.hosts {
            let own = address(text, &scope, spec);
            let url = match (set_hosts.get(name), &set_base) {
                (Some(Some(set)), _) | (_, Some(set)) => moved(set, own.ok().as_ref()),
                _ => own.map_err(|detail| fault(&format!("settings.{name}_url"), detail))?,
            };
            hosts.insert(name.clone(), url);
        }
        let base_url = Value::from(base.as_str().trim_end_matches('/'));
        let host_urls: Value = Value::Object(
            hosts.iter().map(|(name, url)| (name.clone(), Value::from(url.as_str().trim_end_matches('/')))).collect(),
        );
        let scope = Scope::new().lent("inputs", &inputs).lent("base_url", &base_url).lent("hosts", &host_urls);
        let token = |text: &str| -> Result<Url, String> {
            let own = address(text, &scope, spec)?;
            let follows = text.contains("${base_url}") || text.contains("${hosts.");
            Ok(match (&set_token, &set_base) {
                (Some(set), _) => moved(set, Some(&own)),
                (None, Some(set)) if !follows => moved(set, Some(&own)),
                _ => own,
            })
        };
        let auth = Sign::of(&file.auth, &scope, token).map_err(|detail| fault("secrets", detail))?;
        let mut host_auth = BTreeMap::new();
        for (name, how) in &file.host_auth {
            let sign = Sign::of(how, &scope, token).map_err(|detail| fault("secrets", detail))?;
            host_auth.insert(name.clone(), sign);
        }
        Ok(Self { inputs, base_url, host_urls, base, hosts, auth, host_auth })
    }

    /// What every template may name.
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope::new().lent("inputs", &self.inputs).lent("base_url", &self.base_url).lent("hosts", &self.host_urls)
    }

    /// Where calls to a host go.
    pub(super) fn base(&self, host: Option<&str>) -> &Url {
        host.and_then(|host| self.hosts.get(host)).unwrap_or(&self.base)
    }

    /// Every URL whose host may be called.
    pub(super) fn urls(&self) -> Vec<&Url> {
        let signs = std::iter::once(&self.auth).chain(self.host_auth.values());
        std::iter::once(&self.base).chain(self.hosts.values()).chain(signs.filter_map(Sign::url)).collect()
    }
}

/// An operator's address; where it names no path, the interface is under the same path as at the vendor.
fn moved(set: &Url, own: Option<&Url>) -> Url {
    let mut url = set.clone();
    if let Some(own) = own.filter(|_| matches!(set.path(), "" | "/")) {
        url.set_path(own.path());
    }
    url
}

fn address(text: &str, scope: &Scope<'_>, spec: &SystemSpec) -> Result<Url, String> {
    let template = Template::parse(text).map_err(|fault| fault.to_string())?;
    url(&template.text(scope).map_err(|fault| fault.to_string())?, spec)
}

fn url(text: &str, spec: &SystemSpec) -> Result<Url, String> {
    let sound = |url: &Url| {
        let encrypted = url.scheme() == "https" || (url.scheme() == "http" && spec.network.is_anywhere());
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        encrypted && plain && url.fragment().is_none() && url.has_host()
    };
    Url::parse(text)
        .ok()
        .filter(sound)
        .ok_or_else(|| "must be an https URL without user name, query or fragment".into())
}

fn unknown(plan: &Plan, spec: &SystemSpec, faults: &mut Vec<SpecFault>) {
    let secret = |input: &&Input| matches!(input.kind, InputKind::Secret | InputKind::PrivateKey);
    let inputs = &plan.file.inputs;
    let named = |secrets: bool| {
        let names = inputs.iter().filter(move |(_, input)| secret(input) == secrets);
        names.map(|(name, _)| name.clone()).collect::<Vec<String>>()
    };
    let mut settings = named(false);
    settings.push("base_url".into());
    settings.extend(plan.file.hosts.keys().map(|name| format!("{name}_url")));
    settings.push("token_url".into());
    settings.push("verify_after_seconds".into());
    if spec.settings.get("verify_after_seconds").is_some_and(|value| value.as_u64().is_none_or(|s| s > 604_800)) {
        let detail = "must be a whole number of seconds, at most a week";
        faults.push(SpecFault::new("settings.verify_after_seconds", detail));
    }
    for key in spec.settings.keys().filter(|key| !settings.contains(*key)) {
        let detail = format!("is not a setting; there are {}", settings.join(", "));
        faults.push(SpecFault::new(format!("settings.{key}"), detail));
    }
    let secrets = named(true);
    for name in spec.secrets.keys().filter(|name| !secrets.contains(*name)) {
        let detail = if secrets.is_empty() {
            "is not a secret of this connector; remove it".to_owned()
        } else {
            format!("is not a secret of this connector; there are {}", secrets.join(", "))
        };
        faults.push(SpecFault::new(format!("secrets.{name}"), detail));
    }
    if !spec.tables.is_empty() {
        faults.push(SpecFault::new("tables", "belong to SQL connectors; remove them"));
    }
}

fn value(name: &str, input: &Input, spec: &SystemSpec) -> Result<Option<Value>, SpecFault> {
    let is_secret = matches!(input.kind, InputKind::Secret | InputKind::PrivateKey);
    let path = if is_secret { format!("secrets.{name}") } else { format!("settings.{name}") };
    let fault = |detail: String| Err(SpecFault::new(path.clone(), detail));
    let given = if is_secret {
        spec.secrets.get(name).map(|secret| Value::from(secret.expose().as_str()))
    } else {
        spec.settings.get(name).cloned()
    };
    let Some(value) = given.or_else(|| input.default.clone()) else {
        return if input.optional { Ok(None) } else { fault(format!("is missing: {}", input.about)) };
    };
    let text = value.as_str().filter(|text| !text.trim().is_empty());
    let line = text.filter(|text| !text.chars().any(char::is_control));
    match input.kind {
        InputKind::Secret | InputKind::Text if line.is_none() => {
            fault("must be a text that is not empty and has no control characters".into())
        }
        InputKind::PrivateKey if text.is_none() => fault("must be a private key in PEM".into()),
        InputKind::HostLabel if !line.is_some_and(is_label) => {
            fault("must be one label of a host name: letters, digits and hyphens".into())
        }
        InputKind::Url => match line.ok_or("must be a URL".to_owned()).and_then(|text| url(text, spec)) {
            Ok(_) => Ok(Some(value.as_str().unwrap_or_default().trim_end_matches('/').into())),
            Err(detail) => fault(detail),
        },
        InputKind::Integer if !value.is_i64() && !value.is_u64() => fault("must be a whole number".into()),
        InputKind::Choice => {
            if let Some(stands_for) = text.and_then(|text| input.choices.get(text)) {
                return Ok(Some(stands_for.as_str().into()));
            }
            let choices = input.choices.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            fault(format!("must be one of {choices}"))
        }
        InputKind::List => {
            let sound =
                |value: &Value| value.as_str().is_some_and(|t| !t.is_empty() && !t.chars().any(char::is_control));
            match value.as_array() {
                Some(list) if !list.is_empty() && list.iter().all(sound) => Ok(Some(value)),
                _ => fault("must be a list of texts, at least one".into()),
            }
        }
        _ => Ok(Some(value)),
    }
}

fn is_label(text: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.len() <= 63 && text.chars().all(sound) && !text.starts_with('-') && !text.ends_with('-')
}
