//! A SOQL statement is put together from names that were checked and literals that were escaped, never from anything else.
//!
//! SOQL has no parameters over REST. A value goes into a literal whose backslashes and quotes are escaped; what holds a
//! control character is not sent at all. Statements are cut so that each fits into an address.

use std::collections::BTreeMap;

/// An address with its headers may have 16 KB; a session takes some of it.
const ENCODED_MAX: usize = 14_000;

/// A text literal, quotes included. None if it holds a control character, which no identifier does.
pub(super) fn literal(value: &str) -> Option<String> {
    if value.chars().any(char::is_control) {
        return None;
    }
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('\'');
    for c in value.chars() {
        if matches!(c, '\\' | '\'') {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal.push('\'');
    Some(literal)
}

/// A pattern that finds numbers that end in these digits, whatever stands between them.
pub(super) fn ends_in(digits: &str) -> String {
    let mut pattern = String::from("'");
    for digit in digits.chars().filter(char::is_ascii_digit) {
        pattern.push('%');
        pattern.push(digit);
    }
    pattern.push('\'');
    pattern
}

fn encoded(text: &str) -> usize {
    url::form_urlencoded::byte_serialize(text.as_bytes()).map(str::len).sum()
}

/// What is asked of one object: its fields, and records that meet any of the tests and `also`.
pub(super) struct Ask<'a> {
    pub(super) object: &'a str,
    pub(super) select: Vec<&'a str>,
    /// A condition that holds for all, made of names and constants.
    pub(super) also: Option<&'a str>,
}

impl Ask<'_> {
    fn around(&self, tests: &str) -> String {
        let also = self.also.map(|also| format!(" AND {also}")).unwrap_or_default();
        format!("SELECT {} FROM {} WHERE ({tests}){also}", self.select.join(","), self.object)
    }

    /// Records of which one of these fields is one of these literals.
    pub(super) fn among<'f>(&self, tests: impl IntoIterator<Item = (&'f str, String)>) -> Vec<String> {
        let frame = encoded(&self.around(""));
        let mut statements = Vec::new();
        let (mut part, mut length) = (BTreeMap::<&str, Vec<String>>::new(), frame);
        for (field, literal) in tests {
            let mut more = encoded(&literal) + 3;
            if !part.contains_key(field) {
                more += field.len() + 20;
            }
            if length + more > ENCODED_MAX && !part.is_empty() {
                statements.push(self.around(&all_in(&part)));
                (part, length) = (BTreeMap::new(), frame);
            }
            length += more;
            part.entry(field).or_default().push(literal);
        }
        if !part.is_empty() {
            statements.push(self.around(&all_in(&part)));
        }
        statements
    }

    /// Records of which one of these fields is like one of these patterns.
    pub(super) fn like<'f>(&self, tests: impl IntoIterator<Item = (&'f str, String)>) -> Vec<String> {
        let frame = encoded(&self.around(""));
        let mut statements = Vec::new();
        let (mut part, mut length) = (Vec::<String>::new(), frame);
        for (field, pattern) in tests {
            let test = format!("{field} LIKE {pattern}");
            let more = encoded(&test) + 4;
            if length + more > ENCODED_MAX && !part.is_empty() {
                statements.push(self.around(&part.join(" OR ")));
                (part, length) = (Vec::new(), frame);
            }
            length += more;
            part.push(test);
        }
        if !part.is_empty() {
            statements.push(self.around(&part.join(" OR ")));
        }
        statements
    }
}

fn all_in(part: &BTreeMap<&str, Vec<String>>) -> String {
    part.iter().map(|(field, literals)| format!("{field} IN ({})", literals.join(","))).collect::<Vec<_>>().join(" OR ")
}

/// The form of 18 characters of a record's id, whose last three say which of the others are capitals. None if the
/// text is no id, or its end belongs to another one.
pub(super) fn full_id(text: &str) -> Option<String> {
    const SIGNS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    if !matches!(text.len(), 15 | 18) || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let mut id = text[..15].to_owned();
    for part in text.as_bytes()[..15].chunks(5) {
        let bits = part.iter().rev().fold(0, |bits, byte| (bits << 1) | usize::from(byte.is_ascii_uppercase()));
        id.push(char::from(SIGNS[bits]));
    }
    (text.len() == 15 || text == id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_and_a_backslash_stay_inside_their_literal_and_control_characters_are_not_sent() {
        assert_eq!(literal("o'brien@x.example").as_deref(), Some(r"'o\'brien@x.example'"));
        assert_eq!(literal(r"x\").as_deref(), Some(r"'x\\'"));
        assert_eq!(literal(r"\' OR Name != \'").as_deref(), Some(r"'\\\' OR Name != \\\''"));
        assert_eq!(literal("a\nb"), None);
        assert_eq!(literal("a\u{85}b"), None);
    }

    #[test]
    fn an_id_has_one_long_form() {
        assert_eq!(full_id("001D000000Iqhsr").as_deref(), Some("001D000000IqhsrIAB"));
        assert_eq!(full_id("001D000000IqhsrIAB").as_deref(), Some("001D000000IqhsrIAB"));
        for other in ["001D000000iqhsrIAB", "001D000000IqhsrIA", "C-1007", "001D000000Iqhs'", ""] {
            assert_eq!(full_id(other), None, "{other}");
        }
    }
}
