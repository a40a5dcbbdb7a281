//! Today is how all open requests stand at one moment: counts over them, and the first few of each list.
//!
//! Everything is counted by the database from indexes that hold what is counted and nothing else, whether one controller's requests
//! are looked at or everybody's, so that the cost has a bound: a few passes over as many short entries as there are open requests.
//! Nothing sealed is read. Each statement sees its own instant, as reports do ([`crate::reports`]).

use crate::db::{Arg, Row, args, texts};
use crate::sql::{RowSet, row};
use crate::{Error, Store};
use redress_domain::forecast::Foreseen;
use redress_domain::{ControllerId, DsrId, RequestType, SystemId};

const DAY_MS: i64 = 86_400_000;
/// Where counting the work that waits for one system stops.
const WAITING_MAX: i64 = 1_000;

/// What is asked about the open requests.
#[derive(Debug, Clone)]
pub struct TodayAsked<'a> {
    /// Whose; none: everybody's.
    pub scope: Option<&'a [ControllerId]>,
    /// At which moment (Unix ms).
    pub now: i64,
    /// When today ends in each time zone (Unix ms): the first instant of its tomorrow.
    pub today_ends: &'a [(String, i64)],
    /// The first instants of some days in a row (Unix ms), and of the day after the last one.
    pub days: &'a [i64],
    /// Ages in days at which an age group begins, rising, the first of them 0.
    pub ages: &'a [i64],
    /// Rows in each list.
    pub rows: i64,
}

/// How the open requests stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Today {
    /// Those that have not ended.
    pub open: i64,
    /// The due date is over.
    pub overdue: i64,
    /// The last day is today, where its controller is; not those whose clock stands still.
    pub due_today: i64,
    /// They cannot end in time, and it is not over yet.
    pub late: i64,
    /// They can end in time only if somebody acts before long; and of these, those for whom that is less than a week.
    pub to_act: i64,
    /// By band, as the watch saw it last: only those that are not on track.
    pub bands: Vec<(String, i64)>,
    /// By status.
    pub statuses: Vec<(String, i64)>,
    /// Their clock stands still.
    pub paused: i64,
    /// Whether there is any request at all, and any system.
    pub any: (bool, bool),
    /// How many are due on each of the days, how many are foreseen to end on each.
    pub by_day: Vec<(i64, i64)>,
    /// Open at the beginning of the days: whose due date was over; whose end was foreseen for before.
    pub before: (i64, i64),
    /// Those whose end cannot be foreseen.
    pub unforeseen: i64,
    /// By age group.
    pub by_age: Vec<i64>,
    /// Late by forecast, those first that are due first.
    pub late_rows: Vec<TodayRow>,
    /// Somebody has to act, those first that leave the least time.
    pub act_rows: Vec<TodayRow>,
    /// Due today.
    pub due_rows: Vec<TodayRow>,
    /// Overdue, the oldest first.
    pub overdue_rows: Vec<TodayRow>,
    /// Waiting for their controller.
    pub controller_rows: Vec<TodayRow>,
    /// Waiting for one of our people: something failed, an approval, a review.
    pub person_rows: Vec<TodayRow>,
    /// Systems in which nothing moves.
    pub stuck: Vec<StuckSystem>,
}

/// A request as Today lists it. Instants are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct TodayRow {
    /// Which.
    pub id: DsrId,
    /// Whose.
    pub controller_id: ControllerId,
    /// Which right.
    pub kind: RequestType,
    /// The stage, or what lies over it.
    pub status: String,
    /// The first instant that is too late.
    pub due_before: i64,
    /// What needs attention, in words.
    pub attention: Option<String>,
    /// Since when the controller or a person is awaited.
    pub since: Option<i64>,
    /// As the last pass foresaw it.
    pub forecast: Option<Foreseen>,
}

/// A system in which nothing moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckSystem {
    /// Which.
    pub id: SystemId,
    /// Whose.
    pub controller_id: ControllerId,
    /// What the controller calls it.
    pub name: String,
    /// Somebody paused it.
    pub paused: bool,
    /// It does not answer, or nothing is sent there for a while.
    pub failing: bool,
    /// What is wrong with it, as a code and in words.
    pub problem: Option<(String, String)>,
    /// Since when (Unix ms), if that is known.
    pub since: Option<i64>,
    /// Steps that wait for it.
    pub waiting: i64,
    /// There are more of them than were counted.
    pub more: bool,
}

/// When open requests are due, and foreseen to end.
struct Ends {
    days: Vec<(i64, i64)>,
    before: (i64, i64),
    /// All whose end is foreseen, whenever that is.
    foreseen: i64,
}

/// The controllers of a scope as a condition, and their ids as its argument.
struct Own {
    condition: &'static str,
    ids: Option<Vec<String>>,
}

impl Own {
    fn new(scope: Option<&[ControllerId]>) -> Self {
        let ids = scope.map(|scope| texts(scope.iter().map(ControllerId::as_str)));
        let condition = if ids.is_some() { "{bare d.controller_id} {in $1}" } else { "$1 = 0" };
        Self { condition, ids }
    }

    /// The arguments of a statement of which this is the first.
    fn args(&self, rest: impl IntoIterator<Item = Arg>) -> Vec<Arg> {
        let first = self.ids.clone().map_or(Arg::Int(Some(0)), Arg::Texts);
        std::iter::once(first).chain(rest).collect()
    }
}

const COLUMNS: &str = "d.id, d.controller_id, d.kind, d.status, d.due_before, d.attention, d.forecast, d.waiting_since, d.attention_since, d.clock_state";

fn read(row: &Row) -> Result<TodayRow, Error> {
    let inconsistent = |column| Error::Inconsistent { table: "dsrs", column };
    let (waiting, attention) = (row.opt_int("waiting_since")?, row.opt_int("attention_since")?);
    Ok(TodayRow {
        id: DsrId::parse(&row.text("id")?).map_err(|_| inconsistent("id"))?,
        controller_id: ControllerId::parse(&row.text("controller_id")?).map_err(|_| inconsistent("controller_id"))?,
        kind: RequestType::parse(&row.text("kind")?).ok_or(inconsistent("kind"))?,
        status: row.text("status")?,
        due_before: row.int("due_before")?,
        attention: row.opt_text("attention")?,
        since: attention.or(waiting),
        // What this release cannot read is foreseen anew by the next pass.
        forecast: row.opt_text("forecast")?.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

impl Store {
    /// How the open requests of a scope stand.
    ///
    /// # Errors
    /// The database is away.
    pub async fn today(&self, asked: &TodayAsked<'_>) -> Result<Today, Error> {
        let own = Own::new(asked.scope);
        // Two at a time: neither waits for what the other reads, and no page takes more connections than that.
        let figures = async {
            let mut today = self.counts(&own, asked).await?;
            self.lists(&own, asked, &mut today).await?;
            Ok::<_, Error>(today)
        };
        let charts = async {
            let ends = self.by_day(&own, asked).await?;
            let by_age = self.by_age(&own, asked).await?;
            Ok((ends, by_age, self.stuck_systems(asked.scope, asked.rows).await?))
        };
        let (mut today, (ends, by_age, stuck)) = futures::try_join!(figures, charts)?;
        // Of two looks, so never below nothing.
        today.unforeseen = (today.open - ends.foreseen).max(0);
        (today.by_day, today.before) = (ends.days, ends.before);
        (today.by_age, today.stuck) = (by_age, stuck);
        if today.open == 0 {
            today.any = self.any(&own).await?;
        } else {
            today.any = (true, true);
        }
        Ok(today)
    }

    async fn number(&self, sql: &str, arguments: Vec<Arg>) -> Result<i64, Error> {
        self.db.row(sql, arguments).await?.map_or(Ok(0), |row| row.int("n"))
    }

    async fn counts(&self, own: &Own, asked: &TodayAsked<'_>) -> Result<Today, Error> {
        let own_is = own.condition;
        let of = |rows: Vec<Row>| -> Result<Vec<(String, i64)>, Error> {
            rows.iter().map(|row| Ok((row.text("word")?, row.int("n")?))).collect()
        };
        let statuses = self
            .db
            .rows(
                &format!("-- today_statuses\nSELECT d.status AS word, COUNT(*) AS n FROM dsrs d WHERE {own_is} AND d.closed_at IS NULL GROUP BY d.status ORDER BY d.status"),
                own.args([]),
            )
            .await?;
        let bands = self
            .db
            .rows(
                &format!("-- today_bands\nSELECT d.band AS word, COUNT(*) AS n FROM dsrs d WHERE {own_is} AND d.closed_at IS NULL AND d.band <> 'on_track' GROUP BY d.band ORDER BY d.band"),
                own.args([]),
            )
            .await?;
        let counted = self
            .db
            .row(
                &format!("-- today_counts\nSELECT (SELECT COUNT(*) FROM dsrs d WHERE {own_is} AND d.closed_at IS NULL AND d.due_before <= $2) AS overdue, (SELECT COUNT(*) FROM dsrs d WHERE {own_is} AND d.closed_at IS NULL AND d.forecast_late = 1 AND d.due_before > $2) AS late, (SELECT COUNT(*) FROM dsrs d WHERE {own_is} AND d.closed_at IS NULL AND d.forecast_act_by IS NOT NULL AND d.forecast_act_by <= $3) AS to_act, (SELECT COUNT(*) FROM dsrs d WHERE {own_is} AND d.closed_at IS NULL AND d.clock_state = 'paused') AS paused"),
                own.args(args![asked.now, asked.now + 7 * DAY_MS]),
            )
            .await?
            .ok_or(Error::NotFound)?;
        let due_today = self
            .number(&format!("-- today_due\nSELECT COUNT(*) AS n {}", due_today(own_is)), due_today_args(own, asked))
            .await?;
        let statuses = of(statuses)?;
        Ok(Today {
            open: statuses.iter().map(|(_, n)| n).sum(),
            overdue: counted.int("overdue")?,
            due_today,
            late: counted.int("late")?,
            to_act: counted.int("to_act")?,
            bands: of(bands)?,
            statuses,
            paused: counted.int("paused")?,
            ..Today::default()
        })
    }

    async fn by_day(&self, own: &Own, asked: &TodayAsked<'_>) -> Result<Ends, Error> {
        let own_is = own.condition;
        let mut spans = RowSet::default();
        for (n, pair) in asked.days.windows(2).enumerate() {
            spans.push(row![n as i64 + 1, pair[0], pair[1]]);
        }
        spans.push(row![0_i64, i64::MIN + 1, asked.days.first().copied().unwrap_or(asked.now)]);
        let last = asked.days.len().max(1) as i64;
        spans.push(row![last, asked.days.last().copied().unwrap_or(asked.now), i64::MAX]);
        // What is due before the first instant of a day is due on the day before it; what ends at that instant ends on the day.
        let rows = self
            .db
            .rows(
                &format!("-- today_by_day\nSELECT b.n, (SELECT COUNT(*) FROM dsrs d WHERE {own_is} AND d.closed_at IS NULL AND d.due_before > b.low AND d.due_before <= b.high) AS due, (SELECT COUNT(*) FROM dsrs d WHERE {own_is} AND d.closed_at IS NULL AND d.forecast_ends_at IS NOT NULL AND d.forecast_ends_at >= b.low AND d.forecast_ends_at < b.high) AS ends FROM {{rows $2 AS b(n int, low int, high int)}} ORDER BY b.n"),
                own.args([Arg::Rows(spans)]),
            )
            .await?;
        let mut all: Vec<(i64, i64)> =
            rows.iter().map(|row| Ok((row.int("due")?, row.int("ends")?))).collect::<Result<_, Error>>()?;
        let foreseen = all.iter().map(|(_, ends)| ends).sum();
        let before = if all.is_empty() { (0, 0) } else { all.remove(0) };
        all.truncate(asked.days.len().saturating_sub(1));
        Ok(Ends { days: all, before, foreseen })
    }

    async fn by_age(&self, own: &Own, asked: &TodayAsked<'_>) -> Result<Vec<i64>, Error> {
        let mut groups = RowSet::default();
        for (n, from) in asked.ages.iter().enumerate() {
            // Received after `low` and not after `high`; what comes from a clock that goes ahead of ours is new.
            let low = asked.ages.get(n + 1).map_or(i64::MIN + 1, |to| asked.now - to * DAY_MS);
            let high = if n == 0 { i64::MAX } else { asked.now - from * DAY_MS };
            groups.push(row![n as i64, low, high]);
        }
        let rows = self
            .db
            .rows(
                &format!("-- today_by_age\nSELECT b.n, (SELECT COUNT(*) FROM dsrs d WHERE {} AND d.closed_at IS NULL AND d.instruction_received_at > b.low AND d.instruction_received_at <= b.high) AS c FROM {{rows $2 AS b(n int, low int, high int)}} ORDER BY b.n", own.condition),
                own.args([Arg::Rows(groups)]),
            )
            .await?;
        rows.iter().map(|row| row.int("c")).collect()
    }

    async fn lists(&self, own: &Own, asked: &TodayAsked<'_>, today: &mut Today) -> Result<(), Error> {
        let own_is = own.condition;
        let list = |name: &'static str, condition: &'static str, order: &'static str, arguments: Vec<Arg>| async move {
            let sql = format!(
                "-- {name}\nSELECT {COLUMNS} FROM dsrs d WHERE d.id IN (SELECT d.id FROM dsrs d WHERE {own_is} AND d.closed_at IS NULL AND {condition} ORDER BY {order}, d.id LIMIT $2) ORDER BY {order}, d.id"
            );
            let rows = self.db.rows(&sql, own.args(std::iter::once(Arg::from(asked.rows)).chain(arguments))).await?;
            rows.iter().map(read).collect::<Result<Vec<TodayRow>, Error>>()
        };
        let due = "d.due_before";
        if today.late > 0 {
            let late = "d.forecast_late = 1 AND d.due_before > $3";
            today.late_rows = list("today_late", late, due, args![asked.now]).await?;
        }
        today.act_rows = list(
            "today_act_by",
            "d.forecast_act_by IS NOT NULL AND d.forecast_act_by > $3",
            "d.forecast_act_by",
            args![asked.now],
        )
        .await?;
        if today.overdue > 0 {
            today.overdue_rows = list("today_overdue", "d.due_before <= $3", due, args![asked.now]).await?;
        }
        today.controller_rows = list("today_awaiting", "d.status = 'awaiting_controller'", due, vec![]).await?;
        for status in ["needs_attention", "awaiting_approval", "review"] {
            let part = list("today_person", "d.status = $3", due, args![status]).await?;
            today.person_rows.extend(part);
        }
        today.person_rows.sort_by(|a, b| (a.due_before, &a.id).cmp(&(b.due_before, &b.id)));
        today.person_rows.truncate(usize::try_from(asked.rows).unwrap_or_default());
        if today.due_today > 0 {
            let mut arguments = due_today_args(own, asked);
            arguments.push(Arg::from(asked.rows));
            let place = arguments.len() + 1;
            let sql = format!(
                "-- today_due_rows\nSELECT {COLUMNS} {} ORDER BY d.due_before, d.id LIMIT ${place}",
                due_today(own_is)
            );
            today.due_rows = self.db.rows(&sql, arguments).await?.iter().map(read).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Systems in which nothing moves: paused, failing, or with a problem that somebody has to mend; those first for which the most waits.
    async fn stuck_systems(&self, scope: Option<&[ControllerId]>, most: i64) -> Result<Vec<StuckSystem>, Error> {
        let own = Own::new(scope);
        let own_is = own.condition.replace("d.", "s.");
        let rows = self
            .db
            .rows(
                &format!("-- today_stuck\nSELECT s.id, s.controller_id, s.name, s.paused, s.paused_at, s.checked_at, s.problem_code, s.problem_detail, CAST(CASE WHEN s.breaker_until IS NULL THEN 0 ELSE 1 END AS BIGINT) AS failing, (SELECT MIN(p.failing_since) FROM paces p WHERE p.system_id = s.id AND p.failing_since > COALESCE((SELECT MAX(q.done_at) FROM paces q WHERE q.system_id = s.id), 0)) AS failing_since, (SELECT COUNT(*) FROM (SELECT 1 AS one FROM steps st WHERE st.lane = s.id AND st.q = 'ready' LIMIT $3) r) + (SELECT COUNT(*) FROM (SELECT 1 AS one FROM steps st WHERE st.lane = s.id AND st.q = 'wait' LIMIT $3) w) AS waiting FROM systems s WHERE {own_is} AND s.deleted_at IS NULL AND (s.paused = 1 OR s.breaker_until IS NOT NULL OR s.problem_code IS NOT NULL) ORDER BY waiting DESC, s.name, s.id LIMIT $2"),
                own.args(args![most, WAITING_MAX + 1]),
            )
            .await?;
        let inconsistent = |column| Error::Inconsistent { table: "systems", column };
        let read = |row: &Row| {
            let (paused, failing) = (row.int("paused")? != 0, row.int("failing")? != 0);
            let problem = row.opt_text("problem_code")?;
            let since = match (paused, failing) {
                (true, _) => row.opt_int("paused_at")?,
                (_, true) => row.opt_int("failing_since")?,
                _ => row.opt_int("checked_at")?,
            };
            let waiting = row.int("waiting")?;
            Ok(StuckSystem {
                id: SystemId::parse(&row.text("id")?).map_err(|_| inconsistent("id"))?,
                controller_id: ControllerId::parse(&row.text("controller_id")?)
                    .map_err(|_| inconsistent("controller_id"))?,
                name: row.text("name")?,
                paused,
                failing,
                problem: match problem {
                    Some(code) => Some((code, row.opt_text("problem_detail")?.unwrap_or_default())),
                    None => None,
                },
                since,
                waiting: waiting.min(WAITING_MAX),
                more: waiting > WAITING_MAX,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Whether there is any request, open or not, and any system.
    async fn any(&self, own: &Own) -> Result<(bool, bool), Error> {
        let requests = if own.ids.is_some() { "d.controller_id {in $1}" } else { "$1 = 0" };
        let row = self
            .db
            .row(
                &format!("-- today_any\nSELECT (SELECT COUNT(*) FROM (SELECT 1 AS one FROM dsrs d WHERE {requests} LIMIT 1) r) AS requests, (SELECT COUNT(*) FROM (SELECT 1 AS one FROM systems d WHERE {requests} AND d.deleted_at IS NULL LIMIT 1) s) AS systems"),
                own.args([]),
            )
            .await?
            .ok_or(Error::NotFound)?;
        Ok((row.int("requests")? > 0, row.int("systems")? > 0))
    }
}

/// Those that are due today where their controller is. Arguments: the scope, now, the time zones (two places), the end of the last
/// of these days.
fn due_today(own_is: &str) -> String {
    format!(
        "FROM dsrs d JOIN controllers c ON c.id = d.controller_id JOIN {{rows $3 AS z(zone text, ends int)}} ON z.zone = c.timezone WHERE {own_is} AND d.closed_at IS NULL AND d.due_before > $2 AND d.due_before <= $5 AND d.due_before <= z.ends AND d.clock_state <> 'paused'"
    )
}

fn due_today_args(own: &Own, asked: &TodayAsked<'_>) -> Vec<Arg> {
    let mut zones = RowSet::default();
    for (zone, ends) in asked.today_ends {
        zones.push(row![zone, *ends]);
    }
    if zones.is_empty() {
        zones.push(row!["", asked.now]);
    }
    let last = asked.today_ends.iter().map(|(_, ends)| *ends).max().unwrap_or(asked.now);
    own.args([Arg::from(asked.now), Arg::Rows(zones), Arg::from(last)])
}
