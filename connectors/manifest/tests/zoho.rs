//! Zoho CRM: one answer per record, tokens of an hour, a bin of 60 days that holds nothing of the person.

use super::harness::ManifestTarget;
use crate::conformance::{self, MemoryJournal, Person, ann, done, only, trouble, work};
use crate::{Effect, Outcome, Trouble};
use redress_domain::IdentifierType;
use redress_sandbox::vendors::asked::KEY;
use serde_json::json;
use std::time::Duration;

async fn target() -> ManifestTarget {
    let target = ManifestTarget::serve("zoho").await;
    let target = target.setting("client_id", "1000.SANDBOX").secret("client_secret", KEY).secret("refresh_token", KEY);
    target.correcting("last_name", "Contacts", "/Email", "/Last_Name").known_as(|world, person, kind| {
        let module = match kind {
            IdentifierType::CrmId => "Contacts",
            IdentifierType::LeadId => "Leads",
            _ => return None,
        };
        world.all(module).into_iter().find(|(_, record)| record["Email"] == *person.email).map(|(id, _)| id)
    })
}

#[tokio::test]
async fn conforms() {
    conformance::run(&target().await).await;
}

#[tokio::test]
async fn a_batch_of_people_is_few_calls_and_one_record_that_is_refused_is_one_persons_trouble() {
    let target = target().await;
    let people: Vec<Person> = (0..120)
        .map(|n| Person::new(&format!("C-{n}"), &format!("p{n}@shop.example"), &format!("+49151000{n:05}"), "A B"))
        .collect();
    for person in &people {
        target.put(person);
    }
    let subjects: Vec<_> = people.iter().map(|p| conformance::subject(&[(IdentifierType::Email, &p.email)])).collect();
    let keys: Vec<String> = (0..120).map(|n| format!("k{n}")).collect();
    let batch: Vec<_> = keys.iter().zip(&subjects).map(|(key, subject)| work(key, subject)).collect();
    let answers = target.connector().erase(&batch, &MemoryJournal::default()).await;
    assert!(answers.iter().all(|answer| matches!(answer, Outcome::Done(done) if (done.found, done.changed) == (2, 2))));
    assert_eq!(target.calls("PUT", "/Contacts").len(), 2);
    assert_eq!(target.calls("DELETE", "/Contacts").len(), 2);
    assert_eq!(target.calls("DELETE", "/Leads").len(), 2);
}

#[tokio::test]
async fn what_lies_in_the_bin_for_60_days_holds_no_address() {
    let target = target().await;
    target.put(&ann());
    let subject = ann().subject();
    let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert_eq!(erased.effect, Some(Effect::Soft { residual_days: Some(60) }));
    let (_, binned) = target.world().all("bin:Contacts").into_iter().next().expect("it is in the bin");
    assert!(binned["Email"].is_null() && binned["Mobile"].is_null() && binned["Last_Name"] == "Deleted", "{binned:?}");
}

#[tokio::test]
async fn a_token_that_ended_is_fetched_anew_and_the_call_repeated() {
    let target = target().await;
    target.put(&ann());
    let (subject, connector) = (ann().subject(), target.connector());
    done(only(connector.discover(&[work("d", &subject)]).await));
    target.world().travel(Duration::from_secs(3_700));
    done(only(connector.discover(&[work("d", &subject)]).await));
    assert_eq!(target.calls("POST", "/oauth/v2/token").len(), 2);
}

#[tokio::test]
async fn a_refresh_token_that_is_refused_with_200_is_never_nobody() {
    let target = ManifestTarget::serve("zoho").await;
    let target =
        target.setting("client_id", "1000.SANDBOX").secret("client_secret", KEY).secret("refresh_token", "old");
    target.put(&ann());
    let subject = ann().subject();
    match trouble(only(target.connector().discover(&[work("d", &subject)]).await)) {
        Trouble::Denied(problem) => assert_eq!(problem.code, "credentials_refused"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_assistants_number_is_somebody_elses() {
    let target = target().await;
    target.put(&ann());
    target.world().put("Contacts", "5", json!({ "id": "5", "Email": "boss@shop.example", "Asst_Phone": ann().phone }));
    let subject = conformance::subject(&[(IdentifierType::Phone, &ann().phone)]);
    done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert!(target.world().get("Contacts", "5").is_some());
}
