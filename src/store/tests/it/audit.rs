//! The audit log is a chain of hashes that nobody can change, fork or forget.

use crate::lab::{Lab, Wish};
use redress_domain::ControllerId;
use redress_store::{AuditEvent, Store};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

on_both!(
    the_events_of_a_whole_journey_verify_by_the_documented_rule,
    an_event_that_is_changed_does_not_verify,
    the_database_itself_refuses_to_change_or_remove_an_event,
    writers_of_two_processes_never_fork_the_chain,
    each_controller_has_a_log_of_its_own,
);

/// The canonical form, written down once more from its description: members sorted by name, no white space.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&str, &Value> = members.iter().map(|(k, v)| (k.as_str(), v)).collect();
            let body: Vec<String> = sorted.iter().map(|(k, v)| format!("{}:{}", json!(k), canonical(v))).collect();
            format!("{{{}}}", body.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

pub(crate) fn hash_of(event: &impl serde::Serialize) -> String {
    let mut body = serde_json::to_value(event).expect("JSON");
    body.as_object_mut().expect("an object").remove("hash");
    let hash = digest(&SHA256, canonical(&body).as_bytes());
    hash.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// Checks a controller's whole log and gives it back.
pub(crate) async fn assert_chain(store: &Store, ctl: &ControllerId) -> Vec<AuditEvent> {
    let all = store.events_after(ctl, 0, 1_000_000).await.expect("read");
    let mut before = String::new();
    for (i, event) in all.iter().enumerate() {
        assert_eq!(event.seq, i as i64 + 1, "the numbers have no gap");
        assert_eq!(event.prev_hash, before, "event {} names the one before", event.seq);
        assert_eq!(event.hash, hash_of(event), "event {} is whole", event.seq);
        assert_eq!(event.controller_id, ctl.as_str());
        before.clone_from(&event.hash);
    }
    assert_eq!(store.audit_head(ctl).await.expect("read"), (all.len() as i64, before));
    all
}

async fn the_events_of_a_whole_journey_verify_by_the_documented_rule(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    lab.begun(&ctl, Wish::deletion().told()).await;
    lab.work_off().await;
    let kinds: Vec<String> = assert_chain(&lab.store, &ctl).await.into_iter().map(|e| e.kind).collect();
    for kind in ["controller_created", "system_connected", "received", "work_began", "step_acted", "step_verified"] {
        assert!(kinds.iter().any(|k| k == kind), "{kind} in {kinds:?}");
    }
    assert_eq!(kinds.iter().filter(|k| *k == "completed").count(), 1);
}

async fn an_event_that_is_changed_does_not_verify(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let event = &assert_chain(&lab.store, &ctl).await[1];
    let changes: [fn(&mut AuditEvent); 5] = [
        |e| e.kind = "system_gone".into(),
        |e| e.at = "2026-11-21T10:00:01Z".into(),
        |e| e.actor = "somebody".into(),
        |e| e.seq += 1,
        |e| e.data = json!({}),
    ];
    for change in changes {
        let mut changed = event.clone();
        change(&mut changed);
        assert_ne!(hash_of(&changed), event.hash, "{changed:?}");
    }
}

async fn the_database_itself_refuses_to_change_or_remove_an_event(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let mut tries = vec![
        "UPDATE events SET kind = 'nothing'",
        "UPDATE events SET data = '{}' WHERE seq = 1",
        "DELETE FROM events",
        "DELETE FROM events WHERE seq = 2",
    ];
    match lab.store.dialect() {
        redress_store::Dialect::Postgres => {
            tries.push("TRUNCATE events");
            tries.push(
                "INSERT INTO events SELECT controller_id, seq, id, at, dsr_id, 'x', actor, data, prev_hash, hash FROM events ON CONFLICT (controller_id, seq) DO UPDATE SET kind = 'x'",
            );
        }
        // SQLite runs no trigger for the row that REPLACE removes.
        redress_store::Dialect::Sqlite => {
            tries.push(
                "INSERT OR REPLACE INTO events SELECT controller_id, seq, id, at, dsr_id, 'x', actor, data, prev_hash, hash FROM events",
            );
            tries.push("REPLACE INTO events SELECT * FROM events WHERE seq = 1");
        }
    }
    for sql in tries {
        let refused = lab.sql(sql).await.expect_err(sql);
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
    assert_eq!(assert_chain(&lab.store, &ctl).await.len(), 2);
}

async fn writers_of_two_processes_never_fork_the_chain(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let stores = [lab.store.clone(), lab.another().await];
    let writers = (0..8).map(|n| {
        let (store, ctl) = (stores[n % 2].clone(), ctl.clone());
        tokio::spawn(async move {
            for i in 0..10 {
                store.record_event(&ctl, "operator", None, "noted", json!({ "n": n, "i": i })).await.expect("noted");
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("no panic");
    }
    assert_eq!(assert_chain(&lab.store, &ctl).await.len(), 2 + 80);
}

async fn each_controller_has_a_log_of_its_own(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    lab.begun(&ctl, Wish::deletion()).await;
    assert_eq!(assert_chain(&lab.store, &other).await.len(), 1);
    assert!(assert_chain(&lab.store, &ctl).await.len() > 2);
}
