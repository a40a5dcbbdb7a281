//! A mail server that one test owns: aiosmtpd, which keeps what it takes as files.

use crate::process::{Account, Folder, Recipe, Server, common, off_thread, require};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the server does with mail. It takes the password of every user who names it `pw`; an address that begins with
/// `refused` does not exist, and one that begins with `later` is taken at the second try.
const PROGRAM: &str = r#"
import asyncio, json, os, signal, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

plain, tls = int(sys.argv[1]), int(sys.argv[2])
tried, count = set(), 0

class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later") and address not in tried:
            tried.add(address)
            return "451 4.7.1 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        global count
        count += 1
        user = session.auth_data.login.decode() if session.auth_data else None
        encrypted = server.transport.get_extra_info("ssl_object") is not None
        about = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "user": user, "tls": encrypted}
        name = os.path.join("mails", "%06d" % count)
        with open(name + ".part", "wb") as file:
            file.write(json.dumps(about).encode() + b"\n" + envelope.content)
        os.rename(name + ".part", name)
        return "250 OK"

def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.password == b"pw", handled=False, auth_data=data)

async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("server.pem", "server.key")
    loop = asyncio.get_running_loop()
    options = dict(authenticator=authenticate, hostname="mail.testkit.invalid", enable_SMTPUTF8=True)
    with_starttls = lambda: SMTP(Handler(), tls_context=context, auth_require_tls=False, **options)
    wrapped = lambda: SMTP(Handler(), auth_require_tls=False, **options)
    await loop.create_server(with_starttls, "127.0.0.1", plain)
    await loop.create_server(wrapped, "127.0.0.1", tls, ssl=context)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()

asyncio.run(main())
"#;

/// A mail as the server took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// What was said about it: `from`, `to`, `user` and `tls`, as JSON.
    pub about: String,
    /// The mail with its headers.
    pub text: String,
}

impl Mail {
    /// The value of a header that stands on one line.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.lines().take_while(|line| !line.is_empty());
        lines.find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// An SMTP server: plain and STARTTLS on one port, TLS on another.
pub struct Smtp {
    server: Arc<Server>,
}

common!(Smtp);

impl Smtp {
    /// Starts one and waits until it greets.
    pub async fn start() -> Self {
        off_thread(Self::launch).await
    }

    fn launch() -> Self {
        // The program's first line names the interpreter that has the library.
        let program = require(&["aiosmtpd"], "python3-aiosmtpd");
        let script = fs::read_to_string(&program).expect("it is a script");
        let interpreter = script.lines().next().and_then(|line| line.strip_prefix("#!")).unwrap_or("/usr/bin/python3");
        let interpreter = interpreter.trim().to_owned();
        let folder = Folder::new(Account::first_of(&["nobody"]));
        crate::dovecot::certificates(folder.path());
        fs::create_dir(folder.path().join("mails")).expect("it is our own folder");
        let recipe = Recipe {
            name: "aiosmtpd",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 2,
            command: Box::new(move |folder, ports| {
                fs::write(folder.join("server.py"), PROGRAM).expect("it is our own folder");
                let mut command = Command::new(&interpreter);
                command.arg("server.py").args(ports.iter().map(u16::to_string));
                command
            }),
            ready: Box::new(|_, ports| greeted(ports[0])),
        };
        Self { server: Arc::new(Server::start(folder, recipe)) }
    }

    /// The port for plain text and STARTTLS.
    pub fn port(&self) -> u16 {
        self.server.port(0)
    }

    /// The port for implicit TLS.
    pub fn smtps_port(&self) -> u16 {
        self.server.port(1)
    }

    /// The certificate authority (PEM) that signed the server's certificate for `localhost` and 127.0.0.1.
    pub fn ca_file(&self) -> PathBuf {
        self.server.path().join("ca.pem")
    }

    /// Everything that was taken so far, in its order.
    pub fn mails(&self) -> Vec<Mail> {
        let folder = self.server.path().join("mails");
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .expect("it is our own folder")
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_none())
            .collect();
        files.sort();
        let read = |path: &PathBuf| {
            let text = String::from_utf8_lossy(&fs::read(path).expect("it is our own file")).into_owned();
            let (about, text) = text.split_once('\n').expect("the first line says who");
            Mail { about: about.to_owned(), text: text.to_owned() }
        };
        files.iter().map(read).collect()
    }

    /// Everything that was taken, once it is at least `count` mails; panics after ten seconds.
    pub async fn wait_for(&self, count: usize) -> Vec<Mail> {
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            let mails = self.mails();
            if mails.len() >= count {
                return mails;
            }
            assert!(Instant::now() < limit, "{} of {count} mails came within 10 s\n{}", mails.len(), self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn greeted(port: u16) -> Result<(), String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).map_err(|e| e.to_string())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(|e| e.to_string())?;
    if line.starts_with("220") { Ok(()) } else { Err(line) }
}
