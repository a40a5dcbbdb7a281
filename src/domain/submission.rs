//! A submission is what a controller sent, read into types that can no longer be wrong; every fault is reported at once.

use crate::{Correction, Identifier, IdentifierType, Personal, RequestType, Subject, words::Fault};
use jiff::Timestamp;

/// A submission as it came, one optional text per member, before anything is believed.
#[derive(Debug, Default)]
pub struct RawSubmission {
    /// `type`.
    pub kind: Option<String>,
    /// `regulation`, an id of the rule table.
    pub regulation: Option<String>,
    /// `regulations`, several ids where several laws govern.
    pub regulations: Option<Vec<String>>,
    /// `jurisdiction`, ISO 3166 code of a country or state.
    pub jurisdiction: Option<String>,
    /// `reference`, the controller's own name for the request.
    pub reference: Option<Personal<String>>,
    /// `data_subject_received_at`, RFC 3339 with offset.
    pub data_subject_received_at: Option<String>,
    /// `subject.identifiers`: type and value.
    pub identifiers: Vec<(Option<String>, Option<Personal<String>>)>,
    /// `corrections`: field and value.
    pub corrections: Vec<(Option<String>, Option<Personal<String>>)>,
    /// `systems`, names of connected systems; all that are instructed if absent.
    pub systems: Option<Vec<String>>,
    /// `callback_url`, where status changes are told.
    pub callback_url: Option<Personal<String>>,
}

/// A submission that is well formed. Whether its regulation, systems and callback are acceptable is decided by those
/// who know them (the rule table, the store, the outbound policy).
#[derive(Debug)]
pub struct Submission {
    /// The right that is used.
    pub kind: RequestType,
    /// Ids of the regulations that the controller named, each once; `regulation` and `regulations` together.
    pub regulations: Vec<String>,
    /// ISO 3166 code, if the controller named one.
    pub jurisdiction: Option<String>,
    /// The controller's own name for the request.
    pub reference: Option<Personal<String>>,
    /// When the person asked the controller, if known.
    pub data_subject_received_at: Option<Timestamp>,
    /// The person.
    pub subject: Subject,
    /// What to put right; empty unless the type is correction.
    pub corrections: Vec<Correction>,
    /// Names of the systems to act in, or all that are instructed.
    pub systems: Option<Vec<String>>,
    /// Where status changes are told.
    pub callback_url: Option<Personal<String>>,
}

/// Most identifiers of one subject.
pub const IDENTIFIERS_MAX: usize = 20;
/// Most corrections of one request.
pub const CORRECTIONS_MAX: usize = 50;
/// Longest corrected value, in bytes.
pub const VALUE_MAX: usize = 4096;
/// Longest reference, in bytes.
pub const REFERENCE_MAX: usize = 200;
/// Most regulations that one request is under.
pub const REGULATIONS_MAX: usize = 8;
/// Receipts before this instant are typing errors: no regulation in the table is older.
const EARLIEST: &str = "2000-01-01T00:00:00Z";

impl Submission {
    /// Reads a submission. `region` is the controller's country, `now` the moment it was received.
    ///
    /// # Errors
    /// Every fault, each with the JSON pointer of the member it is in and what would be right.
    pub fn parse(raw: RawSubmission, region: Option<&str>, now: Timestamp) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let kind = parse_kind(raw.kind.as_deref(), &mut faults);
        let received = raw.data_subject_received_at.as_deref().and_then(|text| parse_received(text, now, &mut faults));
        if let Some(reference) = &raw.reference {
            check_text("/reference", reference.expose(), REFERENCE_MAX, &mut faults);
        }
        for (pointer, value) in [("/regulation", &raw.regulation), ("/jurisdiction", &raw.jurisdiction)] {
            if let Some(value) = value {
                check_text(pointer, value, 64, &mut faults);
            }
        }
        let regulations = parse_regulations(raw.regulation, raw.regulations, &mut faults);
        let identifiers = parse_identifiers(raw.identifiers, region, &mut faults);
        let corrections = match kind {
            Some(RequestType::Correction) => parse_corrections(raw.corrections, &mut faults),
            _ => Vec::new(),
        };
        if let Some(systems) = &raw.systems {
            if systems.is_empty() {
                faults.push(Fault::new(
                    "/systems",
                    "is empty; name at least one connected system, or leave it out for all",
                ));
            }
            if systems.len() > 100 {
                faults.push(Fault::new("/systems", "names more than 100 systems"));
            }
        }
        match kind {
            Some(kind) if faults.is_empty() => Ok(Self {
                kind,
                regulations,
                jurisdiction: raw.jurisdiction,
                reference: raw.reference,
                data_subject_received_at: received,
                subject: Subject { identifiers, region: region.map(str::to_owned) },
                corrections,
                systems: raw.systems,
                callback_url: raw.callback_url,
            }),
            _ => Err(faults),
        }
    }
}

fn parse_kind(text: Option<&str>, faults: &mut Vec<Fault>) -> Option<RequestType> {
    let known = || RequestType::ALL.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(", ");
    match text {
        None => {
            faults.push(Fault::new("/type", format!("is missing; one of {}", known())));
            None
        }
        Some(text) => {
            let kind = RequestType::parse(text);
            if kind.is_none() {
                faults.push(Fault::new("/type", format!("is not a type of request; one of {}", known())));
            }
            kind
        }
    }
}

fn parse_received(text: &str, now: Timestamp, faults: &mut Vec<Fault>) -> Option<Timestamp> {
    let pointer = "/data_subject_received_at";
    let Some(instant) = crate::clock::instant(text) else {
        faults.push(Fault::new(
            pointer,
            "is not an existing date and time with offset (RFC 3339), such as 2026-11-19T09:00:00+01:00",
        ));
        return None;
    };
    // A few minutes of clock difference between the controller and us are not a future receipt.
    if instant.as_second() > now.as_second() + 300 {
        faults.push(Fault::new(pointer, "lies in the future; give the moment at which the person's request arrived"));
        return None;
    }
    if instant < EARLIEST.parse().expect("a constant") {
        faults.push(Fault::new(
            pointer,
            "lies before the year 2000; give the moment at which the person's request arrived",
        ));
        return None;
    }
    Some(instant)
}

fn parse_regulations(one: Option<String>, several: Option<Vec<String>>, faults: &mut Vec<Fault>) -> Vec<String> {
    if several.as_ref().is_some_and(Vec::is_empty) {
        faults.push(Fault::new("/regulations", "is empty; name at least one regulation, or leave it out"));
    }
    if several.as_ref().is_some_and(|ids| ids.len() > REGULATIONS_MAX) {
        faults.push(Fault::new("/regulations", format!("names more than {REGULATIONS_MAX} regulations")));
        return Vec::new();
    }
    let mut all: Vec<String> = one.into_iter().collect();
    for (i, id) in several.into_iter().flatten().enumerate() {
        check_text(&format!("/regulations/{i}"), &id, 64, faults);
        if !all.contains(&id) {
            all.push(id);
        }
    }
    all
}

fn check_text(pointer: &str, text: &str, max: usize, faults: &mut Vec<Fault>) {
    if text.trim().is_empty() {
        faults.push(Fault::new(pointer, "is empty; leave it out instead"));
    } else if text.len() > max {
        faults.push(Fault::new(pointer, format!("is too long: at most {max} bytes")));
    } else if text.chars().any(char::is_control) {
        faults.push(Fault::new(pointer, "holds a control character, line break or NUL"));
    }
}

fn parse_identifiers(
    raw: Vec<(Option<String>, Option<Personal<String>>)>,
    region: Option<&str>,
    faults: &mut Vec<Fault>,
) -> Vec<Identifier> {
    let known = IdentifierType::ALL.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(", ");
    if raw.is_empty() {
        faults.push(Fault::new("/subject/identifiers", format!("is missing or empty; at least one of {known}")));
    }
    if raw.len() > IDENTIFIERS_MAX {
        faults.push(Fault::new("/subject/identifiers", format!("holds more than {IDENTIFIERS_MAX} identifiers")));
        return Vec::new();
    }
    let mut all: Vec<Identifier> = Vec::new();
    for (i, (kind, value)) in raw.into_iter().enumerate() {
        let at = |member: &str| format!("/subject/identifiers/{i}/{member}");
        let kind = match kind.as_deref() {
            None => {
                faults.push(Fault::new(at("type"), format!("is missing; one of {known}")));
                None
            }
            Some(text) => {
                let kind = IdentifierType::parse(text);
                if kind.is_none() {
                    faults.push(Fault::new(at("type"), format!("is not a type of identifier; one of {known}")));
                }
                kind
            }
        };
        match (kind, value) {
            (_, None) => faults.push(Fault::new(at("value"), "is missing")),
            (None, _) => {}
            (Some(kind), Some(value)) => match Identifier::parse(kind, value.expose(), region) {
                Ok(identifier) => all.push(identifier),
                Err(bad) => faults.push(Fault::new(at("value"), bad.to_string())),
            },
        }
    }
    // Strongest first (the order of the enum), each value once.
    all.sort_by(|a, b| a.kind().cmp(&b.kind()).then_with(|| a.normal().expose().cmp(b.normal().expose())));
    all.dedup_by(|a, b| a.kind() == b.kind() && a.normal() == b.normal());
    all
}

fn parse_corrections(raw: Vec<(Option<String>, Option<Personal<String>>)>, faults: &mut Vec<Fault>) -> Vec<Correction> {
    if raw.is_empty() {
        faults.push(Fault::new(
            "/corrections",
            "is missing or empty; a correction names at least one field and its value",
        ));
    }
    if raw.len() > CORRECTIONS_MAX {
        faults.push(Fault::new("/corrections", format!("holds more than {CORRECTIONS_MAX} fields")));
        return Vec::new();
    }
    let mut all: Vec<Correction> = Vec::new();
    for (i, (field, value)) in raw.into_iter().enumerate() {
        let at = |member: &str| format!("/corrections/{i}/{member}");
        let before = faults.len();
        match &field {
            None => faults.push(Fault::new(at("field"), "is missing")),
            Some(field) => {
                check_text(&at("field"), field, 128, faults);
                if all.iter().any(|c| &c.field == field) {
                    faults.push(Fault::new(at("field"), "is corrected twice"));
                }
            }
        }
        match &value {
            None => faults.push(Fault::new(at("value"), "is missing")),
            Some(value) if value.expose().len() > VALUE_MAX => {
                faults.push(Fault::new(at("value"), format!("is too long: at most {VALUE_MAX} bytes")));
            }
            Some(value) if value.expose().contains('\0') => {
                faults.push(Fault::new(at("value"), "holds a NUL character"));
            }
            Some(_) => {}
        }
        if let (Some(field), Some(value), true) = (field, value, faults.len() == before) {
            all.push(Correction { field, value });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-19T09:00:00Z".parse().expect("valid")
    }

    fn email(value: &str) -> (Option<String>, Option<Personal<String>>) {
        (Some("email".into()), Some(value.into()))
    }

    fn pointers(raw: RawSubmission) -> Vec<String> {
        Submission::parse(raw, Some("DE"), now()).expect_err("faulty").into_iter().map(|f| f.pointer).collect()
    }

    #[test]
    fn only_a_type_and_one_identifier_are_required() {
        let raw = RawSubmission {
            kind: Some("access".into()),
            identifiers: vec![email("jane@example.com")],
            ..Default::default()
        };
        let submission = Submission::parse(raw, None, now()).expect("complete");
        assert_eq!(submission.kind, RequestType::Access);
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let raw = RawSubmission {
            kind: Some("oblivion".into()),
            identifiers: vec![email("@"), (Some("shoe_size".into()), Some("44".into())), (None, None)],
            data_subject_received_at: Some("2026-02-30T10:00:00Z".into()),
            reference: Some("a\nb".into()),
            ..Default::default()
        };
        assert_eq!(
            pointers(raw),
            [
                "/type",
                "/data_subject_received_at",
                "/reference",
                "/subject/identifiers/0/value",
                "/subject/identifiers/1/type",
                "/subject/identifiers/2/type",
                "/subject/identifiers/2/value",
            ]
        );
    }

    #[test]
    fn a_receipt_without_offset_in_the_future_or_before_2000_is_refused() {
        for text in ["2026-11-19T09:00:00", "2026-11-19", "2026-11-20T09:00:00Z", "1999-12-31T23:59:59Z", "yesterday"] {
            let raw = RawSubmission {
                kind: Some("access".into()),
                identifiers: vec![email("jane@example.com")],
                data_subject_received_at: Some(text.into()),
                ..Default::default()
            };
            assert_eq!(pointers(raw), ["/data_subject_received_at"], "{text}");
        }
    }

    #[test]
    fn a_correction_needs_a_field_and_a_value() {
        let raw = RawSubmission {
            kind: Some("correction".into()),
            identifiers: vec![email("jane@example.com")],
            ..Default::default()
        };
        assert_eq!(pointers(raw), ["/corrections"]);
        let raw = RawSubmission {
            kind: Some("correction".into()),
            identifiers: vec![email("jane@example.com")],
            corrections: vec![(Some("last_name".into()), Some("Doe".into())), (Some("last_name".into()), None)],
            ..Default::default()
        };
        assert_eq!(pointers(raw), ["/corrections/1/field", "/corrections/1/value"]);
    }

    #[test]
    fn the_same_identifier_twice_counts_once_and_the_strongest_comes_first() {
        let raw = RawSubmission {
            kind: Some("deletion".into()),
            identifiers: vec![
                email("Jane@Example.com"),
                email("jane@example.com"),
                (Some("customer_id".into()), Some("C-1".into())),
            ],
            ..Default::default()
        };
        let submission = Submission::parse(raw, None, now()).expect("valid");
        let kinds: Vec<_> = submission.subject.identifiers.iter().map(Identifier::kind).collect();
        assert_eq!(kinds, [IdentifierType::CustomerId, IdentifierType::Email]);
    }

    #[test]
    fn faults_never_repeat_the_value() {
        let raw = RawSubmission {
            kind: Some("access".into()),
            identifiers: vec![email("canary canary@example.com")],
            ..Default::default()
        };
        let faults = Submission::parse(raw, None, now()).expect_err("two words");
        assert!(!format!("{faults:?}").contains("canary"));
    }
}
