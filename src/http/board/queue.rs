//! `GET /queue` is the work of the people: what the engine cannot do by itself, in the order in which it becomes late, with who can do
//! it and the action that helps. What has one cause is one line. No line names a person.

mod entry;
mod lines;
#[cfg(test)]
mod tests;

use super::act;
use super::parts::{count, empty};
use super::shell::{Page, Section};
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::path::Query;
use crate::http::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use entry::{Entry, What};
use lines::line;
use maud::{Markup, html};
use redress_domain::ControllerId;
use redress_store::{Controller, HoldRow};
use std::collections::BTreeMap;

/// Whose names and time zones the lines need.
pub(super) type Names = BTreeMap<ControllerId, Controller>;

/// The kinds of work, as the tabs name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stuck,
    Tasks,
    Approvals,
    GivenUp,
    /// Legal holds that are not released: a list of its own, with its own actions.
    Holds,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Stuck, Kind::Tasks, Kind::Approvals, Kind::GivenUp, Kind::Holds];

    const fn word(self) -> &'static str {
        match self {
            Kind::Stuck => "stuck",
            Kind::Tasks => "tasks",
            Kind::Approvals => "approvals",
            Kind::GivenUp => "given_up",
            Kind::Holds => "holds",
        }
    }

    const fn shown(self) -> &'static str {
        match self {
            Kind::Stuck => "Stuck",
            Kind::Tasks => "Tasks",
            Kind::Approvals => "Approvals",
            Kind::GivenUp => "Given up",
            Kind::Holds => "Legal holds",
        }
    }

    const fn of(what: &What) -> Self {
        match what {
            What::Stuck(_) => Kind::Stuck,
            What::Task(_) => Kind::Tasks,
            What::Approval(_) => Kind::Approvals,
            What::Dead(_) => Kind::GivenUp,
        }
    }
}

/// `GET /queue`
pub(crate) async fn queue(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let kind = query.word("kind", &Kind::ALL, Kind::word);
    let done = query.text("done");
    query.finish()?;
    let names: Names = viewer.controllers(&edge).await?.into_iter().map(|c| (c.id.clone(), c)).collect();
    let all = entry::all(&edge, viewer.scope.as_deref()).await?;
    let now = edge.store.now_ms();
    let holds = Holds::read(&edge, &viewer, kind == Some(Kind::Holds)).await?;
    let body = page(&viewer, &names, (&all, &holds), kind, now);
    let done = done.as_deref().and_then(act::done);
    Ok(Page { viewer: &viewer, section: Section::Queue, title: "Work queue", done, now, body }.into_response())
}

/// Holds listed at most; those that were set last.
const HOLDS_MAX: i64 = 200;

/// What the page shows of legal holds.
struct Holds {
    /// In force, of those whom the viewer sees.
    count: i64,
    /// The day of their review is over.
    due: usize,
    /// Them, if they are what is looked at.
    rows: Vec<HoldRow>,
}

impl Holds {
    async fn read(edge: &Edge, viewer: &Viewer, chosen: bool) -> Result<Self, Problem> {
        let (store, scope, gagged) = (&edge.store, viewer.scope.as_deref(), viewer.sees_gagged());
        let due = store.holds_to_review(scope, gagged, HOLDS_MAX).await?;
        let count = store.holds_in_force(scope, gagged).await?.values().sum();
        let mut rows = Vec::new();
        if chosen {
            let others = store.holds(scope, Some(true), gagged, None, HOLDS_MAX).await?;
            rows = due.clone();
            rows.extend(others.into_iter().filter(|hold| due.iter().all(|due| due.id != hold.id)));
        }
        Ok(Self { count, due: due.len(), rows })
    }
}

fn page(viewer: &Viewer, names: &Names, (all, holds): (&[Entry], &Holds), kind: Option<Kind>, now: i64) -> Markup {
    let of = |kind: Kind| all.iter().filter(move |entry| Kind::of(&entry.what) == kind);
    let shown: Vec<&Entry> = all.iter().filter(|entry| kind.is_none_or(|kind| Kind::of(&entry.what) == kind)).collect();
    html! {
        header.page {
            h1 { "Work queue" }
            p.lead { "What needs a person, in the order in which it becomes late." }
        }
        @if holds.due > 0 && kind != Some(Kind::Holds) {
            p.notice.alert { a href="/queue?kind=holds" { (count(holds.due as i64)) @if holds.due == 1 { " legal hold has" } @else { " legal holds have" } " to be looked at" }
                ": the day of the review is over." }
        }
        @if kind == Some(Kind::Holds) {
            nav.tabs aria-label="Kinds of work" {
                (tab(None, "All", all.len(), kind))
                @for each in Kind::ALL { @let n = of(each).count(); @if n > 0 { (tab(Some(each), each.shown(), n, kind)) } }
                (tab(Some(Kind::Holds), Kind::Holds.shown(), holds.count as usize, kind))
            }
            (super::holds::list(viewer, names, &holds.rows, now))
        } @else if all.is_empty() {
            (empty("Nothing waits for a person", &html! {
                p { "The engine works by itself. What it cannot do alone comes here: a system that refuses, a task in a place no program reaches, an approval, a message nobody took." }
                p { a href="/" { "See what is due today" } " or " a href="/systems" { "how the systems do" } ", or "
                    a href="/queue?kind=holds" { "the legal holds" } "." }
            }))
        } @else {
            nav.tabs aria-label="Kinds of work" {
                (tab(None, "All", all.len(), kind))
                @for each in Kind::ALL { @let n = of(each).count(); @if n > 0 || kind == Some(each) { (tab(Some(each), each.shown(), n, kind)) } }
                (tab(Some(Kind::Holds), Kind::Holds.shown(), holds.count as usize, kind))
            }
            @if shown.is_empty() {
                (empty("Nothing of this kind waits", &html! { p { a href="/queue" { "Show everything that waits" } } }))
            } @else {
                section.card {
                    h2 { (kind.map_or("Everything", Kind::shown)) }
                    div.scroll tabindex="0" role="region" aria-label="Work queue" {
                        table.data {
                            caption.hidden { "What needs a person: what, where, when it is late, who can do it, and the action" }
                            thead { tr {
                                th scope="col" { "Due" } th scope="col" { "What" } th scope="col" { "Controller" }
                                th scope="col" { "Since" } th scope="col" { "Who can do it" } th scope="col" { "Action" }
                            } }
                            tbody { @for entry in shown { (line(viewer, names, entry, now)) } }
                        }
                    }
                }
            }
        }
    }
}

fn tab(kind: Option<Kind>, shown: &str, n: usize, chosen: Option<Kind>) -> Markup {
    let target = kind.map_or_else(|| "/queue".to_owned(), |kind| format!("/queue?kind={}", kind.word()));
    html! {
        a href=(target) aria-current=[(kind == chosen).then_some("page")] { (shown) " " span.badge { (count(n as i64)) } }
    }
}
