//! The part of OData's filter language that is used here: `FIELD eq LITERAL`, joined by `or`, `and`, in brackets.

use crate::vendors::asked::fold;
use serde_json::{Map, Value};

/// A filter that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// No filter.
    All,
    /// A field equals a text (or a bare GUID).
    Equal(String, String),
    /// Either.
    Or(Box<Filter>, Box<Filter>),
    /// Both.
    And(Box<Filter>, Box<Filter>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
}

fn tokens(text: &str) -> Result<Vec<Token>, usize> {
    let (mut out, chars) = (Vec::new(), text.char_indices().collect::<Vec<_>>());
    let mut i = 0;
    while let Some((at, c)) = chars.get(i).copied() {
        i += 1;
        match c {
            ' ' => {}
            '(' => out.push(Token::Open),
            ')' => out.push(Token::Close),
            '\'' => {
                let mut literal = String::new();
                loop {
                    match (chars.get(i).map(|(_, c)| *c), chars.get(i + 1).map(|(_, c)| *c)) {
                        (Some('\''), Some('\'')) => {
                            literal.push('\'');
                            i += 2;
                        }
                        (Some('\''), _) => {
                            i += 1;
                            break;
                        }
                        (Some(c), _) => {
                            literal.push(c);
                            i += 1;
                        }
                        (None, _) => return Err(at),
                    }
                }
                out.push(Token::Text(literal));
            }
            c if c.is_alphanumeric() || "_-".contains(c) => {
                let mut word = String::from(c);
                while let Some((_, c)) = chars.get(i).filter(|(_, c)| c.is_alphanumeric() || "_-".contains(*c)) {
                    word.push(*c);
                    i += 1;
                }
                out.push(Token::Word(word));
            }
            _ => return Err(at),
        }
    }
    Ok(out)
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn is(&mut self, word: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Word(found)) if found == word);
        self.at += usize::from(is);
        is
    }

    fn any(&mut self) -> Result<Filter, usize> {
        let mut left = self.all()?;
        while self.is("or") {
            left = Filter::Or(Box::new(left), Box::new(self.all()?));
        }
        Ok(left)
    }

    fn all(&mut self) -> Result<Filter, usize> {
        let mut left = self.one()?;
        while self.is("and") {
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, usize> {
        let field = match self.take() {
            Some(Token::Open) => {
                let inner = self.any()?;
                return if self.take() == Some(Token::Close) { Ok(inner) } else { Err(self.at) };
            }
            Some(Token::Word(field)) => field,
            // A literal compared with a literal, as in 'a' eq 'a', is valid in OData too.
            Some(Token::Text(text)) => format!("'{text}'"),
            _ => return Err(self.at),
        };
        if !self.is("eq") {
            return Err(self.at);
        }
        match self.take() {
            Some(Token::Text(text) | Token::Word(text)) => Ok(Filter::Equal(field, text)),
            _ => Err(self.at),
        }
    }
}

impl Filter {
    /// Reads a filter; the error is the position at which it is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, usize> {
        if text.is_empty() {
            return Ok(Filter::All);
        }
        let mut reader = Reader { tokens: tokens(text)?, at: 0 };
        let filter = reader.any()?;
        if reader.at == reader.tokens.len() { Ok(filter) } else { Err(reader.at) }
    }

    /// Whether a row passes.
    pub(super) fn holds(&self, row: &Map<String, Value>) -> bool {
        match self {
            Filter::All => true,
            Filter::Equal(field, wanted) => {
                let literal = field.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                let held = literal.or_else(|| row.get(field).and_then(Value::as_str));
                held.is_some_and(|held| fold(held) == fold(wanted))
            }
            Filter::Or(a, b) => a.holds(row) || b.holds(row),
            Filter::And(a, b) => a.holds(row) && b.holds(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use serde_json::json;

    fn holds(filter: &str, email: &str) -> bool {
        let row = json!({ "emailaddress1": email });
        Filter::parse(filter).expect("it is a filter").holds(row.as_object().expect("an object"))
    }

    #[test]
    fn a_literal_ends_at_a_single_quote_only() {
        assert!(holds("emailaddress1 eq 'o''brien@x.example'", "O'Brien@x.example"));
        assert!(holds("emailaddress1 eq 'x' or 'a' eq 'a'", "anybody"), "an injected comparison finds everybody");
        assert!(Filter::parse("emailaddress1 eq 'o'brien'").is_err());
    }

    #[test]
    fn accents_are_not_told_apart() {
        assert!(holds("emailaddress1 eq 'ann@x.example'", "\u{e1}nn@x.example"));
        assert!(!holds("emailaddress1 eq 'ann@x.example'", "joann@x.example"));
    }
}
