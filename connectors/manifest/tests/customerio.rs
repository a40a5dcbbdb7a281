//! Customer.io: a deleted person stays away.

use super::harness::ManifestTarget;
use crate::Effect;
use crate::conformance::{self, MemoryJournal, MemorySink, ann, done, only, work};
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("customerio").await.secret("app_key", KEY);
    let target = target.secret("site_id", KEY).secret("track_key", KEY).host("track_url");
    target.correcting("last_name", "people", "/email", "/attributes/last_name")
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_person_is_suppressed_and_cannot_be_made_anew() {
    let target = target().await;
    target.put(&ann());
    let subject = ann().subject();
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed, erased.effect), (1, 1, Some(Effect::Suppressed)));
    for value in [&ann().email, &ann().customer_id] {
        assert!(target.world().get("suppressed", &value.to_lowercase()).is_some(), "it is on the list");
    }
    assert_eq!(target.calls("POST", "/suppress").len(), 1);
}

#[tokio::test]
async fn attributes_messages_and_activities_are_handed_over() {
    let target = target().await;
    target.put(&ann());
    let id = target.world().all("people").into_iter().next().expect("a person").0;
    target.world().put("messages", "m", json!({ "id": "m", "cio_id": id, "subject": "Spring sale" }));
    target.world().put("activities", "a", json!({ "id": "a", "cio_id": id, "name": "bought boots" }));
    let (subject, sink) = (ann().subject(), MemorySink::default());
    done(only(target.connector().export(&[work("x", &subject)], &sink).await));
    let text = sink.text("x");
    assert!(text.contains("Vorbild") && text.contains("Spring sale") && text.contains("bought boots"), "{text}");
}
