//! `GET /requests/{id}` shows one request to people: what is done where, by when and why, and what happened so far.

use super::parts::{band_mark, day, ends, late_mark, moment, plain, status_mark};
use super::shell::{Page, Section};
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::foreseen::foreseen;
use crate::http::path::DsrPath;
use crate::http::problem::Problem;
use crate::http::view::Lens;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::forecast::Foreseen;
use redress_store::{AuditEvent, DsrDetail, DsrRow, StepRow};
use serde_json::Value;

/// Events that are shown; the API has them all.
const EVENTS_MAX: usize = 200;

pub(crate) async fn request(
    viewer: Viewer,
    State(edge): State<Edge>,
    DsrPath(id): DsrPath,
) -> Result<Response, Problem> {
    let controller_id = edge.store.controller_of(&id, viewer.scope.as_deref()).await?;
    let controller = edge.store.controller(&controller_id).await?;
    let detail = edge.store.dsr(&controller_id, &id).await?;
    let events = edge.store.events_of(&controller.id, &id).await?;
    let lens = Lens::new(&controller, edge.store.now_ms());
    let foreseen = foreseen(&edge, &detail.row, &lens).await?;
    let body = render(&controller.name, &lens, &detail, foreseen.as_ref(), &events);
    let now = edge.store.now_ms();
    Ok(Page { viewer: &viewer, section: Section::Requests, title: "Request", done: None, now, body }.into_response())
}

fn render(
    controller: &str,
    lens: &Lens,
    detail: &DsrDetail,
    foreseen: Option<&Foreseen>,
    events: &[AuditEvent],
) -> Markup {
    let row = &detail.row;
    let zone = lens.zone();
    html! {
        article {
            p.quiet { "times in " (zone.iana_name().unwrap_or("UTC")) }
            h2 { (row.kind) " for " (controller) " " (status_mark(&row.status)) " "
                @if let Some(band) = lens.band(row).filter(|_| row.closed_at.is_none()) { (band_mark(band)) } }
            p.id { (row.id) }
            @if let Some(attention) = &row.attention { p.notice { b { "Needs attention: " } (attention) } }
            (dates(row, zone))
            @if let Some(foreseen) = foreseen { (forecast(foreseen, zone)) }
            (steps(detail, zone))
            (history(detail, events, zone))
        }
    }
}

fn dates(row: &DsrRow, zone: &TimeZone) -> Markup {
    let deadlines = &row.deadlines;
    let on = |value: &Value| value.as_str().and_then(|text| text.parse::<Date>().ok()).map(day);
    let binding = match deadlines["effective"]["binding"].as_str() {
        Some("statutory") => "from the law's date",
        _ => "from the contract's date",
    };
    html! {
        section {
            h3 { "Dates" }
            dl {
                dt { "Due" } dd { (on(&deadlines["effective"]["due_on"]).unwrap_or_default()) " " span.quiet { (binding) } }
                dt { "Contract" } dd { (on(&deadlines["contract"]["due_on"]).unwrap_or_default()) " " span.quiet { (text(&deadlines["contract"]["rule"])) } }
                dt { "Law" } dd {
                    @match on(&deadlines["statutory"]["due_on"]) {
                        Some(date) => { (date) " " span.quiet { (text(&deadlines["statutory"]["rule"])) @if deadlines["statutory"]["assumed"] == true { ", assumed" } } }
                        None => { span.quiet { "no date of the law" } }
                    }
                }
                @if let Some(date) = on(&deadlines["acknowledge_by"]) { dt { "Acknowledge" } dd { "by " (date) } }
                dt { "Received" } dd { (moment(row.instruction_received_at, zone)) }
                @if let Some(at) = row.closed_at { dt { "Ended" } dd { (moment(at, zone)) @if at >= row.due_before { ", late" } } }
            }
            details {
                summary { "Why these dates" }
                ul { @for sentence in deadlines["trace"].as_array().into_iter().flatten() { li { (text(sentence)) } } }
                p.quiet { "Rules of " (text(&deadlines["table_version"])) }
            }
        }
    }
}

fn forecast(foreseen: &Foreseen, zone: &TimeZone) -> Markup {
    html! {
        section {
            h3 { "Forecast" }
            p { (ends(foreseen, zone)) " " (late_mark(foreseen)) " " span.quiet { (foreseen.confidence) } }
            ul { @for sentence in &foreseen.because { li { (sentence) } } }
        }
    }
}

fn steps(detail: &DsrDetail, zone: &TimeZone) -> Markup {
    html! {
        section {
            h3 { "Steps" }
            @if detail.steps.is_empty() { p.quiet { "No connected system has a part in this request." } } @else {
                table {
                    thead { tr { th { "System" } th { "What" } th { "Status" } th.number { "Found" } th.number { "Changed" } th.number { "Tries" } th { "Next or done" } th { "Error" } } }
                    tbody { @for step in &detail.steps { (step_row(step, zone)) } }
                }
            }
            @if !detail.row.out_of_scope.is_empty() {
                p.quiet { "Left out: " (detail.row.out_of_scope.iter().map(|(system, reason)| format!("{system} ({})", plain(reason))).collect::<Vec<_>>().join(", ")) }
            }
        }
    }
}

fn step_row(step: &StepRow, zone: &TimeZone) -> Markup {
    let when = step.next_attempt_at.or(step.verified_at).or(step.acted_at);
    html! {
        tr {
            td { (step.system) " " span.quiet { (step.connector) } }
            td { (step.verb) }
            td { (status_mark(step.status.as_str())) }
            td.number data-label="found" { @if let Some(found) = step.found { (found) } }
            td.number data-label="changed" { @if let Some(changed) = step.changed { (changed) } }
            td.number data-label="tries" { (step.attempts) }
            td.when { @if let Some(at) = when { (moment(at, zone)) } }
            td.attention { @if let Some((code, detail)) = &step.error { b { (code) } " " (detail) } }
        }
    }
}

fn history(detail: &DsrDetail, events: &[AuditEvent], zone: &TimeZone) -> Markup {
    let at = |text: &str| text.parse::<Timestamp>().map(|at| moment(at.as_millisecond(), zone)).unwrap_or_default();
    html! {
        section {
            h3 { "History" }
            table.history {
                thead { tr { th { "When" } th { "What" } th { "Who" } th { "Data" } } }
                tbody {
                    @for event in events.iter().take(EVENTS_MAX) {
                        tr { td.when { (at(&event.at)) } td { (plain(&event.kind)) } td.who { (event.actor) } td.data { (data(&event.data, &detail.steps)) } }
                    }
                }
            }
            @if events.len() > EVENTS_MAX { p.quiet { (events.len() - EVENTS_MAX) " more; the API has them all" } }
        }
    }
}

/// The data of an event as words: systems by name, and without what the rest of the page says already.
fn data(data: &Value, steps: &[StepRow]) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => {
            let step = steps.iter().find(|step| step.system_id.as_str() == text);
            step.map_or_else(|| plain(text), |step| step.system.clone())
        }
        other => other.to_string(),
    };
    let words = |value: &Value| match value {
        Value::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(", "),
        Value::Object(change) if change.contains_key("before") && change.contains_key("after") => {
            format!("{} → {}", word(&change["before"]), word(&change["after"]))
        }
        one => word(one),
    };
    let known = ["step", "stage", "state", "due_before"];
    let members = data.as_object().into_iter().flatten();
    let members = members.filter(|(name, value)| !value.is_null() && !known.contains(&name.as_str()));
    members.map(|(name, value)| format!("{} {}", plain(name), words(value))).collect::<Vec<_>>().join(" · ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
