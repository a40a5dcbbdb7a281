//! A poison step kills every worker that takes it; after three deaths it is left to a person, and everything else goes on.

use super::scene::{Case, Right, Rows, Scene};
use crate::support::{Kind, Person, TestApp, body, id_of, poll, status_of};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

/// Only a deletion that finds messages in the Maildir passes here.
const POISON: &str = "maildir.before_effect";

#[tokio::test]
#[cfg_attr(not(feature = "crash-points"), ignore = "needs --features crash-points")]
async fn a_step_that_kills_three_workers_is_left_to_a_person_while_its_neighbours_are_done() {
    let app = TestApp::builder().quick_leases().env("REDRESS_OUTBOUND__ALLOW", "127.0.0.1").installed().await;
    let rows = Rows::of(&app, None);
    let cases =
        vec![Case::new(Right::Deletion, "ann"), Case::new(Right::Access, "bob"), Case::new(Right::Correction, "carol")];
    let held = |toml: &str| toml.replace("\nallow =", "\npaused = true\nallow =");
    let scene = Scene::set_with(app, rows, &[Kind::Sqlite, Kind::Maildir], cases, held).await;
    let app = &scene.app;
    app.set_env("REDRESS_CRASH_AT", POISON);
    app.start().await;

    let poisoned = scene.submit(0).await;
    // Of the same lane, verb and phase, so that all these are in one batch with it: nobody the Maildir knows.
    let mut neighbours = Vec::new();
    for nth in 0..20 {
        let answer = scene.api.submit(&body("deletion", &format!("neighbour{nth}@shop.example"))).await;
        neighbours.push(id_of(&answer).to_owned());
    }
    let others = [scene.submit(1).await, scene.submit(2).await];
    app.apply(&scene.systems.toml("acme").replace("\nallow =", "\npaused = false\nallow =")).await;

    for nth in 1..=3 {
        let (_, status) = app.wait_for_death(Duration::from_secs(20)).await;
        assert_eq!(status.signal(), Some(6), "death {nth}: {status}");
        app.start_unready();
    }
    let view = scene.api.until(&poisoned, |status| status == "needs_attention", Duration::from_secs(20)).await;
    let step =
        view["steps"].as_array().expect("a list").iter().find(|step| step["system"] == "maildir").expect("it has one");
    assert_eq!(
        (&step["status"], &step["error"]["code"]),
        (&"needs_attention".into(), &"quarantined".into()),
        "{view:#}"
    );
    assert_eq!(step["attempts"], 3, "{view:#}");
    let words = step["error"]["detail"].as_str().unwrap_or_default();
    assert!(words.contains("three times") && words.contains("retry"), "{words}");
    assert!(view["attention"].as_str().is_some_and(|text| text.contains("maildir: quarantined")), "{view:#}");
    assert_eq!(scene.systems.count(Kind::Maildir, &scene.cases[0].person.email).await, 2, "nothing was deleted there");
    for id in neighbours.iter().chain(&others) {
        let view = scene.api.settled(id).await;
        assert_eq!(status_of(&view), "completed", "a neighbour of the poison: {view:#}");
    }
    assert!(app.is_running(), "a fourth worker died:\n{}", app.logs());

    // The cause is mended; a person says so.
    app.unset_env("REDRESS_CRASH_AT");
    app.restart().await;
    scene.api.act(&poisoned, "retry").await.expect(200);
    let view = scene.api.closed(&poisoned).await;
    assert_eq!(status_of(&view), "completed", "{view:#}");
    assert_eq!(scene.systems.census(&Person::new("ann").email).await, 0);
    let events = scene.api.events(&poisoned).await;
    assert_eq!(events.iter().filter(|event| event["kind"] == "step_quarantined").count(), 1, "{events:#?}");
    poll("the queue is empty", Duration::from_secs(20), || async {
        (scene.rows.number("SELECT COUNT(*) FROM steps WHERE q IS NOT NULL").await == 0).then_some(())
    })
    .await;
}
