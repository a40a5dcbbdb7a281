//! `GET /controllers` and `GET /controllers/{name}`: for whom we work, how much, whether in time, by which instructions and with which keys.

mod instructions;

use super::errors::explain;
use super::parts::{controller_path, count, day, form_with, moment, plain, term};
use super::shell::{Page, Section};
use super::{act, paused_names};
use crate::http::Edge;
use crate::http::auth::{Viewer, Who, vouch};
use crate::http::path::{NamePath, Query};
use crate::http::problem::Problem;
use axum::extract::{RawQuery, Request, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::report::{Share, Tally, day_start, local_date};
use redress_domain::terms::Terms;
use redress_domain::{Permit, RequestType, Role, deadline};
use redress_store::{AnsweredIn, ApiKey, Controller, InstructionsVersion, Proposal, SystemRow, Volumes};
use std::collections::BTreeMap;

const DAY_MS: i64 = 86_400_000;
/// What counts as recent.
const RECENT_DAYS: i64 = 30;
/// Months that are shown of one controller, this one included.
const MONTHS: i32 = 4;
/// Controllers on one page.
const ROWS_MAX: usize = 200;

fn zone_of(controller: &Controller) -> TimeZone {
    deadline::zone(&controller.timezone).unwrap_or(TimeZone::UTC)
}

fn month_start(now: i64, zone: &TimeZone, months_ago: i32) -> Date {
    local_date(now, zone).first_of_month().saturating_sub(jiff::Span::new().months(months_ago))
}

/// A share as people read it, with what it is of.
fn share((answered, on_time): (i64, i64)) -> Markup {
    let share = Share { numerator: on_time.max(0).unsigned_abs(), denominator: answered.max(0).unsigned_abs() };
    html! {
        @match share.percent() {
            Some(percent) => { (percent) " % " span.quiet { "of " (count(answered)) } }
            None => { span.quiet { "none answered" } }
        }
    }
}

/// `GET /controllers`
pub(crate) async fn controllers(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let done = query.text("done");
    let after = query.text("after");
    query.finish()?;
    let now = edge.store.now_ms();
    let mut all = viewer.controllers(&edge).await?;
    let total = all.len();
    all.retain(|controller| after.as_ref().is_none_or(|after| controller.name > *after));
    let more = all.len() > ROWS_MAX;
    all.truncate(ROWS_MAX);
    let mut months: BTreeMap<String, i64> = BTreeMap::new();
    for controller in &all {
        let zone = zone_of(controller);
        months.entry(controller.timezone.clone()).or_insert_with(|| day_start(month_start(now, &zone, 0), &zone));
    }
    let months: Vec<(String, i64)> = months.into_iter().collect();
    let ids: Vec<_> = all.iter().map(|controller| controller.id.clone()).collect();
    let volumes = edge.store.volumes(Some(&ids), now - RECENT_DAYS * DAY_MS, &months).await?;
    let volumes: BTreeMap<_, _> = volumes.into_iter().map(|volume| (volume.controller_id.clone(), volume)).collect();
    let holds = edge.store.holds_in_force(Some(&ids), viewer.sees_gagged()).await?;
    let body = html! {
        header.page {
            h1 { "Controllers" }
            p.lead { @match total {
                0 => { "There is no controller yet." }
                1 => { "1 controller." }
                n => { (count(n as i64)) " controllers." }
            } }
        }
        @if total == 0 {
            section.empty {
                h2 { "No controllers yet" }
                p { "A controller is a company for which you carry out requests. Create the first one and keep its API key: " }
                p { code { "redress controller create acme --country DE --timezone Europe/Berlin" } }
            }
        } @else {
            section.card {
                h2 { "All controllers" }
                div.scroll tabindex="0" role="region" aria-label="Controllers" { (table(&all, &volumes, &holds)) }
                @if more && let Some(last) = all.last() {
                    @let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("after", &last.name).finish();
                    nav.pager aria-label="Pages" { a href={ "/controllers?" (query) } { "Next page" } }
                }
            }
        }
    };
    let done = done.as_deref().and_then(act::done);
    Ok(Page { viewer: &viewer, section: Section::Controllers, title: "Controllers", done, now, body }.into_response())
}

fn table(
    all: &[Controller],
    volumes: &BTreeMap<redress_domain::ControllerId, Volumes>,
    holds: &BTreeMap<redress_domain::ControllerId, i64>,
) -> Markup {
    html! {
        table.data {
            caption.hidden { "Controllers with their volumes" }
            thead { tr {
                th scope="col" { "Controller" } th scope="col" { "Answered in time this month" }
                th.number scope="col" { "Open" } th.number scope="col" { "Received, 30 days" } th.number scope="col" { "Ended, 30 days" }
                th.number scope="col" { "Systems" } th.number scope="col" { (term("legal_hold", "Holds")) } th scope="col" { "Where" } th scope="col" { "State" }
            } }
            tbody { @for controller in all {
                @let volume = volumes.get(&controller.id);
                @let number = |of: fn(&Volumes) -> i64| count(volume.map_or(0, of));
                tr data-row {
                    th scope="row" { a href=(controller_path(&controller.name)) { bdi { (controller.name) } } }
                    td { @if let Some(volume) = volume { (share(volume.answered)) } }
                    td.number { (number(|volume| volume.open)) }
                    td.number { (number(|volume| volume.received)) }
                    td.number { (number(|volume| volume.closed)) }
                    td.number { (number(|volume| volume.systems)) }
                    td.number { @match holds.get(&controller.id) { Some(n) => { a href="/queue?kind=holds" { (count(*n)) } } None => { "0" } } }
                    td { @if let Some(country) = &controller.country { (country) ", " } (controller.timezone) }
                    td { @if controller.paused { span.status.alert { "paused" } } @else { "works" } }
                }
            } }
        }
    }
}

/// What is shown of one controller.
pub(super) struct Seen {
    controller: Controller,
    zone: TimeZone,
    now: i64,
    volume: Option<Volumes>,
    /// Each month's name with what was answered in it, this one first.
    months: Vec<(String, AnsweredIn)>,
    days: Tally,
    systems: Vec<SystemRow>,
    keys: Option<Vec<ApiKey>>,
    paused: Vec<String>,
    instructions: InstructionsVersion,
    proposed: Option<Proposal>,
    /// The latest versions, with the one before each.
    versions: Vec<InstructionsVersion>,
}

impl Seen {
    pub(super) async fn read(edge: &Edge, viewer: &Viewer, name: &str) -> Result<Self, Problem> {
        let found = viewer.controllers(edge).await?.into_iter().find(|controller| controller.name == name);
        let controller = found.ok_or_else(Problem::not_found)?;
        let (now, zone, id) = (edge.store.now_ms(), zone_of(&controller), controller.id.clone());
        let recent = now - RECENT_DAYS * DAY_MS;
        let firsts: Vec<Date> = (-1..MONTHS).rev().map(|ago| month_start(now, &zone, ago)).collect();
        let bounds: Vec<i64> = firsts.iter().map(|day| day_start(*day, &zone)).collect();
        let this = [(controller.timezone.clone(), day_start(month_start(now, &zone, 0), &zone))];
        let volume = edge.store.volumes(Some(std::slice::from_ref(&id)), recent, &this).await?.into_iter().next();
        let answered = edge.store.answered_between(&id, &bounds).await?;
        let names = firsts.iter().map(|day| day.strftime("%B %Y").to_string());
        let mut months: Vec<(String, AnsweredIn)> = names.zip(answered).collect();
        months.reverse();
        let keys = if viewer.may(Permit::Keys) { Some(edge.store.keys(&id).await?) } else { None };
        let paused = edge.store.paused(Some(&id)).await?;
        let (instructions, proposed) = edge.store.instructions(&id).await?;
        Ok(Self {
            instructions,
            proposed,
            versions: edge.store.instructions_versions(&id, None, instructions::VERSIONS + 1).await?,
            months,
            volume,
            days: edge.store.days_to_answer(&id, recent).await?,
            systems: edge.store.systems(&id).await?,
            keys,
            paused: paused_names(&paused, None, |_| controller.name.as_str()),
            controller,
            zone,
            now,
        })
    }
}

/// `GET /controllers/{name}`
pub(crate) async fn controller(
    viewer: Viewer,
    State(edge): State<Edge>,
    NamePath(name): NamePath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let done = query.text("done");
    query.finish()?;
    let seen = Seen::read(&edge, &viewer, &name).await?;
    let done = done.as_deref().and_then(act::done);
    Ok(page(&viewer, &seen, done, None))
}

/// The page of a controller; `fresh` is the text of a key that was made just now, which is shown this once.
pub(super) fn page(viewer: &Viewer, seen: &Seen, done: Option<&str>, fresh: Option<&str>) -> Response {
    let controller = &seen.controller;
    let name = controller.name.as_str();
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("controller", name).finish();
    let body = html! {
        header.page {
            h1 { bdi { (name) } }
            p.lead {
                @if let Some(volume) = &seen.volume {
                    (count(volume.open)) " open, " (count(volume.received)) " received and " (count(volume.closed)) " ended in the last 30 days. "
                    @match (seen.days.median(), seen.days.percentile(95)) {
                        (Some(half), Some(most)) => { "Half of the answers took " (half) " days or less, 95 of 100 took " (most) " or less." }
                        _ => { "Nothing was answered in the last 30 days." }
                    }
                }
            }
        }
        @if let Some(fresh) = fresh {
            section.card {
                h2 { "The new key" }
                p.notice role="status" { "This text is shown this once. Keep it where secrets are kept: only its hash is stored here, and it cannot be shown again." }
                p { code.id { (fresh) } }
            }
        }
        @if !seen.paused.is_empty() {
            p.notice role="status" { "Paused: " (seen.paused.join(", ")) ". Nothing new is begun there; deadlines go on." }
        }
        nav.tabs aria-label="Of this controller" {
            a href={ "/requests?" (query) } { "Requests" }
            a href={ "/systems?" (query) } { "Systems" }
            a href={ "/reports?" (query) } { "Reports" }
        }
        div.cols { (on_time(seen)) (facts(seen)) }
        (instructions::card(viewer, seen))
        @if let Some(keys) = &seen.keys { (self::keys(viewer, seen, keys)) }
    };
    let page = Page { viewer, section: Section::Controllers, title: name, done, now: seen.now, body };
    page.into_response()
}

/// `POST /controllers/{name}/keys`: the call of the native API that makes a key, whose text stands on the answer and nowhere else.
pub(crate) async fn make_key(
    viewer: Viewer,
    State(edge): State<Edge>,
    NamePath(name): NamePath,
    request: Request,
) -> Result<Response, Problem> {
    if matches!(viewer.who, Who::Local) {
        return Err(Problem::sign_in_first());
    }
    let headers = request.headers().clone();
    let mut form = act::Form::read(request, &edge).await?;
    vouch(&headers, &viewer, &form.take("csrf").unwrap_or_default())?;
    // Nobody is told whether there is such a controller before it is known to be theirs.
    let seen = Seen::read(&edge, &viewer, &name).await?;
    let target = format!("/v1/keys{}", named(&viewer, &seen.controller.name));
    let (status, answer) = act::call(&edge, headers, Method::POST, &target, form.body()?).await?;
    let Some(text) = answer["api_key"].as_str().filter(|_| status.is_success()) else {
        let back = controller_path(&seen.controller.name);
        return Ok(explain(Some(&viewer), &edge, status, &answer, Some(&back)));
    };
    let seen = Seen::read(&edge, &viewer, &name).await?;
    Ok(page(&viewer, &seen, None, Some(text)))
}

/// How a call says whose it is: a key speaks for its own controller, people name the one they mean.
pub(super) fn named(viewer: &Viewer, controller: &str) -> String {
    if matches!(viewer.who, Who::Key(_)) {
        return String::new();
    }
    format!("?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("controller", controller).finish())
}

fn on_time(seen: &Seen) -> Markup {
    html! {
        section.card {
            h2 { "Answered in time" }
            div.scroll tabindex="0" role="region" aria-label="Answered in time, by month" {
                table.data {
                    caption.hidden { "Answered in time, by month" }
                    thead { tr { th scope="col" { "Month" } th scope="col" { "In time" } th.number scope="col" { "Ended" } } }
                    tbody { @for (month, answered) in &seen.months { tr {
                        th scope="row" { (month) }
                        td { (share((answered.answered, answered.on_time))) }
                        td.number { (count(answered.closed)) }
                    } } }
                }
            }
            p.quiet { "Of what was completed, in whole or in part, or rejected: how much of it before its " (term("due", "due date"))
                ". Withdrawn and expired requests had no answer. Days are counted from our instruction." }
        }
    }
}

fn facts(seen: &Seen) -> Markup {
    let controller = &seen.controller;
    let policy = &controller.policy;
    let kinds = |kinds: &[RequestType]| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    let terms = controller.terms.as_deref().and_then(|text| serde_json::from_str::<Terms>(text).ok());
    html! {
        section.card {
            h2 { "What was agreed" }
            dl.facts {
                dt { "Where" } dd { (controller.country.as_deref().unwrap_or("not given")) ", " (controller.timezone) }
                dt { "Data stay in" } dd { (controller.region.as_deref().unwrap_or("not given")) }
                dt { "Contact" } dd { bdi { (controller.contact.as_deref().unwrap_or("not given")) } }
                dt { "Approval first" } dd { @if policy.require_approval.is_empty() { "for no type" } @else { (kinds(&policy.require_approval)) } }
                dt { "Review of the result" } dd { @if policy.review.is_empty() { "for no type" } @else { (kinds(&policy.review)) } }
                dt { "Cooling-off" } dd { @if policy.cooling_off_hours == 0 { "none" } @else { (policy.cooling_off_hours) " hours" } }
                dt { "Share of the workers" } dd { (controller.weight) }
                dt { "Since" } dd { (moment(controller.created_at, &seen.zone)) }
                @match &terms {
                    Some(terms) => {
                        dt { "Contract" } dd { "version " bdi { (terms.version) } @if let Some(basis) = &terms.basis { ", " bdi { (basis) } } }
                        @for rule in &terms.rules {
                            dt { (rule.request_types.join(", ")) }
                            dd { "within " (rule.due) }
                        }
                        @if let Some(days) = terms.controller_buffer_business_days { dt { "Buffer before the law's date" } dd { (days) " business days" } }
                    }
                    None => { dt { "Contract" } dd { "none of its own: the installation's rule holds" } }
                }
            }
        }
    }
}

fn keys(viewer: &Viewer, seen: &Seen, keys: &[ApiKey]) -> Markup {
    let name = seen.controller.name.as_str();
    let at = controller_path(name);
    let named = named(viewer, name);
    let held: Vec<&ApiKey> = keys.iter().filter(|key| key.revoked_at.is_none()).collect();
    let revoked = keys.len() - held.len();
    html! {
        section.card {
            h2 { "API keys" }
            @if held.is_empty() { p.quiet { "No key holds: nobody can call for this controller." } } @else {
                div.scroll tabindex="0" role="region" aria-label="API keys" {
                    table.data {
                        caption.hidden { "API keys of this controller" }
                        thead { tr { th scope="col" { "Key" } th scope="col" { "Role" } th scope="col" { "Made" } th scope="col" { "Last used" } th scope="col" { "End it" } } }
                        tbody { @for key in &held { tr {
                            th.id scope="row" { (key.id) }
                            td { (plain(key.role.as_str())) }
                            td.date { (day(local_date(key.created_at, &seen.zone))) }
                            td.date { @match key.last_used_at {
                                Some(at) => (super::parts::at(at, &seen.zone)),
                                None => span.quiet { "no use recorded" },
                            } }
                            td { details.action {
                                summary { "Revoke" }
                                (form_with(viewer, &format!("/v1/keys/{}{named}", key.id), &at, "revoked", Some("delete"), &html! {
                                    p { "Whoever calls with it is refused from this moment on. This cannot be undone." }
                                    button.danger type="submit" { "Revoke " (key.id) }
                                }))
                            } }
                        } } }
                    }
                }
            }
            @if revoked > 0 { p.quiet { (count(revoked as i64)) " revoked." } }
            details.action {
                summary { "Make a key" }
                form.act method="post" action={ (at) "/keys" } {
                    input type="hidden" name="csrf" value=(viewer.token());
                    label for="role" { "Role" }
                    select id="role" name="role" { @for role in Role::KEYS { option value=(role.as_str()) { (plain(role.as_str())) } } }
                    p { "Its text is shown once, on the next page." }
                    button type="submit" { "Make the key" }
                }
            }
            p.quiet { "The last use is to the minute; what a key did stands in the audit log under its id." }
        }
    }
}
