//! A link of the operator's signs somebody in once. Whoever only looks at it (a scanner of mails, a preview) does not use it up: it
//! asks, and the answer is a form.

use super::{Fields, From, begin_session, fields, form, refused, told, too_often};
use crate::http::Edge;
use crate::http::problem::Problem;
use crate::link::Invited;
use axum::extract::{RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;
use redress_store::SignIn;

fn code(fields: &Fields) -> &str {
    fields.get("code").map(String::as_str).unwrap_or_default()
}

/// `GET /sign-in/link`
pub(crate) async fn link(
    State(edge): State<Edge>,
    From(peer): From,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = fields(query.unwrap_or_default().as_bytes());
    if !edge.people.failures().may(peer, edge.store.now_ms()) {
        return Ok(too_often());
    }
    let found = edge.store.look_at_sign_in(SignIn::Link, code(&query)).await?;
    let Some(invited) = found.as_ref().and_then(Invited::read) else {
        edge.people.failures().count(peer, edge.store.now_ms());
        return Ok(over());
    };
    let body = html! {
        main.alone id="content" {
            h1 { "Sign in as " bdi { (invited.name()) } "?" }
            p { "You will be: " (super::plain(&invited.roles().to_string())) "." }
            p.quiet { "The link works once." }
            form.act method="post" action="/sign-in/link" {
                input type="hidden" name="code" value=(code(&query));
                button.primary type="submit" { "Sign in" }
            }
        }
    };
    Ok(super::document_of(StatusCode::OK, "Sign in", &body))
}

/// `POST /sign-in/link`
pub(crate) async fn confirm(State(edge): State<Edge>, From(peer): From, request: Request) -> Result<Response, Problem> {
    let form = form(request).await?;
    if !edge.people.failures().may(peer, edge.store.now_ms()) {
        return Ok(too_often());
    }
    let taken = edge.store.take_sign_in(SignIn::Link, code(&form)).await?;
    let Some(invited) = taken.as_ref().and_then(Invited::read) else {
        refused(&edge, peer, "link", "unknown_link").await?;
        return Ok(over());
    };
    begin_session(&edge, &invited.identified(), "link", "/").await
}

fn over() -> Response {
    let body = html! {
        p { "This link was used, or its fifteen minutes are over, or it was never made." }
        p.quiet { "The operator makes another one with " code { "redress user link" } "." }
    };
    told(StatusCode::GONE, "This link does not work", &body)
}
