//! A signed token (JWS, RFC 7515) is checked against the keys that the provider publishes (JWK set, RFC 7517).
//!
//! The algorithm that a token names must fit the key; those that need no key of the provider's (`none`, `HS256`) do not exist here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;

/// The longest token that is looked at.
const TOKEN_MAX: usize = 64 * 1024;

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The provider may have changed its keys since we read them.
    UnknownKey,
    /// What is wrong.
    Bad(&'static str),
}

/// The keys of a provider.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    /// The only algorithm it is for, if it says so.
    only: Option<String>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A curve and an uncompressed point.
    Ec(&'static str, Vec<u8>),
    Ed25519(Vec<u8>),
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value.as_str()?).ok()
}

impl Key {
    fn read(jwk: &Value) -> Option<Self> {
        if jwk["use"].as_str().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let material = match (jwk["kty"].as_str()?, jwk["crv"].as_str()) {
            ("RSA", _) => Material::Rsa { n: decoded(&jwk["n"])?, e: decoded(&jwk["e"])? },
            ("EC", Some("P-256")) => Material::Ec("P-256", point(jwk, 32)?),
            ("EC", Some("P-384")) => Material::Ec("P-384", point(jwk, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(decoded(&jwk["x"])?),
            _ => return None,
        };
        let text = |name: &str| jwk[name].as_str().map(str::to_owned);
        Some(Self { id: text("kid"), only: text("alg"), material })
    }

    fn fits(&self, algorithm: &str) -> bool {
        let kind = match &self.material {
            Material::Rsa { .. } => rsa(algorithm).is_some(),
            Material::Ec(curve, _) => matches!((*curve, algorithm), ("P-256", "ES256") | ("P-384", "ES384")),
            Material::Ed25519(_) => matches!(algorithm, "EdDSA" | "Ed25519"),
        };
        kind && self.only.as_deref().is_none_or(|only| only == algorithm)
    }

    fn verifies(&self, algorithm: &str, text: &[u8], signature: &[u8]) -> bool {
        let unparsed = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(text, signature).is_ok()
        };
        match &self.material {
            Material::Rsa { n, e } => {
                rsa(algorithm).is_some_and(|how| RsaPublicKeyComponents { n, e }.verify(how, text, signature).is_ok())
            }
            Material::Ec("P-256", point) => unparsed(&ECDSA_P256_SHA256_FIXED, point),
            Material::Ec(_, point) => unparsed(&ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(key) => unparsed(&ED25519, key),
        }
    }
}

/// RFC 7518 section 6.2.1: both coordinates have the full length of the field.
fn point(jwk: &Value, length: usize) -> Option<Vec<u8>> {
    let (x, y) = (decoded(&jwk["x"])?, decoded(&jwk["y"])?);
    (x.len() == length && y.len() == length).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        "PS384" => &RSA_PSS_2048_8192_SHA384,
        "PS512" => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

impl Keys {
    /// The keys of a JWK set that we can use; others are passed over (RFC 7517 section 5).
    pub(crate) fn read(set: &Value) -> Self {
        Self(set["keys"].as_array().into_iter().flatten().filter_map(Key::read).collect())
    }

    /// The claims of a token that one of these keys signed.
    pub(crate) fn claims(&self, token: &str) -> Result<Value, Fault> {
        let parts: Vec<&str> = token.split('.').collect();
        let (&[head, body, signature], true) = (parts.as_slice(), token.len() <= TOKEN_MAX) else {
            return Err(Fault::Bad("it is not a signed token"));
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::Bad("it cannot be read"));
        let json = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(|_| Fault::Bad("it cannot be read"));
        let header: Value = json(&decode(head)?)?;
        // An extension that must be understood, and is not.
        if header.get("crit").is_some() {
            return Err(Fault::Bad("it needs an extension that is not known here"));
        }
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let id = header["kid"].as_str();
        let named = |key: &&Key| id.is_none() || key.id.is_none() || key.id.as_deref() == id;
        let fitting: Vec<&Key> = self.0.iter().filter(named).filter(|key| key.fits(algorithm)).collect();
        if fitting.is_empty() {
            return Err(Fault::UnknownKey);
        }
        let text = &token.as_bytes()[..head.len() + 1 + body.len()];
        let signature = decode(signature)?;
        if !fitting.iter().any(|key| key.verifies(algorithm, text, &signature)) {
            return Err(Fault::Bad("its signature is not the provider's"));
        }
        json(&decode(body)?)
    }
}
