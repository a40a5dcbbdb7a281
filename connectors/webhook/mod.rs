//! An in-house system behind one signed address: each verb is a call, answered at once or asked for again later.
//!
//! The receiver searches, compares and changes by itself; what it answers is taken only if it is consistent, and its second
//! look is asked for with a second call. `docs/webhook-connector.md` is the agreement, with a receiver to start from.

mod answer;
mod sign;
#[cfg(test)]
mod tests;

pub use sign::{SigningSecret, TOLERANCE_SECONDS};

use crate::http::{Call, Line, Method};
use crate::registry::Entry;
use crate::report::REPORT_MAX;
use crate::settings::Settings;
use crate::{
    Awaited, CheckReport, CollectionEvidence, Connector, Evidence, ExportSink, Gate, Journal, Manifest, Outcome,
    Problem, SpecFault, SystemSpec, Told, Trouble, Verdict, Work,
};
use answer::Said;
use async_trait::async_trait;
use futures::StreamExt as _;
use redress_domain::{Clock as _, SystemClock, Verb};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// For the registry.
pub(crate) const ENTRY: Entry = Entry {
    name: "webhook",
    about: "An in-house system that takes signed calls (Standard Webhooks); see docs/webhook-connector.md",
    settings: "{ base_url, identifiers = [\"customer_id\", …], fields = [], verbs = [\"discover\", …], verify_after_seconds = 0, concurrency = 4 }",
    verbs: &["discover", "export", "rectify", "erase", "verify"],
};

const VERBS: [Verb; 5] = [Verb::Discover, Verb::Export, Verb::Rectify, Verb::Erase, Verb::Verify];

/// Checks a specification and makes the connector.
pub(crate) fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let text = settings.required("base_url");
    let url = if text.is_empty() { None } else { crate::opendsr::url(&mut settings, spec, "base_url", &text) };
    let identifiers = crate::manual::identifiers(&mut settings);
    let fields = settings.texts("fields").unwrap_or_default();
    let mut verbs = VERBS.to_vec();
    if let Some(names) = settings.texts("verbs") {
        verbs.retain(|verb| *verb == Verb::Verify || names.iter().any(|name| name == verb.as_str()));
        if names.iter().any(|name| !VERBS.iter().any(|verb| verb.as_str() == name)) {
            settings.fault("verbs", "must be of discover, export, rectify, erase, verify");
        }
    }
    if fields.is_empty() {
        verbs.retain(|verb| *verb != Verb::Rectify);
    }
    let verify_after = Duration::from_secs(settings.number("verify_after_seconds", 0..=86_400).unwrap_or(0));
    let concurrency = settings.number("concurrency", 1..=32).unwrap_or(4) as usize;
    let names: &[&str] = if spec.secrets.contains_key("previous_signing_secret") {
        &["signing_secret", "previous_signing_secret"]
    } else {
        &["signing_secret"]
    };
    let keys: Vec<_> =
        names.iter().filter_map(|name| Some((name, SigningSecret::parse(spec.secrets.get(*name)?.expose())))).collect();
    let mut faults = settings.finish(names);
    faults.extend(keys.iter().filter(|(_, key)| key.is_none()).map(|(name, _)| {
        SpecFault::new(format!("secrets.{name}"), "must be whsec_ and the base64 of 24 to 64 random bytes")
    }));
    let keys: Vec<SigningSecret> = keys.into_iter().filter_map(|(_, key)| key).collect();
    let Some(url) = url.filter(|_| faults.is_empty()) else { return Err(faults) };
    let manifest =
        Manifest { connector: "webhook".into(), verbs: verbs.into(), identifiers, fields, batch: 20, verify_after };
    let line = Line::new(&spec.network, [&url]);
    Ok(Arc::new(Webhook { manifest, url, line, keys, concurrency, max_matches: spec.max_matches }))
}

struct Webhook {
    manifest: Manifest,
    url: Url,
    line: Line,
    /// The present key, then the one before it.
    keys: Vec<SigningSecret>,
    concurrency: usize,
    max_matches: u64,
}

fn evidence(action: &str, before: u64, after: u64) -> Evidence {
    let entry = CollectionEvidence { collection: "records".into(), action: action.into(), before, changed: 0, after };
    Evidence { collections: vec![entry] }
}

fn unsupported() -> Trouble {
    Trouble::Denied(Problem::new(
        "verb_unsupported",
        "the receiver is not declared to do this; see its setting verbs and fields",
    ))
}

impl Webhook {
    /// Makes a call. The id is the same in every try of the same call, so that the receiver can tell a repetition.
    async fn call(&self, id: &str, body: &Value) -> Result<crate::http::Answer, Trouble> {
        let body = body.to_string().into_bytes();
        let now = SystemClock.now_ms() / 1_000;
        let signatures: Vec<String> = self.keys.iter().map(|key| key.sign(id, now, &body)).collect();
        let mut call = Call::new(Method::POST, self.url.clone())
            .header("webhook-id", id)
            .header("webhook-timestamp", now.to_string())
            .header("webhook-signature", signatures.join(" "))
            .header("accept", "application/json")
            .body("application/json", body);
        call.answer_max = REPORT_MAX;
        self.line.send(call).await
    }

    fn body(&self, call: &str, of: Option<Verb>, work: &Work<'_>, handle: Option<&str>) -> Value {
        let usable = work.subject.identifiers.iter().filter(|i| self.manifest.identifiers.contains(&i.kind()));
        let identifiers: Vec<Value> =
            usable.map(|i| json!({"type": i.kind().as_str(), "value": i.normal().expose()})).collect();
        let corrections: Vec<Value> =
            work.corrections.iter().map(|c| json!({"field": c.field, "value": c.value.expose()})).collect();
        let mut body = json!({
            "version": 1, "call": call, "key": work.key, "identifiers": identifiers, "max_matches": self.max_matches,
        });
        if let Some(of) = of {
            body["of"] = json!(of.as_str());
        }
        if !corrections.is_empty() {
            body["corrections"] = json!(corrections);
        }
        if let Some(handle) = handle.filter(|handle| !handle.is_empty()) {
            body["handle"] = json!(handle);
        }
        body
    }

    async fn ask(&self, id: &str, verb: Verb, body: &Value) -> Result<Said, Trouble> {
        if body["identifiers"].as_array().is_none_or(Vec::is_empty) {
            return Err(Trouble::Denied(Problem::new(
                "no_usable_identifier",
                "none of the person's identifiers is one that the receiver takes; nothing was sent",
            )));
        }
        answer::read(&self.call(id, body).await?, verb, false)
    }

    fn ambiguous(matched: u64) -> Trouble {
        Trouble::Ambiguous {
            matched,
            problem: Problem::new(
                "too_many_matches",
                "more records match than max_matches allows, or they contradict each other; look at them, then retry",
            ),
        }
    }

    fn outcome(&self, verb: Verb, said: Said, awaited: &Awaited) -> Result<Outcome, Trouble> {
        match said {
            Said::Done(report) if report.found > self.max_matches && !verb.must_be_verified() => {
                Err(Self::ambiguous(report.found))
            }
            Said::Done(report) => {
                let receipt = verb.must_be_verified().then(|| awaited.answered().receipt());
                Ok(report.outcome(verb, "reported", receipt))
            }
            Said::NothingFound => Ok(Outcome::NothingFound(evidence("search", 0, 0))),
            Said::Accepted { handle, check_after, completes_within } => {
                let receipt = awaited.with_handle(handle).receipt();
                Ok(Outcome::Accepted { receipt, check_after, completes_within })
            }
            Said::Held(reason) => Err(Trouble::Held(reason)),
            Said::Ambiguous(matched) => Err(Self::ambiguous(matched)),
            Said::Remaining(_) => Err(crate::http::unreadable()),
        }
    }

    async fn discovered(&self, work: &Work<'_>) -> Result<Outcome, Trouble> {
        if !self.manifest.verbs.contains(&Verb::Discover) {
            return Err(unsupported());
        }
        let said = self
            .ask(&format!("{}_discover", work.key), Verb::Discover, &self.body("discover", None, work, None))
            .await?;
        if matches!(said, Said::Accepted { .. }) {
            return Err(Trouble::Denied(Problem::new(
                "answer_not_as_agreed",
                "the receiver must answer discover at once; leave discover out of its verbs if it cannot",
            )));
        }
        self.outcome(Verb::Discover, said, &Awaited::order(None))
    }

    /// Export, rectify or erase. Before an effect the receiver is asked to count, if it can: too many stop here.
    async fn act(
        &self,
        verb: Verb,
        work: &Work<'_>,
        journal: Option<&dyn Journal>,
        sink: Option<&dyn ExportSink>,
    ) -> Result<Outcome, Trouble> {
        if !self.manifest.verbs.contains(&verb) {
            return Err(unsupported());
        }
        let prior = work.prior.and_then(Awaited::of);
        if let Some(prior) = prior.as_ref().filter(|prior| !prior.is_answered())
            && let Some(report) = prior.report(verb)
        {
            // It called back.
            if let Some(sink) = sink {
                report.hand_over(work.key, sink).await?;
            }
            return Ok(report.outcome(verb, "reported", verb.must_be_verified().then(|| prior.answered().receipt())));
        }
        let awaited = prior.as_ref().map_or_else(|| Awaited::order(None), Awaited::again);
        if let Some(journal) = journal {
            if prior.is_none() && self.manifest.verbs.contains(&Verb::Discover) {
                match self.discovered(work).await? {
                    Outcome::Done(_) => {}
                    other => return Ok(other),
                }
            }
            // Says too whether we may still act.
            journal.intend(work.key, &awaited.receipt()).await?;
        }
        let run = awaited.run();
        let (id, body) = match &awaited.handle {
            Some(handle) => (
                format!("{}_status_{}", work.key, SystemClock.now_ms()),
                self.body("status", Some(verb), work, Some(handle)),
            ),
            None => (format!("{}_{}_{run}", work.key, verb.as_str()), self.body(verb.as_str(), None, work, None)),
        };
        let said = self.ask(&id, verb, &body).await?;
        if let (Said::Done(report), Some(sink)) = (&said, sink)
            && report.found <= self.max_matches
        {
            report.hand_over(work.key, sink).await?;
        }
        self.outcome(verb, said, &awaited)
    }

    async fn look_again(&self, verb: Verb, work: &Work<'_>) -> Result<Verdict, Trouble> {
        let body = self.body("verify", Some(verb), work, None);
        if body["identifiers"].as_array().is_none_or(Vec::is_empty) {
            return Err(Trouble::Denied(Problem::new(
                "no_usable_identifier",
                "the receiver takes none of the person's identifiers",
            )));
        }
        // Every look is a new one.
        let id = format!("{}_verify_{}", work.key, SystemClock.now_ms());
        match answer::read(&self.call(&id, &body).await?, verb, true)? {
            Said::Remaining(0) => Ok(Verdict::Confirmed(evidence("search", 0, 0))),
            Said::Remaining(remaining) => {
                Ok(Verdict::Residue { remaining, evidence: evidence("search", remaining, remaining) })
            }
            _ => Err(crate::http::unreadable()),
        }
    }

    async fn each(
        &self,
        verb: Verb,
        batch: &[Work<'_>],
        journal: Option<&dyn Journal>,
        sink: Option<&dyn ExportSink>,
    ) -> Vec<Outcome> {
        let calls: Vec<_> = batch.iter().map(|work| self.act(verb, work, journal, sink)).collect();
        let calls = futures::stream::iter(calls).buffered(self.concurrency);
        calls.map(|outcome| outcome.unwrap_or_else(Outcome::Trouble)).collect().await
    }
}

#[async_trait]
impl Connector for Webhook {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn listen(&self, told: Arc<dyn Told>) {
        self.line.listen(told);
    }

    fn ask_before_calls(&self, gate: Arc<dyn Gate>) -> bool {
        self.line.ask_before_calls(gate);
        true
    }

    async fn check(&self) -> Result<CheckReport, Problem> {
        let id = format!("check_{}", SystemClock.now_ms());
        let answered = match self.call(&id, &json!({"version": 1, "call": "check"})).await {
            Ok(answer) if answer.status == 200 => answer.json(),
            Ok(answer) => Err(answer.trouble()),
            Err(trouble) => Err(trouble),
        };
        match answered {
            Ok(Value::Object(body)) if answer::is_ok(&body) => Ok(CheckReport {
                ok: vec!["the receiver takes our signature".into()],
                warnings: vec!["what it does is proved by its own word and its own second look".into()],
            }),
            Ok(_) => {
                Err(Problem::new("answer_not_as_agreed", "the receiver must answer a check with {\"status\":\"ok\"}"))
            }
            Err(Trouble::Retry(problem) | Trouble::Denied(problem)) => Err(problem),
            Err(_) => Err(Problem::new("throttled", "the receiver asks to wait; check again later")),
        }
    }

    async fn discover(&self, batch: &[Work<'_>]) -> Vec<Outcome> {
        let calls: Vec<_> = batch.iter().map(|work| self.discovered(work)).collect();
        let calls = futures::stream::iter(calls).buffered(self.concurrency);
        calls.map(|outcome| outcome.unwrap_or_else(Outcome::Trouble)).collect().await
    }

    async fn export(&self, batch: &[Work<'_>], sink: &dyn ExportSink) -> Vec<Outcome> {
        self.each(Verb::Export, batch, None, Some(sink)).await
    }

    async fn rectify(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        self.each(Verb::Rectify, batch, Some(journal), None).await
    }

    async fn erase(&self, batch: &[Work<'_>], journal: &dyn Journal) -> Vec<Outcome> {
        self.each(Verb::Erase, batch, Some(journal), None).await
    }

    async fn verify(&self, verb: Verb, batch: &[Work<'_>]) -> Vec<Verdict> {
        let calls: Vec<_> = batch.iter().map(|work| self.look_again(verb, work)).collect();
        let calls = futures::stream::iter(calls).buffered(self.concurrency);
        calls.map(|verdict| verdict.unwrap_or_else(Verdict::Trouble)).collect().await
    }
}
