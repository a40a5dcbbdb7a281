//! The list of systems: those that need somebody first.

use super::condition::{Condition, Need, expiry};
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::board::act;
use crate::http::board::parts::{count, day, distance, empty, span, system_path};
use crate::http::board::shell::{Page, Section};
use crate::http::path::Query;
use crate::http::problem::Problem;
use crate::http::view::instant;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_store::{Paused, SYSTEMS_MAX, SystemHealth};

/// One system with what is concluded about it.
struct Line {
    health: SystemHealth,
    condition: Condition,
    zone: TimeZone,
    expires: Option<(Date, super::Expiry)>,
}

/// `GET /systems`
pub(crate) async fn systems(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let wanted = query.text("controller");
    let done = query.text("done");
    query.finish()?;
    let controllers = viewer.controllers(&edge).await?;
    let scope = match &wanted {
        None => viewer.scope.clone(),
        Some(name) => {
            let found = controllers.iter().find(|c| c.name == *name).ok_or_else(Problem::not_found)?;
            Some(vec![found.id.clone()])
        }
    };
    let paused = edge.store.paused(None).await?;
    let now = edge.store.now_ms();
    let mut lines: Vec<Line> = edge
        .store
        .system_health(scope.as_deref(), None)
        .await?
        .into_iter()
        .map(|health| Line::of(health, &paused, now))
        .collect();
    // Sorting keeps the order by name among those of one need.
    lines.sort_by_key(|line| std::cmp::Reverse((line.need(), line.condition == Condition::CredentialsRefused)));
    let body = page(&lines, wanted.as_deref(), now);
    let done = done.as_deref().and_then(act::done);
    Ok(Page { viewer: &viewer, section: Section::Systems, title: "Systems", done, now, body }.into_response())
}

impl Line {
    fn of(health: SystemHealth, paused: &Paused, now: i64) -> Self {
        let zone = TimeZone::get(&health.timezone).unwrap_or(TimeZone::UTC);
        let above = paused.all || paused.controllers.contains(&health.system.controller_id);
        let today = instant(now).map(|at| at.to_zoned(zone.clone()).date());
        let expires = today.and_then(|today| expiry(&health.system, today));
        Self { condition: Condition::of(&health, above, now), zone, expires, health }
    }

    fn need(&self) -> Need {
        let running_out = self.expires.is_some_and(|(_, near)| near >= super::Expiry::Soon);
        self.condition.need().max(if running_out { Need::Look } else { Need::Nothing })
    }
}

fn page(lines: &[Line], controller: Option<&str>, now: i64) -> Markup {
    let acting = lines.iter().filter(|line| line.condition.need() == Need::Act).count();
    html! {
        header.page {
            h1 { "Systems" }
            p.lead {
                @if let Some(controller) = controller { "Of " bdi { (controller) } ". " }
                @if lines.is_empty() { "None is connected." }
                @else if acting == 0 { "All of them work or rest." }
                @else if acting == 1 { "One of them needs somebody now." }
                @else { (count(acting as i64)) " of them need somebody now." }
                @if controller.is_some() { " " a href="/systems" { "All systems" } }
            }
        }
        @if lines.is_empty() {
            (empty("No system is connected", &html! {
                p { "A system is a place that holds personal data of a controller: a CRM, a mailing list, a mailbox, a filing cabinet with a person beside it." }
                ol {
                    li { "Choose a connector: " code { "redress connector list" } }
                    li { "Describe the system in the controller's file and connect it: " code { "redress apply acme.toml" } ", or " code { "PUT /v1/systems/{name}" } }
                    li { "Check it: its page says whether it answers." }
                }
            }))
        } @else {
            section.card {
                h2 { (count(lines.len() as i64)) @if lines.len() == 1 { " system" } @else { " systems" } }
                div.scroll tabindex="0" role="region" aria-label="Systems" {
                    table.data {
                        caption.hidden { "Connected systems with their health, what waits there and their pace" }
                        thead { tr {
                            th scope="col" { "System" } th scope="col" { "Controller" } th scope="col" { "Health" }
                            th.number scope="col" { "Waiting" } th.number scope="col" { "Stuck" }
                            th.number scope="col" { "Done in 24 h" } th.number scope="col" { "A step takes" } th scope="col" { "Credentials" }
                        } }
                        tbody { @for line in lines { (row(line, now)) } }
                    }
                }
                @if lines.len() as i64 == SYSTEMS_MAX { p.quiet { "There are more; choose a controller on its own page." } }
            }
        }
    }
}

fn row(line: &Line, now: i64) -> Markup {
    let Line { health, condition, zone, expires } = line;
    let system = &health.system;
    html! {
        tr data-row {
            th scope="row" {
                a href=(system_path(&health.controller, &system.name)) { bdi { (system.name) } }
                " " span.quiet { (system.connector) }
            }
            td { bdi { (health.controller) } }
            td {
                span.status.alert[condition.need() == Need::Act] { (condition.word()) }
                @if condition.need() > Need::Nothing { p.quiet { (condition.sentence(health, zone, now)) } }
            }
            td.number { (count(health.ready + health.waiting)) }
            td.number { @if health.stuck > 0 { b { (count(health.stuck)) } } @else { "0" } }
            td.number { (count(health.pace.day_done)) }
            td.number { (takes(health)) }
            td { @if let Some((last, near)) = expires {
                span.status.alert[*near >= super::Expiry::Soon] {
                    @if *near == super::Expiry::Over { "ended " } @else { "end " } (day(*last))
                }
                " " span.quiet { (distance(*last, now, zone)) }
            } }
        }
    }
}

/// How long a system is at work for one step, on average over a week.
pub(super) fn takes(health: &SystemHealth) -> String {
    let pace = &health.pace;
    if pace.week_done == 0 {
        return "–".to_owned();
    }
    let ms = pace.week_busy_ms / pace.week_done;
    if ms < 1_000 { format!("{ms} ms") } else { span(ms) }
}
