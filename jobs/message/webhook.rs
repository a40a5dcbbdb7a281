//! A notice webhook tells a program, signed as Standard Webhooks has it: ids, kinds and instants.

use super::Told;
use crate::outbound;
use crate::webhook::{self, Delivery, Secret};
use jiff::Timestamp;
use redress_domain::Personal;
use redress_store::{MessageContents, MessageLease, RouteTarget, ToldNotice};
use serde_json::{Value, json};

/// Sends a body once.
pub(super) async fn post(
    http: &outbound::Client,
    lease: &MessageLease,
    target: &RouteTarget,
    body: String,
    now: Timestamp,
) -> Told {
    let Some(url) = target.url.as_ref().and_then(|url| http.policy().check_url(url.expose()).ok()) else {
        return Told::Never("no_address");
    };
    let secret = target.secret.as_ref().map(Personal::expose).and_then(|text| Secret::parse(text).ok());
    let Some(secret) = secret else { return Told::Never("no_secret") };
    let headers = webhook::headers(lease.id.as_str(), now, body.as_bytes(), &[secret]);
    webhook::send(http, &url, &headers, body).await.into()
}

/// The body: the same at every attempt.
pub(super) fn body(lease: &MessageLease, contents: &MessageContents, public_url: &str) -> String {
    let notices: Vec<Value> = contents.notices.iter().map(|notice| one(notice, public_url)).collect();
    json!({
        "type": "redress.notices",
        "timestamp": lease.begun_at().to_string(),
        "data": { "message": lease.id, "digest": lease.digest, "notices": notices },
    })
    .to_string()
}

fn one(notice: &ToldNotice, public_url: &str) -> Value {
    let instant = |ms: i64| Timestamp::from_millisecond(ms).map(|at| at.to_string()).unwrap_or_default();
    let data = &notice.data;
    let mut view = json!({
        "id": notice.id,
        "kind": notice.kind,
        "due_at": instant(notice.due_at),
        "noticed_at": instant(notice.noticed_at),
        "request": notice.dsr_id,
        "controller": notice.controller,
        "type": data["type"],
        "regulation": data["regulation"],
        "due_on": data["due_on"],
        "due_before": data["due_before"].as_i64().map(instant),
        "band": data["band"],
        "link": format!("{public_url}/requests/{}", notice.dsr_id),
    });
    if let Some(system) = data["system"].as_str() {
        view["system"] = json!(system);
    }
    if let Some(since) = data["since"].as_i64() {
        view["since"] = json!(instant(since));
    }
    view
}

/// What an answer to a webhook means for the message.
impl From<Delivery> for Told {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Delivered(_) => Told::All,
            Delivery::Gone => Told::Never("gone"),
            Delivery::Retry { retry_after, .. } => Told::Again { reached: 0, retry_after },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::tests::{contents, notice};
    use super::*;
    use redress_domain::notice::NoticeKind;
    use redress_domain::{MessageId, RouteId};

    #[test]
    fn a_body_names_its_message_and_each_notice_and_nothing_of_the_person() {
        let lease = MessageLease {
            id: MessageId::from_parts(1, [1; 10]),
            route_id: RouteId::from_parts(1, [2; 10]),
            digest: false,
            token: 1,
            failures: 3,
            reached: 0,
            created_at: 1_772_300_001_000,
            announces: false,
        };
        let all =
            contents(vec![notice(1, NoticeKind::Critical, None), notice(2, NoticeKind::ConnectorSilent, Some("crm"))]);
        let said: Value = serde_json::from_str(&body(&lease, &all, "https://dsr.example.com")).expect("JSON");
        let id = all.notices[1].dsr_id.as_str();
        assert_eq!(said["type"], "redress.notices");
        assert_eq!(said["timestamp"], "2026-02-28T17:33:21Z");
        assert_eq!(said["data"]["message"], lease.id.as_str());
        assert_eq!(
            said["data"]["notices"][1],
            json!({
                "id": all.notices[1].id, "kind": "connector_silent", "due_at": "2026-02-28T17:33:20Z",
                "noticed_at": "2026-02-28T17:33:20.5Z", "request": id, "controller": "acme", "type": "deletion",
                "regulation": "EU-GDPR", "due_on": "2026-03-02", "due_before": "2026-03-02T23:00:00Z", "band": "critical",
                "link": format!("https://dsr.example.com/requests/{id}"), "system": "crm", "since": "2026-02-26T10:00:00Z",
            })
        );
        assert_eq!(body(&lease, &all, "x"), body(&MessageLease { failures: 9, token: 7, ..lease.clone() }, &all, "x"));
    }
}
