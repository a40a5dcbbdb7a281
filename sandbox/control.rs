//! The control server is the sandbox's side door over HTTP: who is seeded, what is left of them, which calls were made, and
//! faults, limits and time on demand.

use crate::kit::{Allowance, Fault};
use crate::vendors::Person;
use crate::{Served, Vendor};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Vendors that are served together, with the same people in all of them.
pub struct Sandbox {
    served: BTreeMap<&'static str, (Vendor, Served)>,
    people: Vec<Person>,
}

impl Sandbox {
    /// Serves these vendors on ports from `first` on, in their order (0: free ones), and seeds everybody everywhere.
    ///
    /// # Errors
    /// A port cannot be had.
    pub async fn start(vendors: &[Vendor], first: u16, people: Vec<Person>) -> std::io::Result<Self> {
        let mut served = BTreeMap::new();
        for (n, vendor) in (0_u16..).zip(vendors) {
            let port = if first == 0 { 0 } else { first.saturating_add(n) };
            let world = Arc::new(crate::World::default());
            for person in &people {
                (vendor.seed)(&world, person);
            }
            let running = Served::start((vendor.router)(&world), world, port).await?;
            served.insert(vendor.name, (*vendor, running));
        }
        Ok(Self { served, people })
    }

    /// What is served: name and address.
    pub fn vendors(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.served.iter().map(|(name, (_, served))| (*name, served.url()))
    }

    /// Everybody who was seeded.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// A vendor's world.
    pub fn world(&self, vendor: &str) -> Option<&Arc<crate::World>> {
        self.served.get(vendor).map(|(_, served)| served.world())
    }

    /// How many records of this person are left at a vendor, by the address as it was seeded.
    pub fn left(&self, vendor: &str, email: &str) -> u64 {
        self.served.get(vendor).map_or(0, |(vendor, served)| (vendor.count)(served.world(), email))
    }

    /// Serves the side door on this port of the loopback address (0: a free one) until the process ends; gives its address.
    ///
    /// # Errors
    /// The port cannot be had.
    pub async fn control(self: &Arc<Self>, port: u16) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/", get(overview))
            .route("/people", get(everybody))
            .route("/{vendor}/records", get(records))
            .route("/{vendor}/calls", get(calls))
            .route("/{vendor}/fault", post(fault))
            .route("/{vendor}/limits", post(limits))
            .route("/{vendor}/revoke", post(revoke))
            .route("/{vendor}/travel", post(travel))
            .with_state(Arc::clone(self));
        tokio::spawn(async move {
            let _ends_with_the_process = axum::serve(listener, router).await;
        });
        Ok(address)
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.served.keys()).finish()
    }
}

type Shared = State<Arc<Sandbox>>;

async fn overview(State(sandbox): Shared) -> Json<Value> {
    let vendor = |(name, (_, served)): (&&str, &(Vendor, Served))| {
        let hits = served.world().hits();
        let refused = hits.iter().filter(|hit| hit.status == 429).count();
        json!({ "vendor": name, "url": served.url(), "calls": hits.len(), "refused": refused })
    };
    Json(json!({ "vendors": sandbox.served.iter().map(vendor).collect::<Vec<_>>(), "people": sandbox.people.len() }))
}

async fn everybody(State(sandbox): Shared) -> Json<Value> {
    let person = |p: &Person| json!({ "email": p.email, "phone": p.phone, "customer_id": p.customer_id, "first_name": p.first_name, "last_name": p.last_name });
    Json(sandbox.people.iter().map(person).collect())
}

fn unknown(sandbox: &Sandbox) -> Response {
    let known: Vec<&str> = sandbox.served.keys().copied().collect();
    (StatusCode::NOT_FOUND, Json(json!({ "error": "there is no such vendor here", "vendors": known }))).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    email: String,
}

async fn records(State(sandbox): Shared, Path(vendor): Path<String>, Query(whose): Query<Whose>) -> Response {
    if sandbox.world(&vendor).is_none() {
        return unknown(&sandbox);
    }
    Json(json!({ "vendor": vendor, "records": sandbox.left(&vendor, &whose.email) })).into_response()
}

async fn calls(State(sandbox): Shared, Path(vendor): Path<String>) -> Response {
    let Some(world) = sandbox.world(&vendor) else { return unknown(&sandbox) };
    let hit = |hit: &crate::Hit| json!({ "method": hit.method, "path": hit.path, "query": hit.query, "body": hit.body, "status": hit.status });
    Json(Value::Array(world.hits().iter().map(hit).collect())).into_response()
}

/// A fault that the next calls meet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    /// `status`, `html`, `truncated`, `slow`, `effect_then_500` or `endless`.
    kind: String,
    /// For `status`.
    #[serde(default)]
    status: Option<u16>,
    /// For `status`.
    #[serde(default)]
    body: String,
    /// For `status`.
    #[serde(default)]
    retry_after: Option<String>,
    /// For `slow`.
    #[serde(default)]
    seconds: f64,
    /// Only calls whose path holds this.
    #[serde(default)]
    at: Option<String>,
    /// How many calls; one if it is not said.
    #[serde(default)]
    times: Option<u16>,
}

async fn fault(State(sandbox): Shared, Path(vendor): Path<String>, Json(ordered): Json<Ordered>) -> Response {
    let Some(world) = sandbox.world(&vendor) else { return unknown(&sandbox) };
    let fault = match ordered.kind.as_str() {
        "status" => Fault::Status(ordered.status.unwrap_or(500), ordered.body, ordered.retry_after),
        "html" => Fault::Html,
        "truncated" => Fault::Truncated,
        "slow" => Fault::Slow(Duration::try_from_secs_f64(ordered.seconds.clamp(0.0, 3_600.0)).unwrap_or_default()),
        "effect_then_500" => Fault::EffectThen500,
        "endless" => Fault::Endless(1 << 34),
        _ => {
            let detail = "kind must be status, html, truncated, slow, effect_then_500 or endless";
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": detail }))).into_response();
        }
    };
    for _ in 0..ordered.times.unwrap_or(1) {
        world.fault(fault.clone(), ordered.at.as_deref());
    }
    StatusCode::NO_CONTENT.into_response()
}

/// What the vendor allows from now on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    /// Calls and seconds.
    #[serde(default)]
    windows: Vec<(usize, f64)>,
    #[serde(default)]
    concurrent: Option<usize>,
    #[serde(default)]
    budget: Option<u64>,
}

async fn limits(State(sandbox): Shared, Path(vendor): Path<String>, Json(allowed): Json<Allowed>) -> Response {
    let Some(world) = sandbox.world(&vendor) else { return unknown(&sandbox) };
    let window =
        |(calls, seconds): (usize, f64)| (calls, Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default());
    world.allow(Allowance {
        windows: allowed.windows.into_iter().map(window).collect(),
        concurrent: allowed.concurrent,
        budget: allowed.budget,
    });
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoked {
    revoked: bool,
}

async fn revoke(State(sandbox): Shared, Path(vendor): Path<String>, Json(body): Json<Revoked>) -> Response {
    let Some(world) = sandbox.world(&vendor) else { return unknown(&sandbox) };
    world.revoke(body.revoked);
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Travelled {
    seconds: u64,
}

async fn travel(State(sandbox): Shared, Path(vendor): Path<String>, Json(body): Json<Travelled>) -> Response {
    let Some(world) = sandbox.world(&vendor) else { return unknown(&sandbox) };
    world.travel(Duration::from_secs(body.seconds));
    StatusCode::NO_CONTENT.into_response()
}
