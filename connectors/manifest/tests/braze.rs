//! Braze: several profiles of one address, fifty deletions in one call.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, Person, ann, done, only, work};
use redress_domain::IdentifierType;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("braze").await.setting("cluster", "eu-01").secret("api_key", KEY);
    target.correcting("first_name", "users", "/email", "/first_name")
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn anonymous_twins_of_an_address_go_too() {
    let target = target().await;
    target.put(&ann());
    target.world().put("users", "twin", json!({"braze_id": "twin", "email": "Ann@Shop.example"}));
    let subject = conformance::subject(&[(IdentifierType::Email, &ann().email)]);
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (2, 2));
    assert!(target.world().all("users").is_empty());
}

#[tokio::test]
async fn fifty_profiles_are_deleted_by_one_call() {
    let target = target().await;
    let people: Vec<Person> = (0..120)
        .map(|n| Person::new(&format!("C-{n}"), &format!("p{n}@shop.example"), "+4915112345678", "A B"))
        .collect();
    people.iter().chain([&ann()]).for_each(|person| target.put(person));
    let subjects: Vec<_> =
        people.iter().map(|person| conformance::subject(&[(IdentifierType::Email, &person.email)])).collect();
    let keys: Vec<String> = (0..120).map(|n| format!("k{n}")).collect();
    let connector = target.connector();
    let size = connector.manifest().batch;
    let mut calls = 0;
    for (keys, subjects) in keys.chunks(size).zip(subjects.chunks(size)) {
        let batch: Vec<_> = keys.iter().zip(subjects).map(|(key, subject)| work(key, subject)).collect();
        for answer in connector.erase(&batch, &MemoryJournal::default()).await {
            done(answer);
        }
        calls += subjects.len().div_ceil(50);
    }
    assert_eq!(target.calls("POST", "/users/delete").len(), calls);
    assert!(calls <= 3, "{calls} calls: the batch of the connector is smaller than the vendor's");
    assert_eq!(target.world().all("users").len(), 1);
}
