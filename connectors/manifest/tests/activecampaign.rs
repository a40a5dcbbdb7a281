//! ActiveCampaign: a search by parts, compared again.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, MemorySink, Person, ann, done, only, work};
use redress_domain::IdentifierType;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("activecampaign").await.setting("url", "https://sandbox.api-us1.com");
    let target = target.secret("api_key", KEY);
    target.correcting("last_name", "contacts", "/email", "/lastName").known_as(|world, person, kind| {
        let all = world.all("contacts");
        let own = all.into_iter().find(|(_, contact)| contact["email"] == *person.email);
        own.filter(|_| kind == IdentifierType::LeadId).map(|(id, _)| id)
    })
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_number_is_found_among_those_that_hold_it_on_the_second_page() {
    let target = target().await;
    for n in 0..130 {
        target.put(&Person::new("", &format!("p{n}@shop.example"), &format!("+49 151 12345678 {n:03}"), "A B"));
    }
    target.put(&ann());
    let subject = conformance::subject(&[(IdentifierType::Phone, &ann().phone)]);
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed, target.left(&ann().email)), (1, 1, 0));
    assert_eq!(target.world().all("contacts").len(), 130);
}

#[tokio::test]
async fn what_hangs_on_a_contact_is_handed_over() {
    let target = target().await;
    target.put(&ann());
    let id = target.world().all("contacts").into_iter().next().expect("a contact").0;
    target.world().put("notes", "n", json!({ "id": "n", "contact": id, "note": "likes trains" }));
    target.world().put("fieldValues", "f", json!({ "id": "f", "contact": id, "value": "size 38" }));
    let (subject, sink) = (ann().subject(), MemorySink::default());
    done(only(target.connector().export(&[work("x", &subject)], &sink).await));
    assert!(sink.text("x").contains("likes trains") && sink.text("x").contains("size 38"));
}
