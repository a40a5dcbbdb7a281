//! A problem on a page: what happened, who can mend it, and the way back.

use super::shell::{Page, Section, document_of};
use crate::http::Edge;
use crate::http::auth::Viewer;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde_json::Value;

/// A page that tells a problem of the API (RFC 9457) in words.
pub(super) fn explain(
    viewer: Option<&Viewer>,
    edge: &Edge,
    status: StatusCode,
    problem: &Value,
    back: Option<&str>,
) -> Response {
    let title = heading(status);
    let body = said(status, title, problem, back);
    let Some(viewer) = viewer else { return document_of(status, title, &html! { main.alone id="content" { (body) } }) };
    let page = Page { viewer, section: Section::None, title, done: None, now: edge.store.now_ms(), body };
    let mut response = page.into_response();
    *response.status_mut() = status;
    response
}

fn said(status: StatusCode, title: &str, problem: &Value, back: Option<&str>) -> Markup {
    let detail = problem["detail"].as_str().unwrap_or_default();
    let errors: Vec<&Value> = problem["errors"].as_array().into_iter().flatten().collect();
    html! {
        section.problem role="alert" {
            h1 { (title) }
            @if !detail.is_empty() { p { (sentence(detail)) } }
            @if let Some(now) = problem["current_status"].as_str() { p { "The request is now: " (super::parts::plain(now)) "." } }
            @if !errors.is_empty() {
                ul { @for error in errors {
                    @let name = error["pointer"].as_str().or(error["parameter"].as_str()).unwrap_or_default();
                    li { @if !name.is_empty() { b { (name.trim_start_matches('/')) } " " } (error["detail"].as_str().unwrap_or_default()) }
                } }
            }
            p.quiet { (who_can_mend_it(status)) }
            @if status == StatusCode::UNAUTHORIZED { p { a.button href="/sign-in" { "Sign in" } } }
            @if status == StatusCode::FORBIDDEN { p { a href="/sign-in" { "Who you are here" } } }
            @if let Some(back) = back { p { a href=(back) { "Back" } } } @else { p { a href="/" { "To the board" } } }
        }
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let mut out: String = letters.next().map(char::to_uppercase).into_iter().flatten().chain(letters).collect();
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}

const fn heading(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 422 => "This cannot be taken as it is",
        401 => "Sign in",
        403 => "Not allowed",
        404 => "Nothing is here",
        409 => "Not possible as things stand",
        410 => "Gone",
        413 => "Too large",
        503 => "Not now",
        _ => "Something went wrong",
    }
}

/// Each error says who can do something about it.
const fn who_can_mend_it(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 413 | 422 => "You can mend this: change what is named and send it again. Nothing was changed.",
        401 => "You can: sign in, or ask an administrator for access.",
        403 => "An administrator can give you a role that allows it. Nothing was changed.",
        404 => {
            "If you followed a link, whoever sent it may see other controllers than you. An administrator says who sees what."
        }
        409 => "Look at the request as it is now; somebody or the engine may have been faster. Nothing was changed.",
        410 => "Nobody can: it was destroyed when its time was over, and the audit log says when.",
        503 => "Wait a moment and try again; if it lasts, the operator can see why at /readyz.",
        _ => "The operator can find it in the log by the time.",
    }
}

/// The same for whoever is not known yet, or for a problem before it was known who calls.
pub(crate) fn as_page(status: StatusCode, problem: &Value) -> Response {
    let title = heading(status);
    document_of(status, title, &html! { main.alone id="content" { (said(status, title, problem, None)) } })
}
