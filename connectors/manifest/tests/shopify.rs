//! Shopify: an erasure is ordered, done ten days later, or when the last order is old enough.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, MemorySink, ann, bea, confirmed, done, only, trouble, work};
use crate::{Effect, Trouble, Verdict, Work};
use redress_domain::{IdentifierType, Verb};
use redress_sandbox::Fault;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;
use std::time::Duration;

async fn target() -> ManifestTarget {
    ManifestTarget::serve("shopify").await.setting("shop", "acme").secret("access_token", KEY)
}

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn an_erasure_is_scheduled_and_seen_two_weeks_later() {
    let target = target().await;
    for person in &conformance::everybody() {
        target.put(person);
    }
    let (subject, journal, connector) = (ann().subject(), MemoryJournal::default(), target.connector());
    connector.check().await.expect("it works");
    assert_eq!(connector.manifest().verify_after, DAY * 14);
    assert_eq!(done(only(connector.discover(&[work("d", &subject)]).await)).found, 1);
    let erased = done(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!((erased.found, erased.changed, erased.effect), (1, 1, Some(Effect::Scheduled { within_days: 10 })));
    assert_eq!(erased.yielded.iter().filter(|i| i.kind() == IdentifierType::CrmId).count(), 1);
    let item = || Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    let early = only(connector.verify(Verb::Erase, &[item()]).await);
    assert!(matches!(early, Verdict::Residue { .. }), "{early:?}");
    target.world().travel(DAY * 14);
    confirmed(only(connector.verify(Verb::Erase, &[item()]).await));
    assert_eq!(target.left(&ann().email), 0);
    for other in conformance::near_twins().iter().chain([&bea()]) {
        assert_eq!(target.left(&other.email), 1, "{}", other.email);
    }
}

#[tokio::test]
async fn a_fresh_order_holds_the_erasure_up_and_that_is_seen() {
    let target = target().await;
    target.put(&ann());
    let customer = target.world().all("customers")[0].0.clone();
    let order = json!({"id": "gid://shopify/Order/1", "customer": customer, "at": target.world().now_ms(), "email": ann().email});
    target.world().put("orders", "1", order);
    let (subject, sink, connector) = (ann().subject(), MemorySink::default(), target.connector());
    done(only(connector.export(&[work("x", &subject)], &sink).await));
    assert!(sink.text("x").contains("gid://shopify/Order/1"));
    let erased = done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    target.world().travel(DAY * 14);
    let item = Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    let verdict = only(connector.verify(Verb::Erase, &[item]).await);
    assert!(matches!(verdict, Verdict::Residue { remaining: 1, .. }), "{verdict:?}");
}

#[tokio::test]
async fn errors_with_200_are_errors() {
    let target = target().await;
    target.put(&ann());
    let (subject, connector) = (ann().subject(), target.connector());
    let with = |code: &str| json!({"errors": [{"message": code, "extensions": {"code": code}}]}).to_string();
    for (body, expected) in
        [(with("THROTTLED"), 0), (with("ACCESS_DENIED"), 1), (with("undefinedField"), 1), (with("TIMEOUT"), 2)]
    {
        target.world().fault(Fault::Status(200, body.clone(), None), None);
        let answer = trouble(only(connector.discover(&[work("d", &subject)]).await));
        let kind = match answer {
            Trouble::Throttled(_) => 0,
            Trouble::Denied(_) => 1,
            Trouble::Retry(_) => 2,
            other => panic!("{body}: {other:?}"),
        };
        assert_eq!(kind, expected, "{body}");
    }
}

#[tokio::test]
async fn a_correction_changes_one_customer() {
    let target = target().await;
    for person in &[ann(), bea()] {
        target.put(person);
    }
    let subject = ann().subject();
    let corrections = [redress_domain::Correction { field: "last_name".into(), value: "O'Neu \"x\"".into() }];
    let item = || conformance::rectifying("r", &subject, &corrections);
    let connector = target.connector();
    assert_eq!(done(only(connector.rectify(&[item()], &MemoryJournal::default()).await)).changed, 1);
    confirmed(only(connector.verify(Verb::Rectify, &[item()]).await));
    let names: Vec<_> = target.world().all("customers").into_iter().map(|(_, c)| c["lastName"].clone()).collect();
    assert!(names.contains(&json!("O'Neu \"x\"")) && names.contains(&json!("Stern")), "{names:?}");
}
