//! Who signs in at a warehouse: a token signed with a key whose public half is registered.

use crate::World;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::Value;

/// The key that both warehouses know: it opens nothing but the simulators.
pub const PRIVATE_KEY: &str = super::gmail::PRIVATE_KEY;

fn public() -> Vec<u8> {
    let body: String = PRIVATE_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).expect("our own file");
    RsaKeyPair::from_pkcs8(&der).expect("our own file").public_key().as_ref().to_vec()
}

/// The fingerprint as `openssl rsa -pubout -outform DER | openssl dgst -sha256 -binary | openssl enc -base64` gives it: of a
/// 2048-bit key, whose envelope is always the same.
pub fn fingerprint() -> String {
    let key = public();
    let mut der = vec![0x30, 0x82];
    let length = |n: usize| u16::try_from(n).expect("a short key").to_be_bytes();
    der.extend(length(key.len() + 20));
    der.extend([0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82]);
    der.extend(length(key.len() + 1));
    der.push(0);
    der.extend(key);
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &der))
}

/// The claims of a token that the registered key signed and that holds now, for at most an hour.
pub fn claims(world: &World, token: &str) -> Option<Value> {
    let parts: Vec<&str> = token.split('.').collect();
    let [head, said, signature] = parts[..] else { return None };
    let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let (header, claims) = (json(head)?, json(said)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let signed = format!("{head}.{said}");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public()).verify(signed.as_bytes(), &signature).ok()?;
    let now = world.now_ms() / 1_000;
    let (from, until) = (claims["iat"].as_i64()?, claims["exp"].as_i64()?);
    // The connector's clock does not travel with the simulator's.
    let is_short = until - from <= 3_600 && until > from && from <= now + 300;
    (header["alg"] == "RS256" && is_short && !world.is_revoked()).then_some(claims)
}
