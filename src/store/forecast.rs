//! The forecast reads the queue as it stands, controller by controller, and writes what it makes of it beside each request.
//!
//! Nothing sealed is read. Of the requests only those are written whose forecast says something else than before; what
//! another transaction holds at that moment is left to the next pass.

use crate::db::{Arg, Row, args};
use crate::work::places;
use crate::{Error, Store};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use redress_domain::forecast::pace::{Pace, Record};
use redress_domain::forecast::queue::{Queued, StepFacts};
use redress_domain::forecast::{Backlog, Entry, Forecast, Foreseen, Lane, Request};
use redress_domain::limits::Limits;
use redress_domain::plan::Policy;
use redress_domain::stage::Stage;
use redress_domain::step::{Phase, StepState};
use redress_domain::{ControllerId, DsrId, Verb};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Requests that are read at once.
const READ: i64 = 1_000;
/// Open requests of one controller that a pass foresees: the most urgent ones, so that what it holds has an end. The others
/// keep the forecast that they have.
const FORESEEN_MAX: usize = 20_000;
/// Requests that are written in one transaction.
const WRITTEN: usize = 200;
/// With more steps than this before one, the forecast of the last pass is as good as a new one.
const BEFORE_MAX: i64 = 2_000;

/// The queue of a controller with what belongs to its requests beside it.
#[derive(Debug, Clone)]
pub struct OpenQueue {
    /// The queue.
    pub backlog: Backlog,
    /// The id of each of its requests.
    pub ids: Vec<DsrId>,
    /// What was kept of the last forecast of each.
    pub kept: Vec<Option<Foreseen>>,
    /// Those whose forecast an older release kept, which did not keep all of it.
    half: Vec<bool>,
    /// The moment of which all this is (Unix ms).
    pub now: i64,
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "dsrs", column };
/// What a hold stops of which nobody outside may learn is foreseen as if it only waited.
const STEP_COLUMNS: &str = "st.id, st.dsr_id, st.lane, st.verb, st.phase, st.state, CASE WHEN st.q = 'hold' AND (SELECT h.held FROM dsrs h WHERE h.id = st.dsr_id) = 2 THEN 'held' ELSE st.q END AS q, st.due_at, st.not_before, st.leased_at, st.attention, CASE WHEN st.state = 'external' OR (st.state = 'waiting' AND st.residues = 0) THEN st.acted_at END AS asked_at";
const REQUEST_COLUMNS: &str = "id, stage, policy, approved_at, reviewed_at, cooling_off_until, due_before, clock_state, forecast, forecast_ends_at, forecast_act_by";

/// What a pass saw and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Open requests.
    pub requests: usize,
    /// Those that are expected to end late.
    pub late: usize,
    /// Those whose forecast was written.
    pub written: usize,
}

/// The systems of a controller as lanes of its queue.
struct Lanes {
    all: Vec<Lane>,
    by_id: HashMap<String, usize>,
}

impl OpenQueue {
    /// The forecast of each of its requests, and the places of those that say something else than what was kept.
    fn foresee(&self) -> (Vec<Forecast>, Vec<usize>) {
        let forecasts = self.backlog.forecasts(self.now);
        let differs = |n: &usize| {
            let due_before = self.backlog.requests[*n].due_before;
            let differs = |kept| forecasts[*n].differs(&self.backlog, due_before, kept, self.now);
            self.half[*n] || self.kept[*n].as_ref().is_none_or(differs)
        };
        let changed = (0..forecasts.len()).filter(differs).collect();
        (forecasts, changed)
    }

    fn new(lanes: Vec<Lane>, now: i64) -> Self {
        Self {
            backlog: Backlog { lanes, ..Backlog::default() },
            ids: Vec::new(),
            kept: Vec::new(),
            half: Vec::new(),
            now,
        }
    }

    fn add_request(&mut self, row: &Row) -> Result<(), Error> {
        let (approval, cooling_off_ms, review) =
            serde_json::from_str(&row.text("policy")?).map_err(|_| INCONSISTENT("policy"))?;
        self.backlog.requests.push(Request {
            stage: Stage::parse(&row.text("stage")?).ok_or(INCONSISTENT("stage"))?,
            policy: Policy { approval, cooling_off_ms, review },
            approved: row.opt_int("approved_at")?.is_some(),
            reviewed: row.opt_int("reviewed_at")?.is_some(),
            cooling_off_until: row.opt_int("cooling_off_until")?,
            due_before: row.int("due_before")?,
            moving: row.text("clock_state")? != "running",
            answer_stuck: false,
            planned: false,
        });
        self.ids.push(DsrId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?);
        // What this release cannot read is written anew. The reasons follow from the rest.
        let kept = row.opt_text("forecast")?.and_then(|text| serde_json::from_str::<Foreseen>(&text).ok());
        let columns = (row.opt_int("forecast_ends_at")?.is_some(), row.opt_int("forecast_act_by")?.is_some());
        self.half
            .push(kept.as_ref().is_some_and(|kept| columns != (kept.finishes_at.is_some(), kept.act_by.is_some())));
        self.kept.push(kept.map(|kept| Foreseen { because: Vec::new(), ..kept }));
        Ok(())
    }

    /// Adds a step of a request that was added before.
    fn add_step(&mut self, row: &Row, lanes: &HashMap<String, usize>, request: usize) -> Result<(), Error> {
        if row.text("verb")? == "answer" {
            self.backlog.requests[request].answer_stuck |= row.int("attention")? != 0 && row.opt_text("q")?.is_none();
            return Ok(());
        }
        self.backlog.requests[request].planned = true;
        let begins = self.backlog.requests[request].begins_at(self.now);
        self.add_entry(row, lanes, Some(request), begins)
    }

    fn add_entry(
        &mut self,
        row: &Row,
        lanes: &HashMap<String, usize>,
        request: Option<usize>,
        begins: (i64, bool),
    ) -> Result<(), Error> {
        let inconsistent = |column| Error::Inconsistent { table: "steps", column };
        let lane = *lanes.get(&row.text("lane")?).ok_or(inconsistent("lane"))?;
        let queued = match row.opt_text("q")? {
            None => None,
            Some(text) => Some(Queued::parse(&text).ok_or(inconsistent("q"))?),
        };
        let step = StepFacts {
            verb: Verb::parse(&row.text("verb")?).ok_or(inconsistent("verb"))?,
            state: StepState::parse(&row.text("state")?).ok_or(inconsistent("state"))?,
            phase: Phase::parse(&row.text("phase")?).ok_or(inconsistent("phase"))?,
            queued,
            not_before: row.int("not_before")?,
            leased_at: row.opt_int("leased_at")?,
            asked_at: row.opt_int("asked_at")?,
            attention: row.int("attention")? != 0,
        };
        let key = (row.int("due_at")?, row.text("id")?.into());
        let days = self.backlog.lanes[lane].completes_within_days;
        self.backlog.entries.extend(Entry::of(request, lane, key, &step, days, begins, self.now));
        Ok(())
    }
}

impl Store {
    /// Whether it is this process's turn to make a forecast: once in each interval for the whole fleet.
    ///
    /// # Errors
    /// The database is away.
    pub async fn take_forecast_turn(&self, interval_ms: i64) -> Result<bool, Error> {
        let now = self.now_ms();
        let last = self.db.row("-- forecast_turn\nSELECT value FROM meta WHERE name = 'forecast_at'", vec![]).await?;
        let last = last.map(|row| row.bytes("value")).transpose()?;
        let at = last.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse::<i64>().ok());
        // A clock that was set back must not stop the forecasts.
        if at.is_some_and(|at| at <= now && now - at < interval_ms) {
            return Ok(false);
        }
        let value = now.to_string().into_bytes();
        let mut tx = self.db.begin("take forecast turn").await?;
        let taken = match last {
            Some(last) => {
                tx.exec("-- next_forecast_turn\nUPDATE meta SET value = $1 WHERE name = 'forecast_at' AND value = $2", args![value, last])
                    .await?
            }
            None => {
                tx.exec("-- first_forecast_turn\nINSERT INTO meta (name, value) VALUES ('forecast_at', $1) ON CONFLICT (name) DO NOTHING", args![value])
                    .await?
            }
        };
        if taken == 1 {
            self.forget_paces(&mut tx).await?;
        }
        self.commit(tx).await?;
        Ok(taken == 1)
    }

    /// Foresees when each open request of the fleet ends, controller by controller: what a pass holds at a time is the queue of
    /// one controller. `batch` is the most calls that a worker makes at once.
    ///
    /// # Errors
    /// The database is away; some forecasts may be written.
    pub async fn foresee(&self, batch: usize) -> Result<Passed, Error> {
        let mut passed = Passed::default();
        for controller in self.controllers().await? {
            let queue = match self.open_queue(&controller.id, batch).await {
                Ok(queue) => queue,
                // The others are foreseen all the same.
                Err(error @ Error::Inconsistent { .. }) => {
                    tracing::error!(%error, controller.id = %controller.id, "no forecast for the requests of {}", controller.id);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if queue.ids.is_empty() {
                continue;
            }
            passed.requests += queue.ids.len();
            let zone = TimeZone::get(&controller.timezone).unwrap_or(TimeZone::UTC);
            // A long queue takes a moment, in which the others of this thread shall not wait.
            let foreseen = tokio::task::spawn_blocking(move || {
                let (forecasts, changed) = queue.foresee();
                (queue, forecasts, changed)
            });
            let Ok((queue, forecasts, changed)) = foreseen.await else { continue };
            passed.late += forecasts.iter().filter(|forecast| forecast.late).count();
            for chunk in changed.chunks(WRITTEN) {
                let foreseen =
                    |n: usize| queue.backlog.foreseen(n, &forecasts[n], &zone, queue.now, queue.kept[n].as_ref());
                let chunk: Vec<(&DsrId, Foreseen)> = chunk.iter().map(|n| (&queue.ids[*n], foreseen(*n))).collect();
                passed.written += self.keep_forecasts(&chunk).await?;
            }
        }
        Ok(passed)
    }

    /// The queue of one controller: its open requests, their steps, and how fast its systems are. `batch` is the most calls
    /// that a worker makes at once.
    ///
    /// # Errors
    /// The database is away, or a row is inconsistent.
    pub async fn open_queue(&self, controller_id: &ControllerId, batch: usize) -> Result<OpenQueue, Error> {
        let lanes = self.lanes(controller_id, batch).await?;
        let mut queue = OpenQueue::new(lanes.all, self.now_ms());
        let mut after = String::new();
        // The last one that is foreseen; known only if there are more.
        let mut last_due: Option<(i64, String)> = None;
        loop {
            if queue.ids.len() > FORESEEN_MAX && last_due.is_none() {
                last_due = self.last_foreseen(controller_id).await?;
                after.clear();
                queue = OpenQueue::new(queue.backlog.lanes, queue.now);
            }
            let (due, due_id) = last_due.as_ref().map_or((i64::MAX, ""), |(due, id)| (*due, id.as_str()));
            let first = queue.ids.len();
            let rows = self
                .db
                .rows(
                    &format!("-- open_requests\nSELECT {REQUEST_COLUMNS} FROM dsrs WHERE controller_id = $1 AND closed_at IS NULL AND id > $2 AND (due_before, id) <= ($4, $5) ORDER BY id LIMIT $3"),
                    args![controller_id.as_str(), after.as_str(), READ, due, due_id],
                )
                .await?;
            let Some(last) = rows.last() else { return Ok(queue) };
            let last = last.text("id")?;
            for row in &rows {
                queue.add_request(row)?;
            }
            let steps = self
                .db
                .rows(
                    &format!("-- steps_of_open_requests\nSELECT {STEP_COLUMNS} FROM dsrs d JOIN steps st ON st.dsr_id = d.id WHERE d.controller_id = $1 AND d.closed_at IS NULL AND d.id > $2 AND d.id <= $3 AND (st.system_id IS NOT NULL OR st.verb = 'answer') ORDER BY st.dsr_id"),
                    args![controller_id.as_str(), after.as_str(), last.as_str()],
                )
                .await?;
            let places: HashMap<String, usize> =
                (first..queue.ids.len()).map(|i| (queue.ids[i].as_str().to_owned(), i)).collect();
            for row in &steps {
                // One that was accepted between the two reads is for the next pass.
                if let Some(request) = places.get(&row.text("dsr_id")?) {
                    queue.add_step(row, &lanes.by_id, *request)?;
                }
            }
            after = last;
        }
    }

    /// Due date and id of the last request that is foreseen, of a controller that has more.
    async fn last_foreseen(&self, controller_id: &ControllerId) -> Result<Option<(i64, String)>, Error> {
        let row = self
            .db
            .row(
                "-- last_foreseen\nSELECT due_before, id FROM dsrs WHERE controller_id = $1 AND closed_at IS NULL ORDER BY due_before, id LIMIT 1 OFFSET $2",
                args![controller_id.as_str(), FORESEEN_MAX as i64 - 1],
            )
            .await?;
        row.map(|row| Ok((row.int("due_before")?, row.text("id")?))).transpose()
    }

    /// One request in its queue, with what is before its steps; none if that is more than is worth counting.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not this controller's, or has ended.
    pub async fn forecast_facts(
        &self,
        controller_id: &ControllerId,
        id: &DsrId,
        batch: usize,
    ) -> Result<Option<OpenQueue>, Error> {
        let row = self
            .db
            .row(
                &format!("-- foreseen_request\nSELECT {REQUEST_COLUMNS} FROM dsrs WHERE controller_id = $1 AND id = $2 AND closed_at IS NULL"),
                args![controller_id.as_str(), id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let lanes = self.lanes(controller_id, batch).await?;
        let mut queue = OpenQueue::new(lanes.all, self.now_ms());
        queue.add_request(&row)?;
        let steps = self
            .db
            .rows(
                &format!("-- foreseen_steps\nSELECT {STEP_COLUMNS} FROM steps st WHERE st.controller_id = $1 AND st.dsr_id = $2 AND (st.system_id IS NOT NULL OR st.verb = 'answer')"),
                args![controller_id.as_str(), id.as_str()],
            )
            .await?;
        for row in &steps {
            queue.add_step(row, &lanes.by_id, 0)?;
        }
        let own: Vec<(i64, Box<str>)> = queue.backlog.entries.iter().map(|entry| entry.key.clone()).collect();
        for row in &steps {
            let key = (row.int("due_at")?, Box::<str>::from(row.text("id")?));
            // What is settled waits for nothing.
            if own.contains(&key) && !self.add_before(controller_id, row, &lanes.by_id, &mut queue).await? {
                return Ok(None);
            }
        }
        Ok(Some(queue))
    }

    /// Adds what is before a step in its lane; false if that is too much.
    async fn add_before(
        &self,
        controller_id: &ControllerId,
        step: &Row,
        lanes: &HashMap<String, usize>,
        queue: &mut OpenQueue,
    ) -> Result<bool, Error> {
        // What was leased runs on, whoever is due first; who cools off will be there in time.
        let part = |q| {
            format!(
                "SELECT * FROM (SELECT {STEP_COLUMNS}, CAST(NULL AS BIGINT) AS begins_at FROM steps st WHERE st.q = '{q}' AND st.lane = $1 AND (st.due_at, st.id) < ($2, $3) ORDER BY st.due_at, st.id LIMIT $4) AS {q}_part"
            )
        };
        let rows = self
            .db
            .rows(
                &format!("-- before_step\nWITH cooling AS MATERIALIZED (SELECT {STEP_COLUMNS}, d.cooling_off_until AS begins_at FROM dsrs d JOIN steps st ON st.dsr_id = d.id WHERE d.controller_id = $5 AND d.status = 'cooling_off') {} UNION ALL {} UNION ALL SELECT {STEP_COLUMNS}, NULL FROM steps st WHERE st.q = 'run' AND st.lane = $1 AND st.id <> $3 UNION ALL SELECT * FROM (SELECT * FROM cooling WHERE lane = $1 AND q IS NULL AND (due_at, id) < ($2, $3) LIMIT $4) AS cooling_part", part("ready"), part("wait")),
                args![step.text("lane")?, step.int("due_at")?, step.text("id")?, BEFORE_MAX, controller_id.as_str()],
            )
            .await?;
        if rows.len() as i64 >= BEFORE_MAX {
            return Ok(false);
        }
        for row in &rows {
            let begins_at = row.opt_int("begins_at")?.unwrap_or(queue.now);
            queue.add_entry(row, lanes, None, (begins_at, false))?;
        }
        Ok(true)
    }

    async fn lanes(&self, controller_id: &ControllerId, batch: usize) -> Result<Lanes, Error> {
        let records = self.pace_records(controller_id.as_str()).await?;
        let rows = self
            .db
            .rows(
                "-- lanes\nSELECT id, name, definition, completes_within_days, batch, paused, paused_at, deleted_at FROM systems WHERE controller_id = $1",
                args![controller_id.as_str()],
            )
            .await?;
        let mut lanes = Lanes { all: Vec::new(), by_id: HashMap::new() };
        for row in &rows {
            let id = row.text("id")?;
            lanes.all.push(lane(row, records.get(&id).copied().unwrap_or_default(), batch)?);
            lanes.by_id.insert(id, lanes.all.len() - 1);
        }
        Ok(lanes)
    }

    /// Keeps forecasts in one transaction. What began to be expected late is for the watch to see at once. Returns how many were
    /// written: what somebody else holds, or what has ended, is not.
    async fn keep_forecasts(&self, forecasts: &[(&DsrId, Foreseen)]) -> Result<usize, Error> {
        let by_id: BTreeMap<&str, &Foreseen> = forecasts.iter().map(|(id, foreseen)| (id.as_str(), foreseen)).collect();
        let mut tx = self.db.begin("keep forecasts").await?;
        let free = tx
            .rows(
                &format!("-- lock_foreseen\nSELECT id FROM dsrs WHERE id IN ({}) AND closed_at IS NULL ORDER BY id {{skip_locked}}", places(1, by_id.len())),
                by_id.keys().map(|id| Arg::from(*id)).collect(),
            )
            .await?;
        let (mut values, mut arguments) = (Vec::new(), args![self.now_ms()]);
        let ms = |at: Timestamp| at.as_millisecond();
        for row in &free {
            let id = row.text("id")?;
            let Some(foreseen) = by_id.get(id.as_str()) else { continue };
            let at = foreseen.late_since.unwrap_or(foreseen.computed_at).as_millisecond();
            let text = serde_json::to_string(foreseen).map_err(|_| INCONSISTENT("forecast"))?;
            let (ends_at, act_by) = (foreseen.finishes_at, foreseen.act_by);
            values.push(format!("({})", places(arguments.len() + 1, 6)));
            arguments.extend(args![id, text, foreseen.late, at, ends_at.map(ms), act_by.map(ms)]);
        }
        if !values.is_empty() {
            tx.exec(
                &format!("-- keep_forecasts\nUPDATE dsrs SET forecast = v.column2, forecast_late = v.column3, forecast_at = v.column4, forecast_ends_at = CAST(v.column5 AS BIGINT), forecast_act_by = CAST(v.column6 AS BIGINT), watch_at = CASE WHEN v.column3 = 1 AND forecast_late = 0 AND (watch_at IS NULL OR watch_at > $1) THEN $1 ELSE watch_at END FROM (VALUES {}) AS v WHERE dsrs.id = v.column1", values.join(", ")),
                arguments,
            )
            .await?;
        }
        self.commit(tx).await?;
        Ok(values.len())
    }
}

fn lane(row: &Row, record: Record, batch: usize) -> Result<Lane, Error> {
    let inconsistent = Error::Inconsistent { table: "systems", column: "definition" };
    let definition: Value = serde_json::from_str(&row.text("definition")?).map_err(|_| inconsistent)?;
    let rate = Limits::of_definition(&definition).and_then(|limits| limits.calls_per_second());
    let batch = batch.min(usize::try_from(row.int("batch")?.max(1)).unwrap_or(batch));
    Ok(Lane {
        name: row.text("name")?,
        pace: Pace::of(&record, rate, batch),
        batch,
        limits_in_full: !definition["limits"].is_null(),
        completes_within_days: row.int("completes_within_days")?,
        paused: if row.int("paused")? == 0 { None } else { Some(row.opt_int("paused_at")?) },
        failing_since: Lane::failing(&record),
        disconnected: row.opt_int("deleted_at")?.is_some(),
    })
}
