//! The staff log is one chain that nobody can change, fork or forget.

use crate::audit::hash_of;
use crate::lab::Lab;
use redress_store::{StaffEvent, Store};
use serde_json::json;

on_both!(
    the_staff_log_is_a_chain_by_the_documented_rule,
    the_database_itself_refuses_to_change_the_staff_log,
    writers_of_two_processes_never_fork_the_staff_log,
);

/// Checks the whole staff log and gives it back.
pub(crate) async fn assert_staff_chain(store: &Store) -> Vec<StaffEvent> {
    let all = store.staff_events(0, 1_000_000).await.expect("read");
    let mut before = String::new();
    for (i, event) in all.iter().enumerate() {
        assert_eq!(event.seq, i as i64 + 1, "the numbers have no gap");
        assert_eq!(event.prev_hash, before, "event {} names the one before", event.seq);
        assert_eq!(event.hash, hash_of(event), "event {} is whole", event.seq);
        before.clone_from(&event.hash);
    }
    all
}

async fn the_staff_log_is_a_chain_by_the_documented_rule(lab: Lab) {
    for n in 0..3 {
        let data = json!({ "z": n, "a": ["x", { "c": 1, "b": "\u{1f600} \"quoted\"\n" }] });
        lab.store.record_staff_event("usr_test", "noted", data).await.expect("noted");
    }
    let all = assert_staff_chain(&lab.store).await;
    assert_eq!(all.len(), 3);
    assert_eq!((all[1].at.as_str(), &all[1].data["z"]), ("2026-11-21T10:00:00Z", &json!(1)));
    assert_eq!(lab.store.staff_events(1, 1).await.expect("read"), all[1..2]);
    let newest: Vec<i64> =
        lab.store.staff_events_before(3, 10).await.expect("read").iter().map(|event| event.seq).collect();
    assert_eq!(newest, [2, 1]);
    let changes: [fn(&mut StaffEvent); 3] = [|e| e.actor = "x".into(), |e| e.data = json!({}), |e| e.seq = 9];
    for change in changes {
        let mut changed = all[0].clone();
        change(&mut changed);
        assert_ne!(hash_of(&changed), changed.hash);
    }
}

async fn the_database_itself_refuses_to_change_the_staff_log(lab: Lab) {
    for _ in 0..2 {
        lab.store.record_staff_event("usr_test", "noted", json!({})).await.expect("noted");
    }
    let mut tries = vec!["UPDATE staff_events SET kind = 'x'", "DELETE FROM staff_events WHERE seq = 2"];
    tries.push(match lab.store.dialect() {
        redress_store::Dialect::Postgres => "TRUNCATE staff_events",
        redress_store::Dialect::Sqlite => "REPLACE INTO staff_events SELECT * FROM staff_events WHERE seq = 1",
    });
    for sql in tries {
        let refused = lab.sql(sql).await.expect_err(sql);
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
    assert_eq!(assert_staff_chain(&lab.store).await.len(), 2);
}

async fn writers_of_two_processes_never_fork_the_staff_log(lab: Lab) {
    let stores = [lab.store.clone(), lab.another().await];
    let writers = (0..6).map(|n| {
        let store = stores[n % 2].clone();
        tokio::spawn(async move {
            for i in 0..8 {
                store.record_staff_event("usr_test", "noted", json!({ "n": n, "i": i })).await.expect("noted");
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("no panic");
    }
    assert_eq!(assert_staff_chain(&lab.store).await.len(), 48);
}
