//! The queue of a system is worked off by the earliest due date; a turn is when one step of it is at work.
//!
//! [`turns`] does what the claimer does, with the one simplification that a system is one worker with the measured pace: whoever
//! is due first among those that may begin goes next, and the second read goes right behind what it reads, unless the system
//! first takes days by itself.

use super::pace::Pace;
use crate::Verb;
use crate::step::{Phase, StepState};
use crate::words::spelled;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const DAY_MS: i64 = 86_400_000;
/// A turn beyond this is not told apart from never (ms).
const HORIZON_MS: i64 = 36_525 * DAY_MS;

spelled! {
    /// What the queue's own column says of a step.
    Queued {
        /// It may be claimed.
        Ready = "ready",
        /// Its time comes later.
        Wait = "wait",
        /// A worker has it.
        Run = "run",
        /// It is parked while its controller is awaited.
        Held = "held",
        /// A legal hold stops it.
        Hold = "hold",
    }
}

/// A step as the queue knows it.
#[derive(Debug, Clone, Copy)]
pub struct StepFacts {
    /// What is done.
    pub verb: Verb,
    /// What came of it so far.
    pub state: StepState,
    /// Acting or verifying.
    pub phase: Phase,
    /// Whether it is in the queue.
    pub queued: Option<Queued>,
    /// Not before this moment (Unix ms).
    pub not_before: i64,
    /// When its lease began (Unix ms), if one holds it.
    pub leased_at: Option<i64>,
    /// When the system was asked (Unix ms), if it does the rest by itself.
    pub asked_at: Option<i64>,
    /// A person must look at it.
    pub attention: bool,
}

/// What is left to do of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// When it may begin (Unix ms).
    pub release: i64,
    /// A worker has it since `release`.
    pub running: bool,
    /// Somebody has to say something first: it takes no time from others until then.
    pub aside: bool,
    /// After its first call the system takes this long by itself (ms).
    pub gap_ms: i64,
    /// Calls after that.
    pub more: u8,
}

impl StepFacts {
    /// What is left to do; none if it is settled. `begins_at` is when the work on its request may begin, `aside` that a person
    /// has to say something first.
    pub fn job(&self, completes_within_days: i64, begins_at: i64, aside: bool, now: i64) -> Option<Job> {
        if self.state.is_settled(self.verb) {
            return None;
        }
        let read = u8::from(self.verb.must_be_verified());
        let takes = completes_within_days.saturating_mul(DAY_MS);
        let running = self.queued == Some(Queued::Run);
        let (release, aside) = match self.queued {
            Some(Queued::Run) => (self.leased_at.unwrap_or(now).min(now), false),
            Some(Queued::Ready) => (now, false),
            Some(Queued::Wait) => (self.not_before.max(now), false),
            Some(Queued::Held | Queued::Hold) => (self.not_before.max(begins_at).max(now), true),
            None => (begins_at.max(now), aside || self.attention),
        };
        let job = Job { release, running, aside, gap_ms: 0, more: 0 };
        Some(match self.phase {
            Phase::Verify => job,
            // What it promised counts, not when it is next looked at.
            Phase::Act if self.asked_at.is_some() || self.state == StepState::External => {
                let done_at = self.asked_at.map_or(release, |at| at.saturating_add(takes)).max(release);
                Job { release: done_at, running: running && done_at <= now, more: read, ..job }
            }
            Phase::Act if takes > 0 => Job { gap_ms: takes, more: 1 + read, ..job },
            Phase::Act => Job { more: read, ..job },
        })
    }
}

/// When a step is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Its first call begins (Unix ms).
    pub begins_at: i64,
    /// Its first call ends: it acted, or was asked to.
    pub acts_at: i64,
    /// Its last call ends.
    pub ends_at: i64,
    /// Other steps that are worked on before it begins.
    pub steps_before: u64,
    /// Calls that are made for them.
    pub calls_before: u64,
    /// Calls that are made until it ends, its own included.
    pub calls_until: u64,
}

/// The turn of each job of one system; the jobs are in the order of the queue, the earliest due first.
pub fn turns(jobs: &[Job], pace: Pace, now: i64) -> Vec<Turn> {
    // The next call begins after `cost`; a limit holds up what comes next and not the call itself.
    let (cost, takes) = (pace.micros, pace.unlimited);
    let mut at = started_at(jobs, cost, now);
    let none = Turn { begins_at: 0, acts_at: 0, ends_at: 0, steps_before: 0, calls_before: 0, calls_until: 0 };
    let mut all = vec![none; jobs.len()];
    let mut left: Vec<u8> = jobs.iter().map(|job| 1 + job.more).collect();
    // What may not begin yet, by its time; what may, by its place, those first that a worker has already.
    let mut later: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::with_capacity(jobs.len());
    let mut ready: BinaryHeap<Reverse<(bool, usize)>> = BinaryHeap::new();
    later.extend(jobs.iter().enumerate().map(|(i, job)| {
        let release = if job.running { at } else { job.release.saturating_mul(1_000) };
        Reverse((release, i))
    }));
    let (mut steps, mut calls) = (0, 0);
    let ms = |micros: i64| (micros / 1_000 + i64::from(micros % 1_000 > 0)).clamp(now, now.saturating_add(HORIZON_MS));
    loop {
        while later.peek().is_some_and(|Reverse((release, _))| *release <= at) {
            let Some(Reverse((_, i))) = later.pop() else { break };
            ready.push(Reverse((!jobs[i].running || left[i] <= jobs[i].more, i)));
        }
        let Some(Reverse((_, i))) = ready.pop() else {
            let Some(Reverse((next, _))) = later.peek() else { break };
            at = *next;
            continue;
        };
        let (job, turn) = (&jobs[i], &mut all[i]);
        let done = at.saturating_add(takes);
        let first = left[i] > job.more;
        if first {
            *turn = Turn { begins_at: ms(at), acts_at: ms(done), steps_before: steps, calls_before: calls, ..none };
            steps += u64::from(!job.aside);
        }
        left[i] -= 1;
        // Who is aside takes its time and nobody else's.
        let next = at.saturating_add(cost);
        let own = if job.aside { 1 + job.more - left[i] } else { 1 };
        (turn.ends_at, turn.calls_until) = (ms(done), calls + u64::from(own));
        if !job.aside {
            calls += 1;
            at = next;
        }
        if left[i] > 0 {
            let gap = if first { job.gap_ms.saturating_mul(1_000) } else { 0 };
            later.push(Reverse((if gap > 0 { done.saturating_add(gap) } else { next }, i)));
        }
    }
    all
}

/// When what is running now was begun, in microseconds: at the latest moment that still lets all of it end now or later.
fn started_at(jobs: &[Job], cost: i64, now: i64) -> i64 {
    let running = jobs.iter().filter(|job| job.running);
    let (count, since) = running.fold((0_i64, now), |(count, since), job| (count + 1, since.min(job.release)));
    let now = now.saturating_mul(1_000);
    now.saturating_sub(cost.saturating_mul(count)).max(since.saturating_mul(1_000))
}
