//! The requests that are made, and what their refusal means.

use super::session::{CORE, MAIL, Session};
use crate::http::{Answer, Call, Line, Method, unreadable};
use crate::mailmatch::{SEARCHED_BY_KEY, SEARCHED_BY_NAME};
use crate::{Problem, Secret, Trouble};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use url::Url;

const MESSAGE_MAX: usize = 200 << 20;
const MESSAGE_PATIENCE: Duration = Duration::from_mins(3);
/// A page of headers of many messages.
const ANSWER_MAX: usize = 64 << 20;

/// How the user signs in.
pub(super) struct Credentials {
    pub(super) bearer: bool,
    pub(super) username: String,
    pub(super) password: Secret,
}

/// The server, with the session that was read last.
pub(super) struct Api {
    pub(super) line: Line,
    url: Url,
    credentials: Credentials,
    session: Mutex<Option<Session>>,
}

/// The ids that a query found, from a position on.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) ids: Vec<String>,
    pub(super) state: String,
    pub(super) total: Option<u64>,
}

impl Api {
    pub(super) fn new(line: Line, url: Url, credentials: Credentials) -> Self {
        Self { line, url, credentials, session: Mutex::default() }
    }

    /// Reads the session anew.
    pub(super) async fn session(&self) -> Result<Session, Trouble> {
        let answer = self.send(Call::new(Method::GET, self.url.clone())).await?;
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        let session = Session::read(&answer.json()?, &self.url)?;
        for url in [&session.api, &session.blob("a", "b")?] {
            // The server's own answer may name its hosts, but not send the password in clear where it came encrypted.
            if self.url.scheme() == "https" && url.scheme() != "https" {
                return Err(Trouble::Denied(Problem::new(
                    "address_not_allowed",
                    "the server points to an address without TLS; nothing was sent there",
                )));
            }
            self.line.also(url);
        }
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        Ok(session)
    }

    async fn known_session(&self) -> Result<Session, Trouble> {
        let known = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(session) => Ok(session),
            None => self.session().await,
        }
    }

    /// The messages that a filter finds (all, without one), oldest first so that new ones come last.
    pub(super) async fn query(
        &self,
        account: &str,
        filter: Option<&Value>,
        position: u64,
        most: usize,
        newest: bool,
    ) -> Result<Found, Trouble> {
        let mut arguments = json!({
            "accountId": account, "position": position, "limit": most, "calculateTotal": true,
            "sort": [{ "property": "receivedAt", "isAscending": !newest }],
        });
        if let Some(filter) = filter {
            arguments["filter"] = filter.clone();
        }
        let said = self.method("Email/query", arguments).await?;
        let ids = said.get("ids").and_then(Value::as_array).ok_or_else(unreadable)?;
        let ids =
            ids.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
        let state = said.get("queryState").and_then(Value::as_str).ok_or_else(unreadable)?.to_owned();
        let is_page = said.get("position").and_then(Value::as_u64).is_none_or(|at| at == position || ids.is_empty());
        if !is_page {
            return Err(unreadable());
        }
        Ok(Found { ids, state, total: said.get("total").and_then(Value::as_u64) })
    }

    /// How many messages go into one `Email/get`.
    pub(super) async fn get_at_once(&self) -> Result<usize, Trouble> {
        Ok(self.known_session().await?.get_at_once)
    }

    /// The address headers of messages as header sections; those that are gone are left out.
    pub(super) async fn headers(&self, account: &str, ids: &[String]) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
        let names: Vec<&str> = SEARCHED_BY_KEY.iter().chain(SEARCHED_BY_NAME).copied().collect();
        let mut properties: Vec<String> = names.iter().map(|name| format!("header:{name}:asRaw:all")).collect();
        properties.push("id".into());
        let messages = self.get(account, ids, &properties).await?;
        let mut sections = Vec::with_capacity(messages.len());
        for message in &messages {
            let mut section = Vec::new();
            for name in &names {
                // A server may leave `asRaw` out of the name: it is the usual form (RFC 8621 section 4.1.3).
                let of = |form: &str| {
                    message.iter().find(|(key, _)| key.eq_ignore_ascii_case(&format!("header:{name}{form}:all")))
                };
                let (_, values) = of(":asRaw").or_else(|| of("")).ok_or_else(unreadable)?;
                for value in values.as_array().ok_or_else(unreadable)? {
                    let value = value.as_str().ok_or_else(unreadable)?;
                    section.extend_from_slice(format!("{name}: {}\r\n", unfolded(value)).as_bytes());
                }
            }
            sections.push((id_of(message)?, section));
        }
        Ok(sections)
    }

    /// Those of these messages that are there.
    pub(super) async fn still_there(&self, account: &str, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, Trouble> {
        let ids: Vec<String> = ids.iter().cloned().collect();
        let mut there = BTreeSet::new();
        for chunk in ids.chunks(self.get_at_once().await?) {
            for message in self.get(account, chunk, &["id".to_owned()]).await? {
                there.insert(id_of(&message)?);
            }
        }
        Ok(there)
    }

    /// A whole message; none if it is gone.
    pub(super) async fn message(&self, account: &str, id: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let properties = ["id", "blobId", "size"].map(str::to_owned);
        let found = self.get(account, &[id.to_owned()], &properties).await?;
        let Some(message) = found.first() else { return Ok(None) };
        let blob = message.get("blobId").and_then(Value::as_str).ok_or_else(unreadable)?;
        let url = self.known_session().await?.blob(account, blob)?;
        let call = Call { answer_max: MESSAGE_MAX, patience: MESSAGE_PATIENCE, ..Call::new(Method::GET, url) };
        let answer = self.send(call).await?;
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        // Half a message, or a page for people, has another size.
        if message.get("size").and_then(Value::as_u64) == Some(answer.body.len() as u64) {
            Ok(Some(answer.body))
        } else {
            Err(unreadable())
        }
    }

    /// Destroys messages; every id must be accounted for.
    pub(super) async fn destroy(&self, account: &str, ids: &BTreeSet<String>) -> Result<(), Trouble> {
        let ids: Vec<&String> = ids.iter().collect();
        for chunk in ids.chunks(self.known_session().await?.set_at_once) {
            let said = self.method("Email/set", json!({ "accountId": account, "destroy": chunk })).await?;
            let none = Vec::new();
            let destroyed = said.get("destroyed").and_then(Value::as_array).unwrap_or(&none);
            let mut done: BTreeSet<&str> = destroyed.iter().filter_map(Value::as_str).collect();
            for (id, fault) in said.get("notDestroyed").and_then(Value::as_object).into_iter().flatten() {
                match fault.get("type").and_then(Value::as_str) {
                    Some("notFound") => drop(done.insert(id)),
                    other => return Err(method_fault(other.unwrap_or_default())),
                }
            }
            if !chunk.iter().all(|id| done.contains(id.as_str())) {
                return Err(unreadable());
            }
        }
        Ok(())
    }

    async fn get(
        &self,
        account: &str,
        ids: &[String],
        properties: &[String],
    ) -> Result<Vec<Map<String, Value>>, Trouble> {
        let arguments = json!({ "accountId": account, "ids": ids, "properties": properties });
        let said = self.method("Email/get", arguments).await?;
        let list = said.get("list").and_then(Value::as_array).ok_or_else(unreadable)?;
        let found = list
            .iter()
            .map(|message| message.as_object().cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(unreadable)?;
        let gone = said.get("notFound").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let mut told: BTreeSet<String> = gone.map(str::to_owned).collect();
        for message in &found {
            told.insert(id_of(message)?);
        }
        // Neither there nor gone: then the answer is not one.
        if ids.iter().all(|id| told.contains(id)) { Ok(found) } else { Err(unreadable()) }
    }

    /// Calls one method and gives its answer's arguments.
    async fn method(&self, name: &str, arguments: Value) -> Result<Map<String, Value>, Trouble> {
        let account = arguments["accountId"].clone();
        let session = self.known_session().await?;
        let body = json!({ "using": [CORE, MAIL], "methodCalls": [[name, arguments, "0"]] });
        let call = Call { answer_max: ANSWER_MAX, ..Call::new(Method::POST, session.api) };
        let answer = self.send(call.json(&body)).await?;
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        let body = answer.json()?;
        let responses = body.get("methodResponses").and_then(Value::as_array).ok_or_else(unreadable)?;
        let [response] = responses.as_slice() else { return Err(unreadable()) };
        match (response.get(0).and_then(Value::as_str), response.get(1).and_then(Value::as_object), response.get(2)) {
            (Some("error"), Some(fault), _) => {
                Err(method_fault(fault.get("type").and_then(Value::as_str).unwrap_or_default()))
            }
            (Some(said), Some(arguments), Some(id))
                if said == name && id == "0" && arguments.get("accountId") == Some(&account) =>
            {
                Ok(arguments.clone())
            }
            _ => Err(unreadable()),
        }
    }

    async fn send(&self, call: Call) -> Result<Answer, Trouble> {
        let Credentials { bearer, username, password } = &self.credentials;
        let value = if *bearer {
            format!("Bearer {}", password.expose())
        } else {
            format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose())))
        };
        self.line
            .send(call.header("authorization", value).header("accept", "application/json, message/rfc822, */*"))
            .await
    }
}

fn id_of(message: &Map<String, Value>) -> Result<String, Trouble> {
    message.get("id").and_then(Value::as_str).map(str::to_owned).ok_or_else(unreadable)
}

/// A raw value without line breaks; what they may mean is the parser's to see, so a break that folds nothing stays one.
fn unfolded(value: &str) -> String {
    let value = value.trim_end_matches(['\r', '\n']);
    value
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace("\n ", " ")
        .replace("\n\t", "\t")
        .replace('\n', "\r\n ")
        .trim_start()
        .to_owned()
}

/// A request as a whole was refused (RFC 8620 section 3.6.1).
fn refused(answer: &Answer) -> Trouble {
    let body = answer.json().unwrap_or_default();
    let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind == "urn:ietf:params:jmap:error:limit" && matches!(answer.status, 400 | 429) {
        let wait = answer
            .said
            .wait_ms
            .filter(|ms| *ms > 0)
            .map_or(Duration::from_secs(5), |ms| Duration::from_millis(ms as u64));
        return Trouble::Throttled(wait);
    }
    match answer.trouble() {
        // "At once" is what it said before it refused.
        Trouble::Throttled(wait) => Trouble::Throttled(wait.max(Duration::from_secs(1))),
        other => other,
    }
}

/// A method was refused (RFC 8620 sections 3.6.2, 5.3 and 5.5).
fn method_fault(kind: &str) -> Trouble {
    let denied = |code, detail: &str| Trouble::Denied(Problem::new(code, detail));
    match kind {
        "serverUnavailable" | "serverFail" | "serverPartialFail" | "stateMismatch" | "anchorNotFound"
        | "willDestroy" => {
            Trouble::Retry(Problem::new("vendor_error", "the server could not do it now; it is tried again by itself"))
        }
        "rateLimit" => Trouble::Throttled(Duration::from_secs(10)),
        "accountReadOnly" | "forbidden" => {
            denied("permission_missing", "this user may only read in one of the accounts; grant the right to delete")
        }
        "accountNotFound" | "accountNotSupportedByMethod" => {
            denied("account_missing", "an account is gone or has no mail any more; check settings.accounts")
        }
        "unsupportedFilter" | "unsupportedSort" | "unknownMethod" | "invalidArguments" => denied(
            "search_not_supported",
            "the server does not search as RFC 8621 says; raise settings.scan_max above the account's number of messages",
        ),
        _ => denied("refused", "the server refused a method call without a reason that is known"),
    }
}
