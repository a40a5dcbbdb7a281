//! People as administrators see them: who signed in here, what they may do, and what they are signed in with.
//!
//! Every change is one transaction with its event in the staff log, and takes that log's lock first: of two administrators who
//! take each other's role away at the same time, the second is refused.

use crate::db::{Row, Tx, args};
use crate::sessions::{Described, read_controllers, read_roles, user_place, written_controllers, written_roles};
use crate::{Error, Store};
use redress_domain::{ControllerId, Personal, Role, Roles, SessionId, UserId};
use serde_json::json;
use std::collections::BTreeMap;

/// Somebody who signed in once.
#[derive(Debug, Clone)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Who vouches for them: their provider's issuer, or `local`.
    pub issuer: String,
    /// How to call them.
    pub name: Personal<String>,
    /// Their address, if it is known.
    pub email: Option<Personal<String>>,
    /// What they are here for.
    pub roles: Roles,
    /// Whose requests they see; none: everybody's.
    pub controllers: Option<Vec<ControllerId>>,
    /// Whether an administrator gave the roles; else the provider's groups did.
    pub given: bool,
    /// When they signed in first (Unix ms).
    pub created_at: i64,
    /// When they signed in last (Unix ms).
    pub seen_at: i64,
    /// Since when they may not sign in (Unix ms).
    pub disabled_at: Option<i64>,
}

/// What somebody may do from now on.
#[derive(Debug, Clone)]
pub struct UserChange {
    /// Their roles, given by hand; none: those of their provider's groups, from their next sign-in on.
    pub roles: Option<Roles>,
    /// Whose requests they see; none: everybody's.
    pub controllers: Option<Vec<ControllerId>>,
    /// Whether they may not sign in.
    pub disabled: bool,
}

/// A session as it is listed.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// Since when (Unix ms).
    pub created_at: i64,
    /// When it was used last, to the minute (Unix ms).
    pub seen_at: i64,
    /// When it ends whatever happens (Unix ms).
    pub expires_at: i64,
    /// Until when the emergency rights are taken up in it (Unix ms).
    pub glass_until: Option<i64>,
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "users", column };
const COLUMNS: &str = "id, issuer, sealed, roles, controllers, given, created_at, seen_at, disabled_at";

pub(crate) fn read_user_id(row: &Row, column: &'static str) -> Result<UserId, Error> {
    UserId::parse(&row.text(column)?).map_err(|_| INCONSISTENT(column))
}

impl Store {
    /// Those who signed in once, in the order of their ids, after one of them.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn users(&self, after: Option<&UserId>, limit: i64) -> Result<Vec<User>, Error> {
        let rows = self
            .db
            .rows(
                &format!("-- users\nSELECT {COLUMNS} FROM users WHERE id > $1 ORDER BY id LIMIT $2"),
                args![after.map_or("", UserId::as_str), limit],
            )
            .await?;
        rows.iter().map(|row| self.read_user(row)).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn user(&self, id: &UserId) -> Result<User, Error> {
        let row = self
            .db
            .row(&format!("-- user\nSELECT {COLUMNS} FROM users WHERE id = $1"), args![id.as_str()])
            .await?
            .ok_or(Error::NotFound)?;
        self.read_user(&row)
    }

    /// How to call these people; ids of anything else are left out.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn names_of(&self, ids: &[&str]) -> Result<BTreeMap<String, Personal<String>>, Error> {
        let wanted: Vec<&str> = ids.iter().copied().filter(|id| UserId::parse(id).is_ok()).collect();
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let rows = self
            .db
            .rows(
                &format!("-- names_of\nSELECT {COLUMNS} FROM users WHERE id {{in $1}}"),
                args![crate::db::texts(wanted)],
            )
            .await?;
        rows.iter().map(|row| self.read_user(row).map(|user| (user.id.to_string(), user.name))).collect()
    }

    fn read_user(&self, row: &Row) -> Result<User, Error> {
        let id = read_user_id(row, "id")?;
        let described = self.described(&id, &row.bytes("sealed")?)?;
        Ok(User {
            issuer: row.text("issuer")?,
            name: described.name.into(),
            email: described.email.map(Personal::from),
            roles: read_roles(&row.text("roles")?)?,
            controllers: read_controllers(row.opt_text("controllers")?.as_deref())?,
            given: row.int("given")? == 1,
            created_at: row.int("created_at")?,
            seen_at: row.int("seen_at")?,
            disabled_at: row.opt_int("disabled_at")?,
            id,
        })
    }

    pub(crate) fn described(&self, id: &UserId, sealed: &[u8]) -> Result<Described, Error> {
        let clear = self.master.open(&user_place(id.as_str()), sealed)?;
        serde_json::from_slice(&clear).map_err(|_| INCONSISTENT("sealed"))
    }

    /// Says what somebody may do from now on; it holds at their next call.
    ///
    /// Whoever is disabled, or returns to the roles of their groups, is signed out everywhere: those roles are known only when
    /// they sign in again, and until then they have none.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such person; [`Error::Conflict`] if nobody would be left who administers people.
    pub async fn change_user(&self, id: &UserId, change: &UserChange, actor: &str) -> Result<(), Error> {
        let mut tx = self.db.begin("change user").await?;
        self.lock_staff(&mut tx).await?;
        let row = tx
            .row(
                "-- user_changing\nSELECT roles, disabled_at FROM users WHERE id = $1 {for_update}",
                args![id.as_str()],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let was_disabled = row.opt_int("disabled_at")?;
        let had = read_roles(&row.text("roles")?)?;
        let roles = change.roles.clone().unwrap_or_default();
        let stays = roles.iter().any(|role| role == Role::Admin) && change.controllers.is_none() && !change.disabled;
        if had.iter().any(|role| role == Role::Admin) && !stays && !another_admin(&mut tx, id).await? {
            return Err(Error::Conflict(
                "nobody would be left who administers people; give somebody else the role admin first".into(),
            ));
        }
        let now = self.now_ms();
        let disabled_at = change.disabled.then(|| was_disabled.unwrap_or(now));
        tx.exec(
            "-- change_user\nUPDATE users SET roles = $2, controllers = $3, given = $4, disabled_at = $5 WHERE id = $1",
            args![
                id.as_str(),
                written_roles(&roles),
                written_controllers(change.controllers.as_deref()),
                change.roles.is_some(),
                disabled_at
            ],
        )
        .await?;
        let ended = if change.disabled || change.roles.is_none() { end_all(&mut tx, id, now).await? } else { 0 };
        let names = |roles: &Roles| roles.iter().map(Role::as_str).collect::<Vec<_>>();
        let data = json!({
            "user": id,
            "roles": change.roles.as_ref().map(names),
            "roles_before": names(&had),
            "controllers": change.controllers,
            "disabled": change.disabled,
            "sessions_ended": ended,
        });
        self.append_staff_event(&mut tx, actor, "user_changed", data).await?;
        self.commit(tx).await
    }

    /// The sessions that hold: of one person or of everybody, the one used last first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sessions(&self, of: Option<&UserId>, limit: i64) -> Result<Vec<SessionRow>, Error> {
        let now = self.now_ms();
        let rows = self
            .db
            .rows(
                "-- sessions\nSELECT id, user_id, created_at, seen_at, expires_at, glass_until FROM sessions WHERE ended_at IS NULL AND expires_at > $1 AND seen_at + idle_ms > $1 AND (user_id = $2 OR $2 = '') ORDER BY seen_at DESC, id DESC LIMIT $3",
                args![now, of.map_or("", UserId::as_str), limit],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(SessionRow {
                    id: SessionId::parse(&row.text("id")?)
                        .map_err(|_| Error::Inconsistent { table: "sessions", column: "id" })?,
                    user_id: read_user_id(row, "user_id")?,
                    created_at: row.int("created_at")?,
                    seen_at: row.int("seen_at")?,
                    expires_at: row.int("expires_at")?,
                    glass_until: row.opt_int("glass_until")?.filter(|until| *until > now),
                })
            })
            .collect()
    }

    /// Ends a session at once, with an event: anybody's, or only if it is of this person.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such session, it has ended, or it is somebody else's.
    pub async fn revoke_session(&self, id: &SessionId, of: Option<&UserId>, actor: &str) -> Result<(), Error> {
        let mut tx = self.db.begin("revoke session").await?;
        self.lock_staff(&mut tx).await?;
        let row = tx
            .row(
                "-- revoke_session\nUPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL AND (user_id = $3 OR $3 = '') RETURNING user_id",
                args![id.as_str(), self.now_ms(), of.map_or("", UserId::as_str)],
            )
            .await?
            .ok_or(Error::NotFound)?;
        let data = json!({ "session": id, "user": row.text("user_id")? });
        self.append_staff_event(&mut tx, actor, "session_ended", data).await?;
        self.commit(tx).await
    }

    /// Signs somebody out everywhere; returns how many sessions ended.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such person.
    pub async fn sign_out_everywhere(&self, id: &UserId, actor: &str) -> Result<u64, Error> {
        let mut tx = self.db.begin("sign out everywhere").await?;
        self.lock_staff(&mut tx).await?;
        if tx.row("-- user_known\nSELECT id FROM users WHERE id = $1", args![id.as_str()]).await?.is_none() {
            return Err(Error::NotFound);
        }
        let ended = end_all(&mut tx, id, self.now_ms()).await?;
        self.append_staff_event(&mut tx, actor, "signed_out_everywhere", json!({ "user": id, "sessions": ended }))
            .await?;
        self.commit(tx).await?;
        Ok(ended)
    }
}

async fn end_all(tx: &mut Tx, id: &UserId, now: i64) -> Result<u64, Error> {
    tx.exec(
        "-- end_sessions\nUPDATE sessions SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL",
        args![id.as_str(), now],
    )
    .await
}

/// Whether somebody else administers people: with the role, for every controller, and not disabled.
async fn another_admin(tx: &mut Tx, id: &UserId) -> Result<bool, Error> {
    let rows = tx
        .rows(
            "-- other_admins\nSELECT roles FROM users WHERE id <> $1 AND disabled_at IS NULL AND controllers IS NULL AND roles LIKE '%\"admin\"%'",
            args![id.as_str()],
        )
        .await?;
    Ok(!rows.is_empty())
}
