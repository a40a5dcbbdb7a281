//! The API from a terminal. The service is `--url` or REDRESS_URL, the key `--api-key` or REDRESS_API_KEY.

use super::Json;
use crate::config::Environment;
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

/// Where the service is and who calls.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The service; REDRESS_URL, else http://127.0.0.1:8080.
    #[arg(long)]
    url: Option<String>,
    /// The API key; better given as REDRESS_API_KEY, where no process list shows it.
    #[arg(long)]
    api_key: Option<String>,
}

/// A connection that is settled.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Connection {
    pub(crate) fn open(&self, environment: &Environment) -> Result<Client> {
        let base = self.url.clone().or_else(|| environment.get("REDRESS_URL").map(str::to_owned));
        let key = self.api_key.clone().or_else(|| environment.get("REDRESS_API_KEY").map(str::to_owned));
        let key = key.ok_or_else(|| anyhow!("no API key; set REDRESS_API_KEY (redress key create makes one)"))?;
        Client::new(base.as_deref().unwrap_or("http://127.0.0.1:8080"), key)
    }
}

impl Client {
    pub(crate) fn new(base: &str, key: String) -> Result<Self> {
        let http =
            reqwest::Client::builder().timeout(Duration::from_mins(1)).no_proxy().build().context("the HTTP client")?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), key })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, String)],
    ) -> Result<reqwest::Response> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .map_err(|_| anyhow!("{} does not answer; is `redress serve` running there?", self.base))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem: Value = response.json().await.unwrap_or_default();
        bail!("{}", describe(status.as_u16(), &problem))
    }

    /// Calls and reads JSON.
    pub(crate) async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.send(method, path, body, &[]).await?.json().await.context("the answer is not JSON")
    }

    /// Calls and reads bytes.
    pub(crate) async fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.send(Method::GET, path, None, &[]).await?.bytes().await.context("the answer broke off")?.to_vec())
    }

    /// Waits until a request has ended or needs a person.
    pub(crate) async fn until_settled(&self, id: &str, limit: Duration) -> Result<Value> {
        let mut waited = Duration::ZERO;
        let pause = Duration::from_millis(50);
        loop {
            let view = self.json(Method::GET, &format!("/v1/requests/{id}"), None).await?;
            let status = view["status"].as_str().unwrap_or_default();
            let waits = matches!(
                status,
                "needs_attention" | "awaiting_approval" | "cooling_off" | "review" | "awaiting_controller"
            );
            if !view["closed_at"].is_null() || waits {
                return Ok(view);
            }
            if waited >= limit {
                bail!("{id} is still {status} after {} s; `redress show {id}` tells more", limit.as_secs());
            }
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }
}

fn describe(status: u16, problem: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or("refused");
    let faults = problem["errors"].as_array().into_iter().flatten();
    let faults = faults.map(|fault| format!("; {} {}", text(&fault["pointer"]), text(&fault["detail"])));
    format!("{status} {what}{}", faults.collect::<String>())
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    connection: Connection,
    /// access, portability, correction, deletion, restriction or objection.
    #[arg(long = "type", required_unless_present = "file", value_name = "TYPE")]
    kind: Option<String>,
    /// E-mail address of the person; may be given several times.
    #[arg(long)]
    email: Vec<String>,
    /// Phone number of the person.
    #[arg(long)]
    phone: Vec<String>,
    /// The controller's own id of the person.
    #[arg(long)]
    customer_id: Vec<String>,
    /// A field to put right, as field=value.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    corrections: Vec<String>,
    /// The controller's own reference.
    #[arg(long)]
    reference: Option<String>,
    /// Id of a regulation.
    #[arg(long)]
    regulation: Option<String>,
    /// ISO 3166 code.
    #[arg(long)]
    jurisdiction: Option<String>,
    /// When the person asked the controller (RFC 3339 with offset).
    #[arg(long, value_name = "TIME")]
    received_at: Option<String>,
    /// Only in this connected system; may be given several times.
    #[arg(long)]
    system: Vec<String>,
    /// Where status changes are told.
    #[arg(long)]
    callback_url: Option<String>,
    /// The whole body as JSON from a file, `-` for standard input: keeps identifiers out of the process list.
    #[arg(long, conflicts_with_all = ["kind", "email", "phone", "customer_id", "corrections"])]
    file: Option<PathBuf>,
    /// The same key never makes a second request.
    #[arg(long)]
    idempotency_key: Option<String>,
    /// Wait until it has ended, or needs a person.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Json,
}

impl Submit {
    fn body(&self) -> Result<Value> {
        if let Some(path) = &self.file {
            let mut text = String::new();
            if path.as_os_str() == "-" {
                std::io::stdin().read_to_string(&mut text).context("standard input")?;
            } else {
                text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            }
            return serde_json::from_str(&text).context("the body is not JSON");
        }
        let mut identifiers = Vec::new();
        for (kind, values) in [("email", &self.email), ("phone", &self.phone), ("customer_id", &self.customer_id)] {
            identifiers.extend(values.iter().map(|value| json!({ "type": kind, "value": value })));
        }
        let mut body = json!({ "type": self.kind, "subject": { "identifiers": identifiers } });
        let optional = [
            ("reference", &self.reference),
            ("regulation", &self.regulation),
            ("jurisdiction", &self.jurisdiction),
            ("data_subject_received_at", &self.received_at),
            ("callback_url", &self.callback_url),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        if !self.system.is_empty() {
            body["systems"] = json!(self.system);
        }
        let mut corrections = Vec::new();
        for correction in &self.corrections {
            let (field, value) = correction.split_once('=').ok_or_else(|| anyhow!("--set needs field=value"))?;
            corrections.push(json!({ "field": field, "value": value }));
        }
        if !corrections.is_empty() {
            body["corrections"] = json!(corrections);
        }
        Ok(body)
    }

    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        let client = self.connection.open(environment)?;
        let headers: Vec<_> =
            self.idempotency_key.iter().map(|key| ("Idempotency-Key", format!("\"{key}\""))).collect();
        let mut view: Value =
            client.send(Method::POST, "/v1/requests", Some(&self.body()?), &headers).await?.json().await?;
        if self.wait {
            let id = view["id"].as_str().unwrap_or_default().to_owned();
            view = client.until_settled(&id, Duration::from_hours(1)).await?;
        }
        print(&view, self.output.json);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    connection: Connection,
    /// The request, `dsr_…`.
    id: String,
    /// Its events too.
    #[arg(long)]
    events: bool,
    /// Why its dates are what they are, and when it is expected to end.
    #[arg(long)]
    why: bool,
    #[command(flatten)]
    output: Json,
}

impl Show {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        let client = self.connection.open(environment)?;
        let mut view = client.json(Method::GET, &format!("/v1/requests/{}", self.id), None).await?;
        if self.events {
            view["events"] =
                client.json(Method::GET, &format!("/v1/requests/{}/events", self.id), None).await?["events"].take();
        }
        print(&view, self.output.json);
        if self.why && !self.output.json {
            print_why(&view);
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    connection: Connection,
    /// Only with this status.
    #[arg(long)]
    status: Option<String>,
    /// Only of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only in this band: on_track, at_risk, critical or overdue.
    #[arg(long)]
    band: Option<String>,
    /// Only with a step in this system.
    #[arg(long)]
    system: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    output: Json,
}

impl List {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        let client = self.connection.open(environment)?;
        let mut query = url::form_urlencoded::Serializer::new(format!("limit={}", self.limit));
        query.clear();
        query.append_pair("limit", &self.limit.to_string());
        for (name, value) in
            [("status", &self.status), ("type", &self.kind), ("band", &self.band), ("system", &self.system)]
        {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let answer = client.json(Method::GET, &format!("/v1/requests?{}", query.finish()), None).await?;
        if self.output.json {
            println!("{answer}");
            return Ok(());
        }
        for view in answer["requests"].as_array().into_iter().flatten() {
            println!("{}", line(view));
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Act {
    #[command(flatten)]
    pub(super) connection: Connection,
    /// The request, `dsr_…`.
    pub(super) id: String,
    #[command(flatten)]
    pub(super) output: Json,
}

impl Act {
    pub(super) async fn run(self, environment: &Environment, verb: &str) -> Result<()> {
        let client = self.connection.open(environment)?;
        let view = client.json(Method::POST, &format!("/v1/requests/{}/{verb}", self.id), Some(&json!({}))).await?;
        print(&view, self.output.json);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    act: Act,
    /// Reason code, such as identity_not_proven.
    #[arg(long)]
    reason: String,
}

impl Reject {
    pub(super) async fn run(self, environment: &Environment) -> Result<()> {
        let client = self.act.connection.open(environment)?;
        let body = json!({ "reason": self.reason });
        let view = client.json(Method::POST, &format!("/v1/requests/{}/reject", self.act.id), Some(&body)).await?;
        print(&view, self.act.output.json);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Fetch {
    #[command(flatten)]
    connection: Connection,
    /// The request, `dsr_…`.
    id: String,
    /// Where to write it; standard output if left out.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

impl Fetch {
    pub(super) async fn run(self, environment: &Environment, what: &str) -> Result<()> {
        let client = self.connection.open(environment)?;
        let bytes = client.bytes(&format!("/v1/requests/{}/{what}", self.id)).await?;
        match &self.output {
            None => std::io::stdout().write_all(&bytes).context("standard output")?,
            Some(path) => {
                std::fs::write(path, &bytes).with_context(|| path.display().to_string())?;
                eprintln!("wrote {} ({} bytes)", path.display(), bytes.len());
            }
        }
        Ok(())
    }
}

/// Writes the controller's whole audit log to standard output.
pub(super) async fn audit(connection: &Connection, environment: &Environment) -> Result<()> {
    let client = connection.open(environment)?;
    let mut after = 0;
    loop {
        let page = client.bytes(&format!("/v1/audit?after={after}&limit=1000")).await?;
        let Some(last) = page.trim_ascii_end().rsplit(|b| *b == b'\n').next().filter(|l| !l.is_empty()) else {
            return Ok(());
        };
        let event: Value = serde_json::from_slice(last).context("the audit log")?;
        after = event["seq"].as_i64().context("the audit log")?;
        std::io::stdout().write_all(&page).context("standard output")?;
    }
}

fn line(view: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!(
        "{}  {:<11} {:<20} due {}  {}",
        text(&view["id"]),
        text(&view["type"]),
        text(&view["status"]),
        text(&view["deadlines"]["effective"]["due_on"]),
        text(&view["band"])
    )
}

/// The sentences behind a request's dates, and behind its forecast.
fn print_why(view: &Value) {
    let forecast = &view["forecast"];
    for (title, sentences) in [("dates", &view["deadlines"]["trace"]), ("forecast", &forecast["because"])] {
        let sentences: Vec<&str> = sentences.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !sentences.is_empty() {
            println!("  {title}:");
        }
        for sentence in sentences {
            println!("  - {sentence}");
        }
    }
    if let Some(at) = forecast["finishes_at"].as_str() {
        println!("  expected to end: {at}{}", if forecast["late"] == true { ", too late" } else { "" });
    }
}

pub(super) fn print(view: &Value, json: bool) {
    if json {
        println!("{view}");
        return;
    }
    println!("{}", line(view));
    if let Some(attention) = view["attention"].as_str() {
        println!("  needs attention: {attention}");
    }
    for step in view["steps"].as_array().into_iter().flatten() {
        let count = |name: &str| step[name].as_i64().map_or_else(|| "-".to_owned(), |n| n.to_string());
        println!(
            "  {:<16} {:<8} {:<15} found {:>4}  changed {:>4}",
            step["system"].as_str().unwrap_or_default(),
            step["verb"].as_str().unwrap_or_default(),
            step["status"].as_str().unwrap_or_default(),
            count("found"),
            count("changed")
        );
        if let Some(detail) = step["error"]["detail"].as_str() {
            println!("    {}: {detail}", step["error"]["code"].as_str().unwrap_or_default());
        }
    }
    for event in view["events"].as_array().into_iter().flatten() {
        println!(
            "  {}  {}  by {}",
            event["at"].as_str().unwrap_or_default(),
            event["kind"].as_str().unwrap_or_default(),
            event["actor"].as_str().unwrap_or_default()
        );
    }
}
