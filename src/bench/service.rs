//! A service is Redress itself as its users run it: the real executable, its roles in processes of their own, watched from outside.

use super::bare::Database;
use super::lab::{Lab, Running, START_LIMIT, free_port};
use super::usage;
use crate::config::Config;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// An installation: one database, one data folder, as many processes as are started.
#[derive(Debug)]
pub(super) struct Service {
    lab: Arc<Lab>,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

impl Service {
    /// An installation with its folder below the lab's. No database URL means SQLite.
    pub(super) fn new(lab: &Arc<Lab>, name: &str, database: Option<&str>, redis: Option<&str>) -> Result<Self> {
        let folder = lab.folder(name)?;
        let mut environment = vec![("REDRESS_DATA_DIR".to_owned(), folder.join("data").display().to_string())];
        environment.extend(database.map(|url| ("REDRESS_DATABASE_URL".to_owned(), url.to_owned())));
        environment.extend(redis.map(|url| ("REDRESS_REDIS_URL".to_owned(), url.to_owned())));
        Ok(Self { lab: lab.clone(), folder, environment })
    }

    /// Sets a variable for every process started from now on.
    pub(super) fn set(&mut self, name: &str, value: &(impl ToString + ?Sized)) {
        self.environment.retain(|(n, _)| n != name);
        self.environment.push((name.to_owned(), value.to_string()));
    }

    /// Connections of the bench's own to this installation's database.
    pub(super) async fn database(&self) -> Result<Database> {
        let url = self.environment.iter().find(|(name, _)| name == "REDRESS_DATABASE_URL");
        match url {
            Some((_, url)) => Ok(Database::Postgres(PgPoolOptions::new().max_connections(16).connect(url).await?)),
            None => Database::sqlite(&self.data_folder().join("redress.db")).await,
        }
    }

    /// The configuration that its processes have.
    pub(super) fn config(&self) -> Result<Config> {
        Ok(Config::load(None, self.environment.iter().cloned())?)
    }

    /// Where the embedded database is.
    pub(super) fn data_folder(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("our own executable")?);
        command.env_clear().envs(self.environment.iter().map(|(k, v)| (k, v))).current_dir(&self.folder);
        Ok(command)
    }

    /// Runs a command to its end; what it printed.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command()?;
        command.args(arguments).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "redress {} failed: {}", arguments.join(" "), error.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Provisions a controller from its file, as an operator does; its API key.
    pub(super) async fn provision(&self, name: &str, file: &str) -> Result<String> {
        let path = self.folder.join(format!("{name}.toml"));
        std::fs::write(&path, file)?;
        self.run(&["apply", &path.display().to_string()]).await?;
        let made = self.run(&["key", "create", "--controller", name, "--role", "controller_admin", "--json"]).await?;
        let made: Value = serde_json::from_str(&made)?;
        made["api_key"].as_str().map(str::to_owned).ok_or_else(|| anyhow!("no key was made for {name}"))
    }

    /// Starts a process and waits until it is ready.
    pub(super) async fn start(&self, role: &str) -> Result<Process> {
        for _ in 0..4 {
            let port = free_port()?;
            let mut command = self.command()?;
            command.args(["serve", "--role", role]).env("REDRESS_LISTEN", format!("127.0.0.1:{port}"));
            let log = self.folder.join(format!("{role}-{port}.log"));
            let began = Instant::now();
            let mut process = Process { running: self.lab.spawn(command, &log)?, port, ready_after: Duration::ZERO };
            if process.ready(began).await? {
                return Ok(process);
            }
        }
        bail!("no free port was found in four attempts")
    }
}

/// One process of the service.
#[derive(Debug)]
pub(super) struct Process {
    /// The process.
    pub(super) running: Running,
    port: u16,
    /// How long it took until it answered that it is ready.
    pub(super) ready_after: Duration,
}

impl Process {
    /// Waits for readiness; false if somebody else took the port.
    async fn ready(&mut self, began: Instant) -> Result<bool> {
        loop {
            if let Some(why) = self.running.ended() {
                if why.contains("cannot listen") {
                    return Ok(false);
                }
                bail!("redress does not start: {why}");
            }
            let answer = async { Caller::connect(self.port, "").await?.call("GET", "/readyz", b"").await };
            if answer.await.is_ok_and(|(status, _)| status == 200) {
                self.ready_after = began.elapsed();
                return Ok(true);
            }
            ensure!(began.elapsed() < START_LIMIT, "redress is not ready:\n{}", self.running.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// CPU seconds so far.
    pub(super) fn cpu(&self) -> Option<f64> {
        usage::cpu(self.running.pid())
    }

    /// Memory in MB, now and at its highest.
    pub(super) fn memory(&self) -> Option<(f64, f64)> {
        usage::memory(self.running.pid())
    }
}

/// A caller with one connection that is kept: as little as can be between the clock and the service.
#[derive(Debug)]
pub(super) struct Caller {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Caller {
    /// Connects.
    pub(super) async fn connect(port: u16, key: &str) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let head = format!("Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n");
        Ok(Self { stream: BufReader::new(stream), head })
    }

    /// One call; status and body.
    pub(super) async fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.head,
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        let (mut line, mut status, mut length) = (String::new(), 0, None);
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line).await? > 0, "the connection was closed");
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).unwrap_or_default().parse()?;
            } else if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let mut body = vec![0; length.context("an answer without a length")?];
        self.stream.read_exact(&mut body).await?;
        Ok((status, body))
    }

    /// Submits a request for a person; its id.
    pub(super) async fn submit(&mut self, kind: &str, email: &str) -> Result<String> {
        let body = json!({ "type": kind, "subject": { "identifiers": [{ "type": "email", "value": email }] } });
        let (status, answer) = self.call("POST", "/v1/requests", body.to_string().as_bytes()).await?;
        ensure!(status == 202, "a submission was answered {status}: {}", String::from_utf8_lossy(&answer));
        let answer: Value = serde_json::from_slice(&answer)?;
        answer["id"].as_str().map(str::to_owned).ok_or_else(|| anyhow!("an accepted request without an id"))
    }
}
