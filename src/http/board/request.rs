//! `GET /requests/{id}` shows one request to people: what is going on and what helps first, then what is done where, by when and why,
//! who the person is if somebody may see it, and everything that happened.

mod actions;
mod going_on;
mod person;
mod steps;
mod timeline;

use super::act;
use super::parts::{at, band_mark, day, distance, ends, late_mark, plain, status_mark, term};
use super::shell::{Page, Section};
use super::words::{PERSONAL, actor};
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::foreseen::foreseen;
use crate::http::four_eyes;
use crate::http::path::{DsrPath, Query};
use crate::http::problem::Problem;
use crate::http::view::Lens;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use jiff::civil::Date;
use maud::{Markup, html};
use redress_domain::forecast::Foreseen;
use redress_domain::hold::HoldFacts;
use redress_domain::step::StepState;
use redress_domain::{DsrId, Permit, Personal};
use redress_store::{AuditEvent, ClockNote, DsrDetail, PackageInfo, RequestHold};
use serde_json::Value;
use std::collections::BTreeMap;

/// Events on one page.
const EVENTS: i64 = 100;
/// Lines of who saw something personal.
const LOOKS_MAX: i64 = 50;

/// Everything that the page is made of.
struct Shown<'a> {
    viewer: &'a Viewer,
    controller: String,
    lens: Lens,
    now: i64,
    detail: DsrDetail,
    foreseen: Option<Foreseen>,
    events: Vec<AuditEvent>,
    earlier: Option<i64>,
    later: bool,
    looks: Vec<AuditEvent>,
    notes: Vec<ClockNote>,
    masked: Option<Vec<(String, String)>>,
    /// What people are called, for those who administer them.
    names: BTreeMap<String, Personal<String>>,
    package: Option<PackageInfo>,
    certificate: bool,
    /// Why this viewer's eyes are not the second pair that an approval needs.
    eyes: Option<&'static str>,
    /// Legal holds that reach it, as far as this viewer may know.
    holds: Vec<RequestHold>,
}

/// `GET /requests/{id}`
pub(crate) async fn request(
    viewer: Viewer,
    State(edge): State<Edge>,
    DsrPath(id): DsrPath,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let before = query.number("events_before", 1, i64::MAX);
    let done = query.text("done");
    query.finish()?;
    let shown = Shown::read(&edge, &viewer, &id, before).await?;
    let body = render(&shown, None);
    let done = done.as_deref().and_then(act::done);
    let now = shown.now;
    Ok(Page { viewer: &viewer, section: Section::Requests, title: "Request", done, now, body }.into_response())
}

/// The page with what was revealed: shown in this one answer and kept by nobody.
pub(super) async fn revealed(edge: &Edge, viewer: &Viewer, answer: &Value) -> Result<Response, Problem> {
    let id = DsrId::parse(answer["request"].as_str().unwrap_or_default()).map_err(|_| Problem::not_found())?;
    let shown = Shown::read(edge, viewer, &id, None).await?;
    let body = render(&shown, Some(answer));
    let (section, now) = (Section::Requests, shown.now);
    let mut response = Page { viewer, section, title: "Request", done: None, now, body }.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl<'a> Shown<'a> {
    async fn read(edge: &Edge, viewer: &'a Viewer, id: &DsrId, before: Option<i64>) -> Result<Self, Problem> {
        let store = &edge.store;
        let controller_id = store.controller_of(id, viewer.scope.as_deref()).await?;
        let controller = store.controller(&controller_id).await?;
        let detail = store.dsr(&controller_id, id).await?;
        let mut events = store.latest_events_of(&controller_id, id, before, EVENTS + 1).await?;
        let earlier =
            (events.len() as i64 > EVENTS).then(|| events.remove(0)).and(events.first()).map(|event| event.seq);
        let now = store.now_ms();
        let lens = Lens::new(&controller, now);
        let personal = viewer.may(Permit::Reveal);
        let looks = store.events_of_kinds(&controller_id, id, &PERSONAL, LOOKS_MAX).await?;
        let names = if viewer.may(Permit::People) {
            let actors: Vec<&str> = events.iter().chain(&looks).map(|event| event.actor.as_str()).collect();
            store.names_of(&actors).await?
        } else {
            BTreeMap::new()
        };
        let eyes = if controller.policy.four_eyes {
            four_eyes::refusal(&controller.policy, &store.submitter(&controller_id, id).await?, viewer.actor())
        } else {
            None
        };
        Ok(Self {
            holds: store.holds_on(&controller_id, id, viewer.sees_gagged()).await?,
            eyes,
            viewer,
            now,
            names,
            foreseen: foreseen(edge, &detail.row, &lens).await?,
            looks,
            notes: if personal { store.clock_notes(&controller_id, id).await? } else { Vec::new() },
            masked: if personal { store.masked(&controller_id, id).await? } else { None },
            package: store.package(&controller_id, id).await?,
            certificate: detail.row.closed_at.is_some() && store.certificate(&controller_id, id).await.is_ok(),
            controller: controller.name,
            lens,
            detail,
            events,
            earlier,
            later: before.is_some(),
        })
    }

    /// The name of a system by its id, or by the id of the step on it.
    fn named(&self, id: &str) -> Option<String> {
        let step = self.detail.steps.iter().find(|step| step.system_id.as_str() == id || step.id.as_str() == id)?;
        Some(step.system.clone())
    }

    /// Who did something: a name for those who administer people, else an id.
    fn actor(&self, id: &str) -> Markup {
        if let Some(name) = self.names.get(id) {
            html! { bdi { (name.expose()) } }
        } else {
            html! { span.id { (actor(id)) } }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn render(shown: &Shown<'_>, revealed: Option<&Value>) -> Markup {
    let helps = going_on::helps(shown);
    html! {
        (head(shown))
        (going_on::card(shown, helps))
        @if let Some(answer) = revealed { (person::in_clear(answer)) }
        div.cols {
            (dates(shown))
            (forecast(shown))
        }
        (steps::card(shown))
        (holds_card(shown))
        (actions::actions(shown, helps))
        div.cols {
            @if revealed.is_none() { (person::card(shown)) }
            (person::answer(shown))
            (waits(shown))
        }
        (timeline::card(shown))
    }
}

/// The holds on it, and the systems in which they stop something. Of a gagged one its steps tell nothing by themselves.
fn holds_card(shown: &Shown<'_>) -> Markup {
    let row = &shown.detail.row;
    let stops = |step: &&redress_store::StepRow| {
        !step.status.has_acted()
            && step.status != StepState::Leased
            && shown
                .holds
                .iter()
                .any(|on| HoldFacts { systems: on.hold.systems.as_deref() }.stops(&step.system, step.verb))
    };
    let stopped: Vec<&str> = shown.detail.steps.iter().filter(stops).map(|step| step.system.as_str()).collect();
    let (of, zone) = ((&row.id, shown.controller.as_str()), shown.lens.zone());
    super::holds::card(shown.viewer, of, &shown.holds, &stopped, row.closed_at.is_some(), zone)
}

fn head(shown: &Shown<'_>) -> Markup {
    let row = &shown.detail.row;
    html! {
        header.page {
            h1 { (plain(row.kind.as_str())) " for " (shown.controller) " " (status_mark(&row.status)) " "
                @if let Some(band) = shown.lens.band(row).filter(|_| row.closed_at.is_none()) { (band_mark(band)) } }
            p.lead.id { (row.id) }
            p.quiet { "Times in " (shown.lens.zone().iana_name().unwrap_or("UTC")) }
        }
    }
}

fn dates(shown: &Shown<'_>) -> Markup {
    let row = &shown.detail.row;
    let zone = shown.lens.zone();
    let deadlines = &row.deadlines;
    let on = |value: &Value| value.as_str().and_then(|text| text.parse::<Date>().ok());
    let law_binds = text(&deadlines["effective"]["binding"]) == "statutory";
    let due_on = on(&deadlines["effective"]["due_on"]);
    let law = &deadlines["statutory"];
    html! {
        section.card {
            h2 { "Dates" }
            dl.facts {
                dt { (term("due", "Due")) }
                dd { b { (due_on.map(day).unwrap_or_default()) }
                    @if let Some(due) = due_on.filter(|_| row.closed_at.is_none()) { ", " (distance(due, shown.now, zone)) }
                    " " span.quiet { @if law_binds { "from the law's date" } @else { "from the contract's date" } } }
                dt { "Contract" }
                dd { (on(&deadlines["contract"]["due_on"]).map(day).unwrap_or_default())
                    " " span.quiet { (text(&deadlines["contract"]["rule"])) } @if !law_binds { " " span.badge { (term("binding", "binds")) } } }
                dt { (term("statutory", "Law")) }
                dd {
                    @match on(&law["due_on"]) {
                        Some(date) => { (day(date)) " " span.quiet { (text(&law["rule"])) }
                            @if law_binds { " " span.badge { (term("binding", "binds")) } }
                            @if law["assumed"] == true { " " span.badge { "assumed" } } }
                        None => { span.quiet { "no date of the law" } }
                    }
                }
                @if let Some(date) = on(&deadlines["acknowledge_by"]) { dt { "Acknowledge" } dd { "by " (day(date)) } }
                dt { "Received" } dd { (at(row.instruction_received_at, zone)) }
                @if let Some(received) = row.data_subject_received_at { dt { "From the person" } dd { (at(received, zone)) } }
                @if let Some(ended) = row.closed_at { dt { "Ended" } dd { (at(ended, zone)) @if ended >= row.due_before { ", late" } } }
                @if let Some(regulation) = &row.regulation { dt { "Governed by" } dd { (regulation) } }
            }
            details {
                summary { "Why these dates" }
                ul { @for sentence in deadlines["trace"].as_array().into_iter().flatten() { li { (text(sentence)) } } }
                p.quiet { "Rules of " (text(&deadlines["table_version"])) }
            }
        }
    }
}

fn forecast(shown: &Shown<'_>) -> Markup {
    let zone = shown.lens.zone();
    html! {
        @if let Some(foreseen) = &shown.foreseen {
            section.card {
                h2 { (term("forecast", "Forecast")) }
                p { b { (ends(foreseen, zone)) } " " (late_mark(foreseen)) " " span.quiet { (foreseen.confidence) " confidence" } }
                @if let Some(system) = &foreseen.bottleneck { p { "The system that ends last is " b { (system) } "." } }
                @if let Some(by) = foreseen.act_by { p { "Somebody has to act by " b { (at(by.as_millisecond(), zone)) } " for it to end in time." } }
                ul { @for sentence in &foreseen.because { li { bdi { (sentence) } } } }
            }
        }
    }
}

/// What the clock waited for, an extension, and the reasons that were given in words.
fn waits(shown: &Shown<'_>) -> Markup {
    let zone = shown.lens.zone();
    let Some(facts) = shown.detail.row.clock.as_ref().map(|clock| &clock.facts) else { return html! {} };
    if facts.pauses.is_empty() && facts.extension.is_none() && shown.notes.is_empty() && facts.acknowledged_at.is_none()
    {
        return html! {};
    }
    html! {
        section.card {
            h2 { "Pauses and extension" }
            dl.facts {
                @if let Some(acknowledged) = facts.acknowledged_at { dt { "Acknowledged" } dd { (at(acknowledged.as_millisecond(), zone)) } }
                @for pause in &facts.pauses {
                    dt { (plain(pause.kind.as_str())) " awaited" }
                    dd { "from " (at(pause.from.as_millisecond(), zone))
                        @match pause.to { Some(to) => { " to " (at(to.as_millisecond(), zone)) } None => { ", still awaited" } } }
                }
                @if let Some(notice) = facts.extension {
                    dt { (term("extension", "Extended")) }
                    dd { "the person was told on " (at(notice.granted_at.as_millisecond(), zone)) @if let Some(until) = notice.until { ", until " (day(until)) } }
                }
            }
            @if !shown.notes.is_empty() {
                h3 { "Reasons in words" }
                ul { @for note in &shown.notes { li { (at(note.at, zone)) ", " (plain(&note.action)) ": " bdi { (note.reason) } } } }
            }
        }
    }
}
