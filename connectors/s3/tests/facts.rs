//! What is particular to objects: bytes, versions, locks, keys, and others who write at the same time.

use super::lab::{Lab, connect, objects};
use crate::conformance::{MemoryJournal, MemorySink, ann, bea, confirmed, done, only, subject, trouble, work};
use crate::{Effect, Journal, Lost, Receipt, Retained, Trouble, Work};
use async_trait::async_trait;
use redress_domain::{IdentifierType, Verb};
use serde_json::json;

const ROWS: &str = "\u{feff}id;\"email\";note\r\nC-1;joann@shop.example;\"two\r\nlines; \"\"x\"\"\"\r\nC-1007;Ann@Shop.example;\"hers\r\ntoo\"\r\n\r\nC-3;cyd@shop.example;  last";

#[tokio::test]
async fn what_is_not_the_persons_keeps_its_bytes_and_the_object_its_headers() {
    let mut lab = Lab::memory().await;
    lab.plain_bucket("unversioned").await;
    let kept = [
        ("content-type", "text/csv; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-amz-meta-origin", "nightly export"),
        ("x-amz-tagging", "team=data&tier=a%2Fb"),
    ];
    lab.put_raw("rows/a%20%2B%C3%BC.csv", "", &kept, ROWS.as_bytes()).await;
    let declared = json!([{"prefix": "rows/", "format": "csv", "delimiter": ";", "identify": {"email": "email"}}]);
    let connector = connect(&lab.spec(&declared));
    let subject = ann().subject();
    let erased = done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed, erased.effect), (1, 1, Some(Effect::Permanent)));
    let now = lab.get_with_headers("rows/a%20%2B%C3%BC.csv", "").await;
    let expected = ROWS.replace("C-1007;Ann@Shop.example;\"hers\r\ntoo\"\r\n", "");
    assert_eq!(String::from_utf8_lossy(&now.body), expected);
    for (name, value) in &kept[..3] {
        assert_eq!(now.header(name), Some(*value));
    }
    let tags = lab.get_with_headers("rows/a%20%2B%C3%BC.csv", "tagging").await;
    let tags = String::from_utf8_lossy(&tags.body).into_owned();
    assert!(tags.contains("<Value>a/b</Value>") && tags.contains("<Key>team</Key>"), "{tags}");
}

#[tokio::test]
async fn whole_objects_are_the_persons_by_a_whole_part_of_their_key_with_all_their_versions() {
    let lab = Lab::memory().await;
    let hers = ["uploads/C-1007/a.png", "uploads/C-1007/deep/b.png"];
    let others = ["uploads/C-10070/a.png", "uploads/AC-1007/a.png", "uploads/x/C-1007/a.png", "C-1007/a.png"];
    for key in hers.iter().chain(&others) {
        lab.put(key, b"one").await;
        lab.put(key, b"two").await;
    }
    lab.delete(hers[0]).await;
    let declared = json!([{"prefix": "uploads/", "format": "object", "identify": {"customer_id": "1"}}]);
    let connector = connect(&lab.spec(&declared));
    let subject = ann().subject_by(IdentifierType::CustomerId);

    let sink = MemorySink::default();
    let exported = done(only(connector.export(&[work("x", &subject)], &sink).await));
    assert_eq!((exported.found, sink.records("x").len(), sink.attachments("x").len()), (2, 2, 4));

    let erased = done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (2, 2));
    let left = lab.versions().await;
    assert!(left.iter().all(|(key, _, _)| others.contains(&key.as_str())), "{left:?}");
    assert_eq!(left.len(), 2 * others.len(), "of others nothing is gone");
    confirmed(only(connector.verify(Verb::Erase, &[work("v", &subject)]).await));

    let by_mail = ann().subject_by(IdentifierType::Email);
    let unsearched = done(only(connector.erase(&[work("m", &by_mail)], &MemoryJournal::default()).await));
    let reason = "no_usable_identifier".to_owned();
    assert_eq!(unsearched.retained, [Retained { collection: "uploads/*".into(), records: 0, reason }]);
}

#[tokio::test]
async fn what_a_lock_holds_is_told_as_retained_and_everything_else_goes() {
    let lab = Lab::memory().await;
    let rows = b"id,email,phone,full_name\nC-1007,ann@shop.example,,Ann\nC-2,b@shop.example,,B\n";
    let locked =
        [("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z")];
    lab.put_raw("people.csv", "", &locked, rows).await;
    lab.put("people.csv", rows).await;
    let connector = connect(&lab.spec(&objects()));
    let (subject, journal) = (ann().subject(), MemoryJournal::default());
    let erased = done(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!((erased.found, erased.changed), (1, 0), "{erased:?}");
    let reason = "object_lock".to_owned();
    assert_eq!(erased.retained, [Retained { collection: "*.csv".into(), records: 1, reason }]);
    assert!(!String::from_utf8_lossy(&lab.get("people.csv").await).contains("ann@"), "she is in use no more");
    assert_eq!(lab.versions().await.len(), 2, "the locked version and the new one");
    confirmed(only(connector.verify(Verb::Erase, &[work("v", &subject)]).await));
    let prior = journal.announced("e");
    let again = Work { prior: prior.as_ref(), ..work("e", &subject) };
    let again = done(only(connector.erase(&[again], &MemoryJournal::default()).await));
    assert_eq!((again.found, again.changed, again.retained), (erased.found, erased.changed, erased.retained));
}

#[tokio::test]
async fn a_batch_of_people_is_taken_out_of_an_object_by_one_write() {
    let lab = Lab::memory().await;
    let mut rows = "id,email,phone,full_name\n".to_owned();
    for i in 0..120 {
        rows.extend(["C-", &i.to_string(), ",person", &i.to_string(), "@shop.example,,P\n"]);
    }
    lab.put("people.csv", rows.as_bytes()).await;
    let before = lab.versions().await;
    let subjects: Vec<_> =
        (0..100).map(|i| subject(&[(IdentifierType::Email, &format!("Person{i}@shop.example"))])).collect();
    let keys: Vec<String> = (0..100).map(|i| format!("e{i}")).collect();
    let batch: Vec<Work<'_>> = keys.iter().zip(&subjects).map(|(key, subject)| work(key, subject)).collect();
    let connector = connect(&lab.spec(&objects()));
    for answer in connector.erase(&batch, &MemoryJournal::default()).await {
        assert_eq!(done(answer).changed, 1);
    }
    let after = lab.versions().await;
    assert_eq!((before.len(), after.len()), (1, 1), "one new version, and the old one is gone");
    assert_ne!(before, after);
    let text = String::from_utf8(lab.get("people.csv").await).expect("UTF-8");
    assert_eq!(text.lines().count(), 21);
}

/// Writes the object at the moment at which an effect on it is announced.
struct Meddler<'a>(&'a Lab, &'a [u8]);

#[async_trait]
impl Journal for Meddler<'_> {
    async fn intend(&self, _key: &str, _receipt: &Receipt) -> Result<(), Lost> {
        self.0.put("people.csv", self.1).await;
        Ok(())
    }
}

#[tokio::test]
async fn what_somebody_else_wrote_meanwhile_is_not_lost() {
    let lab = Lab::memory().await;
    let before = b"id,email,phone,full_name\nC-1007,ann@shop.example,,Ann\n";
    let meanwhile = b"id,email,phone,full_name\nC-1007,ann@shop.example,,Ann\nC-2,new@shop.example,,New\n";
    lab.put("people.csv", before).await;
    let connector = connect(&lab.spec(&objects()));
    let subject = ann().subject();
    match trouble(only(connector.erase(&[work("e", &subject)], &Meddler(&lab, meanwhile)).await)) {
        Trouble::Retry(problem) => assert_eq!(problem.code, "object_changed"),
        other => panic!("{other:?}"),
    }
    assert_eq!(lab.get("people.csv").await, meanwhile);
    done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!(lab.get("people.csv").await, b"id,email,phone,full_name\nC-2,new@shop.example,,New\n");
}

#[tokio::test]
async fn what_cannot_be_read_safely_is_not_taken_for_empty() {
    let lab = Lab::folder().await;
    let good = format!("id,email,phone,full_name\nC-2010,{},,B\n", bea().email);
    lab.put("good.csv", good.as_bytes()).await;
    let connector = connect(&lab.spec(&objects()));
    for (name, bytes, code) in [
        ("latin.csv", &b"id,email,phone,full_name\nC-1,x@shop.example,,Jos\xe9\n"[..], "object_malformed"),
        ("wide.csv", b"\xff\xfei\0d\0", "object_malformed"),
        ("ragged.csv", b"id,email,phone,full_name\nC-1,x@shop.example\n", "object_malformed"),
        ("other.csv", b"id,mail\n1,x@shop.example\n", "column_missing"),
        ("half.jsonl.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01", "object_malformed"),
        ("list.jsonl.gz", b"[1]\n", "object_malformed"),
    ] {
        lab.put(name, bytes).await;
        let (one, two) = (ann().subject(), bea().subject());
        for answer in connector.erase(&[work("1", &one), work("2", &two)], &MemoryJournal::default()).await {
            match trouble(answer) {
                Trouble::Denied(problem) => assert_eq!(problem.code, code, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(lab.get(name).await, bytes);
        assert_eq!(lab.get("good.csv").await, good.as_bytes());
        let crate::s3::tests::lab::Store::Folder(server) = &lab.store else { unreachable!() };
        std::fs::remove_file(server.bucket("people").join(name)).expect("our own folder");
    }
}

#[tokio::test]
async fn a_row_that_contradicts_a_stronger_identifier_stops_for_a_person() {
    let lab = Lab::folder().await;
    lab.put("people.csv", b"id,email,phone,full_name\nC-1,ann@shop.example,,Other Ann\n").await;
    let connector = connect(&lab.spec(&objects()));
    let subject = ann().subject();
    match trouble(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await)) {
        Trouble::Ambiguous { problem, .. } => assert_eq!(problem.code, "identifiers_contradict"),
        other => panic!("{other:?}"),
    }
}
