//! Requests have missed their dates, and the process dies while it sees that or while it tells it: each notice is there once,
//! and a message that is sent again is sent by the same id.

use super::matrix::{Manner, end_at};
use super::scene::Scene;
use crate::support::poll;
use jiff::{SignedDuration, Timestamp};
use redress_testkit::Received;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Two routes that hear of everything at once.
fn routes(hooks: &str) -> String {
    ["one", "two"]
        .map(|name| {
            format!(
                "\n[[notify]]\nname = {name:?}\nrole = \"privacy_team\"\nchannel = \"webhook\"\nurl = \"{hooks}/{name}\"\nsecret = {{ value = {SECRET:?} }}\ndelivery = \"now\"\n"
            )
        })
        .concat()
}

/// The dates were missed an hour ago, and nobody looked since.
async fn miss_the_dates(scene: &Scene) {
    #[expect(clippy::disallowed_methods, reason = "the service under test lives in the machine's time")]
    let missed = Timestamp::now() - SignedDuration::from_hours(1);
    for row in scene.rows.query("SELECT id, deadlines FROM dsrs").await {
        let mut deadlines: Value = serde_json::from_str(&row[1]).expect("JSON");
        for (milestone, hours) in [("at_risk_at", 9), ("critical_at", 5), ("overdue_at", 0)] {
            let at = missed - SignedDuration::from_hours(hours);
            deadlines["milestones"][milestone] = Value::from(at.to_string());
        }
        deadlines["milestones"]["extension_decision_at"] = Value::Null;
        let (ms, text) = (missed.as_millisecond(), deadlines.to_string().replace('\'', "''"));
        let sql = format!(
            "UPDATE dsrs SET deadlines = '{text}', due_before = {ms}, watch_at = 1 WHERE id = '{}' RETURNING id",
            row[0]
        );
        scene.rows.query(&sql).await;
    }
}

/// The process dies at this point of the watch or of the telling, and another one goes on.
pub(super) async fn dies(scene: &Scene, at: &str, manner: Manner) {
    let app = &scene.app;
    let hooks = scene.receiver.url_of("/notices");
    let held = scene.systems.toml("acme").replace("\nallow =", "\npaused = true\nallow =");
    app.apply(&(held + &routes(&hooks))).await;
    app.start().await;
    let ids = scene.submit_all(Duration::ZERO).await;
    poll("the work would begin", Duration::from_secs(20), || async {
        (scene.rows.number("SELECT COUNT(*) FROM dsrs WHERE stage = 'in_progress'").await == 4).then_some(())
    })
    .await;
    app.kill9();
    miss_the_dates(scene).await;
    app.set_env("REDRESS_CRASH_AT", at);
    app.start_unready();
    end_at(scene, at, manner).await;
    app.start().await;
    // Other things may be told meanwhile, such as that the forecast is bad.
    let carrying = "FROM messages m JOIN message_notices mn ON mn.message_id = m.id JOIN notices n ON n.id = mn.notice_id WHERE n.kind = 'overdue'";
    poll("everything is told", Duration::from_secs(30), || async {
        let sent = scene.rows.number(&format!("SELECT COUNT(*) {carrying} AND m.outcome = 'sent'")).await;
        (sent == 8).then_some(())
    })
    .await;

    let dated = "kind IN ('at_risk', 'critical', 'overdue')";
    assert_eq!(scene.rows.number(&format!("SELECT COUNT(*) FROM notices WHERE {dated}")).await, 12);
    assert_eq!(scene.rows.number(&format!("SELECT COUNT(*) FROM notices WHERE {dated} AND superseded = 0")).await, 4);
    assert_eq!(scene.rows.number(&format!("SELECT COUNT(*) {carrying}")).await, 8, "each once to each of two routes");
    for name in ["one", "two"] {
        judge(&scene.receiver.requests(), &format!("/notices/{name}"), &ids);
    }
    for id in &ids {
        let events = scene.api.events(id).await;
        assert_eq!(events.iter().filter(|event| event["kind"] == "deadline_missed").count(), 1, "{events:#?}");
    }
    // Late is not never: the work goes on.
    let running = scene.systems.toml("acme").replace("\nallow =", "\npaused = false\nallow =");
    app.apply(&(running + &routes(&hooks))).await;
    scene.judge(&ids).await;
    assert!(app.is_running(), "{at}: it died once more\n{}", app.logs());
}

/// Each request was said to be overdue in exactly one message of the route, however often that came.
fn judge(received: &[Received], path: &str, ids: &[String]) {
    let mut messages: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for request in received.iter().filter(|request| request.path == path) {
        let id = request.header("webhook-id").expect("a message has an id");
        let before = messages.insert(id, &request.body);
        assert!(before.is_none_or(|before| before == request.body), "{id} says two things");
    }
    let mut said = Vec::new();
    for body in messages.values() {
        let body: Value = serde_json::from_slice(body).expect("JSON");
        for notice in body["data"]["notices"].as_array().expect("notices") {
            if notice["kind"] == "overdue" {
                said.push(notice["request"].as_str().expect("an id").to_owned());
            }
        }
    }
    said.sort();
    let wanted: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(said.iter().collect::<Vec<_>>(), wanted.into_iter().collect::<Vec<_>>(), "{path}");
}
