//! Evidence that was touched is refused, whatever was touched.

use super::{About, EvidenceReport, EvidenceWriter};
use crate::certificate::{PublicKey, Report, Signer, VerifyError, event_hash, verify_any};
use serde_json::{Value, json};
use std::io::{Cursor, Read as _, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

const ID: &str = "dsr_01m7yrrt80qwzsx53nr9sj329z";

fn event(seq: u64, before: &str, dsr: &str) -> Value {
    let mut event = json!({
        "id": "evt_x", "controller_id": "ctl_x", "seq": seq, "at": "2026-11-20T10:00:00Z", "dsr_id": dsr,
        "kind": "received", "actor": "key_x", "data": {}, "prev_hash": before,
    });
    event["hash"] = event_hash(&event).into();
    event
}

fn chain(seqs: &[u64]) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for seq in seqs {
        let before = all.last().map_or(String::new(), |event| event["hash"].as_str().unwrap().to_owned());
        all.push(event(*seq, &before, ID));
    }
    all
}

fn signer() -> Signer {
    Signer::from_seed(&[7; 32])
}

fn write(about: About, events: &[Value]) -> Vec<u8> {
    let at = "2026-11-20T10:00:00Z".parse().unwrap();
    let mut writer = EvidenceWriter::new(Vec::new(), about, "ctl_x", "acme", at).unwrap();
    writer.begin_events().unwrap();
    for event in events {
        writer.event(event.to_string().as_bytes()).unwrap();
    }
    let digest = crate::certificate::sha256_hex(b"rules");
    writer.file(&format!("rules/{digest}.txt"), b"rules").unwrap();
    writer.finish(&signer()).unwrap()
}

fn verify(zip: &[u8], keys: Option<&[PublicKey]>) -> Result<EvidenceReport, VerifyError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("redress-evidence-{}-{n}", std::process::id()));
    std::fs::write(&path, zip).unwrap();
    let report = verify_any(&path, keys);
    std::fs::remove_file(&path).unwrap();
    match report? {
        Report::Evidence(report) => Ok(*report),
        other => panic!("{other}"),
    }
}

fn period() -> About {
    About::Period("2026-11-01T00:00:00Z".into(), "2026-12-01T00:00:00Z".into())
}

#[test]
fn evidence_that_was_not_touched_holds_and_says_what_it_is() {
    let report = verify(&write(period(), &chain(&[5, 6, 7])), Some(&[*signer().public_key()])).unwrap();
    assert_eq!((report.events, report.linked, report.rule_books, report.certificates), (3, 2, 1, 0));
    assert_eq!(report.last.as_ref().unwrap().0, 7);
    assert!(report.to_string().starts_with("Evidence: valid"), "{report}");
    let of_one = verify(&write(About::Request(ID.into()), &chain(&[2, 3, 90])), None).unwrap();
    assert_eq!((of_one.events, of_one.linked), (3, 1));
    let stranger = Signer::from_seed(&[8; 32]);
    let refused = verify(&write(period(), &chain(&[1])), Some(&[*stranger.public_key()]));
    assert!(matches!(refused, Err(VerifyError::UntrustedKey { .. })), "{refused:?}");
}

#[test]
fn a_log_with_a_gap_a_swap_or_a_strange_event_is_refused_though_it_is_signed() {
    let good = chain(&[1, 2, 3]);
    let mut changed = good.clone();
    changed[1]["actor"] = "key_other".into();
    let swapped = vec![good[1].clone(), good[0].clone()];
    let unlinked = vec![good[0].clone(), event(2, "00", ID)];
    for (what, events) in [("changed", changed), ("swapped", swapped), ("unlinked", unlinked), ("gap", chain(&[1, 3]))]
    {
        let refused = verify(&write(period(), &events), None);
        assert!(matches!(refused, Err(VerifyError::ChainBroken { .. })), "{what}: {refused:?}");
    }
    let strange = vec![event(1, "", "dsr_other")];
    let refused = verify(&write(About::Request(ID.into()), &strange), None);
    assert!(matches!(refused, Err(VerifyError::ChainBroken { .. })), "{refused:?}");
}

/// The same ZIP with the files that `change` makes of these; none leaves a file out.
fn repack(zip: &[u8], change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut old = ZipArchive::new(Cursor::new(zip)).unwrap();
    let mut new = ZipWriter::new(Cursor::new(Vec::new()));
    for n in 0..old.len() {
        let mut file = old.by_index(n).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        let name = file.name().unwrap().to_string();
        if let Some(content) = change(&name, content) {
            new.start_file(name, SimpleFileOptions::default()).unwrap();
            new.write_all(&content).unwrap();
        }
    }
    new.finish().unwrap().into_inner()
}

#[test]
fn whatever_file_is_changed_or_taken_out_it_is_noticed() {
    let zip = write(period(), &chain(&[1, 2]));
    assert!(verify(&repack(&zip, |_, content| Some(content)), None).is_ok());
    let names: Vec<String> = {
        let zip = ZipArchive::new(Cursor::new(&zip[..])).unwrap();
        zip.file_names().map(|name| name.unwrap().to_string()).collect()
    };
    assert_eq!(names.len(), 5, "{names:?}");
    for touched in &names {
        let flipped = repack(&zip, |name, mut content| {
            if name == touched {
                let middle = content.len() / 2;
                content[middle] ^= 1;
            }
            Some(content)
        });
        assert!(verify(&flipped, None).is_err(), "{touched} changed");
        assert!(
            verify(&repack(&zip, |name, content| (name != touched).then_some(content)), None).is_err(),
            "{touched} gone"
        );
    }
    assert!(verify(&zip[..zip.len() - 30], None).is_err());
}
