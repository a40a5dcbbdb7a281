//! Who a request is about, in clear, for a reason: that somebody saw it is in the audit log before they see it.

use super::auth::Caller;
use super::body::Members;
use super::path::DsrPath;
use super::problem::Problem;
use super::{Edge, json};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use redress_domain::Personal;
use redress_domain::words::Fault;
use serde_json::{Value, json};

/// The shortest and the longest reason, in bytes.
const REASON: std::ops::RangeInclusive<usize> = 3..=500;

/// `POST /v1/requests/{id}/reveal`
pub(crate) async fn reveal(
    caller: Caller,
    DsrPath(id): DsrPath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body =
        json::read_optional(&headers, body, edge.body_limit, edge.patience()).await?.unwrap_or_else(|| json!({}));
    let mut faults = Vec::new();
    let mut reason = None;
    if let Some(mut members) = Members::open(&body, "", &mut faults) {
        reason = members.text("reason", &mut faults);
        members.finish(&mut faults);
    }
    let reason = reason.map(|text| text.trim().to_owned());
    let reason = reason.filter(|text| REASON.contains(&text.len()) && !text.contains('\0'));
    if reason.is_none() {
        let detail = format!(
            "must say why you need to see it, in {} to {} bytes: a code such as identity_check, or words, which are sealed",
            REASON.start(),
            REASON.end()
        );
        super::body::add(&mut faults, vec![Fault::new("/reason", detail)]);
    }
    let Some(reason) = reason.filter(|_| faults.is_empty()) else { return Err(Problem::invalid(&faults)) };
    let marks = caller.seen(json!({}));
    let who = edge.store.reveal(&caller.controller_id, &id, &caller.actor, &reason, marks).await?;
    let identifiers: Vec<Value> =
        who.identifiers.iter().map(|(kind, value)| json!({ "type": kind, "value": value.expose() })).collect();
    let corrections: Vec<Value> =
        who.corrections.iter().map(|(field, value)| json!({ "field": field, "value": value.expose() })).collect();
    let reference = who.reference.as_ref().map(Personal::expose);
    Ok(Json(json!({ "request": id, "identifiers": identifiers, "corrections": corrections, "reference": reference })))
}
