//! The edge in one process: the router on a store of its own, with a clock that the test moves.

mod access;
mod answers;
mod clocks;
mod evidence;
mod foreseen;
mod holds;
mod instructions;
mod matrix;
mod openapi;
pub(super) mod people;
mod reports;
mod requests;
mod staff;
mod stream;
mod submission;
mod systems;
mod webhooks;

use super::{Api, router};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::Engine as _;
use futures::FutureExt as _;
use redress_domain::{ControllerId, IdentifierType, ManualClock, Personal, RequestType, Role, Verb};
use redress_store::{NewController, Options, Store, SystemUpsert, Wake};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

pub(super) const NOW: &str = "2026-11-20T10:00:00Z";

/// A running edge with two controllers.
pub(super) struct Edge {
    pub(super) router: Router,
    pub(super) store: Store,
    pub(super) clock: Arc<ManualClock>,
    pub(super) acme: Tenant,
    pub(super) other: Tenant,
    pub(super) folder: PathBuf,
}

/// A controller and a key of each role.
pub(super) struct Tenant {
    pub(super) id: ControllerId,
    pub(super) admin: String,
    pub(super) user: String,
    pub(super) auditor: String,
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _left_behind_is_no_failure = std::fs::remove_dir_all(&self.folder);
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("a JSON body")
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("text")
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The pointers of a 422, checked to be a problem.
    pub(super) fn pointers(&self) -> Vec<String> {
        assert_eq!(self.status, 422, "{}", self.text());
        self.problem()["errors"]
            .as_array()
            .expect("errors")
            .iter()
            .map(|e| e["pointer"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The body, checked to be a problem that tells its own status.
    pub(super) fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(problem["detail"].as_str().is_some_and(|text| !text.is_empty()));
        problem
    }
}

pub(super) async fn edge() -> Edge {
    edge_with(|api| api).await
}

pub(super) async fn edge_with(change: impl FnOnce(Api) -> Api) -> Edge {
    let folder = std::env::temp_dir().join(format!("redress-http-{:x?}", redress_store::random::<8>().unwrap()));
    std::fs::create_dir_all(&folder).unwrap();
    let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
    let options = Options {
        url: format!("sqlite://{}", folder.join("redress.db").display()),
        max_connections: 8,
        connect_timeout: Duration::from_secs(5),
        master_key: [7; 32],
        keep_closed: Duration::from_hours(24),
    };
    let store = Store::open(options, clock.clone(), Wake::local()).await.unwrap();
    store.migrate().await.unwrap();
    let acme = tenant(&store, "acme").await;
    let other = tenant(&store, "other").await;
    let api = Api {
        store: store.clone(),
        rules: crate::rules::RulesInUse::built_in().unwrap(),
        check_callback: Arc::new(|url| {
            if url.starts_with("https://") && !url.contains("127.0.0.1") { Ok(()) } else { Err("is not public".into()) }
        }),
        check_host: Arc::new(|host, _| if host.ends_with(".example") { Ok(()) } else { Err("is not public".into()) }),
        check_system: Arc::new(|system| {
            async move {
                if system.name == "crm" {
                    Ok(json!({ "ok": [], "warnings": [] }))
                } else {
                    Err(("unreachable".into(), "it is down".into()))
                }
            }
            .boxed()
        }),
        test_route: Arc::new(|_| async { Ok(()) }.boxed()),
        test_webhook: Arc::new(|_, _, _| async { Err("the endpoint is down (status 503)".to_owned()) }.boxed()),
        processor: crate::config::Processor::default(),
        signing_key: json!({ "key_id": "k1", "algorithm": "Ed25519", "public_key": "AAAA" }),
        batch: 50,
        body_limit: 65_536,
        request_timeout: Duration::from_secs(30),
        board_open: false,
        today_shared_for: Duration::ZERO,
        people: people(&[]),
        ready: Arc::new(Vec::new),
        stop: tokio_util::sync::CancellationToken::new(),
    };
    Edge { router: router(change(api)), store, clock, acme, other, folder }
}

/// How people sign in with these settings besides the defaults.
pub(super) fn people(settings: &[(&str, &str)]) -> crate::http::People {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    crate::http::People::new(&crate::config::Config::load(None, settings).unwrap()).unwrap()
}

async fn tenant(store: &Store, name: &str) -> Tenant {
    let new = NewController {
        name: name.into(),
        country: Some("DE".into()),
        timezone: "Europe/Berlin".into(),
        region: None,
        contact: None,
        policy: redress_store::ControllerPolicy::default(),
        terms: None,
        weight: 1,
    };
    let id = store.create_controller(&new, "test").await.unwrap().id;
    let mut keys = Vec::new();
    for role in [Role::ControllerAdmin, Role::ControllerUser, Role::Auditor] {
        keys.push(store.create_key(&id, role, "test").await.unwrap().1);
    }
    let [admin, user, auditor] = keys.try_into().unwrap();
    Tenant { id, admin, user, auditor }
}

impl Edge {
    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        // A stream has no end.
        let endless = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let bytes = if endless { Vec::new() } else { axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec() };
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// A call with a key and perhaps a JSON body.
    pub(super) async fn call(&self, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {key}"));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        self.send(request.body(body.map_or_else(Body::empty, |b| Body::from(b.to_string()))).unwrap()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(&self.acme.user, "GET", path, None).await
    }

    pub(super) async fn submit(&self, body: &Value) -> Answer {
        self.call(&self.acme.user, "POST", "/v1/requests", Some(body)).await
    }

    /// Submits exactly these bytes with these headers.
    pub(super) async fn submit_raw(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let key = format!("Bearer {}", self.acme.user);
        let mut request =
            Request::builder().method(Method::POST).uri("/v1/requests").header(header::AUTHORIZATION, key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Calls a page as a browser on this machine does.
    pub(super) async fn page(&self, path: &str, host: &str, password: Option<&str>) -> Answer {
        let mut request = Request::builder().uri(path).header(header::HOST, host);
        if let Some(password) = password {
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{password}"));
            request = request.header(header::AUTHORIZATION, format!("Basic {pair}"));
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Sends a form of the board as the browser of whoever signed in with this key does.
    pub(super) async fn form(&self, key: &str, path: &str, fields: &str) -> Answer {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{key}"));
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, "dsr.example")
            .header(header::ORIGIN, "http://dsr.example")
            .header(header::AUTHORIZATION, format!("Basic {pair}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let body = format!("csrf={}&{fields}", super::auth::token_of(key));
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// Changes rows by the side door.
    pub(super) async fn sql(&self, sql: &str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.folder.join("redress.db"));
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect(sql);
        pool.close().await;
    }

    /// Connects a system that nothing reaches.
    pub(super) async fn connect(&self, tenant: &Tenant, name: &str, allow: &[RequestType], fields: &[&str]) {
        let new = SystemUpsert {
            name: name.into(),
            family: "crm".into(),
            connector: "postgres".into(),
            definition: json!({
                "settings": { "host": "db.example", "port": 5432, "database": "shop", "username": "dsr" },
                "tables": [], "max_matches": 25, "rate_per_second": null,
            }),
            secrets: Some(BTreeMap::from([("password".to_owned(), Personal::from("canary-secret"))])),
            allow: allow.to_vec(),
            verbs: vec![Verb::Discover, Verb::Export, Verb::Rectify, Verb::Erase, Verb::Verify],
            identifiers: vec![IdentifierType::Email, IdentifierType::CustomerId],
            fields: fields.iter().map(|&f| f.to_owned()).collect(),
            batch: 50,
            completes_within_days: 0,
        };
        self.store.upsert_system(&tenant.id, &new, "test").await.unwrap();
    }
}

/// The smallest request of a type.
pub(super) fn request(kind: &str) -> Value {
    json!({ "type": kind, "subject": { "identifiers": [{ "type": "email", "value": "jane@example.com" }] } })
}

pub(super) const ALL: &[RequestType] = &[RequestType::Access, RequestType::Correction, RequestType::Deletion];
