//! A judge is a vendor's own OpenAPI file: it refuses a request that the vendor's interface does not have.
//!
//! It is stricter than the usual mock servers: query parameters that the file does not name are refused, and so are body keys
//! that an object's schema does not name. It answers nothing; what answers mean is another question.

use super::shape::{Misfit, Shape};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// A vendor's OpenAPI file (3.0 or 3.1).
pub struct Judge {
    root: Value,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

/// A request to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'r> {
    /// Method.
    pub method: &'r str,
    /// Path, as it was sent.
    pub path: &'r str,
    /// Query, as it was sent.
    pub query: &'r str,
    /// Headers by lower-case name; credentials may be left out.
    pub headers: &'r [(String, String)],
    /// Body.
    pub body: &'r [u8],
}

impl Judge {
    /// Reads a judge.
    ///
    /// # Errors
    /// The file cannot be read or is no OpenAPI file.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let root: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        if root.get("paths").is_some_and(Value::is_object) {
            Ok(Self { root })
        } else {
            Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "is no OpenAPI file: it has no paths"))
        }
    }

    /// A judge of this document.
    pub const fn of(root: Value) -> Self {
        Self { root }
    }

    /// Whether the vendor's interface has this request.
    ///
    /// # Errors
    /// Everything by which it is not one of the vendor's. Values are not told.
    pub fn verdict(&self, request: Judged<'_>) -> Result<(), Vec<String>> {
        // A query that is too long for a URL is sent as the body of a POST that says so (Marketo).
        let body = String::from_utf8_lossy(request.body);
        let request = if request.method == "POST" && request.query == "_method=GET" {
            Judged { method: "GET", query: &body, body: &[], ..request }
        } else {
            request
        };
        let Some((path, captured)) = self.path(request.path) else {
            return Err(vec![format!("there is no path {}", request.path)]);
        };
        let method = request.method.to_lowercase();
        let Some(operation) = path.get(&method) else {
            return Err(vec![format!("{} has no method {}", request.path, request.method)]);
        };
        let mut faults = Vec::new();
        let listed = |at: &Value| -> Vec<Value> {
            let list = at.get("parameters").and_then(Value::as_array);
            list.into_iter().flatten().map(|parameter| resolve(&self.root, parameter)).cloned().collect()
        };
        let parameters: Vec<Value> = listed(path).into_iter().chain(listed(operation)).collect();
        self.query(&parameters, request, &mut faults);
        for parameter in &parameters {
            let name = parameter["name"].as_str().unwrap_or_default();
            match parameter["in"].as_str() {
                Some("header") => header(parameter, request, &mut faults),
                Some("path") => {
                    if let Some((_, text)) = captured.iter().find(|(known, _)| known == name) {
                        self.text(&format!("the path's {name}"), &parameter["schema"], text, &mut faults);
                    }
                }
                _ => {}
            }
        }
        self.body(operation, request, &mut faults);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The path of the file that fits best: the one with the most segments that are written out.
    fn path(&self, path: &str) -> Option<(&Value, Vec<(String, String)>)> {
        let segments: Vec<&str> = path.split('/').collect();
        let fits = |template: &str| -> Option<(usize, Vec<(String, String)>)> {
            let parts: Vec<&str> = template.split('/').collect();
            if parts.len() != segments.len() {
                return None;
            }
            let mut captured = Vec::new();
            let mut plain = 0;
            for (part, segment) in parts.iter().zip(&segments) {
                match (part.find('{'), part.rfind('}')) {
                    (Some(open), Some(close)) if open < close => {
                        let inner = segment.strip_prefix(&part[..open])?.strip_suffix(&part[close + 1..])?;
                        if inner.is_empty() {
                            return None;
                        }
                        let decoded = percent_decode_str(inner).decode_utf8_lossy().into_owned();
                        captured.push((part[open + 1..close].to_owned(), decoded));
                    }
                    _ if part == segment => plain += 1,
                    _ => return None,
                }
            }
            Some((plain, captured))
        };
        let paths = self.root["paths"].as_object()?.iter();
        let best = paths.filter_map(|(template, path)| fits(template).map(|(plain, captured)| (plain, path, captured)));
        best.max_by_key(|(plain, ..)| *plain).map(|(_, path, captured)| (path, captured))
    }

    fn query(&self, parameters: &[Value], request: Judged<'_>, faults: &mut Vec<String>) {
        let known: Vec<&Value> = parameters.iter().filter(|parameter| parameter["in"] == "query").collect();
        let sent: Vec<(String, String)> = url::form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
        for (name, text) in &sent {
            // Lists may be sent as `ids[]`, objects as `filter[type]`.
            let plain = name.split('[').next().unwrap_or_default();
            let exactly = known.iter().find(|parameter| parameter["name"] == name.as_str());
            match exactly.or_else(|| known.iter().find(|parameter| parameter["name"] == plain)) {
                None => faults.push(format!("there is no query parameter {name:?}")),
                Some(parameter) if exactly.is_some() => {
                    self.text(&format!("the query parameter {name:?}"), &parameter["schema"], text, faults);
                }
                Some(_) => {}
            }
        }
        for parameter in known.iter().filter(|parameter| parameter["required"] == true) {
            let name = parameter["name"].as_str().unwrap_or_default();
            if !sent.iter().any(|(sent, _)| sent == name) {
                faults.push(format!("the query parameter {name:?} is missing"));
            }
        }
    }

    /// A text of a URL, read as its schema says.
    fn text(&self, what: &str, schema: &Value, text: &str, faults: &mut Vec<String>) {
        let resolved = resolve(&self.root, schema);
        let one = |schema: &Value, text: &str| -> Value {
            match resolved_type(&self.root, schema).as_deref() {
                Some("integer") => text.parse::<i64>().map_or_else(|_| text.into(), Into::into),
                Some("number") => text.parse::<f64>().map_or_else(|_| text.into(), Into::into),
                Some("boolean") => text.parse::<bool>().map_or_else(|_| text.into(), Into::into),
                _ => text.into(),
            }
        };
        let value = if resolved["type"] == "array" {
            Value::Array(text.split(',').map(|text| one(&resolved["items"], text)).collect())
        } else {
            one(resolved, text)
        };
        for misfit in misfits(Shape::of(&self.root), resolved, &value) {
            faults.push(format!("{what} {misfit}"));
        }
    }

    fn body(&self, operation: &Value, request: Judged<'_>, faults: &mut Vec<String>) {
        let shape = Shape::strict(&self.root);
        let wanted = operation.get("requestBody").map(|body| resolve(&self.root, body));
        let Some(wanted) = wanted else {
            if !request.body.is_empty() {
                faults.push("a body is sent where none is known".to_owned());
            }
            return;
        };
        if request.body.is_empty() {
            if wanted["required"] == true {
                faults.push("the body is missing".to_owned());
            }
            return;
        }
        let media =
            request.headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value.as_str());
        let media = media.split(';').next().unwrap_or_default().trim().to_lowercase();
        let Some(content) = wanted["content"].get(&media) else {
            let known: Vec<&str> =
                wanted["content"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            return faults.push(format!("the body is sent as {media:?}; there are {}", known.join(", ")));
        };
        if media == "application/json" || media.ends_with("+json") {
            match serde_json::from_slice::<Value>(request.body) {
                Err(_) => faults.push("the body is not JSON".to_owned()),
                Ok(json) => {
                    for misfit in misfits(shape, &content["schema"], &json) {
                        faults.push(format!("the body {misfit}"));
                    }
                }
            }
        }
    }
}

/// What a schema (or a reference to one) says; lent for as long as both are there.
fn resolve<'v>(root: &'v Value, schema: &'v Value) -> &'v Value {
    Shape::of(root).resolve(schema)
}

fn resolved_type(root: &Value, schema: &Value) -> Option<String> {
    resolve(root, schema).get("type")?.as_str().map(str::to_owned)
}

fn misfits<'v>(shape: Shape<'v>, schema: &'v Value, value: &Value) -> Vec<String> {
    let told = |misfit: Misfit| format!("at /{} {}", misfit.at.join("/"), misfit.what);
    shape.misfits(schema, value).into_iter().map(told).collect()
}

fn header(parameter: &Value, request: Judged<'_>, faults: &mut Vec<String>) {
    let name = parameter["name"].as_str().unwrap_or_default().to_lowercase();
    // Credentials, and what HTTP itself settles, are not the file's business.
    let settled = matches!(name.as_str(), "authorization" | "accept" | "content-type");
    if parameter["required"] == true && !settled && !request.headers.iter().any(|(known, _)| *known == name) {
        faults.push(format!("the header {name:?} is missing"));
    }
}
