//! HubSpot: an index that lags, further addresses in one text, a deletion by id.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, ann, bea, confirmed, done, only, trouble, work};
use crate::{Effect, Trouble, Verdict};
use redress_domain::{IdentifierType, Verb};
use redress_sandbox::Fault;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;
use std::time::Duration;

pub(super) async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("hubspot").await.secret("access_token", KEY);
    target.correcting("first_name", "contacts", "/properties/email", "/properties/firstname").known_as(
        |world, person, kind| {
            let all = world.all("contacts").into_iter();
            let own =
                all.filter(|(_, contact)| contact["properties"]["email"] == *person.email).map(|(id, _)| id).next();
            own.filter(|_| kind == IdentifierType::CrmId)
        },
    )
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_purged_contact_is_looked_for_when_the_index_has_caught_up_and_read_besides() {
    let target = target().await;
    target.put(&ann());
    target.world().put("settings", "lag_ms", json!({"value": 60_000}));
    let (subject, connector, journal) = (ann().subject(), target.connector(), MemoryJournal::default());
    let erased = done(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!((erased.found, erased.changed), (1, 1));
    assert_eq!(erased.effect, Some(Effect::Scheduled { within_days: 30 }));
    assert!(connector.manifest().verify_after >= Duration::from_mins(5));
    target.world().travel(Duration::from_mins(5));
    confirmed(only(connector.verify(Verb::Erase, &[work("v", &subject)]).await));
    assert_eq!(target.calls("POST", "/batch/read").len(), 1);
}

#[tokio::test]
async fn somebody_whom_the_search_does_not_show_yet_is_residue() {
    let target = target().await;
    let subject = ann().subject();
    target.put(&ann());
    match only(target.connector().verify(Verb::Erase, &[work("v", &subject)]).await) {
        Verdict::Residue { remaining, .. } => assert_eq!(remaining, 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_further_address_is_the_persons_and_a_part_of_one_is_not() {
    let target = target().await;
    for (id, more) in
        [("1", "old@shop.example;ann@shop.example"), ("2", "joann@shop.example;ann@shop.example.evil.org")]
    {
        let properties =
            json!({"email": format!("{id}@shop.example"), "hs_additional_emails": more, "hs_object_id": id});
        target.world().put("contacts", id, json!({"id": id, "properties": properties}));
    }
    let subject = conformance::subject(&[(IdentifierType::Email, "ann@shop.example")]);
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!((erased.found, erased.changed), (1, 1));
    assert!(target.world().get("contacts", "1").is_none() && target.world().get("contacts", "2").is_some());
    assert!(target.world().all("blocked").is_empty(), "deleted by id: nobody is put on the block list");
}

#[tokio::test]
async fn the_contacts_id_is_yielded_to_other_systems() {
    let target = target().await;
    target.put(&ann());
    target.put(&bea());
    let subject = conformance::subject(&[(IdentifierType::Email, &ann().email)]);
    let found = done(only(target.connector().discover(&[work("d", &subject)]).await));
    let [crm] = found.yielded.as_slice() else { panic!("one identifier") };
    assert_eq!(crm.kind(), IdentifierType::CrmId);
    assert!(target.world().get("contacts", crm.normal().expose()).is_some());
}

#[tokio::test]
async fn each_policy_has_its_own_wait() {
    for (policy, wait) in [("SECONDLY", 1), ("TEN_SECONDLY_ROLLING", 10), ("DAILY", 3_600)] {
        let target = target().await;
        target.put(&ann());
        let body = json!({"status": "error", "errorType": "RATE_LIMIT", "policyName": policy}).to_string();
        target.world().fault(Fault::Status(429, body, None), None);
        let subject = ann().subject();
        let answer = trouble(only(target.connector().discover(&[work("d", &subject)]).await));
        let Trouble::Throttled(told) = answer else { panic!("{answer:?}") };
        assert!(
            told >= Duration::from_secs(wait.min(told.as_secs().max(1))) && told <= Duration::from_secs(wait),
            "{policy}: {told:?}"
        );
    }
}
