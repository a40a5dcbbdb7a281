//! Systems are a controller's real databases and mailboxes, with people in them, and a way in that does not pass through
//! the connectors: `psql`, `mariadb`, the files themselves.

use super::process::Folder;
use redress_testkit::{Dovecot, Mariadb, Postgres};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable from which controllers' files take the password of every system.
pub(crate) const PASSWORD_VARIABLE: &str = "DSR_PASSWORD";
/// The name of each database.
const DATABASE: &str = "shop";
/// The mailbox's user.
const MAILBOX: &str = "support";

/// Which kind of system; each has one, named like its connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Postgres,
    Mysql,
    Sqlite,
    Imap,
    Maildir,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Postgres, Self::Mysql, Self::Sqlite, Self::Imap, Self::Maildir];
    pub(crate) const SQL: [Self; 3] = [Self::Postgres, Self::Mysql, Self::Sqlite];

    /// The system's name, which is its connector's too.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
            Self::Imap => "imap",
            Self::Maildir => "maildir",
        }
    }

    pub(crate) const fn is_sql(self) -> bool {
        matches!(self, Self::Postgres | Self::Mysql | Self::Sqlite)
    }
}

/// Somebody who is in the systems.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// Ours, in every record of the person; no identifier.
    pub(crate) key: String,
    /// The e-mail address in its normal form.
    pub(crate) email: String,
    pub(crate) name: String,
    /// E.164.
    pub(crate) phone: String,
}

impl Person {
    /// Somebody with this local part in their address.
    pub(crate) fn new(local: &str) -> Self {
        Self::with_email(local, format!("{local}@shop.example"))
    }

    /// Somebody with this key and this address.
    pub(crate) fn with_email(key: &str, email: String) -> Self {
        // FNV-1a: a number of one's own.
        let hash =
            key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Self {
            key: key.to_owned(),
            email,
            name: format!("{} Sampleperson", capitalised(key)),
            phone: format!("+49151{:08}", hash % 100_000_000),
        }
    }

    /// Others whom a loose comparison takes for this person: a longer name, a tag, a longer domain, a shorter one,
    /// letters that look or collate alike, wild cards.
    pub(crate) fn twins(&self) -> Vec<Self> {
        let (local, domain) = self.email.split_once('@').expect("an address");
        let swapped = |pairs: &[(char, char)]| {
            let (from, to) = pairs.iter().find(|(from, _)| local.contains(*from)).expect("a letter that has a twin");
            local.replacen(*from, &to.to_string(), 1)
        };
        let accent = swapped(&[('a', 'á'), ('e', 'é'), ('o', 'ö'), ('i', 'í'), ('u', 'ü')]);
        let look_alike = swapped(&[('a', 'а'), ('e', 'е'), ('o', 'о'), ('p', 'р')]);
        let addresses = [
            format!("jo{local}@{domain}"),
            format!("{local}+x@{domain}"),
            format!("{local}@{domain}.test"),
            format!("{local}@{}", &domain[..domain.len() - 1]),
            format!("{accent}@{domain}"),
            format!("{look_alike}@{domain}"),
            format!("_{}@{domain}", &local[1..]),
            format!("%@{domain}"),
            format!("{local}.{local}@{domain}"),
        ];
        let mut twins: Vec<Self> =
            (0..).zip(addresses).map(|(i, email)| Self::with_email(&format!("{}-twin{i}", self.key), email)).collect();
        // Whoever has the person's address for a name is still somebody else.
        twins[0].name.clone_from(&self.email);
        twins
    }

    pub(crate) fn customer_id(&self) -> String {
        format!("C-{}", self.key)
    }

    /// The phone number as people in the country write it.
    fn national_phone(&self) -> String {
        let digits = &self.phone[3..];
        format!("0{} {}", &digits[..3], &digits[3..])
    }

    /// The body of a submission of this type, by e-mail address.
    pub(crate) fn request(&self, kind: &str) -> Value {
        body(kind, &self.email)
    }

    pub(crate) fn access(&self) -> Value {
        self.request("access")
    }

    pub(crate) fn deletion(&self) -> Value {
        self.request("deletion")
    }

    pub(crate) fn correction(&self, field: &str, value: &str) -> Value {
        let mut body = self.request("correction");
        body["corrections"] = json!([{ "field": field, "value": value }]);
        body
    }
}

/// The body of a submission of this type for an e-mail address.
pub(crate) fn body(kind: &str, email: &str) -> Value {
    json!({ "type": kind, "subject": { "identifiers": [{ "type": "email", "value": email }] } })
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Every record of every system, by the key of the person it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Snapshot(pub(crate) BTreeMap<String, Vec<String>>);

impl Snapshot {
    /// The records of one person, as `system table column|column…`.
    pub(crate) fn of(&self, person: &Person) -> &[String] {
        self.0.get(&person.key).map_or(&[], Vec::as_slice)
    }

    /// The records of everybody else.
    pub(crate) fn without(&self, people: &[&Person]) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(key, _)| people.iter().all(|p| p.key != **key))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        )
    }
}

/// One controller's systems.
#[derive(Debug)]
pub(crate) struct Systems {
    kinds: Vec<Kind>,
    postgres: Option<Postgres>,
    mariadb: Option<Mariadb>,
    dovecot: Option<Dovecot>,
    folder: Folder,
    next: AtomicU32,
}

const SCHEMA: &str = "
CREATE TABLE customers (id VARCHAR(64) PRIMARY KEY, full_name VARCHAR(200), email VARCHAR(254), phone VARCHAR(40), owner VARCHAR(64));
CREATE INDEX customers_email ON customers (email);
CREATE TABLE addresses (id INTEGER PRIMARY KEY, customer_id VARCHAR(64) NOT NULL REFERENCES customers (id), street VARCHAR(200), owner VARCHAR(64));
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id VARCHAR(64) REFERENCES customers (id), total_cents INTEGER NOT NULL, ship_to VARCHAR(200), owner VARCHAR(64));
CREATE TABLE tickets (id INTEGER PRIMARY KEY, email VARCHAR(254), subject VARCHAR(200), owner VARCHAR(64));
";

/// What is declared of each database. `owner` is the test's own mark and is left alone.
const TABLES: &str = r#"
  [[system.tables]]
  name = "customers"
  key = "id"
  identify = { email = "email", phone = "phone", customer_id = "id" }
  fields = { full_name = "full_name", phone = "phone" }
  on_delete = "delete"

  [[system.tables]]
  name = "addresses"
  key = "id"
  references = { customer_id = "customers.id" }
  on_delete = "delete"

  [[system.tables]]
  name = "orders"
  key = "id"
  references = { customer_id = "customers.id" }
  on_delete = "null"
  columns = ["customer_id", "ship_to"]

  [[system.tables]]
  name = "tickets"
  key = "id"
  identify = { email = "email" }
  on_delete = "delete"
"#;

impl Systems {
    /// One of each kind, empty.
    pub(crate) async fn all() -> Self {
        Self::of(&Kind::ALL).await
    }

    /// One of each of these kinds, empty.
    pub(crate) async fn of(kinds: &[Kind]) -> Self {
        let has = |kind| kinds.contains(&kind);
        let (postgres, mariadb, dovecot) = tokio::join!(
            async { if has(Kind::Postgres) { Some(Postgres::start().await) } else { None } },
            async { if has(Kind::Mysql) { Some(Mariadb::start().await) } else { None } },
            async { if has(Kind::Imap) { Some(Dovecot::start().await) } else { None } },
        );
        let folder = Folder::new();
        let systems = Self { kinds: kinds.to_vec(), postgres, mariadb, dovecot, folder, next: AtomicU32::new(1) };
        if let Some(postgres) = &systems.postgres {
            postgres.database(DATABASE).await;
        }
        if let Some(mariadb) = &systems.mariadb {
            mariadb.database(DATABASE).await;
        }
        if let Some(dovecot) = &systems.dovecot {
            dovecot.user(MAILBOX, "pw");
        }
        if has(Kind::Sqlite) {
            std::fs::write(systems.sqlite_file(), "").expect("it is our own folder");
        }
        if has(Kind::Maildir) {
            for folder in ["", ".Archive"] {
                for part in ["cur", "new", "tmp"] {
                    std::fs::create_dir_all(systems.maildir().join(folder).join(part)).expect("it is our own folder");
                }
            }
        }
        for kind in systems.sql_kinds() {
            systems.sql(kind, SCHEMA).await;
        }
        systems
    }

    fn sql_kinds(&self) -> Vec<Kind> {
        self.kinds.iter().copied().filter(|kind| kind.is_sql()).collect()
    }

    /// The PostgreSQL server; the database is `shop`.
    pub(crate) fn postgres(&self) -> &Postgres {
        self.postgres.as_ref().expect("a PostgreSQL system was asked for")
    }

    /// The MariaDB server; the database is `shop`.
    pub(crate) fn mariadb(&self) -> &Mariadb {
        self.mariadb.as_ref().expect("a MariaDB system was asked for")
    }

    /// The mail server; the user is `support`.
    pub(crate) fn dovecot(&self) -> &Dovecot {
        self.dovecot.as_ref().expect("an IMAP system was asked for")
    }

    /// The file of the SQLite system.
    pub(crate) fn sqlite_file(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    /// The folder of the Maildir system.
    pub(crate) fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// Where the messages of a mail system lie.
    fn mail_root(&self, kind: Kind) -> PathBuf {
        if kind == Kind::Imap { self.dovecot().maildir(MAILBOX) } else { self.maildir() }
    }

    /// A controller's file with all systems.
    pub(crate) fn toml(&self, controller: &str) -> String {
        self.toml_with(controller, "")
    }

    /// The same, with further lines about the controller.
    pub(crate) fn toml_with(&self, controller: &str, lines: &str) -> String {
        let head = controller_toml(controller, lines);
        self.kinds.iter().fold(head, |toml, kind| toml + &self.system_toml(*kind))
    }

    /// The `[[system]]` of one kind.
    pub(crate) fn system_toml(&self, kind: Kind) -> String {
        let (family, settings) = match kind {
            Kind::Postgres => ("crm", server(self.postgres().port())),
            Kind::Mysql => ("shop", server(self.mariadb().port())),
            Kind::Sqlite => ("marketing", format!("{{ path = {} }}", quoted(&self.sqlite_file()))),
            Kind::Imap => (
                "email",
                format!(
                    "{{ host = \"localhost\", port = {}, tls = \"implicit\", ca_file = {}, username = {MAILBOX:?} }}",
                    self.dovecot().imaps_port(),
                    quoted(&self.dovecot().ca_file())
                ),
            ),
            Kind::Maildir => ("email", format!("{{ path = {} }}", quoted(&self.maildir()))),
        };
        let mut toml = format!(
            "\n[[system]]\nname = {0:?}\nconnector = {0:?}\nfamily = {family:?}\nsettings = {settings}\n",
            kind.name()
        );
        if !matches!(kind, Kind::Sqlite | Kind::Maildir) {
            let _ = writeln!(toml, "secrets = {{ password = {{ env = {PASSWORD_VARIABLE:?} }} }}");
        }
        let correction = if kind.is_sql() { "\"correction\", " } else { "" };
        let _ = writeln!(toml, "allow = [\"access\", {correction}\"deletion\"]");
        if kind.is_sql() {
            toml += TABLES;
        }
        toml
    }

    /// Puts these people into every system: in each database a customer, an address, two orders and two tickets, in each
    /// mailbox a message from them and one to them, all in different spellings of their address.
    pub(crate) async fn fill(&self, people: &[Person]) {
        for kind in self.sql_kinds() {
            self.sql(kind, &self.rows(people)).await;
        }
        for person in people {
            for kind in self.kinds.iter().copied().filter(|kind| !kind.is_sql()) {
                self.write(kind, person);
            }
        }
    }

    fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn rows(&self, people: &[Person]) -> String {
        let mut script = String::from("BEGIN;");
        for person in people {
            let quoted = |text: &str| text.replace('\'', "''");
            let (key, email, name) = (&person.key, quoted(&person.email), quoted(&person.name));
            let (id, phone) = (person.customer_id(), person.national_phone());
            let stored = capitalised(&email).replace("@shop", "@Shop");
            let upper = email.to_ascii_uppercase();
            let n = self.next.fetch_add(5, Ordering::Relaxed);
            let _ = write!(
                script,
                "INSERT INTO customers VALUES ('{id}', '{name}', '{stored}', '{phone}', '{key}');
                 INSERT INTO addresses VALUES ({n}, '{id}', '{n} Sample Street', '{key}');
                 INSERT INTO orders VALUES ({n}, '{id}', {n}99, '{name}, {n} Sample Street', '{key}'), ({n} + 1, '{id}', {n}50, NULL, '{key}');
                 INSERT INTO tickets VALUES ({n}, '{email}', 'Where is my parcel?', '{key}'), ({n} + 1, '{upper}', 'Thank you', '{key}');"
            );
        }
        script + "COMMIT;"
    }

    fn write(&self, kind: Kind, person: &Person) {
        let Person { key, email, name, .. } = person;
        let stored = capitalised(email);
        let letters = [
            (
                "INBOX",
                format!("From: \"{name}\" <{stored}>\r\nTo: Support <support@acme.example>\r\n"),
                "Where is my parcel?",
            ),
            (
                "Archive",
                format!("From: Support <support@acme.example>\r\nTo: somebody@else.example,\r\n\t<{email}>\r\n"),
                "Your order",
            ),
        ];
        for (folder, addresses, subject) in letters {
            let n = self.number();
            let message = format!(
                "{addresses}Subject: {subject}\r\nMessage-ID: <{n}@mail.acme.example>\r\nDate: Thu, 19 Nov 2026 10:00:00 +0100\r\n\
                 Content-Type: text/plain; charset=utf-8\r\n\r\nowner={key}\r\n"
            );
            if kind == Kind::Imap {
                self.dovecot().deliver(MAILBOX, folder, message);
            } else {
                let place = if folder == "INBOX" { self.maildir() } else { self.maildir().join(format!(".{folder}")) };
                std::fs::write(place.join("cur").join(format!("1700000000.M{n:06}.acme:2,S")), message)
                    .expect("it is our own folder");
            }
        }
    }

    /// Runs a script in one of the databases, past the connector.
    pub(crate) async fn sql(&self, kind: Kind, script: &str) {
        match kind {
            Kind::Postgres => self.postgres().sql(DATABASE, script).await,
            Kind::Mysql => self.mariadb().sql(DATABASE, script).await,
            Kind::Sqlite => {
                let mut connection = self.sqlite().await;
                let done = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await;
                done.unwrap_or_else(|error| panic!("{error}: {script}"));
                connection.close().await.expect("nothing is open");
            }
            Kind::Imap | Kind::Maildir => panic!("{} speaks no SQL", kind.name()),
        }
    }

    /// The rows of a query in one of the databases, past the connector. NULL shows differently: coalesce.
    pub(crate) async fn query(&self, kind: Kind, sql: &str) -> Vec<Vec<String>> {
        let (text, separator) = match kind {
            Kind::Postgres => (self.postgres().query(DATABASE, sql).await, '|'),
            Kind::Mysql => (self.mariadb().query(DATABASE, sql).await, '\t'),
            Kind::Sqlite => {
                let mut connection = self.sqlite().await;
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
                let rows = rows.unwrap_or_else(|error| panic!("{error}: {sql}"));
                connection.close().await.expect("nothing is open");
                let cell =
                    |row: &sqlx::sqlite::SqliteRow, i| row.get_unchecked::<Option<String>, _>(i).unwrap_or_default();
                return rows.iter().map(|row| (0..row.len()).map(|i| cell(row, i)).collect()).collect();
            }
            Kind::Imap | Kind::Maildir => panic!("{} speaks no SQL", kind.name()),
        };
        text.lines().map(|line| line.split(separator).map(str::to_owned).collect()).collect()
    }

    async fn sqlite(&self) -> SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.sqlite_file()).foreign_keys(true);
        options.busy_timeout(std::time::Duration::from_secs(10)).connect().await.expect("the file opens")
    }

    /// How many records one system has under an e-mail address, in any case of its letters.
    pub(crate) async fn count(&self, kind: Kind, email: &str) -> u64 {
        let is = |stored: &str| stored.to_lowercase() == email.to_lowercase();
        if !kind.is_sql() {
            let mut found = 0;
            for message in messages(&self.mail_root(kind)) {
                found += u64::from(correspondents(&message).iter().any(|address| is(address)));
            }
            return found;
        }
        let rows = self
            .query(
                kind,
                "SELECT email, 1 + (SELECT count(*) FROM addresses a WHERE a.customer_id = c.id)
                   + (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c WHERE email IS NOT NULL
                 UNION ALL SELECT email, 1 FROM tickets WHERE email IS NOT NULL",
            )
            .await;
        rows.iter().filter(|row| is(&row[0])).map(|row| row[1].parse::<u64>().expect("a number")).sum()
    }

    /// How many records all systems together have under an e-mail address.
    pub(crate) async fn census(&self, email: &str) -> u64 {
        let mut sum = 0;
        for kind in &self.kinds {
            sum += self.count(*kind, email).await;
        }
        sum
    }

    /// Everything that is in all systems.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        const TABLES: [(&str, &str); 4] = [
            ("customers", "id, coalesce(full_name, '-'), coalesce(email, '-'), coalesce(phone, '-')"),
            ("addresses", "id, customer_id, coalesce(street, '-')"),
            ("orders", "id, coalesce(customer_id, '-'), total_cents, coalesce(ship_to, '-')"),
            ("tickets", "id, coalesce(email, '-'), coalesce(subject, '-')"),
        ];
        let mut snapshot = Snapshot::default();
        let mut add = |owner: &str, record: String| snapshot.0.entry(owner.to_owned()).or_default().push(record);
        for kind in &self.kinds {
            if kind.is_sql() {
                for (table, columns) in TABLES {
                    for row in self.query(*kind, &format!("SELECT owner, {columns} FROM {table} ORDER BY id")).await {
                        add(&row[0], format!("{} {table} {}", kind.name(), row[1..].join("|")));
                    }
                }
            } else {
                let mut all = messages(&self.mail_root(*kind));
                all.sort();
                for message in all {
                    let owner = message.rsplit_once("owner=").expect("every message is somebody's").1.trim();
                    add(owner, format!("{} message {message}", kind.name()));
                }
            }
        }
        snapshot
    }
}

/// The `[controller]` of a file.
pub(crate) fn controller_toml(controller: &str, lines: &str) -> String {
    format!("[controller]\nname = {controller:?}\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\n{lines}\n")
}

/// A path as a text of TOML.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

fn server(port: u16) -> String {
    format!(
        "{{ host = \"127.0.0.1\", port = {port}, database = {DATABASE:?}, username = \"dsr\", connect_timeout_seconds = 2 }}"
    )
}

/// The text of every message in a Maildir tree.
fn messages(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(messages(&path));
        } else if folder.ends_with("cur") || folder.ends_with("new") {
            // A mail program may move it in this moment; it then shows under its new name.
            found.extend(std::fs::read_to_string(&path));
        }
    }
    found
}

/// Everybody whom a message is from or to.
fn correspondents(message: &str) -> Vec<String> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n\t", " ");
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let addresses =
        lines.filter(|(name, _)| matches!(*name, "From" | "To" | "Cc")).flat_map(|(_, value)| value.split(','));
    addresses
        .map(|address| match address.rsplit_once('<') {
            Some((_, rest)) => rest.trim_end().trim_end_matches('>').to_owned(),
            None => address.trim().to_owned(),
        })
        .collect()
}
