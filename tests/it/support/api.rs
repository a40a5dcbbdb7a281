//! An [`ApiClient`] is a controller's program that calls the API.

use super::PATIENCE;
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

/// A client that goes through no proxy.
pub(super) fn http() -> reqwest::Client {
    // A second installation could only come from another test of this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_mins(1)).no_proxy().build().expect("a plain client")
}

/// The status in the view of a request.
pub(crate) fn status_of(view: &Value) -> &str {
    view["status"].as_str().unwrap_or_default()
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// The pointers of the faults in a problem document, which it must be.
    #[track_caller]
    pub(crate) fn faults(&self, status: u16) -> Vec<String> {
        let problem = self.problem(status);
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        for fault in &errors {
            assert!(
                fault["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
                "a fault without words: {problem}"
            );
        }
        errors.iter().map(|fault| fault["pointer"].as_str().expect("every fault has a pointer").to_owned()).collect()
    }

    /// A problem document with this status (RFC 9457), in words.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        let words = problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or_default();
        assert!(words.len() > 8, "a problem without words: {problem}");
        problem
    }
}

/// A caller with a key.
#[derive(Debug, Clone)]
pub(crate) struct ApiClient {
    pub(crate) base: String,
    pub(crate) key: String,
    http: reqwest::Client,
}

impl ApiClient {
    pub(crate) fn new(base: String, key: String) -> Self {
        Self { base, key, http: http() }
    }

    /// Sends anything; `None` if nobody answers.
    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Option<Answer> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            request = request.bearer_auth(&self.key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.into()).send().await.ok()?;
        let status = response.status().as_u16();
        let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = response.bytes().await.ok()?.to_vec();
        Some(Answer { status, headers, body })
    }

    /// Sends anything. Whatever is sent, the service must not say that it is the one at fault.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let answer = self.try_send(method, path, headers, body).await;
        let answer = answer.unwrap_or_else(|| panic!("{method} {path}: no answer"));
        assert!(answer.status < 500, "{method} {path}: {} {}", answer.status, answer.text());
        answer
    }

    /// Reads something.
    pub(crate) async fn read(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// Sends a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// Submits a request, which must be accepted; its first view.
    pub(crate) async fn submit(&self, body: &Value) -> Value {
        let answer = self.post("/v1/requests", body).await;
        let view = answer.expect(202);
        let location = format!("/v1/requests/{}", id_of(&view));
        assert!(answer.header("location").is_some_and(|l| l.ends_with(&location)), "{:?}", answer.headers);
        view
    }

    /// Submits a request; its id.
    pub(crate) async fn submitted(&self, body: &Value) -> String {
        id_of(&self.submit(body).await).to_owned()
    }

    /// The view of a request.
    pub(crate) async fn get(&self, id: &str) -> Value {
        self.read(&format!("/v1/requests/{id}")).await.expect(200)
    }

    /// Waits until a request's view is as wanted. A service that is down meanwhile is asked again.
    pub(crate) async fn until_view(&self, id: &str, wanted: impl Fn(&Value) -> bool, limit: Duration) -> Value {
        let end = Instant::now() + limit;
        let mut last = Value::Null;
        loop {
            let answer = self.try_send("GET", &format!("/v1/requests/{id}"), &[], "").await;
            if let Some(answer) = answer.filter(|answer| answer.status != 503) {
                last = answer.expect(200);
                if wanted(&last) {
                    return last;
                }
            }
            assert!(Instant::now() < end, "{id} is not as wanted after {} s: {last:#}", limit.as_secs());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until a request's status is as wanted.
    pub(crate) async fn until(&self, id: &str, wanted: impl Fn(&str) -> bool, limit: Duration) -> Value {
        self.until_view(id, |view| wanted(status_of(view)), limit).await
    }

    /// Waits until a request has ended or a person must do something.
    pub(crate) async fn settled(&self, id: &str) -> Value {
        let waits = |status: &str| matches!(status, "needs_attention" | "awaiting_approval" | "cooling_off" | "review");
        self.until_view(id, |view| !view["closed_at"].is_null() || waits(status_of(view)), PATIENCE).await
    }

    /// Waits until a request has ended.
    pub(crate) async fn closed(&self, id: &str) -> Value {
        self.until_view(id, |view| !view["closed_at"].is_null(), PATIENCE).await
    }

    /// Submits a request and waits until it is completed.
    pub(crate) async fn fulfilled(&self, body: &Value) -> Value {
        let view = self.settled(&self.submitted(body).await).await;
        assert_eq!(status_of(&view), "completed", "{view:#}");
        view
    }

    /// Decides about a request: `approve`, `withdraw`, `retry` …
    pub(crate) async fn act(&self, id: &str, verb: &str) -> Answer {
        self.send("POST", &format!("/v1/requests/{id}/{verb}"), &[], "").await
    }

    /// The audit trail of a request.
    pub(crate) async fn events(&self, id: &str) -> Vec<Value> {
        let answer = self.read(&format!("/v1/requests/{id}/events")).await.expect(200);
        answer["events"].as_array().expect("a list of events").clone()
    }

    /// The access package of a request.
    pub(crate) async fn package(&self, id: &str) -> Vec<u8> {
        let answer = self.read(&format!("/v1/requests/{id}/package")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/zip")), "{}", answer.text());
        answer.body
    }

    /// The certificate of a request, as it was signed.
    pub(crate) async fn certificate(&self, id: &str) -> Vec<u8> {
        let answer = self.read(&format!("/v1/requests/{id}/certificate")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }

    /// The whole audit log of the controller.
    pub(crate) async fn audit(&self) -> Vec<u8> {
        let mut log = Vec::new();
        let mut after = 0;
        loop {
            let page = self.read(&format!("/v1/audit?after={after}&limit=1000")).await;
            assert_eq!(page.status, 200, "{}", page.text());
            let Some(last) = page.text().lines().last().map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            else {
                return log;
            };
            after = last["seq"].as_i64().expect("every event has a number");
            log.extend(page.body);
        }
    }

    /// The installation's public key.
    pub(crate) async fn signing_key(&self) -> String {
        let answer = self.read("/v1/signing-key").await.expect(200);
        answer["public_key"].as_str().expect("a key").to_owned()
    }
}

/// The id in the view of a request.
pub(crate) fn id_of(view: &Value) -> &str {
    view["id"].as_str().unwrap_or_else(|| panic!("a request without an id: {view}"))
}
