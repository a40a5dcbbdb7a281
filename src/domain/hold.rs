//! A legal hold keeps what is there about a person, or everything of a controller, as it is, because the law or a dispute asks for
//! it (GDPR Art. 17(3)(e), 18(2)). It stops what changes data and nothing else: searching, exporting and restricting go on, and so
//! does the law's clock.

use crate::Verb;
use crate::words::spelled;

spelled! {
    /// What a hold reaches.
    HoldScope {
        /// Every request about a person, found by identifiers.
        Subject = "subject",
        /// One request.
        Request = "request",
        /// Every request of the controller.
        Controller = "controller",
    }
}

/// The code of what a hold stops, and of what is kept because of one.
pub const LEGAL_HOLD: &str = "legal_hold";
/// What is told instead where nobody outside may learn of the hold: that the data are needed for legal claims (Art. 17(3)(e)).
pub const GAGGED_REASON: &str = "exempt_legal_claims";

/// The reason that a certificate and an answer give for data that a person decided to keep under a hold.
pub fn reason(hold_id: &str, gag: bool) -> String {
    if gag { GAGGED_REASON.to_owned() } else { format!("{LEGAL_HOLD}({hold_id})") }
}

impl Verb {
    /// Whether a hold stops it: what deletes or changes data. Restriction takes the place of deletion, so it is not stopped.
    pub const fn is_stopped_by_holds(self) -> bool {
        match self {
            Verb::Erase | Verb::Rectify => true,
            Verb::Discover | Verb::Export | Verb::Restrict | Verb::Suppress | Verb::Verify => false,
        }
    }
}

/// What must be known of a hold to say what it stops.
#[derive(Debug, Clone, Copy)]
pub struct HoldFacts<'a> {
    /// The systems to which it is restricted, by name; none: every system.
    pub systems: Option<&'a [String]>,
}

impl HoldFacts<'_> {
    /// Whether it stops a step of a request that it reaches.
    pub fn stops(&self, system: &str, verb: Verb) -> bool {
        verb.is_stopped_by_holds() && self.systems.is_none_or(|names| names.iter().any(|name| name == system))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_stops_what_changes_data_and_freezes_nothing_else() {
        let everywhere = HoldFacts { systems: None };
        let stopped: Vec<&Verb> = Verb::ALL.iter().filter(|verb| everywhere.stops("crm", **verb)).collect();
        assert_eq!(stopped, [&Verb::Rectify, &Verb::Erase]);
    }

    #[test]
    fn a_hold_on_some_systems_leaves_the_others_alone() {
        let systems = ["crm".to_owned()];
        let hold = HoldFacts { systems: Some(&systems) };
        assert!(hold.stops("crm", Verb::Erase) && !hold.stops("mail", Verb::Erase) && !hold.stops("CRM", Verb::Erase));
        assert!(!HoldFacts { systems: Some(&[]) }.stops("crm", Verb::Erase));
    }

    #[test]
    fn a_gagged_hold_is_not_named_in_the_reason() {
        assert_eq!(reason("hld_1", false), "legal_hold(hld_1)");
        assert!(!reason("hld_1", true).contains("hold") && !reason("hld_1", true).contains("hld"));
    }
}
