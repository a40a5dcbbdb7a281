//! A header section as lines that belong together, whatever stands before it.

/// How far into a message its headers may begin: a byte order mark and empty lines, which some programs put there.
const LEAD_MAX: usize = 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One header on one line.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: String,
    /// Lines behind it that are neither a header nor folded, such as the rest of a list that was broken the wrong way.
    pub(super) stray: String,
}

/// Where the headers begin: behind a byte order mark and empty lines, if there are headers behind them.
pub(super) fn start(message: &[u8]) -> usize {
    let mut at = 0;
    while at < LEAD_MAX.min(message.len()) {
        let rest = &message[at..];
        if rest.starts_with(BYTE_ORDER_MARK) {
            at += BYTE_ORDER_MARK.len();
        } else if matches!(rest[0], b'\r' | b'\n' | b' ' | b'\t') {
            at += 1;
        } else {
            break;
        }
    }
    let line = message[at..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_header = name_and_value(line).is_some() || line.starts_with(b"From ") || line.starts_with(b">From ");
    if is_header { at } else { 0 }
}

/// The end of the header section in the beginning of a message: the empty line, or `None` if it is not there yet.
pub(crate) fn header_end(message: &[u8]) -> Option<usize> {
    let mut line = start(message);
    let newlines = message.iter().enumerate().skip(line).filter(|(_, byte)| **byte == b'\n');
    for (at, _) in newlines {
        if matches!(&message[line..at], b"" | b"\r") {
            return Some(at + 1);
        }
        line = at + 1;
    }
    None
}

/// A header's name, in its own case, and its value.
fn name_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then_some((name, &line[colon + 1..]))
}

/// The headers of a header section, unfolded.
pub(super) fn fields(header: &[u8]) -> Vec<Field> {
    let header = &header[start(header)..];
    let header = &header[..header_end(header).unwrap_or(header.len())];
    let mut fields: Vec<Field> = Vec::new();
    for line in header.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_folded = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        let text = String::from_utf8_lossy(line);
        match (fields.last_mut(), name_and_value(line)) {
            (Some(field), _) if is_folded && field.stray.is_empty() => field.value.push_str(&text),
            (Some(field), _) if is_folded => field.stray.push_str(&text),
            (_, Some((name, value))) => fields.push(Field {
                name: String::from_utf8_lossy(name).into_owned(),
                value: String::from_utf8_lossy(value).into_owned(),
                stray: String::new(),
            }),
            (Some(field), None) => {
                field.stray.push(' ');
                field.stray.push_str(text.trim());
            }
            (None, None) => {}
        }
    }
    for field in &mut fields {
        if field.stray.trim().is_empty() {
            field.stray.clear();
        }
    }
    fields
}
