use super::*;
use crate::conformance::{self, MemoryJournal, ann, bea, confirmed, done, near_twins, only, work};
use crate::manifest::tests::harness::ManifestTarget;
use crate::{Effect, Network, Receipt, registry};
use redress_sandbox::kit::Fault;
use redress_sandbox::vendors::webhook::SECRET;
use serde_json::Map;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

async fn target() -> ManifestTarget {
    ManifestTarget::serve("webhook")
        .await
        .secret("signing_secret", SECRET)
        .setting("identifiers", json!(["customer_id", "email", "phone"]))
        .setting("fields", json!(["last_name"]))
        .correcting("last_name", "people", "/email", "/last_name")
}

#[tokio::test]
async fn a_receiver_conforms() {
    conformance::run(&target().await).await;
}

async fn lab(settings: Value) -> (ManifestTarget, Arc<dyn Connector>) {
    let mut target = target().await;
    for (key, value) in settings.as_object().into_iter().flatten() {
        target = target.setting(key, value.clone());
    }
    for person in near_twins().iter().chain([&ann(), &bea()]) {
        target.put(person);
    }
    let connector = registry::connect(&target.spec(&target.url(), 25)).expect("a valid specification");
    (target, connector)
}

fn code(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Trouble(Trouble::Denied(problem) | Trouble::Retry(problem)) => problem.code,
        other => panic!("expected Trouble, got {other:?}"),
    }
}

async fn erase(connector: &Arc<dyn Connector>, prior: Option<&Receipt>) -> Outcome {
    let subject = ann().subject();
    only(connector.erase(&[Work { prior, ..work("stp_1", &subject) }], &MemoryJournal::default()).await)
}

#[tokio::test]
async fn a_slow_receiver_is_asked_again_until_it_is_done() {
    let (target, connector) = lab(json!({})).await;
    target.world().put("mode", "slow", json!({}));
    let Outcome::Accepted { receipt, check_after, completes_within } = erase(&connector, None).await else {
        panic!("accepted")
    };
    assert_eq!((check_after.as_secs(), completes_within.map(|d| d.as_secs())), (60, Some(2 * 86_400)));
    let Outcome::Accepted { receipt, .. } = erase(&connector, Some(&receipt)).await else { panic!("still at it") };
    assert_eq!(target.left(&ann().email), 1);
    target.world().travel(Duration::from_secs(61));
    let erased = done(erase(&connector, Some(&receipt)).await);
    assert_eq!((erased.found, erased.changed, erased.effect), (1, 1, Some(Effect::Permanent)));
    assert_eq!(erased.evidence.collections[0].action, "reported");
    assert_eq!(target.left(&ann().email), 0);
    let subject = ann().subject();
    confirmed(only(connector.verify(Verb::Erase, &[work("v", &subject)]).await));
}

#[tokio::test]
async fn a_receiver_may_call_back_instead() {
    let (target, connector) = lab(json!({})).await;
    target.world().put("mode", "slow", json!({}));
    let Outcome::Accepted { receipt, .. } = erase(&connector, None).await else { panic!("accepted") };
    let report = br#"{"found":1,"changed":1}"#;
    let reported = Awaited::of(&receipt).expect("ours").reported(Verb::Erase, report).expect("consistent").receipt();
    let erased = done(erase(&connector, Some(&reported)).await);
    assert_eq!(erased.changed, 1);
    // It said so and did not: the second look finds it, and the next order is another one.
    let subject = ann().subject();
    let verdict = only(connector.verify(Verb::Erase, &[work("v", &subject)]).await);
    assert!(matches!(verdict, Verdict::Residue { remaining: 1, .. }), "{verdict:?}");
    let again = erase(&connector, erased.receipt.as_ref()).await;
    assert!(matches!(again, Outcome::Accepted { .. }), "{again:?}");
}

#[tokio::test]
async fn a_deletion_that_did_not_last_is_ordered_anew() {
    let (target, connector) = lab(json!({})).await;
    let erased = done(erase(&connector, None).await);
    target.put(&ann());
    let again = done(erase(&connector, erased.receipt.as_ref()).await);
    assert_eq!((again.found, again.changed), (1, 1));
    assert_eq!(target.left(&ann().email), 0);
}

#[tokio::test]
async fn an_answer_that_does_not_add_up_is_no_answer() {
    let (target, connector) = lab(json!({"verbs": ["export", "rectify", "erase"]})).await;
    for body in [
        r#"{"status":"done","found":2,"changed":1}"#,
        r#"{"status":"done","found":0,"changed":0}"#,
        r#"{"status":"done","found":1,"changed":1,"extra":true}"#,
        r#"{"status":"done"}"#,
        r#"{"status":"erased","found":1,"changed":1}"#,
        r#"{"status":"confirmed","remaining":0}"#,
        r#"{"found":1,"changed":1}"#,
        r#"{"status":"held","reason":"because Ann ann@shop.example said so"}"#,
    ] {
        target.world().fault(Fault::Status(200, body.into(), None), None);
        let outcome = erase(&connector, None).await;
        assert!(!format!("{outcome:?}").contains("ann@"), "{outcome:?}");
        assert_eq!(code(outcome), "answer_not_as_agreed", "{body}");
    }
    for (fault, expected) in [
        (Fault::Html, "answer_unreadable"),
        (Fault::Truncated, "answer_unreadable"),
        (Fault::Status(200, "[".repeat(100_000), None), "answer_unreadable"),
        (Fault::Status(204, String::new(), None), "refused"),
        (Fault::Status(302, String::new(), None), "redirected"),
        (Fault::Status(403, String::new(), None), "permission_missing"),
        (Fault::Status(410, String::new(), None), "receiver_gone"),
        (Fault::Status(500, String::new(), None), "vendor_error"),
        (Fault::Endless(32 << 20), "answer_too_large"),
    ] {
        target.world().fault(fault, None);
        let outcome = erase(&connector, None).await;
        // What was cut off was done all the same; put her back for the next one.
        target.put(&ann());
        target.world().tables().remove("answered");
        assert_eq!(code(outcome), expected);
    }
    for wait in ["0", "-1", "1e10", "Thu, 01 Jan 1970 00:00:00 GMT", "soon"] {
        target.world().fault(Fault::Status(429, String::new(), Some(wait.into())), None);
        let outcome = erase(&connector, None).await;
        assert!(matches!(outcome, Outcome::Trouble(Trouble::Throttled(_))), "{wait}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_effect_whose_answer_was_lost_is_told_by_the_repeated_call() {
    let (target, connector) = lab(json!({"verbs": ["erase"]})).await;
    target.world().fault(Fault::EffectThen500, None);
    let journal = MemoryJournal::default();
    let subject = ann().subject();
    let lost = only(connector.erase(&[work("stp_1", &subject)], &journal).await);
    assert_eq!((code(lost), target.left(&ann().email)), ("vendor_error", 0));
    let prior = journal.announced("stp_1").expect("announced");
    assert_eq!(done(erase(&connector, Some(&prior)).await).changed, 1);
}

#[test]
fn settings_are_read_strictly() {
    let spec = |settings: Value, secret: &str| SystemSpec {
        name: "loyalty".into(),
        connector: "webhook".into(),
        settings: settings.as_object().cloned().unwrap_or_else(Map::new),
        secrets: [("signing_secret".to_owned(), secret.to_owned().into())].into(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: Network::default(),
    };
    let faults = |settings: Value, secret: &str| -> Vec<String> {
        connect(&spec(settings, secret)).err().expect("faults").into_iter().map(|fault| fault.path).collect()
    };
    assert_eq!(faults(json!({}), SECRET), ["settings.base_url"]);
    assert_eq!(faults(json!({"base_url": "https://x.example/in"}), "short"), ["secrets.signing_secret"]);
    assert_eq!(
        faults(json!({"base_url": "https://x.example/in?a=b", "verbs": ["burn"], "colour": 1}), SECRET).len(),
        3
    );
    let plain = connect(&spec(json!({"base_url": "https://x.example/in"}), SECRET)).expect("valid");
    assert!(!plain.manifest().verbs.contains(&Verb::Rectify), "nothing can be corrected without fields");
}

/// The receiver of the documentation, while it runs.
struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test]
async fn the_receiver_of_the_documentation_works() {
    let people: Vec<Value> = near_twins()
        .iter()
        .chain([&ann(), &bea()])
        .map(|p| json!({"customer_id": p.customer_id, "email": p.email, "phone": p.phone, "last_name": p.full_name}))
        .collect();
    let path = std::env::temp_dir().join(format!("redress-receiver-{}.json", std::process::id()));
    std::fs::File::create(&path)
        .and_then(|mut file| file.write_all(json!(people).to_string().as_bytes()))
        .expect("written");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/webhook-receiver.py");
    let child = Command::new("python3")
        .args([script, "0"])
        .env("WEBHOOK_SECRET", SECRET)
        .env("PEOPLE", &path)
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("not run: there is no python3");
        return;
    };
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says its port");
    let _example = Example(child);
    let _gone = std::fs::remove_file(&path);
    let mut spec = target().await.spec(&format!("http://127.0.0.1:{}", line.trim()), 25);
    spec.settings.insert("fields".into(), json!(["last_name"]));
    let connector = connect(&spec).expect("valid");
    connector.check().await.expect("it takes our signature");
    let (subject, journal) = (ann().subject(), MemoryJournal::default());
    assert_eq!(done(only(connector.discover(&[work("d", &subject)]).await)).found, 1);
    let sink = conformance::MemorySink::default();
    assert_eq!(done(only(connector.export(&[work("x", &subject)], &sink).await)).found, 1);
    let corrections = [redress_domain::Correction { field: "last_name".into(), value: "Neu".into() }];
    let item = conformance::rectifying("r", &subject, &corrections);
    assert_eq!(done(only(connector.rectify(&[item], &journal).await)).changed, 1);
    let item = conformance::rectifying("r", &subject, &corrections);
    confirmed(only(connector.verify(Verb::Rectify, &[item]).await));
    assert_eq!(done(only(connector.erase(&[work("e", &subject)], &journal).await)).changed, 1);
    let prior = journal.announced("e").expect("announced");
    let again = Work { prior: Some(&prior), ..work("e", &subject) };
    assert_eq!(done(only(connector.erase(&[again], &journal).await)).changed, 1, "a repeated call is told the same");
    confirmed(only(connector.verify(Verb::Erase, &[work("e", &subject)]).await));
    let twins: Vec<_> = near_twins().iter().map(conformance::Person::subject).collect();
    for twin in &twins {
        assert_eq!(done(only(connector.discover(&[work("t", twin)]).await)).found, 1);
    }
    spec.secrets
        .insert("signing_secret".into(), "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned().into());
    assert_eq!(connect(&spec).expect("valid").check().await.expect_err("refused").code, "credentials_refused");
}
