//! A wake-up tells sleeping claimers that a lane may have work; it carries the name of the lane and may be lost.
//!
//! In one process it is a notification; in a fleet it is published on Redis too. Losing every wake-up costs one poll
//! interval, a doubled one costs a query.

use crate::RedisAddress;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// The Redis channel on which lanes are named.
const CHANNEL: &str = "redress:wake";

/// Wakes the claimers of this process and, with Redis, of the fleet.
#[derive(Clone, Debug)]
pub struct Wake {
    local: Arc<Notify>,
    publish: Option<mpsc::Sender<String>>,
}

impl Wake {
    /// Wake-ups inside this process only.
    pub fn local() -> Self {
        Self { local: Arc::new(Notify::new()), publish: None }
    }

    /// Wake-ups through Redis too. Never fails: while Redis is away the polls do the work, and it reconnects for ever.
    ///
    /// # Errors
    /// The URL is not one of Redis.
    pub fn redis(url: &str) -> Result<Self, crate::Error> {
        let address = RedisAddress::parse(url)?;
        let local = Arc::new(Notify::new());
        // Small on purpose: when Redis is away, what does not fit is dropped, which costs one poll.
        let (publish, lanes) = mpsc::channel(64);
        tokio::spawn(publisher(address.clone(), lanes));
        tokio::spawn(subscriber(address, local.clone()));
        Ok(Self { local, publish: Some(publish) })
    }

    /// Tells that `lane` may have work.
    pub fn lane(&self, lane: &str) {
        self.local.notify_one();
        if let Some(publish) = &self.publish {
            let _lost_costs_a_poll = publish.try_send(lane.to_owned());
        }
    }

    /// Wakes this process only: a slot got free.
    pub fn nudge(&self) {
        self.local.notify_one();
    }

    /// Waits for the next wake-up, or at most `poll`.
    pub async fn wait(&self, poll: Duration) {
        let _either_way_we_look = tokio::time::timeout(poll, self.local.notified()).await;
    }
}

/// Answers if Redis answers within three seconds.
///
/// # Errors
/// It does not, or the URL is not one of Redis.
pub async fn ping_redis(url: &str) -> Result<(), crate::Error> {
    let address = RedisAddress::parse(url)?;
    let ping = async {
        let mut connection = address.client().await?.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<String>(&mut connection).await
    };
    match tokio::time::timeout(Duration::from_secs(3), ping).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(crate::Error::Conflict("Redis does not answer; work goes on by polling, more slowly".into())),
    }
}

async fn publisher(address: RedisAddress, mut lanes: mpsc::Receiver<String>) {
    let mut connection = None;
    while let Some(lane) = lanes.recv().await {
        if connection.is_none() {
            connection = connect(&address).await.ok();
        }
        if let Some(open) = &mut connection {
            let sent: Result<i64, _> = redis::cmd("PUBLISH").arg(CHANNEL).arg(&lane).query_async(open).await;
            if sent.is_err() {
                connection = None;
            }
        }
    }
}

async fn connect(address: &RedisAddress) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    address.client().await?.get_multiplexed_async_connection().await
}

async fn subscriber(address: RedisAddress, local: Arc<Notify>) {
    let mut away = false;
    loop {
        if let Ok(client) = address.client().await
            && let Ok(mut pubsub) = client.get_async_pubsub().await
            && pubsub.subscribe(CHANNEL).await.is_ok()
        {
            if away {
                tracing::info!("Redis is back; wake-ups are immediate again");
            }
            away = false;
            // What was published while we were not listening is found by looking once.
            local.notify_one();
            let mut messages = pubsub.on_message();
            while messages.next().await.is_some() {
                local.notify_one();
            }
        }
        if !away {
            tracing::warn!("Redis is away; work goes on, found by polling the database");
        }
        away = true;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
