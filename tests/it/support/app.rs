//! A [`TestApp`] is an installation that one test owns: its database, its Redis, its processes, its folder.

use super::api::ApiClient;
use super::process::{self, Folder, Process, Ran, Setup};
use super::{PASSWORD_VARIABLE, PATIENCE, off_thread, poll};
use redress_testkit::{Port, Postgres, Redis, free_port};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where the installation keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// SQLite in the data folder: one machine, no setting at all.
    Sqlite,
    /// PostgreSQL and Redis: a fleet.
    PostgresRedis,
}

/// Which processes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Roles {
    /// One that does everything.
    All,
    /// One that answers callers, and so many that work.
    Fleet(usize),
}

/// What [`TestApp::builder`] gives.
#[derive(Debug)]
pub(crate) struct Builder {
    backend: Backend,
    roles: Roles,
    env: Vec<(String, String)>,
}

/// An installation.
#[derive(Debug)]
pub(crate) struct TestApp {
    shared: Arc<Shared>,
    ports: Vec<Port>,
    path: PathBuf,
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    errors_allowed: AtomicBool,
    files: AtomicU32,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    processes: Vec<Process>,
    env: Vec<(String, String)>,
    /// What is special about a process, by its number.
    setups: BTreeMap<usize, Setup>,
    // Dropped last: the processes end before their folder goes.
    folder: Folder,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell_guard(&mut self) {
        let pids: Vec<u32> = self.processes.iter().filter_map(Process::pid).collect();
        self.folder.running(&pids);
    }

    fn start(&mut self) {
        let Self { processes, env, setups, folder } = self;
        for (nth, process) in processes.iter_mut().enumerate().filter(|(_, process)| process.pid().is_none()) {
            let setup = setups.get(&nth).cloned().unwrap_or_default();
            process.start(process::command_as(folder.path(), env, &setup));
        }
        self.tell_guard();
    }
}

impl Builder {
    pub(crate) fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    pub(crate) fn roles(mut self, roles: Roles) -> Self {
        self.roles = roles;
        self
    }

    /// Sets a variable for all processes and commands.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        set(&mut self.env, name, value.into());
        self
    }

    /// A dead worker's steps are taken over after three seconds, the sweep runs every second.
    pub(crate) fn quick_leases(self) -> Self {
        self.env("REDRESS_WORKER__LEASE_SECONDS", "3")
            .env("REDRESS_WORKER__RENEW_SECONDS", "1")
            .env("REDRESS_WORKER__SWEEP_INTERVAL_SECONDS", "1")
            .env("REDRESS_WORKER__POLL_INTERVAL_MS", "200")
    }

    /// Makes it: servers, schema, processes; all of them ready.
    pub(crate) async fn start(self) -> TestApp {
        let app = self.installed().await;
        app.start().await;
        app
    }

    /// Makes it without starting the processes.
    pub(crate) async fn installed(mut self) -> TestApp {
        assert!(self.backend == Backend::PostgresRedis || self.roles == Roles::All, "SQLite is for one process");
        let folder = Folder::new();
        let path = folder.path().to_owned();
        let (postgres, redis) = match self.backend {
            Backend::Sqlite => (None, None),
            Backend::PostgresRedis => {
                let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
                set(&mut self.env, "REDRESS_DATABASE_URL", postgres.database("redress").await);
                set(&mut self.env, "REDRESS_REDIS_URL", redis.url());
                (Some(postgres), Some(redis))
            }
        };
        set(&mut self.env, "REDRESS_DATA_DIR", path.join("data").display().to_string());
        set(&mut self.env, PASSWORD_VARIABLE, "pw".to_owned());
        let roles = match self.roles {
            Roles::All => vec!["all"],
            Roles::Fleet(workers) => std::iter::once("api").chain(std::iter::repeat_n("worker", workers)).collect(),
        };
        let ports: Vec<Port> = roles.iter().map(|_| free_port()).collect();
        let made = |(nth, (role, port)): (usize, (&&'static str, &Port))| Process::new(&path, role, nth, port.number());
        let processes = roles.iter().zip(&ports).enumerate().map(made).collect();
        let shared =
            Arc::new(Shared { state: Mutex::new(State { processes, env: self.env, setups: BTreeMap::new(), folder }) });
        let (errors_allowed, files) = (AtomicBool::new(false), AtomicU32::new(0));
        let app = TestApp { shared, ports, path, postgres, redis, errors_allowed, files };
        if self.backend == Backend::PostgresRedis {
            app.cli(&["migrate"]).await.ok();
        }
        app
    }
}

fn set(env: &mut Vec<(String, String)>, name: &str, value: String) {
    env.retain(|(known, _)| known != name);
    env.push((name.to_owned(), value));
}

impl TestApp {
    /// One process on SQLite, unless it is told otherwise.
    pub(crate) fn builder() -> Builder {
        Builder { backend: Backend::Sqlite, roles: Roles::All, env: Vec::new() }
    }

    /// Where callers are answered.
    pub(crate) fn base(&self) -> String {
        self.base_of(0)
    }

    /// Where one of the processes listens; the first answers callers.
    pub(crate) fn base_of(&self, nth: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[nth].number())
    }

    /// How many processes there are.
    pub(crate) fn processes(&self) -> usize {
        self.ports.len()
    }

    /// The folder of its data and of the files of the controllers.
    pub(crate) fn folder(&self) -> &Path {
        &self.path
    }

    /// Its PostgreSQL server; the database is `redress`.
    pub(crate) fn postgres(&self) -> &Postgres {
        self.postgres.as_ref().expect("the backend is PostgreSQL")
    }

    /// Its Redis server.
    pub(crate) fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("the backend has a Redis")
    }

    /// Sets a variable for the next start and the next command.
    pub(crate) fn set_env(&self, name: &str, value: &str) {
        set(&mut self.shared.state().env, name, value.to_owned());
    }

    /// Takes a variable away for the next start and the next command.
    pub(crate) fn unset_env(&self, name: &str) {
        self.shared.state().env.retain(|(known, _)| known != name);
    }

    /// Says what is special about one process, from its next start on.
    #[allow(dead_code, reason = "tests/chaos uses it")]
    pub(crate) fn set_up(&self, nth: usize, setup: Setup) {
        self.shared.state().setups.insert(nth, setup);
    }

    /// The number of a process, while it runs.
    pub(crate) fn pid(&self, nth: usize) -> Option<u32> {
        self.shared.state().processes[nth].pid()
    }

    /// Asks one process to end; how it ended.
    #[allow(dead_code, reason = "tests/chaos uses it")]
    pub(crate) async fn sigterm_one(&self, nth: usize) -> Option<ExitStatus> {
        let shared = self.shared.clone();
        off_thread(move || {
            let mut state = shared.state();
            let ended = state.processes[nth].sigterm(Duration::from_secs(40));
            state.tell_guard();
            ended
        })
        .await
    }

    /// An error in the log is what this test wants to see.
    pub(crate) fn allow_errors(&self) {
        self.errors_allowed.store(true, Ordering::Relaxed);
    }

    /// Starts every process that does not run, and waits until all are ready.
    pub(crate) async fn start(&self) {
        self.shared.state().start();
        for nth in 0..self.ports.len() {
            let url = format!("{}/readyz", self.base_of(nth));
            let http = super::api::http();
            poll(&format!("{url} says ready"), PATIENCE, || async {
                // Not in the condition, whose lock would last until the panic has looked into the logs.
                let ended = self.shared.state().processes[nth].ended();
                if let Some(status) = ended {
                    panic!("process {nth} ended with {status}:\n{}", self.logs());
                }
                let answer = http.get(&url).send().await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await;
        }
    }

    /// Starts every process without waiting: for those that will not live long.
    pub(crate) fn start_unready(&self) {
        self.shared.state().start();
    }

    /// Kills every process as `kill -9` does.
    pub(crate) fn kill9(&self) {
        let mut state = self.shared.state();
        state.processes.iter_mut().for_each(Process::kill9);
        state.tell_guard();
    }

    /// Kills one process as `kill -9` does.
    pub(crate) fn kill9_one(&self, nth: usize) {
        let mut state = self.shared.state();
        state.processes[nth].kill9();
        state.tell_guard();
    }

    /// Kills what runs and starts everything again.
    pub(crate) async fn restart(&self) {
        self.kill9();
        self.start().await;
    }

    /// Asks every process to end and waits until they have; their exit statuses.
    pub(crate) async fn sigterm(&self) -> Vec<ExitStatus> {
        let shared = self.shared.clone();
        off_thread(move || {
            let mut state = shared.state();
            let ended = state.processes.iter_mut().filter_map(|p| p.sigterm(Duration::from_secs(40))).collect();
            state.tell_guard();
            ended
        })
        .await
    }

    /// Waits until some process has ended by itself; which one, and how.
    pub(crate) async fn wait_for_death(&self, limit: Duration) -> (usize, ExitStatus) {
        let dead = || async {
            let mut state = self.shared.state();
            let found = state.processes.iter_mut().enumerate().find_map(|(nth, p)| Some((nth, p.ended()?)));
            if found.is_some() {
                state.tell_guard();
            }
            found
        };
        poll("a process ends", limit, dead).await
    }

    /// Whether every process is there.
    pub(crate) fn is_running(&self) -> bool {
        let mut state = self.shared.state();
        state.processes.iter_mut().all(|process| process.ended().is_none() && process.pid().is_some())
    }

    /// What all processes wrote over all their runs.
    pub(crate) fn logs(&self) -> String {
        let state = self.shared.state();
        let of = |p: &Process| format!("--- {} on port {}\n{}", p.role, p.port, p.log());
        state.processes.iter().map(of).collect::<Vec<_>>().concat()
    }

    /// Runs a command of the command line against this installation.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> Ran {
        self.cli_with(&[], arguments).await
    }

    /// Runs a command with further variables.
    pub(crate) async fn cli_with(&self, env: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut all = self.shared.state().env.clone();
        set(&mut all, "REDRESS_URL", self.base());
        for (name, value) in env {
            set(&mut all, name, (*value).to_owned());
        }
        // A crash is meant for the service.
        if !env.iter().any(|(name, _)| *name == "REDRESS_CRASH_AT") {
            all.retain(|(name, _)| name != "REDRESS_CRASH_AT");
        }
        let command = process::command(&self.path, &all);
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        off_thread(move || process::run(command, &arguments)).await
    }

    /// Writes a file into the installation's folder; its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path.join(name);
        std::fs::write(&path, content).expect("it is our own folder");
        path.display().to_string()
    }

    /// Applies a controller's file and makes a key with every right.
    pub(crate) async fn controller(&self, toml: &str) -> ApiClient {
        let name = self.apply(toml).await;
        self.key(&name, "controller_admin").await
    }

    /// Applies a controller's file; the controller's name.
    pub(crate) async fn apply(&self, toml: &str) -> String {
        let file = self.file(&format!("controller-{}.toml", self.files.fetch_add(1, Ordering::Relaxed)), toml);
        self.cli(&["apply", &file]).await.ok();
        let document: toml::Value = toml::from_str(toml).expect("the test's file is TOML");
        document["controller"]["name"].as_str().expect("a controller has a name").to_owned()
    }

    /// Makes a key with this role.
    pub(crate) async fn key(&self, controller: &str, role: &str) -> ApiClient {
        let made = self.cli(&["key", "create", "--controller", controller, "--role", role, "--json"]).await.json();
        ApiClient::new(self.base(), made["api_key"].as_str().expect("a key is printed").to_owned())
    }
}

/// A line of a log that a person should have got up for.
fn is_error(line: &str) -> bool {
    line.contains("\"level\":\"ERROR\"") || line.contains("panicked at")
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.kill9();
        let logs = self.logs();
        let errors: Vec<&str> = logs.lines().filter(|line| is_error(line)).collect();
        let unexpected = !errors.is_empty() && !self.errors_allowed.load(Ordering::Relaxed);
        let panicked = logs.contains("panicked at");
        if std::thread::panicking() || unexpected || panicked {
            self.shared.state().folder.keep();
            let lines: Vec<&str> = logs.lines().collect();
            let tail = lines[lines.len().saturating_sub(80)..].join("\n");
            eprintln!("The logs are in {}; their end:\n{tail}", self.path.display());
        }
        if !std::thread::panicking() {
            assert!(!panicked && !unexpected, "the service logged errors:\n{}", errors.join("\n"));
        }
    }
}
