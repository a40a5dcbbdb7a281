//! A sweep looks at the requests whose instant has come, and records in one transaction which notices are new, which
//! messages carry them, and when to look again.
//!
//! A notice's key names its request, kind and occasion, and a message's rows are written with the notices it carries. So
//! a sweep that dies, runs twice or beside another one tells nothing twice and forgets nothing: what was not committed is
//! found again by the same columns.

use crate::clock::{Books, ClockColumns, FrozenClock};
use crate::db::{Arg, Row, Tx, args};
use crate::events::{Events, NewEvent};
use crate::messages::Tell;
use crate::work::places;
use crate::{Error, Store, crash_point};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use redress_domain::deadline::{Band, ClockState, Deadlines, Milestones, compute};
use redress_domain::notice::{DueNotice, NoticeKind, Occasion};
use redress_domain::rules::Rules;
use redress_domain::watch::{Seen, WAITING_REMINDERS, Waiting, Watched, look};
use redress_domain::{ControllerId, DsrId, NoticeId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

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

/// A controller as the watch knows it.
pub(crate) struct Home {
    pub(crate) name: String,
    pub(crate) place: Arc<WatchPlace>,
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

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };

/// What the watch reads of the stored deadlines.
#[derive(Deserialize)]
struct Dates {
    effective: Effective,
    #[serde(default)]
    milestones: Option<Milestones>,
}

#[derive(Deserialize)]
struct Effective {
    #[serde(default)]
    due_on: Option<Date>,
}

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

/// A request as the watch sees it, locked.
struct Locked {
    dsr_id: DsrId,
    controller_id: ControllerId,
    place: Arc<WatchPlace>,
    kind: String,
    regulation: Option<String>,
    milestones: Milestones,
    due_on: Option<Date>,
    due_before: i64,
    statutory_due_before: Option<i64>,
    /// What the dates of a paused clock follow from.
    paused: Option<FrozenClock>,
    moving: bool,
    waiting_since: Option<i64>,
    attention_since: Option<i64>,
    forecast_late_since: Option<i64>,
    band: Band,
    closed_at: Option<i64>,
}

fn read(row: &Row, homes: &BTreeMap<String, Home>) -> Result<Locked, Error> {
    let controller = row.text("controller_id")?;
    let place = homes.get(&controller).ok_or(INCONSISTENT("controller_id"))?.place.clone();
    let dates: Dates = serde_json::from_str(&row.text("deadlines")?).map_err(|_| INCONSISTENT("deadlines"))?;
    let due_before = row.int("due_before")?;
    let closed_at = row.opt_int("closed_at")?;
    let forecast_late = row.int("forecast_late")? != 0;
    Ok(Locked {
        dsr_id: DsrId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        controller_id: ControllerId::parse(&controller).map_err(|_| INCONSISTENT("controller_id"))?,
        place,
        kind: row.text("kind")?,
        regulation: row.opt_text("regulation")?,
        // Requests from before there were milestones have only a due date.
        milestones: dates.milestones.unwrap_or(Milestones {
            at_risk_at: instant(due_before),
            critical_at: instant(due_before),
            overdue_at: instant(due_before),
            extension_decision_at: None,
            acknowledgement_warning_at: None,
        }),
        due_on: dates.effective.due_on,
        due_before,
        statutory_due_before: row.opt_int("statutory_due_before")?,
        paused: if closed_at.is_none() { paused_clock(row)? } else { None },
        moving: false,
        waiting_since: row.opt_int("waiting_since")?,
        attention_since: row.opt_int("attention_since")?,
        forecast_late_since: row.opt_int("forecast_at")?.filter(|_| forecast_late),
        band: Band::parse(&row.text("band")?).ok_or(INCONSISTENT("band"))?,
        closed_at,
    })
}

/// The clock of a request that does not run.
fn paused_clock(row: &Row) -> Result<Option<FrozenClock>, Error> {
    if row.text("clock_state")? == ClockState::Running.as_str() {
        return Ok(None);
    }
    let clock = row.opt_text("clock")?;
    clock.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| INCONSISTENT("clock"))
}

impl Locked {
    fn look(&self, lookout: &dyn Lookout, now: i64) -> Seen {
        let waiting = self.waiting_since.map(|since| {
            let since = instant(since);
            let at = |days: u8| lookout.business_days_after(&self.place, since, days);
            Waiting { since, reminders: WAITING_REMINDERS.iter().map(|days| (*days, at(*days))).collect() }
        });
        let watched = Watched {
            milestones: self.milestones,
            moving: self.moving,
            band: self.band,
            waiting,
            forecast_late_since: self.forecast_late_since.map(instant),
            attention_since: self.attention_since.map(instant),
            closed_at: self.closed_at.map(instant),
        };
        look(&watched, instant(now))
    }

    /// What a notice of this request needs to be told later, when the request may be another one.
    fn data(&self, band: Band, notice: &DueNotice, system: Option<&str>) -> Value {
        let mut data = json!({
            "type": self.kind, "regulation": self.regulation, "due_on": self.due_on,
            "due_before": self.due_before, "band": band, "endangers": notice.endangers,
        });
        match &notice.occasion {
            Occasion::Waiting { since, .. } | Occasion::WaitingTooLong { since } | Occasion::Step { since, .. } => {
                data["since"] = json!(since.as_millisecond());
            }
            Occasion::Due(_) | Occasion::Since(_) => {}
        }
        if let Some(system) = system {
            data["system"] = json!(system);
        }
        data
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

const COLUMNS: &str = "id, controller_id, kind, regulation, deadlines, due_before, statutory_due_before, clock, clock_state, waiting_since, attention_since, band, forecast_late, forecast_at, closed_at";

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

    /// Systems that have only failed for days are told once for each step that waits for them.
    async fn watch_silence(&self, lookout: &dyn Lookout, options: SweepOptions, now: i64) -> Result<Swept, Error> {
        let due = self
            .db
            .rows(
                "-- silence_peek\nSELECT id, dsr_id FROM steps WHERE silent_watch_at <= $1 ORDER BY silent_watch_at LIMIT $2",
                args![now, options.limit],
            )
            .await?;
        let dsr_ids: BTreeSet<String> = due.iter().map(|row| row.text("dsr_id")).collect::<Result<_, _>>()?;
        if dsr_ids.is_empty() {
            return Ok(Swept::default());
        }
        let mut tx = self.db.begin("watch silence").await?;
        // Requests before steps, as everywhere.
        let rows = tx
            .rows(
                &format!(
                    "-- watch_silent\nSELECT {COLUMNS} FROM dsrs WHERE id IN ({}) ORDER BY id {{for_update}}",
                    places(1, dsr_ids.len())
                ),
                dsr_ids.iter().map(Arg::from).collect(),
            )
            .await?;
        let homes = self.watch_homes(&mut tx, &rows).await?;
        let mut requests = BTreeMap::new();
        for row in &rows {
            if let Ok(locked) = read(row, &homes) {
                requests.insert(row.text("id")?, locked);
            }
        }
        let mut arguments = args![now];
        for row in &due {
            arguments.push(row.text("id")?.into());
        }
        let steps = tx
            .rows(
                &format!("-- silent_steps\nSELECT st.id, st.dsr_id, st.silent_since, COALESCE(sy.name, '') AS system FROM steps st LEFT JOIN systems sy ON sy.id = st.system_id WHERE st.silent_watch_at <= $1 AND st.id IN ({})", places(2, due.len())),
                arguments,
            )
            .await?;
        let mut candidates = Vec::new();
        let (mut values, mut seen_args) = (Vec::new(), Vec::new());
        for step in &steps {
            let again = match (requests.get(&step.text("dsr_id")?), step.opt_int("silent_since")?) {
                (None, _) => Some(now + UNREADABLE_AGAIN_MS),
                (Some(request), Some(since)) if request.closed_at.is_none() => {
                    let silent_at = lookout.silent_at(&request.place, instant(since));
                    if silent_at <= instant(now) {
                        let notice = DueNotice {
                            kind: NoticeKind::ConnectorSilent,
                            occasion: Occasion::Step { step: step.text("id")?, since: instant(since) },
                            due_at: silent_at,
                            superseded: false,
                            endangers: request.band > Band::OnTrack || request.forecast_late_since.is_some(),
                        };
                        candidates.push(self.candidate(request, request.band, notice, Some(&step.text("system")?))?);
                        None
                    } else {
                        Some(silent_at.as_millisecond())
                    }
                }
                // It answered meanwhile, or its request ended.
                _ => None,
            };
            values.push(format!("({})", places(seen_args.len() + 1, 2)));
            seen_args.extend(args![step.text("id")?, again]);
        }
        let mut swept = self.tell(&mut tx, lookout, options, candidates, &homes, now).await?;
        swept.looked = steps.len();
        if !steps.is_empty() {
            tx.exec(
                &format!("-- silence_watched\nUPDATE steps SET silent_watch_at = v.column2 FROM (VALUES {}) AS v WHERE steps.id = v.column1", values.join(", ")),
                seen_args,
            )
            .await?;
        }
        self.commit(tx).await?;
        Ok(swept)
    }

    async fn watch_homes(&self, tx: &mut Tx, rows: &[Row]) -> Result<BTreeMap<String, Home>, Error> {
        let ids: BTreeSet<String> = rows.iter().map(|row| row.text("controller_id")).collect::<Result<_, _>>()?;
        let mut found = BTreeMap::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let rows = tx
            .rows(
                &format!(
                    "-- watch_homes\nSELECT id, name, country, timezone, terms FROM controllers WHERE id IN ({})",
                    places(1, ids.len())
                ),
                ids.iter().map(Arg::from).collect(),
            )
            .await?;
        for row in rows {
            let place = WatchPlace {
                country: row.opt_text("country")?,
                timezone: row.text("timezone")?,
                terms: row.opt_text("terms")?,
            };
            found.insert(row.text("id")?, Home { name: row.text("name")?, place: Arc::new(place) });
        }
        Ok(found)
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
