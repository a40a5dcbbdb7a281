//! Both warehouses pass the suite that every connector passes, on their simulators, and meet what is their own.

use super::statement::{Dialect, Seen, Wanted, delete, empty, is_name, is_table, select, update};
use crate::conformance::{
    self, MemoryJournal, MemorySink, ann, bea, confirmed, done, hostile_subjects, only, trouble, work,
};
use crate::http::SigningKey;
use crate::manifest::tests::harness::ManifestTarget;
use crate::{Effect, Outcome, TableSpec, Trouble, Verdict, registry};
use redress_domain::{IdentifierType, Verb};
use redress_sandbox::Fault;
use redress_sandbox::vendors::{bigquery, snowflake, warehouse_key};
use serde_json::json;
use std::time::Duration;

fn tables(text: &str) -> Vec<TableSpec> {
    let file: toml::Table = format!("[[system]]\n{text}").parse().expect("TOML");
    let system = serde_json::to_value(&file["system"][0]).expect("JSON");
    serde_json::from_value(system["tables"].clone()).expect("tables")
}

async fn snowflakes() -> ManifestTarget {
    ManifestTarget::serve("snowflake")
        .await
        .setting("account", snowflake::ACCOUNT)
        .setting("user", snowflake::USER)
        .setting("warehouse", "REDRESS_WH")
        .setting("time_travel_days", 30)
        .secret("private_key", warehouse_key::PRIVATE_KEY)
        .tables(tables(snowflake::TABLES))
        .correcting("full_name", "SHOP.PUBLIC.CUSTOMERS", "/EMAIL", "/FULL_NAME")
}

async fn bigqueries() -> ManifestTarget {
    let target = ManifestTarget::serve("bigquery").await;
    let token = format!("{}/token", target.url());
    target
        .setting("token_url", token)
        .setting("project", bigquery::PROJECT)
        .setting("service_account", bigquery::SERVICE_ACCOUNT)
        .setting("location", "EU")
        .secret("private_key", warehouse_key::PRIVATE_KEY)
        .tables(tables(bigquery::TABLES))
        .correcting("full_name", "shop.customers", "/email", "/full_name")
}

async fn both() -> [ManifestTarget; 2] {
    [snowflakes().await, bigqueries().await]
}

#[tokio::test]
async fn snowflake_conforms() {
    conformance::run(&snowflakes().await).await;
}

#[tokio::test]
async fn bigquery_conforms() {
    conformance::run(&bigqueries().await).await;
}

#[tokio::test]
async fn a_slow_warehouse_conforms_too() {
    for target in both().await {
        let subject = ann().subject();
        target.put(&ann());
        target.put(&bea());
        target.world().put("settings", "slow", json!({"polls": 2}));
        let (connector, journal) = (target.connector(), MemoryJournal::default());
        let mut prior = None;
        let erased = loop {
            let item = crate::Work { prior: prior.as_ref(), ..work("slow", &subject) };
            match only(connector.erase(&[item], &journal).await) {
                Outcome::Accepted { receipt, check_after, .. } => {
                    assert!(!check_after.is_zero());
                    prior = Some(receipt);
                }
                other => break done(other),
            }
        };
        assert_eq!((erased.found, erased.changed), (2, 2));
        assert_eq!((target.left(&ann().email), target.left(&bea().email)), (0, 2));
        let text = |hit: &redress_sandbox::Hit| hit.body.contains("DELETE FROM");
        let deletions = target.world().hits().into_iter().filter(text).count();
        assert_eq!(deletions, 1, "what is on its way is not sent again");
        let mut item = None;
        for _ in 0..20 {
            match only(connector.verify(Verb::Erase, &[work("v", &subject)]).await) {
                Verdict::Trouble(Trouble::Throttled(wait)) => assert!(!wait.is_zero()),
                other => {
                    item = Some(other);
                    break;
                }
            }
        }
        confirmed(item.expect("it comes to an end"));
    }
}

#[tokio::test]
async fn no_identifier_is_ever_in_a_statement() {
    for target in both().await {
        target.put(&ann());
        let connector = target.connector();
        let mut subjects = hostile_subjects();
        subjects.push(ann().subject());
        for subject in &subjects {
            let sink = MemorySink::default();
            connector.export(&[work("x", subject)], &sink).await;
            connector.erase(&[work("e", subject)], &MemoryJournal::default()).await;
            connector.verify(Verb::Erase, &[work("v", subject)]).await;
        }
        let mut seen = 0;
        for hit in target.world().hits().iter().filter(|hit| hit.method == "POST" && hit.body.starts_with('{')) {
            let body: serde_json::Value = serde_json::from_str(&hit.body).expect("JSON");
            let text = body.pointer("/statement").or_else(|| body.pointer("/configuration/query/query"));
            let text = text.and_then(|text| text.as_str()).expect("a statement");
            seen += 1;
            let quote = if body.get("statement").is_some() { '"' } else { '`' };
            let outside: String = text.split(quote).step_by(2).collect();
            assert!(outside.chars().all(|c| c.is_ascii_alphanumeric() || " ()_,=.*?@".contains(c)), "{outside}");
            for subject in &subjects {
                for identifier in &subject.identifiers {
                    let given = identifier.given().expose();
                    // A star and the like are of the language too.
                    assert!(given.len() < 4 || !text.contains(given.as_str()), "{given} in {text}");
                }
            }
        }
        assert!(seen > subjects.len());
    }
}

#[test]
fn values_stay_beside_the_text_whatever_they_are() {
    let evil = ["'; DROP TABLE x; --", "\"", "`", "\\", "?", "@p1", "\u{0}", "ann@shop.example"];
    for (quote, is_named) in [('"', false), ('`', true)] {
        let dialect = Dialect { quote, text_type: "VARCHAR", is_named };
        let of = |value: &str| {
            let mut wanted = Wanted::default();
            wanted.keys.insert(value.to_owned());
            for kind in [IdentifierType::Email, IdentifierType::Phone] {
                wanted.by.insert(("c".into(), kind), [value.to_owned()].into());
            }
            let rows = [Seen { key: value.to_owned(), by: Some(("c".into(), value.to_owned())) }];
            [
                select(dialect, "s.t", "k", &[], &wanted),
                delete(dialect, "s.t", "k", &rows),
                empty(dialect, "s.t", "k", &["c".into()], &rows),
                update(dialect, "s.t", "k", &[("c", value)].into(), &rows),
            ]
            .map(|statement| {
                assert!(statement.values.iter().any(|bound| bound == value));
                statement.text
            })
        };
        let usual = of("x");
        for value in evil {
            assert!(of(value) == usual);
        }
    }
    for name in ["a\"b", "a`b", "", "1a", "a b", "a;b", "a.b", "ä", "a'b"] {
        assert!(!is_name(name), "{name}");
    }
    assert!(is_table("acme-data.shop.customers") && !is_table("a.b.c.d") && !is_table("a.\"b\"") && !is_table("a..b"));
}

#[tokio::test]
async fn what_remains_for_how_long_is_told() {
    for (target, days) in both().await.into_iter().zip([37, 14]) {
        target.put(&ann());
        let subject = ann().subject();
        let erased = done(only(target.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
        assert_eq!(erased.effect, Some(Effect::Soft { residual_days: Some(days) }));
    }
}

#[tokio::test]
async fn rows_in_the_streaming_buffer_wait_and_are_deleted_when_they_can_be() {
    let target = bigqueries().await;
    target.put(&ann());
    for (key, mut row) in target.world().all("shop.customers") {
        row.insert("_streamed".into(), true.into());
        target.world().put("shop.customers", &key, row.into());
    }
    let (subject, journal) = (ann().subject(), MemoryJournal::default());
    let connector = target.connector();
    match trouble(only(connector.erase(&[work("e", &subject)], &journal).await)) {
        Trouble::Throttled(wait) => assert_eq!(wait, Duration::from_mins(90)),
        other => panic!("{other:?}"),
    }
    for (key, mut row) in target.world().all("shop.customers") {
        row.remove("_streamed");
        target.world().put("shop.customers", &key, row.into());
    }
    let prior = journal.announced("e");
    let item = crate::Work { prior: prior.as_ref(), ..work("e", &subject) };
    assert_eq!(done(only(connector.erase(&[item], &journal).await)).changed, 2);
    assert_eq!(target.left(&ann().email), 0);
}

#[tokio::test]
async fn a_row_that_came_back_under_the_same_step_is_deleted_again() {
    for target in both().await {
        let (subject, connector) = (ann().subject(), target.connector());
        for _ in 0..2 {
            target.put(&ann());
            done(only(connector.erase(&[work("same", &subject)], &MemoryJournal::default()).await));
            assert_eq!(target.left(&ann().email), 0);
        }
    }
}

#[tokio::test]
async fn strange_answers_are_troubles() {
    for target in both().await {
        target.put(&ann());
        let subject = ann().subject();
        let reason = |reason: &str| json!({"error": {"errors": [{"reason": reason}], "message": "ann@"}}).to_string();
        for (fault, expected) in [
            (Fault::Html, "answer_unreadable"),
            (Fault::Truncated, "answer_unreadable"),
            (Fault::Status(500, "<html>".into(), None), "vendor_error"),
            (Fault::Status(429, String::new(), Some("-1".into())), "throttled"),
            (Fault::Status(401, "{}".into(), None), "credentials_refused"),
            (Fault::Status(403, "{}".into(), None), "permission_missing"),
            (Fault::Status(403, reason("accessDenied"), None), "permission_missing"),
            (Fault::EffectThen500, "vendor_error"),
        ] {
            let connector = target.connector();
            connector.check().await.expect("it works before");
            let at = if target.world().hits().iter().any(|hit| hit.path.starts_with("/bigquery")) {
                "jobs"
            } else {
                "statements"
            };
            target.world().fault(fault, Some(at));
            match trouble(only(connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await)) {
                Trouble::Throttled(_) => assert_eq!(expected, "throttled"),
                Trouble::Retry(problem) | Trouble::Denied(problem) => {
                    assert_eq!(problem.code, expected);
                    assert!(!problem.detail.contains("ann@"));
                }
                other => panic!("{expected}: {other:?}"),
            }
            assert_eq!(target.left(&ann().email), 2);
        }
    }
}

#[tokio::test]
async fn a_declaration_that_cannot_work_is_refused_key_by_key() {
    for (target, name) in both().await.into_iter().zip(["shop.t\"x", "customers"]) {
        let mut spec = target.spec(&target.url(), 25);
        spec.tables = vec![TableSpec {
            name: name.into(),
            key: "id".into(),
            identify: [("email".to_owned(), "e`mail".to_owned())].into(),
            references: [("customer".to_owned(), "customers.id".to_owned())].into(),
            fields: [("id".to_owned(), "id".to_owned())].into(),
            on_delete: crate::spec::OnDelete::Hash,
            columns: Vec::new(),
            reason: None,
        }];
        spec.settings.insert("shape".into(), 1.into());
        let paths = |spec| -> Vec<String> {
            let faults = registry::connect(spec).err().expect("it is refused");
            faults.into_iter().map(|fault| fault.path).collect()
        };
        let told = paths(&spec);
        for path in [
            "settings.shape",
            "tables.0.name",
            "tables.0.identify",
            "tables.0.references",
            "tables.0.fields",
            "tables.0.on_delete",
        ] {
            assert!(told.iter().any(|known| known == path), "{path} in {told:?}");
        }
        let mut spec = target.spec(&target.url(), 25);
        spec.tables.clear();
        spec.secrets.insert("private_key".into(), "no key".to_owned().into());
        let told = paths(&spec);
        assert!(told.contains(&"tables".to_owned()) && told.contains(&"secrets.private_key".to_owned()), "{told:?}");
    }
}

#[test]
fn a_key_is_a_key() {
    assert!(SigningKey::from_pem(warehouse_key::PRIVATE_KEY).is_some());
}
