//! Cancel race: a controller takes a request back while a worker is about to act on it.
//!
//! Stands for `decide` (`cancel_steps`, then the request's end) in `src/store/advance.rs` against `claim`, `intend`, `finish`
//! and `expire_leases`. The intent is two actions, what its statement reads and its commit, because on PostgreSQL something
//! else can be committed in between: it holds a shared lock on the request, so that a withdrawal waits for it. The stage
//! after the withdrawal is [`Stage::after`]'s word, and whether steps may act [`Stage::is_working`]'s.

use super::{Case, Exhausted, exhaust};
use redress_domain::stage::{Event, Stage};
use stateright::{Model, Property};

const WORKERS: usize = 2;
const DEATHS: u8 = 2;

pub(super) const CASES: &[Case] = &[
    Case { model: "cancel", twin: None, run: || run(None) },
    Case {
        model: "cancel",
        twin: Some("an effect is announced whatever the stage"),
        run: || run(Some(Twin::AnyStage)),
    },
    Case { model: "cancel", twin: Some("the intent does not lock the request"), run: || run(Some(Twin::Unlocked)) },
    Case { model: "cancel", twin: Some("what waits stays in the queue"), run: || run(Some(Twin::LeavesQueue)) },
    Case {
        model: "cancel",
        twin: Some("a lost lease puts its step back in any case"),
        run: || run(Some(Twin::Requeues)),
    },
    Case { model: "cancel", twin: Some("what came of a withdrawn request is dropped"), run: || run(Some(Twin::Drops)) },
];

fn run(twin: Option<Twin>) -> Exhausted {
    exhaust(CancelModel { twin })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Twin {
    AnyStage,
    Unlocked,
    LeavesQueue,
    Requeues,
    Drops,
}

struct CancelModel {
    twin: Option<Twin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Queue {
    Ready,
    Run,
    Rests,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    Claimed(u8),
    /// The statement of the intent has seen that it may, and is not committed.
    Intends(u8),
    Announced(u8),
    Changed(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    stage: Stage,
    queue: Queue,
    token: u8,
    announced: bool,
    recorded: bool,
    changed: bool,
    workers: [Worker; WORKERS],
    answered: bool,
    deaths: u8,
    begun_after_answer: bool,
    claimed_after_end: bool,
    /// A worker died, so that what it knew is only announced.
    died: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Claim(usize),
    Intend(usize),
    CommitIntent(usize),
    Change(usize),
    Finish(usize),
    /// A lease runs out and is taken back; who had it may be dead or only slow.
    Expire,
    Die(usize),
    Withdraw,
    AnswerWithdrawal,
}

impl Model for CancelModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            stage: Stage::InProgress,
            queue: Queue::Ready,
            token: 0,
            announced: false,
            recorded: false,
            changed: false,
            workers: [Worker::Idle; WORKERS],
            answered: false,
            deaths: 0,
            begun_after_answer: false,
            claimed_after_end: false,
            died: false,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        for (w, worker) in s.workers.iter().enumerate() {
            actions.extend(match worker {
                Worker::Idle => (s.queue == Queue::Ready).then_some(Action::Claim(w)),
                Worker::Claimed(_) => Some(Action::Intend(w)),
                Worker::Intends(_) => Some(Action::CommitIntent(w)),
                Worker::Announced(_) => Some(Action::Change(w)),
                Worker::Changed(_) => Some(Action::Finish(w)),
            });
            if *worker != Worker::Idle {
                actions.push(Action::Die(w));
            }
        }
        if s.queue == Queue::Run && s.deaths < DEATHS {
            actions.push(Action::Expire);
        }
        // Whoever wants to change the request waits for those who have it locked.
        let locked = self.twin != Some(Twin::Unlocked) && s.workers.iter().any(|w| matches!(w, Worker::Intends(_)));
        if s.stage.after(Event::Withdrawn).is_ok() && !locked {
            actions.push(Action::Withdraw);
        }
        if s.stage == Stage::Withdrawn && !s.answered {
            actions.push(Action::AnswerWithdrawal);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::Claim(w) => {
                (s.queue, s.token) = (Queue::Run, s.token + 1);
                s.claimed_after_end |= s.stage.is_final();
                s.workers[w] = Worker::Claimed(s.token);
            }
            Action::Intend(w) => {
                let Worker::Claimed(token) = s.workers[w] else { return None };
                let may = s.stage.is_working() || self.twin == Some(Twin::AnyStage);
                let fenced = s.queue == Queue::Run && s.token == token;
                s.workers[w] = if may && fenced && !s.changed { Worker::Intends(token) } else { Worker::Idle };
            }
            Action::CommitIntent(w) => {
                let Worker::Intends(token) = s.workers[w] else { return None };
                // The row of the step is checked again when it is written: it is locked from here to the commit.
                if s.queue == Queue::Run && s.token == token {
                    s.announced = true;
                    s.begun_after_answer |= s.answered;
                    s.workers[w] = Worker::Announced(token);
                } else {
                    s.workers[w] = Worker::Idle;
                }
            }
            Action::Change(w) => {
                let Worker::Announced(token) = s.workers[w] else { return None };
                s.changed = true;
                s.workers[w] = Worker::Changed(token);
            }
            Action::Finish(w) => {
                let Worker::Changed(token) = s.workers[w] else { return None };
                let dropped = self.twin == Some(Twin::Drops) && s.stage.is_final();
                if s.queue == Queue::Run && s.token == token && !dropped {
                    (s.queue, s.recorded) = (Queue::Rests, true);
                }
                s.workers[w] = Worker::Idle;
            }
            Action::Expire => {
                (s.token, s.deaths) = (s.token + 1, s.deaths + 1);
                let over = s.stage.is_final() && self.twin != Some(Twin::Requeues);
                s.queue = if over { Queue::Rests } else { Queue::Ready };
            }
            Action::Die(w) => {
                s.workers[w] = Worker::Idle;
                s.died = true;
            }
            Action::Withdraw => {
                s.stage = s.stage.after(Event::Withdrawn).expect("asked before");
                if s.queue == Queue::Ready && self.twin != Some(Twin::LeavesQueue) {
                    (s.queue, s.token) = (Queue::Rests, s.token + 1);
                }
            }
            Action::AnswerWithdrawal => s.answered = true,
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing begins after the withdrawal was answered", |_, s: &State| !s.begun_after_answer),
            Property::always("nothing of a request that ended is taken up", |_, s: &State| !s.claimed_after_end),
            Property::always("what was changed was announced before", |_, s: &State| !s.changed || s.announced),
            Property::always("what was done is recorded if its worker lives and was not too slow", |_, s: &State| {
                let finishing = s.workers.iter().any(|w| matches!(w, Worker::Changed(_)));
                s.died || s.deaths > 0 || !s.changed || s.recorded || finishing
            }),
            Property::sometimes("what began before the withdrawal is recorded after it", |_, s: &State| {
                s.answered && s.recorded
            }),
            Property::sometimes("a withdrawal comes before anything was done", |_, s: &State| {
                s.answered && !s.announced
            }),
        ]
    }
}
