//! What is wrong with a specification is told at once, key by key.

use super::*;
use crate::registry;

async fn faults(kind: Kind, change: impl FnOnce(&mut crate::SystemSpec), tables: &str) -> Vec<String> {
    let lab = Lab::new(kind).await;
    let mut spec = lab.spec(tables);
    change(&mut spec);
    registry::connect(&spec).map(drop).expect_err("refused").into_iter().map(|f| f.path).collect()
}

#[tokio::test]
async fn every_fault_is_told_at_once() {
    let tables = r#"
[[tables]]
name = "customers"
key = "id"
identify = { email = "email", fax = "fax" }
fields = { number = "id" }
on_delete = "null"
columns = ["id", "email"]
[[tables]]
name = "customers"
key = ""
on_delete = "keep"
references = { a = "nowhere.id", b = "id" }
[[tables]]
name = "lonely"
key = "id"
on_delete = "hash"
references = { up = "lonely.id" }
"#;
    let change = |spec: &mut crate::SystemSpec| {
        spec.settings.insert("port".into(), "5432".into());
        spec.settings.insert("hots".into(), "x".into());
        spec.settings.insert("tls".into(), "maybe".into());
        spec.settings.remove("host");
        spec.secrets.clear();
        spec.secrets.insert("pasword".into(), "x".into());
    };
    let mut told = faults(Kind::Postgres, change, tables).await;
    told.sort();
    let mut expected = vec![
        "secrets.hash_key",
        "secrets.pasword",
        "secrets.password",
        "settings.host",
        "settings.hots",
        "settings.port",
        "settings.tls",
        "tables.0.columns",
        "tables.0.fields.number",
        "tables.0.identify.fax",
        "tables.1",
        "tables.1.key",
        "tables.1.name",
        "tables.1.reason",
        "tables.1.references.a",
        "tables.1.references.b",
        "tables.2",
        "tables.2.columns",
    ];
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_short_hash_key_and_no_tables_are_refused() {
    let change = |spec: &mut crate::SystemSpec| {
        spec.secrets.insert("hash_key".into(), "short".into());
        spec.tables.clear();
    };
    assert_eq!(faults(Kind::Sqlite, change, CUSTOMERS_TOML).await, ["tables", "secrets.hash_key"]);
}

#[tokio::test]
async fn the_manifest_says_what_can_be_searched_and_corrected() {
    let lab = Lab::new(Kind::Sqlite).await;
    let connector = lab.connector(CUSTOMERS_TOML);
    let manifest = connector.manifest();
    assert_eq!(manifest.identifiers, [IdentifierType::CustomerId, IdentifierType::Email, IdentifierType::Phone]);
    assert_eq!((manifest.batch, manifest.fields.join(" ")), (300, "email full_name".to_owned()));
}
