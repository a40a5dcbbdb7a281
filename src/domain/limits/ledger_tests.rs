//! Facts about the ledger: whoever dies and comes back, no window that a vendor can lay holds too much, and nobody waits for one
//! that is known.

use super::ledger::{LONG_MS, unknown_until};
use super::{Ask, Decision, Page, Reason, Recorded, Rules, State, Window};
use std::collections::BTreeMap;

const NOW: i64 = 1_795_305_600_000; // 2026-11-22T00:00:00Z
const HOUR: i64 = 3_600_000;

/// A number from a seed: the same ones in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % below.max(1) as u64) as i64
    }
}

fn ask(n: u64, cost: u64) -> Ask {
    Ask { id: format!("{n}"), cost, urgent: false, group: "erase".into(), items: 1, batch: 1, lease_ms: 12_000 }
}

fn rules(windows: &[(u64, i64)]) -> Rules {
    let windows = windows.iter().map(|&(limit, ms)| Window { ms, limit, ordinary: limit });
    Rules { windows: windows.collect(), ..Rules::default() }
}

/// The ledgers of a database, by its own clock.
#[derive(Default)]
struct Ledgers {
    since: BTreeMap<i64, i64>,
    slots: BTreeMap<(i64, i64), u64>,
}

impl Ledgers {
    /// Read at `now` by somebody whose clock goes wrong by `skew`.
    fn pages(&mut self, now: i64, skew: i64, rules: &Rules) -> Vec<Page> {
        let page = |window_ms: i64| {
            let since = *self.since.entry(window_ms).or_insert(now);
            let slots = self.slots.iter().filter(|((ms, _), _)| *ms == window_ms);
            let spent = slots.map(|((_, ends_at), spent)| (ends_at + skew, *spent)).collect();
            Page { window_ms, unknown_until: unknown_until(now + skew, 0, since + skew, None), spent }
        };
        rules.long_windows().into_iter().map(page).collect()
    }

    fn record(&mut self, now: i64, skew: i64, rules: &Rules, cost: u64) -> Vec<Recorded> {
        let record = |chunk: super::Chunk| {
            let slot = (now / chunk.slot_ms + 1) * chunk.slot_ms;
            *self.slots.entry((chunk.window_ms, slot)).or_default() += chunk.spent;
            Recorded { window_ms: chunk.window_ms, slot, until: slot + skew, spent: chunk.spent }
        };
        rules.chunks(cost).into_iter().map(record).collect()
    }
}

/// The most that arrived in any window of this length, wherever it begins.
fn most_in(arrivals: &[(i64, u64)], ms: i64) -> u64 {
    let mut sorted = arrivals.to_vec();
    sorted.sort_unstable();
    let (mut from, mut inside, mut most) = (0, 0, 0);
    for (at, cost) in &sorted {
        inside += cost;
        while sorted[from].0 <= at - ms {
            inside -= sorted[from].1;
            from += 1;
        }
        most = most.max(inside);
    }
    most
}

/// One worker after the other, each of which dies at some moment, some between what they record and the call; returns what reached
/// the vendor, and when.
fn lives(seed: u64, rules: &Rules, lives: usize, each_ms: i64, pause: i64) -> Vec<(i64, u64)> {
    let mut dice = Dice(seed);
    let mut ledgers = Ledgers::default();
    for window_ms in rules.long_windows() {
        ledgers.since.insert(window_ms, NOW - 400 * 24 * HOUR);
    }
    let (mut arrivals, mut now, mut n) = (Vec::new(), NOW + dice.roll(HOUR), 0);
    for _ in 0..lives {
        let skew = dice.roll(20_000) - 10_000;
        let mut state = State::unknown_until(now + skew);
        state.read(&ledgers.pages(now, skew, rules));
        let ends = now + 1 + dice.roll(each_ms);
        let mut under_way: Vec<(i64, u64)> = Vec::new();
        while now < ends {
            under_way.retain(|(until, id)| {
                if *until <= now {
                    state.give_back(now + skew, &id.to_string(), rules);
                }
                *until > now
            });
            n += 1;
            let cost = 1 + dice.roll(2) as u64;
            let mut decision = state.take(now + skew, &ask(n, cost), rules);
            if decision == Decision::Record {
                let recorded = ledgers.record(now, skew, rules, cost);
                if dice.roll(40) == 0 {
                    break;
                }
                now += dice.roll(30);
                state.recorded(&recorded);
                decision = state.take(now + skew, &ask(n, cost), rules);
            }
            match decision {
                Decision::Granted => {
                    let takes = 1 + dice.roll(8_000);
                    arrivals.push((now + dice.roll(takes.min(rules.settle_ms()) + 1), cost));
                    under_way.push((now + takes, n));
                    now += dice.roll(pause);
                }
                Decision::Wait(at, _) => now = (at - skew).max(now + 1).min(ends),
                Decision::Record => now += 1,
                Decision::Pay => unreachable!("no day"),
            }
        }
        now += dice.roll(each_ms / 10);
    }
    arrivals
}

#[test]
fn however_often_a_worker_dies_no_window_holds_more_than_its_limit() {
    for seed in 0..40 {
        for (windows, each_ms, pause) in [
            (&[(1_000, HOUR)][..], HOUR, 1_500),
            (&[(10, 1_000), (2_000, HOUR)][..], HOUR / 2, 400),
            (&[(7, 5 * 60_000)][..], 10 * 60_000, 60_000),
            (&[(40, 120_000), (300, HOUR), (900, 24 * HOUR)][..], 4 * HOUR, 9_000),
        ] {
            let rules = rules(windows);
            let arrivals = lives(seed, &rules, 12, each_ms, pause);
            for window in &rules.windows {
                let most = most_in(&arrivals, window.ms);
                assert!(most <= window.limit, "{most} of {window:?}, seed {seed}");
            }
            assert!(arrivals.len() > 5, "{windows:?}, seed {seed}: {} calls", arrivals.len());
        }
    }
}

#[test]
fn deaths_cost_little_of_a_long_window() {
    for seed in 0..10 {
        let rules = rules(&[(5_000, HOUR)]);
        let arrivals = lives(seed, &rules, 60, HOUR / 4, 300);
        let (first, last) = (arrivals[0].0, arrivals.iter().map(|(at, _)| *at).max().expect("calls"));
        let used: u64 = arrivals.iter().map(|(_, cost)| cost).sum();
        let allowed = 5_000 * (last - first).max(HOUR) as u64 / HOUR as u64;
        assert!(used * 100 >= allowed * 80, "{used} of {allowed} used, seed {seed}");
    }
}

#[test]
fn who_comes_back_begins_at_once_with_what_is_left() {
    let rules = rules(&[(36_000, HOUR)]);
    let mut ledgers = Ledgers { since: BTreeMap::from([(HOUR, NOW - 2 * HOUR)]), ..Ledgers::default() };
    let first = ledgers.record(NOW, 0, &rules, 100);
    assert_eq!(first[0].spent, 100);
    let mut state = State::unknown_until(NOW + 1_000);
    state.read(&ledgers.pages(NOW + 1_000, 0, &rules));
    assert_eq!(state.take(NOW + 1_000, &ask(1, 1), &rules), Decision::Record);
    state.recorded(&ledgers.record(NOW + 1_000, 0, &rules, 1));
    assert_eq!(state.take(NOW + 1_000, &ask(1, 1), &rules), Decision::Granted);
    // All but those 100 and this one.
    let rest = ask(2, 36_000 - 101);
    state.recorded(&ledgers.record(NOW + 1_000, 0, &rules, rest.cost));
    assert_eq!(state.take(NOW + 1_000, &rest, &rules), Decision::Granted);
    let Decision::Wait(at, Reason::Window) = state.take(NOW + 1_000, &ask(3, 1), &rules) else { panic!("a wait") };
    assert!(at > NOW + HOUR && at < NOW + HOUR + HOUR / 50, "{} after", at - NOW);
}

#[test]
fn what_the_ledger_does_not_say_is_unknown() {
    let rules = rules(&[(100, HOUR)]);
    let mut state = State::unknown_until(NOW);
    let page = |unknown_until| Page { window_ms: HOUR, unknown_until, spent: Vec::new() };
    state.read(&[page(NOW - HOUR / 2)]);
    assert_eq!(state.take(NOW, &ask(1, 1), &rules), Decision::Wait(NOW + HOUR / 2, Reason::Unknown));
    state.read(&[page(NOW - HOUR)]);
    assert_eq!(state.take(NOW, &ask(1, 1), &rules), Decision::Record);
    // Kept for two hours, but somebody who does not was there a minute ago; not in use since is as good.
    assert_eq!(unknown_until(NOW, 0, NOW - 2 * HOUR, None), NOW - 2 * HOUR);
    assert_eq!(unknown_until(NOW, 0, NOW - 2 * HOUR, Some(NOW - 60_000)), NOW - 60_000);
    assert_eq!(unknown_until(NOW, 3 * HOUR, NOW, Some(NOW + 5_000)), NOW - 3 * HOUR);
    assert_eq!(unknown_until(NOW, 0, NOW, Some(NOW + 5_000)), NOW);
}

#[test]
fn what_is_recorded_for_one_slot_is_not_used_in_the_next() {
    let rules = rules(&[(100, HOUR)]);
    let mut state = State::default();
    state.read(&[Page { window_ms: HOUR, unknown_until: 0, spent: Vec::new() }]);
    let recorded = |slot, until| Recorded { window_ms: HOUR, slot, until, spent: 2 };
    state.recorded(&[recorded(1, NOW + 60_000)]);
    assert_eq!(state.take(NOW, &ask(1, 1), &rules), Decision::Granted);
    assert_eq!(state.take(NOW + 60_000, &ask(2, 1), &rules), Decision::Record);
    state.recorded(&[recorded(2, NOW + 120_000)]);
    state.recorded(&[recorded(2, NOW + 120_000)]);
    let granted = (3..20).filter(|n| state.take(NOW + 60_000, &ask(*n, 1), &rules) == Decision::Granted).count();
    assert_eq!(granted, 4);
    // What a dead worker recorded is read again by who lives; what it recorded itself begins anew.
    state.read(&[Page { window_ms: HOUR, unknown_until: 0, spent: vec![(NOW + 120_000, 90)] }]);
    assert_eq!(state.take(NOW + 80_000, &ask(20, 1), &rules), Decision::Record);
}

#[test]
fn short_windows_have_no_ledger_and_few_writes_are_needed_for_long_ones() {
    let rules = rules(&[(10, 1_000), (60, LONG_MS), (36_000, HOUR), (9, 24 * HOUR)]);
    assert_eq!(rules.long_windows(), [HOUR, 24 * HOUR]);
    assert_eq!(rules.longest_short(), LONG_MS);
    let chunks: Vec<(i64, u64)> = rules.chunks(2).iter().map(|chunk| (chunk.slot_ms, chunk.spent)).collect();
    assert_eq!(chunks, [(60_000, 72), (24 * 60_000, 2)]);
}
