//! What the journeys share: the real program as child processes, a caller of its API, and real systems with people in them.
//!
//! | type | what a test calls |
//! |---|---|
//! | [`TestApp`] | `builder().backend(…).roles(…).env(k, v).quick_leases().start().await`; `base()`, `cli(&[…]).await -> Ran`, `controller(&toml).await -> ApiClient`, `kill9()`, `restart().await`, `sigterm().await`, `wait_for_death(limit).await`, `set_env(k, v)`, `logs()`, `postgres()`, `redis()`, `folder()`, `allow_errors()` |
//! | [`ApiClient`] | `submit(&json).await`, `get(id).await`, `until(id, \|status\| …, limit).await`, `settled(id).await`, `closed(id).await`, `act(id, verb).await`, `send(method, path, headers, body).await -> Answer`, `events(id)`, `package(id)`, `certificate(id)` |
//! | [`Systems`] | `all().await` or `of(&[Kind::Sqlite]).await`; `fill(&people).await`, `toml(controller) -> String`, `census(email).await`, `count(kind, email).await`, `snapshot().await`, `sql(kind, script).await`, `query(kind, sql).await` |
//! | [`Person`] | `new("ann")`, `ann.twins()`, `deletion()`, `access()`, `correction(field, value)`: bodies of submissions |

mod api;
mod app;
mod process;
mod systems;

pub(crate) use api::{ApiClient, id_of, status_of};
pub(crate) use app::{Backend, Builder, Roles, TestApp};
pub(crate) use process::Ran;
#[allow(unused_imports, reason = "tests/chaos uses it")]
pub(crate) use process::Setup;
pub(crate) use systems::{Kind, PASSWORD_VARIABLE, Person, Snapshot, Systems, body, controller_toml};

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take that is not about time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Asks again and again until there is an answer; panics with `what` when the time is over.
pub(crate) async fn poll<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {} s: {what}", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Runs something that blocks without holding up the test's own tasks; a panic in it is the test's panic.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}
