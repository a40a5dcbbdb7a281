//! Facts about processes without Redis that follow each other: what one spent of a long window, the next one knows.

use super::super::fleet::part;
use super::{Call, Credential, Folder, Limiter, Reason, Rules, Taken, Window, call, credential, store};
use redress_store::{Beat, Store};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

const HOUR: i64 = 3_600_000;

/// Asks until it is told to wait for longer than `patience`, or may; returns all waits that it was told, and whether it may.
async fn asked(limiter: &Limiter, credential: &Credential, call: &Call, patience: i64) -> (Vec<(i64, Reason)>, bool) {
    let mut waits = Vec::new();
    loop {
        match limiter.take(credential, call).await.expect("the database is there") {
            Taken::Permit(permit) => {
                permit.give_back().await;
                return (waits, true);
            }
            Taken::Wait(at, reason) => {
                let ms = (at - limiter.now_ms()).max(1);
                waits.push((ms, reason));
                if ms > patience {
                    return (waits, false);
                }
                tokio::time::sleep(Duration::from_millis(ms as u64)).await;
            }
        }
    }
}

/// A process that uses so many calls and dies.
async fn life(store: &Store, credential: &Credential, calls: usize) {
    let limiter = Limiter::new(store.clone(), None).expect("a limiter");
    for n in 0..calls {
        let (waits, may) = asked(&limiter, credential, &call(), 20_000).await;
        assert!(may, "call {n}: {waits:?}");
    }
}

/// Lets the database believe that so much time has passed since its workers were last there.
async fn later(folder: &Path, ms: i64) {
    let url = format!("sqlite://{}", folder.join("redress.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.expect("the database");
    let sql = "UPDATE workers SET seen_at = seen_at - $1, alone_since = alone_since - $1";
    assert!(sqlx::query(sql).bind(ms).execute(&pool).await.expect("changed").rows_affected() > 0);
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_death_the_next_process_waits_seconds_and_not_for_an_hour() {
    let folder = Folder::new();
    let store = store(&folder.0).await;
    let credential = credential("brevo", &json!({ "rates": ["10/s", "36000/h"] }));
    life(&store, &credential, 5).await;
    let began = Instant::now();
    let next = Limiter::new(store, None).expect("a limiter");
    let (waits, may) = asked(&next, &credential, &call(), 20_000).await;
    assert!(may && began.elapsed() < Duration::from_secs(20), "{waits:?}");
    assert!(waits.iter().all(|(ms, _)| *ms <= 15_000), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_process_begins_with_what_is_left_and_waits_when_nothing_is() {
    let folder = Folder::new();
    let store = store(&folder.0).await;
    let credential = credential("left", &json!({ "rates": ["120/h"] }));
    life(&store, &credential, 100).await;
    later(&folder.0, 60_000).await;
    life(&store, &credential, 19).await;
    later(&folder.0, 60_000).await;
    let last = Limiter::new(store.clone(), None).expect("a limiter");
    let dear = Call { cost: 2, ..call() };
    let (waits, may) = asked(&last, &credential, &dear, 20_000).await;
    let (ms, reason) = *waits.last().expect("a wait");
    assert!(!may && reason == Reason::Window && ms > HOUR - 120_000 && ms < HOUR + 120_000, "{waits:?}");
    assert!(asked(&last, &credential, &call(), 20_000).await.1, "one is left");
    drop(last);
    later(&folder.0, 60_000).await;
    let nothing = Limiter::new(store, None).expect("a limiter");
    let (waits, may) = asked(&nothing, &credential, &call(), 20_000).await;
    assert!(!may && matches!(waits.last(), Some((ms, Reason::Window)) if *ms > HOUR - 120_000), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_spent_that_keeps_no_ledger_is_unknown() {
    let folder = Folder::new();
    let store = store(&folder.0).await;
    let credential = credential("upgrade", &json!({ "rates": ["36000/h"] }));
    life(&store, &credential, 3).await;
    // As a version without ledgers, or with Redis, would have left it.
    store.beat("lim-older", true, false).await.expect("said");
    later(&folder.0, 60_000).await;
    let next = Limiter::new(store, None).expect("a limiter");
    let (waits, may) = asked(&next, &credential, &call(), 20_000).await;
    assert!(!may && matches!(waits.last(), Some((ms, Reason::Unknown)) if *ms > HOUR - 120_000), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lives_knows_what_was_spent_by_who_died() {
    let folder = Folder::new();
    let store = store(&folder.0).await;
    let credential = credential("both", &json!({ "rates": ["40/h"] }));
    let lives = Limiter::new(store.clone(), None).expect("a limiter");
    assert!(asked(&lives, &credential, &call(), 20_000).await.1);
    // The other one uses all of its part, of 32 in all.
    let dies = Limiter::new(store, None).expect("a limiter");
    let mut used = 0;
    while asked(&dies, &credential, &call(), 20_000).await.1 {
        used += 1;
    }
    assert_eq!(used, 15, "its part but what was spent before it came");
    drop(dies);
    tokio::time::sleep(Duration::from_secs(16)).await;
    let mut left = 0;
    while asked(&lives, &credential, &call(), 20_000).await.1 {
        left += 1;
    }
    assert_eq!(1 + used + left, 40);
}

fn beat(owner: &str, silent_ms: i64, alone_ms: Option<i64>, records: bool) -> Beat {
    Beat { owner: owner.into(), silent_ms, seen_at: 1_000_000 - silent_ms, alone_ms, records }
}

#[test]
fn the_dead_have_no_part_if_what_they_spent_is_known() {
    let window = |limit, ms| Window { ms, limit, ordinary: limit };
    let rules = Rules { windows: vec![window(10, 1_000), window(36_000, HOUR)], ..Rules::default() };
    let of = |others: &[Beat], has_redis: bool| {
        let own = beat("me", 0, Some(6_000), !has_redis);
        part(&[&[own], others].concat(), "me", has_redis, &rules)
            .map(|part| (part.rules.windows[1].limit, part.dead.len()))
    };
    assert_eq!(of(&[], false), Ok((36_000, 0)));
    assert_eq!(of(&[beat("dead", 15_000, Some(100_000), true)], false), Ok((36_000, 1)));
    // Who may live has its part as soon as all know of each other and short windows have passed.
    assert_eq!(of(&[beat("lives", 14_999, Some(100_000), true)], false), Ok((14_400, 0)));
    assert_eq!(of(&[beat("new", 0, Some(0), true)], false), Err(6_000));
    assert_eq!(of(&[beat("new", 14_000, Some(0), true)], false), Err(1_000), "it is known soon whether it lives");
    // What is not recorded is waited for.
    assert_eq!(of(&[beat("dead", 15_000, Some(100_000), false)], false), Err(HOUR + 5_000 - 6_000));
    assert_eq!(of(&[beat("redis", 0, None, false)], false), Err(HOUR + 5_000));
    assert_eq!(of(&[beat("dead", 15_000, Some(100_000), true)], true), Err(HOUR + 5_000 - 6_000));
    assert_eq!(of(&[beat("long-dead", HOUR + 10_000, Some(2 * HOUR), false)], false), Ok((36_000, 0)));
    // A minute's window is short: whoever was there in it counts.
    let minutes = Rules { windows: vec![window(60, 60_000)], ..Rules::default() };
    let workers = [beat("me", 0, Some(66_000), true), beat("dead", 20_000, Some(100_000), true)];
    assert_eq!(part(&workers, "me", false, &minutes).map(|part| part.rules.windows[0].limit), Ok(24));
}
