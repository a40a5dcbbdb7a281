//! A notice says once that a request needs somebody's eye; its kind decides who hears of it, and whether at once or in the morning.

use crate::deadline::Band;
use crate::words::spelled;
use jiff::Timestamp;
use std::fmt;

spelled! {
    /// What a notice says.
    NoticeKind {
        /// Little time is left.
        AtRisk = "at_risk",
        /// Hardly any time is left.
        Critical = "critical",
        /// The effective due date has passed.
        Overdue = "overdue",
        /// Whoever may extend the time has to decide now: later is too late.
        ExtensionDecision = "extension_decision",
        /// The receipt of the request has to be confirmed soon (11 CCR 7021(a) and its like).
        AcknowledgementDue = "acknowledgement_due",
        /// A connected system has only failed for days.
        ConnectorSilent = "connector_silent",
        /// The request waits for a decision or an answer of its controller.
        AwaitingController = "awaiting_controller",
        /// As things go it will be finished only after its due date.
        ForecastLate = "forecast_late",
        /// A step or the answer needs a person.
        NeedsAttention = "needs_attention",
    }
}

spelled! {
    /// Who is told.
    NotifyRole {
        /// Those who run this installation.
        Operator = "operator",
        /// The processor's privacy team.
        PrivacyTeam = "privacy_team",
        /// The controller's own people.
        Controller = "controller",
        /// Data protection officer and management.
        Management = "management",
    }
}

spelled! {
    /// How somebody is told.
    Channel {
        /// Mail over SMTP.
        Email = "email",
        /// A webhook of Slack, or of a program that takes the same JSON.
        Slack = "slack",
        /// A webhook for programs, signed as Standard Webhooks has it.
        Webhook = "webhook",
    }
}

impl Channel {
    /// Whether people read it: they get few messages with many lines.
    pub const fn is_for_people(self) -> bool {
        matches!(self, Channel::Email | Channel::Slack)
    }
}

spelled! {
    /// When somebody is told.
    Delivery {
        /// What cannot wait at once, the rest in the morning ([`NoticeKind::cannot_wait`]).
        Auto = "auto",
        /// Everything at once.
        Now = "now",
        /// Everything in one message on the next working morning.
        Digest = "digest",
    }
}

impl Delivery {
    /// Whether a notice of this kind is told at once.
    pub const fn is_at_once(self, kind: NoticeKind) -> bool {
        match self {
            Delivery::Auto => kind.cannot_wait(),
            Delivery::Now => true,
            Delivery::Digest => false,
        }
    }
}

impl NoticeKind {
    /// Whether a night is too long to wait: the date is missed or nearly so, or somebody has to repair something.
    pub const fn cannot_wait(self) -> bool {
        use NoticeKind as K;
        matches!(self, K::Overdue | K::Critical | K::ConnectorSilent | K::NeedsAttention)
    }

    /// How near the due date is, for the notices that say just that.
    pub const fn band(self) -> Option<Band> {
        match self {
            NoticeKind::AtRisk => Some(Band::AtRisk),
            NoticeKind::Critical => Some(Band::Critical),
            NoticeKind::Overdue => Some(Band::Overdue),
            _ => None,
        }
    }
}

/// What makes a notice one of its kind for its request: the same occasion is told once, whatever happens to the watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Occasion {
    /// The due date that it speaks of (the first instant that is too late): another date is another occasion.
    Due(Timestamp),
    /// So many business days after the request began to wait.
    Waiting {
        /// When it began.
        since: Timestamp,
        /// 0 is at once.
        business_days: u8,
    },
    /// The request has waited since then, and now its time runs out.
    WaitingTooLong {
        /// When it began.
        since: Timestamp,
    },
    /// Something that lasts since then.
    Since(Timestamp),
    /// Something that lasts since then in one step of the request.
    Step {
        /// The step's id.
        step: String,
        /// Since when.
        since: Timestamp,
    },
}

/// The spelling that stands in the key of the notice.
impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Occasion::Due(at) | Occasion::Since(at) => write!(f, "{}", at.as_millisecond()),
            Occasion::Waiting { since, business_days } => write!(f, "{}+{business_days}", since.as_millisecond()),
            Occasion::WaitingTooLong { since } => write!(f, "{}+due", since.as_millisecond()),
            Occasion::Step { step, since } => write!(f, "{step}:{}", since.as_millisecond()),
        }
    }
}

/// A notice whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueNotice {
    /// What it says.
    pub kind: NoticeKind,
    /// What makes it one of its kind.
    pub occasion: Occasion,
    /// When its time came.
    pub due_at: Timestamp,
    /// It is recorded, but a graver one that is told says it all.
    pub superseded: bool,
    /// The due date itself is in danger.
    pub endangers: bool,
}

impl NotifyRole {
    /// Whether somebody of this role is told of this notice, unless their route says otherwise.
    ///
    /// | | operator | privacy team | controller | management |
    /// |---|---|---|---|---|
    /// | `at_risk`, `extension_decision`, `acknowledgement_due` | | yes | yes | |
    /// | `critical`, `overdue` | yes | yes | yes | yes |
    /// | `connector_silent`, `needs_attention` | yes | yes | if the due date is in danger | |
    /// | `forecast_late` | yes | yes | | |
    /// | `awaiting_controller` | | at once | at once, after 2 and 5 business days | when time runs out |
    #[expect(clippy::match_same_arms, reason = "each arm is a row of the table")]
    pub const fn hears(self, notice: &DueNotice) -> bool {
        use NoticeKind as K;
        use NotifyRole as R;
        match (notice.kind, self) {
            (K::Critical | K::Overdue, _) | (_, R::PrivacyTeam) if !matches!(notice.kind, K::AwaitingController) => {
                true
            }
            (K::AtRisk | K::ExtensionDecision | K::AcknowledgementDue, R::Controller) => true,
            (K::ConnectorSilent | K::NeedsAttention | K::ForecastLate, R::Operator) => true,
            (K::ConnectorSilent | K::NeedsAttention, R::Controller) => notice.endangers,
            (K::AwaitingController, _) => matches!(
                (&notice.occasion, self),
                (Occasion::Waiting { business_days: 0, .. }, R::PrivacyTeam)
                    | (Occasion::Waiting { .. }, R::Controller)
                    | (Occasion::WaitingTooLong { .. }, R::Management)
            ),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(kind: NoticeKind, occasion: Occasion, endangers: bool) -> DueNotice {
        DueNotice { kind, occasion, due_at: Timestamp::UNIX_EPOCH, superseded: false, endangers }
    }

    fn hearers(notice: &DueNotice) -> Vec<&'static str> {
        NotifyRole::ALL.iter().filter(|role| role.hears(notice)).map(|role| role.as_str()).collect()
    }

    #[test]
    fn everybody_hears_what_the_matrix_says_and_nothing_else() {
        let at = Timestamp::UNIX_EPOCH;
        let of = |kind, endangers| hearers(&notice(kind, Occasion::Due(at), endangers));
        for kind in [NoticeKind::AtRisk, NoticeKind::ExtensionDecision, NoticeKind::AcknowledgementDue] {
            assert_eq!(of(kind, true), ["privacy_team", "controller"], "{kind}");
        }
        for kind in [NoticeKind::Critical, NoticeKind::Overdue] {
            assert_eq!(of(kind, true), ["operator", "privacy_team", "controller", "management"], "{kind}");
        }
        for kind in [NoticeKind::ConnectorSilent, NoticeKind::NeedsAttention] {
            assert_eq!(of(kind, false), ["operator", "privacy_team"], "{kind}");
            assert_eq!(of(kind, true), ["operator", "privacy_team", "controller"], "{kind}");
        }
        assert_eq!(of(NoticeKind::ForecastLate, true), ["operator", "privacy_team"]);
        let waiting = |occasion| hearers(&notice(NoticeKind::AwaitingController, occasion, false));
        assert_eq!(waiting(Occasion::Waiting { since: at, business_days: 0 }), ["privacy_team", "controller"]);
        assert_eq!(waiting(Occasion::Waiting { since: at, business_days: 2 }), ["controller"]);
        assert_eq!(waiting(Occasion::Waiting { since: at, business_days: 5 }), ["controller"]);
        assert_eq!(waiting(Occasion::WaitingTooLong { since: at }), ["management"]);
    }

    #[test]
    fn what_cannot_wait_is_told_at_once_and_the_rest_in_the_morning() {
        let at_once: Vec<&str> =
            NoticeKind::ALL.iter().filter(|k| Delivery::Auto.is_at_once(**k)).map(|k| k.as_str()).collect();
        assert_eq!(at_once, ["critical", "overdue", "connector_silent", "needs_attention"]);
        assert!(NoticeKind::ALL.iter().all(|k| Delivery::Now.is_at_once(*k) && !Delivery::Digest.is_at_once(*k)));
    }

    #[test]
    fn no_two_occasions_of_a_kind_are_spelled_alike() {
        let (one, two) = (Timestamp::UNIX_EPOCH, Timestamp::from_millisecond(1).expect("an instant"));
        let all = [
            Occasion::Due(one),
            Occasion::Due(two),
            Occasion::Waiting { since: one, business_days: 0 },
            Occasion::Waiting { since: one, business_days: 5 },
            Occasion::Waiting { since: two, business_days: 0 },
            Occasion::WaitingTooLong { since: one },
            Occasion::Step { step: "stp_a".into(), since: one },
            Occasion::Step { step: "stp_b".into(), since: one },
        ];
        let spelled: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(spelled.len(), all.len());
    }
}
