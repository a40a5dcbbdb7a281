//! A message is a person's if, and only if, one of its address headers holds their address.
//!
//! The headers are From, Sender, Reply-To, To, Cc, Bcc, their Resent- forms (RFC 5322 section 3.6), Return-Path,
//! Delivered-To and X-Original-To. They are parsed, not searched: display names, comments, folding, groups and RFC 2047
//! words do not count, and each address is compared by [`Identifier::is_same_as`]. A message that only mentions the
//! address in its subject, in its text or in somebody's display name is not matched: nothing says that it is about this
//! person rather than about somebody who wrote the address down. A message to several people is each one's.

use crate::{CollectionEvidence, Evidence, Outcome, Problem, Trouble, Work};
use mail_parser::{Address, HeaderName, HeaderValue, MessageParser, parsers::MessageStream};
use redress_domain::{Identifier, IdentifierType, Personal, Subject};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

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
        Ok(Self { identifiers, region: subject.region.clone() })
    }

    /// What to search for before [`Addressee::owns`] decides: every spelling of every address.
    pub(crate) fn spellings(&self) -> Vec<Personal<String>> {
        let mut all: Vec<_> = self.identifiers.iter().flat_map(Identifier::spellings).collect();
        // The case does not matter to a mail server's search.
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|spelling| seen.insert(spelling.expose().to_lowercase()));
        all
    }

    /// Whether the message with this header section is the person's.
    pub(crate) fn owns(&self, header: &[u8]) -> bool {
        addresses(header).iter().any(|found| self.is(found))
    }

    /// Whether one of these addresses, as [`addresses`] read them from a message, is the person's.
    pub(crate) fn owns_any(&self, found: &[Personal<String>]) -> bool {
        found.iter().any(|found| self.is(found))
    }

    fn is(&self, found: &Personal<String>) -> bool {
        self.identifiers.iter().any(|identifier| identifier.is_same_as(found.expose(), self.region.as_deref()))
    }
}

/// Every address in the address headers of a header section, in its own spelling.
pub(crate) fn addresses(header: &[u8]) -> Vec<Personal<String>> {
    let parser = MessageParser::new().header_raw(HeaderName::Subject).default_header_ignore();
    let Some(message) = parser.parse_headers(header) else { return Vec::new() };
    let mut found = Vec::new();
    for field in message.headers() {
        let named = |name: &&str| name.eq_ignore_ascii_case(field.name.as_str());
        if !SEARCHED_BY_KEY.iter().chain(SEARCHED_BY_NAME).any(named) {
            continue;
        }
        if let Some(raw) = header.get(field.offset_start as usize..field.offset_end as usize) {
            field_addresses(raw, &mut found);
        }
    }
    found
}

fn field_addresses(raw: &[u8], found: &mut Vec<Personal<String>>) {
    let mut any = false;
    let quoted = raw.windows(2).any(|pair| pair == b"\"@");
    if let HeaderValue::Address(list) = MessageStream::new(raw).parse_address() {
        for address in list.iter() {
            let Some(text) = address.address.as_deref().filter(|text| text.contains('@')) else { continue };
            any = true;
            push_words(text, found);
            // The parser takes a quoted local part ("ann b"@x) for a name. Quoted and not, it is the same (RFC 5321 4.1.2).
            if let (true, Some(name)) = (text.starts_with('@') && quoted, address.name.as_deref()) {
                found.push(format!("{name}{text}").into());
                found.push(format!("\"{name}\"{text}").into());
            }
        }
    }
    if !any {
        // A field that is not in the form of the RFC, such as one with a quote that is never closed: what stands in its
        // last angle brackets, or all of it.
        let text = String::from_utf8_lossy(raw);
        let bare = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(&*text, |(inner, _)| inner);
        push_words(bare, found);
    }
}

/// A text that should be an address; where a display name without angle brackets got into it, its words.
fn push_words(text: &str, found: &mut Vec<Personal<String>>) {
    found.push(text.trim().into());
    if text.trim().contains(char::is_whitespace) {
        found.extend(text.split_whitespace().filter(|word| word.contains('@')).map(Personal::from));
    }
}

/// The end of the header section in the beginning of a message: the empty line, or `None` if it is not there yet.
pub(crate) fn header_end(message: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, _) in message.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if matches!(&message[line..at], b"" | b"\r") {
            return Some(at + 1);
        }
        line = at + 1;
    }
    None
}

/// What an export says about a message besides the message itself.
pub(crate) fn summary(header: &[u8], size: u64) -> Map<String, Value> {
    let mut record = Map::new();
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

/// Counts per mailbox, in a form that may leave the system: a mailbox that people name themselves (`Clients/Ann`) may be
/// named after a person, so only standard and configured names are told, all others are counted as one.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    configured: Vec<String>,
    rows: BTreeMap<String, CollectionEvidence>,
}

/// What mailboxes are called that are there for everybody.
const STANDARD: &[&str] = &[
    "INBOX",
    "Sent",
    "Sent Items",
    "Sent Messages",
    "Drafts",
    "Trash",
    "Deleted Items",
    "Deleted Messages",
    "Junk",
    "Junk E-mail",
    "Spam",
    "Archive",
    "Archives",
    "All Mail",
    "Outbox",
    "Templates",
];

impl Tally {
    /// Counts; these mailboxes are named in the settings.
    pub(crate) fn new(configured: &[String]) -> Self {
        Self { configured: configured.to_vec(), rows: BTreeMap::new() }
    }

    /// A mailbox's name as it may be shown.
    pub(crate) fn shown(&self, mailbox: &str) -> String {
        let standard = STANDARD.iter().find(|name| name.eq_ignore_ascii_case(mailbox));
        let last = || mailbox.rsplit(['/', '.']).next().unwrap_or(mailbox);
        match standard {
            Some(name) => (*name).to_owned(),
            None if self.configured.iter().any(|name| name == mailbox) => mailbox.to_owned(),
            None => STANDARD
                .iter()
                .find(|name| mailbox.starts_with("INBOX") && name.eq_ignore_ascii_case(last()))
                .map_or_else(|| "other mailboxes".to_owned(), |name| (*name).to_owned()),
        }
    }

    /// Adds a mailbox that was looked at.
    pub(crate) fn add(&mut self, mailbox: &str, action: &str, before: u64, changed: u64, after: u64) {
        let collection = self.shown(mailbox);
        let row = self.rows.entry(collection.clone()).or_insert_with(|| CollectionEvidence {
            collection,
            action: action.to_owned(),
            ..CollectionEvidence::default()
        });
        row.before += before;
        row.changed += changed;
        row.after += after;
    }

    /// The counts, by name.
    pub(crate) fn evidence(self) -> Evidence {
        Evidence { collections: self.rows.into_values().collect() }
    }
}

/// The answer where more messages match than may be touched.
pub(crate) fn too_many(matched: u64, limit: u64) -> Trouble {
    Trouble::Ambiguous {
        matched,
        problem: Problem::new(
            "too_many_matches",
            format!(
                "{matched} messages match and max_messages is {limit}; look at the address and raise it if all are the person's"
            ),
        ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::subject;

    fn ann() -> Addressee {
        Addressee::of(&subject(&[(IdentifierType::Email, "ann@shop.example")])).expect("she has an address")
    }

    #[test]
    fn an_address_in_any_address_header_makes_the_message_theirs() {
        for header in [
            "From: ann@shop.example\r\n",
            "From: Ann <ann@shop.example>\r\n",
            "from:ANN@Shop.Example\n",
            "Sender: <ann@shop.example>\r\n",
            "Reply-To: \"Vorbild, Ann\" <ann@shop.example>\r\n",
            "To: bob@x.example, Ann <ann@shop.example>\r\n",
            "Cc: bob@x.example,\r\n\tAnn\r\n <ann@shop.example>\r\n",
            "Bcc: ann@shop.example\r\n",
            "To: friends: bob@x.example, ann@shop.example;\r\n",
            "To: undisclosed-recipients:;\r\nCc: ann@shop.example\r\n",
            "From: =?utf-8?q?Ann_=C3=84?= <ann@shop.example>\r\n",
            "From: ann@shop.example (Ann Vorbild)\r\n",
            "From: \"ann\"@shop.example\r\n",
            "Resent-From: ann@shop.example\r\n",
            "Resent-Sender: ann@shop.example\r\n",
            "Resent-To: ann@shop.example\r\n",
            "Resent-Cc: ann@shop.example\r\n",
            "Resent-Bcc: ann@shop.example\r\n",
            "Return-Path: <ann@shop.example>\r\n",
            "Delivered-To: ann@shop.example\r\n",
            "X-Original-To: ann@shop.example\r\n",
            "DELIVERED-TO: ann@shop.example\n",
            "To: ann@shop.example; bob@x.example\r\n",
            "To : ann@shop.example\r\n",
            "To: \"Ann <ann@shop.example>\r\n",
            "To: Ann ann@shop.example\r\n",
            "To: bob@x.example\r\nTo: ann@shop.example\r\n",
            "Subject: x\r\n\tfolded\r\nX-Mailer: \"unclosed\r\nTo: ann@shop.example",
        ] {
            assert!(ann().owns(header.as_bytes()), "{header:?} {:?}", shown(header));
        }
    }

    #[test]
    fn a_mention_is_not_an_address() {
        for header in [
            "Subject: about ann@shop.example\r\n",
            "To: \"ann@shop.example\" <bob@x.example>\r\n",
            "To: \"<ann@shop.example>\" <bob@x.example>\r\n",
            "To: bob@x.example (ann@shop.example)\r\n",
            "From: =?utf-8?q?ann=40shop=2Eexample?= <bob@x.example>\r\n",
            "Message-ID: <ann@shop.example>\r\n",
            "References: <ann@shop.example>\r\n",
            "X-Note: ann@shop.example\r\n",
            "Subject: x\r\n\r\nTo: ann@shop.example\r\n",
            "Subject: x\n\nTo: ann@shop.example\n",
            "",
        ] {
            assert!(!ann().owns(header.as_bytes()), "{header:?} {:?}", shown(header));
        }
    }

    #[test]
    fn another_persons_address_is_not_theirs() {
        for address in [
            "joann@shop.example",
            "ann@shop.example.evil.org",
            "ann+x@shop.example",
            "\u{430}nn@shop.example",
            "\u{e1}nn@shop.example",
            "\"ann@shop.example\"@evil.org",
            "\"jo ann\"@shop.example",
            "\"jo\" ann+y@shop.example",
            "jo.ann@shop.example",
            "ann@shop.example@evil.org",
            "ann@shop",
            "@shop.example",
        ] {
            for header in [format!("To: {address}\r\n"), format!("To: Ann <{address}>\r\n")] {
                assert!(!ann().owns(header.as_bytes()), "{header:?} {:?}", shown(&header));
            }
        }
    }

    #[test]
    fn an_international_domain_is_the_same_in_both_forms() {
        let subject = subject(&[(IdentifierType::Email, "ann@b\u{fc}cher.example")]);
        let ann = Addressee::of(&subject).expect("she has an address");
        for address in ["ann@xn--bcher-kva.example", "Ann@B\u{dc}CHER.example", "ann@bu\u{308}cher.example"] {
            assert!(ann.owns(format!("To: {address}\r\n").as_bytes()), "{address}");
        }
        assert!(ann.spellings().iter().any(|s| s.expose() == "ann@xn--bcher-kva.example"));
    }

    #[test]
    fn a_subject_without_an_address_is_refused_rather_than_not_found() {
        let subject = subject(&[(IdentifierType::CustomerId, "C-1007")]);
        assert!(matches!(Addressee::of(&subject), Err(Trouble::Denied(p)) if p.code == "no_usable_identifier"));
    }

    #[test]
    fn the_header_section_ends_at_the_first_empty_line() {
        assert_eq!(header_end(b"A: b\r\n\r\nbody"), Some(8));
        assert_eq!(header_end(b"A: b\n\nbody"), Some(6));
        assert_eq!(header_end(b"\nbody"), Some(1));
        assert_eq!(header_end(b"A: b\r\nC: d\r\n"), None);
    }

    #[test]
    fn a_summary_is_decoded() {
        let header = b"Date: Thu, 19 Nov 2026 09:00:00 +0100\r\nFrom: =?utf-8?q?Zo=C3=AB?= <zoe@x.example>\r\n\
            To: a@x.example, b@x.example\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\nMessage-ID: <1@x.example>\r\n\r\n";
        let expected = serde_json::json!({
            "date": "2026-11-19T09:00:00+01:00", "from": ["Zo\u{eb} <zoe@x.example>"],
            "to": ["a@x.example", "b@x.example"], "subject": "Gr\u{fc}\u{df}e", "size": 7, "message_id": "1@x.example",
        });
        assert_eq!(Value::Object(summary(header, 7)), expected);
    }

    #[test]
    fn a_mailbox_named_by_a_person_is_not_told() {
        let mut tally = Tally::new(&["Billing".to_owned()]);
        for mailbox in ["INBOX", "Clients/Ann Vorbild", "Billing", "inbox", "INBOX.Trash", "Clients.Trash"] {
            tally.add(mailbox, "search", 1, 0, 1);
        }
        let evidence = tally.evidence();
        let counts: Vec<_> = evidence.collections.iter().map(|c| (c.collection.as_str(), c.before)).collect();
        assert_eq!(counts, [("Billing", 1), ("INBOX", 2), ("Trash", 1), ("other mailboxes", 2)]);
    }

    fn shown(header: &str) -> Vec<String> {
        addresses(header.as_bytes()).iter().map(|a| a.expose().clone()).collect()
    }
}
