//! A route of notices is tried out: a message about an invented request is sent to it, outside every table.

use super::Edge;
use super::auth::Staff;
use super::path::{NamePath, Query};
use super::problem::Problem;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use redress_store::Route;
use serde_json::{Value, json};

/// How the operator's own routes are named where others have their controller's name.
pub(crate) const OPERATOR: &str = "operator";

/// `POST /v1/notify-routes/{name}/test`
pub(crate) async fn test(
    staff: Staff,
    NamePath(name): NamePath,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let owner = query.text("controller");
    query.finish()?;
    let names = super::users::names(&edge).await?;
    let owner_of = |route: &Route| {
        route.controller_id.as_ref().map_or(OPERATOR, |id| names.get(id).map_or("", String::as_str)).to_owned()
    };
    let mut found: Vec<Route> = edge.store.routes().await?;
    found.retain(|route| route.name == name && owner.as_ref().is_none_or(|owner| *owner == owner_of(route)));
    let route = match found.as_slice() {
        [] => return Err(Problem::not_found()),
        [route] => route,
        _ => {
            let fault = format!("must say whose route is meant: a controller's name, or {OPERATOR}");
            return Err(Problem::invalid_query(vec![("controller".to_owned(), fault)]));
        }
    };
    let outcome = (edge.test_route)(route.id.clone()).await;
    let data = json!({ "route": route.name, "owner": owner_of(route), "taken": outcome.is_ok() });
    edge.store.record_staff_event(staff.0.actor(), "route_tested", data).await?;
    match outcome {
        Ok(()) => Ok(Json(json!({ "taken": true }))),
        Err(detail) => Err(Problem::new(StatusCode::CONFLICT, format!("the test was not taken: {detail}"))),
    }
}
