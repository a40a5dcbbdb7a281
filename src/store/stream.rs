//! What changed, in the order of the audit logs: each controller's log has no gap, so its head says whether there is news, and the
//! place of the last event that somebody was told says exactly what they were not told yet.

use crate::db::{Row, args};
use crate::sql::{RowSet, row};
use crate::{Error, Store};
use redress_domain::ControllerId;

/// How far a controller's log reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whose log.
    pub controller_id: ControllerId,
    /// Its name.
    pub name: String,
    /// The place of its last event.
    pub seq: i64,
}

/// A part of a controller's log: what is after one place, up to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Whose log.
    pub controller_id: ControllerId,
    /// The place before the first event.
    pub after: i64,
    /// The place of the last event.
    pub upto: i64,
}

/// Something that happened, without anything personal: codes and ids only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In whose log.
    pub controller_id: ControllerId,
    /// Its place there.
    pub seq: i64,
    /// When (RFC 3339, UTC).
    pub at: String,
    /// What happened.
    pub kind: String,
    /// Which request it is about, if one.
    pub dsr_id: Option<String>,
    /// How that request stands now.
    pub status: Option<String>,
    /// Its band now, while it is open.
    pub band: Option<String>,
}

impl Store {
    /// How far the logs of these controllers reach (none: of all), in the order of their ids.
    ///
    /// # Errors
    /// The database is away.
    pub async fn heads(&self, among: Option<&[ControllerId]>) -> Result<Vec<Head>, Error> {
        let rows = match among {
            None => self.db.rows("-- heads\nSELECT id, name, event_seq FROM controllers ORDER BY id", vec![]).await?,
            Some(among) => {
                let ids = crate::db::texts(among.iter().map(ControllerId::as_str));
                let sql = "-- heads_among\nSELECT id, name, event_seq FROM controllers WHERE id {in $1} ORDER BY id";
                self.db.rows(sql, args![ids]).await?
            }
        };
        rows.iter()
            .map(|row| {
                Ok(Head { controller_id: controller(row, "id")?, name: row.text("name")?, seq: row.int("event_seq")? })
            })
            .collect()
    }

    /// What happened in these parts of logs, in the order of each log.
    ///
    /// # Errors
    /// The database is away.
    pub async fn changes(&self, parts: &[Stretch]) -> Result<Vec<Change>, Error> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let mut wanted = RowSet::default();
        for part in parts {
            wanted.push(row![part.controller_id.as_str(), part.after, part.upto]);
        }
        let rows = self
            .db
            .rows(
                "-- changes\nSELECT e.controller_id, e.seq, e.at, e.kind, e.dsr_id, d.status, CASE WHEN d.closed_at IS NULL THEN d.band END AS band FROM {rows $1 AS v(id text, low int, high int)} JOIN events e ON e.controller_id = v.id AND e.seq > v.low AND e.seq <= v.high LEFT JOIN dsrs d ON d.id = e.dsr_id ORDER BY e.controller_id, e.seq",
                args![wanted],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Change {
                    controller_id: controller(row, "controller_id")?,
                    seq: row.int("seq")?,
                    at: row.text("at")?,
                    kind: row.text("kind")?,
                    dsr_id: row.opt_text("dsr_id")?,
                    status: row.opt_text("status")?,
                    band: row.opt_text("band")?,
                })
            })
            .collect()
    }
}

fn controller(row: &Row, column: &'static str) -> Result<ControllerId, Error> {
    ControllerId::parse(&row.text(column)?)
        .map_err(|_| Error::Inconsistent { table: "events", column: "controller_id" })
}
