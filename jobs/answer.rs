//! Making the answers of a batch: the access packages, sealed in chunks, and the certificates, signed.
//!
//! What a batch needs is read at once, made on a thread for such work, and recorded in one transaction. A person of whom
//! much was found goes alone, piece by piece, so that memory stays bounded. Whatever fails for one request fails for it
//! alone: its neighbours are then recorded without it.

mod group;
mod large;

use crate::certificate::{
    AuditLink, Certificate, CertifiedController, CertifiedDeadlines, CertifiedOutcome, CertifiedPackage,
    CertifiedRequest, CertifiedStep, CollectionCount, EffectiveDeadline, FORMAT_VERSION, OutOfScope, RetainedRecords,
    sign,
};
use crate::engine::{Engine, jitter};
use crate::package::{PackageInfo, PackageWriter, SourceSummary};
use group::{Group, grouped};
use jiff::Timestamp;
use redress_connectors::{Evidence, Retained};
use redress_domain::step::{ATTEMPTS_BEFORE_ATTENTION, INTERRUPTIONS_BEFORE_ATTENTION, StepState, backoff_ms};
use redress_domain::{ControllerId, RequestType, Verb};
use redress_store::{
    Answerable, Answered, Artifact, ArtifactMeta, Controller, Error, Finish, Lease, NewPackage, Recorded,
    SealedArtifact, SealedChunk, StepResult, StepRow, crash_point, mutant,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

/// Package chunks are sealed at this size.
const CHUNK: usize = 1024 * 1024;
/// While the database is away, what was made is kept and recording it is tried so often.
const RECORD_TRIES: u32 = 20;

/// One request whose answer is to be made.
#[derive(Debug)]
struct Asked {
    lease: Lease,
    of: Answerable,
    controller: Controller,
}

/// Makes the answers of these requests.
pub async fn run(engine: &Arc<Engine>, leases: Vec<Lease>) {
    let store = &engine.store;
    let read = futures::try_join!(store.answerable(&leases), store.controllers_of(&leases));
    let (answerable, controllers) = match read {
        Ok(read) => read,
        Err(error) => {
            let error = Arc::new(error);
            return later(engine, leases.into_iter().map(|lease| (lease, error.clone())).collect()).await;
        }
    };
    let (mut asked, mut failed) = (Vec::new(), Vec::new());
    for (lease, of) in leases.into_iter().zip(answerable) {
        match of.and_then(|of| Ok((of, controller_of(&controllers, &lease)?))) {
            Ok((of, controller)) => asked.push(Asked { lease, of, controller }),
            Err(error) => failed.push((lease, Arc::new(error))),
        }
    }
    for group in grouped(asked) {
        match group {
            Group::Together(asked) => failed.extend(together(engine, asked).await),
            Group::Alone(asked) => {
                let asked = Arc::new(asked);
                match large::make(engine, &asked).await {
                    Ok(answered) => failed.extend(record(engine, vec![answered]).await),
                    Err(Error::LeaseLost) => elsewhere(&asked.lease),
                    Err(error) => failed.push((asked.lease.clone(), Arc::new(error))),
                }
            }
        }
    }
    later(engine, failed).await;
}

fn controller_of(controllers: &BTreeMap<ControllerId, Controller>, lease: &Lease) -> Result<Controller, Error> {
    controllers.get(&lease.controller_id).cloned().ok_or(Error::NotFound)
}

fn elsewhere(lease: &Lease) {
    tracing::warn!(dsr.id = %lease.dsr_id, "the answer of {} is being made elsewhere", lease.dsr_id);
}

/// After how many failures in a row a person is asked: an outage of our own database passes, whatever else is wrong does not.
fn shown_at(error: &Error) -> u32 {
    if error.is_transient() { INTERRUPTIONS_BEFORE_ATTENTION } else { ATTEMPTS_BEFORE_ATTENTION }
}

/// Says when these answers are tried again.
async fn later(engine: &Engine, failed: Vec<(Lease, Arc<Error>)>) {
    if failed.is_empty() {
        return;
    }
    let finish = |(lease, error): &(Lease, Arc<Error>)| {
        tracing::warn!(%error, dsr.id = %lease.dsr_id, "the answer of {} could not be made; it is tried again", lease.dsr_id);
        let failures = lease.failures + 1;
        let result = StepResult::Later {
            not_before: engine.store.now_ms() + backoff_ms(failures, jitter()),
            failed: true,
            attention: failures >= shown_at(error),
            code: "answer_failed".into(),
            detail: error.to_string(),
        };
        Finish { lease: lease.clone(), result }
    };
    let mut outcome = engine.store.finish(failed.iter().map(finish).collect()).await.map(drop);
    if failed.len() > 1 && outcome.as_ref().is_err_and(|error| !error.is_transient()) {
        // What is wrong with one request keeps nothing of the others from being recorded.
        outcome = Ok(());
        for one in &failed {
            outcome = engine.store.finish(vec![finish(one)]).await.map(drop).and(outcome);
        }
    }
    if let Err(error) = outcome {
        tracing::warn!(%error, "this could not be recorded either; the leases run out");
    }
}

/// Makes and records the answers of people of whom little was found; returns those that could not be made.
async fn together(engine: &Arc<Engine>, asked: Vec<Asked>) -> Vec<(Lease, Arc<Error>)> {
    let found: Vec<_> = asked.iter().filter(|a| a.of.artifact_bytes > 0).map(|a| a.lease.dsr_id.clone()).collect();
    let mut artifacts: HashMap<String, Vec<SealedArtifact>> = HashMap::new();
    if !found.is_empty() {
        match engine.store.artifacts_of(&found).await {
            Ok(all) => {
                for (dsr_id, artifact) in all {
                    artifacts.entry(dsr_id.to_string()).or_default().push(artifact);
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                return asked.into_iter().map(|a| (a.lease, error.clone())).collect();
            }
        }
    }
    let all: Vec<_> = asked
        .into_iter()
        .map(|a| {
            let artifacts = artifacts.remove(a.lease.dsr_id.as_str()).unwrap_or_default();
            Arc::new((a, artifacts))
        })
        .collect();
    let (mut made, mut failed) = (Vec::with_capacity(all.len()), Vec::new());
    let mut keep = |one: &Arc<(Asked, Vec<SealedArtifact>)>, answered| match answered {
        Ok(answered) => made.push(answered),
        Err(error) => failed.push((one.0.lease.clone(), Arc::new(error))),
    };
    match off_the_loop(engine, all.clone()).await {
        Some(answered) => all.iter().zip(answered).for_each(|(one, answered)| keep(one, answered)),
        // One of them ended the thread: alone, it ends nobody else's.
        None => {
            for one in &all {
                let answered = off_the_loop(engine, vec![one.clone()]).await.and_then(|mut all| all.pop());
                keep(one, answered.unwrap_or(Err(BROKEN)));
            }
        }
    }
    failed.extend(record(engine, made).await);
    failed
}

const BROKEN: Error = Error::Inconsistent { table: "packages", column: "zip" };

/// Makes answers on a thread for what computes; none if that thread panicked.
async fn off_the_loop(
    engine: &Arc<Engine>,
    all: Vec<Arc<(Asked, Vec<SealedArtifact>)>>,
) -> Option<Vec<Result<Answered, Error>>> {
    let engine = engine.clone();
    let make = move || all.iter().map(|one| make(&engine, &one.0, &one.1)).collect();
    tokio::task::spawn_blocking(make).await.ok()
}

fn make(engine: &Engine, asked: &Asked, artifacts: &[SealedArtifact]) -> Result<Answered, Error> {
    let now = now(engine)?;
    let (lease, of) = (&asked.lease, &asked.of);
    let (mut package, mut chunks) = (None, Vec::new());
    if is_packed(of.kind) {
        let mut writer = PackageWriter::new(Vec::new(), info(asked, now));
        for step in &of.steps {
            writer.source(summary(step));
            for sealed in artifacts.iter().filter(|a| a.step_id() == &step.id) {
                add(&mut writer, step, &sealed.open(&lease.controller_id, &lease.dsr_id, &of.key)?)?;
            }
        }
        let (zip, summary) = writer.finish(Some(&engine.signer)).map_err(|_| BROKEN)?;
        for (n, chunk) in zip.chunks(CHUNK).enumerate() {
            chunks.push(SealedChunk::seal(lease, &of.key, n as i64, chunk)?);
        }
        package = Some(NewPackage {
            bytes: summary.bytes,
            chunks: chunks.len() as i64,
            sha256: summary.sha256,
            records: summary.records,
            expires_at: expires_at(engine, &asked.controller),
        });
    }
    let certificate = certificate(engine, asked, package.as_ref(), now)?;
    crash_point("answer.made");
    Ok(Answered { lease: lease.clone(), certificate, package, chunks })
}

/// Records what was made, while the database is away again and again; returns those that cannot be recorded.
async fn record(engine: &Engine, mut made: Vec<Answered>) -> Vec<(Lease, Arc<Error>)> {
    let mut failed = Vec::new();
    let mut rest = Vec::new();
    let (mut tries, mut wait) = (0, Duration::from_millis(50));
    while !made.is_empty() {
        match engine.store.answered_all(&made).await {
            Ok(recorded) => {
                for (answered, recorded) in made.iter().zip(recorded) {
                    match recorded {
                        Recorded::Yes => {}
                        Recorded::LeaseLost => elsewhere(&answered.lease),
                        Recorded::Ended => {
                            let id = &answered.lease.dsr_id;
                            tracing::info!(dsr.id = %id, "{id} ended before its answer was made");
                        }
                    }
                }
                made.clear();
            }
            Err(error) if error.is_transient() && tries < RECORD_TRIES => {
                tracing::warn!(%error, "answers could not be recorded yet; it is tried again");
                tries += 1;
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(1));
                continue;
            }
            Err(error) if made.len() == 1 || error.is_transient() => {
                let error = Arc::new(error);
                failed.extend(made.drain(..).map(|answered| (answered.lease, error.clone())));
            }
            // One of them cannot be recorded: half of them are not it.
            Err(_) => rest.push(made.split_off(made.len() / 2)),
        }
        if made.is_empty() {
            made = rest.pop().unwrap_or_default();
        }
    }
    failed
}

fn now(engine: &Engine) -> Result<Timestamp, Error> {
    Timestamp::from_millisecond(engine.store.now_ms())
        .map_err(|_| Error::Inconsistent { table: "dsrs", column: "answered_at" })
}

const fn is_packed(kind: RequestType) -> bool {
    matches!(kind, RequestType::Access | RequestType::Portability)
}

fn expires_at(engine: &Engine, controller: &Controller) -> i64 {
    let days = controller.policy.package_expires_days.map(|days| i64::from(days) * 86_400_000);
    engine.store.now_ms() + days.unwrap_or(engine.package_expires.as_millis() as i64)
}

fn info(asked: &Asked, now: Timestamp) -> PackageInfo {
    let of = &asked.of;
    PackageInfo {
        request_id: asked.lease.dsr_id.to_string(),
        request_type: of.kind.as_str().into(),
        regulation: of.regulation.clone().unwrap_or_else(|| "CONTRACT".into()),
        controller: asked.controller.name.clone(),
        reference: of.reference.as_ref().map(|r| r.expose().clone()),
        generated_at: now,
        identifiers: of.identifiers.iter().map(|(kind, value)| (kind.clone(), value.expose().clone())).collect(),
    }
}

fn summary(step: &StepRow) -> SourceSummary {
    SourceSummary {
        system: step.system.clone(),
        family: step.family.clone(),
        outcome: step.status.as_str().into(),
        found: step.found.map(|n| n as u64),
        retrieved_at: instant(step.acted_at),
    }
}

/// Adds what an artifact holds.
fn add<W: Write>(writer: &mut PackageWriter<W>, step: &StepRow, artifact: &Artifact) -> Result<(), Error> {
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => Error::Inconsistent { table: "artifacts", column: "sealed" },
        _ => BROKEN,
    };
    let body = artifact.body.expose().as_slice();
    match &artifact.meta {
        ArtifactMeta::Records { collection } => writer.lines(&step.system, collection, body).map_err(broken),
        ArtifactMeta::Collections { collections } => {
            let mut rest = body;
            for (collection, bytes) in collections {
                let (own, after) = rest
                    .split_at_checked(*bytes)
                    .ok_or(Error::Inconsistent { table: "artifacts", column: "sealed" })?;
                writer.lines(&step.system, collection, own).map_err(broken)?;
                rest = after;
            }
            Ok(())
        }
        ArtifactMeta::Attachment { collection, name, media_type } => {
            writer.attachment(&step.system, collection, name, media_type, body).map_err(broken)
        }
    }
}

fn instant(ms: Option<i64>) -> Option<Timestamp> {
    ms.and_then(|ms| Timestamp::from_millisecond(ms).ok())
}

/// The signed certificate of a request, as text.
fn certificate(engine: &Engine, asked: &Asked, package: Option<&NewPackage>, now: Timestamp) -> Result<String, Error> {
    let certificate = certify(asked, package, now, engine.version)?;
    Ok(sign(&certificate, &engine.signer).to_string())
}

/// What is certified: only what rows say, and nothing personal.
fn certify(asked: &Asked, package: Option<&NewPackage>, now: Timestamp, version: &str) -> Result<Certificate, Error> {
    let inconsistent = |column| Error::Inconsistent { table: "dsrs", column };
    let (of, controller) = (&asked.of, &asked.controller);
    let mut identifiers: BTreeMap<String, u64> = BTreeMap::new();
    for kind in &of.identifier_types {
        *identifiers.entry(kind.as_str().into()).or_default() += 1;
    }
    let partial = of.steps.iter().any(|s| s.status == StepState::Retained);
    let effective = &of.deadlines.effective;
    Ok(Certificate {
        format_version: FORMAT_VERSION.into(),
        id: None,
        request: CertifiedRequest {
            id: asked.lease.dsr_id.to_string(),
            request_type: of.kind,
            regulation: of.regulation.clone().unwrap_or_else(|| "CONTRACT".into()),
            jurisdiction: of.jurisdiction.clone(),
            identifiers,
            data_subject_received_at: instant(of.data_subject_received_at),
            instruction_received_at: instant(Some(of.instruction_received_at))
                .ok_or(inconsistent("instruction_received_at"))?,
            completed_at: now,
            outcome: if partial { CertifiedOutcome::PartiallyCompleted } else { CertifiedOutcome::Completed },
        },
        controller: CertifiedController { id: controller.id.to_string(), name: controller.name.clone() },
        deadlines: CertifiedDeadlines {
            effective: EffectiveDeadline {
                due_on: effective.due_on.parse().map_err(|_| inconsistent("deadlines"))?,
                binding: effective.binding.clone(),
            },
            met: now.as_millisecond() < of.due_before,
        },
        steps: of.steps.iter().map(certify_step).collect(),
        out_of_scope: of
            .out_of_scope
            .iter()
            .map(|(system, reason)| OutOfScope { system: system.clone(), reason: reason.clone() })
            .collect(),
        package: package
            .map(|p| {
                Ok::<_, Error>(CertifiedPackage {
                    sha256: p.sha256.clone(),
                    bytes: p.bytes,
                    records: p.records,
                    expires_at: instant(Some(p.expires_at)).ok_or(inconsistent("expires_at"))?,
                })
            })
            .transpose()?,
        audit: AuditLink {
            last_event_seq: of.audit.seq as u64,
            last_event_hash: of.audit.hash.clone(),
            events: of.audit.events as u64,
        },
        residual_notes: residual_notes(&of.steps),
        table_version: of.deadlines.table_version.clone(),
        engine_version: version.into(),
        issued_at: now,
    })
}

fn certify_step(step: &StepRow) -> CertifiedStep {
    let member = |name: &str| step.result.as_ref().and_then(|r| r.get(name)).cloned().unwrap_or(Value::Null);
    let retained: Vec<Retained> = serde_json::from_value(member("retained")).unwrap_or_default();
    let evidence: Evidence = serde_json::from_value(member("evidence")).unwrap_or_default();
    let proof: Evidence = step.proof.clone().and_then(|p| serde_json::from_value(p).ok()).unwrap_or_default();
    CertifiedStep {
        system: step.system.clone(),
        family: step.family.clone(),
        connector: step.connector.clone(),
        verb: step.verb,
        status: step.status.as_str().into(),
        found: step.found.map(|n| n as u64),
        changed: step.changed.map(|n| if mutant("certificate.counts_nothing") { 0 } else { n as u64 }),
        retained: retained
            .into_iter()
            .map(|r| RetainedRecords { collection: r.collection, records: r.records, reason: r.reason })
            .collect(),
        evidence: counts(evidence),
        effect: member("effect").as_str().map(Into::into),
        residual_until: member("residual_until").as_str().map(Into::into),
        completes_by: member("completes_by").as_str().map(Into::into),
        attempts: step.attempts as u64,
        done_at: instant(step.acted_at),
        verified_at: instant(step.verified_at),
        verification: counts(proof),
    }
}

fn counts(evidence: Evidence) -> Vec<CollectionCount> {
    evidence
        .collections
        .into_iter()
        .map(|c| CollectionCount {
            collection: c.collection,
            action: c.action,
            before: c.before,
            changed: c.changed,
            after: c.after,
        })
        .collect()
}

/// What a reader should know that no count says.
fn residual_notes(steps: &[StepRow]) -> Vec<String> {
    let mut notes = Vec::new();
    let changes = steps.iter().any(|s| matches!(s.verb, Verb::Erase | Verb::Rectify));
    if changes && steps.iter().any(|s| matches!(s.connector.as_str(), "postgres" | "mysql" | "sqlite")) {
        notes.push("Databases keep earlier values in backups, replicas and transaction logs until these are overwritten by their owner's schedule.".into());
    }
    if changes && steps.iter().any(|s| matches!(s.connector.as_str(), "imap" | "maildir")) {
        notes.push("Messages were matched by sender and recipient; a message between others that only mentions the person is not covered.".into());
    }
    for step in steps.iter().filter(|step| step.verb == Verb::Erase) {
        let told = |name: &str| step.result.as_ref().and_then(|r| r[name].as_str());
        match (told("effect"), told("residual_until"), told("completes_by")) {
            (Some("soft"), Some(until), _) => notes.push(format!(
                "{}: the vendor keeps what was deleted in a recycle bin and removes it by {until}; until then somebody with access could restore it.",
                step.system
            )),
            (Some("soft"), None, _) => notes.push(format!(
                "{}: the vendor archives what was deleted and gives no date of its removal.",
                step.system
            )),
            (Some("scheduled"), _, Some(by)) => notes.push(format!(
                "{}: the vendor accepted the deletion and completes it in its backends by {by}.",
                step.system
            )),
            (Some("suppressed"), ..) => notes.push(format!(
                "{}: the vendor keeps the address on a list so that the person is not contacted or imported again.",
                step.system
            )),
            _ => {}
        }
    }
    notes
}
