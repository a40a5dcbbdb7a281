//! An announcement is a message about no request: that emergency rights were taken up, or ended.
//!
//! It is begun in the transaction that records what it tells, so that one cannot be without the other, and it is sent as every message
//! is. What became of it at each route stands in the staff log.

use crate::db::{Tx, args};
use crate::{Error, Store};
use jiff::Timestamp;
use redress_domain::notice::NotifyRole;
use redress_domain::{MessageId, Personal, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Emergency {
    /// Somebody took up the emergency rights.
    #[serde(rename = "break_glass")]
    TakenUp {
        /// Until when they last (Unix ms).
        until: i64,
    },
    /// They hold no longer.
    #[serde(rename = "break_glass_ended")]
    Ended {
        /// What ended them.
        by: EndedBy,
    },
}

/// What ended emergency rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Their holder gave them back.
    Person,
    /// Their time ran out.
    Time,
    /// The session ended in which they were held.
    Session,
}

impl EndedBy {
    /// The spelling in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            EndedBy::Person => "person",
            EndedBy::Time => "time",
            EndedBy::Session => "session",
        }
    }
}

/// An announcement as it is sent.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// What it says.
    pub emergency: Emergency,
    /// Of whom.
    pub user: UserId,
    /// How to call them.
    pub name: Personal<String>,
}

/// What is kept of it: no name.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    emergency: Emergency,
    user: UserId,
}

const INCONSISTENT: Error = Error::Inconsistent { table: "messages", column: "announces" };

impl Store {
    /// Begins a message to each of the operator's routes of the role `operator`; without one, to all of the operator's. Returns their
    /// names.
    pub(crate) async fn announce(
        &self,
        tx: &mut Tx,
        user: &UserId,
        emergency: Emergency,
    ) -> Result<Vec<String>, Error> {
        let now = self.now_ms();
        let said = serde_json::to_string(&Kept { emergency, user: user.clone() }).map_err(|_| INCONSISTENT)?;
        let rows = tx
            .rows(
                "-- announced_to\nSELECT id, name, role FROM notify_routes WHERE deleted_at IS NULL AND controller_id IS NULL ORDER BY id",
                vec![],
            )
            .await?;
        let roles = rows.iter().map(|row| row.text("role")).collect::<Result<Vec<_>, _>>()?;
        let any = !roles.iter().any(|role| role == NotifyRole::Operator.as_str());
        let mut names = Vec::new();
        for (row, _) in rows.iter().zip(&roles).filter(|(_, role)| any || *role == NotifyRole::Operator.as_str()) {
            let (ms, bytes) = self.id_parts()?;
            tx.exec(
                "-- begin_announcement\nINSERT INTO messages (id, route_id, digest, open, notices, q, not_before, created_at, announces) VALUES ($1, $2, 0, 0, 0, 'wait', $3, $3, $4)",
                args![MessageId::from_parts(ms, bytes).as_str(), row.text("id")?, now, &said],
            )
            .await?;
            names.push(row.text("name")?);
        }
        Ok(names)
    }

    /// What a message announces; none if it tells of notices.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn announcement(&self, id: &MessageId) -> Result<Option<Announcement>, Error> {
        let row = self
            .db
            .row("-- announcement\nSELECT announces FROM messages WHERE id = $1", args![id.as_str()])
            .await?
            .ok_or(Error::NotFound)?;
        let Some(said) = row.opt_text("announces")? else { return Ok(None) };
        let Kept { emergency, user } = serde_json::from_str(&said).map_err(|_| INCONSISTENT)?;
        Ok(Some(Announcement { emergency, name: self.user(&user).await?.name, user }))
    }

    /// Records in the staff log what became of an announcement that is not tried again. Whoever calls has that log's lock.
    pub(crate) async fn record_announced(&self, tx: &mut Tx, id: &str, outcome: &str) -> Result<(), Error> {
        let row = tx
            .row(
                "-- announced\nSELECT m.announces, r.name FROM messages m JOIN notify_routes r ON r.id = m.route_id WHERE m.id = $1",
                args![id],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let Some(said) = row.opt_text("announces")? else { return Ok(()) };
        let Kept { emergency, user } = serde_json::from_str(&said).map_err(|_| INCONSISTENT)?;
        let of = match emergency {
            Emergency::TakenUp { .. } => "break_glass",
            Emergency::Ended { .. } => "break_glass_ended",
        };
        let (told, not_told) = if outcome == "sent" || outcome == "sent_in_part" {
            (vec![row.text("name")?], vec![])
        } else {
            (vec![], vec![row.text("name")?])
        };
        let data = json!({ "of": of, "message": id, "told": told, "not_told": not_told, "outcome": outcome });
        self.append_staff_event(tx, user.as_str(), "break_glass_announced", data).await
    }
}

impl Emergency {
    /// Until when the rights last, in words for programs.
    pub fn until(self) -> Option<String> {
        match self {
            Emergency::TakenUp { until } => Timestamp::from_millisecond(until).ok().map(|at| at.to_string()),
            Emergency::Ended { .. } => None,
        }
    }
}
