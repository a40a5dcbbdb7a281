//! Claiming is how a worker comes by its work: one look at the heads of all queues, then leases from those whose turn it is.
//!
//! A queue is what is ready in one lane for one controller, of one verb and phase: what one call of a connector can carry.
//! Heads are found by leaping through an index from one queue to the next, so that a look costs as much as there are queues,
//! however long they are. Whose turn it is says [`redress_domain::fair`]; this file says what may be taken at all: nothing
//! that is paused, and of a system whose circuit breaker is open one step as a probe, once its time is over.

use crate::db::{Dialect, Row, Tx, args};
use crate::sql::{RowSet, row};
use crate::work::{INCONSISTENT, Lease, SUSPECT, read_lease};
use crate::{Error, Store, crash_point};
use redress_domain::fair::{Turns, Waiting};
use redress_domain::{ControllerId, DsrId, SystemId};

/// Whether anything may be taken from a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Work is taken.
    Open,
    /// Nothing is begun: the installation, the controller or the system is paused.
    Paused,
    /// The system's circuit breaker is open until then (Unix ms).
    Broken(i64),
    /// It was open until then; one step may try whether the system is back.
    Probe(i64),
}

/// The most urgent row of a queue, and what is known about the whole.
#[derive(Debug, Clone)]
pub struct QueueHead {
    /// Its lane: a system's id, `answer` or `notify`.
    pub lane: String,
    /// Whose it is.
    pub controller_id: ControllerId,
    /// When its first row is due (Unix ms).
    pub due_at: i64,
    /// Since when that row has been ready (Unix ms).
    pub ready_since: i64,
    /// The controller's share.
    pub weight: u32,
    /// Most rows that one call carries; none where no connector says so.
    pub batch: Option<usize>,
    /// Whether anything may be taken.
    pub standing: Standing,
    /// One more death over its first row would be the last.
    pub suspect: bool,
    verb: String,
    phase: String,
}

impl QueueHead {
    /// Whether something may be taken now.
    pub const fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Open | Standing::Probe(_))
    }

    /// Whether several controllers share its lane.
    pub fn is_shared(&self) -> bool {
        self.batch.is_none()
    }

    /// Most rows that one batch takes, where a worker takes `batch` at most.
    pub fn batch(&self, batch: usize) -> usize {
        let own = match self.batch {
            Some(own) => own,
            // Each of these is a call of its own, made beside the others: a controller's host is not to be flooded.
            None if self.lane == "notify" => TOLD_AT_ONCE,
            None => batch,
        };
        batch.min(own)
    }

    /// Whether it gives one row only: a suspect, or a probe.
    pub const fn is_single(&self) -> bool {
        self.suspect || matches!(self.standing, Standing::Probe(_))
    }
}

/// What there is to do.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The head of every queue that is not empty.
    pub queues: Vec<QueueHead>,
    /// When the first request is to be advanced (Unix ms).
    pub advance_at: Option<i64>,
    /// When the first waiting row is to run (Unix ms).
    pub promote_at: Option<i64>,
    /// There is more than one controller.
    pub shared: bool,
}

impl Look {
    /// When something is to be done by the clock.
    pub fn next_at(&self) -> Option<i64> {
        [self.advance_at, self.promote_at].into_iter().flatten().min()
    }
}

/// What is to be taken from a queue.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The queue.
    pub queue: &'a QueueHead,
    /// Most rows.
    pub rows: usize,
}

/// Statuses that one batch tells a controller.
const TOLD_AT_ONCE: usize = 50;
/// Rows that are promoted at once, the longest due first; and for each controller, where there are more than that.
const PROMOTED: i64 = 1_000;
const PROMOTED_EACH: i64 = 50;
/// Requests of each controller that are advanced where more are due than one pass takes; and of all.
const ADVANCED_EACH: i64 = 2;
const ADVANCED_FAIRLY: i64 = 400;

/// Each leap looks for the next queue level by level: compared as one row of four, a lane of 10^6 rows would be read through.
const LOOK: &str = "-- look
WITH RECURSIVE head(id) AS (
  SELECT (SELECT s.id FROM steps s WHERE s.q = 'ready' ORDER BY s.lane, s.controller_id, s.verb, s.phase, s.due_at, s.id LIMIT 1)
  UNION ALL
  SELECT COALESCE(
    (SELECT n.id FROM steps n WHERE n.q = 'ready' AND n.lane = s.lane AND n.controller_id = s.controller_id AND n.verb = s.verb AND n.phase > s.phase ORDER BY n.phase, n.due_at, n.id LIMIT 1),
    (SELECT n.id FROM steps n WHERE n.q = 'ready' AND n.lane = s.lane AND n.controller_id = s.controller_id AND n.verb > s.verb ORDER BY n.verb, n.phase, n.due_at, n.id LIMIT 1),
    (SELECT n.id FROM steps n WHERE n.q = 'ready' AND n.lane = s.lane AND n.controller_id > s.controller_id ORDER BY n.controller_id, n.verb, n.phase, n.due_at, n.id LIMIT 1),
    (SELECT n.id FROM steps n WHERE n.q = 'ready' AND n.lane > s.lane ORDER BY n.lane, n.controller_id, n.verb, n.phase, n.due_at, n.id LIMIT 1))
  FROM head h JOIN steps s ON s.id = h.id
)
SELECT s.lane, s.controller_id, s.verb, s.phase, s.due_at, s.not_before, s.deaths, c.weight, c.paused AS controller_paused, sy.paused AS system_paused, sy.breaker_until, sy.batch
FROM head h JOIN steps s ON s.id = h.id JOIN controllers c ON c.id = s.controller_id LEFT JOIN systems sy ON sy.id = s.system_id
UNION ALL
SELECT NULL, NULL, NULL, NULL, (SELECT MIN(wake_at) FROM dsrs WHERE wake_at IS NOT NULL), (SELECT MIN(not_before) FROM steps WHERE q = 'wait'), (SELECT COUNT(*) FROM (SELECT 1 AS one FROM controllers LIMIT 2) AS few), (SELECT COUNT(*) FROM meta WHERE name = 'paused'), NULL, NULL, NULL, NULL";

/// What a claim writes, after it has `picked`. Picked first and once: a plan that ran the inner query again would take more.
const TAKE: &str = "UPDATE steps SET q = 'run', owner = $1, token = token + 1, attempts = attempts + CASE WHEN phase = 'act' THEN 1 ELSE 0 END, lease_until = {now} + $2, leased_at = $3 WHERE id IN (SELECT id FROM picked) RETURNING id, controller_id, dsr_id, system_id, lane, verb, phase, token, failures, payload, not_before, leased_at, due_at";

/// A pause that came after the look still counts.
const NOT_PAUSED: &str = "NOT EXISTS (SELECT 1 FROM meta WHERE name = 'paused') AND NOT EXISTS (SELECT 1 FROM controllers c WHERE c.id = w.controller_id AND c.paused = 1) AND NOT EXISTS (SELECT 1 FROM systems sy WHERE sy.id = w.lane AND sy.paused = 1)";

impl Store {
    /// One look at everything that is to be done, in one statement.
    ///
    /// # Errors
    /// The database is away.
    pub async fn look(&self) -> Result<Look, Error> {
        let now = self.now_ms();
        let mut look = Look::default();
        let mut paused = false;
        for row in &self.db.rows(LOOK, vec![]).await? {
            if row.opt_text("lane")?.is_some() {
                look.queues.push(read_head(row, now)?);
            } else {
                (look.advance_at, look.promote_at) = (row.opt_int("due_at")?, row.opt_int("not_before")?);
                look.shared = row.int("deaths")? > 1;
                paused = row.int("weight")? > 0;
            }
        }
        if paused {
            look.queues.iter_mut().for_each(|queue| queue.standing = Standing::Paused);
        }
        Ok(look)
    }

    /// Leases what is wanted, in one statement and transaction; for each queue what it gave, the most urgent first. A queue may
    /// give less, or nothing: others are at it too.
    ///
    /// A row over which one more death would be the last is a suspect: it runs alone, not in a batch and one at a time in a
    /// process, so that what is quarantined in the end is what killed the workers and not its neighbours.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim_queues(
        &self,
        owner: &str,
        wanted: &[Wanted<'_>],
        lease_ms: i64,
    ) -> Result<Vec<Vec<Lease>>, Error> {
        let mut given: Vec<Vec<Lease>> = wanted.iter().map(|_| Vec::new()).collect();
        // Asked only where there is a suspect, which is rare.
        let mut held = None;
        let mut asked = Vec::new();
        for (n, want) in wanted.iter().enumerate() {
            let (mut rows, mut suspect) = (want.rows, false);
            if want.queue.suspect {
                let at_one = match held {
                    Some(at_one) => at_one,
                    None => self.holds_suspect(owner).await?,
                };
                // Of those that are wanted here too only the first.
                held = Some(true);
                suspect = !at_one;
                // Who is at a suspect already goes on with what stands behind this one.
                rows = if suspect { rows.min(1) } else { rows };
            }
            if let Standing::Probe(until) = want.queue.standing {
                rows = if self.take_probe(&want.queue.lane, until).await? { rows.min(1) } else { 0 };
            }
            if rows > 0 && want.queue.is_open() {
                asked.push((n, want.queue, rows as i64, suspect));
            }
        }
        if asked.is_empty() {
            return Ok(given);
        }
        let rows = self.take(owner, &asked, lease_ms).await?;
        crash_point("queue.after_claim");
        let mut order = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            order.push((row.int("due_at")?, row.text("id")?, at));
        }
        order.sort();
        for (.., at) in order {
            let lease = read_lease(&rows[at])?;
            let (verb, phase) = (rows[at].text("verb")?, rows[at].text("phase")?);
            let from = asked.iter().find(|(_, queue, ..)| {
                queue.lane == lease.lane
                    && queue.controller_id == lease.controller_id
                    && queue.verb == verb
                    && queue.phase == phase
            });
            given[from.ok_or(INCONSISTENT("lane"))?.0].push(lease);
        }
        self.figures.claimed.count(rows.len());
        Ok(given)
    }

    async fn take(
        &self,
        owner: &str,
        asked: &[(usize, &QueueHead, i64, bool)],
        lease_ms: i64,
    ) -> Result<Vec<Row>, Error> {
        if self.dialect() == Dialect::Postgres {
            let mut queues = RowSet::default();
            for (_, queue, rows, suspect) in asked {
                queues.push(row![
                    queue.lane.as_str(),
                    queue.controller_id.as_str(),
                    queue.verb.as_str(),
                    queue.phase.as_str(),
                    *suspect,
                    *rows
                ]);
            }
            crash_point("queue.before_claim_commit");
            return self.db
                .write(
                    &format!("-- claim\nWITH picked AS MATERIALIZED (SELECT p.id FROM {{rows $5 AS w(lane text, controller_id text, verb text, phase text, suspect int, n int)}} CROSS JOIN LATERAL (SELECT s.id FROM steps s WHERE s.q = 'ready' AND s.lane = w.lane AND s.controller_id = w.controller_id AND s.verb = w.verb AND s.phase = w.phase AND (s.deaths >= $4) = (w.suspect = 1) ORDER BY s.due_at, s.id LIMIT w.n {{skip_locked}}) AS p WHERE {NOT_PAUSED}) {TAKE}"),
                    args![owner, lease_ms, self.now_ms(), SUSPECT, queues],
                )
                .await;
        }
        // A limit cannot differ by row here, and one file has one writer: a statement for each queue costs no more.
        let mut tx = self.db.begin("claim").await?;
        let mut all = Vec::new();
        for (_, queue, rows, suspect) in asked {
            let alike = if *suspect { "deaths >= $4" } else { "deaths < $4" };
            all.extend(
                tx.rows(
                    &format!("-- claim\nWITH w AS (SELECT $5 AS lane, $6 AS controller_id), picked AS MATERIALIZED (SELECT id FROM steps WHERE q = 'ready' AND lane = $5 AND controller_id = $6 AND verb = $7 AND phase = $8 AND {alike} AND EXISTS (SELECT 1 FROM w WHERE {NOT_PAUSED}) ORDER BY due_at, id LIMIT $9) {TAKE}"),
                    args![
                        owner,
                        lease_ms,
                        self.now_ms(),
                        SUSPECT,
                        queue.lane.as_str(),
                        queue.controller_id.as_str(),
                        queue.verb.as_str(),
                        queue.phase.as_str(),
                        *rows
                    ],
                )
                .await?,
            );
        }
        crash_point("queue.before_claim_commit");
        self.commit(tx).await?;
        Ok(all)
    }

    /// Whether this owner is at a suspect already.
    async fn holds_suspect(&self, owner: &str) -> Result<bool, Error> {
        let held = self
            .db
            .row(
                "-- holds_suspect\nSELECT 1 AS held FROM steps WHERE q = 'run' AND owner = $1 AND deaths >= $2 LIMIT 1",
                args![owner, SUSPECT],
            )
            .await?;
        Ok(held.is_some())
    }

    /// Leases one batch: of the queue whose turn it is when nobody had one before, at most `batch` rows. Lanes in `busy` are
    /// passed over.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim(&self, owner: &str, busy: &[String], batch: usize, lease_ms: i64) -> Result<Vec<Lease>, Error> {
        let now = self.now_ms();
        let look = self.look().await?;
        let mut left: Vec<&QueueHead> =
            look.queues.iter().filter(|queue| queue.is_open() && !busy.contains(&queue.lane)).collect();
        loop {
            let waiting: Vec<Waiting<'_>> = left.iter().map(|queue| queue.waiting()).collect();
            let Some(turn) = Turns::default().next(&waiting, now) else { return Ok(Vec::new()) };
            let queue = left.remove(turn);
            let mut leases =
                self.claim_queues(owner, &[Wanted { queue, rows: queue.batch(batch) }], lease_ms).await?.remove(0);
            if !leases.is_empty() {
                leases.sort_by(|a, b| a.step_id.cmp(&b.step_id));
                return Ok(leases);
            }
        }
    }

    /// Lets waiting rows whose time has come run; returns how many. Where very many are due at once each controller's first
    /// ones are among them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn promote(&self) -> Result<u64, Error> {
        let now = self.now_ms();
        let due = self
            .db
            .row(
                "-- promote_peek\nSELECT 1 AS due FROM steps WHERE q = 'wait' AND not_before <= $1 LIMIT 1",
                args![now],
            )
            .await?;
        if due.is_none() {
            return Ok(0);
        }
        let rows = self
            .db
            .write(
                "-- promote\nWITH picked AS MATERIALIZED (SELECT id FROM steps WHERE q = 'wait' AND not_before <= $1 ORDER BY not_before LIMIT $2 {skip_locked}) UPDATE steps SET q = 'ready' WHERE id IN (SELECT id FROM picked) RETURNING 1 AS one",
                args![now, PROMOTED],
            )
            .await?;
        let mut promoted = rows.len() as u64;
        if promoted == PROMOTED as u64 {
            let each = self.of_each("steps", "q = 'wait'", "not_before");
            let rows = self
                .db
                .write(
                    &format!("-- promote_fairly\n{each} UPDATE steps SET q = 'ready' WHERE id IN (SELECT id FROM picked) RETURNING 1 AS one"),
                    args![now, PROMOTED_EACH],
                )
                .await?;
            promoted += rows.len() as u64;
        }
        Ok(promoted)
    }

    /// The first rows of each controller whose time has come, as `picked`: $1 is now, $2 how many of each. Controllers are found
    /// by leaping through an index.
    fn of_each(&self, table: &str, which: &str, at: &str) -> String {
        let first = format!(
            "SELECT x.id FROM {table} x WHERE x.{which} AND x.controller_id = c.id AND x.{at} <= $1 ORDER BY x.{at} LIMIT $2"
        );
        let picked = match self.dialect() {
            Dialect::Postgres => {
                format!("SELECT p.id FROM c CROSS JOIN LATERAL ({first} {{skip_locked}}) AS p WHERE c.id IS NOT NULL")
            }
            Dialect::Sqlite => format!("SELECT p.id FROM c JOIN {table} p ON p.id IN ({first})"),
        };
        format!(
            "WITH RECURSIVE c(id) AS (SELECT (SELECT MIN(t.controller_id) FROM {table} t WHERE t.{which}) UNION ALL SELECT (SELECT MIN(t.controller_id) FROM {table} t WHERE t.{which} AND t.controller_id > c.id) FROM c WHERE c.id IS NOT NULL), picked AS MATERIALIZED ({picked})"
        )
    }

    /// Requests whose time has come, the longest due first, locked. Where more are due than `limit`, the first ones of each
    /// controller are among them.
    pub(crate) async fn due_requests(&self, tx: &mut Tx, now: i64, limit: i64) -> Result<Vec<DsrId>, Error> {
        let mut rows = tx
            .rows(
                "-- advance_due\nSELECT id FROM dsrs WHERE wake_at <= $1 ORDER BY wake_at LIMIT $2 {skip_locked}",
                args![now, limit],
            )
            .await?;
        if rows.len() as i64 == limit {
            let each = self.of_each("dsrs", "wake_at IS NOT NULL", "wake_at");
            rows.extend(
                tx.rows(
                    &format!("-- advance_due_fairly\n{each} SELECT id FROM picked LIMIT $3"),
                    args![now, ADVANCED_EACH, ADVANCED_FAIRLY],
                )
                .await?,
            );
        }
        let inconsistent = |_| Error::Inconsistent { table: "dsrs", column: "id" };
        let mut ids = Vec::with_capacity(rows.len());
        for row in &rows {
            ids.push(DsrId::parse(&row.text("id")?).map_err(inconsistent)?);
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// The next moment at which a waiting row's time comes (Unix ms).
    ///
    /// # Errors
    /// The database is away.
    pub async fn next_wait(&self) -> Result<Option<i64>, Error> {
        let row = self.db.row("-- next_wait\nSELECT MIN(not_before) AS at FROM steps WHERE q = 'wait'", vec![]).await?;
        row.map_or(Ok(None), |r| r.opt_int("at"))
    }
}

impl QueueHead {
    /// As the rules of fairness see it.
    pub const fn waiting(&self) -> Waiting<'_> {
        Waiting { controller: &self.controller_id, weight: self.weight, due_at: self.due_at }
    }
}

fn read_head(row: &Row, now: i64) -> Result<QueueHead, Error> {
    let paused = row.int("controller_paused")? != 0 || row.opt_int("system_paused")?.unwrap_or_default() != 0;
    let standing = match row.opt_int("breaker_until")? {
        _ if paused => Standing::Paused,
        None => Standing::Open,
        Some(until) if until > now => Standing::Broken(until),
        Some(until) => Standing::Probe(until),
    };
    let batch = row.opt_int("batch")?.map(|batch| usize::try_from(batch.max(1)).unwrap_or(usize::MAX));
    Ok(QueueHead {
        lane: row.text("lane")?,
        controller_id: ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))?,
        due_at: row.int("due_at")?,
        ready_since: row.int("not_before")?,
        weight: u32::try_from(row.int("weight")?.max(1)).unwrap_or(u32::MAX),
        batch,
        standing,
        suspect: row.int("deaths")? >= SUSPECT,
        verb: row.text("verb")?,
        phase: row.text("phase")?,
    })
}

impl Store {
    /// Takes the one try whether a system is back, for the whole fleet: whoever moves the moment on has it. Should its holder die,
    /// there is another one when that time is over.
    async fn take_probe(&self, lane: &str, until: i64) -> Result<bool, Error> {
        let Ok(id) = SystemId::parse(lane) else { return Ok(false) };
        let rows = self
            .db
            .write(
                "-- take_probe\nUPDATE systems SET breaker_until = $3 WHERE id = $1 AND breaker_until = $2 RETURNING id",
                args![id.as_str(), until, self.now_ms() + redress_domain::breaker::PROBE_MS],
            )
            .await?;
        Ok(!rows.is_empty())
    }
}
