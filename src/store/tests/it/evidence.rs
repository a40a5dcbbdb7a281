//! What evidence and the pages of systems are read from: parts of a log by time, what ended in a period, and how each system does.

use crate::lab::{Lab, Wish, attention};
use jiff::Timestamp;
use redress_domain::DsrId;
use redress_store::{Decision, EndedDsr};

on_both!(
    the_first_event_of_a_time_is_found_by_halves,
    what_ended_in_a_period_is_read_page_by_page_without_gap_or_repetition,
    rule_books_are_read_by_their_digests,
    the_health_of_a_system_counts_its_own_work_only,
    what_was_bought_of_an_allowance_is_told_for_its_window,
);

const HOUR: i64 = 3_600_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("an instant")
}

async fn the_first_event_of_a_time_is_found_by_halves(lab: Lab) {
    let acme = lab.with_systems(&["crm"]).await;
    let begun = lab.now();
    for _ in 0..7 {
        lab.submit(&acme, Wish::deletion()).await;
        lab.travel(HOUR);
    }
    let all = lab.store.events_after(&acme, 0, 1_000).await.expect("read");
    for moment in (-1..9).flat_map(|n| [begun + n * HOUR - 1, begun + n * HOUR, begun + n * HOUR + 1]) {
        let naive = all
            .iter()
            .find(|event| event.at.parse::<Timestamp>().expect("an instant") >= at(moment))
            .map_or(all.len() as i64 + 1, |event| event.seq);
        assert_eq!(lab.store.first_event_at(&acme, at(moment)).await.expect("found"), naive, "{moment}");
    }
    let other = lab.controller("other").await;
    assert_eq!(lab.store.first_event_at(&other, at(0)).await.expect("found"), 1);
}

async fn what_ended_in_a_period_is_read_page_by_page_without_gap_or_repetition(lab: Lab) {
    let acme = lab.with_systems(&["crm"]).await;
    let from = lab.now();
    let mut ids = Vec::new();
    for n in 0..6 {
        let id = lab.begun(&acme, Wish::deletion()).await;
        // Two at a time end at the same instant.
        lab.store.decide(&acme, &id, Decision::Withdraw, "key_x").await.expect("withdrawn");
        ids.push(id);
        lab.travel(if n % 2 == 1 { HOUR } else { 0 });
    }
    lab.begun(&acme, Wish::deletion()).await;
    let read = |from: i64, to: i64, limit: i64| {
        let (lab, acme) = (&lab, &acme);
        async move {
            let (mut found, mut last): (Vec<DsrId>, Option<EndedDsr>) = (Vec::new(), None);
            loop {
                let page = lab.store.ended_in(acme, (from, to), last.as_ref(), limit).await.expect("read");
                assert!(page.len() as i64 <= limit);
                let Some(end) = page.last().cloned() else { return found };
                found.extend(page.into_iter().map(|ended| ended.id));
                last = Some(end);
            }
        }
    };
    let mut wanted = ids.clone();
    wanted.sort();
    for limit in [1, 2, 4, 100] {
        let mut found = read(from, lab.now() + 1, limit).await;
        found.sort();
        assert_eq!(found, wanted, "{limit}");
    }
    assert_eq!(read(from + HOUR, from + 2 * HOUR, 1).await.len(), 2, "from is inside, to is outside");
    assert_eq!(read(0, from, 10).await.len(), 0);
    let other = lab.controller("other").await;
    assert!(lab.store.ended_in(&other, (0, i64::MAX / 2), None, 10).await.expect("read").is_empty());
    // What ended with a certificate brings it.
    let done = lab.begun(&acme, Wish::deletion()).await;
    lab.work_off().await;
    let all = lab.store.ended_in(&acme, (from, lab.now() + 1), None, 100).await.expect("read");
    let ended = all.iter().find(|ended| ended.id == done).expect("there");
    assert!(ended.certificate.is_some() && all.iter().filter(|ended| ended.certificate.is_none()).count() == 6);
}

async fn rule_books_are_read_by_their_digests(lab: Lab) {
    let acme = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&acme, Wish::deletion()).await;
    let clock = lab.detail(&acme, &id).await.row.clock.expect("a clock");
    let wanted = clock.books.regulations.clone();
    let books = lab.store.rule_books(vec![wanted.clone(), "nothing".into()]).await.expect("read");
    assert_eq!((books.len(), &books[0].digest), (1, &wanted));
    assert!(books[0].body.contains("EU-GDPR"));
    assert!(lab.store.rule_books(Vec::new()).await.expect("read").is_empty());
}

async fn the_health_of_a_system_counts_its_own_work_only(lab: Lab) {
    let acme = lab.with_systems(&["crm", "mail"]).await;
    let other = lab.controller("other").await;
    lab.system(&other, "crm").await;
    let first = lab.begun(&acme, Wish::deletion()).await;
    lab.travel(HOUR);
    lab.begun(&acme, Wish::deletion()).await;
    lab.begun(&other, Wish::deletion()).await;
    let crm = lab.store.system_by_name(&acme, "crm").await.expect("read").expect("there");
    let mail = lab.store.system_by_name(&acme, "mail").await.expect("read").expect("there");
    // The first one in crm needs a person; in mail everything is done.
    let mut stuck = false;
    loop {
        let leases = lab.claim().await;
        if leases.is_empty() {
            break;
        }
        for lease in leases {
            if lease.system_id.as_ref() == Some(&crm.id) && lease.dsr_id == first {
                lab.finish(&lease, attention()).await;
                stuck = true;
            } else if lease.system_id.as_ref() == Some(&mail.id) {
                lab.obey(&lease).await;
            }
        }
    }
    assert!(stuck);
    let all = lab.store.system_health(None, None).await.expect("read");
    let names: Vec<_> = all.iter().map(|health| (health.controller.as_str(), health.system.name.as_str())).collect();
    assert_eq!(names, [("acme", "crm"), ("acme", "mail"), ("other", "crm")]);
    let of_crm = &all[0];
    assert_eq!((of_crm.stuck, of_crm.oldest_stuck.as_ref().map(|(id, _)| id)), (1, Some(&first)));
    assert!(of_crm.oldest_stuck.as_ref().is_some_and(|(_, since)| *since == lab.now() - HOUR));
    assert_eq!((all[1].stuck, all[1].ready, all[1].waiting), (0, 0, 0));
    assert!(all[1].pace.day_done >= 2 && all[1].pace.week_done == all[1].pace.day_done, "{:?}", all[1].pace);
    assert_eq!((all[1].pace.done_at, all[1].pace.failing_since), (Some(lab.now()), None));
    assert_eq!(all[2].pace.day_done, 0);
    let own = lab.store.system_health(Some(std::slice::from_ref(&acme)), Some("mail")).await.expect("read");
    assert_eq!((own.len(), &own[0].system.id), (1, &mail.id));
    assert!(lab.store.system_health(Some(&[]), None).await.expect("read").is_empty());
    // A day later that was not today's work, a week later it is forgotten.
    lab.travel(30 * HOUR);
    let later = lab.store.system_health(Some(std::slice::from_ref(&acme)), Some("mail")).await.expect("read");
    assert!(later[0].pace.day_done == 0 && later[0].pace.week_done >= 2);
    lab.store.pause_system(&acme, "crm", true, "usr_ann").await.expect("paused");
    let paused = &lab.store.system_health(None, Some("crm")).await.expect("read")[0];
    assert_eq!(paused.paused_since, Some((lab.now(), Some("usr_ann".to_owned()))));
    lab.store.pause_system(&acme, "crm", false, "usr_ann").await.expect("resumed");
    assert_eq!(lab.store.system_health(None, Some("crm")).await.expect("read")[0].paused_since, None);
}

async fn what_was_bought_of_an_allowance_is_told_for_its_window(lab: Lab) {
    const DAY: i64 = 24 * HOUR;
    assert_eq!(lab.store.buy_budget("acc_x", DAY, 1_000, 30, 100).await.expect("bought"), 30);
    lab.store.note_use("acc_x", 1_000).await.expect("noted");
    let spent = |since| {
        let lab = &lab;
        async move { lab.store.budgets_spent(&["acc_x".to_owned()], since).await.expect("read") }
    };
    let told = &spent(1_000).await["acc_x"];
    assert_eq!((told.len(), told[0].window_ms, told[0].spent), (1, DAY, 30), "the mark of use is no window");
    assert!(spent(1_001).await.is_empty());
}
