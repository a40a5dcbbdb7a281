//! Stripe: customers go, payments stay and are told.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, MemorySink, ann, done, only, trouble, work};
use crate::{Effect, Trouble};
use redress_domain::IdentifierType;
use redress_sandbox::Fault;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("stripe").await.secret("api_key", KEY);
    let target = target.cannot_carry("the search language has no escape for a backslash");
    target.correcting("name", "customers", "/email", "/name").known_as(|world, person, kind| {
        let own = world.all("customers").into_iter().find(|(_, customer)| customer["email"] == *person.email);
        own.filter(|_| kind == IdentifierType::CrmId).map(|(id, _)| id)
    })
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn payments_are_handed_over_and_stay_when_the_customer_goes() {
    let target = target().await;
    target.put(&ann());
    let customer = target.world().all("customers")[0].0.clone();
    for n in 0..230 {
        let id = format!("ch_{n:03}");
        target.world().put("charges", &id, json!({"id": id, "object": "charge", "customer": customer, "amount": n}));
    }
    target.world().put("charges", "ch_x", json!({"id": "ch_x", "object": "charge", "customer": "cus_other"}));
    let (subject, sink) = (ann().subject(), MemorySink::default());
    done(only(target.connector().export(&[work("x", &subject)], &sink).await));
    assert_eq!(sink.records("x").iter().filter(|(collection, _)| collection == "charge").count(), 230);
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed, erased.effect), (231, 1, Some(Effect::Permanent)));
    assert_eq!(erased.retained.len(), 1);
    assert_eq!((erased.retained[0].collection.as_str(), erased.retained[0].records), ("charge", 230));
    assert_eq!(target.world().all("charges").len(), 231);
    assert_eq!(target.left(&ann().email), 0);
}

#[tokio::test]
async fn a_lock_is_tried_again_and_a_limit_is_waited_for() {
    let target = target().await;
    target.put(&ann());
    let subject = ann().subject();
    let connector = target.connector();
    let lock = json!({"error": {"type": "invalid_request_error", "code": "lock_timeout"}}).to_string();
    target.world().fault(Fault::Status(429, lock, None), None);
    let answer = trouble(only(connector.discover(&[work("d", &subject)]).await));
    assert!(matches!(answer, Trouble::Retry(_)), "{answer:?}");
    target.world().fault(Fault::Status(429, "{}".into(), None), None);
    let answer = trouble(only(connector.discover(&[work("d", &subject)]).await));
    assert!(matches!(answer, Trouble::Throttled(_)), "{answer:?}");
}
