//! A view is a row as its controller sees it: the members of the contract, instants in RFC 3339 UTC, nothing sealed but the reference.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use redress_domain::deadline::{self, Band, Milestones};
use redress_domain::{Personal, RequestType};
use redress_store::{Controller, DsrDetail, DsrRow, StepRow};
use serde::Deserialize as _;
use serde_json::{Value, json};

/// What a view depends on besides the row.
#[derive(Clone)]
pub(crate) struct Lens {
    zone: TimeZone,
    now: i64,
}

impl Lens {
    /// The view of one controller at one moment.
    pub(crate) fn new(controller: &Controller, now: i64) -> Self {
        Self { zone: deadline::zone(&controller.timezone).unwrap_or(TimeZone::UTC), now }
    }

    /// The controller's time zone.
    pub(crate) const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// How near the due date is, or was when the request ended.
    pub(crate) fn band(&self, row: &DsrRow) -> Option<Band> {
        let milestones = Milestones::deserialize(&row.deadlines["milestones"]).ok()?;
        Some(milestones.band(instant(row.closed_at.unwrap_or(self.now))?))
    }

    /// A request without its steps.
    pub(crate) fn summary(&self, row: &DsrRow) -> Value {
        let id = &row.id;
        let hands_over = matches!(row.kind, RequestType::Access | RequestType::Portability);
        let facts = row.clock.as_ref().map(|clock| &clock.facts);
        let out_of_scope: Vec<Value> =
            row.out_of_scope.iter().map(|(system, reason)| json!({ "system": system, "reason": reason })).collect();
        json!({
            "id": id,
            "status": row.status,
            "type": row.kind,
            "reference": row.reference.as_ref().map(Personal::expose),
            "regulation": row.regulation,
            "regulations": row.clock.as_ref().map(|clock| &clock.regulations),
            "jurisdiction": row.jurisdiction,
            "instruction_received_at": time(row.instruction_received_at),
            "data_subject_received_at": row.data_subject_received_at.map(time),
            "deadlines": row.deadlines,
            "band": self.band(row),
            "clock": clock(row),
            "pauses": facts.map_or_else(|| json!([]), |facts| json!(facts.pauses)),
            "extension": facts.map(|facts| json!(facts.extension)),
            "acknowledged_at": facts.and_then(|facts| facts.acknowledged_at),
            "closed_at": row.closed_at.map(time),
            "attention": row.attention,
            "forecast": row.forecast.as_ref().filter(|_| row.closed_at.is_none()),
            "out_of_scope": out_of_scope,
            "links": {
                "self": format!("/v1/requests/{id}"),
                "events": format!("/v1/requests/{id}/events"),
                "certificate": format!("/v1/requests/{id}/certificate"),
                "package": hands_over.then(|| format!("/v1/requests/{id}/package")),
            },
        })
    }

    /// A request with its steps.
    pub(crate) fn detail(&self, detail: &DsrDetail) -> Value {
        let mut view = self.summary(&detail.row);
        view["steps"] = detail.steps.iter().map(step).collect();
        // Reasons in words are shown on the request's own page only.
        view["clock_notes"] = json!([]);
        view["holds"] = json!([]);
        view
    }
}

/// The clock of the effective deadline.
fn clock(row: &DsrRow) -> String {
    let awaited = || {
        let kinds = row.deadlines["waits_for"].as_array().into_iter().flatten().filter_map(Value::as_str);
        kinds.collect::<Vec<_>>().join(",")
    };
    match row.closed_at {
        None if row.clock_state == "paused" => format!("paused({})", awaited()),
        None => row.clock_state.clone(),
        Some(at) if at < row.due_before => "stopped(met)".to_owned(),
        Some(_) => "stopped(breached)".to_owned(),
    }
}

fn step(step: &StepRow) -> Value {
    let result = |name: &str| step.result.as_ref().and_then(|r| r.get(name)).cloned();
    json!({
        "id": step.id,
        "system": step.system,
        "family": step.family,
        "verb": step.verb,
        "status": step.status,
        "found": step.found,
        "changed": step.changed,
        "attempts": step.attempts,
        "next_attempt_at": step.next_attempt_at.map(time),
        "acted_at": step.acted_at.map(time),
        "effect": result("effect"),
        "residual_until": result("residual_until"),
        "completes_by": result("completes_by"),
        "verified_at": step.verified_at.map(time),
        "retained": result("retained").unwrap_or_else(|| json!([])),
        "yielded": step.yields,
        "error": step.error.as_ref().map(|(code, detail)| json!({ "code": code, "detail": detail })),
    })
}

/// An instant of the database.
pub(crate) fn instant(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}

/// An instant of the database as RFC 3339 in UTC.
pub(crate) fn time(ms: i64) -> Option<String> {
    instant(ms).map(|at| at.to_string())
}
