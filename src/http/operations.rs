//! Operations see whether the service lives, whether it is ready, and how much there is to do; nothing here is about a person.

use super::Edge;
use super::path::Query;
use super::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The description of every route.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// `GET /healthz`: the process answers. The database is not asked: restarting us does not mend it.
pub(crate) async fn healthz() -> &'static str {
    "ok"
}

/// `GET /readyz`
pub(crate) async fn readyz(State(edge): State<Edge>) -> Response {
    let mut reasons = (edge.ready)();
    if edge.store.ping().await.is_err() {
        reasons.push("the database does not answer".to_owned());
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// `GET /v1/signing-key` and `GET /.well-known/redress-signing-key.json`
pub(crate) async fn signing_key(State(edge): State<Edge>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    Query::new(query.as_deref()).finish()?;
    Ok(Json(edge.signing_key.clone()))
}

/// `GET /metrics`, in the text format of Prometheus. It answers without the database too, and says so.
pub(crate) async fn metrics(State(edge): State<Edge>) -> Response {
    let mut page = Page::default();
    page.metric("redress_build_info", "gauge", "The version of this process.");
    page.sample("redress_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let (statuses, depth) = (edge.store.status_counts().await, edge.store.queue_depth().await);
    page.metric("redress_database_up", "gauge", "Whether the database answered just now.");
    page.sample("redress_database_up", &[], i64::from(statuses.is_ok() && depth.is_ok()));
    if let Ok(statuses) = statuses {
        page.metric("redress_requests", "gauge", "Data subject requests by status.");
        for (status, count) in statuses {
            page.sample("redress_requests", &[("status", &status)], count);
        }
    }
    if let Ok(depth) = depth {
        page.metric(
            "redress_queue_depth",
            "gauge",
            "Rows of the queue: ready, wait, run, and those that need a person.",
        );
        for (state, count) in depth {
            page.sample("redress_queue_depth", &[("state", &state)], count);
        }
    }
    if let Ok(messages) = edge.store.message_counts().await {
        page.metric(
            "redress_messages",
            "gauge",
            "Messages that carry notices: wait, run, and by reason those that could not be sent.",
        );
        for (state, count) in messages {
            page.sample("redress_messages", &[("state", &state)], count);
        }
    }
    page.metric("redress_http_answers_total", "counter", "Answers of this process by method, route and status.");
    let answers = edge.0.answers.lock().expect("never held across a panic").clone();
    for ((method, route, status), count) in answers {
        let labels = [("method", method), ("route", route.as_str()), ("status", &status.to_string())];
        page.sample("redress_http_answers_total", &labels, i64::try_from(count).unwrap_or(i64::MAX));
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0).into_response()
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _infallible = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: i64) {
        let labels: Vec<String> = labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _infallible = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
