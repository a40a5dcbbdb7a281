//! How Gmail searches: by words, in whatever a header says, and generously where it does not understand.

/// A search, as far as it is understood.
pub(super) enum Search {
    /// Any of these operators with their texts (braces).
    AnyOf(Vec<(String, String)>),
    /// Something else: here it finds everything, so that nobody relies on it.
    Anything,
}

const HEADERS: [(&str, &[&str]); 5] =
    [("from", &["from"]), ("to", &["to"]), ("cc", &["cc"]), ("bcc", &["bcc"]), ("deliveredto", &["delivered-to"])];

impl Search {
    /// Reads `{from:"x" to:"y"}`.
    pub(super) fn parse(text: &str) -> Self {
        let Some(mut rest) = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            return Self::Anything;
        };
        let mut terms = Vec::new();
        while !rest.trim().is_empty() {
            let Some((operator, after)) = rest.trim_start().split_once(":\"") else { return Self::Anything };
            let Some((value, after)) = after.split_once('"') else { return Self::Anything };
            if !HEADERS.iter().any(|(known, _)| *known == operator) || value.trim().is_empty() {
                return Self::Anything;
            }
            terms.push((operator.to_owned(), value.to_lowercase()));
            rest = after;
        }
        Self::AnyOf(terms)
    }

    /// Whether it finds this message.
    pub(super) fn finds(&self, raw: &str) -> bool {
        let Self::AnyOf(terms) = self else { return true };
        let headers = headers(raw);
        terms.iter().any(|(operator, value)| {
            let names = HEADERS.iter().find(|(known, _)| known == operator).map_or(&[][..], |(_, names)| names);
            headers.iter().filter(|(name, _)| names.contains(&name.to_lowercase().as_str())).any(|(_, text)| {
                let text = decoded(text).to_lowercase();
                text.contains(value.as_str()) || phrase(&words(&text), &words(value))
            })
        })
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

fn phrase(text: &[&str], wanted: &[&str]) -> bool {
    !wanted.is_empty() && text.windows(wanted.len()).any(|some| some == wanted)
}

/// The headers of a message, unfolded.
pub(super) fn headers(raw: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in raw.lines().take_while(|line| !line.is_empty()) {
        match (line.starts_with([' ', '\t']), headers.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => value.push_str(line),
            (false, _, Some((name, value))) => headers.push((name.to_owned(), value.trim().to_owned())),
            _ => {}
        }
    }
    headers
}

/// A text whose words of RFC 2047 (UTF-8, Q) are decoded.
pub(super) fn decoded(text: &str) -> String {
    let Some((before, rest)) = text.split_once("=?utf-8?q?") else { return text.to_owned() };
    let Some((word, after)) = rest.split_once("?=") else { return text.to_owned() };
    let (mut bytes, mut chars) = (Vec::new(), word.bytes());
    while let Some(byte) = chars.next() {
        match byte {
            b'_' => bytes.push(b' '),
            b'=' => {
                let digits = [chars.next().unwrap_or(b'0'), chars.next().unwrap_or(b'0')];
                let digits = std::str::from_utf8(&digits).unwrap_or("00");
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    format!("{before}{}{}", String::from_utf8_lossy(&bytes), decoded(after))
}
