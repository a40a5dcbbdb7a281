//! Making the answer of a request: the access package, chunk by chunk and sealed, and the certificate, signed.

use crate::certificate::{
    AuditLink, Certificate, CertifiedController, CertifiedDeadlines, CertifiedOutcome, CertifiedPackage,
    CertifiedRequest, CertifiedStep, CollectionCount, EffectiveDeadline, FORMAT_VERSION, OutOfScope, RetainedRecords,
    sign,
};
use crate::engine::{Engine, jitter};
use crate::package::{PackageInfo, PackageWriter, SourceSummary};
use jiff::Timestamp;
use redress_connectors::{Evidence, Retained};
use redress_domain::step::{ATTEMPTS_BEFORE_ATTENTION, StepState, backoff_ms};
use redress_domain::{RequestType, Verb};
use redress_store::{
    ArtifactMeta, Controller, DsrDetail, Error, Finish, Lease, NewPackage, StepResult, StepRow, crash_point,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Package chunks are sealed at this size.
const CHUNK: usize = 1024 * 1024;

/// Makes the answers of these requests, each on its own.
pub async fn run(engine: &Arc<Engine>, leases: Vec<Lease>) {
    for lease in leases {
        match make(engine, &lease).await {
            Ok(()) => {}
            Err(Error::LeaseLost) => {
                tracing::warn!(dsr.id = %lease.dsr_id, "the answer of {} is being made elsewhere", lease.dsr_id);
            }
            Err(error) => later(engine, lease, &error).await,
        }
    }
}

/// Says when the answer is tried again.
async fn later(engine: &Engine, lease: Lease, error: &Error) {
    tracing::warn!(%error, dsr.id = %lease.dsr_id, "the answer of {} could not be made; it is tried again", lease.dsr_id);
    let failures = lease.failures + 1;
    let result = StepResult::Later {
        not_before: engine.store.now_ms() + backoff_ms(failures, jitter()),
        failed: true,
        attention: failures >= ATTEMPTS_BEFORE_ATTENTION,
        code: "answer_failed".into(),
        detail: error.to_string(),
    };
    if let Err(error) = engine.store.finish(vec![Finish { lease, result }]).await {
        tracing::warn!(%error, "this could not be recorded either; the lease runs out");
    }
}

async fn make(engine: &Engine, lease: &Lease) -> Result<(), Error> {
    let store = &engine.store;
    let detail = store.dsr(&lease.controller_id, &lease.dsr_id).await?;
    let controller = store.controller(&lease.controller_id).await?;
    let now = Timestamp::from_millisecond(store.now_ms())
        .map_err(|_| Error::Inconsistent { table: "dsrs", column: "answered_at" })?;
    let package = if matches!(detail.row.kind, RequestType::Access | RequestType::Portability) {
        Some(pack(engine, lease, &detail, &controller, now).await?)
    } else {
        None
    };
    let events = store.events_of(&lease.controller_id, &lease.dsr_id).await?;
    let audit = AuditLink {
        last_event_seq: events.last().map_or(0, |e| e.seq as u64),
        last_event_hash: events.last().map(|e| e.hash.clone()).unwrap_or_default(),
        events: events.len() as u64,
    };
    let certificate = certify(&detail, &controller, audit, package.as_ref(), now, engine.version)?;
    store.answered(lease, &sign(&certificate, &engine.signer), package.as_ref()).await
}

/// Collects what the ZIP writer writes until it is taken away in chunks.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("never held across a panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    /// Takes a whole chunk, or with `all` whatever is left.
    fn take(&self, all: bool) -> Option<Vec<u8>> {
        let mut bytes = self.0.lock().expect("never held across a panic");
        if bytes.is_empty() || (bytes.len() < CHUNK && !all) {
            return None;
        }
        let rest = if bytes.len() > CHUNK { bytes.split_off(CHUNK) } else { Vec::new() };
        Some(std::mem::replace(&mut *bytes, rest))
    }
}

async fn pack(
    engine: &Engine,
    lease: &Lease,
    detail: &DsrDetail,
    controller: &Controller,
    now: Timestamp,
) -> Result<NewPackage, Error> {
    let store = &engine.store;
    let key = store.dsr_key(&lease.controller_id, &lease.dsr_id).await?;
    let broken = |_: io::Error| Error::Inconsistent { table: "packages", column: "zip" };
    let (buffer, mut chunks) = (Buffer::default(), 0);
    let info = PackageInfo {
        request_id: lease.dsr_id.to_string(),
        request_type: detail.row.kind.as_str().into(),
        regulation: detail.row.regulation.clone().unwrap_or_else(|| "CONTRACT".into()),
        controller: controller.name.clone(),
        reference: detail.row.reference.as_ref().map(|r| r.expose().clone()),
        generated_at: now,
        identifiers: store.identifiers(&lease.controller_id, &lease.dsr_id).await?,
    };
    let mut writer = PackageWriter::new(buffer.clone(), info);
    for step in &detail.steps {
        writer.source(SourceSummary {
            system: step.system.clone(),
            family: step.family.clone(),
            outcome: step.status.as_str().into(),
            found: step.found.map(|n| n as u64),
            retrieved_at: step.acted_at.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        });
        for n in 0..store.artifact_count(&step.id).await? {
            let artifact = store.artifact(&lease.controller_id, &lease.dsr_id, &step.id, n).await?;
            match &artifact.meta {
                ArtifactMeta::Records { collection } => {
                    for line in artifact.body.expose().split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                        let record: Map<String, Value> = serde_json::from_slice(line)
                            .map_err(|_| Error::Inconsistent { table: "artifacts", column: "sealed" })?;
                        writer.record(&step.system, collection, &record).map_err(broken)?;
                    }
                }
                ArtifactMeta::Attachment { collection, name, media_type } => {
                    writer
                        .attachment(&step.system, collection, name, media_type, artifact.body.expose())
                        .map_err(broken)?;
                }
            }
            while let Some(chunk) = buffer.take(false) {
                store.put_package_chunk(lease, &key, chunks, &chunk).await?;
                chunks += 1;
                crash_point("answer.between_chunks");
            }
        }
    }
    let (_, summary) = writer.finish(Some(&engine.signer)).map_err(broken)?;
    while let Some(chunk) = buffer.take(true) {
        store.put_package_chunk(lease, &key, chunks, &chunk).await?;
        chunks += 1;
    }
    let days = controller.policy.package_expires_days.map(|days| i64::from(days) * 86_400_000);
    let expires_at = store.now_ms() + days.unwrap_or(engine.package_expires.as_millis() as i64);
    Ok(NewPackage { bytes: summary.bytes, chunks, sha256: summary.sha256, records: summary.records, expires_at })
}

fn instant(ms: Option<i64>) -> Option<Timestamp> {
    ms.and_then(|ms| Timestamp::from_millisecond(ms).ok())
}

/// What is certified: only what rows say, and nothing personal.
fn certify(
    detail: &DsrDetail,
    controller: &Controller,
    audit: AuditLink,
    package: Option<&NewPackage>,
    now: Timestamp,
    version: &str,
) -> Result<Certificate, Error> {
    let inconsistent = |column| Error::Inconsistent { table: "dsrs", column };
    let row = &detail.row;
    let effective = &row.deadlines["effective"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut identifiers: BTreeMap<String, u64> = BTreeMap::new();
    for kind in &row.identifier_types {
        *identifiers.entry(kind.as_str().into()).or_default() += 1;
    }
    let partial = detail.steps.iter().any(|s| s.status == StepState::Retained);
    Ok(Certificate {
        format_version: FORMAT_VERSION.into(),
        id: None,
        request: CertifiedRequest {
            id: row.id.to_string(),
            request_type: row.kind,
            regulation: row.regulation.clone().unwrap_or_else(|| "CONTRACT".into()),
            jurisdiction: row.jurisdiction.clone(),
            identifiers,
            data_subject_received_at: instant(row.data_subject_received_at),
            instruction_received_at: instant(Some(row.instruction_received_at))
                .ok_or(inconsistent("instruction_received_at"))?,
            completed_at: now,
            outcome: if partial { CertifiedOutcome::PartiallyCompleted } else { CertifiedOutcome::Completed },
        },
        controller: CertifiedController { id: controller.id.to_string(), name: controller.name.clone() },
        deadlines: CertifiedDeadlines {
            effective: EffectiveDeadline {
                due_on: text(&effective["due_on"]).and_then(|t| t.parse().ok()).ok_or(inconsistent("deadlines"))?,
                binding: text(&effective["binding"]).ok_or(inconsistent("deadlines"))?,
            },
            met: now.as_millisecond() < row.due_before,
        },
        steps: detail.steps.iter().map(certify_step).collect(),
        out_of_scope: row
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
        audit,
        residual_notes: residual_notes(detail),
        table_version: text(&row.deadlines["table_version"]).unwrap_or_default(),
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
        changed: step.changed.map(|n| n as u64),
        retained: retained
            .into_iter()
            .map(|r| RetainedRecords { collection: r.collection, records: r.records, reason: r.reason })
            .collect(),
        evidence: counts(evidence),
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
fn residual_notes(detail: &DsrDetail) -> Vec<String> {
    let mut notes = Vec::new();
    let changes = detail.steps.iter().any(|s| matches!(s.verb, Verb::Erase | Verb::Rectify));
    if changes && detail.steps.iter().any(|s| matches!(s.connector.as_str(), "postgres" | "mysql" | "sqlite")) {
        notes.push("Databases keep earlier values in backups, replicas and transaction logs until these are overwritten by their owner's schedule.".into());
    }
    if changes && detail.steps.iter().any(|s| matches!(s.connector.as_str(), "imap" | "maildir")) {
        notes.push("Messages were matched by sender and recipient; a message between others that only mentions the person is not covered.".into());
    }
    notes
}
