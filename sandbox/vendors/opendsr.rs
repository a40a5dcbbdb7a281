//! A processor that takes OpenDSR requests, in four dialects by path: `/v2` (OpenDSR 2.0), `/v1` (OpenGDPR 1.0), `/v3` (as
//! mParticle), `/api/gdpr/v1` (as AppsFlyer).
//!
//! Habits: answers are signed (RSA PKCS #1, SHA-256) for `opendsr.sandbox.example`; a request is `pending` for a minute and
//! done after two; a second request for the same id is refused; errors are wrapped by the specification, bare at mParticle,
//! always 400 at AppsFlyer; results are behind a URL that ends after seven days with 410. Unknown keys are refused.

use super::{Person, Vendor};
use crate::World;
use crate::kit::{too_many, wrap};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

/// The simulator.
pub const VENDOR: Vendor = Vendor { name: "opendsr", router, seed, count };

/// The domain for which it signs.
pub const DOMAIN: &str = "opendsr.sandbox.example";
/// Its certificate, in PEM.
pub const CERTIFICATE: &str = include_str!("opendsr_files/certificate.pem");
const KEY: &str = include_str!("opendsr_files/key.pem");

const MINUTE: i64 = 60_000;
const WEEK: i64 = 7 * 24 * 60 * MINUTE;

fn seed(world: &World, person: &Person) {
    let record = json!({"email": person.email, "controller_customer_id": person.customer_id, "name": format!("{} {}", person.first_name, person.last_name)});
    world.put("people", &person.customer_id, record);
}

fn count(world: &World, email: &str) -> u64 {
    world.all("people").iter().filter(|(_, person)| person["email"] == email).count() as u64
}

#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Spec,
    Old,
    MParticle,
    AppsFlyer,
}

type Sim = (Arc<World>, Dialect);

fn router(world: &Arc<World>) -> Router {
    let dialect = |dialect, requests: &str| {
        Router::new()
            .route(&format!("/{requests}"), post(create))
            .route(&format!("/{requests}/{{id}}"), get(status).delete(cancel))
            .route("/discovery", get(discovery))
            .route("/certificate.pem", get(async || ([("content-type", "application/x-pem-file")], CERTIFICATE)))
            .route("/download/{id}", get(results))
            .with_state::<()>((Arc::clone(world), dialect))
    };
    // Where it is served without a path it speaks OpenDSR 2.0, too.
    let router = dialect(Dialect::Spec, "requests")
        .nest("/v2", dialect(Dialect::Spec, "requests"))
        .nest("/v1", dialect(Dialect::Old, "opengdpr_requests"))
        .nest("/v3", dialect(Dialect::MParticle, "requests"))
        .nest("/api/gdpr/v1", dialect(Dialect::AppsFlyer, "opendsr_requests"));
    wrap(router, world, too_many, &[])
}

fn refuse((_, dialect): &Sim, status: u16, message: &str, code: &str) -> Response {
    let status = if *dialect == Dialect::AppsFlyer { 400 } else { status };
    let mut error = json!({"code": status, "message": message});
    match dialect {
        Dialect::AppsFlyer => error["af_gdpr_code"] = json!(code),
        _ => {
            error["errors"] =
                json!([{"domain": "Validation", "reason": "IllegalArgumentException", "message": message}]);
        }
    }
    let body = if *dialect == Dialect::MParticle { error } else { json!({"error": error}) };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, [("content-type", "application/json"), ("cache-control", "no-store")], body.to_string()).into_response()
}

fn signed((_, dialect): &Sim, status: u16, body: &Value) -> Response {
    let bytes = body.to_string().into_bytes();
    let der: String = KEY.lines().skip_while(|l| !l.starts_with("-----")).filter(|l| !l.starts_with('-')).collect();
    let key = STANDARD.decode(der).ok().and_then(|der| RsaKeyPair::from_pkcs8(&der).ok()).expect("the sandbox's key");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &bytes, &mut signature).expect("as long as the modulus");
    let (domain, name) = match dialect {
        Dialect::Old => ("x-opengdpr-processor-domain", "x-opengdpr-signature"),
        _ => ("x-opendsr-processor-domain", "x-opendsr-signature"),
    };
    let signature = HeaderValue::from_str(&STANDARD.encode(signature)).expect("base64");
    let mut response = (StatusCode::from_u16(status).unwrap_or_default(), bytes).into_response();
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert(domain, HeaderValue::from_static(DOMAIN));
    headers.insert(name, signature);
    response
}

/// Basic `sandbox-key:sandbox-secret`, or at AppsFlyer the bearer token `sandbox-token`.
#[expect(clippy::result_large_err, reason = "a refusal is an answer")]
fn let_in(sim: &Sim, headers: &HeaderMap) -> Result<(), Response> {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = match sim.1 {
        Dialect::AppsFlyer => "Bearer sandbox-token".to_owned(),
        _ => format!("Basic {}", STANDARD.encode("sandbox-key:sandbox-secret")),
    };
    if given == wanted && !sim.0.is_revoked() {
        return Ok(());
    }
    Err((StatusCode::UNAUTHORIZED, "{\"error\":{\"code\":401,\"message\":\"unauthorized\"}}").into_response())
}

fn keys_are(map: &Map<String, Value>, known: &[&str]) -> bool {
    map.keys().all(|key| known.contains(&key.as_str()))
}

/// The identities as (type, value, format), if they are in the dialect's shape.
fn identities(dialect: Dialect, told: &Value) -> Option<Vec<(String, String, String)>> {
    let texts = |map: &Map<String, Value>, keys: &[&str]| {
        keys_are(map, keys).then_some(())?;
        keys.iter().map(|key| map.get(*key)?.as_str().map(ToOwned::to_owned)).collect::<Option<Vec<_>>>()
    };
    if dialect == Dialect::MParticle {
        return told
            .as_object()?
            .iter()
            .map(|(kind, identity)| {
                let values = texts(identity.as_object()?, &["value", "encoding"])?;
                Some((kind.clone(), values[0].clone(), values[1].clone()))
            })
            .collect();
    }
    told.as_array()?
        .iter()
        .map(|identity| {
            let mut values =
                texts(identity.as_object()?, &["identity_type", "identity_value", "identity_format"])?.into_iter();
            Some((values.next()?, values.next()?, values.next()?))
        })
        .collect()
}

async fn create(State(sim): State<Sim>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(refused) = let_in(&sim, &headers) {
        return refused;
    }
    let (world, dialect) = &sim;
    let Ok(Value::Object(request)) = serde_json::from_slice(&body) else {
        return refuse(&sim, 400, "the request is no JSON object", "e326");
    };
    let mut known = vec![
        "subject_request_id",
        "subject_request_type",
        "submitted_time",
        "subject_identities",
        "status_callback_urls",
    ];
    known.extend(match dialect {
        Dialect::Old => &["api_version", "extensions"][..],
        Dialect::AppsFlyer => &["api_version", "property_id", "platform", "requester"],
        _ => &["api_version", "extensions", "regulation", "group_id"],
    });
    if !keys_are(&request, &known) {
        return refuse(&sim, 400, "a field is not known", "e326");
    }
    let text = |key: &str| request.get(key).and_then(Value::as_str).unwrap_or_default();
    let id = text("subject_request_id");
    let is_uuid = id.len() == 36 && id.as_bytes()[14] == b'4' && id.to_lowercase() == id;
    if !is_uuid {
        return refuse(&sim, 400, "subject_request_id field is required", "e313");
    }
    if !["access", "portability", "erasure"].contains(&text("subject_request_type")) {
        return refuse(&sim, 400, "subject_request_type is not supported", "e322");
    }
    if text("submitted_time").len() < 10 {
        return refuse(&sim, 400, "submitted_time field is required", "e314");
    }
    if matches!(dialect, Dialect::Spec | Dialect::MParticle) && !["gdpr", "ccpa"].contains(&text("regulation")) {
        return refuse(&sim, 400, "regulation field is required", "");
    }
    if *dialect == Dialect::AppsFlyer && text("property_id").is_empty() {
        return refuse(&sim, 400, "AppID is incorrect", "e411");
    }
    let Some(identities) = identities(*dialect, &request["subject_identities"]).filter(|all| !all.is_empty()) else {
        return refuse(&sim, 400, "subject_identities field is required", "e323");
    };
    let hashes = *dialect == Dialect::Spec || *dialect == Dialect::Old;
    for (kind, _, format) in &identities {
        if !["email", "controller_customer_id"].contains(&kind.as_str()) {
            return refuse(&sim, 400, "identity_type is not supported", "e318");
        }
        if format != "raw" && !(hashes && format == "sha256") {
            return refuse(&sim, 400, "identity_format is not supported", "e323");
        }
    }
    if world.get("requests", id).is_some() {
        return refuse(&sim, 400, "Subject request already exists.", "e213");
    }
    let now = world.now_ms();
    let busy = world.all("requests").into_iter().any(|(_, other)| {
        other["identities"] == json!(identities)
            && other["cancelled"] != true
            && now - other["at"].as_i64().unwrap_or(0) < 2 * MINUTE
    });
    if busy {
        return refuse(&sim, 409, "a request for these identities is in progress", "e215");
    }
    let kind = text("subject_request_type");
    world.put("requests", id, json!({"at": now, "type": kind, "identities": identities, "cancelled": false}));
    let answer = json!({
        "controller_id": "sandbox", "expected_completion_time": "2126-01-01T00:00:00Z", "received_time": "2026-11-22T00:00:00Z",
        "encoded_request": STANDARD.encode(&body), "subject_request_id": id,
    });
    signed(&sim, 201, &answer)
}

fn sha256_hex(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _never_fails = write!(text, "{byte:02x}");
        text
    })
}

/// The keys of the people that all of the identities name, compared without case for addresses.
fn named(world: &World, identities: &Value) -> Vec<String> {
    let is = |person: &Map<String, Value>, identity: &Value| {
        let kind = identity[0].as_str().unwrap_or_default();
        let held = person.get(kind).and_then(Value::as_str).unwrap_or_default();
        let held = if kind == "email" { held.to_lowercase() } else { held.to_owned() };
        let held = if identity[2] == "sha256" { sha256_hex(&held) } else { held };
        identity[1]
            .as_str()
            .is_some_and(|given| if kind == "email" { given.to_lowercase() == held } else { given == held })
    };
    let all = identities.as_array().cloned().unwrap_or_default();
    world
        .all("people")
        .into_iter()
        .filter(|(_, person)| all.iter().any(|identity| is(person, identity)))
        .map(|(key, _)| key)
        .collect()
}

/// What became of a request by now; a deletion happens when it is first looked at after its time.
fn settle(sim: &Sim, id: &str) -> Option<(Map<String, Value>, &'static str)> {
    let (world, dialect) = sim;
    let mut request = world.get("requests", id)?;
    let age = world.now_ms() - request["at"].as_i64()?;
    if request["cancelled"] == true {
        return Some((request, if *dialect == Dialect::AppsFlyer { "canceled" } else { "cancelled" }));
    }
    if age < MINUTE {
        return Some((request, "pending"));
    }
    if age < 2 * MINUTE {
        return Some((request, if *dialect == Dialect::AppsFlyer { "in-progress" } else { "in_progress" }));
    }
    if request.get("done").is_none() {
        let people = named(world, &request["identities"]);
        request.insert("done".into(), json!(people.len()));
        let held: Vec<_> = people.iter().filter_map(|key| world.get("people", key)).collect();
        request.insert("held".into(), json!(held));
        if request["type"] == "erasure" {
            for key in &people {
                world.take("people", key);
            }
            request.insert("held".into(), Value::Null);
        }
        world.put("requests", id, Value::Object(request.clone()));
    }
    Some((request, "completed"))
}

async fn status(State(sim): State<Sim>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = let_in(&sim, &headers) {
        return refused;
    }
    let Some((request, word)) = settle(&sim, &id) else { return refuse(&sim, 404, "Request not found", "e214") };
    let mut answer = json!({
        "controller_id": "sandbox", "expected_completion_time": "2126-01-01T00:00:00Z", "subject_request_id": id, "request_status": word,
    });
    if word == "completed" && matches!(sim.1, Dialect::Spec | Dialect::Old) {
        answer["results_count"] = request["done"].clone();
    }
    if word == "completed" && request["type"] == "access" && sim.1 != Dialect::AppsFlyer {
        let base = if sim.1 == Dialect::Spec {
            "/v2"
        } else if sim.1 == Dialect::Old {
            "/v1"
        } else {
            "/v3"
        };
        answer["results_url"] = json!(format!("{base}/download/{id}"));
    }
    signed(&sim, 200, &answer)
}

async fn results(State(sim): State<Sim>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = let_in(&sim, &headers) {
        return refused;
    }
    match settle(&sim, &id) {
        Some((request, "completed")) if request["type"] == "access" => {
            if sim.0.now_ms() - request["at"].as_i64().unwrap_or(0) > WEEK {
                return refuse(&sim, 410, "the results are gone", "e214");
            }
            if request["done"] == 0 {
                return refuse(&sim, 404, "nobody matched", "e214");
            }
            ([("content-type", "application/json")], request["held"].to_string()).into_response()
        }
        _ => refuse(&sim, 404, "Request not found", "e214"),
    }
}

async fn cancel(State(sim): State<Sim>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = let_in(&sim, &headers) {
        return refused;
    }
    match settle(&sim, &id) {
        Some((mut request, "pending")) => {
            request.insert("cancelled".into(), json!(true));
            sim.0.put("requests", &id, Value::Object(request));
            signed(
                &sim,
                202,
                &json!({"controller_id": "sandbox", "subject_request_id": id, "received_time": "2026-11-22T00:00:00Z"}),
            )
        }
        Some(_) => refuse(&sim, 400, "the request cannot be cancelled any more", "e211"),
        None => refuse(&sim, 404, "Request not found", "e214"),
    }
}

async fn discovery(State(sim): State<Sim>, headers: HeaderMap) -> Response {
    if let Err(refused) = let_in(&sim, &headers) {
        return refused;
    }
    let (base, types) = match sim.1 {
        Dialect::Spec => ("/v2", json!(["access", "portability", "erasure"])),
        Dialect::Old => ("/v1", json!(["access", "portability", "erasure"])),
        Dialect::MParticle => ("/v3", json!(["access", "portability", "erasure"])),
        Dialect::AppsFlyer => ("/api/gdpr/v1", json!("access, portability, rectification, erasure")),
    };
    let raw = |kind| json!({"identity_type": kind, "identity_format": "raw"});
    let answer = json!({
        "api_version": "2.0", "supported_subject_request_types": types,
        "supported_identities": [raw("email"), raw("controller_customer_id")],
        "processor_certificate": format!("{base}/certificate.pem"),
    });
    axum::Json(answer).into_response()
}
