//! Who saw or did what: the events of the controllers that somebody sees, newest first, and the state of each log.

use super::parts::{address, count, plain, term};
use super::settings::administers;
use super::shell::{Page, Section};
use super::words::{self, SENTENCES, sentence, staff_sentence};
use super::{act, glass};
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::path::Query;
use crate::http::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use maud::{Markup, html};
use redress_domain::{ControllerId, DsrId};
use redress_store::{AuditEvent, AuditHead, ChainCheck, Controller, EventFilter, EventPage, SEEN_KINDS, StaffEvent};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Events on one page.
const ROWS: i64 = 100;
/// Events whose hashes are computed while somebody waits.
const CHECKED: i64 = 10_000;
/// Of these, events of the staff log that are looked at without being asked.
const CHECKED_UNASKED: i64 = 1_000;
/// Controllers in the table of logs.
const LOGS: usize = 200;
/// Letters of one value of an event; the export has all.
const VALUE_MAX: usize = 200;

/// What was asked for, as it stands in the address.
#[derive(Debug, Clone, Default)]
struct Asked {
    controller: Option<String>,
    kind: Option<String>,
    actor: Option<String>,
    request: Option<String>,
    from: Option<Date>,
    to: Option<Date>,
    seen: bool,
    before: Option<String>,
    check: bool,
    staff: bool,
}

impl Asked {
    fn read(query: &mut Query) -> Self {
        let word = |text: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.';
            (text.len() <= 64 && text.bytes().all(plain)).then(|| text.to_owned())
        };
        let wanted = "letters, digits, - and _";
        let date = |text: &str| if text.is_empty() { Some(None) } else { text.parse::<Date>().ok().map(Some) };
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            controller: given(query.text("controller")),
            kind: given(query.read("kind", wanted, word)),
            actor: given(query.read("actor", wanted, word)),
            request: given(query.read("request", "the id of a request", |text| {
                (text.is_empty() || DsrId::parse(text).is_ok()).then(|| text.to_owned())
            })),
            from: query.read("from", "a date such as 2026-11-20", date).flatten(),
            to: query.read("to", "a date such as 2026-11-20", date).flatten(),
            seen: query.read("seen", "1", |text| (text == "1").then_some(true)).unwrap_or(false),
            before: given(query.read("before", "where an earlier page ended", word)),
            check: query.read("check", "1", |text| (text == "1").then_some(true)).unwrap_or(false),
            staff: query.word("log", &["controllers", "staff"], |word| word) == Some("staff"),
        }
    }

    /// The address of the same page from another place on.
    fn address_from(&self, before: &str) -> String {
        let mut out = url::form_urlencoded::Serializer::new(String::new());
        let date = |date: Option<Date>| date.map(|date| date.to_string());
        let texts = [
            ("controller", self.controller.clone()),
            ("kind", self.kind.clone()),
            ("actor", self.actor.clone()),
            ("request", self.request.clone()),
            ("from", date(self.from)),
            ("to", date(self.to)),
            ("seen", self.seen.then(|| "1".to_owned())),
            ("log", self.staff.then(|| "staff".to_owned())),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                out.append_pair(name, &text);
            }
        }
        out.append_pair("before", before);
        format!("/audit?{}", out.finish())
    }
}

/// `GET /audit`
pub(crate) async fn audit(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let asked = Asked::read(&mut query);
    let done = query.text("done");
    query.finish()?;
    let content = if asked.staff {
        if !administers(&viewer) {
            return Err(Problem::forbidden("the staff log is for those who administer people"));
        }
        staff(&edge, &asked).await?
    } else {
        controllers(&edge, &viewer, &asked).await?
    };
    let body = html! {
        header.page {
            h1 { "Audit" }
            p.lead { "Who saw or did what. Each event holds the hash of the one before, and the database refuses to change or remove one." }
        }
        @if administers(&viewer) {
            nav.tabs aria-label="Logs" {
                a href="/audit" aria-current=[(!asked.staff).then_some("page")] { "Controllers" }
                a href="/audit?log=staff" aria-current=[asked.staff.then_some("page")] { "Staff" }
            }
        }
        (glass::others(&edge, &viewer).await?)
        (content)
    };
    let done = done.as_deref().and_then(act::done);
    let now = edge.store.now_ms();
    Ok(Page { viewer: &viewer, section: Section::Audit, title: "Audit", done, now, body }.into_response())
}

async fn controllers(edge: &Edge, viewer: &Viewer, asked: &Asked) -> Result<Markup, Problem> {
    let seen = viewer.controllers(edge).await?;
    let one = match &asked.controller {
        Some(name) => Some(seen.iter().find(|c| c.name == *name).ok_or_else(Problem::not_found)?),
        None => seen.first().filter(|_| seen.len() == 1),
    };
    let scope = match one {
        Some(one) => Some(vec![one.id.clone()]),
        None => viewer.scope.clone(),
    };
    let midnight = |date: Date| date.to_zoned(TimeZone::UTC).map(|at| at.timestamp().as_millisecond()).ok();
    let filter = EventFilter {
        controllers: scope.clone(),
        kind: asked.kind.clone(),
        seen: asked.seen,
        actor: asked.actor.clone(),
        dsr_id: asked.request.as_deref().and_then(|id| DsrId::parse(id).ok()),
        from: asked.from.and_then(midnight),
        to: asked.to.and_then(|date| date.checked_add(1.day()).ok()).and_then(midnight),
        before: asked.before.clone(),
        limit: ROWS,
    };
    let page = edge.store.recent_events(&filter).await?;
    let names = names(edge, viewer, page.events.iter().map(|event| event.actor.as_str())).await?;
    let systems = systems(edge, &page.events).await?;
    let heads = edge.store.audit_heads(scope.as_deref()).await?;
    let checked = match (one, asked.check) {
        (Some(one), true) => Some(edge.store.check_chain(&one.id, CHECKED).await?),
        _ => None,
    };
    Ok(html! {
        (filters(&seen, asked))
        (events(&page, &seen, &Names { people: names, systems }, asked))
        (state(&heads, &seen, one, checked.as_ref()))
    })
}

/// How to call what events name by its id.
struct Names {
    people: BTreeMap<String, String>,
    /// By the ids of systems and of steps on them.
    systems: BTreeMap<String, String>,
}

/// How the systems are called that these events name.
async fn systems(edge: &Edge, events: &[AuditEvent]) -> Result<BTreeMap<String, String>, Problem> {
    let controllers: BTreeSet<&str> = events.iter().map(|event| event.controller_id.as_str()).collect();
    let members = events.iter().flat_map(|event| event.data.as_object().into_iter().flat_map(|data| data.values()));
    let ids: BTreeSet<&str> = members.filter_map(Value::as_str).collect();
    Ok(edge.store.systems_named(&controllers, &ids).await?)
}

/// How to call the people of a page, where the viewer may know.
async fn names(
    edge: &Edge,
    viewer: &Viewer,
    actors: impl Iterator<Item = &str>,
) -> Result<BTreeMap<String, String>, Problem> {
    if !administers(viewer) {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<&str> = actors.collect();
    let names = edge.store.names_of(&ids).await?;
    Ok(names.into_iter().map(|(id, name)| (id, name.expose().clone())).collect())
}

fn filters(seen: &[Controller], asked: &Asked) -> Markup {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let date = |date: Option<Date>| date.map(|date| date.to_string()).unwrap_or_default();
    html! {
        form.filters method="get" action="/audit" {
            @if seen.len() > 1 {
                label { "Controller"
                    select name="controller" {
                        option value="" { "all" }
                        @for one in seen { option value=(one.name) selected[asked.controller.as_ref() == Some(&one.name)] { (one.name) } }
                    } }
            }
            label { "What" input type="text" name="kind" value=(text(&asked.kind)) list="kinds" maxlength="64" autocomplete="off"; }
            datalist id="kinds" {
                @for (kind, _) in SENTENCES { option value=(kind) {} }
            }
            label { "Who (id)" input type="text" name="actor" value=(text(&asked.actor)) maxlength="64" autocomplete="off"; }
            label { "Request (id)" input type="text" name="request" value=(text(&asked.request)) maxlength="64" autocomplete="off"; }
            label { "From (UTC)" input type="date" name="from" value=(date(asked.from)); }
            label { "To" input type="date" name="to" value=(date(asked.to)); }
            label { input type="checkbox" name="seen" value="1" checked[asked.seen]; " Who saw personal data" }
            button type="submit" { "Show" }
            a href="/audit" { "All" }
        }
    }
}

fn events(page: &EventPage, seen: &[Controller], names: &Names, asked: &Asked) -> Markup {
    let by_id: BTreeMap<&str, &str> = seen.iter().map(|c| (c.id.as_str(), c.name.as_str())).collect();
    html! {
        section.card {
            h2 { "Events" }
            @if page.events.is_empty() {
                p { @if page.stopped { "None among the events that were searched." } @else { "No event is like this." } }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Events" {
                    table.data {
                        caption { "Events, the newest first" }
                        thead { tr {
                            th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "Where" } th scope="col" { "Who" }
                            th scope="col" { "As it is kept" } th scope="col" { "No." }
                        } }
                        tbody { @for event in &page.events { (line(event, &by_id, names)) } }
                    }
                }
            }
            (pager(page.next.as_deref(), page.stopped, asked))
        }
    }
}

fn pager(next: Option<&str>, stopped: bool, asked: &Asked) -> Markup {
    html! {
        @if next.is_some() || asked.before.is_some() {
            nav.pager aria-label="Pages" {
                @if asked.before.is_some() { a href=(asked.address_from("").trim_end_matches("before=").trim_end_matches(['&', '?'])) { "Newest" } }
                @if let Some(next) = next { a href=(asked.address_from(next)) { @if stopped { "Search further back" } @else { "Older" } } }
            }
        }
    }
}

fn line(event: &AuditEvent, controllers: &BTreeMap<&str, &str>, names: &Names) -> Markup {
    html! {
        tr data-row {
            td.date { (when(&event.at)) }
            th scope="row" {
                bdi { (sentence(event, &|id| names.systems.get(id).cloned())) }
                @if SEEN_KINDS.contains(&event.kind.as_str()) { " " span.badge.warn { "personal data" } }
                @if event.data["break_glass"] == true { " " span.badge.alert { (term("break_glass", "emergency")) } }
            }
            td {
                bdi { (controllers.get(event.controller_id.as_str()).copied().unwrap_or("?")) }
                @if let Some(id) = &event.dsr_id { br; a.id href={ "/requests/" (id) } { (id) } }
            }
            td { (who(&event.actor, &names.people)) }
            td.facts { (kept(&event.kind, &event.data)) }
            td.number { (count(event.seq)) }
        }
    }
}

fn when(at: &str) -> Markup {
    let Ok(at_instant) = at.parse::<Timestamp>() else { return html! { (at) } };
    html! { time datetime=(at) { (at_instant.to_zoned(TimeZone::UTC).strftime("%-d %b %Y, %H:%M:%S UTC")) } }
}

fn who(actor: &str, names: &BTreeMap<String, String>) -> Markup {
    html! {
        @match names.get(actor) {
            Some(name) => { bdi { (name) } br; span.id.quiet { (actor) } }
            None => span.id { (words::actor(actor)) },
        }
    }
}

/// An event as the log has it: its kind, by which the list can be narrowed, and its data.
fn kept(kind: &str, data: &Value) -> Markup {
    let members: Vec<_> = data.as_object().into_iter().flatten().collect();
    html! {
        @if members.is_empty() { span.quiet { (plain(kind)) } } @else {
            details {
                summary { (plain(kind)) }
                @for (i, (name, value)) in members.iter().enumerate() {
                    @if i > 0 { br; }
                    span.quiet { (plain(name)) ": " } bdi { (shortened(value)) }
                }
            }
        }
    }
}

fn shortened(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        // Instants are written as milliseconds; no count comes near.
        Value::Number(number) if number.as_i64().is_some_and(|ms| ms > 1_000_000_000_000) => {
            number.as_i64().and_then(crate::http::view::time).unwrap_or_default()
        }
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    if text.chars().count() <= VALUE_MAX { text } else { text.chars().take(VALUE_MAX).chain(['…']).collect() }
}

fn state(heads: &[AuditHead], seen: &[Controller], one: Option<&Controller>, checked: Option<&ChainCheck>) -> Markup {
    let name = |id: &ControllerId| seen.iter().find(|c| c.id == *id).map_or("?", |c| c.name.as_str());
    let total: i64 = heads.iter().map(|head| head.events).sum();
    html! {
        section.card {
            h2 { "State of the log" }
            @if let Some(checked) = checked { (verdict(checked)) }
            @match (one, heads) {
                (Some(one), [head, ..]) => {
                    dl.facts {
                        dt { "Events" } dd { (count(head.events)) }
                        dt { "Last hash" } dd.id { @if head.hash.is_empty() { "none" } @else { (head.hash) } }
                    }
                    p {
                        a.button href=(address("/audit", &[("controller", &one.name), ("check", "1")])) { "Check the last " (count(CHECKED)) " events" } " "
                        a.button href=(address("/v1/audit", &[("controller", &one.name)])) download={ "audit-" (one.name) ".ndjson" } { "Export the whole log" }
                    }
                }
                _ => {
                    p { (count(total)) " events in " (count(heads.len() as i64)) " logs; each controller has one of its own." }
                    details {
                        summary { "Each log" }
                        div.scroll tabindex="0" role="region" aria-label="Logs" {
                            table.data {
                                caption { "Logs of the controllers you see" }
                                thead { tr { th scope="col" { "Controller" } th scope="col" { "Events" } th scope="col" { "Last hash" } th scope="col" { "Look" } } }
                                tbody { @for head in heads.iter().take(LOGS) {
                                    @let name = name(&head.controller_id);
                                    tr data-row {
                                        th scope="row" { (name) }
                                        td.number { (count(head.events)) }
                                        td.id { (head.hash.get(..16).unwrap_or_default()) "…" }
                                        td {
                                            a href=(address("/audit", &[("controller", name), ("check", "1")])) { "Check" } " · "
                                            a href=(address("/v1/audit", &[("controller", name)])) download={ "audit-" (name) ".ndjson" } { "Export" }
                                        }
                                    }
                                } }
                            }
                        }
                        @if heads.len() > LOGS { p.quiet { "The first " (LOGS) "; choose a controller above for any other." } }
                    }
                }
            }
            p.quiet { "An export is checked as a whole, anywhere and without this service, by " code { "redress verify FILE" } ". The last hash also stands in each certificate: whoever holds one would see a log that was rewritten." }
        }
    }
}

fn verdict(checked: &ChainCheck) -> Markup {
    html! {
        @match checked.broken_at {
            None => p.done role="status" {
                "The chain holds: the last " (count(checked.checked)) " events are unchanged, complete and in order"
                @if checked.first > 1 { ", from event " (count(checked.first)) " on" }
                "."
            },
            Some(seq) => p.notice.alert role="alert" {
                "The chain is broken at event " (count(seq)) ": it or its neighbours were changed after they were written. Keep the database as it is and compare it with an earlier export."
            },
        }
    }
}

async fn staff(edge: &Edge, asked: &Asked) -> Result<Markup, Problem> {
    let before = asked.before.as_deref().and_then(|before| before.parse().ok()).unwrap_or(i64::MAX);
    let events = edge.store.staff_events_before(before, ROWS).await?;
    let mentioned = events.iter().flat_map(|event| [Some(event.actor.as_str()), event.data["user"].as_str()]);
    let ids: Vec<&str> = mentioned.flatten().collect();
    let names = edge.store.names_of(&ids).await?;
    let names: BTreeMap<String, String> = names.into_iter().map(|(id, name)| (id, name.expose().clone())).collect();
    let next =
        events.last().filter(|last| events.len() as i64 == ROWS && last.seq > 1).map(|last| last.seq.to_string());
    let newest = events.first().filter(|_| asked.before.is_none());
    let checked = edge.store.check_staff_chain(if asked.check { CHECKED } else { CHECKED_UNASKED }).await?;
    Ok(html! {
        section.card {
            h2 { "Staff log" }
            @if events.is_empty() { p { "Nothing yet: sign-ins, roles given and emergency rights stand here." } } @else {
                div.scroll tabindex="0" role="region" aria-label="Staff log" {
                    table.data {
                        caption { "What was done with this installation, the newest first" }
                        thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "Who" } th scope="col" { "As it is kept" } th scope="col" { "No." } } }
                        tbody { @for event in &events { (staff_line(event, &names)) } }
                    }
                }
            }
            (pager(next.as_deref(), false, asked))
        }
        section.card {
            h2 { "State of the log" }
            (verdict(&checked))
            @if let Some(newest) = newest {
                dl.facts { dt { "Events" } dd { (count(newest.seq)) } dt { "Last hash" } dd.id { (newest.hash) } }
            }
            p {
                @if checked.first > 1 { a.button href="/audit?log=staff&check=1" { "Check the last " (count(CHECKED)) " events" } " " }
                a.button href="/v1/staff-audit" download="staff-audit.ndjson" { "Export the whole log" }
            }
            p.quiet { "The export is checked by " code { "redress verify FILE" } "." }
        }
    })
}

fn staff_line(event: &StaffEvent, names: &BTreeMap<String, String>) -> Markup {
    html! {
        tr data-row {
            td.date { (when(&event.at)) }
            th scope="row" { bdi { (staff_sentence(event, &|id| names.get(id).cloned())) } @if event.kind == "break_glass" { " " span.badge.alert { "emergency" } } }
            td { (who(&event.actor, names)) }
            td { (kept(&event.kind, &event.data)) }
            td.number { (count(event.seq)) }
        }
    }
}
