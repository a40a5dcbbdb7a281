//! Settings: who may do what, one's own sessions, whom notices go to, and what this installation is.

mod install;
mod notices;
mod people;
mod roles;
mod sessions;
mod webhooks;

use super::shell::{Page, Section};
use super::{act, glass};
use crate::http::Edge;
use crate::http::auth::Viewer;
use crate::http::path::{NamePath, Query};
use crate::http::problem::Problem;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use redress_domain::{Permit, UserId};
use serde_json::Value;

/// A part of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    People,
    Roles,
    Sessions,
    Notices,
    Webhooks,
    Install,
}

impl Tab {
    const ALL: [(Tab, &'static str, &'static str); 6] = [
        (Tab::People, "people", "People"),
        (Tab::Roles, "roles", "Roles"),
        (Tab::Sessions, "sessions", "My sessions"),
        (Tab::Notices, "notifications", "Notifications"),
        (Tab::Webhooks, "webhooks", "Webhooks"),
        (Tab::Install, "installation", "Installation"),
    ];

    /// Whether somebody is shown it.
    fn is_for(self, viewer: &Viewer) -> bool {
        match self {
            Tab::People => administers(viewer),
            Tab::Roles | Tab::Sessions => true,
            Tab::Notices | Tab::Webhooks => viewer.may(Permit::Operate) || viewer.may(Permit::Decide),
            Tab::Install => viewer.may(Permit::See),
        }
    }
}

/// Whether somebody says who may do what: that is not for those who see some controllers only.
pub(super) fn administers(viewer: &Viewer) -> bool {
    viewer.may(Permit::People) && viewer.scope.is_none() && viewer.session().is_some()
}

/// `GET /settings`
pub(crate) async fn first(viewer: Viewer, edge: State<Edge>, query: RawQuery) -> Result<Response, Problem> {
    let tab = if administers(&viewer) { Tab::People } else { Tab::Roles };
    show(viewer, edge, query, tab).await
}

/// `GET /settings/sessions`: everybody who signed in has them, whatever else they may do.
pub(crate) async fn own(viewer: Viewer, edge: State<Edge>, query: RawQuery) -> Result<Response, Problem> {
    show(viewer, edge, query, Tab::Sessions).await
}

/// `GET /settings/{tab}`
pub(crate) async fn tab(
    viewer: Viewer,
    NamePath(name): NamePath,
    edge: State<Edge>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let found = Tab::ALL.into_iter().find(|(_, path, _)| *path == name);
    let (tab, ..) = found.ok_or_else(Problem::not_found)?;
    if tab == Tab::People {
        viewer.demand(Permit::People)?;
    }
    if !tab.is_for(&viewer) {
        return Err(Problem::forbidden("this part of the settings is for those who run the installation"));
    }
    show(viewer, edge, query, tab).await
}

async fn show(
    viewer: Viewer,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
    tab: Tab,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let done = query.text("done");
    let after = query.read("after", "the id of a person", |text| UserId::parse(text).ok());
    let controller = if tab == Tab::Webhooks { query.text("controller") } else { None };
    query.finish()?;
    let content = match tab {
        Tab::People => people::content(&edge, &viewer, after.as_ref()).await?,
        Tab::Roles => roles::content(),
        Tab::Sessions => sessions::content(&edge, &viewer).await?,
        Tab::Notices => notices::routes(&edge, &viewer).await?,
        Tab::Webhooks => webhooks::content(&edge, &viewer, controller.as_deref()).await?,
        Tab::Install => install::content(&edge).await?,
    };
    let (_, _, title) = Tab::ALL.into_iter().find(|(known, ..)| *known == tab).unwrap_or(Tab::ALL[1]);
    let body = html! {
        header.page { h1 { "Settings: " (title) } }
        (tabs(&viewer, tab))
        (glass::others(&edge, &viewer).await?)
        (content)
    };
    let done = done.as_deref().and_then(act::done);
    let now = edge.store.now_ms();
    Ok(Page { viewer: &viewer, section: Section::Settings, title: "Settings", done, now, body }.into_response())
}

/// A webhook's secret that was just made: it stands on this one page and nowhere else.
pub(super) fn secret_made(edge: &Edge, viewer: &Viewer, answer: &Value) -> Response {
    let body = html! {
        header.page { h1 { "Settings: Webhooks" } }
        (tabs(viewer, Tab::Webhooks))
        (webhooks::made(answer))
    };
    let now = edge.store.now_ms();
    let mut response =
        Page { viewer, section: Section::Settings, title: "Settings", done: None, now, body }.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn tabs(viewer: &Viewer, current: Tab) -> Markup {
    html! {
        nav.tabs aria-label="Settings" {
            @for (tab, path, name) in Tab::ALL {
                @if tab.is_for(viewer) {
                    a href={ "/settings/" (path) } aria-current=[(tab == current).then_some("page")] { (name) }
                }
            }
        }
    }
}
