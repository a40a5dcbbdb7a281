//! `GET /` answers without a click what is due today, what will be late and why, what waits for whom, and which system is stuck.
//!
//! What it shows is read once for all who look at the same controllers at the same time ([`Shared`]); whoever just did something sees
//! what came of it. Names and reasons stand beside ids, nothing that names a person.

mod figures;
mod lists;
mod words;

use super::shell::{Page, Section};
use super::systems::{Expiry, expiry};
use super::{act, glass, paused_names};
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::path::Query;
use crate::http::problem::Problem;
use crate::http::view::instant;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use redress_domain::report::{day_start, local_date};
use redress_domain::{ControllerId, deadline};
use redress_store::{SystemRow, Today, TodayAsked};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Days that the chart looks ahead, today included.
const DAYS: i32 = 31;
/// Rows of each list.
const ROWS: usize = 10;
/// Ages in days at which a group begins.
const AGES: [i64; 8] = [0, 8, 15, 22, 31, 46, 61, 91];
/// Scopes of which the last figures are kept at most.
const SCOPES_MAX: usize = 1_000;

/// How everything in a scope stood at one moment.
pub(super) struct Snapshot {
    /// That moment (Unix ms).
    now: i64,
    today: Today,
    controllers: BTreeMap<ControllerId, Home>,
    /// Systems whose credentials end soon or have ended, the last day and how near it is; the nearest first.
    expiring: Vec<(SystemRow, Date, Expiry)>,
    /// The days of the chart, and the time zone that makes them: the controllers' own if they have one in common.
    days: Vec<Date>,
    zone: TimeZone,
}

/// A controller's name and time zone.
struct Home {
    name: String,
    zone: TimeZone,
}

impl Snapshot {
    async fn read(edge: &Edge, viewer: &Viewer) -> Result<Self, Problem> {
        let now = edge.store.now_ms();
        let all = viewer.controllers(edge).await?;
        let zones: BTreeSet<String> = all.iter().map(|controller| controller.timezone.clone()).collect();
        let zone_of = |name: &str| deadline::zone(name).unwrap_or(TimeZone::UTC);
        let zone = match zones.first() {
            Some(only) if zones.len() == 1 => zone_of(only),
            _ => TimeZone::UTC,
        };
        let today_ends: Vec<(String, i64)> = zones
            .iter()
            .map(|name| {
                let zone = zone_of(name);
                (name.clone(), day_start(days_after(local_date(now, &zone), 1), &zone))
            })
            .collect();
        let first = local_date(now, &zone);
        let days: Vec<Date> = (0..DAYS).map(|n| days_after(first, n)).collect();
        let bounds: Vec<i64> = (0..=DAYS).map(|n| day_start(days_after(first, n), &zone)).collect();
        let asked = TodayAsked {
            scope: viewer.scope.as_deref(),
            now,
            today_ends: &today_ends,
            days: &bounds,
            ages: &AGES,
            rows: ROWS as i64,
        };
        let today = edge.store.today(&asked).await?;
        let controllers = all
            .into_iter()
            .map(|controller| (controller.id, Home { zone: zone_of(&controller.timezone), name: controller.name }))
            .collect();
        let declared = edge.store.systems_with_last_day(viewer.scope.as_deref()).await?;
        let mut seen = Self { now, today, controllers, expiring: Vec::new(), days, zone };
        for system in declared {
            let here = local_date(now, seen.zone(&system.controller_id));
            if let Some((last, near)) = expiry(&system, here) {
                seen.expiring.push((system, last, near));
            }
        }
        seen.expiring.sort_by_key(|(_, last, _)| *last);
        Ok(seen)
    }

    fn name(&self, id: &ControllerId) -> &str {
        self.controllers.get(id).map_or("", |home| home.name.as_str())
    }

    fn zone(&self, id: &ControllerId) -> &TimeZone {
        self.controllers.get(id).map_or(&self.zone, |home| &home.zone)
    }
}

fn days_after(day: Date, n: i32) -> Date {
    day.saturating_add(jiff::Span::new().days(n))
}

type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Arc<Snapshot>)>>>;

/// The last snapshot of each scope. Who asks while one is being read waits for it and gets the next one, which all who wait share.
#[derive(Default)]
pub(crate) struct Shared {
    by_scope: Mutex<BTreeMap<Option<Vec<ControllerId>>, Slot>>,
}

impl Shared {
    /// The snapshot for a viewer: one that is not older than the edge allows, or for those who look at what they did one that was
    /// begun after they asked.
    async fn get(&self, edge: &Edge, viewer: &Viewer, fresh: bool) -> Result<Arc<Snapshot>, Problem> {
        let asked = Instant::now();
        let mut scope = viewer.scope.clone();
        if let Some(ids) = &mut scope {
            ids.sort();
        }
        let slot = {
            let mut all = self.by_scope.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= SCOPES_MAX {
                all.retain(|_, slot| Arc::strong_count(slot) > 1);
            }
            all.entry(scope).or_default().clone()
        };
        let mut kept = slot.lock().await;
        if let Some((begun, snapshot)) = &*kept
            && (*begun >= asked || (!fresh && begun.elapsed() < edge.today_shared_for))
        {
            return Ok(snapshot.clone());
        }
        let begun = Instant::now();
        let snapshot = Arc::new(Snapshot::read(edge, viewer).await?);
        *kept = Some((begun, snapshot.clone()));
        Ok(snapshot)
    }
}

/// `GET /`
pub(crate) async fn today(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let done = query.text("done");
    query.finish()?;
    let done = done.as_deref().and_then(act::done);
    let snapshot = edge.0.today.get(&edge, &viewer, done.is_some()).await?;
    let scope = viewer.scope.as_deref();
    let paused = edge.store.paused(if let Some([only]) = scope { Some(only) } else { None }).await?;
    let paused = paused_names(&paused, scope, |id| snapshot.name(id));
    let emergencies = glass::others(&edge, &viewer).await?;
    let body = page(&snapshot, &viewer, &paused, &emergencies);
    Ok(Page { viewer: &viewer, section: Section::Today, title: "Today", done, now: snapshot.now, body }.into_response())
}

fn page(seen: &Snapshot, viewer: &Viewer, paused: &[String], emergencies: &Markup) -> Markup {
    let today = &seen.today;
    html! {
        header.page {
            h1 { "Today" }
            p.lead { (words::lead(seen)) }
        }
        (emergencies)
        @if !paused.is_empty() {
            p.notice role="status" { "Paused: " (paused.join(", ")) ". Nothing new is begun there; deadlines go on." }
        }
        (lists::expiring(seen))
        @if !today.any.0 {
            (words::first_steps(seen))
        } @else {
            (figures::tiles(today))
            (lists::late(seen))
            (lists::act(seen))
            (lists::due(seen))
            (lists::overdue(seen))
            (lists::controller(seen))
            (lists::person(seen))
            (lists::stuck(seen, viewer))
            @if today.open > 0 { (figures::charts(seen)) }
        }
    }
}

/// The day on which something is due, where it is due.
fn due_on(due_before: i64, zone: &TimeZone) -> Date {
    local_date(due_before.saturating_sub(1), zone)
}

/// An instant with its time if it is near, else its day.
fn when(ms: i64, now: i64, zone: &TimeZone) -> String {
    let near = (ms - now).abs() < 2 * 86_400_000;
    let format = if near { "%a %-d %b, %H:%M" } else { "%a %-d %b" };
    instant(ms).map(|at| at.to_zoned(zone.clone()).strftime(format).to_string()).unwrap_or_default()
}
