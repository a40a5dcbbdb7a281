//! The record of processing says what is set up, and says of the rest that nobody recorded it.

use super::super::{edge, edge_with};
use super::{Rows, report};
use crate::config::Processor;
use redress_domain::RequestType;
use redress_store::NewController;
use serde_json::json;

const PATH: &str = "/v1/reports/processing-record";

#[tokio::test]
async fn the_record_names_controller_systems_rights_and_what_is_done_for_them() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", &[RequestType::Access, RequestType::Deletion], &[]).await;
    edge.connect(&edge.acme, "mail", &[RequestType::Access], &[]).await;
    edge.connect(&edge.other, "theirs", &[RequestType::Access], &[]).await;
    let record = report(&edge, PATH).await;
    assert_eq!(record["controllers"].as_array().unwrap().len(), 1);
    let acme = &record["controllers"][0];
    assert_eq!((&acme["controller"], &acme["country"]), (&json!("acme"), &json!("DE")));
    let categories = acme["categories_of_processing"].as_array().unwrap();
    assert_eq!(categories.len(), 3, "what we do ourselves, and two systems");
    assert!(categories[0]["system"].is_null());
    let done = |i: usize| (&categories[i]["system"], &categories[i]["rights"], &categories[i]["verbs"]);
    assert_eq!(done(1), (&json!("crm"), &json!(["access", "deletion"]), &json!(["export", "erase", "verify"])));
    assert_eq!(done(2), (&json!("mail"), &json!(["access"]), &json!(["export"])), "what is not instructed is not done");
    assert_eq!((&categories[1]["family"], &categories[1]["connector"]), (&json!("crm"), &json!("postgres")));
    let measures = record["security_measures"].as_array().unwrap();
    assert!(measures.len() > 5 && measures.iter().all(|m| m["source"] == "software"), "{measures:?}");
    assert!(!record.to_string().contains("canary-secret"));
}

#[tokio::test]
async fn what_nobody_gave_is_said_to_be_not_given_or_not_recorded() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", &[RequestType::Access], &[]).await;
    let record = report(&edge, PATH).await;
    for field in ["name", "contact", "address", "data_protection_officer", "representative"] {
        assert_eq!(record["processor"][field], "not given", "{field}");
    }
    let acme = &record["controllers"][0];
    for field in ["contact", "region", "representative", "data_protection_officer"] {
        assert_eq!(acme[field], "not recorded", "{field}");
    }
    let crm = &acme["categories_of_processing"][1];
    assert_eq!((&crm["region"], &crm["third_country_transfer"]), (&json!("not recorded"), &json!("not recorded")));
}

#[tokio::test]
async fn what_was_given_is_in_it_and_cannot_be_a_formula() {
    let text = |text: &str| Some(text.to_owned());
    let processor = Processor {
        name: text("Example GmbH"),
        contact: text("+49 30 1234"),
        dpo: text("=cmd|' /C calc'!A0"),
        security_measures: vec!["ISO 27001, audited yearly".to_owned()],
        ..Processor::default()
    };
    let edge = edge_with(|api| super::super::Api { processor, ..api }).await;
    let record = report(&edge, PATH).await;
    assert_eq!(
        (&record["processor"]["name"], &record["processor"]["address"]),
        (&json!("Example GmbH"), &json!("not given"))
    );
    assert_eq!(record["processor"]["contact"], "+49 30 1234");
    assert_eq!(
        record["security_measures"][0],
        json!({ "source": "processor", "measure": "ISO 27001, audited yearly" })
    );
    let csv = edge.get(&format!("{PATH}?format=csv&table=processor")).await.text();
    assert!(csv.contains("\r\ncontact,'+49 30 1234\r\n") && csv.contains(",'=cmd|"), "{csv}");
    let csv = edge.get(&format!("{PATH}?format=csv&table=measures")).await.text();
    assert!(csv.starts_with("source,measure\r\nprocessor,\"ISO 27001, audited yearly\"\r\nsoftware,"), "{csv}");
}

#[tokio::test]
async fn a_transfer_is_told_as_far_as_regions_are_recorded() {
    let edge = edge().await;
    let rows = Rows::of(&edge).await;
    edge.connect(&edge.acme, "crm", &[RequestType::Access], &[]).await;
    let transfer = async || {
        let record = report(&edge, PATH).await;
        record["controllers"][0]["categories_of_processing"][1]["third_country_transfer"].as_str().unwrap().to_owned()
    };
    rows.sql("UPDATE systems SET definition = '{\"settings\":{\"region\":\"us\"}}'").await;
    assert!(transfer().await.contains("from a region that is not recorded to us"), "{}", transfer().await);
    let mut new = NewController {
        name: "acme".into(),
        country: Some("DE".into()),
        timezone: "Europe/Berlin".into(),
        region: Some("eu".into()),
        contact: None,
        policy: redress_store::ControllerPolicy::default(),
        terms: None,
        weight: 1,
    };
    edge.store.update_controller(&edge.acme.id, &new, "test").await.unwrap();
    assert!(transfer().await.contains("from eu to us; safeguards"), "{}", transfer().await);
    new.region = Some("us".into());
    edge.store.update_controller(&edge.acme.id, &new, "test").await.unwrap();
    assert!(transfer().await.starts_with("none: as recorded"), "{}", transfer().await);
}
