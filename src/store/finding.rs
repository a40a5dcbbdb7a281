//! A request is found by the start of its id, or by its controller's own name for it, which is kept as a keyed hash only.

use crate::db::{args, texts};
use crate::sealed::place;
use crate::{Error, Key, Store};
use redress_domain::{ControllerId, DsrId};

/// The hash by which a controller's own name for a request is found. Only this controller's key makes it.
pub(crate) fn reference_mark(controller_key: &Key, controller_id: &ControllerId, reference: &str) -> String {
    controller_key.mark(&place(&[controller_id.as_str(), "reference"]), reference.trim().as_bytes())
}

impl Store {
    /// Requests of these controllers (or of all) whose id begins like this, the newest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ids_like(&self, scope: Option<&[ControllerId]>, start: &str, limit: i64) -> Result<Vec<DsrId>, Error> {
        // Every character of an id sorts before the tilde.
        let rows = match scope {
            None => {
                self.db
                    .rows(
                        "-- ids_like\nSELECT id FROM dsrs WHERE id >= $1 AND id < $2 ORDER BY id DESC LIMIT $3",
                        args![start, format!("{start}~"), limit],
                    )
                    .await?
            }
            Some(scope) => {
                self.db
                    .rows(
                        "-- ids_like_of\nSELECT id FROM dsrs WHERE id >= $1 AND id < $2 AND controller_id {in $4} ORDER BY id DESC LIMIT $3",
                        args![start, format!("{start}~"), limit, texts(scope.iter().map(ControllerId::as_str))],
                    )
                    .await?
            }
        };
        rows.iter().map(|row| read_id(&row.text("id")?)).collect()
    }

    /// Requests that one of these controllers calls exactly this. Those whose personal data were destroyed are not found, nor those
    /// of a release that kept no hash.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ids_called(
        &self,
        controllers: &[ControllerId],
        reference: &str,
        limit: i64,
    ) -> Result<Vec<DsrId>, Error> {
        let mut marks = Vec::with_capacity(controllers.len());
        for id in controllers {
            marks.push(reference_mark(&*self.controller_key(id).await?, id, reference));
        }
        let rows = self
            .db
            .rows(
                "-- ids_called\nSELECT id FROM dsrs WHERE reference_hash IS NOT NULL AND reference_hash {in $1} AND controller_id {in $2} ORDER BY id DESC LIMIT $3",
                args![marks, texts(controllers.iter().map(ControllerId::as_str)), limit],
            )
            .await?;
        rows.iter().map(|row| read_id(&row.text("id")?)).collect()
    }
}

fn read_id(text: &str) -> Result<DsrId, Error> {
    DsrId::parse(text).map_err(|_| Error::Inconsistent { table: "dsrs", column: "id" })
}
