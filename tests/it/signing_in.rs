//! People sign in at a real OpenID provider: what their groups give them, and what is not believed.

use crate::support::{Backend, TestApp};
use redress::app::{self, App, Role};
use redress::config::Config;
use redress_testkit::Oidc;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The service on a free port, with a provider to sign in at.
struct Service {
    url: String,
    provider: Oidc,
    store: redress_store::Store,
    stop: CancellationToken,
    served: JoinHandle<()>,
    folder: PathBuf,
}

/// What came back: status, the place it leads to, the session's cookie, and the page.
#[derive(Debug)]
struct Answer {
    status: u16,
    location: String,
    session: Option<String>,
    binding: Option<String>,
    page: String,
}

impl Service {
    async fn start(client_id: &str, more: &[(&str, &str)]) -> Self {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let listener = app::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let provider = Oidc::start(&format!("{url}/sign-in/callback")).await;
        let folder = std::env::temp_dir().join(format!("redress-sign-in-{:x?}", redress_store::random::<8>().unwrap()));
        let (issuer, data) = (provider.issuer(), folder.display().to_string());
        let secret = if client_id.ends_with("public") { "" } else { provider.secret() };
        let mut settings = vec![
            ("REDRESS_DATA_DIR", data.as_str()),
            ("REDRESS_HTTP__PUBLIC_URL", &url),
            ("REDRESS_OIDC__ISSUER", &issuer),
            ("REDRESS_OIDC__CLIENT_ID", client_id),
            ("REDRESS_OIDC__CLIENT_SECRET", secret),
            ("REDRESS_OIDC__SCOPES", "openid,email,profile,groups"),
            ("REDRESS_OIDC__ROLES", "team=privacy_analyst,heads=privacy_lead,acme=controller_admin"),
            ("REDRESS_OIDC__CONTROLLERS", "acme=acme,ghosts=nobody"),
            ("REDRESS_OIDC__EVERYTHING", "*"),
        ];
        settings.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        settings.extend(more);
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let app = App::open(Config::load(None, settings).unwrap()).await.unwrap();
        let (store, stop) = (app.store().clone(), CancellationToken::new());
        let until = stop.clone();
        let served = tokio::spawn(async move { app.serve(Role::Api, listener, until).await.unwrap() });
        Self { url, provider, store, stop, served, folder }
    }

    async fn end(self) {
        self.stop.cancel();
        self.served.await.unwrap();
        let _left_behind_is_no_failure = std::fs::remove_dir_all(&self.folder);
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        let client = reqwest::Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(30)).no_proxy();
        let client = client.build().unwrap();
        let url = if path.starts_with('/') { format!("{}{path}", self.url) } else { path.to_owned() };
        let answer = client.get(url).header("accept", "text/html").header(COOKIE, cookie).send().await.unwrap();
        let cookie = |name: &str| {
            let all = answer.headers().get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
            all.filter_map(|text| text.split(';').next()).find(|pair| pair.starts_with(name)).map(str::to_owned)
        };
        Answer {
            status: answer.status().as_u16(),
            location: answer.headers().get(LOCATION).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned(),
            session: cookie("redress_session="),
            binding: cookie("redress_sign_in="),
            page: answer.text().await.unwrap(),
        }
    }

    /// Somebody signs in; what they are answered in the end.
    async fn sign_in(&self, name: &str) -> Answer {
        let (back, binding) = self.away(name).await;
        self.get(&back, &binding).await
    }

    /// Somebody was at the provider: the address that it sends their browser back to, and the browser's cookie.
    async fn away(&self, name: &str) -> (String, String) {
        let begun = self.get("/sign-in/oidc?next=/requests", "").await;
        assert_eq!(begun.status, 303, "{}", begun.page);
        let back = self.provider.sign_in(&begun.location, name).await;
        assert!(back.starts_with(&self.url), "{back}");
        (back, begun.binding.unwrap())
    }

    /// What the page says that somebody may.
    async fn roles(&self, session: &str) -> String {
        let page = self.get("/sign-in", session).await.page;
        let said = page.split("You are signed in</h2><p>").nth(1).unwrap_or_else(|| panic!("{page}"));
        said.split("</p>").next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn groups_give_roles_at_each_sign_in_and_no_group_gives_none() {
    let service = Service::start("redress", &[]).await;
    service.provider.people(&[("ann", &["team", "heads"]), ("bob", &["others"]), ("eve", &["ghosts", "team"])]);
    let answer = service.sign_in("ann").await;
    assert_eq!((answer.status, answer.location.as_str()), (303, "/requests"), "{}", answer.page);
    let first = answer.session.unwrap();
    assert_eq!(service.get("/requests", &first).await.status, 200);
    let said = service.roles(&first).await;
    assert!(said.contains("ann (test)") && said.contains("privacy analyst, privacy lead"), "{said}");

    // One group fewer: the next sign-in has one role fewer, and so has the session that is there already.
    service.provider.people(&[("ann", &["team"])]);
    let second = service.sign_in("ann").await.session.unwrap();
    for session in [&first, &second] {
        let said = service.roles(session).await;
        assert!(said.contains("privacy analyst.") && !said.contains("lead"), "{said}");
    }
    service.provider.people(&[("ann", &[]), ("bob", &["others"]), ("eve", &["ghosts", "team"])]);
    assert_eq!(service.sign_in("ann").await.location, "/sign-in");
    assert_eq!(service.get("/requests", &first).await.status, 403);

    // No group that was named, or a controller that does not exist: known, but with no role.
    for name in ["bob", "eve"] {
        let answer = service.sign_in(name).await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/sign-in"), "{name}");
        let session = answer.session.unwrap();
        assert!(service.roles(&session).await.contains("no role"), "{name}");
        assert_eq!(service.get("/requests", &session).await.status, 403);
    }
    let kinds: Vec<String> =
        service.store.staff_events(0, 100).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, vec!["signed_in"; 5]);
    service.end().await;
}

#[tokio::test]
async fn an_answer_is_taken_once_from_the_browser_that_asked_and_from_this_provider() {
    let service = Service::start("redress", &[]).await;
    service.provider.people(&[("ann", &["team"])]);
    let (back, binding) = service.away("ann").await;
    let changed = |from: &str, to: &str| back.replacen(from, to, 1);
    let refused = |answer: Answer, words: &str| {
        assert_eq!(answer.status, 403, "{}", answer.page);
        assert!(answer.page.contains(words) && answer.session.is_none(), "{words}: {}", answer.page);
    };
    refused(service.get(&changed("state=", "state=x"), &binding).await, "did not begin here");
    refused(service.get(&back, "").await, "another browser");
    refused(service.get(&back, "redress_sign_in=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await, "another browser");
    let (other, _) = service.away("ann").await;
    refused(service.get(&other, &binding).await, "another browser");
    // Another provider's answer with our state, or one that does not say whose it is.
    refused(service.get(&changed("iss=http", "iss=https"), &binding).await, "another provider's");
    let (back, binding) = service.away("ann").await;
    refused(service.get(&back.replacen("iss=", "was=", 1), &binding).await, "another provider's");
    let (back, binding) = service.away("ann").await;
    refused(service.get(&back.replacen("code=", "code=x", 1), &binding).await, "does not take the code");

    let (back, binding) = service.away("ann").await;
    assert_eq!(service.get(&back, &binding).await.status, 303);
    refused(service.get(&back, &binding).await, "was finished before");
    // The code of one sign-in in another one of the same browser: its verifier is not the one that was asked with.
    let code = |back: &str| back.split_once("code=").unwrap().1.split('&').next().unwrap().to_owned();
    let (one, _) = service.away("ann").await;
    let (two, binding) = service.away("ann").await;
    refused(service.get(&two.replace(&code(&two), &code(&one)), &binding).await, "does not take the code");
    service.end().await;
}

#[tokio::test]
async fn whoever_cancels_is_told_so() {
    let service = Service::start("redress", &[]).await;
    let begun = service.get("/sign-in/oidc", "").await;
    let back = service.provider.cancel(&begun.location).await;
    assert!(back.contains("error=access_denied"), "{back}");
    let answer = service.get(&back, &begun.binding.unwrap()).await;
    assert_eq!(answer.status, 403);
    assert!(answer.page.contains("you cancelled it") && answer.session.is_none(), "{}", answer.page);
    service.end().await;
}

#[tokio::test]
async fn every_kind_of_client_signs_in_and_new_keys_are_fetched_once() {
    for client in ["redress", "redress-post", "redress-public"] {
        let service = Service::start(client, &[]).await;
        service.provider.people(&[("ann", &["acme"])]);
        let answer = service.sign_in("ann").await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/sign-in"), "{client}: {}", answer.page);
        service.provider.people(&[("ann", &["heads"])]);
        // It starts again with other keys, of which nobody told us.
        service.provider.kill9().await;
        service.provider.start_again().await;
        let answer = service.sign_in("ann").await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/requests"), "{client}: {}", answer.page);
        // And again at once: keys that are not known are not asked for at every sign-in.
        service.provider.kill9().await;
        service.provider.start_again().await;
        let answer = service.sign_in("ann").await;
        assert!(
            answer.status == 403 && answer.page.contains("no key of the provider fits it"),
            "{client}: {}",
            answer.page
        );
        service.end().await;
    }
}

#[tokio::test]
async fn a_wrong_secret_and_an_absent_provider_are_the_operators_to_mend() {
    let service = Service::start("redress", &[("REDRESS_OIDC__CLIENT_SECRET", "canary-wrong")]).await;
    service.provider.people(&[("ann", &["team"])]);
    let answer = service.sign_in("ann").await;
    assert_eq!(answer.status, 503, "{}", answer.page);
    assert!(answer.page.contains("invalid_client") && !answer.page.contains("canary"), "{}", answer.page);
    let (back, binding) = service.away("ann").await;
    service.provider.stop().await;
    let answer = service.get(&back, &binding).await;
    assert!(answer.status == 503 && answer.page.contains("cannot be reached"), "{}", answer.page);
    service.end().await;
}

#[tokio::test]
async fn links_of_the_operator_sign_in_once_and_one_machine_prints_one() {
    let app = TestApp::builder().backend(Backend::Sqlite).start().await;
    app.cli(&["controller", "create", "acme", "--country", "DE", "--timezone", "Europe/Berlin"]).await.ok();
    let code =
        |text: &str| text.split_once("/sign-in/link?code=").map(|(_, rest)| rest.lines().next().unwrap().to_owned());
    let logs = app.logs();
    let printed = code(&logs).expect("serve prints a link");
    let ran = app.cli(&["user", "link", "--name", "ann", "--role", "privacy_lead", "--controller", "acme"]).await;
    let client = reqwest::Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(30)).no_proxy();
    let client = client.build().unwrap();
    let send = async |code: String| {
        let form = format!("code={code}");
        let request = client.post(format!("{}/sign-in/link", app.base())).header("origin", app.base());
        request.header("content-type", "application/x-www-form-urlencoded").body(form).send().await.unwrap()
    };
    for (code, says) in [(printed, "admin, privacy lead, break glass"), (code(ran.ok()).unwrap(), "privacy lead")] {
        let answer = send(code.clone()).await;
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        let page = client.get(format!("{}/sign-in", app.base())).header(COOKIE, cookie).send().await.unwrap();
        let page = page.text().await.unwrap();
        assert!(page.contains("You are signed in") && says.split(", ").all(|role| page.contains(role)), "{page}");
        assert_eq!(send(code).await.status(), 410, "once");
    }
    for arguments in [&["user", "link", "--name", "ann", "--role", "root"][..], &["user", "link", "--name", "ann"]] {
        app.cli(arguments).await.refused(2);
    }
    app.cli(&["user", "link", "--name", "ann", "--role", "controller_user"]).await.refused(1);
    app.cli(&["user", "link", "--name", "ann", "--role", "auditor", "--controller", "nobody"]).await.refused(1);
}
