//! A desk speaks with one processor: places orders, asks how far they are, believes only what is signed as configured.

use super::dialect::{self, Dialect, Stage};
use super::order::Order;
use super::settings::{Access, Config};
use super::signature::{Chain, Signing, disbelieved};
use crate::http::{Answer, Call, Line, Method};
use crate::{Problem, Trouble, Work};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use redress_domain::{Clock as _, SystemClock, Verb};
use rustls::pki_types::TrustAnchor;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::Mutex;
use url::Url;

/// Results are not longer than this (bytes).
pub(super) const RESULTS_MAX: usize = 256 << 20;
const RESULTS_PATIENCE: Duration = Duration::from_mins(5);
const CERTIFICATE_MAX: usize = 256 << 10;

pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) line: Line,
    /// The certificate that was fetched last.
    fetched: Mutex<Option<Chain>>,
    roots: fn() -> Vec<TrustAnchor<'static>>,
}

/// What the processor says of an order.
#[derive(Debug)]
pub(super) enum Progress {
    /// It does not know it.
    Unknown,
    /// It is at it; done within so long.
    Running(Option<Duration>),
    /// It was fulfilled: how many results, and where.
    Completed(Option<u64>, Option<String>),
    /// It will not be done, perhaps for a reason.
    Cancelled(Option<String>),
}

impl Desk {
    pub(super) fn new(config: Config, line: Line, roots: fn() -> Vec<TrustAnchor<'static>>) -> Self {
        Self { config, line, fetched: Mutex::default(), roots }
    }

    fn at(&self, parts: &[&str]) -> Url {
        let mut url = self.config.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    /// With credentials, which go to the processor's own host only.
    fn call(&self, method: Method, url: Url) -> Call {
        let ours = url.origin() == self.config.base.origin();
        let call = Call::new(method, url).header("accept", "application/json");
        match &self.config.access {
            Access::Bearer(token) if ours => call.header("authorization", format!("Bearer {}", token.expose())),
            Access::Basic(key, secret) if ours => {
                let pair = STANDARD.encode(format!("{}:{}", key.expose(), secret.expose()));
                call.header("authorization", format!("Basic {pair}"))
            }
            _ => call,
        }
    }

    /// Places an order. `Unknown` if the processor refuses it and knows none of this id.
    pub(super) async fn place(&self, work: &Work<'_>, verb: Verb, order: &mut Order) -> Result<Progress, Trouble> {
        let config = &self.config;
        let mut identities = Vec::new();
        for (kind, name) in &config.identities {
            let ours = work.subject.identifiers.iter().filter(|identifier| identifier.kind() == *kind);
            identities.extend(ours.map(|identifier| (name.as_str(), config.format.write(identifier))));
        }
        if identities.is_empty() {
            return Err(Trouble::Denied(Problem::new(
                "no_usable_identifier",
                "none of the person's identifiers is an identity type of this processor; nothing was sent",
            )));
        }
        let body = config.dialect.request(&dialect::Order {
            id: &order.id,
            kind: if verb == Verb::Export { "access" } else { "erasure" },
            submitted: &order.submitted,
            regulation: &config.regulation,
            format: config.format,
            identities,
            property_id: config.property_id.as_deref(),
        });
        let body = body.map_err(|_| {
            Trouble::Denied(Problem::new(
                "too_many_identifiers",
                "this processor takes one identity of each type in a request; submit one request for each address or number",
            ))
        })?;
        let answer = self.line.send(self.call(Method::POST, self.at(&[config.dialect.requests()])).json(&body)).await?;
        match answer.status {
            200..=202 => {
                order.signed &= self.believe(&answer).await?;
                let told = answer.json()?;
                ours(&told, order)?;
                order.taken = true;
                Ok(Progress::Running(within(&told)))
            }
            // Perhaps an earlier run of ours placed it and died: then it is known.
            400 | 409 => match self.ask(order).await? {
                Progress::Unknown if answer.status == 409 || code(&answer) == "e215" => {
                    Err(Trouble::Retry(Problem::new(
                        "already_in_progress",
                        "the processor works on another request for the same identities; it is tried again by itself",
                    )))
                }
                Progress::Unknown => Err(Self::trouble(&answer)),
                progress => Ok(progress),
            },
            _ => Err(Self::trouble(&answer)),
        }
    }

    /// Asks how far an order is.
    pub(super) async fn ask(&self, order: &mut Order) -> Result<Progress, Trouble> {
        let config = &self.config;
        let answer = self.line.send(self.call(Method::GET, self.at(&[config.dialect.requests(), &order.id]))).await?;
        let unknown = answer.status == 404 || (config.dialect == Dialect::AppsFlyer && code(&answer) == "e214");
        // A proxy's 404 page is not the processor's word.
        if unknown {
            return if answer.json().is_ok() { Ok(Progress::Unknown) } else { Err(crate::http::unreadable()) };
        }
        if !answer.is_success() {
            return Err(Self::trouble(&answer));
        }
        order.signed &= self.believe(&answer).await?;
        let told = answer.json()?;
        ours(&told, order)?;
        order.taken = true;
        let word = told["request_status"].as_str().and_then(|word| config.dialect.stage(word));
        match word {
            Some(Stage::Running) => Ok(Progress::Running(within(&told))),
            Some(Stage::Completed) => {
                let count = &told["results_count"];
                if !count.is_null() && count.as_u64().is_none() {
                    return Err(crate::http::unreadable());
                }
                Ok(Progress::Completed(count.as_u64(), told["results_url"].as_str().map(ToOwned::to_owned)))
            }
            Some(Stage::Cancelled) => Ok(Progress::Cancelled(refusal(&told))),
            None => Err(Trouble::Retry(Problem::new(
                "status_unknown",
                "the processor answered a status that OpenDSR does not know in this dialect; nothing was concluded from it",
            ))),
        }
    }

    /// Fetches what an order resulted in: a path of the dialect, or the URL that the processor gave.
    pub(super) async fn results(&self, order: &Order, url: Option<&str>) -> Result<Answer, Trouble> {
        let url = match (url, self.config.dialect) {
            (Some(url), _) => self.config.base.join(url).map_err(|_| crate::http::unreadable())?,
            (None, Dialect::AppsFlyer) => self.at(&["download", &order.id]),
            (None, _) => {
                return Err(Trouble::Denied(Problem::new(
                    "results_missing",
                    "the processor says that the access is completed and does not say where its results are; ask it",
                )));
            }
        };
        let mut call = self.call(Method::GET, url);
        call.headers.retain(|(name, _)| name != "accept");
        (call.answer_max, call.patience) = (RESULTS_MAX, RESULTS_PATIENCE);
        self.line.send(call).await
    }

    /// The processor's own description.
    pub(super) async fn discover(&self) -> Result<Value, Trouble> {
        let answer = self.line.send(self.call(Method::GET, self.at(&["discovery"]))).await?;
        if answer.status == 200 { answer.json() } else { Err(Self::trouble(&answer)) }
    }

    /// Whether an answer is signed. An error if it has to be believed and may not.
    async fn believe(&self, answer: &Answer) -> Result<bool, Trouble> {
        if self.config.signing == Signing::Off {
            return Ok(false);
        }
        let header = |what: &str| {
            answer.header(&format!("x-opendsr-{what}")).or_else(|| answer.header(&format!("x-opengdpr-{what}")))
        };
        let Some(signature) = header("signature") else {
            return match self.config.signing {
                Signing::Required => Err(disbelieved("signature_missing", "the processor did not sign its answer")),
                _ => Ok(false),
            };
        };
        let domain = header("processor-domain");
        if domain.is_none_or(|domain| !domain.trim().eq_ignore_ascii_case(&self.config.domain)) {
            return Err(disbelieved(
                "signature_of_another",
                "the answer is signed for another domain than the processor's",
            ));
        }
        let wrong = || disbelieved("signature_wrong", "the signature does not belong to the answer");
        if let Some(pinned) = &self.config.certificate {
            return if pinned.signed(&answer.body, signature) { Ok(true) } else { Err(wrong()) };
        }
        let mut fetched = self.fetched.lock().await;
        if fetched.as_ref().is_some_and(|chain| chain.signed(&answer.body, signature)) {
            return Ok(true);
        }
        // The processor may have a new certificate.
        let chain = self.certificate().await?;
        let signed = chain.signed(&answer.body, signature);
        *fetched = Some(chain);
        if signed { Ok(true) } else { Err(wrong()) }
    }

    /// The processor's certificate, as it says itself where it is, if this machine's roots stand for it.
    pub(super) async fn certificate(&self) -> Result<Chain, Trouble> {
        let told = self.discover().await?;
        let url = told["processor_certificate"].as_str().and_then(|url| self.config.base.join(url).ok());
        let url = url.ok_or_else(|| {
            disbelieved("certificate_missing", "the processor's discovery does not say where its certificate is")
        })?;
        let mut call = self.call(Method::GET, url).costing(0);
        call.headers.retain(|(name, _)| name != "accept");
        call.answer_max = CERTIFICATE_MAX;
        let answer = self.line.send(call).await?;
        if answer.status != 200 {
            return Err(Self::trouble(&answer));
        }
        let chain = Chain::from_pem(&answer.body)
            .ok_or_else(|| disbelieved("certificate_unreadable", "the processor's certificate is no certificate"))?;
        if !chain.names(&self.config.domain) {
            return Err(disbelieved("certificate_of_another", "the processor's certificate names another domain"));
        }
        if !chain.leads_to(&(self.roots)(), SystemClock.now_ms()) {
            return Err(disbelieved(
                "certificate_not_trusted",
                "the processor's certificate has ended, or no authority known to this machine stands for it",
            ));
        }
        Ok(chain)
    }

    /// What an error answer means. AppsFlyer says all of it with 400 and a code.
    fn trouble(answer: &Answer) -> Trouble {
        match code(answer).as_str() {
            "e411" | "e412" | "e413" | "e212" => Trouble::Denied(Problem::new(
                "permission_missing",
                "the processor does not permit this for this app; grant it, then check the system",
            )),
            "e511" => Trouble::Retry(Problem::new(
                "vendor_error",
                "the processor has a problem of its own; it is tried again by itself",
            )),
            _ => answer.trouble(),
        }
    }
}

/// AppsFlyer's code of an error; empty for everybody else.
fn code(answer: &Answer) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else { return String::new() };
    let code = body.pointer("/error/af_gdpr_code").or_else(|| body.get("af_gdpr_code"));
    code.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// An answer about another request than ours is not believed.
fn ours(told: &Value, order: &Order) -> Result<(), Trouble> {
    match told["subject_request_id"].as_str() {
        Some(id) if id.eq_ignore_ascii_case(&order.id) => Ok(()),
        Some(_) => Err(disbelieved("answer_about_another", "the processor answered about another request than ours")),
        None => Err(crate::http::unreadable()),
    }
}

fn within(told: &Value) -> Option<Duration> {
    let until: Timestamp = told["expected_completion_time"].as_str()?.parse().ok()?;
    let left = until.as_millisecond().saturating_sub(SystemClock.now_ms());
    u64::try_from(left).ok().map(Duration::from_millis)
}

/// The reason code in a processor's own extension (`extensions.DOMAIN.reason` with `outcome = "refused"`), if it is one.
fn refusal(told: &Value) -> Option<String> {
    let of_processor = told["extensions"].as_object()?.values().find(|e| e["outcome"] == "refused")?;
    let reason = of_processor["reason"].as_str()?;
    let is_code = (1..=64).contains(&reason.len())
        && reason.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    is_code.then(|| reason.to_owned())
}
