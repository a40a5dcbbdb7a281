//! Settings of an S3 system: which objects hold people, and how an object says whose it is.

use crate::flat;
use crate::http::sigv4::AccessKeys;
use crate::settings::Settings;
use crate::{SpecFault, SystemSpec};
use redress_domain::IdentifierType;
use serde::Deserialize;
use std::collections::BTreeMap;
use url::Url;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Comma-separated rows (RFC 4180) under a line of names.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// Apache Parquet with flat columns.
    Parquet,
    /// The whole object is one person's, by a part of its key.
    Object,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    suffix: String,
    format: Format,
    identify: BTreeMap<String, String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    delimiter: Option<String>,
}

/// Objects of one kind.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// What evidence calls it.
    pub(super) label: String,
    pub(super) prefix: String,
    pub(super) suffix: String,
    pub(super) format: Format,
    /// Types by which its objects or rows tell a person, strongest first, with the column, JSON name or pointer, or (for
    /// whole objects) the place in the key.
    pub(super) identify: Vec<(IdentifierType, String)>,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) delimiter: u8,
}

impl Pattern {
    /// Whether a key is of this kind.
    pub(super) fn covers(&self, key: &str) -> bool {
        key.len() >= self.prefix.len() + self.suffix.len()
            && key.starts_with(&self.prefix)
            && key.ends_with(&self.suffix)
            // A folder's placeholder.
            && !(self.format != Format::Object && key.ends_with('/'))
    }

    /// The types by which it can be searched.
    pub(super) fn types(&self) -> Vec<IdentifierType> {
        self.identify.iter().map(|(kind, _)| *kind).collect()
    }

    /// What a whole object's key says about whose it is.
    pub(super) fn values_of_key(&self, key: &str) -> flat::Values {
        let Some(rest) = key.strip_prefix(&self.prefix).and_then(|rest| rest.strip_suffix(&self.suffix)) else {
            return Vec::new();
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let part = |place: &str| parts.get(place.parse::<usize>().ok()?.checked_sub(1)?).copied();
        self.identify.iter().filter_map(|(kind, place)| Some((*kind, part(place)?.to_owned()))).collect()
    }

    /// What the keys of a person's whole objects begin with, where the part that names them comes first.
    pub(super) fn prefixes_for(&self, crowd: &flat::Crowd) -> Option<Vec<String>> {
        let [(kind, place)] = self.identify.as_slice() else { return None };
        if self.format != Format::Object || !kind.is_opaque() || place != "1" {
            return None;
        }
        let of = |person| crowd.person(person).identifiers.iter().filter(|identifier| identifier.kind() == *kind);
        let ids = (0..crowd.len()).flat_map(of);
        Some(ids.map(|id| format!("{}{}", self.prefix, id.normal().expose())).collect())
    }
}

/// All settings.
pub(super) struct Config {
    pub(super) bucket: String,
    /// Where objects are: the bucket's own host, or a host with the bucket as first part of the path.
    pub(super) base: Url,
    pub(super) path_style: bool,
    pub(super) region: String,
    pub(super) keys: AccessKeys,
    pub(super) patterns: Vec<Pattern>,
    pub(super) max_matches: u64,
    pub(super) max_object: usize,
    pub(super) max_objects: u64,
}

/// Reads them; every fault at once.
pub(super) fn read(spec: &SystemSpec) -> Result<Config, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let bucket = settings.required("bucket");
    let region = settings.required("region");
    let given = settings.text("base_url");
    let path_style = settings.flag("path_style").unwrap_or(given.is_some() || bucket.contains('.'));
    let max_object = settings.number("max_object_mb", 1..=4096).unwrap_or(256) << 20;
    let max_objects = settings.number("max_objects", 1..=10_000_000).unwrap_or(100_000);
    if !is_name(&bucket, ".-") || !(3..=63).contains(&bucket.len()) {
        settings.fault("bucket", "must be the name of a bucket: 3 to 63 small letters, digits, dots and hyphens");
    }
    if !is_name(&region, "-") {
        settings.fault("region", "must be the name of a region, such as eu-central-1");
    }
    let text = given.clone().unwrap_or_else(|| {
        if path_style {
            format!("https://s3.{region}.amazonaws.com/")
        } else {
            format!("https://{bucket}.s3.{region}.amazonaws.com/")
        }
    });
    let base = settings.base_url(&text, spec.network.is_anywhere());
    let patterns = patterns(&mut settings);
    let mut names = vec!["access_key_id", "secret_access_key"];
    if spec.secrets.contains_key("session_token") {
        names.push("session_token");
    }
    let faults = settings.finish(&names);
    let secret = |name: &str| spec.secrets.get(name).cloned();
    match (base, secret("access_key_id"), secret("secret_access_key")) {
        (Some(base), Some(id), Some(secret_key)) if faults.is_empty() => Ok(Config {
            bucket,
            base,
            path_style,
            region,
            keys: AccessKeys { id, secret: secret_key, session: secret("session_token") },
            patterns,
            max_matches: spec.max_matches,
            max_object: max_object as usize,
            max_objects,
        }),
        _ => Err(faults),
    }
}

fn is_name(text: &str, also: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c))
}

fn patterns(settings: &mut Settings<'_>) -> Vec<Pattern> {
    let Some(list) = settings.list("objects") else {
        settings.fault("objects", "is missing: say which objects hold people");
        return Vec::new();
    };
    if list.is_empty() {
        settings.fault("objects", "must name at least one kind of objects");
    }
    let mut patterns: Vec<Pattern> = Vec::new();
    for (i, value) in list.iter().enumerate() {
        match serde_json::from_value::<Declared>(value.clone()).map_err(|e| e.to_string()).and_then(pattern) {
            Ok(pattern) if patterns.iter().any(|other| other.label == pattern.label) => {
                settings.fault(&format!("objects.{i}"), format!("{} is declared twice", pattern.label));
            }
            Ok(pattern) => patterns.push(pattern),
            Err(fault) => settings.fault(&format!("objects.{i}"), fault),
        }
    }
    patterns
}

fn pattern(declared: Declared) -> Result<Pattern, String> {
    let Declared { prefix, suffix, format, identify, fields, delimiter } = declared;
    let identify = flat::identify(&identify).map_err(|fault| format!("identify {fault}"))?;
    let delimiter = match delimiter.as_deref().unwrap_or(",").as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => *byte,
        _ => return Err("delimiter must be one ASCII character, no quote and no line end".to_owned()),
    };
    if format == Format::Parquet && !cfg!(feature = "parquet") {
        return Err("this build reads no Parquet (the feature `parquet` is not proven yet)".to_owned());
    }
    if format == Format::Object {
        if !fields.is_empty() {
            return Err("a whole object has no fields to correct; remove them".to_owned());
        }
        if identify.iter().any(|(_, place)| !place.parse::<u8>().is_ok_and(|place| place > 0)) {
            return Err(
                "identify of whole objects names the part of the key that holds the identifier, counted from 1 after the prefix, such as { customer_id = \"1\" }"
                    .to_owned(),
            );
        }
    }
    if identify.iter().any(|(_, place)| fields.values().any(|field| field == place)) {
        // The corrected row could not be found again by what the request says.
        return Err("fields may not name a column of identify".to_owned());
    }
    let label = format!("{prefix}*{suffix}");
    Ok(Pattern { label, prefix, suffix, format, identify, fields, delimiter })
}
