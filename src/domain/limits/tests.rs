//! Facts about limits: what is read, what is refused, and that no window that a vendor can lay ever holds too much.

use super::headers::{Feedback, feedback};
use super::{Ask, Decision, Limits, Rate, Reason, Rules, Span, State, Window};
use crate::Verb;
use crate::step::Phase;
use serde_json::json;

const NOW: i64 = 1_795_305_600_000; // 2026-11-22T00:00:00Z

/// A number from a seed: the same ones in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % below.max(1) as u64) as i64
    }
}

fn ask(id: impl std::fmt::Display) -> Ask {
    let group = "erase".to_owned();
    Ask { id: format!("{id}"), cost: 1, urgent: false, group, items: 1, batch: 1, lease_ms: 12_000 }
}

fn sliding(limit: u64, ms: i64) -> Rules {
    Rules { windows: vec![Window { ms, limit, ordinary: limit }], ..Rules::default() }
}

/// The most that arrived in any window of this length, wherever it begins.
fn most_in(arrivals: &[i64], ms: i64) -> usize {
    let mut sorted = arrivals.to_vec();
    sorted.sort_unstable();
    (0..sorted.len()).map(|i| sorted[i..].iter().take_while(|at| **at < sorted[i] + ms).count()).max().unwrap_or(0)
}

#[test]
fn rates_are_read_as_people_write_them() {
    for (text, calls, span) in [
        ("100/10s", 100, Span::Sliding(10_000)),
        ("5/s", 5, Span::Sliding(1_000)),
        ("60/min", 60, Span::Sliding(60_000)),
        ("6000/5min", 6_000, Span::Sliding(300_000)),
        ("36000/h", 36_000, Span::Sliding(3_600_000)),
        ("20000/day", 20_000, Span::Day),
        ("9/24h", 9, Span::Sliding(86_400_000)),
    ] {
        let rate = Rate::parse(text).expect(text);
        assert_eq!((rate.calls, rate.span, rate.to_string().as_str()), (calls, span, text));
    }
    for text in [
        "",
        "100",
        "/10s",
        "0/s",
        "-1/s",
        "1.5/s",
        "1/",
        "1/0s",
        "1/1ms",
        "1/2days",
        "1/2day",
        "1/25h",
        "1/week",
        "99999999999999999999/s",
    ] {
        Rate::parse(text).expect_err(text);
    }
}

#[test]
fn every_fault_of_limits_is_told_at_once() {
    let faulty = json!({
        "rates": ["100/10s", "7/10s", "fast", 3], "concurrency": 0, "share": 1.5, "reserve": 1, "burst": "much",
        "cost": { "erase": 500, "explode": 1, "export": -1 }, "timezone": "Mars/Olympus", "rate": "1/s",
    });
    let faults = Limits::read(&faulty, "/limits").expect_err("faults");
    let mut pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    pointers.sort_unstable();
    pointers.dedup();
    let expected = [
        "/limits/burst",
        "/limits/concurrency",
        "/limits/cost/erase",
        "/limits/cost/explode",
        "/limits/cost/export",
        "/limits/rate",
        "/limits/rates/1",
        "/limits/rates/2",
        "/limits/rates/3",
        "/limits/reserve",
        "/limits/share",
        "/limits/timezone",
    ];
    assert_eq!(pointers, expected);
    assert_eq!(Limits::read(&json!({}), "/limits").expect_err("nothing").len(), 1);
    assert_eq!(Limits::read(&json!("100/s"), "/limits").expect_err("text")[0].pointer, "/limits");
}

#[test]
fn limits_are_kept_as_they_were_written() {
    let written = json!({
        "rates": ["100/10s", "20000/day"], "concurrency": 5, "share": 0.8, "reserve": 0.1, "burst": 20,
        "cost": { "erase": 2 }, "timezone": "America/Chicago",
    });
    let limits = Limits::read(&written, "").expect("fine");
    assert_eq!(limits.to_json(), written);
    assert_eq!((limits.cost_of(Verb::Erase, Phase::Act), limits.cost_of(Verb::Erase, Phase::Verify)), (2, 1));
    let rules = limits.rules(NOW);
    // 100 × 0.8, of which a tenth is kept; the burst is a shorter window of the same rate.
    assert_eq!(rules.windows[0], Window { ms: 10_000, limit: 80, ordinary: 72 });
    assert_eq!(rules.windows[1], Window { ms: 2_500, limit: 20, ordinary: 20 });
    let day = rules.day.expect("a day");
    assert_eq!((day.limit, day.ordinary), (16_000, 14_400));
    // Midnight in Chicago is 06:00 UTC in November.
    assert_eq!((day.began_at, day.ends_at), (NOW - 18 * 3_600_000, NOW + 6 * 3_600_000));
}

#[test]
fn a_day_on_which_the_clocks_change_is_as_long_as_it_is() {
    let limits = Limits::read(&json!({ "rates": ["10/day"], "timezone": "Europe/Berlin" }), "").expect("fine");
    let noon = "2026-10-25T12:00:00Z".parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    let day = limits.rules(noon).day.expect("a day");
    assert_eq!(day.ends_at - day.began_at, 25 * 3_600_000);
}

#[test]
fn the_shorthand_is_whole_calls_in_whole_seconds() {
    for (rate, calls, ms) in
        [(4.0, 4, 1_000), (2.5, 5, 2_000), (0.5, 1, 2_000), (0.00001, 1, 100_000_000), (3.333, 33, 10_000)]
    {
        let limits = Limits::per_second(rate).expect("a rate");
        assert_eq!(limits.rates, [Rate { calls, span: Span::Sliding(ms) }], "{rate}");
    }
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Limits::per_second(rate).is_none());
    }
}

/// Many workers against one limit, each call reaching the vendor some time after its permit, but before it ends or settles.
fn simulate(seed: u64, rules: &Rules, workers: usize, slowest: i64, seconds: i64) -> (Vec<i64>, usize) {
    let mut dice = Dice(seed);
    let mut state = State::default();
    let (mut arrivals, mut asked) = (Vec::new(), 0);
    let settle = rules.settle_ms();
    // When each worker wakes, and the call that it then ends.
    let mut wakes: Vec<(i64, Option<String>)> = (0..workers).map(|_| (NOW + dice.roll(50), None)).collect();
    let end = NOW + seconds * 1_000;
    loop {
        let i = (0..workers).min_by_key(|i| wakes[*i].0).expect("workers");
        let now = wakes[i].0;
        if now >= end {
            return (arrivals, asked);
        }
        if let Some(id) = wakes[i].1.take() {
            state.give_back(now, &id, rules);
        }
        asked += 1;
        match state.take(now, &ask(asked), rules) {
            Decision::Granted => {
                let takes = 1 + dice.roll(slowest);
                arrivals.push(now + dice.roll(takes.min(settle) + 1));
                wakes[i] = (now + takes, Some(asked.to_string()));
            }
            Decision::Wait(at, _) => wakes[i] = (at.max(now + 1) + dice.roll(4), None),
            Decision::Pay | Decision::Record => unreachable!("no day and no ledger"),
        }
    }
}

#[test]
fn no_window_ever_holds_more_than_its_limit_and_a_backlog_uses_nearly_all_of_it() {
    for seed in 0..12 {
        for (limit, ms, slowest) in
            [(100, 10_000, 30), (10, 1_000, 6), (7, 3_000, 20), (1, 2_000, 15), (300, 60_000, 900)]
        {
            let rules = sliding(limit, ms);
            let seconds = 60.max(ms / 1_000 * 6);
            let (arrivals, asked) = simulate(seed, &rules, 16, slowest, seconds);
            assert!(most_in(&arrivals, ms) <= limit as usize, "{limit} in {ms} ms, seed {seed}");
            let allowed = limit as i64 * (seconds * 1_000 / ms);
            let used = arrivals.len() as i64 * 1_000 / allowed;
            assert!(used >= 970, "{limit} in {ms} ms, seed {seed}: {used} ‰ used");
            // Each worker asks once when it is ready, and once when it is told that it may.
            assert!(asked <= arrivals.len() * 3 + 32, "{asked} questions for {} calls", arrivals.len());
        }
    }
}

#[test]
fn several_windows_hold_together() {
    let rules = Rules {
        windows: vec![Window { ms: 1_000, limit: 10, ordinary: 10 }, Window { ms: 30_000, limit: 60, ordinary: 60 }],
        ..Rules::default()
    };
    for seed in 0..8 {
        let (arrivals, _) = simulate(seed, &rules, 8, 20, 120);
        assert!(most_in(&arrivals, 1_000) <= 10 && most_in(&arrivals, 30_000) <= 60);
        assert!(arrivals.len() >= 4 * 60 * 97 / 100, "{}", arrivals.len());
    }
}

#[test]
fn those_who_wait_come_back_one_after_the_other() {
    let rules = sliding(10, 10_000);
    let mut state = State::default();
    let mut times = Vec::new();
    for n in 0..30 {
        if let Decision::Wait(at, reason) = state.take(NOW, &ask(n), &rules) {
            assert_eq!(reason, Reason::Window);
            times.push(at);
        }
    }
    assert_eq!(times.len(), 20);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 900), "{times:?}");
    // What is due soon does not stand behind them.
    let Decision::Wait(at, _) = state.take(NOW, &Ask { urgent: true, ..ask("soon") }, &rules) else { panic!("wait") };
    assert_eq!(at, times[0]);
}

#[test]
fn small_batches_that_wait_come_back_as_one() {
    let rules = sliding(1, 10_000);
    let mut state = State::default();
    assert_eq!(state.take(NOW, &ask("first"), &rules), Decision::Granted);
    let ten = |n: i64| Ask { items: 10, batch: 300, ..ask(n) };
    let times: Vec<Decision> = (0..40).map(|n| state.take(NOW + n, &ten(n), &rules)).collect();
    assert!(times[..30].iter().all(|time| *time == times[0]), "300 fit into one call");
    assert_ne!(times[30], times[0]);
    let other = Ask { group: "verify".into(), ..ten(99) };
    assert_ne!(state.take(NOW + 50, &other, &rules), times[39], "another verb is another call");
}

#[test]
fn the_reserve_is_for_what_is_due_soon() {
    let rules = Rules { windows: vec![Window { ms: 10_000, limit: 10, ordinary: 8 }], ..Rules::default() };
    let mut state = State::default();
    let granted = |state: &mut State, urgent| {
        (0..20)
            .filter(|n| state.take(NOW, &Ask { urgent, ..ask(format!("{urgent}{n}")) }, &rules) == Decision::Granted)
            .count()
    };
    assert_eq!(granted(&mut state, false), 8);
    assert_eq!(granted(&mut state, true), 2);
}

#[test]
fn a_place_is_free_again_when_its_call_ends_or_its_worker_is_dead() {
    let rules = Rules { concurrency: Some(2), ..Rules::default() };
    let mut state = State::default();
    assert_eq!(state.take(NOW, &ask("a"), &rules), Decision::Granted);
    assert_eq!(state.take(NOW, &ask("b"), &rules), Decision::Granted);
    assert!(matches!(state.take(NOW, &ask("c"), &rules), Decision::Wait(_, Reason::Concurrency)));
    state.give_back(NOW + 400, "a", &rules);
    assert_eq!(state.take(NOW + 400, &ask("c"), &rules), Decision::Granted);
    // `c` says that it lives, `b` does not.
    assert!(state.renew(NOW + 11_000, "c", 12_000, false, &rules));
    assert_eq!(state.take(NOW + 12_001, &ask("d"), &rules), Decision::Granted);
    assert!(!state.renew(NOW + 12_002, "b", 12_000, false, &rules));
}

#[test]
fn what_is_not_known_is_taken_as_used() {
    let rules = sliding(10, 10_000);
    let mut state = State::unknown_until(NOW);
    assert!(
        matches!(state.take(NOW + 9_000, &ask(1), &rules), Decision::Wait(at, Reason::Unknown) if at == NOW + 10_000)
    );
    assert_eq!(state.take(NOW + 10_000, &ask(1), &rules), Decision::Granted);
}

#[test]
fn a_day_is_paid_for_before_it_is_spent() {
    let limits = Limits::read(&json!({ "rates": ["10/day"] }), "").expect("fine");
    let rules = limits.rules(NOW);
    let day = rules.day.expect("a day");
    let mut state = State::default();
    assert_eq!(state.take(NOW, &ask(1), &rules), Decision::Pay);
    state.paid(day.began_at, 1);
    assert_eq!(state.take(NOW, &ask(1), &rules), Decision::Granted);
    assert_eq!(state.take(NOW, &ask(2), &rules), Decision::Pay);
    // What was bought for one day is worth nothing on the next.
    state.paid(day.began_at, 5);
    assert_eq!(state.take(day.ends_at, &ask(3), &limits.rules(day.ends_at)), Decision::Pay);
}

#[test]
fn what_a_vendor_says_holds_for_everybody_and_not_for_ever() {
    let rules = sliding(10, 1_000);
    let mut state = State::default();
    state.told(NOW, &Feedback::wait(3_000));
    state.told(NOW, &Feedback::wait(1_000));
    assert_eq!(state.take(NOW + 2_999, &ask(1), &rules), Decision::Wait(NOW + 3_000, Reason::CoolDown));
    assert_eq!(state.take(NOW + 3_000, &ask(1), &rules), Decision::Granted);
    state.told(NOW, &Feedback::wait(i64::MAX));
    assert!(
        matches!(state.take(NOW + 4_000, &ask(2), &rules), Decision::Wait(at, _) if at <= NOW + 86_400_000 + 1_000)
    );

    let mut state = State::default();
    state.told(NOW, &Feedback { wait_ms: None, left: Some((1, 5_000)) });
    assert_eq!(state.take(NOW, &ask(1), &rules), Decision::Granted);
    assert_eq!(state.take(NOW, &ask(2), &rules), Decision::Wait(NOW + 5_000, Reason::CoolDown));
    // More than was known to be left is not believed before its time.
    state.told(NOW + 1, &Feedback { wait_ms: None, left: Some((9, 5_000)) });
    assert!(matches!(state.take(NOW + 1, &ask(2), &rules), Decision::Wait(..)));
    assert_eq!(state.take(NOW + 5_000, &ask(2), &rules), Decision::Granted);
}

#[test]
fn the_parts_of_all_workers_are_never_more_than_the_whole() {
    for limit in [1, 2, 3, 10, 99, 100, 1_000] {
        for workers in 1..=7 {
            let whole = Rules { concurrency: Some(5), ..sliding(limit, 1_000) };
            let parts: Vec<Rules> = (0..workers).map(|rank| whole.part(80, rank, workers)).collect();
            let sum: u64 = parts.iter().map(|part| part.windows[0].limit).sum();
            assert!(sum <= (limit * 8 / 10).max(1) && sum > 0, "{limit} for {workers}: {sum}");
            assert!(parts.iter().filter_map(|part| part.concurrency).sum::<u32>() <= 4);
        }
    }
}

#[test]
fn vendors_say_it_in_many_ways() {
    let says = |status, headers: &[(&'static str, &'static str)]| feedback(status, headers.iter().copied(), NOW);
    // Seconds, a date, milliseconds since 1970, a fraction.
    assert_eq!(says(429, &[("Retry-After", "3")]).wait_ms, Some(3_000));
    assert_eq!(says(503, &[("retry-after", "Sun, 22 Nov 2026 00:00:07 GMT")]).wait_ms, Some(7_000));
    assert_eq!(says(429, &[("Retry-After", "0.5")]).wait_ms, Some(500));
    assert_eq!(says(429, &[("X-RateLimit-Reset", "1795305605")]).wait_ms, Some(5_000));
    assert_eq!(says(429, &[("X-RateLimit-Reset", "1795305605000")]).wait_ms, Some(5_000));
    assert_eq!(says(429, &[("X-RateLimit-Reset", "Sun, 22 Nov 2026 00:00:05 +0000")]).wait_ms, Some(5_000));
    assert_eq!(says(429, &[("ratelimit-reset", "12")]).wait_ms, Some(12_000));
    assert_eq!(says(429, &[]).wait_ms, Some(1_000));
    assert_eq!(says(200, &[("Retry-After", "3")]).wait_ms, None);
    // What is left.
    assert_eq!(says(200, &[("X-RateLimit-Remaining", "5"), ("X-RateLimit-Reset", "60")]).left, Some((5, 60_000)));
    assert_eq!(says(200, &[("RateLimit", "\"burst\";r=5;t=10, \"daily\";r=900;t=3600")]).left, Some((5, 3_600_000)));
    assert_eq!(says(200, &[("RateLimit", "limit=100, remaining=50, reset=5")]).left, Some((50, 5_000)));
    assert_eq!(says(200, &[("X-HubSpot-RateLimit-Remaining", "9")]).left, Some((9, 1_000)));
    assert_eq!(says(200, &[("X-MP-Rate-Limit-Percentage-Used", "100%")]).left, Some((0, 1_000)));
    assert!(says(200, &[("X-MP-Rate-Limit-Percentage-Used", "85")]).is_empty());
}

#[test]
fn absurd_values_do_no_harm() {
    let wait = |value: &'static str| feedback(429, [("Retry-After", value)], NOW).wait_ms;
    assert_eq!(wait("0"), Some(0));
    for (value, ms) in [
        ("-1", 1_000),
        ("10000000000", 86_400_000),
        ("99999999999999999999999999999999999999999999", 1_000),
        ("1e400", 1_000),
        ("NaN", 1_000),
        ("inf", 1_000),
        ("Sat, 21 Nov 2026 00:00:00 GMT", 0),
        ("31 Dec 2999 23:59:59 GMT", 86_400_000),
        ("31 Dec 9999 23:59:59 GMT", 1_000),
        ("soon", 1_000),
        ("", 1_000),
        ("Sun, 99 Nov 2026 00:00:00 GMT", 1_000),
        ("３", 1_000),
    ] {
        assert_eq!(wait(value), Some(ms), "{value}");
    }
    let left = |value: &'static str| feedback(200, [("X-RateLimit-Remaining", value)], NOW).left;
    assert_eq!((left("-5"), left("many"), left("1e999")), (None, None, None));
    assert_eq!(left("1e300"), Some((u64::MAX, 1_000)));
    let long: &'static str = Box::leak(";r=1,".repeat(100_000).into_boxed_str());
    assert!(feedback(200, [("RateLimit", long)], NOW).left.is_some());
}
