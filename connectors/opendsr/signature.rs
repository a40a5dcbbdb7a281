//! A processor signs its answers with the RSA key of its certificate (section 5 of OpenDSR 2.0): PKCS #1 v1.5 with SHA-256 over
//! the exact bytes of the body.
//!
//! A certificate from the network must lead to a root of this machine and name the processor's domain; one from the settings is
//! believed because the operator wrote it down, and must still name the domain. Revocation lists are not asked.

use crate::{Problem, Trouble};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, ring as algorithms};

/// Whether answers must be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signing {
    /// An answer without a true signature is not believed.
    Required,
    /// A signature that is there must be true.
    IfPresent,
    /// Signatures are not looked at.
    Off,
}

impl Signing {
    /// The word of the settings.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "required" => Self::Required,
            "if_present" => Self::IfPresent,
            "off" => Self::Off,
            _ => return None,
        })
    }
}

/// A processor's certificate with what leads from it to a root.
#[derive(Clone)]
pub(super) struct Chain(Vec<CertificateDer<'static>>);

/// Why a signature or certificate is not believed.
pub(super) fn disbelieved(code: &'static str, detail: &str) -> Trouble {
    Trouble::Denied(Problem::new(code, format!("{detail}; nothing was concluded from the answer")))
}

impl Chain {
    /// The certificates of a PEM text, the processor's own first.
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).take(8).collect::<Result<_, _>>().ok()?;
        let own = chain.first()?;
        EndEntityCert::try_from(own).ok()?;
        Some(Self(chain))
    }

    /// The roots of this machine.
    pub(super) fn roots() -> Vec<TrustAnchor<'static>> {
        let certificates = rustls_native_certs::load_native_certs().certs;
        certificates.iter().filter_map(|der| Some(webpki::anchor_from_trusted_cert(der).ok()?.to_owned())).collect()
    }

    fn own(&self) -> Option<EndEntityCert<'_>> {
        EndEntityCert::try_from(self.0.first()?).ok()
    }

    /// Whether the certificate names this domain.
    pub(super) fn names(&self, domain: &str) -> bool {
        let name = ServerName::try_from(domain);
        self.own().zip(name.ok()).is_some_and(|(own, name)| own.verify_is_valid_for_subject_name(&name).is_ok())
    }

    /// Whether it leads to one of these roots at this moment (Unix ms).
    pub(super) fn leads_to(&self, roots: &[TrustAnchor<'_>], now_ms: i64) -> bool {
        let now = UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now_ms).unwrap_or(0)));
        let between = self.0.get(1..).unwrap_or_default();
        let known = webpki::ALL_VERIFICATION_ALGS;
        self.own().is_some_and(|own| {
            own.verify_for_usage(known, roots, between, now, KeyUsage::server_auth(), None, None).is_ok()
        })
    }

    /// Whether this is its signature (base64, perhaps folded) of these bytes.
    pub(super) fn signed(&self, body: &[u8], signature: &str) -> bool {
        let text: String = signature.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let Ok(signature) = STANDARD.decode(text) else { return false };
        self.own()
            .is_some_and(|own| own.verify_signature(algorithms::RSA_PKCS1_2048_8192_SHA256, body, &signature).is_ok())
    }
}
