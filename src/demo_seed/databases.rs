//! The demo's databases: a CRM with real foreign keys, and a newsletter.

use super::people::{DemoPerson, renoted, respelled};
use super::random::Random;
use super::{CRM, NEWSLETTER, SeedError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use std::path::Path;

const CRM_SCHEMA: &str = "
CREATE TABLE customers (id TEXT PRIMARY KEY, full_name TEXT NOT NULL, email TEXT, phone TEXT, created_on TEXT NOT NULL);
CREATE INDEX customers_email ON customers (lower(email));
CREATE TABLE addresses (id INTEGER PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers (id), kind TEXT NOT NULL,
  street TEXT NOT NULL, town TEXT NOT NULL);
CREATE INDEX addresses_customer ON addresses (customer_id);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id TEXT REFERENCES customers (id), ordered_on TEXT NOT NULL,
  total_cents INTEGER NOT NULL, ship_to TEXT);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE TABLE tickets (id INTEGER PRIMARY KEY, email TEXT NOT NULL, opened_on TEXT NOT NULL, subject TEXT NOT NULL,
  body TEXT NOT NULL);
CREATE INDEX tickets_email ON tickets (lower(email));
";

const NEWSLETTER_SCHEMA: &str = "
CREATE TABLE subscribers (id INTEGER PRIMARY KEY, email TEXT NOT NULL, full_name TEXT, phone TEXT, consent_on TEXT NOT NULL);
CREATE INDEX subscribers_email ON subscribers (lower(email));
CREATE TABLE events (id INTEGER PRIMARY KEY, subscriber_id INTEGER NOT NULL REFERENCES subscribers (id), kind TEXT NOT NULL,
  happened_on TEXT NOT NULL, campaign TEXT NOT NULL);
CREATE INDEX events_subscriber ON events (subscriber_id);
";

/// Writes both databases, each in one transaction.
pub(super) async fn write(folder: &Path, people: &[DemoPerson], random: &mut Random) -> Result<(), SeedError> {
    let path = folder.join(CRM);
    crm(&path, people, random).await.map_err(|source| SeedError::Database { path, source })?;
    let path = folder.join(NEWSLETTER);
    newsletter(&path, people, random).await.map_err(|source| SeedError::Database { path, source })
}

/// Opens a sample database.
pub(super) async fn open(path: &Path, create: bool) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Off)
        .connect()
        .await
}

async fn crm(path: &Path, people: &[DemoPerson], random: &mut Random) -> Result<(), sqlx::Error> {
    let mut connection = open(path, true).await?;
    let mut tx = connection.begin().await?;
    sqlx::raw_sql(CRM_SCHEMA).execute(&mut *tx).await?;
    for person in people {
        sqlx::query("INSERT INTO customers (id, full_name, email, phone, created_on) VALUES (?, ?, ?, ?, ?)")
            .bind(&person.customer_id)
            .bind(&person.full_name)
            .bind(respelled(&person.email, random))
            .bind(renoted(&person.phone, random))
            .bind(day(random))
            .execute(&mut *tx)
            .await?;
        let kinds: &[&str] = if random.percent(30) { &["billing", "shipping"] } else { &["billing"] };
        for kind in kinds {
            sqlx::query("INSERT INTO addresses (customer_id, kind, street, town) VALUES (?, ?, ?, ?)")
                .bind(&person.customer_id)
                .bind(*kind)
                .bind(&person.street)
                .bind(&person.town)
                .execute(&mut *tx)
                .await?;
        }
        for _ in 0..random.below(5) {
            order(&mut tx, Some(person), random).await?;
        }
        for _ in 0..random.below(3) {
            ticket(&mut tx, person, random).await?;
        }
        // Sales over the counter are nobody's.
        if random.percent(10) {
            order(&mut tx, None, random).await?;
        }
    }
    tx.commit().await?;
    connection.close().await
}

async fn order(tx: &mut SqliteConnection, person: Option<&DemoPerson>, random: &mut Random) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO orders (customer_id, ordered_on, total_cents, ship_to) VALUES (?, ?, ?, ?)")
        .bind(person.map(|p| p.customer_id.as_str()))
        .bind(day(random))
        .bind(i64::try_from(random.below(20_000) + 500).expect("a small number"))
        .bind(person.map(|p| format!("{}, {}, {}", p.full_name, p.street, p.town)))
        .execute(tx)
        .await?;
    Ok(())
}

async fn ticket(tx: &mut SqliteConnection, person: &DemoPerson, random: &mut Random) -> Result<(), sqlx::Error> {
    const SUBJECTS: &[&str] =
        &["Where is my parcel?", "The lamp flickers", "Wrong size", "Invoice, please", "Thank you!"];
    sqlx::query("INSERT INTO tickets (email, opened_on, subject, body) VALUES (?, ?, ?, ?)")
        .bind(respelled(&person.email, random))
        .bind(day(random))
        .bind(*random.pick(SUBJECTS))
        .bind(format!("Hello,\nplease look into this.\n{}", person.full_name))
        .execute(tx)
        .await?;
    Ok(())
}

async fn newsletter(path: &Path, people: &[DemoPerson], random: &mut Random) -> Result<(), sqlx::Error> {
    const KINDS: &[&str] = &["delivered", "opened", "clicked"];
    let mut connection = open(path, true).await?;
    let mut tx = connection.begin().await?;
    sqlx::raw_sql(NEWSLETTER_SCHEMA).execute(&mut *tx).await?;
    for person in people {
        if random.percent(30) {
            continue;
        }
        let subscriber =
            sqlx::query("INSERT INTO subscribers (email, full_name, phone, consent_on) VALUES (?, ?, ?, ?)")
                .bind(respelled(&person.email, random))
                .bind(&person.full_name)
                .bind(random.percent(50).then(|| renoted(&person.phone, random)))
                .bind(day(random))
                .execute(&mut *tx)
                .await?
                .last_insert_rowid();
        for _ in 0..random.below(6) {
            sqlx::query("INSERT INTO events (subscriber_id, kind, happened_on, campaign) VALUES (?, ?, ?, ?)")
                .bind(subscriber)
                .bind(*random.pick(KINDS))
                .bind(day(random))
                .bind(format!("2026-{:02}", random.below(10) + 1))
                .execute(&mut *tx)
                .await?;
        }
    }
    tx.commit().await?;
    connection.close().await
}

fn day(random: &mut Random) -> String {
    format!("202{}-{:02}-{:02}", random.below(6), random.below(12) + 1, random.below(28) + 1)
}
