//! A problem is the one form in which the native API says no: RFC 9457, with every fault of the call at once.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use redress_domain::words::Fault;
use redress_store::Error;
use serde_json::{Map, Value, json};

/// Why a call was not carried out.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<Value>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with what happened and what to do.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), members: Map::new(), headers: Vec::new() }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body cannot be read at all.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The body is longer than it may be.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {limit} bytes"))
    }

    /// Nobody is known by what was sent.
    pub(crate) fn unauthorized(token_given: bool) -> Self {
        let (challenge, detail) = if token_given {
            (r#"Bearer realm="redress", error="invalid_token""#, "the API key is unknown or revoked")
        } else {
            (r#"Bearer realm="redress""#, "send an API key in the header Authorization: Bearer rk_…")
        };
        Self::new(StatusCode::UNAUTHORIZED, detail).header(WWW_AUTHENTICATE, challenge)
    }

    /// A page is only for those who are known: a browser is asked for a name and password, of which the password is an API key.
    pub(crate) fn sign_in_first() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "sign in first")
            .header(WWW_AUTHENTICATE, r#"Basic realm="Redress: API key as password", charset="UTF-8""#)
    }

    /// The key's role does not allow it.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// There is no such thing, or it is another controller's: nobody can tell which.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing here for this controller")
    }

    /// Faults in the body, all of them.
    pub(crate) fn invalid(faults: &[Fault]) -> Self {
        Self::faulty("the body has faults", faults.iter().map(|f| json!({ "pointer": f.pointer, "detail": f.detail })))
    }

    /// Faults in the query, all of them: parameter and detail.
    pub(crate) fn invalid_query(faults: Vec<(String, String)>) -> Self {
        let errors = faults.into_iter().map(|(name, detail)| json!({ "parameter": name, "detail": detail }));
        Self::faulty("the query has faults", errors)
    }

    fn faulty(detail: &str, errors: impl Iterator<Item = Value>) -> Self {
        Self { errors: errors.collect(), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// Not now; the same call may succeed in a moment.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).header(RETRY_AFTER, "2")
    }

    /// Something that should not happen, told without details: they are in the log.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here; it is in the log")
    }

    /// With one more member.
    pub(crate) fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// With a header.
    pub(crate) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found(),
            Error::Conflict(detail) => Self::new(StatusCode::CONFLICT, detail),
            Error::Purged => Self::new(StatusCode::GONE, "the personal data of this request have been destroyed"),
            error if error.is_transient() || error.is_closing() => {
                tracing::warn!(error = %error, "The database is away or busy");
                Self::unavailable("the database is away or busy; try again")
            }
            error => {
                tracing::error!(error = %error, "A call failed in the store");
                Self::internal()
            }
        }
    }
}

/// The problem in an answer, for a page that tells it in words.
#[derive(Debug, Clone)]
pub(crate) struct Told(pub(crate) Value);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), self.status.canonical_reason().unwrap_or("Problem").into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.into());
        if !self.errors.is_empty() {
            body.insert("errors".into(), self.errors.into());
        }
        body.extend(self.members);
        let body = Value::Object(body);
        let mut response = Response::new(Body::from(body.to_string()));
        response.extensions_mut().insert(Told(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(self.headers);
        response
    }
}

/// No route has this path.
pub(crate) async fn unknown_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such path; GET /openapi.json lists them")
}

/// The path is there, with other methods; the framework adds which (`Allow`).
pub(crate) async fn wrong_method() -> Problem {
    let detail = format!("this path does not take that method; the header {ALLOW} says which it takes");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
