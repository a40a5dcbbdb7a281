//! A session is a token and the instance it is for; it ends when Salesforce likes, and is then opened anew once.
//!
//! Calls go to the instance that the sign-in named, if it is Salesforce's (or the host that was set). Each answer tells how
//! much of the day's calls the whole org has used: from the configured share on, nothing more is sent.

use super::setup::{Grant, Setup, is_salesforce};
use crate::http::{Answer, Call, Line, Method, rs256};
use crate::{Feedback, Gate, Problem, Secret, Told, Trouble};
use redress_domain::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;
use url::Url;

/// What is left of a day is believed for so long (ms): others use the org too.
const LEFT_FOR_MS: i64 = 3_600_000;
/// After so long it is looked again whether the day has more.
const LOOK_AGAIN: Duration = Duration::from_mins(15);
/// Salesforce refuses without saying for how long.
const SPENT: Duration = Duration::from_mins(30);

#[derive(Clone)]
struct Session {
    token: Secret,
    at: Url,
}

/// The way to one org.
pub(super) struct Org {
    line: Line,
    base: Url,
    session: AsyncMutex<Option<Session>>,
    share: f64,
    spent_until: Mutex<Option<Instant>>,
    told: OnceLock<Arc<dyn Told>>,
}

/// A problem that somebody must mend.
pub(super) fn denied(code: &'static str, detail: impl Into<String>) -> Trouble {
    Trouble::Denied(Problem::new(code, detail))
}

/// A problem that may pass.
pub(super) fn passing(code: &'static str, detail: impl Into<String>) -> Trouble {
    Trouble::Retry(Problem::new(code, detail))
}

/// The answer is not what Salesforce promises.
pub(super) fn unreadable() -> Trouble {
    crate::http::unreadable()
}

/// What to send.
pub(super) enum Body {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// Rows of a bulk job.
    Csv(String),
}

impl Org {
    /// The way there; nothing is sent yet.
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            line: Line::new(&setup.network, [&setup.base]),
            base: setup.base.clone(),
            session: AsyncMutex::new(None),
            share: setup.daily_share,
            spent_until: Mutex::new(None),
            told: OnceLock::new(),
        }
    }

    /// Whom to tell about limits.
    pub(super) fn listen(&self, told: Arc<dyn Told>) {
        let _the_first_one_stays = self.told.set(Arc::clone(&told));
        self.line.listen(told);
    }

    /// Whom to ask before each call.
    pub(super) fn ask_before_calls(&self, gate: Arc<dyn Gate>) {
        self.line.ask_before_calls(gate);
    }

    async fn session(&self, setup: &Setup) -> Result<Session, Trouble> {
        let mut kept = self.session.lock().await;
        if let Some(session) = &*kept {
            return Ok(session.clone());
        }
        let session = self.sign_in(setup).await?;
        *kept = Some(session.clone());
        Ok(session)
    }

    async fn sign_in(&self, setup: &Setup) -> Result<Session, Trouble> {
        let mut pairs = vec![("client_id", setup.client_id.as_str())];
        let assertion;
        match &setup.grant {
            Grant::ClientCredentials { client_secret } => {
                pairs.extend([("grant_type", "client_credentials"), ("client_secret", client_secret.expose())]);
            }
            Grant::Jwt { username, audience, key } => {
                let exp = SystemClock.now_ms() / 1_000 + 170;
                let claims = json!({"iss": setup.client_id, "sub": username, "aud": audience, "exp": exp});
                assertion = rs256(key, &json!({}), &claims);
                pairs = vec![
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", assertion.as_str()),
                ];
            }
        }
        let url = self.base.join("/services/oauth2/token").map_err(|_| unreadable())?;
        let answer = self.line.send(Call::new(Method::POST, url).form(&pairs).costing(0)).await?;
        if matches!(answer.status, 400 | 401 | 403) {
            // An HTML page with 403 is a firewall's, not the org's.
            let refused = answer.json().is_ok_and(|body| body["error"].is_string());
            return Err(if refused { refused_credentials() } else { answer.trouble() });
        }
        if !answer.is_success() {
            return Err(answer.trouble());
        }
        let body = answer.json()?;
        let token = body["access_token"].as_str().filter(|token| !token.is_empty() && !token.contains(['\r', '\n']));
        let at = body["instance_url"].as_str().and_then(|at| Url::parse(at).ok());
        let (Some(token), Some(at)) = (token, at) else { return Err(unreadable()) };
        let same = at.scheme() == self.base.scheme()
            && at.host_str() == self.base.host_str()
            && at.port_or_known_default() == self.base.port_or_known_default();
        let theirs =
            at.scheme() == "https" && is_salesforce(&at) && at.username().is_empty() && at.password().is_none();
        if !same && !theirs {
            return Err(denied(
                "host_not_pinned",
                "the sign-in named an instance that is not Salesforce's; nothing was sent there",
            ));
        }
        self.line.also(&at);
        Ok(Session { token: Secret::from(token), at })
    }

    /// Makes a call; `path` begins with a slash and is Salesforce's own or made of names and ids.
    pub(super) async fn call(
        &self,
        setup: &Setup,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Body,
    ) -> Result<Answer, Trouble> {
        let mut again = true;
        loop {
            self.has_calls_left()?;
            let session = self.session(setup).await?;
            let mut url = session.at.join(path).map_err(|_| unreadable())?;
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            let mut call = Call::new(method.clone(), url)
                .header("authorization", format!("Bearer {}", session.token.expose()))
                .header("accept", if matches!(body, Body::Csv(_)) { "*/*" } else { "application/json, text/csv" });
            match body {
                Body::None => {}
                Body::Json(body) => call = call.json(body),
                Body::Csv(rows) => call = call.body("text/csv; charset=UTF-8", rows.clone()),
            }
            let answer = self.line.send(call).await?;
            self.note(&answer);
            if answer.status != 401 {
                return Ok(answer);
            }
            let mut kept = self.session.lock().await;
            if kept.as_ref().is_some_and(|known| known.token == session.token) {
                *kept = None;
            }
            if !again {
                return Err(refused_credentials());
            }
            again = false;
        }
    }

    /// Makes a call that must succeed with JSON.
    pub(super) async fn json(
        &self,
        setup: &Setup,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Body,
    ) -> Result<Value, Trouble> {
        let answer = self.call(setup, method, path, query, body).await?;
        if answer.is_success() { answer.json() } else { Err(trouble(&answer)) }
    }

    fn has_calls_left(&self) -> Result<(), Trouble> {
        let mut until = self.spent_until.lock().unwrap_or_else(PoisonError::into_inner);
        match *until {
            Some(at) if Instant::now() < at => Err(Trouble::Throttled(at - Instant::now() + Duration::from_secs(1))),
            _ => {
                *until = None;
                Ok(())
            }
        }
    }

    fn note(&self, answer: &Answer) {
        let Some((used, most)) = answer.header("sforce-limit-info").and_then(usage) else { return };
        #[expect(clippy::cast_precision_loss, reason = "no org has 2^52 calls a day")]
        let ours = (most as f64 * self.share + 1e-6).floor() as u64;
        let left = ours.saturating_sub(used);
        if left == 0 {
            *self.spent_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + LOOK_AGAIN);
        }
        if let Some(told) = self.told.get() {
            told.told(Feedback { wait_ms: None, left: Some((left, LEFT_FOR_MS)) });
        }
    }
}

/// Reads `api-usage=18/5000`, whatever follows it.
fn usage(header: &str) -> Option<(u64, u64)> {
    let usage = header.split([';', ',']).find_map(|part| part.trim().strip_prefix("api-usage="))?;
    let (used, most) = usage.split_once('/')?;
    let (used, most) = (used.trim().parse().ok()?, most.trim().parse().ok()?);
    (most > 0).then_some((used, most))
}

fn refused_credentials() -> Trouble {
    denied(
        "credentials_refused",
        "Salesforce refused to sign in; check client id, secret or key, the user it runs as and that the user has approved the app, then apply the system again",
    )
}

/// What a call that failed means.
pub(super) fn trouble(answer: &Answer) -> Trouble {
    let body = answer.json().unwrap_or_default();
    let code = body[0]["errorCode"].as_str().unwrap_or_default();
    if answer.status == 401 {
        return refused_credentials();
    }
    of_code(code).unwrap_or_else(|| match answer.status {
        414 | 431 => {
            denied("call_too_long", "the call is longer than Salesforce takes; this is a fault of the connector")
        }
        403 if !code.is_empty() => not_permitted(),
        _ => answer.trouble(),
    })
}

fn not_permitted() -> Trouble {
    denied(
        "permission_missing",
        "the user may not do this; give it API access, and read and delete rights on every object and record that is set up (View All, Modify All)",
    )
}

/// What an error code means, whether of a call or of one record in it; none if it is not known.
pub(super) fn of_code(code: &str) -> Option<Trouble> {
    Some(match code {
        "REQUEST_LIMIT_EXCEEDED" => Trouble::Throttled(SPENT),
        "UNABLE_TO_LOCK_ROW" => {
            passing("record_locked", "somebody else changes a record at the moment; it is tried again by itself")
        }
        "SERVER_UNAVAILABLE"
        | "UNKNOWN_EXCEPTION"
        | "QUERY_TIMEOUT"
        | "INVALID_QUERY_LOCATOR"
        | "API_CURRENTLY_DISABLED" => {
            passing("vendor_error", "Salesforce could not answer; it is tried again by itself")
        }
        "DELETE_FAILED" | "DEPENDENCY_EXISTS" | "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY" => denied(
            "delete_blocked",
            "Salesforce keeps a record because others refer to it; delete those by hand or name their object in settings.children, then retry",
        ),
        "FEATURENOTENABLED" | "FUNCTIONALITY_NOT_ENABLED" => denied(
            "hard_delete_not_permitted",
            "the user lacks the permission Bulk API Hard Delete; give it, or set delete = \"soft\"",
        ),
        "INSUFFICIENT_ACCESS"
        | "INSUFFICIENT_ACCESS_OR_READONLY"
        | "API_DISABLED_FOR_ORG"
        | "ENTITY_FAILED_IFLASTMODIFIED_ON_UPDATE" => not_permitted(),
        "MALFORMED_QUERY" | "INVALID_FIELD" | "INVALID_TYPE" | "INVALIDENTITY" | "NOT_FOUND" => denied(
            "object_missing",
            "Salesforce does not know an object or a field that is set up, or hides it from the user; check settings.objects and the user's rights",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_whatever_follows_it_and_nonsense_is_passed_over() {
        assert_eq!(usage("api-usage=18/5000"), Some((18, 5_000)));
        assert_eq!(usage("api-usage=25/5000; per-app-api-usage=17/250(appName=sample)"), Some((25, 5_000)));
        for nonsense in ["", "api-usage=", "api-usage=-1/5000", "api-usage=1/0", "api-usage=x/y", "usage=1/2"] {
            assert_eq!(usage(nonsense), None, "{nonsense}");
        }
    }
}
