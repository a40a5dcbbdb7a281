//! A downstream processor that speaks OpenDSR: it is sent the request, and asked until it says that it fulfilled it.
//!
//! It cannot be searched. What was found and deleted is its word, with its signature: evidence therefore says
//! `completed_signed` or `completed_unsigned`, never `delete`, and the second read asks the same processor again.

mod desk;
mod dialect;
mod order;
mod settings;
mod signature;
#[cfg(test)]
mod tests;

pub(crate) use settings::url;

use crate::http::Line;
use crate::registry::Entry;
use crate::{
    CheckReport, CollectionEvidence, Connector, Done, Evidence, ExportSink, Gate, Journal, Manifest, Outcome, Problem,
    SpecFault, SystemSpec, Told, Trouble, Verdict, Work,
};
use async_trait::async_trait;
use desk::{Desk, Progress};
use futures::StreamExt as _;
use order::Order;
use redress_domain::{Clock as _, SystemClock, Verb};
use rustls::pki_types::TrustAnchor;
use serde_json::Value;
use signature::{Chain, Signing};
use std::sync::Arc;
use std::time::Duration;

/// For the registry.
pub(crate) const ENTRY: Entry = Entry {
    name: "opendsr",
    about: "A processor that takes OpenDSR (OpenGDPR) requests: mParticle, AppsFlyer, or by the specification",
    settings: "{ base_url, dialect = \"spec|spec_v1|mparticle|mparticle_v3|appsflyer\", identities = { email = \"email\" }, regulation = \"gdpr|ccpa\", identity_format = \"raw|sha256|sha1\", property_id, domain, hosts = [], signatures = \"required|if_present|off\", certificate, check_every_seconds = 3600 }",
    verbs: &["export", "erase", "verify"],
};

const VERBS: &[Verb] = &[Verb::Export, Verb::Erase, Verb::Verify];
/// So many orders of a batch are under way at once.
const AT_ONCE: usize = 4;

/// Checks a specification and makes the connector.
pub(crate) fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    trusting(spec, Chain::roots)
}

fn trusting(spec: &SystemSpec, roots: fn() -> Vec<TrustAnchor<'static>>) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let config = settings::read(spec)?;
    let line = Line::new(&spec.network, std::iter::once(&config.base).chain(&config.hosts));
    let manifest = Manifest {
        connector: "opendsr".into(),
        verbs: VERBS.into(),
        identifiers: config.identities.iter().map(|(kind, _)| *kind).collect(),
        fields: Vec::new(),
        batch: 20,
        verify_after: Duration::ZERO,
    };
    Ok(Arc::new(OpenDsr { manifest, desk: Desk::new(config, line, roots) }))
}

struct OpenDsr {
    manifest: Manifest,
    desk: Desk,
}

fn evidence(verb: Verb, order: &Order, count: u64) -> Evidence {
    let action = if order.signed { "completed_signed" } else { "completed_unsigned" };
    let changed = if verb == Verb::Erase { count } else { 0 };
    Evidence {
        collections: vec![CollectionEvidence {
            collection: "opendsr request".into(),
            action: action.into(),
            before: count,
            changed,
            after: count - changed,
        }],
    }
}

fn unsupported() -> Outcome {
    Outcome::Trouble(Trouble::Denied(Problem::new("verb_unsupported", "OpenDSR knows access and erasure only")))
}

impl OpenDsr {
    fn now() -> String {
        let now = SystemClock.now().to_string();
        now.split_once('.').map_or(now.clone(), |(seconds, _)| format!("{seconds}Z"))
    }

    fn running(&self, order: &Order, within: Option<Duration>) -> Outcome {
        Outcome::Accepted { receipt: order.receipt(), check_after: self.desk.config.every, completes_within: within }
    }

    async fn act(
        &self,
        verb: Verb,
        work: &Work<'_>,
        journal: Option<&dyn Journal>,
        sink: Option<&dyn ExportSink>,
    ) -> Outcome {
        match self.order(verb, work, journal, sink).await {
            Ok(outcome) => outcome,
            Err(trouble) => Outcome::Trouble(trouble),
        }
    }

    async fn order(
        &self,
        verb: Verb,
        work: &Work<'_>,
        journal: Option<&dyn Journal>,
        sink: Option<&dyn ExportSink>,
    ) -> Result<Outcome, Trouble> {
        let desk = &self.desk;
        let mut order = Order::of(work, verb, &desk.config.domain, &Self::now());
        let mut progress = if order.taken { desk.ask(&mut order).await? } else { Progress::Unknown };
        if matches!(progress, Progress::Unknown) {
            if order.taken {
                return Err(Trouble::Denied(Problem::new(
                    "order_forgotten",
                    "the processor took the request and does not know it any more; ask it what became of it",
                )));
            }
            if let Some(journal) = journal {
                journal.intend(work.key, &order.receipt()).await?;
            }
            progress = desk.place(work, verb, &mut order).await?;
        }
        match progress {
            Progress::Running(within) => Ok(self.running(&order, within)),
            Progress::Unknown => Err(Trouble::Retry(Problem::new(
                "order_not_taken",
                "the processor did not take the request; it is tried again by itself",
            ))),
            Progress::Cancelled(Some(reason)) => Err(Trouble::Held(reason)),
            Progress::Cancelled(None) => {
                // A retry by a person places another order.
                if let Some(journal) = journal {
                    let next = order.next(work, verb, &desk.config.domain, &Self::now());
                    journal.intend(work.key, &next.receipt()).await?;
                }
                Err(Trouble::Denied(Problem::new(
                    "cancelled_by_processor",
                    "the processor cancelled the request; ask it why, then retry: that sends another one",
                )))
            }
            Progress::Completed(Some(0), _) => Ok(Outcome::NothingFound(evidence(verb, &order, 0))),
            Progress::Completed(count, url) => match sink {
                Some(sink) => self.hand_over(work, order, count, url, sink).await,
                // Without a count the one thing that is known is that this request was fulfilled.
                None => Ok(done(verb, &order, count.unwrap_or(1))),
            },
        }
    }

    async fn hand_over(
        &self,
        work: &Work<'_>,
        order: Order,
        count: Option<u64>,
        url: Option<String>,
        sink: &dyn ExportSink,
    ) -> Result<Outcome, Trouble> {
        let answer = self.desk.results(&order, url.as_deref()).await?;
        let media_type = answer.header("content-type").unwrap_or("application/octet-stream").to_owned();
        let kind = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match answer.status {
            // mParticle: nobody matched.
            404 if count.is_none() && answer.json().is_ok() => {
                Ok(Outcome::NothingFound(evidence(Verb::Export, &order, 0)))
            }
            // It was fetched too late: order it again.
            410 => {
                let mut next = order.next(work, Verb::Export, &self.desk.config.domain, &Self::now());
                match self.desk.place(work, Verb::Export, &mut next).await? {
                    Progress::Running(within) => Ok(self.running(&next, within)),
                    _ => Ok(self.running(&next, None)),
                }
            }
            200 if kind == "text/html" || answer.body.is_empty() => Err(crate::http::unreadable()),
            200 => {
                let name = match kind.as_str() {
                    "application/json" => "results.json",
                    "application/zip" | "application/x-zip-compressed" => "results.zip",
                    "text/csv" => "results.csv",
                    "text/plain" => "results.txt",
                    _ => "results.bin",
                };
                // A half of a JSON answer is not an answer.
                if kind == "application/json" {
                    answer.json()?;
                }
                sink.attachment(work.key, "opendsr", name, &kind, &answer.body).await?;
                Ok(done(Verb::Export, &order, count.unwrap_or(1)))
            }
            _ => Err(answer.trouble()),
        }
    }
}

fn done(verb: Verb, order: &Order, count: u64) -> Outcome {
    Outcome::Done(Done {
        found: count,
        changed: if verb == Verb::Erase { count } else { 0 },
        evidence: evidence(verb, order, count),
        receipt: Some(order.receipt()),
        // Whether something stays in the processor's backups is not in the protocol.
        effect: None,
        ..Done::default()
    })
}

/// The words of a list of texts, or of a text (AppsFlyer).
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split([',', ' ']).filter(|word| !word.is_empty()).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn problem(trouble: Trouble) -> Problem {
    match trouble {
        Trouble::Retry(problem) | Trouble::Denied(problem) | Trouble::Ambiguous { problem, .. } => problem,
        _ => Problem::new("throttled", "the processor asks to wait; check again later"),
    }
}

#[async_trait]
impl Connector for OpenDsr {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn listen(&self, told: Arc<dyn Told>) {
        self.desk.line.listen(told);
    }

    fn ask_before_calls(&self, gate: Arc<dyn Gate>) -> bool {
        self.desk.line.ask_before_calls(gate);
        true
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        let config = &self.desk.config;
        let told = self.desk.discover().await.map_err(problem)?;
        if !told.is_object() {
            return Err(problem(crate::http::unreadable()));
        }
        let mut report = CheckReport { ok: vec!["the processor describes itself".into()], warnings: Vec::new() };
        let types = words(&told["supported_subject_request_types"]);
        for kind in ["access", "erasure"] {
            if types.contains(&kind) {
                report.ok.push(format!("it takes {kind}"));
            } else {
                report.warnings.push(format!("it does not say that it takes {kind}"));
            }
        }
        let known: Vec<&str> = told["supported_identities"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|i| i["identity_type"].as_str())
            .collect();
        for (kind, name) in &config.identities {
            if known.contains(&name.as_str()) {
                report.ok.push(format!("{} is its {name}", kind.as_str()));
            } else {
                report.warnings.push(format!("it does not say that it takes the identity type {name}"));
            }
        }
        match (&config.certificate, config.signing) {
            (_, Signing::Off) => report.warnings.push("signatures are not looked at".into()),
            (Some(pinned), _) if !pinned.names(&config.domain) => {
                report.warnings.push("the certificate of the settings does not name the processor's domain".into());
            }
            (Some(_), _) => report.ok.push("signatures are compared with the certificate of the settings".into()),
            (None, Signing::Required) => {
                self.desk.certificate().await.map_err(problem)?;
                report.ok.push("its certificate is in order".into());
            }
            (None, Signing::IfPresent) => report.ok.push("signatures are compared where answers have one".into()),
        }
        report.warnings.push("what it does is proved by its own word; it cannot be searched".into());
        Ok(report)
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        batch.iter().map(|_| unsupported()).collect()
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        let orders = batch.iter().map(|work| self.act(Verb::Export, work, None, Some(sink)));
        futures::stream::iter(orders.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await
    }

    async fn rectify(&self, batch: &[Work<'_>], _: &dyn Journal) -> Vec<Outcome> {
        batch.iter().map(|_| unsupported()).collect()
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        let orders = batch.iter().map(|work| self.act(Verb::Erase, work, Some(journal), None));
        futures::stream::iter(orders.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(batch.len());
        for work in batch {
            verdicts.push(self.look_again(verb, work).await);
        }
        verdicts
    }
}

impl OpenDsr {
    /// Asks the processor once more about the very request it said to have fulfilled.
    async fn look_again(&self, verb: Verb, work: &Work<'_>) -> Verdict {
        let Some(mut order) = Order::known(work, verb) else {
            return Verdict::Trouble(Trouble::Denied(Problem::new(
                "order_missing",
                "no request to this processor is on record; retry the request",
            )));
        };
        match self.desk.ask(&mut order).await {
            Ok(Progress::Completed(..)) => Verdict::Confirmed(evidence(verb, &order, 0)),
            Ok(Progress::Running(_)) => Verdict::Trouble(Trouble::Retry(Problem::new(
                "not_completed",
                "the processor is still at it; it is asked again",
            ))),
            Ok(Progress::Unknown | Progress::Cancelled(_)) => Verdict::Trouble(Trouble::Denied(Problem::new(
                "not_confirmed",
                "the processor said that the request was completed and does not say so any more; ask it",
            ))),
            Err(trouble) => Verdict::Trouble(trouble),
        }
    }
}
