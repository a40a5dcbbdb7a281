//! A draft is a request filled in for one person, record or batch; sent, it becomes a reply whose meaning is known.

use super::classify::{self, Meaning, Seen};
use super::format::Class;
use super::plan::{FORM, Plan, Request};
use super::settings::Reach;
use super::template::{RenderFault, Scope};
use super::{auth::Sign, pointer};
use crate::http::{Answer, Call, Line, Method, unreadable};
use crate::{Problem, Trouble};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// A longer URL is refused by many servers.
pub(super) const URL_MAX: usize = 8_192;

/// Everything that one connected system is reached with.
pub(super) struct Engine {
    pub(super) plan: Arc<Plan>,
    pub(super) line: Line,
    pub(super) reach: Reach,
    pub(super) max_matches: u64,
    /// So many calls of one batch are under way at the same time.
    pub(super) in_flight: usize,
}

/// A request, filled in.
#[derive(Clone)]
pub(super) struct Draft {
    method: Method,
    pub(super) url: Url,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<Value>,
    content_type: String,
    cost: u64,
    host: Option<String>,
    as_post: bool,
}

/// An answer that says what was asked for: it was done, or the record is gone.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// The body; null if there is none.
    pub(super) json: Value,
    pub(super) gone: bool,
    /// Whether a rule of the manifest (and not the bare status) said so.
    pub(super) by_rule: bool,
}

/// An answer that does not.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) trouble: Trouble,
    /// The call itself is wrong: another one may be right.
    pub(super) invalid: bool,
    pub(super) status: u16,
    /// Whether a rule of the manifest said so.
    pub(super) by_rule: bool,
}

impl Refusal {
    /// Whether it is a bare status among these, of which no rule says anything else.
    pub(super) fn is_one_of(&self, statuses: &[u16]) -> bool {
        !self.by_rule && statuses.contains(&self.status)
    }
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, invalid: false, status: 0, by_rule: false }
    }
}

/// One verb's calls for one batch. A vendor that is down, throttles or refuses the credentials is asked once and not again
/// for each person.
pub(super) struct Run<'e> {
    pub(super) engine: &'e Engine,
    halted: Mutex<Option<Trouble>>,
}

impl<'e> Run<'e> {
    pub(super) fn of(engine: &'e Engine) -> Self {
        Self { engine, halted: Mutex::new(None) }
    }

    /// Makes a call and says what its answer means.
    pub(super) async fn exchange(&self, draft: &Draft) -> Result<Reply, Refusal> {
        let lock = || self.halted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trouble) = lock().clone() {
            return Err(trouble.into());
        }
        let answered = self.engine.exchange(draft).await;
        if let Err(refusal) = &answered
            && stops(&refusal.trouble)
        {
            lock().get_or_insert_with(|| refusal.trouble.clone());
        }
        answered
    }
}

/// Whether the next call would fare no better.
fn stops(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Throttled(_) => true,
        Trouble::Retry(problem) => matches!(problem.code, "unreachable" | "timeout"),
        Trouble::Denied(problem) => {
            matches!(problem.code, "credentials_refused" | "host_not_pinned" | "address_not_allowed")
        }
        _ => false,
    }
}

impl Engine {
    /// A scope with what every template may name.
    pub(super) fn scope(&self) -> Scope<'_> {
        self.reach.scope()
    }

    /// Fills a request in.
    pub(super) fn draft(&self, request: &Request, scope: &Scope<'_>) -> Result<Draft, RenderFault> {
        Draft::of(request, scope, self.reach.base(request.host.as_deref()))
    }

    async fn exchange(&self, draft: &Draft) -> Result<Reply, Refusal> {
        let sign = self.reach.sign(draft.host.as_deref());
        let mut renewed = false;
        loop {
            let signed = sign.headers(&self.line).await?;
            let call = draft.call().header(signed.header.0.clone(), signed.header.1.clone());
            let answer = self.line.send(call).await?;
            let (meaning, json) = self.meaning(&answer);
            let token_refused = meaning.class == Class::TokenExpired || answer.status == 401 && !meaning.by_rule;
            if token_refused && !renewed && sign.refused(&signed).await {
                renewed = true;
                continue;
            }
            let answered = reply(&meaning, answer, json);
            // Headers were passed on where they came in; what only the body tells is passed on here.
            if let Err(Refusal { trouble: Trouble::Throttled(wait), by_rule: true, .. }) = &answered {
                self.line.told_to_wait(*wait);
            }
            return answered;
        }
    }

    fn meaning(&self, answer: &Answer) -> (Meaning, Option<Value>) {
        let json = if answer.body.is_empty() { None } else { answer.json().ok() };
        let wait = answer.said.wait_ms.map(|ms| Duration::from_millis(ms.max(0) as u64));
        let seen = Seen { status: answer.status, headers: &answer.headers, json: json.as_ref(), wait };
        (classify::response(&self.plan.file.outcomes, seen), json)
    }

    /// What an item of a reply means.
    pub(super) fn item(&self, reply: &Reply, item: &Value) -> Meaning {
        let seen = Seen { status: reply.status, headers: &reply.headers, json: Some(&reply.json), wait: None };
        classify::item(&self.plan.file.outcomes, seen, item)
    }
}

fn reply(meaning: &Meaning, answer: Answer, json: Option<Value>) -> Result<Reply, Refusal> {
    let fine = meaning.is_fine();
    let gone = meaning.class == Class::Gone;
    if !fine && !gone {
        let invalid = meaning.class == Class::Invalid;
        let by_rule = meaning.by_rule;
        return Err(Refusal { trouble: meaning.trouble(), invalid, status: answer.status, by_rule });
    }
    // A page for people, or half an answer, says nothing, whatever its status is.
    if fine && json.is_none() && !answer.body.iter().all(u8::is_ascii_whitespace) {
        return Err(unreadable().into());
    }
    Ok(Reply {
        status: answer.status,
        headers: answer.headers,
        json: json.unwrap_or_default(),
        gone,
        by_rule: meaning.by_rule,
    })
}

impl Draft {
    /// Fills a request in for a host.
    pub(super) fn of(request: &Request, scope: &Scope<'_>, base: &Url) -> Result<Self, RenderFault> {
        let path = request.path.segment(scope)?;
        let whole = format!("{}{path}", base.as_str().trim_end_matches('/'));
        let url = Url::parse(&whole).map_err(|_| RenderFault::WrongType("path".to_owned()))?;
        let mut query = Vec::new();
        for (name, template) in &request.query {
            if let Some(value) = optional(template.lone().map(|hole| hole.path.as_slice()), template.text(scope))? {
                query.push((name.clone(), value));
            }
        }
        let mut headers = Vec::new();
        for (name, template) in &request.headers {
            if let Some(value) = optional(template.lone().map(|hole| hole.path.as_slice()), template.header(scope))? {
                headers.push((name.to_lowercase(), value));
            }
        }
        Ok(Self {
            method: request.method.clone(),
            url,
            query,
            headers,
            body: request.body.as_ref().map(|body| body.fill(scope)).transpose()?,
            content_type: request.content_type.clone(),
            cost: request.cost,
            host: request.host.clone(),
            as_post: request.long_query_as_post,
        })
    }

    /// Puts a query parameter in the place of the one of this name.
    pub(super) fn set_query(&mut self, name: &str, value: String) {
        self.query.retain(|(known, _)| known != name);
        self.query.push((name.to_owned(), value));
    }

    /// Puts a value into the body.
    pub(super) fn set_body(&mut self, pointer: &str, value: Value) {
        pointer::set(self.body.get_or_insert_with(|| Value::Object(serde_json::Map::new())), pointer, value);
    }

    /// The same call at another URL, which has its own query.
    pub(super) fn at(&self, url: Url) -> Self {
        Self { url, query: Vec::new(), ..self.clone() }
    }

    fn encoded_query(&self) -> String {
        let one =
            |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
        self.query.iter().map(|(name, value)| format!("{}={}", one(name), one(value))).collect::<Vec<_>>().join("&")
    }

    fn encoded_body(&self) -> Vec<u8> {
        match &self.body {
            None => Vec::new(),
            Some(Value::Object(map)) if self.content_type == FORM => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in map {
                    let values = if let Value::Array(list) = value { list.iter().collect() } else { vec![value] };
                    for text in values.into_iter().filter_map(pointer::text) {
                        form.append_pair(name, &text);
                    }
                }
                form.finish().into_bytes()
            }
            Some(body) => body.to_string().into_bytes(),
        }
    }

    /// Path and query, as they are sent.
    pub(super) fn full_url(&self) -> Url {
        let mut url = self.url.clone();
        if !self.query.is_empty() {
            url.set_query(Some(&self.encoded_query()));
        }
        url
    }

    /// Whether it is longer than this, or than what servers take.
    pub(super) fn is_longer_than(&self, max_bytes: Option<usize>) -> bool {
        let (url, body) = (self.full_url().as_str().len(), self.encoded_body().len());
        max_bytes.is_some_and(|max| body.max(self.encoded_query().len()) > max) || (url > URL_MAX && !self.as_post)
    }

    /// Method, path with query, and body, for a comparison.
    pub(super) fn shown(&self) -> (String, String, Vec<u8>) {
        let url = self.full_url();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        (self.method.to_string(), format!("{}{query}", url.path()), self.encoded_body())
    }

    /// Its own headers, without credentials, for a comparison.
    pub(super) fn shown_headers(&self) -> Vec<(String, String)> {
        let media = self.body.as_ref().map(|_| ("content-type".to_owned(), self.content_type.clone()));
        self.headers.iter().cloned().chain(media).collect()
    }

    fn call(&self) -> Call {
        let url = self.full_url();
        let mut call = if self.as_post && url.as_str().len() > URL_MAX {
            let mut short = self.url.clone();
            short.set_query(Some("_method=GET"));
            Call::new(Method::POST, short).body(FORM, self.encoded_query())
        } else if self.body.is_some() {
            Call::new(self.method.clone(), url).body(&self.content_type, self.encoded_body())
        } else {
            Call::new(self.method.clone(), url)
        };
        call.headers.push(("accept".into(), accepted(&self.content_type).into()));
        for (name, value) in &self.headers {
            call.headers.retain(|(known, _)| known != name);
            call.headers.push((name.clone(), value.clone()));
        }
        call.costing(self.cost)
    }
}

fn accepted(content_type: &str) -> &str {
    if content_type.ends_with("+json") { content_type } else { super::plan::JSON }
}

/// A parameter that is nothing but an input that was left out is left out too.
fn optional(lone: Option<&[String]>, filled: Result<String, RenderFault>) -> Result<Option<String>, RenderFault> {
    match filled {
        Err(RenderFault::Missing(_)) if lone.is_some_and(|path| path.first().is_some_and(|root| root == "inputs")) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// A template could not be filled for somebody: nothing is sent for them.
pub(super) fn not_sendable(fault: &RenderFault) -> Trouble {
    match fault {
        RenderFault::Unsendable { path, why } => Trouble::Denied(Problem::new(
            "identifier_not_sendable",
            format!(
                "{path} cannot be sent to this vendor so that it means exactly itself ({why}); nothing was sent: look for the person by hand or by another identifier"
            ),
        )),
        RenderFault::Missing(name) => Trouble::Denied(Problem::new(
            "value_missing",
            format!("the vendor's call needs {name}, which is not known here; nothing was sent"),
        )),
        RenderFault::WrongType(name) => Trouble::Denied(Problem::new(
            "value_unfit",
            format!("the vendor's call cannot hold {name} as it is; nothing was sent"),
        )),
    }
}

impl Reach {
    pub(super) fn sign(&self, host: Option<&str>) -> &Sign {
        host.and_then(|host| self.host_auth.get(host)).unwrap_or(&self.auth)
    }
}
