//! One system: its condition and the action that helps, what waits there, what its vendor allows, what it can do.

use super::condition::{Condition, Need, expiry};
use super::list::takes;
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::board::act;
use crate::http::board::parts::{
    address, at, controller_path, count, day, distance, form, plain, span, system_call, system_path, term,
};
use crate::http::board::shell::{Page, Section};
use crate::http::path::{Query, may_name};
use crate::http::problem::Problem;
use crate::http::view::instant;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_connectors::manifest::Listed;
use redress_domain::Permit;
use redress_domain::limits::Limits;
use redress_store::{BudgetSpent, SystemHealth};
use serde_json::json;

/// What the page is made of.
struct Shown {
    health: SystemHealth,
    condition: Condition,
    zone: TimeZone,
    limits: Option<Limits>,
    spent: Vec<BudgetSpent>,
    listed: Option<Listed>,
    now: i64,
}

/// `GET /systems/{controller}/{name}`
pub(crate) async fn system(
    viewer: Viewer,
    State(edge): State<Edge>,
    Path((controller, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let done = query.text("done");
    query.finish()?;
    let seen = viewer.controllers(&edge).await?;
    let controller = seen.into_iter().find(|c| c.name == controller).ok_or_else(Problem::not_found)?;
    if !may_name(&name) {
        return Err(Problem::not_found());
    }
    let own = std::slice::from_ref(&controller.id);
    let health = edge.store.system_health(Some(own), Some(&name)).await?.pop().ok_or_else(Problem::not_found)?;
    let paused = edge.store.paused(Some(&controller.id)).await?;
    let now = edge.store.now_ms();
    let above = paused.all || paused.controllers.contains(&controller.id);
    let listed = redress_connectors::registry::listed().into_iter().find(|one| one.name == health.system.connector);
    let limits = Limits::of_definition(&health.system.definition).or_else(|| usual(listed.as_ref()?));
    let key = health.system.allowance_key();
    let began = limits.as_ref().and_then(|limits| limits.rules(now).day).map_or(now - 86_400_000, |day| day.began_at);
    let spent = edge.store.budgets_spent(std::slice::from_ref(&key), began).await?.remove(&key).unwrap_or_default();
    let zone = TimeZone::get(&health.timezone).unwrap_or(TimeZone::UTC);
    let condition = Condition::of(&health, above, now);
    let shown = Shown { health, condition, zone, limits, spent, listed, now };
    let body = page(&viewer, &shown);
    let done = done.as_deref().and_then(act::done);
    Ok(Page { viewer: &viewer, section: Section::Systems, title: &name, done, now, body }.into_response())
}

/// The limits of a vendor where the system's definition names none.
fn usual(listed: &Listed) -> Option<Limits> {
    let rates: Vec<&String> = listed.limits.iter().filter(|text| text.contains('/')).collect();
    if rates.is_empty() { None } else { Limits::read(&json!({ "rates": rates }), "").ok() }
}

fn page(viewer: &Viewer, shown: &Shown) -> Markup {
    let Shown { health, condition, zone, listed, now, .. } = shown;
    let system = &health.system;
    html! {
        header.page {
            h1 { bdi { (system.name) } " of " bdi { (health.controller) } }
            p.lead {
                (listed.as_ref().map_or(system.connector.as_str(), |listed| listed.product.as_str()))
                " · " a href="/systems" { "All systems" } " · " a href=(controller_path(&health.controller)) { "Controller" }
            }
        }
        p.notice.alert[condition.need() == Need::Act] role="status" {
            b { (condition.word()) } ". " (condition.sentence(health, zone, *now))
        }
        @let today = instant(*now).map(|at| at.to_zoned(zone.clone()).date());
        @if let Some((last, near)) = today.and_then(|today| expiry(system, today)) {
            p.notice.alert[near >= super::Expiry::Soon] {
                (term("credentials_expire_on", "Credentials"))
                @if near == super::Expiry::Over { " ended on " } @else { " end on " } (day(last)) ", " (distance(last, *now, zone)) ". "
                "Set new ones before: " code { "redress apply" } " or " code { "PUT /v1/systems/" (system.name) } "."
            }
        }
        (actions(viewer, shown))
        div.cols { (work(shown)) (allowance(shown)) (abilities(shown)) }
    }
}

fn actions(viewer: &Viewer, shown: &Shown) -> Markup {
    let (system, controller) = (&shown.health.system, &shown.health.controller);
    if !viewer.may(Permit::Operate) {
        return html! { p.quiet { "An operator or administrator can pause, resume and check it." } };
    }
    let next = system_path(controller, &system.name);
    let path = |verb: &str| system_call(controller, &system.name, verb);
    html! {
        section.card {
            h2 { "What you can do" }
            (form(viewer, &path("check"), &next, "checked", &html! {
                button type="submit" { "Check it" }
                " " span.quiet { "Signs in and compares what is declared with what is there. If it answers, what is stuck there is tried again." }
            }))
            @if system.paused {
                (form(viewer, &path("resume"), &next, "resumed", &html! { button.primary type="submit" { "Resume" } }))
            } @else {
                details.action {
                    summary { "Pause" }
                    (form(viewer, &path("pause"), &next, "paused", &html! {
                        p { "Nothing new is begun there; what runs ends. Deadlines go on." }
                        button.danger type="submit" { "Pause " bdi { (system.name) } }
                    }))
                }
            }
        }
    }
}

fn work(shown: &Shown) -> Markup {
    let Shown { health, zone, now, .. } = shown;
    let (system, pace) = (&health.system, &health.pace);
    let of_it = [("status", "needs_attention"), ("system", &*system.name), ("controller", &*health.controller)];
    let stuck = address("/requests", &of_it);
    html! {
        section.card {
            h2 { "Work" }
            dl.facts {
                dt { "Due now" } dd { (steps(health.ready)) }
                dt { "Waiting for a later try" } dd { (steps(health.waiting)) }
                dt { "Need a person" } dd {
                    @if health.stuck > 0 { a href=(stuck) { (steps(health.stuck)) } } @else { "none" }
                }
                @if let Some((id, since)) = &health.oldest_stuck {
                    dt { "The oldest of them" } dd { a.id href={ "/requests/" (id) } { (id) } " " span.quiet { "for " (span(now - since)) } }
                }
                dt { "Done in 24 hours" } dd {
                    (steps(pace.day_done)) ", " (rate(pace.day_done)) " an hour"
                    @if pace.day_failed > 0 { " · " (count(pace.day_failed)) @if pace.day_failed == 1 { " try failed" } @else { " tries failed" } }
                }
                dt { "Done in 7 days" } dd { (steps(pace.week_done)) }
                dt { "A step takes" } dd { (takes(health)) " " span.quiet { "of the system's time, on average over 7 days" } }
                @if let Some(done) = pace.done_at { dt { "Last success" } dd { (at(done, zone)) } }
                dt { "Last check" } dd {
                    @match (system.checked_at, &system.problem) {
                        (None, _) => "never",
                        (Some(checked), None) => { (at(checked, zone)) ": it answers and is as declared" }
                        (Some(checked), Some((code, _))) => { (at(checked, zone)) ": " (plain(code)) }
                    }
                }
            }
            p.quiet { "What a step takes is a mean: the time in which at least one call was under way there, shared among the steps that it answered. Steps are sent in batches, so no step has a time of its own, and there is no median of them." }
            p.quiet { "How long requests wait for it by the month stands in the " a href="/reports" { "SLA report" } "." }
        }
    }
}

/// `3 steps`
fn steps(n: i64) -> String {
    if n == 1 { "1 step".to_owned() } else { format!("{} steps", count(n)) }
}

/// So many an hour, over a day.
fn rate(done: i64) -> String {
    if done >= 24 { count(done / 24) } else { format!("{}.{}", done / 24, done * 10 / 24 % 10) }
}

fn allowance(shown: &Shown) -> Markup {
    let rules = shown.limits.as_ref().map(|limits| limits.rules(shown.now));
    let day = rules.as_ref().and_then(|rules| rules.day);
    html! {
        section.card {
            h2 { (term("rate_budget", "What the vendor allows")) }
            @match &rules {
                None => p.quiet { "No limit is declared; it is asked as fast as it answers." },
                Some(rules) => dl.facts {
                    @for window in &rules.windows {
                        dt { "In " (span(window.ms)) } dd { (count(window.limit as i64)) " calls, of which " (count(window.ordinary as i64)) " for what is not urgent" }
                    }
                    @if let Some(day) = day {
                        @let spent = shown.spent.iter().find(|spent| spent.began_at == day.began_at).map_or(0, |spent| spent.spent);
                        @let percent = (spent * 100).checked_div(day.limit as i64).unwrap_or(0);
                        dt { "In a day" } dd {
                            (count(day.limit as i64)) " calls; " b { (count(spent)) } " used or set aside (" (percent) " %) "
                            meter min="0" max=(day.limit) value=(spent) { (percent) " %" }
                            p.quiet { "A new day begins " (at(day.ends_at, &shown.zone)) }
                        }
                    }
                    @if let Some(concurrency) = rules.concurrency { dt { "At the same time" } dd { (concurrency) " calls" } }
                },
            }
            @if let Some(account) = shown.health.system.definition["account"].as_str() {
                p.quiet { "Shared with other systems of the account " bdi { (account) } "." }
            }
        }
    }
}

fn abilities(shown: &Shown) -> Markup {
    let system = &shown.health.system;
    let words = |words: Vec<&'static str>| words.iter().map(|word| plain(word)).collect::<Vec<_>>().join(", ");
    html! {
        section.card {
            h2 { "What it can do" }
            dl.facts {
                dt { "Connector" } dd { span.id { (system.connector) } @if let Some(listed) = &shown.listed { " " span.quiet { (listed.about) } } }
                dt { "Family" } dd { (system.family) }
                dt { "Instructed for" } dd { (words(system.allow.iter().map(|kind| kind.as_str()).collect())) }
                dt { "Verbs" } dd { (words(system.verbs.iter().map(|verb| verb.as_str()).collect())) }
                dt { "Looked for by" } dd { (words(system.identifiers.iter().map(|kind| kind.as_str()).collect())) }
                @if let Some(listed) = &shown.listed {
                    @if !listed.deletes.is_empty() { dt { (term("permanence", "A deletion is worth")) } dd { (listed.deletes.join("; ")) } }
                    @for note in &listed.notes { dt { "Know" } dd { (note) } }
                }
                @if system.completes_within_days > 0 { dt { "Finishes by itself within" } dd { (system.completes_within_days) " days" } }
                dt { "Credentials good until" }
                dd { @match system.credentials_expire_on() {
                    Some(last) => (day(last)),
                    None => span.quiet { "nobody has said; with " code { "credentials_expire_on" } " in its definition you are warned from 30 days before" },
                } }
                dt { "Definition" } dd { "version " (system.version) }
            }
        }
    }
}
