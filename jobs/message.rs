//! Messages are leased from the store one by one and sent: e-mail, Slack, or a signed webhook. Whatever becomes of an attempt
//! is a column; whoever loses the lease records nothing.
//!
//! A message is sent at least once and always by the same id. The sender runs beside the claimer and shares nothing with it:
//! an endpoint that hangs holds up a few messages of its own route.

mod email;
mod emergency;
mod slack;
mod webhook;
mod words;

pub use email::{ADDRESSES_MAX, Mailer, Smtp, SmtpFault, StartTls};

use crate::engine::{Engine, jitter};
use crate::outbound::{self, OutboundFault, OutboundPolicy};
use jiff::Timestamp;
use redress_domain::notice::{Channel, NoticeKind};
use redress_domain::{DsrId, MessageId, NoticeId, RouteId};
use redress_store::{
    Announcement, Error, MessageContents, MessageLease, MessageOutcome, Route, RouteTarget, ToldNotice,
    WEBHOOK_NOTICES, crash_point,
};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use words::Words;

/// Messages that a process sends at the same time.
const AT_ONCE: usize = 8;
/// Of these, to one route.
const PER_ROUTE: usize = 4;
/// How often the sender looks for what is due, and for senders that died.
const LOOK: Duration = Duration::from_secs(1);

/// What messages are sent with.
#[derive(Debug)]
pub struct Messenger {
    /// For addresses that the operator wrote down: no redirects, but private ones are allowed.
    http: outbound::Client,
    mailer: Option<Mailer>,
    public_url: String,
}

impl Messenger {
    /// Prepares to send; connects to nobody. Without `smtp` no mail is sent.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(mailer: Option<Mailer>, public_url: String) -> Result<Self, OutboundFault> {
        Ok(Self { http: outbound::client(OutboundPolicy::of_operator())?, mailer, public_url })
    }

    /// Whether mail can be sent.
    pub const fn has_mail(&self) -> bool {
        self.mailer.is_some()
    }

    async fn send(
        &self,
        lease: &MessageLease,
        route: &Route,
        target: &RouteTarget,
        said: &Said,
        now: Timestamp,
    ) -> Told {
        match (route.channel, &self.mailer) {
            (Channel::Webhook, _) => {
                webhook::post(&self.http, lease, target, said.body(lease, &self.public_url), now).await
            }
            (Channel::Slack, _) => slack::send(&self.http, target, &said.words(&self.public_url)).await,
            (Channel::Email, Some(mailer)) => mailer.send(lease, target, &said.words(&self.public_url)).await,
            (Channel::Email, None) => {
                tracing::error!(route = route.name, "the route {} is by mail, but smtp.url is not set", route.name);
                Told::Again { reached: lease.reached, retry_after: None }
            }
        }
    }
}

/// What a message says.
enum Said {
    Notices(MessageContents),
    Announcement(Announcement),
}

impl Said {
    /// To programs: the same at every attempt.
    fn body(&self, lease: &MessageLease, public_url: &str) -> String {
        match self {
            Said::Notices(contents) => webhook::body(lease, contents, public_url),
            Said::Announcement(announcement) => emergency::body(lease, announcement, public_url),
        }
    }

    /// To people.
    fn words(&self, public_url: &str) -> Words {
        match self {
            Said::Notices(contents) => words::words(contents, public_url),
            Said::Announcement(announcement) => emergency::words(announcement, public_url),
        }
    }
}

/// What came of one attempt to tell a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Everybody has it.
    All,
    /// Everybody has it whose address is one.
    Some,
    /// Not yet everybody.
    Again {
        /// A bit for each address that has it.
        reached: u64,
        /// How long we were asked to wait.
        retry_after: Option<Duration>,
    },
    /// Nobody, and it is of no use to try again.
    Never(&'static str),
}

/// How a process sends.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) engine: Arc<Engine>,
    /// This process's name for its leases.
    pub(crate) owner: String,
    /// How long a lease lasts.
    pub(crate) lease: Duration,
    /// How often it is renewed.
    pub(crate) renew: Duration,
    /// Told when the watch has made messages.
    pub(crate) wake: Arc<Notify>,
    /// How many are being sent right now.
    pub(crate) in_flight: Arc<AtomicUsize>,
    pub(crate) stop: CancellationToken,
}

impl Sender {
    /// Sends what is due until the shutdown; what is under way then may end.
    pub(crate) async fn run(self) {
        let mut sending: JoinSet<()> = JoinSet::new();
        let mut routes: HashMap<Id, RouteId> = HashMap::new();
        let mut looked: Option<std::time::Instant> = None;
        while !self.stop.is_cancelled() {
            if looked.is_none_or(|at| at.elapsed() >= LOOK) {
                looked = Some(std::time::Instant::now());
                if let Err(error) = self.engine.store.expire_messages().await {
                    tracing::warn!(%error, "messages of senders that died could not be taken back; it is tried again");
                }
            }
            if let Err(error) = self.fill(&mut sending, &mut routes).await {
                tracing::warn!(%error, "messages could not be leased; it is tried again");
            }
            tokio::select! {
                Some(ended) = sending.join_next_with_id(), if !sending.is_empty() => {
                    let id = match ended { Ok((id, ())) => id, Err(failed) => failed.id() };
                    routes.remove(&id);
                    self.in_flight.store(sending.len(), Ordering::Relaxed);
                }
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = self.stop.cancelled() => {}
            }
        }
        while sending.join_next().await.is_some() {
            self.in_flight.store(sending.len(), Ordering::Relaxed);
        }
    }

    /// Leases messages into the free places.
    async fn fill(&self, sending: &mut JoinSet<()>, routes: &mut HashMap<Id, RouteId>) -> Result<(), Error> {
        let lease_ms = self.lease.as_millis() as i64;
        while sending.len() < AT_ONCE && !self.stop.is_cancelled() {
            let mut counts: HashMap<&RouteId, usize> = HashMap::new();
            for route in routes.values() {
                *counts.entry(route).or_default() += 1;
            }
            let busy: Vec<RouteId> =
                counts.into_iter().filter(|(_, n)| *n >= PER_ROUTE).map(|(route, _)| route.clone()).collect();
            let Some(lease) = self.engine.store.claim_message(&self.owner, &busy, lease_ms).await? else { break };
            let route = lease.route_id.clone();
            let task = sending.spawn(self.clone().tell(lease));
            routes.insert(task.id(), route);
            self.in_flight.store(sending.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends one message, keeping its lease meanwhile.
    async fn tell(self, lease: MessageLease) {
        let attempt = attempt(&self.engine, &lease);
        let renewal = async {
            loop {
                tokio::time::sleep(self.renew).await;
                let lease_ms = self.lease.as_millis() as i64;
                if let Err(error) = self.engine.store.renew_messages(&self.owner, lease_ms).await {
                    tracing::warn!(%error, "the leases of messages could not be renewed");
                }
            }
        };
        let ended = tokio::select! {
            ended = attempt => ended,
            () = renewal => return,
        };
        if let Err(error) = ended {
            tracing::warn!(%error, message.id = %lease.id, "what became of {} could not be recorded; it is sent once more", lease.id);
        }
    }
}

/// Makes one attempt and records what came of it.
///
/// # Errors
/// The database is away: the lease runs out.
pub async fn attempt(engine: &Engine, lease: &MessageLease) -> Result<(), Error> {
    let store = &engine.store;
    let now = store.clock().now();
    let outcome = match store.route_target(&lease.route_id).await {
        Err(Error::NotFound) => MessageOutcome::GivenUp { code: "route_removed" },
        Err(error) => return Err(error),
        Ok((route, target)) => {
            let said = said(engine, lease, &route).await?;
            crash_point("message.before_send");
            let told = engine.messenger.send(lease, &route, &target, &said, now).await;
            crash_point("message.after_send");
            let outcome = outcome(lease, told, now);
            if let MessageOutcome::GivenUp { code } = &outcome {
                tracing::error!(message.id = %lease.id, route = route.name, code, "{} could not be sent to the route {} and is given up: {code}", lease.id, route.name);
            }
            outcome
        }
    };
    if !store.finish_message(lease, &outcome).await? {
        tracing::warn!(message.id = %lease.id, "{} was sent, but its lease was lost meanwhile: it is sent once more", lease.id);
    }
    Ok(())
}

/// What a message says to this route.
async fn said(engine: &Engine, lease: &MessageLease, route: &Route) -> Result<Said, Error> {
    let announced = if lease.announces { engine.store.announcement(&lease.id).await? } else { None };
    Ok(match announced {
        Some(announcement) => Said::Announcement(announcement),
        None => Said::Notices(engine.store.message_contents(&lease.id, most_notices(route.channel)).await?),
    })
}

/// A program is told of every notice; people see the gravest.
const fn most_notices(channel: Channel) -> i64 {
    if channel.is_for_people() { 200 } else { 100 * WEBHOOK_NOTICES as i64 }
}

fn outcome(lease: &MessageLease, told: Told, now: Timestamp) -> MessageOutcome {
    match told {
        Told::All => MessageOutcome::Sent { in_part: false },
        Told::Some => MessageOutcome::Sent { in_part: true },
        Told::Never(code) => MessageOutcome::GivenUp { code },
        Told::Again { reached, retry_after } => match crate::webhook::next_delay(lease.failures + 1, jitter()) {
            None => MessageOutcome::GivenUp { code: "given_up" },
            Some(wait) => {
                let wait = wait.max(retry_after.unwrap_or_default());
                MessageOutcome::Later { not_before: now.as_millisecond() + wait.as_millis() as i64, reached }
            }
        },
    }
}

/// Sends a route a message about an invented request, outside every table.
///
/// # Errors
/// What became of it, in words; or the database is away.
pub async fn test(engine: &Engine, route: &RouteId) -> Result<(), TestFault> {
    let store = &engine.store;
    let (route, target) = store.route_target(route).await?;
    let now = store.clock().now();
    let (ms, bytes) = (now.as_millisecond().max(0) as u64, redress_store::random::<10>()?);
    let lease = outside_of_tables(&route, now)?;
    let notice = ToldNotice {
        id: NoticeId::from_parts(ms, bytes),
        dsr_id: DsrId::from_parts(ms, [0; 10]),
        controller: "a test".into(),
        timezone: route.timezone.clone(),
        kind: NoticeKind::AtRisk,
        due_at: now.as_millisecond(),
        noticed_at: now.as_millisecond(),
        data: json!({ "type": "access", "due_before": now.as_millisecond(), "band": "at_risk", "test": true }),
        closed: true,
    };
    let contents = MessageContents { notices: vec![notice], kinds: vec![(NoticeKind::AtRisk, 1)], controllers: 1 };
    if route.channel == Channel::Email && !engine.messenger.has_mail() {
        return Err(TestFault::NoMail);
    }
    match engine.messenger.send(&lease, &route, &target, &Said::Notices(contents), now).await {
        Told::All => Ok(()),
        Told::Some => Err(TestFault::InPart),
        Told::Again { .. } => Err(TestFault::NotNow),
        Told::Never(_) => Err(TestFault::Refused),
    }
}

/// What stands for the lease of a message that no table holds.
fn outside_of_tables(route: &Route, now: Timestamp) -> Result<MessageLease, Error> {
    let (ms, bytes) = (now.as_millisecond().max(0) as u64, redress_store::random::<10>()?);
    Ok(MessageLease {
        id: MessageId::from_parts(ms, bytes),
        route_id: route.id.clone(),
        digest: false,
        token: 0,
        failures: 0,
        reached: 0,
        created_at: now.as_millisecond(),
        announces: false,
    })
}

/// Why a test message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum TestFault {
    /// The database.
    #[error(transparent)]
    Store(#[from] Error),
    /// No mail server.
    #[error("smtp.url is not set, so no mail can be sent")]
    NoMail,
    /// One of several.
    #[error("at least one of the addresses was refused")]
    InPart,
    /// It could not be reached.
    #[error("it could not be reached, or did not take the message")]
    NotNow,
    /// For good.
    #[error("the message was refused for good")]
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_spread_over_days_and_then_given_up() {
        let lease = |failures| MessageLease {
            id: MessageId::from_parts(1, [1; 10]),
            route_id: RouteId::from_parts(1, [2; 10]),
            digest: false,
            token: 1,
            failures,
            reached: 1,
            created_at: 0,
            announces: false,
        };
        let now = Timestamp::from_second(1_000).expect("an instant");
        let again = |retry_after| Told::Again { reached: 3, retry_after };
        let MessageOutcome::Later { not_before, reached } = outcome(&lease(0), again(None), now) else {
            panic!("later")
        };
        assert!((1_005_000..1_006_000).contains(&not_before) && reached == 3, "{not_before}");
        let asked = again(Some(Duration::from_hours(2)));
        let MessageOutcome::Later { not_before, .. } = outcome(&lease(0), asked, now) else { panic!("later") };
        assert_eq!(not_before, 1_000_000 + 7_200_000);
        assert_eq!(outcome(&lease(9), again(None), now), MessageOutcome::GivenUp { code: "given_up" });
        assert_eq!(outcome(&lease(0), Told::Never("gone"), now), MessageOutcome::GivenUp { code: "gone" });
        assert_eq!(outcome(&lease(0), Told::Some, now), MessageOutcome::Sent { in_part: true });
    }
}
