//! What one answer costs in processor time, by part: `cargo bench -p redress-jobs --bench answers`. Figures only, nothing is
//! asserted. The person is like those of a small web shop: seven records in five tables.

use jiff::Timestamp;
use redress_domain::{RequestType, Verb};
use redress_jobs::certificate::{
    AuditLink, Certificate, CertifiedController, CertifiedDeadlines, CertifiedOutcome, CertifiedPackage,
    CertifiedRequest, CertifiedStep, CollectionCount, EffectiveDeadline, Signer, sign,
};
use redress_jobs::package::{PackageInfo, PackageWriter, SourceSummary};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

const TIMES: u32 = 2_000;

fn main() {
    let signer = Signer::from_seed(&[7; 32]);
    let records = records();
    let mut bytes = 0;
    measure("package of 7 records, signed", || {
        let (zip, summary) = write(&records, 1).finish(Some(&signer)).expect("written");
        bytes = zip.len();
        black_box((zip, summary));
    });
    println!("  {bytes} bytes");
    measure("package without its signature", || drop(black_box(write(&records, 1).finish(None))));
    measure("package of 1,400 records, signed", || drop(black_box(write(&records, 200).finish(Some(&signer)))));
    let lines: Vec<Vec<u8>> = records.iter().map(|(_, r)| serde_json::to_vec(r).expect("JSON")).collect();
    measure("reading 7 records", || {
        for line in &lines {
            black_box(serde_json::from_slice::<Map<String, Value>>(line).expect("JSON"));
        }
    });
    let certificate = certificate();
    measure("certificate, signed", || drop(black_box(sign(&certificate, &signer))));
    measure("certificate as text", || drop(black_box(sign(&certificate, &signer).to_string())));
    measure("one signature", || drop(black_box(signer.sign(b"thirty-two bytes of some message"))));
    measure("key id", || drop(black_box(signer.key_id())));
}

fn measure(what: &str, mut run: impl FnMut()) {
    for _ in 0..20 {
        run();
    }
    let (began, at) = (Instant::now(), processor_ns());
    let mut times = 0;
    while times < TIMES && began.elapsed().as_secs() < 3 {
        run();
        times += 1;
    }
    let spent = processor_ns().zip(at).map_or(began.elapsed().as_secs_f64() * 1e9, |(now, at)| now - at);
    println!("{what:40} {:9.1} µs", spent / 1e3 / f64::from(times));
}

/// What this thread spent on a processor so far, where the system tells: others may be busy.
fn processor_ns() -> Option<f64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

fn write(records: &[(&str, Map<String, Value>)], times: usize) -> PackageWriter<Vec<u8>> {
    let info = PackageInfo {
        request_id: "dsr_01jd0000000000000000000000".into(),
        request_type: "access".into(),
        regulation: "EU-GDPR".into(),
        controller: "Acme & Sons".into(),
        reference: Some("TICKET-1".into()),
        generated_at: Timestamp::from_second(1_795_000_000).expect("an instant"),
        identifiers: vec![("email".into(), "user17@example.com".into())],
    };
    let mut writer = PackageWriter::new(Vec::new(), info);
    writer.source(SourceSummary {
        system: "shop".into(),
        family: "database".into(),
        outcome: "done".into(),
        found: Some(7),
        retrieved_at: Timestamp::from_second(1_795_000_000).ok(),
    });
    for (collection, record) in records {
        for _ in 0..times {
            writer.record("shop", collection, record).expect("written");
        }
    }
    writer
}

fn records() -> Vec<(&'static str, Map<String, Value>)> {
    let order = |n: i64| {
        json!({ "id": n, "customer_id": 17, "placed_at": "2022-01-01T00:17:00+00:00", "total_cents": 629,
                "ship_to": "17 Main Street", "status": "shipped" })
    };
    [
        (
            "customers",
            json!({ "id": 17, "email": "user17@example.com", "full_name": "Person 17", "phone": "+15550000017",
                    "birth_date": "1950-01-18", "created_at": "2020-01-01T00:17:00+00:00" }),
        ),
        (
            "addresses",
            json!({ "id": 17, "customer_id": 17, "street": "17 Main Street", "city": "City 17", "postal_code": "00017",
                    "country": "FR" }),
        ),
        ("orders", order(17)),
        ("orders", order(100_017)),
        ("orders", order(200_017)),
        (
            "tickets",
            json!({ "id": 17, "requester_email": "user17@example.com", "subject": "Ticket 17",
                    "body": "Lorem ipsum dolor sit amet. ".repeat(8), "opened_at": "2023-01-01T00:17:00+00:00" }),
        ),
        (
            "newsletter",
            json!({ "id": 17, "email": "user17@example.com", "first_name": "Person", "topics": "news,offers",
                    "ip_address": "10.17.17.17", "subscribed_at": "2021-01-01T00:17:00+00:00" }),
        ),
    ]
    .into_iter()
    .map(|(collection, record)| match record {
        Value::Object(members) => (collection, members),
        _ => (collection, Map::new()),
    })
    .collect()
}

fn certificate() -> Certificate {
    let at = Timestamp::from_second(1_795_000_000).expect("an instant");
    let count = |collection: &str| CollectionCount {
        collection: collection.into(),
        action: "export".into(),
        before: 1,
        changed: 0,
        after: 1,
    };
    Certificate {
        format_version: "1".into(),
        id: None,
        request: CertifiedRequest {
            id: "dsr_01jd0000000000000000000000".into(),
            request_type: RequestType::Access,
            regulation: "EU-GDPR".into(),
            jurisdiction: Some("DE".into()),
            identifiers: BTreeMap::from([("email".into(), 1)]),
            data_subject_received_at: Some(at),
            instruction_received_at: at,
            completed_at: at,
            outcome: CertifiedOutcome::Completed,
        },
        controller: CertifiedController { id: "ctl_01jd0000000000000000000000".into(), name: "Acme & Sons".into() },
        deadlines: CertifiedDeadlines {
            effective: EffectiveDeadline { due_on: "2026-12-21".parse().expect("a date"), binding: "contract".into() },
            met: true,
        },
        steps: vec![CertifiedStep {
            system: "shop".into(),
            family: "database".into(),
            connector: "postgres".into(),
            verb: Verb::Export,
            status: "done".into(),
            found: Some(7),
            changed: Some(0),
            retained: Vec::new(),
            evidence: ["customers", "addresses", "orders", "tickets", "newsletter"].map(count).into(),
            effect: None,
            residual_until: None,
            completes_by: None,
            attempts: 1,
            done_at: Some(at),
            verified_at: None,
            verification: Vec::new(),
        }],
        out_of_scope: Vec::new(),
        package: Some(CertifiedPackage { sha256: "0".repeat(64), bytes: 9_000, records: 7, expires_at: at }),
        audit: AuditLink { last_event_seq: 17, last_event_hash: "0".repeat(64), events: 4 },
        residual_notes: Vec::new(),
        table_version: "2026.1".into(),
        engine_version: "0.1.0".into(),
        issued_at: at,
    }
}
