//! Completion: a request ends when every step of its plan is settled, and the last finisher sees it.
//!
//! Stands for `finish` and `answered` in `src/store/`, each of which ends by `advance_all` in the same transaction, and for
//! the sweep's `reconcile`, which is left out here on purpose: it should never find anything. What comes next is asked of
//! the product's own [`plan::next`], and which stage follows of [`Stage::after`]; a step is settled by [`StepState::is_settled`].

use super::{Case, Exhausted, exhaust};
use redress_domain::Verb;
use redress_domain::plan::{self, Action as Next, Policy, Situation};
use redress_domain::stage::{Event, Stage};
use redress_domain::step::{RESIDUE_TRIES, StepState};
use stateright::{Model, Property};

/// One step that is read a second time and one that is not.
const VERBS: [Verb; 2] = [Verb::Erase, Verb::Export];

pub(super) const CASES: &[Case] = &[
    Case { model: "completion", twin: None, run: || run(None) },
    Case {
        model: "completion",
        twin: Some("a counter is read and written in two transactions"),
        run: || run(Some(Twin::Counter)),
    },
    Case {
        model: "completion",
        twin: Some("the advance is a transaction of its own"),
        run: || run(Some(Twin::AdvanceLater)),
    },
    Case { model: "completion", twin: Some("what acted counts as settled"), run: || run(Some(Twin::Unverified)) },
];

fn run(twin: Option<Twin>) -> Exhausted {
    exhaust(CompletionModel { twin })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Twin {
    Counter,
    AdvanceLater,
    Unverified,
}

struct CompletionModel {
    twin: Option<Twin>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    stage: Stage,
    steps: [StepState; 2],
    /// How often each second read found something.
    residues: [u32; 2],
    /// The record is really gone, or handed over.
    truly: [bool; 2],
    answer_due: bool,
    answered: bool,
    /// The twin's counter, and what a finisher has read of it but not yet written.
    open: u8,
    read: [Option<u8>; 2],
    /// The twin's finishers that have recorded an outcome but not advanced the request.
    owes_advance: bool,
    deaths: u8,
}

/// What the second read, or the first try, says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Acted,
    Nothing,
    Kept,
    Verified,
    Residue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Begin,
    Finish(usize, Says),
    Count(usize),
    Advance,
    Answer,
    Die,
}

impl CompletionModel {
    /// As `advance_one` does it: asks until there is nothing to record.
    fn advance(&self, s: &mut State) {
        let steps = match self.twin {
            // Trusts the number instead of the rows.
            Some(Twin::Counter) if s.open == 0 => [(StepState::Verified, VERBS[0]), (StepState::Done, VERBS[1])],
            Some(Twin::Counter) => [(StepState::Queued, VERBS[0]), (StepState::Queued, VERBS[1])],
            Some(Twin::Unverified) => {
                [0, 1].map(|i| (s.steps[i], if s.steps[i].has_acted() { Verb::Export } else { VERBS[i] }))
            }
            _ => [0, 1].map(|i| (s.steps[i], VERBS[i])),
        };
        loop {
            let next = plan::next(&Situation {
                stage: s.stage,
                policy: Policy::default(),
                steps: &steps,
                widened: false,
                approved: false,
                cooling_off_until: None,
                reviewed: false,
                answered: s.answered,
                now: 0,
            });
            match next {
                Next::Record(event) => s.stage = s.stage.after(event).expect("the plan asks for legal events"),
                Next::Answer => {
                    s.answer_due = true;
                    return;
                }
                Next::Wait | Next::WakeAt(_) => return,
            }
        }
    }

    fn follow(&self, s: &mut State, step: usize) {
        match self.twin {
            Some(Twin::Counter) => {
                if s.steps[step].is_settled(VERBS[step]) {
                    s.read[step] = Some(s.open);
                }
            }
            Some(Twin::AdvanceLater) => s.owes_advance = true,
            _ => self.advance(s),
        }
    }
}

impl Model for CompletionModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            stage: Stage::Received,
            steps: [StepState::Queued; 2],
            residues: [0; 2],
            truly: [false; 2],
            answer_due: false,
            answered: false,
            open: 2,
            read: [None; 2],
            owes_advance: false,
            deaths: 0,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.stage == Stage::Received {
            actions.push(Action::Begin);
        }
        for (step, verb) in VERBS.iter().enumerate() {
            if s.stage.is_working() {
                match s.steps[step] {
                    StepState::Queued => {
                        actions.extend([Says::Acted, Says::Nothing, Says::Kept].map(|says| Action::Finish(step, says)));
                    }
                    StepState::Done if verb.must_be_verified() && s.residues[step] < RESIDUE_TRIES => {
                        // A second read sees what is so.
                        let says = if s.truly[step] { Says::Verified } else { Says::Residue };
                        actions.push(Action::Finish(step, says));
                    }
                    _ => {}
                }
            }
            if s.read[step].is_some() {
                actions.push(Action::Count(step));
            }
        }
        if s.owes_advance {
            actions.push(Action::Advance);
        }
        if s.answer_due {
            actions.push(Action::Answer);
        }
        if s.deaths == 0 && (s.owes_advance || s.read.iter().any(Option::is_some)) {
            actions.push(Action::Die);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::Begin => self.advance(&mut s),
            Action::Finish(i, says) => {
                s.steps[i] = match says {
                    Says::Acted => {
                        // The first try of a deletion says done although something stays or comes back.
                        s.truly[i] = !VERBS[i].must_be_verified() || s.residues[i] > 0;
                        StepState::Done
                    }
                    Says::Nothing => {
                        s.truly[i] = true;
                        StepState::NothingFound
                    }
                    Says::Kept => StepState::Retained,
                    Says::Verified => StepState::Verified,
                    Says::Residue => {
                        s.residues[i] += 1;
                        if s.residues[i] >= RESIDUE_TRIES { StepState::Done } else { StepState::Queued }
                    }
                };
                self.follow(&mut s, i);
            }
            Action::Count(i) => {
                s.open = s.read[i].take()? - 1;
                self.advance(&mut s);
            }
            Action::Advance => {
                s.owes_advance = false;
                self.advance(&mut s);
            }
            Action::Answer => {
                (s.answer_due, s.answered) = (false, true);
                self.advance(&mut s);
            }
            Action::Die => {
                (s.owes_advance, s.read, s.deaths) = (false, [None; 2], 1);
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("whoever is told that all is done is told the truth", |_, s: &State| {
                s.stage != Stage::Completed || s.truly == [true, true]
            }),
            Property::always("a request ends with every step settled", |_, s: &State| {
                !matches!(s.stage, Stage::Completed | Stage::PartiallyCompleted)
                    || s.steps.iter().zip(VERBS).all(|(state, verb)| state.is_settled(verb))
            }),
            Property::always("records that stay are said to stay", |_, s: &State| {
                s.stage != Stage::Completed || !s.steps.contains(&StepState::Retained)
            }),
            Property::always("nothing ends without its answer", |_, s: &State| {
                s.stage.after(Event::Completed).is_ok() || !s.stage.is_final() || s.answered
            }),
            Property::always("in the end it is over, or a person is asked about what stays", |m: &Self, s: &State| {
                let mut next = Vec::new();
                m.actions(s, &mut next);
                !next.is_empty() || s.stage.is_final() || s.residues.contains(&RESIDUE_TRIES)
            }),
            Property::sometimes("a residue is found, acted on and verified", |_, s: &State| {
                s.stage == Stage::Completed && s.residues[0] == 1
            }),
            Property::sometimes("some records stay", |_, s: &State| s.stage == Stage::PartiallyCompleted),
        ]
    }
}
