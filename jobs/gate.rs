//! The doorman lets a connector's single calls through as the fleet's limits allow, for connectors that make several for one batch.

use crate::limits::{Call, Credential, Limiter, Taken};
use async_trait::async_trait;
use redress_connectors::{Gate, Pass};
use std::time::Duration;
use tokio::sync::oneshot;

tokio::task_local! {
    /// What is being done is due soon, or overdue: it may use the reserve.
    pub(crate) static URGENT: bool;
}

/// So long a call waits here for its turn, in one go and in all; what would take longer is given back to the queue.
const SHORT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);
/// While our own database is away nothing can be limited safely, and nothing is sent (ms).
const AWAY: Duration = Duration::from_secs(5);

/// Lets single calls through.
pub(crate) struct Doorman {
    limiter: Limiter,
    credential: Credential,
    group: String,
}

impl Doorman {
    /// For the calls of one system with this credential.
    pub(crate) fn new(limiter: Limiter, credential: Credential, lane: &str) -> Self {
        Self { limiter, credential, group: format!("{lane} calls") }
    }
}

#[async_trait]
impl Gate for Doorman {
    async fn enter(&self, cost: u64) -> Result<Pass, Duration> {
        let urgent = URGENT.try_with(|urgent| *urgent).unwrap_or_default();
        let call = Call { cost, urgent, group: self.group.clone(), items: 1, batch: 1 };
        let mut waited = Duration::ZERO;
        loop {
            match self.limiter.take(&self.credential, &call).await {
                Ok(Taken::Permit(permit)) => {
                    // The place is kept and given back by a task of its own: it ends when the pass is dropped.
                    let (pass, dropped) = oneshot::channel::<()>();
                    tokio::spawn(permit.during(async move {
                        let _the_pass_is_gone = dropped.await;
                    }));
                    return Ok(Pass::holding(pass));
                }
                Ok(Taken::Wait(until, _)) => {
                    let wait = Duration::from_millis((until - self.limiter.now_ms()).max(1) as u64);
                    waited += wait;
                    if wait > SHORT || waited > PATIENCE {
                        return Err(wait);
                    }
                    tokio::time::sleep(wait).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a call had to wait: its limits could not be asked for");
                    return Err(AWAY);
                }
            }
        }
    }
}
