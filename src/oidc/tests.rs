//! Tokens that are believed, and those that are not.

use super::jws::{Fault, Keys};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    fn jwk(&self, more: &Value) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let mut jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    }

    fn token(&self, header: &Value) -> String {
        let text = unsigned(header);
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn unsigned(header: &Value) -> String {
    let claims = json!({ "sub": "ann" }).to_string();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims))
}

fn keys(all: &[Value]) -> Keys {
    Keys::read(&json!({ "keys": all }))
}

#[test]
fn a_token_is_believed_if_a_published_key_signed_it() {
    let (ours, other) = (Signer::new(), Signer::new());
    let published =
        keys(&[other.jwk(&json!({ "kid": "o" })), ours.jwk(&json!({ "kid": "a", "use": "sig", "alg": "ES256" }))]);
    for header in [json!({ "alg": "ES256", "kid": "a" }), json!({ "alg": "ES256" })] {
        assert_eq!(published.claims(&ours.token(&header)).unwrap()["sub"], "ann", "{header}");
    }
    let ed =
        Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref()).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(ed.public_key()) });
    let text = unsigned(&json!({ "alg": "EdDSA" }));
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(ed.sign(text.as_bytes())));
    assert_eq!(keys(&[jwk]).claims(&token).unwrap()["sub"], "ann");
}

#[test]
fn no_other_token_is() {
    let (ours, other) = (Signer::new(), Signer::new());
    let published = keys(&[ours.jwk(&json!({ "kid": "a" }))]);
    let good = ours.token(&json!({ "alg": "ES256", "kid": "a" }));
    let parts: Vec<&str> = good.split('.').collect();
    let others = URL_SAFE_NO_PAD.encode(json!({ "sub": "eve" }).to_string());
    let bad = |token: &str| assert!(matches!(published.claims(token), Err(Fault::Bad(_))), "{token}");
    bad(&other.token(&json!({ "alg": "ES256", "kid": "a" })));
    bad(&format!("{}.{others}.{}", parts[0], parts[2]));
    bad(&format!("{}.{}.", parts[0], parts[1]));
    bad(&format!("{}.{}", parts[0], parts[1]));
    bad(&format!("{good}.x"));
    bad(&good[1..]);
    bad(&ours.token(&json!({ "alg": "ES256", "kid": "a", "crit": ["exp"] })));
    bad(&"a".repeat(70_000));
    // What needs no key of the provider's, or another kind of key, fits none of its keys.
    for algorithm in ["none", "None", "HS256", "RS256", "ES384", "EdDSA", ""] {
        let token = ours.token(&json!({ "alg": algorithm, "kid": "a" }));
        assert_eq!(published.claims(&token).unwrap_err(), Fault::UnknownKey, "{algorithm}");
        let text = unsigned(&json!({ "alg": algorithm }));
        assert_eq!(published.claims(&format!("{text}.")).unwrap_err(), Fault::UnknownKey, "{algorithm}");
    }
    assert_eq!(published.claims(&ours.token(&json!({ "alg": "ES256", "kid": "b" }))).unwrap_err(), Fault::UnknownKey);
    // A key for encryption, one for another algorithm, and halves of keys.
    for key in [
        json!({ "kid": "a", "use": "enc" }),
        json!({ "kid": "a", "alg": "ES384" }),
        json!({ "x": "AA" }),
        json!({ "kty": "oct" }),
    ] {
        assert_eq!(keys(&[ours.jwk(&key)]).claims(&good).unwrap_err(), Fault::UnknownKey, "{key}");
    }
    assert_eq!(keys(&[]).claims(&good).unwrap_err(), Fault::UnknownKey);
}
