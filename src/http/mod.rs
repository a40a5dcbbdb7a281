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
mod evidence;
mod foreseen;
pub(crate) mod forwarded;
mod four_eyes;
mod glass;
mod holds;
mod idempotency;
mod instructions;
mod json;
mod keys;
mod metrics;
mod notify;
mod operations;
mod path;
mod people;
mod problem;
mod replay;
mod reports;
mod requests;
mod reveal;
mod stream;
mod submit;
mod systems;
mod tasks;
#[cfg(test)]
mod tests;
mod users;
mod view;
mod views;
mod webhooks;
mod wrap;

pub use people::{Peer, People};

use crate::config::Processor;
use crate::rules::RulesInUse;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use futures::future::BoxFuture;
use redress_domain::{ControllerId, Permit, RouteId, WebhookId};
use redress_store::{Store, SystemRow};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Calls at the same time; one more is told to come back.
const CALLS_MAX: usize = 512;

/// Decides about a URL that a caller gave; the reason if it is refused.
pub type CheckUrl = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;
/// Decides about a host and port that a caller gave; the reason if they are refused.
pub type CheckHost = Arc<dyn Fn(&str, u16) -> Result<(), String> + Send + Sync>;
/// Checks a connected system and records the outcome: a report, or code and sentence of what is wrong.
pub type CheckSystem = Arc<dyn Fn(SystemRow) -> BoxFuture<'static, Result<Value, (String, String)>> + Send + Sync>;
/// Sends a route a message about an invented request; what became of it in words if it was not taken.
pub type TestRoute = Arc<dyn Fn(RouteId) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
/// Sends a standing endpoint of a controller a signed test message, in the name of an actor: the status it answered with, or what
/// became of it in words.
pub type TestWebhook =
    Arc<dyn Fn(ControllerId, WebhookId, String) -> BoxFuture<'static, Result<u16, String>> + Send + Sync>;
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
    /// Tries out a route of notices.
    pub test_route: TestRoute,
    /// Tries out a standing endpoint.
    pub test_webhook: TestWebhook,
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
    /// For so long whoever looks at the same controllers is shown the same figures on Today.
    pub today_shared_for: Duration,
    /// How people sign in.
    pub people: People,
    /// Asked by `/readyz`.
    pub ready: Ready,
    /// Ends what would go on for ever: the streams.
    pub stop: CancellationToken,
}

/// The whole service.
pub fn router(api: Api) -> Router {
    let mut all = routes();
    all.extend(board_routes());
    assemble(api, all)
}

/// Health and metrics only, for a process that takes no calls.
pub fn health_router(api: Api) -> Router {
    assemble(api, health_routes())
}

macro_rules! declare {
    ($($method:ident $path:literal [$permit:ident] => $handler:path;)+) => {
        vec![$((stringify!($method), $path, needs::$permit, axum::routing::$method($handler))),+]
    };
}

/// Every route of the interface as method, path, the permit it needs (`open`: none, for anybody) and handler; `openapi.json` describes
/// these and no others.
fn routes() -> Vec<Route> {
    let mut all = health_routes();
    all.extend(declare! {
        get "/" [See] => board::today;
        get "/openapi.json" [open] => operations::openapi;
        get "/.well-known/redress-signing-key.json" [open] => operations::signing_key;
        get "/v1/signing-key" [open] => operations::signing_key;
        post "/v1/requests" [Submit] => submit::submit;
        get "/v1/requests" [See] => requests::list;
        get "/v1/requests/{id}" [See] => requests::show;
        get "/v1/requests/{id}/events" [See] => requests::events;
        post "/v1/requests/{id}/approve" [Decide] => requests::approve;
        post "/v1/requests/{id}/reject" [Decide] => requests::reject;
        post "/v1/requests/{id}/retry" [Retry] => requests::retry;
        post "/v1/requests/{id}/notify" [Retry] => replay::callbacks;
        post "/v1/messages/{id}/replay" [Retry] => replay::message;
        post "/v1/requests/{id}/withdraw" [Act] => requests::withdraw;
        post "/v1/requests/{id}/pause" [Act] => clocks::pause;
        post "/v1/requests/{id}/resume" [Act] => clocks::resume;
        post "/v1/requests/{id}/extend" [Decide] => clocks::extend;
        post "/v1/requests/{id}/acknowledge" [Act] => clocks::acknowledge;
        post "/v1/requests/{id}/keep" [Decide] => holds::keep;
        get "/v1/holds" [See] => holds::list;
        post "/v1/holds" [Decide] => holds::set;
        get "/v1/holds/{id}" [See] => holds::show;
        post "/v1/holds/{id}/release" [Decide] => holds::release;
        post "/v1/holds/{id}/review" [Decide] => holds::review;
        post "/v1/requests/{id}/reveal" [Reveal] => reveal::reveal;
        get "/v1/requests/{id}/steps/{system}/task" [Task] => tasks::show;
        post "/v1/requests/{id}/steps/{system}/complete" [Task] => tasks::complete;
        get "/v1/requests/{id}/package" [Fetch] => answers::package;
        get "/v1/requests/{id}/certificate" [See] => answers::certificate;
        get "/v1/systems" [See] => systems::list;
        get "/v1/systems/{name}" [See] => systems::show;
        put "/v1/systems/{name}" [Connect] => systems::put;
        delete "/v1/systems/{name}" [Connect] => systems::delete;
        post "/v1/systems/{name}/check" [Operate] => systems::check;
        post "/v1/systems/{name}/pause" [Operate] => systems::pause;
        post "/v1/systems/{name}/resume" [Operate] => systems::resume;
        get "/v1/keys" [Keys] => keys::list;
        post "/v1/keys" [Keys] => keys::create;
        delete "/v1/keys/{id}" [Keys] => keys::revoke;
        get "/v1/instructions" [See] => instructions::show;
        put "/v1/instructions" [Decide] => instructions::put;
        get "/v1/instructions/versions" [See] => instructions::versions;
        delete "/v1/instructions/proposal" [Decide] => instructions::withdraw;
        get "/v1/webhooks" [See] => webhooks::list;
        post "/v1/webhooks" [Connect] => webhooks::create;
        get "/v1/webhooks/{id}" [Connect] => webhooks::show;
        delete "/v1/webhooks/{id}" [Connect] => webhooks::remove;
        post "/v1/webhooks/{id}/rotate" [Connect] => webhooks::rotate;
        post "/v1/webhooks/{id}/test" [Operate] => webhooks::test;
        post "/v1/webhooks/{id}/enable" [Operate] => webhooks::enable;
        get "/v1/audit" [See] => audit::export;
        get "/v1/staff-audit" [People] => audit::staff;
        get "/v1/stream" [See] => stream::stream;
        get "/v1/views" [See] => views::list;
        put "/v1/views" [See] => views::save;
        delete "/v1/views/{name}" [See] => views::remove;
        get "/v1/users" [People] => users::list;
        put "/v1/users/{id}" [People] => users::change;
        post "/v1/users/{id}/sign-out" [People] => users::sign_out;
        get "/v1/sessions" [People] => users::sessions;
        delete "/v1/sessions/{id}" [open] => users::end_session;
        post "/v1/break-glass" [open] => glass::take;
        delete "/v1/break-glass" [open] => glass::mend;
        post "/v1/notify-routes/{name}/test" [People] => notify::test;
        get "/v1/reports/sla" [See] => reports::sla;
        get "/v1/reports/ccpa-7102" [See] => reports::ccpa_7102;
        get "/v1/reports/processing-record" [See] => reports::processing_record;
        get "/v1/reports/evidence" [See] => evidence::evidence;
    });
    all
}

/// The pages of the board besides its first one, and what they are made of. What they change they change by the native API.
fn board_routes() -> Vec<Route> {
    declare! {
        get "/requests" [See] => board::requests;
        get "/requests.csv" [See] => board::requests_csv;
        get "/requests/{id}" [See] => board::request;
        get "/queue" [See] => board::queue;
        get "/queue/{id}/{system}" [Task] => board::task;
        post "/queue/{id}/{system}" [Task] => board::open_task;
        post "/queue/{id}/{system}/report" [Task] => board::report_task;
        get "/controllers" [See] => board::controllers;
        get "/controllers/{name}" [See] => board::controller;
        post "/controllers/{name}/keys" [Keys] => board::make_key;
        get "/reports" [See] => board::reports;
        get "/systems" [See] => board::systems;
        get "/systems/{controller}/{name}" [See] => board::system;
        get "/audit" [See] => board::audit;
        get "/settings" [See] => board::settings;
        get "/settings/sessions" [open] => board::own_sessions;
        get "/settings/{tab}" [See] => board::settings_tab;
        get "/assets/{hash}/{name}" [open] => board::asset;
        post "/act/{*call}" [open] => board::act;
        get "/sign-in" [open] => board::sign_in::page;
        post "/sign-in" [open] => board::sign_in::with_key;
        get "/sign-in/oidc" [open] => board::sign_in::begin;
        get "/sign-in/callback" [open] => board::sign_in::callback;
        get "/sign-in/link" [open] => board::sign_in::link;
        post "/sign-in/link" [open] => board::sign_in::confirm;
        post "/sign-out" [open] => board::sign_in::sign_out;
    }
}

fn health_routes() -> Vec<Route> {
    declare! {
        get "/healthz" [open] => operations::healthz;
        get "/readyz" [open] => operations::readyz;
        get "/metrics" [open] => metrics::metrics;
    }
}

type Route = (&'static str, &'static str, Option<Permit>, MethodRouter<Edge>);

/// Permits as the table of routes spells them.
#[allow(non_upper_case_globals)]
mod needs {
    use redress_domain::Permit;

    pub(super) const open: Option<Permit> = None;
    pub(super) const See: Option<Permit> = Some(Permit::See);
    pub(super) const Reveal: Option<Permit> = Some(Permit::Reveal);
    pub(super) const Fetch: Option<Permit> = Some(Permit::Fetch);
    pub(super) const Submit: Option<Permit> = Some(Permit::Submit);
    pub(super) const Act: Option<Permit> = Some(Permit::Act);
    pub(super) const Decide: Option<Permit> = Some(Permit::Decide);
    pub(super) const Retry: Option<Permit> = Some(Permit::Retry);
    pub(super) const Task: Option<Permit> = Some(Permit::Task);
    pub(super) const Operate: Option<Permit> = Some(Permit::Operate);
    pub(super) const Connect: Option<Permit> = Some(Permit::Connect);
    pub(super) const Keys: Option<Permit> = Some(Permit::Keys);
    pub(super) const People: Option<Permit> = Some(Permit::People);
}

fn assemble(api: Api, routes: Vec<Route>) -> Router {
    let edge = Edge(Arc::new(Inner {
        api,
        calls: Semaphore::new(CALLS_MAX),
        answers: Mutex::default(),
        kept: metrics::Kept::default(),
        stream: stream::Hub::default(),
        today: board::Shared::default(),
        permits: routes
            .iter()
            .map(|(method, path, permit, _)| ((*method).to_owned(), (*path).to_owned(), *permit))
            .map(|(method, path, permit)| ((method, path), permit))
            .collect(),
    }));
    plain(routes).layer(from_fn_with_state(edge.clone(), wrap::wrap)).with_state(edge)
}

/// The routes of the native API, for those of our own pages that ask them.
fn api_routes() -> Router<Edge> {
    plain(routes().into_iter().filter(|(_, path, ..)| path.starts_with("/v1/")).collect())
}

/// The routes with what answers where there is none.
fn plain(routes: Vec<Route>) -> Router<Edge> {
    routes
        .into_iter()
        .fold(Router::new(), |router, (_, path, _, handler)| router.route(path, handler))
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::wrong_method)
}

/// What handlers share.
#[derive(Clone)]
struct Edge(Arc<Inner>);

struct Inner {
    api: Api,
    calls: Semaphore,
    answers: Mutex<BTreeMap<Answered, u64>>,
    kept: metrics::Kept,
    stream: stream::Hub,
    today: board::Shared,
    /// What each route needs, by method and path.
    permits: BTreeMap<(String, String), Option<Permit>>,
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
