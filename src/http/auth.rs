//! A caller is one API key of one controller; what it may do is an argument of the handler, so that none can forget to ask.

use super::Edge;
use super::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_store::Caller;

/// Any key: sees states and the audit log.
pub(crate) struct Reader(pub(crate) Caller);

/// A key that submits, decides and fetches answers.
pub(crate) struct Operator(pub(crate) Caller);

/// A key that changes connected systems and keys.
pub(crate) struct Administrator(pub(crate) Caller);

async fn caller(parts: &Parts, edge: &Edge) -> Result<Caller, Problem> {
    let Some(token) = credentials(&parts.headers, "bearer") else { return Err(Problem::unauthorized(false)) };
    edge.store.authenticate(token).await?.ok_or_else(|| Problem::unauthorized(true))
}

/// What follows the scheme in the one `Authorization` header.
fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (given, rest) = value.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// The caller of a page: a browser sends the API key as the password of HTTP Basic.
pub(crate) async fn page_caller(headers: &HeaderMap, edge: &Edge) -> Result<Option<Caller>, Problem> {
    let Some(pair) = credentials(headers, "basic").and_then(|text| STANDARD.decode(text).ok()) else { return Ok(None) };
    let Ok(pair) = String::from_utf8(pair) else { return Ok(None) };
    let Some((_, password)) = pair.split_once(':') else { return Ok(None) };
    Ok(edge.store.authenticate(password).await?)
}

impl FromRequestParts<Edge> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        caller(parts, edge).await.map(Reader)
    }
}

impl FromRequestParts<Edge> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let caller = caller(parts, edge).await?;
        if caller.role.may_act() {
            Ok(Operator(caller))
        } else {
            Err(Problem::forbidden(format!("a key with the role {} may not do this", caller.role.as_str())))
        }
    }
}

impl FromRequestParts<Edge> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let caller = caller(parts, edge).await?;
        if caller.role.may_administer() {
            Ok(Administrator(caller))
        } else {
            let role = caller.role.as_str();
            Err(Problem::forbidden(format!("a key with the role {role} may not do this; controller_admin is needed")))
        }
    }
}
