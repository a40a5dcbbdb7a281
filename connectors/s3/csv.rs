//! A CSV object is text in UTF-8 of rows under a line of names (RFC 4180). It is never written anew: what is not the
//! person's keeps its bytes, quotes, line ends and all.

use super::rows::Malformed;
use std::ops::Range;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One read object.
pub(super) struct Csv {
    text: Vec<u8>,
    delimiter: u8,
    pub(super) names: Vec<String>,
    /// Every row with its line end.
    rows: Vec<Range<usize>>,
}

impl Csv {
    /// Splits a text into rows; refuses what is not plainly one.
    pub(super) fn read(text: Vec<u8>, delimiter: u8) -> Result<Self, Malformed> {
        if std::str::from_utf8(&text).is_err() {
            return Err(Malformed::new(1, "is not UTF-8"));
        }
        let mut at = if text.starts_with(BOM) { BOM.len() } else { 0 };
        let (mut names, mut rows, mut line) = (None::<Vec<String>>, Vec::new(), 0);
        while at < text.len() {
            line += 1;
            let (end, fields) = split(&text, at, delimiter).map_err(|what| Malformed::new(line, what))?;
            let is_empty = fields.len() == 1 && fields[0].is_empty();
            match &names {
                _ if is_empty => {}
                None => names = Some(fields.iter().map(|field| value(&text[field.clone()])).collect()),
                Some(names) if names.len() != fields.len() => {
                    return Err(Malformed::new(line, "has more or fewer fields than there are names"));
                }
                Some(_) => rows.push(at..end),
            }
            at = end;
        }
        Ok(Self { text, delimiter, names: names.unwrap_or_default(), rows })
    }

    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The place of the one column with this name.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        let mut places = self.names.iter().enumerate().filter(|(_, known)| *known == name);
        let place = places.next()?.0;
        places.next().is_none().then_some(place)
    }

    /// A row's values.
    pub(super) fn values(&self, row: usize) -> Vec<String> {
        self.fields(row).into_iter().map(|field| value(&self.text[field])).collect()
    }

    fn fields(&self, row: usize) -> Vec<Range<usize>> {
        split(&self.text, self.rows[row].start, self.delimiter).map_or_else(|_| Vec::new(), |(_, fields)| fields)
    }

    /// What tells a row apart from others: its bytes without its line end.
    pub(super) fn essence(&self, row: usize) -> &[u8] {
        self.text[self.rows[row].clone()].trim_ascii_end()
    }

    /// The text without these rows.
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

    /// The text with these values (row, column, value) in place of others, in order of rows and columns.
    pub(super) fn with(&self, changes: &[(usize, usize, &str)]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len());
        let mut from = 0;
        for (row, column, new) in changes {
            let Some(field) = self.fields(*row).get(*column).cloned() else { continue };
            out.extend_from_slice(&self.text[from..field.start]);
            let was_quoted = self.text[field.clone()].starts_with(b"\"");
            let needs = new.bytes().any(|b| matches!(b, b'"' | b'\r' | b'\n') || b == self.delimiter);
            if needs || was_quoted || new.trim() != *new {
                out.extend_from_slice(format!("\"{}\"", new.replace('"', "\"\"")).as_bytes());
            } else {
                out.extend_from_slice(new.as_bytes());
            }
            from = field.end;
        }
        out.extend_from_slice(&self.text[from..]);
        out
    }
}

/// One record from `at` on: where it ends, its line end included, and its fields as they stand, quotes included.
fn split(text: &[u8], at: usize, delimiter: u8) -> Result<(usize, Vec<Range<usize>>), &'static str> {
    let (mut fields, mut start) = (Vec::new(), at);
    loop {
        let mut end = start;
        if text.get(start) == Some(&b'"') {
            end += 1;
            loop {
                match (text.get(end), text.get(end + 1)) {
                    (None, _) => return Err("has a quote that does not end"),
                    (Some(b'"'), Some(b'"')) => end += 2,
                    (Some(b'"'), _) => break,
                    (Some(_), _) => end += 1,
                }
            }
            end += 1;
            if text.get(end).is_some_and(|byte| *byte != delimiter && !matches!(byte, b'\r' | b'\n')) {
                return Err("has text after a quoted field");
            }
        } else {
            while text.get(end).is_some_and(|byte| *byte != delimiter && !matches!(byte, b'\r' | b'\n')) {
                end += 1;
            }
        }
        fields.push(start..end);
        match (text.get(end), text.get(end + 1)) {
            (Some(byte), _) if *byte == delimiter => start = end + 1,
            (Some(b'\r'), Some(b'\n')) => return Ok((end + 2, fields)),
            (Some(_), _) => return Ok((end + 1, fields)),
            (None, _) => return Ok((end, fields)),
        }
    }
}

fn value(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Csv {
        Csv::read(text.into(), b',').unwrap_or_else(|fault| panic!("{text:?}: {fault:?}"))
    }

    #[test]
    fn what_is_not_taken_out_keeps_its_bytes() {
        let text = "\u{feff}id,\"na\"\"me\",note\r\n1,\"Ann, \"\"A\"\"\",\"two\r\nlines\"\r\n\r\n2,  Bea ,\n3,Cyd,x";
        let csv = csv(text);
        assert_eq!((csv.len(), csv.column("na\"me"), csv.column("no")), (3, Some(1), None));
        assert_eq!(csv.values(0), ["1", "Ann, \"A\"", "two\r\nlines"]);
        assert_eq!(csv.values(1), ["2", "  Bea ", ""]);
        assert_eq!(csv.without(&|_| false), text.as_bytes());
        let rest = String::from_utf8(csv.without(&|row| row != 1)).expect("UTF-8");
        assert_eq!(rest, "\u{feff}id,\"na\"\"me\",note\r\n\r\n2,  Bea ,\n");
        let changed = String::from_utf8(csv.with(&[(0, 1, "O'Neu"), (2, 1, "a,b\"c")])).expect("UTF-8");
        assert_eq!(
            changed,
            "\u{feff}id,\"na\"\"me\",note\r\n1,\"O'Neu\",\"two\r\nlines\"\r\n\r\n2,  Bea ,\n3,\"a,b\"\"c\",x"
        );
    }

    #[test]
    fn what_is_not_plainly_rows_is_refused() {
        for text in ["a,b\n1,2,3\n", "a,b\n1\n", "a\n\"x", "a\n\"x\"y\n"] {
            assert!(Csv::read(text.into(), b',').is_err(), "{text:?} was taken");
        }
        for bytes in [&b"\xff\xfea\x00,\x00"[..], b"name\nJos\xe9\n"] {
            assert!(Csv::read(bytes.into(), b',').is_err());
        }
    }
}
