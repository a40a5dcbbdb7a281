//! The audit logs as they are looked at: the newest events first, through filters, and whether a chain still holds.
//!
//! No look reads without bound. Where a filter has no index, [`WINDOW`] events are searched and the page says how far it came; the
//! next one goes on from there. In one controller's log places are numbers without gaps; in several the ids order the events, for
//! they begin with their time.

use crate::db::{Arg, args, texts};
use crate::events::{AuditEvent, canonical_json};
use crate::{Error, Store};
use redress_domain::{ControllerId, DsrId, EventId};
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Events that one look searches at most.
const WINDOW: i64 = 50_000;
/// The kinds of events by which somebody saw personal data, or may have.
pub const SEEN_KINDS: [&str; 4] = ["personal_revealed", "package_fetched", "task_seen", "break_glass"];
/// As the index has it.
const SEEN: &str = "kind IN ('personal_revealed', 'package_fetched', 'task_seen', 'break_glass')";

/// Which events are looked for.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// In whose logs; none: in everybody's.
    pub controllers: Option<Vec<ControllerId>>,
    /// Of one kind.
    pub kind: Option<String>,
    /// Of those kinds by which somebody saw personal data.
    pub seen: bool,
    /// Done by one actor.
    pub actor: Option<String>,
    /// About one request.
    pub dsr_id: Option<DsrId>,
    /// From this instant on (Unix ms).
    pub from: Option<i64>,
    /// Before this instant (Unix ms).
    pub to: Option<i64>,
    /// Where an earlier page ended.
    pub before: Option<String>,
    /// At most so many.
    pub limit: i64,
}

/// Some events, the newest first.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events.
    pub events: Vec<AuditEvent>,
    /// What the next page begins before, if there may be one.
    pub next: Option<String>,
    /// The page is shorter than it may be because the search stopped, not because there is nothing more.
    pub stopped: bool,
}

/// Where a controller's log has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// Whose.
    pub controller_id: ControllerId,
    /// How many events it has.
    pub events: i64,
    /// The last one's hash; empty without any.
    pub hash: String,
}

/// What came of looking at a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainCheck {
    /// How many events were looked at.
    pub checked: i64,
    /// The first one's place; what came before it was not looked at.
    pub first: i64,
    /// The place of the first event that does not hold.
    pub broken_at: Option<i64>,
}

/// A condition with its arguments.
struct Where {
    text: String,
    args: Vec<Arg>,
}

impl Where {
    fn and(&mut self, before: &str, arg: impl Into<Arg>, after: &str) {
        self.args.push(arg.into());
        let join = if self.text.is_empty() { "" } else { " AND " };
        let _infallible = write!(self.text, "{join}{before}${}{after}", self.args.len());
    }

    /// What the filter says of an event itself.
    fn of(filter: &EventFilter) -> Self {
        let mut all = Self { text: String::new(), args: Vec::new() };
        if let Some(kind) = &filter.kind {
            all.and("kind = ", kind, "");
        }
        if let Some(actor) = &filter.actor {
            all.and("actor = ", actor, "");
        }
        if let Some(id) = &filter.dsr_id {
            all.and("dsr_id = ", id.as_str(), "");
        }
        if filter.seen {
            all.text += if all.text.is_empty() { "" } else { " AND " };
            all.text += SEEN;
        }
        all
    }
}

/// The least id that an event of this instant can have.
fn least_id(ms: i64) -> EventId {
    EventId::from_parts(ms.clamp(0, (1 << 48) - 1) as u64, [0; 10])
}

impl Store {
    /// The newest events that a filter lets through.
    ///
    /// # Errors
    /// The database is away.
    pub async fn recent_events(&self, filter: &EventFilter) -> Result<EventPage, Error> {
        match filter.controllers.as_deref() {
            Some([]) => Ok(EventPage { events: Vec::new(), next: None, stopped: false }),
            Some([one]) => self.recent_of_one(one, filter).await,
            several => self.recent_of_several(several, filter).await,
        }
    }

    async fn recent_of_one(&self, id: &ControllerId, filter: &EventFilter) -> Result<EventPage, Error> {
        let head = self.audit_head(id).await?.0;
        let mut last = match filter.before.as_deref().map(str::parse::<i64>) {
            Some(Ok(before)) => head.min(before - 1),
            _ => head,
        };
        if let Some(to) = filter.to {
            last = last.min(self.seq_before(id, last, to).await?);
        }
        let floor = match filter.from {
            Some(from) => self.seq_before(id, last, from).await?,
            None => 0,
        };
        // The events of one request are found by their own index.
        let filtered = filter.kind.is_some() || filter.actor.is_some() || filter.seen;
        let first = if filtered && filter.dsr_id.is_none() { floor.max(last - WINDOW) } else { floor };
        let mut wanted = Where::of(filter);
        wanted.and("controller_id = ", id.as_str(), "");
        wanted.and("seq <= ", last, "");
        wanted.and("seq > ", first, "");
        wanted.args.push(filter.limit.into());
        let sql = format!(
            "-- recent_events_of_one\nSELECT * FROM events WHERE {} ORDER BY seq DESC LIMIT ${}",
            wanted.text,
            wanted.args.len()
        );
        let events = self.read_events(&sql, wanted.args).await?;
        let full = events.len() as i64 >= filter.limit;
        let next = match events.last() {
            Some(event) if full => (event.seq > 1).then_some(event.seq),
            _ => (first > floor).then_some(first + 1),
        };
        Ok(EventPage { events, next: next.map(|seq| seq.to_string()), stopped: !full && first > floor })
    }

    /// The place of the last event before an instant, among the first `last` ones: by halving, since a log is in the order of time.
    async fn seq_before(&self, id: &ControllerId, last: i64, ms: i64) -> Result<i64, Error> {
        let bound = least_id(ms);
        let (mut low, mut high) = (0, last);
        while low < high {
            let middle = low + (high - low + 1) / 2;
            let row = self
                .db
                .row(
                    "-- event_at\nSELECT id FROM events WHERE controller_id = $1 AND seq = $2",
                    args![id.as_str(), middle],
                )
                .await?
                .ok_or(Error::Inconsistent { table: "events", column: "seq" })?;
            if row.text("id")?.as_str() < bound.as_str() { low = middle } else { high = middle - 1 }
        }
        Ok(low)
    }

    async fn recent_of_several(
        &self,
        scope: Option<&[ControllerId]>,
        filter: &EventFilter,
    ) -> Result<EventPage, Error> {
        let mut before = match &filter.before {
            Some(id) => EventId::parse(id).map_or_else(|_| String::new(), |id| id.to_string()),
            // Greater than any.
            None => format!("evt_{}", "z".repeat(26)),
        };
        if let Some(to) = filter.to {
            before = before.min(least_id(to).to_string());
        }
        let floor = filter.from.map_or_else(String::new, |from| least_id(from).to_string());
        let narrow = scope.is_some() || filter.kind.is_some() || filter.actor.is_some();
        let mut stop = None;
        if narrow && !filter.seen && filter.dsr_id.is_none() {
            let row = self
                .db
                .row(
                    "-- event_window\nSELECT id FROM events WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET $2",
                    args![before.as_str(), WINDOW],
                )
                .await?;
            stop = row.map(|row| row.text("id")).transpose()?.filter(|id| *id > floor);
        }
        let mut wanted = Where::of(filter);
        wanted.and("id < ", before, "");
        wanted.and("id >= ", stop.clone().unwrap_or(floor), "");
        if let Some(scope) = scope {
            wanted.and("controller_id {in ", texts(scope.iter().map(ControllerId::as_str)), "}");
        }
        wanted.args.push(filter.limit.into());
        let sql = format!(
            "-- recent_events\nSELECT * FROM events WHERE {} ORDER BY id DESC LIMIT ${}",
            wanted.text,
            wanted.args.len()
        );
        let events = self.read_events(&sql, wanted.args).await?;
        let full = events.len() as i64 >= filter.limit;
        let next = if full { events.last().map(|event| event.id.clone()) } else { stop.clone() };
        Ok(EventPage { events, next, stopped: !full && stop.is_some() })
    }

    /// Where the logs of these controllers (none: of all) have come to, by id.
    ///
    /// # Errors
    /// The database is away.
    pub async fn audit_heads(&self, scope: Option<&[ControllerId]>) -> Result<Vec<AuditHead>, Error> {
        let rows = if let Some(scope) = scope {
            let sql =
                "-- audit_heads_of\nSELECT id, event_seq, event_hash FROM controllers WHERE id {in $1} ORDER BY id";
            self.db.rows(sql, args![texts(scope.iter().map(ControllerId::as_str))]).await?
        } else {
            let sql = "-- audit_heads_all\nSELECT id, event_seq, event_hash FROM controllers ORDER BY id";
            self.db.rows(sql, vec![]).await?
        };
        rows.iter()
            .map(|row| {
                Ok(AuditHead {
                    controller_id: ControllerId::parse(&row.text("id")?)
                        .map_err(|_| Error::Inconsistent { table: "controllers", column: "id" })?,
                    events: row.int("event_seq")?,
                    hash: row.text("event_hash")?,
                })
            })
            .collect()
    }

    /// Computes the hashes of a controller's last events again and compares them, their order and the end of the log.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a controller.
    pub async fn check_chain(&self, id: &ControllerId, most: i64) -> Result<ChainCheck, Error> {
        let (head, hash) = self.audit_head(id).await?;
        let first = (head - most).max(0) + 1;
        // With the one before, to which the first one must link.
        let mut after = (first - 2).max(0);
        let mut before: Option<String> = (after == 0 && first == 1).then(String::new);
        let mut check = ChainCheck { checked: 0, first, broken_at: None };
        while after < head {
            let page = self.events_after(id, after, 500.min(head - after)).await?;
            for event in &page {
                if event.seq != after + 1 || !holds(event, &event.hash, &event.prev_hash, before.as_deref()) {
                    check.broken_at = Some(event.seq.min(after + 1));
                    return Ok(check);
                }
                after = event.seq;
                before = Some(event.hash.clone());
                check.checked += i64::from(event.seq >= first);
            }
            if page.is_empty() {
                check.broken_at = Some(after + 1);
                return Ok(check);
            }
        }
        if before.is_some_and(|last| last != hash) {
            check.broken_at = Some(head);
        }
        Ok(check)
    }
}

impl Store {
    /// How the systems are called that events name by their ids, or by the ids of steps on them: those of these controllers.
    ///
    /// # Errors
    /// The database is away.
    pub async fn systems_named(
        &self,
        controllers: &BTreeSet<&str>,
        ids: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, String>, Error> {
        let some = |start: &str| -> Vec<&str> { ids.iter().copied().filter(|id| id.starts_with(start)).collect() };
        let whose = || texts(controllers.iter().copied());
        let mut names = BTreeMap::new();
        for (start, sql) in [
            ("sys_", "-- systems_named\nSELECT id, name FROM systems WHERE controller_id {in $1} AND id {in $2}"),
            (
                "stp_",
                "-- steps_named\nSELECT s.id, y.name FROM steps s JOIN systems y ON y.id = s.system_id WHERE s.controller_id {in $1} AND s.id {in $2}",
            ),
        ] {
            let wanted = some(start);
            if wanted.is_empty() || controllers.is_empty() {
                continue;
            }
            for row in self.db.rows(sql, args![whose(), texts(wanted)]).await? {
                names.insert(row.text("id")?, row.text("name")?);
            }
        }
        Ok(names)
    }
}

/// Whether an event has the hash of its content, and links to the one before.
pub(crate) fn holds(event: &impl serde::Serialize, hash: &str, prev_hash: &str, before: Option<&str>) -> bool {
    let Ok(mut body) = serde_json::to_value(event) else { return false };
    if let Some(members) = body.as_object_mut() {
        members.remove("hash");
    }
    let computed = crate::migrate::hex(digest(&SHA256, canonical_json(&body).as_bytes()).as_ref());
    computed == hash && before.is_none_or(|before| before == prev_hash)
}
