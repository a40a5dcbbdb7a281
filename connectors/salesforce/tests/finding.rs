//! What counts as found, in the places where Salesforce's own idea is looser or hides something.

use super::lab::{Lab, by_email, erased};
use crate::conformance::{
    MemoryJournal, MemorySink, ann, bea, confirmed, done, nothing_found, only, subject, trouble, work,
};
use crate::{Effect, Outcome, Trouble, Verdict};
use redress_domain::{IdentifierType, Verb};
use redress_sandbox::vendors::salesforce as sim;
use serde_json::json;

fn code(outcome: Outcome) -> &'static str {
    match trouble(outcome) {
        Trouble::Ambiguous { problem, .. } | Trouble::Denied(problem) | Trouble::Retry(problem) => problem.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn leads_person_accounts_and_the_contact_are_one_person_s() {
    let lab = Lab::new(false).await;
    lab.seed(&ann());
    let email = ann().email;
    sim::insert(lab.world(), "Lead", json!({"Email": email, "LastName": "Vorbild", "Company": "x", "_person": email}));
    let account =
        sim::insert(lab.world(), "Account", json!({"PersonEmail": email, "IsPersonAccount": true, "_person": email}));
    sim::insert(lab.world(), "Case", json!({"AccountId": account, "Subject": "?", "_person": email}));
    let company = sim::insert(lab.world(), "Account", json!({"Name": "Vorbild GmbH", "PersonEmail": email}));
    let done = erased(&lab, &lab.connector(), &by_email(&email)).await;
    assert_eq!((done.found, done.changed), (7, 7));
    assert_eq!(lab.count(&email), 0);
    assert!(lab.world().get("Account", &company).is_some_and(|company| !company.contains_key("IsDeleted")));
    let yielded: Vec<_> = done.yielded.iter().map(|id| (id.kind(), id.normal().expose().clone())).collect();
    assert_eq!(yielded, [(IdentifierType::CrmId, lab.contact(&email).expect("in the bin"))]);
}

#[tokio::test]
async fn a_number_is_found_in_national_notation_whatever_stands_between_its_digits() {
    for search in ["scan", "index"] {
        let lab = Lab::new(false).await;
        for (number, name) in
            [("0151 / 1234-5678", "Mine"), ("0151 12345679", "Other"), ("+49 151 12345678 90", "Longer")]
        {
            sim::insert(lab.world(), "Contact", json!({"Phone": number, "LastName": name, "_person": name}));
        }
        let connector = lab.with(&json!({"phone_search": search}));
        let subject = subject(&[(IdentifierType::Phone, "+4915112345678")]);
        let done = erased(&lab, &connector, &subject).await;
        assert_eq!(done.changed, 1, "{search}");
        assert_eq!((lab.count("Mine"), lab.count("Other"), lab.count("Longer")), (0, 1, 1), "{search}");
    }
}

#[tokio::test]
async fn a_shared_number_does_not_decide_against_an_address() {
    let lab = Lab::new(false).await;
    let mut other = bea();
    other.phone = ann().phone;
    lab.seed(&ann());
    lab.seed(&other);
    let journal = MemoryJournal::default();
    let both = subject(&[(IdentifierType::Email, &ann().email), (IdentifierType::Phone, &ann().phone)]);
    let outcome = only(lab.connector().erase(&[work("e", &both)], &journal).await);
    assert_eq!(code(outcome), "identifiers_contradict");
    let phone = subject(&[(IdentifierType::Phone, &ann().phone)]);
    let outcome = only(lab.connector().erase(&[work("e", &phone)], &journal).await);
    assert_eq!(code(outcome), "identifiers_contradict");
    assert_eq!((lab.count(&ann().email), lab.count(&other.email), journal.items()), (4, 4, 0));
}

#[tokio::test]
async fn a_record_merged_into_another_one_is_left_to_a_person() {
    let lab = Lab::new(false).await;
    lab.seed(&bea());
    let winner = lab.contact(&bea().email).expect("seeded");
    let loser = json!({"Email": ann().email, "LastName": "Vorbild", "IsDeleted": true, "MasterRecordId": winner});
    sim::insert(lab.world(), "Contact", loser);
    let outcome = only(lab.connector().discover(&[work("d", &by_email(&ann().email))]).await);
    assert_eq!(code(outcome), "merged_elsewhere");
    let known = subject(&[(IdentifierType::Email, &ann().email), (IdentifierType::Email, &bea().email)]);
    assert_eq!(done(only(lab.connector().discover(&[work("d", &known)]).await)).found, 4);
}

#[tokio::test]
async fn what_lies_in_the_recycle_bin_is_told_and_makes_a_hard_deletion_soft() {
    let lab = Lab::new(true).await;
    lab.seed(&ann());
    sim::insert(lab.world(), "Contact", json!({"Email": ann().email, "LastName": "Old", "IsDeleted": true}));
    let subject = by_email(&ann().email);
    let done = erased(&lab, &lab.connector(), &subject).await;
    assert_eq!((done.found, done.changed), (4, 4));
    assert_eq!(done.effect, Some(Effect::Soft { residual_days: Some(15) }));
    let prior = done.receipt.as_ref();
    let item = crate::Work { prior, ..work("v", &subject) };
    let evidence = confirmed(only(lab.connector().verify(Verb::Erase, &[item]).await));
    assert!(
        evidence.collections.iter().any(|c| c.collection == "Contact (recycle bin)" && c.after == 2),
        "{evidence:?}"
    );
}

#[tokio::test]
async fn custom_objects_are_found_by_describe_if_they_are_wanted_and_named_by_the_check_if_not() {
    let lab = Lab::new(false).await;
    let email = ann().email;
    sim::insert(lab.world(), "Subscriber__c", json!({"Email__c": email, "Name": "S-1", "_person": email}));
    let subject = by_email(&email);
    nothing_found(only(lab.connector().discover(&[work("d", &subject)]).await));
    let report = lab.connector().check().await.expect("in order");
    assert!(report.warnings.iter().any(|warning| warning.contains("Subscriber__c")), "{report:?}");
    let done = erased(&lab, &lab.with(&json!({"custom_objects": true})), &subject).await;
    assert_eq!((done.changed, lab.count(&email)), (1, 0));
}

#[tokio::test]
async fn somebody_whose_manager_or_assistant_the_person_is_is_somebody_else() {
    let lab = Lab::new(false).await;
    lab.seed(&ann());
    let mut other = json!({"Email": "bo@shop.example", "LastName": "Bo", "_person": "bo"});
    other["Manager_Email__c"] = ann().email.into();
    other["AssistantPhone"] = ann().phone.into();
    sim::insert(lab.world(), "Contact", other);
    assert_eq!(erased(&lab, &lab.connector(), &ann().subject()).await.changed, 4);
    assert_eq!(lab.count("bo"), 1);
    let report = lab.connector().check().await.expect("in order");
    assert!(report.warnings.iter().any(|warning| warning.contains("Contact.Manager_Email__c")), "{report:?}");
}

#[tokio::test]
async fn an_object_that_the_user_may_not_see_is_not_an_empty_one() {
    let lab = Lab::new(false).await;
    sim::set_org(lab.world(), "hidden", json!("Lead"));
    let outcome = only(lab.connector().discover(&[work("d", &by_email(&ann().email))]).await);
    assert_eq!(code(outcome), "object_missing");
}

#[tokio::test]
async fn objects_without_a_usable_identifier_are_named() {
    let lab = Lab::new(false).await;
    lab.seed(&ann());
    let objects = json!([{"name": "Contact", "customer_id": "Customer_Id__c"}, {"name": "Subscriber__c"}]);
    let connector = lab.with(
        &json!({"objects": objects, "customer_id": null})
            .as_object()
            .map(|all| {
                let mut all = all.clone();
                all.remove("customer_id");
                serde_json::Value::Object(all)
            })
            .expect("an object"),
    );
    let subject = subject(&[(IdentifierType::CustomerId, "C-1007")]);
    let found = done(only(connector.discover(&[work("d", &subject)]).await));
    assert_eq!(found.found, 4);
    assert_eq!(
        found.retained.iter().map(|r| (r.collection.as_str(), r.reason.as_str())).collect::<Vec<_>>(),
        [("Subscriber__c", "no_usable_identifier")]
    );
}

#[tokio::test]
async fn many_pages_are_read_to_their_end() {
    let lab = Lab::new(false).await;
    lab.seed(&ann());
    let contact = lab.contact(&ann().email).expect("seeded");
    for _ in 0..2_321 {
        sim::insert(lab.world(), "Task", json!({"WhoId": contact, "Subject": "Call", "_person": ann().email}));
    }
    let sink = MemorySink::default();
    let subject = by_email(&ann().email);
    let exported = done(only(lab.connector().export(&[work("x", &subject)], &sink).await));
    assert_eq!(exported.found, 2_325);
    assert_eq!(sink.records("x").len(), 2_325);
    assert_eq!(erased(&lab, &lab.connector(), &subject).await.changed, 2_325);
    assert_eq!(lab.count(&ann().email), 0);
    match only(lab.connector().verify(Verb::Erase, &[work("v", &subject)]).await) {
        Verdict::Confirmed(_) => {}
        other => panic!("{other:?}"),
    }
}
