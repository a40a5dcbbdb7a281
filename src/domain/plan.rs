//! The plan says, from what is known and nothing else, which steps a request needs and what happens next.

use crate::stage::{Event, Stage};
use crate::step::StepState;
use crate::{IdentifierType, RequestType, SystemId, Verb};

/// What the plan must know about one connected system.
#[derive(Debug, Clone)]
pub struct SystemFacts {
    /// Which.
    pub id: SystemId,
    /// The controller's name for it.
    pub name: String,
    /// Rights for which the controller instructed us to act there.
    pub allow: Vec<RequestType>,
    /// Verbs its connector performs.
    pub verbs: Vec<Verb>,
    /// Identifier types by which it can be searched.
    pub identifiers: Vec<IdentifierType>,
    /// Fields that a correction can change there.
    pub fields: Vec<String>,
}

/// One step that the request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// Where.
    pub system_id: SystemId,
    /// What.
    pub verb: Verb,
    /// A reason for which nothing can be done there, known from the start: the step is itemised, not run.
    pub retained: Option<&'static str>,
}

/// One system in which the request does nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfScope {
    /// The controller's name for the system.
    pub system: String,
    /// Reason code: `not_requested`, `not_instructed`, `verb_unsupported` or `field_not_declared`.
    pub reason: &'static str,
}

/// The frozen plan of a request: completion is judged by these steps and no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FanOut {
    /// What is done.
    pub steps: Vec<PlannedStep>,
    /// What is not, and why; itemised in the certificate.
    pub out_of_scope: Vec<OutOfScope>,
}

/// Spreads a request over the controller's connected systems.
///
/// A system is left out if the request names others (`not_requested`), if the controller gave no instruction for this
/// right (GDPR Art. 28(3)(a): `not_instructed`), or if the right has no meaning there (`verb_unsupported`: an archive of
/// messages has no field to correct) or none of the fields to correct is declared there (`field_not_declared`; `corrected`
/// names them, and is empty for every other type). A system that cannot be searched by any identifier given is *not* left out: it may
/// hold the person's data, so its step is itemised as `no_usable_identifier` and the request ends partially completed.
pub fn fan_out<'a>(
    kind: RequestType,
    given: &[IdentifierType],
    corrected: &[&str],
    systems: impl IntoIterator<Item = &'a SystemFacts>,
    requested: Option<&[String]>,
) -> FanOut {
    let verb = kind.verb();
    let mut plan = FanOut::default();
    for system in systems {
        let reason = if requested.is_some_and(|names| !names.contains(&system.name)) {
            Some("not_requested")
        } else if !system.allow.contains(&kind) {
            Some("not_instructed")
        } else if !system.verbs.contains(&verb) {
            Some("verb_unsupported")
        } else if !corrected.is_empty() && !system.fields.iter().any(|field| corrected.contains(&field.as_str())) {
            Some("field_not_declared")
        } else {
            None
        };
        if let Some(reason) = reason {
            plan.out_of_scope.push(OutOfScope { system: system.name.clone(), reason });
            continue;
        }
        let searchable = system.identifiers.iter().any(|kind| given.contains(kind));
        let retained = (!searchable).then_some("no_usable_identifier");
        plan.steps.push(PlannedStep { system_id: system.id.clone(), verb, retained });
    }
    plan
}

/// What a controller wants before and after the work; all off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// A person approves before anything is done.
    pub approval: bool,
    /// Milliseconds in which the request can still be withdrawn before anything is done; 0 for none.
    pub cooling_off_ms: i64,
    /// A person looks at the result before it is handed over.
    pub review: bool,
}

/// Everything that decides what happens next to a request.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// Where it stands.
    pub stage: Stage,
    /// What its controller wants.
    pub policy: Policy,
    /// State and verb of each step.
    pub steps: &'a [(StepState, Verb)],
    /// Steps that had acted are to act again, by identifiers that another system told of.
    pub widened: bool,
    /// A person approved the start.
    pub approved: bool,
    /// When the cooling-off ends, once it has begun (Unix ms).
    pub cooling_off_until: Option<i64>,
    /// A person approved the result.
    pub reviewed: bool,
    /// The package and the certificate are there.
    pub answered: bool,
    /// The present moment (Unix ms).
    pub now: i64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Record that this happened; then ask again.
    Record(Event),
    /// Nothing until this moment (Unix ms).
    WakeAt(i64),
    /// Make the package and the certificate.
    Answer,
    /// Nothing: steps, a person or the controller have the next word.
    Wait,
}

/// What to do next. Ask again after each [`Action::Record`].
pub fn next(situation: &Situation<'_>) -> Action {
    let s = situation;
    let begin = || match s.cooling_off_until {
        _ if s.policy.cooling_off_ms == 0 => Action::Record(Event::WorkBegan),
        None => Action::Record(Event::CoolingOffBegan),
        Some(until) if s.now >= until => Action::Record(Event::WorkBegan),
        Some(until) => Action::WakeAt(until),
    };
    let settled = s.steps.iter().all(|(state, verb)| state.is_settled(*verb));
    let hand_over =
        || Action::Record(if s.policy.review && !s.reviewed { Event::ReviewBegan } else { Event::DeliveryBegan });
    match s.stage {
        // A request without a step would be "done" without anything having been looked at: a person must look.
        Stage::Received | Stage::AwaitingApproval | Stage::CoolingOff if s.steps.is_empty() => Action::Wait,
        Stage::Received if s.policy.approval && !s.approved => Action::Record(Event::ApprovalAsked),
        Stage::AwaitingApproval if !s.approved => Action::Wait,
        // A cooling-off without an end is an inconsistent row: nothing is changed in any system on its account.
        Stage::CoolingOff if s.cooling_off_until.is_none() => Action::Wait,
        Stage::Received | Stage::AwaitingApproval | Stage::CoolingOff => begin(),
        Stage::InProgress | Stage::Verifying if settled && !s.steps.is_empty() => hand_over(),
        Stage::InProgress if s.steps.iter().all(|(state, _)| state.has_acted()) && !s.steps.is_empty() => {
            Action::Record(Event::VerificationBegan)
        }
        // A step that needs attention in its second read has acted; one that acts again has not.
        Stage::Verifying
            if s.steps
                .iter()
                .any(|(state, _)| matches!(state, StepState::Queued | StepState::Waiting | StepState::Blocked)) =>
        {
            Action::Record(if s.widened { Event::PlanWidened } else { Event::ResidueFound })
        }
        Stage::Review if s.reviewed => Action::Record(Event::DeliveryBegan),
        Stage::Delivering if s.answered => {
            let whole = s.steps.iter().all(|(state, _)| *state != StepState::Retained);
            Action::Record(if whole { Event::Completed } else { Event::PartiallyCompleted })
        }
        Stage::Delivering => Action::Answer,
        Stage::AwaitingController | Stage::InProgress | Stage::Verifying | Stage::Review => Action::Wait,
        Stage::Completed | Stage::PartiallyCompleted | Stage::Rejected | Stage::Withdrawn | Stage::Expired => {
            Action::Wait
        }
    }
}

/// Whether nothing can be done for a request but what a legal hold stops: a blocked step is one that a hold stops. As long as
/// anything else is open the request is not on hold; a hold must not freeze everything.
pub fn is_on_hold(stage: Stage, steps: &[(StepState, Verb)]) -> bool {
    let mut stopped = steps.iter().filter(|(state, _)| *state == StepState::Blocked);
    stage.is_working()
        && stopped.next().is_some()
        && steps.iter().all(|(state, verb)| *state == StepState::Blocked || state.is_settled(*verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(stage: Stage, steps: &[(StepState, Verb)]) -> Situation<'_> {
        Situation {
            stage,
            policy: Policy::default(),
            steps,
            widened: false,
            approved: false,
            cooling_off_until: None,
            reviewed: false,
            answered: false,
            now: 1_000,
        }
    }

    fn system(name: &str, allow: &[RequestType], verbs: &[Verb], identifiers: &[IdentifierType]) -> SystemFacts {
        SystemFacts {
            id: SystemId::from_parts(name.len() as u64, [0; 10]),
            name: name.into(),
            allow: allow.to_vec(),
            verbs: verbs.to_vec(),
            identifiers: identifiers.to_vec(),
            fields: vec!["full_name".into()],
        }
    }

    #[test]
    fn a_request_without_policies_starts_at_once() {
        let steps = [(StepState::Queued, Verb::Erase)];
        assert_eq!(next(&situation(Stage::Received, &steps)), Action::Record(Event::WorkBegan));
    }

    #[test]
    fn a_request_without_a_single_step_never_starts_and_never_ends() {
        for stage in Stage::ALL.iter().filter(|s| !s.is_final() && **s != Stage::Delivering) {
            assert_eq!(next(&situation(*stage, &[])), Action::Wait, "{stage}");
        }
    }

    #[test]
    fn an_unverified_deletion_never_reaches_delivery() {
        for state in StepState::ALL {
            let steps = [(StepState::Verified, Verb::Erase), (*state, Verb::Erase)];
            for stage in [Stage::InProgress, Stage::Verifying] {
                let delivers = next(&situation(stage, &steps)) == Action::Record(Event::DeliveryBegan);
                let may = matches!(state, StepState::Verified | StepState::NothingFound | StepState::Retained);
                assert_eq!(delivers, may, "{state} in {stage}");
            }
        }
    }

    #[test]
    fn approval_and_cooling_off_come_before_any_work() {
        let steps = [(StepState::Queued, Verb::Erase)];
        let mut s = situation(Stage::Received, &steps);
        s.policy = Policy { approval: true, cooling_off_ms: 500, review: false };
        assert_eq!(next(&s), Action::Record(Event::ApprovalAsked));
        s.stage = Stage::AwaitingApproval;
        assert_eq!(next(&s), Action::Wait);
        s.approved = true;
        assert_eq!(next(&s), Action::Record(Event::CoolingOffBegan));
        (s.stage, s.cooling_off_until) = (Stage::CoolingOff, Some(1_500));
        assert_eq!(next(&s), Action::WakeAt(1_500));
        s.now = 1_500;
        assert_eq!(next(&s), Action::Record(Event::WorkBegan));
    }

    #[test]
    fn retained_records_make_the_end_partial() {
        let steps = [(StepState::Verified, Verb::Erase), (StepState::Retained, Verb::Erase)];
        let mut s = situation(Stage::Delivering, &steps);
        assert_eq!(next(&s), Action::Answer);
        s.answered = true;
        assert_eq!(next(&s), Action::Record(Event::PartiallyCompleted));
    }

    #[test]
    fn a_request_is_on_hold_when_everything_else_is_done_and_then_never_completes() {
        let held = (StepState::Blocked, Verb::Erase);
        for state in StepState::ALL {
            let steps = [held, (*state, Verb::Erase)];
            for stage in [Stage::InProgress, Stage::Verifying] {
                let waits = *state == StepState::Blocked || state.is_settled(Verb::Erase);
                assert_eq!(is_on_hold(stage, &steps), waits, "{state} in {stage}");
                let next = next(&situation(stage, &steps));
                let ends = [Event::DeliveryBegan, Event::ReviewBegan].map(Action::Record).contains(&next);
                assert!(!ends, "{state} in {stage}");
            }
        }
        assert!(!is_on_hold(Stage::AwaitingApproval, &[held]), "it can still be approved");
        assert!(!is_on_hold(Stage::InProgress, &[(StepState::Verified, Verb::Erase)]));
    }

    #[test]
    fn what_a_hold_stopped_and_a_person_keeps_ends_partially_completed() {
        let steps = [(StepState::Verified, Verb::Erase), (StepState::Retained, Verb::Erase)];
        assert_eq!(next(&situation(Stage::InProgress, &steps)), Action::Record(Event::DeliveryBegan));
    }

    #[test]
    fn every_event_the_plan_asks_for_is_legal() {
        let states: Vec<Vec<(StepState, Verb)>> = StepState::ALL
            .iter()
            .flat_map(|a| StepState::ALL.iter().map(|b| vec![(*a, Verb::Erase), (*b, Verb::Export)]))
            .collect();
        for stage in Stage::ALL {
            for steps in &states {
                for bits in 0..16_u8 {
                    let mut s = situation(*stage, steps);
                    s.policy =
                        Policy { approval: bits & 1 > 0, cooling_off_ms: i64::from(bits & 2), review: bits & 4 > 0 };
                    (s.approved, s.answered, s.reviewed) = (bits & 8 > 0, bits & 1 > 0, bits & 2 > 0);
                    if let Action::Record(event) = next(&s) {
                        assert!(stage.after(event).is_ok(), "{stage} cannot take {event}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_system_without_instruction_or_meaning_is_out_of_scope_with_its_reason() {
        use IdentifierType::{CustomerId, Email};
        use RequestType::{Access, Correction, Deletion};
        let systems = [
            system(
                "crm",
                &[Access, Correction, Deletion],
                &[Verb::Export, Verb::Rectify, Verb::Erase],
                &[Email, CustomerId],
            ),
            system("mail", &[Access, Correction], &[Verb::Export, Verb::Erase], &[Email]),
            system("books", &[Access], &[Verb::Export, Verb::Rectify], &[CustomerId]),
        ];
        let plan = fan_out(Correction, &[Email], &["full_name"], &systems, None);
        assert_eq!(plan.steps.len(), 1);
        let reasons: Vec<_> = plan.out_of_scope.iter().map(|o| (o.system.as_str(), o.reason)).collect();
        assert_eq!(reasons, [("mail", "verb_unsupported"), ("books", "not_instructed")]);
        let plan = fan_out(Correction, &[Email], &["shoe_size"], &systems, None);
        assert_eq!(plan.out_of_scope[0].reason, "field_not_declared");
        let plan = fan_out(Access, &[Email], &[], &systems, Some(&["books".into()]));
        assert_eq!(plan.steps[0].retained, Some("no_usable_identifier"));
        assert_eq!(plan.out_of_scope.len(), 2);
    }
}
