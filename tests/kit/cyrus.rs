//! A Cyrus server (IMAP and JMAP) that one test owns, from packages that were unpacked and not installed.

use crate::process::{Account, Folder, Recipe, Server, common, off_thread, run};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where `scripts/servers` unpacks it.
const ROOT: &str = "/usr/local/lib/redress-servers/cyrus";
const PROBE: &str = "probe";

/// A Cyrus server without the Xapian index, on which a user's mailbox is made by their first login: `INBOX`,
/// `INBOX/Sent` and `INBOX/Trash`. What is expunged is removed at once.
pub struct Cyrus {
    server: Arc<Server>,
    account: Account,
    /// The connection of the user who was served last: each login is a new process of the server.
    last: Mutex<Option<(String, Session)>>,
}

common!(Cyrus);

impl Cyrus {
    /// Starts one and waits until it takes a login; none if its packages were not fetched (`scripts/servers` does).
    pub async fn start() -> Option<Self> {
        if !Path::new(ROOT).join("usr/lib/cyrus/bin/master").exists() {
            return None;
        }
        Some(off_thread(Self::launch).await)
    }

    fn launch() -> Self {
        let account = Account::first_of(&["mail", "nobody"]);
        let folder = Folder::new(account);
        for name in ["conf", "spool", "conf/db", "conf/socket", "conf/proc", "conf/log", "conf/msg", "conf/lock"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("it is our own folder");
            account.own(&path);
        }
        set_password(folder.path(), account, PROBE, "pw");
        let recipe = Recipe {
            name: "Cyrus",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 2,
            command: Box::new(move |folder, ports| {
                let (own, services) = (folder.join("imapd.conf"), folder.join("cyrus.conf"));
                fs::write(&own, configuration(folder, account)).expect("it is our own folder");
                fs::write(&services, programs(folder, ports)).expect("it is our own folder");
                let mut command = program(account, "usr/lib/cyrus/bin/master");
                command.arg("-C").arg(own).arg("-M").arg(services).arg("-p").arg(folder.join("pid")).arg("-D");
                command
            }),
            ready: Box::new(|_, ports| Session::open(ports[0], PROBE, "pw").map(drop)),
        };
        Self { server: Arc::new(Server::start(folder, recipe)), account, last: Mutex::default() }
    }

    /// The port for IMAP.
    pub fn imap_port(&self) -> u16 {
        self.server.port(0)
    }

    /// Where a JMAP session is had.
    pub fn jmap_url(&self) -> String {
        format!("http://127.0.0.1:{}/jmap/", self.server.port(1))
    }

    /// Adds a user with an empty mailbox.
    pub fn user(&self, name: &str, password: &str) {
        set_password(&self.server.path(), self.account, name, password);
        Session::open(self.imap_port(), name, password)
            .unwrap_or_else(|e| panic!("{name} cannot log in: {e}\n{}", self.log()));
    }

    /// Puts a message into a user's folder.
    pub fn deliver(&self, user: &str, password: &str, folder: &str, message: &str) {
        let command = format!("APPEND \"{folder}\" {{{}+}}\r\n{message}", message.len());
        self.with(user, password, |session| {
            session.run(&command).unwrap_or_else(|e| panic!("append to {folder}: {e}"));
        });
    }

    /// Every message that the user has, as IMAP shows it.
    pub fn messages(&self, user: &str, password: &str) -> Vec<String> {
        self.with(user, password, |session| {
            let mut found = Vec::new();
            for folder in ["INBOX", "INBOX/Sent", "INBOX/Trash"] {
                session.run(&format!("EXAMINE \"{folder}\"")).expect("it is made with the user");
                found.extend(session.run("UID FETCH 1:* (BODY.PEEK[])").expect("it is open"));
            }
            session.run("UNSELECT").expect("a folder is open");
            found
        })
    }

    fn with<T>(&self, user: &str, password: &str, of: impl FnOnce(&mut Session) -> T) -> T {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match last.take() {
            Some((name, session)) if name == user => session,
            _ => Session::open(self.imap_port(), user, password).expect("the user was added"),
        };
        of(&mut last.insert((user.to_owned(), session)).1)
    }
}

/// A program of the packages, with their libraries.
fn program(account: Account, name: &str) -> Command {
    let root = Path::new(ROOT);
    let folders = ["usr/lib", "lib"].map(|lib| fs::read_dir(root.join(lib)).into_iter().flatten().flatten());
    let libraries: Vec<PathBuf> =
        folders.into_iter().flatten().map(|entry| entry.path()).filter(|path| path.ends_with(triple(path))).collect();
    let libraries = std::env::join_paths(libraries).expect("no colons there");
    let mut command = account.command(root.join(name));
    command.env("LD_LIBRARY_PATH", libraries).current_dir("/");
    command
}

/// The last part of a path if it names an architecture (`x86_64-linux-gnu`).
fn triple(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with("-linux-gnu")).unwrap_or("/")
}

fn set_password(folder: &Path, account: Account, user: &str, password: &str) {
    let mut command = program(account, "usr/sbin/saslpasswd2");
    command.args(["-p", "-c", "-u", "localhost", "-f"]).arg(folder.join("sasldb2")).arg(user);
    run(&mut command, format!("{password}\n").as_bytes());
}

fn configuration(folder: &Path, account: Account) -> String {
    let (uid, _) = account.ids();
    let own = run(Command::new("id").arg("-un").arg(uid.to_string()), b"");
    let (folder, user) = (folder.display(), own.trim());
    format!(
        "configdirectory: {folder}/conf
partition-default: {folder}/spool
defaultpartition: default
servername: localhost
cyrus_user: {user}
admins: admin
allowplaintext: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb2
virtdomains: off
unixhierarchysep: yes
altnamespace: no
autocreate_quota: 0
autocreate_inbox_folders: Sent | Trash
autocreate_users: anyone
conversations: yes
httpmodules: jmap
munge8bit: no
expunge_mode: immediate
delete_mode: immediate
idlesocket: {folder}/conf/socket/idle
lmtpsocket: {folder}/conf/socket/lmtp
proc_path: {folder}/conf/proc
mboxname_lockpath: {folder}/conf/lock
"
    )
}

fn programs(folder: &Path, ports: &[u16]) -> String {
    let folder = folder.display();
    let of = |name: &str| format!("{ROOT}/usr/lib/cyrus/bin/{name} -C {folder}/imapd.conf");
    format!(
        "START {{
  recover cmd=\"{} -r\"
}}
SERVICES {{
  imap cmd=\"{}\" listen=\"127.0.0.1:{}\" prefork=0
  http cmd=\"{}\" listen=\"127.0.0.1:{}\" prefork=0
}}
EVENTS {{
}}
",
        of("ctl_cyrusdb"),
        of("imapd"),
        ports[0],
        of("httpd"),
        ports[1]
    )
}

/// A signed-in IMAP connection that understands just enough.
struct Session(BufReader<TcpStream>);

impl Session {
    fn open(port: u16, user: &str, password: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        let mut session = Self(BufReader::new(stream));
        session.run(&format!("LOGIN \"{user}\" \"{password}\""))?;
        Ok(session)
    }

    /// Runs a command; the literals that it answers.
    fn run(&mut self, command: &str) -> Result<Vec<String>, String> {
        write!(self.0.get_mut(), "a {command}\r\n").map_err(|e| e.to_string())?;
        let mut literals = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).map_err(|e| e.to_string())? == 0 {
                return Err("it closed the connection".to_owned());
            }
            if let Some(answer) = line.strip_prefix("a ") {
                return if answer.starts_with("OK") { Ok(literals) } else { Err(line) };
            }
            let length = line.trim_end().strip_suffix('}').and_then(|line| line.rsplit_once('{')?.1.parse().ok());
            if let Some(length) = length {
                let mut bytes = vec![0; length];
                self.0.read_exact(&mut bytes).map_err(|e| e.to_string())?;
                literals.push(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
}
