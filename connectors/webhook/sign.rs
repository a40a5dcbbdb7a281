//! Signatures of Standard Webhooks 1.0.0: `v1`, HMAC-SHA256 over `id.timestamp.body`, keys of 24 to 64 bytes as `whsec_` and base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// A call is genuine for so long before and after its time (seconds).
pub const TOLERANCE_SECONDS: i64 = 300;

/// A signing key.
pub struct SigningSecret(hmac::Key);

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret")
    }
}

impl SigningSecret {
    /// Reads `whsec_…`; none if it is not such a key.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim().strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&bytes.len()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    fn text(id: &str, timestamp: i64, body: &[u8]) -> Vec<u8> {
        [format!("{id}.{timestamp}.").as_bytes(), body].concat()
    }

    /// The signature of a call, as it stands in `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(hmac::sign(&self.0, &Self::text(id, timestamp, body))))
    }

    /// Whether one of the signatures of `webhook-signature` is of this key, for a call made within [`TOLERANCE_SECONDS`] of
    /// `now` (Unix seconds). For what an in-house system sends to us: its reports.
    pub fn is_genuine(&self, id: &str, timestamp: &str, signatures: &str, body: &[u8], now: i64) -> bool {
        let Ok(timestamp) = timestamp.trim().parse::<i64>() else { return false };
        if id.is_empty() || id.contains('.') || now.abs_diff(timestamp) > TOLERANCE_SECONDS.unsigned_abs() {
            return false;
        }
        let text = Self::text(id, timestamp, body);
        let given =
            signatures.split_ascii_whitespace().filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        // Constant in time for each.
        given.filter(|signature| hmac::verify(&self.0, &text, signature).is_ok()).count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From the test suites of the Standard Webhooks libraries (MIT).
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
    fn signatures_are_those_of_other_implementations() {
        for (secret, id, timestamp, body, expected) in VECTORS {
            let secret = SigningSecret::parse(secret).expect("a key");
            assert_eq!(secret.sign(id, timestamp, body.as_bytes()), expected);
            let given = format!("v1a,AAAA {expected} v2,x");
            let genuine = |text: &str, at: i64| {
                secret.is_genuine(id, &timestamp.to_string(), &given, text.as_bytes(), timestamp + at)
            };
            assert!(genuine(body, 0) && genuine(body, 300) && genuine(body, -300));
            assert!(!genuine(body, 301) && !genuine(body, -301) && !genuine(&format!("{body} "), 0));
            assert!(!secret.is_genuine(id, "soon", &given, body.as_bytes(), timestamp));
        }
        for bad in ["", "whsec_", "whsec_AAAA", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_*"] {
            assert!(SigningSecret::parse(bad).is_none(), "{bad}");
        }
    }
}
