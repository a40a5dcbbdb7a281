//! `GET /v1/stream`: what changed, as it changes (server-sent events), without personal data.
//!
//! Each controller's audit log has no gap, so the place of the last event that was told is a cursor that can lose nothing, however
//! transactions overlap; for several controllers the cursor holds the place in each log. All streams of a process share one look at
//! the database ([`hub`]).

mod cursor;
mod hub;

use super::Edge;
use super::auth::{Viewer, permit};
use super::path::Query;
use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use cursor::Cursor;
use futures::stream;
pub(crate) use hub::Hub;
use hub::{Known, Place};
use redress_domain::ControllerId;
use redress_store::{Change, Error, Stretch};
use serde_json::json;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A line without content this often tells both ends, and what is between them, that the stream is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// This often it is asked again whether whoever watches still may, besides before anything is told.
const STILL: Duration = Duration::from_secs(3);
/// Events that one stream reads at a time when it catches up.
const PAGE: i64 = 200;
/// The longest cursor that a header holds comfortably: some thousand controllers.
const CURSOR_MAX: usize = 32 * 1024;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Who watches, with what they showed, so that it can be asked again.
pub(crate) struct Watcher(Viewer, HeaderMap);

impl FromRequestParts<Edge> for Watcher {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let viewer =
            Viewer::find_unattended(&parts.headers, edge).await?.ok_or_else(|| Problem::unauthorized(false))?;
        viewer.demand(permit(parts, edge)?)?;
        Ok(Self(viewer, parts.headers.clone()))
    }
}

/// `GET /v1/stream`
pub(crate) async fn stream(
    Watcher(viewer, headers): Watcher,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::new(query.as_deref());
    let named = query.text("controller");
    let after = query.text("after");
    query.finish()?;
    let scope = match named {
        Some(name) => {
            let seen = viewer.controllers(&edge).await?;
            let found = seen.into_iter().find(|controller| controller.name == name).ok_or_else(Problem::not_found)?;
            Some(vec![found.id])
        }
        None => viewer.scope.clone(),
    };
    // What a browser sends after a lost connection is newer than what the page asked for at first.
    let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).map(str::to_owned).or(after);
    let place = edge.0.stream.enter(viewer.actor(), &edge)?;
    let mut known = place.known();
    let heads = known.wait_for(Option::is_some).await.map_err(|_| Problem::internal())?.clone();
    let mut cursor = Cursor::new(scope.as_ref().is_some_and(|scope| scope.len() == 1));
    let fresh = last.is_none();
    if let Some(text) = &last {
        cursor.resume(text).ok_or_else(|| {
            let fault =
                "must be the id of an event of this stream; without it the stream begins with what happens next";
            Problem::invalid_query(vec![("after".to_owned(), fault.to_owned())])
        })?;
    }
    let scope: Option<BTreeSet<ControllerId>> = scope.map(|scope| scope.into_iter().collect());
    let mut watching = Watching {
        edge,
        viewer,
        headers,
        scope,
        cursor,
        known,
        ready: VecDeque::new(),
        heartbeat: every(HEARTBEAT),
        still: every(STILL),
        behind: true,
        ended: false,
        _place: place,
    };
    watching.follow(heads.as_ref(), fresh);
    if watching.cursor.text().len() > CURSOR_MAX {
        let fault = "must name one controller: there are too many to be watched at once";
        return Err(Problem::invalid_query(vec![("controller".to_owned(), fault.to_owned())]));
    }
    watching
        .ready
        .push_back(Bytes::from(format!("retry: 2000\nid: {}\nevent: ready\ndata: {{}}\n\n", watching.cursor.text())));
    let frames = stream::unfold(watching, |mut watching| async move {
        let frame = watching.next().await?;
        Some((Ok::<_, Error>(frame), watching))
    });
    let mut response = Response::new(Body::from_stream(frames));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(NO_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn every(time: Duration) -> Interval {
    let mut ticks = interval(time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

/// One open stream.
struct Watching {
    edge: Edge,
    viewer: Viewer,
    headers: HeaderMap,
    scope: Option<BTreeSet<ControllerId>>,
    cursor: Cursor,
    known: watch::Receiver<Option<Known>>,
    ready: VecDeque<Bytes>,
    heartbeat: Interval,
    still: Interval,
    /// Some log may reach further than the cursor.
    behind: bool,
    ended: bool,
    _place: Place,
}

impl Watching {
    /// What is sent next; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            if self.behind {
                // A database that is away is asked again at the next look.
                self.behind = self.advance().await.unwrap_or(false);
                if self.behind || !self.ready.is_empty() {
                    continue;
                }
            }
            tokio::select! {
                () = self.edge.stop.cancelled() => return None,
                changed = self.known.changed() => {
                    changed.ok()?;
                    self.behind = true;
                }
                _ = self.heartbeat.tick() => return Some(Bytes::from_static(b":\n\n")),
                _ = self.still.tick() => {
                    if !self.still_may().await {
                        self.end();
                        continue;
                    }
                    // What could not be read before is asked for again.
                    self.behind = true;
                }
            }
        }
    }

    /// Takes in the logs that there are: a new one from its beginning, or, at the start of a stream, from here on.
    fn follow(&mut self, known: Option<&Known>, from_here: bool) {
        let Some(known) = known else { return };
        for head in known.heads.iter() {
            if self.scope.as_ref().is_none_or(|scope| scope.contains(&head.controller_id)) {
                self.cursor.follow(head, from_here);
            }
        }
    }

    /// Makes frames of what is not told yet; whether there is more.
    async fn advance(&mut self) -> Result<bool, Error> {
        let known = self.known.borrow_and_update().clone();
        self.follow(known.as_ref(), false);
        let Some(known) = known else { return Ok(false) };
        let behind = self.cursor.behind(&known.heads);
        if behind.is_empty() {
            return Ok(false);
        }
        // Nothing is told to whoever may not hear it any more, however short ago that was.
        if !self.still_may().await {
            self.end();
            return Ok(false);
        }
        let (mut told, mut unread, mut more) = (Vec::new(), Vec::new(), false);
        for (head, seen) in behind {
            if let Some(changes) = known.recent(&head.controller_id, seen, head.seq) {
                told.extend(changes);
            } else {
                // What only the database knows is read in pages, so that nobody's past fills the memory.
                let upto = head.seq.min(seen + PAGE);
                more |= upto < head.seq;
                unread.push(Stretch { controller_id: head.controller_id.clone(), after: seen, upto });
                if unread.len() >= 16 {
                    more = true;
                    break;
                }
            }
        }
        let read = self.edge.store.changes(&unread).await?;
        for change in told.iter().map(|change| &**change).chain(&read) {
            let Some(name) = self.cursor.told(change) else { continue };
            self.ready.push_back(frame(&self.cursor.text(), &name, change));
        }
        Ok(more)
    }

    /// Says so and tells nothing more.
    fn end(&mut self) {
        self.ended = true;
        self.ready.push_back(Bytes::from_static(b"event: end\ndata: {\"reason\":\"access_ended\"}\n\n"));
    }

    /// Whether whoever watches is still the same and still may. A database that is away proves nothing. That a page is open is not
    /// that somebody works with it: it keeps no session from becoming idle.
    async fn still_may(&self) -> bool {
        match Viewer::find_unattended(&self.headers, &self.edge).await {
            Ok(Some(now)) => {
                now.actor() == self.viewer.actor()
                    && now.scope == self.viewer.scope
                    && now.may(redress_domain::Permit::See)
            }
            Ok(None) => false,
            Err(problem) => problem.status() != StatusCode::UNAUTHORIZED,
        }
    }
}

/// One event on the wire. JSON escapes line ends, so nothing can break out of its line.
fn frame(id: &str, controller: &str, change: &Change) -> Bytes {
    let (event, data) = match &change.dsr_id {
        Some(dsr) => (
            "request",
            json!({ "id": dsr, "controller": controller, "status": change.status, "band": change.band, "at": change.at, "kind": change.kind }),
        ),
        None => ("controller", json!({ "controller": controller, "at": change.at, "kind": change.kind })),
    };
    Bytes::from(format!("id: {id}\nevent: {event}\ndata: {data}\n\n"))
}
