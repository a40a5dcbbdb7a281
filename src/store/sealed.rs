//! A sealed value is personal data at rest: AES-256-GCM under the request's own key, bound to where it belongs.
//!
//! Three keys, each wrapped by the one above: the master key (a file), the controller's key, the request's key. The
//! associated data name the controller, the request and the field, so that a sealed value moved to another row does not
//! open. Destroying a request's wrapped key is the purge: nothing else can open what it sealed.
//!
//! A sealed value is `0x01`, 12 random bytes of nonce, the ciphertext and its 16-byte tag. A request's key seals far fewer
//! than 2^32 values, the bound for random 96-bit nonces (NIST SP 800-38D section 8.3).

use crate::Error;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroize;

const VERSION: u8 = 1;

/// A key that seals and opens. Its bytes are never printed.
pub struct Key {
    seals: LessSafeKey,
    /// Marks values that have to be found again without being readable.
    marks: hmac::Key,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<key>")
    }
}

/// Where a sealed value belongs: the associated data of its encryption.
pub(crate) fn place(parts: &[&str]) -> Vec<u8> {
    // Length-prefixed, so that no two different places have the same bytes.
    parts.iter().flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.bytes())).collect()
}

impl Key {
    /// A key of these 32 bytes.
    pub fn new(mut bytes: [u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &bytes).expect("32 bytes are what AES-256 takes");
        // A key of its own for each purpose: what is marked tells nothing about what is sealed.
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), b"redress marks 1");
        bytes.zeroize();
        Self { seals: LessSafeKey::new(key), marks: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) }
    }

    /// The mark of a value in a place (hex): the same for the same value, and of no use to whoever lacks the key.
    pub(crate) fn mark(&self, place: &[u8], clear: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.marks);
        context.update(&(place.len() as u64).to_be_bytes());
        context.update(place);
        context.update(clear);
        crate::migrate::hex(context.sign().as_ref())
    }

    pub(crate) fn seal(&self, place: &[u8], clear: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce = random::<NONCE_LEN>()?;
        let mut out = Vec::with_capacity(1 + NONCE_LEN + clear.len() + 16);
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        let mut body = clear.to_vec();
        self.seals
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut body)
            .map_err(|_| Error::Sealing)?;
        out.append(&mut body);
        Ok(out)
    }

    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let [VERSION, rest @ ..] = sealed else { return Err(Error::Sealing) };
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Error::Sealing)?;
        let mut body = body.to_vec();
        let clear = self
            .seals
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut body)
            .map_err(|_| Error::Sealing)?
            .len();
        body.truncate(clear);
        Ok(body)
    }

    /// A new random key and its wrapped form.
    pub(crate) fn generate(&self, place: &[u8]) -> Result<(Key, Vec<u8>), Error> {
        let mut bytes = random::<32>()?;
        let wrapped = self.seal(place, &bytes)?;
        let key = Key::new(bytes);
        bytes.zeroize();
        Ok((key, wrapped))
    }

    pub(crate) fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<Key, Error> {
        let mut clear = self.open(place, wrapped)?;
        let bytes: [u8; 32] = clear.as_slice().try_into().map_err(|_| Error::Sealing)?;
        clear.zeroize();
        Ok(Key::new(bytes))
    }
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    if crate::simulation::fill(&mut bytes) {
        return Ok(bytes);
    }
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Randomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_with_its_key_and_in_its_place() {
        let key = Key::new([7; 32]);
        let sealed = key.seal(&place(&["ctl", "dsr", "subject"]), b"ann@x.example").expect("seals");
        assert_eq!(key.open(&place(&["ctl", "dsr", "subject"]), &sealed).expect("opens"), b"ann@x.example");
        assert!(key.open(&place(&["ctl", "dsr2", "subject"]), &sealed).is_err());
        assert!(key.open(&place(&["ctld", "sr", "subject"]), &sealed).is_err());
        assert!(Key::new([8; 32]).open(&place(&["ctl", "dsr", "subject"]), &sealed).is_err());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(key.open(&place(&["ctl", "dsr", "subject"]), &bad).is_err(), "byte {i}");
        }
    }

    #[test]
    fn a_mark_is_the_same_for_the_same_value_key_and_place_only() {
        let mark = |key: u8, place: &[u8], value: &[u8]| Key::new([key; 32]).mark(place, value);
        assert_eq!(mark(7, b"a", b"T-1"), mark(7, b"a", b"T-1"));
        for other in [mark(8, b"a", b"T-1"), mark(7, b"b", b"T-1"), mark(7, b"a", b"T-2"), mark(7, b"aT", b"-1")] {
            assert_ne!(mark(7, b"a", b"T-1"), other);
        }
    }

    #[test]
    fn the_same_value_sealed_twice_looks_different_and_does_not_show() {
        let key = Key::new([7; 32]);
        let one = key.seal(b"", b"ann@x.example").expect("seals");
        let two = key.seal(b"", b"ann@x.example").expect("seals");
        assert_ne!(one, two);
        assert!(!one.windows(3).any(|w| w == b"ann"));
    }
}
