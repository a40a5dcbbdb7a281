//! A session of an API key is a browser that showed the key once: it may what the key may, for as long as the key holds.
//!
//! The cookie's text is `ks_<26 characters of its id>_<43 characters of secret>`, kept as other sessions' are.

use crate::db::args;
use crate::sealed::random;
use crate::sessions::{Life, SEEN_MS, is_secret_of, ms_of};
use crate::{Caller, Error, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redress_domain::{ControllerId, KeyId, Role, SessionId};
use ring::digest::{SHA256, digest};

impl Store {
    /// Begins a session of a key; its text is told this once.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin_key_session(&self, key: &KeyId, life: impl Into<Life>) -> Result<(SessionId, String), Error> {
        let life = life.into();
        let (ms, bytes) = self.id_parts()?;
        let id = SessionId::from_parts(ms, bytes);
        let secret = URL_SAFE_NO_PAD.encode(random::<32>()?);
        let hash = digest(&SHA256, secret.as_bytes()).as_ref().to_vec();
        let now = self.now_ms();
        let mut tx = self.db.begin("begin key session").await?;
        tx.exec(
            "-- begin_key_session\nINSERT INTO key_sessions (id, key_id, secret_hash, created_at, seen_at, expires_at, idle_ms) VALUES ($1, $2, $3, $4, $4, $5, $6)",
            args![id.as_str(), key.as_str(), hash, now, now + ms_of(life.lasts), ms_of(life.idle)],
        )
        .await?;
        self.commit(tx).await?;
        let text = format!("ks_{}_{secret}", id.as_str().trim_start_matches("ses_"));
        Ok((id, text))
    }

    /// Which session of which key this text is, if both hold.
    ///
    /// # Errors
    /// The database is away.
    pub async fn key_session(&self, text: &str) -> Result<Option<(SessionId, Caller)>, Error> {
        self.find_key_session(text, true).await
    }

    /// The same for what goes on by itself: it does not keep the session from becoming idle.
    ///
    /// # Errors
    /// The database is away.
    pub async fn key_session_unattended(&self, text: &str) -> Result<Option<(SessionId, Caller)>, Error> {
        self.find_key_session(text, false).await
    }

    async fn find_key_session(&self, text: &str, attended: bool) -> Result<Option<(SessionId, Caller)>, Error> {
        let Some((id, secret)) = text.strip_prefix("ks_").and_then(|rest| rest.split_once('_')) else {
            return Ok(None);
        };
        let Ok(id) = SessionId::parse(&format!("ses_{id}")) else { return Ok(None) };
        let now = self.now_ms();
        let row = self
            .db
            .row(
                "-- key_session\nSELECT s.secret_hash, s.seen_at, k.id AS key_id, k.controller_id, k.role FROM key_sessions s JOIN api_keys k ON k.id = s.key_id WHERE s.id = $1 AND s.ended_at IS NULL AND s.expires_at > $2 AND s.seen_at + s.idle_ms > $2 AND k.revoked_at IS NULL",
                args![id.as_str(), now],
            )
            .await?;
        let Some(row) = row.filter(|row| row.bytes("secret_hash").is_ok_and(|kept| is_secret_of(&kept, secret))) else {
            return Ok(None);
        };
        if attended && now - row.int("seen_at")? > SEEN_MS {
            let mut tx = self.db.begin("key session seen").await?;
            tx.exec("-- key_session_seen\nUPDATE key_sessions SET seen_at = $2 WHERE id = $1", args![id.as_str(), now])
                .await?;
            self.commit(tx).await?;
        }
        let inconsistent = |column| Error::Inconsistent { table: "api_keys", column };
        let caller = Caller {
            controller_id: ControllerId::parse(&row.text("controller_id")?)
                .map_err(|_| inconsistent("controller_id"))?,
            key_id: KeyId::parse(&row.text("key_id")?).map_err(|_| inconsistent("id"))?,
            role: Role::parse(&row.text("role")?).ok_or(inconsistent("role"))?,
        };
        if attended {
            self.key_is_used(&caller.key_id);
        }
        Ok(Some((id, caller)))
    }

    /// Ends a session of a key at once.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_key_session(&self, id: &SessionId) -> Result<(), Error> {
        let mut tx = self.db.begin("end key session").await?;
        tx.exec(
            "-- end_key_session\nUPDATE key_sessions SET ended_at = COALESCE(ended_at, $2) WHERE id = $1",
            args![id.as_str(), self.now_ms()],
        )
        .await?;
        self.commit(tx).await
    }
}
