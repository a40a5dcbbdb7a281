//! Tables that none of the given identifiers can search: opened by what the person's own rows hold, or itemised.

use super::*;
use crate::Retained;
use crate::conformance::{MemorySink, done, nothing_found, rectifying};
use redress_domain::Correction;

facts! {
    a_table_that_cannot_be_searched_is_itemised_in_every_verb
    a_table_is_searched_by_the_one_address_that_the_persons_rows_hold
    a_value_that_is_not_the_persons_alone_opens_nothing
    a_doubtful_row_closes_the_table_again
    a_table_that_refers_to_a_searched_one_counts_as_searched
    what_hangs_on_an_opened_table_is_followed_and_nothing_is_derived_twice
    rows_found_by_a_derived_address_are_read_again
    more_matches_than_allowed_count_the_derived_ones_too
    an_id_is_derived_in_the_other_columns_type
}

const PHONE: &str = "+4915112345678";
const SUBS: &str = "CREATE TABLE subs (id INTEGER PRIMARY KEY, email VARCHAR(254), name VARCHAR(60));";
const SUBS_TOML: &str = r#"
[[tables]]
name = "subs"
key = "id"
identify = { email = "email" }
fields = { full_name = "name" }
on_delete = "delete"
"#;

fn by_phone() -> Subject {
    subject(&[(IdentifierType::Phone, PHONE)])
}

fn no_usable_identifier(table: &str) -> Retained {
    Retained { collection: table.to_owned(), records: 0, reason: "no_usable_identifier".to_owned() }
}

fn collections(done: &Done) -> Vec<&str> {
    done.evidence.collections.iter().map(|c| c.collection.as_str()).collect()
}

async fn shop(lab: &Lab, customers: &str, subs: &str) {
    lab.sql("DROP TABLE IF EXISTS customers; DROP TABLE IF EXISTS subs").await;
    lab.sql(CUSTOMERS).await;
    lab.sql(SUBS).await;
    lab.sql(&format!("INSERT INTO customers VALUES {customers}; INSERT INTO subs VALUES {subs};")).await;
}

async fn names(lab: &Lab) -> Vec<String> {
    lab.query("SELECT id FROM subs ORDER BY id").await
}

async fn a_table_that_cannot_be_searched_is_itemised_in_every_verb(lab: Lab) {
    let (connector, phone) = (lab.connector(&format!("{CUSTOMERS_TOML}{SUBS_TOML}")), by_phone());
    let corrections = [Correction { field: "full_name".into(), value: "Anna".into() }];
    let elsewhere = [Correction { field: "email".into(), value: "anna@y.example".into() }];
    let journal = MemoryJournal::default();
    // Ann's row holds no address; or she has no row that can be found at all.
    for (customers, found) in [("('C-1', NULL, '0151 12345678', 'Ann')", 1), ("('C-2', NULL, NULL, 'Bob')", 0)] {
        shop(&lab, customers, "(1, 'ann@x.example', 'Ann')").await;
        let sink = MemorySink::default();
        let exported = done(only(connector.export(&[item(&phone, None)], &sink).await));
        assert_eq!((exported.found, sink.records("item").len() as u64), (found, found), "{exported:?}");
        assert_eq!(exported.retained, [no_usable_identifier("subs")]);
        assert_eq!(collections(&exported), ["customers"], "what was not searched is no evidence");

        let corrected = done(only(connector.rectify(&[rectifying("r", &phone, &corrections)], &journal).await));
        assert_eq!((corrected.found, corrected.changed), (found, found), "{corrected:?}");
        assert_eq!(corrected.retained, [no_usable_identifier("subs")]);
        let work = Work { prior: corrected.receipt.as_ref(), ..rectifying("r", &phone, &corrections) };
        assert!(matches!(only(connector.verify(Verb::Rectify, &[work]).await), Verdict::Confirmed(_)));

        let erased = erase(&connector, &phone).await;
        assert_eq!((erased.found, erased.changed), (found, found), "{erased:?}");
        assert_eq!(erased.retained, [no_usable_identifier("subs")]);
        assert_eq!(collections(&erased), ["customers"]);
        match verify(&connector, &phone, erased.receipt.as_ref()).await {
            Verdict::Confirmed(evidence) => assert!(evidence.collections.iter().all(|c| c.collection == "customers")),
            other => panic!("{other:?}"),
        }
        let again = done(only(connector.erase(&[item(&phone, erased.receipt.as_ref())], &journal).await));
        assert_eq!((again.found, again.changed, &again.retained), (found, found, &erased.retained), "{again:?}");
        assert_eq!(names(&lab).await, ["1"]);
    }
    // A correction asks only for tables that declare the field, as long as the person is known somewhere.
    shop(&lab, "('C-1', NULL, '0151 12345678', 'Ann')", "(1, 'ann@x.example', 'Ann')").await;
    let corrected = done(only(connector.rectify(&[rectifying("r", &phone, &elsewhere)], &journal).await));
    assert_eq!((corrected.changed, corrected.retained.len()), (1, 0), "{corrected:?}");
    // By address, everything can be searched.
    nothing_found(try_erase(&connector, &by_email("nobody@x.example")).await);
}

async fn a_table_is_searched_by_the_one_address_that_the_persons_rows_hold(lab: Lab) {
    let (connector, phone) = (lab.connector(&format!("{CUSTOMERS_TOML}{SUBS_TOML}")), by_phone());
    let journal = MemoryJournal::default();
    shop(
        &lab,
        "('C-1', 'ann@x.example', '0151 12345678', 'Ann'), ('C-2', ' ANN@X.example', '0151/12345678', 'Ann'), ('C-3', 'bob@x.example', '0151 99999999', 'Bob')",
        "(1, 'Ann@X.Example', 'Ann'), (2, 'joann@x.example', 'Joann'), (3, 'ann@x.example.evil.org', 'X'), (4, NULL, NULL), (5, 'ann@x.example ', 'A')",
    )
    .await;
    let sink = MemorySink::default();
    let exported = done(only(connector.export(&[item(&phone, None)], &sink).await));
    assert_eq!((exported.found, exported.retained.len(), sink.records("item").len()), (4, 0, 4), "{exported:?}");
    assert_eq!(collections(&exported), ["customers", "subs"]);
    // Another address than the given one must not turn up in place of it.
    let corrections = [Correction { field: "full_name".into(), value: "Anna".into() }];
    let corrected = done(only(connector.rectify(&[rectifying("r", &phone, &corrections)], &journal).await));
    assert_eq!((corrected.found, corrected.changed, corrected.retained.len()), (4, 4, 0), "{corrected:?}");
    let erased = erase(&connector, &phone).await;
    assert_eq!((erased.found, erased.changed, erased.retained.len()), (4, 4, 0), "{erased:?}");
    let subs = erased.evidence.collections.iter().find(|c| c.collection == "subs").expect("evidence");
    assert_eq!((subs.before, subs.changed, subs.after), (2, 2, 0));
    assert_eq!(names(&lab).await, ["2", "3", "4"]);
    assert_eq!(lab.query("SELECT id FROM customers").await, ["C-3"]);
    assert!(matches!(verify(&connector, &phone, erased.receipt.as_ref()).await, Verdict::Confirmed(_)));
    let again = done(only(connector.erase(&[item(&phone, erased.receipt.as_ref())], &journal).await));
    assert_eq!((again.found, again.changed, again.retained.len()), (4, 4, 0), "{again:?}");
}

async fn a_value_that_is_not_the_persons_alone_opens_nothing(lab: Lab) {
    let (connector, id) = (lab.connector(&format!("{CUSTOMERS_TOML}{SUBS_TOML}")), by_id("C-1"));
    let orders = "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id VARCHAR(40), email VARCHAR(254))";
    let with_orders = lab.connector(&format!(
        "{CUSTOMERS_TOML}{SUBS_TOML}[[tables]]\nname = \"orders\"\nkey = \"id\"\nidentify = {{ email = \"email\" }}\nreferences = {{ customer_id = \"customers.id\" }}\non_delete = \"delete\""
    ));
    // Somebody else's row, that the id does not find, has the same address.
    shop(
        &lab,
        "('C-1', 'info@x.example', NULL, 'Ann'), ('C-2', 'INFO@x.example', NULL, 'Bob')",
        "(1, 'info@x.example', 'Bob')",
    )
    .await;
    let erased = erase(&connector, &id).await;
    assert_eq!((erased.changed, &erased.retained[..]), (1, &[no_usable_identifier("subs")][..]), "{erased:?}");
    assert_eq!(names(&lab).await, ["1"]);
    assert!(matches!(verify(&connector, &id, erased.receipt.as_ref()).await, Verdict::Confirmed(_)));
    lab.sql(orders).await;
    for order in [
        // A row of hers has another address.
        "(1, 'C-1', 'other@x.example')",
        // An order of nobody's knows the address.
        "(1, NULL, 'ann@x.example')",
    ] {
        shop(&lab, "('C-1', 'ann@x.example', NULL, 'Ann')", "(1, 'ann@x.example', 'Ann')").await;
        lab.sql(&format!("DELETE FROM orders; INSERT INTO orders VALUES {order}")).await;
        let erased = erase(&with_orders, &id).await;
        assert_eq!(erased.retained, [no_usable_identifier("subs")], "{order}: {erased:?}");
        assert_eq!(names(&lab).await, ["1"], "{order}");
    }
    // Only a row that holds the given identifier itself tells; one that was reached by reference does not.
    shop(&lab, "('C-1', NULL, NULL, 'Ann')", "(1, 'gift@x.example', 'Bob')").await;
    lab.sql("DELETE FROM orders; INSERT INTO orders VALUES (1, 'C-1', 'gift@x.example')").await;
    let erased = erase(&with_orders, &id).await;
    assert_eq!((erased.changed, &erased.retained[..]), (2, &[no_usable_identifier("subs")][..]), "{erased:?}");
    // What was redacted tells nothing.
    let redacted = "redacted:0123456789abcdef0123456789abcdef";
    shop(&lab, &format!("('C-1', '{redacted}', NULL, 'Ann')"), &format!("(1, '{redacted}', 'Bob')")).await;
    assert_eq!(erase(&connector, &id).await.retained, [no_usable_identifier("subs")]);
}

async fn a_doubtful_row_closes_the_table_again(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql("CREATE TABLE leads (id INTEGER PRIMARY KEY, ref VARCHAR(40), email VARCHAR(254), phone VARCHAR(40))")
        .await;
    let leads = "[[tables]]\nname = \"leads\"\nkey = \"id\"\nidentify = { customer_id = \"ref\", email = \"email\" }\non_delete = \"delete\"";
    let phones = "[[tables]]\nname = \"leads\"\nkey = \"id\"\nidentify = { phone = \"phone\", email = \"email\" }\non_delete = \"delete\"";
    let (by_ref, by_number) =
        (lab.connector(&format!("{CUSTOMERS_TOML}{leads}")), lab.connector(&format!("{CUSTOMERS_TOML}{phones}")));
    let seed = async |customers: &str, leads: &str| {
        lab.sql("DELETE FROM customers; DELETE FROM leads").await;
        lab.sql(&format!("INSERT INTO customers VALUES {customers}; INSERT INTO leads VALUES {leads}")).await;
    };
    // One row has the address, but another customer's id.
    seed(
        "('C-1', 'ann@x.example', '0151 12345678', 'Ann')",
        "(1, NULL, 'ann@x.example', NULL), (2, 'C-2', 'ann@x.example', NULL)",
    )
    .await;
    let erased = erase(&by_ref, &by_phone()).await;
    assert_eq!((erased.changed, &erased.retained[..]), (1, &[no_usable_identifier("leads")][..]), "{erased:?}");
    assert_eq!(lab.count("SELECT count(*) FROM leads").await, 2);
    // Two ids are hers, so neither opens the table, but a row of hers with one of them is no contradiction.
    seed(
        "('C-1', 'ann@x.example', '0151 12345678', 'Ann'), ('C-2', 'ann@x.example', '0151 12345678', 'Ann')",
        "(1, NULL, 'ann@x.example', NULL), (2, 'C-2', 'ann@x.example', NULL), (3, 'C-2', NULL, NULL)",
    )
    .await;
    let erased = erase(&by_ref, &by_phone()).await;
    assert_eq!((erased.changed, erased.retained.len()), (4, 0), "{erased:?}");
    assert_eq!(lab.query("SELECT id FROM leads").await, ["3"]);
    // A household's number.
    seed(
        "('C-1', NULL, '0151 12345678', 'Ann')",
        "(1, NULL, 'ann@x.example', '0151 12345678'), (2, NULL, 'bob@x.example', '0151 12345678')",
    )
    .await;
    let erased = erase(&by_number, &by_id("C-1")).await;
    assert_eq!((erased.changed, &erased.retained[..]), (1, &[no_usable_identifier("leads")][..]), "{erased:?}");
    assert_eq!(lab.count("SELECT count(*) FROM leads").await, 2);
}

async fn a_table_that_refers_to_a_searched_one_counts_as_searched(lab: Lab) {
    shop(&lab, "('C-1', 'ann@x.example', '0151 12345678', 'Ann')", "(1, 'other@x.example', 'Ann')").await;
    lab.sql("ALTER TABLE subs ADD COLUMN customer_id VARCHAR(40); ").await;
    lab.sql("UPDATE subs SET customer_id = 'C-1'").await;
    let subs = SUBS_TOML.replace("on_delete", "references = { customer_id = \"customers.id\" }\non_delete");
    let connector = lab.connector(&format!("{CUSTOMERS_TOML}{subs}"));
    let erased = erase(&connector, &by_phone()).await;
    assert_eq!((erased.changed, erased.retained.len()), (2, 0), "{erased:?}");
    nothing_found(try_erase(&connector, &by_phone()).await);
    // A table that refers only to itself is not reached by that.
    let subs = SUBS_TOML.replace("on_delete", "references = { id = \"subs.id\" }\non_delete");
    let alone = lab.connector(&format!("{CUSTOMERS_TOML}{subs}"));
    assert_eq!(erase(&alone, &by_phone()).await.retained, [no_usable_identifier("subs")]);
}

async fn what_hangs_on_an_opened_table_is_followed_and_nothing_is_derived_twice(lab: Lab) {
    shop(
        &lab,
        "('C-1', 'ann@x.example', '0151 12345678', 'Ann')",
        "(1, 'ann@x.example', 'Ann'), (2, 'bob@x.example', 'Bob')",
    )
    .await;
    lab.sql(
        "ALTER TABLE subs ADD COLUMN ref VARCHAR(40); UPDATE subs SET ref = 'R-1' WHERE id = 1;
         CREATE TABLE clicks (id INTEGER PRIMARY KEY, sub_id INTEGER); INSERT INTO clicks VALUES (10, 1), (20, 2);
         CREATE TABLE points (id INTEGER PRIMARY KEY, ref VARCHAR(40)); INSERT INTO points VALUES (5, 'R-1');",
    )
    .await;
    let customers = CUSTOMERS_TOML.replace(", customer_id = \"id\"", "");
    let subs = SUBS_TOML.replace("email = \"email\"", "email = \"email\", customer_id = \"ref\"");
    let clicks =
        "[[tables]]\nname = \"clicks\"\nkey = \"id\"\nreferences = { sub_id = \"subs.id\" }\non_delete = \"delete\"\n";
    let points =
        "[[tables]]\nname = \"points\"\nkey = \"id\"\nidentify = { customer_id = \"ref\" }\non_delete = \"delete\"\n";
    let connector = lab.connector(&format!("{customers}{subs}{clicks}{points}"));
    let erased = erase(&connector, &by_phone()).await;
    assert_eq!((erased.found, erased.changed), (3, 3), "{erased:?}");
    assert_eq!(erased.retained, [no_usable_identifier("points")]);
    assert_eq!(lab.query("SELECT id FROM clicks").await, ["20"]);
    assert!(matches!(verify(&connector, &by_phone(), erased.receipt.as_ref()).await, Verdict::Confirmed(_)));
    // With nothing to go by, what hangs on the closed table is not searched either.
    let erased = erase(&connector, &by_phone()).await;
    let closed = ["subs", "clicks", "points"].map(no_usable_identifier);
    assert_eq!((erased.found, &erased.retained[..]), (0, &closed[..]), "{erased:?}");
}

async fn rows_found_by_a_derived_address_are_read_again(lab: Lab) {
    let (connector, phone) = (lab.connector(&format!("{CUSTOMERS_TOML}{SUBS_TOML}")), by_phone());
    shop(&lab, "('C-1', 'ann@x.example', '0151 12345678', 'Ann')", "(1, 'ann@x.example', 'Ann')").await;
    let erased = erase(&connector, &phone).await;
    assert_eq!(erased.changed, 2);
    let prior = erased.receipt.as_ref();
    // Under her key: her row, which is residue, and then somebody else's, which is not.
    for (sub, remaining) in [("(1, 'ann@x.example', 'Ann')", 1), ("(1, 'carl@x.example', 'Carl')", 0)] {
        lab.sql(&format!("DELETE FROM subs; INSERT INTO subs VALUES {sub}")).await;
        match (verify(&connector, &phone, prior).await, remaining) {
            (Verdict::Residue { remaining: 1, .. }, 1) | (Verdict::Confirmed(_), 0) => {}
            other => panic!("{sub}: {other:?}"),
        }
    }
    // Under another key her row is found by what the receipt recorded, and removed by the next try.
    lab.sql("INSERT INTO subs VALUES (9, 'ANN@x.example', 'Ann')").await;
    let verdict = verify(&connector, &phone, prior).await;
    assert!(matches!(verdict, Verdict::Residue { remaining: 1, .. }), "{verdict:?}");
    let again = done(only(connector.erase(&[item(&phone, prior)], &MemoryJournal::default()).await));
    assert_eq!((again.found, again.changed), (3, 3), "{again:?}");
    assert_eq!(names(&lab).await, ["1"]);
    assert!(matches!(verify(&connector, &phone, again.receipt.as_ref()).await, Verdict::Confirmed(_)));

    // A correction of the very address: the second read goes by the keys.
    let corrected_too = SUBS_TOML.replace("full_name = \"name\"", "email = \"email\"");
    let connector = lab.connector(&format!("{CUSTOMERS_TOML}{corrected_too}"));
    shop(&lab, "('C-1', 'ann@x.example', '0151 12345678', 'Ann')", "(1, 'ann@x.example', 'Ann')").await;
    let corrections = [Correction { field: "email".into(), value: "anna@y.example".into() }];
    let journal = MemoryJournal::default();
    let corrected = done(only(connector.rectify(&[rectifying("r", &phone, &corrections)], &journal).await));
    assert_eq!((corrected.found, corrected.changed, corrected.retained.len()), (2, 2, 0), "{corrected:?}");
    let work = || Work { prior: corrected.receipt.as_ref(), ..rectifying("r", &phone, &corrections) };
    assert!(matches!(only(connector.verify(Verb::Rectify, &[work()]).await), Verdict::Confirmed(_)));
    let again = done(only(connector.rectify(&[work()], &journal).await));
    assert_eq!((again.found, again.changed, again.retained.len()), (2, 2, 0), "{again:?}");
    lab.sql("UPDATE subs SET email = 'ann@x.example'").await;
    let verdict = only(connector.verify(Verb::Rectify, &[work()]).await);
    assert!(matches!(verdict, Verdict::Residue { remaining: 1, .. }), "{verdict:?}");
}

async fn more_matches_than_allowed_count_the_derived_ones_too(lab: Lab) {
    let many: Vec<String> = (0..25).map(|i| format!("({i}, 'ann@x.example', NULL)")).collect();
    shop(&lab, "('C-1', 'ann@x.example', '0151 12345678', 'Ann')", &many.join(", ")).await;
    let (connector, journal) = (lab.connector(&format!("{CUSTOMERS_TOML}{SUBS_TOML}")), MemoryJournal::default());
    match crate::conformance::trouble(only(connector.erase(&[item(&by_phone(), None)], &journal).await)) {
        Trouble::Ambiguous { matched: 26, problem } => assert_eq!(problem.code, "too_many_matches"),
        other => panic!("{other:?}"),
    }
    assert_eq!((journal.items(), names(&lab).await.len()), (0, 25));
}

async fn an_id_is_derived_in_the_other_columns_type(lab: Lab) {
    let uuid = "0d9c53aa-8c5b-4d2e-9b0f-5b1c3f6f0a11";
    let (native, binary) = (lab.pick("TEXT", "uuid", "UUID"), lab.pick("BLOB", "bytea", "BINARY(16)"));
    let hex = uuid.replace('-', "");
    let bytes = lab.pick(format!("x'{hex}'"), format!("'\\x{hex}'"), format!("x'{hex}'"));
    lab.sql(&format!(
        "CREATE TABLE people (id {binary} PRIMARY KEY, email VARCHAR(60)); INSERT INTO people VALUES ({bytes}, 'ann@x.example');
         CREATE TABLE points (id INTEGER PRIMARY KEY, ref {native}); INSERT INTO points VALUES (5, '{uuid}'), (6, NULL);"
    ))
    .await;
    let tables = "[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = { email = \"email\", customer_id = \"id\" }\non_delete = \"delete\"\n\
                  [[tables]]\nname = \"points\"\nkey = \"id\"\nidentify = { customer_id = \"ref\" }\non_delete = \"delete\"";
    let connector = lab.connector(tables);
    let ann = by_email("ann@x.example");
    let erased = erase(&connector, &ann).await;
    assert_eq!((erased.changed, erased.retained.len()), (2, 0), "{erased:?}");
    assert_eq!(lab.query("SELECT id FROM points").await, ["6"]);
    assert!(matches!(verify(&connector, &ann, erased.receipt.as_ref()).await, Verdict::Confirmed(_)));
}
