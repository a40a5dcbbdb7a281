//! Standing webhook endpoints of a controller: made, listed, tried out, given new secrets, enabled again and removed. A secret is
//! shown once; a whole address only to whoever may connect systems, since its path is often a secret too.

use super::auth::Caller;
use super::body::Members;
use super::path::NamePath;
use super::problem::Problem;
use super::requests::no_members;
use super::view::time;
use super::{Edge, json};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use redress_domain::stage::Stage;
use redress_domain::words::Fault;
use redress_domain::{Personal, WebhookId};
use redress_store::{NewWebhook, Webhook};
use serde_json::{Value, json};

/// What the types of our events begin with, before the status.
const EVENT_PREFIX: &str = "dsr.request.";
/// Statuses that are not stages.
const OVERLAYS: [&str; 2] = ["needs_attention", "on_hold"];
/// The longest description, in bytes.
const DESCRIPTION_MAX: usize = 200;

/// `GET /v1/webhooks`
pub(crate) async fn list(caller: Caller, State(edge): State<Edge>) -> Result<Json<Value>, Problem> {
    let all = edge.store.webhooks(&caller.controller_id).await?;
    Ok(Json(json!({ "webhooks": all.iter().map(view).collect::<Vec<_>>() })))
}

/// `GET /v1/webhooks/{id}`
pub(crate) async fn show(
    caller: Caller,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
) -> Result<Json<Value>, Problem> {
    let webhook = edge.store.webhook(&caller.controller_id, &read(&id)?).await?;
    Ok(Json(with_url(&webhook)))
}

/// `POST /v1/webhooks`
pub(crate) async fn create(
    caller: Caller,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let body = json::read(&headers, body, edge.body_limit, edge.patience()).await?;
    let new = new_webhook(&edge, &body).map_err(|faults| Problem::invalid(&faults))?;
    let (webhook, secret) = edge.store.create_webhook(&caller.controller_id, &new, &caller.actor).await?;
    Ok((StatusCode::CREATED, Json(with_secret(&webhook, &secret))))
}

/// `DELETE /v1/webhooks/{id}`
pub(crate) async fn remove(
    caller: Caller,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
) -> Result<StatusCode, Problem> {
    edge.store.remove_webhook(&caller.controller_id, &read(&id)?, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/webhooks/{id}/rotate`
pub(crate) async fn rotate(
    caller: Caller,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    no_members(&edge, &headers, body).await?;
    let (webhook, secret) = edge.store.rotate_webhook(&caller.controller_id, &read(&id)?, &caller.actor).await?;
    Ok(Json(with_secret(&webhook, &secret)))
}

/// `POST /v1/webhooks/{id}/enable`
pub(crate) async fn enable(
    caller: Caller,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    no_members(&edge, &headers, body).await?;
    let id = read(&id)?;
    let statuses = edge.store.enable_webhook(&caller.controller_id, &id, &caller.actor).await?;
    let mut view = view(&edge.store.webhook(&caller.controller_id, &id).await?);
    view["sent_again"] = json!(statuses);
    Ok(Json(view))
}

/// `POST /v1/webhooks/{id}/test`
pub(crate) async fn test(
    caller: Caller,
    NamePath(id): NamePath,
    State(edge): State<Edge>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    no_members(&edge, &headers, body).await?;
    let id = read(&id)?;
    edge.store.webhook(&caller.controller_id, &id).await?;
    match (edge.test_webhook)(caller.controller_id, id, caller.actor).await {
        Ok(status) => Ok(Json(json!({ "taken": true, "status": status }))),
        Err(detail) => Err(Problem::new(StatusCode::CONFLICT, format!("the test was not taken: {detail}"))),
    }
}

fn read(id: &str) -> Result<WebhookId, Problem> {
    WebhookId::parse(id).map_err(|_| Problem::not_found())
}

fn new_webhook(edge: &Edge, body: &Value) -> Result<NewWebhook, Vec<Fault>> {
    let mut faults = Vec::new();
    let (mut url, mut events, mut description) = (None, None, None);
    if let Some(mut members) = Members::open(body, "", &mut faults) {
        url = members.text("url", &mut faults);
        events = members.texts("events", &mut faults);
        description = members.text("description", &mut faults);
        members.finish(&mut faults);
    }
    let mut later = Vec::new();
    let mut host = None;
    match &url {
        None => {
            later
                .push(Fault::new("/url", "must be the address of the endpoint, such as https://hooks.example.com/dsr"));
        }
        Some(url) => match (edge.check_callback)(url) {
            Err(reason) => later.push(Fault::new("/url", reason)),
            Ok(()) => host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)),
        },
    }
    let mut wanted: Vec<String> = Vec::new();
    for (n, event) in events.iter().flatten().enumerate() {
        match status(event) {
            Some(status) if !wanted.iter().any(|known| known == status) => wanted.push(status.to_owned()),
            Some(_) => {}
            None => later.push(Fault::new(
                format!("/events/{n}"),
                format!("must be a status of requests: {}", statuses().collect::<Vec<_>>().join(", ")),
            )),
        }
    }
    if description.as_deref().is_some_and(|text| text.len() > DESCRIPTION_MAX || text.chars().any(char::is_control)) {
        let detail = format!("must be one line of at most {DESCRIPTION_MAX} bytes");
        later.push(Fault::new("/description", detail));
    }
    super::body::add(&mut faults, later);
    match (url, host) {
        (Some(url), Some(host)) if faults.is_empty() => Ok(NewWebhook {
            url: Personal::from(url),
            host,
            events: wanted,
            description: description.filter(|text| !text.trim().is_empty()).map(Personal::from),
        }),
        _ => Err(faults),
    }
}

/// Every status that can be told.
pub(crate) fn statuses() -> impl Iterator<Item = &'static str> {
    Stage::ALL.iter().map(|stage| stage.as_str()).chain(OVERLAYS)
}

/// The status that an event's name means, by itself or as the type that our messages carry.
fn status(event: &str) -> Option<&'static str> {
    let event = event.strip_prefix(EVENT_PREFIX).unwrap_or(event);
    statuses().find(|status| *status == event)
}

/// An endpoint without its path and its secrets.
fn view(webhook: &Webhook) -> Value {
    json!({
        "id": webhook.id,
        "origin": origin(webhook),
        "description": webhook.description.as_ref().map(Personal::expose),
        "events": webhook.events,
        "state": if webhook.disabled_at.is_some() { "disabled" } else if webhook.failing_since.is_some() { "failing" } else { "enabled" },
        "failures": webhook.failures,
        "failing_since": webhook.failing_since.map(time),
        "last_answer": webhook.answer,
        "last_answer_at": webhook.answered_at.map(time),
        "disabled_at": webhook.disabled_at.map(time),
        "disabled_because": webhook.disabled_why,
        "old_secret_signs_until": webhook.old_secret_until.map(time),
        "created_at": time(webhook.created_at),
    })
}

/// Scheme, host and port of an endpoint: what of its address is no secret.
pub(crate) fn origin(webhook: &Webhook) -> String {
    url::Url::parse(webhook.url.expose()).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
}

fn with_url(webhook: &Webhook) -> Value {
    let mut view = view(webhook);
    view["url"] = json!(webhook.url.expose());
    view
}

fn with_secret(webhook: &Webhook, secret: &Personal<String>) -> Value {
    let mut view = with_url(webhook);
    view["secret"] = json!(secret.expose());
    view
}
