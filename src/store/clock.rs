//! A clock is kept with its request as the facts its dates follow from, and by the rule books they were computed by: whatever is
//! shipped later, a pause or an extension is computed by the books of the day of submission.

use crate::db::{Tx, args};
use crate::events::{Events, NewEvent};
use crate::migrate::hex;
use crate::queued::StepRows;
use crate::sealed::place;
use crate::webhooks::Word;
use crate::{Error, Store};
use jiff::Timestamp;
use redress_domain::calendar::{CalendarSet, HolidayCalendar};
use redress_domain::deadline::{ClockFacts, Deadlines};
use redress_domain::regulation::RuleTable;
use redress_domain::rules::Rules;
use redress_domain::stage::{Event, Stage};
use redress_domain::terms::Terms;
use redress_domain::{ControllerId, DsrId};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// What a rule book is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookKind {
    /// The table of regulations, TOML.
    Regulations,
    /// One holiday calendar, JSON.
    Calendar,
    /// What was agreed with one controller, JSON.
    Terms,
}

impl BookKind {
    const fn as_str(self) -> &'static str {
        match self {
            BookKind::Regulations => "regulations",
            BookKind::Calendar => "calendar",
            BookKind::Terms => "terms",
        }
    }
}

/// Digests of the books that a request's dates were computed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Books {
    /// The table.
    pub regulations: String,
    /// The calendars that counted.
    pub calendars: Vec<String>,
    /// The version of the set they were taken from.
    pub calendar_version: String,
    /// The controller's terms.
    pub terms: Option<String>,
}

/// A request's clock as it is kept: facts and books, nothing about the person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrozenClock {
    /// What the dates follow from.
    pub facts: ClockFacts,
    /// What they were computed by.
    pub books: Books,
    /// Ids of the laws that govern.
    pub regulations: Vec<String>,
}

/// A reason as it was given, in its own words: sealed with the request, gone with its purge.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClockNote {
    /// When (Unix ms).
    pub at: i64,
    /// What was done: `paused`, `resumed`, `extended`.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// What a change of a clock leads to.
#[derive(Debug)]
pub struct ClockChange {
    /// The facts afterwards.
    pub facts: ClockFacts,
    /// The dates afterwards.
    pub deadlines: Deadlines,
    /// What is recorded: kind and data, without personal data.
    pub event: (&'static str, Value),
    /// The reason in people's own words, to be sealed.
    pub note: Option<ClockNote>,
    /// What it does to the stage.
    pub stage_event: Option<Event>,
    /// Other books, for a recomputation.
    pub books: Option<Books>,
}

/// A request's clock as a change finds it.
#[derive(Debug)]
pub struct ClockNow {
    /// Facts and books.
    pub clock: FrozenClock,
    /// The books, read.
    pub rules: Rules,
    /// The request's stage.
    pub stage: Stage,
    /// Its status as it is shown.
    pub status: String,
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };

/// Books that were read already, by digest.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    kept: HashSet<String>,
    tables: HashMap<String, Arc<RuleTable>>,
    calendars: HashMap<String, HolidayCalendar>,
    terms: HashMap<String, Arc<Terms>>,
}

pub(crate) type SharedShelf = Arc<Mutex<Shelf>>;

fn notes_place(controller_id: &ControllerId, dsr_id: &DsrId) -> Vec<u8> {
    place(&[controller_id.as_str(), dsr_id.as_str(), "clock_notes"])
}

/// The dates as columns: what is indexed or counted without reading JSON.
pub(crate) struct ClockColumns {
    pub(crate) due_before: i64,
    pub(crate) statutory_due_before: Option<i64>,
    pub(crate) clock_state: &'static str,
}

impl ClockColumns {
    pub(crate) fn of(deadlines: &Deadlines) -> Self {
        Self {
            due_before: deadlines.effective.due_before.as_millisecond(),
            statutory_due_before: deadlines.statutory.as_ref().map(|law| law.due_before.as_millisecond()),
            clock_state: deadlines.clock.as_str(),
        }
    }
}

impl Store {
    /// Keeps a book and returns its digest. Asks the database once for each book and process.
    ///
    /// # Errors
    /// [`Error::Conflict`] if this version was kept with another text: a changed book needs a new version.
    pub async fn keep_book(&self, kind: BookKind, owner: &str, version: &str, body: &str) -> Result<String, Error> {
        let name = hex(digest(&SHA256, body.as_bytes()).as_ref());
        if self.shelf.lock().expect("never held across a panic").kept.contains(&name) {
            return Ok(name);
        }
        let mut tx = self.db.begin("keep book").await?;
        tx.exec(
            "-- keep_book\nINSERT INTO rule_books (digest, kind, owner, version, body, first_used_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            args![name.as_str(), kind.as_str(), owner, version, body, self.now_ms()],
        )
        .await?;
        let found =
            tx.row("-- kept_book\nSELECT digest FROM rule_books WHERE digest = $1", args![name.as_str()]).await?;
        self.commit(tx).await?;
        if found.is_none() {
            let what = if owner.is_empty() { kind.as_str().to_owned() } else { format!("{} {owner}", kind.as_str()) };
            return Err(Error::Conflict(format!(
                "{what} has changed but still calls itself version {version}; requests were computed by the former text, so give the new one a new version"
            )));
        }
        self.shelf.lock().expect("never held across a panic").kept.insert(name.clone());
        Ok(name)
    }

    /// The rules of these books.
    ///
    /// # Errors
    /// A book is gone or is not of the form this version reads.
    pub async fn frozen_rules(&self, books: &Books) -> Result<Rules, Error> {
        let table = self.read_book(
            &books.regulations,
            |shelf| &mut shelf.tables,
            |text| RuleTable::parse(text).ok().map(Arc::new),
        );
        let table = table.await?;
        let mut calendars = Vec::with_capacity(books.calendars.len());
        for name in &books.calendars {
            let calendar = self.read_book(name, |shelf| &mut shelf.calendars, |text| serde_json::from_str(text).ok());
            calendars.push(calendar.await?);
        }
        let terms = match &books.terms {
            None => None,
            Some(name) => {
                let terms = |text: &str| serde_json::from_str::<Terms>(text).ok().map(Arc::new);
                Some(self.read_book(name, |shelf| &mut shelf.terms, terms).await?)
            }
        };
        let calendars = CalendarSet::of(books.calendar_version.clone(), calendars);
        Ok(Rules { table, calendars: Arc::new(calendars), terms })
    }

    /// A book as it was read before, or read now. The lock is not held while the database is asked.
    async fn read_book<T: Clone>(
        &self,
        name: &str,
        part: impl Fn(&mut Shelf) -> &mut HashMap<String, T>,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Error> {
        let known = part(&mut self.shelf.lock().expect("never held across a panic")).get(name).cloned();
        if let Some(book) = known {
            return Ok(book);
        }
        let book = read(&self.book(name).await?).ok_or_else(unreadable)?;
        part(&mut self.shelf.lock().expect("never held across a panic")).insert(name.to_owned(), book.clone());
        Ok(book)
    }

    async fn book(&self, name: &str) -> Result<String, Error> {
        let row = self.db.row("-- book\nSELECT body FROM rule_books WHERE digest = $1", args![name]).await?;
        row.ok_or_else(unreadable)?.text("body")
    }

    /// A request's clock with the books it was computed by; none for a request of a release that kept no clocks.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not this controller's.
    pub async fn clock_of(
        &self,
        controller_id: &ControllerId,
        id: &DsrId,
    ) -> Result<Option<(FrozenClock, Rules)>, Error> {
        let row = self
            .db
            .row(
                "-- clock_of\nSELECT clock FROM dsrs WHERE controller_id = $1 AND id = $2",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let Some(text) = row.opt_text("clock")? else { return Ok(None) };
        let clock: FrozenClock = serde_json::from_str(&text).map_err(|_| INCONSISTENT("clock"))?;
        let rules = self.frozen_rules(&clock.books).await?;
        Ok(Some((clock, rules)))
    }

    /// Changes a request's clock: `decide` makes of what is there what shall be. Dates, queue order, stage, reason and event are
    /// one transaction. `adopted` is the clock of a request that has none, from a release that kept no clocks.
    ///
    /// # Errors
    /// What `decide` refuses; [`Error::Conflict`] if somebody changed the clock in between or it has none.
    pub async fn change_clock<E: From<Error>>(
        &self,
        controller_id: &ControllerId,
        id: &DsrId,
        actor: &str,
        adopted: Option<FrozenClock>,
        decide: impl FnOnce(&ClockNow) -> Result<ClockChange, E>,
    ) -> Result<(), E> {
        let found = match (self.clock_of(controller_id, id).await?, adopted) {
            (None, Some(clock)) => {
                let rules = self.frozen_rules(&clock.books).await?;
                Some((clock, rules))
            }
            (found, _) => found,
        };
        let Some((before, rules)) = found else {
            return Err(Error::Conflict(
                "this request was accepted before clocks were kept; recompute it first".into(),
            )
            .into());
        };
        let mut tx = self.db.begin("change clock").await?;
        let row = tx
            .row(
                "-- lock_clock\nSELECT clock, clock_notes, stage, status, due_before, has_callback, wrapped_key FROM dsrs WHERE controller_id = $1 AND id = $2 {for_update}",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let clock: FrozenClock = match row.opt_text("clock")? {
            Some(text) => serde_json::from_str(&text).map_err(|_| INCONSISTENT("clock"))?,
            None => before.clone(),
        };
        if clock.facts != before.facts || clock.books != before.books {
            return Err(Error::Conflict("its clock was changed at the same time; look again".into()).into());
        }
        let stage = Stage::parse(&row.text("stage")?).ok_or(INCONSISTENT("stage"))?;
        let now = ClockNow { clock, rules, stage, status: row.text("status")? };
        let change = decide(&now)?;

        let mut events = Events::default();
        let (kind, data) = change.event;
        events.push(controller_id, NewEvent::new(Some(id), kind, data));
        let clock = FrozenClock {
            regulations: governing(&change.deadlines, &now.clock.regulations),
            facts: change.facts,
            books: change.books.unwrap_or(now.clock.books),
        };
        let columns = ClockColumns::of(&change.deadlines);
        tx.exec(
            "-- clock_changed\nUPDATE dsrs SET clock = $2, deadlines = $3, due_before = $4, statutory_due_before = $5, clock_state = $6, extended_at = $7, watch_at = CASE WHEN closed_at IS NULL THEN $8 ELSE NULL END, version = version + 1 WHERE id = $1",
            args![
                id.as_str(),
                json!(clock).to_string(),
                json!(change.deadlines).to_string(),
                columns.due_before,
                columns.statutory_due_before,
                columns.clock_state,
                extended_at(&clock.facts, &change.deadlines),
                self.now_ms()
            ],
        )
        .await?;
        // The queue is ordered by the due date; a system that takes days is asked that much earlier, and stays so.
        tx.exec(
            "-- steps_moved\nUPDATE steps SET due_at = due_at + $2 WHERE dsr_id = $1",
            args![id.as_str(), columns.due_before - row.int("due_before")?],
        )
        .await?;
        if let Some(note) = change.note {
            self.add_note(&mut tx, controller_id, id, &row, note).await?;
        }
        if let Some(event) = change.stage_event {
            let stage = now.stage.after(event).map_err(|illegal| Error::Conflict(illegal.to_string()))?;
            events.push(controller_id, NewEvent::new(Some(id), event.as_str(), json!({ "stage": stage })));
            tx.exec(
                "-- clock_stage\nUPDATE dsrs SET stage = $2, waiting_since = NULL WHERE id = $1",
                args![id.as_str(), stage.as_str()],
            )
            .await?;
            // A need for attention hides the stage, so that the advance sees no new status; who listens is told all the same.
            if row.text("status")? == "needs_attention" {
                let word = Word {
                    controller_id,
                    dsr_id: id,
                    due_before: columns.due_before,
                    has_callback: row.int("has_callback")? != 0,
                    statuses: vec![stage.as_str().to_owned()],
                };
                let mut notice = StepRows::default();
                self.leave_word(&mut tx, &[word], &mut notice).await?;
                self.insert_steps(&mut tx, notice).await?;
            }
        }
        self.advance_all(&mut tx, vec![id.clone()], &mut events).await?;
        self.append_all(&mut tx, actor, events).await?;
        tx.wakes.push("advance".into());
        self.commit(tx).await?;
        Ok(())
    }

    pub(crate) async fn add_note(
        &self,
        tx: &mut Tx,
        controller_id: &ControllerId,
        id: &DsrId,
        row: &crate::db::Row,
        note: ClockNote,
    ) -> Result<(), Error> {
        let wrapped = row.opt_bytes("wrapped_key")?.ok_or(Error::Purged)?;
        let key = self.unwrap_dsr_key(controller_id, id, &wrapped).await?;
        let place = notes_place(controller_id, id);
        let mut notes: Vec<ClockNote> = match row.opt_bytes("clock_notes")? {
            None => Vec::new(),
            Some(sealed) => {
                serde_json::from_slice(&key.open(&place, &sealed)?).map_err(|_| INCONSISTENT("clock_notes"))?
            }
        };
        notes.push(note);
        let text = serde_json::to_vec(&notes).map_err(|_| INCONSISTENT("clock_notes"))?;
        let sealed = key.seal(&place, &text)?;
        tx.exec("-- clock_noted\nUPDATE dsrs SET clock_notes = $2 WHERE id = $1", args![id.as_str(), sealed])
            .await
            .map(drop)
    }

    /// The reasons that were given for what happened to a request's clock; none once its personal data are gone.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not this controller's.
    pub async fn clock_notes(&self, controller_id: &ControllerId, id: &DsrId) -> Result<Vec<ClockNote>, Error> {
        let row = self
            .db
            .row(
                "-- clock_notes\nSELECT clock_notes, wrapped_key FROM dsrs WHERE controller_id = $1 AND id = $2",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let (Some(sealed), Some(wrapped)) = (row.opt_bytes("clock_notes")?, row.opt_bytes("wrapped_key")?) else {
            return Ok(Vec::new());
        };
        let key = self.unwrap_dsr_key(controller_id, id, &wrapped).await?;
        let clear = key.open(&notes_place(controller_id, id), &sealed)?;
        serde_json::from_slice(&clear).map_err(|_| INCONSISTENT("clock_notes"))
    }
}

fn unreadable() -> Error {
    Error::Inconsistent { table: "rule_books", column: "body" }
}

/// The laws that gave a date, or what was known before where none did.
pub(crate) fn governing(deadlines: &Deadlines, before: &[String]) -> Vec<String> {
    let mut laws: Vec<String> = deadlines.statutory_all.iter().map(|law| law.regulation.clone()).collect();
    if laws.is_empty() {
        laws.extend(deadlines.statutory.as_ref().map(|law| law.regulation.clone()));
    }
    if laws.is_empty() { before.to_vec() } else { laws }
}

/// When the extension was told, if one counts under any law.
pub(crate) fn extended_at(facts: &ClockFacts, deadlines: &Deadlines) -> Option<i64> {
    let counts = deadlines.statutory.iter().chain(&deadlines.statutory_all).any(|law| law.extended == Some(true));
    facts.extension.filter(|_| counts).map(|notice| notice.granted_at).map(Timestamp::as_millisecond)
}
