//! A pause lets nothing new begin for the whole installation, one controller or one system; what runs ends, deadlines go on.
//!
//! Every worker of the fleet sees it with its next look at the queue, at once where wake-ups reach it, else after one poll. What
//! is submitted meanwhile is accepted and waits.

use crate::db::{Arg, args};
use crate::events::{Events, NewEvent};
use crate::{Error, Store};
use redress_domain::{ControllerId, SystemId};
use serde_json::json;

/// How much is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole installation.
    All,
    /// Everything of one controller: its systems, its answers, what it is told.
    Controller(ControllerId),
    /// One system of a controller.
    System(ControllerId, SystemId),
}

/// What is under way in a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// Whose it is, by name.
    pub controller: String,
    /// The system's name, `answer` or `notify`.
    pub place: String,
    /// What is done there.
    pub verb: String,
    /// How many rows.
    pub rows: i64,
}

/// What of an installation is paused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paused {
    /// Everything is.
    pub all: bool,
    /// These controllers are.
    pub controllers: Vec<ControllerId>,
    /// These systems are, with their names.
    pub systems: Vec<(ControllerId, String)>,
}

impl Paused {
    /// Whether anything is.
    pub fn any(&self) -> bool {
        self.all || !self.controllers.is_empty() || !self.systems.is_empty()
    }
}

const NAME: &str = "paused";

impl Store {
    /// Pauses or resumes; false if it was so already. It is an event in the log of each controller that it concerns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such controller or system.
    pub async fn pause(&self, scope: &Scope, paused: bool, actor: &str) -> Result<bool, Error> {
        let now = self.now_ms();
        let mut tx = self.db.begin("pause").await?;
        let mut events = Events::default();
        let changed = match scope {
            Scope::All if paused => {
                tx.exec(
                    "-- pause_all\nINSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                    args![NAME, now.to_string().into_bytes()],
                )
                .await?
            }
            Scope::All => tx.exec("-- resume_all\nDELETE FROM meta WHERE name = $1", args![NAME]).await?,
            Scope::Controller(id) => {
                tx.exec(
                    "-- pause_controller\nUPDATE controllers SET paused = $2 WHERE id = $1 AND paused <> $2",
                    args![id.as_str(), paused],
                )
                .await?
            }
            Scope::System(controller_id, id) => {
                tx.exec(
                    "-- pause_one_system\nUPDATE systems SET paused = $3, paused_at = $4, paused_by = $5 WHERE controller_id = $1 AND id = $2 AND paused <> $3 AND deleted_at IS NULL",
                    args![controller_id.as_str(), id.as_str(), paused, paused.then_some(now), paused.then_some(actor)],
                )
                .await?
            }
        };
        if changed > 0 {
            match scope {
                Scope::All => {
                    let kind = if paused { "all_paused" } else { "all_resumed" };
                    for row in tx.rows("-- every_controller\nSELECT id FROM controllers ORDER BY id", vec![]).await? {
                        let inconsistent = |_| Error::Inconsistent { table: "controllers", column: "id" };
                        let id = ControllerId::parse(&row.text("id")?).map_err(inconsistent)?;
                        events.push(&id, NewEvent::new(None, kind, json!({})));
                    }
                }
                Scope::Controller(id) => {
                    let kind = if paused { "controller_paused" } else { "controller_resumed" };
                    events.push(id, NewEvent::new(None, kind, json!({})));
                }
                Scope::System(controller_id, id) => {
                    let kind = if paused { "system_paused" } else { "system_resumed" };
                    events.push(controller_id, NewEvent::new(None, kind, json!({ "system": id })));
                }
            }
            self.append_all(&mut tx, actor, events).await?;
        }
        tx.wakes.push(NAME.into());
        self.commit(tx).await?;
        Ok(changed > 0)
    }

    /// What is paused, of one controller or of all.
    ///
    /// # Errors
    /// The database is away.
    pub async fn paused(&self, controller_id: Option<&ControllerId>) -> Result<Paused, Error> {
        let own = if controller_id.is_some() { "= $1" } else { "<> $1" };
        let arguments = args![controller_id.map_or("", ControllerId::as_str)];
        let rows = self
            .db
            .rows(
                &format!("-- paused\nSELECT id AS controller_id, CAST(NULL AS TEXT) AS system FROM controllers WHERE id {own} AND paused = 1 UNION ALL SELECT controller_id, name AS system FROM systems WHERE controller_id {own} AND paused = 1 AND deleted_at IS NULL UNION ALL SELECT NULL, NULL FROM meta WHERE name = 'paused' ORDER BY 1, 2"),
                arguments,
            )
            .await?;
        let inconsistent = |_| Error::Inconsistent { table: "controllers", column: "id" };
        let mut paused = Paused::default();
        for row in &rows {
            match (row.opt_text("controller_id")?, row.opt_text("system")?) {
                (None, _) => paused.all = true,
                (Some(id), None) => paused.controllers.push(ControllerId::parse(&id).map_err(inconsistent)?),
                (Some(id), Some(system)) => {
                    paused.systems.push((ControllerId::parse(&id).map_err(inconsistent)?, system));
                }
            }
        }
        Ok(paused)
    }

    /// What is under way in a scope, by controller, place and verb: rows with a lease, whoever holds it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn under_way(&self, scope: &Scope) -> Result<Vec<UnderWay>, Error> {
        let (which, arguments): (&str, Vec<Arg>) = match scope {
            Scope::All => ("", vec![]),
            Scope::Controller(id) => (" AND s.controller_id = $1", args![id.as_str()]),
            Scope::System(controller_id, id) => {
                (" AND s.controller_id = $1 AND s.lane = $2", args![controller_id.as_str(), id.as_str()])
            }
        };
        let rows = self
            .db
            .rows(
                &format!("-- under_way\nSELECT c.name AS controller, COALESCE(sy.name, s.lane) AS place, s.verb, COUNT(*) AS n FROM steps s JOIN controllers c ON c.id = s.controller_id LEFT JOIN systems sy ON sy.id = s.system_id WHERE s.q = 'run'{which} GROUP BY c.name, COALESCE(sy.name, s.lane), s.verb ORDER BY c.name, place, s.verb"),
                arguments,
            )
            .await?;
        let read = |row: &crate::db::Row| {
            Ok(UnderWay {
                controller: row.text("controller")?,
                place: row.text("place")?,
                verb: row.text("verb")?,
                rows: row.int("n")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
