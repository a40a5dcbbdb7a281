//! A sweep looks at the requests whose instant has come, and records in one transaction which notices are new, which
//! messages carry them, and when to look again.
//!
//! A notice's key names its request, kind and occasion, and a message's rows are written with the notices it carries. So
//! a sweep that dies, runs twice or beside another one tells nothing twice and forgets nothing: what was not committed is
//! found again by the same columns.

mod request;
mod silence;

pub(crate) use request::Home;

use crate::clock::{Books, ClockColumns};
use crate::db::{Tx, args};
use crate::events::{Events, NewEvent};
use crate::messages::Tell;
use crate::work::places;
use crate::{Error, Store, crash_point};
use jiff::{SignedDuration, Timestamp};
use redress_domain::deadline::{Band, ClockState, Deadlines, compute};
use redress_domain::notice::{DueNotice, NoticeKind};
use redress_domain::rules::Rules;
use redress_domain::watch::{Watched, look};
use redress_domain::{ControllerId, DsrId, NoticeId};
use request::{COLUMNS, Locked, paused_clock, read};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where somebody is, as far as their working days depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WatchPlace {
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// IANA name.
    pub timezone: String,
    /// What was agreed with the controller, as it is stored.
    pub terms: Option<String>,
}

/// Answers what only the rules know. It must not take long: a transaction is open meanwhile.
pub trait Lookout: Send + Sync {
    /// The first instant of the `count`th working day after an instant; the instant itself for none.
    fn business_days_after(&self, place: &WatchPlace, at: Timestamp, count: u8) -> Timestamp;

    /// When a system that has only failed since then counts as silent.
    fn silent_at(&self, place: &WatchPlace, since: Timestamp) -> Timestamp;

    /// When the next digest is sent there.
    fn next_morning(&self, place: &WatchPlace, after: Timestamp) -> Timestamp;
}

/// How a sweep works.
#[derive(Debug, Clone, Copy)]
pub struct SweepOptions {
    /// Most requests, and most steps, in one transaction.
    pub limit: i64,
    /// Between two messages that are told people of one route at once; what comes sooner joins the later one.
    pub apart_ms: i64,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self { limit: 500, apart_ms: 60_000 }
    }
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Requests and steps that were looked at.
    pub looked: usize,
    /// Notices that are new.
    pub notices: usize,
    /// Messages that got some of them.
    pub messages: usize,
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.looked += other.looked;
        self.notices += other.notices;
        self.messages += other.messages;
    }
}

/// A request that cannot be read is looked at again after this time: others go on meanwhile.
const UNREADABLE_AGAIN_MS: i64 = 3_600_000;
/// The least that a system is silent before anybody asks the calendar (ms): no two business days are closer.
pub(crate) const SILENCE_MIN_MS: i64 = 86_400_000;

/// An open pause counts if the date is another one should it last so long: weekends and holidays can hide less.
const PAUSE_SHOWS_AFTER: SignedDuration = SignedDuration::from_hours(24 * 14);

pub(crate) fn instant(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms > 0 { Timestamp::MAX } else { Timestamp::MIN })
}

/// When the watch looks at a new request for the first time (Unix ms).
pub(crate) fn first_look(deadlines: &Deadlines, now: i64) -> i64 {
    let watched = Watched {
        milestones: deadlines.milestones,
        moving: false,
        band: Band::OnTrack,
        waiting: None,
        forecast_late_since: None,
        attention_since: None,
        closed_at: None,
    };
    let seen = look(&watched, instant(now));
    // A clock that does not run yet may have another date tomorrow.
    match seen.next_at {
        Some(at) if seen.notices.is_empty() && deadlines.clock == ClockState::Running => at.as_millisecond(),
        _ => now,
    }
}

/// A notice about to be recorded.
struct Candidate {
    id: NoticeId,
    idem: String,
    controller_id: ControllerId,
    dsr_id: DsrId,
    notice: DueNotice,
    data: Value,
}

impl Store {
    /// Looks at every request and step whose instant has come, at most so many of each in one transaction. Without any it
    /// costs one query.
    ///
    /// # Errors
    /// The database is away; nothing of the transaction was recorded.
    pub async fn watch_due(&self, lookout: &dyn Lookout, options: SweepOptions) -> Result<Swept, Error> {
        let now = self.now_ms();
        let row = self
            .db
            .row(
                "-- watch_peek\nSELECT (SELECT COUNT(*) FROM (SELECT 1 AS due FROM dsrs WHERE watch_at <= $1 LIMIT 1) d) AS requests, (SELECT COUNT(*) FROM (SELECT 1 AS due FROM steps WHERE silent_watch_at <= $1 LIMIT 1) s) AS silent",
                args![now],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let mut swept = Swept::default();
        if row.int("requests")? > 0 {
            swept += self.watch_requests(lookout, options, now).await?;
        }
        if row.int("silent")? > 0 {
            swept += self.watch_silence(lookout, options, now).await?;
        }
        Ok(swept)
    }

    async fn watch_requests(&self, lookout: &dyn Lookout, options: SweepOptions, now: i64) -> Result<Swept, Error> {
        let rules = self.rules_of_paused(options, now).await?;
        let mut tx = self.db.begin("watch").await?;
        let rows = tx
            .rows(
                &format!("-- watch_due\nSELECT {COLUMNS} FROM dsrs WHERE watch_at <= $1 ORDER BY watch_at LIMIT $2 {{skip_locked}}"),
                args![now, options.limit],
            )
            .await?;
        let homes = self.watch_homes(&mut tx, &rows).await?;
        let mut candidates = Vec::new();
        let (mut values, mut seen_args) = (Vec::new(), Vec::new());
        for row in &rows {
            let id = row.text("id")?;
            let (band, next_at) = match read(row, &homes) {
                Ok(mut locked) => {
                    self.refresh(&mut tx, &rules, &mut locked, now).await?;
                    let seen = locked.look(lookout, now);
                    for notice in seen.notices {
                        candidates.push(self.candidate(&locked, seen.band, notice, None)?);
                    }
                    (seen.band.as_str().to_owned(), seen.next_at.map(Timestamp::as_millisecond))
                }
                Err(error) => {
                    tracing::error!(%error, dsr.id = id, "{id} cannot be watched: look at its row");
                    (row.text("band")?, Some(now + UNREADABLE_AGAIN_MS))
                }
            };
            values.push(format!("({})", places(seen_args.len() + 1, 3)));
            seen_args.extend(args![id, band, next_at]);
        }
        let mut swept = self.tell(&mut tx, lookout, options, candidates, &homes, now).await?;
        swept.looked = rows.len();
        if !rows.is_empty() {
            tx.exec(
                &format!("-- watched\nUPDATE dsrs SET band = v.column2, watch_at = v.column3 FROM (VALUES {}) AS v WHERE dsrs.id = v.column1", values.join(", ")),
                seen_args,
            )
            .await?;
        }
        crash_point("watch.before_commit");
        self.commit(tx).await?;
        crash_point("watch.after_commit");
        Ok(swept)
    }

    /// The rules by which the paused clocks among the due requests run. They are read before the transaction: it has its
    /// connection, and this needs another.
    async fn rules_of_paused(&self, options: SweepOptions, now: i64) -> Result<HashMap<Books, Rules>, Error> {
        let rows = self
            .db
            .rows(
                "-- watch_paused\nSELECT clock, clock_state FROM dsrs WHERE watch_at <= $1 AND clock_state <> 'running' ORDER BY watch_at LIMIT $2",
                args![now, options.limit],
            )
            .await?;
        let mut rules = HashMap::new();
        for row in rows {
            if let Ok(Some(clock)) = paused_clock(&row)
                && !rules.contains_key(&clock.books)
                && let Ok(found) = self.frozen_rules(&clock.books).await
            {
                rules.insert(clock.books, found);
            }
        }
        Ok(rules)
    }

    /// The dates of a clock that does not run are those of today.
    async fn refresh(
        &self,
        tx: &mut Tx,
        rules: &HashMap<Books, Rules>,
        locked: &mut Locked,
        now: i64,
    ) -> Result<(), Error> {
        let Some(clock) = locked.paused.take() else { return Ok(()) };
        let Some(rules) = rules.get(&clock.books) else { return Ok(()) };
        let as_of = instant(now);
        let (Ok(deadlines), Ok(later)) = (
            compute(rules, &clock.facts, as_of),
            compute(rules, &clock.facts, as_of.saturating_add(PAUSE_SHOWS_AFTER).unwrap_or(as_of)),
        ) else {
            tracing::error!(dsr.id = %locked.dsr_id, "the dates of {} cannot be computed any more", locked.dsr_id);
            return Ok(());
        };
        locked.moving = later.effective.due_before != deadlines.effective.due_before;
        let columns = ClockColumns::of(&deadlines);
        let moved = columns.due_before - locked.due_before;
        (locked.milestones, locked.due_before) = (deadlines.milestones, columns.due_before);
        locked.due_on = Some(deadlines.effective.due_on);
        if moved == 0 && columns.statutory_due_before == locked.statutory_due_before {
            return Ok(());
        }
        let id = locked.dsr_id.as_str();
        tx.exec(
            "-- dates_moved\nUPDATE dsrs SET deadlines = $2, due_before = $3, statutory_due_before = $4, clock_state = $5 WHERE id = $1",
            args![id, json!(deadlines).to_string(), columns.due_before, columns.statutory_due_before, columns.clock_state],
        )
        .await?;
        tx.exec("-- steps_moved\nUPDATE steps SET due_at = due_at + $2 WHERE dsr_id = $1", args![id, moved])
            .await
            .map(drop)
    }

    fn candidate(
        &self,
        request: &Locked,
        band: Band,
        notice: DueNotice,
        system: Option<&str>,
    ) -> Result<Candidate, Error> {
        let (ms, bytes) = self.id_parts()?;
        Ok(Candidate {
            id: NoticeId::from_parts(ms, bytes),
            idem: format!("{}:{}:{}", request.dsr_id, notice.kind, notice.occasion),
            controller_id: request.controller_id.clone(),
            dsr_id: request.dsr_id.clone(),
            data: request.data(band, &notice, system),
            notice,
        })
    }

    /// Records which of these notices are new, what follows from them, and whom they are told.
    async fn tell(
        &self,
        tx: &mut Tx,
        lookout: &dyn Lookout,
        options: SweepOptions,
        candidates: Vec<Candidate>,
        homes: &BTreeMap<String, Home>,
        now: i64,
    ) -> Result<Swept, Error> {
        let mut new = BTreeSet::new();
        for chunk in candidates.chunks(1_000) {
            new.extend(self.insert_notices(tx, chunk, now).await?);
        }
        let mut events = Events::default();
        let mut told = Vec::new();
        for candidate in candidates {
            if !new.contains(&candidate.idem) {
                continue;
            }
            if candidate.notice.kind == NoticeKind::Overdue {
                let data = json!({ "due_before": candidate.data["due_before"], "due_on": candidate.data["due_on"] });
                events.push(&candidate.controller_id, NewEvent::new(Some(&candidate.dsr_id), "deadline_missed", data));
            }
            if !candidate.notice.superseded {
                told.push(Tell { id: candidate.id, controller_id: candidate.controller_id, notice: candidate.notice });
            }
        }
        let messages = self.queue_messages(tx, &told, homes, lookout, options.apart_ms, now).await?;
        self.append_all(tx, "engine", events).await?;
        Ok(Swept { looked: 0, notices: new.len(), messages })
    }

    async fn insert_notices(&self, tx: &mut Tx, candidates: &[Candidate], now: i64) -> Result<Vec<String>, Error> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let (mut values, mut arguments) = (Vec::new(), Vec::new());
        for c in candidates {
            values.push(format!("({})", places(arguments.len() + 1, 9)));
            arguments.extend(args![
                c.id.as_str(),
                &c.idem,
                c.controller_id.as_str(),
                c.dsr_id.as_str(),
                c.notice.kind.as_str(),
                c.notice.due_at.as_millisecond(),
                now,
                c.notice.superseded,
                c.data.to_string()
            ]);
        }
        let rows = tx
            .rows(
                &format!("-- insert_notices\nINSERT INTO notices (id, idem, controller_id, dsr_id, kind, due_at, noticed_at, superseded, data) VALUES {} ON CONFLICT (idem) DO NOTHING RETURNING idem", values.join(", ")),
                arguments,
            )
            .await?;
        rows.iter().map(|row| row.text("idem")).collect()
    }
}
