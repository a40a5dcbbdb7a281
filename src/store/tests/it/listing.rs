//! Pages of requests: complete, in order, both ways, and of one's own controllers only.

use crate::lab::{Lab, Wish};
use redress_domain::deadline::Band;
use redress_domain::plan::FanOut;
use redress_domain::{ControllerId, DsrId, RequestType};
use redress_store::{Decision, DsrColumn, DsrFilter, DsrPlace, DsrSort, Error};
use serde_json::json;

type Naive<'a> = Box<dyn Fn(&redress_store::DsrRow) -> bool + 'a>;

on_both!(
    pages_hold_every_request_once_in_every_order_both_ways,
    a_filter_shows_what_a_naive_look_finds,
    rare_rows_are_found_behind_many_others,
    a_scope_is_never_left,
    a_request_is_found_by_its_reference_or_the_start_of_its_id_until_it_is_purged,
    views_are_kept_by_owner_and_name,
    whoever_reveals_is_recorded_first_and_nothing_is_revealed_after_the_purge,
    events_are_read_from_the_end,
);

const DAY: i64 = 86_400_000;
const ALL: DsrFilter = DsrFilter {
    status: None,
    kind: None,
    regulation: None,
    system: None,
    due_before: None,
    due_after: None,
    due_by: None,
    received_before: None,
    received_after: None,
    band: None,
    paused: None,
    open: false,
    ended: false,
    late: None,
    ids: None,
    before: None,
    limit: 0,
};

fn sort(column: DsrColumn, descending: bool) -> DsrSort {
    DsrSort { column, descending }
}

/// Several requests with shared due dates, of two types, some ended.
async fn some(lab: &Lab, controller: &ControllerId, count: i64) -> Vec<DsrId> {
    let mut ids = Vec::new();
    for n in 0..count {
        lab.travel(1);
        let wish = if n % 3 == 0 { Wish::access() } else { Wish::deletion() };
        let id = lab.submit(controller, wish.due(lab.now() / DAY * DAY + (n % 4 + 1) * DAY)).await;
        if n % 5 == 4 {
            lab.store.decide(controller, &id, Decision::Withdraw, "test").await.expect("withdrawn");
        }
        ids.push(id);
    }
    ids
}

/// Every id, page by page; backwards pages are read from the end.
async fn paged(
    lab: &Lab,
    scope: Option<&[ControllerId]>,
    filter: &DsrFilter,
    by: DsrSort,
    backwards: bool,
    limit: i64,
) -> Vec<DsrId> {
    let (mut all, mut from): (Vec<DsrId>, Option<DsrPlace>) = (Vec::new(), None);
    loop {
        let page = lab.store.list_dsrs(scope, filter, by, from, backwards, limit).await.expect("listed");
        assert!(page.rows.len() as i64 <= limit);
        let ids: Vec<DsrId> = page.rows.iter().map(|row| row.id.clone()).collect();
        all = if backwards { ids.into_iter().chain(all).collect() } else { all.into_iter().chain(ids).collect() };
        from = page.next;
        if from.is_none() {
            return all;
        }
    }
}

async fn pages_hold_every_request_once_in_every_order_both_ways(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let ids = some(&lab, &ctl, 23).await;
    for column in [DsrColumn::Due, DsrColumn::Received, DsrColumn::Ended] {
        for descending in [false, true] {
            let mut rows = Vec::new();
            for id in &ids {
                rows.push(lab.detail(&ctl, id).await.row);
            }
            rows.retain(|row| match column {
                DsrColumn::Ended => row.closed_at.is_some(),
                DsrColumn::Due => row.closed_at.is_none(),
                _ => true,
            });
            rows.sort_by_key(|row| {
                let place = column.place(row);
                (place.at, place.id)
            });
            if descending {
                rows.reverse();
            }
            let wanted: Vec<DsrId> = rows.into_iter().map(|row| row.id).collect();
            assert!(wanted.len() >= 4);
            for (limit, backwards) in [(1, false), (4, false), (4, true), (50, false)] {
                let by = sort(column, descending);
                let found = paged(&lab, Some(std::slice::from_ref(&ctl)), &ALL, by, backwards, limit).await;
                assert_eq!(found, wanted, "{column:?} {descending} {limit} {backwards}");
                assert_eq!(paged(&lab, None, &ALL, by, backwards, limit).await, wanted);
            }
        }
    }
    let count = lab.store.count_dsrs(None, &ALL, DsrColumn::Received).await.expect("counted");
    assert_eq!((count.count, count.or_more), (23, false));
}

async fn a_filter_shows_what_a_naive_look_finds(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let ids = some(&lab, &ctl, 12).await;
    let paused = ids[1].clone();
    lab.sql(&format!("UPDATE dsrs SET clock_state = 'paused' WHERE id = '{paused}'")).await.expect("set");
    lab.sql(&format!("UPDATE dsrs SET band = 'critical', forecast_late = 1 WHERE id = '{}'", ids[2]))
        .await
        .expect("set");
    lab.sql(&format!("UPDATE dsrs SET regulation = 'US-CA-CCPA', status = 'needs_attention', attention = 'crm: unreachable' WHERE id = '{}'", ids[3]))
        .await
        .expect("set");
    lab.sql(&format!("UPDATE dsrs SET due_before = {} WHERE id = '{}'", lab.now(), ids[5])).await.expect("set");
    let mut rows = Vec::new();
    for id in &ids {
        rows.push(lab.detail(&ctl, id).await.row);
    }
    let band = |id: &DsrId| if *id == ids[2] { "critical" } else { "on_track" };
    let now = lab.now();
    let cases: Vec<(DsrFilter, Naive<'_>)> = vec![
        (DsrFilter { open: true, ..ALL }, Box::new(|row| row.closed_at.is_none())),
        (
            DsrFilter { open: true, status: Some("in_progress".into()), ..ALL },
            Box::new(|row| row.closed_at.is_none() && row.status == "in_progress"),
        ),
        (DsrFilter { ended: true, ..ALL }, Box::new(|row| row.closed_at.is_some())),
        (DsrFilter { kind: Some(RequestType::Access), ..ALL }, Box::new(|row| row.kind == RequestType::Access)),
        (DsrFilter { status: Some("withdrawn".into()), ..ALL }, Box::new(|row| row.status == "withdrawn")),
        (DsrFilter { status: Some("needs_attention".into()), ..ALL }, Box::new(|row| row.id == ids[3])),
        (DsrFilter { regulation: Some("US-CA-CCPA".into()), ..ALL }, Box::new(|row| row.id == ids[3])),
        (DsrFilter { paused: Some(true), ..ALL }, Box::new(|row| row.id == paused && row.closed_at.is_none())),
        (DsrFilter { paused: Some(false), ..ALL }, Box::new(|row| row.id != paused || row.closed_at.is_some())),
        (DsrFilter { late: Some(true), ..ALL }, Box::new(|row| row.id == ids[2])),
        (DsrFilter { late: Some(false), ..ALL }, Box::new(|row| row.id != ids[2])),
        (DsrFilter { band: Some(Band::Critical), ..ALL }, Box::new(|row| band(&row.id) == "critical")),
        (DsrFilter { band: Some(Band::Overdue), ..ALL }, Box::new(move |row| row.due_before <= now)),
        (DsrFilter { system: Some("crm".into()), ..ALL }, Box::new(|_| true)),
        (DsrFilter { system: Some("erp".into()), ..ALL }, Box::new(|_| false)),
        (
            DsrFilter { due_by: Some(vec![(now + 2 * DAY, vec![ctl.clone()])]), ..ALL },
            Box::new(move |row| row.due_before <= now + 2 * DAY),
        ),
        (DsrFilter { due_by: Some(Vec::new()), ..ALL }, Box::new(|_| false)),
        (
            DsrFilter { received_after: Some(rows[4].instruction_received_at), ..ALL },
            Box::new(|row| row.instruction_received_at >= rows[4].instruction_received_at),
        ),
        (
            DsrFilter { received_before: Some(rows[4].instruction_received_at), ..ALL },
            Box::new(|row| row.instruction_received_at < rows[4].instruction_received_at),
        ),
        (
            DsrFilter { ids: Some(vec![ids[7].clone(), ids[0].clone()]), ..ALL },
            Box::new(|row| row.id == ids[7] || row.id == ids[0]),
        ),
        (
            DsrFilter { open: true, late: Some(true), kind: Some(RequestType::Deletion), due_after: Some(now), ..ALL },
            Box::new(|row| row.id == ids[2]),
        ),
    ];
    for (n, (filter, naive)) in cases.iter().enumerate() {
        let mut wanted: Vec<DsrId> = rows.iter().filter(|row| naive(row)).map(|row| row.id.clone()).collect();
        wanted.sort();
        let by_due = filter.open || filter.ids.is_some();
        for by in
            [sort(DsrColumn::Received, by_due), sort(DsrColumn::Due, true)].into_iter().take(1 + usize::from(by_due))
        {
            let mut found = paged(&lab, Some(std::slice::from_ref(&ctl)), filter, by, false, 5).await;
            found.sort();
            assert_eq!(found, wanted, "case {n} by {by:?}");
        }
        let count = lab.store.count_dsrs(None, filter, DsrColumn::Received).await.expect("counted");
        assert_eq!((count.count, count.or_more), (wanted.len() as i64, false), "case {n}");
    }
}

async fn rare_rows_are_found_behind_many_others(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let rare = lab.submit(&ctl, Wish::access().due(lab.now() + 300 * DAY)).await;
    let plain = lab.submit(&ctl, Wish::deletion().due(lab.now() + DAY)).await;
    // 4,000 like the plain one, each due a little later.
    let columns = lab
        .query(match lab.store.dialect() {
            redress_store::Dialect::Sqlite => "SELECT name FROM pragma_table_info('dsrs')",
            redress_store::Dialect::Postgres => {
                "SELECT CAST(column_name AS TEXT) FROM information_schema.columns WHERE table_name = 'dsrs'"
            }
        })
        .await;
    let copied: Vec<String> = columns
        .iter()
        .map(|column| match column.as_str() {
            "id" => "SUBSTR(d.id, 1, 26) || CAST(1000 + n.n AS TEXT)".to_owned(),
            "due_before" => "d.due_before + n.n / 10".to_owned(),
            "wake_at" | "watch_at" => "NULL".to_owned(),
            other => format!("d.{other}"),
        })
        .collect();
    lab.sql(&format!(
        "INSERT INTO dsrs ({}) WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 4000) SELECT {} FROM dsrs d CROSS JOIN n WHERE d.id = '{plain}'",
        columns.join(", "),
        copied.join(", ")
    ))
    .await
    .expect("copied");
    let filter = DsrFilter { kind: Some(RequestType::Access), open: true, ..ALL };
    let by = sort(DsrColumn::Due, false);
    let page = lab.store.list_dsrs(None, &filter, by, None, false, 10).await.expect("listed");
    assert_eq!(page.rows.iter().map(|row| &row.id).collect::<Vec<_>>(), [&rare]);
    assert_eq!(page.next, None);
    let count = lab.store.count_dsrs(None, &DsrFilter { open: true, ..ALL }, DsrColumn::Due).await.expect("counted");
    assert_eq!((count.count, count.or_more), (1_000, true));
    let many = DsrFilter { kind: Some(RequestType::Deletion), ..ALL };
    let count = lab.store.count_dsrs(Some(&[ctl]), &many, DsrColumn::Due).await.expect("counted");
    assert_eq!((count.count, count.or_more), (1_000, true));
}

async fn a_scope_is_never_left(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let (other, third) = (lab.controller("other").await, lab.controller("third").await);
    let ours = lab.submit(&ctl, Wish::access()).await;
    let theirs = lab.submit(&other, Wish::access()).await;
    let thirds = lab.submit(&third, Wish::access()).await;
    let by = sort(DsrColumn::Due, false);
    let list = async |scope: &[ControllerId]| {
        let mut ids = paged(&lab, Some(scope), &ALL, by, false, 10).await;
        ids.sort();
        let count = lab.store.count_dsrs(Some(scope), &ALL, DsrColumn::Due).await.expect("counted");
        assert_eq!(count.count, ids.len() as i64);
        ids
    };
    assert_eq!(list(std::slice::from_ref(&ctl)).await, std::slice::from_ref(&ours));
    let mut both = [ours.clone(), thirds.clone()];
    both.sort();
    assert_eq!(list(&[ctl.clone(), third.clone()]).await, both);
    assert!(list(&[]).await.is_empty());
    let start = &theirs.as_str()[..8];
    assert_eq!(lab.store.ids_like(Some(std::slice::from_ref(&ctl)), start, 10).await.expect("read"), [ours]);
    assert!(
        lab.store.ids_called(std::slice::from_ref(&other), "TICKET-canary", 10).await.expect("read").contains(&theirs)
    );
    assert_eq!(lab.store.ids_called(&[third], "TICKET-canary", 10).await.expect("read"), [thirds]);
    assert!(lab.store.ids_called(&[], "TICKET-canary", 10).await.expect("read").is_empty());
}

async fn a_request_is_found_by_its_reference_or_the_start_of_its_id_until_it_is_purged(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let called = async |text: &str| lab.store.ids_called(std::slice::from_ref(&ctl), text, 10).await.expect("read");
    assert_eq!(called(" TICKET-canary ").await, std::slice::from_ref(&id));
    for other in ["TICKET-canar", "ticket-canary", "TICKET-canary2", ""] {
        assert!(called(other).await.is_empty(), "{other}");
    }
    // Two controllers that call a request the same have nothing in common.
    let other = lab.controller("other").await;
    lab.submit(&other, Wish::deletion()).await;
    let hashes = lab.query("SELECT reference_hash FROM dsrs").await;
    assert!(hashes.len() == 2 && hashes[0] != hashes[1] && hashes[0].len() == 64, "{hashes:?}");
    let like = async |text: &str| lab.store.ids_like(None, text, 10).await.expect("read");
    assert_eq!(like(&id.as_str()[..28]).await, std::slice::from_ref(&id));
    assert_eq!(like(id.as_str()).await, std::slice::from_ref(&id));
    assert!(like("dsr_zzzz").await.is_empty());
    lab.work_off().await;
    lab.travel(DAY * 40);
    assert_eq!(lab.store.purge_due(10).await.expect("purged"), 1);
    assert!(called("TICKET-canary").await.is_empty());
    assert_eq!(lab.query(&format!("SELECT reference_hash FROM dsrs WHERE id = '{id}'")).await, ["NULL"]);
}

async fn views_are_kept_by_owner_and_name(lab: Lab) {
    let store = &lab.store;
    store.save_view("usr_a", "Late", "late=true").await.expect("saved");
    store.save_view("usr_a", "Late", "late=true&type=access").await.expect("replaced");
    store.save_view("usr_b", "Late", "open=false").await.expect("saved");
    let views = store.views("usr_a").await.expect("read");
    assert_eq!(views.iter().map(|v| (&*v.name, &*v.query)).collect::<Vec<_>>(), [("Late", "late=true&type=access")]);
    assert!(matches!(store.remove_view("usr_a", "late").await, Err(Error::NotFound)));
    store.remove_view("usr_a", "Late").await.expect("removed");
    assert!(store.views("usr_a").await.expect("read").is_empty());
    assert_eq!(store.views("usr_b").await.expect("read").len(), 1);
    for n in 0..redress_store::VIEWS_MAX {
        store.save_view("usr_a", &format!("view {n}"), "open=true").await.expect("saved");
    }
    assert!(matches!(store.save_view("usr_a", "one more", "open=true").await, Err(Error::Conflict(_))));
    store.save_view("usr_a", "view 0", "late=true").await.expect("one that is there can change");
}

async fn whoever_reveals_is_recorded_first_and_nothing_is_revealed_after_the_purge(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let other = lab.controller("other").await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    let store = &lab.store;
    let masked = store.masked(&ctl, &id).await.expect("read").expect("there");
    let shown: Vec<&str> = masked.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(shown, ["C•••", "c•••@e•••.com", "•••78"]);
    assert!(matches!(store.reveal(&other, &id, "key_x", "identity_check", json!({})).await, Err(Error::NotFound)));
    let who = store.reveal(&ctl, &id, "usr_a", "identity_check", json!({})).await.expect("revealed");
    assert_eq!(who.identifiers[1].1.expose(), "canary.jane@example.com");
    assert_eq!(who.reference.expect("given").expose(), "TICKET-canary");
    store.reveal(&ctl, &id, "usr_b", "Jane called and asked", json!({})).await.expect("revealed");
    let events = store.events_of_kinds(&ctl, &id, &["personal_revealed"], 10).await.expect("read");
    let told: Vec<_> = events.iter().map(|e| (&*e.actor, e.data["reason"].as_str().unwrap())).collect();
    assert_eq!(told, [("usr_a", "identity_check"), ("usr_b", "given")]);
    let notes = store.clock_notes(&ctl, &id).await.expect("read");
    assert_eq!(
        notes.iter().map(|n| (&*n.action, &*n.reason)).collect::<Vec<_>>(),
        [("revealed", "Jane called and asked")]
    );
    lab.work_off().await;
    lab.travel(DAY * 40);
    store.purge_due(10).await.expect("purged");
    assert!(matches!(store.reveal(&ctl, &id, "usr_a", "identity_check", json!({})).await, Err(Error::Purged)));
    assert!(store.masked(&ctl, &id).await.expect("read").is_none());
    assert_eq!(store.events_of_kinds(&ctl, &id, &["personal_revealed"], 10).await.expect("read").len(), 2);
}

async fn events_are_read_from_the_end(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.begun(&ctl, Wish::deletion()).await;
    lab.work_off().await;
    let all = lab.store.events_of(&ctl, &id).await.expect("read");
    assert!(all.len() > 5);
    let seqs = |events: &[redress_store::AuditEvent]| events.iter().map(|e| e.seq).collect::<Vec<_>>();
    let last = lab.store.latest_events_of(&ctl, &id, None, 3).await.expect("read");
    assert_eq!(seqs(&last), seqs(&all[all.len() - 3..]));
    let before = lab.store.latest_events_of(&ctl, &id, Some(last[0].seq), 2).await.expect("read");
    assert_eq!(seqs(&before), seqs(&all[all.len() - 5..all.len() - 3]));
    let other = lab.controller("other").await;
    assert!(lab.store.latest_events_of(&other, &id, None, 3).await.expect("read").is_empty());
    assert!(lab.store.decide(&ctl, &id, Decision::Retry(FanOut::default()), "x").await.is_err());
}
