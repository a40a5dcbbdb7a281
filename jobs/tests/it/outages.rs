//! What is away is waited for; what waits is seen; what comes back is used at once.

use crate::lab::{GRACE, Lab, SHOP, tables};
use redress_domain::plan::FanOut;
use redress_domain::step::StepState;
use redress_domain::{Personal, RequestType};
use redress_store::Decision;
use redress_testkit::Postgres;
use serde_json::json;
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_is_down_is_waited_for_shown_after_three_tries_and_used_once_it_is_back() {
    let lab = Lab::new().await;
    let server = Postgres::start().await;
    server.database("crm").await;
    server.sql("crm", SHOP).await;
    let definition = json!({
        "settings": { "host": server.host(), "port": server.port(), "database": "crm", "username": server.user(), "connect_timeout_seconds": 1 },
        "tables": tables(),
        "max_matches": 25,
    });
    let secrets = BTreeMap::from([("password".to_owned(), Personal::from(server.password()))]);
    lab.connected_by("postgres", "crm", definition, secrets).await;
    lab.system("shop").await;
    server.stop().await;

    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let detail = lab.until_that(&id, 0, |d| d.steps[0].status == StepState::Waiting).await;
    assert_eq!(detail.row.status, "in_progress", "one failure is no reason to call somebody");
    assert!(detail.steps[0].next_attempt_at.is_some());
    // The other system is not held up.
    lab.until_that(&id, 0, |d| d.steps[1].status == StepState::Verified).await;
    let detail = lab.until(&id, "needs_attention", 100).await;
    assert!(detail.steps[0].attempts >= 3, "{}", detail.steps[0].attempts);
    assert_eq!(detail.row.attention.as_deref(), Some("crm: unreachable"));
    lab.until_that(&id, 100, |d| d.steps[0].next_attempt_at.is_some()).await;
    server.start_again().await;
    // Nobody does anything but wait.
    let detail = lab.until(&id, "completed", 10_000).await;
    assert_eq!(detail.row.attention, None);
    assert_eq!(server.query("crm", "SELECT id FROM customers").await, "C-2");
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_our_own_database_is_waited_out_and_asks_nobody() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    // What is about to be changed cannot be recorded, and so may not be changed.
    lab.own_sql("CREATE TRIGGER cut BEFORE UPDATE OF receipt ON steps WHEN NEW.receipt IS NOT NULL BEGIN SELECT RAISE(ABORT, 'cut'); END")
        .await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let detail = lab.until_that(&id, 1_000, |d| d.steps[0].attempts > 4).await;
    assert_eq!((detail.row.status.as_str(), &detail.row.attention), ("in_progress", &None), "{:?}", detail.steps);
    assert_eq!(detail.steps[0].error.as_ref().map(|(code, _)| code.as_str()), Some("interrupted"));
    assert_eq!(lab.count("crm", "customers WHERE id = 'C-1'").await, 1, "what was not announced was done");
    lab.own_sql("DROP TRIGGER cut").await;
    lab.until(&id, "completed", 1_000).await;
    let failed = lab.kinds(&id).await.iter().filter(|kind| *kind == "step_failed").count();
    assert!(failed > 3, "{failed} failures");
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_missing_asks_for_a_person_and_is_used_once_somebody_says_it_is_back() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let away = lab.file("crm").with_extension("away");
    std::fs::rename(lab.file("crm"), &away).expect("moved");
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let detail = lab.until(&id, "needs_attention", 1_000).await;
    assert_eq!(detail.row.attention.as_deref(), Some("crm: file_missing"));
    assert!(!lab.file("crm").exists(), "no empty database was made in its place");
    std::fs::rename(&away, lab.file("crm")).expect("moved");
    lab.store().decide(&lab.ctl, &id, Decision::Retry(FanOut::default()), "key_test").await.expect("tried again");
    lab.until(&id, "completed", 0).await;
    assert_eq!(lab.count("crm", "customers WHERE id = 'C-1'").await, 0);
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_was_disconnected_asks_for_a_person_until_it_is_connected_again() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    lab.store().delete_system(&lab.ctl, "crm", "operator").await.expect("disconnected");
    let workers = lab.start("one");
    let detail = lab.until(&id, "needs_attention", 0).await;
    assert_eq!(detail.row.attention.as_deref(), Some("crm: system_disconnected"));
    lab.connected("crm", lab.definition("crm")).await;
    lab.until(&id, "completed", 0).await;
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_is_refused_asks_for_a_person_and_goes_on_once_it_is_mended() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let mut system = lab.store().system_by_name(&lab.ctl, "crm").await.expect("read").expect("there");
    system.definition["settings"] = serde_json::json!({ "path": lab.file("crm"), "colour": "red" });
    let new = redress_store::SystemUpsert {
        name: system.name,
        family: system.family,
        connector: system.connector,
        definition: system.definition,
        secrets: None,
        allow: system.allow,
        verbs: system.verbs,
        identifiers: system.identifiers,
        fields: system.fields,
        batch: 50,
        completes_within_days: 0,
    };
    lab.store().upsert_system(&lab.ctl, &new, "operator").await.expect("stored");
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let detail = lab.until(&id, "needs_attention", 0).await;
    let (code, sentence) = detail.steps[0].error.clone().expect("a reason");
    assert_eq!(code, "system_misconfigured");
    assert!(sentence.contains("settings.colour"), "{sentence}");
    lab.connected("crm", lab.definition("crm")).await;
    lab.until(&id, "completed", 0).await;
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_the_controller_spreads_the_calls_and_costs_no_failure() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let mut definition = lab.definition("crm");
    definition["rate_per_second"] = 4.into();
    lab.connected("crm", definition).await;
    let workers = lab.start("one");
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    let detail = lab.until(&id, "completed", 0).await;
    assert_eq!(detail.steps[0].status, StepState::Verified);
    assert!(!lab.kinds(&id).await.contains(&"step_failed".to_owned()));
    workers.shut_down(GRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_a_dead_worker_left_is_taken_over() {
    let lab = Lab::new().await;
    lab.system("crm").await;
    let id = lab.submit(RequestType::Deletion, "jane@example.com", None).await;
    lab.store().advance_due(10).await.expect("advanced");
    let dead = lab.store().claim("dead", &[], 10, -1).await.expect("claimed");
    assert_eq!(dead.len(), 1);
    let workers = lab.start("one");
    let detail = lab.until(&id, "completed", 0).await;
    assert_eq!(detail.steps[0].attempts, 2);
    workers.shut_down(GRACE).await;
}
