//! Signing in at the identity provider: away with a question, back with an answer. A cookie binds both to one browser, so that nobody
//! can be sent here with somebody else's answer.

use super::{From, begin_session, fields, next_of, record_refusal, refused, see_at, told, too_often};
use crate::http::Edge;
use crate::http::people::Peer;
use crate::http::problem::Problem;
use crate::oidc::{Begun, Person, Provider, Refused};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use maud::html;
use redress_domain::ControllerId;
use redress_store::{Identified, SignIn};
use serde_json::json;
use std::time::Duration;

/// The cookie that binds a sign-in under way to a browser.
pub(super) const BINDING: &str = "redress_sign_in";
/// How long somebody may be away at the provider.
const AWAY: Duration = Duration::from_mins(10);

/// `GET /sign-in/oidc`
pub(crate) async fn begin(
    State(edge): State<Edge>,
    From(peer): From,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = fields(query.unwrap_or_default().as_bytes());
    let Some(provider) = edge.people.provider() else { return Err(Problem::not_found()) };
    let now = edge.store.now_ms();
    if !edge.people.beginnings().may(peer, now) {
        return Ok(too_often());
    }
    edge.people.beginnings().count(peer, now);
    let begun = match provider.begin(now).await {
        Ok(begun) => begun,
        Err(refused) => return Ok(not_now(provider, &refused)),
    };
    // Several windows of one browser may be under way.
    let binding = match edge.people.cookie(&headers, BINDING).filter(|text| text.len() == 43) {
        Some(binding) => binding.to_owned(),
        None => URL_SAFE_NO_PAD.encode(redress_store::random::<32>()?),
    };
    let content = json!({
        "nonce": begun.nonce, "verifier": begun.verifier, "binding": binding, "next": next_of(&query),
    });
    let state = edge.store.begin_sign_in(SignIn::Provider, &content, AWAY).await?;
    let mut response = match provider.address(&begun, &state, now).await {
        Ok(address) => see_at(address.as_str()),
        Err(refused) => return Ok(not_now(provider, &refused)),
    };
    edge.people.set_cookie(response.headers_mut(), BINDING, &binding, AWAY);
    Ok(response)
}

/// `GET /sign-in/callback`
pub(crate) async fn callback(
    State(edge): State<Edge>,
    From(peer): From,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = fields(query.unwrap_or_default().as_bytes());
    let Some(provider) = edge.people.provider() else { return Err(Problem::not_found()) };
    let now = edge.store.now_ms();
    let given = |name: &str| query.get(name).map(String::as_str);
    let state = given("state").unwrap_or_default();
    // Whoever comes back with what we gave them is never kept out by the failures of others behind the same proxy.
    let too_many = !edge.people.failures().may(peer, now);
    let Some(kept) = edge.store.look_at_sign_in(SignIn::Provider, state).await? else {
        if too_many {
            return Ok(too_often());
        }
        refused(&edge, peer, "provider", "unknown_state").await?;
        let body = html! {
            p { "This sign-in took longer than ten minutes, was finished before, or did not begin here." }
            p.quiet { "You can mend this: sign in again." }
        };
        return Ok(told(StatusCode::FORBIDDEN, "The sign-in is over", &body));
    };
    let text = |name: &str| kept[name].as_str().unwrap_or_default();
    if edge.people.cookie(&headers, BINDING) != Some(text("binding")) {
        if too_many {
            return Ok(too_often());
        }
        refused(&edge, peer, "provider", "another_browser").await?;
        let body = html! {
            p { "This sign-in began in another browser, or under another address of this service." }
            p.quiet { "You can mend this: sign in again at " bdi { (edge.people.public_url()) } "." }
        };
        return Ok(told(StatusCode::FORBIDDEN, "Not this browser", &body));
    }
    // Only once, whatever it leads to.
    if edge.store.take_sign_in(SignIn::Provider, state).await?.is_none() {
        return Err(Problem::forbidden("this sign-in was finished before"));
    }
    if let Some(error) = given("error") {
        return denied(&edge, peer, provider, error, given("error_description")).await;
    }
    let begun = Begun { nonce: text("nonce").to_owned(), verifier: text("verifier").to_owned() };
    match provider.finish(given("code").unwrap_or_default(), given("iss"), &begun, now).await {
        Ok(person) => {
            let who = identified(&edge, provider, person).await?;
            begin_session(&edge, &who, "provider", text("next")).await
        }
        Err(Refused::Untrusted(why)) => {
            refused(&edge, peer, "provider", "untrusted").await?;
            tracing::warn!(%why, "what came back from the identity provider is not believed");
            let body = html! {
                p { "What came back from " bdi { (provider.host()) } " is not believed: " (why) "." }
                p.quiet { "Sign in again; if it happens again, the operator of this installation can find it in the log." }
            };
            Ok(told(StatusCode::FORBIDDEN, "You are not signed in", &body))
        }
        Err(refused) => Ok(not_now(provider, &refused)),
    }
}

/// Somebody with what their groups give them here. A controller that does not exist gives nothing.
async fn identified(edge: &Edge, provider: &Provider, person: Person) -> Result<Identified, Problem> {
    let granted = provider.grant(&person.groups);
    let mut roles = granted.roles;
    let controllers: Option<Vec<ControllerId>> = match granted.controllers {
        None => None,
        Some(names) => {
            let mut ids = Vec::new();
            for name in names {
                match edge.store.controller_by_name(&name).await? {
                    Some(controller) => ids.push(controller.id),
                    None => {
                        tracing::warn!(controller = %name, "oidc.controllers names a controller that does not exist");
                    }
                }
            }
            if ids.is_empty() {
                roles = redress_domain::Roles::default();
            }
            Some(ids)
        }
    };
    Ok(Identified {
        issuer: provider.issuer().to_owned(),
        subject: person.subject,
        name: person.name,
        email: person.email,
        roles,
        controllers,
    })
}

/// The provider cannot be asked now, or is not as it is configured.
fn not_now(provider: &Provider, refused: &Refused) -> Response {
    let (Refused::Away(why) | Refused::Untrusted(why)) = refused;
    tracing::error!(%why, "nobody can sign in at the identity provider");
    let body = html! {
        p { "Signing in at " bdi { (provider.host()) } " does not work now: " (why) "." }
        p.quiet { "Try again in a moment; if it lasts, the operator of this installation can mend it (" code { "[oidc]" } " and the log)." }
    };
    told(StatusCode::SERVICE_UNAVAILABLE, "Not now", &body)
}

/// The provider said no (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6).
async fn denied(
    edge: &Edge,
    peer: Option<Peer>,
    provider: &Provider,
    error: &str,
    description: Option<&str>,
) -> Result<Response, Problem> {
    let (why, words, who) = match error {
        "access_denied" => (
            "access_denied",
            "The sign-in was not allowed: you cancelled it, or you may not use this service.",
            "Sign in again, or ask who administers your accounts.",
        ),
        "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
            ("interaction_required", "The provider has to ask you something first.", "Sign in again.")
        }
        "temporarily_unavailable" | "server_error" => {
            ("provider_error", "The provider cannot sign anybody in now.", "Try again in a moment.")
        }
        "unauthorized_client" | "invalid_scope" | "invalid_request" | "unsupported_response_type" => (
            "misconfigured",
            "The provider does not take the question as this service asks it.",
            "The operator of this installation can mend it: [oidc], and the client at the provider.",
        ),
        _ => ("other", "The provider refused.", "Ask who administers your accounts."),
    };
    match why {
        "access_denied" | "other" => refused(edge, peer, "provider", why).await?,
        _ => record_refusal(edge, "provider", why).await?,
    }
    let said: String = description.unwrap_or_default().chars().take(300).collect();
    let body = html! {
        p { (words) }
        @if !said.is_empty() { p { bdi { (provider.host()) } " says: " q { bdi { (said) } } } }
        p.quiet { (who) }
    };
    Ok(told(StatusCode::FORBIDDEN, "You are not signed in", &body))
}

/// For tests: what is kept of a sign-in under way.
#[cfg(test)]
pub(super) fn kept(binding: &str) -> serde_json::Value {
    json!({ "nonce": "n", "verifier": "v", "binding": binding, "next": "/requests" })
}
