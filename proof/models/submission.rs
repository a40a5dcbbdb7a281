//! Submission: two processes gather what comes in at the same time into one commit, for callers who repeat themselves.
//!
//! Stands for `src/store/submit.rs`: the first answer of a key is looked up before, and its row is unique in the
//! transaction; a caller hears 202 after the commit and not before; one submission of a group that conflicts fails alone.
//! A caller who heard nothing sends the same key again, to either process.

use super::{Case, Exhausted, exhaust};
use stateright::{Model, Property};

/// Which key each caller sends.
const KEYS: [u8; 3] = [7, 7, 8];
const PROCESSES: usize = 2;
const CRASHES: u8 = 1;

pub(super) const CASES: &[Case] = &[
    Case { model: "submission", twin: None, run: || run(None) },
    Case {
        model: "submission",
        twin: Some("the caller is answered before the commit"),
        run: || run(Some(Twin::AnswersFirst)),
    },
    Case { model: "submission", twin: Some("a key is looked up, but not unique"), run: || run(Some(Twin::NotUnique)) },
    Case {
        model: "submission",
        twin: Some("a conflict undoes the group, which is answered all the same"),
        run: || run(Some(Twin::FailsGroup)),
    },
];

fn run(twin: Option<Twin>) -> Exhausted {
    exhaust(SubmissionModel { twin })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Twin {
    AnswersFirst,
    NotUnique,
    FailsGroup,
}

struct SubmissionModel {
    twin: Option<Twin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Caller {
    Idle,
    Waits(usize),
    Told(u8),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Committer {
    Idle,
    /// It has looked up the keys: which caller is to be given which id.
    Looked(Vec<(usize, Option<u8>)>),
    Committed(Vec<(usize, u8)>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Id and key of what is durable.
    rows: Vec<(u8, u8)>,
    next_id: u8,
    callers: [Caller; KEYS.len()],
    pending: [Vec<usize>; PROCESSES],
    committers: [Committer; PROCESSES],
    crashes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Send(usize, usize),
    Look(usize),
    Commit(usize),
    Answer(usize),
    Crash(usize),
}

impl State {
    fn id_of(&self, key: u8) -> Option<u8> {
        self.rows.iter().find(|(_, k)| *k == key).map(|(id, _)| *id)
    }

    fn insert(&mut self, key: u8) -> u8 {
        self.next_id += 1;
        self.rows.push((self.next_id, key));
        self.next_id
    }
}

impl Model for SubmissionModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            rows: vec![],
            next_id: 0,
            callers: [Caller::Idle; KEYS.len()],
            pending: [vec![], vec![]],
            committers: [Committer::Idle, Committer::Idle],
            crashes: 0,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        for (c, caller) in s.callers.iter().enumerate() {
            if *caller == Caller::Idle {
                actions.extend((0..PROCESSES).map(|p| Action::Send(c, p)));
            }
        }
        for p in 0..PROCESSES {
            match &s.committers[p] {
                Committer::Idle if !s.pending[p].is_empty() => actions.push(Action::Look(p)),
                Committer::Idle => {}
                Committer::Looked(_) => actions.push(Action::Commit(p)),
                Committer::Committed(_) => actions.push(Action::Answer(p)),
            }
            let busy = s.committers[p] != Committer::Idle || !s.pending[p].is_empty();
            if s.crashes < CRASHES && busy {
                actions.push(Action::Crash(p));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::Send(c, p) => {
                s.callers[c] = Caller::Waits(p);
                s.pending[p].push(c);
            }
            Action::Look(p) => {
                let group = std::mem::take(&mut s.pending[p]);
                let looked = group.into_iter().map(|c| (c, s.id_of(KEYS[c]))).collect::<Vec<_>>();
                if self.twin == Some(Twin::AnswersFirst) {
                    for (c, known) in &looked {
                        s.callers[*c] = Caller::Told(known.unwrap_or(s.next_id + 1));
                    }
                }
                s.committers[p] = Committer::Looked(looked);
            }
            Action::Commit(p) => {
                let Committer::Looked(group) = s.committers[p].clone() else { return None };
                let before = s.clone();
                let mut conflict = false;
                let mut given = Vec::new();
                for (c, known) in group {
                    // The index of keys is asked in the transaction that inserts.
                    let there = if self.twin == Some(Twin::NotUnique) { known } else { s.id_of(KEYS[c]) };
                    conflict |= known.is_none() && there.is_some();
                    let id = there.unwrap_or_else(|| s.insert(KEYS[c]));
                    given.push((c, id));
                }
                if conflict && self.twin == Some(Twin::FailsGroup) {
                    s.rows = before.rows;
                }
                s.committers[p] = Committer::Committed(given);
            }
            Action::Answer(p) => {
                let Committer::Committed(given) = std::mem::replace(&mut s.committers[p], Committer::Idle) else {
                    return None;
                };
                for (c, id) in given {
                    if s.callers[c] == Caller::Waits(p) {
                        s.callers[c] = Caller::Told(id);
                    }
                }
            }
            Action::Crash(p) => {
                s.crashes += 1;
                s.pending[p].clear();
                s.committers[p] = Committer::Idle;
                for caller in &mut s.callers {
                    if *caller == Caller::Waits(p) {
                        *caller = Caller::Idle;
                    }
                }
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("whoever was told an id finds it", |_, s: &State| {
                s.callers.iter().zip(KEYS).all(|(caller, key)| match caller {
                    Caller::Told(id) => s.rows.contains(&(*id, key)),
                    _ => true,
                })
            }),
            Property::always("a key makes one request", |_, s: &State| {
                KEYS.iter().all(|key| s.rows.iter().filter(|(_, k)| k == key).count() <= 1)
            }),
            Property::always("in the end everybody was answered", |m: &Self, s: &State| {
                let mut next = Vec::new();
                m.actions(s, &mut next);
                !next.is_empty() || s.callers.iter().all(|c| matches!(c, Caller::Told(_)))
            }),
            Property::sometimes("a request is durable although nobody could be told", |_, s: &State| {
                s.crashes > 0
                    && !s.rows.is_empty()
                    && s.callers.iter().all(|c| *c == Caller::Idle)
                    && s.committers == [Committer::Idle, Committer::Idle]
            }),
            Property::sometimes(
                "a repeated key is given the first answer",
                |_, s: &State| matches!((s.callers[0], s.callers[1]), (Caller::Told(a), Caller::Told(b)) if a == b),
            ),
        ]
    }
}
