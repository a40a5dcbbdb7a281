//! The condition of a system in a word and a sentence, and how near the end of its credentials is.

use crate::http::board::parts::{at, plain, span};
use jiff::Unit;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_store::{SystemHealth, SystemRow};

/// How much a system needs somebody, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    Nothing,
    Look,
    Act,
}

/// What a system is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Works,
    Silent,
    PausedAbove,
    Paused,
    NeedsPerson,
    Failing,
    LeftAlone,
    Problem,
    CredentialsRefused,
}

impl Condition {
    /// What a system is in at a moment; `above` if its controller or the whole installation is paused.
    pub(super) fn of(health: &SystemHealth, above: bool, now: i64) -> Self {
        let system = &health.system;
        let problem = system.problem.as_ref().map(|(code, _)| code.as_str());
        if problem == Some("credentials_refused") {
            Condition::CredentialsRefused
        } else if system.paused {
            Condition::Paused
        } else if above {
            Condition::PausedAbove
        } else if system.breaker.until.is_some_and(|until| until > now) {
            Condition::LeftAlone
        } else if problem.is_some() {
            Condition::Problem
        } else if health.pace.failing_since.is_some() {
            Condition::Failing
        } else if health.stuck > 0 {
            Condition::NeedsPerson
        } else if health.pace.done_at.is_none() {
            Condition::Silent
        } else {
            Condition::Works
        }
    }

    pub(super) const fn need(self) -> Need {
        match self {
            Condition::Works | Condition::Silent => Need::Nothing,
            Condition::Paused | Condition::PausedAbove | Condition::NeedsPerson => Need::Look,
            Condition::Failing | Condition::LeftAlone | Condition::Problem | Condition::CredentialsRefused => Need::Act,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Condition::Works => "works",
            Condition::Silent => "nothing done lately",
            Condition::Paused | Condition::PausedAbove => "paused",
            Condition::NeedsPerson => "needs a person",
            Condition::Failing => "fails",
            Condition::LeftAlone => "left alone",
            Condition::Problem => "check failed",
            Condition::CredentialsRefused => "credentials refused",
        }
    }

    /// What it means here and what to do, in a sentence.
    pub(super) fn sentence(self, health: &SystemHealth, zone: &TimeZone, now: i64) -> Markup {
        let system = &health.system;
        let ago = |since: i64| span(now - since);
        html! {
            @match self {
                Condition::Works => { @if let Some(done) = health.pace.done_at { "It answered " (ago(done)) " ago." } }
                Condition::Silent => "Nothing was asked of it in the last seven days.",
                Condition::PausedAbove => "Its controller or the whole installation is paused: nothing new is begun; deadlines go on.",
                Condition::Paused => {
                    "Nothing new is begun; deadlines go on."
                    @if let Some((since, by)) = &health.paused_since {
                        " Since " (at(*since, zone)) @if let Some(by) = by { ", by " span.id { (by) } } "."
                    }
                }
                Condition::NeedsPerson => "It answers, but some steps there need a person.",
                Condition::Failing => { @if let Some(since) = health.pace.failing_since { "No success for " (ago(since)) "; it is tried again by itself." } }
                Condition::LeftAlone => {
                    "It failed " (system.breaker.failures) " calls in a row. "
                    @if let Some(until) = system.breaker.until { "It is tried again at " (at(until, zone)) "." }
                }
                Condition::Problem | Condition::CredentialsRefused => {
                    @if let Some((code, detail)) = &system.problem {
                        @if detail.is_empty() { (plain(code)) } @else { bdi { (detail) } }
                    }
                }
            }
        }
    }
}

/// How near the end of a system's credentials is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expiry {
    /// In a month.
    Near,
    /// In two weeks.
    Soon,
    /// In three days.
    Now,
    /// It is over.
    Over,
}

/// Days before the last good day on which a warning begins, the last being the most urgent.
const WARNED: [(i32, Expiry); 3] = [(3, Expiry::Now), (14, Expiry::Soon), (30, Expiry::Near)];

/// The last day on which the credentials of a system are good and how near that is, from thirty days before.
pub(crate) fn expiry(system: &SystemRow, today: Date) -> Option<(Date, Expiry)> {
    let last = system.credentials_expire_on()?;
    let days = today.until((Unit::Day, last)).ok()?.get_days();
    if days < 0 {
        return Some((last, Expiry::Over));
    }
    WARNED.iter().find(|(within, _)| days <= *within).map(|(_, near)| (last, *near))
}
