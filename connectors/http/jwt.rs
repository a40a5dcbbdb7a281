//! Signs the JSON Web Tokens (RFC 7519, RS256 of RFC 7518 section 3.3) with which services sign in (RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::Value;

/// An RSA private key.
pub(crate) struct SigningKey(RsaKeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// Reads a key in PEM: PKCS #8 (`PRIVATE KEY`) or PKCS #1 (`RSA PRIVATE KEY`). None if it is neither.
    pub(crate) fn from_pem(pem: &str) -> Option<Self> {
        let mut lines = pem.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN"));
        let kind = lines.next()?;
        let body: String = lines.take_while(|line| !line.starts_with("-----END")).collect();
        let der = STANDARD.decode(body).ok()?;
        match kind {
            "-----BEGIN PRIVATE KEY-----" => RsaKeyPair::from_pkcs8(&der).ok(),
            "-----BEGIN RSA PRIVATE KEY-----" => RsaKeyPair::from_der(&der).ok(),
            _ => None,
        }
        .map(Self)
    }

    /// The public key in DER (PKCS #1).
    pub(crate) fn public_der(&self) -> &[u8] {
        use ring::signature::KeyPair as _;
        self.0.public_key().as_ref()
    }
}

/// A signed token with these claims; `header` may add to `alg` and `typ` (a `kid`).
pub(crate) fn rs256(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let mut head = serde_json::json!({"alg": "RS256", "typ": "JWT"});
    if let (Some(head), Some(more)) = (head.as_object_mut(), header.as_object()) {
        head.extend(more.clone());
    }
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut signature = vec![0; key.0.public().modulus_len()];
    key.0
        .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .expect("the signature is as long as the modulus");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}
