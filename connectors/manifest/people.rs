//! Whose a record is: its identifiers equal the person's after normalisation, and no stronger one says that it is somebody else's.

use super::format::Exact;
use super::plan::Search;
use super::pointer;
use super::template::{Scope, Template};
use crate::{Problem, Trouble};
use redress_domain::{Identifier, IdentifierType, Subject};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What a record's identifiers say about whose it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// The strongest type by which it is the subject's.
    pub(super) strongest: Option<IdentifierType>,
    /// Stronger types of which it holds another value.
    pub(super) contradicting: Vec<IdentifierType>,
}

/// Judges one record. Empty values say nothing. `asked` is the type of the identifier that the vendor was asked for, where
/// it was asked for that one alone.
pub(super) fn judge(search: &Search, record: &Value, subject: &Subject, asked: Option<IdentifierType>) -> Judgement {
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for exact in &search.find.exact {
        let Some(kind) = IdentifierType::parse(&exact.by) else { continue };
        let wanted: Vec<&Identifier> = subject.identifiers.iter().filter(|i| i.kind() == kind).collect();
        if wanted.is_empty() {
            continue;
        }
        let stored = stored(record, exact);
        let normalise = exact.normalise.as_deref();
        let handle = asked == Some(kind) && exact.pointers.iter().any(|pointer| pointer == "#handle");
        if handle || stored.iter().any(|text| wanted.iter().any(|i| is_same(i, text, normalise, subject))) {
            same.push(kind);
        } else if !stored.is_empty() && !exact.mixed {
            other.push(kind);
        }
    }
    let strongest = same.into_iter().min();
    other.retain(|kind| strongest.is_none_or(|strongest| *kind < strongest));
    Judgement { strongest, contradicting: other }
}

/// What a record holds where an identifier may be.
fn stored(record: &Value, exact: &Exact) -> Vec<String> {
    let values = exact.pointers.iter().filter(|p| *p != "#handle").flat_map(|pointer| pointer::all(record, pointer));
    let texts = values.filter_map(pointer::text).flat_map(|text| match &exact.split {
        Some(by) if !by.is_empty() => text.split(by.as_str()).map(str::to_owned).collect(),
        _ => vec![text],
    });
    texts.filter(|text| !text.trim().is_empty()).collect()
}

fn is_same(identifier: &Identifier, stored: &str, normalise: Option<&str>, subject: &Subject) -> bool {
    match normalise {
        Some("md5_lower") => md5_lower(identifier).is_some_and(|hash| hash == stored.trim().to_lowercase()),
        Some("e164_digits") => identifier.is_same_as(&format!("+{}", stored.trim()), None),
        _ => identifier.is_same_as(stored, subject.region.as_deref()),
    }
}

fn md5_lower(identifier: &Identifier) -> Option<String> {
    let template = Template::parse("${value|md5_lower}").ok()?;
    template.text(&Scope::new().with("value", identifier.normal().expose().as_str())).ok()
}

/// Finds, among many people, those whose a record may be.
pub(super) struct Index {
    by: BTreeMap<(IdentifierType, String), BTreeSet<usize>>,
    regions: BTreeSet<Option<String>>,
}

impl Index {
    /// Of these people (by position), as far as they can be searched for.
    pub(super) fn of<'s>(search: &Search, people: impl Iterator<Item = (usize, &'s Subject)>) -> Self {
        let mut index = Self { by: BTreeMap::new(), regions: BTreeSet::new() };
        let hashed: Vec<&str> = search
            .find
            .exact
            .iter()
            .filter(|exact| exact.normalise.as_deref() == Some("md5_lower"))
            .map(|exact| exact.by.as_str())
            .collect();
        for (at, subject) in people {
            index.regions.insert(subject.region.clone());
            for identifier in &subject.identifiers {
                let mut put = |text: String| index.by.entry((identifier.kind(), text)).or_default().insert(at);
                put(identifier.normal().expose().clone());
                if hashed.contains(&identifier.kind().as_str()) {
                    md5_lower(identifier).map(put);
                }
            }
        }
        index
    }

    /// Those whose this record may be; [`judge`] says whose it is.
    pub(super) fn whose(&self, search: &Search, record: &Value) -> BTreeSet<usize> {
        let mut whose = BTreeSet::new();
        for exact in &search.find.exact {
            let Some(kind) = IdentifierType::parse(&exact.by) else { continue };
            for text in stored(record, exact) {
                let mut forms = BTreeSet::from([text.trim().to_lowercase()]);
                for region in &self.regions {
                    for text in [text.clone(), format!("+{}", text.trim())] {
                        let read = Identifier::parse(kind, &text, region.as_deref()).ok();
                        forms.extend(read.map(|identifier| identifier.normal().expose().clone()));
                    }
                }
                for form in forms {
                    whose.extend(self.by.get(&(kind, form)).into_iter().flatten());
                }
            }
        }
        whose
    }
}

/// How an identifier is searched: in its normal form first; where an address is written in more ways than by capitals, in these too.
pub(super) fn spellings(identifier: &Identifier, as_given: bool) -> Vec<String> {
    let normal = identifier.normal().expose().clone();
    let mut known = BTreeSet::from([normal.to_lowercase()]);
    let mut all = vec![normal.clone()];
    for spelling in identifier.spellings() {
        let text = spelling.expose();
        if identifier.kind() == IdentifierType::Email && known.insert(text.to_lowercase()) {
            all.push(text.clone());
        }
    }
    let given = identifier.given().expose();
    if as_given && !all.contains(given) {
        all.push(given.clone());
    }
    all
}

/// What templates see of a person when they are looked for by this identifier.
pub(super) fn subject_value(
    subject: &Subject,
    asked: Option<(IdentifierType, &str)>,
    search: Option<&Search>,
) -> Value {
    let mut map = Map::new();
    for identifier in subject.identifiers.iter().rev() {
        map.insert(identifier.kind().as_str().to_owned(), identifier.normal().expose().as_str().into());
    }
    if let Some((kind, text)) = asked {
        map.insert("value".into(), text.into());
        map.insert("type".into(), kind.as_str().into());
        if let Some(field) = search.and_then(|search| field(search, kind)) {
            map.insert("field".into(), field.into());
        }
    }
    Value::Object(map)
}

/// What the vendor calls an identifier type.
pub(super) fn field(search: &Search, kind: IdentifierType) -> Option<&str> {
    search.find.fields.get(kind.as_str()).map(String::as_str)
}

/// Contradictions met while a person was looked for.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    records: u64,
    said: BTreeSet<String>,
    /// Addresses of records that match by phone only.
    sharing: BTreeSet<String>,
}

impl Conflicts {
    /// Takes in what one record's identifiers say.
    pub(super) fn note(&mut self, search: &Search, record: &Value, judgement: &Judgement) {
        if !judgement.contradicting.is_empty() {
            self.records += 1;
            let other = judgement.contradicting.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" and ");
            self.said.insert(match judgement.strongest {
                Some(kind) => format!("a record of {} matches by {kind} but holds another {other}", search.name),
                None => format!("a record of {} belongs to the person's but holds another {other}", search.name),
            });
        }
        if judgement.strongest == Some(IdentifierType::Phone) {
            self.sharing.extend(address(search, record));
        }
    }

    /// Whether the records can be one person's.
    pub(super) fn settle(mut self, matched: u64) -> Result<(), Trouble> {
        // A number is often a household's.
        if self.sharing.len() > 1 {
            self.records += self.sharing.len() as u64;
            self.said.insert("records that match by phone only hold different e-mail addresses".to_owned());
        }
        if self.records == 0 {
            return Ok(());
        }
        let said = self.said.into_iter().collect::<Vec<_>>().join("; ");
        Err(Trouble::Ambiguous {
            matched: matched.max(self.records),
            problem: Problem::new(
                "identifiers_contradict",
                format!(
                    "{said}: submit again without the weaker identifier if that is another person, or with the other value as a further identifier if it is the same"
                ),
            ),
        })
    }
}

fn address(search: &Search, record: &Value) -> Option<String> {
    let exact = search.find.exact.iter().find(|exact| exact.by == "email" && exact.normalise.is_none())?;
    let text = stored(record, exact).into_iter().next()?;
    Identifier::parse(IdentifierType::Email, &text, None).ok().map(|i| i.normal().expose().clone())
}
