//! An escaper writes a value as one literal of a query language, with its quotes; what it cannot write exactly it refuses.
//!
//! Each writes the quotes itself, so that a manifest cannot forget them: `WHERE Email = ${subject.email|soql}`. Control
//! characters and line breaks are refused everywhere: no identifier holds one, and languages differ in what they do with them.

use std::fmt::Write as _;

/// A query language for which we know how a literal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Escaper {
    /// Salesforce: `'…'`, backslash before backslash and quote. Only for `=` and `IN`: LIKE has wildcards besides.
    Soql,
    /// OData 4: `'…'`, the quote doubled.
    Odata,
    /// Gmail's `q`: `"…"`; it knows no escape, so quote and backslash are refused.
    Gmailq,
    /// KQL (Microsoft search): `"…"`; no escape, and `*` is a wildcard: these are refused.
    Kql,
    /// SendGrid: `"…"`; how it escapes is not documented, so quote and backslash are refused.
    Sgql,
    /// Zendesk search: `"…"`; no escape, and `*` is a wildcard: these are refused.
    Zendeskq,
    /// Klaviyo filters: `"…"` as in JSON.
    Klaviyo,
    /// Shopify search: `"…"`, backslash before backslash and quote; `*` is a wildcard and refused.
    Shopifyq,
    /// Stripe search: `"…"`, backslash before the quote; a backslash is refused.
    Stripeq,
    /// One or many values between commas, which know no escape: a value with a comma would name a second person.
    Csv,
    /// A JSON string inside a text (a body within a body).
    Jsonstr,
}

impl Escaper {
    /// Every escaper.
    pub const ALL: [Self; 11] = [
        Self::Soql,
        Self::Odata,
        Self::Gmailq,
        Self::Kql,
        Self::Sgql,
        Self::Zendeskq,
        Self::Klaviyo,
        Self::Shopifyq,
        Self::Stripeq,
        Self::Csv,
        Self::Jsonstr,
    ];

    /// Its name in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Soql => "soql",
            Self::Odata => "odata",
            Self::Gmailq => "gmailq",
            Self::Kql => "kql",
            Self::Sgql => "sgql",
            Self::Zendeskq => "zendeskq",
            Self::Klaviyo => "klaviyo",
            Self::Shopifyq => "shopifyq",
            Self::Stripeq => "stripeq",
            Self::Csv => "csv",
            Self::Jsonstr => "jsonstr",
        }
    }

    /// The escaper of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|escaper| escaper.name() == name)
    }

    /// Whether it puts quotes around what it writes.
    pub const fn quotes(self) -> bool {
        !matches!(self, Self::Csv)
    }

    /// The value as one literal.
    ///
    /// # Errors
    /// Why this language cannot hold exactly this value. Never the value itself.
    pub fn literal(self, value: &str) -> Result<String, &'static str> {
        if value.is_empty() {
            return Err("it is empty");
        }
        if value.chars().any(breaks_lines) {
            return Err("it holds a control character or a line break");
        }
        let none = |refused: &[char], why| if value.contains(refused) { Err(why) } else { Ok(()) };
        match self {
            Self::Soql => Ok(format!("'{}'", with_backslash(value, &['\\', '\'']))),
            Self::Odata => Ok(format!("'{}'", value.replace('\'', "''"))),
            Self::Gmailq | Self::Sgql => {
                none(&['"', '\\'], "it holds a quotation mark or a backslash, for which the language has no escape")?;
                Ok(format!("\"{value}\""))
            }
            Self::Kql | Self::Zendeskq => {
                none(
                    &['"', '\\', '*'],
                    "it holds a quotation mark, a backslash or a wildcard, for which the language has no escape",
                )?;
                Ok(format!("\"{value}\""))
            }
            Self::Klaviyo => Ok(format!("\"{}\"", with_backslash(value, &['\\', '"']))),
            Self::Shopifyq => {
                none(&['*'], "it holds a wildcard, for which the language has no escape")?;
                Ok(format!("\"{}\"", with_backslash(value, &['\\', '"'])))
            }
            Self::Stripeq => {
                none(&['\\'], "it holds a backslash, for which the language has no escape")?;
                Ok(format!("\"{}\"", with_backslash(value, &['"'])))
            }
            Self::Csv => {
                none(
                    &[',', '"'],
                    "it holds the separator (a comma) or a quotation mark, for which there is no escape",
                )?;
                if value.trim() == value {
                    Ok(value.to_owned())
                } else {
                    Err("it begins or ends with white space, which lists drop")
                }
            }
            Self::Jsonstr => Ok(serde_json::Value::from(value).to_string()),
        }
    }
}

/// Control characters and what some parsers take for the end of a line.
pub(super) fn breaks_lines(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn with_backslash(value: &str, before: &[char]) -> String {
    value.chars().fold(String::with_capacity(value.len() + 2), |mut text, c| {
        let escape = if before.contains(&c) { "\\" } else { "" };
        let _never_fails = write!(text, "{escape}{c}");
        text
    })
}
