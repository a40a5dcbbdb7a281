//! The servers of a bench: PostgreSQL twice, so that the CPU time of each is known, and Redis; its own, or the ones named.

use super::lab::{Lab, Running, START_LIMIT, free_port, random, which};
use super::usage;
use anyhow::{Context as _, Result, anyhow, bail};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool, Row as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// Stands in every statement of the bench itself, so that it is not counted.
pub(super) const OURS: &str = "/* redress bench */";

/// A database on a PostgreSQL server.
#[derive(Debug)]
pub(super) struct Postgres {
    running: Option<Running>,
    /// Where the database is.
    pub(super) url: Url,
    /// Connections of the bench's own.
    pub(super) pool: PgPool,
    /// Whether statements are counted.
    pub(super) counts: bool,
}

/// What a database was asked, by statement: text, calls, milliseconds.
pub(super) type Asked = Vec<(String, i64, f64)>;

impl Postgres {
    /// Starts a server with one database of this name, durable as a server of one's own would be.
    pub(super) async fn start(lab: &Arc<Lab>, name: &str, path: &str) -> Result<Self> {
        let need = |program: &str| {
            which(program, path).ok_or_else(|| {
                anyhow!(
                    "{program} is not installed, and the bench needs a PostgreSQL server: apt-get install postgresql, or name one with --postgres-url"
                )
            })
        };
        let (postgres, initdb) = (need("postgres")?, need("initdb")?);
        let folder = lab.folder(name)?;
        lab.lend(&folder)?;
        let password = format!("{:016x}{:016x}", random(), random());
        let (file, data) = (folder.join("password"), folder.join("data"));
        std::fs::write(&file, &password)?;
        lab.lend(&file)?;
        let mut init = lab.unprivileged(&initdb);
        init.args(["-U", "redress", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]);
        init.arg("--pwfile").arg(&file).arg("-D").arg(&data).current_dir(&folder);
        let made = tokio::task::spawn_blocking(move || init.output()).await??;
        if !made.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
        // Without the module that counts statements everything else can still be measured.
        let mut counting = true;
        loop {
            let port = free_port()?;
            let admin = Url::parse(&format!("postgres://redress:{password}@127.0.0.1:{port}/postgres"))?;
            let mut running = lab.spawn(command(lab, &postgres, &data, port, counting), &folder.join("log"))?;
            match answers(&mut running, &admin).await {
                Ok(()) => return Self::create(Some(running), admin, name, counting).await,
                Err(error) if counting && format!("{error:#}").contains("pg_stat_statements") => counting = false,
                Err(error) => return Err(error.context("PostgreSQL does not start")),
            }
        }
    }

    /// A new database on a server that is there; its CPU time is not known.
    pub(super) async fn on(admin: &Url, name: &str) -> Result<Self> {
        let name = format!("redress_bench_{name}_{:08x}", random() & 0xffff_ffff);
        let mut connection = connect(admin).await.context("--postgres-url does not answer")?;
        let counts = sqlx::raw_sql(AssertSqlSafe("SELECT 1 FROM pg_stat_statements_info"));
        let counts = counts.execute(&mut connection).await.is_ok();
        Self::create(None, admin.clone(), &name, counts).await
    }

    async fn create(running: Option<Running>, admin: Url, name: &str, counts: bool) -> Result<Self> {
        let mut connection = connect(&admin).await?;
        let script = format!("{OURS} CREATE DATABASE \"{name}\"");
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await?;
        let mut url = admin;
        url.set_path(name);
        let options = PgConnectOptions::from_str(url.as_str())?.disable_statement_logging();
        let pool = PgPoolOptions::new().max_connections(64).connect_lazy_with(options);
        let mut counts = counts;
        if counts {
            let extension = format!("{OURS} CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
            counts = sqlx::raw_sql(AssertSqlSafe(extension)).execute(&pool).await.is_ok();
        }
        Ok(Self { running, url, pool, counts })
    }

    /// One more database on the same server.
    pub(super) async fn beside(&self, name: &str) -> Result<Url> {
        let script = format!("{OURS} CREATE DATABASE \"{name}\"");
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&self.pool).await?;
        let mut url = self.url.clone();
        url.set_path(name);
        Ok(url)
    }

    /// CPU seconds of all its processes, if the server is ours.
    pub(super) fn cpu(&self) -> Option<f64> {
        usage::cpu(self.running.as_ref()?.pid())
    }

    /// What this database was asked so far, the bench's own statements left out.
    pub(super) async fn asked(&self) -> Result<Option<Asked>> {
        if !self.counts {
            return Ok(None);
        }
        let sql = format!(
            "{OURS} SELECT query, calls, total_exec_time FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query NOT LIKE '%redress bench%'"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        Ok(Some(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()))
    }

    /// Runs a script of the bench's own.
    pub(super) async fn script(&self, sql: &str) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(format!("{OURS} {sql}"))).execute(&self.pool).await.map(drop).map_err(Into::into)
    }

    /// One number.
    pub(super) async fn number(&self, sql: &str) -> Result<i64> {
        Ok(sqlx::query_scalar(AssertSqlSafe(format!("{OURS} {sql}"))).fetch_one(&self.pool).await?)
    }
}

/// Forgets what was counted: each statement with the calls and the time it has now on top of `before`.
pub(super) fn since(before: &Asked, now: Asked) -> Asked {
    let mut old = std::collections::HashMap::new();
    for (text, calls, ms) in before {
        let entry = old.entry(text.as_str()).or_insert((0, 0.0));
        *entry = (entry.0 + calls, entry.1 + ms);
    }
    let mut new: std::collections::HashMap<String, (i64, f64)> = std::collections::HashMap::new();
    for (text, calls, ms) in now {
        let entry = new.entry(text).or_insert((0, 0.0));
        *entry = (entry.0 + calls, entry.1 + ms);
    }
    let mut all: Asked = new
        .into_iter()
        .map(|(text, (calls, ms))| {
            let (c, m) = old.get(text.as_str()).copied().unwrap_or((0, 0.0));
            (text, calls - c, ms - m)
        })
        .filter(|(_, calls, _)| *calls > 0)
        .collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all
}

fn command(lab: &Lab, program: &Path, data: &Path, port: u16, counting: bool) -> Command {
    let mut command = lab.unprivileged(program);
    command.arg("-D").arg(data).arg("-p").arg(port.to_string()).current_dir(data);
    let mut settings = vec![
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=on",
        "synchronous_commit=on",
        "full_page_writes=on",
        "max_connections=200",
        "timezone=UTC",
        "logging_collector=off",
    ];
    if counting {
        settings.extend([
            "shared_preload_libraries=pg_stat_statements",
            "pg_stat_statements.track_utility=on",
            "pg_stat_statements.max=10000",
        ]);
    }
    for setting in settings {
        command.arg("-c").arg(setting);
    }
    command
}

async fn connect(url: &Url) -> Result<PgConnection> {
    let options = PgConnectOptions::from_str(url.as_str())?.disable_statement_logging();
    Ok(PgConnection::connect_with(&options).await?)
}

async fn answers(running: &mut Running, url: &Url) -> Result<()> {
    let limit = Instant::now() + START_LIMIT;
    loop {
        if let Some(why) = running.ended() {
            bail!(why);
        }
        match connect(url).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > limit => return Err(error.context(running.log())),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A Redis server.
#[derive(Debug)]
pub(super) struct Redis {
    running: Option<Running>,
    /// Where it is.
    pub(super) url: String,
}

impl Redis {
    /// Starts one without persistence: what it holds may be lost.
    pub(super) async fn start(lab: &Arc<Lab>, path: &str) -> Result<Self> {
        let program: PathBuf =
            ["redis-server", "valkey-server"].iter().find_map(|name| which(name, path)).ok_or_else(|| {
                anyhow!("redis-server is not installed, and the bench needs one: apt-get install redis-server, or name one with --redis-url")
            })?;
        let (folder, port) = (lab.folder("redis")?, free_port()?);
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no", "--save", ""]);
        command.args(["--appendonly", "no", "--dir"]).arg(&folder);
        let mut running = lab.spawn(command, &folder.join("log"))?;
        let url = format!("redis://127.0.0.1:{port}/");
        let limit = Instant::now() + START_LIMIT;
        while redress_store::ping_redis(&url).await.is_err() {
            if let Some(why) = running.ended() {
                bail!("Redis does not start: {why}");
            }
            if Instant::now() > limit {
                bail!("Redis does not answer:\n{}", running.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { running: Some(running), url })
    }

    /// One that is there.
    pub(super) async fn on(url: &str) -> Result<Self> {
        redress_store::ping_redis(url).await.context("--redis-url")?;
        Ok(Self { running: None, url: url.to_owned() })
    }

    /// Its CPU seconds, if it is ours.
    pub(super) fn cpu(&self) -> Option<f64> {
        usage::cpu(self.running.as_ref()?.pid())
    }

    /// Its memory in MB, if it is ours.
    pub(super) fn memory(&self) -> Option<f64> {
        usage::memory(self.running.as_ref()?.pid()).map(|(now, _)| now)
    }

    /// How many commands it was given so far, those that ask this left out.
    pub(super) async fn commands(&self) -> Result<i64> {
        let client = redis::Client::open(self.url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let text: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await?;
        let calls = |line: &str| -> Option<i64> {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            // What our own client says to introduce itself.
            let ours = ["info", "client", "hello"].iter().any(|own| name.starts_with(own));
            if ours { None } else { rest.strip_prefix("calls=")?.split(',').next()?.parse().ok() }
        };
        Ok(text.lines().filter_map(calls).sum())
    }
}
