//! Amplitude: an order, then many days of nothing, then done.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, Person, ann, done, only, work};
use crate::{Effect, Outcome, Receipt, Work};
use redress_domain::IdentifierType;
use redress_sandbox::vendors::asked::KEY;
use std::time::Duration;

async fn target() -> ManifestTarget {
    ManifestTarget::serve("amplitude").await.secret("api_key", KEY).secret("secret_key", KEY)
}

fn accepted(outcome: Outcome) -> (Receipt, Duration, Option<Duration>) {
    match outcome {
        Outcome::Accepted { receipt, check_after, completes_within } => (receipt, check_after, completes_within),
        other => panic!("expected Accepted, got {other:?}"),
    }
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_deletion_is_done_when_amplitude_says_so_and_not_before() {
    let target = target().await;
    for person in [ann(), Person::new("C-10070", "joann@shop.example", "+4915112345670", "Jo Ann")] {
        target.put(&person);
    }
    let subject = conformance::subject(&[(IdentifierType::UserId, &ann().customer_id)]);
    let (connector, journal) = (target.connector(), MemoryJournal::default());
    let (mut receipt, wait, within) = accepted(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!((wait, within), (Duration::from_hours(12), Some(Duration::from_hours(30 * 24))));
    for _ in 0..10 {
        target.world().travel(Duration::from_hours(24));
        let item = Work { prior: Some(&receipt), ..work("e", &subject) };
        receipt = accepted(only(connector.erase(&[item], &journal).await)).0;
        assert_eq!(target.left(&ann().email), 2);
    }
    target.world().travel(Duration::from_hours(48));
    let item = Work { prior: Some(&receipt), ..work("e", &subject) };
    let erased = done(only(connector.erase(&[item], &journal).await));
    assert_eq!((erased.found, erased.changed, erased.effect), (1, 1, Some(Effect::Permanent)));
    assert_eq!((target.left(&ann().email), target.left("joann@shop.example")), (1, 2));
    assert_eq!(target.calls("POST", "/deletions/users").len(), 1, "it was ordered once");
}

#[tokio::test]
async fn a_hundred_people_are_one_order() {
    let target = target().await;
    let people: Vec<Person> = (0..100)
        .map(|n| Person::new(&format!("U-{n:03}"), &format!("p{n}@x.example"), "+4915112345678", "A"))
        .collect();
    for person in &people {
        target.put(person);
    }
    let subjects: Vec<_> =
        people.iter().map(|p| conformance::subject(&[(IdentifierType::UserId, &p.customer_id)])).collect();
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let batch: Vec<_> = keys.iter().zip(&subjects).map(|(key, subject)| work(key, subject)).collect();
    for answer in target.connector().erase(&batch, &MemoryJournal::default()).await {
        accepted(answer);
    }
    assert_eq!(target.calls("POST", "/deletions/users").len(), 1);
}
