//! Lease and fence: several workers, one step, one person's records.
//!
//! Stands for `claim`, `renew` and `expire_leases` in `src/store/queue.rs`, for the `intend` and `finish_*` statements
//! (`… WHERE id = $1 AND token = $2 AND q = 'run'`) and for a connector that locks the records, announces what it will
//! change, changes it and commits, as the SQL connectors do. A worker may stand still at any point for any time (SIGSTOP,
//! a slow network): that is every interleaving in which it does nothing for a while. It may die at any point; what it had
//! locked is then let go. The database's clock is the action [`Action::RunOut`].

use super::{Case, Exhausted, exhaust};
use redress_domain::step::DEATHS_MAX;
use stateright::{Model, Property};

const WORKERS: usize = 2;

pub(super) const CASES: &[Case] = &[
    Case { model: "lease", twin: None, run: || run(None) },
    Case {
        model: "lease",
        twin: Some("an outcome is recorded without the fence"),
        run: || run(Some(Twin::FinishUnfenced)),
    },
    Case {
        model: "lease",
        twin: Some("an effect is announced without the fence"),
        run: || run(Some(Twin::IntendUnfenced)),
    },
    Case {
        model: "lease",
        twin: Some("what the last run announced is not asked for"),
        run: || run(Some(Twin::PriorForgotten)),
    },
    Case { model: "lease", twin: Some("a lease that ran out stays"), run: || run(Some(Twin::NeverExpires)) },
];

fn run(twin: Option<Twin>) -> Exhausted {
    exhaust(LeaseModel { twin })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Twin {
    FinishUnfenced,
    IntendUnfenced,
    PriorForgotten,
    NeverExpires,
}

struct LeaseModel {
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
    Claimed {
        token: u8,
        prior: bool,
    },
    /// It has the person's records locked in the connected system.
    Locked {
        token: u8,
        prior: bool,
    },
    Announced {
        token: u8,
    },
    /// It knows what to say: whether it, or the run before it, changed something.
    Knows {
        token: u8,
        changed: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    queue: Queue,
    token: u8,
    deaths: u32,
    ran_out: bool,
    /// The receipt in the row: announced under this token.
    receipt: Option<u8>,
    /// What was recorded, once for each time.
    recorded: Vec<bool>,
    workers: [Worker; WORKERS],
    locked_by: Option<usize>,
    /// Under which tokens the connected system was changed.
    effects: Vec<u8>,
    /// A change was begun although a later lease had begun one.
    overtaken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Claim(usize),
    Renew(usize),
    RunOut,
    Expire,
    Lock(usize),
    Announce(usize),
    Change(usize),
    Finish(usize),
    Die(usize),
}

impl State {
    fn fenced(&self, token: u8) -> bool {
        self.queue == Queue::Run && self.token == token
    }
}

impl Model for LeaseModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            queue: Queue::Ready,
            token: 0,
            deaths: 0,
            ran_out: false,
            receipt: None,
            recorded: Vec::new(),
            workers: [Worker::Idle; WORKERS],
            locked_by: None,
            effects: Vec::new(),
            overtaken: false,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.queue == Queue::Run && !s.ran_out {
            actions.push(Action::RunOut);
        }
        if s.queue == Queue::Run && s.ran_out && self.twin != Some(Twin::NeverExpires) {
            actions.push(Action::Expire);
        }
        for (w, worker) in s.workers.iter().enumerate() {
            match worker {
                Worker::Idle if s.queue == Queue::Ready => actions.push(Action::Claim(w)),
                Worker::Idle => continue,
                Worker::Claimed { .. } if s.locked_by.is_none() => actions.push(Action::Lock(w)),
                Worker::Claimed { .. } => {}
                Worker::Locked { .. } => actions.push(Action::Announce(w)),
                Worker::Announced { .. } => actions.push(Action::Change(w)),
                Worker::Knows { .. } => actions.push(Action::Finish(w)),
            }
            if !matches!(worker, Worker::Idle) {
                actions.push(Action::Die(w));
                if s.ran_out
                    && matches!(worker, Worker::Claimed { token, .. } | Worker::Locked { token, .. } | Worker::Announced { token } | Worker::Knows { token, .. } if s.fenced(*token))
                {
                    actions.push(Action::Renew(w));
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::RunOut => s.ran_out = true,
            Action::Renew(_) => s.ran_out = false,
            Action::Claim(w) => {
                (s.queue, s.ran_out) = (Queue::Run, false);
                s.token += 1;
                let prior = s.receipt.is_some() && self.twin != Some(Twin::PriorForgotten);
                s.workers[w] = Worker::Claimed { token: s.token, prior };
            }
            Action::Expire => {
                (s.deaths, s.token, s.ran_out) = (s.deaths + 1, s.token + 1, false);
                s.queue = if s.deaths >= DEATHS_MAX { Queue::Rests } else { Queue::Ready };
            }
            Action::Lock(w) => {
                let Worker::Claimed { token, prior } = s.workers[w] else { return None };
                if s.effects.is_empty() {
                    s.locked_by = Some(w);
                    s.workers[w] = Worker::Locked { token, prior };
                } else {
                    // Nothing is there any more: what was announced before is what was changed.
                    s.workers[w] = Worker::Knows { token, changed: prior };
                }
            }
            Action::Announce(w) => {
                let Worker::Locked { token, .. } = s.workers[w] else { return None };
                if s.fenced(token) || self.twin == Some(Twin::IntendUnfenced) {
                    s.overtaken |= s.receipt.is_some_and(|other| other > token);
                    s.receipt = Some(token);
                    s.workers[w] = Worker::Announced { token };
                } else {
                    s.locked_by = None;
                    s.workers[w] = Worker::Idle;
                }
            }
            Action::Change(w) => {
                let Worker::Announced { token } = s.workers[w] else { return None };
                s.overtaken |= s.receipt.is_some_and(|other| other > token);
                s.effects.push(token);
                s.locked_by = None;
                s.workers[w] = Worker::Knows { token, changed: true };
            }
            Action::Finish(w) => {
                let Worker::Knows { token, changed } = s.workers[w] else { return None };
                if s.fenced(token) || self.twin == Some(Twin::FinishUnfenced) {
                    s.queue = Queue::Rests;
                    s.recorded.push(changed);
                }
                s.workers[w] = Worker::Idle;
            }
            Action::Die(w) => {
                if s.locked_by == Some(w) {
                    s.locked_by = None;
                }
                s.workers[w] = Worker::Idle;
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("an outcome is recorded at most once", |_, s: &State| s.recorded.len() <= 1),
            Property::always("the person's records are changed at most once", |_, s: &State| s.effects.len() <= 1),
            Property::always("who lost the lease begins nothing after its successor has", |_, s: &State| !s.overtaken),
            Property::always("what is reported is what happened", |_, s: &State| {
                s.recorded.iter().all(|changed| *changed != s.effects.is_empty())
            }),
            Property::always(
                "in the end it is recorded, or a person is asked after three deaths",
                |m: &Self, s: &State| {
                    let mut next = Vec::new();
                    m.actions(s, &mut next);
                    !next.is_empty() || !s.recorded.is_empty() || s.deaths >= DEATHS_MAX
                },
            ),
            Property::sometimes("the second run reports what the first one changed", |_, s: &State| {
                s.recorded == [true] && s.effects.first().is_some_and(|token| *token < s.token)
            }),
            Property::sometimes("a step over which three died is set aside", |_, s: &State| {
                s.queue == Queue::Rests && s.recorded.is_empty()
            }),
        ]
    }
}
