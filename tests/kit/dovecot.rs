//! A Dovecot IMAP server that one test owns.

use crate::process::{Account, Folder, Recipe, Server, common, off_thread, random, require, run};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PACKAGE: &str = "dovecot-imapd";
/// Its login shows that the server is ready.
const PROBE: &str = "probe@testkit.invalid";

/// A Dovecot IMAP server: Maildir storage, plain and STARTTLS on one port, TLS on another, no delay after a wrong
/// password, any number of connections. `Sent` and `Trash` exist in every mailbox and carry their special use.
pub struct Dovecot {
    server: Arc<Server>,
    account: Account,
}

common!(Dovecot);

impl Dovecot {
    /// Starts one and waits until it takes a login.
    pub async fn start() -> Self {
        off_thread(Self::launch).await
    }

    fn launch() -> Self {
        let program = require(&["dovecot"], PACKAGE);
        let account = Account::first_of(&["mail", "vmail", "dovecot"]);
        let folder = Folder::new(account);
        certificates(folder.path());
        fs::create_dir(folder.path().join("mail")).expect("it is our own folder");
        account.own(&folder.path().join("mail"));
        fs::create_dir(folder.path().join("users")).expect("it is our own folder");
        write_user(folder.path(), PROBE, "pw");
        let recipe = Recipe {
            name: "Dovecot",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 2,
            command: Box::new(move |folder, ports| {
                let file = folder.join("dovecot.conf");
                fs::write(&file, configuration(folder, ports, account)).expect("it is our own folder");
                let mut command = Command::new(&program);
                command.arg("-F").arg("-c").arg(file);
                command
            }),
            ready: Box::new(|_, ports| log_in(ports[0], PROBE, "pw")),
        };
        Self { server: Arc::new(Server::start(folder, recipe)), account }
    }

    /// The port for plain text and STARTTLS.
    pub fn imap_port(&self) -> u16 {
        self.server.port(0)
    }

    /// The port for implicit TLS.
    pub fn imaps_port(&self) -> u16 {
        self.server.port(1)
    }

    /// The certificate authority (PEM) that signed the server's certificate for `localhost` and 127.0.0.1.
    pub fn ca_file(&self) -> PathBuf {
        self.server.path().join("ca.pem")
    }

    /// Adds a user, or changes their password. A running server knows it when this returns.
    pub fn user(&self, name: &str, password: &str) {
        assert!(!name.contains([':', '/', '\n']) && !password.contains([':', '\n', '"', '\\']), "not in a passwd file");
        write_user(&self.server.path(), name, password);
        make_maildir(&self.maildir(name), self.account);
        let limit = Instant::now() + Duration::from_secs(10);
        // Dovecot looks at each file at most once a second.
        while self.server.is_running() {
            match log_in(self.imap_port(), name, password) {
                Ok(()) => return,
                Err(fault) => assert!(Instant::now() < limit, "{name} cannot log in: {fault}\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Puts a message into a user's folder (`INBOX`, `Archive/2026` …) as an unseen one; its file. The folder is made
    /// where it is not there yet.
    pub fn deliver(&self, user: &str, folder: &str, message: impl AsRef<[u8]>) -> PathBuf {
        let message = message.as_ref();
        let folder = self.folder(user, folder);
        make_maildir(&folder, self.account);
        // The first part orders the messages by the time of their delivery.
        #[expect(clippy::disallowed_methods, reason = "the servers of a test live in the machine's time")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        let sequence = DELIVERIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("{seconds}.M{sequence:06}R{:016x}.testkit,S={}", random(), message.len());
        let unfinished = folder.join("tmp").join(&name);
        fs::write(&unfinished, message).expect("it is our own folder");
        self.account.own(&unfinished);
        let delivered = folder.join("new").join(&name);
        fs::rename(&unfinished, &delivered).expect("same file system");
        delivered
    }

    /// The user's Maildir, which is also their INBOX.
    pub fn maildir(&self, user: &str) -> PathBuf {
        self.home(user).join("Maildir")
    }

    /// Where a folder's `cur`, `new` and `tmp` are.
    pub fn folder(&self, user: &str, folder: &str) -> PathBuf {
        let maildir = self.maildir(user);
        if folder.eq_ignore_ascii_case("INBOX") {
            return maildir;
        }
        assert!(!folder.contains('.'), "Maildir++ separates by dots on disk, so a folder's name cannot hold one");
        maildir.join(format!(".{}", modified_utf7(folder).replace('/', ".")))
    }

    fn home(&self, user: &str) -> PathBuf {
        self.server.path().join("mail").join(user)
    }
}

static DELIVERIES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

fn make_maildir(maildir: &Path, account: Account) {
    let home = maildir.parent().expect("a Maildir is in a home");
    let parts = ["cur", "new", "tmp"].map(|part| maildir.join(part));
    for folder in home.ancestors().take(2).chain([maildir]).chain(parts.iter().map(PathBuf::as_path)) {
        if !folder.exists() {
            fs::create_dir_all(folder).expect("it is our own folder");
            account.own(folder);
        }
    }
    if maildir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
        let mark = maildir.join("maildirfolder");
        fs::write(&mark, b"").expect("it is our own folder");
        account.own(&mark);
    }
}

/// A passwd file per user: what the server has read of one user does not hide another who came later.
fn write_user(folder: &Path, name: &str, password: &str) {
    let unfinished = folder.join("user.unfinished");
    fs::write(&unfinished, format!("{name}:{{PLAIN}}{password}\n")).expect("it is our own folder");
    fs::rename(&unfinished, folder.join("users").join(name)).expect("same file system");
}

fn log_in(port: u16, name: &str, password: &str) -> Result<(), String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let commands = format!("a LOGIN \"{name}\" \"{password}\"\r\nb LOGOUT\r\n");
    (&stream).write_all(commands.as_bytes()).map_err(|e| e.to_string())?;
    for line in BufReader::new(&stream).lines() {
        let line = line.map_err(|e| e.to_string())?;
        if let Some(answer) = line.strip_prefix("a ") {
            return if answer.starts_with("OK") { Ok(()) } else { Err(line) };
        }
    }
    Err("it closed the connection".to_owned())
}

fn configuration(folder: &Path, ports: &[u16], account: Account) -> String {
    let (uid, gid) = account.ids();
    let folder = folder.display();
    let mut text = format!(
        "
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_cache_size = 0
mail_max_userip_connections = 0
mail_location = maildir:~/Maildir
mail_fsync = never
first_valid_uid = 1
first_valid_gid = 1
shutdown_clients = yes
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users/%u
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Sent {{
    special_use = \\Sent
    auto = create
  }}
  mailbox Trash {{
    special_use = \\Trash
    auto = create
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {}
  }}
  inet_listener imaps {{
    port = {}
    ssl = yes
  }}
}}
",
        ports[0], ports[1]
    );
    if !account.is_switched() {
        // Without root there is nobody to change to and nothing to lock oneself into.
        let own = |what: &str| run(Command::new("id").arg(what), b"").trim().to_owned();
        let (user, group) = (own("-un"), own("-gn"));
        write!(
            text,
            "
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
}}
"
        )
        .expect("a String takes everything");
    }
    text
}

/// A certificate authority, and a server certificate that it signed.
pub(crate) fn certificates(folder: &Path) {
    let openssl = require(&["openssl"], "openssl");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("it is our own folder");
    write(
        "openssl.cnf",
        "[req]\ndistinguished_name = dn\nprompt = no\nx509_extensions = ca\n[dn]\nCN = Redress test authority\n\
         [ca]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n\
         [server]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n\
         extendedKeyUsage = serverAuth\nsubjectAltName = DNS:localhost,IP:127.0.0.1\n",
    );
    let openssl = |arguments: &str| {
        run(Command::new(&openssl).args(arguments.split(' ')).env_remove("OPENSSL_CONF").current_dir(folder), b"");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config openssl.cnf";
    openssl(&format!("req -x509 {key} -days 3650 -keyout ca.key -out ca.pem"));
    openssl(&format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 3650 -extfile openssl.cnf \
         -extensions server -out server.pem",
    );
}

/// A mailbox name as IMAP4rev1 and Maildir++ write it (RFC 3501 § 5.1.3).
fn modified_utf7(name: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    fn flush(units: &mut Vec<u16>, out: &mut String) {
        if units.is_empty() {
            return;
        }
        let bytes: Vec<u8> = units.drain(..).flat_map(u16::to_be_bytes).collect();
        out.push('&');
        for chunk in bytes.chunks(3) {
            let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            for digit in 0..=chunk.len() {
                out.push(char::from(DIGITS[(word >> (18 - 6 * digit) & 63) as usize]));
            }
        }
        out.push('-');
    }
    let (mut out, mut units) = (String::new(), Vec::new());
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut units, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
        }
    }
    flush(&mut units, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::modified_utf7;

    #[test]
    fn folder_names_are_written_as_in_the_rfc() {
        assert_eq!(modified_utf7("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(modified_utf7("Entwürfe & Rest"), "Entw&APw-rfe &- Rest");
    }
}
