//! Segment: a regulation for many users at once, followed until it is finished.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, Person, ann, bea, confirmed, done, only, work};
use crate::{Effect, Outcome, Receipt, Verdict, Work};
use redress_domain::{IdentifierType, Verb};
use redress_sandbox::vendors::asked::KEY;
use std::time::Duration;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("segment").await.setting("space", "spa_sandbox").host("profiles_url");
    target.secret("token", KEY).secret("profiles_token", KEY)
}

fn accepted(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Accepted { receipt, check_after, completes_within } => {
            assert_eq!((check_after.as_secs(), completes_within.map(|d| d.as_secs())), (21_600, Some(30 * 86_400)));
            receipt
        }
        other => panic!("expected Accepted, got {other:?}"),
    }
}

#[tokio::test]
async fn a_deletion_is_done_when_the_vendor_says_so_and_the_second_look_finds_nobody() {
    let target = target().await;
    for p in &[ann(), Person::new("C-10070", "joann@shop.example", "+4915112345670", "Jo Ann"), bea()] {
        target.put(p);
    }
    let subject = conformance::subject(&[(IdentifierType::CustomerId, &ann().customer_id)]);
    let (connector, journal) = (target.connector(), MemoryJournal::default());
    connector.check().await.expect("it works");
    let receipt = accepted(only(connector.erase(&[work("e", &subject)], &journal).await));
    target.world().travel(Duration::from_hours(48));
    let item = Work { prior: Some(&receipt), ..work("e", &subject) };
    let receipt = accepted(only(connector.erase(&[item], &journal).await));
    assert_eq!(target.left(&ann().email), 1, "ordered is not done");
    let early = only(connector.verify(Verb::Erase, &[Work { prior: Some(&receipt), ..work("v", &subject) }]).await);
    assert!(matches!(early, Verdict::Residue { remaining: 1, .. }), "{early:?}");
    target.world().travel(Duration::from_hours(2));
    let item = Work { prior: Some(&receipt), ..work("e", &subject) };
    let erased = done(only(connector.erase(&[item], &journal).await));
    assert_eq!((erased.found, erased.changed, erased.effect), (1, 1, Some(Effect::Permanent)));
    let item = Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    confirmed(only(connector.verify(Verb::Erase, &[item]).await));
    assert_eq!((target.left(&ann().email), target.left("joann@shop.example"), target.left(&bea().email)), (0, 1, 1));
    assert_eq!(target.calls("POST", "/regulations").len(), 1, "it was ordered once");
}

#[tokio::test]
async fn many_people_are_one_order() {
    let target = target().await;
    let people: Vec<Person> = (0..40)
        .map(|n| Person::new(&format!("U-{n:03}"), &format!("p{n}@x.example"), &format!("+49151123450{n:02}"), "A B"))
        .collect();
    for person in &people {
        target.put(person);
    }
    let subjects: Vec<_> =
        people.iter().map(|p| conformance::subject(&[(IdentifierType::CustomerId, &p.customer_id)])).collect();
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    let batch: Vec<_> = keys.iter().zip(&subjects).map(|(key, subject)| work(key, subject)).collect();
    for answer in target.connector().erase(&batch, &MemoryJournal::default()).await {
        accepted(answer);
    }
    assert_eq!(target.calls("POST", "/regulations").len(), 1);
}
