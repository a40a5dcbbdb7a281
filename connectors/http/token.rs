//! A token is what a vendor gives for credentials, for a while; it is fetched once for everybody who waits for it.

use crate::{Secret, Trouble};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A place for one token.
#[derive(Default)]
pub(crate) struct Token {
    kept: Mutex<Option<(Secret, Option<Instant>)>>,
}

/// It is renewed this long before its end, or at half of its life if that is shorter.
const EARLY: Duration = Duration::from_mins(1);

impl Token {
    /// The token, fetched if there is none or it is about to end. `fetch` gives it with its life, if it has one.
    pub(crate) async fn get<F>(&self, fetch: F) -> Result<Secret, Trouble>
    where
        F: Future<Output = Result<(Secret, Option<Duration>), Trouble>>,
    {
        let mut kept = self.kept.lock().await;
        if let Some((token, until)) = &*kept
            && until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(token.clone());
        }
        let (token, life) = fetch.await?;
        let until = life.map(|life| Instant::now() + life.saturating_sub(EARLY.min(life / 2)));
        *kept = Some((token.clone(), until));
        Ok(token)
    }

    /// The vendor refused this token: the next one is fetched anew, unless another call has done so in the meantime.
    pub(crate) async fn refused(&self, token: &Secret) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|(known, _)| known == token) {
            *kept = None;
        }
    }
}
