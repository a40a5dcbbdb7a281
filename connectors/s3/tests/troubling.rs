//! Answers that are not what S3 promises are never taken for an empty bucket.

use super::lab::{connect, objects};
use crate::conformance::{MemoryJournal, ann, only, trouble, work};
use crate::{Network, SystemSpec, Trouble};
use redress_testkit::{Answer, Receiver};
use serde_json::json;
use std::time::Duration;

const NO_VERSIONS: &str = "<VersioningConfiguration/>";
const LOOP: &str = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
const FOREIGN: &str =
    "<ListBucketResult><Contents><Key>other/people.csv</Key><Size>1</Size></Contents></ListBucketResult>";

fn spec(url: &str) -> SystemSpec {
    let mut declared = objects();
    declared[0]["prefix"] = json!("mine/");
    let settings = json!({"bucket": "people", "region": "us-east-1", "base_url": url, "objects": declared});
    SystemSpec {
        name: "store".into(),
        connector: "s3".into(),
        settings: settings.as_object().cloned().expect("an object"),
        secrets: [("access_key_id".to_owned(), "id".into()), ("secret_access_key".to_owned(), "key".into())].into(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: Network::default(),
    }
}

#[tokio::test]
async fn strange_answers_are_troubles() {
    let error = |code: &str| format!("<Error><Code>{code}</Code><Message>ann@shop.example</Message></Error>");
    for (status, body, expected) in [
        (200, "<html><body>Sign in</body></html>".to_owned(), "answer_unreadable"),
        (200, "<ListBucketResult><Contents><Key>mine/peop".to_owned(), "answer_unreadable"),
        (200, String::new(), "answer_unreadable"),
        (200, LOOP.to_owned(), "list_loops"),
        (200, FOREIGN.to_owned(), "answer_unreadable"),
        (200, "<a>".repeat(100_000), "answer_unreadable"),
        (403, error("AccessDenied"), "permission_missing"),
        (403, error("InvalidAccessKeyId"), "credentials_refused"),
        (404, error("NoSuchBucket"), "bucket_missing"),
        (301, error("PermanentRedirect"), "region_wrong"),
        (500, error("InternalError"), "vendor_error"),
        (503, error("SlowDown"), "throttled"),
    ] {
        let receiver = Receiver::start().await;
        receiver.answer_with(Answer::from(200).body(NO_VERSIONS));
        receiver.otherwise(Answer::from(status).body(body.clone()));
        let connector = connect(&spec(&receiver.url()));
        let subject = ann().subject();
        let answer = trouble(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
        assert!(!format!("{answer:?}").contains("ann@"), "{answer:?}");
        match answer {
            Trouble::Throttled(wait) => assert!(expected == "throttled" && wait > Duration::ZERO, "{expected}"),
            Trouble::Retry(problem) | Trouble::Denied(problem) => assert_eq!(problem.code, expected, "{body:.60}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn every_fault_of_the_settings_is_told() {
    let mut spec = spec("ftp://x");
    spec.settings.insert("bucket".into(), json!("Not A Bucket"));
    spec.settings.insert(
        "objects".into(),
        json!([
            {"format": "csv", "identify": {"mail": "email"}},
            {"format": "object", "identify": {"customer_id": "first"}},
            {"format": "csv", "identify": {"email": "email"}, "delimiter": "ab"},
            {"format": "csv", "identify": {"email": "email"}, "fields": {"email": "email"}},
            {"format": "excel", "identify": {"email": "email"}},
            {"format": "csv", "identify": {"email": "email"}, "colour": "red"},
        ]),
    );
    spec.secrets.remove("secret_access_key");
    let faults = crate::s3::connect(&spec).err().expect("it is faulty");
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    for path in ["settings.bucket", "settings.base_url", "secrets.secret_access_key"] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    assert_eq!(paths.iter().filter(|path| path.starts_with("settings.objects.")).count(), 6, "{faults:?}");
}
