//! An identifier is a value that points at one person; two identifiers are the same if, and only if, their normal forms are equal.
//!
//! E-mail: the address of RFC 5321/5322 without display name, NFC, lower case, the domain as an A-label (RFC 5891).
//! Phone: E.164. Customer id: the bytes as they are. Whatever a connected system finds by its own, looser comparison
//! (collations, substring searches, formatted numbers) must pass [`Identifier::is_same_as`] before it is acted on.

use crate::{Personal, words::spelled};
use email_address::{EmailAddress, Options};
use std::str::FromStr;
use unicode_normalization::UnicodeNormalization;

spelled! {
    /// What kind of identifier it is, strongest first: where two of one subject's identifiers point at different
    /// records, the stronger one decides and the weaker match is left to a person.
    IdentifierType {
        /// The controller's own key for the person: opaque, compared byte by byte.
        CustomerId = "customer_id",
        /// The person's key in a CRM: opaque.
        CrmId = "crm_id",
        /// The person's key in a marketing system: opaque.
        LeadId = "lead_id",
        /// The person's key in a product or an analytics system: opaque.
        UserId = "user_id",
        /// An e-mail address.
        Email = "email",
        /// A telephone number.
        Phone = "phone",
    }
}

impl IdentifierType {
    /// Whether it is somebody's own key for the person, compared byte by byte.
    pub const fn is_opaque(self) -> bool {
        !matches!(self, IdentifierType::Email | IdentifierType::Phone)
    }
}

/// The longest customer id (or other opaque key) that is taken, in bytes.
pub const CUSTOMER_ID_MAX: usize = 255;
/// The longest e-mail address, in bytes (RFC 5321 section 4.5.3.1.3, less the angle brackets).
pub const EMAIL_MAX: usize = 254;

/// One identifier of a subject, in the form the controller gave and in its normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    kind: IdentifierType,
    given: Personal<String>,
    normal: Personal<String>,
}

/// Why a text is not an identifier. Names the rule, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentifier {
    /// Nothing is left after trimming.
    #[error("is empty")]
    Empty,
    /// Longer than its kind allows.
    #[error("is too long: at most {0} bytes")]
    TooLong(usize),
    /// Holds a control or an invisible formatting character.
    #[error("holds a control, line break, NUL or invisible formatting character; send the bare value")]
    ControlCharacter,
    /// Not one e-mail address.
    #[error("is not one e-mail address of the form local@domain (no display name, no list)")]
    NotAnEmail,
    /// Not a telephone number.
    #[error("is not a telephone number; send it in E.164 form, such as +4915112345678")]
    NotAPhone,
}

impl Identifier {
    /// Reads an identifier. `region` (ISO 3166-1 alpha-2) says how to read a phone number without `+`.
    pub fn parse(kind: IdentifierType, text: &str, region: Option<&str>) -> Result<Self, BadIdentifier> {
        let given = text.trim();
        if given.is_empty() {
            return Err(BadIdentifier::Empty);
        }
        if given.chars().any(is_hidden) {
            return Err(BadIdentifier::ControlCharacter);
        }
        let normal = match kind {
            IdentifierType::Email if given.len() > EMAIL_MAX => return Err(BadIdentifier::TooLong(EMAIL_MAX)),
            IdentifierType::Email => normal_email(given).ok_or(BadIdentifier::NotAnEmail)?,
            IdentifierType::Phone => normal_phone(given, region).ok_or(BadIdentifier::NotAPhone)?,
            kind if kind.is_opaque() && given.len() > CUSTOMER_ID_MAX => {
                return Err(BadIdentifier::TooLong(CUSTOMER_ID_MAX));
            }
            IdentifierType::CustomerId | IdentifierType::CrmId | IdentifierType::LeadId | IdentifierType::UserId => {
                given.to_owned()
            }
        };
        Ok(Self { kind, given: given.into(), normal: normal.into() })
    }

    /// What kind of identifier it is.
    pub const fn kind(&self) -> IdentifierType {
        self.kind
    }

    /// The form the controller gave, trimmed.
    pub const fn given(&self) -> &Personal<String> {
        &self.given
    }

    /// The normal form, which decides equality.
    pub const fn normal(&self) -> &Personal<String> {
        &self.normal
    }

    /// Its first letters and dots in place of the others: enough to recognise, too little to learn: `j•••@e•••.com`, `•••78`.
    pub fn masked(&self) -> String {
        const DOTS: &str = "•••";
        let given = self.given.expose();
        let first = |text: &str| text.chars().next().map(String::from).unwrap_or_default();
        match self.kind {
            IdentifierType::Email => {
                let (local, domain) = given.rsplit_once('@').unwrap_or((given, ""));
                // The last label alone: `co.uk` would say more, and a name without a dot says nothing.
                let end = domain.rsplit_once('.').map(|(_, end)| format!(".{end}")).unwrap_or_default();
                format!("{}{DOTS}@{}{DOTS}{end}", first(local), first(domain))
            }
            IdentifierType::Phone => {
                let digits: Vec<char> = given.chars().filter(char::is_ascii_digit).collect();
                format!("{DOTS}{}", digits[digits.len().saturating_sub(2)..].iter().collect::<String>())
            }
            _ if given.chars().count() > 3 => format!("{}{DOTS}", first(given)),
            _ => DOTS.to_owned(),
        }
    }

    /// Whether a value found in a connected system is this identifier. `region` as in [`Identifier::parse`].
    pub fn is_same_as(&self, stored: &str, region: Option<&str>) -> bool {
        Self::parse(self.kind, stored, region).is_ok_and(|other| other.normal == self.normal)
    }

    /// The spellings under which a system that compares plain text in lower case may hold this identifier: for an
    /// e-mail address the normal form, with a Unicode domain, and decomposed (NFD). Search with these, then check
    /// each hit with [`Identifier::is_same_as`].
    pub fn spellings(&self) -> Vec<Personal<String>> {
        let mut all = vec![self.normal.expose().clone()];
        if self.kind == IdentifierType::Email
            && let Some((local, domain)) = self.normal.expose().rsplit_once('@')
        {
            let (unicode, _) = idna::domain_to_unicode(domain);
            all.push(format!("{local}@{unicode}"));
            all.push(format!("{}@{domain}", local.nfd().collect::<String>()));
            all.push(format!("{local}@{unicode}").nfd().collect());
        }
        all.push(self.given.expose().clone());
        all.sort();
        all.dedup();
        all.into_iter().map(Personal::from).collect()
    }

    /// The last digits of a phone number, few enough to be the same in national and international notation: search
    /// for stored numbers that end in these once everything but digits is dropped, then check each hit.
    pub fn phone_tail(&self) -> Option<Personal<String>> {
        (self.kind == IdentifierType::Phone).then(|| {
            let digits = self.normal.expose().trim_start_matches('+');
            Personal::from(&digits[digits.len().saturating_sub(6)..])
        })
    }
}

/// Control characters, and the invisible ones that make two different values look alike (zero width, direction marks).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn normal_email(text: &str) -> Option<String> {
    let options = Options::default().without_display_text().without_domain_literal();
    let nfc: String = text.nfc().collect();
    let address = EmailAddress::parse_with_options(&nfc, options).ok()?;
    // "%" or "@" alone are refused by the parser; a list ("a@x,b@y") has an "@" in its local part and is too.
    let domain = idna::domain_to_ascii(address.domain()).ok()?;
    if domain.is_empty() || domain.starts_with('.') || domain.contains("..") {
        return None;
    }
    Some(format!("{}@{domain}", address.local_part().to_lowercase()))
}

fn normal_phone(text: &str, region: Option<&str>) -> Option<String> {
    if !text.chars().all(|c| c.is_ascii_digit() || "+-()./ \u{a0}".contains(c)) {
        return None;
    }
    let region = region.and_then(|r| phonenumber::country::Id::from_str(r).ok());
    // "00" is the international prefix of most of the world; the library reads it only where it knows the region.
    let text = match text.strip_prefix("00") {
        Some(rest) if region.is_none() => format!("+{rest}"),
        _ => text.to_owned(),
    };
    let number = phonenumber::parse(region, &text).ok()?;
    let e164 = number.format().mode(phonenumber::Mode::E164).to_string();
    (8..=16).contains(&e164.len()).then_some(e164)
}

#[cfg(test)]
mod tests {
    use super::*;
    use IdentifierType::{CustomerId, Email, Phone};

    fn normal(kind: IdentifierType, text: &str) -> Result<String, BadIdentifier> {
        Identifier::parse(kind, text, Some("DE")).map(|i| i.normal().expose().clone())
    }

    #[test]
    fn an_address_is_the_same_in_any_case_and_with_either_form_of_an_international_domain() {
        for (given, expected) in [
            ("Ann@Shop.Example", "ann@shop.example"),
            (" ann@shop.example ", "ann@shop.example"),
            ("ann@bücher.example", "ann@xn--bcher-kva.example"),
            ("jose\u{301}@x.example", "josé@x.example"),
            ("ann+tag@x.example", "ann+tag@x.example"),
            ("o'brien@x.example", "o'brien@x.example"),
        ] {
            assert_eq!(normal(Email, given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_is_not_one_address_is_refused() {
        for text in [
            "",
            " ",
            "@",
            "%",
            "' OR 1=1 --",
            "a@x.example,b@y.example",
            "a@x.example b@y.example",
            "Ann <ann@x.example>",
            "ann@x.example\r\nBcc: z@z.example",
            "ann@x.example\0",
            "ann",
            "ann@",
            "@x.example",
            "ann@@x.example",
            "a\u{200d}nn@x.example",
            "\u{202e}ann@x.example",
            "ａｎｎ＠x.example",
            "ann@[127.0.0.1]",
            "ann@x..example",
            "{5}\r\nx STORE 1:* +FLAGS (\\Deleted)",
            "*",
            "ann@x.example\" OR ALL ALL \"",
        ] {
            assert!(normal(Email, text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn look_alikes_are_other_people() {
        let ann = Identifier::parse(Email, "ann@x.example", None).expect("valid");
        for other in [
            "joann@x.example",
            "ann@x.example.evil.org",
            "аnn@x.example",
            "ann+1@x.example",
            "Ann <ann@x.example>",
            "ánn@x.example",
        ] {
            assert!(!ann.is_same_as(other, None), "{other}");
        }
        assert!(ann.is_same_as("ANN@X.EXAMPLE", None));
    }

    #[test]
    fn a_phone_number_is_the_same_in_national_and_international_notation() {
        let number = Identifier::parse(Phone, "+4915112345678", None).expect("valid");
        for stored in ["+49 151 12345678", "0151/12345678", "0049 151 12345678", "(0151) 1234-5678"] {
            assert!(number.is_same_as(stored, Some("DE")), "{stored}");
        }
        assert!(!number.is_same_as("0151 12345679", Some("DE")));
        assert!(!number.is_same_as("0151 12345678", Some("US")));
    }

    #[test]
    fn fictitious_american_numbers_are_numbers() {
        assert_eq!(normal(Phone, "+1 (555) 010-0000").as_deref(), Ok("+15550100000"));
    }

    #[test]
    fn what_is_not_a_phone_number_is_refused() {
        for text in ["", "12", "+49 151 CALLNOW", "%", "+", "1' OR '1'='1", "+4915112345678,+4915112345679"] {
            assert!(normal(Phone, text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_customer_id_is_compared_byte_by_byte() {
        let id = Identifier::parse(CustomerId, "C-1007", None).expect("valid");
        assert!(id.is_same_as("C-1007", None));
        assert!(!id.is_same_as("c-1007", None));
        assert!(!id.is_same_as("C-10070", None));
        assert_eq!(normal(CustomerId, &"x".repeat(256)), Err(BadIdentifier::TooLong(CUSTOMER_ID_MAX)));
    }
}
