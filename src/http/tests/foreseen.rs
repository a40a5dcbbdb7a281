//! What is foreseen of a request, as its controller sees it.

use super::openapi::document;
use super::{ALL, edge, edge_with, request};
use redress_store::{Finish, StepResult};
use serde_json::json;
use std::collections::BTreeSet;

#[tokio::test]
async fn a_request_is_shown_with_its_forecast_of_this_moment_and_listed_with_that_of_the_last_pass() {
    let edge = edge().await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let made = edge.submit(&request("deletion")).await.json();
    assert_eq!(made["forecast"], json!(null), "nothing was foreseen yet when it was accepted");
    let path = format!("/v1/requests/{}", made["id"].as_str().unwrap());
    let forecast = edge.get(&path).await.json()["forecast"].clone();
    assert_eq!(forecast["finishes_at"], "2026-11-20T10:01:02Z", "two calls of a second and the answer");
    assert_eq!(
        (&forecast["late"], &forecast["late_by_days"], &forecast["bottleneck"]),
        (&json!(false), &json!(null), &json!("crm"))
    );
    assert_eq!(
        (&forecast["confidence"], &forecast["computed_at"]),
        (&json!("assumed"), &json!("2026-11-20T10:00:00Z"))
    );
    assert!(forecast["because"].as_array().unwrap().len() >= 2);
    assert_eq!(edge.get("/v1/requests").await.json()["requests"][0]["forecast"], json!(null));
    edge.store.foresee(50).await.unwrap();
    assert_eq!(edge.get("/v1/requests").await.json()["requests"][0]["forecast"], forecast);

    let described = document();
    let schema = &described["components"]["schemas"]["Forecast"];
    let names = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&forecast), names(&schema["properties"]));

    edge.call(&edge.acme.user, "POST", &format!("{path}/withdraw"), None).await;
    assert_eq!(edge.get(&path).await.json()["forecast"], json!(null), "it has ended");
    assert_eq!(edge.get("/v1/requests").await.json()["requests"][0]["forecast"], json!(null));
}

#[tokio::test]
async fn what_will_be_late_is_listed_and_stands_on_the_board() {
    let edge = edge_with(|api| super::Api { board_open: true, ..api }).await;
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    let fine = edge.submit(&request("access")).await.json()["id"].clone();
    let mut body = request("deletion");
    body["data_subject_received_at"] = json!("2026-10-05T09:00:00Z");
    let late = edge.submit(&body).await.json()["id"].clone();
    edge.store.foresee(50).await.unwrap();
    let listed = |query: &'static str| async {
        let page = edge.get(query).await.json();
        page["requests"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed("/v1/requests?late=true").await, std::slice::from_ref(&late));
    assert_eq!(listed("/v1/requests?late=false").await, [fine]);
    assert_eq!(edge.get("/v1/requests?late=1").await.status, 422);
    let board = edge.page("/requests", "localhost", None).await.text();
    assert!(board.contains("ends 20 Nov") && board.contains("late by "), "{board}");
    let page = edge.page(&format!("/requests/{}", late.as_str().unwrap()), "localhost", None).await.text();
    assert!(page.contains("Forecast") && page.contains("It is due before"), "{page}");
}

#[tokio::test]
async fn a_system_says_how_many_days_it_takes_by_itself() {
    let edge = edge().await;
    let mut body = super::systems::definition();
    body["completes_within_days"] = json!(14);
    let put = async |body| edge.call(&edge.acme.admin, "PUT", "/v1/systems/crm", Some(body)).await;
    let made = put(&body).await;
    assert_eq!((made.status.as_u16(), &made.json()["completes_within_days"]), (201, &json!(14)), "{}", made.text());
    let id = edge.submit(&request("access")).await.json()["id"].as_str().unwrap().to_owned();
    edge.store.advance_due(10).await.unwrap();
    let shown = async || edge.get(&format!("/v1/requests/{id}")).await.json()["forecast"].clone();
    assert_eq!(shown().await["finishes_at"], "2026-12-04T10:01:02Z");
    let lease = edge.store.claim("one", &[], 1, 60_000).await.unwrap().remove(0);
    let check_at = edge.store.now_ms() + 86_400_000;
    let result = StepResult::External { receipt: "order".into(), check_at, completes_by: None };
    edge.store.finish(vec![Finish { lease, result }]).await.unwrap();
    let because = shown().await["because"][0].clone();
    assert_eq!(
        because,
        "crm was asked on Fri 2026-11-20 11:00 and finishes within 14 days after that: Fri 2026-12-04."
    );
    for days in [json!(366), json!(-1), json!("x")] {
        let mut body = body.clone();
        body["completes_within_days"] = days;
        let answer = edge.call(&edge.acme.admin, "PUT", "/v1/systems/crm", Some(&body)).await;
        assert_eq!(answer.pointers(), ["/completes_within_days"]);
    }
}
