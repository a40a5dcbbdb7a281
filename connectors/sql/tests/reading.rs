//! What is handed over, and what a correction changes.

use super::*;
use crate::conformance::{MemorySink, done, nothing_found, rectifying};
use redress_domain::Correction;
use serde_json::{Value, json};

facts! {
    an_export_keeps_json_types
    an_export_holds_only_the_listed_columns
    a_correction_changes_only_what_differs
    a_corrected_address_is_verified_by_the_rows_themselves
    a_value_the_column_cannot_take_is_refused_by_field
    a_correction_reaches_walked_rows
    a_field_that_no_table_of_the_person_declares_is_itemised
}

fn correction(field: &str, value: &str) -> Correction {
    Correction { field: field.to_owned(), value: value.into() }
}

async fn an_export_keeps_json_types(lab: Lab) {
    let (blob, bytes) = (lab.pick("BLOB", "bytea", "BLOB"), lab.pick("x'00ff'", "'\\x00ff'", "x'00ff'"));
    let (json_type, instant) = (lab.pick("TEXT", "jsonb", "JSON"), lab.pick("TEXT", "timestamptz", "TIMESTAMP NULL"));
    let boolean = lab.pick("true", "true", "true");
    let extra = lab.pick("", ", tags text[], span int4range, net inet", ", e ENUM('a','b'), y YEAR, t TIME");
    let values = lab.pick("", ", '{a,b}', '[1,5)', '10.0.0.1/8'", ", 'b', 2026, '10:00:00'");
    lab.sql(&format!(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, email VARCHAR(60), n INTEGER, big NUMERIC(20,2), r DOUBLE PRECISION, yes BOOLEAN, \
         none VARCHAR(9), born DATE, seen {instant}, doc {json_type}, face {blob}{extra});
         INSERT INTO people VALUES (9007199254740993, 'ann@x.example', -7, 123456789.50, 0.25, {boolean}, NULL, '1990-02-03', \
         '2026-01-02 03:04:05', '{{\"a\": [1, null]}}', {bytes}{values});"
    ))
    .await;
    let connector = lab.connector(
        "[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = { email = \"email\" }\non_delete = \"delete\"",
    );
    let (sink, ann) = (MemorySink::default(), by_email("ann@x.example"));
    let exported = done(only(connector.export(&[item(&ann, None)], &sink).await));
    assert_eq!((exported.found, exported.changed), (1, 0));
    let (collection, record) = sink.records("item").remove(0);
    assert_eq!(collection, "people");
    for (column, expected) in [
        ("id", json!(9_007_199_254_740_993_u64)),
        ("n", json!(-7)),
        ("r", json!(0.25)),
        ("yes", json!(true)),
        ("none", Value::Null),
        ("born", json!("1990-02-03")),
        ("face", json!("AP8=")),
    ] {
        assert_eq!(record[column], expected, "{column}");
    }
    // SQLite keeps no decimals and no types of its own for the rest.
    if lab.kind == Kind::Sqlite {
        assert_eq!(record["doc"], json!("{\"a\": [1, null]}"));
    } else {
        assert_eq!(record["big"], json!("123456789.50"));
        assert_eq!(record["seen"], json!("2026-01-02T03:04:05Z"));
        let doc =
            record["doc"].as_str().map_or(record["doc"].clone(), |text| serde_json::from_str(text).expect("JSON"));
        assert_eq!(doc, json!({"a": [1, null]}));
    }
    match lab.kind {
        Kind::Sqlite => {}
        Kind::Postgres => assert_eq!(
            (&record["tags"], &record["span"], &record["net"]),
            (&json!("{a,b}"), &json!("[1,5)"), &json!("10.0.0.1/8"))
        ),
        Kind::Mariadb => {
            assert_eq!((&record["e"], &record["y"], &record["t"]), (&json!("b"), &json!(2026), &json!("10:00:00")));
        }
    }
}

async fn an_export_holds_only_the_listed_columns(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql("INSERT INTO customers VALUES ('C-1', 'ann@x.example', '+49151', 'Ann')").await;
    let connector = lab.connector(&CUSTOMERS_TOML.replace("on_delete", "columns = [\"full_name\"]\non_delete"));
    let (sink, ann) = (MemorySink::default(), by_email("ann@x.example"));
    done(only(connector.export(&[item(&ann, None)], &sink).await));
    assert_eq!(Value::Object(sink.records("item").remove(0).1), json!({"full_name": "Ann"}));
    assert_eq!(erase(&connector, &ann).await.changed, 1, "for deletion, columns mean nothing");
}

const TYPES: &str = "
CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(60), full_name VARCHAR(20), age INTEGER, active BOOLEAN, born DATE, credit NUMERIC(8,2));
INSERT INTO people VALUES (1, 'ann@x.example', 'ann vorbild', 30, false, '1990-01-01', 1.50), (2, 'ANN@x.example', NULL, NULL, NULL, NULL, NULL),
  (3, 'ann@x.example', 'Ann Vorbild', 30, true, '1990-02-03', 2.00), (4, 'bob@x.example', 'Bob', 1, false, NULL, NULL);
";
const TYPES_TOML: &str = "[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = { email = \"email\" }\non_delete = \"delete\"\n\
    fields = { full_name = \"full_name\", age = \"age\", active = \"active\", born = \"born\", credit = \"credit\", email = \"email\" }\n";

async fn a_correction_changes_only_what_differs(lab: Lab) {
    lab.sql(TYPES).await;
    let (connector, ann) = (lab.connector(TYPES_TOML), by_email("ann@x.example"));
    for (field, value, changed) in [
        ("full_name", "Ann Vorbild", 2),
        ("full_name", "Ann Vorbild", 0),
        ("full_name", "ann Vorbild", 3),
        ("full_name", "Änn 'O\\", 3),
        ("age", "30", 1),
        ("active", "true", 2),
        ("active", "yes", 0),
        ("born", "1990-02-03", 2),
        ("credit", "2", 2),
        ("credit", "2.00", 0),
    ] {
        let corrections = [correction(field, value)];
        let corrected =
            done(only(connector.rectify(&[rectifying("r", &ann, &corrections)], &MemoryJournal::default()).await));
        assert_eq!((corrected.found, corrected.changed), (3, changed), "{field} {value}");
        let verdict = only(connector.verify(Verb::Rectify, &[rectifying("r", &ann, &corrections)]).await);
        assert!(matches!(verdict, Verdict::Confirmed(_)), "{field} {value}: {verdict:?}");
    }
    assert_eq!(lab.count("SELECT count(*) FROM people WHERE full_name = 'Bob' AND age = 1 AND born IS NULL").await, 1);
    let several = [correction("age", "31"), correction("full_name", "A. V."), correction("unheard_of", "x")];
    assert_eq!(
        done(only(connector.rectify(&[rectifying("r", &ann, &several)], &MemoryJournal::default()).await)).changed,
        3
    );
}

async fn a_field_that_no_table_of_the_person_declares_is_itemised(lab: Lab) {
    lab.sql(TYPES).await;
    lab.sql(CUSTOMERS).await;
    lab.sql(
        "INSERT INTO customers VALUES ('C-1', 'carl@x.example', NULL, 'Carl'), ('C-2', 'bob@x.example', NULL, 'Bob')",
    )
    .await;
    let nickname = CUSTOMERS_TOML.replace("full_name = \"full_name\"", "nickname = \"full_name\"");
    let connector = lab.connector(&format!("{TYPES_TOML}{nickname}"));
    let journal = MemoryJournal::default();
    let rectify = async |person: &Subject, corrections: &[Correction]| {
        only(connector.rectify(&[rectifying("r", person, corrections)], &journal).await)
    };
    let ann = by_email("ann@x.example");
    // No table declares the first; the second is declared, but not where Ann is known.
    for corrections in [[correction("unheard_of", "x")], [correction("nickname", "Annie")]] {
        let answered = done(rectify(&ann, &corrections).await);
        assert_eq!((answered.found, answered.changed), (3, 0), "{answered:?}");
        let [kept] = &answered.retained[..] else { panic!("{answered:?}") };
        assert_eq!((kept.collection.as_str(), kept.records, kept.reason.as_str()), ("*", 3, "field_not_declared"));
        let prior = answered.receipt.as_ref();
        let work = Work { prior, ..rectifying("r", &ann, &corrections) };
        let verdict = only(connector.verify(Verb::Rectify, &[work]).await);
        assert!(matches!(verdict, Verdict::Confirmed(_)), "{verdict:?}");
    }
    assert_eq!(journal.items(), 0, "nothing was announced");
    // Bob's rows in one of his two tables can be corrected, and one of the two fields: as far as it goes.
    let some = [correction("nickname", "Bobby"), correction("unheard_of", "x")];
    let answered = done(rectify(&by_email("bob@x.example"), &some).await);
    assert_eq!((answered.found, answered.changed, answered.retained.len()), (1, 1, 0), "{answered:?}");
    nothing_found(rectify(&by_email("nobody@x.example"), &some).await);
    assert_eq!(lab.query("SELECT full_name FROM customers ORDER BY id").await, ["Carl", "Bobby"]);
    assert_eq!(lab.count("SELECT count(*) FROM people WHERE full_name = 'Bob'").await, 1);
}

async fn a_corrected_address_is_verified_by_the_rows_themselves(lab: Lab) {
    lab.sql(TYPES).await;
    let (connector, ann) = (lab.connector(TYPES_TOML), by_email("ann@x.example"));
    let corrections = [correction("email", "anna@y.example")];
    let journal = MemoryJournal::default();
    let corrected = done(only(connector.rectify(&[rectifying("r", &ann, &corrections)], &journal).await));
    assert_eq!((corrected.found, corrected.changed), (3, 3));
    let prior = corrected.receipt.as_ref();
    let work = || Work { prior, ..rectifying("r", &ann, &corrections) };
    let verdict = only(connector.verify(Verb::Rectify, &[work()]).await);
    assert!(matches!(verdict, Verdict::Confirmed(_)), "{verdict:?}");
    let again = done(only(connector.rectify(&[work()], &journal).await));
    assert_eq!((again.found, again.changed), (3, 3), "a lost record is told again");
    lab.sql("UPDATE people SET email = 'other@y.example' WHERE id = 2").await;
    let verdict = only(connector.verify(Verb::Rectify, &[work()]).await);
    assert!(matches!(verdict, Verdict::Residue { remaining: 1, .. }), "{verdict:?}");
}

async fn a_value_the_column_cannot_take_is_refused_by_field(lab: Lab) {
    lab.sql(TYPES).await;
    let (connector, ann) = (lab.connector(TYPES_TOML), by_email("ann@x.example"));
    let mut refused = vec![("age", "canary"), ("age", "99999999999999999999"), ("active", "canary"), ("credit", "1,5")];
    if lab.kind != Kind::Sqlite {
        refused.extend([
            ("full_name", "canary canary canary canary"),
            ("born", "canary"),
            ("credit", "12345678901.00"),
        ]);
    }
    for (field, value) in refused {
        let corrections = [correction(field, value)];
        let outcome = only(connector.rectify(&[rectifying("r", &ann, &corrections)], &MemoryJournal::default()).await);
        let shown = format!("{outcome:?}");
        assert!(!shown.contains("canary") && !shown.contains("999") && shown.contains(field), "{shown}");
        assert_eq!(told(outcome).0, "value_refused", "{field}");
    }
    assert_eq!(lab.count("SELECT count(*) FROM people WHERE age = 30").await, 2);
}

async fn a_correction_reaches_walked_rows(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id VARCHAR(40), recipient VARCHAR(60)); INSERT INTO customers (id, email, full_name) VALUES ('C-1', 'ann@x.example', 'Ann'); INSERT INTO orders VALUES (1, 'C-1', 'Ann'), (2, 'C-2', 'Ann')").await;
    let tables = format!(
        "{CUSTOMERS_TOML}\n[[tables]]\nname = \"orders\"\nkey = \"id\"\nreferences = {{ customer_id = \"customers.id\" }}\nfields = {{ full_name = \"recipient\" }}\non_delete = \"delete\""
    );
    let connector = lab.connector(&tables);
    assert_eq!(connector.manifest().fields, ["email", "full_name"]);
    let corrections = [correction("full_name", "Anna")];
    let corrected = done(only(
        connector
            .rectify(&[rectifying("r", &by_email("ann@x.example"), &corrections)], &MemoryJournal::default())
            .await,
    ));
    assert_eq!((corrected.found, corrected.changed), (2, 2));
    assert_eq!(lab.query("SELECT recipient FROM orders ORDER BY id").await, ["Anna", "Ann"]);
}
