//! Deaths, endings and standstills at each named point of the code, by role and backend.

use crate::cells::{Cell, Ended};
use crate::load::{fleet, patient, rows};
use crate::matrix::{CONNECTORS, Cell as Point, ENGINE, Manner, die_and_recover, quick};
use crate::support::{Backend, Roles};

/// What a process of an installation is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    All,
    Api,
    Worker,
}

/// Every so many combinations one is in the slice; those that the tests of `tests/it` stage are not.
const SHARE: usize = 37;

pub(crate) fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    let backends = [(Backend::Sqlite, "sqlite"), (Backend::PostgresRedis, "fleet")];
    let roles = [(Role::All, "all"), (Role::Api, "api"), (Role::Worker, "worker")];
    let manners = [(Manner::Kill, "kill-9"), (Manner::Term, "sigterm"), (Manner::Stop, "sigstop-15s")];
    let mut sensible = 0;
    for point in ENGINE.iter().chain(CONNECTORS) {
        let (at, mix, kinds) = *point;
        for (backend, backend_name) in backends {
            for (role, role_name) in roles {
                for (manner, manner_name) in manners {
                    let system = kinds.last().map(|kind| kind.name()).unwrap_or_default();
                    let name =
                        format!("point/{at}/{mix:?}-{system}/{backend_name}/{role_name}/{manner_name}").to_lowercase();
                    if let Some(why) = no_sense(at, backend, role) {
                        cells.push(Cell::no_sense(name, why));
                        continue;
                    }
                    sensible += 1;
                    let cell = Cell::new(name, move || stage(*point, backend, role, manner));
                    let in_slice = sensible % SHARE == 0 && manner != Manner::Kill;
                    cells.push(if in_slice { cell.in_slice() } else { cell });
                }
            }
        }
    }
    cells
}

/// Why a combination cannot happen.
fn no_sense(at: &str, backend: Backend, role: Role) -> Option<&'static str> {
    let submits = at.starts_with("submit.");
    match (backend, role) {
        (Backend::Sqlite, Role::Api | Role::Worker) => Some("SQLite is for one process, which has every role"),
        (_, Role::Api) if !submits => Some("an api process does no work and never passes this point"),
        (_, Role::Worker) if submits => Some("a worker takes no submissions and never passes this point"),
        _ => None,
    }
}

async fn stage(point: Point, backend: Backend, role: Role, manner: Manner) -> Ended {
    // A standstill is longer than a lease of the default length; a death is not waited for longer than needed.
    let builder = if manner == Manner::Stop { patient() } else { quick() };
    let workers = if manner == Manner::Stop { 2 } else { 1 };
    let app = match (backend, role) {
        (Backend::Sqlite, _) => builder.installed().await,
        (_, Role::All) => builder.backend(backend).roles(Roles::All).installed().await,
        _ => fleet(builder, workers).installed().await,
    };
    if manner == Manner::Term {
        app.set_env("REDRESS_WORKER__SHUTDOWN_GRACE_SECONDS", "10");
    }
    let rows = rows(&app, backend);
    die_and_recover(app, rows, point, manner).await;
    Ended::Well
}
