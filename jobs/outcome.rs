//! What a connector's answer means for the row: pure, so that each sentence can be tested.

use redress_connectors::{Done, Effect, Evidence, Outcome, Problem, Trouble, Verdict};
use redress_domain::Verb;
use redress_domain::step::{
    ATTEMPTS_BEFORE_ATTENTION, INTERRUPTED, INTERRUPTIONS_BEFORE_ATTENTION, StepState, THROTTLED, backoff_ms,
};
use redress_store::{StepResult, mutant};
use serde_json::json;
use std::time::Duration;

/// When and how often: what the meaning of an answer depends on besides the answer.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The present moment (Unix ms).
    pub now: i64,
    /// Failures in a row before this try.
    pub failures: u32,
    /// A number in 0..1 that spreads later tries.
    pub jitter: f64,
    /// How long after an effect a second read sees it.
    pub verify_after: Duration,
}

/// What the answer to an acting call means.
pub fn acted(verb: Verb, outcome: Outcome, at: Moment) -> StepResult {
    match outcome {
        Outcome::Done(done) => done_result(verb, done, at),
        Outcome::NothingFound(evidence) => StepResult::Acted {
            state: StepState::NothingFound,
            found: 0,
            changed: 0,
            retained: 0,
            result: result_json(&[], &evidence, None, at),
            receipt: None,
            verify_at: None,
        },
        Outcome::Accepted { receipt, check_after, completes_within } => StepResult::External {
            receipt: receipt.0,
            check_at: at.now.saturating_add(millis(check_after).clamp(1_000, LONGEST_CHECK_MS)),
            completes_by: completes_within.map(|within| at.now.saturating_add(millis(within))),
        },
        Outcome::Trouble(trouble) => troubled(trouble, at),
    }
}

/// What the answer to a second read means.
pub fn verified(verdict: Verdict, at: Moment) -> StepResult {
    match verdict {
        Verdict::Residue { evidence, .. } if mutant("verify.residue_reported_done") => {
            StepResult::Verified { proof: json!(evidence) }
        }
        Verdict::Confirmed(evidence) => StepResult::Verified { proof: json!(evidence) },
        Verdict::Residue { remaining, evidence } => StepResult::Residue { remaining, proof: json!(evidence) },
        Verdict::Trouble(trouble) => troubled(trouble, at),
    }
}

fn done_result(verb: Verb, done: Done, at: Moment) -> StepResult {
    // A table that could not be searched has no number, but the request is not complete for it.
    let retained = done.retained.iter().map(|r| r.records.max(1)).sum();
    // What is read again becomes retained by its second read; the rest is at its end now.
    let settled = !verb.must_be_verified() && retained > 0;
    StepResult::Acted {
        state: if settled { StepState::Retained } else { StepState::Done },
        found: done.found,
        changed: done.changed,
        retained,
        result: result_json(&done.retained, &done.evidence, done.effect.as_ref(), at),
        receipt: done.receipt.map(|r| r.0),
        verify_at: verb.must_be_verified().then(|| at.now.saturating_add(millis(at.verify_after))),
    }
}

/// What the vendor said is lasting, restorable for a while, or still to come; as the API shows it.
fn result_json(
    retained: &[redress_connectors::Retained],
    evidence: &Evidence,
    effect: Option<&Effect>,
    at: Moment,
) -> serde_json::Value {
    let mut result = json!({ "retained": retained, "evidence": evidence });
    let days = |days: u32| {
        let until = at.now.saturating_add(i64::from(days) * DAY_MS);
        jiff::Timestamp::from_millisecond(until).ok().map(|until| until.to_string())
    };
    match effect {
        None => {}
        Some(Effect::Permanent) => result["effect"] = "permanent".into(),
        Some(Effect::Anonymised) => result["effect"] = "anonymised".into(),
        Some(Effect::Suppressed) => result["effect"] = "suppressed".into(),
        Some(Effect::Soft { residual_days }) => {
            result["effect"] = "soft".into();
            result["residual_until"] = residual_days.map(days).into();
        }
        Some(Effect::Scheduled { within_days }) => {
            result["effect"] = "scheduled".into();
            result["completes_by"] = days(*within_days).into();
        }
    }
    result
}

const DAY_MS: i64 = 86_400_000;
/// What a vendor works on is asked after at least once a day.
const LONGEST_CHECK_MS: i64 = DAY_MS;

fn troubled(trouble: Trouble, at: Moment) -> StepResult {
    match trouble {
        // The system's own word, within a day: an absurd Retry-After must not bury a request.
        Trouble::Throttled(wait) => StepResult::Later {
            not_before: at.now.saturating_add(millis(wait).clamp(100, 86_400_000)),
            failed: false,
            attention: false,
            code: THROTTLED.into(),
            detail: "the system asked to wait; it is tried again by itself".into(),
        },
        Trouble::Retry(problem) => failed(at, ATTEMPTS_BEFORE_ATTENTION, problem.code, problem.detail),
        Trouble::Denied(problem) | Trouble::Ambiguous { problem, .. } => attention(problem),
        Trouble::Held(reason) => StepResult::Acted {
            state: StepState::Retained,
            found: 0,
            changed: 0,
            retained: 1,
            result: json!({ "retained": [{ "collection": "*", "records": 0, "reason": reason }], "evidence": { "collections": [] } }),
            receipt: None,
            verify_at: None,
        },
        // If the lease is really gone, the fence drops this. If only our own database could not be asked, or the request
        // was withdrawn, nothing was done and the step goes back where it was.
        Trouble::Lost => {
            let detail = "our own database could not be asked in mid-work; it is tried again by itself";
            failed(at, INTERRUPTIONS_BEFORE_ATTENTION, INTERRUPTED, detail.into())
        }
    }
}

/// A failure that is tried again by itself, and shown to a person if it is the `shown_at`-th in a row or a later one.
fn failed(at: Moment, shown_at: u32, code: &str, detail: String) -> StepResult {
    let failures = at.failures.saturating_add(1);
    StepResult::Later {
        not_before: at.now.saturating_add(backoff_ms(failures, at.jitter)),
        failed: true,
        attention: failures >= shown_at,
        code: code.into(),
        detail,
    }
}

fn attention(problem: Problem) -> StepResult {
    StepResult::Attention { code: problem.code.into(), detail: problem.detail }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use redress_connectors::Retained;

    const AT: Moment = Moment { now: 1_000_000, failures: 0, jitter: 0.0, verify_after: Duration::from_secs(5) };

    #[test]
    fn a_deletion_that_says_done_is_read_again_and_an_export_is_not() {
        let done = || Outcome::Done(Done { found: 2, changed: 2, ..Done::default() });
        let StepResult::Acted { state, verify_at, .. } = acted(Verb::Erase, done(), AT) else { panic!("acted") };
        assert_eq!((state, verify_at), (StepState::Done, Some(1_005_000)));
        let StepResult::Acted { verify_at, .. } = acted(Verb::Export, done(), AT) else { panic!("acted") };
        assert_eq!(verify_at, None);
    }

    #[test]
    fn a_table_that_was_not_searched_makes_the_end_partial_though_it_has_no_number() {
        let unsearched = || {
            Outcome::Done(Done {
                retained: vec![Retained {
                    collection: "subs".into(),
                    records: 0,
                    reason: "no_usable_identifier".into(),
                }],
                ..Done::default()
            })
        };
        for (verb, expected) in
            [(Verb::Erase, StepState::Done), (Verb::Rectify, StepState::Done), (Verb::Export, StepState::Retained)]
        {
            let StepResult::Acted { state, retained, result, verify_at, .. } = acted(verb, unsearched(), AT) else {
                panic!("acted")
            };
            assert_eq!((state, retained, verify_at.is_some()), (expected, 1, verb.must_be_verified()), "{verb}");
            assert_eq!(result["retained"][0]["records"], 0);
        }
    }

    #[test]
    fn a_system_that_is_down_is_tried_again_and_the_third_failure_is_shown_to_a_person() {
        let down = || Outcome::Trouble(Trouble::Retry(Problem::new("unreachable", "the system does not answer")));
        for (failures, shown) in [(0, false), (1, false), (2, true), (50, true)] {
            let StepResult::Later { failed, attention, not_before, .. } =
                acted(Verb::Erase, down(), Moment { failures, ..AT })
            else {
                panic!("later")
            };
            assert!(failed && not_before > AT.now);
            assert_eq!(attention, shown, "after {failures} failures");
        }
    }

    #[test]
    fn being_asked_to_wait_is_no_failure_and_an_absurd_wait_is_cut() {
        let wait = Outcome::Trouble(Trouble::Throttled(Duration::from_secs(10_000_000_000)));
        let StepResult::Later { failed, not_before, .. } = acted(Verb::Erase, wait, AT) else { panic!("later") };
        assert!(!failed);
        assert_eq!(not_before, AT.now + 86_400_000);
    }

    #[test]
    fn a_refused_password_waits_for_a_person_and_counts_as_nothing_else() {
        let denied = Outcome::Trouble(Trouble::Denied(Problem::new("credentials_refused", "set the password")));
        assert!(matches!(acted(Verb::Erase, denied, AT), StepResult::Attention { .. }));
    }

    #[test]
    fn work_that_was_interrupted_by_ourselves_counts_as_not_done() {
        assert!(matches!(acted(Verb::Erase, Outcome::Trouble(Trouble::Lost), AT), StepResult::Later { .. }));
        assert!(matches!(verified(Verdict::Trouble(Trouble::Lost), AT), StepResult::Later { .. }));
    }

    #[test]
    fn an_outage_of_our_own_database_asks_nobody_before_it_has_lasted_minutes() {
        for (failures, shown) in [(0, false), (2, false), (6, false), (7, true), (50, true)] {
            let at = Moment { failures, ..AT };
            let lost = [
                acted(Verb::Erase, Outcome::Trouble(Trouble::Lost), at),
                verified(Verdict::Trouble(Trouble::Lost), at),
            ];
            for result in lost {
                let StepResult::Later { failed, attention, not_before, code, .. } = result else { panic!("later") };
                assert!(failed && not_before >= AT.now + 1_000 && code == INTERRUPTED);
                assert_eq!(attention, shown, "after {failures} failures");
            }
        }
    }
}
