//! A PostgreSQL server that one test owns.

use crate::process::{
    Account, Folder, Recipe, Server, common, off_thread, require, run, try_run, unpack_template, version_of,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const PACKAGE: &str = "postgresql";
const USER: &str = "dsr";
const PASSWORD: &str = "pw";

/// A PostgreSQL server with one superuser, `dsr`, whose password is checked.
pub struct Postgres {
    server: Arc<Server>,
    psql: PathBuf,
}

common!(Postgres);

impl Postgres {
    /// Starts one and waits until it takes a login.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with further settings, such as `log_statement=all`.
    pub async fn start_with(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        off_thread(move || Self::launch(settings)).await
    }

    fn launch(settings: Vec<String>) -> Self {
        let postgres = require(&["postgres"], PACKAGE);
        let initdb = require(&["initdb"], PACKAGE);
        let psql = require(&["psql"], "postgresql-client");
        let account = Account::first_of(&["postgres", "nobody"]);
        let folder = Folder::new(account);
        let template = format!("postgres-1-{}", version_of(&postgres));
        unpack_template(&template, &folder.path().join("data"), account, |data| initialise(&initdb, account, data));
        let login = psql.clone();
        let recipe = Recipe {
            name: "PostgreSQL",
            stop_signal: "INT",  // "fast": sessions are cut, a checkpoint is written
            kill_signal: "QUIT", // "immediate": no checkpoint; unlike KILL it takes the session processes along
            ports: 1,
            command: Box::new(move |folder, ports| {
                let mut command = account.command(&postgres);
                command.arg("-D").arg(folder.join("data")).arg("-p").arg(ports[0].to_string());
                let fixed = [
                    "listen_addresses=127.0.0.1",
                    "unix_socket_directories=",
                    "fsync=off",
                    "full_page_writes=off",
                    "max_connections=200",
                    "shared_buffers=32MB",
                    "max_wal_size=256MB",
                    "jit=off",
                    "timezone=UTC",
                    "logging_collector=off",
                ];
                for setting in fixed.into_iter().chain(settings.iter().map(String::as_str)) {
                    command.arg("-c").arg(setting);
                }
                command
            }),
            ready: Box::new(move |_, ports| {
                std::net::TcpStream::connect(("127.0.0.1", ports[0])).map_err(|e| e.to_string())?;
                try_run(client(&login, ports[0], "postgres").args(["-Atc", "select 1"]), b"").map(drop)
            }),
        };
        Self { server: Arc::new(Server::start(folder, recipe)), psql }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port(0)
    }

    /// A superuser's name.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// That user's password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The address of a database, which may not exist yet.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port())
    }

    /// Creates an empty database; its address.
    pub async fn database(&self, name: &str) -> String {
        self.database_from(name, "template1").await
    }

    /// Creates a copy of the database `template`, to which nobody may be connected; its address.
    pub async fn database_from(&self, name: &str, template: &str) -> String {
        let statement = format!("CREATE DATABASE {} TEMPLATE {}", quoted(name), quoted(template));
        self.sql("postgres", &statement).await;
        self.url(name)
    }

    /// Drops a database and cuts its sessions.
    pub async fn drop_database(&self, name: &str) {
        self.sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", quoted(name))).await;
    }

    /// Runs a script; the first error ends it and panics.
    pub async fn sql(&self, database: &str, script: &str) {
        self.psql(database, &["-q"], script).await;
    }

    /// Runs a query: a line per row, columns separated by `|`, without the last line's end.
    pub async fn query(&self, database: &str, sql: &str) -> String {
        self.psql(database, &["-At"], sql).await.trim_end_matches('\n').to_owned()
    }

    async fn psql(&self, database: &str, arguments: &[&str], script: &str) -> String {
        let mut command = client(&self.psql, self.port(), database);
        command.args(arguments).args(["-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let script = script.to_owned();
        off_thread(move || run(&mut command, script.as_bytes())).await
    }
}

fn client(psql: &Path, port: u16, database: &str) -> Command {
    let mut command = Command::new(psql);
    command
        .args(["-X", "-w", "-h", "127.0.0.1", "-U", USER, "-d", database, "-p", &port.to_string()])
        .env("PGPASSWORD", PASSWORD)
        .env("PGCLIENTENCODING", "UTF8")
        .env("PGCONNECT_TIMEOUT", "10")
        .current_dir("/");
    command
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn initialise(initdb: &Path, account: Account, data: &Path) {
    let password = data.with_file_name("password");
    std::fs::write(&password, PASSWORD).expect("it is our own folder");
    account.own(&password);
    let mut command = account.command(initdb);
    command.args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1"]);
    command.arg("--pwfile").arg(&password).arg("-D").arg(data).current_dir(data);
    run(&mut command, b"");
}
