//! A comma, a quote, a wildcard or a line break never widens a match: whatever an identifier holds, the query has exactly
//! one literal, equal to it, or nothing is sent. The readers here know the languages on their own, not through the escapers.

use crate::manifest::escape::Escaper;
use crate::manifest::template::{RenderFault, Scope, Template};

/// What a query consists of, for the purposes of an attack: literals, and everything else.
#[derive(Debug, PartialEq)]
enum Token {
    Literal(String),
    Other(char),
}

/// How a language writes a literal.
struct Grammar {
    quote: char,
    /// The quote within a literal is written twice.
    doubled: bool,
    /// A backslash takes what follows as it is.
    backslash: bool,
    /// These have a meaning inside a literal that we cannot switch off.
    wild: &'static [char],
}

fn read(query: &str, grammar: &Grammar) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = query.chars().peekable();
    while let Some(c) = chars.next() {
        if c != grammar.quote {
            tokens.push(Token::Other(c));
            continue;
        }
        let mut literal = String::new();
        loop {
            let c = chars.next()?;
            let doubled = c == grammar.quote && grammar.doubled && chars.peek() == Some(&grammar.quote);
            if doubled || (c == '\\' && grammar.backslash) {
                literal.push(chars.next()?);
            } else if c == grammar.quote {
                break;
            } else if c == '\n' || c == '\r' || grammar.wild.contains(&c) {
                return None;
            } else {
                literal.push(c);
            }
        }
        tokens.push(Token::Literal(literal));
    }
    Some(tokens)
}

/// Backslash and quote in languages that know no escape: whatever the vendor makes of a backslash, it is not there.
const UNKNOWN: &[char] = &['\\'];
const WILD: &[char] = &['\\', '*'];

fn languages() -> Vec<(Escaper, &'static str, Grammar)> {
    let grammar = |quote, doubled, backslash, wild| Grammar { quote, doubled, backslash, wild };
    vec![
        (Escaper::Soql, "SELECT Id FROM Contact WHERE Email = ${v|soql} LIMIT 5", grammar('\'', false, true, &[])),
        (Escaper::Odata, "emailaddress1 eq ${v|odata} or x eq 1", grammar('\'', true, false, &[])),
        (Escaper::Gmailq, "from:${v|gmailq}", grammar('"', false, false, UNKNOWN)),
        (Escaper::Kql, "participants:${v|kql}", grammar('"', false, false, WILD)),
        (Escaper::Sgql, "email = ${v|sgql}", grammar('"', false, false, UNKNOWN)),
        (Escaper::Zendeskq, "type:user email:${v|zendeskq}", grammar('"', false, false, WILD)),
        (Escaper::Klaviyo, "equals(email,${v|klaviyo})", grammar('"', false, true, &[])),
        (Escaper::Shopifyq, "email:${v|shopifyq}", grammar('"', false, true, &['*'])),
        (Escaper::Stripeq, "email:${v|stripeq}", grammar('"', false, true, &[])),
    ]
}

/// `SplitMix64`: the same values in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

const PIECES: &[&str] = &[
    "ann@x.example",
    "o'brien@x.example",
    "b@y.example",
    "'",
    "\"",
    "`",
    "\\",
    "\\'",
    "\\\"",
    "''",
    "\"\"",
    ",",
    ";",
    "|",
    "%",
    "_",
    "*",
    "?",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\u{2028}",
    " ",
    " OR ",
    " or 1 eq 1 ",
    "' OR Name != '",
    "\" OR email:*",
    ") or (",
    "}",
    "{",
    "${v}",
    "${subject.email|soql}",
    "$",
    "&",
    "#",
    "/",
    "..",
    "--",
    "/*",
    "NOT ",
    "é",
    "e\u{301}",
    "ａ",
    "＇",
    "’",
    "“",
    "ʼ",
    "日本",
    "🦀",
    "\u{202e}",
    "\u{feff}",
    "C-1007",
    "+4915112345678",
    "0",
    "<",
    ">",
    "=",
    ":",
    "(",
    ")",
];

fn hostile(random: &mut Random) -> String {
    let pieces = 1 + random.below(6);
    (0..pieces).map(|_| PIECES[random.below(PIECES.len())]).collect()
}

fn others(tokens: &[Token]) -> String {
    tokens.iter().filter_map(|token| if let Token::Other(c) = token { Some(*c) } else { None }).collect()
}

fn literals(tokens: &[Token]) -> Vec<&str> {
    tokens
        .iter()
        .filter_map(|token| if let Token::Literal(text) = token { Some(text.as_str()) } else { None })
        .collect()
}

#[test]
fn a_query_has_exactly_one_literal_equal_to_the_identifier_or_is_not_sent() {
    for (escaper, text, grammar) in languages() {
        let template = Template::parse(text).expect("parses");
        let harmless = template.text(&Scope::new().with("v", "x")).expect("fills");
        let around = others(&read(&harmless, &grammar).expect("reads"));
        let mut random = Random(7);
        let (mut sent, mut refused) = (0, 0);
        for _ in 0..5_000 {
            let value = hostile(&mut random);
            match template.text(&Scope::new().with("v", value.as_str())) {
                Ok(query) => {
                    let tokens = read(&query, &grammar).unwrap_or_else(|| panic!("{}: {query:?}", escaper.name()));
                    assert_eq!(literals(&tokens), [value.as_str()], "{}: {query:?}", escaper.name());
                    assert_eq!(others(&tokens), around, "{}: {query:?}", escaper.name());
                    sent += 1;
                }
                Err(RenderFault::Unsendable { .. }) => refused += 1,
                Err(other) => panic!("{}: {other}", escaper.name()),
            }
        }
        assert!(sent > 500 && refused > 100, "{}: sent {sent}, refused {refused}", escaper.name());
        // Ordinary people are not refused anywhere.
        for value in ["ann@x.example", "o'brien+tag@x.example", "josé@bücher.example", "+4915112345678", "C-1007/b"] {
            let query = template.text(&Scope::new().with("v", value));
            assert!(query.is_ok(), "{}: {value}", escaper.name());
        }
    }
}

#[test]
fn a_list_between_commas_names_each_value_once_or_is_not_sent() {
    let template = Template::parse("${v|csv}").expect("parses");
    let mut random = Random(11);
    let mut sent = 0;
    for _ in 0..5_000 {
        let values: Vec<String> = (0..=random.below(3)).map(|_| hostile(&mut random)).collect();
        if let Ok(text) = template.text(&Scope::new().with("v", values.clone())) {
            assert_eq!(text.split(',').map(str::trim).collect::<Vec<_>>(), values, "{text:?}");
            assert!(!text.contains(['"', '\n', '\r', '\t']), "{text:?}");
            sent += 1;
        }
    }
    assert!(sent > 500, "{sent}");
}

#[test]
fn a_json_text_within_a_text_reads_back_as_the_value() {
    let template = Template::parse("{\"email\": ${v|jsonstr}}").expect("parses");
    let mut random = Random(13);
    for _ in 0..5_000 {
        let value = hostile(&mut random);
        if let Ok(text) = template.text(&Scope::new().with("v", value.as_str())) {
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&text).expect("JSON"),
                serde_json::json!({"email": value})
            );
        }
    }
}

#[test]
fn a_path_and_a_url_query_hold_exactly_the_value() {
    let path = Template::parse("/a/${v}/b").expect("parses");
    let query = Template::parse("${v}").expect("parses");
    let mut random = Random(17);
    for _ in 0..5_000 {
        let value = hostile(&mut random);
        let scope = Scope::new().with("v", value.as_str());
        if let Ok(path) = path.segment(&scope) {
            let url = url::Url::parse(&format!("https://vendor.example{path}")).expect("a URL");
            let segments: Vec<&str> = url.path_segments().expect("segments").collect();
            let decoded: Vec<String> = segments
                .iter()
                .map(|segment| percent_encoding::percent_decode_str(segment).decode_utf8().expect("UTF-8").into_owned())
                .collect();
            assert_eq!(decoded, ["a", value.as_str(), "b"], "{path}");
            assert_eq!(url.query(), None);
        }
        let mut url = url::Url::parse("https://vendor.example/").expect("a URL");
        url.query_pairs_mut().append_pair("q", &query.text(&scope).expect("fills"));
        assert_eq!(url.query_pairs().collect::<Vec<_>>(), [("q".into(), value.into())]);
    }
}

#[test]
fn the_reader_sees_an_attack_where_nothing_is_escaped() {
    let grammar = Grammar { quote: '\'', doubled: false, backslash: true, wild: &[] };
    let tokens = read("Email = 'x' OR Name != ''", &grammar).expect("reads");
    assert_eq!(literals(&tokens), ["x", ""]);
}
