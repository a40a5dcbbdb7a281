//! Exchange Online behind Microsoft Graph v1.0: users, messages by folder, `$filter`, `$search`, `$batch`, `permanentDelete`.
//!
//! Its habits: `$search` matches words of names and addresses, ends after 1,000 hits without a word, and cannot stand beside
//! `$filter`; ids change with a move unless immutable ones are preferred; `permanentDelete` moves to the purges folder, where
//! lists do not look; parts of a batch that run at the same time may be four per mailbox, the fifth is answered with 429; a
//! part that depends on one that failed is answered with 424.
//!
//! World: `users` (by id: `mail`, `userPrincipalName`, `state`), `messages:USER` (by id: `folder`, `raw`, addresses),
//! `settings/access` (`denied`: users that the application may not open).

use super::asked::{Asked, empty, json, router as desk_router};
use super::{Person, Vendor};
use crate::World;
use crate::kit::Over;
use axum::Router;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tenant, the application and its secret.
pub const TENANT: &str = "corp.onmicrosoft.com";
/// The application.
pub const CLIENT_ID: &str = "3f9d1c52-0000-4000-8000-5a6db0c0ffee";
/// Its secret.
pub const SECRET: &str = "sandbox~client-secret";
/// The users whose mailboxes [`Vendor::seed`] fills.
pub const MAILBOXES: [&str; 2] = ["sales@corp.test", "support@corp.test"];

/// What the registry of simulators tells.
pub const VENDOR: Vendor = Vendor { name: "graph", router, seed, count };

const SEARCH_MAX: usize = 1_000;
const PURGES: &str = "recoverableitemspurges";
const DELETIONS: &str = "recoverableitemsdeletions";
const FIELDS: [&str; 12] = [
    "id",
    "from",
    "sender",
    "replyTo",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "parentFolderId",
    "subject",
    "internetMessageId",
    "receivedDateTime",
    "isDraft",
];

/// The id of the user with this address.
pub fn user_id(address: &str) -> String {
    let sum = address.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    format!("{:08x}-0000-4000-8000-{sum:012x}", sum >> 40)
}

/// Users with mailboxes and one without an address, without messages.
pub fn organisation(world: &World) {
    for address in MAILBOXES {
        user(world, address, "ok");
    }
    let robot = json!({ "id": user_id("robot"), "mail": null, "userPrincipalName": "robot@corp.test", "state": "ok" });
    world.put("users", &user_id("robot"), robot);
}

/// A user whose mailbox is in this state: `ok`, `on_premises`.
pub fn user(world: &World, address: &str, state: &str) {
    let id = user_id(address);
    world.put("users", &id, json!({ "id": id, "mail": address, "userPrincipalName": address, "state": state }));
}

/// Adds a message to a folder (`inbox`, `recoverableitemsdeletions` …) of a user; its id. People are `(name, address)`.
pub fn deliver(
    world: &World,
    address: &str,
    folder: &str,
    from: (&str, &str),
    to: &[(&str, &str)],
    cc: &[(&str, &str)],
) -> String {
    let id = format!("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{:08x}AA==", world.next_id());
    let person = |(name, address): &(&str, &str)| json!({ "emailAddress": { "name": name, "address": address } });
    let line = |people: &[(&str, &str)]| {
        let each = people.iter().map(|(name, address)| format!("\"{name}\" <{address}>"));
        each.collect::<Vec<_>>().join(", ")
    };
    let raw =
        format!("From: {}\r\nTo: {}\r\nCc: {}\r\nSubject: Hello\r\n\r\nHello\r\n", line(&[from]), line(to), line(cc));
    let people = |all: &[(&str, &str)]| all.iter().map(person).collect::<Vec<_>>();
    let message = json!({
        "id": id, "parentFolderId": folder, "from": person(&from), "sender": person(&from), "replyTo": [],
        "toRecipients": people(to), "ccRecipients": people(cc), "bccRecipients": [], "subject": "Hello", "raw": raw,
    });
    world.put(&format!("messages:{}", user_id(address)), &id, message);
    id
}

fn seed(world: &World, person: &Person) {
    if world.all("users").is_empty() {
        organisation(world);
    }
    let [sales, support] = MAILBOXES;
    let name = format!("{} {}", person.first_name, person.last_name);
    let them = (name.as_str(), person.email.as_str());
    deliver(world, support, "inbox", them, &[("Support", support)], &[]);
    deliver(world, support, DELETIONS, ("Support", support), &[them], &[]);
    deliver(world, sales, "sentitems", ("Sales", sales), &[("Support", support)], &[them]);
}

fn count(world: &World, email: &str) -> u64 {
    let tables = world.tables();
    let messages = tables.iter().filter(|(name, _)| name.starts_with("messages:")).flat_map(|(_, all)| all.values());
    let is_theirs = |message: &&Map<String, Value>| {
        message.get("parentFolderId") != Some(&json!(PURGES)) && people(message).any(|(_, address)| address == email)
    };
    messages.filter(is_theirs).count() as u64
}

/// Everybody who takes part in a message.
fn people(message: &Map<String, Value>) -> impl Iterator<Item = (String, String)> {
    let one = ["from", "sender"].into_iter().filter_map(|key| message.get(key));
    let many =
        ["replyTo", "toRecipients", "ccRecipients", "bccRecipients"].into_iter().filter_map(|key| message.get(key));
    let all: Vec<(String, String)> = one
        .chain(many.filter_map(Value::as_array).flatten())
        .filter_map(|person| {
            let text = |at: &str| person.pointer(at).and_then(Value::as_str).map(str::to_owned);
            Some((text("/emailAddress/name")?, text("/emailAddress/address")?))
        })
        .collect();
    all.into_iter()
}

fn router(world: &Arc<World>) -> Router {
    desk_router(world, desk, refused, &["/corp.onmicrosoft.com"])
}

fn refused(_: Over) -> Response {
    let mut response = fault(429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit.");
    response.headers_mut().insert("retry-after", axum::http::HeaderValue::from_static("10"));
    response
}

fn error(code: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message, "innerError": { "request-id": "0", "date": "2026-01-01T00:00:00" } } })
}

fn fault(status: u16, code: &str, message: &str) -> Response {
    json(status, &error(code, message))
}

/// An answer to one request, inside a batch or not.
type Said = Result<(u16, Value), (u16, Value)>;

fn desk(world: &World, asked: &Asked) -> Response {
    let (method, parts) = asked.route();
    if let ("POST", [tenant, "oauth2", "v2.0", "token"]) = (method, parts.as_slice()) {
        return token(world, tenant, &asked.form());
    }
    let bearer = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if world.is_revoked() || world.get("tokens", bearer).is_none() {
        return fault(401, "InvalidAuthenticationToken", "Access token is empty or expired.");
    }
    let ["v1.0", rest @ ..] = parts.as_slice() else { return fault(404, "ResourceNotFound", "Invalid version.") };
    if let ("POST", ["$batch"]) = (method, rest) {
        return batch(world, asked.json().as_ref());
    }
    let immutable = asked.header("prefer").is_some_and(|prefer| prefer.contains("ImmutableId"));
    let query: BTreeMap<String, String> = asked.query.iter().cloned().collect();
    if let ("GET", ["users", user, "messages", id, "$value"]) = (method, rest) {
        return match open(world, user).and_then(|user| message(world, &user, id, immutable)) {
            Ok((_, message)) => {
                let raw = message.get("raw").and_then(Value::as_str).unwrap_or_default().to_owned();
                ([("content-type", "text/plain")], raw).into_response()
            }
            Err((status, body)) => json(status, &body),
        };
    }
    match one(world, method, rest, &query, immutable, &asked.origin) {
        Ok((204, _)) => empty(204),
        Ok((status, body)) | Err((status, body)) => json(status, &body),
    }
}

fn token(world: &World, tenant: &str, form: &[(String, String)]) -> Response {
    let text = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let refuse = |status, code: &str, about: &str| {
        json(status, &json!({ "error": code, "error_description": about, "error_codes": [0] }))
    };
    if tenant != TENANT {
        return refuse(400, "invalid_request", "AADSTS90002: Tenant not found.");
    }
    if text("grant_type") != "client_credentials" || !text("scope").ends_with("/.default") {
        return refuse(400, "invalid_scope", "AADSTS1002012: The provided value for scope is not valid.");
    }
    if text("client_id") != CLIENT_ID {
        return refuse(400, "unauthorized_client", "AADSTS700016: Application was not found in the directory.");
    }
    if text("client_secret") != SECRET || world.is_revoked() {
        return refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.");
    }
    let token = format!("eyJ0.{:x}", world.next_id());
    world.put("tokens", &token, json!({}));
    json(200, &json!({ "token_type": "Bearer", "expires_in": 3_599, "ext_expires_in": 3_599, "access_token": token }))
}

/// The id of the user whose mailbox this is.
fn open(world: &World, name: &str) -> Result<String, (u16, Value)> {
    let user = world.all("users").into_iter().find(|(id, user)| {
        id == name || user["userPrincipalName"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name))
    });
    let Some((id, user)) = user else {
        return Err((404, error("ErrorInvalidUser", &format!("The requested user '{name}' is invalid."))));
    };
    if user.get("mail") == Some(&Value::Null) || user["state"] == "on_premises" {
        let about = "The mailbox is either inactive, soft-deleted, or is hosted on-premise.";
        return Err((404, error("MailboxNotEnabledForRESTAPI", about)));
    }
    let denied = world.get("settings", "access").and_then(|access| access.get("denied").cloned()).unwrap_or_default();
    if denied.as_array().into_iter().flatten().any(|one| one == &user["userPrincipalName"]) {
        return Err((403, error("ErrorAccessDenied", "Access is denied. Check credentials and try again.")));
    }
    Ok(id)
}

fn message(world: &World, user: &str, id: &str, immutable: bool) -> Result<(String, Map<String, Value>), (u16, Value)> {
    if !immutable {
        // Without the preference the ids of this world are not known.
        return Err((400, error("ErrorInvalidIdMalformed", "Id is malformed.")));
    }
    let collection = format!("messages:{user}");
    let found = world.get(&collection, id).map(|message| (collection, message));
    found.ok_or_else(|| (404, error("ErrorItemNotFound", "The specified object was not found in the store.")))
}

fn one(
    world: &World,
    method: &str,
    parts: &[&str],
    query: &BTreeMap<String, String>,
    immutable: bool,
    origin: &str,
) -> Said {
    match (method, parts) {
        ("GET", ["users"]) => {
            let all: Vec<Value> = world
                .all("users")
                .into_iter()
                .map(|(_, user)| json!({ "id": user["id"], "mail": user["mail"], "userPrincipalName": user["userPrincipalName"] }))
                .collect();
            list(&all, query, &format!("{origin}/v1.0/users"))
        }
        ("GET", ["users", user, "mailFolders", folder]) => {
            open(world, user)?;
            Ok((200, json!({ "id": folder, "displayName": folder })))
        }
        ("GET", ["users", user, rest @ .., "messages"])
            if rest.is_empty() || (rest.len() == 2 && rest[0] == "mailFolders") =>
        {
            let id = open(world, user)?;
            let at = format!("{origin}/v1.0/{}", parts.join("/"));
            messages(world, &id, rest.get(1).copied(), query, &at, immutable)
        }
        ("GET", ["users", user, "messages", id]) => {
            let (_, found) = message(world, &open(world, user)?, id, immutable)?;
            Ok((200, selected(&found, query)))
        }
        ("POST", ["users", user, "messages", id, "permanentDelete"]) => {
            let (collection, mut found) = message(world, &open(world, user)?, id, immutable)?;
            if found.get("parentFolderId") == Some(&json!(PURGES)) {
                return Err((404, error("ErrorItemNotFound", "The specified object was not found in the store.")));
            }
            found.insert("parentFolderId".into(), json!(PURGES));
            world.put(&collection, id, Value::Object(found));
            Ok((204, Value::Null))
        }
        _ => Err((405, error("Request_BadRequest", "Specified HTTP method is not allowed for the request target."))),
    }
}

fn selected(message: &Map<String, Value>, query: &BTreeMap<String, String>) -> Value {
    let wanted: Vec<&str> = query.get("$select").map_or(FIELDS.to_vec(), |fields| fields.split(',').collect());
    let keep = |key: &str| wanted.contains(&key) || key == "id";
    Value::Object(
        message.iter().filter(|(key, _)| keep(key)).map(|(key, value)| (key.clone(), value.clone())).collect(),
    )
}

fn messages(
    world: &World,
    user: &str,
    folder: Option<&str>,
    query: &BTreeMap<String, String>,
    at: &str,
    immutable: bool,
) -> Said {
    if let Some(unknown) =
        query.keys().find(|key| !["$filter", "$search", "$select", "$top", "$skip", "$orderby"].contains(&key.as_str()))
    {
        return Err((400, error("BadRequest", &format!("The query parameter '{unknown}' is not supported."))));
    }
    if query.contains_key("$filter") && query.contains_key("$search") {
        return Err((
            400,
            error("SearchWithFilter", "The query parameters '$filter' and '$search' cannot be combined."),
        ));
    }
    let in_folder = |message: &Map<String, Value>| {
        let parent = message["parentFolderId"].as_str().unwrap_or_default();
        folder.map_or(!parent.starts_with("recoverableitems"), |folder| parent == folder)
    };
    let all = world.all(&format!("messages:{user}")).into_iter().map(|(_, message)| message).filter(in_folder);
    let mut found: Vec<Map<String, Value>> = match (query.get("$filter"), query.get("$search")) {
        (Some(filter), _) => {
            let wanted = senders(filter).ok_or((400, error("BadRequest", "Invalid filter clause.")))?;
            let is_from = |message: &Map<String, Value>| {
                let sender =
                    message["from"].pointer("/emailAddress/address").and_then(Value::as_str).unwrap_or_default();
                wanted.iter().any(|one| one.eq_ignore_ascii_case(sender))
            };
            all.filter(is_from).collect()
        }
        (_, Some(search)) => {
            let wanted = participant(search).ok_or((400, error("BadRequest", "Syntax error in $search.")))?;
            all.filter(|message| people(message).any(|(name, address)| is_about(&format!("{name} {address}"), &wanted)))
                .take(SEARCH_MAX)
                .collect()
        }
        _ => all.collect(),
    };
    if !immutable {
        for message in &mut found {
            message.insert("id".into(), json!(format!("changes-{}", world.next_id())));
        }
    }
    let values: Vec<Value> = found.iter().map(|message| selected(message, query)).collect();
    list(&values, query, at)
}

fn list(all: &[Value], query: &BTreeMap<String, String>, at: &str) -> Said {
    let number = |name: &str, usual: usize| match query.get(name) {
        None => Ok(usual),
        Some(text) => text.parse().map_err(|_| (400, error("BadRequest", "Invalid value for a query parameter."))),
    };
    let (from, size): (usize, usize) = (number("$skip", 0)?, number("$top", 10)?);
    let page: Vec<&Value> = all.iter().skip(from).take(size).collect();
    let mut body = json!({ "@odata.context": "https://graph.microsoft.com/v1.0/$metadata", "value": page });
    if from + size < all.len() {
        let pairs = query.iter().filter(|(key, _)| *key != "$skip");
        let next = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .append_pair("$skip", &(from + size).to_string())
            .finish();
        body["@odata.nextLink"] = format!("{at}?{next}").into();
    }
    Ok((200, body))
}

/// The addresses of `from/emailAddress/address eq 'x' or sender/emailAddress/address eq 'x'`.
fn senders(filter: &str) -> Option<Vec<String>> {
    let mut rest = filter;
    let mut found = Vec::new();
    loop {
        let after = ["from", "sender"]
            .iter()
            .find_map(|who| rest.strip_prefix(*who)?.strip_prefix("/emailAddress/address eq '"))?;
        let (mut text, mut chars) = (String::new(), after.char_indices().peekable());
        let end = loop {
            match chars.next()? {
                (_, '\'') if chars.peek().is_some_and(|(_, c)| *c == '\'') => {
                    chars.next();
                    text.push('\'');
                }
                (at, '\'') => break at,
                (_, c) => text.push(c),
            }
        };
        found.push(text);
        rest = &after[end + 1..];
        if rest.is_empty() {
            return Some(found);
        }
        rest = rest.strip_prefix(" or ")?;
    }
}

/// The address of `"participants:\"x\""`.
fn participant(search: &str) -> Option<String> {
    let inner = search.strip_prefix("\"participants:\\\"")?.strip_suffix("\\\"\"")?;
    (!inner.is_empty() && !inner.contains(['"', '\\'])).then(|| inner.to_lowercase())
}

/// Words, in whatever a participant is called.
fn is_about(text: &str, wanted: &str) -> bool {
    let text = text.to_lowercase();
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (all, some) = (words(&text), words(wanted));
    text.contains(wanted) || (!some.is_empty() && all.windows(some.len()).any(|part| part == some.as_slice()))
}

fn batch(world: &World, body: Option<&Value>) -> Response {
    let requests = body.and_then(|body| body.get("requests")).and_then(Value::as_array).cloned().unwrap_or_default();
    if requests.is_empty() || requests.len() > 20 {
        return fault(400, "BadRequest", "Number of batch request steps must be between 1 and 20.");
    }
    let (mut statuses, mut at_once): (BTreeMap<String, u16>, BTreeMap<String, usize>) =
        (BTreeMap::new(), BTreeMap::new());
    let mut responses = Vec::new();
    for request in &requests {
        let text = |key: &str| request.get(key).and_then(Value::as_str).unwrap_or_default();
        let keys_known = request.as_object().is_some_and(|object| {
            object.keys().all(|key| ["id", "method", "url", "headers", "body", "dependsOn"].contains(&key.as_str()))
        });
        if text("id").is_empty() || !text("url").starts_with('/') || !keys_known || statuses.contains_key(text("id")) {
            return fault(400, "BadRequest", "Invalid batch payload format.");
        }
        let before: Vec<&str> = request
            .get("dependsOn")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let (path, query) = text("url").split_once('?').unwrap_or((text("url"), ""));
        let parts: Vec<String> = path.split('/').skip(1).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let together = at_once.entry(parts.get(1).copied().unwrap_or_default().to_owned()).or_default();
        *together += usize::from(before.is_empty());
        let mut headers = json!({ "Content-Type": "application/json" });
        let (status, body) = if before.iter().any(|id| statuses.get(*id).is_none_or(|status| *status >= 400)) {
            (424, error("FailedDependency", "A dependency failed."))
        } else if *together > 4 {
            headers["Retry-After"] = "10".into();
            (429, error("ApplicationThrottled", "Application is over its MailboxConcurrency limit."))
        } else {
            let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let immutable = request["headers"]["Prefer"].as_str().is_some_and(|prefer| prefer.contains("ImmutableId"));
            match one(world, text("method"), &parts, &query, immutable, "https://graph.microsoft.com") {
                Ok(said) | Err(said) => said,
            }
        };
        statuses.insert(text("id").to_owned(), status);
        responses.push(json!({ "id": text("id"), "status": status, "headers": headers, "body": body }));
    }
    // They come in no order.
    responses.reverse();
    json(200, &json!({ "responses": responses }))
}

fn decoded(part: &str) -> String {
    let escaped = part.replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
    url::form_urlencoded::parse(escaped.as_bytes()).map(|(key, _)| key.into_owned()).next().unwrap_or_default()
}
