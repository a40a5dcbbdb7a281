use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::date;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

pub(crate) fn signer(seed: u8) -> Signer {
    Signer::from_seed(&[seed; 32])
}

fn certificate() -> Certificate {
    Certificate {
        format_version: FORMAT_VERSION.into(),
        id: None,
        request: CertifiedRequest {
            id: "dsr_01jd0000000000000000000000".into(),
            request_type: RequestType::Deletion,
            regulation: "EU-GDPR".into(),
            jurisdiction: Some("DE".into()),
            identifiers: BTreeMap::from([("customer_id".into(), 1), ("email".into(), 2)]),
            data_subject_received_at: Some(at("2026-11-19T08:00:00Z")),
            instruction_received_at: at("2026-11-20T08:00:00.25Z"),
            completed_at: at("2026-11-21T10:00:00Z"),
            outcome: CertifiedOutcome::PartiallyCompleted,
        },
        controller: CertifiedController { id: "ctl_1".into(), name: "acme".into() },
        deadlines: CertifiedDeadlines {
            effective: EffectiveDeadline { due_on: date(2026, 12, 21), binding: "contract".into() },
            met: true,
        },
        steps: vec![CertifiedStep {
            system: "shop".into(),
            family: "database".into(),
            connector: "postgres".into(),
            verb: Verb::Erase,
            status: "verified".into(),
            found: Some(7),
            changed: Some(4),
            retained: vec![RetainedRecords {
                collection: "invoices".into(),
                records: 3,
                reason: "tax_law_10_years".into(),
            }],
            evidence: vec![CollectionCount {
                collection: "customers".into(),
                action: "delete".into(),
                before: 4,
                changed: 4,
                after: 0,
            }],
            effect: None,
            residual_until: None,
            completes_by: None,
            attempts: 2,
            done_at: Some(at("2026-11-20T08:00:01Z")),
            verified_at: Some(at("2026-11-20T08:00:02Z")),
            verification: Vec::new(),
        }],
        out_of_scope: vec![OutOfScope { system: "mail".into(), reason: "not in the controller's instruction".into() }],
        package: Some(CertifiedPackage {
            sha256: "00".repeat(32),
            bytes: 1234,
            records: 7,
            expires_at: at("2026-11-28T10:00:00Z"),
        }),
        audit: AuditLink { last_event_seq: 42, last_event_hash: "ab".repeat(32), events: 12 },
        residual_notes: vec!["backups expire within 30 days".into()],
        table_version: "2026-11-01".into(),
        engine_version: "0.1.0".into(),
        issued_at: at("2026-11-21T10:00:01Z"),
    }
}

fn verify(document: &Value) -> Result<CertificateReport, VerifyError> {
    verify_certificate(&document.to_string(), None)
}

#[test]
fn a_signed_certificate_verifies_and_says_the_same() {
    let signer = signer(7);
    let document = sign(&certificate(), &signer);
    let text = document.to_string();
    let report = verify_certificate(&text, Some(&[*signer.public_key()])).expect("valid");
    assert_eq!(report.certificate, certificate());
    assert_eq!((report.key_id.as_str(), report.trust), (signer.key_id().as_str(), KeyTrust::Trusted));
    assert_eq!(verify_certificate(&text, None).expect("valid").trust, KeyTrust::NotChecked);
    let lines = report.to_string();
    for words in ["dsr_01jd", "acme", "partially_completed", "2026-12-21", "1 verified", "3 records", "trusted key"] {
        assert!(lines.contains(words), "{words} in {lines}");
    }
}

#[test]
fn indenting_a_certificate_or_reordering_its_keys_does_no_harm() {
    let document = sign(&certificate(), &signer(7));
    verify_certificate(&serde_json::to_string_pretty(&document).expect("JSON"), None).expect("valid");
    let (certificate, signature) = (&document["certificate"], &document["signature"]);
    let mut members: Vec<String> =
        certificate.as_object().expect("an object").iter().map(|(k, v)| format!("{}:\t{v}", json!(k))).collect();
    members.reverse();
    let text = format!("{{ \"signature\":{signature},\r\n\"certificate\":{{{}}}}}\n", members.join(" ,\n"));
    verify_certificate(&text, None).expect("valid");
}

/// Every value inside `value`, changed in one way each.
fn changed_once(value: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                for other in changed_once(inner) {
                    let mut map = map.clone();
                    map.insert(key.clone(), other);
                    out.push(Value::Object(map));
                }
                let mut without = map.clone();
                without.remove(key);
                out.push(Value::Object(without));
            }
            let mut more = map.clone();
            more.insert("extra".into(), Value::Null);
            out.push(Value::Object(more));
        }
        Value::Array(items) => {
            for (i, inner) in items.iter().enumerate() {
                for other in changed_once(inner) {
                    let mut items = items.clone();
                    items[i] = other;
                    out.push(Value::Array(items));
                }
            }
            let mut more = items.clone();
            more.push(Value::Null);
            out.push(Value::Array(more));
        }
        Value::String(text) => {
            // Every single character, not only the first.
            for (i, c) in text.char_indices() {
                let other = if c == '0' { '1' } else { '0' };
                out.push(Value::String(format!("{}{other}{}", &text[..i], &text[i + c.len_utf8()..])));
            }
            out.push(Value::String(format!("{text} ")));
        }
        Value::Number(number) => out.push(json!(number.as_u64().unwrap_or_default() + 1)),
        Value::Bool(b) => out.push(json!(!b)),
        Value::Null => out.push(json!("")),
    }
    out
}

#[test]
fn any_change_of_a_certificate_is_refused() {
    let document = sign(&certificate(), &signer(7));
    let changes = changed_once(&document["certificate"]);
    assert!(changes.len() > 500, "{}", changes.len());
    for changed in changes {
        let mut tampered = document.clone();
        tampered["certificate"] = changed;
        let refused = verify(&tampered).expect_err("changed");
        assert!(
            matches!(refused, VerifyError::Changed | VerifyError::Version(_) | VerifyError::Shape(_)),
            "{refused} for {tampered}"
        );
    }
}

#[test]
fn any_change_of_the_signature_is_refused() {
    let document = sign(&certificate(), &signer(7));
    for changed in changed_once(&document["signature"]) {
        let mut tampered = document.clone();
        tampered["signature"] = changed;
        verify(&tampered).expect_err("changed");
    }
}

#[test]
fn flipping_any_byte_of_the_document_never_yields_another_certificate() {
    let document = sign(&certificate(), &signer(7)).to_string();
    for i in 0..document.len() {
        for flip in [1, 0x20] {
            let mut bytes = document.clone().into_bytes();
            bytes[i] ^= flip;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if let Ok(report) = verify_certificate(&text, None) {
                assert_eq!(report.certificate, certificate(), "byte {i}");
            }
        }
    }
}

#[test]
fn a_certificate_of_an_unknown_key_is_refused_where_keys_are_named() {
    let document = sign(&certificate(), &signer(7)).to_string();
    let other = *signer(8).public_key();
    let refused = verify_certificate(&document, Some(&[other])).expect_err("untrusted");
    assert!(matches!(&refused, VerifyError::UntrustedKey { key_id } if *key_id == signer(7).key_id()));
    assert!(refused.to_string().contains("not one of the trusted keys"));
    assert!(matches!(verify_certificate(&document, Some(&[])), Err(VerifyError::UntrustedKey { .. })));
}

#[test]
fn a_borrowed_signature_is_refused() {
    let mut document = sign(&certificate(), &signer(7));
    let mut other = certificate();
    other.controller.name = "other".into();
    document["signature"] = sign(&other, &signer(7))["signature"].clone();
    assert!(matches!(verify(&document), Err(VerifyError::Changed)));
    // Another key's name on the right signature.
    let mut document = sign(&certificate(), &signer(7));
    document["signature"]["public_key"] = json!(signer(8).public_key().to_base64());
    assert!(matches!(verify(&document), Err(VerifyError::Shape(_))));
    document["signature"]["key_id"] = json!(signer(8).key_id());
    assert!(matches!(verify(&document), Err(VerifyError::Changed)));
}

#[test]
fn what_is_not_a_certificate_is_refused_with_the_reason() {
    let document = sign(&certificate(), &signer(7));
    let text = document.to_string();
    let mut old = document.clone();
    old["certificate"]["format_version"] = json!("2");
    let mut unsigned = document.clone();
    unsigned.as_object_mut().expect("an object").remove("signature");
    let mut more = document.clone();
    more["note"] = json!("see the other page");
    let mut algorithm = document.clone();
    algorithm["signature"]["algorithm"] = json!("none");
    let twice = text.replacen("\"met\":true", "\"met\":true,\"met\":true", 1);
    let fraction = text.replacen("\"attempts\":2", "\"attempts\":2.0", 1);
    for (text, reason) in [
        ("%PDF-1.7".to_owned(), "not JSON"),
        (format!("{text} {text}"), "not JSON"),
        (format!("{text}x"), "not JSON"),
        (text[..text.len() - 1].to_owned(), "not JSON"),
        (twice, "a key occurs twice"),
        (fraction, "whole number"),
        ("[]".into(), "not a certificate"),
        ("{}".into(), "not a certificate"),
        (old.to_string(), "format version \"2\""),
        (unsigned.to_string(), "not signed"),
        (more.to_string(), "something beside"),
        (algorithm.to_string(), "other than Ed25519"),
    ] {
        let refused = verify_certificate(&text, None).expect_err(reason).to_string();
        assert!(refused.contains(reason), "{refused} for {reason}");
    }
}

#[test]
fn a_signature_is_accepted_in_one_spelling_only() {
    let mut document = sign(&certificate(), &signer(7));
    let value = document["signature"]["value"].as_str().expect("text").to_owned();
    assert_eq!(STANDARD.decode(&value).expect("base64").len(), 64);
    for spelling in [value.trim_end_matches('=').to_owned(), format!(" {value}"), value.replace('=', "")] {
        document["signature"]["value"] = json!(spelling);
        verify(&document).expect_err("another spelling");
    }
}

#[test]
fn a_hostile_signer_cannot_move_the_cursor_of_the_terminal() {
    let mut hostile = certificate();
    hostile.controller.name = format!("acme\u{1b}[2J\n\u{202e}{}", "x".repeat(5000));
    let lines = verify(&sign(&hostile, &signer(9))).expect("signed by itself").to_string();
    assert!(!lines.contains(['\u{1b}', '\u{202e}']) && lines.len() < 1500, "{lines}");
}

fn log(events: u64) -> Vec<Value> {
    let mut prev = String::new();
    (1..=events)
        .map(|seq| {
            let mut event = json!({
                "controller_id": "ctl_1", "seq": seq, "at": "2026-11-21T10:00:00Z", "kind": "step_done", "actor": "engine",
                "dsr_id": (seq > 1).then_some("dsr_1"), "data": {"changed": 3, "systems": ["crm"]}, "prev_hash": prev,
            });
            prev = event_hash(&event);
            event["hash"] = json!(prev);
            event
        })
        .collect()
}

fn ndjson(events: &[Value]) -> String {
    events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n"
}

fn check_log(events: &[Value]) -> Result<AuditReport, String> {
    verify_audit_export(ndjson(events).as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn an_audit_export_verifies_from_any_event_on() {
    let events = log(5);
    let report = check_log(&events).expect("whole");
    assert_eq!((report.events, report.first_seq, report.last_seq), (5, 1, 5));
    assert_eq!(events[4]["hash"], report.last_hash.as_str());
    let later = check_log(&events[2..]).expect("whole");
    assert!(later.to_string().contains("before event 3 is not in this file"));
}

#[test]
fn an_export_of_the_staff_log_verifies_and_is_never_mixed_with_a_controllers() {
    let mut prev = String::new();
    let mut events: Vec<Value> = Vec::new();
    for seq in 1..=3 {
        let mut event = json!({
            "seq": seq, "at": "2026-11-20T10:00:00Z", "kind": "signed_in", "actor": "usr_1", "data": {}, "prev_hash": prev,
        });
        prev = event_hash(&event);
        event["hash"] = json!(prev);
        events.push(event);
    }
    let report = check_log(&events).expect("whole");
    assert_eq!((report.controller_id.as_deref(), report.events), (None, 3));
    assert!(report.to_string().contains("staff of this installation"));
    events[1]["actor"] = json!("usr_2");
    assert!(check_log(&events).expect_err("broken").contains("event 2 was changed"));
    events[1]["actor"] = json!("usr_1");
    events[2]["controller_id"] = json!("ctl_1");
    events[2]["hash"] = json!(event_hash(&events[2]));
    assert_eq!(check_log(&events).expect_err("broken"), "line 3: event 3 belongs to another controller");
}

#[test]
fn an_audit_export_is_broken_where_it_was_touched() {
    let events = log(5);
    let touched = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut events = events.clone();
        change(&mut events);
        check_log(&events).expect_err("broken")
    };
    assert_eq!(
        touched(&|e| e[2]["actor"] = json!("x")),
        "line 3: event 3 was changed: its hash does not match its content"
    );
    assert_eq!(touched(&|e| drop(e.remove(2))), "line 3: event 3 should be here and event 4 is");
    assert_eq!(touched(&|e| e.swap(1, 2)), "line 2: event 2 should be here and event 3 is");
    assert_eq!(touched(&|e| e.insert(1, e[1].clone())), "line 3: event 3 should be here and event 2 is");
    let rewritten = touched(&|e| {
        e[2]["actor"] = json!("x");
        e[2]["hash"] = json!(event_hash(&e[2]));
    });
    assert_eq!(rewritten, "line 4: event 4 does not link to the event before it");
    let foreign = touched(&|e| {
        e[4]["controller_id"] = json!("ctl_2");
        e[4]["hash"] = json!(event_hash(&e[4]));
    });
    assert_eq!(foreign, "line 5: event 5 belongs to another controller");
    assert_eq!(
        touched(&|e| e[1]["data"]["rate"] = json!(0.5)),
        "line 2: a number is not a whole number of at most 64 bits"
    );
    assert_eq!(touched(&|e| e[0] = json!({"seq": 1})), "line 1: not an audit event");
    assert!(matches!(verify_audit_export(&b""[..]), Err(VerifyError::Unrecognized)));
    let endless = vec![b'a'; 2 * 1024 * 1024];
    assert_eq!(verify_audit_export(&endless[..]).expect_err("broken").to_string(), "line 1: longer than any event");
}

#[test]
fn a_file_is_recognized_by_what_it_holds() {
    let path = std::env::temp_dir().join(format!("redress-verify-{}", std::process::id()));
    let check = |content: &[u8]| {
        std::fs::write(&path, content).expect("written");
        verify_any(&path, None)
    };
    let document = sign(&certificate(), &signer(7));
    let pretty = serde_json::to_string_pretty(&document).expect("JSON");
    assert!(matches!(check(pretty.as_bytes()), Ok(Report::Certificate(_))));
    assert!(matches!(check(document.to_string().as_bytes()), Ok(Report::Certificate(_))));
    let export = ndjson(&log(2));
    assert!(matches!(check(export.as_bytes()), Ok(Report::Audit(_))));
    assert!(matches!(check(export.trim_end().as_bytes()), Ok(Report::Audit(_))));
    assert!(matches!(check(b"PK\x03\x04 no"), Err(VerifyError::Container(_))));
    for other in [&b""[..], b"\n", b"%PDF", b"[]", b"\xff\xfe{", b"{}"] {
        assert!(matches!(check(other), Err(VerifyError::Unrecognized)), "{other:?}");
    }
    std::fs::remove_file(&path).expect("removed");
    assert!(matches!(verify_any(&path, None), Err(VerifyError::Io(_))));
}
