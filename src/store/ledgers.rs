//! A ledger is what was spent of a credential's long windows, by slot; it outlives whoever spent it.
//!
//! Its slots are those of this database's clock. Whoever reads it is told how long ago something was, and how long a slot will
//! last, so that no two clocks are ever compared.

use crate::db::{args, texts};
use crate::{Error, Store};
use redress_domain::limits::Chunk;

/// A ledger of one window as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The window's length (ms).
    pub window_ms: i64,
    /// For how long it has been kept (ms).
    pub kept_ms: i64,
    /// How long until each slot ends (ms, less than zero if it has ended), and what was spent in it.
    pub slots: Vec<(i64, u64)>,
}

/// A slot in which something was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerSlot {
    /// The window's length (ms).
    pub window_ms: i64,
    /// When it ends, by the clock of the database (Unix ms).
    pub ends_at: i64,
    /// How long until then (ms).
    pub left_ms: i64,
    /// What was recorded.
    pub spent: u64,
}

/// A slot is kept for so long beyond its window (ms).
const KEPT_MS: i64 = 60_000;

impl Store {
    /// Records as spent what is about to be.
    ///
    /// # Errors
    /// The database is away.
    pub async fn record_spent(&self, credential: &str, chunks: &[Chunk]) -> Result<Vec<LedgerSlot>, Error> {
        let mut tx = self.db.begin("record spent").await?;
        let mut slots = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let rows = tx
                .rows(
                    "-- record_spent\nINSERT INTO ledger_slots (credential, window_ms, ends_at, spent) VALUES ($1, $2, ({now} / $3 + 1) * $3, $4) ON CONFLICT (credential, window_ms, ends_at) DO UPDATE SET spent = ledger_slots.spent + excluded.spent RETURNING ends_at, ends_at - {now} AS left_ms",
                    args![credential, chunk.window_ms, chunk.slot_ms, chunk.spent as i64],
                )
                .await?;
            for row in rows {
                slots.push(LedgerSlot {
                    window_ms: chunk.window_ms,
                    ends_at: row.int("ends_at")?,
                    left_ms: row.int("left_ms")?,
                    spent: chunk.spent,
                });
            }
            tx.exec(
                "-- forget_spent\nDELETE FROM ledger_slots WHERE credential = $1 AND window_ms = $2 AND ends_at < {now} - $2 - $3",
                args![credential, chunk.window_ms, KEPT_MS],
            )
            .await?;
        }
        self.commit(tx).await?;
        Ok(slots)
    }

    /// The ledgers of a credential's windows. One that is not there yet is begun: up to `idle_ms` before now anything may have been
    /// spent. Those of other windows end, because nobody keeps them from now on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ledgers(&self, credential: &str, windows_ms: &[i64], idle_ms: i64) -> Result<Vec<Ledger>, Error> {
        let mut tx = self.db.begin("read ledgers").await?;
        let kept = texts(windows_ms.iter().map(ToString::to_string));
        for end in [
            "-- end_ledgers\nDELETE FROM ledgers WHERE credential = $1 AND CAST(window_ms AS TEXT) {not_in $2}",
            "-- end_ledger_slots\nDELETE FROM ledger_slots WHERE credential = $1 AND CAST(window_ms AS TEXT) {not_in $2}",
        ] {
            tx.exec(end, args![credential, kept.clone()]).await?;
        }
        let mut ledgers = Vec::with_capacity(windows_ms.len());
        for &window_ms in windows_ms {
            tx.exec(
                "-- begin_ledger\nINSERT INTO ledgers (credential, window_ms, kept_since) VALUES ($1, $2, {now} - $3) ON CONFLICT (credential, window_ms) DO NOTHING",
                args![credential, window_ms, idle_ms],
            )
            .await?;
            let row = tx
                .row(
                    "-- ledger\nSELECT {now} - kept_since AS kept_ms FROM ledgers WHERE credential = $1 AND window_ms = $2",
                    args![credential, window_ms],
                )
                .await?;
            let kept_ms = row.map_or(Ok(0), |row| row.int("kept_ms"))?;
            let rows = tx
                .rows(
                    "-- ledger_slots\nSELECT ends_at - {now} AS left_ms, spent FROM ledger_slots WHERE credential = $1 AND window_ms = $2 AND ends_at >= {now} - $2 - $3 ORDER BY ends_at",
                    args![credential, window_ms, KEPT_MS],
                )
                .await?;
            let slots = rows.iter().map(|row| Ok((row.int("left_ms")?, row.int("spent")?.max(0) as u64)));
            ledgers.push(Ledger { window_ms, kept_ms, slots: slots.collect::<Result<_, Error>>()? });
        }
        self.commit(tx).await?;
        Ok(ledgers)
    }
}
