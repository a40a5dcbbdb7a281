//! A step is one verb of one request on one connected system; its state says what came of it and what it waits for.

use crate::{Verb, words::spelled};

spelled! {
    /// Where a step stands.
    StepState {
        /// Its turn will come.
        Queued = "queued",
        /// Something else must happen first.
        Blocked = "blocked",
        /// A worker is at it.
        Leased = "leased",
        /// It is tried again at a set time.
        Waiting = "waiting",
        /// The system carries it out itself; it is asked again at a set time.
        External = "external",
        /// It acted. For verbs that change something the second read is still to come.
        Done = "done",
        /// A complete search found nothing about the person.
        NothingFound = "nothing_found",
        /// Records stay, each with a reason.
        Retained = "retained",
        /// A person must do something.
        NeedsAttention = "needs_attention",
        /// A second read saw the effect.
        Verified = "verified",
    }
}

impl StepState {
    /// Whether nothing more has to happen for a step with this verb.
    pub const fn is_settled(self, verb: Verb) -> bool {
        match self {
            StepState::NothingFound | StepState::Retained | StepState::Verified => true,
            StepState::Done => !verb.must_be_verified(),
            _ => false,
        }
    }

    /// Whether the step has acted, so that at most its verification is open.
    pub const fn has_acted(self) -> bool {
        matches!(self, StepState::Done | StepState::NothingFound | StepState::Retained | StepState::Verified)
    }
}

spelled! {
    /// What a step does next when a worker takes it.
    Phase {
        /// The verb itself.
        Act = "act",
        /// The second read.
        Verify = "verify",
    }
}

/// How often a step acts again because its second read still found something, before a person is asked.
pub const RESIDUE_TRIES: u32 = 2;
/// How many workers may die over one step before it is quarantined.
pub const DEATHS_MAX: u32 = 3;
/// The code of a wait for the controller's own limit: it says nothing about the system.
pub const RATE_LIMITED: &str = "rate_limited";
/// The code of a system's refusal of our credentials: one trouble of the system, not of each request.
pub const CREDENTIALS_REFUSED: &str = "credentials_refused";
/// The code of a wait that the system itself asked for.
pub const THROTTLED: &str = "throttled";
/// After this many failed attempts in a row a person is told, while the step is still tried.
pub const ATTEMPTS_BEFORE_ATTENTION: u32 = 3;
/// The code of a failure that was our own database's: nothing was done, and the step goes back where it was.
pub const INTERRUPTED: &str = "interrupted";
/// After this many failures in a row a person is told although our own database is to blame: with the waits between them two
/// minutes, longer than a restart or a failover takes. Sooner nobody could help at this request; who runs the service is told by
/// its health.
pub const INTERRUPTIONS_BEFORE_ATTENTION: u32 = 8;

/// How long to wait after the `attempts`-th failure in a row (1 is the first), in milliseconds; `jitter` in 0..1 spreads
/// the tries of many steps. Doubles from one second to fifteen minutes.
pub fn backoff_ms(attempts: u32, jitter: f64) -> i64 {
    let base = 1_000_i64 << attempts.saturating_sub(1).min(10);
    let capped = base.min(900_000);
    #[expect(clippy::cast_precision_loss, reason = "at most 900,000")]
    let spread = (capped as f64 * 0.25 * jitter.clamp(0.0, 1.0)) as i64;
    capped + spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_not_settled_before_its_second_read() {
        assert!(!StepState::Done.is_settled(Verb::Erase));
        assert!(StepState::Verified.is_settled(Verb::Erase));
        assert!(StepState::Done.is_settled(Verb::Export));
        assert!(!StepState::NeedsAttention.is_settled(Verb::Export));
    }

    #[test]
    fn waits_grow_and_are_bounded() {
        let waits: Vec<i64> = (1..14).map(|n| backoff_ms(n, 0.0)).collect();
        assert_eq!(&waits[..4], &[1_000, 2_000, 4_000, 8_000]);
        assert_eq!(waits.last(), Some(&900_000));
        assert!(waits.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(backoff_ms(1, 1.0), 1_250);
    }

    #[test]
    fn our_own_database_may_be_away_for_two_minutes_before_somebody_is_asked_and_another_system_for_seconds() {
        let waited = |failures: u32| (1..failures).map(|n| backoff_ms(n, 0.0)).sum::<i64>();
        assert_eq!(waited(ATTEMPTS_BEFORE_ATTENTION), 3_000);
        assert_eq!(waited(INTERRUPTIONS_BEFORE_ATTENTION), 127_000);
    }
}
