//! What is said when it does not work: always which, never who.

use super::*;
use crate::conformance::troubles;
use redress_testkit::free_port;

facts! {
    a_missing_table_or_column_is_named_and_found_again_once_it_is_there
    a_key_that_is_not_unique_is_refused
    a_row_without_a_key_is_not_passed_over
    a_column_that_cannot_be_redacted_is_refused_before_anything_changes
    a_database_error_never_quotes_a_row
    a_busy_row_is_a_conflict_that_passes
    a_missing_database_and_a_missing_privilege_say_so
    a_schema_that_changes_under_way_is_read_again
}

async fn a_missing_table_or_column_is_named_and_found_again_once_it_is_there(lab: Lab) {
    let connector = lab.connector(CUSTOMERS_TOML);
    let ann = by_email("ann@x.example");
    let (all, problem) = troubles(&connector, &ann).await;
    assert_eq!(problem.code, "table_missing");
    assert!(problem.detail.contains("customers"));
    assert!(all.iter().all(|t| matches!(t, Trouble::Denied(p) if p.code == "table_missing")), "{all:?}");
    lab.sql("CREATE TABLE customers (id VARCHAR(40) PRIMARY KEY, email VARCHAR(254), full_name VARCHAR(9));").await;
    let (code, detail) = told(try_erase(&connector, &ann).await);
    assert_eq!(code, "column_missing");
    assert!(detail.contains("customers") && detail.contains("phone"), "{detail}");
    lab.sql("ALTER TABLE customers ADD COLUMN phone VARCHAR(40)").await;
    assert!(matches!(try_erase(&connector, &ann).await, Outcome::NothingFound(_)));
}

async fn a_schema_that_changes_under_way_is_read_again(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example')").await;
    let (connector, ann) = (lab.connector(CUSTOMERS_TOML), by_email("ann@x.example"));
    assert!(connector.check().await.is_ok());
    lab.sql("ALTER TABLE customers RENAME COLUMN phone TO telephone").await;
    assert_eq!(told(try_erase(&connector, &ann).await).0, "schema_changed");
    let (code, detail) = told(try_erase(&connector, &ann).await);
    assert_eq!(code, "column_missing", "{detail}");
    lab.sql("ALTER TABLE customers RENAME COLUMN telephone TO phone").await;
    assert_eq!(erase(&connector, &ann).await.changed, 1);
}

async fn a_key_that_is_not_unique_is_refused(lab: Lab) {
    lab.sql("CREATE TABLE customers (id VARCHAR(40), shop INTEGER, email VARCHAR(60), phone VARCHAR(40), full_name VARCHAR(9), PRIMARY KEY (id, shop));").await;
    let connector = lab.connector(CUSTOMERS_TOML);
    assert_eq!(connector.check().await.expect_err("refused").code, "key_not_unique");
    assert_eq!(told(try_erase(&connector, &by_email("ann@x.example")).await).0, "key_not_unique");
    lab.sql("CREATE UNIQUE INDEX one ON customers (id)").await;
    assert!(connector.check().await.is_ok());
}

async fn a_row_without_a_key_is_not_passed_over(lab: Lab) {
    lab.sql("CREATE TABLE leads (id VARCHAR(40) UNIQUE, email VARCHAR(60)); INSERT INTO leads VALUES (NULL, 'ann@x.example')").await;
    let connector = lab.connector(
        "[[tables]]\nname = \"leads\"\nkey = \"id\"\nidentify = { email = \"email\" }\non_delete = \"delete\"",
    );
    assert_eq!(told(try_erase(&connector, &by_email("ann@x.example")).await).0, "key_null");
}

async fn a_column_that_cannot_be_redacted_is_refused_before_anything_changes(lab: Lab) {
    lab.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(60) NOT NULL, age INTEGER, code VARCHAR(20)); INSERT INTO people VALUES (1, 'ann@x.example', 3, 'x')").await;
    let tables = |rest: &str| {
        format!("[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = {{ email = \"email\" }}\non_delete = {rest}")
    };
    let mut cases = vec![
        ("\"null\"\ncolumns = [\"email\"]", "column_not_nullable"),
        ("\"hash\"\ncolumns = [\"age\"]", "column_not_text"),
    ];
    if lab.kind != Kind::Sqlite {
        cases.push(("\"hash\"\ncolumns = [\"code\"]", "column_too_short"));
    }
    for (rest, expected) in cases {
        let connector = lab.connector(&tables(rest));
        assert_eq!(connector.check().await.expect_err(expected).code, expected);
        assert_eq!(told(try_erase(&connector, &by_email("ann@x.example")).await).0, expected);
        let counted = only(connector.discover(&[item(&by_email("ann@x.example"), None)]).await);
        assert_eq!(crate::conformance::done(counted).found, 1, "the other verbs still work");
    }
}

async fn a_database_error_never_quotes_a_row(lab: Lab) {
    lab.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(60), name VARCHAR(60) UNIQUE, CONSTRAINT named CHECK (name <> 'canary-forbidden'));").await;
    lab.sql("INSERT INTO people VALUES (1, 'canary-ann@x.example', 'Ann'), (2, 'bob@x.example', 'canary-bob')").await;
    let tables = "[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = { email = \"email\" }\nfields = { name = \"name\" }\non_delete = \"delete\"";
    let (connector, ann) = (lab.connector(tables), by_email("canary-ann@x.example"));
    let mut values = vec!["canary-bob", "canary-forbidden"];
    match lab.kind {
        Kind::Postgres => {
            lab.sql("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'canary %', OLD; RAISE EXCEPTION 'canary %', OLD; END$$; CREATE TRIGGER no BEFORE DELETE ON people FOR EACH ROW EXECUTE FUNCTION no()").await;
        }
        Kind::Sqlite => lab.sql("CREATE TRIGGER no BEFORE DELETE ON people BEGIN SELECT RAISE(ABORT, 'canary'); END").await,
        Kind::Mariadb => lab.sql("CREATE TRIGGER no BEFORE DELETE ON people FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'canary'").await,
    }
    values.sort_unstable();
    for value in values {
        let corrections = [redress_domain::Correction { field: "name".to_owned(), value: value.into() }];
        let work = [crate::conformance::rectifying("r", &ann, &corrections)];
        let outcome = only(connector.rectify(&work, &MemoryJournal::default()).await);
        let shown = format!("{outcome:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(told(outcome).0, "value_refused", "{shown}");
    }
    let outcome = try_erase(&connector, &ann).await;
    let shown = format!("{outcome:?}");
    assert!(!shown.contains("canary") && shown.contains("people"), "{shown}");
    assert_eq!(told(outcome).0, "database_refused");
    assert_eq!(lab.count("SELECT count(*) FROM people").await, 2);
}

async fn a_busy_row_is_a_conflict_that_passes(lab: Lab) {
    if lab.kind != Kind::Sqlite {
        // Both wait ten seconds for a lock; the code for that is covered by `trouble`.
        return;
    }
    lab.sql(CUSTOMERS).await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example')").await;
    let (one, two) = (lab.connector(CUSTOMERS_TOML), lab.connector(CUSTOMERS_TOML));
    let ann = by_email("ann@x.example");
    let (first, second) = tokio::join!(try_erase(&one, &ann), try_erase(&two, &ann));
    let deleted = [&first, &second].into_iter().filter(|o| matches!(o, Outcome::Done(d) if d.changed == 1)).count();
    let nothing = [&first, &second].into_iter().filter(|o| matches!(o, Outcome::NothingFound(_))).count();
    assert_eq!((deleted, nothing), (1, 1), "{first:?} {second:?}");
}

async fn a_missing_database_and_a_missing_privilege_say_so(lab: Lab) {
    let mut spec = lab.spec(CUSTOMERS_TOML);
    let key = if lab.kind == Kind::Sqlite { "path" } else { "database" };
    spec.settings.insert(key.into(), "nowhere".into());
    let (all, problem) = troubles(&lab::connect(&spec), &by_email("ann@x.example")).await;
    assert_eq!(problem.code, lab.pick("file_missing", "database_missing", "database_missing"));
    assert!(all.iter().all(|t| matches!(t, Trouble::Denied(_))), "{all:?}");
    if lab.kind == Kind::Sqlite {
        assert!(!spec.base_dir.expect("a folder").join("nowhere").exists(), "nothing is created");
        return;
    }
    lab.sql(CUSTOMERS).await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example')").await;
    lab.sql(lab.pick(
        "",
        "CREATE ROLE reader LOGIN PASSWORD 'pw'; GRANT SELECT ON customers TO reader",
        "CREATE USER reader IDENTIFIED BY 'pw'; GRANT SELECT ON customers TO reader",
    ))
    .await;
    let mut spec = lab.spec(CUSTOMERS_TOML);
    spec.settings.insert("username".into(), "reader".into());
    let reader = lab::connect(&spec);
    let ann = by_email("ann@x.example");
    assert_eq!(crate::conformance::done(only(reader.discover(&[item(&ann, None)]).await)).found, 1);
    assert_eq!(told(try_erase(&reader, &ann).await).0, "permission_missing");
    if lab.kind == Kind::Postgres {
        // A policy that hides rows must not look like their absence.
        lab.sql("ALTER TABLE customers ENABLE ROW LEVEL SECURITY").await;
        assert_eq!(told(only(reader.discover(&[item(&ann, None)]).await)).0, "permission_missing");
    }
    lab.sql(lab.pick("", "REVOKE SELECT ON customers FROM reader; DROP ROLE reader", "DROP USER reader")).await;
}

#[tokio::test]
async fn one_dead_server_costs_a_batch_one_wait() {
    let lab = Lab::new(Kind::Postgres).await;
    let mut spec = lab.spec(CUSTOMERS_TOML);
    spec.settings.insert("connect_timeout_seconds".into(), 1.into());
    spec.settings.insert("port".into(), free_port().number().into());
    let connector = lab::connect(&spec);
    let ann = by_email("ann@x.example");
    let batch: Vec<_> = (0..20).map(|_| item(&ann, None)).collect();
    let begun = std::time::Instant::now();
    let answers = connector.erase(&batch, &MemoryJournal::default()).await;
    assert_eq!(answers.len(), 20);
    assert!(answers.into_iter().all(|a| told(a).0 == "unreachable"));
    assert!(begun.elapsed().as_secs() < 5);
}
