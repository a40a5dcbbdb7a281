//! An OpenLDAP server that one test owns.

use crate::process::{Account, Folder, Recipe, Server, common, off_thread, require, run};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// OpenLDAP with one directory in an LMDB file, StartTLS on the plain port.
pub struct Slapd {
    server: Arc<Server>,
}

common!(Slapd);

impl Slapd {
    /// The top of the directory; `ou=people` is below it.
    pub const BASE: &'static str = "dc=shop,dc=example";
    /// Who may do everything.
    pub const ADMIN: &'static str = "cn=dsr,dc=shop,dc=example";
    /// Who may read everything but telephone numbers, and is given no more than 500 entries.
    pub const READER: &'static str = "cn=reader,dc=shop,dc=example";

    /// Starts one and waits until it takes connections.
    pub async fn start() -> Self {
        off_thread(Self::launch).await
    }

    fn launch() -> Self {
        let program = require(&["slapd"], "slapd");
        let folder = Folder::new(Account::first_of(&["root"]));
        crate::dovecot::certificates(folder.path());
        fs::create_dir(folder.path().join("data")).expect("it is our own folder");
        fs::write(folder.path().join("slapd.conf"), configuration(folder.path())).expect("it is our own folder");
        let add = ["-T", "add", "-q", "-f", "slapd.conf"];
        run(Command::new(&program).args(add).current_dir(folder.path()), FIRST.as_bytes());
        let recipe = Recipe {
            name: "slapd",
            stop_signal: "TERM",
            kill_signal: "KILL",
            ports: 2,
            command: Box::new(move |folder, ports| {
                let mut command = Command::new(&program);
                let urls = format!("ldap://127.0.0.1:{}/ ldaps://127.0.0.1:{}/", ports[0], ports[1]);
                // With a level of its log it stays in the foreground: what is asked and answered.
                command.args(["-d", "256", "-h", &urls, "-f"]).arg(folder.join("slapd.conf"));
                command
            }),
            ready: Box::new(|_, ports| {
                TcpStream::connect(("127.0.0.1", ports[1])).map(drop).map_err(|e| e.to_string())
            }),
        };
        Self { server: Arc::new(Server::start(folder, recipe)) }
    }

    /// The port for plain text and StartTLS.
    pub fn port(&self) -> u16 {
        self.server.port(0)
    }

    /// The port for implicit TLS.
    pub fn tls_port(&self) -> u16 {
        self.server.port(1)
    }

    /// The certificate authority (PEM) that signed the server's certificate for `localhost` and 127.0.0.1.
    pub fn ca_file(&self) -> PathBuf {
        self.server.path().join("ca.pem")
    }
}

const FIRST: &str = "dn: dc=shop,dc=example
objectClass: dcObject
objectClass: organization
o: Shop
dc: shop

dn: cn=reader,dc=shop,dc=example
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: pw

dn: ou=people,dc=shop,dc=example
objectClass: organizationalUnit
ou: people
";

fn configuration(folder: &Path) -> String {
    format!(
        r#"include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
sizelimit 500
TLSCACertificateFile "{folder}/ca.pem"
TLSCertificateFile "{folder}/server.pem"
TLSCertificateKeyFile "{folder}/server.key"
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw pw
directory "{folder}/data"
maxsize 67108864
dbnosync
index objectClass,mail,employeeNumber,entryUUID eq
access to attrs=userPassword by anonymous auth by * none
access to attrs=telephoneNumber by dn.exact="{reader}" search by * none
access to * by dn.exact="{reader}" read by * none
"#,
        folder = folder.display(),
        base = Slapd::BASE,
        admin = Slapd::ADMIN,
        reader = Slapd::READER,
    )
}
