//! Klaviyo: a required revision, expressions, a deletion without a job.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, Person, ann, done, only, trouble, work};
use crate::{Effect, Trouble};
use redress_domain::IdentifierType;
use redress_sandbox::vendors::asked::KEY;
use std::time::Duration;

pub(super) async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("klaviyo").await.secret("api_key", KEY);
    target.correcting("first_name", "profiles", "/email", "/first_name")
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_deletion_names_the_profile_and_never_a_shared_number() {
    let target = target().await;
    let twin = Person::new("C-7", "kim@shop.example", &ann().phone, "Kim Vorbild");
    target.put(&ann());
    target.put(&twin);
    let (subject, connector) = (conformance::subject(&[(IdentifierType::Email, &ann().email)]), target.connector());
    let erased = done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.changed, erased.effect), (1, Some(Effect::Permanent)));
    let [job] = &target.calls("POST", "/data-privacy-deletion-jobs")[..] else { panic!("one order") };
    assert!(!job.body.contains("phone_number") && !job.body.contains("email"), "{}", job.body);
    assert_eq!((target.left(&ann().email), target.left(&twin.email)), (0, 1));
    assert!(connector.manifest().verify_after >= Duration::from_mins(10));
}

#[tokio::test]
async fn a_number_that_two_profiles_share_is_left_to_a_person() {
    let target = target().await;
    target.put(&ann());
    target.put(&Person::new("C-7", "kim@shop.example", &ann().phone, "Kim Vorbild"));
    let subject = conformance::subject(&[(IdentifierType::Phone, &ann().phone)]);
    let answer = trouble(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert!(matches!(answer, Trouble::Ambiguous { matched: 2.., .. }), "{answer:?}");
    assert!(target.calls("POST", "").is_empty());
}

#[tokio::test]
async fn more_profiles_than_a_page_are_all_found() {
    let target = target().await;
    for n in 0..20 {
        target.put(&Person::new(&format!("C-{n}"), &ann().email, "+4915112345678", "A B"));
    }
    let subject = conformance::subject(&[(IdentifierType::Email, &ann().email)]);
    assert_eq!(done(only(target.connector().discover(&[work("d", &subject)]).await)).found, 20);
}
