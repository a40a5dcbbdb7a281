//! A redacted value is `redacted:` and 32 hexadecimal digits of an HMAC: the same for the same value, and of no use without the key.

use super::values;
use ring::hmac;

const PREFIX: &str = "redacted:";
const DIGITS: usize = 32;

/// How many characters a redacted value has.
pub(super) const LENGTH: u64 = (PREFIX.len() + DIGITS) as u64;

/// Whether a value is a redacted one, which is left as it is.
pub(super) fn is_redacted(value: &str) -> bool {
    value.strip_prefix(PREFIX).is_some_and(|digits| {
        digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// The value that takes the place of `value`.
pub(super) fn redact(key: &hmac::Key, value: &str) -> String {
    let tag = hmac::sign(key, value.as_bytes());
    format!("{PREFIX}{}", values::to_hex(&tag.as_ref()[..DIGITS / 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_value_is_recognised_and_depends_on_the_key() {
        let key = |text: &str| hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let once = redact(&key("one"), "ann@shop.example");
        assert_eq!(once.len() as u64, LENGTH);
        assert!(is_redacted(&once) && !is_redacted("redacted:") && !is_redacted("ann@shop.example"));
        assert_eq!(once, redact(&key("one"), "ann@shop.example"));
        assert_ne!(once, redact(&key("two"), "ann@shop.example"));
    }
}
