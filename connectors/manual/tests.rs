use super::*;
use crate::conformance::{MemoryJournal, MemorySink, ann, confirmed, done, only, work};
use crate::{Effect, Network, Receipt};
use redress_domain::ManualClock;
use serde_json::{Map, json};

#[expect(clippy::needless_pass_by_value, reason = "it is written where it is used")]
fn spec(settings: serde_json::Value) -> SystemSpec {
    SystemSpec {
        name: "archive".into(),
        connector: "manual".into(),
        settings: settings.as_object().cloned().unwrap_or_else(Map::new),
        secrets: std::collections::BTreeMap::new(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: Network::default(),
    }
}

fn desk() -> (Arc<dyn Connector>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at("2026-11-22T09:00:00Z".parse().expect("an instant")));
    let spec = spec(json!({"instructions": ["Open the cabinet in room 4", "Shred the folder"], "due_days": 5}));
    (with_clock(&spec, Arc::clone(&clock) as Arc<dyn Clock>).expect("a valid specification"), clock)
}

fn accepted(outcome: Outcome) -> (Receipt, Duration, Option<Duration>) {
    match outcome {
        Outcome::Accepted { receipt, check_after, completes_within } => (receipt, check_after, completes_within),
        other => panic!("expected Accepted, got {other:?}"),
    }
}

const ERASED: &[u8] = br#"{"found":3,"changed":2,"retained":[{"collection":"invoices","records":1,"reason":"tax_law_10_years"}],
  "effect":{"kind":"permanent"},"files":[{"collection":"proof","name":"shredder.txt","media_type":"text/plain","content":"c2hyZWRkZWQ="}]}"#;

#[tokio::test]
async fn a_task_waits_for_a_person_and_its_report_is_the_outcome() {
    let (connector, clock) = desk();
    let (subject, journal) = (ann().subject(), MemoryJournal::default());
    let (receipt, check_after, within) = accepted(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!((check_after, within), (DAY * 5, Some(DAY * 5)));
    let task = Awaited::of(&receipt).and_then(|a| a.task).expect("a task");
    assert_eq!((task.title.as_str(), task.instructions.len()), ("Delete the person's records in archive", 2));
    assert!(!receipt.0.contains("ann@"), "a task names nobody");

    clock.advance("PT48H".parse().expect("two days"));
    let again = Work { prior: Some(&receipt), ..work("e", &subject) };
    let (again, check_after, _) = accepted(only(connector.erase(&[again], &journal).await));
    assert_eq!((&again, check_after), (&receipt, DAY * 3), "the due date does not move");

    let reported = Awaited::of(&receipt).expect("ours").reported(Verb::Erase, ERASED).expect("consistent").receipt();
    let erased = done(only(connector.erase(&[Work { prior: Some(&reported), ..work("e", &subject) }], &journal).await));
    assert_eq!((erased.found, erased.changed, erased.retained.len()), (3, 2, 1));
    assert_eq!(erased.effect, Some(Effect::Permanent));
    let shown = format!("{:?}", erased.evidence);
    assert!(shown.contains("attested") && shown.contains("evidence file sha256:"), "{shown}");
    assert!(!shown.contains("shredder"), "a file's name may be personal");

    let item = Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    confirmed(only(connector.verify(Verb::Erase, &[item]).await));
    let nothing = only(connector.verify(Verb::Erase, &[work("v", &subject)]).await);
    assert!(
        matches!(nothing, Verdict::Trouble(Trouble::Denied(_))),
        "without a report nothing is confirmed: {nothing:?}"
    );
}

#[tokio::test]
async fn a_task_that_is_not_reported_in_time_needs_attention_and_can_still_be_reported() {
    let (connector, clock) = desk();
    let (subject, journal) = (ann().subject(), MemoryJournal::default());
    let (receipt, ..) = accepted(only(connector.erase(&[work("e", &subject)], &journal).await));
    clock.advance("PT120H".parse().expect("five days"));
    match only(connector.erase(&[Work { prior: Some(&receipt), ..work("e", &subject) }], &journal).await) {
        Outcome::Trouble(Trouble::Denied(problem)) => assert_eq!(problem.code, "task_overdue"),
        other => panic!("{other:?}"),
    }
    let late = Awaited::of(&receipt).expect("ours").reported(Verb::Erase, ERASED).expect("consistent").receipt();
    done(only(connector.erase(&[Work { prior: Some(&late), ..work("e", &subject) }], &journal).await));
}

#[tokio::test]
async fn access_by_hand_hands_over_what_was_uploaded() {
    let (connector, _) = desk();
    let (subject, sink) = (ann().subject(), MemorySink::default());
    let (receipt, ..) = accepted(only(connector.export(&[work("x", &subject)], &sink).await));
    assert!(sink.text("x").is_empty());
    let report = br#"{"found":1,"files":[{"collection":"letters","name":"letter.txt","media_type":"text/plain","content":"RGVhciBBbm4="}]}"#;
    let reported = Awaited::of(&receipt).expect("ours").reported(Verb::Export, report).expect("consistent").receipt();
    let exported = done(only(connector.export(&[Work { prior: Some(&reported), ..work("x", &subject) }], &sink).await));
    assert_eq!(exported.found, 1);
    assert!(sink.text("x").contains("Dear Ann"));
    // A report of an access says nothing about a deletion.
    let item = [Work { prior: Some(&reported), ..work("e", &subject) }];
    accepted(only(connector.erase(&item, &MemoryJournal::default()).await));
}

#[test]
fn what_cannot_be_is_refused_before_it_is_stored() {
    let (connector, _) = desk();
    assert!(connector.manifest().verbs.contains(&Verb::Verify));
    let awaited = Awaited::order(None);
    assert!(awaited.clone().reported(Verb::Erase, br#"{"found":3,"changed":2}"#).is_err());
    assert!(awaited.reported(Verb::Erase, br#"{"found":0,"changed":0}"#).is_ok());
    let paths: Vec<_> = connect(&spec(json!({"due_days": 0, "identifiers": ["name"], "extra": 1})))
        .err()
        .expect("faults")
        .into_iter()
        .map(|fault| fault.path)
        .collect();
    for path in ["settings.instructions", "settings.due_days", "settings.identifiers", "settings.extra"] {
        assert!(paths.iter().any(|p| p == path), "{path}: {paths:?}");
    }
}
