//! Pipedrive: deletion only marks, so a person is emptied first.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, MemorySink, ann, done, only, work};
use crate::{Effect, Retained};
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;
use std::time::Duration;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("pipedrive").await.secret("api_token", KEY);
    target.correcting("full_name", "persons", "/emails/0/value", "/name")
}

fn id_of(target: &ManifestTarget) -> String {
    target.world().all("persons").into_iter().next().expect("a person").0
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn what_lies_in_the_bin_for_30_days_holds_no_address() {
    let target = target().await;
    target.put(&ann());
    let id = id_of(&target);
    let subject = ann().subject();
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!(erased.effect, Some(Effect::Soft { residual_days: Some(30) }));
    let binned = target.world().get("persons", &id).expect("it is in the bin");
    let text = serde_json::Value::Object(binned.clone()).to_string();
    assert!(binned["is_deleted"] == true && !text.contains("ann@") && !text.contains("Vorbild"), "{text}");
    let calls: Vec<String> =
        target.world().hits().into_iter().filter(|hit| hit.method != "GET").map(|hit| hit.method).collect();
    assert_eq!(calls, ["PATCH", "DELETE"]);
    target.world().travel(Duration::from_hours(31 * 24));
    let _any = only(target.connector().discover(&[work("d", &subject)]).await);
    assert!(target.world().get("persons", &id).is_none(), "Pipedrive purged it");
}

#[tokio::test]
async fn notes_go_except_those_that_are_about_a_deal_too() {
    let target = target().await;
    target.put(&ann());
    let id: u64 = id_of(&target).parse().expect("a number");
    for (note, deal) in [("1", json!(null)), ("2", json!(77))] {
        target.world().put(
            "notes",
            note,
            json!({ "id": note, "person_id": id, "deal_id": deal, "content": "prefers mornings" }),
        );
    }
    target.world().put("deals", "77", json!({ "id": 77, "person_id": id, "title": "Order 77" }));
    let (subject, sink) = (ann().subject(), MemorySink::default());
    done(only(target.connector().export(&[work("x", &subject)], &sink).await));
    assert!(sink.text("x").contains("Order 77") && sink.text("x").contains("prefers mornings"));
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    let kept = Retained { collection: "note".into(), records: 1, reason: "shared_with_others".into() };
    assert_eq!((erased.found, erased.changed, erased.retained), (3, 2, vec![kept]));
    assert!(target.world().get("notes", "2").is_some_and(|note| note.get("is_deleted").is_none()));
}

#[tokio::test]
async fn the_search_is_for_whole_values() {
    let target = target().await;
    for person in conformance::near_twins().iter().chain([&ann()]) {
        target.put(person);
    }
    let subject = ann().subject();
    assert_eq!(done(only(target.connector().discover(&[work("d", &subject)]).await)).found, 1);
    let searches = target.calls("GET", "/persons/search");
    assert!(!searches.is_empty() && searches.iter().all(|hit| hit.query.contains("exact_match=true")), "{searches:?}");
}
