//! Whose turn it is: the workers are shared between controllers so that nobody's flood keeps another one waiting.
//!
//! Work is sorted into classes by how soon it is due. Three turns of four go to the most urgent class that has work, round its
//! controllers by their weights; the fourth goes round all controllers, whatever is due when. So whoever has work gets a
//! turn after at most `4 × (sum of weights ÷ own weight)` turns, and what is urgent still comes first. For one controller
//! the earliest deadline is first, always.
//!
//! A turn is a place at work, not a number of steps: a call takes a place for as long as it lasts, however many it carries.

use crate::ControllerId;
use std::collections::BTreeMap;

const DAY_MS: i64 = 86_400_000;
/// Classes of due dates: overdue, due within a day, within three, within seven, later.
pub const CLASSES: usize = 5;
/// One turn of so many goes round all classes.
const ALL_CLASSES_EVERY: u64 = 4;
/// The largest weight of a controller.
pub const WEIGHT_MAX: u32 = 100;
/// Controllers whose turns are remembered: those furthest ahead, where there are more.
const REMEMBERED: usize = 1_024;
/// What one turn costs a controller of weight 1.
const TURN: u64 = 1 << 20;

/// The class of what is due at `due_at` (Unix ms); 0 is the most urgent.
pub const fn class(due_at: i64, now: i64) -> usize {
    let left = due_at.saturating_sub(now);
    if left <= 0 {
        0
    } else if left <= DAY_MS {
        1
    } else if left <= 3 * DAY_MS {
        2
    } else if left <= 7 * DAY_MS {
        3
    } else {
        4
    }
}

/// Work that waits: the most urgent of its kind, in one place, of one controller.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Whose it is.
    pub controller: &'a ControllerId,
    /// Its share, from 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// When the first of it is due (Unix ms).
    pub due_at: i64,
}

/// Goes round controllers by weight. A controller that had nothing to do saves up no turns, and owes none for ever.
#[derive(Debug, Clone, Default)]
struct Wheel {
    /// How far the wheel has come.
    now: u64,
    /// How far each controller that is ahead of the wheel has come.
    ahead: BTreeMap<ControllerId, u64>,
}

impl Wheel {
    fn at(&self, controller: &ControllerId) -> u64 {
        self.ahead.get(controller).map_or(self.now, |at| (*at).max(self.now))
    }

    /// The place of the one whose turn it is: who has come least far, then what is due first.
    fn next<'a>(&self, waiting: impl Iterator<Item = (usize, Waiting<'a>)>) -> Option<usize> {
        waiting.min_by_key(|(n, w)| (self.at(w.controller), w.due_at, *n)).map(|(n, _)| n)
    }

    /// The wheel gives a turn: it has come as far as whoever has come least far.
    fn take(&mut self, controller: &ControllerId, weight: u32) {
        self.now = self.at(controller);
        self.charge(controller, weight);
    }

    /// A turn was had that the wheel did not give.
    fn charge(&mut self, controller: &ControllerId, weight: u32) {
        let at = self.at(controller) + TURN / u64::from(weight.clamp(1, WEIGHT_MAX));
        self.ahead.insert(controller.clone(), at);
        if self.ahead.len() > REMEMBERED {
            let mut all: Vec<u64> = self.ahead.values().copied().collect();
            let (_, median, _) = all.select_nth_unstable(REMEMBERED / 2);
            let median = *median;
            self.ahead.retain(|_, ahead| *ahead > median);
        }
    }
}

/// Who had which turns: the memory of one process.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    taken: u64,
    classes: [Wheel; CLASSES],
    all: Wheel,
}

impl Turns {
    /// The place in `waiting` of what comes next, and takes the turn. None if nothing waits.
    pub fn next(&mut self, waiting: &[Waiting<'_>], now: i64) -> Option<usize> {
        let urgent = waiting.iter().map(|w| class(w.due_at, now)).min()?;
        self.taken += 1;
        let round_all = self.taken.is_multiple_of(ALL_CLASSES_EVERY);
        let everyone = waiting.iter().copied().enumerate();
        let chosen = if round_all {
            self.all.next(everyone)
        } else {
            self.classes[urgent].next(everyone.filter(|(_, w)| class(w.due_at, now) == urgent))
        }?;
        let Waiting { controller, weight, .. } = waiting[chosen];
        // The round of all knows every turn, so that who had an urgent one does not come first there as well.
        if round_all {
            self.all.take(controller, weight);
        } else {
            self.classes[urgent].take(controller, weight);
            self.all.charge(controller, weight);
        }
        Some(chosen)
    }
}

/// How many places at work a process has, and who may take them.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// All of them.
    pub all: usize,
    /// Most in one lane.
    pub per_lane: usize,
    /// There is more than one controller.
    pub shared: bool,
}

impl Places {
    /// Most places that one controller takes: with others about, some stay free for them however long its calls last.
    pub const fn per_controller(&self) -> usize {
        if self.shared && self.all > 1 {
            let spare = if self.all / 8 > 1 { self.all / 8 } else { 1 };
            self.all - spare
        } else {
            self.all
        }
    }

    /// Most places that one controller takes in a lane which it shares with others.
    pub const fn per_controller_in_lane(&self) -> usize {
        if self.shared && self.per_lane > 1 { self.per_lane.div_ceil(2) } else { self.per_lane }
    }
}

#[cfg(test)]
mod tests;
