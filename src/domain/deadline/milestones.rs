//! A milestone is an instant at which somebody should look at an open request again; the band says which ones have passed.

use super::clock::day_start;
use super::{Calendar, DeadlineError, EffectiveDue};
use crate::calendar::WorkingDays;
use crate::regulation::Sla;
use crate::words::spelled;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

spelled! {
    /// How near the effective due date is.
    Band {
        /// There is time.
        OnTrack = "on_track",
        /// Little time is left, or most of it has passed.
        AtRisk = "at_risk",
        /// Hardly any time is left.
        Critical = "critical",
        /// The due date has passed in its time zone.
        Overdue = "overdue",
    }
}

/// When each band begins, and when a decision is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milestones {
    /// From here on little time is left, or most of it has passed.
    pub at_risk_at: Timestamp,
    /// From here on hardly any time is left.
    pub critical_at: Timestamp,
    /// The first instant that is too late.
    pub overdue_at: Timestamp,
    /// The controller should decide about an extension, where it still can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_decision_at: Option<Timestamp>,
    /// The law's acknowledgement is due soon, and nobody said that it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledgement_warning_at: Option<Timestamp>,
}

/// Business days before an acknowledgement is due at which somebody is reminded of it.
const ACKNOWLEDGEMENT_WARNING: u16 = 2;

pub(super) struct Inputs<'a> {
    pub(super) sla: &'a Sla,
    pub(super) due: &'a EffectiveDue,
    pub(super) started_at: Timestamp,
    pub(super) zone: &'a TimeZone,
    pub(super) calendar: &'a Calendar<'a>,
    /// Last day to tell of an extension, in its law's zone and working days.
    pub(super) extension: Option<(Date, TimeZone, WorkingDays)>,
    pub(super) acknowledge_by: Option<Date>,
}

impl Milestones {
    pub(super) fn of(inputs: &Inputs<'_>) -> Result<Self, DeadlineError> {
        let Inputs { sla, due, zone, calendar, .. } = inputs;
        let with_left = |count| day_start(calendar.first_day_with_left(due.due_on, count)?, zone);
        let whole = due.due_before.duration_since(inputs.started_at);
        let elapsed = whole.as_millis().max(0) * i128::from(sla.at_risk_elapsed_percent);
        // Rounded up, so that never less than that part has passed.
        let elapsed = i64::try_from((elapsed + 99) / 100).map_err(|_| DeadlineError::OutOfRange)?;
        let mostly_over = inputs.started_at.checked_add(SignedDuration::from_millis(elapsed));
        let mostly_over = mostly_over.map_err(|_| DeadlineError::OutOfRange)?;
        // A date in another zone may end before the local day on which it would become critical.
        let critical_at = with_left(sla.critical_business_days_left)?.min(due.due_before);
        let at_risk_at = with_left(sla.at_risk_business_days_left)?.min(mostly_over).min(critical_at);
        let extension_decision_at = match &inputs.extension {
            None => None,
            Some((by, zone, days)) => {
                let count = sla.extension_decision_business_days_before_due;
                Some(day_start(days.calendar().business_days_before(*by, count)?, zone)?)
            }
        };
        let acknowledgement_warning_at = match inputs.acknowledge_by {
            None => None,
            Some(by) => Some(day_start(calendar.business_days_before(by, ACKNOWLEDGEMENT_WARNING)?, zone)?),
        };
        Ok(Self {
            at_risk_at,
            critical_at,
            overdue_at: due.due_before,
            extension_decision_at,
            acknowledgement_warning_at,
        })
    }

    /// The band at an instant.
    pub fn band(&self, now: Timestamp) -> Band {
        if now >= self.overdue_at {
            Band::Overdue
        } else if now >= self.critical_at {
            Band::Critical
        } else if now >= self.at_risk_at {
            Band::AtRisk
        } else {
            Band::OnTrack
        }
    }
}
