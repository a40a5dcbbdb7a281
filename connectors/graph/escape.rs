//! An address as a text of OData (`$filter`) and of Exchange's keyword language (`$search`).

use crate::{Problem, Trouble};

/// The messages from this address. A quote in a text of OData is written twice.
pub(super) fn from(address: &str) -> Result<String, Trouble> {
    if address.trim().is_empty() || address.contains(char::is_control) {
        return Err(unsendable());
    }
    let text = address.replace('\'', "''");
    Ok(format!("from/emailAddress/address eq '{text}' or sender/emailAddress/address eq '{text}'"))
}

/// The messages in which this address takes part. The search itself stands between quotes, in which those around the
/// address are escaped; an address that holds either character cannot be asked for.
pub(super) fn participant(address: &str) -> Result<String, Trouble> {
    let ends = |c: char| c.is_control() || matches!(c, '"' | '\\' | '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ff02}');
    if address.trim().is_empty() || !address.contains('@') || address.contains(ends) {
        return Err(unsendable());
    }
    Ok(format!("\"participants:\\\"{address}\\\"\""))
}

fn unsendable() -> Trouble {
    Trouble::Denied(Problem::new(
        "identifier_not_sendable",
        "the address holds a quote, a backslash or a control character, which Exchange's search cannot be asked for; look for it by hand",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_stays_inside_its_text() {
        let filter = from("o'neill@x.example").expect("an address");
        assert_eq!(
            filter,
            "from/emailAddress/address eq 'o''neill@x.example' or sender/emailAddress/address eq 'o''neill@x.example'"
        );
        assert_eq!(participant("o'neill@x.example").expect("an address"), "\"participants:\\\"o'neill@x.example\\\"\"");
    }

    #[test]
    fn what_would_end_the_search_is_never_sent() {
        for bad in ["\"a b\"@x.example", "a\\@x.example", "a@x.example\n", "\u{201d}@x.example", "", "all"] {
            match participant(bad) {
                Err(Trouble::Denied(problem)) => assert_eq!(problem.code, "identifier_not_sendable"),
                other => panic!("{bad:?}: {other:?}"),
            }
        }
        assert!(from("a@x\0").is_err() && from("").is_err());
        let search = participant("a@x.example OR kind:email").expect("one text");
        assert_eq!(search.matches("\\\"").count(), 2);
    }
}
