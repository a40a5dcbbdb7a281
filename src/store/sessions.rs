//! A session is a browser of somebody who signed in; it is looked up at every call, so that ending it, or taking a role away,
//! holds at once.
//!
//! The cookie's text is `rs_<26 characters of its id>_<43 characters of secret>`; of the secret (256 random bits) only the SHA-256 is
//! kept.

use crate::db::{Row, args};
use crate::sealed::{place, random};
use crate::{Error, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redress_domain::{ControllerId, Personal, Role, Roles, SessionId, UserId};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Without a call for this long a session is over, unless it was begun with another time.
const IDLE: Duration = Duration::from_hours(8);
/// `seen_at` is written this often at most (ms).
pub(crate) const SEEN_MS: i64 = 60_000;

/// How long a session may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// From its beginning, whatever happens.
    pub lasts: Duration,
    /// Without a call.
    pub idle: Duration,
}

impl From<Duration> for Life {
    fn from(lasts: Duration) -> Self {
        Self { lasts, idle: IDLE }
    }
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Session {
    /// Which session.
    pub id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// Their name, as their provider gave it.
    pub name: Personal<String>,
    /// What they are here for; with the emergency rights while these are taken up.
    pub roles: Roles,
    /// Whose requests they see; none: everybody's.
    pub controllers: Option<Vec<ControllerId>>,
    /// Until when the emergency rights are taken up (Unix ms).
    pub glass_until: Option<i64>,
    /// When it ends whatever happens (Unix ms).
    pub expires_at: i64,
}

/// Somebody as their provider, or the operator, describes them.
#[derive(Debug, Clone)]
pub struct Identified {
    /// Who vouches for them: the provider's issuer, or `local`.
    pub issuer: String,
    /// Who they are there; never shown.
    pub subject: Personal<String>,
    /// How to call them.
    pub name: Personal<String>,
    /// Their address, if it is known.
    pub email: Option<Personal<String>>,
    /// What they may be.
    pub roles: Roles,
    /// Whose requests they may see; none: everybody's.
    pub controllers: Option<Vec<ControllerId>>,
}

/// What is sealed of somebody.
#[derive(Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) email: Option<String>,
}

const INCONSISTENT: fn(&'static str) -> Error = |column| Error::Inconsistent { table: "users", column };

pub(crate) fn user_place(id: &str) -> Vec<u8> {
    place(&[id, "user"])
}

/// Roles as they are stored.
pub(crate) fn read_roles(text: &str) -> Result<Roles, Error> {
    let roles: Vec<Role> = serde_json::from_str(text).map_err(|_| INCONSISTENT("roles"))?;
    Ok(Roles::new(roles))
}

/// Controllers as they are stored.
pub(crate) fn read_controllers(text: Option<&str>) -> Result<Option<Vec<ControllerId>>, Error> {
    text.map(|text| serde_json::from_str(text).map_err(|_| INCONSISTENT("controllers"))).transpose()
}

pub(crate) fn written_roles(roles: &Roles) -> String {
    let names: Vec<&str> = roles.iter().map(Role::as_str).collect();
    serde_json::json!(names).to_string()
}

pub(crate) fn written_controllers(controllers: Option<&[ControllerId]>) -> Option<String> {
    controllers.map(|all| serde_json::json!(all).to_string())
}

pub(crate) fn ms_of(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Whether this is the secret of which the hash was kept. Both sides are hashes; the comparison does not tell where they differ.
pub(crate) fn is_secret_of(kept: &[u8], secret: &str) -> bool {
    let hash = digest(&SHA256, secret.as_bytes());
    let differing = kept.iter().zip(hash.as_ref()).fold(0_u8, |acc, (a, b)| acc | (a ^ b));
    kept.len() == hash.as_ref().len() && differing == 0
}

impl Store {
    /// Keeps somebody who was identified, and begins a session; its text is told this once.
    ///
    /// Roles that an administrator gave are kept; without, those of the provider hold. Who is disabled gets [`Error::Conflict`].
    ///
    /// # Errors
    /// The database is away, or they are disabled.
    pub async fn sign_in(&self, who: &Identified, life: impl Into<Life>) -> Result<(UserId, SessionId, String), Error> {
        let life = life.into();
        let subject = crate::migrate::hex(digest(&SHA256, who.subject.expose().as_bytes()).as_ref());
        let now = self.now_ms();
        let mut tx = self.db.begin("sign in").await?;
        let known = tx
            .row(
                "-- known_user\nSELECT id, given, disabled_at FROM users WHERE issuer = $1 AND subject = $2 {for_update}",
                args![who.issuer.as_str(), subject.as_str()],
            )
            .await?;
        if let Some(row) = &known
            && row.opt_int("disabled_at")?.is_some()
        {
            return Err(Error::Conflict("this person's access was taken away by an administrator".into()));
        }
        let (ms, bytes) = self.id_parts()?;
        let (user_id, given) = match &known {
            Some(row) => (UserId::parse(&row.text("id")?).map_err(|_| INCONSISTENT("id"))?, row.int("given")? == 1),
            None => (UserId::from_parts(ms, bytes), false),
        };
        let described = Described {
            name: who.name.expose().clone(),
            email: who.email.as_ref().map(|email| email.expose().clone()),
        };
        let clear = serde_json::to_vec(&described).map_err(|_| INCONSISTENT("sealed"))?;
        let sealed = self.master.seal(&user_place(user_id.as_str()), &clear)?;
        tx.exec(
            "-- keep_user\nINSERT INTO users (id, issuer, subject, sealed, roles, controllers, created_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, seen_at = excluded.seen_at",
            args![
                user_id.as_str(),
                who.issuer.as_str(),
                subject,
                sealed,
                written_roles(&who.roles),
                written_controllers(who.controllers.as_deref()),
                now
            ],
        )
        .await?;
        if !given {
            tx.exec(
                "-- roles_of_the_provider\nUPDATE users SET roles = $2, controllers = $3 WHERE id = $1",
                args![user_id.as_str(), written_roles(&who.roles), written_controllers(who.controllers.as_deref())],
            )
            .await?;
        }
        let (ms, bytes) = self.id_parts()?;
        let id = SessionId::from_parts(ms, bytes);
        let secret = URL_SAFE_NO_PAD.encode(random::<32>()?);
        let hash = digest(&SHA256, secret.as_bytes()).as_ref().to_vec();
        tx.exec(
            "-- begin_session\nINSERT INTO sessions (id, user_id, secret_hash, created_at, seen_at, expires_at, idle_ms) VALUES ($1, $2, $3, $4, $4, $5, $6)",
            args![id.as_str(), user_id.as_str(), hash, now, now + ms_of(life.lasts), ms_of(life.idle)],
        )
        .await?;
        self.commit(tx).await?;
        let text = format!("rs_{}_{secret}", id.as_str().trim_start_matches("ses_"));
        Ok((user_id, id, text))
    }

    /// Whose session this text is, if it holds; what they do with it keeps it from becoming idle.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn session(&self, text: &str) -> Result<Option<Session>, Error> {
        self.find_session(text, true).await
    }

    /// The same for what goes on by itself, without anybody at the keyboard: it leaves no trace.
    ///
    /// # Errors
    /// The database is away, or the master key is another one.
    pub async fn session_unattended(&self, text: &str) -> Result<Option<Session>, Error> {
        self.find_session(text, false).await
    }

    async fn find_session(&self, text: &str, attended: bool) -> Result<Option<Session>, Error> {
        let Some((id, secret)) = text.strip_prefix("rs_").and_then(|rest| rest.split_once('_')) else {
            return Ok(None);
        };
        let Ok(id) = SessionId::parse(&format!("ses_{id}")) else { return Ok(None) };
        let now = self.now_ms();
        let row = self
            .db
            .row(
                "-- session\nSELECT s.user_id, s.secret_hash, s.seen_at, s.expires_at, s.glass_until, u.sealed, u.roles, u.controllers FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND s.ended_at IS NULL AND s.expires_at > $2 AND s.seen_at + s.idle_ms > $2 AND u.disabled_at IS NULL",
                args![id.as_str(), now],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        if !is_secret_of(&row.bytes("secret_hash")?, secret) {
            return Ok(None);
        }
        if attended && now - row.int("seen_at")? > SEEN_MS {
            let mut tx = self.db.begin("session seen").await?;
            tx.exec("-- session_seen\nUPDATE sessions SET seen_at = $2 WHERE id = $1", args![id.as_str(), now]).await?;
            self.commit(tx).await?;
        }
        self.read_session(id, &row, now).map(Some)
    }

    fn read_session(&self, id: SessionId, row: &Row, now: i64) -> Result<Session, Error> {
        let user_id = UserId::parse(&row.text("user_id")?).map_err(|_| INCONSISTENT("id"))?;
        let described = self.described(&user_id, &row.bytes("sealed")?)?;
        let glass_until = row.opt_int("glass_until")?.filter(|until| *until > now);
        let roles = read_roles(&row.text("roles")?)?;
        Ok(Session {
            id,
            user_id,
            name: described.name.into(),
            roles: if glass_until.is_some() { roles.with_broken_glass() } else { roles },
            controllers: read_controllers(row.opt_text("controllers")?.as_deref())?,
            glass_until,
            expires_at: row.int("expires_at")?,
        })
    }

    /// Ends a session at once.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_session(&self, id: &SessionId) -> Result<(), Error> {
        let mut tx = self.db.begin("end session").await?;
        tx.exec(
            "-- end_session\nUPDATE sessions SET ended_at = COALESCE(ended_at, $2) WHERE id = $1",
            args![id.as_str(), self.now_ms()],
        )
        .await?;
        self.commit(tx).await
    }

    /// Whose request this is, if it is one of these controllers' (none: of anybody's).
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, or it is another's: nobody can tell which.
    pub async fn controller_of(
        &self,
        dsr_id: &redress_domain::DsrId,
        among: Option<&[ControllerId]>,
    ) -> Result<ControllerId, Error> {
        let row = self
            .db
            .row("-- controller_of\nSELECT controller_id FROM dsrs WHERE id = $1", args![dsr_id.as_str()])
            .await?
            .ok_or(Error::NotFound)?;
        let id = ControllerId::parse(&row.text("controller_id")?)
            .map_err(|_| Error::Inconsistent { table: "dsrs", column: "controller_id" })?;
        if among.is_some_and(|among| !among.contains(&id)) {
            return Err(Error::NotFound);
        }
        Ok(id)
    }
}
