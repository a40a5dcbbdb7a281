//! Facts about SQL systems. Each holds on SQLite, on PostgreSQL and on MariaDB.

mod conforming;
mod declaring;
mod deriving;
mod erasing;
mod figures;
mod finding;
mod keeping;
mod lab;
mod reading;
mod together;
mod troubling;

use crate::conformance::{MemoryJournal, only, subject};
use crate::{Connector, Done, Outcome, Receipt, Trouble, Verdict, Work};
use lab::{Kind, Lab};
use redress_domain::{IdentifierType, Subject, Verb};
use std::sync::Arc;

/// Makes a test of each fact on SQLite, and for each server one test of all of them, which starts it once.
macro_rules! facts {
    ($($fact:ident)+) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $fact() {
                super::$fact(crate::sql::tests::Lab::new(crate::sql::tests::Kind::Sqlite).await).await;
            })+
        }

        #[tokio::test]
        async fn the_same_holds_on_postgres() {
            $(eprintln!("{}", stringify!($fact));
            $fact(crate::sql::tests::Lab::new(crate::sql::tests::Kind::Postgres).await).await;)+
        }

        #[tokio::test]
        async fn the_same_holds_on_mariadb() {
            $(eprintln!("{}", stringify!($fact));
            $fact(crate::sql::tests::Lab::new(crate::sql::tests::Kind::Mariadb).await).await;)+
        }
    };
}
use facts;

const CUSTOMERS: &str = "CREATE TABLE customers (id VARCHAR(40) PRIMARY KEY, email VARCHAR(254), phone VARCHAR(40), full_name VARCHAR(200));";
const CUSTOMERS_TOML: &str = r#"
[[tables]]
name = "customers"
key = "id"
identify = { email = "email", phone = "phone", customer_id = "id" }
fields = { full_name = "full_name", email = "email" }
on_delete = "delete"
"#;

fn by_email(address: &str) -> Subject {
    subject(&[(IdentifierType::Email, address)])
}

fn by_id(id: &str) -> Subject {
    subject(&[(IdentifierType::CustomerId, id)])
}

fn item<'a>(subject: &'a Subject, prior: Option<&'a Receipt>) -> Work<'a> {
    Work { key: "item", subject, corrections: &[], prior }
}

async fn try_erase(connector: &Arc<dyn Connector>, subject: &Subject) -> Outcome {
    only(connector.erase(&[item(subject, None)], &MemoryJournal::default()).await)
}

async fn erase(connector: &Arc<dyn Connector>, subject: &Subject) -> Done {
    crate::conformance::done(try_erase(connector, subject).await)
}

async fn verify(connector: &Arc<dyn Connector>, subject: &Subject, prior: Option<&Receipt>) -> Verdict {
    only(connector.verify(Verb::Erase, &[item(subject, prior)]).await)
}

/// The code and the words of a trouble.
fn told(outcome: Outcome) -> (&'static str, String) {
    match crate::conformance::trouble(outcome) {
        Trouble::Retry(p) | Trouble::Denied(p) | Trouble::Ambiguous { problem: p, .. } => (p.code, p.detail),
        other => panic!("expected a problem, got {other:?}"),
    }
}
