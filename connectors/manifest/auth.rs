//! How calls are signed: by headers that do not change, or by a token that is fetched, kept, and fetched anew when it is refused.

use super::classify::credentials_refused;
use super::format::{Auth, SendIn};
use super::pointer;
use super::template::{RenderFault, Scope, Template};
use crate::http::{Call, Line, Method, Token};
use crate::{Secret, Trouble};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// How calls to a host are signed.
pub(super) enum Sign {
    /// This header.
    Fixed(String, Secret),
    /// A token.
    Token(Box<Grant>),
}

/// What a token is fetched with.
pub(super) struct Grant {
    token: Token,
    url: Url,
    send_in: SendIn,
    client_id: String,
    client_secret: Secret,
    /// `grant_type` and what belongs to it.
    parameters: Vec<(String, Secret)>,
    prefix: String,
}

/// Headers of a call, and the token they hold.
pub(super) struct Signed {
    pub(super) header: (String, String),
    pub(super) token: Option<Secret>,
}

impl Sign {
    /// How a manifest says that calls are signed. `place` says where a token is fetched.
    pub(super) fn of(
        auth: &Auth,
        scope: &Scope<'_>,
        place: impl Fn(&str) -> Result<Url, String>,
    ) -> Result<Self, String> {
        let text = |text: &String| fill(text, scope);
        Ok(match auth {
            Auth::Bearer { token, prefix } => {
                let prefix = prefix.as_deref().unwrap_or("Bearer");
                Self::Fixed("authorization".into(), format!("{prefix} {}", text(token)?).into())
            }
            Auth::Header { name, value } => Self::Fixed(name.to_lowercase(), text(value)?.into()),
            Auth::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{}:{}", text(username)?, text(password)?));
                Self::Fixed("authorization".into(), format!("Basic {pair}").into())
            }
            Auth::Oauth2ClientCredentials { token_url, client_id, client_secret, send_in, parameters, prefix } => {
                let mut all = vec![("grant_type".to_owned(), Secret::from("client_credentials"))];
                for (name, value) in parameters {
                    all.push((name.clone(), text(value)?.into()));
                }
                Self::Token(Box::new(Grant {
                    token: Token::default(),
                    url: place(token_url)?,
                    send_in: *send_in,
                    client_id: text(client_id)?,
                    client_secret: text(client_secret)?.into(),
                    parameters: all,
                    prefix: prefix.clone().unwrap_or_else(|| "Bearer".into()),
                }))
            }
            Auth::Oauth2Refresh { token_url, client_id, client_secret, refresh_token, send_in, parameters, prefix } => {
                let mut all = vec![
                    ("grant_type".to_owned(), Secret::from("refresh_token")),
                    ("refresh_token".to_owned(), text(refresh_token)?.into()),
                ];
                for (name, value) in parameters {
                    all.push((name.clone(), text(value)?.into()));
                }
                Self::Token(Box::new(Grant {
                    token: Token::default(),
                    url: place(token_url)?,
                    send_in: *send_in,
                    client_id: text(client_id)?,
                    client_secret: text(client_secret)?.into(),
                    parameters: all,
                    prefix: prefix.clone().unwrap_or_else(|| "Bearer".into()),
                }))
            }
        })
    }

    /// Where tokens are fetched.
    pub(super) fn url(&self) -> Option<&Url> {
        match self {
            Self::Fixed(..) => None,
            Self::Token(grant) => Some(&grant.url),
        }
    }

    /// What signs a call.
    pub(super) async fn headers(&self, line: &Line) -> Result<Signed, Trouble> {
        match self {
            Self::Fixed(name, value) => Ok(Signed { header: (name.clone(), value.expose().clone()), token: None }),
            Self::Token(grant) => {
                let token = grant.token.get(grant.fetch(line)).await?;
                let value = format!("{} {}", grant.prefix, token.expose());
                Ok(Signed { header: ("authorization".into(), value), token: Some(token) })
            }
        }
    }

    /// The vendor refused what signed a call: whether another token may help.
    pub(super) async fn refused(&self, signed: &Signed) -> bool {
        match (self, &signed.token) {
            (Self::Token(grant), Some(token)) => {
                grant.token.refused(token).await;
                true
            }
            _ => false,
        }
    }
}

fn fill(text: &str, scope: &Scope<'_>) -> Result<String, String> {
    let template = Template::parse(text).map_err(|fault| fault.to_string())?;
    template.text(scope).map_err(|fault: RenderFault| fault.to_string())
}

impl Grant {
    async fn fetch(&self, line: &Line) -> Result<(Secret, Option<Duration>), Trouble> {
        let mut pairs: Vec<(&str, &str)> =
            self.parameters.iter().map(|(name, value)| (name.as_str(), value.expose().as_str())).collect();
        let credentials = [("client_id", self.client_id.as_str()), ("client_secret", self.client_secret.expose())];
        let call = match self.send_in {
            SendIn::Body => {
                pairs.extend(credentials);
                Call::new(Method::POST, self.url.clone()).form(&pairs)
            }
            SendIn::Basic => {
                let pair = STANDARD.encode(format!("{}:{}", self.client_id, self.client_secret.expose()));
                Call::new(Method::POST, self.url.clone()).form(&pairs).header("authorization", format!("Basic {pair}"))
            }
            SendIn::Query => {
                pairs.extend(credentials);
                let mut url = self.url.clone();
                url.query_pairs_mut().extend_pairs(&pairs);
                Call::new(Method::GET, url)
            }
        };
        let answer = line.send(call.header("accept", "application/json").costing(0)).await?;
        match answer.status {
            200..=299 => {}
            400 | 401 | 403 => return Err(credentials_refused()),
            _ => return Err(answer.trouble()),
        }
        let json = answer.json()?;
        let Some(token) = pointer::first(&json, "/access_token").and_then(Value::as_str).filter(|t| !t.is_empty())
        else {
            // Some refuse with 200.
            return Err(if json.get("error").is_some() { credentials_refused() } else { crate::http::unreadable() });
        };
        let life =
            pointer::first(&json, "/expires_in").and_then(pointer::text).and_then(|text| text.parse::<f64>().ok());
        let life = life.filter(|seconds| (0.0..=1e8).contains(seconds)).map(Duration::from_secs_f64);
        Ok((token.into(), life))
    }
}
