//! The wrap is what every call has: an id, a span, a time limit, a place among so many, and headers that keep answers private.
//!
//! A log line names the method, the route as it is declared, the status and the time; never the path, the query, a header
//! or a body, in which a caller may have put anything.

use super::Edge;
use super::problem::{Problem, Told};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) async fn wrap(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_name(request.method());
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "(none)".to_owned(), |p| p.as_str().to_owned());
    let request_id = request_id();
    let probe = matches!(route.as_str(), "/healthz" | "/readyz" | "/metrics");
    let span = tracing::info_span!("http", method, route, request.id = request_id);

    let for_people = !is_for_programs(request.uri().path()) && wants_page(request.headers());
    let target = for_people.then(|| request.uri().path_and_query().map(ToString::to_string)).flatten();
    let target = target.filter(|_| matches!(method, "GET" | "HEAD"));
    let mut response = limited(&edge, probe, request, next).instrument(span.clone()).await;
    let sign_in = target.filter(|_| response.status() == StatusCode::UNAUTHORIZED);
    if let Some(instead) = sign_in.and_then(|target| super::board::sign_in::instead_of_401(&edge, &target)) {
        response = instead;
    } else if for_people && let Some(Told(problem)) = response.extensions().get() {
        let page = super::board::as_page(response.status(), problem);
        let (head, _) = response.into_parts();
        let (mut parts, body) = page.into_parts();
        for (name, value) in head.headers.iter().filter(|(name, _)| **name != CONTENT_TYPE) {
            parts.headers.insert(name.clone(), value.clone());
        }
        // Whoever sends a form had a session, and may have lost it since. A browser that asked them for a name and password would send
        // the form once more as somebody else; the page that says how to sign in is what they need.
        if head.status == StatusCode::UNAUTHORIZED && !matches!(method, "GET" | "HEAD") {
            parts.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"Redress\""));
        }
        response = Response::from_parts(parts, body);
    }

    let status = response.status().as_u16();
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        // Probes and reads that went well are told only to those who ask for more.
        if probe || (matches!(method, "GET" | "HEAD") && status < 400) {
            tracing::debug!(status, ms, "{method} {route} answered {status} in {ms} ms");
        } else {
            tracing::info!(status, ms, "{method} {route} answered {status} in {ms} ms");
        }
    });
    *edge.0.answers.lock().expect("never held across a panic").entry((method, route, status)).or_default() += 1;
    guard(&mut response, &request_id);
    response
}

/// Whether a path belongs to an interface that programs use, whatever they say they accept.
fn is_for_programs(path: &str) -> bool {
    ["/v1", "/openapi.json", "/healthz", "/readyz", "/metrics", "/.well-known"]
        .iter()
        .any(|start| path.starts_with(start))
}

/// Whether a browser asks for a page.
fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

async fn limited(edge: &Edge, probe: bool, request: Request, next: Next) -> Response {
    let place = if probe { None } else { Some(edge.0.calls.try_acquire()) };
    if let Some(Err(_)) = place {
        return Problem::unavailable("too many calls at the same time; try again").into_response();
    }
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(edge.request_timeout, answer).await {
        Ok(Ok(response)) => response,
        // The panic itself was logged by its hook.
        Ok(Err(_)) => Problem::internal().into_response(),
        Err(_) => {
            tracing::warn!("A call took too long and was given up");
            Problem::unavailable("the call took too long; try again").into_response()
        }
    }
}

/// Headers that keep an answer out of caches, frames and referrers, and a browser from guessing its type.
fn guard(response: &mut Response, request_id: &str) {
    let headers = response.headers_mut();
    let fixed = [(X_CONTENT_TYPE_OPTIONS, "nosniff"), (X_FRAME_OPTIONS, "DENY"), (REFERRER_POLICY, "no-referrer")];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Only the board's own style and script are kept by anybody.
    headers.entry(CACHE_CONTROL).or_insert_with(|| HeaderValue::from_static("no-store"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert_with(|| HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
}

/// Made here: an id that a caller chose could be anything.
fn request_id() -> String {
    let Ok(bytes) = redress_store::random::<8>() else { return String::new() };
    format!("{:016x}", u64::from_be_bytes(bytes))
}

/// The method as one of a few words, since it becomes a label.
fn method_name(method: &Method) -> &'static str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
    let names = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    known.iter().zip(names).find(|(known, _)| *known == method).map_or("OTHER", |(_, name)| name)
}
