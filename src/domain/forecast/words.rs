//! A forecast's reasons, in sentences that name systems, numbers and dates, and nobody.

use super::pace::{Basis, Pace};
use super::queue::Turn;
use super::{ANSWER_MS, Backlog, Blocker, Entry, Forecast, Lane, Request};
use jiff::Timestamp;
use jiff::tz::TimeZone;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
/// Nearer than this an instant is told with its time.
const NEAR_MS: i64 = 2 * DAY_MS;

pub(super) fn because(
    backlog: &Backlog,
    request: usize,
    forecast: &Forecast,
    zone: &TimeZone,
    now: i64,
) -> Vec<String> {
    let told = Telling { backlog, request: &backlog.requests[request], forecast, zone, now };
    let mut all = Vec::new();
    told.blocker(request, &mut all);
    if forecast.blocked == Some(Blocker::NoSystem) {
        return all;
    }
    told.way(&mut all);
    all.push(told.due());
    if let Some(remedy) = told.remedy() {
        all.push(remedy);
    }
    all
}

struct Telling<'a> {
    backlog: &'a Backlog,
    request: &'a Request,
    forecast: &'a Forecast,
    zone: &'a TimeZone,
    now: i64,
}

impl Telling<'_> {
    fn blocker(&self, request: usize, all: &mut Vec<String>) {
        let Some(blocker) = self.forecast.blocked else { return };
        let own = || self.backlog.entries.iter().filter(|entry| entry.request == Some(request));
        let lane_of = |entry: &Entry| &self.backlog.lanes[entry.lane];
        let blocked = || own().map(lane_of).find(|lane| lane.blocker(self.now) == Some(blocker));
        let name = |lane: Option<&Lane>| lane.map_or("a system", |lane| lane.name.as_str()).to_owned();
        all.push(match blocker {
            Blocker::NoSystem => {
                "No connected system is instructed for this type of request: nothing is done before one is connected and the request is retried.".into()
            }
            Blocker::Controller if self.request.moving => {
                "It waits for its controller, and its due date moves while it does.".into()
            }
            Blocker::Controller => "It waits for its controller.".into(),
            Blocker::Approval => "It waits for a person's approval.".into(),
            Blocker::Review => "Its steps are done; it waits for a person to look at the result.".into(),
            Blocker::Attention => match own().find(|entry| entry.attention).map(lane_of) {
                Some(lane) => format!("{}: its step needs a person.", lane.name),
                None => "Its answer could not be made and needs a person.".into(),
            },
            Blocker::Disconnected => format!("{} is no longer connected.", name(blocked())),
            Blocker::Paused => match blocked().and_then(|lane| lane.paused).flatten() {
                Some(since) => format!("{} is paused since {}.", name(blocked()), self.when(since)),
                None => format!("{} is paused.", name(blocked())),
            },
            Blocker::Failing => {
                let since = blocked().and_then(|lane| lane.failing_since).unwrap_or(self.now);
                format!("{}: every call has failed since {}.", name(blocked()), self.when(since))
            }
        });
        if blocker != Blocker::NoSystem {
            all.push("When that ends cannot be known; what follows takes it as settled now.".into());
        }
    }

    /// What happens until the end, in its order.
    fn way(&self, all: &mut Vec<String>) {
        let (begins_at, _) = self.request.begins_at(self.now);
        if begins_at > self.now {
            all.push(format!("Until {} it can be withdrawn, and nothing is done before.", self.when(begins_at)));
        }
        let last = self.forecast.last.map(|i| &self.backlog.entries[i]);
        let Some((entry, turn)) = last.zip(self.forecast.turn) else {
            all.push("No step is left; only its answer has to be made.".into());
            return;
        };
        let lane = &self.backlog.lanes[entry.lane];
        let (name, days) = (&lane.name, lane.completes_within_days);
        if let Some(asked_at) = entry.asked_at {
            let asked = self.when(asked_at);
            let done = self.when(entry.job.release);
            all.push(format!("{name} was asked on {asked} and finishes within {} after that: {done}.", counted(days, "day")));
        } else {
            let wait = if entry.job.release > self.now.max(begins_at) {
                format!("not before {}; ", self.when(entry.job.release))
            } else {
                String::new()
            };
            let (verb, at) = if entry.job.gap_ms > 0 { ("asked", turn.acts_at) } else { ("done", turn.ends_at) };
            let (before, pace) = (before(&turn), pace(name, lane.pace));
            all.push(format!("{name}: {wait}{before}; {pace}, so this step is {verb} on {}.", self.when(at)));
            if entry.job.gap_ms > 0 {
                let done = self.when(turn.ends_at);
                all.push(format!("{name} finishes within {} after that: {done}.", counted(days, "day")));
            }
        }
        if self.request.policy.review && !self.request.reviewed && self.forecast.blocked != Some(Blocker::Review) {
            all.push("Then a person has to look at the result, which is taken to happen at once.".into());
        }
    }

    fn due(&self) -> String {
        let due = self.request.due_before;
        let zone = self.zone.iana_name().unwrap_or("UTC");
        let left = due - self.forecast.ends_at;
        let outcome = if self.request.moving {
            "which moves on".to_owned()
        } else if self.forecast.late {
            format!("late by {}", length(-left))
        } else if self.forecast.blocked.is_some() {
            format!("in time if that happens before {}", self.when(self.now + left))
        } else {
            format!("in time, with {} to spare", length(left))
        };
        format!("It is due before {} ({zone}): {outcome}.", self.moment(due))
    }

    /// What would make a late request end in time.
    fn remedy(&self) -> Option<String> {
        if !self.forecast.late || self.now >= self.request.due_before {
            return None;
        }
        let entry = &self.backlog.entries[self.forecast.last?];
        let (lane, turn) = (&self.backlog.lanes[entry.lane], self.forecast.turn?);
        let name = &lane.name;
        let left = self.request.due_before - ANSWER_MS - entry.job.gap_ms - entry.job.release.max(self.now);
        if left <= 0 {
            return Some(format!("Nothing in {name} can be fast enough: what it has to wait for ends too late by itself."));
        }
        let calls = turn.calls_before as i64 + 1 + i64::from(entry.job.more);
        // Strictly before, and rounded against us.
        let need = (left * 1_000 - 1_000) / calls;
        if need < 1 {
            return None;
        }
        if lane.pace.is_limited() && lane.pace.unlimited <= need {
            let rate = at_least(1_000_000.0 / (need as f64_of) / (lane.batch.max(1) as f64_of));
            return Some(format!("It would end in time with a rate_per_second of {name} of at least {rate}."));
        }
        let wanted = Pace { micros: need, ..lane.pace };
        Some(format!("It would end in time if {name} did {}.", rate(wanted)))
    }

    fn when(&self, ms: i64) -> String {
        if (ms - self.now).abs() < NEAR_MS { self.moment(ms) } else { self.strftime(ms, "%a %Y-%m-%d") }
    }

    fn moment(&self, ms: i64) -> String {
        self.strftime(ms, "%a %Y-%m-%d %H:%M")
    }

    fn strftime(&self, ms: i64, format: &str) -> String {
        let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
        at.to_zoned(self.zone.clone()).strftime(format).to_string()
    }
}
