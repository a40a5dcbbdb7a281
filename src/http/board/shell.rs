//! The shell is what every page has around its content: where one is, who one is, how to search, and how old the page is.

use super::assets::{ICON_PATH, SCRIPT_PATH, STYLE_PATH};
use super::parts::moment;
use crate::http::auth::{Viewer, Who};
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, html};
use redress_domain::Permit;

/// What a page may load and where it may send something: only here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A part of the board, as the navigation lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Today,
    Requests,
    Queue,
    Systems,
    Controllers,
    Reports,
    Audit,
    Settings,
    /// A page outside of the navigation.
    None,
}

impl Section {
    const ALL: [(Section, &'static str, &'static str, Permit); 8] = [
        (Section::Today, "/", "Today", Permit::See),
        (Section::Requests, "/requests", "Requests", Permit::See),
        (Section::Queue, "/queue", "Work queue", Permit::See),
        (Section::Systems, "/systems", "Systems", Permit::See),
        (Section::Controllers, "/controllers", "Controllers", Permit::See),
        (Section::Reports, "/reports", "Reports", Permit::See),
        (Section::Audit, "/audit", "Audit", Permit::See),
        (Section::Settings, "/settings", "Settings", Permit::See),
    ];
}

/// A page for somebody: its title, its content, and at which moment it was true (Unix ms).
pub(super) struct Page<'a> {
    pub(super) viewer: &'a Viewer,
    pub(super) section: Section,
    pub(super) title: &'a str,
    /// A sentence that tells what was done, after a form was sent.
    pub(super) done: Option<&'a str>,
    pub(super) now: i64,
    pub(super) body: Markup,
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        document(self.title, &frame(&self))
    }
}

/// Any document, with what it may load.
pub(super) fn document(title: &str, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · Redress" }
                link rel="stylesheet" href=(*STYLE_PATH);
                link rel="icon" type="image/svg+xml" href=(*ICON_PATH);
                // Not deferred: it sets the chosen theme before anything is painted.
                script src=(*SCRIPT_PATH) {}
            }
            body { (body) }
        }
    };
    let mut response = Html(page.into_string()).into_response();
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// A document with another status than 200.
pub(super) fn document_of(status: StatusCode, title: &str, body: &Markup) -> Response {
    let mut response = document(title, body);
    *response.status_mut() = status;
    response
}

fn frame(page: &Page<'_>) -> Markup {
    html! {
        a.skip href="#content" { "Skip to the content" }
        header.top {
            a.brand href="/" { "Redress" }
            // On a phone the sections open below their button, without a script.
            button.menu type="button" popovertarget="sections" { "Menu" }
            nav.sections id="sections" popover="auto" aria-label="Sections" {
                @for (section, path, name, permit) in Section::ALL {
                    @if page.viewer.may(permit) {
                        a href=(path) aria-current=[(section == page.section).then_some("page")] { (name) }
                    }
                }
            }
            form.search role="search" action="/requests" method="get" {
                label.hidden for="q" { "Find a request" }
                input id="q" type="search" name="q" placeholder="Find a request" autocomplete="off" maxlength="200" data-key="/";
            }
            (who(page.viewer))
        }
        main id="content" tabindex="-1" {
            (super::glass::own(page.viewer))
            @if let Some(done) = page.done { p.done role="status" { (done) } }
            (page.body)
        }
        footer.foot {
            p { "As of " time datetime=[crate::http::view::time(page.now)] { (moment(page.now, &TimeZone::UTC)) }
                span.live data-live hidden { " · " span data-live-text { "live" } } }
            p.quiet { kbd { "/" } " search · " kbd { "j" } " " kbd { "k" } " move · " kbd { "?" } " keys" }
        }
    }
}

/// Who looks, and what they can do about it.
fn who(viewer: &Viewer) -> Markup {
    html! {
        details.who {
            summary { (viewer.name()) }
            div {
                p { @if viewer.roles.is_empty() { "No role" } @else { (super::parts::plain(&viewer.roles.to_string())) } }
                @match &viewer.who {
                    Who::Local => {
                        p.quiet { "You look at this board because you sit at its machine. To act, sign in." }
                        p { a href="/sign-in" { "Sign in" } }
                    }
                    _ => form method="post" action="/sign-out" {
                        input type="hidden" name="csrf" value=(viewer.token());
                        button type="submit" { "Sign out" }
                    },
                }
            }
        }
    }
}
