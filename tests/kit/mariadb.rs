//! A MariaDB server that one test owns.

use crate::process::{
    Account, Folder, Recipe, Server, common, off_thread, require, run, try_run, unpack_template, version_of,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const PACKAGE: &str = "mariadb-server";
const USER: &str = "dsr";
const PASSWORD: &str = "pw";

/// A MariaDB server with the user `dsr`, who may do everything and whose password is checked.
pub struct Mariadb {
    server: Arc<Server>,
    client: PathBuf,
}

common!(Mariadb);

impl Mariadb {
    /// Starts one and waits until it takes a login.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with further options, such as `--general-log`.
    pub async fn start_with(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        off_thread(move || Self::launch(options)).await
    }

    fn launch(options: Vec<String>) -> Self {
        let mariadbd = require(&["mariadbd", "mysqld"], PACKAGE);
        let install = require(&["mariadb-install-db", "mysql_install_db"], PACKAGE);
        let client_program = require(&["mariadb", "mysql"], "mariadb-client");
        let account = Account::first_of(&["mysql", "nobody"]);
        let folder = Folder::new(account);
        let template = format!("mariadb-1-{}", version_of(&mariadbd));
        unpack_template(&template, &folder.path().join("data"), account, |data| initialise(&install, account, data));
        let init = folder.path().join("init.sql");
        fs::write(&init, INIT).expect("it is our own folder");
        let login = client_program.clone();
        let recipe = Recipe {
            name: "MariaDB",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 1,
            command: Box::new(move |folder, ports| {
                let mut command = account.command(&mariadbd);
                command.arg("--no-defaults");
                for (option, file) in
                    [("datadir", "data"), ("socket", "socket"), ("pid-file", "pid"), ("init-file", "init.sql")]
                {
                    command.arg(format!("--{option}={}", folder.join(file).display()));
                }
                command.arg(format!("--port={}", ports[0])).args(OPTIONS).args(&options);
                command
            }),
            ready: Box::new(move |_, ports| {
                std::net::TcpStream::connect(("127.0.0.1", ports[0])).map_err(|e| e.to_string())?;
                try_run(client(&login, ports[0], "mysql").args(["-e", "select 1"]), b"").map(drop)
            }),
        };
        Self { server: Arc::new(Server::start(folder, recipe)), client: client_program }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port(0)
    }

    /// The name of a user who may do everything.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// That user's password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The address of a database, which may not exist yet.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port())
    }

    /// Creates an empty database; its address.
    pub async fn database(&self, name: &str) -> String {
        self.sql("mysql", &format!("CREATE DATABASE {}", quoted(name))).await;
        self.url(name)
    }

    /// Drops a database.
    pub async fn drop_database(&self, name: &str) {
        self.sql("mysql", &format!("DROP DATABASE {}", quoted(name))).await;
    }

    /// Runs a script; the first error ends it and panics.
    pub async fn sql(&self, database: &str, script: &str) {
        self.run(database, script).await;
    }

    /// Runs a query: a line per row, columns separated by tabs, without the last line's end.
    pub async fn query(&self, database: &str, sql: &str) -> String {
        self.run(database, sql).await.trim_end_matches('\n').to_owned()
    }

    async fn run(&self, database: &str, script: &str) -> String {
        let mut command = client(&self.client, self.port(), database);
        let script = script.to_owned();
        off_thread(move || run(&mut command, script.as_bytes())).await
    }
}

/// What is committed outlives a crash of the server, not of the machine; memory small; the rest as a shop has it.
const OPTIONS: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--default-time-zone=+00:00",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--server-id=1",
    "--sync-binlog=0",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0",
    "--innodb-use-native-aio=0",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=10M",
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=8M",
    "--performance-schema=OFF",
];

/// Runs before the server takes its first connection.
const INIT: &str = "\
DELETE FROM mysql.global_priv WHERE User = '';\n\
FLUSH PRIVILEGES;\n\
CREATE USER IF NOT EXISTS 'dsr'@'%' IDENTIFIED BY 'pw';\n\
GRANT ALL PRIVILEGES ON *.* TO 'dsr'@'%' WITH GRANT OPTION;\n";

fn client(program: &Path, port: u16, database: &str) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-P", &port.to_string(), "-u", USER])
        .args(["--default-character-set=utf8mb4", "--batch", "--skip-column-names", "--connect-timeout=10", database])
        .env("MYSQL_PWD", PASSWORD)
        .current_dir("/");
    command
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn initialise(install: &Path, account: Account, data: &Path) {
    let mut command = account.command(install);
    command.arg("--no-defaults").arg(format!("--datadir={}", data.display())).current_dir(data);
    command.args(["--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=normal"]);
    command.args(["--innodb-log-file-size=10M", "--innodb-use-native-aio=0"]);
    run(&mut command, b"");
}
