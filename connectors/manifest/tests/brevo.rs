//! Brevo: contacts, and the log of mail to the address.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, ann, done, only, work};
use crate::{Effect, Trouble};
use redress_domain::IdentifierType;
use redress_sandbox::Fault;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("brevo").await.secret("api_key", KEY).one_per_address();
    let target = target.searches_in_part("the log of mail knows addresses only");
    target.correcting("last_name", "contacts", "/email", "/attributes/LASTNAME").known_as(|world, person, kind| {
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
async fn mail_to_somebody_who_is_no_contact_is_found_and_deleted() {
    let target = target().await;
    for n in 0..3 {
        let mail = json!({ "email": "Ann@shop.example", "uuid": format!("u{n}"), "messageId": format!("<{n}@x>") });
        target.world().put("mails", &n.to_string(), mail);
    }
    target.world().put("mails", "other", json!({ "email": "joann@shop.example", "uuid": "u9", "messageId": "<9@x>" }));
    let subject = conformance::subject(&[(IdentifierType::Email, &ann().email)]);
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (3, 3));
    assert_eq!(erased.effect, Some(Effect::Permanent));
    assert_eq!(target.world().all("mails").len(), 1);
}

#[tokio::test]
async fn a_persons_mail_log_does_not_count_as_many_matches() {
    let target = target().await;
    target.put(&ann());
    for n in 0..1_200 {
        let mail = json!({ "email": ann().email, "uuid": format!("u{n}"), "messageId": format!("<{n}@x>") });
        target.world().put("mails", &format!("m{n}"), mail);
    }
    let subject = ann().subject();
    let counted = done(only(target.connector().discover(&[work("d", &subject)]).await));
    assert_eq!(counted.found, 1_202);
    assert_eq!(target.calls("GET", "/smtp/emails").len(), 3);
}

#[tokio::test]
async fn the_wait_is_that_of_brevos_own_header() {
    let target = target().await;
    target.put(&ann());
    target.world().fault(Fault::Status(429, "{}".into(), Some("9".into())), None);
    let subject = ann().subject();
    let connector = target.connector();
    let answer = conformance::trouble(only(connector.discover(&[work("d", &subject)]).await));
    assert_eq!(answer, Trouble::Throttled(std::time::Duration::from_secs(9)));
}
