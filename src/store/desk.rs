//! The desk is where everything lies that a person has to do: what is stuck, tasks, approvals, and what was given up.
//!
//! Whatever has one cause is one entry, whether it stops one request or ten thousand. Every list is ordered by when it becomes late,
//! and bounded; what is left out is counted.

use crate::db::{Arg, Row, args, texts};
use crate::{Error, Store};
use redress_domain::{ControllerId, DsrId, MessageId, RequestType, Verb};

/// Entries of each list.
pub const DESK_MAX: i64 = 100;
/// Requests that are named of what one cause stops.
const NAMED: i64 = 5;
/// Those of our connectors whose steps somebody else reports.
const REPORTED_BY_OTHERS: &str = "('manual', 'webhook')";
/// The steps that ask for a person, leaving out what lies under another heading.
const STUCK: &str = "st.attention = 1 AND st.verb <> 'notify' AND COALESCE(st.error_code, '') <> 'quarantined' AND NOT (st.state = 'external' AND COALESCE(sy.connector, '') IN ('manual', 'webhook')) AND d.closed_at IS NULL";

/// The controller of a request, as no index has it: of few rows that a partial index finds it is to be looked at afterwards. Without
/// statistics SQLite would rather read all requests of the controller.
const OF_FEW: &str = "d.controller_id || ''";

/// A request that something keeps from going on.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// Which.
    pub dsr_id: DsrId,
    /// Which right.
    pub kind: RequestType,
    /// The first instant that is too late (Unix ms).
    pub due_before: i64,
    /// Since when it has needed a person (Unix ms).
    pub since: Option<i64>,
}

/// One cause that stops one or more requests.
#[derive(Debug, Clone)]
pub struct StuckGroup {
    /// Whose requests.
    pub controller_id: ControllerId,
    /// Where; none if it is the answer that cannot be made, or if there is no system at all.
    pub system: Option<String>,
    /// A word of ours for what is wrong; empty if it is said by `detail` alone.
    pub code: String,
    /// The same in a sentence, as it was for the most urgent of them.
    pub detail: String,
    /// How many requests.
    pub count: i64,
    /// How many steps wait for the same without asking for a person themselves: those behind a refused credential.
    pub waiting: i64,
    /// The most urgent of them.
    pub first: Vec<Stopped>,
}

/// A step that a person carries out and reports.
#[derive(Debug, Clone)]
pub struct DeskTask {
    /// Whose request.
    pub controller_id: ControllerId,
    /// Which.
    pub request: Stopped,
    /// Where.
    pub system: String,
    /// What is to be done.
    pub verb: Verb,
    /// Until when it is to be reported (Unix ms), if that is known.
    pub report_by: Option<i64>,
    /// It was not reported in time.
    pub late: bool,
}

/// A request that waits for an approval.
#[derive(Debug, Clone)]
pub struct Approval {
    /// Whose request.
    pub controller_id: ControllerId,
    /// Which; since when it has waited.
    pub request: Stopped,
    /// Its result is to be approved, not its beginning.
    pub is_review: bool,
    /// Who submitted it, as the audit log names them.
    pub submitter: String,
}

/// Something that was given up after several tries, and is not tried again by itself.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// What it is.
    pub what: Dead,
    /// Whose; none for a message of the operator's own.
    pub controller_id: Option<ControllerId>,
    /// Why, as a word of ours.
    pub code: String,
    /// Since when it lies there, or was begun (Unix ms).
    pub since: i64,
}

/// What was given up.
#[derive(Debug, Clone)]
pub enum Dead {
    /// A step, an answer, over which workers died.
    Step {
        /// Of which request.
        dsr_id: DsrId,
        /// Where; none for an answer.
        system: Option<String>,
        /// What was to be done.
        verb: String,
    },
    /// Statuses that could not be told to the address the controller gave.
    Callback {
        /// Of which request.
        dsr_id: DsrId,
        /// How many.
        count: i64,
    },
    /// Notices that could not be told to people or programs.
    Message {
        /// Which.
        id: MessageId,
        /// To whom.
        route: String,
        /// By mail, webhook, …
        channel: String,
        /// How many notices it carries.
        notices: i64,
    },
}

impl Dead {
    /// Whether trying again can help.
    pub fn can_be_replayed(&self, code: &str) -> bool {
        match self {
            Dead::Step { .. } => true,
            Dead::Callback { .. } => code != "no_callback",
            Dead::Message { .. } => code != "sent_in_part",
        }
    }
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "steps", column };

/// The limit to some controllers, whose list is the statement's argument `$n`; nothing if everybody's is meant.
pub(crate) fn among(scope: Option<&[ControllerId]>, column: &str, n: usize) -> String {
    scope.map_or_else(String::new, |_| format!(" AND {column} {{in ${n}}}"))
}

/// The argument for [`among`].
pub(crate) fn with_scope(mut args: Vec<Arg>, scope: Option<&[ControllerId]>) -> Vec<Arg> {
    args.extend(scope.map(|ids| Arg::from(texts(ids.iter().map(ControllerId::as_str)))));
    args
}

fn stopped(row: &Row) -> Result<Stopped, Error> {
    Ok(Stopped {
        dsr_id: DsrId::parse(&row.text("dsr_id")?).map_err(|_| INCONSISTENT("dsr_id"))?,
        kind: RequestType::parse(&row.text("kind")?).ok_or(INCONSISTENT("kind"))?,
        due_before: row.int("due_before")?,
        since: row.opt_int("since")?,
    })
}

fn controller(row: &Row) -> Result<ControllerId, Error> {
    ControllerId::parse(&row.text("controller_id")?).map_err(|_| INCONSISTENT("controller_id"))
}

/// By when the other side is to be done, as its order says.
fn promised(result: &str) -> Option<i64> {
    let result: serde_json::Value = serde_json::from_str(result).ok()?;
    Some(result["completes_by"].as_str()?.parse::<jiff::Timestamp>().ok()?.as_millisecond())
}

impl Store {
    /// What keeps requests from going on until a person does something, the cause that makes one late first being the first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn stuck_groups(&self, scope: Option<&[ControllerId]>) -> Result<Vec<StuckGroup>, Error> {
        const CAUSE: &str = "PARTITION BY st.controller_id, st.system_id, COALESCE(st.error_code, '')";
        let own = among(scope, "st.controller_id", 3);
        let sql = format!(
            "-- stuck_groups\nSELECT ranked.*, CASE WHEN place = 1 AND code = 'credentials_refused' THEN (SELECT COUNT(*) FROM steps w WHERE w.q = 'wait' AND w.lane = ranked.system_id AND w.attention = 0) ELSE 0 END AS waiting FROM (SELECT st.dsr_id, st.system_id, st.controller_id, sy.name AS system, COALESCE(st.error_code, '') AS code, COALESCE(st.error_detail, '') AS detail, d.kind, d.due_before, d.attention_since AS since, ROW_NUMBER() OVER ({CAUSE} ORDER BY d.due_before, st.id) AS place, COUNT(*) OVER ({CAUSE}) AS n, MIN(d.due_before) OVER ({CAUSE}) AS first_due FROM steps st JOIN dsrs d ON d.id = st.dsr_id LEFT JOIN systems sy ON sy.id = st.system_id WHERE {STUCK}{own}) AS ranked WHERE place <= $1 ORDER BY first_due, controller_id, system, code, place LIMIT $2"
        );
        let rows = self.db.rows(&sql, with_scope(args![NAMED, DESK_MAX * NAMED], scope)).await?;
        let mut groups: Vec<StuckGroup> = Vec::new();
        for row in &rows {
            let (controller_id, system, code) = (controller(row)?, row.opt_text("system")?, row.text("code")?);
            let of_last = groups
                .last_mut()
                .filter(|group| group.controller_id == controller_id && group.system == system && group.code == code);
            if let Some(group) = of_last {
                group.first.push(stopped(row)?);
            } else {
                let (count, waiting, detail) = (row.int("n")?, row.int("waiting")?, row.text("detail")?);
                let first = vec![stopped(row)?];
                groups.push(StuckGroup { controller_id, system, code, detail, count, waiting, first });
            }
        }
        groups.extend(self.planless(scope).await?);
        groups.sort_by_key(|group| group.first.first().map_or(i64::MAX, |first| first.due_before));
        Ok(groups)
    }

    /// Requests for which no connected system is instructed, by controller.
    async fn planless(&self, scope: Option<&[ControllerId]>) -> Result<Vec<StuckGroup>, Error> {
        let own = among(scope, OF_FEW, 2);
        let sql = format!(
            "-- planless\nSELECT d.id AS dsr_id, d.controller_id, d.kind, d.due_before, d.attention_since AS since, d.attention AS detail FROM dsrs d WHERE d.attention IS NOT NULL AND d.closed_at IS NULL AND NOT EXISTS (SELECT 1 FROM steps s WHERE s.dsr_id = d.id AND s.system_id IS NOT NULL){own} ORDER BY d.due_before, d.id LIMIT $1"
        );
        let rows = self.db.rows(&sql, with_scope(args![DESK_MAX], scope)).await?;
        let mut groups: Vec<StuckGroup> = Vec::new();
        for row in &rows {
            let controller_id = controller(row)?;
            if let Some(group) = groups.iter_mut().find(|group| group.controller_id == controller_id) {
                group.count += 1;
                if group.first.len() < NAMED as usize {
                    group.first.push(stopped(row)?);
                }
            } else {
                let (code, detail) = ("no_system_instructed".to_owned(), row.text("detail")?);
                let first = vec![stopped(row)?];
                groups.push(StuckGroup { controller_id, system: None, code, detail, count: 1, waiting: 0, first });
            }
        }
        Ok(groups)
    }

    /// Steps that wait for somebody's report. Whom they are about is not among what is read.
    ///
    /// # Errors
    /// The database is away.
    pub async fn desk_tasks(&self, scope: Option<&[ControllerId]>) -> Result<Vec<DeskTask>, Error> {
        let own = among(scope, "st.controller_id", 2);
        let sql = format!(
            "-- desk_tasks\nSELECT st.dsr_id, st.controller_id, st.verb, st.attention, sy.name AS system, COALESCE(st.result, '') AS result, d.kind, d.due_before, st.acted_at AS since FROM steps st JOIN dsrs d ON d.id = st.dsr_id JOIN systems sy ON sy.id = st.system_id WHERE st.state = 'external' AND sy.connector IN {REPORTED_BY_OTHERS} AND (st.q = 'wait' OR (st.q IS NULL AND st.attention = 1)) AND d.closed_at IS NULL{own} ORDER BY st.attention DESC, d.due_before, st.id LIMIT $1"
        );
        let rows = self.db.rows(&sql, with_scope(args![DESK_MAX], scope)).await?;
        let read = |row: &Row| {
            Ok(DeskTask {
                controller_id: controller(row)?,
                request: stopped(row)?,
                system: row.text("system")?,
                verb: Verb::parse(&row.text("verb")?).ok_or(INCONSISTENT("verb"))?,
                report_by: promised(&row.text("result")?),
                late: row.int("attention")? != 0,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Requests that wait until somebody approves that work begins, or what came of it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn desk_approvals(&self, scope: Option<&[ControllerId]>) -> Result<Vec<Approval>, Error> {
        let mut all = Vec::new();
        for (stage, is_review) in [("awaiting_approval", false), ("review", true)] {
            let own = among(scope, OF_FEW, 2);
            // The stage is written out, so that its partial index is found.
            let sql = format!(
                "-- desk_approvals\nSELECT d.id AS dsr_id, d.controller_id, d.kind, d.due_before, COALESCE(d.waiting_since, d.instruction_received_at) AS since, COALESCE((SELECT e.actor FROM events e WHERE e.dsr_id = d.id ORDER BY e.seq LIMIT 1), '') AS submitter FROM dsrs d WHERE d.stage = '{stage}' AND d.closed_at IS NULL{own} ORDER BY d.due_before, d.id LIMIT $1"
            );
            for row in self.db.rows(&sql, with_scope(args![DESK_MAX], scope)).await? {
                let (controller_id, submitter) = (controller(&row)?, row.text("submitter")?);
                all.push(Approval { controller_id, request: stopped(&row)?, is_review, submitter });
            }
        }
        all.sort_by_key(|approval| approval.request.due_before);
        Ok(all)
    }

    /// Who submitted a request, as the audit log names them.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn submitter(&self, controller_id: &ControllerId, id: &DsrId) -> Result<String, Error> {
        let row = self
            .db
            .row(
                "-- submitter\nSELECT actor FROM events WHERE controller_id = $1 AND dsr_id = $2 ORDER BY seq LIMIT 1",
                args![controller_id.as_str(), id.as_str()],
            )
            .await?;
        row.ok_or(Error::NotFound)?.text("actor")
    }

    /// What was given up and lies there until somebody tries it again, the oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn dead_letters(&self, scope: Option<&[ControllerId]>) -> Result<Vec<DeadLetter>, Error> {
        let mut all = self.dead_steps(scope).await?;
        all.extend(self.dead_callbacks(scope).await?);
        all.extend(self.dead_messages(scope).await?);
        all.sort_by_key(|letter| letter.since);
        Ok(all)
    }

    async fn dead_steps(&self, scope: Option<&[ControllerId]>) -> Result<Vec<DeadLetter>, Error> {
        let own = among(scope, "st.controller_id", 2);
        let sql = format!(
            "-- dead_steps\nSELECT st.dsr_id, st.controller_id, st.verb, sy.name AS system, COALESCE(d.attention_since, st.created_at) AS since FROM steps st JOIN dsrs d ON d.id = st.dsr_id LEFT JOIN systems sy ON sy.id = st.system_id WHERE st.attention = 1 AND st.verb <> 'notify' AND st.error_code = 'quarantined' AND d.closed_at IS NULL{own} ORDER BY st.due_at, st.id LIMIT $1"
        );
        let rows = self.db.rows(&sql, with_scope(args![DESK_MAX], scope)).await?;
        let read = |row: &Row| {
            let dsr_id = DsrId::parse(&row.text("dsr_id")?).map_err(|_| INCONSISTENT("dsr_id"))?;
            let what = Dead::Step { dsr_id, system: row.opt_text("system")?, verb: row.text("verb")? };
            Ok(DeadLetter {
                what,
                controller_id: Some(controller(row)?),
                code: "quarantined".into(),
                since: row.int("since")?,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn dead_callbacks(&self, scope: Option<&[ControllerId]>) -> Result<Vec<DeadLetter>, Error> {
        let own = among(scope, "st.controller_id", 2);
        let sql = format!(
            "-- dead_callbacks\nSELECT dsr_id, controller_id, COUNT(*) AS n, MIN(created_at) AS since, MAX(code) AS code FROM (SELECT st.dsr_id, st.controller_id, st.created_at, COALESCE(st.error_code, '') AS code FROM steps st JOIN dsrs d ON d.id = st.dsr_id WHERE st.verb = 'notify' AND st.state = 'retained' AND st.q IS NULL AND COALESCE(st.error_code, '') NOT IN ('endpoint_disabled', 'endpoint_gone', 'endpoint_removed') AND d.purged_at IS NULL{own} UNION ALL SELECT st.dsr_id, st.controller_id, st.created_at, COALESCE(st.error_code, '') AS code FROM steps st JOIN dsrs d ON d.id = st.dsr_id WHERE st.attention = 1 AND st.verb = 'notify' AND st.state <> 'retained' AND st.q IS NULL AND d.purged_at IS NULL{own}) AS untold GROUP BY dsr_id, controller_id ORDER BY since, dsr_id LIMIT $1"
        );
        let rows = self.db.rows(&sql, with_scope(args![DESK_MAX], scope)).await?;
        let read = |row: &Row| {
            let dsr_id = DsrId::parse(&row.text("dsr_id")?).map_err(|_| INCONSISTENT("dsr_id"))?;
            Ok(DeadLetter {
                what: Dead::Callback { dsr_id, count: row.int("n")? },
                controller_id: Some(controller(row)?),
                code: row.text("code")?,
                since: row.int("since")?,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn dead_messages(&self, scope: Option<&[ControllerId]>) -> Result<Vec<DeadLetter>, Error> {
        // A route without a controller is the operator's own: only who sees everybody sees what it carries.
        let own = among(scope, "r.controller_id", 2);
        let sql = format!(
            "-- dead_messages\nSELECT m.id, r.controller_id, r.name, r.channel, m.notices, m.outcome, m.created_at FROM messages m JOIN notify_routes r ON r.id = m.route_id WHERE m.outcome <> 'sent' AND m.q IS NULL AND m.outcome <> 'route_removed' AND r.deleted_at IS NULL{own} ORDER BY m.created_at, m.id LIMIT $1"
        );
        let rows = self.db.rows(&sql, with_scope(args![DESK_MAX], scope)).await?;
        let broken = |column| Error::Inconsistent { table: "messages", column };
        let read = |row: &Row| {
            let owner = row.opt_text("controller_id")?;
            Ok(DeadLetter {
                what: Dead::Message {
                    id: MessageId::parse(&row.text("id")?).map_err(|_| broken("id"))?,
                    route: row.text("name")?,
                    channel: row.text("channel")?,
                    notices: row.int("notices")?,
                },
                controller_id: owner.map(|id| ControllerId::parse(&id)).transpose().map_err(|_| broken("route_id"))?,
                code: row.text("outcome")?,
                since: row.int("created_at")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
