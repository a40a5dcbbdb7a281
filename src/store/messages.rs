//! A message carries one or more notices to one route, exactly once in our tables and at least once outside, always by the same id.
//!
//! People get few messages: what is told at once joins the message that waits already, and two such messages are some time
//! apart; what can wait joins the digest of the next working morning. Programs get their webhooks at once, with at most
//! [`WEBHOOK_NOTICES`] notices each. Leases, backoff and quarantine are as in `queue.rs`.

use crate::db::{Arg, Row, Tx, args};
use crate::routes::Route;
use crate::watch::{Home, Lookout, WatchPlace};
use crate::work::places;
use crate::{Error, Store};
use jiff::Timestamp;
use redress_domain::notice::{DueNotice, NoticeKind};
use redress_domain::step::DEATHS_MAX;
use redress_domain::{ControllerId, DsrId, MessageId, NoticeId, RouteId};
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

/// A message that is ours to send.
#[derive(Debug, Clone)]
pub struct MessageLease {
    /// Its id: the same at every attempt.
    pub id: MessageId,
    /// Whom it is for.
    pub route_id: RouteId,
    /// Whether it is a digest.
    pub digest: bool,
    /// Fences off whoever had the lease before.
    pub token: i64,
    /// Failed attempts so far.
    pub failures: u32,
    /// A bit for each address of the route that has it already.
    pub reached: u64,
    /// When it was begun (Unix ms).
    pub created_at: i64,
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

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageOutcome {
    /// It was taken; some addresses may have been refused for good.
    Sent {
        /// Not everybody could be reached.
        in_part: bool,
    },
    /// It is tried again.
    Later {
        /// Not before (Unix ms).
        not_before: i64,
        /// A bit for each address that has it already.
        reached: u64,
    },
    /// It is not tried again.
    GivenUp {
        /// Why: a word of ours.
        code: &'static str,
    },
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "messages", column };

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
                messages += self.join_message(tx, &route, true, morning, &later, now).await?;
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

    /// Leases the message that has waited longest, not for one of the `busy` routes. Without any it costs one query.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim_message(
        &self,
        owner: &str,
        busy: &[RouteId],
        lease_ms: i64,
    ) -> Result<Option<MessageLease>, Error> {
        let now = self.now_ms();
        let others = |first| match busy.len() {
            0 => String::new(),
            n => format!(" AND route_id NOT IN ({})", places(first, n)),
        };
        let busy_args = || busy.iter().map(|id| Arg::from(id.as_str()));
        let mut arguments = args![now];
        arguments.extend(busy_args());
        let peek = format!(
            "-- message_peek\nSELECT 1 AS due FROM messages WHERE q = 'wait' AND not_before <= $1{} LIMIT 1",
            others(2)
        );
        if self.db.row(&peek, arguments).await?.is_none() {
            return Ok(None);
        }
        let mut tx = self.db.begin("claim message").await?;
        let mut arguments = args![owner, lease_ms, now];
        arguments.extend(busy_args());
        let row = tx
            .row(
                &format!("-- claim_message\nWITH picked AS MATERIALIZED (SELECT id FROM messages WHERE q = 'wait' AND not_before <= $3{} ORDER BY not_before, id LIMIT 1 {{skip_locked}}) UPDATE messages SET q = 'run', open = 0, owner = $1, token = token + 1, attempts = attempts + 1, lease_until = {{now}} + $2 WHERE id IN (SELECT id FROM picked) RETURNING id, route_id, digest, token, attempts, failures, reached, created_at", others(4)),
                arguments,
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let lease = read_lease(&row)?;
        if !lease.digest && row.int("attempts")? == 1 {
            tx.exec(
                "-- route_told\nUPDATE notify_routes SET told_at = $2 WHERE id = $1",
                args![lease.route_id.as_str(), now],
            )
            .await?;
        }
        self.commit(tx).await?;
        Ok(Some(lease))
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

    /// Records what came of an attempt, if the lease still holds; false if it does not. A route that could not be reached
    /// keeps all its messages waiting, one that could gets them all.
    ///
    /// # Errors
    /// The database is away; the lease runs out and the message is sent again, by the same id.
    pub async fn finish_message(&self, lease: &MessageLease, outcome: &MessageOutcome) -> Result<bool, Error> {
        let now = self.now_ms();
        let (id, route) = (lease.id.as_str(), lease.route_id.as_str());
        let mut tx = self.db.begin("finish message").await?;
        let written = match outcome {
            MessageOutcome::Sent { in_part } => {
                let code = if *in_part { "sent_in_part" } else { "sent" };
                tx.exec(
                    "-- message_sent\nUPDATE messages SET q = NULL, outcome = $3, sent_at = $4, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, lease.token, code, now],
                )
                .await?
            }
            MessageOutcome::Later { not_before, reached } => {
                tx.exec(
                    "-- message_later\nUPDATE messages SET q = 'wait', failures = failures + 1, deaths = 0, not_before = $3, reached = $4, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, lease.token, *not_before, *reached as i64],
                )
                .await?
            }
            MessageOutcome::GivenUp { code } => {
                tx.exec(
                    "-- message_given_up\nUPDATE messages SET q = NULL, outcome = $3, lease_until = NULL WHERE id = $1 AND token = $2 AND q = 'run'",
                    args![id, lease.token, *code],
                )
                .await?
            }
        };
        if written == 0 {
            return Ok(false);
        }
        match outcome {
            MessageOutcome::Sent { .. } => {
                tx.exec(
                    "-- route_answers\nUPDATE messages SET not_before = $2 WHERE id IN (SELECT id FROM messages WHERE route_id = $1 AND q = 'wait' AND not_before > $2 AND open = 0 ORDER BY id {for_update})",
                    args![route, now],
                )
                .await?;
            }
            MessageOutcome::Later { not_before, .. } => {
                tx.exec(
                    "-- route_silent\nUPDATE messages SET not_before = $2 WHERE id IN (SELECT id FROM messages WHERE route_id = $1 AND q = 'wait' AND not_before < $2 ORDER BY id {for_update})",
                    args![route, *not_before],
                )
                .await?;
            }
            MessageOutcome::GivenUp { .. } => {}
        }
        self.commit(tx).await?;
        Ok(true)
    }

    /// Lengthens the leases on the messages that an owner is sending.
    ///
    /// # Errors
    /// The database is away.
    pub async fn renew_messages(&self, owner: &str, lease_ms: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin("renew messages").await?;
        let n = tx
            .exec(
                "-- renew_messages\nUPDATE messages SET lease_until = {now} + $1 WHERE id IN (SELECT id FROM messages WHERE q = 'run' AND owner = $2 ORDER BY id {for_update})",
                args![lease_ms, owner],
            )
            .await?;
        self.commit(tx).await?;
        Ok(n)
    }

    /// Gives back what an owner that ends is still sending: another one sends it, by the same id.
    ///
    /// # Errors
    /// The database is away; the leases run out.
    pub async fn hand_back_messages(&self, owner: &str) -> Result<u64, Error> {
        let mut tx = self.db.begin("hand back messages").await?;
        let n = tx
            .exec(
                "-- hand_back_messages\nUPDATE messages SET q = 'wait', token = token + 1, lease_until = NULL WHERE id IN (SELECT id FROM messages WHERE q = 'run' AND owner = $1 ORDER BY id {for_update})",
                args![owner],
            )
            .await?;
        self.commit(tx).await?;
        Ok(n)
    }

    /// Takes back messages whose sender died or lost touch; one over which three died is not tried again. Returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn expire_messages(&self) -> Result<u64, Error> {
        let due = self
            .db
            .row(
                "-- expire_messages_peek\nSELECT 1 AS due FROM messages WHERE q = 'run' AND lease_until < {now} LIMIT 1",
                vec![],
            )
            .await?;
        if due.is_none() {
            return Ok(0);
        }
        let mut tx = self.db.begin("expire messages").await?;
        let rows = tx
            .rows(
                "-- expire_messages\nUPDATE messages SET q = CASE WHEN deaths + 1 >= $1 THEN NULL ELSE 'wait' END, outcome = CASE WHEN deaths + 1 >= $1 THEN 'quarantined' ELSE outcome END, deaths = deaths + 1, token = token + 1, lease_until = NULL WHERE id IN (SELECT id FROM messages WHERE q = 'run' AND lease_until < {now} ORDER BY id {for_update}) RETURNING id, deaths",
                args![i64::from(DEATHS_MAX)],
            )
            .await?;
        self.commit(tx).await?;
        for row in &rows {
            let (id, deaths) = (row.text("id")?, row.int("deaths")?);
            tracing::warn!(message.id = id, deaths, "the lease on {id} ran out");
        }
        Ok(rows.len() as u64)
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

fn read_lease(row: &Row) -> Result<MessageLease, Error> {
    Ok(MessageLease {
        id: MessageId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?,
        route_id: RouteId::parse(&row.text("route_id")?).map_err(|_| INCONSISTENT("route_id"))?,
        digest: row.int("digest")? != 0,
        token: row.int("token")?,
        failures: row.int("failures")?.clamp(0, 1_000) as u32,
        reached: row.int("reached")? as u64,
        created_at: row.int("created_at")?,
    })
}

impl MessageLease {
    /// When it was begun: what its first lines are dated by.
    pub fn begun_at(&self) -> Timestamp {
        crate::watch::instant(self.created_at)
    }
}
