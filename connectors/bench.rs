//! The connector for measuring Redress against its own limited local server ([`server::LimitedServer`]): a vendor with a batch
//! endpoint, a rate limit and nothing else.
//!
//! It is HTTP without encryption to a host and port, batches of 300, and honours what the server says about its limits. Where
//! private addresses are not allowed, neither is this.

mod client;
pub mod server;
#[cfg(test)]
mod tests;

use crate::registry::Entry;
use crate::settings::Settings;
use crate::{
    CheckReport, CollectionEvidence, Connector, Done, Evidence, ExportSink, Journal, Manifest, Outcome, Problem,
    Receipt, SpecFault, SystemSpec, Told, Trouble, Verdict, Work,
};
use async_trait::async_trait;
use client::{Answered, Client, Row};
use redress_domain::limits::feedback;
use redress_domain::{Clock as _, IdentifierType, SystemClock, Verb};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What it is, for whoever reads it; the registry does not list it.
pub const ENTRY: Entry = Entry {
    name: "bench",
    about: "for measuring Redress against its own limited local server (`redress bench limits`)",
    settings: "{ host = \"127.0.0.1\", port = 8099 }",
    verbs: &["export", "erase", "verify"],
};

/// Most people in one call.
pub const BATCH: usize = 300;

/// Checks the settings and makes the connector.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let host = settings.required("host");
    let port = settings.number("port", 1..=65_535).unwrap_or(8_099) as u16;
    let faults = settings.finish(&[]);
    if !faults.is_empty() {
        return Err(faults);
    }
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Export, Verb::Erase, Verb::Verify]),
        identifiers: vec![IdentifierType::Email],
        fields: Vec::new(),
        batch: BATCH,
        verify_after: Duration::ZERO,
    };
    Ok(Arc::new(Bench { manifest, client: Client::new(host, port), told: OnceLock::new() }))
}

struct Bench {
    manifest: Manifest,
    client: Client,
    told: OnceLock<Arc<dyn Told>>,
}

fn evidence(action: &str, before: u64, changed: u64, after: u64) -> Evidence {
    let (collection, action) = ("people".to_owned(), action.to_owned());
    Evidence { collections: vec![CollectionEvidence { collection, action, before, changed, after }] }
}

impl Bench {
    /// Calls the server once for all of these, and gives its row for each.
    async fn call(&self, path: &str, batch: &[&Work<'_>]) -> Result<Vec<Row>, Trouble> {
        let mut body = String::new();
        for work in batch {
            let email = work.subject.identifiers.iter().find(|i| i.kind() == IdentifierType::Email);
            let email = email.map_or("", |email| email.normal().expose().as_str());
            body.extend([work.key, "\t", email, "\n"]);
        }
        let answered = self.client.post(path, &body).await.map_err(|_| {
            Trouble::Retry(Problem::new("unreachable", "the bench server does not answer; is it running?"))
        })?;
        let Answered { status, headers, body } = answered;
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let said = feedback(status, headers, SystemClock.now_ms());
        if let Some(told) = self.told.get().filter(|_| !said.is_empty()) {
            told.told(said);
        }
        match status {
            200 => client::rows(&body, batch.len()).ok_or_else(|| {
                Trouble::Retry(Problem::new("answer_unreadable", "the bench server's answer is not whole"))
            }),
            429 | 503 => Err(Trouble::Throttled(Duration::from_millis(said.wait_ms.unwrap_or(1_000).max(0) as u64))),
            500.. => Err(Trouble::Retry(Problem::new("server_error", "the bench server had an error"))),
            _ => Err(Trouble::Denied(Problem::new("refused", "the bench server refused the call"))),
        }
    }

    async fn all(&self, path: &str, batch: &[Work<'_>]) -> Vec<Result<Row, Trouble>> {
        let works: Vec<&Work<'_>> = batch.iter().collect();
        match self.call(path, &works).await {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(trouble) => batch.iter().map(|_| Err(trouble.clone())).collect(),
        }
    }
}

fn unsupported() -> Outcome {
    Outcome::Trouble(Trouble::Denied(Problem::new("verb_unsupported", "the bench server cannot do this")))
}

#[async_trait]
impl Connector for Bench {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn listen(&self, told: Arc<dyn Told>) {
        let _the_first_one_stays = self.told.set(told);
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        match self.client.post("/check", "").await {
            Ok(answered) if answered.status == 200 => {
                Ok(CheckReport { ok: vec!["the bench server answers".into()], warnings: Vec::new() })
            }
            _ => Err(Problem::new("unreachable", "the bench server does not answer; is it running?")),
        }
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        batch.iter().map(|_| unsupported()).collect()
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for (row, work) in self.all("/export", batch).await.into_iter().zip(batch) {
            outcomes.push(match row {
                Err(trouble) => Outcome::Trouble(trouble),
                Ok(row) if row.found == 0 => Outcome::NothingFound(evidence("export", 0, 0, 0)),
                Ok(row) => {
                    let record = Map::from_iter([("records".to_owned(), Value::from(row.found))]);
                    if let Err(lost) = sink.record(work.key, "people", record).await {
                        Outcome::Trouble(lost.into())
                    } else {
                        let evidence = evidence("export", row.found, 0, row.found);
                        Outcome::Done(Done { found: row.found, evidence, ..Done::default() })
                    }
                }
            });
        }
        outcomes
    }

    async fn rectify(&self, batch: &[Work<'_>], _: &dyn Journal) -> Vec<Outcome> {
        batch.iter().map(|_| unsupported()).collect()
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        let receipt = Receipt("people".into());
        let items: Vec<(&str, &Receipt)> = batch.iter().map(|work| (work.key, &receipt)).collect();
        let may = journal.intend_all(&items).await;
        let ours: Vec<&Work<'_>> =
            batch.iter().zip(&may).filter(|(_, may)| may.is_ok()).map(|(work, _)| work).collect();
        let rows = if ours.is_empty() { Ok(Vec::new()) } else { self.call("/erase", &ours).await };
        let mut rows = rows.map(Vec::into_iter);
        let mut outcomes = Vec::with_capacity(batch.len());
        for may in may {
            outcomes.push(match (may, &mut rows) {
                (Err(lost), _) => Outcome::Trouble(lost.into()),
                (Ok(()), Err(trouble)) => Outcome::Trouble(trouble.clone()),
                (Ok(()), Ok(rows)) => match rows.next() {
                    // The server keeps our key: asked again, it says what was done the first time.
                    Some(row) if row.found > 0 => Outcome::Done(Done {
                        found: row.found,
                        changed: row.changed,
                        evidence: evidence("delete", row.found, row.changed, 0),
                        receipt: Some(receipt.clone()),
                        ..Done::default()
                    }),
                    _ => Outcome::NothingFound(evidence("delete", 0, 0, 0)),
                },
            });
        }
        outcomes
    }

    async fn verify(&self, _: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        let rows = self.all("/verify", batch).await;
        let verdict = |row| match row {
            Err(trouble) => Verdict::Trouble(trouble),
            Ok(Row { found: 0, .. }) => Verdict::Confirmed(evidence("search", 0, 0, 0)),
            Ok(Row { found, .. }) => {
                Verdict::Residue { remaining: found, evidence: evidence("search", found, 0, found) }
            }
        };
        rows.into_iter().map(verdict).collect()
    }
}
