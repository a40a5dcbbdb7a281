//! The staff log is what was done with the installation itself and belongs to no controller: who signed in, who gave whom which
//! role, who took up the emergency rights.
//!
//! It is one chain of hashes, made as the controllers' are: `hash` is the lower-case hex SHA-256 of [`canonical_json`] of the event
//! without its `hash`. Events hold ids, codes and counts, and the reasons that staff give for what they do; never a data subject.

use crate::audited::{ChainCheck, holds};
use crate::db::{Dialect, Tx, args};
use crate::events::canonical_json;
use crate::{Error, Store};
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// The lock of those who append, on PostgreSQL: any number, as long as every version of Redress uses the same one.
const LOCK: &str = "-- staff_lock\nSELECT CAST(pg_advisory_xact_lock(7233171) AS TEXT) AS locked";

/// One event of the staff log as it is shown and exported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StaffEvent {
    /// Its place in the log, from 1.
    pub seq: i64,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// What happened.
    pub kind: String,
    /// Who did it: the id of a person, or `operator`.
    pub actor: String,
    /// Codes, counts and ids that belong to it.
    pub data: Value,
    /// Hash of the event before it, empty for the first.
    pub prev_hash: String,
    /// Its own hash.
    pub hash: String,
}

impl Store {
    /// Records one event of the staff log in a transaction of its own.
    ///
    /// # Errors
    /// The database is away.
    pub async fn record_staff_event(&self, actor: &str, kind: &'static str, data: Value) -> Result<(), Error> {
        let mut tx = self.db.begin("record staff event").await?;
        self.append_staff_event(&mut tx, actor, kind, data).await?;
        self.commit(tx).await
    }

    /// Appends to the staff log. Take it last in a transaction: others who append wait until the commit.
    pub(crate) async fn append_staff_event(
        &self,
        tx: &mut Tx,
        actor: &str,
        kind: &'static str,
        data: Value,
    ) -> Result<(), Error> {
        self.lock_staff(tx).await?;
        let last =
            tx.row("-- staff_head\nSELECT seq, hash FROM staff_events ORDER BY seq DESC LIMIT 1", vec![]).await?;
        let (seq, prev_hash) = match &last {
            Some(row) => (row.int("seq")? + 1, row.text("hash")?),
            None => (1, String::new()),
        };
        let at = Timestamp::from_millisecond(self.now_ms()).map_or_else(|_| String::new(), |at| at.to_string());
        let body = json!({ "seq": seq, "at": at, "kind": kind, "actor": actor, "data": data, "prev_hash": prev_hash });
        let hash = crate::migrate::hex(digest(&SHA256, canonical_json(&body).as_bytes()).as_ref());
        tx.exec(
            "-- append_staff_event\nINSERT INTO staff_events (seq, at, kind, actor, data, prev_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            args![seq, at, kind, actor, canonical_json(&data), prev_hash, hash],
        )
        .await
        .map(drop)
    }

    /// Lets nobody else append until the commit. A second time in a transaction it does nothing.
    pub(crate) async fn lock_staff(&self, tx: &mut Tx) -> Result<(), Error> {
        // SQLite has one writer at a time anyway.
        if tx.dialect() == Dialect::Postgres {
            tx.rows(LOCK, vec![]).await?;
        }
        Ok(())
    }

    /// A part of the staff log, after `seq`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn staff_events(&self, after: i64, limit: i64) -> Result<Vec<StaffEvent>, Error> {
        self.read_staff_events(
            "-- staff_events\nSELECT * FROM staff_events WHERE seq > $1 ORDER BY seq LIMIT $2",
            args![after, limit],
        )
        .await
    }

    /// The newest events of the staff log before `seq`, the last one first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn staff_events_before(&self, before: i64, limit: i64) -> Result<Vec<StaffEvent>, Error> {
        self.read_staff_events(
            "-- staff_events_before\nSELECT * FROM staff_events WHERE seq < $1 ORDER BY seq DESC LIMIT $2",
            args![before, limit],
        )
        .await
    }

    /// Whether the staff log still holds: the last `most` events of it, each by its hash and in its place.
    ///
    /// # Errors
    /// The database is away.
    pub async fn check_staff_chain(&self, most: i64) -> Result<ChainCheck, Error> {
        let head = self.db.row("-- staff_last\nSELECT COALESCE(MAX(seq), 0) AS seq FROM staff_events", vec![]).await?;
        let head = head.map_or(Ok(0), |row| row.int("seq"))?;
        let first = (head - most).max(0) + 1;
        // With the one before, to which the first one must link.
        let mut after = (first - 2).max(0);
        let mut before: Option<String> = (first == 1).then(String::new);
        let mut check = ChainCheck { checked: 0, first, broken_at: None };
        while after < head {
            let page = self.staff_events(after, 500.min(head - after)).await?;
            for event in &page {
                if event.seq != after + 1 || !holds(event, &event.hash, &event.prev_hash, before.as_deref()) {
                    check.broken_at = Some(event.seq.min(after + 1));
                    return Ok(check);
                }
                after = event.seq;
                before = Some(event.hash.clone());
                check.checked += i64::from(event.seq >= first);
            }
            if page.is_empty() {
                check.broken_at = Some(after + 1);
                return Ok(check);
            }
        }
        Ok(check)
    }

    async fn read_staff_events(&self, sql: &str, args: Vec<crate::db::Arg>) -> Result<Vec<StaffEvent>, Error> {
        let mut all = Vec::new();
        for row in self.db.rows(sql, args).await? {
            let inconsistent = |_| Error::Inconsistent { table: "staff_events", column: "data" };
            all.push(StaffEvent {
                seq: row.int("seq")?,
                at: row.text("at")?,
                kind: row.text("kind")?,
                actor: row.text("actor")?,
                data: serde_json::from_str(&row.text("data")?).map_err(inconsistent)?,
                prev_hash: row.text("prev_hash")?,
                hash: row.text("hash")?,
            });
        }
        Ok(all)
    }
}
