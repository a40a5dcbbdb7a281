//! What a receiver answers, read strictly: an answer that is not exactly one of these is no answer.

use crate::http::Answer;
use crate::report::{REPORT_MAX, Reader};
use crate::{Problem, Report, Trouble};
use redress_domain::Verb;
use serde_json::{Map, Value};
use std::time::Duration;

/// What was answered.
#[derive(Debug)]
pub(super) enum Said {
    /// It was done, and what.
    Done(Box<Report>),
    /// Nobody there, after a complete search.
    NothingFound,
    /// It takes time: ask again by this handle.
    Accepted { handle: Option<String>, check_after: Duration, completes_within: Option<Duration> },
    /// It must be kept.
    Held(String),
    /// More match than may, or they contradict each other.
    Ambiguous(u64),
    /// For the second look: so many remain.
    Remaining(u64),
}

/// The answer to a call about this verb; `second` for the second look.
pub(super) fn read(answer: &Answer, verb: Verb, second: bool) -> Result<Said, Trouble> {
    match answer.status {
        200 | 202 => {}
        410 => {
            return Err(Trouble::Denied(Problem::new(
                "receiver_gone",
                "the receiver says that it is there no more (410); connect the system anew or remove it",
            )));
        }
        _ => return Err(answer.trouble()),
    }
    let Value::Object(body) = answer.json()? else { return Err(crate::http::unreadable()) };
    if answer.body.len() > REPORT_MAX {
        return Err(crate::http::unreadable());
    }
    let mut reader = Reader::new("", &body);
    let said = said(&mut reader, verb, second);
    let status = body.get("status").and_then(Value::as_str).unwrap_or_default();
    if answer.status == 202 && status != "accepted" {
        reader.fault("status", "must be accepted with 202");
    }
    match (said, reader.finish()) {
        (Some(said), faults) if faults.is_empty() => Ok(said),
        (_, faults) => {
            let told: Vec<String> =
                faults.iter().take(5).map(|fault| format!("{} {}", fault.path, fault.detail)).collect();
            Err(Trouble::Denied(Problem::new(
                "answer_not_as_agreed",
                format!(
                    "the receiver's answer is not as docs/webhook-connector.md says ({}); nothing was concluded from it",
                    told.join("; ")
                ),
            )))
        }
    }
}

fn said(reader: &mut Reader<'_>, verb: Verb, second: bool) -> Option<Said> {
    let status = reader.text("status", 20);
    Some(match (status.as_str(), second) {
        ("confirmed", true) => {
            if reader.number("remaining", false) != 0 {
                reader.fault("remaining", "must be 0 where it is confirmed");
            }
            Said::Remaining(0)
        }
        ("residue", true) => {
            let remaining = reader.number("remaining", true);
            if remaining == 0 {
                reader.fault("remaining", "must not be 0 where something remains");
            }
            Said::Remaining(remaining)
        }
        ("done", false) => {
            let report = Report::read(verb, reader);
            if report.found == 0 {
                reader.fault("found", "must not be 0 where something was done; answer nothing_found");
            }
            Said::Done(Box::new(report))
        }
        ("nothing_found", false) => Said::NothingFound,
        ("accepted", false) => {
            let handle = reader.value("handle").is_some().then(|| reader.text("handle", 255));
            let seconds = reader.number("check_after_seconds", false).clamp(1, 86_400);
            let days = reader.number("completes_within_days", false);
            Said::Accepted {
                handle,
                check_after: Duration::from_secs(seconds),
                completes_within: (days > 0).then(|| Duration::from_secs(days.min(365) * 86_400)),
            }
        }
        ("held", false) => Said::Held(reader.code("reason")),
        ("ambiguous", false) => Said::Ambiguous(reader.number("matched", true)),
        _ => {
            let words = if second { "confirmed, residue" } else { "done, nothing_found, accepted, held, ambiguous" };
            reader.fault("status", &format!("must be one of {words}"));
            return None;
        }
    })
}

/// A check's answer: `{"status": "ok"}`.
pub(super) fn is_ok(body: &Map<String, Value>) -> bool {
    body.len() == 1 && body.get("status").is_some_and(|status| status == "ok")
}
