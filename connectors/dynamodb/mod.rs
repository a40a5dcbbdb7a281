//! A DynamoDB system is some tables of items that name a person in their attributes.
//!
//! People are found by reading the declared tables whole, once for all people of a batch, as they are now
//! (`ConsistentRead`): an index finds a value only in the spelling in which it was stored, and would miss others. Items are
//! deleted and changed one by one, on the condition that the attributes by which they were found are still the same.

mod client;
#[cfg(test)]
mod tests;
mod values;

use crate::flat::{self, Crowd, Met, Touched};
use crate::http::sigv4::AccessKeys;
use crate::registry::Entry;
use crate::settings::Settings;
use crate::{
    CheckReport, Connector, Done, Effect, ExportSink, Gate, Journal, Manifest, Outcome, Problem, Retained, SpecFault,
    SystemSpec, Told, Trouble, Verdict, Work,
};
use async_trait::async_trait;
use client::{Client, Item, Written};
use redress_domain::{IdentifierType, Verb};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "dynamodb",
    about: "tables of Amazon DynamoDB, or of a store that speaks like it",
    settings: "{ region = \"eu-central-1\", tables = [ { name = \"customers\", identify = { email = \"email\", customer_id = \"id\" }, fields = { full_name = \"full_name\" } } ], base_url = \"https://dynamodb.eu-central-1.amazonaws.com/\", max_items = 1000000 }",
    verbs: &["discover", "export", "rectify", "erase", "verify"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    name: String,
    identify: BTreeMap<String, String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

struct Table {
    name: String,
    identify: Vec<(IdentifierType, String)>,
    fields: BTreeMap<String, String>,
}

impl Table {
    fn types(&self) -> Vec<IdentifierType> {
        self.identify.iter().map(|(kind, _)| *kind).collect()
    }
}

fn table(value: &Value) -> Result<Table, String> {
    let Declared { name, identify, fields } = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !(3..=255).contains(&name.len()) || !name.chars().all(fits) {
        return Err("name must be a table's name: 3 to 255 letters, digits, and _ . -".to_owned());
    }
    let identify = flat::identify(&identify).map_err(|fault| format!("identify {fault}"))?;
    if identify.iter().any(|(_, place)| fields.values().any(|field| field == place)) {
        return Err("fields may not name an attribute of identify".to_owned());
    }
    Ok(Table { name, identify, fields })
}

/// Checks the settings and makes the connector.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let region = settings.required("region");
    if !region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        settings.fault("region", "must be the name of a region, such as eu-central-1");
    }
    let url = settings.text("base_url").unwrap_or_else(|| format!("https://dynamodb.{region}.amazonaws.com/"));
    let base = settings.base_url(&url, spec.network.is_anywhere());
    let max_items = settings.number("max_items", 1..=1_000_000_000).unwrap_or(1_000_000);
    let mut tables: Vec<Table> = Vec::new();
    match settings.list("tables") {
        None | Some([]) => settings.fault("tables", "must name at least one table"),
        Some(list) => {
            for (i, value) in list.iter().enumerate() {
                match table(value) {
                    Ok(table) if tables.iter().any(|other| other.name == table.name) => {
                        settings.fault(&format!("tables.{i}"), "is declared twice");
                    }
                    Ok(table) => tables.push(table),
                    Err(fault) => settings.fault(&format!("tables.{i}"), fault),
                }
            }
        }
    }
    let mut names = vec!["access_key_id", "secret_access_key"];
    if spec.secrets.contains_key("session_token") {
        names.push("session_token");
    }
    let faults = settings.finish(&names);
    let secret = |name: &str| spec.secrets.get(name).cloned();
    let (Some(base), Some(id), Some(key)) = (base, secret("access_key_id"), secret("secret_access_key")) else {
        return Err(faults);
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let identifiers: BTreeSet<IdentifierType> = tables.iter().flat_map(Table::types).collect();
    let fields: BTreeSet<String> = tables.iter().flat_map(|table| table.fields.keys().cloned()).collect();
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Rectify, Verb::Erase, Verb::Verify]),
        identifiers: identifiers.into_iter().collect(),
        fields: fields.into_iter().collect(),
        batch: 500,
        verify_after: Duration::ZERO,
    };
    let keys = AccessKeys { id, secret: key, session: secret("session_token") };
    let client = Client::new(base, keys, &region, &spec.network);
    Ok(Arc::new(DynamoDb { manifest, client, tables, max_items, max_matches: spec.max_matches }))
}

struct DynamoDb {
    manifest: Manifest,
    client: Client,
    tables: Vec<Table>,
    max_items: u64,
    max_matches: u64,
}

/// One item of a person.
struct Hit {
    table: usize,
    key: Item,
    /// The attributes by which it was found, as they were read.
    seen: Item,
    item: Item,
}

#[derive(Default)]
struct Found {
    met: Met,
    hits: Vec<Hit>,
}

impl DynamoDb {
    /// Reads every table that may hold one of these people.
    async fn scan(&self, crowd: &Crowd) -> Result<Vec<Found>, Trouble> {
        let mut found: Vec<Found> = (0..crowd.len()).map(|_| Found::default()).collect();
        for (t, table) in self.tables.iter().enumerate().filter(|(_, table)| crowd.any_searchable(&table.types())) {
            let key = self.client.key_of(&table.name).await?;
            let (mut from, mut read) = (None, 0_u64);
            loop {
                let (items, next) = self.client.scan(&table.name, from.as_ref()).await?;
                read += items.len() as u64;
                if read > self.max_items {
                    return Err(Trouble::Denied(Problem::new(
                        "table_too_large",
                        format!(
                            "table {} has more than {} items; raise max_items: it is read whole",
                            table.name, self.max_items
                        ),
                    )));
                }
                for item in items {
                    self.judge(t, &key, &item, crowd, &mut found)?;
                }
                match next {
                    None => break,
                    next if next == from => {
                        return Err(Trouble::Retry(Problem::new(
                            "list_loops",
                            "a scan goes round in circles; nothing was concluded from it",
                        )));
                    }
                    next => from = next,
                }
            }
        }
        Ok(found)
    }

    fn judge(&self, t: usize, key: &[String], item: &Item, crowd: &Crowd, found: &mut [Found]) -> Result<(), Trouble> {
        let table = &self.tables[t];
        let values: flat::Values = table
            .identify
            .iter()
            .flat_map(|(kind, name)| values::texts(item, name).into_iter().map(|text| (*kind, text)))
            .collect();
        for judgement in crowd.judge(&values) {
            let found = &mut found[judgement.person];
            found.met.note(&table.name, &judgement, &values, crowd.person(judgement.person));
            let part = |name: &String| Some((name.clone(), item.get(name)?.clone()));
            let whole: Option<Item> = key.iter().map(part).collect();
            let seen = table.identify.iter().filter_map(|(_, name)| part(name)).collect();
            let key = whole.ok_or_else(crate::http::unreadable)?;
            found.hits.push(Hit { table: t, key, seen, item: item.clone() });
        }
        Ok(())
    }

    fn touched(&self, found: &Found) -> Touched {
        let mut touched = Touched::default();
        for hit in &found.hits {
            touched.add(&self.tables[hit.table].name, &Value::from(hit.key.clone()).to_string(), 1);
        }
        touched
    }

    fn unsearched(&self, crowd: &Crowd, person: usize) -> Vec<Retained> {
        let not = self.tables.iter().filter(|table| !crowd.is_searchable(person, &table.types()));
        not.map(|table| flat::unsearched(&table.name)).collect()
    }

    fn evidence(&self, action: &str, touched: &Touched, left: &Touched, changing: bool) -> crate::Evidence {
        flat::evidence(self.tables.iter().map(|table| (table.name.as_str(), action)), touched, left, changing)
    }

    fn seen(&self, crowd: &Crowd, person: usize, found: &Found, action: &str) -> Outcome {
        let max_matches = if action == "search" { u64::MAX } else { self.max_matches };
        if let Err(trouble) = found.met.settle(found.hits.len() as u64, max_matches) {
            return Outcome::Trouble(trouble);
        }
        let touched = self.touched(found);
        let evidence = self.evidence(action, &touched, &touched, false);
        flat::seen(&touched, evidence, self.unsearched(crowd, person), found.met.yielded())
    }

    async fn hand_over(&self, key: &str, found: &Found, sink: &dyn ExportSink) -> Result<(), Trouble> {
        found.met.settle(found.hits.len() as u64, self.max_matches)?;
        for hit in &found.hits {
            let record = hit.item.iter().map(|(name, value)| (name.clone(), values::plain(value))).collect();
            sink.record(key, &self.tables[hit.table].name, record).await?;
        }
        Ok(())
    }

    async fn erase_one(&self, work: &Work<'_>, found: &Found, journal: &dyn Journal) -> Result<Touched, Trouble> {
        found.met.settle(found.hits.len() as u64, self.max_matches)?;
        let mut touched = Touched::read(work.prior)?;
        touched.extend(&self.touched(found));
        if found.hits.is_empty() {
            return Ok(touched);
        }
        journal.intend(work.key, &touched.receipt()).await?;
        for hit in &found.hits {
            let written = self.client.delete(&self.tables[hit.table].name, &hit.key, &hit.seen).await?;
            if written == Written::Changed {
                return Err(changed(&self.tables[hit.table].name));
            }
        }
        Ok(touched)
    }

    /// What corrections would change of an item.
    fn wrong(&self, hit: &Hit, work: &Work<'_>) -> Item {
        let wrong =
            |(name, value): &(&str, &str)| values::texts(&hit.item, name).first().is_some_and(|now| now != value);
        let due = flat::applicable(&self.tables[hit.table].fields, work.corrections).into_iter().filter(wrong);
        due.map(|(name, value)| (name.to_owned(), json!({"S": value}))).collect()
    }

    async fn rectify_one(&self, work: &Work<'_>, found: &Found, journal: &dyn Journal) -> Result<Touched, Trouble> {
        found.met.settle(found.hits.len() as u64, self.max_matches)?;
        let mut touched = Touched::read(work.prior)?;
        touched.extend(&self.touched(found));
        let due: Vec<(&Hit, Item)> = found.hits.iter().map(|hit| (hit, self.wrong(hit, work))).collect();
        let due: Vec<(&Hit, Item)> = due.into_iter().filter(|(_, set)| !set.is_empty()).collect();
        for (hit, _) in &due {
            touched.add(&self.tables[hit.table].name, &Value::from(hit.key.clone()).to_string(), 1).due = true;
        }
        if due.is_empty() {
            return Ok(touched);
        }
        journal.intend(work.key, &touched.receipt()).await?;
        for (hit, set) in due {
            let written = self.client.update(&self.tables[hit.table].name, &hit.key, &hit.seen, &set).await?;
            if written == Written::Changed {
                return Err(changed(&self.tables[hit.table].name));
            }
        }
        Ok(touched)
    }

    fn corrected(&self, touched: &Touched, retained: Vec<Retained>) -> Outcome {
        let mut evidence = self.evidence("update", touched, touched, false);
        for line in &mut evidence.collections {
            line.changed = touched.due(&line.collection);
        }
        if touched.is_empty() {
            return flat::seen(touched, evidence, retained, Vec::new());
        }
        let changed = evidence.collections.iter().map(|line| line.changed).sum();
        let receipt = Some(touched.receipt());
        Outcome::Done(Done { found: touched.total(), changed, retained, evidence, receipt, ..Done::default() })
    }
}

fn changed(table: &str) -> Trouble {
    Trouble::Retry(Problem::new(
        "item_changed",
        format!("an item of table {table} was changed by somebody else in the meantime; it is tried again by itself"),
    ))
}

#[async_trait]
impl Connector for DynamoDb {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn listen(&self, told: Arc<dyn Told>) {
        self.client.line.listen(told);
    }

    fn ask_before_calls(&self, gate: Arc<dyn Gate>) -> bool {
        self.client.line.ask_before_calls(gate);
        true
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        let mut report = CheckReport::default();
        for table in &self.tables {
            let key = self.client.key_of(&table.name).await.map_err(|trouble| match trouble {
                Trouble::Retry(problem) | Trouble::Denied(problem) => problem,
                _ => Problem::new("throttled", "DynamoDB asked us to wait; check again later"),
            })?;
            if table.fields.values().any(|field| key.contains(field)) {
                let detail =
                    format!("table {}: a field is part of the primary key and cannot change; remove it", table.name);
                return Err(Problem::new("field_is_key", detail));
            }
            report.ok.push(format!("table {}: key {}", table.name, key.join(" and ")));
        }
        Ok(report)
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        let crowd = Crowd::of(batch);
        match self.scan(&crowd).await {
            Err(trouble) => flat::all(batch, &trouble),
            Ok(found) => {
                found.iter().enumerate().map(|(person, found)| self.seen(&crowd, person, found, "search")).collect()
            }
        }
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        let crowd = Crowd::of(batch);
        let found = match self.scan(&crowd).await {
            Err(trouble) => return flat::all(batch, &trouble),
            Ok(found) => found,
        };
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
        let found = match self.scan(&crowd).await {
            Err(trouble) => return flat::all(batch, &trouble),
            Ok(found) => found,
        };
        let mut answers = Vec::with_capacity(batch.len());
        for (person, (work, found)) in batch.iter().zip(&found).enumerate() {
            answers.push(match self.rectify_one(work, found, journal).await {
                Err(trouble) => Outcome::Trouble(trouble),
                Ok(touched) => self.corrected(&touched, self.unsearched(&crowd, person)),
            });
        }
        answers
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        let crowd = Crowd::of(batch);
        let found = match self.scan(&crowd).await {
            Err(trouble) => return flat::all(batch, &trouble),
            Ok(found) => found,
        };
        let mut answers = Vec::with_capacity(batch.len());
        for (person, (work, found)) in batch.iter().zip(&found).enumerate() {
            answers.push(match self.erase_one(work, found, journal).await {
                Err(trouble) => Outcome::Trouble(trouble),
                Ok(touched) => {
                    let left = Touched::default();
                    let evidence = self.evidence("delete", &touched, &left, true);
                    let retained = self.unsearched(&crowd, person);
                    flat::erased(&touched, &left, evidence, retained, Effect::Permanent, found.met.yielded())
                }
            });
        }
        answers
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        if !matches!(verb, Verb::Erase | Verb::Rectify) {
            return flat::all_verdicts(batch, &flat::unsupported());
        }
        let crowd = Crowd::of(batch);
        let found = match self.scan(&crowd).await {
            Err(trouble) => return flat::all_verdicts(batch, &trouble),
            Ok(found) => found,
        };
        let verdict = |(work, mut found): (&Work<'_>, Found)| {
            if let Err(trouble) = found.met.settle(0, u64::MAX) {
                return Verdict::Trouble(trouble);
            }
            let action = if verb == Verb::Erase { "delete" } else { "update" };
            let all = self.touched(&found);
            found.hits.retain(|hit| verb == Verb::Erase || !self.wrong(hit, work).is_empty());
            let left = self.touched(&found);
            flat::verdict(&left, self.evidence(action, &all, &left, false))
        };
        batch.iter().zip(found).map(verdict).collect()
    }
}
