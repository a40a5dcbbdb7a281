//! A Redis server that one test owns.

use crate::process::{Account, Folder, Recipe, Server, common, off_thread, require};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// A Redis server without persistence, unless asked for.
pub struct Redis {
    server: Arc<Server>,
}

common!(Redis);

impl Redis {
    /// Starts one and waits until it answers a ping.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with further options, such as `["--appendonly", "yes"]`.
    pub async fn start_with(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        off_thread(move || Self::launch(options, None)).await
    }

    /// Starts a Sentinel that watches the Redis on this port under the name `fleet`; two of them must agree that it is down,
    /// which takes each a second to see.
    pub async fn sentinel(watched: u16) -> Self {
        off_thread(move || Self::launch(Vec::new(), Some(watched))).await
    }

    fn launch(options: Vec<String>, watched: Option<u16>) -> Self {
        let program = require(&["redis-server", "valkey-server"], "redis-server");
        let folder = Folder::new(Account::first_of(&["root"]));
        let recipe = Recipe {
            name: "Redis",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 1,
            command: Box::new(move |folder, ports| {
                let mut command = Command::new(&program);
                if let Some(watched) = watched {
                    command.arg(sentinel_file(folder, ports[0], watched)).arg("--sentinel");
                    return command;
                }
                command.args(["--port", &ports[0].to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
                command.args(["--save", "", "--appendonly", "no", "--io-threads", "1", "--dir"]).arg(folder);
                command.args(&options);
                command
            }),
            ready: Box::new(|_, ports| match command(ports[0], &["PING"])?.as_str() {
                "PONG" => Ok(()),
                other => Err(other.to_owned()),
            }),
        };
        Self { server: Arc::new(Server::start(folder, recipe)) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port(0)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port())
    }

    /// Sends one command; its answer as text: nil is empty, an array has an element per line, an error panics.
    pub async fn command(&self, arguments: &[&str]) -> String {
        let (port, arguments) = (self.port(), arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
        off_thread(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            command(port, &arguments).unwrap_or_else(|fault| panic!("redis: {arguments:?}: {fault}"))
        })
        .await
    }

    /// Forgets every key.
    pub async fn flushall(&self) {
        self.command(&["FLUSHALL"]).await;
    }

    /// Kills it, so that everything in it is lost, and starts it again on the same port.
    pub async fn kill9_and_restart(&self) {
        self.kill9().await;
        self.start_again().await;
    }
}

/// The file in which a Sentinel keeps what it knows; it is written once, and then by the Sentinel.
fn sentinel_file(folder: &Path, port: u16, watched: u16) -> PathBuf {
    let file = folder.join("sentinel.conf");
    if !file.exists() {
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor fleet 127.0.0.1 {watched} 2\n\
             sentinel down-after-milliseconds fleet 1000\nsentinel failover-timeout fleet 5000\n",
            folder.display()
        );
        std::fs::write(&file, text).expect("it is our own folder");
    }
    file
}

fn command(port: u16, arguments: &[&str]) -> Result<String, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let mut request = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        request.extend(["$", &argument.len().to_string(), "\r\n", argument, "\r\n"]);
    }
    (&stream).write_all(request.as_bytes()).map_err(|e| e.to_string())?;
    answer(&mut BufReader::new(&stream))
}

fn answer(from: &mut BufReader<&TcpStream>) -> Result<String, String> {
    let mut line = String::new();
    from.read_line(&mut line).map_err(|e| e.to_string())?;
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or("the connection was closed")?;
    let length = || rest.parse::<i64>().map_err(|e| e.to_string());
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "$" => match usize::try_from(length()?) {
            Err(_) => Ok(String::new()),
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes).map_err(|e| e.to_string())?;
                Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
            }
        },
        "*" => {
            let parts: Result<Vec<String>, String> = (0..length()?).map(|_| answer(from)).collect();
            Ok(parts?.join("\n"))
        }
        _ => Err(rest.to_owned()),
    }
}
