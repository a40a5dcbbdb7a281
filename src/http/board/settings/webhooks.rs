//! Where controllers are told of their requests: their standing endpoints, and the addresses that came with single requests. What
//! was answered last, never a path or a secret, except the one that was just made.

use super::super::controllers::named;
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::board::parts::{at, count, empty, form, form_with, plain, span};
use crate::http::problem::Problem;
use crate::http::webhooks::{origin, statuses};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::{ControllerId, Permit};
use redress_store::{Controller, ToldController, Webhook};
use serde_json::Value;
use std::collections::BTreeMap;

/// Controllers, and endpoints, on the page.
const ROWS: i64 = 200;
/// The page.
const HERE: &str = "/settings/webhooks";

/// The tab; `chosen` is the name of the controller for which an endpoint is to be made.
pub(super) async fn content(edge: &Edge, viewer: &Viewer, chosen: Option<&str>) -> Result<Markup, Problem> {
    let scope = viewer.scope.as_deref();
    let told = edge.store.told_controllers(scope, ROWS).await?;
    if told.is_empty() {
        let what = html! { p { "Make a controller first: " code { "redress controller create NAME" } "." } };
        return Ok(empty("No controllers yet", &what));
    }
    let all = edge.store.webhooks_of(scope, ROWS).await?;
    let controllers = viewer.controllers(edge).await?;
    let names: BTreeMap<&ControllerId, &str> = controllers.iter().map(|one| (&one.id, one.name.as_str())).collect();
    let of = |webhook: &Webhook| names.get(&webhook.controller_id).copied().unwrap_or("?").to_owned();
    let now = edge.store.now_ms();
    Ok(html! {
        section.card {
            h2 { "Standing endpoints" }
            p { "An endpoint is told of each status of every request of its controller, signed with its own secret as Standard Webhooks has it. One that takes nothing for three days is told nothing more until somebody enables it." }
            @if all.is_empty() {
                p.quiet { "No controller has one yet. A request may name an address of its own besides (" code { "callback_url" } ")." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Standing endpoints" {
                    table.data {
                        caption.hidden { "Standing endpoints; those that are disabled come first" }
                        thead { tr {
                            th scope="col" { "Endpoint" } th scope="col" { "Controller" } th scope="col" { "Told of" } th scope="col" { "State" }
                            th scope="col" { "Last answer" }
                            @if viewer.may(Permit::Operate) || viewer.may(Permit::Connect) { th scope="col" { "Actions" } }
                        } }
                        tbody { @for webhook in &all { (line(viewer, webhook, &of(webhook), now)) } }
                    }
                }
                @if all.len() as i64 == ROWS { p.quiet { "The first " (ROWS) "; the others by " code { "GET /v1/webhooks" } "." } }
            }
            @if viewer.may(Permit::Connect) { (make(viewer, &controllers, chosen)) }
        }
        (callbacks(&told))
    })
}

fn line(viewer: &Viewer, webhook: &Webhook, controller: &str, now: i64) -> Markup {
    let (zone, id, named) = (TimeZone::UTC, &webhook.id, named(viewer, controller));
    let call = |what: &str| format!("/v1/webhooks/{id}/{what}{named}");
    let hidden = html! { span.hidden { " " (id) } };
    html! {
        tr data-row {
            th scope="row" {
                bdi { (origin(webhook)) }
                @if let Some(text) = &webhook.description { br; bdi.quiet { (text.expose()) } }
                br; span.id { (id) }
            }
            td { bdi { (controller) } }
            td { @if webhook.events.is_empty() { "every status" } @else { (webhook.events.iter().map(|event| plain(event)).collect::<Vec<_>>().join(", ")) } }
            td { (state(webhook, now)) }
            td { @match (&webhook.answer, webhook.answered_at) {
                (Some(answer), Some(when)) => { (plain(answer)) " " (at(when, &zone)) }
                _ => span.quiet { "none yet" },
            } }
            @if viewer.may(Permit::Operate) || viewer.may(Permit::Connect) {
                td {
                    @if viewer.may(Permit::Operate) {
                        (form(viewer, &call("test"), HERE, "tested", &html! { button type="submit" { "Send a test" (hidden) } }))
                        @if webhook.disabled_at.is_some() {
                            (form(viewer, &call("enable"), HERE, "enabled", &html! { button.primary type="submit" { "Enable again" (hidden) } }))
                        }
                    }
                    @if viewer.may(Permit::Connect) {
                        details.action {
                            summary { "New secret" (hidden) }
                            (form(viewer, &call("rotate"), HERE, "saved", &html! {
                                p { "It is shown once, on the next page. The old one signs beside it for 24 hours." }
                                button type="submit" { "Make a new secret" (hidden) }
                            }))
                        }
                        details.action {
                            summary { "Remove" (hidden) }
                            (form_with(viewer, &format!("/v1/webhooks/{id}{named}"), HERE, "removed", Some("delete"), &html! {
                                p { "It is told nothing more, not even what waits. Its address and secrets are destroyed." }
                                button.danger type="submit" { "Remove the endpoint" (hidden) }
                            }))
                        }
                    }
                }
            }
        }
    }
}

fn state(webhook: &Webhook, now: i64) -> Markup {
    html! {
        @if let Some(since) = webhook.disabled_at {
            span.status.alert { "disabled" } " " (span(now - since)) " ago: "
            @match webhook.disabled_why.as_deref() {
                Some("gone") => "it answered that it is gone for good",
                _ => "it took nothing for three days",
            }
        } @else if let Some(since) = webhook.failing_since {
            span.status.alert { "failing" } " for " (span(now - since)) ", " (count(webhook.failures)) " tries"
        } @else { span.badge.ok { "enabled" } }
        @if let Some(until) = webhook.old_secret_until { br; span.quiet { "an old secret signs until " (at(until, &TimeZone::UTC)) } }
    }
}

/// The form for a new endpoint; whoever sees several controllers says first for which one.
fn make(viewer: &Viewer, controllers: &[Controller], chosen: Option<&str>) -> Markup {
    let one = match controllers {
        [only] => Some(only),
        _ => controllers.iter().find(|one| Some(one.name.as_str()) == chosen),
    };
    html! {
        @match one {
            None => form.filters method="get" action=(HERE) {
                label for="controller" { "New endpoint for the controller" }
                input id="controller" name="controller" required maxlength="64" value=[chosen];
                button type="submit" { "Go on" }
                @if let Some(chosen) = chosen { p.notice.alert role="status" { "There is no controller named " bdi { (chosen) } "." } }
            },
            Some(one) => details.action open[chosen.is_some()] {
                summary { "Make an endpoint for " bdi { (one.name) } }
                (form(viewer, &format!("/v1/webhooks{}", named(viewer, &one.name)), HERE, "saved", &html! {
                    label for="url" { "Address" }
                    input id="url" name="url" type="url" required maxlength="2048" placeholder="https://dsr.example.org/hook" autocomplete="off";
                    label for="description" { "What it is for" }
                    input id="description" name="description" maxlength="200";
                    fieldset {
                        legend { "Told of (none: every status)" }
                        @for status in statuses() {
                            label { input type="checkbox" name="events:list" value=(status); " " (plain(status)) }
                        }
                    }
                    p { "Its secret is shown once, on the next page." }
                    button.primary type="submit" { "Make the endpoint" }
                }))
            },
        }
    }
}

/// A secret that was just made, in this one answer.
pub(super) fn made(answer: &Value) -> Markup {
    html! {
        section.card {
            h2 { "The secret of the endpoint" }
            p.notice role="status" { "This text is shown this once. Keep it where secrets are kept; what is lost is replaced by a new one." }
            p { code.id { (answer["secret"].as_str().unwrap_or_default()) } }
            p { "Endpoint " span.id { (answer["id"].as_str().unwrap_or_default()) } " at " bdi { (answer["origin"].as_str().unwrap_or_default()) }
                ". Check each message by its headers " code { "webhook-id" } ", " code { "webhook-timestamp" } " and " code { "webhook-signature" } "." }
            p { a href=(HERE) { "All endpoints" } }
        }
    }
}

fn callbacks(told: &[ToldController]) -> Markup {
    html! {
        section.card {
            h2 { "Addresses that came with requests" }
            p { "A controller is told of each change of a request at the address that it gave with that request (" code { "callback_url" } "), signed with its own secret. Addresses are sealed and shown to nobody." }
            div.scroll tabindex="0" role="region" aria-label="Last webhook of each controller" {
                table.data {
                    caption { "The last status each controller was told" }
                    thead { tr { th scope="col" { "Controller" } th scope="col" { "Last webhook" } th scope="col" { "Since" } } }
                    tbody { @for one in told { (webhook_line(one)) } }
                }
            }
            @if told.len() as i64 == ROWS { p.quiet { "The first " (ROWS) " controllers by name." } }
        }
    }
}

fn webhook_line(one: &ToldController) -> Markup {
    html! {
        tr data-row {
            th scope="row" { (one.name) }
            td { @match one.state.as_deref() {
                None => span.quiet { "nothing told yet" },
                Some("done") => span.badge.ok { "taken" },
                Some("retained") => { span.badge.alert { "given up" } " it can be sent again from the " a href="/queue" { "work queue" } }
                Some(state) => {
                    @if one.failures > 0 { span.badge.alert { (plain(state)) } " " (one.failures) " tries failed" } @else { span.badge { (plain(state)) } }
                    @if let Some(code) = &one.code { " " span.id { (code) } }
                }
            } }
            td.date { @if let Some(since) = one.created_at { (at(since, &TimeZone::UTC)) } }
        }
    }
}
