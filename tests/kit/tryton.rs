//! A Tryton server (Python) that one test owns: the party records of a real ERP/CRM, in a database of its own.

use crate::process::{Account, Folder, Recipe, Server, common, off_thread, prepared};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Tryton 7.0 with its party module. The database is `dsr`, the user `admin`.
pub struct Tryton {
    server: Arc<Server>,
}

common!(Tryton);

impl Tryton {
    /// Starts one on a fresh copy of the prepared database and waits until it answers, which takes some seconds.
    pub async fn start() -> Self {
        off_thread(Self::launch).await
    }

    fn launch() -> Self {
        let program = prepared("tryton-7.0/bin/trytond");
        let folder = Folder::new(Account::first_of(&["root"]));
        std::fs::copy(prepared("tryton-7.0/dsr.sqlite"), folder.path().join("dsr.sqlite"))
            .expect("it is our own folder");
        let recipe = Recipe {
            name: "tryton",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 1,
            command: Box::new(move |folder, ports| {
                let conf = format!(
                    "[database]\nuri = sqlite://\npath = {}\n[web]\nlisten = 127.0.0.1:{}\n",
                    folder.display(),
                    ports[0]
                );
                let file = folder.join("trytond.conf");
                std::fs::write(&file, conf).expect("it is our own folder");
                let mut command = Command::new(&program);
                command.arg("-c").arg(file);
                command
            }),
            ready: Box::new(|_, ports| ask(ports[0])),
        };
        Self { server: Arc::new(Server::start(folder, recipe)) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port(0)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// The password of `admin`.
    pub fn password(&self) -> &'static str {
        "tryton-for-tests"
    }

    /// Calls a method as `admin`, and gives its result.
    ///
    /// # Panics
    /// If the server does not answer, or refuses.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let answer = reqwest::ClientBuilder::new()
            .no_proxy()
            .build()
            .expect("a client")
            .post(format!("{}/dsr/", self.url()))
            .basic_auth("admin", Some(self.password()))
            .header("content-type", "application/json")
            .body(json!({ "id": 1, "method": method, "params": params }).to_string())
            .send()
            .await
            .expect("it answers");
        let mut answer: Value = serde_json::from_slice(&answer.bytes().await.expect("whole")).expect("JSON");
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].take()
    }

    /// The file of its database (SQLite).
    pub fn file(&self) -> std::path::PathBuf {
        self.server.path().join("dsr.sqlite")
    }
}

/// Whether it answers a call, be it with a refusal.
fn ask(port: u16) -> Result<(), String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let body = "{\"id\":1,\"method\":\"model.res.user.get_preferences\",\"params\":[true,{}]}";
    let head = format!(
        "POST /dsr/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(|e| e.to_string())?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).map_err(|e| e.to_string())?;
    if start.starts_with(b"HTTP/1.") && !start.ends_with(b"500") {
        Ok(())
    } else {
        Err("it does not answer yet".to_owned())
    }
}
