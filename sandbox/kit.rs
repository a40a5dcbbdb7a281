//! What every simulator is made of: records by collection, faults on demand, limits that are enforced, and a journal of calls.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Records of one collection by key, in the order of their keys.
pub type Records = BTreeMap<String, Map<String, Value>>;

/// A fault that the next calls meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This status with this body, and `Retry-After` if it is given (as text, to be as wrong as vendors are).
    Status(u16, String, Option<String>),
    /// A sign-in page with 200.
    Html,
    /// The true answer, cut in the middle.
    Truncated,
    /// The true answer after this long (the effect happens at once).
    Slow(Duration),
    /// The effect happens, the answer is lost.
    EffectThen500,
    /// A body of so many bytes.
    Endless(usize),
}

/// One call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query as it was sent.
    pub query: String,
    /// Headers by lower-case name; `authorization` and what else holds credentials is known by name only.
    pub headers: Vec<(String, String)>,
    /// Body as it was sent (up to 64 KiB).
    pub body: String,
    /// Status that was answered.
    pub status: u16,
}

/// What a vendor allows: so many calls in each window, and at the same time. Enforced as vendors do: by refusing.
#[derive(Debug, Clone, Default)]
pub struct Allowance {
    /// Calls in any stretch of this length.
    pub windows: Vec<(usize, Duration)>,
    /// Calls at the same time.
    pub concurrent: Option<usize>,
    /// Calls in all (a day's budget).
    pub budget: Option<u64>,
}

/// Why a call is over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Too many in a window; there is room again after so long.
    Window(Duration),
    /// Too many at the same time.
    Concurrent,
    /// The budget is spent.
    Budget,
}

/// What a simulator holds, and what was done to it.
pub struct World {
    tables: Mutex<BTreeMap<String, Records>>,
    faults: Mutex<VecDeque<(Fault, Option<String>)>>,
    hits: Mutex<Vec<Hit>>,
    allowance: Mutex<Allowance>,
    recent: Mutex<VecDeque<Instant>>,
    under_way: AtomicUsize,
    spent: AtomicU64,
    refused: AtomicU64,
    next: AtomicU64,
    travelled_ms: AtomicI64,
    revoked: Mutex<bool>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            tables: Mutex::default(),
            faults: Mutex::default(),
            hits: Mutex::default(),
            allowance: Mutex::default(),
            recent: Mutex::default(),
            under_way: AtomicUsize::new(0),
            spent: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            next: AtomicU64::new(1_000),
            travelled_ms: AtomicI64::new(0),
            revoked: Mutex::new(false),
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl World {
    /// All collections, for a look or a change that must be whole.
    pub fn tables(&self) -> MutexGuard<'_, BTreeMap<String, Records>> {
        held(&self.tables)
    }

    /// Puts a record (an object) under a key.
    ///
    /// # Panics
    /// If the value is no object.
    pub fn put(&self, collection: &str, key: &str, record: Value) {
        let Value::Object(record) = record else { panic!("a record is an object") };
        self.tables().entry(collection.to_owned()).or_default().insert(key.to_owned(), record);
    }

    /// A record.
    pub fn get(&self, collection: &str, key: &str) -> Option<Map<String, Value>> {
        self.tables().get(collection)?.get(key).cloned()
    }

    /// Takes a record away.
    pub fn take(&self, collection: &str, key: &str) -> Option<Map<String, Value>> {
        self.tables().get_mut(collection)?.remove(key)
    }

    /// Every record of a collection, by key.
    pub fn all(&self, collection: &str) -> Vec<(String, Map<String, Value>)> {
        let tables = self.tables();
        tables.get(collection).into_iter().flatten().map(|(key, record)| (key.clone(), record.clone())).collect()
    }

    /// Takes everything away, faults and journal too; limits stay.
    pub fn clear(&self) {
        self.tables().clear();
        held(&self.faults).clear();
        held(&self.hits).clear();
    }

    /// A number that was not used before.
    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The simulator's clock (Unix ms): the machine's and what was travelled.
    #[expect(clippy::disallowed_methods, reason = "this is a clock: it travels by `travel`")]
    pub fn now_ms(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_millis()).unwrap_or(i64::MAX) + self.travelled_ms.load(Ordering::Relaxed)
    }

    /// Lets time pass in the simulator.
    pub fn travel(&self, by: Duration) {
        self.travelled_ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The next call (whose path contains `at`, if it is given) meets this fault.
    pub fn fault(&self, fault: Fault, at: Option<&str>) {
        held(&self.faults).push_back((fault, at.map(Into::into)));
    }

    /// Credentials are refused from now on, or no more. Each simulator asks [`World::is_revoked`] where it checks them.
    pub fn revoke(&self, revoked: bool) {
        *held(&self.revoked) = revoked;
    }

    /// Whether credentials are refused.
    pub fn is_revoked(&self) -> bool {
        *held(&self.revoked)
    }

    /// What is allowed from now on.
    pub fn allow(&self, allowance: Allowance) {
        *held(&self.allowance) = allowance;
        held(&self.recent).clear();
        self.spent.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Calls that were refused because they were over a limit.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The calls that are allowed in all, if they are counted.
    pub fn budget(&self) -> Option<u64> {
        held(&self.allowance).budget
    }

    /// Calls that counted against the budget.
    pub fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// The calls so far, in order.
    pub fn hits(&self) -> Vec<Hit> {
        held(&self.hits).clone()
    }

    fn over(&self) -> Option<Over> {
        let allowance = held(&self.allowance).clone();
        if allowance.concurrent.is_some_and(|most| self.under_way.load(Ordering::SeqCst) > most) {
            return Some(Over::Concurrent);
        }
        if allowance.budget.is_some_and(|budget| self.spent.load(Ordering::Relaxed) >= budget) {
            return Some(Over::Budget);
        }
        let longest = allowance.windows.iter().map(|(_, span)| *span).max();
        let mut recent = held(&self.recent);
        let now = Instant::now();
        while let (Some(first), Some(longest)) = (recent.front(), longest)
            && now.duration_since(*first) > longest
        {
            recent.pop_front();
        }
        for (calls, span) in &allowance.windows {
            let within: Vec<&Instant> = recent.iter().filter(|at| now.duration_since(**at) <= *span).collect();
            if within.len() >= *calls {
                let until =
                    within.first().map_or(*span, |first| (*span).checked_sub(now.duration_since(**first)).unwrap());
                return Some(Over::Window(until));
            }
        }
        if longest.is_some() {
            recent.push_back(now);
        }
        self.spent.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// How a vendor refuses what is over a limit; it differs from vendor to vendor (Marketo: 200 with a code).
pub type Refusal = fn(Over) -> Response;

/// A refusal with 429 and `Retry-After` in whole seconds.
pub fn too_many(over: Over) -> Response {
    let wait = match over {
        Over::Window(wait) => wait.as_secs() + 1,
        Over::Concurrent => 1,
        Over::Budget => 3_600,
    };
    let mut response = (StatusCode::TOO_MANY_REQUESTS, "{\"error\":\"too many requests\"}").into_response();
    response.headers_mut().insert("retry-after", HeaderValue::from(wait));
    response
}

struct Layer {
    world: Arc<World>,
    refusal: Refusal,
    /// Paths that do not count (a token).
    free: &'static [&'static str],
}

/// A router with the simulator's limits, faults and journal around it. Paths that begin with one of `free` count against no limit.
pub fn wrap(router: Router, world: &Arc<World>, refusal: Refusal, free: &'static [&'static str]) -> Router {
    let layer = Arc::new(Layer { world: Arc::clone(world), refusal, free });
    router.layer(from_fn_with_state(layer, around))
}

fn headers(all: &HeaderMap) -> Vec<(String, String)> {
    let told = |name: &str, value: &HeaderValue| {
        let secret = ["auth", "key", "token", "secret"].iter().any(|word| name.contains(word));
        if secret { String::new() } else { value.to_str().unwrap_or_default().to_owned() }
    };
    all.iter().map(|(name, value)| (name.as_str().to_owned(), told(name.as_str(), value))).collect()
}

async fn around(State(layer): State<Arc<Layer>>, request: Request, next: Next) -> Response {
    let world = &layer.world;
    world.under_way.fetch_add(1, Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
    let hit = Hit {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers(&parts.headers),
        body: String::from_utf8_lossy(&bytes[..bytes.len().min(65_536)]).into_owned(),
        status: 0,
    };
    let path = hit.path.clone();
    let counted = !layer.free.iter().any(|free| path.starts_with(free));
    let fault = {
        let mut faults = held(&world.faults);
        let at = faults.iter().position(|(_, at)| at.as_ref().is_none_or(|at| path.contains(at.as_str())));
        at.and_then(|at| faults.remove(at)).map(|(fault, _)| fault)
    };
    let over = if counted { world.over() } else { None };
    let answer = async {
        if let Some(over) = over {
            world.refused.fetch_add(1, Ordering::Relaxed);
            return (layer.refusal)(over);
        }
        next.run(Request::from_parts(parts, Body::from(bytes))).await
    };
    let response = match fault {
        None => answer.await,
        Some(Fault::Status(status, body, wait)) => {
            let mut response = (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), body).into_response();
            if let Some(wait) = wait.and_then(|wait| HeaderValue::from_str(&wait).ok()) {
                response.headers_mut().insert("retry-after", wait);
            }
            response
        }
        Some(Fault::Html) => {
            ([("content-type", "text/html")], "<!doctype html><title>Sign in</title><p>Sign in").into_response()
        }
        Some(Fault::Truncated) => {
            let (parts, body) = answer.await.into_parts();
            let whole = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
            let half: Bytes = whole.slice(..whole.len() / 2);
            let mut headers = HeaderMap::new();
            if let Some(kind) = parts.headers.get("content-type") {
                headers.insert("content-type", kind.clone());
            }
            (parts.status, headers, half).into_response()
        }
        Some(Fault::Slow(wait)) => {
            let response = answer.await;
            tokio::time::sleep(wait).await;
            response
        }
        Some(Fault::EffectThen500) => {
            let _effect = answer.await;
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Some(Fault::Endless(bytes)) => {
            let piece = Bytes::from(vec![b' '; 65_536]);
            let pieces = (0..bytes.div_ceil(65_536)).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
            let stream = futures::stream::iter(pieces);
            Body::from_stream(stream).into_response()
        }
    };
    world.under_way.fetch_sub(1, Ordering::SeqCst);
    held(&world.hits).push(Hit { status: response.status().as_u16(), ..hit });
    response
}

/// A simulator that is being served; it ends when this is dropped.
pub struct Served {
    address: SocketAddr,
    world: Arc<World>,
    task: JoinHandle<()>,
}

impl Served {
    /// Serves a router on this port of the loopback address (0: a free one).
    ///
    /// # Errors
    /// The port cannot be had.
    pub async fn start(router: Router, world: Arc<World>, port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let _ends_with_the_process = axum::serve(listener, router).await;
        });
        Ok(Self { address, world, task })
    }

    /// The base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}
