//! The customer database of a bench: a small web shop with 100,000 customers in five tables, the same rows in every run.

use super::servers::{OURS, Postgres};
use anyhow::{Context as _, Result, ensure};
use sqlx::AssertSqlSafe;
use std::ops::Range;
use url::Url;

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
";

const SEED: &str = "
INSERT INTO customers SELECT g, 'user'||g||'@example.com', 'Person '||g, '+1555'||lpad(g::text,7,'0'), date '1950-01-01' + (g % 20000), timestamptz '2020-01-01' + (g||' minutes')::interval FROM generate_series(1,100000) g;
INSERT INTO addresses SELECT g, ((g-1) % 100000)+1, g||' Main Street', 'City '||(g%500), lpad((g%99999)::text,5,'0'), (ARRAY['US','DE','FR','GB','ES'])[1+g%5] FROM generate_series(1,150000) g;
INSERT INTO orders SELECT g, ((g-1) % 100000)+1, timestamptz '2022-01-01' + (g||' minutes')::interval, (g*37)%50000, g||' Main Street', (ARRAY['paid','shipped','returned'])[1+g%3] FROM generate_series(1,300000) g;
INSERT INTO tickets SELECT g, 'user'||(((g-1) % 100000)+1)||'@example.com', 'Ticket '||g, repeat('Lorem ipsum dolor sit amet. ',8), timestamptz '2023-01-01' + (g||' minutes')::interval FROM generate_series(1,80000) g;
INSERT INTO newsletter SELECT g, 'user'||g||'@example.com', 'Person', 'news,offers', '10.'||(g%250)||'.'||(g%200)||'.'||(g%199), timestamptz '2021-01-01' + (g||' minutes')::interval FROM generate_series(1,100000) g;
";

/// How many people the database knows.
pub(super) const PEOPLE: u32 = 100_000;

/// The column by which a person's rows of each table are found.
pub(super) const TABLES: [(&str, &str); 5] = [
    ("addresses", "customer_id"),
    ("orders", "customer_id"),
    ("tickets", "requester_email"),
    ("newsletter", "email"),
    ("customers", "id"),
];

/// A person's address.
pub(super) fn email(person: u32) -> String {
    format!("user{person}@example.com")
}

/// Makes the tables and their rows.
pub(super) async fn load(database: &Postgres) -> Result<()> {
    // One transaction each: a seed that fails halfway is not a customer database.
    database.script(SCHEMA).await.context("the customer database's tables")?;
    database.script(SEED).await.context("the customer database's rows")?;
    // What a database that has been up for a while has done by itself.
    for (table, _) in TABLES {
        database.script(&format!("VACUUM ANALYZE {table}")).await?;
    }
    database.script("CHECKPOINT").await?;
    ensure!(database.number("SELECT count(*) FROM customers").await? == i64::from(PEOPLE), "the seed is not whole");
    Ok(())
}

/// The controller's file: five tables; an erasure deletes the person's rows of each, an access request exports them.
pub(super) fn controller(name: &str, customers: &Url) -> String {
    format!(
        r#"[controller]
name = "{name}"
country = "DE"
timezone = "Europe/Berlin"
region = "eu"

[[system]]
name = "shop"
family = "database"
connector = "postgres"
settings = {{ host = "{host}", port = {port}, database = "{database}", username = "{user}", tls = "disable" }}
secrets = {{ password = {{ env = "BENCH_PASSWORD" }} }}
allow = ["access", "correction", "deletion"]

  [[system.tables]]
  name = "customers"
  key = "id"
  identify = {{ email = "email" }}
  on_delete = "delete"

  [[system.tables]]
  name = "addresses"
  key = "id"
  references = {{ customer_id = "customers.id" }}
  on_delete = "delete"

  [[system.tables]]
  name = "orders"
  key = "id"
  references = {{ customer_id = "customers.id" }}
  on_delete = "delete"

  [[system.tables]]
  name = "tickets"
  key = "id"
  identify = {{ email = "requester_email" }}
  on_delete = "delete"

  [[system.tables]]
  name = "newsletter"
  key = "id"
  identify = {{ email = "email" }}
  on_delete = "delete"
"#,
        host = customers.host_str().unwrap_or("127.0.0.1"),
        port = customers.port().unwrap_or(5432),
        database = customers.path().trim_start_matches('/'),
        user = customers.username(),
    )
}

/// How many rows of these people are still in the five tables.
pub(super) async fn rows_of(database: &Postgres, people: &Range<u32>) -> Result<i64> {
    let mut rows = 0;
    for (table, column) in TABLES {
        let sql = AssertSqlSafe(format!("{OURS} SELECT count(*) FROM {table} WHERE {column} = ANY($1)"));
        let query = sqlx::query_scalar::<_, i64>(sql);
        let query = if column.ends_with("email") {
            query.bind(people.clone().map(email).collect::<Vec<_>>())
        } else {
            query.bind(people.clone().map(i64::from).collect::<Vec<_>>())
        };
        rows += query.fetch_one(&database.pool).await?;
    }
    Ok(rows)
}
