//! The standing instructions of a controller on its page: what is in force, who set it and when, what waits for a second person, what
//! was before, and the form for new ones.

use super::super::parts::{at, form_with, plain, system_path};
use super::{Seen, named};
use crate::http::auth::Viewer;
use crate::http::board::parts::{controller_path, term};
use maud::{Markup, html};
use redress_domain::{Permit, RequestType};
use redress_store::{Instructions, InstructionsVersion, Proposal, SystemRow};
use serde_json::{Map, Value};

/// Versions on the page.
pub(super) const VERSIONS: i64 = 10;

pub(super) fn card(viewer: &Viewer, seen: &Seen) -> Markup {
    let now = &seen.instructions;
    html! {
        section.card #instructions {
            h2 { (term("instruction", "Standing instructions")) }
            p { "Version " (now.version)
                @if let Some(since) = now.set_at { ", in force since " (at(since, &seen.zone)) }
                @if let Some(by) = &now.set_by { ", set by " span.id { (by) } }
                ". A request goes by the version in force when it was planned; its first event names it." }
            @if seen.systems.is_empty() {
                p.quiet { "No system is connected: " code { "redress apply " (seen.controller.name) ".toml" } " connects those that hold its data." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Standing instructions" {
                    table.data {
                        caption.hidden { "Which rights may be carried out in which system" }
                        thead { tr { th scope="col" { "System" } th scope="col" { "Kind" } @for kind in RequestType::ALL { th scope="col" { (kind.as_str()) } } th scope="col" { "State" } } }
                        tbody { @for system in &seen.systems { (line(seen, system)) } }
                    }
                }
                p.quiet { "What is not allowed here is left out of every request's plan, and the certificate says so." }
            }
            @if let Some(proposal) = &seen.proposed { (proposed(viewer, seen, proposal)) }
            @if viewer.may(Permit::Decide) { (change(viewer, seen)) }
            (history(seen))
        }
    }
}

fn line(seen: &Seen, system: &SystemRow) -> Markup {
    html! {
        tr data-row {
            th scope="row" { a href=(system_path(&seen.controller.name, &system.name)) { bdi { (system.name) } } }
            td { (plain(&system.family)) }
            @for kind in RequestType::ALL { td { @if system.allow.contains(kind) { "yes" } @else { span.quiet { "no" } } } }
            td { @if system.paused { span.status.alert { "paused" } } @else if let Some((code, _)) = &system.problem { span.status.alert { (plain(code)) } } @else { "works" } }
        }
    }
}

/// What another person has to say too before it holds.
fn proposed(viewer: &Viewer, seen: &Seen, proposal: &Proposal) -> Markup {
    let path = format!("/v1/instructions{}", named(viewer, &seen.controller.name));
    let back = controller_path(&seen.controller.name);
    html! {
        div.notice {
            h3 { "Waits for a second person" }
            p { "Proposed by " span.id { (proposal.by) } " on " (at(proposal.at, &seen.zone)) ":" }
            (differences(&seen.instructions.instructions.changes_to(&proposal.instructions)))
            @if viewer.may(Permit::Decide) {
                @if viewer.session().is_some() && viewer.actor() != proposal.by {
                    (form_with(viewer, &path, &back, "instructed", Some("put"), &html! {
                        (as_fields(seen.instructions.version, &proposal.instructions))
                        button.primary type="submit" { "Say the same: let it hold" }
                    }))
                } @else { p.quiet { "Another person who has signed in can let it hold." } }
                (form_with(viewer, &format!("/v1/instructions/proposal{}", named(viewer, &seen.controller.name)), &back, "removed", Some("delete"), &html! {
                    button type="submit" { "Take it back" }
                }))
            }
        }
    }
}

/// The whole document as fields that are not seen.
fn as_fields(version: i64, of: &Instructions) -> Markup {
    let hidden = |name: &str, value: &str| html! { input type="hidden" name=(name) value=(value); };
    html! {
        (hidden("version:number", &version.to_string()))
        @for (system, allow) in &of.allow { @for kind in allow { (hidden(&format!("allow.{system}:list"), kind.as_str())) } }
        @for kind in &of.require_approval { (hidden("require_approval:list", kind.as_str())) }
        @for kind in &of.review { (hidden("review:list", kind.as_str())) }
        @if of.four_eyes { (hidden("four_eyes:flag", "true")) }
        (hidden("cooling_off_hours:number", &of.cooling_off_hours.to_string()))
        @if let Some(days) = of.package_expires_days { (hidden("package_expires_days:number", &days.to_string())) }
    }
}

fn change(viewer: &Viewer, seen: &Seen) -> Markup {
    let now = &seen.instructions.instructions;
    let path = format!("/v1/instructions{}", named(viewer, &seen.controller.name));
    html! {
        details.action {
            summary { "Change the instructions" }
            (form_with(viewer, &path, &controller_path(&seen.controller.name), "instructed", Some("put"), &html! {
                input type="hidden" name="version:number" value=(seen.instructions.version);
                @for (system, allow) in &now.allow { (types(&format!("allow.{system}:list"), &format!("Carried out in {system}"), allow)) }
                (types("require_approval:list", "A person approves first", &now.require_approval))
                (types("review:list", "A person looks at the result before it is handed over", &now.review))
                label { input type="checkbox" name="four_eyes:flag" value="true" checked[now.four_eyes]; " Four eyes: nobody approves alone, and these instructions are changed by two people" }
                label for="cooling_off_hours" { "Hours in which a deletion can be withdrawn (0 to 720)" }
                input id="cooling_off_hours" name="cooling_off_hours:number" type="number" min="0" max="720" value=(now.cooling_off_hours);
                label for="package_expires_days" { "Days for which an access package is handed out (empty: as elsewhere)" }
                input id="package_expires_days" name="package_expires_days:number" type="number" min="1" max="365" value=[now.package_expires_days];
                @if now.four_eyes { p { "Another person has to say the same before it holds." } }
                button.primary type="submit" { "Instruct" }
            }))
        }
    }
}

fn types(name: &str, legend: &str, chosen: &[RequestType]) -> Markup {
    html! {
        fieldset {
            legend { (legend) }
            @for kind in RequestType::ALL {
                label { input type="checkbox" name=(name) value=(kind.as_str()) checked[chosen.contains(kind)]; " " (kind.as_str()) }
            }
        }
    }
}

/// The latest versions, each with what it changed.
fn history(seen: &Seen) -> Markup {
    let pairs: Vec<(&InstructionsVersion, Option<&InstructionsVersion>)> =
        seen.versions.iter().enumerate().map(|(n, version)| (version, seen.versions.get(n + 1))).collect();
    html! {
        @if !pairs.is_empty() {
            details {
                summary { "Earlier versions" }
                ol.timeline { @for (version, before) in pairs.iter().take(VERSIONS as usize) { li {
                    "Version " (version.version)
                    @if let Some(since) = version.set_at { ", " (at(since, &seen.zone)) }
                    @if let Some(by) = &version.set_by { ", by " span.id { (by) } }
                    @match before {
                        Some(before) => (differences(&before.instructions.changes_to(&version.instructions))),
                        None => p.quiet { "What was before it is not kept, or further back." },
                    }
                } } }
                p.quiet { "All of them: " code { "GET /v1/instructions/versions" } "." }
            }
        }
    }
}

fn differences(changes: &Map<String, Value>) -> Markup {
    html! {
        ul { @for (name, change) in changes {
            li { @match name.strip_prefix("allow.") {
                Some(system) => { "carried out in " bdi { (system) } }
                None => (plain(name)),
            } ": " (said(&change["before"])) " → " (said(&change["after"])) }
        } }
    }
}

fn said(value: &Value) -> String {
    match value {
        Value::Null => "not said".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
