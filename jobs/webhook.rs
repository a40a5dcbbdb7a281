//! A webhook tells a controller that something happened to one of its requests, signed as Standard Webhooks 1.0.0 has it.
//!
//! The message is thin: ids, a status, a date, no personal data. It is sent until the endpoint answers 2xx, at
//! the times of [`next_delay`]; the id stays the same, so the receiver can drop what it has already seen.

mod delivery;

pub use delivery::{Delivery, send};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::Date;
use redress_domain::{Personal, RequestType};
use ring::hmac;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;

/// What a secret's text begins with.
const PREFIX: &str = "whsec_";
/// How many random bytes a new secret is made from.
pub const SECRET_BYTES: usize = 32;

/// The secret that we share with one endpoint. It is never printed, and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Personal<Vec<u8>>);

/// A text is not a webhook secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a webhook secret: whsec_ and the base64 of 24 to 64 bytes are wanted")]
pub struct BadSecret;

impl Secret {
    /// A new secret from random bytes.
    pub fn from_random(random: [u8; SECRET_BYTES]) -> Self {
        Self(Personal::new(random.to_vec()))
    }

    /// Reads `whsec_…`.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(BadSecret)?;
        let bytes = Personal::new(STANDARD.decode(encoded).map_err(|_| BadSecret)?);
        if (24..=64).contains(&bytes.expose().len()) { Ok(Self(bytes)) } else { Err(BadSecret) }
    }

    /// The text that the receiver needs, to be shown once.
    pub fn to_text(&self) -> Personal<String> {
        Personal::new(format!("{PREFIX}{}", STANDARD.encode(self.0.expose())))
    }

    /// The signature of one attempt: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<webhook secret>")
    }
}

/// The three headers of one attempt, made at `at`. While a secret is being replaced, give the new and the old one: the
/// receiver accepts either. `id` is the same at every attempt and has no dot in it.
pub fn headers(id: &str, at: Timestamp, body: &[u8], secrets: &[Secret]) -> Vec<(&'static str, String)> {
    let timestamp = at.as_second();
    let signatures: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

/// How long to wait before an attempt when `attempts` were made already; `None` when it is time to give up, which is
/// some three days after the first one. `jitter` is a random number from 0 to 1 and adds up to a tenth, so that an endpoint
/// that was down is not met by everything at once.
pub fn next_delay(attempts: u32, jitter: f64) -> Option<Duration> {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const SECONDS: [u64; 10] =
        [0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
    let seconds = *SECONDS.get(usize::try_from(attempts).ok()?)?;
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    Some(Duration::from_secs(seconds).mul_f64(1.0 + jitter / 10.0))
}

/// What a webhook says about a request: enough to know which one, and to ask for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The request's id.
    pub id: String,
    /// The controller's own name for it.
    pub reference: Option<String>,
    /// The right that is used.
    pub request_type: RequestType,
    /// The status it has now: `in_progress`, `completed`, …
    pub status: String,
    /// The last day that counts.
    pub due_on: Option<Date>,
    /// When this was said.
    pub at: Timestamp,
    /// More members of `data`, such as links; never personal data.
    pub more: Map<String, Value>,
}

impl Notice {
    /// The name of the event: `dsr.request.<status>`.
    pub fn event_type(&self) -> String {
        let status: String = self
            .status
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c } else { '_' })
            .collect();
        format!("dsr.request.{status}")
    }

    /// The body: `{"type", "timestamp", "data": {"id", "reference", "type", "status", "due_on", …}}`.
    pub fn body(&self) -> String {
        let mut data = self.more.clone();
        data.insert("id".into(), json!(self.id));
        data.insert("type".into(), json!(self.request_type));
        data.insert("status".into(), json!(self.status));
        if let Some(reference) = &self.reference {
            data.insert("reference".into(), json!(reference));
        }
        if let Some(due_on) = self.due_on {
            data.insert("due_on".into(), json!(due_on.to_string()));
        }
        json!({ "type": self.event_type(), "timestamp": self.at.to_string(), "data": data }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the libraries for Rust and Python.
    const VECTORS: [(&str, &str, i64, &str, &str); 2] = [
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ];

    #[test]
    fn a_signature_is_the_one_that_the_standards_libraries_make() {
        for (secret, id, timestamp, body, signature) in VECTORS {
            let secret = Secret::parse(secret).expect("a secret");
            assert_eq!(secret.sign(id, timestamp, body.as_bytes()), signature);
        }
    }

    #[test]
    fn the_headers_carry_one_signature_for_each_secret() {
        let (secret, id, timestamp, body, signature) = VECTORS[0];
        let (old, new) = (Secret::parse(secret).expect("a secret"), Secret::from_random([1; 32]));
        let at = Timestamp::from_second(timestamp).expect("an instant");
        let headers = headers(id, at, body.as_bytes(), &[new.clone(), old]);
        let both = format!("{} {signature}", new.sign(id, timestamp, body.as_bytes()));
        assert_eq!(
            headers,
            [("webhook-id", id.to_owned()), ("webhook-timestamp", "1649367553".into()), ("webhook-signature", both)]
        );
    }

    #[test]
    fn a_secret_is_read_back_and_never_printed() {
        let secret = Secret::from_random([7; 32]);
        let text = secret.to_text();
        assert!(text.expose().starts_with("whsec_"));
        assert_eq!(Secret::parse(text.expose()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?} {text:?}"), "<webhook secret> <personal>");
    }

    #[test]
    fn what_is_too_short_too_long_or_not_base64_is_not_a_secret() {
        let of = |n: usize| format!("whsec_{}", STANDARD.encode(vec![1; n]));
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!", &of(23), &of(65)] {
            assert_eq!(Secret::parse(text), Err(BadSecret), "{text}");
        }
        assert!(Secret::parse(&of(24)).is_ok() && Secret::parse(&of(64)).is_ok());
    }

    #[test]
    fn attempts_are_spread_over_three_days_and_then_end() {
        let seconds: Vec<u64> = (0..10).filter_map(|n| next_delay(n, 0.0)).map(|delay| delay.as_secs()).collect();
        assert_eq!(seconds, [0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]);
        assert_eq!(next_delay(10, 0.0), None);
        assert_eq!(next_delay(u32::MAX, 0.0), None);
        assert_eq!(next_delay(2, 1.0), Some(Duration::from_secs(330)));
        assert_eq!(next_delay(0, 1.0), Some(Duration::ZERO));
        for jitter in [f64::NAN, f64::INFINITY, -5.0] {
            assert_eq!(next_delay(2, jitter), Some(Duration::from_mins(5)), "{jitter}");
        }
    }

    #[test]
    fn a_body_is_thin_and_well_formed() {
        let notice = Notice {
            id: "dsr_1".into(),
            reference: Some("TICKET-1".into()),
            request_type: RequestType::Deletion,
            status: "completed".into(),
            due_on: Some(jiff::civil::date(2026, 12, 21)),
            at: "2026-11-21T10:00:00Z".parse().expect("an instant"),
            more: Map::from_iter([
                ("certificate".into(), json!("/v1/requests/dsr_1/certificate")),
                ("id".into(), json!("x")),
            ]),
        };
        let body: Value = serde_json::from_str(&notice.body()).expect("JSON");
        assert_eq!(
            body,
            json!({"type": "dsr.request.completed", "timestamp": "2026-11-21T10:00:00Z", "data": {"id": "dsr_1", "reference": "TICKET-1",
                "type": "deletion", "status": "completed", "due_on": "2026-12-21", "certificate": "/v1/requests/dsr_1/certificate"}})
        );
        let odd = Notice { status: "a b\n".into(), reference: None, due_on: None, ..notice };
        assert_eq!(odd.event_type(), "dsr.request.a_b_");
        assert!(!odd.body().contains("reference") && !odd.body().contains("due_on"));
    }
}
