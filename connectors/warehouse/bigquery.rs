//! BigQuery (v2): a statement is a job under a name of ours, and its answer is read in pages.

use super::run::{Door, Ran, Step};
use super::statement::{Dialect, Statement};
use super::{Warehouse, tables};
use crate::http::{Answer, Call, Line, Method, SigningKey, Token, rs256, unreadable};
use crate::registry::Entry;
use crate::settings::Settings;
use crate::{Connector, Problem, Secret, SpecFault, SystemSpec, Trouble};
use async_trait::async_trait;
use redress_domain::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "bigquery",
    about: "tables of Google BigQuery, with a service account",
    settings: "{ project = \"acme-data\", service_account = \"redress@acme-data.iam.gserviceaccount.com\", location = \"EU\", \
               key_id = \"…\", time_travel_days = 7, token_url = \"…\", base_url = \"…\" }, and [[system.tables]] (dataset.table)",
    verbs: &["discover", "export", "rectify", "erase", "verify"],
};

const DIALECT: Dialect = Dialect { quote: '`', text_type: "STRING", is_named: true };
const FAIL_SAFE_DAYS: u32 = 7;
const SCOPE: &str = "https://www.googleapis.com/auth/bigquery";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const LIFE: i64 = 3_000;
/// Rows that were streamed in can be changed after at most so long.
const STREAMED: Duration = Duration::from_mins(90);
const PAGE: usize = 2_000;

/// Checks the settings and makes the connector.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let project = settings.required("project");
    let fits = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-:.".contains(c));
    if !fits(&project) {
        settings.fault("project", "must be a project's id, such as acme-data");
    }
    let location = settings.text("location");
    if location.as_deref().is_some_and(|location| !fits(location)) {
        settings.fault("location", "must be a location, such as EU or europe-west3");
    }
    let account = settings.required("service_account");
    let key_id = settings.text("key_id");
    let days = settings.number("time_travel_days", 2..=7).unwrap_or(7) as u32;
    let url = settings.text("base_url").unwrap_or_else(|| "https://bigquery.googleapis.com/".to_owned());
    let base = settings.base_url(&url, spec.network.is_anywhere());
    let token_url = settings.text("token_url").unwrap_or_else(|| "https://oauth2.googleapis.com/token".to_owned());
    let token_url = Url::parse(&token_url).ok().filter(|url| {
        url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && spec.network.is_anywhere()))
    });
    if token_url.is_none() {
        settings.fault("token_url", "must be an https URL");
    }
    let key = spec.secrets.get("private_key").map(|pem| SigningKey::from_pem(pem.expose()));
    let mut faults = settings.finish_with_tables(&["private_key"]);
    let tables = tables::read(&spec.tables, &mut faults);
    for (i, table) in tables.iter().enumerate().filter(|(_, table)| !table.name.contains('.')) {
        faults.push(SpecFault::new(format!("tables.{i}.name"), format!("{:?} must be dataset.table", table.name)));
    }
    if matches!(key, Some(None)) {
        let what = "must be the service account's private key in PEM (`private_key` of its JSON file)";
        faults.push(SpecFault::new("secrets.private_key", what));
    }
    let key = key.flatten().filter(|_| faults.is_empty());
    let (Some(base), Some(token_url), Some(key)) = (base, token_url, key) else { return Err(faults) };
    let door = BigQuery {
        line: Line::new(&spec.network, [&base, &token_url]),
        base,
        token_url,
        project,
        location,
        account,
        key_id,
        key,
        token: Token::default(),
    };
    Ok(Warehouse::connected(&ENTRY, spec, Box::new(door), tables, days + FAIL_SAFE_DAYS))
}

struct BigQuery {
    line: Line,
    base: Url,
    token_url: Url,
    project: String,
    location: Option<String>,
    account: String,
    key_id: Option<String>,
    key: SigningKey,
    token: Token,
}

impl BigQuery {
    async fn sign_in(&self) -> Result<(Secret, Option<Duration>), Trouble> {
        let now = SystemClock.now_ms() / 1_000;
        let claims = json!({
            "iss": self.account, "scope": SCOPE, "aud": self.token_url.as_str(), "iat": now - 30, "exp": now + LIFE,
        });
        let header = self.key_id.as_ref().map_or_else(|| json!({}), |id| json!({"kid": id}));
        let assertion = rs256(&self.key, &header, &claims);
        let form = [("grant_type", GRANT), ("assertion", assertion.as_str())];
        let answer = self.line.send(Call::new(Method::POST, self.token_url.clone()).form(&form).costing(0)).await?;
        if matches!(answer.status, 400 | 401) {
            return Err(refused());
        }
        if !answer.is_success() {
            return Err(answer.trouble());
        }
        let body = answer.json()?;
        let token = body["access_token"].as_str().ok_or_else(unreadable)?;
        Ok((token.to_owned().into(), body["expires_in"].as_u64().map(Duration::from_secs)))
    }

    async fn call(&self, call: Call) -> Result<Answer, Trouble> {
        let token = self.token.get(self.sign_in()).await?;
        let answer = self.line.send(call.header("authorization", format!("Bearer {}", token.expose()))).await?;
        if answer.status == 401 {
            self.token.refused(&token).await;
        }
        Ok(answer)
    }

    fn url(&self, rest: &str) -> Result<Url, Trouble> {
        self.base.join(&format!("bigquery/v2/projects/{}/{rest}", self.project)).map_err(|_| unreadable())
    }

    fn located(&self, mut url: Url) -> Url {
        if let Some(location) = &self.location {
            url.query_pairs_mut().append_pair("location", location);
        }
        url
    }

    /// When a job was made.
    async fn made(&self, id: &str) -> Result<Option<i64>, Trouble> {
        let url = self.located(self.url(&format!("jobs/{id}"))?);
        let answer = self.call(Call::new(Method::GET, url)).await?;
        match answer.status {
            404 => Ok(None),
            200 => made(&answer.json()?).map(Some),
            _ => Err(trouble(&answer)),
        }
    }

    async fn results(&self, id: &str, started_ms: i64) -> Result<Step, Trouble> {
        let (mut rows, mut columns, mut tokens) = (Vec::new(), Vec::new(), BTreeSet::new());
        let (mut token, mut total, mut affected) = (None::<String>, None, None);
        loop {
            let mut url = self.located(self.url(&format!("queries/{id}"))?);
            url.query_pairs_mut().append_pair("maxResults", &PAGE.to_string()).append_pair("timeoutMs", "20000");
            if let Some(token) = &token {
                url.query_pairs_mut().append_pair("pageToken", token);
            }
            let answer = self.call(Call::new(Method::GET, url)).await?;
            if !answer.is_success() {
                let trouble = trouble(&answer);
                // A job that failed stays failed; what was not read can be asked for again.
                return if matches!(answer.status, 400 | 403) { Ok(Step::Failed(trouble)) } else { Err(trouble) };
            }
            let body = answer.json()?;
            if !body["jobComplete"].as_bool().ok_or_else(unreadable)? {
                return Ok(Step::Running(id.to_owned()));
            }
            if token.is_none() {
                columns = fields(&body)?;
                let number = |name: &str| body[name].as_str().and_then(|text| text.parse::<u64>().ok());
                (total, affected) = (number("totalRows"), number("numDmlAffectedRows"));
            }
            take_rows(&body, &columns, &mut rows)?;
            token = body["pageToken"].as_str().filter(|token| !token.is_empty()).map(Into::into);
            match &token {
                None => break,
                Some(token) if !tokens.insert(token.clone()) => {
                    return Err(Trouble::Retry(Problem::new(
                        "list_loops",
                        "an answer goes round in circles; nothing was concluded from it",
                    )));
                }
                Some(_) => {}
            }
        }
        if affected.is_none() && total != Some(rows.len() as u64) {
            return Err(unreadable());
        }
        Ok(Step::Done(id.to_owned(), Ran { started_ms, columns, rows, affected }))
    }
}

fn made(job: &Value) -> Result<i64, Trouble> {
    let text = job["statistics"]["creationTime"].as_str().ok_or_else(unreadable)?;
    text.parse().map_err(|_| unreadable())
}

fn fields(body: &Value) -> Result<Vec<(String, bool)>, Trouble> {
    let Some(fields) = body["schema"]["fields"].as_array() else { return Ok(Vec::new()) };
    let one = |field: &Value| {
        let is_one = field["mode"].as_str() != Some("REPEATED");
        let exact = is_one && matches!(field["type"].as_str()?, "STRING" | "INTEGER" | "INT64");
        Some((field["name"].as_str()?.to_owned(), exact))
    };
    fields.iter().map(one).collect::<Option<_>>().ok_or_else(unreadable)
}

fn take_rows(body: &Value, columns: &[(String, bool)], rows: &mut Vec<Map<String, Value>>) -> Result<(), Trouble> {
    for row in body["rows"].as_array().into_iter().flatten() {
        let values = row["f"].as_array().filter(|values| values.len() == columns.len()).ok_or_else(unreadable)?;
        let value = |cell: &Value| cell.get("v").cloned().ok_or_else(unreadable);
        let cells = columns.iter().zip(values).map(|((name, _), cell)| Ok((name.clone(), value(cell)?)));
        rows.push(cells.collect::<Result<_, Trouble>>()?);
    }
    Ok(())
}

fn refused() -> Trouble {
    Trouble::Denied(Problem::new(
        "credentials_refused",
        "Google refused the service account; set its key anew with `redress apply`, then check the system",
    ))
}

/// What a refusal means. Google's message is only looked into, never shown: it may quote values.
fn trouble(answer: &Answer) -> Trouble {
    let body = answer.json().unwrap_or_default();
    let reason = body["error"]["errors"][0]["reason"].as_str().unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    let denied = |code, detail: &str| Trouble::Denied(Problem::new(code, detail));
    let wait = answer.said.wait_ms.map(|ms| Duration::from_millis(ms.max(0) as u64));
    if answer.status == 401 {
        return refused();
    }
    match reason {
        _ if message.contains("streaming buffer") => Trouble::Throttled(STREAMED),
        "rateLimitExceeded" | "jobRateLimitExceeded" => Trouble::Throttled(wait.unwrap_or(Duration::from_secs(30))),
        "quotaExceeded" => Trouble::Throttled(wait.unwrap_or(Duration::from_hours(1))),
        "backendError" | "internalError" | "jobBackendError" | "jobInternalError" | "stopped" | "timeout" => {
            Trouble::Retry(Problem::new(
                "vendor_error",
                "BigQuery had an error of its own; it is tried again by itself",
            ))
        }
        "accessDenied" => denied(
            "permission_missing",
            "grant the service account BigQuery Job User on the project and Data Editor on the declared tables",
        ),
        "notFound" => denied("table_missing", "a declared table is not there; check tables, project and location"),
        "invalidQuery" | "invalid" if message.contains("Could not serialize access") => Trouble::Retry(Problem::new(
            "row_conflict",
            "somebody else changed the table at the same time; it is tried again by itself",
        )),
        "invalidQuery" | "invalid" => {
            denied("statement_refused", "BigQuery refused a statement; compare the declared tables with the dataset")
        }
        _ => answer.trouble(),
    }
}

#[async_trait]
impl Door for BigQuery {
    fn line(&self) -> &Line {
        &self.line
    }

    fn dialect(&self) -> Dialect {
        DIALECT
    }

    async fn send(&self, id: &str, statement: &Statement) -> Result<Step, Trouble> {
        let id = format!("redress_{id}");
        let parameter = |(i, value): (usize, &String)| {
            json!({
                "name": format!("p{}", i + 1), "parameterType": {"type": "STRING"}, "parameterValue": {"value": value},
            })
        };
        let mut reference = json!({"projectId": self.project, "jobId": id});
        if let Some(location) = &self.location {
            reference["location"] = location.as_str().into();
        }
        let body = json!({
            "jobReference": reference,
            "configuration": {"query": {
                "query": statement.text, "useLegacySql": false, "useQueryCache": false, "parameterMode": "NAMED",
                "queryParameters": statement.values.iter().enumerate().map(parameter).collect::<Vec<_>>(),
            }},
        });
        let answer = self.call(Call::new(Method::POST, self.url("jobs")?).json(&body)).await?;
        let started_ms = match answer.status {
            200 => made(&answer.json()?)?,
            409 => self.made(&id).await?.ok_or_else(unreadable)?,
            _ => return Err(trouble(&answer)),
        };
        self.results(&id, started_ms).await
    }

    async fn fetch(&self, handle: &str) -> Result<Option<Step>, Trouble> {
        match self.made(handle).await? {
            None => Ok(None),
            Some(started_ms) => self.results(handle, started_ms).await.map(Some),
        }
    }
}
