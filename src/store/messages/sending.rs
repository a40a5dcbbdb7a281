//! Sending a message is work on a lease, as a step is: whoever lost it records nothing, and three deaths put it aside.

use crate::db::{Arg, Row, args};
use crate::work::places;
use crate::{Error, Store};
use jiff::Timestamp;
use redress_domain::step::DEATHS_MAX;
use redress_domain::{MessageId, RouteId};

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
    /// Whether it is an announcement, and not about notices.
    pub announces: bool,
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

impl Store {
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
                &format!("-- claim_message\nWITH picked AS MATERIALIZED (SELECT id FROM messages WHERE q = 'wait' AND not_before <= $3{} ORDER BY not_before, id LIMIT 1 {{skip_locked}}) UPDATE messages SET q = 'run', open = 0, owner = $1, token = token + 1, attempts = attempts + 1, lease_until = {{now}} + $2 WHERE id IN (SELECT id FROM picked) RETURNING id, route_id, digest, token, attempts, failures, reached, created_at, CAST(CASE WHEN announces IS NULL THEN 0 ELSE 1 END AS BIGINT) AS announcing", others(4)),
                arguments,
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let lease = read_lease(&row)?;
        if !lease.digest && !lease.announces && row.int("attempts")? == 1 {
            tx.exec(
                "-- route_told\nUPDATE notify_routes SET told_at = $2 WHERE id = $1",
                args![lease.route_id.as_str(), now],
            )
            .await?;
        }
        self.commit(tx).await?;
        Ok(Some(lease))
    }

    /// Records what came of an attempt, if the lease still holds; false if it does not. A route that could not be reached
    /// keeps all its notices waiting, one that could gets them all; an announcement is tried in its own time.
    ///
    /// # Errors
    /// The database is away; the lease runs out and the message is sent again, by the same id.
    pub async fn finish_message(&self, lease: &MessageLease, outcome: &MessageOutcome) -> Result<bool, Error> {
        let now = self.now_ms();
        let (id, route) = (lease.id.as_str(), lease.route_id.as_str());
        let mut tx = self.db.begin("finish message").await?;
        if lease.announces {
            self.lock_staff(&mut tx).await?;
        }
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
                    "-- route_silent\nUPDATE messages SET not_before = $2 WHERE id IN (SELECT id FROM messages WHERE route_id = $1 AND q = 'wait' AND not_before < $2 AND announces IS NULL ORDER BY id {for_update})",
                    args![route, *not_before],
                )
                .await?;
            }
            MessageOutcome::GivenUp { .. } => {}
        }
        if lease.announces {
            match outcome {
                MessageOutcome::Sent { in_part: false } => self.record_announced(&mut tx, id, "sent").await?,
                MessageOutcome::Sent { in_part: true } => self.record_announced(&mut tx, id, "sent_in_part").await?,
                MessageOutcome::GivenUp { code } => self.record_announced(&mut tx, id, code).await?,
                MessageOutcome::Later { .. } => {}
            }
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
        self.lock_staff(&mut tx).await?;
        let rows = tx
            .rows(
                "-- expire_messages\nUPDATE messages SET q = CASE WHEN deaths + 1 >= $1 THEN NULL ELSE 'wait' END, outcome = CASE WHEN deaths + 1 >= $1 THEN 'quarantined' ELSE outcome END, deaths = deaths + 1, token = token + 1, lease_until = NULL WHERE id IN (SELECT id FROM messages WHERE q = 'run' AND lease_until < {now} ORDER BY id {for_update}) RETURNING id, deaths",
                args![i64::from(DEATHS_MAX)],
            )
            .await?;
        for row in &rows {
            if row.int("deaths")? >= i64::from(DEATHS_MAX) {
                self.record_announced(&mut tx, &row.text("id")?, "quarantined").await?;
            }
        }
        self.commit(tx).await?;
        for row in &rows {
            let (id, deaths) = (row.text("id")?, row.int("deaths")?);
            tracing::warn!(message.id = id, deaths, "the lease on {id} ran out");
        }
        Ok(rows.len() as u64)
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
        announces: row.int("announcing")? != 0,
    })
}

impl MessageLease {
    /// When it was begun: what its first lines are dated by.
    pub fn begun_at(&self) -> Timestamp {
        crate::watch::instant(self.created_at)
    }
}
