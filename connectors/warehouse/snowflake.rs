//! Snowflake's SQL API (v2): a statement is posted, and its answer comes at once, in parts, or later.

use super::run::{Door, Ran, Step};
use super::statement::{Dialect, Statement, is_name};
use super::{Warehouse, tables};
use crate::http::{Answer, Call, Line, Method, SigningKey, Token, rs256, unreadable};
use crate::registry::Entry;
use crate::settings::Settings;
use crate::{Connector, Problem, SpecFault, SystemSpec, Trouble};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_domain::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the registry tells.
pub const ENTRY: Entry = Entry {
    name: "snowflake",
    about: "tables of Snowflake, through its SQL API with a key pair (names in the case in which they are stored)",
    settings: "{ account = \"ORG-ACCOUNT\", user = \"REDRESS\", warehouse = \"REDRESS_WH\", database = \"SHOP\", \
               schema = \"PUBLIC\", role = \"REDRESS\", time_travel_days = 1, base_url = \"…\" }, and [[system.tables]]",
    verbs: &["discover", "export", "rectify", "erase", "verify"],
};

const DIALECT: Dialect = Dialect { quote: '"', text_type: "VARCHAR", is_named: false };
/// So long Snowflake itself can bring back what time travel no longer reaches.
const FAIL_SAFE_DAYS: u32 = 7;
const LIFE: Duration = Duration::from_mins(50);
const PART_MAX: u64 = 64 << 20;

/// Checks the settings and makes the connector.
///
/// # Errors
/// Every fault of the specification.
pub fn connect(spec: &SystemSpec) -> Result<Arc<dyn Connector>, Vec<SpecFault>> {
    let mut settings = Settings::of(spec);
    let account = settings.required("account");
    if !account.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        settings.fault("account", "must be the account's identifier, such as ORG-ACCOUNT");
    }
    let user = settings.required("user");
    let mut context = Map::new();
    for key in ["warehouse", "database", "schema", "role"] {
        if let Some(name) = settings.text(key) {
            if !is_name(&name) {
                settings.fault(key, "must be a name of letters, digits, _ and $");
            }
            context.insert(key.into(), name.into());
        }
    }
    if !context.contains_key("warehouse") {
        settings.fault("warehouse", "is missing");
    }
    let days = settings.number("time_travel_days", 0..=90).unwrap_or(1) as u32;
    let usual = format!("https://{}.snowflakecomputing.com/", account.to_lowercase().replace('_', "-"));
    let url = settings.text("base_url").unwrap_or(usual);
    let base = settings.base_url(&url, spec.network.is_anywhere());
    let key = spec.secrets.get("private_key").map(|pem| SigningKey::from_pem(pem.expose()));
    let mut faults = settings.finish_with_tables(&["private_key"]);
    let tables = tables::read(&spec.tables, &mut faults);
    if matches!(key, Some(None)) {
        faults.push(SpecFault::new("secrets.private_key", "must be an unencrypted RSA private key in PEM"));
    }
    let (Some(base), Some(key)) = (base, key.flatten().filter(|_| faults.is_empty())) else { return Err(faults) };
    let short = account.split('.').next().unwrap_or_default().to_uppercase();
    let door = Snowflake {
        line: Line::new(&spec.network, [&base]),
        base,
        who: format!("{short}.{}", user.to_uppercase()),
        key,
        token: Token::default(),
        context,
    };
    Ok(Warehouse::connected(&ENTRY, spec, Box::new(door), tables, days + FAIL_SAFE_DAYS))
}

struct Snowflake {
    line: Line,
    base: Url,
    /// Account and user.
    who: String,
    key: SigningKey,
    token: Token,
    context: Map<String, Value>,
}

/// The hash by which Snowflake names a key: of its SubjectPublicKeyInfo (RFC 5280), which is the key of PKCS #1 in an envelope.
fn fingerprint(pkcs1: &[u8]) -> String {
    const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let wrapped = |tag: u8, content: &[u8]| {
        let length = content.len().to_be_bytes();
        let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
        let mut der = vec![tag];
        if content.len() >= 128 {
            der.push(0x80 | length.len() as u8);
        }
        der.extend_from_slice(length);
        der.extend_from_slice(content);
        der
    };
    let bits = wrapped(0x03, &[&[0], pkcs1].concat());
    let whole = wrapped(0x30, &[&RSA[..], &bits].concat());
    let hash = ring::digest::digest(&ring::digest::SHA256, &whole);
    format!("SHA256:{}", STANDARD.encode(hash))
}

impl Snowflake {
    fn url(&self, rest: &str) -> Result<Url, Trouble> {
        self.base.join(&format!("api/v2/statements{rest}")).map_err(|_| unreadable())
    }

    async fn call(&self, call: Call) -> Result<Answer, Trouble> {
        let sign = async {
            let now = SystemClock.now_ms() / 1_000;
            let issuer = format!("{}.{}", self.who, fingerprint(self.key.public_der()));
            let claims = json!({"iss": issuer, "sub": self.who, "iat": now - 30, "exp": now + LIFE.as_secs() as i64});
            Ok((rs256(&self.key, &json!({}), &claims).into(), Some(LIFE)))
        };
        let token = self.token.get(sign).await?;
        let call = call
            .header("authorization", format!("Bearer {}", token.expose()))
            .header("x-snowflake-authorization-token-type", "KEYPAIR_JWT")
            .header("accept", "application/json");
        let answer = self.line.send(call).await?;
        if answer.status == 401 {
            self.token.refused(&token).await;
        }
        Ok(answer)
    }

    async fn step(&self, answer: &Answer) -> Result<Step, Trouble> {
        let body = answer.json()?;
        let handle = body["statementHandle"].as_str().filter(|handle| is_handle(handle)).ok_or_else(unreadable)?;
        if answer.status == 202 {
            return Ok(Step::Running(handle.to_owned()));
        }
        let meta = &body["resultSetMetaData"];
        let kinds = meta["rowType"].as_array().ok_or_else(unreadable)?;
        let column = |kind: &Value| {
            let exact = match kind["type"].as_str()? {
                "text" => true,
                "fixed" => kind["scale"].as_i64().unwrap_or_default() == 0,
                _ => false,
            };
            Some((kind["name"].as_str()?.to_owned(), exact))
        };
        let columns: Vec<(String, bool)> = kinds.iter().map(column).collect::<Option<_>>().ok_or_else(unreadable)?;
        let mut rows = Vec::new();
        take_rows(&body, &columns, &mut rows)?;
        let parts = meta["partitionInfo"].as_array().map_or(1, Vec::len);
        for part in 1..parts {
            let mut answer =
                self.call(Call::new(Method::GET, self.url(&format!("/{handle}?partition={part}"))?)).await?;
            if !answer.is_success() {
                return Err(trouble(&answer));
            }
            // All parts but the first come compressed.
            if answer.body.starts_with(&[0x1f, 0x8b]) {
                let mut plain = Vec::new();
                let read = flate2::read::GzDecoder::new(&answer.body[..]).take(PART_MAX).read_to_end(&mut plain);
                read.map_err(|_| unreadable())?;
                answer.body = plain;
            }
            take_rows(&answer.json()?, &columns, &mut rows)?;
        }
        if meta["numRows"].as_u64() != Some(rows.len() as u64) {
            return Err(unreadable());
        }
        let stats = &body["stats"];
        let changed = ["numRowsDeleted", "numRowsUpdated"].iter().filter_map(|name| stats[*name].as_u64());
        let affected = stats.is_object().then(|| changed.sum());
        let started_ms = body["createdOn"].as_i64().ok_or_else(unreadable)?;
        Ok(Step::Done(handle.to_owned(), Ran { started_ms, columns, rows, affected }))
    }
}

fn is_handle(handle: &str) -> bool {
    !handle.is_empty() && handle.len() <= 64 && handle.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn take_rows(body: &Value, columns: &[(String, bool)], rows: &mut Vec<Map<String, Value>>) -> Result<(), Trouble> {
    for row in body["data"].as_array().ok_or_else(unreadable)? {
        let values = row.as_array().filter(|values| values.len() == columns.len()).ok_or_else(unreadable)?;
        rows.push(columns.iter().zip(values).map(|((name, _), value)| (name.clone(), value.clone())).collect());
    }
    Ok(())
}

/// What a refusal means. Snowflake's message is not shown: it may quote the statement.
fn trouble(answer: &Answer) -> Trouble {
    let body = answer.json().unwrap_or_default();
    let denied = |code, detail: &str| Trouble::Denied(Problem::new(code, detail));
    match (answer.status, body["code"].as_str().unwrap_or_default()) {
        (_, "002003") => denied(
            "table_missing",
            "a declared table is not there, or the role may not see it; names count as they are stored, in their case",
        ),
        (_, "000904") => {
            denied("column_missing", "a declared column is not there; names count as they are stored, in their case")
        }
        (_, "003001") => {
            denied("permission_missing", "grant SELECT, UPDATE and DELETE on the declared tables to the role")
        }
        (_, "000606") => {
            denied("warehouse_missing", "the warehouse is not there or not running; see settings.warehouse")
        }
        // Cancelled, timed out, or waited too long for somebody else's lock.
        (408, _) | (422, "000604" | "000625" | "000630") => Trouble::Retry(Problem::new(
            "statement_cancelled",
            "Snowflake ended a statement before it was done; it is tried again by itself",
        )),
        (422, _) => {
            denied("statement_refused", "Snowflake refused a statement; compare tables and settings with the database")
        }
        _ => answer.trouble(),
    }
}

#[async_trait]
impl Door for Snowflake {
    fn line(&self) -> &Line {
        &self.line
    }

    fn dialect(&self) -> Dialect {
        DIALECT
    }

    async fn send(&self, id: &str, statement: &Statement) -> Result<Step, Trouble> {
        let uuid = format!("{}-{}-4{}-8{}-{}", &id[..8], &id[8..12], &id[13..16], &id[17..20], &id[20..32]);
        let bindings: Map<String, Value> = statement
            .values
            .iter()
            .enumerate()
            .map(|(i, value)| ((i + 1).to_string(), json!({"type": "TEXT", "value": value})))
            .collect();
        let mut body = self.context.clone();
        body.insert("statement".into(), statement.text.as_str().into());
        body.insert("bindings".into(), bindings.into());
        body.insert("timeout".into(), 3_600.into());
        let url = self.url(&format!("?async=false&requestId={uuid}&retry=true"))?;
        let answer = self.call(Call::new(Method::POST, url).json(&body.into())).await?;
        if answer.is_success() { self.step(&answer).await } else { Err(trouble(&answer)) }
    }

    async fn fetch(&self, handle: &str) -> Result<Option<Step>, Trouble> {
        let answer = self.call(Call::new(Method::GET, self.url(&format!("/{handle}"))?)).await?;
        match answer.status {
            200 | 202 => self.step(&answer).await.map(Some),
            404 => Ok(None),
            408 | 422 => Ok(Some(Step::Failed(trouble(&answer)))),
            _ => Err(trouble(&answer)),
        }
    }
}
