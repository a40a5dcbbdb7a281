//! What is done in each connected system, how far it is, and who can mend what went wrong.

use super::super::parts::{at, plain, status_mark, system_path};
use super::{Shown, text};
use crate::http::view::instant;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::step::{CREDENTIALS_REFUSED, INTERRUPTED, RATE_LIMITED, StepState, THROTTLED};
use redress_store::StepRow;
use serde_json::Value;

pub(super) fn card(shown: &Shown<'_>) -> Markup {
    let zone = shown.lens.zone();
    let steps = &shown.detail.steps;
    let left_out = &shown.detail.row.out_of_scope;
    html! {
        section.card {
            h2 { "Systems" }
            @if steps.is_empty() {
                p.quiet { "No connected system has a part in this request." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Steps by system" {
                    table.data {
                        caption.hidden { "What is done in each system" }
                        thead { tr {
                            th scope="col" { "System" } th scope="col" { "What" } th scope="col" { "Status" }
                            th.number scope="col" { "Found" } th.number scope="col" { "Changed" } th.number scope="col" { "Tries" }
                            th scope="col" { "When" } th scope="col" { "Effect" } th scope="col" { "Last error, and who can mend it" }
                        } }
                        tbody { @for step in steps { (row(shown, step, zone)) } }
                    }
                }
            }
            @if !left_out.is_empty() {
                h3 { "Left out" }
                ul { @for (system, reason) in left_out { li { (system) ": " (plain(reason)) } } }
            }
        }
    }
}

fn row(shown: &Shown<'_>, step: &StepRow, zone: &TimeZone) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(system_path(&shown.controller, &step.system)) { (step.system) } " " span.quiet { (step.connector) } }
            td { (plain(step.verb.as_str())) }
            td { (status_mark(step.status.as_str())) }
            td.number data-label="found" { @if let Some(found) = step.found { (found) } }
            td.number data-label="changed" { @if let Some(changed) = step.changed { (changed) } }
            td.number data-label="tries" { (step.attempts) }
            td.when {
                @if let Some(next) = step.next_attempt_at { "next try " (at(next, zone)) }
                @else if let Some(verified) = step.verified_at { "verified " (at(verified, zone)) }
                @else if let Some(acted) = step.acted_at { "done " (at(acted, zone)) }
            }
            td { (effect(step, zone)) }
            td.attention { (error(step)) }
        }
    }
}

/// What the verb left behind: what it did, what ends by itself and when, what stays and why.
fn effect(step: &StepRow, zone: &TimeZone) -> Markup {
    let empty = Value::Null;
    let result = step.result.as_ref().unwrap_or(&empty);
    let retained: Vec<&Value> = result["retained"].as_array().into_iter().flatten().collect();
    html! {
        @if let Some(effect) = result["effect"].as_str() { (plain(effect)) }
        @if let Some(until) = result["completes_by"].as_str() { p { "Completes by " (spoken(until, zone)) } }
        @if let Some(until) = result["residual_until"].as_str() { p { "Something is left until " (spoken(until, zone)) } }
        @for kept in retained {
            p { "Stays: " bdi { (text(&kept["collection"])) } @if let Some(records) = kept["records"].as_u64() { @if records > 0 { ", " (records) } } ", " (plain(text(&kept["reason"]))) }
        }
        @if !step.yields.is_empty() {
            p.quiet { "Told of " (step.yields.iter().map(|kind| plain(kind.as_str())).collect::<Vec<_>>().join(", ")) }
        }
    }
}

/// An instant or a day as it is written; what is neither is shown as it is.
fn spoken(text: &str, zone: &TimeZone) -> Markup {
    match text.parse::<jiff::Timestamp>() {
        Ok(moment) if instant(moment.as_millisecond()).is_some() => at(moment.as_millisecond(), zone),
        _ => html! { (text) },
    }
}

fn error(step: &StepRow) -> Markup {
    let Some((code, detail)) = &step.error else { return html! {} };
    html! {
        b { (plain(code)) } @if !detail.is_empty() { ": " bdi { (detail) } }
        p.quiet { (who_mends(code, step.status)) }
    }
}

/// Who can do something about an error.
fn who_mends(code: &str, status: StepState) -> &'static str {
    match code {
        CREDENTIALS_REFUSED => {
            "Whoever connects systems can: set other credentials and check the system. Then it goes on by itself."
        }
        "paused" => "Whoever operates systems can: resume it.",
        RATE_LIMITED | THROTTLED | "system_failing" | INTERRUPTED if status != StepState::NeedsAttention => {
            "Nobody has to: it is tried again by itself."
        }
        "no_identifier" | "ambiguous" | "too_many_matches" | "ambiguous_match" => {
            "The controller can: the identifiers do not point at one person there. Withdraw and submit again with others, or reject."
        }
        "residue" => "Whoever knows the system can: something keeps writing the data back. Stop that, then try again.",
        _ if status == StepState::NeedsAttention => {
            "Whoever knows the system can: mend what it says, then try again here."
        }
        _ => "Nobody has to yet: it is tried again by itself.",
    }
}
