//! Evidence is read in pages: the part of a log that lies in a period, the certificates of what ended in it, and the rules that counted.

use crate::db::args;
use crate::{Error, Store};
use jiff::Timestamp;
use redress_domain::{ControllerId, DsrId};
use serde_json::Value;

/// A rule book as it was used.
#[derive(Debug, Clone)]
pub struct RuleBook {
    /// SHA-256 of its text, in hex: its name.
    pub digest: String,
    /// Its text.
    pub body: String,
}

/// A request that ended in a period.
#[derive(Debug, Clone)]
pub struct EndedDsr {
    /// Which.
    pub id: DsrId,
    /// When it ended (Unix ms).
    pub closed_at: i64,
    /// Its certificate, if it has one.
    pub certificate: Option<Value>,
}

impl Store {
    /// The number of the first event of a controller's log that happened at an instant or after it; one more than the last if none
    /// did. Found by halves, for the log is without gaps and in the order of time.
    ///
    /// # Errors
    /// The database is away.
    pub async fn first_event_at(&self, controller_id: &ControllerId, at: Timestamp) -> Result<i64, Error> {
        let head = self
            .db
            .row("-- event_head\nSELECT event_seq FROM controllers WHERE id = $1", args![controller_id.as_str()])
            .await?
            .ok_or(Error::NotFound)?
            .int("event_seq")?;
        let (mut low, mut high) = (1, head + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self
                .db
                .row(
                    "-- event_time\nSELECT at FROM events WHERE controller_id = $1 AND seq = $2",
                    args![controller_id.as_str(), middle],
                )
                .await?
                .ok_or(Error::Inconsistent { table: "events", column: "seq" })?;
            let then: Timestamp =
                row.text("at")?.parse().map_err(|_| Error::Inconsistent { table: "events", column: "at" })?;
            if then < at {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Requests of a controller that ended in a period, after the one given, in the order in which they ended.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ended_in(
        &self,
        controller_id: &ControllerId,
        (from, to): (i64, i64),
        after: Option<&EndedDsr>,
        limit: i64,
    ) -> Result<Vec<EndedDsr>, Error> {
        let rows = self
            .db
            .rows(
                "-- ended_in\nSELECT d.id, d.closed_at, c.document FROM dsrs d LEFT JOIN certificates c ON c.dsr_id = d.id WHERE d.controller_id = $1 AND d.closed_at IS NOT NULL AND d.closed_at >= $2 AND d.closed_at < $3 AND (d.closed_at > $4 OR (d.closed_at = $4 AND d.id > $5)) ORDER BY d.closed_at, d.id LIMIT $6",
                args![
                    controller_id.as_str(),
                    after.map_or(from, |after| after.closed_at),
                    to,
                    after.map_or(from - 1, |after| after.closed_at),
                    after.map_or("", |after| after.id.as_str()),
                    limit
                ],
            )
            .await?;
        let inconsistent = |column| Error::Inconsistent { table: "certificates", column };
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            let document = row.opt_text("document")?;
            all.push(EndedDsr {
                id: DsrId::parse(&row.text("id")?).map_err(|_| inconsistent("dsr_id"))?,
                closed_at: row.int("closed_at")?,
                certificate: document
                    .map(|text| serde_json::from_str(&text))
                    .transpose()
                    .map_err(|_| inconsistent("document"))?,
            });
        }
        Ok(all)
    }

    /// The rule books of these digests. Whoever has a digest had the request that names it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn rule_books(&self, digests: Vec<String>) -> Result<Vec<RuleBook>, Error> {
        let rows = self
            .db
            .rows(
                "-- rule_books\nSELECT digest, body FROM rule_books WHERE digest {in $1} ORDER BY digest",
                args![digests],
            )
            .await?;
        rows.iter().map(|row| Ok(RuleBook { digest: row.text("digest")?, body: row.text("body")? })).collect()
    }
}
