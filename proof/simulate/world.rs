//! The world is what lies outside the product: the connected systems, which keep a journal of their own, and the controller,
//! who remembers what was answered and told. What it has seen is the truth that the product's rows are held against.

use redress_domain::{Subject, Verb};
use std::collections::{BTreeMap, BTreeSet};

/// How a connected system works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// One transaction for a person: locks, announces, changes, commits; a connection that breaks undoes it.
    Database,
    /// Takes an order under an idempotency key and carries it out when it likes.
    Vendor,
}

/// What one system holds about one person.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// Records at the beginning.
    pub(super) had: u64,
    /// Records there.
    pub(super) has: u64,
    /// Of these, how many carry the new name.
    pub(super) renamed: u64,
    /// Which life of which process has them locked.
    pub(super) locked_by: Option<(usize, u32)>,
    /// A second read has said that it is done.
    pub(super) confirmed: bool,
    /// How often they came back.
    pub(super) restored: u64,
    /// Orders by key, and whether each is carried out.
    pub(super) orders: BTreeMap<String, bool>,
}

/// One change, as the system itself wrote it down.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) place: usize,
    pub(super) person: usize,
    pub(super) changed: u64,
}

/// What the controller heard: which message, of which request, which status.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) message: String,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) places: Vec<(&'static str, Way, BTreeMap<usize, Held>)>,
    pub(super) journal: Vec<Effect>,
    pub(super) heard: Vec<Heard>,
    /// The latest token under which an effect of a step was announced.
    pub(super) announced: BTreeMap<String, i64>,
    /// Requests whose end by a person was answered.
    pub(super) ended: BTreeSet<String>,
    /// Requests whose pause was answered.
    pub(super) paused: BTreeSet<String>,
}

impl World {
    pub(super) fn new() -> Self {
        let places = [("crm", Way::Database), ("shop", Way::Database), ("vendor", Way::Vendor)];
        Self { places: places.into_iter().map(|(name, way)| (name, way, BTreeMap::new())).collect(), ..Self::default() }
    }

    /// A new person, with so many records in each system.
    pub(super) fn person(&mut self, person: usize, records: [u64; 3]) {
        for ((_, _, people), had) in self.places.iter_mut().zip(records) {
            people.insert(person, Held { had, has: had, ..Held::default() });
        }
    }

    pub(super) fn at(&mut self, place: usize, person: usize) -> &mut Held {
        self.places[place].2.entry(person).or_default()
    }

    /// How many records a verb has still to change.
    pub(super) fn left(&mut self, place: usize, person: usize, verb: Verb) -> u64 {
        let held = self.at(place, person);
        if verb == Verb::Rectify { held.has - held.renamed } else { held.has }
    }

    /// Changes what is left, and writes it down.
    pub(super) fn change(&mut self, place: usize, person: usize, verb: Verb) -> u64 {
        let changed = self.left(place, person, verb);
        let held = self.at(place, person);
        if verb == Verb::Rectify {
            held.renamed = held.has;
        } else {
            (held.has, held.renamed) = (0, 0);
        }
        if changed > 0 {
            self.journal.push(Effect { place, person, changed });
        }
        changed
    }

    /// The vendor carries an order out.
    pub(super) fn carry_out(&mut self, place: usize, person: usize) {
        let orders = &mut self.at(place, person).orders;
        if orders.values().all(|done| *done) {
            return;
        }
        for done in orders.values_mut() {
            *done = true;
        }
        self.change(place, person, Verb::Erase);
    }

    /// A connection broke: what it had locked is free.
    pub(super) fn unlock(&mut self, who: (usize, u32)) {
        for held in self.places.iter_mut().flat_map(|(_, _, people)| people.values_mut()) {
            if held.locked_by == Some(who) {
                held.locked_by = None;
            }
        }
    }

    /// Whose records may come back: those that are gone, and that no second read has seen gone.
    pub(super) fn restorable(&self, nth: usize) -> Option<(usize, usize)> {
        let all = self
            .places
            .iter()
            .enumerate()
            .flat_map(|(place, (.., people))| people.iter().map(move |(person, held)| (place, *person, held)));
        let gone = |held: &Held| held.had > 0 && held.has == 0 && !held.confirmed && held.restored == 0;
        let open: Vec<_> = all
            .filter(|(_, _, held)| gone(held) && held.locked_by.is_none())
            .map(|(place, person, _)| (place, person))
            .collect();
        (!open.is_empty()).then(|| open[nth % open.len()])
    }

    pub(super) fn changed(&self, place: usize, person: usize) -> u64 {
        self.journal.iter().filter(|e| (e.place, e.person) == (place, person)).map(|e| e.changed).sum()
    }
}

/// The address of a person.
pub(super) fn address(person: usize) -> String {
    format!("p{person}@people.example")
}

/// Whose address a request names.
pub(super) fn who(subject: &Subject) -> Option<usize> {
    let given = subject.identifiers.first()?.given().expose().clone();
    given.strip_prefix('p')?.strip_suffix("@people.example")?.parse().ok()
}
