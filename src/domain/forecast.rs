//! A forecast is the instant at which an open request will really end, found by letting each system work off its queue at its pace.
//!
//! It is exact as far as what it rests on is: the queue is that of the moment, the pace is what the system did while it had work
//! ([`pace`]), a vendor that takes days is believed to take all of them, and what a person has to decide is taken to be decided
//! now. A request that comes later with an earlier due date goes first, and moves the forecasts of those behind it.
//! What waits for a person has no end that could be known: then [`Foreseen::act_by`] says until when they can still decide.

pub mod pace;
pub mod queue;
#[cfg(test)]
mod tests;
mod words;

use crate::plan::Policy;
use crate::stage::Stage;
use crate::words::spelled;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use pace::{Basis, Pace};
use queue::{Job, Queued, StepFacts, Turn, turns};
use serde::{Deserialize, Serialize};

/// Making the answer and telling it takes a moment (ms).
const ANSWER_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// For so long every call must have failed before a system counts as failing (ms), and at least so often.
const FAILING_MS: i64 = 900_000;
const FAILURES: i64 = 3;

/// A system as the forecast knows it.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The controller's name for it.
    pub name: String,
    /// How fast it is.
    pub pace: Pace,
    /// Most calls of a batch.
    pub batch: usize,
    /// Its limits are written in full, not as the shorthand `rate_per_second`.
    pub limits_in_full: bool,
    /// Days that it takes by itself after it was asked.
    pub completes_within_days: i64,
    /// Nothing is sent there; since when (Unix ms), if that is known.
    pub paused: Option<Option<i64>>,
    /// Every call has failed since (Unix ms).
    pub failing_since: Option<i64>,
    /// It is no longer connected.
    pub disconnected: bool,
}

/// A request as the forecast knows it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where it stands.
    pub stage: Stage,
    /// What its controller wants.
    pub policy: Policy,
    /// A person approved the start.
    pub approved: bool,
    /// A person approved the result.
    pub reviewed: bool,
    /// When the cooling-off ends (Unix ms), once it has begun.
    pub cooling_off_until: Option<i64>,
    /// The first instant that is too late (Unix ms).
    pub due_before: i64,
    /// A pause moves its due date from day to day.
    pub moving: bool,
    /// Its answer could not be made.
    pub answer_stuck: bool,
    /// It has steps, settled or not.
    pub planned: bool,
}

/// A step in the queue of a system.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its system, by its place in [`Backlog::lanes`].
    pub lane: usize,
    /// Its request, by its place in [`Backlog::requests`]; none if only its place in the queue matters.
    pub request: Option<usize>,
    /// Its place in the queue: when it is due (Unix ms), then its id.
    pub key: (i64, Box<str>),
    /// A person must look at it.
    pub attention: bool,
    /// A legal hold stops it.
    pub on_hold: bool,
    /// The system was asked at this moment (Unix ms) and does it by itself.
    pub asked_at: Option<i64>,
    /// What is left to do.
    pub job: Job,
}

/// Open requests of one controller with the queues of its systems.
#[derive(Debug, Clone, Default)]
pub struct Backlog {
    /// Its systems.
    pub lanes: Vec<Lane>,
    /// Its requests.
    pub requests: Vec<Request>,
    /// Steps that are not settled, those of one request next to each other.
    pub entries: Vec<Entry>,
}

spelled! {
    /// What has to happen before anything can be foreseen.
    Blocker {
        /// Its controller must answer.
        Controller = "controller",
        /// A person must approve the start.
        Approval = "approval",
        /// A person must look at the result.
        Review = "review",
        /// A person must look at a step, or at the answer.
        Attention = "attention",
        /// A legal hold must be released.
        Hold = "legal_hold",
        /// No system is instructed.
        NoSystem = "no_system",
        /// A system must be connected again.
        Disconnected = "system_disconnected",
        /// A system must be resumed.
        Paused = "system_paused",
        /// A system must be mended.
        Failing = "system_failing",
    }
}

spelled! {
    /// How much a forecast is worth.
    Confidence {
        /// It rests on what the systems did.
        Measured = "measured",
        /// A system was not measured yet and is taken to be as fast as most.
        Assumed = "assumed",
        /// Something has to happen first.
        Blocked = "blocked",
    }
}

/// When a request will end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// When it ends (Unix ms); if it is blocked: when it would, were the blocker gone now.
    pub ends_at: i64,
    /// It cannot end in time, whatever is decided now.
    pub late: bool,
    /// What has to happen first.
    pub blocked: Option<Blocker>,
    /// The step that ends last, by its place in [`Backlog::entries`], and its turn.
    pub last: Option<(usize, Turn)>,
    /// The steps that end too late, the last one included.
    pub late_steps: Vec<(usize, Turn)>,
    /// How much it is worth.
    pub confidence: Confidence,
}

/// What is kept of a forecast, and shown of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    /// When the request ends; none while something has to happen first.
    pub finishes_at: Option<Timestamp>,
    /// It cannot end in time.
    pub late: bool,
    /// By so many days, begun ones counted.
    pub late_by_days: Option<i64>,
    /// Since when this was expected.
    pub late_since: Option<Timestamp>,
    /// The system whose step ends last.
    pub bottleneck: Option<String>,
    /// What has to happen first.
    pub blocked_by: Option<Blocker>,
    /// The last instant at which that can happen so that the request still ends in time.
    pub act_by: Option<Timestamp>,
    /// How much it is worth.
    pub confidence: Confidence,
    /// Why, in sentences.
    pub because: Vec<String>,
    /// When this was computed.
    pub computed_at: Timestamp,
}

impl Request {
    /// When the work on it may begin, or may have begun (Unix ms), and whether a person has to say something first.
    pub fn begins_at(&self, now: i64) -> (i64, bool) {
        let after = match self.cooling_off_until {
            _ if self.policy.cooling_off_ms == 0 => now,
            None => now.saturating_add(self.policy.cooling_off_ms),
            Some(until) => until.max(now),
        };
        match self.stage {
            Stage::AwaitingApproval | Stage::AwaitingController => (after, true),
            Stage::Received => (after, self.policy.approval && !self.approved),
            Stage::CoolingOff => (after, false),
            _ => (now, false),
        }
    }

    fn waits_for(&self) -> Option<Blocker> {
        match self.stage {
            _ if !self.planned => Some(Blocker::NoSystem),
            Stage::AwaitingController => Some(Blocker::Controller),
            Stage::AwaitingApproval => Some(Blocker::Approval),
            Stage::Received if self.policy.approval && !self.approved => Some(Blocker::Approval),
            Stage::Review if !self.reviewed => Some(Blocker::Review),
            _ if self.answer_stuck => Some(Blocker::Attention),
            _ => None,
        }
    }
}

impl Lane {
    fn blocker(&self, now: i64) -> Option<Blocker> {
        if self.disconnected {
            Some(Blocker::Disconnected)
        } else if self.paused.is_some() {
            Some(Blocker::Paused)
        } else {
            self.failing_since.filter(|since| now - since >= FAILING_MS).map(|_| Blocker::Failing)
        }
    }

    /// Since when every call has failed, if that is more than a hiccup.
    pub fn failing(record: &pace::Record) -> Option<i64> {
        record.failing_since.filter(|_| record.failures >= FAILURES)
    }
}

impl Entry {
    /// A step of a request at its place in the queue; none if it is settled.
    pub fn of(
        request: Option<usize>,
        lane: usize,
        key: (i64, Box<str>),
        step: &StepFacts,
        completes_within_days: i64,
        (begins_at, aside): (i64, bool),
        now: i64,
    ) -> Option<Self> {
        let job = step.job(completes_within_days, begins_at, aside, now)?;
        let attention = step.attention && step.queued.is_none();
        let on_hold = step.queued == Some(Queued::Hold);
        Some(Self { lane, request, key, attention, on_hold, asked_at: step.asked_at, job })
    }
}

impl Backlog {
    /// The forecast of each request, in their order.
    pub fn forecasts(&self, now: i64) -> Vec<Forecast> {
        let mut places: Vec<Vec<usize>> = vec![Vec::new(); self.lanes.len()];
        for (i, entry) in self.entries.iter().enumerate() {
            places[entry.lane].push(i);
        }
        let mut own: Vec<Vec<(usize, Turn)>> = vec![Vec::new(); self.requests.len()];
        for (lane, place) in self.lanes.iter().zip(&mut places) {
            place.sort_by(|a, b| self.entries[*a].key.cmp(&self.entries[*b].key));
            let jobs: Vec<Job> = place.iter().map(|i| self.entries[*i].job).collect();
            for (i, turn) in place.iter().zip(turns(&jobs, lane.pace, now)) {
                if let Some(request) = self.entries[*i].request {
                    own[request].push((*i, turn));
                }
            }
        }
        self.requests.iter().zip(own).map(|(request, own)| self.forecast(request, &own, now)).collect()
    }

    fn forecast(&self, request: &Request, own: &[(usize, Turn)], now: i64) -> Forecast {
        let lane_of = |i: usize| &self.lanes[self.entries[i].lane];
        let last = own.iter().copied().max_by_key(|(_, turn)| turn.ends_at);
        let steps_end = last.map_or(now, |(_, turn)| turn.ends_at);
        let (begins_at, _) = request.begins_at(now);
        let ends_at = steps_end.max(begins_at).max(now).saturating_add(ANSWER_MS);
        let stuck = || own.iter().any(|(i, _)| self.entries[*i].attention).then_some(Blocker::Attention);
        let system = || own.iter().find_map(|(i, _)| lane_of(*i).blocker(now));
        let held = || own.iter().any(|(i, _)| self.entries[*i].on_hold).then_some(Blocker::Hold);
        let blocked = request.waits_for().or_else(stuck).or_else(held).or_else(system);
        // A guess about a system that ends long before the last one does no harm.
        let counts = |turn: &Turn| turn.ends_at - now >= (steps_end - now) / 2;
        let assumed = own.iter().any(|(i, turn)| lane_of(*i).pace.basis == Basis::Assumed && counts(turn));
        let confidence = match blocked {
            Some(_) => Confidence::Blocked,
            None if assumed => Confidence::Assumed,
            None => Confidence::Measured,
        };
        let late = !request.moving && ends_at >= request.due_before;
        let too_late = |(_, turn): &&(usize, Turn)| late && turn.ends_at + ANSWER_MS >= request.due_before;
        let late_steps = own.iter().filter(too_late).copied().collect();
        Forecast { ends_at, late, blocked, last, late_steps, confidence }
    }

    /// What is kept of a forecast. `before` is what was kept last.
    pub fn foreseen(
        &self,
        request: usize,
        forecast: &Forecast,
        zone: &TimeZone,
        now: i64,
        before: Option<&Foreseen>,
    ) -> Foreseen {
        let due = self.requests[request].due_before;
        let instant = |ms: i64| Timestamp::from_millisecond(ms).ok();
        let left = due - forecast.ends_at;
        let computed_at = instant(now).unwrap_or_default();
        let waits = forecast.blocked.is_some() && !self.requests[request].moving;
        Foreseen {
            finishes_at: forecast.blocked.is_none().then(|| instant(forecast.ends_at)).flatten(),
            late: forecast.late,
            late_by_days: forecast.late.then(|| days_begun(-left)),
            late_since: forecast.late.then(|| before.and_then(|b| b.late_since).unwrap_or(computed_at)),
            bottleneck: forecast.last.map(|(i, _)| self.lanes[self.entries[i].lane].name.clone()),
            blocked_by: forecast.blocked,
            act_by: (waits && left > 0).then(|| instant(now + left)).flatten(),
            confidence: forecast.confidence,
            because: words::because(self, request, forecast, zone, now),
            computed_at,
        }
    }
}

/// Days, a day that has begun counted whole; at least one.
fn days_begun(ms: i64) -> i64 {
    (ms / DAY_MS + i64::from(ms % DAY_MS > 0)).max(1)
}

impl Forecast {
    /// Whether this says something else than what was kept: another flag, blocker or bottleneck, or another end by more than an
    /// hour and more than a tenth of the time that was left.
    pub fn differs(&self, backlog: &Backlog, due_before: i64, before: &Foreseen, now: i64) -> bool {
        if (self.late, self.blocked, self.confidence) != (before.late, before.blocked_by, before.confidence) {
            return true;
        }
        let name = self.last.map(|(i, _)| backlog.lanes[backlog.entries[i].lane].name.as_str());
        let moved = |new: i64, old: Timestamp| {
            let left = old.as_millisecond() - before.computed_at.as_millisecond();
            (new - old.as_millisecond()).abs() > (left / 10).max(HOUR_MS)
        };
        // While it is blocked its end moves with the present, and what stays is until when it can be unblocked.
        let moved = match (before.finishes_at, before.act_by) {
            (Some(old), _) => moved(self.ends_at, old),
            (None, Some(old)) => moved(now + due_before - self.ends_at, old),
            (None, None) => false,
        };
        moved || name != before.bottleneck.as_deref()
    }
}
