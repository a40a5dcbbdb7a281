//! The census counts what there is, for metrics: through indexes, without reading rows, but in a time that grows with what is
//! counted. Whoever asks keeps the answer for a while.

use crate::{Error, Store};
use std::collections::BTreeMap;

/// How many rows of the queue are of one family and in one state.
pub type QueueCounts = BTreeMap<(String, String), i64>;

impl Store {
    /// Rows of the queue by family (`system`, `answer`, `notify`) and state (`ready`, `wait`, `run`), and those that need a person
    /// (`attention`).
    ///
    /// # Errors
    /// The database is away.
    pub async fn queue_counts(&self) -> Result<QueueCounts, Error> {
        const FAMILY: &str = "CASE WHEN lane IN ('answer', 'notify') THEN lane ELSE 'system' END";
        let part = |state: &str| {
            format!(
                "SELECT {FAMILY} AS family, '{state}' AS state, COUNT(*) AS n FROM steps WHERE q = '{state}' GROUP BY {FAMILY}"
            )
        };
        let sql = format!(
            "-- queue_counts\n{} UNION ALL {} UNION ALL {} UNION ALL SELECT 'system' AS family, 'attention' AS state, COUNT(*) AS n FROM steps WHERE attention = 1",
            part("ready"),
            part("wait"),
            part("run")
        );
        let rows = self.db.rows(&sql, vec![]).await?;
        rows.iter().map(|row| Ok(((row.text("family")?, row.text("state")?), row.int("n")?))).collect()
    }

    /// Open requests by how they stand to their dates.
    ///
    /// # Errors
    /// The database is away.
    pub async fn band_counts(&self) -> Result<BTreeMap<String, i64>, Error> {
        let rows = self
            .db
            .rows(
                "-- band_counts\nSELECT band, COUNT(*) AS n FROM dsrs WHERE closed_at IS NULL AND band <> 'on_track' GROUP BY band UNION ALL SELECT 'open' AS band, COUNT(*) AS n FROM dsrs WHERE closed_at IS NULL",
                vec![],
            )
            .await?;
        let mut bands: BTreeMap<String, i64> =
            rows.iter().map(|row| Ok((row.text("band")?, row.int("n")?))).collect::<Result<_, Error>>()?;
        let open = bands.remove("open").unwrap_or_default();
        let others: i64 = bands.values().sum();
        bands.insert("on_track".into(), (open - others).max(0));
        Ok(bands)
    }
}
