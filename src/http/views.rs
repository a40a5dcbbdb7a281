//! Saved views: filters that somebody keeps under a name, for themselves. They belong to whoever calls, not to a controller.

use super::auth::Oneself;
use super::body::Members;
use super::problem::Problem;
use super::view::time;
use super::{Edge, board, json};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use redress_domain::words::Fault;
use serde_json::{Value, json};

/// The longest name of a view, in bytes.
const NAME_MAX: usize = 120;
/// The longest query that is kept, in bytes.
const QUERY_MAX: usize = 1_000;

/// `GET /v1/views`
pub(crate) async fn list(Oneself(viewer): Oneself, State(edge): State<Edge>) -> Result<Json<Value>, Problem> {
    shown(&edge, viewer.actor()).await
}

async fn shown(edge: &Edge, owner: &str) -> Result<Json<Value>, Problem> {
    let views = edge.store.views(owner).await?;
    let views: Vec<Value> = views
        .iter()
        .map(|view| json!({ "name": view.name, "query": view.query, "created_at": time(view.created_at) }))
        .collect();
    Ok(Json(json!({ "views": views })))
}

/// `PUT /v1/views`
pub(crate) async fn save(
    Oneself(viewer): Oneself,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let mut faults = Vec::new();
    let (mut name, mut query) = (None, None);
    if let Some(mut members) = Members::open(&body, "", &mut faults) {
        name = members.text("name", &mut faults);
        query = members.text("query", &mut faults);
        members.finish(&mut faults);
    }
    let name = name.map(|name| name.trim().to_owned()).filter(|name| is_name(name));
    if name.is_none() {
        let detail =
            format!("must be a name of 1 to {NAME_MAX} bytes without control or invisible formatting characters");
        super::body::add(&mut faults, vec![Fault::new("/name", detail)]);
    }
    let query = query.filter(|query| query.len() <= QUERY_MAX).and_then(|query| board::kept_query(&query));
    if query.is_none() {
        let detail = format!(
            "must be the filters of the list of requests as its address holds them, at most {QUERY_MAX} bytes, such as late=true&type=access"
        );
        super::body::add(&mut faults, vec![Fault::new("/query", detail)]);
    }
    let (Some(name), Some(query), true) = (name, query, faults.is_empty()) else {
        return Err(Problem::invalid(&faults));
    };
    edge.store.save_view(viewer.actor(), &name, &query).await?;
    shown(&edge, viewer.actor()).await
}

/// `DELETE /v1/views/{name}`
pub(crate) async fn remove(
    Oneself(viewer): Oneself,
    Path(name): Path<String>,
    State(edge): State<Edge>,
) -> Result<StatusCode, Problem> {
    if !is_name(&name) {
        return Err(Problem::not_found());
    }
    edge.store.remove_view(viewer.actor(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a tab can show: nothing that hides or turns the words around it.
fn is_name(name: &str) -> bool {
    let shown = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(shown)
}
