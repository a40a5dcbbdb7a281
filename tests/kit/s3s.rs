//! An s3s-fs server that one test owns: S3 on a folder.

use crate::moto::answers;
use crate::process::{Account, Folder, Recipe, Server, common, off_thread, prepared};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// S3 on a folder that checks every signature; it knows nothing of versions.
pub struct S3s {
    server: Arc<Server>,
}

common!(S3s);

impl S3s {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        off_thread(Self::launch).await
    }

    fn launch() -> Self {
        let program = prepared("s3s-fs-0.14.1/bin/s3s-fs");
        let folder = Folder::new(Account::first_of(&["root"]));
        std::fs::create_dir(folder.path().join("s3")).expect("it is our own folder");
        let recipe = Recipe {
            name: "s3s-fs",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 1,
            command: Box::new(move |folder, ports| {
                let mut command = Command::new(&program);
                command.args(["--host", "127.0.0.1", "--port", &ports[0].to_string()]);
                command.args(["--access-key", "dsr", "--secret-key", "pw"]).arg(folder.join("s3"));
                command
            }),
            ready: Box::new(|_, ports| answers(ports[0])),
        };
        Self { server: Arc::new(Server::start(folder, recipe)) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port(0)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port())
    }

    /// The access key's name; its secret is `pw`.
    pub fn access_key(&self) -> &'static str {
        "dsr"
    }

    /// The secret of the access key.
    pub fn secret_key(&self) -> &'static str {
        "pw"
    }

    /// A bucket's folder, which is made if it is not there: every file in it is an object.
    pub fn bucket(&self, name: &str) -> PathBuf {
        let folder = self.server.path().join("s3").join(name);
        std::fs::create_dir_all(&folder).expect("it is our own folder");
        folder
    }
}
