//! The queue of a system against one that is worked off call by call, and what must hold of every queue.

use super::*;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.unsigned_abs()) as i64
    }

    fn jobs(&mut self, most: i64) -> Vec<Job> {
        let count = self.below(most) + 1;
        (0..count)
            .map(|_| {
                let late = self.below(3) == 0;
                let gap = self.below(4) == 0;
                Job {
                    release: NOW + if late { self.below(50) * MINUTE } else { 0 },
                    running: false,
                    aside: self.below(8) == 0,
                    gap_ms: if gap { (1 + self.below(40)) * MINUTE } else { 0 },
                    more: self.below(3) as u8,
                }
            })
            .collect()
    }
}

fn pace(minutes: i64) -> Pace {
    lane("crm", minutes * MINUTE).pace
}

/// Works a queue off minute by minute, one call at a time, as slowly and plainly as can be.
fn plainly(jobs: &[Job], call: i64) -> Vec<i64> {
    let mut ends = vec![0; jobs.len()];
    let mut left: Vec<(i64, u8)> = jobs.iter().map(|job| (job.release, 1 + job.more)).collect();
    let mut now = NOW;
    while left.iter().any(|(_, calls)| *calls > 0) {
        let Some(i) = left.iter().position(|(release, calls)| *release <= now && *calls > 0) else {
            now += MINUTE;
            continue;
        };
        let until = now + call;
        let gap = if left[i].1 > jobs[i].more { jobs[i].gap_ms } else { 0 };
        left[i] = (until + gap, left[i].1 - 1);
        ends[i] = until;
        if !jobs[i].aside {
            now = until;
        }
    }
    ends
}

#[test]
fn a_queue_is_forecast_as_it_is_worked_off() {
    let mut dice = Dice(0x5eed_cafe_f00d);
    for round in 0..2_000 {
        let jobs = dice.jobs(30);
        let minutes = 1 + dice.below(9);
        let ends: Vec<i64> = turns(&jobs, pace(minutes), NOW).iter().map(|turn| turn.ends_at).collect();
        let plain = plainly(&jobs, minutes * MINUTE);
        assert_eq!(ends, plain, "round {round}: {jobs:?} at {minutes}");
    }
}

#[test]
fn what_is_due_later_moves_nothing() {
    let mut dice = Dice(0xdead_beef);
    for _ in 0..1_000 {
        let mut jobs = dice.jobs(20);
        // A call that is under way is not stopped: nobody arrives while one is.
        for job in &mut jobs {
            (job.release, job.gap_ms, job.aside) = (NOW, 0, false);
        }
        let before: Vec<Turn> = turns(&jobs, pace(3), NOW);
        let more = dice.jobs(10);
        let all: Vec<Job> = jobs.iter().chain(&more).copied().collect();
        assert_eq!(turns(&all, pace(3), NOW)[..jobs.len()], before);
    }
}

#[test]
fn a_faster_system_never_makes_the_queue_longer() {
    let mut dice = Dice(0xfeed);
    for _ in 0..1_000 {
        let mut jobs = dice.jobs(25);
        for job in &mut jobs {
            (job.aside, job.gap_ms) = (false, 0);
        }
        let total = |minutes| turns(&jobs, pace(minutes), NOW).iter().map(|turn| turn.ends_at).max();
        assert!(total(2) <= total(3));
    }
}

#[test]
fn each_turn_counts_what_was_done_before_it() {
    let mut dice = Dice(0x00c0_ffee);
    for _ in 0..1_000 {
        let jobs: Vec<Job> = dice.jobs(25).into_iter().map(|job| Job { release: NOW, ..job }).collect();
        for turn in turns(&jobs, pace(1), NOW) {
            assert_eq!(turn.begins_at, NOW + turn.calls_before as i64 * MINUTE, "it never stands still");
            assert!(turn.steps_before <= turn.calls_before && turn.begins_at < turn.acts_at);
            assert!(turn.acts_at <= turn.ends_at);
        }
    }
}

#[test]
fn the_rate_that_is_told_is_enough_and_hardly_more() {
    let mut dice = Dice(0xabcd);
    let mut told = 0;
    for _ in 0..300 {
        let record = Record { week: Seen { calls: 100, busy_ms: 100_000 }, ..Record::default() };
        let batch = 1 + dice.below(50) as usize;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let rate = (1 + dice.below(50)) as f64 / 100_000.0 / batch as f64;
        let with_rate = |rate| Lane { pace: Pace::of(&record, Some(rate), batch), batch, ..lane("crm", HOUR) };
        let mut backlog = with_lanes(&[with_rate(rate)]);
        backlog.deletions(1 + dice.below(500) as usize, 0, NOW + DAY);
        let n = backlog.with(request(NOW + (1 + dice.below(9)) * DAY), &[(0, step(Verb::Erase))]);
        let shown = backlog.shown(n);
        let Some((_, wanted)) = shown.because.last().and_then(|said| said.split_once("rate_per_second of ")) else {
            assert!(!shown.late, "{shown:?}");
            continue;
        };
        told += 1;
        let wanted: f64 = wanted.split(' ').next().expect("a word").parse().expect("a number");
        backlog.lanes[0] = with_rate(wanted);
        assert!(!backlog.shown(n).late, "{wanted} of {rate}: {:?}", backlog.shown(n).because);
        backlog.lanes[0] = with_rate(wanted * 0.88);
        assert!(backlog.shown(n).late, "{wanted}");
    }
    assert!(told > 50, "{told}");
}

#[test]
fn the_rate_that_is_told_for_a_vendor_is_enough() {
    let record = Record { week: Seen { calls: 100, busy_ms: 100_000 }, ..Record::default() };
    let with_rate =
        |rate| Lane { pace: Pace::of(&record, Some(rate), 1), batch: 1, completes_within_days: 7, ..lane("v", HOUR) };
    for steps in [10, 300, 2_000, 9_000] {
        let mut backlog = with_lanes(&[with_rate(0.001)]);
        backlog.deletions(steps, 0, NOW + 10 * DAY);
        let n = backlog.with(request(NOW + 11 * DAY), &[(0, step(Verb::Erase))]);
        let Some((_, wanted)) = backlog
            .shown(n)
            .because
            .last()
            .and_then(|said| said.split_once("rate_per_second of "))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
        else {
            assert!(!backlog.shown(n).late);
            continue;
        };
        backlog.lanes[0] = with_rate(wanted.split(' ').next().expect("a word").parse().expect("a number"));
        assert!(!backlog.shown(n).late, "{wanted}: {:?}", backlog.shown(n).because);
    }
}
