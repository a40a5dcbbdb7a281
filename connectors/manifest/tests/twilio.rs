//! Twilio: whatever was said to or by one number.

use super::harness::ManifestTarget;
use crate::Trouble;
use crate::conformance::{self, MemoryJournal, ann, bea, confirmed, done, only, trouble, work};
use redress_domain::{IdentifierType, Verb};
use redress_sandbox::vendors::asked::KEY;
use redress_sandbox::vendors::twilio::ACCOUNT;
use serde_json::json;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("twilio").await.setting("account_sid", ACCOUNT);
    target.secret("api_key", KEY).secret("api_secret", KEY)
}

#[tokio::test]
async fn messages_calls_and_recordings_of_a_number_go_and_others_stay() {
    let target = target().await;
    for person in &conformance::everybody() {
        target.put(person);
    }
    let subject = conformance::subject(&[(IdentifierType::Phone, &ann().phone)]);
    let connector = target.connector();
    connector.check().await.expect("it works");
    assert_eq!(done(only(connector.discover(&[work("d", &subject)]).await)).found, 4);
    let erased = done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (4, 4));
    assert_eq!(target.left(&ann().email), 0);
    for other in conformance::near_twins().iter().chain([&bea()]) {
        assert_eq!(target.left(&other.email), 4, "{}", other.email);
    }
    let item = crate::Work { prior: erased.receipt.as_ref(), ..work("v", &subject) };
    confirmed(only(connector.verify(Verb::Erase, &[item]).await));
    let deleted = target.calls("DELETE", "");
    let order: Vec<&str> = deleted.iter().filter_map(|hit| hit.path.split('/').nth(4)).collect();
    let at = |what: &str| order.iter().position(|part| *part == what);
    assert!(at("Recordings") < at("Calls"), "recordings go before their call: {order:?}");
}

#[tokio::test]
async fn a_long_history_is_read_to_its_end() {
    let target = target().await;
    for n in 0..2_300 {
        let sid = format!("SM{n:05}");
        target.world().put("messages", &sid, json!({"sid": sid, "to": ann().phone, "from": "+493012345670"}));
    }
    let subject = conformance::subject(&[(IdentifierType::Phone, &ann().phone)]);
    assert_eq!(done(only(target.connector().discover(&[work("d", &subject)]).await)).found, 2_300);
    assert_eq!(target.calls("GET", "/Messages.json").len(), 4, "a thousand at a time");
}

#[tokio::test]
async fn a_message_on_its_way_is_tried_again() {
    let target = target().await;
    target.world().put(
        "messages",
        "SM1",
        json!({"sid": "SM1", "to": ann().phone, "from": "+493012345670", "status": "sending"}),
    );
    let subject = conformance::subject(&[(IdentifierType::Phone, &ann().phone)]);
    let answer = trouble(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert!(matches!(answer, Trouble::Retry(_)), "{answer:?}");
}
