//! A saved view is a filter that somebody keeps under a name, for themselves.

use crate::db::args;
use crate::{Error, Store};

/// Most views of one owner.
pub const VIEWS_MAX: i64 = 50;

/// A filter under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedView {
    /// What its owner calls it.
    pub name: String,
    /// The query of the list of requests.
    pub query: String,
    /// Since when (Unix ms).
    pub created_at: i64,
}

impl Store {
    /// What somebody keeps, by name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn views(&self, owner: &str) -> Result<Vec<SavedView>, Error> {
        let rows = self
            .db
            .rows(
                "-- views\nSELECT name, query, created_at FROM saved_views WHERE owner = $1 ORDER BY name",
                args![owner],
            )
            .await?;
        let read = |row: &crate::db::Row| {
            Ok(SavedView { name: row.text("name")?, query: row.text("query")?, created_at: row.int("created_at")? })
        };
        rows.iter().map(read).collect()
    }

    /// Keeps a view, in place of one of the same name.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there are too many.
    pub async fn save_view(&self, owner: &str, name: &str, query: &str) -> Result<(), Error> {
        let mut tx = self.db.begin("save view").await?;
        tx.exec(
            "-- save_view\nINSERT INTO saved_views (owner, name, query, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (owner, name) DO UPDATE SET query = excluded.query",
            args![owner, name, query, self.now_ms()],
        )
        .await?;
        let kept = tx
            .row("-- count_views\nSELECT COUNT(*) AS n FROM saved_views WHERE owner = $1", args![owner])
            .await?
            .map_or(Ok(0), |row| row.int("n"))?;
        if kept > VIEWS_MAX {
            return Err(Error::Conflict(format!("there are {VIEWS_MAX} saved views already; remove one first")));
        }
        self.commit(tx).await
    }

    /// Removes a view.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none of this name.
    pub async fn remove_view(&self, owner: &str, name: &str) -> Result<(), Error> {
        let gone = self
            .db
            .write(
                "-- remove_view\nDELETE FROM saved_views WHERE owner = $1 AND name = $2 RETURNING name",
                args![owner, name],
            )
            .await?;
        if gone.is_empty() { Err(Error::NotFound) } else { Ok(()) }
    }
}
