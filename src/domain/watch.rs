//! The watch looks at a request when one of its instants has come and says what is to be told; nothing else is remembered
//! between two looks than which notices exist already.
//!
//! [`look`] therefore names every notice whose time has come since the request was made, and the store keeps those that
//! it does not know: a look that was missed, made twice, or interrupted changes nothing but the moment of the telling.
//! A notice belongs to an [`Occasion`]: a request whose due date moved (an extension, a pause that ended) is told again for
//! its new date, once. When several levels were passed since the last look, each is recorded and only the gravest told.

use crate::deadline::{Band, Milestones};
use crate::notice::{DueNotice, NoticeKind, Occasion};
use jiff::{SignedDuration, Timestamp};

/// After so many business days of waiting the controller is reminded (legal.md § 4.4; afterwards somebody has to call).
pub const WAITING_REMINDERS: [u8; 3] = [0, 2, 5];

/// Something that a request waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Since when.
    pub since: Timestamp,
    /// When the controller is reminded: business days of waiting, and the instant; see [`WAITING_REMINDERS`].
    pub reminders: Vec<(u8, Timestamp)>,
}

/// What the watch knows of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The instants of its due date.
    pub milestones: Milestones,
    /// An open pause moves the due date from day to day: until it ends no date is told, and the band stays.
    pub moving: bool,
    /// The band that was seen last.
    pub band: Band,
    /// Whether it waits for its controller.
    pub waiting: Option<Waiting>,
    /// Since when it has been expected to end late.
    pub forecast_late_since: Option<Timestamp>,
    /// Since when it has needed a person.
    pub attention_since: Option<Timestamp>,
    /// When it ended.
    pub closed_at: Option<Timestamp>,
}

/// What a look has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How near the due date is.
    pub band: Band,
    /// Every notice whose time has come, told before or not, by kind.
    pub notices: Vec<DueNotice>,
    /// When to look again; none if nothing is left to be seen.
    pub next_at: Option<Timestamp>,
}

/// Looks at a request.
pub fn look(watched: &Watched, now: Timestamp) -> Seen {
    let closed = watched.closed_at.is_some();
    // What a request did not live to see is not told.
    let now = watched.closed_at.map_or(now, |closed_at| closed_at.min(now));
    let mut seen = Seen { band: watched.band, notices: Vec::new(), next_at: None };
    if watched.moving && !closed {
        // Tomorrow the date is another one.
        seen.next_at = now.checked_add(SignedDuration::from_hours(24)).ok();
    } else {
        dates(watched, now, &mut seen);
    }
    if closed {
        // It is over: only that it came too late is still to be told.
        for notice in &mut seen.notices {
            notice.superseded |= notice.kind != NoticeKind::Overdue;
        }
        seen.next_at = None;
        return seen;
    }
    if let Some(waiting) = &watched.waiting {
        reminders(watched, waiting, now, &mut seen);
    }
    let endangers = seen.band > Band::OnTrack || watched.forecast_late_since.is_some();
    let mut lasting = |kind, occasion, due_at| {
        seen.notices.push(DueNotice { kind, occasion, due_at, superseded: false, endangers });
    };
    if let Some(since) = watched.forecast_late_since {
        // A forecast that wavers is told once for a date.
        lasting(NoticeKind::ForecastLate, Occasion::Due(watched.milestones.overdue_at), since);
    }
    if let Some(since) = watched.attention_since {
        lasting(NoticeKind::NeedsAttention, Occasion::Since(since), since);
    }
    seen
}

/// The levels of the due date, the decision about an extension, and the confirmation of the receipt.
fn dates(watched: &Watched, now: Timestamp, seen: &mut Seen) {
    let milestones = &watched.milestones;
    let levels = [
        (NoticeKind::AtRisk, Band::AtRisk, milestones.at_risk_at),
        (NoticeKind::Critical, Band::Critical, milestones.critical_at),
        (NoticeKind::Overdue, Band::Overdue, milestones.overdue_at),
    ];
    seen.band = milestones.band(now);
    let occasion = Occasion::Due(milestones.overdue_at);
    for (kind, band, at) in levels {
        seen.due(now, kind, occasion.clone(), at, band < seen.band);
    }
    if let Some(at) = milestones.extension_decision_at {
        // Who hears that the date is missed needs not hear that there was something to decide.
        let superseded = seen.band == Band::Overdue;
        seen.due(now, NoticeKind::ExtensionDecision, Occasion::Due(at), at, superseded);
    }
    if let Some(at) = milestones.acknowledgement_warning_at {
        seen.due(now, NoticeKind::AcknowledgementDue, Occasion::Due(at), at, false);
    }
}

/// The controller is reminded while the request waits for it; if the time runs out meanwhile, that is said too.
fn reminders(watched: &Watched, waiting: &Waiting, now: Timestamp, seen: &mut Seen) {
    let since = waiting.since;
    let latest = waiting.reminders.iter().filter(|(_, at)| *at <= now).map(|(days, _)| *days).max();
    for (business_days, at) in &waiting.reminders {
        let occasion = Occasion::Waiting { since, business_days: *business_days };
        seen.due(now, NoticeKind::AwaitingController, occasion, *at, latest > Some(*business_days));
    }
    if !watched.moving {
        let at = watched.milestones.at_risk_at.max(since);
        seen.due(now, NoticeKind::AwaitingController, Occasion::WaitingTooLong { since }, at, false);
    }
}

impl Seen {
    /// Adds a notice if its time has come, else looks again when it comes.
    fn due(&mut self, now: Timestamp, kind: NoticeKind, occasion: Occasion, due_at: Timestamp, superseded: bool) {
        if due_at > now {
            self.next_at = Some(self.next_at.map_or(due_at, |next| next.min(due_at)));
        } else {
            let endangers = self.band > Band::OnTrack;
            self.notices.push(DueNotice { kind, occasion, due_at, superseded, endangers });
        }
    }
}

#[cfg(test)]
mod tests;
