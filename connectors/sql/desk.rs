//! A desk is where the lookups of many persons' searches meet, so that those of one shape become one statement.
//!
//! Each person's search stays the one it is for a person alone: a future that asks and goes on with the answer. At a
//! desk all of them are driven until each waits for an answer; then those that are least far on are answered, with one
//! statement per shape, and so on until all have ended. An error of the database ends them all: nobody can say whose
//! it was.

use super::Context;
use super::lookup::{Lookup, Shape, for_many, for_one};
use super::session::{Session, Texts};
use super::trouble::retry;
use crate::Trouble;
use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// How far a search has come. Decides only which lookups are made together, never what they bring.
pub(super) type Place = (u16, usize, usize);

/// How one person's search reads.
pub(super) struct Reads<'a> {
    through: Through<'a>,
    place: Place,
}

enum Through<'a> {
    /// By statements of its own.
    Session(&'a mut Session),
    /// Together with others.
    Desk(&'a Desk, usize),
}

impl<'a> Reads<'a> {
    /// For a person alone.
    pub(super) const fn alone(session: &'a mut Session) -> Self {
        Self { through: Through::Session(session), place: (0, 0, 0) }
    }

    /// For one of those at the desk.
    pub(super) const fn at_desk(desk: &'a Desk, person: usize) -> Self {
        Self { through: Through::Desk(desk, person), place: (0, 0, 0) }
    }

    /// Says how far the search has come.
    pub(super) const fn at(&mut self, place: Place) {
        self.place = place;
    }

    /// Says how far it has come since.
    pub(super) const fn step(&mut self, step: usize) {
        self.place.2 = step;
    }

    /// Asks.
    pub(super) async fn rows(&mut self, context: &Context<'_>, mut lookup: Lookup) -> Result<Vec<Texts>, Trouble> {
        match &mut self.through {
            Through::Session(session) => for_one(context, session, &mut lookup).await,
            Through::Desk(desk, person) => Ok(desk.answer(*person, self.place, lookup).await),
        }
    }
}

/// A search at a desk.
pub(super) type Search<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where they meet.
#[derive(Default)]
pub(super) struct Desk(Mutex<Open>);

#[derive(Default)]
struct Open {
    waiting: Vec<Waiting>,
    answers: BTreeMap<usize, Vec<Texts>>,
    seen: BTreeMap<usize, HashSet<(usize, String)>>,
}

struct Waiting {
    person: usize,
    place: Place,
    lookup: Lookup,
}

impl Desk {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, person: usize, place: Place, lookup: Lookup) -> Vec<Texts> {
        self.open().waiting.push(Waiting { person, place, lookup });
        std::future::poll_fn(|_| self.open().answers.remove(&person).map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The rows (table, key) that a person's search was shown so far, theirs or not: all that it can depend on.
    pub(super) fn seen(&self, person: usize) -> HashSet<(usize, String)> {
        self.open().seen.get(&person).cloned().unwrap_or_default()
    }

    /// Drives the searches to their end.
    pub(super) async fn drive<T>(
        &self,
        context: &Context<'_>,
        session: &mut Session,
        searches: Vec<(usize, Search<'_, T>)>,
    ) -> Result<BTreeMap<usize, T>, Trouble> {
        let mut ended = BTreeMap::new();
        let mut under_way: BTreeMap<usize, Search<'_, T>> = searches.into_iter().collect();
        let mut answered: Vec<usize> = under_way.keys().copied().collect();
        let mut waiting = Vec::new();
        loop {
            for person in answered.drain(..) {
                let Some(search) = under_way.get_mut(&person) else { continue };
                if let Poll::Ready(end) = search.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
                    under_way.remove(&person);
                    ended.insert(person, end);
                }
            }
            waiting.append(&mut self.open().waiting);
            let Some(place) = waiting.iter().map(|waiting: &Waiting| waiting.place).min() else { break };
            let mut shapes: BTreeMap<Shape, (Vec<usize>, Vec<Lookup>)> = BTreeMap::new();
            for next in waiting.extract_if(.., |waiting| waiting.place == place) {
                let (persons, lookups) = shapes.entry(next.lookup.shape()).or_default();
                persons.push(next.person);
                lookups.push(next.lookup);
            }
            for (shape, (persons, mut lookups)) in shapes {
                let together = for_many(context, session, &lookups).await?;
                for ((person, lookup), rows) in persons.iter().zip(&mut lookups).zip(together) {
                    let rows = match rows {
                        Some(rows) => rows,
                        None => for_one(context, session, lookup).await?,
                    };
                    self.hand_over(*person, shape.rows_of(context), rows);
                }
                answered.extend(persons);
            }
        }
        if under_way.is_empty() {
            return Ok(ended);
        }
        // A search waits for nothing but the database.
        Err(retry("stalled", "a search waited for something else than the database; it is done again by halves"))
    }

    fn hand_over(&self, person: usize, table: Option<usize>, rows: Vec<Texts>) {
        let mut open = self.open();
        if let Some(table) = table {
            let keys = rows.iter().filter_map(|row| Some((table, row.first()?.clone()?)));
            open.seen.entry(person).or_default().extend(keys);
        }
        open.answers.insert(person, rows);
    }
}
