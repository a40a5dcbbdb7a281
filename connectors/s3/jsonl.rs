//! A JSONL object is text in UTF-8 with one JSON object per line. It is never written anew: only the lines and the values
//! that are the person's change, everything else keeps its bytes.

use super::rows::Malformed;
use serde_json::{Map, Value};
use std::ops::Range;

/// One read object.
pub(super) struct Jsonl {
    text: Vec<u8>,
    /// Every line with its end.
    rows: Vec<Range<usize>>,
}

impl Jsonl {
    /// Splits a text into lines; refuses what is not one JSON object each.
    pub(super) fn read(text: Vec<u8>) -> Result<Self, Malformed> {
        let (mut at, mut line, mut rows) = (0, 0, Vec::new());
        while at < text.len() {
            line += 1;
            let end = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |length| at + length + 1);
            if !text[at..end].trim_ascii().is_empty() {
                serde_json::from_slice::<Map<String, Value>>(&text[at..end])
                    .map_err(|_| Malformed::new(line, "is not one JSON object in UTF-8"))?;
                rows.push(at..end);
            }
            at = end;
        }
        Ok(Self { text, rows })
    }

    /// How many lines.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// A line's object.
    pub(super) fn record(&self, row: usize) -> Map<String, Value> {
        serde_json::from_slice(&self.text[self.rows[row].clone()]).unwrap_or_default()
    }

    /// What tells a line apart from others.
    pub(super) fn essence(&self, row: usize) -> &[u8] {
        self.text[self.rows[row].clone()].trim_ascii()
    }

    /// The text without these lines.
    pub(super) fn without(&self, gone: &dyn Fn(usize) -> bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len());
        let mut from = 0;
        for (_, row) in self.rows.iter().enumerate().filter(|(i, _)| gone(*i)) {
            out.extend_from_slice(&self.text[from..row.start]);
            from = row.end;
        }
        out.extend_from_slice(&self.text[from..]);
        out
    }

    /// The text with these values (line, place, value) in place of others, in order of lines. A place that a line does not
    /// have stays absent.
    pub(super) fn with(&self, changes: &[(usize, &str, &str)]) -> Vec<u8> {
        let mut spans: Vec<(Range<usize>, &str)> = changes
            .iter()
            .filter_map(|(row, place, new)| {
                let start = self.rows[*row].start;
                let span = find(&self.text[self.rows[*row].clone()], &path(place))?;
                Some((start + span.start..start + span.end, *new))
            })
            .collect();
        spans.sort_by_key(|(span, _)| span.start);
        let mut out = Vec::with_capacity(self.text.len());
        let mut from = 0;
        for (span, new) in spans {
            out.extend_from_slice(&self.text[from..span.start]);
            out.extend_from_slice(Value::from(new).to_string().as_bytes());
            from = span.end;
        }
        out.extend_from_slice(&self.text[from..]);
        out
    }
}

/// A place is a name, or a JSON pointer (RFC 6901) if it begins with a slash.
pub(super) fn path(place: &str) -> Vec<String> {
    match place.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect(),
        None => vec![place.to_owned()],
    }
}

/// What a record holds at a place: texts and whole numbers, of a list each of them.
pub(super) fn texts(record: &Map<String, Value>, place: &str) -> Vec<String> {
    let path = path(place);
    let Some((first, rest)) = path.split_first() else { return Vec::new() };
    let value = rest.iter().try_fold(record.get(first), |value, name| value.map(|value| value.get(name)));
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    };
    match value.flatten() {
        Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
        Some(value) => text(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Where a value stands in the text of an object that is known to be valid.
fn find(text: &[u8], path: &[String]) -> Option<Range<usize>> {
    let mut at = skip_space(text, 0);
    let mut found = None;
    for name in path {
        if text.get(at) != Some(&b'{') {
            return None;
        }
        at += 1;
        found = None;
        loop {
            at = skip_space(text, at);
            if text.get(at) != Some(&b'"') {
                break;
            }
            let end = skip_value(text, at)?;
            let key: String = serde_json::from_slice(&text[at..end]).ok()?;
            // Past the colon.
            let start = skip_space(text, skip_space(text, end) + 1);
            let end = skip_value(text, start)?;
            // As every reader does, the last one of a name counts.
            if key == *name {
                found = Some(start..end);
            }
            at = skip_space(text, end);
            if text.get(at) != Some(&b',') {
                break;
            }
            at += 1;
        }
        at = found.clone()?.start;
    }
    found
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

fn skip_value(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match text.get(at)? {
            b'"' => {
                at += 1;
                while text.get(at)? != &b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' => at += 1,
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => {
                while text
                    .get(at)
                    .is_some_and(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b',' | b'}' | b']' | b':'))
                {
                    at += 1;
                }
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_changes() {
        let text = "{\"id\":7, \"n\" : {\"a/b\":\"x\\\"}\", \"list\":[1,{\"z\":2}]},\"pi\":1.00000000000000000001}\r\n\n{\"id\":\"8\"}";
        let jsonl = Jsonl::read(text.into()).expect("it is JSONL");
        assert_eq!(jsonl.len(), 2);
        assert_eq!(texts(&jsonl.record(0), "id"), ["7"]);
        assert_eq!(texts(&jsonl.record(0), "/n/a~1b"), ["x\"}"]);
        assert_eq!(jsonl.without(&|_| false), text.as_bytes());
        assert_eq!(jsonl.without(&|row| row == 0), b"\n{\"id\":\"8\"}");
        let changed = String::from_utf8(jsonl.with(&[(0, "/n/a~1b", "\"new\""), (1, "missing", "y")])).expect("UTF-8");
        assert_eq!(changed, text.replace("\"x\\\"}\"", "\"\\\"new\\\"\""));
    }

    #[test]
    fn what_is_not_one_object_per_line_is_refused() {
        for text in ["{\"a\":1}{\"b\":2}\n", "[1]\n", "{\"a\":\n1}\n", "{'a':1}\n"] {
            assert!(Jsonl::read(text.into()).is_err(), "{text:?} was taken");
        }
        assert!(Jsonl::read(b"{\"a\":\"\xe9\"}\n".to_vec()).is_err());
    }
}
