//! What erasure does to the rows that were found: walk, delete, null, hash, keep, and what is said about it.

use super::*;
use crate::conformance::{Answer, done};

facts! {
    rows_are_followed_three_levels_deep_and_through_cycles
    each_mode_does_what_it_says_and_only_once
    a_run_whose_record_was_lost_is_told_again
    rows_that_came_back_after_a_lost_record_are_deleted_too
    an_erasure_that_lost_its_right_changes_nothing
    a_database_that_lies_is_found_out
    a_key_that_is_used_again_is_not_residue
    a_row_that_refers_to_a_deleted_one_is_residue
    identifying_columns_that_are_redacted_first_do_not_hide_the_rest
}

const TREE: &str = "
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id VARCHAR(40) REFERENCES customers (id));
CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, FOREIGN KEY (order_id) REFERENCES orders (id));
CREATE TABLE reviews (id INTEGER PRIMARY KEY, item_id INTEGER, reply_to INTEGER, best_order INTEGER,
  FOREIGN KEY (item_id) REFERENCES items (id), FOREIGN KEY (reply_to) REFERENCES reviews (id));
";

async fn rows_are_followed_three_levels_deep_and_through_cycles(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql(TREE).await;
    // orders -> favourite review -> item -> order: a circle of foreign keys.
    let alter = match lab.kind {
        Kind::Sqlite => "ALTER TABLE orders ADD COLUMN review_id INTEGER REFERENCES reviews (id)",
        _ => "ALTER TABLE orders ADD COLUMN review_id INTEGER, ADD FOREIGN KEY (review_id) REFERENCES reviews (id)",
    };
    lab.sql(alter).await;
    lab.sql(
        "INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example'), ('C-2', 'bob@x.example');
         INSERT INTO orders (id, customer_id) VALUES (1, 'C-1'), (2, 'C-1'), (3, 'C-2');
         INSERT INTO items VALUES (10, 1), (11, 2), (12, 3);
         INSERT INTO reviews (id, item_id, reply_to) VALUES (100, 10, NULL), (101, NULL, 100), (102, NULL, 101), (103, 12, NULL);
         UPDATE reviews SET reply_to = 102 WHERE id = 100;
         UPDATE orders SET review_id = 100 WHERE id = 1; UPDATE orders SET review_id = 103 WHERE id = 3;",
    )
    .await;
    let tables = format!(
        "{CUSTOMERS_TOML}
[[tables]]
name = \"orders\"
key = \"id\"
references = {{ customer_id = \"customers.id\", review_id = \"reviews.id\" }}
on_delete = \"delete\"
[[tables]]
name = \"items\"
key = \"id\"
references = {{ order_id = \"orders.id\" }}
on_delete = \"delete\"
[[tables]]
name = \"reviews\"
key = \"id\"
references = {{ item_id = \"items.id\", reply_to = \"reviews.id\" }}
on_delete = \"delete\"
"
    );
    let connector = lab.connector(&tables);
    let erased = erase(&connector, &by_email("ann@x.example")).await;
    assert_eq!((erased.found, erased.changed), (8, 8), "{erased:?}");
    for (table, rest) in [("customers", "C-2"), ("orders", "3"), ("items", "12"), ("reviews", "103")] {
        assert_eq!(lab.query(&format!("SELECT id FROM {table}")).await, [rest], "{table}");
    }
    let of = |name: &str| {
        erased.evidence.collections.iter().find(|c| c.collection == name).map(|c| (c.before, c.changed, c.after))
    };
    assert_eq!(of("reviews"), Some((3, 3, 0)));
}

const MODES: &str = "
CREATE TABLE nulled (id INTEGER PRIMARY KEY, customer_id VARCHAR(40), a VARCHAR(60), b VARCHAR(60), kept VARCHAR(60));
CREATE TABLE hashed (id INTEGER PRIMARY KEY, customer_id VARCHAR(40), a VARCHAR(60), b VARCHAR(60), kept VARCHAR(60));
CREATE TABLE invoices (id INTEGER PRIMARY KEY, customer_id VARCHAR(40), a VARCHAR(60));
INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example'), ('C-2', 'bob@x.example');
INSERT INTO nulled VALUES (1, 'C-1', 'street', NULL, 'k'), (2, 'C-1', NULL, NULL, 'k'), (3, 'C-2', 'street', 'x', 'k');
INSERT INTO hashed VALUES (1, 'C-1', 'street', NULL, 'k'), (2, 'C-1', 'street', 'other', 'k'), (3, 'C-2', 'street', 'x', 'k');
INSERT INTO invoices VALUES (1, 'C-1', 'street'), (2, 'C-2', 'street');
";

fn modes() -> String {
    let child = |name: &str, rest: &str| {
        format!(
            "\n[[tables]]\nname = \"{name}\"\nkey = \"id\"\nreferences = {{ customer_id = \"customers.id\" }}\n{rest}\n"
        )
    };
    [
        CUSTOMERS_TOML.replace("\"delete\"", "\"keep\"\nreason = \"tax_law_10_years\""),
        child("nulled", "on_delete = \"null\"\ncolumns = [\"a\", \"b\"]"),
        child("hashed", "on_delete = \"hash\"\ncolumns = [\"a\", \"b\"]"),
        child("invoices", "on_delete = \"keep\"\nreason = \"tax_law_10_years\""),
    ]
    .concat()
}

async fn each_mode_does_what_it_says_and_only_once(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql(MODES).await;
    let (connector, ann) = (lab.connector(&modes()), by_email("ann@x.example"));
    let first = erase(&connector, &ann).await;
    assert_eq!((first.found, first.changed), (6, 3), "{first:?}");
    let retained: Vec<_> =
        first.retained.iter().map(|r| (r.collection.as_str(), r.records, r.reason.as_str())).collect();
    assert_eq!(retained, [("customers", 1, "tax_law_10_years"), ("invoices", 1, "tax_law_10_years")]);
    let nulled = lab.query("SELECT id, coalesce(a, '-'), coalesce(b, '-'), kept FROM nulled ORDER BY id").await;
    assert_eq!(nulled, ["1|-|-|k", "2|-|-|k", "3|street|x|k"]);
    let hashed = lab.query("SELECT a, coalesce(b, '-') FROM hashed ORDER BY id").await;
    let (one, two): (Vec<_>, Vec<_>) = (hashed[0].split('|').collect(), hashed[1].split('|').collect());
    assert!(super::super::redact::is_redacted(one[0]) && super::super::redact::is_redacted(two[1]), "{hashed:?}");
    assert_eq!((one[0], one[1]), (two[0], "-"), "the same value has the same hash");
    assert_eq!(hashed[2], "street|x");
    let again = erase(&connector, &ann).await;
    assert_eq!((again.found, again.changed), (6, 0), "{again:?}");
    assert_eq!(lab.query("SELECT a, coalesce(b, '-') FROM hashed ORDER BY id").await, hashed);
    assert!(matches!(verify(&connector, &ann, first.receipt.as_ref()).await, Verdict::Confirmed(_)));
    lab.sql("UPDATE hashed SET b = 'back' WHERE id = 1; UPDATE nulled SET a = 'back' WHERE id = 2").await;
    match verify(&connector, &ann, first.receipt.as_ref()).await {
        Verdict::Residue { remaining: 2, .. } => {}
        other => panic!("{other:?}"),
    }
}

async fn a_run_whose_record_was_lost_is_told_again(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql(MODES).await;
    let (connector, ann) = (
        lab.connector(&modes().replacen("\"keep\"\nreason = \"tax_law_10_years\"", "\"delete\"", 1)),
        by_email("ann@x.example"),
    );
    let first = erase(&connector, &ann).await;
    assert_eq!((first.found, first.changed), (6, 4));
    let again = done(only(connector.erase(&[item(&ann, first.receipt.as_ref())], &MemoryJournal::default()).await));
    assert_eq!((again.found, again.changed, &again.retained), (6, 4, &first.retained), "{again:?}");
    assert_eq!(again.evidence, first.evidence);
    assert!(matches!(try_erase(&connector, &ann).await, Outcome::NothingFound(_)), "without a prior nothing is known");
}

async fn rows_that_came_back_after_a_lost_record_are_deleted_too(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example')").await;
    let (connector, ann) = (lab.connector(CUSTOMERS_TOML), by_email("ann@x.example"));
    let first = erase(&connector, &ann).await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-9', 'ann@x.example')").await;
    let again = done(only(connector.erase(&[item(&ann, first.receipt.as_ref())], &MemoryJournal::default()).await));
    assert_eq!((again.found, again.changed), (2, 2));
    assert_eq!(lab.count("SELECT count(*) FROM customers").await, 0);
}

async fn an_erasure_that_lost_its_right_changes_nothing(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example')").await;
    let (connector, ann) = (lab.connector(CUSTOMERS_TOML), by_email("ann@x.example"));
    let answer = only(connector.erase(&[item(&ann, None)], &MemoryJournal::answering(Answer::Lost)).await);
    assert!(matches!(answer, Outcome::Trouble(Trouble::Lost)));
    assert_eq!(lab.count("SELECT count(*) FROM customers").await, 1);
    assert_eq!(erase(&connector, &ann).await.changed, 1, "no lock is left behind");
}

async fn a_database_that_lies_is_found_out(lab: Lab) {
    // Each of these lets the deletion or the update through and keeps the data.
    let lies: &[&str] = match lab.kind {
        Kind::Sqlite => &[
            "CREATE TRIGGER lie BEFORE DELETE ON customers BEGIN SELECT RAISE(IGNORE); END",
            "CREATE TRIGGER lie AFTER DELETE ON customers BEGIN INSERT INTO customers VALUES (old.id, old.email, old.phone, old.full_name); END",
            "CREATE TRIGGER lie AFTER DELETE ON customers BEGIN INSERT INTO customers VALUES ('x' || old.id, old.email, old.phone, old.full_name); END",
            "CREATE TRIGGER lie AFTER UPDATE ON notes WHEN new.body IS NULL BEGIN UPDATE notes SET body = old.body WHERE id = old.id; END",
        ],
        Kind::Postgres => &[
            "CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER lie BEFORE DELETE ON customers FOR EACH ROW EXECUTE FUNCTION lie()",
            "CREATE RULE lie AS ON DELETE TO customers DO INSTEAD NOTHING",
            "CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO customers VALUES (OLD.*); RETURN NULL; END'; CREATE TRIGGER lie AFTER DELETE ON customers FOR EACH ROW EXECUTE FUNCTION lie()",
            "CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.body = OLD.body; RETURN NEW; END'; CREATE TRIGGER lie BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION lie()",
        ],
        Kind::Mariadb => &[
            "CREATE TRIGGER lie AFTER DELETE ON customers FOR EACH ROW INSERT INTO leads VALUES (OLD.id, OLD.email)",
            "CREATE TRIGGER lie BEFORE UPDATE ON notes FOR EACH ROW SET NEW.body = OLD.body",
        ],
    };
    for lie in lies {
        lab.sql("DROP TABLE IF EXISTS notes; DROP TABLE IF EXISTS customers; DROP TABLE IF EXISTS leads").await;
        if lab.kind == Kind::Postgres {
            lab.sql("SET client_min_messages = error; DROP FUNCTION IF EXISTS lie").await;
        }
        lab.sql(CUSTOMERS).await;
        lab.sql("CREATE TABLE notes (id INTEGER PRIMARY KEY, customer_id VARCHAR(40), body VARCHAR(60)); CREATE TABLE leads (id VARCHAR(40) PRIMARY KEY, email VARCHAR(60))").await;
        lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example'); INSERT INTO notes VALUES (1, 'C-1', 'rings twice')").await;
        lab.sql(lie).await;
        let tables = format!(
            "{CUSTOMERS_TOML}\n[[tables]]\nname = \"notes\"\nkey = \"id\"\nreferences = {{ customer_id = \"customers.id\" }}\non_delete = \"null\"\ncolumns = [\"body\"]\n\
             [[tables]]\nname = \"leads\"\nkey = \"id\"\nidentify = {{ email = \"email\" }}\non_delete = \"delete\""
        );
        let (connector, ann) = (lab.connector(&tables), by_email("ann@x.example"));
        let erased = erase(&connector, &ann).await;
        match verify(&connector, &ann, erased.receipt.as_ref()).await {
            Verdict::Residue { remaining: 1, .. } => {}
            other => panic!("{lie}: {other:?} after {erased:?}"),
        }
    }
}

async fn a_key_that_is_used_again_is_not_residue(lab: Lab) {
    lab.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(60)); CREATE TABLE notes (id INTEGER PRIMARY KEY, person_id INTEGER);").await;
    lab.sql("INSERT INTO people VALUES (1, 'bob@x.example'), (2, 'ann@x.example'); INSERT INTO notes VALUES (7, 2)")
        .await;
    let tables = "[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = { email = \"email\" }\non_delete = \"delete\"\n\
                  [[tables]]\nname = \"notes\"\nkey = \"id\"\nreferences = { person_id = \"people.id\" }\non_delete = \"delete\"";
    let (connector, ann) = (lab.connector(tables), by_email("ann@x.example"));
    let erased = erase(&connector, &ann).await;
    // Carl gets Ann's number, and his note the number of hers.
    lab.sql("INSERT INTO people VALUES (2, 'carl@x.example'); INSERT INTO notes VALUES (7, 1), (8, 2)").await;
    let verdict = verify(&connector, &ann, erased.receipt.as_ref()).await;
    assert!(matches!(verdict, Verdict::Confirmed(_)), "{verdict:?}");
    let again = done(only(connector.erase(&[item(&ann, erased.receipt.as_ref())], &MemoryJournal::default()).await));
    assert_eq!((again.found, again.changed), (2, 2));
    assert_eq!(lab.count("SELECT count(*) FROM notes").await, 2);
}

async fn a_row_that_refers_to_a_deleted_one_is_residue(lab: Lab) {
    lab.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(60)); CREATE TABLE notes (id INTEGER PRIMARY KEY, person_id INTEGER);").await;
    lab.sql("INSERT INTO people VALUES (2, 'ann@x.example')").await;
    let tables = "[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = { email = \"email\" }\non_delete = \"delete\"\n\
                  [[tables]]\nname = \"notes\"\nkey = \"id\"\nreferences = { person_id = \"people.id\" }\non_delete = \"delete\"";
    let (connector, ann) = (lab.connector(tables), by_email("ann@x.example"));
    let erased = erase(&connector, &ann).await;
    lab.sql("INSERT INTO notes VALUES (9, 2)").await;
    let verdict = verify(&connector, &ann, erased.receipt.as_ref()).await;
    assert!(matches!(verdict, Verdict::Residue { remaining: 1, .. }), "{verdict:?}");
}

async fn identifying_columns_that_are_redacted_first_do_not_hide_the_rest(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql("CREATE TABLE logins (id INTEGER PRIMARY KEY, customer_id VARCHAR(40), ip VARCHAR(60));").await;
    lab.sql("INSERT INTO customers VALUES ('C-1', 'ann@x.example', '+4915112345678', 'Ann'); INSERT INTO logins VALUES (1, 'C-1', '::1')").await;
    let tables = CUSTOMERS_TOML.replace("\"delete\"", "\"hash\"\ncolumns = [\"email\", \"full_name\"]")
        + "[[tables]]\nname = \"logins\"\nkey = \"id\"\nreferences = { customer_id = \"customers.id\" }\non_delete = \"delete\"";
    let (connector, ann) = (lab.connector(&tables), by_email("ann@x.example"));
    let erased = erase(&connector, &ann).await;
    assert_eq!((erased.found, erased.changed), (2, 2));
    assert_eq!(lab.count("SELECT count(*) FROM logins").await, 0);
    assert_eq!(lab.count("SELECT count(*) FROM customers WHERE email LIKE 'redacted:%' AND full_name LIKE 'redacted:%' AND phone LIKE '+49%'").await, 1);
    let again = done(only(connector.erase(&[item(&ann, erased.receipt.as_ref())], &MemoryJournal::default()).await));
    assert_eq!((again.found, again.changed), (2, 2));
}

#[tokio::test]
async fn what_is_deleted_from_a_sqlite_file_is_overwritten_in_it() {
    let lab = Lab::new(Kind::Sqlite).await;
    lab.sql(CUSTOMERS).await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'secret-canary@x.example'), ('C-2', 'bob@x.example')")
        .await;
    let holds = |text: &str| {
        let bytes = std::fs::read(lab.file()).expect("the file is ours");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    assert!(holds("secret-canary"));
    assert_eq!(erase(&lab.connector(CUSTOMERS_TOML), &by_email("secret-canary@x.example")).await.changed, 1);
    assert!(!holds("secret-canary") && holds("bob@x.example"));
}
