//! A message carries one or more notices to one route, exactly once in our tables and at least once outside, always by the same id.
//!
//! People get few messages: what is told at once joins the message that waits already, and two such messages are some time
//! apart; what can wait joins the digest of the next working morning. Programs get their webhooks at once, with at most
//! [`WEBHOOK_NOTICES`] notices each. Leases, backoff and quarantine are as in `queue.rs`.

mod announcing;
mod sending;

pub use announcing::{Announcement, Emergency, EndedBy};
pub use sending::{MessageLease, MessageOutcome};

use crate::db::{Row, Tx, args};
use crate::routes::Route;
use crate::watch::{Home, Lookout, WatchPlace};
use crate::{Error, Store};
use redress_domain::notice::{DueNotice, NoticeKind};
use redress_domain::{ControllerId, DsrId, MessageId, NoticeId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Most notices in one webhook.
pub const WEBHOOK_NOTICES: usize = 100;

/// A new notice that is to be told.
#[derive(Debug)]
pub(crate) struct Tell {
    pub(crate) id: NoticeId,
    pub(crate) controller_id: ControllerId,
    pub(crate) notice: DueNotice,
}

/// One notice as a message says it.
#[derive(Debug, Clone)]
pub struct ToldNotice {
    /// Its id.
    pub id: NoticeId,
    /// Which request.
    pub dsr_id: DsrId,
    /// Name of its controller.
    pub controller: String,
    /// That one's time zone.
    pub timezone: String,
    /// What it says.
    pub kind: NoticeKind,
    /// When its time came (Unix ms).
    pub due_at: i64,
    /// When the watch saw it (Unix ms).
    pub noticed_at: i64,
    /// What was true then: type, regulation, dates, band, system.
    pub data: Value,
    /// Whether the request has ended since.
    pub closed: bool,
}

/// What a message says.
#[derive(Debug, Clone)]
pub struct MessageContents {
    /// The gravest of its notices, at most as many as were asked for.
    pub notices: Vec<ToldNotice>,
    /// How many notices of each kind it has in all, the gravest kind first.
    pub kinds: Vec<(NoticeKind, i64)>,
    /// How many controllers they are about.
    pub controllers: i64,
}

/// The kinds from the gravest to the least, as an SQL expression.
fn gravity() -> String {
    const ORDER: [NoticeKind; 9] = [
        NoticeKind::Overdue,
        NoticeKind::Critical,
        NoticeKind::NeedsAttention,
        NoticeKind::ConnectorSilent,
        NoticeKind::ForecastLate,
        NoticeKind::AtRisk,
        NoticeKind::ExtensionDecision,
        NoticeKind::AcknowledgementDue,
        NoticeKind::AwaitingController,
    ];
    let whens: Vec<String> = ORDER.iter().enumerate().map(|(i, kind)| format!("WHEN '{kind}' THEN {i}")).collect();
    format!("CASE n.kind {} ELSE 99 END", whens.join(" "))
}

impl Route {
    fn hears(&self, tell: &Tell, controller: &str) -> bool {
        let theirs = match (&self.controller_id, &self.controllers) {
            (Some(owner), _) => *owner == tell.controller_id,
            (None, Some(names)) => names.iter().any(|name| name == controller),
            (None, None) => true,
        };
        let wanted = match &self.kinds {
            Some(kinds) => kinds.contains(&tell.notice.kind),
            None => self.role.hears(&tell.notice),
        };
        theirs && wanted
    }
}

impl Store {
    /// Puts these notices into messages, by route; returns how many messages got some.
    pub(crate) async fn queue_messages(
        &self,
        tx: &mut Tx,
        told: &[Tell],
        homes: &BTreeMap<String, Home>,
        lookout: &dyn Lookout,
        apart_ms: i64,
        now: i64,
    ) -> Result<usize, Error> {
        let about: BTreeSet<&ControllerId> = told.iter().map(|tell| &tell.controller_id).collect();
        if about.is_empty() {
            return Ok(0);
        }
        let home = |id: &ControllerId| homes.get(id.as_str());
        let mut messages = 0;
        // In the order of their ids, so that two sweeps never wait for each other.
        for route in self.routes_about(tx, &about).await? {
            let heard = told.iter().filter(|t| route.hears(t, home(&t.controller_id).map_or("", |h| h.name.as_str())));
            let (at_once, later): (Vec<&Tell>, Vec<&Tell>) =
                heard.partition(|tell| route.delivery.is_at_once(tell.notice.kind));
            if !at_once.is_empty() && route.channel.is_for_people() {
                let not_before = route.told_at.map_or(now, |at| now.max(at + apart_ms));
                messages += self.join_message(tx, &route, false, not_before, &at_once, now).await?;
            } else {
                for chunk in at_once.chunks(WEBHOOK_NOTICES) {
                    messages += self.insert_message(tx, &route, chunk, now).await?;
                }
            }
            if !later.is_empty() {
                let theirs = route.controller_id.as_ref().and_then(home);
                let place = WatchPlace {
                    country: theirs.and_then(|home| home.place.country.clone()),
                    timezone: route.timezone.clone(),
                    terms: theirs.and_then(|home| home.place.terms.clone()),
                };
                let morning = lookout.next_morning(&place, crate::watch::instant(now)).as_millisecond();
                let most = if route.channel.is_for_people() { later.len() } else { WEBHOOK_NOTICES };
                for chunk in later.chunks(most) {
                    messages += self.join_message(tx, &route, true, morning, chunk, now).await?;
                }
            }
        }
        Ok(messages)
    }

    /// Adds notices to the message of a route that is still open, or begins one.
    async fn join_message(
        &self,
        tx: &mut Tx,
        route: &Route,
        digest: bool,
        not_before: i64,
        told: &[&Tell],
        now: i64,
    ) -> Result<usize, Error> {
        let (ms, bytes) = self.id_parts()?;
        let row = tx
            .row(
                "-- join_message\nINSERT INTO messages (id, route_id, digest, open, notices, q, not_before, created_at) VALUES ($1, $2, $3, 1, $4, 'wait', $5, $6) ON CONFLICT (route_id, digest) WHERE open = 1 DO UPDATE SET notices = messages.notices + excluded.notices RETURNING id, notices",
                args![MessageId::from_parts(ms, bytes).as_str(), route.id.as_str(), digest, told.len() as i64, not_before, now],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let id = row.text("id")?;
        self.insert_message_notices(tx, &id, told).await?;
        // A program is not sent a digest without end.
        if !route.channel.is_for_people() && row.int("notices")? >= WEBHOOK_NOTICES as i64 {
            tx.exec("-- message_full\nUPDATE messages SET open = 0 WHERE id = $1", args![&id]).await?;
        }
        Ok(1)
    }

    async fn insert_message(&self, tx: &mut Tx, route: &Route, told: &[&Tell], now: i64) -> Result<usize, Error> {
        let (ms, bytes) = self.id_parts()?;
        let id = MessageId::from_parts(ms, bytes);
        tx.exec(
            "-- insert_message\nINSERT INTO messages (id, route_id, digest, open, notices, q, not_before, created_at) VALUES ($1, $2, 0, 0, $3, 'wait', $4, $4)",
            args![id.as_str(), route.id.as_str(), told.len() as i64, now],
        )
        .await?;
        self.insert_message_notices(tx, id.as_str(), told).await?;
        Ok(1)
    }

    async fn insert_message_notices(&self, tx: &mut Tx, message: &str, told: &[&Tell]) -> Result<(), Error> {
        for chunk in told.chunks(1_000) {
            let (mut values, mut arguments) = (Vec::new(), args![message]);
            for tell in chunk {
                arguments.push(tell.id.as_str().into());
                values.push(format!("($1, ${})", arguments.len()));
            }
            tx.exec(
                &format!(
                    "-- insert_message_notices\nINSERT INTO message_notices (message_id, notice_id) VALUES {}",
                    values.join(", ")
                ),
                arguments,
            )
            .await?;
        }
        Ok(())
    }

    /// What a message says: its gravest notices up to a limit, and how many it has.
    ///
    /// # Errors
    /// The database is away.
    pub async fn message_contents(&self, id: &MessageId, limit: i64) -> Result<MessageContents, Error> {
        let gravity = gravity();
        let rows = self
            .db
            .rows(
                &format!("-- message_notices\nSELECT n.id, n.dsr_id, n.kind, n.due_at, n.noticed_at, n.data, c.name AS controller, c.timezone, d.closed_at FROM message_notices m JOIN notices n ON n.id = m.notice_id JOIN controllers c ON c.id = n.controller_id JOIN dsrs d ON d.id = n.dsr_id WHERE m.message_id = $1 ORDER BY {gravity}, n.due_at, n.id LIMIT $2"),
                args![id.as_str(), limit],
            )
            .await?;
        let inconsistent = |column| Error::Inconsistent { table: "notices", column };
        let kind = |row: &Row| NoticeKind::parse(&row.text("kind")?).ok_or(inconsistent("kind"));
        let mut notices = Vec::with_capacity(rows.len());
        for row in &rows {
            notices.push(ToldNotice {
                id: NoticeId::parse(&row.text("id")?).map_err(|_| inconsistent("id"))?,
                dsr_id: DsrId::parse(&row.text("dsr_id")?).map_err(|_| inconsistent("dsr_id"))?,
                controller: row.text("controller")?,
                timezone: row.text("timezone")?,
                kind: kind(row)?,
                due_at: row.int("due_at")?,
                noticed_at: row.int("noticed_at")?,
                data: serde_json::from_str(&row.text("data")?).map_err(|_| inconsistent("data"))?,
                closed: row.opt_int("closed_at")?.is_some(),
            });
        }
        let kinds = self
            .db
            .rows(
                &format!("-- message_kinds\nSELECT n.kind, COUNT(*) AS n FROM message_notices m JOIN notices n ON n.id = m.notice_id WHERE m.message_id = $1 GROUP BY n.kind ORDER BY {gravity}"),
                args![id.as_str()],
            )
            .await?;
        let kinds = kinds.iter().map(|row| Ok((kind(row)?, row.int("n")?))).collect::<Result<_, Error>>()?;
        let controllers = self
            .db
            .row(
                "-- message_controllers\nSELECT COUNT(DISTINCT n.controller_id) AS n FROM message_notices m JOIN notices n ON n.id = m.notice_id WHERE m.message_id = $1",
                args![id.as_str()],
            )
            .await?;
        Ok(MessageContents { notices, kinds, controllers: controllers.map_or(Ok(0), |row| row.int("n"))? })
    }

    /// How many messages wait and are being sent, and how many could not be sent, by reason: for metrics.
    ///
    /// # Errors
    /// The database is away.
    pub async fn message_counts(&self) -> Result<Vec<(String, i64)>, Error> {
        let rows = self
            .db
            .rows(
                "-- message_counts\nSELECT 'wait' AS name, COUNT(*) AS n FROM messages WHERE q = 'wait' UNION ALL SELECT 'run' AS name, COUNT(*) AS n FROM messages WHERE q = 'run' UNION ALL SELECT outcome AS name, COUNT(*) AS n FROM messages WHERE outcome <> 'sent' GROUP BY outcome",
                vec![],
            )
            .await?;
        rows.iter().map(|row| Ok((row.text("name")?, row.int("n")?))).collect()
    }

    /// Which routes did not get messages since an instant (Unix ms), why, and how many: for people who mend them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn messages_lost(&self, since: i64) -> Result<Vec<(String, String, i64)>, Error> {
        let rows = self
            .db
            .rows(
                "-- messages_lost\nSELECT r.name, m.outcome, COUNT(*) AS n FROM messages m JOIN notify_routes r ON r.id = m.route_id WHERE m.outcome <> 'sent' AND m.outcome <> 'route_removed' AND m.created_at >= $1 GROUP BY r.name, m.outcome ORDER BY r.name, m.outcome",
                args![since],
            )
            .await?;
        rows.iter().map(|row| Ok((row.text("name")?, row.text("outcome")?, row.int("n")?))).collect()
    }
}
