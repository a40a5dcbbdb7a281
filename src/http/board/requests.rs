//! `GET /requests` lists requests: the most urgent first, filtered by whatever its address says, page by page both ways.

mod csv;
mod filters;
mod table;

pub(crate) use csv::csv;

use super::act;
use super::shell::{Page, Section};
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::problem::Problem;
use crate::http::view::Lens;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use filters::Filters;
use redress_domain::{ControllerId, DsrId, Permit};
use redress_store::{Controller, DsrCount, DsrFilter, DsrPage, SavedView};
use std::collections::BTreeMap;

/// Rows on one page.
const ROWS: i64 = 50;
/// The shortest start of an id that is searched for: `dsr_` and four letters.
const START_MIN: usize = 8;
/// Requests that a search finds.
const FOUND_MAX: i64 = 200;
/// With more controllers one has to be chosen before a reference is searched for: each keeps its own secret hash of it.
const CALLED_MAX: usize = 500;

/// What somebody sees: the controllers, and whose requests are asked for.
struct Seen {
    controllers: Vec<Controller>,
    /// None: every controller's.
    scope: Option<Vec<ControllerId>>,
}

impl Seen {
    async fn of(edge: &Edge, viewer: &Viewer, filters: &Filters) -> Result<Self, Problem> {
        let controllers = viewer.controllers(edge).await?;
        let Some(name) = filters.text("controller") else {
            return Ok(Self { controllers, scope: viewer.scope.clone() });
        };
        let chosen = controllers.iter().find(|controller| controller.name == name).ok_or_else(Problem::not_found)?;
        let scope = Some(vec![chosen.id.clone()]);
        Ok(Self { controllers, scope })
    }

    /// The controllers whose requests are asked for.
    fn asked(&self) -> impl Iterator<Item = &Controller> {
        self.controllers.iter().filter(|c| self.scope.as_ref().is_none_or(|scope| scope.contains(&c.id)))
    }

    fn lenses(&self, now: i64) -> BTreeMap<ControllerId, (&str, Lens)> {
        self.controllers.iter().map(|c| (c.id.clone(), (c.name.as_str(), Lens::new(c, now)))).collect()
    }

    /// The filter of the store, with what was searched for; none if nothing can be found.
    async fn filter(&self, edge: &Edge, viewer: &Viewer, filters: &Filters) -> Result<DsrFilter, Problem> {
        let mut filter = filters.filter(&self.controllers, edge.store.now_ms());
        if let Some(text) = filters.text("q") {
            filter.ids = Some(self.find(edge, viewer, text).await?);
        }
        Ok(filter)
    }

    /// Requests whose id begins like this, and for those who may see names those that are called exactly this.
    async fn find(&self, edge: &Edge, viewer: &Viewer, text: &str) -> Result<Vec<DsrId>, Problem> {
        let mut found = Vec::new();
        let lower = text.to_ascii_lowercase();
        let id_like = lower.starts_with("dsr_") && lower.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if id_like && lower.len() >= START_MIN {
            found = edge.store.ids_like(self.scope.as_deref(), &lower, FOUND_MAX).await?;
        }
        if viewer.may(Permit::Reveal) {
            let whose: Vec<ControllerId> = self.asked().map(|controller| controller.id.clone()).collect();
            if whose.len() <= CALLED_MAX {
                found.extend(edge.store.ids_called(&whose, text, FOUND_MAX).await?);
            }
        }
        Ok(found)
    }
}

/// A list as it is drawn.
struct Shown<'a> {
    viewer: &'a Viewer,
    filters: &'a Filters,
    seen: &'a Seen,
    page: &'a DsrPage,
    count: DsrCount,
    views: &'a [SavedView],
    regulations: &'a [String],
    now: i64,
}

/// `GET /requests`
pub(crate) async fn requests(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let filters = Filters::read(query.as_deref())?;
    let seen = Seen::of(&edge, &viewer, &filters).await?;
    let filter = seen.filter(&edge, &viewer, &filters).await?;
    // Whoever searches for one request is led to it.
    if filters.text("q").is_some()
        && filters.from.is_none()
        && let Some([one]) = filter.ids.as_deref()
        && edge.store.controller_of(one, viewer.scope.as_deref()).await.is_ok()
    {
        return Ok(act::see(&format!("/requests/{one}"), ""));
    }
    let sort = filters.sort();
    let (from, backwards) = filters.from.clone().map_or((None, false), |(place, backwards)| (Some(place), backwards));
    let page = edge.store.list_dsrs(seen.scope.as_deref(), &filter, sort, from, backwards, ROWS).await?;
    let count = edge.store.count_dsrs(seen.scope.as_deref(), &filter, sort.column).await?;
    let views = edge.store.views(viewer.actor()).await?;
    let laws =
        edge.rules.rules.table.regulations.iter().filter(|law| law.jurisdictions.iter().all(|place| place != "*"));
    let regulations: Vec<String> = laws.map(|law| law.id.clone()).collect();
    let now = edge.store.now_ms();
    let shown = Shown {
        viewer: &viewer,
        filters: &filters,
        seen: &seen,
        page: &page,
        count,
        views: &views,
        regulations: &regulations,
        now,
    };
    let body = table::list(&shown);
    let done = filters.done.as_deref().and_then(act::done);
    Ok(Page { viewer: &viewer, section: Section::Requests, title: "Requests", done, now, body }.into_response())
}

/// The filters of a list as they are kept under a name; none if they are not the list's.
pub(crate) fn kept_query(query: &str) -> Option<String> {
    Filters::read(Some(query)).ok().map(|filters| filters.kept()).filter(|query| !query.is_empty())
}
