//! Notices: each status of a request is told to its controller, from a row written in the transaction that reached it.
//!
//! Stands for `insert_notice` in `src/store/advance.rs`, called by `advance_one` and `end` inside the caller's transaction,
//! for the lease on that row, and for `jobs/notify.rs`, which sends first and records afterwards: a message that was sent
//! by a worker that died is sent again under the same id. Which status follows is [`Stage::after`]'s word.

use super::{Case, Exhausted, exhaust};
use redress_domain::stage::{Event, Stage};
use stateright::{Model, Property};

const LIFE: [Event; 4] = [Event::WorkBegan, Event::VerificationBegan, Event::DeliveryBegan, Event::Completed];
const DEATHS: u8 = 2;

pub(super) const CASES: &[Case] = &[
    Case { model: "notices", twin: None, run: || run(None) },
    Case {
        model: "notices",
        twin: Some("the row is written in a second transaction"),
        run: || run(Some(Twin::Outside)),
    },
    Case {
        model: "notices",
        twin: Some("a notice is recorded as told before it is sent"),
        run: || run(Some(Twin::RecordedFirst)),
    },
    Case {
        model: "notices",
        twin: Some("a sweep writes what it does not see told"),
        run: || run(Some(Twin::WritesAgain)),
    },
];

fn run(twin: Option<Twin>) -> Exhausted {
    exhaust(NoticeModel { twin })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Twin {
    Outside,
    RecordedFirst,
    WritesAgain,
}

struct NoticeModel {
    twin: Option<Twin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Row {
    Ready,
    Run,
    Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Teller {
    Idle,
    Claimed { row: usize, token: u8 },
    Sent { row: usize, token: u8 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    stage: Stage,
    lived: usize,
    /// A status whose row is still to be written, in the memory of who reached it.
    owed: Option<Stage>,
    rows: Vec<(Stage, Row, u8)>,
    /// What the controller heard, by row.
    heard: Vec<u8>,
    teller: Teller,
    deaths: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Advance,
    WriteOwed,
    WriteAgain,
    Claim(usize),
    Send,
    Record,
    Expire(usize),
    Die,
}

impl State {
    fn add(&mut self, stage: Stage) {
        self.rows.push((stage, Row::Ready, 0));
        self.heard.push(0);
    }
}

impl Model for NoticeModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            stage: Stage::Received,
            lived: 0,
            owed: None,
            rows: vec![],
            heard: vec![],
            teller: Teller::Idle,
            deaths: 0,
        }]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.lived < LIFE.len() && s.owed.is_none() {
            actions.push(Action::Advance);
        }
        if s.owed.is_some() {
            actions.push(Action::WriteOwed);
        }
        if self.twin == Some(Twin::WritesAgain) && s.rows.len() == 1 && s.rows[0].1 != Row::Told {
            actions.push(Action::WriteAgain);
        }
        match s.teller {
            Teller::Idle => {
                actions.extend((0..s.rows.len()).filter(|i| s.rows[*i].1 == Row::Ready).map(Action::Claim));
            }
            Teller::Claimed { .. } => actions.push(Action::Send),
            Teller::Sent { .. } => actions.push(Action::Record),
        }
        if s.deaths < DEATHS {
            // Its worker is dead or slow: the same to the row.
            actions.extend((0..s.rows.len()).filter(|i| s.rows[*i].1 == Row::Run).map(Action::Expire));
            if s.teller != Teller::Idle || s.owed.is_some() {
                actions.push(Action::Die);
            }
        } else if s.teller == Teller::Idle {
            actions.extend((0..s.rows.len()).filter(|i| s.rows[*i].1 == Row::Run).map(Action::Expire));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        match action {
            Action::Advance => {
                s.stage = s.stage.after(LIFE[s.lived]).expect("a life as requests have it");
                s.lived += 1;
                if self.twin == Some(Twin::Outside) { s.owed = Some(s.stage) } else { s.add(s.stage) }
            }
            Action::WriteOwed => {
                let stage = s.owed.take()?;
                s.add(stage);
            }
            Action::WriteAgain => s.add(s.rows[0].0),
            Action::Claim(row) => {
                s.rows[row].1 = Row::Run;
                s.rows[row].2 += 1;
                let token = s.rows[row].2;
                if self.twin == Some(Twin::RecordedFirst) {
                    s.rows[row].1 = Row::Told;
                }
                s.teller = Teller::Claimed { row, token };
            }
            Action::Send => {
                let Teller::Claimed { row, token } = s.teller else { return None };
                s.heard[row] += 1;
                s.teller = Teller::Sent { row, token };
            }
            Action::Record => {
                let Teller::Sent { row, token } = s.teller else { return None };
                if s.rows[row].1 == Row::Run && s.rows[row].2 == token {
                    s.rows[row].1 = Row::Told;
                }
                s.teller = Teller::Idle;
            }
            Action::Expire(row) => {
                s.rows[row].1 = Row::Ready;
                s.rows[row].2 += 1;
                s.deaths = (s.deaths + 1).min(DEATHS);
            }
            Action::Die => {
                (s.teller, s.owed) = (Teller::Idle, None);
                s.deaths += 1;
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a status has one row", |_, s: &State| {
                (1..s.rows.len()).all(|i| !s.rows[..i].iter().any(|(stage, ..)| *stage == s.rows[i].0))
            }),
            Property::always("a status is told again only if a teller died or was too slow", |_, s: &State| {
                s.deaths > 0 || s.heard.iter().all(|n| *n <= 1)
            }),
            Property::always("in the end every status was told", |m: &Self, s: &State| {
                let mut next = Vec::new();
                m.actions(s, &mut next);
                !next.is_empty() || s.heard.len() == LIFE.len() && s.heard.iter().all(|n| *n > 0)
            }),
            Property::sometimes("a status is told twice after a death", |_, s: &State| s.heard.contains(&2)),
            Property::sometimes("a life is told without a hitch", |_, s: &State| {
                s.heard == [1; LIFE.len()] && s.deaths == 0
            }),
        ]
    }
}
