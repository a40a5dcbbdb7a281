//! The audit logs are looked at through filters, page by page, and their chains are computed again.

use crate::lab::{Lab, Wish};
use jiff::SignedDuration;
use redress_domain::ControllerId;
use redress_store::{AuditEvent, EventFilter};
use serde_json::json;

on_both!(
    pages_of_one_log_and_of_all_show_each_event_once_newest_first,
    filters_let_through_what_they_say,
    a_search_that_stops_goes_on_where_it_stopped,
    a_chain_that_was_rewritten_is_found,
    what_was_told_last_is_known,
);

/// Every page of a filter.
async fn all(lab: &Lab, filter: EventFilter) -> Vec<AuditEvent> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = lab.store.recent_events(&EventFilter { before, ..filter.clone() }).await.expect("read");
        found.extend(page.events);
        match page.next {
            Some(next) => before = Some(next),
            None => return found,
        }
    }
}

async fn note(lab: &Lab, ctl: &ControllerId, kind: &'static str, actor: &str) {
    lab.store.record_event(ctl, actor, None, kind, json!({})).await.expect("noted");
}

async fn pages_of_one_log_and_of_all_show_each_event_once_newest_first(lab: Lab) {
    let (one, two) = (lab.controller("one").await, lab.controller("two").await);
    for n in 0..12 {
        note(&lab, if n % 3 == 0 { &two } else { &one }, "noted", "key_x").await;
        lab.clock.advance(SignedDuration::from_secs(1));
    }
    let filter = |controllers| EventFilter { controllers, limit: 5, ..EventFilter::default() };
    let of_one: Vec<i64> = all(&lab, filter(Some(vec![one.clone()]))).await.iter().map(|event| event.seq).collect();
    assert_eq!(of_one, (1..=9).rev().collect::<Vec<_>>());
    for scope in [None, Some(vec![one.clone(), two.clone()])] {
        let events = all(&lab, filter(scope)).await;
        assert_eq!(events.len(), 14);
        assert!(events.is_sorted_by(|a, b| a.id > b.id));
    }
    assert!(all(&lab, filter(Some(vec![]))).await.is_empty());
    let heads = lab.store.audit_heads(None).await.expect("read");
    assert_eq!(heads.iter().map(|head| head.events).sum::<i64>(), 14);
    assert_eq!(lab.store.audit_heads(Some(&[two])).await.expect("read")[0].events, 5);
}

async fn filters_let_through_what_they_say(lab: Lab) {
    let (one, two) = (lab.with_systems(&["crm"]).await, lab.controller("two").await);
    let dsr = lab.begun(&one, Wish::deletion()).await;
    note(&lab, &two, "task_seen", "usr_a").await;
    lab.clock.advance(SignedDuration::from_hours(24));
    let morning = lab.now();
    note(&lab, &one, "package_fetched", "usr_b").await;
    note(&lab, &one, "noted", "usr_b").await;
    lab.clock.advance(SignedDuration::from_hours(1));
    for scope in [None, Some(vec![one.clone()]), Some(vec![one.clone(), two.clone()])] {
        let base = EventFilter { controllers: scope.clone(), limit: 50, ..EventFilter::default() };
        let kinds =
            |filter: EventFilter| async { all(&lab, filter).await.into_iter().map(|e| e.kind).collect::<Vec<_>>() };
        let seen = kinds(EventFilter { seen: true, ..base.clone() }).await;
        let wanted: &[&str] = if scope.as_ref().is_some_and(|s| s.len() == 1) {
            &["package_fetched"]
        } else {
            &["package_fetched", "task_seen"]
        };
        assert_eq!(seen, wanted);
        let kind = EventFilter { kind: Some("noted".into()), ..base.clone() };
        assert_eq!(kinds(kind).await, ["noted"]);
        let actor = EventFilter { actor: Some("usr_b".into()), ..base.clone() };
        assert_eq!(kinds(actor).await.len(), 2);
        let since = EventFilter { from: Some(morning), ..base.clone() };
        assert_eq!(kinds(since).await.len(), 2);
        let until = EventFilter { to: Some(morning), ..base.clone() };
        assert!(!kinds(until.clone()).await.iter().any(|kind| kind == "noted"));
        assert!(kinds(EventFilter { from: Some(lab.now()), ..base.clone() }).await.is_empty());
        let of_request = all(&lab, EventFilter { dsr_id: Some(dsr.clone()), ..base.clone() }).await;
        assert!(!of_request.is_empty() && of_request.iter().all(|event| event.dsr_id.as_deref() == Some(dsr.as_str())));
    }
}

async fn a_search_that_stops_goes_on_where_it_stopped(lab: Lab) {
    let ctl = lab.controller("one").await;
    note(&lab, &ctl, "rare", "key_x").await;
    // Rows of the log's form, faster than one by one; their hashes are nobody's business here.
    let many = match lab.store.dialect() {
        redress_store::Dialect::Postgres => {
            "INSERT INTO events SELECT e.controller_id, n + 2, 'evt_7' || lpad(n::text, 25, '0'), e.at, NULL, 'common', 'x', '{}', '', '' FROM events e, generate_series(1, 60000) n WHERE e.seq = 1; UPDATE controllers SET event_seq = 60002"
        }
        redress_store::Dialect::Sqlite => {
            "INSERT INTO events WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 60000) SELECT e.controller_id, n + 2, 'evt_7' || printf('%025d', n), e.at, NULL, 'common', 'x', '{}', '', '' FROM events e, s WHERE e.seq = 1; UPDATE controllers SET event_seq = 60002"
        }
    };
    lab.sql(many).await.expect("inserted");
    for controllers in [None, Some(vec![ctl.clone()])] {
        let filter = EventFilter { controllers, kind: Some("rare".into()), limit: 10, ..EventFilter::default() };
        let first = lab.store.recent_events(&filter).await.expect("read");
        assert!(first.stopped && first.events.is_empty() && first.next.is_some(), "{first:?}");
        let second =
            lab.store.recent_events(&EventFilter { before: first.next, ..filter.clone() }).await.expect("read");
        assert_eq!((second.events.len(), second.next, second.stopped), (1, None, false));
    }
}

async fn a_chain_that_was_rewritten_is_found(lab: Lab) {
    let ctl = lab.controller("one").await;
    for _ in 0..30 {
        note(&lab, &ctl, "noted", "key_x").await;
    }
    for most in [1, 2, 10, 30, 31, 32, 10_000] {
        let whole = lab.store.check_chain(&ctl, most).await.expect("read");
        assert_eq!((whole.broken_at, whole.checked), (None, most.min(31)), "{most}");
    }
    let off = match lab.store.dialect() {
        redress_store::Dialect::Postgres => "ALTER TABLE events DISABLE TRIGGER USER",
        redress_store::Dialect::Sqlite => "DROP TRIGGER events_no_update; DROP TRIGGER events_no_delete",
    };
    lab.sql(off).await.expect("an intruder with all rights");
    lab.sql("UPDATE events SET actor = 'nobody' WHERE seq = 20").await.expect("changed");
    assert_eq!(lab.store.check_chain(&ctl, 10_000).await.expect("read").broken_at, Some(20));
    assert_eq!(lab.store.check_chain(&ctl, 5).await.expect("read").broken_at, None, "it was not looked at");
    lab.sql("DELETE FROM events WHERE seq = 31").await.expect("cut off");
    assert_eq!(lab.store.check_chain(&ctl, 3).await.expect("read").broken_at, Some(31));
}

async fn what_was_told_last_is_known(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let told = || async { lab.store.told_controllers(None, 10).await.expect("read") };
    assert_eq!((told().await.len(), told().await[0].state.clone()), (1, None));
    lab.begun(&ctl, Wish::deletion().told()).await;
    lab.work_off().await;
    assert_eq!(told().await[0].state.as_deref(), Some("done"));
    assert!(lab.store.told_controllers(Some(&[]), 10).await.expect("read").is_empty());
    assert!(lab.store.told_routes().await.expect("read").is_empty());
}
