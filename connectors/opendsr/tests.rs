use super::*;
use crate::conformance::{
    Answer, MemoryJournal, MemorySink, Person, Witness, ann, bea, confirmed, done, everybody, near_twins, nobody,
    nothing_found, only, work,
};
use crate::{Network, Receipt};
use redress_sandbox::kit::Fault;
use redress_sandbox::vendors::opendsr as vendor;
use redress_sandbox::{Served, World, serve};
use serde_json::json;

struct Lab {
    served: Served,
    witness: Witness,
}

/// Dialect, path and its secrets.
const DIALECTS: &[(&str, &str)] = &[
    ("spec", "/v2"),
    ("spec_v1", "/v1"),
    ("mparticle", "/v2"),
    ("mparticle_v3", "/v3"),
    ("appsflyer", "/api/gdpr/v1"),
];

impl Lab {
    async fn new() -> Self {
        let served = serve("opendsr", 0).await.expect("a free port");
        for person in everybody() {
            Self::seed(served.world(), &person);
        }
        let secrets = ["sandbox-secret".to_owned(), "sandbox-token".to_owned()];
        Self { served, witness: Witness::of(&everybody(), &secrets) }
    }

    fn seed(world: &World, person: &Person) {
        let (first, last) = person.full_name.split_once(' ').expect("two names");
        (vendor::VENDOR.seed)(
            world,
            &redress_sandbox::Person {
                email: person.email.clone(),
                phone: person.phone.clone(),
                customer_id: person.customer_id.clone(),
                first_name: first.into(),
                last_name: last.into(),
            },
        );
    }

    fn world(&self) -> &World {
        self.served.world()
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is written where it is used")]
    fn spec(&self, dialect: &str, more: Value) -> SystemSpec {
        let path = DIALECTS.iter().find(|(name, _)| *name == dialect).expect("a dialect").1;
        let mut settings = json!({
            "dialect": dialect, "base_url": format!("{}{path}", self.served.url()), "domain": vendor::DOMAIN,
            "signatures": "required", "certificate": vendor::CERTIFICATE, "check_every_seconds": 60,
        });
        let mut secrets = vec![("key", "sandbox-key"), ("secret", "sandbox-secret")];
        if dialect == "appsflyer" {
            settings["property_id"] = json!("app.example");
            settings["identities"] = json!({"email": "email", "customer_id": "controller_customer_id"});
            secrets = vec![("token", "sandbox-token")];
        }
        for (key, value) in more.as_object().into_iter().flatten() {
            settings[key] = value.clone();
        }
        let mut settings = settings.as_object().cloned().expect("an object");
        settings.retain(|_, value| !value.is_null());
        SystemSpec {
            name: "downstream".into(),
            connector: "opendsr".into(),
            settings,
            secrets: secrets.into_iter().map(|(name, value)| (name.into(), value.to_owned().into())).collect(),
            tables: Vec::new(),
            max_matches: 25,
            base_dir: None,
            network: Network::default(),
        }
    }

    fn connector(&self, dialect: &str) -> Arc<dyn Connector> {
        connect(&self.spec(dialect, json!({}))).expect("a valid specification")
    }

    fn left(&self, person: &Person) -> u64 {
        (vendor::VENDOR.count)(self.world(), &person.email)
    }

    async fn erase(&self, connector: &Arc<dyn Connector>, person: &Person, prior: Option<&Receipt>) -> Outcome {
        let subject = person.subject();
        let item = [Work { prior, ..work("stp_1", &subject) }];
        self.witness.see(only(connector.erase(&item, &MemoryJournal::default()).await))
    }

    async fn export(&self, connector: &Arc<dyn Connector>, prior: Option<&Receipt>, sink: &MemorySink) -> Outcome {
        let subject = ann().subject();
        let item = [Work { prior, ..work("stp_x", &subject) }];
        self.witness.see(only(connector.export(&item, sink).await))
    }
}

fn accepted(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Accepted { receipt, check_after, .. } => {
            assert_eq!(check_after, Duration::from_mins(1));
            receipt
        }
        other => panic!("expected Accepted, got {other:?}"),
    }
}

fn code(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Trouble(Trouble::Denied(problem) | Trouble::Retry(problem)) => problem.code,
        other => panic!("expected Trouble, got {other:?}"),
    }
}

#[tokio::test]
async fn a_deletion_is_ordered_followed_and_confirmed_in_every_dialect() {
    for (dialect, _) in DIALECTS {
        let lab = Lab::new().await;
        let connector = lab.connector(dialect);
        let first = accepted(lab.erase(&connector, &ann(), None).await);
        assert_eq!(lab.left(&ann()), 1, "{dialect}: ordered is not done");
        lab.world().travel(Duration::from_secs(61));
        let second = accepted(lab.erase(&connector, &ann(), Some(&first)).await);
        lab.world().travel(Duration::from_secs(61));
        let erased = done(lab.erase(&connector, &ann(), Some(&second)).await);
        assert_eq!((erased.found, erased.changed), (1, 1), "{dialect}");
        assert_eq!(erased.evidence.collections[0].action, "completed_signed");
        assert_eq!(lab.left(&ann()), 0, "{dialect}");
        for twin in near_twins().iter().chain([&bea()]) {
            assert_eq!(lab.left(twin), 1, "{dialect}: {}", twin.email);
        }
        let subject = ann().subject();
        let item = Work { prior: erased.receipt.as_ref(), ..work("stp_1", &subject) };
        confirmed(only(connector.verify(Verb::Erase, &[item]).await));
        let unknown = only(connector.verify(Verb::Erase, &[work("stp_1", &subject)]).await);
        assert!(matches!(unknown, Verdict::Trouble(_)), "nothing on record is nothing confirmed");
        let posts = lab.world().hits().iter().filter(|hit| hit.method == "POST").count();
        assert_eq!(posts, 1, "{dialect}: ordered once");
    }
}

#[tokio::test]
async fn an_access_hands_over_what_the_processor_holds() {
    for (dialect, _) in DIALECTS {
        let lab = Lab::new().await;
        let (connector, sink) = (lab.connector(dialect), MemorySink::default());
        let receipt = accepted(lab.export(&connector, None, &sink).await);
        assert!(sink.text("stp_x").is_empty());
        lab.world().travel(Duration::from_secs(130));
        let exported = done(lab.export(&connector, Some(&receipt), &sink).await);
        assert_eq!((exported.found, exported.changed), (1, 0), "{dialect}");
        let text = sink.text("stp_x");
        assert!(text.contains(&ann().email) && !text.contains("joann@"), "{dialect}: {text}");
    }
}

#[tokio::test]
async fn results_that_were_fetched_too_late_are_ordered_again() {
    let lab = Lab::new().await;
    let (connector, sink) = (lab.connector("spec"), MemorySink::default());
    let receipt = accepted(lab.export(&connector, None, &sink).await);
    lab.world().travel(Duration::from_hours(192));
    let again = accepted(lab.export(&connector, Some(&receipt), &sink).await);
    assert_ne!(receipt, again);
    lab.world().travel(Duration::from_secs(130));
    done(lab.export(&connector, Some(&again), &sink).await);
}

#[tokio::test]
async fn nobody_there_is_nothing_found_only_when_the_processor_says_so() {
    let lab = Lab::new().await;
    let connector = lab.connector("spec");
    let receipt = accepted(lab.erase(&connector, &nobody(), None).await);
    lab.world().travel(Duration::from_secs(130));
    nothing_found(lab.erase(&connector, &nobody(), Some(&receipt)).await);
}

#[tokio::test]
async fn an_order_whose_record_was_lost_is_found_again() {
    let lab = Lab::new().await;
    let connector = lab.connector("spec");
    accepted(lab.erase(&connector, &ann(), None).await);
    // The process died before the answer was recorded: no receipt, the same item.
    accepted(lab.erase(&connector, &ann(), None).await);
    assert_eq!(lab.world().all("requests").len(), 1);
    // The effect happened, the answer was lost.
    lab.world().fault(Fault::EffectThen500, Some("/requests"));
    let subject = bea().subject();
    let journal = MemoryJournal::default();
    let lost = only(connector.erase(&[work("stp_2", &subject)], &journal).await);
    assert!(matches!(lost, Outcome::Trouble(Trouble::Retry(_))), "{lost:?}");
    let prior = journal.announced("stp_2").expect("announced");
    accepted(only(connector.erase(&[Work { prior: Some(&prior), ..work("stp_2", &subject) }], &journal).await));
    assert_eq!(lab.world().all("requests").len(), 2);
}

#[tokio::test]
async fn a_lost_right_to_act_sends_nothing() {
    let lab = Lab::new().await;
    let (connector, subject) = (lab.connector("spec"), ann().subject());
    let outcome = only(connector.erase(&[work("stp_1", &subject)], &MemoryJournal::answering(Answer::Lost)).await);
    assert!(matches!(outcome, Outcome::Trouble(Trouble::Lost)));
    assert!(lab.world().all("requests").is_empty());
}

#[tokio::test]
async fn a_cancelled_order_is_not_done_and_a_retry_sends_another() {
    let lab = Lab::new().await;
    let connector = lab.connector("spec");
    let receipt = accepted(lab.erase(&connector, &ann(), None).await);
    let (id, mut request) = lab.world().all("requests").remove(0);
    request.insert("cancelled".into(), json!(true));
    lab.world().put("requests", &id, Value::Object(request));
    let (subject, journal) = (ann().subject(), MemoryJournal::default());
    let item = [Work { prior: Some(&receipt), ..work("stp_1", &subject) }];
    assert_eq!(code(only(connector.erase(&item, &journal).await)), "cancelled_by_processor");
    let next = journal.announced("stp_1").expect("the next order is on record");
    accepted(lab.erase(&connector, &ann(), Some(&next)).await);
    assert_eq!(lab.world().all("requests").len(), 2);
}

#[tokio::test]
async fn an_answer_with_a_wrong_signature_is_not_believed() {
    let lab = Lab::new().await;
    // A genuine certificate, but of another key.
    for (settings, expected) in [
        (json!({"domain": "other.example"}), "signature_of_another"),
        (json!({"certificate": OTHER}), "signature_wrong"),
        // Self-signed: no root of this machine stands for it.
        (json!({"certificate": null}), "certificate_not_trusted"),
    ] {
        let connector = connect(&lab.spec("spec", settings)).expect("valid");
        assert_eq!(code(lab.erase(&connector, &ann(), None).await), expected);
        lab.world().tables().remove("requests");
    }
    lab.world().fault(Fault::Status(201, json!({"subject_request_id": "x"}).to_string(), None), Some("/requests"));
    assert_eq!(code(lab.erase(&lab.connector("spec"), &ann(), None).await), "signature_missing");
}

#[tokio::test]
async fn the_processors_own_certificate_is_fetched_once_and_believed_if_a_root_stands_for_it() {
    fn sandbox_root() -> Vec<TrustAnchor<'static>> {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;
        let own = CertificateDer::from_pem_slice(vendor::CERTIFICATE.as_bytes()).expect("a certificate");
        vec![webpki::anchor_from_trusted_cert(&own).expect("an anchor").to_owned()]
    }
    let lab = Lab::new().await;
    let spec = lab.spec("spec", json!({"certificate": null}));
    let connector = trusting(&spec, sandbox_root).expect("valid");
    let receipt = accepted(lab.erase(&connector, &ann(), None).await);
    accepted(lab.erase(&connector, &ann(), Some(&receipt)).await);
    let fetched = lab.world().hits().iter().filter(|hit| hit.path.ends_with("certificate.pem")).count();
    assert_eq!(fetched, 1);
    assert!(connector.check().await.expect("in order").ok.iter().any(|line| line.contains("certificate")));
}

#[tokio::test]
async fn nonsense_is_never_done() {
    let id = |lab: &Lab| lab.world().all("requests")[0].0.clone();
    let lab = Lab::new().await;
    let off = connect(&lab.spec("spec", json!({"signatures": "off"}))).expect("valid");
    let receipt = accepted(lab.erase(&off, &ann(), None).await);
    let ours = id(&lab);
    let other = "00000000-0000-4000-8000-000000000000";
    for (body, expected) in [
        (json!({"subject_request_id": other, "request_status": "completed"}).to_string(), "answer_about_another"),
        (json!({"subject_request_id": ours, "request_status": "done"}).to_string(), "status_unknown"),
        (json!({"subject_request_id": ours, "request_status": "in-progress"}).to_string(), "status_unknown"),
        (
            json!({"subject_request_id": ours, "request_status": "completed", "results_count": -1}).to_string(),
            "answer_unreadable",
        ),
        ("{\"request_status\":\"completed\"}".into(), "answer_unreadable"),
        ("[".repeat(100_000), "answer_unreadable"),
        (String::new(), "answer_unreadable"),
    ] {
        lab.world().fault(Fault::Status(200, body.clone(), None), None);
        assert_eq!(code(lab.erase(&off, &ann(), Some(&receipt)).await), expected, "{body:.80}");
    }
    for (fault, expected) in [
        (Fault::Html, "answer_unreadable"),
        (Fault::Truncated, "answer_unreadable"),
        (Fault::Status(404, "<html>".into(), None), "answer_unreadable"),
        (Fault::Status(404, "{\"error\":{}}".into(), None), "order_forgotten"),
        (Fault::Status(500, String::new(), None), "vendor_error"),
        (Fault::Status(403, String::new(), None), "permission_missing"),
        (Fault::Status(302, String::new(), None), "redirected"),
        (Fault::Endless(32 << 20), "answer_too_large"),
    ] {
        lab.world().fault(fault, None);
        assert_eq!(code(lab.erase(&off, &ann(), Some(&receipt)).await), expected);
    }
    for wait in ["0", "-1", "1e10", "Thu, 01 Jan 1970 00:00:00 GMT", "soon"] {
        lab.world().fault(Fault::Status(429, "{}".into(), Some(wait.into())), None);
        let outcome = lab.erase(&off, &ann(), Some(&receipt)).await;
        assert!(matches!(outcome, Outcome::Trouble(Trouble::Throttled(_))), "{wait}: {outcome:?}");
    }
    lab.world().revoke(true);
    assert_eq!(code(lab.erase(&off, &ann(), Some(&receipt)).await), "credentials_refused");
    assert_eq!(off.check().await.expect_err("refused").code, "credentials_refused");
}

#[tokio::test]
async fn results_elsewhere_are_fetched_only_from_hosts_that_were_named_and_without_credentials() {
    let lab = Lab::new().await;
    let elsewhere = serve("opendsr", 0).await.expect("a free port");
    let off = |hosts: Value| connect(&lab.spec("spec", json!({"signatures": "off", "hosts": hosts}))).expect("valid");
    let sink = MemorySink::default();
    let receipt = accepted(lab.export(&off(Value::Null), None, &sink).await);
    let id = lab.world().all("requests")[0].0.clone();
    let there = format!("{}/file", elsewhere.url());
    let answer = json!({"subject_request_id": id, "request_status": "completed", "results_url": there}).to_string();
    lab.world().fault(Fault::Status(200, answer.clone(), None), None);
    assert_eq!(code(lab.export(&off(Value::Null), Some(&receipt), &sink).await), "host_not_pinned");
    assert!(elsewhere.world().hits().is_empty());

    lab.world().fault(Fault::Status(200, answer, None), None);
    elsewhere.world().fault(Fault::Status(200, "PK".into(), None), None);
    done(lab.export(&off(json!([elsewhere.url()])), Some(&receipt), &sink).await);
    assert_eq!(sink.attachments("stp_x").len(), 1);
}

#[test]
fn settings_are_read_strictly() {
    let spec = |settings: Value| SystemSpec {
        name: "downstream".into(),
        connector: "opendsr".into(),
        settings: settings.as_object().cloned().expect("an object"),
        secrets: std::collections::BTreeMap::new(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: Network::default(),
    };
    let faults = |settings: Value| -> Vec<String> {
        connect(&spec(settings)).err().expect("faults").into_iter().map(|fault| fault.path).collect()
    };
    assert_eq!(faults(json!({})), ["settings.base_url"]);
    assert_eq!(faults(json!({"dialect": "mparticle"})), ["secrets.key", "secrets.secret"]);
    let appsflyer = faults(json!({"dialect": "appsflyer", "identity_format": "sha256"}));
    for path in ["settings.property_id", "settings.identities", "settings.identity_format", "secrets.token"] {
        assert!(appsflyer.iter().any(|p| p == path), "{path}: {appsflyer:?}");
    }
    assert_eq!(faults(json!({"base_url": "ftp://x.example", "certificate": "none", "colour": 1})).len(), 3);
}

/// A certificate whose key signed nothing here.
const OTHER: &str = include_str!("other.pem");
