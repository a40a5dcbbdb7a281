//! A moto server (Python) that one test owns: AWS's S3 and DynamoDB in memory.

use crate::process::{Account, Folder, Recipe, Server, common, off_thread, prepared};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// AWS in memory: S3 with versions, Object Lock and `If-Match`, DynamoDB. It checks no signature.
pub struct Moto {
    server: Arc<Server>,
}

common!(Moto);

impl Moto {
    /// Starts one and waits until it answers, which takes some seconds.
    pub async fn start() -> Self {
        off_thread(Self::launch).await
    }

    fn launch() -> Self {
        let program = prepared("moto-5.2.5/bin/moto_server");
        let recipe = Recipe {
            name: "moto",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 1,
            command: Box::new(move |_, ports| {
                let mut command = Command::new(&program);
                command.args(["-H", "127.0.0.1", "-p", &ports[0].to_string()]);
                command
            }),
            ready: Box::new(|_, ports| answers(ports[0])),
        };
        Self { server: Arc::new(Server::start(Folder::new(Account::first_of(&["root"])), recipe)) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port(0)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port())
    }
}

/// Whether something speaks HTTP there.
pub(crate) fn answers(port: u16) -> Result<(), String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").map_err(|e| e.to_string())?;
    let mut start = [0; 5];
    stream.read_exact(&mut start).map_err(|e| e.to_string())?;
    if &start == b"HTTP/" { Ok(()) } else { Err("it does not speak HTTP".to_owned()) }
}
