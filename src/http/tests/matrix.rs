//! Every route, every method and every kind of caller: who is let in is written down a second time here, and a route without a row
//! fails. What changes something cannot be made to happen by another web site's page.

use super::people::{Browser, HERE};
use super::{ALL, Answer, Edge, edge, edge_with, request};
use crate::http::auth::token_of;
use crate::http::{Api, board_routes, routes};
use axum::body::Body;
use axum::http::{Request, header};
use redress_domain::{Permit, Role};
use tower::ServiceExt as _;

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// Nothing: it tells no secret, or is how somebody comes to be known.
    Nothing,
    /// To be known; whatever else it does is checked as another route.
    Known,
    This(Permit),
}

use Asks::{Known, Nothing, This};
use Permit::{Act, Connect, Decide, Fetch, Keys, Operate, People, Retry, Reveal, See, Submit, Task};

const ROUTES: &[(&str, &str, Asks)] = &[
    ("get", "/healthz", Nothing),
    ("get", "/readyz", Nothing),
    ("get", "/metrics", Nothing),
    ("get", "/openapi.json", Nothing),
    ("get", "/.well-known/redress-signing-key.json", Nothing),
    ("get", "/v1/signing-key", Nothing),
    ("get", "/", This(See)),
    ("post", "/v1/requests", This(Submit)),
    ("get", "/v1/requests", This(See)),
    ("get", "/v1/requests/{id}", This(See)),
    ("get", "/v1/requests/{id}/events", This(See)),
    ("post", "/v1/requests/{id}/approve", This(Decide)),
    ("post", "/v1/requests/{id}/reject", This(Decide)),
    ("post", "/v1/requests/{id}/retry", This(Retry)),
    ("post", "/v1/requests/{id}/notify", This(Retry)),
    ("post", "/v1/messages/{id}/replay", This(Retry)),
    ("post", "/v1/requests/{id}/keep", This(Decide)),
    ("get", "/v1/holds", This(See)),
    ("post", "/v1/holds", This(Decide)),
    ("get", "/v1/holds/{id}", This(See)),
    ("post", "/v1/holds/{id}/release", This(Decide)),
    ("post", "/v1/holds/{id}/review", This(Decide)),
    ("post", "/v1/requests/{id}/reveal", This(Reveal)),
    ("get", "/v1/views", This(See)),
    ("put", "/v1/views", This(See)),
    ("delete", "/v1/views/{name}", This(See)),
    ("get", "/requests.csv", This(See)),
    ("post", "/v1/requests/{id}/withdraw", This(Act)),
    ("post", "/v1/requests/{id}/pause", This(Act)),
    ("post", "/v1/requests/{id}/resume", This(Act)),
    ("post", "/v1/requests/{id}/extend", This(Decide)),
    ("post", "/v1/requests/{id}/acknowledge", This(Act)),
    ("get", "/v1/requests/{id}/steps/{system}/task", This(Task)),
    ("post", "/v1/requests/{id}/steps/{system}/complete", This(Task)),
    ("get", "/v1/requests/{id}/package", This(Fetch)),
    ("get", "/v1/requests/{id}/certificate", This(See)),
    ("get", "/v1/systems", This(See)),
    ("get", "/v1/systems/{name}", This(See)),
    ("put", "/v1/systems/{name}", This(Connect)),
    ("delete", "/v1/systems/{name}", This(Connect)),
    ("post", "/v1/systems/{name}/check", This(Operate)),
    ("post", "/v1/systems/{name}/pause", This(Operate)),
    ("post", "/v1/systems/{name}/resume", This(Operate)),
    ("get", "/v1/keys", This(Keys)),
    ("post", "/v1/keys", This(Keys)),
    ("delete", "/v1/keys/{id}", This(Keys)),
    ("get", "/v1/instructions", This(See)),
    ("put", "/v1/instructions", This(Decide)),
    ("get", "/v1/instructions/versions", This(See)),
    ("delete", "/v1/instructions/proposal", This(Decide)),
    ("get", "/v1/webhooks", This(See)),
    ("post", "/v1/webhooks", This(Connect)),
    ("get", "/v1/webhooks/{id}", This(Connect)),
    ("delete", "/v1/webhooks/{id}", This(Connect)),
    ("post", "/v1/webhooks/{id}/rotate", This(Connect)),
    ("post", "/v1/webhooks/{id}/test", This(Operate)),
    ("post", "/v1/webhooks/{id}/enable", This(Operate)),
    ("get", "/v1/audit", This(See)),
    ("get", "/v1/staff-audit", This(People)),
    ("get", "/v1/users", This(People)),
    ("put", "/v1/users/{id}", This(People)),
    ("post", "/v1/users/{id}/sign-out", This(People)),
    ("get", "/v1/sessions", This(People)),
    ("delete", "/v1/sessions/{id}", Known),
    ("post", "/v1/break-glass", Known),
    ("delete", "/v1/break-glass", Known),
    ("post", "/v1/notify-routes/{name}/test", This(People)),
    ("get", "/audit", This(See)),
    ("get", "/settings", This(See)),
    ("get", "/settings/sessions", Known),
    ("get", "/settings/{tab}", This(See)),
    ("get", "/v1/stream", This(See)),
    ("get", "/v1/reports/sla", This(See)),
    ("get", "/v1/reports/ccpa-7102", This(See)),
    ("get", "/v1/reports/processing-record", This(See)),
    ("get", "/v1/reports/evidence", This(See)),
    ("get", "/reports", This(See)),
    ("get", "/requests", This(See)),
    ("get", "/requests/{id}", This(See)),
    ("get", "/controllers", This(See)),
    ("get", "/controllers/{name}", This(See)),
    ("post", "/controllers/{name}/keys", This(Keys)),
    ("get", "/queue", This(See)),
    ("get", "/queue/{id}/{system}", This(Task)),
    ("post", "/queue/{id}/{system}", This(Task)),
    ("post", "/queue/{id}/{system}/report", This(Task)),
    ("get", "/systems", This(See)),
    ("get", "/systems/{controller}/{name}", This(See)),
    ("get", "/assets/{hash}/{name}", Nothing),
    ("post", "/act/{*call}", Known),
    ("get", "/sign-in", Nothing),
    ("post", "/sign-in", Nothing),
    ("get", "/sign-in/oidc", Nothing),
    ("get", "/sign-in/callback", Nothing),
    ("get", "/sign-in/link", Nothing),
    ("post", "/sign-in/link", Nothing),
    ("post", "/sign-out", Nothing),
];

/// Forms before somebody is known: they have no token and must come from here.
const BEFORE_SIGN_IN: [&str; 2] = ["/sign-in", "/sign-in/link"];

fn all() -> Vec<(&'static str, &'static str)> {
    routes().into_iter().chain(board_routes()).map(|(method, path, ..)| (method, path)).collect()
}

fn asks(method: &str, path: &str) -> Asks {
    let row = ROUTES.iter().find(|(m, p, _)| *m == method && *p == path);
    row.unwrap_or_else(|| panic!("{method} {path} has no row in the table of this test: who may call it?")).2
}

#[test]
fn every_route_has_one_row_and_every_row_a_route() {
    let mut rows: Vec<(&str, &str)> = ROUTES.iter().map(|(method, path, _)| (*method, *path)).collect();
    let mut declared = all();
    for (method, path) in &declared {
        asks(method, path);
    }
    rows.sort_unstable();
    declared.sort_unstable();
    assert_eq!(rows, declared);
}

/// Somebody who calls, with a new session each time: a call must not change what the next one may.
#[derive(Debug, Clone, Copy)]
enum Caller {
    Nobody,
    Local,
    Key(Role),
    Person(Option<Role>),
    /// With the emergency rights taken up.
    Glass,
}

impl Caller {
    fn every() -> Vec<Self> {
        let mut all = vec![Self::Nobody, Self::Local, Self::Person(None), Self::Glass];
        all.extend(Role::KEYS.map(Self::Key));
        all.extend(Role::ALL.map(|role| Self::Person(Some(role))));
        all
    }

    /// Whether it is let in, as it is written here.
    fn may(self, path: &str, asks: Asks) -> bool {
        let by_program = is_for_programs(path);
        match (self, asks) {
            (_, Nothing) => true,
            (Self::Nobody, _) | (Self::Local, Known) | (Self::Person(None | Some(Role::BreakGlass)), This(_)) => false,
            (_, Known) => true,
            // Whoever sits here may look at pages; the interface asks who it is.
            (Self::Local, This(permit)) => !by_program && permit == See,
            (Self::Person(Some(role)) | Self::Key(role), This(permit)) => role.may(permit),
            (Self::Glass, This(permit)) => Role::BreakGlass.may(permit),
        }
    }

    async fn call(self, edge: &Edge, method: &str, path: &str) -> Answer {
        let host = if matches!(self, Self::Local) { "localhost" } else { "dsr.example" };
        let mut request =
            Request::builder().method(method.to_uppercase().as_str()).uri(path).header(header::HOST, host);
        let mut token = String::new();
        if let Self::Key(role) = self {
            let (_, key) = edge.store.create_key(&edge.acme.id, role, "test").await.unwrap();
            token = token_of(&key);
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(Browser { cookie, .. }) = self.browser(edge).await {
            token = token_of(cookie.split_once('=').unwrap().1);
            request = request.header(header::COOKIE, cookie);
        }
        request = request.header(header::ORIGIN, HERE).header("x-csrf-token", &token);
        let body = if is_form(method, path) {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            Body::from(format!("csrf={token}"))
        } else {
            Body::empty()
        };
        if path == "/v1/stream" {
            // It has no end.
            let response = edge.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
            return Answer { status: response.status(), headers: response.headers().clone(), bytes: Vec::new() };
        }
        edge.send(request.body(body).unwrap()).await
    }

    async fn browser(self, edge: &Edge) -> Option<Browser> {
        match self {
            Self::Nobody | Self::Local | Self::Key(_) => None,
            Self::Person(role) => {
                let own = [&edge.acme.id];
                let confined = role.is_some_and(Role::is_of_one_controller).then_some(&own[..]);
                let roles: Vec<Role> = role.into_iter().collect();
                Some(edge.someone(&format!("{role:?}"), &roles, confined).await)
            }
            Self::Glass => {
                let browser = edge.someone("glass", &[Role::BreakGlass], None).await;
                edge.break_glass(&browser).await;
                Some(browser)
            }
        }
    }
}

/// Whether it is asked by programs, and not by pages. The stream tells open pages what is new.
fn is_for_programs(path: &str) -> bool {
    path.starts_with("/v1/") && path != "/v1/stream"
}

/// Whether a page sends it, and not a program.
fn is_form(method: &str, path: &str) -> bool {
    method != "get" && !path.starts_with("/v1/")
}

/// A path with something in the places of its parameters; a form goes to a call that is there.
fn filled(path: &str, dsr: &str) -> String {
    path.replace("{*call}", &format!("v1/requests/{dsr}/withdraw"))
        .replace("{id}", dsr)
        .replace("{system}", "crm")
        .replace("{controller}", "acme")
        .replace("{name}", "nothing")
        .replace("{hash}", "0")
        .replace("{tab}", "nothing")
}

async fn with_a_request(edge: &Edge) -> String {
    edge.connect(&edge.acme, "crm", ALL, &[]).await;
    edge.submit(&request("deletion")).await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_caller_may_what_their_role_holds_and_nothing_else() {
    let edge = edge_with(|api| Api { board_open: true, ..api }).await;
    let dsr = with_a_request(&edge).await;
    for (method, path) in all() {
        let asks = asks(method, path);
        // A form is a call of another row; its own tests are below and with the board.
        if asks == Known {
            continue;
        }
        let target = filled(path, &dsr);
        for caller in Caller::every() {
            let answer = caller.call(&edge, method, &target).await;
            let told = format!("{caller:?}: {method} {path} answered {} {}", answer.status, answer.text());
            assert!(!answer.status.is_server_error() || path == "/readyz", "{told}");
            if asks == Nothing {
                continue;
            }
            let known = match caller {
                Caller::Nobody => false,
                Caller::Local => !is_for_programs(path),
                _ => true,
            };
            let let_in = !matches!(answer.status.as_u16(), 401 | 403);
            assert_eq!(let_in, caller.may(path, asks), "{told}");
            if !known {
                assert_eq!(answer.status, 401, "{told}");
            }
        }
    }
}

/// Somebody who may do everything that people may.
async fn everything(edge: &Edge, name: &str) -> Browser {
    let browser = edge.someone(name, &Role::ALL, None).await;
    edge.break_glass(&browser).await;
    browser
}

#[tokio::test]
async fn no_other_web_site_can_make_a_browser_change_anything() {
    let edge = edge().await;
    let dsr = with_a_request(&edge).await;
    let (ann, other) = (everything(&edge, "ann").await, everything(&edge, "other").await);
    let (own, foreign) = (edge.token(&ann.cookie).await, edge.token(&other.cookie).await);
    assert_ne!(own, foreign);
    let before = edge.everything().await;
    let mut tried = 0;
    for (method, path) in all().into_iter().filter(|(method, _)| *method != "get") {
        for (origin, site, token) in [
            (Some("https://evil.example"), None, own.as_str()),
            (Some("http://dsr.example.evil.example"), None, own.as_str()),
            (Some("null"), None, own.as_str()),
            (Some("null"), Some("cross-site"), own.as_str()),
            (Some(HERE), Some("same-site"), own.as_str()),
            (None, None, own.as_str()),
            (Some(HERE), Some("same-origin"), ""),
            (Some(HERE), Some("same-origin"), foreign.as_str()),
        ] {
            if BEFORE_SIGN_IN.contains(&path) && site == Some("same-origin") {
                continue;
            }
            let form = is_form(method, path);
            let mut request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(filled(path, &dsr))
                .header(header::HOST, "dsr.example")
                .header(header::COOKIE, &ann.cookie);
            for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            let request = if form {
                request
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Body::from(format!("csrf={token}&key={}&code=x", edge.acme.user)))
            } else {
                request
                    .header("x-csrf-token", token)
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(Body::from("{}"))
            };
            let answer = edge.send(request.unwrap()).await;
            assert_eq!(answer.status, 403, "{method} {path} {origin:?} {site:?}: {}", answer.text());
            assert!(answer.headers.get(header::SET_COOKIE).is_none(), "{method} {path}");
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
    assert_eq!(edge.everything().await, before, "something was changed");
    // The same browser with the right token, from here: it is not the rest of the call that is refused.
    let withdraw = format!("/act/v1/requests/{dsr}/withdraw");
    let answer = edge.browse(Some(&ann.cookie), &withdraw, Some(&format!("csrf={own}"))).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert_ne!(edge.everything().await, before);
}
