//! The application wires everything together: configuration, store, workers, HTTP. The only place that builds anything.

use crate::config::Config;
use crate::http::{self, Api, People};
use crate::rules::RulesInUse;
use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use redress_connectors::manifest::Own;
use redress_domain::{Clock, SystemClock};
use redress_jobs::certificate::Signer;
use redress_jobs::limits::Limiter;
use redress_jobs::message::{self, Mailer, Messenger};
use redress_jobs::notify;
use redress_jobs::outbound::{self, OutboundPolicy};
use redress_jobs::reach::{OutOfReach, Reach};
use redress_jobs::watch::Watch;
use redress_jobs::watchdog::{self, Patience, Pulse};
use redress_jobs::{Engine, WorkerOptions, Workers};
use redress_store::{Dialect, Options, Store, SystemRow, Wake};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Without a sign of life from its claimer for this long, a worker is not ready.
const STALE: Duration = Duration::from_secs(30);
/// Everybody who looks at Today in this time shares what was read for the first of them.
const TODAY_SHARED_FOR: Duration = Duration::from_secs(2);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Answers callers and does the work.
    All,
    /// Answers callers.
    Api,
    /// Does the work; answers only for health and metrics.
    Worker,
}

/// The application, with its store open.
pub struct App {
    config: Config,
    store: Store,
    rules: RulesInUse,
    engine: Arc<Engine>,
    people: People,
}

impl App {
    /// Opens the store. The embedded database is brought up to date; a fleet's has to be (`redress migrate`).
    ///
    /// # Errors
    /// The master key, the database or the rules cannot be used.
    pub async fn open(config: Config) -> Result<Self> {
        let store = open_store(&config).await?;
        if store.dialect() == Dialect::Sqlite {
            store.migrate().await.context("the embedded database could not be brought up to date")?;
        } else {
            store.check_schema().await?;
        }
        Self::with_store(config, store).await
    }

    async fn with_store(config: Config, store: Store) -> Result<Self> {
        let rules = RulesInUse::load(&config)?;
        rules.keep_table(&store).await.context("the table of regulations")?;
        let policy = OutboundPolicy::parse(&config.outbound.allow).context("outbound.allow")?;
        let days = u64::from(config.requests.package_expires_days);
        let mailer = config.smtp.settings().map(|smtp| Mailer::new(&smtp)).transpose().context("smtp")?;
        let apart = Duration::from_secs(config.watch.apart_seconds);
        let limiter = Limiter::new(store.clone(), config.redis.url.as_ref().map(|url| url.expose().as_str()))?;
        let engine = Arc::new(Engine {
            messenger: Messenger::new(mailer, config.public_url()).context("the client for notices")?,
            watch: Watch::new(rules.rules.clone(), config.watch.digest_hour, apart),
            signer: Signer::from_seed(&store.signing_seed().await.context("the signing key")?),
            http: outbound::client(policy).context("the client for webhooks")?,
            reach: Reach::new(limiter.clone()),
            limiter,
            package_expires: Duration::from_secs(days * 86_400),
            call_limit: Duration::from_secs(config.worker.call_limit_seconds),
            version: env!("CARGO_PKG_VERSION"),
            store: store.clone(),
        });
        let people = People::new(&config).context("oidc")?;
        Ok(Self { config, store, rules, engine, people })
    }

    /// Every row.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The rules that new requests are computed by.
    pub const fn rules(&self) -> &RulesInUse {
        &self.rules
    }

    /// The settings of this process.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Whether this is one machine, as it is without any setting: whoever starts it is its administrator.
    pub fn is_of_one_machine(&self) -> bool {
        let config = &self.config;
        self.store.dialect() == Dialect::Sqlite
            && config.http.listen.ip().is_loopback()
            && config.is_plain_and_local()
            && config.oidc.issuer.is_none()
    }

    /// The key that signs, as it is published.
    pub fn signing_key(&self) -> Value {
        let key = self.engine.signer.public_key();
        json!({ "algorithm": "Ed25519", "key_id": key.key_id(), "public_key": key.to_base64() })
    }

    /// Signs in to a system and compares what is declared with what is there; the outcome is kept with the system.
    ///
    /// # Errors
    /// Code and sentence of what is wrong.
    pub async fn check_system(engine: &Engine, system: &SystemRow) -> Result<Value, (String, String)> {
        let away = |error: &dyn std::fmt::Display| ("store_unavailable".to_owned(), error.to_string());
        // A person asks, once in a while: the fleet's limits, of which another process knows nothing at first, are not asked.
        let outcome = match Reach::default().system(&engine.store, system, engine.http.policy()).await {
            Ok(reached) => {
                let limits = reached.credential.as_ref().map(|credential| format!("limits: {}", credential.limits));
                let checked = reached.connector.check().await.map_err(|p| (p.code.to_owned(), p.detail));
                checked.map(|mut report| {
                    report.ok.extend(limits);
                    report
                })
            }
            Err(OutOfReach::Store(error)) => return Err(away(&error)),
            Err(error) => Err((error.code().to_owned(), error.to_string())),
        };
        let problem = outcome.as_ref().err().map(|(code, detail)| (code.as_str(), detail.as_str()));
        engine.store.record_check(system, problem).await.map_err(|error| away(&error))?;
        outcome.map(|report| json!(report))
    }

    /// What jobs are given.
    pub const fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The whole service without its workers, for whoever asks it in this process. `today_shared_for`: see [`Api::today_shared_for`].
    pub(crate) fn router(&self, today_shared_for: Duration) -> axum::Router {
        http::router(Api { today_shared_for, ..self.api(None, CancellationToken::new()) })
    }

    fn api(&self, workers: Option<&Workers>, stop: CancellationToken) -> Api {
        let policy = self.engine.http.policy().clone();
        let for_hosts = policy.clone();
        let engine = self.engine.clone();
        let signs = workers.map(|workers| (workers.progress(), workers.pulse()));
        let store = self.store.clone();
        Api {
            store: self.store.clone(),
            rules: self.rules.clone(),
            check_callback: Arc::new(move |url| policy.check_url(url).map(drop).map_err(|fault| fault.to_string())),
            check_host: Arc::new(move |host, port| for_hosts.check_host(host, port).map_err(|fault| fault.to_string())),
            check_system: Arc::new(move |system| {
                let engine = engine.clone();
                async move { Self::check_system(&engine, &system).await }.boxed()
            }),
            test_route: {
                let engine = self.engine.clone();
                Arc::new(move |route| {
                    let engine = engine.clone();
                    async move { message::test(&engine, &route).await.map_err(|fault| fault.to_string()) }.boxed()
                })
            },
            test_webhook: {
                let engine = self.engine.clone();
                Arc::new(move |controller, webhook, actor| {
                    let engine = engine.clone();
                    async move {
                        let tested = notify::test(&engine, &controller, &webhook, &actor).await;
                        tested.map_err(|fault| fault.to_string())
                    }
                    .boxed()
                })
            },
            processor: self.config.processor.clone(),
            signing_key: self.signing_key(),
            batch: self.config.worker.batch,
            body_limit: self.config.http.body_limit_bytes,
            request_timeout: Duration::from_secs(self.config.http.request_timeout_seconds),
            board_open: self.config.http.listen.ip().is_loopback(),
            today_shared_for: TODAY_SHARED_FOR,
            people: self.people.clone(),
            ready: Arc::new(move || {
                let Some((progress, pulse)) = &signs else { return Vec::new() };
                let mut reasons = pulse.reasons();
                let silent = store.now_ms() - progress.load(Ordering::Relaxed);
                if silent > STALE.as_millis() as i64 {
                    reasons.push(format!("the claimer has not reached the database for {} s", silent / 1_000));
                }
                reasons
            }),
            stop,
        }
    }

    fn worker_options(&self) -> Result<WorkerOptions> {
        let worker = &self.config.worker;
        let random = redress_store::random::<6>()?;
        Ok(WorkerOptions {
            // Unique for each start: a reborn name must not renew its former self's leases.
            owner: format!("{}-{}", std::process::id(), STANDARD.encode(random)),
            concurrency: worker.concurrency,
            lane_concurrency: (worker.concurrency / 2).max(1),
            batch: worker.batch,
            poll: Duration::from_millis(worker.poll_interval_ms),
            lease: Duration::from_secs(worker.lease_seconds),
            renew: Duration::from_secs(worker.renew_seconds),
            sweep: Duration::from_secs(worker.sweep_interval_seconds),
            forecast: Duration::from_secs(worker.forecast_interval_seconds),
            grace: Duration::from_secs(worker.shutdown_grace_seconds),
        })
    }

    /// Serves until `stop`: first no new work and no new callers, what runs may end, then what is left is handed back.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn serve(&self, role: Role, listener: TcpListener, stop: CancellationToken) -> Result<()> {
        let options = self.worker_options()?;
        let grace = options.grace;
        let patience = Patience {
            silence: Duration::from_secs(self.config.worker.watchdog_seconds),
            poll: options.poll,
            renew: options.renew,
        };
        let workers = (role != Role::Api).then(|| Workers::start(self.engine.clone(), options));
        // The watch is over when this is, however it ends.
        let _watched = workers.as_ref().map(|workers| {
            watchdog::watch(workers.pulse(), patience, give_up);
            Watched(workers.pulse())
        });
        let api = self.api(workers.as_ref(), stop.clone());
        let router = if role == Role::Worker { http::health_router(api) } else { http::router(api) };
        // Both at once: a caller who is slow to end must not let new work begin, nor use up the grace of what runs.
        let working = async {
            stop.cancelled().await;
            if let Some(workers) = workers {
                workers.shut_down(grace).await;
            }
        };
        tokio::join!(crate::server::serve(listener, router, stop.clone(), grace), working);
        self.store.close().await;
        Ok(())
    }
}

/// Ends the watch over a process's workers.
struct Watched(Arc<Pulse>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.ending();
    }
}

/// Ends a process that does not work, for its supervisor to start it again.
fn give_up(reasons: &[String]) {
    let reasons = reasons.join("; ");
    tracing::error!(%reasons, "this process does not work and a restart may mend it: it ends ({reasons})");
    std::process::exit(EXIT_STUCK);
}

/// The exit code of a process that was stuck.
const EXIT_STUCK: i32 = 70;

/// Makes the operator's own manifests known to the process.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn know_manifests(config: &Config) -> Result<()> {
    let Some(folder) = &config.connectors.manifests else { return Ok(()) };
    let own = Own::read(folder).map_err(|faults| {
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow!("connectors.manifests: {} (`redress connector lint FILE` shows one at a time)", told.join("; "))
    })?;
    tracing::info!(manifests = own.names().join(", "), "the operator's own manifests are in use");
    own.install();
    Ok(())
}

/// Opens the store without looking at its schema.
///
/// # Errors
/// The master key or the database cannot be used.
pub async fn open_store(config: &Config) -> Result<Store> {
    know_manifests(config)?;
    private_folder(&config.data_dir).with_context(|| format!("data_dir {}", config.data_dir.display()))?;
    let made_here = config.keys.master_key_file.is_none();
    let master_key = master_key(&config.master_key_file(), made_here)?;
    let wake = match &config.redis.url {
        None => Wake::local(),
        Some(url) => Wake::redis(url.expose())?,
    };
    let options = Options {
        url: config.database_url().expose().clone(),
        max_connections: config.database.max_connections,
        connect_timeout: Duration::from_secs(config.database.connect_timeout_seconds),
        master_key,
        keep_closed: Duration::from_secs(u64::from(config.requests.personal_data_kept_days_after_close) * 86_400),
    };
    if let Some(path) = options.url.strip_prefix("sqlite://") {
        // SQLite gives its log and index files the rights of the database: for its owner only.
        let path = path.split('?').next().unwrap_or(path).replace("%23", "#").replace("%3F", "?").replace("%25", "%");
        let path = Path::new(&path);
        match write_private(path, "") {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("the database {} cannot be made", path.display())),
        }
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Store::open(options, clock, wake)
        .await
        .context("the database cannot be opened; is the URL right and the server up?")
}

/// Reads the master key; with `create` a missing one is made, readable by its owner only.
fn master_key(path: &Path, create: bool) -> Result<[u8; 32]> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if create && error.kind() == std::io::ErrorKind::NotFound => {
            let text = STANDARD.encode(redress_store::random::<32>()?);
            match write_private(path, &text) {
                Ok(()) => text,
                // Another process was faster: its key is the key.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => std::fs::read_to_string(path)?,
                Err(error) => {
                    return Err(error).with_context(|| format!("the master key {} cannot be made", path.display()));
                }
            }
        }
        Err(error) => {
            return Err(error).with_context(|| {
                format!("the master key {} cannot be read; keys.master_key_file names it", path.display())
            });
        }
    };
    let Ok(bytes) = STANDARD.decode(text.trim()) else { bail!("the master key {} is not base64", path.display()) };
    let Ok(key) = <[u8; 32]>::try_from(bytes) else {
        bail!("the master key {} is not 32 bytes in base64", path.display())
    };
    Ok(key)
}

/// Makes the data folder for its owner only; one that is there keeps the rights its owner gave it.
fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Listens on an address.
///
/// # Errors
/// It is taken, or not ours.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; REDRESS_LISTEN names another address"))
}
