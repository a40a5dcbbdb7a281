//! A message is a person's if, and only if, one of its address headers holds their address.
//!
//! The headers are From, Sender, Reply-To, To, Cc, Bcc, their Resent- forms (RFC 5322 section 3.6), Return-Path,
//! Delivered-To and X-Original-To. They are parsed, not searched: display names, comments, folding, groups and RFC 2047
//! words do not count, and each address is compared by [`Identifier::is_same_as`]. A message that only mentions the
//! address in its subject, in its text or in somebody's display name is not matched: nothing says that it is about this
//! person rather than about somebody who wrote the address down. A message to several people is each one's.
//!
//! A mention in a *malformed* address header is another matter: there the parser cannot say what is a name and what an
//! address. Such a message is [`Relation::Unclear`], and a person must look. See `grammar` for what is well-formed.

mod fields;
mod grammar;
mod tally;

#[cfg(test)]
mod tests;

use crate::{Outcome, Problem, Trouble, Work};
use mail_parser::{Address, MessageParser};
use redress_domain::{Identifier, IdentifierType, Personal, Subject};
use serde_json::{Map, Value};

pub(crate) use fields::header_end;
pub(crate) use tally::{Tally, message_unclear, too_many};

/// The address headers that mail servers search by keys of their own (RFC 3501 section 6.4.4).
pub(crate) const SEARCHED_BY_KEY: &[&str] = &["From", "To", "Cc", "Bcc"];
/// All other address headers.
pub(crate) const SEARCHED_BY_NAME: &[&str] = &[
    "Sender",
    "Reply-To",
    "Return-Path",
    "Delivered-To",
    "X-Original-To",
    "Resent-From",
    "Resent-Sender",
    "Resent-Reply-To",
    "Resent-To",
    "Resent-Cc",
    "Resent-Bcc",
];
/// The longest header section that is read, in bytes.
pub(crate) const HEADER_MAX: usize = 8 * 1024 * 1024;
/// How many of one person's messages may be touched at most, unless the settings say otherwise.
pub(crate) const MAX_MESSAGES: u64 = 10_000;

/// A person, as far as mail knows them: by their addresses.
#[derive(Debug, Clone)]
pub(crate) struct Addressee {
    identifiers: Vec<Identifier>,
    /// The spellings of the addresses, in lower case.
    mentions: Vec<Personal<String>>,
    region: Option<String>,
}

impl Addressee {
    /// The subject's addresses; a subject without one cannot be looked for here, which is not the same as not found.
    pub(crate) fn of(subject: &Subject) -> Result<Self, Trouble> {
        let identifiers: Vec<_> =
            subject.identifiers.iter().filter(|i| i.kind() == IdentifierType::Email).cloned().collect();
        if identifiers.is_empty() {
            return Err(Trouble::Denied(Problem::new(
                "no_usable_identifier",
                "mail can only be searched by e-mail address and the request names none; add one or leave this system out",
            )));
        }
        let spellings = identifiers.iter().flat_map(Identifier::spellings);
        let mentions = spellings.map(|spelling| spelling.expose().to_lowercase().into()).collect();
        Ok(Self { identifiers, mentions, region: subject.region.clone() })
    }

    /// What to search for before [`Addressee::relation`] decides: every spelling of every address.
    pub(crate) fn spellings(&self) -> Vec<Personal<String>> {
        let mut all: Vec<_> = self.identifiers.iter().flat_map(Identifier::spellings).collect();
        // The case does not matter to a mail server's search.
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|spelling| seen.insert(spelling.expose().to_lowercase()));
        all
    }

    /// What the message with this header section is to the person.
    pub(crate) fn relation(&self, header: &[u8]) -> Relation {
        self.relation_to(&Addresses::read(header))
    }

    /// What the message with these address headers is to the person.
    pub(crate) fn relation_to(&self, message: &Addresses) -> Relation {
        if message.found.iter().any(|found| self.is(found)) {
            return Relation::Theirs;
        }
        let is_mentioned = |text: &Personal<String>| self.mentions.iter().any(|m| mentions(text.expose(), m.expose()));
        if message.malformed.iter().any(is_mentioned) { Relation::Unclear } else { Relation::Nothing }
    }

    /// Whether one of these is the person's address; for services that have taken the headers apart themselves.
    pub(crate) fn is_one_of<'a>(&self, addresses: impl IntoIterator<Item = &'a str>) -> bool {
        addresses.into_iter().any(|address| self.is(&Personal::from(address.trim().to_owned())))
    }

    fn is(&self, found: &Personal<String>) -> bool {
        let holds = |identifier: &Identifier| found.expose().contains(identifier.normal().expose().as_str());
        if crate::mutant::mutant("match.near_twins_too") && self.identifiers.iter().any(holds) {
            return true;
        }
        self.identifiers.iter().any(|identifier| identifier.is_same_as(found.expose(), self.region.as_deref()))
    }
}

/// What a message is to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// One of its address headers holds their address.
    Theirs,
    /// A malformed address header mentions their address; nothing says as what.
    Unclear,
    Nothing,
}

/// The address headers of one message.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// Every address, in its own spelling.
    found: Vec<Personal<String>>,
    /// The texts of malformed headers, in lower case: as they are, decoded, and with quotes and gaps left out.
    malformed: Vec<Personal<String>>,
    is_doubtful: bool,
}

impl Addresses {
    /// Reads a header section, or a message's beginning up to where that ends.
    pub(crate) fn read(header: &[u8]) -> Self {
        let mut all = Self::default();
        let (mut from, mut to, mut odd) = (false, false, false);
        for field in fields::fields(header) {
            if !SEARCHED_BY_KEY.iter().chain(SEARCHED_BY_NAME).any(|name| name.eq_ignore_ascii_case(&field.name)) {
                continue;
            }
            from |= field.name.eq_ignore_ascii_case("From");
            to |= field.name.eq_ignore_ascii_case("To");
            let list = grammar::list(&field.value);
            odd |= list.odd || !list.well_formed || !field.stray.is_empty();
            all.found.extend(list.found.into_iter().map(Personal::from));
            if !list.well_formed || !field.stray.is_empty() {
                let text = field.value + &field.stray;
                let decoded = grammar::decode(&text).to_lowercase();
                let squeezed = squeezed(&decoded);
                all.malformed.extend([text.to_lowercase(), decoded, squeezed].map(Personal::from));
            }
        }
        all.is_doubtful = odd || !from || !to;
        all
    }

    /// Whether others may have read these headers in another way, or not seen all of them.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }
}

/// A text without quotes, and without white space around `@` and dots.
fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !matches!(c, '"' | '\\')) {
        if matches!(c, '@' | '.') {
            out.truncate(out.trim_end().len());
        } else if c.is_whitespace() && out.ends_with(['@', '.']) {
            continue;
        }
        out.push(c);
    }
    out
}

/// Whether an address stands in a text as a whole: not as the end of a longer local part, nor as the beginning of a
/// longer domain. Both are in lower case.
fn mentions(text: &str, address: &str) -> bool {
    text.match_indices(address).any(|(at, _)| {
        // One single quote before it is a quote, as in 'ann@x.example'.
        let before = text[..at].strip_suffix('\'').unwrap_or(&text[..at]).chars().next_back();
        let mut after = text[at + address.len()..].chars();
        let is_inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        let goes_on = match after.next() {
            Some('.') => after.next().is_some_and(char::is_alphanumeric),
            next => next.is_some_and(is_inside),
        };
        !goes_on && !before.is_some_and(|c| c == '.' || grammar::is_atext(c))
    })
}

/// What an export says about a message besides the message itself.
pub(crate) fn summary(header: &[u8], size: u64) -> Map<String, Value> {
    let mut record = Map::new();
    let header = &header[fields::start(header)..];
    let message = MessageParser::new().with_minimal_headers().with_message_ids().parse_headers(header);
    let message = message.unwrap_or_default();
    let list = |address: Option<&Address<'_>>| {
        Value::Array(address.into_iter().flat_map(Address::iter).map(|a| Value::String(shown_address(a))).collect())
    };
    record.insert("date".into(), message.date().map_or(Value::Null, |date| date.to_rfc3339().into()));
    record.insert("from".into(), list(message.from()));
    record.insert("to".into(), list(message.to()));
    record.insert("subject".into(), message.subject().map_or(Value::Null, Into::into));
    record.insert("size".into(), size.into());
    record.insert("message_id".into(), message.message_id().map_or(Value::Null, Into::into));
    record
}

fn shown_address(address: &mail_parser::Addr<'_>) -> String {
    match (address.name.as_deref(), address.address.as_deref()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => address.or(name).unwrap_or_default().to_owned(),
    }
}

/// Mail is kept as it was sent: the answer to every correction.
pub(crate) fn not_corrected(batch: &[Work<'_>]) -> Vec<Outcome> {
    batch.iter().map(|_| Outcome::Trouble(unsupported())).collect()
}

/// The answer to a verb that mail does not have.
pub(crate) fn unsupported() -> Trouble {
    Trouble::Denied(Problem::new(
        "verb_unsupported",
        "messages are kept as they were sent; they can be exported and erased, not changed",
    ))
}
