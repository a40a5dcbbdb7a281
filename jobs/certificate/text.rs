//! Values as text: in documents, exact and readable again; in reports, safe to print on a terminal.

/// Serde for a value that has one exact text form (an instant, a date).
pub(crate) mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::{borrow::Cow, fmt::Display, str::FromStr};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(|_| serde::de::Error::custom("not a date or time"))
    }
}

/// [`as_text`] for a value that may be absent.
pub(crate) mod as_text_option {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::{borrow::Cow, fmt::Display, str::FromStr};

    #[expect(clippy::ref_option, reason = "serde's `with` hands over a reference to the field")]
    pub(crate) fn serialize<T: Display, S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => s.collect_str(value),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        let Some(text) = Option::<Cow<'de, str>>::deserialize(d)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| serde::de::Error::custom("not a date or time"))
    }
}

/// The most characters of a foreign text that a report repeats.
const PLAIN_MAX: usize = 200;

/// A text from a document that anybody may have written, safe to print: no control characters, no reversal of the
/// reading direction, not endless.
pub(crate) fn plain(text: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut out: String = text.chars().take(PLAIN_MAX).map(|c| if hostile(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(PLAIN_MAX).is_some() {
        out.push('…');
    }
    out
}
