//! People sign in at the operator's identity provider by OpenID Connect: the authorization code flow with PKCE (RFC 7636).
//!
//! A [`Provider`] knows its own addresses and keys from its discovery document, and asks again for keys when a token names one that it
//! does not know, but not more often than a provider can bear. What comes back over the browser is believed only through the code that
//! only we can exchange, and the token only through its signature and [`claims`].

mod claims;
mod groups;
mod jws;
#[cfg(test)]
mod tests;

pub(crate) use groups::{Granted, Groups};

use crate::config::{Oidc, is_plain_and_local};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use claims::Expected;
use jws::{Fault, Keys};
use redress_domain::Personal;
use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use url::Url;

/// How long one call of the provider may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const ANSWER_MAX: usize = 1 << 20;
/// What the provider says about itself is asked again after this time (ms).
const METADATA_MS: i64 = 3_600_000;
/// Its keys are asked again after this time, so that one that was withdrawn is not believed for ever (ms).
const KEYS_MS: i64 = 900_000;
/// For keys that we do not know it is asked not more often than this (ms).
const REFETCH_MS: i64 = 30_000;

/// An identity provider, and who we are there.
pub(crate) struct Provider {
    issuer: String,
    client_id: String,
    client_secret: Option<Personal<String>>,
    scopes: String,
    groups_claim: String,
    groups: Groups,
    redirect_uri: String,
    http: Client,
    known: Mutex<Known>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What was read from it, with the moment (Unix ms).
#[derive(Default)]
struct Known {
    metadata: Option<(i64, Arc<Metadata>)>,
    keys: Option<(i64, Arc<Keys>)>,
    /// When keys were asked for that we did not know.
    missed: Option<i64>,
}

/// What the provider says about itself.
#[derive(Debug)]
struct Metadata {
    authorization: Url,
    token: Url,
    userinfo: Option<Url>,
    keys: Url,
    /// It says in its answers that they are its own (RFC 9207).
    names_itself: bool,
    /// It takes our secret in the header; else in the body.
    takes_basic: bool,
}

/// Somebody as the provider describes them.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) subject: Personal<String>,
    pub(crate) name: Personal<String>,
    pub(crate) email: Option<Personal<String>>,
    pub(crate) groups: Vec<String>,
}

/// Why nobody is signed in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The provider cannot be asked, or answers what cannot be used; why, for the operator.
    Away(String),
    /// What came is not believed; why.
    Untrusted(String),
}

/// What has to be remembered while somebody is away at the provider.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) nonce: String,
    pub(crate) verifier: String,
}

fn untrusted(why: impl Into<String>) -> Refused {
    Refused::Untrusted(why.into())
}

impl Provider {
    /// The configured provider, if there is one.
    ///
    /// # Errors
    /// The client cannot be made; the configuration was checked before.
    pub(crate) fn new(config: &Oidc, public_url: &str) -> anyhow::Result<Option<Self>> {
        let Some(issuer) = config.issuer.clone() else { return Ok(None) };
        let groups = Groups::parse(&config.roles, &config.controllers, &config.everything)
            .map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        let http = Client::builder()
            .user_agent(concat!("redress/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(Policy::none())
            .timeout(PATIENCE)
            .build()?;
        Ok(Some(Self {
            issuer,
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
            scopes: config.scopes.join(" "),
            groups_claim: config.groups_claim.clone(),
            groups,
            redirect_uri: format!("{public_url}/sign-in/callback"),
            http,
            known: Mutex::default(),
        }))
    }

    /// Who vouches for those who sign in there.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The host of the provider, to call it by.
    pub(crate) fn host(&self) -> String {
        Url::parse(&self.issuer).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// What somebody in these groups may do.
    pub(crate) fn grant(&self, groups: &[String]) -> Granted {
        self.groups.grant(groups)
    }

    /// Begins a sign-in, if the provider is there.
    pub(crate) async fn begin(&self, now: i64) -> Result<Begun, Refused> {
        self.metadata(now).await?;
        let random = || redress_store::random::<32>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        let random = || random().map_err(|error| Refused::Away(error.to_string()));
        Ok(Begun { nonce: random()?, verifier: random()? })
    }

    /// Where the browser goes to sign in.
    pub(crate) async fn address(&self, begun: &Begun, state: &str, now: i64) -> Result<Url, Refused> {
        let mut url = self.metadata(now).await?.authorization.clone();
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, begun.verifier.as_bytes()));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &self.scopes)
            .append_pair("state", state)
            .append_pair("nonce", &begun.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Exchanges the code that the browser brought back. `named` is the issuer that the answer names, if it does.
    pub(crate) async fn finish(
        &self,
        code: &str,
        named: Option<&str>,
        begun: &Begun,
        now: i64,
    ) -> Result<Person, Refused> {
        let metadata = self.metadata(now).await?;
        if named.map_or(metadata.names_itself, |named| named != self.issuer) {
            return Err(untrusted("the answer is another provider's"));
        }
        let tokens = self.exchange(&metadata, code, begun).await?;
        let token = tokens["id_token"].as_str().ok_or_else(|| untrusted("the provider sent no ID token"))?;
        let claims = self.verified(&metadata, token, now).await?;
        let expected = Expected {
            issuer: &self.issuer,
            client_id: &self.client_id,
            nonce: &begun.nonce,
            now: now.div_euclid(1_000),
        };
        if let Some(fault) = expected.fault(&claims) {
            return Err(untrusted(format!("the ID token is not believed: {fault}")));
        }
        let claims = self.completed(&metadata, claims, &tokens).await?;
        let text = |name: &str| claims[name].as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let subject = text("sub").unwrap_or_default();
        let name = text("name").or_else(|| text("preferred_username")).or_else(|| text("email"));
        Ok(Person {
            name: name.unwrap_or_else(|| subject.clone()).chars().take(NAME_MAX).collect::<String>().into(),
            subject: subject.into(),
            email: text("email").map(Personal::from),
            groups: claims::groups(&claims, &self.groups_claim).unwrap_or_default(),
        })
    }

    /// The tokens for a code.
    async fn exchange(&self, metadata: &Metadata, code: &str, begun: &Begun) -> Result<Value, Refused> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &begun.verifier),
        ];
        let mut request = self.http.post(metadata.token.clone());
        match &self.client_secret {
            Some(secret) if metadata.takes_basic => {
                // RFC 6749 section 2.3.1: both are form-encoded before they are joined.
                let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = STANDARD.encode(format!("{}:{}", encode(&self.client_id), encode(secret.expose())));
                request = request.header(AUTHORIZATION, format!("Basic {pair}"));
            }
            secret => {
                form.push(("client_id", &self.client_id));
                form.extend(secret.as_ref().map(|secret| ("client_secret", secret.expose().as_str())));
            }
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let (status, answer) = asked(request, "token endpoint").await?;
        if status.is_success() {
            return Ok(answer);
        }
        let code: String = answer["error"]
            .as_str()
            .unwrap_or_default()
            .chars()
            .filter(|letter| is_of_a_code(*letter))
            .take(60)
            .collect();
        match code.as_str() {
            "invalid_grant" => Err(untrusted("the provider does not take the code, it was used or is too old")),
            _ => Err(Refused::Away(format!("the token endpoint answered {status} {code}"))),
        }
    }

    /// The claims of a token that the provider signed. A key that is not known may be new.
    async fn verified(&self, metadata: &Metadata, token: &str, now: i64) -> Result<Value, Refused> {
        let mut known = self.known.lock().await;
        let fresh = known.keys.clone().filter(|(at, _)| now - at < KEYS_MS);
        let keys = match fresh {
            Some((_, keys)) => keys,
            None => self.keys(metadata, &mut known, now).await?,
        };
        let outcome = match keys.claims(token) {
            Err(Fault::UnknownKey) if known.missed.is_none_or(|at| now - at >= REFETCH_MS) => {
                known.missed = Some(now);
                self.keys(metadata, &mut known, now).await?.claims(token)
            }
            outcome => outcome,
        };
        outcome.map_err(|fault| match fault {
            Fault::UnknownKey => untrusted("the ID token is not believed: no key of the provider fits it"),
            Fault::Bad(why) => untrusted(format!("the ID token is not believed: {why}")),
        })
    }

    async fn keys(&self, metadata: &Metadata, known: &mut Known, now: i64) -> Result<Arc<Keys>, Refused> {
        let (status, set) = asked(self.http.get(metadata.keys.clone()), "key set").await?;
        if !status.is_success() {
            return Err(Refused::Away(format!("the key set answered {status}")));
        }
        let keys = Arc::new(Keys::read(&set));
        known.keys = Some((now, keys.clone()));
        Ok(keys)
    }

    /// The claims with what only userinfo says: many providers keep addresses and groups out of the token.
    async fn completed(&self, metadata: &Metadata, claims: Value, tokens: &Value) -> Result<Value, Refused> {
        let complete = claims::groups(&claims, &self.groups_claim).is_some()
            && ["email", "name"].iter().all(|name| claims[name].is_string());
        let (Some(url), Some(token), false) = (&metadata.userinfo, tokens["access_token"].as_str(), complete) else {
            return Ok(claims);
        };
        let (status, info) = asked(self.http.get(url.clone()).bearer_auth(token), "userinfo").await?;
        if !status.is_success() {
            return Err(Refused::Away(format!("userinfo answered {status}")));
        }
        claims::joined(claims, &info).ok_or_else(|| untrusted("userinfo is about somebody else than the ID token"))
    }

    /// What the provider says about itself.
    async fn metadata(&self, now: i64) -> Result<Arc<Metadata>, Refused> {
        let mut known = self.known.lock().await;
        if let Some((at, metadata)) = &known.metadata
            && now - at < METADATA_MS
        {
            return Ok(metadata.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let (status, document) = asked(self.http.get(url), "discovery document").await?;
        if !status.is_success() {
            return Err(Refused::Away(format!("the discovery document answered {status}")));
        }
        let metadata = Arc::new(self.read(&document)?);
        known.metadata = Some((now, metadata.clone()));
        Ok(metadata)
    }

    fn read(&self, document: &Value) -> Result<Metadata, Refused> {
        // OpenID Connect Discovery 1.0 section 4.3: to the letter, so that one provider cannot speak for another.
        if document["issuer"].as_str() != Some(&self.issuer) {
            let detail = "the provider's discovery document names another issuer than oidc.issuer; they must be the same to the letter";
            return Err(Refused::Away(detail.into()));
        }
        let place = |name: &str| -> Result<Url, Refused> {
            let text = document[name].as_str().unwrap_or_default();
            let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" || is_plain_and_local(text));
            url.ok_or_else(|| Refused::Away(format!("the provider's discovery document has no usable {name}")))
        };
        let lists = |name: &str, item: &str| {
            document[name].as_array().map(|all| all.iter().any(|found| found.as_str() == Some(item)))
        };
        let methods = "token_endpoint_auth_methods_supported";
        Ok(Metadata {
            authorization: place("authorization_endpoint")?,
            token: place("token_endpoint")?,
            userinfo: document.get("userinfo_endpoint").map(|_| place("userinfo_endpoint")).transpose()?,
            keys: place("jwks_uri")?,
            names_itself: document["authorization_response_iss_parameter_supported"].as_bool() == Some(true),
            takes_basic: lists(methods, "client_secret_basic").unwrap_or(true)
                || lists(methods, "client_secret_post") == Some(false),
        })
    }
}

/// The longest name that is kept (characters).
const NAME_MAX: usize = 200;

fn is_of_a_code(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Asks the provider; status and JSON, or null where the body is none. What it says is never logged.
async fn asked(request: RequestBuilder, what: &str) -> Result<(StatusCode, Value), Refused> {
    let away = |why: &str| Refused::Away(format!("the provider's {what} {why}"));
    let sent = request.header(ACCEPT, "application/json").send().await;
    let mut response =
        sent.map_err(|error| away(if error.is_timeout() { "does not answer in time" } else { "cannot be reached" }))?;
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| away("broke off"))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_MAX {
            return Err(away("answers too much"));
        }
    }
    let body = serde_json::from_slice(&bytes);
    if status.is_success() && body.is_err() {
        return Err(away("does not answer in JSON"));
    }
    Ok((status, body.unwrap_or_default()))
}
