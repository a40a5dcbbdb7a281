//! A response is one unit of what an IMAP server sends: lines, joined by literals, ended by a line without one
//! (RFC 3501 section 7, RFC 9051 section 7).
//!
//! Responses are read into generic tokens rather than into a type per response: what a client did not ask for must be
//! let pass (RFC 3501 section 7), however odd it looks. Every size is capped, so that no server can fill our memory.

use super::fault::Fault;
use std::collections::VecDeque;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest line, in bytes; a SEARCH response names every hit in one line.
const LINE_MAX: usize = 1024 * 1024;
/// The most literals in one response.
const LITERALS_MAX: usize = 64;
/// How deep lists may be nested.
const DEPTH_MAX: usize = 16;

/// A piece of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// Anything without quotes, such as `FETCH`, `12`, `\Noselect` or `BODY[HEADER]`.
    Atom(String),
    /// A quoted text or a literal.
    Text(Vec<u8>),
    /// A list in parentheses.
    List(Vec<Token>),
}

impl Token {
    /// The atom's text.
    pub(super) fn atom(&self) -> Option<&str> {
        if let Self::Atom(text) = self { Some(text) } else { None }
    }

    /// Whether it is this atom, in any case.
    pub(super) fn is(&self, atom: &str) -> bool {
        self.atom().is_some_and(|text| text.eq_ignore_ascii_case(atom))
    }

    /// A number.
    pub(super) fn number<N: std::str::FromStr>(&self) -> Option<N> {
        self.atom()?.parse().ok()
    }

    /// The items of a list.
    pub(super) fn list(&self) -> Option<&[Token]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// An atom, a quoted text or a literal, as bytes.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(text) => Some(text.as_bytes()),
            Self::Text(bytes) => Some(bytes),
            Self::List(_) => None,
        }
    }
}

/// How a command ended, or what the server says unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Done.
    Ok,
    /// Not done.
    No,
    /// Not understood.
    Bad,
    /// The server closes the connection.
    Bye,
    /// Already signed in.
    Preauth,
}

/// One response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// `+`: go on with the command.
    Continue,
    /// A status; the tag is `*` for one that ends no command. The code is what stands in brackets; the text for people
    /// is dropped, because it may hold anything.
    Status {
        /// Of which command.
        tag: String,
        /// Which status.
        status: Status,
        /// Its code, such as `UIDVALIDITY 17` or `READ-ONLY`.
        code: Vec<Token>,
    },
    /// Data, such as `12 FETCH (…)`.
    Data(Vec<Token>),
}

/// Reads one response. A literal longer than `literal_max` bytes ends the connection.
pub(super) async fn read(reader: &mut (impl AsyncBufRead + Unpin + Send), literal_max: u64) -> Result<Response, Fault> {
    let first = read_line(reader).await?;
    if let Some(status) = status(&first) {
        return Ok(status);
    }
    let (mut lines, mut literals) = (first, VecDeque::new());
    while let Some(length) = literal_length(&lines) {
        if length > literal_max {
            return Err(Fault::TooLarge);
        }
        if literals.len() == LITERALS_MAX || lines.len() > LINE_MAX {
            return Err(Fault::Protocol("a response that does not end"));
        }
        let mut literal = Vec::new();
        reader.take(length).read_to_end(&mut literal).await?;
        if literal.len() as u64 != length {
            return Err(Fault::Unreachable);
        }
        literals.push_back(literal);
        lines.extend(read_line(reader).await?);
    }
    let mut parser = Parser { lines: &lines, at: 0, literals };
    if parser.word() != b"*" {
        return Err(Fault::Protocol("a response that begins with neither +, * nor our tag"));
    }
    Ok(Response::Data(parser.items(None, 0)?))
}

/// A line with its line break.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin + Send)) -> Result<Vec<u8>, Fault> {
    let mut line = Vec::new();
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Err(Fault::Unreachable);
        }
        let (taken, ended) = match available.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (available.len(), false),
        };
        if line.len() + taken > LINE_MAX {
            return Err(Fault::Protocol("a line that does not end"));
        }
        line.extend_from_slice(&available[..taken]);
        reader.consume(taken);
        if ended {
            return Ok(line);
        }
    }
}

/// The length of the literal that these lines announce at their end.
fn literal_length(lines: &[u8]) -> Option<u64> {
    let line = trim_end(lines).strip_suffix(b"}")?;
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A line that is a status or a continuation; their text may end in what looks like a literal.
fn status(line: &[u8]) -> Option<Response> {
    if line.starts_with(b"+") {
        return Some(Response::Continue);
    }
    let text = String::from_utf8_lossy(trim_end(line)).into_owned();
    let (tag, rest) = text.split_once(' ')?;
    let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = match word.to_ascii_uppercase().as_str() {
        "OK" => Status::Ok,
        "NO" => Status::No,
        "BAD" => Status::Bad,
        "BYE" => Status::Bye,
        "PREAUTH" => Status::Preauth,
        _ => return None,
    };
    let inner = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or("", |(inner, _)| inner);
    let mut parser = Parser { lines: inner.as_bytes(), at: 0, literals: VecDeque::new() };
    let code = parser.items(None, 0).unwrap_or_default();
    Some(Response::Status { tag: tag.to_owned(), status, code })
}

struct Parser<'a> {
    lines: &'a [u8],
    at: usize,
    literals: VecDeque<Vec<u8>>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.lines.get(self.at).copied()
    }

    /// Items up to `end`, or to the end of the response.
    fn items(&mut self, end: Option<u8>, depth: usize) -> Result<Vec<Token>, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Protocol("lists nested too deep"));
        }
        let mut items = Vec::new();
        loop {
            let Some(next) = self.peek() else {
                return if end.is_none() { Ok(items) } else { Err(Fault::Protocol("a list that is not closed")) };
            };
            match next {
                b' ' | b'\r' | b'\n' => self.at += 1,
                b')' if end == Some(b')') => {
                    self.at += 1;
                    return Ok(items);
                }
                b'(' => {
                    self.at += 1;
                    items.push(Token::List(self.items(Some(b')'), depth + 1)?));
                }
                b'"' => items.push(Token::Text(self.quoted()?)),
                b'{' => items.push(Token::Text(self.literal()?)),
                b'~' if self.lines.get(self.at + 1) == Some(&b'{') => {
                    self.at += 1;
                    items.push(Token::Text(self.literal()?));
                }
                _ => {
                    let word = self.word();
                    if word.is_empty() {
                        return Err(Fault::Protocol("a response that cannot be read"));
                    }
                    items.push(Token::Atom(String::from_utf8_lossy(&word).into_owned()));
                }
            }
        }
    }

    /// Up to the next space, parenthesis or quote outside of brackets.
    fn word(&mut self) -> Vec<u8> {
        let (start, mut bracket) = (self.at, false);
        while let Some(byte) = self.peek() {
            match byte {
                b'\r' | b'\n' => break,
                b' ' | b'(' | b')' | b'"' if !bracket => break,
                b'[' => bracket = true,
                b']' => bracket = false,
                _ => {}
            }
            self.at += 1;
        }
        self.lines[start..self.at].to_vec()
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Fault> {
        let mut text = Vec::new();
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => return Ok(text),
                b'\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                b'\r' | b'\n' => break,
                _ => text.push(byte),
            }
        }
        Err(Fault::Protocol("a quoted text that is not closed"))
    }

    fn literal(&mut self) -> Result<Vec<u8>, Fault> {
        let line = &self.lines[self.at..];
        let length =
            line.iter().position(|byte| *byte == b'\n').ok_or(Fault::Protocol("a literal without its text"))?;
        self.at += length + 1;
        self.literals.pop_front().ok_or(Fault::Protocol("a literal without its text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn one(bytes: &[u8]) -> Result<Response, Fault> {
        read(&mut &*bytes, 100).await
    }

    fn atom(text: &str) -> Token {
        Token::Atom(text.to_owned())
    }

    fn text(text: &str) -> Token {
        Token::Text(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn literals_and_quoted_texts_are_read_as_they_are() {
        let response = one(b"* 12 FETCH (UID 5 BODY[HEADER] {10}\r\nA: )\"\r\n\r\n\r X \"q\\\"\\\\\" NIL)\r\n").await;
        let expected = vec![
            atom("12"),
            atom("FETCH"),
            Token::List(vec![
                atom("UID"),
                atom("5"),
                atom("BODY[HEADER]"),
                text("A: )\"\r\n\r\n\r"),
                atom("X"),
                text("q\"\\"),
                atom("NIL"),
            ]),
        ];
        assert_eq!(response.ok(), Some(Response::Data(expected)));
    }

    #[tokio::test]
    async fn a_status_keeps_its_code_and_drops_its_text() {
        let response = one(b"a7 NO [AUTHENTICATIONFAILED] no {100000}\r\n").await.ok();
        let code = vec![atom("AUTHENTICATIONFAILED")];
        assert_eq!(response, Some(Response::Status { tag: "a7".into(), status: Status::No, code }));
        let response = one(b"* OK [PERMANENTFLAGS (\\Deleted \\*)] x\r\n").await.ok();
        let code = vec![atom("PERMANENTFLAGS"), Token::List(vec![atom("\\Deleted"), atom("\\*")])];
        assert_eq!(response, Some(Response::Status { tag: "*".into(), status: Status::Ok, code }));
    }

    #[tokio::test]
    async fn a_hostile_response_is_a_fault_and_not_a_lot_of_memory() {
        let deep = format!("* X {}\r\n", "(".repeat(1000));
        let many = "* X {0}\r\n".repeat(1000);
        let long = format!("* {}", "x".repeat(2 * LINE_MAX));
        for (bytes, too_large) in [
            (&b"* 1 FETCH (BODY[] {18446744073709551615}\r\n"[..], true),
            (b"* 1 FETCH (BODY[] {101}\r\n", true),
            (deep.as_bytes(), false),
            (many.as_bytes(), false),
            (long.as_bytes(), false),
            (b"* X \"abc\r\n", false),
            (b"* X (abc\r\n", false),
            (b"* X )\r\n", false),
            (b"HTTP/1.1 400 Bad Request\r\n", false),
        ] {
            match one(bytes).await {
                Err(Fault::TooLarge) if too_large => {}
                Err(Fault::Protocol(_)) if !too_large => {}
                other => panic!("{:?}: {other:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)])),
            }
        }
        for cut in [&b""[..], b"* X", b"* X {10}\r\nabc"] {
            assert!(matches!(one(cut).await, Err(Fault::Unreachable)));
        }
    }
}
