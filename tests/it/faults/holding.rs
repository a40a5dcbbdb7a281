//! A legal hold is set or released, and the process dies over it: whoever asks again with the same key gets the same hold, nothing
//! that it reaches is touched while it is in force, and everything ends when it is released.

use super::matrix::{Manner, end_at};
use super::scene::Scene;
use crate::support::{PATIENCE, poll};
use serde_json::{Value, json};
use std::time::Duration;

const HEADERS: [(&str, &str); 2] = [("content-type", "application/json"), ("idempotency-key", "hold-1")];

/// Asks until there is an answer that is not about a database that is away.
async fn asked(scene: &Scene, path: &str, body: &Value, good: &[u16]) -> Value {
    let answer = poll(path, PATIENCE, || async {
        let answer = scene.api.try_send("POST", path, &HEADERS, body.to_string()).await?;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert!(good.contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    answer.json()
}

async fn set(scene: &Scene) -> String {
    let body = json!({
        "scope": "subject", "identifiers": [{ "type": "email", "value": scene.cases[0].person.email }],
        "basis": "litigation", "review_on": "2099-01-01",
    });
    let hold = asked(scene, "/v1/holds", &body, &[200, 201]).await;
    hold["links"]["self"].as_str().expect("a link").to_owned()
}

async fn release(scene: &Scene, hold: &str) {
    // Whoever died over it may have released it.
    asked(scene, &format!("{hold}/release"), &json!({ "reason": "the case is over" }), &[200, 409]).await;
}

/// The systems are paused when this begins, so that the hold comes before the work.
pub(super) async fn dies(scene: &Scene, at: &str, manner: Manner) {
    let app = &scene.app;
    app.start().await;
    let ids = scene.submit_all(Duration::ZERO).await;
    let email = scene.cases[0].person.email.clone();
    let before = scene.systems.census(&email).await;
    let work = async || {
        app.apply(&scene.systems.toml("acme").replace("\nallow =", "\npaused = false\nallow =")).await;
    };
    let at_release = at == "hold.after_release";
    let earlier = if at_release { Some(set(scene).await) } else { None };
    app.kill9();
    app.set_env("REDRESS_CRASH_AT", at);
    app.start().await;
    let dying = async {
        end_at(scene, at, manner).await;
        app.start().await;
    };
    if let Some(hold) = earlier {
        tokio::join!(release(scene, &hold), dying);
        work().await;
    } else {
        let (hold, ()) = tokio::join!(set(scene), dying);
        work().await;
        scene.end_of(&ids[1]).await;
        scene.api.until(&ids[0], |status| status == "on_hold", PATIENCE).await;
        assert_eq!(scene.systems.census(&email).await, before, "{at}: what is held was touched");
        release(scene, &hold).await;
    }
    scene.judge(&ids).await;
    let events = scene.api.events(&ids[0]).await;
    for kind in ["hold_began", "hold_ended"] {
        assert_eq!(events.iter().filter(|event| event["kind"] == kind).count(), 1, "{at}: {events:#?}");
    }
    assert_eq!(scene.api.read("/v1/holds").await.expect(200)["holds"].as_array().map(Vec::len), Some(1));
    assert!(app.is_running(), "{at}: it died once more\n{}", app.logs());
}
