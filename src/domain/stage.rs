//! A stage is where a request stands in its life; only [`Stage::after`] says which stage may follow which.

use crate::words::spelled;

spelled! {
    /// Where a request stands.
    Stage {
        /// It is durable and has a plan.
        Received = "received",
        /// The controller must answer a question first.
        AwaitingController = "awaiting_controller",
        /// A person must approve it first.
        AwaitingApproval = "awaiting_approval",
        /// It can still be withdrawn before anything is changed.
        CoolingOff = "cooling_off",
        /// Its steps are being carried out.
        InProgress = "in_progress",
        /// Every step has acted; some are still to be seen in a second read.
        Verifying = "verifying",
        /// A person looks at the result before it is handed over.
        Review = "review",
        /// The package and the certificate are being made and the controller is told.
        Delivering = "delivering",
        /// Every step is verified, or found nothing.
        Completed = "completed",
        /// Ended, with records that stay for itemised reasons.
        PartiallyCompleted = "partially_completed",
        /// Refused by the controller or the law.
        Rejected = "rejected",
        /// Taken back by the controller.
        Withdrawn = "withdrawn",
        /// Ended because the controller never answered.
        Expired = "expired",
    }
}

impl Stage {
    /// Whether nothing happens until a person has decided or answered.
    pub const fn waits_for_somebody(self) -> bool {
        matches!(self, Stage::AwaitingController | Stage::AwaitingApproval | Stage::Review)
    }

    /// Whether nothing can follow any more.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Stage::Completed | Stage::PartiallyCompleted | Stage::Rejected | Stage::Withdrawn | Stage::Expired
        )
    }

    /// Whether steps may be carried out.
    pub const fn is_working(self) -> bool {
        matches!(self, Stage::InProgress | Stage::Verifying)
    }
}

spelled! {
    /// What can happen to a request.
    Event {
        /// The controller's policy wants an approval.
        ApprovalAsked = "approval_asked",
        /// The time in which it can still be withdrawn has begun.
        CoolingOffBegan = "cooling_off_began",
        /// The steps may run.
        WorkBegan = "work_began",
        /// Every step has acted.
        VerificationBegan = "verification_began",
        /// A second read found what should be gone: the step acts again.
        ResidueFound = "residue_found",
        /// One system told of identifiers by which another one is to be searched again.
        PlanWidened = "plan_widened",
        /// A person shall look at the result.
        ReviewBegan = "review_began",
        /// Something is missing that only the controller or the person can give: nothing is done until it comes.
        ControllerAsked = "controller_asked",
        /// It came.
        ControllerAnswered = "controller_answered",
        /// The answer is being made.
        DeliveryBegan = "delivery_began",
        /// The answer is there, and everything was done.
        Completed = "completed",
        /// The answer is there, and some records stay.
        PartiallyCompleted = "partially_completed",
        /// The controller refuses the request.
        Rejected = "rejected",
        /// The controller takes the request back.
        Withdrawn = "withdrawn",
    }
}

/// An event that cannot happen in this stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot happen to a request that is {stage}")]
pub struct IllegalEvent {
    /// The stage.
    pub stage: Stage,
    /// The event.
    pub event: Event,
}

impl Stage {
    /// The stage after `event`. Every arm is a sentence of the product's promise; everything else is illegal.
    #[expect(clippy::match_same_arms, reason = "each arm is a sentence of its own")]
    pub const fn after(self, event: Event) -> Result<Stage, IllegalEvent> {
        use Event as E;
        use Stage as S;
        Ok(match (self, event) {
            (S::Received, E::ApprovalAsked) => S::AwaitingApproval,
            (S::Received | S::AwaitingApproval, E::CoolingOffBegan) => S::CoolingOff,
            (S::Received | S::AwaitingApproval | S::CoolingOff | S::AwaitingController, E::WorkBegan) => S::InProgress,
            (S::InProgress, E::VerificationBegan) => S::Verifying,
            (S::Received | S::AwaitingApproval | S::CoolingOff | S::InProgress | S::Verifying, E::ControllerAsked) => {
                S::AwaitingController
            }
            // From the start again: what was approved stays approved, and what was done stays done.
            (S::AwaitingController, E::ControllerAnswered) => S::Received,
            (S::Verifying, E::ResidueFound) => S::InProgress,
            (S::Verifying, E::PlanWidened) => S::InProgress,
            (S::InProgress | S::Verifying, E::ReviewBegan) => S::Review,
            (S::InProgress | S::Verifying | S::Review, E::DeliveryBegan) => S::Delivering,
            (S::Delivering, E::Completed) => S::Completed,
            (S::Delivering, E::PartiallyCompleted) => S::PartiallyCompleted,
            // Until the answer is on its way a request can be refused or taken back; what was done stays done.
            (
                S::Received
                | S::AwaitingController
                | S::AwaitingApproval
                | S::CoolingOff
                | S::InProgress
                | S::Verifying
                | S::Review,
                E::Rejected,
            ) => S::Rejected,
            (
                S::Received
                | S::AwaitingController
                | S::AwaitingApproval
                | S::CoolingOff
                | S::InProgress
                | S::Verifying
                | S::Review,
                E::Withdrawn,
            ) => S::Withdrawn,
            (stage, event) => return Err(IllegalEvent { stage, event }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_final_stage() {
        for stage in Stage::ALL.iter().filter(|s| s.is_final()) {
            for event in Event::ALL {
                assert!(stage.after(*event).is_err(), "{stage} took {event}");
            }
        }
    }

    #[test]
    fn no_request_is_completed_before_its_answer_is_delivered() {
        for stage in Stage::ALL.iter().filter(|s| **s != Stage::Delivering) {
            for event in [Event::Completed, Event::PartiallyCompleted] {
                assert!(stage.after(event).is_err(), "{stage} took {event}");
            }
        }
    }

    #[test]
    fn every_open_stage_can_reach_an_end() {
        for stage in Stage::ALL.iter().filter(|s| !s.is_final()) {
            let mut seen = vec![*stage];
            let mut todo = vec![*stage];
            while let Some(stage) = todo.pop() {
                for next in Event::ALL.iter().filter_map(|e| stage.after(*e).ok()) {
                    if !seen.contains(&next) {
                        seen.push(next);
                        todo.push(next);
                    }
                }
            }
            assert!(seen.contains(&Stage::Completed), "{stage} cannot complete");
        }
    }

    #[test]
    fn spellings_read_back() {
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.as_str()), Some(*stage));
        }
    }
}
