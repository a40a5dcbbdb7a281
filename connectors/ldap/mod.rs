//! An LDAP system is a part of a directory whose entries name a person in their attributes (RFC 4511).
//!
//! People are found by one search for a whole batch; a filter matches more loosely than people are told apart, so every hit
//! is compared exactly. Whatever may hide an entry (a limit, a referral, an unknown attribute) is trouble, never "nothing found".
//!
//! What the directory cannot tell: whether `bind_dn` may see every entry. [`Connector::check`] says which attributes it sees
//! nowhere. An entry that is deleted stays named in groups, unless the server has referential integrity.

mod effects;
mod entry;
mod find;
mod session;
#[cfg(test)]
mod tests;

use crate::flat::{self, Crowd, Touched};
use crate::registry::Entry;
use crate::settings::Settings;
use crate::{
    CheckReport, Connector, Done, Effect, Evidence, ExportSink, Gate, Journal, Manifest, Outcome, Problem, Retained,
    SpecFault, SystemSpec, Trouble, Verdict, Work,
};
use async_trait::async_trait;
use find::Found;
use ldap3::Scope;
use redress_domain::{IdentifierType, Verb};
use serde_json::Value;
use session::{Address, Session, Tls};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_rustls::rustls::pki_types::ServerName;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "ldap",
    about: "entries of an LDAP directory (OpenLDAP, 389 DS, Active Directory …)",
    settings: "{ host = \"ldap.acme.example\", base_dn = \"ou=people,dc=acme,dc=example\", \
               bind_dn = \"cn=redress,dc=acme,dc=example\", identify = { email = [\"mail\"], \
               phone = [\"telephoneNumber\", \"mobile\"], customer_id = [\"employeeNumber\"] }, \
               fields = { full_name = \"cn\" }, filter = \"(objectClass=inetOrgPerson)\", port = 636, \
               tls = \"implicit|starttls|none\", ca_file = \"ca.pem\", scope = \"sub|one\", \
               on_delete = \"delete|null\", null = [\"mail\", \"telephoneNumber\", \"mobile\", \"employeeNumber\"], \
               attributes = [\"cn\", \"mail\"], max_entries = 100000 }",
    verbs: &["discover", "export", "rectify", "erase", "verify"],
};

/// What its entries are called.
const COLLECTION: &str = "entries";

#[derive(Debug, Clone, PartialEq, Eq)]
enum OnDelete {
    Delete,
    /// These attributes go, the entry stays.
    Null(Vec<String>),
}

struct Directory {
    manifest: Manifest,
    address: Address,
    base_dn: String,
    scope: Scope,
    filter: Option<String>,
    identify: Vec<(IdentifierType, String)>,
    fields: BTreeMap<String, String>,
    on_delete: OnDelete,
    /// What is handed over, if not everything.
    attributes: Option<Vec<String>>,
    /// What is asked for.
    wanted: Vec<String>,
    max_entries: usize,
    max_matches: u64,
    schema_read: OnceLock<()>,
}

fn is_attribute(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn attributes(settings: &mut Settings<'_>, key: &'static str) -> Option<Vec<String>> {
    let names = settings.texts(key)?;
    if let Some(name) = names.iter().find(|name| !is_attribute(name)) {
        settings.fault(key, format!("{name:?} is not an attribute's name: a letter, then letters, digits and -"));
    }
    Some(names)
}

fn identify(settings: &mut Settings<'_>) -> Vec<(IdentifierType, String)> {
    let map = settings.value("identify").and_then(Value::as_object);
    let mut identify = Vec::new();
    for (kind, names) in map.into_iter().flatten() {
        let names = names.as_array().map(|names| names.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        match (IdentifierType::parse(kind), names.flatten()) {
            (None, _) => settings.fault("identify", format!("{kind:?} is not a type of identifier")),
            (Some(kind), Some(names)) if !names.is_empty() && names.iter().all(|name| is_attribute(name)) => {
                identify.extend(names.into_iter().map(|name| (kind, name.to_owned())));
            }
            (Some(_), _) => settings.fault("identify", format!("{kind} must be a list of attributes' names")),
        }
    }
    identify.sort();
    if identify.is_empty() {
        settings.fault("identify", "must name at least one type of identifier, each with a list of attributes");
    }
    identify
}

fn fields(settings: &mut Settings<'_>, identify: &[(IdentifierType, String)]) -> BTreeMap<String, String> {
    let Some(value) = settings.value("fields") else { return BTreeMap::new() };
    let fields: BTreeMap<String, String> = serde_json::from_value(value.clone()).unwrap_or_else(|_| {
        settings.fault("fields", "must be a table: field of a correction = \"attribute\"");
        BTreeMap::new()
    });
    for name in fields.values() {
        if !is_attribute(name) || entry::is_secret(name) {
            settings.fault("fields", format!("{name:?} is not an attribute that a correction may change"));
        }
        if identify.iter().any(|(_, other)| other.eq_ignore_ascii_case(name)) {
            settings.fault("fields", "may not name an attribute of identify");
        }
    }
    fields
}

fn on_delete(settings: &mut Settings<'_>, identify: &[(IdentifierType, String)]) -> OnDelete {
    let how = settings.text("on_delete");
    let null = attributes(settings, "null");
    match (how.as_deref(), null) {
        (None | Some("delete"), None) => OnDelete::Delete,
        (Some("null"), Some(names)) => {
            let kept =
                |(_, name): &&(IdentifierType, String)| !names.iter().any(|null| null.eq_ignore_ascii_case(name));
            if let Some((_, name)) = identify.iter().find(kept) {
                settings.fault("null", format!("must name {name} too: what identifies a person goes with the rest"));
            }
            OnDelete::Null(names)
        }
        (Some("null"), None) => {
            settings.fault("null", "must name the attributes that go");
            OnDelete::Delete
        }
        (None | Some("delete"), Some(_)) => {
            settings.fault("null", "belongs to on_delete = \"null\"");
            OnDelete::Delete
        }
        _ => {
            settings.fault("on_delete", "must be delete or null");
            OnDelete::Delete
        }
    }
}

fn address(settings: &mut Settings<'_>, spec: &SystemSpec) -> Address {
    let host = settings.required("host");
    let tls = match settings.text("tls").as_deref() {
        None | Some("implicit") => Tls::Implicit,
        Some("starttls") => Tls::Upgraded,
        Some("none") => Tls::None,
        Some(_) => {
            settings.fault("tls", "must be implicit, starttls or none");
            Tls::Implicit
        }
    };
    if tls == Tls::None && !spec.network.is_anywhere() {
        settings.fault("tls", "may be none only in a system that the operator wrote down");
    }
    let standard = if tls == Tls::Implicit { 636 } else { 389 };
    let port = settings.number("port", 1..=65_535).and_then(|port| u16::try_from(port).ok()).unwrap_or(standard);
    let ca_file = settings.text("ca_file").map(|file| settings.path(&file));
    if !host.is_empty() && (host.contains(':') || ServerName::try_from(host.as_str()).is_err()) {
        settings.fault("host", "must be a host name or an IPv4 address");
    }
    let trust = match crate::imap::trust(ca_file.as_deref()) {
        Ok(trust) => Some(trust),
        Err(problem) => {
            settings.fault(problem.code, problem.detail);
            None
        }
    };
    let bind_dn = settings.required("bind_dn");
    let password = spec.secrets.get("bind_password").cloned().unwrap_or_else(|| "".into());
    Address { host, port, tls, trust, bind_dn, password, network: spec.network.clone(), gate: OnceLock::new() }
}

/// Checks the settings and makes the connector, without connecting.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let address = address(&mut settings, spec);
    let base_dn = settings.required("base_dn");
    let scope = match settings.text("scope").as_deref() {
        None | Some("sub") => Scope::Subtree,
        Some("one") => Scope::OneLevel,
        Some(_) => {
            settings.fault("scope", "must be sub or one");
            Scope::Subtree
        }
    };
    let filter = settings.text("filter");
    if filter.as_ref().is_some_and(|text| !text.starts_with('(') || ldap3::parse_filter(text).is_err()) {
        settings.fault("filter", "must be a filter of RFC 4515 in parentheses, such as (objectClass=inetOrgPerson)");
    }
    let identify = identify(&mut settings);
    let fields = fields(&mut settings, &identify);
    let on_delete = on_delete(&mut settings, &identify);
    let attributes = attributes(&mut settings, "attributes");
    if attributes.iter().flatten().any(|name| entry::is_secret(name)) {
        settings.fault("attributes", "may not name what signs a person in; it is never handed over");
    }
    let max_entries = settings.number("max_entries", 1..=10_000_000).unwrap_or(100_000) as usize;
    let mut faults = settings.finish(&["bind_password"]);
    // A directory takes an empty password for an anonymous sign-in, and then shows less without a word (RFC 4513, 5.1.2).
    if spec.secrets.get("bind_password").is_some_and(|password| password.expose().is_empty()) {
        faults.push(SpecFault::new("secrets.bind_password", "is empty"));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut wanted: Vec<String> = entry::IDS.iter().map(|id| (*id).to_owned()).collect();
    wanted.extend(["hasSubordinates", "numSubordinates"].map(str::to_owned));
    match &attributes {
        None => wanted.push("*".to_owned()),
        Some(attributes) => {
            wanted.extend(attributes.iter().cloned());
            wanted.extend(fields.values().cloned());
            if let OnDelete::Null(names) = &on_delete {
                wanted.extend(names.iter().cloned());
            }
        }
    }
    wanted.extend(identify.iter().map(|(_, name)| name.clone()));
    let kinds: BTreeSet<IdentifierType> = identify.iter().map(|(kind, _)| *kind).collect();
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Rectify, Verb::Erase, Verb::Verify]),
        identifiers: kinds.into_iter().collect(),
        fields: fields.keys().cloned().collect(),
        batch: 100,
        verify_after: Duration::ZERO,
    };
    Ok(Arc::new(Directory {
        manifest,
        address,
        base_dn,
        scope,
        filter,
        identify,
        fields,
        on_delete,
        attributes,
        wanted,
        max_entries,
        max_matches: spec.max_matches,
        schema_read: OnceLock::new(),
    }))
}

impl Directory {
    async fn look(&self, crowd: &Crowd) -> Result<(Session<'_>, Vec<Found>), Trouble> {
        let mut session = Session::open(&self.address).await?;
        let found = self.find(&mut session, crowd).await?;
        Ok((session, found))
    }

    fn unsearched(&self, crowd: &Crowd, person: usize) -> Vec<Retained> {
        if crowd.is_searchable(person, &self.manifest.identifiers) {
            Vec::new()
        } else {
            vec![flat::unsearched(COLLECTION)]
        }
    }

    fn evidence(action: &str, touched: &Touched, left: &Touched, changing: bool) -> Evidence {
        flat::evidence([(COLLECTION, action)], touched, left, changing)
    }

    const fn deleting(&self) -> (&'static str, Effect) {
        match self.on_delete {
            OnDelete::Delete => ("delete", Effect::Permanent),
            OnDelete::Null(_) => ("null", Effect::Anonymised),
        }
    }

    fn seen(&self, crowd: &Crowd, person: usize, found: &Found, action: &str) -> Outcome {
        let max_matches = if action == "search" { u64::MAX } else { self.max_matches };
        if let Err(trouble) = found.met.settle(found.hits.len() as u64, max_matches) {
            return Outcome::Trouble(trouble);
        }
        let touched = found.touched();
        let evidence = Self::evidence(action, &touched, &touched, false);
        flat::seen(&touched, evidence, self.unsearched(crowd, person), found.met.yielded())
    }

    async fn hand_over(&self, key: &str, found: &Found, sink: &dyn ExportSink) -> Result<(), Trouble> {
        found.met.settle(found.hits.len() as u64, self.max_matches)?;
        if found.hits.iter().any(entry::Entry::is_in_parts) {
            return Err(Trouble::Denied(Problem::new(
                "attribute_in_parts",
                "the directory gives a long attribute only in parts; name the attributes to hand over without it",
            )));
        }
        for hit in &found.hits {
            sink.record(key, COLLECTION, hit.record(self.attributes.as_deref())).await?;
        }
        Ok(())
    }

    fn corrected(touched: &Touched, retained: Vec<Retained>) -> Outcome {
        let mut evidence = Self::evidence("update", touched, touched, false);
        let changed = touched.due(COLLECTION);
        evidence.collections.iter_mut().for_each(|line| line.changed = changed);
        if touched.is_empty() {
            return flat::seen(touched, evidence, retained, Vec::new());
        }
        let receipt = Some(touched.receipt());
        Outcome::Done(Done { found: touched.total(), changed, retained, evidence, receipt, ..Done::default() })
    }

    async fn second_look(&self, verb: Verb, batch: &[Work<'_>]) -> Result<Vec<Verdict>, Trouble> {
        let crowd = Crowd::of(batch);
        let (mut session, found) = self.look(&crowd).await?;
        let mut prior = Vec::with_capacity(batch.len());
        for work in batch.iter().filter(|_| verb == Verb::Erase) {
            prior.push(Touched::read(work.prior));
        }
        let keys: BTreeSet<String> = prior
            .iter()
            .flatten()
            .filter_map(|touched| touched.0.get(COLLECTION))
            .flat_map(|keys| keys.keys().cloned())
            .collect();
        let there = self.still_there(&mut session, &keys).await?;
        session.close().await;
        let there: BTreeSet<String> = there.iter().filter(|entry| self.is_left(entry)).map(entry::Entry::key).collect();
        let mut prior = prior.into_iter();
        let verdict = |(work, mut found): (&Work<'_>, Found)| {
            let before = match prior.next().transpose() {
                Ok(before) => before.unwrap_or_default(),
                Err(trouble) => return Verdict::Trouble(trouble),
            };
            if let Err(trouble) = found.met.settle(0, u64::MAX) {
                return Verdict::Trouble(trouble);
            }
            let mut all = found.touched();
            found
                .hits
                .retain(|hit| if verb == Verb::Erase { self.is_left(hit) } else { !self.wrong(hit, work).is_empty() });
            let mut left = found.touched();
            for key in before.0.get(COLLECTION).into_iter().flat_map(BTreeMap::keys).filter(|key| there.contains(*key))
            {
                all.add(COLLECTION, key, 1);
                left.add(COLLECTION, key, 1);
            }
            let action = if verb == Verb::Erase { self.deleting().0 } else { "update" };
            flat::verdict(&left, Self::evidence(action, &all, &left, false))
        };
        Ok(batch.iter().zip(found).map(verdict).collect())
    }

    async fn look_over(&self) -> Result<CheckReport, Trouble> {
        let mut report = CheckReport::default();
        let mut session = Session::open(&self.address).await?;
        let known = self.known(&mut session).await?;
        let unseen = self.unseen(&mut session).await?;
        session.close().await;
        if unseen.iter().any(|name| name == "base_dn") {
            report
                .warnings
                .push("bind_dn may not read the entry of base_dn itself; does it see those below?".to_owned());
        }
        for (kind, name) in &self.identify {
            if unseen.contains(name) {
                report
                    .warnings
                    .push(format!("no visible entry has {name}: there is none, or bind_dn may not search it"));
            } else {
                report.ok.push(format!("{} by {name}", kind.as_str()));
            }
        }
        report.ok.push("signed in as bind_dn".to_owned());
        if !known {
            report.warnings.push("the schema cannot be read: a misspelt attribute would not be noticed".to_owned());
        }
        report.warnings.push(
            match self.on_delete {
                OnDelete::Delete => {
                    "groups keep the name of a deleted entry, unless the server has referential integrity"
                }
                OnDelete::Null(_) => "the name of an entry (its DN) stays, and may itself be personal",
            }
            .to_owned(),
        );
        Ok(report)
    }
}

#[async_trait]
impl Connector for Directory {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn ask_before_calls(&self, gate: Arc<dyn Gate>) -> bool {
        let _the_first_one_stays = self.address.gate.set(gate);
        true
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        self.look_over().await.map_err(|trouble| match trouble {
            Trouble::Retry(problem) | Trouble::Denied(problem) | Trouble::Ambiguous { problem, .. } => problem,
            _ => Problem::new("throttled", "the fleet's limits for this system are used up; check again later"),
        })
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        let crowd = Crowd::of(batch);
        let (session, found) = match self.look(&crowd).await {
            Err(trouble) => return flat::all(batch, &trouble),
            Ok(seen) => seen,
        };
        session.close().await;
        found.iter().enumerate().map(|(person, found)| self.seen(&crowd, person, found, "search")).collect()
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        let crowd = Crowd::of(batch);
        let (session, found) = match self.look(&crowd).await {
            Err(trouble) => return flat::all(batch, &trouble),
            Ok(seen) => seen,
        };
        session.close().await;
        let mut answers = Vec::with_capacity(batch.len());
        for (person, (work, found)) in batch.iter().zip(&found).enumerate() {
            answers.push(match self.hand_over(work.key, found, sink).await {
                Err(trouble) => Outcome::Trouble(trouble),
                Ok(()) => self.seen(&crowd, person, found, "export"),
            });
        }
        answers
    }

    async fn rectify(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        let crowd = Crowd::of(batch);
        let (mut session, found) = match self.look(&crowd).await {
            Err(trouble) => return flat::all(batch, &trouble),
            Ok(seen) => seen,
        };
        let plans = batch.iter().zip(&found).map(|(work, found)| self.plan_correction(work, found)).collect();
        let done = self.carry_out(&mut session, batch, plans, journal).await;
        session.close().await;
        let answer = |(person, done): (usize, Result<Touched, Trouble>)| match done {
            Err(trouble) => Outcome::Trouble(trouble),
            Ok(touched) => Self::corrected(&touched, self.unsearched(&crowd, person)),
        };
        done.into_iter().enumerate().map(answer).collect()
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        let crowd = Crowd::of(batch);
        let (mut session, found) = match self.look(&crowd).await {
            Err(trouble) => return flat::all(batch, &trouble),
            Ok(seen) => seen,
        };
        let plans = batch.iter().zip(&found).map(|(work, found)| self.plan_erasure(work, found)).collect();
        let done = self.carry_out(&mut session, batch, plans, journal).await;
        session.close().await;
        let (action, effect) = self.deleting();
        let answer = |(person, done): (usize, Result<Touched, Trouble>)| match done {
            Err(trouble) => Outcome::Trouble(trouble),
            Ok(touched) => {
                let left = Touched::default();
                let evidence = Self::evidence(action, &touched, &left, true);
                let (retained, yielded) = (self.unsearched(&crowd, person), found[person].met.yielded());
                flat::erased(&touched, &left, evidence, retained, effect.clone(), yielded)
            }
        };
        done.into_iter().enumerate().map(answer).collect()
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        if !matches!(verb, Verb::Erase | Verb::Rectify) {
            return flat::all_verdicts(batch, &flat::unsupported());
        }
        self.second_look(verb, batch).await.unwrap_or_else(|trouble| flat::all_verdicts(batch, &trouble))
    }
}
