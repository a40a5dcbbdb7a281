//! Iterable: forgotten, so that they do not come back.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, ann, done, only, work};
use redress_sandbox::vendors::asked::KEY;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("iterable").await.secret("api_key", KEY);
    target.correcting("first_name", "users", "/email", "/dataFields/firstName").one_per_address()
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_user_is_forgotten_and_not_only_deleted() {
    let target = target().await;
    target.put(&ann());
    let subject = ann().subject();
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (1, 1));
    assert_eq!(target.calls("POST", "/users/forget").len(), 1);
    assert_eq!(target.world().all("forgotten").len(), 1);
}
