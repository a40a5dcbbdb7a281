//! A signer is the installation's Ed25519 key; whoever knows its public key can check what it signed, offline.

use super::verify::VerifyError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;

const ALGORITHM: &str = "Ed25519";

/// The installation's signing key.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl Signer {
    /// The key that belongs to a 32-byte seed (RFC 8032).
    ///
    /// # Panics
    /// Never: every 32 bytes are a seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are an Ed25519 seed");
        let mut bytes = [0; 32];
        bytes.copy_from_slice(pair.public_key().as_ref());
        Self { pair, public: PublicKey(bytes) }
    }

    /// What others need to check its signatures.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The key's short name, see [`PublicKey::key_id`].
    pub fn key_id(&self) -> String {
        self.public.key_id()
    }

    /// The 64-byte signature of a message.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<signer {}>", self.key_id())
    }
}

/// A public key of Ed25519.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A text is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key: 32 bytes in base64 are wanted")]
pub struct BadKey;

impl PublicKey {
    /// A key from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key from base64.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| BadKey)?;
        Ok(Self(bytes.try_into().map_err(|_| BadKey)?))
    }

    /// Its short name: the first 16 hex digits of the SHA-256 of its 32 bytes.
    pub fn key_id(&self) -> String {
        sha256_hex(&self.0)[..16].to_owned()
    }

    /// The key in base64.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Whether `signature` is this key's for `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// What is known about the key behind a good signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTrust {
    /// It is one of the keys that the caller trusts.
    Trusted,
    /// The caller named no keys: the document is whole, but anybody could have signed it.
    NotChecked,
}

impl fmt::Display for KeyTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyTrust::Trusted => "trusted key",
            KeyTrust::NotChecked => "key not compared with a trusted one",
        })
    }
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

/// The JSON that travels with a signed message; the signature itself stands under `field`.
pub(crate) fn signature_block(signer: &Signer, message: &[u8], field: &str) -> Value {
    json!({
        "algorithm": ALGORITHM,
        "key_id": signer.key_id(),
        "public_key": signer.public_key().to_base64(),
        field: STANDARD.encode(signer.sign(message)),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    algorithm: String,
    key_id: String,
    public_key: String,
    #[serde(alias = "value")]
    signature: String,
}

/// Checks a message against what [`signature_block`] wrote for it; gives the key's short name and how far to trust it.
pub(crate) fn check_block(
    block: &Value,
    message: &[u8],
    trusted: Option<&[PublicKey]>,
) -> Result<(String, KeyTrust), VerifyError> {
    let block = Block::deserialize(block)
        .map_err(|_| VerifyError::Shape("the signature's members are not as they should be"))?;
    if block.algorithm != ALGORITHM {
        return Err(VerifyError::Algorithm);
    }
    let key = PublicKey::parse(&block.public_key)
        .map_err(|_| VerifyError::Shape("the public key is not an Ed25519 key in base64"))?;
    if key.to_base64() != block.public_key {
        return Err(VerifyError::Shape("the public key is spelled in another way than base64 has it"));
    }
    if key.key_id() != block.key_id {
        return Err(VerifyError::Shape("key_id does not belong to the public key"));
    }
    let trust = match trusted {
        None => KeyTrust::NotChecked,
        Some(keys) if keys.contains(&key) => KeyTrust::Trusted,
        Some(_) => return Err(VerifyError::UntrustedKey { key_id: block.key_id }),
    };
    let signature = STANDARD.decode(&block.signature).map_err(|_| VerifyError::Shape("the signature is not base64"))?;
    if !key.verifies(message, &signature) {
        return Err(VerifyError::Changed);
    }
    Ok((block.key_id, trust))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_key_and_signature_of_rfc_8032() {
        // RFC 8032 section 7.1, TEST 1.
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let signer = Signer::from_seed(&seed);
        assert_eq!(hex(&signer.public_key().0), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert!(hex(&signer.sign(b"")).starts_with("e5564300c360ac729086e2cc806e828a"));
        assert_eq!(PublicKey::parse(&signer.public_key().to_base64()), Ok(*signer.public_key()));
        assert_eq!(signer.key_id().len(), 16);
        assert_eq!(format!("{signer:?}"), format!("<signer {}>", signer.key_id()));
    }

    #[test]
    fn what_is_not_32_bytes_in_base64_is_not_a_key() {
        for text in ["", "AAAA", "not base64", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 33])] {
            assert_eq!(PublicKey::parse(text), Err(BadKey), "{text}");
        }
    }
}
