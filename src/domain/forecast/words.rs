//! A forecast's reasons, in sentences that name systems, numbers and dates, and nobody.

use super::pace::Basis;
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
    if now < told.request.due_before {
        all.extend(forecast.late_steps.iter().filter_map(|(i, turn)| told.remedy(&backlog.entries[*i], turn)));
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
            Blocker::Hold => match own().find(|entry| entry.on_hold).map(lane_of) {
                Some(lane) => format!("{}: a legal hold stops its step until it is released, or somebody decides to keep the data.", lane.name),
                None => "A legal hold stops it.".into(),
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
        let Some((entry, turn)) = self.forecast.last.map(|(i, turn)| (&self.backlog.entries[i], turn)) else {
            all.push("No step is left; only its answer has to be made.".into());
            return;
        };
        let lane = &self.backlog.lanes[entry.lane];
        let (name, within) = (&lane.name, counted(lane.completes_within_days, "day"));
        let done_by_itself = if let Some(asked_at) = entry.asked_at {
            let (asked, done) = (self.when(asked_at), self.when(entry.job.release));
            all.push(format!("{name} was asked on {asked} and finishes within {within} after that: {done}."));
            entry.job.release
        } else {
            let wait = if entry.job.release > self.now.max(begins_at) {
                format!("not before {}; ", self.when(entry.job.release))
            } else {
                String::new()
            };
            let (verb, at) = if entry.job.gap_ms > 0 { ("asked", turn.acts_at) } else { ("done", turn.ends_at) };
            let (before, pace) = (before(&turn), pace(lane));
            all.push(format!("{name}: {wait}{before}; {pace}, so this step is {verb} on {}.", self.when(at)));
            if entry.job.gap_ms == 0 {
                turn.ends_at
            } else {
                let done = turn.acts_at + entry.job.gap_ms;
                all.push(format!("{name} finishes within {within} after that: {}.", self.when(done)));
                done
            }
        };
        if turn.ends_at - done_by_itself >= HOUR_MS {
            let seen = self.when(turn.ends_at);
            all.push(format!(
                "To see that it did, {name} is asked again and read; with those due before it, that is on {seen}."
            ));
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
            // As it is counted beside: a day that has begun counts whole.
            let late = if -left < DAY_MS { length(-left) } else { counted(super::days_begun(-left), "day") };
            format!("late by {late}")
        } else if self.forecast.blocked.is_some() {
            format!("in time if that happens before {}", self.when(self.now + left))
        } else {
            format!("in time, with {} to spare", length(left))
        };
        format!("It is due before {} ({zone}): {outcome}.", self.moment(due))
    }

    /// What would bring a late step in time.
    fn remedy(&self, entry: &Entry, turn: &Turn) -> Option<String> {
        let lane = &self.backlog.lanes[entry.lane];
        let name = &lane.name;
        let left = self.request.due_before - ANSWER_MS - entry.job.gap_ms - entry.job.release.max(self.now);
        if left <= 0 {
            return Some(format!(
                "No speed of {name} brings it in time: what it has to wait for takes too long by itself."
            ));
        }
        // Rounded against us: ending with the due date would be too late.
        let need = (left * 1_000 - 1_000) / turn.calls_until.max(1) as i64;
        if lane.pace.is_limited() && lane.pace.unlimited <= need {
            let rate = rate_for(need, lane.batch);
            let limit = if lane.limits_in_full { "limits for" } else { "a rate_per_second of" };
            let calls = if lane.limits_in_full { " calls a second" } else { "" };
            return Some(format!("With {limit} {rate}{calls} {name} would be in time."));
        }
        (need > 0).then(|| format!("With {} {name} would be in time.", rate(need, true)))
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

/// What comes before a turn.
fn before(turn: &Turn) -> String {
    let steps = turn.steps_before;
    let are = if steps == 1 { "is" } else { "are" };
    let calls = if turn.calls_before == steps {
        String::new()
    } else {
        format!(", {} in all", counted(turn.calls_before as i64, "call"))
    };
    match steps {
        0 => "no other step is due before this one".into(),
        _ => format!("{} {are} due before this one{calls}", counted(steps as i64, "step")),
    }
}

/// How fast a system is, and how that is known.
fn pace(lane: &Lane) -> String {
    let (name, pace) = (&lane.name, lane.pace);
    let rate = rate(pace.micros, false);
    match pace.basis {
        _ if pace.is_limited() && lane.limits_in_full => format!("its limits allow {rate}"),
        _ if pace.is_limited() => format!("its rate_per_second allows {rate}"),
        Basis::LastDay => format!("in the last 24 hours it did {rate} while it had work"),
        Basis::LastWeek => format!("in the last 7 days it did {rate} while it had work"),
        Basis::Assumed => format!("{name} was not measured yet and is taken to do {rate}"),
    }
}

/// How many calls of so many microseconds fit into a span that suits them, rounded up or down.
fn rate(micros: i64, up: bool) -> String {
    let calls = |seconds: i64| {
        let span = seconds * 1_000_000;
        span / micros + i64::from(up && span % micros > 0)
    };
    match calls(86_400) {
        0 => format!("one call in {}", counted(micros / 86_400_000_000, "day")),
        a_day @ 1..10_000 => format!("{} a day", counted(a_day, "call")),
        10_000..500_000 => format!("{} an hour", counted(calls(3_600), "call")),
        _ => format!("{} a second", counted(calls(1), "call")),
    }
}

/// The smallest rate of batches, told in two digits, with which a call takes no longer than so many microseconds.
#[expect(clippy::cast_precision_loss, reason = "two digits are told, rounded up")]
fn rate_for(micros: i64, batch: usize) -> String {
    let exact = 1_000_000.0 / micros as f64 / batch.max(1) as f64;
    let digits = (1.0 - exact.log10().floor()).max(0.0) as usize;
    let unit = 10_f64.powi(digits as i32);
    format!("{:.digits$}", (exact * unit).ceil() / unit)
}

/// A time as people say it.
fn length(ms: i64) -> String {
    match ms {
        ..HOUR_MS => "less than an hour".into(),
        HOUR_MS..DAY_MS => counted(ms / HOUR_MS, "hour"),
        _ => counted(ms / DAY_MS, "day"),
    }
}

fn counted(n: i64, what: &str) -> String {
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
}

fn grouped(n: i64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && digit != '-' && (digits.len() - i).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
