//! People are listed, given roles, disabled and signed out by administrators; everybody may end their own sessions.

use super::auth::Staff;
use super::body::Members;
use super::path::{NamePath, Query};
use super::problem::Problem;
use super::view::time;
use super::{Edge, json};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use redress_domain::words::Fault;
use redress_domain::{ControllerId, Permit, Role, Roles, SessionId, UserId};
use redress_store::{SessionRow, User, UserChange};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// People or sessions on one page.
const PAGE: i64 = 500;

/// `GET /v1/users`
pub(crate) async fn list(
    _: Staff,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let after = query.read("after", "the id of a person", |text| UserId::parse(text).ok());
    let limit = query.number("limit", 1, PAGE).unwrap_or(PAGE);
    query.finish()?;
    let users = edge.store.users(after.as_ref(), limit).await?;
    let names = names(&edge).await?;
    let next = if users.len() as i64 == limit { users.last().map(|user| user.id.to_string()) } else { None };
    let users: Vec<Value> = users.iter().map(|user| view(user, &names)).collect();
    Ok(Json(json!({ "users": users, "next": next })))
}

/// `PUT /v1/users/{id}`
pub(crate) async fn change(
    staff: Staff,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let id = UserId::parse(&id).map_err(|_| Problem::not_found())?;
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let names = names(&edge).await?;
    let change = read(&body, &names)?;
    edge.store.change_user(&id, &change, staff.0.actor()).await?;
    Ok(Json(view(&edge.store.user(&id).await?, &names)))
}

/// `POST /v1/users/{id}/sign-out`
pub(crate) async fn sign_out(
    staff: Staff,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    let id = UserId::parse(&id).map_err(|_| Problem::not_found())?;
    let ended = edge.store.sign_out_everywhere(&id, staff.0.actor()).await?;
    Ok(Json(json!({ "sessions_ended": ended })))
}

/// `GET /v1/sessions`
pub(crate) async fn sessions(
    staff: Staff,
    State(edge): State<Edge>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut query = Query::new(query.as_deref());
    let user = query.read("user", "the id of a person", |text| UserId::parse(text).ok());
    query.finish()?;
    let own = staff.session()?.id.clone();
    let rows = edge.store.sessions(user.as_ref(), PAGE).await?;
    let sessions: Vec<Value> = rows.iter().map(|row| session_view(row, &own)).collect();
    Ok(Json(json!({ "sessions": sessions })))
}

/// `DELETE /v1/sessions/{id}`: one's own; anybody's by whoever administers people.
pub(crate) async fn end_session(
    staff: Staff,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
) -> Result<StatusCode, Problem> {
    let id = SessionId::parse(&id).map_err(|_| Problem::not_found())?;
    let own = &staff.session()?.user_id;
    let anybodys = staff.0.may(Permit::People) && staff.0.scope.is_none();
    edge.store.revoke_session(&id, (!anybodys).then_some(own), staff.0.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Names of controllers by id.
pub(crate) type Names = BTreeMap<ControllerId, String>;

pub(crate) async fn names(edge: &Edge) -> Result<Names, Problem> {
    Ok(edge.store.controllers().await?.into_iter().map(|c| (c.id, c.name)).collect())
}

/// The controllers that somebody sees, by name; none: all.
pub(crate) fn scope_names<'n>(scope: Option<&'n [ControllerId]>, names: &'n Names) -> Option<Vec<&'n str>> {
    scope.map(|ids| ids.iter().map(|id| names.get(id).map_or(id.as_str(), String::as_str)).collect())
}

fn view(user: &User, names: &Names) -> Value {
    json!({
        "id": user.id,
        "name": user.name.expose(),
        "email": user.email.as_ref().map(redress_domain::Personal::expose),
        "issuer": user.issuer,
        "roles": user.roles.iter().map(Role::as_str).collect::<Vec<_>>(),
        "controllers": scope_names(user.controllers.as_deref(), names),
        "given_by_hand": user.given,
        "created_at": time(user.created_at),
        "last_seen_at": time(user.seen_at),
        "disabled_at": user.disabled_at.and_then(time),
    })
}

fn session_view(row: &SessionRow, own: &SessionId) -> Value {
    json!({
        "id": row.id,
        "user": row.user_id,
        "created_at": time(row.created_at),
        "last_seen_at": time(row.seen_at),
        "expires_at": time(row.expires_at),
        "break_glass_until": row.glass_until.and_then(time),
        "current": row.id == *own,
    })
}

fn read(body: &Value, names: &Names) -> Result<UserChange, Problem> {
    let mut faults = Vec::new();
    let mut change = UserChange { roles: None, controllers: None, disabled: false };
    let Some(mut members) = Members::open(body, "", &mut faults) else { return Err(Problem::invalid(&faults)) };
    if members.is_given("roles") {
        let texts = members.texts("roles", &mut faults).unwrap_or_default();
        let mut roles = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            if let Some(role) = Role::parse(text) {
                roles.push(role);
            } else {
                let known = Role::ALL.map(Role::as_str).join(", ");
                let fault = Fault::new(format!("/roles/{i}"), format!("must be one of {known}"));
                super::body::add(&mut faults, vec![fault]);
            }
        }
        change.roles = Some(Roles::new(roles));
    }
    if members.is_given("controllers") {
        let texts = members.texts("controllers", &mut faults).unwrap_or_default();
        let mut ids = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            if let Some((id, _)) = names.iter().find(|(_, name)| *name == text) {
                ids.push(id.clone());
            } else {
                let fault = Fault::new(format!("/controllers/{i}"), "no controller has this name");
                super::body::add(&mut faults, vec![fault]);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        change.controllers = Some(ids);
    }
    change.disabled = members.flag("disabled", &mut faults).unwrap_or(false);
    members.finish(&mut faults);
    let of_one = change.roles.iter().flat_map(Roles::iter).any(Role::is_of_one_controller);
    if of_one && change.controllers.as_ref().is_none_or(|all| all.len() != 1) {
        let detail = "must name exactly one controller for the roles controller_admin and controller_user";
        super::body::add(&mut faults, vec![Fault::new("/controllers", detail)]);
    }
    if faults.is_empty() { Ok(change) } else { Err(Problem::invalid(&faults)) }
}
