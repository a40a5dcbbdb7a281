//! An S3 system is a bucket of objects; some are one person's by their key, some hold rows of many people.
//!
//! Rows are found by reading every declared object whole, and erased by writing the object anew without them: once for all
//! people of a batch, and only if nobody else wrote it meanwhile (`If-Match`). What is not the person's keeps its bytes.
//! Where the bucket has versions, old versions that hold the person are read too and deleted by their id; what an Object
//! Lock holds is told as retained. A record that is the same in several versions counts once.

mod client;
mod csv;
mod jsonl;
#[cfg(feature = "parquet")]
mod parquet;
mod rows;
mod scan;
mod settings;
#[cfg(test)]
mod tests;
mod work;
mod xml;

use crate::flat::{self, Crowd, Touched};
use crate::registry::Entry;
use crate::{
    CheckReport, Connector, ExportSink, Gate, Journal, Manifest, Outcome, Problem, SpecFault, SystemSpec, Told,
    Trouble, Verdict, Work,
};
use async_trait::async_trait;
use client::Client;
use redress_domain::{IdentifierType, Verb};
use scan::{Depth, Found};
use settings::Config;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "s3",
    about: "a bucket of S3 or of a store that speaks like it: whole objects, and rows of CSV and JSONL objects",
    settings: "{ bucket = \"acme-data\", region = \"eu-central-1\", objects = [ { prefix = \"customers/\", suffix = \".csv\", format = \"csv\", identify = { email = \"email\" }, fields = { full_name = \"full_name\" }, delimiter = \",\" }, { prefix = \"uploads/\", format = \"object\", identify = { customer_id = \"1\" } } ], base_url = \"https://minio.acme.example/\", path_style = true, max_object_mb = 256, max_objects = 100000 }",
    verbs: &["discover", "export", "rectify", "erase", "verify"],
};

/// Checks the settings and makes the connector.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let config = Arc::new(settings::read(spec)?);
    let identifiers: BTreeSet<IdentifierType> = config.patterns.iter().flat_map(settings::Pattern::types).collect();
    let fields: BTreeSet<String> = config.patterns.iter().flat_map(|p| p.fields.keys().cloned()).collect();
    let manifest = Manifest {
        connector: ENTRY.name.into(),
        verbs: Cow::Borrowed(&[Verb::Discover, Verb::Export, Verb::Rectify, Verb::Erase, Verb::Verify]),
        identifiers: identifiers.into_iter().collect(),
        fields: fields.into_iter().collect(),
        batch: 200,
        verify_after: Duration::ZERO,
    };
    let client = Client::new(&config, &spec.network);
    Ok(Arc::new(S3 { manifest, config, client }))
}

struct S3 {
    manifest: Manifest,
    config: Arc<Config>,
    client: Client,
}

/// Runs what computes for long where it does not hold up others. A reader that gives up on a broken object is no crash of ours.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Trouble::Denied(Problem::new(
            "object_malformed",
            "an object could not be read to its end; look at those that were changed last",
        )))
    })
}

impl S3 {
    async fn has_versions(&self) -> Result<bool, Trouble> {
        self.client.has_versions().await
    }

    /// The collections that could not be searched for a person.
    fn unsearched(&self, crowd: &Crowd, person: usize) -> Vec<crate::Retained> {
        let patterns = self.config.patterns.iter();
        let not = patterns.filter(|pattern| !crowd.is_searchable(person, &pattern.types()));
        not.map(|pattern| flat::unsearched(&pattern.label)).collect()
    }

    fn evidence(&self, action: &str, touched: &Touched, left: &Touched, changing: bool) -> crate::Evidence {
        let patterns = self.config.patterns.iter().map(|pattern| (pattern.label.as_str(), action));
        flat::evidence(patterns, touched, left, changing)
    }

    fn seen(&self, crowd: &Crowd, person: usize, found: &Found, action: &str) -> Outcome {
        // Any number may be counted.
        let max_matches = if action == "search" { u64::MAX } else { self.config.max_matches };
        if let Err(trouble) = found.met.settle(found.rows_at_once, max_matches) {
            return Outcome::Trouble(trouble);
        }
        let touched = found.touched(&self.config.patterns);
        let evidence = self.evidence(action, &touched, &touched, false);
        flat::seen(&touched, evidence, self.unsearched(crowd, person), found.met.yielded())
    }
}

#[async_trait]
impl Connector for S3 {
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
        self.survey().await.map_err(|trouble| match trouble {
            Trouble::Retry(problem) | Trouble::Denied(problem) => problem,
            _ => Problem::new("throttled", "the store asked us to wait; check again later"),
        })
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        if batch.is_empty() {
            return Vec::new();
        }
        let crowd = Arc::new(Crowd::of(batch));
        match self.scan(&crowd, Depth::Ever, false).await {
            Err(trouble) => flat::all(batch, &trouble),
            Ok(found) => {
                found.iter().enumerate().map(|(person, found)| self.seen(&crowd, person, found, "search")).collect()
            }
        }
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        if batch.is_empty() {
            return Vec::new();
        }
        let crowd = Arc::new(Crowd::of(batch));
        let found = match self.scan(&crowd, Depth::Ever, true).await {
            Err(trouble) => return flat::all(batch, &trouble),
            Ok(found) => found,
        };
        let mut answers = Vec::with_capacity(batch.len());
        for (person, (work, found)) in batch.iter().zip(&found).enumerate() {
            let handed_over = self.hand_over(work.key, found, sink).await;
            answers.push(match handed_over {
                Err(trouble) => Outcome::Trouble(trouble),
                Ok(()) => self.seen(&crowd, person, found, "export"),
            });
        }
        answers
    }

    async fn rectify(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        if batch.is_empty() {
            return Vec::new();
        }
        self.correct(batch, journal).await.unwrap_or_else(|trouble| flat::all(batch, &trouble))
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        if batch.is_empty() {
            return Vec::new();
        }
        self.remove(batch, journal).await.unwrap_or_else(|trouble| flat::all(batch, &trouble))
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        if batch.is_empty() {
            return Vec::new();
        }
        let verdicts = match verb {
            Verb::Erase => self.verify_removed(batch).await,
            Verb::Rectify => self.verify_corrected(batch).await,
            _ => Err(flat::unsupported()),
        };
        verdicts.unwrap_or_else(|trouble| flat::all_verdicts(batch, &trouble))
    }
}
