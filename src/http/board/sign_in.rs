//! The pages by which people come in and go out: at the identity provider, with a link of the operator's, or with an API key.
//!
//! Whatever way somebody comes, a session begins, and the staff log says so; a refusal says why and who can help.

mod link;
mod provider;
#[cfg(test)]
mod tests;

pub(crate) use link::{confirm, link};
pub(crate) use provider::{begin, callback};

use super::act::{is_local_path, see};
use super::parts::plain;
use super::shell::document_of;
use crate::http::Edge;
use crate::http::auth::{COOKIE_NAME, Viewer, Who, is_from_here, vouch};
use crate::http::people::Peer;
use crate::http::problem::Problem;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, RawQuery, Request, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use redress_store::{Error, Identified};
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

/// The longest form of these pages.
const FORM_MAX: usize = 16 * 1024;

/// Who is at the other end, if it is known: tests have no connection.
pub(crate) struct From(Option<Peer>);

impl FromRequestParts<Edge> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<Peer>().copied();
        Ok(Self(peer.map(|peer| edge.people.caller(peer, &parts.headers))))
    }
}

/// The parameters of a query, or the fields of a form.
type Fields = BTreeMap<String, String>;

fn fields(bytes: &[u8]) -> Fields {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}

/// The page to show afterwards.
fn next_of(fields: &Fields) -> &str {
    fields.get("next").map(String::as_str).filter(|next| is_local_path(next)).unwrap_or("/")
}

/// The fields of a form that one of our own pages sent. Before anybody is known there is no token; nobody else's page may sign
/// somebody in either, as whom they then would act unawares.
async fn form(request: Request) -> Result<Fields, Problem> {
    if !is_from_here(request.headers()) {
        return Err(Problem::forbidden(
            "this form must come from a page of this service; load the page again and repeat it",
        ));
    }
    let bytes = to_bytes(request.into_body(), FORM_MAX).await.map_err(|_| Problem::too_large(FORM_MAX))?;
    Ok(fields(&bytes))
}

/// `GET /sign-in`
pub(crate) async fn page(
    State(edge): State<Edge>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = fields(query.unwrap_or_default().as_bytes());
    let viewer = Viewer::find(&headers, &edge).await.ok().flatten().filter(|viewer| !matches!(viewer.who, Who::Local));
    let done = query.get("done").and_then(|word| super::act::done(word));
    Ok(ways(&edge, viewer.as_ref(), StatusCode::OK, done, None, next_of(&query)))
}

/// The page with every way to sign in.
fn ways(
    edge: &Edge,
    viewer: Option<&Viewer>,
    status: StatusCode,
    done: Option<&str>,
    fault: Option<&str>,
    next: &str,
) -> Response {
    let provider = edge.people.provider();
    let begin = format!(
        "/sign-in/oidc?{}",
        url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish()
    );
    let body = html! {
        h1 { "Sign in" }
        @if let Some(done) = done { p.done role="status" { (done) } }
        @if let Some(fault) = fault { p.notice.alert role="alert" { (fault) } }
        @if let Some(viewer) = viewer { (known(viewer)) }
        @if let Some(provider) = provider {
            section.card {
                h2 { "With your organization's account" }
                p { a.button.primary href=(begin) { "Sign in at " bdi { (provider.host()) } } }
            }
        }
        section.card {
            h2 { "With an API key" }
            p.quiet { "You see and may do what the key sees and may do. Whoever revokes the key ends this." }
            form.act method="post" action="/sign-in" {
                input type="hidden" name="next" value=(next);
                label for="key" { "API key" }
                input id="key" type="password" name="key" autocomplete="off" required maxlength="200" spellcheck="false";
                button type="submit" { "Sign in with the key" }
            }
        }
        section.card {
            h2 { "Otherwise" }
            p { "The operator of this installation can hand you a link that signs you in once:" }
            p.id { "redress user link --name you --role privacy_lead" }
            @if provider.is_none() {
                p.quiet { "Where people sign in with their organization's accounts, the operator sets " code { "[oidc]" } "." }
            }
        }
    };
    document_of(status, "Sign in", &html! { main.alone id="content" { (body) } })
}

/// Who is signed in, and how to end it.
fn known(viewer: &Viewer) -> Markup {
    html! {
        section.card {
            h2 { "You are signed in" }
            p { "As " bdi { (viewer.name()) } ": "
                @if viewer.roles.is_empty() { "no role." } @else { (plain(&viewer.roles.to_string())) "." } }
            @if viewer.roles.is_empty() {
                p.notice { "Nobody has given you a role here, so there is nothing you may see or do. An administrator of this installation can give you one in its settings; or the groups of your account have to be named in its configuration. Afterwards load this page again." }
            } @else {
                p { a href="/" { "To the board" } }
            }
            form.act method="post" action="/sign-out" {
                input type="hidden" name="csrf" value=(viewer.token());
                button type="submit" { "Sign out" }
            }
        }
    }
}

/// `POST /sign-in`
pub(crate) async fn with_key(
    State(edge): State<Edge>,
    From(peer): From,
    request: Request,
) -> Result<Response, Problem> {
    let form = form(request).await?;
    let (next, now) = (next_of(&form), edge.store.now_ms());
    if !edge.people.failures().may(peer, now) {
        return Ok(too_often());
    }
    let text = form.get("key").map(|key| key.trim()).unwrap_or_default();
    let Some(caller) = edge.store.authenticate(text).await? else {
        refused(&edge, peer, "key", "unknown_key").await?;
        let fault = "This key is unknown or revoked. An administrator of your controller can make a new one.";
        return Ok(ways(&edge, None, StatusCode::UNAUTHORIZED, None, Some(fault), next));
    };
    let (id, text) = edge.store.begin_key_session(&caller.key_id, edge.people.life()).await?;
    let data = json!({ "session": id, "by": "key", "roles": [caller.role.as_str()] });
    edge.store.record_staff_event(caller.key_id.as_str(), "signed_in", data).await?;
    Ok(admitted(&edge, &text, next))
}

/// Begins the session of somebody who was identified.
async fn begin_session(edge: &Edge, who: &Identified, by: &str, next: &str) -> Result<Response, Problem> {
    let begun = match edge.store.sign_in(who, edge.people.life()).await {
        // Somebody's first two sign-ins at the same moment: the other one made them known.
        Err(error) if error.is_duplicate() => edge.store.sign_in(who, edge.people.life()).await,
        begun => begun,
    };
    let (user, session, text) = match begun {
        Ok(begun) => begun,
        Err(Error::Conflict(detail)) => {
            record_refusal(edge, by, "disabled").await?;
            return Ok(told(
                StatusCode::FORBIDDEN,
                "You are not let in",
                &html! { p { "Your access was taken away." } p.quiet { (detail) ". Ask an administrator of this installation." } },
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let roles: Vec<&str> = who.roles.iter().map(redress_domain::Role::as_str).collect();
    let data = json!({ "session": session, "by": by, "roles": roles });
    edge.store.record_staff_event(user.as_str(), "signed_in", data).await?;
    // An administrator may have given them other roles than those that they come with.
    let held = edge.store.session(&text).await?.is_some_and(|session| !session.roles.is_empty());
    Ok(admitted(edge, &text, if held { next } else { "/sign-in" }))
}

/// Leads on, with the cookie of a session.
fn admitted(edge: &Edge, text: &str, next: &str) -> Response {
    let mut response = see(next, "");
    edge.people.set_cookie(response.headers_mut(), COOKIE_NAME, text, edge.people.life().lasts);
    response
}

/// `POST /sign-out`
pub(crate) async fn sign_out(State(edge): State<Edge>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let viewer = Viewer::find(&headers, &edge).await?.filter(|viewer| !matches!(viewer.who, Who::Local));
    let form = form(request).await?;
    if let Some(viewer) = &viewer {
        vouch(&headers, viewer, form.get("csrf").map(String::as_str).unwrap_or_default())?;
        let text = edge.people.cookie(&headers, COOKIE_NAME).unwrap_or_default();
        let ended = if let Some(session) = viewer.session() {
            edge.store.end_session(&session.id).await?;
            Some(&session.id).cloned()
        } else if let Some((id, _)) = edge.store.key_session(text).await? {
            edge.store.end_key_session(&id).await?;
            Some(id)
        } else {
            None
        };
        let Some(id) = ended else {
            let body =
                html! { p { "This browser sends an API key with every call. Close all its windows to end that." } };
            return Ok(told(StatusCode::CONFLICT, "There is no session to end", &body));
        };
        edge.store.record_staff_event(viewer.actor(), "signed_out", json!({ "session": id })).await?;
    }
    let mut response = see("/sign-in", "left");
    edge.people.set_cookie(response.headers_mut(), COOKIE_NAME, "", Duration::ZERO);
    Ok(response)
}

/// Where a page sends a browser that is not known, if there is a provider to sign in at.
pub(crate) fn instead_of_401(edge: &Edge, target: &str) -> Option<Response> {
    edge.people.provider()?;
    let next = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", target).finish();
    Some(see_at(&format!("/sign-in?{next}")))
}

fn see_at(target: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(target) = HeaderValue::from_str(target) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

/// Counts a refusal and keeps it in the staff log.
async fn refused(edge: &Edge, peer: Option<Peer>, by: &str, why: &str) -> Result<(), Problem> {
    edge.people.failures().count(peer, edge.store.now_ms());
    record_refusal(edge, by, why).await
}

async fn record_refusal(edge: &Edge, by: &str, why: &str) -> Result<(), Problem> {
    tracing::warn!(by, why, "a sign-in was refused");
    Ok(edge.store.record_staff_event("nobody", "sign_in_refused", json!({ "by": by, "why": why })).await?)
}

fn too_often() -> Response {
    tracing::warn!("too many failed sign-ins; further ones are refused for some minutes");
    let body = html! { p { "Too many sign-ins failed in the last minutes. Wait five minutes and try again." } };
    told(StatusCode::TOO_MANY_REQUESTS, "Too often", &body)
}

/// A page that tells something to somebody who is not known, with the way back.
fn told(status: StatusCode, title: &str, body: &Markup) -> Response {
    let all = html! {
        main.alone id="content" {
            section.problem role="alert" {
                h1 { (title) }
                (body)
                p { a.button href="/sign-in" { "To the sign-in" } }
            }
        }
    };
    document_of(status, title, &all)
}
