//! Gmail of one workspace: a token endpoint, the directory, and messages that are searched by words.
//!
//! Its habits (Gmail API v1, discovery revision 20261005; where that is silent, as seen): a token is one user's and one
//! scope's; an empty list has no `messages` at all; a search matches words and parts of words in names too, lags behind a
//! deletion if the world says so, and takes what it cannot read for "anything"; header values come decoded; `batchDelete`
//! answers 204 for ids that never were; units per user and minute are enforced with 403 and a reason.
//!
//! World: `users` (by address: `suspended`, `isMailboxSetup`, `isAdmin`), `mailbox:ADDRESS` (by id: `raw`, `labels`),
//! `ghosts:ADDRESS` (ids that the search still lists), `settings/quota` (`mailbox`, `list`, `get`, `batch_delete`),
//! `settings/delegation` (`scopes`: those granted).

use super::{Person, Vendor};
use crate::World;
use crate::kit::{Over, wrap};
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// The service account that the workspace knows.
pub const SERVICE_ACCOUNT: &str = "redress@sandbox.iam.gserviceaccount.com";
/// Its key: it opens nothing but this simulator.
pub const PRIVATE_KEY: &str = include_str!("gmail.pem");
/// An administrator who may read the directory.
pub const ADMIN: &str = "admin@corp.test";
/// The mailboxes that [`Vendor::seed`] fills.
pub const MAILBOXES: [&str; 2] = ["sales@corp.test", "support@corp.test"];

/// What the registry of simulators tells.
pub const VENDOR: Vendor = Vendor { name: "gmail", router, seed, count };

const MAIL: &str = "https://mail.google.com/";
const READ: [&str; 3] =
    [MAIL, "https://www.googleapis.com/auth/gmail.readonly", "https://www.googleapis.com/auth/gmail.modify"];
const DIRECTORY: [&str; 2] = [
    "https://www.googleapis.com/auth/admin.directory.user.readonly",
    "https://www.googleapis.com/auth/admin.directory.user",
];
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Adds a message to a mailbox; its id.
pub fn deliver(world: &World, mailbox: &str, raw: &str) -> String {
    let id = format!("{:016x}", 0x19a0_0000_0000_0000_u64 + world.next_id());
    if world.get("users", mailbox).is_none() {
        world.put("users", mailbox, json!({ "primaryEmail": mailbox, "isMailboxSetup": true, "suspended": false }));
    }
    world.put(&format!("mailbox:{mailbox}"), &id, json!({ "raw": raw, "labels": ["INBOX"] }));
    id
}

/// A workspace with its administrator and its mailboxes, without messages.
pub fn workspace(world: &World) {
    for user in MAILBOXES.iter().chain([&ADMIN]) {
        let user_record = json!({
            "primaryEmail": user, "isMailboxSetup": true, "suspended": false, "isAdmin": *user == ADMIN,
        });
        world.put("users", user, user_record);
    }
}

fn seed(world: &World, person: &Person) {
    if world.get("users", ADMIN).is_none() {
        workspace(world);
    }
    let Person { email, first_name, last_name, .. } = person;
    let [sales, support] = MAILBOXES;
    deliver(
        world,
        support,
        &format!(
            "From: \"{first_name} {last_name}\" <{email}>\r\nTo: {support}\r\nSubject: A question\r\n\r\nHello\r\n"
        ),
    );
    deliver(world, support, &format!("From: {support}\r\nTo: {email}\r\nSubject: The answer\r\n\r\nHello\r\n"));
    deliver(world, sales, &format!("From: {sales}\r\nTo: {sales}\r\nCc: {email}\r\nSubject: Offer\r\n\r\nHello\r\n"));
}

fn count(world: &World, email: &str) -> u64 {
    let tables = world.tables();
    let mailboxes = tables.iter().filter(|(name, _)| name.starts_with("mailbox:"));
    let is_theirs = |raw: &str| {
        raw.lines()
            .take_while(|line| !line.is_empty())
            .any(|line| line.ends_with(&format!(" {email}")) || line.ends_with(&format!("<{email}>")))
    };
    let raw = |message: &Map<String, Value>| message.get("raw").and_then(Value::as_str).is_some_and(is_theirs);
    mailboxes.map(|(_, messages)| messages.values().filter(|message| raw(message)).count() as u64).sum()
}

struct Gmail {
    world: Arc<World>,
    public_key: Vec<u8>,
    used: Mutex<BTreeMap<String, VecDeque<(i64, u64)>>>,
}

fn router(world: &Arc<World>) -> Router {
    let body: String = PRIVATE_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).expect("our own file");
    let key = RsaKeyPair::from_pkcs8(&der).expect("our own file");
    let public_key = key.public_key().as_ref().to_vec();
    let gmail = Arc::new(Gmail { world: Arc::clone(world), public_key, used: Mutex::default() });
    let router = Router::new()
        .route("/token", post(token))
        .route("/admin/directory/v1/users", get(users))
        .route("/gmail/v1/users/{user}/profile", get(profile))
        .route("/gmail/v1/users/{user}/messages", get(list))
        .route("/gmail/v1/users/{user}/messages/batchDelete", post(batch_delete))
        .route("/gmail/v1/users/{user}/messages/{id}", get(message))
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                [("content-type", "text/html")],
                "<!DOCTYPE html><title>Error 404 (Not Found)</title>",
            )
        })
        .with_state(gmail);
    wrap(router, world, refused, &["/token"])
}

fn refused(_: Over) -> Response {
    fault(429, "Too many concurrent requests for user.", "rateLimitExceeded", "RESOURCE_EXHAUSTED")
}

/// Google's error body.
fn fault(status: u16, message: &str, reason: &str, name: &str) -> Response {
    let domain = if reason.ends_with("LimitExceeded") { "usageLimits" } else { "global" };
    let body = json!({ "error": {
        "code": status, "message": message, "status": name,
        "errors": [{ "message": message, "domain": domain, "reason": reason }],
    }});
    (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), Json(body)).into_response()
}

fn no_grant(status: StatusCode, error: &str, about: &str) -> Response {
    (status, Json(json!({ "error": error, "error_description": about }))).into_response()
}

async fn token(State(gmail): State<Arc<Gmail>>, body: Bytes) -> Response {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let refuse = |error, about| no_grant(StatusCode::BAD_REQUEST, error, about);
    if form.get("grant_type").map(String::as_str) != Some(GRANT) {
        return refuse("unsupported_grant_type", "Invalid grant_type");
    }
    let Some(assertion) = form.get("assertion").filter(|_| form.len() == 2) else {
        return refuse("invalid_request", "Missing required parameter: assertion");
    };
    let parts: Vec<&str> = assertion.split('.').collect();
    let [head, claims, signature] = parts[..] else { return refuse("invalid_grant", "Invalid JWT: malformed") };
    let json_of =
        |part: &str| URL_SAFE_NO_PAD.decode(part).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let (Some(header), Some(said)) = (json_of(head), json_of(claims)) else {
        return refuse("invalid_grant", "Invalid JWT: malformed");
    };
    let text = |key: &str| said.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| said.get(key).and_then(Value::as_i64).unwrap_or_default();
    if text("iss") != SERVICE_ACCOUNT {
        return refuse("invalid_grant", "Invalid grant: account not found");
    }
    let signed = format!("{head}.{claims}");
    let verified = URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &gmail.public_key)
            .verify(signed.as_bytes(), &signature)
            .is_ok()
    });
    if header.get("alg").and_then(Value::as_str) != Some("RS256") || !verified || gmail.world.is_revoked() {
        return refuse("invalid_grant", "Invalid JWT Signature.");
    }
    let now = gmail.world.now_ms() / 1_000;
    let (from, until) = (number("iat"), number("exp"));
    if from > now + 300 || until < now || until - from > 3_600 || !text("aud").ends_with("/token") {
        return refuse(
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.",
        );
    }
    let scopes: Vec<&str> = text("scope").split_whitespace().collect();
    let granted = gmail.world.get("settings", "delegation").and_then(|record| record.get("scopes").cloned());
    let is_granted = |scope: &str| match &granted {
        Some(Value::Array(some)) => some.iter().any(|one| one.as_str() == Some(scope)),
        _ => READ.contains(&scope) || DIRECTORY.contains(&scope),
    };
    if scopes.is_empty() || !scopes.iter().all(|scope| is_granted(scope)) {
        let about = "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.";
        return no_grant(StatusCode::UNAUTHORIZED, "unauthorized_client", about);
    }
    let user = gmail.world.get("users", text("sub"));
    if !user.is_some_and(|user| user.get("suspended") != Some(&Value::Bool(true))) {
        return refuse("invalid_grant", "Invalid email or User ID");
    }
    let token = format!("ya29.{:x}", gmail.world.next_id());
    let record = json!({ "user": text("sub"), "scopes": scopes, "until": now + 3_599 });
    gmail.world.put("tokens", &token, record);
    Json(json!({ "access_token": token, "expires_in": 3_599, "token_type": "Bearer" })).into_response()
}

impl Gmail {
    /// The user whose token this is, if it has one of these scopes.
    fn caller(&self, headers: &HeaderMap, scopes: &[&str]) -> Result<String, Box<Response>> {
        let unauthenticated = || {
            let about = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.";
            Box::new(fault(401, about, "authError", "UNAUTHENTICATED"))
        };
        let token = headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(unauthenticated)?;
        let record =
            self.world.get("tokens", token).filter(|_| !self.world.is_revoked()).ok_or_else(unauthenticated)?;
        if record.get("until").and_then(Value::as_i64).unwrap_or_default() < self.world.now_ms() / 1_000 {
            return Err(unauthenticated());
        }
        let has =
            |scope: &&str| record["scopes"].as_array().into_iter().flatten().any(|one| one.as_str() == Some(scope));
        if !scopes.iter().any(has) {
            let about = "Request had insufficient authentication scopes.";
            return Err(Box::new(fault(403, about, "insufficientPermissions", "PERMISSION_DENIED")));
        }
        Ok(record["user"].as_str().unwrap_or_default().to_owned())
    }

    /// The mailbox that the path names, which must be the caller's own, and so many units of its minute.
    fn mailbox(&self, headers: &HeaderMap, user: &str, scopes: &[&str], method: &str) -> Result<String, Box<Response>> {
        let caller = self.caller(headers, scopes)?;
        if user != "me" && user != caller {
            let about = format!("Delegation denied for {caller}");
            return Err(Box::new(fault(403, &about, "forbidden", "PERMISSION_DENIED")));
        }
        let record = self.world.get("users", &caller).unwrap_or_default();
        if record.get("isMailboxSetup") == Some(&Value::Bool(false)) {
            return Err(Box::new(fault(400, "Mail service not enabled", "failedPrecondition", "FAILED_PRECONDITION")));
        }
        let Some(quota) = self.world.get("settings", "quota") else { return Ok(caller) };
        let figure = |key: &str, usual: u64| quota.get(key).and_then(Value::as_u64).unwrap_or(usual);
        let units = match method {
            "list" => figure("list", 5),
            "batchDelete" => figure("batch_delete", 50),
            _ => figure("get", 20),
        };
        let (now, mut all) = (self.world.now_ms(), self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let used = all.entry(caller.clone()).or_default();
        used.retain(|(at, _)| now - at < 60_000);
        if used.iter().map(|(_, units)| units).sum::<u64>() + units > figure("mailbox", 6_000) {
            let about = "User-rate limit exceeded.  Retry after a while";
            return Err(Box::new(fault(403, about, "userRateLimitExceeded", "PERMISSION_DENIED")));
        }
        used.push_back((now, units));
        Ok(caller)
    }
}

type Pairs = Vec<(String, String)>;

/// The query's pairs, if each is known.
fn pairs(query: Option<&str>, known: &[&str]) -> Result<Pairs, Box<Response>> {
    let pairs: Pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    match pairs
        .iter()
        .find(|(name, _)| !known.contains(&name.as_str()) && !["alt", "prettyPrint", "fields"].contains(&name.as_str()))
    {
        None => Ok(pairs),
        Some((name, _)) => {
            let about = format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter.");
            Err(Box::new(fault(400, &about, "badRequest", "INVALID_ARGUMENT")))
        }
    }
}

fn one<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn bad(about: &str) -> Response {
    fault(400, about, "invalidArgument", "INVALID_ARGUMENT")
}

/// From where a page goes on, and how long it is.
fn window(pairs: &Pairs, usual: usize, most: usize) -> Result<(usize, usize), Box<Response>> {
    let size = match one(pairs, "maxResults") {
        None => usual,
        Some(text) => {
            text.parse::<usize>().map_err(|_| Box::new(bad("Invalid value at 'max_results'")))?.clamp(1, most)
        }
    };
    let from = match one(pairs, "pageToken") {
        None => 0,
        Some(text) => {
            text.strip_prefix("page").and_then(|n| n.parse().ok()).ok_or_else(|| Box::new(bad("Invalid pageToken")))?
        }
    };
    Ok((from, size))
}

async fn users(State(gmail): State<Arc<Gmail>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let answer = || -> Result<Response, Box<Response>> {
        let caller = gmail.caller(&headers, &DIRECTORY)?;
        let is_admin =
            gmail.world.get("users", &caller).is_some_and(|user| user.get("isAdmin") == Some(&Value::Bool(true)));
        if !is_admin {
            return Err(Box::new(fault(
                403,
                "Not Authorized to access this resource/api",
                "forbidden",
                "PERMISSION_DENIED",
            )));
        }
        let pairs = pairs(
            query.as_deref(),
            &["customer", "domain", "maxResults", "pageToken", "orderBy", "query", "projection"],
        )?;
        if one(&pairs, "customer") != Some("my_customer") && one(&pairs, "domain").is_none() {
            return Err(Box::new(fault(400, "Bad Request", "badRequest", "INVALID_ARGUMENT")));
        }
        let (from, size) = window(&pairs, 100, 500)?;
        let all = gmail.world.all("users");
        let page: Vec<Value> = all.iter().skip(from).take(size).map(|(_, user)| Value::Object(user.clone())).collect();
        let mut body = json!({ "kind": "admin#directory#users", "etag": "\"e\"", "users": page });
        if from + size < all.len() {
            body["nextPageToken"] = format!("page{}", from + size).into();
        }
        Ok(Json(body).into_response())
    };
    answer().unwrap_or_else(|refusal| *refusal)
}

async fn profile(State(gmail): State<Arc<Gmail>>, Path(user): Path<String>, headers: HeaderMap) -> Response {
    match gmail.mailbox(&headers, &user, &READ, "list") {
        Ok(mailbox) => {
            let messages = gmail.world.all(&format!("mailbox:{mailbox}")).len();
            Json(json!({ "emailAddress": mailbox, "messagesTotal": messages, "threadsTotal": messages, "historyId": "1" }))
                .into_response()
        }
        Err(refusal) => *refusal,
    }
}

async fn list(
    State(gmail): State<Arc<Gmail>>,
    Path(user): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let answer = || -> Result<Response, Box<Response>> {
        let mailbox = gmail.mailbox(&headers, &user, &READ, "list")?;
        let pairs = pairs(query.as_deref(), &["q", "includeSpamTrash", "maxResults", "pageToken", "labelIds"])?;
        let (from, size) = window(&pairs, 100, 500)?;
        let elsewhere = one(&pairs, "includeSpamTrash") == Some("true");
        let search = one(&pairs, "q").map(search::Search::parse);
        let messages = gmail.world.all(&format!("mailbox:{mailbox}"));
        let mut ids: Vec<String> = messages
            .into_iter()
            .filter(|(_, message)| {
                let hidden =
                    message["labels"].as_array().into_iter().flatten().any(|label| label == "TRASH" || label == "SPAM");
                (elsewhere || !hidden)
                    && search.as_ref().is_none_or(|search| search.finds(message["raw"].as_str().unwrap_or_default()))
            })
            .map(|(id, _)| id)
            .collect();
        if search.is_some() {
            ids.extend(gmail.world.all(&format!("ghosts:{mailbox}")).into_iter().map(|(id, _)| id));
        }
        ids.sort();
        ids.reverse();
        let mut body = json!({ "resultSizeEstimate": ids.len().min(201) });
        let page: Vec<Value> = ids.iter().skip(from).take(size).map(|id| json!({ "id": id, "threadId": id })).collect();
        if !page.is_empty() {
            body["messages"] = page.into();
        }
        if from + size < ids.len() {
            body["nextPageToken"] = format!("page{}", from + size).into();
        }
        Ok(Json(body).into_response())
    };
    answer().unwrap_or_else(|refusal| *refusal)
}

async fn message(
    State(gmail): State<Arc<Gmail>>,
    Path((user, id)): Path<(String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let answer = || -> Result<Response, Box<Response>> {
        let mailbox = gmail.mailbox(&headers, &user, &READ, "get")?;
        let pairs = pairs(query.as_deref(), &["format", "metadataHeaders"])?;
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(Box::new(bad("Invalid id value")));
        }
        let Some(record) = gmail.world.get(&format!("mailbox:{mailbox}"), &id) else {
            return Err(Box::new(fault(404, "Requested entity was not found.", "notFound", "NOT_FOUND")));
        };
        let raw = record["raw"].as_str().unwrap_or_default();
        let mut body = json!({
            "id": id, "threadId": id, "labelIds": record["labels"], "snippet": "", "historyId": "1",
            "internalDate": "1790000000000", "sizeEstimate": raw.len(),
        });
        match one(&pairs, "format").unwrap_or("full") {
            "minimal" => {}
            "raw" => body["raw"] = URL_SAFE.encode(raw).into(),
            format @ ("metadata" | "full") => {
                let wanted: Vec<&str> = pairs
                    .iter()
                    .filter(|(name, _)| name == "metadataHeaders")
                    .map(|(_, value)| value.as_str())
                    .collect();
                let is_wanted = |name: &str| {
                    format == "full" || wanted.is_empty() || wanted.iter().any(|one| one.eq_ignore_ascii_case(name))
                };
                let headers: Vec<Value> = search::headers(raw)
                    .into_iter()
                    .filter(|(name, _)| is_wanted(name))
                    .map(|(name, value)| json!({ "name": name, "value": search::decoded(&value) }))
                    .collect();
                body["payload"] = json!({ "mimeType": "text/plain", "headers": headers });
            }
            _ => return Err(Box::new(bad("Invalid value at 'format'"))),
        }
        Ok(Json(body).into_response())
    };
    answer().unwrap_or_else(|refusal| *refusal)
}

async fn batch_delete(
    State(gmail): State<Arc<Gmail>>,
    Path(user): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = || -> Result<Response, Box<Response>> {
        let mailbox = gmail.mailbox(&headers, &user, &[MAIL], "batchDelete")?;
        let body: Map<String, Value> =
            serde_json::from_slice(&body).map_err(|_| Box::new(bad("Invalid JSON payload received.")))?;
        let ids = body.get("ids").and_then(Value::as_array).filter(|_| body.len() == 1);
        let Some(ids) = ids.filter(|ids| ids.iter().all(Value::is_string)) else {
            return Err(Box::new(bad("Invalid JSON payload received. Unknown name")));
        };
        if ids.is_empty() || ids.len() > 1_000 {
            return Err(Box::new(bad("Invalid number of ids; 1 to 1000")));
        }
        for id in ids.iter().filter_map(Value::as_str) {
            gmail.world.take(&format!("mailbox:{mailbox}"), id);
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answer().unwrap_or_else(|refusal| *refusal)
}

#[path = "gmail_search.rs"]
mod search;
