//! A form of the board is a call of the native API: it is turned into one here and carried out by the same routes, so that a person
//! may do on a page exactly what they may do by the API, and is told the same faults.
//!
//! A form posts to `/act` with the path of the call after it (`/act/v1/requests/dsr_…/extend`). Its fields become the members of a
//! JSON body: `name` is a text, `name:number`, `name:flag` and `name:list` (lines or commas) are what they say; an empty field is left
//! out. `a.b` is the member `b` of the object `a`, `a.0.b` that of the first object in the list `a`. Fields of the form itself: `csrf`
//! (the page's token), `_method` (`put`, `delete`), `_next` (the page to show afterwards), `_done` (the word for what was done, see
//! [`done`]) and, for a file, `name:file`, which becomes `{"collection", "name", "media_type", "content"}` in base64 at the end of a list.

use super::errors::explain;
use crate::http::auth::{Viewer, Vouched, Who, vouch};
use crate::http::problem::Problem;
use crate::http::{Edge, api_routes};
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_connectors::report::REPORT_MAX;
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

/// The longest answer of a call that is read to tell its faults.
const ANSWER_MAX: usize = 1 << 20;

/// `POST /act/{*call}`
pub(crate) async fn act(State(edge): State<Edge>, request: Request) -> Result<Response, Problem> {
    let viewer = Viewer::find(request.headers(), &edge).await?;
    let viewer = viewer.filter(|viewer| !matches!(viewer.who, Who::Local)).ok_or_else(Problem::sign_in_first)?;
    let headers = request.headers().clone();
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let target = target.strip_prefix("/act").unwrap_or_default().to_owned();
    if !target.starts_with("/v1/") {
        return Err(Problem::not_found());
    }
    let mut form = Form::read(request, &edge).await?;
    vouch(&headers, &viewer, &form.take("csrf").unwrap_or_default())?;
    let method = match form.take("_method").as_deref() {
        Some("put") => Method::PUT,
        Some("delete") => Method::DELETE,
        _ => Method::POST,
    };
    let next = form.take("_next").filter(|next| is_local_path(next)).unwrap_or_else(|| "/".to_owned());
    let word = form.take("_done").unwrap_or_default();
    let body = form.body()?;

    let (status, answer) = call(&edge, headers, method, &target, body).await?;
    if status.is_success() {
        // What is shown once is shown here: a page that is loaded again does not have it.
        if target.ends_with("/reveal") {
            return super::request::revealed(&edge, &viewer, &answer).await;
        }
        if target.starts_with("/v1/webhooks") && answer["secret"].is_string() {
            return Ok(super::settings::secret_made(&edge, &viewer, &answer));
        }
        return Ok(see(&next, &word));
    }
    Ok(explain(Some(&viewer), &edge, status, &answer, Some(&next)))
}

/// A call of the native API with the rights of whoever sent `headers`, for a form that was vouched for: its status and its JSON.
pub(super) async fn call(
    edge: &Edge,
    mut headers: HeaderMap,
    method: Method,
    target: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Value), Problem> {
    headers.remove(CONTENT_LENGTH);
    headers.remove(CONTENT_TYPE);
    let uri: Uri = target.parse().map_err(|_| Problem::not_found())?;
    let mut call = Request::new(Body::empty());
    *call.method_mut() = method;
    *call.uri_mut() = uri;
    *call.headers_mut() = headers;
    if let Some(body) = body {
        call.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *call.body_mut() = Body::from(body.to_string());
    }
    call.extensions_mut().insert(Vouched);
    let Ok(answer) = api_routes().with_state(edge.clone()).oneshot(call).await;
    let status = answer.status();
    let bytes = to_bytes(answer.into_body(), ANSWER_MAX).await.unwrap_or_default();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}

/// The page to show after a form, with the word for what was done.
pub(super) fn see(next: &str, word: &str) -> Response {
    let mut target = next.to_owned();
    if done(word).is_some() {
        target.push(if next.contains('?') { '&' } else { '?' });
        target.push_str("done=");
        target.push_str(word);
    }
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(target) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

/// The sentence for what was done; the word comes back in the address of the page, so only these are known.
pub(super) fn done(word: &str) -> Option<&'static str> {
    Some(match word {
        "approved" => "Approved. Work goes on.",
        "rejected" => "Rejected. The controller is told.",
        "withdrawn" => "Withdrawn. Nothing more is done.",
        "retried" => "It is tried again.",
        "paused" => "Paused.",
        "resumed" => "Resumed.",
        "extended" => "Extended. The new date holds now.",
        "acknowledged" => "The acknowledgement is recorded.",
        "completed" => "The report was taken in; the step goes on from it.",
        "sent_again" => "It is sent again, by the same id.",
        "checked" => "Checked. What was found stands with the system.",
        "held" => "The hold is set. What it stops is not changed from now on.",
        "hold_released" => "The hold is released. What it stopped goes on by itself.",
        "hold_reviewed" => "The review is recorded.",
        "kept" => "The data are kept. The request ends without changing them, with the reason.",
        "saved" => "Saved.",
        "removed" => "Removed.",
        "revoked" => "Revoked. It holds no longer.",
        "ended" => "Ended.",
        "instructed" => "Said. It holds now, or when a second person says the same.",
        "enabled" => "Enabled. What was given up there is sent again.",
        "broken" => "You hold emergency rights. Everybody is told.",
        "signed_out" => "Signed out everywhere.",
        "tested" => "The test was taken.",
        "signed_in" => "You are signed in.",
        "left" => "You are signed out.",
        _ => return None,
    })
}

/// A path on this service and nothing else, not even `//host`.
pub(super) fn is_local_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.len() <= 2_000
        && path.bytes().all(|b| b.is_ascii_graphic())
}

/// The fields of a form, in their order.
pub(super) struct Form(Vec<(String, Field)>);

enum Field {
    Text(String),
    File(Value),
}

impl Form {
    pub(super) async fn read(request: Request, edge: &Edge) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let unreadable = |()| Problem::bad_request("the form cannot be read; load the page again and repeat it");
        if kind.starts_with("multipart/form-data") {
            let (parts, body) = request.into_parts();
            let bytes = to_bytes(body, REPORT_MAX).await.map_err(|_| Problem::too_large(REPORT_MAX))?;
            let mut request = Request::from_parts(parts, Body::from(bytes));
            // It was measured above; the framework's own measure is shorter.
            DefaultBodyLimit::max(REPORT_MAX).apply(&mut request);
            let mut parts = Multipart::from_request(request, &()).await.map_err(|error| {
                tracing::debug!(status = %error.status(), "a form that cannot be read");
                unreadable(())
            })?;
            let mut all = Vec::new();
            while let Some(part) = parts.next_field().await.map_err(|_| unreadable(()))? {
                let name = part.name().unwrap_or_default().to_owned();
                let (file, media) = (part.file_name().map(str::to_owned), part.content_type().map(str::to_owned));
                let bytes = part.bytes().await.map_err(|_| unreadable(()))?;
                if let Some(name) = name.strip_suffix(":file") {
                    // A field for a file in which none was chosen comes without a name and empty.
                    if !bytes.is_empty() {
                        let file = json!({
                            "collection": FILES_OF_FORMS,
                            "name": harmless(&file.unwrap_or_default()),
                            "media_type": media.unwrap_or_else(|| "application/octet-stream".to_owned()),
                            "content": STANDARD.encode(&bytes),
                        });
                        all.push((name.to_owned(), Field::File(file)));
                    }
                } else {
                    let text = String::from_utf8(bytes.to_vec()).map_err(|_| unreadable(()))?;
                    all.push((name, Field::Text(text)));
                }
            }
            return Ok(Self(all));
        }
        let bytes = to_bytes(request.into_body(), edge.body_limit).await;
        let bytes = bytes.map_err(|_| Problem::too_large(edge.body_limit))?;
        let pairs = url::form_urlencoded::parse(&bytes);
        Ok(Self(pairs.map(|(name, value)| (name.into_owned(), Field::Text(value.into_owned()))).collect()))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(field, value)| field == name && matches!(value, Field::Text(_)))?;
        match self.0.remove(at).1 {
            Field::Text(text) => Some(text),
            Field::File(_) => None,
        }
    }

    /// The body of the call; none if no field is left.
    pub(super) fn body(self) -> Result<Option<Value>, Problem> {
        let mut members = Map::new();
        for (name, field) in self.0 {
            let (name, value) = match field {
                Field::File(file) => {
                    let files = members.entry(name).or_insert_with(|| json!([]));
                    if let Value::Array(files) = files {
                        files.push(file);
                    }
                    continue;
                }
                // Browsers send line breaks as CR LF.
                Field::Text(text) => {
                    let text = text.replace("\r\n", "\n");
                    let text = text.trim();
                    if text.is_empty() {
                        continue;
                    }
                    match name.split_once(':') {
                        None => (name, json!(text)),
                        Some((name, "number")) => {
                            let number = text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number));
                            (name.to_owned(), number)
                        }
                        Some((name, "flag")) => (name.to_owned(), json!(matches!(text, "true" | "on" | "1"))),
                        Some((name, "list")) => {
                            let items = text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
                            let mut items: Vec<Value> = items.map(|item| json!(item)).collect();
                            if let Some(Value::Array(before)) = found(&members, name) {
                                items = before.iter().cloned().chain(items).collect();
                            }
                            (name.to_owned(), Value::Array(items))
                        }
                        Some(_) => return Err(Problem::bad_request("the form has a field that is not known")),
                    }
                }
            };
            put(&mut members, &name, value)?;
        }
        let body = Value::Object(members.into_iter().map(|(name, value)| (name, lists(value))).collect());
        Ok(body.as_object().is_some_and(|members| !members.is_empty()).then_some(body))
    }
}

/// What a file that comes by a form belongs to, for a report of what was done.
const FILES_OF_FORMS: &str = "attached";
/// Parts of a field's name.
const DEPTH_MAX: usize = 4;
/// The longest name of a file, in bytes.
const FILE_NAME_MAX: usize = 120;

/// What stands where a name says, if anything does.
fn found<'m>(members: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    let mut parts = name.split('.');
    let first = members.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// Puts a value where its name says: `a`, `a.b`, `a.0.b`.
fn put(members: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), Problem> {
    let odd = || Problem::bad_request("the form has a field that is not known");
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() > DEPTH_MAX || parts.iter().any(|part| part.is_empty()) {
        return Err(odd());
    }
    let Some((last, before)) = parts.split_last() else { return Err(odd()) };
    let mut at = members;
    for part in before {
        let next = at.entry((*part).to_owned()).or_insert_with(|| Value::Object(Map::new()));
        at = next.as_object_mut().ok_or_else(odd)?;
    }
    at.insert((*last).to_owned(), value);
    Ok(())
}

/// Objects whose members are all numbers are lists; what was left empty in between does not count.
fn lists(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let number = |name: &String| name.parse::<u16>().ok();
    if !members.is_empty() && members.keys().all(|name| number(name).is_some()) {
        let mut items: Vec<(u16, Value)> =
            members.into_iter().map(|(name, value)| (number(&name).unwrap_or_default(), lists(value))).collect();
        items.sort_by_key(|(n, _)| *n);
        return items.into_iter().map(|(_, value)| value).collect();
    }
    Value::Object(members.into_iter().map(|(name, value)| (name, lists(value))).collect())
}

/// The name of a file without a folder, and without letters that are not seen or that turn the others around.
fn harmless(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut out = String::new();
    for c in name.chars().map(|c| if odd(c) { '_' } else { c }) {
        if out.len() + c.len_utf8() > FILE_NAME_MAX {
            break;
        }
        out.push(c);
    }
    let out = out.trim().trim_start_matches('.');
    if out.is_empty() { "file".to_owned() } else { out.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_points_is_a_place_and_numbers_make_a_list() {
        let fields = [
            ("found:number", "3"),
            ("a.b", "x"),
            ("r.4.reason", "tax"),
            ("r.2.records:number", "2"),
            ("r.2.reason", "law"),
            ("e", " "),
            ("l.x:list", "a"),
            ("l.x:list", "b,c"),
        ];
        let form = Form(fields.iter().map(|(n, v)| ((*n).to_owned(), Field::Text((*v).to_owned()))).collect());
        let body = form.body().unwrap().unwrap();
        let wanted = json!({ "found": 3, "a": { "b": "x" }, "l": { "x": ["a", "b", "c"] }, "r": [{ "records": 2, "reason": "law" }, { "reason": "tax" }] });
        assert_eq!(body, wanted);
        for name in ["a..b", ".", "a.b.c.d.e"] {
            let form = Form(vec![(name.to_owned(), Field::Text("x".into()))]);
            assert!(form.body().is_err(), "{name}");
        }
        let both = Form(vec![("a".into(), Field::Text("x".into())), ("a.b".into(), Field::Text("x".into()))]);
        assert!(both.body().is_err());
    }

    #[test]
    fn a_file_has_a_name_that_does_no_harm() {
        for (given, kept) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\temp\\report.pdf", "report.pdf"),
            ("a\u{202e}fdp.exe", "a_fdp.exe"),
            ("x\n\u{0}y", "x__y"),
            ("..", "file"),
            ("", "file"),
            (".ssh", "ssh"),
        ] {
            assert_eq!(harmless(given), kept, "{given:?}");
        }
        assert!(harmless(&"é".repeat(4_000)).len() <= FILE_NAME_MAX);
    }
}
