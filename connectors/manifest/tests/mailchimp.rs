//! Mailchimp: a member of each audience, addressed by a hash.

use super::harness::ManifestTarget;
use crate::Effect;
use crate::conformance::{self, MemoryJournal, ann, done, only, work};
use redress_sandbox::vendors::asked::KEY;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("mailchimp").await.setting("data_center", "us21").secret("api_key", KEY);
    target.correcting("first_name", "members", "/email_address", "/merge_fields/FNAME")
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_member_is_deleted_for_good_in_every_audience_and_never_archived() {
    let target = target().await;
    target.put(&ann());
    let subject = ann().subject();
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed, erased.effect), (2, 2, Some(Effect::Permanent)));
    assert_eq!(target.calls("POST", "/actions/delete-permanent").len(), 2);
    assert!(target.calls("DELETE", "").is_empty());
    assert_eq!(target.left(&ann().email), 0);
}
