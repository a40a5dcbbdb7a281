//! The store holds every row of Redress, on SQLite or PostgreSQL, with personal data sealed.
//!
//! Only this crate turns ciphertext into [`redress_domain::Personal`]. Every statement names its controller or a row that
//! was reached through it. Every transaction has a name. What is written together is true together: an outcome, its event,
//! the request's next stage and the work that follows are one transaction.

mod advance;
mod answer;
mod artifacts;
mod audited;
mod breaker;
mod budgets;
mod census;
mod claim;
mod clock;
mod controllers;
mod crash;
mod db;
mod desk;
mod dsrs;
mod events;
mod evidence;
mod figures;
mod filter;
mod finding;
mod finish;
mod forecast;
mod gather;
mod glass;
mod health;
mod held;
mod holding;
mod holds;
mod instructions;
mod intend;
mod key_sessions;
mod keys;
mod ledgers;
mod listing;
mod messages;
mod migrate;
mod moves;
mod mutant;
mod outcomes;
mod paces;
mod pauses;
mod people;
mod purge;
mod queue;
mod queued;
mod replay;
mod reports;
mod reveal;
mod routes;
mod sealed;
mod sentinel;
mod sessions;
mod sign_ins;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(not(feature = "simulation"))]
mod simulation;
mod sql;
mod staff;
mod stream;
mod submit;
mod systems;
mod tasks;
mod tell;
mod today;
mod told;
mod views;
mod volumes;
mod wake;
mod watch;
mod webhooks;
mod work;
mod yields;

pub use advance::Decision;
pub use answer::{
    Answerable, Answered, AnsweredDeadline, AnsweredDeadlines, AuditTail, NewPackage, PackageInfo, Recorded,
    SealedChunk,
};
pub use artifacts::{Artifact, ArtifactMeta, NewArtifact, SealedArtifact};
pub use audited::{AuditHead, ChainCheck, EventFilter, EventPage, SEEN_KINDS};
pub use breaker::Breaker;
pub use budgets::Beat;
pub use census::QueueCounts;
pub use claim::{Look, QueueHead, Standing, Wanted};
pub use clock::{BookKind, Books, ClockChange, ClockNote, ClockNow, FrozenClock};
pub use controllers::{Controller, ControllerPolicy, NewController};
pub use crash::crash_point;
pub use db::{Dialect, Tx};
pub use desk::{Approval, DESK_MAX, Dead, DeadLetter, DeskTask, Stopped, StuckGroup};
pub use dsrs::{DsrDetail, DsrRow, NewDsr, Submitted};
pub use events::{AuditEvent, canonical_json};
pub use evidence::{EndedDsr, RuleBook};
pub use figures::{Figure, Figures};
pub use filter::DsrFilter;
pub use forecast::{OpenQueue, Passed};
pub use glass::Glass;
pub use health::{BudgetSpent, SYSTEMS_MAX, SystemHealth, SystemPace};
pub use holds::{HoldNote, HoldReach, HoldRow, HoldSet, NewHold, NewScope, RequestHold};
pub use instructions::{Instructed, Instructions, InstructionsVersion, Proposal};
pub use keys::{ApiKey, Caller};
pub use ledgers::{Ledger, LedgerSlot};
pub use listing::{DsrColumn, DsrCount, DsrPage, DsrPlace, DsrSort};
pub use messages::{
    Announcement, Emergency, EndedBy, MessageContents, MessageLease, MessageOutcome, ToldNotice, WEBHOOK_NOTICES,
};
pub use mutant::mutant;
pub use pauses::{Paused, Scope, UnderWay};
pub use people::{SessionRow, User, UserChange};
pub use reports::{ClosedDsr, OpenDsr, OpenStep, ReceivedDsr, StepTimes, SystemName};
pub use reveal::Revealed;
pub use routes::{NewRoute, Route, RouteChange, RouteTarget};
pub use sealed::{Key, random};
pub use sentinel::RedisAddress;
pub use sessions::{Identified, Life, Session};
pub use sign_ins::SignIn;
pub use staff::StaffEvent;
pub use stream::{Change, Head, Stretch};
pub use systems::{SystemOutline, SystemRow, SystemUpsert};
pub use tasks::OpenTask;
pub use tell::Tellable;
pub use today::{StuckSystem, Today, TodayAsked, TodayRow};
pub use told::{ToldController, ToldRoute};
pub use views::{SavedView, VIEWS_MAX};
pub use volumes::{AnsweredIn, Volumes};
pub use wake::{Wake, ping_redis};
pub use watch::{Lookout, SweepOptions, Swept, WatchPlace};
pub use webhooks::{Endpoint, EndpointAnswer, NewWebhook, WEBHOOKS_MAX, Webhook};
pub use work::{Finish, Lease, OpenWork, Result as StepResult, StepRow, WorkKind};

use db::Db;
use redress_domain::Clock;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What can go wrong in the store. Never shows a value of a row.
#[derive(thiserror::Error)]
pub enum Error {
    /// The database refused or was away.
    #[error("the database answered {}", describe(.0))]
    Database(Box<sqlx::Error>),
    /// A transaction could not be committed; nothing of it is there.
    #[error("the transaction \"{name}\" failed: {}", describe(.source))]
    Transaction {
        /// Its name.
        name: &'static str,
        /// Why.
        source: Box<sqlx::Error>,
    },
    /// A column is not of the type it must have.
    #[error("the column {column} cannot be read")]
    Column {
        /// Its name.
        column: &'static str,
        /// Why.
        source: Box<sqlx::Error>,
    },
    /// A row breaks an invariant.
    #[error("a row of {table} is inconsistent in {column}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// There is no such row for this controller.
    #[error("not found")]
    NotFound,
    /// It cannot be done as things stand.
    #[error("{0}")]
    Conflict(String),
    /// The lease on a piece of work was lost.
    #[error("the lease was lost")]
    LeaseLost,
    /// A sealed value does not open: another master key, or a damaged row.
    #[error("a sealed value does not open; is this the master key the data were sealed with?")]
    Sealing,
    /// The request's key was destroyed.
    #[error("the personal data of this request have been purged")]
    Purged,
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes")]
    Randomness,
    /// The Redis URL cannot be read.
    #[error("the Redis URL is not of the form redis://host:port or redis+sentinel://host:port,host:port/master")]
    RedisUrl,
    /// What this call waited for together with others failed for all of them.
    #[error("{0}")]
    Shared(Arc<Error>),
    /// What this call waited for together with others was given up.
    #[error("the work on this call was given up; it may have been done")]
    Broken,
    /// The schema is not the one this binary needs.
    #[error("{0}")]
    Schema(String),
}

/// The same sentence as for display: what the database says to a programmer quotes whole rows.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Database(Box::new(error))
    }
}

/// What a database error says without the values it may quote.
fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(inner) => {
            let code = inner.code().unwrap_or_default().into_owned();
            let constraint = inner.constraint().map(|c| format!(" on {c}")).unwrap_or_default();
            format!("error {code}{constraint}")
        }
        sqlx::Error::PoolTimedOut => "nothing in time (no free connection)".into(),
        sqlx::Error::Io(io) => format!("nothing ({})", io.kind()),
        sqlx::Error::RowNotFound => "no row".into(),
        _ => "an error of connection, protocol or decoding".into(),
    }
}

/// Somebody else has the file, or the disk is full or in trouble.
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_IOERR: u32 = 10;
const SQLITE_FULL: u32 = 13;
const SQLITE_CANTOPEN: u32 = 14;

/// PostgreSQL's words for a conflict, a shutdown, a fail-over (read-only for a while), too many connections, a full disk.
const POSTGRES_AWAY: [&str; 15] = [
    "40001", "40P01", "55P03", "25P03", "25006", "57P01", "57P02", "57P03", "57P05", "53000", "53100", "53200",
    "53300", "58000", "58030",
];

impl Error {
    /// Whether the same transaction may succeed if it is tried again: a conflict with another one, or a database away.
    pub fn is_transient(&self) -> bool {
        if let Error::Shared(error) = self {
            return error.is_transient();
        }
        let (Error::Database(inner) | Error::Transaction { source: inner, .. }) = self else { return false };
        match &**inner {
            sqlx::Error::Database(db) => {
                let code = db.code().unwrap_or_default();
                // SQLite's codes are numbers, of which the lowest byte says what it is and the rest says more.
                let sqlite = code.parse::<u32>().ok().filter(|_| code.len() < 5).map(|number| number & 0xff);
                matches!(sqlite, Some(SQLITE_BUSY | SQLITE_LOCKED | SQLITE_IOERR | SQLITE_FULL | SQLITE_CANTOPEN))
                    || POSTGRES_AWAY.contains(&&*code)
            }
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                true
            }
            _ => false,
        }
    }

    /// Whether this process is on its way out: its connections are closed.
    pub fn is_closing(&self) -> bool {
        match self {
            Error::Shared(error) => error.is_closing(),
            Error::Database(inner) | Error::Transaction { source: inner, .. } => {
                matches!(**inner, sqlx::Error::PoolClosed)
            }
            _ => false,
        }
    }

    /// Whether the row that this one would belong to is not there.
    pub(crate) fn is_orphan(&self) -> bool {
        let (Error::Database(inner) | Error::Transaction { source: inner, .. }) = self else { return false };
        matches!(&**inner, sqlx::Error::Database(db) if db.is_foreign_key_violation())
    }

    /// Whether a row of this unique key is there already.
    pub fn is_duplicate(&self) -> bool {
        if let Error::Shared(error) = self {
            return error.is_duplicate();
        }
        let (Error::Database(inner) | Error::Transaction { source: inner, .. }) = self else { return false };
        matches!(&**inner, sqlx::Error::Database(db) if db.is_unique_violation())
    }
}

/// How to open a store.
#[derive(Debug)]
pub struct Options {
    /// `sqlite://…` or `postgres://…`.
    pub url: String,
    /// Most connections of this process.
    pub max_connections: u32,
    /// How long to wait for one.
    pub connect_timeout: Duration,
    /// The master key's 32 bytes.
    pub master_key: [u8; 32],
    /// How long the personal data of a request are kept after its end.
    pub keep_closed: Duration,
}

/// Every row of Redress.
#[derive(Clone)]
pub struct Store {
    db: Db,
    clock: Arc<dyn Clock>,
    wake: Wake,
    master: Arc<Key>,
    controller_keys: Arc<Mutex<HashMap<String, Arc<Key>>>>,
    shelf: clock::SharedShelf,
    gathered: Arc<Gathered>,
    keep_closed_ms: i64,
    figures: Arc<Figures>,
    /// Systems of which a call failed and none was answered since, as far as this process knows.
    troubled: Arc<Mutex<HashSet<redress_domain::SystemId>>>,
    /// When this process last recorded that a key was used (Unix ms).
    keys_used: Arc<Mutex<HashMap<redress_domain::KeyId, i64>>>,
}

/// What callers at the same time share.
#[derive(Default)]
struct Gathered {
    keys: Arc<gather::Gather<String, Option<keys::FoundKey>>>,
    controllers: Arc<gather::Gather<String, Option<Arc<Controller>>>>,
    outlines: Arc<gather::Gather<String, Arc<Vec<SystemOutline>>>>,
    submissions: Arc<gather::Gather<submit::Prepared, bool>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dialect", &self.db.dialect()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database. Run [`Store::migrate`] or [`Store::check_schema`] before anything else.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn open(options: Options, clock: Arc<dyn Clock>, wake: Wake) -> Result<Self, Error> {
        let db = Db::connect(&options.url, options.max_connections, options.connect_timeout).await?;
        Ok(Self {
            db,
            clock,
            wake,
            master: Arc::new(Key::new(options.master_key)),
            controller_keys: Arc::default(),
            shelf: Arc::default(),
            gathered: Arc::default(),
            keep_closed_ms: options.keep_closed.as_millis() as i64,
            figures: Arc::default(),
            troubled: Arc::default(),
            keys_used: Arc::default(),
        })
    }

    /// Which database it is.
    pub const fn dialect(&self) -> Dialect {
        self.db.dialect()
    }

    /// How many statements this process sent to the database so far, `BEGIN` and `COMMIT` included.
    pub fn statements(&self) -> u64 {
        self.db.statements()
    }

    /// The clock everything is dated by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The present moment in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Wakes and waits.
    pub const fn wake(&self) -> &Wake {
        &self.wake
    }

    /// What this process has counted.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Answers if the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.db.row("-- ping\nSELECT 1", vec![]).await.map(drop)
    }

    /// Answers if the database answers to a connection of its own, whatever the others wait for.
    ///
    /// # Errors
    /// The database is away.
    pub async fn probe(&self) -> Result<(), Error> {
        self.db.probe().await
    }

    /// Closes every connection, after what is running.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// For how long after its end the personal data of a request are kept, in milliseconds.
    pub const fn keeps_closed_ms(&self) -> i64 {
        self.keep_closed_ms
    }

    /// Ten random bytes and the present moment: what a new id is made of.
    fn id_parts(&self) -> Result<(u64, [u8; 10]), Error> {
        Ok((self.now_ms().max(0) as u64, random::<10>()?))
    }

    /// Commits and wakes the lanes that got work.
    async fn commit(&self, tx: Tx) -> Result<(), Error> {
        if mutant("submit.acknowledged_before_commit") && tx.name().starts_with("submit") {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(tx.commit().await);
            });
            return Ok(());
        }
        let mut lanes = tx.commit().await?;
        lanes.sort_unstable();
        lanes.dedup();
        for lane in lanes {
            self.wake.lane(&lane);
        }
        Ok(())
    }
}
