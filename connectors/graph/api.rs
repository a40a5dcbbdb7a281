//! The calls of Microsoft Graph that are made, and what their refusal means.

use super::AT_ONCE;
use crate::http::{Answer, Call, Line, Method, Token, unreadable};
use crate::mailservice::{endless, mailbox_unavailable, told_as};
use crate::{Problem, Secret, Trouble};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use url::Url;

/// Parts of one `$batch`.
const BATCH: usize = 20;
const PAGE: &str = "250";
const FIELDS: &str = "id,from,sender,replyTo,toRecipients,ccRecipients,bccRecipients";
const IMMUTABLE: (&str, &str) = ("Prefer", "IdType=\"ImmutableId\"");
const MIME_MAX: usize = 200 << 20;
const MIME_PATIENCE: Duration = Duration::from_mins(3);
/// A limit without a wait.
const USUAL_WAIT: Duration = Duration::from_secs(10);

/// The API, with the application's token.
pub(super) struct Api {
    pub(super) line: Line,
    login: Url,
    base: Url,
    client_id: String,
    secret: Secret,
    scope: String,
    configured: Vec<String>,
    token: Token,
}

/// A user of the directory who has an address.
#[derive(Debug)]
pub(super) struct User {
    pub(super) id: String,
    /// Under what the settings may name them.
    pub(super) names: Vec<String>,
}

/// A message, as far as it says whose it is.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) addresses: Vec<String>,
}

/// A page of messages.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) messages: Vec<Message>,
    pub(super) next: Option<Url>,
}

/// What became of one part of a batch.
struct Part {
    id: String,
    status: u16,
    wait: Option<Duration>,
    body: Value,
}

impl Api {
    #[expect(clippy::too_many_arguments, reason = "one place makes it")]
    pub(super) fn new(
        line: Line,
        login: &Url,
        base: Url,
        tenant: &str,
        client_id: String,
        secret: Secret,
        scope: String,
        configured: Vec<String>,
    ) -> Self {
        let login = joined(login, &[tenant, "oauth2", "v2.0", "token"]);
        Self { line, login, base, client_id, secret, scope, configured, token: Token::default() }
    }

    /// Every user with an address.
    pub(super) async fn users(&self) -> Result<Vec<User>, Trouble> {
        let mut url = joined(&self.base, &["v1.0", "users"]);
        url.query_pairs_mut().append_pair("$select", "id,mail,userPrincipalName").append_pair("$top", "999");
        let (mut users, mut known) = (Vec::new(), BTreeSet::new());
        loop {
            let answer = self.send(&Call::new(Method::GET, url)).await?;
            if answer.status == 403 {
                return Err(Trouble::Denied(Problem::new(
                    "permission_missing",
                    "the application may not list users: grant it User.Read.All (application permission, with admin consent), \
                     or list settings.mailboxes",
                )));
            }
            let body = self.body(&answer)?;
            for user in values(&body)? {
                let text = |key: &str| user.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
                let id = text("id").ok_or_else(unreadable)?.to_owned();
                if text("mail").is_none() {
                    continue;
                }
                let names =
                    ["id", "mail", "userPrincipalName"].into_iter().filter_map(text).map(str::to_owned).collect();
                users.push(User { id, names });
            }
            let Some(next) = self.next(&body)? else { return Ok(users) };
            if !known.insert(next.to_string()) {
                return Err(endless());
            }
            url = next;
        }
    }

    /// Reads one message of a mailbox, to see that it can be read.
    pub(super) async fn look_in(&self, mailbox: &str) -> Result<(), Trouble> {
        let mut url = self.at(mailbox, &["messages"]);
        url.query_pairs_mut().append_pair("$select", "id").append_pair("$top", "1");
        let answer = self.send(&Call::new(Method::GET, url)).await?;
        values(&self.of_mailbox(mailbox, &answer)?).map(drop)
    }

    /// Where the messages of a folder are listed.
    pub(super) fn messages(&self, mailbox: &str, folder: &[&str], question: Option<(&str, &str)>) -> Url {
        let mut url = self.at(mailbox, folder);
        if let Some((name, value)) = question {
            url.query_pairs_mut().append_pair(name, value);
        }
        url.query_pairs_mut().append_pair("$select", FIELDS).append_pair("$top", PAGE);
        // A plus is a space in forms, not in OData.
        let query = url.query().unwrap_or_default().replace('+', "%20");
        url.set_query(Some(&query));
        url
    }

    /// One page of such a list.
    pub(super) async fn page(&self, mailbox: &str, url: Url) -> Result<Page, Trouble> {
        let answer = self.send(&Call::new(Method::GET, url)).await?;
        let body = self.of_mailbox(mailbox, &answer)?;
        let messages = values(&body)?.iter().map(message).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
        Ok(Page { messages, next: self.next(&body)? })
    }

    /// A whole message (MIME); none if it is gone.
    pub(super) async fn mime(&self, mailbox: &str, id: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let url = self.at(mailbox, &["messages", id, "$value"]);
        let call = Call { answer_max: MIME_MAX, patience: MIME_PATIENCE, ..Call::new(Method::GET, url) };
        let answer = self.send(&call).await?;
        if answer.is_success() {
            let is_page = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
            return if is_page || answer.body.is_empty() { Err(unreadable()) } else { Ok(Some(answer.body)) };
        }
        match self.refusal(mailbox, answer.status, &answer.json().unwrap_or_default(), wait(&answer)) {
            Refusal::Gone => Ok(None),
            Refusal::Trouble(trouble) => Err(trouble),
            Refusal::Other => Err(answer.trouble()),
        }
    }

    /// Those of these messages that are there; where Exchange keeps what it is about to purge does not count.
    pub(super) async fn still_there(&self, mailbox: &str, ids: &BTreeSet<String>) -> Result<BTreeSet<String>, Trouble> {
        let ids: Vec<&String> = ids.iter().collect();
        let (mut there, mut purges) = (BTreeSet::new(), None);
        for chunk in ids.chunks(AT_ONCE as usize) {
            let path = |id: &str| format!("{}?$select=id,parentFolderId", self.relative(mailbox, &["messages", id]));
            for (part, id) in self.batch(mailbox, "GET", chunk, &path, false).await?.into_iter().zip(chunk) {
                match part.status {
                    200 => {
                        let folder = part.body.get("parentFolderId").and_then(Value::as_str).ok_or_else(unreadable)?;
                        if purges.is_none() {
                            purges = Some(self.purges(mailbox).await?);
                        }
                        if purges.as_deref() != Some(folder) {
                            there.insert((*id).clone());
                        }
                    }
                    404 if is_gone(&part.body) => {}
                    _ => return Err(self.part_trouble(mailbox, &part)),
                }
            }
        }
        Ok(there)
    }

    /// The id of the folder in which messages wait for their purge.
    async fn purges(&self, mailbox: &str) -> Result<String, Trouble> {
        let mut url = self.at(mailbox, &["mailFolders", "recoverableitemspurges"]);
        url.query_pairs_mut().append_pair("$select", "id");
        let answer = self.send(&Call::new(Method::GET, url)).await?;
        let body = self.of_mailbox(mailbox, &answer)?;
        body.get("id").and_then(Value::as_str).map(str::to_owned).ok_or_else(unreadable)
    }

    /// Deletes messages for good: twenty in one call, one after the other, since more than four at a time are too many for
    /// a mailbox. A message that is gone ends such a chain; what is left then goes four by four.
    pub(super) async fn delete(&self, mailbox: &str, ids: &BTreeSet<String>) -> Result<(), Trouble> {
        let mut left: Vec<&String> = ids.iter().collect();
        let mut chained = true;
        while !left.is_empty() {
            let many = left.len().min(if chained { BATCH } else { AT_ONCE as usize });
            let chunk: Vec<&String> = left.drain(..many).collect();
            let path = |id: &str| self.relative(mailbox, &["messages", id, "permanentDelete"]);
            let mut again = Vec::new();
            for (part, id) in self.batch(mailbox, "POST", &chunk, &path, chained).await?.into_iter().zip(&chunk) {
                match part.status {
                    200..=299 => {}
                    404 if is_gone(&part.body) => {}
                    424 if chained => again.push(*id),
                    _ => return Err(self.part_trouble(mailbox, &part)),
                }
            }
            chained &= again.is_empty();
            again.append(&mut left);
            left = again;
        }
        Ok(())
    }

    /// One `$batch` of a request for each id, answered in the order of the ids.
    async fn batch(
        &self,
        mailbox: &str,
        method: &str,
        ids: &[&String],
        path: &(dyn Fn(&str) -> String + Sync),
        chained: bool,
    ) -> Result<Vec<Part>, Trouble> {
        let request = |(at, id): (usize, &&String)| {
            let mut part = json!({
                "id": at.to_string(), "method": method, "url": path(id), "headers": { IMMUTABLE.0: IMMUTABLE.1 },
            });
            if chained && at > 0 {
                part["dependsOn"] = json!([(at - 1).to_string()]);
            }
            part
        };
        let requests: Vec<Value> = ids.iter().enumerate().map(request).collect();
        let url = joined(&self.base, &["v1.0", "$batch"]);
        let call = Call::new(Method::POST, url).json(&json!({ "requests": requests })).costing(ids.len() as u64);
        let answer = self.send(&call).await?;
        let body = self.of_mailbox(mailbox, &answer)?;
        let responses = body.get("responses").and_then(Value::as_array).ok_or_else(unreadable)?;
        let mut parts: Vec<Part> = responses.iter().map(part).collect::<Option<_>>().ok_or_else(unreadable)?;
        // They come in any order, and one that is missing was not done.
        parts.sort_by_key(|part| part.id.parse::<usize>().unwrap_or(usize::MAX));
        let complete = parts.len() == ids.len() && parts.iter().enumerate().all(|(at, part)| part.id == at.to_string());
        if complete { Ok(parts) } else { Err(unreadable()) }
    }

    fn part_trouble(&self, mailbox: &str, part: &Part) -> Trouble {
        match self.refusal(mailbox, part.status, &part.body, part.wait) {
            Refusal::Trouble(trouble) => trouble,
            _ => other(part.status),
        }
    }

    fn relative(&self, mailbox: &str, rest: &[&str]) -> String {
        let url = self.at(mailbox, rest);
        let base = joined(&self.base, &["v1.0"]);
        url.path().strip_prefix(base.path()).unwrap_or_default().to_owned()
    }

    fn at(&self, mailbox: &str, rest: &[&str]) -> Url {
        let path: Vec<&str> = ["v1.0", "users", mailbox].into_iter().chain(rest.iter().copied()).collect();
        joined(&self.base, &path)
    }

    /// Where the list goes on: only at the same place, whatever the answer says.
    fn next(&self, body: &Value) -> Result<Option<Url>, Trouble> {
        let Some(next) = body.get("@odata.nextLink") else { return Ok(None) };
        let url = next.as_str().and_then(|next| Url::parse(next).ok()).ok_or_else(unreadable)?;
        let base = joined(&self.base, &["v1.0"]);
        let here = url.origin() == base.origin() && url.path().starts_with(&format!("{}/", base.path()));
        if here {
            return Ok(Some(url));
        }
        Err(Trouble::Denied(Problem::new(
            "host_not_pinned",
            "the vendor's next page is at another host or path than its own; nothing was sent there",
        )))
    }

    fn of_mailbox(&self, mailbox: &str, answer: &Answer) -> Result<Value, Trouble> {
        if answer.is_success() {
            return answer.json();
        }
        match self.refusal(mailbox, answer.status, &answer.json().unwrap_or_default(), wait(answer)) {
            Refusal::Trouble(trouble) => Err(trouble),
            // A list of messages is not gone: then its mailbox is.
            Refusal::Gone => Err(self.unavailable(mailbox, "Exchange does not find it")),
            Refusal::Other => Err(answer.trouble()),
        }
    }

    fn body(&self, answer: &Answer) -> Result<Value, Trouble> {
        if answer.is_success() {
            return answer.json();
        }
        match self.refusal("", answer.status, &answer.json().unwrap_or_default(), wait(answer)) {
            Refusal::Trouble(trouble) => Err(trouble),
            _ => Err(answer.trouble()),
        }
    }

    fn unavailable(&self, mailbox: &str, why: &str) -> Trouble {
        mailbox_unavailable(&told_as(&self.configured, mailbox), why)
    }

    fn refusal(&self, mailbox: &str, status: u16, body: &Value, wait: Option<Duration>) -> Refusal {
        let code = body.pointer("/error/code").and_then(Value::as_str).unwrap_or_default();
        match (status, code) {
            (404, "ErrorItemNotFound") => Refusal::Gone,
            (404, "MailboxNotEnabledForRESTAPI" | "MailboxNotHostedInExchangeOnline") => Refusal::Trouble(
                self.unavailable(mailbox, "it is not in Exchange Online (no licence, or kept on premises)"),
            ),
            (404, "ErrorInvalidUser" | "Request_ResourceNotFound" | "ResourceNotFound") => {
                Refusal::Trouble(self.unavailable(mailbox, "there is no such user"))
            }
            (403, "ErrorAccessDenied" | "Authorization_RequestDenied" | "AccessDenied") => {
                Refusal::Trouble(Trouble::Denied(Problem::new(
                    "permission_missing",
                    format!(
                        "the application may not read or delete in {}: grant it Mail.ReadWrite (application permission, with \
                         admin consent) and, where Exchange's roles for applications limit it, that mailbox",
                        told_as(&self.configured, mailbox)
                    ),
                )))
            }
            (429 | 503, _) if wait.is_some() || status == 429 => {
                Refusal::Trouble(Trouble::Throttled(wait.unwrap_or(USUAL_WAIT)))
            }
            _ => Refusal::Other,
        }
    }

    /// Makes a call, with a new token if the one that is kept was refused.
    async fn send(&self, call: &Call) -> Result<Answer, Trouble> {
        let mut again = true;
        loop {
            let token = self.token.get(self.sign_in()).await?;
            let call = call.clone().header("authorization", format!("Bearer {}", token.expose()));
            let answer = self.line.send(call.header(IMMUTABLE.0, IMMUTABLE.1)).await?;
            if answer.status != 401 {
                return Ok(answer);
            }
            self.token.refused(&token).await;
            if !std::mem::take(&mut again) {
                return Ok(answer);
            }
        }
    }

    async fn sign_in(&self) -> Result<(Secret, Option<Duration>), Trouble> {
        let form = [
            ("client_id", self.client_id.as_str()),
            ("scope", self.scope.as_str()),
            ("client_secret", self.secret.expose().as_str()),
            ("grant_type", "client_credentials"),
        ];
        let answer = self.line.send(Call::new(Method::POST, self.login.clone()).form(&form).costing(0)).await?;
        if matches!(answer.status, 400 | 401 | 403) && answer.json().is_ok_and(|body| body.get("error").is_some()) {
            return Err(Trouble::Denied(Problem::new(
                "credentials_refused",
                "Entra ID refused the application: check settings.tenant and settings.client_id, and set secrets.client_secret \
                 anew (it may have expired) with `redress apply`, then check the system",
            )));
        }
        if !answer.is_success() {
            return Err(answer.trouble());
        }
        let body = answer.json()?;
        let token = body.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty());
        let life =
            body.get("expires_in").and_then(Value::as_u64).map(|seconds| Duration::from_secs(seconds.min(86_400)));
        Ok((Secret::from(token.ok_or_else(unreadable)?.to_owned()), life))
    }
}

/// What a refusal means.
enum Refusal {
    Gone,
    Trouble(Trouble),
    Other,
}

fn is_gone(body: &Value) -> bool {
    body.pointer("/error/code").and_then(Value::as_str) == Some("ErrorItemNotFound")
}

fn other(status: u16) -> Trouble {
    if matches!(status, 408 | 409 | 423 | 424 | 425 | 500..=599) {
        return Trouble::Retry(Problem::new(
            "vendor_error",
            format!("a part of a batch was answered with {status}; it is tried again by itself"),
        ));
    }
    Trouble::Denied(Problem::new("refused", format!("a part of a batch was refused with {status}")))
}

fn wait(answer: &Answer) -> Option<Duration> {
    answer.said.wait_ms.filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms as u64))
}

fn values(body: &Value) -> Result<&Vec<Value>, Trouble> {
    body.get("value").and_then(Value::as_array).ok_or_else(unreadable)
}

/// A message of a list; none if it is not what was asked for.
fn message(value: &Value) -> Option<Message> {
    let id = value.get("id")?.as_str().filter(|id| !id.is_empty())?.to_owned();
    // Drafts have no sender; fields that are not there at all were not selected as asked.
    let one = |key: &str| [value.get(key)].into_iter().flatten();
    let many = |key: &str| value.get(key).and_then(Value::as_array).into_iter().flatten();
    value.get("toRecipients")?.as_array()?;
    let people = one("from").chain(one("sender"));
    let people = people.chain(many("replyTo")).chain(many("toRecipients")).chain(many("ccRecipients"));
    let addresses = people
        .chain(many("bccRecipients"))
        .filter_map(|person| person.pointer("/emailAddress/address")?.as_str().map(str::to_owned))
        .collect();
    Some(Message { id, addresses })
}

fn part(value: &Value) -> Option<Part> {
    let header = |name: &str| {
        let headers = value.get("headers")?.as_object()?;
        headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str())
    };
    let seconds =
        header("retry-after").and_then(|text| text.trim().parse::<f64>().ok()).filter(|seconds| *seconds > 0.0);
    Some(Part {
        id: value.get("id")?.as_str()?.to_owned(),
        status: u16::try_from(value.get("status")?.as_u64()?).ok()?,
        wait: seconds.map(|seconds| Duration::from_secs_f64(seconds.min(86_400.0))),
        body: value.get("body").cloned().unwrap_or_default(),
    })
}

/// The URL with these path segments, encoded.
fn joined(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}
