//! What callers do to a request's clock: it waits (`pause`), goes on (`resume`), is extended, or its receipt is acknowledged.
//!
//! Each is computed by the rule books of the day of submission. Nothing is half applied: a change that is refused leaves dates,
//! stage and queue as they were.

use super::Edge;
use super::auth::Caller;
use super::body::Members;
use super::json;
use super::path::DsrPath;
use super::problem::Problem;
use super::requests::shown;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::civil::Date;
use redress_domain::DsrId;
use redress_domain::deadline::{Change, ClockFacts, DeadlineError, Deadlines, ExtensionNotice, Refusal, compute};
use redress_domain::regulation::PauseKind;
use redress_domain::stage::{Event, Stage};
use redress_domain::words::Fault;
use redress_store::{ClockChange, ClockNote, ClockNow, Error};
use serde_json::{Value, json};

/// The longest reason, in bytes.
const REASON_MAX: usize = 500;

/// `POST /v1/requests/{id}/pause`
pub(crate) async fn pause(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let now = edge.store.clock().now();
    let (change, reason) = read(&edge, &headers, body, |members, faults| {
        let kind = members.kind(true, faults);
        let from = members.instant("from", faults).unwrap_or(now);
        let reason = members.reason(false, faults);
        Some((Change::Pause { kind: kind?, from }, reason))
    })
    .await?;
    act(&edge, &caller, &id, change, reason).await
}

/// `POST /v1/requests/{id}/resume`
pub(crate) async fn resume(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let now = edge.store.clock().now();
    let (change, reason) = read(&edge, &headers, body, |members, faults| {
        let kind = members.kind(false, faults);
        let to = members.instant("to", faults).unwrap_or(now);
        let reason = members.reason(false, faults);
        Some((Change::Resume { kind, to }, reason))
    })
    .await?;
    act(&edge, &caller, &id, change, reason).await
}

/// `POST /v1/requests/{id}/extend`
pub(crate) async fn extend(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let now = edge.store.clock().now();
    let (change, reason) = read(&edge, &headers, body, |members, faults| {
        let reason = members.reason(true, faults);
        let granted_at = members.instant("granted_at", faults).unwrap_or(now);
        let until = members.date("until", faults);
        Some((Change::Extend(ExtensionNotice { granted_at, until }), reason))
    })
    .await?;
    act(&edge, &caller, &id, change, reason).await
}

/// `POST /v1/requests/{id}/acknowledge`
pub(crate) async fn acknowledge(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let now = edge.store.clock().now();
    let (change, reason) = read(&edge, &headers, body, |members, faults| {
        let at = members.instant("acknowledged_at", faults).unwrap_or(now);
        Some((Change::Acknowledge { at }, None))
    })
    .await?;
    act(&edge, &caller, &id, change, reason).await
}

type Asked = (Change, Option<String>);

/// Reads a body that may be left out, with every fault at once.
async fn read(
    edge: &Edge,
    headers: &HeaderMap,
    body: Body,
    take: impl FnOnce(&mut Members<'_>, &mut Vec<Fault>) -> Option<Asked>,
) -> Result<Asked, Problem> {
    let body = json::read_optional(headers, body, edge.body_limit, edge.patience()).await?.unwrap_or_else(|| json!({}));
    let mut faults = Vec::new();
    let mut asked = None;
    if let Some(mut members) = Members::open(&body, "", &mut faults) {
        asked = take(&mut members, &mut faults);
        members.finish(&mut faults);
    }
    asked.filter(|_| faults.is_empty()).ok_or_else(|| Problem::invalid(&faults))
}

impl Members<'_> {
    fn kind(&mut self, required: bool, faults: &mut Vec<Fault>) -> Option<PauseKind> {
        let known = || PauseKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let before = faults.len();
        let Some(text) = self.text("kind", faults) else {
            if required && faults.len() == before {
                faults.push(Fault::new("/kind", format!("is missing; it says what is awaited: one of {}", known())));
            }
            return None;
        };
        let kind = PauseKind::parse(&text);
        if kind.is_none() {
            faults.push(Fault::new("/kind", format!("is not something to wait for; one of {}", known())));
        }
        kind
    }

    fn instant(&mut self, name: &'static str, faults: &mut Vec<Fault>) -> Option<Timestamp> {
        let text = self.text(name, faults)?;
        let instant = redress_domain::clock::instant(&text);
        if instant.is_none() {
            let detail = "is not an existing date and time with offset (RFC 3339), such as 2026-11-19T09:00:00+01:00";
            faults.push(Fault::new(format!("/{name}"), detail));
        }
        instant
    }

    fn date(&mut self, name: &'static str, faults: &mut Vec<Fault>) -> Option<Date> {
        let text = self.text(name, faults)?;
        let date = text.parse().ok();
        if date.is_none() {
            faults.push(Fault::new(format!("/{name}"), "is not an existing date, such as 2026-12-31"));
        }
        date
    }

    fn reason(&mut self, required: bool, faults: &mut Vec<Fault>) -> Option<String> {
        let before = faults.len();
        let text = self.text("reason", faults);
        let detail = match text.as_deref().map(str::trim) {
            None if required && faults.len() == before => {
                "is missing; an extension needs the reasons that the person was told (GDPR Art. 12(3))".to_owned()
            }
            Some("") => "is empty; say why".to_owned(),
            Some(text) if text.len() > REASON_MAX => format!("is too long: at most {REASON_MAX} bytes"),
            Some(text) if text.contains('\0') => "holds a NUL character".to_owned(),
            _ => return text,
        };
        faults.push(Fault::new("/reason", detail));
        None
    }
}

/// Why a change was not made.
enum No {
    Fault(&'static str, String),
    Conflict(String),
    /// The extension came too late; this is recorded.
    Void(String),
    Internal(String),
    Store(Error),
}

impl From<Error> for No {
    fn from(error: Error) -> Self {
        match error {
            Error::Conflict(detail) => No::Conflict(detail),
            other => No::Store(other),
        }
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Fault(member, detail) => No::Fault(member, detail),
            Refusal::Conflict(detail) => No::Conflict(detail),
        }
    }
}

async fn act(
    edge: &Edge,
    caller: &Caller,
    id: &DsrId,
    change: Change,
    reason: Option<String>,
) -> Result<Json<Value>, Problem> {
    let now = edge.store.clock().now();
    let actor = &caller.actor;
    let made = edge
        .store
        .change_clock(&caller.controller_id, id, actor, None, |clock| decide(clock, change, reason.as_deref(), now))
        .await;
    match made {
        Ok(()) => shown(edge, caller, id).await,
        Err(No::Fault(member, detail)) => Err(Problem::invalid(&[Fault::new(format!("/{member}"), detail)])),
        Err(No::Conflict(detail)) => conflict(edge, caller, id, detail).await,
        Err(No::Void(detail)) => {
            // That somebody tried is part of the record: the notice was given, but too late.
            if let Change::Extend(notice) = change {
                let data = json!({ "granted_at": notice.granted_at, "until": notice.until, "why": detail });
                edge.store.record_event(&caller.controller_id, actor, Some(id), "extension_void", data).await?;
            }
            conflict(edge, caller, id, detail).await
        }
        Err(No::Internal(detail)) => {
            tracing::error!(dsr.id = %id, detail, "the clock of {id} could not be computed");
            Err(Problem::internal())
        }
        Err(No::Store(error)) => Err(error.into()),
    }
}

async fn conflict(edge: &Edge, caller: &Caller, id: &DsrId, detail: String) -> Result<Json<Value>, Problem> {
    let now = edge.store.dsr(&caller.controller_id, id).await?;
    Err(Problem::new(StatusCode::CONFLICT, detail).member("current_status", now.row.status))
}

fn decide(clock: &ClockNow, change: Change, reason: Option<&str>, now: Timestamp) -> Result<ClockChange, No> {
    let before = &clock.clock.facts;
    let over = |what: &str| No::Conflict(format!("a request that is {} cannot be {what}", clock.status));
    let facts = before.after(change, now)?;
    let dates = |facts: &ClockFacts| {
        compute(&clock.rules, facts, now).map_err(|error| match error {
            DeadlineError::NoCalendar { .. } if facts.extension.is_some_and(|notice| notice.until.is_some()) => {
                No::Fault("until", format!("leads to a day that nobody knows the holidays of: {error}"))
            }
            DeadlineError::NoCalendar { .. } => No::Conflict(format!(
                "no date can be computed: {error}; the operator can install one and run redress recompute"
            )),
            other => No::Internal(other.to_string()),
        })
    };
    let deadlines = dates(&facts)?;
    let (kind, what, data, stage_event) = match change {
        Change::Pause { kind, from } => {
            let asked = Some(Event::ControllerAsked).filter(|_| clock.stage != Stage::AwaitingController);
            if asked.is_some_and(|event| clock.stage.after(event).is_err()) {
                return Err(over("paused"));
            }
            let data = json!({ "kind": kind, "from": from, "clock": deadlines.clock });
            ("paused", "paused", data, asked)
        }
        Change::Resume { to, .. } => {
            if clock.stage.is_final() {
                return Err(over("resumed"));
            }
            let ended = before.pauses.iter().zip(&facts.pauses).find(|(before, after)| before != after);
            let kind = ended.map(|(pause, _)| pause.kind);
            let answered = clock.stage == Stage::AwaitingController && !facts.is_waiting();
            let data = json!({ "kind": kind, "to": to, "due_on": deadlines.effective.due_on });
            ("resumed", "resumed", data, answered.then_some(Event::ControllerAnswered))
        }
        Change::Extend(notice) => {
            if clock.stage.is_final() {
                return Err(over("extended"));
            }
            deadlines.extension_counts(notice.until).map_err(|refusal| match refusal {
                Refusal::Conflict(detail) => No::Void(detail),
                fault @ Refusal::Fault(..) => fault.into(),
            })?;
            let data = extended(&notice, &dates(before)?, &deadlines);
            ("extended", "extended", data, None)
        }
        Change::Acknowledge { at } => ("acknowledged", "acknowledged", json!({ "acknowledged_at": at }), None),
    };
    let mut data = data;
    // A code says nothing about the person; words may, and are sealed.
    if let Some(code) = reason.filter(|text| is_code(text)) {
        data["reason"] = json!(code);
    } else if reason.is_some() {
        data["reason"] = json!("given");
    }
    let note = reason.map(|reason| ClockNote {
        at: now.as_millisecond(),
        action: what.to_owned(),
        reason: reason.trim().to_owned(),
    });
    Ok(ClockChange { facts, deadlines, event: (kind, data), note, stage_event, books: None })
}

fn extended(notice: &ExtensionNotice, before: &Deadlines, after: &Deadlines) -> Value {
    let law = |dates: &Deadlines| dates.statutory.as_ref().map(|law| law.due_on);
    json!({
        "granted_at": notice.granted_at,
        "until": notice.until,
        "statutory_due_on": { "before": law(before), "after": law(after) },
        "due_on": { "before": before.effective.due_on, "after": after.effective.due_on },
    })
}

fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Adds what only the request's own page shows: the reasons in people's words.
pub(crate) fn with_notes(view: &mut Value, notes: &[ClockNote]) {
    let shown =
        |note: &ClockNote| json!({ "at": super::view::time(note.at), "action": note.action, "reason": note.reason });
    view["clock_notes"] = notes.iter().map(shown).collect();
}
