//! A legal hold on a real database: what it reaches is still there, what it does not reach is gone, whenever it came.

use crate::support::{Backend, Kind, PATIENCE, Person, Systems, TestApp, body, status_of};
use serde_json::{Value, json};

fn hold_on(person: &str) -> Value {
    json!({ "scope": "subject", "identifiers": [{ "type": "email", "value": person }], "basis": "litigation", "review_on": "2099-01-01" })
}

#[tokio::test]
async fn held_records_stay_others_go_and_a_release_erases_them_on_sqlite() {
    the_life_of_a_hold(Backend::Sqlite).await;
}

#[tokio::test]
async fn held_records_stay_others_go_and_a_release_erases_them_on_postgres() {
    the_life_of_a_hold(Backend::PostgresRedis).await;
}

async fn the_life_of_a_hold(backend: Backend) {
    let builder = TestApp::builder().backend(backend).quick_leases();
    let (app, systems) = tokio::join!(builder.start(), Systems::of(&[Kind::Sqlite]));
    let (ann, bob, zoe) = (Person::new("ann"), Person::new("bob"), Person::new("zoe"));
    systems.fill(&[ann.clone(), bob.clone(), zoe.clone()]).await;
    let before = systems.census(&ann.email).await;
    assert!(before > 0);
    let api = app.controller(&systems.toml("acme")).await;
    let other =
        app.controller("[controller]\nname = \"other\"\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\n").await;

    // Another spelling of the same address.
    let hold = api.post("/v1/holds", &hold_on(&ann.email.to_uppercase())).await.expect(201);
    let path = hold["links"]["self"].as_str().expect("a link").to_owned();
    assert!(!hold.to_string().to_lowercase().contains(&ann.email), "{hold}");
    other.read(&path).await.problem(404);
    other.post(&format!("{path}/release"), &json!({ "reason": "x" })).await.problem(404);

    let (held, done) =
        (api.submitted(&body("deletion", &ann.email)).await, api.submitted(&body("deletion", &bob.email)).await);
    assert_eq!(status_of(&api.closed(&done).await), "completed");
    let view = api.until(&held, |status| status == "on_hold", PATIENCE).await;
    assert_eq!(view["holds"][0]["id"], hold["id"], "{view:#}");
    assert_eq!((systems.census(&ann.email).await, systems.census(&bob.email).await), (before, 0));
    // A worker that is killed, and another one that comes, change nothing about it.
    app.kill9();
    app.start().await;
    let later = api.submitted(&body("deletion", &zoe.email)).await;
    assert_eq!(status_of(&api.closed(&later).await), "completed");
    assert_eq!((systems.census(&ann.email).await, status_of(&api.get(&held).await)), (before, "on_hold"));

    api.post(&format!("{path}/release"), &json!({ "reason": "the case is over" })).await.expect(200);
    let view = api.closed(&held).await;
    assert_eq!(status_of(&view), "completed", "{view:#}");
    assert_eq!(view["steps"][0]["status"], "verified");
    assert_eq!(systems.census(&ann.email).await, 0);
    let kinds: Vec<String> =
        api.events(&held).await.iter().filter_map(|event| event["kind"].as_str().map(str::to_owned)).collect();
    for kind in ["hold_began", "hold_ended"] {
        assert_eq!(kinds.iter().filter(|k| *k == kind).count(), 1, "{kinds:?}");
    }
}

#[tokio::test]
async fn what_somebody_keeps_under_a_hold_is_certified_with_the_reason() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite]));
    let ann = Person::new("ann");
    systems.fill(std::slice::from_ref(&ann)).await;
    let before = systems.census(&ann.email).await;
    let api = app.controller(&systems.toml("acme")).await;
    let id = api.post("/v1/holds", &hold_on(&ann.email)).await.expect(201)["id"].as_str().expect("an id").to_owned();
    let dsr = api.submitted(&body("deletion", &ann.email)).await;
    api.until(&dsr, |status| status == "on_hold", PATIENCE).await;
    api.post(&format!("/v1/requests/{dsr}/keep"), &json!({ "reason": "evidence in court" })).await.expect(200);
    let view = api.closed(&dsr).await;
    assert_eq!(status_of(&view), "partially_completed", "{view:#}");
    assert_eq!(view["steps"][0]["retained"][0]["reason"], format!("legal_hold({id})"));
    let certificate = String::from_utf8(api.certificate(&dsr).await).expect("JSON");
    assert!(certificate.contains(&format!("legal_hold({id})")), "{certificate}");
    assert_eq!(systems.census(&ann.email).await, before);
}

#[tokio::test]
async fn holds_are_set_listed_and_released_from_a_terminal() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::of(&[Kind::Sqlite]));
    let ann = Person::new("ann");
    systems.fill(std::slice::from_ref(&ann)).await;
    let api = app.controller(&systems.toml("acme")).await;
    let url = app.base();
    let env = [("REDRESS_URL", url.as_str()), ("REDRESS_API_KEY", api.key.as_str())];
    let identifier = format!("email={}", ann.email);
    let set =
        ["hold", "set", "--identifier", &identifier, "--basis", "litigation", "--review-on", "2099-01-01", "--json"];
    let hold = app.cli_with(&env, &set).await.json();
    assert_eq!((&hold["state"], &hold["identifiers"][0]), (&json!("in_force"), &json!("email")));
    let id = hold["id"].as_str().expect("an id");
    assert!(app.cli_with(&env, &["hold", "list"]).await.ok().contains(id));
    let released = app.cli_with(&env, &["hold", "release", id, "--reason", "over", "--json"]).await.json();
    assert_eq!(released["state"], "released");
    assert!(!app.cli_with(&env, &["hold", "list"]).await.ok().contains(id));
    assert!(app.cli_with(&env, &["hold", "list", "--all"]).await.ok().contains(id));
    app.cli_with(&env, &["hold", "release", id, "--reason", "over"]).await.refused(1);
}
