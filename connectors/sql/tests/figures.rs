//! What a batch costs on PostgreSQL: statements, time and our own processor time per person.
//!
//! `cargo test --release -p redress-connectors --lib figures -- --ignored --nocapture`

use super::lab::HASH_KEY;
use crate::conformance::{MemoryJournal, MemorySink, subject};
use crate::{Connector, Outcome, Receipt, SystemSpec, TableSpec, Verdict, Work};
use redress_domain::{IdentifierType, Subject, Verb};
use redress_testkit::Postgres;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const SCHEMA: &str = "
CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, full_name text, phone text, birth_date date, created_at timestamptz NOT NULL);
CREATE TABLE addresses (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers(id), street text, city text, postal_code text, country text);
CREATE INDEX addresses_customer ON addresses(customer_id);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers(id), placed_at timestamptz NOT NULL, total_cents bigint NOT NULL, ship_to text, status text NOT NULL);
CREATE INDEX orders_customer ON orders(customer_id);
CREATE TABLE tickets (id bigint PRIMARY KEY, requester_email text NOT NULL, subject text, body text, opened_at timestamptz NOT NULL);
CREATE INDEX tickets_email ON tickets(requester_email);
CREATE TABLE newsletter (id bigint PRIMARY KEY, email text NOT NULL, first_name text, topics text, ip_address text, subscribed_at timestamptz NOT NULL);
CREATE INDEX newsletter_email ON newsletter(email);
INSERT INTO customers SELECT g, 'user'||g||'@example.com', 'Person '||g, '+1555'||lpad(g::text,7,'0'), date '1950-01-01' + (g % 20000), timestamptz '2020-01-01' + (g||' minutes')::interval FROM generate_series(1,100000) g;
INSERT INTO addresses SELECT g, ((g-1) % 100000)+1, g||' Main Street', 'City '||(g%500), lpad((g%99999)::text,5,'0'), (ARRAY['US','DE','FR','GB','ES'])[1+g%5] FROM generate_series(1,150000) g;
INSERT INTO orders SELECT g, ((g-1) % 100000)+1, timestamptz '2022-01-01' + (g||' minutes')::interval, (g*37)%50000, g||' Main Street', (ARRAY['paid','shipped','returned'])[1+g%3] FROM generate_series(1,300000) g;
INSERT INTO tickets SELECT g, 'user'||(((g-1) % 100000)+1)||'@example.com', 'Ticket '||g, repeat('Lorem ipsum dolor sit amet. ',8), timestamptz '2023-01-01' + (g||' minutes')::interval FROM generate_series(1,80000) g;
INSERT INTO newsletter SELECT g, 'user'||g||'@example.com', 'Person', 'news,offers', '10.'||(g%250)||'.'||(g%200)||'.'||(g%199), timestamptz '2021-01-01' + (g||' minutes')::interval FROM generate_series(1,100000) g;
VACUUM ANALYZE;
CREATE EXTENSION pg_stat_statements;";

const TABLES: &str = r#"
[[tables]]
name = "customers"
key = "id"
identify = { email = "email", customer_id = "id" }
on_delete = "CUSTOMERS"
columns = ["email", "full_name"]

[[tables]]
name = "addresses"
key = "id"
references = { customer_id = "customers.id" }
on_delete = "OTHERS"
columns = ["street", "city"]

[[tables]]
name = "orders"
key = "id"
references = { customer_id = "customers.id" }
on_delete = "OTHERS"
columns = ["ship_to"]

[[tables]]
name = "tickets"
key = "id"
identify = { email = "requester_email" }
on_delete = "delete"

[[tables]]
name = "newsletter"
key = "id"
identify = { email = "email" }
on_delete = "delete"
"#;

fn connector(server: &Postgres, customers: &str, others: &str) -> Arc<dyn Connector> {
    #[derive(serde::Deserialize)]
    struct Tables {
        tables: Vec<TableSpec>,
    }
    let tables = TABLES.replace("CUSTOMERS", customers).replace("OTHERS", others);
    let settings = json!({ "host": "127.0.0.1", "port": server.port(), "database": "shop", "username": "dsr" });
    super::lab::connect(&SystemSpec {
        name: "shop".to_owned(),
        connector: "postgres".to_owned(),
        settings: settings.as_object().expect("an object").clone(),
        secrets: BTreeMap::from([("password".to_owned(), "pw".into()), ("hash_key".to_owned(), HASH_KEY.into())]),
        tables: toml::from_str::<Tables>(&tables).expect("valid TOML").tables,
        max_matches: 25,
        base_dir: None,
        network: crate::Network::default(),
    })
}

/// Processor time of this process and of the server's, in seconds.
fn cpu(server: &Postgres) -> (f64, f64) {
    let stat = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        let cells: Vec<String> =
            text.rsplit(')').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let ticks = |i: usize| cells.get(i).and_then(|c| c.parse::<f64>().ok()).unwrap_or(0.0);
        (cells.get(1).cloned().unwrap_or_default(), (ticks(11) + ticks(12)) / 100.0)
    };
    let port = server.port().to_string();
    let mut postmaster = String::new();
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if command.contains("postgres") {
            let (parent, time) = stat(&entry.path());
            if command.split('\0').any(|part| part == port) {
                postmaster = entry.file_name().to_string_lossy().into_owned();
            }
            processes.push((parent, time));
        }
    }
    let theirs = processes.iter().filter(|(parent, _)| *parent == postmaster).map(|(_, time)| time).sum();
    (stat(std::path::Path::new("/proc/self")).1, theirs)
}

struct Meter<'a> {
    server: &'a Postgres,
    began: Instant,
    cpu: (f64, f64),
}

impl<'a> Meter<'a> {
    async fn start(server: &'a Postgres) -> Self {
        server.query("shop", "SELECT pg_stat_statements_reset()").await;
        Self { server, cpu: cpu(server), began: Instant::now() }
    }

    async fn tell(self, what: &str, batch: usize, persons: usize) {
        let (time, after) = (self.began.elapsed().as_secs_f64(), cpu(self.server));
        let calls = "SELECT sum(calls) FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'";
        let calls: f64 = self.server.query("shop", calls).await.parse().unwrap_or(0.0);
        let n = u32::try_from(persons).map_or(1.0, f64::from);
        eprintln!(
            "{what:24} batch {batch:4}: {:7.2} statements, {:7.3} ms own CPU, {:7.3} ms server CPU a person; {:7.0} persons/s",
            calls / n,
            (after.0 - self.cpu.0) * 1000.0 / n,
            (after.1 - self.cpu.1) * 1000.0 / n,
            n / time
        );
        if batch == 200 {
            let top = "SELECT calls || ' x ' || round(mean_exec_time::numeric, 1) || ' ms: ' || left(query, 150) FROM pg_stat_statements \
                       WHERE query NOT LIKE '%pg_stat_statements%' ORDER BY total_exec_time DESC LIMIT 6";
            eprintln!("{}", self.server.query("shop", top).await);
        }
    }
}

fn people(from: usize, n: usize) -> Vec<Subject> {
    let person = |i: usize| {
        let (id, email) = (i.to_string(), format!("user{i}@example.com"));
        let all = [(IdentifierType::Email, email.as_str()), (IdentifierType::CustomerId, id.as_str())];
        subject(&all[..=i % 2])
    };
    (from..from + n).map(person).collect()
}

fn item<'a>(keys: &'a [String], subjects: &'a [Subject], i: usize, prior: Option<&'a Receipt>) -> Work<'a> {
    Work { key: &keys[i], subject: &subjects[i], corrections: &[], prior }
}

async fn figures(server: &Postgres, what: &str, connector: &Arc<dyn Connector>, next: &mut usize) {
    for (batch, rounds) in [(1, 5), (10, 10), (100, 5), (200, 5), (300, 5)] {
        // The first calls make connections, plans and caches; they are not counted.
        for (warm, rounds) in [(true, 1), (false, rounds)] {
            let subjects = people(*next, batch * rounds);
            *next += subjects.len();
            let keys: Vec<String> = (0..subjects.len()).map(|i| i.to_string()).collect();
            let meter = Meter::start(server).await;
            for start in (0..subjects.len()).step_by(batch) {
                let work: Vec<Work<'_>> = (start..start + batch).map(|i| item(&keys, &subjects, i, None)).collect();
                let answers = connector.export(&work, &MemorySink::default()).await;
                assert!(answers.iter().all(|o| matches!(o, Outcome::Done(d) if d.found > 0)), "{answers:?}");
            }
            if !warm {
                meter.tell(&format!("{what}: export"), batch, subjects.len()).await;
            }
            let meter = Meter::start(server).await;
            for start in (0..subjects.len()).step_by(batch) {
                let work: Vec<Work<'_>> = (start..start + batch).map(|i| item(&keys, &subjects, i, None)).collect();
                let answers = connector.erase(&work, &MemoryJournal::default()).await;
                let receipts: Vec<Receipt> = answers
                    .into_iter()
                    .map(|outcome| match outcome {
                        Outcome::Done(done) if done.changed > 0 => done.receipt.expect("a receipt"),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                let work: Vec<Work<'_>> =
                    (0..batch).map(|i| item(&keys, &subjects, start + i, Some(&receipts[i]))).collect();
                let verdicts = connector.verify(Verb::Erase, &work).await;
                assert!(verdicts.iter().all(|v| matches!(v, Verdict::Confirmed(_))), "{verdicts:?}");
            }
            if !warm {
                meter.tell(&format!("{what}: erase, verify"), batch, subjects.len()).await;
            }
        }
    }
}

#[tokio::test]
#[ignore = "a measurement of a minute or two"]
async fn what_a_person_costs_on_postgres() {
    let server = Postgres::start_with(&["shared_preload_libraries=pg_stat_statements", "shared_buffers=256MB"]).await;
    server.database("shop").await;
    server.sql("shop", SCHEMA).await;
    let mut next = 1;
    figures(&server, "delete all", &connector(&server, "delete", "delete"), &mut next).await;
    figures(&server, "hash, null, delete", &connector(&server, "hash", "null"), &mut next).await;
}
