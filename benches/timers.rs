//! Fifty thousand requests become at risk within one second: how soon is the first one heard of outside, how soon all, and
//! what does it cost in memory? `cargo bench --bench timers [-- NUMBER]`; figures only, nothing is asserted.
//!
//! The service runs as always, on SQLite and, where a server is installed, on PostgreSQL; the webhook is a real one.

use anyhow::{Context as _, Result};
use axum::Json;
use axum::extract::State;
use axum::routing::post;
use redress::app::{App, Role};
use redress::config::{Config, Log, LogFormat};
use redress_domain::notice::{Channel, Delivery, NotifyRole};
use redress_domain::{ControllerId, DsrId, Personal};
use redress_store::{ControllerPolicy, NewController, NewRoute, RouteTarget};
use redress_testkit::{Postgres, which};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How long after its instant each notice was heard (ms).
type Heard = Arc<Mutex<Vec<i64>>>;

fn now_ms() -> i64 {
    use redress_domain::Clock as _;
    redress_domain::SystemClock.now_ms()
}

fn main() -> Result<()> {
    let timers = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(50_000);
    redress::telemetry::init(&Log { format: LogFormat::Text, filter: "warn".into() });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        run("SQLite", timers, None).await?;
        if which("postgres").is_some() {
            let postgres = Postgres::start().await;
            run("PostgreSQL", timers, Some(postgres.database("redress").await)).await?;
        }
        Ok(())
    })
}

async fn run(name: &str, timers: usize, url: Option<String>) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("redress-timers-{}-{}", std::process::id(), url.is_some()));
    let mut variables = vec![("REDRESS_DATA_DIR".to_owned(), folder.display().to_string())];
    variables.extend(url.clone().map(|url| ("REDRESS_DATABASE_URL".to_owned(), url)));
    let config = || Config::load(None, variables.clone().into_iter());
    redress::app::open_store(&config()?).await?.migrate().await?;
    let app = App::open(config()?).await?;
    let heard = Heard::default();
    let hook = receiver(heard.clone()).await?;
    let controller = prepared(&app, &hook).await?;

    // Long enough from now that all of them are there before the first one is due.
    let due = now_ms() + 3_000 + i64::try_from(timers)? / 8;
    insert(&folder, url.as_deref(), &controller, timers, due).await?;
    let before = resident();
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let watching = async {
        let mut most = before;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(resident());
            let count = heard.lock().expect("no holder panics").len();
            if count >= timers || now_ms() > due + 180_000 {
                stop.cancel();
                return most;
            }
        }
    };
    let (served, most) = tokio::join!(app.serve(Role::Worker, listener, stop.clone()), watching);
    served?;
    let mut late = heard.lock().expect("no holder panics").clone();
    late.sort_unstable();
    let at = |percent: usize| late.get((late.len() * percent / 100).min(late.len().saturating_sub(1))).copied();
    let seconds = |ms: Option<i64>| ms.map_or("-".to_owned(), |ms| format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10));
    println!("{name}: {} of {timers} notices were heard", late.len());
    println!(
        "  after their instant: first {}, half {}, 99 % {}, last {}",
        seconds(late.first().copied()),
        seconds(at(50)),
        seconds(at(99)),
        seconds(late.last().copied())
    );
    println!(
        "  memory of the process, with its receiver: {before} MiB before, {most} MiB at most, {} MiB after",
        resident()
    );
    std::fs::remove_dir_all(&folder).context("the folder of the benchmark")
}

/// A controller that nothing is done for, and a route to our own receiver.
async fn prepared(app: &App, hook: &str) -> Result<ControllerId> {
    let new = NewController {
        name: "acme".into(),
        country: Some("DE".into()),
        timezone: "Europe/Berlin".into(),
        region: None,
        contact: None,
        policy: ControllerPolicy::default(),
        terms: None,
        weight: 1,
    };
    let controller = app.store().create_controller(&new, "operator").await?.id;
    let route = NewRoute {
        name: "hook".into(),
        role: NotifyRole::PrivacyTeam,
        channel: Channel::Webhook,
        kinds: None,
        delivery: Delivery::Now,
        timezone: "Europe/Berlin".into(),
        controllers: None,
        target: RouteTarget { to: Vec::new(), url: Some(hook.into()), secret: Some(Personal::from(SECRET)) },
    };
    app.store().apply_routes(Some(&controller), &[route], false, "operator").await?;
    Ok(controller)
}

/// Open requests whose next instants lie within one second from `due` on.
async fn insert(folder: &Path, url: Option<&str>, controller: &ControllerId, timers: usize, due: i64) -> Result<()> {
    let instant = |ms: i64| jiff::Timestamp::from_millisecond(ms).map(|at| at.to_string());
    let mut statements = Vec::new();
    let mut rows = Vec::new();
    for n in 0..timers {
        let at_risk = due + (n % 1_000) as i64;
        let (critical, overdue) = (due + 2 * 86_400_000, due + 5 * 86_400_000);
        let deadlines = json!({
            "effective": { "due_on": "2030-01-02", "binding": "contract" },
            "milestones": { "at_risk_at": instant(at_risk)?, "critical_at": instant(critical)?, "overdue_at": instant(overdue)? },
            "trace": vec!["a sentence as long as those are that are really stored with the dates of a request"; 8],
        });
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&(n as u64).to_be_bytes());
        let id = DsrId::from_parts(now_ms() as u64, bytes);
        rows.push(format!("('{id}', '{controller}', 'deletion', 'EU-GDPR', 'cooling_off', 'cooling_off', {due}, '{deadlines}', {overdue}, '[false,0,false]', '[]', '[]', 0, {at_risk})"));
        if rows.len() == 500 || n + 1 == timers {
            statements.push(format!("INSERT INTO dsrs (id, controller_id, kind, regulation, stage, status, instruction_received_at, deadlines, due_before, policy, out_of_scope, identifier_types, has_callback, watch_at) VALUES {}", rows.join(", ")));
            rows.clear();
        }
    }
    if let Some(url) = url {
        let pool = sqlx::PgPool::connect(url).await?;
        for sql in statements {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await?;
        }
        sqlx::raw_sql("ANALYZE").execute(&pool).await?;
    } else {
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", folder.join("redress.db").display())).await?;
        for sql in statements {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await?;
        }
    }
    Ok(())
}

/// A webhook receiver; its address.
async fn receiver(heard: Heard) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let router = axum::Router::new().route("/hook", post(take)).with_state(heard);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn take(State(heard): State<Heard>, Json(body): Json<Value>) {
    let now = now_ms();
    let notices = body["data"]["notices"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lateness = notices.iter().filter_map(|notice| {
        let due: jiff::Timestamp = notice["due_at"].as_str()?.parse().ok()?;
        Some(now - due.as_millisecond())
    });
    heard.lock().expect("no holder panics").extend(lateness);
}

/// Resident memory of this process in MiB, where the system tells it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}
