//! Breaking the glass is to take up emergency rights: for a short time, for a reason, before everybody's eyes.
//!
//! That it began and that it ended is told in the staff log, which keeps the reason, and in the log of each controller whose
//! requests can be seen by it, which tells no words; the operator's routes get a message of it. All of that is one transaction with
//! the taking itself: nobody has the rights untold. It ends by itself: the rights end at the instant, the rest is written by the next
//! sweep.

use crate::db::{Tx, args};
use crate::events::{Events, NewEvent};
use crate::messages::{Emergency, EndedBy};
use crate::people::read_user_id;
use crate::sessions::{Session, read_controllers};
use crate::{Error, Store};
use jiff::Timestamp;
use redress_domain::{ControllerId, Personal, SessionId, UserId};
use serde_json::{Value, json};

/// Emergency rights that are taken up now.
#[derive(Debug, Clone)]
pub struct Glass {
    /// In which session.
    pub session: SessionId,
    /// Who.
    pub user_id: UserId,
    /// How to call them.
    pub name: Personal<String>,
    /// Until when (Unix ms).
    pub until: i64,
    /// Why, in their words.
    pub reason: String,
    /// Whose requests they see; none: everybody's.
    pub controllers: Option<Vec<ControllerId>>,
}

impl Store {
    /// Takes the emergency rights up in a session; returns until when (Unix ms).
    ///
    /// # Errors
    /// [`Error::Conflict`] if they are taken up already, or the session has ended.
    pub async fn break_glass(&self, session: &Session, reason: &str, minutes: i64) -> Result<i64, Error> {
        // What ended by its time is told before it is overwritten.
        self.sweep_glass().await?;
        let now = self.now_ms();
        let until = now + minutes * 60_000;
        let mut tx = self.db.begin("break glass").await?;
        self.lock_staff(&mut tx).await?;
        let changed = tx
            .exec(
                "-- break_glass\nUPDATE sessions SET glass_until = $2, glass_reason = $3 WHERE id = $1 AND ended_at IS NULL AND glass_until IS NULL",
                args![session.id.as_str(), until, reason],
            )
            .await?;
        if changed == 0 {
            return Err(Error::Conflict("the emergency rights are taken up already; end them first".into()));
        }
        let routes = self.announce(&mut tx, &session.user_id, Emergency::TakenUp { until }).await?;
        let staff = json!({
            "user": session.user_id, "session": session.id, "until": written(until), "minutes": minutes,
            "reason": reason, "controllers": session.controllers, "routes": routes,
        });
        let told = json!({ "code": "emergency", "until": written(until) });
        let actor = session.user_id.as_str();
        self.tell_glass(&mut tx, actor, session.controllers.as_deref(), ("break_glass", staff, told)).await?;
        self.commit(tx).await?;
        Ok(until)
    }

    /// Ends them before their time.
    ///
    /// # Errors
    /// [`Error::Conflict`] if they are not taken up.
    pub async fn mend_glass(&self, session: &Session) -> Result<(), Error> {
        self.sweep_glass().await?;
        let Some(until) = session.glass_until else {
            return Err(Error::Conflict("the emergency rights are not taken up".into()));
        };
        let scope = session.controllers.as_deref();
        if self.end_glass(&session.id, &session.user_id, scope, until, EndedBy::Person).await? {
            Ok(())
        } else {
            Err(Error::Conflict("the emergency rights are not taken up".into()))
        }
    }

    /// Tells of those that ended by their time or with their session; returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sweep_glass(&self) -> Result<u64, Error> {
        let now = self.now_ms();
        let rows = self
            .db
            .rows(
                "-- glass_over\nSELECT s.id, s.user_id, s.glass_until, u.controllers FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.glass_until IS NOT NULL AND (s.glass_until <= $1 OR s.ended_at IS NOT NULL OR s.expires_at <= $1) LIMIT 100",
                args![now],
            )
            .await?;
        let mut told = 0;
        for row in &rows {
            let id = read_session_id(&row.text("id")?)?;
            let until = row.int("glass_until")?;
            let by = if until <= now { EndedBy::Time } else { EndedBy::Session };
            let scope = read_controllers(row.opt_text("controllers")?.as_deref())?;
            let user = read_user_id(row, "user_id")?;
            told += u64::from(self.end_glass(&id, &user, scope.as_deref(), until, by).await?);
        }
        Ok(told)
    }

    /// False if somebody else was faster.
    async fn end_glass(
        &self,
        id: &SessionId,
        user: &UserId,
        scope: Option<&[ControllerId]>,
        until: i64,
        by: EndedBy,
    ) -> Result<bool, Error> {
        let mut tx = self.db.begin("mend glass").await?;
        self.lock_staff(&mut tx).await?;
        let changed = tx
            .exec(
                "-- mend_glass\nUPDATE sessions SET glass_until = NULL, glass_reason = NULL WHERE id = $1 AND glass_until = $2",
                args![id.as_str(), until],
            )
            .await?;
        if changed == 0 {
            return Ok(false);
        }
        let routes = self.announce(&mut tx, user, Emergency::Ended { by }).await?;
        let staff = json!({ "user": user, "session": id, "by": by.as_str(), "routes": routes });
        let event = ("break_glass_ended", staff, json!({ "by": by.as_str() }));
        self.tell_glass(&mut tx, user.as_str(), scope, event).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// The staff log's event, and that of each controller in scope.
    async fn tell_glass(
        &self,
        tx: &mut Tx,
        actor: &str,
        scope: Option<&[ControllerId]>,
        (kind, staff, told): (&'static str, Value, Value),
    ) -> Result<(), Error> {
        self.append_staff_event(tx, actor, kind, staff).await?;
        let all = if let Some(scope) = scope {
            scope.to_vec()
        } else {
            let rows = tx.rows("-- every_controller\nSELECT id FROM controllers ORDER BY id", vec![]).await?;
            let read = |row: &crate::db::Row| {
                ControllerId::parse(&row.text("id")?)
                    .map_err(|_| Error::Inconsistent { table: "controllers", column: "id" })
            };
            rows.iter().map(read).collect::<Result<_, _>>()?
        };
        let mut events = Events::default();
        for id in &all {
            events.push(id, NewEvent::new(None, kind, told.clone()));
        }
        self.append_all(tx, actor, events).await.map(drop)
    }

    /// Whoever has emergency rights now.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn broken_glass(&self) -> Result<Vec<Glass>, Error> {
        let now = self.now_ms();
        let rows = self
            .db
            .rows(
                "-- broken_glass\nSELECT s.id, s.user_id, s.glass_until, s.glass_reason, u.sealed, u.controllers FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.glass_until > $1 AND s.ended_at IS NULL AND s.expires_at > $1 AND u.disabled_at IS NULL ORDER BY s.glass_until LIMIT 100",
                args![now],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let user_id = read_user_id(row, "user_id")?;
                Ok(Glass {
                    session: read_session_id(&row.text("id")?)?,
                    name: self.described(&user_id, &row.bytes("sealed")?)?.name.into(),
                    until: row.int("glass_until")?,
                    reason: row.opt_text("glass_reason")?.unwrap_or_default(),
                    controllers: read_controllers(row.opt_text("controllers")?.as_deref())?,
                    user_id,
                })
            })
            .collect()
    }
}

fn read_session_id(text: &str) -> Result<SessionId, Error> {
    SessionId::parse(text).map_err(|_| Error::Inconsistent { table: "sessions", column: "id" })
}

fn written(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |at| at.to_string())
}
