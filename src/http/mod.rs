//! The edge is what callers see: the native API under `/v1`, health and metrics, and the board.
//!
//! A handler parses, calls the store once and renders; who calls is an argument ([`auth`]), every "no" is a [`problem`],
//! what all answers share is in [`wrap`]. Work is never done here: whatever a call begins is a row that a worker finds.

mod answers;
mod audit;
mod auth;
mod board;
mod body;
mod clocks;
mod foreseen;
mod idempotency;
mod json;
mod keys;
mod metrics;
mod operations;
mod path;
mod problem;
mod reports;
mod requests;
mod submit;
mod systems;
mod tasks;
#[cfg(test)]
mod tests;
mod view;
mod wrap;

use crate::config::Processor;
use crate::rules::RulesInUse;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use futures::future::BoxFuture;
use redress_store::{Store, SystemRow};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Calls at the same time; one more is told to come back.
const CALLS_MAX: usize = 512;

/// Decides about a URL that a caller gave; the reason if it is refused.
pub type CheckUrl = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;
/// Decides about a host and port that a caller gave; the reason if they are refused.
pub type CheckHost = Arc<dyn Fn(&str, u16) -> Result<(), String> + Send + Sync>;
/// Checks a connected system and records the outcome: a report, or code and sentence of what is wrong.
pub type CheckSystem = Arc<dyn Fn(SystemRow) -> BoxFuture<'static, Result<Value, (String, String)>> + Send + Sync>;
/// Names the reasons for which this process is not ready.
pub type Ready = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Everything the edge needs, given by the application.
#[derive(Clone)]
pub struct Api {
    /// Every row.
    pub store: Store,
    /// The rules of the deadlines.
    pub rules: RulesInUse,
    /// The outbound policy for callback URLs.
    pub check_callback: CheckUrl,
    /// The outbound policy for the hosts of connected systems.
    pub check_host: CheckHost,
    /// Signs in to a system and compares what is declared with what is there.
    pub check_system: CheckSystem,
    /// Who processes here, for the record of processing.
    pub processor: Processor,
    /// The key that signs certificates: `key_id`, `algorithm`, `public_key`.
    pub signing_key: Value,
    /// Most steps that a worker of the fleet claims at once.
    pub batch: usize,
    /// The longest body that is taken, in bytes.
    pub body_limit: usize,
    /// After this time a call is answered 503.
    pub request_timeout: Duration,
    /// The service listens on loopback only, so that the board needs no key.
    pub board_open: bool,
    /// Asked by `/readyz`.
    pub ready: Ready,
}

/// The whole service.
pub fn router(api: Api) -> Router {
    assemble(api, routes())
}

/// Health and metrics only, for a process that takes no calls.
pub fn health_router(api: Api) -> Router {
    assemble(api, health_routes())
}

macro_rules! declare {
    ($($method:ident $path:literal => $handler:path;)+) => {
        vec![$((stringify!($method), $path, axum::routing::$method($handler))),+]
    };
}

/// Every route as method, path and handler; `openapi.json` describes these and no others.
fn routes() -> Vec<Route> {
    let mut all = health_routes();
    all.extend(declare! {
        get "/" => board::list;
        get "/requests/{id}" => board::request;
        get "/openapi.json" => operations::openapi;
        get "/.well-known/redress-signing-key.json" => operations::signing_key;
        get "/v1/signing-key" => operations::signing_key;
        post "/v1/requests" => submit::submit;
        get "/v1/requests" => requests::list;
        get "/v1/requests/{id}" => requests::show;
        get "/v1/requests/{id}/events" => requests::events;
        post "/v1/requests/{id}/approve" => requests::approve;
        post "/v1/requests/{id}/reject" => requests::reject;
        post "/v1/requests/{id}/retry" => requests::retry;
        post "/v1/requests/{id}/withdraw" => requests::withdraw;
        post "/v1/requests/{id}/pause" => clocks::pause;
        post "/v1/requests/{id}/resume" => clocks::resume;
        post "/v1/requests/{id}/extend" => clocks::extend;
        post "/v1/requests/{id}/acknowledge" => clocks::acknowledge;
        get "/v1/requests/{id}/steps/{system}/task" => tasks::show;
        post "/v1/requests/{id}/steps/{system}/complete" => tasks::complete;
        get "/v1/requests/{id}/package" => answers::package;
        get "/v1/requests/{id}/certificate" => answers::certificate;
        get "/v1/systems" => systems::list;
        get "/v1/systems/{name}" => systems::show;
        put "/v1/systems/{name}" => systems::put;
        delete "/v1/systems/{name}" => systems::delete;
        post "/v1/systems/{name}/check" => systems::check;
        post "/v1/systems/{name}/pause" => systems::pause;
        post "/v1/systems/{name}/resume" => systems::resume;
        get "/v1/keys" => keys::list;
        post "/v1/keys" => keys::create;
        delete "/v1/keys/{id}" => keys::revoke;
        get "/v1/audit" => audit::export;
        get "/v1/reports/sla" => reports::sla;
        get "/v1/reports/ccpa-7102" => reports::ccpa_7102;
        get "/v1/reports/processing-record" => reports::processing_record;
    });
    all
}

fn health_routes() -> Vec<Route> {
    declare! {
        get "/healthz" => operations::healthz;
        get "/readyz" => operations::readyz;
        get "/metrics" => metrics::metrics;
    }
}

type Route = (&'static str, &'static str, MethodRouter<Edge>);

fn assemble(api: Api, routes: Vec<Route>) -> Router {
    let edge = Edge(Arc::new(Inner {
        api,
        calls: Semaphore::new(CALLS_MAX),
        answers: Mutex::default(),
        kept: metrics::Kept::default(),
    }));
    routes
        .into_iter()
        .fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(from_fn_with_state(edge.clone(), wrap::wrap))
        .with_state(edge)
}

/// What handlers share.
#[derive(Clone)]
struct Edge(Arc<Inner>);

struct Inner {
    api: Api,
    calls: Semaphore,
    answers: Mutex<BTreeMap<Answered, u64>>,
    kept: metrics::Kept,
}

/// Method, route and status of an answer, for the metrics.
type Answered = (&'static str, String, u16);

impl Deref for Edge {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.0.api
    }
}

impl Edge {
    /// How long a body may take to arrive: less than the whole call, so that slowness is told from our own.
    fn patience(&self) -> Duration {
        self.request_timeout.mul_f64(0.75)
    }
}
