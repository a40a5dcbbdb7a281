//! Slack: a member is deactivated, and it is said that this is all.

use super::harness::ManifestTarget;
use crate::Effect;
use crate::conformance::{self, MemoryJournal, ann, done, only, work};
use redress_domain::IdentifierType;
use redress_sandbox::vendors::asked::KEY;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("slack").await.secret("token", KEY);
    target.correcting("last_name", "members", "/emails/0/value", "/name/familyName").known_as(|world, person, kind| {
        let all = world.all("members").into_iter();
        let own = all.into_iter().find(|(_, member)| member["emails"][0]["value"] == *person.email);
        own.filter(|_| kind == IdentifierType::UserId).map(|(id, _)| id)
    })
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_deactivated_member_is_told_as_kept_for_ever() {
    let target = target().await;
    target.put(&ann());
    let subject = ann().subject();
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!(erased.effect, Some(Effect::Soft { residual_days: Some(36_500) }));
    assert_eq!(target.world().all("members").len(), 1, "Slack deletes nobody");
}
