//! What the vendor may answer at its worst. Nothing of it is "nothing found", nothing of it ends a process.

use super::lab::{Lab, by_email, connected, erased};
use crate::conformance::{MemoryJournal, ann, bea, confirmed, done, only, rectifying, work};
use crate::http::SigningKey;
use crate::{Outcome, Secret, Trouble, Verdict, Work};
use redress_domain::{Correction, Verb};
use redress_sandbox::Fault;
use redress_sandbox::vendors::salesforce as sim;
use serde_json::json;
use std::time::Duration;

/// Made for this test, used nowhere.
const KEY: &str = include_str!("key.pem");

#[tokio::test]
async fn a_session_that_ended_is_opened_anew_once_and_the_call_is_made_again() {
    let lab = Lab::new(false).await;
    lab.seed(&ann());
    let connector = lab.connector();
    let subject = by_email(&ann().email);
    for _ in 0..3 {
        assert_eq!(done(only(connector.discover(&[work("d", &subject)]).await)).found, 4);
        sim::end_sessions(lab.world());
    }
    let signed_in = lab.world().hits().iter().filter(|hit| hit.path == "/services/oauth2/token").count();
    assert_eq!(signed_in, 3);
}

#[tokio::test]
async fn credentials_that_were_revoked_are_said_to_be_and_nothing_is_taken_for_empty() {
    let lab = Lab::new(false).await;
    lab.seed(&ann());
    let connector = lab.connector();
    let subject = by_email(&ann().email);
    done(only(connector.discover(&[work("d", &subject)]).await));
    lab.world().revoke(true);
    let outcome = only(connector.discover(&[work("d", &subject)]).await);
    assert!(
        matches!(&outcome, Outcome::Trouble(Trouble::Denied(problem)) if problem.code == "credentials_refused"),
        "{outcome:?}"
    );
    let verdict = only(connector.verify(Verb::Erase, &[work("v", &subject)]).await);
    assert!(matches!(&verdict, Verdict::Trouble(Trouble::Denied(_))), "{verdict:?}");
    lab.world().revoke(false);
    done(only(connector.discover(&[work("d", &subject)]).await));
}

#[tokio::test]
async fn a_signed_assertion_opens_a_session_and_another_key_does_not() {
    let lab = Lab::new(false).await;
    lab.seed(&ann());
    let key = SigningKey::from_pem(KEY).expect("a key");
    let mut spec = lab.spec();
    spec.settings.insert("auth".into(), json!("jwt"));
    spec.settings.insert("client_id".into(), json!("3MVG9jwt"));
    spec.settings.insert("username".into(), json!(sim::USERNAME));
    spec.secrets = [("private_key".to_owned(), Secret::from(KEY))].into();
    let subject = by_email(&ann().email);
    let unknown = only(connected(&spec).discover(&[work("d", &subject)]).await);
    assert!(matches!(&unknown, Outcome::Trouble(Trouble::Denied(problem)) if problem.code == "credentials_refused"));
    sim::register_key(lab.world(), "3MVG9jwt", key.public_der());
    assert_eq!(done(only(connected(&spec).discover(&[work("d", &subject)]).await)).found, 4);
    spec.settings.insert("username".into(), json!("somebody@else.example"));
    let unapproved = only(connected(&spec).discover(&[work("d", &subject)]).await);
    assert!(matches!(&unapproved, Outcome::Trouble(Trouble::Denied(_))));
}

#[tokio::test]
async fn strange_answers_are_retried_refused_or_waited_for_and_never_nothing() {
    let row = |email: &str| {
        json!({"totalSize": 1, "done": true, "records": [{"attributes": {"type": "Contact"}, "Id": "003D70000001000", "Email": email}]}).to_string()
    };
    let page =
        json!({"totalSize": 4, "done": false, "records": [], "nextRecordsUrl": "/services/data/v67.0/query/01gD7-0"})
            .to_string();
    let away =
        json!({"totalSize": 4, "done": false, "records": [], "nextRecordsUrl": "https://evil.example/services/data/"})
            .to_string();
    let short = json!({"totalSize": 2, "done": true, "records": []}).to_string();
    let deep = "[".repeat(200_000);
    let faults = [
        (Fault::Html, "answer_unreadable"),
        (Fault::Truncated, "answer_unreadable"),
        (Fault::Endless(40 << 20), "answer_too_large"),
        (Fault::EffectThen500, "vendor_error"),
        (Fault::Status(200, String::new(), None), "answer_unreadable"),
        (Fault::Status(200, "[]".into(), None), "answer_unreadable"),
        (Fault::Status(200, deep, None), "answer_unreadable"),
        (Fault::Status(200, "{\"records\":[],\"done\":true}".into(), None), "answer_unreadable"),
        (Fault::Status(200, short, None), "answer_unreadable"),
        (Fault::Status(200, away, None), "answer_unreadable"),
        (Fault::Status(200, page, None), "vendor_error"),
        (Fault::Status(302, String::new(), None), "redirected"),
        (Fault::Status(403, "<html>blocked".into(), None), "permission_missing"),
        (
            Fault::Status(
                403,
                "[{\"errorCode\":\"INSUFFICIENT_ACCESS\",\"message\":\"ann@shop.example\"}]".into(),
                None,
            ),
            "permission_missing",
        ),
        (
            Fault::Status(400, "[{\"errorCode\":\"INVALID_FIELD\",\"message\":\"ann@shop.example\"}]".into(), None),
            "object_missing",
        ),
        (Fault::Status(503, "[{\"errorCode\":\"SERVER_UNAVAILABLE\",\"message\":\"\"}]".into(), None), "vendor_error"),
    ];
    for (fault, expected) in faults {
        let lab = Lab::new(false).await;
        lab.seed(&ann());
        let connector = lab.connector();
        let subject = by_email(&ann().email);
        done(only(connector.discover(&[work("d", &subject)]).await));
        lab.world().fault(fault.clone(), Some("queryAll"));
        let outcome = only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await);
        let shown = format!("{outcome:?}");
        let Outcome::Trouble(Trouble::Retry(problem) | Trouble::Denied(problem)) = outcome else {
            panic!("{fault:?}: {shown}")
        };
        assert_eq!(problem.code, expected, "{fault:?}");
        assert!(!shown.contains("shop.example"), "{shown}");
        assert_eq!(lab.count(&ann().email), 4);
    }
    // A record of somebody else in the answer is nobody's.
    let lab = Lab::new(false).await;
    lab.seed(&bea());
    let connector = lab.connector();
    let subject = by_email(&ann().email);
    let _reads_the_schema = connector.discover(&[work("d", &subject)]).await;
    lab.world().fault(Fault::Status(200, row(&bea().email), None), Some("queryAll"));
    let outcome = only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await);
    assert!(matches!(outcome, Outcome::NothingFound(_)), "{outcome:?}");
}

#[tokio::test]
async fn however_wrong_a_wait_is_it_is_a_wait() {
    for wait in ["0", "-1", "10000000000", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", ""] {
        let lab = Lab::new(false).await;
        lab.seed(&ann());
        let subject = by_email(&ann().email);
        lab.world().fault(Fault::Status(429, String::new(), Some(wait.into())), Some("sobjects"));
        let outcome = only(lab.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await);
        assert!(
            matches!(outcome, Outcome::Trouble(Trouble::Throttled(wait)) if wait <= Duration::from_hours(24)),
            "{wait:?}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn an_effect_whose_answer_was_lost_is_counted_by_the_next_run() {
    for (hard, at) in [(false, "composite/sobjects"), (true, "batches"), (true, "jobs/ingest")] {
        let lab = Lab::new(hard).await;
        lab.seed(&ann());
        lab.world().fault(Fault::EffectThen500, Some(at));
        let (subject, journal) = (by_email(&ann().email), MemoryJournal::default());
        let outcome = only(lab.connector().erase(&[work("e", &subject)], &journal).await);
        assert!(matches!(outcome, Outcome::Trouble(Trouble::Retry(_))), "{outcome:?}");
        let prior = journal.announced("e");
        let item = Work { prior: prior.as_ref(), ..work("e", &subject) };
        let outcomes = super::lab::erase_to_the_end(&lab, &lab.connector(), &[item], &journal).await;
        let done = done(only(outcomes));
        assert_eq!((done.found, done.changed, lab.count(&ann().email)), (4, 4, 0), "{at}");
    }
}

#[tokio::test]
async fn an_instance_that_is_not_salesforce_s_gets_no_token() {
    for instance in [
        "http://127.0.0.1:9",
        "https://evil.example",
        "https://salesforce.com.evil.example",
        "https://x.salesforce.com:8443",
        "file:///etc",
        "https://a@x.salesforce.com",
    ] {
        let lab = Lab::new(false).await;
        let token = json!({"access_token": "secret", "instance_url": instance}).to_string();
        lab.world().fault(Fault::Status(200, token, None), Some("oauth2"));
        let outcome = only(lab.connector().discover(&[work("d", &by_email(&ann().email))]).await);
        assert!(
            matches!(&outcome, Outcome::Trouble(Trouble::Denied(problem)) if problem.code == "host_not_pinned"),
            "{instance}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_value_that_salesforce_refuses_is_refused_and_a_converted_lead_stays() {
    let lab = Lab::new(false).await;
    lab.seed(&ann());
    let lead = json!({"Email": ann().email, "LastName": "Vorbild", "IsConverted": true, "Company": "x"});
    let lead = sim::insert(lab.world(), "Lead", lead);
    let subject = by_email(&ann().email);
    let correct = |field: &str, value: &str| [Correction { field: field.to_owned(), value: value.into() }];
    let journal = MemoryJournal::default();
    let bad = correct("email", "not an address");
    let outcome = only(lab.connector().rectify(&[rectifying("r", &subject, &bad)], &journal).await);
    assert!(
        matches!(&outcome, Outcome::Trouble(Trouble::Denied(problem)) if problem.code == "value_refused"),
        "{outcome:?}"
    );
    let good = correct("last_name", "Neu");
    let item = rectifying("r2", &subject, &good);
    let fixed = done(only(lab.connector().rectify(&[item], &journal).await));
    assert_eq!((fixed.found, fixed.changed), (2, 1));
    assert_eq!(
        fixed.retained.iter().map(|r| (r.collection.as_str(), r.reason.as_str())).collect::<Vec<_>>(),
        [("Lead", "converted_lead_read_only")]
    );
    assert_eq!(lab.world().get("Lead", &lead).expect("a lead")["LastName"], "Vorbild");
    confirmed(only(lab.connector().verify(Verb::Rectify, &[rectifying("v", &subject, &good)]).await));
    let unknown = correct("shoe_size", "43");
    let outcome = only(lab.connector().rectify(&[rectifying("r3", &subject, &unknown)], &journal).await);
    assert!(
        matches!(&outcome, Outcome::Trouble(Trouble::Denied(problem)) if problem.code == "field_not_correctable"),
        "{outcome:?}"
    );
    // A corrected address is verified by what was touched, although the old one finds nothing any more.
    lab.world().take("Lead", &lead);
    let moved = correct("email", "anna@shop.example");
    let receipt = done(only(lab.connector().rectify(&[rectifying("r4", &subject, &moved)], &journal).await)).receipt;
    let item = Work { prior: receipt.as_ref(), ..rectifying("v4", &subject, &moved) };
    confirmed(only(lab.connector().verify(Verb::Rectify, &[item]).await));
    assert_eq!(erased(&lab, &lab.connector(), &by_email("anna@shop.example")).await.changed, 4);
}

#[test]
fn settings_are_checked_and_every_fault_is_told() {
    let mut spec = crate::SystemSpec {
        name: "crm".into(),
        connector: "salesforce".into(),
        settings: serde_json::Map::new(),
        secrets: [("password".to_owned(), Secret::from("x"))].into(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: crate::Network::default(),
    };
    let settings = json!({
        "domain": "acme.example.org", "api_version": "67", "auth": "password", "delete": "maybe", "daily_share": 2, "phone_search": "guess",
        "objects": [{"name": "Contact WHERE"}], "fields": {"first_name": "First Name"}, "customer_id": "x'y", "typo": 1,
    });
    spec.settings = settings.as_object().cloned().expect("an object");
    let faults = crate::registry::connect(&spec).err().expect("refused");
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    for path in [
        "domain",
        "client_id",
        "api_version",
        "auth",
        "delete",
        "daily_share",
        "phone_search",
        "objects",
        "fields",
        "customer_id",
        "typo",
    ] {
        assert!(paths.contains(&format!("settings.{path}").as_str()), "{path}: {paths:?}");
    }
    assert!(paths.contains(&"secrets.password"));
    for domain in ["acme", "acme.my.salesforce.com", "acme--uat.sandbox.my.salesforce.com"] {
        spec.settings = json!({"domain": domain, "client_id": "x"}).as_object().cloned().expect("an object");
        spec.secrets = [("client_secret".to_owned(), Secret::from("x"))].into();
        assert!(crate::registry::connect(&spec).is_ok(), "{domain}");
    }
}
