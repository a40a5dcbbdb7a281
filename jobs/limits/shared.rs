//! Limits of a fleet are kept in Redis: one script decides about a call for everybody, in one step, by the clock of Redis.
//!
//! Keys hold ids and numbers only, and go by themselves. A server that is not the one that counted last knows nothing that
//! can be relied on, which is the same as having lost everything.

use super::wire::{Answer, Question};
use redress_store::RedisAddress;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SCRIPT: &str = include_str!("script.lua");
/// Redis answers within this time or counts as away.
const PATIENCE: Duration = Duration::from_secs(1);
/// After it was away it is tried again at the earliest after this time.
const PAUSE: Duration = Duration::from_millis(250);

/// Redis does not answer, or refuses to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Away;

#[derive(Clone)]
struct Link {
    connection: redis::aio::MultiplexedConnection,
    run_id: String,
    sha: String,
}

/// The limits in Redis.
pub(super) struct Shared {
    address: RedisAddress,
    link: tokio::sync::Mutex<Option<Link>>,
    failed_at: Mutex<Option<Instant>>,
    away: AtomicBool,
}

impl Shared {
    pub(super) fn new(url: &str) -> Result<Self, redress_store::Error> {
        Ok(Self {
            address: RedisAddress::parse(url)?,
            link: tokio::sync::Mutex::default(),
            failed_at: Mutex::default(),
            away: AtomicBool::new(false),
        })
    }

    /// Whether it did not answer when it was asked last.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Asks whether it is there.
    pub(super) async fn ping(&self) -> Result<(), Away> {
        let asked = tokio::time::timeout(PATIENCE, async {
            let mut link = self.link().await?;
            redis::cmd("PING").query_async::<String>(&mut link.connection).await.map_err(|_| Away)
        });
        self.note(asked.await.unwrap_or(Err(Away)).map(drop)).await
    }

    /// Asks the script about one credential. A question that got no answer may have been answered all the same: what it took
    /// is given back when its lease runs out.
    pub(super) async fn ask(&self, credential: &str, question: &Question<'_>) -> Result<Answer, Away> {
        let asked = tokio::time::timeout(PATIENCE, async {
            let mut link = self.link().await?;
            let key = format!("redress:limits:{{{credential}}}");
            let text = question.json(&link.run_id);
            let mut said: Result<String, redis::RedisError> = redis::cmd("EVALSHA")
                .arg(&link.sha)
                .arg(1)
                .arg(&key)
                .arg(&text)
                .query_async(&mut link.connection)
                .await;
            if said.as_ref().is_err_and(|error| error.code() == Some("NOSCRIPT")) {
                said =
                    redis::cmd("EVAL").arg(SCRIPT).arg(1).arg(&key).arg(&text).query_async(&mut link.connection).await;
            }
            match said {
                Ok(text) => Answer::parse(&text).ok_or(Away),
                Err(error) => {
                    // The code says what is wrong (OOM, READONLY); the text may be long.
                    tracing::debug!(code = error.code().unwrap_or("none"), "Redis did not decide about a limit");
                    Err(Away)
                }
            }
        });
        self.note(asked.await.unwrap_or(Err(Away))).await
    }

    async fn link(&self) -> Result<Link, Away> {
        let mut link = self.link.lock().await;
        if let Some(open) = &*link {
            return Ok(open.clone());
        }
        let failed_at = *self.failed_at.lock().expect("never held across a panic");
        if failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(Away);
        }
        let client = self.address.client().await.map_err(|_| Away)?;
        let mut connection = client.get_multiplexed_async_connection().await.map_err(|_| Away)?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.map_err(|_| Away)?;
        let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default().trim().to_owned();
        let load = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async::<String>(&mut connection).await;
        let open = Link { connection, run_id, sha: load.map_err(|_| Away)? };
        *link = Some(open.clone());
        Ok(open)
    }

    async fn note<T>(&self, said: Result<T, Away>) -> Result<T, Away> {
        if said.is_ok() {
            if self.away.swap(false, Ordering::Relaxed) {
                tracing::info!("Redis is back; limits are shared again");
            }
        } else {
            *self.link.lock().await = None;
            *self.failed_at.lock().expect("never held across a panic") = Some(Instant::now());
            if !self.away.swap(true, Ordering::Relaxed) {
                tracing::warn!("Redis is away; each worker keeps to its part of every limit");
            }
        }
        said
    }
}
