//! Processes come and go, by order and by accident; the requests go on.

use crate::support::{ApiClient, Backend, Kind, Person, Roles, Systems, TestApp, poll, status_of};
use std::time::Duration;

/// Forty people, each with a request; even ones are deletions, odd ones accesses.
async fn submit_all(api: &ApiClient, people: &[Person]) -> Vec<String> {
    let mut ids = Vec::new();
    for (i, person) in people.iter().enumerate() {
        ids.push(api.submitted(&if i % 2 == 0 { person.deletion() } else { person.access() }).await);
    }
    ids
}

/// Some of the work is done.
async fn under_way(systems: &Systems, people: &[Person]) {
    poll("the first deletion shows", Duration::from_secs(30), || async {
        (systems.census(&people[0].email).await == 0).then_some(())
    })
    .await;
}

async fn all_fulfilled(api: &ApiClient, systems: &Systems, people: &[Person], ids: &[String]) {
    for (i, (id, person)) in ids.iter().zip(people).enumerate() {
        let view = api.closed(id).await;
        assert_eq!(status_of(&view), "completed", "{view:#}");
        assert_eq!(systems.census(&person.email).await, if i % 2 == 0 { 0 } else { 14 }, "{}", person.email);
    }
}

#[tokio::test]
async fn a_service_that_is_stopped_in_mid_run_ends_in_order_and_goes_on_when_it_is_back() {
    let (app, systems) = tokio::join!(
        TestApp::builder().quick_leases().start(),
        Systems::of(&[Kind::Postgres, Kind::Sqlite, Kind::Maildir])
    );
    let people: Vec<Person> = (0..40).map(|i| Person::new(&format!("person{i:02}"))).collect();
    systems.fill(&people).await;
    let api = app.controller(&systems.toml("acme")).await;
    let ids = submit_all(&api, &people).await;
    under_way(&systems, &people).await;
    for status in app.sigterm().await {
        assert!(status.success(), "it ended with {status}");
    }
    let doctor = app.cli(&["doctor"]).await;
    assert!(!doctor.ok().contains("FAULT"), "{doctor:#?}");
    app.restart().await;
    // Keys, systems and their secrets are where they were.
    all_fulfilled(&api, &systems, &people, &ids).await;
}

#[tokio::test]
async fn when_a_worker_of_a_fleet_dies_the_other_takes_its_work_over() {
    let builder = TestApp::builder().backend(Backend::PostgresRedis).roles(Roles::Fleet(2)).quick_leases();
    let (app, systems) = tokio::join!(builder.start(), Systems::of(&[Kind::Postgres, Kind::Sqlite, Kind::Maildir]));
    let people: Vec<Person> = (0..40).map(|i| Person::new(&format!("person{i:02}"))).collect();
    systems.fill(&people).await;
    let api = app.controller(&systems.toml("acme")).await;
    let ids = submit_all(&api, &people).await;
    under_way(&systems, &people).await;
    app.kill9_one(1);
    all_fulfilled(&api, &systems, &people, &ids).await;
    assert!(!app.is_running(), "the dead worker stayed dead");
}
