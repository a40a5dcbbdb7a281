//! An API key tells who calls and what they may do; only the hash of its secret is kept.
//!
//! The text is `rk_<26 characters of its id>_<43 characters of secret>`: the id finds the row, the secret (256 random bits)
//! is compared as SHA-256 in constant time.

use crate::db::{Row, args};
use crate::events::NewEvent;
use crate::gather::for_all;
use crate::sealed::random;
use crate::{Error, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use redress_domain::{ControllerId, KeyId, Role};
use ring::digest::{SHA256, digest};
use serde_json::json;
use std::sync::PoisonError;

/// Who calls: one key of one controller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose rows it may see.
    pub controller_id: ControllerId,
    /// Which key.
    pub key_id: KeyId,
    /// What it may do.
    pub role: Role,
}

/// A key as it is listed.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// What it may do.
    pub role: Role,
    /// Unix ms.
    pub created_at: i64,
    /// Unix ms.
    pub revoked_at: Option<i64>,
    /// When somebody last called with it, to the minute (Unix ms).
    pub last_used_at: Option<i64>,
}

/// That a key is used is written this often at most (ms).
const USED_MS: i64 = 60_000;
/// Keys of which a process remembers that.
const USED_MAX: usize = 10_000;

/// What is kept of a key that holds.
pub(crate) struct FoundKey {
    controller_id: ControllerId,
    role: Role,
    secret_hash: Vec<u8>,
}

fn read_key(row: &Row) -> Result<FoundKey, Error> {
    let inconsistent = |column| Error::Inconsistent { table: "api_keys", column };
    Ok(FoundKey {
        controller_id: ControllerId::parse(&row.text("controller_id")?).map_err(|_| inconsistent("controller_id"))?,
        role: Role::parse(&row.text("role")?).ok_or(inconsistent("role"))?,
        secret_hash: row.bytes("secret_hash")?,
    })
}

impl Store {
    /// Makes a key; its text is shown this once.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a controller.
    pub async fn create_key(
        &self,
        controller_id: &ControllerId,
        role: Role,
        actor: &str,
    ) -> Result<(KeyId, String), Error> {
        let (ms, bytes) = self.id_parts()?;
        let id = KeyId::from_parts(ms, bytes);
        let secret = URL_SAFE_NO_PAD.encode(random::<32>()?);
        let hash = digest(&SHA256, secret.as_bytes()).as_ref().to_vec();
        let mut tx = self.db.begin("create key").await?;
        tx.exec(
            "-- create_key\nINSERT INTO api_keys (id, controller_id, role, secret_hash, created_at) VALUES ($1, $2, $3, $4, $5)",
            args![id.as_str(), controller_id.as_str(), role.as_str(), hash, self.now_ms()],
        )
        .await
        .map_err(|error| if error.is_orphan() { Error::NotFound } else { error })?;
        let event = NewEvent::new(None, "key_created", json!({ "key": id, "role": role.as_str() }));
        self.append_events(&mut tx, controller_id, actor, vec![event]).await?;
        self.commit(tx).await?;
        let text = format!("rk_{}_{secret}", id.as_str().trim_start_matches("key_"));
        Ok((id, text))
    }

    /// Who calls with this text, if it is a key that holds.
    ///
    /// # Errors
    /// The database is away.
    pub async fn authenticate(&self, text: &str) -> Result<Option<Caller>, Error> {
        let Some((id, secret)) = text.strip_prefix("rk_").and_then(|rest| rest.split_once('_')) else {
            return Ok(None);
        };
        let Ok(id) = KeyId::parse(&format!("key_{id}")) else { return Ok(None) };
        let Some(found) = self.find_key(&id).await? else { return Ok(None) };
        let hash = digest(&SHA256, secret.as_bytes());
        // Both sides are hashes of fixed length; the comparison does not tell where they differ.
        let differing = found.secret_hash.iter().zip(hash.as_ref()).fold(0_u8, |acc, (a, b)| acc | (a ^ b));
        if found.secret_hash.len() != hash.as_ref().len() || differing != 0 {
            return Ok(None);
        }
        self.key_is_used(&id);
        Ok(Some(Caller { controller_id: found.controller_id, key_id: id, role: found.role }))
    }

    /// Records that somebody calls with a key: once a minute, and beside the call, which waits for none of it.
    pub(crate) fn key_is_used(&self, id: &KeyId) {
        let now = self.now_ms();
        {
            let mut used = self.keys_used.lock().unwrap_or_else(PoisonError::into_inner);
            if used.get(id).is_some_and(|at| now - at < USED_MS) {
                return;
            }
            if used.len() >= USED_MAX {
                used.retain(|_, at| now - *at < USED_MS);
            }
            used.insert(id.clone(), now);
        }
        let (store, id) = (self.clone(), id.clone());
        tokio::spawn(async move {
            if let Err(error) = store.record_key_used(&id, now).await {
                tracing::debug!(%error, "that a key was used could not be recorded; the next use in a minute is");
            }
        });
    }

    async fn record_key_used(&self, id: &KeyId, now: i64) -> Result<(), Error> {
        let mut tx = self.db.begin("key used").await?;
        // Another process may have recorded it in the same minute.
        tx.exec(
            "-- key_used\nUPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
            args![id.as_str(), now, now - USED_MS],
        )
        .await?;
        self.commit(tx).await
    }

    /// The key of this id as it is now, if it holds. Callers at the same time share one read, which begins after the last
    /// of them came.
    async fn find_key(&self, id: &KeyId) -> Result<Option<FoundKey>, Error> {
        let db = self.db.clone();
        let read = move |ids: Vec<String>| {
            let db = db.clone();
            let read = async move {
                let sql = "-- authenticate\nSELECT id, controller_id, role, secret_hash FROM api_keys WHERE id {in $1} AND revoked_at IS NULL";
                match db.rows(sql, args![ids.clone()]).await {
                    Ok(rows) => ids
                        .iter()
                        .map(|id| {
                            let row = rows.iter().find(|row| row.text("id").is_ok_and(|found| found == *id));
                            row.map(read_key).transpose()
                        })
                        .collect(),
                    Err(error) => for_all(ids.len(), error),
                }
            };
            read.boxed()
        };
        self.gathered.keys.ask(id.as_str().to_owned(), read).await
    }

    /// A controller's keys.
    ///
    /// # Errors
    /// The database is away.
    pub async fn keys(&self, controller_id: &ControllerId) -> Result<Vec<ApiKey>, Error> {
        let inconsistent = |column| Error::Inconsistent { table: "api_keys", column };
        let rows = self
            .db
            .rows(
                "-- keys\nSELECT id, role, created_at, revoked_at, last_used_at FROM api_keys WHERE controller_id = $1 ORDER BY id",
                args![controller_id.as_str()],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ApiKey {
                    id: KeyId::parse(&row.text("id")?).map_err(|_| inconsistent("id"))?,
                    role: Role::parse(&row.text("role")?).ok_or(inconsistent("role"))?,
                    created_at: row.int("created_at")?,
                    revoked_at: row.opt_int("revoked_at")?,
                    last_used_at: row.opt_int("last_used_at")?,
                })
            })
            .collect()
    }

    /// Revokes a key at once.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not this controller's.
    pub async fn revoke_key(&self, controller_id: &ControllerId, id: &KeyId, actor: &str) -> Result<(), Error> {
        let mut tx = self.db.begin("revoke key").await?;
        let changed = tx
            .exec(
                "-- revoke_key\nUPDATE api_keys SET revoked_at = COALESCE(revoked_at, $3) WHERE controller_id = $1 AND id = $2",
                args![controller_id.as_str(), id.as_str(), self.now_ms()],
            )
            .await?;
        if changed == 0 {
            return Err(Error::NotFound);
        }
        self.append_events(
            &mut tx,
            controller_id,
            actor,
            vec![NewEvent::new(None, "key_revoked", json!({ "key": id }))],
        )
        .await?;
        self.commit(tx).await
    }
}
