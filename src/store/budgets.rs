//! A budget is what may be spent of a vendor's day; what was bought of it outlives Redis, and so does the moment at which a
//! credential was last in use.
//!
//! Beside it stand the workers that use limits, and whether they see Redis: without it each takes its part, and only when all
//! have lost it ([`Beat`]).

use crate::db::{args, texts};
use crate::{Error, Store};

/// A worker that uses limits, as the database saw it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Its name.
    pub owner: String,
    /// For how long it has said nothing (ms).
    pub silent_ms: i64,
    /// When it was last there, by the clock of the database (Unix ms).
    pub seen_at: i64,
    /// For how long it has been without Redis (ms), and there without a gap if it `records`; none if it sees it.
    pub alone_ms: Option<i64>,
    /// It never had a Redis, and everything that it spends of long windows stands in the ledgers.
    pub records: bool,
}

/// The row that says until when a credential is in use has no window.
const IN_USE: i64 = 0;
/// Workers that said nothing for so long are forgotten (ms): longer than any window.
const FORGOTTEN_MS: i64 = 2 * 86_400_000;
/// Who records and said nothing for so long begins anew, because others may take it for dead soon (ms).
const ANEW_MS: i64 = 10_000;

impl Store {
    /// Buys `most` of a budget of `cap`, or what is left of it: what is bought is spent, whether it is used or not. Returns how
    /// much was bought.
    ///
    /// # Errors
    /// The database is away.
    pub async fn buy_budget(
        &self,
        credential: &str,
        window_ms: i64,
        began_at: i64,
        most: u64,
        cap: u64,
    ) -> Result<u64, Error> {
        let mut tx = self.db.begin("buy budget").await?;
        tx.exec(
            "-- begin_budget\nINSERT INTO budgets (credential, window_ms, began_at, spent) VALUES ($1, $2, $3, 0) ON CONFLICT (credential, window_ms) DO UPDATE SET began_at = excluded.began_at, spent = 0 WHERE budgets.began_at < excluded.began_at",
            args![credential, window_ms, began_at],
        )
        .await?;
        let row = tx
            .row(
                "-- lock_budget\nSELECT spent FROM budgets WHERE credential = $1 AND window_ms = $2 AND began_at = $3 {for_update}",
                args![credential, window_ms, began_at],
            )
            .await?;
        // Of a day that is over for the others nothing is sold.
        let Some(row) = row else { return Ok(0) };
        let left = (cap as i64 - row.int("spent")?).max(0);
        let bought = left.min(most as i64);
        if bought > 0 {
            tx.exec(
                "-- buy_budget\nUPDATE budgets SET spent = spent + $3 WHERE credential = $1 AND window_ms = $2",
                args![credential, window_ms, bought],
            )
            .await?;
            self.commit(tx).await?;
        }
        Ok(bought as u64)
    }

    /// Notes that a credential is in use for so long from now (ms). Returns for how long it has not been (ms): 0 if it is, none if
    /// it never was. Of several who note it at the same time, one is told that it was not in use.
    ///
    /// # Errors
    /// The database is away.
    pub async fn note_use(&self, credential: &str, for_ms: i64) -> Result<Option<i64>, Error> {
        let mut tx = self.db.begin("note use").await?;
        // There must be a row to be locked.
        tx.exec(
            "-- first_use\nINSERT INTO budgets (credential, window_ms, began_at, spent) VALUES ($1, $2, 0, 0) ON CONFLICT (credential, window_ms) DO NOTHING",
            args![credential, IN_USE],
        )
        .await?;
        let before = tx
            .row(
                "-- last_use\nSELECT began_at, {now} - began_at AS idle FROM budgets WHERE credential = $1 AND window_ms = $2 {for_update}",
                args![credential, IN_USE],
            )
            .await?;
        tx.exec(
            "-- note_use\nUPDATE budgets SET began_at = {now} + $3 WHERE credential = $1 AND window_ms = $2",
            args![credential, IN_USE, for_ms],
        )
        .await?;
        self.commit(tx).await?;
        match before {
            Some(row) if row.int("began_at")? > 0 => Ok(Some(row.int("idle")?.max(0))),
            _ => Ok(None),
        }
    }

    /// When the first of these steps is due (Unix ms).
    ///
    /// # Errors
    /// The database is away.
    pub async fn earliest_due(&self, step_ids: &[&str]) -> Result<Option<i64>, Error> {
        let row = self
            .db
            .row(
                "-- earliest_due\nSELECT MIN(due_at) AS due FROM steps WHERE id {in $1}",
                args![texts(step_ids.iter())],
            )
            .await?;
        row.map_or(Ok(None), |row| row.opt_int("due"))
    }

    /// Says that a worker is there, whether it is without Redis, and whether it records what it spends; returns every worker that
    /// was there lately, by name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn beat(&self, owner: &str, alone: bool, records: bool) -> Result<Vec<Beat>, Error> {
        let mut tx = self.db.begin("beat").await?;
        tx.exec(
            "-- beat\nINSERT INTO workers (owner, seen_at, alone_since, records) VALUES ($1, {now}, CASE WHEN $2 = 1 THEN {now} END, $3) ON CONFLICT (owner) DO UPDATE SET seen_at = excluded.seen_at, records = excluded.records, alone_since = CASE WHEN $2 = 0 THEN NULL WHEN $3 = 1 AND workers.seen_at < excluded.seen_at - $4 THEN excluded.alone_since ELSE COALESCE(workers.alone_since, excluded.alone_since) END",
            args![owner, alone, records, ANEW_MS],
        )
        .await?;
        tx.exec("-- forget_workers\nDELETE FROM workers WHERE seen_at < {now} - $1", args![FORGOTTEN_MS]).await?;
        let rows = tx
            .rows(
                "-- workers\nSELECT owner, seen_at, records, {now} - seen_at AS silent, {now} - alone_since AS alone FROM workers ORDER BY owner",
                vec![],
            )
            .await?;
        self.commit(tx).await?;
        let read = |row: &crate::db::Row| {
            Ok(Beat {
                owner: row.text("owner")?,
                silent_ms: row.int("silent")?,
                seen_at: row.int("seen_at")?,
                alone_ms: row.opt_int("alone")?,
                records: row.int("records")? == 1,
            })
        };
        rows.iter().map(read).collect()
    }
}
