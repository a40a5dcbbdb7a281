//! Requests by the day on which they were received, and why they were refused.

use super::{clock_form, kind, stage};
use crate::db::{Arg, Row, args};
use crate::work::places;
use crate::{Error, Store};
use redress_domain::stage::Stage;
use redress_domain::{ControllerId, RequestType};
use serde_json::Value;
use std::collections::BTreeMap;

/// The clock of a controller and ours may differ by less than this (ms).
const DAY_MS: i64 = 86_400_000;
/// Requests that are looked at for one page.
const LOOKED_AT: i64 = 2_000;

/// A request under one regulation, by when it was received. Instants are Unix ms.
#[derive(Debug, Clone)]
pub struct ReceivedDsr {
    /// Which right.
    pub kind: RequestType,
    /// Where it stands, or how it ended.
    pub stage: Stage,
    /// When the person asked, as far as known; else when we were told.
    pub received_at: i64,
    /// When it ended.
    pub closed_at: Option<i64>,
    /// The reason code, if it was refused and one was given.
    pub denial: Option<String>,
}

impl Store {
    /// Shows every request that a regulation governs, alone or with others, and that was received at or after `from` and before
    /// `to` (Unix ms), to `visit`.
    ///
    /// # Errors
    /// The database is away, or a row is inconsistent.
    pub async fn each_received_dsr(
        &self,
        controller_id: &ControllerId,
        regulation: &str,
        from: i64,
        to: i64,
        mut visit: impl FnMut(ReceivedDsr) + Send,
    ) -> Result<(), Error> {
        // We are never told before the person asks, so that a request of this time was not told of before it; clocks may differ.
        let (mut told_from, mut after) = (from - DAY_MS, String::new());
        let named = format!("%\"{regulation}\"%");
        loop {
            // A page is cut first and looked through then: no plan of a database can make of many pages many readings of the whole.
            let end = self
                .db
                .row(
                    "-- report_received_page\nSELECT instruction_received_at, id FROM dsrs WHERE controller_id = $1 AND instruction_received_at >= $2 AND (instruction_received_at > $2 OR id > $3) ORDER BY instruction_received_at, id LIMIT 1 OFFSET $4",
                    args![controller_id.as_str(), told_from, after.as_str(), LOOKED_AT - 1],
                )
                .await?;
            let (told_to, last) = match &end {
                Some(row) => (row.int("instruction_received_at")?, row.text("id")?),
                None => (i64::MAX, String::new()),
            };
            let rows = self
                .db
                .rows(
                    "-- report_received\nSELECT id, kind, regulation, clock, stage, COALESCE(data_subject_received_at, instruction_received_at) AS received_at, closed_at FROM dsrs WHERE controller_id = $1 AND instruction_received_at >= $2 AND instruction_received_at <= $4 AND (instruction_received_at > $2 OR id > $3) AND (instruction_received_at < $4 OR id <= $5) AND COALESCE(data_subject_received_at, instruction_received_at) >= $6 AND COALESCE(data_subject_received_at, instruction_received_at) < $7 AND (regulation = $8 OR clock LIKE $9)",
                    args![controller_id.as_str(), told_from, after.as_str(), told_to, last.as_str(), from, to, regulation, named.as_str()],
                )
                .await?;
            let mut denials = self.denials(controller_id, &rows).await?;
            for row in &rows {
                let governs = row.opt_text("regulation")?.as_deref() == Some(regulation)
                    || clock_form(row)?.regulations.iter().any(|id| id == regulation);
                if governs {
                    visit(ReceivedDsr {
                        kind: kind(row)?,
                        stage: stage(row)?,
                        received_at: row.int("received_at")?,
                        closed_at: row.opt_int("closed_at")?,
                        denial: denials.remove(row.text("id")?.as_str()),
                    });
                }
            }
            if end.is_none() {
                return Ok(());
            }
            (told_from, after) = (told_to, last);
        }
    }

    /// The reason codes of the refusals among these rows, by request; the last one counts.
    async fn denials(&self, controller_id: &ControllerId, rows: &[Row]) -> Result<BTreeMap<String, String>, Error> {
        let mut arguments: Vec<Arg> = args![controller_id.as_str()];
        for row in rows {
            if stage(row)? == Stage::Rejected {
                arguments.push(row.text("id")?.into());
            }
        }
        let mut all = BTreeMap::new();
        if arguments.len() > 1 {
            let sql = format!(
                "-- report_denials\nSELECT dsr_id, data FROM events WHERE controller_id = $1 AND kind = 'rejected' AND dsr_id IN ({}) ORDER BY seq",
                places(2, arguments.len() - 1)
            );
            for row in self.db.rows(&sql, arguments).await? {
                let data: Value = serde_json::from_str(&row.text("data")?)
                    .map_err(|_| Error::Inconsistent { table: "events", column: "data" })?;
                if let Some(reason) = data["reason"].as_str() {
                    all.insert(row.text("dsr_id")?, reason.to_owned());
                }
            }
        }
        Ok(all)
    }
}
