//! The calls of the Gmail and Directory APIs that are made, each with what it costs and what its refusal means.

use super::quota::{DAY_SPENT, Pace, Quota};
use super::read::Seen;
use crate::http::{Answer, Call, Line, Method, SigningKey, Token, rs256, unreadable};
use crate::mailmatch::{SEARCHED_BY_KEY, SEARCHED_BY_NAME};
use crate::mailservice::{endless, mailbox_unavailable, told_as};
use crate::{Problem, Secret, Trouble};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use redress_domain::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// Deleting for good needs the whole scope; `gmail.modify` only reaches the trash.
const MAIL: &str = "https://mail.google.com/";
const DIRECTORY: &str = "https://www.googleapis.com/auth/admin.directory.user.readonly";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Ids that one `batchDelete` takes.
pub(super) const DELETE_AT_ONCE: usize = 1_000;
/// Gmail takes messages up to 150 MB in transfer encoding; in JSON they are a third longer.
const RAW_MAX: usize = 256 << 20;
const RAW_PATIENCE: Duration = Duration::from_mins(3);

/// The APIs, with a token for each mailbox.
pub(super) struct Api {
    pub(super) line: Line,
    pub(super) seen: Seen,
    account: String,
    key_id: Option<String>,
    key: SigningKey,
    token_url: Url,
    base_url: Url,
    directory_url: Url,
    quota: Quota,
    pace: Pace,
    configured: Vec<String>,
    tokens: Mutex<BTreeMap<String, Arc<Token>>>,
}

/// A user of the directory.
#[derive(Debug)]
pub(super) struct User {
    pub(super) address: String,
    pub(super) is_suspended: bool,
    pub(super) has_mailbox: bool,
}

/// One page of a list of messages.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) ids: Vec<String>,
    pub(super) next: Option<String>,
}

impl Api {
    #[expect(clippy::too_many_arguments, reason = "one place makes it")]
    pub(super) fn new(
        line: Line,
        account: String,
        key_id: Option<String>,
        key: SigningKey,
        token_url: Url,
        base_url: Url,
        directory_url: Url,
        quota: Quota,
        configured: Vec<String>,
    ) -> Self {
        let (seen, pace, tokens) = (Seen::default(), Pace::default(), Mutex::default());
        Self { line, seen, account, key_id, key, token_url, base_url, directory_url, quota, pace, configured, tokens }
    }

    /// Every user of the workspace, as this administrator sees them.
    pub(super) async fn users(&self, admin: &str) -> Result<Vec<User>, Trouble> {
        let (mut users, mut token, mut tokens) = (Vec::new(), None::<String>, BTreeSet::new());
        loop {
            let mut url = joined(&self.directory_url, &["admin", "directory", "v1", "users"]);
            url.query_pairs_mut().append_pair("customer", "my_customer").append_pair("maxResults", "500");
            if let Some(token) = &token {
                url.query_pairs_mut().append_pair("pageToken", token);
            }
            let answer = self.send(admin, DIRECTORY, &Call::new(Method::GET, url).costing(0)).await?;
            if !answer.is_success() {
                return Err(match refusal(&answer) {
                    Refusal::Limit(wait) => Trouble::Throttled(wait.unwrap_or(Duration::from_secs(5))),
                    Refusal::DaySpent => Trouble::Throttled(DAY_SPENT),
                    Refusal::Permission => Trouble::Denied(Problem::new(
                        "permission_missing",
                        "the directory may not be read as settings.admin: it must be an administrator who may read users, \
                         and the Admin SDK API must be switched on in the project; or list settings.mailboxes",
                    )),
                    Refusal::NotThere | Refusal::NoMailbox | Refusal::Other => answer.trouble(),
                });
            }
            let body = answer.json()?;
            // Without users there would be no administrator either.
            let page = body.get("users").and_then(Value::as_array).ok_or_else(unreadable)?;
            for user in page {
                let address = user.get("primaryEmail").and_then(Value::as_str).ok_or_else(unreadable)?;
                let is = |key: &str, usual: bool| user.get(key).and_then(Value::as_bool).unwrap_or(usual);
                users.push(User {
                    address: address.to_owned(),
                    is_suspended: is("suspended", false),
                    has_mailbox: is("isMailboxSetup", true),
                });
            }
            let Some(next) = next_page(&body)? else { return Ok(users) };
            if !tokens.insert(next.clone()) {
                return Err(endless());
            }
            token = Some(next);
        }
    }

    /// A page of the messages that a search finds, spam and trash included.
    pub(super) async fn list_page(
        &self,
        mailbox: &str,
        query: Option<&str>,
        token: Option<&str>,
        most: usize,
    ) -> Result<Page, Trouble> {
        let mut url = self.at(mailbox, &["messages"]);
        url.query_pairs_mut().append_pair("includeSpamTrash", "true").append_pair("maxResults", &most.to_string());
        for (name, value) in [("q", query), ("pageToken", token)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let answer = self.call(mailbox, Call::new(Method::GET, url), self.quota.list).await?;
        let body = answer.ok_or_else(|| self.unavailable(mailbox, "Gmail does not know it"))?.json()?;
        // An empty list is left out; the estimate never is.
        let is_list = body.get("messages").is_some_and(Value::is_array)
            || (body.get("messages").is_none() && body.get("resultSizeEstimate").is_some_and(Value::is_u64));
        if !is_list {
            return Err(unreadable());
        }
        let ids = body.get("messages").and_then(Value::as_array).into_iter().flatten();
        let ids = ids.map(|message| message.get("id").and_then(Value::as_str).map(str::to_owned));
        Ok(Page { ids: ids.collect::<Option<_>>().ok_or_else(unreadable)?, next: next_page(&body)? })
    }

    /// The address headers of a message; none if it is gone.
    pub(super) async fn headers(&self, mailbox: &str, id: &str) -> Result<Option<Vec<(String, String)>>, Trouble> {
        let mut url = self.at(mailbox, &["messages", id]);
        url.query_pairs_mut().append_pair("format", "metadata");
        for name in SEARCHED_BY_KEY.iter().chain(SEARCHED_BY_NAME) {
            url.query_pairs_mut().append_pair("metadataHeaders", name);
        }
        let Some(answer) = self.call(mailbox, Call::new(Method::GET, url), self.quota.get).await? else {
            return Ok(None);
        };
        let body = answer.json()?;
        if body.get("id").and_then(Value::as_str) != Some(id) {
            return Err(unreadable());
        }
        let payload = body.get("payload").and_then(Value::as_object).ok_or_else(unreadable)?;
        let headers = match payload.get("headers") {
            None => return Ok(Some(Vec::new())),
            Some(headers) => headers.as_array().ok_or_else(unreadable)?,
        };
        let text = |header: &Value, key: &str| header.get(key).and_then(Value::as_str).map(str::to_owned);
        let pairs = headers.iter().map(|header| Some((text(header, "name")?, text(header, "value")?)));
        pairs.collect::<Option<Vec<_>>>().map(Some).ok_or_else(unreadable)
    }

    /// Whether a message is there.
    pub(super) async fn is_there(&self, mailbox: &str, id: &str) -> Result<bool, Trouble> {
        let mut url = self.at(mailbox, &["messages", id]);
        url.query_pairs_mut().append_pair("format", "minimal");
        let Some(answer) = self.call(mailbox, Call::new(Method::GET, url), self.quota.get).await? else {
            return Ok(false);
        };
        if answer.json()?.get("id").and_then(Value::as_str) == Some(id) { Ok(true) } else { Err(unreadable()) }
    }

    /// A whole message; none if it is gone.
    pub(super) async fn raw(&self, mailbox: &str, id: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let mut url = self.at(mailbox, &["messages", id]);
        url.query_pairs_mut().append_pair("format", "raw");
        let call = Call { answer_max: RAW_MAX, patience: RAW_PATIENCE, ..Call::new(Method::GET, url) };
        let Some(answer) = self.call(mailbox, call, self.quota.get).await? else { return Ok(None) };
        let body = answer.json()?;
        let raw =
            body.get("raw").and_then(Value::as_str).filter(|_| body.get("id").and_then(Value::as_str) == Some(id));
        let raw = raw.ok_or_else(unreadable)?;
        let bytes = URL_SAFE.decode(raw).or_else(|_| URL_SAFE_NO_PAD.decode(raw));
        bytes.map(Some).map_err(|_| unreadable())
    }

    /// Deletes messages for good. Gmail says the same whether they were there or not.
    pub(super) async fn batch_delete(&self, mailbox: &str, ids: &[&String]) -> Result<(), Trouble> {
        let url = self.at(mailbox, &["messages", "batchDelete"]);
        let call = Call::new(Method::POST, url).json(&json!({ "ids": ids }));
        match self.call(mailbox, call, self.quota.batch_delete).await? {
            Some(_) => Ok(()),
            None => Err(self.unavailable(mailbox, "Gmail does not know it")),
        }
    }

    fn at(&self, mailbox: &str, rest: &[&str]) -> Url {
        let path: Vec<&str> = ["gmail", "v1", "users", mailbox].into_iter().chain(rest.iter().copied()).collect();
        joined(&self.base_url, &path)
    }

    fn unavailable(&self, mailbox: &str, why: &str) -> Trouble {
        mailbox_unavailable(&told_as(&self.configured, mailbox), why)
    }

    /// Makes a call for a mailbox within its minute; none for 404.
    async fn call(&self, mailbox: &str, call: Call, units: u64) -> Result<Option<Answer>, Trouble> {
        self.pace.take(mailbox, units, self.quota.mailbox).await?;
        let answer = self.send(mailbox, MAIL, &call.costing(units)).await?;
        if answer.is_success() {
            self.pace.taken(mailbox);
            return Ok(Some(answer));
        }
        match refusal(&answer) {
            Refusal::NotThere => Ok(None),
            Refusal::Limit(wait) => Err(self.pace.refused(mailbox, wait)),
            Refusal::DaySpent => Err(self.pace.refused(mailbox, Some(DAY_SPENT))),
            Refusal::NoMailbox => {
                Err(self.unavailable(mailbox, "its user has no Gmail (a licence or the service is off)"))
            }
            Refusal::Permission => Err(Trouble::Denied(Problem::new(
                "permission_missing",
                format!(
                    "Gmail does not permit this call: the Gmail API must be switched on in the project, and the domain be \
                     delegated to the service account with the scope {MAIL}"
                ),
            ))),
            Refusal::Other => Err(answer.trouble()),
        }
    }

    /// Makes a call as this user, with a new token if the one that is kept was refused.
    async fn send(&self, user: &str, scope: &str, call: &Call) -> Result<Answer, Trouble> {
        let slot = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(tokens.entry(format!("{scope} {user}")).or_default())
        };
        let mut again = true;
        loop {
            let token = slot.get(self.sign_in(user, scope)).await?;
            let call = call.clone().header("authorization", format!("Bearer {}", token.expose()));
            let answer = self.line.send(call).await?;
            if answer.status != 401 {
                return Ok(answer);
            }
            slot.refused(&token).await;
            if !std::mem::take(&mut again) {
                return Ok(answer);
            }
        }
    }

    /// A token with which the service account acts as this user.
    async fn sign_in(&self, user: &str, scope: &str) -> Result<(Secret, Option<Duration>), Trouble> {
        let now = SystemClock.now_ms() / 1_000;
        let header = self.key_id.as_ref().map_or_else(|| json!({}), |id| json!({ "kid": id }));
        let claims = json!({
            "iss": self.account, "sub": user, "scope": scope, "aud": self.token_url.as_str(), "iat": now, "exp": now + 3_600,
        });
        let assertion = rs256(&self.key, &header, &claims);
        let form = [("grant_type", GRANT), ("assertion", assertion.as_str())];
        let call = Call::new(Method::POST, self.token_url.clone()).form(&form).costing(0);
        let answer = self.line.send(call).await?;
        if !answer.is_success() {
            return Err(self.refused_sign_in(user, scope, &answer));
        }
        let body = answer.json()?;
        let token = body.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty());
        let life =
            body.get("expires_in").and_then(Value::as_u64).map(|seconds| Duration::from_secs(seconds.min(86_400)));
        Ok((Secret::from(token.ok_or_else(unreadable)?.to_owned()), life))
    }

    fn refused_sign_in(&self, user: &str, scope: &str, answer: &Answer) -> Trouble {
        if !matches!(answer.status, 400 | 401 | 403) {
            return answer.trouble();
        }
        let denied = |code, detail: String| Trouble::Denied(Problem::new(code, detail));
        let Ok(body) = answer.json() else { return answer.trouble() };
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let about = text("error_description");
        match text("error") {
            "unauthorized_client" | "access_denied" | "invalid_scope" => denied(
                "delegation_missing",
                format!(
                    "the workspace has not delegated its domain to this service account for the scope {scope}: in the Admin \
                     console under Security, API controls, Domain-wide delegation, add its client id with that scope"
                ),
            ),
            // Gmail's words are documented nowhere; what is not about the token itself is about the user.
            "invalid_grant" if about.contains("Token must be") || about.contains("iat") || about.contains("exp") => denied(
                "clock_wrong",
                "Google refuses the sign-in's time; set this machine's clock".into(),
            ),
            "invalid_grant" if about.contains("email or User ID") || about.contains("disabled") => {
                self.unavailable(user, "its user is suspended, deleted or not of this workspace")
            }
            _ => denied(
                "credentials_refused",
                "Google refused the service account's key; set secrets.private_key anew with `redress apply`, then check the system".into(),
            ),
        }
    }
}

/// What a refusal means.
enum Refusal {
    NotThere,
    Limit(Option<Duration>),
    DaySpent,
    NoMailbox,
    Permission,
    Other,
}

fn refusal(answer: &Answer) -> Refusal {
    let body = answer.json().unwrap_or_default();
    let reason = body.pointer("/error/errors/0/reason").and_then(Value::as_str).unwrap_or_default();
    let wait = answer.said.wait_ms.filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms as u64));
    // A page of some proxy is not Gmail's word that the message is gone.
    let says_gmail = body.pointer("/error/code").and_then(Value::as_u64) == Some(u64::from(answer.status));
    match (answer.status, reason) {
        (404, _) if says_gmail => Refusal::NotThere,
        (403 | 429, "dailyLimitExceeded") => Refusal::DaySpent,
        (429, _) | (403, "rateLimitExceeded" | "userRateLimitExceeded" | "quotaExceeded") => Refusal::Limit(wait),
        (400, "failedPrecondition") => Refusal::NoMailbox,
        (403, _) => Refusal::Permission,
        _ => Refusal::Other,
    }
}

fn next_page(body: &Value) -> Result<Option<String>, Trouble> {
    match body.get("nextPageToken") {
        None => Ok(None),
        Some(Value::String(token)) if !token.is_empty() => Ok(Some(token.clone())),
        Some(_) => Err(unreadable()),
    }
}

/// The URL with these path segments, encoded.
fn joined(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}
