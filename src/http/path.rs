//! A path's last parts and a query's parameters are read strictly: what cannot be an id is not found, what is not known is refused.

use super::Edge;
use super::problem::Problem;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use jiff::Timestamp;
use redress_domain::DsrId;
use std::collections::BTreeMap;

/// `{id}` of a request.
pub(crate) struct DsrPath(pub(crate) DsrId);

impl FromRequestParts<Edge> for DsrPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, edge).await.map_err(|_| Problem::not_found())?;
        DsrId::parse(&text).map(DsrPath).map_err(|_| Problem::not_found())
    }
}

/// Any other `{name}`.
pub(crate) struct NamePath(pub(crate) String);

impl FromRequestParts<Edge> for NamePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, edge).await.map_err(|_| Problem::not_found())?;
        if may_name(&text) { Ok(NamePath(text)) } else { Err(Problem::not_found()) }
    }
}

/// `{id}` of a request and `{system}`, the name of a connected system.
pub(crate) struct StepPath(pub(crate) DsrId, pub(crate) String);

impl FromRequestParts<Edge> for StepPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let Path((id, system)) =
            Path::<(String, String)>::from_request_parts(parts, edge).await.map_err(|_| Problem::not_found())?;
        match DsrId::parse(&id) {
            Ok(id) if may_name(&system) => Ok(StepPath(id, system)),
            _ => Err(Problem::not_found()),
        }
    }
}

/// Whether a new thing may be put in this place.
pub(crate) fn is_plain(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether a text may be looked for as a name. New names are plain letters (`provision`); what stands in a database from elsewhere is
/// found all the same. What no name can be never reaches it: PostgreSQL refuses a NUL in text.
pub(crate) fn may_name(text: &str) -> bool {
    (1..=256).contains(&text.len()) && !text.contains(char::is_control)
}

/// The parameters of a query; each is taken once, what is left over is unknown.
pub(crate) struct Query {
    given: BTreeMap<String, String>,
    asked: Vec<&'static str>,
    faults: Vec<(String, String)>,
}

impl Query {
    /// Reads the text after the question mark.
    pub(crate) fn new(query: Option<&str>) -> Self {
        let mut given = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let name = super::json::quoted(&name);
            if given.insert(name.clone(), value.into_owned()).is_some() {
                faults.push((name, "is given twice".to_owned()));
            }
        }
        Self { given, asked: Vec::new(), faults }
    }

    /// One parameter as text.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.asked.push(name);
        self.given.remove(name)
    }

    /// One parameter, read by `read`; `wanted` says what would be right.
    pub(crate) fn read<T>(&mut self, name: &'static str, wanted: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = read(&text);
        if value.is_none() {
            self.faults.push((name.to_owned(), format!("must be {wanted}")));
        }
        value
    }

    /// One parameter out of a closed set of words.
    pub(crate) fn word<T: Copy>(&mut self, name: &'static str, all: &[T], spell: fn(T) -> &'static str) -> Option<T> {
        let wanted = all.iter().map(|word| spell(*word)).collect::<Vec<_>>().join(", ");
        self.read(name, &format!("one of {wanted}"), |text| all.iter().copied().find(|word| spell(*word) == text))
    }

    /// A whole number within bounds.
    pub(crate) fn number(&mut self, name: &'static str, min: i64, max: i64) -> Option<i64> {
        self.read(name, &format!("a whole number from {min} to {max}"), |text| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|n| plain && (min..=max).contains(n))
        })
    }

    /// An instant with offset, as Unix ms.
    pub(crate) fn instant(&mut self, name: &'static str) -> Option<i64> {
        let wanted = "a date and time with offset (RFC 3339), such as 2026-11-19T09:00:00Z (a + is written %2B)";
        self.read(name, wanted, |text| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond))
    }

    /// All faults at once; unknown parameters are faults.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let known = if self.asked.is_empty() { "none".to_owned() } else { self.asked.join(", ") };
        for name in self.given.into_keys() {
            self.faults.push((name, format!("is not a parameter of this call; there are {known}")));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid_query(self.faults)) }
    }
}
