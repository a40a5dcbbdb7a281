use super::*;
use std::sync::mpsc;

const PATIENCE: Patience =
    Patience { silence: Duration::from_mins(1), poll: Duration::from_secs(1), renew: Duration::from_secs(3) };

fn seen(now: u64) -> Seen {
    Seen { now, beats: [now; 4], away_since: None, held_since: None, excused_until: 0 }
}

fn after(seconds: u64, change: impl FnOnce(&mut Seen)) -> (Vec<String>, bool) {
    let mut seen = seen(seconds * 1_000);
    change(&mut seen);
    judge(&seen, &PATIENCE)
}

#[test]
fn who_moves_is_ready() {
    assert_eq!(after(100_000, |_| ()), (vec![], false));
}

#[test]
fn every_part_that_stands_still_is_named_and_ends_the_process_when_that_lasts() {
    for part in Part::ALL {
        let still = |seconds| after(seconds, |seen| seen.beats[part as usize] = 1);
        assert_eq!(still(60), (vec![], false), "{part:?}");
        let (reasons, end) = still(70);
        assert_eq!((reasons.len(), end), (1, false), "{part:?}");
        assert!(reasons[0].starts_with(part.says()), "{reasons:?}");
        assert!(still(130).1, "{part:?}");
    }
}

#[test]
fn a_database_that_is_away_is_a_reason_but_nothing_that_a_restart_would_mend() {
    let (reasons, end) = after(10_000, |seen| {
        seen.away_since = Some(1);
        seen.beats = [seen.now, 1, 1, 1];
    });
    assert!(reasons[0].starts_with("the database has not answered for 9999 s"), "{reasons:?}");
    assert!(!end);
    let (_, end) = after(10_000, |seen| {
        seen.away_since = Some(1);
        seen.beats[0] = 1;
    });
    assert!(end, "a runtime that stands still waits for no database");
}

#[test]
fn who_was_frozen_or_waited_for_the_database_has_its_time_again() {
    let just_back = |seen: &mut Seen| {
        seen.beats = [1; 4];
        seen.excused_until = seen.now - 30_000;
    };
    assert_eq!(after(10_000, just_back), (vec![], false));
}

#[test]
fn places_held_by_lost_calls_end_the_process_and_long_calls_do_not() {
    let (reasons, end) = after(130, |seen| seen.held_since = Some(1_000));
    assert!(reasons[0].contains("every place at work") && end);
    let pulse = Pulse::default();
    pulse.held(true);
    pulse.held(false);
    assert_eq!(pulse.seen(0).held_since, None);
}

#[test]
fn a_database_that_came_back_is_known_by_when() {
    let pulse = Pulse::default();
    pulse.database(true);
    assert_eq!(pulse.back_at.load(Ordering::Relaxed), 0);
    pulse.database(false);
    let since = pulse.seen(0).away_since;
    pulse.database(false);
    assert_eq!(pulse.seen(0).away_since, since);
    pulse.database(true);
    assert!(pulse.seen(0).away_since.is_none() && pulse.seen(0).excused_until > 0);
}

#[test]
fn a_blocked_runtime_is_noticed_from_outside_it() {
    let pulse = Arc::<Pulse>::default();
    let second = Duration::from_secs(1);
    let patience = Patience { silence: Duration::from_millis(200), poll: second, renew: second };
    let (told, heard) = mpsc::channel();
    watch(pulse.clone(), patience, move |reasons| told.send(reasons.to_vec()).expect("somebody listens"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let beats = pulse.clone();
    runtime.block_on(async move {
        tokio::spawn(async move {
            loop {
                for part in Part::ALL {
                    beats.beat(part);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        // What no task may do.
        let reasons = heard.recv_timeout(Duration::from_secs(30)).expect("noticed");
        assert!(reasons[0].starts_with("the runtime has run nothing"), "{reasons:?}");
    });
    assert!(!pulse.reasons().is_empty());
}
