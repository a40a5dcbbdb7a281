//! SendGrid: contacts, and apart from them whatever is kept of mail that was sent.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, ann, bea, done, only, work};
use redress_domain::IdentifierType;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;

pub(super) async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("sendgrid").await.secret("api_key", KEY);
    target
        .correcting("first_name", "contacts", "/email", "/first_name")
        .one_per_address()
        .blind("what is kept of mail to an address cannot be looked for")
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn both_stores_are_emptied_and_nobody_elses() {
    let target = target().await;
    for person in &[ann(), bea()] {
        target.put(person);
    }
    target.world().put("bounces", &ann().email, json!({"email": ann().email, "reason": "550"}));
    let subject = conformance::subject(&[(IdentifierType::Email, &ann().email)]);
    done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((target.left(&ann().email), target.left(&bea().email)), (0, 1));
    assert_eq!(target.world().all("mail").len(), 1, "what is kept of Ann's mail is gone too");
    assert_eq!(target.world().all("bounces").len(), 1, "a suppression stays");
    let [delete] = &target.calls("DELETE", "/contacts")[..] else { panic!("one deletion") };
    assert!(!delete.query.contains("all"), "{}", delete.query);
}

#[tokio::test]
async fn a_hundred_people_are_one_search_one_deletion_and_one_erasure() {
    let target = target().await;
    let people: Vec<_> = (0..100)
        .map(|n| conformance::Person::new(&format!("C-{n}"), &format!("p{n}@shop.example"), "+4915112345678", "A B"))
        .collect();
    for person in &people {
        target.put(person);
    }
    let subjects: Vec<_> =
        people.iter().map(|person| conformance::subject(&[(IdentifierType::Email, &person.email)])).collect();
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let batch: Vec<_> = keys.iter().zip(&subjects).map(|(key, subject)| work(key, subject)).collect();
    for answer in target.connector().erase(&batch, &MemoryJournal::default()).await {
        done(answer);
    }
    assert_eq!(target.calls("POST", "/search/identifiers/email").len(), 1);
    assert_eq!(target.calls("DELETE", "/contacts").len(), 1);
    assert_eq!(target.calls("POST", "/erasejob").len(), 1);
    assert!(target.world().all("contacts").is_empty());
}
