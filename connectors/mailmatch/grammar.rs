//! An address list is what RFC 5322 section 3.4 calls so, with its obsolete forms (source routes, empty elements, dots in
//! names) and what is beyond doubt although no RFC has it: a trailing dot, `;` between addresses, an address in single
//! quotes, a mailbox that is one RFC 2047 text as a whole.
//!
//! A list is well-formed if all of it is that. Of a malformed one only those addresses are read that nothing speaks
//! against: what stands in an element's angle brackets, or the address-like words of an element that has no brackets.

use mail_parser::parsers::MessageStream;
use std::ops::Range;

/// The longest encoded word that is decoded, in bytes. RFC 2047 allows 75; some programs write whole lines.
const WORD_MAX: usize = 1000;

/// What was read from one address list.
#[derive(Debug)]
pub(super) struct List {
    /// The addresses. One with a quoted local part is there in both spellings, which mean the same (RFC 5321 4.1.2).
    pub(super) found: Vec<String>,
    /// Whether all of the text is a list of addresses, so that whatever else it mentions is a name or a comment.
    pub(super) well_formed: bool,
    /// Whether something in it is in a form that other programs may read in another way.
    pub(super) odd: bool,
}

/// Reads an unfolded address list.
pub(super) fn list(text: &str) -> List {
    read(text, true)
}

/// A text with its encoded words (RFC 2047) decoded wherever they stand.
pub(super) fn decode(text: &str) -> String {
    let (mut out, mut rest, mut behind_word) = (String::new(), text, false);
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        // White space between two encoded words is not part of the text.
        let is_gap = behind_word && before.chars().all(char::is_whitespace);
        out.push_str(if is_gap { "" } else { before });
        let length = word.char_indices().take_while(|(at, c)| *at < WORD_MAX && !c.is_whitespace()).last();
        let limit = length.map_or(0, |(at, c)| at + c.len_utf8());
        let decoded = decode_word(&word[..limit]);
        behind_word = decoded.is_some();
        let (text, end) = decoded.unwrap_or_else(|| ("=?".to_owned(), 2));
        out.push_str(&text);
        rest = &word[end..];
    }
    out + rest
}

/// The encoded word at the beginning of a text, and where it ends.
fn decode_word(text: &str) -> Option<(String, usize)> {
    // charset "?" encoding "?" text "?="
    let encoding = 2 + text.get(2..)?.find('?')? + 1;
    let data = encoding + text.get(encoding..)?.find('?')? + 1;
    let end = data + text.get(data..)?.find("?=")? + 2;
    let decoded = MessageStream::new(&text.as_bytes()[1..end]).decode_rfc2047()?;
    Some((decoded, end))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Atom(String),
    Quoted(String),
    /// `[192.0.2.1]`
    Literal,
    Sign(char),
    /// What can stand nowhere.
    Junk,
}

#[derive(Debug)]
struct Token {
    kind: Kind,
    span: Range<usize>,
}

impl Token {
    fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    fn is_word(&self) -> bool {
        matches!(self.kind, Kind::Atom(_) | Kind::Quoted(_))
    }

    fn touches(&self, next: &Self) -> bool {
        self.span.end == next.span.start
    }
}

/// Whether it may stand in an atom: RFC 5322 section 3.2.3, RFC 6532, but nothing invisible.
pub(super) fn is_atext(c: char) -> bool {
    match c {
        _ if c.is_ascii() => c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c),
        '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fffd}' => false,
        _ => !c.is_whitespace() && !c.is_control(),
    }
}

/// What a text is made of, comments left out.
#[derive(Default)]
struct Tokens {
    all: Vec<Token>,
    /// Where a quote begins that is never closed; nothing behind it is among the tokens.
    unclosed_quote: Option<usize>,
    unclosed_comment: bool,
}

fn tokens(text: &str) -> Tokens {
    let mut tokens = Tokens::default();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, length) = match c {
            ' ' | '\t' | '\r' | '\n' => (None, 1),
            '(' => {
                let Some(length) = comment(rest) else {
                    tokens.unclosed_comment = true;
                    break;
                };
                (None, length)
            }
            '"' => {
                let Some((inner, length)) = quoted(rest) else {
                    tokens.unclosed_quote = Some(at);
                    break;
                };
                (Some(Kind::Quoted(inner)), length)
            }
            '[' => match rest.find([']', ',', '<', '>']).filter(|end| rest[*end..].starts_with(']')) {
                Some(end) => (Some(Kind::Literal), end + 1),
                None => (Some(Kind::Junk), 1),
            },
            '.' | '@' | '<' | '>' | ',' | ';' | ':' => (Some(Kind::Sign(c)), 1),
            c if is_atext(c) => {
                let length = rest.find(|c| !is_atext(c)).unwrap_or(rest.len());
                (Some(Kind::Atom(rest[..length].to_owned())), length)
            }
            c => (Some(Kind::Junk), c.len_utf8()),
        };
        tokens.all.extend(kind.map(|kind| Token { kind, span: at..at + length }));
        at += length;
    }
    tokens
}

/// How long the comment is with which the text begins.
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' if depth == 1 => return Some(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What is in the quotes with which the text begins, and how long it is with them.
fn quoted(text: &str) -> Option<(String, usize)> {
    let (mut inner, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Some((inner, at + 1)),
            c => {
                inner.push(c);
                escaped = false;
            }
        }
    }
    None
}

/// A list while it is read.
struct Reader<'a> {
    text: &'a str,
    may_decode: bool,
    list: List,
}

fn read(text: &str, may_decode: bool) -> List {
    let tokens = tokens(text);
    let well_formed = tokens.unclosed_quote.is_none() && !tokens.unclosed_comment;
    let mut reader = Reader { text, may_decode, list: List { found: Vec::new(), well_formed, odd: false } };
    let (mut start, mut in_brackets, mut in_group) = (0, false, false);
    for (at, token) in tokens.all.iter().enumerate() {
        match token.kind {
            Kind::Sign('<') => in_brackets = true,
            Kind::Sign('>') => in_brackets = false,
            Kind::Sign(sign @ (',' | ';')) if !in_brackets => {
                reader.element(&tokens.all[start..at]);
                start = at + 1;
                reader.list.odd |= sign == ';' && !in_group;
                in_group &= sign == ',';
            }
            Kind::Sign(':') if !in_brackets => {
                let name = &tokens.all[start..at];
                reader.list.well_formed &= !in_group && !name.is_empty() && is_phrase(name);
                start = at + 1;
                in_group = true;
            }
            _ => {}
        }
    }
    reader.list.well_formed &= !in_group;
    match tokens.unclosed_quote {
        Some(quote) => reader.behind_unclosed_quote(&text[quote..]),
        None => reader.element(&tokens.all[start..]),
    }
    reader.list
}

fn is_phrase(tokens: &[Token]) -> bool {
    tokens.iter().all(|token| token.is_word() || token.is('.'))
}

impl Reader<'_> {
    /// What stands between two commas.
    fn element(&mut self, tokens: &[Token]) {
        if let Some(open) = tokens.iter().position(|token| token.is('<')) {
            let (name, rest) = (&tokens[..open], &tokens[open + 1..]);
            let close = rest.iter().position(|token| token.is('>'));
            self.list.well_formed &= is_phrase(name) && close.is_some_and(|close| close + 1 == rest.len());
            self.in_brackets(&rest[..close.unwrap_or(rest.len())]);
        } else if tokens.iter().any(|token| token.is('@')) {
            self.without_brackets(tokens);
        } else {
            self.encoded(tokens);
        }
    }

    fn in_brackets(&mut self, tokens: &[Token]) {
        let is_route = tokens.first().is_some_and(|first| first.is('@') || first.is(','));
        let colon = tokens.iter().position(|token| token.is(':'));
        let mailbox = match colon {
            Some(colon) if is_route => {
                let is_hop = |t: &Token| matches!(t.kind, Kind::Atom(_) | Kind::Literal | Kind::Sign('@' | '.' | ','));
                self.list.well_formed &= tokens[..colon].iter().all(is_hop);
                &tokens[colon + 1..]
            }
            _ => tokens,
        };
        match address(mailbox) {
            Some(address) if address.length == mailbox.len() => {
                self.list.odd |= is_route || address.odd;
                self.list.found.extend(address.spellings);
            }
            // The bracket that is never closed may have swallowed a list.
            _ if mailbox.iter().any(|token| token.is('@')) => self.list.well_formed = false,
            _ => self.encoded(mailbox),
        }
    }

    fn without_brackets(&mut self, tokens: &[Token]) {
        let mut at = 0;
        while at < tokens.len() {
            let may_begin = at == 0 || (tokens[at - 1].is_word() && !tokens[at - 1].touches(&tokens[at]));
            let Some(address) = may_begin.then(|| address(&tokens[at..])).flatten() else {
                self.list.well_formed = false;
                at += 1;
                continue;
            };
            let next = at + address.length;
            self.list.well_formed &= at == 0 && next == tokens.len();
            let may_end = tokens
                .get(next)
                .is_none_or(|after| after.is_word() && !tokens[next - 1].touches(after) && !tokens[next - 1].is('.'));
            self.list.odd |= address.odd;
            if may_end {
                self.list.found.extend(address.spellings);
            }
            at = next;
        }
    }

    /// Names without an address, which is nothing, unless they are encoded words that hold a whole list.
    fn encoded(&mut self, tokens: &[Token]) {
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return };
        let text = &self.text[first.span.start..last.span.end];
        if self.may_decode && text.starts_with("=?") && text.ends_with("?=") {
            let inner = read(&decode(text), false);
            if inner.well_formed && !inner.found.is_empty() {
                self.list.found.extend(inner.found);
                self.list.odd = true;
                return;
            }
        }
        self.list.well_formed = false;
    }

    /// Wherever the quote should have ended, the last brackets are a mailbox.
    fn behind_unclosed_quote(&mut self, text: &str) {
        let Some((_, rest)) = text.rsplit_once('<') else { return };
        let Some((inner, after)) = rest.split_once('>') else { return };
        let inner = read(inner, false);
        if inner.well_formed && after.trim().is_empty() {
            self.list.found.extend(inner.found);
        }
    }
}

struct Address {
    spellings: Vec<String>,
    /// Whether it is in a form that nobody needs.
    odd: bool,
    /// How many tokens it has.
    length: usize,
}

/// The address with which the tokens begin.
fn address(tokens: &[Token]) -> Option<Address> {
    let (mut local, mut is_quoted, mut at) = (String::new(), false, 0);
    loop {
        match &tokens.get(at)?.kind {
            Kind::Atom(word) if !word.contains("=?") => local.push_str(word),
            Kind::Quoted(word) => {
                local.push_str(word);
                is_quoted = true;
            }
            _ => return None,
        }
        at += 1;
        let dot = tokens.get(at)?;
        if !dot.is('.') {
            break;
        }
        if !tokens[at - 1].touches(dot) || !dot.touches(tokens.get(at + 1)?) {
            return None;
        }
        local.push('.');
        at += 1;
    }
    if !tokens[at].is('@') {
        return None;
    }
    let (mut domain, start) = (String::new(), at + 1);
    at = start;
    while let Some(token) = tokens.get(at).filter(|token| at == start || tokens[at - 1].touches(token)) {
        match &token.kind {
            Kind::Atom(label) => domain.push_str(label),
            Kind::Literal if at == start => domain.push_str("[]"),
            Kind::Sign('.') if at > start && !tokens[at - 1].is('.') => domain.push('.'),
            _ => break,
        }
        at += 1;
    }
    let has_gap = tokens[..at].windows(2).any(|pair| !pair[0].touches(&pair[1]));
    let odd = is_quoted || has_gap || domain.ends_with('.') || domain.ends_with('\'');
    let domain = domain.strip_suffix('.').unwrap_or(&domain);
    let (local, domain) = match (local.strip_prefix('\''), domain.strip_suffix('\'')) {
        (Some(local), Some(domain)) if !is_quoted => (local, domain),
        _ => (&*local, domain),
    };
    let is_label = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.[]".contains(c);
    if domain.is_empty() || !domain.chars().all(is_label) {
        return None;
    }
    let mut spellings = vec![format!("{local}@{domain}")];
    if is_quoted {
        let escaped = local.replace('\\', "\\\\").replace('"', "\\\"");
        spellings.push(format!("\"{escaped}\"@{domain}"));
    }
    Some(Address { spellings, odd, length: at })
}
