//! Signing in: a session for client credentials or for a signed assertion.

use super::{CLIENT_ID, CLIENT_SECRET, USERNAME};
use crate::World;
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use std::collections::HashMap;

fn no(error: &str, description: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error, "error_description": description}))).into_response()
}

/// The token endpoint.
pub(super) fn token(world: &World, host: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return no("invalid_request", "must use application/x-www-form-urlencoded");
    }
    let form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    // As basic authentication, or in the form.
    let basic = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let basic = basic.and_then(|basic| String::from_utf8(STANDARD.decode(basic).ok()?).ok());
    let (id, secret) = basic
        .as_deref()
        .and_then(|basic| basic.split_once(':'))
        .unwrap_or((given("client_id"), given("client_secret")));
    match given("grant_type") {
        "client_credentials" => {
            if id != CLIENT_ID {
                return no("invalid_client_id", "client identifier invalid");
            }
            if secret != CLIENT_SECRET || world.is_revoked() {
                return no("invalid_client", "invalid client credentials");
            }
        }
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            if let Err(refusal) = assertion(world, given("assertion")) {
                return refusal;
            }
        }
        _ => return no("unsupported_grant_type", "grant type not supported"),
    }
    let token = format!("00D7x0000000001!AQ{:020}", world.next_id());
    world.put("_session", &token, json!({"from": world.now_ms()}));
    Json(json!({
        "access_token": token, "instance_url": format!("http://{host}"), "id": format!("http://{host}/id/00D7x0000000001EAA/0057x000000001AAAQ"),
        "token_type": "Bearer", "issued_at": world.now_ms().to_string(), "signature": "c2lnbmF0dXJl", "scope": "api",
    }))
    .into_response()
}

fn assertion(world: &World, assertion: &str) -> Result<(), Response> {
    let bad = |why: &str| no("invalid_grant", why);
    let (signed, signature) = assertion.rsplit_once('.').ok_or_else(|| bad("invalid assertion"))?;
    let (head, claims) = signed.split_once('.').ok_or_else(|| bad("invalid assertion"))?;
    let read = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (Some(head), Some(claims)) = (read(head), read(claims)) else { return Err(bad("invalid assertion")) };
    if head["alg"] != "RS256" {
        return Err(bad("invalid assertion"));
    }
    let app = world.get("_app", claims["iss"].as_str().unwrap_or_default());
    let Some(app) = app else { return Err(no("invalid_client_id", "client identifier invalid")) };
    let key = STANDARD.decode(app["public_key"].as_str().unwrap_or_default()).unwrap_or_default();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let verified = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(signed.as_bytes(), &signature);
    if verified.is_err() || world.is_revoked() {
        return Err(bad("invalid assertion"));
    }
    if !["https://login.salesforce.com", "https://test.salesforce.com"]
        .contains(&claims["aud"].as_str().unwrap_or_default())
    {
        return Err(bad("audience is invalid"));
    }
    // In seconds, at most three minutes ahead (and what clocks differ by).
    let now = world.now_ms() / 1_000;
    if claims["exp"].as_i64().is_none_or(|exp| exp <= now || exp > now + 300) {
        return Err(bad("expired authorization code"));
    }
    if claims["sub"] != USERNAME {
        return Err(bad("user hasn't approved this consumer"));
    }
    Ok(())
}

/// Whether the call has a session that is still open.
pub(super) fn is_open(world: &World, headers: &HeaderMap) -> bool {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("OAuth ")));
    token.is_some_and(|token| world.get("_session", token).is_some()) && !world.is_revoked()
}
