//! Emergency rights are taken up by whoever holds the role `break_glass`: for a reason, for minutes, and announced at once.

use super::auth::Staff;
use super::body::Members;
use super::problem::Problem;
use super::view::time;
use super::{Edge, json};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use redress_domain::Role;
use redress_domain::words::Fault;
use serde_json::{Value, json};

/// Letters of a reason.
pub(crate) const REASON: std::ops::RangeInclusive<usize> = 10..=500;
/// Minutes that they may last.
pub(crate) const MINUTES: std::ops::RangeInclusive<i64> = 5..=60;

/// `POST /v1/break-glass`
pub(crate) async fn take(
    staff: Staff,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let session = staff.session()?;
    if !staff.0.roles.iter().any(|role| role == Role::BreakGlass) {
        return Err(Problem::forbidden("emergency rights are for whoever holds the role break_glass"));
    }
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let (reason, minutes) = read(&body)?;
    let until = edge.store.break_glass(session, &reason, minutes).await?;
    Ok((StatusCode::CREATED, Json(json!({ "until": time(until), "minutes": minutes }))))
}

/// `DELETE /v1/break-glass`
pub(crate) async fn mend(staff: Staff, State(edge): State<Edge>) -> Result<StatusCode, Problem> {
    edge.store.mend_glass(staff.session()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read(body: &Value) -> Result<(String, i64), Problem> {
    let mut faults = Vec::new();
    let Some(mut members) = Members::open(body, "", &mut faults) else { return Err(Problem::invalid(&faults)) };
    let reason = members.text("reason", &mut faults).map(|text| text.trim().to_owned()).unwrap_or_default();
    let minutes = members.number("minutes", &mut faults).unwrap_or_default();
    members.finish(&mut faults);
    let mut later = Vec::new();
    if !REASON.contains(&reason.chars().count()) || reason.chars().any(|c| c.is_control() && c != '\n') {
        later.push(Fault::new("/reason", format!("must be {} to {} letters long", REASON.start(), REASON.end())));
    }
    if !MINUTES.contains(&minutes) {
        later.push(Fault::new("/minutes", format!("must be a number from {} to {}", MINUTES.start(), MINUTES.end())));
    }
    super::body::add(&mut faults, later);
    if faults.is_empty() { Ok((reason, minutes)) } else { Err(Problem::invalid(&faults)) }
}
