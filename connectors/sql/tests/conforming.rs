//! The three connectors pass the suite that every connector passes.

use super::lab::{Kind, Lab, connect};
use crate::Connector;
use crate::conformance::{self, Broken, Person, Target};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

const TABLES: &str = r#"
[[tables]]
name = "customers"
key = "id"
identify = { email = "email", phone = "phone", customer_id = "id" }
fields = { full_name = "full_name" }
on_delete = "delete"

[[tables]]
name = "orders"
key = "id"
references = { customer_id = "customers.id" }
on_delete = "delete"

[[tables]]
name = "notes"
key = "id"
references = { order_id = "orders.id" }
on_delete = "null"
columns = ["body"]
"#;

const SCHEMA: &str = "
CREATE TABLE customers (id VARCHAR(64) PRIMARY KEY, email VARCHAR(254), phone VARCHAR(40), full_name VARCHAR(200));
CREATE TABLE orders (id VARCHAR(64) PRIMARY KEY, customer_id VARCHAR(64) NOT NULL REFERENCES customers (id));
CREATE TABLE notes (id VARCHAR(64) PRIMARY KEY, order_id VARCHAR(64) REFERENCES orders (id), body VARCHAR(200));";

struct Shop {
    lab: Lab,
    people: Mutex<Vec<Person>>,
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[async_trait]
impl Target for Shop {
    async fn seed(&self, people: &[Person]) {
        let mut script = String::from("DELETE FROM notes; DELETE FROM orders; DELETE FROM customers;");
        for (i, person) in people.iter().enumerate() {
            let Person { customer_id, email, phone, full_name } = person;
            let values = [customer_id, email, phone, full_name].map(|value| text(value)).join(", ");
            let rows = format!(
                "INSERT INTO customers VALUES ({values});
                 INSERT INTO orders VALUES ('o{i}a', {id}), ('o{i}b', {id});
                 INSERT INTO notes VALUES ('n{i}', 'o{i}a', 'rings twice');",
                id = text(customer_id)
            );
            script.push_str(&rows);
        }
        self.lab.sql(&script).await;
        *self.people.lock().unwrap_or_else(PoisonError::into_inner) = people.to_vec();
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.lab.connector(TABLES)
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        let mut spec = self.lab.spec(TABLES);
        spec.max_matches = 1;
        Some(connect(&spec))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let mut snapshot = BTreeMap::new();
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rows = |sql: &'static str| async { self.lab.query(sql).await };
        let (customers, orders) = (rows("SELECT email FROM customers").await, rows("SELECT id FROM orders").await);
        let notes = rows("SELECT id FROM notes WHERE body IS NOT NULL").await;
        for (i, person) in people.iter().enumerate() {
            let ids = [format!("o{i}a"), format!("o{i}b"), format!("n{i}")];
            let theirs = orders.iter().chain(&notes).filter(|id| ids.contains(*id)).count();
            let own = usize::from(customers.contains(&person.email));
            *snapshot.entry(person.email.clone()).or_default() += (own + theirs) as u64;
        }
        snapshot
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        let mut spec = self.lab.spec(TABLES);
        if self.lab.kind == Kind::Sqlite {
            return None;
        }
        spec.settings.insert("connect_timeout_seconds".into(), 1.into());
        match how {
            Broken::Unreachable => spec.settings.insert("port".into(), 1.into()).map(drop),
            Broken::WrongPassword => spec.secrets.insert("password".into(), "hunter2-canary".into()).map(drop),
        };
        Some(connect(&spec))
    }

    fn correctable(&self) -> Option<&str> {
        Some("full_name")
    }

    async fn read_field(&self, email: &str, _field: &str) -> Option<String> {
        let rows = self.lab.query("SELECT email, full_name FROM customers").await;
        rows.iter().find_map(|row| row.strip_prefix(&format!("{email}|"))).map(str::to_owned)
    }

    fn secrets(&self) -> Vec<String> {
        vec![super::lab::HASH_KEY.to_owned(), "hunter2-canary".to_owned()]
    }
}

async fn conforms(kind: Kind) {
    let lab = Lab::new(kind).await;
    lab.sql(SCHEMA).await;
    conformance::run(&Shop { lab, people: Mutex::default() }).await;
}

#[tokio::test]
async fn sqlite_conforms() {
    conforms(Kind::Sqlite).await;
}

#[tokio::test]
async fn postgres_conforms() {
    conforms(Kind::Postgres).await;
}

#[tokio::test]
async fn mariadb_conforms() {
    conforms(Kind::Mariadb).await;
}
