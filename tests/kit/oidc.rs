//! An identity provider (oidc-provider, Node.js) that one test owns: people with groups, and its own login page.

use crate::moto::answers;
use crate::process::{Account, Folder, Recipe, Server, common, off_thread, prepared, require};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// The secret of the clients `redress` and `redress-post`, with every sign that has to be encoded.
const SECRET: &str = "p+w:%/ &=secret";

/// An OpenID provider with the clients `redress` (secret in the header, RS256), `redress-post` (secret in the body) and
/// `redress-public` (no secret, ES256), for one redirect URI.
pub struct Oidc {
    server: Arc<Server>,
}

common!(Oidc);

impl Oidc {
    /// Starts one that sends people back to this address. Nobody exists yet.
    pub async fn start(redirect_uri: &str) -> Self {
        let redirect_uri = redirect_uri.to_owned();
        off_thread(move || Self::launch(redirect_uri)).await
    }

    fn launch(redirect_uri: String) -> Self {
        let node = require(&["node", "nodejs"], "nodejs");
        let program = prepared("oidc-provider-9.13.3/server.mjs");
        let folder = Folder::new(Account::first_of(&["root"]));
        std::fs::write(folder.path().join("people.json"), "{}").expect("it is our own folder");
        let recipe = Recipe {
            name: "oidc-provider",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 1,
            command: Box::new(move |_, ports| {
                let mut command = Command::new(&node);
                command.arg(&program).arg(ports[0].to_string()).arg(&redirect_uri);
                command
            }),
            ready: Box::new(|_, ports| answers(ports[0])),
        };
        Self { server: Arc::new(Server::start(folder, recipe)) }
    }

    /// Its issuer. After [`Oidc::start_again`] it has new keys.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port(0))
    }

    /// The secret of its clients.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// Says who exists and to which groups they belong.
    pub fn people(&self, people: &[(&str, &[&str])]) {
        let all: BTreeMap<&str, Value> = people
            .iter()
            .map(|(name, groups)| {
                (
                    *name,
                    json!({ "name": format!("{name} (test)"), "email": format!("{name}@corp.test"), "groups": groups }),
                )
            })
            .collect();
        let path = self.server.path().join("people.json");
        // Whole or not at all: it is read at any moment.
        let unfinished = path.with_extension("new");
        std::fs::write(&unfinished, json!(all).to_string()).expect("it is our own folder");
        std::fs::rename(unfinished, path).expect("the same folder");
    }

    /// Signs somebody in on its pages, in a new browser, and says where it sends that browser in the end.
    pub async fn sign_in(&self, authorization_url: &str, name: &str) -> String {
        let mut browser = Pages::default();
        let mut url = self.at(&browser.get(authorization_url).await);
        // A page for the login, one for the consent; between them, and afterwards, it sends the browser on.
        for _ in 0..8 {
            if !url.starts_with(&self.issuer()) {
                return url;
            }
            let next = if url.contains("/interaction/") {
                let page = browser.page(&url).await;
                let consent = page.contains("value=\"consent\"");
                let form =
                    if consent { "prompt=consent".to_owned() } else { format!("prompt=login&login={name}&password=x") };
                browser.post(&url, form).await
            } else {
                browser.get(&url).await
            };
            url = self.at(&next);
        }
        panic!("the provider leads in a circle: {url}\n{}", self.log());
    }

    /// Somebody cancels on its pages: where it sends the browser.
    pub async fn cancel(&self, authorization_url: &str) -> String {
        let mut browser = Pages::default();
        let url = self.at(&browser.get(authorization_url).await);
        let url = self.at(&browser.get(&format!("{url}/abort")).await);
        browser.get(&url).await
    }

    fn at(&self, location: &str) -> String {
        if location.starts_with('/') { format!("{}{location}", self.issuer()) } else { location.to_owned() }
    }
}

/// A browser that keeps cookies by their names.
#[derive(Default)]
struct Pages {
    cookies: BTreeMap<String, String>,
}

impl Pages {
    async fn ask(&mut self, url: &str, form: Option<String>) -> reqwest::Response {
        let client = reqwest::Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(30)).no_proxy();
        let client = client.build().expect("a client");
        let mut cookies = String::new();
        for (name, value) in &self.cookies {
            let _infallible = write!(cookies, "{name}={value}; ");
        }
        let request = match form {
            None => client.get(url),
            Some(form) => client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form),
        };
        let answer = request.header(COOKIE, cookies).send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("text");
            if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Where it is sent on from there.
    async fn get(&mut self, url: &str) -> String {
        sent_on(url, self.ask(url, None).await).await
    }

    async fn post(&mut self, url: &str, form: String) -> String {
        sent_on(url, self.ask(url, Some(form)).await).await
    }

    async fn page(&mut self, url: &str) -> String {
        self.ask(url, None).await.text().await.expect("a page")
    }
}

async fn sent_on(url: &str, answer: reqwest::Response) -> String {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match location {
        Some(location) => location,
        None => panic!("{url} answered {}: {}", answer.status(), answer.text().await.unwrap_or_default()),
    }
}
