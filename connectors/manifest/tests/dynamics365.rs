//! Dynamics 365: a literal stays a literal, and a correction never brings an erased row back.

use super::harness::ManifestTarget;
use crate::conformance::{self, Answer, MemoryJournal, Person, ann, done, only, rectifying, work};
use crate::{Effect, Work};
use redress_domain::{Correction, IdentifierType};
use redress_sandbox::vendors::asked::KEY;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("dynamics365").await.setting("url", "https://sandbox.crm4.dynamics.com");
    let target = target.setting("tenant", "tenant").setting("client_id", "app").secret("client_secret", KEY);
    let target = target.searches_in_part("leads have no field for the controller's own key");
    target.correcting("last_name", "contacts", "/emailaddress1", "/lastname").known_as(|world, person, kind| {
        let set = match kind {
            IdentifierType::CrmId => "contacts",
            IdentifierType::LeadId => "leads",
            _ => return None,
        };
        world.all(set).into_iter().find(|(_, row)| row["emailaddress1"] == *person.email).map(|(id, _)| id)
    })
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn an_apostrophe_finds_its_person_and_nobody_else() {
    let target = target().await;
    let brien = Person::new("C-1", "o'brien@shop.example", "+4915100000001", "Una O'Brien");
    for person in [brien.clone(), ann()] {
        target.put(&person);
    }
    let subject = conformance::subject(&[(IdentifierType::Email, &brien.email)]);
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (2, 2));
    assert_eq!(erased.effect, Some(Effect::Soft { residual_days: Some(30) }));
    assert_eq!((target.left(&brien.email), target.left(&ann().email)), (0, 2));
}

#[tokio::test]
async fn a_correction_that_comes_after_a_deletion_makes_nobody_anew() {
    let target = target().await;
    target.put(&ann());
    let (subject, dying) = (ann().subject(), MemoryJournal::answering(Answer::Die));
    let corrections = [Correction { field: "last_name".into(), value: "Neu".to_owned().into() }];
    let item = [rectifying("r", &subject, &corrections)];
    let connector = target.connector();
    tokio::select! {
        answers = connector.rectify(&item, &dying) => panic!("not announced: {answers:?}"),
        () = dying.wait_for_announcement() => {}
    }
    done(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    let prior = dying.announced("r").expect("it was announced");
    let again = Work { prior: Some(&prior), ..rectifying("r", &subject, &corrections) };
    let _whatever_it_says = connector.rectify(&[again], &MemoryJournal::default()).await;
    assert!(target.world().all("contacts").is_empty(), "the erased row is there again");
}

#[tokio::test]
async fn pages_of_five_hundred_are_followed() {
    let target = target().await;
    for n in 0..20 {
        target.put(&Person::new(&format!("C-{n}"), &ann().email, &format!("+49151000000{n:02}"), "A B"));
    }
    let subject = conformance::subject(&[(IdentifierType::Email, &ann().email)]);
    match conformance::trouble(only(target.connector().discover(&[work("d", &subject)]).await)) {
        crate::Trouble::Ambiguous { matched, .. } => assert_eq!(matched, 40),
        other => panic!("{other:?}"),
    }
}
