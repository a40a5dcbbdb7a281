//! A run is one call's statements: each is sent once, and what the warehouse still works on is asked for in the next call.
//!
//! Once a statement takes longer than a call may, the step is told as accepted, and its receipt names every statement of the
//! run by a digest. The next call goes through the same statements, and for those it reads the answer instead of sending them
//! again. What was answered too long ago is not believed any more.

use super::statement::{Dialect, Statement};
use crate::flat::Touched;
use crate::http::{Line, unreadable};
use crate::report::sha256_hex;
use crate::{Outcome, Problem, Receipt, Trouble, Work};
use async_trait::async_trait;
use redress_domain::{Clock as _, SystemClock};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// A running statement is asked for after this long.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(20);
/// What was read longer ago than this is read anew.
const STALE_MS: i64 = 3_600_000;

/// What a statement came to.
pub(super) struct Ran {
    /// When it was begun, by the warehouse's clock (Unix ms).
    pub(super) started_ms: i64,
    /// Columns, and whether their texts are exact (a whole number, a text).
    pub(super) columns: Vec<(String, bool)>,
    pub(super) rows: Vec<Map<String, Value>>,
    /// Rows that were changed.
    pub(super) affected: Option<u64>,
}

/// How far a statement is.
pub(super) enum Step {
    Done(String, Ran),
    Running(String),
    Failed(Trouble),
}

/// One warehouse's interface.
#[async_trait]
pub(super) trait Door: Send + Sync {
    fn line(&self) -> &Line;
    fn dialect(&self) -> Dialect;
    /// Sends a statement under an id (32 hexadecimal digits). If one was sent under it before, it is that one that is told of.
    async fn send(&self, id: &str, statement: &Statement) -> Result<Step, Trouble>;
    /// What became of a statement; none if it is not known any more.
    async fn fetch(&self, handle: &str) -> Result<Option<Step>, Trouble>;
}

/// Why a run stops.
pub(super) enum Halt {
    Running,
    Trouble(Trouble),
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// A statement that was sent.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    handle: String,
    at_ms: i64,
}

/// Statements by digest.
pub(super) type Sents = BTreeMap<String, Sent>;

/// What a step keeps. It has no `Debug`: keys may be personal.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub(super) touched: Touched,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) sent: Sents,
}

impl Note {
    pub(super) fn read(receipt: Option<&Receipt>) -> Result<Self, Trouble> {
        receipt.map_or(Ok(Self::default()), |receipt| {
            serde_json::from_str(&receipt.0).map_err(|_| {
                Trouble::Denied(Problem::new(
                    "receipt_unreadable",
                    "what an earlier run of this step recorded cannot be read; use the version that wrote it",
                ))
            })
        })
    }

    pub(super) fn receipt(&self) -> Receipt {
        Receipt(serde_json::to_string(self).expect("texts and numbers are JSON"))
    }
}

/// One call's statements.
pub(super) struct Run<'d> {
    door: &'d dyn Door,
    known: Sents,
    pub(super) used: Sents,
}

fn digest(phase: &str, statement: &Statement) -> String {
    let values = Value::from(statement.values.clone());
    sha256_hex(format!("{phase}\n{}\n{values}", statement.text).as_bytes())
}

impl<'d> Run<'d> {
    pub(super) fn new(door: &'d dyn Door, known: Sents) -> Self {
        let now = SystemClock.now_ms();
        let known = known.into_iter().filter(|(_, sent)| now - sent.at_ms < STALE_MS).collect();
        Self { door, known, used: Sents::new() }
    }

    /// As far as an earlier call of these steps came.
    pub(super) fn of(door: &'d dyn Door, batch: &[Work<'_>]) -> Self {
        let notes = batch.iter().filter_map(|work| Note::read(work.prior).ok());
        Self::new(door, notes.flat_map(|note| note.sent).collect())
    }

    async fn earlier(&mut self, digest: &str) -> Result<Option<Ran>, Halt> {
        let Some(sent) = self.known.get(digest).cloned() else { return Ok(None) };
        match self.door.fetch(&sent.handle).await? {
            // It is sent anew.
            None | Some(Step::Failed(_)) => Ok(None),
            Some(step) => self.took(digest, step, sent.at_ms).map(Some),
        }
    }

    fn took(&mut self, digest: &str, step: Step, at_ms: i64) -> Result<Ran, Halt> {
        let (handle, ran) = match step {
            Step::Running(handle) => (handle, Err(Halt::Running)),
            Step::Done(handle, ran) => (handle, Ok(ran)),
            Step::Failed(trouble) => return Err(Halt::Trouble(trouble)),
        };
        self.used.insert(digest.to_owned(), Sent { handle, at_ms });
        ran
    }

    /// Reads. What is not of this run is never believed: each reading has an id of its own.
    pub(super) async fn read(&mut self, phase: &str, statement: &Statement) -> Result<Ran, Halt> {
        let digest = digest(phase, statement);
        if let Some(ran) = self.earlier(&digest).await? {
            return Ok(ran);
        }
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| unreadable())?;
        let step = self.door.send(&crate::http::sigv4::hex(&id), statement).await?;
        self.took(&digest, step, SystemClock.now_ms())
    }

    /// Changes rows that a reading begun at `read_ms` (the warehouse's clock) found; how many. The id is made of the step, the
    /// statement and that reading: the same order is not given twice, and rows that came back are another order.
    pub(super) async fn change(&mut self, key: &str, read_ms: i64, statement: &Statement) -> Result<u64, Halt> {
        let digest = digest(&format!("change {key} {read_ms}"), statement);
        let had_failed = self.known.contains_key(&digest);
        if let Some(ran) = self.earlier(&digest).await? {
            return Ok(ran.affected.ok_or_else(unreadable)?);
        }
        let now = SystemClock.now_ms();
        let id = sha256_hex(format!("{digest}\n{}", if had_failed { now } else { 0 }).as_bytes());
        let step = self.door.send(&id[..32], statement).await?;
        Ok(self.took(&digest, step, now)?.affected.ok_or_else(unreadable)?)
    }

    /// All statements by which the next call goes on.
    pub(super) fn sent(&self) -> Sents {
        let mut all = self.known.clone();
        all.extend(self.used.clone());
        all
    }

    /// What one step is told when the run stops.
    pub(super) fn stopped(&self, halt: &Halt, touched: Touched) -> Outcome {
        match halt {
            Halt::Trouble(trouble) => Outcome::Trouble(trouble.clone()),
            Halt::Running => Outcome::Accepted {
                receipt: Note { touched, sent: self.sent() }.receipt(),
                check_after: ASK_AGAIN,
                completes_within: None,
            },
        }
    }
}
