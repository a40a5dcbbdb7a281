//! That somebody took up emergency rights is told at once to the operator's routes: it concerns no request, so it is no notice and
//! stands in no table; whom it reached is recorded by whoever announces it.

use super::words::{Line, Section, Words};
use super::{Told, outside_of_tables, slack, webhook};
use crate::engine::Engine;
use futures::future::join_all;
use jiff::Timestamp;
use redress_domain::notice::{Channel, NotifyRole};
use redress_store::{Error, MessageLease, Route};
use serde_json::json;
use std::time::Duration;

/// How long is waited before each attempt.
const WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(30)];

/// What is said.
#[derive(Debug, Clone)]
pub struct Emergency {
    /// The id of whoever took them up.
    pub user: String,
    /// How to call them.
    pub name: String,
    /// Until when they last (Unix ms).
    pub until: i64,
}

/// Tells the operator's routes of the role `operator`; without one, all of the operator's. Returns by name which took it.
///
/// # Errors
/// The database is away.
pub async fn announce(engine: &Engine, emergency: &Emergency) -> Result<Vec<(String, bool)>, Error> {
    let mut routes = engine.store.routes().await?;
    routes.retain(|route| route.controller_id.is_none());
    if routes.iter().any(|route| route.role == NotifyRole::Operator) {
        routes.retain(|route| route.role == NotifyRole::Operator);
    }
    let told = join_all(routes.iter().map(|route| tell(engine, route, emergency))).await;
    Ok(routes.into_iter().map(|route| route.name).zip(told).collect())
}

async fn tell(engine: &Engine, route: &Route, emergency: &Emergency) -> bool {
    // The same id at every attempt.
    let Ok(lease) = outside_of_tables(route, engine.store.clock().now()) else { return false };
    for wait in WAITS {
        tokio::time::sleep(wait).await;
        match attempt(engine, &lease, emergency).await {
            Ok(Told::All | Told::Some) => return true,
            Ok(Told::Never(code)) => {
                tracing::error!(route = route.name, code, "emergency rights could not be announced to {}", route.name);
                return false;
            }
            Ok(Told::Again { .. }) | Err(_) => {}
        }
    }
    tracing::error!(route = route.name, "emergency rights could not be announced to {}", route.name);
    false
}

async fn attempt(engine: &Engine, lease: &MessageLease, emergency: &Emergency) -> Result<Told, Error> {
    let now = engine.store.clock().now();
    let (route, target) = engine.store.route_target(&lease.route_id).await?;
    let messenger = &engine.messenger;
    Ok(match (route.channel, &messenger.mailer) {
        (Channel::Webhook, _) => {
            webhook::post(&messenger.http, lease, &target, body(lease, emergency, &messenger.public_url), now).await
        }
        (Channel::Slack, _) => slack::send(&messenger.http, &target, &words(emergency, &messenger.public_url)).await,
        (Channel::Email, Some(mailer)) => mailer.send(lease, &target, &words(emergency, &messenger.public_url)).await,
        (Channel::Email, None) => Told::Never("no_mail"),
    })
}

fn until(emergency: &Emergency) -> String {
    Timestamp::from_millisecond(emergency.until).map(|at| at.to_string()).unwrap_or_default()
}

fn body(lease: &MessageLease, emergency: &Emergency, public_url: &str) -> String {
    json!({
        "type": "redress.break_glass",
        "timestamp": lease.begun_at().to_string(),
        "data": {
            "message": lease.id,
            "user": emergency.user,
            "until": until(emergency),
            "link": format!("{public_url}/audit"),
        },
    })
    .to_string()
}

fn words(emergency: &Emergency, public_url: &str) -> Words {
    let (name, until) = (&emergency.name, until(emergency));
    Words {
        subject: format!("[redress] {name} has taken up emergency rights until {until}"),
        sections: vec![Section {
            title: "Emergency rights".into(),
            advice: "Ask them why, and look at what they do; an administrator can end their session at once. The reason is in the staff log.",
            lines: vec![Line {
                text: format!("{name} ({}) may see persons and decide until {until}.", emergency.user),
                link: Some(format!("{public_url}/audit")),
            }],
            more: 0,
        }],
        board: format!("{public_url}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redress_domain::{MessageId, RouteId};
    use serde_json::Value;

    fn emergency() -> Emergency {
        Emergency { user: "usr_1".into(), name: "Ada <b>".into(), until: 1_772_300_000_000 }
    }

    #[test]
    fn people_and_programs_are_told_who_and_until_when() {
        let lease = MessageLease {
            id: MessageId::from_parts(1, [1; 10]),
            route_id: RouteId::from_parts(1, [2; 10]),
            digest: false,
            token: 0,
            failures: 0,
            reached: 0,
            created_at: 1_772_299_000_000,
        };
        let said: Value = serde_json::from_str(&body(&lease, &emergency(), "https://dsr.example.com")).expect("JSON");
        assert_eq!(said["type"], "redress.break_glass");
        assert_eq!(said["data"]["user"], "usr_1");
        assert_eq!(said["data"]["until"], "2026-02-28T17:33:20Z");
        assert!(!said.to_string().contains("Ada"), "programs are told ids");
        let words = words(&emergency(), "https://dsr.example.com");
        assert!(words.subject.contains("Ada <b> has taken up emergency rights until 2026-02-28T17:33:20Z"));
        assert!(words.text().contains("https://dsr.example.com/audit"));
    }
}
