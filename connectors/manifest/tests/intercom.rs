//! Intercom: everything that hangs on a contact goes with it, except what is other people's too.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, MemorySink, ann, bea, done, only, trouble, work};
use crate::{Retained, Trouble};
use redress_domain::IdentifierType;
use redress_sandbox::Fault;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("intercom").await.secret("access_token", KEY);
    target.correcting("full_name", "contacts", "/email", "/name").known_as(|world, person, kind| {
        let all = world.all("contacts");
        let own = all.into_iter().find(|(_, contact)| contact["email"] == *person.email);
        own.filter(|_| kind == IdentifierType::CrmId).map(|(id, _)| id)
    })
}

fn id_of(target: &ManifestTarget, email: &str) -> String {
    let all = target.world().all("contacts");
    all.into_iter().find(|(_, contact)| contact["email"] == *email).expect("a contact").0
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_conversation_with_somebody_else_stays_and_is_told() {
    let target = target().await;
    for person in [ann(), bea()] {
        target.put(&person);
    }
    let (one, other) = (id_of(&target, &ann().email), id_of(&target, &bea().email));
    let members = json!({ "contacts": [{ "id": one }, { "id": other }] });
    target.world().put("conversations", "9", json!({ "id": "9", "contacts": members, "source": { "author": {} } }));
    let subject = ann().subject();
    let sink = MemorySink::default();
    done(only(target.connector().export(&[work("x", &subject)], &sink).await));
    assert_eq!(sink.records("x").iter().filter(|(name, _)| name == "conversation").count(), 1);
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    let shared = Retained { collection: "conversation".into(), records: 1, reason: "shared_with_others".into() };
    assert_eq!((erased.found, erased.changed, erased.retained), (3, 2, vec![shared]));
    assert!(target.world().get("conversations", "9").is_some());
    assert!(target.world().get("contacts", &one).is_none() && target.world().get("contacts", &other).is_some());
}

#[tokio::test]
async fn every_contact_with_the_address_is_the_persons_and_what_hangs_on_it_is_handed_over() {
    let target = target().await;
    target.put(&ann());
    let lead =
        json!({ "type": "contact", "id": "lead", "role": "lead", "external_id": null, "email": "Ann@Shop.Example" });
    target.world().put("contacts", "lead", lead);
    target.world().put("notes", "n", json!({ "id": "n", "contact_id": "lead", "body": "<p>Called twice</p>" }));
    target.world().put("events", "v", json!({ "event_name": "visited", "contact_id": "lead" }));
    let (subject, sink) = (ann().subject(), MemorySink::default());
    done(only(target.connector().export(&[work("x", &subject)], &sink).await));
    let text = sink.text("x");
    assert!(text.contains("Called twice") && text.contains("visited") && text.contains("Where is my order?"), "{text}");
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (3, 3));
    assert!(target.world().all("contacts").is_empty());
}

#[tokio::test]
async fn pages_are_followed_to_their_end() {
    let target = target().await;
    target.put(&ann());
    let id = id_of(&target, &ann().email);
    for n in 0..310 {
        let members = json!({ "contacts": [{ "id": id }] });
        target.world().put(
            "conversations",
            &format!("c{n}"),
            json!({ "id": format!("c{n}"), "contacts": members, "source": {} }),
        );
    }
    let subject = ann().subject();
    let counted = done(only(target.connector().discover(&[work("d", &subject)]).await));
    assert_eq!(counted.found, 312);
    assert_eq!(target.calls("POST", "/conversations/search").len(), 3);
}

#[tokio::test]
async fn a_refusal_because_of_a_limit_waits_until_the_moment_that_intercom_names() {
    let target = target().await;
    target.put(&ann());
    let body = json!({ "type": "error.list", "errors": [{ "code": "rate_limit_exceeded", "message": "x" }] });
    target.world().fault(Fault::Status(429, body.to_string(), None), Some("/contacts/search"));
    let subject = conformance::subject(&[(IdentifierType::Email, &ann().email)]);
    let answer = trouble(only(target.connector().discover(&[work("d", &subject)]).await));
    assert!(matches!(answer, Trouble::Throttled(_)), "{answer:?}");
}
