//! Gmail's search language, as far as an address is put into it. It has no escape character: between quotes everything but a
//! quote stands for itself, and what holds a quote cannot be asked for.
//!
//! The answer is broad (words, not addresses); every message's headers are compared afterwards.

use crate::{Problem, Trouble};

/// The operators under which an address may stand. Gmail has none for Sender, Reply-To and the Resent- headers.
const OPERATORS: &[&str] = &["from", "to", "cc", "bcc", "deliveredto"];
/// Addresses in one query: it travels in a URL.
const AT_ONCE: usize = 4;

/// Queries that together find every message with one of these spellings in an address header (braces mean "any of").
///
/// # Errors
/// A spelling cannot be carried: `identifier_not_sendable`. Nothing is asked then.
pub(super) fn queries(spellings: &[&str]) -> Result<Vec<String>, Trouble> {
    if spellings.is_empty() || !spellings.iter().all(|spelling| can_be_quoted(spelling)) {
        return Err(Trouble::Denied(Problem::new(
            "identifier_not_sendable",
            "the address holds a quote, a backslash or a control character, which Gmail's search cannot be asked for; look for it by hand",
        )));
    }
    let term = |spelling: &&str| -> Vec<String> { OPERATORS.iter().map(|op| format!("{op}:\"{spelling}\"")).collect() };
    Ok(spellings
        .chunks(AT_ONCE)
        .map(|some| format!("{{{}}}", some.iter().flat_map(term).collect::<Vec<_>>().join(" ")))
        .collect())
}

fn can_be_quoted(text: &str) -> bool {
    // Gmail takes typographic quotes for quotes.
    let splits =
        |c: char| c.is_control() || matches!(c, '"' | '\\' | '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ff02}');
    !text.trim().is_empty() && text.contains('@') && !text.contains(splits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_between_quotes_under_every_operator() {
        let query = queries(&["ann@shop.example"]).expect("an address");
        let expected = "{from:\"ann@shop.example\" to:\"ann@shop.example\" cc:\"ann@shop.example\" \
                        bcc:\"ann@shop.example\" deliveredto:\"ann@shop.example\"}";
        assert_eq!(query, [expected]);
    }

    #[test]
    fn operators_and_braces_inside_an_address_are_only_text() {
        for address in ["a@x.com OR in:anywhere", "{x}@y.z", "-a(b)@c.d", "*@x.com"] {
            let query = queries(&[address]).expect("quoted");
            assert_eq!(query[0].matches(&format!("\"{address}\"")).count(), OPERATORS.len(), "{address}");
            assert_eq!(query[0].matches('"').count(), 2 * OPERATORS.len());
        }
    }

    #[test]
    fn what_would_end_the_quotes_is_never_sent() {
        for bad in ["\"a b\"@x.com", "a\"@x.com", "a\\@x.com", "a@x.com\r\n", "\u{201c}a@x.com", "", "  ", "word"] {
            match queries(&["ann@shop.example", bad]) {
                Err(Trouble::Denied(problem)) => assert_eq!(problem.code, "identifier_not_sendable"),
                other => panic!("{bad:?}: {other:?}"),
            }
        }
    }
}
