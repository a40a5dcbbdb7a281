//! When a key was last used is known to the minute, and costs next to nothing.

use crate::lab::Lab;
use redress_domain::{ControllerId, Role};
use redress_store::Store;
use std::time::Duration;

on_both!(a_use_of_a_key_is_recorded_once_a_minute, a_key_that_does_not_hold_is_not_used);

/// The last use of the only key, once it is (or is not) this: it is recorded beside the call.
async fn used(store: &Store, controller: &ControllerId, wanted: Option<i64>) -> Option<i64> {
    let mut found = None;
    for _ in 0..200 {
        found = store.keys(controller).await.expect("read")[0].last_used_at;
        if found == wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    found
}

async fn a_use_of_a_key_is_recorded_once_a_minute(lab: Lab) {
    let controller = lab.controller("acme").await;
    let (id, text) = lab.store.create_key(&controller, Role::Auditor, "test").await.expect("made");
    assert_eq!(lab.store.keys(&controller).await.expect("read")[0].last_used_at, None);
    let first = lab.now();
    lab.store.authenticate(&text).await.expect("read").expect("it holds");
    assert_eq!(used(&lab.store, &controller, Some(first)).await, Some(first));
    // Many calls in the same minute cost one statement each, as before, whoever else writes it down.
    lab.travel(59_000);
    let before = lab.store.statements();
    for _ in 0..20 {
        lab.store.authenticate(&text).await.expect("read").expect("it holds");
    }
    assert_eq!(lab.store.statements() - before, 20);
    let another = lab.another().await;
    another.authenticate(&text).await.expect("read").expect("it holds");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(used(&lab.store, &controller, Some(first)).await, Some(first), "another process keeps to it too");
    lab.travel(1_000);
    lab.store.authenticate(&text).await.expect("read").expect("it holds");
    assert_eq!(used(&lab.store, &controller, Some(first + 60_000)).await, Some(first + 60_000));
    // A browser that signed in with the key uses it; one that is only open does not.
    let (_, session) = lab.store.begin_key_session(&id, Duration::from_hours(1)).await.expect("begun");
    lab.travel(120_000);
    lab.store.key_session_unattended(&session).await.expect("read").expect("it holds");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(used(&lab.store, &controller, Some(first + 60_000)).await, Some(first + 60_000));
    lab.store.key_session(&session).await.expect("read").expect("it holds");
    assert_eq!(used(&lab.store, &controller, Some(first + 180_000)).await, Some(first + 180_000));
}

async fn a_key_that_does_not_hold_is_not_used(lab: Lab) {
    let controller = lab.controller("acme").await;
    let (id, text) = lab.store.create_key(&controller, Role::Auditor, "test").await.expect("made");
    let forged = format!("{}x", &text[..text.len() - 1]);
    assert!(lab.store.authenticate(&forged).await.expect("read").is_none() || forged == text);
    lab.store.revoke_key(&controller, &id, "test").await.expect("revoked");
    assert!(lab.store.authenticate(&text).await.expect("read").is_none());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(lab.store.keys(&controller).await.expect("read")[0].last_used_at, None);
}
