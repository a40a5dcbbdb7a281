//! What a manifest reaches, does and promises, for `redress connector list` and docs/connectors.md.

use super::format::{DeleteEffect, Input, InputKind, ManifestFile};
use super::load::Loaded;
use serde::Serialize;
use std::collections::BTreeSet;

/// A connector as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The name in `connector = "…"`.
    pub name: String,
    /// The product.
    pub product: String,
    /// What it reaches, in one line.
    pub about: String,
    /// `native` or `manifest`.
    pub kind: &'static str,
    /// What family of systems it belongs to.
    pub family: String,
    /// Its settings, required ones first, in the form of a TOML inline table.
    pub settings: String,
    /// Its secrets.
    pub secrets: Vec<String>,
    /// Verbs it performs.
    pub verbs: Vec<String>,
    /// By what it can look for a person.
    pub identifiers: Vec<String>,
    /// People or records in one call that deletes, where the vendor takes many.
    pub batch: Option<usize>,
    /// What the vendor allows.
    pub limits: Vec<String>,
    /// What a deletion is worth, with how long something of it stays.
    pub deletes: Vec<String>,
    /// The vendor's version.
    pub api: String,
    /// When it was last compared with the vendor's documentation.
    pub verified_on: Option<String>,
    /// By what, besides our own tests, its requests are judged.
    pub judged_by: String,
    /// What an operator must know.
    pub notes: Vec<String>,
}

/// What is known of a connector that is no manifest and does not say it itself.
struct Facts {
    name: &'static str,
    product: &'static str,
    family: &'static str,
    secrets: &'static [&'static str],
    identifiers: &'static [&'static str],
    batch: Option<usize>,
    deletes: &'static str,
    judged_by: &'static str,
}

const ADDRESS: &[&str] = &["email"];
const PERSON: &[&str] = &["customer_id", "email", "phone"];

const NATIVE: &[Facts] = &[
    fact(
        "bigquery",
        "Google BigQuery",
        "warehouse",
        &["private_key"],
        PERSON,
        Some(20),
        "rows: deleted or emptied as declared, restorable for 14 days (time travel and fail-safe)",
        "simulator",
    ),
    fact(
        "gmail",
        "Gmail (Google Workspace)",
        "email",
        &["private_key"],
        ADDRESS,
        Some(1_000),
        "messages: restorable by an administrator for 25 days",
        "vendor's OpenAPI file, simulator",
    ),
    fact(
        "graph",
        "Microsoft 365 mail (Graph)",
        "email",
        &["client_secret"],
        ADDRESS,
        Some(20),
        "messages: purged, kept as long as the tenant's retention says",
        "simulator",
    ),
    fact("imap", "any IMAP server", "email", &["password"], ADDRESS, None, "messages: permanent", "Dovecot"),
    fact(
        "ldap",
        "LDAP directories",
        "directory",
        &["bind_password"],
        PERSON,
        None,
        "entries: deleted, or attributes removed as declared",
        "OpenLDAP",
    ),
    fact("maildir", "Maildir folders", "email", &[], ADDRESS, None, "messages: permanent", "Dovecot"),
    fact("manual", "a person", "any", &[], &["any"], None, "what the person reports", "–"),
    fact(
        "mysql",
        "MySQL, MariaDB",
        "database",
        &["password"],
        PERSON,
        None,
        "rows: deleted, emptied or hashed as declared",
        "MariaDB",
    ),
    fact(
        "opendsr",
        "OpenDSR processors",
        "downstream",
        &["…"],
        &["by dialect"],
        None,
        "as the processor promises",
        "signed answers, simulator",
    ),
    fact(
        "postgres",
        "PostgreSQL",
        "database",
        &["password"],
        PERSON,
        None,
        "rows: deleted, emptied or hashed as declared",
        "PostgreSQL",
    ),
    fact(
        "snowflake",
        "Snowflake",
        "warehouse",
        &["private_key"],
        PERSON,
        Some(20),
        "rows: deleted or emptied as declared, restorable for time_travel_days and 7 days",
        "simulator",
    ),
    fact("sqlite", "SQLite", "database", &[], PERSON, None, "rows: deleted, emptied or hashed as declared", "SQLite"),
    fact(
        "webhook",
        "in-house systems",
        "any",
        &["signing_secret"],
        &["as declared"],
        None,
        "as the system answers",
        "the receiver of its documentation",
    ),
];

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
const fn fact(
    name: &'static str,
    product: &'static str,
    family: &'static str,
    secrets: &'static [&'static str],
    identifiers: &'static [&'static str],
    batch: Option<usize>,
    deletes: &'static str,
    judged_by: &'static str,
) -> Facts {
    Facts { name, product, family, secrets, identifiers, batch, deletes, judged_by }
}

impl From<&crate::registry::Entry> for Listed {
    fn from(entry: &crate::registry::Entry) -> Self {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let facts = NATIVE.iter().find(|facts| facts.name == entry.name);
        Self {
            name: entry.name.into(),
            product: facts.map_or(entry.name, |facts| facts.product).into(),
            about: entry.about.into(),
            kind: "native",
            family: facts.map_or("", |facts| facts.family).into(),
            settings: entry.settings.into(),
            secrets: facts.map(|facts| owned(facts.secrets)).unwrap_or_default(),
            verbs: owned(entry.verbs),
            identifiers: facts.map(|facts| owned(facts.identifiers)).unwrap_or_default(),
            batch: facts.and_then(|facts| facts.batch),
            limits: Vec::new(),
            deletes: facts.map(|facts| vec![facts.deletes.to_owned()]).unwrap_or_default(),
            api: String::new(),
            verified_on: None,
            judged_by: facts.map_or("", |facts| facts.judged_by).into(),
            notes: Vec::new(),
        }
    }
}

impl From<&Loaded> for Listed {
    fn from(loaded: &Loaded) -> Self {
        let file = &loaded.file;
        let about = &file.connector;
        let limits = file.limits.as_ref();
        let rates = limits.and_then(|limits| limits.get("rates")?.as_array()).into_iter().flatten();
        let mut allowed: Vec<String> = rates.filter_map(|rate| rate.as_str().map(Into::into)).collect();
        let most = limits.and_then(|limits| limits.get("concurrency")?.as_u64());
        allowed.extend(most.map(|most| format!("{most} at the same time")));
        let by: BTreeSet<&String> = file.find.values().flat_map(|find| &find.by).collect();
        let secret = |input: &Input| matches!(input.kind, InputKind::Secret | InputKind::PrivateKey);
        Self {
            name: about.id.clone(),
            product: about.name.clone(),
            about: about.about.clone(),
            kind: "manifest",
            family: about.family.clone(),
            settings: settings(file),
            secrets: file.inputs.iter().filter(|(_, input)| secret(input)).map(|(name, _)| name.clone()).collect(),
            verbs: verbs(file),
            identifiers: by.into_iter().cloned().collect(),
            batch: file.delete.values().filter_map(|delete| delete.batch.as_ref()).map(|batch| batch.max_items).max(),
            limits: allowed,
            deletes: deletes(file),
            api: about.api.clone(),
            verified_on: Some(about.verified_on.clone()),
            judged_by: about
                .judge
                .as_ref()
                .map_or_else(|| "simulator".into(), |_| "vendor's OpenAPI file, simulator".into()),
            notes: about.notes.clone(),
        }
    }
}

fn settings(file: &ManifestFile) -> String {
    let shown = |optional: bool| {
        let inputs = file.inputs.iter().filter(move |(_, input)| {
            let secret = matches!(input.kind, InputKind::Secret | InputKind::PrivateKey);
            !secret && (input.optional || input.default.is_some()) == optional
        });
        inputs.map(|(name, input)| {
            let value = match (input.kind, &input.default) {
                (_, Some(default)) => default.to_string(),
                (InputKind::Integer, None) => "1".into(),
                (InputKind::List, None) => "[\"…\"]".into(),
                (InputKind::Choice, None) => {
                    let names: Vec<&str> = input.choices.keys().map(String::as_str).collect();
                    format!("\"{}\"", names.join("|"))
                }
                _ => "\"…\"".into(),
            };
            format!("{name} = {value}")
        })
    };
    let all: Vec<String> = shown(false).chain(shown(true)).collect();
    if all.is_empty() { "{}".into() } else { format!("{{ {} }}", all.join(", ")) }
}

fn verbs(file: &ManifestFile) -> Vec<String> {
    let searches = file.find.values().any(|find| find.request.is_some() || !find.requests.is_empty());
    let all = [
        (searches, "discover"),
        (searches, "export"),
        (!file.correct.is_empty(), "rectify"),
        (!file.delete.is_empty(), "erase"),
        (true, "verify"),
    ];
    all.into_iter().filter(|(does, _)| *does).map(|(_, verb)| verb.to_owned()).collect()
}

fn deletes(file: &ManifestFile) -> Vec<String> {
    let days = |days: Option<u32>| days.map_or_else(|| "?".into(), |days| days.to_string());
    let one = |(name, delete): (&String, &super::format::Delete)| {
        let worth = match delete.effect {
            DeleteEffect::PermanentDelete => "permanent".to_owned(),
            DeleteEffect::SoftDelete => format!("restorable for {} days", days(delete.residual_days)),
            DeleteEffect::ScheduleDelete => format!("within {} days", days(delete.completes_within_days)),
            DeleteEffect::Anonymise => "emptied".to_owned(),
            DeleteEffect::Suppress => "suppressed".to_owned(),
        };
        format!("{name}: {worth}")
    };
    file.delete.iter().map(one).collect()
}
