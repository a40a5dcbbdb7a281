//! A setup is what the controller wrote down about its org: where it is, how to sign in, which objects hold people, and what deleting means.

use crate::settings::Settings;
use crate::{Network, Secret, SpecFault, SystemSpec};
use serde::Deserialize;
use std::collections::BTreeMap;
use url::Url;

/// The version of the interface this connector was written for (verified on 2026-11-20); a setting may name another.
const API_VERSION: &str = "67.0";

/// How to sign in.
pub(super) enum Grant {
    /// An External Client App with a user to run as.
    ClientCredentials { client_secret: Secret },
    /// A signed assertion for a user who has approved the app. The key is read when the settings are checked.
    Jwt { username: String, audience: String, key: Box<crate::http::SigningKey> },
}

/// An object whose records are people.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectSpec {
    pub(super) name: String,
    /// Fields by which a person is found; those that describe says are of the type if none are named.
    pub(super) email: Option<Vec<String>>,
    pub(super) phone: Option<Vec<String>>,
    pub(super) customer_id: Option<String>,
    /// Field of a correction -> field of this object, beside those of the whole system.
    #[serde(default)]
    pub(super) fields: BTreeMap<String, String>,
    /// Reason code: the records stay.
    pub(super) keep: Option<String>,
}

/// An object whose records are a person's because they refer to one of theirs.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChildSpec {
    pub(super) name: String,
    /// Which object they refer to, and by which of their fields.
    pub(super) of: String,
    pub(super) field: String,
    /// Reason code: the records stay.
    pub(super) keep: Option<String>,
}

/// How a phone number is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PhoneSearch {
    /// By SOQL: complete, in any notation, many people in one call, but it reads the whole object.
    Scan,
    /// By the search index: quick, one call for each person, but it lags and knows only usual notations.
    Index,
}

/// Everything that was set.
pub(super) struct Setup {
    pub(super) base: Url,
    pub(super) client_id: String,
    pub(super) grant: Grant,
    pub(super) version: String,
    /// None: Contact, Lead and the person accounts.
    pub(super) objects: Option<Vec<ObjectSpec>>,
    /// None: those of [`CHILDREN`] that the org has.
    pub(super) children: Option<Vec<ChildSpec>>,
    pub(super) customer_id: Option<String>,
    pub(super) custom_objects: bool,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) hard: bool,
    pub(super) daily_calls: Option<u64>,
    pub(super) daily_share: f64,
    pub(super) phone_search: PhoneSearch,
    pub(super) max_matches: u64,
    pub(super) network: Network,
}

/// What usually belongs to a person's record: object, what it refers to, by which field.
pub(super) const CHILDREN: &[(&str, &str, &str)] = &[
    ("Case", "Contact", "ContactId"),
    ("Case", "Account", "AccountId"),
    ("Task", "Contact", "WhoId"),
    ("Task", "Lead", "WhoId"),
    ("Task", "Account", "AccountId"),
    ("Event", "Contact", "WhoId"),
    ("Event", "Lead", "WhoId"),
    ("CampaignMember", "Contact", "ContactId"),
    ("CampaignMember", "Lead", "LeadId"),
    ("EmailMessage", "Case", "ParentId"),
];

/// Fields of a correction and what they are called in Salesforce's own objects; each counts where the object has it.
const FIELDS: &[(&str, &str)] = &[
    ("first_name", "FirstName"),
    ("last_name", "LastName"),
    ("email", "Email"),
    ("phone", "Phone"),
    ("mobile_phone", "MobilePhone"),
    ("title", "Title"),
    ("birth_date", "Birthdate"),
    ("street", "MailingStreet"),
    ("city", "MailingCity"),
    ("postal_code", "MailingPostalCode"),
    ("country", "MailingCountry"),
];

/// Reads the specification; every fault at once.
pub(super) fn read(spec: &SystemSpec) -> Result<Setup, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let base = place(&mut settings, spec);
    let client_id = settings.required("client_id");
    let version = settings.text("api_version").unwrap_or_else(|| API_VERSION.to_owned());
    let number = version.strip_suffix(".0").and_then(|number| number.parse::<u32>().ok());
    // Collections exist since v42, Bulk API 2.0 since v41.
    if number.is_none_or(|number| !(42..=200).contains(&number)) {
        settings.fault("api_version", "must be a version such as \"67.0\", at least \"42.0\"");
    }
    let auth = settings.text("auth").unwrap_or_else(|| "client_credentials".to_owned());
    let secret = |name: &str| spec.secrets.get(name).cloned().unwrap_or_else(|| Secret::from(""));
    let (grant, secrets): (Option<Grant>, &[&str]) = match auth.as_str() {
        "jwt" => {
            let username = settings.required("username");
            let sandbox =
                base.host_str().is_some_and(|host| host.contains(".sandbox.") || host == "test.salesforce.com");
            let usual = if sandbox { "https://test.salesforce.com" } else { "https://login.salesforce.com" };
            let audience = settings.text("audience").unwrap_or_else(|| usual.to_owned());
            let key = crate::http::SigningKey::from_pem(secret("private_key").expose());
            (key.map(|key| Grant::Jwt { username, audience, key: Box::new(key) }), &["private_key"])
        }
        "client_credentials" => {
            (Some(Grant::ClientCredentials { client_secret: secret("client_secret") }), &["client_secret"])
        }
        _ => {
            settings.fault("auth", "must be client_credentials or jwt");
            (None, &[])
        }
    };
    let objects: Option<Vec<ObjectSpec>> = list(&mut settings, "objects");
    let children: Option<Vec<ChildSpec>> = list(&mut settings, "children");
    let customer_id = settings.text("customer_id");
    let custom_objects = switch(&mut settings, "custom_objects");
    let mut fields: BTreeMap<String, String> = FIELDS.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    if let Some(value) = settings.value("fields") {
        match serde_json::from_value::<BTreeMap<String, String>>(value.clone()) {
            Ok(named) => fields.extend(named),
            Err(_) => settings.fault(
                "fields",
                "must map fields of a correction to fields of the org, as { first_name = \"FirstName\" }",
            ),
        }
    }
    for spec in objects.iter().flatten() {
        fields.extend(spec.fields.keys().map(|field| (field.clone(), String::new())));
    }
    fields.retain(|_, field| field != "-");
    names(&mut settings, objects.as_deref(), children.as_deref(), customer_id.as_ref(), &fields);
    let hard = match settings.text("delete").as_deref() {
        None | Some("soft") => false,
        Some("hard") => true,
        Some(_) => {
            settings.fault(
                "delete",
                "must be soft (the recycle bin keeps 15 days) or hard (needs the permission Bulk API Hard Delete)",
            );
            false
        }
    };
    let daily_calls = settings.number("daily_calls", 100..=1_000_000_000);
    let daily_share = match settings.value("daily_share").map(serde_json::Value::as_f64) {
        None => 0.5,
        Some(Some(share)) if share > 0.0 && share <= 1.0 => share,
        Some(_) => {
            settings.fault("daily_share", "must be a part of the org's calls of a day, more than 0 and at most 1");
            0.5
        }
    };
    let phone_search = match settings.text("phone_search").as_deref() {
        None | Some("scan") => PhoneSearch::Scan,
        Some("index") => PhoneSearch::Index,
        Some(_) => {
            settings.fault("phone_search", "must be scan (complete) or index (for orgs too large to scan)");
            PhoneSearch::Scan
        }
    };
    let mut faults = settings.finish(secrets);
    if grant.is_none() && spec.secrets.contains_key("private_key") {
        faults.push(SpecFault::new("secrets.private_key", "is no RSA private key in PEM (PKCS #8 or PKCS #1)"));
    }
    match grant {
        Some(grant) if faults.is_empty() => Ok(Setup {
            base,
            client_id,
            grant,
            version,
            objects,
            children,
            customer_id,
            custom_objects,
            fields,
            hard,
            daily_calls,
            daily_share,
            phone_search,
            max_matches: spec.max_matches,
            network: spec.network.clone(),
        }),
        _ => Err(faults),
    }
}

/// Where to sign in.
fn place(settings: &mut Settings<'_>, spec: &SystemSpec) -> Url {
    let nowhere = Url::parse("https://login.salesforce.com").expect("a URL");
    let (base_url, domain, login_url) =
        (settings.text("base_url"), settings.text("domain"), settings.text("login_url"));
    let (key, text) = match (base_url, domain, login_url) {
        (Some(base_url), _, _) => ("base_url", base_url),
        (None, Some(domain), None) if domain.contains('.') => ("domain", format!("https://{domain}")),
        (None, Some(domain), None) => ("domain", format!("https://{domain}.my.salesforce.com")),
        (None, None, Some(login_url)) => ("login_url", login_url),
        _ => {
            settings.fault("domain", "name either domain (acme, for acme.my.salesforce.com) or login_url");
            return nowhere;
        }
    };
    let url =
        Url::parse(&text).ok().filter(|url| url.has_host() && url.username().is_empty() && url.password().is_none());
    let plain = url.filter(|url| url.query().is_none() && url.fragment().is_none() && url.path() == "/");
    let ours = |url: &Url| url.scheme() == "https" && is_salesforce(url);
    match plain {
        Some(url)
            if key == "base_url"
                && (url.scheme() == "https" || (url.scheme() == "http" && spec.network.is_anywhere())) =>
        {
            url
        }
        Some(url) if key != "base_url" && ours(&url) => url,
        _ => {
            let hint = if key == "base_url" {
                "must be an https address without a path"
            } else {
                "must lead to a host of salesforce.com; another one is named by base_url"
            };
            settings.fault(key, hint);
            nowhere
        }
    }
}

/// Whether a host is Salesforce's.
pub(super) fn is_salesforce(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    url.port().is_none() && [".salesforce.com", ".force.com", ".salesforce.mil"].iter().any(|end| host.ends_with(end))
}

fn list<T: serde::de::DeserializeOwned>(settings: &mut Settings<'_>, key: &'static str) -> Option<Vec<T>> {
    let value = settings.value(key)?;
    match serde_json::from_value(value.clone()) {
        Ok(list) => Some(list),
        Err(error) => {
            settings.fault(key, format!("is not a list of what is described for this connector: {error}"));
            None
        }
    }
}

fn switch(settings: &mut Settings<'_>, key: &'static str) -> bool {
    match settings.value(key).map(serde_json::Value::as_bool) {
        None => false,
        Some(Some(on)) => on,
        Some(None) => {
            settings.fault(key, "must be true or false");
            false
        }
    }
}

/// Names of objects and fields go into queries: they are names and nothing else.
fn names(
    settings: &mut Settings<'_>,
    objects: Option<&[ObjectSpec]>,
    children: Option<&[ChildSpec]>,
    customer_id: Option<&String>,
    fields: &BTreeMap<String, String>,
) {
    let mut all: Vec<(&str, &str)> = customer_id.map(|name| ("customer_id", name.as_str())).into_iter().collect();
    for spec in objects.unwrap_or_default() {
        all.push(("objects", &spec.name));
        all.extend(spec.email.iter().chain(&spec.phone).flatten().map(|name| ("objects", name.as_str())));
        all.extend(spec.customer_id.iter().chain(spec.fields.values()).map(|name| ("objects", name.as_str())));
    }
    for spec in children.unwrap_or_default() {
        all.extend([("children", spec.name.as_str()), ("children", &spec.of), ("children", &spec.field)]);
    }
    all.extend(fields.values().filter(|name| !name.is_empty()).map(|name| ("fields", name.as_str())));
    let bad: Vec<(&str, String)> = all
        .into_iter()
        .filter(|(_, name)| !is_name(name))
        .map(|(key, name)| (key, format!("{name:?} is not the name of an object or a field")))
        .collect();
    for (key, detail) in bad {
        settings.fault(key, detail);
    }
    if objects.is_some_and(<[_]>::is_empty) {
        settings.fault("objects", "is empty; leave it out for Contact, Lead and person accounts");
    }
    let reason = |reason: &String| {
        reason.is_empty() || !reason.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let keeps = objects.into_iter().flatten().filter_map(|spec| spec.keep.as_ref());
    if keeps.chain(children.into_iter().flatten().filter_map(|spec| spec.keep.as_ref())).any(reason) {
        settings.fault("objects", "keep wants a reason code, such as \"tax_law_10_years\"");
    }
}

/// Whether it is a name as Salesforce allows it for objects and fields.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 80
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
