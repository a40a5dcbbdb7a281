//! Redis carries wake-ups and nothing that may not be lost.

use crate::support::{Backend, Kind, Person, Roles, Systems, TestApp, status_of};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test]
async fn every_request_ends_although_redis_is_flushed_killed_and_away_in_mid_run() {
    let builder = TestApp::builder().backend(Backend::PostgresRedis).roles(Roles::Fleet(2)).quick_leases();
    let (app, systems) = tokio::join!(builder.start(), Systems::of(&[Kind::Postgres, Kind::Sqlite, Kind::Maildir]));
    let people: Vec<Person> = (0..60).map(|i| Person::new(&format!("person{i:02}"))).collect();
    let twins: Vec<Person> = people.iter().step_by(10).flat_map(Person::twins).collect();
    systems.fill(&[people.clone(), twins.clone()].concat()).await;
    let before = systems.snapshot().await;
    let api = app.controller(&systems.toml("acme")).await;

    let mut ids = Vec::new();
    for (i, person) in people.iter().enumerate() {
        match i {
            15 => app.redis().flushall().await,
            30 => app.redis().kill9_and_restart().await,
            45 => app.redis().kill9().await,
            _ => {}
        }
        let body = match i % 3 {
            0 => person.deletion(),
            1 => person.access(),
            _ => person.correction("full_name", "Somebody Else"),
        };
        ids.push(api.submitted(&body).await);
    }
    // The last fifteen were taken without any Redis, and are fulfilled without it.
    for id in &ids[45..] {
        let view = api.until(id, |status| status == "completed", LIMIT).await;
        assert!(!view["closed_at"].is_null());
    }
    app.redis().start_again().await;
    app.redis().flushall().await;
    for (id, (i, person)) in ids.iter().zip(people.iter().enumerate()) {
        let view = api.closed(id).await;
        assert_eq!(status_of(&view), "completed", "{view:#}");
        let left = systems.census(&person.email).await;
        assert_eq!(left == 0, i % 3 == 0, "{}: {left}", person.email);
    }
    // Wake-ups arrive again: this one does not wait for anything.
    api.fulfilled(&people[1].access()).await;
    let all: Vec<&Person> = people.iter().collect();
    assert_eq!(systems.snapshot().await.without(&all), before.without(&all));
    assert_eq!(app.redis().command(&["DBSIZE"]).await, "0", "Redis holds nothing that a flush could lose");
}
