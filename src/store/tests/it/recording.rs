//! What was spent of a long window stands in its ledger before it is spent, whoever asks and whoever dies.

use crate::lab::Lab;
use redress_domain::limits::Chunk;

on_both!(
    what_is_recorded_is_read_by_slot,
    a_ledger_is_kept_from_its_first_reading_on_until_its_window_is_no_more,
    what_has_left_its_window_is_forgotten,
    several_who_record_at_once_lose_nothing,
    who_records_and_was_silent_begins_anew,
    a_migration_whose_number_was_left_out_is_applied_later,
);

const HOUR: i64 = 3_600_000;
const CHUNK: Chunk = Chunk { window_ms: HOUR, slot_ms: 60_000, spent: 72 };

async fn what_is_recorded_is_read_by_slot(lab: Lab) {
    lab.store.ledgers("c", &[HOUR, 2 * HOUR], 0).await.expect("begun");
    let slots = lab.store.record_spent("c", &[CHUNK]).await.expect("recorded");
    let slot = slots[0];
    assert_eq!((slots.len(), slot.window_ms, slot.spent, slot.ends_at % 60_000), (1, HOUR, 72, 0));
    assert!((-1_000..=60_000).contains(&slot.left_ms), "{slot:?}");
    // Again in the next slot, and once more there.
    lab.sql("UPDATE ledger_slots SET ends_at = ends_at - 600000").await.expect("moved");
    for _ in 0..2 {
        lab.store.record_spent("c", &[CHUNK]).await.expect("recorded");
    }
    lab.store.record_spent("another", &[CHUNK]).await.expect("recorded");
    let read = lab.store.ledgers("c", &[HOUR, 2 * HOUR], 0).await.expect("read");
    assert_eq!((read[0].window_ms, read[1].window_ms, read[1].slots.len()), (HOUR, 2 * HOUR, 0));
    let spent: Vec<u64> = read[0].slots.iter().map(|(_, spent)| *spent).collect();
    assert_eq!(spent.iter().sum::<u64>(), 3 * 72, "{read:?}");
    assert_eq!(spent[0], 72);
    assert!((-602_000..=-540_000).contains(&read[0].slots[0].0), "{read:?}");
}

async fn a_ledger_is_kept_from_its_first_reading_on_until_its_window_is_no_more(lab: Lab) {
    let kept =
        async |windows: &[i64], idle_ms| lab.store.ledgers("c", windows, idle_ms).await.expect("read")[0].kept_ms;
    assert!((500_000..510_000).contains(&kept(&[HOUR], 500_000).await));
    assert!((500_000..510_000).contains(&kept(&[HOUR], 0).await), "that it was in use meanwhile changes nothing");
    lab.store.record_spent("c", &[CHUNK]).await.expect("recorded");
    assert!((0..10_000).contains(&kept(&[2 * HOUR], 0).await));
    assert_eq!(lab.count("ledger_slots").await, 0);
    assert!((0..10_000).contains(&kept(&[HOUR], 0).await), "nobody kept it for a while");
    assert!(lab.store.ledgers("c", &[], 0).await.expect("read").is_empty());
    assert_eq!(lab.count("ledgers").await, 0);
}

async fn what_has_left_its_window_is_forgotten(lab: Lab) {
    lab.store.ledgers("c", &[HOUR], 0).await.expect("begun");
    lab.store.record_spent("c", &[CHUNK]).await.expect("recorded");
    lab.sql("UPDATE ledger_slots SET ends_at = ends_at - 3600000 - 120000").await.expect("moved");
    assert!(lab.store.ledgers("c", &[HOUR], 0).await.expect("read")[0].slots.is_empty());
    lab.store.record_spent("c", &[CHUNK]).await.expect("recorded");
    assert_eq!(lab.count("ledger_slots").await, 1);
}

async fn several_who_record_at_once_lose_nothing(lab: Lab) {
    let all = (0..20).map(|_| lab.store.record_spent("c", std::slice::from_ref(&CHUNK)));
    for recorded in futures::future::join_all(all).await {
        recorded.expect("recorded");
    }
    let slots = &lab.store.ledgers("c", &[HOUR], 0).await.expect("read")[0].slots;
    assert_eq!(slots.iter().map(|(_, spent)| *spent).sum::<u64>(), 20 * 72);
}

async fn who_records_and_was_silent_begins_anew(lab: Lab) {
    for (owner, records, anew) in [("records", true, true), ("with-redis", false, false)] {
        let own = async || {
            let all = lab.store.beat(owner, true, records).await.expect("said");
            all.into_iter().find(|beat| beat.owner == owner).expect("it is there")
        };
        assert_eq!(own().await.records, records);
        lab.sql("UPDATE workers SET alone_since = alone_since - 100000, seen_at = seen_at - 3000")
            .await
            .expect("moved");
        assert!(own().await.alone_ms.is_some_and(|ms| ms >= 100_000), "a beat that is late is none that is missed");
        lab.sql("UPDATE workers SET seen_at = seen_at - 12000").await.expect("moved");
        let beat = own().await;
        assert_eq!(beat.alone_ms.is_some_and(|ms| ms < 50_000), anew, "{beat:?}");
    }
}

async fn a_migration_whose_number_was_left_out_is_applied_later(lab: Lab) {
    lab.sql("DELETE FROM schema_migrations WHERE version = 5").await.expect("deleted");
    assert!(lab.store.check_schema().await.is_err());
    // It is tried, and not the last one in its place: what it adds is there already.
    let refused = format!("{:?}", lab.store.migrate().await.expect_err("applied twice"));
    assert!(!refused.contains("ledgers"), "{refused}");
}
