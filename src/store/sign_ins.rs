//! A sign-in under way is what we have to remember until somebody comes back with its secret: what was asked of an identity
//! provider, or whom a link is for.
//!
//! It is found by the SHA-256 of its secret, sealed under the master key, and gone once it was used or its time is over.

use crate::db::{Row, args};
use crate::migrate::hex;
use crate::sealed::{place, random};
use crate::sessions::ms_of;
use crate::{Error, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use std::time::Duration;

/// How somebody signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    /// At an identity provider.
    Provider,
    /// With a link that the operator handed over.
    Link,
}

impl SignIn {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Link => "link",
        }
    }
}

fn hash_of(secret: &str) -> String {
    hex(digest(&SHA256, secret.as_bytes()).as_ref())
}

fn sign_in_place(hash: &str, kind: SignIn) -> Vec<u8> {
    place(&[hash, kind.as_str(), "sign_in"])
}

impl Store {
    /// Remembers a sign-in; returns its secret, which is told this once.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin_sign_in(&self, kind: SignIn, content: &Value, lasts: Duration) -> Result<String, Error> {
        let secret = URL_SAFE_NO_PAD.encode(random::<32>()?);
        let hash = hash_of(&secret);
        let sealed = self.master.seal(&sign_in_place(&hash, kind), content.to_string().as_bytes())?;
        let now = self.now_ms();
        let mut tx = self.db.begin("begin sign-in").await?;
        tx.exec("-- forget_sign_ins\nDELETE FROM sign_ins WHERE expires_at <= $1", args![now]).await?;
        tx.exec(
            "-- begin_sign_in\nINSERT INTO sign_ins (hash, kind, sealed, expires_at) VALUES ($1, $2, $3, $4)",
            args![hash, kind.as_str(), sealed, now + ms_of(lasts)],
        )
        .await?;
        self.commit(tx).await?;
        Ok(secret)
    }

    /// What was remembered under this secret, which still holds afterwards.
    ///
    /// # Errors
    /// The database is away.
    pub async fn look_at_sign_in(&self, kind: SignIn, secret: &str) -> Result<Option<Value>, Error> {
        let hash = hash_of(secret);
        let sql = "-- look_at_sign_in\nSELECT sealed, expires_at FROM sign_ins WHERE hash = $1 AND kind = $2";
        let row = self.db.row(sql, args![hash.as_str(), kind.as_str()]).await?;
        self.read_sign_in(kind, &hash, row.as_ref())
    }

    /// What was remembered under this secret, once: nobody gets it again.
    ///
    /// # Errors
    /// The database is away.
    pub async fn take_sign_in(&self, kind: SignIn, secret: &str) -> Result<Option<Value>, Error> {
        let hash = hash_of(secret);
        let mut tx = self.db.begin("take sign-in").await?;
        let sql = "-- take_sign_in\nDELETE FROM sign_ins WHERE hash = $1 AND kind = $2 RETURNING sealed, expires_at";
        let row = tx.row(sql, args![hash.as_str(), kind.as_str()]).await?;
        self.commit(tx).await?;
        self.read_sign_in(kind, &hash, row.as_ref())
    }

    fn read_sign_in(&self, kind: SignIn, hash: &str, row: Option<&Row>) -> Result<Option<Value>, Error> {
        let Some(row) = row else { return Ok(None) };
        if row.int("expires_at")? <= self.now_ms() {
            return Ok(None);
        }
        let clear = self.master.open(&sign_in_place(hash, kind), &row.bytes("sealed")?)?;
        serde_json::from_slice(&clear)
            .map(Some)
            .map_err(|_| Error::Inconsistent { table: "sign_ins", column: "sealed" })
    }
}
