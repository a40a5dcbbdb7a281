//! What came of telling: the last message of each route, and the last status that each controller was told.

use crate::db::{args, texts};
use crate::{Error, Store};
use redress_domain::{ControllerId, RouteId};

/// What a route was sent last.
#[derive(Debug, Clone)]
pub struct ToldRoute {
    /// Which route.
    pub route_id: RouteId,
    /// What came of it: `sent`, or why not; none: it is not sent yet.
    pub outcome: Option<String>,
    /// When it was made (Unix ms).
    pub created_at: i64,
    /// When it was sent (Unix ms).
    pub sent_at: Option<i64>,
    /// How often it failed.
    pub failures: i64,
}

/// What a controller was told last of its requests.
#[derive(Debug, Clone)]
pub struct ToldController {
    /// Which controller.
    pub controller_id: ControllerId,
    /// Its name.
    pub name: String,
    /// The state of that piece of work; none: it was never told anything.
    pub state: Option<String>,
    /// Why it could not be told, or the answer's status.
    pub code: Option<String>,
    /// When it was to be told (Unix ms).
    pub created_at: Option<i64>,
    /// How often it failed.
    pub failures: i64,
}

impl Store {
    /// The last message of each route that had one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn told_routes(&self) -> Result<Vec<ToldRoute>, Error> {
        let rows = self
            .db
            .rows(
                "-- told_routes\nSELECT r.id, m.outcome, m.created_at, m.sent_at, m.failures FROM notify_routes r JOIN messages m ON m.id = (SELECT x.id FROM messages x WHERE x.route_id = r.id ORDER BY x.id DESC LIMIT 1) WHERE r.deleted_at IS NULL",
                vec![],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ToldRoute {
                    route_id: RouteId::parse(&row.text("id")?)
                        .map_err(|_| Error::Inconsistent { table: "notify_routes", column: "id" })?,
                    outcome: row.opt_text("outcome")?,
                    created_at: row.int("created_at")?,
                    sent_at: row.opt_int("sent_at")?,
                    failures: row.int("failures")?,
                })
            })
            .collect()
    }

    /// What each of these controllers (none: all) was told last, by name.
    ///
    /// # Errors
    /// The database is away.
    pub async fn told_controllers(
        &self,
        scope: Option<&[ControllerId]>,
        limit: i64,
    ) -> Result<Vec<ToldController>, Error> {
        const LAST: &str = "SELECT c.id, c.name, s.state, s.error_code, s.created_at, COALESCE(s.failures, 0) AS failures FROM controllers c LEFT JOIN steps s ON s.id = (SELECT x.id FROM steps x WHERE x.controller_id = c.id AND x.verb = 'notify' ORDER BY x.id DESC LIMIT 1)";
        let rows = if let Some(scope) = scope {
            let sql = format!("-- told_controllers\n{LAST} WHERE c.id {{in $1}} ORDER BY c.name LIMIT $2");
            self.db.rows(&sql, args![texts(scope.iter().map(ControllerId::as_str)), limit]).await?
        } else {
            let sql = format!("-- told_controllers_all\n{LAST} ORDER BY c.name LIMIT $1");
            self.db.rows(&sql, args![limit]).await?
        };
        rows.iter()
            .map(|row| {
                Ok(ToldController {
                    controller_id: ControllerId::parse(&row.text("id")?)
                        .map_err(|_| Error::Inconsistent { table: "controllers", column: "id" })?,
                    name: row.text("name")?,
                    state: row.opt_text("state")?,
                    code: row.opt_text("error_code")?,
                    created_at: row.opt_int("created_at")?,
                    failures: row.int("failures")?,
                })
            })
            .collect()
    }
}
